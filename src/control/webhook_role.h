// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "client/client.h"
#include "serve/health.h"
#include "serve/metrics.h"

/* Upstream's names, so that either controller goes on where the other stopped. */
#define WEBHOOK_SERVICE   "agent-sandbox-webhook-service"
#define WEBHOOK_NAMESPACE "agent-sandbox-system"
#define WEBHOOK_FOLDER    "/tmp/k8s-webhook-server/serving-certs"

/* How the conversion webhook is served. Strings are borrowed. */
struct webhook_role_config {
        bool enabled;
        int64_t port; /* 0: any free one */
        const char *service, *name_space;
        const char *url;      /* how API servers reach it instead of the Service; NULL: by that */
        uint64_t validity_ns; /* of a certificate that is made here */
        bool manages; /* certificate and CRDs are ours to see to; else the certificate is in: */
        const char *folder, *certificate, *key;
};

/* The conversion webhook of a controller process, leader or not: see serve/webhook_setup.h. */
struct webhook_role;

struct webhook_role_options {
        const struct webhook_role_config *config;
        struct kube_client *client; /* borrowed, as all here */
        struct metrics *metrics;
        struct health *health;
        const char *cluster_domain;
        bool extensions;
        bool (*is_leading)(void *user); /* these three as in serve/webhook_setup.h */
        bool (*may_say)(void *user, struct str trouble);
        void *user;
};

/* Listens and begins. Returns 0, or a negative errno with a sentence. */
int webhook_role_new(const struct webhook_role_options *options, struct error *error,
                     struct webhook_role **ret_role);
/* To be called when the process begins to lead. */
void webhook_role_lead(struct webhook_role *role);
void webhook_role_free(struct webhook_role *role);
