// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

/*
 * A text told by what sets it apart from another that is like it: of objects of one pool only
 * names, uids, addresses and times differ. Both are walked side by side; where they part the way,
 * what comes is looked up in the like and in what was told already. Uids are told by their 16
 * bytes. What is read here was written here: it is trusted.
 */

/* A text that others are told by. */
struct like;

/* Copies the text, of at most LIMIT_BODY. Returns 0 or -ENOMEM. */
int like_new(struct str text, struct like **ret_like);
void like_free(struct like *like);
struct str like_text(const struct like *like);

/* Gives up what only delta_write() needs. */
void like_seal(struct like *like);

/*
 * Fills `out` anew. `like` may be NULL: then only what is in the text twice is told shorter.
 * Returns 0, -EFBIG (beyond LIMIT_BODY) or -ENOMEM.
 */
int delta_write(const struct like *like, struct str text, struct buffer *out);

/* Appends the text of `length` bytes of which `delta` was made by the same like. Returns 0 or
 * -ENOMEM. */
int delta_read(const struct like *like, struct str delta, size_t length, struct buffer *out);
