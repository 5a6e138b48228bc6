-- punch.lua - a reference hole puncher of a few lines, to prove that the lab's pairs behave as
-- matrix.lua says with nothing of antquic involved: both sides learn their address from a
-- server, swap them, send an opener that dies on the way, then probe; whoever hears a probe
-- answers the address it came from, and probes it too.
--
-- SPDX-License-Identifier: MIT

local classify = require "classify"

local punch = {}

local PROBES, SPACING, OPENER_TTL = 6, 0.02, 2

--- One attempt between two hosts with fresh sockets; `skew` is how much later the second
--- starts to probe. Returns the seconds from start to both sides having heard an answer, or
--- nil.
function punch.attempt(lab, servers, first, second, skew)
  local agent = lab.agent
  local sides = { { host = first, delay = 0 }, { host = second, delay = skew } }
  local started
  for _, side in ipairs(sides) do
    side.socket = lab:udp(side.host, servers.any)
    side.at, side.ip, side.port = classify.ask(lab, servers, side.socket, 1)
  end
  if sides[1].at and sides[2].at then
    started = agent:now()
    local jobs = {}
    for i, side in ipairs(sides) do
      local other = sides[3 - i]
      side.socket.on_dgram = function(dgram)
        if dgram.data == "probe" then
          side.socket:send(dgram.ip, dgram.port, "answer")
          if not side.heard then
            side.socket:send(dgram.ip, dgram.port, "probe")
          end
        elseif dgram.data == "answer" and not side.heard then
          side.heard = dgram.time
        end
      end
      side.socket:send(other.ip, other.port, "opener", OPENER_TTL)
      jobs[i] = function()
        agent:sleep(SPACING + side.delay)
        for _ = 1, PROBES do
          side.socket:send(other.ip, other.port, "probe")
          agent:sleep(SPACING)
        end
      end
    end
    agent:all(jobs)
  end
  sides[1].socket:close()
  sides[2].socket:close()
  if sides[1].heard and sides[2].heard then
    return math.max(sides[1].heard, sides[2].heard) - started
  end
  return nil
end

return punch
