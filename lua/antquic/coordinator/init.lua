-- Selection of coordinators: functions (view, list) -> list, best first, to be
-- used as a policy's `coordinators`. A node has address, conn, connected,
-- can_coordinate, peer_id, rtt, coordination_count and failures.
--
-- SPDX-License-Identifier: MIT

local coordinator = {}

--- One after the other as they were configured.
function coordinator.in_order(_, list)
  return list
end

return setmetatable(coordinator, {
  __index = function(_, name)
    if name == "by_rtt" then
      local fn = require("antquic.coordinator.by_rtt")
      coordinator[name] = fn
      return fn
    end
    error("antquic.coordinator has no '" .. tostring(name) .. "' (there are by_rtt, in_order)", 2)
  end,
})
