-- Stand-ins: what a record calls the addresses, peers and sessions of an
-- endpoint. Numbers in order of appearance, so nothing of the original can be
-- computed from one, whatever is known besides.
--
-- An address keeps its class (private, shared, public, ...), and whether two are
-- in one network (/24, /64). Stand-ins for public addresses are from networks
-- for benchmarks and documentation: they are nobody's. Ports from 1024 on are
-- all shifted by the same multiple of 1024, around; so differences stay, and
-- so do blocks and "the NAT keeps the port".
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local ip_class = require("antquic.ip_class")

local names = {}

-- More of them share one stand-in for each class.
local MAX_ADDRESSES = 4096
local BLOCK, BLOCKS = 1024, 63

---@class antquic.record.Names
local methods = {}
local Names = { __index = methods, __name = "antquic.record.Names" }

--- |random| (0 up to 1) chooses the shift of ports; the record's own.
---@param random fun(): number
---@return antquic.record.Names
function names.new(random)
  return setmetatable({
    shift = (1 + math.floor(random() * (BLOCKS - 1))) * BLOCK,
    others = 0, -- addresses beyond the limit
    _ips = {},
    _count = 0,
    _nets = {},
    _hosts = {},
    _known = {},
    _counts = {},
  }, Names)
end

-- ---- addresses ---------------------------------------------------------------

-- Where the stand-ins of a class are, by number of network and of host.
local FORM4 = {
  private = "10.%d.%d.%d",
  shared = "100.%d.%d.%d",
  link = "169.254.%d.%d",
  reserved = "198.19.%d.%d",
  public = "198.18.%d.%d",
  other = "240.%d.%d.%d",
}
local FORM6 = {
  private = "fd00:0:0:%x::%x",
  link = "fe80::%x:%x",
  reserved = "2001:2:0:%x::%x",
  public = "2001:db8:0:%x::%x",
  other = "100::%x:%x",
}

local function next_of(map, counts, key, within)
  local n = map[key]
  if not n then
    n = (counts[within] or 0) + 1
    map[key], counts[within] = n, n
  end
  return n
end

local function form4(class, net, host)
  if class == "private" or class == "other" then
    return FORM4[class]:format(math.floor(net / 256), net % 256, host)
  elseif class == "shared" then
    return FORM4.shared:format(64 + math.floor(net / 256), net % 256, host)
  end
  return FORM4[class]:format(net, host)
end

local ROOM = { private = 65535, other = 65535, shared = 16383 }

-- What all share that are beyond the bounds.
local function other(self, class, family)
  self.others = self.others + 1
  return family == 4 and form4(class, 0, 0) or FORM6[class]:format(0, 0)
end

-- The stand-in of an IP that was not seen before.
local function invent(self, ip)
  local family, class = ip_class.family(ip), ip_class.of(ip)
  local network = ip_class.network(ip)
  if class == "self" then
    return ip
  end
  local kind = class .. family
  local key = kind .. network
  local nets, counts = self._nets, self._counts
  local room = family == 4 and (ROOM[class] or 255) or 65535
  if self._count >= MAX_ADDRESSES or (not nets[key] and (counts[kind] or 0) >= room) then
    return other(self, class, family)
  end
  local net = next_of(nets, counts, key, kind)
  local host = next_of(self._hosts, counts, ip, key)
  self._count = self._count + 1
  local known = family == 4 and form4(class, net, host % 256) or FORM6[class]:format(net, host)
  self._ips[ip] = known
  return known
end

--- The stand-in of an IP address.
---@param ip string
---@return string
function methods:ip(ip)
  return self._ips[ip] or invent(self, ip)
end

--- The stand-in of a port.
---@param port integer
---@return integer
function methods:port(port)
  if port < BLOCK then
    return port
  end
  return BLOCK + (port - BLOCK + self.shift) % (BLOCK * BLOCKS)
end

--- The stand-in of "1.2.3.4:5" or "[::1]:5"; nil stays nil.
---@param address string?
---@return string?
function methods:address(address)
  if not address then
    return nil
  end
  local ip, port, family = core.addr_split(address)
  if not ip then
    return "?"
  end
  ip = ip:gsub("%%.*$", "")
  return (family == 6 and "[%s]:%d" or "%s:%d"):format(self:ip(ip), self:port(port))
end

-- ---- the rest ----------------------------------------------------------------

--- The short name of a thing: "p2" for the second peer that was met.
---@param letter string
---@param thing any nil stays nil
---@return string?
function methods:name(letter, thing)
  if thing == nil then
    return nil
  end
  local key = letter .. tostring(thing)
  return letter .. next_of(self._known, self._counts, key, "name " .. letter)
end

--- A text with the addresses and ids in it replaced.
---@param text string?
---@return string?
function methods:text(text)
  if not text then
    return nil
  end
  text = text:gsub("%[[%x:%.%%]+%]:%d+", function(found)
    return self:address(found)
  end)
  text = text:gsub("%f[%w]%d+%.%d+%.%d+%.%d+:%d+", function(found)
    return self:address(found)
  end)
  text = text:gsub("%f[%w]%d+%.%d+%.%d+%.%d+%f[^%w%.:]", function(found)
    return core.addr_parse(found .. ":1") and self:ip(found) or "?"
  end)
  -- IPv6 without a port; what is in brackets was replaced above.
  text = text:gsub("%f[%x:]([%x:]*:[%x:]*:[%x:]*)(%]?)", function(found, bracket)
    return bracket == "" and core.addr_parse("[" .. found .. "]:1") and self:ip(found) or nil
  end)
  return (
    text:gsub("%f[%w]%x+%f[%W]", function(found)
      return #found >= 16 and "(id)" or nil
    end)
  )
end

return names
