-- SPDX-License-Identifier: MIT
--
-- Attempts that failed once, over links that lose in bursts: what must connect
-- still does. The seed is that of `antquic sim --trace --pairs A:B --link LINK`.

local links = require("antquic.sim.links")
local trial = require("antquic.sim.trial")

local function attempt(case)
  local a, b, rung, seed, side = table.unpack(case)
  local link = links.by_name[links.ladder[rung + 1]]
  return trial.run({
    a = a,
    b = b,
    seed = seed,
    timeout = 20 + 10 * rung,
    link = side == "all" and link or nil, -- the coordinators' as well
    link_a = side ~= "b" and link or nil,
    link_b = side ~= "a" and link or nil,
  })
end

-- What comes late spoils such a NAT for strangers: the offer goes out twice.
describe("a lost datagram in ten", function()
  it("does not spoil a router that answers strangers", function()
    for _, policy in ipairs({ "balanced", "patient" }) do
      local results = trial.series({
        a = "linux_open",
        b = "linux_open",
        seed = 1,
        policy = require("antquic.policy." .. policy),
        link = { delay = 0.0125, loss = 0.0513 },
        timeout = 10,
      }, 200)
      local slow = 0
      for _, r in ipairs(results) do
        assert.is_true(r.ok, ("%s, seed %d: %s"):format(policy, r.seed, tostring(r.error)))
        slow = slow + (r.ms > 1000 and 1 or 0)
      end
      assert.is_true(slow <= 6, policy .. ": " .. slow)
    end
  end)
end)

local function connects(cases)
  for _, case in ipairs(cases) do
    local r = attempt(case)
    local what = table.concat(case, " ")
    assert.is_true(r.ok, ("%s: %s (%s)"):format(what, tostring(r.error), tostring(r.code)))
  end
end

describe("a link that loses in bursts", function()
  it("leaves no connection that one side alone has", function()
    connects({
      { "port_restr", "linux", 4, 3, "a" },
      { "none", "none", 4, 3 },
      { "none", "adm_apdf", 4, 3 },
      { "none", "linux", 5, 3 },
      { "fw_only", "none", 5, 3 },
    })
  end)

  it("is far, and a punch waits for the answer", function()
    connects({
      { "adm_apdf", "sym_eif", 5, 1 },
      { "adm_apdf", "none", 5, 3 },
      { "adm_apdf", "sym_eif", 6, 1 },
      { "adm_apdf", "none", 6, 10, "all" },
    })
  end)

  it("is no reason to call a filter closed that isn't known", function()
    connects({
      { "sym_eif", "adm_apdf", 4, 3 },
      { "sym_eif", "adm_adf", 5, 5 },
      { "sym_eif", "adm_apdf", 4, 7 },
    })
  end)
end)

-- Its filter isn't known in time on such a link; but who was heard comes through.
describe("a symmetric NAT that lets everybody in", function()
  it("is not given up as if it let nobody in", function()
    connects({
      { "sym_eif", "adm_apdf", 5, 2354, "b" },
      { "sym_eif", "adm_apdf", 5, 9329, "a" },
      { "sym_eif", "adm_apdf", 5, 16754, "b" },
      { "sym_eif", "sym_rand", 4, 22270, "a" },
      { "sym_eif", "sym_rand", 4, 23395, "b" },
      { "sym_eif", "adm_apdf", 5, 27104, "b" },
      { "sym_eif", "adm_apdf", 5, 29804, "b" },
    })
  end)
end)
