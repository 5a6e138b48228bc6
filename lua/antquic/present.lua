-- From the core's tables to those that programs see: address instead of addr,
-- peer id objects instead of bytes. They are changed in place.
--
-- SPDX-License-Identifier: MIT

local peer_id = require("antquic.peer_id")

local present = {}

local function candidate(c)
  c.address, c.addr = c.addr or c.address, nil
  return c
end

--- Candidates.
---@param list table[]
---@return table[]
function present.candidates(list)
  for _, c in ipairs(list) do
    candidate(c)
  end
  return list
end

--- Candidate pairs.
---@param list table[]
---@return table[]
function present.pairs(list)
  for _, pair in ipairs(list) do
    pair.local_address, pair.local_addr = pair.local_addr, nil
  end
  return list
end

--- Bootstrap nodes.
---@param list table[]
---@return table[]
function present.nodes(list)
  for _, node in ipairs(list) do
    node.address, node.addr = node.addr, nil
    node.peer_id, node.peer = node.peer and peer_id.intern(node.peer), nil
  end
  return list
end

--- An event. |conns| finds its connection.
---@param ev table
---@param conns table
---@return table
function present.event(ev, conns)
  ev.address, ev.addr = ev.addr, nil
  ev.local_address, ev.local_addr = ev.local_addr, nil
  ev.peer_id, ev.peer = ev.peer and peer_id.intern(ev.peer), nil
  if ev.candidate then
    candidate(ev.candidate)
  end
  if ev.kind == "session_state_changed" then
    ev.old_state, ev.new_state = ev.from, ev.to
  end
  if ev.conn then
    ev.connection = conns[ev.conn]
  end
  return ev
end

return present
