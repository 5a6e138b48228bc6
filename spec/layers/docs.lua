-- SPDX-License-Identifier: MIT
--
-- The reference and the code agree:
--   * every public name (functions of `antquic`, methods of its objects, error
--     codes, event kinds) is in docs/api.md, policy.md or events.md;
--   * every method, function and error code that they and the README name
--     exists;
--   * every block of Lua in a document parses;
--   * no link of the documents leads nowhere.
--
-- usage: lua5.4 spec/layers/docs.lua   (from the top folder, after a build)

local build = os.getenv("ANTQUIC_BUILD") or "build/dev"
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = build .. "/clib/?.so;" .. package.cpath

local problems, checked = {}, 0

local function check(ok, ...)
  checked = checked + 1
  if not ok then
    problems[#problems + 1] = string.format(...)
  end
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then
    return nil
  end
  local text = f:read("a")
  f:close()
  return text
end

local function lines_of(command)
  local pipe = assert(io.popen(command, "r"))
  local out = {}
  for line in pipe:lines() do
    out[#out + 1] = line
  end
  pipe:close()
  return out
end

local API = "docs/api.md"
local api = read(API)
if not api then
  print("there is no " .. API)
  os.exit(1)
end

-- What the code has -------------------------------------------------------------

local antquic = require("antquic")

-- Methods by class: `function methods:name(` in the file of the class, unless
-- its annotation says ---@private or ---@package, or its name begins with _.
local classes = {}
local PART_OF = { addresses = "endpoint" }
for _, path in ipairs(lines_of("ls lua/antquic/*.lua")) do
  if not path:match("core[%w_]*_meta%.lua$") then
    local class = path:match("([%w_]+)%.lua$")
    class = PART_OF[class] or class
    local hidden = false
    for line in io.lines(path) do
      local name = line:match("^function methods[:.]([%w_]+)")
      if name and not name:match("^_") and not hidden then
        classes[class] = classes[class] or {}
        classes[class][name] = path
      end
      if line:match("^%-%-%-@private") or line:match("^%-%-%-@package") then
        hidden = true
      elseif not line:match("^%-%-") then
        hidden = false
      end
    end
  end
end
for _, class in ipairs({ "endpoint", "connection", "stream" }) do
  check(classes[class], "lua/antquic/%s.lua has no methods", class)
end

local any_method = {}
for _, methods in pairs(classes) do
  for name in pairs(methods) do
    any_method[name] = true
  end
end

-- Named means: as a whole word, in code (a span or a block).
local code = {}
local function collect(text)
  for block in text:gmatch("```%w*\n(.-)```") do
    code[#code + 1] = block
  end
  for span in text:gsub("```.-```", ""):gmatch("`([^`\n]+)`") do
    code[#code + 1] = span
  end
end
collect(api)
for _, path in ipairs({ "docs/policy.md", "docs/events.md", "docs/sim.md" }) do
  collect(read(path) or "")
end
local in_code = table.concat(code, "\n")

local function named(word)
  return in_code:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil
end

-- Code to docs ------------------------------------------------------------------

for class, methods in pairs(classes) do
  for name in pairs(methods) do
    check(in_code:find("[:.]" .. name .. "%f[^%w_]"), "%s doesn't have %s:%s", API, class, name)
  end
end
for name, value in pairs(antquic) do
  if type(name) == "string" and not name:match("^_") then
    local pattern = "antquic%." .. name .. "%f[^%w_]"
    check(in_code:find(pattern), "%s doesn't have antquic.%s (a %s)", API, name, type(value))
  end
end
local codes = 0
for name in pairs(antquic.errors) do
  if type(name) == "string" and name:match("^[A-Z_]+$") then
    codes = codes + 1
    check(named(name), "%s doesn't have the error %s", API, name)
  end
end
check(codes >= 40, "antquic.errors has only %d codes", codes)

-- Events and errors come from the tables of antquic_maps.h.
local header = assert(read("src/antquic_maps.h"))
local function names_of(map, pattern)
  local body = header:match("#define " .. map .. "%(X%)(.-)\n\n")
  check(body, "src/antquic_maps.h has no %s", map)
  local set = {}
  for name in (body or ""):gmatch(pattern) do
    set[name] = true
  end
  return set
end
local events = names_of("AQ_EVENT_MAP", 'X%([%u_%d]+,%s*"([%l_%d]+)"')
local errors = names_of("AQ_ERR_MAP", "X%(([%u_%d]+),")
-- A host of the C core sees these; Lua programs meet them as methods.
for name in pairs(events) do
  check(named(name), "no document has the event %s", name)
end

-- Docs to code ------------------------------------------------------------------

-- Receivers of examples, by what the documents call them.
local RECEIVERS = {
  ep = "endpoint",
  me = "endpoint",
  endpoint = "endpoint",
  Endpoint = "endpoint",
  conn = "connection",
  conn2 = "connection",
  connection = "connection",
  Connection = "connection",
  stream = "stream",
  Stream = "stream",
}

local readme = read("README.md")
check(readme, "there is no README.md")
if readme then
  collect(readme)
end
for _, text in ipairs(code) do
  for receiver, name in text:gmatch("%f[%w_]([%w_]+):([%l_]+)%s*[%({]") do
    local class = RECEIVERS[receiver]
    if class and classes[class] then
      check(classes[class][name], "documented %s:%s doesn't exist", receiver, name)
    elseif receiver == "s" or receiver == "session" then
      -- A stream in one place, a session in another.
      check(any_method[name], "documented %s:%s doesn't exist", receiver, name)
    end
  end
  for name in text:gmatch("%f[%w_]antquic%.([%l_][%w_]*)") do
    -- The C header isn't a member, nor is a module that is named to require.
    if name ~= "h" and not text:match('require[ (]*"antquic%.' .. name) then
      local file = read("lua/antquic/" .. name .. ".lua")
        or read("lua/antquic/" .. name .. "/init.lua")
      check(antquic[name] ~= nil or file, "documented antquic.%s doesn't exist", name)
    end
  end
  for name in text:gmatch("%f[%w_]errors%.([%u_]+)") do
    check(errors[name], "documented error %s doesn't exist", name)
  end
end

-- Blocks of Lua -------------------------------------------------------------------

for _, path in ipairs(lines_of("ls *.md docs/*.md examples/*.md 2>/dev/null")) do
  for block in assert(read(path)):gmatch("```lua\n(.-)```") do
    local ok, why = load(block, "=block")
    check(ok, "%s: a block of Lua doesn't parse: %s", path, tostring(why))
  end
end

-- Links -------------------------------------------------------------------------

for _, path in ipairs(lines_of("ls *.md docs/*.md examples/*.md 2>/dev/null")) do
  local folder = path:match("^(.*/)") or ""
  for target in assert(read(path)):gsub("```.-```", ""):gmatch("%]%(([^)%s]+)%)") do
    if not target:match("^%a+:") and not target:match("^#") then
      local file = folder .. target:gsub("#.*", "")
      local ok = os.rename(file, file)
      check(ok, "%s: the link to %s leads nowhere", path, target)
    end
  end
end

table.sort(problems)
for _, text in ipairs(problems) do
  print(text)
end
print(("docs: %d checks, %d problems"):format(checked, #problems))
os.exit(#problems == 0)
