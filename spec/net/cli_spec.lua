-- SPDX-License-Identifier: MIT
--
-- The command: its parser and printer, then the whole of it as processes.

local BUILD = os.getenv("ANTQUIC_BUILD") or "build/dev"

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return text
end

local root = capture("pwd"):gsub("%s+$", "")
local build = BUILD:sub(1, 1) == "/" and BUILD or root .. "/" .. BUILD
local environment = ("LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;'"):format(root, root)
  .. (" LUA_CPATH='%s/clib/?.so;;'"):format(build)

describe("the command's parts", function()
  local parse, output, files
  setup(function()
    require("spec.unit.fake").unload()
    parse = require("antquic.cli.parse")
    output = require("antquic.cli.output")
    files = require("antquic.files")
  end)

  local command = {
    name = "try",
    summary = "s",
    args = { { "PEER", "who" } },
    options = { { "--node", "ADDR...", "n" }, { "--key", "FILE", "k" }, { "--json", nil, "j" } },
  }

  it("read a command line", function()
    assert.same(
      { "x", node = { "a", "b" }, key = "f", json = true },
      parse.read(command, { "try", "--node", "a", "x", "--key=f", "--node=b", "--json" }, 2)
    )
    assert.same({ "--key" }, parse.read(command, { "try", "--", "--key" }, 2))
    assert.same({ help = true }, parse.read(command, { "try", "-h" }, 2))
    local cases = {
      { { "try" }, "PEER is missing" },
      { { "try", "a", "b" }, "'b' is one argument too many" },
      { { "try", "a", "--nod", "x" }, "did you mean '%-%-node'" },
      { { "try", "a", "--key" }, "needs a value: FILE" },
      { { "try", "a", "--key", "" }, "needs a value: FILE" },
      { { "try", "a", "--json=1" }, "takes no value" },
    }
    for _, case in ipairs(cases) do
      local given, why = parse.read(command, case[1], 2)
      assert.is_nil(given)
      assert.matches(case[2], why)
    end
  end)

  it("write JSON", function()
    assert.equal(
      '{"a":[1,2.5,"x\\n\\"\\u0001"],"b":{},"c":null,"d":true}',
      (
        output
          .json({ a = { 1, 2.5, 'x\n"\1' }, b = {}, d = true, c = 0 / 0 })
          :gsub('"c":null', '"c":null')
      )
    )
    assert.equal("[]", output.json(setmetatable({}, output.list)))
    assert.equal("1.5 MiB", output.size(1.5 * 1024 * 1024))
    assert.equal("12 B", output.size(12))
  end)

  it("call a relay a way where a coordinator is one", function()
    local nat = require("antquic.cli.nat")
    local random = {
      mapping = "address_and_port_dependent",
      filtering = "address_and_port_dependent",
      allocation = "random",
      external = { "198.18.0.2" },
    }
    local function said(relays)
      return table.concat(nat.lines(random, relays), "\n")
    end
    assert.matches("ports at random +over a relay$", said(true))
    assert.matches("ports at random +not at all, without a relay$", said(false))
    random.filtering = "endpoint_independent"
    assert.is_nil(said(true):find("relay", 1, true))
  end)

  it("take no file name that leads out of the folder", function()
    local hash = ("ab"):rep(32)
    local head = assert(files.header("file 12 " .. hash .. " a name.txt"))
    assert.same({ size = 12, sha256 = hash, name = "a name.txt" }, head)
    for _, name in ipairs({ "../x", "/etc/passwd", "..", ".", "a/b", "a\\b", "a\1b" }) do
      assert.is_nil((files.header("file 12 " .. hash .. " " .. name)), name)
    end
    for _, line in ipairs({ "file x " .. hash .. " n", "file 1 abc n", "fil", "" }) do
      local none, _, code = files.header(line)
      assert.is_nil(none)
      assert.equal("FORMAT", code)
    end
  end)
end)

describe("the command", function()
  local dir
  setup(function()
    dir = capture("mktemp -d"):gsub("%s+$", "")
  end)
  teardown(function()
    os.execute("rm -rf " .. dir)
  end)

  -- await WORD FILE: until the file has it, ten seconds at most.
  local AWAIT = [[
    await() {
      tries=200
      until grep -q "$1" "$2" 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "there is no '$1' in $2"; exit 1; }
        sleep 0.05
      done
    }
  ]]

  -- Runs a shell script in an empty folder; what it leaves behind in its process group is ended.
  local function shell(script)
    local path = dir .. "/script"
    local f = assert(io.open(path, "w"))
    f:write("export ", environment, " HOME=", dir, "/home\necho $$ >", dir, "/group\n")
    f:write("rm -rf ", dir, "/home; mkdir ", dir, "/home; cd ", dir, "/home\n")
    f:write("antquic() { lua5.4 ", root, '/bin/antquic "$@"; }\n', AWAIT, script)
    f:close()
    local text = capture(
      ("timeout -k 2 30 setsid --wait sh %s >%s/out 2>&1 </dev/null; cat %s/out"):format(
        path,
        dir,
        dir
      )
    )
    os.execute(("kill -s TERM -- -$(cat %s/group) 2>/dev/null"):format(dir))
    return text
  end

  it("teaches, and tells misuse by its exit status", function()
    local text = shell([[
      antquic --help >help; echo "help $?"; grep -c "antquic connect PEERID" help
      antquic connect --help | head -1
      antquic; echo "none $?"
      antquic conect; echo "typo $?"
      antquic ping; echo "missing $?"
      antquic ping --cuont 3 x; echo "option $?"
      antquic ping nowhere; echo "address $?"
      antquic ping x --count many; echo "number $?"
      antquic netcheck; echo "nodes $?"
      antquic --version
    ]])
    for _, line in ipairs({
      "help 0\n1\n",
      "usage: antquic connect %[options%] PEER",
      "none 2",
      "'conect' is no command.-typo 2",
      "PEER is missing.-missing 2",
      "unknown option '%-%-cuont'.-option 2",
      "neither a peer id.-address 2",
      "must be a number.-number 2",
      "nodes 2",
      "antquic %d+%.%d+%.%d+ %(ngtcp2/",
    }) do
      assert.matches(line, text)
    end
  end)

  it("keeps an identity", function()
    local text = shell([[
      a=$(antquic id --key k1); b=$(antquic id --key k1); c=$(antquic id --key k2)
      [ ${#a} = 64 ] && [ $a = $b ] && [ $a != $c ] && echo same
      antquic id | grep -q "$(ANTQUIC_KEY=$HOME/.antquic.key antquic id)" && echo default
      stat -c %a k1
      antquic id --key k1 --json
      chmod 644 k1; antquic id --key k1; echo "open $?"
    ]])
    assert.matches("same\ndefault\n600\n", text)
    assert.matches('{"event":"id","key":"k1","peer_id":"%x+"}', text)
    assert.matches("IDENTITY%)\nopen 1", text)
  end)

  it("pipes both ways, and ends with the input", function()
    local text = shell([[
      antquic listen --bind 127.0.0.1:9811 --key l >got <<END &
answer
END
      printf 'one\ntwo\n' | antquic connect 127.0.0.1:9811 --bind 127.0.0.1:0 --key c --timeout 5
      echo "status $?"
      wait $!; echo "listener $?"
      cat got
      antquic listen --bind 127.0.0.1:9817 --key l --echo >log &
      echo three | antquic connect 127.0.0.1:9817 --bind 127.0.0.1:0 --key c --json 2>events
      grep -c '"event":"connected"' events
    ]])
    assert.matches("answer\nstatus 0\nlistener 0\none\ntwo\nthree\n1\n$", text)
  end)

  it("records an attempt, and tells of it from the records of both", function()
    local text = shell([[
      antquic coordinator --bind 127.0.0.1:9821 --key c >log &
      antquic listen --bind 127.0.0.1:0 --bootstrap 127.0.0.1:9821 --key l --echo \
        --record l.record >there & listener=$!
      await listening there
      sleep 0.3
      peer=$(sed -n 's/^peer id //p' there)
      antquic ping $peer --bind 127.0.0.1:0 --bootstrap 127.0.0.1:9821 --key p --count 1 \
        --interval 0 --record p.record >out 2>&1 || cat out
      antquic connect $(printf 'ab%.0s' $(seq 32)) --bind 127.0.0.1:0 --key p \
        --bootstrap 127.0.0.1:9821 --timeout 2 --explain --record f.record; echo "unknown $?"
      sleep 1.1; kill $listener; wait $listener
      grep -q "$peer" p.record l.record; echo "secrets $?"
      antquic trace p.record; echo "trace $?"
      antquic trace --html p.record l.record -o both.html; echo "page $?"
      grep -c '<g class="arrow' both.html
      antquic replay p.record l.record --policy quick --trials 5 --json r.json; echo "replay $?"
      grep -c '"replays":' r.json
      antquic replay p.record --policy nonesuch; echo "policy $?"
      antquic replay there; echo "not a record $?"
      antquic trace p.record f.record; echo "strangers $?"
      antquic trace there; echo "no record $?"
      antquic trace p.record --session s9; echo "which $?"
      antquic trace p.record -o x; echo "usage $?"
    ]])
    assert.matches("what could help:.-does not know the peer.-unknown 3", text)
    assert.matches("\nsecrets 1\n", text)
    assert.matches("attempt s1: connected after.-REQUEST.-connection established.-trace 0", text)
    assert.matches("wrote both.html: 1 attempt\npage 0\n%d+\n", text)
    assert.matches("now, with balanced: %d+ of %d+.-now, with quick: .-replay 0\n1\n", text)
    assert.matches("there is no policy 'nonesuch'.-policy 2", text)
    assert.matches("not a record of antquic.-not a record 1", text)
    assert.matches("no attempt in common.-strangers 1", text)
    assert.matches("not a record of antquic.-no record 1", text)
    assert.matches("no attempt 's9' %(there are s1%).-which 1", text)
    assert.matches("%-o goes with %-%-html.-usage 2", text)
  end)

  it("sends a file again from where it stopped, and refuses damage", function()
    local text = shell([[
      mkdir in; head -c 3000000 /dev/urandom >f
      antquic listen --bind 127.0.0.1:9812 --key l --receive in --json >log &
      sum=$(sha256sum f | cut -d' ' -f1)
      part=in/f.$(echo $sum | cut -c1-16).part
      head -c 1000000 f >$part
      antquic connect 127.0.0.1:9812 --bind 127.0.0.1:0 --key c --send f --json
      cmp f in/f && echo equal
      head -c 1000000 /dev/zero >$part
      antquic connect 127.0.0.1:9812 --bind 127.0.0.1:0 --key c --send f; echo "damaged $?"
      [ -e $part ] || echo "no part left"
      antquic connect 127.0.0.1:9812 --bind 127.0.0.1:0 --key c --send f; echo "again $?"
      antquic connect 127.0.0.1:9812 --bind 127.0.0.1:0 --key c --send none; echo "missing $?"
      grep -c '"event":"received"' log
    ]])
    assert.matches('"event":"sent","name":"f","resumed":1000000', text)
    assert.matches("\nequal\n", text)
    assert.matches("got other bytes.-damaged 1\nno part left", text)
    assert.matches("again 0", text)
    assert.matches("missing 1", text)
    assert.matches("\n2\n$", text)
  end)

  it("says when the receiver's disk is full, and sends a file of no bytes", function()
    -- Only the last 100 bytes don't fit: they fail when the file is closed.
    local text = shell([[
      mkdir narrow; head -c 1048676 /dev/urandom >wide; >empty
      (trap '' XFSZ; ulimit -f 2048; antquic listen --bind 127.0.0.1:9816 --key l \
        --receive narrow --json >log) &
      antquic connect 127.0.0.1:9816 --bind 127.0.0.1:0 --key c --send wide; echo "full $?"
      [ -e narrow/wide ] || echo "not there"
      for i in 1 2 3; do
        antquic connect 127.0.0.1:9816 --bind 127.0.0.1:0 --key c --send empty; echo "empty $?"
      done
      antquic connect 127.0.0.1:9816 --bind 127.0.0.1:0 --key c --send narrow; echo "folder $?"
      antquic listen --key l --receive nowhere; echo "no folder $?"
    ]])
    assert.matches("the receiver says: cannot write narrow/wide.-full 1\nnot there", text)
    assert.matches(("empty 0.-"):rep(3), text)
    assert.matches("cannot read.-folder 1", text)
    assert.matches("nowhere.-no folder 1", text)
  end)

  it("says when its own disk is full, though only the end doesn't fit", function()
    local text = shell([[
      antquic sim --matrix --pairs none:none --trials 1 --json /dev/full; echo "full $?"
      antquic sim --matrix --pairs none:none --trials 1 --json all.json; echo "json $?"
      cat all.json
    ]])
    assert.matches("No space left on device.-full 1", text)
    assert.matches('json 0\n{"pairs": %[\n  {.-"a":"none".-}\n%]}\n', text)
  end)

  it("says that its output doesn't fit, whatever the command", function()
    local text = shell([[
      printf 'print("line")\nio.write("part")' >scenario.lua
      antquic coordinator --bind 127.0.0.1:9842 --key k >log &
      await listening log
      antquic ping $(antquic id --key other) --bind 127.0.0.1:0 --key c \
        --bootstrap 127.0.0.1:9842 --record r 2>/dev/null
      while read command; do
        antquic $command >/dev/full; echo "status $? of $command"
      done <<END
--help
--version
trace --help
id --key k
id --key k --json
ping 127.0.0.1:9842 --bind 127.0.0.1:0 --key c --count 1
netcheck --bind 127.0.0.1:0 --key c --bootstrap 127.0.0.1:9842
trace r
trace --html r
sim --matrix --pairs none:none --trials 1
sim --trace --pairs none:none
sim scenario.lua
END
      mkfifo closed
      exec 3<>closed 4>closed 3>&- # nobody reads there
      (trap '' PIPE; antquic --version >&4; echo "pipe $?")
    ]])
    local _, said = text:gsub("cannot write to standard output: No space", "")
    local _, failed = text:gsub("status 1 of", "")
    assert.same({ 12, 12 }, { said, failed }, text)
    assert.matches("cannot write to standard output: Broken pipe\npipe 1\n", text)
  end)

  it("says that a record or a pipe's output doesn't fit; an interrupt ends a record", function()
    local text = shell([[
      antquic listen --bind 127.0.0.1:9817 --key l --echo --record r >log &
      await listening log
      echo hi | antquic connect 127.0.0.1:9817 --bind 127.0.0.1:0 --key c --record /dev/full
      echo "record $?"
      echo hi | antquic connect 127.0.0.1:9817 --bind 127.0.0.1:0 --key c >/dev/full
      echo "output $?"
      pid=$(cat /proc/$!/task/$!/children); kill -INT ${pid:-$!}
      wait $!; echo "listen $?"
      tail -n 1 r
    ]])
    assert.matches("\nhi\nantquic: /dev/full: the record: No space.-record 1\n", text)
    assert.matches("cannot write to standard output: No space.-output 1\n", text)
    assert.matches('listen 130\n{"e":"end".-}\n$', text)
  end)

  it("says that another coordinator is there", function()
    local text = shell([[
      antquic coordinator --bind 127.0.0.1:9818 --key k >log &
      await listening log
      other=$(antquic id --key other)
      antquic ping --bind 127.0.0.1:0 --key c --bootstrap $other@127.0.0.1:9818 \
        $(antquic id --key l); echo "ping $?"
      antquic netcheck --bind 127.0.0.1:0 --key c --bootstrap $other@127.0.0.1:9818
    ]])
    assert.matches("answered: 127.0.0.1:9818 %(1 failure: the peer proved another key", text)
    assert.is_nil(text:find("UDP", 1, true))
    assert.matches("ping 3\n", text)
    assert.matches("127.0.0.1:9818 *not reached: the peer proved another key", text)
    assert.matches("no coordinator was reached: another one is there", text)
  end)

  it("says who couldn't be reached", function()
    local text = shell([[
      antquic coordinator --bind 127.0.0.1:9813 --key k --json >log &
      antquic ping --bind 127.0.0.1:0 --key c --bootstrap 127.0.0.1:9813 \
        $(antquic id --key other) --json; echo "unknown $?"
      antquic ping --bind 127.0.0.1:0 --key c 127.0.0.1:9 --timeout 0.5; echo "nobody $?"
      antquic netcheck --bind 127.0.0.1:0 --key c --bootstrap 127.0.0.1:9 --timeout 0.5
      echo "blocked $?"
    ]])
    assert.matches('"code":"UNKNOWN_TARGET","event":"error"', text)
    assert.matches("unknown 3", text)
    assert.matches("nobody 3", text)
    assert.matches("not reached.-is UDP blocked%?\nblocked 3", text)
  end)

  it("says that the peer has an allow-list", function()
    local text = shell([[
      antquic listen --bind 127.0.0.1:9846 --key l --echo --allow $(antquic id --key friend) >log &
      await listening log
      antquic ping 127.0.0.1:9846 --bind 127.0.0.1:0 --key c; echo "status $?"
    ]])
    -- In TLS 1.3 it may have looked like a connection for a moment.
    assert.matches(
      "antquic: connection to %S+: not on the allow%-list[^\n]*%(NOT_ALLOWED%)\n",
      text
    )
    local _, names = text:gsub("connection to", "")
    assert.equal(1, names, text)
    assert.is_nil(text:find("application error code", 1, true))
    assert.matches("status 3\n$", text)
  end)

  it("relays, or doesn't", function()
    local text = shell([[
      antquic coordinator --bind 127.0.0.1:9831 --key k >log &
      antquic coordinator --bind 127.0.0.1:9841 --key n --no-relay >log2 &
      await listening log; await listening log2
      antquic netcheck --bind 127.0.0.1:0 --key c --bootstrap 127.0.0.1:9831 \
        --bootstrap 127.0.0.1:9841
    ]])
    assert.matches("127.0.0.1:9831 .-, coordinates and relays, sees", text)
    assert.matches("127.0.0.1:9841 .-, coordinates, sees", text)
  end)

  it("stops computing at an interrupt", function()
    local text = shell([[
      setsid lua5.4 ]] .. root .. [[/bin/antquic sim --matrix --pairs all --trials 1000 >table &
      await initiator table
      kill -INT $!; wait $!; echo "status $?"
    ]])
    assert.matches("status 130\n$", text)
  end)

  it("leaves a program of its user quietly at an interrupt, unless that catches it", function()
    local text = shell([[
      cat >plain.lua <<END
      local antquic = require("antquic")
      antquic.run(function()
        local ep = antquic.endpoint({ bind = "127.0.0.1:0", store = "store" })
        os.remove("store") -- closing it writes another one
        print("up"); io.stdout:flush()
        antquic.sleep(60)
      end)
END
      sed 's/^ *antquic.run(/print(pcall(antquic.run, /
        s/^ *end)$/end)) print("after")/' plain.lua >caught.lua
      cat >virtual.lua <<END
      local antquic = require("antquic")
      antquic.sim({ trace = false, limit = 1e9 }):run(function()
        print("up"); io.stdout:flush()
        while true do
          antquic.sleep(1)
        end
      end)
END
      for name in plain caught virtual; do
        setsid lua5.4 $name.lua >$name.out 2>&1 &
        await up $name.out
        kill -INT $!; wait $!; echo "$name $?"; cat $name.out
        [ -e store ] && echo "closed"
      done
    ]])
    local said = text:gsub("%S+/lua/antquic/%S+", "FILE")
    assert.equal("plain 130\nup\nclosed\n", said:match("^plain.-closed\n"), text)
    assert.matches("\ncaught 0\nup\nfalse\tFILE interrupted!\nafter\n", said)
    assert.matches("\nvirtual 130\nup\n", said)
    assert.is_nil(text:find("traceback", 1, true), text)
  end)

  it("gives a prompt back at an interrupt", function()
    local text = shell([[
      mkfifo typed
      setsid lua5.4 -i <typed >out 2>&1 &
      exec 3>typed
      echo 'antquic = require("antquic")' >&3
      echo 'antquic.run(function() print("up"); antquic.sleep(60) end)' >&3
      await ^up out
      kill -INT $!
      echo 'print("still", "here")' >&3
      exec 3>&-
      wait $!; echo "status $?"; cat out
    ]])
    assert.matches("status 0\n.*\nup\n.*interrupted!.*still\there\n", text)
  end)

  it("ends at an interrupt, telling its peers", function()
    local text = shell([[
      antquic coordinator --bind 127.0.0.1:9814 --key k >log &
      antquic listen --bind 127.0.0.1:0 --key l --echo --bootstrap 127.0.0.1:9814 >peer &
      await from log
      pid=$(cat /proc/$!/task/$!/children); kill -INT ${pid:-$!}
      await left log
      wait $!; echo "status $?"
    ]])
    assert.matches("status 130", text)
    assert.is_nil(text:find("traceback", 1, true))
  end)
end)
