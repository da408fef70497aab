// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/clock.h"
#include "base/options.h"
#include "kinds/convert.h"
#include "json/edit.h"

/* The moment `ttl` after creation, in the whole seconds of metav1.Time, never earlier. */
static int shutdown_time(struct json_value ttl, uint64_t created_ns, struct error *error,
                         char text[static RFC3339_SECONDS_SIZE])
{
        uint64_t duration, end;

        if (json_type(ttl) != JSON_STRING || duration_parse(json_string(ttl), &duration) < 0)
                return error_set(error, -EINVAL,
                                 "spec.ttl must be a duration, for example \"1h\" or \"30m\"");
        if (__builtin_add_overflow(created_ns, duration, &end) ||
            __builtin_add_overflow(end, NS_PER_SECOND - 1, &end) || end > INT64_MAX)
                return error_set(error, -EINVAL, "spec.ttl is too long");
        rfc3339_format_seconds(end, text);
        return 0;
}

static int adopt_claim(struct json_value spec, uint64_t created_ns, struct json_edit *edit,
                       struct error *error)
{
        struct json_value template = json_get(spec, "templateRef");
        struct json_value lifecycle = json_get(spec, "lifecycle");
        struct json_value ttl = json_get(spec, "ttl");
        char text[RFC3339_SECONDS_SIZE];
        int r;

        if (json_exists(template)) {
                json_edit_remove(edit, "/spec/templateRef");
                json_edit_set_value(edit, "/spec/sandboxTemplateRef", template);
        }
        if (!json_exists(ttl))
                return 0;
        r = shutdown_time(ttl, created_ns, error, text);
        if (r < 0)
                return r;
        json_edit_remove(edit, "/spec/ttl");
        /* A lifecycle that is no object is left for validation to refuse. */
        if (json_exists(lifecycle) && json_type(lifecycle) != JSON_NULL &&
            json_type(lifecycle) != JSON_OBJECT)
                return 0;
        json_edit_set_string(edit, "/spec/lifecycle/shutdownTime", str_from(text));
        json_edit_set_string(edit, "/spec/lifecycle/shutdownPolicy", STR("Delete"));
        return 0;
}

int kind_adopt_dialect(struct json_doc *doc, uint64_t created_ns, struct error *error,
                       struct json_doc **ret_doc)
{
        struct json_value root = json_root(doc), kind = json_get(root, "kind");
        struct json_value spec = json_get(root, "spec");
        bool is_claim = json_string_is(kind, STR("SandboxClaim"));
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        int r = 0;

        if (!json_string_is(json_get(root, "apiVersion"), STR("agents.x-k8s.io/v1alpha1")) ||
            (!is_claim && !json_string_is(kind, STR("SandboxTemplate")))) {
                *ret_doc = json_doc_ref(doc);
                return 0;
        }
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/apiVersion", STR("extensions.agents.x-k8s.io/v1alpha1"));
        if (is_claim && json_type(spec) == JSON_OBJECT)
                r = adopt_claim(spec, created_ns, &edit, error);
        return r < 0 ? r : json_edit_apply(&edit, ret_doc);
}
