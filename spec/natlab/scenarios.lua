-- scenarios.lua - things that happen to connections between real peers behind NATs. Each
-- scenario prints what it saw and fails when that is not what must be.
--
-- SPDX-License-Identifier: MIT

local Lab = require "lab"
local json = require "antquic.json"
local profiles = require "profiles"
local trial = require "trial"

local scenarios = {}
local list = {}

local KILL, STOP, CONTINUE = 9, 19, 18

local function check(ok, format, ...)
  local text = format:format(...)
  print(("  %-4s %s"):format(ok and "ok" or "FAIL", text))
  if not ok then
    error({ check = text }, 0)
  end
end

local function need(event, why)
  if not event then
    check(false, "%s", why)
  end
  return event
end

-- A coordinator, a target that echoes and an initiator that talks to it; returns when they do.
local function conversation(agent, a, b, extra)
  local pair = trial.topology(agent, a, b)
  extra = extra or {}
  local coordinator, address, id = trial.coordinator(pair.lab, pair.first)
  local talk = { pair = pair, lab = pair.lab, coordinator = coordinator, id = id }
  talk.address = address
  talk.target = trial.command(pair.lab, pair.host_b, "serve", address, table.unpack(extra))
  talk.peer = need(trial.expect(talk.target, "ready", 10)).id
  talk.initiator =
    trial.command(pair.lab, pair.host_a, "talk", talk.peer, address, table.unpack(extra))
  local event = need(trial.expect(talk.initiator, "connected", 15))
  need(trial.expect(talk.initiator, "echo", 5))
  check(event.path.kind == "direct", "%s:%s connected, %s", a, b, event.path.remote)
  return talk
end

-- Counts echoes for a while. Returns their number and the longest time without one.
local function listen(talk, seconds)
  local agent = talk.lab.agent
  local started = agent:now()
  local last, longest, count = started, 0, 0
  while agent:now() - started < seconds do
    local event = trial.expect(talk.initiator, "echo", started + seconds - agent:now())
    if event then
      count = count + 1
      longest = math.max(longest, agent:now() - last)
      last = agent:now()
    end
    if talk.initiator.status then
      break
    end
  end
  return count, math.max(longest, agent:now() - last)
end

local function goes_on(talk, seconds, what)
  local count, longest = listen(talk, seconds)
  check(
    count >= seconds * 4 and longest < 1,
    "%s: %d echoes in %.0f s, longest silence %.2f s",
    what,
    count,
    seconds,
    longest
  )
end

list[#list + 1] = {
  "coordinator_killed",
  "a direct connection does not need its coordinator any more",
  function(agent)
    local talk = conversation(agent, "port_restr", "linux")
    talk.coordinator:kill(KILL)
    talk.coordinator:wait(2)
    goes_on(talk, 5, "after the coordinator's end")
  end,
}

list[#list + 1] = {
  "relayed",
  "two NATs that nothing brings together meet over a coordinator that relays",
  function(agent)
    for _, types in ipairs { { "sym_rand", "sym_rand" }, { "linux", "sym_rand" } } do
      local a, b = types[1], types[2]
      local pair = trial.topology(agent, a, b)
      local _, address = trial.coordinator(pair.lab, pair.first, false, nil, true)
      local talk = { pair = pair, lab = pair.lab }
      local off = "enable_symmetric_nat=false" -- a Linux NAT is then as hard
      local target = trial.command(pair.lab, pair.host_b, "serve", address, off)
      local peer = need(trial.expect(target, "ready", 10)).id
      talk.initiator = trial.command(pair.lab, pair.host_a, "talk", peer, address, off)
      local event = need(trial.expect(talk.initiator, "connected", 15))
      local path = event.path
      check(path.kind == "relayed" and path.via == address, "%s:%s %s", a, b, path.remote)
      need(trial.expect(talk.initiator, "echo", 5))
      goes_on(talk, 7, "over the relay, a direct path was sought meanwhile")
    end
  end,
}

list[#list + 1] = {
  "peer_killed",
  "who is left knows within the idle time-out, and why",
  function(agent)
    local idle = 4
    for _, victim in ipairs { "target", "initiator" } do
      local talk = conversation(agent, "port_restr", "linux", { "idle_timeout=" .. idle })
      local left = victim == "target" and talk.initiator or talk.target
      local started = agent:now()
      talk[victim]:kill(KILL)
      local event = need(trial.expect(left, "lost", idle + 4))
      local seconds = agent:now() - started
      check(
        seconds <= idle + 1.5 and event.code == "IDLE_TIMEOUT",
        "%s killed: the other knows after %.1f s: %s (%s)",
        victim,
        seconds,
        event.error,
        event.code
      )
    end
  end,
}

list[#list + 1] = {
  "suspended",
  "a process that stops for 10 s goes on afterwards",
  function(agent)
    for _, victim in ipairs { "target", "initiator" } do
      local talk = conversation(agent, "port_restr", "linux")
      talk[victim]:kill(STOP)
      agent:sleep(10)
      talk[victim]:kill(CONTINUE)
      check(trial.expect(talk.initiator, "echo", 5) ~= nil, "%s woken: an echo within 5 s", victim)
      listen(talk, 0.5) -- what had queued up
      goes_on(talk, 3, victim .. " woken")
    end
  end,
}

list[#list + 1] = {
  "rebind",
  "a NAT forgets the mapping; the public partner follows to the new port",
  function(agent)
    local talk = conversation(agent, "port_restr", "none")
    local before = need(trial.expect(talk.target, "accepted", 2)).path.remote
    for round = 1, 3 do
      talk.lab:forget(talk.pair.nat_a)
      local moved = need(trial.expect(talk.target, "moved", 5))
      check(moved.remote ~= before, "rebinding %d: %s -> %s", round, before, moved.remote)
      before = moved.remote
      listen(talk, 0.5)
      goes_on(talk, 2, "after it")
    end
  end,
}

list[#list + 1] = {
  "coordinator_restarted",
  "the coordinator comes back under its key; new connections work again",
  function(agent)
    local key = os.tmpname()
    os.remove(key)
    local pair = trial.topology(agent, "port_restr", "linux")
    local lab = pair.lab
    local coordinator, address = trial.coordinator(lab, pair.first, false, key)
    local target = trial.command(lab, pair.host_b, "serve", address, "idle_timeout=4")
    local peer = need(trial.expect(target, "ready", 10)).id
    coordinator:kill(KILL)
    coordinator:wait(2)
    trial.coordinator(lab, pair.first, false, key)
    os.remove(key)
    local started = agent:now()
    local result
    local dial = trial.command(lab, pair.host_a, "dial", address)
    repeat
      dial:write(("trial 1 3 %s\n"):format(peer))
      result = need(trial.expect(dial, "done", 10))
    until result.ok or agent:now() - started > 12
    local seconds = agent:now() - started
    check(result.ok, "connected %.1f s after the restart (%s)", seconds, tostring(result.error))
  end,
}

list[#list + 1] = {
  "dead_coordinator",
  "one of two coordinators never answers; the other is enough",
  function(agent)
    local pair = trial.topology(agent, "port_restr", "linux")
    local lab = pair.lab
    local dead = pair.second.address .. ":9000"
    lab:count(pair.second)
    agent:check(
      pair.second,
      "table ip dead { chain c { type filter hook input priority 0; meta l4proto udp drop; }; }\n",
      "nft",
      "-f",
      "-"
    )
    local _, address = trial.coordinator(lab, pair.first)
    local target = trial.command(lab, pair.host_b, "serve", dead, address)
    local peer = need(trial.expect(target, "ready", 10)).id
    local dial = trial.command(lab, pair.host_a, "dial", dead, address)
    dial:write(("trial 1 5 %s\n"):format(peer))
    local result = need(trial.expect(dial, "done", 12))
    check(result.ok, "%s", result.ok and ("connected in %.1f ms"):format(result.ms) or result.error)
    check(lab:counted(pair.second).packets > 0, "the dead one was asked")
  end,
}

list[#list + 1] = {
  "same_nat",
  "two hosts behind one NAT that does not hairpin meet on their own network",
  function(agent)
    local lab = Lab.new(agent)
    local site, nat = lab:site "c1", lab:nat("nat", "port_restr")
    local one, two = lab:host("one", nat), lab:host("two", nat)
    lab:build()
    local _, address = trial.coordinator(lab, site)
    local target = trial.command(lab, two, "serve", address)
    local peer = need(trial.expect(target, "ready", 10)).id
    local dial = trial.command(lab, one, "dial", address)
    dial:write(("trial 1 5 %s\n"):format(peer))
    local result = need(trial.expect(dial, "done", 12))
    check(result.ok, "%s", result.ok and ("connected in %.1f ms"):format(result.ms) or result.error)
    check(
      result.path.remote:find(two.address .. ":", 1, true) == 1,
      "by the local address: %s",
      result.path.remote
    )
  end,
}

list[#list + 1] = {
  "both_dial",
  "both peers dial at once; one connection is left, the same at both ends",
  function(agent)
    local pair = trial.topology(agent, "port_restr", "linux", { delay = 5 })
    local lab = pair.lab
    local _, address = trial.coordinator(lab, pair.first)
    local good = 0
    for round = 1, 10 do
      local one = trial.command(lab, pair.host_a, "both", address)
      local two = trial.command(lab, pair.host_b, "both", address)
      local id_one = need(trial.expect(one, "ready", 10)).id
      local id_two = need(trial.expect(two, "ready", 10)).id
      one:write(id_two .. "\n")
      two:write(id_one .. "\n")
      local x, y = need(trial.expect(one, "done", 20)), need(trial.expect(two, "done", 20))
      local agreed = x.ok and y.ok and x.connections == 1 and y.connections == 1
      agreed = agreed and x.outgoing ~= y.outgoing and x.outgoing == (id_one < id_two)
      good = good + (agreed and 1 or 0)
      if not agreed then
        print(("  round %d: one %s, two %s"):format(round, json.encode(x), json.encode(y)))
        print(("  the smaller id is %s's"):format(id_one < id_two and "one" or "two"))
      end
      one:kill(KILL)
      two:kill(KILL)
    end
    check(good == 10, "%d of 10 times one connection, by the smaller peer id", good)
  end,
}

list[#list + 1] = {
  "loss",
  "one packet in ten is lost, the others come 10 to 20 ms late and out of order",
  function(agent)
    local pair = trial.topology(agent, "port_restr", "linux", {
      delay = 10,
      jitter = 10,
      loss = 100,
    })
    local lab = pair.lab
    local _, address = trial.coordinator(lab, pair.first)
    local connected, slowest = 0, 0
    local target = trial.command(lab, pair.host_b, "serve", address, "register_wait=8")
    local peer = need(trial.expect(target, "ready", 10)).id
    local dial = trial.command(lab, pair.host_a, "dial", address, "register_wait=8")
    for n = 1, 10 do
      dial:write(("trial %d 10 %s\n"):format(n, peer))
      local result = need(trial.expect(dial, "done", 30))
      connected = connected + (result.ok and 1 or 0)
      slowest = math.max(slowest, result.ms)
      if not result.ok then
        print(("  %s: %s (%s)"):format(result.stage, result.error, result.code))
      end
    end
    check(connected == 10, "%d of 10 connected, the slowest in %.0f ms", connected, slowest)
  end,
}

list[#list + 1] = {
  "bystander",
  "a host that has nothing to do with a connection gets no packet of it",
  function(agent)
    local talk = conversation(agent, "port_restr", "linux")
    talk.lab:count(talk.pair.second)
    listen(talk, 2)
    local packets = talk.lab:counted(talk.pair.second).packets
    check(packets == 0, "%d packets at a bystander", packets)
  end,
}

-- The coordinator is honest, but its own kernel shows it the target at the address of a victim:
-- to the initiator that is a coordinator that lies, in the one thing that it is believed in.
list[#list + 1] = {
  "lying_coordinator",
  "who is said to be at the victim's address costs the victim next to nothing",
  function(agent)
    local pair = trial.topology(agent, "port_restr", "port_restr")
    local lab = pair.lab
    local victim = pair.second
    local _, address = trial.coordinator(lab, pair.first)
    local lie = [[
table ip lie {
  chain input {
    type nat hook input priority 100; policy accept;
    ip saddr %s meta l4proto udp snat to %s
  }
}
]]
    lie = lie:format(pair.nat_b.address, victim.address)
    agent:check(pair.first, lie, "nft", "-f", "-")
    lab:count(victim)
    local target = trial.command(lab, pair.host_b, "serve", address)
    local peer = need(trial.expect(target, "ready", 10)).id
    local dial = trial.command(lab, pair.host_a, "dial", address)
    dial:write(("trial 1 9 %s\n"):format(peer))
    local result = need(trial.expect(dial, "done", 15))
    check(not result.ok, "no connection: %s (%s)", result.error, result.code)
    local seen = lab:counted(victim)
    -- the initiator's punch datagrams, nine from its socket and nine from a fresh one; what the
    -- target sends to where it is told that it is itself, to see whether its NAT hairpins, and
    -- the coordinator's answers to it from its second port: nine at most; and one dial that
    -- nobody answers: a ClientHello of two datagrams, four times
    check(
      seen.packets > 0 and seen.small <= 27 and seen.bytes <= 27 * 128 + 8 * 1500,
      "the victim got %d small packets and %d bytes in all, at most 27 and %d are allowed",
      seen.small,
      seen.bytes,
      27 * 128 + 8 * 1500
    )
  end,
}

list[#list + 1] = {
  "short_lifetime",
  "a NAT that forgets soon is found out, and keep-alive follows",
  function(agent)
    local lab = Lab.new(agent)
    local sites = { lab:site "c1", lab:site "c2" }
    local nat = lab:nat("n", "linux")
    for _, name in ipairs { "udp_timeout", "udp_timeout_stream" } do
      nat.sysctl[#nat.sysctl + 1] = "net/netfilter/nf_conntrack_" .. name
      nat.sysctl[#nat.sysctl + 1] = "6"
    end
    local host = lab:host("h", nat)
    lab:build()
    local started = agent:now()
    local p
    profiles.with_coordinators(lab, sites, function(key)
      p = need(profiles.netcheck(lab, host, sites, key "h", 90, "--lifetime")).profile
    end)
    check(
      p.idle_lifetime and p.idle_gone and p.idle_lifetime <= 6 and p.idle_gone >= 6,
      "mappings live 6 s, it found %s to %s s in %.0f s",
      tostring(p.idle_lifetime),
      tostring(p.idle_gone),
      agent:now() - started
    )
    check(p.keep_alive == 5, "keep-alive is %s s", tostring(p.keep_alive))
    lab:close()
  end,
}
for _, more in ipairs { "repairs", "failovers" } do
  for _, entry in ipairs(require(more)(check, need)) do
    list[#list + 1] = entry
  end
end

function scenarios.names()
  local names = {}
  for i, entry in ipairs(list) do
    names[i] = entry[1]
  end
  return names
end

--- Runs one scenario or all of them. Returns whether all passed.
function scenarios.run(agent, name)
  local failed, ran = 0, 0
  for _, entry in ipairs(list) do
    if name == "all" or name == entry[1] then
      ran = ran + 1
      print(("%s: %s"):format(entry[1], entry[2]))
      local ok, result = xpcall(entry[3], function(e)
        return type(e) == "table" and e
          or tostring(e):match "^natlab: .*"
          or debug.traceback(tostring(e), 2)
      end, agent)
      for lab in pairs(agent.labs) do
        lab:close()
      end
      if not ok then
        failed = failed + 1
        if type(result) ~= "table" then
          print("  FAIL " .. result)
        end
      end
    end
  end
  if ran == 0 then
    local names = table.concat(scenarios.names(), " ")
    print(("no such scenario: %s (there are: %s)"):format(name, names))
    return false
  end
  print(("%d scenarios, %d failed"):format(ran, failed))
  return failed == 0
end

return scenarios
