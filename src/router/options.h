// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "net/tls.h"
#include "router/authorize.h"

/* What `cay router` was told: flags, then the environment, then the file of --config. */
struct router_options {
        const char *http_address; /* empty: none, here and below */
        const char *https_address;
        const char *metrics_address;
        const char *probe_address;
        const char *certificate_file, *key_file, *client_ca_file;
        const char *mtls_mode;
        enum tls_client_certificate client_certificate; /* from mtls_mode */
        const char *cluster_domain;
        uint64_t proxy_timeout_ns, head_timeout_ns, shutdown_timeout_ns;
        int64_t max_body; /* bytes; 0: no limit */
        int64_t retries;
        bool allow_loopback;
        bool cache_enabled;
        const char *cache_namespace; /* empty: all */
        const char *authz_mode;
        enum authorize_mode authorize_mode; /* from authz_mode */
        const char *scoped_token_file;
        uint64_t review_ttl_ns;
        int64_t review_cache_size;
        bool review_requires_token;
        const char *audiences; /* separated by commas; empty: the API server's own */
        uint64_t retry_first_ns, retry_max_ns;
        bool tracing;      /* send spans */
        bool otel_metrics; /* asked for, and refused */
        bool version;
        bool access_log;
        const char *kubeconfig; /* NULL: as kube_config_find() */
        const char *config;     /* NULL: none */
        int64_t socket;         /* a listening descriptor instead of http_address; -1: none */
        int64_t ready;          /* where to write a byte when it serves; -1: nowhere */
        struct arena arena;     /* strings that came from the file */
};

/*
 * Reads them. With --socket the addresses for metrics and probes are empty unless given. Returns 0,
 * 1 when --help or --version was asked for and printed, or a negative errno with a sentence.
 */
int router_options_read(int argc, char **argv, struct error *error,
                        struct router_options *ret_options);
void router_options_deinit(struct router_options *options);

/*
 * What no option has been given for. Fit to be set by router_options_take_yaml(), which reads the
 * file of --config: one mapping of names of options to their values, none of which is a mapping or
 * a list. Strings go to the arena. Returns 0 or a negative errno with a sentence.
 */
void router_options_init(struct router_options *options);
int router_options_take_yaml(struct router_options *options, struct str text, struct error *error);

/* Whether they go together. Returns 0 or -EINVAL with a sentence. */
int router_options_check(struct router_options *options, struct error *error);
