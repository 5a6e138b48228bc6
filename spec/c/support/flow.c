/* SPDX-License-Identifier: MIT */
#include "support/flow.h"

#include "support/util.h"

static uint8_t byte_at(uint64_t i) {
  return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

flow flow_new(aq_endpoint *from, aq_id out_conn, aq_endpoint *to, aq_id in_conn,
              aq_tstamp now) {
  flow f = {.from = from, .to = to, .in_conn = in_conn, .last = now};
  assert_int_equal(aq_stream_open(from, now, out_conn, 1, 0, &f.out), 0);
  return f;
}

static void put(flow *f, aq_tstamp now, uint64_t total) {
  uint8_t buf[4096];
  size_t n = 1;
  while (f->written < total && n > 0) {
    uint64_t left = total - f->written;
    size_t len = left < sizeof(buf) ? (size_t)left : sizeof(buf);
    for (size_t i = 0; i < len; i++) {
      buf[i] = byte_at(f->written + i);
    }
    int rv = aq_stream_write(f->from, now, f->out, buf, len, &n);
    assert_true(rv == 0 || rv == AQ_ERR_AGAIN ||
                (f->may_end && rv == AQ_ERR_CLOSED));
    n = rv == 0 ? n : 0;
    f->written += n;
  }
}

int flow_turn(flow *f, aq_tstamp now, uint64_t total) {
  uint8_t buf[4096];
  size_t n = 0;
  put(f, now, total);
  if (f->in == 0 && aq_stream_accept(f->to, f->in_conn, &f->in) != 0) {
    f->in = 0;
    return 0;
  }
  while (aq_stream_read(f->to, now, f->in, buf, sizeof(buf), &n) == 0 &&
         n > 0) {
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(buf[i], byte_at(f->read + i));
    }
    f->read += n;
    f->gap = f->gap > now - f->last ? f->gap : now - f->last;
    f->last = now;
  }
  return f->read == total;
}
