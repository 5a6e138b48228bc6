-- The clock and the wait of the world as it is: the monotonic clock, and the
-- core's wait for endpoints.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")

local live = { name = "loop", now = core.now }

-- How many endpoints the core waits for at once. With more than that the others
-- have their turn after a short while.
local WAIT_MOST, WAIT_SHORT = 4096, 0.005

--- Blocks until one of the first |count| sources has work or |seconds| passed.
function live.wait(seconds, sources, count)
  if count == 0 then
    core.sleep(seconds)
  elseif count == 1 then
    sources[1].pump(true, seconds)
  else
    local cores = {}
    for i = 1, count do
      if i > WAIT_MOST then
        seconds = math.min(seconds or WAIT_SHORT, WAIT_SHORT)
        break
      end
      cores[i] = sources[i].core
    end
    core.wait(cores, seconds)
    for i = 1, count do
      sources[i].dirty = true
    end
  end
end

--- Where errors of tasks go that nobody waits for.
function live.on_error(message)
  io.stderr:write("antquic: error in a task: ", message, "\n")
end

return live
