-- One self-contained page: what the attempt came to, its ladder, and everything
-- as a table. Whatever comes from a record is escaped.
--
-- SPDX-License-Identifier: MIT

local core = require("antquic.core")
local items = require("antquic.trace.items")
local layout = require("antquic.trace.layout")
local plural = require("antquic.plural")
local model = require("antquic.trace.model")
local style = require("antquic.trace.style")

local html = {}

-- Of one record; more are named, and can be had one by one.
local MAX_LADDERS = 12

-- Percent of the width.
local X = { 13, 31, 50, 69, 87 }

local ENTITIES = {
  ["&"] = "&amp;",
  ["<"] = "&lt;",
  [">"] = "&gt;",
  ['"'] = "&quot;",
  ["'"] = "&#39;",
}

-- For text and for quoted attributes. Control characters are no text.
local function esc(value)
  return (tostring(value):gsub("[&<>\"']", ENTITIES):gsub("[%z\1-\8\11-\31\127]", "\239\191\189"))
end
html.escape = esc

local function ms(seconds)
  return ("%.1f"):format(seconds * 1e3)
end

local function span(seconds)
  if seconds >= 1 then
    return ("%.2f s"):format(seconds)
  end
  return ms(seconds) .. " ms"
end

-- For a margin of four letters: milliseconds, then seconds.
local function short_time(seconds)
  local v = seconds * 1e3
  if math.abs(v) >= 999.5 then
    return ("%+.2f s"):format(seconds)
  end
  return ("%+.1f"):format(v)
end

-- Collects pieces of text.
local Out = {}
Out.__index = Out

function Out:add(format, ...)
  self[#self + 1] = select("#", ...) > 0 and format:format(...) or format
end

-- ---- the drawing -------------------------------------------------------------

-- Where an arrow ends: a lane, or before it.
local function end_of(arrow)
  local right = arrow.to > arrow.from
  if arrow.fate == "refused" then
    return right and X[arrow.from] + 6 or X[arrow.from] - 6
  elseif arrow.fate == "expired" then
    return right and (X[2] + X[3]) / 2 - 3 or (X[3] + X[4]) / 2 + 3
  elseif arrow.fate == "lost" or (arrow.fate == "unknown" and arrow.to ~= model.C) then
    return right and X[4] or X[2]
  end
  return X[arrow.to]
end

local function cross(out, x, y)
  for _, d in ipairs({ { -4, -4, 4, 4 }, { -4, 4, 4, -4 } }) do
    out:add(
      '<svg x="%.1f%%" y="%.1f" overflow="visible"><line class="cross" x1="%d" y1="%d" '
        .. 'x2="%d" y2="%d"/></svg>',
      x,
      y,
      d[1],
      d[2],
      d[3],
      d[4]
    )
  end
end

-- The head can't be turned by the slope, which depends on the width; a short
-- triangle along the lane's side reads well at any.
local function head(out, arrow, x, y)
  local right = arrow.to > arrow.from
  out:add(
    '<svg x="%.1f%%" y="%.1f" overflow="visible"><path class="head" d="%s"/></svg>',
    x,
    y,
    right and "M0 0 L-9 -4.5 L-9 3.5 Z" or "M0 0 L9 -4.5 L9 3.5 Z"
  )
end

local SHORT = { probe = "p", answer = "a", opener = "o", initial = "i", handshake = "h" }

local function draw_arrow(out, arrow, id)
  local x1, x2 = X[arrow.from], end_of(arrow)
  local right = arrow.to > arrow.from
  local label = arrow.label
  if arrow.ttl then
    label = ("%s, TTL %s"):format(label, arrow.ttl)
  end
  out:add(
    '<g class="arrow %s %s %s" data-row="%s" role="img" aria-label="%s">',
    arrow.kind,
    esc(arrow.type):gsub("[^%w]", ""),
    arrow.fate,
    id,
    esc(
      ("%s from %s to %s at %s: %s"):format(
        arrow.label,
        arrow.from_name,
        arrow.to_name,
        arrow.at,
        arrow.what
      )
    )
  )
  out:add("<title>%s</title>", esc(("%s, %s: %s"):format(label, arrow.at, arrow.what)))
  for _, class in ipairs({ "hit", "way" }) do
    out:add(
      '<line class="%s" x1="%.1f%%" y1="%.1f" x2="%.1f%%" y2="%.1f"/>',
      class,
      x1,
      arrow.y1,
      x2,
      arrow.y2
    )
  end
  if arrow.fate == "lost" or arrow.fate == "expired" or arrow.fate == "refused" then
    cross(out, x2, arrow.y2)
  elseif arrow.fate == "unknown" then
    out:add(
      '<text class="query" x="%.1f%%" y="%.1f" dx="%d" text-anchor="middle" '
        .. 'aria-hidden="true">?</text>',
      x2,
      arrow.y2 + 4,
      right and 6 or -6
    )
  else
    head(out, arrow, x2, arrow.y2)
  end
  if arrow.burst then
    label = ("%s, and %d more"):format(label, arrow.burst - 1)
  end
  local anchor = right and "start" or "end"
  local dx = right and 9 or -9
  for _, form in ipairs({
    { "long", label },
    { "short", SHORT[arrow.type] or arrow.type:sub(1, 3):lower() },
  }) do
    if arrow.in_burst then
      break
    end
    out:add(
      '<text class="%s" x="%.1f%%" dx="%d" y="%.1f" text-anchor="%s" aria-hidden="true">%s</text>',
      form[1],
      x1,
      dx,
      arrow.y1 - 2.5,
      anchor,
      esc(form[2])
    )
  end
  out:add("</g>\n")
end

local function draw_mark(out, mark, id)
  local x = X[mark.lane]
  out:add(
    '<g class="mark %s%s" data-row="%s" role="img" aria-label="%s"><title>%s</title>',
    mark.kind,
    mark.bad and " bad" or "",
    id,
    esc(("%s, %s"):format(mark.label, mark.at)),
    esc(("%s: %s"):format(mark.at, mark.label))
  )
  out:add('<circle class="dot" cx="%.1f%%" cy="%.1f" r="3.4"/></g>\n', x, mark.y)
end

local function phase_class(phase)
  return "p-" .. phase.name:gsub("[^%l]", "")
end

local function draw_bands(out, ladder, place)
  for _, phase in ipairs(ladder.phases) do
    local y1, y2 = place.y_of(phase.from), place.y_of(phase.to)
    if phase.name == "connected" or phase.name == "failed" then
      y2 = place.height
    end
    local class = phase_class(phase)
    local h = math.max(2, y2 - y1)
    if phase.side == "a" then
      out:add('<rect class="band %s" x="0" y="%.1f" width="100%%" height="%.1f"/>\n', class, y1, h)
    end
    out:add(
      '<svg x="%.1f%%" y="%.1f" overflow="visible"><rect class="strip %s" x="-3.5" y="0" '
        .. 'width="7" height="%.1f" rx="2"><title>%s</title></rect></svg>\n',
      X[phase.lane],
      y1,
      class,
      h,
      esc(("phase %s, %s: %s"):format(phase.name, span(phase.to - phase.from), phase.text or ""))
    )
  end
end

-- A phase that is too short for its name goes without one.
local NAME_HEIGHT = 12

local function draw_band_names(out, ladder, place)
  local named, last
  local function put()
    if named then
      out:add('<text class="bandname" x="0" dx="5" y="%.1f">%s</text>\n', last + 12, esc(named))
    end
  end
  for _, phase in ipairs(ladder.phases) do
    if phase.side == "a" then
      local y = place.y_of(phase.from)
      if named and y - last >= NAME_HEIGHT then
        put()
      end
      named, last = phase.name, y
    end
  end
  put()
end

local function draw(out, ladder, n)
  local place = layout.place(ladder)
  out:add('<div class="ladder" id="ladder-%d">\n<div class="lanes"><div class="unit">ms</div>', n)
  out:add('<div class="names">')
  for i, lane in ipairs(ladder.lanes) do
    out:add(
      '<div style="left:%d%%"><span class="long">%s</span><span class="short" '
        .. 'aria-hidden="true">%s</span>',
      X[i],
      esc(lane.title),
      esc(lane.short)
    )
    for k = 1, 2 do
      if lane.lines[k] then
        out:add('<span class="where" title="%s">%s</span>', esc(lane.lines[k]), esc(lane.lines[k]))
      end
    end
    out:add("</div>")
  end
  out:add('</div></div>\n<div class="drawing">\n')
  out:add('<svg width="100%%" height="%.0f" aria-hidden="true">\n', place.height)
  for _, t in ipairs(place.times) do
    out:add(
      '<text class="time" x="100%%" dx="-8" y="%.1f" text-anchor="end">%s</text>\n',
      t.y + 3.5,
      short_time(t.t - ladder.start)
    )
  end
  out:add(
    '</svg>\n<svg width="100%%" height="%.0f" role="group" aria-label="%s">\n',
    place.height,
    esc(
      (
        "Ladder diagram: %s, time goes down and is not to scale. Arrow keys move through "
        .. "them; the table below says the same."
      ):format(plural(#ladder.arrows, "arrow"))
    )
  )
  draw_bands(out, ladder, place)
  for i, x in ipairs(X) do
    out:add(
      '<line class="lane%s" x1="%d%%" y1="0" x2="%d%%" y2="100%%"/>\n',
      (i == 2 or i == 4) and " nat" or "",
      x,
      x
    )
  end
  for _, gap in ipairs(place.breaks) do
    out:add('<line class="break" x1="0" y1="%.1f" x2="100%%" y2="%.1f"/>', gap.y, gap.y)
    out:add(
      '<text class="breaktext" x="50%%" y="%.1f" text-anchor="middle">%s pass</text>\n',
      gap.y - 4,
      span(gap.dt)
    )
  end
  draw_band_names(out, ladder, place)
  for _, item in ipairs(ladder.items) do
    if item.from then
      draw_arrow(out, item, item.id)
    elseif not item.phase then
      draw_mark(out, item, item.id)
    end
  end
  out:add("</svg>\n</div>\n</div>\n")
end

-- ---- the table ---------------------------------------------------------------

local function more_of(item)
  local parts = {}
  for _, pair in ipairs(item.details) do
    parts[#parts + 1] = pair[1]
    parts[#parts + 1] = (pair[2]:gsub("[\r\n]", " "))
  end
  return table.concat(parts, "\n")
end

local KIND_NAMES = {
  { "punch", "punch datagrams" },
  { "quic", "QUIC datagrams" },
  { "control", "control messages" },
  { "observe", "observations" },
  { "event", "events" },
  { "frame", "frames" },
  { "dial", "handshakes" },
}

local function write_table(out, ladder, n)
  out:add('<h3 id="table-%d">Everything, as a table</h3>\n', n)
  out:add('<fieldset class="filters" hidden><legend>Show</legend>')
  for _, kind in ipairs(KIND_NAMES) do
    if ladder.kinds[kind[1]] then
      out:add('<label><input type="checkbox" checked data-kind="%s"> %s</label> ', kind[1], kind[2])
    end
  end
  out:add("</fieldset>\n")
  out:add(
    '<div class="scroll" tabindex="0" role="region" aria-labelledby="table-%d">\n<table>\n'
      .. '<thead><tr><th scope="col" class="num">time, ms</th><th scope="col">from</th>'
      .. '<th scope="col">to</th><th scope="col">what</th><th scope="col" class="num">TTL</th>'
      .. '<th scope="col" class="num">arrives, ms</th>'
      .. '<th scope="col">what became of it</th></tr></thead>\n'
      .. "<tbody>\n",
    n
  )
  for _, item in ipairs(ladder.items) do
    local bad = item.bad or item.fate == "lost" or item.fate == "refused" or item.fate == "bad"
    out:add(
      '<tr id="%s" data-kind="%s"%s data-title="%s" data-more="%s">',
      item.id,
      item.kind,
      bad and ' class="bad"' or "",
      esc(item.label),
      esc(more_of(item))
    )
    out:add('<td class="num" data-name="time, ms">%s</td>', ms((item.t1 or item.t) - ladder.start))
    out:add(
      '<td data-name="from">%s</td><td data-name="to">%s</td><td class="wide">%s</td>',
      esc(item.from_name or item.at_name),
      esc(item.to_name or ""),
      esc(item.label)
    )
    out:add('<td class="num">%s</td>', esc(item.ttl or ""))
    local arrives = item.t2
      and (item.fate == "arrived" or item.fate == "dropped" or item.fate == "bad")
    out:add(
      '<td class="num" data-name="arrives, ms">%s</td>',
      arrives and (item.guess and "≈ " or "") .. ms(item.t2 - ladder.start) or ""
    )
    out:add(
      '<td class="wide fate" data-name="what became of it">%s</td></tr>\n',
      esc(item.what or "")
    )
  end
  out:add("</tbody>\n</table>\n</div>\n")
end

-- ---- the words ---------------------------------------------------------------

local function fact(out, name, value)
  if value then
    out:add("<div><dt>%s</dt><dd>%s</dd></div>", name, esc(value))
  end
end

local function count(ladder, kind, fate)
  local n = 0
  for _, arrow in ipairs(ladder.arrows) do
    if arrow.kind == kind and (not fate or arrow.fate == fate) then
      n = n + 1
    end
  end
  return n
end

local function write_facts(out, ladder)
  out:add('<dl class="facts">')
  fact(out, "took", span(ladder.told.duration))
  fact(out, "punch datagrams", count(ladder, "punch") - count(ladder, "punch", "refused"))
  fact(out, "QUIC datagrams", count(ladder, "quic") - count(ladder, "quic", "refused"))
  local lost = count(ladder, "punch", "lost") + count(ladder, "quic", "lost")
  if ladder.two then
    fact(out, "did not arrive", lost)
  end
  local refused = count(ladder, "punch", "refused") + count(ladder, "quic", "refused")
  fact(out, "not sent: budget", refused > 0 and refused or nil)
  fact(out, "clocks", ladder.clock)
  out:add("</dl>\n")
  if ladder.not_drawn > 0 then
    out:add(
      "<p>%s not drawn.</p>\n",
      plural(ladder.not_drawn, "datagram more is", "datagrams more are")
    )
  end
end

local function write_told(out, told, who)
  out:add("<div><h3>What was tried%s</h3>\n", esc(who))
  out:add('<div class="scroll" tabindex="0" role="region" aria-label="What was tried%s">', esc(who))
  out:add(
    '<table><thead><tr><th scope="col" class="num">at, ms</th><th scope="col">step</th>'
      .. '<th scope="col">how it ended</th><th scope="col">address</th>'
      .. '<th scope="col" class="num">took</th><th scope="col" class="num">sent</th>'
      .. '<th scope="col" class="num">received</th></tr></thead><tbody>\n'
  )
  for _, step in ipairs(told) do
    local ended = step.error and (step.error .. (step.text and ": " .. step.text or ""))
      or (step.won and "worked" or "")
    if (step.refused or 0) > 0 then
      ended = ("%s; %d not sent: %s"):format(ended, step.refused, step.limit or "?")
    end
    out:add(
      '<tr%s><td class="num">%s</td><td>%s</td><td class="wide fate">%s</td>'
        .. '<td class="mono">%s</td><td class="num">%s</td><td class="num">%d</td>'
        .. '<td class="num">%d</td></tr>\n',
      step.error and ' class="bad"' or "",
      ms(step.at),
      esc(step.step),
      esc(ended),
      esc(step.address or ""),
      step.duration and span(step.duration) or "",
      step.sent,
      step.received
    )
  end
  if #told == 0 then
    out:add('<tr><td colspan="7">%s</td></tr>', esc(told.without_steps))
  end
  out:add("</tbody></table></div>\n")
  if #told.advice > 0 then
    out:add('<h3>What could help%s</h3>\n<ul class="advice">\n', esc(who))
    for _, item in ipairs(told.advice) do
      out:add("<li>%s</li>\n", esc(item.text))
    end
    out:add("</ul>\n")
  end
  out:add("</div>\n")
end

local LEGEND = {
  { "punch probe", "probe", "" },
  { "punch answer", "answer", "" },
  { "punch opener expired", "opener: dies on the way, as it should", "x" },
  { "quic", "QUIC", "" },
  { "control", "control message, over a connection", "" },
  { "punch probe lost", "did not arrive", "x" },
  { "punch probe unknown", "what became of it is not known", "?" },
}

local function write_legend(out, phases)
  out:add('<ul class="legend" aria-label="Legend">')
  for _, item in ipairs(LEGEND) do
    out:add(
      '<li><svg width="44" height="12" aria-hidden="true"><g class="%s">'
        .. '<line class="way" x1="1" y1="6" x2="38" y2="6" stroke-width="2"/>',
      item[1]
    )
    if item[3] == "x" then
      out:add('<line class="cross" x1="34" y1="2" x2="42" y2="10"/>')
      out:add('<line class="cross" x1="34" y1="10" x2="42" y2="2"/>')
    elseif item[3] == "?" then
      out:add('<text class="query" x="34" y="10">?</text>')
    else
      out:add('<path class="head" d="M44 6 L35 2 L35 10 Z"/>')
    end
    out:add("</g></svg>%s</li>\n", esc(item[2]))
  end
  out:add("</ul>\n")
  local named = {}
  out:add('<ul class="legend" aria-label="Phases">')
  for _, phase in ipairs(phases) do
    if not named[phase.name] then
      named[phase.name] = true
      out:add(
        '<li><svg width="14" height="14" aria-hidden="true"><rect class="%s" width="14" '
          .. 'height="14" rx="3"/></svg>%s</li>\n',
        phase_class(phase),
        esc(phase.name)
      )
    end
  end
  out:add("</ul>\n")
end

local function title_of(ladder)
  if ladder.outcome == "connected" then
    return ("connected in %s"):format(span(ladder.told.duration))
  elseif ladder.outcome == "failed" then
    return ("failed after %s"):format(span(ladder.told.duration))
  end
  return "not finished"
end

local function write_ladder(out, ladder, n)
  ladder.items = items.of(ladder)
  for i, item in ipairs(ladder.items) do
    item.id = ("r%d-%d"):format(n, i)
  end
  out:add('<section id="attempt-%d" aria-labelledby="title-%d">\n', n, n)
  out:add(
    '<h2 id="title-%d">Attempt %s <span class="badge %s">%s</span></h2>\n',
    n,
    esc(ladder.session),
    ladder.outcome,
    esc(title_of(ladder))
  )
  if ladder.told.text or ladder.told.error then
    out:add("<p>%s</p>\n", esc(ladder.told.text or ladder.told.error))
  end
  write_facts(out, ladder)
  out:add('<div class="told">\n')
  write_told(out, ladder.told, ladder.told_there and ", on the left" or "")
  if ladder.told_there and #ladder.told_there > 0 then
    write_told(out, ladder.told_there, ", on the right")
  end
  out:add("</div>\n")
  out:add("<h3>The ladder</h3>\n")
  write_legend(out, ladder.phases)
  out:add('<div class="board">\n')
  draw(out, ladder, n)
  out:add(
    '<aside class="detail" aria-live="polite"><p class="soft">Point at an arrow or a dot, or '
      .. "move through them with the arrow keys, to see what it is.</p></aside>\n"
  )
  out:add("</div>\n")
  write_table(out, ladder, n)
  out:add("</section>\n")
end

local function base64(bytes)
  local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local v = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local digit = math.floor(v / 64 ^ k) % 64
      local used = k >= 3 - (b and 1 or 0) - (c and 1 or 0) - 1
      out[#out + 1] = used and ALPHABET:sub(digit + 1, digit + 1) or "="
    end
  end
  return table.concat(out)
end

local function hash_of(text)
  return "sha256-" .. base64(core.sha256_new():update(text):digest())
end

--- The page of some attempts.
---@param ladders table[] of model.ladders
---@param records antquic.Record[] from which they are
---@param names string[] of the records' files
---@return string
function html.page(ladders, records, names)
  local out = setmetatable({}, Out)
  local first = ladders[1]
  out:add(
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
      .. '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
      .. '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
      .. "style-src 'unsafe-inline'; script-src '%s'; base-uri 'none'; form-action 'none'\">\n"
      .. '<meta name="referrer" content="no-referrer">\n'
      .. "<title>antquic: %s</title>\n<style>%s</style>\n</head>\n<body>\n",
    hash_of(style.JS),
    esc(title_of(first)),
    style.CSS
  )
  out:add('<header class="page"><h1>How two peers looked for each other</h1>\n')
  out:add('<p class="soft">%s', esc(table.concat(names, " and ")))
  local version = records[1].header.version
  if type(version) == "string" then
    out:add(", written by antquic %s", esc(version:sub(1, 40)))
  end
  out:add(". Addresses are stand-ins.</p>\n")
  for i, record in ipairs(records) do
    if #record.problems > 0 then
      out:add('<div class="problems" role="note"><strong>%s:</strong><ul>', esc(names[i]))
      for _, text in ipairs(record.problems) do
        out:add("<li>%s</li>", esc(text))
      end
      out:add("</ul></div>\n")
    end
  end
  local shown = math.min(#ladders, MAX_LADDERS)
  if #ladders > 1 then
    out:add('<nav aria-label="Attempts"><ul>')
    for i = 1, shown do
      out:add(
        '<li><a href="#attempt-%d">%s: %s</a></li>',
        i,
        esc(ladders[i].session),
        esc(title_of(ladders[i]))
      )
    end
    out:add("</ul></nav>\n")
  end
  if #ladders > shown then
    out:add(
      "<p>%s in it; --session shows one.</p>\n",
      plural(#ladders - shown, "attempt more is", "attempts more are")
    )
  end
  out:add("</header>\n<main>\n")
  for i = 1, shown do
    write_ladder(out, ladders[i], i)
  end
  out:add('</main>\n<footer class="page">Made by antquic trace.</footer>\n')
  out:add("<script>%s</script>\n</body>\n</html>\n", style.JS)
  return table.concat(out)
end

return html
