// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/gzip.h"
#include "apiserver/server.h"
#include "base/limit.h"
#include "base/log.h"
#include "base/random.h"
#include "json/writer.h"

void api_call_warn(struct api_call *call, const char *format, ...)
{
        char text[1024];
        va_list arguments;

        if (call->warning_count == API_WARNINGS_MAX)
                return;
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        struct str copy = arena_str(call->arena, str_from(text));
        if (copy.data)
                call->warnings[call->warning_count++] = copy;
}

/* RFC 9110's warn-text as Kubernetes sends it: 299 - "…", what cannot stand in a field left out. */
static struct str warning_value(struct api_call *call, struct str text)
{
        _cleanup_buffer_ struct buffer out = {};

        buffer_append_str(&out, STR("299 - \""));
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                if (c == '"' || c == '\\')
                        buffer_append_char(&out, '\\');
                if ((unsigned char)c >= 0x20 && c != 0x7f)
                        buffer_append_char(&out, c);
        }
        buffer_append_char(&out, '"');
        return arena_str(call->arena, buffer_str(&out));
}

size_t api_call_headers(struct api_call *call, const char *content_type,
                        struct http_header headers[static API_HEADERS_MAX])
{
        char id[UUID_SIZE];
        size_t count = 0;

        random_uuid(id);
        headers[count++] = (struct http_header){ STR("Content-Type"), str_from(content_type) };
        headers[count++] = (struct http_header){ STR("Cache-Control"), STR("no-cache, private") };
        struct str audit = arena_str(call->arena, str_from(id));
        if (audit.data)
                headers[count++] = (struct http_header){ STR("Audit-Id"), audit };
        if (call->status.retry_after_seconds > 0) {
                struct str seconds =
                        arena_printf(call->arena, "%d", call->status.retry_after_seconds);
                if (seconds.data)
                        headers[count++] = (struct http_header){ STR("Retry-After"), seconds };
        }
        if (call->etag.length > 0) {
                headers[count++] = (struct http_header){ STR("ETag"), call->etag };
                headers[count++] = (struct http_header){ STR("Vary"), STR("Accept") };
        }
        if (call->gzipped) {
                headers[count++] = (struct http_header){ STR("Content-Encoding"), STR("gzip") };
                headers[count++] = (struct http_header){ STR("Vary"), STR("Accept-Encoding") };
        }
        for (size_t i = 0; i < call->warning_count; i++) {
                struct str value = warning_value(call, call->warnings[i]);
                if (value.data)
                        headers[count++] = (struct http_header){ STR("Warning"), value };
        }
        return count;
}

void api_call_release(struct api_call *call)
{
        struct json_doc **docs[] = { &call->body, &call->object, &call->dry };

        for (size_t i = 0; i < ARRAY_SIZE(docs); i++) {
                if (*docs[i])
                        json_doc_unref(*docs[i]);
                *docs[i] = NULL;
        }
        if (call->resource)
                api_resource_unref(call->resource);
        call->resource = NULL;
}

static void count_answer(struct api_call *call, unsigned code)
{
        if (code >= 500)
                call->server->counters.failures++;
        else if (code >= 400)
                call->server->counters.refused++;
        else
                call->server->counters.requests++;
}

static void release_doc(void *user)
{
        json_doc_unref(user);
}

static void release_bytes(void *user)
{
        free(user);
}

static void respond(struct api_call *call, unsigned code, const char *content_type,
                    struct stream_piece piece)
{
        struct http_exchange *exchange = call->exchange;
        struct http_header headers[API_HEADERS_MAX];
        size_t count;

        count_answer(call, code);
        api_call_release(call);
        if (piece.data.length > GZIP_FROM_BYTES && gzip_is_accepted(call) &&
            gzip_respond(call, code, content_type, piece) == 0)
                return;
        count = api_call_headers(call, content_type, headers);
        http_exchange_respond(exchange, code, headers, count, piece);
}

/* In process there is no text, only documents; none without memory. */
static void hand_over(struct api_call *call, unsigned code, struct json_doc *doc)
{
        count_answer(call, code);
        if (doc)
                json_doc_ref(doc);
        api_call_release(call);
        call->result(call, code, doc);
        if (doc)
                json_doc_unref(doc);
}

void api_call_respond_raw(struct api_call *call, unsigned code, struct json_doc *doc)
{
        if (!call->exchange) {
                hand_over(call, code, doc);
                return;
        }
        respond(call, code, "application/json",
                (struct stream_piece){ json_doc_text(doc), release_doc, json_doc_ref(doc) });
}

void api_call_respond_buffer(struct api_call *call, unsigned code, struct buffer *text)
{
        char *data;
        size_t length;

        if (!call->exchange) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                int r = json_doc_from_buffer(text, &doc);
                hand_over(call, r < 0 ? 500 : code, doc);
                return;
        }
        if (buffer_steal(text, &data, &length) < 0) {
                respond(call, 500, "text/plain", (struct stream_piece){ STR("out of memory") });
                return;
        }
        respond(call, code, call->answer_type ? call->answer_type : "application/json",
                (struct stream_piece){ { data, length }, release_bytes, data });
}

void api_call_respond_piece(struct api_call *call, unsigned code, struct stream_piece text)
{
        respond(call, code, call->answer_type ? call->answer_type : "application/json", text);
}

void api_call_respond_text(struct api_call *call, unsigned code, const char *content_type,
                           struct str text)
{
        respond(call, code, content_type, (struct stream_piece){ text });
}

void api_call_respond(struct api_call *call, unsigned code, struct json_doc *doc)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *converted = NULL;
        int r;

        if (call->form == FORM_TABLE || call->form == FORM_PARTIAL) {
                r = render_single(call, doc, true, &text);
                if (r == 0) {
                        api_call_respond_buffer(call, code, &text);
                        return;
                }
        } else {
                struct error error = {};
                r = render_convert(call->resource, doc, call->version->name, &error, &converted);
                if (r == 0) {
                        api_call_respond_raw(call, code, converted);
                        return;
                }
        }
        api_call_fail_errno(call, r);
}

void api_call_fail(struct api_call *call, const struct kube_status *status)
{
        _cleanup_buffer_ struct buffer text = {};
        unsigned code = (unsigned)status->code;

        call->status = *status;
        if (kube_status_write(status, &text) < 0) {
                if (call->exchange)
                        respond(call, code, "text/plain", (struct stream_piece){ STR_EMPTY });
                else
                        hand_over(call, code, NULL);
                return;
        }
        api_call_respond_buffer(call, code, &text);
}

#define MISTYPED "a value is of a type that this kind does not have there"

void api_call_fail_errno(struct api_call *call, int error)
{
        struct kube_status status;

        switch (error) {
        case -EBUSY:
                status = kube_status_too_many_requests(
                        call->arena, 1, "too many writes wait for the disk; try again later");
                break;
        case -ENOSPC:
                status = kube_status_internal(call->arena,
                                              "no space is left on the disk; nothing was written");
                break;
        case -EIO:
                status = kube_status_internal(call->arena, "the disk failed; the server starts "
                                                           "anew");
                break;
        case -EINVAL:
                /* An edit that runs through a scalar: where it stands is the client's doing. */
                if (call->verb == API_PATCH)
                        status = kube_status_unprocessable(call->arena, "the patch: " MISTYPED);
                else if (call->verb & (API_CREATE | API_UPDATE))
                        status = kube_status_bad_request(call->arena, MISTYPED);
                else
                        status = kube_status_from_errno(call->arena, error);
                break;
        default:
                status = kube_status_from_errno(call->arena, error);
        }
        api_call_fail(call, &status);
}

int api_call_refuse(struct api_call *call, struct kube_status status)
{
        call->status = status;
        return -EPERM;
}

/* ---- writes ---- */

struct call_write {
        int (*judge)(struct api_call *call, struct json_doc *head, struct storage_change *change);
        void (*answer)(struct api_call *call, struct json_doc *doc);
};

static int on_judge(struct storage_request *request, struct json_doc *head,
                    struct storage_change *change)
{
        struct api_call *call = container_of(request, struct api_call, request);
        struct call_write *write = call->stream;
        int r;

        call->status = (struct kube_status){};
        call->deleted = false;
        if (call->dry)
                json_doc_unref(call->dry);
        call->dry = NULL;
        r = write->judge(call, head, change);
        if (r == 0 && change->kind == STORAGE_PUT &&
            json_doc_text(change->doc).length > LIMIT_OBJECT)
                r = api_call_refuse(call, kube_status_too_large(LIMIT_OBJECT, call->arena));
        if (r == 0 && call->options.dry_run && change->kind != STORAGE_KEEP) {
                call->dry = change->doc ? change->doc : json_doc_ref(head);
                *change = (struct storage_change){};
        }
        return r;
}

static void on_done(struct storage_request *request, int result, struct json_doc *doc)
{
        struct api_call *call = container_of(request, struct api_call, request);
        struct call_write *write = call->stream;
        _cleanup_doc_ struct json_doc *dry = call->dry ? json_doc_ref(call->dry) : NULL;

        call->stream_end = NULL;
        if (result == -EPERM && call->status.code) {
                struct kube_status status = call->status;
                api_call_fail(call, &status);
        } else if (result < 0) {
                api_call_fail_errno(call, result);
        } else {
                write->answer(call, dry ? dry : doc);
        }
}

static void on_gone(struct api_call *call)
{
        storage_request_cancel(&call->request);
}

void api_call_submit(struct api_call *call,
                     int (*judge)(struct api_call *call, struct json_doc *head,
                                  struct storage_change *change),
                     void (*answer)(struct api_call *call, struct json_doc *doc))
{
        struct call_write *write = arena_new(call->arena, struct call_write, 1);

        if (!write) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        *write = (struct call_write){ judge, answer };
        call->stream = write;
        call->stream_end = on_gone;
        call->request.type = call->resource->storage;
        call->request.name_space = call->path.name_space;
        call->request.name = call->path.name;
        call->request.judge = on_judge;
        call->request.done = on_done;
        storage_submit(call->server->storage, &call->request);
}
