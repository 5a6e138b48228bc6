-- Events for programs: pulled with an iterator, or pushed to handlers that run
-- as tasks. The readiness of streams and datagrams isn't for programs; it only
-- wakes who waits.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local options = require("antquic.options")
local present = require("antquic.present")
local task = require("antquic.task")

local events = {}

-- How many events a subscription keeps; the newest are dropped and counted.
events.QUEUE = 4096

-- Edges that the endpoint turns into wake-ups.
local INTERNAL = {
  stream_incoming = true,
  stream_readable = true,
  stream_writable = true,
  stream_closed = true,
  streams_available = true,
  datagram_readable = true,
  datagram_writable = true,
  step_done = true,
  decision = true,
}

local kinds, known = {}, {}
for _, kind in ipairs(core.names().events) do
  if not INTERNAL[kind] then
    kinds[#kinds + 1] = kind
    known[kind] = true
  end
end
-- What only the Lua side can say.
for _, kind in ipairs({
  "policy_error",
  "handler_error",
  "step_started",
  "step_ended",
  "store_damaged",
  "store_failed",
}) do
  kinds[#kinds + 1] = kind
  known[kind] = true
end

--- The kinds that a program can ask for.
---@return string[]
function events.kinds()
  local list = {}
  for i, kind in ipairs(kinds) do
    list[i] = kind
  end
  return list
end

---@class antquic.Subscription
local methods = {}
local Subscription = { __index = methods, __name = "antquic.Subscription" }

-- The subscriptions of an endpoint, by kind.
---@class antquic.EventHub
local Hub = {}
Hub.__index = Hub

function events.hub(ep)
  return setmetatable({ _ep = ep, _by_kind = {}, _all = {} }, Hub)
end

local function check_kind(who, kind, level)
  if not known[kind] then
    error(
      ("%s: unknown event kind '%s' (known: %s)"):format(
        who,
        tostring(kind),
        table.concat(kinds, ", ")
      ),
      level + 1
    )
  end
end

--- Is anybody interested in this kind?
function Hub:wants(kind)
  return self._by_kind[kind] ~= nil or (self._taps ~= nil and known[kind] == true)
end

--- What the core's poll takes: the tables whose keys are the kinds that somebody
--- is interested in, |own| and the subscriptions'; nothing where that is all of
--- them.
---@param own table
---@return table?
---@return table?
function Hub:wanted(own)
  if not self._taps then
    return own, self._by_kind
  end
end

--- Calls fn(event) at once for every event, before anybody else. It may not wait.
--- Returns the function that ends it.
---@param fn fun(event: table)
---@return fun()
function Hub:tap(fn)
  local taps = self._taps or {}
  self._taps = taps
  taps[#taps + 1] = fn
  return function()
    for i = #taps, 1, -1 do
      if taps[i] == fn then
        table.remove(taps, i)
      end
    end
    if #taps == 0 and self._taps == taps then
      self._taps = nil
    end
  end
end

local function add(hub, subscription)
  for kind in pairs(subscription._kinds) do
    local list = hub._by_kind[kind]
    if not list then
      list = {}
      hub._by_kind[kind] = list
    end
    list[#list + 1] = subscription
  end
  hub._all[subscription] = true
end

--- A bounded queue of the events of these kinds (none given: all).
---@param list string[]?
---@param level integer
function Hub:subscribe(who, list, level)
  if list ~= nil and type(list) ~= "table" then
    error(who .. ": a list of event kinds is expected, got " .. type(list), level + 1)
  end
  local wanted = {}
  for _, kind in ipairs(list or kinds) do
    check_kind(who, kind, level + 1)
    wanted[kind] = true
  end
  if next(wanted) == nil then
    error(who .. ": the list of event kinds is empty", level + 1)
  end
  local queue = task.queue(events.QUEUE)
  local subscription = setmetatable({ _hub = self, _kinds = wanted, _queue = queue }, Subscription)
  if self._closed then
    queue:close("the endpoint is closed", "CLOSED")
  else
    add(self, subscription)
  end
  return subscription
end

--- Gives an event to everybody who wants its kind.
function Hub:emit(event)
  local taps = self._taps
  if taps then
    for i = 1, #taps do
      taps[i](event)
    end
  end
  local list = self._by_kind[event.kind]
  if list then
    for i = 1, #list do
      list[i]._queue:push(event)
    end
  end
  return list ~= nil
end

--- Makes the program's event from the core's.
function Hub:present(ev)
  return present.event(ev, self._ep._conns)
end

--- Ends every subscription.
function Hub:close()
  self._closed = true
  for subscription in pairs(self._all) do
    subscription._queue:close("the endpoint is closed", "CLOSED")
  end
  self._by_kind, self._all = {}, {}
end

--- The next event, waiting for it. Where events had to be dropped because the
--- queue was full, an event of kind events_lost with their count comes after
--- those that were kept.
---@async
---@param timeout number? seconds
---@return table?
---@return string? message
---@return string? code
function methods:next(timeout)
  options.timeout("subscription:next", timeout)
  local queue = self._queue
  if queue.dropped > 0 and queue:count() == 0 then
    local count = queue.dropped
    queue.dropped = 0
    return { kind = "events_lost", count = count, time = self._hub._ep._sched.now() }
  end
  return queue:pop(timeout, "waiting for an event")
end

--- How many events were dropped since the last events_lost.
---@return integer
function methods:dropped()
  return self._queue.dropped
end

--- Ends the subscription. Idempotent.
---@return true
function methods:close()
  local hub = self._hub
  if hub._all[self] then
    hub._all[self] = nil
    for kind in pairs(self._kinds) do
      local list = hub._by_kind[kind]
      for i = #(list or {}), 1, -1 do
        if list[i] == self then
          table.remove(list, i)
        end
      end
      if list and #list == 0 then
        hub._by_kind[kind] = nil
      end
    end
  end
  self._queue:close("the subscription is closed", "CLOSED")
  return true
end

Subscription.__close = methods.close

function Subscription.__tostring(self)
  return ("antquic.Subscription{waiting=%d, dropped=%d}"):format(
    self._queue:count(),
    self._queue.dropped
  )
end

--- For `for ev in ep:events{...}`: leaving the loop ends the subscription.
function Hub:iterate(list)
  local subscription = self:subscribe("ep:events", list, 3)
  return function()
    return (subscription:next())
  end, nil, nil, subscription
end

-- The handler's task: one event after the other, so their order is kept. The
-- handler may wait, hence no pcall: an error ends this coroutine, and a new one
-- goes on with the rest.
local function serve(hub, kind, subscription, fn)
  local worker
  worker = hub._ep._sched.spawn(function()
    while true do
      local event = subscription:next()
      if not event then
        return
      end
      fn(event)
    end
  end)
  worker.guarded = true
  worker.on_failure = function(text)
    hub:emit_error("handler of " .. kind, text)
    if not subscription._queue.closed then
      serve(hub, kind, subscription, fn)
    end
  end
end

--- Calls fn(event) in a task for each event of |kind|. Returns the function
--- that ends this.
---@param kind string
---@param fn function
---@return fun()
function Hub:on(kind, fn)
  check_kind("ep:on", kind, 3)
  if type(fn) ~= "function" then
    error("ep:on: a function is expected, got " .. type(fn), 3)
  end
  local subscription = self:subscribe("ep:on", { kind }, 3)
  serve(self, kind, subscription, fn)
  return function()
    subscription:close()
  end
end

--- An error in a program's handler: an event, or standard error where nobody
--- listens for it.
function Hub:emit_error(where, text)
  local taken = self:emit({
    kind = "handler_error",
    time = self._ep._sched.now(),
    where = where,
    text = tostring(text):match("^[^\n]*"),
    traceback = tostring(text),
  })
  if not taken then
    self._ep._sched.on_error(where .. ": " .. tostring(text))
  end
end

return events
