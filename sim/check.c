// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kinds/core.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"
#include "world.h"

/* What must hold at every commit, and what must have become true when the world has settled. */

enum { FACTS_MAX = 8192 };

/* "The claim with this uid was told of that Sandbox", "that Sandbox was given to this claim". */
struct fact {
        const char *what;
        char subject[40], object[300];
};

/* The first Sandbox that a claim was given. */
struct binding {
        char claim[40], sandbox[40];
        uint64_t at_ns;
        unsigned writer;
};

struct pool_fact {
        char uid[40];
        int64_t most; /* replicas ever wanted */
        int64_t alive;
};

struct checker {
        struct world *world;
        struct fact facts[FACTS_MAX];
        size_t count;
        struct binding bindings[2048];
        size_t binding_count;
        struct pool_fact pools[512];
        size_t pool_count;
};

struct checker *checker_new(struct world *world)
{
        struct checker *checker = calloc(1, sizeof(*checker));

        if (!checker)
                abort();
        checker->world = world;
        return checker;
}

void checker_free(struct checker *checker)
{
        free(checker);
}

/* Once true, always true: the subject never gets another object. */
static void pin(struct checker *checker, const char *what, struct str subject, struct str object)
{
        struct fact *fact;

        for (size_t i = 0; i < checker->count; i++) {
                fact = &checker->facts[i];
                if (strcmp(fact->what, what) != 0 || !str_equal(str_from(fact->subject), subject))
                        continue;
                if (!str_equal(str_from(fact->object), object))
                        world_fail(checker->world, "%s: %.*s had %s and gets %.*s", what,
                                   STR_FORMAT(subject), fact->object, STR_FORMAT(object));
                return;
        }
        if (object.length == 0)
                return;
        assert(checker->count < FACTS_MAX);
        fact = &checker->facts[checker->count++];
        fact->what = what;
        snprintf(fact->subject, sizeof(fact->subject), "%.*s", STR_FORMAT(subject));
        snprintf(fact->object, sizeof(fact->object), "%.*s", STR_FORMAT(object));
}

static bool owner_is(const struct owner_reference *owner, const struct kind *kind)
{
        return str_equal(owner->kind, kind->kind) && str_equal(owner->group, kind->group);
}

static void check_claim(struct checker *checker, struct json_doc *doc)
{
        struct object_meta meta, sandbox_meta;
        struct sandbox_claim claim;
        struct owner_reference owner;
        struct json_doc *sandbox;

        object_meta_read(json_root(doc), &meta);
        sandbox_claim_read(json_root(doc), &claim);
        pin(checker, "claim to sandbox name", meta.uid, claim.sandbox_name);
        if (!claim.ready)
                return;
        sandbox = api_get(checker->world->api, &kind_sandbox, meta.namespace, claim.sandbox_name);
        if (!sandbox)
                return;
        object_meta_read(json_root(sandbox), &sandbox_meta);
        if (!object_meta_controller(&sandbox_meta, &owner) || !str_equal(owner.uid, meta.uid))
                world_fail(checker->world, "claim %.*s is Ready with Sandbox %.*s, not its own",
                           STR_FORMAT(meta.name), STR_FORMAT(claim.sandbox_name));
}

/* ---- pools ---- */

static struct pool_fact *pool_fact(struct checker *checker, struct str uid)
{
        for (size_t i = 0; i < checker->pool_count; i++) {
                if (str_equal(str_from(checker->pools[i].uid), uid))
                        return &checker->pools[i];
        }
        assert(checker->pool_count < ARRAY_SIZE(checker->pools));
        snprintf(checker->pools[checker->pool_count].uid, 40, "%.*s", STR_FORMAT(uid));
        return &checker->pools[checker->pool_count++];
}

static void count_member(struct checker *checker, struct json_doc *doc, int64_t step)
{
        struct object_meta meta;
        struct owner_reference owner;
        struct pool_fact *pool;
        int64_t most;

        if (!doc)
                return;
        object_meta_read(json_root(doc), &meta);
        if (!object_meta_controller(&meta, &owner) || !owner_is(&owner, &kind_sandbox_warm_pool) ||
            object_meta_is_deleting(&meta))
                return;
        pool = pool_fact(checker, owner.uid);
        pool->alive += step;
        /* What was given up may still come, and a leader that died may leave a batch on its way:
         * such members go again. Otherwise there is never one too many. */
        most = pool->most * (checker->world->leaders == 1 ? 1 : 1 + checker->world->leaders) +
               checker->world->late;
        if (step > 0 && pool->alive > most)
                world_fail(checker->world, "pool %.*s has %lld members of %lld after %u leaders",
                           STR_FORMAT(owner.name), (long long)pool->alive, (long long)pool->most,
                           checker->world->leaders);
}

/* ---- bindings ---- */

static bool exists(struct checker *checker, struct str uid);

/* Nobody may give a claim a second Sandbox who can know of the first. */
static void check_binding(struct checker *checker, struct str claim, struct str sandbox)
{
        struct world *world = checker->world;
        struct binding *binding;

        for (size_t i = 0; i < checker->binding_count; i++) {
                binding = &checker->bindings[i];
                if (!str_equal(str_from(binding->claim), claim) ||
                    str_equal(str_from(binding->sandbox), sandbox) ||
                    !exists(checker, str_from(binding->sandbox)))
                        continue;
                if (world->writer && (binding->at_ns < process_began(world->writer) ||
                                      (binding->writer == process_number(world->writer) &&
                                       process_is_certain(world->writer))))
                        world_fail(world, "claim %.*s is given %.*s and has %s", STR_FORMAT(claim),
                                   STR_FORMAT(sandbox), binding->sandbox);
                return;
        }
        for (size_t i = 0; i < checker->binding_count; i++) {
                if (str_equal(str_from(checker->bindings[i].claim), claim))
                        return;
        }
        assert(checker->binding_count < ARRAY_SIZE(checker->bindings));
        binding = &checker->bindings[checker->binding_count++];
        snprintf(binding->claim, sizeof(binding->claim), "%.*s", STR_FORMAT(claim));
        snprintf(binding->sandbox, sizeof(binding->sandbox), "%.*s", STR_FORMAT(sandbox));
        binding->at_ns = world->now_ns;
        binding->writer = world->writer ? process_number(world->writer) : 0;
}

/* A living claim's Sandbox is deleted by nobody but at its end. */
static void check_deletion(struct checker *checker, struct json_doc *sandbox)
{
        struct world *world = checker->world;
        struct object_meta meta, claim_meta;
        struct owner_reference owner;
        struct sandbox_claim claim;
        struct sandbox typed;
        struct condition ready;
        struct json_doc *doc;

        object_meta_read(json_root(sandbox), &meta);
        sandbox_read(json_root(sandbox), &typed);
        if (!object_meta_controller(&meta, &owner) || !owner_is(&owner, &kind_sandbox_claim))
                return;
        doc = api_get(world->api, &kind_sandbox_claim, meta.namespace, owner.name);
        if (!doc)
                return;
        object_meta_read(json_root(doc), &claim_meta);
        sandbox_claim_read(json_root(doc), &claim);
        if (!str_equal(claim_meta.uid, owner.uid) || object_meta_is_deleting(&claim_meta) ||
            (claim.sandbox_name.length && !str_equal(claim.sandbox_name, meta.name)) ||
            (condition_find(claim.conditions, STR("Ready"), &ready) &&
             str_equal(ready.reason, STR("ClaimExpired"))) ||
            (typed.shutdown_ns && typed.shutdown_ns <= world_now(world).realtime_ns))
                return;
        world_fail(world, "Sandbox %.*s is deleted under its claim %.*s", STR_FORMAT(meta.name),
                   STR_FORMAT(claim_meta.name));
}

void checker_request(struct checker *checker, const struct action *action)
{
        struct json_value version;
        struct json_doc *doc;
        _cleanup_doc_ struct json_doc *body = NULL;

        if (action->type != ACTION_DELETE || action->kind != &kind_sandbox)
                return;
        doc = api_get(checker->world->api, action->kind, action->namespace, action->name);
        if (!doc || json_doc_parse(action->body, NULL, NULL, NULL, &body) < 0)
                return;
        /* What the API will refuse does no harm. */
        version = json_get(json_root(body), "preconditions", "resourceVersion");
        if (!json_equal(json_get(json_root(body), "preconditions", "uid"),
                        json_get(json_root(doc), "metadata", "uid")) ||
            (json_exists(version) &&
             !json_equal(version, json_get(json_root(doc), "metadata", "resourceVersion"))))
                return;
        check_deletion(checker, doc);
}

/* ---- commits ---- */

static bool had_owner(struct json_doc *before, struct str uid)
{
        struct object_meta meta;
        struct owner_reference owner;

        if (!before)
                return false;
        object_meta_read(json_root(before), &meta);
        return object_meta_controller(&meta, &owner) && str_equal(owner.uid, uid);
}

static void check_owner(struct checker *checker, const struct kind *kind, struct json_doc *before,
                        struct json_doc *doc)
{
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        if (!object_meta_controller(&meta, &owner))
                return;
        if (kind == &kind_sandbox && owner_is(&owner, &kind_sandbox_claim)) {
                pin(checker, "sandbox to claim", meta.uid, owner.uid);
                if (!had_owner(before, owner.uid))
                        check_binding(checker, owner.uid, meta.uid);
        }
        if (kind == &kind_pod && owner_is(&owner, &kind_sandbox))
                pin(checker, "pod to sandbox", meta.uid, owner.uid);
}

/* A Pod that agents can be sent to must not look like a pool's. */
static void check_pod(struct checker *checker, struct json_doc *doc)
{
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        if (!object_meta_controller(&meta, &owner) || !owner_is(&owner, &kind_sandbox))
                return;
        if (object_meta_label(&meta, STR("agents.x-k8s.io/sandbox-name-hash")).length == 0)
                world_fail(checker->world, "Pod %.*s of a Sandbox has no name hash",
                           STR_FORMAT(meta.name));
}

void checker_commit(struct checker *checker, const struct kind *kind, struct json_doc *before,
                    struct json_doc *after)
{
        if (kind == &kind_sandbox_warm_pool && after) {
                struct object_meta meta;
                struct sandbox_warm_pool pool;
                struct pool_fact *fact;

                object_meta_read(json_root(after), &meta);
                sandbox_warm_pool_read(json_root(after), &pool);
                fact = pool_fact(checker, meta.uid);
                fact->most = MAX(fact->most, pool.replicas);
        }
        if (kind == &kind_sandbox || kind == &kind_pod) {
                count_member(checker, before, -1);
                count_member(checker, after, 1);
        }
        if (!after)
                return;
        check_owner(checker, kind, before, after);
        if (kind == &kind_sandbox_claim)
                check_claim(checker, after);
        if (kind == &kind_pod)
                check_pod(checker, after);
}

/* ---- the end ---- */

struct search {
        struct str uid;
        bool found;
};

static void compare_uid(void *context, struct json_doc *doc)
{
        struct search *search = context;

        search->found |= json_string_is(json_get(json_root(doc), "metadata", "uid"), search->uid);
}

static bool exists(struct checker *checker, struct str uid)
{
        struct search search = { .uid = uid };

        for (size_t i = 0; kinds_known[i] && !search.found; i++)
                api_each(checker->world->api, kinds_known[i], compare_uid, &search);
        return search.found;
}

static void end_any(void *context, struct json_doc *doc)
{
        struct checker *checker = context;
        struct json_iterator it;
        struct owner_reference owner;
        struct object_meta meta;

        object_meta_read(json_root(doc), &meta);
        if (object_meta_is_deleting(&meta))
                world_fail(checker->world, "%.*s is being deleted for ever", STR_FORMAT(meta.name));
        it = json_iterate(meta.owner_references);
        while (owner_reference_next(&it, &owner)) {
                if (!exists(checker, owner.uid))
                        world_fail(checker->world, "%.*s has outlived its owner %.*s %.*s",
                                   STR_FORMAT(meta.name), STR_FORMAT(owner.kind),
                                   STR_FORMAT(owner.name));
        }
}

struct members {
        struct str pool_uid;
        int64_t alive, ready;
};

static void count_members(void *context, struct json_doc *doc)
{
        struct members *members = context;
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        if (!object_meta_controller(&meta, &owner) || !str_equal(owner.uid, members->pool_uid))
                return;
        members->alive++;
        members->ready +=
                condition_is_true(json_get(json_root(doc), "status", "conditions"), STR("Ready"));
}

static void end_pool(void *context, struct json_doc *doc)
{
        struct checker *checker = context;
        struct api *api = checker->world->api;
        struct members members = { 0 };
        struct sandbox_warm_pool pool;
        struct object_meta meta;

        object_meta_read(json_root(doc), &meta);
        sandbox_warm_pool_read(json_root(doc), &pool);
        members.pool_uid = meta.uid;
        api_each(api, &kind_sandbox, count_members, &members);
        api_each(api, &kind_pod, count_members, &members);
        if (!api_get(api, &kind_sandbox_template, meta.namespace, pool.template_name)) {
                if (members.alive > pool.replicas)
                        world_fail(checker->world, "pool %.*s has too many members",
                                   STR_FORMAT(meta.name));
                return;
        }
        if (members.alive != pool.replicas)
                world_fail(checker->world, "pool %.*s has %lld members, wants %lld",
                           STR_FORMAT(meta.name), (long long)members.alive,
                           (long long)pool.replicas);
        if (json_int64_or(json_get(pool.status, "replicas"), 0) != members.alive ||
            json_int64_or(json_get(pool.status, "readyReplicas"), 0) != members.ready)
                world_fail(checker->world, "the status of pool %.*s is out of date",
                           STR_FORMAT(meta.name));
}

struct owned {
        struct str uid;
        unsigned count;
};

static void count_owned(void *context, struct json_doc *doc)
{
        struct owned *owned = context;
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        owned->count += object_meta_controller(&meta, &owner) && str_equal(owner.uid, owned->uid);
}

/* MultiplePods: two leaders may each have made one; none is deleted. */
static bool is_known_failure(struct str reason)
{
        static const char *const reasons[] = {
                "WarmPoolNotFound", "TemplateNotFound", "AdoptionConflict", "SandboxMissing",
                "ClaimExpired",     "SandboxExpired",   "SandboxSuspended", "PodFailed",
                "ReconcilerError",  "MultiplePods",
        };

        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
                if (str_equal(reason, str_from(reasons[i])))
                        return true;
        }
        return false;
}

static void end_claim(void *context, struct json_doc *doc)
{
        struct checker *checker = context;
        struct sandbox_claim claim;
        struct object_meta meta;
        struct condition ready;
        struct owned owned;

        object_meta_read(json_root(doc), &meta);
        sandbox_claim_read(json_root(doc), &claim);
        owned = (struct owned){ .uid = meta.uid };
        api_each(checker->world->api, &kind_sandbox, count_owned, &owned);
        if (owned.count > 1)
                world_fail(checker->world, "claim %.*s owns %u Sandboxes", STR_FORMAT(meta.name),
                           owned.count);
        if (claim.shutdown_ns && claim.shutdown_ns <= world_now(checker->world).realtime_ns &&
            (!condition_find(claim.conditions, STR("Ready"), &ready) ||
             !str_equal(ready.reason, STR("ClaimExpired"))))
                world_fail(checker->world, "claim %.*s has outlived its time",
                           STR_FORMAT(meta.name));
        if (!condition_find(claim.conditions, STR("Ready"), &ready))
                world_fail(checker->world, "claim %.*s was never answered", STR_FORMAT(meta.name));
        else if (!claim.ready && !is_known_failure(ready.reason))
                world_fail(checker->world, "claim %.*s is left at %.*s", STR_FORMAT(meta.name),
                           STR_FORMAT(ready.reason));
        else if (claim.ready && owned.count == 0)
                world_fail(checker->world, "claim %.*s is Ready with nothing",
                           STR_FORMAT(meta.name));
}

static void end_sandbox(void *context, struct json_doc *doc)
{
        struct checker *checker = context;
        struct sandbox sandbox;
        struct object_meta meta;
        struct condition ready, suspended;
        struct owned owned;

        object_meta_read(json_root(doc), &meta);
        sandbox_read(json_root(doc), &sandbox);
        owned = (struct owned){ .uid = meta.uid };
        api_each(checker->world->api, &kind_pod, count_owned, &owned);
        /* Two leaders may each make one; then it says MultiplePods, and none is deleted. */
        if (owned.count > 1 && (checker->world->leaders == 1 || checker->world->options.elects))
                world_fail(checker->world, "Sandbox %.*s has %u Pods", STR_FORMAT(meta.name),
                           owned.count);
        if (!condition_find(sandbox.conditions, STR("Ready"), &ready))
                world_fail(checker->world, "Sandbox %.*s has no Ready", STR_FORMAT(meta.name));
        else if (sandbox.ready != (owned.count == 1) && !is_known_failure(ready.reason))
                world_fail(checker->world, "Sandbox %.*s with %u Pods is %.*s",
                           STR_FORMAT(meta.name), owned.count, STR_FORMAT(ready.reason));
        else if (!condition_find(sandbox.conditions, STR("Suspended"), &suspended) &&
                 !sandbox.shutdown_ns)
                world_fail(checker->world, "Sandbox %.*s has no Suspended", STR_FORMAT(meta.name));
        if (sandbox.shutdown_ns && sandbox.shutdown_ns <= world_now(checker->world).realtime_ns &&
            (owned.count || !str_equal(ready.reason, STR("SandboxExpired"))))
                world_fail(checker->world, "Sandbox %.*s has outlived its time",
                           STR_FORMAT(meta.name));
        if (sandbox.suspended && owned.count)
                world_fail(checker->world, "Sandbox %.*s is suspended with a Pod",
                           STR_FORMAT(meta.name));
}

static void end_pod(void *context, struct json_doc *doc)
{
        struct checker *checker = context;
        struct object_meta meta;
        struct owner_reference owner;

        object_meta_read(json_root(doc), &meta);
        if (!object_meta_controller(&meta, &owner))
                world_fail(checker->world, "Pod %.*s belongs to nobody", STR_FORMAT(meta.name));
        else if (owner_is(&owner, &kind_sandbox) &&
                 json_exists(json_member(meta.labels, STR("agents.x-k8s.io/warm-pool-sandbox"))) &&
                 !json_exists(
                         json_member(json_get(json_root(api_get(checker->world->api, &kind_sandbox,
                                                                meta.namespace, owner.name)),
                                              "metadata", "labels"),
                                     STR("agents.x-k8s.io/warm-pool-sandbox"))))
                world_fail(checker->world, "Pod %.*s of a claim looks like a pool's",
                           STR_FORMAT(meta.name));
}

void checker_end(struct checker *checker)
{
        struct api *api = checker->world->api;

        for (size_t i = 0; kinds_known[i]; i++) {
                if (kinds_known[i] != &kind_event)
                        api_each(api, kinds_known[i], end_any, checker);
        }
        if (checker->world->failure[0])
                return;
        api_each(api, &kind_sandbox_warm_pool, end_pool, checker);
        api_each(api, &kind_sandbox_claim, end_claim, checker);
        api_each(api, &kind_sandbox, end_sandbox, checker);
        api_each(api, &kind_pod, end_pod, checker);
}
