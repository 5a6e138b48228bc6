-- antquic replay: an attempt from its record, once more in the simulator.
--
-- SPDX-License-Identifier: MIT

local common = require("antquic.cli.common")
local load_policy = require("antquic.cli.policy")
local parse = require("antquic.cli.parse")

local function tell_side(who, side)
  print(
    ("%s: %s"):format(who, #side.known > 0 and table.concat(side.known, ", ") or "nothing known")
  )
  if #side.assumed > 0 then
    print("  assumed: " .. table.concat(side.assumed, ", "))
  end
end

local function tell_results(results, policy)
  local statistics = require("antquic.sim.statistics")
  local times, codes, order, example = {}, {}, {}, {}
  for _, r in ipairs(results) do
    if r.ok then
      times[#times + 1] = r.ms
    else
      local code = tostring(r.code)
      if not codes[code] then
        order[#order + 1] = code
      end
      codes[code] = (codes[code] or 0) + 1
      example[code] = example[code] or tostring(r.error)
    end
  end
  table.sort(times)
  local low, high = statistics.wilson(#times, #results)
  print(
    ("now:  policy %s connects %d of %d times (%.0f to %.0f %%)%s"):format(
      policy,
      #times,
      #results,
      low * 100,
      high * 100,
      #times > 0 and (", %.0f ms median"):format(statistics.quantile(times, 0.5)) or ""
    )
  )
  for _, code in ipairs(order) do
    print(("      %s %d times: %s"):format(code, codes[code], example[code]))
  end
end

return {
  name = "replay",
  summary = "run an attempt from its record in the simulator",
  about = "Makes NATs and links like those of a record, as far as it tells, and runs the\n"
    .. "attempt again in the simulator: what happened then, and what would happen now or\n"
    .. "with another policy. What the record doesn't tell is assumed, and said.",
  args = { { "FILE", "a record of the peer that dialed" } },
  options = {
    { "--policy", "POLICY", "of both peers: a name, or a file that returns one" },
    { "--session", "NAME", "this attempt, like s2; default: the first" },
    { "--trials", "N", "runs, each with another seed (default 20)" },
    { "--seed", "N", "of the first one (default 1)" },
  },
  examples = {
    "antquic replay attempt.record",
    "antquic replay attempt.record --policy patient --trials 100",
  },
  run = function(given)
    local reader = require("antquic.record.reader")
    local replay = require("antquic.record.replay")
    local failed = require("antquic.cli").FAILED
    local trials, why = parse.number(given, "trials", 20, 1, 100000)
    local seed
    if trials then
      seed, why = parse.number(given, "seed", 1, 0, 2 ^ 53 - 1e6)
    end
    local policy
    if seed and given.policy then
      policy, why = load_policy(given.policy)
    end
    if not seed or (given.policy and not policy) then
      return common.fail(given, why, "CONFIG")
    end
    local record, message, code = reader.load(given[1])
    if not record then
      return common.fail(given, message, code, failed)
    end
    local model
    model, message = replay.model(record, given.session)
    if not model then
      return common.fail(given, message, "FORMAT", failed)
    end
    tell_side("here", model.a)
    tell_side("there", model.b)
    print(
      ("then: policy %s %s"):format(
        tostring(model.policy or "unknown"),
        model.ok == nil and "had not ended when the record did"
          or ("%s after %.0f ms%s"):format(
            model.ok and "connected" or "failed",
            model.took * 1e3,
            not model.ok and model.text and (": " .. tostring(model.text)) or ""
          )
      )
    )
    tell_results(
      replay.run(model, { trials = math.floor(trials), seed = math.floor(seed), policy = policy }),
      policy and (policy.name or given.policy) or "balanced"
    )
    return require("antquic.cli").DONE
  end,
}
