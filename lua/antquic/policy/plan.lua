-- Which plan can bring two NATs together, by what is known of them.
--
-- SPDX-License-Identifier: MIT

local plan = {}

local VARIES = { address_dependent = true, address_and_port_dependent = true }

--- Does each destination, or each of its ports, see another port of it?
---@param profile table NAT profile
---@return boolean
function plan.varies(profile)
  return VARIES[profile.mapping] == true
end

local function allocation(profile)
  local how = profile.allocation
  return (how == "sequential" or how == "block") and "predict" or "birthday"
end

-- Does one let in what comes unasked to the port that a coordinator saw?
local function lets_in(profile)
  return profile.filtering == "endpoint_independent"
end

-- Keeps ports, but takes any of several addresses for each destination?
local function is_pool(profile)
  return (profile.external_count or 1) > 1 and profile.allocation == "preserving"
end

local HOPELESS = "both NATs give each destination another port, and not in sequence: "
  .. "there is nothing that could be guessed"

--- What to try: "punch", "fresh", "predict" or "birthday"; nil and a sentence
--- when nothing can help. Second result: whether the profiles say enough to be sure.
--- Third: nothing can help, but a filter that isn't known may let somebody in.
---@param mine table? NAT profile
---@param theirs table? NAT profile
---@return string? how
---@return boolean|string sure or why not
---@return boolean? doubt
function plan.choose(mine, theirs)
  mine, theirs = mine or {}, theirs or {}
  local hard, easy = mine, theirs
  if not plan.varies(mine) or is_pool(mine) then
    hard, easy = theirs, mine
  end
  local known = mine.mapping ~= nil and theirs.mapping ~= nil
  local pool = is_pool(mine) or is_pool(theirs)
  if lets_in(mine) or lets_in(theirs) then
    return "punch", known
  elseif not plan.varies(hard) or is_pool(hard) then
    return pool and "fresh" or "punch", known
  elseif pool or plan.varies(easy) then
    if mine.allocation == "sequential" and theirs.allocation == "sequential" then
      return "predict", true
    elseif not mine.allocation or not theirs.allocation then
      return "punch", false
    end
    return nil, HOPELESS, not (mine.filtering and theirs.filtering)
  elseif easy.filtering == "address_dependent" then
    return "punch", known -- it doesn't mind our port
  end
  -- A filter that is not known may well let somebody in, on either side.
  return allocation(hard), easy.filtering ~= nil and easy.mapping ~= nil and hard.filtering ~= nil
end

return plan
