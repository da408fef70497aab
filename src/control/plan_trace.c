// SPDX-License-Identifier: Apache-2.0
#include "control/plan_trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "kinds/kind.h"
#include "kinds/names.h"

struct plan_trace {
        struct plan_observer observer;
        struct tracer *tracer;
};

/* All strings below are in the plan's arena. */

struct subject {
        const struct kind *kind;
        struct str namespace, name, created_by;
        struct trace_context parent, context;
        uint64_t end_ns; /* monotonic, when its last write was answered; 0: none was sent */
        int status;      /* of the first write that failed */
};

struct write {
        const struct action *action;
        struct subject *subject;
        struct trace_context context;
        uint64_t sent_ns; /* monotonic; 0: not on its way */
};

struct followed {
        struct plan_trace *trace;
        struct str controller;
        uint64_t begun_realtime_ns, begun_ns;
        struct subject *subjects;
        size_t subject_count;
        struct write *writes;
};

/* One reading of both clocks for all spans of a plan, so that none ends after the one it is part
 * of. */
static uint64_t realtime(const struct followed *followed, uint64_t monotonic_ns)
{
        return followed->begun_realtime_ns + (monotonic_ns - followed->begun_ns);
}

/* ---- the trace of an object ---- */

/* Whom the object was made for: a Sandbox's claim. */
static struct str first_cause(const struct cache_entry *object)
{
        struct owner_reference owner;

        if (object_meta_controller(&object->meta, &owner) &&
            str_equal(owner.group, kind_sandbox_claim.group) &&
            str_equal(owner.kind, kind_sandbox_claim.kind))
                return owner.uid;
        return object->meta.uid;
}

static void find_parent(const struct cache_entry *object, struct arena *arena,
                        struct trace_context *ret_parent)
{
        struct str annotation = object_meta_annotation(&object->meta, ANNOTATION_TRACE_CONTEXT);

        if (annotation.length > 0 &&
            trace_context_parse_annotation(annotation, arena, ret_parent) == 0)
                return;
        if (trace_context_derive(first_cause(object), ret_parent) < 0)
                *ret_parent = (struct trace_context){ 0 };
}

/* As upstream: other values of the label are nobody's business. */
static struct str created_by(const struct cache_entry *object)
{
        static const char *const known[] = { "go-client", "python-client", "controller" };
        struct str label = object_meta_label(&object->meta, LABEL_CREATED_BY);

        if (label.length == 0)
                return STR_EMPTY;
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(label, str_from(known[i])))
                        return str_from(known[i]);
        return STR("unknown");
}

static int fill_subject(struct plan_trace *trace, const struct cache_entry *object,
                        struct arena *arena, struct subject *ret_subject)
{
        struct subject subject = {
                .kind = object->kind,
                .namespace = arena_str(arena, object->meta.namespace),
                .name = arena_str(arena, object->meta.name),
                .created_by = created_by(object),
        };

        if (!subject.namespace.data || !subject.name.data)
                return -ENOMEM;
        find_parent(object, arena, &subject.parent);
        tracer_begin(trace->tracer, &subject.parent, &subject.context);
        *ret_subject = subject;
        return 0;
}

/* ---- the observer ---- */

/* Actions of one subject stand together. */
static int fill_subjects(struct plan_trace *trace, const struct observed_plan *plan,
                         struct arena *arena, struct followed *followed)
{
        const struct cache_entry *last = NULL;

        for (size_t i = 0; i < plan->count; i++) {
                const struct action *action = &plan->actions[i];
                const struct cache_entry *object = action->subject ? action->subject : plan->object;
                struct write *write = &followed->writes[i];

                write->action = action;
                if (!object)
                        continue;
                if (object != last) {
                        int r = fill_subject(trace, object, arena,
                                             &followed->subjects[followed->subject_count]);
                        if (r < 0)
                                return r;
                        followed->subject_count++;
                        last = object;
                }
                write->subject = &followed->subjects[followed->subject_count - 1];
        }
        return 0;
}

static void *on_begin(void *context, const struct observed_plan *plan, struct arena *arena)
{
        struct plan_trace *trace = context;
        struct followed *followed = arena_new(arena, struct followed, 1);

        if (!followed)
                return NULL;
        *followed = (struct followed){
                .trace = trace,
                .controller = str_from(plan->controller->name),
                .begun_realtime_ns = clock_realtime_ns(),
                .begun_ns = clock_monotonic_ns(),
                .subjects = arena_new(arena, struct subject, plan->count),
                .writes = arena_new(arena, struct write, plan->count),
        };
        if (!followed->subjects || !followed->writes ||
            fill_subjects(trace, plan, arena, followed) < 0)
                return NULL;
        return followed;
}

static void on_sent(void *context, void *observed, size_t action)
{
        struct plan_trace *trace = context;
        struct followed *followed = observed;
        struct write *write = &followed->writes[action];

        if (!write->subject)
                return;
        write->sent_ns = clock_monotonic_ns();
        tracer_begin(trace->tracer, &write->subject->context, &write->context);
}

static struct str method_of(enum action_type type)
{
        static const char *const methods[] = {
                [ACTION_CREATE] = "POST",        [ACTION_PATCH] = "PATCH",
                [ACTION_PATCH_STATUS] = "PATCH", [ACTION_DELETE] = "DELETE",
                [ACTION_BIND] = "POST",          [ACTION_FINALIZE] = "PUT",
        };

        return str_from(methods[type]);
}

static struct str subresource_of(enum action_type type)
{
        static const char *const subresources[] = {
                [ACTION_CREATE] = "", [ACTION_PATCH] = "",        [ACTION_PATCH_STATUS] = "/status",
                [ACTION_DELETE] = "", [ACTION_BIND] = "/binding", [ACTION_FINALIZE] = "/finalize",
        };

        return str_from(subresources[type]);
}

/* Semantic conventions of HTTP clients: a span's name is the method and what of paths is few. */
static void record_write(const struct followed *followed, const struct write *write,
                         const struct action_result *result)
{
        const struct action *action = write->action;
        struct str method = method_of(action->type), message = result->message;
        char name[LIMIT_NAME + 64], resource[LIMIT_NAME + 16];
        bool failed = result->status < 200 || result->status > 299;

        snprintf(resource, sizeof(resource), "%.*s%s", STR_FORMAT(action->kind->plural),
                 subresource_of(action->type).data);
        snprintf(name, sizeof(name), "%s %s", method.data, resource);
        if (failed && result->status < 0)
                message = str_from(strerror(-result->status));
        struct trace_attribute attributes[5] = {
                { .key = STR("http.request.method"), .text = method },
                { .key = STR("k8s.resource.name"), .text = str_from(resource) },
                { .key = STR("k8s.namespace.name"), .text = action->namespace },
        };
        size_t count = 3;

        if (action->name.length > 0)
                attributes[count++] = (struct trace_attribute){ .key = STR("k8s.object.name"),
                                                                .text = action->name };
        if (result->status > 0)
                attributes[count++] =
                        (struct trace_attribute){ .key = STR("http.response.status_code"),
                                                  .number = result->status };
        const struct trace_span span = {
                .context = write->context,
                .parent = write->subject->context,
                .name = str_from(name),
                .kind = TRACE_CLIENT,
                .start_ns = realtime(followed, write->sent_ns),
                .end_ns = realtime(followed, write->subject->end_ns),
                .attributes = attributes,
                .attribute_count = count,
                .failed = failed,
                .message = message,
        };
        tracer_record(followed->trace->tracer, &span);
}

static void on_answer(void *context _unused_, void *observed, size_t action,
                      const struct action_result *result)
{
        struct followed *followed = observed;
        struct write *write = &followed->writes[action];

        if (write->sent_ns == 0)
                return;
        write->subject->end_ns = clock_monotonic_ns();
        record_write(followed, write, result);
        write->sent_ns = 0;
        if ((result->status < 200 || result->status > 299) && !write->action->best_effort &&
            write->subject->status == 0)
                write->subject->status = result->status;
}

static void record_subject(struct followed *followed, const struct subject *subject)
{
        struct trace_attribute attributes[5];
        char name[64], message[64] = "";
        size_t count = 0;
        /* As upstream's, and the clients' of claims. */
        bool is_claim = subject->kind == &kind_sandbox_claim;

        snprintf(name, sizeof(name), "Reconcile%.*s", STR_FORMAT(subject->kind->kind));
        if (subject->status > 0)
                snprintf(message, sizeof(message), "a write was answered %d", subject->status);
        else if (subject->status < 0)
                snprintf(message, sizeof(message), "a write had no answer: %s",
                         strerror(-subject->status));
        attributes[count++] = (struct trace_attribute){ .key = is_claim ? STR("sandbox.claim.name")
                                                                        : STR("sandbox.name"),
                                                        .text = subject->name };
        attributes[count++] =
                (struct trace_attribute){ .key = is_claim ? STR("sandbox.claim.namespace")
                                                          : STR("sandbox.namespace"),
                                          .text = subject->namespace };
        if (subject->kind != &kind_sandbox && !is_claim) {
                attributes[0].key = STR("k8s.object.name");
                attributes[1].key = STR("k8s.namespace.name");
        }
        attributes[count++] = (struct trace_attribute){ .key = STR("cay.controller"),
                                                        .text = followed->controller };
        if (subject->created_by.length > 0)
                attributes[count++] = (struct trace_attribute){ .key = LABEL_CREATED_BY,
                                                                .text = subject->created_by };
        const struct trace_span span = {
                .context = subject->context,
                .parent = subject->parent,
                .name = str_from(name),
                .kind = TRACE_INTERNAL,
                .start_ns = followed->begun_realtime_ns,
                .end_ns = realtime(followed, subject->end_ns),
                .attributes = attributes,
                .attribute_count = count,
                .failed = subject->status != 0,
                .message = str_from(message),
        };
        tracer_record(followed->trace->tracer, &span);
}

static void on_end(void *context _unused_, void *observed, int status _unused_)
{
        struct followed *followed = observed;

        for (size_t i = 0; i < followed->subject_count; i++)
                if (followed->subjects[i].end_ns > 0)
                        record_subject(followed, &followed->subjects[i]);
}

int plan_trace_new(struct tracer *tracer, struct plan_trace **ret_trace)
{
        struct plan_trace *trace = calloc(1, sizeof(*trace));

        if (!trace)
                return -ENOMEM;
        trace->tracer = tracer;
        trace->observer = (struct plan_observer){ .context = trace,
                                                  .on_begin = on_begin,
                                                  .on_sent = on_sent,
                                                  .on_answer = on_answer,
                                                  .on_end = on_end };
        *ret_trace = trace;
        return 0;
}

void plan_trace_free(struct plan_trace *trace)
{
        free(trace);
}

const struct plan_observer *plan_trace_observer(const struct plan_trace *trace)
{
        return &trace->observer;
}
