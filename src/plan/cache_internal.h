// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/bucket.h"
#include "plan/cache.h"
#include "plan/lock.h"
#include "plan/pack.h"
#include "plan/table.h"
#include "plan/tombstone.h"

/* What the files of the cache share: cache.c feeds it, cache_look.c looks up, cache_rest.c packs
 * what was not used lately. */

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

/* One object. */
struct stored {
        /* First what cache_peek() reads, which goes through thousands. */
        struct space *space;
        uint64_t digest;
        struct awake *awake;   /* NULL: at rest */
        struct packed *packed; /* NULL: not packed since it changed */
        struct table_node by_name, by_uid;
        struct list of_kind;
        struct link *links;
        uint64_t list_round; /* the kind's list round in which it was last reported */
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
        cache_weigh_fn weigh; /* NULL: nothing is added up */
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

/* ---- cache_rest.c ---- */

/* Fills what comes from the document. Takes a reference. Returns 0 or -ENOMEM. */
int entry_fill(struct cache_entry *entry, const struct kind *kind, struct json_doc *doc);
void entry_release(struct cache_entry *entry);

/* Has the stored object keep what `entry` is, which is taken over. Returns 0 or -ENOMEM. */
int stored_attach(struct cache *cache, struct stored *stored, const struct cache_entry *entry);
void stored_detach(struct cache *cache, struct stored *stored);

/* Looking up changes the cache only where nobody can see it. NULL without memory. */
struct cache_entry *stored_wake(const struct cache *cache, struct stored *stored);

/* ---- cache_look.c ---- */

struct kind_state *kind_state_find(const struct cache *cache, const struct kind *kind);

/* The hash under which an object stands in `by_name`. */
uint64_t stored_name_hash(const struct cache *cache, const struct kind *kind, struct str namespace,
                          struct str name);

/* The object, awake. Returns 1, 0 (there is none), or -ENOMEM: there may be one, which cannot be
 * looked at. */
int stored_find(const struct cache *cache, const struct kind *kind, struct str namespace,
                struct str name, struct stored **ret_stored);
int stored_find_uid(const struct cache *cache, struct str uid, struct stored **ret_stored);

static inline struct str space_namespace(const struct space *space)
{
        return (struct str){ space->text, space->length };
}

static inline bool stored_is_in(const struct stored *stored, struct str namespace)
{
        return str_equal(space_namespace(stored->space), namespace);
}
