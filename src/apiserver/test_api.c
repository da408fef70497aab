// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/fault_vfs.h"

static void on_failed(void *user, int reason)
{
        ((struct test_api *)user)->failed = reason;
}

static void start(struct test_api *api)
{
        static const struct str masters[] = { STR("system:masters") }, devs[] = { STR("devs") },
                                nodes[] = { STR("system:nodes") };
        const struct apiserver_token tokens[] = {
                { STR("admin"), STR("admin"), masters, 1 },
                { STR("dev"), STR("dev"), devs, 1 },
                { STR("node"), STR("system:node:one"), nodes, 1 },
        };
        const struct jwt_key *keys[] = { api->key };
        const struct apiserver_config config = {
                .loop = api->loop,
                .data_directory = api->folder.path[0] ? api->folder.path : NULL,
                .data_vfs = api->vfs,
                .tokens = tokens,
                .token_count = ARRAY_SIZE(tokens),
                .jwt_keys = keys,
                .jwt_key_count = 1,
                .failed = on_failed,
                .user = api,
        };
        struct listener *listener;
        struct error error = {};

        if (apiserver_new(&config, &error, &api->server) < 0)
                fail_msg("%s", error.message);
        assert_int_equal(net_address_parse(STR("127.0.0.1:0"), &api->address), 0);
        assert_int_equal(apiserver_listen(api->server, &api->address, NULL, &error, &listener), 0);
        api->address = *listener_address(listener);
        assert_int_equal(http_client_new(api->loop, NULL, &api->client), 0);
        do
                get(api, "/readyz");
        while (api->code != 200);
}

static void stop(struct test_api *api)
{
        http_client_free(api->client);
        apiserver_free(api->server);
        uv_run(&api->uv, UV_RUN_DEFAULT);
}

static int setup(void **state, bool on_disk, const char *vfs)
{
        struct test_api *api = calloc(1, sizeof(*api));

        api->vfs = vfs;
        uv_loop_init(&api->uv);
        assert_int_equal(net_loop_new(&api->uv, &api->loop), 0);
        assert_int_equal(jwt_key_make(&api->key), 0);
        if (on_disk)
                test_folder_make(&api->folder);
        start(api);
        *state = api;
        return 0;
}

int test_api_setup(void **state)
{
        return setup(state, false, NULL);
}

int test_api_setup_on_disk(void **state)
{
        return setup(state, true, NULL);
}

int test_api_setup_faulty(void **state)
{
        fault_vfs_reset();
        return setup(state, true, FAULT_VFS);
}

void test_api_restart(struct test_api *api)
{
        stop(api);
        start(api);
}

int test_api_teardown(void **state)
{
        struct test_api *api = *state;

        stop(api);
        net_loop_free(api->loop);
        uv_run(&api->uv, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&api->uv), 0);
        jwt_key_free(api->key);
        if (api->doc)
                json_doc_unref(api->doc);
        buffer_deinit(&api->body);
        if (api->folder.path[0])
                test_folder_remove(&api->folder);
        free(api);
        return 0;
}

/* ---- requests ---- */

static void on_head(struct http_call *call _unused_, void *user,
                    const struct http_response_head *head)
{
        struct test_api *api = user;
        struct str warning = http_headers_get(&head->headers, STR("Warning"));

        api->code = head->status;
        snprintf(api->warning, sizeof(api->warning), "%.*s", STR_FORMAT(warning));
}

static void on_body(struct http_call *call _unused_, void *user, struct str data)
{
        buffer_append_str(&((struct test_api *)user)->body, data);
}

static void on_end(struct http_call *call _unused_, void *user)
{
        ((struct test_api *)user)->done = true;
}

static void on_error(struct http_call *call _unused_, void *user, enum http_error error _unused_,
                     int code)
{
        ((struct test_api *)user)->done = true;
        ((struct test_api *)user)->error = code;
}

static const struct http_call_callbacks callbacks = {
        .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_error = on_error
};

unsigned ask(struct test_api *api, const char *token, const char *method, const char *path,
             const char *type, const char *body)
{
        char authorization[4096];
        struct http_header headers[] = {
                { STR("Content-Type"), str_from(type ? type : "application/json") },
                { STR("Authorization") },
        };
        struct http_request request = {
                .origin = { .address = api->address },
                .method = str_from(method),
                .target = str_from(path),
                .headers = headers,
                .header_count = token ? 2 : 1,
        };
        _cleanup_free_ char *text = body ? str_dup(str_from(body)) : NULL;
        struct http_call *call;

        for (char *c = text; c && *c; c++) {
                if (*c == '\'')
                        *c = '"';
        }
        request.body = str_from(text);
        snprintf(authorization, sizeof(authorization), "Bearer %s", token ? token : "");
        headers[1].value = str_from(authorization);
        if (api->doc)
                json_doc_unref(api->doc);
        api->doc = NULL;
        api->code = 0;
        api->error = 0;
        api->done = false;
        buffer_clear(&api->body);
        assert_int_equal(http_call_start(api->client, &request, &callbacks, api, &call), 0);
        while (!api->done)
                uv_run(&api->uv, UV_RUN_ONCE);
        if (json_doc_parse(buffer_str(&api->body), NULL, NULL, NULL, &api->doc) < 0)
                api->doc = NULL;
        return api->code;
}

unsigned get(struct test_api *api, const char *path)
{
        return ask(api, "admin", "GET", path, NULL, NULL);
}

unsigned post(struct test_api *api, const char *path, const char *body)
{
        return ask(api, "admin", "POST", path, NULL, body);
}

unsigned merge(struct test_api *api, const char *path, const char *body)
{
        return ask(api, "admin", "PATCH", path, "application/merge-patch+json", body);
}

unsigned delete_it(struct test_api *api, const char *path, const char *body)
{
        return ask(api, "admin", "DELETE", path, NULL, body);
}

struct json_value answer_root(struct test_api *api)
{
        return api->doc ? json_root(api->doc) : (struct json_value){};
}

const char *answer_text_at(struct test_api *api, const char *const *path)
{
        static char text[4096];

        snprintf(text, sizeof(text), "%.*s",
                 STR_FORMAT(json_string(json_get_path(answer_root(api), path))));
        return text;
}

int64_t answer_number_at(struct test_api *api, const char *const *path)
{
        return json_int64_or(json_get_path(answer_root(api), path), -1);
}

void assert_refused(struct test_api *api, unsigned code, const char *reason)
{
        if (api->code != code)
                print_message("%.*s\n", STR_FORMAT(buffer_str(&api->body)));
        assert_int_equal(api->code, code);
        assert_string_equal(answer_text(api, "kind"), "Status");
        assert_string_equal(answer_text(api, "status"), "Failure");
        assert_string_equal(answer_text(api, "reason"), reason);
        assert_int_equal(answer_number(api, "code"), code);
        assert_true(answer_text(api, "message")[0] != '\0');
}

/* ---- feeds ---- */

char fed[1024];

void test_feed_event(void *user _unused_, const struct kube_event *event)
{
        static const char *const words[] = { "begin", "+", "~", "-", "end", "bookmark" };
        size_t length = strlen(fed);

        snprintf(fed + length, sizeof(fed) - length, "%s%.*s ", words[event->type],
                 STR_FORMAT(event->name));
        assert_true(event->type == KUBE_LIST_BEGIN || event->resource_version > 0);
}

static void on_feed_aborted(void *user _unused_)
{
        strcat(fed, "aborted ");
}

struct local_feed *test_feed_start(struct test_api *api, kube_event_fn handler)
{
        struct local_feed_options options = { .server = api->server,
                                              .kind = &kind_config_map,
                                              .name_space = STR("default"),
                                              .handler = handler ? handler : test_feed_event,
                                              .aborted = on_feed_aborted };
        struct local_feed *feed;

        fed[0] = '\0';
        assert_int_equal(local_feed_new(&options, &feed), 0);
        assert_string_equal(fed, ""); /* never from within */
        assert_true(local_feed_position(feed) == 0);
        while (!strstr(fed, "end"))
                uv_run(&api->uv, UV_RUN_ONCE);
        return feed;
}

/* ---- watches ---- */

static void watch_head(struct http_call *call _unused_, void *user,
                       const struct http_response_head *head)
{
        ((struct test_watch *)user)->status = head->status;
}

static void watch_body(struct http_call *call _unused_, void *user, struct str data)
{
        buffer_append_str(&((struct test_watch *)user)->text, data);
}

static void watch_end(struct http_call *call _unused_, void *user)
{
        ((struct test_watch *)user)->ended = true;
}

static void watch_error(struct http_call *call _unused_, void *user, enum http_error error _unused_,
                        int code _unused_)
{
        ((struct test_watch *)user)->ended = true;
}

static const struct http_call_callbacks watch_callbacks = {
        .on_head = watch_head, .on_body = watch_body, .on_end = watch_end, .on_error = watch_error
};

void test_watch_open(struct test_watch *watch, struct test_api *api, const char *path)
{
        struct http_header headers[] = { { STR("Authorization"), STR("Bearer admin") } };
        struct http_request request = {
                .origin = { .address = api->address },
                .target = str_from(path),
                .headers = headers,
                .header_count = 1,
                .fresh = true,
        };

        *watch = (struct test_watch){ .api = api };
        assert_int_equal(
                http_call_start(api->client, &request, &watch_callbacks, watch, &watch->call), 0);
        while (watch->status == 0 && !watch->ended)
                uv_run(&api->uv, UV_RUN_ONCE);
}

const char *test_watch_next(struct test_watch *watch)
{
        static char text[256];
        struct str line, rest;
        struct json_doc *doc;
        struct json_value object;
        char type;

        while (!watch->ended &&
               !memchr(watch->text.data ? watch->text.data : "", '\n', watch->text.length))
                uv_run(&watch->api->uv, UV_RUN_ONCE);
        if (!str_cut(buffer_str(&watch->text), '\n', &line, &rest))
                return "";
        assert_int_equal(json_doc_parse(line, NULL, NULL, NULL, &doc), 0);
        type = json_string(json_get(json_root(doc), "type")).data[0];
        object = json_get(json_root(doc), "object");
        if (type == 'E')
                snprintf(text, sizeof(text), "E:%d",
                         (int)json_int64_or(json_get(object, "code"), 0));
        else
                snprintf(text, sizeof(text), "%c:%.*s", type,
                         STR_FORMAT(json_string(json_get(
                                 object, "metadata", type == 'B' ? "resourceVersion" : "name"))));
        json_doc_unref(doc);
        buffer_consume(&watch->text, line.length + 1);
        return text;
}

void test_watch_close(struct test_watch *watch)
{
        if (!watch->ended)
                http_call_cancel(watch->call);
        buffer_deinit(&watch->text);
}
