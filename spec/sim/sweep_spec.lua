-- SPDX-License-Identifier: MIT

local sweep = require("spec.sim.sweep")

describe("a sweep over pairs and links", function()
  it("meets nothing that never may happen", function()
    local complaints, results = sweep(os.getenv("ANTQUIC_SAMPLE") and 30 or 450, 1)
    assert.same({}, complaints)
    assert.equal(9, #results)
  end)
end)
