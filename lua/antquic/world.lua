-- What an endpoint takes from outside: the real world. A simulation has another
-- one, in the field `world` of its scheduler.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local identity = require("antquic.identity")

---@class antquic.World
---@field endpoint fun(options: antquic.core.Options): antquic.core.Endpoint?
---@field random fun(count: integer): string random bytes
---@field identity fun(): antquic.Identity? for an endpoint that was given none

---@type antquic.World
return {
  endpoint = core.endpoint,
  random = core.random,
  identity = identity.generate,
}
