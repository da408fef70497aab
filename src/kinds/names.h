// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Groups, labels and annotations of the Agent Sandbox API (docs of kubernetes-sigs/agent-sandbox).
 */
#define GROUP_AGENTS     STR("agents.x-k8s.io")
#define GROUP_EXTENSIONS STR("extensions.agents.x-k8s.io")

#define LABEL_NAME_HASH         STR("agents.x-k8s.io/sandbox-name-hash")
#define LABEL_POOL              STR("agents.x-k8s.io/pool")
#define LABEL_WARM_POOL         STR("agents.x-k8s.io/warm-pool-sandbox")
#define LABEL_TEMPLATE_REF_HASH STR("agents.x-k8s.io/sandbox-template-ref-hash")
#define LABEL_TEMPLATE_HASH     STR("agents.x-k8s.io/sandbox-template-hash")
#define LABEL_POD_TEMPLATE_HASH STR("agents.x-k8s.io/sandbox-pod-template-hash")
#define LABEL_LAUNCH_TYPE       STR("agents.x-k8s.io/launch-type")
#define LABEL_CREATED_BY        STR("agents.x-k8s.io/created-by")
#define LABEL_CLAIM_UID         STR("agents.x-k8s.io/claim-uid")
#define LABEL_ADOPTABLE         STR("agents.x-k8s.io/adoptable")

#define ANNOTATION_POD_NAME               STR("agents.x-k8s.io/pod-name")
#define ANNOTATION_SANDBOX_NAME           STR("agents.x-k8s.io/sandbox-name")
#define ANNOTATION_TEMPLATE_REF           STR("agents.x-k8s.io/sandbox-template-ref")
#define ANNOTATION_SAFE_TO_EVICT          STR("cluster-autoscaler.kubernetes.io/safe-to-evict")
#define ANNOTATION_PROPAGATED_LABELS      STR("agents.x-k8s.io/propagated-labels")
#define ANNOTATION_PROPAGATED_ANNOTATIONS STR("agents.x-k8s.io/propagated-annotations")
#define ANNOTATION_TRACE_CONTEXT          STR("opentelemetry.io/trace-context")

/* Ours: the generation that decides behaviour, "v1alpha1" or "v1beta1" (docs/api.md). */
#define ANNOTATION_GENERATION STR("cay.dev/generation")

enum { NAME_HASH_SIZE = 9 };

/* NameHash: FNV-1a 32 of the name as 8 lower-case hex digits, NUL-terminated. */
struct str name_hash(struct str name, char text[static NAME_HASH_SIZE]);

/* RFC 1123: at most 63 of [a-z0-9-], alphanumeric at both ends. */
bool name_is_dns_label(struct str name);

/* Whether the label or annotation key stands in a domain that only controllers write:
 * agents.x-k8s.io/ or extensions.agents.x-k8s.io/. */
bool key_is_reserved(struct str key);
