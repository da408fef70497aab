// SPDX-License-Identifier: Apache-2.0
/* `cay controller drain`: prepares the way back to upstream's controller (docs/cluster.md). */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "control/cluster.h"
#include "control/drain.h"

int command_controller_drain(int argc, char **argv, struct error *error)
{
        static const struct command command = {
                "controller drain", "[OPTION…]",
                "hand the Pods of warm pools over, before upstream's controller comes back",
                command_controller_drain, false
        };
        struct cluster_drain_config config = { .timeout_ns = 60 * NS_PER_SECOND };
        const struct option_spec specs[] = {
                OPTION_STRING("kubeconfig", 0, &config.kubeconfig, "FILE",
                              "the cluster ($KUBECONFIG, or the Pod's ServiceAccount)"),
                OPTION_STRING("namespace", 'n', &config.name_space, "NAME",
                              "only this namespace (all)"),
                OPTION_FLAG("dry-run", 0, &config.dry_run,
                            "say what would be done, and do nothing (false)"),
                OPTION_FLAG("delete", 0, &config.deletes,
                            "delete the Pods instead; upstream's controller makes others (false)"),
                OPTION_STRING("leader-election-namespace", 0, &config.lease_space, "NAME",
                              "where the Lease stands (" CLUSTER_LEASE_NAMESPACE ")"),
                OPTION_DURATION("timeout", 0, &config.timeout_ns, "how long to try (60s)"),
                OPTION_END,
        };
        int operands = 0;

        if (command_help(&command, specs, argc, argv))
                return 0;
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "no operand is taken: '%s'", argv[1]);
        if (r < 0)
                return r;
        log_configure("drain", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
        return cluster_drain_run(&config, error);
}
