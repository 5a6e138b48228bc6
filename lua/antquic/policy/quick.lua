-- A policy for matchmaking: one round, and an answer within about two seconds.
-- Whoever can't be reached at once is told so, with the reason, and the match goes
-- to somebody else. Two NATs that call for guessing still get their one attempt.
--
-- SPDX-License-Identifier: MIT

local policy = require("antquic.policy")
local balanced = require("antquic.policy.balanced")
local strategy = require("antquic.policy.strategy")

local quick = policy.extend(balanced, { name = "quick" })

quick.connect = strategy.make({
  known = 0.15,
  reach = 1,
  unknown_tries = 1,
  attempts = 1,
  punch = { rounds = 5, timeout = 0.8 },
  hopeless = { rounds = 3, timeout = 0.3 },
  unmeasured = { rounds = 5, timeout = 0.6 },
  insist = false,
})

function quick.punch()
  return { rounds = 5, spacing = 0.02, openers = 1, opener_ttl = 2 }
end

return quick
