// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Descriptors for new processes. The launcher holds several descriptors a sandbox, and clone(2)
 * without CLONE_FILES copies them all, which the child then closes: with a thousand sandboxes that
 * takes longer than all else. So the child shares the table, finds what it needs at low numbers,
 * and the first thing that it does is to take a copy of those alone (lending_come_apart()). Until
 * it has done so, the launcher leaves them in place (lending_end()). One child at a time.
 */
enum { LENDING_FDS = 10 };

struct lending {
        int fds[LENDING_FDS]; /* low numbers, on /dev/null while nothing is lent */
        unsigned end;         /* behind the highest of them */
        int null, borrower;   /* pidfd, -1: nobody */
        uint32_t *is_apart;   /* in memory that is shared with the child */
        bool is_lent;
};

/* Call it early, while low numbers are free. The child keeps descriptors up to `highest` too. */
int lending_init(struct lending *lending, int highest);
void lending_deinit(struct lending *lending);

/* Puts a copy of `fd` at the place `slot` for the next child, and returns its number or -errno. */
int lending_put(struct lending *lending, size_t slot, int fd);

/* The child that was cloned with CLONE_FILES, by its pidfd, of which a copy is kept; without one
 * the child is killed. */
int lending_begin(struct lending *lending, int pidfd);

/* In the child, before anything else: gives it a table of its own. Ends it if that fails. */
void lending_come_apart(const struct lending *lending);

/* Waits until the child has come apart, or ended; kills it if it does neither for seconds. Then
 * takes back what was lent, also to a child that was never made. */
void lending_end(struct lending *lending);
