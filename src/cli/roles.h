// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "cli/instance.h"
#include "cli/supervisor.h"
#include "runtime/launcher.h"

/* What `cay up` was told and opened for its roles. Strings are borrowed. */
struct role_settings {
        const char *pod_cidr;
        const char *node_name;
        const char *controllers;       /* in-process or wire */
        int api_socket, router_socket; /* listening */
        int pods_socket;               /* the API, where Pods reach it; -1: as api_socket */
        const char *pods_port;         /* its port */
        const char *api_address, *router_address; /* "127.0.0.1:8080": where the sockets listen */
        int launcher_socket, node_socket;         /* the two ends of one SOCK_SEQPACKET pair */
        int ready; /* roles write their first letter when they serve */
        int64_t overcommit_cpu, overcommit_memory; /* what the Node offers, times real */
        bool log_to_files;                         /* <data>/log/<role>.log instead of stderr */
};

enum { ROLE_LAUNCHER, ROLES = 4, ROLE_ARGUMENTS_MAX = 48 };

/* The four processes of one machine, ready for supervisor_run(); strings live in the table. */
struct role_table {
        struct role roles[ROLES];
        size_t count;
        struct launcher_config launcher;
        const char *arguments[ROLES][ROLE_ARGUMENTS_MAX];
        char paths[32][PATH_MAX];
        size_t path_count;
        bool is_too_long; /* one of them did not fit */
};

/* The network that "10.88.0.0/16" names; its first host is this machine. Host byte order. */
int role_pod_network(const char *cidr, uint32_t *ret_network, uint32_t *ret_prefix,
                     struct error *error);

/* Ends and removes all that an instance left on the machine but its data. With its lock held. */
int roles_cleanup(const struct instance *instance, struct error *error);

/* How many containers an instance has. */
size_t roles_count_containers(const struct instance *instance);

int role_table_init(struct role_table *table, const struct instance *instance,
                    const struct role_settings *settings, struct error *error);
