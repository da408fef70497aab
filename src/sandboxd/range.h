// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/str.h"

enum range_kind {
        RANGE_WHOLE, /* none, malformed or several: the whole file is sent, as RFC 9110 lets */
        RANGE_PART,  /* 206 with *ret_start and *ret_length */
        RANGE_UNSATISFIABLE, /* 416 */
};

/* Reads a Range header's value (RFC 9110, section 14.2) against a file of `size` bytes. */
enum range_kind range_parse(struct str header, uint64_t size, uint64_t *ret_start,
                            uint64_t *ret_length);

/*
 * Seconds since the epoch of an HTTP date (RFC 9110, section 5.6.7) in its preferred form; the two
 * obsolete ones are -EINVAL.
 */
int http_date_parse(struct str text, int64_t *ret_seconds);
