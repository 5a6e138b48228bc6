-- What NAT each side of a recorded attempt was behind, as far as the record tells:
-- for each property the values that are possible, and how that is known.
--
-- Values are those of the simulator: mapping "none", "ei", "flow" (Linux: ei as
-- long as nobody takes the port), "ad", "apd"; filtering "ei", "ad", "apd"; ports
-- "preserve", "sequential", "random", "block".
--
-- SPDX-License-Identifier: MIT

local json = require("antquic.json")
local side = require("antquic.trace.side")
local stable = require("antquic.stable")

local text, number = side.text, side.number

local infer = {}

---@class antquic.replay.Property
---@field values string[] that are possible; all of them: unknown
---@field how "measured"|"told"|"seen"|"unknown"
---@field why string

---@class antquic.replay.Side
---@field name string
---@field mapping antquic.replay.Property
---@field filtering antquic.replay.Property
---@field ports antquic.replay.Property
---@field step integer? of sequential ports
---@field block_size integer?
---@field blocked boolean? nothing ever came in

local ALL = {
  mapping = { "none", "ei", "flow", "ad", "apd" },
  filtering = { "ei", "ad", "apd" },
  ports = { "preserve", "sequential", "random", "block" },
}

-- ---- addresses, of stand-ins -------------------------------------------------

local function split(address)
  local ip, port = (text(address) or ""):match("^(.*):(%d+)$")
  return ip, tonumber(port)
end

local function ip_of(address)
  return (split(address))
end

local function port_of(address)
  return (select(2, split(address)))
end

-- ---- what one record holds ---------------------------------------------------

-- Control messages in which a coordinator says how it sees us.
local TELLS = { REGISTERED = true, ANSWER = true, OFFER = true }

-- How others saw sockets of this endpoint: { socket, by, seen }, up to |till|.
local function observations(record, till)
  local list, main = {}, nil
  for _, entry in ipairs(record.entries) do
    if entry.t > till then
      break
    end
    main = main or text(entry["local"])
    local seen = text(entry.address)
    local by = text(entry.remote)
    local told = entry.e == "observe_received"
      or (entry.e == "frame_received" and entry.type == "OBSERVED_ADDRESS")
      or (entry.e == "control_received" and TELLS[entry.type or ""])
    if told and seen and by and port_of(seen) then
      list[#list + 1] = { socket = text(entry["local"]) or main or "", by = by, seen = seen }
    end
  end
  return list
end

-- Addresses of this endpoint's own interfaces.
local function own_addresses(record)
  local own = {}
  for _, c in ipairs(side.list(record.header.candidates)) do
    local address = c.source == "local" and text(c.address)
    if address then
      own[ip_of(address) or ""] = address
    end
  end
  for _, entry in ipairs(record.entries) do
    if entry.kind == "candidate_discovered" and type(entry.candidate) == "table" then
      local address = text(entry.candidate.address)
      if entry.candidate.source == "local" and not entry.session and address then
        own[ip_of(address) or ""] = address
      end
    end
  end
  return own
end

-- ---- properties --------------------------------------------------------------

local function unknown(kind)
  return { values = ALL[kind], how = "unknown", why = "nothing tells" }
end

local function known(how, why, ...)
  return { values = { ... }, how = how, why = why }
end

local RULES = {
  none = { "none" },
  endpoint_independent = { "ei", "flow" },
  address_dependent = { "ad" },
  address_and_port_dependent = { "apd" },
}
local FILTERS = {
  endpoint_independent = { "ei" },
  address_dependent = { "ad" },
  address_and_port_dependent = { "apd" },
}
local PORTS = {
  preserving = { "preserve" },
  sequential = { "sequential" },
  random = { "random" },
  block = { "block" },
}

-- From a profile, which is told or measured.
local function from_profile(out, profile, how, why)
  if type(profile) ~= "table" then
    return
  end
  local function take(key, names, field)
    local values = names[text(profile[field]) or ""]
    if values and out[key].how == "unknown" then
      out[key] = { values = values, how = how, why = why }
    end
  end
  take("mapping", RULES, "mapping")
  take("filtering", FILTERS, "filtering")
  take("ports", PORTS, "allocation")
  if out.filtering.how == "unknown" and profile.filtering_most == "address_dependent" then
    out.filtering = { values = { "ei", "ad" }, how = how, why = why .. ", bounded only" }
  end
  if profile.filtering == "none" then
    out.blocked = true
  end
  local step = number(profile.step)
  if step and step == math.floor(step) and math.abs(step) <= 1024 and step ~= 0 then
    out.step = out.step or step
  end
  local block = number(profile.block_size)
    or (type(profile.block) == "table" and number(profile.block.size))
  if block and block == math.floor(block) and block >= 1 and block <= 65535 then
    out.block_size = out.block_size or block
  end
end

local function last_profile(record, till, own)
  local found
  for _, entry in ipairs(record.entries) do
    if entry.t > till then
      break
    end
    if own and entry.e == "profile" and entry.side == "local" then
      found = entry.profile
    elseif own and entry.e == "control_sent" and type(entry.profile) == "table" then
      found = found or entry.profile
    elseif
      not own
      and entry.e == "control_received"
      and (entry.type == "ANSWER" or entry.type == "OFFER")
      and type(entry.profile) == "table"
    then
      found = entry.profile
    end
  end
  return found
end

-- One address became another: there is a NAT, of whatever mapping.
local function translated(inside, outside)
  return known("seen", ("%s became %s"):format(inside, outside), "ei", "flow", "ad", "apd")
end

-- Mapping from how several others saw one socket.
local function mapping_of(list, own)
  local by_socket, order = {}, {}
  for _, o in ipairs(list) do
    if not by_socket[o.socket] then
      by_socket[o.socket] = {}
      order[#order + 1] = o.socket
    end
    local group = by_socket[o.socket]
    group[#group + 1] = o
  end
  for _, o in ipairs(list) do
    if own[ip_of(o.seen) or ""] then
      return known("seen", ("%s is an address of its own"):format(o.seen), "none")
    end
  end
  local same
  for _, socket in ipairs(order) do
    local group = by_socket[socket]
    local first = group[1]
    for i = 2, #group do
      local o = group[i]
      if o.by ~= first.by and o.seen ~= first.seen then
        if ip_of(o.by) == ip_of(first.by) then
          return known(
            "seen",
            ("%s saw %s, %s saw %s"):format(first.by, first.seen, o.by, o.seen),
            "apd"
          )
        end
        return known(
          "seen",
          ("%s saw %s, %s saw %s"):format(first.by, first.seen, o.by, o.seen),
          "ad",
          "apd"
        )
      elseif ip_of(o.by) ~= ip_of(first.by) then
        same = same or ("%s and %s saw %s"):format(first.by, o.by, o.seen)
      end
    end
  end
  if same then
    return known("seen", same, "ei", "flow")
  end
  for _, o in ipairs(list) do
    if port_of(o.socket) ~= port_of(o.seen) then
      return translated(o.socket, o.seen)
    end
  end
  return unknown("mapping")
end

local function ports_of(list)
  local kept, changed
  for _, o in ipairs(list) do
    local inside, outside = port_of(o.socket), port_of(o.seen)
    if inside and outside then
      if inside == outside then
        kept = kept or o
      else
        changed = changed or o
      end
    end
  end
  if kept and not changed then
    return known("seen", ("the socket's port %d stays"):format(port_of(kept.seen)), "preserve")
  elseif changed then
    return known(
      "seen",
      ("%s became %s"):format(changed.socket, changed.seen),
      "random",
      "sequential",
      "block"
    )
  end
  return unknown("ports")
end

-- A filter from what came in although, or only after, the own side had spoken.
-- |arrows| are the ladder's, into this side, whose name is |lane|, and out of it.
local function filtering_of(arrows, lane)
  local spoken, spoken_ip = {}, {}
  local kept_out, let_in_same_ip, let_in = nil, nil, nil
  for _, it in ipairs(arrows) do
    if it.out then
      spoken[it.peer or ""] = true
      spoken_ip[ip_of(it.peer) or ""] = true
    elseif it.arrived and it.from then
      if not spoken_ip[ip_of(it.from) or ""] then
        let_in = let_in or it
      elseif not spoken[it.from] then
        let_in_same_ip = let_in_same_ip or it
      end
    elseif it.lost and not next(spoken) then
      kept_out = kept_out or it
    end
  end
  if let_in then
    return known("seen", let_in.label .. " came in before anything was sent there", "ei")
  elseif let_in_same_ip then
    return known(
      "seen",
      let_in_same_ip.label .. " came in from a port that nothing was sent to",
      "ei",
      "ad"
    )
  elseif kept_out then
    return known(
      "seen",
      ("%s did not come in while nothing had been sent from %s"):format(kept_out.label, lane),
      "ad",
      "apd"
    )
  end
  return unknown("filtering")
end

local function new_side(name)
  return {
    name = name,
    mapping = unknown("mapping"),
    filtering = unknown("filtering"),
    ports = unknown("ports"),
  }
end

local function prefer(out, key, property)
  if out[key].how == "unknown" then
    out[key] = property
  end
end

-- A side by its own record.
local function by_itself(name, record, attempt)
  local out = new_side(name)
  local till = attempt.finish
  from_profile(out, last_profile(record, till, true), "measured", "its NAT profile")
  local list = observations(record, till)
  prefer(out, "mapping", mapping_of(list, own_addresses(record)))
  prefer(out, "ports", ports_of(list))
  local heard = false
  for _, entry in ipairs(record.entries) do
    heard = heard or entry.e == "quic_received" or entry.e == "punch_received"
  end
  out.passes = heard
  out.blocked = (out.blocked or #record.entries > 0) and not heard
  return out
end

-- The peer by the record of the other side.
local function by_peer(name, record, attempt)
  local out = new_side(name)
  from_profile(out, last_profile(record, attempt.finish, false), "told", "its profile, as told")
  local verified, inside, heard
  local after = false
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "control_received" and (entry.type == "ANSWER" or entry.type == "OFFER") then
      after = true
    elseif entry.e == "candidate" and after then
      local address = text(entry.address)
      if entry.verified == true then
        verified = verified or address
      elseif entry.source == "local" then
        inside = inside or address
      end
    elseif entry.e ~= "candidate" then
      after = false
      if entry.e == "punch_received" then
        heard = heard or text(entry.remote)
      end
    end
  end
  if verified and inside and ip_of(verified) == ip_of(inside) then
    prefer(out, "mapping", known("seen", verified .. " is an address of its own", "none"))
  elseif verified and heard == verified then
    prefer(
      out,
      "mapping",
      known("seen", ("it came from %s, as the coordinator saw it"):format(heard), "ei", "flow")
    )
  elseif verified and heard and ip_of(heard) == ip_of(verified) then
    prefer(
      out,
      "mapping",
      known(
        "seen",
        ("the coordinator saw %s, it came from %s"):format(verified, heard),
        "ad",
        "apd"
      )
    )
  elseif verified and inside and ip_of(verified) ~= ip_of(inside) then
    prefer(out, "mapping", translated(inside, verified))
  end
  out.passes = verified ~= nil or heard ~= nil
  if out.passes then
    out.blocked = nil
  end
  if verified and inside and port_of(verified) == port_of(inside) then
    prefer(out, "ports", known("seen", "its socket's port stays", "preserve"))
  elseif verified and inside and ip_of(verified) ~= ip_of(inside) then
    prefer(
      out,
      "ports",
      known("seen", ("%s became %s"):format(inside, verified), "random", "sequential", "block")
    )
  end
  return out
end

-- ---- the network -------------------------------------------------------------

-- The way between the peers and back, where it was measured.
local function between(ladder)
  for _, s in ipairs({ ladder.left, ladder.right }) do
    for _, entry in ipairs(s.attempt.entries) do
      local is_path = entry.kind == "connection_established" or entry.kind == "path_validated"
      if is_path and number(entry.rtt) and s.attempt.conns[entry.conn or ""] then
        return entry.rtt
      end
    end
  end
end

-- One-way delays of the three links to the middle: a, b, and c of the coordinator.
-- The round trips to the coordinator are measured or told; between the peers only
-- where they met.
local function delays(ladder, mine, theirs)
  local function rtt_of(s)
    for _, node in ipairs(s and s.node_list or {}) do
      if node.rtt then
        return node.rtt
      end
    end
  end
  local here, there = rtt_of(mine), rtt_of(theirs)
  local both = side.first(ladder.left.attempt, function(entry)
    return entry.e == "control_received" and number(entry.rtt)
  end)
  local how = there and "measured by both" or both and "measured here, and told by the coordinator"
  if not there and both and here then
    there = math.max(0, both - here)
  end
  here = here or there or 0.04
  there = there or here
  local direct = between(ladder)
  local c = direct and math.max(0, (here + there - direct) / 4) or 0
  c = math.min(c, here / 2, there / 2)
  return {
    a = math.min(here / 2 - c, 30),
    b = math.min(there / 2 - c, 30),
    c = math.min(c, 30),
    how = (how or "assumed") .. (direct and ", and the way between them" or ""),
  }
end

-- Of the datagrams of the connection that was made, when both records are there.
-- Initials are none of them: they may have met a NAT that was closed.
local function loss_of(ladder)
  local sent, lost = 0, 0
  for _, arrow in ipairs(ladder.arrows) do
    local is_data = arrow.kind == "quic" and arrow.type ~= "initial"
    if ladder.two and ladder.outcome == "connected" and is_data then
      if arrow.fate == "arrived" then
        sent = sent + 1
      elseif arrow.fate == "lost" then
        sent, lost = sent + 1, lost + 1
      end
    end
  end
  if sent < 8 then
    return 0, "assumed: none"
  end
  return lost / sent, ("%d of %d datagrams of the connection"):format(lost, sent)
end

-- Arrows into a lane and out of it, in order, with the addresses of that side.
local function traffic(ladder, attempt, lane)
  local out = {}
  local from_of = {}
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "punch_received" and number(entry.seq) then
      from_of[("%s %.0f"):format(tostring(entry.by), entry.seq)] = text(entry.remote)
    end
  end
  for _, arrow in ipairs(ladder.arrows) do
    if arrow.kind == "punch" and arrow.fate ~= "refused" then
      if arrow.from == lane then
        out[#out + 1] = { t = arrow.t1, out = true, peer = arrow.remote, label = arrow.label }
      elseif arrow.to == lane and arrow.fate ~= "expired" then
        out[#out + 1] = {
          t = arrow.t2,
          arrived = arrow.fate == "arrived",
          lost = arrow.fate == "lost",
          from = arrow.key and from_of[arrow.key],
          label = arrow.label,
        }
      end
    end
  end
  return stable.sort(out, function(it)
    return it.t
  end)
end

-- How long the endpoint knew a coordinator when the attempt began: time to measure
-- the NAT in front of it.
local MAX_SETTLE = 5

local function settle_of(record, attempt)
  for _, node in ipairs(side.list(record.header.nodes)) do
    if node.connected == true then
      return MAX_SETTLE -- since before the record
    end
  end
  local since = side.first(record, function(entry)
    return entry.kind == "bootstrap_connected" and entry.t
  end)
  return since and math.max(0, math.min(MAX_SETTLE, attempt.start - since)) or 0
end

--- What a ladder (trace.model) and the records it is of tell of the network.
---@param ladder table
---@return table model { a, b: antquic.replay.Side, delay, loss, shared, ... }
function infer.of(ladder)
  local left, right = ladder.left, ladder.right
  local out = { session = ladder.session, outcome = ladder.outcome, error = ladder.told.error }
  for _, step in ipairs(ladder.told) do
    if step.step == "relay" and step.won then
      out.outcome = "failed" -- nothing direct was found, and that is the question
      out.relayed = true
    end
  end
  local one = by_itself(ladder.lanes[1].title, left.record.source, left.attempt)
  local other = by_peer(ladder.lanes[5].title, left.record.source, left.attempt)
  if right then
    local own = by_itself(ladder.lanes[5].title, right.record.source, right.attempt)
    local seen = by_peer(ladder.lanes[1].title, right.record.source, right.attempt)
    for _, key in ipairs({ "mapping", "filtering", "ports" }) do
      prefer(own, key, other[key])
      prefer(one, key, seen[key])
    end
    own.step, own.block_size = own.step or other.step, own.block_size or other.block_size
    other = own
    prefer(one, "filtering", filtering_of(traffic(ladder, left.attempt, 1), one.name))
    prefer(other, "filtering", filtering_of(traffic(ladder, right.attempt, 5), other.name))
  end
  -- Who asked is a in the simulation.
  local swap = not left.attempt.initiator and right == nil
  out.a, out.b = one, other
  out.delay = delays(ladder, left.record, right and right.record)
  if swap then
    out.a, out.b = other, one
    out.delay.a, out.delay.b = out.delay.b, out.delay.a
  end
  out.loss, out.loss_how = loss_of(ladder)
  local over = left.attempt.over
  out.shared = over ~= nil and over.same_nat == true
  out.coordinators = math.max(1, math.min(4, #left.record.node_list))
  local begun = side.first(left.record.source, function(entry)
    return entry.e == "session" and entry.session == left.attempt.session and entry
  end)
  out.timeout = begun and number(begun.timeout)
  if not out.timeout or out.timeout < 0.1 or out.timeout > 3600 then
    out.timeout = 10
  end
  out.settle = settle_of(left.record.source, left.attempt)
  out.policy = (begun and text(begun.policy)) or text(left.record.header.policy)
  out.duration = ladder.told.duration
  return out
end

--- Plain tables of it, for JSON.
function infer.plain(model)
  local function plain(s)
    local out = { name = s.name, blocked = s.blocked, step = s.step, block_size = s.block_size }
    for _, key in ipairs({ "mapping", "filtering", "ports" }) do
      out[key] = {
        values = setmetatable(s[key].values, json.list),
        how = s[key].how,
        why = s[key].why,
      }
    end
    return out
  end
  return {
    session = model.session,
    outcome = model.outcome,
    error = model.error,
    a = plain(model.a),
    b = plain(model.b),
    delay_a = model.delay.a,
    delay_b = model.delay.b,
    delay_c = model.delay.c,
    delay_how = model.delay.how,
    loss = model.loss,
    loss_how = model.loss_how,
    shared = model.shared,
    timeout = model.timeout,
    settle = model.settle,
    policy = model.policy,
  }
end

return infer
