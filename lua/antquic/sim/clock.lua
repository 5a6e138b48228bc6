-- Virtual time: the clock that a loop of a simulation runs on. Waiting moves it,
-- and nothing else does.
--
-- SPDX-License-Identifier: MIT

local clock = {}

-- A wait is this much longer than asked for, so that a sum of floats never ends it
-- too early.
local NANO = 1e-9

--- The clock of a core's simulation. |on_step| is called after each step.
---@param core antquic.core.Sim
---@param limit number the time at which the run is given up
---@param on_step fun()
---@return table clock for sched.loop.new
function clock.new(core, limit, on_step)
  local time = core:now()
  local self = { name = "simulation", limit = limit }

  function self.now()
    return time
  end

  function self.wait(seconds, sources, count)
    local moved, busy, code = core:step(seconds and time + seconds + (seconds > 0 and NANO or 0))
    if not moved and code == "TIMEOUT" then
      error("antquic: every task waits and nothing is left that could wake one", 0)
    elseif not moved then
      error("antquic.sim: " .. tostring(busy), 0)
    end
    time = moved
    on_step()
    if time > self.limit then
      error(
        ("antquic.sim: given up at %.3f s of the simulation's time: its limit is reached"):format(
          time
        ),
        0
      )
    end
    if busy then
      for i = 1, count do
        local source = sources[i]
        if source.eager or source.core:has_events() then
          source.dirty = true
        end
      end
    end
  end

  return self
end

return clock
