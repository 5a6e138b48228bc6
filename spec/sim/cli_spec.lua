-- SPDX-License-Identifier: MIT
--
-- The command: antquic sim.

local json = require("antquic.json")

local BUILD = os.getenv("ANTQUIC_BUILD") or "build/dev"

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  local _, _, status = pipe:close()
  return text, status
end

local root = capture("pwd"):gsub("%s+$", "")
local build = BUILD:sub(1, 1) == "/" and BUILD or root .. "/" .. BUILD

local environment = ("LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;'"):format(root, root)
  .. (" LUA_CPATH='%s/clib/?.so;;'"):format(build)

-- Runs `antquic sim ARGUMENTS`: what it prints, and its exit status.
local function sim(arguments)
  return capture(("%s bin/antquic sim %s 2>&1"):format(environment, arguments))
end

local function with_file(text, fn)
  local path = os.tmpname()
  os.remove(path)
  path = path .. ".lua"
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  local ok, why = pcall(fn, path)
  os.remove(path)
  assert(ok, why)
end

describe("antquic sim", function()
  it("teaches", function()
    local text, status = sim("--help")
    assert.equal(0, status)
    for _, word in ipairs({ "--matrix", "--compare", "port_restr", "satellite", "Wilson" }) do
      assert(text:find(word, 1, true), word)
    end
    for line in text:gmatch("[^\n]+") do
      assert.is_true(#line <= 100, line)
    end
  end)

  it("prints the table of pairs, the same for the same seed", function()
    local line = "--matrix --pairs port_restr:linux,sym_rand:sym_rand --trials 5 --delay 25"
    local text, status = sim(line)
    assert.equal(0, status, text)
    assert.matches("port_restr%s+linux%s+Y%s+5/5%s+57 to 100 %%%s+105%.0%s+105%.0%s+2%.10", text)
    assert.matches("sym_rand%s+sym_rand%s+%-%s+0/5%s+0 to%s+43 %%.-PUNCHING_FAILED 5, within", text)
    assert.matches("1 of 1 pair that must connect did each time", text)
    local function table_of(all)
      return (all:gsub("[^\n]*a second\n", ""))
    end
    assert.equal(table_of(text), table_of((sim(line))))
  end)

  it("writes JSON in the lab's shape", function()
    local path = os.tmpname()
    local text, status = sim("--matrix --pairs none:linux --trials 3 --json " .. path)
    assert.equal(0, status, text)
    local f = assert(io.open(path))
    local row = json.decode(f:read("a")).pairs[1]
    f:close()
    os.remove(path)
    local expected = { a = "none", b = "linux", expected = "Y", trials = 3, direct = 3 }
    for key, value in pairs(expected) do
      assert.equal(value, row[key], key)
    end
    assert.equal(3, #row.times)
    for _, key in ipairs({ "p50_ms", "p95_ms", "packets", "wilson_low", "wilson_high" }) do
      assert.equal("number", type(row[key]), key)
    end
    assert.equal("table", type(row.failures))
  end)

  it("lays two policies side by side, and tells chance from difference", function()
    with_file(
      [[
        local antquic = require("antquic")
        return antquic.policy.extend(antquic.policy.balanced, {
          name = "lazy",
          connect = function(s)
            s:sleep(0.5)
            return antquic.policy.balanced.connect(s)
          end,
        })
      ]],
      function(path)
        local text, status =
          sim("--matrix --pairs port_restr:linux --trials 20 --jitter 5 --compare " .. path)
        assert.equal(0, status, text)
        assert.matches("balanced%s+lazy", text)
        assert.matches("port_restr%s+linux%s+Y%s+20/20%s+20/20.-slower %(p ", text)
        assert.is_nil(text:find("less often", 1, true))
        for _, name in ipairs({ "balanced", "lazy" }) do
          assert.matches("\n" .. name .. ": 1 pair, 20 attempts, 20 direct;", text)
          assert.matches("\n" .. name .. ": 1 of 1 pair that must connect", text)
        end
        text, status =
          sim("--matrix --pairs port_restr:linux --trials 20 --jitter 5 --compare balanced")
        assert.equal(0, status, text)
        assert.matches("0 of 3 differences are more than chance", text)
      end
    )
  end)

  it("counts an attempt once whose policy is wrong", function()
    with_file("return { connect = function(s) return s:nonsense() end }", function(path)
      local text, status = sim("--matrix --pairs none:none --trials 1 --policy " .. path)
      assert.equal(1, status)
      assert.matches("none +none +Y +0/1 .-INTERNAL 1\n", text)
      assert.matches("attempt to call a nil value %(method 'nonsense'%)", text)
    end)
  end)

  it("tells policies of one name apart by their files", function()
    with_file('local p = require("antquic").policy return p.extend(p.balanced, {})', function(path)
      local text = sim("--matrix --pairs none:none --trials 1 --compare " .. path)
      assert.matches("\nbalanced: 1 pair,", text)
      assert.is_truthy(text:find("\n" .. path .. ": 1 pair,", 1, true), text)
    end)
  end)

  it("tells one attempt", function()
    local text, status = sim("--trace --pairs linux:full_cone --seed 9 --delay 25")
    assert.equal(0, status, text)
    assert.matches("a asks c .- for b\n", text)
    assert.matches("linux reaches full_cone after 105%.0 ms", text)
    text, status = sim("--trace --pairs udp_blocked:full_cone")
    assert.equal(3, status, text)
    assert.matches("does not reach full_cone: .*NO_BOOTSTRAP_NODES", text)
  end)

  it("runs a scenario with the seed that it is given", function()
    local script = [[
      local antquic = require("antquic")
      local sim = antquic.sim({ delay = 0.01 })
      sim:coordinator("c")
      print("seed", sim.seed, sim.hosts[1].id)
    ]]
    with_file(script, function(path)
      local one, status = sim(path .. " --seed 5")
      assert.equal(0, status, one)
      assert.matches("^seed\t5\t", one)
      assert.equal(one, (sim(path .. " --seed 5")))
      assert.are_not.equal(one, (sim(path .. " --seed 6")))
    end)
    with_file("error('as planned')", function(path)
      local text, status = sim(path)
      assert.equal(1, status)
      assert.matches("as planned", text)
    end)
  end)

  it("says what is wrong with a line", function()
    local cases = {
      { "", "give FILE, %-%-matrix or %-%-trace" },
      { "--matrix --pairs linux", "no pair of NAT types" },
      { "--matrix --pairs linux:cone", "no NAT type 'cone'; there are .*full_cone" },
      { "--matrix --loss 101", "from 0 to 100" },
      { "--matrix --trials 2.5", "whole number" },
      { "--matrix --link modem", "no link 'modem'; there are ladder, good_wifi" },
      { "--matrix --side c", "a, b or both" },
      { "--matrix --policy nonsense", "no policy 'nonsense'" },
      { "--matrix --policy ./no/such.lua", "no/such.lua" },
      { "x.lua --matrix", "either FILE" },
    }
    for _, case in ipairs(cases) do
      local text, status = sim(case[1])
      assert.equal(2, status, case[1] .. ": " .. text)
      assert.matches(case[2], text)
    end
    with_file("return { connekt = print }", function(path)
      local text, status = sim("--matrix --policy " .. path)
      assert.equal(2, status)
      assert.matches("a policy has no 'connekt'", text)
    end)
  end)
end)
