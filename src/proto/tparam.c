/* tparam.c - the extension transport parameters.
 *
 * SPDX-License-Identifier: MIT */
#include "proto/tparam.h"

#include "base/wire.h"

#include <string.h>

/* |n| numbers as the value of parameter |id|. */
static void tparam_write(aq_writer *w, uint64_t id, const uint64_t *v,
                         size_t n) {
  uint64_t len = 0;
  for (size_t i = 0; i < n; i++) {
    len += aq_varint_len(v[i]);
  }
  aq_write_varint(w, id);
  aq_write_varint(w, len);
  for (size_t i = 0; i < n; i++) {
    aq_write_varint(w, v[i]);
  }
}

size_t aq_tparams_format(uint8_t *out, size_t cap, const aq_tparams *t) {
  aq_writer w;
  aq_writer_init(&w, out, cap);
  if (t->has_nat) {
    tparam_write(&w, AQ_TPARAM_NAT_TRAVERSAL, &t->nat_limit,
                 t->nat_empty ? 0 : 1);
  }
  if (t->has_rfc) {
    tparam_write(&w, AQ_TPARAM_RFC_FRAMES, NULL, 0);
  }
  if (t->has_discovery) {
    tparam_write(&w, AQ_TPARAM_ADDRESS_DISCOVERY, &t->discovery, 1);
  }
  if (t->has_control) {
    uint64_t v[2] = {t->control_version, t->control_flags};
    tparam_write(&w, AQ_TPARAM_CONTROL, v, 2);
  }
  if (t->has_max_datagram) {
    tparam_write(&w, AQ_TPARAM_MAX_DATAGRAM, &t->max_datagram, 1);
  }
  return aq_writer_end(&w);
}

/* Marks a parameter as seen; a second one is an error. */
static int tparam_once(uint8_t *has) {
  if (*has) {
    return AQ_ERR_FORMAT;
  }
  *has = 1;
  return 0;
}

/* The whole value is one number. */
static int tparam_number(aq_reader *r, uint8_t *has, uint64_t *v) {
  *v = aq_read_varint(r);
  if (r->err != 0 || aq_reader_left(r) != 0) {
    return AQ_ERR_FORMAT;
  }
  return tparam_once(has);
}

static int tparam_take(aq_tparams *t, uint64_t id, aq_reader *r) {
  switch (id) {
  case AQ_TPARAM_NAT_TRAVERSAL:
    if (aq_reader_left(r) == 0) {
      t->nat_empty = 1;
      return tparam_once(&t->has_nat);
    }
    return tparam_number(r, &t->has_nat, &t->nat_limit);
  case AQ_TPARAM_RFC_FRAMES:
    return aq_reader_left(r) == 0 ? tparam_once(&t->has_rfc) : AQ_ERR_FORMAT;
  case AQ_TPARAM_ADDRESS_DISCOVERY: {
    int err = tparam_number(r, &t->has_discovery, &t->discovery);
    return err == 0 && t->discovery > AQ_DISCOVERY_BOTH ? AQ_ERR_FORMAT : err;
  }
  case AQ_TPARAM_CONTROL:
    /* A later version may add numbers; they are not looked at. */
    t->control_version = aq_read_varint(r);
    t->control_flags = aq_read_varint(r);
    return r->err != 0 ? r->err : tparam_once(&t->has_control);
  case AQ_TPARAM_MAX_DATAGRAM:
    return tparam_number(r, &t->has_max_datagram, &t->max_datagram);
  default:
    return 0;
  }
}

int aq_tparams_scan(aq_tparams *t, const uint8_t *data, size_t len) {
  aq_tparams got = {0};
  memset(t, 0, sizeof(*t));
  aq_reader r;
  aq_reader_init(&r, data, len);
  while (aq_reader_left(&r) > 0) {
    uint64_t id = aq_read_varint(&r);
    uint64_t n = aq_read_varint(&r);
    const uint8_t *value = aq_read_view(&r, n);
    if (value == NULL) {
      return AQ_ERR_FORMAT;
    }
    aq_reader v;
    aq_reader_init(&v, value, (size_t)n);
    if (tparam_take(&got, id, &v) != 0) {
      return AQ_ERR_FORMAT;
    }
  }
  *t = got;
  return 0;
}
