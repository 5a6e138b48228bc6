-- What a NAT profile means for connecting, for people and machines.
--
-- SPDX-License-Identifier: MIT

local nat = {}

-- The kinds of peers, from the easiest on.
nat.KINDS = { "open", "cone_open", "cone_strict", "sequential", "random" }

local KIND_TEXT = {
  open = "without NAT and firewall",
  cone_open = "independent mapping, filter by address or none",
  cone_strict = "independent mapping, filter by address and port",
  sequential = "dependent mapping, ports in sequence",
  random = "dependent mapping, ports at random",
}

local WAY_TEXT = {
  direct = "directly",
  punching = "by punching",
  prediction = "by predicting ports",
  birthday = "by many sockets against many ports",
  luck = "by luck, again and again: the outer address varies",
  no = "not at all, without a relay",
  unknown = "not known yet",
}

-- By our own kind: how each kind of peer is reached, in the order of KINDS.
local WAYS = {
  open = { "direct", "direct", "direct", "direct", "direct" },
  cone_open = { "direct", "punching", "punching", "punching", "punching" },
  cone_strict = { "direct", "punching", "punching", "prediction", "birthday" },
  sequential = { "direct", "punching", "prediction", "prediction", "no" },
  random = { "direct", "punching", "birthday", "no", "no" },
  pool = { "direct", "luck", "luck", "luck", "no" },
  blocked = { "no", "no", "no", "no", "no" },
  unknown = { "direct", "unknown", "unknown", "unknown", "unknown" },
}

--- Which kind the profile is of. What could be bounded only counts as its
--- strictest.
---@param p antquic.NatProfile
---@return string
function nat.kind(p)
  local lax = p.filtering == "endpoint_independent"
  if p.filtering == "none" then
    return "blocked"
  elseif p.mapping == "unknown" then
    return "unknown"
  elseif p.mapping == "none" and lax then
    return "open"
  elseif lax or p.mapping == "none" or p.mapping == "endpoint_independent" then
    return (lax or p.filtering_most == "address_dependent") and "cone_open" or "cone_strict"
  elseif #p.external > 1 then
    return "pool"
  end
  return p.allocation == "sequential" and "sequential" or "random"
end

--- How peers of each kind are reached.
---@param p antquic.NatProfile
---@return table<string, string>
function nat.ways(p)
  local out = {}
  for i, way in ipairs(WAYS[nat.kind(p)]) do
    out[nat.KINDS[i]] = way
  end
  return out
end

local function words(name)
  return (name:gsub("_", " "))
end

local function ports(p)
  if p.step then
    return ("in sequence, %+d each"):format(p.step)
  elseif p.block then
    return ("at random from %d to %d"):format(p.block.base, p.block.base + p.block.size - 1)
  end
  return words(p.allocation)
end

local function lifetime(p)
  local text = "not measured yet"
  if p.idle_lifetime and p.idle_gone then
    text = ("%d to %d s without traffic"):format(p.idle_lifetime, p.idle_gone)
  elseif p.idle_lifetime then
    text = ("at least %d s without traffic"):format(p.idle_lifetime)
  elseif p.idle_gone then
    text = ("less than %d s without traffic"):format(p.idle_gone)
  end
  if p.absolute_lifetime then
    text = text .. (", %d s in use"):format(p.absolute_lifetime)
  end
  return text
end

local function filter(p)
  if p.filtering == "unknown" and p.filtering_most ~= "unknown" then
    return words(p.filtering_most) .. " at most"
  end
  return words(p.filtering)
end

local function hairpin(p)
  if p.hairpin == nil then
    return "unknown"
  end
  return not p.hairpin and "no" or p.hairpin_internal and "yes, private source" or "yes"
end

--- The profile, a line each.
---@param p antquic.NatProfile
---@param relays boolean? whether a coordinator does
---@return string[]
function nat.lines(p, relays)
  local out = {
    "NAT:",
    "  mapping    " .. (p.mapping == "none" and "none: no NAT" or words(p.mapping)),
    "  filtering  " .. (p.filtering == "none" and "nothing comes through" or filter(p)),
    "  ports      " .. ports(p),
    "  outside    " .. (#p.external > 0 and table.concat(p.external, ", ") or "unknown"),
    "  hairpin    " .. hairpin(p),
    "  lifetime   " .. lifetime(p),
    "peers are reached:",
  }
  local ways = nat.ways(p)
  for _, kind in ipairs(nat.KINDS) do
    local way = ways[kind]
    way = way == "no" and relays and "over a relay" or WAY_TEXT[way]
    out[#out + 1] = ("  %-48s %s"):format(KIND_TEXT[kind], way)
  end
  return out
end

return nat
