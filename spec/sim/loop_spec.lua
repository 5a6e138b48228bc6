-- SPDX-License-Identifier: MIT
--
-- The loop of a simulation keeps the contract of every scheduler, and leaves
-- nothing behind.

local contract = require("spec.sched.contract")
local fake = require("spec.unit.fake")

local made
contract("simulation", {
  load = function()
    fake.unload()
    local antquic = require("antquic")
    made = antquic.sim({ seed = 1 })
    antquic.sched.use(made._loop)
    return antquic, made._loop
  end,
  drive = function(_, fn)
    return require("antquic").run(fn)
  end,
  unload = function()
    made:close()
    fake.unload()
  end,
})

-- Raises, with |pattern| somewhere in the text.
local function fails(pattern, fn, ...)
  local ok, text = pcall(fn, ...)
  assert.is_false(ok)
  assert(tostring(text):find(pattern), text)
end

describe("a simulation", function()
  local antquic = require("antquic")
  local live = antquic.sched.current()

  it("gives back what main returned, and goes on where it stood", function()
    local sim <close> = antquic.sim()
    assert.same({ "a", nil, 3 }, {
      sim:run(function(...)
        antquic.sleep(100)
        return ...
      end, "a", nil, 3),
    })
    assert.is_true(sim:now() >= 100 and sim:now() < 100.001)
    local left = sim:run(function()
      antquic.sleep(1)
      return antquic.now()
    end)
    assert.is_true(left - 102 < 0.001)
  end)

  it("gives the live scheduler back, after an error too", function()
    local sim <close> = antquic.sim()
    fails("as planned", function()
      sim:run(function()
        assert.are_not.equal(live, antquic.sched.current())
        error("as planned")
      end)
    end)
    assert.equal(live, antquic.sched.current())
    sim:run(function() end)
    assert.equal(live, antquic.sched.current())
  end)

  it("runs inside a live task, with a live endpoint open", function()
    antquic.run(function()
      local ep <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0" }))
      local sim <close> = antquic.sim()
      local start, real = antquic.now(), os.time()
      sim:run(function()
        antquic.sleep(3600)
      end)
      assert.is_true(os.time() - real < 10)
      assert.is_true(antquic.now() - start < 10)
      assert.equal(live, antquic.sched.current())
      assert.equal("string", type(ep:local_addresses()[1]))
    end)
    assert.same({ 0, 0 }, { live.live() })
  end)

  it("raises the error of a task that nobody waited for", function()
    local sim <close> = antquic.sim()
    fails("in the dark", function()
      sim:run(function()
        antquic.spawn(function()
          error("in the dark")
        end)
        antquic.sleep(1)
      end)
    end)
    -- Said once.
    sim:run(function() end)
  end)

  it("calls what is due, in order of time", function()
    local sim <close> = antquic.sim()
    local log = {}
    for _, at in ipairs({ 3, 1, 2 }) do
      sim:at(at, function()
        log[#log + 1] = ("%.3f"):format(sim:now())
      end)
    end
    sim:run(antquic.sleep, 2.5)
    assert.same({ "1.000", "2.000" }, log)
    sim:run(antquic.sleep, 1)
    assert.equal("3.000", log[3])
  end)

  it("is given up at its limit", function()
    local sim <close> = antquic.sim({ limit = 60 })
    sim:coordinator("c")
    fails("limit", function()
      sim:run(function()
        antquic.sleep(100)
      end)
    end)
    assert.equal(live, antquic.sched.current())
  end)

  it("says so when nothing can wake anybody", function()
    local sim <close> = antquic.sim()
    fails("nothing is left that could wake", function()
      sim:run(function()
        require("antquic.task").cond():wait()
      end)
    end)
  end)

  it("refuses what it doesn't know", function()
    local sim <close> = antquic.sim()
    fails("unknown option 'sed'", antquic.sim, { sed = 1 })
    fails("no link 'wifi'", antquic.sim, { link = "wifi" })
    fails("no NAT type 'cone'", sim.peer, sim, "a", { nat = "cone" })
    fails("unknown option 'idel'", sim.nat, sim, { "linux", idel = 3 })
    fails("unknown option 'natt'", sim.peer, sim, "a", { natt = "linux" })
    fails("'policy'", sim.peer, sim, "a", { policy = 3 })
    fails("unknown option 'delai'", sim.host, sim, "a", { link = { delai = 3 } })
    fails("must be from 0 to 1", sim.host, sim, "a", { link = { loss = 3 } })
    fails("seconds are expected", sim.at, sim, -1, print)
    fails("already runs", sim.run, sim, function()
      sim:run(function() end)
    end)
    fails("belongs to a host", sim.run, sim, function()
      antquic.endpoint()
    end)
    sim:close()
    fails("is closed", sim.run, sim, function() end)
  end)

  it("takes a program for the real network as it is", function()
    local sim <close> = antquic.sim({ delay = 0.01 })
    local c = sim:coordinator("c")
    local node = c:address()
    local function program(target)
      local ep <close> = assert(antquic.endpoint({ bootstrap_nodes = { node } }))
      if not target then
        local id = ep.peer_id
        local conn = assert(ep:accept(10))
        local stream = assert(conn:accept_stream(10))
        local line = stream:read("l", 10)
        conn:wait_closed(10)
        return line, id
      end
      local conn = assert(ep:connect(target, { timeout = 10 }))
      assert(conn:open_stream()):write("hello\n"):finish()
      conn:shutdown()
    end
    local a, b = sim:host("a", { nat = "port_restr" }), sim:host("b", { nat = "linux" })
    sim:run(function()
      local listener = b:spawn(program)
      antquic.sleep(1)
      assert(a:spawn(program, b.ep.peer_id):wait(20))
      local ok, line = listener:wait(20)
      assert.is_true(ok, line)
      assert.equal("hello", line)
    end)
  end)
end)
