-- trial.lua - one ordered pair of NAT types: builds it, checks that the NATs are what they are
-- called, and lets real peers connect through them, a fresh endpoint on both sides each time.
--
-- SPDX-License-Identifier: MIT

local Lab = require "lab"
local classify = require "classify"
local json = require "antquic.json"
local types = require "types"

local trial = {}

local PORT = 9000

--- Reads events of a process until one is called `name`. Returns it, or nil and why not.
function trial.expect(proc, name, timeout)
  local deadline = proc.agent:now() + timeout
  while true do
    local left = deadline - proc.agent:now()
    local line = left > 0 and proc:read(left)
    if not line then
      local why = proc.status and ("it ended with status %d"):format(proc.status)
        or ("nothing in %.1f s"):format(timeout)
      return nil, ("waited for '%s': %s\n%s"):format(name, why, proc:complaint())
    end
    local event = json.decode(line)
    if type(event) == "table" and event.event == name then
      return event
    end
  end
end

--- The command that runs a mode of peer.lua.
function trial.command(lab, node, ...)
  local lua = os.getenv "NATLAB_LUA" or "lua5.4"
  return lab:spawn(node, lua, lab.agent.here .. "/peer.lua", ...)
end

--- Starts a coordinator on a site. Returns the process and the address to reach it.
function trial.coordinator(lab, site, v6, key, relays)
  local address = v6 and ("[%s]:%d"):format(site.address6, PORT)
    or ("%s:%d"):format(site.address, PORT)
  local role = relays and "relay" or nil
  local proc = trial.command(lab, site, "coordinator", address, key or "", role)
  local ready, why = trial.expect(proc, "ready", 10)
  if not ready then
    error("natlab: the coordinator does not start: " .. why, 0)
  end
  return proc, address, ready.id
end

-- The round-trip time from a host to a site as it really is, the median of some. The delay box
-- treats every packet between two sites alike, so it is that of the peers, too.
local function round_trip(lab, host, site)
  local agent, times = lab.agent, {}
  local server, client = lab:udp(site, site.address, 7), lab:udp(host)
  server.on_dgram = function(dgram)
    server:send(dgram.ip, dgram.port, dgram.data)
  end
  for i = 1, 7 do
    local sent = agent:now()
    client:send(site.address, 7, "ping")
    local dgram = client:receive(1)
    times[i] = dgram and dgram.time - sent or 1
  end
  server:close()
  client:close()
  table.sort(times)
  return times[4]
end

-- An answer that is late is taken for none, so no more than a few NATs are classified at once,
-- and what differs is looked at again.
local BUILDERS, TRIES = 2, 3

local function builders(agent)
  local slots = agent.builders or { free = BUILDERS }
  agent.builders = slots
  agent:await(slots, 600, function()
    return slots.free > 0 or nil
  end)
  slots.free = slots.free - 1
  return setmetatable({}, {
    __close = function()
      slots.free = slots.free + 1
      agent:touch(slots)
    end,
  })
end

local function suspicion(pair, host)
  local spec = host.nat.spec
  local difference
  for try = 1, TRIES do
    local port = 3478 + 10 * try + (host == pair.host_b and 2 or 0)
    local servers = classify.servers(pair.lab, pair.first, pair.second, spec.v6, port)
    difference = classify.difference(spec, classify.host(pair.lab, servers, host))
    servers:close()
    if not difference then
      return nil
    end
  end
  return ("%s (%s): %s"):format(host.nat.kind, host.nat.name, difference)
end

--- Two sites, two NATs with a host each, built, classified, and as new. Errors when a NAT is
--- not what its type says: nothing that was measured behind it would mean anything.
function trial.topology(agent, a, b, options)
  local v6 = (types.by_name[a].v6 or types.by_name[b].v6) and true or false
  local lab = Lab.new(agent, { v6 = v6 })
  local pair = { lab = lab, v6 = v6 }
  pair.first, pair.second = lab:site "c1", lab:site "c2"
  pair.nat_a, pair.nat_b = lab:nat("a", a), lab:nat("b", b)
  pair.host_a, pair.host_b = lab:host("host_a", pair.nat_a), lab:host("host_b", pair.nat_b)
  local _ <close> = builders(agent)
  lab:build()
  local problems = {}
  agent:all {
    function()
      problems[#problems + 1] = suspicion(pair, pair.host_a)
    end,
    function()
      problems[#problems + 1] = suspicion(pair, pair.host_b)
    end,
  }
  if #problems > 0 then
    lab:close()
    error("natlab: a NAT is not what it is called: " .. table.concat(problems, "; "), 0)
  end
  if options and options.delay and options.delay > 0 then
    lab:delay { ms = options.delay, jitter = options.jitter, loss = options.loss }
    pair.rtt = types.by_name[a].mapping ~= "blocked"
      and not v6
      and round_trip(lab, pair.host_a, pair.first)
  end
  return pair
end

-- A claim of a direct path must name an address of the other site.
local function plausible(pair, path)
  local remote = path and path.remote or ""
  local ip = remote:match "^%[(.*)%]:%d+$" or remote:match "^(.*):%d+$"
  for _, address in ipairs(pair.nat_b.addresses) do
    if ip == address then
      return true
    end
  end
  return ip == pair.host_b.address6 or (pair.nat_b.spec.public and ip == pair.host_b.address)
end

local function one(pair, sides, n, timeout)
  local lab = pair.lab
  lab.agent:all {
    function()
      lab:forget(pair.nat_a)
    end,
    function()
      lab:forget(pair.nat_b)
    end,
  }
  for _, mode in ipairs { "listen", "dial" } do
    local proc = sides[mode]
    if not proc or proc.status then
      local node = mode == "listen" and pair.host_b or pair.host_a
      proc = trial.command(lab, node, mode, table.unpack(pair.coordinators))
      sides[mode] = proc
      local ready, why = trial.expect(proc, "started", 10)
      if not ready then
        error(("natlab: peer.lua %s does not start: %s"):format(mode, why), 0)
      end
    end
  end
  local function broken(who, why)
    return { ok = false, stage = "peer", error = who .. " " .. why, code = "CRASH", packets = 0 }
  end
  sides.listen:write(("trial %d %g\n"):format(n, timeout + 3))
  local ready, why = trial.expect(sides.listen, "ready", 10)
  if not ready then
    return broken("listen", why)
  end
  sides.dial:write(("trial %d %g %s\n"):format(n, timeout, ready.id))
  local result
  result, why = trial.expect(sides.dial, "done", timeout * 2 + 5)
  if not result then
    return broken("dial", why)
  end
  result.target_registered = ready.registered
  if result.ok then
    local done
    done, why = trial.expect(sides.listen, "done", 2)
    if not done then
      sides.listen:kill(9)
      sides.listen = nil
      result.note = "the target never heard the end: " .. why
    elseif result.guesses and done.guesses then
      result.guesses = math.max(result.guesses, done.guesses)
    end
    if not result.same_peer then
      result.ok, result.code, result.error = false, "WRONG_PEER", "connected to somebody else"
    elseif result.path.kind ~= "direct" or not plausible(pair, result.path) then
      result.ok, result.code = false, "WRONG_PATH"
      result.error = ("claims %s to %s"):format(tostring(result.path.kind), result.path.remote)
    end
  else
    sides.listen:kill(9) -- it would wait on
    sides.listen = nil
  end
  return result
end

-- What others behind a NAT that counts do meanwhile: every 20 ms they open as many flows at once.
local BURST = 0.02

local function others(pair, count, over)
  local lab = pair.lab
  local sockets = {}
  for _, host in ipairs { pair.host_a, pair.host_b } do
    if host.nat.spec.ports == "sequential" then
      sockets[#sockets + 1] = lab:udp(host)
    end
  end
  local port = 0
  while not over() and #sockets > 0 do
    for _ = 1, count do
      port = port % 20000 + 1
      for _, socket in ipairs(sockets) do
        socket:send(pair.second.address, 20000 + port, "x")
      end
    end
    lab.agent:sleep(BURST)
  end
end

local function run(pair, options)
  local sides, results = {}, {}
  local v6 = pair.nat_a.spec.v6 and pair.nat_b.spec.v6
  -- Two: who has one alone can't tell a mapping by address from one for all.
  pair.coordinators = {}
  for i, site in ipairs { pair.first, pair.second } do
    local _
    _, pair.coordinators[i] = trial.coordinator(pair.lab, site, v6)
  end
  results.rtt_ms = pair.rtt and pair.rtt * 1e3
  local over = false
  pair.lab.agent:all {
    function()
      local _ <close> = setmetatable({}, {
        __close = function()
          over = true
        end,
      })
      for n = 1, options.trials do
        results[n] = one(pair, sides, n, options.timeout)
        if options.on_result then
          options.on_result(n, results[n])
        end
      end
    end,
    function()
      if options.background then
        others(pair, options.background, function()
          return over
        end)
      end
    end,
  }
  return results
end

--- Runs the trials of a pair: a list of results { ok, ms, total_ms, packets, error, code }, or
--- nil and why the pair could not be tried. Options: trials, timeout, delay, on_result, background:
--- flows that others behind a sequential NAT open every 20 ms.
function trial.pair(agent, a, b, options)
  local pair
  local ok, results = xpcall(function()
    pair = trial.topology(agent, a, b, options)
    return run(pair, options)
  end, function(message)
    return tostring(message):match "^natlab: .*" or debug.traceback(tostring(message), 2)
  end)
  if pair then
    pair.lab:close()
  end
  if not ok then
    return nil, results
  end
  return results
end

return trial
