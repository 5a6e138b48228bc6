-- The policies that options name, and what they are called.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")

local policies = {}

--- A policy by its name, or the one that a file returns. Nil and why not.
---@param word string
---@return antquic.Policy?
---@return string? why
function policies.load(word)
  if not word:find("[/.]") then
    local ok, found = pcall(function()
      return antquic.policy[word]
    end)
    if ok and type(found) == "table" and pcall(antquic.policy.check, found, word) then
      return found
    end
    return nil, ("there is no policy '%s': give the file of one, or a name"):format(word)
  end
  local chunk, why = loadfile(word)
  if not chunk then
    return nil, why
  end
  local ok, found = pcall(chunk)
  if not ok then
    return nil, ("%s: %s"):format(word, tostring(found))
  end
  ok, why = pcall(antquic.policy.check, found, word)
  if not ok then
    return nil, tostring(why)
  end
  return found
end

--- What two are called: by what the command line says where their names don't tell
--- them apart, since one extends the other.
---@param one string? its name; balanced
---@param word string? of the command line
---@param other antquic.Policy
---@param other_word string
---@return string one
---@return string other
function policies.names(one, word, other, other_word)
  one = one or word or "balanced"
  local name = other.name or other_word
  if one == name then
    return word or one, other_word
  end
  return one, name
end

return policies
