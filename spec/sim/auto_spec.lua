-- SPDX-License-Identifier: MIT
--
-- The default strategy in C does what the policy `balanced` does: the same seed
-- gives the same datagrams at the same times. What may differ: the up to 0.2 s at
-- random of a pause, which the two draw in their own ways, and all times after it;
-- what one host sends in the same instant as another may come before or after it,
-- so that a failure is compared by its steps, and the number of its datagrams
-- but for two: CANCEL goes in a packet of its own, or not.

local antquic = require("antquic")
local config = require("antquic.config")
local pairing = require("antquic.sim.pairs")

-- The strategy in Lua takes no step.
local idle = antquic.policy.extend(antquic.policy.balanced, {
  name = "idle",
  connect = function(s)
    s:sleep(s:remaining())
    return nil, "the time is up", "TIMEOUT"
  end,
})

local read = config.read
local in_c
local relays = false

-- All that was asked of a coordinator, dialed and punched, with times.
local function steps_of(entries)
  local list, times = {}, {}
  for _, entry in ipairs(entries) do
    -- The core looks for one more coordinator than there are; a policy has a list.
    if entry.step ~= "coordinate" or entry.error ~= "NO_BOOTSTRAP_NODES" then
      list[#list + 1] = ("%s %s %s"):format(
        entry.step,
        entry.remote or entry.address or "",
        entry.error or "worked"
      )
      times[#times + 1] = entry.started
    end
  end
  return list, times
end

-- One attempt, by Lua or by C. |before|(sim, alice, bob) happens first and gives whom
-- to reach; |options| are those of the peers.
local function attempt(c, a, b, seed, before, timeout, options)
  in_c = c
  local sim <close> = antquic.sim({ delay = 0.02, seed = seed })
  sim:coordinator("carol", { can_relay = relays })
  sim:coordinator("dave", { can_relay = relays })
  local function peer(name, nat)
    local all = { nat = nat, policy = c and idle or nil }
    for key, value in pairs(options or {}) do
      all[key] = value
    end
    return sim:peer(name, all)
  end
  local alice, bob = peer("alice", a), peer("bob", b)
  local result = { pauses = 0 }
  sim:run(function()
    alice.ep:on("phase_transition", function(ev)
      if ev.text and ev.text:find("another try in", 1, true) then
        result.pauses = result.pauses + 1 -- so C says it
      end
    end)
    sim:ready(4)
    sim:settle(3)
    local target = before and before(sim, alice, bob) or bob.id
    local start = sim:now()
    local conn, message, code = alice.ep:connect(target, { timeout = timeout or 12 })
    result.ms = (sim:now() - start) * 1e3
    result.code = code or "connected"
    result.steps, result.times = steps_of(
      conn and conn:explain() or alice.ep:explain(type(target) == "string" and bob.id or target)
    )
    result.message = message
    antquic.sleep(0.5)
    result.hash = sim:hash()
    result.sent = alice:sent() + bob:sent()
  end)
  in_c = false
  return result
end

describe("the strategy in C", function()
  setup(function()
    config.read = function(...)
      local out, me, p = read(...)
      if in_c and out then
        out.strategy = "auto"
      end
      return out, me, p
    end
  end)
  teardown(function()
    config.read = read
  end)

  local function agree(a, b, seed, ...)
    local lua = attempt(false, a, b, seed, ...)
    local c = attempt(true, a, b, seed, ...)
    local what = ("%s:%s seed %d: Lua %s in %.1f ms, C %s in %.1f ms"):format(
      type(a) == "table" and a[1] or a,
      type(b) == "table" and b[1] or b,
      seed,
      lua.code,
      lua.ms,
      c.code,
      c.ms
    )
    assert.equal(lua.code, c.code, what)
    assert.same(lua.steps, c.steps, what)
    -- Each pause has its up to 0.2 s at random.
    for i, at in ipairs(lua.times) do
      assert.is_true(math.abs(at - c.times[i]) <= 0.2 * c.pauses, what .. ", step " .. i)
    end
    if c.pauses == 0 then
      assert.is_true(math.abs(lua.sent - c.sent) <= 2, what)
    end
    if c.pauses == 0 and c.code == "connected" then
      assert.equal(lua.hash, c.hash, what)
    end
    return c
  end

  it("sends the same datagrams between NATs of all kinds", function()
    local marks, exact, paused = {}, 0, 0
    for i, pair in ipairs(pairing.all()) do
      local mark = pairing.mark(pair[1], pair[2])
      marks[mark] = (marks[mark] or 0) + 1
      -- Each mark's first ones, and each ninth.
      if marks[mark] <= 3 or i % 9 == 0 then
        local c = agree(pair[1], pair[2], i)
        exact = exact + (c.pauses == 0 and 1 or 0)
        paused = paused + (c.pauses > 0 and 1 or 0)
      end
    end
    assert.is_true(exact > 25, exact .. " exact")
    assert.is_true(paused > 0)
    for _, mark in ipairs({ "Y", "B", "P", "-" }) do
      assert.is_true((marks[mark] or 0) > 0, mark)
    end
  end)

  it("takes the same steps when something fails", function()
    -- Nothing comes through for a while.
    local c = agree("port_restr", "linux", 1, function(sim, _, bob)
      bob.nat:block()
      sim:at(sim:now() + 8, function()
        bob.nat:block(false)
      end)
      return bob.id
    end, 30)
    assert.equal("connected", c.code)
    assert.is_true(c.pauses > 0)
    -- Nobody knows the peer.
    c = agree("port_restr", "linux", 2, function()
      return antquic.peer_id(("5"):rep(64))
    end)
    assert.equal("UNKNOWN_TARGET", c.code)
    assert.equal(2, c.pauses)
    -- The coordinators die.
    c = agree("port_restr", "linux", 3, function(sim, _, bob)
      for i = 1, 2 do
        sim.hosts[i]:kill()
      end
      return bob.id
    end, 25)
    assert.equal("TIMEOUT", c.code)
    -- Nobody may guess.
    c = agree("sym_rand", "port_restr", 4, nil, 12, { enable_symmetric_nat = false })
    assert.equal("PUNCHING_FAILED", c.code)
  end)

  it("asks for a relay at the same time", function()
    relays = true
    local c = agree("sym_rand", "sym_rand", 6)
    relays = false
    assert.equal("connected", c.code)
    assert.matches("relay", table.concat(c.steps, ";"))
  end)

  it("dials the known addresses in the same way", function()
    for _, known in ipairs({ "77.7.7.7:7", "" }) do
      agree("port_restr", "none", 5, function(_, _, bob)
        return bob.id:hex() .. "@" .. (known ~= "" and known or bob:address())
      end)
    end
  end)
end)
