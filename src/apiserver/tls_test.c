// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "apiserver/test_api.h"
#include "net/test_certificates.h"

/* Over TLS, users may come with certificates: the common name is the user, organisations groups. */

struct answer {
        unsigned code;
        struct buffer body;
        bool done;
};

static void on_head(struct http_call *call _unused_, void *user,
                    const struct http_response_head *head)
{
        ((struct answer *)user)->code = head->status;
}

static void on_body(struct http_call *call _unused_, void *user, struct str data)
{
        buffer_append_str(&((struct answer *)user)->body, data);
}

static void on_end(struct http_call *call _unused_, void *user)
{
        ((struct answer *)user)->done = true;
}

static void on_error(struct http_call *call _unused_, void *user, enum http_error error _unused_,
                     int code _unused_)
{
        ((struct answer *)user)->done = true;
}

static void ask_who(struct test_api *api, const struct net_address *address,
                    struct tls_context *tls, struct answer *answer)
{
        static const struct http_call_callbacks callbacks = {
                .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_error = on_error
        };
        struct http_header header = { STR("Content-Type"), STR("application/json") };
        struct http_request request = {
                .origin = { .address = *address,
                            .filter = tls_context_filter(tls),
                            .server_name = STR("localhost") },
                .method = STR("POST"),
                .target = STR("/apis/authentication.k8s.io/v1/selfsubjectreviews"),
                .headers = &header,
                .header_count = 1,
                .body = STR("{}"),
                .fresh = true,
        };
        struct http_call *call;

        *answer = (struct answer){};
        assert_int_equal(http_call_start(api->client, &request, &callbacks, answer, &call), 0);
        while (!answer->done)
                uv_run(&api->uv, UV_RUN_ONCE);
}

static void test_client_certificates(void **state)
{
        struct test_api *api = *state;
        struct test_certificates ours, others;
        struct tls_context *server, *known, *stranger, *nobody;
        struct net_address address;
        struct listener *listener;
        struct answer answer;
        struct error error = {};

        test_certificates_set_up(&ours);
        test_certificates_set_up(&others);
        const struct tls_server_options options = {
                .certificate = buffer_str(&ours.server.certificate),
                .key = buffer_str(&ours.server.key),
                .client_ca = ca_certificate(ours.ca),
                .client_certificate = TLS_CLIENT_OPTIONAL,
        };
        assert_int_equal(tls_server_new(&options, &error, &server), 0);
        struct tls_client_options client = { .ca = ca_certificate(ours.ca),
                                             .certificate = buffer_str(&ours.client.certificate),
                                             .key = buffer_str(&ours.client.key) };
        assert_int_equal(tls_client_new(&client, &error, &known), 0);
        client.certificate = buffer_str(&others.client.certificate);
        client.key = buffer_str(&others.client.key);
        assert_int_equal(tls_client_new(&client, &error, &stranger), 0);
        client.certificate = client.key = STR_EMPTY;
        assert_int_equal(tls_client_new(&client, &error, &nobody), 0);
        assert_int_equal(net_address_parse(STR("127.0.0.1:0"), &address), 0);
        assert_int_equal(apiserver_listen(api->server, &address, tls_context_filter(server), &error,
                                          &listener),
                         0);
        address = *listener_address(listener);

        ask_who(api, &address, known, &answer);
        assert_int_equal(answer.code, 201);
        buffer_append_char(&answer.body, '\0');
        assert_non_null(strstr(answer.body.data, "\"username\":\"jane\""));
        assert_non_null(strstr(answer.body.data, "\"one\",\"two\",\"system:authenticated\""));
        buffer_deinit(&answer.body);
        ask_who(api, &address, nobody, &answer);
        assert_int_equal(answer.code, 403);
        buffer_deinit(&answer.body);
        /* Another authority's is refused in the handshake. */
        ask_who(api, &address, stranger, &answer);
        assert_int_equal(answer.code, 0);
        buffer_deinit(&answer.body);

        tls_context_free(known);
        tls_context_free(stranger);
        tls_context_free(nobody);
        tls_context_free(server);
        test_certificates_tear_down(&ours);
        test_certificates_tear_down(&others);
}

/* Without TLS nobody from outside is served. */
static void test_plain_only_here(void **state)
{
        struct test_api *api = *state;
        struct net_address address;
        struct error error = {};

        assert_int_equal(net_address_parse(STR("0.0.0.0:0"), &address), 0);
        assert_int_equal(apiserver_listen(api->server, &address, NULL, &error, NULL), -EPERM);
        assert_non_null(strstr(error.message, "TLS"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_client_certificates),
                TEST(test_plain_only_here),
        };

        return run_unit_tests("apiserver_tls", tests);
}
