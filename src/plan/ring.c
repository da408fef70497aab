// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plan/set.h"

int ring_init(struct ring *ring, size_t size)
{
        ring->entries = calloc(size, sizeof(*ring->entries));
        if (!ring->entries)
                return -ENOMEM;
        ring->size = size;
        return 0;
}

static void clear(struct ring_entry *entry)
{
        free(entry->key);
        free(entry->text);
        *entry = (struct ring_entry){ 0 };
}

void ring_deinit(struct ring *ring)
{
        for (size_t i = 0; i < ring->size; i++)
                clear(&ring->entries[i]);
        free(ring->entries);
        *ring = (struct ring){ 0 };
}

static const char *action_name(enum action_type type)
{
        static const char *const names[] = {
                [ACTION_CREATE] = "create",
                [ACTION_PATCH] = "patch",
                [ACTION_PATCH_STATUS] = "patch status",
                [ACTION_DELETE] = "delete",
                [ACTION_BIND] = "bind",
                [ACTION_FINALIZE] = "finalize",
        };

        return names[type];
}

static int write_text(const struct plan *plan, struct buffer *out)
{
        enum { ACTIONS_SHOWN = 32 };
        struct json_writer writer;
        struct str line, rest = buffer_str(&plan->notes);

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_array(&writer, "notes");
        while (rest.length) {
                str_cut(rest, '\n', &line, &rest);
                json_write_string(&writer, line);
        }
        json_end_array(&writer);
        json_field_array(&writer, "actions");
        for (size_t i = 0; i < MIN(plan->count, (size_t)ACTIONS_SHOWN); i++) {
                const struct action *action = &plan->actions[i];

                json_begin_object(&writer);
                json_field_string(&writer, "do", str_from(action_name(action->type)));
                json_field_string(&writer, "kind", action->kind->kind);
                json_field_string(&writer, "namespace", action->namespace);
                json_field_string(&writer, "name", action->name);
                json_end_object(&writer);
        }
        json_end_array(&writer);
        json_field_int(&writer, "actionCount", (int64_t)plan->count);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

struct ring_entry *ring_add(struct ring *ring, struct controllers *set, const struct key *key,
                            const struct plan *plan)
{
        struct ring_entry *entry = &ring->entries[ring->next];
        _cleanup_buffer_ struct buffer key_text = { 0 }, text = { 0 };
        size_t length;

        if (buffer_printf(&key_text, "%.*s/%.*s", STR_FORMAT(key_namespace(key)),
                          STR_FORMAT(key_name(key))) < 0 ||
            write_text(plan, &text) < 0)
                return NULL;
        clear(entry);
        if (buffer_steal(&key_text, &entry->key, &length) < 0 ||
            buffer_steal(&text, &entry->text, &length) < 0) {
                clear(entry);
                return NULL;
        }
        entry->realtime_ns = set->now.realtime_ns;
        entry->controller = key->controller;
        ring->next = (ring->next + 1) % ring->size;
        return entry;
}

int ring_write(const struct ring *ring, struct str namespace, struct str name, struct buffer *out)
{
        for (size_t i = 0; i < ring->size; i++) {
                const struct ring_entry *entry = &ring->entries[(ring->next + i) % ring->size];
                char time[RFC3339_MICRO_SIZE];
                struct str entry_namespace, entry_name;
                struct json_writer writer;
                int r;

                if (!entry->key)
                        continue;
                str_cut(str_from(entry->key), '/', &entry_namespace, &entry_name);
                if (name.data &&
                    (!str_equal(entry_namespace, namespace) || !str_equal(entry_name, name)))
                        continue;
                rfc3339_format_micro(entry->realtime_ns, time);
                json_writer_init(&writer, out);
                json_begin_object(&writer);
                json_field_string(&writer, "time", str_from(time));
                json_field_string(&writer, "controller", str_from(entry->controller->name));
                json_field_string(&writer, "key", str_from(entry->key));
                json_field_int(&writer, "outcome", entry->outcome);
                json_field_raw(&writer, "plan", str_from(entry->text));
                json_end_object(&writer);
                r = json_writer_finish(&writer);
                if (r == 0)
                        r = buffer_append_char(out, '\n');
                if (r < 0)
                        return r;
        }
        return 0;
}
