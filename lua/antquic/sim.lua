-- The simulator: the same engine and the same policies in virtual time, with
-- hosts, NATs, links and faults of one's own making. One seed decides everything.
--
--   local sim = antquic.sim { seed = 7, delay = 0.025 }
--   sim:coordinator("carol")
--   local alice = sim:peer("alice", { nat = "port_restr" })
--   local bob = sim:peer("bob", { nat = "linux" })
--   sim:run(function()
--     local conn = assert(alice.ep:connect(bob.id))
--   end)
--   print(sim:trace())
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local clock = require("antquic.sim.clock")
local compat = require("antquic.compat")
local config = require("antquic.config")
local host = require("antquic.sim.host")
local links = require("antquic.sim.links")
local loop = require("antquic.sched.loop")
local nat = require("antquic.sim.nat")
local options = require("antquic.options")
local sched = require("antquic.sched")
local story = require("antquic.sim.story")

---@class antquic.sim
---@field matrix fun(options: antquic.sim.MatrixOptions?): antquic.sim.Row[]
---@field default_seed integer
---@overload fun(options: table?): antquic.Sim
local sim = {
  default_seed = 1, -- of simulations that were given none
  links = links,
  types = require("antquic.sim.types"),
}

---@class antquic.Sim
---@field seed integer
---@field hosts antquic.sim.Host[] in the order of their making
local methods = {}
local Sim = { __index = methods, __name = "antquic.Sim" }

-- An hour and a bit: what takes longer hangs.
local LIMIT = 4000

local SCHEMA = {
  seed = { type = "integer", min = 0, max = 2 ^ 53 - 1 },
  trace = { type = "boolean", default = true },
  limit = { type = "number", default = LIMIT, min = 0, unit = "seconds" },
  link = { type = "string|table" },
}
for name, rule in pairs(links.SCHEMA) do
  SCHEMA[name] = rule
end

-- What belongs to the host and not to its endpoint.
local HOST = {
  nat = { type = "string|table" },
  address = { type = "string" },
  link = { type = "string|table" },
}

--- Makes a simulation. Options: seed (1), link (a name or a table: that of each
--- host), or delay, jitter, loss, burst, dup, reorder, rate at once; trace (true);
--- limit (seconds of virtual time after which a run is given up).
---@param given table?
---@return antquic.Sim
function sim.new(given)
  local o = options.check("antquic.sim", SCHEMA, given, 3)
  local link = links.merge(o.link and links.read("antquic.sim", o.link, 3) or {}, {})
  for key in pairs(links.SCHEMA) do
    if o[key] ~= nil then
      link[key] = o[key]
    end
  end
  local seed = o.seed or sim.default_seed
  local inner = assert(core.sim({ seed = seed }))
  local self = setmetatable({
    seed = seed,
    hosts = {},
    _core = inner,
    _link = link,
    _coordinators = {},
    _errors = {},
    _nats = 0,
    _renumbered = 0,
  }, Sim)
  self._story = o.trace and story.new(self) or nil
  self._clock = clock.new(inner, o.limit, function()
    if self._story then
      self._story:read()
    end
  end)
  self._start = self._clock.now()
  self._loop = loop.new(self._clock)
  function self._loop.on_error(text)
    self._errors[#self._errors + 1] = text
  end
  -- What antquic.endpoint() means in here.
  local spawn = self._loop.spawn
  function self._loop.spawn(...)
    local task = spawn(...)
    local parent = self._loop.task()
    task.host = parent and parent.host
    return task
  end
  function self._loop.world()
    local running = self._loop.task()
    local where = running and running.host
    if not where then
      error(
        "antquic.endpoint: in a simulation an endpoint belongs to a host: "
          .. "host:endpoint{...}, or from within host:spawn(fn)",
        3
      )
    end
    return where._world
  end
  if self._story then
    inner:trace(true)
  end
  return self
end

function methods:_check(who, level)
  if self._closed then
    error(who .. ": the simulation is closed", level + 1)
  end
end

-- A node has a name in the trace.
function methods:_named(node, name)
  if self._story then
    self._story:name(node, name)
  end
end

-- An address on the open network that nobody has: the core's own begin with 24.
function methods:_fresh_address()
  self._renumbered = self._renumbered + 1
  return ("77.0.%d.%d"):format(math.floor(self._renumbered / 250), self._renumbered % 250 + 1)
end

-- A node has other addresses.
function methods:_placed(node)
  if self._story then
    self._story:places(node)
  end
end

-- An endpoint was made.
function methods:_met(where, ep)
  if self._story then
    self._story:follow(where, ep)
  end
end

--- A NAT: the name of a type, or a table of one and what differs, as in
--- { "linux", idle = 30 }, or of parameters alone; parent = the NAT that it is
--- behind. Peers can share it.
---@param what string|table
---@return antquic.sim.Nat
function methods:nat(what)
  self:_check("sim:nat", 2)
  self._nats = self._nats + 1
  local link = type(what) == "table" and what.link
  link = links.merge(self._link, link and links.read("sim:nat", link, 3) or {})
  local made = nat.new(self, "sim:nat", what, "nat" .. self._nats, link)
  if not made then
    error("sim:nat: 'none' is no NAT", 2)
  end
  return made
end

--- A machine without an endpoint, for programs: see host:spawn and host:endpoint.
--- Options: nat, address, link.
---@param name string
---@param given table?
---@return antquic.sim.Host
function methods:host(name, given)
  self:_check("sim:host", 2)
  if type(name) ~= "string" or name == "" then
    error("sim:host: a name is expected, got " .. type(name), 2)
  end
  local o = options.check("sim:host", HOST, given)
  local given_link = o.link and links.read("sim:host", o.link, 3) or {}
  local link = links.merge(self._link, given_link)
  local before = o.nat and nat.new(self, "sim:host", o.nat, name .. ".nat", link) or nil
  -- The delay and so on is between a NAT and the open network, not inside.
  local shared = nat.is(o.nat)
  local own = (shared and given_link) or (before and {}) or link
  local made = host.new(self, name, before, o.address, own)
  made._shares_nat = shared
  self.hosts[#self.hosts + 1] = made
  return made
end

-- A host and its endpoint.
local function with_endpoint(self, who, name, given, defaults)
  if given ~= nil and type(given) ~= "table" then
    error(("%s: options must be a table, got %s"):format(who, type(given)), 3)
  end
  local for_host, for_endpoint = {}, {}
  for key, value in pairs(defaults) do
    for_endpoint[key] = value
  end
  for key, value in pairs(given or {}) do
    if HOST[key] then
      for_host[key] = value
    elseif config.SCHEMA[key] then
      for_endpoint[key] = value
    else
      error(
        ("%s: unknown option '%s' (known: address, link, nat, those of antquic.endpoint)"):format(
          who,
          tostring(key)
        ),
        3
      )
    end
  end
  local made = self:host(name, for_host)
  local ep, message = made:endpoint(for_endpoint)
  if not ep then
    error(("%s: %s"):format(who, message), 3)
  end
  return made
end

--- A coordinator on the open network. Options: those of a host, and those of
--- antquic.endpoint.
---@param name string
---@param given table?
---@return antquic.sim.Host
function methods:coordinator(name, given)
  self:_check("sim:coordinator", 2)
  local made = with_endpoint(self, "sim:coordinator", name, given, { role = "bootstrap" })
  self._coordinators[#self._coordinators + 1] = made.id:hex() .. "@" .. made:address()
  return made
end

--- A peer. It knows the coordinators that were made before it. Options: nat (a
--- type's name, a table or a NAT), address, link, and those of antquic.endpoint.
---@param name string
---@param given table?
---@return antquic.sim.Host
function methods:peer(name, given)
  self:_check("sim:peer", 2)
  return with_endpoint(self, "sim:peer", name, given, { bootstrap_nodes = self._coordinators })
end

-- Waits until |is_so| is true of every endpoint that has coordinators, looking
-- again after each event of |kinds|. Returns whether it is.
local function wait_for_all(self, timeout, kinds, is_so)
  local deadline = self._clock.now() + (timeout or 5)
  local all = true
  for _, made in ipairs(self.hosts) do
    local ep = made.ep
    if ep and not ep:is_closed() and #ep:bootstrap_nodes() > 0 then
      local seen = ep:subscribe(kinds)
      local so = is_so(ep)
      while not so and seen:next(math.max(0, deadline - self._clock.now())) do
        so = is_so(ep)
      end
      seen:close()
      all = all and so
    end
  end
  return all
end

local function is_observed(ep)
  for _, node in ipairs(ep:bootstrap_nodes()) do
    if node.observed ~= nil then
      return true
    end
  end
  return false
end

local function is_measured(ep)
  return ep._core:nat_profile(true).complete
end

--- Waits until every peer that has coordinators knows how one of them sees it.
--- Returns whether all do.
---@async
---@param timeout number? seconds, default 5
---@return boolean
function methods:ready(timeout)
  options.timeout("sim:ready", timeout)
  return wait_for_all(self, timeout, { "address_observed", "bootstrap_connected" }, is_observed)
end

--- Waits until every peer that has coordinators has measured the NAT before it.
--- Returns whether all have.
---@async
---@param timeout number? seconds, default 5
---@return boolean
function methods:settle(timeout)
  options.timeout("sim:settle", timeout)
  return wait_for_all(self, timeout, { "nat_profile_changed" }, is_measured)
end

--- Calls fn() in a task when |time| seconds of the simulation have passed.
---@param time number
---@param fn function
function methods:at(time, fn)
  self:_check("sim:at", 2)
  if type(time) ~= "number" or time ~= time or time < 0 then
    error("sim:at: seconds are expected, 0 or more", 2)
  elseif type(fn) ~= "function" then
    error("sim:at: a function is expected, got " .. type(fn), 2)
  end
  local deadline = self._start + time
  self._loop.spawn(function()
    if deadline > self._clock.now() then
      self._loop.park({}, deadline)
    end
    fn()
  end)
end

--- Runs main(...) as a task, in virtual time, until it returned. Gives its
--- results; raises its error, or that of a task that nobody waited for. It can be
--- called again: the time goes on where it stood.
---@param main function
function methods:run(main, ...)
  self:_check("sim:run", 2)
  if type(main) ~= "function" then
    error("sim:run: a function is expected, got " .. type(main), 2)
  elseif sched.current() == self._loop then
    error("sim:run: this simulation already runs; use antquic.spawn", 2)
  end
  local results = compat.pack(sched.within(self._loop, self._loop.run, main, ...))
  if self._story then
    self._story:read()
  end
  local failed = self._errors[1]
  if failed then
    self._errors = {}
    error("sim:run: a task that nobody waited for failed: " .. failed, 0)
  end
  return compat.unpack(results, 1, results.n)
end

--- Seconds since the start of the simulation.
---@return number
function methods:now()
  return self._clock.now() - self._start
end

--- Puts a sentence into the trace.
---@param text string
function methods:note(text)
  if self._story then
    self._story:note(text)
  end
end

--- What happened, as text: the same for the same seed, byte for byte. Options:
--- datagrams ("punches", "all" or "none"), from and to (seconds), only (a list of
--- names of hosts).
---@param given table?
---@return string
function methods:trace(given)
  if not self._story then
    error("sim:trace: the simulation was made with trace = false", 2)
  end
  return self._story:text(given, 3)
end

--- Raises unless these lines are in the trace, in this order; others may be in
--- between. In a line "..." stands for anything; the time may be left out.
---@param text string
function methods:must_tell(text)
  if not self._story then
    error("sim:must_tell: the simulation was made with trace = false", 2)
  end
  local missing = self._story:lacks(text)
  if missing then
    error(("the trace lacks '%s'\n%s"):format(missing, self:trace()), 2)
  end
end

--- A number for all that was sent and what became of it, as hexadecimal digits:
--- equal for equal runs.
---@return string
function methods:hash()
  return self._core:trace_hash()
end

--- Ends it: endpoints are closed, nothing of it remains. Idempotent.
---@return true
function methods:close()
  if not self._closed then
    for _, made in ipairs(self.hosts) do
      for _, ep in ipairs(made._endpoints) do
        ep:close()
      end
    end
    self._closed = true
    self._core:close()
  end
  return true
end

Sim.__close = methods.close

function Sim.__tostring(self)
  return ("antquic.Sim{seed=%d, hosts=%d, at=%.3f}"):format(self.seed, #self.hosts, self:now())
end

return setmetatable(sim, {
  __call = function(_, given)
    return sim.new(given)
  end,
  __index = function(_, name)
    if name == "matrix" then
      sim.matrix = require("antquic.sim.matrix").run
      return sim.matrix
    end
  end,
})
