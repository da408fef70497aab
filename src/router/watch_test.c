// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/http_server.h"
#include "net/test_loop.h"
#include "router/watch.h"

#define SANDBOX(metadata, rest)                                                                    \
        "{\"apiVersion\":\"agents.x-k8s.io/v1beta1\",\"kind\":\"Sandbox\",\"metadata\":{"          \
        "\"name\":\"box\",\"namespace\":\"ns\",\"uid\":\"u1\",\"resourceVersion\":\"5\"" metadata  \
        "},\"spec\":{\"podTemplate\":{\"spec\":{\"containers\":[]}}" rest "}"
#define OWNER(kind, name)                                                                          \
        ",\"ownerReferences\":[{\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\","            \
        "\"kind\":\"" kind "\",\"name\":\"" name "\",\"uid\":\"o\",\"controller\":true}]"
#define POD(metadata, status)                                                                      \
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"box\","                  \
        "\"namespace\":\"ns\",\"uid\":\"p1\",\"resourceVersion\":\"6\"" metadata                   \
        "},\"spec\":{\"containers\":[]},\"status\":{" status "}}"
#define POD_OWNER(uid)                                                                             \
        ",\"ownerReferences\":[{\"apiVersion\":\"agents.x-k8s.io/v1beta1\",\"kind\":\"Sandbox\","  \
        "\"name\":\"box\",\"uid\":\"" uid "\",\"controller\":true}]"
#define READY                                                                                      \
        "\"phase\":\"Running\",\"podIP\":\"10.0.0.7\",\"podIPs\":[{\"ip\":\"10.0.0.7\"}],"         \
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc;
        struct error error = {};

        if (json_doc_parse(str_from(text), NULL, NULL, &error, &doc) < 0)
                fail_msg("%s: %s", text, error.message);
        return doc;
}

static void sandboxes_are_read(void **state)
{
        static const struct {
                const char *text;
                const char *claim, *pod;
                bool member, running;
        } cases[] = {
                { SANDBOX("", "}"), "", "", false, true },
                { SANDBOX(OWNER("SandboxClaim", "c"), "}"), "c", "", false, true },
                { SANDBOX(OWNER("SandboxWarmPool", "p"), "}"), "", "", true, true },
                { SANDBOX(",\"labels\":{\"agents.x-k8s.io/warm-pool-sandbox\":\"h\"}", "}"), "", "",
                  true, true },
                { SANDBOX(",\"labels\":{\"agents.x-k8s.io/pool\":\"h\"}"
                          ",\"annotations\":{\"agents.x-k8s.io/pod-name\":\"other\"}",
                          "}"),
                  "", "other", true, true },
                { SANDBOX(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "}"), "", "", false,
                  false },
                { SANDBOX("", ",\"operatingMode\":\"Suspended\"}"), "", "", false, false },
                { SANDBOX("", "},\"status\":{\"conditions\":[{\"type\":\"Finished\","
                              "\"status\":\"True\"}]}"),
                  "", "", false, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i].text);
                struct index_sandbox s;
                index_sandbox_read(doc, &s);
                if (!str_equal(s.claim, str_from(cases[i].claim)) ||
                    !str_equal(s.pod_name, str_from(cases[i].pod)) ||
                    s.pool_member != cases[i].member || s.running != cases[i].running)
                        fail_msg("case %zu", i);
                assert_true(str_equal(s.name, STR("box")));
                assert_true(str_equal(s.name_space, STR("ns")));
                assert_true(str_equal(s.uid, STR("u1")));
        }
}

static void pods_are_read(void **state)
{
        static const struct {
                const char *text;
                const char *owner;
                bool ready;
        } cases[] = {
                { POD(POD_OWNER("u1"), READY), "u1", true },
                { POD("", READY), "", true },
                { POD(OWNER("Sandbox", "box"), READY), "", true }, /* another group's Sandbox */
                { POD(POD_OWNER("u1"), "\"phase\":\"Pending\""), "u1", false },
                { POD(POD_OWNER("u1") ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", READY),
                  "u1", false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i].text);
                struct index_pod p;
                index_pod_read(doc, &p);
                if (!str_equal(p.owner_uid, str_from(cases[i].owner)) || p.ready != cases[i].ready)
                        fail_msg("case %zu", i);
        }
}

/* ---- against an API server of a few lines ---- */

struct fixture {
        struct test_loop t;
        struct http_server *api;
        struct listener *listener;
        struct kube_config config;
        struct kube_client *client;
        struct router_index *index;
        struct router_watch *watch;
        struct http_exchange *sandbox_watch, *pod_watch;
        bool forbid_pods, settled;
};

static void api_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fixture *f = user;

        (void)error;
        if (f->sandbox_watch == exchange)
                f->sandbox_watch = NULL;
        if (f->pod_watch == exchange)
                f->pod_watch = NULL;
}

static const struct http_exchange_callbacks api_callbacks = { .on_abort = api_abort };

static void api_request(void *user, struct http_exchange *exchange)
{
        static const char forbidden[] = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":"
                                        "\"Failure\",\"reason\":\"Forbidden\",\"message\":\"no\","
                                        "\"code\":403}";
        struct fixture *f = user;
        struct str query = exchange->request.query, value;
        bool pods = str_starts_with(exchange->request.path, STR("/api/v1/"));

        if (pods && f->forbid_pods) {
                http_exchange_respond_text(exchange, 403, "application/json", str_from(forbidden));
        } else if (http_query_get(exchange->arena, query, STR("sendInitialEvents"), &value) == 1) {
                http_exchange_respond_text(exchange, 400, "application/json", STR("{}"));
        } else if (http_query_get(exchange->arena, query, STR("watch"), &value) == 1) {
                *(pods ? &f->pod_watch : &f->sandbox_watch) = exchange;
                http_exchange_start(exchange, &api_callbacks, f);
                http_exchange_begin(exchange, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
                http_exchange_flush(exchange);
        } else {
                assert_true(!pods || http_query_get(exchange->arena, query, STR("labelSelector"),
                                                    &value) == 1);
                http_exchange_respond_text(
                        exchange, 200, "application/json",
                        pods ? STR("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{"
                                   "\"resourceVersion\":\"10\"},\"items\":[]}")
                             : STR("{\"kind\":\"SandboxList\",\"apiVersion\":"
                                   "\"agents.x-k8s.io/v1beta1\",\"metadata\":{"
                                   "\"resourceVersion\":\"10\"},\"items\":[" SANDBOX("",
                                                                                     "}") "]}"));
        }
}

static void on_settled(void *user)
{
        ((struct fixture *)user)->settled = true;
}

static void set_up(struct fixture *f, bool forbid_pods)
{
        const struct http_server_options options = { .on_request = api_request, .user = f };
        struct net_address address;
        char text[NET_ADDRESS_SIZE], kubeconfig[512];

        *f = (struct fixture){ .forbid_pods = forbid_pods };
        test_loop_set_up(&f->t);
        assert_int_equal(http_server_new(f->t.net, &options, &f->api), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(f->api, &address, NULL, 0, NULL, &f->listener), 0);
        net_address_format(listener_address(f->listener), text);
        snprintf(kubeconfig, sizeof(kubeconfig),
                 "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{"
                 "\"cluster\":\"c\",\"user\":\"c\"}}],\"clusters\":[{\"name\":\"c\",\"cluster\":{"
                 "\"server\":\"http://%s\"}}],\"users\":[{\"name\":\"c\",\"user\":{\"token\":"
                 "\"t\"}}]}",
                 text);
        struct error error = {};
        if (kube_config_parse(str_from(kubeconfig), "/", STR_EMPTY, &error, &f->config) < 0)
                fail_msg("%s", error.message);
        const struct kube_client_options client = { .loop = f->t.net, .config = &f->config };
        assert_int_equal(kube_client_new(&client, &error, &f->client), 0);
        assert_int_equal(router_index_new(&f->index), 0);
        assert_int_equal(router_watch_new(f->client, f->index, STR_EMPTY, on_settled, f, &f->watch),
                         0);
        test_run_until(&f->t, f->settled);
}

static void tear_down(struct fixture *f)
{
        router_watch_free(f->watch);
        kube_client_free(f->client);
        kube_config_deinit(&f->config);
        router_index_free(f->index);
        http_server_free(f->api);
        test_loop_tear_down(&f->t);
}

static void send_event(struct http_exchange *exchange, const char *type, const char *object)
{
        struct str text =
                arena_printf(exchange->arena, "{\"type\":\"%s\",\"object\":%s}\n", type, object);

        http_exchange_send(exchange, &(struct stream_piece){ text }, 1);
}

static int find(const struct fixture *f)
{
        const struct router_target target = { .name_space = STR("ns"), .id = STR("box") };
        struct net_address address;

        return router_index_find(f->index, &target, &address);
}

static void the_index_follows_the_cluster(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, false);
        assert_true(router_index_is_complete(f.index));
        assert_int_equal(find(&f), -EINPROGRESS);
        test_run_until(&f.t, f.sandbox_watch && f.pod_watch);
        send_event(f.pod_watch, "ADDED", POD(POD_OWNER("u1"), READY));
        test_run_until(&f.t, find(&f) == 0);
        send_event(f.pod_watch, "DELETED", POD(POD_OWNER("u1"), READY));
        test_run_until(&f.t, find(&f) == -EINPROGRESS);
        send_event(f.sandbox_watch, "DELETED", SANDBOX("", "}"));
        test_run_until(&f.t, find(&f) == -ENOENT);
        tear_down(&f);
}

static void without_rights_there_is_no_index(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, true);
        assert_true(router_watch_is_settled(f.watch));
        assert_false(router_index_is_complete(f.index));
        assert_int_equal(find(&f), -ENODATA);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sandboxes_are_read),
                cmocka_unit_test(pods_are_read),
                cmocka_unit_test(the_index_follows_the_cluster),
                cmocka_unit_test(without_rights_there_is_no_index),
        };

        return run_unit_tests("router_watch", tests);
}
