// SPDX-License-Identifier: Apache-2.0
/* `cay controller`: takes the options of upstream's agent-sandbox-controller, and some of ours. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/command.h"
#include "control/cluster.h"
#include "kube/name.h"

#define NO_EFFECT  "accepted, without effect: "
#define NO_WORKERS NO_EFFECT "there are no workers"

/* The options of upstream's that change nothing here. */
struct ignored {
        const char *qps, *text;
        int64_t number;
        uint64_t duration;
        bool flag;
};

enum { REFILL_RATE_MOST = 1000000 };
#define REFILL_RATE_LEAST 0.001

struct log_options {
        bool development;
        const char *encoder, *level;
};

static int read_log_options(const struct log_options *options, struct error *error)
{
        enum log_format format = options->development ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
        enum log_level level = options->development ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
        uint64_t verbosity;

        if (options->encoder) {
                if (strcmp(options->encoder, "console") == 0)
                        format = LOG_FORMAT_TEXT;
                else if (strcmp(options->encoder, "json") == 0)
                        format = LOG_FORMAT_JSON;
                else
                        return error_set(error, -EINVAL,
                                         "--zap-encoder takes json or console, not '%s'",
                                         options->encoder);
        }
        if (options->level) {
                if (strcmp(options->level, "debug") == 0 ||
                    (str_to_u64(str_from(options->level), 127, &verbosity) == 0 && verbosity > 0))
                        level = LOG_LEVEL_DEBUG;
                else if (strcmp(options->level, "info") == 0)
                        level = LOG_LEVEL_INFO;
                else if (strcmp(options->level, "error") == 0 ||
                         strcmp(options->level, "panic") == 0)
                        level = LOG_LEVEL_ERROR;
                else
                        return error_set(error, -EINVAL,
                                         "--zap-log-level takes debug, info, error, panic or a "
                                         "number above 0, not '%s'",
                                         options->level);
        }
        log_configure("controller", level, format);
        return 0;
}

static int read_number(const char *name, const char *text, double *ret_number, struct error *error)
{
        char *rest;
        double number = strtod(text, &rest);

        if (rest == text || *rest != '\0' || !isfinite(number))
                return error_set(error, -EINVAL, "--%s takes a number, not '%s'", name, text);
        *ret_number = number;
        return 0;
}

static int check(const struct cluster_controller_config *config, const struct ignored *ignored,
                 struct error *error)
{
        double qps;

        if (config->pool_batch < 1 || config->pool_batch > 10000)
                return error_set(error, -EINVAL,
                                 "--sandbox-warm-pool-max-batch-size takes 1 to 10000");
        if (config->refill_rate != 0 &&
            (config->refill_rate < REFILL_RATE_LEAST || config->refill_rate > REFILL_RATE_MOST))
                return error_set(error, -EINVAL,
                                 "--sandbox-warm-pool-max-refill-rate takes 0, or %g to %d",
                                 REFILL_RATE_LEAST, REFILL_RATE_MOST);
        if (config->cluster_domain && !config->cluster_domain[0])
                return error_set(error, -EINVAL, "--cluster-domain may not be empty");
        if (config->name_space && config->name_space[0] &&
            name_check_dns_label(str_from(config->name_space)))
                return error_set(error, -EINVAL, "--namespace takes a namespace, not '%s'",
                                 config->name_space);
        if (config->readiness_grace_ns == 0)
                return error_set(error, -EINVAL,
                                 "--sandbox-warm-pool-readiness-grace-period must be more than 0");
        if (config->webhook.validity_ns < 10 * NS_PER_SECOND ||
            config->webhook.validity_ns > 20 * UINT64_C(8760) * 3600 * NS_PER_SECOND)
                return error_set(error, -EINVAL,
                                 "--webhook-cert-duration takes 10s to 175200h (20 years)");
        return read_number("kube-api-qps", ignored->qps, &qps, error);
}

/* How v1alpha1 is converted. */
#define WEBHOOK_DEFAULTS                                                                           \
        {                                                                                          \
                .enabled = true, .port = 9443, .service = WEBHOOK_SERVICE,                         \
                .name_space = WEBHOOK_NAMESPACE, .validity_ns = 8760 * 3600 * NS_PER_SECOND,       \
                .manages = true, .folder = WEBHOOK_FOLDER, .certificate = "tls.crt",               \
                .key = "tls.key"                                                                   \
        }
#define WEBHOOK_OPTIONS(webhook)                                                                   \
        OPTION_FLAG("enable-webhook", 0, &(webhook)->enabled,                                      \
                    "serve the conversion of v1alpha1 and v1beta1 (true)"),                        \
                OPTION_NUMBER("webhook-port", 0, &(webhook)->port, "PORT",                         \
                              "of the conversion webhook (9443); 0: a free one"),                  \
                OPTION_STRING("webhook-service-name", 0, &(webhook)->service, "NAME",              \
                              "how API servers reach it (" WEBHOOK_SERVICE ")"),                   \
                OPTION_STRING("webhook-namespace", 0, &(webhook)->name_space, "NAME",              \
                              "of that Service and the certificate's Secret (" WEBHOOK_NAMESPACE   \
                              ")"),                                                                \
                OPTION_STRING("webhook-url", 0, &(webhook)->url, "URL",                            \
                              "how they reach it without the Service: https://HOST:PORT/convert"), \
                OPTION_DURATION("webhook-cert-duration", 0, &(webhook)->validity_ns,               \
                                "for which a certificate is made (8760h)"),                        \
                OPTION_FLAG(                                                                       \
                        "manage-webhook-certs", 0, &(webhook)->manages,                            \
                        "make the certificate and patch the CRDs; else it is in files (true)"),    \
                OPTION_STRING("webhook-cert-dir", 0, &(webhook)->folder, "FOLDER",                 \
                              "of these files (" WEBHOOK_FOLDER ")"),                              \
                OPTION_STRING("webhook-cert-name", 0, &(webhook)->certificate, "FILE",             \
                              "the certificate among them (tls.crt)"),                             \
                OPTION_STRING("webhook-key-name", 0, &(webhook)->key, "FILE",                      \
                              "the key among them (tls.key)")

/* Of Go's runtime and of its loggers. */
#define GO_OPTIONS(ignored)                                                                        \
        OPTION_FLAG("enable-pprof", 0, &(ignored)->flag, NO_EFFECT "that is of Go"),               \
                OPTION_FLAG("enable-pprof-debug", 0, &(ignored)->flag, NO_EFFECT "that is of Go"), \
                OPTION_NUMBER("pprof-block-profile-rate", 0, &(ignored)->number, "N",              \
                              NO_EFFECT "that is of Go"),                                          \
                OPTION_NUMBER("pprof-mutex-profile-fraction", 0, &(ignored)->number, "N",          \
                              NO_EFFECT "that is of Go"),                                          \
                OPTION_STRING("zap-stacktrace-level", 0, &(ignored)->text, "LEVEL",                \
                              NO_EFFECT "there are no stack traces"),                              \
                OPTION_STRING("zap-time-encoding", 0, &(ignored)->text, "FORMAT",                  \
                              NO_EFFECT "times are rfc3339")

int command_controller(int argc, char **argv, struct error *error)
{
        struct cluster_controller_config config = {
                .version = CAY_VERSION,
                .elects = true,
                .lease_ns = 15 * NS_PER_SECOND,
                .renew_deadline_ns = 10 * NS_PER_SECOND,
                .retry_ns = 2 * NS_PER_SECOND,
                .metrics_address = ":8080",
                .health_address = ":8081",
                .pool_batch = 300,
                .readiness_grace_ns = 300 * NS_PER_SECOND,
                .evictable_members = true,
                .webhook = WEBHOOK_DEFAULTS,
        };
        struct log_options log = {};
        struct ignored ignored = { .qps = "-1" };
        const char *refill_rate = "0";
        bool version = false;
        const struct option_spec specs[] = {
                OPTION_STRING("kubeconfig", 0, &config.kubeconfig, "FILE",
                              "the cluster ($KUBECONFIG, or the Pod's ServiceAccount)"),
                OPTION_STRING("namespace", 'n', &config.name_space, "NAME",
                              "only this namespace (all)"),
                OPTION_STRING("cluster-domain", 0, &config.cluster_domain, "DOMAIN",
                              "of Service names (cluster.local)"),
                OPTION_FLAG("extensions", 0, &config.extensions,
                            "templates, pools and claims too (false)"),
                OPTION_FLAG("leader-elect", 0, &config.elects,
                            "act only while holding the Lease " CLUSTER_LEASE_NAME " (true)"),
                OPTION_STRING("leader-election-namespace", 0, &config.lease_space, "NAME",
                              "where the Lease stands (the Pod's, or " CLUSTER_LEASE_NAMESPACE ")"),
                OPTION_DURATION("leader-elect-lease-duration", 0, &config.lease_ns,
                                "after which others take a Lease that is not renewed (15s)"),
                OPTION_DURATION("leader-elect-renew-deadline", 0, &config.renew_deadline_ns,
                                "after which a leader that cannot renew stops (10s)"),
                OPTION_DURATION("leader-elect-retry-period", 0, &config.retry_ns,
                                "between renewals (2s)"),
                OPTION_STRING("metrics-bind-address", 0, &config.metrics_address, "ADDRESS",
                              "of /metrics (:8080); 0: none"),
                OPTION_STRING("health-probe-bind-address", 0, &config.health_address, "ADDRESS",
                              "of /healthz and /readyz (:8081); 0: none"),
                OPTION_FLAG("enable-tracing", 0, &config.traces,
                            "OpenTelemetry traces, as OTEL_* variables say (false)"),
                OPTION_NUMBER("sandbox-warm-pool-max-batch-size", 0, &config.pool_batch, "N",
                              "members made at once (300)"),
                OPTION_DURATION("sandbox-warm-pool-replenish-delay", 0, &config.replenish_delay_ns,
                                "before a taken member is replaced (0)"),
                OPTION_STRING("sandbox-warm-pool-max-refill-rate", 0, &refill_rate, "N",
                              "members a second and pool, such as 0.5 (0: no limit)"),
                OPTION_DURATION("sandbox-warm-pool-readiness-grace-period", 0,
                                &config.readiness_grace_ns,
                                "before a member that is not ready is replaced (5m)"),
                OPTION_FLAG("zap-devel", 0, &log.development,
                            "log text, and debug messages too (false)"),
                OPTION_STRING("zap-encoder", 0, &log.encoder, "FORMAT",
                              "log json or console (json)"),
                OPTION_STRING("zap-log-level", 0, &log.level, "LEVEL",
                              "debug, info, error, panic or a number (info)"),
                OPTION_STRING("kube-api-qps", 0, &ignored.qps, "N",
                              NO_EFFECT "requests are never held back (-1)"),
                OPTION_NUMBER("kube-api-burst", 0, &ignored.number, "N",
                              NO_EFFECT "requests are never held back"),
                OPTION_NUMBER("api-connections", 0, &ignored.number, "N",
                              NO_EFFECT "one is enough"),
                OPTION_FLAG("separate-watch-connection", 0, &ignored.flag,
                            NO_EFFECT "one connection carries them all"),
                OPTION_NUMBER("sandbox-concurrent-workers", 0, &ignored.number, "N", NO_WORKERS),
                OPTION_NUMBER("sandbox-claim-concurrent-workers", 0, &ignored.number, "N",
                              NO_WORKERS),
                OPTION_NUMBER("sandbox-warm-pool-concurrent-workers", 0, &ignored.number, "N",
                              NO_WORKERS),
                OPTION_NUMBER("sandbox-template-concurrent-workers", 0, &ignored.number, "N",
                              NO_WORKERS),
                OPTION_DURATION("sandbox-write-behind-window", 0, &ignored.duration,
                                NO_EFFECT "there are no such writes"),
                OPTION_FLAG("cache-label-selectors", 0, &ignored.flag,
                            NO_EFFECT "all Pods and Services are watched"),
                OPTION_DURATION("sandbox-warm-pool-unschedulable-recheck-interval", 0,
                                &ignored.duration,
                                NO_EFFECT "what becomes of a Pod is seen at once"),
                OPTION_FLAG("enable-warm-pool-eviction", 0, &config.evictable_members,
                            "members are safe-to-evict for autoscalers until claimed (true)"),
                OPTION_FLAG("disable-claim-events", 0, &config.without_claim_events,
                            "make no Events about claims (false)"),
                OPTION_FLAG("disable-claim-observability-annotations", 0, &ignored.flag,
                            NO_EFFECT "they are never written"),
                WEBHOOK_OPTIONS(&config.webhook),
                GO_OPTIONS(&ignored),
                OPTION_FLAG("version", 0, &version, "print the version"),
                OPTION_END,
        };
        int operands = 0;

        if (argc > 1 && strcmp(argv[1], "drain") == 0)
                return command_controller_drain(argc - 1, argv + 1, error);
        if (command_help(command_find("controller"), specs, argc, argv))
                return 0;
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "no operand is taken: '%s'", argv[1]);
        if (r == 0 && version) {
                puts("cay controller " CAY_VERSION);
                return 0;
        }
        if (r == 0)
                r = read_number("sandbox-warm-pool-max-refill-rate", refill_rate,
                                &config.refill_rate, error);
        if (r == 0)
                r = check(&config, &ignored, error);
        if (r == 0)
                r = read_log_options(&log, error);
        if (r < 0)
                return r;
        r = cluster_controller_run(&config, error);
        if (r == 0)
                return 0;
        /* Here, as the log may be JSON, and main's sentence is not. */
        log_error("%s", error->message);
        return r == -EINVAL ? 2 : 1;
}
