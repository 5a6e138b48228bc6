/* trace.c - one line of text to whoever listens.
 *
 * SPDX-License-Identifier: MIT */
#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>

void aq_trace(const aq_env *env, aq_log_level level, const char *format, ...) {
  if (env == NULL || env->trace == NULL) {
    return;
  }
  char text[AQ_TRACE_MAX];
  va_list ap;
  va_start(ap, format);
  int n = vsnprintf(text, sizeof(text), format, ap);
  va_end(ap);
  if (n >= 0) {
    env->trace(env->user, level, text);
  }
}
