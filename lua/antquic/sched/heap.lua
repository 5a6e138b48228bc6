-- A binary heap of slots by time, for the timers of a loop.
--
-- SPDX-License-Identifier: MIT

local heap = {}

---@class antquic.sched.Heap
---@field n integer how many there are
---@field at number[] times; at[1] is the earliest
---@field slot table[] what they are for

---@return antquic.sched.Heap
function heap.new()
  return { n = 0, at = {}, slot = {} }
end

---@param h antquic.sched.Heap
---@param at number
---@param slot table
function heap.push(h, at, slot)
  local ats, slots = h.at, h.slot
  local i = h.n + 1
  h.n = i
  while i > 1 do
    local parent = (i - i % 2) / 2
    if ats[parent] <= at then
      break
    end
    ats[i], slots[i] = ats[parent], slots[parent]
    i = parent
  end
  ats[i], slots[i] = at, slot
end

--- Takes out the earliest. Not from an empty heap.
---@param h antquic.sched.Heap
---@return table slot
function heap.pop(h)
  local ats, slots, n = h.at, h.slot, h.n
  local first = slots[1]
  local at, last = ats[n], slots[n]
  ats[n], slots[n] = nil, nil
  n = n - 1
  h.n = n
  if n > 0 then
    local i = 1
    while true do
      local child = i * 2
      if child > n then
        break
      end
      if child < n and ats[child + 1] < ats[child] then
        child = child + 1
      end
      if ats[child] >= at then
        break
      end
      ats[i], slots[i] = ats[child], slots[child]
      i = child
    end
    ats[i], slots[i] = at, last
  end
  return first
end

return heap
