-- Where an endpoint is reached, and who tells: its sockets, its candidate
-- addresses, the NAT in front of it and the bootstrap nodes. Methods of the
-- endpoint, which endpoint.lua takes.
--
-- SPDX-License-Identifier: MIT

local config = require("antquic.config")
local options = require("antquic.options")
local peer_id = require("antquic.peer_id")
local plural = require("antquic.plural")
local policy = require("antquic.policy")
local present = require("antquic.present")
local task = require("antquic.task")

-- As many as the core keeps; those after it are of lower priority than it tells.
local MAX_HIDDEN = 32
local BOOTSTRAP_TIMEOUT = 10
local NONE = {}

---@class antquic.Endpoint
local methods = {}

-- ---- sockets -----------------------------------------------------------------

-- One more port at each of the sockets' addresses: the next one, or |port|,
-- else any. Peers learn from it what their NATs do; nothing else needs it.
function methods:_open_second(port)
  local core = self._core
  local bound, ports = core:sockets(), {}
  for _, address in ipairs(bound) do
    local ip = address:match("^(.*):%d+$")
    ports[ip] = (ports[ip] or 0) + 1
  end
  for _, address in ipairs(bound) do
    local ip, first = address:match("^(.*):(%d+)$")
    if ports[ip] == 1 then
      local wanted = port == true and (first + 1) % 65536 or port
      if not core:open_socket(("%s:%d"):format(ip, wanted)) then
        core:open_socket(ip .. ":0")
      end
    end
  end
end

--- Opens one more socket at |address| (when given). Returns the addresses that
--- the endpoint is bound to. Peers are accepted from the start, whatever the
--- role.
---@param address string?
---@return string[]?
---@return string? message
---@return string? code
function methods:listen(address)
  if address ~= nil then
    if type(address) ~= "string" then
      error("ep:listen: an address is expected, got " .. type(address), 2)
    end
    local ok, message, code = self._core:open_socket(address)
    if not ok then
      return nil, ("ep:listen: %s: %s"):format(address, message), code
    end
    self._rearm(self._handle)
  end
  return self:local_addresses()
end

--- The addresses of the sockets, "1.2.3.4:5".
---@return string[]?
---@return string? message
---@return string? code
function methods:local_addresses()
  return self._core:sockets()
end

-- ---- candidates --------------------------------------------------------------

-- The candidates that the policy leaves out are told to nobody.
function methods:_choose_candidates()
  local choice = self._policy.candidates
  if choice == nil or choice == policy.balanced.candidates then
    self._core:hide_candidates(NONE) -- as the default policy answers
    return
  end
  local list = present.candidates(self._core:candidates())
  local hidden = {}
  for _, c in ipairs(list) do
    hidden[c.address] = true
  end
  for _, c in ipairs(self:_choose(self._policy, "candidates", nil, list)) do
    hidden[c.address] = nil
  end
  local addresses = {}
  for _, c in ipairs(list) do
    if hidden[c.address] and #addresses < MAX_HIDDEN then
      addresses[#addresses + 1] = c.address
    end
  end
  self._core:hide_candidates(addresses)
end

--- Candidate addresses: our own (no argument, or our id), or those that a
--- connected peer announced. Each has address, priority, source, state, seq,
--- verified.
---@param target string|antquic.PeerIdObject|nil
---@return table[]?
---@return string? message
---@return string? code
function methods:discover_candidates(target)
  local core = self._core
  local list, message, code
  local id = self.peer_id
  if target ~= nil then
    id, message, code = peer_id.parse(target)
    if not id then
      return nil, message, code
    end
  end
  if id == self.peer_id then
    list, message, code = core:candidates()
    if not list then
      return nil, message, code
    elseif #list > 0 then
      return self:_choose(self._policy, "candidates", nil, present.candidates(list))
    elseif core:io_stats().scan_errors > 0 then
      return nil, "the addresses of the interfaces can't be read", "DISCOVERY_FAILED"
    end
    return nil, "no address of this machine can be a candidate", "NO_CANDIDATES"
  end
  for _, s in pairs(self._sessions) do
    if s.peer_id == id then
      local info = core:session_info(s.id)
      if info and #info.remote > 0 then
        return present.candidates(info.remote)
      end
    end
  end
  local cid = core:find_conn(id:bytes())
  if not cid then
    return nil, "there is no connection to " .. id:hex(), "PEER_NOT_CONNECTED"
  end
  return present.candidates(core:conn_candidates(cid))
end

--- What was measured of the NAT in front of this endpoint; see
--- docs/nat_profile.md. What isn't known is "unknown" or absent.
---@return antquic.NatProfile?
---@return string? message
---@return string? code
function methods:nat_profile()
  local p, message, code = self._core:nat_profile()
  if not p then
    return nil, message, code
  end
  return present.nat_profile(p)
end

-- ---- bootstrap nodes ---------------------------------------------------------

--- The bootstrap nodes: address, connected, can_coordinate, can_relay, peer_id,
--- rtt, last_seen, coordination_count, failures, observed (our address as it saw
--- it), conn; error and text, why it isn't reached, where that is known.
---@return table[]
function methods:bootstrap_nodes()
  return present.nodes(self._core:bootstrap_list() or {}, self._lost)
end

-- Adds one or removes it, by |verb| of the core. Gives its address.
local function change_nodes(self, verb, node)
  local read, message, code = config.bootstrap_node(node)
  if not read then
    return nil, message, code
  end
  local ok
  ok, message, code = self._core[verb](self._core, read.addr, read.peer)
  if not ok then
    return nil, ("bootstrap node %s: %s"):format(read.addr, message), code
  end
  self._rearm(self._handle)
  return read.addr
end

--- Adds a bootstrap node: "addr:port" or "peerid@addr:port".
---@param node string
---@return true?
---@return string? message
---@return string? code
function methods:add_bootstrap_node(node)
  local addr, message, code = change_nodes(self, "bootstrap_add", node)
  return addr and true, message, code
end

--- Removes a bootstrap node; its connection is closed unless the program
--- uses it.
---@param node string
---@return true?
---@return string? message
---@return string? code
function methods:remove_bootstrap_node(node)
  local addr, message, code = change_nodes(self, "bootstrap_remove", node)
  if not addr then
    return nil, message, code
  end
  self._lost[addr] = nil
  return true
end

--- Waits until a bootstrap node is connected. Returns its entry of
--- bootstrap_nodes().
---@async
---@param timeout number? seconds, default 10
---@return table?
---@return string? message
---@return string? code
function methods:wait_bootstrap(timeout)
  options.timeout("ep:wait_bootstrap", timeout)
  timeout = timeout or BOOTSTRAP_TIMEOUT
  local deadline = task.deadline(timeout)
  local subscription = self._hub:subscribe("ep:wait_bootstrap", { "bootstrap_connected" }, 2)
  while true do
    local nodes = self:bootstrap_nodes()
    for _, node in ipairs(nodes) do
      if node.connected then
        subscription:close()
        return node
      end
    end
    local left = deadline and math.max(0, deadline - self._sched.now())
    local ev, message, code = subscription:next(left)
    if not ev then
      subscription:close()
      if code ~= "TIMEOUT" then
        return nil, message, code
      elseif #nodes == 0 then
        return nil, "the endpoint has no bootstrap nodes", "NO_BOOTSTRAP_NODES"
      end
      local tried = {}
      for i, node in ipairs(nodes) do
        tried[i] = ("%s (%s)"):format(node.address, plural(node.failures, "failure"))
      end
      return nil,
        ("no bootstrap node answered within %.3g s: %s"):format(timeout, table.concat(tried, ", ")),
        "NO_BOOTSTRAP_NODES"
    end
  end
end

return methods
