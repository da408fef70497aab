// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/str.h"
#include "serve/metrics.h"

/* The router's figures, by the names that upstream's dashboards know. */
struct router_metrics {
        struct metrics *metrics;
        struct metric_family *requests, *durations, *errors, *decisions, *reloads, *retries,
                *invalidations;
        struct metric *inflight;
        struct metric *sandboxes, *pods, *waiting, *tunnels;
};

/* Returns 0 or -ENOMEM. */
int router_metrics_init(struct router_metrics *metrics);
void router_metrics_deinit(struct router_metrics *metrics);

/* One request is over. Methods that are not HTTP's own count as "other". */
void router_metrics_request(struct router_metrics *metrics, struct str method, unsigned status,
                            struct str name_space, double seconds);

/* `reason`: dial, timeout, tls, eof, other. */
void router_metrics_error(struct router_metrics *metrics, struct str name_space,
                          const char *reason);

/* Of authorization: "allow", "deny", "error"; of certificates: "success", "failure". */
void router_metrics_decision(struct router_metrics *metrics, struct str name_space,
                             const char *decision);
void router_metrics_reload(struct router_metrics *metrics, const char *outcome);

/* A connection is tried again; nobody was where the index had said. */
void router_metrics_retry(struct router_metrics *metrics, struct str name_space);
void router_metrics_invalidation(struct router_metrics *metrics, struct str name_space);
