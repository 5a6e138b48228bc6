-- SPDX-License-Identifier: MIT
--
-- Sums what gcov counted: prints the lines that no test ran, a line for each
-- file and the whole, and fails when it is less than was asked for.
--
-- usage: lua5.4 .ci/coverage.lua BUILD FOLDER PERCENT   (from the top folder)

local build, folder, least = arg[1], arg[2], tonumber(arg[3])
assert(build and folder and least, "usage: coverage.lua BUILD FOLDER PERCENT")

local function output(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("a")
  assert(pipe:close(), command .. " failed")
  return text
end

-- lines[file][number]: how often it ran, at most, wherever it was compiled.
local lines, sources = {}, {}

local function count(path)
  local file
  for line in output(("gcov --stdout '%s'"):format(path)):gmatch("[^\n]+") do
    local times, number, text = line:match("^%s*([^:]+):%s*(%d+):(.*)$")
    number = tonumber(number)
    if number == 0 then
      -- Headers of other folders are theirs to count.
      local source = text:match("^Source:(.+)$")
      if source then
        local at = source:find(folder .. "/", 1, true)
        file = at and source:sub(at) or nil
      end
    elseif file and times and times ~= "-" then
      local runs = times:find("#", 1, true) and 0 or tonumber(times:match("%d+"))
      lines[file] = lines[file] or {}
      lines[file][number] = math.max(lines[file][number] or 0, runs or 0)
      sources[file] = sources[file] or {}
      sources[file][number] = text
    end
  end
end

for path in output(("find '%s' -name '*.gcno' | sort"):format(build)):gmatch("[^\n]+") do
  if path:find("antquic_" .. folder:match("[^/]+$"), 1, true) then
    local data = path:gsub("%.gcno$", ".gcda")
    local f = io.open(data)
    assert(f, "no test ran anything of " .. path)
    f:close()
    count(data)
  end
end

local names = {}
for name in pairs(lines) do
  names[#names + 1] = name
end
table.sort(names)
assert(#names > 0, "gcov counted nothing in " .. folder)

local summary, all, run = {}, 0, 0
for _, name in ipairs(names) do
  local numbers, of_file, ran = {}, 0, 0
  for number in pairs(lines[name]) do
    numbers[#numbers + 1] = number
  end
  table.sort(numbers)
  for _, number in ipairs(numbers) do
    of_file = of_file + 1
    if lines[name][number] > 0 then
      ran = ran + 1
    else
      print(("%s:%d: not run: %s"):format(name, number, sources[name][number]))
    end
  end
  all, run = all + of_file, run + ran
  summary[#summary + 1] = ("%6.2f %%  %4d of %4d  %s"):format(
    100 * ran / of_file,
    ran,
    of_file,
    name
  )
end
print(table.concat(summary, "\n"))
local percent = 100 * run / all
print(("%.2f %% of %d lines of %s, at least %g %%"):format(percent, all, folder, least))
os.exit(percent >= least)
