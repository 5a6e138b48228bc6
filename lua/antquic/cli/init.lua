-- The antquic command: picks the command, reads its line, runs it, and turns
-- the outcome into an exit status.
--
-- SPDX-License-Identifier: MIT

local interrupt = require("antquic.interrupt")
local output = require("antquic.cli.output")
local parse = require("antquic.cli.parse")

local cli = {}

cli.DONE, cli.FAILED, cli.USAGE, cli.UNREACHED, cli.INTERRUPTED = 0, 1, 2, 3, 130

local ORDER =
  { "id", "coordinator", "listen", "connect", "ping", "netcheck", "trace", "replay", "sim" }

local function command(name)
  for _, known in ipairs(ORDER) do
    if known == name then
      return require("antquic.cli." .. name)
    end
  end
end

local ABOUT = [[
antquic connects programs and people by public key, through NATs.

Every peer has a key; its peer id is 64 hex digits made from it. A coordinator
is a peer that others can reach: it introduces them to each other, then they
talk directly, encrypted from end to end.

A first try, on three machines (on one, give each --key FILE of its own):

  antquic coordinator --bind 0.0.0.0:9000        on a machine with a public address
  antquic listen --bootstrap IP:9000 --echo      prints a peer id
  antquic connect PEERID --bootstrap IP:9000     type a line, it comes back
]]

local FOOT = [[
PEER is a peer id, an address (1.2.3.4:9000, [::1]:9000), or both
(PEERID@1.2.3.4:9000: tried there first, and nobody else is accepted).

environment:
  ANTQUIC_KEY        the key file, default ~/.antquic.key
  ANTQUIC_BOOTSTRAP  coordinators, separated by commas or spaces

exit status: 0 done, 1 failed, 2 wrong usage, 3 the peer or coordinator was
not reached, 130 interrupted.

'antquic COMMAND --help' tells more about each command.
]]

--- The text of --help.
---@return string
function cli.help()
  local lines = { "usage: antquic COMMAND [options] [arguments]", "", ABOUT, "commands:" }
  for _, name in ipairs(ORDER) do
    lines[#lines + 1] = ("  %-12s %s"):format(name, command(name).summary)
  end
  lines[#lines + 1] = ("  %-12s %s"):format("--version", "the version, and what is linked in")
  lines[#lines + 1] = ""
  lines[#lines + 1] = FOOT
  return table.concat(lines, "\n")
end

local function complain(text)
  io.stderr:write("antquic: ", text, "\n")
end

local function trace(err)
  if interrupt.is(err) then
    return err
  end
  return debug.traceback(tostring(err), 2)
end

-- The status, once the record has its end: also after an interrupt, and a full
-- disk is told.
local function written(given, status)
  if not given.recorder then
    return status
  end
  local ok, why = given.recorder:close()
  if ok then
    return status
  end
  complain(("%s: %s"):format(given.record, why))
  return status == cli.DONE and cli.FAILED or status
end

local function run(argv)
  local name = argv[1]
  if name == nil or name == "help" or name == "--help" or name == "-h" then
    local wanted = name == "help" and argv[2] and command(argv[2])
    io.write(wanted and parse.help(wanted) or cli.help())
    return name == nil and cli.USAGE or cli.DONE
  elseif name == "--version" or name == "version" then
    local antquic = require("antquic")
    print(("antquic %s (%s, %s)"):format(antquic._VERSION, antquic.dependency_versions(), _VERSION))
    return cli.DONE
  end
  local chosen = command(name)
  if not chosen then
    complain(("'%s' is no command; there are %s"):format(name, table.concat(ORDER, ", ")))
    return cli.USAGE
  end
  local given, why = parse.read(chosen, argv, 2)
  if not given then
    complain(why)
    io.stderr:write(parse.usage(chosen), "\n")
    return cli.USAGE
  elseif given.help then
    io.write(parse.help(chosen))
    return cli.DONE
  end
  local antquic = require("antquic")
  local status
  local ok, err = xpcall(function()
    -- Lua's interpreter interrupts its main thread alone: what computes for long
    -- is not a task.
    if chosen.computes then
      status = chosen.run(given)
    else
      status = antquic.run(chosen.run, given)
    end
  end, trace)
  if ok then
    status = status or cli.DONE
  elseif interrupt.is(err) then
    status = cli.INTERRUPTED
  else
    complain(tostring(err))
    status = cli.FAILED
  end
  return written(given, status)
end

--- Runs the command line. Returns the exit status.
---@param argv string[]
---@return integer
function cli.main(argv)
  local is_whole = output.watch(complain)
  local status = run(argv)
  return not is_whole() and status == cli.DONE and cli.FAILED or status
end

return cli
