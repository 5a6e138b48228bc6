-- classify.lua - finds out what a NAT does, from behind it, with two servers of two ports
-- each: RFC 4787's mapping and filtering, and how ports are chosen.
--
-- SPDX-License-Identifier: MIT

local classify = {}

local PORT = 3478
local PATIENCE = 0.08 -- seconds; the lab has no delay while NATs are classified

--- The four server sockets on two sites, from port `base` on. Number 1 is (A, p), 2 (A, q),
--- 3 (B, p), 4 (B, q).
--- A question "Q" id from? is answered from the server it names: "R" id ip port.
function classify.servers(lab, first, second, v6, base)
  local servers = {}
  for _, site in ipairs { first, second } do
    for port = base or PORT, (base or PORT) + 1 do
      local ip = v6 and site.address6 or site.address
      local socket = lab:udp(site, ip, port)
      servers[#servers + 1] = { ip = ip, port = port, socket = socket }
      socket.on_dgram = function(dgram)
        local id, from = dgram.data:match("^Q (%d+) (%d)$")
        local via = servers[tonumber(from)]
        if via then
          local text = ("R %s %s %d"):format(id, dgram.ip, dgram.port)
          via.socket:send(dgram.ip, dgram.port, text)
        end
      end
    end
  end
  servers.any = v6 and "::" or "0.0.0.0"
  function servers:close()
    for _, server in ipairs(self) do
      server.socket:close()
    end
  end
  return servers
end

local last_id = 0

--- Asks server `to` to answer from server `from`. Returns the address as seen from there,
--- "ip port", or nil when no answer comes.
local function ask(lab, servers, socket, to, from)
  last_id = last_id + 1
  local id = tostring(last_id)
  local server, via = servers[to], servers[from or to]
  local deadline = lab.agent:now() + PATIENCE
  socket:send(server.ip, server.port, ("Q %s %d"):format(id, from or to))
  while true do
    local left = deadline - lab.agent:now()
    local dgram = left > 0 and socket:receive(left)
    if not dgram then
      return nil
    end
    local got, ip, port = dgram.data:match("^R (%d+) (%S+) (%d+)$")
    if got == id and dgram.ip == via.ip and dgram.port == via.port then
      return ip .. " " .. port, ip, tonumber(port)
    end
  end
end
classify.ask = ask

local function mapping(lab, servers, socket, host)
  local seen, ips = {}, {}
  for i = 1, 3 do
    local address, ip = ask(lab, servers, socket, i)
    if not address then
      return "blocked"
    end
    seen[i] = address
    ips[ip] = true
  end
  local first = next(ips)
  if next(ips, first) then
    return "arbitrary address"
  elseif seen[1] == seen[2] and seen[2] == seen[3] then
    local own = first == host.address or first == host.address6
    return own and "none" or "EIM"
  elseif seen[1] == seen[2] then
    return "ADM"
  end
  return "APDM"
end

-- Each question from a socket of its own, which has talked to server 1 only.
local function filtering(lab, servers, host)
  local function passes(from)
    local socket = lab:udp(host, servers.any)
    ask(lab, servers, socket, 1)
    local answer = ask(lab, servers, socket, 1, from)
    socket:close()
    return answer ~= nil
  end
  if passes(4) then
    return "EIF"
  end
  return passes(2) and "ADF" or "APDF"
end

local function allocation(lab, servers, host)
  local preserved, steps, previous = true, {}, nil
  for _ = 1, 6 do
    local socket = lab:udp(host, servers.any)
    local _, _, port = ask(lab, servers, socket, 1)
    preserved = preserved and port == socket.port
    if previous and port then
      steps[port - previous] = true
    end
    previous = port
    socket:close()
  end
  if preserved then
    return "preserve"
  end
  local step = next(steps)
  if step and not next(steps, step) and math.abs(step) <= 16 then
    return "sequential", step
  end
  return "random"
end

-- Does a packet from one socket reach another of the same host at its outer address?
local function hairpin(lab, servers, host)
  local one, two = lab:udp(host, servers.any), lab:udp(host, servers.any)
  local _, ip, port = ask(lab, servers, one, 1)
  ask(lab, servers, two, 1)
  local got
  if ip then
    two:send(ip, port, "hairpin")
    got = one:receive(PATIENCE)
  end
  one:close()
  two:close()
  return got ~= nil
end

--- What the NAT in front of the host does: { mapping, filtering, ports, step, hairpin }.
function classify.host(lab, servers, host)
  local socket = lab:udp(host, servers.any)
  local found = { mapping = mapping(lab, servers, socket, host) }
  socket:close()
  if found.mapping == "blocked" then
    found.filtering = "blocked"
    return found
  end
  found.filtering = filtering(lab, servers, host)
  found.ports, found.step = allocation(lab, servers, host)
  found.hairpin = hairpin(lab, servers, host)
  return found
end

--- nil when a NAT is what its type says, else what differs.
function classify.difference(spec, found)
  for _, field in ipairs { "mapping", "filtering", "ports" } do
    if spec[field] ~= found[field] then
      return ("%s is %s instead of %s"):format(field, tostring(found[field]), tostring(spec[field]))
    end
  end
  if spec.hairpin and not found.hairpin then
    return "no hairpinning"
  elseif found.hairpin and not spec.hairpin and not (spec.public or spec.v6) then
    return "unexpected hairpinning"
  end
  return nil
end

return classify
