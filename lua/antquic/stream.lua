-- Streams: Lua's file habits over a QUIC stream.
--
-- Reads come out of the core into one string buffer; a call that ends in a
-- time-out leaves what it had in that buffer, so nothing is lost.
--
-- SPDX-License-Identifier: MIT

local compat = require("antquic.compat")
local options = require("antquic.options")
local task = require("antquic.task")

local stream = {}

-- How much one read of the core asks for.
local CHUNK = 65536
-- What "l" and "a" may gather before they give up with TOO_LARGE.
stream.MAX_LINE = 1024 * 1024
stream.MAX_ALL = 256 * 1024 * 1024

---@class antquic.Stream
---@field id integer
---@field connection antquic.Connection
---@field incoming boolean the peer opened it
---@field uni boolean
local methods = {}
local Stream = { __index = methods, __name = "antquic.Stream" }

local function label(self)
  return ("stream %s of %s"):format(tostring(self.number or self.id), self.connection:_label())
end

local function waiting_read(self)
  return "waiting to read from " .. label(self)
end

local function waiting_write(self)
  return "waiting for room in " .. label(self)
end

-- What a failure of the core means here: the connection knows better why
-- something is closed.
local function failed(self, message, code)
  if code == "CLOSED" then
    if self._closed then
      return nil, label(self) .. " is closed", "CLOSED"
    end
    local why, name = self.connection:_why_closed()
    if why then
      return nil, why, name
    end
  end
  return nil, ("%s: %s"):format(label(self), tostring(message)), code
end

--- For the endpoint's use.
function stream.new(connection, id, uni, incoming)
  local self = compat.setmetatable({
    id = id,
    connection = connection,
    uni = uni,
    incoming = incoming,
    _ep = connection._ep,
    _buffer = "",
    _at = 1,
    _readable = task.cond(),
    _writable = task.cond(),
  }, Stream)
  connection._ep._streams[id] = self
  connection._streams[id] = self
  return self
end

--- What reads and writes wait where a call gives no timeout of its own; nil is
--- for ever.
---@param seconds number?
---@return antquic.Stream
function methods:settimeout(seconds)
  self._timeout = options.timeout("stream:settimeout", seconds)
  return self
end

-- The next bytes of the core: a string, a lone nil at the end, or a failure.
local function fetch(self, max, timeout, deadline)
  if self._eof then
    return nil
  end
  local ep = self._ep
  local core = ep._core
  local data, message, code = task.retry(
    self,
    waiting_read,
    self._readable,
    timeout,
    deadline,
    core.stream_read,
    core,
    self.id,
    max
  )
  if data then
    -- Reading opens the flow-control window, which is to be told.
    ep._rearm(ep._handle)
    return data
  end
  if code == nil then
    self._eof = true
    return nil
  elseif code == "TIMEOUT" then
    return nil, message, code
  end
  return failed(self, message, code)
end

local function take_all(self)
  local data = self._at == 1 and self._buffer or self._buffer:sub(self._at)
  self._buffer, self._at = "", 1
  return data
end

local function put_back(self, parts)
  self._buffer, self._at = table.concat(parts), 1
end

local function read_any(self, timeout)
  if self._at <= #self._buffer then
    return take_all(self)
  end
  return fetch(self, CHUNK, timeout)
end

local function read_count(self, count, timeout)
  local have = #self._buffer - self._at + 1
  if count == 0 then
    if have > 0 then
      return ""
    end
    local data, message, code = fetch(self, CHUNK, timeout)
    if not data then
      return nil, message, code
    end
    self._buffer, self._at = data, 1
    return ""
  end
  if have >= count then
    local data = self._buffer:sub(self._at, self._at + count - 1)
    self._at = self._at + count
    return data
  end
  local deadline = task.deadline(timeout)
  local first = have > 0 and take_all(self) or nil
  local parts, n = { first }, first and 1 or 0
  while have < count do
    local data, message, code = fetch(self, count - have, timeout, deadline)
    if not data then
      if code then
        put_back(self, parts)
        return nil, message, code
      end
      break
    end
    n = n + 1
    parts[n] = data
    have = have + #data
  end
  if n == 0 then
    return nil
  end
  return n == 1 and parts[1] or table.concat(parts)
end

local function read_line(self, keep, timeout)
  local buffer = self._buffer
  local at = self._at
  local stop = buffer:find("\n", at, true)
  if stop then
    self._at = stop + 1
    return buffer:sub(at, keep and stop or stop - 1)
  end
  local deadline = task.deadline(timeout)
  local parts, n, size = {}, 0, 0
  if at <= #buffer then
    n = 1
    parts[1] = take_all(self)
    size = #parts[1]
  end
  while true do
    if size > stream.MAX_LINE then
      put_back(self, parts)
      return nil,
        ("%s: a line of more than %d bytes"):format(label(self), stream.MAX_LINE),
        "TOO_LARGE"
    end
    local data, message, code = fetch(self, CHUNK, timeout, deadline)
    if not data then
      if code then
        put_back(self, parts)
        return nil, message, code
      end
      return n > 0 and table.concat(parts) or nil
    end
    stop = data:find("\n", 1, true)
    if stop then
      self._buffer, self._at = data, stop + 1
      data = data:sub(1, keep and stop or stop - 1)
      if n == 0 then
        return data
      end
      parts[n + 1] = data
      return table.concat(parts)
    end
    n = n + 1
    parts[n] = data
    size = size + #data
  end
end

local function read_all(self, timeout)
  local deadline = task.deadline(timeout)
  local parts = { take_all(self) }
  local n, size = 1, #parts[1]
  while true do
    local data, message, code = fetch(self, CHUNK, timeout, deadline)
    if not data then
      if code then
        put_back(self, parts)
        return nil, message, code
      end
      return table.concat(parts)
    end
    n = n + 1
    parts[n] = data
    size = size + #data
    if size > stream.MAX_ALL then
      put_back(self, parts)
      return nil,
        ("%s: more than %d bytes to read at once"):format(label(self), stream.MAX_ALL),
        "TOO_LARGE"
    end
  end
end

--- Reads, waiting for data. |format| is "l" (a line), "L" (with its end), "a"
--- (all up to the end), a count of bytes (fewer only at the end), or nil:
--- whatever is there, at least one byte. At the end a lone nil ("" for "a").
---@async
---@param format string|integer|nil
---@param timeout number? seconds; default as set with settimeout
---@return string?
---@return string? message
---@return string? code
function methods:read(format, timeout)
  if timeout == nil then
    timeout = self._timeout
  else
    options.timeout("stream:read", timeout)
  end
  if format == nil then
    return read_any(self, timeout)
  elseif type(format) == "number" then
    if format < 0 or format ~= math.floor(format) then
      error("stream:read: a count is a whole number, 0 or more", 2)
    end
    return read_count(self, format, timeout)
  end
  local kind = type(format) == "string" and format:gsub("^%*", "")
  if kind == "l" then
    return read_line(self, false, timeout)
  elseif kind == "L" then
    return read_line(self, true, timeout)
  elseif kind == "a" then
    return read_all(self, timeout)
  end
  error('stream:read: the format is "l", "L", "a", a count or nil, got ' .. tostring(format), 2)
end

--- Iterates over the lines (or what another format gives). A failure raises,
--- as with io.lines.
---@async
---@param format string|integer|nil default "l"
---@param timeout number? for each
function methods:lines(format, timeout)
  if format == nil then
    format = "l"
  end
  return function()
    local data, message, code = self:read(format, timeout)
    if data == nil and code then
      error(message, 2)
    end
    if format == "a" and data == "" then
      return nil
    end
    return data
  end
end

local function write_one(self, data, timeout, deadline)
  local ep = self._ep
  local size, from = #data, 1
  while from <= size do
    local core = ep._core
    local count, message, code = task.retry(
      self,
      waiting_write,
      self._writable,
      timeout,
      deadline,
      core.stream_write,
      core,
      self.id,
      data,
      from
    )
    if not count then
      if code ~= "TIMEOUT" then
        local _
        _, message, code = failed(self, message, code)
      end
      return nil, message, code, from - 1
    end
    ep._rearm(ep._handle)
    from = from + count
  end
  return true
end

--- Writes strings and numbers, waiting for room. Returns the stream, or nil,
--- message, code and how many bytes were taken.
---@async
---@param ... string|number
---@return antquic.Stream?
---@return string? message
---@return string? code
---@return integer? taken
function methods:write(...)
  local timeout, deadline, taken = self._timeout, nil, 0
  if timeout then
    deadline = task.deadline(timeout)
  end
  for i = 1, select("#", ...) do
    local data = select(i, ...)
    if type(data) == "number" then
      data = tostring(data)
    elseif type(data) ~= "string" then
      error(("stream:write: argument %d must be a string, got %s"):format(i, type(data)), 2)
    end
    local ok, message, code, count = write_one(self, data, timeout, deadline)
    if not ok then
      return nil, message, code, taken + count
    end
    taken = taken + #data
  end
  return self
end

local function verb(self, name, arg)
  local ep = self._ep
  local core = ep._core
  local ok, message, code = core[name](core, self.id, arg)
  if not ok then
    return failed(self, message, code)
  end
  ep._rearm(ep._handle)
  return self
end

local function check_code(who, code)
  if code ~= nil and (type(code) ~= "number" or code < 0 or code ~= math.floor(code)) then
    error(who .. ": an application error code is a whole number, 0 or more", 3)
  end
end

--- Ends the writing side: the peer reads to the end.
---@return antquic.Stream?
---@return string? message
---@return string? code
function methods:finish()
  return verb(self, "stream_finish")
end

--- Abandons the writing side; the peer's reads give STREAM_RESET.
---@param code integer? application error code, default 0
---@return antquic.Stream?
---@return string? message
---@return string? errcode
function methods:reset(code)
  check_code("stream:reset", code)
  return verb(self, "stream_reset", code)
end

--- Asks the peer to stop writing; its writes give STREAM_STOPPED.
---@param code integer? application error code, default 0
---@return antquic.Stream?
---@return string? message
---@return string? errcode
function methods:stop(code)
  check_code("stream:stop", code)
  return verb(self, "stream_stop", code)
end

--- A higher priority is sent first.
---@param priority integer
---@return antquic.Stream?
---@return string? message
---@return string? code
function methods:set_priority(priority)
  if type(priority) ~= "number" or priority ~= math.floor(priority) then
    error("stream:set_priority: a whole number is expected", 2)
  end
  return verb(self, "stream_priority", priority)
end

--- Counters and flags: id (QUIC's number), uni, incoming, finished,
--- fin_received, fin_acked, reset_code, stop_code, bytes_written, bytes_read,
--- bytes_acked, send_queued, recv_queued, priority.
---@return table?
---@return string? message
---@return string? code
function methods:info()
  local core = self._ep._core
  local info, message, code = core:stream_info(self.id)
  if not info then
    return failed(self, message, code)
  end
  return info
end

-- Gives the id back to the core and wakes who waits.
local function release(self)
  self._closed = true
  local ep = self._ep
  local core = ep._core
  core:stream_release(self.id)
  ep._streams[self.id] = nil
  ep._rearm(ep._handle)
  local message = label(self) .. " is closed"
  self._readable:close(message, "CLOSED")
  self._writable:close(message, "CLOSED")
end

--- Finishes the writing side and lets go of the stream: what was written is
--- still delivered, what comes in is no longer wanted. At once, idempotent.
---@return true
function methods:close()
  if not self._closed then
    local core = self._ep._core
    if not (self.uni and self.incoming) then
      core:stream_finish(self.id)
    end
    release(self)
  end
  return true
end

--- Was it closed here?
---@return boolean
function methods:is_closed()
  return self._closed == true
end

--- With `local s <close>`: closed, or reset where an error left the block, so
--- that the peer doesn't take half a message for a whole one.
function Stream.__close(self, err)
  if err ~= nil and not self._closed then
    release(self)
    return
  end
  self:close()
end

function Stream.__gc(self)
  if not self._closed then
    self._closed = true
    local ep = self._ep
    local core = ep._core
    core:stream_release(self.id)
    ep._rearm(ep._handle)
  end
end

function Stream.__tostring(self)
  return ("antquic.Stream{id=%s, %s%s, peer=%s}"):format(
    tostring(self.id),
    self.uni and "uni" or "bidi",
    self._closed and ", closed" or "",
    tostring(self.connection.peer_id)
  )
end

-- The endpoint's pump: the core has nothing more to do with it: whoever waits asks again.
function stream.on_closed(self)
  self._readable:wake(true)
  self._writable:wake(true)
end

-- The connection is gone.
function stream.on_lost(self, message, code)
  self._readable:close(message, code)
  self._writable:close(message, code)
end

return stream
