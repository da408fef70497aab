// SPDX-License-Identifier: Apache-2.0
#include "serve/webhook_setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/backoff.h"
#include "client/reflector.h"
#include "client/resource.h"
#include "crypto/encode.h"
#include "crypto/openssl.h"
#include "net/loop.h"
#include "serve/webhook_pair.h"
#include "json/writer.h"

#define SECRET STR("agent-sandbox-webhook-certs")

/* One of the four lists is begun a time: `kubectl get` of one name, and a watch of it. */
static const struct kind kind_crd = { .group = STR("apiextensions.k8s.io"),
                                      .version = STR("v1"),
                                      .kind = STR("CustomResourceDefinition"),
                                      .plural = STR("customresourcedefinitions") };
static const char *const crd_names[] = {
        "sandboxes.agents.x-k8s.io",
        "sandboxclaims.extensions.agents.x-k8s.io",
        "sandboxtemplates.extensions.agents.x-k8s.io",
        "sandboxwarmpools.extensions.agents.x-k8s.io",
};

enum {
        CRDS = ARRAY_SIZE(crd_names),
        LOOKS = 1440,              /* at the Secret, in the time that a pair lasts, but: */
        LOOK_MOST_MS = 600 * 1000, /* at least every ten minutes */
        LOOK_LEAST_MS = 100,
        SETTLE_PARTS = 24, /* of a pair's time, in which API servers hear of a new authority; */
        SETTLE_MOST_MS = 600 * 1000,
        AGAIN_MS = 1000, /* between two patches of one CRD; doubled while somebody undoes them */
        AGAIN_MOST_MS = 600 * 1000,
        UNDONE_MS = 5000, /* beyond that time a change has nothing to do with the last patch */
        TELL_AGAIN_MS = 4000,
        TRIES_BEFORE_WORDS = 2, /* a server that starts forbids everything for a moment */
};

struct crd {
        struct webhook_setup *setup;
        struct kube_reflector *reflector;
        struct kube_call *call; /* a patch on its way */
        struct net_timer again;
        struct buffer conversion; /* spec.conversion as last seen */
        uint64_t seen_ns;         /* monotonic, as all these: when that was */
        uint64_t patched_ns;      /* 0: never */
        uint64_t again_ms;
        unsigned failures; /* of the watch, in a row */
        struct str name;
        char version[24];  /* the resourceVersion of that */
        bool is_ours;      /* exists, and is to convert by webhook */
        bool takes_v1;     /* that speaks the version of reviews that we do */
        char trouble[128]; /* why it cannot be watched or patched; empty: nothing is wrong */
};

struct webhook_setup {
        struct webhook_setup_options options;
        struct arena arena;
        struct buffer collection, object; /* paths of the Secret */
        struct crd crds[CRDS];
        size_t count;
        struct webhook_pair pair;
        struct buffer bundle; /* base64 of its authorities, as CRDs have it; empty: none yet */
        uint64_t not_after;
        uint64_t settled_ns; /* monotonic: since when every CRD has the bundle; 0: not all have */
        uint64_t replaced_ns;
        uint64_t asked_ns, read_ns; /* when the Secret was asked for, and that with an answer */
        struct kube_call *call;
        struct net_timer look;
        struct backoff backoff;
        char trouble[128];
        bool complained; /* of it */
};

static void look(struct webhook_setup *setup);

static struct net_loop *loop_of(const struct webhook_setup *setup)
{
        return kube_client_loop(setup->options.client);
}

/* ---- the CRDs ---- */

static bool says(struct json_value value, struct str text)
{
        return text.length == 0 ? json_string(value).length == 0 : json_string_is(value, text);
}

static bool takes_v1(struct json_value webhook)
{
        json_for_each (it, json_get(webhook, "conversionReviewVersions"))
                if (json_string_is(it.value, STR("v1")))
                        return true;
        return false;
}

static bool is_leading(const struct webhook_setup *setup)
{
        return !setup->options.is_leading || setup->options.is_leading(setup->options.user);
}

static bool has_our_address(const struct webhook_setup *setup, struct json_value config)
{
        const struct webhook_setup_options *options = &setup->options;
        struct json_value service = json_get(config, "service");
        bool by_url = options->url.length > 0;

        return says(json_get(config, "url"), options->url) &&
               says(json_get(service, "name"), by_url ? STR_EMPTY : options->service) &&
               says(json_get(service, "namespace"), by_url ? STR_EMPTY : options->name_space) &&
               says(json_get(service, "path"), by_url ? STR_EMPTY : STR("/convert"));
}

/* Whether API servers would call us, or who leads, and trust that, by what stands there. */
static bool is_right(const struct webhook_setup *setup, struct json_value conversion)
{
        struct json_value webhook = json_get(conversion, "webhook");
        struct json_value config = json_get(webhook, "clientConfig");

        return json_string_is(json_get(conversion, "strategy"), STR("Webhook")) &&
               takes_v1(webhook) &&
               json_string_is(json_get(config, "caBundle"), buffer_str(&setup->bundle)) &&
               (has_our_address(setup, config) || !is_leading(setup));
}

static bool has_right_conversion(const struct crd *crd)
{
        _cleanup_doc_ struct json_doc *doc = NULL;

        return json_doc_parse(buffer_str(&crd->conversion), NULL, NULL, NULL, &doc) == 0 &&
               is_right(crd->setup, json_root(doc));
}

static int write_patch(const struct crd *crd, struct buffer *out)
{
        const struct webhook_setup_options *options = &crd->setup->options;
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "resourceVersion", str_from(crd->version));
        json_end_object(&writer);
        json_field_object(&writer, "spec");
        json_field_object(&writer, "conversion");
        json_field_string(&writer, "strategy", STR("Webhook"));
        json_field_object(&writer, "webhook");
        if (!crd->takes_v1)
                json_field_raw(&writer, "conversionReviewVersions", STR("[\"v1\"]"));
        json_field_object(&writer, "clientConfig");
        json_field_string(&writer, "caBundle", buffer_str(&crd->setup->bundle));
        if (options->url.length > 0) {
                json_field_raw(&writer, "service", STR("null"));
                json_field_string(&writer, "url", options->url);
        } else {
                json_field_raw(&writer, "url", STR("null"));
                json_field_object(&writer, "service");
                json_field_string(&writer, "name", options->service);
                json_field_string(&writer, "namespace", options->name_space);
                json_field_string(&writer, "path", STR("/convert"));
                json_end_object(&writer);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static void consider(struct crd *crd);

static void on_again(struct net_timer *timer)
{
        consider(container_of(timer, struct crd, again));
}

static void on_patched(void *user, const struct kube_response *response)
{
        struct crd *crd = user;

        crd->call = NULL;
        net_timer_start(loop_of(crd->setup), &crd->again, crd->again_ms, on_again);
        /* What came of it is seen by the watch; who was faster may have done the same. */
        if (kube_response_ok(response) || response->status == 404 || response->status == 409) {
                crd->trouble[0] = '\0';
                if (kube_response_ok(response)) {
                        crd->patched_ns = clock_monotonic_ns();
                        log_info("%.*s converts by our webhook", STR_FORMAT(crd->name));
                }
                return;
        }
        if (!crd->trouble[0])
                log_warning("cannot patch the conversion of %.*s: %.*s", STR_FORMAT(crd->name),
                            STR_FORMAT(response->message));
        snprintf(crd->trouble, sizeof(crd->trouble), "%.*s", STR_FORMAT(response->message));
}

/* Two that set the same CRD differently would make it unusable, if neither gave way. */
static void give_way(struct crd *crd)
{
        uint64_t since_ms = (clock_monotonic_ns() - crd->patched_ns) / NS_PER_MS;

        if (crd->patched_ns == 0 || since_ms > crd->again_ms + UNDONE_MS) {
                crd->again_ms = AGAIN_MS;
                return;
        }
        crd->again_ms = MIN(2 * crd->again_ms, (uint64_t)AGAIN_MOST_MS);
        if (crd->again_ms == TELL_AGAIN_MS)
                log_warning("somebody changes the conversion of %.*s again and again: is there "
                            "another controller, with another Secret or --webhook-url? It is set "
                            "back ever more seldom",
                            STR_FORMAT(crd->name));
}

static void patch(struct crd *crd)
{
        _cleanup_buffer_ struct buffer path = {}, body = {};

        give_way(crd);
        int r = kube_path_append(&path, &kind_crd, STR_EMPTY, crd->name, STR_EMPTY);
        if (r == 0)
                r = write_patch(crd, &body);
        if (r == 0) {
                const struct kube_request request = {
                        .method = STR("PATCH"),
                        .path = buffer_str(&path),
                        .content_type = STR("application/merge-patch+json"),
                        .body = buffer_str(&body),
                };
                r = kube_client_request(crd->setup->options.client, &request, on_patched, crd,
                                        &crd->call);
        }
        if (r < 0)
                net_timer_start(loop_of(crd->setup), &crd->again, crd->again_ms, on_again);
}

/* Notes since when all have the bundle, from which on a change may go on. */
static void note_settled(struct webhook_setup *setup)
{
        bool all = setup->bundle.length > 0;

        for (size_t i = 0; all && i < setup->count; i++)
                all = kube_reflector_is_synced(setup->crds[i].reflector) &&
                      (!setup->crds[i].is_ours || has_right_conversion(&setup->crds[i]));
        if (!all)
                setup->settled_ns = 0;
        else if (setup->settled_ns == 0)
                setup->settled_ns = clock_monotonic_ns();
}

static void consider(struct crd *crd)
{
        struct webhook_setup *setup = crd->setup;

        note_settled(setup);
        if (!crd->is_ours || setup->bundle.length == 0 || crd->call ||
            net_timer_is_running(&crd->again) || has_right_conversion(crd))
                return;
        /* It may be what another replica has made of a newer Secret. */
        if (setup->read_ns > crd->seen_ns)
                patch(crd);
        else if (!setup->call)
                look(setup);
}

/* Objects that an API server would only rename, and so spoil, are ours to convert, too. */
static bool is_to_convert(struct json_value spec)
{
        if (json_string_is(json_get(spec, "conversion", "strategy"), STR("Webhook")))
                return true;
        json_for_each (it, json_get(spec, "versions"))
                if (json_string_is(json_get(it.value, "name"), STR("v1alpha1")) &&
                    json_bool_or(json_get(it.value, "served"), false))
                        return true;
        return false;
}

static void on_crd(void *user, const struct kube_event *event)
{
        struct crd *crd = user;
        struct json_value spec =
                event->doc ? json_get(json_root(event->doc), "spec") : (struct json_value){};

        if (event->type == KUBE_DELETED) {
                crd->is_ours = false;
        } else if (event->type == KUBE_ADDED || event->type == KUBE_MODIFIED) {
                crd->seen_ns = clock_monotonic_ns();
                crd->is_ours = is_to_convert(spec);
                crd->takes_v1 = takes_v1(json_get(spec, "conversion", "webhook"));
                snprintf(crd->version, sizeof(crd->version), "%llu",
                         (unsigned long long)event->resource_version);
                buffer_clear(&crd->conversion);
                if (buffer_append_str(&crd->conversion, json_text(json_get(spec, "conversion"))) <
                    0)
                        buffer_clear(&crd->conversion);
        }
        consider(crd);
}

static bool may_say(const struct webhook_setup *setup, struct str trouble)
{
        return setup->options.may_say(setup->options.user, trouble);
}

static void complain(const struct crd *crd, struct str trouble)
{
        if (may_say(crd->setup, trouble))
                log_warning("cannot watch the CRD %.*s: %.*s", STR_FORMAT(crd->name),
                            STR_FORMAT(trouble));
}

static void on_crd_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct crd *crd = user;

        if (state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN) {
                snprintf(crd->trouble, sizeof(crd->trouble), "%.*s", STR_FORMAT(message));
                if (++crd->failures == TRIES_BEFORE_WORDS)
                        complain(crd, message);
        } else if (state == KUBE_REFLECTOR_WATCHING) {
                crd->trouble[0] = '\0';
                crd->failures = 0;
        }
}

static int start_crd(struct webhook_setup *setup, const char *name)
{
        struct crd *crd = &setup->crds[setup->count];
        char selector[128];

        snprintf(selector, sizeof(selector), "metadata.name=%s", name);
        *crd = (struct crd){ .setup = setup, .name = str_from(name), .again_ms = AGAIN_MS };
        const struct kube_reflector_options options = {
                .client = setup->options.client,
                .kind = &kind_crd,
                .field_selector = str_from(selector),
                .tell_vanished = true,
                .handler = on_crd,
                .on_state = on_crd_state,
                .user = crd,
        };
        int r = kube_reflector_new(&options, &crd->reflector);
        if (r == 0)
                setup->count++;
        return r;
}

/* ---- the Secret ---- */

static uint64_t part_of_time(const struct webhook_setup *setup, uint64_t parts, uint64_t most_ms)
{
        return MIN(setup->options.policy->valid_s * 1000 / parts, most_ms);
}

static void on_look(struct net_timer *timer)
{
        look(container_of(timer, struct webhook_setup, look));
}

static void look_later(struct webhook_setup *setup)
{
        uint64_t delay = part_of_time(setup, LOOKS, LOOK_MOST_MS);

        net_timer_start(loop_of(setup), &setup->look, MAX(delay, (uint64_t)LOOK_LEAST_MS), on_look);
}

static void try_again(struct webhook_setup *setup, struct str why)
{
        if (!setup->trouble[0] && may_say(setup, why)) {
                log_warning("the webhook's certificate cannot be kept in the Secret %.*s/%.*s: "
                            "%.*s",
                            STR_FORMAT(setup->options.name_space), STR_FORMAT(SECRET),
                            STR_FORMAT(why));
                setup->complained = true;
        }
        snprintf(setup->trouble, sizeof(setup->trouble), "%.*s", STR_FORMAT(why));
        net_timer_start(loop_of(setup), &setup->look, backoff_next(&setup->backoff), on_look);
}

/* Serves the pair of the Secret from now on, and has CRDs say whom to trust. */
static int adopt(struct webhook_setup *setup, struct webhook_pair *pair)
{
        _cleanup_buffer_ struct buffer bundle = {};
        struct error error = {};
        uint64_t not_after = 0;

        int r = base64_append(&bundle, BASE64_STANDARD, pair->authorities.data,
                              pair->authorities.length);
        if (r == 0)
                r = certificate_not_after(buffer_str(&pair->serving.certificate), &not_after);
        if (r < 0)
                return r;
        if (!str_equal(buffer_str(&pair->serving.certificate),
                       buffer_str(&setup->pair.serving.certificate))) {
                r = webhook_reload(setup->options.webhook, buffer_str(&pair->serving.certificate),
                                   buffer_str(&pair->serving.key), &error);
                if (r < 0) {
                        log_error("cannot serve the webhook's certificate: %s", error.message);
                        return r;
                }
                char ends[RFC3339_SECONDS_SIZE];
                rfc3339_format_seconds(not_after, ends);
                log_info("the webhook serves a certificate that ends at %s", ends);
        }
        webhook_pair_deinit(&setup->pair);
        setup->pair = *pair;
        *pair = (struct webhook_pair){};
        setup->not_after = not_after;
        if (!str_equal(buffer_str(&bundle), buffer_str(&setup->bundle))) {
                buffer_deinit(&setup->bundle);
                setup->bundle = bundle;
                bundle = (struct buffer){};
        }
        setup->read_ns = setup->asked_ns;
        for (size_t i = 0; i < setup->count; i++)
                consider(&setup->crds[i]);
        return 0;
}

static void on_written(void *user, const struct kube_response *response)
{
        struct webhook_setup *setup = user;

        setup->call = NULL;
        /* Whatever stands there now is read again: it may be another replica's. */
        if (kube_response_ok(response) || response->status == 409)
                look(setup);
        else
                try_again(setup, response->message);
}

static int write_secret(struct webhook_setup *setup, const struct webhook_pair *pair,
                        struct json_value secret)
{
        _cleanup_secret_ struct buffer body = {};
        bool is_new = !json_exists(secret);

        int r = webhook_pair_append(pair, secret, setup->options.name_space, SECRET, &body);
        if (r < 0)
                return r;
        const struct kube_request request = {
                .method = is_new ? STR("POST") : STR("PUT"),
                .path = buffer_str(is_new ? &setup->collection : &setup->object),
                .body = buffer_str(&body),
        };
        return kube_client_request(setup->options.client, &request, on_written, setup,
                                   &setup->call);
}

static int make_secret(struct webhook_setup *setup)
{
        _cleanup_webhook_pair_ struct webhook_pair made = {};
        const struct webhook_pair_policy *policy = setup->options.policy;
        uint64_t now = clock_realtime_ns();
        struct error error = {};

        /* Somebody deleted it: what API servers trust goes on being served. */
        if (setup->pair.serving.certificate.length > 0 &&
            webhook_pair_judge(&setup->pair, policy, now, NULL) != WEBHOOK_PAIR_UNUSABLE)
                return write_secret(setup, &setup->pair, (struct json_value){});
        int r = webhook_pair_make(policy, now, &error, &made);
        if (r < 0) {
                log_error("cannot make the webhook's certificate: %s", error.message);
                return r;
        }
        if (!setup->trouble[0])
                log_info("making the webhook's certificate");
        return write_secret(setup, &made, (struct json_value){});
}

/* Whether what a verdict asks for is to be done now. */
static bool is_due(const struct webhook_setup *setup, enum webhook_pair_verdict verdict)
{
        uint64_t now = clock_monotonic_ns();

        switch (verdict) {
        case WEBHOOK_PAIR_GOOD:
                return false;
        case WEBHOOK_PAIR_UNUSABLE:
                /* Two replicas that want different names would replace each other's for ever. */
                return setup->replaced_ns == 0 || now - setup->replaced_ns > 60 * NS_PER_SECOND;
        case WEBHOOK_PAIR_CHANGING:
                return setup->settled_ns > 0 &&
                       now - setup->settled_ns >=
                               part_of_time(setup, SETTLE_PARTS, SETTLE_MOST_MS) * NS_PER_MS;
        case WEBHOOK_PAIR_OLD:
        case WEBHOOK_PAIR_LITTER:
                break;
        }
        return true;
}

static int go_on(struct webhook_setup *setup, struct webhook_pair *pair,
                 enum webhook_pair_verdict verdict, struct json_value secret)
{
        static const char *const said[] = {
                [WEBHOOK_PAIR_UNUSABLE] = "it is replaced",
                [WEBHOOK_PAIR_OLD] = "the next one is announced",
                [WEBHOOK_PAIR_CHANGING] = "the next one serves from now on",
                [WEBHOOK_PAIR_LITTER] = "what has ended is no longer trusted",
        };
        _cleanup_webhook_pair_ struct webhook_pair next = {};
        struct error error = {};

        int r = webhook_pair_advance(pair, verdict, setup->options.policy, clock_realtime_ns(),
                                     &error, &next);
        if (r < 0) {
                log_error("cannot replace the webhook's certificate: %s", error.message);
                return r;
        }
        log_info("the webhook's certificate: %s", said[verdict]);
        if (verdict == WEBHOOK_PAIR_UNUSABLE)
                setup->replaced_ns = clock_monotonic_ns();
        return write_secret(setup, &next, secret);
}

static int judge(struct webhook_setup *setup, struct json_value secret)
{
        _cleanup_webhook_pair_ struct webhook_pair pair = {};
        struct error why = {};

        int r = webhook_pair_read(secret, &pair);
        if (r < 0)
                return r;
        struct webhook_pair_policy policy = *setup->options.policy;
        /* The first name is the Service's, the second the URL's, which only the leader has. */
        if (!is_leading(setup))
                policy.required = MIN(policy.required, (size_t)1);
        r = webhook_pair_judge(&pair, &policy, clock_realtime_ns(), &why);
        if (r < 0)
                return r;
        enum webhook_pair_verdict verdict = (enum webhook_pair_verdict)r;
        if (verdict == WEBHOOK_PAIR_UNUSABLE)
                log_warning("the webhook's certificate in the Secret %.*s is of no use: %s",
                            STR_FORMAT(SECRET), why.message);
        /* One write at a time: after it the Secret is read, and adopted, anew. */
        if (is_due(setup, verdict))
                return go_on(setup, &pair, verdict, secret);
        r = verdict == WEBHOOK_PAIR_UNUSABLE ? -EBADMSG : adopt(setup, &pair);
        /* A CRD may have made it look once more already. */
        if (r == 0 && !setup->call)
                look_later(setup);
        return r;
}

static void on_secret(void *user, const struct kube_response *response)
{
        struct webhook_setup *setup = user;
        int r;

        setup->call = NULL;
        if (response->error == 0 && response->status == 404) {
                r = make_secret(setup);
        } else if (kube_response_ok(response) && response->doc) {
                r = judge(setup, json_root(response->doc));
                if (r == 0) {
                        setup->trouble[0] = '\0';
                        backoff_reset(&setup->backoff);
                        if (setup->complained)
                                log_info("the webhook's certificate is in reach again");
                        setup->complained = false;
                }
        } else {
                try_again(setup, response->message);
                return;
        }
        if (r < 0)
                try_again(setup, r == -EBADMSG ? STR("its certificate is of no use")
                                               : STR("out of memory"));
}

static void look(struct webhook_setup *setup)
{
        const struct kube_request request = { .method = STR("GET"),
                                              .path = buffer_str(&setup->object),
                                              .attempts = 1 };

        net_timer_stop(&setup->look);
        setup->asked_ns = clock_monotonic_ns();
        if (kube_client_request(setup->options.client, &request, on_secret, setup, &setup->call) <
            0)
                try_again(setup, STR("out of memory"));
}

/* ---- making ---- */

static int prepare(struct webhook_setup *setup)
{
        struct webhook_setup_options *options = &setup->options;

        options->name_space = arena_str(&setup->arena, options->name_space);
        options->service = arena_str(&setup->arena, options->service);
        options->url = arena_str(&setup->arena, options->url);
        if (!options->name_space.data || !options->service.data || !options->url.data)
                return -ENOMEM;
        int r = kube_path_append(&setup->collection, &kind_secret, options->name_space, STR_EMPTY,
                                 STR_EMPTY);
        if (r == 0)
                r = kube_path_append(&setup->object, &kind_secret, options->name_space, SECRET,
                                     STR_EMPTY);
        for (size_t i = 0; r == 0 && i < (options->extensions ? CRDS : 1); i++)
                r = start_crd(setup, crd_names[i]);
        return r;
}

int webhook_setup_new(const struct webhook_setup_options *options, struct webhook_setup **ret_setup)
{
        struct webhook_setup *setup = calloc(1, sizeof(*setup));

        if (!setup)
                return -ENOMEM;
        setup->options = *options;
        setup->backoff = (struct backoff){ .first_ms = 500, .most_ms = 30 * 1000 };
        int r = prepare(setup);
        if (r < 0) {
                webhook_setup_free(setup);
                return r;
        }
        net_timer_start(loop_of(setup), &setup->look, 0, on_look);
        *ret_setup = setup;
        return 0;
}

void webhook_setup_lead(struct webhook_setup *setup)
{
        for (size_t i = 0; i < setup->count; i++)
                consider(&setup->crds[i]);
        if (!setup->call)
                look(setup);
}

void webhook_setup_free(struct webhook_setup *setup)
{
        if (!setup)
                return;
        for (size_t i = 0; i < setup->count; i++) {
                struct crd *crd = &setup->crds[i];
                if (crd->call)
                        kube_call_cancel(crd->call);
                net_timer_stop(&crd->again);
                kube_reflector_free(crd->reflector);
                buffer_deinit(&crd->conversion);
        }
        if (setup->call)
                kube_call_cancel(setup->call);
        net_timer_stop(&setup->look);
        webhook_pair_deinit(&setup->pair);
        buffer_deinit(&setup->bundle);
        buffer_deinit(&setup->collection);
        buffer_deinit(&setup->object);
        arena_deinit(&setup->arena);
        free(setup);
}

bool webhook_setup_is_well(const struct webhook_setup *setup, char why[static HEALTH_WHY_SIZE])
{
        if (setup->bundle.length == 0 || setup->not_after < clock_realtime_ns()) {
                snprintf(why, HEALTH_WHY_SIZE, "the certificate %s%s%.80s",
                         setup->bundle.length == 0 ? "is not read yet" : "has ended",
                         setup->trouble[0] ? ": " : "", setup->trouble);
                return false;
        }
        for (size_t i = 0; i < setup->count; i++) {
                const struct crd *crd = &setup->crds[i];
                bool synced = kube_reflector_is_synced(crd->reflector);
                if (synced && !crd->trouble[0] && (!crd->is_ours || has_right_conversion(crd)))
                        continue;
                /* What API servers say names the CRD. */
                snprintf(why, HEALTH_WHY_SIZE, "%s%.110s", synced ? "not patched: " : "not read: ",
                         crd->trouble[0] ? crd->trouble : crd->name.data);
                return false;
        }
        return true;
}

uint64_t webhook_setup_not_after(const struct webhook_setup *setup)
{
        return setup->not_after;
}
