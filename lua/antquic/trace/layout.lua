-- Where things stand on the page: time goes down, not to scale. What happens
-- close together gets room to be read, and a long wait doesn't get a long page.
--
-- SPDX-License-Identifier: MIT

local stable = require("antquic.stable")

local layout = {}

-- Pixels: above the first and below the last, between two beginnings, between
-- anything else, and the most that a wait gets.
layout.TOP, layout.BOTTOM = 26, 30
local ROW, BURST, LITTLE, WAIT = 17, 2, 3, 96
-- Seconds that a pixel is worth at first; then ever more.
local GRAIN = 0.0015
-- A wait from here on is marked as a break.
local BREAK = 0.2

-- Pixels for |dt| seconds without anything.
local function room(dt)
  return math.min(WAIT, 14 * math.log(1 + dt / GRAIN))
end

--- Gives y1, y2 to arrows and y to marks, and returns the height, the times for
--- the margin { y, t }, the breaks { y, dt }, and a function from time to y.
---@param ladder table of model.ladders
---@return table
function layout.place(ladder)
  local ticks = {}
  local function tick(t, item, key, size)
    ticks[#ticks + 1] = { t = t, item = item, key = key, size = size }
  end
  for _, arrow in ipairs(ladder.arrows) do
    tick(arrow.t1, arrow, "y1", arrow.in_burst and BURST or ROW)
    tick(math.max(arrow.t2, arrow.t1), arrow, "y2", arrow.in_burst and BURST or LITTLE)
  end
  for _, mark in ipairs(ladder.marks) do
    tick(mark.t, mark, "y", mark.phase and LITTLE or 12)
  end
  stable.sort(ticks, function(it)
    return it.t
  end)
  local y, last, last_label = layout.TOP, ticks[1] and ticks[1].t or 0, -100
  local times, breaks, steps = {}, {}, {}
  for _, it in ipairs(ticks) do
    local dt = it.t - last
    local gap = math.max(it.size, room(dt))
    if dt >= BREAK then
      breaks[#breaks + 1] = { y = y + gap / 2, dt = dt }
    end
    y = y + gap
    last = it.t
    it.item[it.key] = y
    steps[#steps + 1] = { t = it.t, y = y }
    if it.key ~= "y2" and y - last_label >= 22 then
      times[#times + 1] = { y = y, t = it.t }
      last_label = y
    end
  end
  local function y_of(t)
    local at = layout.TOP
    for _, step in ipairs(steps) do
      if step.t > t then
        break
      end
      at = step.y
    end
    return at
  end
  return { height = y + layout.BOTTOM, times = times, breaks = breaks, y_of = y_of }
end

return layout
