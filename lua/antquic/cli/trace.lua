-- antquic trace: what a record tells, as text or as a page with the ladder
-- diagram.
--
-- SPDX-License-Identifier: MIT

local common = require("antquic.cli.common")
local output = require("antquic.cli.output")
local plural = require("antquic.plural")

local function line_of(item, start)
  local time = ((item.t1 or item.t) - start) * 1e3
  if item.from then
    return ("%10.1f  %-12s -> %-12s  %-24s %s"):format(
      time,
      item.from_name,
      item.to_name,
      item.label,
      item.what or ""
    )
  end
  return ("%10.1f  %-12s  . %s"):format(time, item.at_name, item.label)
end

local function print_text(ladder)
  print(tostring(ladder.told))
  if ladder.told_there then
    print("the other side:")
    print(tostring(ladder.told_there))
  end
  if ladder.clock then
    print("the two clocks: " .. ladder.clock)
  end
  print(("%10s  what happened"):format("ms"))
  for _, item in ipairs(require("antquic.trace.items").of(ladder)) do
    print(line_of(item, ladder.start))
  end
end

return {
  name = "trace",
  computes = true,
  summary = "show how an attempt went, from its record",
  about = "Reads a record that --record or ep:record wrote, and tells how the attempts in it\n"
    .. "went. With the records of both peers it knows what became of each datagram. --html\n"
    .. "writes a page with the ladder diagram, which needs nothing but a browser.",
  args = { { "FILE...", "a record, or two: of both peers" } },
  options = {
    { "--html", nil, "write a page instead of text" },
    { "-o", "FILE", "where to write it; default: standard output" },
    { "--session", "NAME", "this attempt only, like s2" },
  },
  examples = {
    "antquic trace attempt.record",
    "antquic trace --html alice.record bob.record -o attempt.html",
  },
  run = function(given)
    if given._o and not given.html then
      return common.fail(given, "-o goes with --html", "CONFIG")
    end
    local ladders, message, code, records = common.ladders(given)
    if not ladders then
      local status = code ~= "CONFIG" and require("antquic.cli").FAILED or nil
      return common.fail(given, message, code, status)
    end
    if not given.html then
      for i, record in ipairs(records) do
        for _, problem in ipairs(record.problems) do
          io.stderr:write(("antquic: %s: %s\n"):format(given[i], problem))
        end
      end
      for _, ladder in ipairs(ladders) do
        print_text(ladder)
      end
      return nil
    end
    local names = {}
    for i, path in ipairs(given) do
      names[i] = path:match("([^/]*)$")
    end
    local page = require("antquic.trace.html").page(ladders, records, names)
    if not given._o then
      io.write(page)
      return nil
    end
    local ok, why = output.save(given._o, page)
    if not ok then
      return common.fail(given, tostring(why), "NETWORK")
    end
    io.stderr:write(("wrote %s: %s\n"):format(given._o, plural(#ladders, "attempt")))
  end,
}
