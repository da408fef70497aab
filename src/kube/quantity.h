// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "json/json.h"

enum quantity_format { QUANTITY_DECIMAL, QUANTITY_BINARY, QUANTITY_EXPONENT };

/*
 * An amount as Kubernetes writes it (k8s.io/apimachinery pkg/api/resource): "100m", "1.5Gi",
 * "12e6". Exact to a billionth, rounded away from zero beyond; saturating at ±(2^63 - 1) units.
 */
struct quantity {
        __int128 nano;
        enum quantity_format format;
};

/* Returns 0, or -EINVAL: "quantities must match the regular expression …". */
int quantity_parse(struct str text, struct quantity *ret_quantity);

/* From a JSON string or number. Returns 0 or -EINVAL. */
int quantity_read(struct json_value value, struct quantity *ret_quantity);

/* Rounded up, saturating. */
int64_t quantity_milli(const struct quantity *quantity); /* thousandths: CPU */
int64_t quantity_whole(const struct quantity *quantity); /* units: bytes */

/* < 0, 0, > 0 */
int quantity_compare(const struct quantity *a, const struct quantity *b);

/* a + b, saturating, in the format of `a` (of `b` if `a` is zero). */
struct quantity quantity_add(const struct quantity *a, const struct quantity *b);

/* The canonical form: no fraction, the largest suffix without one; NUL-terminated in `text`. */
enum { QUANTITY_SIZE = 40 };
struct str quantity_format(const struct quantity *quantity, char text[static QUANTITY_SIZE]);
