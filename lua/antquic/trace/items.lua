-- What happened in an attempt, in order, with names and times for people; for the
-- page and for the text.
--
-- SPDX-License-Identifier: MIT

local model = require("antquic.trace.model")
local stable = require("antquic.stable")

local items = {}

--- Arrows and marks of a ladder in the order of time. Each gets: at, from_name
--- and to_name or at_name, ttl; and ladder.kinds says which kinds there are.
---@param ladder table of model.ladders
---@return table[]
function items.of(ladder)
  local out = {}
  ladder.kinds = {}
  local function at(t)
    return ("%.1f ms"):format((t - ladder.start) * 1e3)
  end
  for _, arrow in ipairs(ladder.arrows) do
    arrow.from_name = ladder.lanes[arrow.from].title
    arrow.to_name = ladder.lanes[arrow.to].title
    arrow.at = at(arrow.t1)
    for _, pair in ipairs(arrow.details) do
      if pair[1] == "TTL" then
        arrow.ttl = pair[2]
      end
    end
    out[#out + 1] = arrow
  end
  for _, mark in ipairs(ladder.marks) do
    mark.at, mark.at_name = at(mark.t), ladder.lanes[mark.lane].title
    out[#out + 1] = mark
  end
  for _, item in ipairs(out) do
    ladder.kinds[item.kind] = true
  end
  return stable.sort(out, model.time_of)
end

return items
