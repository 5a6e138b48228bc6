-- The scheduler contract, and which scheduler is in use.
--
-- An adapter is a table of functions:
--   name                        what it is, for messages
--   now()                       monotonic seconds, a float
--   spawn(fn, ...) -> Task      start a task; an error goes to task.on_failure(text)
--                               where that is set, else to on_error, unless
--                               task.guarded is
--   attach(source) -> handle    call source.pump() when its core has work; a
--                               source is { core =, pump = function() end }
--   detach(handle)              before the core closes
--   rearm(handle)               a verb was called: pump again, soon
--   park(slot, deadline) -> ... suspend the running task until wake(slot, ...);
--                               nil, "timed out", "TIMEOUT" at the deadline
--   wake(slot, a, b, c)         resume it in a later turn, never at once;
--                               false when nobody is parked there
--   run(fn, ...) -> ...         drive tasks until fn returned (own loop only)
--   turn(max) -> boolean        one turn, waiting at most |max| seconds
--   on_error                    function(message) for errors in tasks
-- A slot is any table; the adapter keeps its own fields in it.
--
-- SPDX-License-Identifier: MIT

local sched = {}

local REQUIRED = { "now", "spawn", "attach", "detach", "rearm", "park", "wake" }

local current

--- Uses |adapter| from now on. Not while an endpoint is open.
---@param adapter table
function sched.use(adapter)
  if type(adapter) ~= "table" then
    error("antquic.sched.use: an adapter is a table, got " .. type(adapter), 2)
  end
  for _, name in ipairs(REQUIRED) do
    if type(adapter[name]) ~= "function" then
      error("antquic.sched.use: the adapter lacks the function '" .. name .. "'", 2)
    end
  end
  if current and current ~= adapter and current.live and current.live() > 0 then
    error("antquic.sched.use: close the endpoints of scheduler '" .. current.name .. "' first", 2)
  end
  current = adapter
end

--- The scheduler in use; the built-in loop where none was chosen.
---@return table
function sched.current()
  if not current then
    current = require("antquic.sched.loop")
  end
  return current
end

return sched
