// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/server.h"

void openapi_answer(struct api_call *call)
{
        struct kube_status status = kube_status_no_such_path();

        api_call_fail(call, &status);
}
