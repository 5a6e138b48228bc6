-- Pairs of NAT types: which there are, and what RFC 4787 says of them.
--
--   Y  punchable without guessing: must connect, every time, whoever dials
--   B  one random port to be guessed (birthday)       P  a sequence to be predicted
--   p  both to be predicted                           r  luck of an address pool
--   -  not punchable at all
--
-- SPDX-License-Identifier: MIT

local types = require("antquic.sim.types")

local pairing = {}

local known = {}

local function get(name)
  known[name] = known[name] or types.get(name)
  return known[name]
end

-- Is the outer port the same for every destination?
local function is_cone(x)
  return not x.arbitrary and (x.mapping == "ei" or x.mapping == "none" or x.mapping == "flow")
end

-- Does a packet of X get through to the address that a coordinator saw of Y?
local function reaches(x, y)
  if y.filtering == "ei" then
    return true
  elseif is_cone(y) then
    return is_cone(x) or (y.filtering == "ad" and not x.arbitrary)
  end
  return false
end

--- Does the first packet of the one who dials get through, once the other's NAT
--- was opened? If not, the other's packet has to come first.
---@param a string type
---@param b string type
---@return boolean
function pairing.first_packet_arrives(a, b)
  return reaches(get(a), get(b))
end

--- The mark of a pair: "Y", "B", "P", "p", "r" or "-".
---@param a string type
---@param b string type
---@return string
function pairing.mark(a, b)
  local x, y = get(a), get(b)
  if x.blocked or y.blocked then
    return "-"
  elseif reaches(x, y) or reaches(y, x) then
    return "Y"
  elseif x.arbitrary or y.arbitrary then
    return "r"
  end
  local first, second = x.ports == "sequential", y.ports == "sequential"
  if not is_cone(x) and not is_cone(y) then
    return first and second and "p" or "-"
  end
  return (first or second) and "P" or "B"
end

-- A sample that has every reason to work and every reason not to, initiator
-- first; the NAT lab's.
local QUICK = {
  { "port_restr", "linux" },
  { "linux", "port_restr" },
  { "linux_open", "port_restr" },
  { "linux_open", "linux_reject" },
  { "sym_rand", "addr_restr" },
  { "full_cone", "sym_eif" },
  { "fw_only", "linux" },
  { "adm_adf", "full_cone" },
  { "sym_rand", "sym_rand" },
  { "udp_blocked", "none" },
}

local function each_with_each(names)
  local list = {}
  for _, a in ipairs(names) do
    for _, b in ipairs(names) do
      list[#list + 1] = { a, b }
    end
  end
  return list
end

--- Every ordered pair of the table.
---@return string[][]
function pairing.all()
  return each_with_each(types.matrix)
end

--- Reads "quick", "all", "cone" or "a:b,c:d". Nil and a message for what isn't one.
---@param text string
---@param names string[]? the types that may be asked for (default: the simulator's)
---@return string[][]?
---@return string? message
function pairing.parse(text, names)
  if text == "quick" then
    return QUICK
  elseif text == "all" then
    return pairing.all()
  elseif text == "cone" then
    return each_with_each({ "full_cone", "addr_restr", "port_restr" })
  end
  names = names or types.names()
  local is_type = {}
  for _, name in ipairs(names) do
    is_type[name] = true
  end
  local list = {}
  for word in text:gmatch("[^,]+") do
    local a, b = word:match("^%s*([%w_]+):([%w_]+)%s*$")
    if not a then
      return nil, ("'%s' is no pair of NAT types like port_restr:linux"):format(word)
    end
    for _, name in ipairs({ a, b }) do
      if not is_type[name] then
        return nil,
          ("there is no NAT type '%s'; there are %s"):format(name, table.concat(names, ", "))
      end
    end
    list[#list + 1] = { a, b }
  end
  if #list == 0 then
    return nil, "no pairs"
  end
  return list
end

return pairing
