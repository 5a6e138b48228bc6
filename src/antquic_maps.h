/* antquic_maps.h - the tables behind the enums and structs of antquic.h that
 * grow: errors, events, counters. Each is one list for C, the names and Lua.
 *
 * Layer:  0, a part of antquic.h
 * Owner:  nothing is owned
 * Time:   none
 * Spec:   docs/events.md, docs/api.md
 *
 * SPDX-License-Identifier: MIT */
#ifndef ANTQUIC_MAPS_H
#define ANTQUIC_MAPS_H

/* X(NAME, value, text). The value of an error is negative. */
#define AQ_ERR_MAP(X)                                                          \
  X(INVAL, -1, "invalid argument")                                             \
  X(NOMEM, -2, "out of memory")                                                \
  X(CLOSED, -3, "closed")                                                      \
  X(TIMEOUT, -4, "timed out")                                                  \
  X(AGAIN, -5, "try again later")                                              \
  X(LIMIT, -6, "a limit was reached")                                          \
  X(CONFIG, -7, "bad configuration")                                           \
  X(ADDRESS, -8, "bad address")                                                \
  X(IDENTITY, -9, "bad identity key")                                          \
  X(WRONG_KEY, -10, "the peer proved another key than the one asked for")      \
  X(NOT_ALLOWED, -11, "not on the allow-list")                                 \
  X(PROTOCOL, -12, "protocol violation")                                       \
  X(TLS, -13, "TLS handshake failed")                                          \
  X(NETWORK, -14, "network error")                                             \
  X(INTERNAL, -15, "internal error")                                           \
  X(UNSUPPORTED, -16, "not supported")                                         \
  X(TOO_LARGE, -17, "too large")                                               \
  X(FORMAT, -18, "malformed data")                                             \
  X(NO_BOOTSTRAP_NODES, -20, "no bootstrap node is available")                 \
  X(NO_CANDIDATES, -21, "no candidate address was found")                      \
  X(DISCOVERY_FAILED, -22, "candidate discovery failed")                       \
  X(COORDINATION_FAILED, -23, "coordination failed")                           \
  X(PUNCHING_FAILED, -24, "hole punching failed")                              \
  X(VALIDATION_FAILED, -25, "path validation failed")                          \
  X(VALIDATION_TIMEOUT, -26, "path validation timed out")                      \
  X(CONNECTION_FAILED, -27, "the connection failed")                           \
  X(TRAVERSAL_FAILED, -28, "NAT traversal failed")                             \
  X(PEER_NOT_CONNECTED, -29, "the peer is not connected")                      \
  X(UNKNOWN_TARGET, -30, "the coordinator does not know the target")           \
  X(REFUSED, -31, "the target refused")                                        \
  X(RATE_LIMITED, -32, "rate limited")                                         \
  X(EXPIRED, -33, "expired")                                                   \
  X(OVERLOADED, -34, "overloaded")                                             \
  X(IDLE_TIMEOUT, -40, "idle time-out: nothing was heard from the peer")       \
  X(STATELESS_RESET, -41, "the peer has lost the connection's state")          \
  X(PEER_CLOSED, -42, "closed by the peer")                                    \
  X(STREAM_RESET, -43, "the peer reset the stream")                            \
  X(STREAM_STOPPED, -44, "the peer stopped reading the stream")                \
  X(STREAM_FINISHED, -45, "the stream was already finished for writing")       \
  X(VERSION, -46, "no common QUIC version")                                    \
  X(ALPN, -47, "no common application protocol")                               \
  X(DUPLICATE, -48, "replaced by another connection to the same peer")         \
  X(UNREACHABLE, -49, "no packet of the peer arrived")                         \
  X(CANCELLED, -50, "cancelled")

/* What a NAT does, RFC 4787 sections 4.1 and 5, for its mapping and its
 * filtering. X(NAME, "lua name"). */
#define AQ_NAT_RULE_MAP(X)                                                     \
  X(UNKNOWN, "unknown")                                                        \
  X(NONE, "none") /* mapping: no NAT; filtering: nothing passed, ever */       \
  X(ENDPOINT_INDEPENDENT, "endpoint_independent")                              \
  X(ADDRESS_DEPENDENT, "address_dependent")                                    \
  X(ADDRESS_AND_PORT_DEPENDENT, "address_and_port_dependent")

/* How it gives out ports. */
#define AQ_NAT_ALLOCATION_MAP(X)                                               \
  X(UNKNOWN, "unknown")                                                        \
  X(PRESERVING, "preserving") /* the socket's own */                           \
  X(SEQUENTIAL, "sequential") /* the last one plus |step| */                   \
  X(RANDOM, "random")                                                          \
  X(BLOCK, "block") /* random within |block_size| from |block_base| */

/* What a piece of evidence is about. */
#define AQ_NAT_TEST_MAP(X)                                                     \
  X(MAPPING, "mapping")                                                        \
  X(FILTERING, "filtering")                                                    \
  X(ALLOCATION, "allocation")                                                  \
  X(HAIRPIN, "hairpin")                                                        \
  X(IDLE, "idle")                                                              \
  X(ABSOLUTE, "absolute")

/* What is wanted of an attempt beside simple punching. */
#define AQ_PLAN_MAP(X)                                                         \
  X(PUNCH, "punch")       /* simultaneous punching of the candidates */        \
  X(FRESH, "fresh")       /* from new sockets at both ends */                  \
  X(PREDICT, "predict")   /* ports that a sequential NAT gives next */         \
  X(BIRTHDAY, "birthday") /* many sockets against many guessed ports */        \
  X(REPAIR, "repair")     /* fresh, for a connection whose path was lost */    \
  X(RELAY, "relay")       /* no punching: by way of the coordinator */

/* Why a connection went to another path. */
#define AQ_MOVE_MAP(X)                                                         \
  X(SILENCE, "silence")           /* nothing was heard on the one before */    \
  X(PEER_SILENCE, "peer_silence") /* the peer heard nothing on it */           \
  X(DIRECT_PATH, "direct_path") /* one was found, and it went over a relay */  \
  X(PEER_MOVED, "peer_moved")   /* the peer's packets come from there */

/* X(NAME, "lua name"). The first twelve are the model's. */
#define AQ_EVENT_MAP(X)                                                        \
  X(CANDIDATE_DISCOVERED, "candidate_discovered")                              \
  X(COORDINATION_REQUESTED, "coordination_requested")                          \
  X(COORDINATION_SYNCHRONIZED, "coordination_synchronized")                    \
  X(HOLE_PUNCHING_STARTED, "hole_punching_started")                            \
  X(PATH_VALIDATED, "path_validated")                                          \
  X(CANDIDATE_VALIDATED, "candidate_validated")                                \
  X(TRAVERSAL_SUCCEEDED, "traversal_succeeded")                                \
  X(CONNECTION_ESTABLISHED, "connection_established")                          \
  X(TRAVERSAL_FAILED, "traversal_failed")                                      \
  X(CONNECTION_LOST, "connection_lost")                                        \
  X(PHASE_TRANSITION, "phase_transition")                                      \
  X(SESSION_STATE_CHANGED, "session_state_changed")                            \
  X(CANDIDATE_REMOVED, "candidate_removed")                                    \
  X(ADDRESS_OBSERVED, "address_observed")                                      \
  X(BOOTSTRAP_CONNECTED, "bootstrap_connected")                                \
  X(BOOTSTRAP_LOST, "bootstrap_lost")                                          \
  X(CONNECTION_INCOMING, "connection_incoming")                                \
  X(DIAL_FAILED, "dial_failed")                                                \
  X(STREAM_INCOMING, "stream_incoming")                                        \
  X(STREAM_READABLE, "stream_readable")                                        \
  X(STREAM_WRITABLE, "stream_writable")                                        \
  X(STREAM_CLOSED, "stream_closed")                                            \
  X(STREAMS_AVAILABLE, "streams_available")                                    \
  X(DATAGRAM_READABLE, "datagram_readable")                                    \
  X(DATAGRAM_WRITABLE, "datagram_writable")                                    \
  X(PATH_CHANGED, "path_changed")                                              \
  X(STEP_DONE, "step_done")                                                    \
  X(DECISION, "decision")                                                      \
  X(LIMIT_HIT, "limit_hit")                                                    \
  X(INTERFACES_CHANGED, "interfaces_changed")                                  \
  X(EVENTS_LOST, "events_lost")                                                \
  X(NAT_PROFILE_CHANGED, "nat_profile_changed")

/* X(name): counters since the endpoint was made. */
#define AQ_STATS_MAP(X)                                                        \
  X(datagrams_received)                                                        \
  X(datagrams_sent)                                                            \
  X(bytes_received)                                                            \
  X(bytes_sent)                                                                \
  X(datagrams_dropped_malformed)                                               \
  X(datagrams_dropped_unknown)                                                 \
  X(datagrams_dropped_limit)                                                   \
  X(connections_accepted)                                                      \
  X(connections_dialed)                                                        \
  X(connections_established)                                                   \
  X(connections_failed)                                                        \
  X(connections_lost)                                                          \
  X(handshakes_refused)                                                        \
  X(retries_sent)                                                              \
  X(stateless_resets_sent)                                                     \
  X(version_negotiations_sent)                                                 \
  X(total_attempts)                                                            \
  X(successful_connections)                                                    \
  X(direct_connections)                                                        \
  X(failed_attempts)                                                           \
  X(coordinations_requested)                                                   \
  X(coordinations_completed)                                                   \
  X(coordination_time_total_ns)                                                \
  X(offers_received)                                                           \
  X(offers_refused)                                                            \
  X(coordinator_registrations)                                                 \
  X(coordinator_requests)                                                      \
  X(coordinator_offers)                                                        \
  X(coordinator_refused)                                                       \
  X(punches_sent)                                                              \
  X(punches_received)                                                          \
  X(punches_answered)                                                          \
  X(punches_bad)                                                               \
  X(openers_sent)                                                              \
  X(observed_address_sent)                                                     \
  X(observed_address_received)                                                 \
  X(add_address_sent)                                                          \
  X(add_address_received)                                                      \
  X(remove_address_sent)                                                       \
  X(remove_address_received)                                                   \
  X(punch_me_now_received)                                                     \
  X(control_messages_sent)                                                     \
  X(control_messages_received)                                                 \
  X(limit_punch_session)                                                       \
  X(limit_punch_target)                                                        \
  X(limit_punch_prefix)                                                        \
  X(limit_punch_peer)                                                          \
  X(limit_punch_endpoint)                                                      \
  X(limit_punch_forbidden)                                                     \
  X(limit_coordinator_rate)                                                    \
  X(limit_half_open)                                                           \
  X(limit_prefix_half_open)                                                    \
  X(limit_connections)                                                         \
  X(limit_candidates)                                                          \
  X(limit_stateless_reset)                                                     \
  X(limit_events)                                                              \
  X(limit_extension_frames)                                                    \
  X(limit_extra_sockets)                                                       \
  X(limit_observe)                                                             \
  X(extra_sockets_opened)                                                      \
  X(observes_sent)                                                             \
  X(observes_received)                                                         \
  X(observes_answered)                                                         \
  X(observes_bad)                                                              \
  X(hints_sent)                                                                \
  X(hints_received)                                                            \
  X(coordinator_hints)                                                         \
  X(limit_record)                                                              \
  X(repairs_started)                                                           \
  X(repairs_completed)                                                         \
  X(repairs_failed)                                                            \
  X(limit_repairs)                                                             \
  X(guesses_sent)                                                              \
  X(limit_guess_target)                                                        \
  X(limit_guess_peer)                                                          \
  X(limit_guess_endpoint)                                                      \
  X(limit_guess_rate)                                                          \
  X(limit_guess_busy)                                                          \
  X(relayed_connections)                                                       \
  X(upgrades_started)                                                          \
  X(upgrades_completed)                                                        \
  X(limit_tunnels)                                                             \
  X(relay_tunnels_opened)                                                      \
  X(relay_tunnels_refused)                                                     \
  X(relay_datagrams)                                                           \
  X(relay_bytes)                                                               \
  X(relay_dropped)                                                             \
  X(limit_relay_tunnels)                                                       \
  X(limit_relay_rate)                                                          \
  X(datagrams_repeated)                                                        \
  X(limit_repairs_at_once)                                                     \
  X(limit_relay_peer_rate)                                                     \
  X(limit_relay_total_rate)                                                    \
  X(limit_coordinator_share)                                                   \
  X(observed_address_ignored)                                                  \
  X(punches_replayed)                                                          \
  X(limit_session_actions)                                                     \
  X(limit_session_events)                                                      \
  X(limit_frames_received)                                                     \
  X(limit_repair_guesses)

#endif
