-- Standard input, without stopping the other tasks: a program that talks to a
-- peer and to a terminal reads the terminal with this.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local options = require("antquic.options")
local sched = require("antquic.sched")
local task = require("antquic.task")

local input = {}

-- Between two looks while nothing comes, seconds.
local LOOK = 0.01
-- A line that is longer is given in parts.
local MAX_LINE = 1024 * 1024

local buffer, ended = "", false

local function fetch(deadline, timeout)
  while not ended do
    local data, message, code = core.fd_read(0)
    if data then
      return data
    elseif code == nil then
      ended = true
    elseif code ~= "AGAIN" then
      return nil, "standard input: " .. message, code
    elseif deadline and sched.current().now() >= deadline then
      return task.timed_out(timeout, "waiting for standard input")
    else
      task.sleep(LOOK)
    end
  end
  return nil
end

--- What is there, waiting for at least one byte; a lone nil at the end.
---@async
---@param timeout number? seconds
---@return string?
---@return string? message
---@return string? code
function input.read(timeout)
  options.timeout("antquic.input.read", timeout)
  if buffer ~= "" then
    local data = buffer
    buffer = ""
    return data
  end
  return fetch(task.deadline(timeout), timeout)
end

--- The next line without its end; a lone nil at the end.
---@async
---@param timeout number? seconds
---@return string?
---@return string? message
---@return string? code
function input.line(timeout)
  options.timeout("antquic.input.line", timeout)
  local deadline = task.deadline(timeout)
  while true do
    local line, rest = buffer:match("^([^\n]*)\n(.*)$")
    if line then
      buffer = rest
      return line
    elseif #buffer > MAX_LINE then
      break
    end
    local data, message, code = fetch(deadline, timeout)
    if code then
      return nil, message, code
    elseif not data then
      break
    end
    buffer = buffer .. data
  end
  if buffer == "" then
    return nil
  end
  local last = buffer
  buffer = ""
  return last
end

return input
