// SPDX-License-Identifier: Apache-2.0
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "crypto/certificate.h"
#include "net/tls_context.h"

enum {
        RECORD_SIZE = 16 * 1024,  /* plaintext in one record, RFC 8446 5.1 */
        KEPT_OUT_SIZE = 8 * 1024, /* an output buffer up to this is kept for the next write */
        READ_SIZE = 2 * RECORD_SIZE,
};

struct tls_stream {
        struct stream stream;
        struct stream *lower; /* NULL once it is gone */
        struct tls_context *context;
        SSL *ssl;
        struct net_task task; /* goes on reading, reports, or frees */
        struct str input;     /* ciphertext that OpenSSL may take now */
        struct buffer kept;   /* ciphertext that waits for the user to resume */
        struct buffer out;    /* ciphertext of this call */
        struct buffer early;  /* plaintext written before the handshake was done */
        struct arena arena;
        struct stream_peer peer;
        int error;
        bool lower_open, lower_ended;
        bool handshaken;
        bool spoke_http; /* instead of shaking hands */
        bool opened;     /* on_open is owed */
        bool ended;      /* on_close is owed, with `error` */
        bool peer_ended;
        bool shutdown_wanted, shutdown_done;
};

static struct tls_stream *from_stream(const struct stream *stream)
{
        return container_of(stream, struct tls_stream, stream);
}

/* ---- what OpenSSL reads from and writes to ---- */

static int bio_read(BIO *bio, char *data, size_t size, size_t *ret_length)
{
        struct tls_stream *t = BIO_get_data(bio);
        size_t length = MIN(size, t->input.length);

        BIO_clear_retry_flags(bio);
        if (length == 0) {
                BIO_set_retry_read(bio);
                return 0;
        }
        memcpy(data, t->input.data, length);
        t->input = str_slice(t->input, length, t->input.length);
        *ret_length = length;
        return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *ret_length)
{
        struct tls_stream *t = BIO_get_data(bio);

        BIO_clear_retry_flags(bio);
        if (buffer_append(&t->out, data, size) < 0)
                return 0;
        *ret_length = size;
        return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
        (void)bio;
        (void)number;
        (void)pointer;
        return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
        BIO_set_init(bio, 1);
        return 1;
}

BIO_METHOD *tls_stream_bio(void)
{
        BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");

        if (method && (BIO_meth_set_read_ex(method, bio_read) != 1 ||
                       BIO_meth_set_write_ex(method, bio_write) != 1 ||
                       BIO_meth_set_ctrl(method, bio_control) != 1 ||
                       BIO_meth_set_create(method, bio_create) != 1)) {
                BIO_meth_free(method);
                return NULL;
        }
        return method;
}

/* ---- the end ---- */

static void run_free(struct net_task *task)
{
        struct tls_stream *t = container_of(task, struct tls_stream, task);

        SSL_free(t->ssl);
        buffer_deinit(&t->kept);
        buffer_deinit(&t->out);
        buffer_deinit(&t->early);
        arena_deinit(&t->arena);
        tls_context_unref(t->context);
        free(t);
}

static void end(struct tls_stream *t, int error)
{
        if (t->ended)
                return;
        t->ended = true;
        t->error = error;
        net_loop_defer(t->stream.loop, &t->task);
}

static void free_memory(void *data)
{
        free(data);
}

/* One write for everything that OpenSSL has produced; a large one is given away uncopied. */
static void flush(struct tls_stream *t)
{
        if (t->out.length == 0 || !t->lower)
                return;
        struct stream_piece piece = { buffer_str(&t->out) };
        if (t->out.capacity > KEPT_OUT_SIZE) {
                piece.release = free_memory;
                piece.user = t->out.data;
                t->out = (struct buffer){};
        }
        stream_write(t->lower, &piece, 1);
        t->out.length = 0;
        (void)stream_is_congested(t->lower);
}

static void note_error(struct tls_stream *t, const char *sentence)
{
        snprintf(t->context->last_error, sizeof(t->context->last_error), "%s", sentence);
}

/* Takes OpenSSL's last error as the reason why the stream ends; its alert is sent first. */
static void fail(struct tls_stream *t)
{
        unsigned long code = ERR_peek_error();
        int reason = ERR_GET_REASON(code);
        long verdict = SSL_get_verify_result(t->ssl);
        bool untrusted = (t->context->verifies && verdict != X509_V_OK) ||
                         reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
                         reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
                         reason == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN ||
                         reason == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED ||
                         reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
                         reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
        const char *text = ERR_reason_error_string(code);

        if (t->context->verifies && verdict != X509_V_OK)
                text = t->context->has_no_authorities
                               ? "there are no certificate authorities here: install "
                                 "ca-certificates, or let SSL_CERT_FILE name a file of them"
                               : X509_verify_cert_error_string(verdict);
        if (t->spoke_http)
                text = "the server speaks HTTP, not HTTPS: is the port right?";
        note_error(t, text ? text : "protocol error");
        ERR_clear_error();
        flush(t);
        end(t, untrusted ? -EKEYREJECTED : -EPROTO);
}

/* ---- writing ---- */

static bool encrypt(struct tls_stream *t, const char *data, size_t length)
{
        size_t written;

        if (length == 0)
                return true;
        if (SSL_write_ex(t->ssl, data, length, &written) == 1)
                return true;
        fail(t);
        return false;
}

static void finish_shutdown(struct tls_stream *t)
{
        if (!t->shutdown_wanted || t->shutdown_done || !t->handshaken)
                return;
        t->shutdown_done = true;
        (void)SSL_shutdown(t->ssl);
        ERR_clear_error();
        flush(t);
        if (t->lower)
                stream_shutdown(t->lower);
}

/* Pieces are gathered into full records, so that head and body of an answer travel as one. */
static void tls_write(struct stream *stream, const struct stream_piece *pieces, size_t count)
{
        struct tls_stream *t = from_stream(stream);
        char record[RECORD_SIZE];
        size_t used = 0;
        bool good = !t->shutdown_wanted && !t->ended;

        for (size_t i = 0; good && i < count; i++) {
                struct str data = pieces[i].data;
                if (!t->handshaken) {
                        if (buffer_append_str(&t->early, data) < 0) {
                                end(t, -ENOMEM);
                                good = false;
                        }
                        continue;
                }
                while (good && data.length > 0) {
                        if (used == 0 && data.length >= RECORD_SIZE) {
                                good = encrypt(t, data.data, RECORD_SIZE);
                                data = str_slice(data, RECORD_SIZE, data.length);
                                continue;
                        }
                        size_t length = MIN(data.length, RECORD_SIZE - used);
                        memcpy(record + used, data.data, length);
                        used += length;
                        data = str_slice(data, length, data.length);
                        if (used == RECORD_SIZE) {
                                good = encrypt(t, record, used);
                                used = 0;
                        }
                }
        }
        if (good && t->handshaken && encrypt(t, record, used))
                flush(t);
        stream_release_pieces(pieces, count);
}

static size_t tls_pending(const struct stream *stream)
{
        const struct tls_stream *t = from_stream(stream);

        return t->early.length + (t->lower ? stream_pending(t->lower) : 0);
}

static void tls_shutdown(struct stream *stream)
{
        struct tls_stream *t = from_stream(stream);

        if (t->shutdown_wanted)
                return;
        t->shutdown_wanted = true;
        finish_shutdown(t);
}

/* ---- reading ---- */

static void read_names(struct tls_stream *t)
{
        X509 *certificate = SSL_get0_peer_certificate(t->ssl);
        struct certificate_subject subject;

        if (!t->context->verifies || !certificate || SSL_get_verify_result(t->ssl) != X509_V_OK)
                return;
        if (certificate_subject_read(certificate, &t->arena, &subject) < 0)
                return;
        t->peer.has_certificate = true;
        t->peer.common_name = subject.common_name;
        t->peer.organizations = subject.organizations;
        t->peer.organization_count = subject.organization_count;
}

/* Returns whether the handshake is done. */
static bool shake_hands(struct tls_stream *t)
{
        if (t->handshaken)
                return true;
        ERR_clear_error();
        int r = SSL_do_handshake(t->ssl);
        if (r != 1) {
                if (SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ)
                        flush(t);
                else
                        fail(t);
                return false;
        }
        t->handshaken = true;
        t->opened = true;
        read_names(t);
        struct buffer early = t->early;
        t->early = (struct buffer){};
        for (size_t at = 0; at < early.length; at += RECORD_SIZE)
                if (!encrypt(t, early.data + at, MIN(early.length - at, (size_t)RECORD_SIZE)))
                        break;
        buffer_deinit(&early);
        flush(t);
        finish_shutdown(t);
        return !t->ended;
}

static void peer_has_ended(struct tls_stream *t)
{
        t->peer_ended = true;
        if (t->shutdown_done)
                return; /* the lower stream's end is ours */
        if (t->stream.on->on_end)
                t->stream.on->on_end(&t->stream, t->stream.user);
        else
                tls_shutdown(&t->stream);
}

static void tell_opened(struct tls_stream *t)
{
        if (!t->opened || !t->stream.on)
                return;
        t->opened = false;
        if (t->stream.on->on_open)
                t->stream.on->on_open(&t->stream, t->stream.user);
}

/* Decrypts and delivers as much as there is and the user takes. */
static void deliver(struct tls_stream *t)
{
        char data[READ_SIZE];

        while (stream_wants_data(&t->stream) && !t->peer_ended && !t->ended) {
                size_t length = 0;
                int error = SSL_ERROR_NONE;
                ERR_clear_error();
                while (length <= sizeof(data) - RECORD_SIZE) {
                        size_t more;
                        int r = SSL_read_ex(t->ssl, data + length, sizeof(data) - length, &more);
                        if (r != 1) {
                                error = SSL_get_error(t->ssl, r);
                                break;
                        }
                        length += more;
                }
                if (length > 0) {
                        t->stream.on->on_data(&t->stream, t->stream.user,
                                              (struct str){ data, length });
                        /* An end that came with it is found again by the next SSL_read(). */
                        if (error == SSL_ERROR_NONE || error == SSL_ERROR_ZERO_RETURN)
                                continue;
                }
                if (t->stream.closed || error == SSL_ERROR_WANT_READ)
                        return;
                if (error == SSL_ERROR_ZERO_RETURN)
                        peer_has_ended(t);
                else if (error != SSL_ERROR_NONE)
                        fail(t);
        }
}

/* Below we read while the handshake needs it, and then as the user does. */
static void update_lower(struct tls_stream *t)
{
        if (!t->lower || t->stream.closed)
                return;
        if (t->handshaken && !stream_wants_data(&t->stream))
                stream_pause(t->lower);
        else
                stream_resume(t->lower);
}

/* Feeds `data` to OpenSSL; what it cannot take yet is kept. */
static void feed(struct tls_stream *t, struct str data)
{
        t->input = data;
        /* The latter is how some answer what they take for HTTP/0.9. No record begins so. */
        if (!t->handshaken && !t->context->is_server &&
            (str_starts_with(data, STR("HTTP/")) || str_starts_with(data, STR("<"))))
                t->spoke_http = true;
        if (shake_hands(t)) {
                tell_opened(t);
                if (!t->stream.closed)
                        deliver(t);
        }
        if (!t->stream.closed) {
                flush(t);
                update_lower(t);
        }
}

static void on_lower_data(struct stream *lower, void *user, struct str data)
{
        struct tls_stream *t = user;

        (void)lower;
        if (t->ended || t->peer_ended)
                return;
        if (t->kept.length == 0) {
                feed(t, data);
                if (!t->stream.closed && t->input.length > 0 &&
                    buffer_append_str(&t->kept, t->input) < 0)
                        end(t, -ENOMEM);
        } else if (buffer_append_str(&t->kept, data) < 0) {
                end(t, -ENOMEM);
        }
        t->input = STR_EMPTY;
}

/* An end without close_notify may be somebody else's doing (RFC 8446 6.1). */
static void check_lower_end(struct tls_stream *t)
{
        if (t->lower_ended && !t->peer_ended && t->kept.length == 0)
                end(t, -ECONNRESET);
}

static void go_on(struct tls_stream *t)
{
        feed(t, buffer_str(&t->kept));
        buffer_consume(&t->kept, t->kept.length - t->input.length);
        if (t->kept.length == 0)
                buffer_deinit(&t->kept);
        t->input = STR_EMPTY;
        check_lower_end(t);
}

static void run_task(struct net_task *task)
{
        struct tls_stream *t = container_of(task, struct tls_stream, task);

        tell_opened(t);
        if (t->stream.closed || !t->stream.on)
                return;
        if (t->handshaken && stream_wants_data(&t->stream) && !t->peer_ended && !t->ended) {
                go_on(t);
                if (t->stream.closed)
                        return;
        }
        if (t->ended && t->stream.on) {
                const struct stream_callbacks *on = t->stream.on;
                void *user = t->stream.user;
                int error = t->error;
                stream_close(&t->stream);
                if (on->on_close)
                        on->on_close(&t->stream, user, error);
        }
}

/* ---- the stream below ---- */

static void on_lower_open(struct stream *lower, void *user)
{
        (void)lower;
        ((struct tls_stream *)user)->lower_open = true;
}

static void on_lower_drain(struct stream *lower, void *user)
{
        struct tls_stream *t = user;

        (void)lower;
        stream_note_drained(&t->stream);
}

static void on_lower_end(struct stream *lower, void *user)
{
        struct tls_stream *t = user;

        (void)lower;
        if (!t->handshaken) {
                note_error(t, "the connection ended inside the handshake");
                end(t, -EPROTO);
        } else {
                t->lower_ended = true;
                check_lower_end(t);
        }
}

static void on_lower_close(struct stream *lower, void *user, int error)
{
        struct tls_stream *t = user;

        (void)lower;
        t->lower = NULL;
        if (!t->handshaken && t->lower_open) {
                note_error(t, "the connection ended inside the handshake");
                error = -EPROTO;
        } else if (t->handshaken && !t->peer_ended && error == 0) {
                error = -ECONNRESET;
        }
        end(t, error);
}

static const struct stream_callbacks lower_callbacks = { on_lower_open, on_lower_data,
                                                         on_lower_drain, on_lower_end,
                                                         on_lower_close };

/* ---- the rest ---- */

static void tls_update(struct stream *stream)
{
        struct tls_stream *t = from_stream(stream);

        if (stream->on && (t->opened || t->ended || (t->kept.length > 0 && !stream->paused)))
                net_loop_defer(stream->loop, &t->task);
        update_lower(t);
}

static void tls_close(struct stream *stream)
{
        struct tls_stream *t = from_stream(stream);

        if (t->lower) {
                if (t->handshaken && !t->shutdown_done && !t->ended &&
                    stream_pending(t->lower) == 0) {
                        (void)SSL_shutdown(t->ssl);
                        ERR_clear_error();
                        flush(t);
                }
                stream_close(t->lower);
                t->lower = NULL;
        }
        net_task_cancel(&t->task);
        t->task.run = run_free;
        net_loop_defer(stream->loop, &t->task);
}

static bool tls_is_fresh(struct stream *stream)
{
        struct tls_stream *t = from_stream(stream);

        return t->lower && t->handshaken && !t->ended && !t->peer_ended && t->kept.length == 0 &&
               SSL_pending(t->ssl) == 0 && stream_is_fresh(t->lower);
}

static const struct stream_peer *tls_peer(struct stream *stream)
{
        struct tls_stream *t = from_stream(stream);

        if (t->lower) {
                const struct stream_peer *lower = stream_peer(t->lower);
                t->peer.address = lower->address;
                t->peer.has_credentials = lower->has_credentials;
                t->peer.pid = lower->pid;
                t->peer.uid = lower->uid;
                t->peer.gid = lower->gid;
        }
        return &t->peer;
}

static void tls_local_address(struct stream *stream, struct net_address *ret_address)
{
        struct tls_stream *t = from_stream(stream);

        *ret_address = (struct net_address){};
        if (t->lower)
                stream_local_address(t->lower, ret_address);
}

static struct str tls_protocol(const struct stream *stream)
{
        const unsigned char *name;
        unsigned length;

        SSL_get0_alpn_selected(from_stream(stream)->ssl, &name, &length);
        return (struct str){ (const char *)name, length };
}

static const struct stream_ops tls_ops = {
        .update = tls_update,
        .write = tls_write,
        .pending = tls_pending,
        .shutdown = tls_shutdown,
        .close = tls_close,
        .is_fresh = tls_is_fresh,
        .peer = tls_peer,
        .local_address = tls_local_address,
        .protocol = tls_protocol,
};

/* SNI is for names only (RFC 6066 3); the name that a certificate must have may be an address. */
static int set_server_name(SSL *ssl, bool verifies, struct str server_name)
{
        struct net_address ignored;
        char name[256];

        if (server_name.length == 0)
                return verifies ? -EINVAL : 0;
        if (server_name.length >= sizeof(name))
                return -ENAMETOOLONG;
        memcpy(name, server_name.data, server_name.length);
        name[server_name.length] = '\0';
        bool is_address = net_address_from_ip(server_name, 0, &ignored) == 0;
        if (!is_address && SSL_set_tlsext_host_name(ssl, name) != 1)
                return -ENOMEM;
        if (!verifies)
                return 0;
        int good = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name)
                              : SSL_set1_host(ssl, name);
        return good == 1 ? 0 : -EINVAL;
}

int tls_stream_wrap(struct stream_filter *filter, struct stream *lower, struct str server_name,
                    struct stream **ret_stream)
{
        struct tls_context *context = container_of(filter, struct tls_context, filter);
        struct tls_stream *t = calloc(1, sizeof(*t));
        SSL *ssl = t ? SSL_new(context->ssl) : NULL;
        BIO *bio = ssl ? BIO_new(context->bio) : NULL;
        int r = bio ? 0 : -ENOMEM;

        if (r == 0 && !context->is_server)
                r = set_server_name(ssl, context->verifies, server_name);
        if (r < 0) {
                BIO_free(bio);
                SSL_free(ssl);
                free(t);
                stream_close(lower);
                return r;
        }
        BIO_set_data(bio, t);
        SSL_set_bio(ssl, bio, bio);
        __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
        t->stream.ops = &tls_ops;
        t->stream.loop = stream_loop(lower);
        t->context = context;
        t->ssl = ssl;
        t->lower = lower;
        t->task.run = run_task;
        t->lower_open = context->is_server;
        if (context->is_server) {
                SSL_set_accept_state(ssl);
        } else {
                SSL_set_connect_state(ssl);
                (void)shake_hands(t);
        }
        stream_start(lower, &lower_callbacks, t);
        *ret_stream = &t->stream;
        return 0;
}
