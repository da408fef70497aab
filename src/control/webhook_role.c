// SPDX-License-Identifier: Apache-2.0
#include "control/webhook_role.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "crypto/openssl.h"
#include "net/loop.h"
#include "serve/webhook_pair.h"
#include "serve/webhook_setup.h"

enum { NAMES = 5, FILE_LIMIT = 64 * 1024, FILES_AGAIN_MS = 2 * 1000 };

enum figure { REVIEWS, OBJECTS, REFUSED, INVALID, NOT_AFTER, FIGURES };

static const struct metric_description figures[FIGURES] = {
        [REVIEWS] = { METRIC_COUNTER, "cay_webhook_reviews_total",
                      "ConversionReviews answered, refusals included." },
        [OBJECTS] = { METRIC_COUNTER, "cay_webhook_objects_total", "Objects converted." },
        [REFUSED] = { METRIC_COUNTER, "cay_webhook_refused_total",
                      "ConversionReviews whose objects could not be converted." },
        [INVALID] = { METRIC_COUNTER, "cay_webhook_invalid_total",
                      "Requests to convert that were no ConversionReview." },
        [NOT_AFTER] = { METRIC_GAUGE, "cay_webhook_certificate_not_after_seconds",
                        "When the certificate ends, in seconds since the epoch; 0: not known." },
};

struct webhook_role {
        const struct webhook_role_config *config;
        struct arena arena;
        struct str names[NAMES];
        struct webhook_pair_policy policy;
        struct webhook *webhook;
        struct webhook_setup *setup; /* NULL: not managed here */
        struct net_loop *loop;
        struct certificate_pair files; /* as last read */
        struct net_timer again;
        char trouble[HEALTH_WHY_SIZE];
        struct metric *figures[FIGURES];
};

/* ---- names ---- */

/* The host of "https://host:port/convert", without brackets; empty if it is none. */
static struct str host_of(struct str url)
{
        struct str rest, authority, path, host, port;

        if (!str_starts_with(url, STR("https://")))
                return STR_EMPTY;
        rest = str_slice(url, sizeof("https://") - 1, url.length);
        if (!str_cut(rest, '/', &authority, &path) || !str_equal(path, STR("convert")))
                return STR_EMPTY;
        if (!str_starts_with(authority, STR("["))) {
                str_cut(authority, ':', &host, &port);
                return host;
        }
        bool ends = str_cut(str_slice(authority, 1, authority.length), ']', &host, &port);
        return ends ? host : STR_EMPTY;
}

/* What API servers look for comes first. */
static int choose_names(struct webhook_role *role, const char *domain, struct error *error)
{
        const struct webhook_role_config *config = role->config;
        struct webhook_pair_policy *policy = &role->policy;
        const char *service = config->service, *space = config->name_space;
        size_t count = 0;

        role->names[count++] = arena_printf(&role->arena, "%s.%s.svc", service, space);
        if (config->url) {
                struct str host = host_of(str_from(config->url));
                if (host.length == 0)
                        return error_set(error, -EINVAL,
                                         "--webhook-url takes https://HOST[:PORT]/convert, not "
                                         "'%s'",
                                         config->url);
                role->names[count++] = host;
        }
        policy->required = count;
        role->names[count++] = str_from(service);
        role->names[count++] = arena_printf(&role->arena, "%s.%s", service, space);
        role->names[count++] = arena_printf(&role->arena, "%s.%s.svc.%s", service, space,
                                            domain ? domain : "cluster.local");
        for (size_t i = 0; i < count; i++)
                if (role->names[i].length == 0)
                        return error_set(error, -ENOMEM, "out of memory");
        policy->names = role->names;
        policy->count = count;
        policy->valid_s = config->validity_ns / NS_PER_SECOND;
        return 0;
}

/* ---- files of somebody else's ---- */

static int read_file(const char *folder, const char *name, struct error *error, struct buffer *out)
{
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        int r = file_read(AT_FDCWD, path, FILE_LIMIT, out);
        return r < 0 ? error_set(error, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

/* As upstream: one file with both, if there are none of the usual names. */
static int read_files(const struct webhook_role_config *config, struct error *error,
                      struct certificate_pair *ret_pair)
{
        struct certificate_pair pair = {};
        struct error ignored = {};

        int r = read_file(config->folder, config->certificate, error, &pair.certificate);
        if (r == 0)
                r = read_file(config->folder, config->key, error, &pair.key);
        if (r == -ENOENT && pair.certificate.length == 0 &&
            strcmp(config->certificate, "tls.crt") == 0 && strcmp(config->key, "tls.key") == 0 &&
            read_file(config->folder, "cert.pem", &ignored, &pair.certificate) == 0)
                r = read_file(config->folder, "cert.pem", error, &pair.key);
        if (r < 0) {
                certificate_pair_deinit(&pair);
                return r;
        }
        *ret_pair = pair;
        return 0;
}

static bool is_same(const struct certificate_pair *a, const struct certificate_pair *b)
{
        return str_equal(buffer_str(&a->certificate), buffer_str(&b->certificate)) &&
               str_equal(buffer_str(&a->key), buffer_str(&b->key));
}

static void look_at_files(struct net_timer *timer)
{
        struct webhook_role *role = container_of(timer, struct webhook_role, again);
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        struct error error = {};

        int r = read_files(role->config, &error, &pair);
        if (r == 0 && !is_same(&pair, &role->files)) {
                r = webhook_reload(role->webhook, buffer_str(&pair.certificate),
                                   buffer_str(&pair.key), &error);
                if (r == 0) {
                        log_info("the webhook's certificate was read again");
                        certificate_pair_deinit(&role->files);
                        role->files = pair;
                        pair = (struct certificate_pair){};
                }
        }
        if (r < 0 && !role->trouble[0])
                log_warning("the webhook's certificate: %s", error.message);
        snprintf(role->trouble, sizeof(role->trouble), "%.*s", HEALTH_WHY_SIZE - 1,
                 r < 0 ? error.message : "");
        net_timer_start(role->loop, &role->again, FILES_AGAIN_MS, look_at_files);
}

/* ---- health and metrics ---- */

static bool is_well(void *user, char why[static HEALTH_WHY_SIZE])
{
        const struct webhook_role *role = user;

        if (role->setup)
                return webhook_setup_is_well(role->setup, why);
        snprintf(why, HEALTH_WHY_SIZE, "%s", role->trouble);
        return !role->trouble[0];
}

static void look(void *user)
{
        struct webhook_role *role = user;
        const struct webhook_counters counters = webhook_counters(role->webhook);
        uint64_t not_after = 0;

        if (role->setup)
                not_after = webhook_setup_not_after(role->setup);
        else
                certificate_not_after(buffer_str(&role->files.certificate), &not_after);
        metric_set(role->figures[REVIEWS], (double)counters.reviews);
        metric_set(role->figures[OBJECTS], (double)counters.objects);
        metric_set(role->figures[REFUSED], (double)counters.refused);
        metric_set(role->figures[INVALID], (double)counters.invalid);
        metric_set(role->figures[NOT_AFTER], (double)(not_after / NS_PER_SECOND));
}

static int show(struct webhook_role *role, const struct webhook_role_options *options)
{
        struct metric_family *family;
        int r = 0;

        for (size_t i = 0; r == 0 && i < FIGURES; i++) {
                r = metrics_add(options->metrics, &figures[i], &family);
                if (r == 0)
                        role->figures[i] = metric_with(family, NULL);
        }
        if (r == 0)
                r = metrics_on_render(options->metrics, look, role);
        return r < 0 ? r : health_add(options->health, "webhook", HEALTH_READY, is_well, role);
}

/* ---- making ---- */

static int listen_with(struct webhook_role *role, const struct certificate_pair *pair,
                       struct error *error)
{
        struct webhook_options options = { .loop = role->loop,
                                           .certificate = buffer_str(&pair->certificate),
                                           .key = buffer_str(&pair->key) };
        char text[NET_ADDRESS_SIZE];

        if (role->config->port < 0 || role->config->port > 65535)
                return error_set(error, -EINVAL, "--webhook-port takes 0 to 65535");
        snprintf(text, sizeof(text), ":%u", (unsigned)role->config->port);
        net_address_parse(str_from(text), &options.address);
        int r = webhook_new(&options, error, &role->webhook);
        if (r < 0)
                return r;
        net_address_format(webhook_address(role->webhook), text);
        log_info("conversion webhook on %s", text);
        return 0;
}

static int begin_managed(struct webhook_role *role, const struct webhook_role_options *options,
                         struct error *error)
{
        const struct webhook_role_config *config = role->config;
        _cleanup_webhook_pair_ struct webhook_pair first = {};

        /* Nobody trusts this one; that of the Secret takes its place in a moment. */
        int r = webhook_pair_make(&role->policy, clock_realtime_ns(), error, &first);
        if (r == 0)
                r = listen_with(role, &first.serving, error);
        if (r < 0)
                return r;
        const struct webhook_setup_options setup = {
                .client = options->client,
                .webhook = role->webhook,
                .name_space = str_from(config->name_space),
                .service = str_from(config->service),
                .url = str_from(config->url),
                .extensions = options->extensions,
                .policy = &role->policy,
                .is_leading = options->is_leading,
                .may_say = options->may_say,
                .user = options->user,
        };
        r = webhook_setup_new(&setup, &role->setup);
        return r < 0 ? error_set(error, r, "cannot begin to set the webhook up: %s", strerror(-r))
                     : 0;
}

static int begin_with_files(struct webhook_role *role, struct error *error)
{
        int r = read_files(role->config, error, &role->files);

        if (r == 0)
                r = listen_with(role, &role->files, error);
        if (r == 0)
                net_timer_start(role->loop, &role->again, FILES_AGAIN_MS, look_at_files);
        return r;
}

int webhook_role_new(const struct webhook_role_options *options, struct error *error,
                     struct webhook_role **ret_role)
{
        struct webhook_role *role = calloc(1, sizeof(*role));

        if (!role)
                return error_set(error, -ENOMEM, "out of memory");
        role->config = options->config;
        role->loop = kube_client_loop(options->client);
        int r = choose_names(role, options->cluster_domain, error);
        if (r == 0)
                r = options->config->manages ? begin_managed(role, options, error)
                                             : begin_with_files(role, error);
        if (r == 0) {
                r = show(role, options);
                if (r < 0)
                        error_set(error, r, "out of memory");
        }
        if (r < 0) {
                webhook_role_free(role);
                return r;
        }
        *ret_role = role;
        return 0;
}

void webhook_role_lead(struct webhook_role *role)
{
        if (role->setup)
                webhook_setup_lead(role->setup);
}

void webhook_role_free(struct webhook_role *role)
{
        if (!role)
                return;
        net_timer_stop(&role->again);
        webhook_setup_free(role->setup);
        webhook_free(role->webhook);
        certificate_pair_deinit(&role->files);
        arena_deinit(&role->arena);
        free(role);
}
