// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/macro.h"
#include "base/options.h"
#include "client/client.h"
#include "client/reflector.h"
#include "client/resource.h"

/*
 * What the benches share: one way to the API, the objects that they make, samples and the lines
 * that bench/run reads ("name value unit"). Benches have nothing to recover to: every function ends
 * the program with a sentence when it fails.
 */
_Noreturn void bench_fail(const char *format, ...) _printf_(1, 2);

enum { BENCH_NAME = 64 };

struct bench {
        const char *kubeconfig, *name_space; /* options */
        uv_loop_t uv;
        struct net_loop *loop;
        struct kube_config config;
        struct kube_client *client;
        const struct kind *kind; /* of what is created and watched */
        const char *pool;        /* SandboxWarmPool to claim from; NULL: bare Sandboxes */
        const char *version;     /* of the API: "v1beta1" */
        struct kind kind_of_version;
};

/* The options that every bench against the API has; the bench's own follow. */
#define BENCH_OPTIONS(bench)                                                                       \
        OPTION_STRING("kubeconfig", 0, &(bench)->kubeconfig, "FILE", "the cluster ($KUBECONFIG)"), \
                OPTION_STRING("namespace", 'n', &(bench)->name_space, "NAME", "where to work"),    \
                OPTION_STRING("pool", 0, &(bench)->pool, "NAME",                                   \
                              "claim from this pool; without: bare Sandboxes"),                    \
                OPTION_STRING("api", 0, &(bench)->version, "VERSION", "v1beta1 or v1alpha1")

/* Reads the options and makes the client, which connects `connections` times at most. */
void bench_open(struct bench *bench, const struct option_spec *options, int argc, char **argv,
                const int64_t *connections);
void bench_close(struct bench *bench);

/* `name` and `query` ("?limit=1") may be empty. */
void bench_request(struct bench *bench, const char *method, const struct kind *kind,
                   const char *name, const char *query, struct str body, kube_response_fn callback,
                   void *user);

/* For requests of which only success matters. */
void bench_expect_success(void *user, const struct kube_response *response);

/* Watches the namespace from now on. */
struct kube_reflector *bench_watch(struct bench *bench, const struct kind *kind,
                                   const char *label_selector, kube_event_fn handler, void *user);

/* POSTs a claim or Sandbox of this name, as the options say. */
void bench_create(struct bench *bench, const char *name, kube_response_fn callback, void *user);

/* Whether the condition Ready is True. */
bool bench_is_ready(struct json_value object);

struct samples {
        uint64_t *ns;
        size_t count, capacity;
};

void samples_add(struct samples *samples, uint64_t ns);
void samples_deinit(struct samples *samples);

/* Milliseconds; sorts. There must be a sample. */
double samples_quantile_ms(struct samples *samples, double quantile);

/* Prints "name.p50 …ms" and "name.p99 …ms". */
void samples_print(struct samples *samples, const char *name);

/* Prints one figure. */
void figure_print(const char *name, double value, const char *unit);
