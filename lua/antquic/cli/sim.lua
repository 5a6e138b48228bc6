-- antquic sim: scenarios and tables of NAT pairs in virtual time.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")
local compare = require("antquic.sim.compare")
local links = require("antquic.sim.links")
local matrix = require("antquic.sim.matrix")
local output = require("antquic.cli.output")
local pairing = require("antquic.sim.pairs")
local parse = require("antquic.cli.parse")
local plural = require("antquic.plural")
local policies = require("antquic.cli.policy")
local report = require("antquic.sim.report")
local trial = require("antquic.sim.trial")

-- Of two independent losses in a row, each so that both together make |share|.
local function half_loss(share)
  return 1 - math.sqrt(1 - share)
end

-- What --delay and the others say, as the link of each host: a datagram from site
-- to site crosses two.
local function read_link(given)
  local figures = {}
  for _, f in ipairs({
    { "delay", 60000 },
    { "jitter", 60000 },
    { "loss", 100 },
    { "dup", 100 },
    { "reorder", 100 },
    { "rate", 1e9 },
  }) do
    local value, why = parse.number(given, f[1], 0, 0, f[2])
    if not value then
      return nil, why
    end
    figures[f[1]] = value
  end
  return {
    delay = figures.delay / 2e3,
    jitter = figures.jitter / 2e3,
    loss = half_loss(figures.loss / 100),
    dup = half_loss(figures.dup / 100),
    reorder = half_loss(figures.reorder / 100),
    rate = figures.rate > 0 and figures.rate * 1e3 or nil,
  }
end

-- The links to run with: each { name, link_a, link_b }.
local function read_conditions(given)
  local names = given.link or {}
  if names[1] == "ladder" then
    names = links.ladder
  end
  local side = given.side or "both"
  if side ~= "a" and side ~= "b" and side ~= "both" then
    return nil, "option '--side' is a, b or both"
  end
  local list = {}
  for _, name in ipairs(names) do
    local link = links.by_name[name]
    if not link then
      return nil,
        ("there is no link '%s'; there are ladder, %s"):format(
          name,
          table.concat(links.ladder, ", ")
        )
    end
    list[#list + 1] = { name, side ~= "b" and link or nil, side ~= "a" and link or nil }
  end
  if #list == 0 then
    list[1] = {}
  end
  return list
end

-- Everything that the command line says, or nil and what is wrong.
local function read(given)
  local o = {}
  local why
  o.pairs, why = pairing.parse(given.pairs or "quick")
  if not o.pairs then
    return nil, why
  end
  for _, f in ipairs({
    { "trials", 20, 1, 1e6 },
    { "again", 1, 1, 1e6 },
    { "seed", 1, 0, 2 ^ 52 },
    { "timeout", 10, 0.1, 3600 },
  }) do
    o[f[1]], why = parse.number(given, f[1], f[2], f[3], f[4])
    if not o[f[1]] then
      return nil, why
    elseif f[1] ~= "timeout" and o[f[1]] % 1 ~= 0 then
      return nil, ("option '--%s' must be a whole number"):format(f[1])
    end
  end
  o.link, why = read_link(given)
  if not o.link then
    return nil, why
  end
  o.conditions, why = read_conditions(given)
  if not o.conditions then
    return nil, why
  end
  for _, key in ipairs({ "policy", "compare" }) do
    if given[key] then
      o[key], why = policies.load(given[key])
      if not o[key] then
        return nil, why
      end
    end
  end
  return o
end

local function run_rows(o, condition, policy, on_row)
  return matrix.run({
    pairs = o.pairs,
    trials = o.trials,
    again = o.again,
    seed = o.seed,
    timeout = o.timeout,
    policy = policy,
    link = o.link,
    link_a = condition[2],
    link_b = condition[3],
    on_row = on_row,
  })
end

-- One policy: a line for each pair as it comes.
local function table_of(o, condition)
  print(report.head)
  return run_rows(o, condition, o.policy, function(row)
    row.link = condition[1]
    print(report.line(row))
    if row.failures.INTERNAL then
      print("  " .. row.examples.INTERNAL)
    end
  end)
end

-- Two policies: the lines come when both are through, since chance is judged
-- over all pairs.
local function two_tables(o, condition, given)
  local left = run_rows(o, condition, o.policy)
  local right = run_rows(o, condition, o.compare)
  local differences = compare.rows(left, right)
  local one, other =
    policies.names(o.policy and o.policy.name, given.policy, o.compare, given.compare)
  print(compare.head(one, other))
  for i, row in ipairs(left) do
    print(compare.line(row, right[i], differences))
    row.link, right[i].link = condition[1], condition[1]
    row.policy, right[i].policy = one, other
  end
  local real = 0
  for _, d in ipairs(differences) do
    real = real + (d.real and 1 or 0)
  end
  print(
    ("%d of %s %s more than chance (5 %%, Holm's correction)"):format(
      real,
      plural(#differences, "difference"),
      real == 1 and "is" or "are"
    )
  )
  return left, right
end

local function milliseconds(value)
  return value and ("%.1f ms"):format(value) or "-"
end

-- With |name| where there are two policies.
local function print_summary(s, name)
  local head = name and name .. ": " or ""
  print(
    ("%s%s, %s, %d direct; time to direct %s median, %s p95"):format(
      head,
      plural(s.pairs, "pair"),
      plural(s.attempts, "attempt"),
      s.direct,
      milliseconds(s.median_ms),
      milliseconds(s.p95_ms)
    )
  )
  if s.must > 0 then
    print(
      ("%s%d of %s that must connect did each time"):format(head, s.kept, plural(s.must, "pair"))
    )
  end
  if s.strangers > 0 then
    print(
      ("%s%s connected where nothing but luck helps"):format(head, plural(s.strangers, "attempt"))
    )
  end
end

local function run_matrix(given)
  local o, why = read(given)
  if not o then
    return common.fail(given, why, "CONFIG")
  end
  local cli = require("antquic.cli")
  local status, all, clock = cli.DONE, {}, os.clock()
  local function keep(rows, lossless)
    local s = report.summary(rows)
    print_summary(s, rows[1] and rows[1].policy)
    if lossless and (s.strangers > 0 or s.kept < s.must) then
      status = cli.FAILED
    end
    for _, row in ipairs(rows) do
      all[#all + 1] = row
    end
  end
  for i, condition in ipairs(o.conditions) do
    if condition[1] then
      print(("%slink %s"):format(i > 1 and "\n" or "", condition[1]))
    end
    local lossless = o.link.loss == 0 and not condition[1]
    if o.compare then
      local left, right = two_tables(o, condition, given)
      keep(left, lossless)
      keep(right, lossless)
    else
      keep(table_of(o, condition), lossless)
    end
  end
  local attempts = 0
  for _, row in ipairs(all) do
    attempts = attempts + row.trials
  end
  local took = os.clock() - clock
  print(("%s in %.1f s, %.0f a second"):format(plural(attempts, "attempt"), took, attempts / took))
  if given.json then
    local ok
    ok, why = output.save(given.json, report.text(all))
    if not ok then
      return common.fail({}, why, nil, cli.FAILED)
    end
  end
  return status
end

-- One world of one pair, told.
local function run_trace(given)
  local o, why = read(given)
  if not o then
    return common.fail(given, why, "CONFIG")
  end
  local pair, condition = o.pairs[1], o.conditions[1]
  local results, sim = trial.world({
    a = pair[1],
    b = pair[2],
    seed = o.seed,
    policy = o.policy,
    link = o.link,
    link_a = condition[2],
    link_b = condition[3],
    timeout = o.timeout,
    again = o.again,
    trace = true,
  })
  io.write(sim:trace())
  local status
  for _, r in ipairs(results) do
    print(
      r.ok and ("%s reaches %s after %.1f ms"):format(pair[1], pair[2], r.ms)
        or ("%s does not reach %s: %s (%s)"):format(pair[1], pair[2], r.error, r.code)
    )
    status = status or (not r.ok and require("antquic.cli").UNREACHED) or nil
  end
  sim:close()
  return status
end

-- A script that uses antquic.sim.
local function run_script(given)
  local seed, why = parse.number(given, "seed", 1, 0, 2 ^ 52)
  if not seed then
    return common.fail(given, why, "CONFIG")
  end
  local chunk
  chunk, why = loadfile(given[1])
  if not chunk then
    return common.fail(given, why, "CONFIG")
  end
  antquic.sim.default_seed = seed
  chunk()
end

-- Lines of at most 80 columns.
local function wrap(text)
  local lines, line = {}, nil
  for word in text:gmatch("%S+") do
    if line and #line + 1 + #word > 80 then
      lines[#lines + 1] = line
      line = nil
    end
    line = line and line .. " " .. word or word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

return {
  name = "sim",
  computes = true,
  summary = "try policies and networks in virtual time",
  about = "Runs whole endpoints, with the same engine and the same policies as live ones, in\n"
    .. "a network in memory and in virtual time. Nothing is sent anywhere. The same seed\n"
    .. "gives the same run, datagram by datagram.\n\n"
    .. "With FILE it runs a scenario of yours: a Lua script that uses antquic.sim.\n"
    .. "With --matrix it connects peers behind pairs of NAT types and prints how often\n"
    .. "that worked (with Wilson's 95 % interval), how long it took from connect() to a\n"
    .. "connection, and the datagrams that each side sent for it. The letter is what\n"
    .. "RFC 4787 says of a pair: Y must connect; B, P and p need a port to be guessed;\n"
    .. "- can't be punched. With --compare two policies meet the same seeds, and the\n"
    .. "table says which of the differences are more than chance.\n"
    .. "With --trace it tells one attempt in sentences. No coordinator relays in these:\n"
    .. "the question is what is direct.\n\n"
    .. wrap("NAT types: " .. table.concat(antquic.sim.types.names(), ", ") .. ".")
    .. "\n"
    .. wrap("Links: " .. table.concat(links.ladder, ", ") .. "; 'ladder' is all of them."),
  args = { { "[FILE]", "a scenario" } },
  options = {
    { "--matrix", nil, "the table of pairs" },
    { "--pairs", "LIST", "quick (default), all, cone, or like port_restr:linux,linux:linux" },
    { "--policy", "POLICY", "of both peers: a name, or a file that returns one" },
    { "--compare", "POLICY", "another one, beside the first (with --matrix)" },
    { "--trials", "N", "worlds for each pair (default 20)" },
    { "--again", "N", "attempts in each world: its peers stay registered (default 1)" },
    { "--seed", "N", "of the first attempt; the next have the next ones (default 1)" },
    { "--timeout", "SECONDS", "of virtual time for an attempt (default 10)" },
    { "--delay", "MS", "from site to site, each way" },
    { "--jitter", "MS", "up to so much more" },
    { "--loss", "PERCENT", "of the datagrams from site to site" },
    { "--dup", "PERCENT", "that arrive twice" },
    { "--reorder", "PERCENT", "that are overtaken" },
    { "--rate", "KBIT", "kilobits a second of each link" },
    { "--link", "NAME...", "last mile of the peers, or 'ladder'; may be repeated" },
    { "--side", "SIDE", "who has that link: a (who dials), b, both (default)" },
    { "--trace", nil, "tell one attempt of the first pair" },
    { "--json", "FILE", "write the results there, in the NAT lab's shape" },
  },
  examples = {
    "antquic sim --matrix --delay 25",
    "antquic sim --matrix --pairs all --trials 100 --loss 10 --json all.json",
    "antquic sim --matrix --policy balanced --compare mine.lua --loss 10",
    "antquic sim --trace --pairs sym_rand:addr_restr --delay 25",
    "antquic sim scenario.lua",
  },
  run = function(given)
    if given[1] and (given.matrix or given.trace) then
      return common.fail({}, "give either FILE, or --matrix, or --trace", "CONFIG")
    elseif given[1] then
      return run_script(given)
    elseif given.trace then
      return run_trace(given)
    elseif given.matrix or given.compare then
      return run_matrix(given)
    end
    return common.fail({}, "give FILE, --matrix or --trace; --help tells more", "CONFIG")
  end,
}
