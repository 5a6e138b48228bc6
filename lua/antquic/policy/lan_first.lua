-- A policy for places where most peers share a network: pairs of private
-- addresses come before the others, and the known addresses get more time.
--
-- SPDX-License-Identifier: MIT

local ip_class = require("antquic.ip_class")
local policy = require("antquic.policy")
local balanced = require("antquic.policy.balanced")

local lan_first = policy.extend(balanced, { name = "lan_first" })

function lan_first.order(_, list)
  local near, far = {}, {}
  for _, pair in ipairs(list) do
    if ip_class.is_near(pair.remote) then
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
