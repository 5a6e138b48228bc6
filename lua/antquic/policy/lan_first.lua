-- A policy for places where most peers share a network: pairs of private
-- addresses come before the others, and the known addresses get more time.
--
-- SPDX-License-Identifier: MIT

local policy = require("antquic.policy")
local balanced = require("antquic.policy.balanced")

local function is_private(addr)
  return addr:find("^10%.")
    or addr:find("^192%.168%.")
    or addr:find("^172%.1[6-9]%.")
    or addr:find("^172%.2%d%.")
    or addr:find("^172%.3[01]%.")
    or addr:find("^169%.254%.")
    or addr:find("^%[f[cd]")
    or addr:find("^%[fe80:")
end

local lan_first = policy.extend(balanced, { name = "lan_first" })

function lan_first.order(_, list)
  local near, far = {}, {}
  for _, pair in ipairs(list) do
    if is_private(pair.remote) then
      near[#near + 1] = pair
    else
      far[#far + 1] = pair
    end
  end
  for _, pair in ipairs(far) do
    near[#near + 1] = pair
  end
  return near
end

function lan_first.connect(s)
  if #s.known > 0 and s:dial({ s.known, timeout = 1 }) then
    return true
  end
  return balanced.connect(s)
end

return lan_first
