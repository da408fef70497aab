// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "net/http_client_connection.h"

/*
 * Which call goes over which shared connection. Whether a server speaks HTTP/2 is only known when
 * the connection stands, so the first call to an origin leads and later ones wait for what it
 * finds.
 */

/* ---- what is kept of a request until then ---- */

static int keep_str(struct arena *arena, struct str *text)
{
        *text = arena_str(arena, *text);
        return text->data ? 0 : -ENOMEM;
}

static int keep_fields(struct arena *arena, const struct http_header *headers, size_t count,
                       const struct http_header **ret_headers)
{
        struct http_header *kept = arena_new(arena, struct http_header, count + 1);

        if (!kept)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                if (!http_is_token(headers[i].name) || !http_is_field_value(headers[i].value))
                        return -EINVAL;
                kept[i].name = arena_str(arena, headers[i].name);
                kept[i].value = arena_str(arena, headers[i].value);
                if (!kept[i].name.data || !kept[i].value.data)
                        return -ENOMEM;
        }
        *ret_headers = kept;
        return 0;
}

int http_call_keep(struct http_call *call, const struct http_request *request)
{
        struct arena *arena = &call->arena;
        struct http_request *kept = arena_new(arena, struct http_request, 1);

        if (!kept)
                return -ENOMEM;
        *kept = *request;
        if (!http_is_token(call->method) || !http_is_target(request->target) ||
            !http_is_field_value(request->host))
                return -EINVAL;
        int r = keep_str(arena, &kept->target);
        if (r == 0)
                r = keep_str(arena, &kept->host);
        if (r == 0)
                r = keep_str(arena, &kept->origin.host);
        if (r == 0)
                r = keep_fields(arena, request->headers, request->header_count, &kept->headers);
        if (r == 0)
                r = buffer_append_str(&call->outgoing, request->body);
        if (r < 0)
                return r;
        if (!request->streamed)
                kept->content_length = (int64_t)request->body.length;
        kept->streamed = true;
        kept->body = STR_EMPTY;
        call->kept = kept;
        return 0;
}

int http_call_keep_trailers(struct http_call *call, const struct http_header *trailers,
                            size_t count)
{
        int r = keep_fields(&call->arena, trailers, count, &call->trailers);

        if (r == 0)
                call->trailer_count = count;
        return r;
}

/* ---- sessions ---- */

struct http_client_session *http_client_session_find(struct http_client *client, struct str key)
{
        uint32_t hash = str_fnv1a(key);
        struct http_client_session *session;

        list_for_each (session, &client->sessions[hash % HTTP_CLIENT_BUCKETS], link)
                if (session->hash == hash && str_equal(buffer_str(&session->key), key) &&
                    client->options.http2->has_room(session)) {
                        client->counters.reuses++;
                        return session;
                }
        return NULL;
}

int http_call_attach(struct http_call *call, struct http_client_session *session)
{
        int r = call->client->options.http2->begin(session, call);

        if (r < 0)
                return r;
        call->state = HTTP_CALL_WAITING_FOR_HEAD;
        call->reused = true;
        buffer_deinit(&call->outgoing);
        return 0;
}

/* ---- origins without HTTP/2 ---- */

static uint32_t *http1_slot(struct http_client *client, uint32_t hash)
{
        return &client->http1_only[hash % HTTP_CLIENT_HTTP1_ONLY];
}

bool http_client_is_http1(struct http_client *client, struct str key)
{
        uint32_t hash = str_fnv1a(key);

        return *http1_slot(client, hash) == hash;
}

void http_client_note_http1(struct http_client *client, struct str key, bool http1)
{
        uint32_t hash = str_fnv1a(key), *slot = http1_slot(client, hash);

        if (http1)
                *slot = hash;
        else if (*slot == hash)
                *slot = 0;
}

/* ---- waiting for another's connection ---- */

void http_call_lead(struct http_call *call)
{
        list_append(&call->client->leaders, &call->leader_link);
}

bool http_call_join(struct http_call *call)
{
        struct http_call *leader;

        list_for_each (leader, &call->client->leaders, leader_link)
                if (str_equal(buffer_str(&leader->key), buffer_str(&call->key))) {
                        call->leader = leader;
                        call->state = HTTP_CALL_JOINING;
                        return true;
                }
        return false;
}

/* Leads no more. Returns whether it did. */
static bool stop_leading(struct http_call *leader)
{
        if (list_is_empty(&leader->leader_link))
                return false;
        list_remove(&leader->leader_link);
        return !leader->client->closing;
}

static bool has_joined(const struct http_call *call, const struct http_call *leader)
{
        return call->state == HTTP_CALL_JOINING && call->leader == leader;
}

void http_call_release_joiners(struct http_call *leader, struct http_client_session *session)
{
        struct http_client *client = leader->client;
        bool each_alone = http_client_is_http1(client, buffer_str(&leader->key));
        struct http_call *call, *next_leader = NULL;
        int r;

        if (!stop_leading(leader))
                return;
        list_for_each (call, &client->calls, link) {
                if (!has_joined(call, leader))
                        continue;
                call->leader = next_leader;
                if (session && client->options.http2->has_room(session)) {
                        r = http_call_attach(call, session);
                        if (r == 0)
                                http_call_connected_later(call);
                } else if (next_leader) {
                        continue;
                } else {
                        if (!each_alone) {
                                next_leader = call;
                                http_call_lead(call);
                        }
                        r = http_call_dial(call);
                }
                if (r < 0)
                        http_call_fail_later(call, HTTP_ERROR_MEMORY, r);
        }
}

void http_call_fail_joiners(struct http_call *leader, enum http_error error, int code)
{
        struct http_call *call;

        if (!stop_leading(leader))
                return;
        list_for_each (call, &leader->client->calls, link)
                if (has_joined(call, leader)) {
                        call->leader = NULL;
                        http_call_fail_later(call, error, code);
                }
}
