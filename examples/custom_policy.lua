-- custom_policy.lua - what is tried to reach a peer, and who is let in, decided
-- by a script and changed while the program runs.
--
--   lua5.4 examples/custom_policy.lua
--
-- A coordinator and two peers, all on loopback, in one process.
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

-- A strategy is a coroutine that reads as the plan it is. This one asks the
-- coordinator first and tries the known addresses last: slower where they
-- work, but the peer's firewall sees no stray first packet.
local polite = antquic.policy.extend(antquic.policy.balanced, {
  name = "polite",
  connect = function(s)
    print("  polite: asking a coordinator for " .. s.peer_id)
    local plan, why = s:coordinate { via = s.coordinators[1] }
    if not plan then
      print("  polite: the answer is no: " .. why)
      return false, "REFUSED"
    end
    print(("  polite: %d candidates, %d pairs"):format(#plan.candidates, #plan:pairs()))
    local ok, code
    ok, why, code = s:punch { pairs = plan:pairs(), rounds = 3 }
    if ok or (#s.known > 0 and s:dial { s.known, timeout = 2 }) then
      return true
    end
    return nil, why, code
  end,
  -- A choice: pure, and asked in the middle of things. Verified addresses
  -- first, at most three of them.
  order = function(_, pairs_)
    table.sort(pairs_, function(a, b)
      if a.verified ~= b.verified then
        return a.verified
      end
      return a.priority > b.priority
    end)
    return { pairs_[1], pairs_[2], pairs_[3] }
  end,
})

-- What it lacks comes from the default policy.
local shy = {
  name = "shy",
  accept = function(_, peer)
    print("  shy: no, not " .. peer)
    return false
  end,
}

antquic.run(function()
  local coordinator <close> = assert(antquic.endpoint { role = "bootstrap", bind = "127.0.0.1:0" })
  local options = {
    bind = "127.0.0.1:0",
    bootstrap_nodes = coordinator:local_addresses(),
  }
  local alice <close> = assert(antquic.endpoint(options))
  local bob <close> = assert(antquic.endpoint(options))
  assert(bob:wait_bootstrap(5))
  assert(alice:wait_bootstrap(5))

  print "with the default policy:"
  local conn = assert(alice:connect(bob.peer_id))
  print(conn:explain())
  conn:shutdown()

  print "with a policy of one's own:"
  alice:set_policy(polite)
  conn = assert(alice:connect(bob.peer_id))
  print(conn:explain())
  conn:shutdown()

  print "and when the other side says no:"
  bob:set_policy(shy)
  local why, code
  conn, why, code = alice:connect(bob.peer_id, { timeout = 3 })
  if conn then
    -- Without a NAT in the way the connection may be there before the refusal
    -- has come by the coordinator; then Bob closes it.
    why, code = conn:wait_closed(3)
  end
  assert(code == "REFUSED" or code == "PEER_CLOSED", why)
  print("refused: " .. why)
end)
