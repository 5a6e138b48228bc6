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
--   world() -> antquic.World    what an endpoint that is made now lives in, where
--                               that isn't the real world
-- A slot is any table; the adapter keeps its own fields in it.
--
-- SPDX-License-Identifier: MIT

local compat = require("antquic.compat")
local interrupt = require("antquic.interrupt")

local sched = {}

local REQUIRED = { "now", "spawn", "attach", "detach", "rearm", "park", "wake" }

local current

local function check(who, adapter)
  if type(adapter) ~= "table" then
    error(("%s: an adapter is a table, got %s"):format(who, type(adapter)), 3)
  end
  for _, name in ipairs(REQUIRED) do
    if type(adapter[name]) ~= "function" then
      error(("%s: the adapter lacks the function '%s'"):format(who, name), 3)
    end
  end
end

--- Uses |adapter| from now on. Not while an endpoint is open.
---@param adapter table
function sched.use(adapter)
  check("antquic.sched.use", adapter)
  if current and current ~= adapter and current.live and current.live() > 0 then
    error("antquic.sched.use: close the endpoints of scheduler '" .. current.name .. "' first", 2)
  end
  current = adapter
end

--- Calls fn(...) with |adapter| in use and then takes back what was in use, also
--- after an error. Endpoints of both may be open: those of the one that is not in
--- use stand still.
---@param adapter table
---@param fn function
function sched.within(adapter, fn, ...)
  check("antquic.sched.within", adapter)
  local before = sched.current()
  current = adapter
  local results = compat.pack(pcall(fn, ...))
  current = before
  if not results[1] then
    interrupt.raise(results[2])
  end
  return compat.unpack(results, 2, results.n)
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
