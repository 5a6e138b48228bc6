-- The file of known peers and nodes: what is kept, and what damage costs.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local store = require("antquic.store")

local function hex(n)
  return ("%02x"):format(n % 256):rep(32)
end

-- What Store:known needs of a peer id.
local function id_of(n)
  return {
    hex = function()
      return hex(n)
    end,
  }
end

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read("a")
  if f then
    f:close()
  end
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function count(map)
  local n = 0
  for _ in pairs(map) do
    n = n + 1
  end
  return n
end

local function line(body)
  local hash = core.sha256_new()
  hash:update(body)
  return body .. " " .. hash:hex():sub(1, 8) .. "\n"
end

describe("the store", function()
  local path
  before_each(function()
    path = os.tmpname()
    os.remove(path)
  end)
  after_each(function()
    os.remove(path)
    os.remove(path .. ".bad")
    os.remove(path .. ".part")
  end)

  local function filled(peers)
    local s = assert(store.open(path))
    for n = 1, peers do
      s.peers[hex(n)] = {
        addresses = { ("198.18.0.%d:1000"):format(n), "[2001:db8::1]:5" },
        last_seen = 1000 + n,
        took = 12,
        coordinator = "198.18.9.9:9000",
        plan = "fresh",
      }
    end
    s.nodes["198.18.9.9:9000"] = { id = hex(9), last_seen = 7, rtt = 25000, count = 3 }
    assert(s:save())
    return s
  end

  it("knows what won the last time, for a week", function()
    local s = filled(2)
    local function id(n)
      return {
        hex = function()
          return hex(n)
        end,
      }
    end
    s.peers[hex(1)].last_seen = os.time() - 6 * 86400
    assert.equal("fresh", s:plan(id(1)))
    s.peers[hex(1)].last_seen = os.time() - 8 * 86400
    assert.is_nil(s:plan(id(1)))
    s.peers[hex(1)].last_seen = os.time() + 3600 -- a clock was wrong
    assert.is_nil(s:plan(id(1)))
    assert.is_nil(s:plan(id(9)))
  end)

  it("gives back what was kept", function()
    local before = filled(3)
    local after = assert(store.open(path))
    assert.same(before.peers, after.peers)
    assert.same(before.nodes, after.nodes)
    assert.equal(0, after.damaged)
    assert.is_nil(read(path .. ".part"))
    local pipe = assert(io.popen("stat -c %a " .. path))
    assert.equal("600", pipe:read("l"))
    pipe:close()
  end)

  it("the caller's addresses come first, eight at most", function()
    local s = filled(1)
    assert.same({ "198.18.0.1:1000", "[2001:db8::1]:5" }, s:known(id_of(1), {}))
    assert.same(
      { "1.2.3.4:5", "198.18.0.1:1000", "[2001:db8::1]:5" },
      s:known(id_of(1), { "1.2.3.4:5", "198.18.0.1:1000" })
    )
    assert.same({ "1.2.3.4:5" }, s:known(id_of(2), { "1.2.3.4:5" }))
    local many = {}
    for n = 1, 20 do
      many[n] = ("1.2.3.4:%d"):format(n)
    end
    assert.equal(8, #s:known(id_of(1), many))
  end)

  it("cut anywhere: what is whole stays", function()
    filled(3)
    local text = read(path)
    for len = #text % 2, #text, 2 do
      write(path, text:sub(1, len))
      local s = assert(store.open(path))
      assert.is_true(count(s.peers) <= 3 and count(s.nodes) <= 1)
      if len == #text then
        assert.equal(3, count(s.peers))
        assert.equal(1, count(s.nodes))
      elseif len < #text - 1 then
        assert.is_true(count(s.peers) + count(s.nodes) < 4)
      end
      os.remove(path .. ".bad")
    end
  end)

  it("each byte flipped: one record is lost, and told", function()
    filled(2)
    local text = read(path)
    local whole = assert(store.open(path))
    for at = 1, #text do
      local byte = text:byte(at) ~ (1 << at % 8)
      write(path, text:sub(1, at - 1) .. string.char(byte) .. text:sub(at + 1))
      local s = assert(store.open(path))
      local kept = count(s.peers) + count(s.nodes)
      assert.is_true(s.damaged >= 1 or kept == 3, "byte " .. at)
      assert.is_true(kept >= 1, "byte " .. at) -- a newline joins two
      for id, peer in pairs(s.peers) do
        assert.same(whole.peers[id], peer)
      end
      os.remove(path .. ".bad")
    end
  end)

  it("a right checksum makes no wrong record good", function()
    local id = hex(1)
    local bad = {
      "peer " .. id .. " 1 1 - punch 1.2.3.4:99999",
      "peer " .. id .. " 1 1 - punch example.com:80",
      "peer " .. id .. " -1 1 - punch 1.2.3.4:5",
      "peer " .. id .. " 1e999 1 - punch 1.2.3.4:5",
      "peer " .. id .. " 1 1 - punch 1.2.3.4:5 more",
      "peer " .. id .. " 1 1 - magic 1.2.3.4:5",
      "peer " .. id .. " 1 1 - punch",
      "peer " .. id .. " 1 1 1.2.3.4:5",
      "peer " .. id .. " 1 1 nobody punch 1.2.3.4:5",
      "peer " .. id .. " 1 1 - punch 1.2.3.4:1,1.2.3.4:2,1.2.3.4:3,1.2.3.4:4,1.2.3.4:5",
      "peer " .. id:upper():gsub("0", "G") .. " 1 1 - punch 1.2.3.4:5",
      "peer " .. id:sub(2) .. " 1 1 - punch 1.2.3.4:5",
      "node 1.2.3.4 - 1 1 1",
      "node 1.2.3.4:5 - 1 1 99999999999999999999",
      "else 1.2.3.4:5 - 1 1 1",
    }
    local text = "antquic-store 1\n" .. line("node 1.2.3.4:5 - 1 1 1")
    for _, body in ipairs(bad) do
      text = text .. line(body)
    end
    write(path, text)
    local s = assert(store.open(path))
    assert.equal(#bad, s.damaged)
    assert.equal(0, count(s.peers))
    assert.equal(1, count(s.nodes))
  end)

  it("what was written before plans were kept is read, and written anew", function()
    local peer = { addresses = { "1.2.3.4:5", "1.2.3.4:6" }, last_seen = 7, took = 8 }
    peer.coordinator = "198.18.9.9:9000"
    write(
      path,
      "antquic-store 1\n" .. line("peer " .. hex(1) .. " 7 8 198.18.9.9:9000 1.2.3.4:5,1.2.3.4:6")
    )
    for _ = 1, 2 do
      local s = assert(store.open(path))
      assert.equal(0, s.damaged)
      assert.same({ [hex(1)] = peer }, s.peers)
      assert.is_nil(s:plan(id_of(1)))
    end
    assert.matches(" 198.18.9.9:9000 %- 1.2.3.4:5,1.2.3.4:6 ", read(path))
  end)

  it("something else is set aside", function()
    write(path, "my diary\nof today\n")
    local s = assert(store.open(path))
    assert.is_true(s.damaged > 0 and s.set_aside)
    assert.equal("my diary\nof today\n", read(path .. ".bad"))
    assert.equal("antquic-store 1\n", read(path))
  end)

  it("a device is neither set aside nor replaced", function()
    for _, device in ipairs({ "/dev/null", "/dev/full" }) do
      -- Through a link, so that none is lost should this fail.
      assert.is_truthy(os.execute(("ln -sf %s %s"):format(device, path)))
      assert.same({ nil, path .. ": it is no file", "NETWORK" }, { store.open(path) })
      assert.is_truthy(os.execute(("test -L %s -a ! -e %s.bad"):format(path, path)))
    end
  end)

  it("what can't be set aside or read is not overwritten", function()
    write(path, "my diary\n")
    assert.is_truthy(os.execute("mkdir " .. path .. ".bad"))
    local s, _, code = store.open(path)
    assert.is_nil(s)
    assert.equal("NETWORK", code)
    assert.equal("my diary\n", read(path))
    os.remove(path)
    assert.is_truthy(os.execute(("ln -s %s %s"):format(path, path)))
    s, _, code = store.open(path)
    assert.is_nil(s)
    assert.equal("NETWORK", code)
  end)

  it("is written by a turn when something is new, five seconds apart", function()
    local now, events = 100, {}
    local ep = {
      _store = filled(1),
      _sched = {
        now = function()
          return now
        end,
      },
      _hub = {
        emit = function(_, ev)
          events[#events + 1] = ev
        end,
      },
      bootstrap_nodes = function()
        return {}
      end,
    }
    local s = ep._store
    s:attach(ep)
    s.peers[hex(2)] = { addresses = { "1.2.3.4:5" }, last_seen = 1, took = 1, plan = "dial" }
    s.dirty = true
    now = 104
    s:turn(ep)
    assert.equal(1, count(assert(store.open(path)).peers))
    now = 105
    s:turn(ep)
    assert.equal(2, count(assert(store.open(path)).peers))
    os.remove(path)
    now = 200
    s:turn(ep) -- nothing is new
    assert.is_nil(read(path))
    s.dirty, s.path = true, "/nonexistent/folder/store"
    s:turn(ep)
    assert.equal("store_failed", events[1].kind)
    s:turn(ep)
    assert.equal(1, #events)
    s.path = path
  end)

  it("a file of no bytes is an empty store", function()
    write(path, "")
    assert.equal(0, count(assert(store.open(path)).peers))
  end)

  it("is bounded: whoever was seen longest ago is forgotten", function()
    local s = filled(0)
    for n = 1, 400 do
      local id = ("%064x"):format(n)
      s.peers[id] = { addresses = { "1.2.3.4:5" }, last_seen = n, took = 1, plan = "dial" }
      s.nodes["1.2.3.4:" .. n] = { last_seen = n, rtt = 1, count = 1 }
    end
    assert(s:save())
    s = assert(store.open(path))
    assert.equal(256, count(s.peers))
    assert.equal(64, count(s.nodes))
    assert.is_nil(s.peers[("%064x"):format(144)])
    assert.is_truthy(s.peers[("%064x"):format(145)])
  end)

  it("a crash in the middle of a write leaves the old file", function()
    filled(2)
    local text = read(path)
    -- What a crash leaves behind: a part, of any length, or of nobody's.
    for _, part in ipairs({ "", text:sub(1, 40), "rubbish" }) do
      write(path .. ".part", part)
      local s = assert(store.open(path))
      assert.equal(2, count(s.peers))
      assert.is_nil(read(path .. ".part"))
    end
  end)

  it("where it can't be written: said at once, and nothing is lost", function()
    local s, message, code = store.open("/nonexistent/folder/store")
    assert.is_nil(s)
    assert.equal("NETWORK", code)
    assert.matches("/nonexistent/folder/store", message)
    -- What can't be read may be whole: it is not replaced.
    s, message, code = store.open(".")
    assert.same({ nil, ".: Is a directory", "NETWORK" }, { s, message, code })
    local antquic = require("antquic")
    local ep
    ep, message, code = antquic.endpoint({ store = "/nonexistent/folder/store" })
    assert.is_nil(ep)
    assert.equal("NETWORK", code)
    assert.matches("option 'store'", message)
  end)

  it("a full disk leaves the old file", function()
    filled(2)
    local before = read(path)
    local code = ([[
      package.path, package.cpath = %q, %q
      local ok, message = require("antquic.core").file_replace(%q, ("x"):rep(1e5))
      assert(ok == nil and message:find("too large"), message)
    ]]):format(package.path, package.cpath, path)
    local script = os.tmpname()
    write(script, code)
    -- The largest file that may be written has 1 or 512 bytes times two.
    assert.is_truthy(os.execute("trap '' XFSZ; ulimit -f 2; exec lua5.4 " .. script))
    os.remove(script)
    assert.equal(before, read(path))
    assert.is_nil(read(path .. ".part"))
  end)

  it("a link that somebody laid is not followed", function()
    filled(1)
    local victim = os.tmpname()
    write(victim, "precious")
    assert.is_truthy(os.execute(("ln -sf %s %s.part"):format(victim, path)))
    assert(assert(store.open(path)):save())
    assert.equal("precious", read(victim))
    os.remove(victim)
  end)
end)
