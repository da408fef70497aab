// SPDX-License-Identifier: Apache-2.0
#include "plan/cache_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/project.h"

enum { KINDS_MAX = 1024 };

static size_t owner_keys(const struct cache_entry *entry,
                         struct str ret_keys[static CACHE_KEYS_MAX])
{
        struct json_iterator it = json_iterate(entry->meta.owner_references);
        struct owner_reference owner;
        size_t count = 0;

        while (count < CACHE_KEYS_MAX && owner_reference_next(&it, &owner))
                ret_keys[count++] = owner.uid;
        return count;
}

int cache_new(uint64_t seed, struct cache **ret_cache)
{
        struct cache *cache = calloc(1, sizeof(*cache));

        if (!cache)
                return -ENOMEM;
        cache->seed = cache->locks.seed = cache->buckets.seed = seed;
        tombstones_init(&cache->tombstones, seed);
        list_init(&cache->used);
        cache->indexes[CACHE_INDEX_OWNER].keys = owner_keys;
        cache->index_count = 1;
        *ret_cache = cache;
        return 0;
}

/* ---- kinds ---- */

static struct kind_state *get_kind(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        if (state)
                state->dropped = false;
        if (state || cache->kind_count == KINDS_MAX)
                return state;
        if (cache->kind_count == cache->kind_capacity) {
                size_t capacity = cache->kind_capacity ? 2 * cache->kind_capacity : 16;
                void *kinds = reallocarray(cache->kinds, capacity, sizeof(*cache->kinds));

                if (!kinds)
                        return NULL;
                cache->kinds = kinds;
                cache->kind_capacity = capacity;
        }
        state = calloc(1, sizeof(*state));
        if (!state)
                return NULL;
        state->kind = kind;
        list_init(&state->objects);
        cache->kinds[cache->kind_count++] = state;
        return state;
}

int cache_add_kind(struct cache *cache, const struct kind *kind)
{
        return get_kind(cache, kind) ? 0 : -ENOMEM;
}

/* As before it was told anything. */
static void reset_kind(struct kind_state *state)
{
        state->synced = state->listing = state->lost = false;
        state->progress = 0;
}

void cache_drop_kind(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        if (!state)
                return;
        assert(state->count == 0);
        state->dropped = true;
        reset_kind(state);
}

bool cache_is_fed(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        return state && !state->dropped;
}

bool cache_is_complete(const struct cache *cache, uint64_t resource_version)
{
        for (size_t i = 0; i < cache->kind_count; i++) {
                if (!cache->kinds[i]->synced && !cache->kinds[i]->dropped)
                        return false;
        }
        return cache->common_progress == 0 || cache->common_progress >= resource_version;
}

/* ---- spaces ---- */

static struct space *get_space(struct cache *cache, const struct kind *kind, struct str namespace)
{
        uint64_t hash = table_hash(cache->seed ^ (uint64_t)(uintptr_t)kind, namespace);
        struct space *space;

        for (struct table_node *node = table_find(&cache->spaces, hash); node;
             node = table_find_next(node)) {
                space = container_of(node, struct space, node);
                if (space->kind == kind &&
                    str_equal((struct str){ space->text, space->length }, namespace)) {
                        space->users++;
                        return space;
                }
        }
        space = malloc(sizeof(*space) + namespace.length);
        if (!space)
                return NULL;
        space->kind = kind;
        space->users = 1;
        space->length = namespace.length;
        if (namespace.length)
                memcpy(space->text, namespace.data, namespace.length);
        if (table_add(&cache->spaces, &space->node, hash) < 0) {
                free(space);
                return NULL;
        }
        return space;
}

static void put_space(struct cache *cache, struct space *space)
{
        if (--space->users > 0)
                return;
        table_remove(&cache->spaces, &space->node);
        free(space);
}

/* ---- indexes ---- */

int cache_add_index(struct cache *cache, const struct kind *kind, bool by_namespace,
                    cache_keys_fn keys)
{
        if (cache->index_count == CACHE_INDEXES_MAX)
                return -ENOSPC;
        cache->indexes[cache->index_count] =
                (struct index){ .kind = kind, .by_namespace = by_namespace, .keys = keys };
        return cache->index_count++;
}

void cache_add_up(struct cache *cache, int index, cache_weigh_fn weigh)
{
        cache->indexes[index].weigh = weigh;
}

void cache_set_digest(struct cache *cache, uint64_t (*digest)(const struct cache_entry *entry))
{
        cache->digest = digest;
}

static void set_incomplete(struct cache *cache, struct cache_entry *entry, bool incomplete)
{
        cache->incomplete += incomplete;
        cache->incomplete -= entry->incomplete;
        entry->incomplete = incomplete;
}

/* Puts the object under the keys that it has now. On failure it may be missing under some. */
static int reindex(struct cache *cache, struct stored *stored)
{
        struct cache_entry *entry = &stored->awake->entry;
        struct link *old = stored->links;
        int r = 0;

        stored->links = NULL;
        for (int i = 0; i < cache->index_count; i++) {
                const struct index *index = &cache->indexes[i];
                struct str namespace =
                        index->by_namespace ? space_namespace(stored->space) : STR_EMPTY;
                struct str keys[CACHE_KEYS_MAX];
                int64_t weights[CACHE_SUMS];
                size_t count;

                if (index->kind && index->kind != stored->space->kind)
                        continue;
                count = index->keys(entry, keys);
                if (index->weigh)
                        index->weigh(entry, weights);
                for (size_t j = 0; j < count && r == 0; j++)
                        r = buckets_link(&cache->buckets, &stored->links, &old, i, namespace,
                                         keys[j], stored, index->weigh ? weights : NULL);
        }
        buckets_unlink(&cache->buckets, old);
        set_incomplete(cache, entry, r < 0);
        stored->digest = cache->digest ? cache->digest(entry) : 0;
        return r;
}

/* ---- locks ---- */

int cache_lock(struct cache *cache, const struct kind *kind, struct str namespace, struct str name,
               void *owner)
{
        int r = locks_take(&cache->locks, kind, namespace, name, owner);
        struct stored *stored;

        /* What cannot be looked at now is locked when it can. */
        if (r == 0 && stored_find(cache, kind, namespace, name, &stored) > 0)
                stored->awake->entry.locked = true;
        return r;
}

void cache_unlock(struct cache *cache, const struct kind *kind, struct str namespace,
                  struct str name)
{
        struct lock *lock = locks_find(&cache->locks, kind, namespace, name);
        struct stored *stored;

        if (stored_find(cache, kind, namespace, name, &stored) > 0)
                stored->awake->entry.locked = false;
        if (lock)
                locks_drop(&cache->locks, lock);
}

int cache_wait(struct cache *cache, const struct kind *kind, struct str namespace, struct str name,
               void *waiter)
{
        struct lock *lock = locks_find(&cache->locks, kind, namespace, name);

        return lock ? lock_wait(lock, waiter) : 1;
}

void cache_on_unlock(struct cache *cache, void (*unlocked)(void *context, void *waiter),
                     void *context)
{
        cache->locks.on_unlock = unlocked;
        cache->locks.context = context;
}

void cache_unlock_on_change(struct cache *cache, const struct kind *kind, struct str namespace,
                            struct str name)
{
        struct lock *lock = locks_find(&cache->locks, kind, namespace, name);
        struct stored *stored;

        if (stored_find(cache, kind, namespace, name, &stored) == 0)
                cache_unlock(cache, kind, namespace, name);
        else if (lock)
                lock_disown(lock);
}

/* A mark without owner has done its work when the object changes. */
static void end_ownerless_lock(struct cache *cache, struct stored *stored)
{
        const struct cache_entry *entry = &stored->awake->entry;
        struct lock *lock;

        if (!entry->locked)
                return;
        lock = locks_find(&cache->locks, entry->kind, entry->meta.namespace, entry->meta.name);
        if (lock && !lock_owner(lock))
                cache_unlock(cache, entry->kind, entry->meta.namespace, entry->meta.name);
}

void *cache_lock_owner(const struct cache *cache, const struct kind *kind, struct str namespace,
                       struct str name)
{
        struct lock *lock = locks_find(&cache->locks, kind, namespace, name);

        return lock ? lock_owner(lock) : NULL;
}

/* ---- feeding ---- */

void cache_on_change(struct cache *cache, cache_changed_fn changed, void *context)
{
        cache->changed = changed;
        cache->changed_context = context;
}

static void tell(struct cache *cache, const struct cache_entry *before,
                 const struct cache_entry *after)
{
        if (cache->changed)
                cache->changed(cache->changed_context, before, after);
}

/* An object that rests is removed without a word. */
static void remove_stored(struct cache *cache, struct kind_state *state, struct stored *stored)
{
        if (stored->awake)
                end_ownerless_lock(cache, stored);
        buckets_unlink(&cache->buckets, stored->links);
        table_remove(&cache->by_name, &stored->by_name);
        table_remove(&cache->by_uid, &stored->by_uid);
        list_remove(&stored->of_kind);
        state->count--;
        if (stored->awake) {
                set_incomplete(cache, &stored->awake->entry, false);
                tell(cache, &stored->awake->entry, NULL);
                stored_detach(cache, stored);
        }
        packer_drop(stored->packed);
        put_space(cache, stored->space);
        free(stored);
}

static int add_tables(struct cache *cache, struct stored *stored, const struct object_meta *meta)
{
        int r = table_add(
                &cache->by_name, &stored->by_name,
                stored_name_hash(cache, stored->space->kind, meta->namespace, meta->name));

        if (r < 0)
                return r;
        r = table_add(&cache->by_uid, &stored->by_uid, table_hash(cache->seed, meta->uid));
        if (r < 0)
                table_remove(&cache->by_name, &stored->by_name);
        return r;
}

static int add_stored(struct cache *cache, struct kind_state *state, struct json_doc *doc,
                      uint64_t monotonic_ns)
{
        struct stored *stored = calloc(1, sizeof(*stored));
        struct cache_entry entry = { .seen_ns = monotonic_ns };
        int r = stored ? entry_fill(&entry, state->kind, doc) : -ENOMEM;

        if (r < 0)
                goto fail_stored;
        entry.owners_version = entry.meta.resource_version;
        entry.locked =
                locks_find(&cache->locks, state->kind, entry.meta.namespace, entry.meta.name);
        stored->seen_ns = monotonic_ns;
        stored->version = stored->owners_version = entry.owners_version;
        stored->list_round = state->list_round;
        stored->space = get_space(cache, state->kind, entry.meta.namespace);
        r = stored->space ? stored_attach(cache, stored, &entry) : -ENOMEM;
        if (r < 0)
                goto fail_entry;
        r = add_tables(cache, stored, &entry.meta);
        if (r < 0) {
                stored_detach(cache, stored);
                goto fail_space;
        }
        list_append(&state->objects, &stored->of_kind);
        state->count++;
        r = reindex(cache, stored);
        tell(cache, NULL, &stored->awake->entry);
        return r < 0 ? r : 1;

fail_entry:
        entry_release(&entry);
fail_space:
        if (stored->space)
                put_space(cache, stored->space);
fail_stored:
        free(stored);
        return r;
}

static int replace_stored(struct cache *cache, struct stored *stored, struct json_doc *doc)
{
        struct cache_entry before = stored->awake->entry, after = before;
        int r = entry_fill(&after, before.kind, doc);

        if (r < 0)
                return r;
        if (!str_equal(json_text(before.meta.owner_references),
                       json_text(after.meta.owner_references)))
                after.owners_version = after.meta.resource_version;
        stored->awake->entry = after;
        stored->version = after.meta.resource_version;
        stored->owners_version = after.owners_version;
        packer_drop(stored->packed);
        stored->packed = NULL;
        end_ownerless_lock(cache, stored);
        r = reindex(cache, stored);
        tell(cache, &before, &stored->awake->entry);
        entry_release(&before);
        return r < 0 ? r : 1;
}

/* Returns 0, or -ENOMEM: it stays, as a late event would bring it back. */
static int remove_deleted(struct cache *cache, struct kind_state *state, struct stored *stored)
{
        const struct cache_entry *entry = stored_wake(cache, stored);
        int r = entry ? tombstones_add(&cache->tombstones, entry->meta.uid) : -ENOMEM;

        if (r == 0)
                remove_stored(cache, state, stored);
        return r;
}

static int apply_deleted(struct cache *cache, struct kind_state *state, struct stored *stored,
                         struct str uid)
{
        int r;

        if (!stored || !str_equal(stored->awake->entry.meta.uid, uid))
                return tombstones_add(&cache->tombstones, uid);
        r = remove_deleted(cache, state, stored);
        return r < 0 ? r : 1;
}

static int apply(struct cache *cache, struct kind_state *state, enum cache_event event,
                 struct json_doc *doc, uint64_t monotonic_ns)
{
        const struct cache_entry *entry;
        struct stored *stored = NULL;
        struct object_meta meta;
        int r;

        object_meta_read(json_root(doc), &meta);
        if (meta.name.length == 0 || meta.uid.length == 0)
                return -EINVAL;
        r = stored_find(cache, state->kind, meta.namespace, meta.name, &stored);
        if (r < 0)
                return r;
        entry = stored ? &stored->awake->entry : NULL;
        if (event == CACHE_DELETED)
                return apply_deleted(cache, state, stored, meta.uid);
        if (tombstones_have(&cache->tombstones, meta.uid))
                return 0;
        if (stored && !str_equal(entry->meta.uid, meta.uid)) {
                /* One of the two is gone: the older. */
                if (meta.resource_version <= entry->meta.resource_version)
                        return 0;
                r = remove_deleted(cache, state, stored);
                if (r < 0)
                        return r;
                stored = NULL;
        }
        if (!stored)
                return add_stored(cache, state, doc, monotonic_ns);
        stored->list_round = state->list_round;
        if (entry->incomplete && meta.resource_version == entry->meta.resource_version) {
                r = reindex(cache, stored);
                tell(cache, NULL, entry);
                return r < 0 ? r : 1;
        }
        if (meta.resource_version <= entry->meta.resource_version)
                return 0;
        return replace_stored(cache, stored, doc);
}

int cache_apply(struct cache *cache, const struct kind *kind, enum cache_event event,
                struct json_doc *doc, uint64_t monotonic_ns)
{
        _cleanup_doc_ struct json_doc *projection = NULL;
        struct kind_state *state = get_kind(cache, kind);

        if (!state)
                return -ENOMEM;
        if (!cache->packer)
                return apply(cache, state, event, doc, monotonic_ns);
        cache_rest(cache);
        int r = kind_project(kind, doc, &projection);
        return r < 0 ? r : apply(cache, state, event, projection, monotonic_ns);
}

void cache_list_begin(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = get_kind(cache, kind);

        if (!state)
                return;
        state->list_round++;
        state->listing = true;
        state->lost = false;
}

void cache_lose(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        if (state)
                state->lost = true;
}

int cache_list_end(struct cache *cache, const struct kind *kind, uint64_t resource_version)
{
        struct kind_state *state = kind_state_find(cache, kind);
        struct stored *stored;

        if (!state || !state->listing)
                return -ENOMEM;
        list_for_each (stored, &state->objects, of_kind) {
                if (state->lost)
                        break;
                if (stored->list_round == state->list_round || stored->version > resource_version)
                        continue;
                state->lost = remove_deleted(cache, state, stored) < 0;
        }
        state->listing = false;
        if (state->lost)
                return -ENOMEM;
        state->synced = true;
        state->progress = MAX(state->progress, resource_version);
        return 0;
}

void cache_forget(struct cache *cache)
{
        for (size_t i = 0; i < cache->kind_count; i++) {
                struct kind_state *state = cache->kinds[i];
                struct stored *stored;

                list_for_each (stored, &state->objects, of_kind) {
                        /* Its end is told, if there is memory. */
                        (void)stored_wake(cache, stored);
                        remove_stored(cache, state, stored);
                }
                reset_kind(state);
        }
        cache->common_progress = 0;
        tombstones_clear(&cache->tombstones);
}

void cache_advance(struct cache *cache, const struct kind *kind, uint64_t resource_version)
{
        if (!kind)
                cache->common_progress = MAX(cache->common_progress, resource_version);
        for (size_t i = 0; i < cache->kind_count; i++) {
                struct kind_state *state = cache->kinds[i];

                if ((kind ? state->kind == kind : state->synced) && !state->listing && !state->lost)
                        state->progress = MAX(state->progress, resource_version);
        }
}

uint64_t cache_progress(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        return state ? state->progress : 0;
}

bool cache_is_synced(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = kind_state_find(cache, kind);

        return state && state->synced;
}

int cache_deleted(struct cache *cache, const struct kind *kind, struct str uid)
{
        struct kind_state *state = kind_state_find(cache, kind);
        struct stored *stored;
        int r = stored_find_uid(cache, uid, &stored);

        if (r < 0)
                return r;
        if (r > 0 && stored->space->kind == kind)
                return remove_deleted(cache, state, stored);
        return tombstones_add(&cache->tombstones, uid);
}

void cache_free(struct cache *cache)
{
        cache->changed = NULL;
        cache->locks.on_unlock = NULL;
        for (size_t i = 0; i < cache->kind_count; i++) {
                struct kind_state *state = cache->kinds[i];

                while (!list_is_empty(&state->objects))
                        remove_stored(cache, state,
                                      list_entry(state->objects.next, struct stored, of_kind));
                free(state);
        }
        packer_free(cache->packer);
        table_deinit(&cache->by_name);
        table_deinit(&cache->by_uid);
        buckets_deinit(&cache->buckets);
        locks_deinit(&cache->locks);
        tombstones_deinit(&cache->tombstones);
        table_deinit(&cache->spaces);
        free(cache->kinds);
        free(cache);
}
