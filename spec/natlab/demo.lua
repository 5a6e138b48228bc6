-- demo.lua - a coordinator and two peers, each a process, each peer behind a NAT of its own,
-- find each other by peer id and exchange messages and a file. Network namespaces need root
-- (or user namespaces); without, the same happens on the loopback interface.
--
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path

local Agent = require "agent"
local trial = require "trial"

io.stdout:setvbuf "line"

local SIZE = 1024 * 1024
local quote = Agent.quote

local function say(format, ...)
  print(format:format(...))
end

local function slurp(path)
  local file = io.open(path, "rb")
  local data = file and file:read "a"
  if file then
    file:close()
  end
  return data
end

-- Can namespaces be made here? An ordinary user may own some, where the system lets him: then
-- everything starts anew inside.
local function may_isolate(agent)
  if agent:ask "ns" then
    return true
  elseif arg[1] ~= "inside" and os.execute "unshare -rn true 2>/dev/null" then
    local lua = os.getenv "NATLAB_LUA" or "lua5.4"
    local ok, _, code =
      os.execute(("exec unshare -rn %s %s inside"):format(quote(lua), quote(arg[0])))
    os.exit(ok and 0 or code)
  end
  return false
end

local function show(proc, name)
  proc.heard = {}
  local function line(text)
    say("%-11s | %s", name, text)
    proc.heard[#proc.heard + 1] = text
  end
  for _, text in ipairs(proc.lines) do
    line(text)
  end
  for _, text in ipairs(proc.errors) do
    line(text)
  end
  proc.on_line, proc.on_error = line, line
  return proc
end

-- Waits for a line; returns what the pattern captures.
local function hear(proc, pattern, timeout)
  return proc.agent:await(proc, timeout, function()
    for _, text in ipairs(proc.heard) do
      local found = text:match(pattern)
      if found then
        return found
      end
    end
    if proc.status then
      return false
    end
    return nil
  end)
end

-- Where the three programs run: nodes of the lab, or all of them right here.
local function places(agent, isolated)
  if isolated then
    local pair = trial.topology(agent, "port_restr", "linux")
    say "Three network namespaces, joined by a fourth that plays the internet:"
    say("  coordinator  %s", pair.first.address)
    for _, entry in ipairs { { "alice", pair.host_a }, { "bob", pair.host_b } } do
      local host, nat = entry[2], entry[2].nat
      say("  %-12s %s behind %s, a '%s' NAT", entry[1], host.address, nat.address, nat.kind)
    end
    return {
      spawn = function(node, ...)
        return pair.lab:spawn(node, ...)
      end,
      coordinator = pair.first,
      alice = pair.host_a,
      bob = pair.host_b,
      address = pair.first.address .. ":9000",
      bind = "0.0.0.0:0",
      direct = pair.nat_b.address,
      close = function()
        pair.lab:close()
      end,
    }
  end
  say "No right to make network namespaces here (root has it): no NATs, all on loopback."
  local here = { id = -1, name = "here" }
  return {
    spawn = function(node, ...)
      return agent:spawn(node, ...)
    end,
    coordinator = here,
    alice = here,
    bob = here,
    address = "127.0.0.1:0",
    bind = "127.0.0.1:0",
    direct = "127.0.0.1",
    close = function() end,
  }
end

local failures = 0
local function check(ok, format, ...)
  say("%-4s %s", ok and "ok" or "FAIL", format:format(...))
  failures = failures + (ok and 0 or 1)
end

local function converse(agent, folder, isolated)
  local lua = os.getenv "NATLAB_LUA" or "lua5.4"
  local at = places(agent, isolated)
  local script = agent.root .. "/examples/demo_peer.lua"
  local coordinator =
    at.spawn(at.coordinator, lua, agent.here .. "/peer.lua", "coordinator", at.address)
  local ready, why = trial.expect(coordinator, "ready", 10)
  if not ready then
    error("the coordinator does not start: " .. why, 0)
  end
  say("%-11s | listening at %s, peer id %s", "coordinator", ready.address, ready.id)
  show(coordinator, "coordinator")

  local bob = at.spawn(at.bob, lua, script, ready.address, at.bind, folder)
  show(bob, "bob")
  local id = hear(bob, "^I am (%x+)$", 10)
  local registered = id and hear(bob, "^the coordinator is at (.*)$", 5)
  if not registered then
    error("bob does not get as far as the coordinator", 0)
  end
  local file = folder .. "/sent"
  local alice = at.spawn(at.alice, lua, script, ready.address, at.bind, folder, id, file)
  show(alice, "alice")
  alice:wait(60)
  bob:wait(10)

  print ""
  check(alice.status == 0 and bob.status == 0, "both peers ended well")
  local remote = hear(alice, "^path direct: .* to ([%d.]+):%d+$", 0.01)
  check(remote == at.direct, "the path is direct, to %s", tostring(remote or nil))
  local sent, received = slurp(file), slurp(folder .. "/random.bin")
  check(sent and #sent == SIZE and sent == received, "the %d bytes of the file are equal", SIZE)
  coordinator:kill(15)
  coordinator:wait(2)
  at.close()
end

local function scratch()
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -m 700 " .. quote(folder)))
  local random = assert(io.open("/dev/urandom", "rb"))
  local file = assert(io.open(folder .. "/sent", "wb"))
  file:write(random:read(SIZE))
  file:close()
  random:close()
  return folder
end

local agent = Agent.start()
local isolated
agent:main(function()
  isolated = may_isolate(agent)
end)
local folder = scratch()
local ok, why = pcall(agent.main, agent, converse, agent, folder, isolated)
agent:close()
os.execute("rm -r " .. quote(folder))
if not ok then
  io.stderr:write("demo: ", tostring(why), "\n")
end
os.exit(ok and failures == 0)
