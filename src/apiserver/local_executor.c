// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/local_executor.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/internal_call.h"
#include "apiserver/server.h"

enum step_state {
        STEP_WAITING,
        STEP_SENT,     /* not judged for good */
        STEP_ACCEPTED, /* on its way to the disk: what comes after it may go too */
        STEP_ANSWERED,
};

struct step {
        struct batch *batch;
        enum step_state state;
        bool succeeded;
        struct json_doc *object; /* what it made, known before it is on disk */
        struct internal_call *call;
};

/* A plan on its way. */
struct batch {
        struct local_executor *executor;
        struct submission *submission;
        const struct action *actions;
        struct list in_executor;
        struct json_doc **objects; /* of the steps, for fix-ups */
        size_t count, next, answered;
        bool running;
        struct step steps[];
};

struct local_executor {
        struct apiserver *server;
        struct executor_backend backend;
        struct str manager;
        struct list batches;
        void (*on_answer)(void *user);
        void *user;
};

static void batch_free(struct batch *batch)
{
        for (size_t i = 0; i < batch->count; i++) {
                if (batch->steps[i].object)
                        json_doc_unref(batch->steps[i].object);
        }
        list_remove(&batch->in_executor);
        free(batch->objects);
        free(batch);
}

static void batch_run(struct batch *batch);

/* Tells the answer; may free the batch if it was the last and nobody runs it. */
static void answer(struct step *step, const struct action_result *result)
{
        struct batch *batch = step->batch;
        struct local_executor *executor = batch->executor;

        step->state = STEP_ANSWERED;
        step->succeeded = result->status >= 200 && result->status < 300;
        batch->answered++;
        submission_done(batch->submission, (size_t)(step - batch->steps), result);
        if (batch->running)
                return;
        if (batch->answered == batch->count)
                batch_free(batch);
        else
                batch_run(batch);
        if (executor->on_answer)
                executor->on_answer(executor->user);
}

static void on_done(void *user, unsigned code, struct json_doc *doc)
{
        struct step *step = user;
        struct json_value root = doc ? json_root(doc) : (struct json_value){};
        bool is_status = json_string_is(json_get(root, "kind"), STR("Status"));
        struct action_result result = {
                .status = (int)code,
                .reason = is_status ? json_string(json_get(root, "reason")) : STR_EMPTY,
                .message = is_status ? json_string(json_get(root, "message")) : STR_EMPTY,
                .object = is_status ? NULL : doc,
        };

        step->call = NULL;
        if (code == 429)
                result.retry_after_ns = 1000000000;
        if (!step->object && result.object && code < 300) {
                step->object = json_doc_ref(result.object);
                step->batch->objects[step - step->batch->steps] = step->object;
        }
        answer(step, &result);
}

static struct internal_request request_of(const struct action *action, struct str manager)
{
        struct internal_request request = {
                .group = action->kind->group,
                .version = action->kind->version,
                .plural = action->kind->plural,
                .name_space = action->namespace,
                .name = action->name,
                .manager = manager,
        };

        switch (action->type) {
        case ACTION_CREATE:
                request.verb = API_CREATE;
                request.name = STR_EMPTY;
                break;
        case ACTION_PATCH_STATUS:
                request.subresource = STR("status");
                /* fall through */
        case ACTION_PATCH:
                request.verb = API_PATCH;
                request.content_type = STR("application/merge-patch+json");
                break;
        case ACTION_DELETE:
                request.verb = API_DELETE;
                break;
        case ACTION_BIND:
                request.verb = API_CREATE;
                request.subresource = STR("binding");
                break;
        case ACTION_FINALIZE:
                request.verb = API_UPDATE;
                request.subresource = STR("finalize");
                break;
        }
        return request;
}

static void fail(struct step *step, int error)
{
        struct action_result result = { .status = error };

        answer(step, &result);
}

static void start(struct batch *batch, struct step *step, const struct action *action)
{
        struct internal_request request = request_of(action, batch->executor->manager);
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *body = NULL;
        struct json_doc *made;
        int r;

        r = action_body(action, batch->objects, batch->count, &text);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &body);
        if (r < 0) {
                fail(step, r == -ENOMEM ? -EAGAIN : -ECANCELED);
                return;
        }
        request.body = body;
        request.done = on_done;
        request.user = step;
        step->state = STEP_SENT;
        r = internal_call_start(batch->executor->server, &request, &step->call);
        if (r < 0) {
                fail(step, -EAGAIN);
                return;
        }
        made = step->call ? internal_call_accepted(step->call) : NULL;
        if (!made)
                return;
        step->state = STEP_ACCEPTED;
        step->succeeded = true;
        if (!step->object) {
                step->object = json_doc_ref(made);
                batch->objects[step - batch->steps] = step->object;
        }
}

/* Sends actions in order until one has to wait for what an earlier one becomes. */
static void batch_run(struct batch *batch)
{
        struct storage *storage = batch->executor->server->storage;

        batch->running = true;
        storage_cork(storage);
        for (; batch->next < batch->count; batch->next++) {
                struct step *step = &batch->steps[batch->next];
                const struct action *action = &batch->actions[batch->next];
                const struct step *before =
                        action->after == ACTION_NONE ? NULL : &batch->steps[action->after];

                if (before && before->state == STEP_SENT)
                        break;
                if (before && !before->succeeded)
                        fail(step, -ECANCELED);
                else
                        start(batch, step, action);
        }
        storage_uncork(storage);
        batch->running = false;
        if (batch->answered == batch->count)
                batch_free(batch);
}

static void submit(void *context, struct submission *submission)
{
        struct local_executor *executor = context;
        size_t count = submission->count;
        struct batch *batch = calloc(1, sizeof(*batch) + count * sizeof(batch->steps[0]));

        if (batch)
                batch->objects = calloc(count, sizeof(struct json_doc *));
        if (!batch || !batch->objects) {
                struct action_result result = { .status = -EAGAIN };
                free(batch);
                for (size_t i = 0; i < count; i++)
                        submission_done(submission, i, &result);
                return;
        }
        batch->executor = executor;
        batch->submission = submission;
        batch->actions = submission->actions;
        batch->count = count;
        for (size_t i = 0; i < count; i++)
                batch->steps[i].batch = batch;
        list_append(&executor->batches, &batch->in_executor);
        batch_run(batch);
}

int local_executor_new(struct apiserver *server, struct str manager, void (*on_answer)(void *user),
                       void *user, struct local_executor **ret_executor)
{
        struct local_executor *executor = calloc(1, sizeof(*executor));

        if (!executor)
                return -ENOMEM;
        executor->server = server;
        executor->manager = manager;
        executor->on_answer = on_answer;
        executor->user = user;
        executor->backend = (struct executor_backend){ executor, true, submit };
        list_init(&executor->batches);
        *ret_executor = executor;
        return 0;
}

void local_executor_commit(struct local_executor *executor)
{
        commit_hold_end(&executor->server->hold);
}

void local_executor_free(struct local_executor *executor)
{
        if (!executor)
                return;
        while (!list_is_empty(&executor->batches)) {
                struct batch *batch = list_entry(executor->batches.next, struct batch, in_executor);
                for (size_t i = 0; i < batch->count; i++) {
                        if (batch->steps[i].call)
                                internal_call_cancel(batch->steps[i].call);
                }
                batch_free(batch);
        }
        free(executor);
}

const struct executor_backend *local_executor_backend(const struct local_executor *executor)
{
        return &executor->backend;
}
