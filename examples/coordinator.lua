-- coordinator.lua - introduces peers to each other, and tells who comes and goes.
--
--   lua5.4 examples/coordinator.lua [ADDRESS] [KEYFILE]
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"

io.stdout:setvbuf "line"

antquic.run(function()
  local ep <close> = assert(antquic.endpoint {
    role = "bootstrap",
    bind = arg[1] or "0.0.0.0:9000",
    identity = arg[2], -- without a key file: a new identity each time
  })
  print("coordinator " .. ep.peer_id:hex())
  print("listening on " .. ep:local_addresses()[1])

  for ev in ep:events { "connection_incoming", "connection_lost" } do
    print(ev.kind, ev.peer_id, ev.address, ev.text or "")
  end
end)
