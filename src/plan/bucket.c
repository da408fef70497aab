// SPDX-License-Identifier: Apache-2.0
#include "plan/bucket.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

void buckets_deinit(struct buckets *buckets)
{
        table_deinit(&buckets->table);
}

static uint64_t bucket_hash(const struct buckets *buckets, int index, struct str namespace,
                            struct str key)
{
        return table_hash(table_hash(buckets->seed + (uint64_t)index, namespace), key);
}

static bool bucket_is(const struct bucket *bucket, int index, struct str namespace, struct str key)
{
        return bucket->index == index &&
               str_equal((struct str){ bucket->text, bucket->namespace_length }, namespace) &&
               str_equal(
                       (struct str){ bucket->text + bucket->namespace_length, bucket->key_length },
                       key);
}

struct bucket *buckets_find(const struct buckets *buckets, int index, struct str namespace,
                            struct str key)
{
        struct table_node *node =
                table_find(&buckets->table, bucket_hash(buckets, index, namespace, key));

        for (; node; node = table_find_next(node)) {
                struct bucket *bucket = container_of(node, struct bucket, node);

                if (bucket_is(bucket, index, namespace, key))
                        return bucket;
        }
        return NULL;
}

static size_t sums_offset(size_t text_length)
{
        size_t end = offsetof(struct bucket, text) + text_length;

        return (end + _Alignof(int64_t) - 1) & ~(_Alignof(int64_t) - 1);
}

int64_t *bucket_sums(struct bucket *bucket)
{
        assert(bucket->weighs);
        return (int64_t *)(void *)((char *)bucket +
                                   sums_offset(bucket->namespace_length + bucket->key_length));
}

static struct bucket *get_bucket(struct buckets *buckets, int index, struct str namespace,
                                 struct str key, bool weighs)
{
        struct bucket *bucket = buckets_find(buckets, index, namespace, key);
        size_t text_length = namespace.length + key.length;

        if (bucket)
                return bucket;
        if (namespace.length > UINT16_MAX || key.length > UINT32_MAX)
                return NULL;
        bucket = calloc(1, weighs ? sums_offset(text_length) + CACHE_SUMS * sizeof(int64_t)
                                  : sizeof(*bucket) + text_length);
        if (!bucket)
                return NULL;
        bucket->index = (uint8_t)index;
        bucket->weighs = weighs;
        bucket->namespace_length = (uint16_t) namespace.length;
        bucket->key_length = (uint32_t)key.length;
        if (namespace.length)
                memcpy(bucket->text, namespace.data, namespace.length);
        if (key.length)
                memcpy(bucket->text + namespace.length, key.data, key.length);
        list_init(&bucket->links);
        if (table_add(&buckets->table, &bucket->node, bucket_hash(buckets, index, namespace, key)) <
            0) {
                free(bucket);
                return NULL;
        }
        return bucket;
}

static void release_bucket(struct buckets *buckets, struct bucket *bucket)
{
        if (bucket->count == 0) {
                table_remove(&buckets->table, &bucket->node);
                free(bucket);
        }
}

/* The object counts for this from now on. */
static void weigh(struct link *link, const int64_t *weights)
{
        int64_t *sums;

        if (!link->bucket->weighs)
                return;
        sums = bucket_sums(link->bucket);
        for (size_t i = 0; i < CACHE_SUMS; i++) {
                sums[i] += weights[i] - link->weights[i];
                link->weights[i] = weights[i];
        }
}

int buckets_link(struct buckets *buckets, struct link **links, struct link **old, int index,
                 struct str namespace, struct str key, void *object, const int64_t *weights)
{
        struct bucket *bucket;
        struct link *link;

        for (link = *links; link; link = link->next) {
                if (bucket_is(link->bucket, index, namespace, key))
                        return 0;
        }
        for (; *old; old = &(*old)->next) {
                link = *old;
                if (!bucket_is(link->bucket, index, namespace, key))
                        continue;
                *old = link->next;
                link->next = *links;
                *links = link;
                weigh(link, weights);
                return 0;
        }
        bucket = get_bucket(buckets, index, namespace, key, weights);
        link = bucket ? calloc(1, sizeof(*link) + (weights ? CACHE_SUMS * sizeof(*weights) : 0))
                      : NULL;
        if (!link) {
                if (bucket)
                        release_bucket(buckets, bucket);
                return -ENOMEM;
        }
        link->next = *links;
        link->bucket = bucket;
        link->object = object;
        *links = link;
        list_append(&bucket->links, &link->in_bucket);
        bucket->count++;
        weigh(link, weights);
        return 0;
}

void buckets_unlink(struct buckets *buckets, struct link *links)
{
        static const int64_t nothing[CACHE_SUMS];

        while (links) {
                struct link *link = links;

                links = link->next;
                weigh(link, nothing);
                list_remove(&link->in_bucket);
                link->bucket->count--;
                release_bucket(buckets, link->bucket);
                free(link);
        }
}
