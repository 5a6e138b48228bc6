-- Stays with the coordinator that worked: for a peer the one that last knew it,
-- else the one that last worked for anybody; the rest by round-trip time.
--
-- A selection remembers, so each policy makes its own:
--   coordinators = antquic.coordinator.sticky()
--
-- SPDX-License-Identifier: MIT

local by_rtt = require("antquic.coordinator.by_rtt")

-- Peers that are remembered; beyond that the memory starts anew.
local MAX_PEERS = 1024

---@return fun(view: table, list: table[]): table[]
return function()
  local counts, of_peer, peers, last = {}, {}, 0, nil

  -- Who has answered one more time since we looked worked for the peer that was
  -- asked for then.
  local function learn(list, asked)
    for _, node in ipairs(list) do
      local before = counts[node.address]
      if before and node.coordination_count > before then
        last = node.address
        if asked then
          if of_peer[asked] == nil then
            if peers >= MAX_PEERS then
              of_peer, peers = {}, 0
            end
            peers = peers + 1
          end
          of_peer[asked] = node.address
        end
      end
      counts[node.address] = node.coordination_count
    end
  end

  local asked
  return function(view, list)
    learn(list, asked)
    asked = view.peer_id
    local sorted = by_rtt(view, list)
    local favourite = (asked and of_peer[asked]) or last
    for i, node in ipairs(sorted) do
      if node.address == favourite and (node.unanswered or 0) == 0 then
        table.insert(sorted, 1, table.remove(sorted, i))
        break
      end
    end
    return sorted
  end
end
