-- What happened in a simulation, in sentences: the events of the endpoints, the
-- datagrams of the network, and what the script did. The same seed gives the same
-- text, byte for byte.
--
-- SPDX-License-Identifier: MIT

local options = require("antquic.options")
local plural = require("antquic.plural")
local stable = require("antquic.stable")

local story = {}

---@class antquic.sim.Story
local Story = {}
Story.__index = Story

-- What is kept; later lines are counted only.
local MAX_LINES = 200000

--- For the simulation's use.
function story.new(sim)
  return setmetatable({
    _sim = sim,
    _names = {}, -- of nodes
    _places = {}, -- IP address -> name
    _people = {}, -- peer id -> name of the host
    _lines = {},
    _flying = {}, -- datagram -> its line
    _seen_as = {}, -- name of a host -> the IP that it was told last
    _lost = 0,
  }, Story)
end

-- ---- learning ----------------------------------------------------------------

local function add(self, line)
  if #self._lines >= MAX_LINES then
    self._lost = self._lost + 1
    return
  end
  line.time = line.time or self._sim._clock.now()
  self._lines[#self._lines + 1] = line
end

--- A node's name.
function Story:name(node, name)
  self._names[node] = name
  self:places(node)
end

--- Where a node is now.
function Story:places(node)
  for _, ip in ipairs(self._sim._core:addresses(node)) do
    self._places[ip] = self._names[node]
  end
end

--- A sentence of the script.
function Story:note(text)
  add(self, { text = text })
end

-- Who has that address: "bob.nat (5.0.0.2:4000)".
local function place(self, address)
  local ip = address:match("^%[(.*)%]:%d+$") or address:match("^(.*):%d+$") or address
  local name = self._places[ip]
  return name and ("%s (%s)"):format(name, address) or address
end

local function person(self, id)
  return id and (self._people[id] or tostring(id)) or "somebody"
end

local function milliseconds(seconds)
  return ("%.1f ms"):format((seconds or 0) * 1e3)
end

-- By kind: the sentence of an event of |who|'s endpoint; nil is none.
local tell = {}

function tell.bootstrap_connected(self, who, ev)
  return ("%s is registered with %s"):format(who, place(self, ev.address))
end

function tell.bootstrap_lost(self, who, ev)
  return ("%s has lost %s: %s"):format(who, place(self, ev.address), ev.text or ev.error or "?")
end

-- Once for each IP address: each socket hears of its own port.
function tell.address_observed(self, who, ev)
  local ip = ev.address:match("^(.*):%d+$")
  if self._seen_as[who] ~= ip then
    self._seen_as[who] = ip
    return ("%s learns that its address is %s"):format(who, ev.address)
  end
end

function tell.coordination_requested(self, who, ev)
  return ("%s asks %s for %s"):format(who, place(self, ev.address), person(self, ev.peer_id))
end

function tell.coordination_synchronized(self, who, ev)
  return ("%s is told by %s of %s"):format(
    who,
    place(self, ev.address or "?"),
    person(self, ev.peer_id)
  )
end

function tell.hole_punching_started(self, who, ev)
  return ("%s punches towards %s, %s"):format(
    who,
    person(self, ev.peer_id),
    plural(ev.count or 0, "pair")
  )
end

function tell.traversal_succeeded(self, who, ev)
  return ("%s has reached %s at %s, after %s"):format(
    who,
    person(self, ev.peer_id),
    place(self, ev.address),
    milliseconds(ev.duration)
  )
end

function tell.traversal_failed(self, who, ev)
  return ("%s gives %s up after %s: %s"):format(
    who,
    person(self, ev.peer_id),
    milliseconds(ev.duration),
    ev.text and ev.text ~= "" and ev.text or ev.error or "?"
  )
end

function tell.connection_established(self, who, ev)
  if ev.session then
    return nil
  elseif ev.outgoing then
    return ("%s is connected to %s at %s"):format(
      who,
      person(self, ev.peer_id),
      place(self, ev.address)
    )
  end
  return ("%s has a connection of %s, from %s"):format(
    who,
    person(self, ev.peer_id),
    place(self, ev.address)
  )
end

function tell.connection_lost(self, who, ev)
  local why = ev.text and ev.text ~= "" and ev.text or ev.error or ev.reason or "closed"
  return ("%s loses its connection to %s: %s"):format(who, person(self, ev.peer_id), why)
end

function tell.dial_failed(self, who, ev)
  return ("%s dials %s in vain: %s"):format(
    who,
    place(self, ev.address or "?"),
    ev.text and ev.text ~= "" and ev.text or ev.error or "?"
  )
end

function tell.path_changed(self, who, ev)
  return ("%s's way to %s is by %s now"):format(
    who,
    person(self, ev.peer_id),
    place(self, ev.address or "?")
  )
end

function tell.interfaces_changed(_, who)
  return who .. " sees its interfaces change"
end

function tell.limit_hit(_, who, ev)
  return ("%s meets the limit %s"):format(who, ev.text or "?")
end

function tell.policy_error(_, who, ev)
  return ("%s's policy %s fails in %s: %s"):format(who, ev.policy, ev.choice, ev.text)
end

function tell.handler_error(_, who, ev)
  return ("%s's program fails in %s: %s"):format(who, ev.where, ev.text)
end

--- Listens to an endpoint of a host.
function Story:follow(host, ep)
  local who = host.name
  self._people[ep.peer_id] = who
  ep._hub:tap(function(ev)
    local sentence = tell[ev.kind]
    local text = sentence and sentence(self, who, ev)
    if text then
      add(self, { text = text, who = who, time = ev.time })
    end
  end)
end

local WORD = {
  probe = "a probe",
  answer = "an answer",
  opener = "an opener",
  observe = "an observation",
  initial = "an Initial",
  handshake = "a Handshake packet",
  retry = "a Retry",
  version = "a Version Negotiation",
  ["0rtt"] = "a 0-RTT packet",
  ["1rtt"] = "a packet",
  tunnel = "a tunnel datagram",
  other = "a datagram",
}
local WORDS = {
  probe = "probes",
  answer = "answers",
  opener = "openers",
  observe = "observations",
  initial = "Initials",
  handshake = "Handshake packets",
  retry = "Retries",
  version = "Version Negotiations",
  ["0rtt"] = "0-RTT packets",
  ["1rtt"] = "packets",
  tunnel = "tunnel datagrams",
  other = "datagrams",
}

-- How a datagram ended, at which node.
local END = {
  lost = "lost on the link of %s",
  queue = "lost in the queue of %s",
  mtu = "too large for the link of %s",
  down = "lost, the link of %s is down",
  ttl = "the TTL is used up at %s",
  no_route = "there is no way to it from %s",
  filtered = "dropped by %s",
  blocked = "dropped by %s, which blocks UDP",
  nat_full = "dropped by %s, whose table is full",
  hairpin = "dropped by %s, which does not hairpin",
  no_socket = "nobody listens there at %s",
  dead = "%s is dead",
  overflow = "%s is too slow for it",
  no_memory = "%s has no memory",
}

--- Reads what the network has recorded since.
function Story:read()
  local core, flying = self._sim._core, self._flying
  local record = core:poll_trace()
  while record do
    local line = flying[record.datagram]
    if record.fate == "sent" then
      line = {
        time = record.time,
        who = self._names[record.node] or "?",
        kind = record.kind,
        to = record.to,
      }
      flying[record.datagram] = line
      add(self, line)
    elseif line and record.fate ~= "forwarded" then
      -- Of two copies the one that arrives tells.
      if record.fate == "delivered" then
        line.fate = "arrives"
        line.at = line.at or record.time
      elseif not line.fate then
        line.fate = (END[record.fate] or record.fate):format(
          self._names[record.node] or "the internet"
        )
      end
    end
    record = core:poll_trace()
  end
end

-- ---- telling -----------------------------------------------------------------

local PUNCHES = { probe = true, answer = true, opener = true }

local TEXT = {
  datagrams = {
    type = "string",
    default = "punches",
    choices = { "punches", "all", "none" },
  },
  from = { type = "number", default = 0, unit = "seconds" },
  to = { type = "number", default = math.huge, unit = "seconds" },
  only = { type = "table" },
}

-- Is that line wanted?
local function chosen(line, given, only)
  if
    line.kind
    and (given.datagrams == "none" or (given.datagrams == "punches" and not PUNCHES[line.kind]))
  then
    return false
  end
  return not only or not line.who or only[line.who] == true
end

-- Datagrams alike between two sentences are one line: its first, with how many.
local function gather(self, given)
  local only
  if given.only then
    only = {}
    for _, name in ipairs(given.only) do
      only[name] = true
    end
  end
  local start = self._sim._start
  local sorted = {}
  for i, line in ipairs(self._lines) do
    sorted[i] = line
  end
  stable.sort(sorted, function(line)
    return line.time
  end)
  local out, same = {}, {}
  for _, line in ipairs(sorted) do
    local time = line.time - start
    if time >= given.from and time <= given.to and chosen(line, given, only) then
      if line.text then
        same = {}
        out[#out + 1] = { time = time, text = line.text }
      else
        local fate = line.fate or "still on its way"
        local key = table.concat({ line.who, line.kind, line.to, fate }, "\0")
        local first = same[key]
        if first then
          first.count = first.count + 1
          first.last = time
        else
          first = { time = time, line = line, count = 1, fate = fate }
          same[key] = first
          out[#out + 1] = first
        end
      end
    end
  end
  return out
end

local function sentence(self, entry)
  if entry.text then
    return entry.text
  end
  local line = entry.line
  local to = place(self, line.to)
  if entry.count > 1 then
    return ("%s sends %d %s to %s until %.4f: %s"):format(
      line.who,
      entry.count,
      WORDS[line.kind] or line.kind,
      to,
      entry.last,
      entry.fate == "arrives" and "they arrive" or entry.fate
    )
  end
  local fate = entry.fate
  if fate == "arrives" then
    fate = ("it arrives %.1f ms later"):format((line.at - line.time) * 1e3)
  end
  return ("%s sends %s to %s: %s"):format(line.who, WORD[line.kind] or line.kind, to, fate)
end

--- The text. See sim:trace.
function Story:text(given, level)
  given = options.check("sim:trace", TEXT, given, level)
  self:read()
  local out = {}
  for i, entry in ipairs(gather(self, given)) do
    out[i] = ("%9.4f  %s\n"):format(entry.time, sentence(self, entry))
  end
  if self._lost > 0 then
    out[#out + 1] = ("           and %d more that were not kept\n"):format(self._lost)
  end
  return table.concat(out)
end

local function pattern_of(line)
  local plain = line:gsub("^%s+", ""):gsub("%s+$", "")
  return (plain:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".-")) .. "$"
end

--- The first of these lines that isn't told after those before it, or nil.
function Story:lacks(text)
  local told = {}
  for line in self:text():gmatch("[^\n]+") do
    told[#told + 1] = line
  end
  local at = 0
  for line in text:gmatch("[^\n]+") do
    if line:find("%S") then
      local pattern = pattern_of(line)
      repeat
        at = at + 1
      until not told[at] or told[at]:find("%f[%S]" .. pattern)
      if not told[at] then
        return (line:gsub("^%s+", ""))
      end
    end
  end
end

return story
