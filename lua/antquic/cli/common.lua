-- What the commands share: options, endpoints, standard input, reports.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local output = require("antquic.cli.output")

local common = {}

common.KEY = { "--key", "FILE", "the key file (default $ANTQUIC_KEY or ~/.antquic.key)" }
common.BOOTSTRAP =
  { "--bootstrap", "ADDR...", "a coordinator, [PEERID@]ADDR:PORT; may be repeated" }
common.BIND = { "--bind", "ADDR...", "the local address, like 0.0.0.0:9000; may be repeated" }
common.TIMEOUT = { "--timeout", "SECONDS", "how long to try (default 10)" }
common.JSON = { "--json", nil, "one JSON object per line, for machines" }
common.RESERVED =
  { "--allow-reserved", nil, "use addresses of test networks (198.18/15 and the like) too" }

common.RECORD =
  { "--record", "FILE", "write down what happens, for 'antquic trace' (docs/record.md)" }
common.EXPLAIN = { "--explain", nil, "tell what was tried to reach the peer" }

-- A pipe's output is the peer's bytes and nothing else: |given.piped|.
local function say(given, line)
  if given.piped then
    io.stderr:write(line, "\n")
  else
    print(line)
  end
end

--- Prints a failure; returns the exit status for its code.
---@param given table
---@param message string
---@param code string?
---@param status integer? where the code alone would mislead
---@return integer
function common.fail(given, message, code, status)
  local cli = require("antquic.cli")
  if given.json then
    say(given, output.json({ event = "error", message = message, code = code }))
  else
    io.stderr:write("antquic: ", message, code and (" (" .. code .. ")") or "", "\n")
  end
  if status then
    return status
  elseif code == "CONFIG" or code == "ADDRESS" or code == "FORMAT" then
    return cli.USAGE
  elseif code == "IDENTITY" or code == "NETWORK" or code == "INVAL" or code == "INTERNAL" then
    return cli.FAILED
  end
  return cli.UNREACHED
end

--- Prints an event: |text| for people (nil: nothing), |data| as JSON.
function common.tell(given, event, text, data)
  if given.json then
    data = data or {}
    data.event = event
    say(given, output.json(data))
  elseif text then
    print(text)
  end
end

--- The path of the key file.
---@param given table
---@return string?
function common.key_path(given)
  if given.key then
    return given.key
  end
  local path = os.getenv("ANTQUIC_KEY")
  if path and path ~= "" then
    return path
  end
  local home = os.getenv("HOME")
  return home and home ~= "" and home .. "/.antquic.key" or nil
end

--- The coordinators of the command line or of the environment.
---@param given table
---@return string[]
function common.nodes(given)
  if given.bootstrap then
    return given.bootstrap
  end
  local list = {}
  for node in (os.getenv("ANTQUIC_BOOTSTRAP") or ""):gmatch("[^%s,]+") do
    list[#list + 1] = node
  end
  return list
end

--- The timeout option, or nil after a complaint.
---@param given table
---@param default number
---@return number?
---@return string? message
function common.timeout(given, default)
  return require("antquic.cli.parse").number(given, "timeout", default, 0.1, 3600)
end

-- The attempts that are wanted: all of them, or one by name.
local function pick(ladders, name)
  if not name then
    return ladders
  end
  local known = {}
  for _, ladder in ipairs(ladders) do
    known[#known + 1] = ladder.session
    if ladder.session == name then
      return { ladder }
    end
  end
  return nil, ("there is no attempt '%s' (there are %s)"):format(name, table.concat(known, ", "))
end

--- The attempts in the records of the command line: one record, or that of both
--- peers; with --session one of them alone.
---@param given table
---@return table[]? ladders of trace.model
---@return string? message
---@return string? code
---@return antquic.Record[]? records
function common.ladders(given)
  if #given > 2 then
    return nil, "at most two records: one of each peer", "CONFIG"
  end
  local records = {}
  local ladders, message, code
  for i, path in ipairs(given) do
    records[i], message, code = require("antquic.record.reader").load(path)
    if not records[i] then
      return nil, message, code
    end
  end
  ladders, message, code = require("antquic.trace.model").ladders(records)
  if ladders then
    ladders, message = pick(ladders, given.session)
  end
  return ladders, message, code, records
end

--- Makes the endpoint of a command.
---@param given table
---@param extra table?
---@return antquic.Endpoint?
---@return string? message
---@return string? code
function common.endpoint(given, extra)
  local options = {
    identity = common.key_path(given),
    bind = given.bind,
    bootstrap_nodes = common.nodes(given),
    allow_reserved = given.allow_reserved,
  }
  for key, value in pairs(extra or {}) do
    options[key] = value
  end
  local ep, message, code = antquic.endpoint(options)
  if not ep then
    return nil, message, code
  end
  if given.record then
    local recorder
    recorder, message, code = ep:record(given.record)
    if not recorder then
      ep:close()
      return nil, message, code
    end
    given.recorder = recorder
  end
  return ep
end

-- What was tried to reach the peer of the command line, where it was looked for
-- by its id.
local function explain(given, ep)
  local id = given.explain and tostring(given[1]):match("^%x+")
  local told = id and #id == 64 and ep:explain(id)
  if told then
    io.stderr:write(tostring(told), "\n")
  end
end

--- What a connection is, for people and machines.
---@param conn antquic.Connection
---@return string text
---@return table data
function common.describe(conn)
  local path = conn:path() or {}
  local text = ("%s, %s %s, rtt %.1f ms"):format(
    tostring(conn.peer_id),
    path.via and "relayed via" or ("%s path to"):format(path.kind or "no"),
    path.remote or "?",
    (path.rtt or 0) * 1e3
  )
  return text,
    {
      peer_id = conn.peer_id:hex(),
      kind = path.kind,
      via = path.via,
      remote = path.remote,
      ["local"] = path.local_addr,
      observed = path.observed,
      rtt = path.rtt,
    }
end

--- Standard input to the stream, then the end of the stream.
---@async
---@param stream antquic.Stream
local function pump_in(stream)
  while true do
    local data, message, code = antquic.input.read()
    if not data then
      if code then
        return nil, message, code
      end
      return stream:finish()
    end
    local ok
    ok, message, code = stream:write(data)
    if not ok then
      return nil, message, code
    end
  end
end

--- The stream to standard output until it ends.
---@async
---@param stream antquic.Stream
---@return true?
---@return string? message
---@return string? code
local function pump_out(stream)
  io.stdout:setvbuf("no")
  while true do
    local data, message, code = stream:read()
    if not data then
      if code then
        return nil, message, code
      end
      return true
    end
    local written, why = io.stdout:write(data)
    if not written then
      stream:stop(0)
      return nil, "cannot write to standard output: " .. tostring(why), "INVAL"
    end
  end
end

--- Both at once. A file or another program as the input goes out whole; at a
--- terminal the peer's end is the end.
---@async
---@param stream antquic.Stream
---@return true?
---@return string? message
---@return string? code
function common.pipe(stream)
  local sender = antquic.spawn(pump_in, stream)
  local ok, message, code = pump_out(stream)
  if not ok then
    return nil, message, code
  elseif output.is_terminal(0) then
    stream:finish()
    return true
  end
  local sent
  ok, sent, message, code = sender:wait()
  if not ok then
    return nil, sent, "INTERNAL"
  elseif not sent then
    return nil, message, code
  end
  return true
end

--- An endpoint and its connection to the PEER of the command line, the path in
--- words and as data; or nil and the exit status, after saying why.
function common.reach(given, timeout)
  local ep, message, code = common.endpoint(given)
  if not ep then
    return nil, common.fail(given, message, code)
  end
  local start = antquic.now()
  local conn
  conn, message, code = ep:connect(given[1], { timeout = timeout })
  if not conn then
    explain(given, ep)
    ep:close()
    return nil, common.fail(given, message, code)
  end
  local text, data = common.describe(conn)
  data.seconds = antquic.now() - start
  return ep, conn, text, data
end

return common
