-- A policy for hard NATs, bad links and peers that come and go: more rounds,
-- longer waits. It uses all the time that the caller gives; give it some
-- (ep:connect(id, { timeout = 60 })).
--
-- SPDX-License-Identifier: MIT

local policy = require("antquic.policy")
local balanced = require("antquic.policy.balanced")
local strategy = require("antquic.policy.strategy")

local patient = policy.extend(balanced, { name = "patient" })

patient.connect = strategy.make({
  known = 1,
  relay = 2,
  reach = 15,
  unknown_pause = 1,
  unknown_tries = 10,
  backoff_max = 10,
  punch = { rounds = 10, timeout = 4 },
  hopeless = { rounds = 8, timeout = 3 },
  unmeasured = { rounds = 10, timeout = 4 },
})

-- One opener: a second one passes a hop more, and where the peer is late it spoils
-- a NAT there that minds strangers.
function patient.punch()
  return { rounds = 10, spacing = 0.03, openers = 1, opener_ttl = 2 }
end

return patient
