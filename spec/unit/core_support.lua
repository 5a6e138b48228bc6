-- SPDX-License-Identifier: MIT
--
-- What the specs of the C module alone share: endpoints on loopback that are
-- closed after each spec, and turning them until something is so.

local core = require("antquic.core")
local assert = require("luassert")

local support = {}

-- Everything that an endpoint said, in order, by endpoint.
local said = setmetatable({}, { __mode = "k" })
-- The endpoints of the running spec, closed after it.
local opened = setmetatable({}, { __mode = "k" })

-- For after_each.
function support.finish()
  for ep in pairs(opened) do
    ep:close()
  end
  opened = setmetatable({}, { __mode = "k" })
  said = setmetatable({}, { __mode = "k" })
end

local function drain(ep)
  local list = said[ep] or {}
  said[ep] = list
  for ev in
    function()
      return ep:poll()
    end
  do
    list[#list + 1] = ev
  end
  return list
end

-- Turns |eps| until |done()| gives something true, which it returns.
function support.drive(eps, done, seconds)
  local deadline = core.now() + (seconds or 10)
  while true do
    local more = false
    for _, ep in ipairs(eps) do
      more = assert.is_boolean(ep:step()) and more
      drain(ep)
    end
    local result = done()
    if result then
      return result
    end
    if core.now() > deadline then
      error("nothing came of it in time", 2)
    end
    core.wait(eps, 0.05)
  end
end

function support.find(ep, kind, from)
  for i = from or 1, #(said[ep] or {}) do
    if said[ep][i].kind == kind then
      return said[ep][i], i
    end
  end
end

function support.endpoint(options)
  options = options or {}
  options.identity = options.identity or assert(core.identity_generate())
  options.bind = options.bind or { "127.0.0.1:0" }
  options.role = options.role or "server"
  if options.accept == nil then
    options.accept = true
  end
  local ep = assert(core.endpoint(options))
  opened[ep] = true
  return ep
end

-- Two endpoints with a connection: client, server, and its id on either side.
function support.connected(client_options, server_options)
  local server = support.endpoint(server_options)
  local client = support.endpoint(client_options)
  local id = assert(client:connect_addr(server:sockets()[1], server:peer_id()))
  support.drive({ client, server }, function()
    return support.find(client, "connection_established")
      and support.find(server, "connection_established")
  end)
  return client, server, id, support.find(server, "connection_established").conn
end

return support
