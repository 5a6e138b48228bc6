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

-- What a coordinator said is whole: one code may have several meanings there.
local WHOLE = "^coordinator: "

--- What a code means, one English clause, with |detail| where it says more.
---@param code string
---@param detail string?
---@return string
local function describe(code, detail)
  local meaning = core.error_text(code) or "unknown error"
  if not detail or detail == "" then
    return meaning
  elseif detail:find(meaning, 1, true) or detail:find(WHOLE) then
    return detail
  end
  return meaning .. ": " .. detail
end

return setmetatable(errors, {
  __index = function(_, name)
    if name == "describe" then
      return describe
    end
    error("antquic.errors has no code '" .. tostring(name) .. "'", 2)
  end,
})
