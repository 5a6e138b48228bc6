-- selftest.lua - is the lab what it says? Every type is classified, the ways to change a NAT
-- while it runs are tried, and a reference puncher goes over every pair.
--
-- SPDX-License-Identifier: MIT

local Lab = require "lab"
local classify = require "classify"
local matrix = require "matrix"
local punch = require "punch"
local types = require "types"

local selftest = {}

local function all_types()
  local list = table.move(types.matrix, 1, #types.matrix, 1, {})
  return table.move(types.extra, 1, #types.extra, #list + 1, list)
end

local report -- { failed = n }
local function check(ok, format, ...)
  print(("%-4s %s"):format(ok and "ok" or "FAIL", format:format(...)))
  report.failed = report.failed + (ok and 0 or 1)
end

local function classification(agent)
  local lab = Lab.new(agent, { v6 = true })
  local first, second = lab:site("c1"), lab:site("c2")
  local names, hosts = all_types(), {}
  for i, name in ipairs(names) do
    hosts[i] = lab:host("h" .. i, lab:nat("n" .. i, name))
  end
  lab:build()
  print(("%d namespaces in %.2f s"):format(#lab.nodes, lab.build_seconds))
  local servers = classify.servers(lab, first, second)
  local servers6 = classify.servers(lab, first, second, true)
  local found, jobs = {}, {}
  for i, name in ipairs(names) do
    jobs[i] = function()
      local use = types.by_name[name].v6 and servers6 or servers
      found[i] = classify.host(lab, use, hosts[i])
    end
  end
  local started = agent:now()
  agent:all(jobs)
  print(("classified in %.2f s"):format(agent:now() - started))
  local head = "     %-14s %-18s %-9s %-12s %s"
  print(head:format("type", "mapping", "filtering", "ports", "hairpin"))
  for i, name in ipairs(names) do
    local f, spec = found[i], types.by_name[name]
    local difference = classify.difference(spec, f)
    local ports = (f.ports or "-") .. (f.step and (" %+d"):format(f.step) or "")
    check(
      not difference,
      "%-14s %-18s %-9s %-12s %s %s",
      name,
      f.mapping,
      f.filtering,
      ports,
      f.hairpin == nil and "-" or f.hairpin and "yes" or "no",
      difference or ""
    )
  end
  lab:close()
end

-- What a router does with a probe for itself decides whether it keeps a host's port.
local function poisoning(lab, servers, name, host, keeps)
  local socket = lab:udp(host)
  local before, ip, port = classify.ask(lab, servers, socket, 1)
  servers[3].socket:send(ip, port, "early")
  lab.agent:sleep(0.02)
  local after = classify.ask(lab, servers, socket, 3)
  check((before == after) == keeps, "early probe at %s: %s -> %s", name, before, tostring(after))
  socket:close()
end

local function dynamics(agent)
  local lab = Lab.new(agent)
  local first, second = lab:site("c1"), lab:site("c2")
  local hosts = {}
  for _, name in ipairs { "linux", "linux_open", "linux_reject", "port_restr", "sym_rand" } do
    hosts[name] = lab:host("h_" .. name, lab:nat(name, name))
  end
  local carrier = lab:nat("carrier", "full_cone", { lan = "100.64.0" })
  hosts.double = lab:host("hd", lab:nat("home", "linux", { up = carrier }))
  local carrier2 = lab:nat("carrier2", "sym_rand", { lan = "100.64.0" })
  hosts.double2 = lab:host("hd2", lab:nat("home2", "linux", { up = carrier2 }))
  lab:build()
  local servers = classify.servers(lab, first, second)
  poisoning(lab, servers, "linux", hosts.linux, true)
  poisoning(lab, servers, "linux_reject", hosts.linux_reject, true)
  poisoning(lab, servers, "port_restr", hosts.port_restr, true)
  poisoning(lab, servers, "linux_open", hosts.linux_open, false)

  local found = classify.host(lab, servers, hosts.double).mapping
  check(found == "EIM", "home router behind a full cone: %s", found)
  found = classify.host(lab, servers, hosts.double2).mapping
  check(found == "APDM", "home router behind a symmetric NAT: %s", found)

  local socket = lab:udp(hosts.port_restr)
  local before = classify.ask(lab, servers, socket, 1)
  lab:forget(hosts.port_restr.nat)
  local after = classify.ask(lab, servers, socket, 1)
  check(after and before ~= after, "forget() rebinds port_restr: %s -> %s", before, tostring(after))
  socket:close()

  lab:count(second, { hosts.linux.nat.address })
  socket = lab:udp(hosts.linux)
  socket:send(second.address, 7777, "not counted")
  local other = lab:udp(hosts.sym_rand)
  for _ = 1, 5 do
    other:send(second.address, 7777, ("x"):rep(20))
  end
  agent:sleep(0.02)
  local seen = lab:counted(second)
  check(
    seen.packets == 5 and seen.small == 5 and seen.bytes == 5 * 48,
    "counters: %d packets, %d bytes",
    seen.packets,
    seen.bytes
  )

  lab:delay { ms = 25 }
  local echo = lab:udp(first, first.address, 7)
  echo.on_dgram = function(dgram)
    echo:send(dgram.ip, dgram.port, dgram.data)
  end
  local rtts = {}
  for i = 1, 10 do
    local sent = agent:now()
    socket:send(first.address, 7, "ping")
    local dgram = socket:receive(1)
    rtts[i] = dgram and (dgram.time - sent) * 1e3 or 1e3
  end
  table.sort(rtts)
  check(
    rtts[1] >= 50 and rtts[5] < 53,
    "delay box, 25 ms each way: round trip %.2f to %.2f ms, median %.2f",
    rtts[1],
    rtts[10],
    rtts[5]
  )
  lab:undelay()
  lab:close()
end

local function punching(agent, trials)
  local lab = Lab.new(agent)
  local first, second = lab:site("c1"), lab:site("c2")
  local left, right = {}, {}
  for i, name in ipairs(types.matrix) do
    left[name] = lab:host("l" .. i, lab:nat("a" .. i, name))
    right[name] = lab:host("r" .. i, lab:nat("b" .. i, name))
  end
  lab:build()
  local servers = classify.servers(lab, first, second)
  local started, worked, times, jobs = agent:now(), {}, {}, {}
  local queue, next_job = {}, 0
  for i, a in ipairs(types.matrix) do
    worked[a] = worked[a] or {}
    for j = i, #types.matrix do
      for t = 1, trials do
        queue[#queue + 1] = { a, types.matrix[j], t }
      end
      worked[a][types.matrix[j]] = 0
    end
  end
  for i = 1, 30 do
    jobs[i] = function()
      while next_job < #queue do
        next_job = next_job + 1
        local a, b, t = table.unpack(queue[next_job])
        local skew = t % 2 * 0.01
        local x, y = left[a], right[b]
        if t % 4 >= 2 then
          x, y = y, x
        end
        local seconds = punch.attempt(lab, servers, x, y, skew)
        if seconds then
          worked[a][b] = worked[a][b] + 1
          times[#times + 1] = seconds * 1e3
        end
      end
    end
  end
  agent:all(jobs)
  table.sort(times)
  local good, bad, y_pairs = 0, {}, 0
  for i, a in ipairs(types.matrix) do
    for j = i, #types.matrix do
      local b = types.matrix[j]
      local want = matrix.must(a, b) and trials or 0
      y_pairs = y_pairs + (want > 0 and 1 or 0)
      if worked[a][b] == want then
        good = good + 1
      else
        bad[#bad + 1] = ("%s:%s %d of %d"):format(a, b, worked[a][b], want)
      end
    end
  end
  check(
    #bad == 0,
    "reference puncher: %d of %d pairs as in the matrix (%d must connect), %d trials in %.1f s%s%s",
    good,
    good + #bad,
    y_pairs,
    #queue,
    agent:now() - started,
    #bad > 0 and "; not: " or "",
    table.concat(bad, ", ")
  )
  lab:close()
end

--- Runs it all. Returns the number of failed checks.
function selftest.run(agent, trials)
  report = { failed = 0 }
  local bad = matrix.contradictions()
  check(#bad == 0, "the matrix agrees with the rule %s", table.concat(bad, "; "))
  classification(agent)
  dynamics(agent)
  punching(agent, trials or 4)
  return report.failed
end

return selftest
