// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"
#include "json/writer.h"

/*
 * What is served: /api, /apis, /apis/<group>, /apis/<group>/<version>, and the aggregated form of
 * the first two (apidiscovery.k8s.io/v2).
 */

bool discovery_is_path(struct str path)
{
        return str_equal(path, STR("/api")) || str_starts_with(path, STR("/api/")) ||
               str_equal(path, STR("/apis")) || str_starts_with(path, STR("/apis/"));
}

static void write_strings(struct json_writer *writer, const char *key, const struct str *list,
                          size_t count)
{
        if (count == 0)
                return;
        json_field_array(writer, key);
        for (size_t i = 0; i < count; i++)
                json_write_string(writer, list[i]);
        json_end_array(writer);
}

static void write_verbs(struct json_writer *writer, unsigned verbs)
{
        static const enum api_verb order[] = { API_CREATE, API_DELETE, API_DELETE_COLLECTION,
                                               API_GET,    API_LIST,   API_PATCH,
                                               API_UPDATE, API_WATCH };

        json_field_array(writer, "verbs");
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                if (verbs & order[i])
                        json_write_string(writer, api_verb_name(order[i]));
        }
        json_end_array(writer);
}

/* Calls for every entry of the registry. */
#define for_each_resource(entry, server)                                                           \
        list_for_each (entry, registry_resources((server)->registry), in_registry)

static bool is_first_of_group(struct apiserver *server, const struct api_resource *resource)
{
        const struct api_resource *entry;

        for_each_resource(entry, server)
        {
                if (str_equal(entry->group, resource->group))
                        return entry == resource;
        }
        return false;
}

/* ---- versions of a group, most preferred first ---- */

enum { VERSIONS_MAX = 16 };

struct group_versions {
        struct str names[VERSIONS_MAX];
        size_t count;
};

static void collect_versions(struct apiserver *server, struct str group,
                             struct group_versions *versions)
{
        const struct api_resource *entry;

        versions->count = 0;
        for_each_resource(entry, server)
        {
                if (!str_equal(entry->group, group))
                        continue;
                for (size_t i = 0; i < entry->version_count; i++) {
                        bool known = !entry->versions[i].served;
                        for (size_t j = 0; j < versions->count; j++)
                                known = known ||
                                        str_equal(versions->names[j], entry->versions[i].name);
                        if (!known && versions->count < VERSIONS_MAX)
                                versions->names[versions->count++] = entry->versions[i].name;
                }
        }
}

/* ---- the old form ---- */

static void write_group_version(struct api_call *call, struct json_writer *writer, struct str group,
                                struct str version)
{
        json_begin_object(writer);
        json_field_string(writer, "groupVersion", api_group_version(call->arena, group, version));
        json_field_string(writer, "version", version);
        json_end_object(writer);
}

static bool write_group(struct api_call *call, struct json_writer *writer, struct str group)
{
        struct group_versions versions;

        collect_versions(call->server, group, &versions);
        if (versions.count == 0)
                return false;
        json_field_string(writer, "name", group);
        json_field_array(writer, "versions");
        for (size_t i = 0; i < versions.count; i++)
                write_group_version(call, writer, group, versions.names[i]);
        json_end_array(writer);
        json_key(writer, STR("preferredVersion"));
        write_group_version(call, writer, group, versions.names[0]);
        return true;
}

static void write_resource(struct json_writer *writer, struct str name,
                           const struct api_resource *resource, struct str kind, unsigned verbs)
{
        json_begin_object(writer);
        json_field_string(writer, "name", name);
        json_field_string(writer, "singularName",
                          str_equal(name, resource->plural) ? resource->singular : STR(""));
        json_field_bool(writer, "namespaced", resource->namespaced);
        json_field_string(writer, "kind", kind);
        write_verbs(writer, verbs);
}

static void write_resources(struct api_call *call, struct json_writer *writer, struct str group,
                            struct str version_name)
{
        const struct api_resource *entry;

        for_each_resource(entry, call->server)
        {
                const struct api_version *version = api_resource_version(entry, version_name);
                if (!str_equal(entry->group, group) || !version || !version->served)
                        continue;
                write_resource(writer, entry->plural, entry, entry->kind, entry->verbs);
                write_strings(writer, "shortNames", entry->short_names, entry->short_name_count);
                write_strings(writer, "categories", entry->categories, entry->category_count);
                json_end_object(writer);
                for (size_t i = 0; i < version->subresource_count; i++) {
                        const struct api_subresource *part = &version->subresources[i];
                        struct str name =
                                arena_printf(call->arena, "%.*s/%.*s", STR_FORMAT(entry->plural),
                                             STR_FORMAT(part->name));
                        write_resource(writer, name, entry, part->kind, part->verbs);
                        if (!str_equal(part->group, entry->group) ||
                            !str_equal(part->version, version->name)) {
                                json_field_string(writer, "group", part->group);
                                json_field_string(writer, "version", part->version);
                        }
                        json_end_object(writer);
                }
        }
}

static void answer_old(struct api_call *call, struct str path)
{
        bool core = str_equal(path, STR("/api")) || str_starts_with(path, STR("/api/"));
        struct str rest = str_slice(path, core ? 4 : 5, path.length), group, version;
        _cleanup_buffer_ struct buffer text = {};
        struct kube_status missing = kube_status_no_such_path();
        struct json_writer writer;
        bool found = true;

        if (str_starts_with(rest, STR("/")))
                rest = str_slice(rest, 1, rest.length);
        if (str_ends_with(rest, STR("/")))
                rest = str_slice(rest, 0, rest.length - 1);
        group = STR_EMPTY;
        version = rest;
        if (!core)
                str_cut(rest, '/', &group, &version);

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        if (rest.length == 0 && core) {
                json_field_string(&writer, "kind", STR("APIVersions"));
                json_field_raw(&writer, "versions", STR("[\"v1\"]"));
                json_field_raw(&writer, "serverAddressByClientCIDRs", STR("[]"));
        } else if (rest.length == 0) {
                const struct api_resource *entry;
                json_field_string(&writer, "kind", STR("APIGroupList"));
                json_field_string(&writer, "apiVersion", STR("v1"));
                json_field_array(&writer, "groups");
                for_each_resource(entry, call->server)
                {
                        if (entry->group.length == 0 || !is_first_of_group(call->server, entry))
                                continue;
                        json_begin_object(&writer);
                        write_group(call, &writer, entry->group);
                        json_end_object(&writer);
                }
                json_end_array(&writer);
        } else if (version.length == 0) {
                json_field_string(&writer, "kind", STR("APIGroup"));
                json_field_string(&writer, "apiVersion", STR("v1"));
                found = write_group(call, &writer, group);
        } else {
                struct group_versions versions;
                collect_versions(call->server, group, &versions);
                found = false;
                for (size_t i = 0; i < versions.count; i++)
                        found = found || str_equal(versions.names[i], version);
                json_field_string(&writer, "kind", STR("APIResourceList"));
                json_field_string(&writer, "apiVersion", STR("v1"));
                json_field_string(&writer, "groupVersion",
                                  api_group_version(call->arena, group, version));
                json_field_array(&writer, "resources");
                write_resources(call, &writer, group, version);
                json_end_array(&writer);
        }
        json_end_object(&writer);
        if (!found)
                api_call_fail(call, &missing);
        else if (json_writer_finish(&writer) < 0)
                api_call_fail_errno(call, -ENOMEM);
        else
                api_call_respond_buffer(call, 200, &text);
}

/* ---- the aggregated form ---- */

static void write_kind(struct json_writer *writer, struct str group, struct str version,
                       struct str kind)
{
        json_field_object(writer, "responseKind");
        json_field_string(writer, "group", group);
        json_field_string(writer, "version", version);
        json_field_string(writer, "kind", kind);
        json_end_object(writer);
}

static void write_aggregated_resource(struct json_writer *writer,
                                      const struct api_resource *resource,
                                      const struct api_version *version)
{
        json_begin_object(writer);
        json_field_string(writer, "resource", resource->plural);
        write_kind(writer, resource->group, version->name, resource->kind);
        json_field_string(writer, "scope",
                          resource->namespaced ? STR("Namespaced") : STR("Cluster"));
        json_field_string(writer, "singularResource", resource->singular);
        write_verbs(writer, resource->verbs);
        write_strings(writer, "shortNames", resource->short_names, resource->short_name_count);
        write_strings(writer, "categories", resource->categories, resource->category_count);
        if (version->subresource_count > 0) {
                json_field_array(writer, "subresources");
                for (size_t i = 0; i < version->subresource_count; i++) {
                        const struct api_subresource *part = &version->subresources[i];
                        json_begin_object(writer);
                        json_field_string(writer, "subresource", part->name);
                        write_kind(writer, part->group, part->version, part->kind);
                        write_verbs(writer, part->verbs);
                        json_end_object(writer);
                }
                json_end_array(writer);
        }
        json_end_object(writer);
}

static void write_aggregated_group(struct api_call *call, struct json_writer *writer,
                                   struct str group)
{
        struct group_versions versions;
        const struct api_resource *entry;

        collect_versions(call->server, group, &versions);
        json_begin_object(writer);
        json_field_object(writer, "metadata");
        if (group.length > 0)
                json_field_string(writer, "name", group);
        json_end_object(writer);
        json_field_array(writer, "versions");
        for (size_t i = 0; i < versions.count; i++) {
                json_begin_object(writer);
                json_field_string(writer, "version", versions.names[i]);
                json_field_string(writer, "freshness", STR("Current"));
                json_field_array(writer, "resources");
                for_each_resource(entry, call->server)
                {
                        const struct api_version *version =
                                api_resource_version(entry, versions.names[i]);
                        if (str_equal(entry->group, group) && version && version->served)
                                write_aggregated_resource(writer, entry, version);
                }
                json_end_array(writer);
                json_end_object(writer);
        }
        json_end_array(writer);
        json_end_object(writer);
}

static void answer_aggregated(struct api_call *call, bool core)
{
        _cleanup_buffer_ struct buffer text = {};
        const struct api_resource *entry;
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("APIGroupDiscoveryList"));
        json_field_string(&writer, "apiVersion", STR("apidiscovery.k8s.io/v2"));
        json_field_raw(&writer, "metadata", STR("{}"));
        json_field_array(&writer, "items");
        for_each_resource(entry, call->server)
        {
                if ((entry->group.length == 0) == core && is_first_of_group(call->server, entry))
                        write_aggregated_group(call, &writer, entry->group);
        }
        json_end_array(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        call->answer_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        api_call_respond_buffer(call, 200, &text);
}

void discovery_answer(struct api_call *call)
{
        struct str path = call->exchange->request.path;
        bool core = str_equal(path, STR("/api")) || str_equal(path, STR("/api/"));

        if (call->form == FORM_DISCOVERY_V2 &&
            (core || str_equal(path, STR("/apis")) || str_equal(path, STR("/apis/"))))
                answer_aggregated(call, core);
        else
                answer_old(call, path);
}
