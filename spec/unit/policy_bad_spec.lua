-- Policies that are wrong in every way that a policy can be: the default decides, a
-- policy_error says why, and the program goes on.
--
-- SPDX-License-Identifier: MIT

local fake = require("spec.unit.fake")

local function forever()
  while true do
  end
end

local function stubborn()
  while true do
    pcall(forever)
  end
end

local function recurse()
  return 1 + recurse()
end

local NAN, INF = 0 / 0, math.huge
local NASTY = setmetatable({}, {
  __len = function()
    return 1e9
  end,
  __index = function()
    return { address = "1.2.3.4:5", remote = "1.2.3.4:5" }
  end,
})

-- What a choice may give that is none, and a word of the complaint.
local WRONG = {
  { "keepalive", NAN, "seconds are expected" },
  { "keepalive", -1, "seconds are expected" },
  { "keepalive", "7", "a string" },
  { "keepalive", {}, "a table" },
  { "punch", 7, "a number" },
  { "punch", { round = 1 }, "round" },
  { "punch", { rounds = "many" }, "rounds" },
  { "order", "all", "a string" },
  { "order", { 1 }, "entry 1" },
  { "order", { { remote = 5 } }, "entry 1" },
  { "coordinators", { {} }, "entry 1" },
  { "candidates", true, "a boolean" },
  { "accept", 1, "a number" },
}

-- What a choice may do instead of giving something.
local BAD = {
  { "an endless loop", forever, "instructions" },
  { "an endless loop that catches errors", stubborn, "instructions" },
  { "endless recursion", recurse, "." },
  {
    "an error",
    function()
      error("broken on purpose")
    end,
    "on purpose",
  },
  {
    "an error that is no text",
    function()
      error(setmetatable({}, {
        __tostring = function()
          error("again")
        end,
      }))
    end,
    ".",
  },
  {
    "a yield",
    function()
      coroutine.yield(1)
    end,
    "yield",
  },
}

describe("a policy that gives", function()
  local antquic, ep
  before_each(function()
    antquic = fake.load()
    ep = assert(antquic.endpoint({ bootstrap_nodes = { "198.18.0.1:9000" } }))
  end)
  after_each(function()
    ep:close()
    fake.unload()
  end)

  -- What |choice| comes to when the policy's is |fn|, and what is complained of.
  local function choose(choice, fn, arg)
    local complaints = ep:subscribe({ "policy_error" })
    local p = { name = "bad", [choice] = fn }
    local result = antquic.policy.choose(ep, p, choice, ep:_view(), arg)
    local ev = complaints:next(0)
    complaints:close()
    return result, ev
  end

  for _, case in ipairs(WRONG) do
    local choice, value, word = case[1], case[2], case[3]
    it(("%s for %s: the default decides"):format(tostring(value), choice), function()
      local list = { { address = "9.9.9.9:9", remote = "9.9.9.9:9", rtt = 1, failures = 0 } }
      local result, ev = choose(choice, function()
        return value
      end, list)
      assert.equal("bad", ev.policy)
      assert.equal(choice, ev.choice)
      assert.is_truthy(ev.text:find(word, 1, true), ev.text)
      assert.same(antquic.policy.balanced[choice](ep:_view(), list), result)
    end)
  end

  for _, case in ipairs(BAD) do
    it(case[1] .. ": the default decides", function()
      local result, ev = choose("order", case[2], { { remote = "9.9.9.9:9" } })
      assert.is_truthy(ev.traceback:find(case[3], 1, case[3] ~= "."), ev.traceback)
      assert.equal("9.9.9.9:9", result[1].remote)
    end)
  end

  it("a list without end: the first ones of it", function()
    local result, ev = choose("order", function()
      return NASTY
    end)
    assert.is_true((ev ~= nil) ~= (result ~= nil and #result == 256))
  end)

  it("numbers out of range: held to it", function()
    assert.equal(86400, (choose("keepalive", function()
      return INF
    end)))
    assert.same({ rounds = 1e300, spacing = -5 }, (choose("punch", function()
      return { rounds = 1e300, spacing = -5 }
    end)))
  end)

  it("changes to its arguments: nobody else sees them", function()
    local list = { { remote = "9.9.9.9:9" } }
    choose("order", function(_, given)
      given[1].remote = nil
      error("after the damage")
    end, list)
    assert.equal("9.9.9.9:9", list[1].remote)
  end)
end)
