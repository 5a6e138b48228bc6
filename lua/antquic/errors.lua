-- Error codes: one table, made from the core's list.
--
-- What may fail returns nil, a message, and one of these codes; misuse raises.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")

---@class antquic.errors
---@field TIMEOUT string
---@field CLOSED string
local errors = {}

for name in pairs(core.errors()) do
  errors[name] = name
end

--- What a code means, one English clause.
---@param code string
---@return string
local function describe(code)
  return core.error_text(code) or "unknown error"
end

return setmetatable(errors, {
  __index = function(_, name)
    if name == "describe" then
      return describe
    end
    error("antquic.errors has no code '" .. tostring(name) .. "'", 2)
  end,
})
