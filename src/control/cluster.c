// SPDX-License-Identifier: Apache-2.0
#include "control/cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "builtin/builtin.h"
#include "client/client.h"
#include "client/config.h"
#include "control/host.h"
#include "control/plan_trace.h"
#include "control/process_metrics.h"
#include "control/sandbox_metrics.h"
#include "control/way.h"
#include "control/webhook_role.h"
#include "controller/controller.h"
#include "net/loop.h"
#include "serve/endpoint.h"
#include "serve/health.h"
#include "serve/leader.h"
#include "serve/metrics.h"
#include "serve/trace.h"

/* A Pod has 30 s by default before it is killed; the Lease must be given up within them. */
enum { DRAIN_MS = 10 * 1000, TRACES_MS = 5 * 1000, HOST_NAME_SIZE = 256 };

/* Objects that are kept as they are read; the others rest in a tenth of the memory. A claim looks
 * at 64 members of its pool (sandbox_match.c), and at their Pods. */
enum { AWAKE = 256 };

enum { CLOSING_TURNS = 8 };

struct process {
        const struct cluster_controller_config *config;
        struct error *error;
        int result;
        bool ending; /* a signal came */
        bool drained;
        bool synced;
        uv_loop_t uv;
        struct net_loop *loop;
        uv_signal_t signals[2];
        struct net_timer drain;
        struct kube_config kubeconfig;
        struct protobuf_fields *protobuf;
        struct kube_client *client;
        struct controller_host *host;
        struct sandbox_controllers *controllers;
        struct leader *leader; /* NULL: no election */
        struct health health;
        struct metrics *metrics;
        struct tracer *tracer; /* NULL: no traces */
        struct plan_trace *plan_trace;
        struct process_metrics *process_metrics;
        struct sandbox_metrics *sandbox_metrics;
        struct webhook_role *webhook; /* NULL: not served */
        struct endpoint *endpoints[2];
};

static void end(struct process *process, int result)
{
        process->result = result;
        uv_stop(&process->uv);
}

/* ---- leading ---- */

static bool may_act(void *user)
{
        const struct process *process = user;

        return !process->config->elects || (process->leader && leader_is_leading(process->leader));
}

static void on_lead(void *user)
{
        struct process *process = user;

        log_info("leading");
        controller_host_wake(process->host);
        if (process->webhook)
                webhook_role_lead(process->webhook);
}

/* Another process may act from now on. What is known here may be old by then, so it begins anew. */
static void on_lost(void *user, struct str why)
{
        struct process *process = user;

        end(process,
            error_set(process->error, -ESTALE, "leadership was lost: %.*s", STR_FORMAT(why)));
}

static bool may_say(void *user, struct str trouble)
{
        struct process *process = user;

        return controller_host_may_say(process->host, trouble);
}

static struct str lease_space(const struct process *process)
{
        const char *given = process->config->lease_space;
        const struct kube_config *kubeconfig = &process->kubeconfig;

        if (given && given[0])
                return str_from(given);
        /* Only what a container finds has no context. */
        return kubeconfig->context.length == 0 ? kubeconfig->name_space
                                               : STR(CLUSTER_LEASE_NAMESPACE);
}

static int start_election(struct process *process)
{
        const struct cluster_controller_config *config = process->config;
        char identity[HOST_NAME_SIZE + 1 + UUID_SIZE], uuid[UUID_SIZE];

        if (!config->elects)
                return 0;
        if (gethostname(identity, HOST_NAME_SIZE) < 0)
                identity[0] = '\0';
        identity[HOST_NAME_SIZE - 1] = '\0';
        random_uuid(uuid);
        strcat(strcat(identity, "_"), uuid);
        const struct leader_options options = {
                .client = process->client,
                .name_space = lease_space(process),
                .name = STR(CLUSTER_LEASE_NAME),
                .identity = str_from(identity),
                .duration_ms = config->lease_ns / NS_PER_MS,
                .deadline_ms = config->renew_deadline_ns / NS_PER_MS,
                .retry_ms = config->retry_ns / NS_PER_MS,
                .on_lead = on_lead,
                .on_lost = on_lost,
                .may_say = may_say,
                .user = process,
        };
        int r = leader_new(&options, &process->leader);
        if (r == -EINVAL)
                return error_set(process->error, r,
                                 "a Lease must last a second at least and longer than the renew "
                                 "deadline, and that longer than the retry period");
        if (r < 0)
                return error_set(process->error, r, "out of memory");
        log_info("%s takes part in the election for the lease %.*s/%s", identity,
                 STR_FORMAT(options.name_space), CLUSTER_LEASE_NAME);
        return 0;
}

/* ---- health and metrics ---- */

static bool is_alive(void *user _unused_, char why[static HEALTH_WHY_SIZE] _unused_)
{
        return true;
}

static bool has_caches(void *user, char why[static HEALTH_WHY_SIZE])
{
        const struct process *process = user;

        return controller_host_is_synced(process->host, why);
}

static bool has_rights(void *user, char why[static HEALTH_WHY_SIZE])
{
        const struct process *process = user;

        return controller_host_is_allowed(process->host, why);
}

static bool is_elected(void *user, char why[static HEALTH_WHY_SIZE])
{
        const struct process *process = user;

        return !process->leader || leader_is_well(process->leader, why);
}

static bool is_staying(void *user, char why[static HEALTH_WHY_SIZE])
{
        const struct process *process = user;

        snprintf(why, HEALTH_WHY_SIZE, "it is about to end");
        return !process->ending;
}

static int open_endpoint(struct process *process, const char *what, const char *address,
                         struct endpoint_options options, struct endpoint **ret_endpoint)
{
        char text[NET_ADDRESS_SIZE];

        if (!address || !address[0] || strcmp(address, "0") == 0)
                return 0;
        if (net_address_parse(str_from(address), &options.address) < 0)
                return error_set(process->error, -EINVAL,
                                 "'%s' is no address for %s; write :8080 or 127.0.0.1:8080",
                                 address, what);
        options.loop = process->loop;
        int r = endpoint_new(&options, process->error, ret_endpoint);
        if (r < 0)
                return r;
        net_address_format(endpoint_address(*ret_endpoint), text);
        log_info("%s on %s", what, text);
        return 0;
}

static int serve(struct process *process)
{
        const struct cluster_controller_config *config = process->config;
        struct health *health = &process->health;

        int r = health_add(health, "ping", HEALTH_LIVE, is_alive, process);
        if (r == 0)
                r = health_add(health, "caches", HEALTH_READY, has_caches, process);
        if (r == 0)
                r = health_add(health, "rights", HEALTH_READY, has_rights, process);
        if (r == 0)
                r = health_add(health, "leader-election", HEALTH_READY, is_elected, process);
        if (r == 0)
                r = health_add(health, "staying", HEALTH_READY, is_staying, process);
        if (r < 0)
                return error_set(process->error, r, "out of memory");
        r = open_endpoint(process, "health", config->health_address,
                          (struct endpoint_options){ .health = health }, &process->endpoints[0]);
        return r < 0 ? r
                     : open_endpoint(process, "metrics", config->metrics_address,
                                     (struct endpoint_options){ .metrics = process->metrics },
                                     &process->endpoints[1]);
}

static int observe(struct process *process)
{
        const struct process_metrics_options options = {
                .metrics = process->metrics,
                .host = process->host,
                .client = process->client,
                .version = process->config->version,
                .lease = process->config->elects ? CLUSTER_LEASE_NAME : NULL,
                .is_leading = may_act,
                .user = process,
        };

        int r = process_metrics_new(&options, &process->process_metrics);
        return r < 0 ? error_set(process->error, r, "out of memory") : 0;
}

static int serve_webhook(struct process *process)
{
        const struct cluster_controller_config *config = process->config;
        const struct webhook_role_options options = {
                .config = &config->webhook,
                .client = process->client,
                .metrics = process->metrics,
                .health = &process->health,
                .cluster_domain = config->cluster_domain,
                .extensions = config->extensions,
                .is_leading = may_act,
                .may_say = may_say,
                .user = process,
        };

        if (!config->webhook.enabled)
                return 0;
        return webhook_role_new(&options, process->error, &process->webhook);
}

/* ---- the end ---- */

static void on_traced(void *user)
{
        end(user, 0);
}

/* What the last writes were is told when others lead already. */
static void on_released(void *user)
{
        struct process *process = user;

        if (process->tracer)
                tracer_finish(process->tracer, TRACES_MS, on_traced, process);
        else
                end(process, 0);
}

static void leave(struct process *process)
{
        if (process->drained)
                return;
        process->drained = true;
        net_timer_stop(&process->drain);
        if (process->leader)
                leader_release(process->leader, on_released, process);
        else
                on_released(process);
}

static void on_drained(void *user)
{
        leave(user);
}

static void on_drain_time(struct net_timer *timer)
{
        struct process *process = container_of(timer, struct process, drain);

        log_warning("%zu writes have no answer yet, ending nevertheless",
                    controllers_in_flight(controller_host_set(process->host)));
        leave(process);
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct process *process = signal->data;

        if (process->ending) {
                end(process,
                    error_set(process->error, -EINTR, "signal %d, ending at once", number));
                return;
        }
        process->ending = true;
        log_info("signal %d, ending when what is on its way was answered", number);
        net_timer_start(process->loop, &process->drain, DRAIN_MS, on_drain_time);
        controller_host_drain(process->host, on_drained);
}

/* ---- the beginning ---- */

/* Until everything was listed, what comes is old. */
static bool is_acting_on_all(void *user)
{
        const struct process *process = user;

        return process->synced && may_act(user);
}

static int setup(void *user, struct controllers *set)
{
        struct process *process = user;
        const struct cluster_controller_config *config = process->config;
        const struct sandbox_options options = {
                .cluster_domain = str_from(config->cluster_domain),
                .pool_batch = (unsigned)config->pool_batch,
                .pool_replenish_delay_ns = config->replenish_delay_ns,
                .pool_refill_rate = config->refill_rate,
                .evictable_members = config->evictable_members,
                .without_claim_events = config->without_claim_events,
                .pool_readiness_grace_ns = config->readiness_grace_ns,
                .without_extensions = !config->extensions,
        };

        int r = sandbox_controllers_new(set, &options, &process->controllers);
        if (r < 0)
                return r;
        if (process->plan_trace)
                controllers_observe(set, plan_trace_observer(process->plan_trace));
        const struct sandbox_metrics_options metrics = {
                .metrics = process->metrics,
                .set = set,
                .extensions = config->extensions,
                .counts = is_acting_on_all,
                .user = process,
        };
        return sandbox_metrics_new(&metrics, &process->sandbox_metrics);
}

static void on_synced(void *user)
{
        struct process *process = user;

        process->synced = true;
        log_info("every kind is listed");
}

static int open_loop(struct process *process)
{
        static const int numbers[] = { SIGTERM, SIGINT };

        int r = uv_loop_init(&process->uv);
        if (r == 0)
                r = net_loop_new(&process->uv, &process->loop);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++) {
                r = uv_signal_init(&process->uv, &process->signals[i]);
                if (r < 0)
                        break;
                process->signals[i].data = process;
                r = uv_signal_start(&process->signals[i], on_signal, numbers[i]);
        }
        if (r == 0)
                r = metrics_new(&process->metrics);
        return r < 0 ? error_set(process->error, r, "cannot make an event loop: %s", strerror(-r))
                     : 0;
}

static int open_tracer(struct process *process)
{
        const struct tracer_options options = {
                .loop = process->loop,
                .service_name = "agent-sandbox-controller",
                .version = process->config->version,
                .metrics = process->metrics,
        };

        if (!process->config->traces)
                return 0;
        int r = tracer_new(&options, process->error, &process->tracer);
        if (r == 0 && process->tracer)
                r = plan_trace_new(process->tracer, &process->plan_trace);
        return r;
}

static int open_host(struct process *process)
{
        const struct cluster_controller_config *config = process->config;
        struct kube_client_options client = {
                .loop = process->loop,
                .config = &process->kubeconfig,
                .user_agent = STR("cay-controller"),
        };
        /* Who wrote which field is of interest in our own kinds alone. */
        int r = protobuf_fields_new(builtin_core_protobuf(), STR("managedFields"),
                                    &process->protobuf);
        if (r < 0)
                return error_set(process->error, r, "cannot read the table of protobuf fields");
        client.protobuf = process->protobuf;
        r = kube_client_new(&client, process->error, &process->client);
        if (r < 0)
                return r;
        const struct controller_host_options host = {
                .loop = process->loop,
                .way = &controller_way_wire,
                .client = process->client,
                .name_space = str_from(config->name_space),
                .awake = AWAKE,
                .setup = setup,
                .kinds = config->extensions ? sandbox_controllers_kinds
                                            : sandbox_controllers_core_kinds,
                .on_synced = on_synced,
                .may_act = may_act,
                .user = process,
        };
        return controller_host_new(&host, process->error, &process->host);
}

static int begin(struct process *process)
{
        int r = kube_config_find(process->config->kubeconfig, STR_EMPTY, process->error,
                                 &process->kubeconfig);
        if (r < 0)
                return r;
        log_info("controller for %.*s", STR_FORMAT(process->kubeconfig.server));
        r = open_loop(process);
        if (r == 0)
                r = open_tracer(process);
        if (r == 0)
                r = open_host(process);
        if (r == 0)
                r = start_election(process);
        if (r == 0)
                r = observe(process);
        if (r == 0)
                r = serve_webhook(process);
        return r < 0 ? r : serve(process);
}

/* Also what was only begun. */
static void finish(struct process *process)
{
        for (size_t i = 0; i < ARRAY_SIZE(process->endpoints); i++)
                endpoint_free(process->endpoints[i]);
        webhook_role_free(process->webhook);
        leader_free(process->leader);
        process_metrics_free(process->process_metrics);
        controller_host_free(process->host);
        sandbox_controllers_free(process->controllers);
        sandbox_metrics_free(process->sandbox_metrics);
        plan_trace_free(process->plan_trace);
        tracer_free(process->tracer);
        kube_client_free(process->client);
        protobuf_fields_free(process->protobuf);
        metrics_free(process->metrics);
        health_deinit(&process->health);
        net_timer_stop(&process->drain);
        for (size_t i = 0; i < ARRAY_SIZE(process->signals); i++)
                if (process->signals[i].data)
                        uv_close((uv_handle_t *)&process->signals[i], NULL);
        net_loop_free(process->loop);
        uv_run(&process->uv, UV_RUN_NOWAIT);
        uv_loop_close(&process->uv);
}

int cluster_controller_run(const struct cluster_controller_config *config, struct error *error)
{
        struct process process = { .config = config, .error = error };

        signal(SIGPIPE, SIG_IGN);
        int r = begin(&process);
        if (r == 0) {
                uv_run(&process.uv, UV_RUN_DEFAULT);
                r = process.result;
        }
        if (process.loop)
                finish(&process);
        kube_config_deinit(&process.kubeconfig);
        return r;
}
