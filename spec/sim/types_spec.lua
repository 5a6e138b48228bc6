-- SPDX-License-Identifier: MIT
--
-- The simulator's types are the lab's, and so is what is said of their pairs.

package.path = "./spec/natlab/?.lua;" .. package.path

local lab = require("types")
local matrix = require("matrix")
local pairing = require("antquic.sim.pairs")
local types = require("antquic.sim.types")

local MAPPING = {
  EIM = { ei = true, flow = true },
  ADM = { ad = true },
  APDM = { apd = true },
  none = { none = true },
  ["arbitrary address"] = { flow = true, apd = true },
}

-- The fields of an annotated class in a file.
local function annotated(path, class)
  local f = assert(io.open(path))
  local text = f:read("a")
  f:close()
  local fields = {}
  local block = assert(text:match("class " .. class .. "%f[^%w.][^\n]*\n(.-)\n[^-\n]*\n"), class)
  for name in block:gmatch("@field ([%w_]+)") do
    fields[name] = true
  end
  return fields
end

describe("annotations of the matrix", function()
  it("have its options, its rows and itself", function()
    local sim = require("antquic.sim")
    assert.is_true(annotated("lua/antquic/sim.lua", "antquic.sim").matrix)
    local options = annotated("lua/antquic/sim/matrix.lua", "antquic.sim.MatrixOptions")
    for name in pairs(require("antquic.sim.matrix").SCHEMA) do
      assert.is_true(options[name], name)
      options[name] = nil
    end
    assert.is_nil(next(options))
    local fields = annotated("lua/antquic/sim/report.lua", "antquic.sim.Row")
    for name in pairs(sim.matrix({ pairs = "none:linux", trials = 1 })[1]) do
      assert.is_true(fields[name], name)
    end
  end)
end)

describe("types of NAT", function()
  it("are those of the lab", function()
    assert.same(lab.matrix, types.matrix)
    assert.equal(15, #types.matrix)
    for _, name in ipairs(types.matrix) do
      assert(lab.by_name[name], name)
    end
    for name, kind in pairs(lab.by_name) do
      local ours = types.get(name)
      assert(ours, name)
      if kind.mapping == "blocked" then
        assert.is_true(ours.blocked, name)
      elseif not kind.v6 then
        assert(MAPPING[kind.mapping][ours.mapping], name .. ": mapping " .. ours.mapping)
        assert.equal(kind.filtering, ours.filtering:upper():gsub("EI", "EI") .. "F", name)
        if kind.mapping ~= "none" then
          assert.equal((kind.ports:gsub("^preserved?$", "preserve")), ours.ports, name)
        end
        assert.equal(kind.hairpin or false, ours.hairpin ~= "no", name)
      end
    end
  end)

  it("make the pairs of the lab", function()
    for _, a in ipairs(types.matrix) do
      for _, b in ipairs(types.matrix) do
        assert.equal(matrix.mark(a, b), pairing.mark(a, b), a .. ":" .. b)
        if matrix.must(a, b) then
          assert.equal(
            matrix.first_packet_arrives(a, b),
            pairing.first_packet_arrives(a, b),
            a .. ":" .. b
          )
        end
      end
    end
    assert.equal(225, #pairing.parse("all"))
    assert.same(matrix.parse("quick"), pairing.parse("quick"))
    assert.equal(9, #pairing.parse("cone"))
    assert.equal(10, #pairing.parse("quick"))
  end)

  it("are named when one doesn't exist", function()
    local list, message = pairing.parse("linux:nonsense")
    assert.is_nil(list)
    assert.matches("'nonsense'; there are .*port_restr", message)
    list, message = pairing.parse("linux")
    assert.is_nil(list)
    assert.matches("no pair", message)
  end)
end)
