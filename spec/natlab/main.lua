-- main.lua - the NAT lab: real peers, each behind a NAT of its own in network namespaces,
-- find each other by peer id. See README.md.
--
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path

local USAGE = [[
usage: main.lua [--pairs quick|all|a:b,c:d...] [--trials N] [--delay MS] [--json FILE]
                [--jobs N] [--timeout SECONDS] [--background N] [--verbose]
       main.lua --selftest [--trials N]
       main.lua --profiles
       main.lua --scenario NAME|all
       main.lua --list

  --pairs     which pairs, initiator first (default: quick)
  --trials    attempts for each pair (default: 3)
  --delay     milliseconds that every packet takes from site to site
  --json      writes the results to a file
  --jobs      pairs that must connect, tried at the same time (default: 2);
              pairs that must fail mostly wait, so 16 times as many run at once
  --timeout   seconds for one attempt (default: 10)
  --background  flows that others open every 20 ms behind the sequential NAT of a P pair
              (default: 8)
  --verbose   a line for each attempt
  --selftest  classifies every type, then punches through every pair without antquic
  --profiles  what `antquic netcheck` says behind every type, compared
  --scenario  things that happen to connections: see --list
]]

local function die(...)
  io.stderr:write("natlab: ", (...):format(select(2, ...)), "\n")
  os.exit(2)
end

local function parse()
  local options = { pairs = "quick", jobs = 2, timeout = 10, delay = 0, background = 8 }
  local numbers = { trials = true, jobs = true, timeout = true, delay = true, background = true }
  local flags = { selftest = true, profiles = true, list = true, verbose = true, help = true }
  local texts = { pairs = true, json = true, scenario = true }
  local i = 1
  while arg[i] do
    local name = arg[i]:match "^%-%-(%a+)$"
    if flags[name] then
      options[name] = true
    elseif numbers[name] or texts[name] then
      i = i + 1
      options[name] = arg[i] or die("--%s needs a value", name)
      if numbers[name] then
        local value = tonumber(arg[i])
        if not value or value < 0 then
          die("--%s needs a number, got '%s'", name, arg[i])
        end
        options[name] = value
      end
    else
      io.stderr:write(USAGE)
      die("unknown option '%s'", arg[i])
    end
    i = i + 1
  end
  return options
end

local options = parse()
if options.help then
  io.write(USAGE)
  os.exit(0)
end
io.stdout:setvbuf "line"

local output = require "antquic.cli.output"
local simulated = require "antquic.sim.report"

local Agent = require "agent"
local matrix = require "matrix"
local profiles = require "profiles"
local report = require "report"
local scenarios = require "scenarios"
local selftest = require "selftest"
local trial = require "trial"
local types = require "types"

if options.list then
  print("types:     " .. table.concat(types.matrix, " "))
  print("beyond:    " .. table.concat(types.extra, " "))
  print("scenarios: " .. table.concat(scenarios.names(), " "))
  os.exit(0)
end

local function verbose(a, b, n, result)
  print(
    ("  %s:%s %d: %s"):format(
      a,
      b,
      n,
      result.ok and ("direct to %s in %.1f ms"):format(result.path.remote, result.ms)
        or ("%s: %s"):format(tostring(result.code), tostring(result.error))
    )
  )
end

local function try(agent, a, b)
  local settings = {
    trials = options.trials or 3,
    timeout = options.timeout,
    delay = options.delay,
    background = matrix.mark(a, b) == "P" and options.background,
    on_result = options.verbose and function(n, result)
      verbose(a, b, n, result)
    end,
  }
  local results, why = trial.pair(agent, a, b, settings)
  local row = report.row(a, b, results or {})
  row.failed_to_run = why
  print(report.line(row))
  return row
end

-- The pairs that must connect come first and few at a time, since their time is measured.
local function run_pairs(agent, list)
  local busy, idle, rows = {}, {}, {}
  for index, pair in ipairs(list) do
    local works = not matrix.must_not(pair[1], pair[2])
    table.insert(works and busy or idle, { index, pair[1], pair[2] })
  end
  print(report.head)
  for _, phase in ipairs { { busy, options.jobs }, { idle, options.jobs * 16 } } do
    local queue, jobs = phase[1], {}
    for i = 1, math.max(1, math.floor(phase[2])) do
      jobs[i] = function()
        while #queue > 0 do
          local entry = table.remove(queue, 1)
          rows[entry[1]] = try(agent, entry[2], entry[3])
        end
      end
    end
    agent:all(jobs)
  end
  return rows
end

local function judge(rows)
  local complaints, trials, direct, said = {}, 0, 0, {}
  for _, row in ipairs(rows) do
    trials, direct = trials + row.trials, direct + row.direct
    for _, text in ipairs(report.complaints(row)) do
      complaints[#complaints + 1] = text
    end
    if row.failed_to_run and not said[row.failed_to_run] then
      said[row.failed_to_run] = true
      complaints[#complaints] = complaints[#complaints] .. row.failed_to_run
    end
  end
  local median, count = report.median(rows)
  print(("%d pairs, %d attempts, %d direct"):format(#rows, trials, direct))
  if count > 0 then
    print(("median time to a connection: %.1f ms"):format(median))
  end
  for _, text in ipairs(complaints) do
    print("FAIL " .. text)
  end
  print(#complaints == 0 and "all as it must be" or ("%d complaints"):format(#complaints))
  return #complaints == 0
end

local list
if not (options.selftest or options.profiles or options.scenario) then
  local why
  list, why = matrix.parse(options.pairs)
  if not list then
    die("%s", why)
  end
end

local agent = Agent.start()
local good = false
agent:main(function()
  local ok, why = agent:ask "ns"
  if not ok then
    die("cannot make network namespaces (%s): run as root, or under 'unshare -rn'", why)
  end
  local started = agent:now()
  if options.selftest then
    good = selftest.run(agent, options.trials) == 0
  elseif options.profiles then
    good = profiles.run(agent)
  elseif options.scenario then
    good = scenarios.run(agent, options.scenario)
  else
    local rows = run_pairs(agent, list)
    good = judge(rows)
    if options.json then
      local written
      written, why = output.save(options.json, simulated.text(rows))
      if not written then
        die("%s", why)
      end
    end
  end
  print(("%.1f s"):format(agent:now() - started))
end)
agent:close()
os.exit(good)
