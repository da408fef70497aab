// SPDX-License-Identifier: Apache-2.0
#include "router/certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/log.h"

enum { CERTIFICATE, KEY, CLIENT_CA, FILES };

/* What tells one state of a file from another. All zero: not there. */
struct state {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec modified;
};

struct certificates {
        struct certificates_options options;
        struct tls_context *tls;
        struct net_timer timer;
        struct state states[FILES]; /* that were tried last */
};

static const char *file_of(const struct certificates *c, int which)
{
        switch (which) {
        case CERTIFICATE:
                return c->options.certificate_file;
        case KEY:
                return c->options.key_file;
        default:
                return c->options.client_ca_file;
        }
}

static void look(const struct certificates *c, struct state states[static FILES])
{
        struct stat status;

        memset(states, 0, FILES * sizeof(*states));
        for (int i = 0; i < FILES; i++)
                if (*file_of(c, i) && stat(file_of(c, i), &status) == 0) {
                        states[i].device = status.st_dev;
                        states[i].inode = status.st_ino;
                        states[i].size = status.st_size;
                        states[i].modified = status.st_mtim;
                }
}

static int read_files(const struct certificates *c, struct buffer pem[static FILES],
                      struct error *error)
{
        for (int i = 0; i < FILES; i++) {
                const char *path = file_of(c, i);
                if (!*path)
                        continue;
                int r = file_read(AT_FDCWD, path, LIMIT_BODY, &pem[i]);
                if (r < 0)
                        return error_set(error, r, "Cannot read %s: %s.", path, strerror(-r));
        }
        return 0;
}

static void forget(struct buffer pem[static FILES])
{
        if (pem[KEY].data)
                explicit_bzero(pem[KEY].data, pem[KEY].length);
        for (int i = 0; i < FILES; i++)
                buffer_deinit(&pem[i]);
}

static void check(struct net_timer *timer)
{
        struct certificates *c = container_of(timer, struct certificates, timer);
        struct buffer pem[FILES] = {};
        struct state states[FILES];
        struct error error = {};

        net_timer_start(c->options.loop, timer, c->options.check_ms, check);
        look(c, states);
        if (memcmp(states, c->states, sizeof(states)) == 0)
                return;
        memcpy(c->states, states, sizeof(states));
        int r = read_files(c, pem, &error);
        if (r == 0)
                r = tls_server_reload(c->tls, buffer_str(&pem[CERTIFICATE]), buffer_str(&pem[KEY]),
                                      buffer_str(&pem[CLIENT_CA]), &error);
        forget(pem);
        router_metrics_reload(c->options.metrics, r < 0 ? "failure" : "success");
        if (r < 0)
                log_error("the old certificate stays: %s", error.message);
        else
                log_info("took a new certificate from %s", c->options.certificate_file);
}

int certificates_new(const struct certificates_options *options, struct error *error,
                     struct certificates **ret_certificates)
{
        struct certificates *c = calloc(1, sizeof(*c));
        struct buffer pem[FILES] = {};

        if (!c)
                return error_set(error, -ENOMEM, "Out of memory.");
        c->options = *options;
        if (c->options.check_ms == 0)
                c->options.check_ms = CERTIFICATES_CHECK_MS;
        /* Before they are read: what changes in between is found by the first check. */
        look(c, c->states);
        int r = read_files(c, pem, error);
        if (r == 0) {
                const struct tls_server_options tls = {
                        .certificate = buffer_str(&pem[CERTIFICATE]),
                        .key = buffer_str(&pem[KEY]),
                        .client_ca = buffer_str(&pem[CLIENT_CA]),
                        .client_certificate = c->options.client_certificate,
                        .http2 = true,
                };
                r = tls_server_new(&tls, error, &c->tls);
                if (r < 0)
                        error_prefix(error, r, "%s, %s", c->options.certificate_file,
                                     c->options.key_file);
        }
        forget(pem);
        if (r < 0) {
                free(c);
                return r;
        }
        net_timer_start(c->options.loop, &c->timer, c->options.check_ms, check);
        *ret_certificates = c;
        return 0;
}

void certificates_free(struct certificates *certificates)
{
        if (!certificates)
                return;
        net_timer_stop(&certificates->timer);
        tls_context_free(certificates->tls);
        free(certificates);
}

struct stream_filter *certificates_filter(struct certificates *certificates)
{
        return tls_context_filter(certificates->tls);
}
