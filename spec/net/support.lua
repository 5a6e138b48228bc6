-- SPDX-License-Identifier: MIT
--
-- Whole endpoints on loopback. After each test nothing may be left: no open
-- endpoint, no parked task.

local busted = require("busted")
local assert = require("luassert")

local support = {}

-- A file of unit specs may have left its fake core behind.
for name in pairs(package.loaded) do
  if name == "antquic" or name:match("^antquic%.") then
    package.loaded[name] = nil
  end
end

local antquic = require("antquic")
local loop = require("antquic.sched.loop")
support.antquic = antquic

local open = {}
local errors = {}

--- An endpoint on loopback that the end of the test closes.
function support.endpoint(options)
  options = options or {}
  options.bind = options.bind or "127.0.0.1:0"
  local ep = assert(antquic.endpoint(options))
  open[#open + 1] = ep
  return ep
end

function support.address(ep)
  return ep:local_addresses()[1]
end

--- Two endpoints and a connection between them: a dialed, b accepted.
function support.pair(options_a, options_b)
  local a, b = support.endpoint(options_a), support.endpoint(options_b)
  local ab = assert(a:connect(support.address(b), { timeout = 5 }))
  local ba = assert(b:accept(5))
  return a, b, ab, ba
end

--- A coordinator and two peers that it knows.
function support.trio(options_a, options_b)
  local c = support.endpoint({ role = "bootstrap" })
  local function peer(options)
    options = options or {}
    options.bootstrap_nodes = { support.address(c) }
    return support.endpoint(options)
  end
  local a, b = peer(options_a), peer(options_b)
  assert(a:wait_bootstrap(5))
  assert(b:wait_bootstrap(5))
  return a, b, c
end

--- it(), as a task, with a time limit and the check that nothing is left.
function support.it(name, fn, limit)
  busted.it(name, function()
    local before = antquic.on_error(function(text)
      errors[#errors + 1] = text
    end)
    local function watched()
      local ok, err
      local task = antquic.spawn(function()
        fn()
        ok = true
      end)
      task.on_failure = function()
        err = task.error
      end
      local done = task:wait(limit or 20)
      for _, ep in ipairs(open) do
        ep:close()
      end
      open = {}
      if not done and not err then
        error("the test took more than " .. (limit or 20) .. " s", 0)
      elseif err then
        error(err, 0)
      end
      return ok
    end
    local fine, err = pcall(antquic.run, watched)
    antquic.on_error(before)
    local reported = errors
    errors = {}
    if not fine then
      error(err, 0)
    end
    assert.same({}, reported)
    local endpoints, parked = loop.live()
    assert.equal(0, endpoints, "endpoints are left open")
    assert.equal(0, parked, "tasks are left waiting")
  end)
end

--- Waits until fn() is true.
function support.eventually(fn, timeout)
  local deadline = antquic.now() + (timeout or 5)
  while not fn() do
    if antquic.now() > deadline then
      error("it didn't come true in time", 2)
    end
    antquic.sleep(0.005)
  end
end

function support.sha256(data)
  return antquic.sha256():update(data):hex()
end

--- The resident memory of this process in KiB, nil where it isn't told, and
--- under a sanitizer, which keeps what was freed for a while.
function support.memory()
  local f = io.open("/proc/self/status")
  if not f or (os.getenv("LD_PRELOAD") or ""):find("libasan", 1, true) then
    return nil
  end
  local text = f:read("a")
  f:close()
  return tonumber(text:match("VmRSS:%s*(%d+)"))
end

return support
