-- Reaching a peer: by address, which is one dial, or by id, which is a session
-- that the policy's strategy drives.
--
-- SPDX-License-Identifier: MIT

local connection = require("antquic.connection")
local core = require("antquic.core")
local explain = require("antquic.explain")
local options = require("antquic.options")
local peer_id = require("antquic.peer_id")
local session = require("antquic.session")
local task = require("antquic.task")

local reach = {}

local TIMEOUT = 10
-- Nobody waits in the call: more attempts fit.
local START_TIMEOUT = 30
-- The core ends a dial or session at its time; this is only the net below it.
local GRACE = 0.5

local CONNECT = {
  timeout = { type = "number", default = TIMEOUT, min = 0, unit = "seconds" },
  alpn = { type = "string" },
  known = { type = "table" },
}

local START = {
  timeout = { type = "number", default = START_TIMEOUT, min = 0, unit = "seconds" },
  known = CONNECT.known,
}

-- "hex", id object, "addr:port" or "hex@addr:port" -> id, address
local function parse_target(target)
  if peer_id.is(target) then
    return target
  elseif type(target) ~= "string" then
    error("ep:connect: a peer id or an address is expected, got " .. type(target), 4)
  end
  local hex, address = target:match("^(%x+)@(.*)$")
  if not hex and #target == 64 and not target:find("%X") then
    return peer_id.parse(target)
  end
  local id, message, code
  if hex then
    id, message, code = peer_id.parse(hex)
    if not id then
      return nil, nil, message, code
    end
  end
  address, message, code = core.addr_parse(address or target)
  if not address then
    return nil,
      nil,
      ("ep:connect: '%s' is neither a peer id (64 hex digits) nor an address: %s"):format(
        target,
        message
      ),
      code
  end
  return id, address
end

-- Dials an address and waits.
local function dial(self, address, id, given)
  local inner = self._core
  local deadline = task.deadline(given.timeout)
  local conn_id, message, code =
    inner:connect_addr(address, id and id:bytes(), given.alpn, given.timeout)
  if not conn_id then
    return nil, ("ep:connect: %s: %s"):format(address, message), code
  end
  self._rearm(self._handle)
  local conn = self._conns[conn_id] or connection.new(self, conn_id)
  conn.address = conn.address or address
  conn.outgoing = true
  while conn.state == "connecting" do
    local ok, why, name = conn._changed:wait(deadline and deadline + GRACE)
    if not ok and name == "TIMEOUT" and conn.state == "connecting" then
      conn:close()
      return task.timed_out(given.timeout, "waiting for an answer of " .. address)
    elseif not ok and conn.state == "connecting" then
      return nil, why, name
    end
  end
  conn = conn._same or conn
  if conn.state ~= "established" then
    return nil, conn._closed_message, conn._closed_code
  end
  return conn
end

-- A running or new session to a peer, or its connection.
local function begin(self, id, known, timeout)
  if id == self.peer_id then
    return nil, nil, tostring(id) .. ": this is our own peer id: two peers need two keys", "INVAL"
  end
  if self._store then
    known = self._store:known(id, known)
  end
  local inner = self._core
  local sid, cid, code = inner:session_start(id:bytes(), known, timeout)
  if sid == nil then
    return nil, nil, ("%s: %s"):format(tostring(id), tostring(cid)), code
  elseif sid == false then
    return nil, self:_adopt(cid)
  end
  local s = self._sessions[sid]
  if not s then
    s = session.new(self, sid, id, known, timeout)
    self._rearm(self._handle)
    session.run(s)
  end
  return s
end

local function known_addresses(who, address, extra)
  local list = { address }
  for _, item in ipairs(extra or {}) do
    local addr, message = core.addr_parse(tostring(item))
    if not addr then
      error(("%s: option 'known': '%s': %s"):format(who, tostring(item), message), 4)
    end
    list[#list + 1] = addr
  end
  return list
end

--- ep:connect.
---@param self antquic.Endpoint
function reach.connect(self, target, opts)
  local given = options.check("ep:connect", CONNECT, opts, 3)
  if self._closed then
    return nil, "ep:connect: the endpoint is closed", "CLOSED"
  end
  local id, address, message, code = parse_target(target)
  if not id and not address then
    return nil, message, code
  elseif given.alpn and not address then
    error("ep:connect: option 'alpn' goes with an address, as in id@addr:port", 3)
  elseif given.known and (not id or given.alpn) then
    error("ep:connect: option 'known' goes with a peer id, and not with 'alpn'", 3)
  elseif not id or given.alpn then
    return dial(self, address, id, given)
  end
  local known = known_addresses("ep:connect", address, given.known)
  local s, conn
  s, conn, message, code = begin(self, id, known, given.timeout)
  if not s then
    if not conn and not message then
      return nil, "ep:connect: the connection has just ended", "CLOSED"
    end
    return conn, message, code
  end
  conn, message, code = s:wait(given.timeout + GRACE)
  if conn then
    return conn
  end
  if code == "TIMEOUT" and not s:is_over() and s._waiters == 0 then
    self._core:session_finish(s.id, "TIMEOUT")
    session.finish(s, nil, message, "TIMEOUT")
  end
  if code == "CLOSED" then
    return nil, message, code
  end
  local tried = explain.failure(s)
  message = ("no connection to %s: %s"):format(id:hex(), tostring(message))
  if tried ~= "" then
    message = message .. " (" .. tried .. ")"
  end
  return nil, message, code
end

--- ep:start_traversal.
---@param self antquic.Endpoint
function reach.start(self, target, opts)
  local given = options.check("ep:start_traversal", START, opts, 3)
  if self._closed then
    return nil, "ep:start_traversal: the endpoint is closed", "CLOSED"
  end
  local id, address, message, code = parse_target(target)
  if not id then
    return nil, message or "ep:start_traversal: a peer id is expected", code or "INVAL"
  end
  local known = known_addresses("ep:start_traversal", address, given.known)
  local s, conn
  s, conn, message, code = begin(self, id, known, given.timeout)
  if s then
    return s
  elseif not conn then
    return nil, message, code
  end
  s = session.new(self, 0, id, known, given.timeout)
  self._sessions[0] = nil
  session.finish(s, conn)
  return s
end

return reach
