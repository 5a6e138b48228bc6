-- SPDX-License-Identifier: MIT
--
-- Attempts of the simulator are recorded; from the records alone the networks are
-- found again that they were made in.

for name in pairs(package.loaded) do
  if name == "antquic" or name:match("^antquic%.") then
    package.loaded[name] = nil
  end
end

local antquic = require("antquic")
local infer = require("antquic.replay.infer")
local json = require("antquic.json")
local model = require("antquic.trace.model")
local reader = require("antquic.record.reader")
local replay = require("antquic.replay")

-- An attempt from behind |a| to behind |b|; the records of both.
local function recorded(a, b, options)
  options = options or {}
  local sim = antquic.sim({ seed = options.seed or 11, delay = 0.015, trace = false })
  for i = 1, options.coordinators or 2 do
    sim:coordinator("c" .. i, { link = { delay = 0.005 }, can_relay = options.relays or false })
  end
  local shared = options.shared and sim:nat(a)
  local alice = sim:peer("alice", { nat = shared or a, policy = options.policy })
  local bob = sim:peer("bob", { nat = shared or b, policy = options.policy }):echo()
  local lines = { {}, {} }
  local ok
  sim:run(function()
    local recorders = {}
    for i, host in ipairs({ alice, bob }) do
      recorders[i] = assert(host.ep:record(function(line)
        table.insert(lines[i], line)
      end))
    end
    sim:ready(1.5)
    antquic.sleep(options.wait or 2)
    ok = alice.ep:connect(bob.id, { timeout = options.timeout or 10 }) ~= nil
    antquic.sleep(0.5)
    for _, recorder in ipairs(recorders) do
      assert(recorder:close())
    end
  end)
  sim:close()
  local records = {}
  for i = 1, 2 do
    records[i] = assert(reader.parse(table.concat(lines[i])))
    assert.same({}, records[i].problems)
  end
  return records, ok
end

local function names(list)
  local out = {}
  for _, c in ipairs(list) do
    out[c.name] = true
  end
  return out
end

-- What can't be told from the type by an attempt.
local LIKE = { linux_reject = "linux" }

describe("a replay", function()
  it("knows a relayed connection, whose target had several sessions", function()
    local records, ok =
      recorded("sym_rand", "sym_rand", { relays = true, coordinators = 1, wait = 0.1 })
    assert.is_true(ok)
    for _, order in ipairs({ records, { records[2], records[1] } }) do
      local ladders = assert(model.ladders(order))
      local fates = {}
      for _, arrow in ipairs(ladders[1].arrows) do
        if arrow.kind == "quic" and arrow.type == "1rtt" then
          local fate = arrow.what:match("^arrived after") or arrow.fate
          fates[fate] = (fates[fate] or 0) + 1
        end
      end
      assert.is_true((fates["arrived after"] or 0) >= 8, json.encode(fates))
      assert.is_nil(fates.lost)
      local m = infer.of(ladders[1])
      assert.equal("failed", m.outcome)
      assert.is_true(m.relayed)
      assert.equal(0, m.loss)
    end
  end)

  -- Both ends of the table: easy, hard, and not at all.
  for _, pair in ipairs({
    { "linux", "port_restr" },
    { "none", "fw_only" },
    { "full_cone", "addr_restr" },
    { "sym_rand", "port_restr" },
    { "sym_rand", "sym_rand" },
    { "sym_seq", "port_restr" },
    { "adm_apdf", "sym_eif" },
    { "linux_open", "sym_adf" },
    { "addr_restr", "linux_reject" },
  }) do
    local a, b = pair[1], pair[2]
    it(("finds %s and %s again"):format(a, b), function()
      local records, ok = recorded(a, b)
      for _, given in ipairs({ records, { records[1] }, { records[2] } }) do
        local ladders = assert(model.ladders(given))
        local m = infer.of(ladders[1])
        assert.equal(ok and "connected" or "failed", m.outcome)
        local one, other = replay.candidates(m.a), replay.candidates(m.b)
        local who = ("%d records, %s %s"):format(#given, m.a.name, m.b.name)
        assert.is_true(names(one)[LIKE[a] or a], who .. ": " .. a)
        assert.is_true(names(other)[LIKE[b] or b], who .. ": " .. b)
        assert.is_nil(names(one).udp_blocked)
        if #given == 2 then
          -- The profiles leave little open.
          assert.is_true(#one <= 3 and #other <= 3, who)
          -- Where they never met, the coordinator's share can't be told.
          local share = ok and 0.003 or 0.007
          assert.is_true(math.abs(m.delay.a - 0.015) < share, who .. m.delay.a)
          assert.is_true(math.abs(m.delay.b - 0.015) < share, who .. m.delay.b)
        end
      end
      local out = replay.run(assert(model.ladders(records))[1], { trials = 10, seed = 3 })
      assert.equal("balanced", out.recorded)
      local found = false
      for _, fit in ipairs(out.pairs) do
        found = found or (fit.a.name == (LIKE[a] or a) and fit.b.name == (LIKE[b] or b))
      end
      assert.is_true(found)
      assert.equal(10 * #out.pairs, out.now.trials)
      if ok then
        assert.is_true(out.now.direct > 0)
      else
        assert.equal(0, out.now.direct)
      end
    end)
  end

  it("tells what another policy would have done", function()
    local records, ok =
      recorded("sym_rand", "port_restr", { policy = antquic.policy.quick, wait = 0 })
    assert.is_false(ok)
    local ladder = assert(model.ladders(records))[1]
    local out = replay.run(ladder, { trials = 20, seed = 1, policy = antquic.policy.balanced })
    assert.equal("quick", out.recorded)
    assert.equal(0, out.now.direct)
    assert.is_true(out.other.direct >= 18)
    -- The same seeds, the same answer.
    local again = replay.run(ladder, { trials = 20, seed = 1, policy = antquic.policy.balanced })
    assert.equal(json.encode(out.other_rows), json.encode(again.other_rows))
  end)

  it("runs any policy", function()
    local records, ok = recorded("sym_rand", "port_restr")
    assert.is_true(ok)
    local no_guess = antquic.policy.extend(antquic.policy.balanced, {
      name = "no_guess",
      connect = function(s)
        local plan, message, code = s:coordinate()
        if not plan then
          return nil, message, code
        end
        return s:punch({ pairs = plan:pairs() })
      end,
    })
    local ladder = assert(model.ladders({ records[1] }))[1]
    local out = replay.run(ladder, { trials = 10, seed = 1, policy = no_guess })
    assert.is_true(out.now.direct >= 8)
    assert.equal(0, out.other.direct)
  end)

  it("tries every kind of what is unknown, and keeps what gives what happened", function()
    -- One coordinator and no profile: it tells neither mapping nor filter.
    local records, ok = recorded("sym_rand", "sym_rand", { coordinators = 1, wait = 0 })
    assert.is_false(ok)
    local bare = {}
    for i, record in ipairs(records) do
      bare[i] = { header = record.header, problems = {}, complete = true, entries = {} }
      for _, entry in ipairs(record.entries) do
        if entry.e ~= "profile" and entry.e ~= "observe_received" then
          entry.profile = nil
          table.insert(bare[i].entries, entry)
        end
      end
    end
    local ladder = assert(model.ladders({ bare[1] }))[1]
    local out = replay.run(ladder, { trials = 2, seed = 1 })
    assert.equal("unknown", out.model.a.filtering.how)
    assert.is_true(#out.candidates.a > 5)
    local fits = {}
    for _, pair in ipairs(out.pairs) do
      fits[pair.a.name .. ":" .. pair.b.name] = true
    end
    assert.is_true(fits["sym_rand:sym_rand"])
    assert.is_nil(fits["full_cone:full_cone"])
    assert.is_true(#out.pairs < out.combinations)
  end)

  it("has the blocks of both", function()
    local head = '{"antquic_record":1,"version":"0.1.0"}\n'
    local rec = assert(reader.parse(head .. table.concat({
      '{"t":0,"e":"session","session":"s1","peer":"p2"}',
      '{"t":0,"e":"profile","side":"local",'
        .. '"profile":{"allocation":"block","block":{"base":2048,"size":512}}}',
      '{"t":0,"e":"control_received","session":"s1","type":"ANSWER",'
        .. '"profile":{"allocation":"block","block_size":256}}',
    }, "\n") .. "\n"))
    local m = infer.of(assert(model.ladders({ rec }))[1])
    assert.equal(512, m.a.block_size)
    assert.equal(256, m.b.block_size)
  end)

  it("takes nonsense for unknown", function()
    local head = '{"antquic_record":1,"nodes":[5,{"rtt":"x"},{"rtt":-1}]}\n'
    local rec = assert(reader.parse(head .. table.concat({
      '{"t":0,"e":"session","session":"s1","timeout":"long"}',
      '{"t":0,"e":"profile","side":"local","profile":7}',
      '{"t":0.5,"e":"punch_received","session":"s1","seq":{},"remote":9}',
      '{"t":1,"e":"control_received","session":"s1","type":"ANSWER","rtt":1e99,'
        .. '"profile":{"mapping":{},"allocation":"sequential","step":1e9,"block_size":0.5}}',
      '{"t":2,"e":"event","kind":"traversal_failed","session":"s1","error":"TIMEOUT"}',
    }, "\n") .. "\n"))
    local ladder = assert(model.ladders({ rec }))[1]
    local m = infer.of(ladder)
    assert.equal("unknown", m.a.mapping.how)
    assert.equal("unknown", m.b.mapping.how)
    assert.equal("sequential", m.b.ports.values[1])
    assert.is_nil(m.b.step)
    assert.is_nil(m.b.block_size)
    assert.equal(10, m.timeout)
    assert.is_true(m.delay.b <= 30)
    assert.is_true(replay.run(ladder, { trials = 1, seed = 1 }).combinations > 1)
  end)

  it("knows one NAT before both", function()
    local records = recorded("port_restr", nil, { shared = true })
    local out = replay.run(assert(model.ladders(records))[1], { trials = 5, seed = 1 })
    assert.is_true(out.model.shared)
    for _, pair in ipairs(out.pairs) do
      assert.equal(pair.a, pair.b)
    end
    assert.is_true(out.now.direct > 0)
  end)

  it("says that UDP is blocked where nothing came in", function()
    local records, ok = recorded("udp_blocked", "none", { timeout = 4 })
    assert.is_false(ok)
    local out = replay.run(assert(model.ladders({ records[1] }))[1], { trials = 2, seed = 1 })
    assert.is_true(out.model.a.blocked)
    assert.equal(0, out.now.direct)
  end)

  it("is not stopped by a record that doesn't tell the end, or an unknown policy", function()
    local records = recorded("linux", "linux")
    local cut = { header = records[1].header, problems = {}, complete = false, entries = {} }
    for _, entry in ipairs(records[1].entries) do
      if entry.e ~= "explain" and entry.kind ~= "traversal_succeeded" then
        table.insert(cut.entries, entry)
      end
      if entry.e == "session" then
        entry.policy = "mine"
      end
    end
    local out = replay.run(assert(model.ladders({ cut }))[1], { trials = 2, seed = 1 })
    assert.equal("running", out.model.outcome)
    assert.same({}, out.pairs)
    out = replay.run(assert(model.ladders({ records[1] }))[1], { trials = 2, seed = 1 })
    assert.is_nil(out.recorded)
    assert.equal(out.now.trials, out.now.direct)
  end)
end)
