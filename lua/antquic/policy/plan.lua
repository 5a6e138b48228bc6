-- Which plan can bring two NATs together, by what is known of them.
--
-- SPDX-License-Identifier: MIT

local plan = {}

local VARIES = { address_dependent = true, address_and_port_dependent = true }

local function allocation(profile)
  local how = profile.allocation
  return (how == "sequential" or how == "block") and "predict" or "birthday"
end

-- Does one let in what comes unasked to the port that a coordinator saw?
local function lets_in(profile)
  return profile.filtering == "endpoint_independent"
end

--- What to try: "punch", "predict" or "birthday"; nil and a sentence when
--- nothing can help. Second result: whether the profiles say enough to be sure.
---@param mine table? NAT profile
---@param theirs table? NAT profile
---@return string? how
---@return boolean|string sure or why not
function plan.choose(mine, theirs)
  mine, theirs = mine or {}, theirs or {}
  local hard, easy = mine, theirs
  if not VARIES[mine.mapping] then
    hard, easy = theirs, mine
  end
  local known = mine.mapping ~= nil and theirs.mapping ~= nil
  if not VARIES[hard.mapping] then
    return "punch", known
  elseif lets_in(mine) or lets_in(theirs) then
    return "punch", known
  elseif VARIES[easy.mapping] then
    if mine.allocation == "sequential" and theirs.allocation == "sequential" then
      return "predict", true
    elseif not mine.allocation or not theirs.allocation then
      return "punch", false
    end
    return nil,
      "both NATs give each destination another port, and not in sequence: "
        .. "there is nothing that could be guessed"
  elseif easy.filtering == "address_dependent" then
    return "punch", known -- it doesn't mind our port
  end
  -- A filter that is not known may well let us in.
  return allocation(hard), easy.filtering ~= nil and easy.mapping ~= nil
end

return plan
