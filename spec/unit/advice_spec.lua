-- SPDX-License-Identifier: MIT

local advice = require("antquic.advice")

local FAR = { { address = "198.18.0.9:5000" } }
local NEAR = { { address = "192.168.1.9:5000" } }
local UP = { { address = "198.18.0.1:9000", connected = true, can_coordinate = true } }
local NO_RELAY = { { address = "198.18.0.1:9000", connected = true, can_relay = false } }
local NONE_UP = { { address = "198.18.0.1:9000", connected = false, can_relay = false } }
local RELAY = { { address = "198.18.0.1:9000", connected = true, can_relay = true } }
local DOWN = { { address = "198.18.0.1:9000", connected = false, failures = 3 } }
local OTHER = { { address = "198.18.0.1:9000", connected = false, error = "WRONG_KEY" } }
local FALLEN = { { address = "198.18.0.1:9000", connected = false, last_seen = 7 } }

local function step(name, code, more)
  local s = { step = name, error = code, address = "198.18.0.1:9000", sent = 0, received = 0 }
  for key, value in pairs(more or {}) do
    s[key] = value
  end
  return s
end

-- Facts of an attempt whose punching failed.
local function punched(more)
  local facts = {
    error = "PUNCHING_FAILED",
    nodes = UP,
    remote = FAR,
    sockets = { "0.0.0.0:4000" },
    steps = { step("coordinate"), step("punch", "PUNCHING_FAILED", { sent = 8, heard = 0 }) },
  }
  for key, value in pairs(more or {}) do
    facts[key] = value
  end
  return facts
end

local RANDOM = { mapping = "address_and_port_dependent", allocation = "random" }
local SEQUENTIAL = { mapping = "address_and_port_dependent", allocation = "sequential" }
local STRICT = {
  mapping = "endpoint_independent",
  filtering = "address_and_port_dependent",
  allocation = "preserving",
}
local OPEN = { mapping = "endpoint_independent", filtering = "endpoint_independent" }

-- For each rule facts that it is about, and some that are near but not it.
local CASES = {
  relay_failed = {
    yes = {
      punched({ steps = { step("punch", "PUNCHING_FAILED"), step("relay", "NOT_ALLOWED") } }),
    },
    no = { punched(), punched({ steps = { step("relay") } }) },
    text = "198.18.0.1:9000 did not help either: the peer or the coordinator wants none",
  },
  relay_off = {
    yes = { punched({ nodes = RELAY, relay_off = true }) },
    no = {
      punched({ nodes = RELAY }),
      punched({ nodes = RELAY, relay_off = false }),
      punched({ nodes = NO_RELAY, relay_off = true }),
    },
    text = "198.18.0.1:9000 would relay, but enable_relay_fallback is off here",
  },
  no_relay = {
    yes = { punched({ nodes = NO_RELAY }) },
    no = { punched({ nodes = RELAY }), punched({ nodes = NONE_UP }), punched() },
    text = "No coordinator here relays",
  },
  no_coordinator = {
    yes = { { error = "NO_BOOTSTRAP_NODES", nodes = {} } },
    no = { { error = "NO_BOOTSTRAP_NODES", nodes = DOWN }, { error = "UNREACHABLE", nodes = {} } },
    text = "bootstrap_nodes",
  },
  coordinator_key = {
    yes = { { error = "NO_BOOTSTRAP_NODES", nodes = OTHER } },
    no = { { error = "NO_BOOTSTRAP_NODES", nodes = DOWN }, { error = "TIMEOUT", nodes = UP } },
    text = "At 198.18.0.1:9000 is another coordinator",
  },
  udp_blocked = {
    yes = { { error = "NO_BOOTSTRAP_NODES", nodes = DOWN }, { error = "TIMEOUT", nodes = DOWN } },
    no = {
      { error = "NO_BOOTSTRAP_NODES", nodes = FALLEN },
      { error = "TIMEOUT", nodes = UP },
      { error = "WRONG_KEY", nodes = DOWN },
    },
    text = "198.18.0.1:9000.*UDP seems to be blocked",
  },
  coordinators_lost = {
    yes = { { error = "NO_BOOTSTRAP_NODES", nodes = FALLEN } },
    no = { { error = "NO_BOOTSTRAP_NODES", nodes = UP }, { error = "REFUSED", nodes = FALLEN } },
    text = "answered before",
  },
  not_coordinators = {
    yes = {
      {
        error = "NO_BOOTSTRAP_NODES",
        nodes = { { address = "198.18.0.1:9000", connected = true, can_coordinate = false } },
      },
    },
    no = { { error = "NO_BOOTSTRAP_NODES", nodes = UP } },
    text = "none of them coordinates",
  },
  wrong_key = {
    yes = {
      { error = "WRONG_KEY", steps = { step("dial", "WRONG_KEY") } },
      { error = "TIMEOUT", steps = { step("dial", "WRONG_KEY") } },
    },
    no = { { error = "TIMEOUT", steps = { step("dial", "UNREACHABLE") } } },
    text = "Somebody else answered at 198.18.0.1:9000",
  },
  refused = {
    yes = { { error = "REFUSED" }, { error = "NOT_ALLOWED" } },
    no = {
      { error = "UNKNOWN_TARGET" },
      punched({ steps = { step("punch", "PUNCHING_FAILED"), step("relay", "NOT_ALLOWED") } }),
    },
  },
  unknown_target = {
    yes = { { error = "UNKNOWN_TARGET", nodes = UP } },
    no = { punched() },
    text = "is it running, and registered with the same coordinator",
  },
  coordinator_busy = {
    yes = { { error = "RATE_LIMITED", nodes = UP }, { error = "OVERLOADED", nodes = UP } },
    no = { { error = "LIMIT", nodes = UP } },
  },
  coordinator_lost = {
    yes = {
      punched({
        steps = { step("coordinate", "PEER_NOT_CONNECTED"), step("punch", "PUNCHING_FAILED") },
      }),
    },
    no = { punched() },
    text = "198.18.0.1:9000 was lost in the middle",
  },
  coordinator_silent = {
    yes = { { error = "TIMEOUT", nodes = UP, steps = { step("coordinate", "TIMEOUT") } } },
    no = { punched() },
  },
  expired = { yes = { { error = "EXPIRED" } }, no = { { error = "TIMEOUT" } } },
  no_common_protocol = {
    yes = { { error = "ALPN" }, { error = "TLS" }, { error = "VERSION" } },
    no = { { error = "PROTOCOL" } },
  },
  no_common_family = {
    yes = {
      punched({ remote = { { address = "[2001:db8::1]:5" } } }),
      punched({ sockets = { "[::]:4000" } }),
    },
    no = {
      punched(),
      punched({ remote = {} }),
      punched({ remote = { { address = "[2001:db8::1]:5" } }, sockets = { "[::]:1" } }),
    },
    text = "The peer has IPv[46] addresses only",
  },
  only_private = {
    yes = {
      punched({
        error = "NO_CANDIDATES",
        remote = NEAR,
        steps = { step("punch", "NO_CANDIDATES") },
      }),
    },
    no = {
      punched({ remote = NEAR }),
      punched({ error = "NO_CANDIDATES", steps = { step("punch", "NO_CANDIDATES") } }),
    },
    text = "outside of both networks",
  },
  no_addresses = {
    yes = {
      punched({ error = "NO_CANDIDATES", remote = {}, steps = { step("punch", "NO_CANDIDATES") } }),
    },
    no = { punched() },
  },
  heard_but_no_handshake = {
    yes = {
      punched({
        error = "VALIDATION_TIMEOUT",
        steps = { step("punch", "VALIDATION_TIMEOUT", { sent = 8, heard = 1 }) },
      }),
      punched({ pairs = { { remote = "198.18.0.9:5000", received = 2 } } }),
    },
    no = { punched() },
    text = "1200 bytes",
  },
  peer_udp_blocked = {
    yes = { punched({ theirs = { filtering = "none" } }) },
    no = { punched({ mine = { filtering = "none" } }), punched() },
  },
  same_nat = {
    yes = {
      punched({ same_nat = true, remote = NEAR }),
      punched({ same_nat = true, mine = { mapping = "endpoint_independent", hairpin = false } }),
    },
    no = { punched() },
    text = "behind one NAT",
  },
  both_random = {
    yes = {
      punched({ mine = RANDOM, theirs = RANDOM }),
      punched({ mine = RANDOM, theirs = SEQUENTIAL }),
    },
    no = {
      punched({ mine = SEQUENTIAL, theirs = SEQUENTIAL }),
      punched({ mine = RANDOM, theirs = { mapping = "address_dependent" } }),
      punched({ mine = RANDOM }),
      punched({ mine = RANDOM, theirs = STRICT }),
      punched({
        mine = RANDOM,
        theirs = { mapping = "endpoint_independent", allocation = "random" },
      }),
    },
    text = "a direct path is not possible. A relay or IPv6 would help",
  },
  random_and_strict = {
    yes = {
      punched({ mine = RANDOM, theirs = STRICT }),
      punched({ mine = STRICT, theirs = RANDOM }),
    },
    no = {
      punched({ mine = RANDOM, theirs = OPEN }),
      punched({ mine = RANDOM, theirs = RANDOM }),
      punched({ mine = RANDOM, theirs = SEQUENTIAL }),
    },
    text = "guessing among many ports",
  },
  predictable = {
    yes = {
      punched({ mine = SEQUENTIAL, theirs = STRICT }),
      punched({ mine = STRICT, theirs = SEQUENTIAL }),
      punched({
        theirs = { mapping = "address_dependent", allocation = "block" },
      }),
    },
    no = { punched({ mine = STRICT, theirs = STRICT }), punched({ mine = RANDOM, theirs = OPEN }) },
    text = "policy 'patient'",
  },
  should_have_worked = {
    yes = { punched({ mine = STRICT, theirs = STRICT }) },
    no = {
      punched({ mine = STRICT }),
      punched({ mine = STRICT, theirs = { mapping = "unknown" } }),
      punched({ mine = RANDOM, theirs = OPEN }),
    },
    text = "which can be punched",
  },
  nothing_heard = {
    yes = {
      punched(),
      punched({ mine = RANDOM }),
      punched({ mine = RANDOM, theirs = OPEN }),
      punched({ steps = { step("birthday", "PUNCHING_FAILED", { sent = 8 }) } }),
    },
    no = {
      punched({ mine = RANDOM, theirs = RANDOM }),
      punched({ pairs = { { received = 1 } } }),
    },
    text = "No datagram of the peer came through %(8 were sent to it%)",
  },
  address_silent = {
    yes = { { error = "UNREACHABLE", steps = { step("dial", "UNREACHABLE") } } },
    no = { punched() },
    text = "Nothing came back from 198.18.0.1:9000",
  },
  out_of_time = {
    yes = { { error = "TIMEOUT", timeout = 2, nodes = UP } },
    no = { { error = "TIMEOUT", nodes = UP }, punched({ timeout = 2 }) },
    text = "The 2 s",
  },
  budget = {
    yes = {
      punched({
        steps = { step("punch", "PUNCHING_FAILED", { refused = 7, limit = "punch_prefix" }) },
      }),
    },
    no = {
      punched(),
      punched({
        steps = { step("punch", "PUNCHING_FAILED", { refused = 7, limit = "punch_forbidden" }) },
      }),
    },
    text = "7 datagrams were not sent: the budget for one network",
  },
  guess_again = {
    yes = {
      punched({ retry_after = 17.2, steps = { step("birthday", "PUNCHING_FAILED") } }),
      punched({ retry_after = 17.2, steps = { step("predict", "RATE_LIMITED") } }),
    },
    no = {
      punched({ retry_after = 17.2 }),
      punched({ retry_after = 0, steps = { step("birthday", "PUNCHING_FAILED") } }),
      punched({ steps = { step("birthday", "PUNCHING_FAILED") } }),
    },
    text = "in 18 s it can be tried again",
  },
  forbidden = {
    yes = { punched({ pairs = { { remote = "198.18.0.9:53", limit = "punch_forbidden" } } }) },
    no = { punched({ pairs = { { remote = "198.18.0.9:53", limit = "punch_target" } } }) },
    text = "198.18.0.9:53",
  },
  unusable = {
    yes = { punched({ steps = { step("punch", "PUNCHING_FAILED", { unusable = 2 }) } }) },
    no = { punched() },
    text = "2 of the peer's addresses",
  },
}

local function said(facts, code)
  for _, item in ipairs(advice.of(facts)) do
    if item.code == code then
      return item.text
    end
  end
end

describe("advice", function()
  it("has a case here for each rule, and a word in the API", function()
    local file = assert(io.open("docs/api.md"))
    local told = file:read("a"):match("The codes of `advice` are (.-)\n\n")
    file:close()
    local codes = {}
    for _, code in ipairs(advice.codes()) do
      assert.is_nil(codes[code], code)
      assert.is_truthy(told:find("`" .. code .. "`", 1, true), code)
      codes[code] = true
      assert.is_truthy(CASES[code], code)
    end
    for code in pairs(CASES) do
      assert.is_true(codes[code], code)
    end
  end)

  for code, case in pairs(CASES) do
    it("says " .. code .. " where it is right, and not elsewhere", function()
      for i, facts in ipairs(case.yes) do
        local text = said(facts, code)
        assert.is_string(text, ("case %d"):format(i))
        assert.matches("^[%u%d].*[%.%?]$", text)
        assert.is_nil(text:find("%%"), text)
      end
      if case.text then
        assert.matches(case.text, said(case.yes[1], code))
      end
      for i, facts in ipairs(case.no) do
        assert.is_nil(said(facts, code), ("case %d"):format(i))
      end
    end)
  end

  it("has nothing to say of what went well, or was wanted", function()
    assert.same({}, advice.of({ steps = {}, pairs = {} }))
    assert.same({}, advice.of({ error = "CANCELLED", nodes = DOWN }))
    assert.same({}, advice.of({ error = "CLOSED" }))
  end)

  it("takes facts that are missing for unknown", function()
    for _, code in ipairs({
      "PUNCHING_FAILED",
      "TIMEOUT",
      "NO_CANDIDATES",
      "NO_BOOTSTRAP_NODES",
      "WRONG_KEY",
      "INTERNAL",
    }) do
      assert.is_table(advice.of({ error = code }))
      assert.is_table(advice.of({ error = code, mine = {}, theirs = {}, nodes = {}, remote = {} }))
    end
  end)

  it("stops at what settles it", function()
    local list = advice.of({ error = "UNKNOWN_TARGET", nodes = UP, timeout = 2 })
    assert.equal(1, #list)
    list = advice.of(punched({ mine = RANDOM, theirs = RANDOM }))
    assert.equal("both_random", list[1].code)
    assert.equal(1, #list)
  end)
end)
