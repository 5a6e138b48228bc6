-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local antquic, it = support.antquic, support.it

describe("peers by id, through a coordinator on loopback", function()
  it("find each other and talk", function()
    local a, b = support.trio()
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.equal(b.peer_id, conn.peer_id)
    local incoming = assert(b:accept(5))
    assert.equal(a.peer_id, incoming.peer_id)
    local s = assert(conn:open_stream())
    assert(s:write("hello"):finish())
    assert.equal("hello", assert(incoming:accept_stream(5)):read("a", 5))
    local steps = {}
    for _, entry in ipairs(conn:explain()) do
      steps[entry.step] = entry
    end
    assert.is_true(steps.coordinate.won)
    assert.is_true(steps.punch.won)
    assert.matches("coordinate", tostring(conn:explain()))
    local stats = a:statistics()
    assert.equal(1, stats.coordinations_completed)
    assert.equal(1, stats.direct_connections)
    assert.is_true(stats.average_coordination_time > 0)
    assert.is_true(stats.punches_sent > 0)
  end)

  it("keep the ALPN of their program, whatever the coordinator speaks", function()
    local a, b = support.trio({ alpn = "chat/1" }, { alpn = { "chat/1" } })
    local log = {}
    b:serve({
      ["chat/1"] = function(conn)
        log[#log + 1] = conn.alpn
      end,
    })
    assert.equal("chat/1", assert(a:connect(b.peer_id, { timeout = 5 })).alpn)
    support.eventually(function()
      return #log == 1
    end)
  end)

  it("connect while the coordinator is still being dialed", function()
    local c = support.endpoint({ role = "bootstrap" })
    local b = support.endpoint({ bootstrap_nodes = { support.address(c) } })
    assert(b:wait_bootstrap(5))
    local a = support.endpoint({ bootstrap_nodes = { support.address(c) } })
    assert(a:connect(b.peer_id, { timeout = 5 }))
  end)

  it("tell of each phase, in order", function()
    local a, b = support.trio()
    local sub = a:subscribe({ "phase_transition", "session_state_changed", "traversal_succeeded" })
    assert(a:connect(b.peer_id, { timeout = 5 }))
    local phases, states, succeeded = {}, {}, nil
    local last
    while not succeeded do
      local ev = assert(sub:next(5))
      assert.equal(b.peer_id, ev.peer_id)
      assert.is_true(not last or ev.time >= last)
      last = ev.time
      if ev.kind == "phase_transition" then
        if #phases > 0 then
          assert.equal(phases[#phases], ev.from)
        end
        phases[#phases + 1] = ev.to
      elseif ev.kind == "session_state_changed" then
        states[#states + 1] = ev.old_state .. ">" .. ev.new_state
      else
        succeeded = ev
      end
    end
    sub:close()
    assert.equal("connected", phases[#phases])
    local order = {}
    for i, phase in ipairs(phases) do
      order[phase] = i
    end
    assert.is_true(order.coordination < order.synchronization)
    assert.is_true(order.synchronization < order.connected)
    assert.same({ "idle>connecting", "connecting>connected" }, states)
    assert.equal(a:connection(b.peer_id), succeeded.connection)
    assert.is_true(succeeded.duration > 0)
  end)

  it("run as sessions that can be watched and cancelled", function()
    local a, b = support.trio()
    local s = assert(a:start_traversal(b.peer_id))
    local conn = assert(s:wait(5))
    assert.equal("connected", s.phase)
    assert.equal(conn, s.connection)
    local unknown = antquic.identity.generate().peer_id
    local t = assert(a:start_traversal(unknown))
    assert.is_true(t:cancel())
    assert.equal("CANCELLED", select(3, t:wait(1)))
    assert.equal("failed", t.phase)
    support.eventually(function()
      return a:statistics().active_sessions == 0
    end)
  end)

  it("fail soon for a peer that nobody knows, and say so", function()
    local a = support.trio()
    local start = antquic.now()
    local unknown = antquic.identity.generate().peer_id
    local conn, message, code = a:connect(unknown, { timeout = 10 })
    assert.is_nil(conn)
    assert.equal("UNKNOWN_TARGET", code)
    assert.matches(unknown:hex(), message)
    assert.matches("does not know", message)
    assert.is_true(antquic.now() - start < 5)
  end)

  it("fail soon without a coordinator, and say so", function()
    local gone = support.endpoint()
    local address = support.address(gone)
    gone:close()
    local a = support.endpoint({ bootstrap_nodes = { address } })
    local start = antquic.now()
    local conn, message, code = a:connect(antquic.identity.generate().peer_id, { timeout = 10 })
    assert.is_nil(conn)
    assert.equal("NO_BOOTSTRAP_NODES", code)
    assert.matches("bootstrap", message)
    assert.is_true(antquic.now() - start < 5)
    assert.equal("NO_BOOTSTRAP_NODES", select(3, a:wait_bootstrap(0.2)))
  end)

  it("go on when the coordinator is gone", function()
    local a, b, c = support.trio()
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    local incoming = assert(b:accept(5))
    c:close()
    local s = assert(conn:open_stream())
    assert(s:write("still here"):finish())
    assert.equal("still here", assert(incoming:accept_stream(5)):read("a", 5))
    assert.equal(conn, a:connect(b.peer_id))
  end)

  it("know their bootstrap nodes, added and removed while running", function()
    local c = support.endpoint({ role = "bootstrap" })
    local a = support.endpoint()
    assert.equal(0, #a:bootstrap_nodes())
    assert(a:add_bootstrap_node(c.peer_id:hex() .. "@" .. support.address(c)))
    local node = assert(a:wait_bootstrap(5))
    assert.equal(support.address(c), node.address)
    assert.equal(c.peer_id, node.peer_id)
    assert.is_true(node.can_coordinate)
    assert.is_true(node.rtt > 0)
    support.eventually(function()
      return a:bootstrap_nodes()[1].observed == support.address(a)
    end)
    assert.equal("ADDRESS", select(3, a:add_bootstrap_node("nowhere")))
    assert(a:remove_bootstrap_node(support.address(c)))
    assert.equal(0, #a:bootstrap_nodes())
  end)

  it("announce candidates", function()
    local a, b = support.trio()
    local own = a:discover_candidates()
    assert.is_true(#own >= 1)
    assert.equal(support.address(a), own[1].address)
    assert.equal("local", own[1].source)
    assert.is_true(own[1].priority > 0)
    assert(a:connect(b.peer_id, { timeout = 5 }))
    local theirs
    support.eventually(function()
      theirs = assert(a:discover_candidates(b.peer_id))
      return #theirs > 0
    end)
    assert.equal(support.address(b), theirs[1].address)
    local none, _, code = a:discover_candidates(antquic.identity.generate().peer_id)
    assert.is_nil(none)
    assert.equal("PEER_NOT_CONNECTED", code)
  end)
end)

describe("policies on loopback", function()
  it("drive the attempt step by step", function()
    local log = {}
    local a, b = support.trio({
      policy = {
        connect = function(s)
          log[#log + 1] = "coordinators " .. #s.coordinators
          local plan = assert(s:coordinate({ via = s.coordinators[1], timeout = 3 }))
          log[#log + 1] = "candidates " .. #plan.candidates
          return s:punch({ pairs = plan:pairs(), rounds = 3, spacing = 0.02 })
        end,
        order = function(_, list)
          log[#log + 1] = "order " .. #list
          return list
        end,
      },
    })
    assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.same({ "coordinators 1", "candidates 1", "order 1" }, log)
  end)

  it("that fail fall back to the default, with a report", function()
    local a, b = support.trio({
      policy = {
        name = "broken",
        connect = function(s)
          s:coordinate({ timeout = 3 })
          error("the plan went wrong")
        end,
      },
    })
    local reports = {}
    a:on("policy_error", function(ev)
      reports[#reports + 1] = ev
    end)
    assert(a:connect(b.peer_id, { timeout = 8 }))
    support.eventually(function()
      return #reports == 1
    end)
    assert.equal("broken", reports[1].policy)
    assert.matches("the plan went wrong", reports[1].traceback)
  end)

  it("are replaced live", function()
    local a, b = support.trio()
    local asked = 0
    assert(a:connect(b.peer_id, { timeout = 5 })):close()
    a:set_policy(antquic.policy.extend(antquic.policy.balanced, {
      coordinators = function(_, list)
        asked = asked + 1
        return list
      end,
    }))
    support.eventually(function()
      return #b:connections() == 0
    end)
    assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.is_true(asked >= 1)
  end)

  it("are replaced while a connection is being made, which goes on with the old one", function()
    local a, b = support.trio()
    local ran = {}
    local function policy(name)
      return antquic.policy.extend(antquic.policy.balanced, {
        name = name,
        connect = function(s)
          ran[#ran + 1] = name
          s:sleep(0.05)
          local plan = assert(s:coordinate({ via = s.coordinators[1] }))
          ran[#ran + 1] = name .. " punches"
          return s:punch({ pairs = plan:pairs() })
        end,
      })
    end
    a:set_policy(policy("old"))
    local session = assert(a:start_traversal(b.peer_id, { timeout = 5 }))
    support.eventually(function()
      return ran[1] == "old"
    end)
    a:set_policy(policy("new"))
    local conn = assert(session:wait(5))
    assert.same({ "old", "old punches" }, ran)
    conn:close()
    support.eventually(function()
      return #b:connections() == 0
    end)
    assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.same({ "old", "old punches", "new", "new punches" }, ran)
  end)

  it("refuse a peer", function()
    local refused = {}
    local a, b = support.trio(nil, {
      policy = {
        accept = function(_, peer)
          refused[#refused + 1] = peer
          return false
        end,
      },
    })
    local conn, _, code = a:connect(b.peer_id, { timeout = 5 })
    if conn then
      local message
      -- The direct way was quicker than the word of the coordinator.
      message, code = conn:wait_closed(5)
      assert.equal("PEER_CLOSED", code)
      assert.matches("refused", message)
    else
      assert.equal("REFUSED", code)
    end
    assert.equal(a.peer_id, refused[1])
    assert.equal("TIMEOUT", select(3, b:accept(0.2)))
  end)
end)
