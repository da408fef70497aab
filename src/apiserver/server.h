// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "apiserver/call.h"
#include "apiserver/commit_hold.h"
#include "apiserver/registry.h"
#include "apiserver/storage.h"
#include "json/writer.h"

/* The inside of the API server, for its own files. */
struct apiserver {
        struct apiserver_config config; /* its strings live in `memory` */
        struct arena memory;
        struct net_loop *loop;
        struct storage *storage;
        struct commit_hold hold;
        struct registry *registry;
        struct http_server *http;
        struct protobuf_fields *protobuf_fields;
        struct storage_type *namespaces, *pods, *service_accounts, *secrets;
        struct authorizer *authorizer;
        struct definitions *crds; /* serves what CustomResourceDefinitions say */
        struct token_cache *tokens;
        struct bootstrap *bootstrap;
        struct lag *lag;
        struct list internal_calls;
        struct list openapi_docs;
        struct list emptyings; /* of namespaces */
        uint64_t started_ns;
        bool ready;

        struct {
                uint64_t requests, failures, refused; /* 2xx and 3xx; 5xx; 4xx */
                unsigned watches;
        } counters;
};

/* ---- http.c: requests as they come ---- */

void http_on_request(void *user, struct http_exchange *exchange);
struct str http_render_error(void *user, unsigned status, struct str reason, struct buffer *body);

/* ---- route.c ---- */

/* Finds the resource and handler of an authenticated call. Whether the body is needed first. */
enum route_need {
        ROUTE_NOW,
        ROUTE_BODY,
        ROUTE_STREAM, /* the exchange is somebody else's to start */
        ROUTE_DONE,
};
enum route_need route_prepare(struct api_call *call);
void route_run(struct api_call *call);

/* ---- authn.c ---- */

int token_cache_new(struct token_cache **ret_cache);
void token_cache_free(struct token_cache *cache);

/* Who sends the request. Returns 0, or -EACCES: 401. No credentials at all are system:anonymous. */
int authenticate(struct api_call *call);

/* A ServiceAccount token or a static one; for TokenReview. Returns 0, -EACCES, -ENOMEM. */
int authenticate_token(struct apiserver *server, struct str token, struct str audience,
                       struct arena *arena, struct api_user *ret_user);

/* ---- authz.c ---- */

struct authorization {
        const struct api_user *user;
        struct str verb, group, resource, subresource, name_space, name;
        struct str path; /* of a request for no resource; else empty */
};

int authorizer_new(struct apiserver *server, struct authorizer **ret_authorizer);
void authorizer_free(struct authorizer *authorizer);
bool authorize(struct apiserver *server, const struct authorization *what);

/* Writes the rules that hold for the user, of one of the two sorts, into an array. */
void authorize_write_rules(struct apiserver *server, const struct api_user *user,
                           struct str name_space, bool non_resource, struct json_writer *writer);

/* Whether the user is of a group. */
bool api_user_is_in(const struct api_user *user, struct str group);

/* ---- admit.c: from a body to an object ---- */

/* Decodes the body (JSON, YAML, protobuf) into call->body. Returns 0, or ends the call: -EPERM. */
int admit_decode(struct api_call *call, struct str body);

/*
 * The steps from a body to a stored object. Each returns 0, -EPERM after setting call->status, or
 * another negative errno; a document is replaced in place (its reference too).
 */

/* apiVersion and kind, where the body has them, must be the path's. */
int admit_check_type(struct api_call *call, struct json_value root);

/* Removes unknown fields as ?fieldValidation= says, and puts in defaults. */
int admit_prepare(struct api_call *call, struct json_doc **doc);

/* Schema, metadata and the kind's own rules. `before` is absent on create. */
int admit_validate(struct api_call *call, struct json_doc *doc, struct json_value before);

/* From the call's version to the stored one. */
int admit_to_storage(struct api_call *call, struct json_doc *doc, struct json_doc **ret_doc);

/* ---- render.c: from a stored object to an answer ---- */

/* Converts between served versions; the same document when it is in it already. */
int render_convert(const struct api_resource *resource, struct json_doc *doc, struct str to_version,
                   struct error *error, struct json_doc **ret_doc);

/* Appends one object in the form of the call: itself, its metadata, or a row of a Table. */
int render_item(struct api_call *call, struct json_doc *doc, struct buffer *out);

/* The beginning and end of a collection in the form of the call, around items joined by commas. */
int render_list_begin(struct api_call *call, struct buffer *out);
int render_list_end(struct api_call *call, uint64_t revision, struct str continue_token,
                    int64_t remaining, struct buffer *out);

/* A whole object as a watch event or an answer has it; a Table of one row has its columns if told.
 */
int render_single(struct api_call *call, struct json_doc *doc, bool with_columns,
                  struct buffer *out);

/* ---- others ---- */

void discovery_answer(struct api_call *call);
bool discovery_is_path(struct str path);
void openapi_answer(struct api_call *call);
void openapi_free(struct apiserver *server);
void issuer_answer(struct api_call *call);
bool health_is_path(struct str path);
void health_answer_call(struct api_call *call);
void review_answer(struct api_call *call);
void token_request(struct api_call *call);
void pod_binding(struct api_call *call);
void pod_binding_by_body(struct api_call *call); /* POST bindings: the name is the body's */
void pod_eviction(struct api_call *call);

int definitions_new(struct apiserver *server, struct error *error, struct definitions **ret);
void definitions_free(struct definitions *definitions);

/* Makes what every cluster has, where it is missing. */
int bootstrap_run(struct apiserver *server, struct error *error);
void bootstrap_stop(struct apiserver *server);

/* ---- update.c, for scale and the like ---- */

/* From what was sent, a document of the call's version, to the change; `current` is the head so. */
int update_finish(struct api_call *call, struct json_doc *head, struct json_doc *current,
                  struct json_doc *sent, struct storage_change *change);

/* Whether the object is being deleted and nothing holds it any more. */
bool update_ends_deletion(struct json_value object);

/* ---- select.c: label and field selectors ---- */

/* Whether the kind knows the fields that are selected by. Returns 0, or -EINVAL with `status`. */
int select_check(struct api_call *call, struct kube_status *status);
bool select_matches(const struct api_call *call, struct json_doc *doc);

/* ---- delete.c ---- */

/* Deletes the object of the call as its options say, then answers by `then`. */
void delete_submit(struct api_call *call,
                   void (*then)(struct api_call *call, struct json_doc *doc));
