-- Two records of one attempt: which datagram of one is which of the other, and how
-- far apart the two clocks are.
--
-- SPDX-License-Identifier: MIT

local side = require("antquic.trace.side")

local text, number = side.text, side.number

local match = {}

local SENT = { punch_sent = true, quic_sent = true }
local RECEIVED = { punch_received = true, quic_received = true, punch_dropped = true }

-- Clocks don't agree to the last digit.
local SLACK = 1e-6

-- What is the same at both ends of a datagram's way. Copies have the same.
local function key_of(entry)
  if entry.pair and number(entry.seq) then
    return ("p %s %s %.0f"):format(tostring(entry.pair), tostring(entry.by), entry.seq)
  elseif number(entry.mark) then
    return ("q %.0f %s"):format(entry.mark, tostring(entry.len))
  end
end

-- The entries of |kinds|, by key, in the order of the record.
local function by_key(attempt, kinds)
  local out = {}
  for _, entry in ipairs(attempt.entries) do
    local key = kinds[entry.e] and key_of(entry)
    if key then
      out[key] = out[key] or {}
      table.insert(out[key], entry)
    end
  end
  return out
end

-- The shortest time from the first copy that |from| sent to the first that came.
local function shortest(from, to)
  local sent, least = by_key(from, SENT), nil
  for key, came in pairs(by_key(to, RECEIVED)) do
    if sent[key] then
      least = math.min(least or math.huge, came[1].t - sent[key][1].t)
    end
  end
  return least
end

-- When both begin: that is what the start delay is for.
local function begin(attempt)
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "control_received" and (entry.type == "ANSWER" or entry.type == "OFFER") then
      return entry.t + (number(entry.delay) or 0)
    end
  end
end

--- What must be added to the times of |b| to get those of |a|, and how that is
--- known: no datagram arrives before it was sent. In the middle of what that allows.
---@return number seconds
---@return string how
function match.clocks(a, b)
  local there, back = shortest(a, b), shortest(b, a)
  if there and back then
    return (back - there) / 2, "from datagrams both ways"
  elseif there or back then
    return back or -there, "from datagrams one way: the delay is not known"
  end
  local t1, t2 = begin(a), begin(b)
  if t1 and t2 then
    return t1 - t2, "from what the coordinator told both: roughly"
  end
  return a.start - b.start, "unknown: both begin at the same time here"
end

-- Of copies the last one that can have come then has come: each takes |way| at
-- least.
local function pair(sent, came, way, out)
  local under_way, next = {}, 1
  for _, entry in ipairs(came) do
    while sent[next] and sent[next].t + way <= entry.t + SLACK do
      under_way[#under_way + 1] = sent[next]
      next = next + 1
    end
    local from = table.remove(under_way)
    if from then
      out.came[from], out.sent[entry] = entry, from
    end
  end
end

--- What became of the datagrams that |from| sent to |to|.
---@param from table an attempt
---@param to table the same one, of the other record
---@return { came: table, sent: table } pairs by entry of one record, the other's; an entry
--- that has no other there is not in it
function match.datagrams(from, to)
  local out = { came = {}, sent = {} }
  local way = shortest(from, to)
  local sent = by_key(from, SENT)
  for key, came in pairs(by_key(to, RECEIVED)) do
    if sent[key] then
      pair(sent[key], came, way, out)
    end
  end
  return out
end

--- Why an entry's datagram was dropped on arrival; nil where it was not.
---@param entry table
---@return string?
function match.why_dropped(entry)
  return entry.e == "punch_dropped" and (text(entry.text) or "?") or nil
end

return match
