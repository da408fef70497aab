// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <stdio.h>

#include "apiserver/columns_internal.h"
#include "base/clock.h"
#include "kube/table.h"

/* k8s.io/kubernetes pkg/printers/internalversion printPod(). */

/* What an unfinished init container makes of the status; false when none stands in the way. */
static bool print_init_status(struct cell *cell, struct json_value pod)
{
        struct json_value statuses = json_get(pod, "status", "initContainerStatuses");
        size_t total = json_count(json_get(pod, "spec", "initContainers")), i = 0;

        json_for_each (it, statuses) {
                struct json_value terminated = json_get(it.value, "state", "terminated");
                struct json_value reason = json_get(it.value, "state", "waiting", "reason");
                int64_t code = json_int64_or(json_get(terminated, "exitCode"), 0);

                i++;
                if (json_exists(terminated) && code == 0)
                        continue;
                if (json_exists(terminated)) {
                        if (json_string(json_get(terminated, "reason")).length > 0)
                                cell_add(cell, "Init:%.*s",
                                         STR_FORMAT(json_string(json_get(terminated, "reason"))));
                        else if (json_int64_or(json_get(terminated, "signal"), 0) != 0)
                                cell_add(cell, "Init:Signal:%lld",
                                         (long long)json_int64_or(json_get(terminated, "signal"),
                                                                  0));
                        else
                                cell_add(cell, "Init:ExitCode:%lld", (long long)code);
                } else if (json_string(reason).length > 0 &&
                           !json_string_is(reason, STR("PodInitializing"))) {
                        cell_add(cell, "Init:%.*s", STR_FORMAT(json_string(reason)));
                } else {
                        cell_add(cell, "Init:%zu/%zu", i - 1, total);
                }
                return true;
        }
        return false;
}

/* The last container's reason to wait or to have ended. */
static struct str container_reason(struct json_value pod, struct cell *cell, bool *ret_running)
{
        struct json_value statuses = json_get(pod, "status", "containerStatuses");
        struct str found = STR_EMPTY;

        for (size_t i = json_count(statuses); i-- > 0;) {
                struct json_value state = json_get(json_element(statuses, i), "state");
                struct json_value terminated = json_get(state, "terminated");
                struct str waiting = json_string(json_get(state, "waiting", "reason"));

                if (waiting.length > 0) {
                        found = waiting;
                } else if (json_string(json_get(terminated, "reason")).length > 0) {
                        found = json_string(json_get(terminated, "reason"));
                } else if (json_exists(terminated)) {
                        int64_t signal = json_int64_or(json_get(terminated, "signal"), 0);
                        int64_t code = json_int64_or(json_get(terminated, "exitCode"), 0);
                        cell->length = 0;
                        if (signal != 0)
                                cell_add(cell, "Signal:%lld", (long long)signal);
                        else
                                cell_add(cell, "ExitCode:%lld", (long long)code);
                        found = (struct str){ cell->text, cell->length };
                } else if (json_exists(json_get(state, "running")) &&
                           json_bool_or(json_get(json_element(statuses, i), "ready"), false)) {
                        *ret_running = true;
                }
        }
        return found;
}

static bool is_ready(struct json_value pod)
{
        json_for_each (it, json_get(pod, "status", "conditions")) {
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        }
        return false;
}

static void print_status(struct cell *cell, struct json_value pod)
{
        struct json_value status = json_get(pod, "status");
        struct str reason = json_string(json_get(status, "reason")), container;
        bool running = false;

        if (json_exists(json_get(pod, "metadata", "deletionTimestamp"))) {
                cell_add(cell, str_equal(reason, STR("NodeLost")) ? "Unknown" : "Terminating");
                return;
        }
        if (print_init_status(cell, pod))
                return;
        container = container_reason(pod, cell, &running);
        if (container.data == cell->text && container.length > 0)
                return;
        if (str_equal(container, STR("Completed")) && running)
                container = is_ready(pod) ? STR("Running") : STR("NotReady");
        if (container.length == 0)
                container = reason.length > 0 ? reason : json_string(json_get(status, "phase"));
        cell_add(cell, "%.*s", STR_FORMAT(container));
}

static void print_restarts(struct cell *cell, struct json_value pod)
{
        uint64_t last = 0, when;
        int64_t count = 0;

        json_for_each (it, json_get(pod, "status", "containerStatuses")) {
                struct json_value finished =
                        json_get(it.value, "lastState", "terminated", "finishedAt");
                count += json_int64_or(json_get(it.value, "restartCount"), 0);
                if (rfc3339_parse(json_string(finished), &when) == 0 && when > last)
                        last = when;
        }
        cell_add(cell, "%lld", (long long)count);
        if (count > 0 && last > 0) {
                char text[HUMAN_DURATION_SIZE];
                int64_t seconds = ((int64_t)cell->now_ns - (int64_t)last) / (int64_t)NS_PER_SECOND;
                cell_add(cell, " (%.*s ago)", STR_FORMAT(human_duration(seconds, text)));
        }
}

static void print_ready(struct cell *cell, struct json_value pod)
{
        size_t ready = 0;

        json_for_each (it, json_get(pod, "status", "containerStatuses")) {
                ready += json_bool_or(json_get(it.value, "ready"), false) &&
                         json_exists(json_get(it.value, "state", "running"));
        }
        cell_add(cell, "%zu/%zu", ready, json_count(json_get(pod, "spec", "containers")));
}

static void print_gates(struct cell *cell, struct json_value pod)
{
        struct json_value gates = json_get(pod, "spec", "readinessGates");
        size_t true_count = 0;

        if (json_count(gates) == 0) {
                cell_add(cell, "<none>");
                return;
        }
        json_for_each (gate, gates) {
                json_for_each (condition, json_get(pod, "status", "conditions")) {
                        true_count +=
                                json_equal(json_get(condition.value, "type"),
                                           json_get(gate.value, "conditionType")) &&
                                json_string_is(json_get(condition.value, "status"), STR("True"));
                }
        }
        cell_add(cell, "%zu/%zu", true_count, json_count(gates));
}

void print_pod(struct cell *cell, struct str column, struct json_value object)
{
        if (str_equal(column, STR("Ready")))
                print_ready(cell, object);
        else if (str_equal(column, STR("Status")))
                print_status(cell, object);
        else if (str_equal(column, STR("Restarts")))
                print_restarts(cell, object);
        else if (str_equal(column, STR("IP")))
                cell_add_or(cell, json_get(object, "status", "podIP"), "<none>");
        else if (str_equal(column, STR("Node")))
                cell_add_or(cell, json_get(object, "spec", "nodeName"), "<none>");
        else if (str_equal(column, STR("Nominated Node")))
                cell_add_or(cell, json_get(object, "status", "nominatedNodeName"), "<none>");
        else
                print_gates(cell, object);
}
