-- SPDX-License-Identifier: MIT

local fake = require("spec.unit.fake")

local PEER = ("\34"):rep(32)
local HEX = ("22"):rep(32)

describe("policies", function()
  local antquic, core, ep, inner
  after_each(function()
    if ep then
      ep:close()
      ep = nil
    end
    fake.unload()
  end)

  -- An endpoint whose steps are answered by |script|: name -> function(core
  -- endpoint, step) -> error code or nil.
  local function start(policy, script)
    antquic, core = fake.load()
    policy = type(policy) == "function" and policy() or policy
    ep = assert(antquic.endpoint({
      policy = policy,
      bootstrap_nodes = { "198.18.0.1:9000" },
      role = "client",
    }))
    inner = core.endpoints[1]
    inner.answers.session_start = function(self)
      self.sessions[5] = {
        peer = PEER,
        phase = "discovery",
        state = "connecting",
        local_profile = { mapping = "endpoint_independent" },
        remote_profile = { mapping = "endpoint_independent" },
        remote = {
          { addr = "192.168.1.5:1", source = "local", priority = 9, verified = false },
          { addr = "198.18.0.9:2", source = "observed", priority = 8, verified = true },
        },
      }
      return 5
    end
    inner.answers.session_finish = function(self, id, code)
      self.sessions[id] = nil
      self:push({ kind = "traversal_failed", session = id, error = code, peer = PEER })
      return true
    end
    for name, answer in pairs(script or {}) do
      inner.answers["session_" .. name] = function(self, id, step, more)
        local code = answer(self, step, more)
        if code == nil then
          self.sessions[id].phase = name == "coordinate" and "synchronization" or "connected"
        end
        self:push({ kind = "step_done", session = id, error = code, step = name })
        if code == nil and name ~= "coordinate" then
          self.conns[8] = { peer = PEER, packets_sent = 0, rtt = 0.01, remote = "198.18.0.9:2" }
          self:push({
            kind = "connection_established",
            conn = 8,
            session = id,
            peer = PEER,
            outgoing = true,
          })
          self:push({ kind = "traversal_succeeded", conn = 8, session = id, peer = PEER })
        end
        return true
      end
    end
  end

  local function never()
    return "UNREACHABLE"
  end

  local function fails()
    return "PUNCHING_FAILED"
  end

  local function works() end

  it("balanced: known addresses first, then the coordinator, then punching", function()
    start(nil, { dial = never, coordinate = works, punch = works })
    inner.nodes =
      { { addr = "198.18.0.1:9000", connected = true, can_coordinate = true, conn = 3 } }
    for _, node in ipairs(inner.nodes) do
      node.failures = 0
    end
    antquic.run(function()
      local conn = assert(ep:connect(HEX .. "@198.18.0.7:5", { timeout = 10 }))
      assert.equal(8, conn.id)
      assert.equal(HEX, conn.peer_id:hex())
    end)
    local dial = inner:called("session_dial")[1][2]
    assert.same({ "198.18.0.7:5" }, dial.addrs)
    assert.equal(0.3, dial.timeout)
    assert.same({ 3 }, inner:called("session_coordinate")[1][2])
    local punch = inner:called("session_punch")[1][2]
    assert.same({ "192.168.1.5:1", "198.18.0.9:2" }, punch.order)
    assert.equal(6, punch.rounds)
  end)

  it("balanced: asks the nearest coordinator first, another one after a failure", function()
    local asked, punched = {}, 0
    start(nil, {
      coordinate = function(self, via)
        asked[#asked + 1] = via
        self.sessions[5].coordinator = via[1]
      end,
      punch = function()
        punched = punched + 1
        return punched < 3 and "PUNCHING_FAILED" or nil
      end,
      hard = fails,
    })
    inner.nodes = {
      { addr = "a:1", connected = true, can_coordinate = true, conn = 3, rtt = 0.08, failures = 0 },
      { addr = "b:1", connected = true, can_coordinate = true, conn = 4, rtt = 0.02, failures = 0 },
      { addr = "c:1", connected = true, can_coordinate = false, conn = 5, failures = 0 },
      { addr = "d:1", connected = false, can_coordinate = true, failures = 2 },
    }
    antquic.run(function()
      assert(ep:connect(HEX))
    end)
    assert.same({ { 4, 3 }, { 4, 3 }, { 3, 4 }, { 3, 4 }, { 4, 3 } }, asked)
    local hard = inner:called("session_hard")
    assert.equal(2, #hard)
    assert.equal("fresh", hard[1][2])
    assert.equal(4, hard[1][3].via)
  end)

  it("balanced: backs off between attempts and ends in time", function()
    local times = {}
    start(nil, {
      coordinate = works,
      punch = function()
        times[#times + 1] = core.clock
        return "PUNCHING_FAILED"
      end,
      hard = fails,
    })
    antquic.run(function()
      local begun = antquic.now()
      local conn, message, code = ep:connect(HEX, { timeout = 10 })
      assert.is_nil(conn)
      assert.equal("PUNCHING_FAILED", code)
      assert.matches("no connection to " .. HEX, message)
      assert.is_true(antquic.now() - begun <= 10)
    end)
    assert.equal(4, #times)
    for i = 2, 4 do
      local pause = times[i] - times[i - 1]
      assert.is_true(pause >= 2 ^ (i - 2) and pause <= 2 ^ (i - 2) + 0.2, tostring(pause))
    end
  end)

  -- What balanced does between two NATs: the steps, the punches' rounds and
  -- time-outs, and how it ends.
  local function between(mine, theirs, script, won)
    local did = {}
    local function note(answer)
      return function(self, name, more)
        local punch = type(name) == "table" and name or nil
        did[#did + 1] = punch
            and ("punch %s %s"):format(tostring(punch.rounds), tostring(punch.timeout))
          or name
        return answer(self, name, more)
      end
    end
    script = script or {}
    start(nil, {
      coordinate = function(self)
        self.sessions[5].coordinator = 3
        self.sessions[5].local_profile = mine
        self.sessions[5].remote_profile = theirs
      end,
      punch = note(script.punch or fails),
      hard = note(script.hard or fails),
    })
    local function nothing() end
    ep._store = won
      and {
        known = function(_, _, given)
          return given
        end,
        plan = function()
          return won
        end,
        learn = nothing,
        turn = nothing,
        flush = nothing,
      }
    local message, code, seconds
    antquic.run(function()
      local begun = antquic.now()
      local _
      _, message, code = ep:connect(HEX, { timeout = 0.9 })
      seconds = antquic.now() - begun
    end)
    ep:close()
    ep = nil
    return did, message, code, seconds
  end

  local function nat(mapping, filtering, allocation)
    return { mapping = mapping, filtering = filtering, allocation = allocation }
  end
  local EI, APD = "endpoint_independent", "address_and_port_dependent"

  it("know which plan brings two NATs together", function()
    antquic = fake.load()
    local choose = require("antquic.policy.plan").choose
    local AD = "address_dependent"
    local pool = nat(APD, APD, "preserving")
    pool.external_count = 2
    local cases = {
      { nat(EI, APD), nat(EI, APD), "punch", true },
      { nat("none", APD), nat(EI, EI), "punch", true },
      { {}, {}, "punch", false },
      { nat(EI, APD), {}, "punch", false },
      { nat(APD, APD, "random"), nat(EI, APD), "birthday", true },
      { nat(AD, AD, "random"), nat(EI, APD), "birthday", true },
      { nat(APD, APD), nat(EI, APD), "birthday", true },
      { nat(APD, APD, "sequential"), nat("none", APD), "predict", true },
      { nat(APD, APD, "block"), nat(EI, APD), "predict", true },
      { nat(APD, APD, "random"), nat(EI), "birthday", false },
      { nat(APD, APD, "random"), {}, "birthday", false },
      { nat(APD, nil, "random"), nat(EI, APD), "birthday", false },
      { nat(APD, APD, "random"), nat(EI, AD), "punch", true },
      { nat(APD, APD, "random"), nat(EI, EI), "punch", true },
      { nat(APD, EI, "random"), nat(APD, APD, "random"), "punch", true },
      { nat(APD, APD, "sequential"), nat(APD, APD, "sequential"), "predict", true },
      { nat(APD, APD, "sequential"), nat(APD, APD), "punch", false },
      { nat(APD, APD, "sequential"), nat(APD, APD, "random") },
      { nat(APD, APD, "random"), nat(AD, APD, "random") },
      { pool, nat(EI, APD), "fresh", true },
      { pool, pool, "fresh", true },
      { pool, nat(EI, EI), "punch", true },
      { pool, nat(APD, APD, "random") },
    }
    for i, case in ipairs(cases) do
      for _, order in ipairs({ { case[1], case[2] }, { case[2], case[1] } }) do
        local how, sure = choose(order[1], order[2])
        assert.equal(case[3], how, "case " .. i)
        if how then
          assert.equal(case[4], sure, "case " .. i)
        else
          assert.matches("nothing that could be guessed", sure)
        end
      end
    end
  end)

  it("balanced: guesses at once where the profiles say so", function()
    local cone = nat(EI, APD, "random")
    for _, how in ipairs({ "random", "sequential", "block" }) do
      local hard = nat(APD, APD, how)
      local step = how == "random" and "birthday" or "predict"
      assert.same({ step }, (between(hard, cone, { hard = works })))
      assert.same({ step }, (between(cone, hard, { hard = works })))
    end
  end)

  it("balanced: what can't be is tried shortly, and explained", function()
    local hard = nat(APD, APD, "random")
    local did, message, code = between(hard, hard)
    assert.same({ "punch 4 0.7" }, did)
    assert.equal("PUNCHING_FAILED", code)
    assert.matches("both NATs give each destination another port", message)
  end)

  it("balanced: nobody may guess: a punch, and new sockets", function()
    local cone, hard = nat(EI, APD, "random"), nat(APD, APD, "random")
    local did = between(hard, cone, {
      hard = function(_, name)
        return name == "birthday" and "NOT_ALLOWED" or "PUNCHING_FAILED"
      end,
    })
    assert.same({ "birthday", "punch 4 0.7", "birthday", "fresh" }, did)
  end)

  it("balanced: unknown NATs: a punch, then what has been learnt, or new sockets", function()
    assert.same({ "punch 6 1", "fresh" }, (between({}, {})))
    local did = between({}, {}, {
      punch = function(self)
        self.sessions[5].remote_profile = nil
        inner.answers.session_coordinate = function(core_, id)
          core_.sessions[id].local_profile = nat(APD, APD, "random")
          core_.sessions[id].remote_profile = nat(EI)
          core_.sessions[id].phase = "synchronization"
          core_:push({ kind = "step_done", session = id, step = "coordinate" })
          return true
        end
        return "PUNCHING_FAILED"
      end,
      hard = works,
    })
    assert.same({ "punch 6 1", "birthday" }, did)
  end)

  it("balanced: what won the last time comes before a punch that isn't sure", function()
    local wild, cone = nat(APD, nil, "random"), nat(EI, APD)
    assert.same({ "punch 4 0.7", "birthday" }, (between(wild, cone, { hard = works })))
    assert.same({ "birthday" }, (between(wild, cone, { hard = works }, "birthday")))
    assert.same({ "fresh" }, (between({}, {}, { hard = works }, "fresh")))
    -- It isn't tried twice.
    assert.same({ "birthday", "punch 4 0.7", "birthday" }, (between(wild, cone, nil, "birthday")))
    assert.same({ "fresh", "punch 6 1", "fresh" }, (between({}, {}, nil, "fresh")))
    -- A punch or a dial says nothing, nor does what these NATs don't call for.
    assert.same({ "punch 6 1", "fresh" }, (between({}, {}, nil, "punch")))
    assert.same({ "punch 6 1", "fresh" }, (between({}, {}, nil, "dial")))
    assert.same({ "punch 6 1", "fresh" }, (between({}, {}, nil, "birthday")))
    -- Nor where the profiles are sure.
    assert.same({ "punch 6 nil", "fresh" }, (between(nat(EI, APD), cone, nil, "fresh")))
    assert.same({ "birthday" }, (between(nat(APD, APD, "random"), cone, { hard = works }, "fresh")))
    -- Not allowed: nothing was asked.
    local did = between(wild, cone, {
      hard = function(_, name)
        return name == "birthday" and "NOT_ALLOWED" or nil
      end,
    }, "birthday")
    assert.same({ "birthday", "punch 4 0.7", "birthday", "fresh" }, did)
  end)

  it("balanced: a NAT with several addresses gets several sockets", function()
    local pool = nat(APD, APD, "preserving")
    pool.mapping, pool.external_count = EI, 2
    between(pool, nat(EI), {})
    assert.equal(8, inner:called("session_hard")[1][3].sockets)
  end)

  -- What balanced does when punching fails and one node relays; |relayed| answers.
  local function with_relay(relayed, can_relay)
    local relays = 0
    start(nil, {
      coordinate = works,
      punch = fails,
      hard = fails,
      relay = function(...)
        relays = relays + 1
        return relayed(...)
      end,
    })
    inner.nodes = {
      {
        addr = "a:1",
        connected = true,
        can_coordinate = true,
        can_relay = can_relay,
        conn = 3,
        failures = 0,
      },
    }
    local conn, message, code
    antquic.run(function()
      conn, message, code = ep:connect(HEX, { timeout = 20 })
    end)
    return relays, conn, message, code
  end

  it("balanced: asks for a relay after the first attempt, where one is", function()
    local relays, conn = with_relay(works, true)
    assert.equal(1, relays)
    assert.is_not_nil(conn)
    assert.equal(1, #inner:called("session_hard"))
    assert.same({}, inner:called("session_relay")[1][2])
    local _, code
    relays, conn, _, code = with_relay(works, false)
    assert.equal(0, relays)
    assert.is_nil(conn)
    assert.equal("PUNCHING_FAILED", code)
  end)

  it("balanced: goes on without a relay that is refused, asks a busy one again", function()
    local relays, conn, _, code = with_relay(function()
      return "NOT_ALLOWED"
    end, true)
    assert.equal(1, relays)
    assert.is_nil(conn)
    assert.equal("PUNCHING_FAILED", code)
    assert.is_true(#inner:called("session_punch") > 1)
    relays = with_relay(function()
      return "OVERLOADED"
    end, true)
    assert.is_true(relays > 1)
  end)

  it("take what a relay step may be given, and nothing else", function()
    local tried = {}
    start({
      name = "mine",
      connect = function(s)
        local wrong = { { upgrade_every = 0.5 }, { upgrade_every = 301 }, { rounds = 1 } }
        for i, what in ipairs(wrong) do
          tried[i] = pcall(s.relay, s, what)
        end
        assert(s:relay({ via = 3, upgrade_every = false }))
        return true
      end,
    }, { relay = works })
    antquic.run(function()
      assert(ep:connect(HEX))
    end)
    assert.same({ false, false, false }, tried)
    assert.same({ via = 3, upgrade_every = false }, inner:called("session_relay")[1][2])
  end)

  it("balanced: gives up soon when no coordinator is there", function()
    start(nil, {
      coordinate = function(self, _)
        self.core.clock = self.core.clock + 3
        return "NO_BOOTSTRAP_NODES"
      end,
    })
    antquic.run(function()
      local begun = antquic.now()
      local _, _, code = ep:connect(HEX, { timeout = 30 })
      assert.equal("NO_BOOTSTRAP_NODES", code)
      assert.is_true(antquic.now() - begun < 5)
    end)
    assert.equal(1, #inner:called("session_coordinate"))
  end)

  it("balanced: goes on after what passes, while there is time", function()
    for _, code in ipairs({ "TIMEOUT", "VALIDATION_TIMEOUT", "PEER_NOT_CONNECTED" }) do
      local asked = 0
      start(nil, {
        coordinate = function(self)
          asked = asked + 1
          self.core.clock = self.core.clock + 2
          return asked < 3 and code or nil
        end,
        punch = works,
      })
      inner.nodes = {
        {
          addr = "198.18.0.1:9000",
          connected = true,
          can_coordinate = true,
          conn = 3,
          failures = 0,
        },
      }
      antquic.run(function()
        assert(ep:connect(HEX, { timeout = 30 }))
      end)
      assert.equal(3, asked)
      ep:close()
      ep = nil
      fake.unload()
    end
  end)

  it("balanced: a refusal ends it", function()
    start(nil, {
      coordinate = function()
        return "REFUSED"
      end,
    })
    antquic.run(function()
      assert.equal("REFUSED", select(3, ep:connect(HEX)))
    end)
    assert.equal(1, #inner:called("session_coordinate"))
  end)

  it("quick: one round and no more", function()
    start(function()
      return antquic.policy.quick
    end, { coordinate = works, punch = fails })
    antquic.run(function()
      local begun = antquic.now()
      assert.equal("PUNCHING_FAILED", select(3, ep:connect(HEX, { timeout = 30 })))
      assert.is_true(antquic.now() - begun < 0.5)
    end)
    local punches = inner:called("session_punch")
    assert.equal(1, #punches)
    assert.equal(5, punches[1][2].rounds)
  end)

  it("quick: a peer that nobody knows is not waited for", function()
    start(function()
      return antquic.policy.quick
    end, {
      coordinate = function()
        return "UNKNOWN_TARGET"
      end,
    })
    antquic.run(function()
      assert.equal("UNKNOWN_TARGET", select(3, ep:connect(HEX, { timeout = 30 })))
    end)
    assert.equal(1, #inner:called("session_coordinate"))
  end)

  it("patient: goes on where balanced gives up", function()
    local asked = 0
    start(function()
      return antquic.policy.patient
    end, {
      coordinate = function()
        asked = asked + 1
        return "UNKNOWN_TARGET"
      end,
    })
    antquic.run(function()
      local _, _, code = ep:connect(HEX, { timeout = 4 })
      assert.equal("UNKNOWN_TARGET", code)
    end)
    assert.equal(3, asked) -- after 0, 1 and 3 s; the next would be after 6 s
    assert.equal(10, antquic.policy.patient.punch().rounds)
  end)

  it("lan_first: private pairs come first", function()
    start(function()
      return antquic.policy.lan_first
    end)
    local list = antquic.policy.lan_first.order({}, {
      { remote = "198.18.0.9:2" },
      { remote = "192.168.1.5:1" },
      { remote = "[fd00::1]:3" },
    })
    assert.equal("192.168.1.5:1", list[1].remote)
    assert.equal("[fd00::1]:3", list[2].remote)
    assert.equal("198.18.0.9:2", list[3].remote)
  end)

  it("of one's own decide the order and the schedule", function()
    start(function()
      return antquic.policy.extend(antquic.policy.balanced, {
        order = function(view, pairs_)
          assert(view.peer_id:hex() == HEX)
          return { pairs_[2] }
        end,
        punch = function()
          return { rounds = 3, spacing = 0.05 }
        end,
        keepalive = function()
          return 7
        end,
      })
    end, { coordinate = works, punch = works })
    assert.same({ rounds = 3, spacing = 0.05 }, inner:called("set_punch_defaults")[1][1])
    antquic.run(function()
      assert(ep:connect(HEX))
    end)
    local punch = inner:called("session_punch")[1][2]
    assert.same({ order = { "198.18.0.9:2" }, rounds = 3, spacing = 0.05 }, punch)
    assert.same({ name = "conn_keep_alive", 8, 7 }, inner:called("conn_keep_alive")[1])
  end)

  it("decide which of our candidates others are told", function()
    antquic, core = fake.load()
    local private, public = "192.168.1.5:1", "198.18.0.9:2"
    ep = assert(antquic.endpoint({ bootstrap_nodes = { "198.18.0.1:9000" } }))
    inner = core.endpoints[1]
    local hidden
    inner.candidates = function()
      return {
        { addr = private, source = "local" },
        { addr = public, source = "observed" },
      }
    end
    inner.answers.hide_candidates = function(_, list)
      hidden = list
      return true
    end
    ep:set_policy(antquic.policy.extend(antquic.policy.balanced, {
      candidates = function(_, list)
        local out = {}
        for _, c in ipairs(list) do
          if c.source ~= "local" then
            out[#out + 1] = c
          end
        end
        return out
      end,
    }))
    assert.same({ private }, hidden)
    ep:set_policy(antquic.policy.balanced)
    assert.same({}, hidden)
  end)

  it("of one's own decide which addresses others are told", function()
    start(function()
      return {
        candidates = function(_, list)
          local out = {}
          for _, c in ipairs(list) do
            if c.address:find("^192%.") then
              out[#out + 1] = c
            end
          end
          return out
        end,
      }
    end)
    inner.own = { "10.0.0.1:1", "192.168.0.1:1" }
    inner:push({ kind = "candidate_discovered", addr = "10.0.0.1:1" })
    ep:step()
    local calls = inner:called("hide_candidates")
    assert.same({ "10.0.0.1:1" }, calls[#calls][1])
    ep:set_policy(antquic.policy.balanced)
    calls = inner:called("hide_candidates")
    assert.same({}, calls[#calls][1])
  end)

  it("that fail are reported, and the default decides", function()
    start(function()
      return {
        name = "broken",
        order = function()
          error("order broke")
        end,
        punch = function()
          return 7
        end,
        connect = function(s)
          s:dial({ "198.18.0.7:5" })
          error("connect broke")
        end,
      }
    end, { dial = never, coordinate = works, punch = works })
    local seen = {}
    antquic.run(function()
      ep:on("policy_error", function(ev)
        seen[#seen + 1] = ev
      end)
      assert(ep:connect(HEX))
      antquic.sleep(0.01)
    end)
    local texts = {}
    for _, ev in ipairs(seen) do
      assert.equal("broken", ev.policy)
      texts[ev.choice] = ev.traceback
    end
    assert.matches("order broke.*stack traceback", texts.order)
    assert.matches("connect broke.*stack traceback", texts.connect)
    assert.matches("gave a number, a table is expected", texts.punch)
    assert.is_true(ep:statistics().policy_errors >= 3)
    local punch = inner:called("session_punch")[1][2]
    assert.equal(6, punch.rounds)
    assert.same({ "192.168.1.5:1", "198.18.0.9:2" }, punch.order)
  end)

  it("may not wait in a choice", function()
    start(function()
      return {
        accept = function()
          antquic.sleep(1)
          return false
        end,
      }
    end)
    local text
    antquic.run(function()
      ep:on("policy_error", function(ev)
        text = ev.text
      end)
      inner:push({ kind = "decision", decision = 77, peer = PEER })
      antquic.sleep(0.01)
    end)
    assert.matches("none is allowed", text)
    assert.same({ name = "decide", 77, true }, inner:called("decide")[1])
  end)

  it("may not wait or yield in a choice that a task asks for", function()
    local texts, list = {}, { "a", "b" }
    start(function()
      return {
        order = function()
          antquic.sleep(1)
          return {}
        end,
        coordinators = function()
          coroutine.yield()
          return {}
        end,
      }
    end)
    antquic.run(function()
      ep:on("policy_error", function(ev)
        texts[ev.choice] = ev.text
      end)
      assert.same({}, ep:_choose(ep._policy, "coordinators", PEER, {}))
      assert.equal(list, ep:_choose(ep._policy, "order", PEER, list))
      antquic.sleep(0.01)
    end)
    assert.matches("none is allowed", texts.order)
    assert.matches("may not yield", texts.coordinators)
  end)

  it("accept or refuse a peer, and can be replaced while running", function()
    start(function()
      return {
        accept = function(_, peer)
          return peer:hex() ~= HEX
        end,
      }
    end)
    local function decide(n)
      inner:push({ kind = "decision", decision = n, peer = PEER })
      ep:step()
      local calls = inner:called("decide")
      return calls[#calls][2]
    end
    assert.is_false(decide(1))
    ep:set_policy({
      accept = function()
        return true
      end,
    })
    assert.is_true(decide(2))
    ep:set_policy({
      accept = function()
        return "not today"
      end,
    })
    assert.is_false(decide(3))
  end)

  it("a session keeps the policy that it began with", function()
    local rounds = {}
    start(function()
      return {
        connect = function(s)
          s:sleep(1)
          return s:punch()
        end,
        punch = function()
          return { rounds = 2 }
        end,
      }
    end, {
      punch = function(_, step)
        rounds[#rounds + 1] = step.rounds
      end,
    })
    antquic.run(function()
      local s = assert(ep:start_traversal(HEX))
      antquic.sleep(0.1)
      ep:set_policy(antquic.policy.balanced)
      assert(s:wait(5))
    end)
    assert.same({ 2 }, rounds)
  end)

  it("that claim success without a connection are not believed", function()
    start({
      connect = function()
        return true
      end,
    })
    antquic.run(function()
      local conn, message, code = ep:connect(HEX)
      assert.is_nil(conn)
      assert.matches("claims success", message)
      assert.equal("TRAVERSAL_FAILED", code)
    end)
  end)

  it("are checked when they are given", function()
    start(nil)
    for _, bad in ipairs({ { conect = print }, { order = 5 }, { name = 5 }, "balanced" }) do
      assert.has_error(function()
        ep:set_policy(bad)
      end)
    end
    assert.error_matches(function()
      return antquic.policy.balnced
    end, "no 'balnced'")
  end)

  describe("sessions", function()
    it("can be waited for, joined and cancelled", function()
      start({
        connect = function(s)
          return s:sleep(60) and false
        end,
      })
      antquic.run(function()
        local s = assert(ep:start_traversal(HEX, { timeout = 60 }))
        assert.equal("discovery", s.phase)
        assert.equal("connecting", s.state)
        assert.equal(s, ep:start_traversal(HEX))
        local waiter = antquic.spawn(ep.connect, ep, HEX, { timeout = 60 })
        local _, _, code = s:wait(0.5)
        assert.equal("TIMEOUT", code)
        assert.equal(2, #s:pairs())
        s:cancel()
        s:cancel()
        assert.equal(1, #inner:called("session_cancel"))
        local ok, conn, _, name = waiter:wait(1)
        assert.is_true(ok)
        assert.is_nil(conn)
        assert.equal("CANCELLED", name)
        assert.equal("failed", s.phase)
        assert.is_true(s:is_over())
      end)
    end)

    it("take one step at a time and refuse nonsense", function()
      local message
      start({
        connect = function(s)
          assert(not pcall(s.dial, s, "x"))
          assert(not pcall(s.punch, s, { rounds = "9" }))
          assert(not pcall(s.punch, s, { rounds = 0 / 0 }))
          assert(not pcall(s.coordinate, s, { vai = 1 }))
          local _, _, code = s:dial({})
          assert(code == "NO_CANDIDATES")
          antquic.spawn(function()
            local _
            _, message = pcall(s.punch, s, {})
          end)
          s:coordinate()
          return false, "REFUSED"
        end,
      }, {})
      inner.answers.session_coordinate = function(self, id)
        self.delayed = id
        return true
      end
      antquic.run(function()
        antquic.spawn(function()
          antquic.sleep(0.1)
          inner:push({ kind = "step_done", session = 5, error = "EXPIRED" })
        end)
        assert.equal("REFUSED", select(3, ep:connect(HEX)))
      end)
      assert.matches("one step at a time; 'coordinate' runs", message)
    end)

    it("are explained, as data and in words", function()
      start({
        connect = function(s)
          s:dial({ "198.18.0.7:5" })
          return false
        end,
      }, { dial = never })
      inner.records = {
        {
          step = "dial",
          won = false,
          error = "UNREACHABLE",
          started = 100,
          ended = 100.3,
          addr = "198.18.0.7:5",
          sent = 4,
          received = 0,
        },
        {
          step = "coordinate",
          won = true,
          started = 100.3,
          ended = 100.35,
          sent = 0,
          received = 0,
        },
      }
      antquic.run(function()
        local s = assert(ep:start_traversal(HEX))
        s:wait(5)
        local list = s:explain()
        assert.equal(2, #list)
        assert.equal("198.18.0.7:5", list[1].address)
        assert.is_true(math.abs(list[1].duration - 0.3) < 1e-6)
        local text = tostring(antquic.explain(s))
        assert.matches("dial +198.18.0.7:5 +failed after 0.300 s: unreachable %(4 sent, 0 re", text)
        assert.matches("coordinate .*worked in 0.050 s", text)
      end)
    end)
  end)
end)
