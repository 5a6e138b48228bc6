-- Coordinators by round-trip time: those that answer, and that could be reached,
-- first, and of those the nearest.
--
-- SPDX-License-Identifier: MIT

return function(_, list)
  local sorted = {}
  for i, node in ipairs(list) do
    sorted[i] = node
  end
  table.sort(sorted, function(a, b)
    local silent_a, silent_b = a.unanswered or 0, b.unanswered or 0
    if silent_a ~= silent_b then
      return silent_a < silent_b
    elseif a.failures ~= b.failures then
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
