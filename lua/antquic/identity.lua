-- Identities: a private key and what is derived from it.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local peer_id = require("antquic.peer_id")

local identity = {}

---@class antquic.Identity
---@field peer_id antquic.PeerIdObject
local Identity = {}
Identity.__index = Identity
Identity.__name = "antquic.Identity"

function Identity.__tostring(self)
  return ("antquic.Identity{peer_id=%s}"):format(self.peer_id)
end

--- The raw Ed25519 public key, 32 bytes.
---@return string
function Identity:public_key()
  return self._core:public_key()
end

local function wrap(inner, message, code)
  if not inner then
    return nil, message, code
  end
  return setmetatable({ _core = inner, peer_id = peer_id.intern(inner:peer_id()) }, Identity)
end

--- A fresh key that is kept nowhere.
---@return antquic.Identity?
---@return string? message
---@return string? code
function identity.generate()
  return wrap(core.identity_generate())
end

--- From the 32-byte private key of RFC 8032.
---@param seed string
---@return antquic.Identity?
---@return string? message
---@return string? code
function identity.from_seed(seed)
  if type(seed) ~= "string" or #seed ~= 32 then
    error("antquic.identity.from_seed: the seed is a string of 32 bytes", 2)
  end
  return wrap(core.identity_from_seed(seed))
end

--- For simulations, where keys are shown and not proved: from any 32 bytes. No
--- live endpoint takes it.
---@param key string
---@return antquic.Identity
function identity.simulated(key)
  local inner = {}
  function inner.public_key()
    return key
  end
  local id = peer_id.intern(assert(core.sim_peer_id(key)))
  return setmetatable({ _core = inner, peer_id = id }, Identity)
end

--- Reads a key file. It is created, readable by its owner alone, where it is
--- missing, unless options.create is false.
---@param path string
---@param options { create: boolean? }?
---@return antquic.Identity?
---@return string? message
---@return string? code
function identity.load(path, options)
  if type(path) ~= "string" or path == "" then
    error("antquic.identity.load: the path of a key file is expected", 2)
  end
  local given = require("antquic.options").check(
    "antquic.identity.load",
    { create = { type = "boolean", default = true } },
    options
  )
  return wrap(core.identity_load(path, given.create))
end

--- Is this an identity object?
---@param value any
---@return boolean
function identity.is(value)
  return getmetatable(value) == Identity
end

return setmetatable(identity, {
  __call = function(_, path, options)
    return identity.load(path, options)
  end,
})
