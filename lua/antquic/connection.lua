-- Connections: streams, datagrams, numbers, and the end.
--
-- SPDX-License-Identifier: MIT

local options = require("antquic.options")
local stream = require("antquic.stream")
local task = require("antquic.task")

local connection = {}

---@class antquic.Connection
---@field id integer
---@field peer_id antquic.PeerIdObject? proven by TLS; nil until the handshake is done
---@field alpn string?
---@field outgoing boolean
---@field state "connecting"|"established"|"closed"
---@field endpoint antquic.Endpoint
local methods = {}
local Connection = { __index = methods, __name = "antquic.Connection" }

-- How long shutdown() waits where it isn't told.
local SHUTDOWN = 5
-- Between two looks at whether everything was acknowledged.
local FLUSH_LOOK = 0.002

local WEAK = { __mode = "v" }

--- For the endpoint's use.
function connection.new(ep, id)
  local self = setmetatable({
    id = id,
    endpoint = ep,
    state = "connecting",
    outgoing = false,
    _ep = ep,
    _changed = task.cond(), -- established, failed or lost
    _incoming = task.cond(),
    _can_open = task.cond(),
    _dgram_in = task.cond(),
    _dgram_out = task.cond(),
    _streams = setmetatable({}, WEAK),
  }, Connection)
  ep._conns[id] = self
  return self
end

-- Names the peer in messages.
function methods:_label()
  if self.peer_id then
    return "connection to " .. tostring(self.peer_id)
  end
  return "connection to " .. tostring(self.address or "an unknown peer")
end

-- message, code of why it is closed; nil while it isn't.
function methods:_why_closed()
  return self._closed_message, self._closed_code
end

local function failed(self, message, code)
  if code == "CLOSED" and self._closed_message then
    return nil, self._closed_message, self._closed_code
  elseif code == "TIMEOUT" then
    return nil, message, code
  end
  local label = self:_label()
  if tostring(message):find(label, 1, true) then
    return nil, message, code
  end
  return nil, ("%s: %s"):format(label, tostring(message)), code
end

local function info_of(self)
  if self.state == "closed" then
    return nil, self._closed_message, self._closed_code
  end
  local core = self._ep._core
  local info, message, code = core:conn_info(self.id)
  if not info then
    return failed(self, message, code)
  end
  return info
end

local OPEN = {
  uni = { type = "boolean", default = false },
  priority = { type = "integer", default = 0, min = -2 ^ 31, max = 2 ^ 31 - 1 },
  timeout = { type = "number", min = 0, unit = "seconds" },
}

local function waiting_open(self)
  return "waiting to open a stream: the peer's limit of open streams is reached, " .. self:_label()
end

--- Opens a stream, waiting while the peer's limit is reached. Options: uni
--- (only we write), priority (higher is sent first), timeout.
---@async
---@param opts { uni: boolean?, priority: integer?, timeout: number? }?
---@return antquic.Stream?
---@return string? message
---@return string? code
function methods:open_stream(opts)
  local uni, priority, timeout = false, 0, nil
  if opts ~= nil then
    local given = options.check("conn:open_stream", OPEN, opts)
    uni, priority, timeout = given.uni, given.priority, given.timeout
  end
  local core = self._ep._core
  local id, message, code = task.retry(
    self,
    waiting_open,
    self._can_open,
    timeout,
    nil,
    core.stream_open,
    core,
    self.id,
    uni,
    priority
  )
  if not id then
    return failed(self, message, code)
  end
  return stream.new(self, id, uni, false)
end

local function waiting_accept(self)
  return "waiting for a stream, " .. self:_label()
end

--- The next stream that the peer opened.
---@async
---@param timeout number? seconds
---@return antquic.Stream?
---@return string? message
---@return string? code
function methods:accept_stream(timeout)
  options.timeout("conn:accept_stream", timeout)
  local core = self._ep._core
  local id, message, code = task.retry(
    self,
    waiting_accept,
    self._incoming,
    timeout,
    nil,
    core.stream_accept,
    core,
    self.id
  )
  if not id then
    return failed(self, message, code)
  end
  local info = core:stream_info(id)
  local s = stream.new(self, id, info ~= nil and info.uni, true)
  s.number = info and info.id
  return s
end

--- Iterates over the streams that the peer opens, until the connection ends.
---@async
---@param timeout number? for each; the loop ends when it passes
function methods:streams(timeout)
  return function()
    return (self:accept_stream(timeout))
  end
end

local function waiting_dgram_out(self)
  return "waiting for room in the datagram queue, " .. self:_label()
end

--- Sends a datagram (RFC 9221): at most max_datagram of metrics() bytes, may be
--- lost. Waits for room in the queue. Returns the connection.
---@async
---@param data string
---@param timeout number? seconds
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:send_datagram(data, timeout)
  if type(data) ~= "string" then
    error("conn:send_datagram: a string is expected, got " .. type(data), 2)
  end
  options.timeout("conn:send_datagram", timeout)
  local ep = self._ep
  local core = ep._core
  local ok, message, code = task.retry(
    self,
    waiting_dgram_out,
    self._dgram_out,
    timeout,
    nil,
    core.datagram_send,
    core,
    self.id,
    data
  )
  if not ok then
    return failed(self, message, code)
  end
  ep._rearm(ep._handle)
  return self
end

local function waiting_dgram_in(self)
  return "waiting for a datagram, " .. self:_label()
end

--- The next datagram.
---@async
---@param timeout number? seconds
---@return string?
---@return string? message
---@return string? code
function methods:receive_datagram(timeout)
  options.timeout("conn:receive_datagram", timeout)
  local core = self._ep._core
  local data, message, code = task.retry(
    self,
    waiting_dgram_in,
    self._dgram_in,
    timeout,
    nil,
    core.datagram_receive,
    core,
    self.id
  )
  if not data then
    return failed(self, message, code)
  end
  return data
end

--- Numbers, live: rtt, min_rtt, rttvar (seconds), loss_rate (0..1), bytes_sent,
--- bytes_received, packets_*, cwnd, bytes_in_flight, datagrams_*, max_datagram,
--- max_udp_payload, last_activity, established (times of antquic.now()),
--- post_quantum, memory.
---@return table?
---@return string? message
---@return string? code
function methods:metrics()
  local info, message, code = info_of(self)
  if not info then
    return nil, message, code
  end
  info.loss_rate = info.packets_sent > 0 and info.packets_lost / info.packets_sent or 0
  info.peer, info.public_key, info.session = nil, nil, nil
  return info
end

--- The path in use: kind ("direct", or "relayed" via the address of a
--- coordinator), remote, local_addr, rtt, observed (our address as the peer sees it).
---@return table?
---@return string? message
---@return string? code
function methods:path()
  local info, message, code = info_of(self)
  if not info then
    return nil, message, code
  end
  return {
    kind = info.relayed and "relayed" or "direct",
    via = info.relayed and info.remote or nil,
    remote = info.remote,
    ["local"] = info.local_addr,
    local_addr = info.local_addr,
    rtt = info.rtt,
    observed = info.observed,
  }
end

--- The peer's raw Ed25519 public key, 32 bytes.
---@return string?
---@return string? message
---@return string? code
function methods:public_key()
  local info, message, code = info_of(self)
  if not info then
    return nil, message, code
  end
  return info.public_key
end

--- What was tried to get this connection, when, and why it failed or won; a
--- list whose tostring reads well.
---@return antquic.Explanation
function methods:explain()
  return require("antquic.explain").connection(self)
end

--- Asks the peer for a sign of life and waits for it; returns the smoothed
--- round-trip time in seconds, this exchange included.
---@async
---@param timeout number? seconds, default 5
---@return number?
---@return string? message
---@return string? code
function methods:ping(timeout)
  options.timeout("conn:ping", timeout)
  timeout = timeout or 5
  local ep = self._ep
  local core = ep._core
  local before, message, code = core:conn_info(self.id)
  if not before then
    return failed(self, message, code)
  end
  local sched = ep._sched
  local start = sched.now()
  local ok
  ok, message, code = core:conn_ping(self.id)
  if not ok then
    return failed(self, message, code)
  end
  ep._rearm(ep._handle)
  -- An answer is an acknowledgement: the core counts what it receives.
  local deadline = start + timeout
  local look = FLUSH_LOOK / 4
  while true do
    local woken, why, name = self._changed:wait(math.min(deadline, sched.now() + look))
    if not woken and name ~= "TIMEOUT" then
      return failed(self, why, name)
    end
    local info
    info, message, code = ep._core:conn_info(self.id)
    if not info then
      return failed(self, message, code)
    end
    local sent = info.packets_sent > before.packets_sent
    local heard = info.packets_received > before.packets_received
    -- Quiet means that the ping was acknowledged. A busy connection never is:
    -- there, whatever came a while after it will do.
    local answered = ep._core:flushed(self.id) or sched.now() - start > 3 * info.rtt
    if sent and heard and answered then
      return info.rtt
    elseif sched.now() >= deadline then
      return task.timed_out(timeout, "waiting for a sign of life, " .. self:_label())
    end
    look = math.min(look * 1.5, 0.02)
  end
end

--- Starts a key update (RFC 9001 section 6).
---@return true?
---@return string? message
---@return string? code
function methods:update_keys()
  local core = self._ep._core
  local ok, message, code = core:conn_update_keys(self.id)
  if not ok then
    return failed(self, message, code)
  end
  self._ep._rearm(self._ep._handle)
  return true
end

-- Marks it closed and wakes everybody. Only the first reason counts.
function methods:_end(message, code)
  if self.state == "closed" then
    return
  end
  self.state = "closed"
  self._closed_message, self._closed_code = message, code
  for _, s in pairs(self._streams) do
    stream.on_lost(s, message, code)
  end
  self._changed:close(message, code)
  self._incoming:close(message, code)
  self._can_open:close(message, code)
  self._dgram_in:close(message, code)
  self._dgram_out:close(message, code)
end

--- Closes at once, with an application error code and a reason for the peer.
--- Idempotent. What isn't acknowledged yet may be lost: see shutdown.
---@param code integer? default 0
---@param reason string?
---@return true
function methods:close(code, reason)
  if code ~= nil and (type(code) ~= "number" or code < 0 or code ~= math.floor(code)) then
    error("conn:close: an application error code is a whole number, 0 or more", 2)
  elseif reason ~= nil and type(reason) ~= "string" then
    error("conn:close: the reason is a string", 2)
  end
  if self.state ~= "closed" then
    local ep = self._ep
    self:_remember()
    self:_end(self:_label() .. " is closed", "CLOSED")
    local core = ep._core
    core:conn_close(self.id, code or 0, reason)
    ep._rearm(ep._handle)
    ep:_forget(self)
  end
  return true
end

-- The explanation outlives the connection.
function methods:_remember()
  self._explained = self._explained or self._ep._core:explain(self.id)
end

--- Closes once everything written was acknowledged, waiting at most |timeout|
--- seconds (default 5). Returns true, or nil, message, "TIMEOUT"; it is closed
--- either way.
---@async
---@param timeout number?
---@param code integer? application error code, default 0
---@param reason string?
---@return true?
---@return string? message
---@return string? errcode
function methods:shutdown(timeout, code, reason)
  options.timeout("conn:shutdown", timeout)
  local ep = self._ep
  local sched = ep._sched
  timeout = timeout or SHUTDOWN
  local deadline = sched.now() + timeout
  local look = FLUSH_LOOK
  local late = false
  while self.state ~= "closed" do
    local flushed, _, name = ep._core:flushed(self.id)
    if flushed or name then
      break
    elseif sched.now() >= deadline then
      late = true
      break
    end
    ep._rearm(ep._handle)
    self._changed:wait(math.min(deadline, sched.now() + look))
    look = math.min(look * 1.5, 0.05)
  end
  self:close(code, reason)
  if late then
    return task.timed_out(timeout, "until everything was acknowledged, " .. self:_label())
  end
  return true
end

--- Was it closed, by whomever?
---@return boolean
function methods:is_closed()
  return self.state == "closed"
end

--- Waits until the connection ends. Returns why: message, code.
---@async
---@param timeout number? seconds
---@return string? message nil at the time-out
---@return string? code
function methods:wait_closed(timeout)
  options.timeout("conn:wait_closed", timeout)
  local deadline = task.deadline(timeout)
  while self.state ~= "closed" do
    local _, _, code = self._changed:wait(deadline)
    if code == "TIMEOUT" and self.state ~= "closed" then
      return nil, "TIMEOUT"
    end
  end
  return self._closed_message, self._closed_code
end

function Connection.__close(self)
  self:close()
end

function Connection.__tostring(self)
  return ("antquic.Connection{id=%s, state=%s, peer=%s, address=%s}"):format(
    tostring(self.id),
    self.state,
    tostring(self.peer_id),
    tostring(self.address)
  )
end

return connection
