-- SPDX-License-Identifier: MIT
--
-- examples/README.md, run as printed: each "sh" block by a shell of its own,
-- whose output must have the lines of the "text" block after it.

local BUILD = os.getenv("ANTQUIC_BUILD") or "build/dev"
local LIMIT = 60 -- seconds for a block

local function read(path)
  local f = assert(io.open(path))
  local text = f:read("a")
  f:close()
  return text
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return (text:gsub("%s+$", ""))
end

-- What `eval "$(./bootstrap.sh env)"` sets, for the build under test.
local root = capture("pwd")
local build = BUILD:sub(1, 1) == "/" and BUILD or root .. "/" .. BUILD
local environment = ([[
export LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;'
export LUA_CPATH='%s/clib/?.so;;'
PATH='%s/bin':$PATH
]]):format(root, root, build, root)

local function run(block)
  local script, output, group = os.tmpname(), os.tmpname(), os.tmpname()
  local f = assert(io.open(script, "w"))
  f:write(environment, "set -e\necho $$ >", group, "\n", block)
  f:close()
  -- A session of its own, so that what runs in the background can be ended.
  local command = ("timeout -k 2 %d setsid --wait sh %s >%s 2>&1 </dev/null; echo $?"):format(
    LIMIT,
    script,
    output
  )
  local status = tonumber(capture(command))
  os.execute(("kill -s TERM -- -%s 2>/dev/null"):format(capture("cat " .. group)))
  local text = read(output)
  os.remove(script)
  os.remove(output)
  os.remove(group)
  return status, text
end

local function pattern_of(line)
  local words = {}
  for word in line:gmatch("%S+") do
    words[#words + 1] = word:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".-")
  end
  return table.concat(words, "%s+")
end

describe("examples/README.md", function()
  local text = read("examples/README.md")
  local count = 0
  for title, section in text:gsub("\n## ", "\1"):gmatch("\1([^\n]+)\n([^\1]*)") do
    local block = section:match("```sh\n(.-)```")
    if block then
      count = count + 1
      it(title, function()
        local status, output = run(block)
        assert.equal(0, status, output)
        for line in (section:match("```text\n(.-)```") or ""):gmatch("[^\n]+") do
          assert.matches(pattern_of(line), output)
        end
      end)
    end
  end
  it("has blocks", function()
    assert.is_true(count >= 5, count .. " blocks")
  end)
end)
