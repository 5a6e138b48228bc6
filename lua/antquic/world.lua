-- What an endpoint takes from outside: the real world. In a simulation each host
-- is one; its scheduler's `world` tells which.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local identity = require("antquic.identity")

---@class antquic.World
---@field endpoint fun(options: antquic.core.Options): antquic.core.Endpoint?
---@field random fun(count: integer): string random bytes
---@field identity fun(): antquic.Identity? for an endpoint that was given none
---@field made fun(ep: antquic.Endpoint)? told of each endpoint

---@type antquic.World
return {
  endpoint = core.endpoint,
  random = core.random,
  identity = identity.generate,
}
