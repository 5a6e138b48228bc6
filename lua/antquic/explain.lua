-- Explanations: what was tried to reach a peer, when, and why it failed or won.
-- Data first; tostring makes it readable.
--
-- SPDX-License-Identifier: MIT

local errors = require("antquic.errors")

local explain = {}

---@class antquic.Explanation: table[]
---@field title string
local Explanation = { __name = "antquic.Explanation" }

local function outcome(entry)
  if entry.won then
    return ("worked in %.3f s"):format(entry.duration or 0)
  elseif not entry.duration then
    return "still running"
  elseif entry.error then
    return ("failed after %.3f s: %s"):format(
      entry.duration,
      errors.describe(entry.error, entry.text)
    )
  end
  return ("done in %.3f s"):format(entry.duration)
end

function Explanation.__tostring(self)
  local lines = { self.title }
  for i, entry in ipairs(self) do
    local traffic = ""
    if entry.sent > 0 or entry.received > 0 then
      traffic = (" (%d sent, %d received)"):format(entry.sent, entry.received)
    end
    lines[i + 1] = ("  %+.3f s  %-10s  %-21s  %s%s"):format(
      entry.at,
      entry.step,
      entry.address or "-",
      outcome(entry),
      traffic
    )
  end
  if #self == 0 then
    lines[2] = "  " .. self.without_steps
  end
  return table.concat(lines, "\n")
end

-- Records of the core -> entries with times from the first start.
local function build(title, records, without_steps)
  local list = setmetatable({ title = title, without_steps = without_steps }, Explanation)
  local start = records[1] and records[1].started or 0
  for i, r in ipairs(records) do
    list[i] = {
      step = r.step,
      won = r.won or (r.error == nil and r.ended ~= nil),
      error = r.error,
      at = r.started - start,
      duration = r.ended and r.ended - r.started or nil,
      address = r.addr,
      sent = r.sent,
      received = r.received,
      text = r.text,
    }
  end
  return list
end

--- Of a connection.
---@param conn antquic.Connection
---@return antquic.Explanation
function explain.connection(conn)
  local core = conn._ep._core
  local records = conn._explained or core:explain(conn.id) or {}
  local title = conn:_label()
  if conn.state == "closed" then
    title = title .. ": " .. tostring(conn._closed_message)
  else
    local path = conn:path()
    if path then
      title = ("%s: %s, %s, rtt %.1f ms"):format(
        title,
        path.kind,
        path.remote or "?",
        path.rtt * 1e3
      )
    end
  end
  return build(
    title,
    records,
    conn.outgoing and "dialed by address, in one step" or "the peer made it"
  )
end

--- Of a session that runs or ended.
---@param session antquic.Session
---@return antquic.Explanation
function explain.session(session)
  local core = session._ep._core
  local records = session._explained or core:explain(session.id) or {}
  return build(
    ("session to %s: %s"):format(tostring(session.peer_id), tostring(session.phase)),
    records,
    "nothing was tried yet"
  )
end

--- One sentence for an error message: what was tried and how each ended.
---@param session antquic.Session
---@return string
function explain.failure(session)
  local parts = {}
  for _, entry in ipairs(explain.session(session)) do
    local where = entry.address and (" " .. entry.address) or ""
    parts[#parts + 1] = ("%s%s %s"):format(entry.step, where, outcome(entry))
  end
  return table.concat(parts, "; ")
end

return explain
