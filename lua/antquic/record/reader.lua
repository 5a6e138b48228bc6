-- Reading records, whole or not: a line that is damaged is said and skipped, a
-- cut last line too. Nothing in a file can do more than be wrong.
--
-- SPDX-License-Identifier: MIT

local json = require("antquic.json")
local stable = require("antquic.stable")

local reader = {}

reader.VERSION = 1

local MAX_BYTES = 256 * 1024 * 1024
local MAX_LINES = 1000000
-- Of problems that are told one by one.
local MAX_TOLD = 20

---@class antquic.Record
---@field header table
---@field entries table[] in the order of time
---@field problems string[] what was wrong with the file
---@field complete boolean its last line is there

local function is_time(value)
  return type(value) == "number" and value == value and math.abs(value) < 1e9
end

local function is_list(value)
  return type(value) == "table" and getmetatable(value) == json.list
end

-- What is wrong with an entry; nil: nothing.
local function fault(entry)
  if type(entry) ~= "table" or is_list(entry) then
    return "not an object"
  elseif type(entry.e) ~= "string" then
    return "an entry without its kind"
  elseif not is_time(entry.t) then
    return "an entry without its time"
  end
end

local function check_header(header)
  local version = header.antquic_record
  if type(version) ~= "number" or version ~= math.floor(version) or version < 1 then
    return nil, "not a record of antquic", "FORMAT"
  elseif version > reader.VERSION then
    return nil,
      ("written in format %.0f, this reads up to %d: a newer antquic can"):format(
        version,
        reader.VERSION
      ),
      "UNSUPPORTED"
  end
  return true
end

--- Reads the text of a record.
---@param text string
---@return antquic.Record?
---@return string? message
---@return string? code
function reader.parse(text)
  local out = { entries = {}, problems = {}, complete = false }
  local damaged, lines = 0, 0
  local function problem(...)
    if #out.problems < MAX_TOLD then
      out.problems[#out.problems + 1] = (...):format(select(2, ...))
    end
  end
  for line, stop in text:gmatch("([^\n]*)(\n?)") do
    if line ~= "" then
      lines = lines + 1
      if lines > MAX_LINES then
        problem("only the first %d lines were read", MAX_LINES)
        break
      end
      local value, why = json.decode(line)
      if value == nil then
        damaged = damaged + 1
        problem(
          stop == "" and "line %d, the last one, is cut: %s" or "line %d is damaged: %s",
          lines,
          tostring(why)
        )
      elseif type(value) == "table" and value.antquic_record ~= nil and not out.header then
        local ok, message, code = check_header(value)
        if not ok then
          return nil, message, code
        end
        out.header = value
      else
        local wrong = fault(value)
        if wrong then
          damaged = damaged + 1
          problem("line %d is damaged: %s", lines, wrong)
        else
          out.entries[#out.entries + 1] = value
          out.complete = value.e == "end"
        end
      end
    end
  end
  if not out.header then
    if #out.entries == 0 then
      return nil, "not a record of antquic", "FORMAT"
    end
    problem("the first line, which tells about the endpoint, is missing")
    out.header = {}
  end
  if damaged > MAX_TOLD then
    problem("%d lines are damaged in all", damaged)
  end
  if not out.complete then
    problem("the record has no end: the program was stopped, or it still writes")
  end
  -- What happened at one time stays in the order of the file.
  stable.sort(out.entries, function(entry)
    return entry.t
  end)
  local last = out.entries[#out.entries]
  if last and last.e == "end" and type(last.left_out) == "number" then
    problem("%.0f entries did not fit in the record's size", last.left_out)
  end
  for _, entry in ipairs(out.entries) do
    if entry.e == "lost" and type(entry.count) == "number" then
      problem("%.0f entries were lost at %.3f s: too much at once", entry.count, entry.t)
    end
  end
  return out
end

--- Reads a file.
---@param path string
---@return antquic.Record?
---@return string? message
---@return string? code
function reader.load(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, tostring(why), "NETWORK"
  end
  local text, unread = file:read(MAX_BYTES + 1)
  file:close()
  if unread then
    return nil, ("%s: %s"):format(path, unread), "NETWORK"
  elseif not text then
    return nil, path .. ": not a record of antquic: it is empty", "FORMAT"
  elseif #text > MAX_BYTES then
    return nil, ("%s: larger than %d bytes"):format(path, MAX_BYTES), "TOO_LARGE"
  end
  local record, message, code = reader.parse(text)
  if not record then
    return nil, path .. ": " .. message, code
  end
  return record
end

return reader
