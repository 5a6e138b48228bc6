-- SPDX-License-Identifier: MIT
--
-- Every ordered pair of types: those that RFC 4787 calls punchable connect, each
-- time and within the bound; those whose ports can be guessed, mostly; the rest
-- fails, soon and with a reason.

local matrix = require("antquic.sim.matrix")
local pairing = require("antquic.sim.pairs")
local report = require("antquic.sim.report")

-- One way from site to site, seconds, and what may come on top: between the opener
-- and the probe.
local DELAY, OPENING = 0.025, 0.005

-- Where each attempt takes long (spec/helper.lua).
local SAMPLE = os.getenv("ANTQUIC_SAMPLE") ~= nil

describe("in the simulator", function()
  local rows = matrix.run({
    pairs = SAMPLE and "quick" or "all",
    trials = SAMPLE and 1 or 2,
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
        local first = pairing.first_packet_arrives(row.a, row.b)
        local bound = (first and 4 or 5) * DELAY + OPENING
        assert.is_true(row.p95_ms <= bound * 1e3 + 0.001, report.line(row))
      end
    end
    assert.equal(SAMPLE and 8 or 121, seen)
  end)

  it("nearly every pair connects whose ports can be guessed, within 3 s", function()
    local tried, direct = 0, 0
    for _, row in ipairs(rows) do
      if row.expected == "P" then
        assert.equal(row.trials, row.direct, report.line(row))
      end
      if row.expected == "P" or row.expected == "B" then
        tried, direct = tried + row.trials, direct + row.direct
        assert.is_true(not row.p50_ms or row.p50_ms < 3000, report.line(row))
      end
    end
    assert.equal(SAMPLE and 0 or 100, tried)
    assert.is_true(direct >= 0.9 * tried, ("%d of %d"):format(direct, tried))
  end)

  it("what can't be punched fails within 12 s and says why", function()
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

describe("peers that stay registered", function()
  local function row_of(trials, again)
    return matrix.run({
      pairs = { { "port_restr", "linux" } },
      trials = trials,
      again = again,
      link = { delay = DELAY / 2 },
    })[1]
  end

  it("connect again as fresh ones do", function()
    local fresh, standing = row_of(20, 1), row_of(2, 10)
    assert.equal(20, standing.trials)
    assert.equal(20, standing.direct, report.line(standing))
    assert.near(fresh.p50_ms, standing.p50_ms, 1e-6)
    assert.near(fresh.p95_ms, standing.p95_ms, 1e-6)
    -- Fresh ones still tell the coordinators of their NATs.
    assert.is_true(standing.packets <= fresh.packets)
    assert.same(row_of(1, 5), row_of(1, 5))
  end)

  it("meet NATs that have forgotten the last time", function()
    local trial = require("antquic.sim.trial")
    local setup = { a = "port_restr", b = "linux", seed = 1, again = 3, timeout = 10, trace = true }
    local results, sim = trial.world(setup)
    assert.equal(3, #results)
    -- The first attempt of a world is the one that is alone in it.
    setup.again, setup.trace = 1, nil
    assert.same(results[1], trial.run(setup))
    local _, openers = sim:trace():gsub("a sends an opener to b.nat [^\n]*the TTL is used up", "")
    sim:close()
    assert.equal(3, openers)
  end)
end)

describe("on lossy links", function()
  -- One retry is a round trip and 33 ms; of seven datagrams in a row, each lost one
  -- time in ten, more than one now and then is.
  it("cones connect all the same, and a retry later mostly", function()
    local row = matrix.run({
      pairs = "port_restr:full_cone",
      trials = SAMPLE and 20 or 100,
      link = { delay = DELAY / 2, loss = 0.0513 },
    })[1]
    assert.equal(row.trials, row.direct, report.line(row))
    assert.is_true(row.p50_ms <= 4 * DELAY * 1e3 + 5 + 2 * DELAY * 1e3 + 33, report.line(row))
  end)

  -- The nine of the ladder, on either side; the last two are past what can be used.
  local down = SAMPLE and pending or it
  down("connects, down the ladder, as long as anything gets through", function()
    local links = require("antquic.sim.links")
    for i, name in ipairs(links.ladder) do
      local link = links.by_name[name]
      for _, side in ipairs({ "link_a", "link_b" }) do
        local row = matrix.run({
          pairs = "port_restr:linux",
          trials = 20,
          timeout = 20 + 10 * i,
          [side] = link,
        })[1]
        local least = i <= 4 and 20 or i <= 7 and 18 or 10
        assert.is_true(row.direct >= least, name .. ", " .. side .. ": " .. report.line(row))
      end
    end
  end)
end)
