-- SPDX-License-Identifier: MIT

local json, names, reader

describe("JSON", function()
  setup(function()
    package.loaded["antquic.core"] = nil
    json = require("antquic.json")
  end)

  it("reads back what it writes", function()
    local value = {
      text = 'a "quote", a \\, a\nline, \t and \1',
      list = { 1, 2.5, -3, "x", { y = true } },
      none = setmetatable({}, json.list),
      object = { z = false },
      big = 2 ^ 52,
      small = 1.25e-7,
    }
    local again = assert(json.decode(json.encode(value)))
    assert.same(value, again)
    assert.equal(json.encode(value), json.encode(again))
  end)

  it("reads what others write", function()
    assert.same(
      { a = { 1, { b = "ü€😀/\b" } } },
      json.decode([[
      { "a" : [ 1 , {"b":"\u00fc\u20ac\ud83d\ude00\/\b"} ] } ]])
    )
    assert.equal(-1200, json.decode("-1.2e3"))
    assert.is_nil(json.decode("null"))
    assert.is_false(json.decode("false"))
  end)

  for _, text in ipairs({
    "",
    "{",
    "[1,",
    "[1 2]",
    '{"a"}',
    '{"a":1,}',
    "[1,]",
    '"abc',
    '"\1"',
    '"\\x"',
    '"\\ud83d"',
    '"\\ud83d\\u0041"',
    '"\\u12"',
    "01",
    "1.",
    "-",
    "1.e3",
    "nul",
    "NaN",
    "1 1",
    ("["):rep(100000),
    ('{"a":'):rep(5000),
  }) do
    it("refuses " .. text:sub(1, 20), function()
      local value, message, code = json.decode(text)
      assert.is_nil(value)
      assert.equal("FORMAT", code)
      assert.is_string(message)
    end)
  end
end)

describe("stand-ins", function()
  local n
  before_each(function()
    package.loaded["antquic.core"] = nil
    package.loaded["antquic.record.names"] = nil
    names = require("antquic.record.names")
    n = names.new(function()
      return 0.5
    end)
  end)

  it("keep the class, and hide the address", function()
    for _, case in ipairs({
      { "192.168.7.9:4000", "^10%.0%.1%.1:%d+$" },
      { "172.16.0.4:4000", "^10%.0%.2%.1:" },
      { "172.32.0.4:4000", "^198%.18%.1%.1:" },
      { "100.64.3.3:4000", "^100%.64%.1%.1:" },
      { "100.63.3.3:4000", "^198%.18%.2%.1:" },
      { "169.254.1.1:4000", "^169%.254%.1%.1:" },
      { "203.0.113.9:4000", "^198%.19%.1%.1:" },
      { "8.8.8.8:4000", "^198%.18%.3%.1:" },
      { "239.1.1.1:4000", "^240%.0%.1%.1:" },
      { "127.0.0.1:4000", "^127%.0%.0%.1:" },
      { "0.0.0.0:4000", "^0%.0%.0%.0:" },
      { "[::1]:4000", "^%[::1%]:" },
      { "[fe80::7]:4000", "^%[fe80::1:1%]:" },
      { "[fd12:3456::7]:4000", "^%[fd00:0:0:1::1%]:" },
      { "[2a00:1450::7]:4000", "^%[2001:db8:0:1::1%]:" },
      { "[2001:db8::7]:4000", "^%[2001:2:0:1::1%]:" },
      { "[64:ff9b::1]:4000", "^%[100::1:1%]:" },
    }) do
      assert.matches(case[2], n:address(case[1]), 1, false)
    end
  end)

  it("are the same for the same, and keep networks together", function()
    local a, b, c = n:ip("8.8.8.8"), n:ip("8.8.8.9"), n:ip("8.8.9.8")
    assert.equal(a, n:ip("8.8.8.8"))
    assert.equal(a:match("^(.*)%.%d+$"), b:match("^(.*)%.%d+$"))
    assert.not_equal(a:match("^(.*)%.%d+$"), c:match("^(.*)%.%d+$"))
    local d, e, f = n:ip("2a00:1:2:3::1"), n:ip("2a00:1:2:3:4::"), n:ip("2a00:1:2:4::1")
    assert.equal(d:match("^(.*)::"), e:match("^(.*)::"))
    assert.not_equal(d:match("^(.*)::"), f:match("^(.*)::"))
  end)

  it("keep differences of ports, blocks of 1024, and that a NAT keeps one", function()
    local p = n:port(5000)
    assert.not_equal(5000, p)
    assert.equal(p + 17, n:port(5017))
    assert.equal(0, (p - 5000) % 1024)
    assert.equal(443, n:port(443))
    local seen = {}
    for port = 1024, 65535 do
      local q = n:port(port)
      assert.is_true(q >= 1024 and q <= 65535 and not seen[q])
      seen[q] = true
    end
    -- Another record has another shift, never none.
    for r = 0, 0.99, 0.01 do
      local other = names.new(function()
        return r
      end)
      assert.not_equal(5000, other:port(5000))
    end
  end)

  it("replace what is in a text", function()
    local text = n:text(
      "8.8.8.8:5000: no answer; [2a00::1]:77 neither, nor 1.2.3.4; peer "
        .. ("ab"):rep(32)
        .. " of 0123456789abcdef, 1.5 s"
    )
    for _, secret in ipairs({ "8.8.8.8", "2a00", "1.2.3.4", "abab", "0123456789abcdef" }) do
      assert.is_nil(text:find(secret, 1, true), text)
    end
    assert.matches("no answer; .* neither, nor .*; peer %(id%) of %(id%), 1%.5 s", text)
  end)

  it("replace IPv6 addresses without a port, and take no time for one", function()
    local ip = "2a02:8071:1:2:3:4:5:def0"
    local masked = n:text(ip)
    assert.equal(n:ip(ip), masked)
    assert.equal(
      "seen as " .. masked .. ", at 12:30:45",
      n:text("seen as " .. ip .. ", at 12:30:45")
    )
    local known = n:address("[" .. ip .. "]:7000")
    assert.equal(known .. " and " .. masked, n:text("[" .. ip .. "]:7000 and " .. ip))
  end)

  it("stay bounded", function()
    for i = 0, 5000 do
      n:ip(("9.%d.%d.1"):format(math.floor(i / 256), i % 256))
    end
    assert.is_true(n.others > 0)
    assert.equal("198.18.0.0", n:ip("77.1.2.3"))
    for i = 0, 5000 do
      n:ip(("2a00::%x:1:2:3:4"):format(i))
    end
    local count = 0
    for _ in pairs(n._ips) do
      count = count + 1
    end
    assert.is_true(count <= 4096)
  end)
end)

describe("the reader of records", function()
  setup(function()
    reader = require("antquic.record.reader")
  end)
  local HEAD = '{"antquic_record":1,"role":"client"}\n'

  it("puts entries in the order of time, and those of one time in that of the file", function()
    local r = assert(reader.parse(HEAD .. [[
{"t":2,"e":"c"}
{"t":1,"e":"a"}
{"t":1,"e":"b"}
{"t":3,"e":"end"}
]]))
    local order = {}
    for i, entry in ipairs(r.entries) do
      order[i] = entry.e
    end
    assert.same({ "a", "b", "c", "end" }, order)
    assert.same({}, r.problems)
    assert.is_true(r.complete)
  end)

  it("says what is damaged and goes on", function()
    local r = assert(
      reader.parse(
        HEAD
          .. '{"t":1,"e":"a"}\n{"t":1,"e"\n[1]\n{"e":"x"}\n{"t":2}\n{"t":2,"e":"b"}\n{"t":3,"e":"c'
      )
    )
    assert.equal(2, #r.entries)
    assert.is_false(r.complete)
    local text = table.concat(r.problems, "\n")
    assert.matches("line 3 is damaged", text)
    assert.matches("line 4 is damaged: not an object", text)
    assert.matches("line 5 is damaged: an entry without its time", text)
    assert.matches("line 6 is damaged: an entry without its kind", text)
    assert.matches("line 8, the last one, is cut", text)
    assert.matches("the record has no end", text)
  end)

  it("tells what the writer left out and lost", function()
    local r =
      assert(reader.parse(HEAD .. '{"t":1,"e":"lost","count":7}\n{"t":2,"e":"end","left_out":9}\n'))
    local text = table.concat(r.problems, "\n")
    assert.matches("9 entries did not fit", text)
    assert.matches("7 entries were lost at 1.000 s", text)
  end)

  it("refuses what is no record, or of a later format", function()
    for text, code in pairs({
      [""] = "FORMAT",
      ["hello\nworld\n"] = "FORMAT",
      ['{"antquic_record":"x"}\n'] = "FORMAT",
      ['{"antquic_record":2}\n'] = "UNSUPPORTED",
      ['{"antquic_record":1e300}\n'] = "UNSUPPORTED",
    }) do
      local r, message, got = reader.parse(text)
      assert.is_nil(r)
      assert.equal(code, got)
      assert.is_string(message)
    end
    local r, message, code = reader.load(".")
    assert.same({ nil, ".: Is a directory", "NETWORK" }, { r, message, code })
    r, message, code = reader.load("/nonexistent/record")
    assert.is_nil(r)
    assert.matches("/nonexistent/record", message)
    assert.equal("NETWORK", code)
  end)

  it("lives without its first line", function()
    local r = assert(reader.parse('{"t":1,"e":"a"}\n{"t":2,"e":"end"}\n'))
    assert.same({}, r.header)
    assert.matches("first line", r.problems[1])
  end)

  it("tells no more than twenty faults one by one", function()
    local r = assert(reader.parse(HEAD .. ("x\n"):rep(1000) .. '{"t":1,"e":"end"}\n'))
    assert.is_true(#r.problems <= 22)
  end)
end)
