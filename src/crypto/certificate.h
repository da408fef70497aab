// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/*
 * A certificate authority of our own and what it issues: X.509 v3, ECDSA P-256 with SHA-256,
 * extensions as strict verifiers want them (RFC 5280; Python ≥ 3.13 sets X509_STRICT): critical
 * basicConstraints and keyUsage, key identifiers, random serial numbers. Certificates begin
 * CERTIFICATE_CLOCK_SKEW seconds before `now`.
 *
 * Times are nanoseconds of clock_realtime_ns(); durations are seconds.
 */
enum {
        CERTIFICATE_CLOCK_SKEW = 5 * 60,
        CERTIFICATE_DEFAULT_SECONDS = 365 * 24 * 3600,
        CERTIFICATE_CA_SECONDS = 10 * 365 * 24 * 3600,
};

/* A certificate and its private key, both PEM. */
struct certificate_pair {
        struct buffer certificate;
        struct buffer key;
};
void certificate_pair_deinit(struct certificate_pair *pair);
#define _cleanup_certificate_pair_ _cleanup_(certificate_pair_deinit)

enum certificate_purpose { CERTIFICATE_SERVER, CERTIFICATE_CLIENT, CERTIFICATE_SERVER_AND_CLIENT };

struct certificate_request {
        enum certificate_purpose purpose;
        struct str common_name;          /* a client's user name in Kubernetes */
        const struct str *organizations; /* a client's groups in Kubernetes */
        size_t organization_count;
        const struct str *names; /* a server's DNS names and IP addresses, told apart by form */
        size_t name_count;
        uint64_t now;
        uint64_t valid_seconds; /* 0 is CERTIFICATE_DEFAULT_SECONDS; ends with the CA at the latest
                                 */
};

struct ca;

void ca_free(struct ca *ca);
DEFINE_POINTER_CLEANUP(ca_freep, struct ca, ca_free)
#define _cleanup_ca_ _cleanup_(ca_freep)

/* Makes a CA in memory. `valid_seconds` 0 is CERTIFICATE_CA_SECONDS. */
int ca_make(struct str common_name, uint64_t now, uint64_t valid_seconds, struct error *error,
            struct ca **ret_ca);

/* Takes up a CA from its PEM texts. -EBADMSG if they are none or do not belong together. */
int ca_from_pem(struct str certificate, struct str key, struct error *error, struct ca **ret_ca);

/*
 * The CA in `ca.crt` and `ca.key` (mode 0600) under `directory`, made when absent. The
 * certificate is renewed with the same key when less than a tenth of its time is left. A damaged
 * or foreign file is an error, for others trust it: it is never replaced.
 */
int ca_load_or_create(int directory, struct str common_name, uint64_t now, struct error *error,
                      struct ca **ret_ca);

/* The CA's certificate as PEM, living as long as the CA. */
struct str ca_certificate(const struct ca *ca);

/* Appends the CA's private key as PEM, for keeping it in a Secret. */
int ca_append_key(const struct ca *ca, struct buffer *out);

/* Whether it is what can stand among `names` of a request: a DNS name, a wildcard, an IP address.
 */
bool certificate_takes_name(struct str name);

/* Issues a certificate with a new key. -EINVAL if a name is not one. */
int ca_issue(const struct ca *ca, const struct certificate_request *request, struct error *error,
             struct certificate_pair *ret_pair);

/*
 * The certificate in `<name>.crt` and `<name>.key` (mode 0600) under `directory`. If it is absent,
 * damaged, from another CA, for another request, or has less than a third of its time left, a new
 * one is issued and written. Returns 1 if it was issued, 0 if it stood.
 */
int ca_ensure(const struct ca *ca, int directory, const char *name,
              const struct certificate_request *request, struct error *error,
              struct certificate_pair *ret_pair);

/* ---- reading certificates ---- */

struct certificate_subject {
        struct str common_name;
        struct str *organizations;
        size_t organization_count;
};

struct x509_st;

/* Whom a verified peer certificate names. Strings live in the arena. -EBADMSG without a CN. */
int certificate_subject_read(const struct x509_st *certificate, struct arena *arena,
                             struct certificate_subject *ret_subject);

/* When the first certificate in `pem` ends. Returns 0, -EBADMSG or -ENOMEM. */
int certificate_not_after(struct str pem, uint64_t *ret_realtime_ns);
