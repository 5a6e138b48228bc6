-- One record, read as the story of its sessions: who was met where, when each
-- phase began, which datagrams belong to which attempt.
--
-- What comes from a file may be anything: everything is read through the
-- accessors below, and is a string, a number or nil afterwards.
--
-- SPDX-License-Identifier: MIT

local side = {}

-- A moment before an attempt and after it belong to it.
local BEFORE, AFTER = 0.005, 0.1
side.AFTER = AFTER
local MAX_TEXT = 200

--- A string of the file, cut where it is no name any more.
function side.text(value)
  return type(value) == "string" and value:sub(1, MAX_TEXT) or nil
end
local text = side.text

--- A number of the file that is one.
function side.number(value)
  if type(value) == "number" and value == value and math.abs(value) < 1e15 then
    return value
  end
end
local number = side.number

--- A list of tables of the file.
function side.list(value)
  local out = {}
  for i, item in ipairs(type(value) == "table" and value or {}) do
    if type(item) == "table" then
      out[#out + 1] = item
    end
    if i >= 1000 then
      break
    end
  end
  return out
end
local list = side.list

--- What |test| gives for the first entry of a record or an attempt for which it
--- gives anything.
---@generic T
---@param of { entries: table[] }
---@param test fun(entry: table): T?
---@return T?
function side.first(of, test)
  for _, entry in ipairs(of.entries) do
    local value = test(entry)
    if value then
      return value
    end
  end
end

---@class antquic.trace.Attempt what one side knows of one attempt
---@field session string
---@field start number
---@field finish number
---@field initiator boolean
---@field pairs table<string, true> sessions of the punches
---@field conns table<string, true>
---@field remotes table<string, true> the peer's addresses
---@field more table<string, true> other sessions that are part of it
---@field phases { name: string, from: number, to: number, text: string? }[]
---@field over table? the explain entry
---@field ended table? the event traversal_succeeded or traversal_failed

local function new_attempt(name, t)
  return {
    session = name,
    start = t,
    finish = t,
    pairs = {},
    conns = {},
    remotes = {},
    more = {},
    phases = {},
    entries = {},
  }
end

local function enter_phase(attempt, entry)
  local phases, name = attempt.phases, text(entry.to)
  if name then
    if #phases > 0 then
      phases[#phases].to = entry.t
    end
    phases[#phases + 1] = { name = name, from = entry.t, text = text(entry.text) }
  end
end

-- By name of session, with what their own entries say.
local function attempts_of(record)
  local by_name, order = {}, {}
  for _, entry in ipairs(record.entries) do
    local name = text(entry.session)
    if name then
      local a = by_name[name]
      if not a then
        a = new_attempt(name, entry.t)
        by_name[name] = a
        order[#order + 1] = a
      end
      if not a.over then
        a.finish = entry.t
      end
      if entry.e == "explain" then
        a.over = entry
        a.initiator = entry.initiator == true
      elseif entry.e == "session" then
        a.initiator = true
      end
      local pair = text(entry.pair)
      if pair then
        a.pairs[pair] = true
      end
      local conn = text(entry.conn)
      local is_peers = entry.e == "dial"
        or entry.kind == "connection_established"
        or entry.kind == "traversal_succeeded"
      if conn and is_peers then
        a.conns[conn] = true
      end
      if entry.e == "punch_sent" or entry.e == "punch_received" or entry.e == "dial" then
        local remote = text(entry.remote)
        if remote then
          a.remotes[remote] = true
        end
      end
      if entry.kind == "traversal_succeeded" or entry.kind == "traversal_failed" then
        a.ended = entry
      elseif entry.kind == "phase_transition" and entry.e == "event" then
        enter_phase(a, entry)
      end
    end
  end
  for _, a in ipairs(order) do
    if #a.phases > 0 then
      a.phases[#a.phases].to = a.finish
    end
  end
  return order
end

-- The coordinators, and how far they are.
local function nodes_of(record)
  local nodes, order = {}, {}
  local function node(address)
    address = text(address)
    if address and not nodes[address] then
      nodes[address] = { address = address }
      order[#order + 1] = nodes[address]
    end
    return address and nodes[address] or {}
  end
  for _, n in ipairs(list(record.header.nodes)) do
    local it = node(n.address)
    it.connected, it.can_coordinate = n.connected == true, n.can_coordinate == true
    it.rtt = number(n.rtt)
    it.last_seen = it.connected and 0 or nil
  end
  for _, entry in ipairs(record.entries) do
    if entry.kind == "bootstrap_connected" then
      local it = node(entry.address)
      it.connected, it.rtt, it.last_seen = true, number(entry.rtt), entry.t
      it.can_coordinate = true
    elseif entry.kind == "bootstrap_lost" then
      node(entry.address).connected = false
    elseif
      (entry.e == "control_received" or entry.e == "control_sent")
      and (entry.type == "ANSWER" or entry.type == "OFFER" or entry.type == "REQUEST")
    then
      node(entry.remote)
    end
  end
  return nodes, order
end

-- Does an entry without a session of its own belong to the attempt?
local function belongs(attempt, entry, nodes)
  if entry.session then
    return entry.session == attempt.session or attempt.more[entry.session] == true
  elseif attempt.pairs[entry.pair or ""] then
    return true
  elseif attempt.conns[entry.conn or ""] then
    return true
  elseif entry.e == "punch_dropped" or entry.e == "profile" or entry.e == "lost" then
    return true
  elseif nodes[entry.remote or ""] then
    return entry.e ~= "quic_sent" and entry.e ~= "quic_received"
  elseif attempt.remotes[entry.remote or ""] then
    return true
  end
  return entry.kind == "address_observed" or entry.kind == "limit_hit"
end

local function collect(self, attempt)
  attempt.entries = {}
  for _, entry in ipairs(self.source.entries) do -- in the order of time
    if entry.t > attempt.finish + AFTER then
      break
    elseif entry.t >= attempt.start - BEFORE and belongs(attempt, entry, self.nodes) then
      attempt.entries[#attempt.entries + 1] = entry
    end
  end
end

--- Reads one record.
---@param record antquic.Record
---@return table side
function side.read(record)
  local self = { header = record.header, source = record }
  self.attempts = attempts_of(record)
  local nodes, order = nodes_of(record)
  self.nodes, self.node_list = nodes, order
  for _, attempt in ipairs(self.attempts) do
    collect(self, attempt)
  end
  return self
end

local function meets(one, other)
  for key in pairs(one) do
    if other[key] then
      return true
    end
  end
  return false
end

local function mark_of(entry)
  local is_quic = entry.e == "quic_sent" or entry.e == "quic_received"
  return is_quic and number(entry.mark)
end

--- A target has a session for each offer, and the initiator one for all of them:
--- what belongs to |other|, the initiator's attempt, becomes part of |attempt|.
function side.join(self, attempt, other)
  local marks, conns = {}, {}
  for _, entry in ipairs(other.entries) do
    marks[mark_of(entry) or 0] = true
  end
  for _, entry in ipairs(self.source.entries) do
    local mark, conn = mark_of(entry), text(entry.conn)
    if mark and conn and marks[mark] then
      conns[conn] = true
    end
  end
  for _, a in ipairs(self.attempts) do
    if a ~= attempt and (meets(a.pairs, other.pairs) or meets(a.conns, conns)) then
      attempt.more[a.session] = true
      attempt.finish = math.max(attempt.finish, a.finish)
      for _, set in ipairs({ "pairs", "conns", "remotes" }) do
        for key in pairs(a[set]) do
          attempt[set][key] = true
        end
      end
    end
  end
  collect(self, attempt)
end

--- The attempt of |self| with one of these sessions of punches, or nil.
function side.attempt_with(self, pairs_)
  for _, attempt in ipairs(self.attempts) do
    for pair in pairs(attempt.pairs) do
      if pairs_[pair] then
        return attempt
      end
    end
  end
end

return side
