/* owner.h - from an embedded member to what it is a member of.
 *
 * Layer:  base
 * Owner:  none
 * Time:   none
 * Spec:   none
 *
 * SPDX-License-Identifier: MIT */
#ifndef AQ_BASE_OWNER_H
#define AQ_BASE_OWNER_H

#include <stddef.h>

/* aq_owner_of gives the |type| whose member |field| is at |member|. */
#define aq_owner_of(member, type, field)                                       \
  ((type *)(void *)((char *)(member)-offsetof(type, field)))

#endif
