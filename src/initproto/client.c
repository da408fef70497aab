// SPDX-License-Identifier: Apache-2.0
#include "initproto/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"

/* What init may say next on a stream. */
enum phase {
        PHASE_IDLE,    /* the main process before START or HELLO */
        PHASE_ASKED,   /* START, EXEC or CONNECT sent */
        PHASE_RUNNING, /* STARTED came */
        PHASE_ENDED,   /* the main process has ended */
        PHASE_GONE,    /* the last event of a stream is under way */
};

struct client_stream {
        struct initproto_stream public;
        struct list in_client;
        enum phase phase;
        bool is_connection; /* CONNECT */
        bool is_terminal;
        bool takes_input, input_ended;
        bool wants_room; /* a short input is to be followed by `writable` */
        bool at_end[INITPROTO_CHANNELS];
        size_t credit;                     /* input that init takes now */
        size_t window[INITPROTO_CHANNELS]; /* output that init may still send */
        size_t owed[INITPROTO_CHANNELS];   /* consumed, not yet told */
};

struct initproto_client {
        const struct initproto_events *events;
        void *owner;
        struct buffer in, out;
        struct list streams; /* without the main process */
        size_t stream_count;
        uint32_t next_stream;
        bool has_hello;
        struct client_stream main;
};

static void stream_init(struct client_stream *stream, uint32_t id, void *owner)
{
        *stream = (struct client_stream){ .public = { .owner = owner, .id = id },
                                          .credit = INITPROTO_WINDOW };
        stream->window[INITPROTO_CHANNEL_OUTPUT] = INITPROTO_WINDOW;
        stream->window[INITPROTO_CHANNEL_ERROR] = INITPROTO_WINDOW;
        list_init(&stream->in_client);
}

int initproto_client_new(const struct initproto_events *events, void *owner,
                         struct initproto_client **ret_client)
{
        struct initproto_client *client = calloc(1, sizeof(*client));

        if (!client)
                return -ENOMEM;
        client->events = events;
        client->owner = owner;
        client->next_stream = INITPROTO_STREAM_FIRST;
        list_init(&client->streams);
        stream_init(&client->main, INITPROTO_STREAM_MAIN, NULL);
        *ret_client = client;
        return 0;
}

static void stream_free(struct initproto_client *client, struct client_stream *stream)
{
        list_remove(&stream->in_client);
        client->stream_count--;
        free(stream);
}

void initproto_client_free(struct initproto_client *client)
{
        struct client_stream *stream;

        if (!client)
                return;
        list_for_each (stream, &client->streams, in_client)
                stream_free(client, stream);
        buffer_deinit(&client->in);
        buffer_deinit(&client->out);
        free(client);
}

struct buffer *initproto_client_output(struct initproto_client *client)
{
        return &client->out;
}

struct initproto_stream *initproto_client_main(struct initproto_client *client)
{
        return &client->main.public;
}

static struct client_stream *stream_of(struct initproto_stream *stream)
{
        return container_of(stream, struct client_stream, public);
}

/* A stream that was closed here may still be spoken of by init for a while: no error, NULL. */
static struct client_stream *find_stream(struct initproto_client *client, uint32_t id)
{
        struct client_stream *stream;

        if (id == INITPROTO_STREAM_MAIN)
                return &client->main;
        list_for_each (stream, &client->streams, in_client) {
                if (stream->public.id == id)
                        return stream;
        }
        return NULL;
}

static int on_hello(struct initproto_client *client, const struct initproto_hello *hello)
{
        static const enum phase phases[] = { [INITPROTO_IDLE] = PHASE_IDLE,
                                             [INITPROTO_RUNNING] = PHASE_RUNNING,
                                             [INITPROTO_ENDED] = PHASE_ENDED };

        if (client->has_hello)
                return -EPROTO;
        client->has_hello = true;
        /* START may have been sent before HELLO was read. */
        if (client->main.phase != PHASE_ASKED || hello->state != INITPROTO_IDLE)
                client->main.phase = phases[hello->state];
        client->main.takes_input = true;
        if (client->events->hello)
                client->events->hello(client->owner, hello);
        return 0;
}

static int on_started(struct initproto_client *client, struct client_stream *stream,
                      const struct initproto_frame *frame)
{
        bool is_main = stream == &client->main;

        /* Another connection may have started the main process. */
        if (stream->phase != PHASE_ASKED && !(is_main && stream->phase == PHASE_IDLE))
                return -EPROTO;
        stream->phase = PHASE_RUNNING;
        if (client->events->started)
                client->events->started(client->owner, &stream->public, frame->started.pid,
                                        frame->started.time_ns);
        return 0;
}

static int on_failed(struct initproto_client *client, struct client_stream *stream,
                     const struct initproto_frame *frame)
{
        bool is_main = stream == &client->main;

        if (stream->phase != PHASE_ASKED && !is_main)
                return -EPROTO;
        if (!is_main)
                stream->phase = PHASE_GONE;
        else if (stream->phase == PHASE_ASKED)
                stream->phase = PHASE_IDLE;
        if (client->events->failed)
                client->events->failed(client->owner, &stream->public, -(int)frame->failed.error,
                                       frame->failed.reason);
        if (!is_main)
                stream_free(client, stream);
        return 0;
}

static int on_exited(struct initproto_client *client, struct client_stream *stream,
                     const struct initproto_exit *exit)
{
        bool is_main = stream == &client->main;

        if (stream->is_connection || stream->phase != PHASE_RUNNING)
                return -EPROTO;
        stream->phase = is_main ? PHASE_ENDED : PHASE_GONE;
        if (client->events->exited)
                client->events->exited(client->owner, &stream->public, exit);
        if (!is_main)
                stream_free(client, stream);
        return 0;
}

static int on_output(struct initproto_client *client, struct client_stream *stream,
                     enum initproto_channel channel, struct str data)
{
        if (stream->phase != PHASE_RUNNING || stream->at_end[channel] ||
            data.length > stream->window[channel])
                return -EPROTO;
        if (channel == INITPROTO_CHANNEL_ERROR && (stream->is_connection || stream->is_terminal))
                return -EPROTO;
        stream->window[channel] -= data.length;
        if (data.length == 0)
                stream->at_end[channel] = true;

        if (client->events->output)
                client->events->output(client->owner, &stream->public, channel, data);
        return 0;
}

static int on_window(struct initproto_client *client, struct client_stream *stream,
                     const struct initproto_frame *frame)
{
        if (frame->window.channel != INITPROTO_CHANNEL_INPUT ||
            stream->credit + frame->window.bytes > INITPROTO_WINDOW)
                return -EPROTO;
        stream->credit += frame->window.bytes;
        if (stream->wants_room) {
                stream->wants_room = false;
                if (client->events->writable)
                        client->events->writable(client->owner, &stream->public);
        }
        return 0;
}

static int on_stream_frame(struct initproto_client *client, const struct initproto_frame *frame)
{
        if (frame->stream >= client->next_stream)
                return -EPROTO;
        struct client_stream *stream = find_stream(client, frame->stream);
        if (!stream)
                return 0;
        switch (frame->type) {
        case INITPROTO_STARTED:
                return on_started(client, stream, frame);
        case INITPROTO_FAILED:
                return on_failed(client, stream, frame);
        case INITPROTO_EXITED:
                return on_exited(client, stream, &frame->exited);
        case INITPROTO_OUTPUT:
                return on_output(client, stream, INITPROTO_CHANNEL_OUTPUT, frame->data);
        case INITPROTO_ERROR:
                return on_output(client, stream, INITPROTO_CHANNEL_ERROR, frame->data);
        case INITPROTO_WINDOW_ADD:
                return on_window(client, stream, frame);
        default:
                return -EPROTO;
        }
}

static int on_frame(struct initproto_client *client, const struct initproto_frame *frame)
{
        if (frame->type == INITPROTO_HELLO)
                return on_hello(client, &frame->hello);
        if (!client->has_hello)
                return -EPROTO;
        if (frame->type == INITPROTO_LOG) {
                if (client->events->log)
                        client->events->log(client->owner, frame->log_end);
                return 0;
        }
        return on_stream_frame(client, frame);
}

int initproto_client_receive(struct initproto_client *client, struct str bytes)
{
        int r = buffer_append_str(&client->in, bytes);
        size_t used = 0;

        while (r == 0) {
                struct initproto_frame frame;
                size_t size;
                r = initproto_decode(str_slice(buffer_str(&client->in), used, client->in.length),
                                     &frame, &size);
                if (r <= 0)
                        break;
                used += size;
                r = on_frame(client, &frame);
        }
        buffer_consume(&client->in, used);
        return r;
}

int initproto_client_start(struct initproto_client *client, const struct initproto_process *process)
{
        struct initproto_frame frame = { .type = INITPROTO_START,
                                         .stream = INITPROTO_STREAM_MAIN,
                                         .process = *process };

        if (client->main.phase != PHASE_IDLE)
                return -EALREADY;
        int r = initproto_encode(&frame, &client->out);
        if (r < 0)
                return r;
        client->main.phase = PHASE_ASKED;
        client->main.takes_input = process->flags & INITPROTO_STDIN;
        client->main.is_terminal = process->flags & INITPROTO_TERMINAL;
        return 0;
}

static int open_stream(struct initproto_client *client, struct initproto_frame *frame, void *owner,
                       struct client_stream **ret_stream)
{
        if (client->stream_count >= INITPROTO_STREAMS || client->next_stream == UINT32_MAX)
                return -EMFILE;
        struct client_stream *stream = malloc(sizeof(*stream));
        if (!stream)
                return -ENOMEM;
        stream_init(stream, client->next_stream, owner);
        stream->phase = PHASE_ASKED;
        frame->stream = stream->public.id;
        int r = initproto_encode(frame, &client->out);
        if (r < 0) {
                free(stream);
                return r;
        }
        client->next_stream++;
        client->stream_count++;
        list_append(&client->streams, &stream->in_client);
        *ret_stream = stream;
        return 0;
}

int initproto_client_exec(struct initproto_client *client, const struct initproto_process *process,
                          void *owner, struct initproto_stream **ret_stream)
{
        struct initproto_frame frame = { .type = INITPROTO_EXEC, .process = *process };
        struct client_stream *stream;
        int r = open_stream(client, &frame, owner, &stream);

        if (r < 0)
                return r;
        stream->takes_input = process->flags & INITPROTO_STDIN;
        stream->is_terminal = process->flags & INITPROTO_TERMINAL;
        *ret_stream = &stream->public;
        return 0;
}

int initproto_client_connect(struct initproto_client *client, struct str host, uint16_t port,
                             void *owner, struct initproto_stream **ret_stream)
{
        struct initproto_frame frame = { .type = INITPROTO_CONNECT };
        struct client_stream *stream;

        frame.connect.host = host;
        frame.connect.port = port;
        int r = open_stream(client, &frame, owner, &stream);
        if (r < 0)
                return r;
        stream->is_connection = true;
        stream->takes_input = true;
        *ret_stream = &stream->public;
        return 0;
}

size_t initproto_client_room(struct initproto_client *client, struct initproto_stream *public)
{
        const struct client_stream *stream = stream_of(public);

        (void)client;
        return stream->takes_input && !stream->input_ended ? stream->credit : 0;
}

ssize_t initproto_client_input(struct initproto_client *client, struct initproto_stream *public,
                               struct str data)
{
        struct client_stream *stream = stream_of(public);
        size_t taken = 0;

        if (!stream->takes_input || stream->input_ended)
                return -EPIPE;
        do {
                struct initproto_frame frame = { .type = INITPROTO_INPUT, .stream = public->id };
                size_t piece =
                        MIN(MIN(data.length - taken, stream->credit), (size_t)INITPROTO_DATA);
                if (piece == 0 && data.length > 0)
                        break;
                frame.data = str_slice(data, taken, taken + piece);
                int r = initproto_encode(&frame, &client->out);
                if (r < 0)
                        return taken > 0 ? (ssize_t)taken : r;
                stream->credit -= piece;
                taken += piece;
        } while (taken < data.length);
        if (data.length == 0)
                stream->input_ended = true;
        stream->wants_room = taken < data.length;
        return (ssize_t)taken;
}

int initproto_client_consumed(struct initproto_client *client, struct initproto_stream *public,
                              enum initproto_channel channel, size_t bytes)
{
        struct client_stream *stream = stream_of(public);
        struct initproto_frame frame = { .type = INITPROTO_WINDOW_ADD, .stream = public->id };

        assert(channel != INITPROTO_CHANNEL_INPUT && channel < INITPROTO_CHANNELS);
        assert(stream->window[channel] + stream->owed[channel] + bytes <= INITPROTO_WINDOW);
        stream->owed[channel] += bytes;
        /* One frame for a quarter of the window, not one for each read of a terminal. */
        if (stream->owed[channel] < INITPROTO_WINDOW / 4 || stream->at_end[channel])
                return 0;
        frame.window.channel = channel;
        frame.window.bytes = (uint32_t)stream->owed[channel];
        int r = initproto_encode(&frame, &client->out);
        if (r < 0)
                return r;
        stream->window[channel] += stream->owed[channel];
        stream->owed[channel] = 0;
        return 0;
}

int initproto_client_resize(struct initproto_client *client, struct initproto_stream *stream,
                            uint16_t rows, uint16_t columns)
{
        struct initproto_frame frame = { .type = INITPROTO_RESIZE, .stream = stream->id };

        frame.resize.rows = rows;
        frame.resize.columns = columns;
        return initproto_encode(&frame, &client->out);
}

int initproto_client_signal(struct initproto_client *client, struct initproto_stream *stream,
                            int signal)
{
        struct initproto_frame frame = { .type = INITPROTO_SIGNAL, .stream = stream->id };

        if (signal < 1)
                return -EINVAL;
        frame.signal = (uint32_t)signal;
        return initproto_encode(&frame, &client->out);
}

int initproto_client_close(struct initproto_client *client, struct initproto_stream *public)
{
        struct initproto_frame frame = { .type = INITPROTO_CLOSE, .stream = public->id };

        assert(public->id != INITPROTO_STREAM_MAIN);
        if (stream_of(public)->phase == PHASE_GONE)
                return 0;
        int r = initproto_encode(&frame, &client->out);
        if (r < 0)
                return r;
        stream_free(client, stream_of(public));
        return 0;
}

int initproto_client_watch_log(struct initproto_client *client, uint64_t log_end)
{
        struct initproto_frame frame = { .type = INITPROTO_LOG_WATCH, .log_end = log_end };

        return initproto_encode(&frame, &client->out);
}
