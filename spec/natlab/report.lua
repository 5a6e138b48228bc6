-- report.lua - from the results of trials to numbers, and from numbers to a verdict.
--
-- SPDX-License-Identifier: MIT

local json = require "antquic.json"
local matrix = require "matrix"
local statistics = require "antquic.sim.statistics"

local report = {}

local function sorted_values(results, field, ok)
  local list = {}
  for _, result in ipairs(results) do
    if result.ok == ok and tonumber(result[field]) then
      list[#list + 1] = result[field]
    end
  end
  table.sort(list)
  return list
end

--- What takes longer than this does not count where guessing is needed.
report.IN_TIME_MS = 3000

--- One row: what happened in the trials of a pair.
function report.row(a, b, results)
  local ms = sorted_values(results, "ms", true)
  local row = {
    a = a,
    b = b,
    expected = matrix.mark(a, b),
    trials = #results,
    direct = #ms,
    times = setmetatable(ms, json.list),
    p50_ms = statistics.quantile(ms, 0.5),
    p95_ms = statistics.quantile(ms, 0.95),
    rtt_ms = results.rtt_ms,
    packets = statistics.quantile(sorted_values(results, "packets", true), 0.5),
    fail_max_ms = sorted_values(results, "total_ms", false)[#results - #ms],
    guesses = statistics.quantile(sorted_values(results, "guesses", true), 1),
    in_time = 0,
    failures = {},
    examples = {},
  }
  for _, took in ipairs(ms) do
    row.in_time = row.in_time + (took <= report.IN_TIME_MS and 1 or 0)
  end
  row.wilson_low, row.wilson_high = statistics.wilson(#ms, #results)
  if results.rtt_ms and #ms > 0 then
    row.rtts = row.p50_ms / results.rtt_ms
  end
  for _, result in ipairs(results) do
    if not result.ok then
      row.failures[result.code] = (row.failures[result.code] or 0) + 1
      row.examples[result.code] = row.examples[result.code] or result.error
    end
  end
  return row
end

local SLOWEST_REFUSAL_MS = 5000
local MOST_GUESSES = 1024
local MOSTLY, ENOUGH = 0.95, 100
local GRACE_MS = 15

--- What is wrong with a row: a list of sentences, empty when all is as it must be.
function report.complaints(row)
  local list = {}
  local function add(format, ...)
    list[#list + 1] = ("%s:%s "):format(row.a, row.b) .. format:format(...)
  end
  local blocked = row.a == "udp_blocked" or row.b == "udp_blocked"
  if row.failed_to_run then
    add("could not be tried: ")
    return list
  elseif matrix.must(row.a, row.b) and row.direct < row.trials then
    add("must connect, %d of %d did", row.direct, row.trials)
    for code, text in pairs(row.examples) do
      add("%s: %s", code, text)
    end
    return list
  elseif matrix.must_mostly(row.a, row.b) then
    -- A few attempts say only so much: they must not contradict it.
    local _, high = statistics.wilson(row.in_time, row.trials)
    if (row.trials < ENOUGH and high or row.in_time / row.trials) < MOSTLY then
      add("%d of %d connected within %.0f s", row.in_time, row.trials, report.IN_TIME_MS / 1e3)
      for code, text in pairs(row.examples) do
        add("%s: %s", code, text)
      end
    end
    if row.guesses and row.guesses > MOST_GUESSES then
      add("%d guesses", row.guesses)
    end
  elseif matrix.must_not(row.a, row.b) and row.direct > 0 then
    add("is not punchable, yet %d of %d claim success", row.direct, row.trials)
  end
  for _, code in ipairs { "CRASH", "WRONG_PATH", "WRONG_PEER" } do
    if row.failures[code] then
      add("%s: %s", code, row.examples[code])
    end
  end
  if (blocked or matrix.must_not(row.a, row.b)) and row.direct < row.trials then
    if not row.fail_max_ms or row.fail_max_ms >= SLOWEST_REFUSAL_MS then
      add("took %s ms to fail, at most %d are allowed", row.fail_max_ms, SLOWEST_REFUSAL_MS)
    end
    if row.failures.TIMEOUT or row.failures["nil"] then
      add("fails without saying why: %s", tostring(row.examples.TIMEOUT or row.examples["nil"]))
    end
  end
  if row.rtts and matrix.must(row.a, row.b) then
    -- to the coordinator and back, to the peer and back; and a way from the target to here
    -- before that, where only a packet of the target can be the first to arrive
    local way = matrix.first_packet_arrives(row.a, row.b) and 2 or 2.5
    local bound = way * row.rtt_ms + GRACE_MS
    if row.p50_ms > bound then
      add("median %.1f ms, at most %.1f are allowed", row.p50_ms, bound)
    end
  end
  return list
end

local function number(value, format)
  return value and format:format(value) or "-"
end

report.head = ("%-14s %-14s %s %7s %8s %8s %6s %7s %7s"):format(
  "initiator",
  "target",
  " ",
  "direct",
  "p50 ms",
  "p95 ms",
  "RTTs",
  "packets",
  "guesses"
)

--- A row for people.
function report.line(row)
  local codes = {}
  for code, count in pairs(row.failures) do
    codes[#codes + 1] = ("%s %d"):format(code, count)
  end
  table.sort(codes)
  if row.failed_to_run then
    codes[1] = "could not be tried"
  end
  if #codes > 0 and row.fail_max_ms then
    codes[#codes + 1] = ("within %.1f s"):format(row.fail_max_ms / 1e3)
  end
  local text = ("%-14s %-14s %s %3d/%-3d %8s %8s %6s %7s %7s  %s"):format(
    row.a,
    row.b,
    row.expected,
    row.direct,
    row.trials,
    number(row.p50_ms, "%.1f"),
    number(row.p95_ms, "%.1f"),
    number(row.rtts, "%.2f"),
    number(row.packets, "%.0f"),
    row.guesses == 0 and "-" or number(row.guesses, "%.0f"),
    table.concat(codes, ", ")
  )
  return (text:gsub("%s+$", ""))
end

--- The median time of all attempts that connected, and of how many.
function report.median(rows)
  local list = {}
  for _, row in ipairs(rows) do
    table.move(row.times, 1, #row.times, #list + 1, list)
  end
  table.sort(list)
  return statistics.quantile(list, 0.5), #list
end

return report
