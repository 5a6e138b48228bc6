-- SPDX-License-Identifier: MIT
--
-- The house rules that a compiler doesn't know:
--   1. who may include whom (docs/architecture.md, "Layers");
--   2. what the objects of a layer may call: no clock, socket or heap in proto/,
--      none in base/ but base/mem, no way into Lua from src/lua; an endpoint whose
--      TLS proves nothing is made by sim/ alone;
--   3. names: every global is aq_*, declared in a header and defined once;
--   4. size: no file over 1000 lines, no function of src/ over 100.
--
-- usage: lua5.4 spec/layers/check.lua [BUILD_DIR]   (default build/dev)

local build = arg[1] or "build/dev"
local problems, checked = {}, 0

local function problem(...)
  problems[#problems + 1] = string.format(...)
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

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

local function set(words)
  local s = {}
  for w in words:gmatch("%S+") do
    s[w] = true
  end
  return s
end

local function sources(dir, pattern)
  return lines_of(("find %s -type f -name '%s' 2>/dev/null | sort"):format(dir, pattern))
end

-- 1. Includes -----------------------------------------------------------------

-- layer = { our layers, then groups of foreign headers }
local MAY = {
  base = set("base"),
  proto = set("base proto"),
  quic = set("base proto quic tls"),
  io = set("base quic io uv"),
  sim = set("base proto quic sim"),
  lua = set("lua"),
  root = set("base"), -- src/antquic.c
}
-- From these layers up only the named headers are for others.
local ONLY = { io = { quic = set("quic/endpoint.h") } }
-- Headers of the operating system: io/ alone. The two for addresses are also
-- base's, which formats and parses them.
local SYSTEM = {
  ["netinet/in.h"] = set("base io"),
  ["arpa/inet.h"] = set("base io"),
  ["sys/socket.h"] = set("base io"),
  ["netinet/ip.h"] = set("io"),
  ["netinet/udp.h"] = set("io"),
  ["net/if.h"] = set("io"),
  ["ifaddrs.h"] = set("io"),
  ["poll.h"] = set("io"),
  ["sys/epoll.h"] = set("io"),
  ["sys/uio.h"] = set("io"),
  ["sys/random.h"] = set("io"),
  ["linux/errqueue.h"] = set("io"),
  ["time.h"] = set("io"),
  ["sys/time.h"] = set("io"),
  ["pthread.h"] = set("io"),
}

local function foreign_group(header)
  if header:match("^ngtcp2/") or header:match("^wolfssl/") then
    return "tls"
  elseif header:match("^uv%.h$") or header:match("^uv/") then
    return "uv"
  elseif header:match("^lua%.h$") or header:match("^lauxlib%.h$") then
    return "lua"
  end
end

local function layer_of(path)
  return path:match("^src/(%w+)/") or "root"
end

local function check_include(path, quote, header)
  local layer = layer_of(path)
  local may = MAY[layer]
  if not may then
    return problem("%s: there is no layer '%s'", path, layer)
  end
  checked = checked + 1
  if quote == '"' then
    if header == "antquic_sim.h" and layer ~= "sim" and layer ~= "lua" then
      return problem("%s: %s may not include %s", path, layer, header)
    elseif header:match("^antquic[%w_]*%.h$") then
      return
    end
    local target = header:match("^(%w+)/")
    if not target then
      -- A sibling of the same folder, or one that is written without its layer.
      return problem('%s: write #include "%s" with its layer', path, header)
    end
    if not may[target] then
      return problem("%s: %s may not include %s", path, layer, header)
    end
    local only = ONLY[layer] and ONLY[layer][target]
    if only and not only[header] then
      problem("%s: of %s/ %s may only include %s", path, target, layer, next(only))
    end
    return
  end
  local group = foreign_group(header)
  if group and not may[group] then
    problem("%s: %s may not include <%s>", path, layer, header)
  elseif SYSTEM[header] and not SYSTEM[header][layer] then
    problem("%s: %s may not include <%s>", path, layer, header)
  end
end

local c_files = {}
for _, pattern in ipairs({ "*.c", "*.h" }) do
  for _, path in ipairs(sources("src", pattern)) do
    c_files[#c_files + 1] = path
    for line in read(path):gmatch("[^\n]+") do
      local quote, header = line:match('^%s*#%s*include%s*([<"])([^>"]+)')
      if header then
        check_include(path, quote, header)
      end
    end
  end
end

-- 2. What objects call --------------------------------------------------------

-- The pure part of libc; anything else needs a reason to be added here.
local PURE = set([[
  memcpy memmove memset memcmp memchr bcmp strlen strcmp strncmp strchr strrchr
  strnlen strstr strtol strtoul strtoull snprintf vsnprintf sprintf qsort bsearch abort
  __assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __snprintf_chk
  __vsnprintf_chk __memcpy_chk __memset_chk __memmove_chk __ctype_b_loc
  __isoc23_strtol __isoc23_strtoul __isoc23_strtoull stpcpy
]])
local HEAP = set([[
  malloc calloc realloc free aligned_alloc posix_memalign strdup strndup reallocarray
]])
local AMBIENT = set([[
  socket bind connect send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg
  setsockopt getsockopt poll select epoll_wait clock_gettime gettimeofday time
  nanosleep usleep sleep getrandom rand random getifaddrs getenv printf puts
  pthread_create
]])
local INTO_LUA = set([[
  lua_call lua_callk lua_pcall lua_pcallk lua_resume lua_yield lua_yieldk
  luaL_ref luaL_unref luaL_dofile luaL_dostring luaL_loadstring luaL_loadbufferx
]])

-- rule(symbol, object) gives the reason why it may not be called, or nil.
local RULES = {
  base = function(symbol, object)
    if HEAP[symbol] then
      return not object:match("/mem%.c%.o$") and "only base/mem.c names the heap" or nil
    elseif AMBIENT[symbol] then
      return "base/ has no clock, socket, randomness or console"
    elseif symbol:match("^uv_") or symbol:match("^lua") or symbol:match("^wolf") then
      return "base/ uses libc only"
    end
  end,
  proto = function(symbol)
    if not (symbol:match("^aq_") or PURE[symbol]) then
      return "proto/ is sans-IO: base/ and pure libc only"
    end
  end,
  quic = function(symbol)
    if HEAP[symbol] then
      return "below io/ the heap comes in by aq_mem"
    elseif AMBIENT[symbol] then
      return "quic/ has no clock, socket or console"
    elseif symbol:match("^uv_") or symbol:match("^luaL?_") then
      return "quic/ knows neither libuv nor Lua"
    end
  end,
  io = function(symbol)
    if symbol:match("^luaL?_") then
      return "io/ doesn't know Lua"
    end
  end,
  sim = function(symbol)
    if HEAP[symbol] then
      return "below io/ the heap comes in by aq_mem"
    elseif AMBIENT[symbol] then
      return "sim/ has no clock, socket or console"
    elseif symbol:match("^uv_") or symbol:match("^luaL?_") then
      return "sim/ knows neither libuv nor Lua"
    end
  end,
  lua = function(symbol)
    if INTO_LUA[symbol] then
      return "C never calls Lua and never yields"
    elseif symbol:match("^uv_") or symbol:match("^ngtcp2_") or symbol:match("^wolfSSL_") then
      return "src/lua uses antquic.h and lua.h only"
    end
  end,
}

-- { [layer] = { object path... } }, from the folders that CMake makes.
local function objects(layer)
  local target = layer == "lua" and "antquic_lua" or "antquic_" .. layer
  return sources(build .. "/CMakeFiles/" .. target .. ".dir", "*.c.o")
end

local defined = {} -- global symbol -> objects
for _, layer in ipairs({ "base", "proto", "quic", "io", "sim", "lua", "root" }) do
  local list = layer == "root" and sources(build .. "/CMakeFiles/antquic.dir/src", "antquic.c.o")
    or objects(layer)
  if #list == 0 then
    problem("no objects of %s/ in %s: build it first", layer, build)
  end
  for _, object in ipairs(list) do
    -- Objects of files that are gone stay in a build folder.
    local source = object:match("CMakeFiles/[^/]+/(src/.*)%.o$")
    local exists = source and io.open(source)
    if exists then
      exists:close()
      for _, line in ipairs(lines_of("nm -g " .. object)) do
        local kind, symbol = line:match("(%a) (%S+)$")
        if kind == "U" or kind == "w" then
          local rule = RULES[layer]
          local why = rule and rule(symbol, object)
          if symbol == "aq_endpoint_new_null" and layer ~= "sim" then
            why = "only sim/ may make an endpoint whose TLS proves nothing"
          end
          checked = checked + 1
          if why then
            problem("%s calls %s: %s", source, symbol, why)
          end
        elseif kind and kind:match("[TDBRVWC]") then
          defined[symbol] = defined[symbol] or {}
          table.insert(defined[symbol], source)
        end
      end
    end
  end
end

-- 3. Names --------------------------------------------------------------------

-- Functions that a header declares: aq_name( at the outermost level, after
-- comments, preprocessor lines and bodies are gone.
local function declared_in(path)
  local text = read(path):gsub("/%*.-%*/", " "):gsub("//[^\n]*", " ")
  text = ("\n" .. text):gsub("\\\n", " "):gsub("\n%s*#[^\n]*", "\n")
  text = text:gsub('extern%s+"C"%s*{', " ")
  text = text:gsub("%b{}", "{}")
  local names = {}
  for statement in text:gmatch("[^;}]+") do
    if
      not statement:match("^%s*typedef")
      and not statement:match("static")
      and not statement:match("{")
    then
      local name = statement:match("([%w_]+)%s*%b()%s*$")
        or statement:match("([%w_]+)%s*%b()%s*__attribute__")
      if name and name:match("^l?aq_[a-z]") then
        names[#names + 1] = name
      end
    end
  end
  return names
end

local declared = {}
for _, path in ipairs(c_files) do
  if path:match("%.h$") then
    for _, name in ipairs(declared_in(path)) do
      declared[name] = declared[name] or path
      checked = checked + 1
      if not defined[name] then
        problem("%s declares %s, which nothing defines", path, name)
      end
    end
  end
end
for symbol, where in pairs(defined) do
  local fine = symbol:match("^aq_[a-z]") or symbol:match("^laq_[a-z]")
  if not fine and symbol ~= "luaopen_antquic_core" and not symbol:match("^__odr") then
    problem("%s: global %s isn't called aq_*", where[1], symbol)
  elseif #where > 1 then
    problem("%s is defined in %s", symbol, table.concat(where, " and "))
  elseif fine and not declared[symbol] then
    -- Data (extern const tables) has no parentheses to find it by.
    local found = false
    for _, path in ipairs(c_files) do
      if path:match("%.h$") and read(path):find("%f[%w_]" .. symbol .. "%f[^%w_]") then
        found = true
        break
      end
    end
    if not found then
      problem("%s: %s is global but in no header: make it static", where[1], symbol)
    end
  end
end

-- 4. Size ---------------------------------------------------------------------

local FILE_CAP, FUNCTION_CAP = 1000, 100

local function check_size(path)
  local number, start = 0, nil
  local in_c = path:match("^src/.*%.c$")
  for line in io.lines(path) do
    number = number + 1
    if in_c then
      -- clang-format's shape: a body opens on an unindented line or on the
      -- last line of an indented parameter list, and closes in column one.
      if not start and line:match("^[%w_].*{$") and not line:match("^extern") then
        start = number
      elseif not start and line:match("^%s.*%)%s*{$") then
        start = number
      elseif line:match("^}") then
        local length = start and number - start + 1 or 0
        if line == "}" and length > FUNCTION_CAP then
          problem("%s:%d: a function of %d lines (cap %d)", path, start, length, FUNCTION_CAP)
        end
        start = nil
      end
    end
  end
  checked = checked + 1
  if number > FILE_CAP then
    problem("%s: %d lines (cap %d)", path, number, FILE_CAP)
  end
end

for _, path in ipairs(c_files) do
  check_size(path)
end
for _, dir in ipairs({ "lua", "spec", "bin", "examples" }) do
  for _, path in ipairs(lines_of(("find %s -type f 2>/dev/null"):format(dir))) do
    if path:match("%.lua$") or path:match("%.[ch]$") or path:match("^bin/") then
      check_size(path)
    end
  end
end

if checked == 0 then
  problem("nothing was checked: run this from the top folder")
end
table.sort(problems)
for _, text in ipairs(problems) do
  print(text)
end
print(("layers: %d checks, %d problems"):format(checked, #problems))
os.exit(#problems == 0)
