// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/storage.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/storage_internal.h"
#include "base/clock.h"
#include "base/limit.h"
#include "json/edit.h"
#include "json/writer.h"

int storage_key_compare(struct str namespace_a, struct str name_a, struct str namespace_b,
                        struct str name_b)
{
        int r = str_compare(namespace_a, namespace_b);

        return r ? r : str_compare(name_a, name_b);
}

static int object_compare(const struct storage_object *a, const struct storage_object *b)
{
        return storage_key_compare(a->name_space, a->name, b->name_space, b->name);
}

RB_GENERATE_STATIC(storage_index, storage_object, node, object_compare)

static struct storage_object *find(const struct storage_type *type, struct str name_space,
                                   struct str name)
{
        struct storage_object key = { .name_space = name_space, .name = name };

        return RB_FIND(storage_index, (struct storage_index *)(uintptr_t)&type->index, &key);
}

struct storage_object *storage_object_after(struct storage_type *type, struct str name_space,
                                            struct str name, bool including)
{
        struct storage_object key = { .name_space = name_space, .name = name };
        struct storage_object *object = RB_NFIND(storage_index, &type->index, &key);

        if (object && !including && object_compare(object, &key) == 0)
                object = storage_index_RB_NEXT(object);
        return object;
}

static struct json_doc *ref(struct json_doc *doc)
{
        return doc ? json_doc_ref(doc) : NULL;
}

static void replace(struct json_doc **slot, struct json_doc *doc)
{
        struct json_doc *old = *slot;

        *slot = ref(doc);
        if (old)
                json_doc_unref(old);
}

/* ---- types and objects ---- */

static char *put_segment(char *next, struct str segment, bool last)
{
        if (segment.length > 0)
                memcpy(next, segment.data, segment.length);
        next += segment.length;
        if (!last)
                *next++ = '/';
        return next;
}

struct storage_type *storage_type(struct storage *storage, struct str group, struct str resource)
{
        struct storage_type *type;

        list_for_each (type, &storage->types, in_storage) {
                if (str_equal(type->resource, resource) && str_equal(type->group, group))
                        return type;
        }
        type = calloc(1, sizeof(*type) + group.length + resource.length);
        if (!type)
                return NULL;
        put_segment(put_segment(type->bytes, group, true), resource, true);
        type->group = (struct str){ type->bytes, group.length };
        type->resource = (struct str){ type->bytes + group.length, resource.length };
        type->storage = storage;
        type->floor = storage->revision;
        list_init(&type->watches);
        list_init(&type->followers);
        list_append(&storage->types, &type->in_storage);
        return type;
}

/* Finds the key or makes it, absent. */
static struct storage_object *object_make(struct storage_type *type, struct str name_space,
                                          struct str name)
{
        struct storage_object *object = find(type, name_space, name);
        size_t length;
        char *next;

        if (object)
                return object;
        length = type->group.length + type->resource.length + name_space.length + name.length + 3;
        object = calloc(1, sizeof(*object) + length);
        if (!object)
                return NULL;
        next = put_segment(object->bytes, type->group, false);
        next = put_segment(next, type->resource, false);
        object->name_space = (struct str){ next, name_space.length };
        next = put_segment(next, name_space, false);
        object->name = (struct str){ next, name.length };
        put_segment(next, name, true);
        object->key = (struct str){ object->bytes, length };
        object->type = type;
        RB_INSERT(storage_index, &type->index, object);
        return object;
}

static void object_free(struct storage_object *object)
{
        RB_REMOVE(storage_index, &object->type->index, object);
        replace(&object->committed, NULL);
        replace(&object->head, NULL);
        free(object);
}

static void object_collect(struct storage_object *object)
{
        if (!object->committed && !object->head && object->in_flight == 0)
                object_free(object);
}

static void object_set_committed(struct storage_object *object, struct json_doc *doc, uint64_t id)
{
        if (!object->committed && doc) {
                object->type->count++;
                object->type->storage->objects++;
        } else if (object->committed && !doc) {
                object->type->count--;
                object->type->storage->objects--;
        }
        replace(&object->committed, doc);
        object->committed_id = id;
}

/* ---- reading ---- */

uint64_t storage_revision(const struct storage *storage)
{
        return storage->revision;
}

struct json_doc *storage_get(const struct storage_type *type, struct str name_space,
                             struct str name)
{
        struct storage_object *object = find(type, name_space, name);

        return object ? object->committed : NULL;
}

uint64_t storage_head_revision(const struct storage *storage)
{
        return storage->head;
}

bool storage_head_has(const struct storage_type *type, struct str name_space)
{
        struct storage_object *object = storage_object_after((struct storage_type *)(uintptr_t)type,
                                                             name_space, STR_EMPTY, true);

        while (object && str_equal(object->name_space, name_space) && !object->head)
                object = storage_index_RB_NEXT(object);
        return object && str_equal(object->name_space, name_space);
}

size_t storage_count(const struct storage_type *type)
{
        return type->count;
}

/* ---- following ---- */

static void tell_follower(struct storage_follower *follower, const struct storage_event *event)
{
        if (follower->name_space.length == 0 || str_equal(follower->name_space, event->name_space))
                follower->accepted(follower, event);
}

/* `before` is the head that it takes the place of. */
static struct storage_event event_of(const struct storage_write *write, struct json_doc *before)
{
        return (struct storage_event){
                .revision = write->row.revision,
                .name_space = write->object->name_space,
                .name = write->object->name,
                .before = before,
                .after = write->after,
                .last = write->last,
        };
}

void storage_follow(struct storage_follower *follower)
{
        struct storage *storage = follower->type->storage;
        struct storage_write *write;

        follower->active = true;
        list_append(&follower->type->followers, &follower->in_type);
        list_for_each (write, &storage->in_flight, in_flight) {
                if (write->object->type != follower->type)
                        continue;
                struct storage_event event = event_of(write, write->object->committed);
                tell_follower(follower, &event);
        }
}

void storage_unfollow(struct storage_follower *follower)
{
        if (!follower->active)
                return;
        follower->active = false;
        list_remove(&follower->in_type);
}

static void tell_accepted(const struct storage_write *write, struct json_doc *before)
{
        struct storage_event event = event_of(write, before);
        struct storage_follower *follower;

        list_for_each (follower, &write->object->type->followers, in_type)
                tell_follower(follower, &event);
}

static void tell_aborted(struct storage *storage)
{
        struct storage_type *type;

        list_for_each (type, &storage->types, in_storage) {
                while (!list_is_empty(&type->followers)) {
                        struct storage_follower *follower =
                                list_entry(type->followers.next, struct storage_follower, in_type);
                        storage_unfollow(follower);
                        follower->aborted(follower);
                }
        }
}

/* ---- judging ---- */

static void depend(struct storage_request *request, struct storage_write *write)
{
        if (write && (!request->depends || write->row.revision > request->depends->row.revision))
                request->depends = write;
}

struct json_doc *storage_head(struct storage_request *request, struct storage_type *type,
                              struct str name_space, struct str name)
{
        struct storage_object *object = find(type, name_space, name);

        if (!object)
                return NULL;
        depend(request, object->newest);
        return object->head;
}

static void finish(struct storage_request *request, int result)
{
        struct json_doc *outcome = request->outcome;

        list_remove(&request->waiting);
        request->outcome = NULL;
        request->depends = NULL;
        request->done(request, result, result == 0 ? outcome : NULL);
        if (outcome)
                json_doc_unref(outcome);
}

/* The verdict stands as soon as what it saw does. */
static void settle(struct storage_request *request, int result, struct json_doc *outcome)
{
        struct storage *storage = request->type->storage;

        request->result = result;
        replace(&request->outcome, outcome);
        if (request->depends) {
                list_append(&request->depends->waiters, &request->waiting);
                return;
        }
        if (result < 0)
                storage->counters.refused++;
        else
                storage->counters.kept++;
        finish(request, result);
}

int storage_stamp(struct json_doc *doc, uint64_t revision, struct json_doc **ret_doc)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        char text[24];

        snprintf(text, sizeof(text), "%llu", (unsigned long long)revision);
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/metadata/resourceVersion", str_from(text));
        return json_edit_apply(&edit, ret_doc);
}

static void write_free(struct storage_write *write)
{
        if (write->after)
                json_doc_unref(write->after);
        if (write->last)
                json_doc_unref(write->last);
        free(write);
}

static int hand_over(struct storage *storage, struct storage_write *write)
{
        int r;

        if (storage->failed || storage->closing)
                return -EIO;
        if (storage->store) {
                r = store_submit(storage->store, &write->row);
                return r == -EAGAIN ? -EBUSY : r;
        }
        if (storage->waiting >= LIMIT_WRITE_QUEUE)
                return -EBUSY;
        storage_wake(storage);
        return 0;
}

/* Makes the change the head of its key and sends it on its way. */
static int accept_change(struct storage_request *request, const struct storage_change *change)
{
        struct storage *storage = request->type->storage;
        struct storage_object *object;
        struct storage_write *write = calloc(1, sizeof(*write));
        uint64_t revision = storage->head + 1;
        int r;

        if (!write)
                return -ENOMEM;
        list_init(&write->waiters);
        list_init(&write->in_flight);
        object = object_make(request->type, request->name_space, request->name);
        r = object ? storage_stamp(change->doc ? change->doc : object->head, revision, &write->last)
                   : -ENOMEM;
        if (r == 0) {
                if (change->kind == STORAGE_PUT)
                        write->after = json_doc_ref(write->last);
                write->object = object;
                write->row = (struct store_write){
                        .id = object->head ? object->head_id : revision,
                        .revision = revision,
                        .key = object->key,
                        .doc = write->after,
                };
                r = hand_over(storage, write);
        }
        if (r < 0) {
                if (object)
                        object_collect(object);
                write_free(write);
                return r;
        }

        _cleanup_doc_ struct json_doc *before = ref(object->head);
        storage->head = revision;
        storage->waiting++;
        list_append(&storage->in_flight, &write->in_flight);
        replace(&object->head, write->after);
        object->head_id = write->row.id;
        object->newest = write;
        object->in_flight++;
        request->result = 0;
        request->accepted = true;
        replace(&request->outcome, write->last);
        request->depends = write;
        list_append(&write->waiters, &request->waiting);
        tell_accepted(write, before);
        return 0;
}

static bool same_text(const struct json_doc *a, const struct json_doc *b)
{
        return a == b || str_equal(json_doc_text(a), json_doc_text(b));
}

static void judge(struct storage_request *request)
{
        struct storage_change change;
        struct json_doc *head;
        int r;

        do {
                struct storage_object *object =
                        find(request->type, request->name_space, request->name);

                change = (struct storage_change){};
                request->depends = NULL;
                head = object ? object->head : NULL;
                if (object)
                        depend(request, object->newest);
                r = request->judge(request, head, &change);
                if (r != 0 && change.doc) {
                        json_doc_unref(change.doc);
                        change.doc = NULL;
                }
        } while (r == -EAGAIN);

        if (r == 0) {
                assert(change.kind != STORAGE_DELETE || head);
                assert(change.kind != STORAGE_PUT || change.doc);
                if (change.kind == STORAGE_PUT && head && same_text(change.doc, head))
                        change.kind = STORAGE_KEEP;
        }
        if (r < 0 || change.kind == STORAGE_KEEP) {
                settle(request, r, r < 0 ? NULL : head);
        } else {
                r = accept_change(request, &change);
                if (r < 0) {
                        request->depends = NULL;
                        finish(request, r);
                }
        }
        if (change.doc)
                json_doc_unref(change.doc);
}

void storage_submit(struct storage *storage, struct storage_request *request)
{
        list_init(&request->waiting);
        request->depends = NULL;
        request->outcome = NULL;
        request->accepted = false;
        /* Who is told of it may have something to add to the transaction. */
        storage_cork(storage);
        judge(request);
        storage_uncork(storage);
}

void storage_request_cancel(struct storage_request *request)
{
        list_remove(&request->waiting);
        replace(&request->outcome, NULL);
}

struct json_doc *storage_request_accepted(const struct storage_request *request)
{
        return request->accepted ? request->outcome : NULL;
}

void storage_cork(struct storage *storage)
{
        if (storage->store)
                store_cork(storage->store);
}

void storage_uncork(struct storage *storage)
{
        if (storage->store)
                store_uncork(storage->store);
}

/* ---- what became of it ---- */

static void committed(struct storage *storage, struct storage_write *write)
{
        struct storage_object *object = write->object;
        struct storage_event event = event_of(write, object->committed);

        storage->revision = write->row.revision;
        storage_log_append(object->type, &event);
        object_set_committed(object, write->after, write->row.id);
        if (object->newest == write)
                object->newest = NULL;
        storage->counters.accepted++;
}

static void write_done(struct storage *storage, struct storage_write *write, int result)
{
        struct storage_object *object = write->object;

        if (result == 0)
                committed(storage, write);
        else
                storage->counters.aborted++;
        storage->waiting--;
        list_remove(&write->in_flight);
        object->in_flight--;
        object_collect(object);

        while (!list_is_empty(&write->waiters)) {
                struct storage_request *request =
                        list_entry(write->waiters.next, struct storage_request, waiting);
                if (!request->accepted && request->result < 0)
                        storage->counters.refused++;
                else if (!request->accepted)
                        storage->counters.kept++;
                finish(request, result < 0 ? result : request->result);
        }
        write_free(write);
}

static void on_store_done(void *user, struct store_write *row, int result)
{
        write_done(user, container_of(row, struct storage_write, row), result);
}

/* All of a transaction together, so that what goes to one watch goes in one piece. */
static void on_store_delivered(void *user)
{
        struct storage *storage = user;

        if (storage_log_pump(storage))
                storage_wake(storage);
}

/* Takes the object back to what is committed; what was only seen of the write goes to `again`. */
static void write_abort(struct storage_write *write, struct list *again)
{
        struct storage_object *object = write->object;
        struct storage_request *request;

        replace(&object->head, object->committed);
        object->head_id = object->committed_id;
        object->newest = NULL;
        list_for_each (request, &write->waiters, waiting) {
                if (request->accepted)
                        continue;
                list_remove(&request->waiting);
                list_append(again, &request->waiting);
        }
}

/* Every write in flight is aborted, and what was judged by them is judged again. */
static void on_store_aborted(void *user, int reason, bool fatal)
{
        struct storage *storage = user;
        struct storage_write *write;
        struct list again;

        list_init(&again);
        list_for_each (write, &storage->in_flight, in_flight)
                write_abort(write, &again);
        storage->failed = fatal;
        tell_aborted(storage);
        while (!list_is_empty(&again)) {
                struct storage_request *request =
                        list_entry(again.next, struct storage_request, waiting);
                list_remove(&request->waiting);
                replace(&request->outcome, NULL);
                judge(request);
        }
        if (fatal && storage->config.failed)
                storage->config.failed(storage->config.user, reason);
}

static void commit_in_memory(struct storage *storage)
{
        while (!storage->store && !list_is_empty(&storage->in_flight))
                write_done(storage,
                           list_entry(storage->in_flight.next, struct storage_write, in_flight), 0);
}

static void on_idle(uv_idle_t *idle)
{
        struct storage *storage = idle->data;

        uv_idle_stop(idle);
        commit_in_memory(storage);
        if (storage_log_pump(storage))
                storage_wake(storage);
}

void storage_wake(struct storage *storage)
{
        if (!storage->closing)
                uv_idle_start(&storage->idle, on_idle);
}

/* ---- opening and closing ---- */

static int on_store_load(void *user, uint64_t id, uint64_t revision _unused_, struct str key,
                         struct str text)
{
        struct storage *storage = user;
        _cleanup_buffer_ struct buffer buffer = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct str group, resource, name_space, name;
        struct storage_type *type;
        struct storage_object *object;
        int r;

        if (!str_cut(key, '/', &group, &key) || !str_cut(key, '/', &resource, &key) ||
            !str_cut(key, '/', &name_space, &name))
                return -EBADMSG;
        r = buffer_append_str(&buffer, text);
        if (r == 0)
                r = json_doc_from_buffer(&buffer, &doc);
        if (r < 0)
                return r;
        type = storage_type(storage, group, resource);
        object = type ? object_make(type, name_space, name) : NULL;
        if (!object)
                return -ENOMEM;
        if (object->committed)
                return -EBADMSG;
        object_set_committed(object, doc, id);
        replace(&object->head, doc);
        object->head_id = id;
        return 0;
}

static void free_types(struct storage *storage)
{
        while (!list_is_empty(&storage->types)) {
                struct storage_type *type =
                        list_entry(storage->types.next, struct storage_type, in_storage);
                while (!RB_EMPTY(&type->index))
                        object_free(RB_ROOT(&type->index));
                list_remove(&type->in_storage);
                free(type);
        }
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

int storage_open(const struct storage_config *config, struct error *error,
                 struct storage **ret_storage)
{
        struct storage *storage = calloc(1, sizeof(*storage));
        struct storage_type *type;
        int r = 0;

        if (!storage)
                return -ENOMEM;
        storage->config = *config;
        if (!storage->config.log_events)
                storage->config.log_events = LIMIT_WATCH_LOG_EVENTS;
        if (!storage->config.log_bytes)
                storage->config.log_bytes = LIMIT_WATCH_LOG_BYTES;
        list_init(&storage->types);
        list_init(&storage->in_flight);
        list_init(&storage->log);
        list_init(&storage->ready);
        storage->revision = 1; /* 0 has a meaning of its own in the API */

        if (config->directory) {
                struct store_config store = {
                        .loop = config->loop,
                        .directory = config->directory,
                        .vfs = config->vfs,
                        .load = on_store_load,
                        .done = on_store_done,
                        .aborted = on_store_aborted,
                        .delivered = on_store_delivered,
                        .user = storage,
                };
                uint64_t revision;
                r = store_open(&store, error, &storage->store, &revision);
                if (r == 0 && revision > storage->revision)
                        storage->revision = revision;
        }
        if (r < 0) {
                free_types(storage);
                free(storage);
                return r;
        }
        storage->head = storage->revision;
        list_for_each (type, &storage->types, in_storage)
                type->floor = storage->revision;
        uv_idle_init(config->loop, &storage->idle);
        storage->idle.data = storage;
        *ret_storage = storage;
        return 0;
}

void storage_close(struct storage *storage)
{
        if (!storage)
                return;
        commit_in_memory(storage);
        storage->closing = true;
        store_close(storage->store);
        storage_log_deinit(storage);
        free_types(storage);
        uv_close((uv_handle_t *)&storage->idle, on_closed);
}

struct storage_counters storage_counters(const struct storage *storage)
{
        struct storage_counters counters = storage->counters;

        counters.objects = storage->objects;
        counters.log_events = storage->log_events;
        counters.log_bytes = storage->log_bytes;
        counters.watches = storage->watches;
        counters.waiting = storage->waiting;
        if (storage->store) {
                struct store_counters store = store_counters(storage->store);
                counters.transactions = store.transactions;
                counters.commit_ns = store.commit_ns;
                counters.checkpoints = store.checkpoints;
                counters.log_frames = store.log_frames;
        }
        return counters;
}
