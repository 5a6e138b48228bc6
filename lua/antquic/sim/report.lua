-- From the results of trials to rows, and from rows to text and JSON. The JSON is
-- that of the NAT lab, so that the two can be laid side by side.
--
-- SPDX-License-Identifier: MIT

local json = require("antquic.json")
local pairing = require("antquic.sim.pairs")
local statistics = require("antquic.sim.statistics")

local report = {}

---@class antquic.sim.Result one attempt
---@field ok boolean
---@field ms number from connect() to its return
---@field packets integer datagrams of the one who dials, from connect() on
---@field packets_target integer the same of the other one
---@field rtt_ms number between the two, by their links
---@field seed integer
---@field code string? of a failure
---@field error string? its message

---@class antquic.sim.Row what happened in the trials of a pair
---@field a string type of NAT of the one who dials
---@field b string
---@field expected "Y"|"B"|"P"|"p"|"r"|"-"|" " by RFC 4787
---@field trials integer
---@field direct integer how many connected
---@field times number[] milliseconds of those, sorted
---@field sent integer[] datagrams of the one who dials, of those, sorted
---@field p50_ms number?
---@field p95_ms number?
---@field rtt_ms number?
---@field rtts number? the median time in round trips
---@field packets integer? median
---@field packets_target integer?
---@field fail_max_ms number?
---@field wilson_low number
---@field wilson_high number
---@field failures table<string, integer> by code
---@field examples table<string, string> a message for each code
---@field failed_seeds integer[]

-- The values of |field| of the results that went well, or of the others, sorted.
local function sorted(results, field, ok)
  local list = {}
  for _, result in ipairs(results) do
    if result.ok == ok and result[field] then
      list[#list + 1] = result[field]
    end
  end
  table.sort(list)
  return setmetatable(list, json.list)
end

-- So many seeds of failures are kept in a row.
local MAX_SEEDS = 10

--- What happened in the trials of a pair.
---@param a string type of NAT of the one who dials
---@param b string
---@param results antquic.sim.Result[]
---@param unmarked boolean? a and b need not be types
---@return antquic.sim.Row
function report.row(a, b, results, unmarked)
  local times = sorted(results, "ms", true)
  local failed = sorted(results, "ms", false)
  local row = {
    a = a,
    b = b,
    expected = unmarked and " " or pairing.mark(a, b),
    trials = #results,
    direct = #times,
    times = times,
    sent = sorted(results, "packets", true),
    p50_ms = statistics.quantile(times, 0.5),
    p95_ms = statistics.quantile(times, 0.95),
    rtt_ms = results[1] and results[1].rtt_ms,
    fail_max_ms = failed[#failed],
    packets_target = statistics.quantile(sorted(results, "packets_target", true), 0.5),
    failures = {},
    examples = {},
    failed_seeds = setmetatable({}, json.list),
  }
  row.packets = statistics.quantile(row.sent, 0.5)
  row.wilson_low, row.wilson_high = statistics.wilson(#times, #results)
  if row.rtt_ms and row.rtt_ms > 0 and row.p50_ms then
    row.rtts = row.p50_ms / row.rtt_ms
  end
  for _, result in ipairs(results) do
    if not result.ok then
      local code = result.code or "INTERNAL"
      row.failures[code] = (row.failures[code] or 0) + 1
      row.examples[code] = row.examples[code] or result.error
      local seeds = row.failed_seeds
      if #seeds < MAX_SEEDS and seeds[#seeds] ~= result.seed then
        seeds[#seeds + 1] = result.seed
      end
    end
  end
  return row
end

local FORMAT = "%-14s %-14s %s %9s  %-13s %8s %8s %6s %9s  %s"

--- The line above the table.
report.head = FORMAT:format(
  "initiator",
  "target",
  " ",
  "direct",
  "95 % interval",
  "p50 ms",
  "p95 ms",
  "RTTs",
  "packets",
  ""
):gsub("%s+$", "")

local function number(format, value)
  return value and format:format(value) or "-"
end

local function percent(row)
  return ("%3.0f to %3.0f %%"):format(row.wilson_low * 100, row.wilson_high * 100)
end

local function packets(row)
  if not row.packets then
    return "-"
  end
  return ("%d + %d"):format(row.packets, row.packets_target)
end

-- "PUNCHING_FAILED 20, within 9.8 s"
local function failures(row)
  local codes = {}
  for code, count in pairs(row.failures) do
    codes[#codes + 1] = ("%s %d"):format(code, count)
  end
  table.sort(codes)
  if row.fail_max_ms then
    codes[#codes + 1] = ("within %.1f s"):format(row.fail_max_ms / 1e3)
  end
  -- Where luck decided, the seed that shows it again.
  if row.direct > 0 and row.failed_seeds[1] then
    codes[#codes + 1] = ("seed %d"):format(row.failed_seeds[1])
  end
  return table.concat(codes, ", ")
end

--- A row for people.
---@param row table
---@return string
function report.line(row)
  local text = FORMAT:format(
    row.a,
    row.b,
    row.expected,
    ("%d/%d"):format(row.direct, row.trials),
    percent(row),
    number("%.1f", row.p50_ms),
    number("%.1f", row.p95_ms),
    number("%.2f", row.rtts),
    packets(row),
    failures(row)
  )
  return (text:gsub("%s+$", ""))
end

--- What all rows say together: attempts, direct, how many of the pairs that must
--- connect did each time, the median time.
---@param rows table[]
---@return table
function report.summary(rows)
  local out = { pairs = #rows, attempts = 0, direct = 0, must = 0, kept = 0, strangers = 0 }
  local times = {}
  for _, row in ipairs(rows) do
    out.attempts = out.attempts + row.trials
    out.direct = out.direct + row.direct
    if row.expected == "Y" then
      out.must = out.must + 1
      out.kept = out.kept + (row.direct == row.trials and 1 or 0)
    elseif row.expected == "-" then
      out.strangers = out.strangers + row.direct
    end
    for _, ms in ipairs(row.times) do
      times[#times + 1] = ms
    end
  end
  table.sort(times)
  out.median_ms = statistics.quantile(times, 0.5)
  out.p95_ms = statistics.quantile(times, 0.95)
  return out
end

--- The text of {"pairs": [...]}, a line each.
---@param rows table[]
---@return string
function report.text(rows)
  local parts = {}
  for i, row in ipairs(rows) do
    parts[i] = "  " .. json.encode(row)
  end
  return '{"pairs": [\n' .. table.concat(parts, ",\n") .. "\n]}\n"
end

return report
