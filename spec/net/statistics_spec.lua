-- SPDX-License-Identifier: MIT
--
-- ep:statistics() field by field: what moves it, and where it stays. The C
-- counters have spec/c/test_stats.c; here it is what Lua adds to them.

local support = require("spec.net.support")
local antquic = support.antquic
local it = support.it

-- Each has a story that gives the endpoint to look at and what the field is
-- then: a value, or a function that judges it.
local FIELDS = {}

local function field(names, story)
  for _, name in ipairs(names) do
    assert(not FIELDS[name], name)
    FIELDS[name] = story
  end
end

local function positive(value)
  return type(value) == "number" and value > 0
end

local function connected()
  local a = support.pair()
  return a
end

-- A stream that nobody holds is closed by the collector.
local held

-- With a session that nobody answers, and all that is open.
local function busy()
  local a, b = support.trio()
  local conn = assert(a:connect(b.peer_id, { timeout = 5 }))
  held = assert(conn:open_stream())
  held:write("x")
  a:start_traversal(antquic.identity.generate().peer_id, { timeout = 5 })
  return a
end

local function traversed()
  local a, b = support.trio()
  assert(a:connect(b.peer_id, { timeout = 5 }))
  return a
end

field({ "current_connections", "current_memory" }, function()
  return connected(), positive
end)
field({ "current_streams" }, function()
  return busy(), 1
end)
field({ "current_sessions", "active_sessions" }, function()
  return busy(), 1
end)
field({ "total_bootstrap_nodes" }, function()
  return busy(), 1
end)
field({ "successful_coordinations" }, function()
  return traversed(), 1
end)
field({ "average_coordination_time" }, function()
  return traversed(),
    function(value, s)
      -- Measured: it is the time that the core counted, and no round number.
      return value > 0 and value < 5 and value == s.coordination_time_total_ns / 1e9
    end
end)
field({ "current_registrations" }, function()
  local _, _, c = support.trio()
  support.eventually(function()
    return c:statistics().current_registrations > 0
  end)
  return c, 2
end)
field({ "current_half_open" }, function()
  local server = support.endpoint({ handshake_timeout = 10 })
  -- A first packet of somebody who says no more.
  local client = support.endpoint()
  assert(client._core:connect_addr(support.address(server)))
  client._core:step()
  local deadline = antquic.now() + 2
  repeat
    server._core:step()
  until server:statistics().current_half_open > 0 or antquic.now() > deadline
  client:close()
  return server, 1
end)
field({ "current_events" }, function()
  local ep = support.endpoint()
  -- Not turned, so that what happened stays in the ring.
  assert(ep._core:connect_addr("127.0.0.1:9", nil, nil, 0.01))
  local until_ = antquic.now() + 2
  while ep._core:usage().events == 0 and antquic.now() < until_ do
    ep._core:step()
  end
  return ep, positive
end)
field({ "policy_errors" }, function()
  local ep = support.endpoint({
    policy = {
      coordinators = function()
        error("on purpose")
      end,
    },
  })
  ep:on("policy_error", function() end)
  ep:_coordinators(ep._policy)
  return ep, 1
end)
field({ "accept_queue_dropped" }, function()
  local ep = support.endpoint()
  ep._accepted.limit = 0
  local other = support.endpoint()
  assert(other:connect(support.address(ep), { timeout = 5 }))
  support.eventually(function()
    return ep:statistics().accept_queue_dropped > 0
  end)
  return ep, 1
end)
field({
  "io_recv_calls",
  "io_recv_datagrams",
  "io_recv_bytes",
  "io_send_calls",
  "io_send_datagrams",
  "io_send_bytes",
}, function()
  return connected(), positive
end)

-- The system's refusals need a system that refuses.
local IN_C = {
  io_send_blocked = { "test_io_send.c", "test_full" },
  io_send_errors = { "test_io_send.c", "test_too_large" },
  io_recv_errors = { "test_io.c", "test_recv_error" },
  io_scan_errors = { "test_runtime.c", "test_no_interfaces" },
  io_ecn = { "test_io.c", "test_no_ecn" },
  io_gso = { "test_io_send.c", "test_no_offload" },
  io_gro = { "test_io.c", "test_batches" },
}

local function read(path)
  local f = assert(io.open(path))
  local text = f:read("a")
  f:close()
  return text
end

local function counters_of_c()
  local names = {}
  local map = read("src/antquic_maps.h"):match("#define AQ_STATS_MAP%(X%)(.-)\n\n")
  for name in map:gmatch("X%((%l[%l%d_]*)%)") do
    names[name] = true
  end
  assert(next(names))
  return names
end

describe("statistics", function()
  it("of an endpoint to which nothing happened stay", function()
    local ep = support.endpoint()
    antquic.sleep(0.001) -- what its making gave is polled
    local s = ep:statistics()
    assert.is_nil(s.average_coordination_time)
    for name in pairs(counters_of_c()) do
      assert.equal(0, s[name], name)
    end
    for name in pairs(FIELDS) do
      if name ~= "current_memory" and name ~= "average_coordination_time" then
        assert.equal(0, s[name], name)
      end
    end
    for name in pairs(IN_C) do
      if type(s[name]) == "number" then
        assert.equal(0, s[name], name)
      end
    end
  end)

  local names = {}
  for name in pairs(FIELDS) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local story = FIELDS[name]
    it(("have %s, which moves"):format(name), function()
      local ep, want = story()
      local s = ep:statistics()
      if type(want) == "function" then
        assert.is_true(want(s[name], s), ("%s is %s"):format(name, tostring(s[name])))
      else
        assert.equal(want, s[name])
      end
    end)
  end

  it("have every field proven here or in C, and no other", function()
    local a = traversed()
    local in_c = counters_of_c()
    local s, core = a:statistics(), a._core:statistics()
    for name in pairs(s) do
      assert.is_true((in_c[name] or FIELDS[name] or IN_C[name]) ~= nil, name .. " has no test")
    end
    for name in pairs(in_c) do
      assert.equal("integer", math.type(core[name]), name)
      assert.is_not_nil(s[name], name)
    end
    for name in pairs(FIELDS) do
      assert.is_not_nil(s[name], name)
    end
    for name, where in pairs(IN_C) do
      assert.is_not_nil(s[name], name)
      local text = read("spec/c/" .. where[1])
      assert.matches("static void " .. where[2] .. "%(", text)
    end
  end)
end)
