-- SPDX-License-Identifier: MIT

local antquic = require("antquic")

-- A run with all that a seed decides: keys, ports, losses, jitter, back-off.
local PROGRAM = [[
local antquic = require("antquic")
local sim = antquic.sim({ seed = tonumber(arg[1]), delay = 0.02, jitter = 0.01, loss = 0.1,
  dup = 0.02, reorder = 0.02 })
sim:coordinator("c")
sim:coordinator("d")
local a = sim:peer("a", { nat = "port_restr" })
local b = sim:peer("b", { nat = "linux_open" }):echo()
local e = sim:peer("e", { nat = "sym_rand" })
sim:at(1, function() b.nat:rebind() end)
sim:run(function()
  local first = antquic.spawn(a.connect, a, b, { timeout = 8 })
  local second = antquic.spawn(e.connect, e, b, { timeout = 8 })
  first:wait()
  second:wait()
  antquic.sleep(3)
end)
io.write(sim:trace({ datagrams = "all" }), sim:hash(), "\n")
]]

local function run(seed)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(("package.path = %q\npackage.cpath = %q\n"):format(package.path, package.cpath), PROGRAM)
  f:close()
  local pipe = assert(io.popen(("lua5.4 %s %d 2>&1"):format(path, seed)))
  local text = pipe:read("a")
  local ok = pipe:close()
  os.remove(path)
  assert(ok, text)
  return text
end

describe("a seed", function()
  it("decides everything, in every process", function()
    local one, same = run(11), run(11)
    assert.equal(one, same)
    assert.is_true(#one > 10000, "only " .. #one .. " bytes of trace")
  end)

  it("differs from another one", function()
    assert.are_not.equal(run(11), run(12))
  end)

  it("decides what random numbers a policy gets", function()
    local function drawn(seed)
      local sim <close> = antquic.sim({ seed = seed })
      sim:coordinator("c")
      local numbers = {}
      local a = sim:peer("a", {
        policy = antquic.policy.extend(antquic.policy.balanced, {
          connect = function(s)
            for i = 1, 5 do
              numbers[i] = s:random()
            end
            return nil, "enough", "CANCELLED"
          end,
        }),
      })
      sim:run(function()
        assert.is_nil((a:connect(("ab"):rep(32), { timeout = 1 })))
      end)
      return numbers
    end
    local first = drawn(1)
    assert.equal(5, #first)
    assert.same(first, drawn(1))
    assert.are_not.same(first, drawn(2))
    for _, x in ipairs(first) do
      assert.is_true(x >= 0 and x < 1)
    end
  end)
end)
