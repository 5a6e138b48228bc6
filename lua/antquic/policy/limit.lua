-- How long a policy may compute. Its functions run in coroutines of their own,
-- with a hook that counts instructions of the virtual machine: a loop that never
-- ends is an error in the policy and not the end of the program.
--
-- What runs in C (string.rep, string.find with a nasty pattern) isn't counted.
-- LuaJIT doesn't call hooks in compiled code, and where a debugger or a coverage
-- tool has set a hook there is only one: no limit then.
--
-- SPDX-License-Identifier: MIT

local limit = {}

--- A choice may take so many instructions, 5 to 20 ms.
limit.CHOICE = 1e6
--- A strategy so many between two waits of its session.
limit.STRATEGY = 1e7

local lib = rawget(_G, "debug")
local available = lib and lib.sethook and not rawget(_G, "jit")

-- From here on each instruction is an error: a pcall in the policy catches one,
-- and meets the next outside of it.
local function stop(co, text)
  lib.sethook(co, function()
    error(text, 0)
  end, "", 1)
  error(text, 2)
end

--- Lets |co| run |count| instructions.
---@param co thread
---@param count integer
---@param text string what the error says
function limit.once(co, count, text)
  if available and not lib.gethook(co) then
    lib.sethook(co, function()
      stop(co, text)
    end, "", count)
  end
end

--- Lets |co| run about |count| instructions while waits() gives the same number.
---@param co thread
---@param count integer
---@param waits fun(): integer
---@param text string
function limit.between(co, count, waits, text)
  if not available or lib.gethook(co) then
    return
  end
  local parts, spent, last = 10, 0, waits()
  lib.sethook(co, function()
    local now = waits()
    if now ~= last then
      spent, last = 0, now
    end
    spent = spent + 1
    if spent > parts then
      stop(co, text)
    end
  end, "", count / parts)
end

return limit
