-- SPDX-License-Identifier: MIT

local fake = require("spec.unit.fake")

describe("endpoints", function()
  local antquic, core
  before_each(function()
    antquic, core = fake.load()
  end)
  after_each(fake.unload)

  local function options_of(given)
    local ep = assert(antquic.endpoint(given))
    ep:close()
    return core.endpoints[#core.endpoints].options
  end

  it("have the defaults of their role", function()
    local o = options_of(nil)
    assert.equal("server", o.role)
    assert.is_false(o.can_coordinate)
    assert.is_true(o.enable_relay_fallback)
    assert.is_true(o.accept)
    assert.equal("steps", o.strategy)
    o = options_of({ bootstrap_nodes = { "198.18.0.1:9000" } })
    assert.equal("client", o.role)
    assert.is_false(o.can_coordinate)
    o = options_of({ role = "bootstrap" })
    assert.is_true(o.can_coordinate)
    assert.is_false(o.enable_relay_fallback)
    o = options_of({ role = "server", bootstrap_nodes = { "198.18.0.1:9000" } })
    assert.is_true(o.can_coordinate)
    assert.is_false(options_of({ role = "server" }).can_coordinate)
  end)

  it("read bootstrap nodes with and without a key", function()
    local hex = ("ab"):rep(32)
    local o = options_of({
      bootstrap_nodes = { "198.18.0.1:9000", hex .. "@198.18.0.2:9000", "[2001:db8::1]:5" },
      bind = "127.0.0.1:0",
      alpn = "chat/1",
    })
    assert.same({
      { addr = "198.18.0.1:9000" },
      { addr = "198.18.0.2:9000", peer = ("\171"):rep(32) },
      { addr = "[2001:db8::1]:5" },
    }, o.bootstrap_nodes)
    assert.same({ "127.0.0.1:0" }, o.bind)
    assert.same({ "chat/1" }, o.alpn)
  end)

  it("read allow-lists as lists and as sets", function()
    local id = assert(antquic.peer_id(("ab"):rep(32)))
    assert.is_nil(options_of({ allow = "any" }).allow)
    assert.same({}, options_of({ allow = {} }).allow)
    assert.same({ id:bytes() }, options_of({ allow = { id } }).allow)
    assert.same({ id:bytes() }, options_of({ allow = { [id] = true } }).allow)
    assert.same({}, options_of({ allow = { [id] = false } }).allow)
  end)

  it("raise for misuse at the caller's line", function()
    for _, bad in ipairs({ { rolle = "client" }, { max_candidates = "8" }, { identity = 5 }, 7 }) do
      local ok, message = pcall(function()
        antquic.endpoint(bad)
      end)
      assert.is_false(ok)
      assert.matches("endpoint_spec.lua:%d+: antquic.endpoint", message)
    end
  end)

  it("say why a configuration is refused", function()
    local cases = {
      { { max_candidates = 0 }, "max_candidates", "CONFIG" },
      { { coordination_timeout = 301 }, "from 0.1 to 300 seconds", "CONFIG" },
      { { role = "peer" }, "role", "CONFIG" },
      { { bootstrap_nodes = { "nowhere" } }, "nowhere", "ADDRESS" },
      { { bootstrap_nodes = { "zz@198.18.0.1:1" } }, "64 hex digits", "FORMAT" },
      { { bind = "x" }, "bind", "ADDRESS" },
      { { alpn = { "" } }, "1 to 63 bytes", "CONFIG" },
      { { allow = { "x" } }, "allow", "FORMAT" },
    }
    for _, case in ipairs(cases) do
      local ep, message, code = antquic.endpoint(case[1])
      assert.is_nil(ep)
      assert.matches(case[2], message)
      assert.equal(case[3], code)
    end
    assert.equal(0, #core.endpoints)
  end)

  it("give CLOSED to whoever waits, and to later calls", function()
    local ep = antquic.endpoint()
    local inner = core.endpoints[1]
    antquic.run(function()
      local waiters = {
        antquic.spawn(ep.accept, ep),
        antquic.spawn(function()
          for _ in ep:events() do
          end
          return "ended"
        end),
        antquic.spawn(ep.wait_bootstrap, ep, 5),
        antquic.spawn(ep.connect, ep, ("ab"):rep(32)),
      }
      inner.answers.session_start = 3
      antquic.sleep(0.01)
      assert.is_true(ep:close())
      assert.is_true(ep:close())
      assert.is_true(inner.closed)
      local codes = {}
      for i, task in ipairs(waiters) do
        local _, _, _, code = task:wait(1)
        codes[i] = code or "ended"
      end
      assert.same({ "CLOSED", "ended", "CLOSED", "CLOSED" }, codes)
      assert.equal("CLOSED", select(3, ep:accept()))
      assert.equal("CLOSED", select(3, ep:connect("127.0.0.1:1")))
      assert.equal("CLOSED", select(3, ep:statistics()))
      assert.equal("CLOSED", select(3, ep:local_addresses()))
      assert.matches("closed", tostring(ep))
    end)
  end)

  it("are let go by the scheduler when they are dropped", function()
    local loop = require("antquic.sched.loop")
    local weak = setmetatable({}, { __mode = "v" })
    do
      local ep = antquic.endpoint()
      weak[1] = ep
      assert.equal(1, (loop.live()))
      assert.is_not_nil(ep) -- held until here
    end
    collectgarbage()
    collectgarbage()
    assert.equal(0, (loop.live()))
    assert.is_nil(weak[1])
  end)

  it("are closed by <close>", function()
    do
      local ep <close> = assert(antquic.endpoint())
      assert.is_false(ep:is_closed())
    end
    assert.is_true(core.endpoints[1].closed)
  end)

  it("connect by address", function()
    local ep = antquic.endpoint()
    local inner = core.endpoints[1]
    inner.answers.connect_addr = 9
    antquic.run(function()
      antquic.spawn(function()
        inner:push({
          kind = "connection_established",
          conn = 9,
          peer = ("\34"):rep(32),
          addr = "127.0.0.1:2000",
          alpn = "chat/1",
          outgoing = true,
        })
      end)
      local conn = assert(ep:connect("127.0.0.1:2000", { alpn = "chat/1", timeout = 3 }))
      local call = inner:called("connect_addr")[1]
      assert.same({ "127.0.0.1:2000", "chat/1", 3 }, { call[1], call[3], call[4] })
      assert.is_nil(call[2])
      assert.equal("chat/1", conn.alpn)
      assert.equal(("22"):rep(32), conn.peer_id:hex())
      assert.is_true(conn.outgoing)
      assert.is_nil(ep._accepted:take())

      antquic.spawn(function()
        inner.answers.connect_addr = 10
        antquic.sleep(0.1)
        inner:push({ kind = "dial_failed", conn = 10, error = "UNREACHABLE", addr = "127.0.0.1:3" })
      end)
      antquic.sleep(0.05)
      local none, message, code = ep:connect("127.0.0.1:3")
      assert.is_nil(none)
      assert.matches("127.0.0.1:3", message)
      assert.equal("UNREACHABLE", code)
    end)
    ep:close()
  end)

  it("give incoming connections to accept or to handlers, each once", function()
    local ep = antquic.endpoint()
    local inner = core.endpoints[1]
    local function incoming(id, alpn)
      inner:push({ kind = "connection_incoming", conn = id, alpn = alpn })
      inner:push({
        kind = "connection_established",
        conn = id,
        peer = string.char(id):rep(32),
        alpn = alpn,
      })
    end
    antquic.run(function()
      incoming(1, "a")
      local conn = assert(ep:accept(1))
      assert.equal(1, conn.id)
      assert.equal("TIMEOUT", select(3, ep:accept(0.1)))
      incoming(2, "b")
      antquic.sleep(0.01)
      local log = {}
      local errors = {}
      ep:on("handler_error", function(ev)
        errors[#errors + 1] = ev.text
      end)
      local serving = ep:serve({
        b = function(c)
          log[#log + 1] = "b" .. c.id
        end,
        c = function()
          error("handler broke")
        end,
      })
      incoming(3, "b")
      incoming(4, "c")
      incoming(5, "other")
      antquic.sleep(0.05)
      assert.same({ "b2", "b3" }, log)
      assert.equal(1, #errors)
      assert.matches("handler broke", errors[1])
      assert.equal(4, inner:called("conn_close")[1][1])
      assert.equal(5, ep:accept(0).id)
      ep:close()
      assert(serving:wait(1))
    end)
  end)

  it("keep one object per connection", function()
    local ep, inner, conn = fake.connected(antquic, core)
    inner.answers.find_conn = 7
    assert.equal(conn, ep:connection(conn.peer_id))
    assert.equal(1, #ep:connections())
    inner.answers.session_start = function()
      return false, 7
    end
    antquic.run(function()
      assert.equal(conn, ep:connect(conn.peer_id))
      local s = assert(ep:start_traversal(conn.peer_id:hex()))
      assert.equal("connected", s.phase)
      assert.equal(conn, s:wait())
    end)
    assert.is_true(ep:remove_connection(conn.peer_id, 3, "bye"))
    assert.same({ name = "conn_close", 7, 3, "bye" }, inner:called("conn_close")[1])
    assert.equal("closed", conn.state)
    inner.answers.find_conn = nil
    assert.equal("PEER_NOT_CONNECTED", select(3, ep:connection(conn.peer_id)))
    ep:close()
  end)

  it("forget every name of a connection that ends", function()
    for _, ends in ipairs({
      function(conn)
        conn:close()
      end,
      function(_, inner)
        inner:push({ kind = "connection_lost", conn = 7, error = "IDLE_TIMEOUT" })
      end,
      -- Its end was among the events that nobody could keep.
      function(conn, inner)
        inner.conns[7] = nil
        inner:push({ kind = "events_lost", count = 3 })
        antquic.sleep(0.01)
        assert.equal("closed", conn.state)
      end,
    }) do
      local ep, inner, conn = fake.connected(antquic, core)
      inner.answers.find_conn = 7
      antquic.run(function()
        inner:push({
          kind = "connection_established",
          conn = 12,
          peer = conn.peer_id:bytes(),
          outgoing = true,
        })
        antquic.sleep(0.01)
        assert.equal(conn, ep._conns[12])
        ends(conn, inner)
        antquic.sleep(0.01)
      end)
      assert.is_nil(next(ep._conns))
      ep:close()
    end
  end)

  it("refuse options that would do nothing", function()
    local ep = antquic.endpoint()
    local id = ("22"):rep(32)
    for _, case in ipairs({
      { id, { alpn = "chat/1" }, "'alpn' goes with an address" },
      { "127.0.0.1:1", { known = { "127.0.0.1:2" } }, "'known' goes with a peer id" },
      { id .. "@127.0.0.1:1", { alpn = "a", known = { "127.0.0.1:2" } }, "not with 'alpn'" },
    }) do
      assert.error_matches(function()
        ep:connect(case[1], case[2])
      end, "ep:connect: option .*" .. case[3])
    end
    ep:close()
  end)

  it("tell a refused peer what the policy says", function()
    local ep = antquic.endpoint({
      policy = {
        accept = function()
          return "come back tomorrow"
        end,
      },
    })
    local inner = core.endpoints[#core.endpoints]
    antquic.run(function()
      inner:push({ kind = "connection_incoming", conn = 3 })
      inner:push({ kind = "connection_established", conn = 3, peer = ("\3"):rep(32) })
      antquic.sleep(0.01)
    end)
    assert.same({ name = "conn_close", 3, 0, "come back tomorrow" }, inner:called("conn_close")[1])
    ep:close()
  end)
end)

describe("events", function()
  local antquic, core, ep, inner
  before_each(function()
    antquic, core = fake.load()
    ep = antquic.endpoint()
    inner = core.endpoints[1]
  end)
  after_each(function()
    ep:close()
    fake.unload()
  end)

  it("come in order, to iterators and handlers, as programs see them", function()
    antquic.run(function()
      local handled = {}
      local off = ep:on("phase_transition", function(ev)
        antquic.sleep(0.01)
        handled[#handled + 1] = ev.to
      end)
      antquic.spawn(function()
        antquic.sleep(0.01)
        for _, phase in ipairs({ "discovery", "coordination", "punching" }) do
          inner:push({ kind = "phase_transition", to = phase, peer = ("\1"):rep(32), addr = "a:1" })
          inner:push({ kind = "limit_hit", text = "x" })
        end
      end)
      local seen = {}
      for ev in ep:events({ "phase_transition" }) do
        seen[#seen + 1] = ev.to
        assert.equal(("01"):rep(32), ev.peer_id:hex())
        assert.equal("a:1", ev.address)
        assert.is_nil(ev.addr)
        if #seen == 3 then
          break
        end
      end
      assert.same({ "discovery", "coordination", "punching" }, seen)
      antquic.sleep(0.1)
      assert.same(seen, handled)
      off()
      inner:push({ kind = "phase_transition", to = "late" })
      antquic.sleep(0.05)
      assert.equal(3, #handled)
      -- Leaving the loop ended the subscription: nobody is left.
      assert.is_false(ep._hub:wants("phase_transition"))
    end)
  end)

  it("are dropped and counted where nobody takes them", function()
    require("antquic.events").QUEUE = 10
    local sub = ep:subscribe({ "limit_hit" })
    for i = 1, 25 do
      inner:push({ kind = "limit_hit", count = i })
    end
    ep:step()
    assert.equal(15, sub:dropped())
    for i = 1, 10 do
      assert.equal(i, sub:next(0).count)
    end
    local lost = sub:next(0)
    assert.equal("events_lost", lost.kind)
    assert.equal(15, lost.count)
    assert.equal("TIMEOUT", select(3, sub:next(0)))
    sub:close()
    assert.equal("CLOSED", select(3, sub:next(0)))
  end)

  it("survive an error in a handler", function()
    antquic.run(function()
      local count, reported = 0, {}
      ep:on("handler_error", function(ev)
        reported[#reported + 1] = ev
      end)
      ep:on("limit_hit", function()
        count = count + 1
        if count == 1 then
          error("first one breaks")
        end
      end)
      inner:push({ kind = "limit_hit" })
      inner:push({ kind = "limit_hit" })
      antquic.sleep(0.05)
      assert.equal(2, count)
      assert.equal(1, #reported)
      assert.matches("first one breaks", reported[1].text)
      assert.matches("stack traceback", reported[1].traceback)
      assert.equal("handler of limit_hit", reported[1].where)
    end)
  end)

  it("of unknown kinds raise", function()
    local ok, message = pcall(function()
      ep:on("phase_transitions", print)
    end)
    assert.is_false(ok)
    assert.matches("endpoint_spec.lua:%d+: ep:on: unknown event kind 'phase_transitions'", message)
    assert.error_matches(function()
      ep:events({ "stream_readable" })
    end, "unknown event kind")
    assert.has_error(function()
      ep:on("limit_hit")
    end)
  end)

  it("name the old and the new state", function()
    local sub = ep:subscribe({ "session_state_changed" })
    inner:push({ kind = "session_state_changed", from = "idle", to = "connecting" })
    ep:step()
    local ev = sub:next(0)
    assert.equal("idle", ev.old_state)
    assert.equal("connecting", ev.new_state)
  end)
end)
