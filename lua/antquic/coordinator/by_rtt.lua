-- Coordinators by round-trip time: the nearest of those that worked last first.
--
-- SPDX-License-Identifier: MIT

return function(_, list)
  local sorted = {}
  for i, node in ipairs(list) do
    sorted[i] = node
  end
  table.sort(sorted, function(a, b)
    if a.failures ~= b.failures then
      return a.failures < b.failures
    end
    local x, y = a.rtt or math.huge, b.rtt or math.huge
    if x ~= y then
      return x < y
    end
    return a.address < b.address
  end)
  return sorted
end
