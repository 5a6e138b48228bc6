-- SPDX-License-Identifier: MIT
--
-- A coordinator that dies at any moment of an attempt costs less than two seconds,
-- as long as there is another one.

local antquic = require("antquic")

-- How much later than without.
local MOST = 2
-- Between the moments at which it dies.
local STEP = 0.02

local NAMES = { "carol", "dave", "erin" }

-- New sockets at once, as after a punch that failed, and again with a pause.
local only_fresh = antquic.policy.extend(antquic.policy.balanced, {
  name = "only_fresh",
  connect = function(s)
    local ok, message, code
    repeat
      ok, message, code = s:fresh({ via = s.coordinators[1] })
    until ok or s:remaining() < 0.3 or not s:sleep(0.2)
    return ok, message, code
  end,
})

local KINDS = {
  { how = "punch", "port_restr", "port_restr" },
  { how = "fresh", "port_restr", "port_restr", policy = only_fresh },
  { how = "predict", "sym_seq", "port_restr" },
  { how = "predict", "port_restr", "sym_seq" },
  { how = "birthday", "sym_rand", "port_restr" },
  { how = "birthday", "port_restr", "sym_rand" },
}

-- |fn| is a task with alice, bob and the list of coordinators.
local function with(count, kind, fn)
  local sim <close> = antquic.sim({ delay = 0.02, seed = 7 })
  local coordinators = {}
  for i = 1, count do
    coordinators[i] = sim:coordinator(NAMES[i])
  end
  local alice = sim:peer("alice", { nat = kind[1], policy = kind.policy })
  local bob = sim:peer("bob", { nat = kind[2] }):echo()
  sim:run(function()
    sim:ready()
    antquic.sleep(2) -- the NATs are known by then
    fn(sim, alice, bob, coordinators)
  end)
  return sim
end

-- Which coordinator has agreed.
local function who_answered(alice)
  for i, node in ipairs(alice.ep:bootstrap_nodes()) do
    if node.coordination_count > 0 then
      return i
    end
  end
  error("nobody was asked")
end

-- How long an attempt takes. |fault|(sim, bob, coordinators) is called after |after|
-- seconds.
local function reach(count, kind, after, fault)
  local took, asked, steps
  with(count, kind, function(sim, alice, bob, coordinators)
    local start = sim:now()
    if fault then
      sim:at(start + after, function()
        fault(sim, bob, coordinators)
      end)
    end
    local conn = alice:must_reach(bob, { timeout = 30 })
    took = sim:now() - start
    asked = who_answered(alice)
    steps = tostring(conn:explain())
  end)
  return took, asked, steps
end

local function kill(which)
  return function(_, _, coordinators)
    coordinators[which]:kill()
  end
end

describe("a coordinator that dies", function()
  for _, kind in ipairs(KINDS) do
    for count = 2, 3 do
      local what = ("%s, %s to %s, one of %d"):format(kind.how, kind[1], kind[2], count)
      it("at any moment: " .. what, function()
        local alone, asked, steps = reach(count, kind)
        assert.matches(kind.how, steps)
        for i = 0, math.floor(alone / STEP) do
          local took = reach(count, kind, i * STEP, kill(asked))
          assert.is_true(
            took - alone < MOST,
            ("%.3f s after the start: %.3f s instead of %.3f"):format(i * STEP, took, alone)
          )
        end
      end)
    end

    it("before the peer has its offer: " .. kind.how .. " to " .. kind[2], function()
      local alone, asked = reach(2, kind)
      -- Its messages leave after 40 ms and are there after 80.
      local took = reach(2, kind, 0.06, function(sim, bob, coordinators)
        coordinators[asked]:kill()
        bob:cut()
        sim:at(sim:now() + 0.05, function()
          bob:cut(false)
        end)
      end)
      assert.is_true(took - alone < MOST, ("%.3f s instead of %.3f"):format(took, alone))
      assert.is_true(took > alone)
    end)
  end

  it("and the one after it, too", function()
    for _, kind in ipairs(KINDS) do
      local alone, asked = reach(3, kind)
      local took = reach(3, kind, 0, function(_, _, coordinators)
        coordinators[asked]:kill()
        coordinators[asked % 3 + 1]:kill()
      end)
      assert.is_true(
        took - alone < MOST,
        ("%s: %.3f s instead of %.3f"):format(kind.how, took, alone)
      )
    end
  end)

  it("while a connection is repaired through it", function()
    local function pause(after)
      local longest, asked = 0, nil
      with(2, { "port_restr", "port_restr" }, function(sim, alice, bob, coordinators)
        local conn = alice:must_reach(bob)
        local stream = assert(conn:open_stream())
        asked = who_answered(alice)
        local start = sim:now()
        sim:at(start + 0.5, function()
          alice.nat:rebind()
        end)
        if after then
          sim:at(start + 0.5 + after, function()
            coordinators[asked]:kill()
          end)
        end
        local last = sim:now()
        while sim:now() < start + 6 do
          assert(stream:write("line\n"))
          assert.equal("line", assert(stream:read("l", 20)))
          longest = math.max(longest, sim:now() - last)
          last = sim:now()
          antquic.sleep(0.05)
        end
      end)
      return longest
    end
    local alone = pause()
    assert.is_true(alone > 0.2, alone .. " s")
    for i = 0, 20 do
      local took = pause(i * alone / 20)
      assert.is_true(
        took - alone < MOST,
        ("%.3f s after it: %.3f s instead of %.3f"):format(i * alone / 20, took, alone)
      )
    end
  end)
end)
