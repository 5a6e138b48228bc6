-- What trials say, and what they don't: quantiles, Wilson's interval, and two
-- tests of whether a difference is more than chance.
--
-- SPDX-License-Identifier: MIT

local statistics = {}

-- The 97.5 % point of the normal distribution.
local Z = 1.959964

--- The p-quantile of a sorted list, by the nearest rank; nil of an empty one.
---@param sorted number[]
---@param p number 0..1
---@return number?
function statistics.quantile(sorted, p)
  if #sorted == 0 then
    return nil
  end
  return sorted[math.max(1, math.ceil(p * #sorted))]
end

--- Wilson's 95 % interval for |k| successes of |n|.
---@param k integer
---@param n integer
---@return number low
---@return number high
function statistics.wilson(k, n)
  if n == 0 then
    return 0, 1
  end
  local p, z2 = k / n, Z * Z
  local centre = p + z2 / (2 * n)
  local spread = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
  local divisor = 1 + z2 / n
  return math.max(0, (centre - spread) / divisor), math.min(1, (centre + spread) / divisor)
end

-- ln n!, remembered.
local log_factorials = { [0] = 0 }
local function log_factorial(n)
  for i = #log_factorials + 1, n do
    log_factorials[i] = log_factorials[i - 1] + math.log(i)
  end
  return log_factorials[n]
end

--- Fisher's exact test, two-sided: how probable a difference like that between
--- |a| successes of |n| and |b| of |m| is if there is none.
---@return number p 0..1
function statistics.fisher(a, n, b, m)
  local total, hits = n + m, a + b
  local fixed = log_factorial(n)
    + log_factorial(m)
    + log_factorial(hits)
    + log_factorial(total - hits)
    - log_factorial(total)
  local function log_probability(k)
    return fixed
      - log_factorial(k)
      - log_factorial(n - k)
      - log_factorial(hits - k)
      - log_factorial(m - hits + k)
  end
  local seen, sum = log_probability(a) + 1e-7, 0
  for k = math.max(0, hits - m), math.min(n, hits) do
    local log_p = log_probability(k)
    if log_p <= seen then
      sum = sum + math.exp(log_p)
    end
  end
  return math.min(1, sum)
end

-- The normal distribution beyond |z| on both sides (Abramowitz and Stegun
-- 7.1.26; the error is under 2e-7).
local function beyond(z)
  local x = math.abs(z) / math.sqrt(2)
  local t = 1 / (1 + 0.3275911 * x)
  local poly = t
    * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
  return poly * math.exp(-x * x)
end

--- The rank test of Mann and Whitney, two-sided, with ties and the normal
--- approximation: how probable it is that two lists of numbers as different as
--- these come from one source. 1 where there is too little to tell.
---@param xs number[]
---@param ys number[]
---@return number p 0..1
function statistics.ranks(xs, ys)
  local n, m = #xs, #ys
  if n == 0 or m == 0 then
    return 1
  end
  local all = {}
  for _, x in ipairs(xs) do
    all[#all + 1] = { x, 1 }
  end
  for _, y in ipairs(ys) do
    all[#all + 1] = { y, 0 }
  end
  table.sort(all, function(a, b)
    return a[1] < b[1]
  end)
  local sum, ties, i = 0, 0, 1
  while i <= #all do
    local j, mine = i, 0
    while all[j] and all[j][1] == all[i][1] do
      mine = mine + all[j][2]
      j = j + 1
    end
    sum = sum + mine * (i + j - 1) / 2
    local same = j - i
    ties = ties + same ^ 3 - same
    i = j
  end
  local total = n + m
  local variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
  if variance <= 0 then
    return 1
  end
  local distance = math.abs(sum - n * (total + 1) / 2) - 0.5
  return beyond(math.max(0, distance) / math.sqrt(variance))
end

--- Holm's correction: which of many p-values stay below 0.05 when all of them
--- are looked at together.
---@param list number[]
---@return boolean[]
function statistics.holm(list)
  local order, out = {}, {}
  for i = 1, #list do
    order[i], out[i] = i, false
  end
  table.sort(order, function(a, b)
    if list[a] ~= list[b] then
      return list[a] < list[b]
    end
    return a < b
  end)
  for rank, i in ipairs(order) do
    if list[i] > 0.05 / (#list - rank + 1) then
      break
    end
    out[i] = true
  end
  return out
end

return statistics
