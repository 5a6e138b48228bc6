-- profiles.lua - does `antquic netcheck` find out what each type of NAT is? It runs behind every
-- one of them against two coordinators of two addresses and two ports each.
--
-- SPDX-License-Identifier: MIT

local Lab = require "lab"
local trial = require "trial"
local types = require "types"

local profiles = {}

local PORT = 9000
local SHORT = {
  none = "none",
  endpoint_independent = "EI",
  address_dependent = "AD",
  address_and_port_dependent = "APD",
}
local PORTS = { preserving = "preserve", sequential = "sequential", random = "random" }

local function antquic(lab, node, ...)
  local lua = os.getenv "NATLAB_LUA" or "lua5.4"
  return lab:spawn(node, lua, lab.agent.root .. "/bin/antquic", ...)
end

-- Starts the command's own coordinator at all addresses of a site.
local function coordinator(lab, site, key)
  local words = { "coordinator", "--json", "--key", key, "--allow-reserved" }
  for _, address in ipairs(site.addresses) do
    words[#words + 1] = "--bind"
    words[#words + 1] = ("%s:%d"):format(address, PORT)
  end
  if site.address6 then
    words[#words + 1] = "--bind"
    words[#words + 1] = ("[%s]:%d"):format(site.address6, PORT)
  end
  local proc = antquic(lab, site, table.unpack(words))
  local ready, why = trial.expect(proc, "ready", 10)
  if not ready then
    error("natlab: the coordinator does not start: " .. why, 0)
  end
end

--- Starts a coordinator at each site and calls use(key); key(name) is the path of a key file
--- that is gone afterwards.
function profiles.with_coordinators(lab, sites, use)
  local base = os.tmpname()
  local paths = { base }
  local function key(name)
    paths[#paths + 1] = base .. "." .. name
    return paths[#paths]
  end
  for i, site in ipairs(sites) do
    coordinator(lab, site, key("c" .. i))
  end
  use(key)
  for _, path in ipairs(paths) do
    os.remove(path)
  end
end

--- What `antquic netcheck` says behind a NAT, or nil and why not.
function profiles.netcheck(lab, host, sites, key, timeout, ...)
  local words = { "netcheck", "--json", "--key", key, "--allow-reserved", ... }
  for _, site in ipairs(sites) do
    words[#words + 1] = "--bootstrap"
    words[#words + 1] = host.v6_only and ("[%s]:%d"):format(site.address6, PORT)
      or ("%s:%d"):format(site.address, PORT)
  end
  return trial.expect(antquic(lab, host, table.unpack(words)), "netcheck", timeout or 20)
end

-- As the lab's classifier says it.
local function as_classified(p)
  local mapping = p.mapping == "none" and "none" or (SHORT[p.mapping] or p.mapping) .. "M"
  local filtering = p.filtering == "none" and "blocked"
    or (SHORT[p.filtering] or p.filtering) .. "F"
  if p.filtering == "none" then
    mapping = "blocked"
  elseif #p.external > 1 then
    mapping = "arbitrary address"
  end
  return mapping, filtering, PORTS[p.allocation] or p.allocation
end

local function difference(spec, p)
  local mapping, filtering, ports = as_classified(p)
  if mapping ~= spec.mapping then
    return "mapping is not " .. spec.mapping
  elseif filtering ~= spec.filtering then
    return "filtering is not " .. spec.filtering
  elseif spec.ports and ports ~= spec.ports then
    return "ports are not " .. spec.ports
  elseif spec.ports == "sequential" and p.step ~= 1 then
    return "the step is not 1"
  elseif spec.hairpin and p.hairpin ~= true then
    return "no hairpinning"
  elseif not spec.hairpin and p.hairpin then
    return "unexpected hairpinning"
  elseif spec.mapping ~= "none" and spec.mapping ~= "blocked" and p.hairpin == nil then
    return "hairpinning is not known"
  end
  return nil
end

--- Every type once. Returns whether all agree.
function profiles.run(agent)
  local lab = Lab.new(agent, { v6 = true })
  local sites = { lab:site "c1", lab:site "c2" }
  local names = table.move(types.matrix, 1, #types.matrix, 1, {})
  table.move(types.extra, 1, #types.extra, #names + 1, names)
  local hosts = {}
  for i, name in ipairs(names) do
    hosts[i] = lab:host("h" .. i, lab:nat("n" .. i, name))
  end
  lab:build()
  local line = "%-4s %-14s %-18s %-9s %-11s %-8s %-12s %s"
  print(line:format("", "type", "mapping", "filtering", "ports", "hairpin", "kind", ""))
  local failed = 0
  profiles.with_coordinators(lab, sites, function(key)
    for i, name in ipairs(names) do
      local spec = types.by_name[name]
      local found, why = profiles.netcheck(lab, hosts[i], sites, key("h" .. i))
      local p = found and found.profile
      local wrong = p and difference(spec, p) or not p and why or nil
      local mapping, filtering, ports = "-", "-", "-"
      if p then
        mapping, filtering, ports = as_classified(p)
      end
      local step = p and p.step and ("%+d"):format(p.step) or ""
      local hairpin = p and (p.hairpin == nil and "-" or p.hairpin and "yes" or "no") or "-"
      print(
        line:format(
          wrong and "FAIL" or "ok",
          name,
          mapping,
          filtering,
          ports .. step,
          hairpin,
          found and found.kind or "-",
          wrong or ""
        )
      )
      failed = failed + (wrong and 1 or 0)
      for _, e in ipairs(wrong and p and p.evidence or {}) do
        print(
          ("     %-10s %-22s to %-22s %s%s x%d: %s"):format(
            e.test,
            e.local_address,
            e.to,
            e.other_port and "P" or "-",
            e.other_address and "A" or "-",
            e.tries,
            e.seen or "silence"
          )
        )
      end
    end
  end)
  lab:close()
  print(("%d types, %d differ"):format(#names, failed))
  return failed == 0
end

return profiles
