-- What kind of IP address is it, by its text alone: private, shared, public, ...
--
-- SPDX-License-Identifier: MIT

local ip_class = {}

-- "2001:db8::7" -> eight numbers; an IPv4 tail doesn't occur in the core's text.
local function groups(ip)
  local head, tail = ip:match("^(.-)::(.*)$")
  local function split(text)
    local out = {}
    for part in (text or ""):gmatch("%x+") do
      out[#out + 1] = tonumber(part, 16)
    end
    return out
  end
  local left, right = split(head or ip), split(tail)
  local out = {}
  for i = 1, 8 do
    local from_right = i - (8 - #right)
    out[i] = i <= #left and left[i] or (from_right > 0 and right[from_right]) or 0
  end
  return out
end

local RESERVED4 = { ["192.0.2"] = true, ["198.51.100"] = true, ["203.0.113"] = true }

local function class4(ip)
  local a, b = ip:match("^(%d+)%.(%d+)%.")
  a, b = tonumber(a), tonumber(b)
  if a == 127 or ip == "0.0.0.0" then
    return "self"
  elseif a == 10 or (a == 192 and b == 168) or (a == 172 and b >= 16 and b <= 31) then
    return "private"
  elseif a == 100 and b >= 64 and b <= 127 then
    return "shared"
  elseif a == 169 and b == 254 then
    return "link"
  elseif RESERVED4[ip:match("^(.*)%.%d+$")] or (a == 198 and (b == 18 or b == 19)) then
    return "reserved"
  elseif a >= 224 or a == 0 then
    return "other"
  end
  return "public"
end

local function class6(g)
  local first = g[1]
  local zero = true
  for i = 1, 7 do
    zero = zero and g[i] == 0
  end
  if zero and g[8] <= 1 then
    return "self"
  elseif first >= 0xFE80 and first <= 0xFEBF then
    return "link"
  elseif (first >= 0xFC00 and first <= 0xFDFF) or (first >= 0xFEC0 and first <= 0xFEFF) then
    return "private"
  elseif
    first == 0x2001 and (g[2] == 0xDB8 or (g[2] == 2 and g[3] == 0))
    or (first >= 0x3FF0 and first <= 0x3FFF)
  then
    return "reserved"
  elseif first >= 0x2000 and first <= 0x3FFF then
    return "public"
  end
  return "other"
end

--- 4 or 6.
---@param ip string
---@return integer
function ip_class.family(ip)
  return ip:find(":", 1, true) and 6 or 4
end

--- The class of an address without port and scope, as the core writes them:
--- "self" (loopback, none), "private", "shared" (behind a carrier's NAT),
--- "link", "reserved" (for documents and benchmarks), "public" or "other".
---@param ip string
---@return string
function ip_class.of(ip)
  return ip_class.family(ip) == 6 and class6(groups(ip)) or class4(ip)
end

--- The network that it is in, of the usual size: /24 or /64.
---@param ip string
---@return string
function ip_class.network(ip)
  if ip_class.family(ip) == 4 then
    return (ip:match("^(.*)%.%d+$"))
  end
  local g = groups(ip)
  return ("%x:%x:%x:%x"):format(g[1], g[2], g[3], g[4])
end

local NEAR = { self = true, private = true, shared = true, link = true }

--- Does "1.2.3.4:5" or "[::1]:5" mean something in its own network alone?
---@param address string
---@return boolean
function ip_class.is_near(address)
  local ip = address:match("^%d+%.%d+%.%d+%.%d+") or address:match("^%[([%x:]+)")
  return ip ~= nil and NEAR[ip_class.of(ip)] == true
end

return ip_class
