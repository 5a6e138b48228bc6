-- A circuit breaker before each coordinator: who fails to answer several times in a
-- row isn't asked for a while (open), then once (half open), and again as before
-- when that worked (closed). While all are open they are asked all the same, the one
-- that was opened first before the others: no answer costs more than a wrong one.
--
-- A selection remembers, so each policy makes its own:
--   coordinators = antquic.coordinator.health { failures = 3, cool_down = 10 }
--
-- SPDX-License-Identifier: MIT

local by_rtt = require("antquic.coordinator.by_rtt")
local options = require("antquic.options")

local OPTIONS = {
  failures = { type = "integer", default = 2, min = 1, max = 100 },
  cool_down = { type = "number", default = 10, min = 0, unit = "seconds" },
  order = { type = "callable", default = by_rtt },
}

---@param given { failures: integer?, cool_down: number?, order: function? }?
---@return fun(view: table, list: table[]): table[]
return function(given)
  local o = options.check("antquic.coordinator.health", OPTIONS, given)
  local breakers = {}

  -- The state of a node now, by what the core counted: requests that were never
  -- answered since its last answer.
  local function state(node, now)
    local b = breakers[node.address]
    local silent = node.unanswered or 0
    if silent < o.failures then
      breakers[node.address] = nil
      return "closed"
    elseif not b or silent > b.silent then
      b = { silent = silent, since = now } -- it failed once more: the pause starts anew
      breakers[node.address] = b
    end
    return now - b.since < o.cool_down and "open" or "half_open", b.since
  end

  return function(view, list)
    local now = view.now or view.endpoint._sched.now()
    local closed, half_open, open = {}, {}, {}
    for _, node in ipairs(o.order(view, list)) do
      local s, since = state(node, now)
      if s == "closed" then
        closed[#closed + 1] = node
      elseif s == "half_open" then
        half_open[#half_open + 1] = node
      else
        open[#open + 1] = { node = node, since = since }
      end
    end
    -- One that is half open is tried behind those that work: its success closes it,
    -- and its silence costs the hedge's pause and no more.
    for _, node in ipairs(half_open) do
      closed[#closed + 1] = node
    end
    if #closed == 0 then
      table.sort(open, function(a, b)
        return a.since < b.since
      end)
      for _, entry in ipairs(open) do
        closed[#closed + 1] = entry.node
      end
    end
    return closed
  end
end
