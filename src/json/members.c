// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/random.h"
#include "json/index.h"

enum { SCAN_MEMBERS = 16 };

uint64_t json_key_hash(uint64_t seed, struct str key)
{
        uint64_t hash = seed ^ key.length;

        for (size_t i = 0; i < key.length; i += sizeof(uint64_t)) {
                uint64_t word = 0;
                memcpy(&word, key.data + i, MIN(sizeof(word), key.length - i));
                unsigned __int128 product =
                        (unsigned __int128)(hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ seed;
        }
        return hash ^ (hash >> 32);
}

void json_members_init(struct json_members *members, struct json_value object)
{
        *members = (struct json_members){ .object = object };
        if (json_type(object) != JSON_OBJECT)
                return;

        size_t count = json_count(object), capacity = 64;
        if (count <= SCAN_MEMBERS)
                return;
        while (capacity < count * 2)
                capacity *= 2;
        members->cells = calloc(capacity, sizeof(*members->cells));
        if (!members->cells)
                return;
        members->mask = (uint32_t)(capacity - 1);
        random_bytes(&members->seed, sizeof(members->seed));

        struct json_view view = doc_view(object.doc);
        uint32_t at = object.node + 2, end = object.node + slot_size(view.slots[object.node]);
        while (at < end) {
                uint64_t cell = json_key_hash(members->seed, view_string(&view, at));
                while (members->cells[cell & members->mask])
                        cell++;
                members->cells[cell & members->mask] = at;
                at += slot_span(&view.slots[at]);
                at += slot_span(&view.slots[at]);
        }
}

void json_members_deinit(struct json_members *members)
{
        free(members->cells);
        members->cells = NULL;
}

struct json_value json_members_find(const struct json_members *members, struct str key)
{
        if (!members->cells)
                return json_member(members->object, key);

        struct json_view view = doc_view(members->object.doc);
        uint64_t cell = json_key_hash(members->seed, key);
        for (uint32_t at; (at = members->cells[cell & members->mask]); cell++)
                if (str_equal(view_string(&view, at), key))
                        return (struct json_value){ members->object.doc,
                                                    at + slot_span(&view.slots[at]) };
        return (struct json_value){};
}
