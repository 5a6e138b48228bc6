-- Explanations: what was tried to reach a peer, when, why it failed or won, and
-- what could be changed. Data first; tostring makes it readable.
--
-- SPDX-License-Identifier: MIT

local errors = require("antquic.errors")
local plural = require("antquic.plural")
local present = require("antquic.present")
local stable = require("antquic.stable")

local explain = {}

--- The steps that send punch datagrams, by whatever plan.
explain.PUNCHES = { punch = true, fresh = true, predict = true, birthday = true, repair = true }

---@class antquic.Step
---@field step "dial"|"coordinate"|"punch"|"fresh"|"predict"|"birthday"|"repair"|"relay"|"move"
---@field won boolean
---@field why string? what kind of failure: no_answer, timeout, refused, ...; why it won, or moved
---@field from { kind: "direct"|"relayed", address: string }? of a move: the path before
---@field to { kind: "direct"|"relayed", address: string }? ... and after it
---@field error string? a code
---@field at number seconds after the first step began
---@field duration number? nil: it still runs
---@field address string?
---@field sent integer
---@field received integer
---@field text string?

---@class antquic.Explanation: antquic.Step[]
---@field title string
---@field outcome "connected"|"failed"|"running"
---@field error string?
---@field text string?
---@field duration number?
---@field pairs antquic.Pair[] of the last punch
---@field advice { code: string, text: string }[]
---@field steps_lost integer
local Explanation = { __name = "antquic.Explanation" }

-- Codes by what kind of failure they are.
local WHY = {
  UNREACHABLE = "no_answer",
  PUNCHING_FAILED = "no_answer",
  DISCOVERY_FAILED = "no_answer",
  TIMEOUT = "timeout",
  VALIDATION_TIMEOUT = "timeout",
  IDLE_TIMEOUT = "timeout",
  REFUSED = "refused",
  NOT_ALLOWED = "refused",
  WRONG_KEY = "wrong_key",
  ADDRESS = "forbidden",
  NO_CANDIDATES = "no_address",
  EXPIRED = "expired",
  PEER_NOT_CONNECTED = "coordinator_lost",
  NO_BOOTSTRAP_NODES = "no_coordinator",
  UNKNOWN_TARGET = "unknown_target",
  RATE_LIMITED = "budget",
  OVERLOADED = "budget",
  LIMIT = "budget",
  CANCELLED = "cancelled",
  CLOSED = "cancelled",
  DUPLICATE = "overtaken",
  ALPN = "protocol",
  VERSION = "protocol",
  TLS = "protocol",
  PROTOCOL = "protocol",
  NETWORK = "no_socket",
}

local function why_of(entry)
  if not entry.error then
    return nil
  elseif explain.PUNCHES[entry.step] and entry.sent == 0 and (entry.refused or 0) > 0 then
    return entry.limit == "punch_forbidden" and "forbidden" or "budget"
  end
  return WHY[entry.error] or "failed"
end

-- Why a step won: how the address was known, by the source of its candidate; or by
-- what step.
local SOURCES = { peer = "first_datagram", predicted = "guessed" }
local GUESSES = { predict = true, birthday = true }
local KINDS = { relay = "relayed", fresh = "new_socket", repair = "new_socket" }

local function why_won(entry, pairs)
  if KINDS[entry.step] then
    return KINDS[entry.step]
  end
  for _, pair in ipairs(pairs) do
    if pair.remote == entry.address then
      return SOURCES[pair.remote_source]
        or GUESSES[entry.step] and "found_by_peer"
        or pair.verified and "seen_by_coordinator"
        or "told_by_peer"
    end
  end
end

-- |winners| are steps that led to the connection, each dial after what it is of.
local function add_reasons(winners, pairs)
  local by_address = {}
  for _, entry in ipairs(winners) do
    if entry.step ~= "dial" then
      entry.why = why_won(entry, pairs)
      by_address[entry.address or ""] = entry.why
    end
  end
  for _, entry in ipairs(winners) do
    if entry.step == "dial" then
      entry.why = by_address[entry.address] or why_won(entry, pairs) or "known_address"
    end
  end
end

-- ---- as text -----------------------------------------------------------------

-- Why a connection moved.
local MOVED = {
  silence = "nothing was heard any more on the path before",
  peer_silence = "the peer heard nothing any more",
  direct_path = "a direct path was found",
  peer_moved = "the peer's packets come from there now",
}

-- Why a step won.
local WON = {
  known_address = "the address was known before",
  seen_by_coordinator = "a coordinator saw the peer there",
  told_by_peer = "the peer said that it is there",
  first_datagram = "the peer's datagrams came from there",
  guessed = "that port was guessed",
  found_by_peer = "the peer guessed a port of ours",
  new_socket = "new sockets at both ends",
  relayed = "a coordinator relays",
}

local function place(path)
  return (path.kind == "relayed" and "the relay " or "") .. tostring(path.address)
end

local function outcome(entry)
  if entry.step == "move" then
    return ("from %s to %s in %.3f s: %s"):format(
      place(entry.from),
      place(entry.to),
      entry.duration,
      MOVED[entry.why]
    )
  elseif entry.error then
    return ("failed after %.3f s: %s"):format(
      entry.duration or 0,
      errors.describe(entry.error, entry.text)
    )
  elseif entry.won then
    local why = WON[entry.why]
    return ("worked in %.3f s%s"):format(entry.duration or 0, why and ": " .. why or "")
  elseif not entry.duration then
    return "still running"
  end
  return ("done in %.3f s"):format(entry.duration)
end

local function traffic(entry)
  local parts = {}
  if entry.sent > 0 or entry.received > 0 then
    parts[1] = ("%d sent, %d received"):format(entry.sent, entry.received)
  end
  if (entry.refused or 0) > 0 then
    parts[#parts + 1] = ("%d not sent: %s"):format(entry.refused, entry.limit or "?")
  end
  return #parts > 0 and " (" .. table.concat(parts, "; ") .. ")" or ""
end

local function pair_line(pair)
  local what = pair.state == "succeeded" and "this is the one"
    or (pair.received or 0) > 0 and "heard, but no handshake"
    or (pair.sent or 0) > 0 and "nothing came back"
    or "not tried"
  if pair.error then
    what = ("%s (handshake: %s)"):format(what, errors.describe(pair.error))
  end
  if pair.limit then
    what = ("%s (%d not sent: %s)"):format(what, pair.refused, pair.limit)
  end
  return ("               %-21s  %s%s, %d sent, %d received: %s"):format(
    pair.remote or "?",
    pair.remote_source or "?",
    pair.verified and ", seen by the coordinator" or "",
    pair.sent or 0,
    pair.received or 0,
    what
  )
end

-- Many sockets of ours may be in pairs that are alike.
local function add_pairs(lines, pairs)
  local count, last = 0, nil
  local function flush()
    if last then
      lines[#lines + 1] = last .. (count > 1 and (", %d such pairs"):format(count) or "")
    end
  end
  for _, pair in ipairs(pairs) do
    local line = pair_line(pair)
    if line ~= last then
      flush()
      count, last = 0, line
    end
    count = count + 1
  end
  flush()
end

-- The pairs are those of the last punch before there was a connection.
local function last_punch(self)
  for i = self._made or #self, 1, -1 do
    if explain.PUNCHES[self[i].step] then
      return i
    end
  end
end

-- At most |width| letters a line.
local function wrap(text, width, indent)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1] = line
      line = ""
    end
    line = line == "" and word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. indent)
end

function Explanation.__tostring(self)
  local lines = { self.title }
  local with_pairs = last_punch(self)
  for i, entry in ipairs(self) do
    lines[#lines + 1] = ("  %+.3f s  %-10s  %-21s  %s%s"):format(
      entry.at,
      entry.step,
      entry.address or "-",
      outcome(entry),
      traffic(entry)
    )
    if i == with_pairs and #self.pairs > 1 or (i == with_pairs and not entry.won) then
      add_pairs(lines, self.pairs)
    end
  end
  if #self == 0 then
    lines[#lines + 1] = "  " .. self.without_steps
  end
  if self.steps_lost > 0 then
    lines[#lines + 1] = ("  and %s more"):format(plural(self.steps_lost, "step"))
  end
  if #self.advice > 0 then
    lines[#lines + 1] = "what could help:"
    for _, item in ipairs(self.advice) do
      lines[#lines + 1] = "  - " .. wrap(item.text, 86, "    ")
    end
  end
  return table.concat(lines, "\n")
end

-- ---- as data -----------------------------------------------------------------

local STEP = {
  "step",
  "error",
  "attempt",
  "pairs",
  "heard",
  "unusable",
  "refused",
  "limit",
  "text",
}

-- A record of the core, or of a file, with times from |start|.
local function step_of(r, start)
  local entry = {}
  for _, key in ipairs(STEP) do
    entry[key] = r[key]
  end
  entry.won = r.won or (r.error == nil and r.ended ~= nil)
  entry.at = r.started - start
  entry.duration = r.ended and r.ended - r.started or nil
  entry.address = r.addr
  entry.sent, entry.received = r.sent or 0, r.received or 0
  entry.why = why_of(entry)
  if r.step == "move" then
    entry.why = r.move
    entry.from = { kind = r.before_relayed and "relayed" or "direct", address = r.before }
    entry.to = { kind = r.relayed and "relayed" or "direct", address = r.addr }
  end
  return entry
end

-- The steps that made a connection, and then those that moved it.
local function add_moves(facts, conn)
  local made, list, moves = facts.records or {}, {}, {}
  for i, r in ipairs(made) do
    list[i] = r
  end
  local last = made[#made] and made[#made].started or -math.huge
  for _, r in ipairs(conn._explained or conn._ep._core:explain(conn.id) or {}) do
    if r.started > last then
      moves[#moves + 1] = r
    end
  end
  -- A move is noted when it is done, and an attempt when it is over.
  stable.sort(moves, function(r)
    return r.started
  end)
  for _, r in ipairs(moves) do
    list[#list + 1] = r
  end
  facts.records, facts.made = list, #made
end

--- Makes an explanation of facts: title, records (of the core), without_steps,
--- outcome, and what advice.of takes.
---@param facts table
---@return antquic.Explanation
function explain.of(facts)
  local list = setmetatable({
    title = facts.title,
    without_steps = facts.without_steps,
    outcome = facts.outcome,
    error = facts.error,
    text = facts.text,
    duration = facts.duration,
    pairs = facts.pairs or {},
    steps_lost = facts.steps_lost or 0,
    _made = facts.made, -- so many steps made a connection; what follows moved it
  }, Explanation)
  local start = facts.records[1] and facts.records[1].started or 0
  local winners = {}
  for i, r in ipairs(facts.records) do
    list[i] = step_of(r, start)
    if r.won and not r.error and r.step ~= "move" then
      winners[#winners + 1] = list[i]
    end
  end
  add_reasons(winners, list.pairs)
  facts.steps = list
  list.advice = {}
  if facts.outcome == "failed" then
    list.advice = require("antquic.advice").of(facts)
  end
  return list
end

--- Everything about a session that is forgotten or changes after its end. Of one
--- that |worked| nobody is told what could help.
---@param s antquic.Session
---@param worked boolean?
---@return table
function explain.remember(s, worked)
  local ep = s._ep
  local core = ep._core
  local info = core:session_info(s.id)
  return {
    records = core:explain(s.id) or {},
    pairs = present.pairs(core:session_pairs(s.id) or {}),
    remote = info and present.candidates(info.remote or {}) or {},
    attempt = info and info.attempt,
    same_nat = info and info.same_nat,
    retry_after = info and info.retry_at and math.max(0, info.retry_at - ep._sched.now()),
    steps_lost = info and info.steps_lost,
    mine = info and info.local_profile,
    theirs = info and info.remote_profile,
    relay_off = ep._relay_off,
    sockets = not worked and ep:local_addresses() or nil,
    nodes = not worked and present.nodes(core:bootstrap_list() or {}, ep._lost) or nil,
  }
end

--- Of a session that runs or ended.
---@param s antquic.Session
---@return antquic.Explanation
function explain.session(s)
  local facts = {}
  for key, value in pairs(s._facts or explain.remember(s)) do
    facts[key] = value
  end
  if s.connection then
    add_moves(facts, s.connection)
  end
  facts.duration = (s._ended or s._ep._sched.now()) - s.started
  facts.timeout = s._deadline - s.started
  facts.error, facts.text = s._code, s._message
  if not s._over then
    facts.outcome, facts.error, facts.text = "running", nil, nil
    facts.title = ("session to %s: %s"):format(tostring(s.peer_id), tostring(s.phase))
  elseif s.connection then
    facts.outcome = "connected"
    facts.title = ("session to %s: connected after %.3f s"):format(
      tostring(s.peer_id),
      facts.duration
    )
  else
    facts.outcome = "failed"
    facts.title = ("session to %s: failed after %.3f s: %s (%s)"):format(
      tostring(s.peer_id),
      facts.duration,
      tostring(s._message),
      tostring(s._code)
    )
  end
  facts.without_steps = "nothing was tried yet"
  if s._over then
    facts.without_steps = "nothing was tried"
  end
  return explain.of(facts)
end

--- Of a connection: how it was made, and moved later.
---@param conn antquic.Connection
---@return antquic.Explanation
function explain.connection(conn)
  local title = conn:_label()
  local path = conn.state ~= "closed" and conn:path()
  if conn.state == "closed" then
    local message = tostring(conn._closed_message)
    title = message:find(title, 1, true) and message or title .. ": " .. message
  elseif path then
    local kind = path.via and "relayed via" or path.kind .. ","
    title = ("%s: %s %s, rtt %.1f ms"):format(title, kind, path.remote or "?", path.rtt * 1e3)
  end
  local s = conn._session
  local out = {}
  for key, value in pairs(s and s._facts or {}) do
    out[key] = value
  end
  add_moves(out, conn)
  out.title = title
  out.duration = s and s._ended - s.started or nil
  out.outcome = "connected"
  if not conn.peer_id then -- no handshake: it never was one
    out.outcome, out.error, out.text = "failed", conn._closed_code, conn._closed_message
  end
  out.without_steps = conn.outgoing and "dialed by address, in one step" or "the peer made it"
  return explain.of(out)
end

--- One sentence for an error message: what was tried and how each ended.
---@param s antquic.Session
---@return string
function explain.failure(s)
  local parts = {}
  for _, entry in ipairs(explain.session(s)) do
    local where = entry.address and (" " .. entry.address) or ""
    parts[#parts + 1] = ("%s%s %s"):format(entry.step, where, outcome(entry))
  end
  return table.concat(parts, "; ")
end

return explain
