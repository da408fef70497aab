// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/server.h"

void api_get(struct api_call *call)
{
        struct kube_status status;
        struct json_doc *doc;

        if (call->options.has_resource_version &&
            call->options.resource_version > storage_revision(call->server->storage)) {
                status = kube_status_timeout(
                        call->arena, "Too large resource version: %llu, current: %llu",
                        (unsigned long long)call->options.resource_version,
                        (unsigned long long)storage_revision(call->server->storage));
                status.retry_after_seconds = 1;
                api_call_fail(call, &status);
                return;
        }
        doc = storage_get(call->resource->storage, call->path.name_space, call->path.name);
        if (!doc) {
                status = kube_status_not_found(call->arena, &call->named, call->path.name);
                api_call_fail(call, &status);
                return;
        }
        api_call_respond(call, 200, doc);
}
