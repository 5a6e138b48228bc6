-- Endpoints: one identity, its sockets, and every connection through them.
--
-- SPDX-License-Identifier: MIT

local addresses = require("antquic.addresses")
local compat = require("antquic.compat")
local config = require("antquic.config")
local connection = require("antquic.connection")
local events = require("antquic.events")
local options = require("antquic.options")
local peer_id = require("antquic.peer_id")
local policy = require("antquic.policy")
local pump = require("antquic.pump")
local reach = require("antquic.reach")
local sched = require("antquic.sched")
local session = require("antquic.session")
local task = require("antquic.task")
local world = require("antquic.world")

local endpoint = {}

-- Accepted connections that nobody took yet. They stay open beyond it, and are
-- found with ep:connections().
local ACCEPT_QUEUE = 4096
-- Whose last attempt explain() knows.
local MAX_ATTEMPTS = 64

---@class antquic.Endpoint
---@field peer_id antquic.PeerIdObject
---@field identity antquic.Identity
---@field role string
local methods = {}
local Endpoint = { __index = methods, __name = "antquic.Endpoint" }
for name, method in pairs(addresses) do
  methods[name] = method
end

-- Stands in for the core of a closed endpoint.
local function closed_call()
  return nil, "the endpoint is closed", "CLOSED"
end
local CLOSED_CORE = setmetatable({}, {
  __index = function()
    return closed_call
  end,
})

--- Makes an endpoint. See docs/api.md for the options.
---@param given table?
---@param where antquic.World? what it lives in; default: the scheduler's
---@return antquic.Endpoint?
---@return string? message
---@return string? code
function endpoint.new(given, where)
  local s = sched.current()
  where = where or (s.world and s.world()) or world
  local core_options, me, p = config.read(given, where)
  if not core_options then
    return nil, me, p
  end
  local kept, message, code
  if given and given.store then
    kept, message, code = require("antquic.store").open(given.store)
    if not kept then
      return nil, "antquic.endpoint: option 'store': " .. message, code
    end
  end
  local core
  core, message, code = where.endpoint(core_options)
  if not core then
    return nil, "antquic.endpoint: " .. tostring(message), code
  end
  local self = compat.setmetatable({
    peer_id = peer_id.intern(core:peer_id()),
    identity = me,
    role = core_options.role,
    _core = core,
    _world = where,
    _sched = s,
    _rearm = s.rearm,
    _policy = p,
    _policy_errors = 0,
    _store = kept,
    _conns = {},
    _streams = setmetatable({}, { __mode = "v" }),
    _sessions = {},
    _attempts = {}, -- the last one of each peer
    _attempt_order = {},
    _accepted = task.queue(ACCEPT_QUEUE),
    _relay_off = core_options.enable_relay_fallback == false,
    _lost = {}, -- of bootstrap nodes: why, by address
  }, Endpoint)
  self._hub = events.hub(self)
  if core_options.second_port then
    self:_open_second(core_options.second_port)
  end
  if kept then
    kept:attach(self)
  end
  -- The scheduler must not keep a dropped endpoint alive.
  local weak = setmetatable({ self }, { __mode = "v" })
  self._source = {
    core = core,
    eager = kept ~= nil, -- has turns to make without an event, too
    pump = function(block, seconds)
      local ep = weak[1]
      if ep and not ep._closed then
        pump.turn(ep, block, seconds)
      end
    end,
    close = function()
      local ep = weak[1]
      if ep then
        ep:close()
      end
    end,
  }
  self._handle = s.attach(self._source)
  if where.made then
    where.made(self)
  end
  self:_apply_policy()
  return self
end

local function check_open(self, who)
  if self._closed then
    return nil, who .. ": the endpoint is closed", "CLOSED"
  end
  return true
end

-- ---- policy ------------------------------------------------------------------

function methods:_view(peer)
  return {
    endpoint = self,
    me = self.peer_id,
    role = self.role,
    now = self._sched.now(),
    peer_id = peer,
  }
end

function methods:_choose(p, which, peer, arg)
  return policy.choose(self, p, which, self:_view(peer), arg)
end

function methods:_policy_failed(p, which, text)
  policy.report(self, p, which, text)
end

function methods:_apply_policy()
  self:_choose_candidates()
  local schedule = self:_choose(self._policy, "punch")
  schedule.timeout = nil
  self._core:set_punch_defaults(schedule)
end

function methods:_keep_alive(conn)
  -- The endpoint's own option stands unless the policy says something else.
  local p = self._policy
  if p.keepalive and p.keepalive ~= policy.balanced.keepalive then
    self._core:conn_keep_alive(conn.id, (self:_choose(p, "keepalive", conn.peer_id)))
  end
end

-- Whether the policy lets the peer in, and why not.
function methods:_accepts(peer)
  local yes, why = self:_choose(self._policy, "accept", peer, peer)
  return yes ~= false, type(why) == "string" and why or "refused"
end

function methods:_coordinators(p, peer)
  local list = {}
  for _, node in ipairs(self:bootstrap_nodes()) do
    if node.connected and node.can_coordinate then
      list[#list + 1] = node
    end
  end
  return self:_choose(p, "coordinators", peer, list)
end

--- Takes another policy from now on; sessions that run keep theirs.
---@param p antquic.Policy
---@return antquic.Endpoint
function methods:set_policy(p)
  policy.check(p, "ep:set_policy", 2)
  local ok, message, code = check_open(self, "ep:set_policy")
  if not ok then
    return nil, message, code
  end
  self._policy = p
  self:_apply_policy()
  return self
end

-- ---- connections -------------------------------------------------------------

-- The object for a connection that the core made on its own.
function methods:_adopt(id)
  local conn = self._conns[id]
  if conn then
    return conn
  end
  local core = self._core
  local info = core:conn_info(id)
  if not info then
    return nil
  end
  local peer = info.peer and peer_id.intern(info.peer)
  for _, other in pairs(self._conns) do
    if other.peer_id == peer and other.state == "established" then
      self:_name(other, id)
      return other
    end
  end
  conn = connection.new(self, id)
  conn.state = "established"
  conn.peer_id = peer
  conn.alpn = info.alpn
  conn.outgoing = info.outgoing
  conn.address = info.remote
  return conn
end

-- One more id of a connection: that of a dial that met it.
function methods:_name(conn, id)
  conn._names = conn._names or {}
  conn._names[#conn._names + 1] = id
  self._conns[id] = conn
end

function methods:_forget(conn)
  local conns = self._conns
  if conns[conn.id] == conn then
    conns[conn.id] = nil
  end
  for _, id in ipairs(conn._names or {}) do
    if conns[id] == conn then
      conns[id] = nil
    end
  end
end

function methods:_deliver(conn)
  local serving = self._serving
  local handler = serving and (serving[conn.alpn] or serving["*"])
  if handler then
    local t = self._sched.spawn(handler, conn)
    t.on_failure = function(text)
      conn:close(1, "internal error")
      self._hub:emit_error(("serve %s"):format(tostring(conn.alpn)), text)
    end
    return
  end
  self._accepted:push(conn)
end

--- Connects to a peer, by its id ("64 hex digits" or an object: known
--- addresses, coordinators, punching, as the policy says), by an address
--- ("1.2.3.4:5": TLS tells who it is), or by both ("id@1.2.3.4:5": this
--- address is tried first, and nobody else is accepted). A connection that is
--- there is returned. Options: timeout (10), alpn (by address only), known
--- (more addresses to try first).
---@async
---@param target string|antquic.PeerIdObject
---@param opts { timeout: number?, alpn: string?, known: string[]? }?
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:connect(target, opts)
  -- No tail call, here and below: errors count the frames up to the caller.
  local conn, message, code = reach.connect(self, target, opts)
  return conn, message, code
end

--- Starts reaching a peer without waiting for it. With a connection already
--- there the session is over at once.
---@param target string|antquic.PeerIdObject
---@param opts { timeout: number?, known: string[]? }?
---@return antquic.Session?
---@return string? message
---@return string? code
function methods:start_traversal(target, opts)
  local s, message, code = reach.start(self, target, opts)
  return s, message, code
end

--- What was tried to reach a peer: of the attempt that runs, else of the last
--- one. The endpoint remembers the last 64 peers that it looked for.
---@param target string|antquic.PeerIdObject
---@return antquic.Explanation?
---@return string? message
---@return string? code
function methods:explain(target)
  local id, message, code = peer_id.parse(target)
  if not id then
    return nil, message, code
  end
  for _, s in pairs(self._sessions) do
    if s.peer_id == id then
      return s:explain()
    end
  end
  local s = self._attempts[id]
  if not s then
    return nil, "there was no attempt to reach " .. id:hex(), "UNKNOWN_TARGET"
  end
  return s:explain()
end

-- Keeps an attempt for explain().
function methods:_attempted(s)
  local attempts, order = self._attempts, self._attempt_order
  if attempts[s.peer_id] then
    for i, id in ipairs(order) do
      if id == s.peer_id then
        table.remove(order, i)
        break
      end
    end
  end
  order[#order + 1] = s.peer_id
  attempts[s.peer_id] = s
  if #order > MAX_ATTEMPTS then
    attempts[table.remove(order, 1)] = nil
  end
end

--- The next connection that a peer made.
---@async
---@param timeout number? seconds
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:accept(timeout)
  options.timeout("ep:accept", timeout)
  -- One that has ended meanwhile is still given: it may hold data.
  return self._accepted:pop(timeout, "waiting for a connection")
end

--- Iterates over the connections that peers make, until the endpoint closes.
---@async
---@param timeout number? for each; the loop ends when it passes
function methods:connections_iter(timeout)
  return function()
    return (self:accept(timeout))
  end
end

--- Starts a task for each connection that a peer makes: handlers by ALPN name
--- ("*": any other), or one function for all. It doesn't wait; the task that it
--- returns ends when the endpoint closes: ep:serve{...}:wait().
---@param handlers table<string, fun(conn: antquic.Connection)>|fun(conn: antquic.Connection)
---@return antquic.Task
function methods:serve(handlers)
  if type(handlers) == "function" then
    handlers = { ["*"] = handlers }
  elseif type(handlers) ~= "table" then
    error("ep:serve: handlers by ALPN name are expected, got " .. type(handlers), 2)
  end
  for name, fn in pairs(handlers) do
    if type(name) ~= "string" or type(fn) ~= "function" then
      error("ep:serve: each key is an ALPN name and each value a function", 2)
    end
  end
  self._serving = handlers
  -- Those that came before.
  for _ = 1, self._accepted:count() do
    self:_deliver(self._accepted:take())
  end
  self._gone = self._gone or task.cond()
  local gone = self._gone
  local closed = self._closed
  return self._sched.spawn(function()
    if not closed then
      gone:wait()
    end
  end)
end

--- The connections that are established now, in no order.
---@return antquic.Connection[]
function methods:connections()
  local list, seen = {}, {}
  for _, conn in pairs(self._conns) do
    if conn.state == "established" and not seen[conn] then
      seen[conn] = true
      list[#list + 1] = conn
    end
  end
  return list
end

--- The established connection to a peer.
---@param target string|antquic.PeerIdObject
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:connection(target)
  local id, message, code = peer_id.parse(target)
  if not id then
    return nil, message, code
  end
  local cid = self._core:find_conn(id:bytes())
  local conn = cid and self:_adopt(cid)
  if conn then
    return conn
  end
  return nil, "there is no connection to " .. id:hex(), "PEER_NOT_CONNECTED"
end

--- Closes the connection to a peer.
---@param target string|antquic.PeerIdObject
---@param code integer? application error code
---@param reason string?
---@return true?
---@return string? message
---@return string? errcode
function methods:remove_connection(target, code, reason)
  local conn, message, name = self:connection(target)
  if not conn then
    return nil, message, name
  end
  return conn:close(code, reason)
end

-- ---- knowledge ---------------------------------------------------------------

--- Counters since the start and what is alive now; docs/api.md lists them.
---@return table?
---@return string? message
---@return string? code
function methods:statistics()
  local core = self._core
  local out, message, code = core:statistics()
  if not out then
    return nil, message, code
  end
  for name, value in pairs(core:usage()) do
    out["current_" .. name] = value
  end
  for name, value in pairs(core:io_stats()) do
    out["io_" .. name] = value
  end
  out.active_sessions = out.current_sessions
  out.total_bootstrap_nodes = #core:bootstrap_list()
  out.successful_coordinations = out.coordinations_completed
  if out.coordinations_completed > 0 then
    out.average_coordination_time = out.coordination_time_total_ns
      / 1e9
      / out.coordinations_completed
  end
  out.policy_errors = self._policy_errors
  out.accept_queue_dropped = self._accepted.dropped
  return out
end

--- Iterates over events of these kinds (none given: all). Leaving the loop ends
--- the subscription.
---@async
---@param kinds string[]?
function methods:events(kinds)
  local step, state, control, closing = self._hub:iterate(kinds)
  return step, state, control, closing
end

--- A subscription to keep: sub:next(timeout), sub:close().
---@param kinds string[]?
---@return antquic.Subscription
function methods:subscribe(kinds)
  local subscription = self._hub:subscribe("ep:subscribe", kinds, 2)
  return subscription
end

--- Calls fn(event) in a task for each event of a kind, one after the other.
--- Returns the function that ends it. An error in it is a handler_error event.
---@param kind string
---@param fn fun(event: table)
---@return fun()
function methods:on(kind, fn)
  local off = self._hub:on(kind, fn)
  return off
end

--- Writes down what the endpoint sees, for docs/record.md's reasons: to a file,
--- or calls a function with each line. One at a time. Options: max_bytes (16
--- MiB; what comes after is left out and counted).
---@param sink string|fun(line: string)
---@param opts { max_bytes: integer? }?
---@return antquic.Recorder?
---@return string? message
---@return string? code
function methods:record(sink, opts)
  local open, why, closed = check_open(self, "ep:record")
  if not open then
    return nil, why, closed
  end
  local recorder, message, code = require("antquic.record").start(self, sink, opts)
  return recorder, message, code
end

-- ---- turning and the end -----------------------------------------------------

--- One turn of the scheduler for programs with a loop of their own; waits at
--- most |seconds| (default 0). Returns whether there is more to do at once.
---@param seconds number?
---@return boolean?
---@return string? message
---@return string? code
function methods:step(seconds)
  local open, message, code = check_open(self, "ep:step")
  if not open then
    return nil, message, code
  end
  return self._sched.turn(options.timeout("ep:step", seconds, 2) or 0)
end

--- A file descriptor that is readable when step() has work; nil where the
--- system has none.
---@return integer?
function methods:pollfd()
  return (self._core:pollfd())
end

--- Seconds until step() is due, nil for never.
---@return number?
function methods:timeout()
  return (self._core:timeout())
end

--- Was it closed?
---@return boolean
function methods:is_closed()
  return self._closed == true
end

--- Closes at once: every connection, the sockets. Waiting calls give CLOSED.
--- Idempotent.
---@return true
function methods:close()
  if self._closed then
    return true
  end
  if self._recorder then
    self._recorder:close()
  end
  if self._store then
    self._store:flush(self)
  end
  self._closed = true
  local core = self._core
  local message = "the endpoint is closed"
  for _, s in pairs(self._sessions) do
    session.finish(s, nil, message, "CLOSED")
  end
  for _, conn in pairs(self._conns) do
    if conn.state ~= "closed" then
      conn:_remember()
      conn:_end(message, "CLOSED")
    end
  end
  self._core = CLOSED_CORE
  self._conns, self._sessions = {}, {}
  self._sched.detach(self._handle)
  core:close()
  self._accepted:close(message, "CLOSED")
  self._hub:close()
  if self._gone then
    self._gone:wake(true)
  end
  return true
end

--- Closes gracefully: takes nothing new, lets what was written arrive, says
--- good-bye, closes. True, or nil, message, "TIMEOUT"; it is closed either way.
---@async
---@param timeout number? seconds, default 5
---@return true?
---@return string? message
---@return string? code
function methods:shutdown(timeout)
  options.timeout("ep:shutdown", timeout)
  if self._closed then
    return true
  end
  timeout = timeout or 5
  local deadline = self._sched.now() + timeout
  local late
  for _, conn in ipairs(self:connections()) do
    local ok, message = conn:shutdown(math.max(0, deadline - self._sched.now()))
    late = late or (not ok and message) or nil
  end
  if self._closed then
    return true
  end
  if self._store then
    self._store:learn_nodes(self)
  end
  self._core:close_all(0, "shutdown")
  self._rearm(self._handle)
  local pause = task.cond()
  local look = 0.001
  while not self._closed and not self._core:drained() do
    local now = self._sched.now()
    if now >= deadline then
      break
    end
    -- Draining takes three probe time-outs (RFC 9000 section 10.2); the
    -- good-bye is said, so nobody waits for the end of it.
    if look > 0.004 then
      break
    end
    pause:wait(math.min(deadline, now + look))
    look = look * 2
  end
  self:close()
  if late then
    return nil, late, "TIMEOUT"
  end
  return true
end

function Endpoint.__close(self)
  self:close()
end

-- The finalizer may run anywhere, in the middle of a turn too: it only lets go.
-- The core's own finalizer closes the sockets.
function Endpoint.__gc(self)
  if not self._closed then
    self._closed = true
    self._sched.detach(self._handle)
  end
end

function Endpoint.__tostring(self)
  if self._closed then
    return ("antquic.Endpoint{closed, peer_id=%s}"):format(tostring(self.peer_id))
  end
  return ("antquic.Endpoint{role=%s, peer_id=%s, address=%s}"):format(
    self.role,
    tostring(self.peer_id),
    tostring((self:local_addresses() or {})[1])
  )
end

return endpoint
