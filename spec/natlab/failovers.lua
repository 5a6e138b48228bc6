-- failovers.lua - scenarios in which the coordinator that was asked is killed in the middle of an
-- attempt, each time a little later than the time before. Another one has to do, and soon.
--
-- SPDX-License-Identifier: MIT

local statistics = require "antquic.sim.statistics"

local trial = require "trial"

local KILL = 9
local ROUNDS = 20
local MOST = 2000 -- ms, later than without

return function(check, need)
  local list = {}

  -- Two coordinators, two fresh endpoints; the one that is asked is killed |after| seconds, nil is
  -- never. Gives what the initiator says.
  local function attempt(pair, sides, n, after)
    local lab = pair.lab
    local agent = lab.agent
    local coordinators, addresses = {}, {}
    for i, site in ipairs { pair.first, pair.second } do
      local address
      coordinators[i], address = trial.coordinator(lab, site)
      addresses[address] = coordinators[i]
    end
    sides.b:write(("trial %d 20\n"):format(n))
    local peer = need(trial.expect(sides.b, "ready", 10)).id
    sides.a:write(("trial %d 10 %s\n"):format(n, peer))
    local asked = need(trial.expect(sides.a, "connecting", 10)).coordinator
    if after then
      agent:sleep(after)
      addresses[asked]:kill(KILL)
    end
    local result = need(trial.expect(sides.a, "done", 25))
    need(trial.expect(sides.b, "done", 25))
    for _, proc in ipairs(coordinators) do
      proc:kill(KILL)
      proc:wait(2)
    end
    return result
  end

  -- |least| of ROUNDS connect: guessing has luck of its own.
  local function scenario(name, a, b, least)
    list[#list + 1] = {
      name,
      ("%s:%s, the coordinator that was asked is killed in the middle: the other one does"):format(
        a,
        b
      ),
      function(agent)
        local pair = trial.topology(agent, a, b, { delay = 12 })
        local sides = {}
        for side, mode in pairs { a = "dial", b = "listen" } do
          local host = side == "a" and pair.host_a or pair.host_b
          sides[side] = trial.command(
            pair.lab,
            host,
            mode,
            pair.first.address .. ":9000",
            pair.second.address .. ":9000"
          )
          need(trial.expect(sides[side], "started", 10))
        end
        local alone = attempt(pair, sides, 0)
        check(alone.ok, "with both in %.0f ms (%s)", alone.ms, tostring(alone.error))
        local times, good = {}, 0
        for n = 1, ROUNDS do
          local after = alone.ms / 1e3 * (n - 1) / (ROUNDS - 1)
          local result = attempt(pair, sides, n, after)
          if result.ok then
            good = good + 1
            times[good] = result.ms
          end
          if not result.ok or result.ms > alone.ms + MOST then
            print(
              ("  killed after %.0f ms: %.0f ms (%s)"):format(
                after * 1e3,
                result.ms,
                tostring(result.error)
              )
            )
          end
        end
        table.sort(times)
        check(
          good >= least and times[good] <= alone.ms + MOST,
          "%d of %d connected: p50 %.0f ms, p95 %.0f ms, at most %.0f ms",
          good,
          ROUNDS,
          statistics.quantile(times, 0.5),
          statistics.quantile(times, 0.95),
          times[good] or 0
        )
        pair.lab:close()
      end,
    }
  end

  scenario("coordinator_dies", "port_restr", "port_restr", ROUNDS)
  scenario("coordinator_dies_birthday", "sym_rand", "port_restr", ROUNDS - 2)
  return list
end
