-- SPDX-License-Identifier: MIT
--
-- The annotations say what the code does.

local fake = require("spec.unit.fake")

describe("types.lua", function()
  local text
  setup(function()
    local f = assert(io.open("lua/antquic/types.lua"))
    text = f:read("a")
    f:close()
  end)
  before_each(function()
    fake.unload()
  end)
  after_each(fake.unload)

  local function sorted(set)
    local list = {}
    for name in pairs(set) do
      list[#list + 1] = name
    end
    table.sort(list)
    return list
  end

  it("lists the event kinds of the core", function()
    local kinds, written = {}, {}
    for _, kind in ipairs(require("antquic").event_kinds()) do
      kinds[kind] = true
    end
    for kind in text:match("antquic.EventKind\n(.-)\n\n"):gmatch('"([%w_]+)"') do
      written[kind] = true
    end
    assert.same(sorted(kinds), sorted(written))
  end)

  it("lists the options of endpoints", function()
    local written = {}
    for name in text:match("class antquic.Options\n(.-)\n\n"):gmatch("@field ([%w_]+)") do
      written[name] = true
    end
    assert.same(sorted(require("antquic.config").SCHEMA), sorted(written))
  end)

  it("has the fields that come", function()
    local antquic = require("antquic")
    local ep <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0" }))
    local known = {}
    for name in text:match("class antquic.Candidate\n(.-)\n\n"):gmatch("@field ([%w_]+)") do
      known[name] = true
    end
    local list = ep:discover_candidates()
    assert.is_true(#list > 0)
    for name in pairs(list[1]) do
      assert.is_true(known[name], name)
    end
  end)
end)
