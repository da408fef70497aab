// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"

/*
 * Texts at rest. Objects of a pool are alike but for names, uids and times, so each is kept as what
 * sets it apart from an earlier one (delta.h), some 100 bytes of 2,000.
 */
struct packer;

struct packed; /* one text; freed by packer_drop() */

int packer_new(struct packer **ret_packer);
void packer_free(struct packer *packer); /* after all that it has packed */

/* Texts with the same `kind` try the same likes. Returns 0, -EFBIG or -ENOMEM. */
int packer_pack(struct packer *packer, const void *kind, struct str text,
                struct packed **ret_packed);

/* Appends the text. Returns 0 or -ENOMEM. */
int packer_unpack(const struct packed *packed, struct buffer *out);

/* NULL is nothing. */
void packer_drop(struct packed *packed);
