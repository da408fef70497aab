// SPDX-License-Identifier: Apache-2.0
#include "node/grpc_check.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macro.h"

/* gRPC over HTTP/2: a flag and a length stand before each message. */
enum { PREFIX = 5, ANSWER_MAX = 256, SERVING = 1, STATUS_UNIMPLEMENTED = 12 };

struct grpc_check {
        nghttp2_session *session;
        struct buffer output;
        struct buffer request; /* prefix and HealthCheckRequest */
        size_t sent;           /* of `request` */
        char answer[ANSWER_MAX];
        size_t answer_length;
        size_t received;
        bool is_done, has_grpc_status;
        int http_status;
        int64_t grpc_status;
        char grpc_message[128];
};

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
        struct grpc_check *check = source->ptr;
        size_t length = MIN(size, check->request.length - check->sent);

        (void)session, (void)stream, (void)user;
        memcpy(to, check->request.data + check->sent, length);
        check->sent += length;
        if (check->sent == check->request.length)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)length;
}

/* It goes into events and status: printable letters only. */
static void keep_message(struct grpc_check *check, struct str text)
{
        size_t length = MIN(text.length, sizeof(check->grpc_message) - 1);

        for (size_t i = 0; i < length; i++)
                check->grpc_message[i] =
                        text.data[i] >= ' ' && text.data[i] < 0x7f ? text.data[i] : '?';
        check->grpc_message[length] = '\0';
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *user)
{
        struct grpc_check *check = user;
        struct str key = { (const char *)name, name_length };
        struct str text = { (const char *)value, value_length };
        uint64_t number;

        (void)session, (void)frame, (void)flags;
        if (str_equal(key, STR(":status"))) {
                check->http_status = str_to_u64(text, 999, &number) < 0 ? 0 : (int)number;
        } else if (str_equal(key, STR("grpc-status"))) {
                check->has_grpc_status = str_to_u64(text, INT32_MAX, &number) == 0;
                check->grpc_status = check->has_grpc_status ? (int64_t)number : -1;
        } else if (str_equal(key, STR("grpc-message"))) {
                keep_message(check, text);
        }
        return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t length, void *user)
{
        struct grpc_check *check = user;
        size_t taken = MIN(length, ANSWER_MAX - check->answer_length);

        (void)session, (void)flags, (void)stream;
        memcpy(check->answer + check->answer_length, data, taken);
        check->answer_length += taken;
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
        struct grpc_check *check = user;

        (void)session, (void)stream;
        check->is_done = true;
        if (error != NGHTTP2_NO_ERROR && !check->has_grpc_status)
                snprintf(check->grpc_message, sizeof(check->grpc_message), "stream ended with %s",
                         nghttp2_http2_strerror(error));
        return 0;
}

static int flush(struct grpc_check *check)
{
        const uint8_t *bytes;
        ssize_t length;

        while ((length = nghttp2_session_mem_send(check->session, &bytes)) > 0) {
                int r = buffer_append(&check->output, bytes, (size_t)length);
                if (r < 0)
                        return r;
        }
        return length == NGHTTP2_ERR_NOMEM ? -ENOMEM : length < 0 ? -EPROTO : 0;
}

/* A HealthCheckRequest: field 1 is the service's name. */
static int make_request(struct grpc_check *check, struct str service)
{
        char message[PREFIX + 1 + 10];
        size_t length = 0, at = PREFIX;

        if (service.length > 0) {
                message[at++] = 0x0a;
                size_t rest = service.length;
                do {
                        message[at++] = (char)((rest & 0x7f) | (rest > 0x7f ? 0x80U : 0));
                        rest >>= 7;
                } while (rest > 0);
                length = at - PREFIX + service.length;
        }
        message[0] = 0;
        for (size_t i = 0; i < 4; i++)
                message[1 + i] = (char)(length >> (24 - 8 * i) & 0xff);
        int r = buffer_append(&check->request, message, at);
        return r < 0 ? r : buffer_append_str(&check->request, service);
}

static int new_session(struct grpc_check *check)
{
        nghttp2_session_callbacks *callbacks;

        if (nghttp2_session_callbacks_new(&callbacks) != 0)
                return -ENOMEM;
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        int r = nghttp2_session_client_new(&check->session, callbacks, check);
        nghttp2_session_callbacks_del(callbacks);
        return r != 0 ? -ENOMEM : 0;
}

static nghttp2_nv field(struct str name, struct str value)
{
        return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name.data,
                             .namelen = name.length,
                             .value = (uint8_t *)(uintptr_t)value.data,
                             .valuelen = value.length };
}

static int submit(struct grpc_check *check, struct str authority)
{
        static const nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
                { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_CHECK_BYTES / 4 },
        };
        const nghttp2_nv fields[] = {
                field(STR(":method"), STR("POST")),
                field(STR(":scheme"), STR("http")),
                field(STR(":path"), STR("/grpc.health.v1.Health/Check")),
                field(STR(":authority"), authority),
                field(STR("content-type"), STR("application/grpc")),
                field(STR("te"), STR("trailers")),
                field(STR("user-agent"), STR("kube-probe/1.33")),
        };
        const nghttp2_data_provider body = { .source.ptr = check, .read_callback = read_request };

        if (nghttp2_submit_settings(check->session, NGHTTP2_FLAG_NONE, settings,
                                    ARRAY_SIZE(settings)) != 0 ||
            nghttp2_submit_request(check->session, NULL, fields, ARRAY_SIZE(fields), &body, NULL) <
                    0)
                return -ENOMEM;
        return flush(check);
}

int grpc_check_new(struct str authority, struct str service, struct grpc_check **ret_check)
{
        struct grpc_check *check = calloc(1, sizeof(*check));

        if (!check)
                return -ENOMEM;
        int r = make_request(check, service);
        if (r >= 0)
                r = new_session(check);
        if (r >= 0)
                r = submit(check, authority);
        if (r < 0) {
                grpc_check_free(check);
                return r;
        }
        *ret_check = check;
        return 0;
}

void grpc_check_free(struct grpc_check *check)
{
        if (!check)
                return;
        nghttp2_session_del(check->session);
        buffer_deinit(&check->output);
        buffer_deinit(&check->request);
        free(check);
}

struct buffer *grpc_check_output(struct grpc_check *check)
{
        return &check->output;
}

int grpc_check_receive(struct grpc_check *check, struct str data)
{
        check->received += data.length;
        if (check->received > GRPC_CHECK_BYTES)
                return -EPROTO;
        ssize_t taken =
                nghttp2_session_mem_recv(check->session, (const uint8_t *)data.data, data.length);
        if (taken == NGHTTP2_ERR_NOMEM)
                return -ENOMEM;
        if (taken < 0)
                return -EPROTO;
        int r = flush(check);
        if (r < 0)
                return r;
        if (!check->is_done && !nghttp2_session_want_read(check->session))
                return -EPROTO;
        return check->is_done;
}

/* One varint; false at its end or beyond ten bytes. */
static bool read_varint(const unsigned char **at, const unsigned char *end, uint64_t *ret)
{
        uint64_t value = 0;

        for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
                unsigned char byte = *(*at)++;
                value |= (uint64_t)(byte & 0x7f) << shift;
                if (!(byte & 0x80)) {
                        *ret = value;
                        return true;
                }
        }
        return false;
}

/* The `status` (field 1) of the HealthCheckResponse; absent is 0, UNKNOWN. -EPROTO. */
static int read_answer(const struct grpc_check *check, uint64_t *ret_status)
{
        const unsigned char *at = (const unsigned char *)check->answer;
        size_t length = 0;

        if (check->answer_length < PREFIX || at[0] != 0)
                return -EPROTO;
        for (size_t i = 1; i < PREFIX; i++)
                length = length << 8 | at[i];
        if (length > check->answer_length - PREFIX)
                return -EPROTO;
        at += PREFIX;
        const unsigned char *end = at + length;
        *ret_status = 0;
        while (at < end) {
                uint64_t tag, value;
                if (!read_varint(&at, end, &tag) || !read_varint(&at, end, &value))
                        return -EPROTO;
                if (tag == 0x08)
                        *ret_status = value;
                else if ((tag & 7) == 2 && value <= (uint64_t)(end - at))
                        at += value;
                else if ((tag & 7) != 0)
                        return -EPROTO;
        }
        return 0;
}

bool grpc_check_is_serving(const struct grpc_check *check, char why[static GRPC_CHECK_MESSAGE])
{
        static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING",
                                             "SERVICE_UNKNOWN" };
        uint64_t status;

        if (check->http_status != 200)
                snprintf(why, GRPC_CHECK_MESSAGE,
                         "error: health rpc failed: unexpected HTTP status code %d %s",
                         check->http_status, check->grpc_message);
        else if (!check->has_grpc_status)
                snprintf(why, GRPC_CHECK_MESSAGE, "error: health rpc failed: no grpc-status %s",
                         check->grpc_message);
        else if (check->grpc_status == STATUS_UNIMPLEMENTED)
                snprintf(why, GRPC_CHECK_MESSAGE,
                         "error: this server does not implement the grpc health protocol "
                         "(grpc.health.v1.Health): %s",
                         check->grpc_message);
        else if (check->grpc_status != 0)
                snprintf(why, GRPC_CHECK_MESSAGE, "error: health rpc failed: code %d: %s",
                         (int)check->grpc_status, check->grpc_message);
        else if (read_answer(check, &status) < 0)
                snprintf(why, GRPC_CHECK_MESSAGE,
                         "error: health rpc failed: the answer is no "
                         "HealthCheckResponse");
        else if (status == SERVING)
                return true;
        else
                snprintf(why, GRPC_CHECK_MESSAGE, "service unhealthy (responded with \"%s\")",
                         status < ARRAY_SIZE(names) ? names[status] : "?");
        return false;
}
