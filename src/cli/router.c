// SPDX-License-Identifier: Apache-2.0
#include "router/router.h"
#include "cli/command.h"

int command_router(int argc, char **argv, struct error *error)
{
        return router_main(argc, argv, error);
}
