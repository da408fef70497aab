// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "base/str.h"

/*
 * Named checks behind /healthz, /livez and /readyz, answered as kube-apiserver does: "ok", or a
 * list of "[+]name ok" and "[-]name failed: why" (?verbose, or on failure), ?exclude=name.
 */
struct health {
        struct health_check *checks; /* in the order in which they were added; all zero is none */
};

void health_deinit(struct health *health);

enum { HEALTH_WHY_SIZE = 256 };

enum health_kind {
        HEALTH_READY = 1, /* counts for /readyz */
        HEALTH_LIVE = 2,  /* counts for /healthz and /livez */
};

/*
 * Adds a check. `check` returns true, or false after putting a reason of a few words into `why`.
 * `name` is static. Returns 0 or -ENOMEM.
 */
int health_add(struct health *health, const char *name, unsigned kinds,
               bool (*check)(void *user, char why[static HEALTH_WHY_SIZE]), void *user);

/*
 * Answers one request: `path` is "/readyz", "/livez", "/healthz" or one of them with "/name", with
 * the query. Appends the text; returns 200, 500 (a check failed), 404, or -ENOMEM.
 */
int health_answer(const struct health *health, struct str path, struct str query,
                  struct buffer *out);
