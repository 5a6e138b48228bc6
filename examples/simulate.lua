-- simulate.lua - two peers behind NATs in virtual time: an attempt, a fault, and
-- what a change of policy is worth.
--
--   lua5.4 examples/simulate.lua [SEED]
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

local sim = antquic.sim { seed = tonumber(arg[1] or 1), delay = 0.025 }
sim:coordinator "carol"
sim:coordinator "dave" -- two of them can tell what kind of NAT somebody has
local alice = sim:peer("alice", { nat = "port_restr" })
local bob = sim:peer("bob", { nat = "linux" }):echo()

sim:run(function()
  sim:ready()
  sim:settle()
  sim:note "--- alice reaches bob"
  local conn = alice:must_reach(bob, { within = 0.21 })
  print(conn:explain())

  sim:note "--- bob's line gets another address while they talk"
  bob.nat:renumber()
  local stream = assert(conn:open_stream())
  for i = 1, 20 do
    stream:write(("line %d\n"):format(i))
    assert(stream:read("l", 10))
    antquic.sleep(0.1)
  end
  print(("twenty lines are there, after %.1f s of virtual time"):format(sim:now()))
end)

print "the story:"
io.write((sim:trace():match "(%S+  %-%-%- alice.*)"))
sim:must_tell [[
  alice asks carol ... for bob
  bob sends an opener to alice.nat ...: the TTL is used up at ...
  alice has reached bob at bob.nat ...
  bob.nat has the address ... now
]]
sim:close()

-- Many attempts on bad links, with two policies. `antquic sim --matrix --compare`
-- does this for a table of pairs, and says what is chance.
for _, name in ipairs { "balanced", "quick" } do
  local row = antquic.sim.matrix({
    pairs = "port_restr:linux",
    trials = 50,
    policy = antquic.policy[name],
    link = { delay = 0.0125, loss = 0.1 },
  })[1]
  print(("%s: %d of %d connected, median %.0f ms"):format(name, row.direct, row.trials, row.p50_ms))
end
