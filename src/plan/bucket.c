// SPDX-License-Identifier: Apache-2.0
#include "plan/bucket.h"

#include <errno.h>
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

static void free_bucket(struct bucket *bucket)
{
        free(bucket->sums);
        free(bucket);
}

static struct bucket *get_bucket(struct buckets *buckets, int index, struct str namespace,
                                 struct str key, bool weighs)
{
        struct bucket *bucket = buckets_find(buckets, index, namespace, key);

        if (bucket)
                return bucket;
        if (namespace.length > UINT16_MAX || key.length > UINT32_MAX)
                return NULL;
        bucket = calloc(1, sizeof(*bucket) + namespace.length + key.length);
        if (!bucket)
                return NULL;
        bucket->index = (uint16_t)index;
        bucket->namespace_length = (uint16_t) namespace.length;
        bucket->key_length = (uint32_t)key.length;
        if (namespace.length)
                memcpy(bucket->text, namespace.data, namespace.length);
        if (key.length)
                memcpy(bucket->text + namespace.length, key.data, key.length);
        list_init(&bucket->links);
        if (weighs)
                bucket->sums = calloc(CACHE_SUMS, sizeof(*bucket->sums));
        if ((weighs && !bucket->sums) ||
            table_add(&buckets->table, &bucket->node, bucket_hash(buckets, index, namespace, key)) <
                    0) {
                free_bucket(bucket);
                return NULL;
        }
        return bucket;
}

static void release_bucket(struct buckets *buckets, struct bucket *bucket)
{
        if (bucket->count == 0) {
                table_remove(&buckets->table, &bucket->node);
                free_bucket(bucket);
        }
}

/* The object counts for this from now on. */
static void weigh(struct link *link, const int64_t *weights)
{
        for (size_t i = 0; link->bucket->sums && i < CACHE_SUMS; i++) {
                link->bucket->sums[i] += weights[i] - link->weights[i];
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
