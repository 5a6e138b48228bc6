-- SPDX-License-Identifier: MIT

local fake = require("spec.unit.fake")

describe("values", function()
  local antquic
  before_each(function()
    antquic = fake.load()
  end)
  after_each(fake.unload)

  it("makes error codes from the core's list and refuses others", function()
    assert.equal("TIMEOUT", antquic.errors.TIMEOUT)
    assert.equal("timeout", antquic.errors.describe("TIMEOUT"))
    assert.error_matches(function()
      return antquic.errors.TIMEUOT
    end, "no code 'TIMEUOT'")
  end)

  it("leaves no global behind", function()
    local before = {}
    for name in pairs(_G) do
      before[name] = true
    end
    fake.load()
    local endpoint = antquic.endpoint()
    endpoint:close()
    for name in pairs(_G) do
      assert.is_true(before[name], "global " .. tostring(name))
    end
  end)

  describe("peer ids", function()
    local hex = ("0123456789abcdef"):rep(4)

    it("are one object per id", function()
      local a = assert(antquic.peer_id(hex))
      local b = assert(antquic.peer_id(hex:upper()))
      assert.is_true(rawequal(a, b))
      local set = { [a] = 1 }
      assert.equal(1, set[b])
      assert.equal(a, antquic.peer_id(a))
    end)

    it("print short and in full", function()
      local id = assert(antquic.peer_id(hex))
      assert.equal("0123456789abcdef", tostring(id))
      assert.equal(hex, id:hex())
      assert.equal(32, #id:bytes())
      assert.equal("id 0123456789abcdef", "id " .. id)
    end)

    it("order by their bytes", function()
      local a = assert(antquic.peer_id(("00"):rep(32)))
      local b = assert(antquic.peer_id(("01"):rep(32)))
      assert.is_true(a < b)
      assert.is_false(b <= a)
    end)

    it("refuse what isn't one, with a code", function()
      for _, bad in ipairs({ "", hex:sub(2), hex .. "0", ("g"):rep(64) }) do
        local id, message, code = antquic.peer_id(bad)
        assert.is_nil(id)
        assert.matches("64 hex digits", message)
        assert.equal("FORMAT", code)
      end
    end)

    it("are collected when nobody keeps them", function()
      local peer_id = require("antquic.peer_id")
      local weak = setmetatable({ peer_id.intern(("\5"):rep(32)) }, { __mode = "v" })
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
    end)
  end)

  describe("options", function()
    local options
    before_each(function()
      options = require("antquic.options")
    end)

    local schema = {
      size = { type = "integer", default = 4, min = 1, max = 8 },
      name = { type = "string|table" },
      mode = { type = "string", choices = { "a", "b" } },
    }

    local function check(given)
      return options.check("fn", schema, given)
    end

    it("fill defaults in without touching the argument", function()
      local given = { name = "x" }
      assert.same({ size = 4, name = "x" }, check(given))
      assert.same({ name = "x" }, given)
      assert.same({ size = 4 }, check(nil))
    end)

    it("raise for unknown names, wrong types and values out of range", function()
      local cases = {
        { { sise = 1 }, "unknown option 'sise' %(known: mode, name, size%)" },
        { { size = "x" }, "'size' must be an integer, got string" },
        { { size = 1.5 }, "'size' must be an integer" },
        { { size = 9 }, "'size' must be from 1 to 8, got 9" },
        { { name = 5 }, "'name' must be a string or table" },
        { { mode = "c" }, '\'mode\' must be one of "a", "b"' },
        { "text", "options must be a table" },
      }
      for _, case in ipairs(cases) do
        assert.error_matches(function()
          check(case[1])
        end, case[2])
      end
    end)

    it("give a value out of range as a failure where asked to", function()
      local got, message, code = options.check("fn", schema, { size = 9 }, 2, true)
      assert.is_nil(got)
      assert.matches("from 1 to 8", message)
      assert.equal("CONFIG", code)
    end)

    it("refuse timeouts that are no time", function()
      for _, bad in ipairs({ -1, 0 / 0, "1", {} }) do
        assert.has_error(function()
          options.timeout("fn", bad)
        end)
      end
      assert.equal(0, options.timeout("fn", 0))
      assert.is_nil(options.timeout("fn", nil))
    end)
  end)
end)
