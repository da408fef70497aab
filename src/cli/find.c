// SPDX-License-Identifier: Apache-2.0
#include "cli/find.h"

#include <errno.h>

#include "kinds/names.h"
#include "kube/meta.h"

int name_parse(const char *text, struct error *error, struct name *ret_name)
{
        static const struct {
                struct str prefix;
                enum name_kind kind;
        } prefixes[] = {
                { STR("sandbox"), NAME_SANDBOX },     { STR("sandboxes"), NAME_SANDBOX },
                { STR("claim"), NAME_CLAIM },         { STR("sandboxclaim"), NAME_CLAIM },
                { STR("sandboxclaims"), NAME_CLAIM },
        };
        struct str prefix, rest;

        if (!str_cut(str_from(text), '/', &prefix, &rest)) {
                *ret_name = (struct name){ NAME_ANY, prefix };
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
                if (!str_equal(prefix, prefixes[i].prefix))
                        continue;
                *ret_name = (struct name){ prefixes[i].kind, rest };
                return 0;
        }
        return error_set(error, -EINVAL, "'%s' is no name: write NAME, sandbox/NAME or claim/NAME",
                         text);
}

struct condition ready_of(struct json_value object)
{
        struct condition ready = {};

        condition_find(json_get(object, "status", "conditions"), STR("Ready"), &ready);
        return ready;
}

struct str claim_bound_sandbox(struct json_value claim)
{
        struct json_value sandbox = json_get(claim, "status", "sandbox");

        return json_string_or(json_get(sandbox, "name"), json_string(json_get(sandbox, "Name")));
}

struct str sandbox_pod(struct json_value sandbox)
{
        struct json_value metadata = json_get(sandbox, "metadata");
        struct str name =
                json_string(json_member(json_get(metadata, "annotations"), ANNOTATION_POD_NAME));

        return name.length > 0 ? name : json_string(json_get(metadata, "name"));
}

struct str first_ip(struct json_value ips)
{
        struct json_value first = json_element(ips, 0);

        return json_type(first) == JSON_OBJECT ? json_string(json_get(first, "ip"))
                                               : json_string(first);
}

struct str owner_name(struct json_value object, const struct kind *kind)
{
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(object, &meta);
        if (object_meta_controller(&meta, &owner) && str_equal(owner.kind, kind->kind) &&
            str_equal(owner.group, kind->group))
                return owner.name;
        return STR_EMPTY;
}

static int find_by_claim(struct api_client *api, struct str name, struct error *error,
                         struct json_doc **ret_doc)
{
        _cleanup_doc_ struct json_doc *claim = NULL;
        int r = api_client_get(api, &kind_sandbox_claim, name, error, &claim);

        if (r == -ENOENT)
                return error_set(
                        error, r,
                        "there is no sandbox or claim '%.*s' in namespace %.*s: see cay ls",
                        STR_FORMAT(name), STR_FORMAT(api->name_space));
        if (r < 0)
                return r;
        struct str sandbox = claim_bound_sandbox(json_root(claim));
        if (sandbox.length == 0) {
                struct condition ready = ready_of(json_root(claim));
                return error_set(error, -EAGAIN, "claim %.*s holds no sandbox yet%s%.*s",
                                 STR_FORMAT(name), ready.reason.length > 0 ? ": " : "",
                                 STR_FORMAT(ready.reason));
        }
        return api_client_get(api, &kind_sandbox, sandbox, error, ret_doc);
}

int find_sandbox(struct api_client *api, const char *text, struct error *error,
                 struct json_doc **ret_doc)
{
        struct name name;
        int r = name_parse(text, error, &name);

        if (r < 0)
                return r;
        if (name.kind == NAME_CLAIM)
                return find_by_claim(api, name.text, error, ret_doc);
        r = api_client_get(api, &kind_sandbox, name.text, error, ret_doc);
        if (r == -ENOENT && name.kind == NAME_ANY)
                return find_by_claim(api, name.text, error, ret_doc);
        return r;
}
