// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/storage.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/storage_internal.h"

/* A key that changed since the revision that the walk shows: what stood there then. */
struct storage_override {
        RB_ENTRY(storage_override) node;
        struct str name_space, name;
        struct json_doc *doc; /* NULL: it was not there */
        char bytes[];
};

static int override_compare(const struct storage_override *a, const struct storage_override *b)
{
        return storage_key_compare(a->name_space, a->name, b->name_space, b->name);
}

RB_HEAD(override_tree, storage_override);
RB_GENERATE_STATIC(override_tree, storage_override, node, override_compare)

static int position_set(struct storage_list *list, struct str name_space, struct str name)
{
        buffer_clear(&list->position);
        list->namespace_length = 0;
        int r = buffer_append_str(&list->position, name_space);
        if (r == 0)
                r = buffer_append_str(&list->position, name);
        if (r == 0)
                list->namespace_length = name_space.length;
        return r;
}

void storage_list_position(const struct storage_list *list, struct str *ret_namespace,
                           struct str *ret_name)
{
        struct str all = buffer_str(&list->position);

        *ret_namespace = str_slice(all, 0, list->namespace_length);
        *ret_name = str_slice(all, list->namespace_length, all.length);
}

int storage_list_begin(struct storage_list *list, struct storage_type *type, struct str name_space,
                       uint64_t revision, struct str after_namespace, struct str after_name)
{
        struct storage *storage = type->storage;
        int r;

        *list = (struct storage_list){ .type = type, .name_space = name_space };
        if (revision > storage->revision)
                return -ERANGE;
        list->revision = revision ? revision : storage->revision;
        list->seen = list->revision;
        if (list->revision < type->floor)
                return -ESTALE;
        if (after_name.length == 0)
                after_namespace = name_space;
        r = position_set(list, after_namespace, after_name);
        if (r < 0)
                storage_list_end(list);
        return r;
}

void storage_list_end(struct storage_list *list)
{
        struct override_tree tree = { list->overrides };

        while (!RB_EMPTY(&tree)) {
                struct storage_override *override = RB_ROOT(&tree);
                RB_REMOVE(override_tree, &tree, override);
                if (override->doc)
                        json_doc_unref(override->doc);
                free(override);
        }
        if (list->current)
                json_doc_unref(list->current);
        buffer_deinit(&list->position);
        *list = (struct storage_list){};
}

/* Remembers what stood where something changed since the last look. */
static int absorb(struct storage_list *list)
{
        struct override_tree tree = { list->overrides };
        const struct storage_log_event *logged = NULL;
        int r = storage_log_behind(list->type, list->seen, &logged);

        for (; r == 0 && logged; logged = logged->next) {
                const struct storage_event *event = &logged->event;
                size_t length = event->name_space.length + event->name.length;
                struct storage_override key = { .name_space = event->name_space,
                                                .name = event->name };
                struct storage_override *override;

                if (list->name_space.length > 0 && !str_equal(list->name_space, event->name_space))
                        continue;
                if (RB_FIND(override_tree, &tree, &key))
                        continue; /* an earlier change tells what was there */
                override = calloc(1, sizeof(*override) + length);
                if (!override)
                        return -ENOMEM;
                if (event->name_space.length > 0)
                        memcpy(override->bytes, event->name_space.data, event->name_space.length);
                memcpy(override->bytes + event->name_space.length, event->name.data,
                       event->name.length);
                override->name_space = (struct str){ override->bytes, event->name_space.length };
                override->name = (struct str){ override->bytes + event->name_space.length,
                                               event->name.length };
                override->doc = event->before ? json_doc_ref(event->before) : NULL;
                RB_INSERT(override_tree, &tree, override);
                list->overrides = RB_ROOT(&tree);
        }
        if (r == 0)
                list->seen = list->type->storage->revision;
        return r;
}

/* The smaller of the next object and the next override; both are NULL at the end. */
static void find_next(struct storage_list *list, struct storage_object **ret_object,
                      struct storage_override **ret_override)
{
        struct override_tree tree = { list->overrides };
        struct storage_override key = {}, *override;
        struct storage_object *object;

        storage_list_position(list, &key.name_space, &key.name);
        object = storage_object_after(list->type, key.name_space, key.name, false);
        while (object && !object->committed)
                object = storage_object_after(list->type, object->name_space, object->name, false);
        if (object && list->name_space.length > 0 &&
            !str_equal(list->name_space, object->name_space))
                object = NULL;

        override = RB_NFIND(override_tree, &tree, &key);
        if (override && override_compare(override, &key) == 0)
                override = override_tree_RB_NEXT(override);

        if (object && override) {
                int order = storage_key_compare(object->name_space, object->name,
                                                override->name_space, override->name);
                if (order < 0)
                        override = NULL;
                else
                        object = NULL;
        }
        *ret_object = object;
        *ret_override = override;
}

/* Moves to the next object; *ret_doc is borrowed. Returns 1, 0 at the end, or an error. */
static int advance(struct storage_list *list, struct json_doc **ret_doc)
{
        struct storage_object *object;
        struct storage_override *override;
        struct json_doc *doc;
        int r;

        if (list->seen != list->type->storage->revision) {
                r = absorb(list);
                if (r < 0)
                        return r;
        }
        do {
                find_next(list, &object, &override);
                if (!object && !override)
                        return 0;
                doc = override ? override->doc : object->committed;
                r = override ? position_set(list, override->name_space, override->name)
                             : position_set(list, object->name_space, object->name);
                if (r < 0)
                        return r;
        } while (!doc);
        *ret_doc = doc;
        return 1;
}

int storage_list_has_more(struct storage_list *list)
{
        struct buffer position = list->position;
        size_t length = list->namespace_length;
        struct json_doc *doc;
        int r;

        list->position = (struct buffer){};
        list->namespace_length = 0;
        r = buffer_append(&list->position, position.data, position.length);
        list->namespace_length = r < 0 ? 0 : length;
        if (r == 0)
                r = advance(list, &doc);
        buffer_deinit(&list->position);
        list->position = position;
        list->namespace_length = length;
        return r;
}

int storage_list_next(struct storage_list *list, struct json_doc **ret_doc)
{
        struct json_doc *doc;
        int r = advance(list, &doc);

        if (r <= 0)
                return r;
        if (list->current)
                json_doc_unref(list->current);
        list->current = json_doc_ref(doc);
        *ret_doc = list->current;
        return 1;
}
