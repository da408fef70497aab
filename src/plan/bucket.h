// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "plan/cache.h"
#include "plan/table.h"

/* Which objects stand under which keys of the cache's indexes, in the order in which they came, and
 * what they count for together. Internal to plan/: cache.h says what indexes are for. */
struct buckets {
        struct table table;
        uint64_t seed; /* of the table's hashes */
};

/* A key under which something stands. */
struct bucket {
        struct table_node node;
        struct list links; /* of struct link, oldest first */
        uint32_t count;
        uint8_t index;
        bool weighs; /* its links have weights, and it sums */
        uint16_t namespace_length;
        uint32_t key_length;
        char text[]; /* namespace, key; behind them the sums, for there are more buckets without */
};

/* CACHE_SUMS of the links' weights. */
int64_t *bucket_sums(struct bucket *bucket);

/* That an object stands in a bucket. One of 40 bytes, as there are three or four to an object. */
struct link {
        struct list in_bucket;
        struct link *next; /* of the same object */
        struct bucket *bucket;
        void *object;
        int64_t weights[]; /* if the bucket weighs */
};

void buckets_deinit(struct buckets *buckets); /* when nothing stands in them */

/* NULL if nothing stands there. */
struct bucket *buckets_find(const struct buckets *buckets, int index, struct str namespace,
                            struct str key);

/*
 * Adds to `links` that `object` stands under a key, unless they say so. `old` are links that the
 * object had: one to the key is taken from there, so that the object keeps its place. `weights` are
 * CACHE_SUMS numbers, or NULL for all objects of the index. Returns 0 or -ENOMEM.
 */
int buckets_link(struct buckets *buckets, struct link **links, struct link **old, int index,
                 struct str namespace, struct str key, void *object, const int64_t *weights);

/* Takes the object out of all that it stands in by these links. */
void buckets_unlink(struct buckets *buckets, struct link *links);
