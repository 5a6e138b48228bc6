-- The built-in scheduler: tasks, timers, and a wait for the endpoints.
--
-- One turn: run the tasks that are ready, pump every endpoint, fire timers,
-- and, when nothing is ready, wait. wake() only makes ready, so the order of
-- events doesn't depend on what a handler does.
--
-- A waiting call outside a task drives the loop itself until it is done.
--
-- What a loop runs on is a clock, a table of functions:
--   name                         what it is, for messages
--   now()                        monotonic seconds
--   wait(seconds, sources, n)    until one of the sources has work, at most
--                                |seconds| (nil: as long as it takes); marks those
--                                that have some dirty, or pumps them
--   on_error(message)            the loop's on_error to begin with
-- This module is the loop on the real clock; new(clock) makes another.
--
-- SPDX-License-Identifier: MIT

local compat = require("antquic.compat")
local heap = require("antquic.sched.heap")
local interrupt = require("antquic.interrupt")

local running = compat.running
local heap_push, heap_pop = heap.push, heap.pop

---@class antquic.Task
local task_methods = {}

local function task_text(self)
  return ("antquic.Task{%s}"):format(
    self.done and (self.failed and "failed" or "done") or "running"
  )
end

local function describe(message)
  if type(message) ~= "string" or interrupt.is(message) then
    return message
  end
  return debug.traceback(message, 2)
end

--- Waits until the task is done. Returns true and its results, or nil, the
--- message of its error and "INTERNAL", or "TIMEOUT".
---@param timeout number?
function task_methods:wait(timeout)
  self.guarded = true
  if not self.done then
    self.waiters = self.waiters or require("antquic.task").cond()
    local ok, message, code = self.waiters:wait(timeout and self.loop.now() + timeout)
    if not ok then
      return nil, message, code
    end
  end
  if self.failed then
    return nil, self.failed, "INTERNAL"
  end
  return true, compat.unpack(self.results, 1, self.results.n)
end

-- A loop's state is in locals, since each wait and each event goes through it.
local function new(clock)
  local loop = { name = clock.name, now = clock.now, on_error = clock.on_error }
  local now, clock_wait = clock.now, clock.wait
  local Task = {
    __index = setmetatable({ loop = loop }, { __index = task_methods }),
    __name = "antquic.Task",
    __tostring = task_text,
  }

  -- Ready tasks, a ring between head and tail.
  local ready, head, tail = {}, 1, 0
  -- One entry per slot is live, the one whose time is slot.timer_at. An entry
  -- that comes up early is pushed again, so a slot that waits often costs no entry
  -- per wait.
  local timers = heap.new()
  local timers_at = timers.at
  -- In the order of their coming, but that the last one takes the place of one
  -- that goes.
  local sources, source_count = {}, 0
  local current -- the task that runs
  local turning = false
  local satisfied = false -- what the loop is turned for has happened: don't wait
  local parked = {} -- slots of parked tasks, so that none is collected

  local function finish(task, ok, ...)
    task.done = true
    task.co = nil
    satisfied = satisfied or task.main == true
    if ok then
      task.results = compat.pack(...)
    end
    if task.waiters then
      task.waiters:wake(true)
    end
  end

  local function after_resume(task, co, ok, ...)
    if coroutine.status(co) ~= "dead" then
      return
    end
    if ok then
      finish(task, true, ...)
      return
    end
    local message = ...
    local text = debug.traceback(co, compat.text(message))
    task.failed = text
    task.error = message
    compat.close_coroutine(co)
    finish(task, false)
    if task.on_failure then
      task.on_failure(text)
    elseif not task.guarded then
      loop.on_error(text)
    end
  end

  local function make_ready(task, a, b, c)
    tail = tail + 1
    task.a, task.b, task.c = a, b, c
    ready[tail] = task
  end

  --- Starts a task in the next turn. Errors go to on_error, or to whoever waits
  --- for the task.
  ---@param fn function
  ---@return antquic.Task
  function loop.spawn(fn, ...)
    local co
    if select("#", ...) == 0 then
      co = coroutine.create(fn)
    else
      local args = compat.pack(...)
      co = coroutine.create(function()
        return fn(compat.unpack(args, 1, args.n))
      end)
    end
    local task = setmetatable({ co = co }, Task)
    make_ready(task)
    return task
  end

  local function start_wait(slot, deadline)
    if slot.task then
      error("antquic: two tasks wait in one slot", 3)
    end
    parked[slot] = true
    slot.deadline = deadline
    if deadline then
      local at = slot.timer_at
      if not at or deadline < at then
        slot.timer_at = deadline
        heap_push(timers, deadline, slot)
      end
    end
  end

  local function end_wait(slot)
    slot.task = nil
    slot.deadline = nil
    parked[slot] = nil
  end

  -- A waiting call outside a task: turns the loop until its slot is woken.
  local function park_inline(slot, deadline)
    if turning then
      error(
        "antquic: a waiting call where none is allowed (a policy's choice, a finalizer, "
          .. "or a coroutine that is not a task: use antquic.spawn)",
        3
      )
    end
    start_wait(slot, deadline)
    local me = {}
    slot.task = me
    while not me.woken do
      loop.turn()
    end
    return me.a, me.b, me.c
  end

  --- Suspends the running task. Returns what wake() passed.
  function loop.park(slot, deadline)
    local task = current
    if not task or running() ~= task.co then
      return park_inline(slot, deadline)
    end
    start_wait(slot, deadline)
    slot.task = task
    return coroutine.yield()
  end

  --- Makes the task in |slot| ready. False when nobody is parked there.
  function loop.wake(slot, a, b, c)
    local task = slot.task
    if not task then
      return false
    end
    end_wait(slot)
    if task.co then
      tail = tail + 1
      task.a, task.b, task.c = a, b, c
      ready[tail] = task
    else
      task.woken = true
      satisfied = true
      task.a, task.b, task.c = a, b, c
    end
    return true
  end

  local function fire_timers()
    local time = now()
    while timers.n > 0 and timers_at[1] <= time do
      local at = timers_at[1]
      local slot = heap_pop(timers)
      if at == slot.timer_at then
        slot.timer_at = nil
        local deadline = slot.deadline
        if deadline and deadline <= time then
          loop.wake(slot, nil, "timed out", "TIMEOUT")
        elseif deadline then
          slot.timer_at = deadline
          heap_push(timers, deadline, slot)
        end
      end
    end
  end

  local function run_ready()
    -- Only those that are ready now: what they make ready has its turn after I/O.
    local last = tail
    while head <= last do
      local task = ready[head]
      ready[head] = nil
      head = head + 1
      local co, a, b, c = task.co, task.a, task.b, task.c
      task.a, task.b, task.c = nil, nil, nil
      current = task
      after_resume(task, co, coroutine.resume(co, a, b, c))
      current = nil
    end
    if head > tail then
      head, tail = 1, 0
    end
  end

  -- Pumping may attach and detach (a close in a finalizer): walk a copy.
  local batch = {}

  local function pump_all()
    local n = 0
    for i = 1, source_count do
      local source = sources[i]
      if source.dirty or head <= tail then
        n = n + 1
        batch[n] = source
      end
    end
    for i = 1, n do
      local source = batch[i]
      batch[i] = nil
      if source.place then
        source.dirty = false
        source.pump()
      end
    end
  end

  local function any_dirty()
    for i = 1, source_count do
      if sources[i].dirty then
        return true
      end
    end
    return false
  end

  local turn_max

  local function turn()
    run_ready()
    pump_all()
    if timers.n > 0 then
      fire_timers()
    end
    if head <= tail or satisfied then
      return true
    end
    local seconds = turn_max
    if any_dirty() then
      seconds = 0
    elseif timers.n > 0 then
      local left = timers_at[1] - now()
      if left < 0 then
        left = 0
      end
      if not seconds or left < seconds then
        seconds = left
      end
    end
    if not seconds and source_count == 0 then
      error("antquic: every task waits and nothing is left that could wake one", 0)
    end
    clock_wait(seconds, sources, source_count)
    if timers.n > 0 then
      fire_timers()
    end
    return head <= tail
  end

  -- What endpoints keep in files is written, and their peers hear of it.
  local function close_all()
    local list = {}
    for i = 1, source_count do
      list[i] = sources[i]
    end
    for _, source in ipairs(list) do
      if source.close then
        pcall(source.close)
      end
    end
  end

  --- One turn, waiting at most |max| seconds (nil: until something happens).
  --- Returns whether a task is ready. Not from inside a task.
  ---@param max number?
  ---@return boolean
  function loop.turn(max)
    if turning then
      error("antquic: the loop is already turning", 2)
    end
    turning, turn_max, satisfied = true, max, false
    local ok, result = xpcall(turn, describe)
    turning, current = false, nil
    if not ok then
      interrupt.raise(result, close_all)
    end
    return result
  end

  --- Runs |main| as a task and turns the loop until it returned. Gives its
  --- results, or raises its error. What it woke last (by closing an endpoint, say)
  --- gets its turn; tasks that still wait stay as they are.
  ---@param main function
  function loop.run(main, ...)
    if turning then
      error("antquic.run: the loop already runs; use antquic.spawn", 2)
    end
    local task = loop.spawn(main, ...)
    task.guarded, task.main = true, true
    while not task.done do
      loop.turn()
    end
    local limit = 1000
    while head <= tail and limit > 0 do
      limit = limit - 1
      loop.turn(0)
    end
    if task.failed then
      error(type(task.error) == "string" and task.failed or task.error, 0)
    end
    return compat.unpack(task.results, 1, task.results.n)
  end

  function loop.attach(source)
    source_count = source_count + 1
    sources[source_count] = source
    source.place = source_count
    source.dirty = true
    return source
  end

  function loop.detach(source)
    local place = source.place
    if place then
      local last = sources[source_count]
      sources[place], last.place = last, place
      sources[source_count] = nil
      source_count = source_count - 1
      source.place = nil
    end
  end

  function loop.rearm(source)
    source.dirty = true
  end

  --- How many endpoints are attached, and how many tasks are parked.
  ---@return integer live
  ---@return integer parked
  function loop.live()
    local count = 0
    for _ in pairs(parked) do
      count = count + 1
    end
    return source_count, count
  end

  --- The task that runs, nil outside of one.
  function loop.task()
    return current
  end

  --- Is a task running?
  function loop.in_task()
    return current ~= nil and running() == current.co
  end

  return loop
end

local loop = new(require("antquic.sched.live"))
loop.new = new
return loop
