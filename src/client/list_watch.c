// SPDX-License-Identifier: Apache-2.0
#include "client/list_watch.h"

#include <errno.h>
#include <stdlib.h>

/* Before uthash.h: a failed insertion leaves the element out instead of ending the process. */
#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(elem) ((elem)->lost = true)
#include <uthash.h>

#include "client/resource.h"

enum {
        CHUNK_DEFAULT = 500,
        UNREACHABLE_MOST_MS = 2000,
        LONG_ENOUGH_MS = 1000, /* a stream that lasted so long was no failure from the start */
};
#define END_OF_LIST STR("k8s.io/initial-events-end")

struct list_watch_key {
        UT_hash_handle hh;
        uint64_t mark; /* the last list that had it, or during which it was told */
        bool lost;
        unsigned namespace_length, length;
        char text[]; /* "namespace/name" */
};

/* ---- the names that were told ---- */

static struct list_watch_key *find_key(struct list_watch *lw, struct str text)
{
        struct list_watch_key *key = NULL;

        HASH_FIND(hh, lw->keys, text.data, text.length, key);
        return key;
}

static int remember(struct list_watch *lw, struct str name_space, struct str name)
{
        char text[512];
        int length =
                snprintf(text, sizeof(text), "%.*s/%.*s", STR_FORMAT(name_space), STR_FORMAT(name));

        if (length < 0 || (size_t)length >= sizeof(text))
                return -EBADMSG;
        struct list_watch_key *key = find_key(lw, (struct str){ text, (size_t)length });
        if (!key) {
                key = calloc(1, sizeof(*key) + (size_t)length);
                if (!key)
                        return -ENOMEM;
                memcpy(key->text, text, (size_t)length);
                key->length = (unsigned)length;
                key->namespace_length = (unsigned)name_space.length;
                HASH_ADD(hh, lw->keys, text, (unsigned)length, key);
                if (key->lost) {
                        free(key);
                        return -ENOMEM;
                }
        }
        key->mark = lw->mark;
        return 0;
}

static void forget(struct list_watch *lw, struct str name_space, struct str name)
{
        char text[512];
        int length =
                snprintf(text, sizeof(text), "%.*s/%.*s", STR_FORMAT(name_space), STR_FORMAT(name));

        if (length < 0 || (size_t)length >= sizeof(text))
                return;
        struct list_watch_key *key = find_key(lw, (struct str){ text, (size_t)length });
        if (key) {
                HASH_DEL(lw->keys, key);
                free(key);
        }
}

static void tell_vanished(struct list_watch *lw)
{
        struct list_watch_key *key, *next;

        HASH_ITER (hh, lw->keys, key, next) {
                if (key->mark == lw->mark)
                        continue;
                struct str text = { key->text, key->length };
                struct kube_event event = {
                        .type = KUBE_DELETED,
                        .name_space = str_slice(text, 0, key->namespace_length),
                        .name = str_slice(text, key->namespace_length + 1, key->length),
                };
                HASH_DEL(lw->keys, key);
                lw->options.handler(lw->options.user, &event);
                free(key);
        }
}

/* ---- telling ---- */

static uint64_t version_number(struct str version)
{
        uint64_t number;

        return str_to_u64(version, UINT64_MAX, &number) < 0 ? 0 : number;
}

static int keep(struct buffer *buffer, struct str text)
{
        buffer_clear(buffer);
        return buffer_append_str(buffer, text);
}

static int tell(struct list_watch *lw, enum kube_event_type type, struct json_doc *doc)
{
        struct json_value meta = json_get(json_root(doc), "metadata");
        struct kube_event event = {
                .type = type,
                .name_space = json_string(json_get(meta, "namespace")),
                .name = json_string(json_get(meta, "name")),
                .resource_version = version_number(json_string(json_get(meta, "resourceVersion"))),
                .doc = doc,
        };

        if (event.name.length == 0)
                return -EBADMSG;
        if (lw->options.tell_vanished) {
                if (type == KUBE_DELETED) {
                        forget(lw, event.name_space, event.name);
                } else {
                        int r = remember(lw, event.name_space, event.name);
                        if (r < 0)
                                return r;
                }
        }
        lw->options.handler(lw->options.user, &event);
        return 0;
}

static void begin_list(struct list_watch *lw)
{
        struct kube_event event = { .type = KUBE_LIST_BEGIN };

        lw->mark++;
        lw->listing = true;
        lw->options.handler(lw->options.user, &event);
}

static int end_list(struct list_watch *lw, struct str version)
{
        struct kube_event event = { .type = KUBE_LIST_END,
                                    .resource_version = version_number(version) };

        if (version.length == 0)
                return -EBADMSG;
        int r = keep(&lw->resource_version, version);
        if (r < 0)
                return r;
        buffer_clear(&lw->continue_token);
        lw->listing = false;
        lw->whole = false;
        lw->expired = false;
        lw->synced = true;
        backoff_reset(&lw->backoff);
        tell_vanished(lw);
        lw->options.handler(lw->options.user, &event);
        return 0;
}

/* ---- the machine ---- */

int list_watch_init(struct list_watch *lw, const struct kube_reflector_options *options)
{
        struct list_watch made = {
                .options = *options,
                .backoff = { .first_ms = 50, .most_ms = 15000 },
                .watch_list = !options->no_watch_list,
        };
        struct str *strings[] = { &made.options.name_space, &made.options.label_selector,
                                  &made.options.field_selector };

        if (!options->handler || !options->kind)
                return -EINVAL;
        if (made.options.chunk == 0)
                made.options.chunk = CHUNK_DEFAULT;
        for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
                *strings[i] = arena_str(&made.arena, *strings[i]);
                if (!strings[i]->data) {
                        arena_deinit(&made.arena);
                        return -ENOMEM;
                }
        }
        *lw = made;
        return 0;
}

void list_watch_deinit(struct list_watch *lw)
{
        struct list_watch_key *key, *next;

        HASH_ITER (hh, lw->keys, key, next) {
                HASH_DEL(lw->keys, key);
                free(key);
        }
        arena_deinit(&lw->arena);
        buffer_deinit(&lw->resource_version);
        buffer_deinit(&lw->continue_token);
}

bool list_watch_is_streaming_list(const struct list_watch *lw)
{
        return lw->watch_list && lw->resource_version.length == 0;
}

enum list_watch_step list_watch_step(const struct list_watch *lw)
{
        return lw->resource_version.length > 0 || list_watch_is_streaming_list(lw)
                       ? LIST_WATCH_WATCH
                       : LIST_WATCH_GET;
}

static int append_number(struct buffer *out, const char *key, unsigned number)
{
        char text[16];

        snprintf(text, sizeof(text), "%u", number);
        return kube_query_append(out, key, str_from(text));
}

static int append_watch(const struct list_watch *lw, unsigned timeout_s, struct buffer *out)
{
        int r = kube_query_append(out, "watch", STR("true"));

        if (r == 0)
                r = kube_query_append(out, "allowWatchBookmarks", STR("true"));
        if (r == 0)
                r = append_number(out, "timeoutSeconds", timeout_s);
        if (r == 0 && lw->resource_version.length > 0)
                return kube_query_append(out, "resourceVersion", buffer_str(&lw->resource_version));
        /* Without a resourceVersion: the newest state. */
        if (r == 0)
                r = kube_query_append(out, "sendInitialEvents", STR("true"));
        if (r == 0)
                r = kube_query_append(out, "resourceVersionMatch", STR("NotOlderThan"));
        return r;
}

int list_watch_path(const struct list_watch *lw, unsigned timeout_s, struct buffer *out)
{
        int r = kube_path_append(out, lw->options.kind, lw->options.name_space, STR_EMPTY,
                                 STR_EMPTY);

        if (r == 0 && lw->options.label_selector.length > 0)
                r = kube_query_append(out, "labelSelector", lw->options.label_selector);
        if (r == 0 && lw->options.field_selector.length > 0)
                r = kube_query_append(out, "fieldSelector", lw->options.field_selector);
        if (r < 0)
                return r;
        if (list_watch_step(lw) == LIST_WATCH_WATCH)
                return append_watch(lw, timeout_s, out);
        if (!lw->whole)
                r = append_number(out, "limit", lw->options.chunk);
        if (r == 0 && lw->continue_token.length > 0)
                r = kube_query_append(out, "continue", buffer_str(&lw->continue_token));
        return r;
}

static int pass_bookmark(struct list_watch *lw, struct str version)
{
        const struct kube_event event = { .type = KUBE_BOOKMARK,
                                          .resource_version = version_number(version) };
        int r = keep(&lw->resource_version, version);

        if (r == 0 && lw->options.tell_bookmarks)
                lw->options.handler(lw->options.user, &event);
        return r;
}

static int item_of_kind(const struct kind *kind, struct str item, struct json_doc **ret_doc)
{
        struct json_options options = { .size_limit = WATCH_LINE_LIMIT };
        _cleanup_buffer_ struct buffer text = {};
        int r = buffer_printf(&text, "{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s%s%.*s\",",
                              STR_FORMAT(kind->kind), STR_FORMAT(kind->group),
                              kind->group.length > 0 ? "/" : "", STR_FORMAT(kind->version));

        if (r == 0)
                r = buffer_append_str(&text, str_slice(item, 1, item.length));
        return r < 0 ? r : json_doc_parse(buffer_str(&text), &options, NULL, NULL, ret_doc);
}

/*
 * Items of a list of a core kind lack what says their kind; a watch's objects have it. Every server
 * writes it first where it is, so that nearly always one look saves parsing twice. (Were it there
 * all the same, the later of two keys would count.)
 */
static int item_doc(const struct list_watch *lw, struct str item, struct json_doc **ret_doc)
{
        struct json_options options = { .size_limit = WATCH_LINE_LIMIT };
        _cleanup_doc_ struct json_doc *doc = NULL;

        if (str_starts_with(item, STR("{\"metadata\":")))
                return item_of_kind(lw->options.kind, item, ret_doc);
        int r = json_doc_parse(item, &options, NULL, NULL, &doc);
        if (r < 0)
                return r;
        if (!json_exists(json_get(json_root(doc), "kind")) && json_count(json_root(doc)) > 0)
                return item_of_kind(lw->options.kind, item, ret_doc);
        *ret_doc = TAKE_POINTER(doc);
        return 0;
}

int list_watch_item(void *user, struct str item)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct list_watch *lw = user;
        int r = item_doc(lw, item, &doc);

        return r < 0 ? r : tell(lw, KUBE_ADDED, doc);
}

int list_watch_page(struct list_watch *lw, const struct json_doc *rest)
{
        struct json_value root = json_root(rest), meta = json_get(root, "metadata");
        struct json_value items = json_get(root, "items");
        struct str more = json_string(json_get(meta, "continue"));

        /* `items: null` is what older servers say of an empty list. */
        if (json_type(root) != JSON_OBJECT || json_type(meta) != JSON_OBJECT ||
            (json_type(items) != JSON_ARRAY && json_type(items) != JSON_NULL))
                return -EBADMSG;
        if (more.length > 0)
                return keep(&lw->continue_token, more);
        return end_list(lw, json_string(json_get(meta, "resourceVersion")));
}

void list_watch_begun(struct list_watch *lw)
{
        lw->events = 0;
        if (lw->resource_version.length == 0 && lw->continue_token.length == 0)
                begin_list(lw);
}

int list_watch_event(void *user, enum watch_type type, struct json_doc *object)
{
        static const enum kube_event_type types[] = {
                [WATCH_ADDED] = KUBE_ADDED,
                [WATCH_MODIFIED] = KUBE_MODIFIED,
                [WATCH_DELETED] = KUBE_DELETED,
        };
        struct list_watch *lw = user;
        struct json_value meta = json_get(json_root(object), "metadata");
        struct str version = json_string(json_get(meta, "resourceVersion"));

        lw->events++;
        if (type == WATCH_ERROR)
                return LIST_WATCH_AGAIN;
        if (type == WATCH_BOOKMARK) {
                bool end = json_string_is(json_member(json_get(meta, "annotations"), END_OF_LIST),
                                          STR("true"));
                if (lw->listing)
                        return end ? end_list(lw, version) : 0;
                return version.length > 0 ? pass_bookmark(lw, version) : 0;
        }
        int r = tell(lw, types[type], object);
        /* While a list streams in, its objects come in no order: there is nothing to resume from
         * before its end. */
        if (r == 0 && !lw->listing && version.length > 0)
                r = keep(&lw->resource_version, version);
        if (r == 0 && !lw->listing)
                backoff_reset(&lw->backoff);
        return r;
}

static void list_again(struct list_watch *lw)
{
        buffer_clear(&lw->resource_version);
        buffer_clear(&lw->continue_token);
        lw->listing = false;
}

static bool refuses_watch_list(const struct list_watch_failure *failure)
{
        return failure->status == 400 || failure->status == 405 || failure->status == 422 ||
               failure->silent;
}

/* Whether going on from the present resourceVersion would only fail again. */
static bool needs_list(const struct list_watch *lw, const struct list_watch_failure *failure)
{
        switch (failure->status) {
        case 400: /* no resourceVersion of this server */
        case 404: /* the resource is gone, and may come back another */
        case 410:
        case 422:
        case 504: /* a resourceVersion that this server has not reached */
                return true;
        default:
                /* A list that broke off begins anew. What does not parse would come again. */
                return lw->listing || failure->error == -EBADMSG || failure->error == -EFBIG;
        }
}

uint64_t list_watch_failed(struct list_watch *lw, const struct list_watch_failure *failure,
                           enum kube_reflector_state *ret_state)
{
        if (list_watch_is_streaming_list(lw) && refuses_watch_list(failure)) {
                lw->watch_list = false;
                list_again(lw);
                *ret_state = KUBE_REFLECTOR_LISTING;
                return 0;
        }
        /* Between two pages: lists without chunks cannot expire so. */
        bool between_pages = failure->status == 410 && lw->continue_token.length > 0;
        if (between_pages)
                lw->whole = true;
        bool went_well =
                failure->error == KUBE_LOST && !lw->listing && failure->lasted_ms >= LONG_ENOUGH_MS;
        if (needs_list(lw, failure))
                list_again(lw);
        if (failure->lasted_ms >= LONG_ENOUGH_MS)
                backoff_reset(&lw->backoff);
        /* Not a failure yet: old versions are forgotten when a server starts again, and watches
         * that have gone well end when it stops. */
        if (failure->status == 410 && (!lw->expired || between_pages)) {
                lw->expired = true;
                *ret_state = KUBE_REFLECTOR_LISTING;
                return 0;
        }
        uint64_t delay = backoff_next(&lw->backoff);
        /* Asking where nobody listens costs nobody anything. */
        if (failure->error == KUBE_UNREACHABLE && delay > UNREACHABLE_MOST_MS)
                delay = UNREACHABLE_MOST_MS / 2 + delay % (UNREACHABLE_MOST_MS / 2);
        *ret_state = went_well                                          ? KUBE_REFLECTOR_WATCHING
                     : failure->status == 401 || failure->status == 403 ? KUBE_REFLECTOR_FORBIDDEN
                                                                        : KUBE_REFLECTOR_WAITING;
        return MAX(delay, (uint64_t)failure->retry_after_s * 1000);
}

void list_watch_restart(struct list_watch *lw)
{
        list_again(lw);
}

uint64_t list_watch_ended(struct list_watch *lw, uint64_t lasted_ms)
{
        if (lw->listing)
                list_again(lw);
        if (lw->events == 0 && lasted_ms < LONG_ENOUGH_MS)
                return backoff_next(&lw->backoff);
        backoff_reset(&lw->backoff);
        return 0;
}
