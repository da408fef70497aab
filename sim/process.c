// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "memory.h"

/* A controller process, between a network that loses and delays and those who kill it. */

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
        bool was_late; /* it arrived when it was given up, or another was to lead */
        bool kills;    /* its process does not live to hear the answer */
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

bool process_postpone(struct process *process, void (*run)(struct world *, void *), void *argument)
{
        struct world *world = process->world;

        if (process->dead || world->now_ns >= process->paused_until_ns)
                return false;
        world_after(world,
                    process->paused_until_ns - world->now_ns + world_random(world, NS_PER_MS), run,
                    argument);
        return true;
}

/* As control/host.c does: who does not lead plans nothing, and one that drains waits. */
void process_run(struct process *process)
{
        struct world *world = process->world;
        struct instant now = world_now(world);
        uint64_t next;
        unsigned rounds = 0;

        if (process->dead)
                return;
        if (process->ending && process->leader && controllers_in_flight(process->set) == 0) {
                if (!process->released)
                        election_release(process);
                process->released = true;
                return;
        }
        if (!election_may_write(process))
                return;
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

        if (process->dead || world->now_ns < process->wake_ns ||
            process_postpone(process, wake, process))
                return;
        process->wake_ns = UINT64_MAX;
        process_run(process);
}

/* ---- requests ---- */

static void tell(struct world *world, void *argument)
{
        struct request *request = argument;
        struct process *process = request->process;
        struct json_doc *object = request->outcome.object;
        struct action_result result = {
                .status = request->outcome.status,
                .reason = str_from(request->outcome.reason),
                .message = str_from(request->outcome.reason),
                .object = object,
        };

        if (process_postpone(process, tell, request))
                return;
        if (!process->dead && request->kills)
                process_crash(process);
        if (!process->dead) {
                if (result.status == 429)
                        result.retry_after_ns = NS_PER_SECOND;
                if (result.status == -ETIMEDOUT)
                        process->unknown_outcome = true;
                world_log(world, "  %u: answer %d %s to %.*s", process->number, result.status,
                          request->outcome.reason ? request->outcome.reason : "",
                          STR_FORMAT(request->action.name));
                MEMORY_THEIRS();
                submission_done(request->submission, 0, &result);
                MEMORY_OURS();
                process_run(process);
        }
        if (object)
                json_doc_unref(object);
}

static void check_purpose(struct world *world, const struct request *request)
{
        /* With one process that always got its answers, no write may be for nothing. */
        if (request->outcome.unchanged && world->leaders == 1 && !world->options.loses_events &&
            !request->process->unknown_outcome && !request->action.best_effort &&
            request->action.type != ACTION_DELETE)
                world_fail(world, "a write changed nothing: %.*s %.*s %.*s",
                           STR_FORMAT(request->action.kind->kind), STR_FORMAT(request->action.name),
                           STR_FORMAT(request->action.body));
}

static void arrive(struct world *world, void *argument)
{
        struct request *request = argument;
        struct process *process = request->process;

        /* The process was paused with the request in its hands, past all questions whether it may:
         * it goes out when the process wakes, and another may lead by then. */
        if (!process->dead && world->now_ns < process->paused_until_ns &&
            world_chance(world, 500) && process_postpone(process, arrive, request)) {
                request->was_late = true;
                return;
        }
        world->late += request->was_late || request->fault == FAULT_TIMEOUT_LATE;
        world->writer = process;
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

/* It goes out, if the process still may: asked here, as the wire client asks. */
static void send_out(struct world *world, void *argument)
{
        struct request *request = argument;
        struct process *process = request->process;
        uint64_t delay = world_random(world, 10 * NS_PER_MS);

        if (process->dead || process_postpone(process, send_out, request))
                return;
        if (!election_may_write(process) || world->now_ns < world->outage_until_ns)
                request->fault = FAULT_REFUSED;
        if (request->fault != FAULT_REFUSED)
                election_check_alone(process);
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

static void begin_request(struct process *process, struct submission *submission)
{
        struct world *world = process->world;
        struct request *request = arena_new(&world->arena, struct request, 1);
        const struct action *action = &submission->actions[0];

        request->process = process;
        request->submission = submission;
        request->action = *action;
        request->action.namespace = arena_str(&world->arena, action->namespace);
        request->action.name = arena_str(&world->arena, action->name);
        request->action.body = arena_str(&world->arena, action->body);
        world->writes++;
        if (!world->settling && world_chance(world, world->options.faults)) {
                request->fault = 1 + (enum fault)world_random(world, FAULTS - 1);
                world->happened++;
        }
        world_log(world, "  %u: %s %.*s %.*s/%.*s fault %d %.*s", process->number,
                  action_name(action->type), STR_FORMAT(action->kind->kind),
                  STR_FORMAT(action->namespace), STR_FORMAT(action->name), request->fault,
                  STR_FORMAT(action->body));
        if (!world->settling && world_random(world, 10000) < world->options.crashes)
                trouble_strike(process);
        if (!world->settling &&
            (++process->requests == process->life || world->writes == world->options.ends_at))
                trouble_end(process, &request->kills);
        world_after(world, process->leader ? world_random(world, 2 * NS_PER_MS) : 0, send_out,
                    request);
}

static void submit(void *context, struct submission *submission)
{
        MEMORY_OURS();
        begin_request(context, submission);
        MEMORY_THEIRS();
}

/* ---- life ---- */

static void choose_life(struct process *process)
{
        struct world *world = process->world;
        unsigned life = world->options.life;

        if (life && !world->settling)
                process->life = 1 + (unsigned)world_random(world, life);
}

struct process *process_new(struct world *world)
{
        struct process *process = arena_new(&world->arena, struct process, 1);
        const struct controllers_options options = {
                .seed = world_random(world, 0),
                .awake = world->options.awake,
        };
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
        choose_life(process);
        feeds_begin(process);
        assert(world->alive_count < ARRAY_SIZE(world->alive));
        world->alive[world->alive_count++] = process;
        if (world->options.elects) {
                election_join(process);
        } else {
                process->has_led = true;
                world->leaders++;
        }
        return process;
}

void process_stop(struct process *process)
{
        process->ending = true;
        controllers_stop(process->set);
        process_run(process);
}

void process_pause(struct process *process, uint64_t ns)
{
        process->paused_until_ns = process->world->now_ns + ns;
}

void process_kill(struct process *process)
{
        struct world *world = process->world;

        process->dead = true;
        if (process->leader)
                election_leave(process);
        controllers_free(process->set);
        sandbox_controllers_free(process->sandboxes);
        cluster_controllers_free(process->cluster);
        process->set = NULL;
        if (world->deposed == process)
                world->deposed = NULL;
        for (size_t i = 0; i < world->alive_count; i++) {
                if (world->alive[i] == process)
                        world->alive[i--] = world->alive[--world->alive_count];
        }
}

static void start_another(struct world *world, void *argument)
{
        (void)argument;
        process_new(world);
}

void process_crash(struct process *process)
{
        struct world *world = process->world;

        world_log(world, "process %u ends", process->number);
        process_kill(process);
        if (world->options.elects)
                world_after(world, world_random(world, 2 * NS_PER_SECOND), start_another, NULL);
        else if (process == world->process)
                world->process = process_new(world);
}
