-- Files over a stream: resumed where an earlier try stopped, verified by their
-- SHA-256 before they get their name.
--
--   sender    file SIZE SHA256 NAME\n
--   receiver  have COUNT\n            what it has of that very file
--   sender    the rest, then the end
--   receiver  ok SHA256\n  or  bad SHA256\n
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local task = require("antquic.task")

---@class antquic.files
local files = {}

local CHUNK = 256 * 1024
-- How long a receiver that reads no more has to say why.
local VERDICT = 2

local function failure(message, code)
  return nil, message, code or "FORMAT"
end

--- The running SHA-256 of what is in |f| from where it stands, and its length.
--- Other tasks have their turns meanwhile.
---@async
---@param f file*
---@return antquic.core.Sha256? hash
---@return integer|string size or what went wrong
---@return string? code
function files.hash(f)
  local hash = assert(core.sha256_new())
  local size = 0
  while true do
    local data, why = f:read(CHUNK)
    if why then
      return failure("cannot read: " .. tostring(why), "INVAL")
    elseif not data then
      return hash, size
    end
    hash:update(data)
    size = size + #data
    task.sleep(0)
  end
end

local function file_name(path)
  return path:match("([^/]*)$")
end

local function bad_name(name)
  return name == "" or name == "." or name == ".." or #name > 200 or name:find("[%c/\\]") ~= nil
end

-- What the receiver said in the end; |ok| is false where it has stopped reading,
-- as one does that has all there is, or can't go on.
local function verdict(stream, sha256, ok, message, code)
  if not ok and code ~= "STREAM_STOPPED" then
    return nil, message, code
  end
  local answer, why, name = stream:read("l", not ok and VERDICT or nil)
  if answer == "ok " .. sha256 then
    return true
  elseif not answer then
    return nil, message or why or "the receiver ended the stream", code or name or "CLOSED"
  elseif answer:find("^bad %x+$") then
    return failure("the receiver got other bytes: " .. answer:sub(1, 80))
  end
  return failure("the receiver says: " .. answer:gsub("^bad ", ""):sub(1, 120))
end

--- Sends a file over a fresh stream. Returns { name, size, sha256, resumed }.
---@async
---@param stream antquic.Stream
---@param path string
---@param progress fun(done: integer, total: integer)?
---@return table?
---@return string? message
---@return string? code
function files.send(stream, path, progress)
  local name = file_name(path)
  if bad_name(name) then
    return failure(("the receiver would refuse the file name '%s'"):format(name), "INVAL")
  end
  local f, why = io.open(path, "rb")
  if not f then
    return failure("cannot read " .. tostring(why), "INVAL")
  end
  local hash, size = files.hash(f)
  if not hash then
    f:close()
    return failure(("%s: %s"):format(path, size), "INVAL")
  end
  local sha256 = hash:hex()
  local ok, message, code = stream:write(("file %d %s %s\n"):format(size, sha256, name))
  local answer
  if ok then
    answer, message, code = stream:read("l")
  end
  if not answer then
    f:close()
    return nil, message or "the receiver ended the stream", code or "CLOSED"
  end
  local have = tonumber(answer:match("^have (%d+)$"))
  if not have or have > size then
    f:close()
    return failure("the receiver says: " .. answer:gsub("^bad ", ""):sub(1, 120))
  end
  f:seek("set", have)
  local done = have
  while done < size do
    local data = f:read(CHUNK)
    if not data then
      f:close()
      stream:reset(1)
      return failure(path .. " became shorter while it was sent")
    end
    ok, message, code = stream:write(data)
    if not ok then
      f:close()
      return verdict(stream, sha256, ok, message, code)
    end
    done = done + #data
    if progress then
      progress(done, size)
    end
  end
  f:close()
  ok, message, code = verdict(stream, sha256, stream:finish())
  if not ok then
    return nil, message, code
  end
  return { name = name, size = size, sha256 = sha256, resumed = have }
end

--- Reads "file SIZE SHA256 NAME". A name may not lead out of the folder.
---@param line string
---@return table?
---@return string? message
---@return string? code
function files.header(line)
  local size, sha256, name = line:match("^file (%d+) (%x+) (.+)$")
  if not size or #sha256 ~= 64 or #size > 15 then
    return failure("not the beginning of a file: '" .. line:sub(1, 80) .. "'")
  elseif bad_name(name) then
    return failure("a file name that isn't one")
  end
  return { size = tonumber(size), sha256 = sha256:lower(), name = name }
end

-- The part that is there already: its handle for appending, hash and length.
local function resume(path, size)
  local f = io.open(path, "rb")
  if f then
    local hash, have = files.hash(f)
    f:close()
    if hash and have <= size then
      local out, why = io.open(path, "ab")
      return out, hash, have, why
    end
  end
  local out, why = io.open(path, "wb")
  return out, assert(core.sha256_new()), 0, why
end

-- Tells the sender why the file isn't taken.
local function give_up(stream, why)
  local text = "cannot write " .. tostring(why)
  stream:write("bad ", (text:gsub("%c", " ")), "\n")
  stream:finish()
  stream:stop(3)
  return failure(text, "INVAL")
end

--- Receives one file into |dir|. What arrives is kept beside it as
--- NAME.HASH.part until it is whole and right. |line| is the first line of the
--- stream where the program has read it already.
--- Returns { name, size, sha256, resumed, path }.
---@async
---@param stream antquic.Stream
---@param dir string
---@param progress fun(done: integer, total: integer, name: string)?
---@param line string?
---@return table?
---@return string? message
---@return string? code
function files.receive(stream, dir, progress, line)
  local message, code
  if not line then
    line, message, code = stream:read("l")
    if not line then
      return nil, message or "the sender ended the stream", code or "CLOSED"
    end
  end
  local head
  head, message, code = files.header(line)
  if not head then
    stream:reset(2)
    stream:stop(2)
    return nil, message, code
  end
  local path = dir .. "/" .. head.name
  local part = ("%s.%s.part"):format(path, head.sha256:sub(1, 16))
  local out, hash, have, why = resume(part, head.size)
  if not out then
    return give_up(stream, why)
  end
  local done = have
  local ok
  ok, message, code = stream:write(("have %d\n"):format(have))
  while ok and done < head.size do
    local data
    data, message, code = stream:read(math.min(CHUNK, head.size - done))
    ok = data ~= nil
    if ok then
      local written
      written, why = out:write(data)
      if not written then
        out:close()
        return give_up(stream, part .. ": " .. tostring(why))
      end
      hash:update(data)
      done = done + #data
      if progress then
        progress(done, head.size, head.name)
      end
    end
  end
  -- The last bytes may wait in the file's buffer: only closing it tells that
  -- the disk has them.
  local closed
  closed, why = out:close()
  if not ok then
    return nil, message or "the sender ended the stream before the file's end", code or "CLOSED"
  end
  if not closed then
    return give_up(stream, part .. ": " .. tostring(why))
  end
  local got = hash:hex()
  if got ~= head.sha256 then
    os.remove(part)
    stream:write("bad ", got, "\n")
    stream:finish()
    return failure(("%s: the SHA-256 is %s, not %s"):format(head.name, got, head.sha256))
  end
  -- POSIX replaces the old file at once; elsewhere it has to go first.
  local renamed
  renamed, why = os.rename(part, path)
  if not renamed and os.remove(path) then
    renamed, why = os.rename(part, path)
  end
  if not renamed then
    return give_up(stream, why)
  end
  stream:write("ok ", got, "\n")
  stream:finish()
  return { name = head.name, size = head.size, sha256 = got, resumed = have, path = path }
end

return files
