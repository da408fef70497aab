// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "plan/executor.h"

enum { FIXUPS_MAX = 8, NOTES_MAX = 4096 };

void plan_init(struct plan *plan, struct arena *arena, uint64_t seed)
{
        *plan = (struct plan){ .arena = arena, .random = seed };
}

void plan_deinit(struct plan *plan)
{
        buffer_deinit(&plan->notes);
        buffer_deinit(&plan->body);
        *plan = (struct plan){ 0 };
}

void plan_fail(struct plan *plan, int error)
{
        if (plan->failure == 0)
                plan->failure = error;
}

struct json_writer *plan_body(struct plan *plan)
{
        buffer_clear(&plan->body);
        plan->version = 0;
        plan->fixups = NULL;
        plan->fixup_count = 0;
        json_writer_init(&plan->writer, &plan->body);
        return &plan->writer;
}

void plan_write_result(struct plan *plan, int action, enum action_field field)
{
        assert(plan->failure || (action >= 0 && (size_t)action < plan->count));
        if (!plan->fixups)
                plan->fixups = arena_new(plan->arena, struct action_fixup, FIXUPS_MAX);
        if (!plan->fixups)
                plan_fail(plan, -ENOMEM);
        json_write_string(&plan->writer, STR_EMPTY);
        if (plan->failure || plan->writer.failure)
                return;
        assert(plan->fixup_count < FIXUPS_MAX);
        plan->fixups[plan->fixup_count++] = (struct action_fixup){ .offset = plan->body.length - 1,
                                                                   .action = action,
                                                                   .field = field };
}

static struct action *append(struct plan *plan)
{
        if (plan->failure)
                return NULL;
        if (plan->count == PLAN_ACTIONS_MAX) {
                plan_fail(plan, -E2BIG);
                return NULL;
        }
        if (plan->count == plan->capacity) {
                size_t capacity = plan->capacity ? 2 * plan->capacity : 8;
                struct action *actions = arena_new(plan->arena, struct action, capacity);

                if (!actions) {
                        plan_fail(plan, -ENOMEM);
                        return NULL;
                }
                if (plan->count)
                        memcpy(actions, plan->actions, plan->count * sizeof(*actions));
                plan->actions = actions;
                plan->capacity = capacity;
        }
        return &plan->actions[plan->count++];
}

/* Takes the open body into a new action. The strings of `action` are copied: the cache may change
 * before the plan has run. */
static int finish(struct plan *plan, struct action action)
{
        struct action *slot;
        int r = json_writer_finish(&plan->writer);

        assert(action.after == ACTION_NONE || plan->failure ||
               (action.after >= 0 && (size_t)action.after < plan->count));
        if (r < 0)
                plan_fail(plan, r);
        action.namespace = arena_str(plan->arena, action.namespace);
        action.name = arena_str(plan->arena, action.name);
        action.uid = arena_str(plan->arena, action.uid);
        action.body = arena_str(plan->arena, buffer_str(&plan->body));
        action.version = plan->version;
        action.subject = plan->subject;
        if (!action.namespace.data || !action.name.data || !action.uid.data || !action.body.data)
                plan_fail(plan, -ENOMEM);
        slot = append(plan);
        if (!slot)
                return ACTION_NONE;
        action.fixups = plan->fixups;
        action.fixup_count = plan->fixup_count;
        plan->fixups = NULL;
        plan->fixup_count = 0;
        *slot = action;
        return (int)(slot - plan->actions);
}

static void write_version(struct json_writer *writer, const char *key, uint64_t version)
{
        char text[24];
        int length = snprintf(text, sizeof(text), "%" PRIu64, version);

        json_field_string(writer, key, (struct str){ text, (size_t)length });
}

struct json_writer *plan_patch_body(struct plan *plan, const struct object_meta *meta,
                                    enum plan_expect expect)
{
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_object(writer, "metadata");
        if (expect != EXPECT_NOTHING)
                json_field_string(writer, "uid", meta->uid);
        if (expect == EXPECT_VERSION) {
                write_version(writer, "resourceVersion", meta->resource_version);
                plan->version = meta->resource_version;
        }
        return writer;
}

int plan_create(struct plan *plan, const struct kind *kind, struct str namespace, struct str name,
                int after)
{
        return finish(plan, (struct action){ .type = ACTION_CREATE,
                                             .kind = kind,
                                             .namespace = namespace,
                                             .name = name,
                                             .after = after });
}

static int finish_patch(struct plan *plan, enum action_type type, const struct kind *kind,
                        const struct object_meta *meta, struct json_value before, int after)
{
        json_end_object(&plan->writer);
        return finish(plan, (struct action){ .type = type,
                                             .kind = kind,
                                             .namespace = meta->namespace,
                                             .name = meta->name,
                                             .uid = meta->uid,
                                             .before = before,
                                             .after = after });
}

int plan_patch(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
               struct json_value before, int after)
{
        return finish_patch(plan, ACTION_PATCH, kind, meta, before, after);
}

int plan_patch_status(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
                      struct json_value before, int after)
{
        return finish_patch(plan, ACTION_PATCH_STATUS, kind, meta, before, after);
}

int plan_patch_created_status(struct plan *plan, int created, int after)
{
        const struct action *create;

        if (plan->failure)
                return ACTION_NONE;
        create = &plan->actions[created];
        json_end_object(&plan->writer);
        return finish(plan, (struct action){ .type = ACTION_PATCH_STATUS,
                                             .kind = create->kind,
                                             .namespace = create->namespace,
                                             .name = create->name,
                                             .after = after });
}

int plan_delete(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
                enum plan_expect expect, enum propagation propagation, int64_t grace_seconds,
                int after)
{
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("DeleteOptions"));
        if (expect != EXPECT_NOTHING) {
                json_field_object(writer, "preconditions");
                json_field_string(writer, "uid", meta->uid);
                if (expect == EXPECT_VERSION) {
                        write_version(writer, "resourceVersion", meta->resource_version);
                        plan->version = meta->resource_version;
                }
                json_end_object(writer);
        }
        if (propagation != PROPAGATION_DEFAULT)
                json_field_string(writer, "propagationPolicy",
                                  propagation == PROPAGATION_FOREGROUND ? STR("Foreground")
                                                                        : STR("Background"));
        if (grace_seconds >= 0)
                json_field_int(writer, "gracePeriodSeconds", grace_seconds);
        json_end_object(writer);
        return finish(plan, (struct action){ .type = ACTION_DELETE,
                                             .kind = kind,
                                             .namespace = meta->namespace,
                                             .name = meta->name,
                                             .uid = meta->uid,
                                             .after = after });
}

int plan_bind(struct plan *plan, const struct object_meta *pod, struct str node)
{
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Binding"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", pod->name);
        json_field_string(writer, "namespace", pod->namespace);
        json_field_string(writer, "uid", pod->uid);
        json_end_object(writer);
        json_field_object(writer, "target");
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Node"));
        json_field_string(writer, "name", node);
        json_end_object(writer);
        json_end_object(writer);
        return finish(plan, (struct action){ .type = ACTION_BIND,
                                             .kind = &kind_pod,
                                             .namespace = pod->namespace,
                                             .name = pod->name,
                                             .uid = pod->uid,
                                             .after = ACTION_NONE });
}

int plan_finalize(struct plan *plan, const struct object_meta *namespace)
{
        return finish(plan, (struct action){ .type = ACTION_FINALIZE,
                                             .kind = &kind_namespace,
                                             .name = namespace->name,
                                             .after = ACTION_NONE });
}

void plan_event(struct plan *plan, const struct kind *kind, const struct object_meta *about,
                const char *type, const char *reason, uint64_t now_ns, int after,
                const char *format, ...)
{
        char message[1024], name[280], time[RFC3339_SECONDS_SIZE], api_version[128];
        struct json_writer *writer = plan_body(plan);
        struct str namespace = about->namespace.length ? about->namespace : STR("default");
        va_list arguments;
        int length, action;

        va_start(arguments, format);
        vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        plan->random += UINT64_C(0x9e3779b97f4a7c15);
        length = snprintf(name, sizeof(name), "%.*s.%016" PRIx64,
                          (int)MIN(about->name.length, (size_t)230), about->name.data,
                          plan->random ^ now_ns);
        rfc3339_format_seconds(now_ns, time);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Event"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", (struct str){ name, (size_t)length });
        json_field_string(writer, "namespace", namespace);
        json_end_object(writer);
        json_field_object(writer, "involvedObject");
        json_field_string(writer, "apiVersion", kind_api_version(kind, api_version));
        json_field_string(writer, "kind", kind->kind);
        if (about->namespace.length)
                json_field_string(writer, "namespace", about->namespace);
        json_field_string(writer, "name", about->name);
        json_field_string(writer, "uid", about->uid);
        json_end_object(writer);
        json_field_string(writer, "type", str_from(type));
        json_field_string(writer, "reason", str_from(reason));
        json_field_string(writer, "message", str_from(message));
        json_field_string(writer, "firstTimestamp", str_from(time));
        json_field_string(writer, "lastTimestamp", str_from(time));
        json_field_int(writer, "count", 1);
        json_field_object(writer, "source");
        json_field_string(writer, "component", STR("agent-sandbox-controller"));
        json_end_object(writer);
        json_field_string(writer, "reportingComponent", STR("agent-sandbox-controller"));
        json_field_string(writer, "reportingInstance", STR(""));
        json_end_object(writer);
        action = plan_create(plan, &kind_event, namespace, (struct str){ name, (size_t)length },
                             after);
        if (action != ACTION_NONE)
                plan->actions[action].best_effort = true;
}

void plan_come_back(struct plan *plan, uint64_t realtime_ns)
{
        if (plan->come_back_ns == 0 || realtime_ns < plan->come_back_ns)
                plan->come_back_ns = realtime_ns;
}

void plan_wait(struct plan *plan, const struct kind *kind, struct str namespace, struct str name)
{
        if (plan->wait_count < PLAN_WAITS_MAX)
                plan->waits[plan->wait_count++] = (struct plan_wait){ kind, namespace, name };
}

void plan_note(struct plan *plan, const char *format, ...)
{
        va_list arguments;

        if (plan->notes.length > NOTES_MAX)
                return;
        va_start(arguments, format);
        /* Notes are a help: without memory they are left out. */
        (void)buffer_vprintf(&plan->notes, format, arguments);
        va_end(arguments);
        (void)buffer_append_char(&plan->notes, '\n');
}

uint64_t plan_random(struct plan *plan)
{
        uint64_t x = plan->random += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

void plan_name_suffix(struct plan *plan, char text[static 6])
{
        static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
        uint64_t random = plan_random(plan);

        for (size_t i = 0; i < 5; i++) {
                text[i] = alphabet[random % (sizeof(alphabet) - 1)];
                random /= sizeof(alphabet) - 1;
        }
        text[5] = '\0';
}

static struct str result_field(struct json_doc *const *objects, size_t count,
                               const struct action_fixup *fixup)
{
        struct json_value meta;

        if (fixup->action < 0 || (size_t)fixup->action >= count || !objects[fixup->action])
                return STR_EMPTY;
        meta = json_get(json_root(objects[fixup->action]), "metadata");
        return json_string(fixup->field == ACTION_FIELD_UID ? json_get(meta, "uid")
                                                            : json_get(meta, "resourceVersion"));
}

int action_body(const struct action *action, struct json_doc *const *objects, size_t count,
                struct buffer *out)
{
        size_t from = 0;
        int r;

        for (size_t i = 0; i < action->fixup_count; i++) {
                const struct action_fixup *fixup = &action->fixups[i];
                struct str field = result_field(objects, count, fixup);

                if (field.length == 0)
                        return -ENOENT;
                for (size_t j = 0; j < field.length; j++) {
                        if ((unsigned char)field.data[j] < ' ' || field.data[j] == '"' ||
                            field.data[j] == '\\')
                                return -ENOENT;
                }
                r = buffer_append_str(out, str_slice(action->body, from, fixup->offset));
                if (r == 0)
                        r = buffer_append_str(out, field);
                if (r < 0)
                        return r;
                from = fixup->offset;
        }
        return buffer_append_str(out, str_slice(action->body, from, action->body.length));
}
