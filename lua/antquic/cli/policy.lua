-- The policy that an option names.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")

-- A policy by its name, or the one that a file returns. Nil and why not.
---@param word string
---@return antquic.Policy?
---@return string? why
return function(word)
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
