-- file_transfer.lua - sends a file; goes on where an earlier try stopped, and
-- the receiver verifies the SHA-256 before the file gets its name.
--
--   lua5.4 examples/file_transfer.lua receive DIR COORDINATOR KEYFILE [BIND]
--   lua5.4 examples/file_transfer.lua send FILE COORDINATOR PEERID [BIND] [STOP_AT]
--
-- STOP_AT, a part like 0.5, hangs up there: run it again to see it go on.
--
-- SPDX-License-Identifier: MIT

local antquic = require "antquic"
local files = antquic.files

io.stdout:setvbuf "line"

local function receive(dir, coordinator, key, bind)
  local ep <close> = assert(antquic.endpoint {
    bootstrap_nodes = { coordinator },
    identity = key,
    bind = bind,
    alpn = "file/1",
  })
  print("peer id " .. ep.peer_id:hex())
  ep:serve {
    ["file/1"] = function(conn)
      for stream in conn:streams() do
        local got, why = files.receive(stream, dir)
        if got then
          print(
            ("received %s: %d bytes, %d of them earlier, sha256 %s"):format(
              got.name,
              got.size,
              got.resumed,
              got.sha256
            )
          )
        else
          print("not received: " .. why)
        end
        stream:close()
      end
    end,
  }:wait()
end

local function send(path, coordinator, peer, bind, stop_at)
  local ep <close> = assert(antquic.endpoint {
    bootstrap_nodes = { coordinator },
    bind = bind,
    alpn = "file/1",
  })
  local conn = assert(ep:connect(peer))
  local stream = assert(conn:open_stream())
  local sent, why = files.send(stream, path, function(done, total)
    if stop_at and done >= total * stop_at then
      print(("hanging up after %d of %d bytes"):format(done, total))
      conn:shutdown(5, 1, "on purpose")
    end
  end)
  if sent then
    print(
      ("sent %s: %d bytes, %d of them earlier, sha256 %s"):format(
        sent.name,
        sent.size,
        sent.resumed,
        sent.sha256
      )
    )
  elseif not stop_at then
    error(why, 0)
  end
  conn:shutdown()
end

antquic.run(function()
  if arg[1] == "receive" then
    receive(arg[2], arg[3], arg[4], arg[5])
  elseif arg[1] == "send" then
    send(arg[2], arg[3], arg[4], arg[5], tonumber(arg[6]))
  else
    error("usage: file_transfer.lua receive|send ...", 0)
  end
end)
