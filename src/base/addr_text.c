/* addr_text.c - addresses and peer ids as text.
 *
 * SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Decimal without sign, blanks or leading zeros, at most |max|. -1: no. */
static int64_t text_number(const char *s, size_t len, uint32_t max) {
  if (len == 0 || len > 10 || (s[0] == '0' && len > 1)) {
    return -1;
  }
  int64_t v = 0;
  for (size_t i = 0; i < len; i++) {
    if (s[i] < '0' || s[i] > '9') {
      return -1;
    }
    v = v * 10 + (s[i] - '0');
  }
  return v <= (int64_t)max ? v : -1;
}

/* "fe80::1%3" without brackets. */
static int text_ip6(aq_addr *a, const char *s, size_t len) {
  char ip[INET6_ADDRSTRLEN];
  const char *zone = memchr(s, '%', len);
  size_t iplen = zone != NULL ? (size_t)(zone - s) : len;
  if (iplen == 0 || iplen >= sizeof(ip)) {
    return AQ_ERR_ADDRESS;
  }
  memcpy(ip, s, iplen);
  ip[iplen] = '\0';
  if (zone != NULL) {
    int64_t scope = text_number(zone + 1, len - iplen - 1, UINT32_MAX);
    if (scope <= 0) {
      return AQ_ERR_ADDRESS;
    }
    a->scope = (uint32_t)scope;
  }
  a->family = 6;
  return inet_pton(AF_INET6, ip, a->ip) == 1 ? 0 : AQ_ERR_ADDRESS;
}

static int text_ip4(aq_addr *a, const char *s, size_t len) {
  a->family = 4;
  size_t at = 0;
  for (int i = 0; i < 4; i++) {
    size_t end = at;
    while (end < len && s[end] != '.') {
      end++;
    }
    int64_t v = text_number(s + at, end - at, 255);
    if (v < 0 || (i < 3) != (end < len)) {
      return AQ_ERR_ADDRESS;
    }
    a->ip[i] = (uint8_t)v;
    at = end + 1;
  }
  return 0;
}

int aq_addr_parse(aq_addr *out, const char *text, size_t len) {
  aq_addr a = {0};
  memset(out, 0, sizeof(*out));
  size_t colon = len;
  while (colon > 0 && text[colon - 1] != ':') {
    colon--;
  }
  if (colon < 2 || memchr(text, '\0', len) != NULL) {
    return AQ_ERR_ADDRESS;
  }
  size_t iplen = colon - 1;
  int64_t port = text_number(text + colon, len - colon, 65535);
  if (port < 0) {
    return AQ_ERR_ADDRESS;
  }
  int err;
  if (text[0] == '[') {
    err = text[iplen - 1] == ']' && iplen > 2
              ? text_ip6(&a, text + 1, iplen - 2)
              : AQ_ERR_ADDRESS;
  } else {
    err = text_ip4(&a, text, iplen);
  }
  if (err != 0) {
    return err;
  }
  a.port = (uint16_t)port;
  aq_addr_normalize(&a);
  *out = a;
  return 0;
}

/* Addresses are written more often than anything else, and printf is slow. */
static char *put_number(char *at, uint32_t n) {
  char digit[10];
  size_t i = 0;
  do {
    digit[i++] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  while (i > 0) {
    *at++ = digit[--i];
  }
  return at;
}

static void format_v4(const aq_addr *a, char *at) {
  for (int i = 0; i < 4; i++) {
    at = put_number(at, a->ip[i]);
    *at++ = i < 3 ? '.' : ':';
  }
  *put_number(at, a->port) = '\0';
}

char *aq_addr_format(const aq_addr *a, char *buf) {
  char ip[INET6_ADDRSTRLEN];
  if (a->family == 4) {
    format_v4(a, buf);
  } else if (a->family == 6 &&
             inet_ntop(AF_INET6, a->ip, ip, sizeof(ip)) != NULL) {
    if (a->scope != 0) {
      snprintf(buf, AQ_ADDR_STRLEN, "[%s%%%u]:%u", ip, a->scope, a->port);
    } else {
      snprintf(buf, AQ_ADDR_STRLEN, "[%s]:%u", ip, a->port);
    }
  } else {
    snprintf(buf, AQ_ADDR_STRLEN, "none");
  }
  return buf;
}

static int text_hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int aq_peer_id_parse(aq_peer_id *out, const char *hex, size_t len) {
  aq_peer_id id;
  memset(out, 0, sizeof(*out));
  if (len != 2 * sizeof(id.bytes)) {
    return AQ_ERR_FORMAT;
  }
  for (size_t i = 0; i < sizeof(id.bytes); i++) {
    int hi = text_hex_digit(hex[2 * i]);
    int lo = text_hex_digit(hex[2 * i + 1]);
    if (hi < 0 || lo < 0) {
      return AQ_ERR_FORMAT;
    }
    id.bytes[i] = (uint8_t)(hi << 4 | lo);
  }
  *out = id;
  return 0;
}

char *aq_peer_id_format(const aq_peer_id *id, char buf[65]) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < sizeof(id->bytes); i++) {
    buf[2 * i] = digits[id->bytes[i] >> 4];
    buf[2 * i + 1] = digits[id->bytes[i] & 15];
  }
  buf[64] = '\0';
  return buf;
}

int aq_peer_id_compare(const aq_peer_id *a, const aq_peer_id *b) {
  return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}
