/* err.c - names and texts of the errors.
 *
 * SPDX-License-Identifier: MIT */
#include "antquic.h"

typedef struct err_row {
  int value;
  const char *name;
  const char *text;
} err_row;

static const err_row err_rows[] = {
#define X(name, value, text) {(value), #name, text},
    AQ_ERR_MAP(X)
#undef X
};

static const err_row *err_find(int err) {
  for (size_t i = 0; i < sizeof(err_rows) / sizeof(err_rows[0]); i++) {
    if (err_rows[i].value == err) {
      return &err_rows[i];
    }
  }
  return NULL;
}

const char *aq_error_name(int err) {
  if (err == AQ_OK) {
    return "OK";
  }
  const err_row *row = err_find(err);
  return row != NULL ? row->name : "UNKNOWN";
}

const char *aq_error_text(int err) {
  if (err == AQ_OK) {
    return "no error";
  }
  const err_row *row = err_find(err);
  return row != NULL ? row->text : "unknown error";
}

const char *aq_error_at(size_t index, int *value) {
  if (index >= sizeof(err_rows) / sizeof(err_rows[0])) {
    return NULL;
  }
  if (value != NULL) {
    *value = err_rows[index].value;
  }
  return err_rows[index].name;
}
