// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "initproto/logring.h"
#include "node/kubelet.h"

/* One `kubectl logs`: a container's log ring, from some line on, perhaps as it grows. */
struct log_session {
        struct list link;
        struct http_exchange *exchange;
        int fd;
        struct logring_reader reader;
        struct container_follower follower; /* linked while it follows */
        struct kubelet_log_options options;
        uint64_t skip_lines;              /* of the beginning */
        bool in_line[LOGRING_STDERR + 1]; /* the stream's last record ended within a line */
};

static void session_free(struct log_session *session)
{
        list_remove(&session->link);
        list_remove(&session->follower.link);
        logring_reader_deinit(&session->reader);
        fd_close(session->fd);
        free(session);
}

void kubelet_free_logs(struct kubelet *kubelet)
{
        struct log_session *session;

        list_for_each (session, &kubelet->logs, link)
                session_free(session);
}

/* ---- records to lines ---- */

/* The next line of `data`, its end included, or the rest without one. */
static struct str take_line(struct str *data)
{
        const char *end = memchr(data->data, '\n', data->length);
        size_t length = end ? (size_t)(end - data->data) + 1 : data->length;
        struct str line = str_slice(*data, 0, length);

        *data = str_slice(*data, length, data->length);
        return line;
}

static int append_record(struct log_session *session, const struct logring_record *record,
                         struct buffer *out)
{
        bool *in_line = &session->in_line[record->stream];
        char time[RFC3339_NANO_SIZE];
        struct str data = record->data;

        if (record->time_ns < session->options.since_ns)
                return 0;
        rfc3339_format_nano(record->time_ns, time);
        while (data.length > 0) {
                bool is_new = !*in_line;
                struct str line = take_line(&data);
                *in_line = line.data[line.length - 1] != '\n';
                if (session->skip_lines > 0) {
                        session->skip_lines -= !*in_line;
                        continue;
                }
                int r = session->options.with_times && is_new ? buffer_printf(out, "%s ", time) : 0;
                if (r >= 0)
                        r = buffer_append_str(out, line);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Lines that append_record() will see; one without an end is one. */
static uint64_t count_lines(const struct log_session *session)
{
        bool in_line[LOGRING_STDERR + 1] = {};
        struct logring_reader reader;
        struct logring_record record;
        uint64_t lines = 0;
        int r;

        logring_reader_init(&reader, session->fd, 0);
        while ((r = logring_read(&reader, &record)) > 0 || r == -EOVERFLOW) {
                if (r < 0 || record.time_ns < session->options.since_ns || record.data.length == 0)
                        continue;
                for (size_t i = 0; i < record.data.length; i++)
                        lines += record.data.data[i] == '\n';
                in_line[record.stream] = record.data.data[record.data.length - 1] != '\n';
        }
        logring_reader_deinit(&reader);
        return lines + in_line[LOGRING_STDOUT] + in_line[LOGRING_STDERR];
}

/* ---- sending ---- */

static void finish(struct log_session *session)
{
        struct http_exchange *exchange = session->exchange;

        session_free(session);
        http_exchange_end(exchange, NULL, 0);
}

static bool send_some(struct log_session *session, struct str text)
{
        if (text.length > session->options.bytes_left)
                text.length = (size_t)session->options.bytes_left;
        session->options.bytes_left -= text.length;
        if (text.length > 0)
                http_exchange_send(session->exchange, &(struct stream_piece){ text }, 1);
        return session->options.bytes_left > 0;
}

/* Sends until the client is slow or the log ends. The session may be gone afterwards. */
static void pump(struct log_session *session)
{
        while (!http_exchange_is_congested(session->exchange)) {
                _cleanup_buffer_ struct buffer out = {};
                struct logring_record record;
                int r = logring_read(&session->reader, &record);
                if (r == -EOVERFLOW)
                        continue;
                if (r == 0 && session->options.follows) {
                        http_exchange_flush(session->exchange);
                        return;
                }
                if (r > 0)
                        r = append_record(session, &record, &out) < 0 ? -ENOMEM : 1;
                if (r <= 0 || !send_some(session, buffer_str(&out))) {
                        finish(session);
                        return;
                }
        }
}

static void on_grown(struct container_follower *follower)
{
        pump(container_of(follower, struct log_session, follower));
}

static void on_ended(struct container_follower *follower)
{
        struct log_session *session = container_of(follower, struct log_session, follower);

        session->options.follows = false;
        pump(session);
}

static void on_drain(struct http_exchange *exchange, void *user)
{
        (void)exchange;
        pump(user);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        (void)exchange, (void)error;
        session_free(user);
}

static const struct http_exchange_callbacks callbacks = { .on_drain = on_drain,
                                                          .on_abort = on_abort };

/* ---- the request ---- */

static int read_number(const struct kubelet_request *request, const char *name, uint64_t fallback,
                       uint64_t *ret_number)
{
        struct str text;

        *ret_number = fallback;
        int r = kubelet_query(request, name, &text);
        if (r < 0 || text.length == 0)
                return r;
        return str_to_u64(text, INT64_MAX, ret_number);
}

int kubelet_read_log_options(const struct kubelet_request *request,
                             struct kubelet_log_options *ret_options)
{
        struct kubelet_log_options options = {
                .with_times = kubelet_query_is_true(request, "timestamps"),
                .follows = kubelet_query_is_true(request, "follow"),
                .previous = kubelet_query_is_true(request, "previous"),
        };
        uint64_t seconds, now = clock_realtime_ns();
        struct str since;

        int r = read_number(request, "tailLines", UINT64_MAX, &options.tail);
        if (r >= 0)
                r = read_number(request, "limitBytes", UINT64_MAX, &options.bytes_left);
        if (r >= 0)
                r = read_number(request, "sinceSeconds", 0, &seconds);
        if (r >= 0)
                r = kubelet_query(request, "sinceTime", &since);
        if (r < 0)
                return r;
        if (seconds > 0 && seconds < now / NS_PER_SECOND)
                options.since_ns = now - seconds * NS_PER_SECOND;
        r = since.length > 0 ? rfc3339_parse(since, &options.since_ns) : 0;
        if (r >= 0)
                *ret_options = options;
        return r;
}

static void refuse_no_log(const struct kubelet_request *request, bool previous)
{
        const struct node_pod *pod = request->pod;
        struct str name = pod_spec_of(pod)->containers[request->index].name;
        const struct pod_container_state *state = &pod->worker.containers[request->index];

        if (previous)
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "previous terminated container \"%.*s\" in pod \"%s\" not found",
                               STR_FORMAT(name), pod->name);
        else
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "container \"%.*s\" in pod \"%s\" is waiting to start: %s",
                               STR_FORMAT(name), pod->name, state->waiting_reason);
}

static void begin(const struct kubelet_request *request, struct log_session *session,
                  uint32_t attempt)
{
        const struct http_header type = { STR("Content-Type"), STR("text/plain") };
        struct node_container *container = kubelet_running(request->pod, request->index);
        uint64_t tail = session->options.tail;
        uint64_t lines = tail == UINT64_MAX ? 0 : count_lines(session);

        session->skip_lines = lines > tail ? lines - tail : 0;
        session->options.follows &= container && container->attempt == attempt;
        logring_reader_init(&session->reader, session->fd, 0);
        list_append(&request->kubelet->logs, &session->link);
        http_exchange_start(request->exchange, &callbacks, session);
        http_exchange_begin(request->exchange, 200, &type, 1, HTTP_LENGTH_UNKNOWN);
        if (session->options.follows)
                container_follow(container, &session->follower, 0);
        pump(session);
}

void kubelet_log(const struct kubelet_request *request)
{
        struct log_session *session = calloc(1, sizeof(*session));
        uint32_t attempt;

        if (!session) {
                kubelet_refuse(request->exchange, 500, "InternalError", "out of memory");
                return;
        }
        session->exchange = request->exchange;
        session->fd = -1;
        session->follower = (struct container_follower){ .grown = on_grown, .ended = on_ended };
        list_init(&session->link);
        list_init(&session->follower.link);
        if (kubelet_read_log_options(request, &session->options) < 0) {
                kubelet_refuse(request->exchange, 400, "BadRequest", KUBELET_BAD_LOG_OPTIONS);
                session_free(session);
                return;
        }
        if (kubelet_open_log(request->pod, request->index, session->options.previous, &session->fd,
                             &attempt) < 0) {
                refuse_no_log(request, session->options.previous);
                session_free(session);
                return;
        }
        begin(request, session, attempt);
}
