-- antquic replay: a recorded attempt again, in the simulator.
--
-- SPDX-License-Identifier: MIT

local common = require("antquic.cli.common")
local output = require("antquic.cli.output")
local parse = require("antquic.cli.parse")
local plural = require("antquic.plural")
local policies = require("antquic.cli.policy")

-- Rows that are printed; --json has all.
local MAX_ROWS = 16

local NAMES = {
  mapping = {
    none = "no NAT",
    ei = "independent",
    flow = "independent (by flow)",
    ad = "by address",
    apd = "by address and port",
  },
  filtering = { ei = "none", ad = "by address", apd = "by address and port" },
  ports = { preserve = "kept", sequential = "in sequence", random = "random", block = "block" },
}

local function values_of(key, property)
  local out = {}
  for i, value in ipairs(property.values) do
    out[i] = NAMES[key][value]
  end
  return table.concat(out, " or ")
end

local function print_side(side, candidates)
  print("  " .. side.name)
  if side.blocked then
    print("    nothing ever came in: UDP is blocked")
    return
  end
  for _, key in ipairs({ "mapping", "filtering", "ports" }) do
    local property = side[key]
    if property.how == "unknown" then
      print(("    %-10s unknown: every kind is tried"):format(key))
    else
      print(
        ("    %-10s %s (%s: %s)"):format(key, values_of(key, property), property.how, property.why)
      )
    end
  end
  local list = {}
  for i, c in ipairs(candidates) do
    list[i] = c.name
  end
  print(("    %-10s %s"):format("agree", table.concat(list, ", ")))
end

local function print_model(out)
  local m = out.model
  print("what the record tells of the network:")
  print_side(m.a, out.candidates.a)
  print_side(m.b, out.candidates.b)
  if m.shared then
    local none = m.a.mapping.values[1] == "none" and m.b.mapping.values[1] == "none"
    print(none and "  both have one address" or "  both are behind one NAT")
  end
  print(
    ("  links      %.1f ms, %.1f ms, the coordinator's %.1f ms, one way (%s)"):format(
      m.delay.a * 1e3,
      m.delay.b * 1e3,
      m.delay.c * 1e3,
      m.delay.how
    )
  )
  print(("  loss       %.1f %% (%s)"):format(m.loss * 100, m.loss_how))
  print(
    ("  policy     %s%s; the engine is today's"):format(
      tostring(m.policy or "not told"),
      out.recorded and "" or ", which isn't known here: balanced stands in"
    )
  )
end

local function percent(s)
  return ("%d of %d (%.0f to %.0f %%)%s"):format(
    s.direct,
    s.trials,
    s.wilson_low * 100,
    s.wilson_high * 100,
    s.p50_ms and (", median %.1f ms"):format(s.p50_ms) or ""
  )
end

local function print_rows(out, name, other_name)
  local compare = require("antquic.sim.compare")
  local report = require("antquic.sim.report")
  local differences
  if out.other_rows then
    differences = compare.rows(out.rows, out.other_rows)
    print(compare.head(name, other_name))
  else
    print(report.head)
  end
  for i, row in ipairs(out.rows) do
    if i > MAX_ROWS then
      print(("and %d more; --json has all"):format(#out.rows - MAX_ROWS))
      break
    elseif out.other_rows then
      print(compare.line(row, out.other_rows[i], differences))
    else
      print(report.line(row))
    end
  end
end

local function print_outcome(out, name, other_name)
  local m = out.model
  local then_text = m.outcome
  if m.outcome == "connected" then
    then_text = ("connected after %.1f ms"):format(m.duration * 1e3)
  elseif m.relayed then
    then_text = ("nothing direct, connected over a relay after %.1f s"):format(m.duration)
  elseif m.error then
    then_text = ("failed after %.1f s: %s"):format(m.duration, m.error)
  end
  print(("what happened: %s"):format(then_text))
  if #out.pairs == 0 then
    print("no network that agrees with the record gives that: something else was in the way")
    return
  end
  print(
    ("%d of %s with the record %s that%s"):format(
      #out.pairs,
      plural(out.combinations, "combination that agrees", "combinations that agree"),
      #out.pairs == 1 and "gives" or "give",
      out.fits_by == "end" and ", though not in that time" or ""
    )
  )
  print_rows(out, name, other_name)
  print(("now, with %s: %s"):format(name, percent(out.now)))
  if out.other then
    print(("now, with %s: %s"):format(other_name, percent(out.other)))
  end
end

local function plain(out)
  return {
    model = require("antquic.replay.infer").plain(out.model),
    combinations = out.combinations,
    fits_by = out.fits_by,
    rows = setmetatable(out.rows, output.list),
    other_rows = out.other_rows and setmetatable(out.other_rows, output.list),
    now = out.now,
    other = out.other,
  }
end

return {
  name = "replay",
  computes = true,
  summary = "try a recorded attempt again, with another policy",
  about = "Reads a record, infers what NATs the two sides were behind, and runs the attempt\n"
    .. "again in the simulator: with the policy that was recorded and, with --policy, with\n"
    .. "another one. It says what the record tells, what is unknown, and which networks\n"
    .. "give what happened; what the record doesn't tell is tried in all its kinds.\n"
    .. "The records of both peers tell more than one.",
  args = { { "FILE...", "a record, or two: of both peers" } },
  options = {
    { "--policy", "POLICY", "what to ask about: a name, or a file that returns one" },
    { "--trials", "N", "attempts with each network and policy (default 20)" },
    { "--seed", "N", "of the first attempt (default 1)" },
    { "--session", "NAME", "which attempt, like s2 (default: the first)" },
    { "--json", "FILE", "write everything there" },
  },
  examples = {
    "antquic replay attempt.record",
    "antquic replay alice.record bob.record --policy patient --trials 100",
  },
  run = function(given)
    local failed = require("antquic.cli").FAILED
    local trials, why = parse.number(given, "trials", 20, 1, 1e5)
    local seed
    if trials then
      seed, why = parse.number(given, "seed", 1, 0, 2 ^ 52)
    end
    if seed and (trials % 1 ~= 0 or seed % 1 ~= 0) then
      seed, why = nil, "options '--trials' and '--seed' are whole numbers"
    end
    local policy
    if seed and given.policy then
      policy, why = policies.load(given.policy)
      seed = policy and seed
    end
    if not seed then
      return common.fail({}, why, "CONFIG")
    end
    local ladders, message, code = common.ladders(given)
    if not ladders then
      return common.fail({}, message, code, code ~= "CONFIG" and failed or nil)
    end
    local ladder = ladders[1]
    local replay = require("antquic.replay")
    local out = replay.run(ladder, { policy = policy, trials = trials, seed = seed })
    local name, other_name = out.recorded or "balanced", nil
    if policy then
      name, other_name = policies.names(name, nil, policy, given.policy)
    end
    print(("attempt %s"):format(ladder.session))
    print_model(out)
    if out.model.outcome == "running" then
      return common.fail({}, "the record does not tell how the attempt ended", nil, failed)
    end
    print_outcome(out, name, other_name)
    if given.json then
      local ok
      local text = output.json({ replays = { plain(out) } })
      ok, why = output.save(given.json, text .. "\n")
      if not ok then
        return common.fail({}, why, nil, failed)
      end
    end
  end,
}
