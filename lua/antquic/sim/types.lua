-- The types of NAT, by name: those of the NAT lab, which the core knows, and some
-- that no Linux box can be made into.
--
-- mapping and filtering in the terms of RFC 4787: "ei" endpoint independent, "ad"
-- address dependent, "apd" address and port dependent; "flow" is Linux's netfilter.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")

local types = {}

-- Carrier-grade: a block of ports for each customer.
local EXTRA = {
  cgn = { mapping = "ei", filtering = "ei", ports = "block", block_size = 512 },
  cgn_sym = { mapping = "apd", filtering = "apd", ports = "block", block_size = 512 },
}

--- Those that pairs are made of, in the order of the tables that are printed.
types.matrix = {
  "none",
  "fw_only",
  "full_cone",
  "addr_restr",
  "port_restr",
  "linux",
  "linux_reject",
  "linux_open",
  "adm_apdf",
  "adm_adf",
  "sym_rand",
  "sym_seq",
  "sym_eif",
  "sym_adf",
  "udp_blocked",
}

--- The names, those of the lab first.
---@return string[]
function types.names()
  local list = core.sim_nat_types()
  for _, name in ipairs({ "cgn", "cgn_sym" }) do
    list[#list + 1] = name
  end
  return list
end

--- The parameters of a type, a new table; nil where there is none of that name.
---@param name string
---@return table?
function types.get(name)
  local extra = EXTRA[name]
  if not extra then
    return (core.sim_nat_type(name))
  end
  local out = {}
  for key, value in pairs(extra) do
    out[key] = value
  end
  return out
end

--- What the core is told to get that type; nil where there is none of that name.
---@param name string
---@return table?
function types.base(name)
  if EXTRA[name] then
    return types.get(name)
  end
  return core.sim_nat_type(name) and { type = name } or nil
end

--- What a NAT can have.
types.SCHEMA = {
  type = { type = "string" },
  mapping = { type = "string", choices = { "ei", "ad", "apd", "flow", "none" } },
  filtering = { type = "string", choices = { "ei", "ad", "apd" } },
  ports = { type = "string", choices = { "preserve", "sequential", "random", "block" } },
  step = { type = "integer", min = -1024, max = 1024 },
  block_base = { type = "integer", min = 1, max = 65535 },
  block_size = { type = "integer", min = 1, max = 65535 },
  max_blocks = { type = "integer", min = 1, max = 65535 },
  low = { type = "integer", min = 1, max = 65535 },
  high = { type = "integer", min = 1, max = 65535 },
  addresses = { type = "table" },
  pool = { type = "integer", min = 1, max = 8 },
  arbitrary = { type = "boolean" },
  idle = { type = "number", min = 0, unit = "seconds" },
  absolute = { type = "number", min = 0, unit = "seconds" },
  inbound_refresh = { type = "boolean" },
  inbound_session = { type = "boolean" },
  same_port = { type = "boolean" },
  hairpin = { type = "string", choices = { "no", "external", "internal" } },
  v6 = { type = "string", choices = { "off", "open", "firewall" } },
  poison = { type = "boolean" },
  blocked = { type = "boolean" },
  background = { type = "number", min = 0, unit = "allocations a second" },
  max_flows = { type = "integer", min = 1, max = 65536 },
  network = { type = "string" },
}

return types
