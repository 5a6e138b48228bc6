/* story.h - short stories of whole endpoints, for test_stats: what happens to
 * whom is all that counts. Each gives its world, to be deleted.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_SPEC_STORY_H
#define AQ_SPEC_STORY_H

#include "support/world.h"

/* Two peers and, in most, their coordinator. */
#define STORY_A 0
#define STORY_B 1
#define STORY_C 2

/* The statistics of each node when the story began. */
extern aq_statistics story_base[WORLD_NODES];

world *story_nothing(void);
world *story_dialed(void);
world *story_talk(void);
world *story_nobody_there(void);
world *story_peer_dies(void);
world *story_closed_by_us(void);
world *story_not_allowed(void);
world *story_with_retry(void);
world *story_lost_state(void);
world *story_resets_asked_for(void);
world *story_other_version(void);
world *story_malformed(void);
world *story_unknown(void);
world *story_half_open_full(void);
world *story_prefix_full(void);
world *story_no_more_connections(void);
world *story_nobody_polls(void);
world *story_announced_by_hand(void);
world *story_too_many_announced(void);
world *story_frames_pile_up(void);
world *story_punch_me(void);
world *story_moved(void);
world *story_registering(void);
world *story_traversed(void);
world *story_punched_in_vain(void);
world *story_unknown_target(void);
world *story_refused(void);
world *story_asked_too_often(void);
world *story_forged_punch(void);
world *story_one_target(void);
world *story_one_prefix(void);
world *story_one_session(void);
world *story_one_peer(void);
world *story_many_peers(void);
world *story_forbidden(void);
world *story_observed(void);
world *story_observed_too_often(void);
world *story_spoilt_question(void);
world *story_full_record(void);
world *story_extra_sockets(void);
world *story_met_afresh(void);
world *story_predicted(void);
world *story_one_ip_guessed(void);
world *story_one_peer_guessed(void);
world *story_all_guessed(void);
world *story_another_guesses(void);
world *story_guessed_at_once(void);
world *story_repaired(void);
world *story_repair_in_vain(void);
world *story_repairs_asked_for(void);
world *story_too_many_repairs(void);
world *story_guesses_asked_for(void);
world *story_relayed(void);
world *story_upgraded(void);
world *story_relay_flooded(void);
world *story_relay_peer_flooded(void);
world *story_relay_all_flooded(void);
world *story_relay_stranger(void);
world *story_relay_refuses(void);
world *story_tunnels(void);
world *story_too_much_of_one_coordinator(void);
world *story_frames_at_once(void);
world *story_punched_twice(void);
world *story_relays_at_once(void);
world *story_offers_at_once(void);
world *story_observed_nowhere(void);

#endif
