// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/call.h"
#include "apiserver/internal_call.h"
#include "apiserver/server.h"

/*
 * Paths, queries and Accept as clients may send them; and bodies of every verb on kinds of several
 * sorts, given to an API in memory. The first byte chooses.
 */

static struct apiserver *server;
static uv_loop_t uv;

static void start(void)
{
        struct apiserver_config config = {};

        if (uv_loop_init(&uv) < 0 || net_loop_new(&uv, &config.loop) < 0 ||
            apiserver_new(&config, NULL, &server) < 0)
                abort();
        uv_run(&uv, UV_RUN_NOWAIT);
}

static void parse(struct str input)
{
        _cleanup_arena_ struct arena arena = {};
        struct str path, query, accept;
        struct kube_status status = {};
        struct api_options options;
        struct api_path parsed;

        str_cut(input, '\n', &path, &input);
        str_cut(input, '\n', &query, &accept);
        if (api_path_parse(path, &arena, &parsed) == 0 && parsed.is_resource &&
            memchr(parsed.name.data ? parsed.name.data : "", '/', parsed.name.length))
                abort();
        if (api_options_parse(query, &arena, &options, &status) < 0 && status.code == 0)
                abort();
        api_accept_parse(accept);
}

static void on_done(void *user, unsigned code, struct json_doc *doc)
{
        *(unsigned *)user = code;
        if (code >= 400 &&
            (!doc || !json_string_is(json_get(json_root(doc), "kind"), STR("Status"))))
                abort();
}

static void submit(struct internal_request request, struct str body)
{
        unsigned code = 0;

        request.manager = STR("fuzz");
        request.done = on_done;
        request.user = &code;
        if (body.length > 0 && json_doc_parse(body, NULL, NULL, NULL, &request.body) < 0)
                return;
        if (internal_call_start(server, &request, NULL) < 0)
                abort();
        for (int i = 0; i < 4 && code == 0; i++)
                uv_run(&uv, UV_RUN_NOWAIT);
        if (code == 0 || code == 500)
                abort();
        if (request.body)
                json_doc_unref(request.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct {
                struct str group, version, plural;
        } kinds[] = {
                { STR(""), STR("v1"), STR("configmaps") },
                { STR(""), STR("v1"), STR("pods") },
                { STR(""), STR("v1"), STR("services") },
                { STR("apps"), STR("v1"), STR("deployments") },
                { STR("agents.x-k8s.io"), STR("v1alpha1"), STR("sandboxes") },
                { STR("agents.x-k8s.io"), STR("v1beta1"), STR("sandboxes") },
                { STR("extensions.agents.x-k8s.io"), STR("v1beta1"), STR("sandboxclaims") },
        };
        static const struct str patches[] = { STR("application/merge-patch+json"),
                                              STR("application/json-patch+json"),
                                              STR("application/strategic-merge-patch+json") };
        struct internal_request request = { .name_space = STR("default") };
        struct str body;

        if (size < 2)
                return 0;
        if (!server)
                start();
        body = (struct str){ (const char *)data + 1, size - 1 };
        if (data[0] % 8 == 0) {
                parse(body);
                return 0;
        }
        request.group = kinds[data[0] / 8 % ARRAY_SIZE(kinds)].group;
        request.version = kinds[data[0] / 8 % ARRAY_SIZE(kinds)].version;
        request.plural = kinds[data[0] / 8 % ARRAY_SIZE(kinds)].plural;
        if (data[0] % 8 == 1) {
                request.verb = API_CREATE;
                submit(request, body);
        } else if (data[0] % 8 < 5) {
                request.verb = API_PATCH;
                request.name = STR("a");
                request.content_type = patches[data[0] % 8 - 2];
                request.subresource = data[0] & 128 ? STR("status") : STR("");
                submit(request, body);
        } else {
                request.verb = data[0] % 8 == 5 ? API_UPDATE : API_DELETE;
                request.name = STR("a");
                submit(request, body);
        }
        return 0;
}
