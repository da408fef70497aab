// SPDX-License-Identifier: Apache-2.0
/*
 * bench-backend: what stands behind the router in bench/router. Answers every request with a few
 * bytes, HTTP/1.1 and HTTP/2, until SIGTERM; prints the port that it has.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common.h"
#include "net/http2.h"
#include "net/http_server.h"

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        (void)user;
        (void)body;
        http_exchange_respond_text(exchange, 200, "text/plain", STR("ok\n"));
}

static void on_request(void *user, struct http_exchange *exchange)
{
        static const struct http_exchange_callbacks callbacks = { .on_whole = on_whole };

        (void)user;
        http_exchange_collect(exchange, 1024 * 1024, &callbacks, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
        (void)number;
        uv_stop(handle->loop);
}

int main(void)
{
        const struct http_server_options options = { .on_request = on_request,
                                                     .http2 = &http2_protocol };
        struct http_server *server;
        struct listener *listener;
        struct net_address address;
        struct net_loop *loop;
        struct error error = {};
        uv_signal_t term;
        uv_loop_t uv;

        signal(SIGPIPE, SIG_IGN);
        int r = uv_loop_init(&uv);
        if (r == 0)
                r = net_loop_new(&uv, &loop);
        if (r == 0)
                r = uv_signal_init(&uv, &term);
        if (r == 0)
                r = uv_signal_start(&term, on_signal, SIGTERM);
        if (r == 0)
                r = http_server_new(loop, &options, &server);
        if (r == 0)
                r = net_address_parse(STR("127.0.0.1:0"), &address);
        if (r < 0)
                bench_fail("%s", strerror(-r));
        if (http_server_listen(server, &address, NULL, 0, &error, &listener) < 0)
                bench_fail("%s", error.message);
        printf("%u\n", net_address_port(listener_address(listener)));
        fflush(stdout);
        (void)uv_run(&uv, UV_RUN_DEFAULT);
        http_server_free(server);
        net_loop_free(loop);
        uv_close((uv_handle_t *)&term, NULL);
        (void)uv_run(&uv, UV_RUN_DEFAULT);
        return uv_loop_close(&uv) == 0 ? 0 : 1;
}
