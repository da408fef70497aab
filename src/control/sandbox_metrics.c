// SPDX-License-Identifier: Apache-2.0
#include "control/sandbox_metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Before uthash.h: a failed insertion leaves the element out instead of ending the process. */
#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(elem) ((elem)->lost = true)
#include <uthash.h>

#include "base/clock.h"
#include "kinds/kind.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"

#define ANNOTATION_CLIENT_REQUESTED STR("agents.x-k8s.io/client-first-requested-at")
#define ANNOTATION_WEBHOOK_OBSERVED STR("agents.x-k8s.io/webhook-first-observed-at")

/* What upstream says where a claim's Sandbox has no template; for Sandboxes it says "unknown". */
#define NO_TEMPLATE STR("__unknown__")

#define CLAIM_BUCKETS                                                                              \
        {                                                                                          \
                100, 250, 500, 750, 1000, 1250, 1500, 2000, 2500, 5000, 10000, 30000, 60000,       \
                        120000, 240000                                                             \
        }

enum family {
        SANDBOXES,
        FAMILIES_CORE,
        CLAIM_STARTUP = FAMILIES_CORE,
        CLAIM_CONTROLLER_STARTUP,
        CLAIM_CLIENT_STARTUP,
        CREATION_LATENCY,
        CLAIM_CREATIONS,
        FAMILIES,
};

static const struct metric_description descriptions[FAMILIES] = {
        [SANDBOXES] = { METRIC_GAUGE,
                        "agent_sandboxes",
                        "Sandboxes that there are.",
                        { "namespace", "ready_condition", "expired", "launch_type",
                          "sandbox_template", "owned_by", "created_by" } },
        [CLAIM_STARTUP] = { METRIC_HISTOGRAM,
                            "agent_sandbox_claim_startup_latency_ms",
                            "From the claim's annotation webhook-first-observed-at to its Ready, "
                            "in milliseconds.",
                            { "launch_type", "sandbox_template" },
                            CLAIM_BUCKETS },
        [CLAIM_CONTROLLER_STARTUP] = { METRIC_HISTOGRAM,
                                       "agent_sandbox_claim_controller_startup_latency_ms",
                                       "From the first sight of the claim to its Ready, in "
                                       "milliseconds.",
                                       { "launch_type", "sandbox_template" },
                                       CLAIM_BUCKETS },
        [CLAIM_CLIENT_STARTUP] = { METRIC_HISTOGRAM,
                                   "agent_sandbox_client_claim_startup_latency_ms",
                                   "From the claim's annotation client-first-requested-at to its "
                                   "Ready, in milliseconds, by two clocks.",
                                   { "launch_type", "sandbox_template" },
                                   CLAIM_BUCKETS },
        [CREATION_LATENCY] = { METRIC_HISTOGRAM,
                               "agent_sandbox_creation_latency_ms",
                               "From the creation of a claim's Sandbox to its Ready, in "
                               "milliseconds of whole seconds.",
                               { "namespace", "launch_type", "sandbox_template" },
                               { 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000,
                                 240000, 300000, 600000 } },
        [CLAIM_CREATIONS] = { METRIC_COUNTER,
                              "agent_sandbox_claim_creation_total",
                              "Sandboxes made or taken for a claim.",
                              { "namespace", "sandbox_template", "launch_type", "warmpool_name",
                                "pod_condition", "created_by" } },
};

/* A claim that was not Ready yet when it was last seen. */
struct waiting {
        UT_hash_handle hh;
        bool lost;
        uint64_t seen_ns; /* monotonic */
        size_t length;
        char uid[];
};

struct sandbox_metrics {
        struct sandbox_metrics_options options;
        struct controller observer; /* maps, but never asks for a plan */
        struct metric_family *families[FAMILIES];
        struct waiting *waiting;
        size_t counted; /* Sandboxes in the gauge */
};

/* ---- labels ---- */

static struct str or_else(struct str text, struct str other)
{
        return text.length > 0 ? text : other;
}

static struct str truth(bool value)
{
        return value ? STR("true") : STR("false");
}

static struct str created_by(const struct object_meta *meta)
{
        static const struct str known[] = { { "go-client", 9 },
                                            { "python-client", 13 },
                                            { "controller", 10 } };
        struct str label = object_meta_label(meta, LABEL_CREATED_BY);

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(label, known[i]))
                        return known[i];
        return STR("unknown");
}

static struct str launch_type(const struct object_meta *meta)
{
        return str_equal(object_meta_label(meta, LABEL_LAUNCH_TYPE), STR("warm")) ? STR("warm")
                                                                                  : STR("cold");
}

static struct str template_of(const struct cache_entry *sandbox)
{
        return object_meta_annotation(&sandbox->meta, ANNOTATION_TEMPLATE_REF);
}

/* The owner if it is of this kind of ours. */
static bool is_owned_by(const struct cache_entry *entry, const struct kind *kind,
                        struct owner_reference *ret_owner)
{
        struct owner_reference owner;

        if (!object_meta_controller(&entry->meta, &owner) || !str_equal(owner.group, kind->group) ||
            !str_equal(owner.kind, kind->kind))
                return false;
        *ret_owner = owner;
        return true;
}

/* ---- Sandboxes ---- */

static void count_sandbox(struct sandbox_metrics *ours, const struct cache_entry *entry, int by)
{
        const struct sandbox *sandbox = entry->typed;
        struct owner_reference owner;
        struct condition ready;
        bool expired = condition_find(sandbox->conditions, STR("Ready"), &ready) &&
                       str_equal(ready.reason, STR("SandboxExpired"));
        struct str owned = is_owned_by(entry, &kind_sandbox_claim, &owner) ? STR("SandboxClaim")
                           : is_owned_by(entry, &kind_sandbox_warm_pool, &owner)
                                   ? STR("SandboxWarmPool")
                                   : STR("None");
        const struct str values[] = {
                entry->meta.namespace,
                truth(sandbox->ready),
                truth(expired),
                launch_type(&entry->meta),
                or_else(template_of(entry), STR("unknown")),
                owned,
                created_by(&entry->meta),
        };
        struct metric *metric = metric_with(ours->families[SANDBOXES], values);

        metric_set(metric, metric_value(metric) + by);
        ours->counted += (size_t)by;
}

/* A Sandbox has become a claim's: made for it, or taken from a pool. */
static void count_creation(struct sandbox_metrics *ours, const struct cache_entry *before,
                           const struct cache_entry *after)
{
        const struct cache *cache = controllers_cache(ours->options.set);
        struct owner_reference owner, earlier;

        if (!is_owned_by(after, &kind_sandbox_claim, &owner) ||
            (before && is_owned_by(before, &kind_sandbox_claim, &earlier)))
                return;
        const struct cache_entry *claim =
                cache_get(cache, &kind_sandbox_claim, after->meta.namespace, owner.name);
        bool was_ready = before && ((const struct sandbox *)before->typed)->ready;
        const struct str values[] = {
                after->meta.namespace,
                or_else(template_of(after), NO_TEMPLATE),
                launch_type(&after->meta),
                claim ? ((const struct sandbox_claim *)claim->typed)->pool_name : STR_EMPTY,
                was_ready ? STR("ready") : STR("not_ready"),
                claim ? created_by(&claim->meta) : STR("unknown"),
        };

        metric_add(metric_with(ours->families[CLAIM_CREATIONS], values), 1);
}

/* ---- claims ---- */

static struct waiting *find_waiting(struct sandbox_metrics *ours, struct str uid)
{
        struct waiting *found;

        HASH_FIND(hh, ours->waiting, uid.data, uid.length, found);
        return found;
}

static void forget(struct sandbox_metrics *ours, struct waiting *waiting)
{
        HASH_DEL(ours->waiting, waiting);
        free(waiting);
}

/* Without memory its time is not told. */
static void remember(struct sandbox_metrics *ours, const struct cache_entry *claim)
{
        struct str uid = claim->meta.uid;

        if (find_waiting(ours, uid))
                return;
        struct waiting *made = calloc(1, sizeof(*made) + uid.length);
        if (!made)
                return;
        memcpy(made->uid, uid.data, uid.length);
        made->length = uid.length;
        made->seen_ns = clock_monotonic_ns();
        HASH_ADD_KEYPTR(hh, ours->waiting, made->uid, (unsigned)made->length, made);
        if (made->lost)
                free(made);
}

static void observe_since(struct sandbox_metrics *ours, enum family family, struct str since,
                          const struct str values[static 2])
{
        uint64_t begin, now = clock_realtime_ns();

        if (rfc3339_parse(since, &begin) == 0 && begin <= now)
                metric_observe(metric_with(ours->families[family], values),
                               (double)((now - begin) / NS_PER_MS));
}

static void observe_creation(struct sandbox_metrics *ours, const struct cache_entry *sandbox)
{
        const struct sandbox *typed = sandbox->typed;
        struct condition ready;
        const struct str values[] = { sandbox->meta.namespace, launch_type(&sandbox->meta),
                                      or_else(template_of(sandbox), NO_TEMPLATE) };
        uint64_t at;

        if (!typed->ready || !condition_find(typed->conditions, STR("Ready"), &ready) ||
            rfc3339_parse(ready.last_transition, &at) < 0 || at < sandbox->meta.creation_ns)
                return;
        metric_observe(metric_with(ours->families[CREATION_LATENCY], values),
                       (double)((at - sandbox->meta.creation_ns) / NS_PER_MS));
}

static void observe_ready(struct sandbox_metrics *ours, const struct cache_entry *claim,
                          uint64_t seen_ns)
{
        const struct cache_entry *sandbox = cache_get(
                controllers_cache(ours->options.set), &kind_sandbox, claim->meta.namespace,
                ((const struct sandbox_claim *)claim->typed)->sandbox_name);
        const struct str values[] = {
                sandbox ? launch_type(&sandbox->meta) : STR("unknown"),
                sandbox ? or_else(template_of(sandbox), NO_TEMPLATE) : NO_TEMPLATE,
        };

        metric_observe(metric_with(ours->families[CLAIM_CONTROLLER_STARTUP], values),
                       (double)((clock_monotonic_ns() - seen_ns) / NS_PER_MS));
        observe_since(ours, CLAIM_STARTUP,
                      object_meta_annotation(&claim->meta, ANNOTATION_WEBHOOK_OBSERVED), values);
        observe_since(ours, CLAIM_CLIENT_STARTUP,
                      object_meta_annotation(&claim->meta, ANNOTATION_CLIENT_REQUESTED), values);
        if (sandbox)
                observe_creation(ours, sandbox);
}

static void observe_claim(struct sandbox_metrics *ours, const struct cache_entry *before,
                          const struct cache_entry *after)
{
        struct waiting *waiting = find_waiting(ours, (after ? after : before)->meta.uid);
        bool ready = after && ((const struct sandbox_claim *)after->typed)->ready;

        if (after && !before && !ready)
                remember(ours, after);
        if (!waiting || (after && !ready))
                return;
        if (ready && ours->options.counts(ours->options.user))
                observe_ready(ours, after, waiting->seen_ns);
        forget(ours, waiting);
}

/* ---- the observer ---- */

static void map(struct controllers *set _unused_, const struct controller *controller,
                const struct cache_entry *before, const struct cache_entry *after)
{
        struct sandbox_metrics *ours = container_of(controller, struct sandbox_metrics, observer);
        const struct kind *kind = (after ? after : before)->kind;

        if (kind == &kind_sandbox_claim) {
                observe_claim(ours, before, after);
                return;
        }
        if (kind != &kind_sandbox)
                return;
        if (before)
                count_sandbox(ours, before, -1);
        if (after)
                count_sandbox(ours, after, 1);
        if (after && ours->options.extensions && ours->options.counts(ours->options.user))
                count_creation(ours, before, after);
}

static void plan(const struct view *seen _unused_, struct plan *plan _unused_)
{
}

/* After want of memory the cache tells everything anew, as if it had just come. */
static void recount(void *user)
{
        struct sandbox_metrics *ours = user;
        const struct cache *cache = controllers_cache(ours->options.set);

        if (ours->counted == cache_count(cache, &kind_sandbox))
                return;
        metric_family_reset(ours->families[SANDBOXES]);
        ours->counted = 0;
        cache_for_each(it, cache, &kind_sandbox, (struct str){}) count_sandbox(ours, it.entry, 1);
}

int sandbox_metrics_new(const struct sandbox_metrics_options *options,
                        struct sandbox_metrics **ret_metrics)
{
        static const struct kind *const core_kinds[] = { &kind_sandbox, NULL };
        static const struct kind *const all_kinds[] = { &kind_sandbox, &kind_sandbox_claim, NULL };
        struct sandbox_metrics *ours = calloc(1, sizeof(*ours));
        size_t count = options->extensions ? FAMILIES : FAMILIES_CORE;
        int r = 0;

        if (!ours)
                return -ENOMEM;
        ours->options = *options;
        ours->observer = (struct controller){
                .name = "metrics",
                .kinds = options->extensions ? all_kinds : core_kinds,
                .map = map,
                .plan = plan,
        };
        for (size_t i = 0; r == 0 && i < count; i++)
                r = metrics_add(options->metrics, &descriptions[i], &ours->families[i]);
        if (r == 0)
                r = metrics_on_render(options->metrics, recount, ours);
        if (r == 0)
                r = controllers_add(options->set, &ours->observer);
        if (r < 0) {
                free(ours);
                return r;
        }
        *ret_metrics = ours;
        return 0;
}

void sandbox_metrics_free(struct sandbox_metrics *metrics)
{
        if (!metrics)
                return;
        while (metrics->waiting)
                forget(metrics, metrics->waiting);
        free(metrics);
}
