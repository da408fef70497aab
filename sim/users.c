// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "world.h"

/* Users who create, change and delete at random, and the kubelet of the one node. */

/* ---- users ---- */

static struct str text(struct world *world, const char *format, ...) _printf_(2, 3);

static struct str text(struct world *world, const char *format, ...)
{
        char buffer[2048];
        va_list arguments;
        int length;

        va_start(arguments, format);
        length = vsnprintf(buffer, sizeof(buffer), format, arguments);
        va_end(arguments);
        assert(length >= 0 && (size_t)length < sizeof(buffer));
        return arena_str(&world->arena, (struct str){ buffer, (size_t)length });
}

static void done(struct outcome outcome)
{
        if (outcome.object)
                json_doc_unref(outcome.object);
}

static unsigned pick(struct world *world, unsigned below)
{
        return (unsigned)world_random(world, below);
}

static const char *time_in(struct world *world, uint64_t seconds, char *time)
{
        rfc3339_format_seconds(world_now(world).realtime_ns + seconds * NS_PER_SECOND, time);
        return time;
}

static void create_template(struct world *world)
{
        static const char *const services[] = { "", ",\"service\":true", ",\"service\":false" };

        done(api_create(world->api, &kind_sandbox_template,
                        text(world,
                             "{\"metadata\":{\"name\":\"t%u\",\"namespace\":\"n\"},\"spec\":{"
                             "\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                             "\"i%u\"}]}"
                             "}%s}}",
                             pick(world, 2), pick(world, 3), services[pick(world, 3)])));
}

static void create_pool(struct world *world)
{
        bool old = world_chance(world, 400);

        done(api_create(world->api, &kind_sandbox_warm_pool,
                        text(world,
                             "{\"metadata\":{\"name\":\"p%u\",\"namespace\":\"n\"%s},\"spec\":{"
                             "\"replicas\":%u,\"sandboxTemplateRef\":{\"name\":\"t%u\"}%s}}",
                             pick(world, 3),
                             old ? ",\"managedFields\":[{\"apiVersion\":\"extensions.agents.x-k8s."
                                   "io/v1alpha1\",\"time\":\"2026-01-01T00:00:00Z\"}]"
                                 : "",
                             pick(world, 6), pick(world, 2),
                             world_chance(world, 300)
                                     ? ",\"updateStrategy\":{\"type\":\"Recreate\"}"
                                     : "")));
}

static void create_claim(struct world *world)
{
        static const char *const policies[] = { "Retain", "Delete", "DeleteForeground" };
        char time[RFC3339_SECONDS_SIZE];
        struct str lifecycle = STR_EMPTY;
        bool old = world_chance(world, 300);

        if (world_chance(world, 150))
                lifecycle = text(
                        world, ",\"lifecycle\":{\"shutdownTime\":\"%s\",\"shutdownPolicy\":\"%s\"}",
                        time_in(world, 1 + pick(world, 20), time), policies[pick(world, 3)]);
        else if (world_chance(world, 150))
                lifecycle = text(world,
                                 ",\"lifecycle\":{\"ttlSecondsAfterFinished\":%u,"
                                 "\"shutdownPolicy\":\"%s\"}",
                                 pick(world, 3), policies[pick(world, 3)]);
        done(api_create(
                world->api, &kind_sandbox_claim,
                text(world,
                     "{\"metadata\":{\"name\":\"c%u\",\"namespace\":\"n\"%s},\"spec\":{"
                     "\"warmPoolRef\":{\"name\":\"%s%u\"}%s%.*s}}",
                     pick(world, 12),
                     old ? ",\"managedFields\":[{\"apiVersion\":\"extensions.agents.x-k8s.io/"
                           "v1alpha1\",\"time\":\"2026-01-01T00:00:00Z\"}]"
                         : "",
                     old ? "shadow-pool-t" : "p", pick(world, old ? 2 : 3),
                     world_chance(world, 200) ? ",\"additionalPodMetadata\":{\"labels\":{"
                                                "\"sandbox.users.io/a\":\"b\"}}"
                                              : "",
                     STR_FORMAT(lifecycle))));
}

/* A crowd that comes at once. */
static void create_claims(struct world *world)
{
        for (unsigned i = 0; i < 8; i++)
                create_claim(world);
}

static void create_sandbox(struct world *world)
{
        done(api_create(world->api, &kind_sandbox,
                        text(world,
                             "{\"metadata\":{\"name\":\"s%u\",\"namespace\":\"n\"},\"spec\":{"
                             "\"podTemplate\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
                             "\"containers\":[{\"name\":\"c\"}]}}%s%s}}",
                             pick(world, 4), world_chance(world, 300) ? ",\"service\":true" : "",
                             world_chance(world, 300)
                                     ? ",\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"v\"},"
                                       "\"spec\":{}}]"
                                     : "")));
}

struct choice {
        struct world *world;
        const struct kind *kind;
        struct json_doc *doc;
        unsigned seen;
};

static void consider(void *context, struct json_doc *doc)
{
        struct choice *choice = context;

        if (world_random(choice->world, ++choice->seen) == 0)
                choice->doc = doc;
}

/* Some object of the kind; NULL when there is none. */
static struct json_doc *choose(struct world *world, const struct kind *kind,
                               struct object_meta *ret_meta)
{
        struct choice choice = { .world = world, .kind = kind };

        api_each(world->api, kind, consider, &choice);
        if (choice.doc)
                object_meta_read(json_root(choice.doc), ret_meta);
        return choice.doc;
}

static void delete_some(struct world *world, const struct kind *kind)
{
        static const char *const options[] = { "{}", "{\"propagationPolicy\":\"Foreground\"}",
                                               "{\"propagationPolicy\":\"Background\"}" };
        struct object_meta meta;

        if (choose(world, kind, &meta))
                done(api_delete(world->api, kind, meta.namespace, meta.name,
                                str_from(options[pick(world, 3)])));
}

static void patch_some(struct world *world, const struct kind *kind, struct str patch)
{
        struct object_meta meta;

        if (choose(world, kind, &meta))
                done(api_patch(world->api, kind, meta.namespace, meta.name, patch, false));
}

static void change_something(struct world *world)
{
        char time[RFC3339_SECONDS_SIZE];

        switch (pick(world, 7)) {
        case 0:
                patch_some(world, &kind_sandbox_warm_pool,
                           text(world, "{\"spec\":{\"replicas\":%u}}", pick(world, 6)));
                break;
        case 1:
                patch_some(world, &kind_sandbox_template,
                           text(world,
                                "{\"spec\":{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":"
                                "\"c\",\"image\":\"i%u\"}]}}}}",
                                pick(world, 3)));
                break;
        case 2:
                patch_some(
                        world, &kind_sandbox_template,
                        text(world,
                             "{\"spec\":{\"podTemplate\":{\"metadata\":{\"labels\":{\"x\":\"%u\"}"
                             "}}}}",
                             pick(world, 3)));
                break;
        case 3:
                patch_some(world, &kind_sandbox,
                           world_chance(world, 500)
                                   ? STR("{\"spec\":{\"operatingMode\":\"Suspended\"}}")
                                   : STR("{\"spec\":{\"operatingMode\":\"Running\"}}"));
                break;
        case 4:
                patch_some(world, &kind_sandbox,
                           text(world, "{\"spec\":{\"shutdownTime\":\"%s\"}}",
                                time_in(world, pick(world, 30), time)));
                break;
        case 5:
                patch_some(world, &kind_sandbox_claim,
                           text(world,
                                "{\"spec\":{\"additionalPodMetadata\":{\"annotations\":{\"x\":%s}}"
                                "}}",
                                world_chance(world, 500) ? "\"y\"" : "null"));
                break;
        default:
                patch_some(world, &kind_sandbox_claim,
                           text(world, "{\"spec\":{\"warmPoolRef\":{\"name\":\"p%u\"}}}",
                                pick(world, 3)));
                break;
        }
}

static void act(struct world *world, void *argument)
{
        unsigned what = pick(world, 100);

        (void)argument;
        if (world->settling)
                return;
        if (what < 6)
                create_template(world);
        else if (what < 14)
                create_pool(world);
        else if (what < 45)
                create_claim(world);
        else if (what < 48)
                create_claims(world);
        else if (what < 52)
                create_sandbox(world);
        else if (what < 65)
                change_something(world);
        else if (what < 85)
                delete_some(world, &kind_sandbox_claim);
        else if (what < 88)
                delete_some(world, &kind_sandbox);
        else if (what < 93)
                delete_some(world, &kind_pod);
        else if (what < 95)
                delete_some(world, &kind_sandbox_warm_pool);
        else if (what < 96)
                delete_some(world, &kind_sandbox_template);
        else if (what < 98)
                delete_some(world, &kind_service);
        world_after(world, world_random(world, world_chance(world, 100) ? 3000 : 100) * NS_PER_MS,
                    act, NULL);
}

void users_prepare(struct world *world)
{
        done(api_create(world->api, &kind_namespace,
                        STR("{\"metadata\":{\"name\":\"n\"},\"spec\":{}}")));
        done(api_create(
                world->api, &kind_node,
                STR("{\"metadata\":{\"name\":\"node\"},\"status\":{\"conditions\":[{\"type\":"
                    "\"Ready\",\"status\":\"True\"}],\"allocatable\":{\"cpu\":\"100\",\"memory\":"
                    "\"16Gi\",\"pods\":\"1000\"}}}")));
}

void users_begin(struct world *world)
{
        users_prepare(world);
        create_template(world);
        create_pool(world);
        act(world, NULL);
}

/* ---- the kubelet ---- */

struct task {
        struct str namespace, name, uid;
};

static struct json_doc *task_pod(struct world *world, const struct task *task)
{
        struct json_doc *pod = api_get(world->api, &kind_pod, task->namespace, task->name);

        return pod && json_string_is(json_get(json_root(pod), "metadata", "uid"), task->uid) ? pod
                                                                                             : NULL;
}

static void start_pod(struct world *world, void *argument)
{
        const struct task *task = argument;
        struct json_doc *pod = task_pod(world, task);
        bool fails = !world->settling && world->options.events && world_chance(world, 20);

        if (!pod || json_exists(json_get(json_root(pod), "status", "podIP")))
                return;
        done(api_patch(world->api, &kind_pod, task->namespace, task->name,
                       text(world,
                            "{\"status\":{\"phase\":\"%s\",\"podIP\":\"10.0.0.%u\",\"podIPs\":["
                            "{\"ip\":\"10.0.0.%u\"}],\"conditions\":[{\"type\":\"PodScheduled\","
                            "\"status\":\"True\"},{\"type\":\"Ready\",\"status\":\"%s\"}]}}",
                            fails ? "Failed" : "Running", 1U, 1U, fails ? "False" : "True"),
                       true));
}

static void stop_pod(struct world *world, void *argument)
{
        const struct task *task = argument;

        if (task_pod(world, task))
                done(api_delete(world->api, &kind_pod, task->namespace, task->name,
                                text(world,
                                     "{\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"%.*s\""
                                     "}}",
                                     STR_FORMAT(task->uid))));
}

void kubelet_notice(struct world *world, struct json_doc *pod)
{
        struct json_value root = json_root(pod);
        struct object_meta meta;
        struct task *task;

        object_meta_read(root, &meta);
        if (!json_exists(json_get(root, "spec", "nodeName")))
                return;
        task = arena_new(&world->arena, struct task, 1);
        *task = (struct task){
                .namespace = arena_str(&world->arena, meta.namespace),
                .name = arena_str(&world->arena, meta.name),
                .uid = arena_str(&world->arena, meta.uid),
        };
        if (object_meta_is_deleting(&meta) && meta.deletion_grace_seconds > 0)
                world_after(world, world_random(world, 200 * NS_PER_MS), stop_pod, task);
        else if (!json_exists(json_get(root, "status", "podIP")))
                world_after(world,
                            world_random(world, world->options.events && world_chance(world, 50)
                                                        ? 5000 * NS_PER_MS
                                                        : 50 * NS_PER_MS),
                            start_pod, task);
}
