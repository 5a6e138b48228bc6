-- Selection of coordinators: who is asked first.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")

local function node(address, rtt, more)
  local n = { address = address, rtt = rtt, coordination_count = 0, unanswered = 0, failures = 0 }
  for key, value in pairs(more or {}) do
    n[key] = value
  end
  return n
end

local function names(list)
  local out = {}
  for i, n in ipairs(list) do
    out[i] = n.address
  end
  return table.concat(out, " ")
end

describe("coordinators", function()
  it("by round-trip time: who answers, then who is near", function()
    local list = { node("far", 0.3), node("mute", 0.01, { unanswered = 1 }), node("near", 0.1) }
    assert.equal("near far mute", names(antquic.coordinator.by_rtt({}, list)))
    assert.equal("far mute near", names(list), "the list itself stays")
    assert.equal("far mute near", names(antquic.coordinator.in_order({}, list)))
  end)

  it("sticky: the one that knew the peer, or that worked last", function()
    local choose = antquic.coordinator.sticky()
    local a, b, c = node("a", 0.1), node("b", 0.2), node("c", 0.3)
    local list = { a, b, c }
    assert.equal("a b c", names(choose({ peer_id = 1 }, list)))
    c.coordination_count = 1 -- c answered for peer 1
    assert.equal("c a b", names(choose({ peer_id = 2 }, list)), "it worked last")
    b.coordination_count = 1 -- b answered for peer 2
    assert.equal("c a b", names(choose({ peer_id = 1 }, list)))
    assert.equal("b a c", names(choose({ peer_id = 2 }, list)))
    assert.equal("b a c", names(choose({ peer_id = 3 }, list)))
    c.unanswered = 1
    assert.equal("a b c", names(choose({ peer_id = 1 }, list)), "silence ends it")
    assert.equal("a b c", names(antquic.coordinator.sticky()({}, list)), "each has its own memory")
  end)

  it("sticky: a bounded memory", function()
    local choose = antquic.coordinator.sticky()
    local a, b = node("a", 0.1), node("b", 0.2)
    for peer = 1, 3000 do
      choose({ peer_id = peer }, { a, b })
      b.coordination_count = b.coordination_count + 1
    end
    assert.equal("b a", names(choose({ peer_id = 3000 }, { a, b })))
  end)

  it("health: closed, open, half open", function()
    local choose = antquic.coordinator.health({ failures = 2, cool_down = 10 })
    local a, b = node("a", 0.1), node("b", 0.2)
    local function at(now)
      return names(choose({ now = now }, { a, b }))
    end
    assert.equal("a b", at(0))
    a.unanswered = 1
    assert.equal("b a", at(1), "one silence only moves it back")
    a.unanswered = 2
    assert.equal("b", at(2), "the second opens the breaker")
    assert.equal("b", at(11.9))
    assert.equal("b a", at(12), "half open: tried behind the others")
    a.unanswered = 3
    assert.equal("b", at(13), "and open again when that failed")
    assert.equal("b a", at(23))
    a.unanswered = 0
    assert.equal("a b", at(24), "closed when it worked")
  end)

  it("health: with all of them out they are asked all the same", function()
    local choose = antquic.coordinator.health({ failures = 1, cool_down = 10 })
    local a, b = node("a", 0.1, { unanswered = 1 }), node("b", 0.2)
    assert.equal("b", names(choose({ now = 0 }, { a, b })))
    b.unanswered = 1
    assert.equal("a b", names(choose({ now = 1 }, { a, b })), "the first that was opened first")
  end)

  it("misuse raises", function()
    assert.has_error(function()
      antquic.coordinator.health({ failures = 0 })
    end)
    assert.has_error(function()
      antquic.coordinator.health({ failure = 1 })
    end)
    assert.has_error(function()
      return antquic.coordinator.best
    end)
  end)
end)
