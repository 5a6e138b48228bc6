-- The default policy: the addresses that are known, then a coordinator and
-- simultaneous punching, again after a pause while there is time.
--
-- SPDX-License-Identifier: MIT

local by_rtt = require("antquic.coordinator.by_rtt")
local plans = require("antquic.policy.plan")

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

-- Why no coordinator could be asked, for the message.
local function unreached(s)
  local tried = {}
  for i, node in ipairs(s.endpoint:bootstrap_nodes()) do
    tried[i] = ("%s (%d failures)"):format(node.address, node.failures)
  end
  if #tried == 0 then
    return "the endpoint has no bootstrap nodes"
  end
  return ("no bootstrap node answered: %s; is UDP blocked?"):format(table.concat(tried, ", "))
end

-- Those whose plan came to nothing come last: the next attempt hears another.
local function fresh_first(coordinators, used)
  local fresh, stale = {}, {}
  for _, node in ipairs(coordinators) do
    local list = used[node.conn] and stale or fresh
    list[#list + 1] = node
  end
  for _, node in ipairs(stale) do
    fresh[#fresh + 1] = node
  end
  return fresh
end

-- A punch of which not much is hoped, and one whose NATs nobody knows yet: when
-- it is over, they are measured.
local HOPELESS = { rounds = 4, timeout = 0.7 }
local UNKNOWN = { timeout = 1 }
-- So many new sockets show all addresses of a NAT that has several.
local SOCKETS = 8

local function has_failed(ok, code)
  return not ok and (code == "PUNCHING_FAILED" or code == "UNSUPPORTED" or code == "LIMIT")
end

-- A step with new sockets, where the plan asks for one and it is allowed.
local function follow(s, how, plan)
  if not how or how == "punch" then
    return false
  end
  local step = { via = plan.coordinator }
  if how == "fresh" and (plan["local"].external_count or 1) > 1 then
    step.sockets = SOCKETS
  end
  local ok, message, code = s[how](s, step)
  return ok or code ~= "NOT_ALLOWED", ok, message, code
end

local function punch(s, plan, extra)
  local step = { pairs = plan:pairs() }
  for key, value in pairs(extra) do
    step[key] = value
  end
  return s:punch(step)
end

-- A punch has failed: what has been learnt of the NATs meanwhile, or new sockets.
local function insist(s, plan)
  local again, message, code = s:coordinate({ via = plan.coordinator })
  if not again then
    return nil, message, code
  end
  local how, sure = plans.choose(again["local"], again.remote)
  if not how then
    return nil, sure, "PUNCHING_FAILED", true
  end
  local taken, ok
  taken, ok, message, code = follow(s, how ~= "punch" and how or "fresh", again)
  if not taken then -- nobody may guess
    return select(2, follow(s, "fresh", again))
  end
  return ok, message, code
end

-- What the profiles advise. Returns true, or nil, message, code; and whether
-- another attempt would be the same.
local function reach(s, plan)
  local how, sure = plans.choose(plan["local"], plan.remote)
  local ok, message, code, taken, why
  if sure == true then
    taken, ok, message, code = follow(s, how, plan)
    if taken then
      return ok, message, code
    end
  end
  local known = plan["local"].mapping and plan.remote.mapping
  ok, message, code = punch(s, plan, how ~= "punch" and HOPELESS or known and {} or UNKNOWN)
  if not has_failed(ok, code) or s:is_over() then
    return ok, message, code
  elseif not how then
    return nil, sure, "PUNCHING_FAILED", true
  elseif taken == nil then
    taken, ok, why, code = follow(s, how, plan)
    if taken then
      return ok, why, code
    end
  end
  local final
  ok, why, code, final = insist(s, plan)
  if has_failed(ok, code) and not final then
    return nil, message, "PUNCHING_FAILED"
  end
  return ok, why, code, final
end

-- One attempt: ask, and go there. Returns as reach.
local function attempt(s, used)
  local via = fresh_first(s.coordinators, used)
  local nobody = #via == 0
  -- Without one the core waits for the first that is reached.
  local plan, message, code = s:coordinate({ via = via, timeout = nobody and REACH or nil })
  if plan then
    if plan.coordinator then
      used[plan.coordinator] = true
    end
    return reach(s, plan)
  elseif nobody and (code == "TIMEOUT" or code == "NO_BOOTSTRAP_NODES") then
    return nil, unreached(s), "NO_BOOTSTRAP_NODES"
  end
  return nil, message, code
end

-- What a moment's patience may mend.
local PASSING = {
  PUNCHING_FAILED = true,
  RATE_LIMITED = true,
  EXPIRED = true,
  OVERLOADED = true,
  PEER_NOT_CONNECTED = true,
}

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
  local unknown, failures, used = 0, 0, {}
  while true do
    local ok, message, code, final = attempt(s, used)
    if ok then
      return true
    elseif final then
      return nil, message, code
    end
    local pause
    if code == "UNKNOWN_TARGET" and unknown + 1 < UNKNOWN_TRIES then
      unknown = unknown + 1
      pause = UNKNOWN_PAUSE * unknown
    elseif PASSING[code] then
      failures = failures + 1
      pause = math.min(BACKOFF * 2 ^ (failures - 1), BACKOFF_MAX) + JITTER * s:random()
    end
    if not pause or s:remaining() <= pause or not s:sleep(pause) then
      return nil, message, code
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

--- As long as the NAT in front was seen to allow; 15 s until that is known
--- (RFC 4787 REQ-5 asks for two minutes; many don't keep to it).
function balanced.keepalive(view)
  return view.endpoint:nat_profile().keep_alive
end

function balanced.punch()
  return { rounds = 6, spacing = 0.02, openers = 1, opener_ttl = 2 }
end

return balanced
