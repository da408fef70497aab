// SPDX-License-Identifier: Apache-2.0
#include "serve/leader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "client/resource.h"
#include "net/loop.h"
#include "json/edit.h"
#include "json/writer.h"

static const struct kind kind_lease = { .group = STR("coordination.k8s.io"),
                                        .version = STR("v1"),
                                        .kind = STR("Lease"),
                                        .plural = STR("leases"),
                                        .namespaced = true };

enum { DURATION_MS = 15000, DEADLINE_MS = 10000, RETRY_MS = 2000 };

enum leader_state { SEEKING, LEADING, RELEASING, ENDED };

struct leader {
        struct leader_options options;
        struct buffer collection, object; /* paths */
        char *name_space, *name, *identity;
        enum leader_state state;
        struct kube_call *call;
        struct net_timer retry, deadline;
        struct net_task done_task;
        void (*done)(void *user);
        void *done_user;

        struct json_doc *lease; /* as last seen or written; NULL: none */
        uint64_t seen_ns;       /* monotonic: when it was last seen to have changed */
        uint64_t asked_ns;      /* monotonic: when the write on its way was begun */
        uint64_t renewed_ns;    /* monotonic: begin of the last write that succeeded */
        uint64_t read_ns;       /* monotonic: when the lease could be read or written; 0: never */
        bool is_refused;        /* the last write of it */
        char trouble[128];      /* why not, the last time; empty: it could */
        bool complained;        /* of it */
        bool refetch;           /* our copy is not the newest */
};

static void step(struct leader *leader);

static struct json_value spec(const struct leader *leader)
{
        return leader->lease ? json_get(json_root(leader->lease), "spec") : (struct json_value){};
}

struct str leader_holder(const struct leader *leader)
{
        return json_string(json_get(spec(leader), "holderIdentity"));
}

static uint64_t deadline_ns(const struct leader *leader)
{
        return leader->renewed_ns + leader->options.deadline_ms * NS_PER_MS;
}

bool leader_is_leading(const struct leader *leader)
{
        return leader->state == LEADING && clock_monotonic_ns() < deadline_ns(leader);
}

bool leader_is_well(const struct leader *leader, char why[static 128])
{
        if (leader_is_leading(leader) && !leader->trouble[0])
                return true;
        if (leader->state == SEEKING && leader->read_ns > 0 && !leader->is_refused &&
            clock_monotonic_ns() - leader->read_ns < leader->options.deadline_ms * NS_PER_MS)
                return true;
        snprintf(why, 128, "%s",
                 leader->trouble[0]       ? leader->trouble
                 : leader->state == ENDED ? "leadership was given up"
                 : leader->read_ns == 0   ? "the lease is not read yet"
                                          : "the lease is out of reach");
        return false;
}

static struct net_loop *loop_of(const struct leader *leader)
{
        return kube_client_loop(leader->options.client);
}

/* ---- losing and gaining ---- */

static void lose(struct leader *leader, const char *why)
{
        leader->state = ENDED;
        net_timer_stop(&leader->retry);
        net_timer_stop(&leader->deadline);
        if (leader->call) {
                kube_call_cancel(leader->call);
                leader->call = NULL;
        }
        leader->options.on_lost(leader->options.user, str_from(why));
}

static void on_deadline(struct net_timer *timer)
{
        lose(container_of(timer, struct leader, deadline),
             "the lease could not be renewed in time");
}

static void on_retry(struct net_timer *timer)
{
        step(container_of(timer, struct leader, retry));
}

/* client-go spreads candidates by up to 1.2 times; a leader renews on time. */
static void retry_later(struct leader *leader)
{
        uint64_t delay_ms = leader->options.retry_ms;
        uint32_t random;

        if (leader->state == SEEKING) {
                delay_ms = leader->options.seek_ms;
                random_bytes(&random, sizeof(random));
                delay_ms += random % (delay_ms / 5 + 1);
        }
        net_timer_start(loop_of(leader), &leader->retry, delay_ms, on_retry);
}

static void hold(struct leader *leader)
{
        uint64_t now = clock_monotonic_ns();
        bool first = leader->state == SEEKING;

        leader->renewed_ns = leader->asked_ns;
        if (now >= deadline_ns(leader)) {
                if (!first)
                        lose(leader, "the lease was renewed too late");
                else
                        retry_later(leader);
                return;
        }
        leader->state = LEADING;
        net_timer_start(loop_of(leader), &leader->deadline, (deadline_ns(leader) - now) / NS_PER_MS,
                        on_deadline);
        retry_later(leader);
        if (first)
                leader->options.on_lead(leader->options.user);
}

/* ---- answers ---- */

static void complain(struct leader *leader, struct str trouble)
{
        const struct leader_options *options = &leader->options;
        bool leads = leader->state == LEADING;

        if (!leads && options->may_say && !options->may_say(options->user, trouble))
                return;
        leader->complained = true;
        log_warning("cannot %s the lease %s/%s: %.*s", leads ? "renew" : "take", leader->name_space,
                    leader->name, STR_FORMAT(trouble));
}

/* Remembers whether the lease is in reach, and says it when that changes. */
static void note(struct leader *leader, const struct kube_response *response, bool is_write)
{
        bool had_trouble = leader->trouble[0] != '\0';

        /* To read it is not enough where it cannot be written. */
        if (kube_response_ok(response) || response->status == 409) {
                if (is_write)
                        leader->is_refused = false;
                if (leader->is_refused)
                        return;
                leader->read_ns = clock_monotonic_ns();
                leader->trouble[0] = '\0';
                if (leader->complained)
                        log_info("the lease %s/%s is in reach again", leader->name_space,
                                 leader->name);
                leader->complained = false;
                return;
        }
        /* It is there when it has been made. */
        if (response->error == 0 && response->status == 404 && !is_write)
                return;
        leader->is_refused = leader->is_refused || is_write;
        snprintf(leader->trouble, sizeof(leader->trouble), "%.*s", STR_FORMAT(response->message));
        if (!had_trouble)
                complain(leader, response->message);
}

static void see(struct leader *leader, struct json_doc *doc)
{
        bool changed =
                !leader->lease || !json_equal(spec(leader), json_get(json_root(doc), "spec"));

        if (leader->lease)
                json_doc_unref(leader->lease);
        leader->lease = json_doc_ref(doc);
        if (changed)
                leader->seen_ns = clock_monotonic_ns();
}

/* Whether somebody else holds the lease and may yet renew it. */
static bool is_taken(const struct leader *leader)
{
        struct str holder = leader_holder(leader);
        int64_t seconds = json_int64_or(json_get(spec(leader), "leaseDurationSeconds"), 0);

        if (holder.length == 0 || str_equal(holder, leader->options.identity))
                return false;
        seconds = MAX(MIN(seconds, INT64_C(3600)), INT64_C(0));
        return clock_monotonic_ns() < leader->seen_ns + (uint64_t)seconds * NS_PER_SECOND;
}

static void give_up(struct leader *leader);

/* What was on its way when the lease was to be given up says which version that is of. */
static bool give_up_after(struct leader *leader, const struct kube_response *response)
{
        if (leader->state != RELEASING)
                return false;
        if (kube_response_ok(response) && response->doc)
                see(leader, response->doc);
        give_up(leader);
        return true;
}

static void on_written(void *user, const struct kube_response *response)
{
        struct leader *leader = user;

        leader->call = NULL;
        if (give_up_after(leader, response))
                return;
        note(leader, response, true);
        if (kube_response_ok(response) && response->doc) {
                see(leader, response->doc);
                hold(leader);
                return;
        }
        leader->refetch = true;
        if (response->status == 409 && leader->state == LEADING)
                step(leader);
        else
                retry_later(leader);
}

static void write_lease(struct leader *leader);

static void on_read(void *user, const struct kube_response *response)
{
        struct leader *leader = user;

        leader->call = NULL;
        if (give_up_after(leader, response))
                return;
        note(leader, response, false);
        if (response->error == 0 && response->status == 404) {
                if (leader->state == LEADING) {
                        lose(leader, "the lease was deleted");
                        return;
                }
                if (leader->lease)
                        json_doc_unref(leader->lease);
                leader->lease = NULL;
                write_lease(leader);
                return;
        }
        if (!kube_response_ok(response) || !response->doc) {
                retry_later(leader);
                return;
        }
        leader->refetch = false;
        see(leader, response->doc);
        if (leader->state == LEADING &&
            !str_equal(leader_holder(leader), leader->options.identity)) {
                lose(leader, "another one holds the lease");
        } else if (is_taken(leader)) {
                leader->is_refused = false;
                note(leader, response, false);
                retry_later(leader);
        } else {
                write_lease(leader);
        }
}

/* ---- requests ---- */

static int begin(struct leader *leader, struct kube_request *request, kube_response_fn callback)
{
        request->timeout_ms = leader->options.deadline_ms / 2;
        request->attempts = 1;
        leader->asked_ns = clock_monotonic_ns();
        return kube_client_request(leader->options.client, request, callback, leader,
                                   &leader->call);
}

static void write_new(struct leader *leader, const char *now, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("coordination.k8s.io/v1"));
        json_field_string(&writer, "kind", STR("Lease"));
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "name", leader->options.name);
        json_field_string(&writer, "namespace", leader->options.name_space);
        json_end_object(&writer);
        json_field_object(&writer, "spec");
        json_field_string(&writer, "holderIdentity", leader->options.identity);
        json_field_int(&writer, "leaseDurationSeconds",
                       (int64_t)(leader->options.duration_ms / 1000));
        json_field_string(&writer, "acquireTime", str_from(now));
        json_field_string(&writer, "renewTime", str_from(now));
        json_field_int(&writer, "leaseTransitions", 0);
        json_end_object(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                buffer_clear(out);
}

/* The lease as it is to be after our write: renewed, taken over, or given up. */
static int edit_lease(struct leader *leader, const char *now, struct json_doc **ret_doc)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        bool ours = str_equal(leader_holder(leader), leader->options.identity);
        bool give_up = leader->state == RELEASING;

        json_edit_init(&edit, leader->lease, &arena);
        json_edit_set_string(&edit, "/spec/holderIdentity",
                             give_up ? STR("") : leader->options.identity);
        json_edit_set_int(&edit, "/spec/leaseDurationSeconds",
                          give_up ? 1 : (int64_t)(leader->options.duration_ms / 1000));
        json_edit_set_string(&edit, "/spec/renewTime", str_from(now));
        if (!ours || give_up)
                json_edit_set_string(&edit, "/spec/acquireTime", str_from(now));
        if (!ours)
                json_edit_set_int(&edit, "/spec/leaseTransitions",
                                  json_int64_or(json_get(spec(leader), "leaseTransitions"), 0) + 1);
        return json_edit_apply(&edit, ret_doc);
}

static int write_with(struct leader *leader, kube_response_fn callback)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        _cleanup_buffer_ struct buffer made = {};
        char now[RFC3339_MICRO_SIZE];
        struct kube_request request;

        rfc3339_format_micro(clock_realtime_ns(), now);
        if (!leader->lease) {
                write_new(leader, now, &made);
                request = (struct kube_request){ .method = STR("POST"),
                                                 .path = buffer_str(&leader->collection),
                                                 .body = buffer_str(&made) };
        } else {
                int r = edit_lease(leader, now, &doc);
                if (r < 0)
                        return r;
                request = (struct kube_request){ .method = STR("PUT"),
                                                 .path = buffer_str(&leader->object),
                                                 .body = json_doc_text(doc) };
        }
        return request.body.length > 0 ? begin(leader, &request, callback) : -ENOMEM;
}

static void write_lease(struct leader *leader)
{
        if (write_with(leader, on_written) < 0)
                retry_later(leader);
}

static void step(struct leader *leader)
{
        struct kube_request request = { .method = STR("GET"), .path = buffer_str(&leader->object) };

        /* The process was paused, and this timer came before that of the deadline. */
        if (leader->state == LEADING && !leader_is_leading(leader)) {
                lose(leader, "the lease could not be renewed in time");
                return;
        }
        if (leader->state == LEADING && !leader->refetch)
                write_lease(leader);
        else if (begin(leader, &request, on_read) < 0)
                retry_later(leader);
}

/* ---- making and ending ---- */

static int prepare(struct leader *leader, const struct leader_options *options)
{
        if (options->name.length == 0 || options->name_space.length == 0 ||
            options->identity.length == 0)
                return -EINVAL;
        leader->options = *options;
        if (leader->options.duration_ms == 0)
                leader->options.duration_ms = DURATION_MS;
        if (leader->options.deadline_ms == 0)
                leader->options.deadline_ms = DEADLINE_MS;
        if (leader->options.retry_ms == 0)
                leader->options.retry_ms = RETRY_MS;
        if (leader->options.seek_ms == 0)
                leader->options.seek_ms = MAX(leader->options.retry_ms / 4, UINT64_C(1));
        if (leader->options.deadline_ms >= leader->options.duration_ms ||
            leader->options.retry_ms >= leader->options.deadline_ms ||
            leader->options.duration_ms < 1000)
                return -EINVAL;
        leader->name_space = str_dup(options->name_space);
        leader->name = str_dup(options->name);
        leader->identity = str_dup(options->identity);
        if (!leader->name_space || !leader->name || !leader->identity)
                return -ENOMEM;
        leader->options.name_space.data = leader->name_space;
        leader->options.name.data = leader->name;
        leader->options.identity.data = leader->identity;
        int r = kube_path_append(&leader->collection, &kind_lease, options->name_space, STR_EMPTY,
                                 STR_EMPTY);
        if (r == 0)
                r = kube_path_append(&leader->object, &kind_lease, options->name_space,
                                     options->name, STR_EMPTY);
        return r;
}

int leader_new(const struct leader_options *options, struct leader **ret_leader)
{
        struct leader *leader = calloc(1, sizeof(*leader));

        if (!leader)
                return -ENOMEM;
        int r = prepare(leader, options);
        if (r < 0) {
                leader_free(leader);
                return r;
        }
        net_timer_start(loop_of(leader), &leader->retry, 0, on_retry);
        *ret_leader = leader;
        return 0;
}

void leader_free(struct leader *leader)
{
        if (!leader)
                return;
        net_timer_stop(&leader->retry);
        net_timer_stop(&leader->deadline);
        net_task_cancel(&leader->done_task);
        if (leader->call)
                kube_call_cancel(leader->call);
        if (leader->lease)
                json_doc_unref(leader->lease);
        buffer_deinit(&leader->collection);
        buffer_deinit(&leader->object);
        free(leader->name_space);
        free(leader->name);
        free(leader->identity);
        free(leader);
}

static void on_done(struct net_task *task)
{
        struct leader *leader = container_of(task, struct leader, done_task);

        leader->done(leader->done_user);
}

static void on_released(void *user, const struct kube_response *response _unused_)
{
        struct leader *leader = user;

        leader->call = NULL;
        leader->state = ENDED;
        leader->done(leader->done_user);
}

static void give_up(struct leader *leader)
{
        bool ours = str_equal(leader_holder(leader), leader->options.identity);

        if (ours && write_with(leader, on_released) == 0)
                return;
        leader->state = ENDED;
        leader->done_task.run = on_done;
        net_loop_defer(loop_of(leader), &leader->done_task);
}

void leader_release(struct leader *leader, void (*done)(void *user), void *user)
{
        bool leading = leader_is_leading(leader);

        leader->done = done;
        leader->done_user = user;
        net_timer_stop(&leader->retry);
        net_timer_stop(&leader->deadline);
        leader->state = leading ? RELEASING : ENDED;
        if (leading && leader->call)
                return; /* a renewal, which may be done already */
        if (leader->call) {
                kube_call_cancel(leader->call);
                leader->call = NULL;
        }
        if (leading) {
                give_up(leader);
                return;
        }
        leader->done_task.run = on_done;
        net_loop_defer(loop_of(leader), &leader->done_task);
}
