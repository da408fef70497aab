// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/behaviour.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "json/writer.h"

static int check_stays(struct api_call *call, struct json_value head)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct str why = behaviour && behaviour->stays ? behaviour->stays(call, head) : STR_EMPTY;

        if (why.length == 0)
                return 0;
        return api_call_refuse(
                call, kube_status_forbidden(call->arena, &call->named,
                                            json_string(json_get(head, "metadata", "name")), why));
}

static int check_preconditions(struct api_call *call, struct json_value head)
{
        struct str uid = json_string(json_get(head, "metadata", "uid"));
        struct str version = json_string(json_get(head, "metadata", "resourceVersion"));
        struct str why = STR_EMPTY;

        if (call->options.uid.data && !str_equal(call->options.uid, uid))
                why = arena_printf(call->arena,
                                   "Precondition failed: UID in precondition: %.*s, UID in object "
                                   "meta: %.*s",
                                   STR_FORMAT(call->options.uid), STR_FORMAT(uid));
        else if (call->options.precondition_version.data &&
                 !str_equal(call->options.precondition_version, version))
                why = arena_printf(call->arena,
                                   "Precondition failed: ResourceVersion in precondition: %.*s, "
                                   "ResourceVersion in object meta: %.*s",
                                   STR_FORMAT(call->options.precondition_version),
                                   STR_FORMAT(version));
        if (why.length == 0)
                return 0;
        return api_call_refuse(
                call, kube_status_conflict(call->arena, &call->named, call->path.name, why));
}

/* The finalizer that the garbage collector takes away when it has done what was asked. */
static struct str wanted_finalizer(const struct api_options *options)
{
        switch (options->propagation) {
        case PROPAGATE_ORPHAN:
                return STR("orphan");
        case PROPAGATE_FOREGROUND:
                return STR("foregroundDeletion");
        default:
                return STR_EMPTY;
        }
}

/* Writes metadata.finalizers: those there are, with or without those of the garbage collector. */
static int set_finalizers(struct api_call *call, struct json_value root, struct json_edit *edit,
                          size_t *ret_count)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        _cleanup_buffer_ struct buffer text = {};
        struct json_value list = json_get(root, "metadata", "finalizers");
        struct str wanted = wanted_finalizer(&call->options), own = STR_EMPTY, copy;
        struct json_writer writer;
        size_t count = 0;

        /* Once: who takes it away has done what there was to do. */
        if (behaviour && behaviour->finalizer &&
            !json_exists(json_get(root, "metadata", "deletionTimestamp")))
                own = behaviour->finalizer(call, root);
        json_writer_init(&writer, &text);
        json_begin_array(&writer);
        json_for_each (it, list) {
                struct str name = json_string(it.value);
                if (str_equal(name, own))
                        own = STR_EMPTY;
                bool collector = str_equal(name, STR("orphan")) ||
                                 str_equal(name, STR("foregroundDeletion"));
                /* A policy that was asked for replaces the one that was set before. */
                if (collector && call->options.propagation != PROPAGATE_DEFAULT)
                        continue;
                json_write_string(&writer, name);
                count++;
        }
        if (wanted.length > 0) {
                json_write_string(&writer, wanted);
                count++;
        }
        if (own.length > 0) {
                json_write_string(&writer, own);
                count++;
        }
        json_end_array(&writer);
        if (json_writer_finish(&writer) < 0)
                return -ENOMEM;
        copy = arena_str(call->arena, buffer_str(&text));
        if (!copy.data)
                return -ENOMEM;
        if (count > 0)
                json_edit_set_raw(edit, "/metadata/finalizers", copy);
        else
                json_edit_remove(edit, "/metadata/finalizers");
        *ret_count = count;
        return 0;
}

static void mark_deleting(struct api_call *call, struct json_value root, int64_t grace,
                          struct json_edit *edit)
{
        char time[RFC3339_SECONDS_SIZE];
        struct json_value generation = json_get(root, "metadata", "generation");

        rfc3339_format_seconds(call->now_ns + (uint64_t)grace * NS_PER_SECOND, time);
        json_edit_set_string(edit, "/metadata/deletionTimestamp", str_from(time));
        json_edit_set_int(edit, "/metadata/deletionGracePeriodSeconds", grace);
        if (json_exists(generation))
                json_edit_set_int(edit, "/metadata/generation", json_int64_or(generation, 0) + 1);
}

static int judge(struct api_call *call, struct json_doc *head, struct storage_change *change)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_value root;
        struct json_edit edit;
        bool is_deleting, held = false;
        size_t count = 0;
        int64_t grace = 0, before;
        int r;

        if (!head)
                return api_call_refuse(
                        call, kube_status_not_found(call->arena, &call->named, call->path.name));
        root = json_root(head);
        r = check_stays(call, root);
        if (r == 0)
                r = check_preconditions(call, root);
        if (r < 0)
                return r;
        is_deleting = json_exists(json_get(root, "metadata", "deletionTimestamp"));
        before = json_int64_or(json_get(root, "metadata", "deletionGracePeriodSeconds"), 0);

        json_edit_init(&edit, head, call->arena);
        r = set_finalizers(call, root, &edit, &count);
        if (r < 0)
                return r;
        if (behaviour && behaviour->grace)
                grace = behaviour->grace(root, call->options.grace_seconds);
        if (behaviour && behaviour->deleting)
                held = behaviour->deleting(root, &edit);

        if (count == 0 && grace == 0 && !held) {
                change->kind = STORAGE_DELETE;
                call->deleted = true;
                return 0;
        }
        change->kind = STORAGE_PUT;
        if (!is_deleting || grace < before)
                mark_deleting(call, root, is_deleting ? MIN(grace, before) : grace, &edit);
        return json_edit_apply(&edit, &change->doc);
}

/* {"kind":"Status","status":"Success","details":{name, group, kind, uid}} */
static void answer_success(struct api_call *call, struct json_doc *doc)
{
        struct kube_status status = kube_status_success();

        status.name = call->path.name;
        status.group = call->resource->group;
        status.kind = call->resource->plural;
        status.uid = json_string(json_get(json_root(doc), "metadata", "uid"));
        api_call_fail(call, &status);
}

static void answer(struct api_call *call, struct json_doc *doc)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;

        if (call->deleted && !(behaviour && behaviour->returns_deleted))
                answer_success(call, doc);
        else
                api_call_respond(call,
                                 !call->deleted && call->options.propagation == PROPAGATE_FOREGROUND
                                         ? 202
                                         : 200,
                                 doc);
}

void api_delete(struct api_call *call)
{
        struct kube_status status;

        if (call->body && api_options_add_delete(json_root(call->body), &call->options, call->arena,
                                                 &status) < 0) {
                api_call_fail(call, &status);
                return;
        }
        api_call_submit(call, judge, answer);
}

void delete_submit(struct api_call *call, void (*then)(struct api_call *call, struct json_doc *doc))
{
        api_call_submit(call, judge, then);
}

/* ---- collections ---- */

/* Deletes one after the other, then answers with a Status. */
struct collection {
        struct storage_list list;
        bool open;
        bool submitting; /* an answer that comes now is looked at afterwards */
        bool answered;
        int failure;
};

static int judge_one(struct storage_request *request, struct json_doc *head,
                     struct storage_change *change)
{
        struct api_call *call = container_of(request, struct api_call, request);
        int r;

        call->status = (struct kube_status){};
        if (!head || !select_matches(call, head))
                return -ENOENT;
        r = judge(call, head, change);
        if (r == 0 && call->options.dry_run) {
                if (change->doc)
                        json_doc_unref(change->doc);
                *change = (struct storage_change){};
        }
        return r;
}

static void collection_end(struct api_call *call)
{
        struct collection *collection = call->stream;

        storage_request_cancel(&call->request);
        if (collection->open)
                storage_list_end(&collection->list);
        collection->open = false;
        call->stream_end = NULL;
}

static void collection_answer(struct api_call *call, int result)
{
        struct kube_status status = call->status;

        collection_end(call);
        if (result == -EPERM && status.code) {
                api_call_fail(call, &status);
        } else if (result < 0) {
                api_call_fail_errno(call, result);
        } else {
                status = kube_status_success();
                status.group = call->resource->group;
                status.kind = call->resource->plural;
                api_call_fail(call, &status);
        }
}

/* Goes on until an answer has to be waited for. */
static void collection_run(struct api_call *call)
{
        struct collection *collection = call->stream;
        struct str name_space;
        struct json_doc *doc;
        int r;

        for (;;) {
                do {
                        r = storage_list_next(&collection->list, &doc);
                } while (r == 1 && !select_matches(call, doc));
                if (r <= 0) {
                        collection_answer(call, r);
                        return;
                }
                storage_list_position(&collection->list, &name_space, &call->request.name);
                call->path.name = call->request.name;
                collection->answered = false;
                collection->submitting = true;
                storage_submit(call->server->storage, &call->request);
                collection->submitting = false;
                if (!collection->answered)
                        return;
                if (collection->failure < 0) {
                        collection_answer(call, collection->failure);
                        return;
                }
        }
}

static void done_one(struct storage_request *request, int result, struct json_doc *doc _unused_)
{
        struct api_call *call = container_of(request, struct api_call, request);
        struct collection *collection = call->stream;

        collection->answered = true;
        collection->failure = result == -ENOENT ? 0 : result;
        if (collection->submitting)
                return;
        if (collection->failure < 0)
                collection_answer(call, collection->failure);
        else
                collection_run(call);
}

void api_delete_collection(struct api_call *call)
{
        struct collection *collection = arena_new(call->arena, struct collection, 1);
        struct kube_status status;
        int r;

        if (!collection) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        if ((call->body && api_options_add_delete(json_root(call->body), &call->options,
                                                  call->arena, &status) < 0) ||
            select_check(call, &status) < 0) {
                api_call_fail(call, &status);
                return;
        }
        r = storage_list_begin(&collection->list, call->resource->storage, call->path.name_space, 0,
                               STR_EMPTY, STR_EMPTY);
        if (r < 0) {
                api_call_fail_errno(call, r);
                return;
        }
        collection->open = true;
        call->stream = collection;
        call->stream_end = collection_end;
        list_init(&call->request.waiting);
        call->request.type = call->resource->storage;
        call->request.name_space = call->path.name_space;
        call->request.judge = judge_one;
        call->request.done = done_one;
        collection_run(call);
}
