// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"
#include "base/test.h"
#include "crypto/certificate.h"
#include "net/tls.h"

/* An authority and what it issued, for tests of TLS. */
struct test_certificates {
        struct ca *ca;
        struct certificate_pair server, client;
};

static inline void test_certificates_set_up(struct test_certificates *c)
{
        const struct str names[] = { STR("localhost"), STR("127.0.0.1") };
        const struct str groups[] = { STR("one"), STR("two") };
        struct certificate_request server = { .purpose = CERTIFICATE_SERVER,
                                              .common_name = STR("server"),
                                              .names = names,
                                              .name_count = 2,
                                              .now = clock_realtime_ns() };
        struct certificate_request client = { .purpose = CERTIFICATE_CLIENT,
                                              .common_name = STR("jane"),
                                              .organizations = groups,
                                              .organization_count = 2,
                                              .now = clock_realtime_ns() };

        *c = (struct test_certificates){};
        assert_int_equal(ca_make(STR("test"), clock_realtime_ns(), 0, NULL, &c->ca), 0);
        assert_int_equal(ca_issue(c->ca, &server, NULL, &c->server), 0);
        assert_int_equal(ca_issue(c->ca, &client, NULL, &c->client), 0);
}

static inline void test_certificates_tear_down(struct test_certificates *c)
{
        ca_free(c->ca);
        certificate_pair_deinit(&c->server);
        certificate_pair_deinit(&c->client);
}

static inline struct tls_context *test_server_context(const struct test_certificates *c,
                                                      enum tls_client_certificate mode, bool http2)
{
        struct tls_server_options options = { .certificate = buffer_str(&c->server.certificate),
                                              .key = buffer_str(&c->server.key),
                                              .client_ca = ca_certificate(c->ca),
                                              .client_certificate = mode,
                                              .http2 = http2 };
        struct tls_context *context;
        struct error error = {};

        if (tls_server_new(&options, &error, &context) < 0)
                fail_msg("%s", error.message);
        return context;
}

static inline struct tls_context *test_client_context(const struct test_certificates *c,
                                                      bool with_certificate, bool http2)
{
        struct tls_client_options options = { .ca = ca_certificate(c->ca), .http2 = http2 };
        struct tls_context *context;
        struct error error = {};

        if (with_certificate) {
                options.certificate = buffer_str(&c->client.certificate);
                options.key = buffer_str(&c->client.key);
        }
        if (tls_client_new(&options, &error, &context) < 0)
                fail_msg("%s", error.message);
        return context;
}
