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

-- A loop beside the default one, on a clock that only waiting moves.
contract("loop of its own", {
  load = function()
    fake.unload()
    local antquic = require("antquic")
    local time = 50
    local loop = require("antquic.sched.loop").new({
      name = "own",
      now = function()
        return time
      end,
      wait = function(seconds)
        time = time + seconds
      end,
      on_error = error,
    })
    antquic.sched.use(loop)
    return antquic, loop
  end,
  drive = drive,
  unload = fake.unload,
})

describe("sched.within", function()
  local antquic, loop, other, log
  before_each(function()
    antquic = fake.load()
    loop = require("antquic.sched.loop")
    log = {}
    local time = 0
    other = loop.new({
      name = "other",
      now = function()
        return time
      end,
      wait = function(seconds)
        time = time + seconds
      end,
      on_error = function(text)
        log[#log + 1] = text
      end,
    })
  end)
  after_each(fake.unload)

  it("runs in another scheduler, inside a task of this one, and comes back", function()
    antquic.run(function()
      local start, ran = loop.now(), nil
      antquic.spawn(function()
        ran = true
      end)
      local a, b = antquic.sched.within(other, function(x)
        return antquic.run(function()
          antquic.sleep(1000)
          assert.is_nil(ran)
          assert.equal(other, antquic.sched.current())
          assert.is_true(other.in_task())
          return x, nil
        end)
      end, "x")
      assert.equal("x", a)
      assert.is_nil(b)
      assert.equal(1000, other.now())
      assert.equal(start, loop.now())
      assert.equal(loop, antquic.sched.current())
      antquic.sleep(0)
      assert.is_true(ran)
    end)
  end)

  it("comes back after an error", function()
    assert.error_matches(function()
      antquic.sched.within(other, function()
        error("as planned")
      end)
    end, "as planned")
    assert.equal(loop, antquic.sched.current())
  end)

  it("leaves an endpoint of this one open, and its waiters where they are", function()
    antquic.run(function()
      local ep = antquic.endpoint()
      local ended
      local waiter = antquic.spawn(function()
        ended = select(3, ep:accept())
      end)
      antquic.sleep(0)
      antquic.sched.within(other, function()
        antquic.run(function()
          ep:close() -- wakes the waiter, which is a task of the other loop
          antquic.sleep(1)
          assert.is_nil(ended)
        end)
      end)
      assert(waiter:wait(1))
      assert.equal("CLOSED", ended)
    end)
    assert.same({}, log)
  end)

  it("refuses what is no adapter", function()
    assert.error_matches(function()
      antquic.sched.within({}, print)
    end, "lacks the function")
  end)
end)

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
