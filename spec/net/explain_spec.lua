-- SPDX-License-Identifier: MIT

local support = require("spec.net.support")
local it, antquic = support.it, support.antquic

local NOBODY = ("ab"):rep(32)

describe("explanations", function()
  it("tell how a connection came about", function()
    local a, b = support.trio()
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    local by_peer = assert(a:explain(b.peer_id))
    for _, told in ipairs({ conn:explain(), by_peer, antquic.explain(conn) }) do
      assert.equal("connected", told.outcome)
      assert.same({}, told.advice)
      assert.equal("coordinate", told[1].step)
      assert.equal(0, told[1].at)
      local won
      for _, step in ipairs(told) do
        assert.is_nil(step.error)
        assert.equal(step.step ~= "coordinate" and "seen_by_coordinator" or nil, step.why)
        assert.equal(1, step.attempt)
        won = won or (step.step == "dial" and step.won)
      end
      assert.is_true(won)
      assert.is_true(#told.pairs >= 1)
      assert.equal("succeeded", told.pairs[1].state)
      assert.is_true(told.duration > 0)
    end
    -- They stay when it is gone.
    conn:close()
    assert.equal("coordinate", conn:explain()[1].step)
    assert.equal("connected", assert(a:explain(b.peer_id)).outcome)
    antquic.sleep(0.01)
    -- The target's side knows what it did.
    support.eventually(function()
      return b:connections()[1] == nil
    end)
  end)

  it("tell why a peer was not reached", function()
    local a = support.trio()
    local conn, message = a:connect(NOBODY, { timeout = 3 })
    assert.is_nil(conn)
    assert.matches("coordinate 127.0.0.1:%d+ failed", message)
    local told = assert(a:explain(NOBODY))
    assert.equal("failed", told.outcome)
    assert.equal("UNKNOWN_TARGET", told.error)
    assert.equal(3, #told)
    for i, step in ipairs(told) do
      assert.equal("unknown_target", step.why)
      assert.equal(i, step.attempt)
    end
    assert.equal("unknown_target", told.advice[1].code)
    local text = tostring(told)
    assert.matches("^session to abababababababab: failed after %d", text)
    assert.matches("what could help:\n  %- The coordinator does not know the peer", text)
    local none, why, code = a:explain(("cd"):rep(32))
    assert.is_nil(none)
    assert.equal("UNKNOWN_TARGET", code)
    assert.matches("no attempt", why)
  end)

  it("tell that nobody answers, and that the peer refuses", function()
    local alone = support.endpoint({ bootstrap_nodes = { "127.0.0.1:9" } })
    assert.is_nil(alone:connect(NOBODY, { timeout = 1 }))
    local told = assert(alone:explain(NOBODY))
    assert.equal("udp_blocked", told.advice[1].code)
    assert.matches("127.0.0.1:9", told.advice[1].text)
    local nobody = support.endpoint()
    assert.is_nil(nobody:connect(NOBODY, { timeout = 1 }))
    assert.equal("no_coordinator", assert(nobody:explain(NOBODY)).advice[1].code)
    local a, b = support.trio(nil, { allow = { NOBODY } })
    local conn, _, code = a:connect(b.peer_id, { timeout = 5 })
    assert.is_nil(conn)
    assert.equal("NOT_ALLOWED", code)
    told = assert(a:explain(b.peer_id))
    assert.matches("NOT_ALLOWED", tostring(told))
    local refused = 0
    for _, step in ipairs(told) do
      refused = refused + (step.why == "refused" and 1 or 0)
    end
    assert.is_true(refused > 0)
    assert.equal("refused", told.advice[1].code)
    assert.matches("allow%-list", told.advice[1].text)
  end)

  it("tell that another key answered", function()
    local a, b = support.endpoint(), support.endpoint()
    local target = NOBODY .. "@" .. support.address(b)
    local conn, _, code = a:connect(target, { timeout = 2 })
    assert.is_nil(conn)
    assert.equal("WRONG_KEY", code)
    local told = assert(a:explain(NOBODY))
    assert.equal("wrong_key", told[1].why)
    assert.equal("wrong_key", told.advice[1].code)
    assert.is_truthy(told.advice[1].text:find(support.address(b), 1, true))
  end)

  it("are of what runs, while it runs", function()
    local a = support.trio()
    local s = assert(a:start_traversal(NOBODY, { timeout = 3 }))
    antquic.sleep(0.05)
    assert.equal("running", assert(a:explain(NOBODY)).outcome)
    s:cancel()
    local told = s:explain()
    assert.equal("failed", told.outcome)
    assert.equal("CANCELLED", told.error)
    assert.same({}, told.advice)
  end)

  it("are remembered for a bounded number of peers", function()
    local a = support.endpoint()
    local function id(i)
      return ("%064x"):format(i)
    end
    for i = 1, 70 do
      local s = assert(a:start_traversal(id(i)))
      s:cancel()
    end
    assert.is_nil(a:explain(id(6)))
    assert.is_truthy(a:explain(id(7)))
    assert.is_truthy(a:explain(id(70)))
    -- The oldest is tried again, and is the newest then.
    for _, i in ipairs({ 7, 71 }) do
      assert(a:start_traversal(id(i))):cancel()
    end
    assert.is_nil(a:explain(id(8)))
    assert.is_truthy(a:explain(id(7)))
    assert.is_truthy(a:explain(id(9)))
  end)

  it("outlive another wish for a connection that is there", function()
    local a, b = support.trio()
    local lines = {}
    local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
    local r = assert(a:record(function(line)
      lines[#lines + 1] = line
    end))
    local s = assert(a:start_traversal(b.peer_id))
    assert.equal(conn, s:wait(1))
    assert.is_true(r:close())
    assert.is_true(#conn:explain() > 0)
    assert.is_true(#a:explain(b.peer_id) > 0)
    assert.is_nil(table.concat(lines):find('"e":"session"', 1, true))
  end)
end)
