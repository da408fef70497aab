// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/internal.h"
#include "kinds/blueprint.h"

/*
 * Gives sandboxes to claims: all unbound claims of one pool (or, for claims by template, of all
 * pools of it) are matched in one pass, each with a member of its own; who finds none gets a cold
 * Sandbox. The ownerReference that the adoption writes is the binding; nothing else is.
 */

/*
 * Of a pool's Ready members so many are looked at, in the order in which they became Ready, and as
 * many more as claims wait: with thousands of members a claim must not cost a walk over all.
 */
enum { WINDOW = 64 };

/* A member that could be given away. */
struct candidate {
        const struct cache_entry *entry;
        size_t node_members; /* how many candidates share its node */
};

struct match {
        const struct view *seen;
        struct plan *plan;
        const struct sandbox_context *context;
        struct candidate *heap; /* the best at 0 */
        size_t count;
        bool second_round;              /* the heap has those that are not Ready yet */
        const struct cache_entry *busy; /* one that may be free when a plan in flight is over */
        size_t busy_count;              /* how many there are of such */
        bool by_template;
        const struct cache_entry *pool;     /* unless by_template; NULL: absent */
        const struct cache_entry *template; /* NULL: absent */
        struct str template_name;
        char template_hash[BLUEPRINT_HASH_SIZE], template_ref_hash[NAME_HASH_SIZE];
};

/* ---- candidates ---- */

static const struct cache_entry *sandbox_pod(const struct view *seen,
                                             const struct cache_entry *sandbox)
{
        const struct cache_entry *found = NULL;

        cache_for_each_owned(it, seen->cache, &kind_pod, sandbox->meta.uid)
        {
                if (found)
                        return NULL; /* more than one: nothing to give away */
                found = it.entry;
        }
        return found;
}

static bool is_stale(const struct match *match, const struct cache_entry *pool,
                     const struct cache_entry *member)
{
        return ((const struct sandbox_warm_pool *)pool->typed)->recreate &&
               member_is_stale(member, match->template, str_from(match->template_ref_hash),
                               str_from(match->template_hash));
}

static bool is_expired(const struct match *match, const struct sandbox *sandbox)
{
        return sandbox->shutdown_ns && sandbox->shutdown_ns <= match->seen->now.realtime_ns;
}

/* Whether a member can be given away, Ready or on its way there, unless a plan writes it now. */
static bool is_free(const struct match *match, const struct cache_entry *pool,
                    const struct cache_entry *member, bool *ret_ready)
{
        if (object_meta_is_deleting(&member->meta) || !controlled_by_uid(member, pool->meta.uid) ||
            !str_equal(member->meta.namespace, pool->meta.namespace) ||
            is_stale(match, pool, member))
                return false;
        if (member->kind == &kind_sandbox) {
                const struct sandbox *sandbox = member->typed;

                *ret_ready = sandbox->ready;
                return !sandbox->suspended && !is_expired(match, sandbox) &&
                       (sandbox->ready || !condition_is_true(sandbox->conditions, STR("Finished")));
        }
        if (member->kind == &kind_pod) {
                const struct pod *pod = member->typed;

                *ret_ready = pod->ready && pod->has_ip && pod->phase == POD_RUNNING;
                return !pod_is_finished(pod);
        }
        return false;
}

/* A member that has been starting for longer than it may is no better than a new one. */
static bool is_promising(const struct match *match, const struct cache_entry *member)
{
        uint64_t age = match->seen->now.realtime_ns - member->meta.creation_ns;

        return match->seen->now.realtime_ns < member->meta.creation_ns ||
               age < match->context->options.pool_readiness_grace_ns;
}

static int add_candidates(struct match *match, const struct cache_entry *pool, size_t window)
{
        bool want_ready = !match->second_round;
        int index = want_ready ? match->context->index_ready : CACHE_INDEX_OWNER;
        size_t most = cache_index_count(match->seen->cache, index, STR_EMPTY, pool->meta.uid);
        size_t end = match->count + MIN(most, window);
        struct candidate *list;

        if (most == 0)
                return 0;
        list = arena_new(match->plan->arena, struct candidate, end);
        if (!list)
                return -ENOMEM;
        if (match->count)
                memcpy(list, match->heap, match->count * sizeof(*list));
        match->heap = list;
        cache_for_each_in(it, match->seen->cache, index, NULL, STR_EMPTY, pool->meta.uid)
        {
                bool ready;

                if (!is_free(match, pool, it.entry, &ready) ||
                    (!ready && !is_promising(match, it.entry)))
                        continue;
                if (it.entry->locked && !want_ready) {
                        match->busy = it.entry;
                        match->busy_count++;
                }
                if (it.entry->locked || ready != want_ready)
                        continue;
                list[match->count++].entry = it.entry;
                if (match->count == end)
                        break;
        }
        return 0;
}

/* The pools that this key's claims may take from. */
static int add_pools(struct match *match)
{
        size_t window =
                WINDOW + cache_index_count(match->seen->cache, match->context->index_unbound,
                                           match->seen->namespace, match->seen->name);
        int r = 0;

        if (!match->by_template)
                return match->pool ? add_candidates(match, match->pool, window) : 0;
        cache_for_each_in(it, match->seen->cache, match->context->index_template,
                          &kind_sandbox_warm_pool, match->seen->namespace, match->template_name)
        {
                if (r == 0)
                        r = add_candidates(match, it.entry, window);
        }
        return r;
}

static struct str member_node(const struct cache_entry *member)
{
        return member->kind == &kind_pod ? ((const struct pod *)member->typed)->node_name
                                         : ((const struct sandbox *)member->typed)->node_name;
}

static int compare_nodes(const void *a, const void *b)
{
        const struct candidate *x = a, *y = b;

        return str_compare(member_node(x->entry), member_node(y->entry));
}

/* The node that holds most members first, then the oldest. */
static int compare_candidates(const struct candidate *x, const struct candidate *y)
{
        int r;

        if (x->node_members != y->node_members)
                return x->node_members > y->node_members ? -1 : 1;
        if (x->entry->meta.creation_ns != y->entry->meta.creation_ns)
                return x->entry->meta.creation_ns < y->entry->meta.creation_ns ? -1 : 1;
        r = str_compare(member_node(x->entry), member_node(y->entry));
        return r ? r : str_compare(x->entry->meta.name, y->entry->meta.name);
}

static void count_nodes(struct match *match)
{
        struct candidate *list = match->heap;
        bool several = false;

        for (size_t i = 1; i < match->count && !several; i++)
                several = compare_nodes(&list[0], &list[i]) != 0;
        if (!several)
                return;
        qsort(list, match->count, sizeof(*list), compare_nodes);
        for (size_t i = 0; i < match->count;) {
                size_t end = i;

                while (end < match->count && compare_nodes(&list[end], &list[i]) == 0)
                        end++;
                for (size_t j = i; j < end; j++)
                        list[j].node_members = end - i;
                i = end;
        }
}

static void sift_down(struct match *match, size_t slot)
{
        struct candidate *heap = match->heap, moved = heap[slot];

        for (;;) {
                size_t child = 2 * slot + 1;

                if (child + 1 < match->count &&
                    compare_candidates(&heap[child + 1], &heap[child]) < 0)
                        child++;
                if (child >= match->count || compare_candidates(&heap[child], &moved) >= 0)
                        break;
                heap[slot] = heap[child];
                slot = child;
        }
        heap[slot] = moved;
}

static int gather(struct match *match)
{
        int r;

        match->count = 0;
        r = add_pools(match);
        if (r < 0)
                return r;
        count_nodes(match);
        for (size_t i = match->count / 2; i-- > 0;)
                sift_down(match, i);
        return 0;
}

/* The best that is left: first of those that are Ready, then of the others. */
static const struct cache_entry *best_candidate(struct match *match)
{
        if (match->count == 0 && !match->second_round) {
                match->second_round = true;
                if (gather(match) < 0)
                        plan_fail(match->plan, -ENOMEM);
        }
        return match->count ? match->heap[0].entry : NULL;
}

/* Whether the claim had better look again when a member that is being written is free, which is
 * soon, than start cold. Each waiting claim counts on one of its own. */
static bool may_wait_for_member(struct match *match)
{
        if (match->busy_count == 0)
                return false;
        match->busy_count--;
        plan_wait(match->plan, match->busy->kind, match->busy->meta.namespace,
                  match->busy->meta.name);
        return true;
}

static void drop_best(struct match *match)
{
        match->heap[0] = match->heap[--match->count];
        if (match->count)
                sift_down(match, 0);
}

/* ---- giving a member to a claim ---- */

static void write_null(struct json_writer *writer, struct str key)
{
        json_key(writer, key);
        json_write_null(writer);
}

static void write_field(struct json_writer *writer, struct str key, struct str value)
{
        json_key(writer, key);
        json_write_string(writer, value);
}

static void write_map(struct json_writer *writer, const char *field, struct json_value map)
{
        if (json_count(map) == 0)
                return;
        json_field_value(writer, field, map);
}

/* The binding: one patch, of the Sandbox exactly as it was seen. */
static int adopt_sandbox(struct match *match, const struct cache_entry *claim,
                         const struct cache_entry *sandbox)
{
        const struct sandbox_claim *typed = claim->typed;
        struct str by = object_meta_label(&claim->meta, LABEL_CREATED_BY);
        struct json_writer *writer = plan_patch_body(match->plan, &sandbox->meta, EXPECT_VERSION);

        json_field_object(writer, "labels");
        write_null(writer, LABEL_WARM_POOL);
        write_null(writer, LABEL_POOL);
        write_field(writer, LABEL_CLAIM_UID, claim->meta.uid);
        write_field(writer, LABEL_LAUNCH_TYPE, STR("warm"));
        write_field(writer, LABEL_CREATED_BY, by.length ? by : STR("unknown"));
        json_end_object(writer);
        json_field_object(writer, "annotations");
        write_claim_annotations(writer, claim);
        json_end_object(writer);
        write_owner(writer, &kind_sandbox_claim, &claim->meta);
        json_end_object(writer);
        if (json_count(typed->extra_labels) || json_count(typed->extra_annotations)) {
                json_field_object(writer, "spec");
                json_field_object(writer, "podTemplate");
                json_field_object(writer, "metadata");
                write_map(writer, "labels", typed->extra_labels);
                write_map(writer, "annotations", typed->extra_annotations);
                json_end_object(writer);
                json_end_object(writer);
                json_end_object(writer);
        }
        return plan_patch(match->plan, &kind_sandbox, &sandbox->meta, json_root(sandbox->doc),
                          ACTION_NONE);
}

static void give_sandbox(struct match *match, const struct cache_entry *claim,
                         const struct cache_entry *sandbox)
{
        const struct cache_entry *pod = sandbox_pod(match->seen, sandbox);
        const struct sandbox_claim *typed = claim->typed;
        struct claim_status status;
        struct pod_identity identity;
        int adopted, told;

        adopted = adopt_sandbox(match, claim, sandbox);
        /* What the Sandbox controller would do next, at the same time as the claim learns. */
        if (pod && !pod->locked && !object_meta_is_deleting(&pod->meta)) {
                pod_identity_read(sandbox, &match->context->options, &identity);
                identity.pool_hash = STR_EMPTY;
                identity.claim_uid = claim->meta.uid;
                identity.extra_labels = typed->extra_labels;
                identity.extra_annotations = typed->extra_annotations;
                identity.evictable = false;
                identity.not_evictable = true;
                pod_patch(match->plan, &identity, pod, false, adopted);
        }
        claim_status_of_sandbox(sandbox, &status);
        told = claim_status_patch(match->plan, match->seen, claim, &status, adopted);
        if (!match->context->options.without_claim_events)
                plan_event(match->plan, &kind_sandbox_claim, &claim->meta, "Normal",
                           "SandboxAdopted", match->seen->now.realtime_ns, told,
                           "Adopted Sandbox %.*s", STR_FORMAT(sandbox->meta.name));
        plan_note(match->plan, "claim %.*s gets Sandbox %.*s", STR_FORMAT(claim->meta.name),
                  STR_FORMAT(sandbox->meta.name));
}

/* The status that the Sandbox controller would write, so that one plan brings the claim to Ready.
 */
static int tell_created_sandbox(struct match *match, const struct cache_entry *pod, int created,
                                int taken, bool service, struct str name,
                                struct condition_list *list)
{
        struct sandbox_status status = {
                .name = name,
                .namespace = match->seen->namespace,
                .pod = pod,
                .service_required = service,
                .service_exists = service,
                .fqdn = arena_printf(match->plan->arena, "%.*s.%.*s.svc.%.*s", STR_FORMAT(name),
                                     STR_FORMAT(match->seen->namespace),
                                     STR_FORMAT(match->context->options.cluster_domain)),
        };
        struct json_writer *writer = plan_body(match->plan);

        conditions_init(list, (struct json_value){ 0 }, 1, match->seen->now.realtime_ns);
        sandbox_status_conditions(&status, list);
        json_begin_object(writer);
        json_field_object(writer, "metadata");
        json_key(writer, STR("resourceVersion"));
        plan_write_result(match->plan, created, ACTION_FIELD_RESOURCE_VERSION);
        json_end_object(writer);
        json_key(writer, STR("status"));
        sandbox_status_write(&status, list, writer);
        return plan_patch_created_status(match->plan, created, taken);
}

/* A bare Pod gets a Sandbox named as the claim around it. */
static void give_pod(struct match *match, const struct cache_entry *claim,
                     const struct cache_entry *pod)
{
        const struct sandbox_template *template = match->template->typed;
        const struct sandbox_claim *typed = claim->typed;
        struct sandbox_origin origin = {
                .namespace = match->seen->namespace,
                .name = claim->meta.name,
                .template = match->template,
                .claim = claim,
                .pod_name = pod->meta.name,
                .warm = true,
                .generation = GENERATION_V1ALPHA1,
        };
        struct pod_identity identity = {
                .namespace = match->seen->namespace,
                .sandbox_name = claim->meta.name,
                .labels = template->blueprint.pod_labels,
                .annotations = template->blueprint.pod_annotations,
                .extra_labels = typed->extra_labels,
                .extra_annotations = typed->extra_annotations,
                .template_ref_hash = str_from(match->template_ref_hash),
                .claim_uid = claim->meta.uid,
        };
        bool service = template->blueprint.service != TRISTATE_FALSE;
        struct condition_list list;
        const struct condition *ready;
        int created, taken, serving, told;

        created = sandbox_plan_create(match->plan, &origin, ACTION_NONE);
        identity.created_owner = created;
        taken = pod_patch(match->plan, &identity, pod, true, created);
        serving = taken;
        if (service)
                serving = service_create(match->plan, match->seen->namespace, claim->meta.name,
                                         NULL, created, template->blueprint.pod_spec, taken);
        if (match->plan->failure)
                return;
        told = tell_created_sandbox(match, pod, created, serving, service, claim->meta.name, &list);
        ready = conditions_get(&list, STR("Ready"));
        claim_status_patch(match->plan, match->seen, claim,
                           &(struct claim_status){
                                   .sandbox_name = claim->meta.name,
                                   .pod_ips = ((const struct pod *)pod->typed)->ips,
                                   .status = ready->status,
                                   .reason = ready->reason,
                                   .message = ready->message,
                           },
                           serving);
        if (!match->context->options.without_claim_events)
                plan_event(match->plan, &kind_sandbox_claim, &claim->meta, "Normal",
                           "SandboxAdopted", match->seen->now.realtime_ns, told, "Adopted Pod %.*s",
                           STR_FORMAT(pod->meta.name));
        plan_note(match->plan, "claim %.*s gets Pod %.*s", STR_FORMAT(claim->meta.name),
                  STR_FORMAT(pod->meta.name));
}

/* Whether a Sandbox can have the claim's name. If not, the claim is told, or looked at again. */
static bool name_is_free(struct match *match, const struct cache_entry *claim)
{
        const struct cache *cache = match->seen->cache;
        struct str namespace = match->seen->namespace, name = claim->meta.name;

        if (cache_lock_owner(cache, &kind_sandbox, namespace, name)) {
                plan_wait(match->plan, &kind_sandbox, namespace, name);
                return false;
        }
        if (!cache_get(cache, &kind_sandbox, namespace, name))
                return true;
        claim_refuse(match->plan, match->seen, claim, STR("AdoptionConflict"),
                     STR("A Sandbox with the claim's name exists and is not the claim's"));
        return false;
}

/* ---- a Sandbox of its own ---- */

static void start_cold(struct match *match, const struct cache_entry *claim)
{
        const struct sandbox_claim *typed = claim->typed;
        struct sandbox_origin origin = {
                .namespace = match->seen->namespace,
                .name = claim->meta.name,
                .template = match->template,
                .claim = claim,
                .generation = typed->generation == GENERATION_V1ALPHA1 ? GENERATION_V1ALPHA1
                                                                       : GENERATION_V1BETA1,
        };
        int created, told;

        if (!name_is_free(match, claim))
                return;
        created = sandbox_plan_create(match->plan, &origin, ACTION_NONE);
        told = claim_status_patch(match->plan, match->seen, claim,
                                  &(struct claim_status){
                                          .sandbox_name = claim->meta.name,
                                          .status = STR("False"),
                                          .reason = STR("SandboxNotReady"),
                                          .message = STR("The Sandbox is being created"),
                                  },
                                  created);
        if (!match->context->options.without_claim_events)
                plan_event(match->plan, &kind_sandbox_claim, &claim->meta, "Normal",
                           "SandboxProvisioned", match->seen->now.realtime_ns, told,
                           "Created Sandbox %.*s", STR_FORMAT(claim->meta.name));
        plan_note(match->plan, "claim %.*s starts cold", STR_FORMAT(claim->meta.name));
}

/* ---- one claim ---- */

/*
 * Says that something is missing, but not at once: SDKs give up at such a reason, and what is
 * missing may only be late.
 */
static void tell_missing(struct match *match, const struct cache_entry *claim, struct str reason,
                         struct str message)
{
        uint64_t grace = match->context->options.missing_grace_ns;
        uint64_t age = match->seen->now.monotonic_ns - claim->seen_ns;
        const struct sandbox_claim *typed = claim->typed;
        struct condition ready;

        if (age < grace && !(condition_find(typed->conditions, STR("Ready"), &ready) &&
                             str_equal(ready.reason, reason))) {
                plan_come_back(match->plan, match->seen->now.realtime_ns + (grace - age));
                reason = STR("SandboxCreatePending");
        }
        claim_refuse(match->plan, match->seen, claim, reason, message);
}

static void match_claim(struct match *match, const struct cache_entry *claim)
{
        const struct sandbox_claim *typed = claim->typed;
        struct str reason, message;
        const struct cache_entry *member = NULL;
        bool takes_member;

        match->plan->subject = claim;
        if (!name_is_dns_label(claim->meta.name)) {
                claim_refuse(match->plan, match->seen, claim, STR("ReconcilerError"),
                             STR("A claim's name must be a DNS label of at most 63 characters"));
                return;
        }
        message = claim_check(&match->context->options, typed,
                              match->template ? match->template->typed : NULL, match->plan->arena,
                              &reason);
        if (message.length) {
                claim_refuse(match->plan, match->seen, claim, reason, message);
                return;
        }
        if (!match->by_template && !match->pool) {
                tell_missing(match, claim, STR("WarmPoolNotFound"),
                             STR("The SandboxWarmPool does not exist"));
                return;
        }
        if (!match->template) {
                tell_missing(match, claim, STR("TemplateNotFound"),
                             STR("The SandboxTemplate does not exist"));
                return;
        }
        /* A started member has its environment and its volumes. */
        takes_member = !typed->cold_only && json_count(typed->env) == 0 &&
                       json_count(typed->volume_claim_templates) == 0;
        if (takes_member)
                member = best_candidate(match);
        if (takes_member && !member && may_wait_for_member(match))
                return;
        if (member && member->kind == &kind_pod && !name_is_free(match, claim))
                return;
        if (member)
                drop_best(match);
        if (!member)
                start_cold(match, claim);
        else if (member->kind == &kind_pod)
                give_pod(match, claim, member);
        else
                give_sandbox(match, claim, member);
}

static bool is_waiting(const struct match *match, const struct cache_entry *claim)
{
        const struct sandbox_claim *typed = claim->typed;
        uint64_t expiry = claim_expiry(typed);

        return !claim->locked && !object_meta_is_deleting(&claim->meta) &&
               (expiry == 0 || match->seen->now.realtime_ns < expiry) &&
               typed->by_template == match->by_template && !claim_sandbox(match->seen, claim);
}

/* ---- the whole ---- */

static void find_template(struct match *match)
{
        const struct sandbox_template *template;

        match->template = cache_get(match->seen->cache, &kind_sandbox_template,
                                    match->seen->namespace, match->template_name);
        if (match->template && object_meta_is_deleting(&match->template->meta))
                match->template = NULL;
        name_hash(match->template_name, match->template_ref_hash);
        if (!match->template)
                return;
        template = match->template->typed;
        blueprint_hash(&template->blueprint, match->template_hash);
}

static void match_all(const struct view *seen, struct plan *plan, bool by_template)
{
        static const struct str shadow = { "shadow-pool-", 12 };
        struct match match = {
                .seen = seen,
                .plan = plan,
                .context = seen->context,
                .by_template = by_template,
        };
        bool begun = false;

        cache_for_each_in(it, seen->cache, match.context->index_unbound, &kind_sandbox_claim,
                          seen->namespace, seen->name)
        {
                if (it.entry->locked)
                        plan_wait(plan, &kind_sandbox_claim, it.entry->meta.namespace,
                                  it.entry->meta.name);
                if (!is_waiting(&match, it.entry))
                        continue;
                /* The rest in the next pass, which this one's writes bring about. */
                if (plan->count + 8 > PLAN_ACTIONS_MAX || plan->failure)
                        return;
                if (!begun) {
                        begun = true;
                        if (by_template) {
                                match.template_name =
                                        str_slice(seen->name, shadow.length, seen->name.length);
                        } else {
                                match.pool = cache_get(seen->cache, &kind_sandbox_warm_pool,
                                                       seen->namespace, seen->name);
                                if (match.pool)
                                        match.template_name = ((const struct sandbox_warm_pool *)
                                                                       match.pool->typed)
                                                                      ->template_name;
                        }
                        find_template(&match);
                        if (match.template && gather(&match) < 0)
                                plan_fail(plan, -ENOMEM);
                }
                match_claim(&match, it.entry);
        }
}

void sandbox_match_plan(const struct view *seen, struct plan *plan)
{
        match_all(seen, plan, false);
        if (str_starts_with(seen->name, STR("shadow-pool-")))
                match_all(seen, plan, true);
}

/* ---- which changes matter ---- */

static void enqueue_waiting(struct controllers *set, const struct controller *controller,
                            struct str namespace, struct str pool)
{
        const struct sandbox_context *context = controller->context;

        if (cache_index_count(controllers_cache(set), context->index_unbound, namespace, pool))
                controllers_enqueue(set, controller, namespace, pool);
}

static void enqueue_template(struct controllers *set, const struct controller *controller,
                             struct str namespace, struct str template)
{
        const struct sandbox_context *context = controller->context;
        char shadow[320];
        int length;

        cache_for_each_in(it, controllers_cache(set), context->index_template,
                          &kind_sandbox_warm_pool, namespace, template)
                enqueue_waiting(set, controller, namespace, it.entry->meta.name);
        length = snprintf(shadow, sizeof(shadow), "shadow-pool-%.*s", STR_FORMAT(template));
        enqueue_waiting(set, controller, namespace, (struct str){ shadow, (size_t)length });
}

void sandbox_match_map(struct controllers *set, const struct controller *controller,
                       const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;

        if (entry->kind == &kind_sandbox_claim) {
                const struct sandbox_claim *claim = entry->typed;

                if (after && claim->sandbox_name.length == 0)
                        controllers_enqueue(set, controller, entry->meta.namespace,
                                            claim->pool_name);
        } else if (entry->kind == &kind_sandbox_warm_pool) {
                enqueue_waiting(set, controller, entry->meta.namespace, entry->meta.name);
        } else if (entry->kind == &kind_sandbox_template) {
                enqueue_template(set, controller, entry->meta.namespace, entry->meta.name);
        } else if (!after) {
                /* A Sandbox in the way of a claim's name has gone. */
                const struct cache_entry *claim =
                        cache_get(controllers_cache(set), &kind_sandbox_claim,
                                  entry->meta.namespace, entry->meta.name);

                if (claim)
                        enqueue_waiting(set, controller, entry->meta.namespace,
                                        ((const struct sandbox_claim *)claim->typed)->pool_name);
        }
}
