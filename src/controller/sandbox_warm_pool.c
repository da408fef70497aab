// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limit.h"
#include "controller/internal.h"
#include "kinds/blueprint.h"

/* What a pool's plan leaves to the next (monotonic times). */
enum {
        STATUS_WRITTEN, /* when */
        NEXT_MEMBER,    /* not sooner: the refill rate */
        LEFT_AT,        /* when a member left last */
        LAST_ACTIVE,    /* members then, plus one */
        LESS_SINCE,     /* since when there are fewer than wanted because some left */
};

/*
 * Claims come before new members, which cost them the processor. While they come to a pool of some
 * size, the refill waits as long as enough members are left, and not for long. From then on what is
 * missing is made bit by bit, the sooner the fewer are left: all at once it would be in the way of
 * a stream of claims that never ends.
 */
enum {
        BURST_LEFT = 32, /* Ready members that are left at least, and a quarter of what is wanted */
        REFILL_PARTS = 64, /* of what is missing, one is made at a time */
};
#define BURST_QUIET_NS (100 * NS_PER_MS)
#define BURST_MOST_NS  (2 * NS_PER_SECOND)

/* Where members that start at a time are limited, one that takes longer counts no more: it may
 * never be Ready. */
#define COMING_MOST_NS (5 * NS_PER_SECOND)

/* A pass looks at every member. So that large pools do not keep the processor busy with the changes
 * of single ones, a pool rests this long for each member: some two hundred times what it costs. */
#define REST_PER_MEMBER_NS UINT64_C(10000)

/* A member as the pool sees it: a Sandbox, or a bare Pod in pools of the first generation. */
struct member {
        void *at;                        /* in the cache */
        const struct cache_entry *entry; /* NULL: not looked at */
        uint32_t created_at;             /* seconds */
        bool ready, stale, stuck, leaving;
};

struct pool_pass {
        const struct view *seen;
        struct plan *plan;
        const struct sandbox_context *context;
        const struct cache_entry *entry;
        const struct sandbox_warm_pool *pool;
        const struct cache_entry *template; /* NULL: absent */
        enum generation generation;
        char template_ref_hash[NAME_HASH_SIZE], template_hash[BLUEPRINT_HASH_SIZE];
        uint32_t template_digest; /* of both, as members' digests have it */
        struct member *members;
        size_t count, active, leaving, ready, coming;
        size_t removals;
        bool held; /* a member waits for room on the nodes */
};

/* ---- looking at members ---- */

static bool is_unschedulable(const struct cache_entry *pod)
{
        struct condition scheduled;

        return pod &&
               condition_find(((const struct pod *)pod->typed)->conditions, STR("PodScheduled"),
                              &scheduled) &&
               str_equal(scheduled.status, STR("False")) &&
               str_equal(scheduled.reason, STR("Unschedulable"));
}

static const struct cache_entry *member_pod(const struct pool_pass *pass,
                                            const struct cache_entry *member)
{
        if (member->kind == &kind_pod)
                return member;
        cache_for_each_owned(it, pass->seen->cache, &kind_pod, member->meta.uid) return it.entry;
        return NULL;
}

/* Since when the member has not been Ready. */
static uint64_t unready_since(const struct cache_entry *member)
{
        struct json_value conditions = json_get(json_root(member->doc), "status", "conditions");
        struct condition ready;
        uint64_t since;

        if (condition_find(conditions, STR("Ready"), &ready) &&
            rfc3339_parse(ready.last_transition, &since) == 0)
                return since;
        return member->meta.creation_ns;
}

static const struct cache_entry *member_entry(const struct pool_pass *pass, struct member *member)
{
        if (!member->entry)
                member->entry = cache_look_at(pass->seen->cache, member->at);
        return member->entry;
}

/* A member that has not been Ready for too long is stuck, unless there is no room for it. */
static void look_at_start(struct pool_pass *pass, struct member *member)
{
        const struct cache_entry *entry = member_entry(pass, member);
        uint64_t deadline;

        if (!entry)
                return;
        deadline = unready_since(entry) + pass->context->options.pool_readiness_grace_ns;
        if (pass->seen->now.realtime_ns < deadline)
                plan_come_back(pass->plan, deadline);
        else if (is_unschedulable(member_pod(pass, entry)))
                pass->held = true;
        else
                member->stuck = true;
}

static bool is_member(const struct pool_pass *pass, const struct cache_entry *entry)
{
        return (entry->kind == &kind_sandbox || entry->kind == &kind_pod) &&
               controlled_by_uid(entry, pass->entry->meta.uid);
}

static bool is_stale(struct pool_pass *pass, struct member *member)
{
        const struct cache_entry *entry = member_entry(pass, member);

        return entry && member_is_stale(entry, pass->template, str_from(pass->template_ref_hash),
                                        str_from(pass->template_hash));
}

static void add_member(struct pool_pass *pass, struct cache_iterator *it)
{
        struct member_digest digest = member_digest_read(it->digest);
        struct member *member = &pass->members[pass->count];

        if (!digest.is_member) {
                const struct cache_entry *entry = cache_entry_at(it);

                /* With other owners besides: it tells as much as the digest would. */
                if (!entry || !is_member(pass, entry))
                        return;
                digest = member_digest_read(member_digest(entry));
        }
        *member = (struct member){
                .at = it->at,
                .entry = it->entry,
                .created_at = digest.created_at,
                .ready = digest.ready,
                .leaving = digest.leaving,
        };
        pass->count++;
        /* What a pool has decides what it makes, whoever wrote it last. */
        if (it->entry_kind == &kind_sandbox)
                pass->generation = GENERATION_V1BETA1;
        if (!member->ready && !member->leaving)
                look_at_start(pass, member);
        /* Who keeps stale members need not know. */
        if (pass->template && pass->pool->recreate)
                member->stale = digest.template != pass->template_digest && is_stale(pass, member);
        if (member->leaving) {
                pass->leaving++;
                return;
        }
        pass->active++;
        pass->ready += member->ready;
        pass->coming += !member->ready && (member->created_at * NS_PER_SECOND) + COMING_MOST_NS >
                                                  pass->seen->now.realtime_ns;
}

static int find_members(struct pool_pass *pass)
{
        const struct object_meta *meta = &pass->entry->meta;
        size_t most = cache_index_count(pass->seen->cache, CACHE_INDEX_OWNER, STR_EMPTY, meta->uid);
        struct cache_iterator it = cache_iterate_index(pass->seen->cache, CACHE_INDEX_OWNER, NULL,
                                                       STR_EMPTY, meta->uid);

        pass->members = arena_new(pass->plan->arena, struct member, most);
        if (!pass->members && most)
                return -ENOMEM;
        it.namespace = meta->namespace;
        while (cache_peek(&it))
                add_member(pass, &it);
        return 0;
}

/* ---- fewer ---- */

/* Those that are not Ready first, then the newest; those that leave last. */
static int compare_roughly(const struct member *x, const struct member *y)
{
        if (x->leaving != y->leaving)
                return x->leaving ? 1 : -1;
        if (x->ready != y->ready)
                return x->ready ? 1 : -1;
        if (x->created_at != y->created_at)
                return x->created_at > y->created_at ? -1 : 1;
        return 0;
}

static int compare_digests(const void *a, const void *b)
{
        return compare_roughly(a, b);
}

static int compare_for_removal(const void *a, const void *b)
{
        const struct member *x = a, *y = b;
        int r = compare_roughly(x, y);

        return r ? r : str_compare(y->entry->meta.name, x->entry->meta.name);
}

/* Brings the `count` that shall go first to the front. Only they and those as old are looked at. */
static void sort_for_removal(struct pool_pass *pass, size_t count)
{
        struct member *members = pass->members;
        size_t end = MIN(count, pass->count);

        qsort(members, pass->count, sizeof(*members), compare_digests);
        while (end > 0 && end < pass->count &&
               compare_roughly(&members[end - 1], &members[end]) == 0)
                end++;
        for (size_t i = 0; i < end; i++) {
                if (!member_entry(pass, &members[i]))
                        return;
        }
        qsort(members, end, sizeof(*members), compare_for_removal);
}

/* Only as it was seen: a claim may have taken it a moment ago. */
static void delete_member(struct pool_pass *pass, struct member *member, const char *why)
{
        const struct cache_entry *entry;

        if (member->leaving || pass->removals == pass->context->options.pool_batch)
                return;
        entry = member_entry(pass, member);
        if (!entry)
                return;
        if (entry->locked) {
                plan_wait(pass->plan, entry->kind, entry->meta.namespace, entry->meta.name);
                return;
        }
        pass->removals++;
        plan_note(pass->plan, "delete %.*s: %s", STR_FORMAT(entry->meta.name), why);
        plan_delete(pass->plan, entry->kind, &entry->meta, EXPECT_VERSION, PROPAGATION_BACKGROUND,
                    -1, ACTION_NONE);
        member->leaving = true;
        pass->active--;
        pass->leaving++;
}

static void plan_removals(struct pool_pass *pass, size_t wanted)
{
        size_t surplus;

        for (size_t i = 0; i < pass->count; i++) {
                struct member *member = &pass->members[i];

                if (member->stale)
                        delete_member(pass, member, "it was made from another template");
                else if (member->stuck)
                        delete_member(pass, member, "it has not been Ready for too long");
        }
        if (pass->active <= wanted)
                return;
        surplus = pass->active - wanted;
        /* No more than a batch of them go now. One that is being written is waited for: the next
         * one would be the wrong one. */
        surplus = MIN(surplus, (size_t)pass->context->options.pool_batch);
        sort_for_removal(pass, surplus);
        for (size_t i = 0; i < pass->count && surplus > 0; i++) {
                if (pass->members[i].leaving)
                        continue;
                surplus--;
                delete_member(pass, &pass->members[i], "there are more than wanted");
        }
}

/* ---- more ---- */

static struct str member_name(struct pool_pass *pass)
{
        struct str base = pass->entry->meta.name;
        char suffix[6];

        base.length = MIN(base.length, (size_t)LIMIT_LABEL - 6);
        plan_name_suffix(pass->plan, suffix);
        return arena_printf(pass->plan->arena, "%.*s-%s", STR_FORMAT(base), suffix);
}

static void create_pod_member(struct pool_pass *pass, struct str name)
{
        const struct sandbox_template *template = pass->template->typed;
        char hash[NAME_HASH_SIZE];
        struct pod_identity identity = {
                .namespace = pass->entry->meta.namespace,
                .owner = &pass->entry->meta,
                .owner_kind = &kind_sandbox_warm_pool,
                .labels = template->blueprint.pod_labels,
                .annotations = template->blueprint.pod_annotations,
                .template_ref_hash = str_from(pass->template_ref_hash),
                .template_hash = str_from(pass->template_hash),
                .pool_hash = name_hash(pass->entry->meta.name, hash),
        };

        pod_create_from_template(pass->plan, &identity, name, template);
}

static void create_member(struct pool_pass *pass)
{
        struct sandbox_origin origin = {
                .namespace = pass->entry->meta.namespace,
                .name = member_name(pass),
                .template = pass->template,
                .pool = pass->entry,
                .generation = GENERATION_V1BETA1,
        };

        if (!origin.name.data)
                plan_fail(pass->plan, -ENOMEM);
        else if (pass->generation == GENERATION_V1ALPHA1)
                create_pod_member(pass, origin.name);
        else
                sandbox_plan_create(pass->plan, &origin, ACTION_NONE);
}

/* How many may be made now: after failures few, so that a broken template costs little. */
static size_t batch_limit(const struct pool_pass *pass)
{
        return pass->seen->failures ? 1 : pass->context->options.pool_batch;
}

static bool claims_come(const struct pool_pass *pass)
{
        const uint64_t *memory = pass->plan->memory;

        return memory[LESS_SINCE] && pass->pool->replicas >= BURST_LEFT &&
               pass->seen->now.monotonic_ns < memory[LEFT_AT] + BURST_QUIET_NS;
}

/* When the next member may be made at the soonest; 0: now. */
static uint64_t not_before(const struct pool_pass *pass)
{
        const struct sandbox_options *options = &pass->context->options;
        uint64_t at_ns = pass->plan->memory[NEXT_MEMBER];

        if (options->pool_replenish_delay_ns && pass->plan->memory[LEFT_AT])
                at_ns = MAX(at_ns, pass->plan->memory[LEFT_AT] + options->pool_replenish_delay_ns);
        if (claims_come(pass) && pass->ready >= BURST_LEFT &&
            pass->ready > (size_t)pass->pool->replicas / 4)
                at_ns = MAX(at_ns, MIN(pass->plan->memory[LEFT_AT] + BURST_QUIET_NS,
                                       pass->plan->memory[LESS_SINCE] + BURST_MOST_NS));
        return at_ns > pass->seen->now.monotonic_ns ? at_ns : 0;
}

/* A pool that shrinks has lost a member to a claim, or to somebody who deletes. */
static void notice_departures(struct pool_pass *pass, size_t wanted)
{
        uint64_t *memory = pass->plan->memory;

        if (memory[LAST_ACTIVE] > pass->active + 1) {
                memory[LEFT_AT] = pass->seen->now.monotonic_ns;
                if (memory[LESS_SINCE] == 0)
                        memory[LESS_SINCE] = memory[LEFT_AT];
        }
        if (pass->active >= wanted)
                memory[LESS_SINCE] = 0;
        memory[LAST_ACTIVE] = pass->active + 1;
}

/* How many of the missing members are made now. While claims come, all would be made in
 * BURST_MOST_NS if none had been taken yet, and at once if none were left. */
static size_t next_part(struct pool_pass *pass, size_t missing)
{
        uint64_t *memory = pass->plan->memory;
        size_t count = 1 + missing / REFILL_PARTS;
        uint64_t all_ns = BURST_MOST_NS / (size_t)pass->pool->replicas * pass->ready;

        if (!claims_come(pass) || pass->ready == 0)
                return missing;
        memory[NEXT_MEMBER] = MIN(pass->seen->now.monotonic_ns + all_ns / missing * count,
                                  memory[LEFT_AT] + BURST_QUIET_NS);
        return count;
}

static void plan_additions(struct pool_pass *pass, size_t wanted)
{
        uint64_t now = pass->seen->now.monotonic_ns, at_ns = not_before(pass);
        double rate = pass->context->options.pool_refill_rate;
        size_t missing = wanted - pass->active - pass->leaving;
        size_t most = pass->context->options.pool_coming;
        size_t count;

        if (at_ns) {
                plan_come_back(pass->plan, pass->seen->now.realtime_ns + (at_ns - now));
                return;
        }
        if (most > 0 && pass->coming >= most) {
                plan_come_back(pass->plan, pass->seen->now.realtime_ns + COMING_MOST_NS);
                return;
        }
        count = MIN(next_part(pass, missing), batch_limit(pass));
        if (most > 0)
                count = MIN(count, most - pass->coming);
        if (rate > 0) {
                count = MIN(count, rate < 1 ? (size_t)1 : (size_t)rate);
                pass->plan->memory[NEXT_MEMBER] =
                        now + (uint64_t)((double)count * NS_PER_SECOND / rate);
        }
        plan_note(pass->plan, "make %zu of %zu missing members", count, missing);
        for (size_t i = 0; i < count && pass->plan->failure == 0; i++)
                create_member(pass);
        pass->plan->memory[LAST_ACTIVE] += count;
}

/* ---- status ---- */

static void set_ready_condition(const struct pool_pass *pass, struct condition_list *list)
{
        struct str type = STR("Ready");

        if (!pass->template)
                conditions_set(list, type, STR("False"), STR("TemplateNotFound"),
                               STR("The SandboxTemplate does not exist"));
        else if ((int64_t)pass->ready >= pass->pool->replicas)
                conditions_set(list, type, STR("True"), STR("MembersReady"),
                               STR("As many members are ready as are wanted"));
        else if (pass->held)
                conditions_set(list, type, STR("False"), STR("WarmPoolNotProgressing"),
                               STR("Members cannot be scheduled"));
        else
                conditions_set(list, type, STR("False"), STR("MembersNotReady"),
                               STR("Fewer members are ready than are wanted"));
}

static void tell_progress(struct pool_pass *pass, const struct condition_list *list)
{
        const struct condition *ready = conditions_get(list, STR("Ready"));
        struct str stopped = STR("WarmPoolNotProgressing");
        struct condition present;
        bool was_stopped = condition_find(list->present, STR("Ready"), &present) &&
                           str_equal(present.reason, stopped);
        bool is_stopped = str_equal(ready->reason, stopped);

        if (is_stopped && !was_stopped)
                plan_event(pass->plan, &kind_sandbox_warm_pool, &pass->entry->meta, "Warning",
                           "WarmPoolNotProgressing", pass->seen->now.realtime_ns, ACTION_NONE,
                           "Members cannot be scheduled; they are kept until there is room");
        else if (was_stopped && !is_stopped)
                plan_event(pass->plan, &kind_sandbox_warm_pool, &pass->entry->meta, "Normal",
                           "WarmPoolProgressing", pass->seen->now.realtime_ns, ACTION_NONE,
                           "Members are scheduled again");
}

static bool status_is_present(const struct pool_pass *pass, struct str selector)
{
        struct json_value status = pass->pool->status;

        return json_int64_or(json_get(status, "replicas"), 0) == (int64_t)pass->active &&
               json_int64_or(json_get(status, "readyReplicas"), 0) == (int64_t)pass->ready &&
               json_int64_or(json_get(status, "observedGeneration"), 0) ==
                       pass->entry->meta.generation &&
               json_string_is(json_get(status, "selector"), selector);
}

/* The counts change with every claim: they are told once an interval. A new pool is told of when
 * it is ready, or after an interval. */
static bool status_may_wait(struct pool_pass *pass)
{
        uint64_t interval = pass->context->options.pool_status_interval_ns;
        uint64_t since = pass->seen->memory[STATUS_WRITTEN];
        struct instant now = pass->seen->now;
        bool complete = pass->template && (int64_t)pass->ready >= pass->pool->replicas;

        if (since == 0) {
                if (complete)
                        return false;
                since = pass->entry->seen_ns;
        }
        if (now.monotonic_ns - since >= interval)
                return false;
        plan_come_back(pass->plan, now.realtime_ns + (since + interval - now.monotonic_ns));
        return true;
}

static void plan_pool_status(struct pool_pass *pass)
{
        struct condition_list list;
        struct json_writer *writer;
        char hash[NAME_HASH_SIZE];
        struct str selector =
                arena_printf(pass->plan->arena, "%.*s=%s", STR_FORMAT(LABEL_WARM_POOL),
                             name_hash(pass->entry->meta.name, hash).data);

        conditions_init(&list, json_get(pass->pool->status, "conditions"),
                        pass->entry->meta.generation, pass->seen->now.realtime_ns);
        set_ready_condition(pass, &list);
        if (status_is_present(pass, selector) && conditions_are_present(&list))
                return;
        if (status_may_wait(pass))
                return;
        pass->plan->memory[STATUS_WRITTEN] = pass->seen->now.monotonic_ns;
        tell_progress(pass, &list);
        writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_VERSION);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_field_int(writer, "replicas", (int64_t)pass->active);
        json_field_int(writer, "readyReplicas", (int64_t)pass->ready);
        json_field_string(writer, "selector", selector);
        json_field_int(writer, "observedGeneration", pass->entry->meta.generation);
        json_key(writer, STR("conditions"));
        conditions_put(&list, writer);
        json_end_object(writer);
        plan_patch_status(pass->plan, &kind_sandbox_warm_pool, &pass->entry->meta,
                          json_root(pass->entry->doc), ACTION_NONE);
}

/* ---- the whole ---- */

/* Decides once what the pool's members are, and writes it down: a later write in the other version
 * must not change it. */
static bool plan_generation(struct pool_pass *pass)
{
        struct json_writer *writer;

        if (pass->generation == GENERATION_UNKNOWN)
                pass->generation = pass->pool->generation == GENERATION_V1ALPHA1
                                           ? GENERATION_V1ALPHA1
                                           : GENERATION_V1BETA1;
        if (object_meta_annotation(&pass->entry->meta, ANNOTATION_GENERATION).length ||
            pass->generation == GENERATION_V1BETA1)
                return false;
        writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_UID);
        json_field_object(writer, "annotations");
        json_key(writer, ANNOTATION_GENERATION);
        json_write_string(writer, STR("v1alpha1"));
        json_end_object(writer);
        json_end_object(writer);
        plan_patch(pass->plan, &kind_sandbox_warm_pool, &pass->entry->meta,
                   json_root(pass->entry->doc), ACTION_NONE);
        return true;
}

static void find_template(struct pool_pass *pass)
{
        const struct sandbox_template *template;

        pass->template = cache_get(pass->seen->cache, &kind_sandbox_template, pass->seen->namespace,
                                   pass->pool->template_name);
        if (!pass->template || object_meta_is_deleting(&pass->template->meta)) {
                pass->template = NULL;
                return;
        }
        template = pass->template->typed;
        name_hash(pass->template->meta.name, pass->template_ref_hash);
        blueprint_hash(&template->blueprint, pass->template_hash);
        pass->template_digest = member_digest_template(str_from(pass->template_hash),
                                                       str_from(pass->template_ref_hash));
}

void sandbox_warm_pool_plan(const struct view *seen, struct plan *plan)
{
        struct pool_pass pass = {
                .seen = seen,
                .plan = plan,
                .context = seen->context,
                .entry = cache_get(seen->cache, &kind_sandbox_warm_pool, seen->namespace,
                                   seen->name),
        };
        const struct sandbox_template *template;
        size_t wanted;
        int r;

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta)) {
                memset(plan->memory, 0, sizeof(plan->memory));
                return;
        }
        pass.pool = pass.entry->typed;
        find_template(&pass);
        r = find_members(&pass);
        if (r < 0) {
                plan_fail(plan, r);
                return;
        }
        template = pass.template ? pass.template->typed : NULL;
        /* A bare Pod has nobody to make its volumes. */
        if (template && json_count(template->blueprint.volume_claim_templates))
                pass.generation = GENERATION_V1BETA1;
        if (plan_generation(&pass))
                return;
        plan->rest_ns = pass.count * REST_PER_MEMBER_NS;
        wanted = (size_t)pass.pool->replicas;
        notice_departures(&pass, wanted);
        plan_removals(&pass, wanted);
        if (pass.template && pass.active + pass.leaving < wanted)
                plan_additions(&pass, wanted);
        plan_pool_status(&pass);
}

/* ---- which changes matter ---- */

static void enqueue_pool_of(struct controllers *set, const struct controller *controller,
                            const struct cache_entry *member)
{
        struct owner_reference owner;

        if (member && controlled_by_kind(&member->meta, &kind_sandbox_warm_pool, &owner))
                controllers_enqueue(set, controller, member->meta.namespace, owner.name);
}

void sandbox_warm_pool_map(struct controllers *set, const struct controller *controller,
                           const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        const struct sandbox_context *context = controller->context;

        if (entry->kind == &kind_sandbox_warm_pool) {
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        } else if (entry->kind == &kind_sandbox_template) {
                cache_for_each_in(it, controllers_cache(set), context->index_template,
                                  &kind_sandbox_warm_pool, entry->meta.namespace, entry->meta.name)
                        controllers_enqueue(set, controller, it.entry->meta.namespace,
                                            it.entry->meta.name);
        } else {
                enqueue_pool_of(set, controller, before);
                enqueue_pool_of(set, controller, after);
        }
}
