// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"

/*
 * `cay router`: the HTTP proxy to sandboxes, a drop-in for upstream's sandbox-router. Reads its
 * options (router/options.h lists them; --help prints them) and the environment, serves until
 * SIGTERM or SIGINT, drains, and returns 0; or a negative errno with a sentence.
 */
int router_main(int argc, char **argv, struct error *error);
