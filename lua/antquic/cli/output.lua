-- What the command prints: lines for people, JSON for machines, progress bars
-- for terminals.
--
-- SPDX-License-Identifier: MIT

local json = require("antquic.json")

local output = {}

output.json = json.encode
output.list = json.list

--- Writes a file; the last of it may fail as late as in close().
---@param path string
---@param text string
---@return true?
---@return string? why
function output.save(path, text)
  local file, why = io.open(path, "wb")
  if not file then
    return nil, why
  end
  local written, closed, late
  written, why = file:write(text)
  closed, late = file:close()
  if written and closed then
    return true
  end
  return nil, path .. ": " .. tostring(why or late)
end

--- Makes print() and io.write() say, once and by |complain|, that standard output
--- takes nothing: a full disk, a closed pipe. Lua's own print() hides it, and what
--- the system's buffer of a line tells of it too.
---@param complain fun(text: string)
---@return fun(): boolean whole was everything written?
function output.watch(complain)
  local stdout, whole = io.stdout, true
  stdout:setvbuf("full")
  local function write(...)
    local ok, why = stdout:write(...)
    if ok then
      ok, why = stdout:flush()
    end
    if not ok and whole then
      whole = false
      complain("cannot write to standard output: " .. tostring(why))
    end
    return ok and stdout, why
  end
  -- luacheck: push ignore 121 122
  function io.write(...)
    local file = io.output()
    if file ~= stdout then
      return file:write(...)
    end
    return write(...)
  end
  function print(...)
    local parts = { ... }
    for i = 1, select("#", ...) do
      parts[i] = tostring(parts[i])
    end
    write(table.concat(parts, "\t"), "\n")
  end
  -- luacheck: pop
  return function()
    write()
    return whole
  end
end

--- Is a descriptor a terminal?
---@param fd integer
---@return boolean
function output.is_terminal(fd)
  local ok = os.execute(("test -t %d"):format(fd))
  return ok == true or ok == 0
end

--- "1.5 MiB"
---@param bytes number
---@return string
function output.size(bytes)
  local units = { "B", "KiB", "MiB", "GiB", "TiB" }
  local i = 1
  while bytes >= 1024 and i < #units do
    bytes = bytes / 1024
    i = i + 1
  end
  return (i == 1 and "%.0f %s" or "%.1f %s"):format(bytes, units[i])
end

local WIDTH = 30
-- Between two redraws, seconds.
local REDRAW = 0.1

--- A progress bar on standard error; nothing where |shown| is false.
---@param name string
---@param total integer bytes
---@param shown boolean
---@param now fun(): number
---@return fun(done: integer) update
---@return fun() finish
function output.progress(name, total, shown, now)
  local start, last, first = now(), -1, nil
  local function draw(done)
    local elapsed = math.max(now() - start, 1e-6)
    local part = total > 0 and done / total or 1
    local full = math.floor(part * WIDTH)
    io.stderr:write(
      ("\r%s [%s%s] %3d%% %s %s/s  "):format(
        name,
        ("#"):rep(full),
        ("."):rep(WIDTH - full),
        math.floor(part * 100),
        output.size(done),
        output.size((done - (first or 0)) / elapsed)
      )
    )
  end
  if not shown then
    return function() end, function() end
  end
  return function(done)
    first = first or done
    if done == total or now() - last >= REDRAW then
      last = now()
      draw(done)
    end
  end, function()
    io.stderr:write("\n")
  end
end

return output
