-- Sessions: reaching a peer by its id. The policy's strategy runs as a task and
-- takes steps, each one call of the core and a wait for its step_done.
--
-- SPDX-License-Identifier: MIT

local errors = require("antquic.errors")
local explain = require("antquic.explain")
local limit = require("antquic.policy.limit")
local options = require("antquic.options")
local policy = require("antquic.policy")
local present = require("antquic.present")
local task = require("antquic.task")

local session = {}

---@class antquic.Session
---@field id integer
---@field peer_id antquic.PeerIdObject
---@field endpoint antquic.Endpoint
---@field known string[] addresses to try first
---@field phase string
---@field state string
---@field coordinators table[] reachable coordinators, best first
---@field won string? the plan that connected the last time, of the endpoint's store
---@field connection antquic.Connection? once connected
local methods = {}

local function info(self)
  return not self._over and self._ep._core:session_info(self.id) or nil
end

local fields = {}

function fields.phase(self)
  local i = info(self)
  return i and i.phase or self._phase
end

-- Once connected it is that of the connection.
function fields.state(self)
  local i = info(self)
  local conn = self.connection
  if not i and conn then
    i = not conn:is_closed() and self._ep._core:conn_info(conn.id)
    return i and i.state or "closed"
  end
  return i and i.state or self._state
end

function fields.attempt(self)
  local i = info(self)
  return i and i.attempt or self._attempt
end

function fields.coordinators(self)
  return self._ep:_coordinators(self._policy, self.peer_id)
end

-- What brought us to the peer the last time, where the endpoint has a store.
function fields.won(self)
  local kept = self._ep._store
  return kept and kept:plan(self.peer_id)
end

local Session = {
  __name = "antquic.Session",
  __index = function(self, key)
    local field = fields[key]
    if field then
      return field(self)
    end
    return methods[key]
  end,
}

--- For the endpoint's use.
function session.new(ep, id, peer, known, timeout)
  local now = ep._sched.now()
  local self = setmetatable({
    id = id,
    peer_id = peer,
    endpoint = ep,
    known = known,
    started = now,
    _ep = ep,
    _policy = ep._policy,
    _deadline = now + timeout,
    _phase = "idle",
    _state = "idle",
    _attempt = 0,
    _waiters = 0,
    _waits = 0, -- of the strategy
    _done = task.cond(),
    _step = task.cond(),
    _pause = task.cond(),
  }, Session)
  ep._sessions[id] = self
  if ep._recorder and id ~= 0 then
    ep._recorder:session(self, timeout)
  end
  return self
end

-- ---- steps, for strategies ---------------------------------------------------

local function over(self)
  if self.connection then
    return true
  end
  return nil, self._message or "the session is over", self._code or "CANCELLED"
end

local function emit(self, kind, event)
  local hub = self._ep._hub
  if hub:wants(kind) then
    event.kind, event.session, event.peer_id = kind, self.id, self.peer_id
    hub:emit(event)
  end
end

-- For the pump, and where a session ends within a step.
function session.step_ended(self, time, error, text)
  local running = self._running
  if running then
    self._running = nil
    emit(self, "step_ended", {
      time = time,
      step = running.step,
      error = error,
      text = text,
      duration = math.max(0, time - running.time),
    })
  end
end

-- Why the core takes no such step now.
local function not_now(self, name)
  if name == "punch" then
    return "session:punch: nothing is agreed on: s:coordinate comes first, and again after "
      .. "fresh, predict, birthday and relay"
  end
  return ("session:%s: it can't be taken in phase %s"):format(name, tostring(self.phase))
end

-- Starts a step, asked for |what|, and waits for its end: the step_done event, or
-- a failure.
local function step(self, name, what, verb, a, b, c)
  if self._over then
    return over(self)
  elseif self._stepping then
    error(
      ("session:%s: a session takes one step at a time; '%s' runs"):format(name, self._stepping),
      3
    )
  end
  local ep = self._ep
  local core = ep._core
  local now = ep._sched.now()
  local ok, message, code = core[verb](core, self.id, a, b, c)
  if not ok then
    return nil, code == "INVAL" and not_now(self, name) or message, code
  end
  self._running = { step = name, time = now }
  emit(self, "step_started", { time = now, step = name, what = what })
  self._stepping = name
  ep._rearm(ep._handle)
  local event = self._step:wait()
  self._stepping = nil
  self._waits = self._waits + 1
  if not event then
    return over(self)
  elseif event.error then
    return nil, errors.describe(event.error, event.text), event.error
  end
  return event
end

local DIAL_SPACING = 0.25

--- Dials addresses, one after the other a little apart, until one answers with
--- the peer's key: s:dial { "1.2.3.4:5", ..., timeout =, spacing = } or
--- s:dial { s.known, timeout = 0.3 }. With |keep| what still runs at the time-out
--- goes on beside the next steps, for 3 s.
---@async
---@param what table
---@return true?
---@return string? message
---@return string? code
function methods:dial(what)
  if type(what) ~= "table" then
    error("session:dial: a table with addresses is expected, got " .. type(what), 2)
  end
  local addrs = {}
  for _, item in ipairs(what) do
    for _, addr in ipairs(type(item) == "table" and item or { item }) do
      addr = type(addr) == "table" and addr.address or addr
      if type(addr) ~= "string" then
        error("session:dial: an address is a string, got " .. type(addr), 2)
      end
      addrs[#addrs + 1] = addr
    end
  end
  for key in pairs(what) do
    if type(key) ~= "number" and key ~= "timeout" and key ~= "spacing" and key ~= "keep" then
      error(
        ("session:dial: unknown option '%s' (known: keep, spacing, timeout)"):format(tostring(key)),
        2
      )
    end
  end
  options.timeout("session:dial", what.timeout)
  if #addrs == 0 then
    return nil, "there is no address to dial", "NO_CANDIDATES"
  end
  -- The core takes eight at once; the rest would hardly have its turn.
  for i = #addrs, 9, -1 do
    addrs[i] = nil
  end
  local asked = {
    addrs = addrs,
    timeout = what.timeout,
    spacing = what.spacing or DIAL_SPACING,
    keep = what.keep or nil,
  }
  local ok, message, code = step(self, "dial", asked, "session_dial", asked)
  if not ok then
    return nil, message, code
  end
  return true
end

---@class antquic.Plan
---@field candidates table[] of the peer
---@field coordinator integer? connection
---@field coordination_time number? seconds
---@field same_nat boolean both have the same public address
---@field local table what is known of our NAT, docs/policy.md
---@field remote table ... and of the peer's
local plan_methods = {}
local Plan = { __index = plan_methods, __name = "antquic.Plan" }

--- The pairs to punch, in the order of the policy. The core joins each remote
--- address with the local ones that fit; so remote is what counts here.
---@return table[]
function plan_methods:pairs()
  local list = {}
  for i, candidate in ipairs(self.candidates) do
    list[i] = {
      remote = candidate.address,
      remote_source = candidate.source,
      priority = candidate.priority,
      verified = candidate.verified,
      state = "waiting",
    }
  end
  local s = self.session
  return s.endpoint:_choose(s._policy, "order", s.peer_id, list)
end

local COORDINATE = {
  via = { type = "table|integer" },
  hedge = { type = "number", min = 0, unit = "seconds" },
  timeout = { type = "number", min = 0, unit = "seconds" },
}
-- As many as the core takes in one step.
local MAX_VIA = 16

-- The connections of one coordinator, or of a list of them; nil for none. A
-- node that isn't connected can't be asked.
local function connections(who, via)
  if via == nil or type(via) == "number" then
    return via and { via }
  elseif via.address or via.conn then
    via = { via }
  end
  local list = {}
  for _, node in ipairs(via) do
    local conn = type(node) == "table" and node.conn or node
    if type(conn) == "number" then
      if #list < MAX_VIA then
        list[#list + 1] = conn
      end
    elseif type(node) ~= "table" then
      error(who .. ": 'via' is a coordinator or a list of them", 3)
    end
  end
  if #list == 0 and #via > 0 then
    return nil, "none of the coordinators is connected", "PEER_NOT_CONNECTED"
  end
  return #list > 0 and list or nil
end

--- Asks coordinators for the peer, in the order of |via|: the next one as soon
--- as one has failed or has kept silent for |hedge| seconds (0: all at once; nil:
--- three round trips, 0.2 s at least). The first answer counts. Without |via|
--- the core takes the best ones, and waits for the first that is reached.
--- Returns a plan.
---@async
---@param what { via: table|integer|nil, hedge: number?, timeout: number? }?
---@return antquic.Plan?
---@return string? message
---@return string? code
function methods:coordinate(what)
  local given = options.check("session:coordinate", COORDINATE, what)
  local via, message, code = connections("session:coordinate", given.via)
  if message then
    return nil, message, code
  end
  given.via = via
  local event
  event, message, code =
    step(self, "coordinate", given, "session_coordinate", via, given.timeout, given.hedge)
  if not event then
    return nil, message, code
  end
  local i = info(self) or { remote = {} }
  return setmetatable({
    session = self,
    candidates = present.candidates(i.remote),
    coordinator = i.coordinator,
    coordination_time = i.coordination_time,
    same_nat = i.same_nat,
    ["local"] = i.local_profile or {},
    remote = i.remote_profile or {},
  }, Plan)
end

local PUNCH = { pairs = { type = "table" } }
for name, rule in pairs(policy.PUNCH) do
  PUNCH[name] = rule
end

-- The remote addresses of pairs, each once, as the core takes them.
local function remotes(list)
  local order, seen = {}, {}
  for _, pair in ipairs(list) do
    local addr = type(pair) == "table" and (pair.remote or pair.address) or pair
    if type(addr) ~= "string" then
      error("session:punch: a pair has a remote address", 3)
    end
    if not seen[addr] and #order < 32 then
      seen[addr] = true
      order[#order + 1] = addr
    end
  end
  return order
end

-- The policy's schedule, changed by what is given.
local function scheduled(self, given)
  local schedule = self._ep:_choose(self._policy, "punch", self.peer_id)
  for key, value in pairs(given) do
    schedule[key] = value
  end
  return schedule
end

--- Punches to the peer's candidates: s:punch { pairs = plan:pairs() }. What
--- isn't given comes from the policy's punch().
---@async
---@param what table?
---@return true?
---@return string? message
---@return string? code
function methods:punch(what)
  local given = options.check("session:punch", PUNCH, what)
  local schedule = scheduled(self, given)
  if given.pairs then
    schedule.pairs = nil
    schedule.order = remotes(given.pairs)
  end
  local ok, message, code = step(self, "punch", schedule, "session_punch", schedule)
  if not ok then
    return nil, message, code
  end
  return true
end

-- What a step with new sockets takes, beside the schedule of s:punch.
local function hard_schema(sockets, probes)
  local schema = {
    via = { type = "table|integer" },
    sockets = { type = "integer", min = 1, max = sockets },
    probes = probes and { type = "integer", min = 1, max = probes },
  }
  for key, rule in pairs(policy.PUNCH) do
    schema[key] = rule
  end
  return schema
end

local HARD = {
  fresh = hard_schema(8),
  predict = hard_schema(25, 1024),
  birthday = hard_schema(256, 1024),
}

-- { plan, ... } is { via = plan.coordinator, ... }.
local function with_plan(what)
  if type(what) ~= "table" or type(what[1]) ~= "table" then
    return what
  end
  local given = {}
  for key, value in pairs(what) do
    given[key] = value
  end
  given.via = given.via or given[1].coordinator
  given[1] = nil
  return given
end

local function hard(self, name, what)
  local who = "session:" .. name
  local given = options.check(who, HARD[name], with_plan(what))
  local via, message, code = connections(who, given.via)
  if message then
    return nil, message, code
  end
  local schedule = scheduled(self, given)
  schedule.via = via and via[1]
  local ok
  ok, message, code = step(self, name, schedule, "session_hard", name, schedule)
  if not ok then
    return nil, message, code
  end
  return true
end

--- Both sides open a new socket, learn from the coordinator how it is seen, and
--- punch between the two. For NATs that a failed punch has spoilt, and with more
--- sockets for those that have several addresses.
---@async
---@param what table? via or a plan at [1], sockets (1 to 8), and the schedule of punch
---@return true?
---@return string? message
---@return string? code
function methods:fresh(what)
  return hard(self, "fresh", what)
end

--- Guesses the next ports of a NAT that gives them in sequence, or from a block.
---@async
---@param what table? via or a plan at [1], sockets (1 to 25), probes (1 to 1024), openers,
--- opener_ttl, timeout
---@return true?
---@return string? message
---@return string? code
function methods:predict(what)
  return hard(self, "predict", what)
end

--- Guesses one of many random ports: 256 sockets wait behind the NAT that gives
--- them, and the other side tries up to 1024 ports, 1000 a second.
---@async
---@param what table? via or a plan at [1], sockets (1 to 256), probes (1 to 1024), openers,
--- opener_ttl, timeout
---@return true?
---@return string? message
---@return string? code
function methods:birthday(what)
  return hard(self, "birthday", what)
end

local RELAY = {
  via = { type = "table|integer" },
  upgrade_every = { type = "number|boolean", min = 1, max = 300, unit = "seconds" },
}

--- Connects over a coordinator that relays, encrypted between the peers as ever.
--- A direct path is sought on, after |upgrade_every| seconds (5), then after twice
--- as long each time up to 300; false: never. The connection moves to it.
---@async
---@param what table? via, upgrade_every
---@return true?
---@return string? message
---@return string? code
function methods:relay(what)
  local given = options.check("session:relay", RELAY, what)
  local via, message, code = connections("session:relay", given.via)
  if message then
    return nil, message, code
  end
  local every = given.upgrade_every
  if every == true then
    every = nil -- as ever
  end
  local ok
  ok, message, code =
    step(self, "relay", given, "session_relay", { via = via and via[1], upgrade_every = every })
  if not ok then
    return nil, message, code
  end
  return true
end

--- What is known of our NAT and of the peer's, by the last agreement.
---@return table mine
---@return table theirs
function methods:profiles()
  local i = info(self) or {}
  return i.local_profile or {}, i.remote_profile or {}
end

--- Seconds until the session's time is up.
---@return number
function methods:remaining()
  return math.max(0, self._deadline - self._ep._sched.now())
end

--- Seconds until what a coordinator or a budget refused last has a chance again; 0
--- where nobody said so.
---@return number
function methods:retry_after()
  local i = info(self)
  return math.max(0, (i and i.retry_at or 0) - self._ep._sched.now())
end

-- Any session is over by then.
local LONGEST_PAUSE = 86400

--- Waits, at most until the session is over. Returns whether it still runs.
---@async
---@param seconds number
---@return boolean
function methods:sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("session:sleep: seconds are expected, 0 or more", 2)
  end
  if not self._over then
    self._pause:wait(self._ep._sched.now() + math.min(seconds, LONGEST_PAUSE))
    self._waits = self._waits + 1
  end
  return not self._over
end

--- A random number from 0 up to 1, of the system's entropy; in a simulation, of
--- its seed.
---@return number
function methods:random()
  local bytes = self._ep._world.random(4)
  local a, b, c, d = bytes:byte(1, 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) / 2 ^ 32
end

--- Is it over, connected or not?
---@return boolean
function methods:is_over()
  return self._over == true
end

-- ---- for everybody -----------------------------------------------------------

--- The candidate pairs with their state: local_address, remote, priority,
--- state, remote_source, verified, sent, received.
---@return table[]
function methods:pairs()
  if self._over then
    return self._facts and self._facts.pairs or {}
  end
  return present.pairs(self._ep._core:session_pairs(self.id) or {})
end

--- Waits until it is over. Returns the connection, or nil, message, code.
---@async
---@param timeout number? seconds
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:wait(timeout)
  options.timeout("session:wait", timeout)
  local deadline = task.deadline(timeout)
  self._waiters = self._waiters + 1
  while not self._over do
    local _, message, code = self._done:wait(deadline)
    if code == "TIMEOUT" and not self._over then
      self._waiters = self._waiters - 1
      return task.timed_out(timeout, "waiting for " .. tostring(self))
    elseif code == "CLOSED" and not self._over then
      self._waiters = self._waiters - 1
      return nil, message, code
    end
  end
  self._waiters = self._waiters - 1
  if self.connection then
    return self.connection
  end
  return nil, self._message, self._code
end

--- Gives up. Idempotent; whoever waits gets CANCELLED.
---@return true
function methods:cancel()
  if not self._over then
    local ep = self._ep
    self:_remember()
    ep._core:session_cancel(self.id)
    ep._rearm(ep._handle)
    session.finish(
      self,
      nil,
      ("the attempt to reach %s was cancelled"):format(tostring(self.peer_id)),
      "CANCELLED"
    )
  end
  return true
end

--- What was tried so far; tostring reads well.
---@return antquic.Explanation
function methods:explain()
  return explain.session(self)
end

-- The core forgets it soon after its end.
function methods:_remember(worked)
  self._facts = explain.remember(self, worked)
  self._attempt = self._facts.attempt or self._attempt
end

Session.__close = methods.cancel

function Session.__tostring(self)
  return ("antquic.Session{id=%s, phase=%s, peer=%s}"):format(
    tostring(self.id),
    tostring(self.phase),
    tostring(self.peer_id)
  )
end

-- ---- the endpoint's side -----------------------------------------------------

--- Marks it over and wakes everybody.
function session.finish(self, connection, message, code)
  if self._over then
    return
  end
  self._over = true
  session.step_ended(self, self._ep._sched.now(), code, message)
  if not self._facts then
    self:_remember(connection ~= nil)
  end
  self._ended = self._ep._sched.now()
  self.connection = connection
  self._message, self._code = message, code
  if self.id ~= 0 then -- 0: it was connected already, nothing was tried
    if connection then
      connection._session = self
    end
    self._ep:_attempted(self)
  end
  self._phase = connection and "connected" or "failed"
  self._state = connection and "connected" or "closed"
  self._ep._sessions[self.id] = nil
  self._step:wake(nil, message, code)
  self._pause:wake(true)
  self._done:wake(true)
end

-- The strategy came to its end without a connection.
local function give_up(self, message, code)
  if self._over then
    return
  end
  self._reason = message
  local ep = self._ep
  if type(code) ~= "string" or not rawget(errors, code) then
    code = "TRAVERSAL_FAILED"
  end
  local ok = ep._core:session_finish(self.id, code)
  ep._rearm(ep._handle)
  if not ok then
    session.finish(self, nil, message or errors.describe(code), code)
  end
end

local TOO_LONG = ("the strategy took more than %d instructions without waiting"):format(
  limit.STRATEGY
)

local function strategy(self, connect)
  while self._running and not self._over do -- of a strategy that failed beside it
    self._step:wait()
  end
  limit.between(coroutine.running(), limit.STRATEGY, function()
    return self._waits
  end, TOO_LONG)
  local result, why, code = connect(self)
  if self._over then
    return
  elseif result then
    local i = info(self)
    if i and i.phase ~= "connected" then
      local text = "the strategy claims success but there is no connection"
      self._ep:_policy_failed(self._policy, "connect", text)
      give_up(self, text, "TRAVERSAL_FAILED")
    end
    return
  end
  -- return false, code   or   return nil, message, code
  if code == nil and type(why) == "string" and rawget(errors, why) then
    why, code = nil, why
  end
  if not why and not code then
    why = "the strategy gave up and said no reason"
  end
  give_up(self, why, code)
end

--- Runs the strategy of the session's policy; should that fail, the default's.
function session.run(self)
  local balanced = require("antquic.policy.balanced")
  local connect = self._policy.connect or balanced.connect
  local function start(fn, on_failure)
    local t = self._ep._sched.spawn(strategy, self, fn)
    t.on_failure = on_failure
  end
  start(connect, function(text)
    self._stepping = nil
    self._ep:_policy_failed(self._policy, "connect", text)
    if not self._over and connect ~= balanced.connect then
      start(balanced.connect, function(again)
        self._ep:_policy_failed(balanced, "connect", again)
        give_up(self, again, "INTERNAL")
      end)
    else
      give_up(self, text, "INTERNAL")
    end
  end)
end

return session
