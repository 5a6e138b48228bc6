-- NATs and firewalls of a simulation.
--
-- SPDX-License-Identifier: MIT

local links = require("antquic.sim.links")
local options = require("antquic.options")
local plural = require("antquic.plural")
local types = require("antquic.sim.types")

local nat = {}

---@class antquic.sim.Nat
---@field name string
---@field type string? of antquic.sim.types
---@field parent antquic.sim.Nat? the NAT that it is behind
local methods = {}
local Nat = { __index = methods, __name = "antquic.sim.Nat" }

--- Is this one?
function nat.is(value)
  return getmetatable(value) == Nat
end

-- The parameters of a name, or of a table with a name or a type and changes.
local function parameters(who, what)
  if type(what) == "string" then
    what = { what }
  elseif type(what) ~= "table" then
    error(("%s: a NAT is the name of a type or a table, got %s"):format(who, type(what)), 4)
  end
  local given = {}
  for key, value in pairs(what) do
    if key == 1 then
      given.type = value
    elseif key ~= "parent" and key ~= "name" and key ~= "link" then
      given[key] = value
    end
  end
  given = options.check(who, types.SCHEMA, given, 4)
  local kind = given.type
  given.type = nil
  local base = {}
  if kind then
    base = types.base(kind)
    if not base then
      error(
        ("%s: there is no NAT type '%s'; there are %s"):format(
          who,
          kind,
          table.concat(types.names(), ", ")
        ),
        4
      )
    end
  end
  return links.merge(base, given), kind
end

--- For the simulation's use: a NAT, or nil for "none", which is no NAT at all.
--- |what| is a type's name, a table, or a NAT; |link| is that to the open network.
function nat.new(sim, who, what, name, link)
  if nat.is(what) then
    if what._sim ~= sim then
      error(who .. ": this NAT belongs to another simulation", 3)
    end
    return what
  end
  local p, kind = parameters(who, what)
  local parent = type(what) == "table" and what.parent or nil
  if kind == "none" and not parent then
    return nil
  end
  local self = setmetatable({
    name = type(what) == "table" and what.name or name,
    type = kind,
    _sim = sim,
  }, Nat)
  self.parent = parent and nat.new(sim, who, parent, self.name .. ".outer", link)
  p.parent = self.parent and self.parent._node
  self._link = self.parent and {} or link
  p.link = links.for_core(self._link)
  local message
  self._node, message = sim._core:nat(p)
  if not self._node then
    error(("%s: %s"):format(who, message), 3)
  end
  sim:_named(self._node, self.name)
  return self
end

--- Forgets every mapping: what goes out next gets another port.
---@return antquic.sim.Nat
function methods:rebind()
  self._sim:note(self.name .. " forgets its mappings")
  self._sim._core:rebind(self._node)
  return self
end

--- Takes another public address, as after a reconnection of the line; its
--- mappings are gone with the old one. Without |address| a NAT on the open network
--- gets a new one.
---@param address string?
---@return antquic.sim.Nat
function methods:renumber(address)
  local sim = self._sim
  if address == nil then
    if self.parent then
      error("nat:renumber: behind another NAT the address must be given", 2)
    end
    address = sim:_fresh_address()
  end
  local ok, message = sim._core:renumber(self._node, address)
  if not ok then
    error("nat:renumber: " .. message, 2)
  end
  sim:_placed(self._node)
  sim:note(("%s has the address %s now"):format(self.name, address))
  return self
end

--- Drops all UDP, or lets it through again.
---@param on boolean? default true
---@return antquic.sim.Nat
function methods:block(on)
  on = on ~= false
  self._sim:note(self.name .. (on and " blocks UDP" or " lets UDP through again"))
  self._sim._core:block(self._node, on)
  return self
end

--- Makes so many mappings for others behind it, at once.
---@param count integer
---@return antquic.sim.Nat
function methods:burn(count)
  self._sim:note(("others behind %s make %s"):format(self.name, plural(count, "mapping")))
  self._sim._core:burn(self._node, count)
  return self
end

--- Changes its link to the network outside, as host:link does.
---@param link string|table
---@return antquic.sim.Nat
function methods:link(link)
  links.change(self, "nat:link", link)
  return self
end

--- Numbers: what went through, what was dropped and why.
---@return table<string, integer>
function methods:counters()
  return self._sim._core:counters(self._node)
end

function Nat.__tostring(self)
  return ("antquic.sim.Nat{%s, type=%s}"):format(self.name, tostring(self.type))
end

return nat
