-- JSON: text of values, and values of text that somebody else wrote.
--
-- SPDX-License-Identifier: MIT

local json = {}

local ESCAPES = {
  ['"'] = '\\"',
  ["\\"] = "\\\\",
  ["\n"] = "\\n",
  ["\r"] = "\\r",
  ["\t"] = "\\t",
}

-- Marks an empty table as an array: setmetatable({}, json.list).
json.list = {}

local function quote(text)
  return '"'
    .. text:gsub('[%c"\\]', function(c)
      return ESCAPES[c] or ("\\u%04x"):format(c:byte())
    end)
    .. '"'
end

local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then
    return "null"
  elseif value == math.floor(value) and math.abs(value) < 2 ^ 53 then
    return ("%.0f"):format(value)
  end
  return ("%.9g"):format(value)
end

--- JSON text. Tables with [1], and empty ones marked with json.list, are
--- arrays; keys are sorted, so that equal values give equal text.
---@param value any
---@return string
function json.encode(value)
  local kind = type(value)
  if kind == "nil" then
    return "null"
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "number" then
    return number(value)
  elseif kind == "string" then
    return quote(value)
  elseif kind ~= "table" then
    return quote(tostring(value))
  end
  local parts = {}
  if value[1] ~= nil or getmetatable(value) == json.list then
    for i, item in ipairs(value) do
      parts[i] = json.encode(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = quote(key) .. ":" .. json.encode(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- ---- reading -----------------------------------------------------------------

-- Deeper than this is nobody's record, and would use up the C stack.
local MAX_DEPTH = 64

local PLAIN = {
  ['"'] = '"',
  ["\\"] = "\\",
  ["/"] = "/",
  b = "\b",
  f = "\f",
  n = "\n",
  r = "\r",
  t = "\t",
}

local function fail(at, what)
  error({ json = ("%s at byte %d"):format(what, at) }, 0)
end

local function utf8(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return string.char(
      0xE0 + math.floor(code / 0x1000),
      0x80 + math.floor(code / 0x40) % 0x40,
      0x80 + code % 0x40
    )
  end
  return string.char(
    0xF0 + math.floor(code / 0x40000),
    0x80 + math.floor(code / 0x1000) % 0x40,
    0x80 + math.floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

-- \uXXXX at |at| (of the backslash): the character and where it ends.
local function unicode(text, at)
  local hex = text:match("^\\u(%x%x%x%x)", at)
  local code = hex and tonumber(hex, 16) or fail(at, "a bad \\u")
  if code < 0xD800 or code > 0xDFFF then
    return utf8(code), at + 6
  end
  local low = text:match("^\\u(%x%x%x%x)", at + 6)
  low = low and tonumber(low, 16)
  if code > 0xDBFF or not low or low < 0xDC00 or low > 0xDFFF then
    fail(at, "half a surrogate pair")
  end
  return utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12
end

local function read_string(text, at)
  local parts, i = {}, at + 1
  while true do
    local stop = text:find('[%c"\\]', i)
    if not stop then
      fail(at, "a string without an end")
    end
    parts[#parts + 1] = text:sub(i, stop - 1)
    local c = text:sub(stop, stop)
    if c == '"' then
      return table.concat(parts), stop + 1
    elseif c ~= "\\" then
      fail(stop, "a control character in a string")
    end
    local name = text:sub(stop + 1, stop + 1)
    if name == "u" then
      parts[#parts + 1], i = unicode(text, stop)
    else
      parts[#parts + 1] = PLAIN[name] or fail(stop, "an unknown escape")
      i = stop + 2
    end
  end
end

local function read_number(text, at)
  local word = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local bare = word and word:match("^%-?(.*)$")
  local value = word and not bare:find("^0%d") and not bare:find("%.$") and tonumber(word)
  if not value or word:find("%.[eE]") then
    fail(at, "something that is no value")
  end
  return value, at + #word
end

local WORDS = { ["true"] = true, ["false"] = false, null = nil }

local read_value

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local function read_list(text, at, depth)
  local out, i = setmetatable({}, json.list), skip(text, at + 1)
  if text:sub(i, i) == "]" then
    return out, i + 1
  end
  local n = 0
  while true do
    n = n + 1
    out[n], i = read_value(text, i, depth)
    i = skip(text, i)
    local c = text:sub(i, i)
    if c == "]" then
      return out, i + 1
    elseif c ~= "," then
      fail(i, "a list that goes on without a comma")
    end
    i = skip(text, i + 1)
  end
end

local function read_object(text, at, depth)
  local out, i = {}, skip(text, at + 1)
  if text:sub(i, i) == "}" then
    return out, i + 1
  end
  while true do
    if text:sub(i, i) ~= '"' then
      fail(i, "a key that is no string")
    end
    local key
    key, i = read_string(text, i)
    i = skip(text, i)
    if text:sub(i, i) ~= ":" then
      fail(i, "a key without a value")
    end
    out[key], i = read_value(text, skip(text, i + 1), depth)
    i = skip(text, i)
    local c = text:sub(i, i)
    if c == "}" then
      return out, i + 1
    elseif c ~= "," then
      fail(i, "an object that goes on without a comma")
    end
    i = skip(text, i + 1)
  end
end

function read_value(text, at, depth)
  if depth > MAX_DEPTH then
    fail(at, "too deep")
  end
  local c = text:sub(at, at)
  if c == "{" then
    return read_object(text, at, depth + 1)
  elseif c == "[" then
    return read_list(text, at, depth + 1)
  elseif c == '"' then
    return read_string(text, at)
  end
  local word = text:match("^%l+", at)
  if word == "true" or word == "false" or word == "null" then
    return WORDS[word], at + #word
  end
  return read_number(text, at)
end

--- The value of a JSON text; null is nil. Lists carry json.list.
---@param text string
---@return any value
---@return string? message
---@return string? code
function json.decode(text)
  local ok, value, stop = pcall(read_value, text, skip(text, 1), 0)
  if ok then
    stop = skip(text, stop)
    if stop <= #text then
      return nil, ("something after the value at byte %d"):format(stop), "FORMAT"
    end
    return value
  elseif type(value) == "table" and value.json then
    return nil, value.json, "FORMAT"
  end
  error(value, 0)
end

return json
