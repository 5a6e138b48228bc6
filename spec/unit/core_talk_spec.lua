-- SPDX-License-Identifier: MIT
--
-- The C module alone, without the Lua side: connections, streams, datagrams,
-- sessions, and whatever is called in whatever order.

local core = require("antquic.core")
local support = require("spec.unit.core_support")

local connected, drive = support.connected, support.drive
local endpoint, find = support.endpoint, support.find

local ZERO = ("\0"):rep(32)

describe("core", function()
  after_each(support.finish)

  describe("connection", function()
    it("proves who is there", function()
      local client, server, id, sid = connected()
      local ev = find(client, "connection_established")
      assert.equal(id, ev.conn)
      assert.equal(server:peer_id(), ev.peer)
      assert.is_true(ev.outgoing)
      assert.equal("antquic", ev.alpn)
      assert.is_nil(ev.error)
      assert.equal("float", math.type(ev.time))
      local info = assert(client:conn_info(id))
      assert.equal(server:peer_id(), info.peer)
      assert.equal(core.peer_id_from_key(info.public_key), info.peer)
      assert.equal("connected", info.state)
      assert.is_true(info.outgoing)
      assert.equal(server:sockets()[1], info.remote)
      assert.equal("integer", math.type(info.packets_sent))
      assert.is_true(info.packets_sent > 0)
      assert.is_true(info.rtt > 0 and info.rtt < 5)
      local other = assert(server:conn_info(sid))
      assert.equal(client:peer_id(), other.peer)
      assert.is_false(other.outgoing)
      assert.equal(id, client:find_conn(server:peer_id()))
      assert.is_nil(client:find_conn(ZERO))
      assert.same({ id }, client:conns())
      assert.equal(1, server:statistics().connections_accepted)
      assert.is_true(server:io_stats().recv_datagrams > 0)
    end)

    it("fails with the wrong key", function()
      local server <close> = endpoint()
      local client <close> = endpoint()
      local id = assert(client:connect_addr(server:sockets()[1], core.random(32)))
      local ev = drive({ client, server }, function()
        return find(client, "dial_failed")
      end)
      assert.equal(id, ev.conn)
      assert.equal("WRONG_KEY", ev.error)
    end)

    it("fails when nobody answers", function()
      local gone = endpoint()
      local addr = gone:sockets()[1]
      gone:close()
      local client <close> = endpoint()
      local id = assert(client:connect_addr(addr, nil, nil, 0.3))
      local from = core.now()
      local ev = drive({ client }, function()
        return find(client, "dial_failed")
      end)
      assert.equal(id, ev.conn)
      assert.is_string(ev.error)
      local took = core.now() - from
      assert.is_true(took > 0.2 and took < 3, "took " .. took)
    end)

    it("fails without a common protocol", function()
      local server <close> = endpoint({ alpn = { "a/1" } })
      local client <close> = endpoint({ alpn = { "b/1" } })
      assert(client:connect_addr(server:sockets()[1]))
      local ev = drive({ client, server }, function()
        return find(client, "dial_failed")
      end)
      assert.equal("ALPN", ev.error)
    end)

    it("is refused to those who aren't allowed", function()
      local friend = core.identity_generate()
      local server <close> = endpoint({ allow = { friend:peer_id() } })
      local stranger <close> = endpoint()
      assert(stranger:connect_addr(server:sockets()[1]))
      local ev = drive({ stranger, server }, function()
        return find(stranger, "dial_failed") or find(stranger, "connection_lost")
      end)
      assert.is_string(ev.error)
      assert.is_nil(find(server, "connection_established"))
      local welcome <close> = endpoint({ identity = friend })
      assert(welcome:connect_addr(server:sockets()[1]))
      drive({ welcome, server }, function()
        return find(welcome, "connection_established") and find(server, "connection_established")
      end)
    end)

    it("closes with a code and a reason", function()
      local client, server, id, sid = connected()
      assert.is_true(client:conn_close(id, 42, "enough"))
      local ev = drive({ client, server }, function()
        return find(server, "connection_lost")
      end)
      assert.equal(sid, ev.conn)
      assert.equal(42, ev.code)
      assert.equal("PEER_CLOSED", ev.error)
      assert.equal("enough", ev.text)
      local v, _, code = server:stream_open(sid)
      assert.is_nil(v)
      assert.equal("CLOSED", code)
    end)

    it("says good-bye when the endpoint closes", function()
      local client, server = connected()
      client:close()
      drive({ server }, function()
        return find(server, "connection_lost")
      end, 5)
    end)

    it("pings, changes keys and keeps alive", function()
      local client, server, id = connected()
      assert.is_true(client:conn_ping(id))
      assert.is_true(client:conn_keep_alive(id, 0.5))
      local before = server:statistics().datagrams_received
      drive({ client, server }, function()
        return client:flushed(id) and server:statistics().datagrams_received > before
      end)
      drive({ client, server }, function()
        local ok, _, code = client:conn_update_keys(id)
        return ok or code ~= "AGAIN" and error(code)
      end)
      assert(client:conn_ping(id))
      drive({ client, server }, function()
        return client:flushed(id)
      end)
    end)
  end)

  describe("stream", function()
    it("carries bytes both ways, to the end", function()
      local client, server, id = connected()
      local s = assert(client:stream_open(id))
      assert.equal(5, client:stream_write(s, "hello"))
      assert.equal(2, client:stream_write(s, "xxxxab", 5))
      assert.equal(0, client:stream_write(s, ""))
      assert.is_true(client:stream_finish(s))
      local v, _, code = client:stream_write(s, "more")
      assert.is_nil(v)
      assert.equal("STREAM_FINISHED", code)
      local peer
      drive({ client, server }, function()
        peer = peer or server:stream_accept(find(server, "connection_established").conn)
        return peer and server:stream_readable(peer) == 7
      end)
      assert.equal("", server:stream_read(peer, 0))
      assert.equal("hell", server:stream_read(peer, 4))
      assert.equal("oab", server:stream_read(peer))
      local n = select("#", server:stream_read(peer))
      assert.equal(1, n)
      assert.is_nil(server:stream_read(peer))
      assert.equal(2, server:stream_write(peer, "ok"))
      assert(server:stream_finish(peer))
      local got
      drive({ client, server }, function()
        got = got or client:stream_read(s)
        return got
      end)
      assert.equal("ok", got)
      local info = assert(client:stream_info(s))
      assert.equal(id, info.conn)
      assert.equal(0, info.id)
      assert.is_false(info.uni)
      assert.is_false(info.incoming)
      assert.is_true(info.finished)
      assert.equal(7, info.bytes_written)
      assert.equal(2, info.bytes_read)
      assert(client:stream_release(s))
      assert.equal("CLOSED", (select(3, client:stream_info(s))))
    end)

    it("says AGAIN when there is nothing", function()
      local client, server, id, sid = connected()
      local s = assert(client:stream_open(id))
      local v, _, code = client:stream_read(s)
      assert.is_nil(v)
      assert.equal("AGAIN", code)
      v, _, code = server:stream_accept(sid)
      assert.is_nil(v)
      assert.equal("AGAIN", code)
    end)

    it("moves megabytes unharmed", function()
      local client, server, id, sid = connected()
      local part = core.random(1024):rep(256)
      local total = 8 * 1024 * 1024
      local s = assert(client:stream_open(id, true, 3))
      local sent, received = 0, 0
      local expected, found = core.sha256_new(), core.sha256_new()
      local peer
      drive({ client, server }, function()
        while sent < total do
          local n, _, code = client:stream_write(s, part, sent % #part + 1)
          if not n then
            assert.equal("AGAIN", code)
            break
          end
          expected:update(part:sub(sent % #part + 1, sent % #part + n))
          sent = sent + n
          if sent == total then
            assert(client:stream_finish(s))
          end
        end
        peer = peer or server:stream_accept(sid)
        while peer do
          local data, _, code = server:stream_read(peer)
          if data then
            found:update(data)
            received = received + #data
          elseif code then
            assert.equal("AGAIN", code)
            return false
          else
            return true
          end
        end
      end, 60)
      assert.equal(total, received)
      assert.equal(expected:hex(), found:hex())
      assert.is_true(server:stream_info(peer).uni)
      local stats = client:io_stats()
      assert.is_true(stats.send_bytes > total)
      assert.is_true(stats.send_calls <= stats.send_datagrams)
      assert.equal(0, stats.send_errors)
    end)

    it("tells of resets and stops with their codes", function()
      local client, server, id, sid = connected()
      local s = assert(client:stream_open(id))
      assert(client:stream_write(s, "x"))
      local peer
      drive({ client, server }, function()
        peer = peer or server:stream_accept(sid)
        return peer
      end)
      assert(client:stream_reset(s, 17))
      drive({ client, server }, function()
        local _, _, code = server:stream_read(peer)
        return code == "STREAM_RESET"
      end)
      assert.equal(17, server:stream_info(peer).reset_code)
      local t = assert(client:stream_open(id))
      assert(client:stream_write(t, "x"))
      local other
      drive({ client, server }, function()
        other = other or server:stream_accept(sid)
        return other
      end)
      assert(server:stream_stop(other, 18))
      drive({ client, server }, function()
        local _, _, code = client:stream_write(t, "y")
        return code == "STREAM_STOPPED"
      end)
      assert.equal(18, client:stream_info(t).stop_code)
    end)

    it("opens no more than the peer allows", function()
      local client, server, id = connected(nil, { max_streams_bidi = 3 })
      local first = assert(client:stream_open(id))
      local count, code = 1, nil
      for _ = 1, 100 do
        local s
        s, _, code = client:stream_open(id)
        if not s then
          break
        end
        count = count + 1
      end
      assert.equal("AGAIN", code)
      assert.is_true(count <= 3)
      assert(client:stream_priority(first, 5))
      assert.equal(5, client:stream_info(first).priority)
      assert.is_false(server:is_closed())
    end)
  end)

  describe("datagrams", function()
    it("go both ways whole", function()
      local client, server, id, sid = connected()
      local v, _, code = client:datagram_receive(id)
      assert.is_nil(v)
      assert.equal("AGAIN", code)
      local max = client:conn_info(id).max_datagram
      assert.is_true(max > 1000)
      assert.is_true(client:datagram_send(id, "ping"))
      assert.is_true(client:datagram_send(id, ("x"):rep(max)))
      local got = {}
      drive({ client, server }, function()
        got[#got + 1] = server:datagram_receive(sid)
        return #got == 2
      end)
      table.sort(got, function(a, b)
        return #a < #b
      end)
      assert.equal("ping", got[1])
      assert.equal(max, #got[2])
      assert.is_true(server:datagram_send(sid, ""))
      drive({ client, server }, function()
        return client:datagram_receive(id) == ""
      end)
      v, _, code = client:datagram_send(id, ("x"):rep(100000))
      assert.is_nil(v)
      assert.equal("TOO_LARGE", code)
    end)
  end)

  describe("session", function()
    it("needs a peer that is another", function()
      local ep <close> = endpoint()
      local v, _, code = ep:session_start(ep:peer_id())
      assert.is_nil(v)
      assert.equal("INVAL", code)
      assert.error(function()
        ep:session_start("short")
      end)
      v, _, code = ep:session_start(ZERO, { "nowhere" })
      assert.is_nil(v)
      assert.equal("ADDRESS", code)
    end)

    it("dials known addresses by itself", function()
      local server <close> = endpoint()
      local client <close> = endpoint()
      local id = assert(client:session_start(server:peer_id(), server:sockets(), 5))
      assert.equal(server:peer_id(), client:session_info(id).peer)
      drive({ client, server }, function()
        return find(client, "traversal_succeeded")
      end)
      local conn = find(client, "connection_established").conn
      local steps = client:explain(conn)
      assert.equal("dial", steps[1].step)
      assert.equal(server:sockets()[1], steps[1].addr)
      assert.is_true(steps[1].won)
      assert.same({ false, conn }, { client:session_start(server:peer_id()) })
    end)

    it("goes step by step when told to", function()
      local server <close> = endpoint()
      local client <close> = endpoint({ strategy = "steps" })
      local id = assert(client:session_start(server:peer_id(), nil, 5))
      assert.is_true(client:session_dial(id, { addrs = server:sockets(), timeout = 3 }))
      local ev = drive({ client, server }, function()
        return find(client, "step_done")
      end)
      assert.equal(id, ev.session)
      assert.equal("dial", ev.step)
      assert.is_nil(ev.error)
    end)

    it("fails when the steps are over", function()
      local client <close> = endpoint({ strategy = "steps" })
      local id = assert(client:session_start(core.random(32), nil, 5))
      assert.error(function()
        client:session_finish(id, "NO_SUCH_CODE")
      end)
      assert(client:session_finish(id, "PUNCHING_FAILED"))
      local ev = drive({ client }, function()
        return find(client, "traversal_failed")
      end)
      assert.equal("PUNCHING_FAILED", ev.error)
      assert.equal(id, ev.session)
    end)

    it("can be cancelled", function()
      local client <close> = endpoint({ strategy = "steps" })
      local id = assert(client:session_start(core.random(32)))
      assert(client:session_cancel(id))
      local ev = drive({ client }, function()
        return find(client, "traversal_failed")
      end)
      assert.equal("CANCELLED", ev.error)
    end)

    it("takes a schedule for punches", function()
      local ep <close> = endpoint()
      assert.is_true(ep:set_punch_defaults({ rounds = 4, spacing = 0.03, openers = 0 }))
      assert.error(function()
        ep:set_punch_defaults({ rounds = "4" })
      end)
      local v, _, code = ep:set_punch_defaults({ order = { "x" } })
      assert.is_nil(v)
      assert.equal("ADDRESS", code)
    end)
  end)

  it("survives whatever is called in whatever order", function()
    local seed = tonumber(os.getenv("ANTQUIC_SEED")) or os.time()
    math.randomseed(seed)
    local eps, ids, peers = {}, { 0, 1, -1 }, { ZERO }
    local function pick(list)
      return list[math.random(#list)]
    end
    local function another(i)
      if eps[i] then
        eps[i]:close()
      end
      eps[i] = endpoint({ strategy = pick({ "auto", "steps" }) })
      peers[#peers + 1] = eps[i]:peer_id()
    end
    local values = {
      function()
        return pick(ids)
      end,
      function()
        return math.random(-3, 70000)
      end,
      function()
        return math.random() * 2
      end,
      function()
        return ("x"):rep(math.random(0, 3000))
      end,
      function()
        return pick(peers)
      end,
      function()
        return pick(eps):sockets()[1]
      end,
      function()
        return math.random(2) == 1
      end,
      function()
        return { addrs = { "127.0.0.1:9" }, rounds = 3, timeout = 0.5 }
      end,
      function() end,
    }
    local function value()
      return (math.random(3) == 1 and values[1] or pick(values))()
    end
    local function remember(id)
      if math.type(id) == "integer" and id > 70000 then
        ids[#ids + 1] = id
      end
    end
    for i = 1, 3 do
      another(i)
    end
    local names = {}
    for name in pairs(getmetatable(eps[1]).__index) do
      if not ({ wait = 1, close = 1, close_all = 1 })[name] then
        names[#names + 1] = name
      end
    end
    table.sort(names)
    local succeeded = 0
    for _ = 1, 20000 do
      if math.random(400) == 1 then
        another(math.random(3))
      elseif math.random(50) == 1 then
        remember((pick(eps):connect_addr(pick(eps):sockets()[1])))
      end
      local ep = pick(eps)
      local r = table.pack(pcall(ep[pick(names)], ep, value(), value(), value(), value()))
      if r[1] then
        succeeded = succeeded + 1
        remember(r[2])
        remember(r[3])
        -- A failure has a message and a code that is in the table.
        if r[2] == nil and r.n == 4 then
          assert.is_string(r[3])
          assert.is_string(core.error_text(r[4]), "seed " .. seed)
        end
      end
      for _, each in ipairs(eps) do
        each:step()
        for ev in
          function()
            return each:poll()
          end
        do
          remember(ev.conn)
          remember(ev.stream)
        end
      end
      while #ids > 60 do
        table.remove(ids, math.random(4, #ids))
      end
    end
    assert.is_true(succeeded > 2000, "seed " .. seed)
  end)

  it("stays whole under an eager collector", function()
    local pause = collectgarbage("setpause", 0)
    local mul = collectgarbage("setstepmul", 1000)
    for _ = 1, 3 do
      local client, server, id = connected()
      local s = assert(client:stream_open(id))
      assert(client:stream_write(s, ("x"):rep(50000)))
      for _ = 1, 20 do
        client:step()
        server:step()
        client:conn_info(id)
        client:statistics()
        collectgarbage("step")
      end
      client, server = nil, nil -- luacheck: ignore 311
      collectgarbage()
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", mul)
  end)
end)
