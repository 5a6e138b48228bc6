-- SPDX-License-Identifier: MIT
--
-- A policy is the same file here and in a live endpoint.

local antquic = require("antquic")

local MINE = [[
local antquic = require("antquic")
return antquic.policy.extend(antquic.policy.balanced, {
  name = "mine",
  connect = function(s)
    local plan, why, code = s:coordinate({ via = s.coordinators[1] })
    if not plan then return nil, why, code end
    if s:punch({ pairs = plan:pairs(), rounds = 3 }) then return true end
    return s:dial({ s.known, timeout = 1 })
  end,
})
]]

local function policy_file()
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(MINE)
  f:close()
  return path
end

local function couple(sim, policy)
  sim:coordinator("carol")
  return sim:peer("alice", { nat = "port_restr", policy = policy }),
    sim:peer("bob", { nat = "linux" }):echo()
end

-- The steps that were taken, from an explanation.
local function steps(object)
  local list = {}
  for i, entry in ipairs(object:explain()) do
    list[i] = entry.step
  end
  return table.concat(list, " ")
end

-- Known address, then what the profiles call for, then a relay: each once.
local function by_the_plan(s)
  if s:dial({ s.known, timeout = 0.3 }) then
    return true
  end
  local plan = s:coordinate({ via = s.coordinators[1] })
  if plan and s:punch({ pairs = plan:pairs(), rounds = 3 }) then
    return true
  end
  if plan and plan.remote.allocation == "sequential" and s:predict({ plan }) then
    return true
  end
  return s:relay({ upgrade_every = 5 })
end

describe("a strategy", function()
  local function steps_between(a, b)
    local sim <close> = antquic.sim({ delay = 0.02 })
    sim:coordinator("carol", { can_relay = true })
    sim:coordinator("dave", { can_relay = true })
    local errors = {}
    local alice = sim:peer("alice", { nat = a, policy = { connect = by_the_plan } })
    local bob = sim:peer("bob", { nat = b }):echo()
    alice.ep:on("policy_error", function(ev)
      errors[#errors + 1] = ev.text
    end)
    return sim:run(function()
      sim:settle()
      local taken = steps(alice:must_reach(bob))
      assert.same({}, errors)
      return taken
    end)
  end

  it("takes the step that the plan calls for", function()
    assert.equal("coordinate punch dial", steps_between("port_restr", "linux"))
    assert.matches("^coordinate punch .*predict", steps_between("linux", "sym_seq"))
    assert.matches("^coordinate punch .*relay", steps_between("sym_rand", "sym_rand"))
  end)
end)

describe("a policy", function()
  local path
  before_each(function()
    path = policy_file()
  end)
  after_each(function()
    os.remove(path)
  end)

  it("from a file works here and live", function()
    local mine = dofile(path)
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(sim, mine)
    sim:run(function()
      sim:ready()
      local conn = alice:must_reach(bob)
      assert.matches("^coordinate punch", steps(conn))
    end)
    antquic.run(function()
      local c <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0", role = "bootstrap" }))
      local nodes = { c:local_addresses()[1] }
      local function peer(policy)
        return assert(antquic.endpoint({
          bind = "127.0.0.1:0",
          bootstrap_nodes = nodes,
          policy = policy,
        }))
      end
      local a <close> = peer(mine)
      local b <close> = peer()
      assert(a:wait_bootstrap(5))
      assert(b:wait_bootstrap(5))
      local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
      assert.matches("^coordinate punch", steps(conn))
    end)
  end)

  it("can be replaced while a connection is being made", function()
    local sim <close> = antquic.sim({ delay = 0.05 })
    local alice, bob = couple(sim)
    local asked = {}
    local function named(name)
      return antquic.policy.extend(antquic.policy.balanced, {
        name = name,
        order = function(_, list)
          asked[#asked + 1] = name
          return list
        end,
      })
    end
    sim:run(function()
      sim:ready()
      alice.ep:set_policy(named("old"))
      local session = assert(alice.ep:start_traversal(bob.id))
      antquic.sleep(0.02) -- the coordinator was asked, its answer is on its way
      alice.ep:set_policy(named("new"))
      assert(session:wait(5))
      assert.same({ "old" }, asked)
      session.connection:close()
      antquic.sleep(1)
      assert(alice:connect(bob))
      assert.same({ "old", "new" }, asked)
    end)
  end)

  it("that fails is an event, and the default decides", function()
    local sim <close> = antquic.sim({ delay = 0.02 })
    local alice, bob = couple(
      sim,
      antquic.policy.extend(antquic.policy.balanced, {
        name = "broken",
        connect = function()
          error("not today")
        end,
      })
    )
    sim:run(function()
      local errors = alice.ep:subscribe({ "policy_error" })
      sim:ready()
      alice:must_reach(bob)
      local ev = assert(errors:next(0))
      assert.equal("connect", ev.choice)
      assert.matches("not today", ev.text)
    end)
    sim:must_tell("alice's policy broken fails in connect: ...not today")
  end)

  it("may back off and sleep, in virtual time", function()
    local sim <close> = antquic.sim()
    sim:coordinator("carol")
    local alice = sim:peer("alice", { nat = "linux" })
    sim:peer("bob", { nat = "linux" })
    local nobody = antquic.peer_id(("5"):rep(64))
    sim:run(function()
      sim:ready()
      local begun = antquic.now()
      local conn, message, code = alice.ep:connect(nobody, { timeout = 20 })
      assert.is_nil(conn)
      assert.equal("UNKNOWN_TARGET", code, message)
      -- Three tries, 0.4 and 0.8 s apart.
      assert.is_true(antquic.now() - begun >= 1.2)
    end)
    local asked = select(2, sim:trace():gsub("alice asks carol", ""))
    assert.equal(3, asked)
  end)
end)

describe("the budget of guesses", function()
  -- The first guessing is in vain: nothing comes through while it runs.
  local function attempt(a, b, policy, timeout)
    local sim <close> = antquic.sim({ delay = 0.02, seed = 3 })
    sim:coordinator("carol", { can_relay = false })
    sim:coordinator("dave", { can_relay = false })
    local alice = sim:peer("alice", { nat = a, policy = policy })
    local bob = sim:peer("bob", { nat = b, policy = policy }):echo()
    local result = {}
    sim:run(function()
      sim:ready()
      sim:settle(3)
      local start = sim:now()
      local hard = a == "sym_rand" and alice or bob
      sim:at(start + 0.45, function()
        hard.nat:block()
      end)
      sim:at(start + 3, function()
        hard.nat:block(false)
      end)
      local conn, message, code = alice.ep:connect(bob.id, { timeout = timeout })
      result.took = sim:now() - start
      result.message, result.code = message, code
      result.explanation = conn and conn:explain() or alice.ep:explain(bob.id)
      result.ok = conn ~= nil
    end)
    result.asked = select(2, sim:trace({ datagrams = "none" }):gsub("alice asks", ""))
    return result
  end

  for _, pair in ipairs({ { "sym_rand", "port_restr" }, { "port_restr", "sym_rand" } }) do
    local what = pair[1] .. " to " .. pair[2]

    it("is waited for where there is time: " .. what, function()
      for _, policy in ipairs({ antquic.policy.balanced, antquic.policy.patient }) do
        local r = attempt(pair[1], pair[2], policy, 60)
        assert.is_true(r.ok, r.message)
        assert.is_true(r.took > 20 and r.took < 26, ("%.1f s"):format(r.took))
        assert.is_true(r.asked < 12, r.asked .. " requests")
      end
    end)

    it("is the reason that is told where there is none: " .. what, function()
      local r = attempt(pair[1], pair[2], antquic.policy.balanced, 10)
      assert.is_true(r.code == "PUNCHING_FAILED" or r.code == "OVERLOADED", r.code)
      assert.is_true(r.took < 10)
      local said
      for _, entry in ipairs(r.explanation.advice) do
        said = said or entry.code == "guess_again" and entry.text
      end
      local when = said and said:match("in (%d+) s it can be tried again")
      assert.is_true((tonumber(when) or 0) > 10, tostring(r.explanation))
    end)
  end
end)

describe("what somebody who writes a policy gets wrong", function()
  -- By mistake: the strategy, a word of the event's text or of the failure's message.
  local MISTAKES = {
    {
      "a step that is none",
      function(s)
        return s:punsh({})
      end,
      event = "method 'punsh'",
    },
    {
      "an option that is none",
      function(s)
        s:coordinate()
        return s:punch({ round = 3 })
      end,
      event = "unknown option 'round' %(known: .*rounds",
    },
    {
      "a step too early",
      function(s)
        return s:punch({ rounds = 3 })
      end,
      message = "s:coordinate comes first",
    },
    {
      "no reason",
      function(s)
        s:coordinate()
      end,
      message = "gave up and said no reason",
    },
    {
      "a success that is none",
      function()
        return true
      end,
      event = "claims success but there is no connection",
      message = "claims success but there is no connection",
    },
    {
      "two steps at once",
      function(s)
        antquic.spawn(function()
          s:coordinate()
        end)
        antquic.sleep(0)
        return s:coordinate()
      end,
      event = "one step at a time; 'coordinate' runs",
    },
  }

  for _, case in ipairs(MISTAKES) do
    it("is told: " .. case[1], function()
      local sim <close> = antquic.sim({ delay = 0.02 })
      local wrong = { name = "wrong", connect = case[2] }
      local alice, bob = couple(sim, antquic.policy.extend(antquic.policy.balanced, wrong))
      sim:run(function()
        local errors = alice.ep:subscribe({ "policy_error" })
        sim:ready()
        local conn, message = alice.ep:connect(bob.id, { timeout = 5 })
        if case.message then
          assert.matches(case.message, message)
        else
          assert.is_truthy(conn, message) -- the default decides
        end
        local ev = errors:next(0)
        if case.event then
          assert.matches(case.event, ev.text)
          assert.equal("wrong", ev.policy)
          assert.matches("policy_spec%.lua:%d+$", ev.source)
        else
          assert.is_nil(ev)
        end
      end)
    end)
  end
end)
