-- SPDX-License-Identifier: MIT
--
-- A core made of tables, with a clock that only waiting moves. Enough of it to
-- drive the Lua side: streams are pipes with a limited room, events are what a
-- spec queues, every call is recorded.

-- luacheck: no self

local fake = {}

local ERRORS = {
  "INVAL CLOSED TIMEOUT AGAIN LIMIT CONFIG ADDRESS WRONG_KEY FORMAT TOO_LARGE INTERNAL",
  "NO_BOOTSTRAP_NODES NO_CANDIDATES PUNCHING_FAILED CONNECTION_FAILED TRAVERSAL_FAILED",
  "DISCOVERY_FAILED",
  "PEER_NOT_CONNECTED UNKNOWN_TARGET REFUSED RATE_LIMITED EXPIRED OVERLOADED IDLE_TIMEOUT",
  "PEER_CLOSED STREAM_RESET STREAM_STOPPED DUPLICATE UNREACHABLE CANCELLED",
}

local EVENTS = {
  "candidate_discovered traversal_succeeded connection_established traversal_failed",
  "connection_lost phase_transition session_state_changed connection_incoming dial_failed",
  "stream_incoming stream_readable stream_writable stream_closed streams_available",
  "datagram_readable datagram_writable path_changed step_done decision limit_hit events_lost",
  "bootstrap_connected bootstrap_lost",
}

local function words(list)
  local out = {}
  for word in table.concat(list, " "):gmatch("%S+") do
    out[#out + 1] = word
  end
  return out
end

local function again()
  return nil, "try again later", "AGAIN"
end

local Ep = {}
Ep.__index = Ep

local function pipe(room)
  return { data = "", room = room, ended = false }
end

function Ep:step()
  self.steps = self.steps + 1
  if self.on_step then
    self:on_step()
  end
  return false
end

function Ep:wait(seconds)
  if not seconds and #self.events == 0 then
    error("the loop would wait for ever", 0)
  end
  if #self.events == 0 then
    self.core.clock = self.core.clock + seconds
  end
  return self:step()
end

function Ep:poll()
  return table.remove(self.events, 1)
end

function Ep:push(event)
  event.time = self.core.clock
  self.events[#self.events + 1] = event
end

function Ep:close()
  self.closed = true
  return true
end

function Ep:candidates()
  return {}
end

function Ep:sockets()
  return { "127.0.0.1:1000" }
end

function Ep:peer_id()
  return self.options.identity:peer_id()
end

function Ep:record(name, ...)
  self.calls[#self.calls + 1] = { name = name, ... }
end

function Ep:called(name)
  local list = {}
  for _, call in ipairs(self.calls) do
    if call.name == name then
      list[#list + 1] = call
    end
  end
  return list
end

-- Plain verbs: recorded, and answered by self.answers[name] where a spec sets it.
local VERBS = {
  "conn_close",
  "conn_ping",
  "conn_keep_alive",
  "session_dial",
  "session_coordinate",
  "session_punch",
  "session_hard",
  "session_relay",
  "session_finish",
  "session_cancel",
  "decide",
  "set_punch_defaults",
  "hide_candidates",
  "open_socket",
  "bootstrap_add",
  "bootstrap_remove",
  "close_all",
  "connect_addr",
  "session_start",
  "find_conn",
}
for _, name in ipairs(VERBS) do
  Ep[name] = function(self, ...)
    self:record(name, ...)
    local answer = self.answers[name]
    if type(answer) == "function" then
      return answer(self, ...)
    elseif answer ~= nil then
      return answer
    end
    if name == "find_conn" then
      return nil
    end
    return true
  end
end

function Ep:candidates()
  local out = {}
  for i, addr in ipairs(self.own or {}) do
    out[i] = { addr = addr, source = "local", priority = 10 - i, verified = false }
  end
  return out
end

function Ep:nat_profile()
  return { keep_alive = 15, external = {}, evidence = {} }
end

function Ep:session_info(id)
  return self.sessions[id]
end

function Ep:session_pairs()
  return {
    { remote = "192.168.1.5:1", local_addr = "10.0.0.1:1", priority = 1, verified = false },
    { remote = "198.18.0.9:2", local_addr = "10.0.0.1:1", priority = 2, verified = true },
  }
end

function Ep:explain()
  return self.records or {}
end

function Ep:bootstrap_list()
  local out = {}
  for i, node in ipairs(self.nodes) do
    out[i] = {}
    for k, v in pairs(node) do
      out[i][k] = v
    end
  end
  return out
end

function Ep:conn_info(id)
  return self.conns[id]
end

function Ep:flushed()
  return true
end

function Ep:statistics()
  return { coordinations_completed = 0, coordination_time_total_ns = 0 }
end

function Ep:usage()
  return { sessions = 0, connections = 0 }
end

function Ep:io_stats()
  return { recv_calls = 0, scan_errors = self.scan_errors or 0 }
end

-- Streams: what is written to |out| leaves when a spec drains it.
function Ep:add_stream(room)
  self.last_stream = self.last_stream + 1
  self.streams[self.last_stream] = { input = pipe(), output = pipe(room or 1e9) }
  return self.last_stream
end

function Ep:stream_open()
  if self.no_streams then
    return again()
  end
  return self:add_stream(self.room)
end

function Ep:stream_accept()
  local id = table.remove(self.waiting_streams, 1)
  if not id then
    return again()
  end
  return id
end

function Ep:stream_info(id)
  return self.streams[id] and { id = id * 4, uni = false }
end

function Ep:stream_write(id, data, from)
  local s = self.streams[id]
  if not s then
    return nil, "closed", "CLOSED"
  end
  local free = s.output.room - #s.output.data
  if free <= 0 then
    return again()
  end
  local part = data:sub(from or 1, (from or 1) + free - 1)
  s.output.data = s.output.data .. part
  return #part
end

function Ep:stream_read(id, max)
  local s = self.streams[id]
  if not s then
    return nil, "closed", "CLOSED"
  end
  local input = s.input
  if #input.data > 0 then
    local data = input.data:sub(1, max)
    input.data = input.data:sub(max + 1)
    return data
  elseif input.ended then
    return nil
  elseif input.reset then
    return nil, "the peer reset the stream", "STREAM_RESET"
  end
  return again()
end

function Ep:feed(id, data, ended)
  local input = self.streams[id].input
  input.data = input.data .. (data or "")
  input.ended = ended or input.ended
  self:push({ kind = "stream_readable", stream = id })
end

function Ep:drain(id)
  local output = self.streams[id].output
  local data = output.data
  output.data = ""
  self:push({ kind = "stream_writable", stream = id })
  return data
end

for _, name in ipairs({ "stream_finish", "stream_reset", "stream_stop", "stream_priority" }) do
  Ep[name] = function(self, id, ...)
    self:record(name, id, ...)
    if not self.streams[id] then
      return nil, "closed", "CLOSED"
    end
    return true
  end
end

function Ep:stream_release(id)
  self:record("stream_release", id)
  self.streams[id] = nil
  return true
end

function Ep:datagram_send(id, data)
  self:record("datagram_send", id, data)
  if self.full then
    return again()
  end
  return true
end

function Ep:datagram_receive()
  local data = table.remove(self.datagrams, 1)
  if not data then
    return again()
  end
  return data
end

--- A fresh fake module.
function fake.new()
  local core = { clock = 100, endpoints = {} }

  function core.now()
    return core.clock
  end

  function core.sleep(seconds)
    core.clock = core.clock + seconds
  end

  function core.wait(_, seconds)
    core.clock = core.clock + (seconds or 0.01)
    return true
  end

  function core.version()
    return "0.1.0", "fake/1"
  end

  function core.errors()
    local out = {}
    for i, name in ipairs(words(ERRORS)) do
      out[name] = -i
    end
    return out
  end

  function core.error_text(code)
    return core.errors()[code] and code:lower():gsub("_", " ") or nil
  end

  function core.names()
    return { events = words(EVENTS) }
  end

  function core.hex(data)
    return (data:gsub(".", function(c)
      return ("%02x"):format(c:byte())
    end))
  end

  function core.unhex(hex)
    return (hex:gsub("%x%x", function(h)
      return string.char(tonumber(h, 16))
    end))
  end

  function core.addr_parse(text)
    if text:match("^%d+%.%d+%.%d+%.%d+:%d+$") or text:match("^%[%x*:[%x:]*%]:%d+$") then
      return text
    end
    return nil, "bad address", "ADDRESS"
  end

  function core.random(count)
    return ("\128"):rep(count)
  end

  function core.identity_generate()
    return {
      peer_id = function()
        return ("\17"):rep(32)
      end,
    }
  end

  function core.endpoint(options)
    local ep = setmetatable({
      core = core,
      options = options,
      events = {},
      calls = {},
      answers = {},
      sessions = {},
      conns = {},
      streams = {},
      nodes = {},
      waiting_streams = {},
      datagrams = {},
      last_stream = 0,
      steps = 0,
    }, Ep)
    core.endpoints[#core.endpoints + 1] = ep
    return ep
  end

  return core
end

--- Forgets every module of antquic, and loads it over a fake core.
---@return table antquic
---@return table core
function fake.load()
  fake.unload()
  local core = fake.new()
  package.loaded["antquic.core"] = core
  return require("antquic"), core
end

function fake.unload()
  for name in pairs(package.loaded) do
    if name == "antquic" or name:match("^antquic%.") then
      package.loaded[name] = nil
    end
  end
end

--- An endpoint with an established connection to a peer.
---@return table ep
---@return table core_endpoint
---@return table conn
function fake.connected(antquic, core, options)
  local ep = assert(antquic.endpoint(options))
  local inner = core.endpoints[#core.endpoints]
  inner.conns[7] = { peer = ("\34"):rep(32), packets_sent = 0, packets_lost = 0, rtt = 0.01 }
  inner:push({
    kind = "connection_established",
    conn = 7,
    peer = ("\34"):rep(32),
    addr = "127.0.0.1:2000",
    alpn = "antquic",
  })
  ep:step()
  return ep, inner, ep:connections()[1]
end

return fake
