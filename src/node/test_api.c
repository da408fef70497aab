// SPDX-License-Identifier: Apache-2.0
#include "node/test_api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"
#include "json/edit.h"
#include "json/patch.h"

/* What nodes watch. */
static const char *const watched[] = { "/api/v1/pods", "/api/v1/services", "/api/v1/namespaces",
                                       "/apis/networking.k8s.io/v1/networkpolicies" };

static struct test_object *find(const struct test_api *api, const char *path)
{
        for (size_t i = 0; i < api->count; i++)
                if (strcmp(api->objects[i].path, path) == 0)
                        return (struct test_object *)&api->objects[i];
        return NULL;
}

struct json_value test_api_get(const struct test_api *api, const char *path)
{
        const struct test_object *object = find(api, path);

        return object ? json_root(object->doc) : (struct json_value){};
}

size_t test_api_count(const struct test_api *api, const char *prefix)
{
        size_t count = 0;

        for (size_t i = 0; i < api->count; i++)
                count += strncmp(api->objects[i].path, prefix, strlen(prefix)) == 0;
        return count;
}

static bool is_pod(const char *path)
{
        const char *kind = strstr(path, "/pods/");

        return kind && !strchr(kind + strlen("/pods/"), '/');
}

/* "pods" of "/api/v1/namespaces/n/pods/p". */
static bool is_of(const char *path, const char *plural)
{
        const char *name = strrchr(path, '/');
        size_t length = strlen(plural);

        return (size_t)(name - path) > length && name[-(ptrdiff_t)length - 1] == '/' &&
               memcmp(name - length, plural, length) == 0;
}

static void send_event(struct http_exchange *exchange, const char *type, struct str object)
{
        _cleanup_buffer_ struct buffer line = {};

        assert_int_equal(buffer_printf(&line, "{\"type\":\"%s\",\"object\":%.*s}\n", type,
                                       STR_FORMAT(object)),
                         0);
        http_exchange_send(exchange, &(struct stream_piece){ buffer_str(&line) }, 1);
        http_exchange_flush(exchange);
}

static void tell(struct test_api *api, const char *type, const struct test_object *object)
{
        for (size_t i = 0; i < TEST_API_WATCHES; i++)
                if (api->watches[i].exchange && is_of(object->path, api->watches[i].plural))
                        send_event(api->watches[i].exchange, type, json_doc_text(object->doc));
}

/* Takes the document over, with a new resourceVersion. */
static struct test_object *store(struct test_api *api, const char *path, struct json_doc *doc)
{
        struct test_object *object = find(api, path);
        struct arena arena = {};
        struct json_edit edit;
        char revision[32];
        bool is_new = !object;

        snprintf(revision, sizeof(revision), "%llu", (unsigned long long)++api->revision);
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/metadata/resourceVersion", str_from(revision));
        struct json_doc *stamped = NULL;
        assert_int_equal(json_edit_apply(&edit, &stamped), 0);
        json_doc_unref(doc);
        arena_deinit(&arena);
        if (is_new) {
                assert_true(api->count < TEST_API_OBJECTS);
                object = &api->objects[api->count++];
                *object = (struct test_object){};
                snprintf(object->path, sizeof(object->path), "%s", path);
        } else {
                json_doc_unref(object->doc);
        }
        object->doc = stamped;
        tell(api, is_new ? "ADDED" : "MODIFIED", object);
        return object;
}

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(text, NULL, NULL, NULL, &doc), 0);
        return doc;
}

void test_api_put(struct test_api *api, const char *path, const char *json)
{
        store(api, path, parse(str_from(json)));
}

void test_api_remove(struct test_api *api, const char *path)
{
        struct test_object *object = find(api, path);

        assert_non_null(object);
        tell(api, "DELETED", object);
        json_doc_unref(object->doc);
        *object = api->objects[--api->count];
}

static struct test_object *patch(struct test_api *api, struct test_object *object,
                                 struct json_doc *change)
{
        struct json_doc *patched = NULL;

        assert_int_equal(json_merge_patch(object->doc, json_root(change), NULL, &patched), 0);
        return store(api, object->path, patched);
}

void test_api_patch(struct test_api *api, const char *path, const char *json)
{
        _cleanup_doc_ struct json_doc *change = parse(str_from(json));

        patch(api, find(api, path), change);
}

/* ---- requests ---- */

static void refuse(struct http_exchange *exchange, unsigned status, const char *reason)
{
        char body[256];

        snprintf(body, sizeof(body),
                 "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":"
                 "\"%s\",\"message\":\"%s\",\"code\":%u}",
                 reason, reason, status);
        http_exchange_respond_text(exchange, status, "application/json", str_from(body));
}

static void answer(struct http_exchange *exchange, unsigned status,
                   const struct test_object *object)
{
        http_exchange_respond_text(exchange, status, "application/json",
                                   json_doc_text(object->doc));
}

static bool strip(char *path, const char *suffix)
{
        size_t length = strlen(path), end = strlen(suffix);

        if (length <= end || strcmp(path + length - end, suffix) != 0)
                return false;
        path[length - end] = '\0';
        return true;
}

static void on_patch(struct test_api *api, struct http_exchange *exchange, char *path,
                     struct str body)
{
        bool is_status = strip(path, "/status") && is_pod(path);
        struct test_object *object = find(api, path);
        _cleanup_doc_ struct json_doc *change = parse(body);
        struct json_value uid = json_get(json_root(change), "metadata", "uid");

        if (!object) {
                refuse(exchange, 404, "NotFound");
                return;
        }
        if (is_status && api->fail_patches > 0) {
                api->fail_patches--;
                refuse(exchange, 500, "InternalError");
                return;
        }
        if (json_exists(uid) &&
            !json_equal(uid, json_get(json_root(object->doc), "metadata", "uid"))) {
                api->refused_patches++;
                refuse(exchange, 409, "Conflict");
                return;
        }
        api->status_patches += is_status;
        answer(exchange, 200, patch(api, object, change));
}

static void on_post(struct test_api *api, struct http_exchange *exchange, const char *path,
                    struct str body)
{
        struct json_doc *doc = parse(body);
        struct str name = json_string(json_get(json_root(doc), "metadata", "name"));
        char full[512];

        if (strstr(path, "/token")) {
                json_doc_unref(doc);
                http_exchange_respond_text(exchange, 201, "application/json",
                                           STR("{\"status\":{\"token\":\"secret-token\"}}"));
                return;
        }
        snprintf(full, sizeof(full), "%s/%.*s", path, STR_FORMAT(name));
        if (find(api, full)) {
                json_doc_unref(doc);
                refuse(exchange, 409, "AlreadyExists");
                return;
        }
        answer(exchange, 201, store(api, full, doc));
}

static bool is_watched(const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(watched); i++)
                if (strcmp(path, watched[i]) == 0)
                        return true;
        return false;
}

static void on_watch(struct test_api *api, struct http_exchange *exchange, const char *path)
{
        const char *plural = strrchr(path, '/') + 1;
        size_t slot = 0;

        while (slot < TEST_API_WATCHES && api->watches[slot].exchange)
                slot++;
        assert_true(slot < TEST_API_WATCHES);
        api->watches[slot].exchange = exchange;
        snprintf(api->watches[slot].plural, sizeof(api->watches[slot].plural), "%s", plural);
        http_exchange_begin(exchange, 200,
                            &(struct http_header){ STR("Content-Type"), STR("application/json") },
                            1, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(exchange);
        if (!memmem(exchange->request.query.data, exchange->request.query.length,
                    "sendInitialEvents=true", strlen("sendInitialEvents=true")))
                return;
        for (size_t i = 0; i < api->count; i++)
                if (is_of(api->objects[i].path, plural))
                        send_event(exchange, "ADDED", json_doc_text(api->objects[i].doc));
        char bookmark[256];
        snprintf(bookmark, sizeof(bookmark),
                 "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%"
                 "llu\","
                 "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}",
                 (unsigned long long)api->revision);
        send_event(exchange, "BOOKMARK", str_from(bookmark));
}

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct test_api *api = user;
        char path[256];

        snprintf(path, sizeof(path), "%.*s", STR_FORMAT(exchange->request.path));
        if (str_equal(exchange->request.method, STR("POST"))) {
                on_post(api, exchange, path, body);
        } else if (str_equal(exchange->request.method, STR("PATCH"))) {
                on_patch(api, exchange, path, body);
        } else if (is_watched(path)) {
                on_watch(api, exchange, path);
        } else if (!find(api, path)) {
                refuse(exchange, 404, "NotFound");
        } else if (str_equal(exchange->request.method, STR("DELETE"))) {
                api->deletes++;
                test_api_remove(api, path);
                http_exchange_respond_text(exchange, 200, "application/json", STR("{}"));
        } else {
                answer(exchange, 200, find(api, path));
        }
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct test_api *api = user;

        (void)error;
        for (size_t i = 0; i < TEST_API_WATCHES; i++)
                if (api->watches[i].exchange == exchange)
                        api->watches[i].exchange = NULL;
}

static const struct http_exchange_callbacks callbacks = { .on_whole = on_whole,
                                                          .on_abort = on_abort };

static void on_request(void *user, struct http_exchange *exchange)
{
        http_exchange_collect(exchange, LIMIT_BODY, &callbacks, user);
}

void test_api_start(struct test_api *api, struct test_loop *loop)
{
        const struct http_server_options options = { .on_request = on_request, .user = api };
        struct net_address address;
        char text[NET_ADDRESS_SIZE];

        *api = (struct test_api){ .loop = loop };
        address = test_loopback();
        assert_int_equal(http_server_new(loop->net, &options, &api->server), 0);
        assert_int_equal(http_server_listen(api->server, &address, NULL, 0, NULL, &api->listener),
                         0);
        net_address_format(listener_address(api->listener), text);
        snprintf(api->url, sizeof(api->url), "http://%.50s", text);
}

void test_api_stop(struct test_api *api)
{
        http_server_free(api->server);
        for (size_t i = 0; i < api->count; i++)
                json_doc_unref(api->objects[i].doc);
        api->count = 0;
}
