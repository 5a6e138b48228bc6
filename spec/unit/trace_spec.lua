-- SPDX-License-Identifier: MIT

package.loaded["antquic.core"] = nil
for name in pairs(package.loaded) do
  if name:match("^antquic%.") then
    package.loaded[name] = nil
  end
end

local html = require("antquic.trace.html")
local infer = require("antquic.replay.infer")
local items = require("antquic.trace.items")
local json = require("antquic.json")
local model = require("antquic.trace.model")
local reader = require("antquic.record.reader")

local HEAD = {
  antquic_record = 1,
  version = "0.1.0",
  role = "client",
  policy = "balanced",
  sockets = { "0.0.0.0:5000" },
  nodes = { { address = "198.18.1.1:9000", connected = true, can_coordinate = true, rtt = 0.04 } },
}

local function record(head, entries)
  local lines = { json.encode(head) }
  for _, entry in ipairs(entries) do
    lines[#lines + 1] = json.encode(entry)
  end
  return assert(reader.parse(table.concat(lines, "\n") .. "\n"))
end

local C, PAIR = "198.18.1.1:9000", "00112233aabbccdd"

-- What the initiator saw of an attempt that works. Its clock begins at 0.
local function initiator()
  local out = {
    { t = 0, e = "session", session = "s1", peer = "p2", policy = "balanced" },
    { t = 0, e = "event", kind = "phase_transition", session = "s1", to = "coordination" },
    { t = 0, e = "control_sent", type = "REQUEST", session = "s1", remote = C, conn = "c1" },
    { t = 0.04, e = "control_received", type = "ANSWER", session = "s1", remote = C, conn = "c1" },
    { t = 0.04, e = "candidate", address = "198.18.2.1:7000", remote = C, conn = "c1" },
    { t = 0.04, e = "event", kind = "phase_transition", session = "s1", to = "punching" },
    { t = 0.041, e = "punch_sent", type = "opener", ttl = 2, seq = 1, by = "initiator" },
    { t = 0.046, e = "punch_sent", type = "probe", seq = 2, by = "initiator" },
    { t = 0.066, e = "punch_sent", type = "probe", seq = 3, by = "initiator" },
    { t = 0.07, e = "punch_refused", type = "probe", seq = 4, text = "punch_target" },
    { t = 0.07, e = "punch_received", type = "answer", seq = 8, of = 2, by = "target" },
    { t = 0.071, e = "dial", remote = "198.18.2.1:7000", conn = "c2" },
    { t = 0.072, e = "quic_sent", type = "initial", len = 1200, mark = 77, conn = "c2" },
    { t = 0.12, e = "dial_ended", remote = "198.18.2.1:7000", conn = "c2" },
    { t = 0.12, e = "event", kind = "traversal_succeeded", conn = "c2" },
    {
      t = 0.12,
      e = "explain",
      phase = "connected",
      initiator = true,
      steps = {
        { step = "coordinate", at = 0, duration = 0.04, address = C, sent = 0, received = 0 },
        { step = "punch", at = 0.04, duration = 0.08, won = true, sent = 3, received = 1 },
      },
      pairs = { { remote = "198.18.2.1:7000", state = "succeeded", sent = 3, received = 1 } },
    },
    { t = 0.15, e = "punch_sent", type = "answer", seq = 5, by = "initiator" },
    { t = 1, e = "end" },
  }
  for _, entry in ipairs(out) do
    if entry.e ~= "end" and entry.e ~= "candidate" and not entry.session then
      entry.session = "s1"
    end
    if entry.e:find("^punch") then
      entry.pair, entry.remote, entry["local"] = PAIR, "198.18.2.1:7000", "0.0.0.0:5000"
      entry.by = entry.by or "initiator"
    end
  end
  return out
end

-- The target's clock is 100 s later; a datagram takes 20 ms.
local function target()
  local late, way = 100, 0.02
  local out = {
    { t = 0.04, e = "control_received", type = "OFFER", remote = C, conn = "c1" },
    { t = 0.046 + way, e = "punch_received", type = "probe", seq = 2, by = "initiator" },
    { t = 0.07 - way, e = "punch_sent", type = "answer", seq = 8, of = 2, by = "target" },
    { t = 0.072 + way, e = "quic_received", type = "initial", len = 1200, mark = 77 },
    { t = 0.15 + way, e = "punch_dropped", seq = 5, by = "initiator", text = "unknown session" },
    { t = 0.12, e = "explain", session = "s1", phase = "connected", initiator = false },
  }
  for _, entry in ipairs(out) do
    entry.t = entry.t + late
    if entry.e ~= "control_received" then
      entry.session = entry.e ~= "punch_dropped" and "s1" or nil
    end
    if entry.e:find("^punch") then
      entry.pair, entry.remote = PAIR, "198.18.3.1:5000"
    else
      entry.pair = entry.type == "OFFER" and PAIR or nil
    end
  end
  return out
end

local function fates(ladder)
  local out = {}
  for _, arrow in ipairs(ladder.arrows) do
    out[("%s %d>%d"):format(arrow.label, arrow.from, arrow.to)] = arrow.fate
  end
  return out
end

describe("the ladder", function()
  it("of one record tells what one side can know", function()
    local ladders = assert(model.ladders({ record(HEAD, initiator()) }))
    assert.equal(1, #ladders)
    local ladder = ladders[1]
    local fate = fates(ladder)
    assert.equal("connected", ladder.outcome)
    assert.equal("expired", fate["opener 1 1>5"])
    assert.equal("arrived", fate["probe 2 1>5"]) -- it was answered
    assert.equal("unknown", fate["probe 3 1>5"])
    assert.equal("refused", fate["probe 4 1>5"])
    assert.equal("arrived", fate["answer 8 5>1"])
    assert.equal("unknown", fate["initial, 1200 bytes 1>5"])
    assert.equal("arrived", fate["REQUEST 1>3"])
    assert.equal("arrived", fate["ANSWER 3>1"])
    assert.equal("coordination", ladder.phases[1].name)
    assert.equal(0.04, ladder.phases[1].to)
    assert.equal(2, #ladder.told)
    assert.equal("coordinate", ladder.told[1].step)
  end)

  it("of an attempt that moved a connection is over when its phases say so", function()
    local function told(...)
      local entries = initiator()
      for i, phase in ipairs({ ... }) do
        local entry = { t = 5 + i, e = "event", kind = "phase_transition", session = "s2" }
        entry.to, entry.text = phase, "because of " .. phase
        table.insert(entries, #entries, entry)
      end
      local ladders = assert(model.ladders({ record(HEAD, entries) }))
      assert.equal(2, #ladders)
      return ladders[2].told
    end
    local moved = told("punching", "connected")
    assert.equal("connected", moved.outcome)
    assert.equal("attempt s2: connected after 1.000 s: because of connected", moved.title)
    assert.equal("failed", told("punching", "failed").outcome)
    assert.equal("running", told("coordination", "punching").outcome)
  end)

  it("of both records tells what became of each datagram, whatever their clocks", function()
    for _, order in ipairs({ { initiator, target }, { target, initiator } }) do
      local ladders = assert(model.ladders({ record(HEAD, order[1]()), record(HEAD, order[2]()) }))
      local ladder = ladders[1]
      local fate = fates(ladder)
      assert.equal("initiator", ladder.lanes[1].title)
      assert.equal("arrived", fate["probe 2 1>5"])
      assert.equal("lost", fate["probe 3 1>5"])
      assert.equal("expired", fate["opener 1 1>5"])
      assert.equal("refused", fate["probe 4 1>5"])
      assert.equal("arrived", fate["answer 8 5>1"])
      assert.equal("arrived", fate["initial, 1200 bytes 1>5"])
      assert.equal("dropped", fate["answer 5 1>5"])
      assert.matches("both ways", ladder.clock)
      for _, arrow in ipairs(ladder.arrows) do
        assert.is_true(arrow.t2 >= arrow.t1, arrow.label)
        if arrow.fate == "arrived" and arrow.kind ~= "control" then
          assert.is_true(math.abs(arrow.t2 - arrow.t1 - 0.02) < 1e-6, arrow.label)
        end
      end
      -- Each datagram once.
      local seen = {}
      for _, arrow in ipairs(ladder.arrows) do
        local key = arrow.label .. arrow.from .. arrow.to
        assert.is_nil(seen[key], key)
        seen[key] = true
      end
    end
  end)

  it("knows copies of one datagram by when they can have come", function()
    local entries, there = initiator(), target()
    local function copy(t, came, mark)
      local sent = { t = t, e = "quic_sent", type = "initial", len = 1200, session = "s1" }
      sent.mark = mark or 77
      table.insert(entries, #entries, sent)
      if came then
        local got = { t = 100 + t + came, e = "quic_received", type = "initial", len = 1200 }
        got.mark, got.session = sent.mark, "s1"
        table.insert(there, #there, got)
      end
    end
    copy(0.1, 0.02)
    copy(0.11)
    copy(0.14, 0.025)
    local ladder = assert(model.ladders({ record(HEAD, entries), record(HEAD, there) }))[1]
    local seen = {}
    for _, arrow in ipairs(ladder.arrows) do
      if arrow.label == "initial, 1200 bytes" then
        local way = arrow.fate == "arrived" and ("%.0f"):format((arrow.t2 - arrow.t1) * 1e3)
        seen[#seen + 1] = ("%.0f %s"):format(arrow.t1 * 1e3, way or arrow.fate)
      end
    end
    assert.same({ "72 20", "100 20", "110 lost", "140 25" }, seen)
  end)

  it("needs attempts, and two records of one", function()
    local none, message, code = model.ladders({ record(HEAD, { { t = 0, e = "end" } }) })
    assert.is_nil(none)
    assert.equal("FORMAT", code)
    assert.matches("no attempt", message)
    local other = initiator()
    for _, entry in ipairs(other) do
      entry.pair = entry.pair and "ffffffffffffffff"
    end
    none, message = model.ladders({ record(HEAD, initiator()), record(HEAD, other) })
    assert.is_nil(none)
    assert.matches("in common", message)
  end)

  it("draws many of a kind close together, and names them once", function()
    local entries = initiator()
    for i = 1, 30 do
      table.insert(entries, #entries, {
        t = 0.08 + i * 1e-5,
        e = "punch_sent",
        type = "opener",
        ttl = 2,
        seq = 100 + i,
        by = "initiator",
        session = "s1",
        pair = PAIR,
      })
    end
    local ladders = assert(model.ladders({ record(HEAD, entries) }))
    local burst, within = 0, 0
    for _, arrow in ipairs(ladders[1].arrows) do
      burst = math.max(burst, arrow.burst or 0)
      within = within + (arrow.in_burst and 1 or 0)
    end
    assert.equal(30, burst)
    assert.equal(29, within)
    local page = html.page(ladders, { record(HEAD, entries) }, { "a" })
    local _, named = page:gsub(">opener 101, TTL 2, and 29 more<", "")
    assert.equal(1, named)
    assert.is_nil(page:find(">opener 102, TTL 2<", 1, true))
  end)

  it("advises as the endpoint would have", function()
    local ladder = assert(model.ladders({
      record(HEAD, {
        { t = 0, e = "session", session = "s1" },
        { t = 1, e = "event", kind = "traversal_failed", session = "s1", error = "UNKNOWN_TARGET" },
        { t = 1, e = "explain", session = "s1", phase = "failed", initiator = true },
      }),
    }))[1]
    assert.equal("failed", ladder.outcome)
    assert.equal("unknown_target", ladder.told.advice[1].code)
  end)
end)

-- Tags of the page in order; fails where they don't nest.
local VOID = { meta = true, input = true }
local function check_nesting(page)
  page = page:gsub("<script>.-</script>", ""):gsub("<style>.-</style>", "")
  page = page:gsub("^<!DOCTYPE html>", "")
  local open, ids = {}, {}
  for slash, name, attributes, closed in page:gmatch("<(/?)([%a%d]+)([^<>]-)(/?)>") do
    if slash == "/" then
      assert.equal(name, table.remove(open))
    elseif closed ~= "/" and not VOID[name] then
      open[#open + 1] = name
    end
    local id = attributes:match('%sid="([^"]*)"')
    if id then
      assert.is_nil(ids[id], id)
      ids[id] = true
    end
    for ref in attributes:gmatch('aria%-labelledby="([^"]*)"') do
      assert.is_truthy(page:find('id="' .. ref .. '"', 1, true), ref)
    end
  end
  assert.same({}, open)
  assert.is_nil(page:gsub("<[^<>]*>", ""):find("[<>]"))
end

local function page_of(...)
  local records, names = { ... }, {}
  for i = 1, #records do
    names[i] = "file" .. i
  end
  local ladders = assert(model.ladders(records))
  return html.page(ladders, records, names), ladders
end

describe("the page", function()
  it("is one file that nests, with an arrow and a row for each datagram", function()
    local page, ladders = page_of(record(HEAD, initiator()), record(HEAD, target()))
    check_nesting(page)
    local _, arrows = page:gsub('<g class="arrow ', "")
    assert.equal(#ladders[1].arrows, arrows)
    local _, rows = page:gsub('<tr id="r1%-', "")
    assert.equal(#items.of(ladders[1]), rows)
    assert.is_truthy(page:find("connected in 120.0 ms", 1, true))
  end)

  it("names the phases that have room for it", function()
    local entries = initiator()
    table.insert(entries, 6, {
      t = 0.04,
      e = "event",
      kind = "phase_transition",
      session = "s1",
      to = "synchronization",
    })
    local page = page_of(record(HEAD, entries))
    assert.matches('class="bandname"[^\n]*>coordination<', page)
    assert.matches('class="bandname"[^\n]*>punching<', page)
    assert.is_nil(page:find('class="bandname"[^\n]*>synchronization<'))
  end)

  it("loads nothing, and lets no other script run", function()
    local page = page_of(record(HEAD, initiator()))
    for _, bad in ipairs({ "http", "//[%w]", " src=", "url%(", "@import", "<link", " on%a+=" }) do
      local body = page:gsub("http%-equiv", "")
      if bad == "//[%w]" or bad == " on%a+=" then
        body = body:gsub("<script>.-</script>", "")
      end
      assert.is_nil(body:find(bad), bad)
    end
    assert.matches("default%-src 'none'", page)
    local hash = page:match("script%-src 'sha256%-([%w+/=]+)'")
    assert.equal(44, #hash)
  end)

  it("is of many attempts, up to a bound, and says what was wrong with the file", function()
    local entries = {}
    for i = 1, 30 do
      entries[#entries + 1] = { t = i, e = "session", session = "s" .. i }
      entries[#entries + 1] = { t = i + 0.5, e = "explain", session = "s" .. i, phase = "failed" }
    end
    local page = page_of(record(HEAD, entries))
    check_nesting(page)
    local _, sections = page:gsub("<section ", "")
    assert.equal(12, sections)
    assert.matches("18 attempts more", page)
    assert.matches("the record has no end", page)
  end)

  it("escapes whatever a file says", function()
    local evil = [[<script>alert("1")</script>'"><img src=x onerror=alert(2)>&amp;]] .. "\0\27\n"
    local entries = initiator()
    for _, entry in ipairs(entries) do
      for _, key in ipairs({ "type", "text", "error", "address", "to", "policy", "peer" }) do
        if entry[key] then
          entry[key] = evil
        end
      end
      entry.text = evil
      entry.remote = entry.remote and evil
      entry["local"] = evil
    end
    entries[#entries - 2].steps =
      { { step = evil, at = 0, duration = 1, error = evil, text = evil } }
    local head = {}
    for key, value in pairs(HEAD) do
      head[key] = value
    end
    head.version, head.sockets, head.nodes = evil, { evil }, { { address = evil, rtt = 0.1 } }
    local page = page_of(record(head, entries))
    check_nesting(page)
    local _, scripts = page:gsub("<script", "")
    assert.equal(1, scripts)
    assert.is_nil(page:find("<img", 1, true))
    assert.is_nil(page:find("[%z\27]"))
    assert.is_nil(page:gsub('="[^"]*"', ""):find("onerror=alert(2)>&", 1, true))
    assert.equal("&lt;&gt;&amp;&quot;&#39;\239\191\189", html.escape("<>&\"'\1"))
  end)

  it("takes any nonsense for a file", function()
    local seed = 42
    local function rand(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % n + 1
    end
    local WORDS = { "s1", "x", "", "punch_sent", "explain", "ANSWER", "opener", "198.18.2.1:7000" }
    local function junk(depth)
      local kind = rand(depth > 2 and 5 or 7)
      if kind == 1 then
        return rand(100000) - 50000
      elseif kind == 2 then
        return true
      elseif kind == 3 then
        return WORDS[rand(#WORDS)]
      elseif kind == 4 then
        return 1e300
      elseif kind == 5 then
        return -0.5
      end
      local out = {}
      for _ = 1, rand(3) do
        out[kind == 6 and #out + 1 or WORDS[rand(#WORDS)]] = junk(depth + 1)
      end
      return out
    end
    local drawn = 0
    for _ = 1, 40 do
      local head = {}
      for key, value in pairs(HEAD) do
        head[key] = rand(3) == 1 and key ~= "antquic_record" and junk(0) or value
      end
      local lists = { initiator(), target() }
      for _, entries in ipairs(lists) do
        for _, entry in ipairs(entries) do
          for key in pairs(entry) do
            if key ~= "e" and rand(6) == 1 then
              entry[key] = junk(0)
            end
          end
          if rand(8) == 1 then
            entry[WORDS[rand(#WORDS)]] = junk(0)
          end
        end
      end
      local one, two = record(head, lists[1]), record(HEAD, lists[2])
      for _, records in ipairs({ { one }, { one, two } }) do
        local ladders = model.ladders(records)
        if ladders then
          drawn = drawn + 1
          check_nesting(html.page(ladders, records, { "a", "b" }))
          for _, ladder in ipairs(ladders) do
            tostring(ladder.told)
            json.encode(infer.plain(infer.of(ladder)))
          end
        end
      end
    end
    assert.is_true(drawn > 40)
  end)
end)
