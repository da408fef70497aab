// SPDX-License-Identifier: Apache-2.0
/*
 * bench-execute: POST /execute of /bin/true through the router, on a kept connection, beside the
 * same program started by this one and waited for (posix_spawn, which is vfork and exec).
 *
 *     bench-execute --router ADDRESS:PORT --sandbox NAME [--count N]
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "common.h"
#include "net/http_client.h"

struct execute {
        uv_loop_t uv;
        struct http_client *http;
        struct net_address address;
        const char *router, *sandbox, *name_space;
        int64_t count, done;
        bool failed; /* the answer under way */
        uint64_t began;
        struct buffer body;
        struct samples through, direct;
};

static void spawn_directly(struct execute *execute)
{
        char *const argv[] = { "true", NULL }, *const environment[] = { NULL };
        uint64_t began = clock_monotonic_ns();
        pid_t child;
        int status, r = posix_spawn(&child, "/bin/true", NULL, NULL, argv, environment);

        if (r != 0 || waitpid(child, &status, 0) != child || status != 0)
                bench_fail("/bin/true: %s", strerror(r != 0 ? r : errno));
        samples_add(&execute->direct, clock_monotonic_ns() - began);
}

static void send_next(struct execute *execute);

static void on_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct execute *execute = user;

        (void)call;
        execute->failed = head->status != 200;
}

static void on_body(struct http_call *call, void *user, struct str data)
{
        struct execute *execute = user;

        (void)call;
        if (buffer_append(&execute->body, data.data, data.length) < 0)
                bench_fail("out of memory");
}

static void on_end(struct http_call *call, void *user)
{
        struct execute *execute = user;
        uint64_t took = clock_monotonic_ns() - execute->began;
        struct json_doc *doc;

        (void)call;
        if (execute->failed ||
            json_doc_parse(buffer_str(&execute->body), NULL, NULL, NULL, &doc) < 0)
                bench_fail("/execute: %.*s", STR_FORMAT(buffer_str(&execute->body)));
        if (json_int64_or(json_get(json_root(doc), "exit_code"), -1) != 0)
                bench_fail("/execute: %.*s", STR_FORMAT(buffer_str(&execute->body)));
        json_doc_unref(doc);
        /* The first one makes the connections. */
        if (execute->done > 0)
                samples_add(&execute->through, took);
        if (execute->done++ < execute->count)
                send_next(execute);
        else
                uv_stop(&execute->uv);
}

static void on_error(struct http_call *call, void *user, enum http_error error, int code)
{
        (void)call;
        (void)user;
        (void)error;
        bench_fail("/execute: %s", strerror(-code));
}

static void send_next(struct execute *execute)
{
        static const struct http_call_callbacks callbacks = {
                .on_head = on_head,
                .on_body = on_body,
                .on_end = on_end,
                .on_error = on_error,
        };
        const struct http_header headers[] = {
                { STR("Content-Type"), STR("application/json") },
                { STR("X-Sandbox-ID"), str_from(execute->sandbox) },
                { STR("X-Sandbox-Namespace"), str_from(execute->name_space) },
                { STR("X-Sandbox-Port"), STR("8888") },
        };
        const struct http_request request = {
                .origin.address = execute->address,
                .method = STR("POST"),
                .target = STR("/execute"),
                .headers = headers,
                .header_count = ARRAY_SIZE(headers),
                .body = STR("{\"command\":\"/bin/true\"}"),
        };
        struct http_call *call;

        spawn_directly(execute);
        buffer_clear(&execute->body);
        execute->began = clock_monotonic_ns();
        int r = http_call_start(execute->http, &request, &callbacks, execute, &call);
        if (r < 0)
                bench_fail("/execute: %s", strerror(-r));
}

int main(int argc, char **argv)
{
        struct execute execute = { .name_space = "default", .count = 500 };
        struct net_loop *loop;
        struct error error = {};
        int operands;
        const struct option_spec options[] = {
                OPTION_STRING("router", 0, &execute.router, "ADDRESS:PORT", "the router"),
                OPTION_STRING("sandbox", 0, &execute.sandbox, "NAME", "the sandbox"),
                OPTION_STRING("namespace", 'n', &execute.name_space, "NAME", "where it is"),
                OPTION_NUMBER("count", 0, &execute.count, "N", "how many rounds"),
                OPTION_END,
        };

        if (options_parse(options, argc, argv, false, &error, &operands) < 0)
                bench_fail("%s", error.message);
        if (!execute.router || !execute.sandbox || execute.count < 1 ||
            net_address_parse(str_from(execute.router), &execute.address) < 0)
                bench_fail("usage: bench-execute --router ADDRESS:PORT --sandbox NAME [--count N]");
        int r = uv_loop_init(&execute.uv);
        if (r == 0)
                r = net_loop_new(&execute.uv, &loop);
        if (r == 0)
                r = http_client_new(loop, NULL, &execute.http);
        if (r < 0)
                bench_fail("%s", strerror(-r));
        send_next(&execute);
        uv_run(&execute.uv, UV_RUN_DEFAULT);
        samples_print(&execute.through, "execute");
        samples_print(&execute.direct, "floor");
        samples_deinit(&execute.through);
        samples_deinit(&execute.direct);
        buffer_deinit(&execute.body);
        http_client_free(execute.http);
        return 0;
}
