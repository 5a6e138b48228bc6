-- chat.lua - two people talk, line by line.
--
--   lua5.4 examples/chat.lua COORDINATOR KEYFILE            waits for somebody
--   lua5.4 examples/chat.lua COORDINATOR KEYFILE PEERID     goes to somebody
--
-- CHAT_BIND sets the local address. The end of standard input ends the talk.
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

io.stdout:setvbuf "line"

local function talk(conn, stream)
  print(
    ("--- talking to %s, %s path, %.1f ms"):format(
      conn.peer_id,
      conn:path().kind,
      conn:path().rtt * 1e3
    )
  )
  -- The keyboard has a task of its own; this one shows what comes.
  local keyboard = antquic.spawn(function()
    for line in antquic.input.line do
      assert(stream:write(line, "\n"))
    end
    stream:finish()
  end)
  for line in stream:lines "l" do
    print(("%s> %s"):format(tostring(conn.peer_id):sub(1, 6), line))
  end
  keyboard:wait(1)
  stream:close()
  print "--- the talk is over"
end

antquic.run(function()
  local coordinator, key, peer = arg[1], arg[2], arg[3]
  local me <close> = assert(antquic.endpoint {
    identity = key,
    bootstrap_nodes = { coordinator },
    bind = os.getenv "CHAT_BIND",
    alpn = "chat/1",
  })
  print("--- you are " .. me.peer_id:hex())
  local conn, stream
  if peer then
    conn = assert(me:connect(peer, { timeout = 15 }))
    stream = assert(conn:open_stream())
    stream:write "" -- the other side hears of a stream with its first bytes
  else
    conn = assert(me:accept())
    stream = assert(conn:accept_stream())
  end
  talk(conn, stream)
  conn:shutdown(2)
end)
