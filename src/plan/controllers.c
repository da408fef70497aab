// SPDX-License-Identifier: Apache-2.0
#include "plan/controllers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan/set.h"

static void on_change(void *context, const struct cache_entry *before,
                      const struct cache_entry *after);
static void on_unlock(void *context, void *waiter);

int controllers_new(const struct controllers_options *options,
                    const struct executor_backend *backend, struct controllers **ret_set)
{
        struct controllers *set = calloc(1, sizeof(*set));
        int r;

        if (!set)
                return -ENOMEM;
        if (options)
                set->options = *options;
        if (set->options.backoff_first_ns == 0)
                set->options.backoff_first_ns = UINT64_C(5000000);
        if (set->options.backoff_most_ns == 0)
                set->options.backoff_most_ns = UINT64_C(30000000000);
        if (set->options.writes_in_flight == 0)
                set->options.writes_in_flight = 256;
        if (set->options.plans_per_run == 0)
                set->options.plans_per_run = 64;
        if (set->options.ring_size == 0)
                set->options.ring_size = 1024;
        set->random = set->options.seed;
        set->backend = backend;
        list_init(&set->runs);
        list_init(&set->pending);
        list_init(&set->resend);
        list_init(&set->stale);
        r = cache_new(set_random(set), &set->cache);
        if (r < 0) {
                free(set);
                return r;
        }
        if (set->options.awake)
                r = cache_set_awake(set->cache, set->options.awake);
        if (r == 0)
                r = ring_init(&set->ring, set->options.ring_size);
        if (r < 0) {
                cache_free(set->cache);
                free(set);
                return r;
        }
        queue_init(&set->queue, set_random(set));
        cache_on_change(set->cache, on_change, set);
        cache_on_unlock(set->cache, on_unlock, set);
        *ret_set = set;
        return 0;
}

void controllers_free(struct controllers *set)
{
        executor_free(set);
        ring_deinit(&set->ring);
        queue_deinit(&set->queue);
        cache_free(set->cache);
        free(set);
}

int controllers_add(struct controllers *set, const struct controller *controller)
{
        if (set->count == CONTROLLERS_MAX)
                return -ENOSPC;
        assert(controller->priority < CONTROLLER_PRIORITIES);
        list_init(&set->unsynced[set->count]);
        set->list[set->count++] = controller;
        return 0;
}

void controllers_observe(struct controllers *set, const struct plan_observer *observer)
{
        set->observer = observer;
}

struct cache *controllers_cache(struct controllers *set)
{
        return set->cache;
}

uint64_t set_random(struct controllers *set)
{
        uint64_t x = set->random += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

/* ---- what comes in ---- */

static bool watches(const struct controller *controller, const struct kind *kind)
{
        for (size_t i = 0; controller->kinds[i]; i++) {
                if (controller->kinds[i] == kind)
                        return true;
        }
        return false;
}

static void on_change(void *context, const struct cache_entry *before,
                      const struct cache_entry *after)
{
        struct controllers *set = context;
        const struct kind *kind = after ? after->kind : before->kind;

        set->changed = true;
        for (size_t i = 0; i < set->count; i++) {
                if (set->list[i]->every_kind || watches(set->list[i], kind))
                        set->list[i]->map(set, set->list[i], before, after);
        }
}

static void on_unlock(void *context, void *waiter)
{
        struct controllers *set = context;
        struct key *key = waiter;

        key->waits--;
        queue_push(&set->queue, key);
}

void set_wait(struct controllers *set, struct key *key, const struct plan_wait *wait)
{
        int r = cache_wait(set->cache, wait->kind, wait->namespace, wait->name, key);

        if (r == 0)
                key->waits++;
        else if (r != -EALREADY)
                queue_push_at(&set->queue, key,
                              set->now.monotonic_ns + set->options.backoff_first_ns);
}

int controllers_feed(struct controllers *set, const struct kind *kind, enum cache_event event,
                     struct json_doc *doc)
{
        int r = cache_apply(set->cache, kind, event, doc, set->now.monotonic_ns);
        struct object_meta meta;

        if (r == -ENOMEM)
                cache_lose(set->cache, kind);
        if (r >= 0) {
                object_meta_read(json_root(doc), &meta);
                cache_advance(set->cache, kind, meta.resource_version);
        }
        return r;
}

int controllers_add_kind(struct controllers *set, const struct kind *kind)
{
        return cache_add_kind(set->cache, kind);
}

int controllers_drop_kind(struct controllers *set, const struct kind *kind)
{
        if (!cache_is_synced(set->cache, kind) || cache_count(set->cache, kind) > 0)
                return -EBUSY;
        cache_drop_kind(set->cache, kind);
        return 0;
}

void controllers_advance(struct controllers *set, const struct kind *kind,
                         uint64_t resource_version)
{
        cache_advance(set->cache, kind, resource_version);
}

void controllers_list_begin(struct controllers *set, const struct kind *kind)
{
        cache_list_begin(set->cache, kind);
}

static bool is_synced(const struct controllers *set, const struct controller *controller)
{
        for (size_t i = 0; controller->kinds[i]; i++) {
                if (!cache_is_synced(set->cache, controller->kinds[i]))
                        return false;
        }
        return true;
}

int controllers_list_end(struct controllers *set, const struct kind *kind,
                         uint64_t resource_version)
{
        bool before = cache_is_synced(set->cache, kind);
        int r = cache_list_end(set->cache, kind, resource_version);

        if (r < 0)
                return r;
        for (size_t i = 0; !before && i < set->count; i++) {
                if (set->list[i]->listed)
                        set->list[i]->listed(set, set->list[i], kind);
        }
        for (size_t i = 0; i < set->count; i++) {
                if (set->synced[i] || !is_synced(set, set->list[i]))
                        continue;
                set->synced[i] = true;
                while (!list_is_empty(&set->unsynced[i])) {
                        struct key *key = list_entry(set->unsynced[i].next, struct key, list);

                        list_remove(&key->list);
                        key->state = KEY_IDLE;
                        queue_push(&set->queue, key);
                }
        }
        return 0;
}

void controllers_forget(struct controllers *set)
{
        cache_forget(set->cache);
        memset(set->synced, 0, sizeof(set->synced));
}

static size_t controller_index(const struct controllers *set, const struct controller *controller)
{
        size_t i = 0;

        while (set->list[i] != controller)
                i++;
        return i;
}

/* Without memory for a key, everything is looked at anew a little later. */
static void miss(struct controllers *set)
{
        if (set->missed)
                return;
        set->missed = true;
        set->resync_ns = set->now.monotonic_ns + set->options.backoff_most_ns / 30;
}

void controllers_resync(struct controllers *set)
{
        set->missed = false;
        cache_each(set->cache, on_change, set);
}

void controllers_enqueue(struct controllers *set, const struct controller *controller,
                         struct str namespace, struct str name)
{
        struct key *key = queue_key(&set->queue, controller, namespace, name);

        if (key)
                queue_push(&set->queue, key);
        else
                miss(set);
}

void controllers_enqueue_after(struct controllers *set, const struct controller *controller,
                               struct str namespace, struct str name, uint64_t delay_ns)
{
        struct key *key = queue_key(&set->queue, controller, namespace, name);

        if (key)
                queue_push_at(&set->queue, key, set->now.monotonic_ns + delay_ns);
        else
                miss(set);
}

/* ---- planning ---- */

static uint64_t backoff(struct controllers *set, unsigned failures)
{
        uint64_t delay = set->options.backoff_most_ns;

        if (failures < 32 && set->options.backoff_first_ns << (failures - 1) < delay)
                delay = set->options.backoff_first_ns << (failures - 1);
        return delay / 2 + set_random(set) % (delay / 2 + 1);
}

static void retry_later(struct controllers *set, struct key *key, uint64_t at_least_ns)
{
        uint64_t delay;

        if (key->failures < 32)
                key->failures++;
        delay = backoff(set, key->failures);
        queue_push_at(&set->queue, key, set->now.monotonic_ns + MAX(delay, at_least_ns));
}

static void forget_failures(struct key *key)
{
        key->failures = 0;
        free(key->refusal);
        key->refusal = NULL;
}

void set_refused(struct key *key, const struct action_result *result)
{
        static const int passing[] = { 404, 409, 410, 429 };

        for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
                if (result->status == passing[i])
                        return;
        }
        if (result->status < 400 || result->status > 499 || result->message.length == 0)
                return;
        free(key->refusal);
        key->refusal = str_dup(result->message);
}

void set_plan_ended(struct controllers *set, struct key *key, int status, uint64_t retry_after_ns)
{
        key->in_flight--;
        if (status == 0)
                forget_failures(key);
        else
                retry_later(set, key, retry_after_ns);
        /* What changed meanwhile was not planned for, or was left out because it was locked. A key
         * that only ever fails must not spin. */
        if (key->dirty && (key->controller->overlapping || (status == 0 && key->in_flight == 0))) {
                key->dirty = key->in_flight > 0;
                queue_push(&set->queue, key);
        }
        if (key->in_flight == 0)
                key->dirty = false;
        queue_release(&set->queue, key);
}

static void come_back(struct controllers *set, struct key *key, const struct plan *plan)
{
        uint64_t delay;

        if (plan->come_back_ns == 0)
                return;
        delay = plan->come_back_ns > set->now.realtime_ns
                        ? plan->come_back_ns - set->now.realtime_ns
                        : 0;
        queue_push_at(&set->queue, key, set->now.monotonic_ns + delay);
}

/* A map function may have been told less than there is. */
static void notice_failure(struct controllers *set)
{
        if (cache_has_failed(set->cache))
                miss(set);
}

static void plan_key(struct controllers *set, struct key *key)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_plan_ struct plan plan = { 0 };
        struct view view = {
                .cache = set->cache,
                .namespace = key_namespace(key),
                .name = key_name(key),
                .now = set->now,
                .context = key->controller->context,
                .failures = key->failures,
                .refusal = str_from(key->refusal),
        };
        int r;

        plan_init(&plan, &arena, set_random(set));
        memcpy(view.memory, key->memory, sizeof(view.memory));
        memcpy(plan.memory, key->memory, sizeof(plan.memory));
        notice_failure(set);
        key->controller->plan(&view, &plan);
        r = cache_has_failed(set->cache) ? -ENOMEM : plan.failure;
        if (r == 0) {
                come_back(set, key, &plan);
                key->rest_until_ns = plan.rest_ns ? set->now.monotonic_ns + plan.rest_ns : 0;
                if (key->controller->remembers)
                        memcpy(key->memory, plan.memory, sizeof(key->memory));
                for (size_t i = 0; i < plan.wait_count; i++)
                        set_wait(set, key, &plan.waits[i]);
                r = plan.count ? executor_run(set, key, &plan, &arena) : 1;
        }
        if (r == -EBUSY)
                return;
        if (r < 0) {
                retry_later(set, key, 0);
                return;
        }
        if (r == 1) {
                set->counters.empty_plans++;
                forget_failures(key);
                if (plan.notes.length)
                        (void)ring_add(&set->ring, set, key, &plan);
                queue_release(&set->queue, key);
        }
}

uint64_t controllers_run(struct controllers *set, struct instant now)
{
        unsigned left = set->options.plans_per_run;
        struct key *key;

        set->now = now;
        set->changed = false;
        if (set->missed && set->resync_ns <= now.monotonic_ns)
                controllers_resync(set);
        queue_tick(&set->queue, now.monotonic_ns);
        executor_pump(set);
        while (!set->stopped && left > 0 && set->writes_in_flight < set->options.writes_in_flight &&
               (key = queue_pop(&set->queue))) {
                size_t index = controller_index(set, key->controller);

                if (!set->synced[index]) {
                        queue_wait(&set->queue, key, &set->unsynced[index]);
                        continue;
                }
                /* It was to come back later, but there was no memory to note when. */
                if (key->in_flight && !key->controller->overlapping) {
                        key->dirty = true;
                        continue;
                }
                if (key->rest_until_ns > now.monotonic_ns) {
                        queue_push_at(&set->queue, key, key->rest_until_ns);
                        continue;
                }
                plan_key(set, key);
                cache_rest(set->cache);
                left--;
        }
        notice_failure(set);
        if (set->stopped)
                return executor_next_due(set);
        if (queue_has_ready(&set->queue) && set->writes_in_flight < set->options.writes_in_flight)
                return now.monotonic_ns;
        return MIN(MIN(queue_next_due(&set->queue), executor_next_due(set)),
                   set->missed ? set->resync_ns : UINT64_MAX);
}

void controllers_tell_time(struct controllers *set, struct instant now)
{
        set->now = now;
}

struct queue_figures controllers_queue(const struct controllers *set)
{
        return (struct queue_figures){ .keys = set->queue.keys.count,
                                       .ready = set->queue.ready_count,
                                       .delayed = set->queue.heap_count,
                                       .added = set->queue.added };
}

bool controllers_is_due(const struct controllers *set, struct instant now)
{
        if (set->stopped)
                return false;
        return (queue_has_ready(&set->queue) &&
                set->writes_in_flight < set->options.writes_in_flight) ||
               queue_next_due(&set->queue) <= now.monotonic_ns ||
               (set->missed && set->resync_ns <= now.monotonic_ns) ||
               executor_next_due(set) <= now.monotonic_ns ||
               (set->changed && !list_is_empty(&set->stale));
}

void controllers_stop(struct controllers *set)
{
        set->stopped = true;
        executor_pump(set);
}

size_t controllers_in_flight(const struct controllers *set)
{
        return set->writes_in_flight;
}

const struct executor_counters *controllers_counters(const struct controllers *set)
{
        return &set->counters;
}

int controllers_why(const struct controllers *set, struct str namespace, struct str name,
                    struct buffer *out)
{
        return ring_write(&set->ring, namespace, name, out);
}
