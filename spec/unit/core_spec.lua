-- SPDX-License-Identifier: MIT
--
-- The C module alone, without the Lua side: values, options, endpoints. With
-- core_talk_spec.lua: every function of core_meta.lua.

local core = require("antquic.core")
local support = require("spec.unit.core_support")

local drive, endpoint = support.drive, support.endpoint

describe("core", function()
  after_each(support.finish)

  describe("names", function()
    it("has a version", function()
      local version, dependencies = core.version()
      assert.matches("^%d+%.%d+%.%d+", version)
      assert.matches("ngtcp2/%d", dependencies)
      assert.matches("wolfssl/%d", dependencies:lower())
    end)

    it("has a table of errors", function()
      local errors = core.errors()
      assert.equal(-4, errors.TIMEOUT)
      assert.equal("integer", math.type(errors.TIMEOUT))
      local seen, count = {}, 0
      for name, value in pairs(errors) do
        assert.matches("^[A-Z_]+$", name)
        assert.is_true(value < 0)
        assert.is_nil(seen[value])
        seen[value] = name
        assert.is_string(core.error_text(name))
        count = count + 1
      end
      assert.is_true(count > 40)
      assert.equal("timed out", core.error_text("TIMEOUT"))
      assert.is_nil(core.error_text("NO_SUCH_CODE"))
      assert.are_not.equal(errors, core.errors())
    end)

    it("lists the enums", function()
      local names = core.names()
      assert.equal("candidate_discovered", names.events[1])
      assert.same("idle", names.phases[1])
      assert.same("user_closed", names.reasons[#names.reasons])
      assert.same({ "local", "observed", "peer", "predicted" }, names.sources)
      assert.equal(5, #names.states)
      assert.equal(5, #names.candidate_states)
      assert.equal(5, #names.pair_states)
    end)

    it("documents every function", function()
      local meta = ""
      for _, name in ipairs({ "core_meta", "core_sim_meta" }) do
        local f = assert(io.open("lua/antquic/" .. name .. ".lua", "rb"))
        meta = meta .. f:read("a")
        f:close()
      end
      local documented = { core = {}, Endpoint = {}, Identity = {}, Sha256 = {}, Sim = {} }
      for class, name in meta:gmatch("\nfunction (%w+)[.:]([%w_]+)") do
        documented[class][name] = true
      end
      local function compare(class, real)
        for name in pairs(real) do
          assert.is_true(documented[class][name], class .. "." .. name .. " has no words")
        end
        for name in pairs(documented[class]) do
          assert.is_function(real[name], class .. "." .. name .. " isn't there")
        end
      end
      compare("core", core)
      local ep <close> = endpoint()
      compare("Endpoint", getmetatable(ep).__index)
      compare("Identity", getmetatable(core.identity_generate()).__index)
      compare("Sha256", getmetatable(core.sha256_new()).__index)
      compare("Sim", getmetatable(core.sim()).__index)
    end)
  end)

  describe("values", function()
    it("converts hexadecimal", function()
      assert.equal("00ff10", core.hex("\0\255\16"))
      assert.equal("", core.hex(""))
      assert.equal("\0\255\16", core.unhex("00fF10"))
      local all = {}
      for i = 0, 255 do
        all[#all + 1] = string.char(i)
      end
      local bytes = table.concat(all):rep(100)
      assert.equal(bytes, core.unhex(core.hex(bytes)))
      for _, bad in ipairs({ "0", "0g", "xx", "00 " }) do
        local v, message, code = core.unhex(bad)
        assert.is_nil(v)
        assert.is_string(message)
        assert.equal("FORMAT", code)
      end
    end)

    it("reads addresses", function()
      assert.equal("192.0.2.1:80", core.addr_parse("192.0.2.1:80"))
      assert.equal("[2001:db8::1]:80", core.addr_parse("[2001:DB8:0::1]:80"))
      assert.same({ "192.0.2.1", 80, 4 }, { core.addr_split("192.0.2.1:80") })
      assert.same({ "::1", 65535, 6 }, { core.addr_split("[::1]:65535") })
      for _, bad in ipairs({ "", "1.2.3.4", "1.2.3:4", "::1:80", "host:1", "1.2.3.4:99999" }) do
        local v, message, code = core.addr_parse(bad)
        assert.is_nil(v)
        assert.matches("is not an address", message)
        assert.equal("ADDRESS", code)
        assert.is_nil((core.addr_split(bad)))
      end
      assert.error(function()
        core.addr_parse(4)
      end)
    end)

    it("has a clock that goes on", function()
      local a = core.now()
      core.sleep(0.02)
      local b = core.now()
      assert.equal("float", math.type(a))
      assert.is_true(b - a >= 0.02 and b - a < 2)
      core.sleep(-1)
      assert.error(function()
        core.sleep(0 / 0)
      end)
    end)

    it("has random bytes", function()
      assert.equal("", core.random(0))
      local a, b = core.random(32), core.random(32)
      assert.equal(32, #a)
      assert.are_not.equal(a, b)
      assert.error(function()
        core.random(1025)
      end)
    end)

    it("digests", function()
      local s = assert(core.sha256_new())
      assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", s:hex())
      assert.equal(s, s:update("a"))
      s:update("bc")
      assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", s:hex())
      assert.equal(s:hex(), core.hex(s:digest()))
      s:update(("x"):rep(100000))
      assert.are_not.equal(core.hex(s:digest()), nil)
    end)
  end)

  describe("identity", function()
    it("comes from a seed", function()
      -- RFC 8032 section 7.1, test 1
      local seed = core.unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
      local id = assert(core.identity_from_seed(seed))
      assert.equal(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        core.hex(id:public_key())
      )
      assert.equal(32, #id:peer_id())
      assert.equal(core.peer_id_from_key(id:public_key()), id:peer_id())
      assert.matches("^antquic%.core%.identity{peer=%x+}$", tostring(id))
      assert.is_true(core.is_identity(id))
      assert.is_false(core.is_identity("id"))
      assert.is_false(core.is_identity(core.sha256_new()))
    end)

    it("refuses what is not a seed or key", function()
      assert.error(function()
        core.identity_from_seed("short")
      end)
      local v, _, code = core.peer_id_from_key("short")
      assert.is_nil(v)
      assert.equal("INVAL", code)
    end)

    it("is a fresh one each time", function()
      local a, b = core.identity_generate(), core.identity_generate()
      assert.are_not.equal(a:peer_id(), b:peer_id())
    end)

    it("loads and creates files", function()
      local path = os.tmpname()
      os.remove(path)
      local v, message, code = core.identity_load(path)
      assert.is_nil(v)
      assert.is_not_nil(message:find(path, 1, true))
      assert.is_string(code)
      local made = assert(core.identity_load(path, true))
      local again = assert(core.identity_load(path, true))
      assert.equal(made:peer_id(), again:peer_id())
      os.remove(path)
    end)

    it("can be collected twice", function()
      local id = core.identity_generate()
      local gc = getmetatable(id).__gc
      gc(id)
      gc(id)
      assert.matches("collected", tostring(id))
      assert.error_matches(function()
        id:peer_id()
      end, "collected")
      assert.error(function()
        gc("id")
      end)
    end)
  end)

  describe("options", function()
    it("must be right in type", function()
      local id = core.identity_generate()
      local wrong = {
        { identity = "me.key" },
        {},
        { identity = id, accept = 1 },
        { identity = id, role = "king" },
        { identity = id, role = 1 },
        { identity = id, max_candidates = "8" },
        { identity = id, max_candidates = 1.5 },
        { identity = id, keep_alive = "1" },
        { identity = id, bind = "0.0.0.0:0" },
        { identity = id, bind = { 1 } },
        { identity = id, alpn = { "" } },
        { identity = id, alpn = { ("x"):rep(64) } },
        { identity = id, alpn = { "a\0b" } },
        { identity = id, alpn = { "1", "2", "3", "4", "5", "6", "7", "8", "9" } },
        { identity = id, allow = { "short" } },
        { identity = id, bootstrap_nodes = { "1.2.3.4:5" } },
        { identity = id, bootstrap_nodes = { { addr = "1.2.3.4:5", peer = "short" } } },
        { identity = id, no_gso = 1 },
      }
      for i, options in ipairs(wrong) do
        assert.error(function()
          core.endpoint(options)
        end, nil, "case " .. i)
      end
      assert.error(function()
        core.endpoint()
      end)
    end)

    it("must be right in value", function()
      local id = core.identity_generate()
      local wrong = {
        { code = "ADDRESS", bind = { "nowhere" } },
        { code = "ADDRESS", bootstrap_nodes = { { addr = "nowhere" } } },
        { code = "CONFIG", role = "client" }, -- and nobody to ask
        { code = "CONFIG", max_candidates = -1 },
        { code = "CONFIG", max_candidates = 1 << 40 },
        { code = "CONFIG", max_candidates = 0 },
        { code = "CONFIG", keep_alive = -1 },
        { code = "CONFIG", keep_alive = 0 / 0 },
        { code = "CONFIG", coordination_timeout = 1e12 },
        { code = "NETWORK", bind = { "192.0.2.77:0" } },
      }
      for i, options in ipairs(wrong) do
        options.identity = id
        options.role = options.role or "server"
        local ep, message, code = core.endpoint(options)
        assert.is_nil(ep, "case " .. i)
        assert.equal(options.code, code, "case " .. i .. ": " .. tostring(message))
        assert.is_true(#message > 5)
      end
    end)

    it("may all be given", function()
      local me, friend = core.identity_generate(), core.identity_generate()
      local ep <close> = assert(core.endpoint({
        identity = me,
        role = "client",
        bind = { "127.0.0.1:0", "127.0.0.1:0" },
        bootstrap_nodes = {
          { addr = "127.0.0.1:1" },
          { addr = "127.0.0.1:2", peer = friend:peer_id() },
        },
        alpn = { "a/1", "b/2" },
        allow = { friend:peer_id() },
        can_coordinate = false,
        enable_symmetric_nat = true,
        enable_relay_fallback = false,
        accept = true,
        allow_reserved = true,
        always_retry = true,
        ask_accept = false,
        strategy = "steps",
        pqc = "off",
        max_candidates = 4,
        max_concurrent_attempts = 2,
        coordination_timeout = 1.5,
        idle_timeout = 20,
        keep_alive = 0,
        handshake_timeout = 5,
        stream_window = 1 << 18,
        conn_window = 1 << 20,
        max_streams_bidi = 10,
        max_streams_uni = 10,
        send_buffer = 1 << 16,
        datagram_queue = 16,
        max_connections = 100,
        max_half_open = 10,
        relay_rate = 1 << 20,
        relay_total_rate = 1 << 34,
        no_gso = true,
        no_gro = true,
        no_ecn = true,
      }))
      assert.equal(2, #ep:sockets())
      assert.equal(2, #ep:bootstrap_list())
      local io_stats = ep:io_stats()
      assert.is_false(io_stats.gso)
      assert.is_false(io_stats.gro)
      assert.is_false(io_stats.ecn)
      assert.equal(me:peer_id(), ep:peer_id())
    end)
  end)

  describe("endpoint", function()
    it("closes once and for all", function()
      local ep = endpoint()
      assert.is_false(ep:is_closed())
      assert.matches("^antquic%.core%.endpoint{peer=%x+}$", tostring(ep))
      assert.is_true(ep:close())
      assert.is_true(ep:close())
      assert.is_true(ep:is_closed())
      assert.matches("closed", tostring(ep))
      for name, method in pairs(getmetatable(ep).__index) do
        if name ~= "close" and name ~= "is_closed" then
          assert.error_matches(function()
            method(ep)
          end, "attempt to use a closed endpoint")
        end
      end
      assert.error_matches(function()
        core.wait({ ep }, 0)
      end, "closed endpoint")
    end)

    it("refuses other values as itself", function()
      local ep <close> = endpoint()
      for _, wrong in ipairs({ 1, "x", {}, core.identity_generate(), io.stdout, false }) do
        assert.error_matches(function()
          ep.step(wrong)
        end, "endpoint expected")
        assert.error(function()
          core.wait({ wrong }, 0)
        end)
      end
    end)

    it("closes at the end of a block and when collected", function()
      local kept
      do
        local ep <close> = endpoint()
        kept = ep
      end
      assert.is_true(kept:is_closed())
      for _ = 1, 20 do
        endpoint()
      end
      collectgarbage()
      collectgarbage()
    end)

    it("has sockets with real ports", function()
      local ep <close> = endpoint()
      local list = ep:sockets()
      assert.equal(1, #list)
      local ip, port = core.addr_split(list[1])
      assert.equal("127.0.0.1", ip)
      assert.is_true(port > 0)
      assert.equal(1, ep:open_socket("127.0.0.1:0"))
      assert.equal(2, #ep:sockets())
      local v, _, code = ep:open_socket("here")
      assert.is_nil(v)
      assert.equal("ADDRESS", code)
      v, _, code = ep:open_socket("192.0.2.77:0")
      assert.is_nil(v)
      assert.equal("NETWORK", code)
      v, _, code = ep:open_socket(list[1])
      assert.is_nil(v)
      assert.equal("NETWORK", code)
    end)

    it("has at most sixteen sockets", function()
      local ep <close> = endpoint()
      for _ = 2, 16 do
        assert(ep:open_socket("127.0.0.1:0"))
      end
      local v, _, code = ep:open_socket("127.0.0.1:0")
      assert.is_nil(v)
      assert.equal("LIMIT", code)
      assert.equal(16, #ep:sockets())
    end)

    it("binds both families by default", function()
      local ep <close> =
        assert(core.endpoint({ identity = core.identity_generate(), role = "server" }))
      local list = ep:sockets()
      assert.matches("^0%.0%.0%.0:%d+$", list[1])
      if list[2] then
        assert.matches("^%[::%]:%d+$", list[2])
      end
    end)

    it("can be watched", function()
      local ep <close> = endpoint()
      assert.equal("r", ep:events())
      assert.equal("integer", math.type(ep:pollfd()))
      ep:step()
      local t = ep:timeout()
      assert.is_true(t == nil or t >= 0)
      assert.is_true(math.abs(ep:now() - core.now()) < 1)
    end)

    it("waits no longer than it is told", function()
      local ep <close> = endpoint()
      drive({ ep }, function()
        return (ep:timeout() or 1) > 0.1
      end)
      local from = core.now()
      ep:wait(0.03)
      assert.is_true(core.now() - from < 1)
      from = core.now()
      core.wait({ ep }, 0.03)
      assert.is_true(core.now() - from < 1)
      from = core.now()
      ep:wait(0)
      ep:wait(-5)
      assert.is_true(core.now() - from < 0.5)
    end)

    it("waits for many at once", function()
      local many = {}
      for i = 1, 80 do
        many[i] = endpoint()
      end
      for _, ep in ipairs(many) do
        ep:step()
      end
      assert(many[1]:connect_addr(many[80]:sockets()[1]))
      drive(many, function()
        return #many[1]:conns() == 1
      end)
    end)

    it("counts", function()
      local ep <close> = endpoint()
      local s = ep:statistics()
      assert.equal(0, s.connections_accepted)
      assert.equal("integer", math.type(s.bytes_sent))
      local u = ep:usage()
      assert.equal(0, u.connections)
      assert.is_true(u.memory >= 0)
      assert.equal(0, ep:io_stats().recv_datagrams)
    end)

    it("keeps bootstrap nodes", function()
      local ep <close> = endpoint()
      local friend = core.identity_generate():peer_id()
      assert.is_true(ep:bootstrap_add("127.0.0.1:7"))
      assert.is_true(ep:bootstrap_add("127.0.0.1:8", friend))
      local list = ep:bootstrap_list()
      assert.equal(2, #list)
      assert.equal("127.0.0.1:7", list[1].addr)
      assert.is_false(list[1].connected)
      assert.is_true(ep:bootstrap_remove("127.0.0.1:7"))
      assert.equal("127.0.0.1:8", ep:bootstrap_list()[1].addr)
      local v, _, code = ep:bootstrap_add("somewhere")
      assert.is_nil(v)
      assert.equal("ADDRESS", code)
    end)

    it("drains at once without connections", function()
      local ep <close> = endpoint()
      assert.is_true(ep:close_all(7, "bye"))
      drive({ ep }, function()
        return ep:drained()
      end)
    end)

    it("answers CLOSED for ids that never were", function()
      local ep <close> = endpoint()
      for _, id in ipairs({ 0, 1, -1, 12345678901, (1 << 52) - 1, math.maxinteger }) do
        for _, name in ipairs({
          "conn_info",
          "conn_close",
          "flushed",
          "conn_ping",
          "conn_update_keys",
          "stream_open",
          "stream_accept",
          "stream_read",
          "stream_finish",
          "stream_reset",
          "stream_stop",
          "stream_release",
          "stream_info",
          "session_info",
          "session_cancel",
          "datagram_receive",
        }) do
          local v, message, code = ep[name](ep, id)
          assert.is_nil(v, name .. " " .. id)
          assert.equal("CLOSED", code, name .. " " .. id)
          assert.is_string(message)
        end
        assert.same(
          { nil, "CLOSED" },
          { (select(1, ep:stream_write(id, "x"))), (select(3, ep:stream_write(id, "x"))) }
        )
        assert.equal(0, ep:stream_readable(id))
        assert.same({}, ep:session_pairs(id))
        assert.same({}, ep:explain(id))
        assert.same({}, ep:conn_candidates(id))
      end
      assert.error(function()
        ep:conn_info("1")
      end)
      assert.error(function()
        ep:conn_info(1.5)
      end)
    end)
  end)
end)
