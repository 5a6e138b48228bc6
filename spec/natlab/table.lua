-- SPDX-License-Identifier: MIT
--
-- Makes docs/natlab.md of the files that main.lua --json wrote:
--
--   lua5.4 spec/natlab/table.lua ALL.json [DELAYED.json] > docs/natlab.md
--   lua5.4 spec/natlab/table.lua --measured ALL.json > spec/natlab/measured.json
--
-- (the sections by hand go after it; measured.json is what a spec compares with).

package.path = (arg[0]:match("^(.*/)") or "./") .. "../../lua/?.lua;" .. package.path

local json = require "antquic.json"

local function load(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return assert(json.decode(text)).pairs
end

-- The order in which the types first come.
local function types_of(rows)
  local names, seen = {}, {}
  for _, row in ipairs(rows) do
    for _, name in ipairs { row.a, row.b } do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  return names
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function say(text, ...)
  print(text:format(...))
end

local function span(list)
  if #list == 0 then
    return "none"
  end
  return ("%.1f to %.1f ms"):format(math.min(table.unpack(list)), math.max(table.unpack(list)))
end

local function summary(rows)
  local out = { pairs = #rows, must = 0, all = 0, attempts = 0, false_success = 0, slowest = 0 }
  for _, mark in ipairs { "B", "P" } do
    out[mark] = { pairs = 0, direct = 0, trials = 0, guesses = 0, times = {} }
  end
  local times, packets = {}, {}
  for _, row in ipairs(rows) do
    out.attempts = out.attempts + row.trials
    if row.expected == "B" or row.expected == "P" then
      local hard = out[row.expected]
      hard.pairs = hard.pairs + 1
      hard.direct = hard.direct + row.direct
      hard.trials = hard.trials + row.trials
      hard.guesses = math.max(hard.guesses, tonumber(row.guesses) or 0)
      for _, ms in ipairs(row.times) do
        hard.times[#hard.times + 1] = ms
      end
    elseif row.expected == "Y" then
      out.must = out.must + 1
      out.all = out.all + (row.direct == row.trials and 1 or 0)
      times[#times + 1] = row.p50_ms
      packets[#packets + 1] = row.packets
    elseif row.expected == "-" then
      out.false_success = out.false_success + row.direct
      out.slowest = math.max(out.slowest, row.fail_max_ms or 0)
    end
  end
  out.median, out.packets = median(times), median(packets)
  return out
end

local function matrix(rows)
  local names, cell = types_of(rows), {}
  for _, row in ipairs(rows) do
    local count = ("%d/%d"):format(row.direct, row.trials)
    local mark = row.expected == "Y" and "" or " " .. row.expected
    cell[row.a .. ":" .. row.b] = row.expected == "-" and row.direct == 0 and "-" or count .. mark
  end
  print("| dials \\ is dialed | " .. table.concat(names, " | ") .. " |")
  print("|---|" .. ("---|"):rep(#names))
  for _, a in ipairs(names) do
    local line = {}
    for i, b in ipairs(names) do
      line[i] = cell[a .. ":" .. b] or ""
    end
    print("| " .. a .. " | " .. table.concat(line, " | ") .. " |")
  end
end

-- The counts, a line for each pair; "-" has nothing else.
local function measured(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local times = row.p50_ms
        and (',"p50_ms":%.1f,"p95_ms":%.1f,"guesses":%d'):format(
          row.p50_ms,
          row.p95_ms,
          row.guesses
        )
      or ""
    lines[i] = ('  {"a":"%s","b":"%s","direct":%d,"trials":%d%s}'):format(
      row.a,
      row.b,
      row.direct,
      row.trials,
      times
    )
  end
  print('{"pairs": [\n' .. table.concat(lines, ",\n") .. "\n]}")
end

if arg[1] == "--measured" then
  measured(load(arg[2]))
  return
end

local rows = load(arg[1])
local s = summary(rows)
print [[
# Which NATs connect

Measured in the NAT lab ([how](../spec/natlab/README.md)): real processes behind real
kernel NATs in network namespaces, each NAT classified before it is used, fresh
endpoints for each attempt. A cell says how many attempts of how many connected
directly and had bytes echoed. `P`: the next ports of a NAT are predicted, while others
behind it open 8 flows every 20 ms; `B`: one of many random ports is guessed; `p`: both
are predicted, which works while nobody else uses the NATs. `-`: no attempt connected,
and none should have, since there is nothing that could be guessed.
]]
say("    ./bootstrap.sh natlab --pairs all --trials %d --json all.json\n", rows[1].trials)
matrix(rows)
say("\n%d ordered pairs, %d attempts.", s.pairs, s.attempts)
say("%d of the %d pairs that must connect did so each time;", s.all, s.must)
local function guessed(hard, what)
  if #hard.times == 0 then
    return
  end
  table.sort(hard.times)
  say(
    "%d of %d attempts of the %d pairs with %s connected,",
    hard.direct,
    hard.trials,
    hard.pairs,
    what
  )
  say(
    "95 %% of those within %.2f s, with %d guesses at most;",
    hard.times[math.ceil(0.95 * #hard.times)] / 1000,
    hard.guesses
  )
end
guessed(s.P, "a port to predict")
guessed(s.B, "a random port")
say("%d false successes among the others, which gave up", s.false_success)
say("with a reason after %.1f s at most.", s.slowest / 1000)
say("Without delay on the links the median time from `connect()` to a usable")
say("connection is %.1f ms (12 ms of it are the wait between low-TTL openers and", s.median)
say("the dial), with a median of %d datagrams sent by the initiator.", s.packets)
if arg[2] then
  local slow = load(arg[2])
  local d = summary(slow)
  local quick, late = {}, {}
  for _, row in ipairs(slow) do
    if row.expected == "Y" then
      local list = row.p50_ms <= 115 and quick or late
      list[#list + 1] = row.p50_ms
    end
  end
  say("\n## With 25 ms each way on every link (%d attempts a pair)\n", slow[1].trials)
  say("The bound is RTT(initiator, coordinator) + RTT(peers) + 15 ms = 115 ms.")
  say("%d pairs have a median within it, %s;", #quick, span(quick))
  say("%d have a longer one, %s.", #late, span(late))
  print [[
Those are the pairs where one mapping depends on the destination, and a port can't be
known before a datagram of the target has arrived, which takes half a round trip more.]]
  say("Over all pairs that must connect the median is %.1f ms.", d.median)
end
