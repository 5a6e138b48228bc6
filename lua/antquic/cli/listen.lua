-- antquic listen: waits for peers.
--
-- Each stream begins with a line that says what it is: "pipe", "file ...".
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")
local files = require("antquic.files")
local output = require("antquic.cli.output")

-- What a peer has to say what a stream is for.
local FIRST_LINE = 30

local function echo(stream)
  while true do
    local data = stream:read()
    if not data or not stream:write(data) then
      break
    end
  end
  stream:close()
end

local function receive(given, conn, stream, line, bars)
  local update, finish
  local got, message, code = files.receive(stream, given.receive, function(done, total, name)
    if not update then
      update, finish = output.progress(name, total, bars, antquic.now)
    end
    update(done)
  end, line)
  if finish then
    finish()
  end
  stream:close()
  if not got then
    common.fail(given, ("from %s: %s"):format(tostring(conn.peer_id), tostring(message)), code)
    return
  end
  local text = ("received %s (%s%s), SHA-256 %s"):format(
    got.path,
    output.size(got.size),
    got.resumed > 0 and ", resumed at " .. output.size(got.resumed) or "",
    got.sha256
  )
  got.peer_id = conn.peer_id:hex()
  common.tell(given, "received", text, got)
end

-- The first pipe has the terminal; its end is the end of the command.
local function pipe(stream, state)
  if state.piping then
    stream:reset(4)
    stream:stop(4)
    stream:close()
    return
  end
  state.piping = true
  local ok, message, code = common.pipe(stream)
  state.over:push({ ok, message, code })
end

local function serve_stream(given, conn, stream, state)
  local line = stream:read("l", FIRST_LINE)
  if line and line:find("^file ") and given.receive then
    receive(given, conn, stream, line, state.bars)
  elseif line == "pipe" and given.echo then
    echo(stream)
  elseif line == "pipe" and not given.receive then
    pipe(stream, state)
  else
    stream:reset(5)
    stream:stop(5)
    stream:close()
  end
end

local function serve(given, conn, state)
  local text, data = common.describe(conn)
  common.tell(given, "connected", not state.quiet and "connected: " .. text or nil, data)
  if given.echo then
    antquic.spawn(function()
      local dgram = conn:receive_datagram()
      while dgram do
        conn:send_datagram(dgram, 1)
        dgram = conn:receive_datagram()
      end
    end)
  end
  for stream in conn:streams() do
    antquic.spawn(serve_stream, given, conn, stream, state)
  end
  local why, code = conn:wait_closed()
  if not state.quiet or given.json then
    common.tell(
      given,
      "disconnected",
      why,
      { peer_id = conn.peer_id:hex(), reason = why, code = code }
    )
  end
end

return {
  name = "listen",
  summary = "wait for peers: a pipe, --echo, or --receive files",
  about = "Waits for peers. Without --echo or --receive it is one end of a pipe: what the\n"
    .. "first peer sends goes to standard output, and standard input goes to it.\n"
    .. "What --json tells of a pipe goes to standard error.\n"
    .. "With --bootstrap, peers behind NATs can find you by your peer id.",
  args = {},
  options = {
    common.BOOTSTRAP,
    common.BIND,
    { "--echo", nil, "send everything back; serves until interrupted" },
    { "--receive", "DIR", "put files that peers send into this folder" },
    { "--allow", "PEERID...", "accept this peer; may be repeated (default: everybody)" },
    common.RECORD,
    common.KEY,
    common.RESERVED,
    common.JSON,
  },
  examples = {
    "antquic listen --bootstrap 198.51.100.1:9000 --echo",
    "antquic listen --bind 0.0.0.0:9001 --receive ~/inbox",
    "antquic listen > copy.tar",
  },
  run = function(given)
    given.piped = not (given.echo or given.receive)
    -- "." in it opens where it is a folder, and only there.
    local folder, why = io.open((given.receive or ".") .. "/.", "r")
    if not folder then
      return common.fail(given, "cannot receive files in " .. tostring(why), "INVAL")
    end
    folder:close()
    local ep, message, code = common.endpoint(given, { allow = given.allow })
    if not ep then
      return common.fail(given, message, code)
    end
    local state = {
      over = require("antquic.task").queue(1),
      bars = not given.json and output.is_terminal(1),
      -- A pipe's output is the peer's bytes and nothing else.
      quiet = given.piped,
    }
    local addresses = ep:local_addresses()
    local ready = ("peer id %s\nlistening on %s"):format(
      ep.peer_id:hex(),
      table.concat(addresses, ", ")
    )
    if state.quiet and not given.json then
      io.stderr:write(ready, "\n")
    else
      common.tell(given, "ready", ready, { peer_id = ep.peer_id:hex(), addresses = addresses })
    end
    ep:on("bootstrap_lost", function(ev)
      io.stderr:write(
        ("antquic: coordinator %s: %s\n"):format(tostring(ev.address), tostring(ev.text))
      )
    end)
    ep:serve(function(conn)
      serve(given, conn, state)
    end)
    local over = state.over:pop()
    ep:shutdown(2)
    if not over or not over[1] then
      -- A peer that leaves without closing its stream ended the pipe too.
      return over and over[3] ~= "PEER_CLOSED" and common.fail(given, over[2], over[3]) or nil
    end
  end,
}
