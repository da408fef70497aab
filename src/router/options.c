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

enum { SPECS = 24, SHUTDOWN_TIMEOUT_S = 30 };

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
                OPTION_STRING("authz-mode", 0, &o->authz_mode, "MODE", "allow-all"),
                OPTION_FLAG("cache-enabled", 0, &o->cache_enabled,
                            "watch Sandboxes and Pods to know where they are"),
                OPTION_STRING("cache-namespace", 0, &o->cache_namespace, "NAMESPACE",
                              "watch this namespace only"),
                OPTION_FLAG("access-log", 0, &o->access_log, "log each request"),
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

        if (domain && *domain)
                o->cluster_domain = domain;
        if (timeout && *timeout && duration_parse(str_from(timeout), &o->proxy_timeout_ns) < 0)
                return error_set(error, -EINVAL, "PROXY_TIMEOUT_SECONDS is no duration: %s.",
                                 timeout);
        return 0;
}

/* Values keep living in the arena, for options point to them. */
static int read_file(struct router_options *o, const struct option_spec *specs, const char *path,
                     struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        size_t offset = 0;

        int r = file_read(AT_FDCWD, path, LIMIT_BODY, &text);
        if (r < 0)
                return error_set(error, r, "Cannot read %s: %s.", path, strerror(-r));
        r = yaml_next(buffer_str(&text), &offset, error, &doc);
        if (r <= 0)
                return r < 0 ? error_prefix(error, r, "%s", path) : 0;
        if (json_type(json_root(doc)) != JSON_OBJECT)
                return error_set(error, -EINVAL, "%s is no list of options and values.", path);
        json_for_each (it, json_root(doc)) {
                struct str value = json_type(it.value) == JSON_STRING ? json_string(it.value)
                                                                      : json_text(it.value);
                struct str name = arena_str(&o->arena, it.key);
                value = arena_str(&o->arena, value);
                if (!name.data || !value.data)
                        return error_set(error, -ENOMEM, "Out of memory.");
                r = options_set(specs, name.data, value.data, error);
                if (r < 0)
                        return error_prefix(error, r, "%s", path);
        }
        return 0;
}

static int check(struct router_options *o, struct error *error)
{
        static const char *const modes[] = { "off", "optional", "required" };
        size_t mode = 0;

        while (mode < ARRAY_SIZE(modes) && strcmp(o->mtls_mode, modes[mode]) != 0)
                mode++;
        if (mode == ARRAY_SIZE(modes))
                return error_set(error, -EINVAL, "--mtls-mode is off, optional or required: %s.",
                                 o->mtls_mode);
        o->client_certificate = (enum tls_client_certificate)mode;
        if (mode > 0 && !*o->client_ca_file)
                return error_set(error, -EINVAL, "--mtls-mode needs --tls-client-ca-file.");
        if (*o->https_address && (!*o->certificate_file || !*o->key_file))
                return error_set(error, -EINVAL,
                                 "--https-bind-address needs --tls-cert-file and --tls-key-file.");
        if (strcmp(o->authz_mode, "allow-all") != 0)
                return error_set(error, -EINVAL, "--authz-mode %s is not known: use allow-all.",
                                 o->authz_mode);
        if (o->max_body < 0 || o->retries < 0 || o->retries > 100)
                return error_set(error, -EINVAL,
                                 "--max-request-body-bytes and --upstream-max-retries (at most "
                                 "100) may not be negative.");
        if (o->proxy_timeout_ns < NS_PER_MS)
                return error_set(error, -EINVAL, "--proxy-timeout is too short.");
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

int router_options_read(int argc, char **argv, struct error *error,
                        struct router_options *ret_options)
{
        struct router_options o = {
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
                .cache_enabled = true,
                .cache_namespace = "",
                .authz_mode = "allow-all",
                .access_log = true,
                .socket = -1,
                .ready = -1,
        };
        struct option_spec specs[SPECS];
        int operands;

        make_specs(&o, specs);
        if (asks_for_help(argc, argv)) {
                printf("Usage: cay router [OPTION…]\n\nThe HTTP proxy to sandboxes.\n\n");
                options_print(specs);
                return 1;
        }
        /* Twice: the first time finds the file, the second wins over it. */
        int r = read_environment(&o, error);
        if (r == 0)
                r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && o.config)
                r = read_file(&o, specs, o.config, error);
        if (r == 0)
                r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "cay router takes no operand: %s.", argv[1]);
        if (r == 0)
                r = check(&o, error);
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
