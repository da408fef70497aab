// SPDX-License-Identifier: Apache-2.0
#include "control/drain.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "client/config.h"
#include "control/cluster.h"
#include "control/host.h"
#include "control/way.h"
#include "controller/hand_over.h"
#include "kinds/sandbox.h"
#include "net/loop.h"
#include "plan/observer.h"
#include "serve/leader.h"

enum {
        TICK_MS = 50,
        LEASE_S = 15,                  /* how long others wait for ours */
        LEASE_PATIENCE_MS = 20 * 1000, /* longer than a Lease lasts that nobody renews */
        LISTING_PATIENCE_MS = 15 * 1000,
};

struct drain {
        const struct cluster_drain_config *config;
        struct error *error;
        int result;
        bool synced, ending;
        uv_loop_t uv;
        struct net_loop *loop;
        struct net_timer tick;
        struct kube_config kubeconfig;
        struct kube_client *client;
        struct controller_host *host;
        struct hand_over *hand_over;
        struct leader *leader;
        struct plan_observer observer;
        uint64_t begun_ns, listed_ns;
        unsigned handed_over, deleted, marked;
        char refusal[256]; /* the API's last one; empty: none */
};

static void end(struct drain *drain, int result)
{
        drain->result = result;
        uv_stop(&drain->uv);
}

static void on_released(void *user)
{
        struct drain *drain = user;

        end(drain, drain->result);
}

/* The Lease is given up first, so that whoever comes next need not wait. */
static void leave(struct drain *drain, int result)
{
        drain->ending = true;
        drain->result = result;
        net_timer_stop(&drain->tick);
        if (drain->leader)
                leader_release(drain->leader, on_released, drain);
        else
                end(drain, result);
}

/* ---- saying what is done ---- */

static void tell(struct drain *drain, const struct action *action)
{
        const char *kind, *what;

        switch (action->type) {
        case ACTION_CREATE:
                kind = "sandbox", what = "made around the Pod of its name";
                break;
        case ACTION_DELETE:
                kind = "pod", what = "deleted";
                drain->deleted++;
                break;
        case ACTION_PATCH:
                if (action->kind == &kind_sandbox_warm_pool) {
                        kind = "sandboxwarmpool", what = "has Sandboxes for members from now on";
                        drain->marked++;
                } else {
                        kind = "pod", what = "handed over";
                        drain->handed_over++;
                }
                break;
        default:
                return;
        }
        printf("%s %.*s/%.*s %s%s\n", kind, STR_FORMAT(action->namespace), STR_FORMAT(action->name),
               what, drain->config->dry_run ? " (dry run)" : "");
}

static void *on_plan(void *context _unused_, const struct observed_plan *plan, struct arena *arena)
{
        struct observed_plan *copy = arena_new(arena, struct observed_plan, 1);

        if (copy)
                *copy = *plan;
        return copy;
}

static void on_sent(void *context _unused_, void *observed _unused_, size_t action _unused_)
{
}

static void on_answer(void *context, void *observed, size_t action,
                      const struct action_result *result)
{
        const struct observed_plan *plan = observed;
        struct drain *drain = context;

        if (result->status >= 200 && result->status < 300)
                tell(drain, &plan->actions[action]);
        else if (result->message.length > 0)
                snprintf(drain->refusal, sizeof(drain->refusal), "%.*s",
                         STR_FORMAT(result->message));
}

static void on_plan_end(void *context _unused_, void *observed _unused_, int status _unused_)
{
}

/* What upstream's controller would look for in vain. */
static void tell_of_claims(const struct cache *cache)
{
        cache_for_each(it, cache, &kind_sandbox_claim, STR_EMPTY)
        {
                const struct sandbox_claim *claim = it.entry->typed;
                if (claim->sandbox_name.length == 0 && !object_meta_is_deleting(&it.entry->meta) &&
                    !cache_get(cache, &kind_sandbox_warm_pool, it.entry->meta.namespace,
                               claim->pool_name))
                        printf("sandboxclaim %.*s/%.*s waits for the pool %.*s, which is not "
                               "there: upstream's controller needs it\n",
                               STR_FORMAT(it.entry->meta.namespace),
                               STR_FORMAT(it.entry->meta.name), STR_FORMAT(claim->pool_name));
        }
}

static void finish_well(struct drain *drain, const struct cache *cache)
{
        const char *would = drain->config->dry_run ? "would be " : "";

        tell_of_claims(cache);
        if (drain->handed_over + drain->deleted + drain->marked == 0)
                printf("nothing to do: no pool has Pods for members\n");
        else
                printf("%u Pods %shanded over, %u %sdeleted\n", drain->handed_over, would,
                       drain->deleted, would);
        leave(drain, 0);
}

/* ---- doing it ---- */

static int say_plan_of(struct drain *drain, const struct cache *cache,
                       const struct cache_entry *pool)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_plan_ struct plan plan = {};
        const struct view seen = {
                .cache = cache,
                .namespace = pool->meta.namespace,
                .name = pool->meta.name,
                .now = { clock_monotonic_ns(), clock_realtime_ns() },
                .context = hand_over_context(drain->hand_over),
        };

        plan_init(&plan, &arena, 1);
        hand_over_plan(&seen, &plan);
        for (size_t i = 0; plan.failure == 0 && i < plan.count; i++)
                tell(drain, &plan.actions[i]);
        return plan.failure;
}

static void say_plans(struct drain *drain, const struct cache *cache)
{
        int r = 0;

        cache_for_each(it, cache, &kind_sandbox_warm_pool, STR_EMPTY) if (r == 0) r =
                say_plan_of(drain, cache, it.entry);
        if (r < 0)
                leave(drain, error_set(drain->error, r, "cannot plan: %s", strerror(-r)));
        else
                finish_well(drain, cache);
}

static uint64_t ms_since(uint64_t begin_ns)
{
        return (clock_monotonic_ns() - begin_ns) / NS_PER_MS;
}

/* Why it does not go on, once it has waited long enough. */
static int find_trouble(struct drain *drain, size_t left)
{
        bool late = clock_monotonic_ns() - drain->begun_ns > drain->config->timeout_ns;
        char why[256] = "";

        if (!drain->synced && (late || ms_since(drain->begun_ns) > LISTING_PATIENCE_MS)) {
                controller_host_is_synced(drain->host, why);
                return error_set(drain->error, -EACCES, "cannot see what is there: %s", why);
        }
        if (drain->synced && drain->leader && !leader_is_leading(drain->leader) &&
            (late || ms_since(drain->listed_ns) > LEASE_PATIENCE_MS)) {
                struct str holder = leader_holder(drain->leader);
                if (holder.length > 0)
                        return error_set(drain->error, -EBUSY,
                                         "%.*s holds the Lease " CLUSTER_LEASE_NAME
                                         ": stop that controller first",
                                         STR_FORMAT(holder));
                leader_is_well(drain->leader, why);
                return error_set(drain->error, -EACCES,
                                 "cannot take the Lease " CLUSTER_LEASE_NAME ": %s", why);
        }
        if (late)
                return error_set(drain->error, -ETIME, "%zu Pods and pools are left to do%s%s",
                                 left, drain->refusal[0] ? ": " : "", drain->refusal);
        return 0;
}

static void on_tick(struct net_timer *timer)
{
        struct drain *drain = container_of(timer, struct drain, tick);
        const struct cache *cache = controllers_cache(controller_host_set(drain->host));
        size_t left = drain->synced ? hand_over_left(cache) : 0;

        if (drain->synced && drain->config->dry_run) {
                say_plans(drain, cache);
                return;
        }
        if (drain->synced && leader_is_leading(drain->leader) && left == 0 &&
            controllers_in_flight(controller_host_set(drain->host)) == 0) {
                finish_well(drain, cache);
                return;
        }
        int r = find_trouble(drain, left);
        if (r < 0)
                leave(drain, r);
        else
                net_timer_start(drain->loop, &drain->tick, TICK_MS, on_tick);
}

/* ---- the Lease ---- */

static bool may_act(void *user)
{
        const struct drain *drain = user;

        return !drain->config->dry_run && !drain->ending && drain->leader &&
               leader_is_leading(drain->leader);
}

static void on_lead(void *user)
{
        struct drain *drain = user;

        controller_host_wake(drain->host);
}

static void on_lost(void *user, struct str why)
{
        struct drain *drain = user;

        end(drain, error_set(drain->error, -ESTALE, "the Lease was lost: %.*s", STR_FORMAT(why)));
}

static int start_election(struct drain *drain)
{
        char identity[sizeof("drain_") + UUID_SIZE] = "drain_";
        const char *space = drain->config->lease_space;
        const struct leader_options options = {
                .client = drain->client,
                .name_space = str_from(space && space[0] ? space : CLUSTER_LEASE_NAMESPACE),
                .name = STR(CLUSTER_LEASE_NAME),
                .identity = { identity, sizeof("drain_") - 1 + UUID_SIZE - 1 },
                .duration_ms = LEASE_S * 1000,
                .on_lead = on_lead,
                .on_lost = on_lost,
                .user = drain,
        };

        random_uuid(identity + sizeof("drain_") - 1);
        int r = leader_new(&options, &drain->leader);
        return r < 0 ? error_set(drain->error, r, "out of memory") : 0;
}

/* ---- the whole ---- */

static int setup(void *user, struct controllers *set)
{
        struct drain *drain = user;
        const struct hand_over_options options = { .deletes = drain->config->deletes };

        drain->observer = (struct plan_observer){ .context = drain,
                                                  .on_begin = on_plan,
                                                  .on_sent = on_sent,
                                                  .on_answer = on_answer,
                                                  .on_end = on_plan_end };
        controllers_observe(set, &drain->observer);
        return hand_over_new(set, &options, &drain->hand_over);
}

static void on_synced(void *user)
{
        struct drain *drain = user;

        drain->synced = true;
        drain->listed_ns = clock_monotonic_ns();
}

static int begin(struct drain *drain)
{
        const struct cluster_drain_config *config = drain->config;

        int r = kube_config_find(config->kubeconfig, STR_EMPTY, drain->error, &drain->kubeconfig);
        if (r < 0)
                return r;
        r = uv_loop_init(&drain->uv);
        if (r == 0)
                r = net_loop_new(&drain->uv, &drain->loop);
        if (r < 0)
                return error_set(drain->error, r, "cannot make an event loop: %s", strerror(-r));
        const struct kube_client_options client = { .loop = drain->loop,
                                                    .config = &drain->kubeconfig,
                                                    .user_agent = STR("cay-controller-drain") };
        r = kube_client_new(&client, drain->error, &drain->client);
        if (r < 0)
                return r;
        const struct controller_host_options host = {
                .loop = drain->loop,
                .way = &controller_way_wire,
                .client = drain->client,
                .name_space = str_from(config->name_space),
                .setup = setup,
                .kinds = hand_over_kinds,
                .on_synced = on_synced,
                .may_act = may_act,
                .user = drain,
        };
        r = controller_host_new(&host, drain->error, &drain->host);
        if (r == 0 && !config->dry_run)
                r = start_election(drain);
        drain->begun_ns = clock_monotonic_ns();
        if (r == 0)
                net_timer_start(drain->loop, &drain->tick, TICK_MS, on_tick);
        return r;
}

static void finish(struct drain *drain)
{
        net_timer_stop(&drain->tick);
        leader_free(drain->leader);
        controller_host_free(drain->host);
        hand_over_free(drain->hand_over);
        kube_client_free(drain->client);
        net_loop_free(drain->loop);
        uv_run(&drain->uv, UV_RUN_NOWAIT);
        uv_loop_close(&drain->uv);
}

int cluster_drain_run(const struct cluster_drain_config *config, struct error *error)
{
        struct drain drain = { .config = config, .error = error };

        signal(SIGPIPE, SIG_IGN);
        int r = begin(&drain);
        if (r == 0) {
                uv_run(&drain.uv, UV_RUN_DEFAULT);
                r = drain.result;
        }
        if (drain.loop)
                finish(&drain);
        kube_config_deinit(&drain.kubeconfig);
        return r;
}
