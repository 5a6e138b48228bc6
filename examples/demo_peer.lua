-- demo_peer.lua - one of the two peers of ./bootstrap.sh demo.
--
--   demo_peer.lua COORDINATOR BIND FOLDER                 waits, echoes, takes a file
--   demo_peer.lua COORDINATOR BIND FOLDER PEERID FILE     connects, talks, sends the file
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local coordinator, bind, folder, friend, file = table.unpack(arg)
io.stdout:setvbuf("line")

local function say(...)
  print(string.format(...))
end

local function show_path(conn)
  local path = conn:path()
  say("path %s: %s to %s", path.kind, path["local"], path.remote)
  say("round-trip time %.2f ms", path.rtt * 1000)
end

-- A stream is a message, or a file when its first line says so.
local function take(stream)
  local head = assert(stream:read("l"))
  local name, size = head:match("^file ([%w.]+) (%d+)$")
  if not name then
    say("heard: %s", head)
    assert(stream:write("you said: ", head, "\n"))
  else
    local out = assert(io.open(folder .. "/" .. name, "wb"))
    local hash, count = antquic.sha256(), 0
    for part in stream:lines(65536) do
      out:write(part)
      hash:update(part)
      count = count + #part
    end
    out:close()
    assert(count == tonumber(size), "the file is not complete")
    say("received %s, %d bytes, SHA-256 %s", name, count, hash:hex())
    assert(stream:write(hash:hex(), "\n"))
  end
  stream:finish()
end

local function wait(me)
  local conn = assert(me:accept(60))
  say("%s connected", conn.peer_id:hex())
  show_path(conn)
  for stream in conn:streams() do
    take(stream)
  end
  say("%s has left", conn.peer_id:short())
end

local function ask(conn, text)
  local stream <close> = assert(conn:open_stream())
  assert(stream:write(text, "\n"))
  stream:finish()
  say("said: %s", text)
  say("answer: %s", assert(stream:read("l", 5)))
end

local function send(conn)
  local input = assert(io.open(file, "rb"))
  local size = input:seek("end")
  input:seek("set")
  local stream <close> = assert(conn:open_stream())
  assert(stream:write("file random.bin ", size, "\n"))
  local hash, started = antquic.sha256(), antquic.now()
  for part in input:lines(65536) do
    hash:update(part)
    assert(stream:write(part))
  end
  stream:finish()
  local theirs = assert(stream:read("l", 30))
  local seconds = antquic.now() - started
  say("sent %d bytes in %.3f s, %.1f MB/s", size, seconds, size / seconds / 1e6)
  assert(theirs == hash:hex(), "the file changed on its way")
  say("SHA-256 is the same at both ends: %s", theirs)
end

local function talk(me)
  say("looking for %s", friend)
  local started = antquic.now()
  local conn = assert(me:connect(friend, { timeout = 10 }))
  say("connected in %.1f ms", (antquic.now() - started) * 1000)
  show_path(conn)
  ask(conn, "Hello, I know you by your key.")
  ask(conn, "And nobody relays this.")
  send(conn)
  say("how it came about:\n%s", tostring(conn:explain()))
  conn:shutdown()
end

antquic.run(function()
  local me <close> = assert(antquic.endpoint({
    bootstrap_nodes = { coordinator },
    bind = bind,
    allow_reserved = true, -- the demo's internet is made of addresses for documentation
  }))
  say("I am %s", me.peer_id:hex())
  say("the coordinator is at %s", assert(me:wait_bootstrap(5)).address)
  if friend then
    talk(me)
  else
    wait(me)
  end
end)
