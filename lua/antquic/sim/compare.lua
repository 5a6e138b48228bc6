-- Two policies over the same pairs with the same seeds, side by side, and which of
-- the differences are more than chance.
--
-- SPDX-License-Identifier: MIT

local statistics = require("antquic.sim.statistics")

local compare = {}

---@class antquic.sim.Difference
---@field a string
---@field b string
---@field what "direct"|"time"|"packets"
---@field left number the share that connected, or a median
---@field right number
---@field more boolean whether the right one has more of it, or takes longer
---@field p number how probable such a difference is by chance alone
---@field real boolean more than chance, all the differences looked at together

local WHAT = { "direct", "time", "packets" }

local function mean(list)
  local sum = 0
  for _, value in ipairs(list) do
    sum = sum + value
  end
  return sum / #list
end

local function difference(what, one, other)
  local out = { a = one.a, b = one.b, what = what }
  if what == "direct" then
    out.left, out.right = one.direct / one.trials, other.direct / other.trials
    out.more = out.right > out.left
    out.p = statistics.fisher(one.direct, one.trials, other.direct, other.trials)
  else
    local list = what == "time" and "times" or "sent"
    out.left = statistics.quantile(one[list], 0.5)
    out.right = statistics.quantile(other[list], 0.5)
    if not out.left or not out.right then
      return nil
    end
    out.more = mean(other[list]) > mean(one[list])
    out.p = statistics.ranks(one[list], other[list])
  end
  return out
end

--- Compares rows of one run with those of another, pair by pair.
---@param left table[] rows of sim.report
---@param right table[] the same pairs in the same order
---@return antquic.sim.Difference[]
function compare.rows(left, right)
  local list, ps = {}, {}
  for i, one in ipairs(left) do
    for _, what in ipairs(WHAT) do
      local found = difference(what, one, right[i])
      if found then
        list[#list + 1] = found
        ps[#ps + 1] = found.p
      end
    end
  end
  for i, real in ipairs(statistics.holm(ps)) do
    list[i].real = real
  end
  return list
end

local FORMAT = "%-14s %-14s %s %9s %9s  %8s %8s  %8s %8s  %s"

--- The two lines above the table.
---@param left string name of the policy
---@param right string
---@return string
function compare.head(left, right)
  local function cut(name, width)
    return #name > width and name:sub(1, width - 1) .. "." or name
  end
  local names = FORMAT:format(
    "",
    "",
    " ",
    cut(left, 9),
    cut(right, 9),
    cut(left, 8),
    cut(right, 8),
    cut(left, 8),
    cut(right, 8),
    ""
  )
  local whats = FORMAT:format(
    "initiator",
    "target",
    " ",
    "direct",
    "direct",
    "p50 ms",
    "p50 ms",
    "packets",
    "packets",
    "beyond chance"
  )
  return names:gsub("%s+$", "") .. "\n" .. whats
end

local MORE = { direct = "more often", time = "slower", packets = "more packets" }
local LESS = { direct = "less often", time = "faster", packets = "fewer packets" }

--- A pair in both runs.
---@param one table row
---@param other table row
---@param differences antquic.sim.Difference[] of all pairs
---@return string
function compare.line(one, other, differences)
  local real = {}
  for _, d in ipairs(differences) do
    if d.real and d.a == one.a and d.b == one.b then
      real[#real + 1] = ("%s (p %.2g)"):format((d.more and MORE or LESS)[d.what], d.p)
    end
  end
  local function number(format, value)
    return value and format:format(value) or "-"
  end
  local text = FORMAT:format(
    one.a,
    one.b,
    one.expected,
    ("%d/%d"):format(one.direct, one.trials),
    ("%d/%d"):format(other.direct, other.trials),
    number("%.1f", one.p50_ms),
    number("%.1f", other.p50_ms),
    number("%d", one.packets),
    number("%d", other.packets),
    table.concat(real, ", ")
  )
  return (text:gsub("%s+$", ""))
end

return compare
