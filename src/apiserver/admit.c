// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/alias.h"
#include "apiserver/behaviour.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/limit.h"
#include "kube/protobuf.h"
#include "json/yaml.h"

/* ---- bodies ---- */

static int refuse_now(struct api_call *call, struct kube_status status)
{
        api_call_fail(call, &status);
        return -EPERM;
}

static int refuse_parse(struct api_call *call, int r, const struct error *error)
{
        if (r == -EFBIG)
                return refuse_now(call, kube_status_too_large(LIMIT_BODY, call->arena));
        if (r == -ENOMEM) {
                api_call_fail_errno(call, r);
                return -EPERM;
        }
        return refuse_now(
                call, kube_status_bad_request(call->arena, "the body is not valid: %s",
                                              error->message[0] ? error->message : strerror(-r)));
}

static int decode_json(struct api_call *call, struct str body, bool drop_nulls)
{
        struct json_options options = { .drop_nulls = drop_nulls };
        struct json_notes notes = {};
        struct error error = {};
        int r = json_doc_parse(body, &options, &notes, &error, &call->body);

        if (r < 0)
                return refuse_parse(call, r, &error);
        if (!notes.has_duplicate || call->options.validation == VALIDATE_IGNORE)
                return 0;
        if (call->options.validation == VALIDATE_STRICT)
                return refuse_now(call, kube_status_bad_request(
                                                call->arena,
                                                "strict decoding error: duplicate field \"%s\"",
                                                notes.duplicate));
        api_call_warn(call, "duplicate field \"%s\"", notes.duplicate);
        return 0;
}

static int decode_yaml(struct api_call *call, struct str body)
{
        struct error error = {};
        size_t offset = 0;
        int r = yaml_next(body, &offset, &error, &call->body);

        if (r == 1)
                return 0;
        if (r == 0)
                return refuse_now(call, kube_status_bad_request(call->arena, "the body is empty"));
        return refuse_parse(call, r, &error);
}

static int decode_protobuf(struct api_call *call, struct str body)
{
        _cleanup_buffer_ struct buffer text = {};
        struct error error = {};
        int r = protobuf_to_json(call->server->protobuf_fields, body, &error, &text);

        if (r < 0)
                return refuse_parse(call, r, &error);
        return decode_json(call, buffer_str(&text), true);
}

static int decode_patch(struct api_call *call, struct str type, struct str body)
{
        if (!str_equal(type, STR("application/json-patch+json")) &&
            !str_equal(type, STR("application/merge-patch+json")) &&
            (!str_equal(type, STR("application/strategic-merge-patch+json")) ||
             call->resource->custom))
                return refuse_now(
                        call, kube_status_unsupported_media_type(
                                      call->arena, call->resource->custom
                                                           ? STR("application/json-patch+json, "
                                                                 "application/merge-patch+json")
                                                           : STR("application/json-patch+json, "
                                                                 "application/merge-patch+json, "
                                                                 "application/"
                                                                 "strategic-merge-patch+json")));
        return decode_json(call, body, false);
}

int admit_decode(struct api_call *call, struct str body)
{
        struct str type, parameters;

        str_cut(call->content_type, ';', &type, &parameters);
        type = str_trim(type);
        if (call->verb == API_PATCH)
                return decode_patch(call, type, body);
        if (protobuf_is_body(body))
                return decode_protobuf(call, body);
        if (call->verb & (API_CREATE | API_UPDATE) &&
            str_equal_ignoring_case(type, STR("application/vnd.kubernetes.protobuf")))
                return refuse_now(call, kube_status_bad_request(
                                                call->arena, "provided data does not appear to be "
                                                             "a protobuf message"));
        if (call->verb & (API_DELETE | API_DELETE_COLLECTION)) {
                /* Clients say all kinds of things here; what counts is what it is. */
                return str_trim(body).length ? decode_json(call, body, true) : 0;
        }
        if (type.length == 0 || str_equal_ignoring_case(type, STR("application/json")))
                return decode_json(call, body, true);
        if (str_equal_ignoring_case(type, STR("application/yaml")))
                return decode_yaml(call, body);
        return refuse_now(call, kube_status_unsupported_media_type(
                                        call->arena, STR("application/json, application/yaml, "
                                                         "application/vnd.kubernetes.protobuf")));
}

/* ---- objects ---- */

/* Tells or refuses fields that the schema does not know. */
static int handle_unknown(struct api_call *call, struct str lines)
{
        _cleanup_buffer_ struct buffer all = {};

        if (lines.length == 0 || call->options.validation == VALIDATE_IGNORE)
                return 0;
        while (lines.length > 0) {
                struct str line;
                str_cut(lines, '\n', &line, &lines);
                if (line.length == 0)
                        continue;
                if (call->options.validation == VALIDATE_WARN)
                        api_call_warn(call, "%.*s", STR_FORMAT(line));
                else if (buffer_printf(&all, "%s%.*s", all.length ? ", " : "", STR_FORMAT(line)) <
                         0)
                        return -ENOMEM;
        }
        if (all.length == 0)
                return 0;
        if (call->verb == API_PATCH)
                return api_call_refuse(
                        call, kube_status_unprocessable(call->arena,
                                                        "the patch: strict decoding error: %.*s",
                                                        STR_FORMAT(buffer_str(&all))));
        return api_call_refuse(call,
                               kube_status_bad_request(call->arena, "strict decoding error: %.*s",
                                                       STR_FORMAT(buffer_str(&all))));
}

static int prune(struct api_call *call, struct json_doc **doc)
{
        _cleanup_buffer_ struct buffer unknown = {};
        struct json_doc *pruned;
        int r;

        if (!call->version->schema || !call->version->prunes)
                return 0;
        r = schema_prune(call->version->schema, *doc, &unknown, &pruned);
        if (r < 0)
                return r;
        json_doc_unref(*doc);
        *doc = pruned;
        return handle_unknown(call, buffer_str(&unknown));
}

static int set_defaults(struct api_call *call, struct json_doc **doc)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_doc *defaulted;
        int r;

        if (call->version->schema) {
                r = schema_default(call->version->schema, *doc, &defaulted);
                if (r < 0)
                        return r;
                json_doc_unref(*doc);
                *doc = defaulted;
        }
        if (behaviour && behaviour->set_defaults) {
                struct json_edit edit;
                json_edit_init(&edit, *doc, call->arena);
                r = behaviour->set_defaults(call->arena, json_root(*doc), &edit);
                if (r == 0)
                        r = json_edit_apply(&edit, &defaulted);
                /* It runs through a value of a wrong type: validation has the better words. */
                if (r == -EINVAL)
                        return call->version->schema ? 0 : r;
                if (r < 0)
                        return r;
                json_doc_unref(*doc);
                *doc = defaulted;
        }
        return 0;
}

int admit_prepare(struct api_call *call, struct json_doc **doc)
{
        int r = prune(call, doc);

        return r < 0 ? r : set_defaults(call, doc);
}

/*
 * A value of a wrong type in what kube-apiserver decodes into Go's structs, which is all of its own
 * kinds and everybody's metadata: it never gets as far as validation there.
 */
static const struct field_error *find_mistyped(const struct api_call *call,
                                               const struct field_errors *errors)
{
        if (call->verb == API_PATCH)
                return NULL;
        for (size_t i = 0; i < errors->count; i++) {
                const struct field_error *error = &errors->list[i];
                if (error->type == FIELD_TYPE_INVALID &&
                    (!call->resource->custom || str_starts_with(error->field, STR("metadata."))))
                        return error;
        }
        return NULL;
}

int admit_validate(struct api_call *call, struct json_doc *doc, struct json_value before)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);
        const struct field_error *mistyped;
        struct json_value root = json_root(doc);

        if (!errors)
                return -ENOMEM;
        field_errors_init(errors, call->arena);
        object_meta_validate(root, call->resource->namespaced,
                             behaviour && behaviour->check_name ? behaviour->check_name
                                                                : name_check_dns_subdomain,
                             errors);
        if (call->version->schema)
                schema_validate(call->version->schema, root, errors);
        if (behaviour && behaviour->validate)
                behaviour->validate(root, before, errors);
        if (errors->failure < 0)
                return errors->failure;
        if (errors->total == 0)
                return 0;
        mistyped = find_mistyped(call, errors);
        if (mistyped)
                return api_call_refuse(
                        call,
                        kube_status_bad_request(
                                call->arena,
                                "%.*s in version \"%.*s\" cannot be handled as a %.*s: "
                                "%.*s: %.*s",
                                STR_FORMAT(call->resource->kind), STR_FORMAT(call->version->name),
                                STR_FORMAT(call->resource->kind), STR_FORMAT(mistyped->field),
                                STR_FORMAT(mistyped->body)));
        return api_call_refuse(
                call, kube_status_invalid(call->arena, &call->named, call->path.name, errors));
}

/*
 * When the object was made, as the end of the second that its creationTimestamp tells: a time to
 * live is not begun anew by each write of the same text.
 */
static uint64_t created_ns(const struct api_call *call, struct json_doc *doc)
{
        uint64_t created;

        if (rfc3339_parse(json_string(json_get(json_root(doc), "metadata", "creationTimestamp")),
                          &created) < 0)
                return call->now_ns;
        return created + NS_PER_SECOND - 1;
}

/* An alias's object is made the target's, and admitted as one. */
static int admit_to_target(struct api_call *call, struct json_doc *doc, struct json_doc **ret_doc)
{
        const struct api_resource *alias = call->resource;
        const struct api_version *version = call->version;
        _cleanup_doc_ struct json_doc *adopted = NULL;
        struct error error = {};
        int r;

        r = alias->alias->to_target(doc, created_ns(call, doc), &error, &adopted);
        if (r == -EINVAL)
                return api_call_refuse(call,
                                       kube_status_unprocessable(call->arena, "%s", error.message));
        if (r < 0)
                return r;
        call->resource = alias->target;
        call->version = api_resource_version(alias->target, alias->alias->target_version);
        r = admit_prepare(call, &adopted);
        if (r == 0)
                r = admit_validate(call, adopted, (struct json_value){});
        if (r == 0)
                r = admit_to_storage(call, adopted, ret_doc);
        call->resource = alias;
        call->version = version;
        return r;
}

/* What conversion made must be an object that the next write in the stored version may send. */
static int validate_stored(struct api_call *call, const struct api_version *stored,
                           struct json_doc *doc)
{
        struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);

        if (!errors)
                return -ENOMEM;
        field_errors_init(errors, call->arena);
        schema_validate(stored->schema, json_root(doc), errors);
        if (errors->failure < 0)
                return errors->failure;
        if (errors->total == 0)
                return 0;
        return api_call_refuse(
                call, kube_status_invalid(call->arena, &call->named, call->path.name, errors));
}

int admit_to_storage(struct api_call *call, struct json_doc *doc, struct json_doc **ret_doc)
{
        const struct api_version *stored = call->resource->storage_version;
        _cleanup_doc_ struct json_doc *converted = NULL;
        struct error error = {};
        int r;

        if (call->resource->target)
                return admit_to_target(call, doc, ret_doc);
        r = render_convert(call->resource, doc, stored->name, &error, &converted);
        if (r == -EINVAL || r == -E2BIG)
                return api_call_refuse(call,
                                       kube_status_unprocessable(call->arena, "%s", error.message));
        if (r < 0)
                return r;
        /* The defaults of the version that is stored, or the next write would add them. */
        if (call->version != stored && stored->schema) {
                struct json_doc *defaulted;
                r = schema_default(stored->schema, converted, &defaulted);
                if (r < 0)
                        return r;
                json_doc_unref(converted);
                converted = defaulted;
                /* Where only apiVersion changes, kube-apiserver asks the request's version alone.
                 */
                if (call->resource->kind_known)
                        r = validate_stored(call, stored, converted);
                if (r < 0)
                        return r;
        }
        *ret_doc = TAKE_POINTER(converted);
        return 0;
}

/* The body's own words about what it is must fit where it was sent. */
int admit_check_type(struct api_call *call, struct json_value root)
{
        struct str kind = json_string(json_get(root, "kind"));
        struct str version = json_string(json_get(root, "apiVersion"));
        struct str expected =
                api_group_version(call->arena, call->resource->group, call->version->name);
        enum json_type metadata = json_type(json_get(root, "metadata"));

        if (json_type(root) != JSON_OBJECT)
                return api_call_refuse(
                        call, kube_status_bad_request(call->arena, "the body is no object"));
        if (metadata != JSON_OBJECT && metadata != JSON_NULL && metadata != JSON_ABSENT)
                return api_call_refuse(
                        call, kube_status_bad_request(call->arena, "metadata is no object"));
        if (call->resource->custom && (kind.length == 0 || version.length == 0))
                return api_call_refuse(
                        call,
                        kube_status_bad_request(call->arena, "Object '%s' is missing in the body",
                                                kind.length ? "apiVersion" : "Kind"));
        if (version.length > 0 && !str_equal(version, expected))
                return api_call_refuse(
                        call, kube_status_bad_request(
                                      call->arena,
                                      "the API version in the data (%.*s) does not match the "
                                      "expected API version (%.*s)",
                                      STR_FORMAT(version), STR_FORMAT(expected)));
        if (kind.length > 0 && !str_equal(kind, call->resource->kind))
                return api_call_refuse(
                        call, kube_status_bad_request(
                                      call->arena,
                                      "the kind in the data (%.*s) does not match the expected "
                                      "kind (%.*s)",
                                      STR_FORMAT(kind), STR_FORMAT(call->resource->kind)));
        return 0;
}
