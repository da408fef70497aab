// SPDX-License-Identifier: Apache-2.0
#include "net/http_client_connection.h"

#include <errno.h>
#include <stdlib.h>

/* ---- ends ---- */

static void run_free(struct net_task *task)
{
        struct http_client_connection *c = container_of(task, struct http_client_connection, task);

        buffer_deinit(&c->input);
        free(c);
}

static void leave_pool(struct http_client_connection *c)
{
        if (!c->pooled)
                return;
        c->pooled = false;
        list_remove(&c->bucket_link);
        list_remove(&c->age_link);
        net_timer_stop(&c->idle);
        c->client->counters.idle--;
}

struct stream *http_client_connection_detach(struct http_client_connection *c)
{
        struct stream *stream = c->stream;

        if (c->gone)
                return NULL;
        c->gone = true;
        c->call = NULL;
        c->stream = NULL;
        leave_pool(c);
        net_task_cancel(&c->task);
        c->task.run = run_free;
        net_loop_defer(c->client->loop, &c->task);
        return stream;
}

void http_client_connection_close(struct http_client_connection *c)
{
        stream_close(http_client_connection_detach(c));
}

/* ---- reading ---- */

/* Hands *input to the call; afterwards holds the network back while the call takes no more. */
static void read_input(struct http_client_connection *c, struct str *input)
{
        c->current = input;
        if (c->call)
                http_call_read(c->call, input);
        c->current = NULL;
}

static void after_reading(struct http_client_connection *c)
{
        if (c->input.length == 0)
                buffer_deinit(&c->input);
        if (c->call && c->input.length > 0 && http_call_is_stuck(c->call))
                stream_pause(c->stream);
        else
                stream_resume(c->stream);
}

static void run_continue(struct net_task *task)
{
        struct http_client_connection *c = container_of(task, struct http_client_connection, task);
        struct str rest = buffer_str(&c->input);

        read_input(c, &rest);
        if (c->gone)
                return;
        buffer_consume(&c->input, c->input.length - rest.length);
        after_reading(c);
}

void http_client_connection_continue(struct http_client_connection *c)
{
        if (!c->gone)
                net_loop_defer(c->client->loop, &c->task);
}

static void broken(struct http_client_connection *c, int error)
{
        struct http_call *call = c->call;

        http_client_connection_close(c);
        if (call)
                http_call_ended(call, error);
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        struct http_client_connection *c = user;

        (void)stream;
        /* Nobody asked: an answer to nothing would be taken for the next one's. */
        if (!c->call) {
                http_client_connection_close(c);
                return;
        }
        if (c->input.length > 0) {
                if (buffer_append_str(&c->input, data) < 0)
                        broken(c, -ENOMEM);
                else
                        run_continue(&c->task);
                return;
        }
        read_input(c, &data);
        if (c->gone)
                return;
        if (data.length > 0 && buffer_append_str(&c->input, data) < 0) {
                broken(c, -ENOMEM);
                return;
        }
        after_reading(c);
}

static void on_open(struct stream *stream, void *user)
{
        struct http_client_connection *c = user;

        (void)stream;
        c->open = true;
        if (c->call)
                http_call_opened(c->call);
}

static void on_drain(struct stream *stream, void *user)
{
        struct http_client_connection *c = user;

        (void)stream;
        if (c->call)
                http_call_drained(c->call);
}

static void on_end(struct stream *stream, void *user)
{
        struct http_client_connection *c = user;

        (void)stream;
        if (c->call)
                http_call_ended(c->call, 0);
        else
                http_client_connection_close(c);
}

static void on_close(struct stream *stream, void *user, int error)
{
        (void)stream;
        broken(user, error < 0 ? error : -ECONNRESET);
}

static const struct stream_callbacks callbacks = { on_open, on_data, on_drain, on_end, on_close };

int http_client_connection_new(struct http_client *client, const struct net_address *address,
                               struct stream_filter *filter, struct str server_name, struct str key,
                               struct http_client_connection **ret_connection)
{
        struct http_client_connection *c = calloc(1, sizeof(*c) + key.length);

        if (!c)
                return -ENOMEM;
        int r = stream_connect(client->loop, address, &c->stream);
        if (r == 0 && filter)
                r = filter->wrap(filter, c->stream, server_name, &c->stream);
        if (r < 0) {
                free(c);
                return r;
        }
        c->client = client;
        c->task.run = run_continue;
        c->hash = str_fnv1a(key);
        c->key_length = key.length;
        memcpy(c->key, key.data, key.length);
        client->counters.connects++;
        stream_start(c->stream, &callbacks, c);
        *ret_connection = c;
        return 0;
}

/* ---- the pool ---- */

struct http_client_connection *http_client_pool_take(struct http_client *client, struct str key)
{
        uint32_t hash = str_fnv1a(key);
        struct list *bucket = &client->buckets[hash % HTTP_CLIENT_BUCKETS];
        struct http_client_connection *c;

        list_for_each (c, bucket, bucket_link) {
                if (c->hash != hash || !str_equal((struct str){ c->key, c->key_length }, key))
                        continue;
                if (stream_is_fresh(c->stream)) {
                        leave_pool(c);
                        client->counters.reuses++;
                        return c;
                }
                http_client_connection_close(c);
        }
        return NULL;
}

static void idle_expired(struct net_timer *timer)
{
        http_client_connection_close(container_of(timer, struct http_client_connection, idle));
}

void http_client_pool_put(struct http_client_connection *c)
{
        struct http_client *client = c->client;
        struct list *bucket = &client->buckets[c->hash % HTTP_CLIENT_BUCKETS];
        struct http_client_connection *other;
        unsigned same = 0;

        c->call = NULL;
        buffer_deinit(&c->input);
        list_for_each (other, bucket, bucket_link)
                same += other->hash == c->hash && other->key_length == c->key_length &&
                        memcmp(other->key, c->key, c->key_length) == 0;
        if (same >= client->options.idle_per_origin) {
                http_client_connection_close(c);
                return;
        }
        if (client->counters.idle >= client->options.idle_total)
                http_client_connection_close(
                        list_entry(client->ages.next, struct http_client_connection, age_link));
        /* The newest is used first: the others may then grow old and go. */
        list_append(bucket->next, &c->bucket_link);
        list_append(&client->ages, &c->age_link);
        c->pooled = true;
        client->counters.idle++;
        stream_resume(c->stream);
        net_timer_start(client->loop, &c->idle, client->options.idle_timeout_ms, idle_expired);
}
