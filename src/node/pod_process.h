// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "node/images.h"
#include "node/pod_spec.h"

/* Finds the ConfigMap or Secret `name` of the Pod's namespace; absent when there is none. */
struct pod_sources {
        struct json_value (*find)(void *userdata, enum pod_source_kind kind, struct str name);
        void *userdata;
};

/* What the node knows and the Pod document does not say (yet). */
struct pod_facts {
        struct str pod_ip, host_ip, node_name;
        struct pod_resources allocatable; /* what resourceFieldRef gives without a limit */
        struct str api_host, api_port;    /* KUBERNETES_SERVICE_HOST, _PORT; empty: left out */
};

/* What init is asked to run. NUL-terminated strings in the arena, arrays ended by NULL. */
struct pod_process {
        char **argv;
        char **env; /* NAME=value, each name once */
        size_t argc, env_count;
        char *working_dir;
};

/*
 * Puts together command, arguments and environment: the image's, envFrom, env, and "$(NAME)"
 * expanded as Kubernetes does ("$$" escapes; what is unknown stays). Returns 0; -ENOENT when a
 * ConfigMap, a Secret or a key is absent and not optional, or -EINVAL for a wrong field path
 * (both with the sentence of CreateContainerConfigError); -E2BIG beyond LIMIT_ARGUMENTS; -ENOMEM.
 */
int pod_process_resolve(const struct pod_spec *spec, const struct pod_container *container,
                        const struct image *image, const struct pod_sources *sources,
                        const struct pod_facts *facts, struct arena *arena, struct error *error,
                        struct pod_process *ret_process);

/*
 * The value of a fieldRef ("metadata.name", "metadata.labels['a']", "status.podIP" …).
 * Returns 0, -EINVAL (unknown) or -ENOMEM.
 */
int pod_field_value(const struct pod_spec *spec, const struct pod_facts *facts, struct str path,
                    struct arena *arena, struct str *ret_value);

/* The value of a resourceFieldRef of `container` ("limits.cpu" …), rounded up by the divisor. */
int pod_resource_value(const struct pod_container *container, const struct pod_facts *facts,
                       struct str resource, uint64_t divisor_milli, struct arena *arena,
                       struct str *ret_value);
