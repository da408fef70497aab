// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"

/* Which handler a request goes to, and whether its sender may. */

static enum route_need fail(struct api_call *call, struct kube_status status)
{
        api_call_fail(call, &status);
        return ROUTE_DONE;
}

static bool is_pod_stream(const struct api_call *call)
{
        static const struct str names[] = { STR("log"), STR("exec"), STR("attach"),
                                            STR("portforward") };

        if (!call->subresource || call->resource->storage != call->server->pods)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (str_equal(names[i], call->subresource->name))
                        return true;
        }
        return false;
}

/* The API's verb for a method (k8s.io/apiserver pkg/endpoints/request). */
static enum api_verb find_verb(const struct api_call *call)
{
        bool one = call->path.name.length > 0;

        if (str_equal(call->method, STR("GET")) || str_equal(call->method, STR("HEAD"))) {
                if (call->options.watch && !call->subresource)
                        return API_WATCH;
                return one ? API_GET : API_LIST;
        }
        if (str_equal(call->method, STR("POST")))
                return API_CREATE;
        if (str_equal(call->method, STR("PUT")))
                return API_UPDATE;
        if (str_equal(call->method, STR("PATCH")))
                return API_PATCH;
        if (str_equal(call->method, STR("DELETE")))
                return one ? API_DELETE : API_DELETE_COLLECTION;
        return 0;
}

static enum route_need forbid(struct api_call *call)
{
        const struct api_path *path = &call->path;
        struct str why;

        if (!path->is_resource) {
                why = arena_printf(call->arena, "User \"%.*s\" cannot %.*s path \"%.*s\"",
                                   STR_FORMAT(call->user.name), STR_FORMAT(call->method),
                                   STR_FORMAT(call->exchange->request.path));
                return fail(call, kube_status_forbidden(call->arena, NULL, STR_EMPTY, why));
        }
        why = arena_printf(
                call->arena,
                "User \"%.*s\" cannot %.*s resource \"%.*s%s%.*s\" in API group \"%.*s\" %s%.*s%s",
                STR_FORMAT(call->user.name), STR_FORMAT(api_verb_name(call->verb)),
                STR_FORMAT(path->resource), path->subresource.length ? "/" : "",
                STR_FORMAT(path->subresource), STR_FORMAT(path->group),
                path->name_space.length ? "in the namespace \"" : "at the cluster scope",
                STR_FORMAT(path->name_space), path->name_space.length ? "\"" : "");
        return fail(call, kube_status_forbidden(call->arena, &call->named, path->name, why));
}

static bool may(struct api_call *call)
{
        struct authorization what = {
                .user = &call->user,
                .verb = api_verb_name(call->verb),
                .group = call->path.group,
                .resource = call->path.resource,
                .subresource = call->path.subresource,
                .name_space = call->path.name_space,
                .name = call->path.name,
        };

        if (str_equal(call->path.resource, STR("namespaces")) && call->path.group.length == 0)
                what.name_space = call->path.name;
        return authorize(call->server, &what);
}

static enum route_need prepare_other(struct api_call *call)
{
        struct str path = call->exchange->request.path;
        struct authorization what = { .user = &call->user, .path = path };
        char verb[16] = "";

        for (size_t i = 0; i < call->method.length && i < sizeof(verb) - 1; i++)
                verb[i] = (char)(call->method.data[i] | 0x20);
        what.verb = str_from(verb);
        if (!authorize(call->server, &what))
                return forbid(call);
        if (!str_equal(call->method, STR("GET")) && !str_equal(call->method, STR("HEAD")))
                return fail(call, kube_status_method_not_allowed(call->arena, NULL, call->method));
        return ROUTE_NOW;
}

/* Finds resource, version and subresource; false after answering. */
static bool find_resource(struct api_call *call)
{
        const struct api_path *path = &call->path;
        const struct api_resource *resource =
                registry_find(call->server->registry, path->group, path->resource);

        if (resource) {
                call->version = api_resource_version(resource, path->version);
                if (call->version && !call->version->served)
                        call->version = NULL;
        }
        if (call->version && path->subresource.length > 0) {
                call->subresource = api_version_subresource(call->version, path->subresource);
                if (!call->subresource)
                        call->version = NULL;
        }
        if (call->version && path->name_space.length > 0 && !resource->namespaced)
                call->version = NULL;
        if (!call->version) {
                fail(call, kube_status_no_such_path());
                return false;
        }
        call->resource = api_resource_ref(resource);
        call->named.kind = resource->kind;
        return true;
}

static enum route_need prepare_resource(struct api_call *call)
{
        unsigned verbs;
        enum api_form form = call->form;

        call->named = (struct kube_resource){ .group = call->path.group,
                                              .resource = call->path.resource };
        /* The verb decides what may be known: ask before telling whether the resource is there. */
        call->verb = find_verb(call);
        if (!may(call))
                return forbid(call);
        if (!find_resource(call))
                return ROUTE_DONE;
        call->verb = find_verb(call);
        verbs = call->subresource ? call->subresource->verbs : call->resource->verbs;
        if (!(verbs & call->verb))
                return fail(call, kube_status_method_not_allowed(call->arena, &call->named,
                                                                 call->method));
        /* A name is given by the body. */
        if (call->verb == API_CREATE && call->path.name.length > 0 && !call->subresource)
                return fail(call, kube_status_method_not_allowed(call->arena, &call->named,
                                                                 call->method));
        /* Across all namespaces there is only reading. */
        if (call->resource->namespaced && call->path.name_space.length == 0 &&
            !(call->verb & (API_LIST | API_WATCH)))
                return fail(call, kube_status_method_not_allowed(call->arena, &call->named,
                                                                 call->method));
        if (is_pod_stream(call))
                return ROUTE_STREAM;
        if (form == FORM_PROTOBUF_ONLY || form == FORM_DISCOVERY_V2)
                return fail(call, kube_status_not_acceptable());
        if (call->version->deprecation.length > 0)
                api_call_warn(call, "%.*s", STR_FORMAT(call->version->deprecation));
        return call->verb & (API_GET | API_LIST | API_WATCH) ? ROUTE_NOW : ROUTE_BODY;
}

enum route_need route_prepare(struct api_call *call)
{
        struct kube_status status;
        int r;

        r = api_path_parse(call->exchange->request.path, call->arena, &call->path);
        if (r == -EINVAL)
                return fail(call, kube_status_bad_request(call->arena, "the path is malformed"));
        if (r < 0)
                return fail(call, kube_status_from_errno(call->arena, r));
        if (!call->path.is_resource)
                return prepare_other(call);
        if (api_options_parse(call->exchange->request.query, call->arena, &call->options, &status) <
            0)
                return fail(call, status);
        return prepare_resource(call);
}

static void run_other(struct api_call *call)
{
        struct str path = call->exchange->request.path;
        struct kube_status status = kube_status_no_such_path();

        if (discovery_is_path(path))
                discovery_answer(call);
        else if (str_starts_with(path, STR("/openapi/")))
                openapi_answer(call);
        else if (!health_is_path(path))
                api_call_fail(call, &status);
        else
                health_answer_call(call);
}

static void run_pod_stream(struct api_call *call)
{
        struct apiserver *server = call->server;
        struct json_doc *pod = storage_get(server->pods, call->path.name_space, call->path.name);
        struct http_exchange *exchange = call->exchange;
        struct apiserver_pod_request request = {
                .subresource = call->path.subresource,
                .name_space = call->path.name_space,
                .name = call->path.name,
                .pod = pod,
                .query = exchange->request.query,
                .user = &call->user,
        };
        struct kube_status status;

        if (!pod) {
                status = kube_status_not_found(call->arena, &call->named, call->path.name);
        } else if (json_string(json_get(json_root(pod), "spec", "nodeName")).length == 0) {
                status = kube_status_bad_request(call->arena,
                                                 "pod %.*s does not have a host assigned",
                                                 STR_FORMAT(call->path.name));
        } else if (!server->config.pod_stream) {
                status = kube_status_unavailable(call->arena, 1, "the node does not answer");
        } else {
                api_call_release(call);
                server->config.pod_stream(server->config.user, exchange, &request);
                return;
        }
        api_call_fail(call, &status);
}

static void run_subresource(struct api_call *call)
{
        struct str name = call->subresource->name;
        struct kube_status status;

        if (str_equal(name, STR("scale"))) {
                api_scale(call);
        } else if (str_equal(name, STR("binding"))) {
                pod_binding(call);
        } else if (str_equal(name, STR("eviction"))) {
                pod_eviction(call);
        } else if (str_equal(name, STR("token"))) {
                token_request(call);
        } else if (is_pod_stream(call)) {
                run_pod_stream(call);
        } else if (str_equal(name, STR("proxy"))) {
                status = kube_status_unavailable(call->arena, 0, "proxying is not served");
                api_call_fail(call, &status);
        } else if (call->verb == API_GET) {
                api_get(call);
        } else {
                api_update(call);
        }
}

void route_run(struct api_call *call)
{
        if (!call->path.is_resource) {
                run_other(call);
                return;
        }
        if (call->subresource) {
                run_subresource(call);
                return;
        }
        switch (call->verb) {
        case API_GET:
                api_get(call);
                break;
        case API_LIST:
                api_list(call);
                break;
        case API_WATCH:
                api_watch(call);
                break;
        case API_CREATE:
                if (call->resource->storage)
                        api_create(call);
                else
                        review_answer(call);
                break;
        case API_UPDATE:
        case API_PATCH:
                api_update(call);
                break;
        case API_DELETE:
                api_delete(call);
                break;
        case API_DELETE_COLLECTION:
                api_delete_collection(call);
                break;
        }
}
