-- json.lua - just enough JSON for the lab's lines and reports.
--
-- SPDX-License-Identifier: MIT

local json = {}

--- Stands for null, which a table can't hold.
json.null = setmetatable({}, {
  __tostring = function()
    return "null"
  end,
})

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function string_of(s)
  return '"'
    .. s:gsub('[%c"\\]', function(c)
      return escapes[c] or ("\\u%04x"):format(c:byte())
    end)
    .. '"'
end

--- Encodes a value. A table with [1], or made by json.list, is an array; keys are sorted.
function json.encode(value)
  if value == json.null or value == nil then
    return "null"
  elseif type(value) == "table" then
    local parts = {}
    if value[1] ~= nil or getmetatable(value) == json.list then
      for i, item in ipairs(value) do
        parts[i] = json.encode(item)
      end
      return "[" .. table.concat(parts, ",") .. "]"
    end
    local keys = {}
    for key in pairs(value) do
      keys[#keys + 1] = key
    end
    table.sort(keys)
    for i, key in ipairs(keys) do
      parts[i] = string_of(key) .. ":" .. json.encode(value[key])
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "number" then
    if value ~= value or value == math.huge or value == -math.huge then
      return "null"
    end
    return math.type(value) == "integer" and tostring(value) or ("%.6g"):format(value)
  elseif type(value) == "string" then
    return string_of(value)
  end
  return tostring(value)
end

--- The metatable of arrays that may be empty.
json.list = {}
function json.array(t)
  return setmetatable(t or {}, json.list)
end

local decode_value

local function skip(s, at)
  return s:match("^%s*()", at)
end

local plain = { n = "\n", r = "\r", t = "\t", b = "\b", f = "\f" }

local function decode_string(s, at)
  local parts = {}
  while true do
    local text, stop = s:match('^([^"\\]*)()', at)
    parts[#parts + 1] = text
    local c = s:sub(stop, stop)
    if c == '"' then
      return table.concat(parts), stop + 1
    elseif c ~= "\\" then
      error("JSON: a string without end", 0)
    end
    local code = s:sub(stop + 1, stop + 1)
    if code == "u" then
      local hex = s:match("^%x%x%x%x", stop + 2) or error("JSON: bad \\u", 0)
      parts[#parts + 1] = utf8.char(tonumber(hex, 16))
      at = stop + 6
    else
      parts[#parts + 1] = plain[code] or code
      at = stop + 2
    end
  end
end

local function decode_list(s, at)
  local list = json.array()
  at = skip(s, at)
  if s:sub(at, at) == "]" then
    return list, at + 1
  end
  while true do
    list[#list + 1], at = decode_value(s, at)
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "]" then
      return list, at + 1
    elseif c ~= "," then
      error("JSON: expected , or ] in an array", 0)
    end
    at = at + 1
  end
end

local function decode_object(s, at)
  local object = {}
  at = skip(s, at)
  if s:sub(at, at) == "}" then
    return object, at + 1
  end
  while true do
    local key
    at = skip(s, at)
    if s:sub(at, at) ~= '"' then
      error("JSON: expected a name in an object", 0)
    end
    key, at = decode_string(s, at + 1)
    at = skip(s, at)
    if s:sub(at, at) ~= ":" then
      error("JSON: expected : in an object", 0)
    end
    object[key], at = decode_value(s, at + 1)
    at = skip(s, at)
    local c = s:sub(at, at)
    if c == "}" then
      return object, at + 1
    elseif c ~= "," then
      error("JSON: expected , or } in an object", 0)
    end
    at = at + 1
  end
end

local words = { ["true"] = true, ["false"] = false, null = json.null }

function decode_value(s, at)
  at = skip(s, at)
  local c = s:sub(at, at)
  if c == "{" then
    return decode_object(s, at + 1)
  elseif c == "[" then
    return decode_list(s, at + 1)
  elseif c == '"' then
    return decode_string(s, at + 1)
  end
  local word, stop = s:match("^([%w+.-]+)()", at)
  if words[word] ~= nil then
    return words[word], stop
  end
  return tonumber(word) or error("JSON: not a value: " .. tostring(word), 0), stop
end

--- Decodes a text; null becomes json.null. Returns nil and a message when it is not JSON.
function json.decode(text)
  local ok, value, at = pcall(decode_value, text, 1)
  if not ok then
    return nil, value
  elseif skip(text, at) <= #text then
    return nil, "JSON: text after the value"
  end
  return value
end

return json
