-- How many of what, for people.
--
-- SPDX-License-Identifier: MIT

--- "1 pair", "3 pairs"; "1 datagram was", "2 datagrams were".
---@param n integer
---@param one string
---@param many string? default: |one| with an s
---@return string
return function(n, one, many)
  return ("%d %s"):format(n, n == 1 and one or many or one .. "s")
end
