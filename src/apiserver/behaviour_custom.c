// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/behaviour.h"

/* Our own four kinds: what their schemas leave to the server. */

static const char *check_sandbox_name(struct str name)
{
        /* It becomes a host name and a label. */
        return name_check_dns_label(name);
}

static void sandbox_validate(struct json_value object, struct json_value before,
                             struct field_errors *errors)
{
        struct json_value after = json_get(object, "spec", "volumeClaimTemplates");

        if (json_exists(before) &&
            (json_exists(after) != json_exists(json_get(before, "spec", "volumeClaimTemplates")) ||
             (json_exists(after) &&
              !json_equal(after, json_get(before, "spec", "volumeClaimTemplates")))))
                field_errors_add(errors, FIELD_INVALID, STR("spec"), (struct json_value){},
                                 "volumeClaimTemplates is immutable");
}

const struct api_behaviour behaviours_custom[] = {
        {
                .group = STR("agents.x-k8s.io"),
                .plural = STR("sandboxes"),
                .check_name = check_sandbox_name,
                .validate = sandbox_validate,
        },
};
const size_t behaviours_custom_count = ARRAY_SIZE(behaviours_custom);
