// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "plan/cache_internal.h"
#include "json/writer.h"

int cache_set_awake(struct cache *cache, size_t awake)
{
        cache->awake_most = awake;
        return cache->packer ? 0 : packer_new(&cache->packer);
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

int entry_fill(struct cache_entry *entry, const struct kind *kind, struct json_doc *doc)
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

void entry_release(struct cache_entry *entry)
{
        free(entry->typed);
        json_doc_unref(entry->doc);
}

int stored_attach(struct cache *cache, struct stored *stored, const struct cache_entry *entry)
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

void stored_detach(struct cache *cache, struct stored *stored)
{
        struct awake *awake = stored->awake;

        entry_release(&awake->entry);
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
                r = entry_fill(&entry, stored->space->kind, doc);
        if (r < 0)
                return r;
        entry.locked = locks_find(&cache->locks, stored->space->kind, entry.meta.namespace,
                                  entry.meta.name);
        r = stored_attach(cache, stored, &entry);
        if (r < 0)
                entry_release(&entry);
        return r;
}

struct cache_entry *stored_wake(const struct cache *constant, struct stored *stored)
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
        stored_detach(cache, stored);
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
