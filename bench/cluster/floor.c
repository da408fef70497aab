// SPDX-License-Identifier: Apache-2.0
#include "cluster/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/list.h"
#include "kube/meta.h"

enum { FILL_AT_ONCE = 64, UID_SIZE = 64, ADDRESS_SIZE = 64, POOL_STATUS_MS = 1000, ATTEMPTS = 5 };

/* What the controller sends, by the names that the recording gives. */
enum write {
        WRITE_MEMBER, /* POST the Sandbox */
        WRITE_POD,    /* POST its Pod: needs the Sandbox's uid */
        WRITE_READY,  /* its status: needs the Pod Ready */
        WRITE_ADOPT,  /* the claim becomes its owner: needs the answer to the claim's POST */
        WRITE_LABEL,  /* the Pod's labels: needs the answer to the adoption */
        WRITE_TELL,   /* the claim's status: needs the answer to the adoption */
        WRITE_EVENT,  /* needs the answer to the status */
        WRITE_POOL,   /* the pool's status: once a second when it changed */
        WRITE_COUNT,
};

static const char *const write_names[WRITE_COUNT] = {
        [WRITE_MEMBER] = "member", [WRITE_POD] = "pod",     [WRITE_READY] = "ready",
        [WRITE_ADOPT] = "adopt",   [WRITE_LABEL] = "label", [WRITE_TELL] = "tell",
        [WRITE_EVENT] = "event",   [WRITE_POOL] = "pool",
};

struct recorded {
        struct str method, path, body;
};

struct member {
        UT_hash_handle by_name;
        struct list link; /* of those that are ready */
        struct floor *floor;
        char name[BENCH_NAME], uid[UID_SIZE], version[UID_SIZE], hash[16];
        char pod_uid[UID_SIZE], pod_ip[ADDRESS_SIZE];
        bool pod_ready;
};

/* A claim that has no member yet, or is being given one. */
struct given {
        struct list link;
        struct floor *floor;
        struct member *member;
        char name[BENCH_NAME], uid[UID_SIZE], version[UID_SIZE];
};

struct floor {
        struct floor_options options;
        struct kube_config config;
        struct kube_client *client;
        struct json_doc *recording;
        struct recorded writes[WRITE_COUNT];
        struct kube_reflector *pods;
        struct member *members;
        struct list ready, waiting;
        size_t ready_count;
        char pool_uid[UID_SIZE], pool_version[UID_SIZE];
        bool pool_told, pool_changed, watching; /* pool_told: its version is known */
        struct net_timer pool_timer;
        uint64_t numbers;
        int64_t to_make, to_come;
        void (*filled)(void *user);
        void *user;
};

static void copy(char *to, size_t size, struct str from)
{
        if (from.length == 0 || from.length >= size)
                bench_fail("an answer lacks a field, or has one too long");
        memcpy(to, from.data, from.length);
        to[from.length] = '\0';
}

/* ---- writing ---- */

static void append(struct buffer *out, struct str text)
{
        if (buffer_append(out, text.data, text.length) < 0)
                bench_fail("out of memory");
}

static struct str field(const struct floor *floor, struct str name, const struct given *given,
                        const struct member *member, char scratch[static 64])
{
        const struct {
                const char *name, *value;
        } known[] = {
                { "claim", given ? given->name : NULL },
                { "claim.uid", given ? given->uid : NULL },
                { "claim.version", given ? given->version : NULL },
                { "member", member ? member->name : NULL },
                { "member.uid", member ? member->uid : NULL },
                { "member.version", member ? member->version : NULL },
                { "member.hash", member ? member->hash : NULL },
                { "pod.uid", member ? member->pod_uid : NULL },
                { "pod.ip", member ? member->pod_ip : NULL },
                { "pool.uid", floor->pool_uid },
                { "pool.version", floor->pool_version },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (known[i].value && str_equal(name, str_from(known[i].name)))
                        return str_from(known[i].value);
        if (str_equal(name, STR("now"))) {
                rfc3339_format_seconds(clock_realtime_ns(), scratch);
        } else if (str_equal(name, STR("number"))) {
                snprintf(scratch, 64, "%016" PRIx64, floor->numbers);
        } else if (str_equal(name, STR("count"))) {
                snprintf(scratch, 64, "%zu", floor->ready_count);
        } else {
                bench_fail("the recording has a field @%.*s@ that is not known", STR_FORMAT(name));
        }
        return str_from(scratch);
}

/* The text with each @field@ replaced. */
static void expand(const struct floor *floor, struct str text, const struct given *given,
                   const struct member *member, struct buffer *out)
{
        while (text.length) {
                const char *at = memchr(text.data, '@', text.length);
                const char *end =
                        at ? memchr(at + 1, '@', text.length - (size_t)(at + 1 - text.data)) : NULL;
                char scratch[64];

                if (!end) {
                        append(out, text);
                        return;
                }
                append(out, (struct str){ text.data, (size_t)(at - text.data) });
                append(out, field(floor, (struct str){ at + 1, (size_t)(end - at - 1) }, given,
                                  member, scratch));
                text = str_slice(text, (size_t)(end + 1 - text.data), text.length);
        }
}

static void put(struct floor *floor, enum write write, const struct given *given,
                const struct member *member, kube_response_fn callback, void *user)
{
        const struct recorded *recorded = &floor->writes[write];
        _cleanup_buffer_ struct buffer path = {}, body = {};

        floor->numbers++;
        expand(floor, recorded->path, given, member, &path);
        expand(floor, recorded->body, given, member, &body);
        const struct kube_request request = {
                .method = recorded->method,
                .path = buffer_str(&path),
                .body = buffer_str(&body),
                .content_type = str_equal(recorded->method, STR("PATCH"))
                                        ? STR("application/merge-patch+json")
                                        : STR_EMPTY,
                .attempts = ATTEMPTS,
        };
        int r = kube_client_request(floor->client, &request, callback, user, NULL);
        if (r < 0)
                bench_fail("%s: %s", write_names[write], strerror(-r));
}

static struct json_value answered(const struct kube_response *response)
{
        bench_expect_success(NULL, response);
        return json_get(json_root(response->doc), "metadata");
}

static void read_version(const struct kube_response *response, char version[static UID_SIZE])
{
        copy(version, UID_SIZE, json_string(json_get(answered(response), "resourceVersion")));
}

/* ---- the pool's status ---- */

static void on_pool_told(void *user, const struct kube_response *response)
{
        struct floor *floor = user;

        read_version(response, floor->pool_version);
        floor->pool_told = true;
}

static void tell_pool(struct net_timer *timer)
{
        struct floor *floor = container_of(timer, struct floor, pool_timer);

        if (floor->pool_changed && floor->pool_told) {
                floor->pool_changed = floor->pool_told = false;
                put(floor, WRITE_POOL, NULL, NULL, on_pool_told, floor);
        }
        net_timer_start(floor->options.bench->loop, &floor->pool_timer, POOL_STATUS_MS, tell_pool);
}

/* ---- members ---- */

static void make_member(struct floor *floor);
static void give(struct floor *floor);

static void on_told_ready(void *user, const struct kube_response *response)
{
        struct member *member = user;
        struct floor *floor = member->floor;

        read_version(response, member->version);
        list_append(&floor->ready, &member->link);
        floor->ready_count++;
        floor->pool_changed = true;
        give(floor);
        if (floor->to_make > 0)
                make_member(floor);
        if (floor->to_come > 0 && --floor->to_come == 0 && floor->filled)
                floor->filled(floor->user);
}

static void on_member_made(void *user, const struct kube_response *response)
{
        struct member *member = user;

        copy(member->uid, sizeof(member->uid), json_string(json_get(answered(response), "uid")));
        read_version(response, member->version);
        put(member->floor, WRITE_POD, NULL, member, bench_expect_success, NULL);
}

static void make_member(struct floor *floor)
{
        struct member *member = calloc(1, sizeof(*member));

        if (!member)
                bench_fail("out of memory");
        member->floor = floor;
        snprintf(member->name, sizeof(member->name), "%s-%05" PRIx64, floor->options.pool,
                 floor->numbers);
        snprintf(member->hash, sizeof(member->hash), "%08x", str_fnv1a(str_from(member->name)));
        HASH_ADD(by_name, floor->members, name, strlen(member->name), member);
        if (floor->to_make > 0)
                floor->to_make--;
        put(floor, WRITE_MEMBER, NULL, member, on_member_made, member);
}

static void on_pod(void *user, const struct kube_event *event)
{
        struct floor *floor = user;
        struct member *member;

        if (event->type == KUBE_LIST_END)
                floor->watching = true;
        if (!event->doc || event->type == KUBE_DELETED)
                return;
        HASH_FIND(by_name, floor->members, event->name.data, event->name.length, member);
        if (!member || member->pod_ready || !bench_is_ready(json_root(event->doc)))
                return;
        struct json_value root = json_root(event->doc);
        copy(member->pod_uid, UID_SIZE, json_string(json_get(root, "metadata", "uid")));
        copy(member->pod_ip, ADDRESS_SIZE, json_string(json_get(root, "status", "podIP")));
        member->pod_ready = true;
        put(floor, WRITE_READY, NULL, member, on_told_ready, member);
}

void floor_fill(struct floor *floor, int64_t count, void (*filled)(void *user), void *user)
{
        floor->filled = filled;
        floor->user = user;
        floor->to_make = floor->to_come = count;
        for (int64_t i = 0; i < MIN(count, FILL_AT_ONCE); i++)
                make_member(floor);
}

/* ---- claims ---- */

static void on_event_written(void *user, const struct kube_response *response)
{
        bench_expect_success(NULL, response);
        free(user);
}

static void on_claim_told(void *user, const struct kube_response *response)
{
        struct given *given = user;

        bench_expect_success(NULL, response);
        put(given->floor, WRITE_EVENT, given, given->member, on_event_written, given);
}

static void on_adopted(void *user, const struct kube_response *response)
{
        struct given *given = user;
        struct floor *floor = given->floor;

        bench_expect_success(NULL, response);
        put(floor, WRITE_TELL, given, given->member, on_claim_told, given);
        put(floor, WRITE_LABEL, given, given->member, bench_expect_success, NULL);
        if (floor->options.refills)
                make_member(floor);
}

static void give(struct floor *floor)
{
        while (!list_is_empty(&floor->ready) && !list_is_empty(&floor->waiting)) {
                struct given *given = list_entry(floor->waiting.next, struct given, link);

                given->member = list_entry(floor->ready.next, struct member, link);
                list_remove(&given->link);
                list_remove(&given->member->link);
                floor->ready_count--;
                floor->pool_changed = true;
                put(floor, WRITE_ADOPT, given, given->member, on_adopted, given);
        }
}

void floor_give(struct floor *floor, struct json_value object)
{
        struct given *given = calloc(1, sizeof(*given));
        struct json_value meta = json_get(object, "metadata");

        if (!given)
                bench_fail("out of memory");
        given->floor = floor;
        copy(given->name, sizeof(given->name), json_string(json_get(meta, "name")));
        copy(given->uid, sizeof(given->uid), json_string(json_get(meta, "uid")));
        copy(given->version, UID_SIZE, json_string(json_get(meta, "resourceVersion")));
        list_append(&floor->waiting, &given->link);
        give(floor);
}

/* ---- the beginning ---- */

static void read_recording(struct floor *floor)
{
        _cleanup_buffer_ struct buffer text = {};
        struct error error = {};

        int r = file_read(AT_FDCWD, floor->options.writes, LIMIT_BODY, &text);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, &error, &floor->recording);
        if (r < 0)
                bench_fail("%s: %s", floor->options.writes,
                           error.message[0] ? error.message : strerror(-r));
        for (size_t i = 0; i < WRITE_COUNT; i++) {
                struct json_value found =
                        json_member(json_root(floor->recording), str_from(write_names[i]));

                floor->writes[i] = (struct recorded){
                        .method = json_string(json_get(found, "method")),
                        .path = json_string(json_get(found, "path")),
                        .body = json_string(json_get(found, "body")),
                };
                if (floor->writes[i].method.length == 0 || floor->writes[i].path.length == 0)
                        bench_fail("%s has no '%s'", floor->options.writes, write_names[i]);
        }
}

static void on_pool(void *user, const struct kube_response *response)
{
        struct floor *floor = user;

        copy(floor->pool_uid, UID_SIZE, json_string(json_get(answered(response), "uid")));
        read_version(response, floor->pool_version);
        floor->pool_told = true;
}

static void open_client(struct floor *floor)
{
        struct error error = {};
        int r = kube_config_find(floor->options.kubeconfig, STR_EMPTY, &error, &floor->config);

        if (r == 0) {
                const struct kube_client_options client = {
                        .loop = floor->options.bench->loop,
                        .config = &floor->config,
                        .user_agent = STR("cay-bench-floor"),
                };
                r = kube_client_new(&client, &error, &floor->client);
        }
        if (r < 0)
                bench_fail("%s", error.message);
}

struct floor *floor_new(const struct floor_options *options)
{
        struct floor *floor = calloc(1, sizeof(*floor));

        if (!floor)
                bench_fail("out of memory");
        floor->options = *options;
        list_init(&floor->ready);
        list_init(&floor->waiting);
        read_recording(floor);
        open_client(floor);
        floor->pods = bench_watch(options->bench, &kind_pod, "", on_pod, floor);
        bench_request(options->bench, "GET", &kind_sandbox_warm_pool, options->pool, "", STR_EMPTY,
                      on_pool, floor);
        while (!floor->watching || !floor->pool_told)
                uv_run(&options->bench->uv, UV_RUN_ONCE);
        tell_pool(&floor->pool_timer);
        return floor;
}

void floor_free(struct floor *floor)
{
        struct member *member, *next;

        net_timer_stop(&floor->pool_timer);
        kube_reflector_free(floor->pods);
        kube_client_free(floor->client);
        kube_config_deinit(&floor->config);
        json_doc_unref(floor->recording);
        HASH_ITER (by_name, floor->members, member, next) {
                HASH_DELETE(by_name, floor->members, member);
                free(member);
        }
        free(floor);
}
