-- SPDX-License-Identifier: MIT
--
-- One stream, a lot of bytes, two processes on loopback: the hash must be equal
-- and each process must stay under a bound of memory.
--
--   lua5.4 spec/net/bulk.lua [MiB] [limit of memory in MiB]
--
-- Prints one line per side and exits non-zero when something is wrong.

local antquic = require("antquic")
local core = require("antquic.core")

local PIECE = 64 * 1024

-- The largest resident set of this process so far, in MiB.
local function peak_memory()
  for line in io.lines("/proc/self/status") do
    local kb = line:match("^VmHWM:%s+(%d+)")
    if kb then
      return tonumber(kb) / 1024
    end
  end
  error("no VmHWM in /proc/self/status")
end

-- A stream of bytes that no two pieces of which are equal: a random piece whose
-- head is its number.
local function pieces(total)
  local random = assert(core.random(1024)):rep(PIECE / 1024):sub(17)
  local count = math.ceil(total / PIECE)
  local i = 0
  return function()
    if i < count then
      i = i + 1
      return string.format("%016x", i) .. random
    end
  end
end

local function receive()
  antquic.run(function()
    local ep = assert(antquic.endpoint({ bind = "127.0.0.1:0", role = "server" }))
    print(ep:local_addresses()[1])
    io.stdout:flush()
    local conn = assert(ep:accept(20))
    local stream = assert(conn:accept_stream(20))
    local hash, bytes = core.sha256_new(), 0
    while true do
      local data, why = stream:read(nil, 20)
      if not data then
        assert(not why, why)
        break
      end
      hash:update(data)
      bytes = bytes + #data
    end
    assert(stream:write(string.format("%s %d %.1f\n", hash:hex(), bytes, peak_memory())))
    stream:finish()
    conn:accept_stream(5) -- until the other side closes
    ep:close()
  end)
end

local function send(mib, limit)
  local child = assert(io.popen("lua5.4 '" .. arg[0] .. "' receive", "r"))
  local addr = assert(child:read("l"), "the receiver did not start")
  local failed
  antquic.run(function()
    local ep = assert(antquic.endpoint({ bind = "127.0.0.1:0", role = "server" }))
    local conn = assert(ep:connect(addr, { timeout = 10 }))
    local stream = assert(conn:open_stream())
    stream:settimeout(20)
    local hash, bytes, t0 = core.sha256_new(), 0, core.now()
    for piece in pieces(mib * 1024 * 1024) do
      hash:update(piece)
      bytes = bytes + #piece
      assert(stream:write(piece))
    end
    stream:finish()
    local answer = assert(stream:read("l", 60))
    local seconds = core.now() - t0
    local digest, got, peer_peak = answer:match("^(%x+) (%d+) ([%d.]+)$")
    local peak = peak_memory()
    print(
      string.format(
        "sent     %d bytes in %.2f s: %.2f Gbit/s",
        bytes,
        seconds,
        bytes * 8 / seconds / 1e9
      )
    )
    print(string.format("hash     %s", digest == hash:hex() and "equal" or "DIFFERS"))
    print(
      string.format(
        "memory   sender %.1f MiB, receiver %s MiB, limit %d MiB",
        peak,
        peer_peak,
        limit
      )
    )
    failed = digest ~= hash:hex()
      or tonumber(got) ~= bytes
      or peak >= limit
      or tonumber(peer_peak) >= limit
    conn:close()
    ep:close()
  end)
  child:close()
  os.exit(failed and 1 or 0)
end

if arg[1] == "receive" then
  receive()
else
  send(tonumber(arg[1] or 1024), tonumber(arg[2] or 64))
end
