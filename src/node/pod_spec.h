// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/limit.h"
#include "base/str.h"
#include "json/json.h"

/*
 * A Pod document (core/v1 Pod) as the node needs it. Strings are views into the document, arrays
 * live in the arena that was given; both must outlive the spec.
 */

enum pod_restart_policy { POD_RESTART_ALWAYS, POD_RESTART_ON_FAILURE, POD_RESTART_NEVER };
enum pod_pull_policy { POD_PULL_ALWAYS, POD_PULL_IF_NOT_PRESENT, POD_PULL_NEVER };
enum pod_dns_policy { POD_DNS_CLUSTER_FIRST, POD_DNS_DEFAULT, POD_DNS_NONE };
enum pod_qos { POD_QOS_BEST_EFFORT, POD_QOS_BURSTABLE, POD_QOS_GUARANTEED };

struct pod_strings {
        const struct str *items;
        size_t count;
};

/* Objects that a Pod reads besides itself. */
enum pod_source_kind { POD_SOURCE_CONFIG_MAP, POD_SOURCE_SECRET };

enum pod_env_kind {
        POD_ENV_VALUE,
        POD_ENV_FIELD,    /* fieldRef: `key` is the fieldPath */
        POD_ENV_RESOURCE, /* resourceFieldRef: `key` is the resource, `name_of` the container */
        POD_ENV_CONFIG_MAP_KEY, /* `name_of` the object, `key` its key */
        POD_ENV_SECRET_KEY,
};

struct pod_env {
        struct str name;
        enum pod_env_kind kind;
        struct str value;
        struct str name_of;
        struct str key;
        uint64_t divisor_milli; /* of a resource, in thousandths; 1000 is 1 */
        bool optional;
};

struct pod_env_from {
        enum pod_source_kind kind;
        struct str name;
        struct str prefix;
        bool optional;
};

struct pod_port {
        struct str name;
        uint16_t number;
};

enum pod_handler_kind {
        POD_HANDLER_NONE,
        POD_HANDLER_HTTP,
        POD_HANDLER_TCP,
        POD_HANDLER_EXEC,
        POD_HANDLER_GRPC,  /* grpc.health.v1 */
        POD_HANDLER_SLEEP, /* of hooks only */
};

struct pod_header {
        struct str name, value;
};

/* What is asked of a container: by a probe again and again, by a lifecycle hook once. */
struct pod_handler {
        enum pod_handler_kind kind;
        uint16_t port;
        bool https;
        struct str host; /* empty: the Pod's address */
        struct str path; /* of HTTP; at least "/" */
        const struct pod_header *headers;
        size_t header_count;
        struct pod_strings command;
        struct str service; /* of gRPC; empty: the server as a whole */
        uint32_t sleep_s;
};

struct pod_probe {
        struct pod_handler handler;
        uint32_t initial_delay_s, period_s, timeout_s;
        uint32_t success_threshold, failure_threshold;
        int64_t grace_s; /* terminationGracePeriodSeconds of the probe; -1: the Pod's */
};

/* Amounts of what is limited; 0 is not given. */
struct pod_resources {
        uint64_t cpu_milli;
        uint64_t memory;            /* bytes */
        uint64_t ephemeral_storage; /* bytes */
};

struct pod_mount {
        size_t volume; /* index into the spec's volumes */
        struct str path;
        struct str sub_path; /* relative, without ".." */
        bool read_only;
};

struct pod_security {
        int64_t user, group; /* -1: the image's */
        bool must_run_as_non_root;
        bool read_only_root;
};

struct pod_container {
        struct str name, image;
        enum pod_pull_policy pull_policy;
        struct pod_strings command, args;
        struct str working_dir; /* empty: the image's */
        const struct pod_env *env;
        size_t env_count;
        const struct pod_env_from *env_from;
        size_t env_from_count;
        const struct pod_port *ports;
        size_t port_count;
        struct pod_resources limits, requests;
        const struct pod_mount *mounts;
        size_t mount_count;
        struct pod_probe startup, liveness, readiness;
        struct pod_handler post_start, pre_stop;
        struct pod_security security;
        struct str message_path;        /* terminationMessagePath */
        bool message_falls_back_to_log; /* terminationMessagePolicy FallbackToLogsOnError */
        bool has_stdin, stdin_once, has_tty;
        bool is_init;    /* stands in initContainers */
        bool is_sidecar; /* an init container with restartPolicy Always */
};

enum pod_volume_kind {
        POD_VOLUME_EMPTY_DIR,
        POD_VOLUME_CONFIG_MAP,
        POD_VOLUME_SECRET,
        POD_VOLUME_DOWNWARD_API,
        POD_VOLUME_PROJECTED,
        POD_VOLUME_CLAIM,
};

enum pod_projection_kind {
        POD_PROJECT_CONFIG_MAP,
        POD_PROJECT_SECRET,
        POD_PROJECT_DOWNWARD_API,
        POD_PROJECT_TOKEN,
};

/* One file of a volume: a key of its object, or a field of the Pod. */
struct pod_item {
        struct str key;       /* of the object; or the fieldPath or resource */
        struct str path;      /* relative, without ".." */
        struct str container; /* of a resourceFieldRef; else empty */
        uint64_t divisor_milli;
        int32_t mode; /* -1: the volume's */
        bool is_resource;
};

/* Where files of a volume come from. A volume that is not projected has exactly one. */
struct pod_projection {
        enum pod_projection_kind kind;
        struct str name; /* of the ConfigMap or Secret */
        const struct pod_item *items;
        size_t item_count; /* 0: every key is a file */
        bool optional;
        struct str audience, token_path; /* of a service-account token */
        uint64_t token_seconds;
};

struct pod_volume {
        struct str name;
        enum pod_volume_kind kind;
        const struct pod_projection *projections;
        size_t projection_count;
        int32_t default_mode; /* of files */
        struct str claim;
        bool read_only;
        bool in_memory;      /* emptyDir medium Memory */
        uint64_t size_limit; /* of an emptyDir, bytes; 0: none */
};

struct pod_host_alias {
        struct str ip;
        struct pod_strings names;
};

struct pod_spec {
        struct str namespace, name, uid, node_name;
        struct str service_account;
        struct json_value document;       /* for fieldRef, labels, foreign conditions */
        struct json_value status;         /* as the API has it */
        struct pod_container *containers; /* init containers first, in their order */
        size_t container_count, init_count;
        const struct pod_volume *volumes;
        size_t volume_count;
        enum pod_restart_policy restart_policy;
        uint64_t grace_s;           /* terminationGracePeriodSeconds */
        uint64_t active_deadline_s; /* 0: none */
        bool is_deleting;           /* deletionTimestamp is set */
        uint64_t deletion_grace_s;
        struct str hostname; /* empty: the Pod's name */
        struct str subdomain;
        enum pod_dns_policy dns_policy;
        struct pod_strings dns_servers, dns_searches, dns_options; /* options as "ndots:5" */
        const struct pod_host_alias *host_aliases;
        size_t host_alias_count;
        int64_t fs_group;       /* -1: none */
        const uint32_t *groups; /* supplementalGroups */
        size_t group_count;
        struct pod_strings readiness_gates;
        enum pod_qos qos;
};

/*
 * Reads a Pod document that an API server accepted: defaults are filled in where it left them
 * out. Returns 0; -EOPNOTSUPP when it asks for something that this node lacks (the sentence
 * begins with the field's path); -EINVAL when it makes no sense; -E2BIG beyond a limit; -ENOMEM.
 * On failure the metadata is read all the same and there are no containers, so that the refusal can
 * be published and a deletion be seen.
 */
int pod_spec_read(struct json_value document, struct arena *arena, struct error *error,
                  struct pod_spec *spec);

/* The index of the container with this name, or -1. */
int pod_spec_find_container(const struct pod_spec *spec, struct str name);

const char *pod_qos_name(enum pod_qos qos);
