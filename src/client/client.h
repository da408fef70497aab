// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "client/config.h"
#include "kube/protobuf.h"
#include "net/http.h"
#include "net/loop.h"
#include "json/json.h"

/*
 * The wire client: requests to one API server, on a loop, over kept connections. Everything is
 * called on the loop's thread.
 *
 * What was certainly not carried out (no connection; 429; 503 with Retry-After; 401 once, after
 * the token file was read again) is repeated as `attempts` allow, and so is any failure of a GET.
 * A write whose answer was lost is reported, never repeated: only the caller knows how to find out.
 */
struct kube_client;

struct kube_client_options {
        struct net_loop *loop;      /* borrowed */
        struct kube_config *config; /* borrowed, must outlive the client */
        struct str user_agent;      /* copied */
        unsigned in_flight_limit; /* short requests at once, each on a connection; 0: 32; more wait
                                   */
        uint64_t request_timeout_ms; /* of short requests without their own; 0: 30 s */
        /* For who asks for KUBE_PROTOBUF; borrowed, must outlive the client. NULL: nobody does. */
        const struct protobuf_fields *protobuf;
};

/* Returns 0, -ENOMEM or -EBADMSG (certificates). Connects with the first request. */
int kube_client_new(const struct kube_client_options *options, struct error *error,
                    struct kube_client **ret_client);

/* Withdraws what is open (no callbacks) and frees. */
void kube_client_free(struct kube_client *client);

/* Objects of built-in kinds as kube/protobuf.h reads them; servers encode them for less. Who
 * accepts it accepts JSON as well, which is what servers give that know nothing else. */
#define KUBE_PROTOBUF        "application/vnd.kubernetes.protobuf"
#define KUBE_ACCEPT_PROTOBUF STR(KUBE_PROTOBUF ";stream=watch," KUBE_PROTOBUF ",application/json")

struct kube_request {
        struct str method;       /* "GET"; copied, as all of the strings */
        struct str path;         /* from kube_path_append(), query included */
        struct str content_type; /* empty: application/json where there is a body */
        struct str accept;       /* empty: application/json */
        struct str body;
        uint64_t timeout_ms;      /* of each attempt; 0: the client's; of streams: to the head */
        uint64_t idle_timeout_ms; /* of streams: without a byte; 0: for ever */
        unsigned attempts;        /* in all; 0: 1 for writes, 5 for GET */
        const struct http_header *headers; /* besides those that the client gives; copied */
        size_t header_count;
        /* Asked each time just before it is sent, however long it waited for a connection: false
         * ends it as KUBE_WITHHELD. NULL: always. For writes that only a leader may do. */
        bool (*may_send)(void *user);
        void *may_send_user;
};

/* Why there is no answer; as kube_response.error. The only other one is -ENOMEM. */
enum {
        KUBE_UNREACHABLE = -1001, /* no connection: the request was not sent */
        KUBE_UNTRUSTED = -1002,   /* TLS verification failed, ours or theirs, or only one
                                   * side speaks TLS: not sent */
        KUBE_LOST = -1003,        /* the connection ended or time ran out: it may have happened */
        KUBE_MALFORMED = -1004,   /* an answer that is no HTTP or no JSON */
        KUBE_WITHHELD = -1005,    /* kube_request.may_send said no: not sent */
};

struct kube_response {
        int error;          /* 0: the server answered */
        unsigned status;    /* HTTP status; 0 without an answer */
        struct str reason;  /* of the Status object when status ≥ 400: "Conflict"; may be empty */
        struct str message; /* a sentence for people, for either kind of failure */
        struct json_doc *doc;   /* the body; NULL if there is none or no JSON */
        struct str body;        /* its bytes as they came */
        unsigned retry_after_s; /* 0: none */
        bool timed_out;         /* with error: no answer, or no more of it, in time */
};

static inline bool kube_response_ok(const struct kube_response *response)
{
        return response->error == 0 && response->status >= 200 && response->status < 300;
}

/*
 * Called exactly once, from the loop, never from within kube_client_request(). The response is
 * borrowed. It may make and cancel requests, but not free the client.
 */
typedef void (*kube_response_fn)(void *user, const struct kube_response *response);

struct kube_call;

/* Returns 0, -EINVAL or -ENOMEM (then `callback` is not called). `ret_call` may be NULL. */
int kube_client_request(struct kube_client *client, const struct kube_request *request,
                        kube_response_fn callback, void *user, struct kube_call **ret_call);

/* Withdraws a request or stream that has not had its last callback; there will be none. */
void kube_call_cancel(struct kube_call *call);

struct http_call;

/*
 * A request whose answer is read as it comes: watches, logs. `on_data` gets the body of a 2xx
 * answer; `on_end` is the last callback, with a response as above (doc only when not 2xx; error 0
 * and status 200 when the server ended the stream in order).
 *
 * With `on_upgrade` the request asks to change protocols (RFC 9110 7.8), its `headers` having
 * Upgrade and what that protocol wants. A 101 comes there, as the last callback: it returns 0 when
 * it took the connection (http_call_take_over()), else the connection is closed. A server that
 * refuses answers as to any other request.
 */
struct kube_stream_events {
        void (*on_head)(void *user, unsigned status); /* may be NULL */
        void (*on_data)(void *user, struct str data);
        kube_response_fn on_end;
        int (*on_upgrade)(void *user, struct http_call *http,
                          const struct http_response_head *head); /* mostly NULL */
};
int kube_client_stream(struct kube_client *client, const struct kube_request *request,
                       const struct kube_stream_events *events, void *user,
                       struct kube_call **ret_call);

/* After on_head: holds a stream's body back, its idle timeout too, and lets it come again. */
void kube_call_pause(struct kube_call *call);
void kube_call_resume(struct kube_call *call);

/* After on_head: whether the answer is KUBE_PROTOBUF. */
bool kube_call_is_protobuf(const struct kube_call *call);

/* From now on a stream may be silent so long, 0 for ever. */
void kube_call_set_idle_timeout(struct kube_call *call, uint64_t idle_timeout_ms);

struct net_loop *kube_client_loop(const struct kube_client *client);

/* As the options have them; may be NULL. */
const struct protobuf_fields *kube_client_protobuf(const struct kube_client *client);

struct kube_client_counters {
        uint64_t requests, retries, failures, connects;
        unsigned in_flight, waiting, streams;
};
struct kube_client_counters kube_client_counters(const struct kube_client *client);
