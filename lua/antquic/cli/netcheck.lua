-- antquic netcheck: what the network between here and the coordinators does.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")
local nat = require("antquic.cli.nat")
local output = require("antquic.cli.output")

-- Waits until every node answered, or the time is up. Then a moment more: the
-- observed address comes in a frame of its own after the handshake.
local SETTLE = 0.5

local function all(nodes, field)
  for _, node in ipairs(nodes) do
    if not node[field] then
      return false
    end
  end
  return true
end

local function any_connected(ep)
  for _, node in ipairs(ep:bootstrap_nodes()) do
    if node.connected then
      return true
    end
  end
  return false
end

local function wait(ep, timeout)
  local deadline = antquic.now() + timeout
  local sub = ep:subscribe({ "bootstrap_connected", "bootstrap_lost", "address_observed" })
  while not all(ep:bootstrap_nodes(), "connected") and antquic.now() < deadline do
    sub:next(deadline - antquic.now())
  end
  deadline = math.min(deadline, antquic.now() + SETTLE)
  while not all(ep:bootstrap_nodes(), "observed") and antquic.now() < deadline do
    sub:next(deadline - antquic.now())
  end
  sub:close()
end

-- Waits for the end of the first run of measurements.
local PROFILE = 5

-- ... and for that of the lifetimes, which takes minutes where they are long.
local LIFETIME = 1200

local function wait_profile(ep, reached, lifetime)
  local deadline = antquic.now() + (not reached and 0.5 or lifetime and LIFETIME or PROFILE)
  local sub = ep:subscribe({ "nat_profile_changed" })
  local p = ep:nat_profile()
  while
    (not p.measured_at or (lifetime and reached and not p.lifetime_known))
    and antquic.now() < deadline
  do
    sub:next(math.min(0.1, deadline - antquic.now()))
    p = ep:nat_profile()
  end
  sub:close()
  return p
end

local function family(address)
  return address:sub(1, 1) == "[" and 6 or 4
end

-- What the observations of one address family say: two observers that see
-- different ports of one socket mean a mapping that depends on the destination.
local function judge(nodes, locals)
  local seen, order, behind = {}, {}, nil
  local observers = 0
  for _, node in ipairs(nodes) do
    if node.observed and family(node.observed) == 4 then
      observers = observers + 1
      if not seen[node.observed] then
        seen[node.observed] = true
        order[#order + 1] = node.observed
      end
      behind = behind or false
      local ip = node.observed:match("^(.*):%d+$")
      if not locals[ip] and not ip:find("^127%.") then
        behind = true
      end
    end
  end
  local varies
  if #order > 1 then
    varies = true
  elseif observers > 1 then
    varies = false
  end
  return { reflexive = order, mapping_varies = varies, behind_nat = behind, observers = observers }
end

local function verdict(found)
  if found.observers == 0 then
    return "no coordinator saw an IPv4 address of yours"
  elseif found.behind_nat == false then
    return "no NAT: the coordinators see an address of this machine"
  elseif found.mapping_varies == true then
    return "behind a NAT whose mapping varies by destination: direct connections are hard"
  elseif found.mapping_varies == false then
    return "behind a NAT whose mapping is the same for all: direct connections work mostly"
  end
  return "behind a NAT; give a second --bootstrap to learn whether its mapping varies"
end

local function node_line(node)
  if not node.connected then
    return ("  %-24s not reached: %s"):format(node.address, node.text or "no answer yet")
  end
  return ("  %-24s rtt %.1f ms, %s%s, sees you as %s"):format(
    node.address,
    (node.rtt or 0) * 1e3,
    node.can_coordinate and "coordinates" or "does not coordinate",
    node.can_relay and " and relays" or "",
    node.observed or "?"
  )
end

return {
  name = "netcheck",
  summary = "see how the network looks from here",
  about = "Asks the coordinators how they see you: your addresses from outside, round-trip\n"
    .. "times, what your NAT does, and what that means for connecting. Two coordinators\n"
    .. "tell more than one, and one with two addresses more than two.",
  args = {},
  options = {
    common.BOOTSTRAP,
    { "--timeout", "SECONDS", "how long to try (default 3)" },
    { "--lifetime", nil, "wait until it is known how long your NAT keeps a mapping: minutes" },
    common.BIND,
    common.KEY,
    common.RESERVED,
    common.JSON,
  },
  examples = { "antquic netcheck --bootstrap 198.51.100.1:9000 --bootstrap 203.0.113.1:9000" },
  run = function(given)
    local timeout, wrong = common.timeout(given, 3)
    if not timeout then
      return common.fail(given, wrong, "CONFIG")
    elseif #common.nodes(given) == 0 then
      return common.fail(given, "give at least one --bootstrap ADDR", "CONFIG")
    end
    local ep, message, code = common.endpoint(given)
    if not ep then
      return common.fail(given, message, code)
    end
    wait(ep, timeout)
    local profile = wait_profile(ep, any_connected(ep), given.lifetime)
    local nodes, candidates, locals = ep:bootstrap_nodes(), ep:discover_candidates() or {}, {}
    for _, candidate in ipairs(candidates) do
      if candidate.source == "local" then
        locals[candidate.address:match("^(.*):%d+$")] = true
      end
    end
    local found = judge(nodes, locals)
    local reached, relays, other = 0, false, false
    for _, node in ipairs(nodes) do
      reached = reached + (node.connected and 1 or 0)
      relays = relays or node.can_relay
      other = other or node.error == "WRONG_KEY"
      node.conn = nil
      node.peer_id = node.peer_id and node.peer_id:hex()
    end
    if given.json then
      found.event = "netcheck"
      found.peer_id = ep.peer_id:hex()
      found.local_addresses = ep:local_addresses()
      found.coordinators = setmetatable(nodes, output.list)
      found.candidates = setmetatable(candidates, output.list)
      found.reflexive = setmetatable(found.reflexive, output.list)
      found.ways = nat.ways(profile)
      found.kind = nat.kind(profile)
      profile.external = setmetatable(profile.external, output.list)
      profile.evidence = setmetatable(profile.evidence, output.list)
      found.profile = profile
      print(output.json(found))
    else
      print("peer id " .. ep.peer_id:hex())
      print("bound to " .. table.concat(ep:local_addresses(), ", "))
      print("coordinators:")
      for _, node in ipairs(nodes) do
        print(node_line(node))
      end
      print("candidates:")
      for _, candidate in ipairs(candidates) do
        print(("  %-24s %s"):format(candidate.address, candidate.source))
      end
      for _, line in ipairs(nat.lines(profile, relays)) do
        print(line)
      end
      if profile.mapping == "unknown" then
        print(verdict(found))
      end
    end
    ep:shutdown(1)
    if reached == 0 then
      if not given.json then
        local hint = other and "another one is there" or "is UDP blocked?"
        io.stderr:write("antquic: no coordinator was reached: ", hint, "\n")
      end
      return require("antquic.cli").UNREACHED
    end
  end,
}
