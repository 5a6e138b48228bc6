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

-- Does somebody further up wait for errors?
local function is_caught()
  local level = 2
  local info = debug.getinfo(level, "f")
  while info do
    if info.func == pcall or info.func == xpcall then
      return true
    end
    level = level + 1
    info = debug.getinfo(level, "f")
  end
  return false
end

--- Raises |err| as it is. An interrupt that nobody waits for ends the program
--- without a word, as others end, after |last|.
---@param err any
---@param last fun()?
function interrupt.raise(err, last)
  if interrupt.is(err) and not is_caught() then
    if last then
      last()
    end
    os.exit(STATUS, true)
  end
  error(err, 0)
end

return interrupt
