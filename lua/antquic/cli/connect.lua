-- antquic connect: reaches a peer, for a pipe or a file.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")
local files = require("antquic.files")
local output = require("antquic.cli.output")

local function send(given, conn, stream)
  local name = given.send:match("([^/]*)$")
  local update, finish
  local bars = not given.json and output.is_terminal(1)
  local start = antquic.now()
  local sent, message, code = files.send(stream, given.send, function(done, total)
    if not update then
      update, finish = output.progress(name, total, bars, antquic.now)
    end
    update(done)
  end)
  if finish then
    finish()
  end
  if not sent then
    -- By now it is the file or the peer, not the command line.
    local status = code == "FORMAT" and require("antquic.cli").FAILED or nil
    return common.fail(given, ("%s: %s"):format(given.send, tostring(message)), code, status)
  end
  sent.seconds = antquic.now() - start
  local text = ("sent %s (%s%s in %.1f s), SHA-256 %s verified by the peer"):format(
    sent.name,
    output.size(sent.size),
    sent.resumed > 0 and ", resumed at " .. output.size(sent.resumed) or "",
    sent.seconds,
    sent.sha256
  )
  common.tell(given, "sent", text, sent)
  conn:close()
end

local function pipe(given, conn, stream)
  local ok, message, code = stream:write("pipe\n")
  if ok then
    ok, message, code = common.pipe(stream)
  end
  if ok then
    conn:shutdown(2)
  elseif code ~= "PEER_CLOSED" then
    return common.fail(given, message, code)
  end
end

-- Why a file can't be sent, before anybody is called: a folder opens too, and
-- fails to be read.
local function unreadable_file(path)
  local f, why = io.open(path, "rb")
  if f then
    local _
    _, why = f:read(0)
    f:close()
    why = why and path .. ": " .. why
  end
  return why
end

return {
  name = "connect",
  summary = "reach a peer: a pipe, or --send a file",
  about = "Reaches a peer by its id, through a coordinator where NATs are in the way, or by\n"
    .. "its address. Standard input goes to it, what it sends goes to standard output;\n"
    .. "with --send a file goes to it instead, and goes on where an earlier try stopped.\n"
    .. "What --json tells of a pipe goes to standard error.",
  args = { { "PEER", "a peer id, an address, or PEERID@ADDRESS" } },
  options = {
    common.BOOTSTRAP,
    { "--send", "FILE", "send this file; the peer runs listen --receive" },
    common.EXPLAIN,
    common.RECORD,
    common.TIMEOUT,
    common.BIND,
    common.KEY,
    common.RESERVED,
    common.JSON,
  },
  examples = {
    "antquic connect 4f1d...c2 --bootstrap 198.51.100.1:9000",
    "antquic connect 192.0.2.7:9001 --send photo.jpg",
    "tar c docs | antquic connect 4f1d...c2",
  },
  run = function(given)
    given.piped = not given.send
    local timeout, wrong = common.timeout(given, 10)
    if not timeout then
      return common.fail(given, wrong, "CONFIG")
    end
    local unreadable = given.send and unreadable_file(given.send)
    if unreadable then
      return common.fail(given, "cannot read " .. unreadable, "INVAL")
    end
    local ep, conn, text, data = common.reach(given, timeout)
    if not ep then
      return conn
    end
    if given.json then
      common.tell(given, "connected", nil, data)
    else
      io.stderr:write(("connected to %s, after %.0f ms\n"):format(text, data.seconds * 1e3))
    end
    if given.explain then
      io.stderr:write(tostring(conn:explain()), "\n")
    end
    local status
    local stream, message, code = conn:open_stream()
    if not stream then
      status = common.fail(given, message, code)
    elseif given.send then
      status = send(given, conn, stream)
    else
      status = pipe(given, conn, stream)
    end
    ep:shutdown(2)
    return status
  end,
}
