-- SPDX-License-Identifier: MIT
--
-- What docs/model.md promises and no other spec shows, on loopback: roles, the
-- twelve kinds of event with their fields, states, what is known of
-- coordinators.

local support = require("spec.net.support")
local antquic = support.antquic
local it = support.it

-- Collects what |ep| says until |done|.
local function listen(ep)
  local sub = ep:subscribe()
  local seen = {}
  return seen,
    function(done, seconds)
      local deadline = antquic.now() + (seconds or 8)
      while not done(seen) do
        local ev = assert(sub:next(math.max(0, deadline - antquic.now())))
        seen[ev.kind] = seen[ev.kind] or {}
        table.insert(seen[ev.kind], ev)
      end
      sub:close()
    end
end

describe("roles", function()
  it("all dial and accept", function()
    local roles = { "client", "server", "bootstrap" }
    local coordinator = support.endpoint({ role = "bootstrap" })
    local function of_role(role)
      return support.endpoint({
        role = role,
        bootstrap_nodes = role == "client" and { support.address(coordinator) } or nil,
      })
    end
    for _, dialing in ipairs(roles) do
      for _, accepting in ipairs(roles) do
        local a, b = of_role(dialing), of_role(accepting)
        local conn, why = a:connect(support.address(b), { timeout = 5 })
        assert.is_not_nil(conn, ("%s to %s: %s"):format(dialing, accepting, tostring(why)))
        assert.equal(b.peer_id, conn.peer_id)
        assert.equal(a.peer_id, assert(b:accept(5)).peer_id)
        assert.equal(dialing, a.role)
      end
    end
  end)
end)

describe("validation", function()
  it("holds each number to its range, exactly", function()
    local ranges = {
      max_candidates = { 1, 256, step = 1 },
      max_concurrent_attempts = { 1, 16, step = 1 },
      coordination_timeout = { 0.1, 300, step = 0.001 },
    }
    for name, range in pairs(ranges) do
      local function try(value)
        local options = { bind = "127.0.0.1:0", max_candidates = 256, max_concurrent_attempts = 1 }
        options[name] = value
        return antquic.endpoint(options)
      end
      for i, sign in ipairs({ -1, 1 }) do
        local ep = assert(try(range[i]))
        ep:close()
        local none, why, code = try(range[i] + sign * range.step)
        assert.is_nil(none)
        assert.equal("CONFIG", code)
        assert.matches(name, why)
      end
    end
  end)
end)

describe("events", function()
  it("of the twelve kinds come with their fields", function()
    local _, b, c = support.trio()
    local a = support.endpoint({ bootstrap_nodes = { support.address(c) } })
    local seen, until_ = listen(a)
    local began = antquic.now()
    assert(a:wait_bootstrap(5))
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    assert(b:accept(5)):close(3, "enough")
    assert(a:connect(antquic.identity.generate().peer_id, { timeout = 0.2 }) == nil)
    until_(function()
      return seen.connection_lost and seen.traversal_failed and seen.candidate_discovered
    end)
    local coordinator = support.address(c)
    local function first(kind)
      local ev = assert(seen[kind] and seen[kind][1], kind .. " did not come")
      assert.is_true(ev.time >= began - 1 and ev.time <= antquic.now())
      return ev
    end
    local function of_b(kind)
      local ev = first(kind)
      assert.equal(b.peer_id, ev.peer_id, kind)
      return ev
    end

    local ev = first("candidate_discovered")
    for _, name in ipairs({ "address", "priority", "source", "state" }) do
      assert.is_not_nil(ev.candidate[name], name)
    end
    ev = of_b("coordination_requested")
    assert.equal(coordinator, ev.address)
    assert.equal(1, ev.round)
    ev = of_b("coordination_synchronized")
    assert.equal(1, ev.round)
    assert.is_true(ev.duration > 0)
    ev = of_b("hole_punching_started")
    assert.same({ support.address(b) }, ev.targets)
    assert.equal(1, ev.count)
    ev = of_b("path_validated")
    assert.equal(support.address(b), ev.address)
    assert.is_true(ev.rtt > 0 and ev.rtt < 1)
    ev = of_b("candidate_validated")
    assert.equal(support.address(b), ev.candidate.address)
    assert.equal("valid", ev.candidate.state)
    ev = of_b("traversal_succeeded")
    assert.equal(support.address(b), ev.address)
    assert.is_true(ev.duration > 0 and ev.duration < 5)
    assert.equal(conn, ev.connection)
    ev = of_b("connection_established")
    assert.equal(support.address(b), ev.address)
    ev = first("traversal_failed")
    assert.is_true(antquic.errors[ev.error] == ev.error)
    assert.is_true(ev.fallback_available) -- the coordinator relays
    ev = of_b("connection_lost")
    assert.equal("enough", ev.text)
    assert.equal(3, ev.code)
    assert.equal("PEER_CLOSED", ev.error)
    assert.equal("connection_closed", ev.reason)
    ev = of_b("phase_transition")
    assert.equal("idle", ev.from)
    assert.equal("coordination", ev.to)
    assert.is_true(#ev.text > 0)
    ev = of_b("session_state_changed")
    assert.equal("idle", ev.old_state)
    assert.equal("connecting", ev.new_state)
    local last = seen.session_state_changed[3]
    assert.equal("connected", last.old_state)
    assert.equal("closed", last.new_state)
    assert.equal("connection_closed", last.reason)
  end)
end)

describe("sessions", function()
  it("have pairs of addresses", function()
    local a, b = support.trio()
    local s = assert(a:start_traversal(b.peer_id, { timeout = 5 }))
    assert(s:wait(5))
    local pair = assert(s:pairs()[1])
    assert.equal(support.address(a), pair.local_address)
    assert.equal(support.address(b), pair.remote)
    assert.equal("succeeded", pair.state)
    assert.is_true(pair.priority > 2 ^ 32)
  end)

  it("have the state of their connection", function()
    local a, b = support.trio()
    local s = assert(a:start_traversal(b.peer_id, { timeout = 5 }))
    assert.equal("idle", s.state)
    local conn = assert(s:wait(5))
    assert.equal("connected", s.state)
    conn:close()
    assert.equal("closed", s.state)
    assert.equal("connected", s.phase)
    local t = assert(a:start_traversal(antquic.identity.generate().peer_id))
    antquic.sleep(0.01)
    assert.equal("connecting", t.state)
    t:cancel()
    assert.equal("closed", t.state)
  end)
end)

describe("bootstrap nodes", function()
  it("carry what was measured", function()
    local a, b, c = support.trio()
    local node = a:bootstrap_nodes()[1]
    assert.equal(support.address(c), node.address)
    assert.equal(0, node.coordination_count)
    assert.is_true(node.rtt > 0 and node.rtt < 1)
    local seen = node.last_seen
    assert.is_true(seen > 0 and seen <= antquic.now())
    assert(a:connect(b.peer_id, { timeout = 5 }))
    node = a:bootstrap_nodes()[1]
    assert.equal(1, node.coordination_count)
    assert.is_true(node.last_seen > seen and node.last_seen <= antquic.now())
    -- One that isn't there has no figures.
    assert(a:add_bootstrap_node("127.0.0.1:9"))
    node = a:bootstrap_nodes()[2]
    assert.is_false(node.connected)
    assert.is_nil(node.rtt)
    assert.is_nil(node.last_seen)
    assert.equal(0, node.coordination_count)
  end)
end)

describe("metrics", function()
  it("tell when something last came", function()
    local _, _, ab, ba = support.pair()
    local before = ab:metrics().last_activity
    assert.is_true(before > 0 and before <= antquic.now())
    antquic.sleep(0.02)
    assert(ba:ping(5))
    local after = ab:metrics().last_activity
    assert.is_true(after >= before + 0.02 and after <= antquic.now())
  end)
end)
