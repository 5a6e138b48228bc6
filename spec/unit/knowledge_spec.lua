-- SPDX-License-Identifier: MIT
--
-- What an endpoint tells of itself, from what the core counts and says.

local fake = require("spec.unit.fake")

describe("knowledge", function()
  local antquic, core
  before_each(function()
    antquic, core = fake.load()
  end)
  after_each(fake.unload)

  it("the loss rate is what was lost of what was sent", function()
    local _, inner, conn = fake.connected(antquic, core)
    assert.equal(0, conn:metrics().loss_rate)
    inner.conns[7].packets_sent, inner.conns[7].packets_lost = 40, 10
    assert.equal(0.25, conn:metrics().loss_rate)
    inner.conns[7].packets_lost = 40
    assert.equal(1, conn:metrics().loss_rate)
  end)

  it("a call that connects has 10 s, a session that is started 30 s", function()
    local ep, inner = fake.connected(antquic, core)
    inner.answers.session_start = 5
    inner.answers.connect_addr = 9
    inner.sessions[5] = { phase = "idle", state = "idle", attempt = 0 }
    ep:start_traversal(("33"):rep(32)):cancel()
    local t = antquic.spawn(function()
      ep:connect("198.18.0.9:1")
    end)
    local u = antquic.spawn(function()
      ep:connect(("44"):rep(32))
    end)
    ep:step()
    assert.equal(30, inner:called("session_start")[1][3])
    assert.equal(10, inner:called("session_start")[2][3])
    assert.equal(10, inner:called("connect_addr")[1][4])
    ep:close()
    t:wait(1)
    u:wait(1)
  end)

  it("without candidates it says why", function()
    local ep = assert(antquic.endpoint())
    local inner = core.endpoints[1]
    inner.own = { "198.18.0.7:4000" }
    assert.equal("198.18.0.7:4000", ep:discover_candidates()[1].address)
    inner.own = {}
    local none, message, code = ep:discover_candidates()
    assert.is_nil(none)
    assert.matches("no address", message)
    assert.equal("NO_CANDIDATES", code)
    inner.scan_errors = 1
    none, message, code = ep:discover_candidates()
    assert.is_nil(none)
    assert.matches("interfaces", message)
    assert.equal("DISCOVERY_FAILED", code)
    ep:close()
  end)

  it("the state of a session is that of its connection", function()
    local ep, inner, conn = fake.connected(antquic, core)
    inner.answers.session_start = 5
    inner.sessions[5] = { phase = "idle", state = "idle", attempt = 0 }
    inner.answers.session_dial = true
    local s = assert(ep:start_traversal(("33"):rep(32), { known = { "198.18.0.9:1" } }))
    inner.sessions[5] = { phase = "connected", state = "connected", attempt = 1 }
    inner:push({ kind = "traversal_succeeded", session = 5, conn = 7 })
    ep:step()
    assert.equal(conn, assert(s:wait(1)))
    inner.conns[7].state = "connected"
    assert.equal("connected", s.state)
    inner.conns[7].state = "migrating"
    assert.equal("migrating", s.state)
    inner:push({ kind = "connection_lost", conn = 7, error = "IDLE_TIMEOUT" })
    ep:step()
    assert.equal("closed", s.state)
    ep:close()
  end)

  it("a connection that is gone when the session hears of it has failed", function()
    local ep = assert(antquic.endpoint())
    local inner = core.endpoints[1]
    inner.answers.session_start = 5
    inner.sessions[5] = { phase = "idle", state = "idle", attempt = 0 }
    local s = assert(ep:start_traversal(("33"):rep(32), { known = { "198.18.0.9:1" } }))
    inner:push({ kind = "traversal_succeeded", session = 5, conn = 9 })
    ep:step()
    local none, message, code = s:wait(1)
    assert.is_nil(none)
    assert.matches("ended at once", message)
    assert.equal("CONNECTION_FAILED", code)
    ep:close()
  end)
end)
