-- One attempt: two peers behind two NATs, fresh ones, and two coordinators.
--
-- SPDX-License-Identifier: MIT

local simulation = require("antquic.sim")
local host = require("antquic.sim.host")

local trial = {}

---@class antquic.sim.Setup
---@field a string|table NAT of the one who dials
---@field b string|table
---@field seed integer
---@field policy antquic.Policy? of both peers
---@field link table? of each host
---@field link_a table? of the one who dials alone
---@field link_b table?
---@field link_c table? of each coordinator
---@field timeout number seconds
---@field shared boolean? both are behind one NAT, that of a
---@field coordinators integer? how many, default 2
---@field settle number? seconds that the measuring of the NATs may take, default 3
---@field trace boolean?

-- So long the measuring of the NATs may take, which needs coordinators.
local SETTLE = 3

local function round_trip(a, b)
  return 2 * (a:distance() + b:distance())
end

local function attempt(sim, a, b, setup)
  local timeout = setup.timeout
  b:echo()
  if sim:ready(timeout) then
    sim:settle(setup.settle or SETTLE)
  end
  local sent_a, sent_b = a:sent(), b:sent()
  local start = sim:now()
  local conn, message, code = a.ep:connect(b.id, { timeout = timeout })
  local connected = sim:now()
  local result = {
    ok = false,
    seed = sim.seed,
    ms = (connected - start) * 1e3,
    rtt_ms = round_trip(a, b) * 1e3,
    packets = a:sent() - sent_a,
    packets_target = b:sent() - sent_b,
    code = code,
    error = message,
  }
  if not conn then
    return result
  elseif conn.peer_id ~= b.id then
    result.code, result.error = "WRONG_PEER", "connected to somebody else"
    return result
  end
  result.remote = conn.address
  result.ok, result.error, result.code = host.round(conn, timeout)
  result.ok = result.ok == true
  return result
end

--- Runs one and gives what came of it; with |setup.trace| the simulation too.
---@param setup antquic.sim.Setup
---@return antquic.sim.Result
---@return antquic.Sim? sim for the caller to close
function trial.run(setup)
  local sim = simulation.new({
    seed = setup.seed,
    link = setup.link,
    trace = setup.trace or false,
  })
  -- Two: whether a mapping depends on the address shows nothing less.
  -- What they relayed would not count: the question is what is direct.
  for i = 1, setup.coordinators or 2 do
    sim:coordinator(("cdefghij"):sub(i, i), { link = setup.link_c, can_relay = false })
  end
  local nat_a, nat_b = setup.a, setup.b
  if setup.shared and nat_a ~= "none" then
    nat_a = sim:nat(nat_a)
    nat_b = nat_a
  end
  local a = sim:peer("a", { nat = nat_a, policy = setup.policy, link = setup.link_a })
  local b = sim:peer("b", { nat = nat_b, policy = setup.policy, link = setup.link_b })
  local ok, result = pcall(sim.run, sim, attempt, sim, a, b, setup)
  if not ok then
    result = { ok = false, seed = setup.seed, code = "INTERNAL", error = result, packets = 0 }
  end
  if setup.trace then
    return result, sim
  end
  sim:close()
  return result
end

--- Runs |trials| of them, each with the next seed.
---@param setup antquic.sim.Setup seed: of the first one
---@param trials integer
---@return antquic.sim.Result[]
function trial.series(setup, trials)
  local results, first = {}, setup.seed
  for n = 1, trials do
    setup.seed = first + n - 1
    results[n] = trial.run(setup)
  end
  return results
end

return trial
