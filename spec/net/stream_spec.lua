-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local antquic, it = support.antquic, support.it

describe("streams on loopback", function()
  it("echo lines both ways", function()
    local _, _, ab, ba = support.pair()
    antquic.spawn(function()
      local s = assert(ba:accept_stream(5))
      for line in s:lines() do
        assert(s:write("echo ", line, "\n"))
      end
      s:close()
    end)
    local s = assert(ab:open_stream())
    assert(s:write("one\n", "two\n"))
    assert.equal("echo one", s:read("l", 5))
    assert.equal("echo two", s:read("l", 5))
    assert(s:finish())
    assert.is_nil(s:read("l", 5))
    s:close()
  end)

  it("carry 64 MiB with the right hash in bounded memory", function()
    local _, _, ab, ba = support.pair()
    local TOTAL, BLOCK = 64 * 1024 * 1024, ("antquic!"):rep(32 * 1024)
    local got = antquic.spawn(function()
      local s = assert(ba:accept_stream(5))
      local hash, size, peak = antquic.sha256(), 0, 0
      while true do
        local data = assert(s:read(nil, 10) or (size == TOTAL and ""))
        if data == "" then
          break
        end
        hash:update(data)
        size = size + #data
        peak = math.max(peak, ba:metrics().memory)
        if size == TOTAL then
          assert.is_nil(s:read(nil, 10))
          break
        end
      end
      return hash:hex(), size, peak
    end)
    local before = support.memory()
    local s = assert(ab:open_stream({ uni = true }))
    local hash, sent, peak = antquic.sha256(), 0, 0
    while sent < TOTAL do
      assert(s:write(BLOCK))
      hash:update(BLOCK)
      sent = sent + #BLOCK
      peak = math.max(peak, ab:metrics().memory)
    end
    assert(s:finish())
    local ok, sum, size, receiver_peak = got:wait(30)
    assert.is_true(ok)
    assert.equal(TOTAL, size)
    assert.equal(hash:hex(), sum)
    -- 1 MiB of send buffer and 1 MiB of window, with room for bookkeeping.
    assert.is_true(peak < 4 * 1024 * 1024, "sender buffered " .. peak)
    assert.is_true(receiver_peak < 4 * 1024 * 1024, "receiver buffered " .. receiver_peak)
    local grown = before and support.memory() - before or 0
    assert.is_true(grown < 48 * 1024, "the process grew by " .. grown .. " KiB")
    s:close()
  end, 60)

  it("a thousand at once", function()
    local _, _, ab, ba = support.pair()
    local COUNT = 1000
    antquic.spawn(function()
      for s in ba:streams(5) do
        antquic.spawn(function()
          local text = s:read("a", 10)
          s:write(text:upper())
          s:close()
        end)
      end
    end)
    local tasks, open = {}, 0
    for i = 1, COUNT do
      local s = assert(ab:open_stream({ timeout = 5 }))
      assert(s:write("stream ", i))
      open = open + 1
      tasks[i] = antquic.spawn(function()
        assert(s:finish())
        local answer = s:read("a", 10)
        s:close()
        return answer
      end)
    end
    assert.equal(COUNT, open)
    for i = 1, COUNT do
      local ok, answer = tasks[i]:wait(20)
      assert.is_true(ok, answer)
      assert.equal("STREAM " .. i, answer)
    end
    ab:close()
  end, 60)

  it("stop the writer when nobody reads, and go on when somebody does", function()
    local _, _, ab, ba = support.pair(nil, { stream_window = 65536 })
    local s = assert(ab:open_stream())
    local taken = 0
    local chunk = ("x"):rep(65536)
    s:settimeout(0.3)
    while true do
      local ok, _, code, part = s:write(chunk)
      if not ok then
        assert.equal("TIMEOUT", code)
        taken = taken + part
        break
      end
      taken = taken + #chunk
      assert.is_true(taken < 8 * 1024 * 1024, "no back-pressure")
    end
    assert(s:finish())
    local r = assert(ba:accept_stream(5))
    local size = 0
    for data in r:lines(65536, 5) do
      size = size + #data
    end
    assert.equal(taken, size)
    s:close()
    r:close()
  end)

  it("time out per call, and lose nothing by it", function()
    local _, _, ab, ba = support.pair()
    local s = assert(ab:open_stream())
    assert(s:write("half a li"))
    local r = assert(ba:accept_stream(5))
    local start = antquic.now()
    local data, message, code = r:read("l", 0.2)
    assert.is_nil(data)
    assert.matches("timed out after 0.2 s", message)
    assert.equal("TIMEOUT", code)
    assert.is_true(antquic.now() - start >= 0.2)
    assert.is_true(antquic.now() - start < 1)
    assert(s:write("ne\n"))
    assert.equal("half a line", r:read("l", 5))
    assert.equal("TIMEOUT", select(3, ba:accept_stream(0)))
    assert.equal("TIMEOUT", select(3, ba:receive_datagram(0)))
  end)

  it("are reset and stopped with codes", function()
    local _, _, ab, ba = support.pair()
    local s = assert(ab:open_stream())
    assert(s:write("first"))
    local r = assert(ba:accept_stream(5))
    assert.equal("first", r:read(5, 5))
    assert(s:reset(42))
    local data, _, code = r:read(nil, 5)
    assert.is_nil(data)
    assert.equal("STREAM_RESET", code)
    assert.equal(42, r:info().reset_code)
    assert(s:stop(7))
    support.eventually(function()
      return select(3, r:write("too late")) == "STREAM_STOPPED"
    end)
    assert.equal(7, r:info().stop_code)
    assert.equal("STREAM_FINISHED", select(3, s:write("x")) or select(3, s:write("x")))
  end)

  it("in one direction only", function()
    local _, _, ab, ba = support.pair()
    local s = assert(ab:open_stream({ uni = true }))
    assert(s:write("one way"):finish())
    local r = assert(ba:accept_stream(5))
    assert.is_true(r.uni)
    assert.is_true(r.incoming)
    assert.equal("one way", r:read("a", 5))
    assert.is_nil((r:write("back")))
    assert.is_nil((s:read(1, 0)))
    s:close()
    r:close()
  end)

  it("wait for the peer's limit to open more", function()
    local _, _, ab, ba = support.pair(nil, { max_streams_bidi = 2 })
    local first, second = assert(ab:open_stream()), assert(ab:open_stream())
    local none, message, code = ab:open_stream({ timeout = 0.1 })
    assert.is_nil(none)
    assert.matches("limit of open streams", message)
    assert.equal("TIMEOUT", code)
    assert(first:write("x"):finish())
    local r = assert(ba:accept_stream(5))
    assert.equal("x", r:read("a", 5))
    r:close()
    first:close()
    assert(ab:open_stream({ timeout = 5 }))
    second:close()
  end)

  it("a higher priority goes first", function()
    local _, _, ab, ba = support.pair()
    local block = ("p"):rep(512 * 1024)
    local low = assert(ab:open_stream({ uni = true, priority = -1 }))
    local high = assert(ab:open_stream({ uni = true, priority = 5 }))
    assert(low:write(block):finish())
    assert(high:write(block):finish())
    local order, readers = {}, {}
    for i = 1, 2 do
      local r = assert(ba:accept_stream(5))
      readers[i] = antquic.spawn(function()
        assert.equal(#block, #r:read("a", 10))
        order[#order + 1] = r.number
      end)
    end
    for i = 1, 2 do
      assert(readers[i]:wait(15))
    end
    assert.equal(high:info().id, order[1])
    assert.equal(low:info().id, order[2])
  end)
end)

describe("datagrams on loopback", function()
  it("ten thousand, losses counted", function()
    local _, _, ab, ba = support.pair(nil, { datagram_queue = 16384 })
    local COUNT = 10000
    local received, seen = 0, {}
    local reader = antquic.spawn(function()
      while true do
        local data, _, code = ba:receive_datagram(1)
        if not data then
          return code
        end
        local n = tonumber(data:match("^dgram (%d+)$"))
        if seen[n] then
          error("datagram " .. n .. " came twice")
        end
        seen[n] = true
        received = received + 1
        if received == COUNT then
          return "all"
        end
      end
    end)
    for i = 1, COUNT do
      assert(ab:send_datagram("dgram " .. i, 5))
    end
    local ok, how = reader:wait(20)
    assert.is_true(ok, how)
    support.eventually(function()
      local m = ab:metrics()
      return m.datagrams_acked + m.datagrams_lost >= COUNT
    end)
    local sender, receiver = ab:metrics(), ba:metrics()
    assert.equal(COUNT, sender.datagrams_sent)
    assert.equal(received, receiver.datagrams_received - receiver.datagrams_dropped)
    -- What isn't there is accounted for: lost on the way or dropped in the queue.
    assert.is_true(received >= COUNT - sender.datagrams_lost - receiver.datagrams_dropped)
    assert.is_true(received > COUNT / 2)
  end, 40)

  it("of the wrong size are refused", function()
    local _, _, ab, ba = support.pair()
    local max = ab:metrics().max_datagram
    assert.is_true(max >= 1100)
    local ok, message, code = ab:send_datagram(("x"):rep(65000))
    assert.is_nil(ok)
    assert.equal("TOO_LARGE", code)
    assert.equal("string", type(message))
    assert(ab:send_datagram(("y"):rep(1000)))
    assert.equal(1000, #ba:receive_datagram(5))
  end)
end)
