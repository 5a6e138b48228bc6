-- lab.lua - builds topologies of network namespaces: an "inet" router, sites on it with
-- public addresses, NATs (also behind other NATs) and hosts behind them.
--
--   Agent.start():main(function() ... end) around:
--     local lab = Lab.new(agent)
--     local c = lab:site("coordinator")
--     local a = lab:nat("a", "port_restr"); local ha = lab:host("ha", a)
--     lab:build(); lab:spawn(ha, "lua5.4", "peer.lua"); lab:close()
--
-- Addresses: sites 198.18.K.2 and .3 (RFC 2544), routed networks 198.19.K.0/24, networks
-- behind NATs 192.168.1.0/24 each, IPv6 2001:db8:K::/48 (RFC 3849).
--
-- SPDX-License-Identifier: MIT

local types = require "types"

local Lab = {}
Lab.__index = Lab

local function push(list, format, ...)
  list[#list + 1] = format:format(...)
end

--- A new description; nothing exists before build(). Options: v6 = true gives every site
--- and host IPv6 addresses as well.
function Lab.new(agent, options)
  local self = setmetatable({
    agent = agent,
    v6 = options and options.v6 or false,
    nodes = {},
    procs = {},
    sites = 0,
  }, Lab)
  agent.labs = agent.labs or {}
  agent.labs[self] = true
  self.inet = self:node("inet", 0, { "net/ipv4/ip_forward", 1, "net/ipv4/icmp_ratelimit", 0 })
  if self.v6 then
    push(self.inet.sysctl, "net/ipv6/conf/all/forwarding")
    push(self.inet.sysctl, "1")
  end
  return self
end

function Lab:node(name, level, sysctl)
  local node = { name = name, level = level, sysctl = sysctl or {}, ip = {}, nft = "" }
  -- a link-local address that is still being checked for duplicates forwards nothing
  local key, value = "disable_ipv6", "1"
  if self.v6 then
    key, value = "accept_dad", "0"
  end
  for _, scope in ipairs { "all", "default" } do
    push(node.sysctl, "net/ipv6/conf/%s/%s", scope, key)
    push(node.sysctl, value)
  end
  self.nodes[#self.nodes + 1] = node
  return node
end

-- A /24 between inet and the node, whose side is called "wan".
function Lab:attach(node)
  self.sites = self.sites + 1
  local k = self.sites
  local device = "w" .. k
  node.k, node.device = k, device
  node.addresses = { ("198.18.%d.2"):format(k), ("198.18.%d.3"):format(k) }
  node.gateway = ("198.18.%d.1"):format(k)
  self.inet.ip[#self.inet.ip + 1] = function()
    return ("link add %s type veth peer name wan netns %s"):format(device, node.path)
  end
  push(self.inet.ip, "addr add %s/24 dev %s", node.gateway, device)
  push(self.inet.ip, "link set %s up", device)
  for _, address in ipairs(node.addresses) do
    push(node.ip, "addr add %s/24 dev wan", address)
  end
  push(node.ip, "link set wan up")
  push(node.ip, "route add default via %s", node.gateway)
  if self.v6 then
    push(self.inet.ip, "addr add 2001:db8:%x::1/64 dev %s nodad", k, device)
    node.address6 = ("2001:db8:%x::2"):format(k)
    push(node.ip, "addr add %s/64 dev wan nodad", node.address6)
    node.gateway6 = ("2001:db8:%x::1"):format(k)
    push(node.ip, "route add default via %s", node.gateway6)
  end
  node.address = node.addresses[1]
end

--- A host with two public addresses.
function Lab:site(name)
  local node = self:node(name, 1)
  self:attach(node)
  return node
end

-- A port of the NAT's LAN bridge for the node, whose side is called `device`.
local function plug(nat, node, device)
  nat.ports = nat.ports + 1
  local port = "p" .. nat.ports
  nat.ip[#nat.ip + 1] = function()
    return ("link add %s type veth peer name %s netns %s"):format(port, device, node.path)
  end
  push(nat.ip, "link set %s master lan", port)
  push(nat.ip, "link set %s up", port)
  node.address = ("%s.%d"):format(nat.lan, 9 + nat.ports)
  node.addresses = { node.address }
  node.gateway = nat.lan .. ".1"
  push(node.ip, "addr add %s/24 dev %s", node.address, device)
  push(node.ip, "link set %s up", device)
  push(node.ip, "route add default via %s", node.gateway)
end

--- A router of a type of types.lua. Options: up = another NAT that it is behind,
--- lan = first three parts of its network's addresses.
function Lab:nat(name, kind, options)
  local spec = assert(types.by_name[kind], "no such type of NAT: " .. tostring(kind))
  local up = options and options.up
  local node = self:node(name, up and up.level + 1 or 1, {
    "net/ipv4/ip_forward",
    1,
    "net/bridge/bridge-nf-call-iptables",
    0,
    "net/bridge/bridge-nf-call-ip6tables",
    0,
  })
  node.kind, node.spec, node.ports, node.up = kind, spec, 0, up
  if up then
    plug(up, node, "wan")
    node.k = up.k
  else
    self:attach(node)
  end
  node.lan = options and options.lan or spec.public and ("198.19.%d"):format(node.k) or "192.168.1"
  push(node.ip, "link add lan type bridge")
  push(node.ip, "addr add %s.1/24 dev lan", node.lan)
  push(node.ip, "link set lan up")
  if spec.public then
    push(self.inet.ip, "route add %s.0/24 via %s", node.lan, node.address)
  end
  if self.v6 and not up then
    push(node.sysctl, "net/ipv6/conf/all/forwarding")
    push(node.sysctl, "1")
    push(node.ip, "addr add 2001:db8:%x:1::1/64 dev lan nodad", node.k)
    push(self.inet.ip, "route add 2001:db8:%x:1::/64 via %s", node.k, node.address6)
  end
  node.nft = types.rules(kind, node.addresses)
  return node
end

--- A host behind a NAT. Behind a "v6" type it has IPv6 only.
function Lab:host(name, nat)
  local node = self:node(name, nat.level + 1)
  node.nat = nat
  plug(nat, node, "eth0")
  if self.v6 then
    node.address6 = ("2001:db8:%x:1::%x"):format(nat.k, 9 + nat.ports)
    push(node.ip, "addr add %s/64 dev eth0 nodad", node.address6)
    node.gateway6 = ("2001:db8:%x:1::1"):format(nat.k)
    push(node.ip, "route add default via %s", node.gateway6)
    if nat.spec.v6 then
      push(node.ip, "route del default via %s", node.gateway)
      node.v6_only = true
    end
  end
  return node
end

local function configure(self, node)
  local agent = self.agent
  if #node.sysctl > 0 then
    agent:need("sysctl", node.id, table.unpack(node.sysctl))
  end
  local lines = { "link set lo up" }
  for _, line in ipairs(node.ip) do
    lines[#lines + 1] = type(line) == "function" and line() or line
  end
  agent:check(node, table.concat(lines, "\n") .. "\n", "ip", "-batch", "-")
  agent:need("neigh", node.id)
  if node.nft ~= "" then
    agent:check(node, node.nft, "nft", "-f", "-")
  end
end

--- Makes it all exist and waits until every node reaches its gateway. Returns the seconds
--- that took.
function Lab:build()
  local agent = self.agent
  local started = agent:now()
  local levels, deepest = {}, 0
  for _, node in ipairs(self.nodes) do
    local id, path = agent:need("ns")
    node.id, node.path = tonumber(id), path
    levels[node.level] = levels[node.level] or {}
    deepest = math.max(deepest, node.level)
    table.insert(levels[node.level], node)
  end
  for level = 0, deepest do
    local jobs = {}
    for _, node in ipairs(levels[level] or {}) do
      jobs[#jobs + 1] = function()
        configure(self, node)
      end
    end
    agent:all(jobs)
  end
  local jobs = {}
  for _, node in ipairs(self.nodes) do
    for _, gateway in ipairs { node.gateway or node.gateway6, node.gateway and node.gateway6 } do
      jobs[#jobs + 1] = function()
        agent:need("ready", node.id, gateway, 3)
      end
    end
  end
  agent:all(jobs)
  self.build_seconds = agent:now() - started
  return self.build_seconds
end

--- Starts a program in a node; it ends with the lab at the latest.
function Lab:spawn(node, ...)
  local proc = self.agent:spawn(node, ...)
  self.procs[proc] = true
  return proc
end

function Lab:udp(node, ip, port)
  return self.agent:udp(node, ip or "0.0.0.0", port)
end

--- Forgets every flow and mapping: the next packet finds a NAT that knows nothing. In the
--- middle of a connection this is a rebinding wherever ports are not preserved.
function Lab:forget(nat)
  local state = nat.spec.tracked and types.state or {}
  self.agent:check(nat, "", self.agent.tool, "flush", table.unpack(state))
end

--- Gives the NAT its other public address in place of the one it has; flows and mappings are
--- forgotten with it. Not for types whose network is routed.
function Lab:renumber(nat)
  assert(not nat.spec.public and not nat.up, "natlab: only a NAT of its own can be renumbered")
  local one, two = nat.addresses[1], nat.addresses[2]
  nat.addresses, nat.address = { two, one }, two
  local lines = {
    "addr flush dev wan",
    ("addr add %s/24 dev wan"):format(two),
    ("route add default via %s"):format(nat.gateway),
  }
  self.agent:check(nat, table.concat(lines, "\n") .. "\n", "ip", "-batch", "-")
  self.agent:check(nat, types.rules(nat.kind, nat.addresses), "nft", "-f", "-")
  self:forget(nat)
  self.agent:need("ready", nat.id, nat.gateway, 3)
end

--- Holds every packet that inet forwards: { ms =, jitter = ms, loss = permille }.
function Lab:delay(options)
  local agent = self.agent
  local spec = ("2:%d:%d:%d"):format(options.ms, options.jitter or 0, options.loss or 0)
  self:undelay()
  self.box = self:spawn(self.inet, agent.tool, "delay", spec)
  if self.box:read(3) ~= "ready" then
    error("natlab: the delay box does not start: " .. self.box:complaint(), 0)
  end
  local rule = { "-I", "FORWARD", "-j", "NFQUEUE", "--queue-num", "2", "--queue-bypass" }
  agent:check(self.inet, "", "iptables", table.unpack(rule))
end

function Lab:undelay()
  if self.box then
    self.agent:check(self.inet, "", "iptables", "-F", "FORWARD")
    self.box:kill(9)
    self.box:wait(2)
    self.box = nil
  end
end

--- Counts the UDP packets that come in to a node, by nftables, small ones (up to 100 bytes of
--- payload) apart. Packets from the addresses of the list `known` are not counted.
function Lab:count(node, known)
  local skip = ""
  if known and #known > 0 then
    skip = ("ip saddr { %s } accept"):format(table.concat(known, ", "))
  end
  local script = ([[
table ip seen
delete table ip seen
table ip seen {
  counter small { }
  counter large { }
  chain input {
    type filter hook prerouting priority -300; policy accept;
    %s
    meta l4proto udp meta length <= 128 counter name "small"
    meta l4proto udp meta length > 128 counter name "large"
  }
}
]]):format(skip)
  self.agent:check(node, script, "nft", "-f", "-")
end

--- What came in since count(): { packets, bytes (with IP headers), small, large }.
function Lab:counted(node)
  local text = self.agent:check(node, "", "nft", "list", "counters", "table", "ip", "seen")
  local seen = { packets = 0, bytes = 0 }
  for name, packets, bytes in text:gmatch "counter (%a+) {%s*packets (%d+) bytes (%d+)" do
    seen[name] = tonumber(packets)
    seen.packets = seen.packets + tonumber(packets)
    seen.bytes = seen.bytes + tonumber(bytes)
  end
  return seen
end

--- Ends every process of the lab and lets the kernel take the namespaces away.
function Lab:close()
  for proc in pairs(self.procs) do
    proc:kill(9)
  end
  for proc in pairs(self.procs) do
    proc:wait(2)
  end
  self.procs = {}
  self.agent.labs[self] = nil
  for _, node in ipairs(self.nodes) do
    if node.id then
      self.agent:ask("nsdel", node.id)
      node.id = nil
    end
  end
end

return Lab
