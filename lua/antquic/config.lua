-- Endpoint options: schema, defaults that depend on each other, and what the
-- core is given.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local identity = require("antquic.identity")
local options = require("antquic.options")
local peer_id = require("antquic.peer_id")
local policy = require("antquic.policy")

local config = {}

local MiB = 1024 * 1024

local function count(min, max)
  return { type = "integer", min = min, max = max }
end

local function seconds(min, max)
  return { type = "number", min = min, max = max, unit = "seconds" }
end

local flag = { type = "boolean" }

local SCHEMA = {
  identity = { type = "string|table" },
  role = { type = "string", choices = { "client", "server", "bootstrap" } },
  bind = { type = "string|table" },
  bootstrap_nodes = { type = "table" },
  alpn = { type = "string|table" },
  allow = { type = "string|table" },
  policy = { type = "table" },
  store = { type = "string" },
  can_coordinate = flag,
  enable_symmetric_nat = { type = "boolean", default = true },
  enable_relay_fallback = flag,
  can_relay = { type = "boolean", default = true },
  relay_rate = count(1024, 1024 * MiB),
  relay_total_rate = count(1024, 16384 * MiB),
  accept = { type = "boolean", default = true },
  allow_reserved = flag,
  always_retry = flag,
  nat_profile = flag,
  second_port = { type = "boolean|integer", min = 1, max = 65535, default = true },
  pqc = { type = "string", choices = { "hybrid", "off" } },
  max_candidates = count(1, 256),
  max_concurrent_attempts = count(1, 16),
  coordination_timeout = seconds(0.1, 300),
  idle_timeout = seconds(0, 3600),
  keep_alive = seconds(0, 3600),
  handshake_timeout = seconds(0.1, 300),
  stream_window = count(1024, 8 * MiB),
  conn_window = count(1024, 1024 * MiB),
  max_streams_bidi = count(0, 2 ^ 20),
  max_streams_uni = count(0, 2 ^ 20),
  send_buffer = count(1024, 64 * MiB),
  datagram_queue = count(1, 65536),
  max_connections = count(1, 2 ^ 20),
  max_half_open = count(1, 65536),
  gso = flag,
  gro = flag,
  ecn = flag,
}

config.SCHEMA = SCHEMA

-- What goes to the core as it is.
local PLAIN = {
  "role",
  "can_coordinate",
  "enable_symmetric_nat",
  "enable_relay_fallback",
  "can_relay",
  "relay_rate",
  "relay_total_rate",
  "accept",
  "allow_reserved",
  "always_retry",
  "nat_profile",
  "pqc",
  "max_candidates",
  "max_concurrent_attempts",
  "coordination_timeout",
  "idle_timeout",
  "keep_alive",
  "handshake_timeout",
  "stream_window",
  "conn_window",
  "max_streams_bidi",
  "max_streams_uni",
  "send_buffer",
  "datagram_queue",
  "max_connections",
  "max_half_open",
}

--- Reads "addr:port", "peerid@addr:port" or { address =, peer_id = }.
---@param node string|table
---@return table? node { addr =, peer = bytes? }
---@return string? message
---@return string? code
function config.bootstrap_node(node)
  local pin, address
  if type(node) == "table" and not peer_id.is(node) then
    pin, address = node.peer_id, node.address
  elseif type(node) == "string" then
    pin, address = node:match("^(.-)@(.*)$")
    address = address or node
  end
  if type(address) ~= "string" then
    return nil, 'a bootstrap node is "address:port" or "peerid@address:port"', "ADDRESS"
  end
  local addr, message, code = core.addr_parse(address)
  if not addr then
    return nil, ("bootstrap node '%s': %s"):format(address, message), code
  end
  local id
  if pin then
    id, message, code = peer_id.parse(pin)
    if not id then
      return nil, ("bootstrap node '%s': %s"):format(address, message), code
    end
  end
  return { addr = addr, peer = id and id:bytes() }
end

local function as_list(value)
  if type(value) == "string" then
    return { value }
  end
  return value
end

-- How long a list may be.
local MOST = { alpn = 8, bind = 16, bootstrap_nodes = 16 }

local function read_list(name, value, read)
  local list = {}
  for i, item in ipairs(as_list(value)) do
    if i > MOST[name] then
      local text = "antquic.endpoint: option '%s' has more than %d entries"
      return nil, text:format(name, MOST[name]), "CONFIG"
    end
    local got, message, code = read(item)
    if got == nil then
      return nil, ("antquic.endpoint: option '%s': %s"):format(name, message), code
    end
    list[i] = got
  end
  return list
end

-- "any", a list of ids, or a set { [id] = true }.
local function read_allow(value)
  if value == "any" then
    return nil
  elseif type(value) == "string" then
    value = { value }
  end
  local ids = {}
  for key, item in pairs(value) do
    local who = item
    if type(key) ~= "number" then
      who = item and key or nil
    end
    if who ~= nil then
      local id, message, code = peer_id.parse(who)
      if not id then
        return nil, "antquic.endpoint: option 'allow': " .. message, code
      end
      ids[#ids + 1] = id:bytes()
    end
  end
  return ids
end

local function read_identity(value, world)
  if value == nil then
    return world.identity()
  elseif type(value) == "string" then
    return identity.load(value)
  elseif identity.is(value) then
    return value
  end
  error("antquic.endpoint: option 'identity' must be the path of a key file or an identity", 4)
end

local function alpn_name(name)
  if type(name) ~= "string" or #name < 1 or #name > 63 then
    return nil, "a protocol's name has 1 to 63 bytes", "CONFIG"
  end
  return name
end

local function bind_addr(text)
  local addr, message, code = core.addr_parse(text)
  if not addr then
    return nil, message, code
  end
  return addr
end

--- From the program's options to the core's. Wrong types and unknown names
--- raise; the rest is nil, message, code.
---@param given table?
---@param world antquic.World
---@return table? core_options
---@return table|string identity or message
---@return table|string policy or code
function config.read(given, world)
  local o, message, code = options.check("antquic.endpoint", SCHEMA, given, 3, true)
  if not o then
    return nil, message, code
  end
  local p = o.policy or policy.balanced
  policy.check(p, "antquic.endpoint: option 'policy'", 3)
  local out = {}

  local nodes
  nodes, message, code =
    read_list("bootstrap_nodes", o.bootstrap_nodes or {}, config.bootstrap_node)
  if not nodes then
    return nil, message, code
  end
  local has_nodes = #nodes > 0
  if o.role == nil then
    o.role = has_nodes and "client" or "server"
    if o.can_coordinate == nil then
      o.can_coordinate = false
    end
  elseif o.can_coordinate == nil then
    o.can_coordinate = o.role == "bootstrap" or (o.role == "server" and has_nodes)
  end
  if o.enable_relay_fallback == nil then
    o.enable_relay_fallback = o.role ~= "bootstrap"
  end
  for _, name in ipairs(PLAIN) do
    out[name] = o[name]
  end
  out.bootstrap_nodes = nodes

  if o.bind then
    out.bind, message, code = read_list("bind", o.bind, bind_addr)
    if not out.bind then
      return nil, message, code
    end
  end
  if o.alpn then
    out.alpn, message, code = read_list("alpn", o.alpn, alpn_name)
    if not out.alpn then
      return nil, message, code
    end
  end
  if o.allow then
    out.allow, message, code = read_allow(o.allow)
    if code then
      return nil, message, code
    end
  end
  if o.role == "bootstrap" then
    out.second_port = o.second_port
  end
  out.no_gso = o.gso == false or nil
  out.no_gro = o.gro == false or nil
  out.no_ecn = o.ecn == false or nil
  out.strategy = "steps"
  out.ask_accept = true
  out.ask_candidates = true

  local me
  me, message, code = read_identity(o.identity, world)
  if not me then
    return nil, message, code
  end
  out.identity = me._core
  return out, me, p
end

return config
