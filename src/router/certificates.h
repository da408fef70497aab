// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "net/loop.h"
#include "net/tls.h"
#include "router/router_metrics.h"

/*
 * The certificate that the router shows, its key, and who may issue its clients' certificates: read
 * from files, and read again when these change. A Secret's volume changes by a symlink that turns
 * to a new folder, other tools write one file after the other: each time that one of the three is
 * another file or has another time they are all tried, and what does not fit together leaves the
 * old ones in use.
 */
struct certificates;

enum { CERTIFICATES_CHECK_MS = 2000 };

struct certificates_options {
        struct net_loop *loop;
        const char *certificate_file, *key_file;
        const char *client_ca_file; /* empty: none */
        enum tls_client_certificate client_certificate;
        struct router_metrics *metrics;
        uint32_t check_ms; /* 0: CERTIFICATES_CHECK_MS */
};

/* Strings are borrowed. Returns 0, or a negative errno with a sentence that names the file. */
int certificates_new(const struct certificates_options *options, struct error *error,
                     struct certificates **ret_certificates);
void certificates_free(struct certificates *certificates);

/* For http_server_listen(). */
struct stream_filter *certificates_filter(struct certificates *certificates);
