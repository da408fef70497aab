// SPDX-License-Identifier: Apache-2.0
#include "cli/roles.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "control/control.h"
#include "runtime/cgroup.h"

enum {
        LAUNCHER_POOL = 8,
        POD_PREFIX_MIN = 8,
        POD_PREFIX_MAX = 29,
};

/* Descriptors as the programs find them; see supervisor.h. */
#define FIRST_DESCRIPTOR  "3"
#define SECOND_DESCRIPTOR "4"
#define THIRD_DESCRIPTOR  "5"

/* A path that lives as long as the table. */
static const char *keep(struct role_table *table, const char *format, ...) _printf_(2, 3);
static const char *keep(struct role_table *table, const char *format, ...)
{
        va_list arguments;

        assert(table->path_count < ARRAY_SIZE(table->paths));
        char *path = table->paths[table->path_count++];
        va_start(arguments, format);
        int length = vsnprintf(path, sizeof(table->paths[0]), format, arguments);
        va_end(arguments);
        table->is_too_long |= length < 0 || (size_t)length >= sizeof(table->paths[0]);
        return path;
}

int role_pod_network(const char *text, uint32_t *ret_network, uint32_t *ret_prefix,
                     struct error *error)
{
        struct str address, prefix;
        char dotted[INET_ADDRSTRLEN];
        struct in_addr network;
        uint64_t bits;

        if (!str_cut(str_from(text), '/', &address, &prefix) || address.length >= sizeof(dotted) ||
            str_to_u64(prefix, POD_PREFIX_MAX, &bits) < 0 || bits < POD_PREFIX_MIN)
                return error_set(error, -EINVAL,
                                 "--pod-cidr takes an IPv4 network of prefix %d to %d, not '%s'",
                                 POD_PREFIX_MIN, POD_PREFIX_MAX, text);
        snprintf(dotted, sizeof(dotted), "%.*s", STR_FORMAT(address));
        uint32_t mask = UINT32_MAX << (32 - bits);
        if (inet_pton(AF_INET, dotted, &network) != 1 || (ntohl(network.s_addr) & ~mask) != 0)
                return error_set(error, -EINVAL, "--pod-cidr: '%s' is no IPv4 network", text);
        *ret_network = ntohl(network.s_addr);
        *ret_prefix = (uint32_t)bits;
        return 0;
}

/*
 * Whether no other interface has a route into the network: with two, the sandboxes of one would be
 * reached in place of the other's. A default route is no claim on it.
 */
static int check_routes(const char *cidr, uint32_t network, uint32_t prefix, const char *interface,
                        struct error *error)
{
        char line[256], name[32];
        uint32_t destination, mask;
        FILE *routes = fopen("/proc/net/route", "re"); /* addresses in network byte order, as hex */

        while (routes && fgets(line, sizeof(line), routes)) {
                if (sscanf(line, "%31s %8x %*x %*x %*d %*d %*d %8x", name, &destination, &mask) !=
                            3 ||
                    mask == 0 || strcmp(name, interface) == 0)
                        continue;
                uint32_t shared = ntohl(mask) & (UINT32_MAX << (32 - prefix));
                if (((ntohl(destination) ^ network) & shared) != 0)
                        continue;
                fclose(routes);
                return error_set(error, -EADDRINUSE,
                                 "addresses of %s are reached through %s already: choose another "
                                 "network with --pod-cidr",
                                 cidr, name);
        }
        if (routes)
                fclose(routes);
        return 0;
}

/* `second` is -1 for a role that has one descriptor. */
static struct role *add(struct role_table *table, const char *name, uid_t uid,
                        const char *const *arguments, int first, int second, const char *log)
{
        size_t index = table->count++;
        size_t count = 0;

        while (arguments[count]) {
                assert(count + 1 < ROLE_ARGUMENTS_MAX);
                table->arguments[index][count] = arguments[count];
                count++;
        }
        table->arguments[index][count] = NULL;
        table->roles[index] = (struct role){
                .name = name,
                .uid = uid,
                .argv = table->arguments[index],
                .descriptors = { first, second },
                .descriptor_count = second < 0 ? 1 : 2,
                .log = log,
        };
        return &table->roles[index];
}

/* All of the launcher's configuration but the Pod network. */
static void name_launcher(struct role_table *table, const struct instance *instance)
{
        table->launcher = (struct launcher_config){
                .run = keep(table, "%s/launcher", instance->run),
                .init = keep(table, "%s/init", instance->libexec),
                .skeleton = keep(table, "%s/skeleton", instance->data),
                .cgroup = keep(table, "cay-%s", instance->id),
                .interface = keep(table, "cay-%s", instance->id),
                .node_user = UID_NODE,
                .node_group = UID_NODE,
                .pool = LAUNCHER_POOL,
        };
}

int roles_cleanup(const struct instance *instance, struct error *error)
{
        struct role_table table = {};

        name_launcher(&table, instance);
        int r = launcher_cleanup(&table.launcher, error);
        if (r < 0)
                return r;
        r = instance_remove_run(instance);
        return r < 0 ? error_set(error, r, "cannot remove %s: %s", instance->run, strerror(-r)) : 0;
}

size_t roles_count_containers(const struct instance *instance)
{
        struct role_table table = {};

        name_launcher(&table, instance);
        return cgroup_count(table.launcher.cgroup);
}

int role_table_init(struct role_table *table, const struct instance *instance,
                    const struct role_settings *settings, struct error *error)
{
        *table = (struct role_table){};
        name_launcher(table, instance);
        bool wire;
        int r = control_parse_controllers(settings->controllers, &wire, error);
        if (r == 0)
                r = role_pod_network(settings->pod_cidr, &table->launcher.pod_network,
                                     &table->launcher.pod_prefix, error);
        if (r == 0)
                r = check_routes(settings->pod_cidr, table->launcher.pod_network,
                                 table->launcher.pod_prefix, table->launcher.interface, error);
        if (r < 0)
                return r;
        struct in_addr network = { .s_addr = htonl(table->launcher.pod_network) };
        const char *network_address = keep(table, "%s", inet_ntoa(network));
        struct in_addr host = { .s_addr = htonl(table->launcher.pod_network + 1) };
        const char *host_address = keep(table, "%s", inet_ntoa(host));

        bool files = settings->log_to_files;
        const char *const logs[] = {
                files ? keep(table, "%s/log/launcher.log", instance->data) : NULL,
                files ? keep(table, "%s/log/control.log", instance->data) : NULL,
                files ? keep(table, "%s/log/node.log", instance->data) : NULL,
                files ? keep(table, "%s/log/router.log", instance->data) : NULL,
        };
        const char *node_socket = keep(table, "%s/node/kubelet.sock", instance->run);

        const struct launcher_config *launcher = &table->launcher;
        add(table, "launcher", 0,
            (const char *const[]){ "cay",
                                   "launcher",
                                   "--run",
                                   launcher->run,
                                   "--init",
                                   launcher->init,
                                   "--skeleton",
                                   launcher->skeleton,
                                   "--cgroup",
                                   launcher->cgroup,
                                   "--interface",
                                   launcher->interface,
                                   "--pod-network",
                                   network_address,
                                   "--pod-prefix",
                                   keep(table, "%u", (unsigned)launcher->pod_prefix),
                                   "--host-address",
                                   host_address,
                                   "--node-user",
                                   keep(table, "%u", (unsigned)launcher->node_user),
                                   "--pool",
                                   keep(table, "%u", (unsigned)launcher->pool),
                                   NULL },
            settings->launcher_socket, -1, logs[0])
                ->program = keep(table, "%s/launcher", instance->libexec);
        struct role *control =
                add(table, "control", UID_CONTROL,
                    (const char *const[]){
                            "cay", "control", "--data", keep(table, "%s/control", instance->data),
                            "--socket", FIRST_DESCRIPTOR, "--ready", SECOND_DESCRIPTOR,
                            "--node-socket", node_socket, "--node-name", settings->node_name,
                            "--host-address", host_address, "--controllers", settings->controllers,
                            settings->pods_socket < 0 ? NULL : "--pods-socket", THIRD_DESCRIPTOR,
                            NULL },
                    settings->api_socket, settings->ready, logs[1]);
        if (settings->pods_socket >= 0)
                control->descriptors[control->descriptor_count++] = settings->pods_socket;
        add(table, "node", UID_NODE,
            (const char *const[]){ "cay",
                                   "node",
                                   "--name",
                                   settings->node_name,
                                   "--kubeconfig",
                                   keep(table, "%s/node/kubeconfig", instance->data),
                                   "--pod-cidr",
                                   settings->pod_cidr,
                                   "--host-address",
                                   host_address,
                                   "--api-host",
                                   host_address,
                                   "--api-port",
                                   settings->pods_port,
                                   "--data",
                                   keep(table, "%s/node", instance->data),
                                   "--libexec",
                                   instance->libexec,
                                   "--images",
                                   keep(table, "%s/images", instance->data),
                                   "--overcommit-cpu",
                                   keep(table, "%d", (int)settings->overcommit_cpu),
                                   "--overcommit-memory",
                                   keep(table, "%d", (int)settings->overcommit_memory),
                                   "--listen",
                                   node_socket,
                                   "--listen-user",
                                   keep(table, "%u", (unsigned)UID_CONTROL),
                                   "--launcher",
                                   FIRST_DESCRIPTOR,
                                   "--ready",
                                   SECOND_DESCRIPTOR,
                                   "--control-address",
                                   settings->api_address,
                                   "--router-address",
                                   settings->router_address,
                                   files ? "--role-logs" : NULL,
                                   keep(table, "%s/log", instance->data),
                                   NULL },
            settings->node_socket, settings->ready, logs[2]);
        add(table, "router", UID_ROUTER,
            (const char *const[]){ "cay", "router", "--kubeconfig",
                                   keep(table, "%s/router/kubeconfig", instance->data), "--socket",
                                   FIRST_DESCRIPTOR, "--ready", SECOND_DESCRIPTOR, NULL },
            settings->router_socket, settings->ready, logs[3]);
        if (table->is_too_long)
                return error_set(error, -ENAMETOOLONG, "the data folder's path is too long");
        return 0;
}
