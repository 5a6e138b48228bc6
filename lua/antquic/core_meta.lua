---@meta antquic.core
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 212 241 631
--
-- What the C module gives; its simulator is in core_sim_meta.lua. This file is
-- for the language server and for readers; nothing loads it.
--
-- Habits of the whole module:
--   * What may fail gives nil, "a sentence", "CODE" (a key of core.errors()).
--   * A wrong type, or an endpoint that was closed, raises an error.
--   * Times are float seconds of the clock that core.now() reads; ids, ports,
--     counts and sizes are integers (math.type is "integer" in Lua 5.4).
--   * A peer id or key is a binary string of 32 bytes; core.hex and core.unhex
--     convert. An address is "1.2.3.4:5" or "[::1]:5".
--   * An id (connection, stream, session) is an integer > 0 that is never used
--     again soon: with a stale one a method gives nil, "...", "CLOSED".
--   * Nothing here waits, but Endpoint:wait, core.wait and core.sleep.
--     Nothing calls back.

---@class antquic.core
local core = {}

---@alias antquic.Id integer
---@alias antquic.PeerId string 32 bytes

--- The version of the module, and what is linked into it
--- ("ngtcp2/1.24.0 wolfssl/5.9.2").
---@return string version
---@return string dependencies
function core.version() end

--- Every error code with its number: { TIMEOUT = -4, ... }. A new table.
---@return table<string, integer>
function core.errors() end

--- The clause for a code ("TIMEOUT" gives "timed out"), or nil.
---@param code string
---@return string|nil
function core.error_text(code) end

--- The names of all event kinds, phases, states, reasons, candidate sources,
--- candidate states and pair states, as lists in the order of the C enums.
---@return { events: string[], phases: string[], states: string[], reasons: string[], sources: string[], candidate_states: string[], pair_states: string[] }
function core.names() end

--- Monotonic seconds: the clock of every endpoint and event.
---@return number
function core.now() end

--- Blocks the thread.
---@param seconds number
function core.sleep(seconds) end

--- Sends what is queued, then blocks until one of the endpoints has work for
--- step(), or the time is up. Steps none of them. At most 4096 endpoints; closed ones raise.
---@param endpoints antquic.core.Endpoint[]
---@param seconds? number nil: only the endpoints' deadlines end it
---@return true
function core.wait(endpoints, seconds) end

---@param data string
---@return string hex lower case
function core.hex(data) end

---@param hex string upper or lower case
---@return string|nil data nil, message, "FORMAT" when it is not hexadecimal
---@return string? message
---@return string? code
function core.unhex(hex) end

--- Reads an address and writes it in the one canonical way (an IPv4-mapped
--- address becomes IPv4).
---@param text string
---@return string|nil addr nil, message, "ADDRESS"
---@return string? message
---@return string? code
function core.addr_parse(text) end

--- The parts of an address.
---@param text string
---@return string|nil ip without brackets; nil, message, "ADDRESS"
---@return integer|string port or message
---@return integer|string family 4 or 6, or code
function core.addr_split(text) end

---@param key string raw public key: 32 bytes (Ed25519) or 1952 (ML-DSA-65)
---@return antquic.PeerId|nil id nil, message, "INVAL"
---@return string? message
---@return string? code
function core.peer_id_from_key(key) end

--- Cryptographically strong random bytes of the operating system.
---@param count integer 0..1024
---@return string|nil bytes
---@return string? message
---@return string? code
function core.random(count) end

--- Reads what a descriptor of the program (0 is standard input) has now, and
--- never waits. At the end a lone nil.
---@param fd integer
---@param max? integer default and at most 65536
---@return string|nil data nil, message, "AGAIN" when there is nothing yet
---@return string? message
---@return string? code
function core.fd_read(fd, max) end

--- Writes a whole file, mode 0600; after a crash the old one is there or the new
--- one. On failure the old one is as it was.
---@param path string
---@param data string
---@return true?
---@return string? message
---@return string? code
function core.file_replace(path, data) end

---@class antquic.core.Identity userdata; __gc wipes the private key
local Identity = {}

---@return antquic.core.Identity|nil
---@return string? message
---@return string? code
function core.identity_generate() end

---@param seed string 32 bytes, the RFC 8032 private key
---@return antquic.core.Identity|nil
---@return string? message
---@return string? code
function core.identity_from_seed(seed) end

--- Reads a key file; with |create| makes it (mode 0600) when it is missing.
---@param path string
---@param create? boolean
---@return antquic.core.Identity|nil
---@return string? message names the file and what to do
---@return string? code IDENTITY or NETWORK
function core.identity_load(path, create) end

---@param value any
---@return boolean
function core.is_identity(value) end

---@return antquic.PeerId
function Identity:peer_id() end

---@return string key 32 bytes
function Identity:public_key() end

---@class antquic.core.Sha256 userdata
local Sha256 = {}

---@return antquic.core.Sha256|nil
---@return string? message
---@return string? code
function core.sha256_new() end

---@param data string
---@return antquic.core.Sha256|nil self
---@return string? message
---@return string? code
function Sha256:update(data) end

--- The digest so far, 32 bytes; more may be added afterwards.
---@return string|nil
---@return string? message
---@return string? code
function Sha256:digest() end

--- As digest, in 64 hex digits.
---@return string|nil
---@return string? message
---@return string? code
function Sha256:hex() end

---@class antquic.core.Bootstrap
---@field addr string
---@field peer? antquic.PeerId the only key that is accepted there

--- All fields but identity are optional; an absent one has the C default.
--- Unknown fields are ignored here: the Lua side refuses them.
---@class antquic.core.Options
---@field identity antquic.core.Identity borrowed until core.endpoint returns
---@field role? "client"|"server"|"bootstrap"
---@field bind? string[] at most 16; default { "0.0.0.0:0", "[::]:0" }
---@field bootstrap_nodes? antquic.core.Bootstrap[] at most 16
---@field alpn? string[] at most 8 of at most 63 bytes
---@field allow? antquic.PeerId[] absent: any peer; empty: nobody
---@field can_coordinate? boolean
---@field enable_symmetric_nat? boolean
---@field enable_relay_fallback? boolean
---@field accept? boolean
---@field allow_reserved? boolean
---@field always_retry? boolean
---@field ask_accept? boolean a decision event before punching for somebody
---@field ask_candidates? boolean new candidates wait 0.1 s for hide_candidates
---@field nat_profile? boolean default true
---@field can_relay? boolean if it coordinates; default true
---@field strategy? "auto"|"steps"
---@field pqc? "hybrid"|"off"
---@field max_candidates? integer
---@field max_concurrent_attempts? integer
---@field coordination_timeout? number seconds
---@field idle_timeout? number seconds; 0 is never
---@field keep_alive? number seconds; 0 is off
---@field handshake_timeout? number seconds
---@field stream_window? integer bytes
---@field conn_window? integer bytes
---@field max_streams_bidi? integer
---@field max_streams_uni? integer
---@field send_buffer? integer bytes
---@field datagram_queue? integer
---@field max_connections? integer
---@field max_half_open? integer
---@field relay_rate? integer bytes a second and direction that a tunnel over us may carry
---@field relay_total_rate? integer bytes a second that all of them may carry
---@field trace? "error"|"warn"|"info"|"debug" lines to standard error up to this level
---@field no_gso? boolean for tests and odd kernels
---@field no_gro? boolean
---@field no_ecn? boolean

--- Makes an endpoint, opens its sockets and steps once.
---@param options antquic.core.Options
---@return antquic.core.Endpoint|nil
---@return string? message
---@return string? code
function core.endpoint(options) end

---@class antquic.core.Endpoint userdata; __gc and __close are close()
local Endpoint = {}

--- Closes at once: every connection gets CONNECTION_CLOSE where possible, the
--- sockets are closed. Idempotent. After it only close, is_closed and tostring
--- may be used.
---@return true
function Endpoint:close() end

---@return boolean
function Endpoint:is_closed() end

-- ---- turning ----------------------------------------------------------------

--- Does what is due and never blocks: receive, time-outs, send. Call it after
--- verbs too, to send what they queued; then drain poll().
---@return boolean|nil more true: the work of one turn was not enough, step again soon
---@return string? message
---@return string? code
function Endpoint:step() end

--- Sends what is queued, blocks until there is work or |seconds| passed (nil:
--- the endpoint's own deadlines only), then steps.
---@param seconds? number
---@return boolean|nil more as step()
---@return string? message
---@return string? code
function Endpoint:wait(seconds) end

--- A file descriptor that is readable when step() has work; cqueues' name.
--- nil where the system has none.
---@return integer|nil
function Endpoint:pollfd() end

--- "r": what to watch pollfd() for; cqueues' name.
---@return string
function Endpoint:events() end

--- In a simulation: would poll() give something? Not for real endpoints.
---@return boolean
function Endpoint:has_events() end

--- Seconds until step() must be called, 0 when now, nil when never. Changes
--- with every step and verb.
---@return number|nil
function Endpoint:timeout() end

---@return number seconds
function Endpoint:now() end

--- The next event or nil. A field that has no value for this event is absent.
--- With two tables, the next one whose kind is a key of either; those before it
--- are dropped.
---@param wanted? table<string, any>
---@param also? table<string, any>
---@return antquic.core.Event|nil
function Endpoint:poll(wanted, also) end

---@class antquic.core.Candidate
---@field addr string
---@field priority integer
---@field seq integer
---@field source "local"|"observed"|"peer"|"predicted"
---@field state "new"|"validating"|"valid"|"failed"|"removed"
---@field verified boolean

--- Which fields a kind may have, besides kind and time and those of
--- conn, stream, session, peer and error that are set:
---   candidate_discovered, candidate_removed   candidate, addr
---   candidate_validated                       candidate, addr, rtt
---   coordination_requested                    addr, round
---   coordination_synchronized                 addr, round, duration
---   hole_punching_started                     count (of pairs)
---   path_validated                            addr, local_addr, rtt
---   traversal_succeeded                       addr, local_addr, duration, attempt
---   traversal_failed                          text, fallback_available, duration, attempt
---   connection_established                    addr, local_addr, outgoing, alpn, rtt, existing
---   connection_incoming                       addr, local_addr; established follows
---   connection_lost                           addr, outgoing, reason, code, text, duration
---   dial_failed                               addr, code, text, duration
---   phase_transition                          from, to, reason, text
---   session_state_changed                     from, to, reason, text
---   address_observed                          addr, local_addr (who saw it)
---   bootstrap_connected                       addr, rtt
---   bootstrap_lost                            addr, failures, text
---   stream_incoming                           uni
---   stream_closed                             code, text
---   stream_readable, stream_writable, streams_available,
---   datagram_readable, datagram_writable      nothing more
---   path_changed                              addr, local_addr, rtt
---   step_done                                 addr, step, duration, text
---   decision                                  decision, text
---   limit_hit                                 text (its name)
---   interfaces_changed                        count
---   events_lost                               count
--- Of connection_*, path_changed, path_validated and traversal_succeeded over a
--- relay: relayed; addr is the relay's.
---@class antquic.core.Event
---@field kind string one of core.names().events
---@field time number
---@field conn? antquic.Id
---@field stream? antquic.Id
---@field session? antquic.Id
---@field peer? antquic.PeerId
---@field error? string a code; absent: no error
---@field addr? string
---@field local_addr? string
---@field candidate? antquic.core.Candidate
---@field from? string a phase, or a state in session_state_changed
---@field to? string
---@field reason? string one of core.names().reasons; absent: "none"
---@field outgoing? boolean
---@field relayed? true
---@field fallback_available? boolean
---@field uni? boolean
---@field alpn? string
---@field text? string
---@field round? integer
---@field count? integer
---@field attempt? integer
---@field failures? integer in a row
---@field existing? antquic.Id the dial found this connection to the peer: conn is another name of it
---@field code? integer the peer's application error code
---@field step? "dial"|"coordinate"|"punch"|"fresh"|"predict"|"birthday"|"repair"|"relay"
---@field decision? integer for Endpoint:decide
---@field rtt? number
---@field duration? number

-- ---- endpoint ----------------------------------------------------------------

---@return antquic.PeerId
function Endpoint:peer_id() end

--- Starts closing every connection; complete when drained() is true.
---@param code? integer
---@param reason? string
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:close_all(code, reason) end

---@return boolean
function Endpoint:drained() end

--- The real addresses of the sockets.
---@return string[]
function Endpoint:sockets() end

--- Adds a socket. The port may be 0.
---@param addr string
---@return integer|nil index
---@return string? message
---@return string? code
function Endpoint:open_socket(addr) end

--- Every counter of aq_statistics, as integers.
---@return table<string, integer>
function Endpoint:statistics() end

---@return { connections: integer, half_open: integer, streams: integer, sessions: integer, events: integer, registrations: integer, memory: integer }
function Endpoint:usage() end

---@return { recv_calls: integer, recv_datagrams: integer, recv_bytes: integer, send_calls: integer, send_datagrams: integer, send_bytes: integer, send_blocked: integer, send_errors: integer, recv_errors: integer, gso: boolean, gro: boolean, ecn: boolean }
function Endpoint:io_stats() end

---@class antquic.core.NatProfile
---@field mapping string as its name in antquic_maps.h, "unknown" too
---@field filtering string
---@field filtering_most string it is this or less strict
---@field allocation string
---@field step? integer
---@field block_base? integer
---@field block_size? integer
---@field hairpin? boolean nil: unknown
---@field hairpin_internal? boolean
---@field idle? integer seconds a silent mapping was seen to live
---@field idle_gone? integer seconds after which it was seen to be gone
---@field absolute? integer seconds after which it was gone though in use
---@field lifetime_known boolean idle and idle_gone are as close as they get
---@field complete boolean
---@field measured_at? number
---@field keep_alive number seconds, what it means for connections
---@field last? string the newest mapping
---@field external string[] addresses with port 0
---@field evidence table[] { test, answered, tries, other_port, other_address, delay, at, local_addr, to, from?, seen? }

--- What was measured of the NAT in front; |brief|: with no evidence.
---@param brief? boolean
---@return antquic.core.NatProfile
function Endpoint:nat_profile(brief) end

--- Candidates of our own, hidden ones too.
---@return antquic.core.Candidate[]
function Endpoint:candidates() end

--- Addresses of ours that nobody is told; replaces the last list.
---@param addresses string[]? at most 32
---@return true|nil ok
---@return string? message
---@return string? code
function Endpoint:hide_candidates(addresses) end

---@class antquic.core.BootstrapInfo
---@field addr string
---@field connected boolean
---@field can_coordinate boolean
---@field can_relay boolean it said so
---@field peer? antquic.PeerId
---@field conn? antquic.Id
---@field last_seen? number
---@field rtt? number
---@field coordination_count integer
---@field failures integer to connect, in a row
---@field coordination_failures integer requests that it never answered
---@field unanswered integer of those, since it last answered
---@field failed_at? number when the last of them was given up
---@field observed? string our address as it saw it

---@return antquic.core.BootstrapInfo[]
function Endpoint:bootstrap_list() end

---@param addr string
---@param peer? antquic.PeerId the only key that is accepted there
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:bootstrap_add(addr, peer) end

---@param addr string
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:bootstrap_remove(addr) end

-- ---- sessions ------------------------------------------------------------------

--- Begins a traversal, or gives the one that runs already. When a connection
--- is there, it comes instead and the session is false.
---@param peer antquic.PeerId
---@param known? string[] addresses to try first, at most 32
---@param timeout? number seconds; default: the core's
---@return antquic.Id|false|nil session
---@return antquic.Id|string|nil conn or message
---@return string? code
function Endpoint:session_start(peer, known, timeout) end

---@class antquic.core.DialStep
---@field addrs string[] 1..8
---@field spacing? number seconds between starts
---@field timeout? number seconds
---@field keep? boolean at the time-out the dials go on beside the next steps

--- Starts a step; its step_done event tells the result.
---@param session antquic.Id
---@param step antquic.core.DialStep
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:session_dial(session, step) end

---@param session antquic.Id
---@param via? antquic.Id[] connections to coordinators, at most 16; nil: the core's choice
---@param timeout? number seconds
---@param hedge? number seconds until the next one is asked as well; nil: 3 rtt, 0.2 at least
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:session_coordinate(session, via, timeout, hedge) end

---@class antquic.core.PunchStep absent fields have the C default
---@field rounds? integer 1..16
---@field spacing? number 0.01..1
---@field openers? integer 0..2
---@field opener_ttl? integer 1..8
---@field opener_lead? number 0..0.05
---@field timeout? number seconds
---@field order? string[] remote candidates, first to last; at most 32

---@param session antquic.Id
---@param step? antquic.core.PunchStep
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:session_punch(session, step) end

---@class antquic.core.HardStep: antquic.core.PunchStep
---@field via? antquic.Id connection to a coordinator; nil: the core's choice
---@field sockets? integer new ones of ours; nil: what the plan needs
---@field probes? integer guessed ports; nil: what the plan needs

--- A step with new sockets, from the request to its end.
---@param session antquic.Id
---@param plan "fresh"|"predict"|"birthday"
---@param step antquic.core.HardStep
---@return true|nil
---@return string? message
---@return string? code NOT_ALLOWED: enable_symmetric_nat is off
function Endpoint:session_hard(session, plan, step) end

---@class antquic.core.RelayStep
---@field via? antquic.Id connection to a coordinator that relays; nil: the core's choice
---@field upgrade_every? number|false seconds until a direct path is first tried, then twice as long each time up to 300; at least 1, default 5; false: never

--- A step to a connection over a relay, from the request to its end.
---@param session antquic.Id
---@param step? antquic.core.RelayStep
---@return true|nil
---@return string? message
---@return string? code NOT_ALLOWED: enable_relay_fallback is off
function Endpoint:session_relay(session, step) end

--- Ends a session that no step connected; traversal_failed carries |error|.
---@param session antquic.Id
---@param error? string a code, default "TRAVERSAL_FAILED"
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:session_finish(session, error) end

---@param session antquic.Id
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:session_cancel(session) end

--- What is known of the NAT in front of a peer; what isn't is absent.
---@class antquic.core.Profile
---@field mapping? "none"|"endpoint_independent"|"address_dependent"|"address_and_port_dependent"
---@field filtering? string as mapping; "none": nothing ever came in
---@field allocation? "preserving"|"sequential"|"random"|"block"
---@field step? integer from one port to the next
---@field block_base? integer
---@field block_size? integer
---@field hairpin? boolean
---@field external_count? integer addresses that it has

---@class antquic.core.SessionInfo
---@field peer antquic.PeerId
---@field phase string
---@field state string
---@field initiator boolean
---@field attempt integer
---@field started number
---@field coordinator? antquic.Id
---@field coordinator_addr? string
---@field coordination_time? number
---@field retry_at? number sooner what was refused last is refused again
---@field punches_sent integer
---@field punches_received integer
---@field initials_sent integer
---@field same_nat boolean
---@field plan "punch"|"fresh"|"predict"|"birthday"|"repair"|"relay"
---@field local_profile antquic.core.Profile
---@field remote_profile antquic.core.Profile
---@field steps_lost integer steps that explain() has no room for
---@field remote antquic.core.Candidate[]

---@param session antquic.Id
---@return antquic.core.SessionInfo|nil
---@return string? message
---@return string? code
function Endpoint:session_info(session) end

---@class antquic.core.Pair
---@field local_addr? string
---@field remote string
---@field priority integer
---@field state "waiting"|"in_progress"|"succeeded"|"failed"|"cancelled"
---@field remote_source string
---@field verified boolean
---@field sent integer
---@field answered boolean it echoed what we sent
---@field received integer
---@field refused integer datagrams that were not sent
---@field limit? string why, the last time: a counter of statistics() without "limit_"
---@field dialed boolean a handshake was tried
---@field error? string that the last handshake ended with

--- Of the last attempt; for a while after the end, too.
---@param session antquic.Id
---@return antquic.core.Pair[]
function Endpoint:session_pairs(session) end

--- Answers a decision event.
---@param decision integer
---@param accept boolean
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:decide(decision, accept) end

--- The schedule that is used when others punch to us.
---@param step antquic.core.PunchStep
---@return true
function Endpoint:set_punch_defaults(step) end

---@class antquic.core.StepRecord
---@field step "dial"|"coordinate"|"punch"|"fresh"|"predict"|"birthday"|"repair"|"relay"|"move"
---@field won boolean
---@field error? string a code
---@field started number
---@field ended? number absent: it still runs
---@field addr? string
---@field sent integer
---@field received integer
---@field attempt integer
---@field pairs? integer punch: that were tried
---@field heard? integer ... from which the peer was heard
---@field unusable? integer addresses of the peer that made no pair
---@field refused? integer datagrams that were not sent
---@field limit? string why, as in antquic.core.Pair
---@field before? string move: where the connection went until then; addr is the new place
---@field before_relayed? boolean ... that is a relay's
---@field relayed? boolean addr is a relay's
---@field move? "silence"|"peer_silence"|"direct_path"|"peer_moved" why
---@field text? string

--- What was tried for a connection or session, in order. Of a connection the newest
--- are kept, also those that moved it.
---@param id antquic.Id
---@return antquic.core.StepRecord[]
function Endpoint:explain(id) end

-- ---- record ------------------------------------------------------------------

--- Keeps what the endpoint sees from now on, for poll_record(). false: forgets
--- it. antquic.record does the rest.
---@param on boolean
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:record(on) end

---@class antquic.core.RecordEntry docs/record.md says which kind has what
---@field kind string
---@field time number
---@field type? string which punch, control message, frame, packet
---@field session? antquic.Id
---@field conn? antquic.Id
---@field local_addr? string the socket
---@field remote? string
---@field addr? string what it speaks of
---@field socket? integer
---@field punch_session? string 8 bytes that both peers know
---@field initiator? boolean a punch of the initiator's
---@field seq? integer
---@field ttl? integer
---@field cookie? string 8 bytes; an answer has that of its probe
---@field len? integer
---@field mark? integer the same at both ends of a datagram's way
---@field request? integer
---@field count? integer
---@field delay? number
---@field rtt? number
---@field verified? boolean
---@field source? string
---@field plan? string
---@field profile? table mapping, filtering, allocation, step, block_size
---@field flags? integer observe_*: 1 the other port answers, 2 the other address
---@field error? string
---@field text? string

--- The oldest entry that wasn't given yet, or nil.
---@return antquic.core.RecordEntry|nil
function Endpoint:poll_record() end

-- ---- connections ---------------------------------------------------------------

--- Dials. connection_established or dial_failed follows with this id.
---@param addr string
---@param expect? antquic.PeerId
---@param alpn? string
---@param timeout? number seconds; default handshake_timeout
---@return antquic.Id|nil conn
---@return string? message
---@return string? code
function Endpoint:connect_addr(addr, expect, alpn, timeout) end

---@return antquic.Id[]
function Endpoint:conns() end

--- The established connection to a peer, or nil.
---@param peer antquic.PeerId
---@return antquic.Id|nil
function Endpoint:find_conn(peer) end

---@class antquic.core.ConnInfo
---@field peer antquic.PeerId
---@field public_key string 32 bytes
---@field alpn string
---@field state string
---@field outgoing boolean
---@field bootstrap boolean
---@field post_quantum boolean
---@field extensions boolean
---@field control boolean
---@field relayed boolean remote is the relay's address
---@field remote? string
---@field local_addr? string
---@field observed? string
---@field rtt number
---@field min_rtt number
---@field rttvar number
---@field bytes_sent integer
---@field bytes_received integer
---@field packets_sent integer
---@field packets_received integer
---@field packets_lost integer
---@field cwnd integer
---@field bytes_in_flight integer
---@field datagrams_sent integer
---@field datagrams_acked integer
---@field datagrams_lost integer
---@field datagrams_received integer
---@field datagrams_dropped integer
---@field max_datagram integer 0: not supported
---@field max_udp_payload integer
---@field established? number
---@field last_activity? number
---@field session? antquic.Id
---@field memory integer

---@param conn antquic.Id
---@return antquic.core.ConnInfo|nil
---@return string? message
---@return string? code
function Endpoint:conn_info(conn) end

--- Immediate close. Idempotent.
---@param conn antquic.Id
---@param code? integer application error code, default 0
---@param reason? string
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:conn_close(conn, code, reason) end

--- true when nothing is queued or in flight.
---@param conn antquic.Id
---@return boolean|nil
---@return string? message
---@return string? code
function Endpoint:flushed(conn) end

---@param conn antquic.Id
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:conn_ping(conn) end

---@param conn antquic.Id
---@param seconds number 0 is off
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:conn_keep_alive(conn, seconds) end

---@param conn antquic.Id
---@return true|nil
---@return string? message
---@return string? code AGAIN: the last update is not confirmed yet
function Endpoint:conn_update_keys(conn) end

---@param conn antquic.Id
---@param addr string
---@return integer|nil seq
---@return string? message
---@return string? code
function Endpoint:conn_add_address(conn, addr) end

---@param conn antquic.Id
---@param seq integer
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:conn_remove_address(conn, seq) end

--- What the peer announced.
---@param conn antquic.Id
---@return antquic.core.Candidate[]
function Endpoint:conn_candidates(conn) end

-- ---- streams -------------------------------------------------------------------

---@param conn antquic.Id
---@param uni? boolean
---@param priority? integer default 0
---@return antquic.Id|nil stream nil, message, "AGAIN": streams_available follows
---@return string? message
---@return string? code
function Endpoint:stream_open(conn, uni, priority) end

---@param conn antquic.Id
---@return antquic.Id|nil stream nil, message, "AGAIN": stream_incoming follows
---@return string? message
---@return string? code
function Endpoint:stream_accept(conn) end

--- Copies what there is room for.
---@param stream antquic.Id
---@param data string
---@param from? integer first byte, from 1
---@return integer|nil count of bytes taken; nil, message, "AGAIN": stream_writable follows
---@return string? message
---@return string? code
function Endpoint:stream_write(stream, data, from) end

--- Up to |max| bytes, never an empty string (but for max 0). At the end a lone
--- nil. nil, message, "AGAIN": stream_readable follows.
---@param stream antquic.Id
---@param max? integer default and at most 1 MiB
---@return string|nil data
---@return string? message
---@return string? code
function Endpoint:stream_read(stream, max) end

--- How many bytes a read would give now.
---@param stream antquic.Id
---@return integer
function Endpoint:stream_readable(stream) end

--- Ends the writing side.
---@param stream antquic.Id
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:stream_finish(stream) end

--- Abandons the writing side.
---@param stream antquic.Id
---@param code? integer default 0
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:stream_reset(stream, code) end

--- Asks the peer to stop sending.
---@param stream antquic.Id
---@param code? integer default 0
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:stream_stop(stream, code) end

---@param stream antquic.Id
---@param priority integer
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:stream_priority(stream, priority) end

--- The program has no more use for it: what was written is still delivered, an
--- unfinished side is reset. The id becomes stale.
---@param stream antquic.Id
---@return true|nil
---@return string? message
---@return string? code
function Endpoint:stream_release(stream) end

---@class antquic.core.StreamInfo
---@field id integer the QUIC stream id
---@field conn antquic.Id
---@field uni boolean
---@field incoming boolean
---@field finished boolean
---@field fin_received boolean
---@field fin_acked boolean
---@field reset_code integer
---@field stop_code integer
---@field bytes_written integer
---@field bytes_read integer
---@field bytes_acked integer
---@field send_queued integer
---@field recv_queued integer
---@field priority integer

---@param stream antquic.Id
---@return antquic.core.StreamInfo|nil
---@return string? message
---@return string? code
function Endpoint:stream_info(stream) end

-- ---- datagrams -------------------------------------------------------------------

---@param conn antquic.Id
---@param data string
---@return true|nil
---@return string? message
---@return string? code TOO_LARGE, UNSUPPORTED, AGAIN (datagram_writable follows)
function Endpoint:datagram_send(conn, data) end

---@param conn antquic.Id
---@return string|nil data nil, message, "AGAIN": datagram_readable follows
---@return string? message
---@return string? code
function Endpoint:datagram_receive(conn) end

return core
