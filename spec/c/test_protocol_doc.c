/* test_protocol_doc.c - the hex of docs/protocol.md is what we send and take.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include "base/addr.h"
#include "proto/ctl.h"
#include "proto/frame.h"
#include "proto/observe.h"
#include "proto/punch.h"
#include "proto/tunnel.h"
#include "proto/tparam.h"
#include "quic/crypto.h"

#define MAX_BYTES 1024

static char *page;

/* ---- the page ------------------------------------------------------------ */

static int load_page(void **state) {
  (void)state;
  const char *dir = getenv("ANTQUIC_SOURCE_DIR");
  char path[1024];
  snprintf(path, sizeof(path), "%s/docs/protocol.md",
           dir != NULL ? dir : ANTQUIC_SOURCE_DIR);
  FILE *f = fopen(path, "rb");
  if (f == NULL) {
    return -1;
  }
  page = calloc(1, 200000);
  size_t n = page != NULL ? fread(page, 1, 199999, f) : 0;
  fclose(f);
  return n > 0 ? 0 : -1;
}

static int free_page(void **state) {
  (void)state;
  free(page);
  return 0;
}

/* The bytes of block |name|; comments run from # to the end of a line. */
static size_t block(uint8_t *out, const char *name) {
  char fence[64];
  snprintf(fence, sizeof(fence), "\n```hex %s\n", name);
  const char *p = strstr(page, fence);
  if (p == NULL) {
    fail_msg("docs/protocol.md has no block %s", name);
  }
  p += strlen(fence);
  const char *end = strstr(p, "\n```");
  assert_non_null(end);
  char text[2 * MAX_BYTES];
  size_t n = 0;
  int comment = 0;
  for (; p < end; p++) {
    comment = *p != '\n' && (comment || *p == '#');
    if (!comment) {
      assert_true(n < sizeof(text) - 1);
      text[n++] = *p;
    }
  }
  text[n] = '\0';
  return util_hex(out, MAX_BYTES, text);
}

static void assert_bytes(const char *name, const uint8_t *got, size_t n) {
  uint8_t want[MAX_BYTES];
  size_t len = block(want, name);
  if (n != len || memcmp(got, want, n) != 0) {
    fail_msg("%s: other bytes than in docs/protocol.md", name);
  }
}

/* ---- frames -------------------------------------------------------------- */

static const struct {
  const char *name;
  aq_frame_kind kind;
  uint64_t seq, paired;
  const char *addr;
} frames[] = {
    {"frame.add_address_v4", AQ_FRAME_ADD_ADDRESS, 5, 0, "198.51.100.7:4433"},
    {"frame.add_address_v6", AQ_FRAME_ADD_ADDRESS, 300, 0,
     "[2001:db8::7]:4433"},
    {"frame.punch_me_now_v4", AQ_FRAME_PUNCH_ME_NOW, 1, 5, "198.51.100.7:4433"},
    {"frame.punch_me_now_v6", AQ_FRAME_PUNCH_ME_NOW, 2, 300,
     "[2001:db8::7]:4433"},
    {"frame.remove_address", AQ_FRAME_REMOVE_ADDRESS, 5, 0, NULL},
    {"frame.observed_address_v4", AQ_FRAME_OBSERVED_ADDRESS, 0, 0,
     "198.51.100.7:4433"},
    {"frame.observed_address_v6", AQ_FRAME_OBSERVED_ADDRESS, 70000, 0,
     "[2001:db8::7]:4433"},
};
#define FRAMES (sizeof(frames) / sizeof(frames[0]))

static void test_frames(void **state) {
  (void)state;
  for (size_t i = 0; i < FRAMES; i++) {
    aq_frame f = {.kind = frames[i].kind,
                  .seq = frames[i].seq,
                  .paired = frames[i].paired};
    if (frames[i].addr != NULL) {
      f.addr = util_addr(frames[i].addr);
    }
    uint8_t out[AQ_FRAME_MAX];
    size_t n = aq_frame_format(AQ_DIALECT_SEEMANN02, out, sizeof(out), &f);
    assert_bytes(frames[i].name, out, n);
    uint8_t in[MAX_BYTES];
    size_t len = block(in, frames[i].name);
    size_t used = 0;
    aq_frame g;
    assert_int_equal(aq_frame_parse(AQ_DIALECT_SEEMANN02, &g, in, len, &used),
                     0);
    assert_int_equal(used, len);
    assert_true(g.kind == f.kind && g.seq == f.seq && g.paired == f.paired);
    assert_true(aq_addr_equal(&g.addr, &f.addr));
  }
}

/* ---- transport parameters ------------------------------------------------ */

static void test_tparams(void **state) {
  (void)state;
  for (int server = 0; server < 2; server++) {
    const char *name = server ? "tparam.server" : "tparam.client";
    aq_tparams t = {
        .has_nat = 1,
        .nat_empty = !server,
        .nat_limit = server ? 3 : 0,
        .has_rfc = 1,
        .has_discovery = 1,
        .discovery = AQ_DISCOVERY_BOTH,
        .has_control = 1,
        .control_version = AQ_CONTROL_VERSION,
        .control_flags = server ? 0 : AQ_CONTROL_FLAG_DIALING,
    };
    uint8_t out[AQ_TPARAMS_MAX];
    assert_bytes(name, out, aq_tparams_format(out, sizeof(out), &t));
    uint8_t in[MAX_BYTES];
    size_t len = block(in, name);
    aq_tparams u;
    assert_int_equal(aq_tparams_scan(&u, in, len), 0);
    assert_memory_equal(&u, &t, sizeof(t));
  }
}

/* ---- control messages ---------------------------------------------------- */

static void fill(uint8_t *p, size_t n, uint8_t first) {
  for (size_t i = 0; i < n; i++) {
    p[i] = (uint8_t)(first + i);
  }
}

static const struct {
  const char *name;
  uint64_t type;
} messages[] = {
    {"ctl.register", AQ_CTL_REGISTER}, {"ctl.registered", AQ_CTL_REGISTERED},
    {"ctl.request", AQ_CTL_REQUEST},   {"ctl.answer", AQ_CTL_ANSWER},
    {"ctl.offer", AQ_CTL_OFFER},       {"ctl.veto", AQ_CTL_VETO},
    {"ctl.error", AQ_CTL_ERROR},       {"ctl.accepted", AQ_CTL_ACCEPTED},
    {"ctl.cancel", AQ_CTL_CANCEL},     {"ctl.hint", AQ_CTL_HINT},
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

static aq_ctl message(uint64_t type) {
  aq_ctl m = {.type = type};
  m.request = 7;
  fill(m.nonce, sizeof(m.nonce), 0x10);
  fill(m.session, sizeof(m.session), 0xa0);
  fill(m.key, sizeof(m.key), 0x40);
  fill(m.peer.bytes, sizeof(m.peer.bytes), 0x80);
  m.capabilities = type == AQ_CTL_REGISTER
                       ? AQ_CTL_CAP_COORDINATE
                       : AQ_CTL_CAP_COORDINATE | AQ_CTL_CAP_RELAY;
  m.error = type == AQ_CTL_VETO ? AQ_CTL_ERR_REFUSED : AQ_CTL_ERR_RATE_LIMITED;
  m.retry_after_ms = 1500;
  m.expiry_ms = 10000;
  m.start_delay_us = 12500;
  m.rtt_us = 90000;
  m.observed = util_addr(type == AQ_CTL_REGISTERED ? "198.51.100.7:4433"
                                                   : "203.0.113.9:51000");
  m.plan = AQ_PLAN_PREDICT;
  m.profile = (aq_nat_profile){.mapping = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
                               .filtering = AQ_NAT_ADDRESS_AND_PORT_DEPENDENT,
                               .allocation = AQ_NAT_ALLOC_SEQUENTIAL,
                               .hairpin = 1,
                               .step = 1,
                               .idle = 30,
                               .external_count = 1};
  fill(m.token, sizeof(m.token), 0x30);
  fill(m.observe_key, sizeof(m.observe_key), 0xc0);
  m.alternate_count = 1;
  m.alternate[0] = util_addr("203.0.113.9:9001");
  m.cookie = UINT64_C(0x1122334455667789);
  m.step = 1;
  m.count = 8;
  m.cand_count = 2;
  m.cand[0] = (aq_candidate){.addr = util_addr("192.168.1.5:4433"),
                             .priority = 0x7e7530ff,
                             .source = AQ_SOURCE_LOCAL};
  m.cand[1] = (aq_candidate){.addr = util_addr("198.51.100.7:4433"),
                             .priority = 0x64c350ff,
                             .source = AQ_SOURCE_OBSERVED,
                             .verified = 1};
  return m;
}

static void test_messages(void **state) {
  (void)state;
  for (size_t i = 0; i < MESSAGES; i++) {
    static aq_ctl m;
    static aq_ctl back;
    uint8_t out[AQ_CTL_MAX];
    m = message(messages[i].type);
    assert_bytes(messages[i].name, out, aq_ctl_format(out, sizeof(out), &m));
    /* What is read from the page gives the page again. */
    uint8_t in[MAX_BYTES];
    size_t len = block(in, messages[i].name);
    size_t used = 0;
    assert_int_equal(aq_ctl_parse(&back, in, len, &used), 1);
    assert_int_equal(used, len);
    assert_true(back.type == messages[i].type);
    memset(out, 0, sizeof(out));
    assert_bytes(messages[i].name, out, aq_ctl_format(out, sizeof(out), &back));
  }
}

/* ---- punch datagrams ----------------------------------------------------- */

static const struct {
  const char *name;
  aq_punch p;
} punches[] = {
    {"punch.probe",
     {.type = AQ_PUNCH_PROBE,
      .flags = AQ_PUNCH_FLAG_INITIATOR,
      .seq = 1,
      .echo = UINT64_C(0x1122334455667788)}},
    {"punch.answer",
     {.type = AQ_PUNCH_ANSWER, .seq = 4, .echo = UINT64_C(0x1122334455667788)}},
    {"punch.opener",
     {.type = AQ_PUNCH_OPENER,
      .flags = AQ_PUNCH_FLAG_INITIATOR,
      .echo = UINT64_C(0x99aabbccddeeff00)}},
};
#define PUNCHES (sizeof(punches) / sizeof(punches[0]))

static void test_punches(void **state) {
  (void)state;
  uint8_t key[AQ_PUNCH_KEY_LEN];
  fill(key, sizeof(key), 0x40);
  for (size_t i = 0; i < PUNCHES; i++) {
    aq_punch p = punches[i].p;
    fill(p.session, sizeof(p.session), 0xa0);
    uint8_t out[AQ_PUNCH_LEN];
    assert_int_equal(aq_punch_format(out, &p, key, aq_crypto_mac16), 0);
    assert_bytes(punches[i].name, out, sizeof(out));
    uint8_t in[MAX_BYTES];
    size_t len = block(in, punches[i].name);
    aq_punch back;
    assert_int_equal(aq_punch_peek(&back, in, len), 0);
    assert_int_equal(aq_punch_verify(in, len, key, aq_crypto_mac16), 0);
    assert_true(back.type == p.type && back.flags == p.flags);
    assert_true(back.seq == p.seq && back.echo == p.echo);
    in[len - 1] ^= 1;
    assert_int_equal(aq_punch_verify(in, len, key, aq_crypto_mac16),
                     AQ_ERR_WRONG_KEY);
  }
}

/* ---- observation datagrams ----------------------------------------------- */

static const struct {
  const char *name;
  aq_observe o;
  const char *addr;
} observes[] = {
    {"observe.ask",
     {.type = AQ_OBSERVE_ASK,
      .flags = AQ_OBSERVE_OTHER_PORT,
      .delay = 30,
      .seq = 1,
      .cookie = UINT64_C(0x1122334455667789)},
     NULL},
    {"observe.tell_v4",
     {.type = AQ_OBSERVE_TELL,
      .seq = 1,
      .cookie = UINT64_C(0x1122334455667789)},
     "198.51.100.7:4433"},
    {"observe.tell_v6",
     {.type = AQ_OBSERVE_TELL,
      .seq = 1,
      .cookie = UINT64_C(0x1122334455667789)},
     "[2001:db8::7]:4433"},
};
#define OBSERVES (sizeof(observes) / sizeof(observes[0]))

static void test_observes(void **state) {
  (void)state;
  uint8_t key[AQ_OBSERVE_KEY_LEN];
  fill(key, sizeof(key), 0xc0);
  for (size_t i = 0; i < OBSERVES; i++) {
    aq_observe o = observes[i].o;
    fill(o.token, sizeof(o.token), 0x30);
    if (observes[i].addr != NULL) {
      o.addr = util_addr(observes[i].addr);
    }
    uint8_t out[AQ_OBSERVE_LEN];
    assert_int_equal(aq_observe_format(out, &o, key, aq_crypto_mac16), 0);
    assert_bytes(observes[i].name, out, sizeof(out));
    uint8_t in[MAX_BYTES];
    size_t len = block(in, observes[i].name);
    aq_observe back;
    assert_int_equal(aq_observe_peek(&back, in, len), 0);
    assert_int_equal(aq_observe_verify(in, len, key, aq_crypto_mac16), 0);
    assert_memory_equal(&back, &o, sizeof(o));
    in[len - 1] ^= 1;
    assert_int_equal(aq_observe_verify(in, len, key, aq_crypto_mac16),
                     AQ_ERR_WRONG_KEY);
  }
}

/* ---- tunnels ------------------------------------------------------------- */

static void test_tunnels(void **state) {
  (void)state;
  uint8_t session[AQ_TUNNEL_ID_LEN], inner[16], buf[64], in[MAX_BYTES];
  const uint8_t *id, *packet;
  size_t segment = sizeof(inner), n;
  fill(session, sizeof(session), 0xa0);
  fill(inner, sizeof(inner), 0x40);
  memcpy(buf, inner, sizeof(inner));
  n = aq_tunnel_wrap(buf, sizeof(inner), &segment, session);
  assert_bytes("tunnel.packet", buf, n);
  size_t len = block(in, "tunnel.packet");
  assert_int_equal(aq_tunnel_read(in, len, &id, &packet, &n), 0);
  assert_memory_equal(id, session, sizeof(session));
  assert_int_equal(n, sizeof(inner));
  assert_memory_equal(packet, inner, sizeof(inner));
}

/* ---- peer ids ------------------------------------------------------------ */

static void test_peer_ids(void **state) {
  (void)state;
  static const uint8_t zero[AQ_MLDSA65_KEY_LEN];
  aq_peer_id id;
  assert_int_equal(aq_peer_id_from_key(&id, zero, AQ_ED25519_KEY_LEN), 0);
  assert_bytes("peer_id.ed25519", id.bytes, sizeof(id.bytes));
  assert_int_equal(aq_peer_id_from_key(&id, zero, AQ_MLDSA65_KEY_LEN), 0);
  assert_bytes("peer_id.mldsa65", id.bytes, sizeof(id.bytes));
}

/* No block is on the page that nothing above reads. */
static void test_every_block(void **state) {
  (void)state;
  size_t blocks = 0;
  for (const char *p = page; (p = strstr(p, "\n```hex ")) != NULL; p++) {
    blocks++;
  }
  assert_int_equal(blocks, FRAMES + 2 + MESSAGES + PUNCHES + OBSERVES + 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_frames),   cmocka_unit_test(test_tparams),
      cmocka_unit_test(test_messages), cmocka_unit_test(test_punches),
      cmocka_unit_test(test_observes), cmocka_unit_test(test_peer_ids),
      cmocka_unit_test(test_tunnels),  cmocka_unit_test(test_every_block),
  };
  return cmocka_run_group_tests(tests, load_page, free_page);
}
