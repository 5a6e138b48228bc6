-- One attempt, or several of the same two: peers behind two NATs, fresh ones, and
-- two coordinators.
--
-- SPDX-License-Identifier: MIT

local simulation = require("antquic.sim")
local host = require("antquic.sim.host")
local interrupt = require("antquic.interrupt")
local task = require("antquic.task")

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
---@field again integer? attempts in one world, whose peers stay registered; default 1
---@field pause number? seconds between two of them, default 35
---@field trace boolean?

-- So long the measuring of the NATs may take, which needs coordinators.
local SETTLE = 3
-- The types of NAT keep an idle mapping for 30 s: then they know nothing of the last
-- attempt any more, and no budget of the peers or the coordinators does.
local PAUSE = 35
-- Of virtual time, for each attempt: what takes longer hangs.
local LIMIT = 4000

local function round_trip(a, b)
  return 2 * (a:distance() + b:distance())
end

-- What came of it, and the connection.
local function attempt(sim, a, b, timeout)
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
    return result, conn
  end
  result.remote = conn.address
  result.ok, result.error, result.code = host.round(conn, timeout)
  result.ok = result.ok == true
  return result, conn
end

local function attempts(sim, a, b, setup, results)
  b:echo()
  if sim:ready(setup.timeout) then
    sim:settle(setup.settle or SETTLE)
  end
  local again = setup.again or 1
  for n = 1, again do
    local conn
    results[n], conn = attempt(sim, a, b, setup.timeout)
    if n < again then
      if conn then
        conn:close()
      end
      task.sleep(setup.pause or PAUSE)
    end
  end
end

--- Makes a world and gives what came of each attempt in it; with |setup.trace| the
--- simulation too.
---@param setup antquic.sim.Setup
---@return antquic.sim.Result[]
---@return antquic.Sim? sim for the caller to close
function trial.world(setup)
  local sim = simulation.new({
    seed = setup.seed,
    link = setup.link,
    trace = setup.trace or false,
    limit = LIMIT * (setup.again or 1),
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
  local results = {}
  local ok, why = pcall(sim.run, sim, attempts, sim, a, b, setup, results)
  if not ok and interrupt.is(why) then
    sim:close()
    interrupt.raise(why)
  elseif not ok then
    -- Also of what the attempt came to: an error in a policy, say, is not lost.
    results[math.min(#results + 1, setup.again or 1)] =
      { ok = false, seed = setup.seed, code = "INTERNAL", error = why, packets = 0 }
  end
  if setup.trace then
    return results, sim
  end
  sim:close()
  return results
end

--- Makes one and gives what came of its first attempt; with |setup.trace| the
--- simulation too.
---@param setup antquic.sim.Setup
---@return antquic.sim.Result
---@return antquic.Sim? sim for the caller to close
function trial.run(setup)
  local results, sim = trial.world(setup)
  return results[1], sim
end

--- Makes |worlds| of them, each with the next seed, and gives what came of each
--- attempt.
---@param setup antquic.sim.Setup seed: of the first one
---@param worlds integer
---@return antquic.sim.Result[]
function trial.series(setup, worlds)
  local all, first = {}, setup.seed
  for n = 1, worlds do
    setup.seed = first + n - 1
    for _, result in ipairs((trial.world(setup))) do
      all[#all + 1] = result
    end
  end
  return all
end

return trial
