// SPDX-License-Identifier: Apache-2.0
#include "client/executor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "client/resource.h"

/* A verb and a kind that RBAC forbids us. */
struct denial {
        const struct kind *kind; /* NULL: unused */
        enum action_type type;
        uint64_t seen_ns;
        char message[WIRE_EXECUTOR_WHY_SIZE];
};

enum { DENIALS_MOST = 16 };

/* What is still wanted is tried again sooner than that. */
#define DENIAL_LASTS_NS (60 * NS_PER_SECOND)

struct wire_executor {
        struct executor_backend backend;
        struct kube_client *client;
        void (*on_answer)(void *user);
        void *user;
        bool (*may_write)(void *user);
        void *may_write_user;
        struct list submissions;
        struct denial denials[DENIALS_MOST];
};

struct wire_submission {
        struct wire_executor *executor;
        struct list link;
        struct submission *submission;
        struct kube_call *call;
        const struct kind *kind;
        enum action_type type;
};

static int error_status(int error)
{
        switch (error) {
        case KUBE_UNREACHABLE:
        case KUBE_UNTRUSTED:
        case KUBE_WITHHELD:
                return -ECONNREFUSED;
        default:
                return -ETIMEDOUT;
        }
}

/*
 * Quotas and policies also answer 403, about one object each, which is theirs to show. The sentence
 * of the authorizers is `user "U" cannot create resource "pods" in API group "" in the namespace
 * "N"`.
 */
static bool is_denied(const struct kube_response *response)
{
        const struct str text = response->message;

        return response->error == 0 && response->status == 403 &&
               memmem(text.data, text.length, " cannot ", 8) &&
               memmem(text.data, text.length, " resource \"", 11);
}

static void note_rights(struct wire_executor *executor, const struct wire_submission *sent,
                        const struct kube_response *response)
{
        bool denied = is_denied(response);
        struct denial *known = NULL, *unused = NULL;

        if (!denied && !kube_response_ok(response))
                return;
        for (size_t i = 0; i < DENIALS_MOST && !known; i++) {
                struct denial *denial = &executor->denials[i];
                if (denial->kind == sent->kind && denial->type == sent->type)
                        known = denial;
                else if (!denial->kind && !unused)
                        unused = denial;
        }
        if (denied && known) {
                known->seen_ns = clock_monotonic_ns();
        } else if (denied && unused) {
                *unused = (struct denial){ .kind = sent->kind,
                                           .type = sent->type,
                                           .seen_ns = clock_monotonic_ns() };
                snprintf(unused->message, sizeof(unused->message), "%.*s",
                         STR_FORMAT(response->message));
                log_warning("a right is missing: %s", unused->message);
        } else if (!denied && known) {
                log_info("the right is there again: %s", known->message);
                known->kind = NULL;
        }
}

bool wire_executor_is_allowed(const struct wire_executor *executor,
                              char why[static WIRE_EXECUTOR_WHY_SIZE])
{
        uint64_t now = clock_monotonic_ns();

        for (size_t i = 0; i < DENIALS_MOST; i++) {
                const struct denial *denial = &executor->denials[i];
                if (!denial->kind || now - denial->seen_ns > DENIAL_LASTS_NS)
                        continue;
                snprintf(why, WIRE_EXECUTOR_WHY_SIZE, "%s", denial->message);
                return false;
        }
        return true;
}

static void on_response(void *user, const struct kube_response *response)
{
        struct wire_submission *sent = user;
        struct wire_executor *executor = sent->executor;
        struct submission *submission = sent->submission;
        struct action_result result = {
                .status = response->error ? error_status(response->error) : (int)response->status,
                .reason = response->reason,
                .message = response->message,
                .retry_after_ns = response->retry_after_s * NS_PER_SECOND,
        };

        /* A deletion that left nothing is answered with a Status instead of an object. */
        if (kube_response_ok(response) && response->doc &&
            !(sent->type == ACTION_DELETE &&
              json_string_is(json_get(json_root(response->doc), "kind"), STR("Status"))))
                result.object = response->doc;
        note_rights(executor, sent, response);
        list_remove(&sent->link);
        free(sent);
        submission_done(submission, 0, &result);
        executor->on_answer(executor->user);
}

static int fill_request(const struct action *action, struct buffer *path,
                        struct kube_request *request)
{
        struct str name = action->name, subresource = STR_EMPTY;

        *request = (struct kube_request){ .body = action->body, .attempts = 1 };
        switch (action->type) {
        case ACTION_CREATE:
                request->method = STR("POST");
                name = STR_EMPTY;
                break;
        case ACTION_BIND:
                request->method = STR("POST");
                subresource = STR("binding");
                break;
        case ACTION_FINALIZE:
                request->method = STR("PUT");
                subresource = STR("finalize");
                break;
        case ACTION_PATCH:
        case ACTION_PATCH_STATUS:
                request->method = STR("PATCH");
                request->content_type = STR("application/merge-patch+json");
                if (action->type == ACTION_PATCH_STATUS)
                        subresource = STR("status");
                break;
        case ACTION_DELETE:
                request->method = STR("DELETE");
                break;
        }
        int r = kube_path_append(path, action->kind, action->namespace, name, subresource);
        request->path = buffer_str(path);
        return r;
}

static void submit(void *context, struct submission *submission)
{
        struct wire_executor *executor = context;
        const struct action *action = &submission->actions[0];
        struct wire_submission *sent = calloc(1, sizeof(*sent));
        _cleanup_buffer_ struct buffer path = {};
        struct kube_request request;

        assert(submission->count == 1);
        int r = sent ? fill_request(action, &path, &request) : -ENOMEM;
        if (r == 0) {
                request.may_send = executor->may_write;
                request.may_send_user = executor->may_write_user;
                sent->executor = executor;
                sent->submission = submission;
                sent->kind = action->kind;
                sent->type = action->type;
                r = kube_client_request(executor->client, &request, on_response, sent, &sent->call);
        }
        if (r < 0) {
                struct action_result result = { .status = r == -ENOMEM ? -EAGAIN : r };
                free(sent);
                submission_done(submission, 0, &result);
                return;
        }
        list_append(&executor->submissions, &sent->link);
}

int wire_executor_new(struct kube_client *client, void (*on_answer)(void *user), void *user,
                      struct wire_executor **ret_executor)
{
        struct wire_executor *executor = calloc(1, sizeof(*executor));

        if (!executor)
                return -ENOMEM;
        executor->client = client;
        executor->on_answer = on_answer;
        executor->user = user;
        executor->backend = (struct executor_backend){ .context = executor, .submit = submit };
        list_init(&executor->submissions);
        *ret_executor = executor;
        return 0;
}

void wire_executor_set_fence(struct wire_executor *executor, bool (*may_write)(void *user),
                             void *user)
{
        executor->may_write = may_write;
        executor->may_write_user = user;
}

void wire_executor_free(struct wire_executor *executor)
{
        struct wire_submission *sent;

        if (!executor)
                return;
        list_for_each (sent, &executor->submissions, link) {
                list_remove(&sent->link);
                kube_call_cancel(sent->call);
                free(sent);
        }
        free(executor);
}

const struct executor_backend *wire_executor_backend(const struct wire_executor *executor)
{
        return &executor->backend;
}
