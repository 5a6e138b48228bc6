-- What an endpoint remembers over a restart: peers that it has reached, and the
-- nodes that introduced them. A text file, one record a line, each with a checksum:
--
--   antquic-store 1
--   peer ID LAST_SEEN MILLISECONDS COORDINATOR|- PLAN|- ADDRESS,ADDRESS... CHECKSUM
--   node ADDRESS ID|- LAST_SEEN RTT_MICROSECONDS COUNT CHECKSUM
--
-- A file of before plans were kept has no such word in its peers.
--
-- Times of day are seconds of os.time. Everything in it is checked like any input;
-- nothing in it decides whom we trust: a peer's key does.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local plural = require("antquic.plural")

local store = {}

local HEAD = "antquic-store 1"
-- Beyond these whoever was seen longest ago is forgotten.
local MAX_PEERS, MAX_NODES = 256, 64
local MAX_ADDRESSES = 4 -- of a peer
local MAX_KNOWN = 8 -- that a session dials first
local MAX_BYTES = 256 * 1024
local SAVE_EVERY = 5
local NO_FILE = 2 -- ENOENT
-- What brought two peers together. NATs stay, but not for ever.
local PLANS = { dial = true, punch = true, fresh = true, predict = true, birthday = true }
local PLAN_AGE = 7 * 86400

---@class antquic.Store
local Store = {}
Store.__index = Store

-- ---- records ---------------------------------------------------------------------

local function checksum(text)
  local hash = core.sha256_new()
  hash:update(text)
  return hash:hex():sub(1, 8)
end

local function whole(text, max)
  local n = text:match("^%d+$") and tonumber(text)
  return n and n <= max and n or nil
end

local function address(text)
  local a = core.addr_parse(text)
  return a == text and a or nil
end

local function peer_hex(text)
  return #text == 64 and text:match("^[0-9a-f]+$") or nil
end

local MAX_TIME = 2 ^ 40

local function read_peer(words)
  local id, seen = peer_hex(words[2] or ""), whole(words[3] or "", MAX_TIME)
  local took = whole(words[4] or "", 1e9)
  local via = words[5] == "-" and "-" or address(words[5] or "")
  local list = {}
  local plan = words[6]
  if #words == 6 then
    plan = "-"
  end
  for text in (words[#words] or ""):gmatch("[^,]+") do
    list[#list + 1] = address(text)
    if not list[#list] or #list > MAX_ADDRESSES then
      return nil
    end
  end
  local whole_line = (#words == 6 or #words == 7) and (plan == "-" or PLANS[plan])
  if id and seen and took and via and whole_line and #list > 0 then
    return id,
      {
        addresses = list,
        last_seen = seen,
        took = took,
        coordinator = via ~= "-" and via or nil,
        plan = plan ~= "-" and plan or nil,
      }
  end
end

local function read_node(words)
  local at, seen = address(words[2] or ""), whole(words[4] or "", MAX_TIME)
  local id = words[3] == "-" and "-" or peer_hex(words[3] or "")
  local rtt, count = whole(words[5] or "", 1e9), whole(words[6] or "", 2 ^ 32)
  if at and id and seen and rtt and count and #words == 6 then
    return at, { id = id ~= "-" and id or nil, last_seen = seen, rtt = rtt, count = count }
  end
end

-- One line into the tables; false when it is damaged.
local function take(self, line)
  local body, sum = line:match("^(.*) (%x+)$")
  if not body or checksum(body) ~= sum then
    return false
  end
  local words = {}
  for word in body:gmatch("%S+") do
    words[#words + 1] = word
  end
  local read = words[1] == "peer" and read_peer or words[1] == "node" and read_node
  local key, record
  if read then
    key, record = read(words)
  end
  if not key then
    return false
  end
  (words[1] == "peer" and self.peers or self.nodes)[key] = record
  return true
end

-- The keys of |map|, whoever was seen last first, at most |max|.
local function newest(map, max)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    local x, y = map[a].last_seen, map[b].last_seen
    if x ~= y then
      return x > y
    end
    return a < b
  end)
  for i = max + 1, #keys do
    map[keys[i]] = nil
    keys[i] = nil
  end
  return keys
end

local function format(self)
  local lines = { HEAD }
  local function add(body)
    lines[#lines + 1] = body .. " " .. checksum(body)
  end
  for _, id in ipairs(newest(self.peers, MAX_PEERS)) do
    local p = self.peers[id]
    local list = table.concat(p.addresses, ",")
    local via = p.coordinator or "-"
    add(("peer %s %d %d %s %s %s"):format(id, p.last_seen, p.took, via, p.plan or "-", list))
  end
  for _, at in ipairs(newest(self.nodes, MAX_NODES)) do
    local n = self.nodes[at]
    add(("node %s %s %d %d %d"):format(at, n.id or "-", n.last_seen, n.rtt, n.count))
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

-- ---- the file -----------------------------------------------------------------------

--- Reads |path|, or makes it. Damage is counted, never an error.
---@param path string
---@return antquic.Store?
---@return string? message
---@return string? code
function store.open(path)
  local self = setmetatable({ path = path, peers = {}, nodes = {}, damaged = 0 }, Store)
  local f, why, errno = io.open(path, "rb")
  if not f and errno ~= NO_FILE then -- it may be whole: not to be replaced
    return nil, why, "NETWORK"
  end
  local text, unread
  if f then
    -- In a device or a pipe there is nowhere to go.
    local is_file = f:seek("set", MAX_BYTES) == MAX_BYTES and f:seek("set") == 0
    if is_file then
      text, unread = f:read(MAX_BYTES)
    else
      unread = "it is no file" -- and must not be replaced by one
    end
    f:close()
  end
  if unread then
    return nil, ("%s: %s"):format(path, unread), "NETWORK"
  end
  if text then
    local head, rest = text:match("^([^\n]*)\n?(.*)$")
    local records = 0
    for line in rest:gmatch("[^\n]+") do
      if take(self, line) then
        records = records + 1
      else
        self.damaged = self.damaged + 1
      end
    end
    if head ~= HEAD then
      self.damaged = self.damaged + 1
      if records == 0 then -- something else: not ours to overwrite
        self.set_aside, why = os.rename(path, path .. ".bad")
        if not self.set_aside then
          return nil, why, "NETWORK"
        end
      end
    end
  end
  -- Whether it can be written at all shows now, not when it is needed.
  local ok, message, code = self:save()
  if not ok then
    return nil, message, code
  end
  return self
end

--- Writes it. On failure the old file is as it was.
---@return true?
---@return string? message
---@return string? code
function Store:save()
  local ok, message, code = core.file_replace(self.path, format(self))
  if not ok then
    return nil, message, code
  end
  self.dirty = false
  return true
end

--- The addresses to dial first for a peer: the caller's, then where it was reached.
---@param id antquic.PeerIdObject
---@param given string[]
---@return string[]
function Store:known(id, given)
  local list, seen = {}, {}
  local p = self.peers[id:hex()]
  for _, from in ipairs({ given, p and p.addresses or {} }) do
    for _, text in ipairs(from) do
      if not seen[text] and #list < MAX_KNOWN then
        seen[text] = true
        list[#list + 1] = text
      end
    end
  end
  return list
end

--- What brought us to a peer the last time: "dial", "punch", "fresh", "predict" or
--- "birthday"; nil where that is not known, or too long ago.
---@param id antquic.PeerIdObject
---@return string?
function Store:plan(id)
  local p = self.peers[id:hex()]
  local age = p and os.time() - p.last_seen
  return p and age >= 0 and age <= PLAN_AGE and p.plan or nil
end

-- ---- of an endpoint -------------------------------------------------------------------

local function emit(ep, event)
  event.path = ep._store.path
  event.time = ep._sched.now()
  ep._hub:emit(event)
end

--- Tells what was damaged, once the program can have subscribed.
---@param ep antquic.Endpoint
function Store:attach(ep)
  self.saved_at = ep._sched.now()
  if self.damaged > 0 then
    ep._sched.spawn(function()
      local text = plural(self.damaged, "record") .. " can't be read"
      if self.set_aside then
        text = "it is no store; it is now " .. self.path .. ".bad"
      end
      if not ep._closed then
        emit(ep, { kind = "store_damaged", count = self.damaged, text = text })
      end
    end)
  end
end

--- The nodes that are connected now.
---@param ep antquic.Endpoint
function Store:learn_nodes(ep)
  for _, node in ipairs(ep:bootstrap_nodes()) do
    if node.connected then
      self.nodes[node.address] = {
        id = node.peer_id and node.peer_id:hex(),
        last_seen = os.time(),
        rtt = math.floor((node.rtt or 0) * 1e6),
        count = node.coordination_count,
      }
    end
  end
end

--- Writes it, and tells when that fails: what is new, or the endpoint closes.
---@param ep antquic.Endpoint
function Store:flush(ep)
  self:learn_nodes(ep)
  local ok, message = self:save()
  if not ok then
    emit(ep, { kind = "store_failed", text = message })
  end
  self.saved_at = ep._sched.now()
end

-- The step that won; a dial alone, where no punching led to it, says nothing new.
local function plan_of(ep, s, before)
  local plan = "dial"
  if before then
    plan = before.plan
  end
  for _, r in ipairs(ep._core:explain(s.id) or {}) do
    if r.won and PLANS[r.step] and r.step ~= "dial" then
      plan = r.step
    end
  end
  return plan
end

--- A session has reached its peer.
---@param ep antquic.Endpoint
---@param s antquic.Session
---@param conn antquic.Connection
function Store:learn(ep, s, conn)
  local id = s.peer_id:hex()
  if not conn.address then
    return
  end
  local info = ep._core:session_info(s.id)
  local list = { conn.address }
  for _, text in ipairs(self.peers[id] and self.peers[id].addresses or {}) do
    if text ~= conn.address and #list < MAX_ADDRESSES then
      list[#list + 1] = text
    end
  end
  self.peers[id] = {
    addresses = list,
    last_seen = os.time(),
    took = math.floor(
      math.max(0, ep._sched.now() - (info and info.started or ep._sched.now())) * 1e3
    ),
    coordinator = info and info.coordinator_addr,
    plan = plan_of(ep, s, self.peers[id]),
  }
  self.dirty = true
end

--- For each turn of the endpoint: writes what is new, at most every few seconds.
---@param ep antquic.Endpoint
function Store:turn(ep)
  if self.dirty and ep._sched.now() - self.saved_at >= SAVE_EVERY then
    self:flush(ep)
  end
end

return store
