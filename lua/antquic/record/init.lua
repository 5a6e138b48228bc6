-- Records: what an endpoint saw and did, a JSON object a line, for who wants to
-- know afterwards how an attempt went. docs/record.md has the format.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local json = require("antquic.json")
local names = require("antquic.record.names")
local options = require("antquic.options")
local reader = require("antquic.record.reader")

local record = {}

local MAX_BYTES, MIN_BYTES = 16 * 1024 * 1024, 64 * 1024
-- Kept for the last line, which tells what is missing.
local RESERVE = 1024
-- Cookies that are remembered, to say which probe an answer answers.
local MAX_COOKIES = 4096
-- Seconds; what was written is in the file after this at the latest.
local FLUSH = 1

local OPTIONS = {
  max_bytes = { type = "integer", default = MAX_BYTES, min = MIN_BYTES, unit = "bytes" },
}

---@class antquic.Recorder
local methods = {}
local Recorder = { __index = methods, __name = "antquic.Recorder" }

-- ---- lines -------------------------------------------------------------------

local function put(self, line)
  local ok, done, why = pcall(self._sink, line .. "\n")
  if not ok or not done then
    self._failure = tostring(why or done)
  end
  self._bytes = self._bytes + #line + 1
  self._lines = self._lines + 1
end

-- The newest are left out, all from the first that doesn't fit: a record without
-- holes tells how it began, and its last line how many are missing.
local function is_full(self)
  if self._failure then
    return true
  elseif self._left_out > 0 then
    self._left_out = self._left_out + 1
    return true
  end
  return false
end

local function write(self, entry)
  local line = json.encode(entry)
  if self._bytes + #line + 1 > self._max - RESERVE then
    self._left_out = self._left_out + 1
  else
    put(self, line)
  end
end

local function stamp(self, time, what)
  return { t = math.floor((time - self._start) * 1e6 + 0.5) / 1e6, e = what }
end

-- ---- from the core's entries -------------------------------------------------

-- The session of the punches, which both peers have; a hash of it, so that a
-- record is of no use to whoever would send datagrams of a running one.
local function pair_of(self, bytes)
  local known = self._pairs[bytes]
  if not known then
    local sum = core.sha256_new():update("antquic record 1 "):update(bytes):hex()
    known = sum:sub(1, 16)
    self._pairs[bytes] = known
  end
  return known
end

-- Who sent the probe with this cookie, and which one it was.
local function answered(self, entry, out)
  local key = (entry.punch_session or "") .. (entry.cookie or "")
  if entry.type == "answer" then
    out.of = self._cookies[key]
  elseif entry.cookie then
    if self._ncookies >= MAX_COOKIES then
      self._cookies, self._ncookies = {}, 0
    end
    if not self._cookies[key] then
      self._ncookies = self._ncookies + 1
    end
    self._cookies[key] = entry.seq
  end
end

local COPIED = {
  "type",
  "socket",
  "seq",
  "ttl",
  "len",
  "mark",
  "request",
  "count",
  "delay",
  "rtt",
  "verified",
  "source",
  "error",
  "text",
  "plan",
  "profile",
  "flags",
}

-- Of an entry of core:poll_record(): no text but the core's own constants.
local function from_core(self, entry)
  if is_full(self) then
    return
  end
  local n = self._names
  local out = stamp(self, entry.time, entry.kind)
  for _, key in ipairs(COPIED) do
    out[key] = entry[key]
  end
  out.session = n:name("s", entry.session)
  out.conn = n:name("c", entry.conn)
  out["local"] = n:address(entry.local_addr)
  out.remote = n:address(entry.remote)
  out.address = n:address(entry.addr)
  if entry.punch_session then
    out.pair = pair_of(self, entry.punch_session)
  end
  if entry.initiator ~= nil then
    out.by = entry.initiator and "initiator" or "target"
    answered(self, entry, out)
  end
  write(self, out)
end

-- ---- from events -------------------------------------------------------------

-- Fields that hold neither names nor addresses.
local PLAIN = {
  "from",
  "to",
  "reason",
  "error",
  "duration",
  "rtt",
  "round",
  "count",
  "attempt",
  "failures",
  "outgoing",
  "fallback_available",
  "relayed",
  "step",
  "policy",
  "choice",
  "sent",
  "received",
}
-- Whose text is ours. The others' may be the peer's words.
local TEXTS = {
  phase_transition = true,
  session_state_changed = true,
  traversal_failed = true,
  limit_hit = true,
  step_ended = true,
}
-- Of no use afterwards.
local SKIPPED = { handler_error = true, events_lost = true }

local function addresses(self, list)
  local out = setmetatable({}, json.list)
  for i, address in ipairs(list) do
    out[i] = self._names:address(address)
  end
  return out
end

local function candidate(self, c)
  return {
    address = self._names:address(c.address or c.addr),
    source = c.source,
    state = c.state,
    verified = c.verified,
  }
end

-- What a step was asked to do.
local function asked(self, what)
  local out = {}
  for key, value in pairs(what) do
    if key == "addrs" or key == "order" then
      out[key] = addresses(self, value)
    elseif key == "via" then
      out.via = setmetatable({}, json.list)
      for i, id in ipairs(type(value) == "table" and value or { value }) do
        out.via[i] = self._names:name("c", id)
      end
    elseif type(value) ~= "table" then
      out[key] = value
    end
  end
  return out
end

local function from_event(self, ev)
  if is_full(self) then
    return
  end
  local n = self._names
  local out = stamp(self, ev.time, "event")
  out.kind = ev.kind
  for _, key in ipairs(PLAIN) do
    out[key] = ev[key]
  end
  out.session = n:name("s", ev.session)
  out.conn = n:name("c", ev.conn)
  out.peer = n:name("p", ev.peer_id and ev.peer_id:bytes())
  out.address = n:address(ev.address)
  out["local"] = n:address(ev.local_address)
  if TEXTS[ev.kind] then
    out.text = n:text(ev.text)
  end
  if ev.candidate then
    out.candidate = candidate(self, ev.candidate)
  end
  if type(ev.what) == "table" then
    out.what = asked(self, ev.what)
  end
  write(self, out)
end

-- ---- from sessions -----------------------------------------------------------

local STEP = {
  "step",
  "won",
  "error",
  "sent",
  "received",
  "attempt",
  "pairs",
  "heard",
  "unusable",
  "refused",
  "limit",
}
local PAIR = {
  "state",
  "remote_source",
  "verified",
  "answered",
  "sent",
  "received",
  "refused",
  "limit",
  "dialed",
  "error",
}

local function copy(from, keys)
  local out = {}
  for _, key in ipairs(keys) do
    out[key] = from[key]
  end
  return out
end

-- What was tried, once it is over; of sessions that the peer began as well.
local function explained(self, id, time)
  if is_full(self) then
    return
  end
  local inner, n = self._ep._core, self._names
  local out = stamp(self, time, "explain")
  out.session = n:name("s", id)
  out.steps, out.pairs = setmetatable({}, json.list), setmetatable({}, json.list)
  for i, r in ipairs(inner:explain(id) or {}) do
    local step = copy(r, STEP)
    step.at = r.started - self._start
    step.duration = r.ended and r.ended - r.started
    step.address = n:address(r.addr)
    step.text = n:text(r.text)
    out.steps[i] = step
  end
  for i, p in ipairs(inner:session_pairs(id) or {}) do
    local pair = copy(p, PAIR)
    pair["local"], pair.remote = n:address(p.local_addr), n:address(p.remote)
    out.pairs[i] = pair
  end
  local info = inner:session_info(id)
  if info then
    out.initiator, out.same_nat = info.initiator, info.same_nat
    out.phase, out.attempt = info.phase, info.attempt
    out.coordinator = n:address(info.coordinator_addr)
    out.peer = n:name("p", info.peer)
  end
  write(self, out)
  self:flush()
end

-- A fault of the record ends the record, never what it tells of.
local function guard(self, fn, ...)
  local ok, why = pcall(fn, self, ...)
  if not ok then
    self._failure = self._failure or tostring(why)
  end
end

local function session_began(self, s, timeout)
  if is_full(self) then
    return
  end
  local n = self._names
  local out = stamp(self, s.started, "session")
  out.session = n:name("s", s.id)
  out.peer = n:name("p", s.peer_id:bytes())
  out.known = addresses(self, s.known or {})
  out.timeout = timeout
  out.policy = s._policy.name
  write(self, out)
end

-- What was measured of the NAT; how is of no use without the addresses.
local function own_profile(self)
  local p = self._ep:nat_profile()
  local function is_known(name)
    return p[name] ~= nil and p[name] ~= "unknown"
  end
  if p and (is_known("mapping") or is_known("filtering") or is_known("allocation")) then
    p.evidence = nil
    self:profile("local", p)
  end
end

local function tell(self, ev)
  if ev.kind == "nat_profile_changed" then
    own_profile(self)
    return
  end
  if not SKIPPED[ev.kind] then
    from_event(self, ev)
  end
  if (ev.kind == "traversal_succeeded" or ev.kind == "traversal_failed") and ev.session then
    self:drain()
    explained(self, ev.session, ev.time)
  end
end

--- For the endpoint: a session began here.
function methods:session(s, timeout)
  guard(self, session_began, s, timeout)
end

--- For the endpoint: each of its events.
function methods:event(ev)
  guard(self, tell, ev)
end

local function take(self)
  local inner = self._ep._core
  local poll = inner.poll_record
  local entry = poll(inner)
  while entry do
    from_core(self, entry)
    self._seen = entry.time
    entry = poll(inner)
  end
  if (self._seen or 0) > self._flushed + FLUSH then
    self:flush()
  end
end

--- For the pump: takes what the core has.
function methods:drain()
  guard(self, take)
end

function methods:flush()
  if self._file and not self._failure then
    self._file:flush()
  end
  self._flushed = self._seen or self._flushed
end

--- A NAT profile: "local", or of the peer of |session|. Strings, numbers and
--- booleans of it are written, lists of such too; addresses are renamed.
---@param side "local"|"remote"
---@param profile table
---@param session integer?
function methods:profile(side, profile, session)
  if is_full(self) then
    return
  end
  local function tame(value)
    if type(value) == "string" then
      return self._names:text(value)
    elseif type(value) ~= "table" then
      return value
    end
    local out = {}
    for key, item in pairs(value) do
      out[key] = tame(item)
    end
    return out
  end
  local out = stamp(self, self._ep._sched.now(), "profile")
  out.side, out.session = side, self._names:name("s", session)
  out.profile = tame(profile)
  if out.profile.block then
    out.profile.block.base = self._names:port(out.profile.block.base)
  end
  write(self, out)
end

-- ---- begin and end -----------------------------------------------------------

local function header(self)
  local ep, n = self._ep, self._names
  n:name("p", ep.peer_id:bytes()) -- p1 is always us
  local nodes = setmetatable({}, json.list)
  for i, node in ipairs(ep:bootstrap_nodes() or {}) do
    nodes[i] = {
      address = n:address(node.address),
      connected = node.connected,
      can_coordinate = node.can_coordinate,
      rtt = node.rtt,
      observed = n:address(node.observed),
    }
  end
  local own = setmetatable({}, json.list)
  for i, c in ipairs(ep:discover_candidates() or {}) do
    own[i] = candidate(self, c)
  end
  write(self, {
    antquic_record = reader.VERSION,
    version = (core.version()),
    role = ep.role,
    policy = ep._policy.name,
    sockets = addresses(self, ep:local_addresses() or {}),
    nodes = nodes,
    candidates = own,
  })
end

--- How far it is: lines, bytes, left_out (lines beyond the bound), others
--- (addresses beyond the bound of distinct ones), and error where writing
--- failed.
---@return table
function methods:status()
  return {
    lines = self._lines,
    bytes = self._bytes,
    left_out = self._left_out,
    others = self._names.others,
    error = self._failure,
  }
end

--- Ends it. Idempotent. nil, message, "NETWORK" where something could not be
--- written.
---@return true?
---@return string? message
---@return string? code
function methods:close()
  if not self._closed then
    self._closed = true
    local ep = self._ep
    if not ep._closed then
      self:drain()
      ep._core:record(false)
    end
    ep._recorder, ep._source.eager = nil, ep._store ~= nil
    self._untap()
    if not self._failure then
      local out = stamp(self, ep._sched.now(), "end")
      out.left_out = self._left_out > 0 and self._left_out or nil
      out.others = self._names.others > 0 and self._names.others or nil
      put(self, json.encode(out))
    end
    if self._file then
      local ok, why = self._file:close()
      self._failure = self._failure or (not ok and tostring(why)) or nil
    end
  end
  if self._failure then
    return nil, "the record: " .. self._failure, "NETWORK"
  end
  return true
end

Recorder.__close = methods.close

function Recorder.__tostring(self)
  return ("antquic.Recorder{lines=%d, bytes=%d%s}"):format(
    self._lines,
    self._bytes,
    self._closed and ", closed" or ""
  )
end

local function random(ep)
  local a, b = ep._world.random(2):byte(1, 2)
  return (a * 256 + b) / 65536
end

--- ep:record.
---@param ep antquic.Endpoint
---@param sink string|fun(line: string): any, string?
---@param given { max_bytes: integer? }?
---@return antquic.Recorder?
---@return string? message
---@return string? code
function record.start(ep, sink, given)
  if type(sink) ~= "string" and type(sink) ~= "function" then
    error("ep:record: a path or a function is expected, got " .. type(sink), 3)
  end
  local opts = options.check("ep:record", OPTIONS, given, 3)
  if ep._recorder then
    return nil, "ep:record: a record of this endpoint is being written", "INVAL"
  end
  local file, why
  local out
  if type(sink) == "string" then
    file, why = io.open(sink, "wb")
    if not file then
      return nil, "ep:record: " .. tostring(why), "NETWORK"
    end
    file:setvbuf("full", 65536)
    out = function(line)
      return file:write(line)
    end
  else
    out = function(line)
      sink(line)
      return true
    end
  end
  local ok, message, code = ep._core:record(true)
  if not ok then
    if file then
      file:close()
    end
    return nil, "ep:record: " .. tostring(message), code
  end
  local now = ep._sched.now()
  local self = setmetatable({
    _ep = ep,
    _sink = out,
    _file = file,
    _names = names.new(function()
      return random(ep)
    end),
    _start = now,
    _flushed = now,
    _max = opts.max_bytes,
    _bytes = 0,
    _lines = 0,
    _left_out = 0,
    _pairs = {},
    _cookies = {},
    _ncookies = 0,
  }, Recorder)
  ep._recorder, ep._source.eager = self, true
  self._untap = ep._hub:tap(function(ev)
    self:event(ev)
  end)
  header(self)
  own_profile(self)
  return self
end

return record
