// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/*
 * One ConversionReview (apiextensions.k8s.io/v1): objects of our kinds that an API server wants in
 * another version, and the answer. No I/O. All objects are converted, or none: what cannot be
 * converted (an unknown group, kind or version, an object that is none) is named in the answer's
 * result.
 */
struct conversion_review;

/*
 * Reads a request. What is no review at all fails, with a sentence: -EBADMSG (no JSON), -E2BIG
 * (an object nested more than LIMIT_DEPTH - 3 deep), -EFBIG (more than LIMIT_CONVERSION), -EINVAL
 * (no ConversionReview of v1, or without request or uid); -ENOMEM.
 */
int conversion_review_new(struct str body, struct error *error,
                          struct conversion_review **ret_review);
void conversion_review_free(struct conversion_review *review);
DEFINE_POINTER_CLEANUP(conversion_review_freep, struct conversion_review, conversion_review_free)
#define _cleanup_conversion_review_ _cleanup_(conversion_review_freep)

/*
 * Converts objects until that takes more than `budget_ns`, but at least one. Returns 1 while there
 * are more, 0 when the answer is complete, -ENOMEM.
 */
int conversion_review_step(struct conversion_review *review, uint64_t budget_ns);

struct conversion_outcome {
        struct str answer; /* the ConversionReview to send; lives as long as the review */
        size_t objects;    /* converted; 0 after a refusal */
        struct str why;    /* why it was refused; empty: it was not */
};

/* What conversion_review_step() came to when it returned 0. */
struct conversion_outcome conversion_review_outcome(const struct conversion_review *review);
