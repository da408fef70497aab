// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/alias.h"
#include "apiserver/columns.h"
#include "apiserver/server.h"
#include "kinds/convert.h"
#include "json/edit.h"
#include "json/writer.h"

int render_convert(const struct api_resource *resource, struct json_doc *doc, struct str to_version,
                   struct error *error, struct json_doc **ret_doc)
{
        struct str api_version = json_string(json_get(json_root(doc), "apiVersion"));
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        struct str group, from;

        if (resource->target) {
                _cleanup_doc_ struct json_doc *target = NULL;
                int r = render_convert(resource->target, doc, resource->alias->target_version,
                                       error, &target);
                return r < 0 ? r : resource->alias->from_target(target, ret_doc);
        }
        api_version_split(api_version, &group, &from);
        if (str_equal(from, to_version)) {
                *ret_doc = json_doc_ref(doc);
                return 0;
        }
        if (resource->kind_known)
                return kind_convert(resource->kind_known, doc, to_version, error, ret_doc);
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/apiVersion",
                             api_group_version(&arena, resource->group, to_version));
        return json_edit_apply(&edit, ret_doc);
}

/* A row: the cells, and of the object what ?includeObject= asked for (its metadata). */
static int write_row(struct api_call *call, struct json_doc *doc, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_key(&writer, STR("cells"));
        columns_write_cells(&writer, call->resource, call->version, json_root(doc), call->now_ns);
        json_key(&writer, STR("object"));
        if (call->options.table_objects == TABLE_OBJECT)
                json_write_value(&writer, json_root(doc));
        else if (call->options.table_objects == TABLE_METADATA)
                partial_object_metadata_write(&writer, json_root(doc));
        else
                json_write_null(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

int render_item(struct api_call *call, struct json_doc *doc, struct buffer *out)
{
        _cleanup_doc_ struct json_doc *converted = NULL;
        struct error error = {};
        struct json_writer writer;
        int r;

        if (call->form == FORM_PARTIAL) {
                json_writer_init(&writer, out);
                partial_object_metadata_write(&writer, json_root(doc));
                return json_writer_finish(&writer);
        }
        r = render_convert(call->resource, doc, call->version->name, &error, &converted);
        if (r < 0)
                return r;
        if (call->form == FORM_TABLE)
                return write_row(call, converted, out);
        return buffer_append_str(out, json_doc_text(converted));
}

static int table_begin(struct api_call *call, bool with_columns, struct buffer *out)
{
        struct json_writer writer;
        int r = buffer_append_str(out, STR("{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\","
                                           "\"columnDefinitions\":"));

        if (r < 0)
                return r;
        if (with_columns) {
                json_writer_init(&writer, out);
                table_write_definitions(&writer, &call->version->columns);
                r = json_writer_finish(&writer);
        } else {
                r = buffer_append_str(out, STR("[]"));
        }
        return r < 0 ? r : buffer_append_str(out, STR(",\"rows\":["));
}

int render_list_begin(struct api_call *call, struct buffer *out)
{
        if (call->form == FORM_TABLE)
                return table_begin(call, true, out);
        if (call->form == FORM_PARTIAL)
                return buffer_append_str(out, STR("{\"kind\":\"PartialObjectMetadataList\","
                                                  "\"apiVersion\":\"meta.k8s.io/v1\",\"items\":["));
        return buffer_printf(
                out, "{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s%s%.*s\",\"items\":[",
                STR_FORMAT(call->resource->list_kind), STR_FORMAT(call->resource->group),
                call->resource->group.length ? "/" : "", STR_FORMAT(call->version->name));
}

int render_list_end(struct api_call *call _unused_, uint64_t revision, struct str continue_token,
                    int64_t remaining, struct buffer *out)
{
        int r = buffer_printf(out, "],\"metadata\":{\"resourceVersion\":\"%llu\"",
                              (unsigned long long)revision);

        if (r == 0 && continue_token.length > 0)
                r = buffer_printf(out, ",\"continue\":\"%.*s\"", STR_FORMAT(continue_token));
        if (r == 0 && remaining > 0)
                r = buffer_printf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
        return r < 0 ? r : buffer_append_str(out, STR("}}"));
}

int render_single(struct api_call *call, struct json_doc *doc, bool with_columns,
                  struct buffer *out)
{
        struct str version = json_string(json_get(json_root(doc), "metadata", "resourceVersion"));
        int r;

        if (call->form != FORM_TABLE)
                return render_item(call, doc, out);
        r = table_begin(call, with_columns, out);
        if (r == 0)
                r = render_item(call, doc, out);
        if (r == 0)
                r = buffer_printf(out, "],\"metadata\":{\"resourceVersion\":\"%.*s\"}}",
                                  STR_FORMAT(version));
        return r;
}
