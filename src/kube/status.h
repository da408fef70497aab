// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"
#include "json/json.h"
#include "json/writer.h"

/* ---- what is wrong with fields (k8s.io/apimachinery pkg/util/validation/field) ---- */

enum field_error_type {
        FIELD_REQUIRED,
        FIELD_INVALID,
        FIELD_TYPE_INVALID,
        FIELD_NOT_SUPPORTED,
        FIELD_DUPLICATE,
        FIELD_FORBIDDEN,
        FIELD_NOT_FOUND,
        FIELD_TOO_LONG,
        FIELD_TOO_MANY,
};

struct field_error {
        enum field_error_type type;
        struct str field; /* "spec.containers[0].name" */
        struct str body;  /* `Invalid value: "x": must be …` */
};

/* Collected in an arena. Beyond FIELD_ERRORS_MAX they are counted but not kept. */
enum { FIELD_ERRORS_MAX = 64 };
struct field_errors {
        struct arena *arena; /* borrowed */
        struct field_error list[FIELD_ERRORS_MAX];
        size_t count; /* kept */
        size_t total;
        int failure; /* -ENOMEM: a cause is missing */
};

void field_errors_init(struct field_errors *errors, struct arena *arena);

/* Whether nothing was found and nothing was lost. */
static inline bool field_errors_none(const struct field_errors *errors)
{
        return errors->total == 0 && errors->failure == 0;
}

/*
 * Adds one. `value` is what stands between type and sentence (absent: nothing does); `format` may
 * be "" . Required, Forbidden and Too long never print a value, as in Kubernetes.
 */
void field_errors_add(struct field_errors *errors, enum field_error_type type, struct str field,
                      struct json_value value, const char *format, ...) _printf_(5, 6);

/* The same with the value as a string. */
void field_errors_add_string(struct field_errors *errors, enum field_error_type type,
                             struct str field, struct str value, const char *format, ...)
        _printf_(5, 6);

/* ---- metav1.Status ---- */

/*
 * A failure (or success) as the API tells it. Strings live in the arena given to the constructor
 * or are constants. `reason` is metav1.StatusReason.
 */
struct kube_status {
        int code;           /* HTTP */
        const char *reason; /* "NotFound"; NULL: none */
        struct str message;
        bool success;

        /* details, each left out when empty */
        struct str name, group, kind, uid;
        const struct field_error *causes;
        size_t cause_count;
        int retry_after_seconds; /* 0: none; also the Retry-After header */
};

/* The kind of object a status talks about: for messages, `resource` is the plural. */
struct kube_resource {
        struct str group;    /* empty for the core group */
        struct str resource; /* "sandboxes" */
        struct str kind;     /* "Sandbox" */
};

/*
 * Constructors, worded as k8s.io/apimachinery pkg/api/errors. When the arena is out of memory the
 * message is empty and the rest right.
 */
struct kube_status kube_status_success(void);
struct kube_status kube_status_not_found(struct arena *arena, const struct kube_resource *resource,
                                         struct str name); /* 404 */
struct kube_status kube_status_no_such_path(void);         /* 404 page that names no object */
struct kube_status kube_status_already_exists(struct arena *arena,
                                              const struct kube_resource *resource,
                                              struct str name); /* 409 */
/* 409; `why` empty: "the object has been modified; please apply your changes …" */
struct kube_status kube_status_conflict(struct arena *arena, const struct kube_resource *resource,
                                        struct str name, struct str why);
/* 422; `errors` must live as long as the status */
struct kube_status kube_status_invalid(struct arena *arena, const struct kube_resource *resource,
                                       struct str name, const struct field_errors *errors);
struct kube_status kube_status_unprocessable(struct arena *arena, const char *format, ...)
        _printf_(2, 3); /* 422 without causes: a patch that does not fit */
struct kube_status kube_status_bad_request(struct arena *arena, const char *format, ...)
        _printf_(2, 3);                            /* 400 */
struct kube_status kube_status_unauthorized(void); /* 401 */
/* 403; `resource` and `name` may be NULL and empty; `why` is the whole sentence after the colon */
struct kube_status kube_status_forbidden(struct arena *arena, const struct kube_resource *resource,
                                         struct str name, struct str why);
struct kube_status kube_status_method_not_allowed(struct arena *arena,
                                                  const struct kube_resource *resource,
                                                  struct str verb); /* 405 */
struct kube_status kube_status_not_acceptable(void);                /* 406 */
struct kube_status kube_status_expired(struct arena *arena, const char *format, ...)
        _printf_(2, 3);                                                      /* 410, Expired */
struct kube_status kube_status_too_large(size_t limit, struct arena *arena); /* 413 */
struct kube_status kube_status_unsupported_media_type(struct arena *arena,
                                                      struct str accepted); /* 415 */
struct kube_status kube_status_too_many_requests(struct arena *arena, int retry_after_seconds,
                                                 const char *format, ...) _printf_(3, 4); /* 429 */
struct kube_status kube_status_internal(struct arena *arena, const char *format, ...)
        _printf_(2, 3); /* 500 */
struct kube_status kube_status_unavailable(struct arena *arena, int retry_after_seconds,
                                           const char *format, ...) _printf_(3, 4); /* 503 */
struct kube_status kube_status_timeout(struct arena *arena, const char *format, ...)
        _printf_(2, 3); /* 504 */

/* By errno, for failures with no better words: -ENOMEM and all others are 500. */
struct kube_status kube_status_from_errno(struct arena *arena, int error);

/* The metav1.Status object. Returns as json_writer_finish(). */
int kube_status_write(const struct kube_status *status, struct buffer *out);

/* What a client reads of a Status that a server sent. Views into its document. */
struct kube_status_view {
        int code;
        struct str reason, message;
        int retry_after_seconds;
};
void kube_status_read(struct json_value status, struct kube_status_view *ret_view);
