-- Links with names, from a good one to hardly any: the ladder that attempts
-- are tried on. Each is the last mile of one host, both ways.
--
-- Figures as iroh's patchbay tests have them (rate, round trip, jitter, loss and
-- the mean length of a burst of losses).
--
-- SPDX-License-Identifier: MIT

local options = require("antquic.options")

local links = {}

local function rung(rate, rtt, jitter, loss, burst)
  return {
    rate = rate,
    delay = rtt / 2,
    jitter = jitter / 2,
    loss = loss,
    burst = burst,
    queue = math.ceil(math.max(rate / 8 * rtt, 20000)), -- a round trip's worth
  }
end

---@type table<string, table>
links.by_name = {
  perfect = {},
  good_wifi = rung(100e6, 0.016, 0, 0.001, 5),
  congested_wifi = rung(25e6, 0.040, 0.012, 0.01, 6),
  weak_4g = rung(8e6, 0.090, 0.015, 0.02, 8),
  slow_3g = rung(3e6, 0.200, 0.030, 0.03, 10),
  congested_cellular = rung(1.5e6, 0.300, 0.040, 0.05, 12),
  very_bad_cellular = rung(8e5, 0.450, 0.060, 0.08, 20),
  satellite = rung(25e6, 0.600, 0.040, 0.015, 6),
  barely_usable = rung(5e5, 0.450, 0.080, 0.12, 25),
  absurd = rung(2.56e5, 0.800, 0.150, 0.25, 40),
}

--- The nine of the ladder, good to bad.
links.ladder = {
  "good_wifi",
  "congested_wifi",
  "weak_4g",
  "slow_3g",
  "congested_cellular",
  "very_bad_cellular",
  "satellite",
  "barely_usable",
  "absurd",
}

--- What the core is told: its rate is in bytes.
---@param link table
---@return antquic.core.SimLink
function links.for_core(link)
  local out = links.merge(link, {})
  out.rate = link.rate and math.ceil(link.rate / 8) or nil
  return out
end

--- What a link can have.
links.SCHEMA = {
  delay = { type = "number", min = 0, max = 60, unit = "seconds" },
  jitter = { type = "number", min = 0, max = 60, unit = "seconds" },
  loss = { type = "number", min = 0, max = 1 },
  burst = { type = "number", min = 1, max = 1000, unit = "packets" },
  dup = { type = "number", min = 0, max = 1 },
  reorder = { type = "number", min = 0, max = 1 },
  rate = { type = "number", min = 1000, unit = "bits a second" },
  queue = { type = "integer", min = 1, unit = "bytes" },
  mtu = { type = "integer", min = 1280, max = 65535, unit = "bytes" },
}

--- A link from its name or its table; raises for anything else.
---@param who string
---@param link string|table
---@param level integer
---@return table
function links.read(who, link, level)
  if type(link) == "string" then
    local named = links.by_name[link]
    if not named then
      error(
        ("%s: there is no link '%s'; there are perfect, %s"):format(
          who,
          link,
          table.concat(links.ladder, ", ")
        ),
        level + 1
      )
    end
    return named
  end
  return options.check(who, links.SCHEMA, link, level)
end

--- What |base| is with the figures of |changes|.
---@param base table
---@param changes table
---@return table
function links.merge(base, changes)
  local out = {}
  for _, link in ipairs({ base, changes }) do
    for key, value in pairs(link) do
      out[key] = value
    end
  end
  return out
end

--- Changes the link of a host or a NAT; what isn't given stays.
function links.change(object, who, link)
  local sim = object._sim
  object._link = links.merge(object._link, links.read(who, link, 3))
  sim._core:link(object._node, links.for_core(object._link))
  sim:note(object.name .. " has another link")
end

return links
