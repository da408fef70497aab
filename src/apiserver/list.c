// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/gzip.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "crypto/encode.h"

/*
 * LIST: a small answer goes out whole; a large one in pieces of at most PIECE_NS of work, one a
 * turn of the loop, as fast as the client takes them.
 */
enum {
        PIECE_NS = 500 * 1000,
        PIECE_BYTES = 256 * 1024,
};

struct listing {
        struct api_call *call;
        struct storage_list list;
        struct net_task task;
        struct buffer out;
        uint64_t count, last_revision;
        struct buffer token; /* where the next page begins; empty: there is none */
        bool begun;          /* the head of a chunked answer has gone out */
        struct gzip *gzip;   /* of a chunked answer to a client that takes it; else NULL */
        struct str unzipped; /* of `out`, still to be compressed */
        struct buffer zipped;
        bool finished; /* `out` has the end of the answer */
};

/* ---- continue tokens: base64 of "revision/namespace/name" ---- */

static int token_write(const struct storage_list *list, struct buffer *token)
{
        _cleanup_buffer_ struct buffer plain = {};
        struct str name_space, name;
        int r;

        storage_list_position(list, &name_space, &name);
        r = buffer_printf(&plain, "%llu/%.*s/%.*s", (unsigned long long)list->revision,
                          STR_FORMAT(name_space), STR_FORMAT(name));
        return r < 0 ? r : base64_append(token, BASE64_URL_UNPADDED, plain.data, plain.length);
}

static int token_read(struct arena *arena, struct str token, uint64_t *ret_revision,
                      struct str *ret_namespace, struct str *ret_name)
{
        _cleanup_buffer_ struct buffer plain = {};
        struct str text, revision;
        int r = base64_decode(&plain, BASE64_URL_UNPADDED, token);

        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;
        text = arena_str(arena, buffer_str(&plain));
        if (!text.data)
                return -ENOMEM;
        if (!str_cut(text, '/', &revision, &text) ||
            str_to_u64(revision, INT64_MAX, ret_revision) < 0 || *ret_revision == 0 ||
            !str_cut(text, '/', ret_namespace, ret_name) || ret_name->length == 0)
                return -EINVAL;
        return 0;
}

/* ---- pieces ---- */

static void listing_free(struct api_call *call)
{
        struct listing *listing = call->stream;

        net_task_cancel(&listing->task);
        storage_list_end(&listing->list);
        gzip_free(listing->gzip);
        buffer_deinit(&listing->zipped);
        buffer_deinit(&listing->out);
        buffer_deinit(&listing->token);
        call->stream = NULL;
        call->stream_end = NULL;
        call->drain = NULL;
        free(listing);
}

/* Adds items for a while. Returns 1 at the end, 0 when there is more. */
static int add_items(struct listing *listing)
{
        struct api_call *call = listing->call;
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;
        struct json_doc *doc;
        int r;

        do {
                if (call->options.limit > 0 && listing->count >= call->options.limit) {
                        r = storage_list_has_more(&listing->list);
                        if (r == 1)
                                r = token_write(&listing->list, &listing->token);
                        return r < 0 ? r : 1;
                }
                r = storage_list_next(&listing->list, &doc);
                if (r <= 0)
                        return r < 0 ? r : 1;
                if (!select_matches(call, doc))
                        continue;
                if (listing->count++ > 0)
                        r = buffer_append_char(&listing->out, ',');
                else
                        r = 0;
                if (r == 0)
                        r = render_item(call, doc, &listing->out);
                if (r < 0)
                        return r;
        } while (listing->out.length < PIECE_BYTES && clock_monotonic_ns() < deadline);
        return 0;
}

static void fail(struct listing *listing, int r)
{
        struct api_call *call = listing->call;
        struct http_exchange *exchange = call->exchange;
        struct kube_status status;

        if (listing->begun) {
                listing_free(call);
                api_call_release(call);
                http_exchange_abort(exchange);
                return;
        }
        listing_free(call);
        if (r == -ESTALE) {
                status = kube_status_expired(call->arena,
                                             "The provided continue parameter is too old to "
                                             "display a consistent list result. You must start a "
                                             "new list without the continue parameter.");
                api_call_fail(call, &status);
        } else {
                api_call_fail_errno(call, r);
        }
}

/* The answer is complete and small: it goes out whole. */
static void respond(struct listing *listing)
{
        struct api_call *call = listing->call;
        struct buffer out = listing->out;

        listing->out = (struct buffer){};
        listing_free(call);
        api_call_respond_buffer(call, 200, &out);
        buffer_deinit(&out);
}

static int begin(struct listing *listing)
{
        struct http_header headers[API_HEADERS_MAX];
        struct api_call *call = listing->call;
        size_t count;

        if (gzip_is_accepted(call) && gzip_new(&listing->gzip) < 0)
                return -ENOMEM;
        call->gzipped = listing->gzip;
        count = api_call_headers(call, "application/json", headers);
        http_exchange_begin(call->exchange, 200, headers, count, HTTP_LENGTH_UNKNOWN);
        listing->begun = true;
        return 0;
}

/* Sends what `out` holds. Returns 1 when all of it has gone, 0 when there is more to compress. */
static int send_piece(struct listing *listing)
{
        struct http_exchange *exchange = listing->call->exchange;
        struct buffer *text = &listing->out;
        int r;

        if (!listing->begun) {
                r = begin(listing);
                if (r < 0)
                        return r;
        }
        if (listing->gzip) {
                text = &listing->zipped;
                r = gzip_some(listing->gzip, &listing->unzipped, listing->finished, text);
                if (r < 0)
                        return r;
        } else {
                r = 1;
                listing->unzipped = STR_EMPTY;
        }
        if (text->length > 0)
                http_exchange_send(exchange, &(struct stream_piece){ buffer_str(text) }, 1);
        buffer_clear(text);
        if (r == 1)
                buffer_clear(&listing->out);
        return r;
}

static void end(struct listing *listing)
{
        struct api_call *call = listing->call;
        struct http_exchange *exchange = call->exchange;

        listing_free(call);
        call->server->counters.requests++;
        api_call_release(call);
        http_exchange_end(exchange, NULL, 0);
}

/* One turn: adds items, or compresses what was added, and sends. */
static int advance(struct listing *listing)
{
        struct api_call *call = listing->call;
        int r;

        if (listing->unzipped.length == 0 && !listing->finished) {
                r = add_items(listing);
                if (r == 1) {
                        listing->finished = true;
                        r = render_list_end(call, listing->list.revision,
                                            buffer_str(&listing->token), 0, &listing->out);
                }
                if (r < 0)
                        return r;
                if (listing->finished && !listing->begun)
                        return 1;
                listing->unzipped = buffer_str(&listing->out);
        }
        r = send_piece(listing);
        return r < 0 ? r : r == 1 && listing->finished;
}

static void run(struct net_task *task)
{
        struct listing *listing = container_of(task, struct listing, task);
        struct api_call *call = listing->call;
        int r = advance(listing);

        if (r < 0)
                fail(listing, r);
        else if (r == 1 && !listing->begun)
                respond(listing);
        else if (r == 1)
                end(listing);
        else if (!http_exchange_is_congested(call->exchange))
                net_loop_defer(call->server->loop, &listing->task);
}

static void on_drain(struct api_call *call)
{
        struct listing *listing = call->stream;

        if (!net_task_is_queued(&listing->task))
                net_loop_defer(call->server->loop, &listing->task);
}

/* ---- the request ---- */

/* Which revision is wanted and where to begin. Returns 0, or -EINVAL with `status`. */
static int find_start(struct api_call *call, uint64_t *revision, struct str *name_space,
                      struct str *name, struct kube_status *status)
{
        const struct api_options *options = &call->options;
        uint64_t current = storage_revision(call->server->storage);
        int r;

        *revision = 0;
        *name_space = *name = STR_EMPTY;
        if (options->continue_token.length > 0) {
                r = token_read(call->arena, options->continue_token, revision, name_space, name);
                if (r == 0 && *revision <= current)
                        return 0;
                *status = kube_status_bad_request(call->arena, "continue key is not valid");
                return -EINVAL;
        }
        if (options->match != MATCH_UNSET && !options->has_resource_version) {
                *status = kube_status_bad_request(call->arena,
                                                  "resourceVersionMatch is forbidden unless "
                                                  "resourceVersion is provided");
                return -EINVAL;
        }
        if (!options->has_resource_version || options->resource_version == 0)
                return 0;
        if (options->resource_version > current) {
                *status = kube_status_timeout(
                        call->arena, "Too large resource version: %llu, current: %llu",
                        (unsigned long long)options->resource_version, (unsigned long long)current);
                status->retry_after_seconds = 1;
                return -EINVAL;
        }
        if (options->match == MATCH_EXACT)
                *revision = options->resource_version;
        return 0;
}

void api_list(struct api_call *call)
{
        struct kube_status status;
        struct str name_space, name;
        struct listing *listing;
        uint64_t revision;
        int r;

        if (select_check(call, &status) < 0 ||
            find_start(call, &revision, &name_space, &name, &status) < 0) {
                api_call_fail(call, &status);
                return;
        }
        listing = calloc(1, sizeof(*listing));
        if (!listing) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        listing->call = call;
        listing->task.run = run;
        call->stream = listing;
        call->stream_end = listing_free;
        call->drain = on_drain;
        r = storage_list_begin(&listing->list, call->resource->storage, call->path.name_space,
                               revision, name_space, name);
        if (r == 0)
                r = render_list_begin(call, &listing->out);
        if (r < 0)
                fail(listing, r);
        else
                run(&listing->task);
}
