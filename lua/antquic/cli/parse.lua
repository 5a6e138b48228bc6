-- Command lines: each command declares its arguments and options; help and
-- errors come from the declaration.
--
-- A command is { name =, summary =, about =, args = { { "PEER", "text" } }, or
-- { "[FILE]", "text" } for one that may be left out,
-- options = { { "--key", "FILE", "text" }, { "--json", nil, "text" } },
-- examples = { "antquic id" } }. "FILE..." as the value, or as the last of args:
-- may be repeated.
--
-- SPDX-License-Identifier: MIT

local parse = {}

local function find(command, flag)
  for _, option in ipairs(command.options) do
    if option[1] == flag then
      return option
    end
  end
end

local function key_of(flag)
  return (flag:gsub("^%-%-", ""):gsub("%-", "_"))
end

-- The nearest option, for "did you mean".
local function nearest(command, flag)
  for _, option in ipairs(command.options) do
    if option[1]:sub(1, #flag) == flag or flag:sub(1, #option[1]) == option[1] then
      return option[1]
    end
  end
end

--- Reads |argv| from |first| on. Returns options by name, with the positional
--- arguments in the list part; or nil and what is wrong.
---@param command table
---@param argv string[]
---@param first integer
---@return table?
---@return string? message
function parse.read(command, argv, first)
  local out = {}
  local i, literal = first, false
  while i <= #argv do
    local word = argv[i]
    if literal or word == "-" or word:sub(1, 1) ~= "-" then
      out[#out + 1] = word
    elseif word == "--" then
      literal = true
    elseif word == "--help" or word == "-h" then
      return { help = true }
    else
      local flag, value = word:match("^(%-%-[^=]+)=(.*)$")
      flag = flag or word
      local option = find(command, flag)
      if not option then
        local guess = nearest(command, flag)
        return nil,
          ("unknown option '%s'%s"):format(
            flag,
            guess and ("; did you mean '" .. guess .. "'?") or ""
          )
      end
      local key = key_of(flag)
      if not option[2] then
        if value then
          return nil, ("option '%s' takes no value"):format(flag)
        end
        out[key] = true
      else
        if not value then
          i = i + 1
          value = argv[i]
        end
        if value == nil or value == "" then
          return nil, ("option '%s' needs a value: %s"):format(flag, option[2])
        end
        if option[2]:find("%.%.%.$") then
          out[key] = out[key] or {}
          table.insert(out[key], value)
        else
          out[key] = value
        end
      end
    end
    i = i + 1
  end
  local most = #command.args
  local missing, last = command.args[#out + 1], command.args[most]
  if missing and missing[1]:sub(1, 1) ~= "[" then
    return nil, ("%s is missing: %s"):format(missing[1], missing[2])
  elseif #out > most and not (last and last[1]:find("%.%.%.$")) then
    return nil, ("'%s' is one argument too many"):format(out[most + 1])
  end
  return out
end

--- A number given as an option.
---@param given table
---@param key string
---@param default number
---@return number?
---@return string? message
function parse.number(given, key, default, min, max)
  local text = given[key]
  if text == nil then
    return default
  end
  local value = tonumber(text)
  if not value or value < min or value > max then
    return nil,
      ("option '--%s' must be a number from %s to %s, got '%s'"):format(
        (key:gsub("_", "-")),
        ("%.14g"):format(min),
        ("%.14g"):format(max),
        text
      )
  end
  return value
end

--- One line: "usage: antquic ping [options] PEER".
---@param command table
---@return string
function parse.usage(command)
  local words = { "usage: antquic", command.name }
  if #command.options > 0 then
    words[#words + 1] = "[options]"
  end
  for _, arg in ipairs(command.args) do
    words[#words + 1] = arg[1]
  end
  return table.concat(words, " ")
end

--- The whole help of a command.
---@param command table
---@return string
function parse.help(command)
  local lines = { parse.usage(command), "", command.about or command.summary }
  if #command.args > 0 then
    lines[#lines + 1] = "\narguments:"
    for _, arg in ipairs(command.args) do
      lines[#lines + 1] = ("  %-22s %s"):format(arg[1], arg[2])
    end
  end
  lines[#lines + 1] = "\noptions:"
  for _, option in ipairs(command.options) do
    local flag = option[1] .. (option[2] and (" " .. option[2]) or "")
    lines[#lines + 1] = ("  %-22s %s"):format(flag, option[3])
  end
  lines[#lines + 1] = ("  %-22s %s"):format("--help", "this text")
  if command.examples then
    lines[#lines + 1] = "\nexamples:"
    for _, example in ipairs(command.examples) do
      lines[#lines + 1] = "  " .. example
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return parse
