// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/client.h"
#include "net/loop.h"
#include "process.h"
#include "serve/leader.h"

/*
 * The real leader election, on the world's clock and API: what it calls of net/ and client/ is
 * defined here, the clock and random bytes are put in its way by the linker (--wrap). Its client
 * and its loop are the process.
 */

enum { LEASE_MS = 3000, DEADLINE_MS = 2000, RETRY_MS = 400 };

static struct world *running; /* whose clock is told; worlds run one after the other */

static const struct kind lease = { .group = STR("coordination.k8s.io"),
                                   .version = STR("v1"),
                                   .kind = STR("Lease"),
                                   .plural = STR("leases"),
                                   .namespaced = true };

static struct process *process_of(const void *client_or_loop)
{
        return (struct process *)client_or_loop;
}

/* ---- the clock ---- */

uint64_t __wrap_clock_monotonic_ns(void);
uint64_t __wrap_clock_realtime_ns(void);
void __wrap_random_bytes(void *bytes, size_t size);

uint64_t __wrap_clock_monotonic_ns(void)
{
        return world_now(running).monotonic_ns;
}

uint64_t __wrap_clock_realtime_ns(void)
{
        return world_now(running).realtime_ns;
}

void __wrap_random_bytes(void *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)bytes)[i] = (uint8_t)world_random(running, 256);
}

/* ---- timers and tasks ---- */

/* What waits in the world's queue for a timer or a task; forgotten when it is stopped. */
struct waiting {
        struct process *process;
        struct net_timer *timer; /* one of the two; both NULL: stopped */
        struct net_task *task;
};

static void fire(struct world *world, void *argument)
{
        struct waiting *waiting = argument;
        struct net_timer *timer = waiting->timer;
        struct net_task *task = waiting->task;

        (void)world;
        if ((!timer && !task) || process_postpone(waiting->process, fire, waiting))
                return;
        if (timer) {
                timer->loop = NULL;
                timer->expire(timer);
        } else {
                task->link.next = NULL;
                task->run(task);
        }
}

static struct waiting *wait_for(struct process *process, uint64_t delay_ns)
{
        struct waiting *waiting = arena_new(&process->world->arena, struct waiting, 1);

        waiting->process = process;
        world_after(process->world, delay_ns, fire, waiting);
        return waiting;
}

void net_timer_start(struct net_loop *loop, struct net_timer *timer, uint64_t delay_ms,
                     void (*expire)(struct net_timer *timer))
{
        struct waiting *waiting = wait_for(process_of(loop), delay_ms * NS_PER_MS);

        net_timer_stop(timer);
        waiting->timer = timer;
        timer->loop = loop;
        timer->expire = expire;
        timer->child = (struct net_timer *)waiting;
}

void net_timer_stop(struct net_timer *timer)
{
        if (timer->loop)
                ((struct waiting *)timer->child)->timer = NULL;
        timer->loop = NULL;
}

void net_loop_defer(struct net_loop *loop, struct net_task *task)
{
        struct waiting *waiting = wait_for(process_of(loop), 0);

        waiting->task = task;
        task->link.next = (struct list *)waiting;
}

void net_task_cancel(struct net_task *task)
{
        if (task->link.next)
                ((struct waiting *)task->link.next)->task = NULL;
        task->link.next = NULL;
}

/* ---- requests ---- */

struct kube_call {
        struct process *process;
        kube_response_fn callback;
        void *user;
        struct str method, path, body;
        int status;
        const char *reason;
        struct str text; /* of the object in the answer; empty: none */
        int error;
        bool told; /* or withdrawn */
};

static void answer(struct world *world, void *argument)
{
        struct kube_call *call = argument;
        _cleanup_doc_ struct json_doc *doc = NULL;

        (void)world;
        if (call->told || process_postpone(call->process, answer, call))
                return;
        if (call->text.length && json_doc_parse(call->text, NULL, NULL, NULL, &doc) < 0)
                abort();
        const struct kube_response response = {
                .error = call->error,
                .status = call->error ? 0 : (unsigned)call->status,
                .reason = str_from(call->reason),
                .message = call->error ? STR("no answer") : str_from(call->reason),
                .doc = doc,
        };
        call->told = true;
        call->callback(call->user, &response);
}

static struct outcome carry_out(struct api *api, const struct kube_call *call)
{
        const struct str space = STR("system"), name = STR("lease");

        if (str_equal(call->method, STR("POST")))
                return api_create(api, &lease, call->body);
        if (str_equal(call->method, STR("PUT")))
                return api_update(api, &lease, space, name, call->body);
        struct json_doc *doc = api_get(api, &lease, space, name);
        return doc ? (struct outcome){ .status = 200, .reason = "", .object = json_doc_ref(doc) }
                   : (struct outcome){ .status = 404, .reason = "NotFound" };
}

static void arrive(struct world *world, void *argument)
{
        struct kube_call *call = argument;
        struct outcome outcome;

        /* It was not on its way yet when the process was paused. */
        if (!call->process->dead && world->now_ns < call->process->paused_until_ns &&
            world_chance(world, 500) && process_postpone(call->process, arrive, call))
                return;
        outcome = carry_out(world->api, call);
        if (call->error != KUBE_LOST) {
                call->status = outcome.status;
                call->reason = outcome.reason;
                if (outcome.object)
                        call->text = arena_str(&world->arena, json_doc_text(outcome.object));
                world_after(world, world_random(world, 5 * NS_PER_MS), answer, call);
        }
        if (outcome.object)
                json_doc_unref(outcome.object);
}

int kube_client_request(struct kube_client *client, const struct kube_request *request,
                        kube_response_fn callback, void *user, struct kube_call **ret_call)
{
        struct process *process = process_of(client);
        struct world *world = process->world;
        struct kube_call *call = arena_new(&world->arena, struct kube_call, 1);
        uint64_t delay = world_random(world, 10 * NS_PER_MS);

        *call = (struct kube_call){
                .process = process,
                .callback = callback,
                .user = user,
                .method = arena_str(&world->arena, request->method),
                .path = arena_str(&world->arena, request->path),
                .body = arena_str(&world->arena, request->body),
                .reason = "",
        };
        *ret_call = call;
        if (!world->settling && world_random(world, 10000) < world->options.crashes)
                trouble_pause(process);
        if (world->now_ns < world->outage_until_ns) {
                call->error = KUBE_UNREACHABLE;
                world_after(world, delay, answer, call);
        } else if (world->settling || !world_chance(world, world->options.faults)) {
                world_after(world, delay, arrive, call);
        } else if (world_chance(world, 300)) {
                call->status = 500;
                call->reason = "InternalError";
                world_after(world, delay, answer, call);
        } else {
                call->error = KUBE_LOST;
                world_after(world, request->timeout_ms * NS_PER_MS, answer, call);
                if (world_chance(world, 700)) /* done, in time or after it was given up */
                        world_after(world,
                                    world_chance(world, 500)
                                            ? delay
                                            : world_random(world, 3000 * NS_PER_MS),
                                    arrive, call);
        }
        return 0;
}

void kube_call_cancel(struct kube_call *call)
{
        call->told = true;
}

struct net_loop *kube_client_loop(const struct kube_client *client)
{
        return (struct net_loop *)process_of(client);
}

/* ---- taking part ---- */

static void on_lead(void *user)
{
        struct process *process = user;
        struct world *world = process->world;

        world_log(world, "process %u leads", process->number);
        election_check_alone(process);
        world->process = process;
        world->leaders++;
        process->has_led = true;
        process_run(process);
}

/* As in control/cluster.c the process ends: what it knows may be old. */
static void on_lost(void *user, struct str why)
{
        struct process *process = user;

        world_log(process->world, "process %u: %.*s", process->number, STR_FORMAT(why));
        process_crash(process);
}

void election_join(struct process *process)
{
        char identity[16];

        running = process->world;
        snprintf(identity, sizeof(identity), "process-%u", process->number);
        const struct leader_options options = {
                .client = (struct kube_client *)process,
                .name_space = STR("system"),
                .name = STR("lease"),
                .identity = str_from(identity),
                .duration_ms = LEASE_MS,
                .deadline_ms = DEADLINE_MS,
                .retry_ms = RETRY_MS,
                .on_lead = on_lead,
                .on_lost = on_lost,
                .user = process,
        };
        if (leader_new(&options, &process->leader) < 0)
                abort();
}

void election_leave(struct process *process)
{
        leader_free(process->leader);
        process->leader = NULL;
}

static void on_released(void *user)
{
        process_crash(user);
}

void election_release(struct process *process)
{
        leader_release(process->leader, on_released, process);
}

bool election_may_write(const struct process *process)
{
        return !process->leader || leader_is_leading(process->leader);
}

void election_check_alone(const struct process *process)
{
        struct world *world = process->world;

        for (size_t i = 0; i < world->alive_count; i++) {
                const struct process *other = world->alive[i];

                if (other != process && process->leader && other->leader &&
                    leader_is_leading(other->leader))
                        world_fail(world, "process %u writes while process %u leads",
                                   process->number, other->number);
        }
}
