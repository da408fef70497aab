// SPDX-License-Identifier: Apache-2.0
/*
 * The launcher as a program of its own, started by the supervisor. What has root's rights maps no
 * TLS, HTTP or SQL; and every sandbox begins as a copy of this process, so what it maps costs time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/close_range.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "runtime/launcher.h"

enum { SOCKET_FD = 3 };

static int read_address(const char *option, const char *text, uint32_t *ret_address,
                        struct error *error)
{
        struct in_addr address;

        if (!text || inet_pton(AF_INET, text, &address) != 1)
                return error_set(error, -EINVAL, "--%s takes an IPv4 address", option);
        *ret_address = ntohl(address.s_addr);
        return 0;
}

static int read_options(int argc, char **argv, struct launcher_config *config, struct error *error)
{
        const char *network = NULL, *host = NULL;
        int64_t user = 0, prefix = 0, pool = 0;
        const struct option_spec specs[] = {
                OPTION_STRING("run", 0, &config->run, "FOLDER", "state and pins"),
                OPTION_STRING("init", 0, &config->init, "PROGRAM", "process 1 of containers"),
                OPTION_STRING("skeleton", 0, &config->skeleton, "FOLDER",
                              "the root of containers, where tmpfs maps no ids"),
                OPTION_STRING("cgroup", 0, &config->cgroup, "NAME", "below each hierarchy"),
                OPTION_STRING("interface", 0, &config->interface, "NAME", "towards the Pods"),
                OPTION_STRING("pod-network", 0, &network, "ADDRESS", "of the Pods"),
                OPTION_NUMBER("pod-prefix", 0, &prefix, "BITS", "its length"),
                OPTION_STRING("host-address", 0, &host, "ADDRESS", "of the interface"),
                OPTION_NUMBER("node-user", 0, &user, "UID", "of the node, and its group"),
                OPTION_NUMBER("pool", 0, &pool, "N", "sandboxes made ahead"),
                OPTION_END,
        };
        int operands;
        int r = options_parse(specs, argc, argv, false, error, &operands);

        if (r == 0)
                r = read_address("pod-network", network, &config->pod_network, error);
        if (r == 0)
                r = read_address("host-address", host, &config->host_address, error);
        if (r < 0)
                return r;
        if (operands > 0 || !config->run || !config->init || !config->cgroup ||
            !config->interface || user <= 0 || user > UINT16_MAX || prefix <= 0 || prefix > 32 ||
            pool < 0 || pool > UINT16_MAX)
                return error_set(error, -EINVAL, "the launcher is started by cay up");
        config->node_user = config->node_group = (uid_t)user;
        config->pod_prefix = (uint32_t)prefix;
        config->pool = (uint32_t)pool;
        return 0;
}

int main(int argc, char **argv)
{
        struct launcher_config config = {};
        struct error error = {};

        log_configure("launcher", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        /* The instance's lock among them, which is not for containers. */
        int r = close_range(SOCKET_FD, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
        if (r == 0)
                r = read_options(argc - 1, argv + 1, &config, &error);
        if (r == 0)
                r = launcher_run(SOCKET_FD, &config, &error);
        if (r < 0)
                log_error("%s", error.code ? error.message : strerror(-r));
        return r < 0;
}
