-- An attempt as a ladder: lanes, arrows between them, marks on them, bands of
-- phases; from the record of one peer, or of both.
--
-- SPDX-License-Identifier: MIT

local stable = require("antquic.stable")
local match = require("antquic.trace.match")
local side = require("antquic.trace.side")
local told = require("antquic.trace.told")

local text, number = side.text, side.number

local model = {}

-- Lanes, left to right.
model.A, model.NAT_A, model.C, model.NAT_B, model.B = 1, 2, 3, 4, 5

-- A TTL up to this is an opener's: it is to die on the way.
local LOW_TTL = 8
-- Datagrams that get an arrow; more are counted.
local MAX_ARROWS = 1500

-- ---- arrows of one side ------------------------------------------------------

local KINDS = {
  punch_sent = "punch",
  punch_received = "punch",
  punch_refused = "punch",
  punch_dropped = "punch",
  quic_sent = "quic",
  quic_received = "quic",
  quic_refused = "quic",
  control_sent = "control",
  control_received = "control",
  observe_sent = "observe",
  observe_received = "observe",
}

local function label_of(entry)
  local type = text(entry.type) or "datagram"
  if KINDS[entry.e] == "punch" then
    return number(entry.seq) and ("%s %.0f"):format(type, entry.seq) or type
  elseif KINDS[entry.e] == "quic" then
    return number(entry.len) and ("%s, %.0f bytes"):format(type, entry.len) or type
  elseif KINDS[entry.e] == "observe" then
    return entry.e == "observe_sent" and "how do you see this socket?" or "seen as"
  end
  return type
end

-- Fields for people, in their order.
local SHOWN = {
  { "local", "from socket" },
  { "remote", "other end" },
  { "ttl", "TTL" },
  { "seq", "sequence number" },
  { "of", "answers number" },
  { "by", "sent by the" },
  { "address", "address in it" },
  { "count", "candidates" },
  { "delay", "start delay, s" },
  { "rtt", "round trip told, s" },
  { "len", "bytes" },
  { "plan", "plan" },
  { "request", "request" },
  { "conn", "connection" },
  { "error", "error" },
  { "text", "why" },
}

local function details_of(entry)
  local out = {}
  for _, item in ipairs(SHOWN) do
    local value = entry[item[1]]
    if type(value) == "number" then
      value = number(value) and ("%.10g"):format(value)
    else
      value = text(value)
    end
    if value then
      out[#out + 1] = { item[2], value }
    end
  end
  return out
end

local function is_sent(entry)
  return entry.e:find("_sent$") ~= nil or entry.e:find("_refused$") ~= nil
end

-- ---- the ladder --------------------------------------------------------------

local function one_way(s, attempt)
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "control_received" and number(entry.rtt) then
      return entry.rtt / 4 -- over the coordinator, both ways; straight may be half
    end
  end
  for _, node in ipairs(s.node_list) do
    if node.rtt then
      return node.rtt / 2
    end
  end
  return 0.01
end

-- The time between a probe and its answer, by number of the probe.
local function answers(attempt)
  local out = {}
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "punch_received" and entry.type == "answer" and number(entry.of) then
      out[entry.of] = out[entry.of] or entry.t
    end
  end
  return out
end

local function socket_and_peer(entry)
  return ("%s %s"):format(text(entry["local"]) or "", text(entry.remote) or "")
end

-- Which questions of how a socket is seen were answered.
local function observed(attempt)
  local out = {}
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "observe_received" then
      out[socket_and_peer(entry)] = true
    end
  end
  return out
end

local Builder = {}
Builder.__index = Builder

function Builder:arrow(arrow)
  if #self.arrows >= MAX_ARROWS then
    self.not_drawn = self.not_drawn + 1
    return
  end
  self.arrows[#self.arrows + 1] = arrow
end

-- Of what there was to be seen when |entry| was sent by |me|.
local function fate_of_sent(b, me, entry, got)
  local ttl = number(entry.ttl)
  if entry.e:find("_refused$") then
    return "refused", "not sent: " .. (text(entry.text) or "a budget was used up")
  elseif got then
    local way = got.t + me.peer.shift - entry.t - me.shift
    local what = ("arrived after %.1f ms"):format(way * 1e3)
    local why = match.why_dropped(got)
    if why then
      return "dropped", ("%s, and was dropped: %s"):format(what, why)
    end
    return "arrived", what
  elseif ttl and ttl > 0 and ttl <= LOW_TTL then
    return "expired", ("dies after %.0f hops, as it should: it opens the own NAT"):format(ttl)
  elseif b.two and entry.t + me.shift + b.delay > me.peer.till then
    return "unknown", "sent when the other side's record no longer tells of the attempt"
  elseif b.two then
    return "lost", "did not arrive: the other side's NAT or firewall dropped it, or it was lost"
  end
  return "unknown", "what became of it is not known: there is no record of the other side"
end

function Builder:datagram(me, entry)
  local sent = is_sent(entry)
  local t = entry.t + me.shift
  local arrow = {
    kind = KINDS[entry.e],
    type = text(entry.type) or "?",
    label = label_of(entry),
    details = details_of(entry),
    remote = text(entry.remote),
  }
  if entry.by and number(entry.seq) then
    arrow.key = ("%s %.0f"):format(tostring(entry.by), entry.seq)
  end
  if sent then
    local got = self.two and me.went.came[entry]
    arrow.from, arrow.to = me.lane, me.other
    arrow.t1 = t
    arrow.fate, arrow.what = fate_of_sent(self, me, entry, got)
    if got then
      arrow.t2 = got.t + me.peer.shift
    elseif not self.two and me.answers[entry.seq or -1] and arrow.fate == "unknown" then
      local back = me.answers[entry.seq] + me.shift
      arrow.fate, arrow.t2, arrow.guess = "arrived", (t + back) / 2, true
      arrow.what = ("arrived: it was answered after %.1f ms"):format((back - t) * 1e3)
    else
      arrow.t2, arrow.guess = t + self.delay, true
    end
    if arrow.fate == "refused" then
      arrow.t2 = t
    elseif arrow.fate == "expired" then
      arrow.t2 = t + self.delay / 4
    end
  else
    if self.two and me.peer.went.sent[entry] then
      return -- drawn from the sender's side
    end
    arrow.from, arrow.to = me.other, me.lane
    arrow.t1, arrow.t2, arrow.guess = t - self.delay, t, true
    if entry.e == "punch_dropped" then
      arrow.fate = "dropped"
      arrow.what = "came and was dropped: " .. (text(entry.text) or "?")
    else
      arrow.fate, arrow.what = "arrived", "arrived; when it was sent is not known"
    end
  end
  self:arrow(arrow)
end

-- To and from the coordinator, or the peer: how long it takes is half of the
-- round trip, at a guess.
function Builder:message(me, entry)
  local t = entry.t + me.shift
  local node = me.nodes[entry.remote or ""]
  local there = model.C
  if not node and me.attempt.conns[entry.conn or ""] then
    there = me.other
    if self.two and not is_sent(entry) then
      return -- drawn from the sender's side
    end
  end
  local half = node and node.rtt and node.rtt / 2 or self.delay
  local arrow = {
    kind = KINDS[entry.e],
    type = text(entry.type) or "?",
    label = label_of(entry),
    details = details_of(entry),
    guess = true,
  }
  if is_sent(entry) then
    arrow.from, arrow.to, arrow.t1, arrow.t2 = me.lane, there, t, t + half
    arrow.fate, arrow.what = "arrived", "over a connection, which sees to it that it arrives"
    if arrow.kind == "observe" and me.told[socket_and_peer(entry)] then
      arrow.what = "an observation datagram, which was answered"
    elseif arrow.kind == "observe" then
      arrow.fate, arrow.what = "unknown", "an observation datagram; no answer of it came"
    end
  else
    arrow.from, arrow.to, arrow.t1, arrow.t2 = there, me.lane, t - half, t
    arrow.fate, arrow.what = "arrived", "sent half a round trip before, at a guess"
  end
  if entry.error then
    arrow.fate = "bad"
  end
  self:arrow(arrow)
end

local MARKS = {
  dial = "dial",
  dial_ended = "dial",
  frame_sent = "frame",
  frame_received = "frame",
  lost = "gap",
  profile = "profile",
}
local EVENTS = {
  step_started = true,
  step_ended = true,
  phase_transition = true,
  candidate_validated = true,
  connection_established = true,
  traversal_succeeded = true,
  traversal_failed = true,
  connection_lost = true,
  address_observed = true,
  limit_hit = true,
  policy_error = true,
  path_changed = true,
}

local function words(entry)
  local e = entry.e
  if e == "dial" then
    return ("handshake with %s begins"):format(text(entry.remote) or "?")
  elseif e == "dial_ended" then
    return ("handshake with %s %s"):format(
      text(entry.remote) or "?",
      entry.error and ("failed: " .. (text(entry.error) or "?")) or "is through"
    )
  elseif e == "frame_sent" or e == "frame_received" then
    return ("%s %s %s"):format(
      e == "frame_sent" and "tells" or "hears",
      text(entry.type) or "a frame",
      text(entry.address) or ""
    )
  elseif e == "lost" then
    return "entries of the record are missing here"
  elseif e == "profile" then
    return "what is known of the NAT"
  end
  local kind = (text(entry.kind) or "event"):gsub("_", " ")
  local rest = text(entry.text) or text(entry.error) or text(entry.address)
  if entry.kind == "phase_transition" then
    return ("phase %s: %s"):format(text(entry.to) or "?", text(entry.text) or "")
  elseif entry.kind == "step_started" or entry.kind == "step_ended" then
    kind = ("%s %s"):format(
      text(entry.step) or "step",
      entry.kind == "step_started" and "starts" or (entry.error and "failed" or "ends")
    )
    rest = text(entry.text) or text(entry.error)
  end
  return rest and ("%s: %s"):format(kind, rest) or kind
end

function Builder:mark(me, entry)
  local kind = MARKS[entry.e] or (entry.e == "event" and EVENTS[entry.kind or ""] and "event")
  if not kind then
    return
  end
  self.marks[#self.marks + 1] = {
    kind = kind,
    lane = me.lane,
    t = entry.t + me.shift,
    label = words(entry),
    details = details_of(entry),
    bad = entry.error ~= nil or entry.kind == "limit_hit" or entry.e == "lost",
    phase = entry.kind == "phase_transition" or nil,
  }
end

function Builder:side(me)
  for _, entry in ipairs(me.attempt.entries) do
    local kind = KINDS[entry.e]
    if kind == "control" or kind == "observe" then
      self:message(me, entry)
    elseif kind then
      self:datagram(me, entry)
    else
      self:mark(me, entry)
    end
  end
  for _, phase in ipairs(me.attempt.phases) do
    self.phases[#self.phases + 1] = {
      name = phase.name,
      text = phase.text,
      from = phase.from + me.shift,
      to = phase.to + me.shift,
      lane = me.lane,
      side = me.name,
    }
  end
end

-- ---- lanes -------------------------------------------------------------------

local function addresses_of(s, attempt)
  local mine = side.first(attempt, function(entry)
    return (entry.e == "punch_sent" or entry.e == "dial") and text(entry["local"])
  end) or (type(s.header.sockets) == "table" and text(s.header.sockets[1]))
  local outside = side.first(attempt, function(entry)
    return (entry.type == "ANSWER" or entry.type == "OFFER") and text(entry.address)
  end)
  return mine, outside
end

local function lane_texts(self, a, b)
  local mine, outside = addresses_of(a.record, a.attempt)
  local lanes = {
    { title = "this peer", short = "here", lines = { mine } },
    { title = "its NAT", short = "NAT", lines = outside and { "seen as", outside } or {} },
    { title = "coordinator", short = "coord.", lines = {} },
    { title = "peer's NAT", short = "NAT", lines = {} },
    { title = "the peer", short = "peer", lines = {} },
  }
  for i, node in ipairs(a.record.node_list) do
    if i <= 3 then
      lanes[3].lines[i] = node.address
    end
  end
  if b then
    lanes[1].title = a.attempt.initiator and "initiator" or "target"
    lanes[5].title = a.attempt.initiator and "target" or "initiator"
    lanes[1].short = a.attempt.initiator and "init." or "target"
    lanes[5].short = a.attempt.initiator and "target" or "init."
    lanes[5].lines[1] = addresses_of(b.record, b.attempt)
    -- Each record has stand-ins of its own: all here are those of the left one.
    local outside_there = side.first(a.attempt, function(entry)
      return entry.e == "dial" and text(entry.remote)
    end)
    lanes[4].lines = outside_there and { "dialed at", outside_there } or {}
  else
    local n = 0
    for address in pairs(a.attempt.remotes) do
      n = n + 1
      if n <= 3 then
        lanes[4].lines[n] = address
      end
    end
    table.sort(lanes[4].lines)
    lanes[5].lines[1] = "no record of it"
  end
  self.lanes = lanes
end

-- ---- all of it ---------------------------------------------------------------

--- When an arrow starts, or a mark is.
function model.time_of(item)
  return item.t1 or item.t
end

-- Many of a kind that go out together are drawn close, and named once.
local BURST, BURST_GAP = 5, 0.002

local function mark_bursts(arrows)
  local function is_next(x, y)
    return x.from == y.from
      and x.kind == y.kind
      and x.type == y.type
      and (x.fate == "refused") == (y.fate == "refused")
      and y.t1 - x.t1 <= BURST_GAP
  end
  local i = 1
  while i <= #arrows do
    local last = i
    while arrows[last + 1] and is_next(arrows[last], arrows[last + 1]) do
      last = last + 1
    end
    if last - i + 1 >= BURST then
      arrows[i].burst = last - i + 1
      for k = i + 1, last do
        arrows[k].in_burst = true
      end
    end
    i = last + 1
  end
end

local function build(a, attempt_a, b, attempt_b)
  local self = setmetatable({
    arrows = {},
    marks = {},
    phases = {},
    not_drawn = 0,
    two = b ~= nil,
    session = attempt_a.session,
    start = attempt_a.start,
    delay = one_way(a, attempt_a),
  }, Builder)
  local me = {
    name = "a",
    record = a,
    attempt = attempt_a,
    nodes = a.nodes,
    lane = model.A,
    other = model.B,
    shift = 0,
    answers = answers(attempt_a),
    told = observed(attempt_a),
  }
  local they
  if b then
    local shift
    shift, self.clock = match.clocks(attempt_a, attempt_b)
    they = {
      name = "b",
      record = b,
      attempt = attempt_b,
      nodes = b.nodes,
      lane = model.B,
      other = model.A,
      shift = shift,
      answers = answers(attempt_b),
      told = observed(attempt_b),
    }
    self.start = math.min(self.start, attempt_b.start + shift)
    me.peer, they.peer = they, me
    me.went = match.datagrams(attempt_a, attempt_b)
    they.went = match.datagrams(attempt_b, attempt_a)
    me.till = attempt_a.finish + side.AFTER
    they.till = attempt_b.finish + shift + side.AFTER
  end
  self:side(me)
  if they then
    self:side(they)
    self.told_there = told.explain(b, attempt_b)
  end
  self.left, self.right = me, they
  lane_texts(self, me, they)
  self.told = told.explain(a, attempt_a)
  self.outcome = self.told.outcome
  stable.sort(self.arrows, model.time_of)
  mark_bursts(self.arrows)
  stable.sort(self.marks, model.time_of)
  return self
end

--- The ladders of one record, or of two that belong together.
---@param records antquic.Record[] one or two
---@return table[]? ladders
---@return string? message
---@return string? code
function model.ladders(records)
  local a = side.read(records[1])
  local b = records[2] and side.read(records[2])
  local out = {}
  if not b then
    for _, attempt in ipairs(a.attempts) do
      out[#out + 1] = build(a, attempt)
    end
    if #out == 0 then
      return nil, "the record has no attempt to reach a peer", "FORMAT"
    end
    return out
  end
  local drawn = {}
  for _, attempt in ipairs(a.attempts) do
    local other = side.attempt_with(b, attempt.pairs)
    -- The initiator is on the left.
    local swap = other and other.initiator and not attempt.initiator
    if swap and not drawn[other] then
      side.join(a, attempt, other)
      out[#out + 1] = build(b, other, a, attempt)
      drawn[other] = true
    elseif other and not swap then
      side.join(b, other, attempt)
      out[#out + 1] = build(a, attempt, b, other)
    end
  end
  if #out == 0 then
    return nil, "the two records have no attempt in common", "FORMAT"
  end
  return out
end

return model
