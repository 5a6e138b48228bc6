-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local antquic, it = support.antquic, support.it

local function other_id()
  return antquic.identity.generate().peer_id
end

describe("connections on loopback", function()
  it("know who the other is", function()
    local a, b, ab, ba = support.pair()
    assert.equal(b.peer_id, ab.peer_id)
    assert.equal(a.peer_id, ba.peer_id)
    assert.is_true(ab.outgoing)
    assert.is_false(ba.outgoing)
    assert.equal("antquic", ab.alpn)
    assert.equal(32, #ab:public_key())
    assert.equal(antquic.peer_id_from_key(ab:public_key()), b.peer_id)
    local path = ab:path()
    assert.equal("direct", path.kind)
    assert.equal(support.address(b), path.remote)
    assert.equal(support.address(a), path["local"])
    assert.is_true(path.rtt > 0 and path.rtt < 1)
    assert.equal(ab, a:connection(b.peer_id))
    assert.equal(1, #a:connections())
    assert.matches("direct", tostring(antquic.explain(ab)))
    assert.is_true(ab:metrics().post_quantum)
  end)

  it("report what happens, live", function()
    local _, _, ab, ba = support.pair()
    local before = ab:metrics()
    local s = assert(ab:open_stream())
    assert(s:write(("z"):rep(100000)):finish())
    assert.equal(100000, #assert(ba:accept_stream(5)):read("a", 5))
    local after = ab:metrics()
    assert.is_true(after.bytes_sent - before.bytes_sent > 100000)
    assert.is_true(ba:metrics().bytes_received > 100000)
    assert.equal(0, after.loss_rate)
    local rtt = assert(ab:ping(5))
    assert.is_true(rtt > 0 and rtt < 1)
    assert(ab:update_keys())
    assert(ab:ping(5))
  end)

  it("refuse a wrong key", function()
    local a, b = support.endpoint(), support.endpoint()
    local conn, message, code =
      a:connect(other_id():hex() .. "@" .. support.address(b), { timeout = 3 })
    assert.is_nil(conn)
    assert.equal("WRONG_KEY", code)
    assert.matches("another key", message)
    assert.equal("TIMEOUT", select(3, b:accept(0.2)))
    -- The right one, at the same place.
    assert(a:connect(b.peer_id:hex() .. "@" .. support.address(b), { timeout = 3 }))
  end)

  it("refuse who isn't on the allow-list, inside the handshake", function()
    local friend, stranger = support.endpoint(), support.endpoint()
    local b = support.endpoint({ allow = { friend.peer_id } })
    local conn, message, code = stranger:connect(support.address(b), { timeout = 3 })
    if conn then
      -- TLS 1.3: the client is done before the server has seen its key.
      message, code = conn:wait_closed(3)
    end
    assert.equal("NOT_ALLOWED", code)
    assert.equal("string", type(message))
    assert.equal("TIMEOUT", select(3, b:accept(0.2)))
    assert(friend:connect(support.address(b), { timeout = 3 }))
    assert.equal(friend.peer_id, b:accept(3).peer_id)
  end)

  it("need a common protocol, and keep apart those of one endpoint", function()
    local b = support.endpoint({ alpn = { "chat/1", "file/1" } })
    local a = support.endpoint({ alpn = { "file/1", "chat/1" } })
    local stranger = support.endpoint({ alpn = { "mail/1" } })
    local log = {}
    b:serve({
      ["chat/1"] = function(conn)
        log[#log + 1] = "chat " .. conn.alpn
      end,
      ["file/1"] = function(conn)
        log[#log + 1] = "file " .. conn.alpn
      end,
    })
    assert.equal("file/1", assert(a:connect(support.address(b), { alpn = "file/1" })).alpn)
    -- The name for coordination, which all speak, is no application's.
    for _, other in ipairs({ stranger, support.endpoint() }) do
      local conn, _, code = other:connect(support.address(b), { timeout = 3 })
      assert.is_nil(conn)
      assert.equal("ALPN", code)
    end
    assert.equal("ALPN", select(3, a:connect(support.address(b), { alpn = "mail/1" })))
    support.eventually(function()
      return #log == 1
    end)
    assert.same({ "file file/1" }, log)
  end)

  it("end with the reason that was given", function()
    local _, _, ab, ba = support.pair()
    local waiter = antquic.spawn(ba.accept_stream, ba)
    assert.is_true(ab:close(77, "enough"))
    assert.is_true(ab:close())
    local ok, none, message, code = waiter:wait(5)
    assert.is_true(ok)
    assert.is_nil(none)
    assert.equal("PEER_CLOSED", code)
    assert.matches("enough", message)
    assert.matches("77", message)
    assert.equal(77, ba.app_code)
    assert.equal("closed", ba.state)
    assert.equal("CLOSED", select(3, ab:open_stream()))
    assert.equal("PEER_CLOSED", select(3, ba:open_stream()))
    assert.equal("PEER_CLOSED", select(3, ba:send_datagram("x")))
    assert.equal("CLOSED", select(3, ab:metrics()))
  end)

  it("deliver everything before a graceful end", function()
    local _, _, ab, ba = support.pair()
    local size = 3 * 1024 * 1024
    local reader = antquic.spawn(function()
      return #assert(ba:accept_stream(5)):read("a", 10)
    end)
    local s = assert(ab:open_stream())
    assert(s:write(("q"):rep(size)):finish())
    assert(ab:shutdown(10))
    local ok, got = reader:wait(10)
    assert.is_true(ok, got)
    assert.equal(size, got)
  end)

  it("notice a peer that is gone, and say why", function()
    -- The peer vanishes without a word: its process is stopped and killed.
    local b = support.endpoint({ idle_timeout = 1, keep_alive = 0.3 })
    local script = [[
      local antquic = require "antquic"
      antquic.run(function()
        local ep = assert(antquic.endpoint { bind = "127.0.0.1:0", keep_alive = 0.3 })
        assert(ep:connect(arg[1]))
        io.stdout:write(io.open("/proc/self/stat"):read("n"), "\n")
        io.stdout:flush()
        antquic.sleep(60)
      end)
    ]]
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(script)
    f:close()
    local command = ("LUA_PATH='%s' LUA_CPATH='%s' exec lua5.4 %s %s"):format(
      package.path,
      package.cpath,
      path,
      support.address(b)
    )
    local child = assert(io.popen(command, "r"))
    local conn = assert(b:accept(10))
    local pid = child:read("n")
    os.execute("kill -KILL " .. pid)
    child:close()
    os.remove(path)
    local start = antquic.now()
    local message, code = conn:wait_closed(10)
    assert.equal("IDLE_TIMEOUT", code)
    assert.matches("idle", message)
    assert.is_true(antquic.now() - start < 2.5)
  end, 30)

  it("fail to addresses where nobody is, in time", function()
    local a, b = support.endpoint(), support.endpoint()
    local nobody = support.address(b)
    b:close()
    local start = antquic.now()
    local conn, message, code = a:connect(nobody, { timeout = 0.5 })
    assert.is_nil(conn)
    assert.is_true(antquic.now() - start < 2)
    assert.matches(nobody:gsub("%p", "%%%0"), message)
    assert.is_true(code == "UNREACHABLE" or code == "TIMEOUT", code)
    for _, bad in ipairs({ "nowhere", "1.2.3.4", "1.2.3.4:99999", ("a"):rep(63) }) do
      assert.is_nil((a:connect(bad)))
    end
    assert.has_error(function()
      a:connect(42)
    end)
    assert.has_error(function()
      a:connect(nobody, { timout = 1 })
    end)
    local _, _, own = a:connect(a.peer_id)
    assert.equal("INVAL", own)
  end)

  it("give the same object to a second connect", function()
    local a, b = support.endpoint(), support.endpoint()
    local target = b.peer_id:hex() .. "@" .. support.address(b)
    local first = antquic.spawn(a.connect, a, target)
    local second = antquic.spawn(a.connect, a, target)
    local _, one = first:wait(5)
    local _, two = second:wait(5)
    assert.equal("table", type(one))
    assert.equal(one, two)
    assert.equal(one, a:connect(b.peer_id))
    assert.equal(1, #a:connections())
    assert.equal(b.peer_id, assert(b:accept(5)).endpoint.peer_id)
    assert.equal("TIMEOUT", select(3, b:accept(0.2)))
  end)

  it("from both sides at once become one", function()
    local a, b = support.endpoint(), support.endpoint()
    local to_b = antquic.spawn(a.connect, a, b.peer_id:hex() .. "@" .. support.address(b))
    local to_a = antquic.spawn(b.connect, b, a.peer_id:hex() .. "@" .. support.address(a))
    local ok, ab, ba, why
    ok, ab, why = to_b:wait(5)
    assert.is_true(ok and ab ~= nil, why)
    ok, ba, why = to_a:wait(5)
    assert.is_true(ok and ba ~= nil, why)
    local s = assert(ab:open_stream())
    assert(s:write("across"):finish())
    assert.equal("across", assert(ba:accept_stream(5)):read("a", 5))
    assert.equal(1, #a:connections())
    assert.equal(1, #b:connections())
  end)
end)

describe("endpoints on loopback", function()
  it("have an identity that a file keeps", function()
    local path = os.tmpname()
    os.remove(path)
    local a = support.endpoint({ identity = path })
    local id = a.peer_id
    a:close()
    assert.equal(id, support.endpoint({ identity = path }).peer_id)
    assert.equal(id, antquic.identity(path).peer_id)
    os.execute("chmod 644 " .. path)
    local none, message, code = antquic.endpoint({ identity = path })
    assert.is_nil(none)
    assert.equal("IDENTITY", code)
    assert.matches(path, message, 1, true)
    os.remove(path)
  end)

  it("refuse configurations that can't work", function()
    local cases = {
      { { role = "client" }, "CONFIG" },
      { { role = "server", can_coordinate = true }, "CONFIG" },
      { { role = "bootstrap", enable_relay_fallback = true }, "CONFIG" },
      { { max_candidates = 2, max_concurrent_attempts = 3 }, "CONFIG" },
      { { bootstrap_nodes = { "127.0.0.1:0" } } },
      { { bootstrap_nodes = { "0.0.0.0:5" } } },
      { { bootstrap_nodes = { "127.0.0.1:5", "127.0.0.1:5" } } },
    }
    for i, case in ipairs(cases) do
      local ep, message, code = antquic.endpoint(case[1])
      assert.is_nil(ep, "case " .. i)
      assert.is_true(#message > 10)
      assert.is_true(code == (case[2] or code) and (code == "CONFIG" or code == "ADDRESS"), code)
    end
  end)

  it("open more sockets while running", function()
    local a, b = support.endpoint(), support.endpoint()
    local all = assert(b:listen("127.0.0.1:0"))
    assert.equal(2, #all)
    assert(a:connect(all[2], { timeout = 5 }))
    assert.equal("ADDRESS", select(3, b:listen("nowhere")))
  end)

  it("shut down so that the other side hears it at once", function()
    local a, _, _, ba = support.pair()
    assert(a:shutdown(5))
    assert.is_true(a:is_closed())
    local _, code = ba:wait_closed(5)
    assert.equal("PEER_CLOSED", code)
  end)

  it("are closed by <close>, and so are connections and streams", function()
    local b = support.endpoint()
    local ba
    do
      local a <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0" }))
      local conn <close> = assert(a:connect(support.address(b)))
      local s <close> = assert(conn:open_stream())
      s:write("x")
      ba = assert(b:accept(5))
      assert.equal("x", ba:accept_stream(5):read(1, 5))
    end
    assert.equal("PEER_CLOSED", select(2, ba:wait_closed(5)))
  end)

  it("that are dropped are collected, with their sockets", function()
    local weak = setmetatable({}, { __mode = "v" })
    local function use()
      local ep = assert(antquic.endpoint({ bind = "127.0.0.1:0" }))
      weak[1] = ep
      return support.address(ep)
    end
    local address = use()
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.is_nil(weak[1])
    -- The port is free again.
    local again = support.endpoint({ bind = address })
    assert.equal(address, support.address(again))
  end)

  it("count, and never invent", function()
    local a, b = support.pair()
    local s, t = a:statistics(), b:statistics()
    assert.equal(1, s.connections_dialed)
    assert.equal(1, s.connections_established)
    assert.equal(1, t.connections_accepted)
    assert.equal(0, s.coordinations_requested)
    assert.is_nil(s.average_coordination_time)
    assert.equal(1, s.current_connections)
    assert.is_true(s.datagrams_sent > 0 and s.bytes_sent > s.datagrams_sent)
    for name, value in pairs(s) do
      assert.is_true(type(value) == "boolean" or value >= 0, name)
    end
    for _, name in ipairs({ "connections_dialed", "bytes_sent", "current_connections" }) do
      assert.equal("integer", math.type(s[name]), name)
    end
  end)

  it("work with many endpoints in one program", function()
    local server = support.endpoint()
    server:serve(function(conn)
      local s = conn:accept_stream(10)
      s:write(s:read("a", 10)):finish()
    end)
    local tasks = {}
    for i = 1, 80 do
      local ep = support.endpoint()
      tasks[i] = antquic.spawn(function()
        local s = assert(assert(ep:connect(support.address(server))):open_stream())
        assert(s:write("number " .. i):finish())
        return s:read("a", 10)
      end)
    end
    for i, task in ipairs(tasks) do
      assert.same({ true, "number " .. i }, { task:wait(10) })
    end
  end)

  it("tell misuse by its name", function()
    local a = support.endpoint()
    local conn, message, code = a:connect(a.peer_id, { timeout = 1 })
    assert.is_nil(conn)
    assert.matches("our own peer id", message)
    assert.equal("INVAL", code)
    assert.has_error(function()
      a:step("soon")
    end)
    a:close()
    assert.equal("CLOSED", select(3, a:set_policy(antquic.policy.balanced)))
  end)

  it("work outside a task too", function()
    -- What a person types into lua -i: every call drives the loop by itself.
    local script = [[
      local antquic = require "antquic"
      local a = assert(antquic.endpoint { bind = "127.0.0.1:0" })
      local b = assert(antquic.endpoint { bind = "127.0.0.1:0" })
      local ab = assert(a:connect(b:local_addresses()[1], { timeout = 5 }))
      local ba = assert(b:accept(5))
      assert(ab:open_stream()):write("typed\n")
      io.write(ba:accept_stream(5):read("l", 5))
      a:close()
      b:close()
    ]]
    local command = ("LUA_PATH='%s' LUA_CPATH='%s' lua5.4 -e '%s' 2>&1"):format(
      package.path,
      package.cpath,
      script
    )
    local pipe = assert(io.popen(command))
    assert.equal("typed", pipe:read("a"))
    pipe:close()
  end)
end)
