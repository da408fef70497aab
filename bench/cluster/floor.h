// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common.h"

/*
 * The writes of `cay controller` without a controller: each is sent as soon as the answer or the
 * watch event that it needs is there, from bodies that were recorded off the real one
 * (bench/cluster/record.py). It decides nothing, indexes nothing, and repeats nothing: what the
 * controller takes beyond this is what deciding costs. Ends the program when anything fails.
 */
struct floor;

struct floor_options {
        struct bench *bench;    /* borrowed: its loop and namespace */
        const char *kubeconfig; /* as whom it writes: the controller, so that it has its rights */
        const char *pool;       /* the SandboxWarmPool, which exists */
        const char *writes;     /* the recorded file */
        bool refills;           /* a new member for each that was given away */
};

/* Begins to watch Pods. */
struct floor *floor_new(const struct floor_options *options);
void floor_free(struct floor *floor);

/* Makes members, some at once, and calls when all are Ready. */
void floor_fill(struct floor *floor, int64_t count, void (*filled)(void *user), void *user);

/* A claim's POST was answered with `object`: gives it a member, when there is one. */
void floor_give(struct floor *floor, struct json_value object);
