// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "base/random.h"
#include "crypto/jwt.h"
#include "json/edit.h"
#include "json/writer.h"

/* serviceaccounts/token, and the documents by which others verify what it gives out. */

enum {
        TOKEN_MIN_SECONDS = 600,
        TOKEN_DEFAULT_SECONDS = 3600,
        TOKEN_MAX_SECONDS = 365 * 24 * 3600,
};

static void write_reference(struct json_writer *writer, const char *key, struct str name,
                            struct str uid)
{
        json_field_object(writer, key);
        json_field_string(writer, "name", name);
        json_field_string(writer, "uid", uid);
        json_end_object(writer);
}

/* What the token is bound to: exists, and has the uid that was asked for. */
static int find_bound(struct api_call *call, struct json_value reference, const char **ret_key,
                      struct str *ret_uid)
{
        struct str kind = json_string(json_get(reference, "kind"));
        struct str name = json_string(json_get(reference, "name"));
        struct str uid = json_string(json_get(reference, "uid")), actual;
        struct storage_type *type = NULL;
        struct json_doc *doc;

        if (str_equal(kind, STR("Pod"))) {
                type = call->server->pods;
                *ret_key = "pod";
        } else if (str_equal(kind, STR("Secret"))) {
                type = call->server->secrets;
                *ret_key = "secret";
        } else {
                return api_call_refuse(
                        call, kube_status_bad_request(call->arena,
                                                      "cannot bind token for serviceaccount to "
                                                      "object of kind %.*s",
                                                      STR_FORMAT(kind)));
        }
        doc = storage_get(type, call->path.name_space, name);
        if (!doc) {
                struct kube_resource named = { .resource = type == call->server->pods
                                                                   ? STR("pods")
                                                                   : STR("secrets") };
                return api_call_refuse(call, kube_status_not_found(call->arena, &named, name));
        }
        actual = json_string(json_get(json_root(doc), "metadata", "uid"));
        if (uid.length > 0 && !str_equal(uid, actual)) {
                struct str why = arena_printf(
                        call->arena,
                        "the UID in the bound object reference (%.*s) does not match the UID in "
                        "record. The object might have been deleted and then recreated",
                        STR_FORMAT(uid));
                return api_call_refuse(call, kube_status_conflict(call->arena, &call->named,
                                                                  call->path.name, why));
        }
        *ret_uid = actual;
        return 0;
}

static int write_claims(struct api_call *call, struct json_doc *account, struct json_value spec,
                        uint64_t now, uint64_t expires, struct buffer *out)
{
        struct json_value audiences = json_get(spec, "audiences");
        struct json_value reference = json_get(spec, "boundObjectRef");
        const char *bound_key = NULL;
        struct str bound_uid = STR_EMPTY;
        struct json_writer writer;
        char id[UUID_SIZE];

        if (json_exists(reference)) {
                int r = find_bound(call, reference, &bound_key, &bound_uid);
                if (r < 0)
                        return r;
        }
        random_uuid(id);
        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_array(&writer, "aud");
        json_for_each (it, audiences)
                json_write_value(&writer, it.value);
        if (json_count(audiences) == 0)
                json_write_string(&writer, call->server->config.issuer);
        json_end_array(&writer);
        json_field_int(&writer, "exp", (int64_t)expires);
        json_field_int(&writer, "iat", (int64_t)now);
        json_field_string(&writer, "iss", call->server->config.issuer);
        json_field_string(&writer, "jti", str_from(id));
        json_field_object(&writer, "kubernetes.io");
        json_field_string(&writer, "namespace", call->path.name_space);
        if (bound_key)
                write_reference(&writer, bound_key, json_string(json_get(reference, "name")),
                                bound_uid);
        write_reference(&writer, "serviceaccount", call->path.name,
                        json_string(json_get(json_root(account), "metadata", "uid")));
        json_end_object(&writer);
        json_field_int(&writer, "nbf", (int64_t)now);
        json_field_string(&writer, "sub",
                          arena_printf(call->arena, "system:serviceaccount:%.*s:%.*s",
                                       STR_FORMAT(call->path.name_space),
                                       STR_FORMAT(call->path.name)));
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int make_token(struct api_call *call, struct json_doc *account, struct json_doc **ret_doc)
{
        struct json_value spec = json_get(json_root(call->body), "spec");
        int64_t seconds = json_int64_or(json_get(spec, "expirationSeconds"), TOKEN_DEFAULT_SECONDS);
        uint64_t now = call->now_ns / NS_PER_SECOND, expires;
        _cleanup_buffer_ struct buffer claims = {}, token = {};
        char time[RFC3339_SECONDS_SIZE];
        struct json_edit edit;
        int r;

        if (call->server->config.jwt_key_count == 0)
                return -EOPNOTSUPP;
        if (seconds < TOKEN_MIN_SECONDS || seconds > TOKEN_MAX_SECONDS) {
                struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);
                if (!errors)
                        return -ENOMEM;
                field_errors_init(errors, call->arena);
                field_errors_add(errors, FIELD_INVALID, STR("spec.expirationSeconds"),
                                 json_get(spec, "expirationSeconds"),
                                 seconds < TOKEN_MIN_SECONDS
                                         ? "may not specify a duration less than 10 minutes"
                                         : "may not specify a duration larger than one year");
                return api_call_refuse(
                        call, kube_status_invalid(call->arena, &call->named, STR_EMPTY, errors));
        }
        expires = now + (uint64_t)seconds;
        r = write_claims(call, account, spec, now, expires, &claims);
        if (r == 0)
                r = jwt_sign(call->server->config.jwt_keys[0], buffer_str(&claims), &token);
        if (r < 0)
                return r;
        rfc3339_format_seconds(expires * NS_PER_SECOND, time);
        json_edit_init(&edit, call->body, call->arena);
        json_edit_set_string(&edit, "/kind", STR("TokenRequest"));
        json_edit_set_string(&edit, "/apiVersion", STR("authentication.k8s.io/v1"));
        json_edit_set_string(&edit, "/metadata/name", call->path.name);
        json_edit_set_string(&edit, "/metadata/namespace", call->path.name_space);
        json_edit_set_int(&edit, "/spec/expirationSeconds", seconds);
        json_edit_set_string(&edit, "/status/token", buffer_str(&token));
        json_edit_set_string(&edit, "/status/expirationTimestamp", str_from(time));
        return json_edit_apply(&edit, ret_doc);
}

void token_request(struct api_call *call)
{
        struct json_doc *account =
                storage_get(call->resource->storage, call->path.name_space, call->path.name);
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct kube_status status;
        int r;

        if (!account) {
                status = kube_status_not_found(call->arena, &call->named, call->path.name);
                api_call_fail(call, &status);
                return;
        }
        r = make_token(call, account, &doc);
        if (r == -EPERM && call->status.code) {
                status = call->status;
                api_call_fail(call, &status);
        } else if (r < 0) {
                api_call_fail_errno(call, r);
        } else {
                api_call_respond_raw(call, 201, doc);
        }
}

/* ---- for those who verify tokens themselves (OpenID Connect Discovery 1.0) ---- */

static void answer_configuration(struct api_call *call)
{
        struct str issuer = call->server->config.issuer;
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "issuer", issuer);
        json_field_string(&writer, "jwks_uri",
                          arena_printf(call->arena, "%.*s/openid/v1/jwks", STR_FORMAT(issuer)));
        json_field_raw(&writer, "response_types_supported", STR("[\"id_token\"]"));
        json_field_raw(&writer, "subject_types_supported", STR("[\"public\"]"));
        json_field_raw(&writer, "id_token_signing_alg_values_supported", STR("[\"ES256\"]"));
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                api_call_fail_errno(call, -ENOMEM);
        else
                api_call_respond_buffer(call, 200, &text);
}

static void answer_keys(struct api_call *call)
{
        const struct apiserver_config *config = &call->server->config;
        _cleanup_buffer_ struct buffer text = {};
        int r = buffer_append_str(&text, STR("{\"keys\":["));

        for (size_t i = 0; r == 0 && i < config->jwt_key_count; i++) {
                if (i > 0)
                        r = buffer_append_char(&text, ',');
                if (r == 0)
                        r = jwt_key_append_jwk(config->jwt_keys[i], &text);
        }
        if (r == 0)
                r = buffer_append_str(&text, STR("]}"));
        if (r < 0) {
                api_call_fail_errno(call, r);
                return;
        }
        call->answer_type = "application/jwk-set+json";
        api_call_respond_buffer(call, 200, &text);
}

void issuer_answer(struct api_call *call)
{
        struct str path = call->exchange->request.path;
        struct kube_status status = kube_status_no_such_path();

        if (str_equal(path, STR("/.well-known/openid-configuration")))
                answer_configuration(call);
        else if (str_equal(path, STR("/openid/v1/jwks")))
                answer_keys(call);
        else
                api_call_fail(call, &status);
}
