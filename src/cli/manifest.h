// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/options.h"
#include "base/str.h"

/* What commands create, as JSON. All that write return 0 or -ENOMEM. */

#define DEFAULT_IMAGE "python-runtime-sandbox:latest"

/* Marks of ours: the run that made an object; the pool for which `cay pool create` made one. */
#define LABEL_RUN      "cay.dev/run"
#define LABEL_MADE_FOR "cay.dev/made-for-pool"

/* Most that a sandbox may use, as Kubernetes quantities ("500m", "1Gi"); empty: no limit. */
struct manifest_limits {
        struct str cpu, memory;
};

/*
 * From --cpu and --memory; NULL: no limit. Returns 0, or -EINVAL with a sentence that shows a right
 * value: a cluster would take a wrong one and then start no Pod. The strings are borrowed.
 */
int manifest_limits_read(const char *cpu, const char *memory, struct error *error,
                         struct manifest_limits *ret_limits);

/* A Sandbox or claim of one run. */
struct run_manifest {
        struct str name, token;           /* token: of LABEL_RUN */
        struct str image;                 /* Sandbox */
        const struct option_strings *env; /* Sandbox: NAME=VALUE */
        struct str working_dir;           /* Sandbox */
        struct manifest_limits limits;    /* Sandbox */
        struct str pool;                  /* claim: by one of the two */
        struct str template;
        uint64_t shutdown_ns; /* realtime: when the controller ends it by itself; 0: never */
        bool keep;
};
int manifest_sandbox(const struct run_manifest *run, struct buffer *out);

/* v1beta1 with `pool`, v1alpha1 with `template`. */
int manifest_claim(const struct run_manifest *run, struct buffer *out);

/*
 * A SandboxTemplate of an image, with a command instead of its own if `argument_count` is not 0,
 * and a SandboxWarmPool of it with the same name.
 */
int manifest_template(struct str name, struct str image, const struct manifest_limits *limits,
                      const char *const *arguments, size_t argument_count, struct buffer *out);
int manifest_pool(struct str name, int64_t replicas, struct buffer *out);
