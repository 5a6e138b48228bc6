-- The default policy: the addresses that are known, then a coordinator and
-- simultaneous punching, again after a pause while there is time.
--
-- SPDX-License-Identifier: MIT

local by_rtt = require("antquic.coordinator.by_rtt")
local strategy = require("antquic.policy.strategy")

local balanced = { name = "balanced" }

balanced.connect = strategy.make({})

--- All of them, as the core ranked them.
function balanced.candidates(_, list)
  return list
end

--- As the core ranked them: RFC 8445's pair priority.
function balanced.order(_, pairs_)
  return pairs_
end

function balanced.coordinators(view, list)
  return by_rtt(view, list)
end

function balanced.accept()
  return true
end

--- As long as the NAT in front was seen to allow; 15 s until that is known
--- (RFC 4787 REQ-5 asks for two minutes; many don't keep to it).
function balanced.keepalive(view)
  return view.endpoint:nat_profile().keep_alive
end

function balanced.punch()
  return { rounds = 6, spacing = 0.02, openers = 1, opener_ttl = 2 }
end

return balanced
