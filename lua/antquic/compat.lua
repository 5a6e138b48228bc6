-- What differs between Lua 5.1, LuaJIT and 5.4. Nothing else in lua/ names a
-- thing that one of them lacks.
--
-- SPDX-License-Identifier: MIT

local compat = {}

local find = rawget

compat.unpack = find(table, "unpack") or find(_G, "unpack")

--- Like table.pack: the values and how many there are.
function compat.pack(...)
  return { n = select("#", ...), ... }
end

--- Integers as integers where Lua has them.
compat.integer = find(math, "tointeger")
  or function(x)
    if type(x) == "number" and x == math.floor(x) then
      return x
    end
  end

--- The coroutine that runs, nil for the main one.
function compat.running()
  local co, main = coroutine.running()
  if main then
    return nil
  end
  return co
end

--- tostring for what a program raised, which may fail itself.
---@param value any
---@return string
function compat.text(value)
  local ok, text = pcall(tostring, value)
  return ok and text or "(an error object that can't be told)"
end

--- Runs what a dead coroutine left to be closed.
local close = find(coroutine, "close")
function compat.close_coroutine(co)
  if close and coroutine.status(co) ~= "running" then
    close(co)
  end
end

--- xpcall with arguments, which 5.1 lacks.
function compat.xpcall(fn, handler, ...)
  local args = compat.pack(...)
  return xpcall(function()
    return fn(compat.unpack(args, 1, args.n))
  end, handler)
end

--- Sets a metatable whose __gc works where tables have no finalizers: there a
--- proxy userdata lives as long as the table does.
local newproxy = find(_G, "newproxy")
if newproxy then
  function compat.setmetatable(object, meta)
    local finalize = meta.__gc
    if finalize then
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function()
        finalize(object)
      end
      -- The proxy dies with the object, not before it.
      object[proxy] = true
    end
    return setmetatable(object, meta)
  end
else
  compat.setmetatable = setmetatable
end

return compat
