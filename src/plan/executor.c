// SPDX-License-Identifier: Apache-2.0
#include "plan/executor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "kinds/core.h"
#include "plan/set.h"
#include "json/patch.h"

/* So long a refused action waits for the cache to see why. */
#define CATCH_UP_NS UINT64_C(10000000000)

/* With back-off about a minute. */
enum { ATTEMPTS_MAX = 14 };

enum run_action_state {
        RUN_WAITING, /* for the action that it comes after */
        RUN_PENDING, /* may be sent */
        RUN_SENT,
        RUN_RESEND, /* its outcome was unknown; to be sent again as it is */
        RUN_STALE,  /* the cache must first see why it was refused */
        RUN_UNSEEN, /* done, but the cache had no memory for it: to be told again */
        RUN_DONE,
        RUN_FAILED,
};

struct run_action {
        struct submission submission; /* of this action alone */
        struct list list;             /* pending or resend */
        struct run *run;
        struct action sent; /* with fix-ups filled in */
        enum run_action_state state;
        uint64_t resend_ns; /* or when to wait no longer, or when to tell the cache again */
        unsigned attempts;
        int answer; /* the status of a success */
};

/* A plan on its way. */
struct run {
        struct submission batch; /* if the backend takes batches */
        bool is_batch;
        struct list list;
        struct controllers *set;
        struct key *key;
        struct arena arena;
        struct action *actions;
        struct run_action *states;
        struct json_doc **objects; /* what actions returned */
        size_t count, open;        /* open: not yet done or failed */
        int status;                /* the first failure */
        uint64_t retry_after_ns;
        struct ring_entry *entry;
        void *observed; /* the observer's; NULL: it does not follow this one */
};

static bool succeeded(int status)
{
        return status >= 200 && status < 300;
}

/* ---- locks ---- */

static bool takes_lock(const struct action *action)
{
        return !action->best_effort;
}

static bool same_object(const struct action *a, const struct action *b)
{
        return a->kind == b->kind && str_equal(a->name, b->name) &&
               str_equal(a->namespace, b->namespace);
}

/* The answer to a binding does not have the Pod: it is free when the watch has shown its node. */
static void unlock_bound(struct cache *cache, const struct action *action)
{
        const struct cache_entry *pod =
                cache_get(cache, &kind_pod, action->namespace, action->name);

        if (pod && ((const struct pod *)pod->typed)->node_name.length)
                cache_unlock(cache, &kind_pod, action->namespace, action->name);
        else
                cache_unlock_on_change(cache, &kind_pod, action->namespace, action->name);
}

/* An object is free when the last of the plan's actions on it is over. */
static void unlock_object(struct run *run, size_t index)
{
        const struct action *action = &run->actions[index];

        if (!takes_lock(action))
                return;
        for (size_t i = 0; i < run->count; i++) {
                if (i != index && run->states[i].state < RUN_DONE && takes_lock(&run->actions[i]) &&
                    same_object(&run->actions[i], action))
                        return;
        }
        if (action->type == ACTION_BIND && run->states[index].state == RUN_DONE)
                unlock_bound(run->set->cache, action);
        else
                cache_unlock(run->set->cache, action->kind, action->namespace, action->name);
}

/* Locks everything or nothing. Returns 0, -EBUSY with what is busy, -ENOMEM. */
static int lock_objects(struct run *run, struct plan_wait *ret_busy)
{
        struct cache *cache = run->set->cache;
        size_t i;
        int r = 0;

        for (i = 0; i < run->count; i++) {
                const struct action *action = &run->actions[i];

                if (!takes_lock(action) || run->states[i].state == RUN_DONE)
                        continue;
                r = cache_lock(cache, action->kind, action->namespace, action->name, run);
                if (r < 0) {
                        *ret_busy =
                                (struct plan_wait){ action->kind, action->namespace, action->name };
                        break;
                }
        }
        if (r >= 0)
                return 0;
        while (i-- > 0) {
                const struct action *action = &run->actions[i];

                if (takes_lock(action) &&
                    cache_lock_owner(cache, action->kind, action->namespace, action->name) == run)
                        cache_unlock(cache, action->kind, action->namespace, action->name);
        }
        return r;
}

/* ---- the observer ---- */

static void observe(struct run *run)
{
        const struct plan_observer *observer = run->set->observer;
        const struct controller *controller = run->key->controller;
        struct observed_plan plan = {
                .controller = controller,
                .namespace = key_namespace(run->key),
                .name = key_name(run->key),
                .actions = run->actions,
                .count = run->count,
                .cache = run->set->cache,
        };

        if (!observer)
                return;
        if (controller->object)
                plan.object = cache_get(plan.cache, controller->object, plan.namespace, plan.name);
        run->observed = observer->on_begin(observer->context, &plan, &run->arena);
}

static void observe_sent(const struct run *run, size_t index)
{
        if (run->observed)
                run->set->observer->on_sent(run->set->observer->context, run->observed, index);
}

static void observe_answer(const struct run *run, size_t index, const struct action_result *result)
{
        if (run->observed)
                run->set->observer->on_answer(run->set->observer->context, run->observed, index,
                                              result);
}

/* ---- the life of a run ---- */

static void free_run(struct run *run)
{
        struct arena arena = run->arena;

        for (size_t i = 0; i < run->count; i++) {
                if (run->objects[i])
                        json_doc_unref(run->objects[i]);
        }
        arena_deinit(&arena);
}

static void end_run(struct run *run)
{
        struct controllers *set = run->set;
        struct key *key = run->key;
        int status = run->status;
        uint64_t retry_after_ns = run->retry_after_ns;

        if (run->entry && run->entry->run == run) {
                run->entry->run = NULL;
                run->entry->outcome = status;
        }
        if (run->observed)
                set->observer->on_end(set->observer->context, run->observed, status);
        list_remove(&run->list);
        set->run_count--;
        free_run(run);
        set_plan_ended(set, key, status, retry_after_ns);
}

static void settle(struct run *run, size_t index, enum run_action_state state)
{
        run->states[index].state = state;
        run->open--;
        unlock_object(run, index);
}

static void make_pending(struct run *run, size_t index)
{
        run->states[index].state = RUN_PENDING;
        list_append(&run->set->pending, &run->states[index].list);
}

/* Lets go or cancels the actions that come after this one. */
static void release_dependents(struct run *run, size_t index)
{
        bool success = run->states[index].state == RUN_DONE;

        for (size_t i = index + 1; i < run->count; i++) {
                if (run->actions[i].after != (int)index || run->states[i].state != RUN_WAITING)
                        continue;
                if (success) {
                        make_pending(run, i);
                } else {
                        settle(run, i, RUN_FAILED);
                        release_dependents(run, i);
                }
        }
}

/* ---- answers ---- */

static void count_answer(struct controllers *set, const struct action *action,
                         const struct action_result *result)
{
        struct executor_counters *counters = &set->counters;

        if (succeeded(result->status) || result->status == -ECANCELED)
                return;
        if (result->status == 409 && action->type == ACTION_CREATE)
                counters->exists++;
        else if (result->status == 409)
                counters->conflicts++;
        else if (result->status == 429)
                counters->throttled++;
        else if (result->status == -ETIMEDOUT)
                counters->unknown++;
        else if (result->status != 404 || action->type != ACTION_DELETE)
                counters->failures++;
}

/* What we wrote is true from now on, before any watch says so. Returns -ENOMEM if the cache could
 * not take it. */
static int overlay(struct run *run, size_t index)
{
        const struct action *action = &run->actions[index];
        struct controllers *set = run->set;
        struct json_doc *object = run->objects[index];
        struct object_meta meta;

        if (action->type == ACTION_BIND || action->type == ACTION_FINALIZE || action->best_effort)
                return 0;
        if (action->type == ACTION_DELETE) {
                bool found = succeeded(run->states[index].answer);

                if (object && found)
                        object_meta_read(json_root(object), &meta);
                /* A grace period or finalizers keep it; else it is the last state of what went. */
                if (!object || !found || !object_meta_is_deleting(&meta) ||
                    (json_count(meta.finalizers) == 0 && meta.deletion_grace_seconds <= 0))
                        return cache_deleted(set->cache, action->kind, action->uid);
        }
        if (!object)
                return 0;
        return cache_apply(set->cache, action->kind, CACHE_MODIFIED, object, set->now.monotonic_ns);
}

static uint64_t resend_delay(struct controllers *set, unsigned attempts)
{
        uint64_t delay = set->options.backoff_first_ns << MIN(attempts, 10U);

        return delay / 2 + set_random(set) % (delay / 2 + 1);
}

/* Whether an answer tells also of earlier tries whose answer was lost. */
static bool is_certain(int status)
{
        return succeeded(status) || status == 404 || status == 409;
}

/* Returns true when the action is not settled: it will be sent again. */
static bool send_again(struct run *run, size_t index, const struct action_result *result)
{
        struct run_action *state = &run->states[index];

        /*
         * What may have happened is repeated as it is until the answer is certain. A new plan might
         * choose another name, or another member, and so do it twice; the same request cannot: it
         * names its object and what it expects of it.
         */
        if ((result->status != -ETIMEDOUT &&
             (state->attempts == 0 || is_certain(result->status))) ||
            run->is_batch || run->actions[index].best_effort || run->set->stopped ||
            state->attempts == ATTEMPTS_MAX)
                return false;
        state->attempts++;
        state->state = RUN_RESEND;
        state->resend_ns = run->set->now.monotonic_ns + resend_delay(run->set, state->attempts);
        list_append(&run->set->resend, &state->list);
        return true;
}

/* Whether the cache knows the state that made the API refuse. */
static bool sees_conflict(const struct run *run, size_t index)
{
        const struct action *action = &run->actions[index];
        const struct cache_entry *entry =
                cache_get(run->set->cache, action->kind, action->namespace, action->name);

        if (!entry && cache_is_short(run->set->cache))
                return false;
        if (action->type == ACTION_CREATE)
                return entry != NULL;
        return !entry || !str_equal(entry->meta.uid, action->uid) ||
               entry->meta.resource_version > action->version;
}

/*
 * After a conflict the objects stay locked until the cache has caught up: what was refused may be
 * an earlier request of ours that arrived late, and a plan made from what we see now would do it
 * again elsewhere. Returns true when the action waits.
 */
static bool wait_for_cache(struct run *run, size_t index, const struct action_result *result)
{
        const struct action *action = &run->actions[index];
        struct run_action *state = &run->states[index];

        if (result->status != 409 || action->best_effort || run->is_batch || run->set->stopped ||
            (action->type != ACTION_CREATE && action->version == 0) || sees_conflict(run, index))
                return false;
        state->state = RUN_STALE;
        state->resend_ns = run->set->now.monotonic_ns + CATCH_UP_NS;
        list_append(&run->set->stale, &state->list);
        return true;
}

/*
 * Tells the cache what we wrote. While it has no memory for it the objects stay locked: nobody
 * plans with what they were before. Returns true when the action waits.
 */
static bool wait_for_memory(struct run *run, size_t index)
{
        struct run_action *state = &run->states[index];

        if (overlay(run, index) != -ENOMEM || run->set->stopped)
                return false;
        if (state->state != RUN_UNSEEN)
                list_append(&run->set->stale, &state->list);
        state->state = RUN_UNSEEN;
        state->attempts++;
        state->resend_ns = run->set->now.monotonic_ns + resend_delay(run->set, state->attempts);
        return true;
}

static void answer(struct run *run, size_t index, const struct action_result *result)
{
        struct controllers *set = run->set;
        const struct action *action = &run->actions[index];
        bool success = succeeded(result->status);

        count_answer(set, action, result);
        if (action->type == ACTION_DELETE && result->status == 404)
                success = true;
        if (success) {
                if (result->object)
                        run->objects[index] = json_doc_ref(result->object);
                run->states[index].answer = result->status;
                if (wait_for_memory(run, index))
                        return;
        } else if (!action->best_effort && result->status != -ECANCELED && run->status == 0) {
                run->status = result->status ? result->status : -EIO;
                run->retry_after_ns = result->retry_after_ns;
                set_refused(run->key, result);
        }
        if (!success && wait_for_cache(run, index, result))
                return;
        settle(run, index, success ? RUN_DONE : RUN_FAILED);
        if (!run->is_batch)
                release_dependents(run, index);
}

static bool still_waits(struct run *run, size_t index)
{
        const struct run_action *state = &run->states[index];

        if (state->state == RUN_UNSEEN)
                return wait_for_memory(run, index);
        return !run->set->stopped && !sees_conflict(run, index) &&
               state->resend_ns > run->set->now.monotonic_ns;
}

/* Ends the waiting of those of which the cache knows by now. */
static void end_stale(struct controllers *set)
{
        struct run_action *state;

        list_for_each (state, &set->stale, list) {
                struct run *run = state->run;
                size_t index = (size_t)(state - run->states);

                if (still_waits(run, index))
                        continue;
                list_remove(&state->list);
                settle(run, index, state->state == RUN_UNSEEN ? RUN_DONE : RUN_FAILED);
                if (!run->is_batch)
                        release_dependents(run, index);
                if (run->open == 0)
                        end_run(run);
        }
}

void submission_done(struct submission *submission, size_t index,
                     const struct action_result *result)
{
        struct run *run = submission->run;
        struct controllers *set = run->set;

        index += submission->first;
        assert(index < run->count && run->states[index].state == RUN_SENT);
        set->writes_in_flight--;
        observe_answer(run, index, result);
        if (!send_again(run, index, result)) {
                answer(run, index, result);
                if (run->open == 0)
                        end_run(run);
        }
        if (!set->backend->takes_batches)
                executor_pump(set);
}

/* ---- sending ---- */

static void send(struct run_action *state)
{
        struct run *run = state->run;
        size_t index = (size_t)(state - run->states);
        struct controllers *set = run->set;
        const struct action *action = &run->actions[index];
        _cleanup_buffer_ struct buffer body = { 0 };
        int r = 0;

        state->sent = *action;
        if (action->fixup_count) {
                r = action_body(action, run->objects, run->count, &body);
                if (r == 0) {
                        state->sent.body = arena_str(&run->arena, buffer_str(&body));
                        if (!state->sent.body.data)
                                r = -ENOMEM;
                }
                state->sent.fixups = NULL;
                state->sent.fixup_count = 0;
        }
        /* Once stopped nothing is sent: it is as if it had failed. */
        if (set->stopped)
                r = -ECONNABORTED;
        state->state = RUN_SENT;
        state->submission = (struct submission){
                .actions = &state->sent, .count = 1, .run = run, .first = index
        };
        set->writes_in_flight++;
        if (r < 0) {
                submission_done(&state->submission, 0, &(struct action_result){ .status = r });
                return;
        }
        set->counters.writes++;
        if (action->best_effort)
                set->counters.events++;
        observe_sent(run, index);
        set->backend->submit(set->backend->context, &state->submission);
}

void executor_pump(struct controllers *set)
{
        struct run_action *state;

        if (set->pumping)
                return;
        set->pumping = true;
        end_stale(set);
        list_for_each (state, &set->resend, list) {
                if (!set->stopped && state->resend_ns > set->now.monotonic_ns)
                        continue;
                list_remove(&state->list);
                make_pending(state->run, (size_t)(state - state->run->states));
        }
        while (!list_is_empty(&set->pending) &&
               set->writes_in_flight < set->options.writes_in_flight) {
                state = list_entry(set->pending.next, struct run_action, list);
                list_remove(&state->list);
                send(state);
        }
        set->pumping = false;
}

uint64_t executor_next_due(const struct controllers *set)
{
        uint64_t due = UINT64_MAX;

        for (const struct list *list = set->resend.next; list != &set->resend; list = list->next)
                due = MIN(due, list_entry(list, const struct run_action, list)->resend_ns);
        for (const struct list *list = set->stale.next; list != &set->stale; list = list->next)
                due = MIN(due, list_entry(list, const struct run_action, list)->resend_ns);
        return due;
}

/* Whether the API would answer with the object as it is. Unsure means no. */
static bool changes_nothing(const struct action *action)
{
        _cleanup_doc_ struct json_doc *patch = NULL, *after = NULL;
        struct json_value before = action->before;

        if ((action->type != ACTION_PATCH && action->type != ACTION_PATCH_STATUS) ||
            action->fixup_count || !json_exists(before))
                return false;
        if (json_doc_parse(action->body, NULL, NULL, NULL, &patch) < 0 ||
            json_merge_patch(before.doc, json_root(patch), NULL, &after) < 0)
                return false;
        return after == before.doc || str_equal(json_doc_text(after), json_doc_text(before.doc));
}

static void drop_idle_writes(struct run *run)
{
        for (size_t i = 0; i < run->count; i++) {
                if (!changes_nothing(&run->actions[i]))
                        continue;
                run->set->counters.dropped_writes++;
                run->states[i].state = RUN_DONE;
                run->open--;
        }
}

static void begin(struct run *run)
{
        struct controllers *set = run->set;

        if (!run->is_batch) {
                for (size_t i = 0; i < run->count; i++) {
                        int after = run->actions[i].after;

                        if (run->states[i].state == RUN_WAITING &&
                            (after == ACTION_NONE || run->states[after].state == RUN_DONE))
                                make_pending(run, i);
                }
                executor_pump(set);
                return;
        }
        for (size_t i = 0; i < run->count; i++) {
                run->states[i].state = RUN_SENT;
                observe_sent(run, i);
                set->counters.events += run->actions[i].best_effort;
        }
        set->counters.writes += run->count;
        set->writes_in_flight += run->count;
        run->batch =
                (struct submission){ .actions = run->actions, .count = run->count, .run = run };
        set->backend->submit(set->backend->context, &run->batch);
}

/* In a batch, actions that were dropped are left out, with the numbers in others moved. */
static void compact(struct run *run)
{
        int moved[PLAN_ACTIONS_MAX];
        size_t count = 0;

        for (size_t i = 0; i < run->count; i++) {
                struct action *action = &run->actions[i];

                moved[i] = ACTION_NONE;
                if (run->states[i].state == RUN_DONE)
                        continue;
                if (action->after != ACTION_NONE)
                        action->after = moved[action->after];
                for (size_t j = 0; j < action->fixup_count; j++) {
                        /* Nobody refers to a write that changes nothing: it would be for
                         * nothing too. */
                        struct action_fixup *fixup = (struct action_fixup *)&action->fixups[j];

                        fixup->action = moved[fixup->action];
                }
                moved[i] = (int)count;
                run->actions[count] = *action;
                run->states[count].state = RUN_WAITING;
                run->states[count].run = run;
                count++;
        }
        run->count = run->open = count;
}

int executor_run(struct controllers *set, struct key *key, struct plan *plan, struct arena *arena)
{
        struct run *run = arena_new(arena, struct run, 1);
        struct plan_wait busy;
        int r;

        if (!run)
                return -ENOMEM;
        *run = (struct run){
                .set = set,
                .key = key,
                .is_batch = set->backend->takes_batches,
                .actions = plan->actions,
                .count = plan->count,
                .open = plan->count,
                .states = arena_new(arena, struct run_action, plan->count),
                .objects = arena_new(arena, struct json_doc *, plan->count),
        };
        if (!run->states || !run->objects)
                return -ENOMEM;
        list_init(&run->list);
        for (size_t i = 0; i < run->count; i++) {
                run->states[i].run = run;
                list_init(&run->states[i].list);
        }
        drop_idle_writes(run);
        if (run->open == 0)
                return 1;
        if (run->is_batch)
                compact(run);
        r = lock_objects(run, &busy);
        if (r < 0) {
                if (r == -EBUSY)
                        set_wait(set, key, &busy);
                return r;
        }
        run->entry = ring_add(&set->ring, set, key, plan);
        if (run->entry) {
                run->entry->run = run;
                run->entry->outcome = 1;
        }
        run->arena = *arena;
        *arena = (struct arena){ 0 };
        observe(run);
        for (size_t i = 0; i < run->count; i++) {
                run->actions[i].before = (struct json_value){ 0 };
                run->actions[i].subject = NULL;
        }
        plan->actions = NULL;
        plan->count = plan->capacity = 0;
        list_append(&set->runs, &run->list);
        set->run_count++;
        set->counters.plans++;
        key->in_flight++;
        begin(run);
        return 0;
}

void executor_free(struct controllers *set)
{
        while (!list_is_empty(&set->runs)) {
                struct run *run = list_entry(set->runs.next, struct run, list);

                list_remove(&run->list);
                free_run(run);
        }
}
