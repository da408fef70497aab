// SPDX-License-Identifier: Apache-2.0
#include "kinds/project.h"

#include <errno.h>

#include "kinds/names.h"
#include "kube/meta.h"
#include "json/writer.h"

static bool is_ours(struct json_value entry)
{
        struct str group, version;

        api_version_split(json_string(json_get(entry, "apiVersion")), &group, &version);
        return str_ends_with(group, GROUP_AGENTS);
}

/* Of each writer of our kinds what says who came first: not which fields are whose. */
static void write_managers(struct json_writer *writer, struct json_value managers)
{
        static const char *const kept[] = { "apiVersion", "time", "subresource" };

        json_begin_array(writer);
        json_for_each (it, managers) {
                if (!is_ours(it.value))
                        continue;
                json_begin_object(writer);
                for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
                        struct json_value value = json_get(it.value, kept[i]);

                        if (json_exists(value))
                                json_field_value(writer, kept[i], value);
                }
                json_end_object(writer);
        }
        json_end_array(writer);
}

/* Whether the generation is to be read off who wrote the object. */
static bool needs_managers(struct json_value meta, struct json_value managers)
{
        if (json_exists(json_member(json_get(meta, "annotations"), ANNOTATION_GENERATION)))
                return false;
        json_for_each (it, managers) {
                if (is_ours(it.value))
                        return true;
        }
        return false;
}

static void write_meta(struct json_writer *writer, struct json_value meta)
{
        json_begin_object(writer);
        json_for_each (it, meta) {
                if (!str_equal(it.key, STR("managedFields"))) {
                        json_key(writer, it.key);
                        json_write_value(writer, it.value);
                } else if (needs_managers(meta, it.value)) {
                        json_key(writer, it.key);
                        write_managers(writer, it.value);
                }
        }
        json_end_object(writer);
}

static void write_members(struct json_writer *writer, struct json_value object,
                          const char *const *names)
{
        for (; *names; names++) {
                struct json_value value = json_get(object, *names);

                if (json_exists(value))
                        json_field_value(writer, *names, value);
        }
}

static void write_containers(struct json_writer *writer, const char *key, struct json_value list)
{
        static const char *const kept[] = { "ports", "resources", NULL };

        if (!json_exists(list))
                return;
        json_field_array(writer, key);
        json_for_each (it, list) {
                json_begin_object(writer);
                write_members(writer, it.value, kept);
                json_end_object(writer);
        }
        json_end_array(writer);
}

static void write_pod_spec(struct json_writer *writer, struct json_value spec)
{
        static const char *const kept[] = { "nodeName", "schedulingGates", NULL };

        json_begin_object(writer);
        write_members(writer, spec, kept);
        write_containers(writer, "containers", json_get(spec, "containers"));
        write_containers(writer, "initContainers", json_get(spec, "initContainers"));
        json_end_object(writer);
}

static void write_pod_status(struct json_writer *writer, struct json_value status)
{
        static const char *const kept[] = { "phase",  "reason",     "message", "podIP",
                                            "podIPs", "conditions", NULL };

        json_begin_object(writer);
        write_members(writer, status, kept);
        json_end_object(writer);
}

static void write_member(struct json_writer *writer, const struct kind *kind, struct str key,
                         struct json_value value)
{
        bool is_object = json_type(value) == JSON_OBJECT;

        json_key(writer, key);
        if (is_object && str_equal(key, STR("metadata")))
                write_meta(writer, value);
        else if (is_object && kind == &kind_pod && str_equal(key, STR("spec")))
                write_pod_spec(writer, value);
        else if (is_object && kind == &kind_pod && str_equal(key, STR("status")))
                write_pod_status(writer, value);
        else
                json_write_value(writer, value);
}

int kind_project(const struct kind *kind, const struct json_doc *doc, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        if (json_type(json_root(doc)) != JSON_OBJECT)
                return -EINVAL;
        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_for_each (it, json_root(doc))
                write_member(&writer, kind, it.key, it.value);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        return r < 0 ? r : json_doc_from_buffer(&text, ret_doc);
}
