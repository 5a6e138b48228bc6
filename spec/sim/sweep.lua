-- SPDX-License-Identifier: MIT
--
-- Attempts over all pairs of NAT types and the nine links of the ladder, each with
-- a seed of its own: what never may happen, and how many connect.
--
--   lua5.4 spec/sim/sweep.lua [COUNT] [FIRST SEED]     (default 10000 1; under a minute)
--
-- Prints a line for each attempt that it complains of, then a table; exits with 1
-- where there was one. `antquic sim --trace` tells a single one.

local links = require("antquic.sim.links")
local pairing = require("antquic.sim.pairs")
local trial = require("antquic.sim.trial")

local all = pairing.parse("all")

-- What a seed means: a pair, a link, and which of the two has it.
local function scenario(seed)
  local pair = all[seed * 97 % #all + 1]
  local rung = seed % #links.ladder + 1
  local side = seed // #links.ladder % 2 == 0 and "link_a" or "link_b"
  return {
    a = pair[1],
    b = pair[2],
    seed = seed,
    timeout = 20 + 10 * (rung - 1),
    [side] = links.by_name[links.ladder[rung]],
  },
    rung,
    side
end

-- Never, whatever the link.
local NEVER = { INTERNAL = true, WRONG_PEER = true }
-- So good a link takes no pair away that must connect.
local GOOD = 7

--- Runs them: complaints, and for each rung and mark { connected, tried }.
local function sweep(count, first)
  local complaints, results = {}, {}
  for seed = first, first + count - 1 do
    local setup, rung, side = scenario(seed)
    local result = trial.run(setup)
    local mark = pairing.mark(setup.a, setup.b)
    results[rung] = results[rung] or {}
    local cell = results[rung][mark] or { 0, 0 }
    results[rung][mark] = cell
    cell[1], cell[2] = cell[1] + (result.ok and 1 or 0), cell[2] + 1
    if NEVER[result.code] or (mark == "Y" and not result.ok and rung <= GOOD) then
      complaints[#complaints + 1] = ("seed %d, %s:%s, %s %s: %s (%s)"):format(
        seed,
        setup.a,
        setup.b,
        side,
        links.ladder[rung],
        tostring(result.error),
        tostring(result.code)
      )
    end
  end
  return complaints, results
end

if not (arg and arg[0] and arg[0]:match("sweep%.lua$")) then
  return sweep
end

local count, start = tonumber(arg[1] or 10000), os.clock()
local complaints, results = sweep(count, tonumber(arg[2] or 1))
for _, text in ipairs(complaints) do
  print(text)
end
for rung, row in ipairs(results) do
  local cells = {}
  for i, mark in ipairs({ "Y", "B", "P", "p", "-" }) do
    local cell = row[mark] or { 0, 0 }
    cells[i] = ("%s %4d/%-4d"):format(mark, cell[1], cell[2])
  end
  print(("%-20s %s"):format(links.ladder[rung], table.concat(cells, "  ")))
end
local took = os.clock() - start
print(("%d attempts in %.1f s, %d complaints"):format(count, took, #complaints))
os.exit(#complaints == 0)
