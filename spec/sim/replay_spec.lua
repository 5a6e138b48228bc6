-- SPDX-License-Identifier: MIT
--
-- An attempt is recorded, and its record alone is run again.

local antquic = require("antquic")
local reader = require("antquic.record.reader")
local replay = require("antquic.record.replay")

-- Connects behind two types of NAT and gives the record of who dialed.
local function record(a, b, delay)
  local lines = {}
  local sim <close> = antquic.sim({ seed = 3, delay = delay })
  sim:coordinator("carol")
  sim:coordinator("dave")
  local alice = sim:peer("alice", { nat = a })
  local bob = sim:peer("bob", { nat = b }):echo()
  local took
  sim:run(function()
    sim:ready()
    antquic.sleep(2)
    local recorder = assert(alice.ep:record(function(line)
      lines[#lines + 1] = line
    end))
    local begun = antquic.now()
    alice.ep:connect(bob.id, { timeout = 10 })
    took = antquic.now() - begun
    antquic.sleep(0.5)
    recorder:close()
  end)
  return assert(reader.parse(table.concat(lines, "\n") .. "\n")), took
end

local function share(results)
  local n = 0
  for _, r in ipairs(results) do
    n = n + (r.ok and 1 or 0)
  end
  return n / #results
end

describe("a replay", function()
  it("knows the NATs and the ways, and ends alike", function()
    local rec, took = record("port_restr", "linux", 0.025)
    local model = assert(replay.model(rec))
    assert.equal("ei", model.a.nat.mapping)
    assert.equal("apd", model.a.nat.filtering)
    assert.equal("random", model.a.nat.ports)
    assert.equal("preserve", model.b.nat.ports)
    assert.same({}, model.a.assumed)
    assert.is_true(model.ok)
    assert.is_true(math.abs(model.took - took) < 0.005, model.took)
    local results = replay.run(model, { trials = 10, seed = 1 })
    assert.equal(1, share(results))
    for _, r in ipairs(results) do
      assert.is_true(math.abs(r.ms - took * 1e3) < 30, r.ms .. " ms, then " .. took * 1e3)
    end
  end)

  it("of what could not work says so again, and what would", function()
    local rec = record("sym_rand", "sym_rand", 0.01)
    local model = assert(replay.model(rec))
    assert.is_false(model.ok)
    assert.equal("apd", model.a.nat.mapping)
    assert.equal(0, share(replay.run(model, { trials = 5, seed = 1 })))
    model.b.nat = { mapping = "ei", filtering = "apd", ports = "random" }
    assert.is_true(share(replay.run(model, { trials = 10, seed = 1 })) >= 0.8)
  end)

  it("runs another policy", function()
    local rec = record("sym_rand", "port_restr", 0.01)
    local model = assert(replay.model(rec))
    assert.is_true(model.ok)
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
    assert.is_true(share(replay.run(model, { trials = 10, seed = 1 })) >= 0.8)
    assert.equal(0, share(replay.run(model, { trials = 5, seed = 1, policy = no_guess })))
  end)

  it("says what it assumes, and what is missing", function()
    local head = '{"antquic_record":1,"version":"0.1.0"}\n'
    local rec = assert(reader.parse(head .. '{"t":0,"e":"session","session":"s1","peer":"p2"}\n'))
    local model = assert(replay.model(rec))
    assert.is_nil(model.ok)
    assert.equal(4, #model.a.assumed)
    assert.equal(4, #model.b.assumed)
    local none, message = replay.model(rec, "s9")
    assert.is_nil(none)
    assert.matches("s9", message)
    rec = assert(reader.parse(head .. '{"t":0,"e":"event","kind":"bootstrap_connected"}\n'))
    none, message = replay.model(rec)
    assert.is_nil(none)
    assert.matches("no attempt", message)
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
    local model = assert(replay.model(rec))
    assert.equal(512, model.a.nat.block_size)
    assert.equal(256, model.b.nat.block_size)
  end)

  it("takes nonsense for unknown", function()
    local head = '{"antquic_record":1,"nodes":[5,{"rtt":"x"},{"rtt":-1}]}\n'
    local rec = assert(reader.parse(head .. table.concat({
      '{"t":0,"e":"session","session":"s1","timeout":"long"}',
      '{"t":0,"e":"profile","side":"local","profile":7}',
      '{"t":0,"e":"profile","side":"remote",'
        .. '"profile":{"mapping":{},"allocation":"sequential","step":1e9}}',
      '{"t":1,"e":"control_received","type":"ANSWER","rtt":1e99}',
    }, "\n") .. "\n"))
    local model = assert(replay.model(rec))
    assert.equal("ei", model.b.nat.mapping)
    assert.equal(1, model.b.nat.step)
    assert.equal(1, #replay.run(model, { trials = 1, seed = 1 }))
  end)
end)
