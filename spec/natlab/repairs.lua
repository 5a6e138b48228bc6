-- repairs.lua - scenarios in which the path of a connection is lost while a stream runs each way:
-- NATs forget, get another address, or nothing passes for a while. The bytes must all be there,
-- and the longest time without any is what is measured.
--
-- SPDX-License-Identifier: MIT

local statistics = require "antquic.sim.statistics"

local trial = require "trial"

local TYPES =
  { "fw_only", "full_cone", "addr_restr", "port_restr", "linux", "linux_open", "sym_eif" }

-- Ports must be guessed between these; who dials comes first.
local GUESSES = {
  { "sym_rand", "port_restr" },
  { "linux", "adm_apdf" },
  { "sym_seq", "fw_only" },
}
-- The next guess waits until the budget of the last ones is there again.
local UPGRADED = 45

return function(check, need)
  local list = {}

  -- Two peers with a stream of |bytes| each 10 ms in both directions.
  local function pouring(agent, a, b, bytes, options)
    local pair = trial.topology(agent, a, b, options)
    local lab = pair.lab
    local talk, addresses = { pair = pair, lab = lab }, {}
    local relays = options and options.relays
    for i, site in ipairs { pair.first, relays and pair.second } do
      local _
      _, addresses[i] = trial.coordinator(lab, site, false, nil, relays)
    end
    talk.b = trial.command(lab, pair.host_b, "pour", table.unpack(addresses))
    talk.a = trial.command(lab, pair.host_a, "pour", table.unpack(addresses))
    local peer = need(trial.expect(talk.b, "ready", 10)).id
    need(trial.expect(talk.a, "ready", 10))
    talk.b:write "accept\n"
    talk.a:write(("connect %s\n"):format(peer))
    for _, side in ipairs { talk.a, talk.b } do
      need(trial.expect(side, "connected", 15))
      side:write(("go %d\n"):format(bytes))
    end
    agent:sleep(1)
    return talk
  end

  -- How long it takes until the path is direct, or nil.
  local function direct_after(talk, most)
    local agent = talk.lab.agent
    local began = agent:now()
    while agent:now() - began < most do
      talk.a:write "gap\n"
      local event = trial.expect(talk.a, "gap", 5)
      if event and event.path.kind == "direct" then
        return agent:now() - began
      end
      agent:sleep(0.2)
    end
  end

  -- The longest time without bytes, of both sides, while |act| happens and |seconds| after it.
  local function gap_of(talk, seconds, act)
    local agent = talk.lab.agent
    for _, side in ipairs { talk.a, talk.b } do
      side:write "mark\n"
    end
    act()
    agent:sleep(seconds)
    local worst, lost = 0, nil
    for _, side in ipairs { talk.a, talk.b } do
      side:write "gap\n"
      local event = trial.expect(side, "gap", 5)
      lost = lost or not event
      worst = math.max(worst, event and event.gap or seconds)
    end
    return worst, lost
  end

  -- Both say what they sent and what came; true when it is the same.
  local function settled(talk)
    local sides = { talk.a, talk.b }
    for _, side in ipairs(sides) do
      side:write "stop\n"
    end
    local said = {}
    for i, side in ipairs(sides) do
      said[i] = trial.expect(side, "done", 20) or { poured = {}, drained = {} }
    end
    local bytes, same = 0, true
    for i = 1, 2 do
      local sent, came = said[i].poured, said[3 - i].drained
      same = same and sent.sha256 ~= nil and sent.sha256 == came.sha256 and not came.error
      bytes = bytes + (came.bytes or 0)
      if not same then
        print(
          ("  sent %s bytes %s, came %s bytes %s"):format(
            tostring(sent.bytes),
            tostring(sent.error),
            tostring(came.bytes),
            tostring(came.error)
          )
        )
      end
    end
    return same, bytes
  end

  local function percentile(times, p)
    table.sort(times)
    return statistics.quantile(times, p)
  end

  local function act_of(talk, kind, who)
    local lab, pair = talk.lab, talk.pair
    return function()
      local jobs = {}
      for _, nat in ipairs { who ~= "b" and pair.nat_a, who ~= "a" and pair.nat_b } do
        if nat then
          jobs[#jobs + 1] = function()
            if kind == "renumber" and not nat.spec.public then
              lab:renumber(nat)
            else
              lab:forget(nat)
            end
          end
        end
      end
      local began = lab.agent:now()
      lab.agent:all(jobs)
      local took = lab.agent:now() - began
      if took > 1 then -- which is no time of the peers'
        print(("  the lab needed %.2f s to %s %s"):format(took, kind, who))
      end
    end
  end

  -- One topology, |rounds| times each of what can happen.
  local function against(agent, b, rounds, bytes, all)
    local talk = pouring(agent, "port_restr", b, bytes, { delay = 12 })
    local times, happened = {}, 0
    for round = 1, rounds do
      for _, kind in ipairs { "rebind", "renumber" } do
        for _, who in ipairs { "a", "b", "both" } do
          local act = act_of(talk, kind, who)
          local gap, lost = gap_of(talk, 4, act)
          times[#times + 1], all[#all + 1] = gap, gap
          happened = happened + 1
          if gap >= 3 or lost then
            print(("  round %d, %s of %s: %.2f s without bytes"):format(round, kind, who, gap))
          end
        end
      end
    end
    local same, total = settled(talk)
    talk.lab:close()
    check(
      same and percentile(times, 1) < 3,
      "port_restr:%s %d times: longest silence p50 %.2f s, p99 %.2f s; %d bytes %s",
      b,
      happened,
      percentile(times, 0.5),
      percentile(times, 0.99),
      total,
      same and "all there" or "NOT all there"
    )
  end

  -- A relay takes over; then the path becomes direct again.
  local function guessing(agent, a, b, rounds, all, back)
    local talk = pouring(agent, a, b, 2000, { delay = 12, relays = true })
    local times, happened, direct = {}, 0, 0
    for round = 1, rounds do
      for _, kind in ipairs { "rebind", "renumber" } do
        for _, who in ipairs { "a", "b", "both" } do
          local was = direct_after(talk, UPGRADED)
          direct = direct + (was and 1 or 0)
          if happened > 0 then
            back[#back + 1] = was or UPGRADED
          end
          local gap, lost = gap_of(talk, 4, act_of(talk, kind, who))
          times[#times + 1], all[#all + 1] = gap, gap
          happened = happened + 1
          if gap >= 3 or lost then
            print(
              ("  %s:%s round %d, %s of %s: %.2f s without bytes"):format(
                a,
                b,
                round,
                kind,
                who,
                gap
              )
            )
          end
        end
      end
    end
    local same, total = settled(talk)
    talk.lab:close()
    check(
      same and percentile(times, 1) < 3,
      "%s:%s %d times, %d of them direct: longest silence p50 %.2f s, p99 %.2f s; %d bytes %s",
      a,
      b,
      happened,
      direct,
      percentile(times, 0.5),
      percentile(times, 0.99),
      total,
      same and "all there" or "NOT all there"
    )
  end

  list[#list + 1] = {
    "repair_guess",
    "the same where ports must be guessed: over a relay first, then direct again",
    function(agent)
      local all, back, jobs = {}, {}, {}
      for _, pair in ipairs(GUESSES) do
        jobs[#jobs + 1] = function()
          guessing(agent, pair[1], pair[2], tonumber(os.getenv "NATLAB_ROUNDS") or 1, all, back)
        end
      end
      agent:all(jobs)
      local slow = 0
      for _, seconds in ipairs(back) do
        slow = slow + (seconds >= UPGRADED and 1 or 0)
      end
      check(
        percentile(all, 0.99) < 3 and slow <= #back // 20,
        "all: p50 %.2f s, p99 %.2f s; direct again %d of %d times, half of them %.1f s later",
        percentile(all, 0.5),
        percentile(all, 0.99),
        #back - slow,
        #back,
        4 + percentile(back, 0.5)
      )
    end,
  }

  for name, bytes in pairs { repair = 2000, repair_bulk = 20000 } do
    list[#list + 1] = {
      name,
      "either NAT or both forget or get another address; the connection lives on, nothing is lost",
      function(agent)
        local all = {}
        local jobs = {}
        for _, b in ipairs(TYPES) do
          jobs[#jobs + 1] = function()
            against(agent, b, tonumber(os.getenv "NATLAB_ROUNDS") or 1, bytes, all)
          end
        end
        agent:all(jobs)
        check(
          percentile(all, 0.99) < 3,
          "all: p50 %.2f s, p99 %.2f s",
          percentile(all, 0.5),
          percentile(all, 0.99)
        )
      end,
    }
  end
  table.sort(list, function(x, y)
    return x[1] < y[1]
  end)

  list[#list + 1] = {
    "rebind_often",
    "a NAT forgets every second and four times a second; the public partner loses nothing",
    function(agent)
      for _, every in ipairs { 1, 0.25 } do
        local talk = pouring(agent, "port_restr", "none", 2000)
        local gap = gap_of(talk, 1, function()
          for _ = 1, 8 / every do
            talk.lab:forget(talk.pair.nat_a)
            agent:sleep(every)
          end
        end)
        local same, total = settled(talk)
        talk.lab:close()
        check(
          same,
          "every %.2f s: longest silence %.2f s, %d bytes %s",
          every,
          gap,
          total,
          same and "all there" or "NOT all there"
        )
      end
    end,
  }

  list[#list + 1] = {
    "black_hole",
    "nothing passes for 5 s and for 20 s; then it goes on",
    function(agent)
      for _, seconds in ipairs { 5, 20 } do
        local talk = pouring(agent, "port_restr", "linux", 2000)
        local lab = talk.lab
        local gap = gap_of(talk, 4, function()
          agent:check(lab.inet, "", "iptables", "-I", "FORWARD", "-j", "DROP")
          agent:sleep(seconds)
          agent:check(lab.inet, "", "iptables", "-D", "FORWARD", "-j", "DROP")
        end)
        local same, total = settled(talk)
        lab:close()
        check(
          same and gap < seconds + 2,
          "%d s: goes on %.2f s after the end, %d bytes %s",
          seconds,
          gap - seconds,
          total,
          same and "all there" or "NOT all there"
        )
      end
    end,
  }

  return list
end
