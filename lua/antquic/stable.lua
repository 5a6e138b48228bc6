-- Sorting that keeps the order of what is equal, as table.sort doesn't.
--
-- SPDX-License-Identifier: MIT

local stable = {}

--- Sorts a list in place, by the number that |key| gives for each item.
---@generic T
---@param list T[]
---@param key fun(item: T): number
---@return T[] list
function stable.sort(list, key)
  local keyed = {}
  for i, item in ipairs(list) do
    keyed[i] = { key(item), i, item }
  end
  table.sort(keyed, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[2] < b[2]
  end)
  for i, entry in ipairs(keyed) do
    list[i] = entry[3]
  end
  return list
end

return stable
