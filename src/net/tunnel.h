// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "net/stream.h"

/* Two connections whose bytes go into each other, with back-pressure, until both have ended. */
struct tunnel {
        struct list link; /* for the owner */
        struct stream *sides[2];
        void (*on_close)(struct tunnel *tunnel, void *user);
        void *user;
        uint64_t bytes[2]; /* that came from each side */
};

/*
 * Takes both streams over, with what came from each already. `on_close` is told once, when both
 * are gone; then the tunnel may be freed.
 */
void tunnel_start(struct tunnel *tunnel, struct stream *a, struct str from_a, struct stream *b,
                  struct str from_b, void (*on_close)(struct tunnel *tunnel, void *user),
                  void *user);

/* Closes both at once. on_close is not told. */
void tunnel_close(struct tunnel *tunnel);
