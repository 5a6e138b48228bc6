-- SPDX-License-Identifier: MIT
--
-- The NAT profile over real sockets; on loopback there is no NAT, and that is found out.

local antquic = require("antquic")
local support = require("spec.net.support")

local it = support.it

local function coordinator(options)
  options = options or {}
  options.role = "bootstrap"
  return support.endpoint(options)
end

local function port_of(address)
  return tonumber(address:match(":(%d+)$"))
end

describe("the NAT profile", function()
  it("finds out that there is none", function()
    local c = coordinator()
    local a = support.endpoint({ bootstrap_nodes = { support.address(c) } })
    local sub = a:subscribe({ "nat_profile_changed" })
    assert.equal("unknown", a:nat_profile().mapping)
    assert.equal("nat_profile_changed", assert(sub:next(5)).kind)
    local p
    local deadline = antquic.now() + 5
    repeat
      p = a:nat_profile()
      sub:next(0.05)
    until p.measured_at or antquic.now() > deadline
    assert.equal("none", p.mapping)
    assert.equal("preserving", p.allocation)
    assert.same({ "127.0.0.1" }, p.external)
    assert.is_nil(p.hairpin)
    assert.equal(15, p.keep_alive)
    local tests = {}
    for _, e in ipairs(p.evidence) do
      tests[e.test] = (tests[e.test] or 0) + 1
      assert.is_true(e.answered and e.tries >= 1)
      assert.matches("^127%.0%.0%.1:%d+$", e.seen)
    end
    assert.equal(12, tests.allocation)
    assert.is_true(tests.mapping >= 1 and tests.filtering == 1)
  end)

  it("can be switched off", function()
    local c = coordinator()
    local a = support.endpoint({
      bootstrap_nodes = { support.address(c) },
      nat_profile = false,
      keep_alive = 7,
    })
    assert(a:wait_bootstrap(5))
    local s = support.endpoint({ bootstrap_nodes = { support.address(c) } })
    assert(s:subscribe({ "nat_profile_changed" }):next(5)) -- time enough
    assert.equal(0, a:statistics().observes_sent)
    assert.is_nil(a:nat_profile().measured_at)
    assert.equal(7, a:nat_profile().keep_alive)
  end)
end)

describe("a coordinator's second port", function()
  it("is the next one, another one, or none", function()
    local list = coordinator():local_addresses()
    assert.equal(2, #list)
    local free = port_of(list[2])
    assert.equal(1, #coordinator({ second_port = false }):local_addresses())
    assert.equal(1, #support.endpoint():local_addresses())
    -- One that is taken is replaced by any.
    list = coordinator({ second_port = free }):local_addresses()
    assert.equal(2, #list)
    assert.are_not.equal(free, port_of(list[2]))
    local none, message, code = antquic.endpoint({ role = "bootstrap", second_port = 65536 })
    assert.is_nil(none)
    assert.equal("CONFIG", code)
    assert.matches("second_port", message)
  end)
end)
