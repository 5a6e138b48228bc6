-- The strategy that the policies of this folder share: the addresses that are
-- known, then a coordinator and the plan that both NATs call for, again after a
-- pause. What differs between the policies are the numbers.
--
-- SPDX-License-Identifier: MIT

local plans = require("antquic.policy.plan")
local plural = require("antquic.plural")
local stable = require("antquic.stable")

local strategy = {}

-- Back-off between attempts: 1 s, doubled, and 0..199 ms more.
local BACKOFF, JITTER = 1, 0.199
-- Between known addresses.
local SPACING = 0.1

local DEFAULT = {
  -- A known address answers within this, or the coordinator is asked meanwhile.
  known = 0.3,
  -- So long a start waits for the first coordinator to be reached. Three
  -- handshake retransmissions fit; without UDP there is no point in waiting more.
  reach = 3,
  -- A target that no coordinator knows may be registering right now.
  unknown_pause = 0.4,
  unknown_tries = 3,
  attempts = math.huge,
  backoff_max = 30,
  -- A punch when the profiles say that it works, one of which not much is hoped,
  -- and one whose NATs nobody knows yet: when it is over, they are measured.
  punch = {},
  hopeless = { rounds = 4, timeout = 0.7 },
  -- So often that is tried where a filter isn't known, and so much later each time:
  -- datagrams may be lost.
  doubt_tries = 4,
  doubt_pause = 0.3,
  unmeasured = { timeout = 1 },
  -- After so many attempts that came to nothing a relay is asked for, where there
  -- is one: the core seeks a direct path on from there.
  relay = 1,
  -- Whether a punch that failed is followed by one from new sockets at once.
  insist = true,
}

-- Why no coordinator could be asked, for the message.
local function unreached(s)
  local tried, wrong = {}, false
  for i, node in ipairs(s.endpoint:bootstrap_nodes()) do
    tried[i] = ("%s (%s%s)"):format(
      node.address,
      plural(node.failures, "failure"),
      node.text and ": " .. node.text or ""
    )
    wrong = wrong or node.error == "WRONG_KEY"
  end
  if #tried == 0 then
    return "the endpoint has no bootstrap nodes"
  end
  return ("no bootstrap node answered: %s%s"):format(
    table.concat(tried, ", "),
    wrong and "" or "; is UDP blocked?"
  )
end

-- Those whose plan came to nothing come last, and of those the last one: the next
-- attempt hears another.
local function fresh_first(coordinators, used)
  local list = {}
  for i, node in ipairs(coordinators) do
    list[i] = node
  end
  return stable.sort(list, function(node)
    return used[node.conn] or 0
  end)
end

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

-- The coordinator of a plan first: it knows the peer. Should it keep silent, there
-- are the others.
local function its_own_first(coordinators, plan)
  local via = { plan.coordinator }
  for _, node in ipairs(coordinators) do
    if node.conn ~= plan.coordinator then
      via[#via + 1] = node
    end
  end
  return via
end

-- A punch has failed: what has been learnt of the NATs meanwhile, or new sockets.
local function insist(s, plan, c)
  local again, message, code = s:coordinate({ via = its_own_first(s.coordinators, plan) })
  if not again then
    return nil, message, code
  end
  local how, sure, doubt = plans.choose(again["local"], again.remote)
  if not how then
    return nil, sure, "PUNCHING_FAILED", doubt and c.doubt_tries or 1
  end
  local taken, ok
  taken, ok, message, code = follow(s, how ~= "punch" and how or "fresh", again)
  if not taken then -- nobody may guess
    return select(2, follow(s, "fresh", again))
  end
  return ok, message, code
end

local function is_heard(s)
  for _, pair in ipairs(s:pairs()) do
    if (pair.received or 0) > 0 then
      return true
    end
  end
  return false
end

-- What the profiles advise. Returns true, or nil, message, code; and where nothing
-- can help, after how many attempts there is no sense in another one. |tried| is a
-- step that was taken before.
local function reach(s, plan, c, tried)
  local how, sure, doubt = plans.choose(plan["local"], plan.remote)
  local ok, message, code, taken, why
  if tried and how == tried then
    taken = true
  elseif sure == true then
    taken, ok, message, code = follow(s, how, plan)
    if taken then
      return ok, message, code
    end
  end
  local known = plan["local"].mapping and plan.remote.mapping
  ok, message, code =
    punch(s, plan, how ~= "punch" and c.hopeless or known and c.punch or c.unmeasured)
  if not has_failed(ok, code) or s:is_over() then
    return ok, message, code
  elseif not how then
    return nil, sure, "PUNCHING_FAILED", doubt and c.doubt_tries or 1
  elseif taken == nil then
    taken, ok, why, code = follow(s, how, plan)
    if taken then
      return ok, why, code
    end
  end
  if not c.insist then
    return nil, message, "PUNCHING_FAILED"
  end
  local final
  ok, why, code, final = insist(s, plan, c)
  if has_failed(ok, code) and not final then
    return nil, message, "PUNCHING_FAILED"
  end
  return ok, why, code, final
end

-- The plan that won the last time comes first, where the profiles aren't sure of
-- another one. Guessing needs a NAT that is known to call for it. Gives what was
-- tried and whether it worked, and the plan to go on with.
local function as_before(s, plan)
  local won = s.won
  local how, sure = plans.choose(plan["local"], plan.remote)
  local varies = plans.varies(plan["local"]) or plans.varies(plan.remote)
  local fits = won == "fresh" or (won == "predict" or won == "birthday") and varies
  if not fits or not how or sure == true then
    return nil, nil, plan
  end
  local taken, ok = follow(s, won, plan)
  if ok or not taken then
    return won, ok, plan
  end
  return won, nil, s:coordinate({ via = its_own_first(s.coordinators, plan) })
end

-- One attempt: ask, and go there. Returns as reach.
local function attempt(s, used, c)
  local via = fresh_first(s.coordinators, used)
  local nobody = #via == 0
  -- Without one the core waits for the first that is reached.
  local plan, message, code = s:coordinate({ via = via, timeout = nobody and c.reach or nil })
  if plan then
    local tried, ok
    if next(used) == nil then
      tried, ok, plan, message, code = as_before(s, plan)
    end
    if ok or not plan then
      return ok, message, code
    end
    if plan.coordinator then
      used.count = (used.count or 0) + 1
      used[plan.coordinator] = used.count
    end
    return reach(s, plan, c, tried)
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
  TIMEOUT = true,
  VALIDATION_TIMEOUT = true,
  VALIDATION_FAILED = true,
  COORDINATION_FAILED = true,
  CANCELLED = true, -- by the peer, whose attempt it was
}

-- What a relay can help out of.
local RELAYABLE = {
  PUNCHING_FAILED = true,
  NO_CANDIDATES = true,
  VALIDATION_TIMEOUT = true,
  VALIDATION_FAILED = true,
}

-- Over a coordinator. Second result: whether to ask again another time.
local function relay(s)
  for _, node in ipairs(s.coordinators) do
    if node.can_relay then
      local ok, _, code = s:relay()
      return ok, code == "OVERLOADED" or code == "RATE_LIMITED" or code == "TIMEOUT"
    end
  end
  return nil, true -- one may still come
end

local function connect(s, c)
  if #s.known > 0 then
    -- With nobody to ask, the known addresses have all the time.
    local alone = #s.endpoint:bootstrap_nodes() == 0
    local ok, message, code = s:dial({
      s.known,
      timeout = alone and s:remaining() or c.known,
      spacing = SPACING,
      keep = true, -- beside the rest
    })
    if ok then
      return true
    elseif alone then
      return nil, message, code
    end
  end
  local unknown, failures, hopeless, used, relays = 0, 0, 0, {}, true
  local heard -- a filter that wasn't known does let somebody in
  local why -- the last attempt that came so far as to punch ended so
  while true do
    local ok, message, code, enough = attempt(s, used, c)
    heard = heard or is_heard(s)
    if heard and enough == c.doubt_tries then
      enough = nil
    end
    hopeless = hopeless + (enough and 1 or 0)
    if not ok and RELAYABLE[code] and relays and (enough or failures + 1 >= c.relay) then
      ok, relays = relay(s)
    end
    if ok then
      return true
    elseif enough and hopeless >= enough then
      return nil, message, code
    elseif code == "PUNCHING_FAILED" then
      why = message
    elseif why and (code == "RATE_LIMITED" or code == "OVERLOADED") then
      message, code = why, "PUNCHING_FAILED" -- that is why, not that it is too soon
    end
    local pause
    if enough then
      pause = c.doubt_pause
    elseif code == "UNKNOWN_TARGET" and unknown + 1 < c.unknown_tries then
      unknown = unknown + 1
      pause = c.unknown_pause * unknown
    elseif PASSING[code] and failures + 1 < c.attempts then
      failures = failures + 1
      pause = math.min(BACKOFF * 2 ^ (failures - 1), c.backoff_max)
      pause = math.max(pause, s:retry_after()) + JITTER * s:random()
    end
    if not pause or s:remaining() <= pause or not s:sleep(pause) then
      return nil, message, code
    end
  end
end

--- A strategy with some of the numbers changed.
---@param changes table
---@return fun(s: antquic.Session): boolean?, string?, string?
function strategy.make(changes)
  local c = {}
  for key, value in pairs(DEFAULT) do
    c[key] = value
  end
  for key, value in pairs(changes) do
    if c[key] == nil then
      error("strategy.make: there is no number '" .. tostring(key) .. "'", 2)
    end
    c[key] = value
  end
  return function(s)
    return connect(s, c)
  end
end

return strategy
