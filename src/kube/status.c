// SPDX-License-Identifier: Apache-2.0
#include "kube/status.h"

#include <errno.h>

/* ---- field errors ---- */

static const struct {
        const char *reason; /* metav1.CauseType */
        const char *name;
        bool without_value;
} field_error_types[] = {
        [FIELD_REQUIRED] = { "FieldValueRequired", "Required value", true },
        [FIELD_INVALID] = { "FieldValueInvalid", "Invalid value", false },
        [FIELD_TYPE_INVALID] = { "FieldValueTypeInvalid", "Invalid value", false },
        [FIELD_NOT_SUPPORTED] = { "FieldValueNotSupported", "Unsupported value", false },
        [FIELD_DUPLICATE] = { "FieldValueDuplicate", "Duplicate value", false },
        [FIELD_FORBIDDEN] = { "FieldValueForbidden", "Forbidden", true },
        [FIELD_NOT_FOUND] = { "FieldValueNotFound", "Not found", false },
        [FIELD_TOO_LONG] = { "FieldValueTooLong", "Too long", true },
        [FIELD_TOO_MANY] = { "FieldValueTooMany", "Too many", false },
};

/* What is printed of a value. */
enum { FIELD_VALUE_MAX = 1024 };

void field_errors_init(struct field_errors *errors, struct arena *arena)
{
        errors->arena = arena;
        errors->count = errors->total = 0;
        errors->failure = 0;
}

static void add_error(struct field_errors *errors, enum field_error_type type, struct str field,
                      struct str value, const char *format, va_list arguments)
{
        _cleanup_buffer_ struct buffer body = {};
        int r = buffer_append_str(&body, str_from(field_error_types[type].name));

        errors->total++;
        if (errors->count == FIELD_ERRORS_MAX)
                return;
        value.length = MIN(value.length, (size_t)FIELD_VALUE_MAX);
        if (r == 0 && value.length > 0 && !field_error_types[type].without_value)
                r = buffer_printf(&body, ": %.*s", STR_FORMAT(value));
        size_t before = body.length;
        if (r == 0)
                r = buffer_append_str(&body, STR(": "));
        size_t start = body.length;
        if (r == 0)
                r = buffer_vprintf(&body, format, arguments);
        if (r == 0 && body.length == start)
                body.length = before;

        struct str field_copy = arena_str(errors->arena, field);
        struct str body_copy = r < 0 ? STR_EMPTY : arena_str(errors->arena, buffer_str(&body));
        if (!field_copy.data || !body_copy.data) {
                errors->failure = -ENOMEM;
                return;
        }
        errors->list[errors->count++] = (struct field_error){ type, field_copy, body_copy };
}

void field_errors_add(struct field_errors *errors, enum field_error_type type, struct str field,
                      struct json_value value, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        add_error(errors, type, field, json_text(value), format, arguments);
        va_end(arguments);
}

void field_errors_add_string(struct field_errors *errors, enum field_error_type type,
                             struct str field, struct str value, const char *format, ...)
{
        _cleanup_buffer_ struct buffer quoted = {};
        struct json_writer writer;
        va_list arguments;

        json_writer_init(&writer, &quoted);
        json_write_string(&writer, value);
        if (json_writer_finish(&writer) < 0)
                errors->failure = -ENOMEM;
        va_start(arguments, format);
        add_error(errors, type, field, buffer_str(&quoted), format, arguments);
        va_end(arguments);
}

/* ---- constructors ---- */

/* "sandboxes.agents.x-k8s.io", or "pods" */
#define GROUP_FORMAT     "%.*s%s%.*s"
#define GROUP_ARGS(a, b) STR_FORMAT(a), (b).length ? "." : "", STR_FORMAT(b)
#define RESOURCE_FORMAT  GROUP_FORMAT
#define RESOURCE_ARGS(r) GROUP_ARGS((r)->resource, (r)->group)

static struct kube_status about(int code, const char *reason, const struct kube_resource *resource,
                                struct str name)
{
        return (struct kube_status){
                .code = code,
                .reason = reason,
                .name = name,
                .group = resource ? resource->group : STR_EMPTY,
                .kind = resource ? resource->resource : STR_EMPTY,
        };
}

struct kube_status kube_status_success(void)
{
        return (struct kube_status){ .code = 200, .success = true };
}

struct kube_status kube_status_not_found(struct arena *arena, const struct kube_resource *resource,
                                         struct str name)
{
        struct kube_status status = about(404, "NotFound", resource, name);

        status.message = arena_printf(arena, RESOURCE_FORMAT " \"%.*s\" not found",
                                      RESOURCE_ARGS(resource), STR_FORMAT(name));
        return status;
}

struct kube_status kube_status_no_such_path(void)
{
        return (struct kube_status){
                .code = 404,
                .reason = "NotFound",
                .message = STR("the server could not find the requested resource"),
        };
}

struct kube_status kube_status_already_exists(struct arena *arena,
                                              const struct kube_resource *resource, struct str name)
{
        struct kube_status status = about(409, "AlreadyExists", resource, name);

        status.message = arena_printf(arena, RESOURCE_FORMAT " \"%.*s\" already exists",
                                      RESOURCE_ARGS(resource), STR_FORMAT(name));
        return status;
}

struct kube_status kube_status_conflict(struct arena *arena, const struct kube_resource *resource,
                                        struct str name, struct str why)
{
        struct kube_status status = about(409, "Conflict", resource, name);

        if (why.length == 0)
                why = STR("the object has been modified; please apply your changes to the latest "
                          "version and try again");
        status.message = arena_printf(
                arena, "Operation cannot be fulfilled on " RESOURCE_FORMAT " \"%.*s\": %.*s",
                RESOURCE_ARGS(resource), STR_FORMAT(name), STR_FORMAT(why));
        return status;
}

static bool same_as_before(const struct field_errors *errors, size_t index)
{
        for (size_t i = 0; i < index; i++)
                if (str_equal(errors->list[i].field, errors->list[index].field) &&
                    str_equal(errors->list[i].body, errors->list[index].body))
                        return true;
        return false;
}

/* One as it is, several as "[a, b]", each once. */
static int write_field_errors(const struct field_errors *errors, struct buffer *out)
{
        size_t start = out->length, written = 0;
        int r = 0;

        for (size_t i = 0; i < errors->count && r == 0; i++) {
                const struct field_error *cause = &errors->list[i];
                if (same_as_before(errors, i))
                        continue;
                if (written++ > 0)
                        r = buffer_append_str(out, STR(", "));
                if (r == 0)
                        r = buffer_printf(out, "%.*s%s%.*s", STR_FORMAT(cause->field),
                                          cause->field.length > 0 ? ": " : "",
                                          STR_FORMAT(cause->body));
        }
        if (r < 0 || written < 2)
                return r;
        r = buffer_append_str(out, STR("[]"));
        if (r == 0) {
                memmove(out->data + start + 1, out->data + start, out->length - start - 2);
                out->data[start] = '[';
        }
        return r;
}

struct kube_status kube_status_invalid(struct arena *arena, const struct kube_resource *resource,
                                       struct str name, const struct field_errors *errors)
{
        _cleanup_buffer_ struct buffer text = {};
        struct kube_status status = {
                .code = 422,
                .reason = "Invalid",
                .name = name,
                .group = resource->group,
                .kind = resource->kind,
                .causes = errors->list,
                .cause_count = errors->count,
        };

        if (buffer_printf(&text, GROUP_FORMAT " \"%.*s\" is invalid: ",
                          GROUP_ARGS(resource->kind, resource->group), STR_FORMAT(name)) == 0 &&
            write_field_errors(errors, &text) == 0)
                status.message = arena_str(arena, buffer_str(&text));
        return status;
}

static struct kube_status with_message(struct arena *arena, int code, const char *reason,
                                       const char *format, va_list arguments)
{
        _cleanup_buffer_ struct buffer text = {};
        struct kube_status status = { .code = code, .reason = reason };

        if (buffer_vprintf(&text, format, arguments) == 0)
                status.message = arena_str(arena, buffer_str(&text));
        return status;
}

struct kube_status kube_status_unprocessable(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 422, "Invalid", format, arguments);
        va_end(arguments);
        return status;
}

struct kube_status kube_status_bad_request(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 400, "BadRequest", format, arguments);
        va_end(arguments);
        return status;
}

struct kube_status kube_status_unauthorized(void)
{
        return (struct kube_status){
                .code = 401,
                .reason = "Unauthorized",
                .message = STR("Unauthorized"),
        };
}

struct kube_status kube_status_forbidden(struct arena *arena, const struct kube_resource *resource,
                                         struct str name, struct str why)
{
        struct kube_status status = about(403, "Forbidden", resource, name);

        if (!resource)
                status.message = arena_printf(arena, "forbidden: %.*s", STR_FORMAT(why));
        else if (name.length == 0)
                status.message = arena_printf(arena, RESOURCE_FORMAT " is forbidden: %.*s",
                                              RESOURCE_ARGS(resource), STR_FORMAT(why));
        else
                status.message =
                        arena_printf(arena, RESOURCE_FORMAT " \"%.*s\" is forbidden: %.*s",
                                     RESOURCE_ARGS(resource), STR_FORMAT(name), STR_FORMAT(why));
        return status;
}

struct kube_status kube_status_method_not_allowed(struct arena *arena,
                                                  const struct kube_resource *resource,
                                                  struct str verb)
{
        struct kube_status status = about(405, "MethodNotAllowed", resource, STR_EMPTY);

        if (resource)
                status.message = arena_printf(arena,
                                              "%.*s is not supported on resources of kind "
                                              "\"" RESOURCE_FORMAT "\"",
                                              STR_FORMAT(verb), RESOURCE_ARGS(resource));
        else
                status.message = STR("the server does not allow this method on the requested "
                                     "resource");
        return status;
}

struct kube_status kube_status_not_acceptable(void)
{
        return (struct kube_status){
                .code = 406,
                .reason = "NotAcceptable",
                .message = STR("only the following media types are accepted: application/json, "
                               "application/yaml"),
        };
}

struct kube_status kube_status_expired(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 410, "Expired", format, arguments);
        va_end(arguments);
        return status;
}

struct kube_status kube_status_too_large(size_t limit, struct arena *arena)
{
        return (struct kube_status){
                .code = 413,
                .reason = "RequestEntityTooLarge",
                .message = arena_printf(arena, "Request entity too large: limit is %zu", limit),
        };
}

struct kube_status kube_status_unsupported_media_type(struct arena *arena, struct str accepted)
{
        return (struct kube_status){
                .code = 415,
                .reason = "UnsupportedMediaType",
                .message = arena_printf(arena,
                                        "the body of the request was in an unknown format - "
                                        "accepted media types include: %.*s",
                                        STR_FORMAT(accepted)),
        };
}

struct kube_status kube_status_too_many_requests(struct arena *arena, int retry_after_seconds,
                                                 const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 429, "TooManyRequests", format, arguments);
        va_end(arguments);
        status.retry_after_seconds = retry_after_seconds;
        return status;
}

struct kube_status kube_status_internal(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 500, "InternalError", format, arguments);
        va_end(arguments);
        status.message =
                arena_printf(arena, "Internal error occurred: %.*s", STR_FORMAT(status.message));
        return status;
}

struct kube_status kube_status_unavailable(struct arena *arena, int retry_after_seconds,
                                           const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status =
                with_message(arena, 503, "ServiceUnavailable", format, arguments);
        va_end(arguments);
        status.retry_after_seconds = retry_after_seconds;
        return status;
}

struct kube_status kube_status_timeout(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        struct kube_status status = with_message(arena, 504, "Timeout", format, arguments);
        va_end(arguments);
        return status;
}

struct kube_status kube_status_from_errno(struct arena *arena, int error)
{
        return kube_status_internal(arena, "%s", strerror(error < 0 ? -error : error));
}

/* ---- writing and reading ---- */

static void write_text(struct json_writer *writer, const char *key, struct str text)
{
        if (text.length > 0)
                json_field_string(writer, key, text);
}

static void write_details(struct json_writer *writer, const struct kube_status *status)
{
        json_field_object(writer, "details");
        write_text(writer, "name", status->name);
        write_text(writer, "group", status->group);
        write_text(writer, "kind", status->kind);
        write_text(writer, "uid", status->uid);
        if (status->cause_count > 0) {
                json_field_array(writer, "causes");
                for (size_t i = 0; i < status->cause_count; i++) {
                        const struct field_error *cause = &status->causes[i];
                        json_begin_object(writer);
                        json_field_string(writer, "reason",
                                          str_from(field_error_types[cause->type].reason));
                        json_field_string(writer, "message", cause->body);
                        json_field_string(writer, "field", cause->field);
                        json_end_object(writer);
                }
                json_end_array(writer);
        }
        if (status->retry_after_seconds > 0)
                json_field_int(writer, "retryAfterSeconds", status->retry_after_seconds);
        json_end_object(writer);
}

int kube_status_write(const struct kube_status *status, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("Status"));
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_raw(&writer, "metadata", STR("{}"));
        json_field_string(&writer, "status", status->success ? STR("Success") : STR("Failure"));
        write_text(&writer, "message", status->message);
        if (status->reason)
                json_field_string(&writer, "reason", str_from(status->reason));
        if (status->name.length > 0 || status->kind.length > 0 || status->group.length > 0 ||
            status->uid.length > 0 || status->cause_count > 0 || status->retry_after_seconds > 0 ||
            status->code == 404)
                write_details(&writer, status);
        json_field_int(&writer, "code", status->code);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

void kube_status_read(struct json_value status, struct kube_status_view *ret_view)
{
        int64_t code = json_int64_or(json_get(status, "code"), 0);
        int64_t retry = json_int64_or(json_get(status, "details", "retryAfterSeconds"), 0);

        *ret_view = (struct kube_status_view){
                .code = (int)MIN(MAX(code, 0), 999),
                .reason = json_string(json_get(status, "reason")),
                .message = json_string(json_get(status, "message")),
                .retry_after_seconds = (int)MIN(MAX(retry, 0), 3600),
        };
}
