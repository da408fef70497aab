// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/cluster.h"
#include "controller/controller.h"
#include "memory.h"
#include "world.h"

/*
 * A controller process between a network that loses and delays, and watches that lag, break, repeat
 * and skip.
 */

enum { FEEDS_MAX = 32 };

struct feed {
        struct process *process;
        const struct kind *kind;
        size_t position; /* in the kind's history */
        bool listed;     /* else it must list first */
        bool was_listed; /* at least once */
        bool scheduled;
        bool lost; /* an event, for want of memory: to be listed again */
};

struct process {
        struct world *world;
        struct executor_backend backend;
        struct controllers *set;
        struct sandbox_controllers *sandboxes;
        struct cluster_controllers *cluster;
        struct feed feeds[FEEDS_MAX];
        size_t feed_count;
        uint64_t wake_ns; /* when a wake-up is scheduled; UINT64_MAX: none */
        unsigned number;
        uint64_t began_ns;
        bool dead;
        bool paused; /* hears nothing any more, but does not know */
        bool unknown_outcome;
};

enum fault {
        FAULT_NONE,
        FAULT_REFUSED,      /* never sent */
        FAULT_ERROR,        /* 500, nothing done */
        FAULT_THROTTLED,    /* 429 */
        FAULT_TIMEOUT_LOST, /* no answer, nothing done */
        FAULT_TIMEOUT_DONE, /* no answer, done */
        FAULT_TIMEOUT_LATE, /* no answer, done after it was given up */
        FAULTS,
};

struct request {
        struct process *process;
        struct submission *submission;
        struct action action; /* a copy: the process may die before it arrives */
        enum fault fault;
        struct outcome outcome;
};

void (*memory_owner)(int theirs);

static const uint64_t timeout_ns = NS_PER_SECOND;

struct controllers *process_set(struct process *process)
{
        return process->set;
}

unsigned process_number(const struct process *process)
{
        return process->number;
}

uint64_t process_began(const struct process *process)
{
        return process->began_ns;
}

bool process_is_certain(const struct process *process)
{
        return !process->unknown_outcome;
}

/* ---- running ---- */

static void wake(struct world *world, void *argument);

static void run(struct process *process)
{
        struct world *world = process->world;
        struct instant now = world_now(world);
        uint64_t next;
        unsigned rounds = 0;

        do {
                MEMORY_THEIRS();
                next = controllers_run(process->set, now);
                MEMORY_OURS();
                if (++rounds == 10000) {
                        world_fail(world, "the controllers never come to rest");
                        return;
                }
        } while (next <= now.monotonic_ns);
        if (next == UINT64_MAX)
                return;
        next -= NS_PER_SECOND; /* world_now() begins there */
        if (next < process->wake_ns || process->wake_ns <= world->now_ns) {
                process->wake_ns = next;
                world_after(world, next - world->now_ns, wake, process);
        }
}

static void wake(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || world->now_ns < process->wake_ns)
                return;
        process->wake_ns = UINT64_MAX;
        run(process);
}

/* ---- requests ---- */

static void tell(struct world *world, void *argument)
{
        struct request *request = argument;
        struct json_doc *object = request->outcome.object;
        struct action_result result = {
                .status = request->outcome.status,
                .reason = str_from(request->outcome.reason),
                .message = str_from(request->outcome.reason),
                .object = object,
        };

        if (!request->process->dead) {
                if (result.status == 429)
                        result.retry_after_ns = NS_PER_SECOND;
                if (result.status == -ETIMEDOUT)
                        request->process->unknown_outcome = true;
                world_log(world, "  %u: answer %d %s to %.*s", request->process->number,
                          result.status, request->outcome.reason ? request->outcome.reason : "",
                          STR_FORMAT(request->action.name));
                MEMORY_THEIRS();
                submission_done(request->submission, 0, &result);
                MEMORY_OURS();
                run(request->process);
        }
        if (object)
                json_doc_unref(object);
}

static void check_purpose(struct world *world, const struct request *request)
{
        /* With one process that always got its answers, no write may be for nothing. */
        if (request->outcome.unchanged && world->processes == 1 && !world->options.loses_events &&
            !request->process->unknown_outcome && !request->action.best_effort &&
            request->action.type != ACTION_DELETE)
                world_fail(world, "a write changed nothing: %.*s %.*s %.*s",
                           STR_FORMAT(request->action.kind->kind), STR_FORMAT(request->action.name),
                           STR_FORMAT(request->action.body));
}

static void arrive(struct world *world, void *argument)
{
        struct request *request = argument;

        world->late += request->fault == FAULT_TIMEOUT_LATE;
        world->writer = request->process;
        checker_request(world->checker, &request->action);
        request->outcome = api_act(world->api, &request->action);
        world->writer = NULL;
        check_purpose(world, request);
        if (request->fault == FAULT_NONE) {
                world_after(world, world_random(world, 5 * NS_PER_MS), tell, request);
        } else if (request->outcome.object) {
                json_doc_unref(request->outcome.object);
                request->outcome.object = NULL;
        }
}

static void give_up(struct world *world, void *argument)
{
        struct request *request = argument, *copy;

        copy = arena_new(&world->arena, struct request, 1);
        *copy = *request;
        copy->outcome = (struct outcome){ .status = -ETIMEDOUT, .reason = "" };
        tell(world, copy);
}

static const char *action_name(enum action_type type)
{
        static const char *const names[] = { "create", "patch", "patch status",
                                             "delete", "bind",  "finalize" };

        return names[type];
}

/* ---- the end of a process ---- */

static void crash(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || process != world->process)
                return;
        world_log(world, "process %u is killed", process->number);
        world->happened++;
        process_kill(process);
        world->process = process_new(world);
}

static void end_deposed(struct world *world, void *argument)
{
        struct process *process = argument;

        if (world->deposed != process)
                return;
        world_log(world, "process %u ends", process->number);
        process_kill(process);
        world->deposed = NULL;
}

static void stop_deposed(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead)
                return;
        world_log(world, "process %u learns that it is deposed", process->number);
        process_stop(process);
        world_after(world, 3 * NS_PER_SECOND, end_deposed, process);
}

/* The lease went to another, and this one goes on for a while. */
static void depose(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || process != world->process || world->deposed || world->settling)
                return;
        world_log(world, "process %u is deposed", process->number);
        world->happened++;
        /* Asleep, or awake and watching: two that both believe to lead. */
        process->paused = world_chance(world, 250);
        world->deposed = process;
        world->process = process_new(world);
        world_after(world, world_random(world, 6 * NS_PER_SECOND), stop_deposed, process);
}

static void begin_request(struct process *process, struct submission *submission)
{
        struct world *world = process->world;
        struct request *request = arena_new(&world->arena, struct request, 1);
        const struct action *action = &submission->actions[0];
        uint64_t delay = world_random(world, 10 * NS_PER_MS);

        request->process = process;
        request->submission = submission;
        request->action = *action;
        request->action.namespace = arena_str(&world->arena, action->namespace);
        request->action.name = arena_str(&world->arena, action->name);
        request->action.body = arena_str(&world->arena, action->body);
        if (!world->settling && world_chance(world, world->options.faults)) {
                request->fault = 1 + (enum fault)world_random(world, FAULTS - 1);
                world->happened++;
        }
        world_log(world, "  %u: %s %.*s %.*s/%.*s fault %d", process->number,
                  action_name(action->type), STR_FORMAT(action->kind->kind),
                  STR_FORMAT(action->namespace), STR_FORMAT(action->name), request->fault);
        if (!world->settling && world_random(world, 10000) < world->options.crashes)
                world_after(world, world_random(world, 12 * NS_PER_MS),
                            world_chance(world, 400) ? crash : depose, process);
        switch (request->fault) {
        case FAULT_NONE:
                world_after(world, delay, arrive, request);
                return;
        case FAULT_REFUSED:
                request->outcome = (struct outcome){ .status = -ECONNREFUSED, .reason = "" };
                break;
        case FAULT_ERROR:
                request->outcome = (struct outcome){ .status = 500, .reason = "InternalError" };
                break;
        case FAULT_THROTTLED:
                request->outcome = (struct outcome){ .status = 429, .reason = "TooManyRequests" };
                break;
        case FAULT_TIMEOUT_DONE:
                world_after(world, delay, arrive, request);
                world_after(world, timeout_ns, give_up, request);
                return;
        case FAULT_TIMEOUT_LATE:
                world_after(world, timeout_ns + world_random(world, 3 * NS_PER_SECOND), arrive,
                            request);
                world_after(world, timeout_ns, give_up, request);
                return;
        default:
                world_after(world, timeout_ns, give_up, request);
                return;
        }
        world_after(world, delay, tell, request);
}

static void submit(void *context, struct submission *submission)
{
        MEMORY_OURS();
        begin_request(context, submission);
        MEMORY_THEIRS();
}

/* ---- watches ---- */

static void deliver(struct world *world, void *argument);

static void schedule(struct feed *feed, uint64_t delay_ns)
{
        if (feed->scheduled)
                return;
        feed->scheduled = true;
        world_after(feed->process->world, delay_ns, deliver, feed);
}

void process_notice(struct process *process, const struct kind *kind)
{
        for (size_t i = 0; i < process->feed_count; i++) {
                if (process->feeds[i].kind == kind)
                        schedule(&process->feeds[i], world_random(process->world, 20 * NS_PER_MS));
        }
}

static void feed_change(struct feed *feed, const struct change *change)
{
        struct world *world = feed->process->world;
        int r;

        MEMORY_THEIRS();
        r = controllers_feed(feed->process->set, feed->kind, change->event, change->doc);
        MEMORY_OURS();
        if (r == -ENOMEM && world->options.loses_events)
                feed->lost = true;
        else if (r < 0)
                world_fail(feed->process->world, "the cache refuses an event: %d", r);
}

/* The state as of a position: the last change of each object up to there. */
static void list(struct feed *feed)
{
        struct world *world = feed->process->world;
        size_t end = api_history(world->api, feed->kind);
        size_t position = end;

        /* The first list is consistent; a later one may come from a server that lags, and so go
         * back behind what was seen. */
        if (!world->settling && feed->was_listed && world_chance(world, 200))
                position -= (size_t)world_random(world, MIN(end, (size_t)8) + 1);
        feed->lost = false;
        controllers_list_begin(feed->process->set, feed->kind);
        for (size_t i = 0; i < position; i++) {
                const struct change *change = api_change(world->api, feed->kind, i);
                struct object_meta meta, later;
                bool last = change->event != CACHE_DELETED;

                object_meta_read(json_root(change->doc), &meta);
                for (size_t j = i + 1; last && j < position; j++) {
                        object_meta_read(json_root(api_change(world->api, feed->kind, j)->doc),
                                         &later);
                        last = !str_equal(later.uid, meta.uid);
                }
                if (last)
                        feed_change(feed,
                                    &(struct change){ .event = CACHE_ADDED, .doc = change->doc });
        }
        controllers_list_end(feed->process->set, feed->kind,
                             api_version_at(world->api, feed->kind, position));
        feed->position = position;
        feed->listed = feed->was_listed = true;
}

/* Something goes wrong with the watch. */
static void disturb(struct feed *feed)
{
        struct world *world = feed->process->world;

        switch (world_random(world, 4)) {
        case 0: /* cut, or 410: list again after a while */
                feed->listed = false;
                schedule(feed, world_random(world, 2 * NS_PER_SECOND));
                break;
        case 1: /* repeated */
                feed->position -= (size_t)world_random(world, MIN(feed->position, (size_t)4) + 1);
                break;
        case 2: /* an event is lost; a later resync finds it */
                if (feed->position < api_history(world->api, feed->kind)) {
                        feed->position++;
                        feed->listed = false;
                        schedule(feed, world_random(world, 10 * NS_PER_SECOND));
                }
                break;
        default: /* nothing comes for a while */
                schedule(feed, world_random(world, 3 * NS_PER_SECOND));
                break;
        }
}

static void deliver(struct world *world, void *argument)
{
        struct feed *feed = argument;

        feed->scheduled = false;
        if (feed->process->dead || feed->process->paused)
                return;
        if (!feed->listed)
                list(feed);
        if (!world->settling && world_chance(world, world->options.faults / 4))
                disturb(feed);
        if (!feed->scheduled) {
                size_t end = api_history(world->api, feed->kind);

                while (feed->position < end) {
                        feed_change(feed, api_change(world->api, feed->kind, feed->position++));
                        if (world_chance(world, 300))
                                break;
                }
                if (feed->position < end)
                        schedule(feed, world_random(world, 20 * NS_PER_MS));
        }
        if (feed->lost) {
                feed->listed = false;
                schedule(feed, world_random(world, 100 * NS_PER_MS));
        }
        run(feed->process);
}

/* A bookmark: nothing has happened up to here. */
static void bookmark(struct world *world, void *argument)
{
        struct feed *feed = argument;

        if (feed->process->dead)
                return;
        if (feed->listed && !feed->process->paused &&
            feed->position == api_history(world->api, feed->kind))
                controllers_advance(feed->process->set, feed->kind,
                                    api_version_at(world->api, feed->kind, feed->position));
        world_after(world, 10 * NS_PER_SECOND, bookmark, feed);
}

/* ---- life ---- */

struct process *process_new(struct world *world)
{
        struct process *process = arena_new(&world->arena, struct process, 1);
        const struct controllers_options options = { .seed = world_random(world, 0) };
        const struct sandbox_options sandbox_options = {
                .pool_readiness_grace_ns = 20 * NS_PER_SECOND,
        };

        process->world = world;
        process->number = ++world->processes;
        process->began_ns = world->now_ns;
        process->wake_ns = UINT64_MAX;
        process->backend = (struct executor_backend){ .context = process, .submit = submit };
        if (controllers_new(&options, &process->backend, &process->set) < 0 ||
            sandbox_controllers_new(process->set, &sandbox_options, &process->sandboxes) < 0 ||
            cluster_controllers_new(process->set, NULL, &process->cluster) < 0)
                abort();
        for (size_t i = 0; cluster_controllers_kinds[i]; i++) {
                struct feed *feed = &process->feeds[process->feed_count++];

                *feed = (struct feed){ .process = process, .kind = cluster_controllers_kinds[i] };
                schedule(feed, world_random(world, 200 * NS_PER_MS));
                world_after(world, 10 * NS_PER_SECOND, bookmark, feed);
        }
        return process;
}

void process_stop(struct process *process)
{
        controllers_stop(process->set);
}

void process_kill(struct process *process)
{
        process->dead = true;
        controllers_free(process->set);
        sandbox_controllers_free(process->sandboxes);
        cluster_controllers_free(process->cluster);
        process->set = NULL;
}
