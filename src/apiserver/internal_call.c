// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/internal_call.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"

struct internal_call {
        struct api_call call;
        struct arena arena;
        struct list in_set;
        bool *answered; /* told while it is being started */
        void (*done)(void *user, unsigned code, struct json_doc *doc);
        void *user;
};

static void on_result(struct api_call *call, unsigned code, struct json_doc *doc)
{
        struct internal_call *internal = container_of(call, struct internal_call, call);

        if (internal->answered)
                *internal->answered = true;
        list_remove(&internal->in_set);
        if (internal->done)
                internal->done(internal->user, code, doc);
        arena_deinit(&internal->arena);
        free(internal);
}

static bool copy(struct arena *arena, struct str *s)
{
        if (s->length == 0)
                return true;
        *s = arena_str(arena, *s);
        return s->data != NULL;
}

static struct internal_call *call_new(struct apiserver *server,
                                      const struct internal_request *request)
{
        static const struct str masters[] = { STR("system:masters") };
        struct internal_call *internal = calloc(1, sizeof(*internal));
        struct api_call *call;

        if (!internal)
                return NULL;
        list_init(&internal->in_set);
        internal->done = request->done;
        internal->user = request->user;
        call = &internal->call;
        call->server = server;
        call->arena = &internal->arena;
        call->result = on_result;
        call->now_ns = clock_realtime_ns();
        call->verb = request->verb;
        call->options.grace_seconds = -1;
        call->options.validation = VALIDATE_IGNORE;
        call->options.field_manager = request->manager;
        call->user =
                (struct api_user){ .name = request->manager, .groups = masters, .group_count = 1 };
        call->content_type = request->content_type;
        call->path = (struct api_path){
                .is_resource = true,
                .group = request->group,
                .resource = request->plural,
                .name_space = request->name_space,
                .name = request->name,
                .subresource = request->subresource,
        };
        if (!copy(call->arena, &call->path.group) || !copy(call->arena, &call->path.resource) ||
            !copy(call->arena, &call->path.name_space) || !copy(call->arena, &call->path.name) ||
            !copy(call->arena, &call->path.subresource)) {
                arena_deinit(&internal->arena);
                free(internal);
                return NULL;
        }
        if (request->body)
                call->body = json_doc_ref(request->body);
        return internal;
}

static bool find(struct api_call *call, struct str version)
{
        const struct api_resource *resource =
                registry_find(call->server->registry, call->path.group, call->path.resource);

        if (!resource || !resource->storage)
                return false;
        call->version = version.length > 0 ? api_resource_version(resource, version)
                                           : resource->storage_version;
        if (!call->version)
                return false;
        if (call->path.subresource.length > 0) {
                call->subresource = api_version_subresource(call->version, call->path.subresource);
                if (!call->subresource)
                        return false;
        }
        call->resource = api_resource_ref(resource);
        call->named = (struct kube_resource){ .group = call->path.group,
                                              .resource = call->path.resource,
                                              .kind = resource->kind };
        return true;
}

int internal_call_start(struct apiserver *server, const struct internal_request *request,
                        struct internal_call **ret_call)
{
        struct internal_call *internal = call_new(server, request);
        bool answered = false;
        struct api_call *call;
        struct kube_status status;

        if (!internal)
                return -ENOMEM;
        internal->answered = &answered;
        call = &internal->call;
        list_append(&server->internal_calls, &internal->in_set);
        if (find(call, request->version)) {
                route_run(call);
        } else {
                status = kube_status_no_such_path();
                api_call_fail(call, &status);
        }
        if (!answered)
                internal->answered = NULL;
        if (ret_call)
                *ret_call = answered ? NULL : internal;
        return 0;
}

struct json_doc *internal_call_accepted(const struct internal_call *call)
{
        return storage_request_accepted(&call->call.request);
}

void internal_call_cancel(struct internal_call *internal)
{
        if (internal->call.stream_end)
                internal->call.stream_end(&internal->call);
        api_call_release(&internal->call);
        list_remove(&internal->in_set);
        arena_deinit(&internal->arena);
        free(internal);
}

void internal_calls_cancel(struct apiserver *server)
{
        while (!list_is_empty(&server->internal_calls))
                internal_call_cancel(
                        list_entry(server->internal_calls.next, struct internal_call, in_set));
}
