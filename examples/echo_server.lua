-- echo_server.lua - sends back every stream and every datagram.
--
--   lua5.4 examples/echo_server.lua COORDINATOR KEYFILE [BIND]
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

io.stdout:setvbuf "line"

local function echo(stream)
  -- read() gives what is there; write() waits for room, so a slow reader slows
  -- the writer down and the memory stays bounded.
  local data = stream:read()
  while data and stream:write(data) do
    data = stream:read()
  end
  stream:close()
end

local function serve(conn)
  print("serving", conn.peer_id)
  antquic.spawn(function()
    local data = conn:receive_datagram()
    while data and conn:send_datagram(data) do
      data = conn:receive_datagram()
    end
  end)
  for stream in conn:streams() do
    antquic.spawn(echo, stream)
  end
  print("left", conn.peer_id, (conn:wait_closed()))
end

antquic.run(function()
  local ep <close> = assert(antquic.endpoint {
    bootstrap_nodes = { arg[1] },
    identity = arg[2],
    bind = arg[3],
    alpn = "echo/1",
  })
  print("peer id " .. ep.peer_id:hex())
  ep:serve { ["echo/1"] = serve }:wait()
end)
