---@meta antquic.core
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 212 241 631
--
-- The simulator of the C module; the habits are those of core_meta.lua. Nothing
-- loads this file.

---@class antquic.core
local core = {}

--- A network in memory and its clock, which starts at 1 s and moves only in
--- step(). One seed decides everything.
---@class antquic.core.Sim userdata; __gc and __close are close()
local Sim = {}

---@alias antquic.core.SimNode integer a NAT or a host; 0 is the internet

---@class antquic.core.SimOptions
---@field seed? integer default 0
---@field trace? "error"|"warn"|"info"|"debug" lines of the endpoints to standard error

---@param options? antquic.core.SimOptions
---@return antquic.core.Sim|nil
---@return string? message
---@return string? code
function core.sim(options) end

--- The id of a simulated endpoint with that key.
---@param key string 32 bytes
---@return antquic.PeerId|nil
---@return string? message
---@return string? code
function core.sim_peer_id(key) end

--- The types of NAT that Sim:nat knows by name: those of the NAT lab.
---@return string[]
function core.sim_nat_types() end

--- A type as the table that Sim:nat takes, all fields set but for addresses,
--- network, parent and link.
---@param name string
---@return antquic.core.SimNat|nil
---@return string? message
---@return string? code
function core.sim_nat_type(name) end

--- Ends it. Its endpoints become deaf and mute; close them as usual. Idempotent.
function Sim:close() end

--- What each direction of a link does. An absent field is 0: nothing.
---@class antquic.core.SimLink
---@field delay? number seconds
---@field jitter? number up to so much more, uniform; keeps the order
---@field loss? number mean share that is lost, 0 to 1
---@field burst? number mean length of a run of losses; up to 1: losses are independent
---@field dup? number share that arrives twice
---@field reorder? number share that is held back for reorder_delay
---@field reorder_delay? number seconds; 0 is 0.01
---@field rate? integer bytes a second
---@field queue? integer bytes that may wait for it; 0 is 65536
---@field mtu? integer bytes of an IP packet; 0 is 1500
---@field hops? integer routers on the way, besides the two ends
---@field down? boolean swallows everything

--- |type| sets everything up as the NAT lab has it; other fields go over it.
---@class antquic.core.SimNat
---@field type? string one of core.sim_nat_types()
---@field parent? antquic.core.SimNode another NAT; default the internet
---@field mapping? "ei"|"ad"|"apd"|"flow"|"none" flow: Linux's netfilter, each flow for itself; none: a router
---@field filtering? "ei"|"ad"|"apd" default apd
---@field ports? "preserve"|"sequential"|"random"|"block" default preserve
---@field hairpin? "no"|"external"|"internal" what source is seen
---@field v6? "off"|"open"|"firewall" IPv6 is never translated
---@field low? integer first outer port, default 1024
---@field high? integer
---@field step? integer of sequential ports, may be negative; in a block 0 is random
---@field block_base? integer
---@field block_size? integer default 512
---@field max_blocks? integer of one inner address, default 1
---@field addresses? string|string[] outer IPv4 addresses; default they are chosen
---@field pool? integer how many to choose, default 1
---@field arbitrary? boolean each mapping takes the next address of the pool
---@field blocked? boolean no UDP passes
---@field poison? boolean an unsolicited datagram takes its tuple, as behind "linux_open"
---@field inbound_refresh? boolean datagrams from outside keep a mapping alive, default true
---@field inbound_session? boolean what was let in is answered by the same port, default true
---@field same_port? boolean flow: keep to the port of the newest flow, default true
---@field idle? number seconds that an unused mapping lives, default 30
---@field absolute? number seconds that any mapping lives; 0: no limit
---@field background? number allocations of others a second (sequential ports)
---@field max_flows? integer default 65536
---@field network? string inner IPv4 network, a /24; default 192.168.LEVEL.0
---@field link? antquic.core.SimLink both directions of its link to the parent

---@param nat antquic.core.SimNat
---@return antquic.core.SimNode|nil node
---@return string? message
---@return string? code
function Sim:nat(nat) end

---@class antquic.core.SimHost
---@field nat? antquic.core.SimNode where it stands; default the internet
---@field address? string|string[] its IPs; default one is chosen
---@field v4? boolean default true: choose an IPv4 address
---@field v6? boolean choose an IPv6 address
---@field link? antquic.core.SimLink

---@param host? antquic.core.SimHost
---@return antquic.core.SimNode|nil node
---@return string? message
---@return string? code
function Sim:host(host) end

--- The IPs of a node; a NAT's outer ones.
---@param node antquic.core.SimNode
---@return string[]
function Sim:addresses(node) end

--- Sets the link of a node to its parent from now on; what is absent is 0.
---@param node antquic.core.SimNode
---@param link antquic.core.SimLink
---@param direction? "both"|"up"|"down"
---@return true|nil
---@return string? message
---@return string? code
function Sim:link(node, link, direction) end

---@param node antquic.core.SimNode
---@param direction? "up"|"down"
---@return antquic.core.SimLink|nil
---@return string? message
---@return string? code
function Sim:get_link(node, direction) end

--- A NAT forgets all mappings. With |new_ports| (default) one that preserves
--- ports chooses others from now on.
---@param nat antquic.core.SimNode
---@param new_ports? boolean
---@return true|nil
---@return string? message
---@return string? code
function Sim:rebind(nat, new_ports) end

--- A NAT forgets all mappings and has another outer address.
---@param nat antquic.core.SimNode
---@param ip string
---@return true|nil
---@return string? message
---@return string? code
function Sim:renumber(nat, ip) end

--- A NAT lets no UDP pass (default), or does again.
---@param nat antquic.core.SimNode
---@param on? boolean
---@return true|nil
---@return string? message
---@return string? code
function Sim:block(nat, on) end

--- A node's link swallows everything (default), or does no longer.
---@param node antquic.core.SimNode
---@param on? boolean
---@return true|nil
---@return string? message
---@return string? code
function Sim:black_hole(node, on) end

--- A host stops without a word (default), or goes on as if it had slept.
---@param host antquic.core.SimNode
---@param on? boolean
---@return true|nil
---@return string? message
---@return string? code
function Sim:kill(host, on) end

--- Others behind a NAT make so many mappings now (sequential ports).
---@param nat antquic.core.SimNode
---@param count? integer default 1
---@return true|nil
---@return string? message
---@return string? code
function Sim:burn(nat, count) end

--- A host's interfaces change; its endpoints hear of it.
---@param host antquic.core.SimNode
---@param ips string|string[]
---@return true|nil
---@return string? message
---@return string? code
function Sim:set_addresses(host, ips) end

--- A host moves to another network and gets addresses there.
---@param host antquic.core.SimNode
---@param parent antquic.core.SimNode
---@return true|nil
---@return string? message
---@return string? code
function Sim:move(host, parent) end

--- Makes an endpoint on a host, of the same kind as core.endpoint's. The options
--- are the same, but for |key|, a string of 32 bytes in place of |identity|;
--- |trace| is the simulation's. Of its methods wait() raises and pollfd() gives
--- nil; step() sends what is queued, and no time passes.
---@param host antquic.core.SimNode
---@param options table
---@return antquic.core.Endpoint|nil
---@return string? message
---@return string? code
function Sim:endpoint(host, options) end

---@return number seconds
function Sim:now() end

--- Lets time pass until some endpoint has events for poll(), or a bare socket a
--- datagram, but not beyond |deadline| (a time, not a length). At once when there
--- are some already. Sends what verbs have queued.
---@param deadline? number nil: as long as it takes; nil, message, "TIMEOUT" when nothing will ever happen
---@return number|nil now not before |deadline| when that ended it
---@return boolean|string busy somebody has something; or message
---@return string? code
function Sim:step(deadline) end

--- Opens a bare socket on a host, for what is no endpoint.
---@param host antquic.core.SimNode
---@param bind string
---@return integer|nil id
---@return string? message
---@return string? code
function Sim:udp_open(host, bind) end

---@param id integer
---@return true|nil
---@return string? message
---@return string? code
function Sim:udp_close(id) end

---@param id integer
---@return string|nil addr
---@return string? message
---@return string? code
function Sim:udp_bound(id) end

---@param id integer
---@param to string
---@param data string at most 1472 bytes
---@param ttl? integer default 64
---@return true|nil
---@return string? message
---@return string? code
function Sim:udp_send(id, to, data, ttl) end

---@param id integer
---@return string|nil data nil, message, "AGAIN": nothing is there
---@return string? from or message
---@return string? code
function Sim:udp_receive(id) end

--- Records what happens to datagrams from now on (default), or no longer.
---@param on? boolean
---@return true|nil
---@return string? message
---@return string? code
function Sim:trace(on) end

---@class antquic.core.SimRecord
---@field time number
---@field datagram integer a number that its copies share
---@field node antquic.core.SimNode where
---@field kind "other"|"probe"|"answer"|"opener"|"observe"|"initial"|"0rtt"|"handshake"|"retry"|"version"|"1rtt"|"tunnel"
---@field fate "sent"|"forwarded"|"delivered"|"lost"|"queue"|"mtu"|"down"|"ttl"|"no_route"|"filtered"|"blocked"|"nat_full"|"hairpin"|"no_socket"|"dead"|"overflow"|"no_memory"
---@field ttl integer that was left
---@field len integer of the payload
---@field from string
---@field to string

--- The next record, or nil. At most 65536 wait; the newest are dropped then.
---@return antquic.core.SimRecord|nil
function Sim:poll_trace() end

--- A hash of every record since the trace was turned on: equal for equal runs.
---@return string hex 16 digits
function Sim:trace_hash() end

--- How often each fate came at a node, by the fates' names; of a NAT also
--- mappings_created, mappings_expired, mappings, flows; trace_lost.
---@param node antquic.core.SimNode
---@return table<string, integer>|nil
---@return string? message
---@return string? code
function Sim:counters(node) end

return core
