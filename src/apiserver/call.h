// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "apiserver/apiserver.h"
#include "apiserver/registry.h"
#include "apiserver/storage.h"
#include "kube/meta.h"
#include "kube/selector.h"
#include "kube/status.h"

/* ---- where a request goes ---- */

/* A path of the Kubernetes API, decoded. Views into the request or its arena. */
struct api_path {
        bool is_resource; /* else everything below is empty */
        struct str group, version, resource, subresource, name_space, name;
        struct str rest; /* behind the subresource (proxy), without its first slash */
};

/*
 *     /api/v1/namespaces/default/pods/a/log      /apis/apps/v1/deployments
 * A path of another form is no resource. Returns 0, -EINVAL (bad escapes, "." or "..") or -ENOMEM.
 */
int api_path_parse(struct str path, struct arena *arena, struct api_path *ret_path);

/* ---- what it asks for ---- */

enum api_version_match { MATCH_UNSET, MATCH_EXACT, MATCH_NOT_OLDER };
enum api_validation { VALIDATE_WARN, VALIDATE_IGNORE, VALIDATE_STRICT };
enum api_propagation {
        PROPAGATE_DEFAULT,
        PROPAGATE_BACKGROUND,
        PROPAGATE_FOREGROUND,
        PROPAGATE_ORPHAN
};

/* What a Table's rows carry of their objects (?includeObject=). */
enum api_table_objects { TABLE_METADATA, TABLE_OBJECT, TABLE_NONE };

/* The query's parameters (metav1.ListOptions, CreateOptions, DeleteOptions …). */
struct api_options {
        struct label_selector labels;
        struct field_selector fields;
        bool has_selector;
        uint64_t limit; /* 0: none */
        struct str continue_token;
        bool has_resource_version;
        uint64_t resource_version;
        enum api_version_match match;
        bool watch, bookmarks, send_initial, has_send_initial;
        uint64_t timeout_seconds; /* 0: none */
        bool dry_run;
        struct str field_manager;
        enum api_validation validation;
        int64_t grace_seconds; /* -1: none */
        enum api_propagation propagation;
        enum api_table_objects table_objects;
        struct str uid, precondition_version; /* preconditions; data NULL: none */
};

/* Returns 0, or -EINVAL after setting `status`. */
int api_options_parse(struct str query, struct arena *arena, struct api_options *ret_options,
                      struct kube_status *status);

/* Adds what a DeleteOptions body says, over the query. Errors as above. */
int api_options_add_delete(struct json_value body, struct api_options *options, struct arena *arena,
                           struct kube_status *status);

/* How the answer is to look (Accept). */
enum api_form {
        FORM_OBJECT,
        FORM_TABLE,
        FORM_PARTIAL,       /* PartialObjectMetadata or …List */
        FORM_DISCOVERY_V2,  /* APIGroupDiscoveryList */
        FORM_PROTOBUF_ONLY, /* nothing that we can write: 406, or 200 for OpenAPI v2 */
};
enum api_form api_accept_parse(struct str accept);

/* ---- one request ---- */

enum { API_WARNINGS_MAX = 16 };

struct api_call {
        struct apiserver *server;
        struct arena *arena;            /* lives as long as the call */
        struct http_exchange *exchange; /* NULL: in process */

        /* In process: the answer, once. `doc` is an object or a Status; borrowed. */
        void (*result)(struct api_call *call, unsigned code, struct json_doc *doc);

        struct str method;
        struct api_path path;
        struct api_options options;
        enum api_form form;
        enum api_verb verb;
        struct str content_type;
        struct str user_agent;
        struct api_user user;
        bool is_admin; /* of system:masters: everything is allowed */

        /* The resource, held for the call. */
        const struct api_resource *resource;
        const struct api_version *version;
        const struct api_subresource *subresource; /* NULL: none */
        struct kube_resource named;                /* for messages */

        struct json_doc *body;   /* as it was decoded */
        struct json_doc *object; /* body as admitted, in the storage version */
        struct json_doc *dry;    /* what a dry run would have stored */

        /* The verdict of a write. */
        struct storage_request request;
        struct kube_status status; /* why it was refused */
        struct field_errors *errors;
        bool created;    /* an update that made the object */
        bool deleted;    /* nothing of the object is left */
        unsigned tries;  /* of generated names */
        uint64_t now_ns; /* realtime, when the request came */

        const char *answer_type; /* Content-Type of JSON answers; NULL: application/json */
        bool gzipped;            /* Content-Encoding: gzip */
        struct str etag;         /* quoted; empty: none. Such an answer depends on Accept */
        struct str warnings[API_WARNINGS_MAX];
        size_t warning_count;

        void *stream;                         /* the handler's own, when the answer takes long */
        void (*drain)(struct api_call *call); /* the client takes more; NULL: not wanted */
        void (*stream_end)(struct api_call *call); /* releases it; the exchange ends or is gone */
};

/* ---- answering: each ends the call ---- */

/* An object in the storage version, brought into the form that was asked for. */
void api_call_respond(struct api_call *call, unsigned code, struct json_doc *doc);

/* A document as it is. */
void api_call_respond_raw(struct api_call *call, unsigned code, struct json_doc *doc);

/* JSON text; the buffer is emptied. */
void api_call_respond_buffer(struct api_call *call, unsigned code, struct buffer *text);

/* Text that somebody else holds, of call->answer_type. */
void api_call_respond_piece(struct api_call *call, unsigned code, struct stream_piece text);

void api_call_respond_text(struct api_call *call, unsigned code, const char *content_type,
                           struct str text);

void api_call_fail(struct api_call *call, const struct kube_status *status);
void api_call_fail_errno(struct api_call *call, int error);

/* Sets the status that a refused verdict answers with. Returns -EPERM, for a judge to return. */
int api_call_refuse(struct api_call *call, struct kube_status status);

/* Submits call->request and answers by its outcome: the object with `code`. */
void api_call_submit(struct api_call *call,
                     int (*judge)(struct api_call *call, struct json_doc *head,
                                  struct storage_change *change),
                     void (*answer)(struct api_call *call, struct json_doc *doc));

/* A Warning header, copied; dropped beyond API_WARNINGS_MAX. */
void api_call_warn(struct api_call *call, const char *format, ...) _printf_(2, 3);

/* Releases everything but the arena; the exchange, if any, must have been ended or be gone. */
void api_call_release(struct api_call *call);

/* The headers that every answer has, in the arena. */
size_t api_call_headers(struct api_call *call, const char *content_type,
                        struct http_header headers[static 8 + API_WARNINGS_MAX]);
enum { API_HEADERS_MAX = 8 + API_WARNINGS_MAX };

/* ---- handlers: each takes an authorised call and ends it, now or later ---- */

void api_get(struct api_call *call);
void api_list(struct api_call *call);
void api_watch(struct api_call *call);
void api_create(struct api_call *call);
void api_update(struct api_call *call); /* PUT and PATCH, status and other parts too */
void api_delete(struct api_call *call);
void api_delete_collection(struct api_call *call);
void api_scale(struct api_call *call);
