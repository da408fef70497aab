// SPDX-License-Identifier: Apache-2.0
#include "router/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/options.h"
#include "router/proxy.h"
#include "json/yaml.h"

enum { SPECS = 34, SHUTDOWN_TIMEOUT_S = 30, RETRIES_MAX = 100, REVIEWS_MAX = 1000000 };

static void make_specs(struct router_options *o, struct option_spec specs[static SPECS])
{
        const struct option_spec table[] = {
                OPTION_STRING("http-bind-address", 0, &o->http_address, "ADDRESS",
                              "where to serve HTTP"),
                OPTION_STRING("https-bind-address", 0, &o->https_address, "ADDRESS",
                              "where to serve HTTPS"),
                OPTION_STRING("metrics-bind-address", 0, &o->metrics_address, "ADDRESS",
                              "where to serve /metrics"),
                OPTION_STRING("health-probe-bind-address", 0, &o->probe_address, "ADDRESS",
                              "where to serve /healthz and /readyz"),
                OPTION_STRING("tls-cert-file", 0, &o->certificate_file, "FILE",
                              "certificate chain for HTTPS (PEM)"),
                OPTION_STRING("tls-key-file", 0, &o->key_file, "FILE", "its private key (PEM)"),
                OPTION_STRING("tls-client-ca-file", 0, &o->client_ca_file, "FILE",
                              "who may issue client certificates (PEM)"),
                OPTION_STRING("mtls-mode", 0, &o->mtls_mode, "MODE",
                              "client certificates: off, optional or required"),
                OPTION_STRING("cluster-domain", 0, &o->cluster_domain, "DOMAIN",
                              "of the names asked for in DNS"),
                OPTION_DURATION("proxy-timeout", 0, &o->proxy_timeout_ns,
                                "how long a request may take in all"),
                OPTION_DURATION("response-header-timeout", 0, &o->head_timeout_ns,
                                "how long a sandbox may take to begin its answer"),
                OPTION_DURATION("shutdown-timeout", 0, &o->shutdown_timeout_ns,
                                "how long to wait for requests when told to end"),
                OPTION_NUMBER("max-request-body-bytes", 0, &o->max_body, "BYTES",
                              "largest request body; 0 is no limit"),
                OPTION_FLAG("allow-loopback-pod-ip", 0, &o->allow_loopback,
                            "accept loopback addresses in X-Sandbox-Pod-IP"),
                OPTION_NUMBER("upstream-max-retries", 0, &o->retries, "NUMBER",
                              "connections tried again"),
                OPTION_DURATION("upstream-retry-initial-delay", 0, &o->retry_first_ns,
                                "wait before the first of these; doubles each time"),
                OPTION_DURATION("upstream-retry-max-delay", 0, &o->retry_max_ns,
                                "longest of these waits"),
                OPTION_STRING("authz-mode", 0, &o->authz_mode, "MODE",
                              "who may: allow-all, tokenreview or scoped-token"),
                OPTION_STRING("authz-scoped-token-secret-file", 0, &o->scoped_token_file, "FILE",
                              "key of scoped tokens, at least 32 bytes"),
                OPTION_DURATION("authz-tokenreview-ttl", 0, &o->review_ttl_ns,
                                "how long a review of a token holds"),
                OPTION_NUMBER("authz-tokenreview-cache-size", 0, &o->review_cache_size, "NUMBER",
                              "tokens whose review is remembered"),
                OPTION_FLAG("authz-tokenreview-require-token", 0, &o->review_requires_token,
                            "refuse requests without a token"),
                OPTION_STRING("authz-tokenreview-audiences", 0, &o->audiences, "NAME,…",
                              "a token must be for one of these"),
                OPTION_FLAG("cache-enabled", 0, &o->cache_enabled,
                            "watch Sandboxes and Pods to know where they are"),
                OPTION_STRING("cache-namespace", 0, &o->cache_namespace, "NAMESPACE",
                              "watch this namespace only"),
                OPTION_FLAG("access-log", 0, &o->access_log, "log each request"),
                OPTION_FLAG("enable-tracing", 0, &o->tracing,
                            "send spans by OTLP/HTTP (OTEL_EXPORTER_OTLP_ENDPOINT …)"),
                OPTION_FLAG("enable-otel-metrics", 0, &o->otel_metrics,
                            "refused: metrics are fetched from --metrics-bind-address"),
                OPTION_FLAG("version", 0, &o->version, "print the version"),
                OPTION_STRING("kubeconfig", 0, &o->kubeconfig, "FILE", "how to reach the cluster"),
                OPTION_STRING("config", 0, &o->config, "FILE",
                              "YAML of these options by their names"),
                OPTION_NUMBER("socket", 0, &o->socket, "FD",
                              "serve HTTP on this listening descriptor"),
                OPTION_NUMBER("ready", 0, &o->ready, "FD", "write a byte here when serving"),
                OPTION_END,
        };

        _Static_assert(ARRAY_SIZE(table) == SPECS, "one for each option");
        memcpy(specs, table, sizeof(table));
}

static int read_environment(struct router_options *o, struct error *error)
{
        const char *domain = getenv("CLUSTER_DOMAIN");
        const char *timeout = getenv("PROXY_TIMEOUT_SECONDS");
        const char *config = getenv("SANDBOX_ROUTER_CONFIG");

        const char *collectors[] = { getenv("OTEL_EXPORTER_OTLP_ENDPOINT"),
                                     getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") };

        /* As upstream's: where to send says that there is something to be sent. */
        for (size_t i = 0; i < ARRAY_SIZE(collectors); i++)
                o->tracing = o->tracing || (collectors[i] && *collectors[i]);
        if (domain && *domain)
                o->cluster_domain = domain;
        if (config && *config)
                o->config = config;
        if (timeout && *timeout && duration_parse(str_from(timeout), &o->proxy_timeout_ns) < 0)
                return error_set(error, -EINVAL, "PROXY_TIMEOUT_SECONDS is no duration: %s.",
                                 timeout);
        return 0;
}

int router_options_take_yaml(struct router_options *o, struct str text, struct error *error)
{
        _cleanup_doc_ struct json_doc *doc = NULL, *second = NULL;
        struct option_spec specs[SPECS];
        size_t offset = 0;

        int r = yaml_next(text, &offset, error, &doc);
        if (r <= 0)
                return r;
        r = yaml_next(text, &offset, error, &second);
        if (r < 0)
                return r;
        if (r > 0 || json_type(json_root(doc)) != JSON_OBJECT)
                return error_set(error, -EINVAL, "It is no list of options and values.");
        make_specs(o, specs);
        json_for_each (it, json_root(doc)) {
                enum json_type type = json_type(it.value);
                struct str value = type == JSON_STRING ? json_string(it.value)
                                   : type == JSON_NULL ? STR("")
                                                       : json_text(it.value);
                if (type == JSON_OBJECT || type == JSON_ARRAY ||
                    memchr(value.data, '\0', value.length) ||
                    (it.key.length > 0 && memchr(it.key.data, '\0', it.key.length)))
                        return error_set(error, -EINVAL, "%.*s takes one value.",
                                         STR_FORMAT(it.key));
                struct str name = arena_str(&o->arena, it.key);
                value = arena_str(&o->arena, value);
                if (!name.data || !value.data)
                        return error_set(error, -ENOMEM, "Out of memory.");
                r = options_set(specs, name.data, value.data, error);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_file(struct router_options *o, const char *path, struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};

        int r = file_read(AT_FDCWD, path, LIMIT_BODY, &text);
        if (r < 0)
                return error_set(error, r, "Cannot read %s: %s.", path, strerror(-r));
        r = router_options_take_yaml(o, buffer_str(&text), error);
        return r < 0 ? error_prefix(error, r, "%s", path) : 0;
}

/* ---- whether they go together ---- */

static int find(const char *value, const char *const *known)
{
        for (int i = 0; known[i]; i++)
                if (strcmp(value, known[i]) == 0)
                        return i;
        return -1;
}

static int check_tls(struct router_options *o, struct error *error)
{
        static const char *const modes[] = { "off", "optional", "required", NULL };
        int mode = find(o->mtls_mode, modes);

        if (mode < 0)
                return error_set(error, -EINVAL, "--mtls-mode is off, optional or required: %s.",
                                 o->mtls_mode);
        o->client_certificate = (enum tls_client_certificate)mode;
        if (mode > 0 && (!*o->client_ca_file || !*o->https_address))
                return error_set(
                        error, -EINVAL,
                        "--mtls-mode needs --tls-client-ca-file and --https-bind-address.");
        if (*o->https_address && (!*o->certificate_file || !*o->key_file))
                return error_set(error, -EINVAL,
                                 "--https-bind-address needs --tls-cert-file and --tls-key-file.");
        if (o->socket < 0 && !*o->http_address && !*o->https_address)
                return error_set(error, -EINVAL,
                                 "Nothing is served: give --http-bind-address or "
                                 "--https-bind-address.");
        return 0;
}

static int check_authorization(struct router_options *o, struct error *error)
{
        static const char *const modes[] = { "allow-all", "tokenreview", "scoped-token", NULL };
        int mode = find(o->authz_mode, modes);

        if (mode < 0)
                return error_set(error, -EINVAL,
                                 "--authz-mode is allow-all, tokenreview or scoped-token: %s.",
                                 o->authz_mode);
        o->authorize_mode = (enum authorize_mode)mode;
        if (o->authorize_mode == AUTHORIZE_SCOPED_TOKEN && !*o->scoped_token_file)
                return error_set(error, -EINVAL,
                                 "--authz-mode scoped-token needs "
                                 "--authz-scoped-token-secret-file.");
        if (o->review_ttl_ns < NS_PER_MS || o->review_cache_size < 1 ||
            o->review_cache_size > REVIEWS_MAX)
                return error_set(error, -EINVAL,
                                 "--authz-tokenreview-ttl and --authz-tokenreview-cache-size (at "
                                 "most %d) must be positive.",
                                 REVIEWS_MAX);
        return 0;
}

static bool is_domain(const char *text)
{
        size_t length = strlen(text);

        for (size_t i = 0; i < length; i++)
                if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-", text[i]))
                        return false;
        return length > 0 && length <= LIMIT_NAME;
}

int router_options_check(struct router_options *o, struct error *error)
{
        int r = check_tls(o, error);

        if (r == 0)
                r = check_authorization(o, error);
        if (r < 0)
                return r;
        if (o->max_body < 0 || o->retries < 0 || o->retries > RETRIES_MAX)
                return error_set(error, -EINVAL,
                                 "--max-request-body-bytes and --upstream-max-retries (at most "
                                 "%d) may not be negative.",
                                 RETRIES_MAX);
        if (o->proxy_timeout_ns < NS_PER_MS)
                return error_set(error, -EINVAL, "--proxy-timeout is too short.");
        if (!is_domain(o->cluster_domain))
                return error_set(error, -EINVAL, "--cluster-domain is no domain: '%s'.",
                                 o->cluster_domain);
        if (*o->cache_namespace && !router_is_dns_label(str_from(o->cache_namespace)))
                return error_set(error, -EINVAL, "--cache-namespace is no name: '%s'.",
                                 o->cache_namespace);
        if (o->otel_metrics)
                return error_set(error, -EINVAL,
                                 "--enable-otel-metrics: metrics are not sent. Have them fetched "
                                 "from --metrics-bind-address, by a collector too.");
        return 0;
}

static bool asks_for_help(int argc, char **argv)
{
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
                    strcmp(argv[i], "-help") == 0)
                        return true;
        return false;
}

void router_options_init(struct router_options *options)
{
        *options = (struct router_options){
                .http_address = ":8080",
                .https_address = "",
                .certificate_file = "",
                .key_file = "",
                .client_ca_file = "",
                .mtls_mode = "off",
                .cluster_domain = "cluster.local",
                .proxy_timeout_ns = (uint64_t)PROXY_TIMEOUT_MS * NS_PER_MS,
                .shutdown_timeout_ns = SHUTDOWN_TIMEOUT_S * NS_PER_SECOND,
                .retries = PROXY_RETRIES,
                .retry_first_ns = PROXY_RETRY_FIRST_MS * NS_PER_MS,
                .retry_max_ns = PROXY_RETRY_MAX_MS * NS_PER_MS,
                .cache_enabled = true,
                .cache_namespace = "",
                .authz_mode = "allow-all",
                .scoped_token_file = "",
                .review_ttl_ns = AUTHORIZE_REMEMBER_MS * NS_PER_MS,
                .review_cache_size = AUTHORIZE_TOKENS,
                .review_requires_token = true,
                .audiences = "",
                .access_log = true,
                .socket = -1,
                .ready = -1,
        };
}

static int read_all(int argc, char **argv, struct error *error, struct router_options *o)
{
        struct option_spec specs[SPECS];
        int operands;

        make_specs(o, specs);
        int r = read_environment(o, error);
        /* Twice: the first time finds the file, the second wins over it. */
        if (r == 0)
                r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && o->config && *o->config)
                r = read_file(o, o->config, error);
        if (r == 0)
                r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "cay router takes no operand: %s.", argv[1]);
        return r;
}

int router_options_read(int argc, char **argv, struct error *error,
                        struct router_options *ret_options)
{
        struct router_options o;
        struct option_spec specs[SPECS];

        router_options_init(&o);
        if (asks_for_help(argc, argv)) {
                make_specs(&o, specs);
                printf("Usage: cay router [OPTION…]\n\nThe HTTP proxy to sandboxes.\n\n");
                options_print(specs);
                return 1;
        }
        int r = read_all(argc, argv, error, &o);
        if (r == 0 && o.version) {
                printf("cay router " ROUTER_VERSION "\n");
                arena_deinit(&o.arena);
                return 1;
        }
        if (r == 0)
                r = router_options_check(&o, error);
        if (r < 0) {
                arena_deinit(&o.arena);
                return r;
        }
        if (!o.metrics_address)
                o.metrics_address = o.socket >= 0 ? "" : ":9090";
        if (!o.probe_address)
                o.probe_address = o.socket >= 0 ? "" : ":8081";
        *ret_options = o;
        return 0;
}

void router_options_deinit(struct router_options *options)
{
        arena_deinit(&options->arena);
}
