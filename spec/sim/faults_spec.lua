-- SPDX-License-Identifier: MIT
--
-- What happens to connections later, and to attempts in the middle.

local antquic = require("antquic")

local function couple(sim, a, b, options)
  sim:coordinator("carol")
  local function peer(name, nat)
    local all = { nat = nat }
    for key, value in pairs(options or {}) do
      all[key] = value
    end
    return sim:peer(name, all)
  end
  return peer("alice", a), peer("bob", b):echo()
end

-- Lines there and back, one every 50 ms, until |stop| seconds have passed. Gives
-- the longest pause between an answer and the next.
local function talk(sim, conn, stop)
  local stream = assert(conn:open_stream())
  local n, longest, last = 0, 0, sim:now()
  while sim:now() < stop do
    n = n + 1
    local line = ("line %d"):format(n)
    assert(stream:write(line .. "\n"))
    assert.equal(line, assert(stream:read("l", 20)))
    longest = math.max(longest, sim:now() - last)
    last = sim:now()
    antquic.sleep(0.05)
  end
  return longest, n
end

-- Why a connection moved, each time.
local function moves(conn)
  local list = {}
  for _, step in ipairs(conn:explain()) do
    if step.step == "move" then
      list[#list + 1] = step.why
    end
  end
  return list
end

describe("a connection", function()
  it("goes on when the NAT of one who faces the open network rebinds", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "none")
    sim:at(2, function()
      alice.nat:rebind()
    end)
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      local longest, lines = talk(sim, conn, 5)
      assert.is_true(longest < 1, longest .. " s")
      assert.is_true(lines > 20)
      assert.same({}, moves(conn))
      local list = moves(bob.ep:connection(alice.id))
      assert.same({ "peer_moved" }, list)
    end)
    sim:must_tell([[
      alice has reached bob at ...
      alice.nat forgets its mappings
      bob's way to alice is by alice.nat ... now
    ]])
  end)

  it("goes on when the line gets another address", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "linux", "none")
    sim:at(2, function()
      alice.nat:renumber()
    end)
    sim:run(function()
      sim:ready()
      local longest = talk(sim, alice:must_reach(bob), 5)
      assert.is_true(longest < 1, longest .. " s")
    end)
    sim:must_tell([[
      alice.nat has the address ... now
      bob's way to alice is by alice.nat ... now
    ]])
  end)

  it("is repaired when a NAT between two rebinds, and tells it on both sides", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "linux")
    sim:at(2, function()
      alice.nat:rebind()
    end)
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      local before = conn:path().remote
      talk(sim, conn, 5)
      assert.same({ "silence" }, moves(conn))
      local there = moves(bob.ep:connection(alice.id))
      assert.is_true(#there == 1 and there[1]:find("silence$") ~= nil)
      local told = conn:explain()
      local at
      for i, step in ipairs(told) do
        at = step.step == "move" and i or at
      end
      assert.same({ kind = "direct", address = before }, told[at].from)
      assert.same({ kind = "direct", address = conn:path().remote }, told[at].to)
      -- The pairs are those of the punch that made the connection.
      assert.equal(before, told.pairs[1].remote)
      assert.matches("\n  %+0%.%d+ s  punch .-\n  %+[12]%.%d+ s  move  ", tostring(told))
      assert.matches(
        "s  repair +[%d.:]+ +worked in [%d.]+ s: new sockets .- %(%d+ sent, %d+ received%)",
        tostring(told)
      )
    end)
  end)

  it("ends when UDP is blocked for longer than it may be silent", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "linux", { idle_timeout = 5, keep_alive = 2 })
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      local start = sim:now()
      alice.nat:block()
      local _, code = conn:wait_closed(60)
      assert.equal("IDLE_TIMEOUT", code)
      assert.is_true(sim:now() - start >= 3 and sim:now() - start < 8)
      alice.nat:block(false)
      alice:must_reach(bob, { timeout = 20 })
    end)
  end)

  it("survives a short cut of the link", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "linux")
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      alice:cut()
      antquic.sleep(3)
      alice:cut(false)
      local longest = talk(sim, conn, sim:now() + 2)
      assert.is_true(longest < 3)
    end)
  end)

  it("is kept by NATs for an hour, by keep-alives", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, { "port_restr", idle = 20 }, { "linux", idle = 20 })
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      antquic.sleep(3600)
      talk(sim, conn, sim:now() + 0.2)
    end)
  end)

  it("is noticed lost when the other one has no power", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "linux", { idle_timeout = 5, keep_alive = 2 })
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      bob:kill()
      local _, code = conn:wait_closed(60)
      assert.equal("IDLE_TIMEOUT", code)
      bob:restart()
      bob:echo()
      sim:ready()
      alice:must_reach(bob, { timeout = 20 })
    end)
  end)
end)

describe("an attempt", function()
  it("finds another coordinator when one dies in the middle", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local carol = sim:coordinator("carol")
    sim:coordinator("dave")
    local alice = sim:peer("alice", { nat = "port_restr" })
    local bob = sim:peer("bob", { nat = "linux" }):echo()
    sim:run(function()
      sim:ready()
      antquic.spawn(function()
        antquic.sleep(0.01)
        carol:kill()
      end)
      alice:must_reach(bob, { timeout = 30 })
    end)
    sim:must_tell([[
      alice asks carol ... for bob
      carol dies
      alice asks dave ... for bob
      alice has reached bob at ...
    ]])
  end)

  it("needs one coordinator of three, and counts those that kept silent", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local carol, dave = sim:coordinator("carol"), sim:coordinator("dave")
    sim:coordinator("erin")
    local alice = sim:peer("alice", { nat = "port_restr" })
    local bob = sim:peer("bob", { nat = "linux" }):echo()
    sim:run(function()
      sim:ready()
      carol:kill()
      dave:kill()
      local start = sim:now()
      alice:must_reach(bob, { timeout = 30 })
      assert.is_true(sim:now() - start < 1, ("%.3f s"):format(sim:now() - start))
      local answered, silent = 0, 0
      for _, node in ipairs(alice.ep:bootstrap_nodes()) do
        answered = answered + node.coordination_count
        silent = silent + node.unanswered
        assert.equal(node.unanswered, node.coordination_failures)
        assert.equal(node.unanswered > 0, node.failed_at ~= nil)
        assert.is_true(math.abs(node.rtt - 0.08) < 0.02, tostring(node.rtt))
        assert.is_true(node.last_seen <= antquic.now() and node.last_seen > 0)
      end
      assert.equal(1, answered)
      assert.is_true(silent >= 1)
      -- Whoever kept silent is asked last.
      local first = antquic.coordinator.by_rtt({}, alice.ep:bootstrap_nodes())[1]
      assert.equal(1, first.coordination_count)
    end)
  end)

  it("succeeds once UDP passes again", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, "port_restr", "linux")
    sim:run(function()
      sim:ready()
      bob.nat:block()
      sim:at(sim:now() + 3, function()
        bob.nat:block(false)
      end)
      alice:must_reach(bob, { timeout = 30 })
    end)
  end)

  it("reaches a peer in the same home, by its private address", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    sim:coordinator("carol")
    local home = sim:nat("port_restr")
    local alice = sim:peer("alice", { nat = home })
    local bob = sim:peer("bob", { nat = home }):echo()
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      assert.matches("^192%.168%.", conn:path().remote)
    end)
  end)

  it("passes two NATs in a row", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    sim:coordinator("carol")
    local cgn = sim:nat("cgn")
    local alice = sim:peer("alice", { nat = { "linux", parent = cgn } })
    local bob = sim:peer("bob", { nat = "port_restr" }):echo()
    sim:run(function()
      sim:ready()
      alice:must_reach(bob)
    end)
    assert.equal(cgn, alice.nat.parent)
  end)
end)
