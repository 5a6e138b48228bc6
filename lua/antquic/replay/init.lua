-- Replay: a recorded attempt again, in the simulator, against the NATs that the
-- record lets one infer, with the policy of then and another one.
--
-- What the record doesn't tell is not made up: every type of NAT that agrees with
-- what it does tell is tried, and those stay that give what happened.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local infer = require("antquic.replay.infer")
local report = require("antquic.sim.report")
local statistics = require("antquic.sim.statistics")
local trial = require("antquic.sim.trial")
local types = require("antquic.sim.types")

local replay = {}

-- Attempts with each combination to see whether it gives what happened, and the
-- share of them that must.
local CHECKS, SHARE = 4, 0.5
-- Combinations that are looked at.
local MAX_COMBINATIONS = 400
-- A connection that is within this of the recorded time, and a share of it, is as
-- fast as then.
local NEAR, NEAR_SHARE = 0.05, 0.5

-- ---- NATs that agree ---------------------------------------------------------

-- Types that differ from others only in what an attempt doesn't show, or that no
-- IPv4 attempt meets.
local SKIPPED = { fw_v6 = true, full_cone_hp = true, port_restr_hp = true, linux_reject = true }

local function has(values, value)
  for _, v in ipairs(values) do
    if v == value then
      return true
    end
  end
  return false
end

-- Behind no NAT it does not matter how ports are given out.
local function agrees(side, p)
  return has(side.mapping.values, p.mapping)
    and has(side.filtering.values, p.filtering)
    and (p.mapping == "none" or has(side.ports.values, p.ports))
end

-- One of each property, where no type has just these.
local function made_up(side)
  local function pick(property, wish)
    return has(property.values, wish) and wish or property.values[1]
  end
  return {
    mapping = pick(side.mapping, "ei"),
    filtering = pick(side.filtering, "apd"),
    ports = pick(side.ports, "random"),
    step = side.step,
    block_size = side.block_size,
  }
end

local function name_of(p)
  return ("%s/%s/%s"):format(p.mapping, p.filtering, p.ports)
end

--- The NATs that agree with what is known of a side: { name, nat }.
---@param side antquic.replay.Side
---@return table[]
function replay.candidates(side)
  if side.blocked then
    return { { name = "udp_blocked", nat = "udp_blocked" } }
  end
  local out = {}
  for _, name in ipairs(types.names()) do
    local p = types.get(name)
    if not SKIPPED[name] and not p.blocked and not p.arbitrary and agrees(side, p) then
      local nat = name
      if p.ports == "sequential" and side.step and side.step ~= p.step then
        nat = { name, step = side.step }
      elseif p.ports == "block" and side.block_size and side.block_size ~= p.block_size then
        nat = { name, block_size = side.block_size }
      end
      out[#out + 1] = { name = name, nat = nat }
    end
  end
  if #out == 0 then
    local p = made_up(side)
    out[1] = { name = name_of(p), nat = p }
  end
  if not side.passes then -- it may as well let nothing through
    out[#out + 1] = { name = "udp_blocked", nat = "udp_blocked" }
  end
  return out
end

-- ---- running -----------------------------------------------------------------

local function setup_of(model, pair, policy, seed)
  -- Two losses in a row make the one that was seen.
  local loss = 1 - math.sqrt(1 - math.min(model.loss, 0.9))
  return {
    a = pair.a.nat,
    b = pair.b.nat,
    shared = model.shared,
    coordinators = model.coordinators,
    seed = seed,
    policy = policy,
    timeout = model.timeout,
    settle = model.settle,
    link_a = { delay = model.delay.a, loss = loss },
    link_b = { delay = model.delay.b, loss = loss },
    link_c = { delay = model.delay.c },
  }
end

local function run(model, pair, policy, seed, trials)
  return trial.series(setup_of(model, pair, policy, seed), trials)
end

-- Is this what happened?
local function is_alike(model, result)
  if (model.outcome == "connected") ~= result.ok then
    return false
  elseif result.ok and model.duration then
    local then_ms = model.duration * 1e3
    return math.abs(result.ms - then_ms) <= math.max(NEAR * 1e3, NEAR_SHARE * then_ms)
  end
  return true
end

local function share_alike(model, results)
  local n, ok = 0, 0
  for _, result in ipairs(results) do
    n = n + (is_alike(model, result) and 1 or 0)
    ok = ok + ((model.outcome == "connected") == result.ok and 1 or 0)
  end
  return n / #results, ok / #results
end

-- Every pair of NATs that agrees with the record, and how often it gives what
-- happened.
local function fitting(model, candidates, policy, seed)
  local all, fit = {}, {}
  for _, a in ipairs(candidates.a) do
    for _, b in ipairs(model.shared and { a } or candidates.b) do
      if #all < MAX_COMBINATIONS then
        local pair = { a = a, b = b }
        local results = run(model, pair, policy, seed, CHECKS)
        pair.alike, pair.same_end = share_alike(model, results)
        all[#all + 1] = pair
        if pair.alike >= SHARE then
          fit[#fit + 1] = pair
        end
      end
    end
  end
  if #fit == 0 then
    -- None as fast or as slow as then: the same end is the next best.
    for _, pair in ipairs(all) do
      if pair.same_end >= SHARE then
        fit[#fit + 1] = pair
      end
    end
    return fit, all, #fit > 0 and "end"
  end
  return fit, all, "time"
end

local function policy_named(name)
  local ok, found = pcall(function()
    return antquic.policy[name]
  end)
  return ok and type(found) == "table" and type(name) == "string" and found.connect and found or nil
end

local function summary(rows)
  local direct, trials, times = 0, 0, {}
  for _, row in ipairs(rows) do
    direct, trials = direct + row.direct, trials + row.trials
    for _, ms in ipairs(row.times) do
      times[#times + 1] = ms
    end
  end
  table.sort(times)
  local low, high = statistics.wilson(direct, trials)
  return {
    direct = direct,
    trials = trials,
    wilson_low = low,
    wilson_high = high,
    p50_ms = statistics.quantile(times, 0.5),
  }
end

---@class antquic.replay.Options
---@field policy antquic.Policy? what is asked about; nil: the recorded one alone
---@field trials integer
---@field seed integer

--- Replays a ladder of trace.model.
---@param ladder table
---@param o antquic.replay.Options
---@return table what model, recorded (the policy's name, nil: not one that is
--- known here, and balanced stands in), candidates, combinations, pairs (that
--- fit), fits_by ("time", "end" or nil: none does), rows, other_rows, now, other
function replay.run(ladder, o)
  local model = infer.of(ladder)
  local recorded = policy_named(model.policy)
  local out = {
    model = model,
    recorded = recorded and model.policy or nil,
    candidates = { a = replay.candidates(model.a), b = replay.candidates(model.b) },
  }
  local policy = recorded or antquic.policy.balanced
  if model.outcome == "running" then
    out.pairs, out.rows, out.combinations = {}, {}, 0
    return out
  end
  local fit, all, by = fitting(model, out.candidates, policy, o.seed)
  out.pairs, out.combinations, out.fits_by = fit, #all, by
  out.rows, out.other_rows = {}, o.policy and {} or nil
  for i, pair in ipairs(fit) do
    local name_a, name_b = pair.a.name, pair.b.name
    -- Other seeds than those that chose the pair.
    local seed = o.seed + CHECKS
    out.rows[i] = report.row(name_a, name_b, run(model, pair, policy, seed, o.trials), true)
    if o.policy then
      out.other_rows[i] =
        report.row(name_a, name_b, run(model, pair, o.policy, seed, o.trials), true)
    end
  end
  out.now = summary(out.rows)
  out.other = o.policy and summary(out.other_rows)
  return out
end

return replay
