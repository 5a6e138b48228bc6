-- types.lua - the kinds of NAT of the lab, as nftables rules, and what the classifier must
-- find (RFC 4787 terms): EI = endpoint independent, AD = address dependent, APD = address
-- and port dependent; EIM/ADM/APDM are mappings, EIF/ADF/APDF filterings.
--
-- In the rules $W and $W2 are the NAT's public addresses; "wan" and "lan" its devices.
--
-- SPDX-License-Identifier: MIT

local types = {}

-- Linux answers for a NAT's own ports unless its input chain says otherwise.
local function input(action)
  return ([[
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "wan" meta l4proto udp %s
  }
]]):format(action)
end

-- What a NAT of our own making has to remember. The chain comes after address translation,
-- so "ct reply proto-dst" is the external port whoever chose it. It is a filter chain
-- because nat chains see the first packet of a flow only.
types.state = { "out", "outd", "fc", "adr" }
local TRACK = [[
  map out {
    type ipv4_addr . inet_service : inet_service
    flags dynamic,timeout; timeout 60s; size 65535;
  }
  map outd {
    type ipv4_addr . inet_service . ipv4_addr : inet_service
    flags dynamic,timeout; timeout 60s; size 65535;
  }
  map fc {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout; timeout 60s; size 65535;
  }
  set adr {
    type inet_service . ipv4_addr
    flags dynamic,timeout; timeout 60s; size 65535;
  }
  chain track {
    type filter hook postrouting priority srcnat + 10; policy accept;
    $U @out { $K : ct reply proto-dst }
    $U @outd { $K . ip daddr : ct reply proto-dst }
    $N delete @fc { ct reply proto-dst : $K }
    $U @fc { ct reply proto-dst : $K }
    $U @adr { ct reply proto-dst . ip daddr }
  }
]]
TRACK = TRACK:gsub("%$U", 'oifname "wan" meta l4proto udp update')
  :gsub("%$N", 'oifname "wan" meta l4proto udp ct state new')
  :gsub("%$K", "ct original ip saddr . ct original proto-src")

local function post(...)
  return ([[
  chain post {
    type nat hook postrouting priority srcnat; policy accept;
    %s
  }
]]):format(table.concat({ ... }, "\n    "))
end

-- Lets an unsolicited packet in where a mapping exists and `condition` holds.
local function pre(condition)
  return ([[
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    %s ip daddr $W meta l4proto udp dnat ip to udp dport map @fc
  }
]]):format(condition)
end

local function forward(...)
  return ([[
  chain forward {
    type filter hook forward priority filter; policy accept;
    %s
  }
]]):format(table.concat({ ... }, "\n    "))
end

-- Mappings.
local FRESH = 'oifname "wan" meta l4proto udp snat to $W:20000-59999 fully-random'
local EIM = {
  'oifname "wan" meta l4proto udp snat to $W : ip saddr . udp sport map @out',
  FRESH,
}
local ADM = {
  'oifname "wan" meta l4proto udp snat to $W : ip saddr . udp sport . ip daddr map @outd',
  FRESH,
}
local PRESERVE = 'oifname "wan" masquerade'
local RANDOM = 'oifname "wan" meta l4proto udp masquerade to :1024-65535 fully-random'
local HAIRPIN = 'iifname "lan" oifname "lan" ct status dnat meta l4proto udp '
  .. "snat to $W : ip saddr . udp sport map @out"
local ANY_ADDRESS = 'oifname "wan" meta l4proto udp '
  .. "snat ip to numgen inc mod 2 map { 0 : $W, 1 : $W2 }"

-- numgen gives a number in the machine's byte order where a port is expected in the wire's,
-- so the ports go through a map.
local function sequential()
  local ports = {}
  for i = 0, 2047 do
    ports[#ports + 1] = ("%d : %d"):format(i, 20000 + i)
  end
  return ('oifname "wan" meta l4proto udp snat to $W : numgen inc mod 2048 map { %s }'):format(
    table.concat(ports, ", ")
  )
end

-- Filterings.
local EIF = pre('iifname "wan"')
local ADF = pre('iifname "wan" udp dport . ip saddr @adr')
local STATEFUL = forward(
  'iifname "wan" ct state established,related accept',
  'iifname "wan" meta l4proto udp drop'
)
local DROP, REJECT = input("drop"), input("reject")

local function eim(rules)
  return TRACK .. rules .. DROP
end

-- name -> rules; mapping, filtering and ports as the classifier must find them. `tracked`
-- types have state to forget beside the kernel's; `public` ones have a routed network.
types.by_name = {
  none = { mapping = "none", filtering = "EIF", ports = "preserve", public = true, nft = "" },
  fw_only = {
    mapping = "none",
    filtering = "APDF",
    ports = "preserve",
    public = true,
    nft = STATEFUL,
  },
  fw_v6 = {
    mapping = "none",
    filtering = "APDF",
    ports = "preserve",
    v6 = true,
    nft = "",
    nft6 = STATEFUL,
  },
  full_cone = {
    mapping = "EIM",
    filtering = "EIF",
    ports = "random",
    tracked = true,
    nft = eim(EIF .. post(EIM[1], EIM[2])),
  },
  full_cone_hp = {
    mapping = "EIM",
    filtering = "EIF",
    ports = "random",
    hairpin = true,
    tracked = true,
    nft = eim(pre("") .. post(HAIRPIN, EIM[1], EIM[2])),
  },
  addr_restr = {
    mapping = "EIM",
    filtering = "ADF",
    ports = "random",
    tracked = true,
    nft = eim(ADF .. post(EIM[1], EIM[2])),
  },
  port_restr = {
    mapping = "EIM",
    filtering = "APDF",
    ports = "random",
    tracked = true,
    nft = eim(post(EIM[1], EIM[2])),
  },
  port_restr_hp = {
    mapping = "EIM",
    filtering = "APDF",
    ports = "random",
    hairpin = true,
    tracked = true,
    nft = eim(pre('iifname "lan"') .. post(HAIRPIN, EIM[1], EIM[2])),
  },
  -- Stock Linux masquerade, by what the router does with packets for itself.
  linux = { mapping = "EIM", filtering = "APDF", ports = "preserve", nft = post(PRESERVE) .. DROP },
  linux_reject = {
    mapping = "EIM",
    filtering = "APDF",
    ports = "preserve",
    nft = post(PRESERVE) .. REJECT,
  },
  linux_open = { mapping = "EIM", filtering = "APDF", ports = "preserve", nft = post(PRESERVE) },
  adm_apdf = {
    mapping = "ADM",
    filtering = "APDF",
    ports = "random",
    tracked = true,
    nft = eim(post(ADM[1], ADM[2])),
  },
  adm_adf = {
    mapping = "ADM",
    filtering = "ADF",
    ports = "random",
    tracked = true,
    nft = eim(ADF .. post(ADM[1], ADM[2])),
  },
  sym_rand = {
    mapping = "APDM",
    filtering = "APDF",
    ports = "random",
    nft = post(RANDOM) .. DROP,
  },
  sym_seq = {
    mapping = "APDM",
    filtering = "APDF",
    ports = "sequential",
    nft = post(sequential()) .. DROP,
  },
  sym_eif = {
    mapping = "APDM",
    filtering = "EIF",
    ports = "random",
    tracked = true,
    nft = eim(EIF .. post(RANDOM)),
  },
  sym_adf = {
    mapping = "APDM",
    filtering = "ADF",
    ports = "random",
    tracked = true,
    nft = eim(ADF .. post(RANDOM)),
  },
  pool_arb = {
    mapping = "arbitrary address",
    filtering = "APDF",
    ports = "preserve",
    nft = post(ANY_ADDRESS) .. DROP,
  },
  udp_blocked = {
    mapping = "blocked",
    filtering = "blocked",
    nft = post(PRESERVE) .. DROP .. forward("meta l4proto udp drop"),
  },
}

--- The types that pairs are made of, in the order of the tables that are printed.
types.matrix = require("antquic.sim.types").matrix

--- Beyond these: classified by the self-test, usable in --pairs.
types.extra = { "full_cone_hp", "port_restr_hp", "pool_arb", "fw_v6" }

--- The nftables script of a NAT. `w` lists its public addresses.
function types.rules(name, w)
  local kind = assert(types.by_name[name], "no such type: " .. tostring(name))
  local body = kind.nft:gsub("%$W2", w[2] or w[1]):gsub("%$W", w[1])
  local script = "table ip nat\ndelete table ip nat\n"
  if body ~= "" then
    script = script .. "table ip nat {\n" .. body .. "}\n"
  end
  if kind.nft6 then
    script = script .. "table ip6 nat\ndelete table ip6 nat\n"
    script = script .. "table ip6 nat {\n" .. kind.nft6 .. "}\n"
  end
  return script
end

return types
