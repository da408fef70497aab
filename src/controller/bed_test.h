// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A bed for plan functions: objects go in as JSON, a plan comes out as lines of text. */

#include "base/test.h"

#include <stdio.h>

#include "base/clock.h"
#include "controller/internal.h"

struct bed {
        struct controllers *set;
        struct sandbox_controllers *ours;
        struct executor_backend backend;
        struct arena arena;
        struct plan plan;
        struct buffer text; /* the last plan: "patch Sandbox a {…}" lines */
        uint64_t now_ns;    /* realtime and monotonic */
        uint64_t version;
        struct str refusal;
        unsigned failures;
        uint64_t memory[PLAN_MEMORY]; /* of the key that is planned */
        const void *context;          /* of others than sandbox_controllers; NULL: of those */
};

static const char bed_now[] = "2026-11-21T12:00:00Z";

static void bed_never(void *context, struct submission *submission)
{
        (void)context;
        (void)submission;
        fail_msg("a plan function submits nothing");
}

static void bed_begin_with(struct bed *bed, const struct sandbox_options *options)
{
        /* Every object is packed between two looks, so that all tables are also about that. */
        const struct controllers_options settings = { .awake = 1 };

        *bed = (struct bed){ .backend = { .submit = bed_never }, .version = 100 };
        assert_int_equal(rfc3339_parse(str_from(bed_now), &bed->now_ns), 0);
        assert_int_equal(controllers_new(&settings, &bed->backend, &bed->set), 0);
        assert_int_equal(sandbox_controllers_new(bed->set, options, &bed->ours), 0);
}

static void bed_begin(struct bed *bed)
{
        bed_begin_with(bed, NULL);
}

static void bed_end(struct bed *bed)
{
        plan_deinit(&bed->plan);
        arena_deinit(&bed->arena);
        buffer_deinit(&bed->text);
        controllers_free(bed->set);
        sandbox_controllers_free(bed->ours);
}
#define _cleanup_bed_ _cleanup_(bed_end)

/*
 * Puts an object in: metadata members, then the other members, in JSON with ' for ". Name, uid
 * ("u-<name>"), namespace "n" and resourceVersion are added.
 */
static void bed_put(struct bed *bed, const struct kind *kind, const char *name, const char *meta,
                    const char *more)
{
        _cleanup_buffer_ struct buffer text = { 0 };
        _cleanup_doc_ struct json_doc *doc = NULL;

        assert_int_equal(buffer_printf(&text,
                                       "{'metadata':{'name':'%s','namespace':'n','uid':'u-%s',"
                                       "'resourceVersion':'%llu','generation':1,"
                                       "'creationTimestamp':'2026-11-21T11:59:00Z'%s%s}%s%s}",
                                       name, name, (unsigned long long)++bed->version,
                                       *meta ? "," : "", meta, *more ? "," : "", more),
                         0);
        for (size_t i = 0; i < text.length; i++) {
                if (text.data[i] == '\'')
                        text.data[i] = '"';
        }
        assert_int_equal(json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &doc), 0);
        assert_int_equal(cache_apply(controllers_cache(bed->set), kind, CACHE_ADDED, doc,
                                     bed->now_ns - 60 * NS_PER_SECOND),
                         1);
}

/* Runs a plan function and keeps its plan as text, with ' for ". */
static const char *bed_plan(struct bed *bed, void (*function)(const struct view *, struct plan *),
                            const char *key)
{
        static const char *const names[] = { "create", "patch", "status", "delete", "bind" };
        struct view view = {
                .cache = controllers_cache(bed->set),
                .namespace = STR("n"),
                .name = str_from(key),
                .now = { bed->now_ns, bed->now_ns },
                .context = bed->context ? bed->context : &bed->ours->context,
                .refusal = bed->refusal,
                .failures = bed->failures,
        };

        plan_deinit(&bed->plan);
        arena_reset(&bed->arena);
        buffer_clear(&bed->text);
        plan_init(&bed->plan, &bed->arena, 1);
        memcpy(view.memory, bed->memory, sizeof(view.memory));
        memcpy(bed->plan.memory, bed->memory, sizeof(view.memory));
        function(&view, &bed->plan);
        assert_int_equal(bed->plan.failure, 0);
        memcpy(bed->memory, bed->plan.memory, sizeof(bed->memory));
        for (size_t i = 0; i < bed->plan.count; i++) {
                const struct action *action = &bed->plan.actions[i];
                _cleanup_doc_ struct json_doc *body = NULL;

                /* Each body is one document, whatever is still to be filled in. */
                assert_int_equal(json_doc_parse(action->body, NULL, NULL, NULL, &body), 0);
                if (action->best_effort)
                        continue;
                assert_int_equal(buffer_printf(&bed->text, "%s %.*s %.*s %.*s\n",
                                               names[action->type], STR_FORMAT(action->kind->kind),
                                               STR_FORMAT(action->name), STR_FORMAT(action->body)),
                                 0);
        }
        assert_int_equal(buffer_append_char(&bed->text, '\0'), 0);
        for (size_t i = 0; i < bed->text.length; i++) {
                if (bed->text.data[i] == '"')
                        bed->text.data[i] = '\'';
        }
        return bed->text.data;
}

/* How many Events of the last plan have this reason. */
_unused_ static size_t bed_events(const struct bed *bed, const char *reason)
{
        size_t count = 0;

        for (size_t i = 0; i < bed->plan.count; i++) {
                _cleanup_doc_ struct json_doc *body = NULL;

                if (bed->plan.actions[i].kind != &kind_event)
                        continue;
                assert_int_equal(json_doc_parse(bed->plan.actions[i].body, NULL, NULL, NULL, &body),
                                 0);
                count += json_string_is(json_get(json_root(body), "reason"), str_from(reason));
        }
        return count;
}

/* How many lines begin so. */
_unused_ static size_t bed_count(const struct bed *bed, const char *begin)
{
        size_t count = 0;

        for (const char *line = bed->text.data; *line; line = strchr(line, '\n') + 1)
                count += strncmp(line, begin, strlen(begin)) == 0;
        return count;
}

/* Whether a line begins so and has the rest somewhere in it. */
static bool bed_has(const struct bed *bed, const char *begin, const char *within)
{
        for (const char *line = bed->text.data; *line; line = strchr(line, '\n') + 1) {
                const char *found;

                if (strncmp(line, begin, strlen(begin)) != 0)
                        continue;
                found = strstr(line, within);
                if (found && found < strchr(line, '\n'))
                        return true;
        }
        return false;
}

#define assert_plan(bed, begin, within)                                                            \
        do {                                                                                       \
                if (!bed_has((bed), (begin), (within)))                                            \
                        fail_msg("no \"%s\" with \"%s\" in:\n%s", (begin), (within),               \
                                 (bed)->text.data);                                                \
        } while (0)
#define assert_no_plan(bed, begin, within)                                                         \
        do {                                                                                       \
                if (bed_has((bed), (begin), (within)))                                             \
                        fail_msg("\"%s\" with \"%s\" in:\n%s", (begin), (within),                  \
                                 (bed)->text.data);                                                \
        } while (0)

/* ---- objects that many tests need ---- */

#define OWNED_BY(group, kind, name)                                                                \
        "'ownerReferences':[{'apiVersion':'" group "/v1beta1','kind':'" kind "','name':'" name     \
        "','uid':'u-" name "','controller':true,'blockOwnerDeletion':true}]"
#define OWNED_BY_SANDBOX(name) OWNED_BY("agents.x-k8s.io", "Sandbox", name)
#define OWNED_BY_POOL(name)    OWNED_BY("extensions.agents.x-k8s.io", "SandboxWarmPool", name)
#define OWNED_BY_CLAIM(name)   OWNED_BY("extensions.agents.x-k8s.io", "SandboxClaim", name)

#define BLUEPRINT                                                                                  \
        "'podTemplate':{'spec':{'containers':[{'name':'c','image':'i','ports':[{"                  \
        "'containerPort':8888}]}]}}"
#define RUNNING_POD                                                                                \
        "'spec':{'nodeName':'node'},'status':{'phase':'Running','podIP':'10.0.0.1','podIPs':["     \
        "{'ip':'10.0.0.1'}],'conditions':[{'type':'Ready','status':'True'},"                       \
        "{'type':'PodScheduled','status':'True'}]}"
#define READY_STATUS                                                                               \
        "'status':{'selector':'x','podIPs':['10.0.0.1'],'nodeName':'node','conditions':["          \
        "{'type':'Ready','status':'True','reason':'DependenciesReady','message':'The Pod is "      \
        "ready','observedGeneration':1,'lastTransitionTime':'2026-11-21T11:59:30Z'}]}"
#define MEMBER "'spec':{" BLUEPRINT "}," READY_STATUS

_unused_ static void put_template(struct bed *bed)
{
        bed_put(bed, &kind_sandbox_template, "t", "", "'spec':{" BLUEPRINT "}");
}

_unused_ static void put_pool(struct bed *bed, const char *more)
{
        char spec[256];

        snprintf(spec, sizeof(spec), "'spec':{'sandboxTemplateRef':{'name':'t'}%s}", more);
        bed_put(bed, &kind_sandbox_warm_pool, "p", "", spec);
}

/* A bed with the template "t" and the pool "p" of it. */
_unused_ static void begin_with_pool(struct bed *bed, const char *more)
{
        bed_begin(bed);
        put_template(bed);
        put_pool(bed, more);
}

/* A pool's Ready Sandbox with its Pod, which is named as the Sandbox but has another uid. */
_unused_ static void put_member(struct bed *bed, const char *name, const char *status)
{
        char meta[512], hash[NAME_HASH_SIZE];

        snprintf(meta, sizeof(meta),
                 OWNED_BY_POOL("p") ",'labels':{'agents.x-k8s.io/warm-pool-sandbox':'%.8s'}",
                 name_hash(STR("p"), hash).data);
        bed_put(bed, &kind_sandbox, name, meta, status);
}

_unused_ static void put_claim(struct bed *bed, const char *meta, const char *more)
{
        char members[1024];

        snprintf(members, sizeof(members), "'spec':{'warmPoolRef':{'name':'p'}}%s%s",
                 *more ? "," : "", more);
        bed_put(bed, &kind_sandbox_claim, "c", meta, members);
}
