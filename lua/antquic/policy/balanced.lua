-- The default policy: the addresses that are known, then a coordinator and
-- simultaneous punching, again after a pause while there is time.
--
-- SPDX-License-Identifier: MIT

local by_rtt = require("antquic.coordinator.by_rtt")

-- A known address answers within this, or the coordinator is asked meanwhile.
local KNOWN = 0.3
-- So long a start waits for the first coordinator to be reached. Three
-- handshake retransmissions fit; without UDP there is no point in waiting more.
local REACH = 3
-- A target that no coordinator knows may be registering right now.
local UNKNOWN_PAUSE, UNKNOWN_TRIES = 0.4, 3
-- Back-off between attempts: 1 s, doubled, up to 30 s, and 0..199 ms more.
local BACKOFF, BACKOFF_MAX, JITTER = 1, 30, 0.199

local balanced = { name = "balanced" }

-- One way through the coordinators, best first. Returns true, or the code of
-- the last failure.
local function attempt(s)
  local coordinators = s.coordinators
  local code = "NO_BOOTSTRAP_NODES"
  for i = 1, math.max(#coordinators, 1) do
    local via = coordinators[i]
    local plan, _, why = s:coordinate({ via = via, timeout = via == nil and REACH or nil })
    code = why
    if plan then
      local ok
      ok, _, why = s:punch({ pairs = plan:pairs() })
      if ok then
        return true
      end
      code = why
    elseif why == "REFUSED" or s:is_over() then
      break
    end
  end
  return false, code
end

function balanced.connect(s)
  if #s.known > 0 then
    -- With nobody to ask, the known addresses have all the time.
    local alone = #s.endpoint:bootstrap_nodes() == 0
    local ok, message, code = s:dial({ s.known, timeout = alone and s:remaining() or KNOWN })
    if ok then
      return true
    elseif alone then
      return nil, message, code
    end
  end
  local unknown, failures = 0, 0
  while true do
    local ok, code = attempt(s)
    if ok then
      return true
    end
    local pause
    if code == "UNKNOWN_TARGET" and unknown + 1 < UNKNOWN_TRIES then
      unknown = unknown + 1
      pause = UNKNOWN_PAUSE * unknown
    elseif
      code == "PUNCHING_FAILED"
      or code == "RATE_LIMITED"
      or code == "EXPIRED"
      or code == "OVERLOADED"
      or code == "PEER_NOT_CONNECTED"
    then
      failures = failures + 1
      pause = math.min(BACKOFF * 2 ^ (failures - 1), BACKOFF_MAX) + JITTER * s:random()
    else
      return false, code
    end
    if s:remaining() <= pause or not s:sleep(pause) then
      return false, code
    end
  end
end

--- All of them, as the core ranked them.
function balanced.candidates(_, list)
  return list
end

--- As the core ranked them: RFC 8445's pair priority.
function balanced.order(_, pairs_)
  return pairs_
end

function balanced.coordinators(view, list)
  return by_rtt(view, list)
end

function balanced.accept()
  return true
end

--- NATs forget a UDP mapping after 30 s at worst (RFC 4787 REQ-5 asks for two
--- minutes; many don't keep to it).
function balanced.keepalive()
  return 15
end

function balanced.punch()
  return { rounds = 6, spacing = 0.02, openers = 1, opener_ttl = 2 }
end

return balanced
