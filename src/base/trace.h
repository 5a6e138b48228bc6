/* trace.h - one line of text to whoever listens.
 *
 * Layer:  base
 * Owner:  the env is borrowed
 * Time:   none
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_TRACE_H
#define AQ_BASE_TRACE_H

#include "antquic.h"

#define AQ_TRACE_MAX 512

/* aq_trace formats (cut at AQ_TRACE_MAX) and hands to env->trace; does nothing
 * and costs no formatting when |env| or it is NULL. */
void aq_trace(const aq_env *env, aq_log_level level, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif
