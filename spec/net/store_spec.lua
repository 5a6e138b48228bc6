-- A store over a restart: a peer that was reached once is dialed where it was.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")

describe("a store", function()
  it("makes a second start need no coordinator", function()
    local path = os.tmpname()
    os.remove(path)
    local identity = antquic.identity.generate()
    antquic.run(function()
      local c <close> = assert(antquic.endpoint({ role = "bootstrap", bind = "127.0.0.1:0" }))
      local at = c:local_addresses()[1]
      local b <close> = assert(
        antquic.endpoint({ bind = "127.0.0.1:0", bootstrap_nodes = { at }, role = "client" })
      )
      local a = assert(antquic.endpoint({
        bind = "127.0.0.1:0",
        bootstrap_nodes = { at },
        role = "client",
        identity = identity,
        store = path,
      }))
      assert(a:wait_bootstrap(5))
      assert(b:wait_bootstrap(5))
      assert(a:connect(b.peer_id, { timeout = 5 }))
      a:close()
      c:close()
      local again <close> =
        assert(antquic.endpoint({ bind = "127.0.0.1:0", identity = identity, store = path }))
      local conn = assert(again:connect(b.peer_id, { timeout = 5 }))
      assert.equal(b.peer_id, conn.peer_id)
      assert.equal(b:local_addresses()[1], conn:path().remote)
    end)
    local f = assert(io.open(path))
    local text = f:read("a")
    f:close()
    os.remove(path)
    assert.matches("\npeer %x+ %d+ %d+ %S+ punch 127%.0%.0%.1:%d+ %x+\n", text)
    assert.matches("\nnode 127%.0%.0%.1:%d+ %x+ %d+ %d+ 1 %x+\n", text)
  end)

  it("has the nodes after a graceful end, too", function()
    local path = os.tmpname()
    os.remove(path)
    antquic.run(function()
      local c <close> = assert(antquic.endpoint({ role = "bootstrap", bind = "127.0.0.1:0" }))
      local at = c:local_addresses()[1]
      local a =
        assert(antquic.endpoint({ bind = "127.0.0.1:0", bootstrap_nodes = { at }, store = path }))
      assert(a:wait_bootstrap(5))
      a:shutdown()
    end)
    local f = assert(io.open(path))
    local text = f:read("a")
    f:close()
    os.remove(path)
    assert.matches("\nnode 127%.0%.0%.1:%d+ %x+ %d+ %d+ 0 %x+\n", text)
  end)

  it("tells of damage once somebody can listen", function()
    local path = os.tmpname()
    local f = assert(io.open(path, "wb"))
    f:write("antquic-store 1\npeer of nobody\n")
    f:close()
    antquic.run(function()
      local ep <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0", store = path }))
      local ev = assert(ep:subscribe({ "store_damaged" }):next(2))
      assert.equal(1, ev.count)
      assert.equal(path, ev.path)
    end)
    os.remove(path)
  end)
end)
