// SPDX-License-Identifier: Apache-2.0
#include "node/pod_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "json/writer.h"

static const char *const phase_names[] = { "Pending", "Running", "Succeeded", "Failed" };
static const char *const condition_names[POD_CONDITIONS] = {
        [POD_CONDITION_READY_TO_START] = "PodReadyToStartContainers",
        [POD_CONDITION_INITIALIZED] = "Initialized",
        [POD_CONDITION_READY] = "Ready",
        [POD_CONDITION_CONTAINERS_READY] = "ContainersReady",
};

#define ID_SCHEME "cay://"

/* ---- deriving ---- */

static bool is_ready(const struct pod_worker *worker, size_t index)
{
        const struct pod_container *container = &worker->spec->containers[index];
        const struct pod_container_state *state = &worker->containers[index];

        if (container->is_init && !container->is_sidecar)
                return state->phase == POD_CONTAINER_EXITED && state->exit.code == 0;
        return state->phase == POD_CONTAINER_RUNNING && state->startup_passed &&
               (container->readiness.handler.kind == POD_HANDLER_NONE || state->ready);
}

static bool all_ready(const struct pod_worker *worker)
{
        const struct pod_spec *spec = worker->spec;

        for (size_t i = 0; i < spec->container_count; i++)
                if ((!spec->containers[i].is_init || spec->containers[i].is_sidecar) &&
                    !is_ready(worker, i))
                        return false;
        return spec->container_count > spec->init_count;
}

static bool gates_open(const struct pod_spec *spec)
{
        for (size_t i = 0; i < spec->readiness_gates.count; i++) {
                bool open = false;
                json_for_each (it, json_get(spec->status, "conditions")) {
                        if (json_string_is(json_get(it.value, "type"),
                                           spec->readiness_gates.items[i]))
                                open = json_string_is(json_get(it.value, "status"), STR("True"));
                }
                if (!open)
                        return false;
        }
        return true;
}

static bool has_succeeded(const struct pod_worker *worker)
{
        const struct pod_spec *spec = worker->spec;

        for (size_t i = 0; i < spec->container_count; i++)
                if (!spec->containers[i].is_sidecar &&
                    (worker->containers[i].phase != POD_CONTAINER_EXITED ||
                     worker->containers[i].exit.code != 0))
                        return false;
        return spec->container_count > spec->init_count;
}

static bool any_ran(const struct pod_worker *worker)
{
        for (size_t i = 0; i < worker->container_count; i++)
                if (worker->containers[i].ran)
                        return true;
        return false;
}

static enum pod_phase derive_phase(struct pod_worker *worker)
{
        const struct pod_spec *spec = worker->spec;

        if (worker->is_terminal)
                return worker->phase;
        if (pod_worker_is_idle(worker)) {
                worker->is_terminal = worker->is_refused || worker->is_ended ||
                                      pod_worker_has_finished(worker) ||
                                      (spec->is_deleting && any_ran(worker));
                if (worker->is_refused || worker->is_ended)
                        return POD_FAILED;
                if (worker->is_terminal)
                        return has_succeeded(worker) ? POD_SUCCEEDED : POD_FAILED;
        }
        if (!pod_worker_is_initialized(worker))
                return POD_PENDING;
        for (size_t i = spec->init_count; i < spec->container_count; i++)
                if (!worker->containers[i].ran ||
                    (worker->containers[i].post_starting && !worker->containers[i].last.is_set))
                        return POD_PENDING;
        return POD_RUNNING;
}

/* Returns whether it changed. */
static bool set_condition(struct pod_worker *worker, enum pod_condition which, bool is_true,
                          const char *reason, uint64_t realtime)
{
        struct pod_condition_state *condition = &worker->conditions[which];

        if (condition->is_set && condition->is_true == is_true && condition->reason == reason)
                return false;
        if (!condition->is_set || condition->is_true != is_true)
                condition->changed_at = realtime;
        condition->is_set = true;
        condition->is_true = is_true;
        condition->reason = reason;
        worker->is_dirty = true;
        return true;
}

bool pod_status_derive(struct pod_worker *worker, uint64_t realtime)
{
        bool was_terminal = worker->is_terminal;
        enum pod_phase phase = derive_phase(worker);

        if (phase != worker->phase) {
                worker->phase = phase;
                worker->is_dirty = true;
        }
        const char *ended = !worker->is_terminal     ? NULL
                            : phase == POD_SUCCEEDED ? "PodCompleted"
                                                     : "PodFailed";
        bool initialized = pod_worker_is_initialized(worker) || phase == POD_SUCCEEDED;
        bool containers_ready = !ended && all_ready(worker);
        bool ready = containers_ready && gates_open(worker->spec);

        set_condition(worker, POD_CONDITION_READY_TO_START, worker->sandbox == POD_SANDBOX_UP, NULL,
                      realtime);
        set_condition(worker, POD_CONDITION_INITIALIZED, initialized,
                      !initialized             ? "ContainersNotInitialized"
                      : phase == POD_SUCCEEDED ? "PodCompleted"
                                               : NULL,
                      realtime);
        set_condition(worker, POD_CONDITION_CONTAINERS_READY, containers_ready,
                      containers_ready ? NULL
                      : ended          ? ended
                                       : "ContainersNotReady",
                      realtime);
        bool was_ready = worker->conditions[POD_CONDITION_READY].is_set &&
                         worker->conditions[POD_CONDITION_READY].is_true;
        set_condition(worker, POD_CONDITION_READY, ready,
                      ready              ? NULL
                      : ended            ? ended
                      : containers_ready ? "ReadinessGatesNotReady"
                                         : "ContainersNotReady",
                      realtime);
        return ready != was_ready || worker->is_terminal != was_terminal;
}

/* ---- writing ---- */

static void write_time(struct json_writer *writer, const char *key, uint64_t realtime)
{
        char text[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(realtime, text);
        json_field_string(writer, key, str_from(text));
}

/* "containers with unready status: [a b]", as the kubelet words it. */
static void write_unready_message(const struct pod_worker *worker, bool of_init, const char *start,
                                  struct json_writer *writer)
{
        const struct pod_spec *spec = worker->spec;
        char text[POD_MESSAGE_SIZE];
        size_t used = (size_t)snprintf(text, sizeof(text), "%s: [", start);
        bool first = true;

        for (size_t i = of_init ? 0 : spec->init_count;
             i < (of_init ? spec->init_count : spec->container_count); i++) {
                if (is_ready(worker, i) || used + LIMIT_LABEL + 3 > sizeof(text))
                        continue;
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s",
                                         first ? "" : " ",
                                         (int)MIN(spec->containers[i].name.length, LIMIT_LABEL),
                                         spec->containers[i].name.data);
                first = false;
        }
        snprintf(text + used, sizeof(text) - used, "]");
        json_field_string(writer, "message", str_from(text));
}

static void write_condition(const struct pod_worker *worker, enum pod_condition which,
                            struct json_writer *writer)
{
        const struct pod_condition_state *condition = &worker->conditions[which];

        json_begin_object(writer);
        json_field_string(writer, "type", str_from(condition_names[which]));
        json_field_string(writer, "status", condition->is_true ? STR("True") : STR("False"));
        write_time(writer, "lastTransitionTime", condition->changed_at);
        if (condition->reason) {
                json_field_string(writer, "reason", str_from(condition->reason));
                if (strcmp(condition->reason, "ContainersNotReady") == 0)
                        write_unready_message(worker, false, "containers with unready status",
                                              writer);
                else if (strcmp(condition->reason, "ContainersNotInitialized") == 0)
                        write_unready_message(worker, true, "containers with incomplete status",
                                              writer);
        }
        json_end_object(writer);
}

static bool is_own_condition(struct json_value condition)
{
        for (size_t i = 0; i < POD_CONDITIONS; i++)
                if (json_string_is(json_get(condition, "type"), str_from(condition_names[i])))
                        return true;
        return false;
}

static void write_conditions(const struct pod_worker *worker, struct json_writer *writer)
{
        bool is_scheduled = false;

        json_field_array(writer, "conditions");
        for (size_t i = 0; i < POD_CONDITIONS; i++)
                if (worker->conditions[i].is_set)
                        write_condition(worker, (enum pod_condition)i, writer);
        json_for_each (it, json_get(worker->spec->status, "conditions")) {
                if (is_own_condition(it.value))
                        continue;
                is_scheduled |= json_string_is(json_get(it.value, "type"), STR("PodScheduled"));
                json_write_value(writer, it.value);
        }
        if (!is_scheduled) {
                json_begin_object(writer);
                json_field_string(writer, "type", STR("PodScheduled"));
                json_field_string(writer, "status", STR("True"));
                write_time(writer, "lastTransitionTime", worker->start_time);
                json_end_object(writer);
        }
        json_end_array(writer);
}

static void write_id(struct json_writer *writer, const char *id)
{
        char text[sizeof(ID_SCHEME) + POD_CONTAINER_ID_SIZE];

        if (id[0] == '\0')
                return;
        snprintf(text, sizeof(text), ID_SCHEME "%s", id);
        json_field_string(writer, "containerID", str_from(text));
}

static void write_exit(const struct pod_exit *exit, struct json_writer *writer)
{
        json_field_object(writer, "terminated");
        json_field_int(writer, "exitCode", exit->code);
        if (exit->signal)
                json_field_int(writer, "signal", exit->signal);
        json_field_string(writer, "reason", str_from(exit->reason));
        if (exit->message)
                json_field_string(writer, "message", str_from(exit->message));
        write_time(writer, "startedAt", exit->started_at);
        write_time(writer, "finishedAt", exit->finished_at);
        write_id(writer, exit->id);
        json_end_object(writer);
}

static void write_state(const struct pod_container_state *state, struct json_writer *writer)
{
        json_field_object(writer, "state");
        if (state->phase == POD_CONTAINER_RUNNING && state->post_starting) {
                json_field_object(writer, "waiting");
                json_field_string(writer, "reason", STR("ContainerCreating"));
                json_end_object(writer);
        } else if (state->phase == POD_CONTAINER_RUNNING) {
                json_field_object(writer, "running");
                write_time(writer, "startedAt", state->started_at);
                json_end_object(writer);
        } else if (state->phase == POD_CONTAINER_EXITED) {
                write_exit(&state->exit, writer);
        } else {
                json_field_object(writer, "waiting");
                json_field_string(writer, "reason", str_from(state->waiting_reason));
                if (state->waiting_message)
                        json_field_string(writer, "message", str_from(state->waiting_message));
                json_end_object(writer);
        }
        json_end_object(writer);
}

static void write_container(const struct pod_worker *worker, size_t index,
                            struct json_writer *writer)
{
        const struct pod_container *container = &worker->spec->containers[index];
        const struct pod_container_state *state = &worker->containers[index];

        json_begin_object(writer);
        json_field_string(writer, "name", container->name);
        write_state(state, writer);
        json_field_object(writer, "lastState");
        if (state->last.is_set)
                write_exit(&state->last, writer);
        json_end_object(writer);
        json_field_bool(writer, "ready", is_ready(worker, index));
        json_field_int(writer, "restartCount", state->restart_count);
        json_field_string(writer, "image", container->image);
        json_field_string(writer, "imageID", state->ran ? container->image : STR_EMPTY);
        write_id(writer, state->id);
        json_field_bool(writer, "started",
                        state->phase == POD_CONTAINER_RUNNING && state->startup_passed);
        json_end_object(writer);
}

static void write_addresses(struct json_writer *writer, const char *key, const char *list_key,
                            uint32_t address)
{
        char text[ADDRESS_TEXT_SIZE];

        if (address == 0)
                return;
        address_format(address, text);
        json_field_string(writer, key, str_from(text));
        json_field_array(writer, list_key);
        json_begin_object(writer);
        json_field_string(writer, "ip", str_from(text));
        json_end_object(writer);
        json_end_array(writer);
}

int pod_worker_write_status(const struct pod_worker *worker, struct buffer *out)
{
        const struct pod_spec *spec = worker->spec;
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "phase", str_from(phase_names[worker->phase]));
        if (worker->reason[0])
                json_field_string(&writer, "reason", str_from(worker->reason));
        if (worker->message)
                json_field_string(&writer, "message", str_from(worker->message));
        write_conditions(worker, &writer);
        write_addresses(&writer, "hostIP", "hostIPs", worker->host_address);
        write_addresses(&writer, "podIP", "podIPs", worker->address);
        write_time(&writer, "startTime", worker->start_time);
        if (spec->init_count > 0) {
                json_field_array(&writer, "initContainerStatuses");
                for (size_t i = 0; i < spec->init_count; i++)
                        write_container(worker, i, &writer);
                json_end_array(&writer);
        }
        if (spec->container_count > spec->init_count) {
                json_field_array(&writer, "containerStatuses");
                for (size_t i = spec->init_count; i < spec->container_count; i++)
                        write_container(worker, i, &writer);
                json_end_array(&writer);
        }
        json_field_string(&writer, "qosClass", str_from(pod_qos_name(spec->qos)));
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

/* ---- taking over ---- */

static uint64_t read_time(struct json_value value, uint64_t fallback)
{
        uint64_t realtime;

        return rfc3339_parse(json_string(value), &realtime) < 0 ? fallback : realtime;
}

static void read_text(struct json_value value, char *text, size_t size)
{
        struct str s = json_string(value);

        snprintf(text, size, "%.*s", (int)MIN(s.length, size - 1), s.data ? s.data : "");
}

static void read_id(struct json_value value, char id[static POD_CONTAINER_ID_SIZE])
{
        char text[sizeof(ID_SCHEME) + POD_CONTAINER_ID_SIZE];

        read_text(value, text, sizeof(text));
        id[0] = '\0';
        if (strncmp(text, ID_SCHEME, strlen(ID_SCHEME)) == 0)
                snprintf(id, POD_CONTAINER_ID_SIZE, "%.*s", POD_CONTAINER_ID_SIZE - 1,
                         text + strlen(ID_SCHEME));
}

static void read_exit(struct json_value terminated, uint64_t now, struct pod_exit *exit)
{
        struct json_value message = json_get(terminated, "message");

        exit->is_set = true;
        exit->code = (int)(json_int64_or(json_get(terminated, "exitCode"), 0) & 0xff);
        exit->signal = (int)(json_int64_or(json_get(terminated, "signal"), 0) & 0x7f);
        exit->started_at = read_time(json_get(terminated, "startedAt"), now);
        exit->finished_at = read_time(json_get(terminated, "finishedAt"), now);
        read_text(json_get(terminated, "reason"), exit->reason, sizeof(exit->reason));
        read_id(json_get(terminated, "containerID"), exit->id);
        if (json_exists(message))
                exit->message = str_dup(json_string(message));
}

static void restore_container(struct pod_container_state *state,
                              const struct pod_container *container, struct json_value status,
                              uint64_t now)
{
        struct json_value running = json_get(status, "state", "running");
        struct json_value terminated = json_get(status, "state", "terminated");
        struct json_value last = json_get(status, "lastState", "terminated");
        int64_t restarts = json_int64_or(json_get(status, "restartCount"), 0);

        state->restart_count = (uint32_t)(restarts < 0 ? 0 : MIN(restarts, INT32_MAX));
        state->attempt = state->restart_count + 1;
        read_id(json_get(status, "containerID"), state->id);
        if (json_exists(last)) {
                read_exit(last, now, &state->last);
                state->ran = true;
        }
        if (json_exists(running)) {
                state->phase = POD_CONTAINER_RUNNING;
                state->is_unconfirmed = true;
                state->ran = true;
                state->started_at = read_time(json_get(running, "startedAt"), now);
                state->startup_passed = container->startup.handler.kind == POD_HANDLER_NONE ||
                                        json_bool_or(json_get(status, "started"), false);
                state->ready = json_bool_or(json_get(status, "ready"), false);
        } else if (json_exists(terminated)) {
                state->phase = POD_CONTAINER_EXITED;
                state->ran = true;
                read_exit(terminated, now, &state->exit);
                state->started_at = state->exit.started_at;
        } else {
                state->is_restart = state->ran;
        }
}

static void restore_containers(struct pod_worker *worker, const struct pod_spec *spec,
                               struct json_value statuses, uint64_t now)
{
        json_for_each (it, statuses) {
                int index = pod_spec_find_container(spec, json_string(json_get(it.value, "name")));
                if (index >= 0 && worker->containers[index].attempt == 0)
                        restore_container(&worker->containers[index], &spec->containers[index],
                                          it.value, now);
        }
}

void pod_worker_restore(struct pod_worker *worker, const struct pod_spec *spec, struct pod_time now)
{
        struct json_value status = spec->status;

        worker->is_restoring = true;
        worker->start_time = read_time(json_get(status, "startTime"), now.realtime);
        for (size_t i = 0; i < ARRAY_SIZE(phase_names); i++)
                if (json_string_is(json_get(status, "phase"), str_from(phase_names[i])))
                        worker->phase = (enum pod_phase)i;
        worker->is_terminal = worker->phase == POD_SUCCEEDED || worker->phase == POD_FAILED;
        read_text(json_get(status, "reason"), worker->reason, sizeof(worker->reason));
        if (json_exists(json_get(status, "message")))
                worker->message = str_dup(json_string(json_get(status, "message")));
        if (address_parse(json_string(json_get(status, "podIP")), &worker->address) < 0)
                worker->address = 0;
        worker->sandbox_unconfirmed = worker->address != 0 && !worker->is_terminal;
        json_for_each (it, json_get(status, "conditions")) {
                for (size_t i = 0; i < POD_CONDITIONS; i++) {
                        struct pod_condition_state *condition = &worker->conditions[i];
                        if (!json_string_is(json_get(it.value, "type"),
                                            str_from(condition_names[i])))
                                continue;
                        condition->is_set = true;
                        condition->is_true =
                                json_string_is(json_get(it.value, "status"), STR("True"));
                        condition->changed_at =
                                read_time(json_get(it.value, "lastTransitionTime"), now.realtime);
                }
        }
        restore_containers(worker, spec, json_get(status, "initContainerStatuses"), now.realtime);
        restore_containers(worker, spec, json_get(status, "containerStatuses"), now.realtime);
        for (size_t i = 0; i < spec->container_count && i < LIMIT_CONTAINERS; i++)
                if (worker->containers[i].waiting_reason[0] == '\0')
                        snprintf(worker->containers[i].waiting_reason,
                                 sizeof(worker->containers[i].waiting_reason), "%s",
                                 spec->init_count > 0 ? "PodInitializing" : "ContainerCreating");
        pod_worker_attach(worker, spec, now);
}
