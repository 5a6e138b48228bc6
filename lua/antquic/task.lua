-- Waiting: conditions, bounded queues, and the one way in which a call of the
-- core that says AGAIN becomes a call that waits.
--
-- SPDX-License-Identifier: MIT

local sched = require("antquic.sched")

local task = {}

---@class antquic.Cond
local Cond = {}
Cond.__index = Cond

--- A condition: tasks wait, wake() makes all of them ready.
---@return antquic.Cond
function task.cond()
  return setmetatable({}, Cond)
end

--- Waits until wake(a, b, c), whose arguments it returns, or the deadline
--- (nil: none): nil, "timed out", "TIMEOUT".
---@param deadline number? of sched.now()
function Cond:wait(deadline)
  if self.over then
    return nil, self.over, self.over_code
  end
  local s = sched.current()
  -- The first waiter parks in the condition itself, so the usual wait makes
  -- no garbage.
  if not self.task then
    self.home = s
    return s.park(self, deadline)
  end
  local slot = { home = s }
  local others = self.others
  if not others then
    others = {}
    self.others = others
  end
  others[#others + 1] = slot
  local a, b, c = s.park(slot, deadline)
  if c == "TIMEOUT" and self.others then
    others = self.others
    for i = 1, #others do
      if others[i] == slot then
        table.remove(others, i)
        break
      end
    end
  end
  return a, b, c
end

--- Makes every waiting task ready, each in the scheduler where it waits. Returns
--- whether there was one.
function Cond:wake(a, b, c)
  local others = self.others
  local woke = false
  if self.task then
    woke = self.home.wake(self, a, b, c)
  end
  if others then
    self.others = nil
    for i = 1, #others do
      local slot = others[i]
      woke = slot.home.wake(slot, a, b, c) or woke
    end
  end
  return woke
end

--- Wakes everybody with nil, message, code; whoever waits later gets the same.
---@param message string
---@param code string
function Cond:close(message, code)
  if not self.over then
    self.over, self.over_code = message, code
    self:wake(nil, message, code)
  end
end

--- A deadline for a timeout in seconds; nil for none.
---@param timeout number?
---@return number?
function task.deadline(timeout)
  if timeout and timeout < math.huge then
    return sched.current().now() + timeout
  end
end

--- Calls fn(core, id, x, y) until it gives something else than AGAIN, waiting
--- for |cond| in between. |timeout| is in seconds; nil waits for ever, 0 tries
--- once. A call that waits several times gives its |deadline| too. |what| says
--- in the message what was waited for: a string, or a function that makes it
--- from |object|.
function task.retry(object, what, cond, timeout, deadline, fn, core, id, x, y)
  local a, b, c = fn(core, id, x, y)
  if a ~= nil or c ~= "AGAIN" then
    return a, b, c
  end
  deadline = deadline or task.deadline(timeout)
  while true do
    local ok, message, code = cond:wait(deadline)
    if not ok then
      if code ~= "TIMEOUT" then
        return nil, message, code
      end
      return task.timed_out(timeout, type(what) == "string" and what or what(object))
    end
    a, b, c = fn(core, id, x, y)
    if a ~= nil or c ~= "AGAIN" then
      return a, b, c
    end
  end
end

--- The three values of a time-out.
---@param timeout number
---@param what string "waiting for ..."
function task.timed_out(timeout, what)
  return nil, ("timed out after %.3g s %s"):format(timeout or 0, what), "TIMEOUT"
end

---@class antquic.Queue
local Queue = {}
Queue.__index = Queue

--- A queue of at most |limit| values; what doesn't fit is counted in dropped.
---@param limit integer
---@return antquic.Queue
function task.queue(limit)
  return setmetatable({
    limit = limit,
    first = 1,
    last = 0,
    dropped = 0,
    cond = task.cond(),
  }, Queue)
end

---@return boolean taken
function Queue:push(value)
  if self.closed or self.last - self.first + 1 >= self.limit then
    self.dropped = self.dropped + 1
    return false
  end
  local last = self.last + 1
  self.last = last
  self[last] = value
  self.cond:wake(true)
  return true
end

---@return integer
function Queue:count()
  return self.last - self.first + 1
end

--- The oldest value, nil when there is none.
function Queue:take()
  local first = self.first
  if first > self.last then
    return nil
  end
  local value = self[first]
  self[first] = nil
  if first == self.last then
    self.first, self.last = 1, 0
  else
    self.first = first + 1
  end
  return value
end

--- The oldest value, waiting for one. nil, message, code at the time-out and
--- once the queue is closed and empty.
---@param timeout number?
---@param what string? for the message
function Queue:pop(timeout, what)
  local value = self:take()
  if value ~= nil then
    return value
  end
  local deadline = task.deadline(timeout)
  while not self.closed do
    local ok, message, code = self.cond:wait(deadline)
    value = self:take()
    if value ~= nil then
      return value
    end
    if not ok then
      if code == "TIMEOUT" then
        return task.timed_out(timeout, what or "waiting for a queue")
      end
      return nil, message, code
    end
  end
  return nil, self.closed_message, self.closed_code
end

--- Wakes everybody: from now on an empty queue gives nil, message, code.
---@param message string
---@param code string
function Queue:close(message, code)
  if not self.closed then
    self.closed, self.closed_message, self.closed_code = true, message, code
    self.cond:close(message, code)
  end
end

--- Starts a task.
---@param fn function
---@return antquic.Task
function task.spawn(fn, ...)
  return sched.current().spawn(fn, ...)
end

--- Waits.
---@param seconds number
function task.sleep(seconds)
  local s = sched.current()
  s.park({}, s.now() + seconds)
  return true
end

return task
