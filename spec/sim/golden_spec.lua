-- SPDX-License-Identifier: MIT
--
-- Whole traces, word by word. They change whenever what is sent changes, and are
-- then to be read: ANTQUIC_GOLDEN=write makes them anew.

local antquic = require("antquic")

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read("a")
  if f then
    f:close()
  end
  return text
end

-- Runs |main| and compares the trace with spec/sim/golden/NAME.txt.
local function golden(name, options, build, main)
  it(name:gsub("_", " "), function()
    local sim <close> = antquic.sim(options)
    local people = build(sim)
    sim:run(function()
      sim:ready()
      antquic.sleep(2) -- until the NATs are measured, which is another story
      sim:note("---")
      main(people)
    end)
    local told = sim:trace():match("%-%-%-\n(.*)")
    local path = ("spec/sim/golden/%s.txt"):format(name)
    if os.getenv("ANTQUIC_GOLDEN") == "write" then
      local f = assert(io.open(path, "wb"))
      f:write(told)
      f:close()
    end
    assert.equal(read(path), told)
  end)
end

local function couple(a, b)
  return function(sim)
    sim:coordinator("carol")
    return {
      alice = sim:peer("alice", { nat = a }),
      bob = sim:peer("bob", { nat = b }):echo(),
    }
  end
end

describe("the story of", function()
  golden(
    "two_home_routers",
    { seed = 1, delay = 0.025 },
    couple("port_restr", "linux"),
    function(people)
      people.alice:must_reach(people.bob, { within = 0.215 })
    end
  )

  golden(
    "a_router_that_answers_strangers",
    { seed = 2, delay = 0.025 },
    couple("linux_open", "port_restr"),
    function(people)
      people.alice:must_reach(people.bob, { within = 0.215 })
    end
  )

  golden(
    "a_symmetric_nat_and_a_cone",
    { seed = 3, delay = 0.025 },
    couple("addr_restr", "sym_rand"),
    function(people)
      people.alice:must_reach(people.bob, { within = 0.280 })
    end
  )

  golden(
    "two_peers_that_nobody_can_introduce",
    { seed = 4, delay = 0.025 },
    couple("udp_blocked", "linux"),
    function(people)
      people.alice:must_not_reach(people.bob, { within = 5, code = "NO_BOOTSTRAP_NODES" })
    end
  )
end)
