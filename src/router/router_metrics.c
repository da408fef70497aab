// SPDX-License-Identifier: Apache-2.0
#include "router/router_metrics.h"

#include <errno.h>
#include <stdio.h>

#define PREFIX "sandbox_router_"

static const struct metric_description requests = {
        METRIC_COUNTER,
        PREFIX "requests_total",
        "Requests answered, by method, status and namespace of the sandbox.",
        { "method", "code", "sandbox_namespace" },
};
static const struct metric_description durations = {
        METRIC_HISTOGRAM,
        PREFIX "request_duration_seconds",
        "Time from a request's head to the end of its answer.",
        { "method", "code", "sandbox_namespace" },
        { .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180 },
};
static const struct metric_description errors = {
        METRIC_COUNTER,
        PREFIX "upstream_errors_total",
        "Failures to get an answer from a sandbox.",
        { "sandbox_namespace", "reason" },
};
static const struct metric_description decisions = {
        METRIC_COUNTER,
        PREFIX "authz_decisions_total",
        "Requests allowed and denied.",
        { "sandbox_namespace", "decision" },
};
static const struct metric_description reloads = {
        METRIC_COUNTER,
        PREFIX "cert_reloads_total",
        "Attempts to take a new certificate.",
        { "outcome" },
};
static const struct metric_description build_info = METRIC_BUILD_INFO(PREFIX "build_info");
static const struct metric_description inflight = { METRIC_GAUGE, PREFIX "inflight_requests",
                                                    "Requests being served." };
static const struct metric_description retries = { METRIC_COUNTER,
                                                   PREFIX "upstream_retries_total",
                                                   "Connections tried again.",
                                                   { "sandbox_namespace" } };
static const struct metric_description invalidations = {
        METRIC_COUNTER,
        PREFIX "cache_invalidations_total",
        "Known addresses at which nobody answered.",
        { "sandbox_namespace" },
};
static const struct metric_description sandboxes = { METRIC_GAUGE, PREFIX "index_sandboxes",
                                                     "Sandboxes known." };
static const struct metric_description pods = { METRIC_GAUGE, PREFIX "index_pods", "Pods known." };
static const struct metric_description waiting = { METRIC_GAUGE, PREFIX "held_requests",
                                                   "Requests that wait for their sandbox." };
static const struct metric_description tunnels = { METRIC_GAUGE, PREFIX "tunnels",
                                                   "Upgraded connections open." };

static int add_plain(struct metrics *metrics, const struct metric_description *description,
                     struct metric **ret_metric)
{
        struct metric_family *family;

        int r = metrics_add(metrics, description, &family);
        if (r < 0)
                return r;
        *ret_metric = metric_with(family, NULL);
        return 0;
}

int router_metrics_init(struct router_metrics *m)
{
        const struct {
                const struct metric_description *description;
                struct metric_family **family;
        } families[] = { { &requests, &m->requests },
                         { &durations, &m->durations },
                         { &errors, &m->errors },
                         { &decisions, &m->decisions },
                         { &reloads, &m->reloads },
                         { &retries, &m->retries },
                         { &invalidations, &m->invalidations } };
        const struct {
                const struct metric_description *description;
                struct metric **metric;
        } plain[] = { { &inflight, &m->inflight },
                      { &sandboxes, &m->sandboxes },
                      { &pods, &m->pods },
                      { &waiting, &m->waiting },
                      { &tunnels, &m->tunnels } };

        *m = (struct router_metrics){};
        int r = metrics_new(&m->metrics);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++)
                r = metrics_add(m->metrics, families[i].description, families[i].family);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(plain); i++)
                r = add_plain(m->metrics, plain[i].description, plain[i].metric);
        if (r == 0)
                r = metrics_add_build_info(m->metrics, &build_info, STR(ROUTER_VERSION));
        if (r < 0) {
                router_metrics_deinit(m);
                return r;
        }
        return 0;
}

void router_metrics_deinit(struct router_metrics *m)
{
        metrics_free(m->metrics);
        m->metrics = NULL;
}

/* Clients invent methods; each would be a series of its own for ever. */
static struct str known_method(struct str method)
{
        static const char *const known[] = { "GET",    "HEAD",  "POST",    "PUT",
                                             "DELETE", "PATCH", "OPTIONS", "CONNECT" };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(method, str_from(known[i])))
                        return method;
        return STR("other");
}

void router_metrics_request(struct router_metrics *m, struct str method, unsigned status,
                            struct str name_space, double seconds)
{
        char code[12];

        snprintf(code, sizeof(code), "%u", status);
        const struct str values[] = { known_method(method), str_from(code),
                                      name_space.length > 0 ? name_space : STR("-") };
        metric_add(metric_with(m->requests, values), 1);
        metric_observe(metric_with(m->durations, values), seconds);
}

void router_metrics_error(struct router_metrics *m, struct str name_space, const char *reason)
{
        const struct str values[] = { name_space, str_from(reason) };

        metric_add(metric_with(m->errors, values), 1);
}

void router_metrics_decision(struct router_metrics *m, struct str name_space, const char *decision)
{
        const struct str values[] = { name_space, str_from(decision) };

        metric_add(metric_with(m->decisions, values), 1);
}

void router_metrics_retry(struct router_metrics *m, struct str name_space)
{
        metric_add(metric_with(m->retries, &name_space), 1);
}

void router_metrics_invalidation(struct router_metrics *m, struct str name_space)
{
        metric_add(metric_with(m->invalidations, &name_space), 1);
}

void router_metrics_reload(struct router_metrics *m, const char *outcome)
{
        const struct str value = str_from(outcome);

        metric_add(metric_with(m->reloads, &value), 1);
}
