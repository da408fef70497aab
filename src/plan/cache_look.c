// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "plan/cache_internal.h"

struct kind_state *kind_state_find(const struct cache *cache, const struct kind *kind)
{
        for (size_t i = 0; i < cache->kind_count; i++) {
                if (cache->kinds[i]->kind == kind)
                        return cache->kinds[i];
        }
        return NULL;
}

uint64_t stored_name_hash(const struct cache *cache, const struct kind *kind, struct str namespace,
                          struct str name)
{
        return table_hash(table_hash(cache->seed ^ (uint64_t)(uintptr_t)kind, namespace), name);
}

int stored_find(const struct cache *cache, const struct kind *kind, struct str namespace,
                struct str name, struct stored **ret_stored)
{
        struct table_node *node =
                table_find(&cache->by_name, stored_name_hash(cache, kind, namespace, name));
        int r = 0;

        for (; node; node = table_find_next(node)) {
                struct stored *stored = container_of(node, struct stored, by_name);
                const struct cache_entry *entry;

                if (stored->space->kind != kind || !stored_is_in(stored, namespace))
                        continue;
                entry = stored_wake(cache, stored);
                if (!entry) {
                        r = -ENOMEM;
                } else if (str_equal(entry->meta.name, name)) {
                        *ret_stored = stored;
                        return 1;
                }
        }
        return r;
}

int stored_find_uid(const struct cache *cache, struct str uid, struct stored **ret_stored)
{
        struct table_node *node = table_find(&cache->by_uid, table_hash(cache->seed, uid));
        int r = 0;

        for (; node; node = table_find_next(node)) {
                struct stored *stored = container_of(node, struct stored, by_uid);
                const struct cache_entry *entry = stored_wake(cache, stored);

                if (!entry) {
                        r = -ENOMEM;
                } else if (str_equal(entry->meta.uid, uid)) {
                        *ret_stored = stored;
                        return 1;
                }
        }
        return r;
}

const struct cache_entry *cache_get(const struct cache *cache, const struct kind *kind,
                                    struct str namespace, struct str name)
{
        struct stored *stored;

        return stored_find(cache, kind, namespace, name, &stored) > 0 ? &stored->awake->entry
                                                                      : NULL;
}

const struct cache_entry *cache_get_uid(const struct cache *cache, struct str uid)
{
        struct stored *stored;

        return stored_find_uid(cache, uid, &stored) > 0 ? &stored->awake->entry : NULL;
}

const struct kind *cache_find_kind(const struct cache *cache, struct str group, struct str kind)
{
        const struct kind *found = NULL;

        for (size_t i = 0; i < cache->kind_count; i++) {
                const struct kind *known = cache->kinds[i]->kind;

                if (!str_equal(known->kind, kind) || !str_equal(known->group, group))
                        continue;
                found = known;
                if (!cache->kinds[i]->dropped)
                        break;
        }
        return found;
}

struct cache_iterator cache_iterate(const struct cache *cache, const struct kind *kind,
                                    struct str namespace)
{
        struct kind_state *state = kind_state_find(cache, kind);

        return (struct cache_iterator){
                .cache = cache,
                .next = state ? state->objects.next : NULL,
                .head = state ? &state->objects : NULL,
                .kind = kind,
                .namespace = namespace,
        };
}

struct cache_iterator cache_iterate_index(const struct cache *cache, int index,
                                          const struct kind *kind, struct str namespace,
                                          struct str key)
{
        struct bucket *bucket = buckets_find(&cache->buckets, index, namespace, key);

        return (struct cache_iterator){
                .cache = cache,
                .next = bucket ? bucket->links.next : NULL,
                .head = bucket ? &bucket->links : NULL,
                .kind = kind,
                .by_index = true,
        };
}

bool cache_peek(struct cache_iterator *iterator)
{
        iterator->entry = NULL;
        while (iterator->next != iterator->head) {
                struct stored *stored;

                if (iterator->by_index)
                        stored = list_entry(iterator->next, struct link, in_bucket)->object;
                else
                        stored = list_entry(iterator->next, struct stored, of_kind);
                iterator->next = iterator->next->next;
                if (iterator->by_index && iterator->next != iterator->head)
                        __builtin_prefetch(
                                list_entry(iterator->next, struct link, in_bucket)->object);
                if ((iterator->kind && stored->space->kind != iterator->kind) ||
                    (iterator->namespace.data && !stored_is_in(stored, iterator->namespace)))
                        continue;
                iterator->at = stored;
                iterator->entry_kind = stored->space->kind;
                iterator->digest = stored->digest;
                return true;
        }
        return false;
}

const struct cache_entry *cache_entry_at(struct cache_iterator *iterator)
{
        iterator->entry = stored_wake(iterator->cache, iterator->at);
        return iterator->entry;
}

const struct cache_entry *cache_look_at(const struct cache *cache, void *at)
{
        return stored_wake(cache, at);
}

bool cache_next(struct cache_iterator *iterator)
{
        while (cache_peek(iterator)) {
                if (cache_entry_at(iterator))
                        return true;
        }
        return false;
}

void cache_each(struct cache *cache, cache_changed_fn each, void *context)
{
        for (size_t i = 0; i < cache->kind_count; i++) {
                struct stored *stored;

                list_for_each (stored, &cache->kinds[i]->objects, of_kind) {
                        const struct cache_entry *entry = stored_wake(cache, stored);

                        if (entry)
                                each(context, NULL, entry);
                        cache_rest(cache);
                }
        }
}

size_t cache_count(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        return state ? state->count : 0;
}

void cache_index_sums(const struct cache *cache, int index, struct str namespace, struct str key,
                      int64_t ret_sums[static CACHE_SUMS])
{
        struct bucket *bucket = buckets_find(&cache->buckets, index, namespace, key);

        for (size_t i = 0; i < CACHE_SUMS; i++)
                ret_sums[i] = bucket ? bucket_sums(bucket)[i] : 0;
}

size_t cache_index_count(const struct cache *cache, int index, struct str namespace, struct str key)
{
        struct bucket *bucket = buckets_find(&cache->buckets, index, namespace, key);

        return bucket ? bucket->count : 0;
}

bool cache_was_deleted(const struct cache *cache, struct str uid)
{
        return tombstones_have(&cache->tombstones, uid);
}
