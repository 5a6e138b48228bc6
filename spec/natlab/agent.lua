-- agent.lua - the Lua side of labtool: a scheduler of coroutines whose waiting calls are
-- requests to the agent process. One agent per lab; when this process ends, so does it all.
--
-- SPDX-License-Identifier: MIT

local Agent = {}
Agent.__index = Agent

local Process = {}
Process.__index = Process

local function encode(word)
  return (
    tostring(word):gsub("[%c %%\127-\255]", function(c)
      return string.format("%%%02X", c:byte())
    end)
  )
end

local function decode(word)
  return (word:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function quote(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
end
Agent.quote = quote

--- The folder of this file and the root of the repository.
local here = debug.getinfo(1, "S").source:match("^@(.*)agent%.lua$")
here = here == "" and "." or here:gsub("/$", "")
Agent.here = here
Agent.root = here .. "/../.."

local function shell(command)
  return (os.execute(command))
end

--- Compiles labtool unless it is newer than its sources. Returns its path.
function Agent.build()
  local dir = os.getenv("NATLAB_BUILD") or (Agent.root .. "/build/natlab")
  local tool = dir .. "/labtool"
  local sources, stale = {}, false
  for _, name in ipairs { "labtool.c", "process.c", "netlink.c", "delaybox.c", "labtool.h" } do
    local path = quote(here .. "/" .. name)
    stale = stale or not shell(("test %s -nt %s"):format(quote(tool), path))
    if name:find("%.c$") then
      sources[#sources + 1] = path
    end
  end
  if stale then
    local scratch = quote(tool .. "." .. os.time() .. ".tmp")
    local ok = shell("mkdir -p " .. quote(dir))
      and shell(
        ("%s -std=c11 -O2 -Wall -Wextra -o %s %s"):format(
          os.getenv("CC") or "cc",
          scratch,
          table.concat(sources, " ")
        )
      )
      and shell(("mv %s %s"):format(scratch, quote(tool)))
    if not ok then
      error("natlab: cannot compile labtool (needs a C compiler and the kernel's headers)", 0)
    end
  end
  return tool
end

--- Starts an agent. The two halves talk over its standard input and a FIFO.
function Agent.start()
  local tool = Agent.build()
  local fifo = os.tmpname()
  assert(os.remove(fifo))
  if not shell("mkfifo -m 600 " .. quote(fifo)) then
    error("natlab: cannot make a FIFO in the folder for temporary files", 0)
  end
  local to = assert(io.popen(("exec %s agent >%s"):format(quote(tool), quote(fifo)), "w"))
  local from = assert(io.open(fifo, "r"))
  os.remove(fifo)
  to:setvbuf("full", 65536)
  local self = setmetatable({
    tool = tool,
    to = to,
    from = from,
    last = 0,
    replies = {}, -- request id -> function(ok, words)
    procs = {}, -- pid -> Process
    socks = {}, -- socket -> function(dgram)
    ready = {}, -- coroutines to be resumed: { co, ... }
    live = 0,
  }, Agent)
  return self
end

function Agent:close()
  if self.to then
    self.to:close()
    self.from:close()
    self.to = nil
  end
end
Agent.__gc = Agent.close
Agent.__close = Agent.close

function Agent:post(on_reply, command, ...)
  self.last = self.last + 1
  local words = { self.last, command }
  for i, word in ipairs { ... } do -- up to the first nil
    words[i + 2] = encode(word)
  end
  self.replies[self.last] = on_reply
  self.to:write(table.concat(words, " "), "\n")
  self.dirty = true
  return self.last
end

--- Sends one request and waits for its answer. Returns the words of the answer, or
--- nil and the reason.
function Agent:ask(command, ...)
  local co, done = coroutine.running(), nil
  self:post(function(ok, words)
    done = { ok, words }
    if coroutine.status(co) == "suspended" then
      self.ready[#self.ready + 1] = { co }
    end
  end, command, ...)
  while not done do
    coroutine.yield()
  end
  if not done[1] then
    return nil, table.concat(done[2], " ")
  end
  return table.unpack(done[2])
end

--- As ask, but a failure is an error.
function Agent:need(command, ...)
  local result = table.pack(self:ask(command, ...))
  if result.n > 0 and result[1] == nil then
    error("natlab: " .. command .. ": " .. tostring(result[2]), 2)
  end
  return table.unpack(result, 1, result.n)
end

function Agent:sleep(seconds)
  self:need("timer", seconds)
end

function Agent:now()
  return tonumber((self:need("now")))
end

--- Waits until poll() gives something, asked again after every `touch` of the object, or
--- until the time is up (then nil).
function Agent:await(object, timeout, poll)
  local co = coroutine.running()
  local expired = false
  local value = poll()
  if value ~= nil then
    return value
  end
  object.waiters = object.waiters or {}
  local timer = self:post(function()
    expired = true
    self.ready[#self.ready + 1] = { co }
  end, "timer", timeout)
  while value == nil and not expired do
    object.waiters[co] = true
    coroutine.yield()
    value = poll()
  end
  object.waiters[co] = nil
  if not expired then
    self.replies[timer] = nil
    self:post(function() end, "cancel", timer)
  end
  return value
end

--- Lets everybody who waits on the object look again.
function Agent:touch(object)
  for co in pairs(object.waiters or {}) do
    object.waiters[co] = nil
    self.ready[#self.ready + 1] = { co }
  end
end

--- Runs a program to its end in a namespace. Returns its exit status and its output.
function Agent:run(ns, input, ...)
  local status, text = self:need("run", ns.id, input, ...)
  return tonumber(status), text or ""
end

--- As run, but a status other than 0 is an error.
function Agent:check(ns, input, ...)
  local status, text = self:run(ns, input, ...)
  if status ~= 0 then
    error(("natlab: %s in %s: %s\n%s"):format(table.concat({ ... }, " "), ns.name, text, input), 2)
  end
  return text
end

-- ---- processes

--- Starts a program in a namespace; its lines wait in the object that is returned.
function Agent:spawn(ns, ...)
  local words = { ... }
  local pid = assert(tonumber((self:need("spawn", ns.id, ...))))
  local proc = setmetatable({
    agent = self,
    pid = pid,
    name = table.concat(words, " "),
    lines = {},
    errors = {},
  }, Process)
  -- lines may have come in the same read as the answer
  local early = self.procs[pid]
  self.procs[pid] = proc
  for _, event in ipairs(early or {}) do
    self:process_event(proc, event[1], event[2])
  end
  return proc
end

function Agent:process_event(proc, kind, text)
  if kind == "exit" then
    proc.status = tonumber(text)
    self.procs[proc.pid] = nil
  elseif kind == "line" then
    proc.lines[#proc.lines + 1] = text
    if proc.on_line then
      proc.on_line(text)
    end
  else
    proc.errors[#proc.errors + 1] = text
    if #proc.errors > 200 then
      table.remove(proc.errors, 1)
    end
    if proc.on_error then
      proc.on_error(text)
    end
  end
  self:touch(proc)
end

--- The next line, or nil after the timeout or when the process has ended.
function Process:read(timeout)
  local line = self.agent:await(self, timeout, function()
    if #self.lines > 0 then
      return table.remove(self.lines, 1)
    end
    if self.status then
      return false
    end
    return nil
  end)
  return line or nil
end

function Process:write(text)
  return self.agent:ask("write", self.pid, text)
end

function Process:kill(signal)
  if not self.status then
    return self.agent:ask("kill", self.pid, signal or 9)
  end
end

--- Waits for the end of the process. Returns its status, or nil after the timeout.
function Process:wait(timeout)
  return self.agent:await(self, timeout, function()
    return self.status
  end)
end

--- Ends the process: politely by closing its input, then by force.
function Process:stop(timeout)
  if not self.status then
    self.agent:ask("eof", self.pid)
    if not self:wait(timeout or 1) then
      self:kill(9)
      self:wait(2)
    end
  end
  return self.status
end

--- What the process wrote to its standard error, the newest lines.
function Process:complaint()
  return table.concat(self.errors, "\n")
end

-- ---- sockets

--- Opens a UDP socket in a namespace: socket:send(ip, port, data, ttl), socket:receive(t).
function Agent:udp(ns, ip, port)
  local agent = self
  local id, bound = self:need("udp", ns.id, ip, port or 0)
  local socket = { id = tonumber(id), port = tonumber(bound), ip = ip, queue = {} }
  function socket.send(_, to_ip, to_port, data, ttl)
    agent:post(function() end, "send", socket.id, to_ip, to_port, ttl or 64, data)
  end
  function socket.receive(_, timeout)
    return agent:await(socket, timeout, function()
      return table.remove(socket.queue, 1)
    end)
  end
  function socket.close()
    agent.socks[socket.id] = nil
    agent:ask("close", socket.id)
  end
  self.socks[socket.id] = socket
  return socket
end

-- ---- the loop

local handlers = {}

function handlers.dgram(self, words)
  local socket = self.socks[tonumber(words[3])]
  if socket then
    local dgram = {
      time = tonumber(words[4]),
      ip = words[5],
      port = tonumber(words[6]),
      data = decode(words[7] or ""),
    }
    if socket.on_dgram then
      socket.on_dgram(dgram)
    else
      socket.queue[#socket.queue + 1] = dgram
      self:touch(socket)
    end
  end
end

local function on_process(self, words)
  local pid = tonumber(words[3])
  local proc = self.procs[pid]
  local text = decode(words[4] or "")
  if proc and getmetatable(proc) == Process then
    self:process_event(proc, words[2], text)
  else
    self.procs[pid] = proc or {}
    table.insert(self.procs[pid], { words[2], text })
  end
end
handlers.line, handlers.stderr, handlers.exit = on_process, on_process, on_process

function Agent:pump()
  if self.dirty then
    self.to:flush()
    self.dirty = false
  end
  local line = self.from:read("l")
  if not line then
    error("natlab: the agent has ended", 0)
  end
  local words = {}
  for word in (line .. " "):gmatch("([^ ]*) ") do
    words[#words + 1] = word
  end
  local id = tonumber(words[1])
  if id == 0 then
    handlers[words[2]](self, words)
    return
  end
  local on_reply = self.replies[id]
  self.replies[id] = nil
  local rest = {}
  for i = 3, #words do
    rest[#rest + 1] = decode(words[i])
  end
  if on_reply then -- not a timer that was cancelled too late
    on_reply(words[2] == "ok", rest)
  end
end

--- Starts a coroutine. An error in it ends the whole run.
function Agent:go(fn, ...)
  self.live = self.live + 1
  local args = table.pack(...)
  local co = coroutine.create(function()
    fn(table.unpack(args, 1, args.n))
    self.live = self.live - 1
  end)
  self.ready[#self.ready + 1] = { co }
end

--- Runs functions as coroutines and waits for all of them.
function Agent:all(list)
  local group = { left = #list }
  for _, fn in ipairs(list) do
    self:go(function()
      fn()
      group.left = group.left - 1
      self:touch(group)
    end)
  end
  self:await(group, 1e6, function()
    return group.left == 0 or nil
  end)
end

--- Runs fn and everything it starts.
function Agent:main(fn, ...)
  self:go(fn, ...)
  while self.live > 0 do
    while #self.ready > 0 do
      local batch = self.ready
      self.ready = {}
      for _, entry in ipairs(batch) do
        local co = entry[1]
        if coroutine.status(co) == "suspended" then
          local ok, message = coroutine.resume(co)
          if not ok then
            error(debug.traceback(co, tostring(message)), 0)
          end
        end
      end
    end
    if self.live > 0 then
      self:pump()
    end
  end
end

return Agent
