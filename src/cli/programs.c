// SPDX-License-Identifier: Apache-2.0
/* The subcommands that are processes of one machine, started by the supervisor. */
#include <errno.h>

#include "base/log.h"
#include "base/options.h"
#include "cli/command.h"
#include "control/control.h"
#include "node/node.h"

/* Options alone, and help; sets *ret_done when there is nothing more to do. */
static int parse(const char *name, const struct option_spec *specs, int argc, char **argv,
                 struct error *error, bool *ret_done)
{
        int operands = 0;

        *ret_done = command_help(command_find(name), specs, argc, argv);
        if (*ret_done)
                return 0;
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "no operand is taken: '%s'", argv[1]);
        return r;
}

int command_control(int argc, char **argv, struct error *error)
{
        struct control_config config = {};
        const char *controllers = "in-process";
        int64_t socket = -1, pods_socket = -1, ready = -1;
        const struct option_spec specs[] = {
                OPTION_STRING("data", 0, &config.data, "FOLDER", "state, certificates and tokens"),
                OPTION_NUMBER("socket", 0, &socket, "FD", "listening descriptor"),
                OPTION_NUMBER("pods-socket", 0, &pods_socket, "FD",
                              "another one, where Pods reach it"),
                OPTION_NUMBER("ready", 0, &ready, "FD",
                              "descriptor that gets a byte when it serves"),
                OPTION_STRING("node-socket", 0, &config.node_socket, "PATH",
                              "the node's kubelet API"),
                OPTION_STRING("node-name", 0, &config.node_name, "NAME", "this machine's Node"),
                OPTION_STRING("host-address", 0, &config.host_address, "ADDRESS",
                              "and its address"),
                OPTION_STRING("controllers", 0, &controllers, "HOW",
                              "they reach the API: in-process or wire"),
                OPTION_END,
        };
        bool done;

        int r = parse("control", specs, argc, argv, error, &done);
        if (r < 0 || done)
                return r;
        r = control_parse_controllers(controllers, &config.wire, error);
        if (r < 0)
                return r;
        if (!config.data || !config.node_name || socket < 0)
                return error_set(error, -EINVAL,
                                 "--data, --node-name and --socket are needed; use cay up");
        config.socket = (int)socket;
        config.pods_socket = (int)pods_socket;
        config.ready = (int)ready;
        log_configure("control", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        return control_run(&config, error);
}

int command_node(int argc, char **argv, struct error *error)
{
        struct node_config config = { .launcher_fd = -1, .ready_fd = -1 };
        int64_t launcher = -1, ready = -1, listen_user = 0;
        int64_t cpu = NODE_OVERCOMMIT_CPU, memory = NODE_OVERCOMMIT_MEMORY;
        const struct option_spec specs[] = {
                OPTION_STRING("name", 0, &config.name, "NAME", "name of the Node"),
                OPTION_STRING("kubeconfig", 0, &config.kubeconfig, "FILE", "how to reach the API"),
                OPTION_STRING("host-address", 0, &config.host_address, "ADDRESS",
                              "the Node's address"),
                OPTION_STRING("pod-cidr", 0, &config.pod_cidr, "CIDR", "addresses of Pods"),
                OPTION_STRING("api-host", 0, &config.api_host, "ADDRESS", "the API as Pods see it"),
                OPTION_STRING("api-port", 0, &config.api_port, "PORT", "and its port"),
                OPTION_STRING("dns", 0, &config.dns_address, "ADDRESS",
                              "resolver of the Pods (one of the node's own)"),
                OPTION_STRING("data", 0, &config.data_folder, "FOLDER", "volumes, logs and state"),
                OPTION_STRING("libexec", 0, &config.libexec_folder, "FOLDER",
                              "static init and sandboxd"),
                OPTION_STRING("images", 0, &config.image_map, "FILE",
                              "other names of built-in images"),
                OPTION_STRING("listen", 0, &config.socket_path, "PATH",
                              "socket of the kubelet API"),
                OPTION_STRING("control-address", 0, &config.mirror_addresses[MIRRORED_CONTROL],
                              "ADDRESS:PORT", "where cay control listens, for port-forward"),
                OPTION_STRING("router-address", 0, &config.mirror_addresses[MIRRORED_ROUTER],
                              "ADDRESS:PORT", "where cay router listens"),
                OPTION_STRING("role-logs", 0, &config.mirror_logs, "FOLDER",
                              "their logs, for kubectl logs"),
                OPTION_NUMBER("listen-user", 0, &listen_user, "UID",
                              "who may connect there, besides root"),
                OPTION_NUMBER("overcommit-cpu", 0, &cpu, "N", "allocatable CPU, times real (500)"),
                OPTION_NUMBER("overcommit-memory", 0, &memory, "N",
                              "allocatable memory, times real (16)"),
                OPTION_NUMBER("launcher", 0, &launcher, "FD", "connected to the launcher"),
                OPTION_NUMBER("ready", 0, &ready, "FD",
                              "descriptor that gets a byte when it serves"),
                OPTION_END,
        };
        bool done;

        int r = parse("node", specs, argc, argv, error, &done);
        if (r < 0 || done)
                return r;
        if (!config.name || !config.kubeconfig || !config.data_folder || launcher < 0)
                return error_set(error, -EINVAL,
                                 "--name, --kubeconfig, --data and --launcher are needed; use cay "
                                 "up");
        if (cpu < 1 || cpu > NODE_OVERCOMMIT_MOST || memory < 1 || memory > NODE_OVERCOMMIT_MOST)
                return error_set(error, -EINVAL, "an overcommit is from 1 to %d",
                                 NODE_OVERCOMMIT_MOST);
        config.launcher_fd = (int)launcher;
        config.socket_user = listen_user > 0 ? (unsigned)listen_user : 0;
        config.ready_fd = (int)ready;
        config.overcommit_cpu = (unsigned)cpu;
        config.overcommit_memory = (unsigned)memory;
        log_configure("node", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        return node_run(&config, error);
}
