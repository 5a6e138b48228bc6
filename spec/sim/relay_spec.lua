-- SPDX-License-Identifier: MIT
--
-- Peers that nothing else brings together meet over a coordinator, by the policies
-- as they are, and leave it when there is a direct path.

local antquic = require("antquic")

describe("over a relay", function()
  local sim
  after_each(function()
    if sim then
      sim:close()
      sim = nil
    end
  end)

  local function network(nat_a, nat_b, options)
    options = options or {}
    sim = antquic.sim({ seed = options.seed or 1, delay = 0.01 })
    local carol = sim:coordinator("carol", { can_relay = options.relays })
    local dave = sim:coordinator("dave", { can_relay = options.relays })
    local alice = sim:peer("alice", {
      nat = nat_a,
      policy = options.policy,
      enable_relay_fallback = options.fallback,
    })
    local bob = sim:peer("bob", { nat = nat_b, enable_relay_fallback = options.theirs }):echo()
    return alice, bob, carol, dave
  end

  local function echo(conn, text)
    local stream = assert(conn:open_stream())
    assert(stream:write(text))
    assert(stream:finish())
    assert.equal(text, assert(stream:read("a")))
  end

  for _, name in ipairs({ "balanced", "quick", "patient", "lan_first" }) do
    it(name .. " connects two NATs that choose their ports at random", function()
      local alice, bob, carol, dave =
        network("sym_rand", "sym_rand", { policy = antquic.policy[name], seed = 3 })
      sim:run(function()
        sim:ready()
        local start = antquic.now()
        local conn = assert(alice.ep:connect(bob.id, { timeout = 40 }))
        assert.is_true(antquic.now() - start < (name == "patient" and 12 or 4))
        local path = conn:path()
        assert.equal("relayed", path.kind)
        assert.equal(path.via, path.remote)
        assert.is_true(path.via == carol:address() or path.via == dave:address())
        echo(conn, ("hello "):rep(10000))
        local told = tostring(conn:explain())
        assert.is_not_nil(told:find("relayed via " .. path.via, 1, true), told)
        assert.is_not_nil(told:find(" relay       " .. path.via .. " ", 1, true), told)
        local statistics = alice.ep:statistics()
        assert.equal(1, statistics.relayed_connections)
        assert.equal(0, statistics.direct_connections)
      end)
    end)
  end

  -- The moves in an explanation: "relayed to direct: direct_path".
  local function moves(told)
    local list, after = {}, nil
    for _, step in ipairs(told) do
      if step.step == "move" then
        assert.equal(step.address, step.to.address)
        assert.is_true(step.won and step.at > 0 and step.duration >= 0)
        assert.same(after or step.from, step.from)
        after = step.to
        list[#list + 1] = ("%s to %s: %s"):format(step.from.kind, step.to.kind, step.why)
      end
    end
    return list, after
  end

  it("it becomes direct while it is in use", function()
    local alice, bob = network("port_restr", "linux", {
      policy = antquic.policy.extend(antquic.policy.balanced, {
        name = "relay_first",
        connect = function(s)
          return s:relay({ upgrade_every = 1 })
        end,
      }),
    })
    sim:run(function()
      sim:ready()
      local conn = assert(alice.ep:connect(bob.id))
      assert.equal("relayed", conn:path().kind)
      local moved
      alice.ep:on("path_changed", function(ev)
        moved = ev
      end)
      local stream = assert(conn:open_stream())
      for i = 1, 300 do
        local line = ("line %d\n"):format(i)
        assert(stream:write(line))
        assert.equal(line, assert(stream:read(#line)))
        antquic.sleep(0.01)
      end
      assert.equal("direct", conn:path().kind)
      assert.is_nil(conn:path().via)
      assert.is_nil(moved.relayed)
      assert.equal(moved.address, conn:path().remote)
      assert.equal(1, alice.ep:statistics().upgrades_completed)
      local told = conn:explain()
      local list, after = moves(told)
      assert.same({ "relayed to direct: direct_path" }, list)
      assert.same({ kind = "direct", address = moved.address }, after)
      assert.matches(
        "  move .- from the relay [%d.:]+ to "
          .. moved.address
          .. " in %d%.%d+ s: a direct path was",
        tostring(told)
      )
      -- The attempt that led to it is told too, by the peer's name as well; and on
      -- the other side.
      assert.matches("  repair +" .. moved.address .. " +worked", tostring(told))
      assert.same(list, (moves(alice.ep:explain(bob.id))))
      assert.same(list, (moves(bob.ep:connection(alice.id):explain())))
      conn:close()
      assert.same(list, (moves(conn:explain())))
    end)
  end)

  it("it becomes direct when a peer moves to a better network", function()
    local alice, bob = network("sym_rand", "sym_rand")
    local home = sim:nat("full_cone")
    sim:run(function()
      sim:ready()
      local conn = assert(alice.ep:connect(bob.id, { timeout = 20 }))
      assert.equal("relayed", conn:path().kind)
      antquic.sleep(1)
      alice:move(home)
      antquic.sleep(30)
      echo(conn, "still here")
      assert.equal("direct", conn:path().kind)
      alice:move(sim:nat("sym_rand"))
      for _ = 1, 40 do
        echo(conn, "and here")
        antquic.sleep(0.1)
      end
      assert.equal("relayed", conn:path().kind)
      local list, after = moves(conn:explain())
      assert.equal("direct to relayed: silence", list[#list])
      assert.same({ kind = "relayed", address = conn:path().via }, after)
      assert.matches(
        " to the relay [%d.:]+ in %d%.%d+ s: nothing was heard any more",
        tostring(conn:explain())
      )
    end)
  end)

  it("who wants none has none, and hears what would help", function()
    for _, options in ipairs({ { relays = false }, { fallback = false } }) do
      local alice, bob = network("sym_rand", "sym_rand", options)
      sim:run(function()
        sim:ready()
        local events = alice.ep:subscribe({ "traversal_failed" })
        local conn, _, code = alice.ep:connect(bob.id, { timeout = 20 })
        assert.is_nil(conn)
        assert.equal("PUNCHING_FAILED", code)
        assert.is_false(events:next().fallback_available)
        local codes = {}
        for _, item in ipairs(alice.ep:explain(bob.id).advice) do
          codes[item.code] = item.text
        end
        assert.equal(options.relays == false, codes.no_relay ~= nil)
      end)
      sim:close()
      sim = nil
    end
  end)

  it("is refused by a coordinator or by the peer, and the step says so", function()
    local relay_only = antquic.policy.extend(antquic.policy.balanced, {
      name = "relay_only",
      connect = function(s)
        return s:relay({ via = s.coordinators[1] })
      end,
    })
    for _, options in ipairs({ { relays = false }, { theirs = false } }) do
      options.policy = relay_only
      local alice, bob = network("sym_rand", "sym_rand", options)
      sim:run(function()
        sim:ready()
        assert.is_nil((alice.ep:connect(bob.id, { timeout = 20 })))
        local told = alice.ep:explain(bob.id)
        assert.equal("NOT_ALLOWED", told[options.relays == false and 1 or 2].error)
        assert.matches(
          "after [%d.]+ s: coordinator: it or the peer allows us no relay",
          tostring(told)
        )
        assert.is_nil(tostring(told):find("allow-list", 1, true), tostring(told))
        assert.equal("relay_failed", told.advice[1].code)
      end)
      sim:close()
      sim = nil
    end
  end)
end)
