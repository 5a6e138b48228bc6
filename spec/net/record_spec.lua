-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local it, antquic = support.it, support.antquic
local reader = require("antquic.record.reader")

-- Lines, as a sink for ep:record.
local function tape()
  local lines = {}
  return lines, function(line)
    lines[#lines + 1] = line
  end
end

local function parse(lines)
  return assert(reader.parse(table.concat(lines)))
end

local function count(record, e, type)
  local n = 0
  for _, entry in ipairs(record.entries) do
    if entry.e == e and (not type or entry.type == type or entry.kind == type) then
      n = n + 1
    end
  end
  return n
end

local function find(record, e, type)
  for _, entry in ipairs(record.entries) do
    if entry.e == e and (not type or entry.type == type or entry.kind == type) then
      return entry
    end
  end
end

describe("ep:record", function()
  it("keeps both sides of an attempt, which fit together", function()
    local a, b = support.trio()
    local lines_a, sink_a = tape()
    local lines_b, sink_b = tape()
    local ra, rb = assert(a:record(sink_a)), assert(b:record(sink_b))
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    support.eventually(function()
      return b:connection(a.peer_id)
    end)
    antquic.sleep(0.05)
    assert.is_true(ra:close())
    assert.is_true(ra:close())
    assert.is_true(rb:close())
    conn:close()
    local one, two = parse(lines_a), parse(lines_b)
    assert.same({}, one.problems)
    assert.same({}, two.problems)
    assert.equal("client", one.header.role)
    assert.equal("balanced", one.header.policy)
    local sent, got = find(one, "punch_sent"), find(two, "punch_received")
    assert.equal(sent.pair, got.pair)
    assert.equal("initiator", got.by)
    assert.matches("^%x+$", sent.pair)
    local answer = find(one, "punch_received", "answer")
    assert.is_number(answer.of)
    assert.is_true(count(one, "control_sent", "REQUEST") == 1)
    assert.is_true(count(two, "control_received", "OFFER") == 1)
    assert.is_true(count(one, "candidate") > 0)
    assert.is_true(count(one, "quic_sent", "initial") > 0)
    assert.equal(2, count(one, "event", "step_started"))
    assert.equal(2, count(one, "event", "step_ended"))
    assert.equal("s1", find(one, "session").session)
    for _, record in ipairs({ one, two }) do
      local over = find(record, "explain")
      assert.equal("connected", over.phase)
      assert.is_true(#over.steps > 0 and #over.pairs > 0)
      assert.equal(record == one, over.initiator)
    end
  end)

  it("writes no address, id, key or nonce as it is", function()
    local a, b, c = support.trio()
    local lines, sink = tape()
    local r = assert(a:record(sink))
    assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.is_nil(a:connect(("cd"):rep(32), { timeout = 2 }))
    r:close()
    local text = table.concat(lines)
    for _, ep in ipairs({ a, b, c }) do
      assert.is_nil(text:find(ep.peer_id:hex(), 1, true))
      assert.is_nil(text:find(ep.peer_id:short(), 1, true))
    end
    assert.is_nil(text:find("cdcdcdcd", 1, true))
    local record = parse(lines)
    local port = tonumber(record.header.sockets[1]:match(":(%d+)$"))
    local real = tonumber(support.address(a):match(":(%d+)$"))
    assert.not_equal(real, port)
    assert.equal(0, (real - port) % 1024)
    for _, line in ipairs(lines) do
      for key in line:gmatch('"([%w_]+)":') do
        assert.is_nil(({ cookie = 1, punch_session = 1, key = 1, nonce = 1, data = 1 })[key], line)
      end
    end
  end)

  it("is bounded: the newest are left out, and counted", function()
    local a = support.trio()
    local lines, sink = tape()
    local r = assert(a:record(sink, { max_bytes = 65536 }))
    for i = 1, 80 do
      assert(a:start_traversal(("%064x"):format(i)))
      antquic.sleep(0.001)
    end
    local status = r:status()
    assert.is_true(status.left_out > 0)
    r:close()
    local text = table.concat(lines)
    assert.is_true(#text <= 65536)
    local record = parse(lines)
    assert.matches("did not fit", table.concat(record.problems, "\n"))
    assert.is_true(record.complete)
  end)

  it("writes a file, and ends it with the endpoint", function()
    local path = os.tmpname()
    local a = support.endpoint()
    assert(a:record(path))
    local again, message, code = a:record(path)
    assert.is_nil(again)
    assert.equal("INVAL", code)
    assert.matches("is being written", message)
    a:close()
    local record = assert(reader.load(path))
    os.remove(path)
    assert.is_true(record.complete)
    assert.is_nil(a:record(path))
  end)

  it("can be had again after the first has ended", function()
    local a = support.endpoint()
    local lines, sink = tape()
    for _ = 1, 3 do
      local r = assert(a:record(sink))
      r:close()
    end
    assert.equal(6, #lines)
  end)

  it("says what fails", function()
    local a = support.endpoint()
    local r, message, code = a:record("/nonexistent/folder/record")
    assert.is_nil(r)
    assert.equal("NETWORK", code)
    assert.matches("/nonexistent/folder/record", message)
    assert.error_matches(function()
      a:record(7)
    end, "ep:record: a path or a function is expected, got number")
    assert.error_matches(function()
      a:record("x", { max_bytes = 1 })
    end, "max_bytes")
    r = assert(a:record(function()
      error("the disk is full")
    end))
    local ok
    ok, message, code = r:close()
    assert.is_nil(ok)
    assert.equal("NETWORK", code)
    assert.matches("the disk is full", message)
    assert.matches("the disk is full", r:status().error)
  end)

  it("takes every step, and what it is asked to do", function()
    local a, b = support.trio({
      policy = antquic.policy.extend(antquic.policy.balanced, {
        connect = function(s)
          s:dial({ "127.0.0.1:9", timeout = 0.05 })
          assert(s:coordinate({ via = s.coordinators[1] }))
          return s:fresh({ sockets = 1, via = s.coordinators[1] })
        end,
      }),
    })
    local lines, sink = tape()
    local r = assert(a:record(sink))
    local conn, message = a:connect(b.peer_id, { timeout = 5 })
    assert.is_truthy(conn, message)
    assert.is_true(r:close())
    local started = {}
    for _, entry in ipairs(parse(lines).entries) do
      if entry.kind == "step_started" then
        started[#started + 1] = entry
      end
    end
    assert.equal("dial", started[1].step)
    assert.matches("^127%.0%.0%.1:9$", started[1].what.addrs[1])
    assert.matches("^c%d$", started[2].what.via[1])
    assert.equal("fresh", started[3].step)
    assert.equal(1, started[3].what.sockets)
    assert.matches("^c%d$", started[3].what.via[1])
  end)

  it("never harms what it tells of", function()
    local a, b = support.trio()
    local r = assert(a:record(function() end))
    r._names.address = function()
      error("a fault of the record")
    end
    assert(a:connect(b.peer_id, { timeout = 5 }))
    local ok, message = r:close()
    assert.is_nil(ok)
    assert.matches("a fault of the record", message)
  end)

  it("writes a profile tamely", function()
    local a = support.endpoint()
    local lines, sink = tape()
    local r = assert(a:record(sink))
    r:profile("local", {
      mapping = "endpoint_independent",
      external = { "8.8.8.8:5000", "2a02:8071::5" },
      block = { base = 4608, size = 512 },
    })
    r:close()
    local entry = find(parse(lines), "profile")
    assert.equal("endpoint_independent", entry.profile.mapping)
    assert.matches("^198%.18%.1%.1:%d+$", entry.profile.external[1])
    assert.equal("2001:db8:0:1::1", entry.profile.external[2])
    local port = tonumber(entry.profile.external[1]:match("%d+$"))
    assert.equal(port - 392, entry.profile.block.base)
    assert.equal(512, entry.profile.block.size)
  end)
end)

describe("steps", function()
  it("are events, with their reasons", function()
    local a, b = support.trio()
    local sub = a:subscribe({ "step_started", "step_ended", "phase_transition" })
    assert(a:connect(b.peer_id, { timeout = 5 }))
    assert.is_nil(a:connect(("ef"):rep(32), { timeout = 2 }))
    local seen, first, reasons = {}, {}, {}
    while true do
      local ev = sub:next(0.05)
      if not ev then
        break
      end
      assert.is_number(ev.session)
      assert.is_truthy(ev.peer_id)
      if ev.kind == "phase_transition" then
        assert.is_string(ev.text)
        reasons[ev.to] = ev.reason or reasons[ev.to] or "none"
      else
        seen[#seen + 1] = ("%s %s %s"):format(ev.kind, ev.step, ev.error or "ok")
      end
    end
    for i = 1, 6 do
      first[i] = seen[i]
    end
    assert.same({
      "step_started coordinate ok",
      "step_ended coordinate ok",
      "step_started punch ok",
      "step_ended punch ok",
      "step_started coordinate ok",
      "step_ended coordinate UNKNOWN_TARGET",
    }, first)
    assert.equal("connection_established", reasons.connected)
    assert.equal("network_error", reasons.failed)
    assert.equal("network_error", reasons.discovery)
  end)
end)
