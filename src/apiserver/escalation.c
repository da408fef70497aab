// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/escalation.h"

#include <errno.h>

#include "apiserver/server.h"

/* Rules are checked one combination at a time; more of them in one role are refused. */
enum { COMBINATIONS_MAX = 4096 };

struct check {
        struct api_call *call;
        struct str name_space; /* where the rights would hold; empty: everywhere */
        unsigned combinations;
};

static struct str at(struct json_value list, size_t index)
{
        return json_string(json_element(list, index));
}

/* Whether the user has the right that one combination of a rule gives. */
static bool has(struct check *check, struct authorization right, struct str resource)
{
        right.user = &check->call->user;
        right.name_space = check->name_space;
        str_cut(resource, '/', &right.resource, &right.subresource);
        return ++check->combinations <= COMBINATIONS_MAX && authorize(check->call->server, &right);
}

static bool has_for_names(struct check *check, struct authorization right, struct str resource,
                          struct json_value names)
{
        for (size_t i = 0; i < json_count(names); i++) {
                right.name = at(names, i);
                if (!has(check, right, resource))
                        return false;
        }
        return json_count(names) > 0 || has(check, right, resource);
}

static bool has_resources(struct check *check, struct json_value rule, struct str verb)
{
        struct json_value groups = json_get(rule, "apiGroups");
        struct json_value resources = json_get(rule, "resources");

        for (size_t i = 0; i < json_count(groups); i++) {
                for (size_t j = 0; j < json_count(resources); j++) {
                        struct authorization right = { .verb = verb, .group = at(groups, i) };
                        if (!has_for_names(check, right, at(resources, j),
                                           json_get(rule, "resourceNames")))
                                return false;
                }
        }
        return true;
}

static bool has_urls(struct check *check, struct json_value rule, struct str verb)
{
        struct json_value urls = json_get(rule, "nonResourceURLs");

        for (size_t i = 0; i < json_count(urls); i++) {
                struct authorization right = { .user = &check->call->user,
                                               .verb = verb,
                                               .path = at(urls, i) };
                if (++check->combinations > COMBINATIONS_MAX ||
                    !authorize(check->call->server, &right))
                        return false;
        }
        return true;
}

static bool has_rules(struct check *check, struct json_value rules)
{
        json_for_each (it, rules) {
                struct json_value verbs = json_get(it.value, "verbs");

                for (size_t i = 0; i < json_count(verbs); i++) {
                        if (!has_resources(check, it.value, at(verbs, i)) ||
                            !has_urls(check, it.value, at(verbs, i)))
                                return false;
                }
        }
        return true;
}

static bool may(struct api_call *call, struct str verb, struct str resource, struct str name)
{
        struct authorization right = { .user = &call->user,
                                       .verb = verb,
                                       .group = STR("rbac.authorization.k8s.io"),
                                       .resource = resource,
                                       .name_space = call->path.name_space,
                                       .name = name };

        return authorize(call->server, &right);
}

static int refuse(struct api_call *call)
{
        struct str why = arena_printf(call->arena,
                                      "user \"%.*s\" is attempting to grant RBAC permissions not "
                                      "currently held",
                                      STR_FORMAT(call->user.name));

        return api_call_refuse(
                call, kube_status_forbidden(call->arena, &call->named, call->path.name, why));
}

int escalation_check_role(struct api_call *call, struct json_value role)
{
        struct check check = { .call = call, .name_space = call->path.name_space };

        if (api_user_is_in(&call->user, STR("system:masters")) ||
            may(call, STR("escalate"), call->resource->plural, call->path.name) ||
            has_rules(&check, json_get(role, "rules")))
                return 0;
        return refuse(call);
}

int escalation_check_binding(struct api_call *call, struct json_value binding)
{
        struct check check = { .call = call, .name_space = call->path.name_space };
        struct json_value reference = json_get(binding, "roleRef");
        struct str name = json_string(json_get(reference, "name"));
        bool everywhere = json_string_is(json_get(reference, "kind"), STR("ClusterRole"));
        struct str plural = everywhere ? STR("clusterroles") : STR("roles");
        const struct api_resource *roles =
                registry_find(call->server->registry, STR("rbac.authorization.k8s.io"), plural);
        struct json_doc *role;

        if (api_user_is_in(&call->user, STR("system:masters")) ||
            may(call, STR("bind"), plural, name))
                return 0;
        role = storage_head(&call->request, roles->storage,
                            everywhere ? STR_EMPTY : call->path.name_space, name);
        if (role && has_rules(&check, json_get(json_root(role), "rules")))
                return 0;
        return refuse(call);
}
