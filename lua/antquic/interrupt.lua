-- Ctrl-C as Lua's interpreter tells it: an error in its main thread.
--
-- SPDX-License-Identifier: MIT

local interrupt = {}

-- As a shell tells it of a program that SIGINT ended.
local STATUS = 130

--- Is that error one?
---@param err any
---@return boolean
function interrupt.is(err)
  return type(err) == "string" and err:find("interrupted!", 1, true) ~= nil
end

-- Is this the interpreter's run of a script, in which nobody further up waits for
-- errors? A prompt does, and so may a program that embeds Lua.
local function is_ours()
  local level = 2
  local info = debug.getinfo(level, "fS")
  local script = type(arg) == "table" and arg[0]
  local source
  while info do
    if info.func == pcall or info.func == xpcall then
      return false
    end
    source = info.what == "main" and info.source or source
    level = level + 1
    info = debug.getinfo(level, "fS")
  end
  return script ~= nil and source == "@" .. tostring(script)
end

--- Raises |err| as it is. An interrupt that nobody waits for ends the script
--- without a word, as others end, after |last|.
---@param err any
---@param last fun()?
function interrupt.raise(err, last)
  if interrupt.is(err) and is_ours() then
    if last then
      last()
    end
    os.exit(STATUS, true)
  end
  error(err, 0)
end

return interrupt
