-- The pump: one turn of an endpoint's core, then each of its events to whoever
-- waits for it. Nothing here waits, and nobody's task runs inside it.
--
-- SPDX-License-Identifier: MIT

local connection = require("antquic.connection")
local errors = require("antquic.errors")
local peer_id = require("antquic.peer_id")
local session = require("antquic.session")
local stream = require("antquic.stream")

local pump = {}

-- By kind: what an event means to this side. Further, each event goes to the
-- subscriptions of its kind.
local on = {}

function on.stream_readable(ep, ev)
  local s = ep._streams[ev.stream]
  if s then
    s._readable:wake(true)
  end
end

function on.stream_writable(ep, ev)
  local s = ep._streams[ev.stream]
  if s then
    s._writable:wake(true)
  end
end

function on.stream_closed(ep, ev)
  local s = ep._streams[ev.stream]
  if s then
    stream.on_closed(s)
  end
end

-- Wakes who waits for that condition of the event's connection.
local function wakes(condition)
  return function(ep, ev)
    local conn = ep._conns[ev.conn]
    if conn then
      conn[condition]:wake(true)
    end
  end
end

on.stream_incoming = wakes("_incoming")
on.streams_available = wakes("_can_open")
on.datagram_readable = wakes("_dgram_in")
on.datagram_writable = wakes("_dgram_out")

function on.candidate_discovered(ep, ev)
  if not ev.session then
    ep:_choose_candidates()
  end
end

on.candidate_removed = on.candidate_discovered

function on.connection_established(ep, ev)
  local id = ev.conn
  local conn = ep._conns[id]
  -- Two dials that met in one connection: the later id is another name of it.
  local real = ev.peer and ep._core:find_conn(ev.peer)
  local other = real and real ~= id and ep._conns[real]
  if other and other.state == "established" then
    ep:_name(other, id)
    if conn and conn ~= other then
      conn._same = other
      conn.state = "closed"
      conn._closed_message = conn:_label() .. " is another one's name"
      conn._closed_code = "DUPLICATE"
      conn._changed:wake(true)
    end
    return
  end
  conn = conn or connection.new(ep, id)
  if conn.state ~= "connecting" then
    return
  end
  conn.state = "established"
  conn.peer_id = ev.peer and peer_id.intern(ev.peer)
  conn.address = ev.addr
  conn.alpn = ev.alpn
  conn.outgoing = ev.outgoing == true
  local s = ev.session and ep._sessions[ev.session]
  local incoming = not conn.outgoing and not s
  if incoming then
    local yes, why = ep:_accepts(conn.peer_id)
    if not yes then
      conn:close(0, why)
      return
    end
  end
  ep:_keep_alive(conn)
  conn._changed:wake(true)
  if incoming then
    ep:_deliver(conn)
  end
end

-- What the core's error means for a connection, in words.
local function reason_of(conn, ev)
  local code = ev.error or "CLOSED"
  local message = conn:_label() .. ": " .. errors.describe(code, ev.text)
  -- Of any other end it is a number of QUIC or TLS, which the words tell.
  if code == "PEER_CLOSED" and ev.code and ev.code ~= 0 then
    message = ("%s (application error code %d)"):format(message, ev.code)
  end
  return message, code
end

function on.dial_failed(ep, ev)
  local conn = ep._conns[ev.conn]
  if conn then
    conn.address = conn.address or ev.addr
    conn:_end(reason_of(conn, ev))
    ep._conns[ev.conn] = nil
  end
end

function on.connection_lost(ep, ev)
  local conn = ep._conns[ev.conn]
  if conn then
    conn:_remember()
    conn.app_code = ev.code
    conn:_end(reason_of(conn, ev))
    ep:_forget(conn)
  end
end

function on.path_changed(ep, ev)
  local conn = ep._conns[ev.conn]
  if conn then
    conn.address = ev.addr or conn.address
  end
end

-- Why a bootstrap node isn't reached: the core tells it once.
function on.bootstrap_lost(ep, ev)
  ep._lost[ev.addr] = { error = ev.error, text = ev.text }
end

function on.bootstrap_connected(ep, ev)
  ep._lost[ev.addr] = nil
end

function on.step_done(ep, ev)
  local s = ep._sessions[ev.session]
  if s then
    session.step_ended(s, ev.time, ev.error, ev.text)
    s._step:wake(ev)
  end
end

function on.traversal_succeeded(ep, ev)
  local s = ep._sessions[ev.session]
  if not s then
    return
  end
  local conn = ep._conns[ev.conn]
  if not conn then
    local id = ev.conn or ep._core:find_conn(s.peer_id:bytes())
    conn = id and ep:_adopt(id)
  end
  if conn then
    if ep._store and not ev.relayed then
      ep._store:learn(ep, s, conn)
    end
    session.finish(s, conn)
  else
    session.finish(s, nil, "the connection ended at once", "CONNECTION_FAILED")
  end
end

function on.traversal_failed(ep, ev)
  local s = ep._sessions[ev.session]
  if s then
    local code = ev.error or "TRAVERSAL_FAILED"
    session.finish(s, nil, s._reason or errors.describe(code, ev.text), code)
  end
end

function on.decision(ep, ev)
  local yes = ep:_accepts(ev.peer and peer_id.intern(ev.peer))
  ep._core:decide(ev.decision, yes)
  ep._rearm(ep._handle)
end

-- What the lost events may have said of connections and sessions is read from
-- the core, so that nobody waits in vain.
function on.events_lost(ep)
  for id, conn in pairs(ep._conns) do
    local info = ep._core:conn_info(id)
    if not info or info.state == "closed" then
      conn:_end(conn:_label() .. ": it ended while too much happened at once", "CLOSED")
      ep:_forget(conn)
      return on.events_lost(ep) -- the table changed
    end
  end
  for id, s in pairs(ep._sessions) do
    local info = ep._core:session_info(id)
    if not info or info.phase == "failed" then
      session.finish(s, nil, "the session ended while too much happened at once", "CLOSED")
      return on.events_lost(ep)
    elseif info.phase == "connected" then
      on.traversal_succeeded(ep, { session = id })
      return on.events_lost(ep)
    end
  end
end

local function dispatch(ep, ev)
  local handler = on[ev.kind]
  if handler then
    handler(ep, ev)
  end
  local hub = ep._hub
  if hub:wants(ev.kind) then
    hub:emit(hub:present(ev))
  end
end

--- One turn. With |block| it waits in the core first, at most |seconds|.
---@param ep antquic.Endpoint
---@param block boolean?
---@param seconds number?
function pump.turn(ep, block, seconds)
  local core = ep._core
  local more, message, code
  if block then
    more, message, code = core:wait(seconds)
  else
    more, message, code = core:step()
  end
  if more == nil then
    if ep._fault ~= message then
      -- Said once: the next turn will most likely meet it again.
      ep._fault = message
      ep._hub:emit_error("the endpoint's turn", ("%s (%s)"):format(message, code))
    end
  elseif more then
    ep._rearm(ep._handle)
  end
  local poll, hub = core.poll, ep._hub
  local ev = poll(core, hub:wanted(on))
  while ev do
    dispatch(ep, ev)
    if ep._closed then
      return
    end
    ev = poll(core, hub:wanted(on))
  end
  if ep._store then
    ep._store:turn(ep)
  end
  if ep._recorder then
    ep._recorder:drain()
  end
end

return pump
