-- echo_client.lua - reaches an echo server by its peer id and measures the echo.
--
--   lua5.4 examples/echo_client.lua COORDINATOR PEERID TEXT [BIND]
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

antquic.run(function()
  local ep <close> = assert(antquic.endpoint {
    bootstrap_nodes = { arg[1] },
    bind = arg[4],
    alpn = "echo/1",
  })
  local conn = assert(ep:connect(arg[2], { timeout = 10 }))
  print(conn:explain())

  local start = antquic.now()
  local stream <close> = assert(conn:open_stream())
  stream:write(arg[3], "\n")
  print(
    ("echo over a stream: %s (%.2f ms)"):format(stream:read("l", 5), (antquic.now() - start) * 1e3)
  )

  -- A datagram may be lost: send it again until an answer comes.
  for _ = 1, 5 do
    conn:send_datagram(arg[3])
    local answer = conn:receive_datagram(0.5)
    if answer then
      print("echo over a datagram: " .. answer)
      break
    end
  end
  conn:shutdown()
end)
