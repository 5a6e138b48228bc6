-- The style and the script of the page. Nothing is loaded from anywhere.
--
-- SPDX-License-Identifier: MIT

local style = {}

style.CSS = [[
:root {
  color-scheme: light dark;
  --bg: #fbfaf8; --card: #ffffff; --ink: #1d2330; --soft: #5a6272; --line: #d9d6cf;
  --lane: #b9b5ac; --probe: #1f5fbf; --answer: #14795a; --opener: #8146b8; --quic: #b25a0b;
  --control: #0d7285; --observe: #566178; --bad: #c02636; --focus: #1f5fbf; --band: 0.09;
  --good-bg: #e3f3ea; --good-ink: #0f5c40; --bad-bg: #fbe6e7; --bad-ink: #94182a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #14171d; --card: #1b2028; --ink: #e8e9ec; --soft: #a3acba; --line: #343c49;
    --lane: #566072; --probe: #7fb0ff; --answer: #5fd3a4; --opener: #cf9dff; --quic: #f5a65b;
    --control: #5fcbdd; --observe: #b0bacb; --bad: #ff7f8a; --focus: #a9caff; --band: 0.14;
    --good-bg: #173527; --good-ink: #93e3bf; --bad-bg: #3d1a20; --bad-ink: #ffb3ba;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main, header.page, footer.page { max-width: 1500px; margin: 0 auto; padding: 0 20px; }
header.page { padding-top: 26px; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 1.12rem; margin: 34px 0 8px; }
h3 { font-size: 0.95rem; margin: 22px 0 6px; color: var(--soft); font-weight: 600; }
p { margin: 6px 0; max-width: 76ch; }
.soft { color: var(--soft); }
.mono, td.mono, .lanes .where, .detail dd {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.86em;
}
.badge {
  display: inline-block; padding: 1px 10px; border-radius: 99px; font-weight: 600;
  font-size: 0.86rem; vertical-align: 2px;
}
.badge.connected { background: var(--good-bg); color: var(--good-ink); }
.badge.failed { background: var(--bad-bg); color: var(--bad-ink); }
.badge.running { background: var(--line); color: var(--ink); }
.facts { display: flex; flex-wrap: wrap; gap: 4px 26px; margin: 10px 0 0; padding: 0; }
.facts div { min-width: 92px; }
.facts dt { color: var(--soft); font-size: 0.8rem; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.problems { border-left: 3px solid var(--bad); padding: 2px 0 2px 14px; margin: 14px 0; }
.problems ul { margin: 4px 0; padding-left: 18px; }
.advice { padding: 0; margin: 8px 0; list-style: none; max-width: 82ch; }
.advice li {
  background: var(--card); border: 1px solid var(--line); border-left: 3px solid var(--probe);
  border-radius: 6px; padding: 8px 14px; margin: 8px 0;
}
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); }
.scroll:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; }
th, td { text-align: left; padding: 4px 12px; white-space: nowrap; vertical-align: top; }
td.wide { white-space: normal; min-width: 22ch; }
thead th { border-bottom: 1px solid var(--line); color: var(--soft); font-weight: 600; }
tbody tr + tr > * { border-top: 1px solid color-mix(in srgb, var(--line) 55%, transparent); }
th.num, td.num { text-align: right; font-variant-numeric: tabular-nums; }
tr.bad td.fate { color: var(--bad); }
tr.on { background: color-mix(in srgb, var(--focus) 16%, transparent); }
tr[hidden] { display: none; }

.told { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 22px;
  align-items: start; }
@media (min-width: 1440px) {
  .told { grid-template-columns: repeat(auto-fit, minmax(560px, 1fr)); }
}
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 10px 0;
  list-style: none; font-size: 0.86rem; }
.legend li { display: flex; align-items: center; gap: 7px; }
.legend svg { flex: none; }

.board { display: grid; grid-template-columns: minmax(0, 1fr); gap: 18px; align-items: start; }
.ladder {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: clip;
}
.lanes {
  display: grid; grid-template-columns: 62px minmax(0, 1fr); position: sticky; top: 0;
  background: var(--card); border-bottom: 1px solid var(--line); z-index: 2;
}
.lanes .names { position: relative; height: 54px; }
.lanes .names > div {
  position: absolute; top: 8px; transform: translateX(-50%); text-align: center; width: 19%;
  font-weight: 600; font-size: 0.88rem; line-height: 1.2;
}
.lanes .where { display: block; color: var(--soft); font-weight: 400; font-size: 0.72rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lanes .unit { color: var(--soft); font-size: 0.76rem; padding: 32px 8px 0 0; text-align: right; }
.drawing { display: grid; grid-template-columns: 62px minmax(0, 1fr); }
.drawing svg { display: block; }
svg text { fill: var(--ink); font-size: 11.5px; }
svg .time { fill: var(--soft); font-size: 10.5px; font-variant-numeric: tabular-nums; }
svg .lane { stroke: var(--lane); stroke-width: 1.5; }
svg .lane.nat { stroke-dasharray: 2 5; }
svg .break { stroke: var(--line); stroke-dasharray: 1 4; }
svg .breaktext { fill: var(--soft); font-size: 10.5px; }
.band { opacity: var(--band); }
.strip { opacity: 0.85; }
.bandname { font-size: 10px; fill: var(--soft); font-weight: 600; }
.p-idle { fill: #8a8f99; } .p-discovery { fill: #7d8aa5; } .p-coordination { fill: #0d8ba3; }
.p-synchronization { fill: #7a5cc7; } .p-punching { fill: #2b6fd6; }
.p-validation { fill: #d0730f; }
.p-connected { fill: #1c9a6c; } .p-failed { fill: #d0394a; }

.arrow { cursor: pointer; outline: none; }
.arrow .hit { stroke: transparent; stroke-width: 13; }
.arrow .way { stroke-width: 1.7; }
.arrow text { paint-order: stroke; stroke: var(--card); stroke-width: 3.2px;
  stroke-linejoin: round; }
.punch .way { stroke: var(--probe); } .punch .head { fill: var(--probe); }
.punch.answer .way { stroke: var(--answer); } .punch.answer .head { fill: var(--answer); }
.punch.opener .way { stroke: var(--opener); } .punch.opener .head { fill: var(--opener); }
.quic .way { stroke: var(--quic); } .quic .head { fill: var(--quic); }
.control .way { stroke: var(--control); } .control .head { fill: var(--control); }
.observe .way { stroke: var(--observe); } .observe .head { fill: var(--observe); }
.lost .way, .expired .way { stroke-dasharray: 6 4; }
.unknown .way { stroke-dasharray: 2 4; }
svg .query { fill: var(--soft); font-weight: 700; }
.cross { stroke: var(--bad); stroke-width: 2; }
.expired .cross { stroke: var(--opener); }
.bad .way { stroke: var(--bad); } .bad .head { fill: var(--bad); }
.arrow:hover .way, .arrow:focus .way, .arrow.on .way { stroke-width: 3.4; }
.arrow:hover text, .arrow:focus text, .arrow.on text { font-weight: 700; }
.arrow:focus-visible .hit { stroke: color-mix(in srgb, var(--focus) 30%, transparent); }
.mark { cursor: pointer; outline: none; }
.mark .dot { fill: var(--card); stroke: var(--soft); stroke-width: 1.6; }
.mark.bad .dot { stroke: var(--bad); }
.mark:hover .dot, .mark:focus .dot, .mark.on .dot { fill: var(--focus); stroke: var(--focus); }

.detail {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px;
  font-size: 0.9rem; position: sticky; bottom: 8px; z-index: 3;
  box-shadow: 0 3px 16px rgb(0 0 0 / 0.14);
}
.detail h3 { margin: 0 0 4px; color: var(--ink); font-size: 0.98rem; }
.detail dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 1px 14px;
  margin: 6px 0 0; }
.detail dt { color: var(--soft); }
.detail dd { margin: 0; overflow-wrap: anywhere; }
.filters { border: 0; padding: 0; margin: 8px 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }
.filters legend { float: left; padding: 0; margin-right: 14px; color: var(--soft); }
.filters label { display: inline-flex; gap: 6px; align-items: center; }
input { accent-color: var(--focus); }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; list-style: none; }
a { color: var(--probe); }
a:focus-visible, input:focus-visible {
  outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
footer.page { padding: 40px 20px 30px; color: var(--soft); font-size: 0.85rem; }
@media (min-width: 1120px) {
  .board { grid-template-columns: minmax(0, 1fr) 330px; }
  .detail { top: 14px; bottom: auto; box-shadow: none; }
}
@media (max-width: 900px) { .bandname { display: none; } }
@media (max-width: 720px) {
  main, header.page, footer.page { padding-left: 12px; padding-right: 12px; }
  .lanes, .drawing { grid-template-columns: 46px minmax(0, 1fr); }
  .lanes .names > div { font-size: 0.72rem; }
  .lanes .where { display: none; }
  .lanes .names { height: 42px; }
  .lanes .unit { padding: 20px 6px 0 0; font-size: 0.68rem; }
  .arrow .long, .names .long { display: none; }
  th, td { padding: 4px 8px; }
  svg .time { font-size: 9.5px; }
  .detail { max-height: 42vh; overflow: auto; }
}
@media (min-width: 721px) { .arrow .short, .names .short { display: none; } }
@media (prefers-reduced-motion: no-preference) {
  .arrow .way { transition: stroke-width 0.12s; }
}
@media print { .detail { display: none; } .lanes { position: static; } }
]]

-- The picture and the table are there without it: it only shows the details of
-- what is pointed at, moves through the arrows by key, and filters the table.
style.JS = [[
(function () {
  "use strict";
  var items = Array.prototype.slice.call(document.querySelectorAll("[data-row]"));
  var current = null;
  function text(tag, value) {
    var e = document.createElement(tag);
    e.textContent = value;
    return e;
  }
  function show(item, scroll) {
    if (current) {
      current.classList.remove("on");
      var old = document.getElementById(current.getAttribute("data-row"));
      if (old) { old.classList.remove("on"); }
    }
    current = item;
    item.classList.add("on");
    var row = document.getElementById(item.getAttribute("data-row"));
    if (!row) { return; }
    row.classList.add("on");
    var detail = item.closest(".board").querySelector(".detail");
    while (detail.firstChild) { detail.removeChild(detail.firstChild); }
    detail.appendChild(text("h3", row.getAttribute("data-title")));
    var dl = document.createElement("dl");
    var cells = row.querySelectorAll("[data-name]");
    for (var i = 0; i < cells.length; i++) {
      if (cells[i].textContent) {
        dl.appendChild(text("dt", cells[i].getAttribute("data-name")));
        dl.appendChild(text("dd", cells[i].textContent));
      }
    }
    var more = (row.getAttribute("data-more") || "").split("\n");
    for (var k = 0; k + 1 < more.length; k += 2) {
      dl.appendChild(text("dt", more[k]));
      dl.appendChild(text("dd", more[k + 1]));
    }
    detail.appendChild(dl);
    if (scroll) { row.scrollIntoView({ block: "nearest" }); }
  }
  items.forEach(function (item, i) {
    item.setAttribute("tabindex", i === 0 ? "0" : "-1");
    item.addEventListener("mouseenter", function () { show(item); });
    item.addEventListener("click", function () { item.focus(); show(item); });
    item.addEventListener("focus", function () {
      items.forEach(function (other) { other.setAttribute("tabindex", "-1"); });
      item.setAttribute("tabindex", "0");
      show(item);
    });
    item.addEventListener("keydown", function (e) {
      var to = { ArrowDown: i + 1, ArrowRight: i + 1, ArrowUp: i - 1, ArrowLeft: i - 1,
        Home: 0, End: items.length - 1 }[e.key];
      if (to !== undefined && items[to]) {
        e.preventDefault();
        items[to].focus();
        items[to].scrollIntoView({ block: "nearest" });
      }
    });
  });
  Array.prototype.forEach.call(document.querySelectorAll("input[data-kind]"), function (box) {
    box.addEventListener("change", function () {
      var kind = box.getAttribute("data-kind");
      var rows = document.querySelectorAll('tr[data-kind="' + kind + '"]');
      for (var i = 0; i < rows.length; i++) { rows[i].hidden = !box.checked; }
    });
  });
  Array.prototype.forEach.call(document.querySelectorAll(".filters"), function (f) {
    f.hidden = false;
  });
})();
]]

return style
