-- Hosts of a simulation: machines with one or more endpoints, a link, and
-- perhaps a NAT before it.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local identity = require("antquic.identity")
local options = require("antquic.options")
local plural = require("antquic.plural")
local sched = require("antquic.sched")
local task = require("antquic.task")
local nat_module = require("antquic.sim.nat")
local links = require("antquic.sim.links")

local host = {}

---@class antquic.sim.Host
---@field name string
---@field ep antquic.Endpoint its endpoint; the first one where it has several
---@field id antquic.PeerIdObject of that endpoint
---@field nat antquic.sim.Nat? nil on the open network
local methods = {}
local Host = { __index = methods, __name = "antquic.sim.Host" }

--- Is this one?
function host.is(value)
  return getmetatable(value) == Host
end

-- 32 bytes that only the seed, the name and a number decide.
local function digest(...)
  return assert(core.sha256_new()):update(table.concat({ "antquic sim", ... }, "\0")):digest()
end

-- What endpoints of this host live in.
local function world_of(self)
  local sim, seed = self._sim, tostring(self._sim.seed)
  local keys, drawn, pool = 0, 0, ""
  local world = {}

  function world.identity()
    keys = keys + 1
    return identity.simulated(digest(seed, "key", self.name, tostring(keys)))
  end

  function world.random(count)
    while #pool < count do
      drawn = drawn + 1
      pool = pool .. digest(seed, "random", self.name, tostring(drawn))
    end
    local bytes = pool:sub(1, count)
    pool = pool:sub(count + 1)
    return bytes
  end

  function world.endpoint(core_options)
    core_options.key = core_options.identity:public_key()
    core_options.identity = nil
    return sim._core:endpoint(self._node, core_options)
  end

  -- Kept, so that the collector doesn't decide when it is closed.
  function world.made(ep)
    self._endpoints[#self._endpoints + 1] = ep
    if not self.ep or self.ep:is_closed() then
      self.ep, self.id = ep, ep.peer_id
    end
    sim:_met(self, ep)
  end

  return world
end

--- For the simulation's use.
function host.new(sim, name, nat, address, link)
  local self = setmetatable({
    name = name,
    nat = nat,
    _sim = sim,
    _link = link,
    _endpoints = {},
  }, Host)
  self._node = assert(
    sim._core:host({ nat = nat and nat._node, address = address, link = links.for_core(link) })
  )
  self._world = world_of(self)
  sim:_named(self._node, name)
  return self
end

--- Makes an endpoint on this host; the options are those of antquic.endpoint.
--- Peers have one already, in the field `ep`.
---@param given table?
---@return antquic.Endpoint?
---@return string? message
---@return string? code
function methods:endpoint(given)
  self._sim:_check("host:endpoint", 3)
  local ep, message, code =
    sched.within(self._sim._loop, require("antquic.endpoint").new, given, self._world)
  if not ep then
    return nil, message, code
  end
  self._options = self._options or given
  return ep
end

--- Where its endpoint can be reached from its own network: "IP:PORT".
---@return string
function methods:address()
  local ip = self._sim._core:addresses(self._node)[1]
  local port = self.ep:local_addresses()[1]:match(":(%d+)$")
  return (ip:find(":") and "[%s]:%s" or "%s:%s"):format(ip, port)
end

--- Starts a task in which antquic.endpoint() makes endpoints of this host, so that
--- a program for the real network runs here as it is.
---@param fn function
---@return antquic.Task
function methods:spawn(fn, ...)
  local started = self._sim._loop.spawn(fn, ...)
  started.host = self
  return started
end

--- ep:connect, which also takes a host.
---@async
---@param target antquic.sim.Host|string|antquic.PeerIdObject
---@param opts table?
---@return antquic.Connection?
---@return string? message
---@return string? code
function methods:connect(target, opts)
  local conn, message, code = self.ep:connect(host.is(target) and target.id or target, opts)
  return conn, message, code
end

--- Sends a line through a stream and back.
---@async
---@param conn antquic.Connection
---@param timeout number seconds, for each step
---@return true?
---@return string? message
---@return string? code
function host.round(conn, timeout)
  local stream, message, code = conn:open_stream({ timeout = timeout })
  if not stream then
    return nil, message, code
  end
  stream:write("hello\n")
  local line
  line, message, code = stream:read("l", timeout)
  stream:close()
  if line == "hello" then
    return true
  end
  return nil, message or "something else came back", code or "FORMAT"
end

--- Connects, and sends a line through a stream and back. Raises, with what was
--- tried and the trace, where that fails or takes too long. Options: timeout,
--- within (seconds for the connection), packets (at most so many datagrams sent
--- for it). The other host must serve; sim:echo() does.
---@async
---@param target antquic.sim.Host
---@param opts { timeout: number?, within: number?, packets: integer? }?
---@return antquic.Connection
function methods:must_reach(target, opts)
  local given = options.check("host:must_reach", {
    timeout = { type = "number", min = 0, unit = "seconds" },
    within = { type = "number", min = 0, unit = "seconds" },
    packets = { type = "integer", min = 0 },
  }, opts)
  local sim = self._sim
  local start, before = sim:now(), self:sent()
  local conn, message = self:connect(target, { timeout = given.timeout or 10 })
  local took = sim:now() - start
  local sent = self:sent() - before
  local function fail(...)
    local text = ("%s and %s: "):format(self.name, target.name) .. string.format(...)
    local explained = conn and ("\n" .. tostring(conn:explain())) or ""
    error(("%s%s\n%s"):format(text, explained, sim:trace()), 3)
  end
  if not conn then
    fail("no connection: %s", message)
  elseif conn.peer_id ~= target.id then
    fail("connected to somebody else, %s", tostring(conn.peer_id))
  elseif given.within and took > given.within then
    fail("connected after %.4f s, %.4f s are allowed", took, given.within)
  elseif given.packets and sent > given.packets then
    fail(
      "connected with %s, %s allowed",
      plural(sent, "datagram"),
      plural(given.packets, "is", "are")
    )
  end
  local echoes
  echoes, message = host.round(conn, 10)
  if not echoes then
    fail("connected, but no echo: %s", message)
  end
  return conn
end

--- Tries to connect and raises where that works, or where it fails otherwise than
--- told. Options: timeout, within (seconds until it is given up), code.
---@async
---@param target antquic.sim.Host
---@param opts { timeout: number?, within: number?, code: string? }?
---@return string message why it failed
---@return string code
function methods:must_not_reach(target, opts)
  local given = options.check("host:must_not_reach", {
    timeout = { type = "number", min = 0, unit = "seconds" },
    within = { type = "number", min = 0, unit = "seconds" },
    code = { type = "string" },
  }, opts)
  local sim = self._sim
  local start = sim:now()
  local conn, message, code = self:connect(target, { timeout = given.timeout or 10 })
  local took = sim:now() - start
  local function fail(...)
    local text = ("%s and %s: "):format(self.name, target.name) .. string.format(...)
    error(text .. "\n" .. sim:trace(), 3)
  end
  if conn then
    fail("connected, which can't be:\n%s", tostring(conn:explain()))
  elseif given.code and code ~= given.code then
    fail("failed with %s instead of %s: %s", tostring(code), given.code, message)
  elseif given.within and took > given.within then
    fail("given up after %.3f s, %.3f s are allowed", took, given.within)
  end
  return message, code
end

--- Answers every line of every stream of every peer with the same line.
---@return antquic.sim.Host
function methods:echo()
  self.ep:serve(function(conn)
    for stream in conn:streams() do
      task.spawn(function()
        local line = stream:read("L")
        while line and stream:write(line) do
          line = stream:read("L")
        end
        stream:finish()
      end)
    end
  end)
  return self
end

--- Changes its link, both ways: delay, jitter, loss, burst, dup, reorder, rate,
--- queue, mtu; or the name of one of antquic.sim.links. What isn't given stays. Behind
--- a NAT of its own it is the NAT's link to the network outside.
---@param link string|table
---@return antquic.sim.Host
function methods:link(link)
  local outermost = not self._shares_nat and self.nat
  while outermost and outermost.parent do
    outermost = outermost.parent
  end
  links.change(outermost or self, "host:link", link)
  return self
end

--- How long a datagram takes from here to the open network, seconds, without
--- jitter and queues.
---@return number
function methods:distance()
  local sum, nat = self._link.delay or 0, self.nat
  while nat do
    sum = sum + (nat._link.delay or 0)
    nat = nat.parent
  end
  return sum
end

--- Makes its link swallow everything, or ends that.
---@param on boolean? default true
---@return antquic.sim.Host
function methods:cut(on)
  on = on ~= false
  self._sim:note(("the link of %s is %s"):format(self.name, on and "cut" or "mended"))
  self._sim._core:black_hole(self._node, on)
  return self
end

--- Ends it as a power cut does: its endpoints say no good-bye and answer nobody.
---@return antquic.sim.Host
function methods:kill()
  self._sim:note(self.name .. " dies")
  self._sim._core:kill(self._node, true)
  for _, ep in ipairs(self._endpoints) do
    ep:close()
  end
  self._endpoints = {}
  return self
end

--- Starts it again after kill(): a fresh endpoint with the key that it had, and
--- with the same options but for those that are given.
---@param given table?
---@return antquic.Endpoint
function methods:restart(given)
  if not self.ep or not self.ep:is_closed() then
    error("host:restart: " .. self.name .. " was not killed", 2)
  end
  local all = links.merge({ identity = self.ep.identity }, self._options or {})
  self._sim:note(self.name .. " starts again")
  self._sim._core:kill(self._node, false)
  local ep, message = self:endpoint(links.merge(all, given or {}))
  if not ep then
    error("host:restart: " .. message, 2)
  end
  return ep
end

--- Stops it as when a laptop sleeps: nothing of it runs, its clock goes on.
---@return antquic.sim.Host
function methods:suspend()
  self._sim:note(self.name .. " sleeps")
  self._sim._core:kill(self._node, true)
  return self
end

--- Wakes it up.
---@return antquic.sim.Host
function methods:resume()
  self._sim:note(self.name .. " wakes up")
  self._sim._core:kill(self._node, false)
  return self
end

--- Takes it to another network: a NAT, or nil for the open network.
---@param to antquic.sim.Nat?
---@return antquic.sim.Host
function methods:move(to)
  if to ~= nil and not nat_module.is(to) then
    error("host:move: a NAT of sim:nat or nil is expected, got " .. type(to), 2)
  end
  self._sim:note(("%s moves to %s"):format(self.name, to and to.name or "the open network"))
  self.nat = to
  self._sim._core:move(self._node, to and to._node or nil)
  self._sim:_placed(self._node)
  return self
end

--- How many datagrams its endpoint has sent so far.
---@return integer
function methods:sent()
  return self.ep._core:io_stats().send_datagrams
end

--- Numbers: what became of the datagrams at this host.
---@return table<string, integer>
function methods:counters()
  return self._sim._core:counters(self._node)
end

function Host.__tostring(self)
  return ("antquic.sim.Host{%s, nat=%s}"):format(
    self.name,
    self.nat and (self.nat.type or "own") or "none"
  )
end

return host
