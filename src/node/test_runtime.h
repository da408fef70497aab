// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/runtime.h"

/*
 * A runtime of plain processes for tests of the node: the real init, as PID 1 of a pid namespace
 * where that is allowed, with none of the rest: no root of its own, no network, no mounts, no
 * limits. What it runs outlives it, as sandboxes outlive a node, until test_runtime_end().
 */
struct test_runtime_config {
        const char *init;         /* path of the static init */
        const char *folder;       /* sockets and log rings */
        unsigned failures;        /* so many sandboxes cannot be created */
        unsigned purges;          /* that were asked for */
        unsigned memory_failures; /* so many volumes in memory cannot be made */
        uint64_t measured;        /* what every volume takes */
};

/* For node_config.runtime_new; `user` is a test_runtime_config, which outlives all runtimes. */
int test_runtime_new(void *user, const struct runtime_events *events, void *owner,
                     struct runtime **ret_runtime);

/* What was mounted into the last container launched, for tests to look at. */
const struct container_spec *test_runtime_last_launch(void);

/* Source and size of the volume in memory made last. */
uint64_t test_runtime_last_memory(const char **ret_source);

/* Kills what still runs. Returns how many containers that were. */
unsigned test_runtime_end(void);
