// SPDX-License-Identifier: Apache-2.0
#include "plan/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/project.h"
#include "plan/bucket.h"
#include "plan/lock.h"
#include "plan/pack.h"
#include "plan/table.h"
#include "plan/tombstone.h"
#include "json/writer.h"

enum { KINDS_MAX = 1024 };

/* An object whose document is there. */
struct awake {
        struct cache_entry entry;
        struct stored *stored;
        struct list used; /* the last used one last */
};

/* Objects of one kind in one namespace know both by this. */
struct space {
        struct table_node node;
        const struct kind *kind;
        size_t users, length;
        char text[];
};

struct stored {
        struct awake *awake;   /* NULL: at rest */
        struct packed *packed; /* NULL: not packed since it changed */
        struct space *space;
        struct table_node by_name, by_uid;
        struct list of_kind;
        struct link *links;
        uint64_t list_round; /* the kind's list round in which it was last reported */
        uint64_t digest;
        uint64_t version, seen_ns, owners_version; /* as in the entry */
};

struct kind_state {
        const struct kind *kind;
        struct list objects;
        size_t count;
        uint64_t list_round;
        uint64_t progress; /* how far its watch has come */
        bool synced;
        bool listing;
        bool lost;    /* something that was told since its last list began */
        bool dropped; /* nobody feeds it any more */
};

struct index {
        const struct kind *kind;
        bool by_namespace;
        cache_keys_fn keys;
};

struct cache {
        uint64_t seed;
        struct table by_name, by_uid, spaces;
        struct buckets buckets;
        struct tombstones tombstones;
        struct locks locks;
        struct packer *packer; /* NULL: nothing rests */
        struct list used;      /* of struct awake */
        size_t awake, awake_most;
        size_t incomplete; /* entries that are */
        bool failed;
        uint64_t (*digest)(const struct cache_entry *entry);
        struct kind_state **kinds;
        size_t kind_count, kind_capacity;
        uint64_t common_progress; /* of all kinds that are synced, as cache_advance() was told */
        struct index indexes[CACHE_INDEXES_MAX];
        int index_count;
        cache_changed_fn changed;
        void *changed_context;
};

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

static struct kind_state *find_kind(const struct cache *cache, const struct kind *kind)
{
        for (size_t i = 0; i < cache->kind_count; i++) {
                if (cache->kinds[i]->kind == kind)
                        return cache->kinds[i];
        }
        return NULL;
}

static struct kind_state *get_kind(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = find_kind(cache, kind);

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

void cache_drop_kind(struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = find_kind(cache, kind);

        if (!state)
                return;
        assert(state->count == 0);
        state->dropped = true;
        state->synced = state->listing = state->lost = false;
        state->progress = 0;
}

bool cache_is_fed(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = find_kind(cache, kind);

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

/* ---- what is awake and what rests ---- */

int cache_set_awake(struct cache *cache, size_t awake)
{
        cache->awake_most = awake;
        return cache->packer ? 0 : packer_new(&cache->packer);
}

void cache_set_digest(struct cache *cache, uint64_t (*digest)(const struct cache_entry *entry))
{
        cache->digest = digest;
}

bool cache_is_short(const struct cache *cache)
{
        return cache->failed;
}

bool cache_has_failed(struct cache *cache)
{
        bool failed = cache->failed;

        cache->failed = false;
        return failed || cache->incomplete > 0;
}

/* Fills what comes from the document. Takes a reference. */
static int fill_entry(struct cache_entry *entry, const struct kind *kind, struct json_doc *doc)
{
        struct owner_reference owner;

        entry->typed = NULL;
        if (kind->typed_size) {
                entry->typed = malloc(kind->typed_size);
                if (!entry->typed)
                        return -ENOMEM;
        }
        entry->kind = kind;
        entry->doc = json_doc_ref(doc);
        object_meta_read(json_root(doc), &entry->meta);
        entry->controller = object_meta_controller(&entry->meta, &owner) ? owner.uid : STR_EMPTY;
        if (entry->typed)
                kind->read(json_root(doc), entry->typed);
        return 0;
}

static void release_entry(struct cache_entry *entry)
{
        free(entry->typed);
        json_doc_unref(entry->doc);
}

/* Has the stored object keep what `entry` is, which is taken over. */
static int attach(struct cache *cache, struct stored *stored, const struct cache_entry *entry)
{
        struct awake *awake = malloc(sizeof(*awake));

        if (!awake)
                return -ENOMEM;
        awake->entry = *entry;
        awake->stored = stored;
        list_append(&cache->used, &awake->used);
        cache->awake++;
        stored->awake = awake;
        return 0;
}

static void detach(struct cache *cache, struct stored *stored)
{
        struct awake *awake = stored->awake;

        release_entry(&awake->entry);
        list_remove(&awake->used);
        cache->awake--;
        stored->awake = NULL;
        free(awake);
}

static int unpack(struct cache *cache, struct stored *stored)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct cache_entry entry = { .seen_ns = stored->seen_ns,
                                     .owners_version = stored->owners_version };
        int r = packer_unpack(stored->packed, &text);

        if (r == 0)
                r = json_doc_from_buffer(&text, &doc);
        if (r == 0)
                r = fill_entry(&entry, stored->space->kind, doc);
        if (r < 0)
                return r;
        entry.locked = locks_find(&cache->locks, stored->space->kind, entry.meta.namespace,
                                  entry.meta.name);
        r = attach(cache, stored, &entry);
        if (r < 0)
                release_entry(&entry);
        return r;
}

/* Looking up changes the cache only where nobody can see it. NULL without memory. */
static struct cache_entry *wake(const struct cache *constant, struct stored *stored)
{
        struct cache *cache = (struct cache *)(uintptr_t)constant;

        if (!stored->awake && unpack(cache, stored) < 0) {
                cache->failed = true;
                return NULL;
        }
        if (cache->packer) {
                list_remove(&stored->awake->used);
                list_append(&cache->used, &stored->awake->used);
        }
        return &stored->awake->entry;
}

/* Returns whether it rests now. What is being written, or is incomplete, stays awake. */
static bool rest(struct cache *cache, struct stored *stored)
{
        const struct cache_entry *entry = &stored->awake->entry;

        if (entry->locked || entry->incomplete ||
            (!stored->packed && packer_pack(cache->packer, stored->space->kind,
                                            json_doc_text(entry->doc), &stored->packed) < 0))
                return false;
        detach(cache, stored);
        return true;
}

void cache_rest(struct cache *cache)
{
        size_t looks = cache->packer ? cache->awake : 0;

        while (cache->awake > cache->awake_most && looks-- > 0) {
                struct awake *awake = list_entry(cache->used.next, struct awake, used);

                if (rest(cache, awake->stored))
                        continue;
                list_remove(&awake->used);
                list_append(&cache->used, &awake->used);
        }
}

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

static struct str space_namespace(const struct space *space)
{
        return (struct str){ space->text, space->length };
}

static bool is_in(const struct stored *stored, struct str namespace)
{
        return str_equal(space_namespace(stored->space), namespace);
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
                size_t count;

                if (index->kind && index->kind != stored->space->kind)
                        continue;
                count = index->keys(entry, keys);
                for (size_t j = 0; j < count && r == 0; j++)
                        r = buckets_link(&cache->buckets, &stored->links, &old, i, namespace,
                                         keys[j], stored);
        }
        buckets_unlink(&cache->buckets, old);
        set_incomplete(cache, entry, r < 0);
        stored->digest = cache->digest ? cache->digest(entry) : 0;
        return r;
}

/* ---- looking up ---- */

static uint64_t name_key(const struct cache *cache, const struct kind *kind, struct str namespace,
                         struct str name)
{
        return table_hash(table_hash(cache->seed ^ (uint64_t)(uintptr_t)kind, namespace), name);
}

/* Returns 1, 0 (there is none), or -ENOMEM: there may be one, which cannot be looked at. */
static int find_name(const struct cache *cache, const struct kind *kind, struct str namespace,
                     struct str name, struct stored **ret_stored)
{
        struct table_node *node =
                table_find(&cache->by_name, name_key(cache, kind, namespace, name));
        int r = 0;

        for (; node; node = table_find_next(node)) {
                struct stored *stored = container_of(node, struct stored, by_name);
                const struct cache_entry *entry;

                if (stored->space->kind != kind || !is_in(stored, namespace))
                        continue;
                entry = wake(cache, stored);
                if (!entry) {
                        r = -ENOMEM;
                } else if (str_equal(entry->meta.name, name)) {
                        *ret_stored = stored;
                        return 1;
                }
        }
        return r;
}

/* The same. */
static int find_uid(const struct cache *cache, struct str uid, struct stored **ret_stored)
{
        struct table_node *node = table_find(&cache->by_uid, table_hash(cache->seed, uid));
        int r = 0;

        for (; node; node = table_find_next(node)) {
                struct stored *stored = container_of(node, struct stored, by_uid);
                const struct cache_entry *entry = wake(cache, stored);

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

        return find_name(cache, kind, namespace, name, &stored) > 0 ? &stored->awake->entry : NULL;
}

const struct cache_entry *cache_get_uid(const struct cache *cache, struct str uid)
{
        struct stored *stored;

        return find_uid(cache, uid, &stored) > 0 ? &stored->awake->entry : NULL;
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
        struct kind_state *state = find_kind(cache, kind);

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
                if ((iterator->kind && stored->space->kind != iterator->kind) ||
                    (iterator->namespace.data && !is_in(stored, iterator->namespace)))
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
        iterator->entry = wake(iterator->cache, iterator->at);
        return iterator->entry;
}

const struct cache_entry *cache_look_at(const struct cache *cache, void *at)
{
        return wake(cache, at);
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
                        const struct cache_entry *entry = wake(cache, stored);

                        if (entry)
                                each(context, NULL, entry);
                        cache_rest(cache);
                }
        }
}

size_t cache_count(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = find_kind(cache, kind);

        return state ? state->count : 0;
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

/* ---- locks ---- */

int cache_lock(struct cache *cache, const struct kind *kind, struct str namespace, struct str name,
               void *owner)
{
        int r = locks_take(&cache->locks, kind, namespace, name, owner);
        struct stored *stored;

        /* What cannot be looked at now is locked when it can. */
        if (r == 0 && find_name(cache, kind, namespace, name, &stored) > 0)
                stored->awake->entry.locked = true;
        return r;
}

void cache_unlock(struct cache *cache, const struct kind *kind, struct str namespace,
                  struct str name)
{
        struct lock *lock = locks_find(&cache->locks, kind, namespace, name);
        struct stored *stored;

        if (find_name(cache, kind, namespace, name, &stored) > 0)
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

        if (find_name(cache, kind, namespace, name, &stored) == 0)
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
                detach(cache, stored);
        }
        packer_drop(stored->packed);
        put_space(cache, stored->space);
        free(stored);
}

static int add_tables(struct cache *cache, struct stored *stored, const struct object_meta *meta)
{
        int r = table_add(&cache->by_name, &stored->by_name,
                          name_key(cache, stored->space->kind, meta->namespace, meta->name));

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
        int r = stored ? fill_entry(&entry, state->kind, doc) : -ENOMEM;

        if (r < 0)
                goto fail_stored;
        entry.owners_version = entry.meta.resource_version;
        entry.locked =
                locks_find(&cache->locks, state->kind, entry.meta.namespace, entry.meta.name);
        stored->seen_ns = monotonic_ns;
        stored->version = stored->owners_version = entry.owners_version;
        stored->list_round = state->list_round;
        stored->space = get_space(cache, state->kind, entry.meta.namespace);
        r = stored->space ? attach(cache, stored, &entry) : -ENOMEM;
        if (r < 0)
                goto fail_entry;
        r = add_tables(cache, stored, &entry.meta);
        if (r < 0) {
                detach(cache, stored);
                goto fail_space;
        }
        list_append(&state->objects, &stored->of_kind);
        state->count++;
        r = reindex(cache, stored);
        tell(cache, NULL, &stored->awake->entry);
        return r < 0 ? r : 1;

fail_entry:
        release_entry(&entry);
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
        int r = fill_entry(&after, before.kind, doc);

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
        release_entry(&before);
        return r < 0 ? r : 1;
}

/* Returns 0, or -ENOMEM: it stays, as a late event would bring it back. */
static int remove_deleted(struct cache *cache, struct kind_state *state, struct stored *stored)
{
        const struct cache_entry *entry = wake(cache, stored);
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
        r = find_name(cache, state->kind, meta.namespace, meta.name, &stored);
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
        struct kind_state *state = find_kind(cache, kind);

        if (state)
                state->lost = true;
}

int cache_list_end(struct cache *cache, const struct kind *kind, uint64_t resource_version)
{
        struct kind_state *state = find_kind(cache, kind);
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
        struct kind_state *state = find_kind(cache, kind);

        return state ? state->progress : 0;
}

bool cache_is_synced(const struct cache *cache, const struct kind *kind)
{
        struct kind_state *state = find_kind(cache, kind);

        return state && state->synced;
}

int cache_deleted(struct cache *cache, const struct kind *kind, struct str uid)
{
        struct kind_state *state = find_kind(cache, kind);
        struct stored *stored;
        int r = find_uid(cache, uid, &stored);

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
