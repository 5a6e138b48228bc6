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
---@param lost table<string, { error: string, text: string }>? why those that aren't reached aren't
---@return table[]
function present.nodes(list, lost)
  for _, node in ipairs(list) do
    node.address, node.addr = node.addr, nil
    local why = not node.connected and lost and lost[node.address]
    if why then
      node.error, node.text = why.error, why.text
    end
    node.peer_id, node.peer = node.peer and peer_id.intern(node.peer), nil
  end
  return list
end

-- What wasn't measured is "unknown" where it is a word, else absent.
local function bare(address)
  return (address:gsub(":%d+$", ""):gsub("[%[%]]", ""))
end

--- The NAT profile.
---@param p antquic.core.NatProfile
---@return table
function present.nat_profile(p)
  for i, address in ipairs(p.external) do
    p.external[i] = bare(address)
  end
  for _, e in ipairs(p.evidence) do
    e.local_address, e.local_addr = e.local_addr, nil
  end
  if p.block_size then
    p.block = { base = p.block_base, size = p.block_size }
  end
  p.block_base, p.block_size = nil, nil
  p.idle_lifetime, p.idle = p.idle, nil
  p.absolute_lifetime, p.absolute = p.absolute, nil
  return p
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
