-- From a record to a simulation: what the NATs and the ways of an attempt were, as
-- far as the record tells. What it doesn't tell is assumed, and said to be.
--
-- SPDX-License-Identifier: MIT

local replay = {}

local RULES = {
  none = "none",
  endpoint_independent = "ei",
  address_dependent = "ad",
  address_and_port_dependent = "apd",
}
local PORTS = {
  preserving = "preserve",
  sequential = "sequential",
  random = "random",
  block = "block",
}

local function number(v, min, max)
  return type(v) == "number" and v == v and v >= min and v <= max and v or nil
end

---@class antquic.ReplaySide
---@field nat table parameters for the simulator
---@field delay number seconds, to the middle of the network, one way
---@field known string[] what the record tells
---@field assumed string[] what it doesn't

-- A NAT like the one that |profile| describes.
local function nat_of(profile)
  local side = { nat = {}, known = {}, assumed = {} }
  local function take(name, table_, otherwise, set)
    local value = type(profile) == "table" and table_[profile[name]]
    if value then
      side.known[#side.known + 1] = ("%s %s"):format(name, profile[name])
    else
      side.assumed[#side.assumed + 1] = ("%s %s"):format(name, otherwise.text)
    end
    set(value or otherwise.value)
  end
  take("mapping", RULES, { text = "endpoint_independent", value = "ei" }, function(v)
    side.nat.mapping = v
  end)
  -- The strictest: what works then works behind the others.
  local strict = { text = "address_and_port_dependent", value = "apd" }
  take("filtering", RULES, strict, function(v)
    side.nat.filtering = v == "none" and "apd" or v
    side.nat.blocked = v == "none" or nil
  end)
  if side.nat.mapping ~= "none" then
    take("allocation", PORTS, { text = "random", value = "random" }, function(v)
      side.nat.ports = v
    end)
  end
  local p = type(profile) == "table" and profile or {}
  if side.nat.ports == "sequential" then
    side.nat.step = number(p.step, -4096, 4096) or 1
  elseif side.nat.ports == "block" then
    -- Ours has the form of ep:nat_profile(), the peer's that of the wire.
    local size = type(p.block) == "table" and p.block.size or p.block_size
    side.nat.block_size = number(size, 16, 65535) or 1024
  end
  return side
end

-- The entries of the attempt |name|; the first one when nil.
local function find(record, name)
  local attempt = { entries = record.entries }
  for _, entry in ipairs(record.entries) do
    if entry.e == "session" and not attempt.session and (name == nil or entry.session == name) then
      attempt.session, attempt.policy = entry.session, entry.policy
      attempt.start, attempt.timeout = entry.t, number(entry.timeout, 0.1, 300)
    elseif attempt.session and entry.session == attempt.session then
      if entry.kind == "traversal_succeeded" or entry.kind == "traversal_failed" then
        attempt.ended = attempt.ended or entry
      end
    end
  end
  return attempt.session and attempt
end

local function profiles(attempt)
  local mine, theirs, rtt
  for _, entry in ipairs(attempt.entries) do
    if attempt.ended and entry.t > attempt.ended.t then
      break
    elseif entry.e == "profile" then
      if entry.side == "local" then
        mine = entry.profile or mine
      else
        theirs = entry.profile or theirs
      end
    elseif entry.e == "control_sent" and (entry.type == "REQUEST" or entry.type == "REGISTER") then
      mine = entry.profile or mine
    elseif entry.e == "control_received" and entry.type == "ANSWER" then
      theirs = entry.profile or theirs
      rtt = number(entry.rtt, 0, 60) or rtt
    end
  end
  return mine, theirs, rtt
end

-- The round trip between the peers, where the record tells one.
local function straight(attempt)
  for _, entry in ipairs(attempt.entries) do
    if entry.kind == "path_validated" and entry.session == attempt.session then
      return number(entry.rtt, 0, 60)
    end
  end
end

-- From round trips (ours to the coordinator, the peer's, between us) to the way of
-- each to the middle of the network. Without the third the coordinator is there.
local function delays(own, there, direct)
  local a = direct and (own + direct - there) / 4 or own / 2
  a = math.max(0, math.min(a, own / 2))
  return a, math.max(0, there / 2 - (own / 2 - a)), own / 2 - a
end

--- What the attempt |name| of a record (its first one) was like.
---@param record antquic.Record
---@param name string?
---@return table? model { a = side, b = side, session, policy, outcome, took, timeout }
---@return string? message
function replay.model(record, name)
  local attempt = find(record, name)
  if not attempt then
    return nil,
      name and ("no attempt '%s' was begun in this record"):format(name)
        or "no attempt was begun in this record (records of the peer that was reached have none)"
  end
  local mine, theirs, both = profiles(attempt)
  local own
  for _, node in ipairs(type(record.header.nodes) == "table" and record.header.nodes or {}) do
    own = own or (type(node) == "table" and number(node.rtt, 0, 60))
  end
  local model = { session = attempt.session, policy = attempt.policy, timeout = attempt.timeout }
  model.a, model.b = nat_of(mine), nat_of(theirs)
  own = own or (both and both / 2)
  local there = both and own and math.max(0, both - own)
  local direct = straight(attempt)
  model.a.delay, model.b.delay, model.delay = delays(own or 0.05, there or own or 0.05, direct)
  if not own then
    model.a.assumed[#model.a.assumed + 1] = "50 ms to the coordinator and back"
  end
  if not there then
    model.b.assumed[#model.b.assumed + 1] = "as far from the coordinator"
  end
  local ended = attempt.ended
  if ended then
    model.ok = ended.kind == "traversal_succeeded"
    model.took = ended.t - attempt.start
    model.text = ended.text or ended.error
  end
  return model
end

--- Runs it |trials| times. Returns the results of antquic.sim's trials.
---@param model table
---@param o { trials: integer, seed: integer, policy: antquic.Policy? }
---@return table[]
function replay.run(model, o)
  return require("antquic.sim.trial").series({
    a = model.a.nat,
    b = model.b.nat,
    link = { delay = model.delay },
    link_a = { delay = model.a.delay },
    link_b = { delay = model.b.delay },
    seed = o.seed,
    policy = o.policy,
    timeout = model.timeout or 10,
  }, o.trials)
end

return replay
