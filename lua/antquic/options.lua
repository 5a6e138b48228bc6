-- Options tables: a schema says type, default and range of each key; unknown
-- keys raise at the caller's line.
--
-- SPDX-License-Identifier: MIT

local options = {}

local function names(schema)
  local list = {}
  for name in pairs(schema) do
    list[#list + 1] = name
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local function is_kind(value, kind)
  local t = type(value)
  if kind == "integer" then
    return t == "number" and value == math.floor(value) and math.abs(value) < 2 ^ 53
  elseif kind == "callable" then
    local meta = getmetatable(value)
    return t == "function" or (type(meta) == "table" and meta.__call ~= nil)
  elseif kind == "any" then
    return true
  end
  return t == kind
end

-- "a string or a table"
local function kinds_text(kinds)
  return (kinds:gsub("|", " or "))
end

local function matches(value, kinds)
  if is_kind(value, kinds) then
    return true
  end
  for kind in kinds:gmatch("[^|]+") do
    if is_kind(value, kind) then
      return true
    end
  end
  return false
end

local function one_of(value, choices)
  for _, choice in ipairs(choices) do
    if value == choice then
      return true
    end
  end
  return false
end

local function quoted(choices)
  local list = {}
  for i, choice in ipairs(choices) do
    list[i] = '"' .. tostring(choice) .. '"'
  end
  return table.concat(list, ", ")
end

-- The reason why |value| has the wrong type, or nil.
local function mistyped(rule, name, value)
  if not matches(value, rule.type) then
    local article = rule.type:find("^[aeiou]") and "an" or "a"
    local wanted = kinds_text(rule.type)
    return ("option '%s' must be %s %s, got %s"):format(name, article, wanted, type(value))
  end
end

-- The reason why a |value| of the right type is refused, or nil.
local function refuse(rule, name, value)
  if type(value) == "number" then
    if value ~= value then
      return ("option '%s' is not a number"):format(name)
    elseif (rule.min and value < rule.min) or (rule.max and value > rule.max) then
      return ("option '%s' must be from %s to %s%s, got %s"):format(
        name,
        rule.min and ("%.14g"):format(rule.min) or "any",
        rule.max and ("%.14g"):format(rule.max) or "any",
        rule.unit and (" " .. rule.unit) or "",
        tostring(value)
      )
    end
  end
  if rule.choices and not one_of(value, rule.choices) then
    return ("option '%s' must be one of %s, got %s"):format(
      name,
      quoted(rule.choices),
      tostring(value)
    )
  end
  if rule.check then
    local ok, why = rule.check(value)
    if not ok then
      return ("option '%s': %s"):format(name, why)
    end
  end
end

-- Schema -> name, default, name, default, ... of the rules that have one.
local defaults_of = setmetatable({}, { __mode = "k" })

local function remember_defaults(schema)
  local list = {}
  for name, rule in pairs(schema) do
    if rule.default ~= nil then
      list[#list + 1] = name
      list[#list + 1] = rule.default
    end
  end
  defaults_of[schema] = list
  return list
end

--- Checks |given| (nil is an empty table) against |schema| and returns a new
--- table with the defaults filled in. |who| names the function in messages.
--- A rule is { type = "string|table", default =, min =, max =, unit =,
--- choices = {}, check = function(value) return ok, why end }.
---@param who string
---@param schema table
---@param given table?
---@param level integer? as for error(), 2 is the caller of the caller
---@param soft boolean? a value out of range is no error but nil, message, "CONFIG"
---@return table?
---@return string? message
---@return string? code
function options.check(who, schema, given, level, soft)
  level = (level or 2) + 1
  if given ~= nil and type(given) ~= "table" then
    error(("%s: options must be a table, got %s"):format(who, type(given)), level)
  end
  local out = {}
  for name, value in pairs(given or {}) do
    local rule = schema[name]
    if not rule then
      error(
        ("%s: unknown option '%s' (known: %s)"):format(who, tostring(name), names(schema)),
        level
      )
    end
    local why = mistyped(rule, name, value)
    if why then
      error(who .. ": " .. why, level)
    end
    why = refuse(rule, name, value)
    if why and soft then
      return nil, who .. ": " .. why, "CONFIG"
    elseif why then
      error(who .. ": " .. why, level)
    end
    out[name] = value
  end
  local defaults = defaults_of[schema] or remember_defaults(schema)
  for i = 1, #defaults, 2 do
    local name = defaults[i]
    if out[name] == nil then
      out[name] = defaults[i + 1]
    end
  end
  return out
end

--- Checks a timeout in seconds: nil is "wait for ever".
---@param who string
---@param value number?
---@param level integer?
function options.timeout(who, value, level)
  if value ~= nil and (type(value) ~= "number" or value ~= value or value < 0) then
    error(
      ("%s: timeout must be seconds, 0 or more, or nil; got %s"):format(who, tostring(value)),
      (level or 2) + 1
    )
  end
  return value
end

return options
