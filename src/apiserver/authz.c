// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"

/*
 * RBAC (rbac.authorization.k8s.io/v1): nothing is allowed but what a role grants that a binding
 * gives to the user. system:masters may do everything, whatever the roles say.
 */

struct authorizer {
        struct storage_type *roles, *cluster_roles, *bindings, *cluster_bindings;
};

int authorizer_new(struct apiserver *server, struct authorizer **ret_authorizer)
{
        struct authorizer *authorizer = calloc(1, sizeof(*authorizer));
        struct str group = STR("rbac.authorization.k8s.io");

        if (!authorizer)
                return -ENOMEM;
        authorizer->roles = storage_type(server->storage, group, STR("roles"));
        authorizer->cluster_roles = storage_type(server->storage, group, STR("clusterroles"));
        authorizer->bindings = storage_type(server->storage, group, STR("rolebindings"));
        authorizer->cluster_bindings =
                storage_type(server->storage, group, STR("clusterrolebindings"));
        if (!authorizer->roles || !authorizer->cluster_roles || !authorizer->bindings ||
            !authorizer->cluster_bindings) {
                free(authorizer);
                return -ENOMEM;
        }
        *ret_authorizer = authorizer;
        return 0;
}

void authorizer_free(struct authorizer *authorizer)
{
        free(authorizer);
}

static bool list_has(struct json_value list, struct str wanted)
{
        json_for_each (it, list) {
                if (json_string_is(it.value, wanted) || json_string_is(it.value, STR("*")))
                        return true;
        }
        return false;
}

/* "pods", "pods/log", "*", and of subresources "pods/…" or the same one of any resource. */
static bool resource_matches(struct json_value list, const struct authorization *what)
{
        json_for_each (it, list) {
                struct str rule = json_string(it.value), resource, subresource;

                if (str_equal(rule, STR("*")))
                        return true;
                str_cut(rule, '/', &resource, &subresource);
                if (!str_equal(subresource, what->subresource))
                        continue;
                if (str_equal(resource, what->resource) ||
                    (subresource.length > 0 && str_equal(resource, STR("*"))))
                        return true;
        }
        return false;
}

static bool path_matches(struct json_value list, struct str path)
{
        json_for_each (it, list) {
                struct str rule = json_string(it.value);

                if (str_equal(rule, path) || str_equal(rule, STR("*")))
                        return true;
                if (str_ends_with(rule, STR("*")) &&
                    str_starts_with(path, str_slice(rule, 0, rule.length - 1)))
                        return true;
        }
        return false;
}

static bool rule_allows(struct json_value rule, const struct authorization *what)
{
        struct json_value names = json_get(rule, "resourceNames");

        if (!list_has(json_get(rule, "verbs"), what->verb))
                return false;
        if (what->path.length > 0)
                return path_matches(json_get(rule, "nonResourceURLs"), what->path);
        if (!list_has(json_get(rule, "apiGroups"), what->group) ||
            !resource_matches(json_get(rule, "resources"), what))
                return false;
        if (json_count(names) == 0)
                return true;
        json_for_each (it, names) {
                if (what->name.length > 0 && json_string_is(it.value, what->name))
                        return true;
        }
        return false;
}

static bool role_allows(struct json_doc *role, const struct authorization *what)
{
        if (!role)
                return false;
        json_for_each (it, json_get(json_root(role), "rules")) {
                if (rule_allows(it.value, what))
                        return true;
        }
        return false;
}

static bool subject_is(struct json_value subject, const struct api_user *user,
                       struct str binding_namespace)
{
        struct str kind = json_string(json_get(subject, "kind"));
        struct str name = json_string(json_get(subject, "name"));

        if (str_equal(kind, STR("User")))
                return str_equal(name, user->name);
        if (str_equal(kind, STR("Group")))
                return api_user_is_in(user, name);
        if (str_equal(kind, STR("ServiceAccount"))) {
                struct str prefix = STR("system:serviceaccount:"), rest, name_space;
                if (!str_starts_with(user->name, prefix))
                        return false;
                rest = str_slice(user->name, prefix.length, user->name.length);
                str_cut(rest, ':', &name_space, &rest);
                return str_equal(rest, name) &&
                       str_equal(name_space,
                                 json_string_or(json_get(subject, "namespace"), binding_namespace));
        }
        return false;
}

static bool binds(struct json_value binding, const struct api_user *user, struct str name_space)
{
        json_for_each (it, json_get(binding, "subjects")) {
                if (subject_is(it.value, user, name_space))
                        return true;
        }
        return false;
}

static bool binding_allows(struct authorizer *authorizer, struct json_doc *binding,
                           struct str name_space, const struct authorization *what)
{
        struct json_value root = json_root(binding);
        struct json_value reference = json_get(root, "roleRef");
        struct str name = json_string(json_get(reference, "name"));

        if (!binds(root, what->user, name_space))
                return false;
        if (json_string_is(json_get(reference, "kind"), STR("ClusterRole")))
                return role_allows(storage_get(authorizer->cluster_roles, STR_EMPTY, name), what);
        return name_space.length > 0 &&
               role_allows(storage_get(authorizer->roles, name_space, name), what);
}

static bool any_binding_allows(struct authorizer *authorizer, struct storage_type *bindings,
                               struct str name_space, const struct authorization *what)
{
        struct storage_list list;
        struct json_doc *doc;
        bool allowed = false;

        if (storage_list_begin(&list, bindings, name_space, 0, STR_EMPTY, STR_EMPTY) < 0)
                return false;
        while (!allowed && storage_list_next(&list, &doc) == 1)
                allowed = binding_allows(authorizer, doc, name_space, what);
        storage_list_end(&list);
        return allowed;
}

/* ---- SelfSubjectRulesReview ---- */

static void write_role(struct json_doc *role, bool non_resource, struct json_writer *writer)
{
        if (!role)
                return;
        json_for_each (it, json_get(json_root(role), "rules")) {
                bool urls = json_count(json_get(it.value, "nonResourceURLs")) > 0;
                if (urls == non_resource)
                        json_write_value(writer, it.value);
        }
}

static void write_bindings(struct authorizer *authorizer, struct storage_type *bindings,
                           struct str name_space, const struct api_user *user, bool non_resource,
                           struct json_writer *writer)
{
        struct storage_list list;
        struct json_doc *doc;

        if (storage_list_begin(&list, bindings, name_space, 0, STR_EMPTY, STR_EMPTY) < 0)
                return;
        while (storage_list_next(&list, &doc) == 1) {
                struct json_value reference = json_get(json_root(doc), "roleRef");
                struct str name = json_string(json_get(reference, "name"));

                if (!binds(json_root(doc), user, name_space))
                        continue;
                if (json_string_is(json_get(reference, "kind"), STR("ClusterRole")))
                        write_role(storage_get(authorizer->cluster_roles, STR_EMPTY, name),
                                   non_resource, writer);
                else
                        write_role(storage_get(authorizer->roles, name_space, name), non_resource,
                                   writer);
        }
        storage_list_end(&list);
}

void authorize_write_rules(struct apiserver *server, const struct api_user *user,
                           struct str name_space, bool non_resource, struct json_writer *writer)
{
        struct authorizer *authorizer = server->authorizer;

        write_bindings(authorizer, authorizer->cluster_bindings, STR_EMPTY, user, non_resource,
                       writer);
        if (name_space.length > 0)
                write_bindings(authorizer, authorizer->bindings, name_space, user, non_resource,
                               writer);
}

/* ---- one question ---- */

bool authorize(struct apiserver *server, const struct authorization *what)
{
        struct authorizer *authorizer = server->authorizer;

        if (api_user_is_in(what->user, STR("system:masters")))
                return true;
        if (any_binding_allows(authorizer, authorizer->cluster_bindings, STR_EMPTY, what))
                return true;
        return what->name_space.length > 0 && what->path.length == 0 &&
               any_binding_allows(authorizer, authorizer->bindings, what->name_space, what);
}

bool apiserver_is_allowed(struct apiserver *server, const struct api_user *user, struct str verb,
                          struct str group, struct str resource, struct str subresource,
                          struct str name_space, struct str name)
{
        struct authorization what = { user,        verb,       group, resource,
                                      subresource, name_space, name,  STR_EMPTY };

        return authorize(server, &what);
}
