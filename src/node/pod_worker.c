// SPDX-License-Identifier: Apache-2.0
#include "node/pod_worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "node/pod_status.h"

#define CRASH_BACKOFF_FIRST   (10 * NS_PER_SECOND)
#define CRASH_BACKOFF_LAST    (300 * NS_PER_SECOND)
#define CRASH_BACKOFF_FORGET  (600 * NS_PER_SECOND) /* a run this long clears the back-off */
#define SANDBOX_BACKOFF_FIRST NS_PER_SECOND
#define SANDBOX_BACKOFF_LAST  (60 * NS_PER_SECOND)
#define DELETE_RETRY          NS_PER_SECOND
#define KILL_WAIT             (10 * NS_PER_SECOND) /* then the sandbox is destroyed without an exit seen */
#define HOOK_OVERRUN          (2 * NS_PER_SECOND) /* as the kubelet: between SIGTERM and SIGKILL then */
#define PUBLISH_HOLD          (20 * NS_PER_MS)
#define QUEUE_HOLD            (2 * NS_PER_SECOND) /* until the sandbox is there */
#define START_HOLD            (250 * NS_PER_MS)   /* until a container has run */

enum {
        EVICTION_GRACE_S = 1, /* as the kubelet: what fills a disk gets no time for more */
        EXIT_SIGNAL_BASE = 128,
        EXIT_LOST = 137,
        TEXT_MAX = 4096 /* as a kubelet cuts them */
};

void pod_worker_init(struct pod_worker *worker, uint32_t host_address)
{
        *worker = (struct pod_worker){ .host_address = host_address };
}

static void replace_text(char **text, const char *with)
{
        free(*text);
        *text = with ? str_dup((struct str){ with, MIN(strlen(with), (size_t)TEXT_MAX) }) : NULL;
}

static void exit_clear(struct pod_exit *exit)
{
        free(exit->message);
        *exit = (struct pod_exit){};
}

void pod_worker_deinit(struct pod_worker *worker)
{
        for (size_t i = 0; i < LIMIT_CONTAINERS; i++) {
                exit_clear(&worker->containers[i].exit);
                exit_clear(&worker->containers[i].last);
                free(worker->containers[i].waiting_message);
        }
        free(worker->message);
        *worker = (struct pod_worker){};
}

/* ---- actions ---- */

static struct pod_action *act(struct pod_actions *actions, enum pod_action_type type)
{
        assert(actions->count < POD_ACTIONS_MAX);
        struct pod_action *action = &actions->items[actions->count++];
        action->type = type;
        action->container = 0;
        action->attempt = 0;
        action->role = POD_PROBE_STARTUP;
        action->hook = POD_HOOK_POST_START;
        action->is_warning = false;
        action->reason = NULL;
        action->message[0] = '\0';
        return action;
}

static void act_on(struct pod_actions *actions, enum pod_action_type type,
                   const struct pod_worker *worker, size_t index)
{
        struct pod_action *action = act(actions, type);

        action->container = index;
        action->attempt = worker->containers[index].attempt;
}

static void act_probe(struct pod_actions *actions, enum pod_action_type type,
                      const struct pod_worker *worker, size_t index, enum pod_probe_role role)
{
        act_on(actions, type, worker, index);
        actions->items[actions->count - 1].role = role;
}

static void act_hook(struct pod_actions *actions, enum pod_action_type type,
                     const struct pod_worker *worker, size_t index, enum pod_hook hook)
{
        act_on(actions, type, worker, index);
        actions->items[actions->count - 1].hook = hook;
}

static _printf_(4, 5) void act_event(struct pod_actions *actions, bool is_warning,
                                     const char *reason, const char *format, ...)
{
        struct pod_action *action = act(actions, POD_ACTION_EVENT);
        va_list arguments;

        action->is_warning = is_warning;
        action->reason = reason;
        va_start(arguments, format);
        vsnprintf(action->message, sizeof(action->message), format, arguments);
        va_end(arguments);
}

static void wake_at(struct pod_worker *worker, uint64_t when)
{
        if (worker->deadline == 0 || when < worker->deadline)
                worker->deadline = when;
}

/* Doubles *backoff from `first` to `last` and returns when to try again. */
static uint64_t back_off(uint64_t *backoff, uint64_t first, uint64_t last, uint64_t now)
{
        *backoff = *backoff == 0 ? first : MIN(*backoff * 2, last);
        return now + *backoff;
}

/* ---- what is true of a container ---- */

static bool is_alive(const struct pod_container_state *state)
{
        return state->phase == POD_CONTAINER_STARTING || state->phase == POD_CONTAINER_RUNNING;
}

static bool any_alive(const struct pod_worker *worker, size_t from, size_t to)
{
        for (size_t i = from; i < to; i++)
                if (is_alive(&worker->containers[i]))
                        return true;
        return false;
}

bool pod_worker_restarts(const struct pod_worker *worker, size_t index)
{
        const struct pod_container *container = &worker->spec->containers[index];
        bool failed = worker->containers[index].exit.code != 0;

        if (container->is_sidecar)
                return true;
        if (container->is_init)
                return failed && worker->spec->restart_policy != POD_RESTART_NEVER;
        return worker->spec->restart_policy == POD_RESTART_ALWAYS ||
               (worker->spec->restart_policy == POD_RESTART_ON_FAILURE && failed);
}

static bool has_ended(const struct pod_worker *worker, size_t index)
{
        return worker->containers[index].phase == POD_CONTAINER_EXITED &&
               !pod_worker_restarts(worker, index);
}

bool pod_worker_is_initialized(const struct pod_worker *worker)
{
        const struct pod_spec *spec = worker->spec;

        for (size_t i = spec->init_count; i < spec->container_count; i++)
                if (worker->containers[i].ran || is_alive(&worker->containers[i]))
                        return true;
        for (size_t i = 0; i < spec->init_count; i++) {
                const struct pod_container_state *state = &worker->containers[i];
                if (spec->containers[i].is_sidecar
                            ? state->phase != POD_CONTAINER_RUNNING || !state->startup_passed
                            : state->phase != POD_CONTAINER_EXITED || state->exit.code != 0)
                        return false;
        }
        return true;
}

bool pod_worker_has_finished(const struct pod_worker *worker)
{
        const struct pod_spec *spec = worker->spec;

        for (size_t i = 0; i < spec->init_count; i++)
                if (!spec->containers[i].is_sidecar && has_ended(worker, i) &&
                    worker->containers[i].exit.code != 0)
                        return true;
        if (spec->container_count == spec->init_count)
                return false;
        for (size_t i = spec->init_count; i < spec->container_count; i++)
                if (!has_ended(worker, i))
                        return false;
        return true;
}

bool pod_worker_is_stopping(const struct pod_worker *worker)
{
        return worker->is_removed || worker->is_terminal || worker->spec->is_deleting ||
               worker->is_refused || worker->is_ended || pod_worker_has_finished(worker);
}

bool pod_worker_is_idle(const struct pod_worker *worker)
{
        return !any_alive(worker, 0, worker->container_count);
}

/* ---- events ---- */

static void set_waiting(struct pod_container_state *state, const char *reason, const char *message)
{
        state->phase = POD_CONTAINER_WAITING;
        snprintf(state->waiting_reason, sizeof(state->waiting_reason), "%s", reason);
        replace_text(&state->waiting_message, message);
}

void pod_worker_attach(struct pod_worker *worker, const struct pod_spec *spec, struct pod_time now)
{
        if (!worker->spec) {
                assert(spec->container_count <= LIMIT_CONTAINERS);
                worker->container_count = spec->container_count;
                if (worker->start_time == 0)
                        worker->start_time = now.realtime;
                for (size_t i = 0; i < worker->container_count; i++)
                        if (worker->containers[i].waiting_reason[0] == '\0')
                                set_waiting(&worker->containers[i],
                                            spec->init_count > 0 ? "PodInitializing"
                                                                 : "ContainerCreating",
                                            NULL);
                worker->is_dirty = true;
        }
        assert(spec->container_count == worker->container_count);
        worker->spec = spec;
}

/* Moves the present exit to lastState, as a restart does. */
static void shift_exit(struct pod_container_state *state)
{
        if (!state->exit.is_set)
                return;
        exit_clear(&state->last);
        state->last = state->exit;
        state->exit = (struct pod_exit){};
}

/* As Go prints a duration: "10s", "1m20s", "5m0s". */
static void format_duration(uint64_t ns, char *text, size_t size)
{
        uint64_t seconds = ns / NS_PER_SECOND;

        if (seconds < 60)
                snprintf(text, size, "%us", (unsigned)seconds);
        else
                snprintf(text, size, "%um%us", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
}

/* After an exit, or at a restore: the container will be started again, now or after a while. */
static void plan_restart(struct pod_worker *worker, size_t index, uint64_t ran_ns,
                         struct pod_time now, struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];
        const struct pod_spec *spec = worker->spec;
        char duration[32], message[POD_MESSAGE_SIZE];

        if (ran_ns >= CRASH_BACKOFF_FORGET)
                state->backoff_ns = 0;
        shift_exit(state);
        state->is_restart = true;
        if (state->backoff_ns == 0) {
                state->backoff_ns = CRASH_BACKOFF_FIRST;
                state->retry_at = 0;
                set_waiting(state, "ContainerCreating", NULL);
                return;
        }
        format_duration(state->backoff_ns, duration, sizeof(duration));
        snprintf(message, sizeof(message),
                 "back-off %s restarting failed container=%.*s pod=%.*s_%.*s(%.*s)", duration,
                 STR_FORMAT(spec->containers[index].name), STR_FORMAT(spec->name),
                 STR_FORMAT(spec->namespace), STR_FORMAT(spec->uid));
        set_waiting(state, "CrashLoopBackOff", message);
        state->retry_at = now.monotonic + state->backoff_ns;
        state->backoff_ns = MIN(state->backoff_ns * 2, CRASH_BACKOFF_LAST);
        act_event(actions, true, "BackOff", "Back-off restarting failed container %.*s",
                  STR_FORMAT(spec->containers[index].name));
}

static void stop_probes(struct pod_worker *worker, size_t index, struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        for (unsigned role = 0; role < POD_PROBE_ROLES; role++)
                if (state->probes & 1U << role)
                        act_probe(actions, POD_ACTION_STOP_PROBE, worker, index,
                                  (enum pod_probe_role)role);
        state->probes = 0;
}

static void on_exited(struct pod_worker *worker, size_t index, const struct pod_event *event,
                      struct pod_time now, struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];
        struct pod_exit *exit = &state->exit;
        int code = event->signal ? EXIT_SIGNAL_BASE + event->signal : event->code;
        const char *reason = event->reason;

        if (!is_alive(state))
                return;
        if (event->oom)
                code = EXIT_SIGNAL_BASE + SIGKILL;
        if (!reason)
                reason = event->oom ? "OOMKilled" : code == 0 ? "Completed" : "Error";
        stop_probes(worker, index, actions);
        exit_clear(exit);
        exit->is_set = true;
        exit->code = code;
        exit->signal = event->signal;
        exit->started_at = state->started_at ? state->started_at : now.realtime;
        exit->finished_at = now.realtime;
        snprintf(exit->reason, sizeof(exit->reason), "%s", reason);
        memcpy(exit->id, state->id, sizeof(exit->id));
        replace_text(&exit->message, event->message);

        uint64_t ran_ns = state->started_monotonic ? now.monotonic - state->started_monotonic : 0;
        state->phase = POD_CONTAINER_EXITED;
        state->ran = true;
        state->ready = false;
        state->post_starting = state->pre_stopping = false;
        state->is_unconfirmed = false;
        state->kill_at = 0;
        worker->is_dirty = true;
        worker->publish_by = now.monotonic;
        if (!worker->is_restoring && !pod_worker_is_stopping(worker) &&
            pod_worker_restarts(worker, index))
                plan_restart(worker, index, ran_ns, now, actions);
}

/*
 * The launcher still knows this attempt. Status may say the same, or may have been written before
 * it began. Returns whether it is one that status knows to run.
 */
static bool restore_started(struct pod_container_state *state, const struct pod_event *event)
{
        const char *id = event->id ? event->id : "";

        state->attempt = event->attempt;
        if (state->phase == POD_CONTAINER_EXITED && strcmp(state->exit.id, id) == 0)
                return false;
        bool is_known = state->is_unconfirmed && strcmp(state->id, id) == 0;
        if (!is_known) {
                shift_exit(state);
                state->restart_count += state->ran;
                state->is_unconfirmed = false;
        }
        state->phase = POD_CONTAINER_STARTING;
        return is_known;
}

static void on_started(struct pod_worker *worker, size_t index, const struct pod_event *event,
                       struct pod_time now, struct pod_actions *actions)
{
        const struct pod_container *container = &worker->spec->containers[index];
        struct pod_container_state *state = &worker->containers[index];
        bool is_known = worker->is_restoring && restore_started(state, event);

        if (state->phase != POD_CONTAINER_STARTING)
                return;
        state->phase = POD_CONTAINER_RUNNING;
        if (!is_known) {
                state->started_at = now.realtime;
                state->post_starting = container->post_start.kind != POD_HANDLER_NONE;
                state->startup_passed = !state->post_starting &&
                                        container->startup.handler.kind == POD_HANDLER_NONE;
                state->ready = false;
        }
        state->is_unconfirmed = false;
        state->started_monotonic = now.monotonic;
        state->ran = true;
        state->refusal_backoff_ns = 0;
        snprintf(state->id, sizeof(state->id), "%s", event->id ? event->id : "");
        worker->is_dirty = true;
        if (worker->is_restoring)
                return;
        act_event(actions, false, "Started", "Started container %.*s", STR_FORMAT(container->name));
        if (state->post_starting)
                act_hook(actions, POD_ACTION_RUN_HOOK, worker, index, POD_HOOK_POST_START);
}

static void on_start_refused(struct pod_worker *worker, size_t index, const struct pod_event *event,
                             struct pod_time now, struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        if (state->phase != POD_CONTAINER_STARTING)
                return;
        set_waiting(state, event->reason ? event->reason : "CreateContainerError", event->message);
        state->retry_at = back_off(&state->refusal_backoff_ns, CRASH_BACKOFF_FIRST,
                                   CRASH_BACKOFF_LAST, now.monotonic);
        worker->is_dirty = true;
        worker->publish_by = now.monotonic;
        act_event(actions, true, "Failed", "Error: %s: %s", state->waiting_reason,
                  event->message ? event->message : "");
}

static void begin_anew(struct pod_worker *worker, struct pod_actions *actions)
{
        worker->sandbox = POD_SANDBOX_DESTROYING;
        act(actions, POD_ACTION_DESTROY_SANDBOX);
}

/* What is left of the attempt may hold a port: with nothing else to lose the whole sandbox goes. */
static void on_start_interrupted(struct pod_worker *worker, size_t index,
                                 struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        if (state->phase != POD_CONTAINER_STARTING)
                return;
        set_waiting(state, "ContainerCreating", NULL);
        if (worker->sandbox == POD_SANDBOX_UP && !any_alive(worker, 0, worker->container_count))
                begin_anew(worker, actions);
}

static void stop_container(struct pod_worker *worker, size_t index, uint64_t kill_at,
                           struct pod_time now, struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        if (!state->is_overrun && (state->kill_at == 0 || kill_at < state->kill_at))
                state->kill_at = kill_at;
        if (state->stop_sent)
                return;
        state->stop_sent = true;
        stop_probes(worker, index, actions);
        if (state->post_starting)
                act_on(actions, POD_ACTION_STOP_HOOK, worker, index);
        state->post_starting = false;
        if (state->kill_at <= now.monotonic)
                return;
        state->pre_stopping = worker->spec->containers[index].pre_stop.kind != POD_HANDLER_NONE;
        if (state->pre_stopping)
                act_hook(actions, POD_ACTION_RUN_HOOK, worker, index, POD_HOOK_PRE_STOP);
        else
                act_on(actions, POD_ACTION_STOP, worker, index);
}

static void on_hook_ended(struct pod_worker *worker, size_t index, const struct pod_event *event,
                          struct pod_time now, struct pod_actions *actions)
{
        const struct pod_container *container = &worker->spec->containers[index];
        struct pod_container_state *state = &worker->containers[index];
        bool is_start = event->hook == POD_HOOK_POST_START;

        if (is_start ? !state->post_starting : !state->pre_stopping)
                return;
        state->post_starting = state->pre_stopping = false;
        if (!event->healthy)
                act_event(actions, true, is_start ? "FailedPostStartHook" : "FailedPreStopHook",
                          "%s failed: %s", is_start ? "PostStartHook" : "PreStopHook",
                          event->message ? event->message : "");
        if (!is_start) {
                act_on(actions, POD_ACTION_STOP, worker, index);
                return;
        }
        worker->is_dirty = true;
        if (event->healthy) {
                state->startup_passed = container->startup.handler.kind == POD_HANDLER_NONE;
                return;
        }
        act_event(actions, false, "Killing", "FailedPostStartHook");
        stop_container(worker, index, now.monotonic + worker->spec->grace_s * NS_PER_SECOND, now,
                       actions);
}

static void on_probe(struct pod_worker *worker, size_t index, const struct pod_event *event,
                     struct pod_time now, struct pod_actions *actions)
{
        static const char *const names[] = { "Startup", "Liveness", "Readiness" };
        struct pod_container_state *state = &worker->containers[index];
        const struct pod_container *container = &worker->spec->containers[index];
        const struct pod_probe *probe =
                event->role == POD_PROBE_STARTUP ? &container->startup : &container->liveness;

        if (state->phase != POD_CONTAINER_RUNNING || !(state->probes & 1U << event->role))
                return;
        if (!event->healthy)
                act_event(actions, true, "Unhealthy", "%s probe failed: %s", names[event->role],
                          event->message ? event->message : "");
        if (event->role == POD_PROBE_READINESS) {
                worker->is_dirty |= state->ready != event->healthy;
                state->ready = event->healthy;
        } else if (event->healthy) {
                worker->is_dirty |= event->role == POD_PROBE_STARTUP;
                state->startup_passed |= event->role == POD_PROBE_STARTUP;
        } else {
                uint64_t grace =
                        probe->grace_s >= 0 ? (uint64_t)probe->grace_s : worker->spec->grace_s;
                act_event(actions, false, "Killing",
                          "Container %.*s failed %s probe, will be restarted",
                          STR_FORMAT(container->name),
                          event->role == POD_PROBE_STARTUP ? "startup" : "liveness");
                stop_container(worker, index, now.monotonic + grace * NS_PER_SECOND, now, actions);
        }
}

/* The sandbox is no more, and with it everything that was in it. */
static void end_containers(struct pod_worker *worker, const char *reason, const char *message,
                           struct pod_time now, struct pod_actions *actions)
{
        for (size_t i = 0; i < worker->container_count; i++) {
                struct pod_event lost = { .type = POD_EVENT_EXITED,
                                          .code = EXIT_LOST,
                                          .reason = reason,
                                          .message = message };
                on_exited(worker, i, &lost, now, actions);
        }
}

/* What was asked to start never did: that is no exit. */
static void unstart_containers(struct pod_worker *worker)
{
        for (size_t i = 0; i < worker->container_count; i++)
                if (worker->containers[i].phase == POD_CONTAINER_STARTING)
                        set_waiting(&worker->containers[i], "ContainerCreating", NULL);
}

static void on_sandbox_failed(struct pod_worker *worker, const char *message, struct pod_time now,
                              struct pod_actions *actions)
{
        if (worker->sandbox != POD_SANDBOX_CREATING)
                return;
        worker->sandbox = POD_SANDBOX_ABSENT;
        worker->sandbox_retry_at = back_off(&worker->sandbox_backoff_ns, SANDBOX_BACKOFF_FIRST,
                                            SANDBOX_BACKOFF_LAST, now.monotonic);
        unstart_containers(worker);
        end_containers(worker, "Error", message, now, actions);
        act_event(actions, true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s",
                  message ? message : "unknown");
}

static void on_sandbox_interrupted(struct pod_worker *worker, struct pod_actions *actions)
{
        if (worker->sandbox != POD_SANDBOX_CREATING)
                return;
        unstart_containers(worker);
        begin_anew(worker, actions);
}

static void on_restored(struct pod_worker *worker, struct pod_time now, struct pod_actions *actions)
{
        if (!worker->is_restoring)
                return;
        if (worker->sandbox_unconfirmed) {
                worker->sandbox_unconfirmed = false;
                worker->sandbox = POD_SANDBOX_ABSENT;
                worker->address = 0;
        }
        for (size_t i = 0; i < worker->container_count; i++) {
                struct pod_event lost = { .type = POD_EVENT_EXITED,
                                          .code = EXIT_LOST,
                                          .reason = "ContainerStatusUnknown",
                                          .message = "The container was not found after the "
                                                     "node restarted" };
                if (worker->containers[i].is_unconfirmed)
                        on_exited(worker, i, &lost, now, actions);
        }
        worker->is_restoring = false;
        for (size_t i = 0; i < worker->container_count; i++)
                if (worker->containers[i].post_starting)
                        act_hook(actions, POD_ACTION_RUN_HOOK, worker, i, POD_HOOK_POST_START);
        for (size_t i = 0; i < worker->container_count; i++)
                if (worker->containers[i].phase == POD_CONTAINER_EXITED &&
                    !pod_worker_is_stopping(worker) && pod_worker_restarts(worker, i))
                        plan_restart(worker, i, 0, now, actions);
        worker->is_dirty = true;
}

static void on_sandbox_event(struct pod_worker *worker, const struct pod_event *event,
                             struct pod_time now, struct pod_actions *actions)
{
        switch (event->type) {
        case POD_EVENT_SANDBOX_CREATED:
                if (worker->sandbox == POD_SANDBOX_CREATING || worker->is_restoring) {
                        worker->sandbox = POD_SANDBOX_UP;
                        worker->sandbox_unconfirmed = false;
                        worker->sandbox_backoff_ns = 0;
                        worker->address = event->address;
                        worker->is_dirty = true;
                }
                break;
        case POD_EVENT_SANDBOX_FAILED:
                on_sandbox_failed(worker, event->message, now, actions);
                break;
        case POD_EVENT_SANDBOX_INTERRUPTED:
                on_sandbox_interrupted(worker, actions);
                break;
        case POD_EVENT_SANDBOX_LOST:
                if (worker->sandbox == POD_SANDBOX_ABSENT)
                        break;
                worker->sandbox = POD_SANDBOX_ABSENT;
                if (!pod_worker_is_stopping(worker))
                        act_event(actions, true, "SandboxChanged",
                                  "Pod sandbox ended and will be re-created");
                unstart_containers(worker);
                end_containers(worker, "Error", event->message, now, actions);
                break;
        default:
                if (worker->sandbox == POD_SANDBOX_DESTROYING) {
                        worker->sandbox = POD_SANDBOX_ABSENT;
                        end_containers(worker, NULL, NULL, now, actions);
                        worker->is_dirty = true;
                }
                break;
        }
}

static void on_container_event(struct pod_worker *worker, const struct pod_event *event,
                               struct pod_time now, struct pod_actions *actions)
{
        size_t index = event->container;

        if (index >= worker->container_count ||
            (event->attempt != worker->containers[index].attempt && !worker->is_restoring))
                return;
        if (event->type == POD_EVENT_STARTED)
                on_started(worker, index, event, now, actions);
        else if (event->type == POD_EVENT_START_REFUSED)
                on_start_refused(worker, index, event, now, actions);
        else if (event->type == POD_EVENT_START_INTERRUPTED)
                on_start_interrupted(worker, index, actions);
        else if (event->type == POD_EVENT_EXITED)
                on_exited(worker, index, event, now, actions);
        else if (event->type == POD_EVENT_HOOK_ENDED)
                on_hook_ended(worker, index, event, now, actions);
        else
                on_probe(worker, index, event, now, actions);
}

static void on_refused(struct pod_worker *worker, const struct pod_event *event,
                       struct pod_actions *actions)
{
        if (worker->is_refused)
                return;
        worker->is_refused = true;
        snprintf(worker->reason, sizeof(worker->reason), "%s",
                 event->reason ? event->reason : "Unsupported");
        replace_text(&worker->message, event->message);
        act_event(actions, true, worker->reason, "%s", event->message ? event->message : "");
}

static void on_evicted(struct pod_worker *worker, const struct pod_event *event,
                       struct pod_actions *actions)
{
        if (pod_worker_is_stopping(worker))
                return;
        worker->is_ended = worker->is_evicted = true;
        snprintf(worker->reason, sizeof(worker->reason), "Evicted");
        replace_text(&worker->message, event->message);
        act_event(actions, true, "Evicted", "%s", event->message ? event->message : "");
}

static void take_event(struct pod_worker *worker, const struct pod_event *event,
                       struct pod_time now, struct pod_actions *actions)
{
        switch (event->type) {
        case POD_EVENT_DESIRED:
                pod_worker_attach(worker, event->spec, now);
                break;
        case POD_EVENT_REFUSED:
                on_refused(worker, event, actions);
                break;
        case POD_EVENT_REMOVED:
                worker->is_removed = true;
                break;
        case POD_EVENT_PREPARED:
                worker->prepared = true;
                worker->preparing = false;
                break;
        case POD_EVENT_PREPARE_FAILED:
                worker->preparing = false;
                worker->prepare_retry_at =
                        back_off(&worker->prepare_backoff_ns, SANDBOX_BACKOFF_FIRST,
                                 SANDBOX_BACKOFF_LAST, now.monotonic);
                act_event(actions, true, "FailedMount", "%s", event->message ? event->message : "");
                break;
        case POD_EVENT_SANDBOX_CREATED:
        case POD_EVENT_SANDBOX_FAILED:
        case POD_EVENT_SANDBOX_INTERRUPTED:
        case POD_EVENT_SANDBOX_LOST:
        case POD_EVENT_SANDBOX_DESTROYED:
                on_sandbox_event(worker, event, now, actions);
                break;
        case POD_EVENT_STARTED:
        case POD_EVENT_START_REFUSED:
        case POD_EVENT_START_INTERRUPTED:
        case POD_EVENT_EXITED:
        case POD_EVENT_PROBE:
        case POD_EVENT_HOOK_ENDED:
                on_container_event(worker, event, now, actions);
                break;
        case POD_EVENT_EVICTED:
                on_evicted(worker, event, actions);
                break;
        case POD_EVENT_DELETE_FAILED:
                worker->delete_sent = false;
                worker->delete_retry_at = now.monotonic + DELETE_RETRY;
                break;
        case POD_EVENT_RESTORED:
                on_restored(worker, now, actions);
                break;
        case POD_EVENT_TIMER:
                break;
        }
}

/* ---- what is to be done ---- */

static void begin_stop(struct pod_worker *worker, struct pod_time now)
{
        const struct pod_spec *spec = worker->spec;
        uint64_t grace = spec->is_deleting ? spec->deletion_grace_s : spec->grace_s;

        if (worker->is_evicted)
                grace = MIN(grace, (uint64_t)EVICTION_GRACE_S);
        uint64_t stop_by =
                worker->is_removed ? now.monotonic : now.monotonic + grace * NS_PER_SECOND;

        if (worker->stop_by == 0 || stop_by < worker->stop_by)
                worker->stop_by = MAX(stop_by, 1);
}

/* Sidecars end after the others and in reverse order, as they were there before them. */
static bool is_stop_due(const struct pod_worker *worker, size_t index)
{
        if (!worker->spec->containers[index].is_sidecar)
                return true;
        return !any_alive(worker, index + 1, worker->container_count);
}

static void advance_stop(struct pod_worker *worker, struct pod_time now,
                         struct pod_actions *actions)
{
        begin_stop(worker, now);
        for (size_t i = worker->container_count; i-- > 0;) {
                struct pod_container_state *state = &worker->containers[i];
                bool overdue = now.monotonic >= worker->stop_by;
                if (state->phase != POD_CONTAINER_RUNNING || (!is_stop_due(worker, i) && !overdue))
                        continue;
                if (!state->stop_sent)
                        act_event(actions, false, "Killing", "Stopping container %.*s",
                                  STR_FORMAT(worker->spec->containers[i].name));
                stop_container(worker, i, worker->stop_by, now, actions);
        }
        if (!pod_worker_is_idle(worker) && now.monotonic < worker->stop_by)
                wake_at(worker, worker->stop_by);
        else if (!pod_worker_is_idle(worker) && !worker->is_removed &&
                 now.monotonic < worker->stop_by + KILL_WAIT)
                wake_at(worker, worker->stop_by + KILL_WAIT);
        else if (worker->sandbox == POD_SANDBOX_UP ||
                 (worker->is_removed && worker->sandbox == POD_SANDBOX_CREATING)) {
                worker->sandbox = POD_SANDBOX_DESTROYING;
                act(actions, POD_ACTION_DESTROY_SANDBOX);
        }
}

/* The hook took all the time that there was: the main process still gets its signal. */
static void overrun_hook(struct pod_worker *worker, size_t index, struct pod_time now,
                         struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        act_on(actions, POD_ACTION_STOP_HOOK, worker, index);
        act_event(actions, true, "FailedPreStopHook",
                  "PreStopHook did not end within the grace period");
        act_on(actions, POD_ACTION_STOP, worker, index);
        state->pre_stopping = false;
        state->is_overrun = true;
        state->kill_at = now.monotonic + HOOK_OVERRUN;
}

static void advance_kills(struct pod_worker *worker, struct pod_time now,
                          struct pod_actions *actions)
{
        for (size_t i = 0; i < worker->container_count; i++) {
                struct pod_container_state *state = &worker->containers[i];
                if (state->phase != POD_CONTAINER_RUNNING || state->kill_at == 0 ||
                    state->kill_sent)
                        continue;
                if (now.monotonic >= state->kill_at && state->pre_stopping)
                        overrun_hook(worker, i, now, actions);
                if (now.monotonic < state->kill_at) {
                        wake_at(worker, state->kill_at);
                        continue;
                }
                state->kill_sent = true;
                act_on(actions, POD_ACTION_KILL, worker, i);
        }
}

static void advance_sandbox(struct pod_worker *worker, struct pod_time now,
                            struct pod_actions *actions)
{
        if (!worker->prepared && !worker->preparing) {
                if (now.monotonic >= worker->prepare_retry_at) {
                        worker->preparing = true;
                        act(actions, POD_ACTION_PREPARE);
                } else {
                        wake_at(worker, worker->prepare_retry_at);
                }
        }
        if (worker->sandbox == POD_SANDBOX_ABSENT) {
                if (now.monotonic >= worker->sandbox_retry_at) {
                        worker->sandbox = POD_SANDBOX_CREATING;
                        act(actions, POD_ACTION_CREATE_SANDBOX);
                } else {
                        wake_at(worker, worker->sandbox_retry_at);
                }
        }
}

static void start_container(struct pod_worker *worker, size_t index, struct pod_time now,
                            struct pod_actions *actions)
{
        struct pod_container_state *state = &worker->containers[index];

        if (state->phase != POD_CONTAINER_WAITING || !worker->prepared ||
            (worker->sandbox != POD_SANDBOX_CREATING && worker->sandbox != POD_SANDBOX_UP))
                return;
        if (now.monotonic < state->retry_at) {
                wake_at(worker, state->retry_at);
                return;
        }
        state->phase = POD_CONTAINER_STARTING;
        state->attempt++;
        state->retry_at = 0;
        if (state->is_restart)
                state->restart_count++;
        state->is_restart = false;
        state->startup_passed = state->ready = false;
        state->stop_sent = state->kill_sent = state->is_overrun = false;
        state->kill_at = 0;
        state->started_at = state->started_monotonic = 0;
        act_on(actions, POD_ACTION_START, worker, index);
}

static void advance_containers(struct pod_worker *worker, struct pod_time now,
                               struct pod_actions *actions)
{
        const struct pod_spec *spec = worker->spec;
        bool initialized = pod_worker_is_initialized(worker);

        for (size_t i = 0; i < spec->init_count; i++) {
                const struct pod_container_state *state = &worker->containers[i];
                if (spec->containers[i].is_sidecar) {
                        start_container(worker, i, now, actions);
                        if (!initialized &&
                            (state->phase != POD_CONTAINER_RUNNING || !state->startup_passed))
                                return;
                } else if (!initialized) {
                        start_container(worker, i, now, actions);
                        if (state->phase != POD_CONTAINER_EXITED)
                                return;
                }
        }
        for (size_t i = spec->init_count; i < spec->container_count; i++)
                start_container(worker, i, now, actions);
}

static unsigned wanted_probes(const struct pod_worker *worker, size_t index)
{
        const struct pod_container *container = &worker->spec->containers[index];
        const struct pod_container_state *state = &worker->containers[index];

        if (state->phase != POD_CONTAINER_RUNNING || state->stop_sent || state->post_starting ||
            worker->sandbox != POD_SANDBOX_UP)
                return 0;
        if (!state->startup_passed)
                return 1U << POD_PROBE_STARTUP;
        return (container->liveness.handler.kind != POD_HANDLER_NONE ? 1U << POD_PROBE_LIVENESS
                                                                     : 0) |
               (container->readiness.handler.kind != POD_HANDLER_NONE ? 1U << POD_PROBE_READINESS
                                                                      : 0);
}

static void advance_probes(struct pod_worker *worker, struct pod_actions *actions)
{
        for (size_t i = 0; i < worker->container_count; i++) {
                struct pod_container_state *state = &worker->containers[i];
                unsigned wanted = wanted_probes(worker, i);
                for (unsigned role = 0; role < POD_PROBE_ROLES; role++) {
                        unsigned bit = 1U << role;
                        if ((wanted & bit) == (state->probes & bit))
                                continue;
                        act_probe(actions,
                                  wanted & bit ? POD_ACTION_START_PROBE : POD_ACTION_STOP_PROBE,
                                  worker, i, (enum pod_probe_role)role);
                }
                state->probes = wanted;
        }
}

static void check_active_deadline(struct pod_worker *worker, struct pod_time now,
                                  struct pod_actions *actions)
{
        uint64_t seconds = worker->spec->active_deadline_s;

        if (seconds == 0 || worker->is_ended || pod_worker_is_stopping(worker))
                return;
        uint64_t ends = worker->start_time + seconds * NS_PER_SECOND;
        if (now.realtime < ends) {
                wake_at(worker, now.monotonic + (ends - now.realtime));
                return;
        }
        worker->is_ended = true;
        snprintf(worker->reason, sizeof(worker->reason), "DeadlineExceeded");
        replace_text(&worker->message,
                     "Pod was active on the node longer than the specified deadline");
        act_event(actions, false, "DeadlineExceeded", "%s",
                  "Pod was active on the node longer than the specified deadline");
}

/*
 * Readiness, exits and refusals are published at once. Mere progress waits a moment, so that a Pod
 * that becomes ready soon costs one write, which no earlier one holds up: in milliseconds if it is
 * alone, later if it starts beside many.
 */
static void advance_publish(struct pod_worker *worker, bool urgent, struct pod_time now,
                            struct pod_actions *actions)
{
        if (!worker->is_dirty)
                return;
        uint64_t hold = worker->phase != POD_PENDING        ? PUBLISH_HOLD
                        : worker->sandbox == POD_SANDBOX_UP ? START_HOLD
                                                            : QUEUE_HOLD;
        uint64_t by = now.monotonic + (urgent ? 0 : hold);
        if (worker->publish_by == 0 || by < worker->publish_by)
                worker->publish_by = by;
        if (now.monotonic < worker->publish_by) {
                wake_at(worker, worker->publish_by);
                return;
        }
        worker->is_dirty = false;
        worker->publish_by = 0;
        act(actions, POD_ACTION_PUBLISH);
}

static void advance_delete(struct pod_worker *worker, struct pod_time now,
                           struct pod_actions *actions)
{
        if (!worker->spec->is_deleting || worker->delete_sent || !pod_worker_is_idle(worker) ||
            worker->sandbox != POD_SANDBOX_ABSENT)
                return;
        if (now.monotonic < worker->delete_retry_at) {
                wake_at(worker, worker->delete_retry_at);
                return;
        }
        worker->delete_sent = true;
        act(actions, POD_ACTION_DELETE);
}

static void advance(struct pod_worker *worker, struct pod_time now, struct pod_actions *actions)
{
        if (!worker->spec || worker->is_released || worker->is_restoring)
                return;
        worker->deadline = 0;
        check_active_deadline(worker, now, actions);
        if (pod_worker_is_stopping(worker)) {
                advance_stop(worker, now, actions);
        } else {
                advance_sandbox(worker, now, actions);
                advance_containers(worker, now, actions);
        }
        advance_kills(worker, now, actions);
        advance_probes(worker, actions);
        if (worker->is_removed) {
                if (worker->sandbox == POD_SANDBOX_ABSENT) {
                        worker->is_released = true;
                        act(actions, POD_ACTION_RELEASE);
                }
                return;
        }
        bool urgent = pod_status_derive(worker, now.realtime);
        advance_publish(worker, urgent, now, actions);
        advance_delete(worker, now, actions);
}

void pod_worker_handle(struct pod_worker *worker, const struct pod_event *event,
                       struct pod_time now, struct pod_actions *actions)
{
        take_event(worker, event, now, actions);
        advance(worker, now, actions);
}
