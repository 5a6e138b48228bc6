-- What a person could change after an attempt that failed: a table of rules,
-- each of which looks at the facts and says something or nothing.
--
-- The facts (explain.lua and trace/ make them; all may be missing):
--   error, text       how it ended
--   steps             { step, error, address, sent, received, heard, unusable, refused, limit }
--   pairs             { remote, sent, received, refused, limit, dialed, error }
--   remote            the peer's candidates { address, source, verified }
--   nodes             { address, connected, can_coordinate, last_seen, failures, error }
--   sockets           local addresses
--   same_nat          both have one public address
--   retry_after       seconds until a budget that was used up is full again
--   mine, theirs      NAT profiles: mapping, filtering ("none", "endpoint_independent",
--                     "address_dependent", "address_and_port_dependent"; mapping "none": no NAT,
--                     filtering "none": nothing ever came in), allocation ("preserving",
--                     "sequential", "random", "block"), hairpin; "unknown" is as if missing
--   relay_off         enable_relay_fallback is off
--   timeout           seconds that the attempt had
--
-- SPDX-License-Identifier: MIT

local errors = require("antquic.errors")
local explain = require("antquic.explain")
local ip_class = require("antquic.ip_class")
local plan = require("antquic.policy.plan")
local plural = require("antquic.plural")

local advice = {}

-- ---- reading facts -----------------------------------------------------------

-- The first of these codes with which the attempt or a step of it ended, and
-- that step.
local function failed_with(facts, ...)
  for _, code in ipairs({ ... }) do
    for _, step in ipairs(facts.steps) do
      if step.error == code then
        return code, step
      end
    end
    if facts.error == code then
      return code
    end
  end
end

-- If it was refused: what was asked for was (a relay, the guessing of ports), not we.
local function way_refused(step)
  return step.step == "relay"
    or step.error == "NOT_ALLOWED" and tostring(step.text):find("allows us no ", 1, true) ~= nil
end

local function sum(list, key)
  local n = 0
  for _, item in ipairs(list) do
    n = n + (tonumber(item[key]) or 0)
  end
  return n
end

-- The steps whose names are keys of |names|.
local function steps_of(facts, names)
  local out = {}
  for _, step in ipairs(facts.steps) do
    if names[step.step] then
      out[#out + 1] = step
    end
  end
  return out
end

local function punches(facts)
  return steps_of(facts, explain.PUNCHES)
end

-- It came as far as punching, and that came to nothing.
local function punched_in_vain(facts)
  local list = punches(facts)
  return #list > 0
    and failed_with(
        facts,
        "PUNCHING_FAILED",
        "VALIDATION_TIMEOUT",
        "VALIDATION_FAILED",
        "UNREACHABLE"
      )
      ~= nil
end

local function was_heard(facts)
  return sum(facts.steps, "heard") + sum(facts.pairs, "received") > 0
end

local function family(address)
  return address:sub(1, 1) == "[" and "IPv6" or "IPv4"
end

local function families(list)
  local out = {}
  for _, item in ipairs(list) do
    local address = type(item) == "table" and item.address or item
    if type(address) == "string" then
      out[family(address)] = true
    end
  end
  return out
end

-- Every destination sees another port of it.
local function varies(profile)
  return profile ~= nil and plan.varies(profile)
end

local function is_random(profile)
  return varies(profile) and profile.allocation == "random"
end

-- Lets in whatever comes to the port that a coordinator saw.
local function is_open(profile)
  return profile ~= nil and profile.filtering == "endpoint_independent"
end

local function is_strict(profile)
  return profile ~= nil and profile.filtering == "address_and_port_dependent"
end

local function names_of(list)
  local out = {}
  for i, node in ipairs(list) do
    out[i] = tostring(node.address)
  end
  return table.concat(out, ", ")
end

-- There are bootstrap nodes, and none of them is like that.
local function no_node(facts, is)
  for _, node in ipairs(facts.nodes or {}) do
    if is(node) then
      return false
    end
  end
  return facts.nodes ~= nil and #facts.nodes > 0
end

local function connected(node)
  return node.connected
end

local function ever_answered(node)
  return node.connected or node.last_seen
end

local function coordinates(node)
  return node.connected and node.can_coordinate
end

local LIMITS = {
  punch_session = "for one attempt",
  punch_target = "for an address that has not answered yet",
  punch_prefix = "for one network",
  punch_peer = "for one peer",
  punch_endpoint = "for this endpoint",
  punch_forbidden = "since nothing may be sent there",
}

-- ---- rules -------------------------------------------------------------------

-- { code, function(facts) return text or nil end, last = true: nothing after it
-- matters any more }
local RULES = {
  {
    "no_coordinator",
    last = true,
    function(f)
      if f.error == "NO_BOOTSTRAP_NODES" and f.nodes and #f.nodes == 0 then
        return "No coordinator is configured, so nobody can introduce the two: give "
          .. "bootstrap_nodes, or an address of the peer."
      end
    end,
  },
  {
    "coordinator_key",
    last = true,
    function(f)
      if not no_node(f, connected) then
        return
      end
      for _, node in ipairs(f.nodes) do
        if node.error == "WRONG_KEY" then
          return (
            "At %s is another coordinator than the one that is asked for: it has a new key, or "
            .. "the PEERID before its address is not the right one."
          ):format(node.address)
        end
      end
    end,
  },
  {
    "udp_blocked",
    last = true,
    function(f)
      if f.error == "WRONG_KEY" or not no_node(f, ever_answered) then
        return
      end
      return (
        "No coordinator ever answered (%s): UDP seems to be blocked here, or the addresses "
        .. "are wrong. Try another network, or 'antquic netcheck'."
      ):format(names_of(f.nodes))
    end,
  },
  {
    "coordinators_lost",
    last = true,
    function(f)
      if not failed_with(f, "NO_BOOTSTRAP_NODES") or not no_node(f, connected) then
        return
      end
      return (
        "The coordinators (%s) answered before and don't any more: the network here has "
        .. "changed, or they are down."
      ):format(names_of(f.nodes))
    end,
  },
  {
    "not_coordinators",
    last = true,
    function(f)
      if not failed_with(f, "NO_BOOTSTRAP_NODES") or not no_node(f, coordinates) then
        return
      end
      return (
        "The bootstrap nodes (%s) are reached, but none of them coordinates: start them "
        .. "with role 'bootstrap' or can_coordinate."
      ):format(names_of(f.nodes))
    end,
  },
  {
    "wrong_key",
    last = true,
    function(f)
      local code, step = failed_with(f, "WRONG_KEY")
      if code then
        return (
          "Somebody else answered%s: the address belongs to another peer now, or the peer "
          .. "id is not the right one."
        ):format(step and step.address and " at " .. step.address or "")
      end
    end,
  },
  {
    "refused",
    last = true,
    function(f)
      local code, step = failed_with(f, "REFUSED", "NOT_ALLOWED")
      if step and way_refused(step) then
        return -- that is not the peer's last word: relay_failed
      elseif code == "NOT_ALLOWED" then
        return "The peer takes only keys that are on its allow-list: this endpoint's peer id must "
          .. "be added there (or the peer's here)."
      elseif code then
        return "The peer refused: it takes no connections, or its policy's accept said no."
      end
    end,
  },
  {
    "unknown_target",
    last = true,
    function(f)
      if f.error == "UNKNOWN_TARGET" then
        return "The coordinator does not know the peer: is it running, and registered with the "
          .. "same coordinator? Is the peer id right?"
      end
    end,
  },
  {
    "coordinator_busy",
    last = true,
    function(f)
      if f.error == "RATE_LIMITED" or f.error == "OVERLOADED" then
        return "The coordinator asks for patience: try again in a while, or use another one."
      end
    end,
  },
  {
    "coordinator_lost",
    function(f)
      for _, step in ipairs(steps_of(f, { coordinate = true })) do
        if step.error == "PEER_NOT_CONNECTED" then
          return (
            "The connection to the coordinator %s was lost in the middle: with a second one "
            .. "the attempt would have gone on."
          ):format(step.address or "")
        end
      end
    end,
  },
  {
    "coordinator_silent",
    last = true,
    function(f)
      for _, step in ipairs(steps_of(f, { coordinate = true })) do
        if step.error == "TIMEOUT" and f.error ~= "PUNCHING_FAILED" then
          return (
            "The coordinator %s was asked and did not answer in time: it is overloaded, or "
            .. "the way to it is gone. A second one helps."
          ):format(step.address or "")
        end
      end
    end,
  },
  {
    "expired",
    last = true,
    function(f)
      if f.error == "EXPIRED" then
        return "What the coordinator arranged expired before both had begun: one side was too "
          .. "slow. Trying again mostly helps."
      end
    end,
  },
  {
    "no_common_protocol",
    last = true,
    function(f)
      local code = failed_with(f, "ALPN", "VERSION", "TLS")
      if code == "ALPN" then
        return "Both were connected, but have no application protocol (alpn) in common."
      elseif code then
        return "The peer was reached, but the handshake failed: it speaks another version, or is "
          .. "no antquic."
      end
    end,
  },
  {
    "no_common_family",
    last = true,
    function(f)
      local here, there = families(f.sockets or {}), families(f.remote or {})
      if not next(here) or not next(there) or (here.IPv4 and there.IPv4) then
        return
      end
      if here.IPv6 and there.IPv6 then
        return
      end
      return (
        "The peer has %s addresses only, and here there is only %s: one side needs the "
        .. "other kind as well."
      ):format(next(there), next(here))
    end,
  },
  {
    "only_private",
    last = true,
    function(f)
      if not failed_with(f, "NO_CANDIDATES") or not f.remote or #f.remote == 0 then
        return
      end
      for _, c in ipairs(f.remote) do
        if not ip_class.is_near(c.address) then
          return
        end
      end
      return "Of the peer only private addresses are known, and the two share no network: the "
        .. "coordinator must be outside of both networks, to see a public one."
    end,
  },
  {
    "no_addresses",
    last = true,
    function(f)
      if failed_with(f, "NO_CANDIDATES") then
        return "There was no address of the peer that may be tried: it announced none, or hides "
          .. "them (its policy's candidates)."
      end
    end,
  },
  {
    "heard_but_no_handshake",
    last = true,
    function(f)
      if punched_in_vain(f) and was_heard(f) then
        return "Small datagrams pass both ways, but the handshake did not come through: the path "
          .. "drops datagrams of 1200 bytes, or a firewall filters QUIC."
      end
    end,
  },
  {
    "peer_udp_blocked",
    last = true,
    function(f)
      if punched_in_vain(f) and f.theirs and f.theirs.filtering == "none" then
        return "Where the peer is no UDP ever came in: a firewall drops it, and only a relay can "
          .. "help."
      end
    end,
  },
  {
    "same_nat",
    last = true,
    function(f)
      if not punched_in_vain(f) or not f.same_nat then
        return
      end
      local private = false
      for _, c in ipairs(f.remote or {}) do
        private = private or ip_class.is_near(c.address)
      end
      local text = "Both have the same public address, so they are behind one NAT, "
      if private then
        text = text
          .. "and the peer did not answer at its private address: are both in one network "
          .. "(guest networks and carriers keep their clients apart)?"
      else
        text = text .. "but the peer told no private address: its policy hides it, or it has none."
      end
      if f.mine and f.mine.hairpin == false then
        text = text .. " The NAT doesn't hairpin."
      end
      return text
    end,
  },
  {
    "both_random",
    last = true,
    function(f)
      local mine, theirs = f.mine, f.theirs
      if not punched_in_vain(f) or not varies(mine) or not varies(theirs) then
        return
      elseif is_open(mine) or is_open(theirs) or not mine.allocation or not theirs.allocation then
        return
      elseif mine.allocation == "sequential" and theirs.allocation == "sequential" then
        return
      elseif is_random(mine) and is_random(theirs) then
        return "Both NATs are symmetric and choose their ports at random: a direct path is not "
          .. "possible. A relay or IPv6 would help, or another NAT on one side."
      end
      return "Both NATs are symmetric and not both choose their ports in sequence: there is "
        .. "nothing that could be guessed, and a direct path is not possible. A relay or IPv6 "
        .. "would help."
    end,
  },
  {
    "random_and_strict",
    last = true,
    function(f)
      if not punched_in_vain(f) then
        return
      end
      local here = is_random(f.mine) and is_strict(f.theirs)
      local there = is_random(f.theirs) and is_strict(f.mine)
      if here or there then
        return (
          "The NAT %s chooses a random port for each destination, and the one %s takes only "
          .. "what comes from an address and port that it knows: that needs guessing among many "
          .. "ports, and luck. More time or the policy 'patient' may do it; a forwarded port on "
          .. "one side or IPv6 does for sure."
        ):format(here and "here" or "of the peer", here and "of the peer" or "here")
      end
    end,
  },
  {
    "predictable",
    last = true,
    function(f)
      if not punched_in_vain(f) then
        return
      end
      local p = varies(f.mine) and f.mine or varies(f.theirs) and f.theirs
      if p and (p.allocation == "sequential" or p.allocation == "block") then
        return (
          "The NAT %s gives another port to each destination, in an order that can be "
          .. "predicted, unless others behind it take ports meanwhile: more time or the policy "
          .. "'patient' may do it."
        ):format(p == f.mine and "here" or "of the peer")
      end
    end,
  },
  {
    "should_have_worked",
    last = true,
    function(f)
      if
        punched_in_vain(f)
        and f.mine
        and f.theirs
        and f.mine.mapping
        and f.theirs.mapping
        and not varies(f.mine)
        and not varies(f.theirs)
      then
        return "Both NATs give one port to all destinations, which can be punched: a firewall "
          .. "behind or before one of them drops UDP from strangers, or the peer is gone."
      end
    end,
  },
  {
    "nothing_heard",
    function(f)
      if punched_in_vain(f) and not was_heard(f) then
        local sent = sum(punches(f), "sent")
        return (
          "%s of the peer came through%s. Run 'antquic netcheck' with two coordinators on "
          .. "both sides: where both NATs change the port with the destination, only a relay, a "
          .. "forwarded port or IPv6 helps."
        ):format(
          "No datagram",
          sent > 0 and (" (%s sent to it)"):format(plural(sent, "was", "were")) or ""
        )
      end
    end,
  },
  {
    "address_silent",
    function(f)
      local _, step = failed_with(f, "UNREACHABLE")
      if step and step.step == "dial" and #punches(f) == 0 then
        return (
          "Nothing came back from %s: is the peer running there, and may it be reached "
          .. "from outside?"
        ):format(step.address or "the address")
      end
    end,
  },
  {
    "out_of_time",
    function(f)
      if f.error == "TIMEOUT" and f.timeout then
        return (
          "The %.3g s of the attempt were over before everything was tried: give it more "
          .. "time."
        ):format(f.timeout)
      end
    end,
  },
}

-- What holds besides, however the attempt failed.
local REMARKS = {
  {
    "guess_again",
    function(f)
      local guessed = false
      for _, step in ipairs(f.steps) do
        guessed = guessed or step.step == "birthday" or step.step == "predict"
      end
      if guessed and (f.retry_after or 0) > 1 then
        return (
          "Ports are guessed once in 20 s at most: in %.0f s it can be tried again. An attempt "
          .. "that has more time waits for that by itself."
        ):format(math.ceil(f.retry_after))
      end
    end,
  },
  {
    "relay_failed",
    function(f)
      for i = #f.steps, 1, -1 do
        local step = f.steps[i]
        local asked = way_refused(step) and tostring(step.text):find("no relay", 1, true)
        if asked or (step.step == "relay" and step.error) then
          return ("The relay at %s did not help either: %s."):format(
            step.address or "?",
            step.error == "NOT_ALLOWED"
                and "the peer or the coordinator wants none (enable_relay_fallback, can_relay)"
              or errors.describe(step.error, step.text)
          )
        end
      end
    end,
  },
  {
    "relay_off",
    function(f)
      if not punched_in_vain(f) or not f.relay_off then
        return
      end
      for _, node in ipairs(f.nodes or {}) do
        if node.connected and node.can_relay then
          return ("The coordinator %s would relay, but enable_relay_fallback is off here."):format(
            node.address
          )
        end
      end
    end,
  },
  {
    "no_relay",
    function(f)
      if not punched_in_vain(f) then
        return
      end
      local up = false
      for _, node in ipairs(f.nodes or {}) do
        up = up or node.connected
        if node.connected and node.can_relay ~= false then
          return
        end
      end
      return up
        and "No coordinator here relays. One that does (can_relay) carries the packets of two "
          .. "peers that find no direct path."
    end,
  },
  {
    "budget",
    function(f)
      local refused, limit = 0, nil
      for _, step in ipairs(f.steps) do
        if step.limit and step.limit ~= "punch_forbidden" then
          refused = refused + (tonumber(step.refused) or 0)
          limit = step.limit
        end
      end
      if refused > 0 then
        return (
          "%s not sent: the budget %s was used up (limit_%s). Budgets keep "
          .. "strangers from harm; fewer candidates or attempts stay within them."
        ):format(
          plural(refused, "datagram was", "datagrams were"),
          LIMITS[limit] or "",
          limit
        )
      end
    end,
  },
  {
    "forbidden",
    function(f)
      local list = {}
      for _, pair in ipairs(f.pairs) do
        if pair.limit == "punch_forbidden" then
          list[#list + 1] = tostring(pair.remote)
        end
      end
      if #list > 0 then
        return (
          "Nothing may be sent to %s (docs/protocol.md, section 6): it is the peer's to "
          .. "announce a better one."
        ):format(table.concat(list, ", "))
      end
    end,
  },
  {
    "unusable",
    function(f)
      local list = punches(f)
      local last = list[#list]
      local n = last and tonumber(last.unusable) or 0
      if n > 0 then
        return (
          "%d of the peer's addresses could not be tried: private ones, while the two share "
          .. "no network, or of a kind that this endpoint has no socket for."
        ):format(n)
      end
    end,
  },
}

-- A profile without what is unknown.
local function known(profile)
  if type(profile) ~= "table" then
    return nil
  end
  local out = {}
  for key, value in pairs(profile) do
    if value ~= "unknown" then
      out[key] = value
    end
  end
  return out
end

-- Nothing went wrong, or somebody wanted it so.
local WANTED = { CANCELLED = true, CLOSED = true, DUPLICATE = true }

local function apply(rules, facts, out)
  for _, rule in ipairs(rules) do
    local text = rule[2](facts) or nil
    if text then
      out[#out + 1] = { code = rule[1], text = text }
      if rule.last then
        return
      end
    end
  end
end

--- What could be changed: a list of { code, text }, the most telling first;
--- empty for an attempt that has not failed.
---@param facts table
---@return { code: string, text: string }[]
function advice.of(facts)
  local out = {}
  if not facts.error or WANTED[facts.error] then
    return out
  end
  local f = {}
  for key, value in pairs(facts) do
    f[key] = value
  end
  f.steps, f.pairs = facts.steps or {}, facts.pairs or {}
  f.mine, f.theirs = known(facts.mine), known(facts.theirs)
  apply(RULES, f, out)
  apply(REMARKS, f, out)
  return out
end

--- The codes of all rules, in their order.
---@return string[]
function advice.codes()
  local out = {}
  for _, rules in ipairs({ RULES, REMARKS }) do
    for _, rule in ipairs(rules) do
      out[#out + 1] = rule[1]
    end
  end
  return out
end

return advice
