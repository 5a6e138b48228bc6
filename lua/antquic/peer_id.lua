-- Peer ids: 32 bytes derived from a public key. One object per id, so that
-- equality is identity and an id is a table key.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")

local peer_id = {}

---@class antquic.PeerIdObject
local methods = {}
local PeerId = { __index = methods, __name = "antquic.PeerId", __metatable = "antquic.PeerId" }

local interned = setmetatable({}, { __mode = "v" })
local bytes_of = setmetatable({}, { __mode = "k" })

--- The id as 64 hex digits.
---@return string
function methods:hex()
  return core.hex(bytes_of[self])
end

--- The first 16 hex digits, which is what tostring gives.
---@return string
function methods:short()
  return core.hex(bytes_of[self]:sub(1, 8))
end

--- The 32 bytes.
---@return string
function methods:bytes()
  return bytes_of[self]
end

PeerId.__tostring = methods.short

function PeerId.__lt(a, b)
  return bytes_of[a] < bytes_of[b]
end

function PeerId.__le(a, b)
  return bytes_of[a] <= bytes_of[b]
end

function PeerId.__concat(a, b)
  return tostring(a) .. tostring(b)
end

--- Is this a peer id object?
---@param value any
---@return boolean
function peer_id.is(value)
  return type(value) == "table" and bytes_of[value] ~= nil
end

--- The object for 32 bytes.
---@param bytes string
---@return antquic.PeerIdObject
function peer_id.intern(bytes)
  local id = interned[bytes]
  if not id then
    id = setmetatable({}, PeerId)
    bytes_of[id] = bytes
    interned[bytes] = id
  end
  return id
end

--- From 64 hex digits or a peer id object.
---@param text string|antquic.PeerIdObject
---@return antquic.PeerIdObject?
---@return string? message
---@return string? code
function peer_id.parse(text)
  if peer_id.is(text) then
    return text
  end
  if type(text) ~= "string" or #text ~= 64 or text:find("%X") then
    local shown = type(text) == "string" and ("'" .. text:sub(1, 80) .. "'") or type(text)
    return nil, "a peer id has 64 hex digits, got " .. shown, "FORMAT"
  end
  return peer_id.intern(core.unhex(text))
end

--- From a raw public key: 32 bytes (Ed25519) or 1952 (ML-DSA-65).
---@param key string
---@return antquic.PeerIdObject?
---@return string? message
---@return string? code
function peer_id.from_key(key)
  local bytes, message, code = core.peer_id_from_key(key)
  if not bytes then
    return nil, message, code
  end
  return peer_id.intern(bytes)
end

return peer_id
