// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/test_folder.h"
#include "net/test_certificates.h"
#include "net/test_end.h"
#include "net/tls.h"

struct fixture {
        struct test_loop t;
        struct test_certificates certificates;
        struct tls_context *server_context, *client_context;
        struct test_peers peers;
        struct test_end client, *server; /* of the first connection */
};

static void set_up(struct fixture *f, enum tls_client_certificate mode, bool with_certificate,
                   bool http2)
{
        *f = (struct fixture){ .server = &f->peers.ends[0] };
        test_loop_set_up(&f->t);
        test_certificates_set_up(&f->certificates);
        f->server_context = test_server_context(&f->certificates, mode, http2);
        f->client_context = test_client_context(&f->certificates, with_certificate, http2);
        test_peers_listen(&f->peers, &f->t, NULL, NULL);
        f->peers.filter = tls_context_filter(f->server_context);
}

static void tear_down(struct fixture *f)
{
        test_peers_close(&f->peers);
        test_end_deinit(&f->client);
        tls_context_free(f->server_context);
        tls_context_free(f->client_context);
        test_certificates_tear_down(&f->certificates);
        test_loop_tear_down(&f->t);
}

static void connect_to(struct fixture *f, struct str name)
{
        struct stream_filter *filter = tls_context_filter(f->client_context);
        struct stream *stream;

        assert_int_equal(stream_connect(f->t.net, listener_address(f->peers.listener), &stream), 0);
        assert_int_equal(filter->wrap(filter, stream, name, &stream), 0);
        test_end_start(&f->client, stream);
}

static void bytes_travel_encrypted(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS_CLIENT_OFF, false, false);
        connect_to(&f, STR("localhost"));
        stream_write_str(f.client.stream, STR("before the handshake;"));
        test_run_until(&f.t, f.client.opened && f.server->opened);
        stream_write(f.client.stream, (struct stream_piece[]){ { STR("a") }, { STR("b") } }, 2);
        stream_write_str(f.server->stream, STR("down"));
        test_run_until(&f.t, f.client.got.length == 4 && f.server->got.length == 23);
        assert_true(str_equal(buffer_str(&f.server->got), STR("before the handshake;ab")));
        assert_true(stream_is_secure(f.client.stream));
        assert_true(str_equal(stream_protocol(f.client.stream), STR("http/1.1")));
        assert_false(stream_peer(f.server->stream)->has_certificate);
        assert_true(net_address_is_loopback(&stream_peer(f.server->stream)->address));
        assert_true(stream_is_fresh(f.client.stream));

        stream_shutdown(f.client.stream);
        test_run_until(&f.t, f.server->ended);
        stream_write_str(f.server->stream, STR("last"));
        stream_shutdown(f.server->stream);
        test_run_until(&f.t, f.client.closed && f.server->closed);
        assert_true(str_equal(buffer_str(&f.client.got), STR("downlast")));
        assert_int_equal(f.client.error, 0);
        assert_int_equal(f.server->error, 0);
        tear_down(&f);
}

static void large_transfers_obey_the_reader(void **state)
{
        enum { SIZE = 32 * 1024 * 1024 };
        struct fixture f;
        char *data = malloc(SIZE);

        (void)state;
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (char)(i * 13 + i / 977);
        set_up(&f, TLS_CLIENT_OFF, false, false);
        connect_to(&f, STR("127.0.0.1"));
        test_run_until(&f.t, f.client.opened && f.server->opened);
        stream_pause(f.server->stream);
        stream_write_str(f.client.stream, (struct str){ data, SIZE });
        assert_true(stream_is_congested(f.client.stream));
        test_run_turns(&f.t, 500);
        assert_int_equal(f.server->got.length, 0);
        assert_true(stream_pending(f.client.stream) > 0);
        /* Letting it in by turns keeps every byte. */
        while (f.server->got.length < SIZE) {
                size_t before = f.server->got.length;
                stream_resume(f.server->stream);
                test_run_until(&f.t, f.server->got.length > before);
                stream_pause(f.server->stream);
        }
        assert_memory_equal(f.server->got.data, data, SIZE);
        assert_int_equal(f.client.drained, 1);
        tear_down(&f);
        free(data);
}

static void names_and_authorities_are_verified(void **state)
{
        struct fixture f;
        struct test_certificates others;

        (void)state;
        set_up(&f, TLS_CLIENT_OFF, false, false);
        connect_to(&f, STR("other.example"));
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -EKEYREJECTED);
        assert_int_equal(f.client.opened, 0);
        assert_true(tls_context_last_error(f.client_context).length > 0);
        tear_down(&f);

        set_up(&f, TLS_CLIENT_OFF, false, false);
        test_certificates_set_up(&others);
        tls_context_free(f.client_context);
        f.client_context = test_client_context(&others, false, false);
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.client.closed && f.server->closed);
        assert_int_equal(f.client.error, -EKEYREJECTED);
        assert_int_equal(f.server->error, -EKEYREJECTED);
        test_certificates_tear_down(&others);
        tear_down(&f);

        /* Unless the client does not want to. */
        set_up(&f, TLS_CLIENT_OFF, false, false);
        tls_context_free(f.client_context);
        assert_int_equal(tls_client_new(&(struct tls_client_options){ .insecure = true }, NULL,
                                        &f.client_context),
                         0);
        connect_to(&f, STR_EMPTY);
        test_run_until(&f.t, f.client.opened);
        tear_down(&f);
}

static void the_systems_authorities_are_asked_for_or_missed(void **state)
{
        struct test_folder folder;
        char path[64], nothing[64];
        struct fixture f;

        (void)state;
        test_folder_make(&folder);
        snprintf(path, sizeof(path), "%s/bundle", folder.path);
        snprintf(nothing, sizeof(nothing), "%s/nothing", folder.path);
        set_up(&f, TLS_CLIENT_OFF, false, false);
        setenv("SSL_CERT_DIR", nothing, 1);
        for (int known = 0; known < 3; known++) {
                struct test_certificates other;

                test_certificates_set_up(&other);
                /* None, those of others, the right one. */
                struct str pem = ca_certificate(known == 2 ? f.certificates.ca : other.ca);
                setenv("SSL_CERT_FILE", known ? path : nothing, 1);
                assert_int_equal(file_write_atomic(AT_FDCWD, path, pem, 0600), 0);
                test_certificates_tear_down(&other);
                tls_context_free(f.client_context);
                assert_int_equal(
                        tls_client_new(&(struct tls_client_options){}, NULL, &f.client_context), 0);
                connect_to(&f, STR("localhost"));
                test_run_until(&f.t, f.client.opened || f.client.closed);
                assert_int_equal(f.client.opened, known == 2);
                struct str said = tls_context_last_error(f.client_context);
                const char *way_out = strstr(said.data, "SSL_CERT_FILE");
                assert_int_equal(way_out != NULL, known == 0);
                if (known < 2)
                        f.client = (struct test_end){};
        }
        unsetenv("SSL_CERT_FILE");
        unsetenv("SSL_CERT_DIR");
        tear_down(&f);
        test_folder_remove(&folder);
}

static void client_certificates_name_the_client(void **state)
{
        static const struct {
                enum tls_client_certificate mode;
                bool with, good, named;
        } cases[] = {
                { TLS_CLIENT_OPTIONAL, true, true, true },
                { TLS_CLIENT_OPTIONAL, false, true, false },
                { TLS_CLIENT_REQUIRED, true, true, true },
                { TLS_CLIENT_REQUIRED, false, false, false },
                { TLS_CLIENT_OFF, true, true, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;
                set_up(&f, cases[i].mode, cases[i].with, false);
                connect_to(&f, STR("localhost"));
                test_run_until(&f.t, f.server->opened || f.server->closed);
                assert_int_equal(f.server->opened, cases[i].good);
                if (!cases[i].good) {
                        assert_int_equal(f.server->error, -EKEYREJECTED);
                        test_run_until(&f.t, f.client.closed);
                        assert_int_equal(f.client.error, -EKEYREJECTED);
                } else {
                        const struct stream_peer *peer = stream_peer(f.server->stream);
                        assert_int_equal(peer->has_certificate, cases[i].named);
                        if (cases[i].named) {
                                assert_true(str_equal(peer->common_name, STR("jane")));
                                assert_int_equal(peer->organization_count, 2);
                                assert_true(str_equal(peer->organizations[1], STR("two")));
                        }
                }
                tear_down(&f);
        }
}

static void another_authoritys_client_is_refused(void **state)
{
        struct fixture f;
        struct test_certificates others;

        (void)state;
        set_up(&f, TLS_CLIENT_OPTIONAL, false, false);
        test_certificates_set_up(&others);
        struct tls_client_options options = { .ca = ca_certificate(f.certificates.ca),
                                              .certificate = buffer_str(&others.client.certificate),
                                              .key = buffer_str(&others.client.key) };
        tls_context_free(f.client_context);
        assert_int_equal(tls_client_new(&options, NULL, &f.client_context), 0);
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.server->closed);
        assert_int_equal(f.server->opened, 0);
        assert_int_equal(f.server->error, -EKEYREJECTED);
        test_certificates_tear_down(&others);
        tear_down(&f);
}

static void protocols_are_agreed_on(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS_CLIENT_OFF, false, true);
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.client.opened && f.server->opened);
        assert_true(str_equal(stream_protocol(f.client.stream), STR("h2")));
        assert_true(str_equal(stream_protocol(f.server->stream), STR("h2")));
        tear_down(&f);
}

static void cut_connections_are_errors(void **state)
{
        struct fixture f;

        (void)state;
        /* A peer that speaks no TLS. */
        set_up(&f, TLS_CLIENT_OFF, false, false);
        f.peers.filter = NULL;
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.server->got.length > 0);
        stream_write_str(f.server->stream, STR("HTTP/1.1 400 Bad Request\r\n\r\n"));
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -EPROTO);
        tear_down(&f);

        /* One that goes in the middle of the handshake. */
        set_up(&f, TLS_CLIENT_OFF, false, false);
        f.peers.filter = NULL;
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.server->got.length > 0);
        test_end_close(f.server);
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -EPROTO);
        tear_down(&f);

        /* Nobody there: not TLS's fault. */
        set_up(&f, TLS_CLIENT_OFF, false, false);
        struct net_address address = *listener_address(f.peers.listener);
        listener_close(f.peers.listener);
        f.peers.listener = NULL;
        struct stream_filter *filter = tls_context_filter(f.client_context);
        struct stream *stream;
        assert_int_equal(stream_connect(f.t.net, &address, &stream), 0);
        assert_int_equal(filter->wrap(filter, stream, STR("localhost"), &stream), 0);
        test_end_start(&f.client, stream);
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -ECONNREFUSED);
        tear_down(&f);
}

static void certificates_are_reloaded(void **state)
{
        struct fixture f;
        struct test_certificates others;
        struct error error = {};

        (void)state;
        set_up(&f, TLS_CLIENT_OFF, false, false);
        test_certificates_set_up(&others);
        assert_int_equal(tls_server_reload(f.server_context, buffer_str(&others.server.certificate),
                                           buffer_str(&f.certificates.server.key), STR_EMPTY,
                                           &error),
                         -EBADMSG);
        assert_non_null(strstr(error.message, "does not belong"));
        assert_int_equal(
                tls_server_reload(f.server_context, STR("nonsense"), STR(""), STR_EMPTY, &error),
                -EBADMSG);
        /* The old one stands until a good one comes. */
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.client.opened);
        test_end_close(&f.client);
        test_run_until(&f.t, f.server->ended || f.server->closed);
        test_end_close(f.server);

        assert_int_equal(tls_server_reload(f.server_context, buffer_str(&others.server.certificate),
                                           buffer_str(&others.server.key), STR_EMPTY, &error),
                         0);
        connect_to(&f, STR("localhost"));
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -EKEYREJECTED);
        test_certificates_tear_down(&others);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_travel_encrypted),
                cmocka_unit_test(large_transfers_obey_the_reader),
                cmocka_unit_test(names_and_authorities_are_verified),
                cmocka_unit_test(the_systems_authorities_are_asked_for_or_missed),
                cmocka_unit_test(client_certificates_name_the_client),
                cmocka_unit_test(another_authoritys_client_is_refused),
                cmocka_unit_test(protocols_are_agreed_on),
                cmocka_unit_test(cut_connections_are_errors),
                cmocka_unit_test(certificates_are_reloaded),
        };

        return run_unit_tests("tls", tests);
}
