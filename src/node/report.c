// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/resource.h"
#include "node/event.h"
#include "node/internal.h"
#include "json/writer.h"

/* What the node tells the API: status of Pods, Events, the Node object and its lease. */
enum {
        RETRY_FIRST_MS = 200,
        REGISTER_RETRY_MS = 20, /* an API that has just begun may not know us yet */
        RETRY_LAST_MS = 10 * 1000,
        EVENTS_MAX = 512,     /* that wait to be sent; more are dropped */
        EVENT_DELAY_MS = 100, /* they stay out of the way of what somebody waits for */
        LEASE_MS = 10 * 1000,
        LEASE_SECONDS = 40,
        HEARTBEAT_LEASES = 30, /* the Node's status is renewed with every so many */
};

#define NODE_VERSION "v1.33.0-cay"

static const struct kind kind_lease = { .group = { "coordination.k8s.io", 19 },
                                        .version = { "v1", 2 },
                                        .kind = { "Lease", 5 },
                                        .plural = { "leases", 6 },
                                        .namespaced = true };

struct event_item {
        struct list link;
        char namespace[LIMIT_LABEL + 1];
        struct buffer body;
        uint32_t hash; /* of who, why and what: a repetition is not queued twice */
};

struct node_report {
        struct node *node;
        struct list events;
        size_t event_count;
        uint64_t events_dropped;
        struct net_timer event_timer, lease_timer;
        struct kube_call *call; /* of registration or lease */
        bool is_registered, has_told;
        unsigned lease_count, failures;
};

static uint64_t retry_delay(unsigned failures)
{
        return MIN((uint64_t)RETRY_FIRST_MS << MIN(failures, 8U), (uint64_t)RETRY_LAST_MS);
}

/* ---- status ---- */

static void send_status(struct node_pod *pod);
static void send_delete(struct node_pod *pod);

static void publish_retry(struct net_timer *timer)
{
        send_status(container_of(timer, struct node_pod, publish_timer));
}

static void on_published(void *user, const struct kube_response *response)
{
        struct node_pod *pod = user;

        pod->publishing = NULL;
        if (kube_response_ok(response) || response->status == 404 || response->status == 409 ||
            response->status == 422) {
                if (!kube_response_ok(response))
                        log_info("status of Pod %s/%s: %u %.*s", pod->namespace, pod->name,
                                 response->status, STR_FORMAT(response->message));
                pod->publish_failures = 0;
        } else {
                log_warning("status of Pod %s/%s: %.*s", pod->namespace, pod->name,
                            STR_FORMAT(response->message));
                buffer_clear(&pod->published);
                pod->publish_again = true;
                net_timer_start(pod->node->loop, &pod->publish_timer,
                                retry_delay(pod->publish_failures++), publish_retry);
                return;
        }
        if (pod->publish_again)
                send_status(pod);
        else if (pod->delete_wanted)
                send_delete(pod);
}

static int write_status_patch(const struct node_pod *pod, struct str status, struct buffer *body)
{
        struct json_writer writer;

        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "uid", str_from(pod->uid));
        json_end_object(&writer);
        json_field_raw(&writer, "status", status);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int patch_status(struct node_pod *pod)
{
        _cleanup_buffer_ struct buffer status = {}, body = {}, path = {};

        int r = pod_worker_write_status(&pod->worker, &status);
        if (r < 0)
                return r;
        if (str_equal(buffer_str(&status), buffer_str(&pod->published)))
                return 1;
        r = write_status_patch(pod, buffer_str(&status), &body);
        if (r >= 0)
                r = kube_path_append(&path, &kind_pod, str_from(pod->namespace),
                                     str_from(pod->name), STR("status"));
        if (r < 0)
                return r;
        const struct kube_request request = {
                .method = STR("PATCH"),
                .path = buffer_str(&path),
                .content_type = STR("application/merge-patch+json"),
                .body = buffer_str(&body),
        };
        r = kube_client_request(pod->node->client, &request, on_published, pod, &pod->publishing);
        if (r < 0)
                return r;
        buffer_deinit(&pod->published);
        pod->published = status;
        status = (struct buffer){};
        return 0;
}

static void send_status(struct node_pod *pod)
{
        pod->publish_again = false;
        net_timer_stop(&pod->publish_timer);
        int r = patch_status(pod);
        if (r < 0) {
                pod->publish_again = true;
                net_timer_start(pod->node->loop, &pod->publish_timer,
                                retry_delay(pod->publish_failures++), publish_retry);
        } else if (r == 1 && pod->delete_wanted) {
                send_delete(pod);
        }
}

void report_publish(struct node_pod *pod)
{
        if (pod->publishing || net_timer_is_running(&pod->publish_timer))
                pod->publish_again = true;
        else
                send_status(pod);
}

/* ---- deletion ---- */

static void on_deleted(void *user, const struct kube_response *response)
{
        struct node_pod *pod = user;
        const struct pod_event event = { .type = POD_EVENT_DELETE_FAILED };

        pod->deleting = NULL;
        pod->delete_wanted = false;
        /* 409: another Pod has the name now; then the watch tells that ours is gone. */
        if (kube_response_ok(response) || response->status == 404 || response->status == 409)
                return;
        log_warning("deleting Pod %s/%s: %.*s", pod->namespace, pod->name,
                    STR_FORMAT(response->message));
        pod_tell(pod, &event);
}

static void send_delete(struct node_pod *pod)
{
        _cleanup_buffer_ struct buffer body = {}, path = {};
        const struct pod_event event = { .type = POD_EVENT_DELETE_FAILED };
        struct json_writer writer;

        if (pod->deleting)
                return;
        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("DeleteOptions"));
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_int(&writer, "gracePeriodSeconds", 0);
        json_field_object(&writer, "preconditions");
        json_field_string(&writer, "uid", str_from(pod->uid));
        json_end_object(&writer);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r >= 0)
                r = kube_path_append(&path, &kind_pod, str_from(pod->namespace),
                                     str_from(pod->name), STR_EMPTY);
        const struct kube_request request = {
                .method = STR("DELETE"),
                .path = buffer_str(&path),
                .body = buffer_str(&body),
        };
        if (r >= 0)
                r = kube_client_request(pod->node->client, &request, on_deleted, pod,
                                        &pod->deleting);
        if (r < 0) {
                pod->delete_wanted = false;
                pod_tell(pod, &event);
        }
}

void report_delete(struct node_pod *pod)
{
        pod->delete_wanted = true;
        if (!pod->publishing && !net_timer_is_running(&pod->publish_timer))
                send_delete(pod);
}

void report_pod_released(struct node_pod *pod)
{
        net_timer_stop(&pod->publish_timer);
        if (pod->publishing)
                kube_call_cancel(pod->publishing);
        if (pod->deleting)
                kube_call_cancel(pod->deleting);
        pod->publishing = pod->deleting = NULL;
        buffer_deinit(&pod->published);
}

/* ---- Events ---- */

static void ignore_answer(void *user, const struct kube_response *response)
{
        (void)user, (void)response;
}

static void event_free(struct event_item *item)
{
        list_remove(&item->link);
        buffer_deinit(&item->body);
        free(item);
}

static void send_events(struct net_timer *timer)
{
        struct node_report *report = container_of(timer, struct node_report, event_timer);
        struct event_item *item;

        list_for_each (item, &report->events, link) {
                _cleanup_buffer_ struct buffer path = {};
                int r = kube_path_append(&path, &kind_event, str_from(item->namespace), STR_EMPTY,
                                         STR_EMPTY);
                const struct kube_request request = {
                        .method = STR("POST"),
                        .path = buffer_str(&path),
                        .body = buffer_str(&item->body),
                };
                if (r >= 0)
                        kube_client_request(report->node->client, &request, ignore_answer, NULL,
                                            NULL);
                event_free(item);
        }
        report->event_count = 0;
        if (report->events_dropped > 0)
                log_warning("%llu Events were dropped: too many at once",
                            (unsigned long long)report->events_dropped);
        report->events_dropped = 0;
}

static int write_event(const struct node_pod *pod, const struct pod_action *action,
                       struct buffer *out)
{
        uint64_t now = clock_realtime_ns();
        char name[LIMIT_NAME + 32];

        snprintf(name, sizeof(name), "%.200s.%llx", pod->name, (unsigned long long)now);
        const struct node_event event = {
                .name = str_from(name),
                .about = { STR("v1"), STR("Pod"), str_from(pod->namespace), str_from(pod->name),
                           str_from(pod->uid) },
                .reason = str_from(action->reason),
                .message = str_from(action->message),
                .is_warning = action->is_warning,
                .component = STR("kubelet"),
                .host = str_from(pod->node->config->name),
                .at_ns = now,
        };
        return node_event_append(&event, out);
}

void report_event(struct node_pod *pod, const struct pod_action *action)
{
        struct node_report *report = pod->node->report;
        uint32_t hash = str_fnv1a(str_from(pod->uid)) ^ str_fnv1a(str_from(action->message)) * 31 ^
                        str_fnv1a(str_from(action->reason)) * 17;
        struct event_item *item;

        list_for_each (item, &report->events, link)
                if (item->hash == hash)
                        return;
        item = report->event_count < EVENTS_MAX ? calloc(1, sizeof(*item)) : NULL;
        if (!item || write_event(pod, action, &item->body) < 0) {
                report->events_dropped++;
                if (item)
                        buffer_deinit(&item->body);
                free(item);
                return;
        }
        item->hash = hash;
        memcpy(item->namespace, pod->namespace, sizeof(item->namespace));
        list_append(&report->events, &item->link);
        report->event_count++;
        if (!net_timer_is_running(&report->event_timer))
                net_timer_start(report->node->loop, &report->event_timer, EVENT_DELAY_MS,
                                send_events);
}

/* ---- the Node ---- */

static void write_amounts(struct json_writer *writer, const char *key, unsigned cpu_milli_of,
                          unsigned memory_times, const struct node *node)
{
        struct sysinfo info = {};
        struct statvfs disk = {};
        char text[32];

        sysinfo(&info);
        fstatvfs(node->volumes_fd, &disk);
        json_field_object(writer, key);
        snprintf(text, sizeof(text), "%um", cpu_milli_of);
        json_field_string(writer, "cpu", str_from(text));
        snprintf(text, sizeof(text), "%lluKi",
                 (unsigned long long)info.totalram * info.mem_unit / 1024 * memory_times);
        json_field_string(writer, "memory", str_from(text));
        snprintf(text, sizeof(text), "%lluKi",
                 (unsigned long long)disk.f_blocks * disk.f_frsize / 1024);
        json_field_string(writer, "ephemeral-storage", str_from(text));
        snprintf(text, sizeof(text), "%u", MIN(node->addresses.count, 4000U));
        json_field_string(writer, "pods", str_from(text));
        json_end_object(writer);
}

static void write_node_condition(struct json_writer *writer, const char *type, bool is_true,
                                 const char *reason, const char *time)
{
        json_begin_object(writer);
        json_field_string(writer, "type", str_from(type));
        json_field_string(writer, "status", is_true ? STR("True") : STR("False"));
        json_field_string(writer, "reason", str_from(reason));
        json_field_string(writer, "message", STR_EMPTY);
        json_field_string(writer, "lastHeartbeatTime", str_from(time));
        json_field_string(writer, "lastTransitionTime", str_from(time));
        json_end_object(writer);
}

static void write_address(struct json_writer *writer, const char *type, const char *address)
{
        json_begin_object(writer);
        json_field_string(writer, "type", str_from(type));
        json_field_string(writer, "address", str_from(address));
        json_end_object(writer);
}

static void write_node_info(struct json_writer *writer)
{
        struct utsname system = {};

        uname(&system);
        json_field_object(writer, "nodeInfo");
        json_field_string(writer, "machineID", STR_EMPTY);
        json_field_string(writer, "systemUUID", STR_EMPTY);
        json_field_string(writer, "bootID", STR_EMPTY);
        json_field_string(writer, "kernelVersion", str_from(system.release));
        json_field_string(writer, "osImage", STR("Linux"));
        json_field_string(writer, "containerRuntimeVersion", STR("cay://0.1.0"));
        json_field_string(writer, "kubeletVersion", STR(NODE_VERSION));
        json_field_string(writer, "kubeProxyVersion", STR(NODE_VERSION));
        json_field_string(writer, "operatingSystem", STR("linux"));
        json_field_string(writer, "architecture",
                          strcmp(system.machine, "x86_64") == 0    ? STR("amd64")
                          : strcmp(system.machine, "aarch64") == 0 ? STR("arm64")
                                                                   : str_from(system.machine));
        json_end_object(writer);
}

static void write_node_status(struct json_writer *writer, const struct node *node)
{
        const struct node_config *config = node->config;
        unsigned cpus = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
        char time[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(clock_realtime_ns(), time);
        json_field_object(writer, "status");
        write_amounts(writer, "capacity", cpus * 1000, 1, node);
        write_amounts(writer, "allocatable", cpus * 1000 * config->overcommit_cpu,
                      config->overcommit_memory, node);
        json_field_array(writer, "conditions");
        write_node_condition(writer, "MemoryPressure", false, "KubeletHasSufficientMemory", time);
        write_node_condition(writer, "DiskPressure", false, "KubeletHasNoDiskPressure", time);
        write_node_condition(writer, "PIDPressure", false, "KubeletHasSufficientPID", time);
        write_node_condition(writer, "Ready", true, "KubeletReady", time);
        json_end_array(writer);
        json_field_array(writer, "addresses");
        write_address(writer, "InternalIP", config->host_address);
        write_address(writer, "Hostname", config->name);
        json_end_array(writer);
        write_node_info(writer);
        json_end_object(writer);
}

static void write_node_metadata(struct json_writer *writer, const struct node *node)
{
        struct utsname system = {};

        uname(&system);
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", str_from(node->config->name));
        json_field_object(writer, "labels");
        json_field_string(writer, "kubernetes.io/hostname", str_from(node->config->name));
        json_field_string(writer, "kubernetes.io/os", STR("linux"));
        json_field_string(writer, "kubernetes.io/arch",
                          strcmp(system.machine, "x86_64") == 0 ? STR("amd64") : STR("arm64"));
        json_end_object(writer);
        json_end_object(writer);
}

/* ---- registration and lease ---- */

static void renew_lease(struct net_timer *timer);

static int request(struct node_report *report, const char *method, const char *type,
                   const struct kind *kind, const char *namespace, const char *name,
                   const char *subresource, const struct buffer *body, kube_response_fn callback)
{
        _cleanup_buffer_ struct buffer path = {};

        int r = kube_path_append(&path, kind, str_from(namespace), str_from(name),
                                 str_from(subresource));
        if (r < 0)
                return r;
        const struct kube_request wanted = {
                .method = str_from(method),
                .path = buffer_str(&path),
                .content_type = str_from(type),
                .body = buffer_str(body),
        };
        return kube_client_request(report->node->client, &wanted, callback, report, &report->call);
}

static void next_round(struct node_report *report, uint64_t delay_ms)
{
        net_timer_start(report->node->loop, &report->lease_timer, delay_ms, renew_lease);
}

static void on_lease_made(void *user, const struct kube_response *response)
{
        struct node_report *report = user;

        report->call = NULL;
        next_round(report, kube_response_ok(response) ? LEASE_MS : RETRY_LAST_MS);
}

static int write_lease(const struct node *node, bool with_name, struct buffer *out)
{
        char time[RFC3339_MICRO_SIZE];
        struct json_writer writer;

        rfc3339_format_micro(clock_realtime_ns(), time);
        json_writer_init(&writer, out);
        json_begin_object(&writer);
        if (with_name) {
                json_field_string(&writer, "apiVersion", STR("coordination.k8s.io/v1"));
                json_field_string(&writer, "kind", STR("Lease"));
                json_field_object(&writer, "metadata");
                json_field_string(&writer, "name", str_from(node->config->name));
                json_field_string(&writer, "namespace", STR("kube-node-lease"));
                json_end_object(&writer);
        }
        json_field_object(&writer, "spec");
        json_field_string(&writer, "holderIdentity", str_from(node->config->name));
        json_field_int(&writer, "leaseDurationSeconds", LEASE_SECONDS);
        json_field_string(&writer, "renewTime", str_from(time));
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static void on_lease_renewed(void *user, const struct kube_response *response)
{
        struct node_report *report = user;
        _cleanup_buffer_ struct buffer body = {};

        report->call = NULL;
        if (response->status != 404) {
                next_round(report, LEASE_MS);
                return;
        }
        int r = write_lease(report->node, true, &body);
        if (r >= 0)
                r = request(report, "POST", NULL, &kind_lease, "kube-node-lease", NULL, NULL, &body,
                            on_lease_made);
        if (r < 0)
                next_round(report, LEASE_MS);
}

static void on_status(void *user, const struct kube_response *response)
{
        struct node_report *report = user;

        report->call = NULL;
        report->is_registered = kube_response_ok(response);
        if (!report->is_registered)
                log_warning("status of the Node: %.*s", STR_FORMAT(response->message));
        node_tell_ready(report->node);
        report->lease_count = 0;
        next_round(report, report->is_registered ? 1 : RETRY_FIRST_MS);
}

static void on_created(void *user, const struct kube_response *response)
{
        struct node_report *report = user;
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        report->call = NULL;
        if (!kube_response_ok(response) && response->status != 409) {
                if (report->failures++ % 50 == 0)
                        log_warning("registering the Node: %.*s", STR_FORMAT(response->message));
                next_round(report, MIN(REGISTER_RETRY_MS * report->failures, RETRY_LAST_MS));
                return;
        }
        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        write_node_status(&writer, report->node);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r >= 0)
                r = request(report, "PATCH", "application/merge-patch+json", &kind_node, NULL,
                            report->node->config->name, "status", &body, on_status);
        if (r < 0)
                next_round(report, RETRY_FIRST_MS);
}

static void create_node(struct node_report *report)
{
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_string(&writer, "kind", STR("Node"));
        write_node_metadata(&writer, report->node);
        json_field_object(&writer, "spec");
        json_field_string(&writer, "podCIDR", str_from(report->node->config->pod_cidr));
        json_end_object(&writer);
        write_node_status(&writer, report->node);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r >= 0)
                r = request(report, "POST", NULL, &kind_node, NULL, NULL, NULL, &body, on_created);
        if (r < 0)
                next_round(report, RETRY_FIRST_MS);
}

static void renew_lease(struct net_timer *timer)
{
        struct node_report *report = container_of(timer, struct node_report, lease_timer);
        _cleanup_buffer_ struct buffer body = {};

        if (!report->is_registered || ++report->lease_count == HEARTBEAT_LEASES) {
                create_node(report);
                return;
        }
        int r = write_lease(report->node, false, &body);
        if (r >= 0)
                r = request(report, "PATCH", "application/merge-patch+json", &kind_lease,
                            "kube-node-lease", report->node->config->name, NULL, &body,
                            on_lease_renewed);
        if (r < 0)
                next_round(report, LEASE_MS);
}

bool report_is_registered(const struct node_report *report)
{
        return report->is_registered;
}

int report_new(struct node *node, struct node_report **ret_report)
{
        struct node_report *report = calloc(1, sizeof(*report));

        if (!report)
                return -ENOMEM;
        report->node = node;
        list_init(&report->events);
        next_round(report, 0);
        *ret_report = report;
        return 0;
}

void report_free(struct node_report *report)
{
        struct event_item *item;

        if (!report)
                return;
        net_timer_stop(&report->event_timer);
        net_timer_stop(&report->lease_timer);
        if (report->call)
                kube_call_cancel(report->call);
        list_for_each (item, &report->events, link)
                event_free(item);
        free(report);
}
