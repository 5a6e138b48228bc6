-- SPDX-License-Identifier: MIT

local statistics = require("antquic.sim.statistics")

local function near(expected, got, tolerance)
  assert.is_true(
    math.abs(expected - got) < (tolerance or 1e-4),
    ("%.6f instead of %.6f"):format(got, expected)
  )
end

describe("statistics of trials", function()
  it("takes quantiles by the nearest rank", function()
    local list = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }
    assert.equal(5, statistics.quantile(list, 0.5))
    assert.equal(10, statistics.quantile(list, 0.95))
    assert.equal(1, statistics.quantile(list, 0))
    assert.is_nil(statistics.quantile({}, 0.5))
  end)

  -- Brown, Cai and DasGupta 2001 give the formula; the numbers are R's
  -- binom.confint(k, n, methods = "wilson").
  it("knows Wilson's interval", function()
    local cases = {
      { 20, 20, 0.838875, 1 },
      { 0, 20, 0, 0.161125 },
      { 19, 20, 0.763869, 0.991119 },
      { 50, 100, 0.403832, 0.596168 },
    }
    for _, c in ipairs(cases) do
      local low, high = statistics.wilson(c[1], c[2])
      near(c[3], low)
      near(c[4], high)
    end
    assert.same({ 0, 1 }, { statistics.wilson(0, 0) })
  end)

  -- Exact sums of binomial coefficients.
  it("knows Fisher's exact test", function()
    near(0.005477, statistics.fisher(8, 10, 1, 10))
    near(0.024842, statistics.fisher(15, 20, 7, 20))
    near(1, statistics.fisher(20, 20, 20, 20))
    near(1, statistics.fisher(0, 20, 0, 20))
    assert.is_true(statistics.fisher(20, 20, 0, 20) < 1e-10)
    near(statistics.fisher(3, 10, 8, 12), statistics.fisher(8, 12, 3, 10), 1e-12)
  end)

  -- R: wilcox.test(x, y, exact = FALSE)$p.value
  it("knows the rank test of Mann and Whitney", function()
    near(0.012186, statistics.ranks({ 1, 2, 3, 4, 5 }, { 6, 7, 8, 9, 10 }))
    near(1, statistics.ranks({ 5, 5, 5 }, { 5, 5, 5 }))
    near(1, statistics.ranks({}, { 1 }))
    local xs, ys = {}, {}
    for i = 1, 50 do
      xs[i], ys[i] = i, i + 0.5
    end
    assert.is_true(statistics.ranks(xs, ys) > 0.5)
    for i = 1, 50 do
      ys[i] = i + 30
    end
    assert.is_true(statistics.ranks(xs, ys) < 1e-6)
  end)

  it("corrects for many looks (Holm)", function()
    assert.same({ true, true, false }, statistics.holm({ 0.001, 0.02, 0.06 }))
    -- Alone 0.03 would do; among four it doesn't.
    assert.same({ false, false, false, false }, statistics.holm({ 0.03, 0.03, 0.03, 0.03 }))
    assert.same({ false, true }, statistics.holm({ 0.06, 0.01 }))
    assert.same({}, statistics.holm({}))
  end)
end)
