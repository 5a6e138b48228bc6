-- SPDX-License-Identifier: MIT
--
-- Every ordered pair of types: those that RFC 4787 calls punchable connect, each
-- time and within the bound; the rest fails, soon and with a reason.

local matrix = require("antquic.sim.matrix")
local pairing = require("antquic.sim.pairs")
local report = require("antquic.sim.report")

-- One way from site to site, seconds, and what may come on top.
local DELAY, GRACE = 0.025, 0.015

describe("in the simulator", function()
  local rows = matrix.run({
    pairs = "all",
    trials = 2,
    seed = 100,
    link = { delay = DELAY / 2 },
  })

  it("every punchable pair connects within the bound", function()
    local seen = 0
    for _, row in ipairs(rows) do
      if row.expected == "Y" then
        seen = seen + 1
        assert.equal(row.trials, row.direct, report.line(row))
        -- To the coordinator and back, to the peer and back; and a way from the
        -- target before that, where its packet has to come first.
        local ways = pairing.first_packet_arrives(row.a, row.b) and 4 or 5
        local bound = ways * DELAY + GRACE
        assert.is_true(row.p95_ms <= bound * 1e3, report.line(row))
      end
    end
    assert.equal(121, seen)
  end)

  it("what can't be punched fails within 10 s and says why", function()
    for _, row in ipairs(rows) do
      if row.expected == "-" then
        assert.equal(0, row.direct, report.line(row))
        assert.is_true(row.fail_max_ms < 11600, report.line(row))
        for code, text in pairs(row.examples) do
          assert.is_true(code ~= "TIMEOUT" and code ~= "INTERNAL", report.line(row))
          assert.is_true(#text > 40, text)
        end
      end
    end
  end)

  it("who has no UDP is told so within 5 s", function()
    for _, row in ipairs(rows) do
      if row.a == "udp_blocked" then
        assert.is_true(row.fail_max_ms < 5000, report.line(row))
        assert.matches("UDP blocked", (select(2, next(row.examples))))
      end
    end
  end)
end)
