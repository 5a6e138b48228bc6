-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local antquic, it = support.antquic, support.it

local MIB = 1024 * 1024

-- Two peers, the first of which goes over the coordinator.
local function relayed(upgrade_every)
  local a, b, c = support.trio({
    policy = antquic.policy.extend(antquic.policy.balanced, {
      name = "relay_first",
      connect = function(s)
        return s:relay({ upgrade_every = upgrade_every })
      end,
    }),
  })
  local ab = assert(a:connect(b.peer_id, { timeout = 5 }))
  return ab, assert(b:accept(5)), a, b, c
end

describe("a relay on loopback", function()
  it("carries a mebibyte each way", function()
    local ab, ba, a, b, c = relayed(false)
    for _, conn in ipairs({ ab, ba }) do
      local path = conn:path()
      assert.equal("relayed", path.kind)
      assert.equal(support.address(c), path.via)
    end
    assert.equal(b.peer_id, ab.peer_id)
    local data = ("0123456789abcdef"):rep(MIB / 16)
    local got = {}
    local tasks = {}
    for i, pair in ipairs({ { ab, ba }, { ba, ab } }) do
      tasks[#tasks + 1] = antquic.spawn(function()
        local s = assert(pair[1]:open_stream({ uni = true }))
        assert(s:write(data):finish())
      end)
      tasks[#tasks + 1] = antquic.spawn(function()
        got[i] = assert(assert(pair[2]:accept_stream(5)):read("a", 15))
      end)
    end
    for _, task in ipairs(tasks) do
      assert(task:wait(15))
    end
    assert.is_true(got[1] == data and got[2] == data)
    local statistics = c:statistics()
    assert.equal(1, statistics.relay_tunnels_opened)
    assert.is_true(statistics.relay_bytes > 2 * MIB)
    assert.equal(1, a:statistics().relayed_connections)
    assert.equal(0, a:statistics().direct_connections)
  end)

  it("is left by the same connection for a direct path", function()
    local ab, ba, a, b = relayed(1)
    local sub = a:subscribe({ "path_changed" })
    assert.equal("relayed", ab:path().kind)
    local ev = assert(sub:next(10))
    assert.equal(ab, ev.connection)
    assert.is_nil(ev.relayed)
    assert.equal("direct", ab:path().kind)
    local s = assert(ab:open_stream())
    assert(s:write("still here"):finish())
    assert.equal("still here", assert(ba:accept_stream(5)):read("a", 5))
    support.eventually(function()
      return ba:path().kind == "direct"
    end)
    assert.equal(1, a:statistics().upgrades_completed)
    assert.equal(1, b:statistics().upgrades_completed)
  end)

  it("leaves the connection to its coordinator at work, however large its packets are", function()
    local a, b = support.trio({
      policy = antquic.policy.extend(antquic.policy.balanced, {
        connect = function(s)
          return s:relay({ upgrade_every = 1 })
        end,
      }),
    })
    support.eventually(function()
      local conn = a:bootstrap_nodes()[1].conn
      return (a._core:conn_info(conn).max_udp_payload or 0) > 60000
    end)
    local ab = assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.equal("relayed", ab:path().kind)
    support.eventually(function()
      return ab:path().kind == "direct"
    end)
  end)

  it("is not there where the coordinator doesn't relay", function()
    local c = support.endpoint({ role = "bootstrap", can_relay = false })
    local a, b
    for _ = 1, 2 do
      b, a = a, support.endpoint({ bootstrap_nodes = { support.address(c) } })
      assert(a:wait_bootstrap(5))
    end
    support.eventually(function()
      return a:bootstrap_nodes()[1].can_coordinate
    end)
    assert.is_false(a:bootstrap_nodes()[1].can_relay)
    a:set_policy(antquic.policy.extend(antquic.policy.balanced, {
      connect = function(s)
        return s:relay()
      end,
    }))
    local conn, message, code = a:connect(b.peer_id, { timeout = 5 })
    assert.is_nil(conn)
    assert.equal("UNSUPPORTED", code)
    assert.matches("no coordinator here relays", message)
  end)
end)
