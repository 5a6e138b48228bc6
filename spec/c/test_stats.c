/* test_stats.c - the statistics are counted: each row is a story, the node that
 * is looked at, and exactly what moves there; nothing else may. Every counter
 * of AQ_STATS_MAP must be moved by some row, and each limit tells so once.
 *
 * SPDX-License-Identifier: MIT */
#include "support/story.h"

#define A STORY_A
#define B STORY_B
#define C STORY_C

static const struct {
  const char *name;
  size_t at;
} COUNTERS[] = {
#define X(name) {#name, offsetof(aq_statistics, name)},
    AQ_STATS_MAP(X)
#undef X
};
#define NCOUNTER (sizeof(COUNTERS) / sizeof(COUNTERS[0]))

static uint64_t value_of(const aq_statistics *s, size_t counter) {
  uint64_t v;
  memcpy(&v, (const char *)s + COUNTERS[counter].at, sizeof(v));
  return v;
}

/* ---- what moves ---- */

#define IN "datagrams_received bytes_received "
#define OUT "datagrams_sent bytes_sent "
#define BOTH IN OUT
/* What each side of a new connection tells the other. */
#define TOLD                                                                   \
  "observed_address_sent=1 observed_address_received=1 add_address_sent=1 "    \
  "add_address_received=1 "
#define DIALED BOTH "connections_dialed=1 connections_established=1 "
#define ACCEPTED BOTH "connections_accepted=1 connections_established=1 "
/* A request and what came back. */
#define ASKED                                                                  \
  BOTH "coordinations_requested=1 coordinations_completed=1 "                  \
       "coordination_time_total_ns=20000000 "
/* A new socket of ours and one of the peer's. */
#define HINTED                                                                 \
  "extra_sockets_opened=1 observes_sent=1 observes_received=1 hints_sent=1 "   \
  "hints_received=1 "
#define NOT_GUESSED                                                            \
  ASKED "total_attempts=1 failed_attempts=1 control_messages_sent=2 "          \
        "control_messages_received=1 datagrams_repeated "
#define OFFERED BOTH "offers_received=1 control_messages_received=1 "

/* "name" moves, "name=3" by just that. What isn't named stays. */
static const struct row {
  const char *name;
  world *(*play)(void);
  int node;
  const char *moves;
} ROWS[] = {
    {"nothing happens", story_nothing, A, ""},
    {"a dial", story_dialed, A, DIALED TOLD "control_messages_received=1"},
    {"a dial, there", story_dialed, B,
     ACCEPTED TOLD "control_messages_sent=1 datagrams_repeated"},
    {"a message", story_talk, A, OUT},
    {"a dial to nobody", story_nobody_there, A,
     OUT "connections_dialed=1 connections_failed=1"},
    {"the peer is gone", story_peer_dies, A, OUT "connections_lost=1"},
    {"a good-bye", story_closed_by_us, A, "datagrams_sent=1 bytes_sent"},
    {"a good-bye, there", story_closed_by_us, B,
     "datagrams_received=1 bytes_received connections_lost=1"},
    {"not on the list", story_not_allowed, A,
     DIALED "observed_address_sent=1 add_address_sent=1 connections_lost=1"},
    {"not on the list, there", story_not_allowed, B,
     BOTH "handshakes_refused=1"},
    {"with a Retry", story_with_retry, B,
     ACCEPTED TOLD "control_messages_sent=1 retries_sent=1 datagrams_repeated"},
    {"it has forgotten us", story_lost_state, A, BOTH "connections_lost=1"},
    {"it has forgotten us, there", story_lost_state, B,
     BOTH "stateless_resets_sent=1"},
    {"resets are asked for", story_resets_asked_for, B,
     "datagrams_received=100 bytes_received=10000 datagrams_sent=10 bytes_sent "
     "stateless_resets_sent=10 limit_stateless_reset=90"},
    {"another version", story_other_version, B,
     "datagrams_received=1 bytes_received=1200 " OUT
     "version_negotiations_sent=1"},
    {"malformed", story_malformed, B,
     "datagrams_received=2 bytes_received=6 datagrams_dropped_malformed=2"},
    {"unknown", story_unknown, B,
     "datagrams_received=2 bytes_received=140 datagrams_dropped_unknown=2"},
    {"too many half-open", story_half_open_full, B,
     IN "datagrams_dropped_limit=1 limit_half_open=1"},
    {"too many of a prefix", story_prefix_full, B,
     IN "datagrams_dropped_limit=1 limit_prefix_half_open=1"},
    {"too many connections", story_no_more_connections, B,
     BOTH "datagrams_dropped_limit=1 limit_connections=2"},
    {"nobody polls", story_nobody_polls, A, "limit_events"},
    {"announced by hand", story_announced_by_hand, A,
     BOTH "add_address_sent=1 remove_address_sent=1"},
    {"announced by hand, there", story_announced_by_hand, B,
     BOTH "add_address_received=1 remove_address_received=1"},
    {"too many announced", story_too_many_announced, A,
     BOTH "add_address_sent=15 limit_candidates=1"},
    {"frames pile up", story_frames_pile_up, A,
     OUT "add_address_sent=64 remove_address_sent=64 limit_extension_frames=1"},
    {"PUNCH_ME_NOW", story_punch_me, B, BOTH "punch_me_now_received=1"},
    {"a move", story_moved, A, BOTH "observed_address_received=1"},
    {"a move, there", story_moved, B, BOTH "observed_address_sent=1"},
    {"registering", story_registering, A,
     DIALED TOLD "control_messages_sent=1 control_messages_received=2"},
    {"registering, there", story_registering, C,
     ACCEPTED TOLD "control_messages_sent=2 control_messages_received=1 "
                   "coordinator_registrations=1 datagrams_repeated"},
    {"a traversal", story_traversed, A,
     ASKED "connections_dialed=1 connections_established=1 total_attempts=1 "
           "successful_connections=1 direct_connections=1 punches_sent=1 "
           "punches_received=2 punches_answered=1 openers_sent=1 "
           "observed_address_sent=1 add_address_sent=1 control_messages_sent=1 "
           "control_messages_received=1 datagrams_repeated"},
    {"a traversal, at the target", story_traversed, B,
     OFFERED "punches_sent=1 punches_received=1 punches_answered=1 "
             "openers_sent=1"},
    {"a traversal, at the coordinator", story_traversed, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 control_messages_sent=2 "
          "control_messages_received=1 datagrams_repeated"},
    {"punched in vain", story_punched_in_vain, A,
     BOTH "connections_dialed=3 connections_failed=2 total_attempts=1 "
          "failed_attempts=1 coordinations_requested=4 "
          "coordinations_completed=3 coordination_time_total_ns=60000000 "
          "punches_sent punches_received punches_answered openers_sent=3 "
          "control_messages_sent=7 control_messages_received=5 "
          "extra_sockets_opened=1 observes_sent=1 observes_received=1 "
          "hints_sent=1 hints_received=1 datagrams_dropped_unknown=1 "
          "datagrams_repeated"},
    {"an unknown target", story_unknown_target, A,
     BOTH
     "total_attempts=1 failed_attempts=1 coordinations_requested=3 "
     "control_messages_sent=3 control_messages_received=3 datagrams_repeated"},
    {"an unknown target, at the coordinator", story_unknown_target, C,
     BOTH
     "coordinator_requests=3 coordinator_refused=3 "
     "control_messages_sent=3 control_messages_received=3 datagrams_repeated"},
    {"refused", story_refused, A,
     ASKED "total_attempts=1 failed_attempts=1 connections_dialed=1 "
           "punches_sent openers_sent=1 control_messages_sent=1 "
           "control_messages_received=2 datagrams_repeated"},
    {"refused, at the target", story_refused, B,
     OFFERED "offers_refused=1 control_messages_sent=1 "
             "datagrams_dropped_unknown datagrams_repeated"},
    {"refused, at the coordinator", story_refused, C,
     BOTH
     "coordinator_requests=1 coordinator_offers=1 coordinator_refused=1 "
     "control_messages_sent=3 control_messages_received=2 datagrams_repeated"},
    {"asked too often", story_asked_too_often, C,
     BOTH "coordinator_requests=74 coordinator_refused=74 "
          "control_messages_sent=74 control_messages_received=74 "
          "limit_coordinator_rate=10 datagrams_repeated"},
    {"a forged punch", story_forged_punch, B,
     "datagrams_received=1 bytes_received=40 punches_bad=1"},
    {"one target", story_one_target, B,
     OFFERED "punches_sent=1 openers_sent=8 limit_punch_target"},
    {"one prefix", story_one_prefix, B,
     OFFERED "punches_sent openers_sent=32 limit_punch_prefix"},
    {"one session", story_one_session, B,
     OFFERED "punches_sent=168 openers_sent=32 limit_punch_session "
             "limit_punch_target"},
    {"one peer", story_one_peer, B,
     BOTH "offers_received=4 control_messages_received=8 punches_sent "
          "openers_sent limit_punch_peer"},
    {"many peers", story_many_peers, B,
     BOTH "offers_received=16 control_messages_received=16 punches_sent "
          "openers_sent limit_punch_endpoint"},
    {"a forbidden port", story_forbidden, B, OFFERED "limit_punch_forbidden"},
    {"an observation", story_observed, A,
     BOTH "observes_sent=1 observes_received=1"},
    {"an observation, at the coordinator", story_observed, C,
     BOTH "observes_answered=1"},
    {"observed too often", story_observed_too_often, C,
     BOTH "observes_answered=64 limit_observe=136"},
    {"a forged question", story_spoilt_question, C, IN "observes_bad=1"},
    {"a repair", story_repaired, A,
     BOTH "datagrams_dropped_unknown coordinations_requested "
          "coordinations_completed coordination_time_total_ns "
          "punches_sent punches_received punches_answered openers_sent "
          "observed_address_sent observed_address_received add_address_sent "
          "add_address_received remove_address_sent remove_address_received "
          "control_messages_sent control_messages_received "
          "extra_sockets_opened observes_sent observes_received hints_sent "
          "hints_received=1 repairs_started repairs_completed=1 "
          "repairs_failed datagrams_repeated"},
    {"a repair, at the coordinator", story_repaired, C,
     BOTH "coordinator_requests coordinator_offers observed_address_sent "
          "add_address_received remove_address_received "
          "control_messages_sent control_messages_received observes_answered "
          "coordinator_hints datagrams_repeated"},
    {"a repair in vain", story_repair_in_vain, A,
     BOTH "coordinations_requested=4 coordinations_completed=4 "
          "coordination_time_total_ns=80000000 control_messages_sent "
          "control_messages_received=4 extra_sockets_opened=4 observes_sent=4 "
          "observes_received=4 hints_sent=4 repairs_started=4 "
          "repairs_failed=3 datagrams_repeated"},
    {"too many repairs", story_too_many_repairs, A,
     BOTH "limit_repairs_at_once"},
    {"repairs are asked for", story_repairs_asked_for, B,
     BOTH "offers_received=14 offers_refused=6 control_messages_sent=7 "
          "control_messages_received=14 extra_sockets_opened=1 "
          "observes_sent=1 observes_received=1 hints_sent=1 "
          "repairs_started=1 limit_repairs=6 datagrams_repeated"},
    {"extra sockets", story_extra_sockets, A,
     "limit_extra_sockets=1 extra_sockets_opened=256"},
    {"a full record", story_full_record, A,
     IN "datagrams_dropped_unknown limit_record=5"},
    {"met afresh", story_met_afresh, A,
     ASKED HINTED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=1 connections_established=1 "
     "punches_sent punches_received punches_answered openers_sent=1 "
     "control_messages_sent=2 control_messages_received=3 datagrams_repeated"},
    {"met afresh, at the target", story_met_afresh, B,
     ACCEPTED HINTED TOLD
     "offers_received=1 punches_sent punches_received punches_answered "
     "openers_sent=1 control_messages_sent=2 control_messages_received=2 "
     "datagrams_repeated"},
    {"met afresh, at the coordinator", story_met_afresh, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 coordinator_hints=2 "
          "observes_answered=2 control_messages_sent=4 "
          "control_messages_received=3 datagrams_repeated"},
    {"predicted", story_predicted, A,
     ASKED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=3 connections_established=1 hints_received=1 "
     "guesses_sent=20 punches_received punches_answered "
     "datagrams_dropped_unknown control_messages_sent=1 "
     "control_messages_received=3 datagrams_repeated"},
    {"predicted, by them", story_predicted, B,
     ACCEPTED TOLD
     "offers_received=1 extra_sockets_opened=25 openers_sent=25 "
     "observes_sent=1 observes_received=1 hints_sent=1 punches_sent "
     "punches_received punches_answered limit_punch_target "
     "control_messages_sent=2 control_messages_received=1 "
     "datagrams_repeated"},
    {"guesses to one IP", story_one_ip_guessed, A,
     NOT_GUESSED "limit_guess_target=1"},
    {"guesses for one peer", story_one_peer_guessed, A,
     NOT_GUESSED "limit_guess_peer=1"},
    {"guesses of one endpoint", story_all_guessed, A,
     NOT_GUESSED "limit_guess_endpoint=1"},
    {"another one guesses", story_another_guesses, A,
     NOT_GUESSED "limit_guess_busy=1"},
    {"guesses at once", story_guessed_at_once, A,
     ASKED TOLD
     "total_attempts=1 successful_connections=1 direct_connections=1 "
     "connections_dialed=3 connections_established=1 hints_received=1 "
     "guesses_sent punches_received punches_answered "
     "datagrams_dropped_unknown control_messages_sent=1 "
     "control_messages_received=3 limit_guess_rate datagrams_repeated"},
    {"guesses are asked for", story_guesses_asked_for, B,
     BOTH "offers_received=6 offers_refused=2 control_messages_sent=3 "
          "control_messages_received=6 extra_sockets_opened=1 "
          "observes_sent=1 observes_received=1 hints_sent=1 "
          "upgrades_started=1 limit_repair_guesses=2 datagrams_repeated"},
    {"over a relay", story_relayed, A,
     ASKED "total_attempts=1 successful_connections=1 relayed_connections=1 "
           "connections_dialed=1 connections_established=1 add_address_sent=1 "
           "add_address_received=1 control_messages_sent=1 "
           "control_messages_received=2 datagrams_repeated"},
    {"over a relay, there", story_relayed, B,
     ACCEPTED "offers_received=1 add_address_sent=1 add_address_received=1 "
              "control_messages_sent=1 control_messages_received=1 "
              "datagrams_repeated"},
    {"over a relay, at the relay", story_relayed, C,
     BOTH "coordinator_requests=1 coordinator_offers=1 relay_tunnels_opened=1 "
          "relay_datagrams relay_bytes control_messages_sent=2 "
          "control_messages_received=1 datagrams_repeated"},
    {"an upgrade", story_upgraded, A,
     ASKED HINTED
     "upgrades_started=1 upgrades_completed=1 observed_address_sent=1 "
     "observed_address_received=1 punches_sent punches_received "
     "punches_answered openers_sent=1 control_messages_sent "
     "control_messages_received datagrams_dropped_unknown datagrams_repeated"},
    {"an upgrade, there", story_upgraded, B,
     BOTH HINTED
     "offers_received=1 upgrades_started=1 upgrades_completed=1 "
     "observed_address_sent=1 observed_address_received=1 punches_sent "
     "punches_received punches_answered openers_sent=1 control_messages_sent "
     "control_messages_received datagrams_repeated"},
    {"too much for a relay", story_relay_flooded, C,
     BOTH "relay_datagrams relay_bytes limit_relay_rate"},
    {"too much of one peer for a relay", story_relay_peer_flooded, C,
     BOTH "relay_datagrams relay_bytes limit_relay_peer_rate"},
    {"too much for a relay in all", story_relay_all_flooded, C,
     BOTH "relay_datagrams relay_bytes limit_relay_total_rate"},
    {"a stranger at a relay", story_relay_stranger, C, IN "relay_dropped=1"},
    {"too many tunnels of one", story_relay_refuses, C,
     BOTH "coordinator_refused=1 relay_tunnels_refused=1 "
          "limit_relay_tunnels=1 control_messages_sent=1 "
          "control_messages_received=1 datagrams_repeated"},
    {"frames at once", story_frames_at_once, B,
     BOTH "remove_address_received=256 limit_frames_received=256"},
    {"punched twice", story_punched_twice, B,
     BOTH "punches_received=2 punches_answered=1 punches_replayed=1"},
    {"offers at once", story_offers_at_once, B,
     "offers_received=50 datagrams_sent=1 bytes_sent openers_sent=1 "
     "limit_session_events"},
    {"relays at once", story_relays_at_once, B,
     "offers_received=170 limit_session_events limit_session_actions"},
    {"seen nowhere", story_observed_nowhere, B,
     BOTH "observed_address_received=1 observed_address_ignored=1"},
    {"too much of one coordinator", story_too_much_of_one_coordinator, B,
     BOTH "offers_received=33 offers_refused=1 limit_coordinator_share=1 "
          "control_messages_sent=1 control_messages_received=33 "
          "datagrams_repeated"},
    {"too many tunnels here", story_tunnels, A, "limit_tunnels=1"},
};
#define NROW (sizeof(ROWS) / sizeof(ROWS[0]))

/* Is |name| in |moves|? *want: by how much, -1 for any. */
static int is_named(const char *moves, const char *name, long long *want) {
  size_t len = strlen(name);
  for (const char *p = moves; (p = strstr(p, name)) != NULL; p += len) {
    if (p == moves || p[-1] == ' ') {
      if (p[len] == '=') {
        *want = strtoll(p + len + 1, NULL, 10);
        return 1;
      }
      if (p[len] == ' ' || p[len] == 0) {
        *want = -1;
        return 1;
      }
    }
  }
  return 0;
}

static size_t hits(const world_node *n, const char *limit) {
  size_t c = 0;
  for (size_t i = 0; i < n->nevent; i++) {
    c += n->event[i].kind == AQ_EVENT_LIMIT_HIT &&
         strcmp(n->event[i].text, limit) == 0;
  }
  return c;
}

static int check_row(const struct row *r) {
  int bad = 0;
  world *w = r->play();
  world_node *n = w->node[r->node];
  aq_statistics s;
  world_flush(w);
  aq_endpoint_get_statistics(n->ep, &s);
  for (size_t i = 0; i < NCOUNTER; i++) {
    const char *name = COUNTERS[i].name;
    long long moved =
        (long long)(value_of(&s, i) - value_of(&story_base[r->node], i));
    long long want = 0;
    int named = is_named(r->moves, name, &want);
    if (named ? moved == 0 || (want >= 0 && moved != want) : moved != 0) {
      print_error("%s: %s moved by %lld, not %lld\n", r->name, name, moved,
                  want);
      bad++;
    }
    if (strncmp(name, "limit_", 6) == 0 && strcmp(name, "limit_events") != 0 &&
        hits(n, name) != (moved > 0)) {
      print_error("%s: LIMIT_HIT of %s came %zu times\n", r->name, name,
                  hits(n, name));
      bad++;
    }
  }
  world_del(w);
  return bad;
}

static void what_happens_moves_its_counters_and_no_others(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < NROW; i++) {
    bad += check_row(&ROWS[i]);
  }
  assert_int_equal(bad, 0);
}

static void every_counter_is_moved_by_a_row_and_left_by_another(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < NCOUNTER; i++) {
    size_t moved = 0;
    long long want;
    for (size_t k = 0; k < NROW; k++) {
      moved += (size_t)is_named(ROWS[k].moves, COUNTERS[i].name, &want);
    }
    if (moved == 0 || moved == NROW) {
      print_error("no row moves %s\n", COUNTERS[i].name);
      bad++;
    }
  }
  assert_int_equal(bad, 0);
}

/* The rows name nothing that isn't there. */
static void every_name_is_a_counter(void **state) {
  (void)state;
  char text[1024], *save;
  for (size_t k = 0; k < NROW; k++) {
    snprintf(text, sizeof(text), "%s", ROWS[k].moves);
    for (char *p = strtok_r(text, " ", &save); p != NULL;
         p = strtok_r(NULL, " ", &save)) {
      p[strcspn(p, "=")] = 0;
      size_t i = 0;
      while (i < NCOUNTER && strcmp(COUNTERS[i].name, p) != 0) {
        i++;
      }
      if (i == NCOUNTER) {
        fail_msg("%s: %s is no counter", ROWS[k].name, p);
      }
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_happens_moves_its_counters_and_no_others),
      cmocka_unit_test(every_counter_is_moved_by_a_row_and_left_by_another),
      cmocka_unit_test(every_name_is_a_counter),
  };
  if (argc > 1) {
    cmocka_set_test_filter(argv[1]);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
