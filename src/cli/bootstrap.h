// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "cli/instance.h"

/*
 * Makes what the roles need before they start, or keeps what stands: the CA (pki/, root only), the
 * API server's certificate and its table of tokens (control/), and one kubeconfig for each role and
 * for the administrator, each readable by its user alone. `api` is the API's address as the roles
 * reach it ("127.0.0.1:6443"); `names` are further names and addresses for the certificate.
 */
int bootstrap(const struct instance *instance, struct str api, const struct str *names,
              size_t name_count, const char *node_name, struct error *error);
