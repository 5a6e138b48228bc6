-- SPDX-License-Identifier: MIT

local contract = require("spec.sched.contract")
local fake = require("spec.unit.fake")

local function drive(_, fn)
  return require("antquic").run(fn)
end

contract("loop, virtual time", {
  load = function()
    local antquic = fake.load()
    local loop = require("antquic.sched.loop")
    antquic.sched.use(loop)
    return antquic, loop
  end,
  drive = drive,
  unload = fake.unload,
})

contract("loop, real time", {
  load = function()
    fake.unload()
    local antquic = require("antquic")
    local loop = require("antquic.sched.loop")
    antquic.sched.use(loop)
    return antquic, loop
  end,
  drive = drive,
  unload = fake.unload,
})

describe("loop", function()
  local antquic, loop
  before_each(function()
    antquic = fake.load()
    loop = require("antquic.sched.loop")
  end)
  after_each(fake.unload)

  it("gives back the results of run, and raises its error", function()
    assert.same({ 1, nil, 3 }, { antquic.run(function(...)
      return ...
    end, 1, nil, 3) })
    assert.error_matches(function()
      antquic.run(function()
        error("as planned")
      end)
    end, "as planned")
    local thing = {}
    local ok, err = pcall(antquic.run, function()
      error(thing)
    end)
    assert.is_false(ok)
    assert.equal(thing, err)
  end)

  it("isn't re-entrant", function()
    antquic.run(function()
      assert.has_error(function()
        antquic.run(function() end)
      end)
      assert.has_error(function()
        loop.turn(0)
      end)
    end)
  end)

  it("says so when nothing can wake anybody", function()
    local ok, message = pcall(antquic.run, function()
      loop.park({})
    end)
    assert.is_false(ok)
    assert.matches("nothing is left that could wake", message)
  end)

  it("turns by itself where a call waits outside a task", function()
    local start = loop.now()
    local ran
    antquic.spawn(function()
      ran = true
    end)
    antquic.sleep(0.5)
    assert.is_true(loop.now() >= start + 0.5)
    assert.is_true(ran)
  end)

  it("refuses to wait in a coroutine that is not a task", function()
    antquic.run(function()
      local co = coroutine.create(function()
        antquic.sleep(0.1)
      end)
      local ok, message = coroutine.resume(co)
      assert.is_false(ok)
      assert.matches("not a task", message)
    end)
  end)

  it("makes no timer per wait", function()
    antquic.run(function()
      local cond = require("antquic.task").cond()
      antquic.spawn(function()
        for _ = 1, 5000 do
          cond:wake(true)
          antquic.sleep(0)
        end
        cond.stop = true
        cond:wake(true)
      end)
      collectgarbage()
      collectgarbage()
      local before = collectgarbage("count")
      collectgarbage("stop")
      local waits = 0
      while not cond.stop do
        cond:wait(loop.now() + 1000)
        waits = waits + 1
      end
      collectgarbage("restart")
      collectgarbage()
      collectgarbage()
      assert.is_true(waits > 4000)
      assert.is_true(collectgarbage("count") - before < 50)
    end)
  end)

  it("counts endpoints and parked tasks", function()
    local ep = antquic.endpoint()
    assert.equal(1, (loop.live()))
    local ended
    antquic.run(function()
      antquic.spawn(function()
        ended = { ep:accept() }
      end)
      antquic.sleep(0.01)
      assert.equal(1, select(2, loop.live()))
      ep:close()
    end)
    assert.is_nil(ended[1])
    assert.equal("CLOSED", ended[3])
    assert.same({ 0, 0 }, { loop.live() })
  end)
end)
