-- peer.lua - the programs that the lab runs inside its namespaces. What they saw goes to
-- standard output, a JSON object a line; what they have to do comes from standard input.
--
--   peer.lua coordinator BIND [KEYFILE [relay]]
--   peer.lua listen COORDINATOR... [OPTION=VALUE...]    "trial N SECONDS", fresh endpoint each
--   peer.lua dial COORDINATOR... [OPTION=VALUE...]      "trial N SECONDS PEERID"
--   peer.lua serve COORDINATOR... [OPTION=VALUE...]     one endpoint, echoes until killed
--   peer.lua both COORDINATOR... [OPTION=VALUE...]      dials the id it reads, and is dialled
--   peer.lua talk PEERID COORDINATOR... [OPTION=VALUE]  one endpoint, an echo every 100 ms
--   peer.lua pour COORDINATOR... [OPTION=VALUE...]     "accept" or "connect PEERID"; "go BYTES",
--                                                       "mark", "stop"; a stream each way
--
-- Options are the endpoint's, such as idle_timeout=5 or bind=[::]:0, and register_wait=SECONDS.
--
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path

local antquic = require "antquic"
local core = require "antquic.core"
local json = require "antquic.json"

local MEASURING = 0.5 -- seconds; not everything can be told in every place
local register_wait = 1.5 -- seconds; who has no coordinator by then goes on without

io.stdout:setvbuf "line"
local function emit(event, fields)
  fields = fields or {}
  fields.event = event
  io.stdout:write(json.encode(fields), "\n")
end

local function parse(words, from)
  local options = { role = "client", allow_reserved = true, bootstrap_nodes = {} }
  for i = from, #words do
    local key, value = words[i]:match("^([%a_]+)=(.*)$")
    if key == "register_wait" then
      register_wait = tonumber(value)
    elseif key then
      options[key] = value ~= "false" and (tonumber(value) or value)
    else
      table.insert(options.bootstrap_nodes, words[i])
    end
  end
  return options
end

local function open(options)
  local copy = {}
  for key, value in pairs(options) do
    copy[key] = value
  end
  return assert(antquic.endpoint(copy))
end

--- Waits until a coordinator is connected and has said how it sees us: from then on a peer can
--- be asked for; and until the NAT in front is measured. Returns whether the first happened in
--- time.
local function register(ep)
  local seen = ep:subscribe { "address_observed" }
  local node = ep:wait_bootstrap(register_wait)
  local observed = node and seen:next(register_wait)
  seen:close()
  local enough = antquic.now() + MEASURING
  while observed and not ep:nat_profile().complete and antquic.now() < enough do
    antquic.sleep(0.02)
  end
  return observed ~= nil
end

local function describe(path)
  return {
    kind = path.kind,
    via = path.via,
    remote = tostring(path.remote),
    ["local"] = tostring(path["local"]),
    rtt_ms = path.rtt and path.rtt * 1e3,
  }
end

local function failure(message, code)
  return { ok = false, error = tostring(message), code = tostring(code) }
end

--- Sends a line over a stream of its own and expects it back.
local function echo(conn, text, timeout)
  local stream, message, code = conn:open_stream()
  if not stream then
    return nil, message, code
  end
  local ok
  ok, message, code = stream:write(text)
  if ok then
    stream:finish()
    local got
    got, message, code = stream:read("a", timeout)
    if got == text then
      stream:close()
      return true
    elseif got then
      message, code = ("%d bytes came back instead of %d"):format(#got, #text), "FORMAT"
    end
  end
  stream:close()
  return nil, message, code
end

--- Echoes every stream of a connection until it is gone. Returns the reason.
local function serve(conn)
  local remote = describe(conn:path()).remote
  while true do
    local stream, message, code = conn:accept_stream()
    if not stream then
      return message, code
    end
    local text = stream:read "a"
    if text then
      stream:write(text)
      stream:finish()
    end
    stream:close()
    local path = conn:path()
    if path and tostring(path.remote) ~= remote then
      emit("moved", { from = remote, remote = tostring(path.remote) })
      remote = tostring(path.remote)
    end
  end
end

local modes = {}

function modes.coordinator()
  antquic.run(function()
    local ep = open {
      role = "bootstrap",
      can_relay = arg[4] == "relay", -- what is measured is direct
      bind = arg[2],
      identity = arg[3] ~= "" and arg[3] or nil,
      allow_reserved = true,
    }
    emit("ready", { id = ep.peer_id:hex(), address = tostring(ep:local_addresses()[1]) })
    while true do
      antquic.sleep(3600)
    end
  end)
end

local function trials(one)
  local options = parse(arg, 2)
  emit "started"
  for line in io.lines() do
    local n, seconds, peer = line:match "^trial (%d+) ([%d.]+) ?(%S*)$"
    antquic.run(function()
      local ep = open(options)
      one(ep, tonumber(n), tonumber(seconds), peer)
      ep:close()
    end)
  end
end

function modes.listen()
  trials(function(ep, n, seconds)
    local registered = register(ep)
    emit("ready", { trial = n, id = ep.peer_id:hex(), registered = registered })
    local conn, message, code = ep:accept(seconds)
    if not conn then
      local result = failure(message, code)
      result.trial = n
      emit("done", result)
      return
    end
    message, code = serve(conn)
    emit("done", {
      trial = n,
      ok = true,
      ended = tostring(message),
      code = tostring(code),
      guesses = ep:statistics().guesses_sent,
    })
  end)
end

function modes.dial()
  trials(function(ep, n, seconds, peer)
    local opened = antquic.now()
    local registered = register(ep)
    local before = ep:statistics().datagrams_sent
    local nearest = antquic.coordinator.by_rtt({}, ep:bootstrap_nodes())[1]
    emit("connecting", { trial = n, coordinator = nearest and nearest.address })
    local ready = antquic.now()
    local conn, message, code = ep:connect(peer, { timeout = seconds })
    local connected = antquic.now()
    local stats = ep:statistics()
    local result
    if conn then
      local path = describe(conn:path())
      local usable
      usable, message, code = echo(conn, ("trial %d of "):format(n) .. ep.peer_id:hex(), seconds)
      result = usable and { ok = true } or failure(message, code)
      result.stage = "echo"
      result.path = path
      result.same_peer = conn.peer_id:hex() == peer
      result.echo_ms = (antquic.now() - connected) * 1e3
      conn:close()
    else
      result = failure(message, code)
      result.stage = "connect"
    end
    result.trial = n
    result.registered = registered
    result.ms = (connected - ready) * 1e3
    result.register_ms = (ready - opened) * 1e3
    result.total_ms = (connected - opened) * 1e3
    result.packets = stats.datagrams_sent - before
    result.punches = stats.punches_sent
    result.openers = stats.openers_sent
    result.guesses = stats.guesses_sent
    emit("done", result)
  end)
end

function modes.serve()
  antquic.run(function()
    local ep = open(parse(arg, 2))
    emit("ready", { id = ep.peer_id:hex(), registered = register(ep) })
    while true do
      local conn = ep:accept()
      if conn then
        antquic.spawn(function()
          emit("accepted", { peer = conn.peer_id:hex(), path = describe(conn:path()) })
          local message, code = serve(conn)
          emit("lost", { error = tostring(message), code = tostring(code) })
        end)
      end
    end
  end)
end

function modes.talk()
  antquic.run(function()
    local ep = open(parse(arg, 3))
    emit("ready", { id = ep.peer_id:hex(), registered = register(ep) })
    local conn, message, code = ep:connect(arg[2], { timeout = 10 })
    if not conn then
      emit("lost", failure(message, code))
      return
    end
    emit("connected", { path = describe(conn:path()) })
    local n = 0
    while true do
      n = n + 1
      local started = antquic.now()
      local ok
      ok, message, code = echo(conn, ("%06d"):format(n):rep(100), 60)
      if not ok then
        local took = antquic.now() - started
        emit("lost", { error = tostring(message), code = tostring(code), after = took, n = n })
        return
      end
      emit("echo", { n = n, ms = (antquic.now() - started) * 1e3 })
      antquic.sleep(0.1)
    end
  end)
end

function modes.both()
  antquic.run(function()
    local ep = open(parse(arg, 2))
    emit("ready", { id = ep.peer_id:hex(), registered = register(ep) })
    local peer = io.read()
    antquic.spawn(function()
      for conn in ep:connections_iter() do
        antquic.spawn(serve, conn)
      end
    end)
    local conn, message, code = ep:connect(peer, { timeout = 10 })
    if not conn then
      emit("done", failure(message, code))
      return
    end
    antquic.spawn(serve, conn) -- accept doesn't give what connect has given
    local ok
    ok, message, code = echo(conn, "from " .. ep.peer_id:hex(), 5)
    antquic.sleep(0.5) -- what is to be closed is closed by then
    local again = ok and echo(conn, "once more", 5)
    emit("done", {
      ok = again == true,
      error = tostring(message),
      code = tostring(code),
      connections = #ep:connections(),
      outgoing = conn.outgoing,
    })
    antquic.sleep(5)
  end)
end

-- What a stream of the peer brings: its hash, and the longest time without any of it since the
-- last mark.
local function drain(stream, seen)
  local hash = core.sha256_new()
  while true do
    local text, message, code = stream:read(nil, 120)
    if not text then
      seen.done {
        bytes = seen.bytes,
        sha256 = hash:hex(),
        error = code and tostring(message),
      }
      return
    end
    hash:update(text)
    local now = antquic.now()
    seen.bytes = seen.bytes + #text
    seen.gap = math.max(seen.gap, now - seen.last)
    seen.last = now
  end
end

local function pour_into(stream, todo)
  local hash, n, bytes = core.sha256_new(), 0, 0
  while not todo.stop do
    n = n + 1
    local text = ("%08d"):format(n):rep(todo.size // 8)
    hash:update(text)
    local ok, message = stream:write(text)
    if not ok then
      todo.done { error = tostring(message), bytes = bytes }
      return
    end
    bytes = bytes + #text
    antquic.sleep(0.01)
  end
  stream:finish()
  todo.done { bytes = bytes, sha256 = hash:hex() }
end

-- A stream each way over one connection, by commands from standard input.
function modes.pour()
  antquic.run(function()
    local ep = open(parse(arg, 2))
    emit("ready", { id = ep.peer_id:hex(), registered = register(ep) })
    local line = antquic.input.line()
    local conn, message, code
    if line == "accept" then
      conn, message, code = ep:accept(30)
    else
      conn, message, code = ep:connect(line:match "^connect (%x+)$", { timeout = 10 })
    end
    if not conn then
      emit("lost", failure(message, code))
      return
    end
    emit("connected", { path = describe(conn:path()) })
    local result = {}
    local function part(name)
      return function(what)
        result[name] = what
        if result.poured and result.drained then
          emit("done", result)
        end
      end
    end
    local seen = { bytes = 0, gap = 0, last = antquic.now(), done = part "drained" }
    local todo = { done = part "poured" }
    antquic.spawn(function()
      drain(assert(conn:accept_stream()), seen)
    end)
    ep:on("session_state_changed", function(ev)
      emit("state", { from = ev.old_state, to = ev.new_state, reason = ev.reason, text = ev.text })
    end)
    ep:on("connection_lost", function(ev)
      emit("lost", { error = tostring(ev.text), code = tostring(ev.error) })
    end)
    while true do
      local command = antquic.input.line()
      if not command then
        return
      end
      if command:match "^go" then
        todo.size = tonumber(command:match "%d+")
        antquic.spawn(pour_into, assert(conn:open_stream { uni = true }), todo)
      elseif command == "mark" then
        seen.gap, seen.last = 0, antquic.now()
      elseif command == "gap" then
        emit("gap", {
          gap = math.max(seen.gap, antquic.now() - seen.last),
          bytes = seen.bytes,
          path = describe(conn:path() or {}),
          repairs = ep:statistics().repairs_completed,
          tried = ep:statistics().repairs_started,
        })
      elseif command == "stop" then
        todo.stop = true
      end
    end
  end)
end

local mode = modes[arg[1] or ""]
if not mode then
  io.stderr:write "usage: peer.lua coordinator|listen|dial|serve|both|talk ...\n"
  os.exit(2)
end
mode()
