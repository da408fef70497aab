// SPDX-License-Identifier: Apache-2.0
#include "router/token_review.h"

#include <errno.h>
#include <stdlib.h>

/* Without memory an element is not added; uthash would end the process otherwise. */
#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->unlinked = true)
#include <uthash.h>

#include "base/arena.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "net/loop.h"
#include "json/writer.h"

#define REVIEWS_PATH "/apis/authentication.k8s.io/v1/tokenreviews"

enum { ATTEMPTS = 3 };

/* Of one token, by its digest: the token itself is kept nowhere. */
struct review {
        UT_hash_handle hh;
        uint8_t digest[SHA256_SIZE];
        struct list age;     /* least recently used first */
        struct list waiters; /* struct router_authorization */
        struct token_reviews *reviews;
        struct kube_call *call; /* while it is under way */
        uint64_t until_ms;
        enum verdict verdict;
        bool unlinked;
};

struct token_reviews {
        struct kube_client *client;
        struct net_loop *loop;
        struct review *table;
        struct list ages;
        struct arena arena;
        struct str audiences[AUTHORIZE_AUDIENCES];
        size_t audience_count;
        uint64_t remember_ms;
        unsigned capacity;
        struct router_authorizer_counters counters;
        bool failing; /* told in the log */
};

static void drop(struct review *review)
{
        struct token_reviews *reviews = review->reviews;

        HASH_DEL(reviews->table, review);
        list_remove(&review->age);
        reviews->counters.remembered--;
        free(review);
}

/* Room for one more. Those under way are not given up: their number has a limit of its own. */
static bool make_room(struct token_reviews *reviews)
{
        struct review *review;

        if (reviews->counters.under_way >= AUTHORIZE_REVIEWS)
                return false;
        if (reviews->counters.remembered < reviews->capacity)
                return true;
        list_for_each (review, &reviews->ages, age)
                if (!review->call) {
                        drop(review);
                        return true;
                }
        return false;
}

static bool audience_fits(const struct token_reviews *reviews, struct json_value audiences)
{
        if (reviews->audience_count == 0)
                return true;
        /* An API server that knows of no audiences names none: then it has not looked at them. */
        json_for_each (it, audiences)
                for (size_t i = 0; i < reviews->audience_count; i++)
                        if (json_string_is(it.value, reviews->audiences[i]))
                                return true;
        return false;
}

static enum verdict judge(struct token_reviews *reviews, const struct kube_response *response)
{
        if (!kube_response_ok(response) || !response->doc) {
                if (!reviews->failing)
                        log_error("cannot review tokens: %.*s", STR_FORMAT(response->message));
                reviews->failing = true;
                return VERDICT_UNKNOWN;
        }
        if (reviews->failing)
                log_info("tokens are reviewed again");
        reviews->failing = false;
        struct json_value status = json_get(json_root(response->doc), "status");
        bool good = json_bool_or(json_get(status, "authenticated"), false) &&
                    audience_fits(reviews, json_get(status, "audiences"));
        return good ? VERDICT_ALLOWED : VERDICT_UNAUTHENTICATED;
}

static void reviewed(void *user, const struct kube_response *response)
{
        struct review *review = user;
        struct token_reviews *reviews = review->reviews;
        struct list woken;

        review->call = NULL;
        reviews->counters.under_way--;
        review->verdict = judge(reviews, response);
        review->until_ms =
                net_loop_now_ms(reviews->loop) +
                (review->verdict == VERDICT_UNKNOWN ? AUTHORIZE_FAILURE_MS : reviews->remember_ms);
        enum verdict verdict = review->verdict;
        list_init(&woken);
        while (!list_is_empty(&review->waiters)) {
                struct list *link = review->waiters.next;
                list_remove(link);
                list_append(&woken, link);
        }
        /* Whoever is told may ask again, and so make room at this one's cost. */
        while (!list_is_empty(&woken)) {
                struct router_authorization *a =
                        list_entry(woken.next, struct router_authorization, link);
                router_authorization_cancel(a);
                a->decided(a, verdict);
        }
}

static int append_review(const struct token_reviews *reviews, struct str token, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("authentication.k8s.io/v1"));
        json_field_string(&writer, "kind", STR("TokenReview"));
        json_field_object(&writer, "spec");
        json_field_string(&writer, "token", token);
        if (reviews->audience_count > 0) {
                json_field_array(&writer, "audiences");
                for (size_t i = 0; i < reviews->audience_count; i++)
                        json_write_string(&writer, reviews->audiences[i]);
                json_end_array(&writer);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int begin(struct review *review, struct str token)
{
        struct token_reviews *reviews = review->reviews;
        _cleanup_buffer_ struct buffer body = {};

        int r = append_review(reviews, token, &body);
        if (r < 0)
                return r;
        const struct kube_request request = {
                .method = STR("POST"),
                .path = STR(REVIEWS_PATH),
                .body = buffer_str(&body),
                .timeout_ms = AUTHORIZE_REVIEW_TIMEOUT_MS,
                .attempts = ATTEMPTS,
        };
        r = kube_client_request(reviews->client, &request, reviewed, review, &review->call);
        explicit_bzero(body.data, body.length);
        if (r < 0)
                return r;
        reviews->counters.under_way++;
        reviews->counters.reviews++;
        return 0;
}

static struct review *add(struct token_reviews *reviews, const uint8_t digest[static SHA256_SIZE])
{
        struct review *review = make_room(reviews) ? calloc(1, sizeof(*review)) : NULL;

        if (!review)
                return NULL;
        review->reviews = reviews;
        memcpy(review->digest, digest, SHA256_SIZE);
        list_init(&review->waiters);
        HASH_ADD(hh, reviews->table, digest, SHA256_SIZE, review);
        if (review->unlinked) {
                free(review);
                return NULL;
        }
        list_append(&reviews->ages, &review->age);
        reviews->counters.remembered++;
        return review;
}

enum verdict token_reviews_ask(struct token_reviews *reviews, struct str token,
                               struct router_authorization *authorization)
{
        uint8_t digest[SHA256_SIZE];
        struct review *review;

        if (digest_sha256(token, digest) < 0)
                return VERDICT_UNKNOWN;
        HASH_FIND(hh, reviews->table, digest, SHA256_SIZE, review);
        if (review && !review->call && net_loop_now_ms(reviews->loop) < review->until_ms) {
                list_remove(&review->age);
                list_append(&reviews->ages, &review->age);
                return review->verdict;
        }
        if (review && !review->call) {
                drop(review);
                review = NULL;
        }
        if (!review) {
                review = add(reviews, digest);
                if (!review)
                        return VERDICT_UNKNOWN;
                if (begin(review, token) < 0) {
                        drop(review);
                        return VERDICT_UNKNOWN;
                }
        }
        list_append(&review->waiters, &authorization->link);
        return VERDICT_PENDING;
}

struct router_authorizer_counters token_reviews_counters(const struct token_reviews *reviews)
{
        return reviews->counters;
}

int token_reviews_new(const struct router_authorizer_options *options,
                      struct token_reviews **ret_reviews)
{
        struct token_reviews *reviews = calloc(1, sizeof(*reviews));

        if (!reviews)
                return -ENOMEM;
        reviews->client = options->client;
        reviews->loop = kube_client_loop(options->client);
        reviews->remember_ms = options->remember_ms ? options->remember_ms : AUTHORIZE_REMEMBER_MS;
        reviews->capacity = options->tokens ? options->tokens : AUTHORIZE_TOKENS;
        list_init(&reviews->ages);
        for (size_t i = 0; i < options->audience_count; i++) {
                reviews->audiences[i] = arena_str(&reviews->arena, options->audiences[i]);
                if (!reviews->audiences[i].data) {
                        token_reviews_free(reviews);
                        return -ENOMEM;
                }
        }
        reviews->audience_count = options->audience_count;
        *ret_reviews = reviews;
        return 0;
}

void token_reviews_free(struct token_reviews *reviews)
{
        struct review *review, *next;

        if (!reviews)
                return;
        HASH_ITER (hh, reviews->table, review, next) {
                if (review->call)
                        kube_call_cancel(review->call);
                drop(review);
        }
        arena_deinit(&reviews->arena);
        free(reviews);
}
