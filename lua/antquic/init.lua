-- antquic: authenticated QUIC connections to peers by their public key, through
-- NATs. This file is the facade; what it names loads when it is used.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")

---@class antquic
---@field policy table the policies: balanced, lan_first, patient, quick, extend(base, changes)
---@field coordinator table ways of choosing coordinators: by_rtt, in_order, sticky(), health{}
---@field errors table<string, string> every code
---@field identity table load(path), generate(), from_seed(seed)
---@field files table send(stream, path), receive(stream, dir): resumed and verified
---@field sim antquic.sim a call makes a simulation; docs/sim.md
---@field sched table use(adapter), current(), within(adapter, fn, ...)
---@field input table line(timeout), read(timeout): standard input for tasks
local antquic = {}

antquic._VERSION = (core.version())

local LAZY = {
  policy = "antquic.policy",
  coordinator = "antquic.coordinator",
  errors = "antquic.errors",
  identity = "antquic.identity",
  sched = "antquic.sched",
  files = "antquic.files",
  input = "antquic.input",
  sim = "antquic.sim",
}

--- Makes an endpoint. Without options: any port, any peer, a fresh identity.
---@param options table?
---@return antquic.Endpoint?
---@return string? message
---@return string? code
function antquic.endpoint(options)
  return require("antquic.endpoint").new(options)
end

--- A peer id object from 64 hex digits (or from such an object).
---@param hex string|antquic.PeerIdObject
---@return antquic.PeerIdObject?
---@return string? message
---@return string? code
function antquic.peer_id(hex)
  return require("antquic.peer_id").parse(hex)
end

--- The peer id of a raw public key: 32 bytes (Ed25519) or 1952 (ML-DSA-65).
---@param key string
---@return antquic.PeerIdObject?
---@return string? message
---@return string? code
function antquic.peer_id_from_key(key)
  if type(key) ~= "string" then
    error("antquic.peer_id_from_key: a string is expected, got " .. type(key), 2)
  end
  return require("antquic.peer_id").from_key(key)
end

--- Runs main(...) as a task and the loop until it returned; gives its results
--- or raises its error.
---@param main function
function antquic.run(main, ...)
  if type(main) ~= "function" then
    error("antquic.run: a function is expected, got " .. type(main), 2)
  end
  local s = require("antquic.sched").current()
  if not s.run then
    error("antquic.run: scheduler '" .. tostring(s.name) .. "' runs by itself", 2)
  end
  return s.run(main, ...)
end

--- Starts a task. task:wait(timeout) gives true and its results, or nil and why.
---@param fn function
---@return antquic.Task
function antquic.spawn(fn, ...)
  if type(fn) ~= "function" then
    error("antquic.spawn: a function is expected, got " .. type(fn), 2)
  end
  return require("antquic.sched").current().spawn(fn, ...)
end

--- Waits. Other tasks run meanwhile.
---@async
---@param seconds number
---@return true
function antquic.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("antquic.sleep: seconds are expected, 0 or more", 2)
  end
  return require("antquic.task").sleep(seconds)
end

--- Monotonic seconds; the clock of every event.
---@return number
function antquic.now()
  return require("antquic.sched").current().now()
end

--- Sets what is called with the text of an error in a task that nobody waits
--- for (default: standard error). Returns what was set before.
---@param fn fun(text: string)
---@return fun(text: string)
function antquic.on_error(fn)
  if type(fn) ~= "function" then
    error("antquic.on_error: a function is expected, got " .. type(fn), 2)
  end
  local s = require("antquic.sched").current()
  local before = s.on_error
  s.on_error = fn
  return before
end

--- What was tried for a connection or session; tostring reads well.
---@param object antquic.Connection|antquic.Session
---@return antquic.Explanation
function antquic.explain(object)
  if type(object) ~= "table" or type(object.explain) ~= "function" then
    error("antquic.explain: a connection or a session is expected", 2)
  end
  return object:explain()
end

--- What is linked into the module: "ngtcp2/1.24.0 wolfssl/5.9.2".
---@return string
function antquic.dependency_versions()
  return (select(2, core.version()))
end

--- The kinds of events that ep:events and ep:on know.
---@return string[]
function antquic.event_kinds()
  return require("antquic.events").kinds()
end

--- A running SHA-256: hash:update(data), hash:digest(), hash:hex().
---@return antquic.core.Sha256?
---@return string? message
---@return string? code
function antquic.sha256()
  return core.sha256_new()
end

return setmetatable(antquic, {
  __index = function(_, name)
    local module = LAZY[name]
    if module then
      local value = require(module)
      antquic[name] = value
      return value
    end
  end,
})
