-- SPDX-License-Identifier: MIT
--
-- What every scheduler adapter must do: one suite for all of them.
--
-- contract(name, {
--   load = function() -> antquic, adapter     a fresh adapter in use
--   drive = function(adapter, fn)             run fn as a task to its end
--   unload = function() end
-- })

local busted = require("busted")
local assert = require("luassert")
local describe, it, before_each, after_each =
  busted.describe, busted.it, busted.before_each, busted.after_each

return function(name, host)
  describe("scheduler " .. name, function()
    local antquic, adapter
    before_each(function()
      antquic, adapter = host.load()
    end)
    after_each(function()
      host.unload()
    end)

    local function drive(fn)
      return host.drive(adapter, fn)
    end

    it("has every function of the contract", function()
      for _, key in ipairs({ "now", "spawn", "attach", "detach", "rearm", "park", "wake" }) do
        assert.equal("function", type(adapter[key]), key)
      end
      assert.equal("string", type(adapter.name))
      antquic.sched.use(adapter)
      assert.error_matches(function()
        antquic.sched.use({ now = adapter.now })
      end, "lacks the function")
    end)

    it("gives back what a task returns, nils included", function()
      drive(function()
        local task = antquic.spawn(function(a, b)
          return b, nil, a
        end, 1, 2)
        local ok, x, y, z = task:wait()
        assert.same({ true, 2, nil, 1 }, { ok, x, y, z })
      end)
    end)

    it("sleeps at least as long as told, in the order of deadlines", function()
      drive(function()
        local order, start = {}, adapter.now()
        local tasks = {}
        for _, delay in ipairs({ 0.03, 0.01, 0.02 }) do
          tasks[#tasks + 1] = antquic.spawn(function()
            antquic.sleep(delay)
            assert.is_true(adapter.now() - start >= delay - 1e-6)
            order[#order + 1] = delay
          end)
        end
        for _, task in ipairs(tasks) do
          assert(task:wait())
        end
        assert.same({ 0.01, 0.02, 0.03 }, order)
      end)
    end)

    it("never resumes inside wake", function()
      drive(function()
        local slot, log = {}, {}
        local task = antquic.spawn(function()
          local what = adapter.park(slot)
          log[#log + 1] = what
        end)
        antquic.sleep(0)
        assert.is_true(adapter.wake(slot, "woken"))
        log[#log + 1] = "after wake"
        assert(task:wait())
        assert.same({ "after wake", "woken" }, log)
        assert.is_false(adapter.wake(slot, "again"))
      end)
    end)

    it("ends a park at its deadline, and only then", function()
      drive(function()
        local slot = {}
        local start = adapter.now()
        local a, message, code = adapter.park(slot, start + 0.01)
        assert.is_nil(a)
        assert.equal("timed out", message)
        assert.equal("TIMEOUT", code)
        assert.is_true(adapter.now() >= start + 0.01)
        -- The slot is free again, and an old deadline doesn't count.
        antquic.spawn(function()
          antquic.sleep(0.02)
          adapter.wake(slot, "second")
        end)
        assert.equal("second", adapter.park(slot, adapter.now() + 5))
      end)
    end)

    it("keeps the order of wakes", function()
      drive(function()
        local slots, log, tasks = {}, {}, {}
        for i = 1, 20 do
          slots[i] = {}
          tasks[i] = antquic.spawn(function()
            adapter.park(slots[i])
            log[#log + 1] = i
          end)
        end
        antquic.sleep(0)
        for i = 20, 1, -1 do
          adapter.wake(slots[i], true)
        end
        for i = 1, 20 do
          assert(tasks[i]:wait())
        end
        for i = 1, 20 do
          assert.equal(21 - i, log[i])
        end
      end)
    end)

    it("reports an error of a task and goes on", function()
      local seen
      local before = antquic.on_error(function(text)
        seen = text
      end)
      drive(function()
        antquic.spawn(function()
          error("broken on purpose")
        end)
        antquic.sleep(0.001)
      end)
      antquic.on_error(before)
      assert.matches("broken on purpose", seen)
      assert.matches("traceback", seen)
    end)

    it("gives an error to whoever waits for the task", function()
      drive(function()
        local task = antquic.spawn(function()
          error("broken on purpose", 0)
        end)
        local ok, message, code = task:wait(1)
        assert.is_nil(ok)
        assert.matches("broken on purpose", message)
        assert.equal("INTERNAL", code)
      end)
    end)

    it("keeps parked tasks that nobody else refers to", function()
      drive(function()
        local got
        antquic.spawn(function()
          antquic.sleep(0.01)
          got = true
        end)
        for _ = 1, 3 do
          collectgarbage()
        end
        antquic.sleep(0.03)
        assert.is_true(got)
      end)
    end)

    it("wakes every waiter of a condition", function()
      drive(function()
        local cond = require("antquic.task").cond()
        local woken, tasks = 0, {}
        for i = 1, 5 do
          tasks[i] = antquic.spawn(function()
            if cond:wait(i == 3 and adapter.now() + 0.005 or nil) then
              woken = woken + 1
            end
          end)
        end
        antquic.sleep(0.02)
        cond:wake(true)
        for i = 1, 5 do
          assert(tasks[i]:wait(1))
        end
        assert.equal(4, woken)
      end)
    end)
  end)
end
