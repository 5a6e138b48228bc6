-- Selection of coordinators: functions (view, list) -> list, best first, to be
-- used as a policy's `coordinators`. A node has address, conn, connected,
-- can_coordinate, peer_id, rtt, coordination_count, unanswered and failures.
-- by_rtt and in_order are such functions; sticky() and health() make one, which
-- remembers. The first of the list is asked first, and the next ones when it does
-- not answer in time.
--
-- SPDX-License-Identifier: MIT

local coordinator = {}

--- One after the other as they were configured.
function coordinator.in_order(_, list)
  return list
end

local SHIPPED = { by_rtt = true, sticky = true, health = true }

return setmetatable(coordinator, {
  __index = function(_, name)
    if SHIPPED[name] then
      local fn = require("antquic.coordinator." .. name)
      coordinator[name] = fn
      return fn
    end
    local known = "by_rtt, health, in_order, sticky"
    error(("antquic.coordinator has no '%s' (there are %s)"):format(tostring(name), known), 2)
  end,
})
