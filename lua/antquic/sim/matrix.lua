-- Many attempts: pairs of NAT types, each with so many seeds.
--
-- SPDX-License-Identifier: MIT

local options = require("antquic.options")
local pairing = require("antquic.sim.pairs")
local report = require("antquic.sim.report")
local trial = require("antquic.sim.trial")

local matrix = {}

---@class antquic.sim.MatrixOptions
---@field pairs? string|string[][] "quick", "all", "cone", "a:b,c:d", or a list of { a, b }; "quick"
---@field trials? integer worlds for each pair; 20
---@field again? integer attempts in each world; 1
---@field pause? number seconds between those; 35
---@field seed? integer of the first world; 1
---@field timeout? number seconds for an attempt; 10
---@field policy? antquic.Policy of both peers
---@field link? table of each host
---@field link_a? table of the one who dials
---@field link_b? table of the other
---@field on_row? fun(row: antquic.sim.Row) called for each pair

matrix.SCHEMA = {
  pairs = { type = "string|table", default = "quick" },
  trials = { type = "integer", default = 20, min = 1, max = 1e6 },
  again = { type = "integer", default = 1, min = 1, max = 1e6 },
  pause = { type = "number", min = 0, unit = "seconds" },
  seed = { type = "integer", default = 1, min = 0, max = 2 ^ 52 },
  timeout = { type = "number", default = 10, min = 0.1, unit = "seconds" },
  policy = { type = "table" },
  link = { type = "table" },
  link_a = { type = "table" },
  link_b = { type = "table" },
  on_row = { type = "callable" },
}

--- Runs it: |trials| worlds for each pair, the first with the seed |seed|, the
--- next with the next one, so that each can be run again alone, and |again| attempts
--- in each. No coordinator relays.
---@param given antquic.sim.MatrixOptions?
---@return antquic.sim.Row[]
function matrix.run(given)
  local o = options.check("antquic.sim.matrix", matrix.SCHEMA, given, 2)
  local list = o.pairs
  if type(list) == "string" then
    local message
    list, message = pairing.parse(list)
    if not list then
      error("antquic.sim.matrix: option 'pairs': " .. message, 2)
    end
  end
  local rows = {}
  for i, pair in ipairs(list) do
    local results = trial.series({
      a = pair[1],
      b = pair[2],
      seed = o.seed,
      policy = o.policy,
      link = o.link,
      link_a = o.link_a,
      link_b = o.link_b,
      timeout = o.timeout,
      again = o.again,
      pause = o.pause,
    }, o.trials)
    rows[i] = report.row(pair[1], pair[2], results)
    if o.on_row then
      o.on_row(rows[i])
    end
  end
  return rows
end

return matrix
