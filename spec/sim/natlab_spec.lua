-- SPDX-License-Identifier: MIT
--
-- The simulator against what was measured behind real kernels' NATs:
-- spec/natlab/measured.json is what `./bootstrap.sh natlab --pairs all --trials 20
-- --json all.json` counted (spec/natlab/table.lua --measured all.json).

local json = require("antquic.json")
local matrix = require("antquic.sim.matrix")
local statistics = require("antquic.sim.statistics")

local function measured()
  local f = assert(io.open("spec/natlab/measured.json"))
  local text = f:read("a")
  f:close()
  return json.decode(text).pairs
end

describe("the simulator and the NAT lab", function()
  local lab = measured()

  local agree = os.getenv("ANTQUIC_SAMPLE") and pending or it
  agree("agree on every pair within the intervals", function()
    local list = {}
    for i, row in ipairs(lab) do
      list[i] = { row.a, row.b }
    end
    assert.equal(225, #list)
    local rows = matrix.run({ pairs = list, trials = 20, seed = 500 })
    for i, row in ipairs(rows) do
      local low, high = statistics.wilson(lab[i].direct, lab[i].trials)
      assert.is_true(
        row.wilson_low <= high and row.wilson_high >= low,
        ("%s:%s: %d of %d in the lab, %d of %d here"):format(
          row.a,
          row.b,
          lab[i].direct,
          lab[i].trials,
          row.direct,
          row.trials
        )
      )
    end
  end)
end)
