// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/str.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS     UINT64_C(1000000)

/* Nanoseconds of CLOCK_MONOTONIC: for durations and deadlines. */
uint64_t clock_monotonic_ns(void);

/* Nanoseconds since the epoch, CLOCK_REALTIME: for time stamps only. */
uint64_t clock_realtime_ns(void);

enum {
        RFC3339_SECONDS_SIZE = sizeof("2026-11-21T10:00:00Z"),
        RFC3339_MICRO_SIZE = sizeof("2026-11-21T10:00:00.000000Z"),
        RFC3339_NANO_SIZE = sizeof("2026-11-21T10:00:00.000000000Z"),
};

/* metav1.Time, metav1.MicroTime and log lines: UTC with 0, 6 or 9 fraction digits (RFC 3339). */
void rfc3339_format_seconds(uint64_t realtime_ns, char text[static RFC3339_SECONDS_SIZE]);
void rfc3339_format_micro(uint64_t realtime_ns, char text[static RFC3339_MICRO_SIZE]);
void rfc3339_format_nano(uint64_t realtime_ns, char text[static RFC3339_NANO_SIZE]);

/* Any offset, up to nine fraction digits, years 1970 to 2261. Returns 0, -EINVAL or -ERANGE. */
int rfc3339_parse(struct str text, uint64_t *ret_realtime_ns);
