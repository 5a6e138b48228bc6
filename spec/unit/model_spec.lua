-- SPDX-License-Identifier: MIT
--
-- docs/model.md: each item of the model has a name of ours that exists and a
-- test that exists, and no item is gone.

local fake = require("spec.unit.fake")

-- How many items the model has of each.
local ITEMS = {
  Configuration = 9,
  Validation = 10,
  Roles = 5,
  ["Peer ids"] = 7,
  ["Bootstrap nodes"] = 6,
  Candidates = 16,
  Pairs = 11,
  Sessions = 16,
  Reasons = 7,
  ["State updates"] = 4,
  Phases = 7,
  Times = 14,
  Metrics = 5,
  Events = 12,
  Errors = 16,
  Statistics = 8,
  Functions = 25,
  ["On the wire"] = 9,
}

-- What may be absent, and why.
local ABSENT = {}

local function read(path)
  local f = io.open(path)
  if not f then
    return nil
  end
  local text = f:read("a")
  f:close()
  return text
end

local function rows()
  local list, section = {}, nil
  for line in read("docs/model.md"):gmatch("[^\n]+") do
    section = line:match("^## (.+)$") or section
    local item, here, test = line:match("^| (.-) | (.-) |%s(.-)%s?|$")
    if item and item ~= "Model" and not item:match("^%-+$") then
      list[#list + 1] = { section = section, item = item, here = here, test = test }
    end
  end
  return list
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do
    set[name] = true
  end
  return set
end

-- Names by the way that docs/model.md writes them.
local function checks(antquic, core)
  local names = core.names()
  local types = read("lua/antquic/types.lua")
  local events = read("docs/events.md")
  local api = read("docs/api.md")

  local function method(...)
    local text = ""
    for _, file in ipairs({ ... }) do
      text = text .. read("lua/antquic/" .. file .. ".lua")
    end
    return function(name)
      return text:find("\nfunction methods:" .. name .. "%(") ~= nil
    end
  end
  local function field(file)
    local text = read("lua/antquic/" .. file .. ".lua")
    return function(name)
      return text:find("%-%-%-@field " .. name .. "%f[^%w_]") ~= nil
        or text:find("\nfunction fields%." .. name .. "%(") ~= nil
    end
  end
  local function class(name)
    local text = types:match("%-%-%-@class antquic%." .. name .. "\n(.-)\n\n")
    return function(member)
      return text:find("@field " .. member .. "%f[^%w_]") ~= nil
    end
  end
  local function enum(list)
    local set = set_of(list)
    return function(name)
      return set[name] == true
    end
  end

  local of = {
    option = function(name)
      return require("antquic.config").SCHEMA[name] ~= nil
    end,
    error = function(name)
      return rawget(antquic.errors, name) == name
    end,
    metrics = function(name)
      local line = api:match("\n| `conn:metrics%(%)` |[^\n]*")
      return line:find("`" .. name .. "`", 1, true) ~= nil
    end,
    statistics = function(name)
      local ep <close> = assert(antquic.endpoint({ bind = "127.0.0.1:0" }))
      local found = ep:statistics()[name] ~= nil
      -- It has no value before the first.
      return found or (name == "average_coordination_time" and api:find(name, 1, true) ~= nil)
    end,
    event = function(name)
      local kind, member = name:match("^([%l_]+)%.([%l_]+)$")
      -- | `kind` | when | fields |
      local line = events:match("\n(| `" .. kind .. "` |[^\n|]*|[^\n|]*|)")
      return line ~= nil
        and set_of(names.events)[kind]
        and class("Event")(member)
        and (member == "peer_id" or member == "time" or line:find("`" .. member .. "`", 1, true))
    end,
    node = class("BootstrapNode"),
    candidate = class("Candidate"),
    pair = class("Pair"),
    source = enum(names.sources),
    state = enum(names.states),
    reason = enum(names.reasons),
    phase = enum(names.phases),
    candidate_state = enum(names.candidate_states),
    pair_state = enum(names.pair_states),
  }
  local receivers = {
    ["ep:"] = method("endpoint", "addresses"),
    ["conn:"] = method("connection"),
    ["s:"] = method("session"),
    ["id:"] = method("peer_id"),
    ["ep."] = field("endpoint"),
    ["conn."] = field("connection"),
    ["s."] = field("session"),
  }

  local sources
  local function in_c(name)
    if not sources then
      local pipe = assert(io.popen("cat src/antquic*.h src/*/*.h"))
      sources = pipe:read("a")
      pipe:close()
    end
    return sources:find("%f[%w_]" .. name .. "%f[^%w_]") ~= nil
  end

  return function(name)
    local what, rest = name:match("^([%l_]+) ([%w_.]+)$")
    if what then
      return of[what] and of[what](rest)
    end
    local receiver, member = name:match("^(%l+[:.])([%l_]+)$")
    if receivers[receiver] then
      return receivers[receiver](member)
    elseif name:match("^AQ_") then
      return in_c(name)
    end
    local at = antquic
    for part in name:gsub("^antquic%.", ""):gmatch("[%w_]+") do
      at = type(at) == "table" and at[part] or nil
    end
    return name:match("^antquic%.") ~= nil and at ~= nil
  end
end

-- "unit/x_spec.lua: does this" or "c/test_x.c: test_this"
local function test_exists(test)
  local file, name = test:match("^`([%w_/]+%.%l+): (.+)`$")
  local text = file and read("spec/" .. file)
  if not text then
    return false
  elseif file:match("%.c$") then
    local called = "%f[%w_]" .. name .. "%f[^%w_]"
    -- Written, and run.
    return text:find("static void " .. name .. "%(") ~= nil
      and (text:find("TEST%(" .. name .. "%)") or text:find("cmocka_unit_test[%w_]*%(" .. called))
        ~= nil
  end
  return text:find(('it("%s", function'):format(name), 1, true) ~= nil
end

describe("docs/model.md", function()
  local antquic, core
  before_each(function()
    fake.unload()
    package.loaded["antquic.core"] = nil
    antquic, core = require("antquic"), require("antquic.core")
  end)
  after_each(fake.unload)

  it("has every item", function()
    local count = {}
    for _, row in ipairs(rows()) do
      count[row.section] = (count[row.section] or 0) + 1
    end
    assert.same(ITEMS, count)
  end)

  it("names what exists", function()
    local exists = checks(antquic, core)
    for _, row in ipairs(rows()) do
      local absent = row.here:match("^%*absent: (.-)%*$")
      assert.equal(ABSENT[row.item], absent, row.item)
      if not absent then
        local n = 0
        for name in row.here:gmatch("`([^`]+)`") do
          n = n + 1
          assert.is_truthy(exists(name), ("%s: there is no %s"):format(row.item, name))
        end
        assert.is_true(n > 0, row.item .. " has no name here")
      end
    end
  end)

  it("names tests that exist", function()
    for _, row in ipairs(rows()) do
      if not ABSENT[row.item] then
        assert.is_true(test_exists(row.test), ("%s: no test %s"):format(row.item, row.test))
      end
    end
  end)

  it("would notice", function()
    local exists = checks(antquic, core)
    for _, name in ipairs({
      "option nothing",
      "error NOTHING",
      "event path_validated.nothing",
      "event nothing.rtt",
      "ep:nothing",
      "s.nothing",
      "antquic.nothing",
      "AQ_NOTHING_AT_ALL",
      "reason nothing",
      "statistics nothing",
    }) do
      assert.is_falsy(exists(name), name)
    end
    assert.is_false(test_exists("`unit/model_spec.lua: isn't written`"))
    assert.is_false(test_exists("`c/test_trav.c: isnt_written`"))
    assert.is_true(test_exists("`unit/model_spec.lua: would notice`"))
  end)
end)
