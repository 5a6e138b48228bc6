-- SPDX-License-Identifier: MIT
--
-- The binding of the simulator: networks, time, endpoints on hosts, either end
-- first.

local core = require("antquic.core")

local KEYS = { a = ("a"):rep(32), b = ("b"):rep(32), c = ("c"):rep(32) }

-- Two peers behind NATs of those types, and a coordinator.
local function world(seed, one, two, link, strategy)
  local w = { sim = assert(core.sim({ seed = seed })), seen = {} }
  local sim = w.sim
  w.server = assert(sim:host())
  w.nat_a = assert(sim:nat({ type = one, link = link }))
  w.nat_b = assert(sim:nat({ type = two, link = link }))
  w.host_a = assert(sim:host({ nat = w.nat_a }))
  w.host_b = assert(sim:host({ nat = w.nat_b }))
  local addr = sim:addresses(w.server)[1] .. ":9000"
  local boot = { { addr = addr, peer = core.sim_peer_id(KEYS.c) } }
  w.ep = {
    c = assert(sim:endpoint(w.server, {
      key = KEYS.c,
      role = "bootstrap",
      can_coordinate = true,
      enable_relay_fallback = false,
      accept = true,
      bind = { "0.0.0.0:9000" },
    })),
    a = assert(sim:endpoint(w.host_a, {
      key = KEYS.a,
      accept = true,
      bootstrap_nodes = boot,
      strategy = strategy,
    })),
    b = assert(sim:endpoint(w.host_b, { key = KEYS.b, accept = true, bootstrap_nodes = boot })),
  }
  function w:run(seconds, until_kind)
    local deadline = sim:now() + seconds
    repeat
      local now, busy = assert(sim:step(deadline))
      for name, ep in pairs(self.ep) do
        for ev in
          function()
            return ep:poll()
          end
        do
          local key = name .. " " .. ev.kind
          self.seen[key] = self.seen[key] or ev
        end
      end
      if until_kind and self.seen[until_kind] then
        return self.seen[until_kind]
      end
    until not busy and now >= deadline
  end
  function w:close()
    for _, ep in pairs(self.ep) do
      ep:close()
    end
    sim:close()
  end
  return w
end

describe("core.sim", function()
  it("connects two peers, the same way each time", function()
    local hashes = {}
    for i, seed in ipairs({ 1, 1, 2 }) do
      local w = world(seed, "port_restr", "linux_open", { delay = 0.02 })
      w.sim:trace()
      w:run(2)
      local start = w.sim:now()
      assert(w.ep.a:session_start(core.sim_peer_id(KEYS.b), {}, 10))
      local ev = assert(w:run(5, "a traversal_succeeded"))
      assert.near(6 * 0.02, ev.time - start, 0.0051)
      hashes[i] = w.sim:trace_hash()
      w:close()
    end
    assert.equal(hashes[1], hashes[2])
    assert.are_not.equal(hashes[1], hashes[3])
    assert.matches("^%x+$", hashes[1])
  end)

  it("names the step that ended, those with new sockets too", function()
    local w = world(1, "port_restr", "linux", { delay = 0.02 }, "steps")
    w:run(2)
    local id = assert(w.ep.a:session_start(core.sim_peer_id(KEYS.b), {}, 10))
    assert.is_true(w.ep.a:session_hard(id, "fresh", { sockets = 1 }))
    assert.equal("fresh", assert(w:run(10, "a step_done")).step)
    local steps = w.ep.a:explain(id)
    assert.same({ "coordinate", "fresh" }, { steps[1].step, steps[2].step })
    w:close()
  end)

  it("tells what happened to each datagram", function()
    local w = world(1, "linux", "linux", { delay = 0.01 })
    assert.is_nil(w.sim:poll_trace())
    w.sim:trace(true)
    w:run(1)
    local r = assert(w.sim:poll_trace())
    assert.equal("initial", r.kind)
    assert.equal("sent", r.fate)
    assert.matches("^192%.168%.1%.10:%d+$", r.from)
    assert.equal(w.sim:addresses(w.server)[1] .. ":9000", r.to)
    assert.is_true(r.len >= 1200)
    local counters = assert(w.sim:counters(w.nat_a))
    assert.is_true(counters.mappings >= 1)
    assert.is_true(counters.forwarded > 0)
    assert.is_nil((w.sim:counters(99)))
    w:close()
  end)

  it("keeps its clock until it is stepped", function()
    local sim = core.sim()
    assert.equal(1, sim:now())
    local now, busy = sim:step(1.1)
    assert.is_true(now >= 1.1 and now < 1.1 + 1e-6)
    assert.is_false(busy)
    local v, message, code = sim:step()
    assert.is_nil(v)
    assert.matches("nothing", message)
    assert.equal("TIMEOUT", code)
    sim:close()
    sim:close()
    assert.error_matches(function()
      sim:now()
    end, "closed")
    assert.matches("closed", tostring(sim))
  end)

  it("has bare sockets", function()
    local sim = core.sim({ seed = 3 })
    local one, two = sim:host(), sim:host({ address = { "5.6.7.8" } })
    local a = assert(sim:udp_open(one, "0.0.0.0:0"))
    local b = assert(sim:udp_open(two, "0.0.0.0:53"))
    assert.equal("0.0.0.0:53", sim:udp_bound(b))
    assert.equal(select(3, sim:udp_receive(b)), "AGAIN")
    assert.is_true(sim:udp_send(a, "5.6.7.8:53", "hi"))
    assert.is_true(select(2, sim:step(2)))
    local data, from = sim:udp_receive(b)
    assert.equal("hi", data)
    assert.equal(sim:addresses(one)[1], core.addr_split(from))
    assert.is_true(sim:udp_close(b))
    assert.equal("INVAL", select(3, sim:udp_close(b)))
    sim:close()
  end)

  it("takes links, faults and types of NAT as tables", function()
    local sim = core.sim()
    local types = core.sim_nat_types()
    assert.equal("none", types[1])
    for _, name in ipairs(types) do
      local t = assert(core.sim_nat_type(name))
      local node = assert(sim:nat(t))
      assert.is_true(sim:link(node, { delay = 0.5, loss = 0.25, hops = 3 }, "up"))
      local link = assert(sim:get_link(node, "up"))
      assert.equal(0.5, link.delay)
      assert.equal(0.25, link.loss)
      assert.equal(3, link.hops)
      assert.equal(0, sim:get_link(node, "down").delay)
      assert.is_true(sim:rebind(node))
      assert.is_true(sim:block(node))
      assert.is_true(sim:burn(node, 3))
      assert.is_true(sim:black_hole(node, false))
    end
    assert.equal(2, #sim:addresses(assert(sim:nat({ type = "pool_arb" }))))
    local nat = assert(sim:nat({ mapping = "ei", filtering = "ad", addresses = "5.5.5.5" }))
    assert.same({ "5.5.5.5" }, sim:addresses(nat))
    assert.is_true(sim:renumber(nat, "5.5.5.6"))
    assert.same({ "5.5.5.6" }, sim:addresses(nat))
    assert.equal("ADDRESS", select(3, sim:nat({ addresses = "5.5.5.6" })))
    assert.equal("ADDRESS", select(3, sim:nat({ addresses = "5.5.5" })))
    local host = assert(sim:host({ nat = nat }))
    assert.is_true(sim:kill(host))
    assert.is_true(sim:kill(host, false))
    assert.is_true(sim:set_addresses(host, { "192.168.1.77" }))
    assert.same({ "192.168.1.77" }, sim:addresses(host))
    assert.is_true(sim:move(host, 0))
    assert.equal("INVAL", select(3, core.sim_nat_type("cone")))
    assert.error_matches(function()
      sim:nat({ type = "cone" })
    end, "sim_nat_types")
    assert.error_matches(function()
      sim:nat({ mapping = "cone" })
    end, "mapping")
    -- A link that can't be leaves nothing behind.
    for _, bad in ipairs({ { delay = -1 }, { loss = 1.5 }, { jitter = 3601 } }) do
      for _, add in ipairs({ "host", "nat" }) do
        assert.error_matches(function()
          sim[add](sim, { link = bad })
        end, (next(bad)))
      end
      assert.error_matches(function()
        sim:link(host, bad)
      end, (next(bad)))
    end
    assert.equal(host + 1, sim:host())
    assert.error_matches(function()
      sim:endpoint(host, { key = "short" })
    end, "32 bytes")
    sim:close()
  end)

  it("gives endpoints that are like live ones, without sockets", function()
    local w = world(1, "linux", "linux")
    local ep = w.ep.a
    assert.equal(core.sim_peer_id(KEYS.a), ep:peer_id())
    assert.is_nil(ep:pollfd())
    assert.equal(1, ep:now())
    assert.is_false(ep:step())
    assert.equal(1, #ep:sockets())
    assert.equal(1, ep:open_socket("0.0.0.0:4000"))
    assert.equal(0, ep:io_stats().recv_errors)
    assert.is_number(ep:timeout())
    assert.error_matches(function()
      ep:wait(1)
    end, "simulation")
    assert.error_matches(function()
      core.wait({ ep }, 1)
    end, "simulation")
    w:close()
    assert.is_true(ep:is_closed())
  end)

  it("may be collected before its endpoints, or after", function()
    for round = 1, 2 do
      local w = world(round, "linux", "linux", { delay = 0.01 })
      w:run(1)
      local sim, ep = w.sim, w.ep.a
      if round == 1 then
        w = nil -- the endpoint alone is left
        sim:close()
        sim = nil
      else
        w, ep = nil, nil -- the simulation alone
      end
      collectgarbage()
      collectgarbage()
      if ep then
        assert.equal(core.sim_peer_id(KEYS.a), ep:peer_id())
        assert.is_false(ep:step())
        ep:close()
      else
        assert.is_number(sim:now())
        assert(sim:step(sim:now() + 1))
        sim:close()
      end
      assert.is_nil(w)
    end
  end)
end)
