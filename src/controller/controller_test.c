// SPDX-License-Identifier: Apache-2.0
#include "controller/bed_test.h"
#include "controller/hand_over.h"

/* Rules of docs/controllers.md beside the twenty easy misses: objects in, plans out. */

/* ---- Sandbox ---- */

static void tells_why_it_is_not_ready(void **state)
{
        static const struct {
                const char *pod, *reason, *message;
        } cases[] = {
                { "'spec':{}", "DependenciesNotReady", "not running yet" },
                { "'spec':{'nodeName':'n'},'status':{'phase':'Running'}", "DependenciesNotReady",
                  "running but not ready" },
                { "'spec':{},'status':{'phase':'Running','conditions':[{'type':'Ready','status':"
                  "'True'}]}",
                  "DependenciesNotReady", "no address" },
                { "'spec':{},'status':{'phase':'Succeeded'}", "PodSucceeded", "to its end" },
                { "'spec':{},'status':{'phase':'Failed','message':'out of luck'}", "PodFailed",
                  "out of luck" },
                { RUNNING_POD, "DependenciesReady", "The Pod is ready" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                bed_begin(&bed);
                bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
                bed_put(&bed, &kind_pod, "s", OWNED_BY_SANDBOX("s"), cases[i].pod);
                bed_plan(&bed, sandbox_plan, "s");
                assert_plan(&bed, "status Sandbox s", cases[i].reason);
                assert_plan(&bed, "status Sandbox s", cases[i].message);
                assert_no_plan(&bed, "create Pod", "");
        }
}

/* A pool's member is told of when it is Ready, or after two seconds: nobody else waits for it. */
static void says_nothing_of_a_member_that_comes(void **state)
{
        static const struct {
                const char *owner, *status, *pod;
                unsigned age_s;
                bool told;
        } cases[] = {
                { OWNED_BY_POOL("p"), "", "'spec':{}", 1, false },
                { OWNED_BY_POOL("p"), "", RUNNING_POD, 1, true },
                { OWNED_BY_POOL("p"), "", "'spec':{}", 2, true },
                { OWNED_BY_POOL("p"), "", "'spec':{},'status':{'phase':'Failed'}", 1, true },
                { OWNED_BY_POOL("p"),
                  ",'status':{'conditions':[{'type':'Ready','status':'True','reason':"
                  "'DependenciesReady'}]}",
                  "'spec':{}", 1, true },
                { OWNED_BY_CLAIM("c"), "", "'spec':{}", 1, true },
                { "", "", "'spec':{}", 1, true },
                /* By the clock of the API server it is not made yet. */
                { OWNED_BY_POOL("p"), "", "'spec':{}", 0, true },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char text[512];

                bed_begin(&bed);
                uint64_t made_ns = bed.now_ns - 60 * NS_PER_SECOND;
                bed.now_ns = cases[i].age_s > 0 ? made_ns + cases[i].age_s * NS_PER_SECOND
                                                : made_ns - NS_PER_SECOND;
                snprintf(text, sizeof(text), "'spec':{" BLUEPRINT "}%s", cases[i].status);
                bed_put(&bed, &kind_sandbox, "s", cases[i].owner, text);
                bed_put(&bed, &kind_pod, "s", OWNED_BY_SANDBOX("s"), cases[i].pod);
                bed_plan(&bed, sandbox_plan, "s");
                assert_int_equal(bed_count(&bed, "status"), cases[i].told);
                if (!cases[i].told)
                        assert_true(bed.plan.come_back_ns == made_ns + 2 * NS_PER_SECOND);
        }
}

static void makes_volumes_and_a_service(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "",
                "'spec':{'service':true,'podTemplate':{'spec':{'containers':[{'name':'c','ports':[{"
                "'containerPort':80},{'containerPort':80},{'containerPort':53,'protocol':'UDP',"
                "'name':'dns'}]}],'initContainers':[{'restartPolicy':'Always','ports':[{"
                "'containerPort':9}]},{'ports':[{'containerPort':10}]}],'volumes':[{'name':'data',"
                "'emptyDir':{}},{'name':'tmp','emptyDir':{}}]}},'volumeClaimTemplates':[{'metadata'"
                ":"
                "{'name':'data','labels':{'l':'1'}},'spec':{'accessModes':['ReadWriteOnce']}}]}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "create PersistentVolumeClaim data-s", "'l':'1'");
        assert_plan(&bed, "create Pod s", "'claimName':'data-s'");
        assert_plan(&bed, "create Pod s", "{'name':'tmp','emptyDir':{}}");
        assert_no_plan(&bed, "create Pod s", "{'name':'data','emptyDir':{}}");
        assert_plan(
                &bed, "create Service s",
                "'ports':[{'name':'p-9-tcp','port':9,'protocol':'TCP','targetPort':9},{'name':"
                "'dns','port':53,'protocol':'UDP','targetPort':53},{'name':'p-80-tcp','port':80,"
                "'protocol':'TCP','targetPort':80}]");
        assert_plan(&bed, "create Service s", "'clusterIP':'None'");
}

/* What exists is taken only with a sign that it is meant. */
static void takes_only_what_is_meant_for_it(void **state)
{
        static const struct {
                const char *meta;
                bool taken;
        } cases[] = {
                { "", false },
                { "'labels':{'agents.x-k8s.io/adoptable':'true'}", true },
                { "'labels':{'agents.x-k8s.io/sandbox-name-hash':'374de8f5'}", true },
                { "'labels':{'agents.x-k8s.io/sandbox-name-hash':'00000000'}", false },
                { OWNED_BY_SANDBOX("other") ",'labels':{'agents.x-k8s.io/adoptable':'true'}",
                  false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                bed_begin(&bed);
                bed_put(&bed, &kind_sandbox, "my-sandbox", "",
                        "'spec':{'service':true,'podTemplate':{'spec':{'containers':[]}},"
                        "'volumeClaimTemplates':[{'metadata':{'name':'d'}}]}");
                bed_put(&bed, &kind_pod, "my-sandbox", cases[i].meta, RUNNING_POD);
                bed_put(&bed, &kind_service, "my-sandbox", cases[i].meta,
                        "'spec':{'selector':{'app':'old'}}");
                bed_put(&bed, &kind_persistent_volume_claim, "d-my-sandbox", cases[i].meta,
                        "'spec':{}");
                bed_plan(&bed, sandbox_plan, "my-sandbox");
                for (size_t j = 0; j < 3; j++) {
                        static const char *const patches[] = { "patch Pod", "patch Service",
                                                               "patch PersistentVolumeClaim" };

                        if (bed_has(&bed, patches[j], "'uid':'u-my-sandbox'") != cases[i].taken)
                                fail_msg("case %zu, %s:\n%s", i, patches[j], bed.text.data);
                }
                if (cases[i].taken)
                        assert_plan(&bed, "patch Service",
                                    "'selector':{'app':null,"
                                    "'agents.x-k8s.io/sandbox-name-hash':'374de8f5'}");
                else
                        assert_plan(&bed, "status Sandbox", "ReconcilerError");
                assert_no_plan(&bed, "create", "");
        }
}

/* Of two watches one may be behind: what a Sandbox names may be there and not told of. Until it is,
 * or is known not to be, or long enough. */
static void makes_no_pod_beside_one_that_may_exist(void **state)
{
        (void)state;
        for (int waits = 0; waits < 2; waits++) {
                _cleanup_bed_ struct bed bed;

                bed_begin(&bed);
                bed_put(&bed, &kind_sandbox, "s",
                        "'annotations':{'agents.x-k8s.io/pod-name':'warm'}",
                        "'spec':{" BLUEPRINT "}");
                bed.now_ns -= 53 * NS_PER_SECOND; /* it was seen seven seconds ago */
                bed_plan(&bed, sandbox_plan, "s");
                assert_no_plan(&bed, "create Pod", "");
                assert_no_plan(&bed, "status", "");
                if (waits) {
                        bed.now_ns += NS_PER_SECOND;
                } else {
                        controllers_list_begin(bed.set, &kind_pod);
                        controllers_list_end(bed.set, &kind_pod, bed.version + 1);
                }
                bed_plan(&bed, sandbox_plan, "s");
                assert_plan(&bed, "create Pod", "'name':'s'");
        }
}

static void deletes_none_of_several_pods(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_put(&bed, &kind_pod, "a", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_put(&bed, &kind_pod, "b", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "status Sandbox s", "MultiplePods");
        assert_no_plan(&bed, "delete", "");
        assert_int_equal(bed_events(&bed, "MultiplePods"), 1);
}

static void suspends_only_its_own(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT ",'operatingMode':'Suspended'}");
        bed_put(&bed, &kind_pod, "s", "", RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_no_plan(&bed, "delete", "");
        assert_plan(&bed, "status Sandbox s", "PodNotOwned");
        bed_put(&bed, &kind_pod, "s", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "delete Pod s", "u-s");
        assert_plan(&bed, "status Sandbox s", "PodTerminating");
}

/* Resumed while the old Pod still goes: not Ready, and no second Pod. */
static void waits_for_a_pod_that_leaves(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_put(&bed, &kind_pod, "s",
                OWNED_BY_SANDBOX("s") ",'deletionTimestamp':'2026-11-21T11:59:59Z'", RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_no_plan(&bed, "create", "");
        assert_plan(&bed, "status Sandbox s", "being deleted");
        assert_plan(&bed, "status Sandbox s", "'podIPs':null");
}

static void tells_what_the_api_refuses(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed.refusal = STR("exceeded quota: pods=1");
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "create Pod s", "");
        assert_plan(&bed, "status Sandbox s", "exceeded quota");
}

static void follows_the_template_metadata(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "",
                "'spec':{'podTemplate':{'metadata':{'labels':{'kept':'1','new':'2'}},'spec':{}}}");
        bed_put(&bed, &kind_pod, "s",
                OWNED_BY_SANDBOX("s") ",'labels':{'kept':'1','gone':'1','somebody':'1'},"
                                      "'annotations':{'agents.x-k8s.io/propagated-labels':"
                                      "'kept,gone'}",
                RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "patch Pod s", "'new':'2'");
        assert_plan(&bed, "patch Pod s", "'gone':null");
        assert_no_plan(&bed, "patch Pod s", "somebody");
        assert_plan(&bed, "patch Pod s", "'agents.x-k8s.io/propagated-labels':'kept,new'");
}

/* ---- SandboxTemplate ---- */

static void keeps_one_network_policy(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        put_template(&bed);
        bed_plan(&bed, sandbox_template_plan, "t");
        assert_plan(&bed, "create NetworkPolicy t-network-policy", "'app':'sandbox-router'");
        assert_plan(&bed, "create NetworkPolicy t-network-policy", "'169.254.0.0/16'");
        assert_plan(&bed, "create NetworkPolicy t-network-policy", "'100.64.0.0/10'");
        bed_put(&bed, &kind_network_policy, "t-network-policy", "", "'spec':{}");
        bed_plan(&bed, sandbox_template_plan, "t");
        assert_int_equal(bed.plan.count, 0);
        bed_put(&bed, &kind_sandbox_template, "t", "",
                "'spec':{'networkPolicyManagement':'Unmanaged'}");
        bed_plan(&bed, sandbox_template_plan, "t");
        assert_int_equal(bed.plan.count, 0);
        bed_put(&bed, &kind_network_policy, "t-network-policy",
                OWNED_BY("extensions.agents.x-k8s.io", "SandboxTemplate", "t"), "'spec':{}");
        bed_plan(&bed, sandbox_template_plan, "t");
        assert_plan(&bed, "delete NetworkPolicy", "");
}

/* ---- SandboxWarmPool ---- */

static void deletes_the_unready_then_the_newest(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, ",'replicas':1");
        put_member(&bed, "a", MEMBER);
        put_member(&bed, "unready", "'spec':{" BLUEPRINT "}");
        put_member(&bed, "b", MEMBER);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "delete Sandbox unready", "'resourceVersion'");
        /* Of the same second, the last by name. */
        assert_plan(&bed, "delete Sandbox b", "");
        assert_int_equal(bed_count(&bed, "delete"), 2);
}

/* Not a ready one in its place. */
static void waits_to_delete_what_is_being_written(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct cache *cache;
        int owner;

        (void)state;
        bed_begin(&bed);
        cache = controllers_cache(bed.set);
        put_template(&bed);
        put_pool(&bed, ",'replicas':1");
        put_member(&bed, "a", MEMBER);
        put_member(&bed, "unready", "'spec':{" BLUEPRINT "}");
        assert_int_equal(cache_lock(cache, &kind_sandbox, STR("n"), STR("unready"), &owner), 0);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_no_plan(&bed, "delete", "");
        assert_int_equal(bed.plan.wait_count, 1);
        cache_unlock(cache, &kind_sandbox, STR("n"), STR("unready"));
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "delete Sandbox unready", "");
        assert_int_equal(bed_count(&bed, "delete"), 1);
}

static void replaces_stale_members_if_asked_to(void **state)
{
        (void)state;
        for (int recreate = 0; recreate < 2; recreate++) {
                _cleanup_bed_ struct bed bed;

                begin_with_pool(&bed, recreate
                                              ? ",'replicas':1,'updateStrategy':{'type':'Recreate'}"
                                              : ",'replicas':1");
                put_member(&bed, "old", MEMBER);
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "delete Sandbox old"), recreate);
                /* Nor is it given away. */
                put_claim(&bed, "", "");
                bed_plan(&bed, sandbox_match_plan, "p");
                assert_int_equal(bed_count(&bed, "patch Sandbox old"), !recreate);
        }
}

/* Its hash of the blueprint is of another kind than ours, so the blueprint itself decides. */
static void keeps_what_upstreams_controller_made(void **state)
{
        static const struct {
                const char *spec;
                bool stale;
        } cases[] = {
                { "'automountServiceAccountToken':false,'dnsPolicy':'None','dnsConfig':{"
                  "'nameservers':['8.8.8.8','1.1.1.1']}",
                  false },
                { "'automountServiceAccountToken':true,'dnsPolicy':'None','dnsConfig':{"
                  "'nameservers':['8.8.8.8','1.1.1.1']}",
                  true },
                { "'automountServiceAccountToken':false", true },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char hash[NAME_HASH_SIZE], meta[512], body[1024];

                begin_with_pool(&bed, ",'replicas':2,'updateStrategy':{'type':'Recreate'}");
                snprintf(meta, sizeof(meta),
                         OWNED_BY_POOL("p") ",'labels':{'agents.x-k8s.io/sandbox-template-hash':"
                                            "'0123abcd','agents.x-k8s.io/"
                                            "sandbox-template-ref-hash':'%.8s'}",
                         name_hash(STR("t"), hash).data);
                snprintf(body, sizeof(body),
                         "'spec':{'podTemplate':{'spec':{%s,'containers':[{'name':'c','image':'i',"
                         "'ports':[{'containerPort':8888}]}]}}}," READY_STATUS,
                         cases[i].spec);
                bed_put(&bed, &kind_sandbox, "theirs", meta, body);
                bed_put(&bed, &kind_pod, "bare", meta, RUNNING_POD);
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "delete Sandbox theirs"), cases[i].stale);
                assert_int_equal(bed_count(&bed, "delete"), cases[i].stale);
        }
}

static void replaces_stuck_members_unless_there_is_no_room(void **state)
{
        static const char *const scheduled[] = { "'True'", "'False','reason':'Unschedulable'" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(scheduled); i++) {
                _cleanup_bed_ struct bed bed;
                char pod[256];

                begin_with_pool(&bed, ",'replicas':1");
                put_member(&bed, "m", "'spec':{" BLUEPRINT "}");
                snprintf(pod, sizeof(pod),
                         "'spec':{},'status':{'conditions':[{'type':'PodScheduled','status':%s}]}",
                         scheduled[i]);
                bed_put(&bed, &kind_pod, "m-pod", OWNED_BY_SANDBOX("m"), pod);
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "delete"), 0);
                assert_true(bed.plan.come_back_ns > bed.now_ns);
                bed.now_ns += 300 * NS_PER_SECOND;
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "delete"), i == 0);
                assert_int_equal(bed_events(&bed, "WarmPoolNotProgressing"), i == 1);
        }
}

static void refills_as_fast_as_it_may(void **state)
{
        static const struct {
                struct sandbox_options options;
                unsigned failures;
                size_t at_once;
                uint64_t next_ns; /* 0: nothing to wait for */
        } cases[] = {
                { {}, 0, 10, 0 },
                { { .pool_batch = 3 }, 0, 3, 0 },
                { {}, 2, 1, 0 },
                { { .pool_refill_rate = 4 }, 0, 4, NS_PER_SECOND },
                { { .pool_refill_rate = 0.5 }, 0, 1, 2 * NS_PER_SECOND },
                { { .pool_refill_rate = 2.5 }, 0, 2, 800 * NS_PER_MS },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                bed_begin_with(&bed, &cases[i].options);
                bed.failures = cases[i].failures;
                put_template(&bed);
                put_pool(&bed, ",'replicas':10");
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "create Sandbox p-"), cases[i].at_once);
                if (!cases[i].next_ns)
                        continue;
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "create"), 0);
                /* Sooner for the pool's status. */
                assert_true(bed.plan.come_back_ns > 0 &&
                            bed.plan.come_back_ns <= bed.now_ns + cases[i].next_ns);
                bed.now_ns += cases[i].next_ns - 1;
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "create"), 0);
                bed.now_ns++;
                bed_plan(&bed, sandbox_warm_pool_plan, "p");
                assert_int_equal(bed_count(&bed, "create"), cases[i].at_once);
        }
}

static void starts_a_few_at_a_time(void **state)
{
        const struct sandbox_options options = { .pool_coming = 3 };
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin_with(&bed, &options);
        bed.now_ns -= 59 * NS_PER_SECOND; /* a second after the bed's objects were made */
        put_template(&bed);
        put_pool(&bed, ",'replicas':10");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create Sandbox p-"), 3);
        put_member(&bed, "ready", MEMBER);
        put_member(&bed, "a", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create Sandbox p-"), 2);
        put_member(&bed, "b", "'spec':{" BLUEPRINT "}");
        put_member(&bed, "c", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 0);
        assert_true(bed.plan.come_back_ns > 0 &&
                    bed.plan.come_back_ns <= bed.now_ns + 5 * NS_PER_SECOND);
        /* Those that take too long do not keep others from being made. */
        bed.now_ns += 5 * NS_PER_SECOND;
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create Sandbox p-"), 3);
}

static void waits_before_it_replenishes(void **state)
{
        const struct sandbox_options options = { .pool_replenish_delay_ns = 5 * NS_PER_SECOND };
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin_with(&bed, &options);
        put_template(&bed);
        put_pool(&bed, ",'replicas':1");
        put_member(&bed, "m", MEMBER);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        bed_put(&bed, &kind_sandbox, "m", OWNED_BY_CLAIM("c"), MEMBER);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 0);
        bed.now_ns += 5 * NS_PER_SECOND;
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 1);
}

/* A pool whose first `count` members, m0 and on, are ready. */
static void begin_with_members(struct bed *bed, const char *replicas, unsigned count)
{
        char name[16];

        begin_with_pool(bed, replicas);
        for (unsigned i = 0; i < count; i++) {
                snprintf(name, sizeof(name), "m%u", i);
                put_member(bed, name, MEMBER);
        }
        bed_plan(bed, sandbox_warm_pool_plan, "p");
}

/* Gives members of the pool "p" away, from the first named to before the last. */
static void claim_members(struct bed *bed, unsigned from, unsigned to)
{
        for (unsigned i = from; i < to; i++) {
                char name[16];
                snprintf(name, sizeof(name), "m%u", i);
                bed_put(bed, &kind_sandbox, name, OWNED_BY_CLAIM("c"), MEMBER);
        }
        bed_plan(bed, sandbox_warm_pool_plan, "p");
}

static void lets_a_burst_of_claims_pass(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_members(&bed, ",'replicas':100", 100);
        /* While claims come, and for a tenth of a second after the last. */
        claim_members(&bed, 0, 10);
        assert_int_equal(bed_count(&bed, "create"), 0);
        bed.now_ns += 90 * NS_PER_MS;
        claim_members(&bed, 10, 20);
        assert_int_equal(bed_count(&bed, "create"), 0);
        assert_true(bed.plan.come_back_ns == bed.now_ns + 100 * NS_PER_MS);
        bed.now_ns += 100 * NS_PER_MS;
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 20);
}

/* After two seconds they no longer wait, but come as the claims do, not all at once. */
static void refills_beside_a_stream_of_claims(void **state)
{
        enum { MISSING = 40 };
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_members(&bed, ",'replicas':100", 100);
        for (unsigned i = 0; i < MISSING; i++) {
                assert_int_equal(bed_count(&bed, "create"), 0);
                claim_members(&bed, i, i + 1);
                bed.now_ns += 50 * NS_PER_MS;
        }
        /* Sixty of a hundred are left: three fifths of two seconds for forty. */
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 1);
        put_member(&bed, "new", MEMBER);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), 0);
        assert_true(bed.plan.come_back_ns == bed.now_ns + 30 * NS_PER_MS);
        /* The last claim was a tenth of a second ago. */
        bed.now_ns += 50 * NS_PER_MS;
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_int_equal(bed_count(&bed, "create"), MISSING - 1);
}

static void refills_the_sooner_the_fewer_are_left(void **state)
{
        static const struct {
                const char *replicas;
                unsigned members, claimed, made;
        } cases[] = {
                { ",'replicas':2", 2, 1, 1 },       { ",'replicas':31", 31, 9, 9 },
                { ",'replicas':40", 40, 9, 1 }, /* the next soon */
                { ",'replicas':200", 200, 150, 3 }, { ",'replicas':40", 40, 40, 40 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                begin_with_members(&bed, cases[i].replicas, cases[i].members);
                claim_members(&bed, 0, cases[i].claimed);
                assert_int_equal(bed_count(&bed, "create"), cases[i].made);
        }
}

static void makes_safe_members(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "create Sandbox p-", "'automountServiceAccountToken':false");
        assert_plan(&bed, "create Sandbox p-", "'dnsPolicy':'None'");
        assert_plan(&bed, "create Sandbox p-", "'agents.x-k8s.io/warm-pool-sandbox':");
        bed_put(&bed, &kind_sandbox_template, "t", "",
                "'spec':{'networkPolicyManagement':'Unmanaged','podTemplate':{'spec':{"
                "'automountServiceAccountToken':true,'containers':[]}}}");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "create Sandbox p-", "'automountServiceAccountToken':true");
        assert_no_plan(&bed, "create Sandbox p-", "dnsPolicy");
}

#define EVICT "cluster-autoscaler.kubernetes.io/safe-to-evict"

static void put_evictable(struct bed *bed, const char *member, const char *pod)
{
        char text[2048];

        snprintf(text, sizeof(text),
                 "'spec':{'podTemplate':{'metadata':{'annotations':{%s}},'spec':{'containers':[]}}"
                 "}," READY_STATUS,
                 member);
        put_member(bed, "m", text);
        if (!pod)
                return;
        snprintf(text, sizeof(text), OWNED_BY_SANDBOX("m") ",'annotations':{%s}", pod);
        bed_put(bed, &kind_pod, "m", text, RUNNING_POD);
}

static void members_are_evictable_if_asked_for(void **state)
{
        static const struct {
                bool asked;
                const char *annotations, *wanted, *unwanted;
        } cases[] = {
                { true, "", "'" EVICT "':'true'", "'false'" },
                { true, "'" EVICT "':'false'", "'" EVICT "':'false'", "'" EVICT "':'true'" },
                { true, "'a':'b'", "'a':'b','" EVICT "':'true'", "'false'" },
                { false, "'a':'b'", "'a':'b'", EVICT },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct sandbox_options options = { .evictable_members = cases[i].asked };
                _cleanup_bed_ struct bed bed;

                bed_begin_with(&bed, &options);
                put_evictable(&bed, cases[i].annotations, NULL);
                bed_plan(&bed, sandbox_plan, "m");
                assert_plan(&bed, "create Pod m", cases[i].wanted);
                assert_no_plan(&bed, "create Pod m", cases[i].unwanted);
                bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
                bed_plan(&bed, sandbox_plan, "s");
                assert_no_plan(&bed, "create Pod s", EVICT);
        }
}

/* ---- SandboxClaim ---- */

/* Our members have the mark at the Pod, upstream's in the blueprint, too. The spec of a Sandbox
 * that is claimed stays as it is: a new generation would want a new status. */
static void what_is_claimed_is_not_evictable(void **state)
{
        static const struct {
                const char *member, *pod, *claim, *wanted, *unwanted;
        } cases[] = {
                { "", "'" EVICT "':'true'", "", "'" EVICT "':null", "'true'" },
                { "'" EVICT "':'true'", "'" EVICT "':'true'", "", "'" EVICT "':null", "'true'" },
                { "'" EVICT "':'true'", "'" EVICT "':'true'", "'a':'b'", "'" EVICT "':null",
                  "'true'" },
                { "", "'" EVICT "':'true'", "'" EVICT "':'true'", "claim-uid", "null" },
                { "'" EVICT "':'false'", "'" EVICT "':'false'", "", "claim-uid", "null" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct sandbox_options options = { .evictable_members = true };
                _cleanup_bed_ struct bed bed;
                char text[1024];

                bed_begin_with(&bed, &options);
                put_template(&bed);
                put_pool(&bed, "");
                snprintf(text, sizeof(text),
                         "%s,'agents.x-k8s.io/propagated-annotations':'" EVICT "'", cases[i].pod);
                put_evictable(&bed, cases[i].member, text);
                snprintf(text, sizeof(text),
                         "'spec':{'warmPoolRef':{'name':'p'},'additionalPodMetadata':{"
                         "'annotations':{%s}}}",
                         cases[i].claim);
                bed_put(&bed, &kind_sandbox_claim, "c", "", text);
                bed_plan(&bed, sandbox_match_plan, "p");
                assert_plan(&bed, "patch Sandbox m", "u-c");
                if (!*cases[i].claim)
                        assert_no_plan(&bed, "patch Sandbox m", "'spec'");
                assert_plan(&bed, "patch Pod m", cases[i].wanted);
                assert_no_plan(&bed, "patch Pod m", cases[i].unwanted);
        }
}

/* Once claimed it stays so, as the Sandbox controller sees it. */
static void what_was_claimed_stays_unevictable(void **state)
{
        static const struct {
                const char *launch, *of_the_claim, *wanted;
        } cases[] = {
                { "warm", "", "'" EVICT "':null" },
                { "warm", "other," EVICT, NULL },
                { "cold", "", NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char text[1024];

                bed_begin(&bed);
                snprintf(text, sizeof(text),
                         OWNED_BY_CLAIM("c") ",'labels':{'agents.x-k8s.io/launch-type':'%s'}"
                                             ",'annotations':{'agents.x-k8s.io/"
                                             "propagated-annotations':'%s'}",
                         cases[i].launch, cases[i].of_the_claim);
                bed_put(&bed, &kind_sandbox, "m", text,
                        "'spec':{'podTemplate':{'metadata':{'annotations':{'" EVICT
                        "':'true'}},'spec':{'containers':[]}}}");
                bed_put(&bed, &kind_pod, "m",
                        OWNED_BY_SANDBOX(
                                "m") ",'annotations':{'" EVICT
                                     "':'true','agents.x-k8s.io/propagated-annotations':'" EVICT
                                     "'}",
                        RUNNING_POD);
                bed_plan(&bed, sandbox_plan, "m");
                if (cases[i].wanted)
                        assert_plan(&bed, "patch Pod m", cases[i].wanted);
                else
                        assert_no_plan(&bed, "patch Pod m", EVICT "':null");
        }
}

static void makes_no_events_of_claims_if_told(void **state)
{
        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                const struct sandbox_options options = { .without_claim_events = i == 1 };
                _cleanup_bed_ struct bed bed;

                bed_begin_with(&bed, &options);
                put_template(&bed);
                put_pool(&bed, "");
                put_member(&bed, "m", MEMBER);
                put_claim(&bed, "", "");
                bed_put(&bed, &kind_sandbox_claim, "d", "", "'spec':{'warmPoolRef':{'name':'p'}}");
                bed_plan(&bed, sandbox_match_plan, "p");
                assert_int_equal(bed_events(&bed, "SandboxAdopted"), 1 - i);
                assert_int_equal(bed_events(&bed, "SandboxProvisioned"), 1 - i);
                bed_put(&bed, &kind_sandbox_claim, "e", "",
                        "'spec':{'warmPoolRef':{'name':'p'},'lifecycle':{'shutdownTime':"
                        "'2026-11-21T11:00:00Z','shutdownPolicy':'Retain'}}");
                bed_plan(&bed, sandbox_claim_plan, "e");
                assert_int_equal(bed_events(&bed, "ClaimExpired"), 1 - i);
        }
}

static void prefers_the_fullest_node(void **state)
{
        static const char *const nodes[] = { "one", "two", "two" };
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
                char name[8], status[256];

                snprintf(name, sizeof(name), "m%zu", i);
                snprintf(status, sizeof(status),
                         "'spec':{},'status':{'nodeName':'%s','conditions':[{'type':'Ready',"
                         "'status':'True','reason':'x'}]}",
                         nodes[i]);
                put_member(&bed, name, status);
        }
        put_claim(&bed, "", "");
        bed_put(&bed, &kind_sandbox_claim, "d", "", "'spec':{'warmPoolRef':{'name':'p'}}");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_plan(&bed, "patch Sandbox m1", "u-c");
        assert_plan(&bed, "patch Sandbox m2", "u-d");
        assert_no_plan(&bed, "patch Sandbox m0", "");
}

static void gives_each_claim_its_own(void **state)
{
        _cleanup_bed_ struct bed bed;
        char name[40];

        (void)state;
        begin_with_pool(&bed, "");
        for (unsigned i = 0; i < 20; i++) {
                snprintf(name, sizeof(name), "m%02u", i);
                put_member(&bed, name, i < 10 ? MEMBER : "'spec':{" BLUEPRINT "}");
                snprintf(name, sizeof(name), "c%02u", i);
                bed_put(&bed, &kind_sandbox_claim, name, "", "'spec':{'warmPoolRef':{'name':'p'}}");
        }
        bed_put(&bed, &kind_sandbox_claim, "late", "", "'spec':{'warmPoolRef':{'name':'p'}}");
        bed_plan(&bed, sandbox_match_plan, "p");
        /* Ready ones first, then those on their way, then a new one. */
        assert_int_equal(bed_count(&bed, "patch Sandbox m"), 20);
        assert_int_equal(bed_count(&bed, "create Sandbox late"), 1);
        for (unsigned i = 0; i < 20; i++) {
                snprintf(name, sizeof(name), "patch Sandbox m%02u", i);
                assert_int_equal(bed_count(&bed, name), 1);
                snprintf(name, sizeof(name), "u-c%02u", i);
                assert_plan(&bed, "patch Sandbox", name);
        }
}

/* A member that is being written now is free in a moment: sooner than a new one has started. */
static void waits_for_a_member_that_is_being_written(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct cache *cache;
        int owner;

        (void)state;
        bed_begin(&bed);
        cache = controllers_cache(bed.set);
        put_template(&bed);
        put_pool(&bed, "");
        put_member(&bed, "m", MEMBER);
        put_claim(&bed, "", "");
        assert_int_equal(cache_lock(cache, &kind_sandbox, STR("n"), STR("m"), &owner), 0);
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed.plan.count, 0);
        assert_int_equal(bed.plan.wait_count, 1);
        /* One claim waits for one member: the other starts cold. */
        bed_put(&bed, &kind_sandbox_claim, "d", "", "'spec':{'warmPoolRef':{'name':'p'}}");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed_count(&bed, "create Sandbox"), 1);
        assert_int_equal(bed.plan.wait_count, 1);
        cache_unlock(cache, &kind_sandbox, STR("n"), STR("m"));
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed_count(&bed, "patch Sandbox m"), 1);
        assert_int_equal(bed_count(&bed, "create Sandbox"), 1);
}

/* A claim that was told Ready is not told otherwise by a Sandbox whose status is on its way. */
static void mirrors_no_sandbox_that_is_being_written(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct cache *cache;
        int owner;

        (void)state;
        bed_begin(&bed);
        cache = controllers_cache(bed.set);
        put_claim(&bed, "",
                  "'status':{'sandbox':{'name':'c'},'conditions':[{'type':'Ready',"
                  "'status':'True','reason':'DependenciesReady','observedGeneration':1}]}");
        bed_put(&bed, &kind_sandbox, "c", OWNED_BY_CLAIM("c"), "'spec':{" BLUEPRINT "}");
        assert_int_equal(cache_lock(cache, &kind_sandbox, STR("n"), STR("c"), &owner), 0);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_int_equal(bed.plan.count, 0);
        assert_int_equal(bed.plan.wait_count, 1);
        cache_unlock(cache, &kind_sandbox, STR("n"), STR("c"));
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_plan(&bed, "status SandboxClaim c", "SandboxNotReady");
}

/* While its Sandbox starts, but not by another clock, on which it will only be made. */
static void tells_a_claim_not_of_every_step(void **state)
{
        static const struct {
                int age_s;
                bool told;
        } cases[] = { { 1, false }, { 2, true }, { -1, true } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                bed_begin(&bed);
                bed.now_ns -= (uint64_t)(60 - cases[i].age_s) * NS_PER_SECOND;
                put_claim(&bed, "",
                          "'status':{'sandbox':{'name':'c'},'conditions':[{'type':'Ready',"
                          "'status':'False','reason':'SandboxNotReady','observedGeneration':1}]}");
                bed_put(&bed, &kind_sandbox, "c", OWNED_BY_CLAIM("c"),
                        "'spec':{" BLUEPRINT "},'status':{'conditions':[{'type':'Ready','status':"
                        "'False','reason':'DependenciesNotReady','message':'it starts'}]}");
                bed_plan(&bed, sandbox_claim_plan, "c");
                assert_int_equal(bed_count(&bed, "status SandboxClaim c"), cases[i].told);
        }
}

static void judges_what_claims_ask_for(void **state)
{
        static const struct {
                const char *template, *claim, *reason;
        } cases[] = {
                { "", "'additionalPodMetadata':{'labels':{'app':'sandbox-router'}}",
                  "InvalidMetadata" },
                { "", "'additionalPodMetadata':{'labels':{'evilsandbox.users.io/a':'b'}}",
                  "InvalidMetadata" },
                { "", "'additionalPodMetadata':{'labels':{'team.sandbox.users.io/a':'b'}}", NULL },
                { "", "'additionalPodMetadata':{'annotations':{'x.kubernetes.io/a':'b'}}",
                  "InvalidMetadata" },
                { "",
                  "'additionalPodMetadata':{'annotations':{'cluster-autoscaler.kubernetes.io/"
                  "safe-to-evict':'true','own':'x'}}",
                  NULL },
                { "", "'env':[{'name':'A','value':'1'}]", "EnvVarsInjectionRejected" },
                { "'envVarsInjectionPolicy':'Allowed',", "'env':[{'name':'A','value':'1'}]", NULL },
                { "'envVarsInjectionPolicy':'Allowed',", "'env':[{'name':'SET','value':'1'}]",
                  "EnvVarsInjectionRejected" },
                { "'envVarsInjectionPolicy':'Overrides',", "'env':[{'name':'SET','value':'1'}]",
                  NULL },
                { "'envVarsInjectionPolicy':'Overrides',",
                  "'env':[{'name':'A','value':'1','containerName':'absent'}]",
                  "EnvVarsInjectionRejected" },
                { "", "'volumeClaimTemplates':[{'metadata':{'name':'v'}}]",
                  "VolumeClaimTemplatesError" },
                { "'volumeClaimTemplatesPolicy':'Allowed',",
                  "'volumeClaimTemplates':[{'metadata':{'name':'v'}}]", NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char spec[512];

                bed_begin(&bed);
                snprintf(spec, sizeof(spec),
                         "'spec':{%s'podTemplate':{'spec':{'containers':[{'name':'c','env':[{"
                         "'name':'SET','value':'0'}]}]}}}",
                         cases[i].template);
                bed_put(&bed, &kind_sandbox_template, "t", "", spec);
                put_pool(&bed, "");
                snprintf(spec, sizeof(spec), "'spec':{'warmPoolRef':{'name':'p'},%s}",
                         cases[i].claim);
                bed_put(&bed, &kind_sandbox_claim, "c", "", spec);
                bed_plan(&bed, sandbox_match_plan, "p");
                if (cases[i].reason) {
                        assert_plan(&bed, "status SandboxClaim c", cases[i].reason);
                        assert_no_plan(&bed, "create", "");
                } else {
                        assert_plan(&bed, "create Sandbox c", "");
                }
        }
}

/* A started member has its environment: such claims start cold, with it. */
static void injects_what_is_allowed(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox_template, "t", "",
                "'spec':{'envVarsInjectionPolicy':'Overrides','podTemplate':{'spec':{'containers':["
                "{"
                "'name':'c','env':[{'name':'A','value':'0'},{'name':'Z','value':'9'}]},{'name':"
                "'d'}]}}}");
        put_pool(&bed, "");
        put_member(&bed, "m", MEMBER);
        put_claim(&bed, "", "");
        bed_put(&bed, &kind_sandbox_claim, "c", "",
                "'spec':{'warmPoolRef':{'name':'p'},'env':[{'name':'A','value':'1'},{'name':'B',"
                "'value':'2','containerName':'d'}]}");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_no_plan(&bed, "patch Sandbox m", "");
        assert_plan(&bed, "create Sandbox c",
                    "'env':[{'name':'A','value':'1'},{'name':'Z','value':'9'}]");
        assert_plan(&bed, "create Sandbox c", "'env':[{'name':'B','value':'2'}]");
}

#define FINISHED                                                                                   \
        "'status':{'sandbox':{'name':'mine'},'conditions':[{'type':'Finished','status':'True',"    \
        "'lastTransitionTime':'2026-11-21T11:59:00Z'}]}"

static void ends_after_its_time(void **state)
{
        static const struct {
                const char *lifecycle;
                bool told;
                const char *deleted; /* at once */
        } cases[] = {
                { "'ttlSecondsAfterFinished':61", false, NULL },
                { "'ttlSecondsAfterFinished':60", true, NULL },
                { "'ttlSecondsAfterFinished':0,'shutdownPolicy':'Delete'", true,
                  "delete SandboxClaim c" },
                { "'ttlSecondsAfterFinished':0", true, "delete Sandbox mine" },
                { "'shutdownTime':'2026-11-21T12:00:00Z','shutdownPolicy':'Delete'", true, NULL },
                { "'shutdownTime':'2026-11-21T12:00:01Z'", false, NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char spec[512];

                bed_begin(&bed);
                snprintf(spec, sizeof(spec),
                         "'spec':{'warmPoolRef':{'name':'p'},'lifecycle':{%s}}," FINISHED,
                         cases[i].lifecycle);
                bed_put(&bed, &kind_sandbox_claim, "c", "", spec);
                bed_put(&bed, &kind_sandbox, "mine", OWNED_BY_CLAIM("c"), MEMBER);
                bed_plan(&bed, sandbox_claim_plan, "c");
                if (bed_has(&bed, "status SandboxClaim c", "ClaimExpired") != cases[i].told)
                        fail_msg("case %zu:\n%s", i, bed.text.data);
                assert_int_equal(bed_events(&bed, "ClaimExpired"), cases[i].told);
                assert_int_equal(bed_count(&bed, "delete"), cases[i].deleted != NULL);
                if (cases[i].deleted)
                        assert_plan(&bed, cases[i].deleted, "");
                if (!cases[i].told)
                        assert_true(bed.plan.come_back_ns > bed.now_ns);
        }
}

static void never_takes_another_for_one_that_is_gone(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        put_member(&bed, "m", MEMBER);
        bed_put(&bed, &kind_sandbox_claim, "c", "",
                "'spec':{'warmPoolRef':{'name':'p'}},'status':{'sandbox':{'name':'mine'}}");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed.plan.count, 0);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_plan(&bed, "status SandboxClaim c", "SandboxMissing");
        assert_plan(&bed, "status SandboxClaim c", "'name':'mine'");
        /* Somebody else's of that name is not it. */
        bed_put(&bed, &kind_sandbox, "mine", OWNED_BY_CLAIM("other"), MEMBER);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_plan(&bed, "status SandboxClaim c", "AdoptionConflict");
}

/* ---- the way back ---- */

static void hands_pods_over_or_deletes_them(void **state)
{
        static const struct {
                const char *pod,
                        *sandbox; /* more of what is there; NULL: no Sandbox of that name */
                bool has_template, deletes;
                const char *expected, *not ;
        } cases[] = {
                { RUNNING_POD, NULL, true, false, "create Sandbox m", "delete" },
                { "'spec':{}", NULL, true, false, "create Sandbox m", "delete" },
                { RUNNING_POD, NULL, true, true, "delete Pod m", "create" },
                { RUNNING_POD, NULL, false, false, "delete Pod m", "create" },
                { "'spec':{},'status':{'phase':'Failed'}", NULL, true, false, "delete Pod m",
                  "create" },
                { RUNNING_POD, OWNED_BY_POOL("p"), true, false, "patch Pod m", "create" },
                { RUNNING_POD, OWNED_BY_CLAIM("c"), true, false, "delete Pod m", "create" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct hand_over_options options = { .deletes = cases[i].deletes };
                _cleanup_bed_ struct bed bed;

                bed_begin(&bed);
                if (cases[i].has_template)
                        put_template(&bed);
                put_pool(&bed, ",'replicas':1");
                bed_put(&bed, &kind_pod, "m", OWNED_BY_POOL("p"), cases[i].pod);
                bed_put(&bed, &kind_pod, "bound", OWNED_BY_SANDBOX("s"), RUNNING_POD);
                if (cases[i].sandbox)
                        bed_put(&bed, &kind_sandbox, "m", cases[i].sandbox, MEMBER);
                assert_int_equal(hand_over_left(controllers_cache(bed.set)), 1);
                bed.context = &options;
                bed_plan(&bed, hand_over_plan, "p");
                assert_plan(&bed, cases[i].expected, "");
                assert_int_equal(bed_count(&bed, cases[i].not ), 0);
                assert_int_equal(bed_count(&bed, "delete Pod bound"), 0);
                assert_int_equal(bed_count(&bed, "patch Pod bound"), 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hands_pods_over_or_deletes_them),
                cmocka_unit_test(tells_why_it_is_not_ready),
                cmocka_unit_test(says_nothing_of_a_member_that_comes),
                cmocka_unit_test(makes_volumes_and_a_service),
                cmocka_unit_test(takes_only_what_is_meant_for_it),
                cmocka_unit_test(makes_no_pod_beside_one_that_may_exist),
                cmocka_unit_test(deletes_none_of_several_pods),
                cmocka_unit_test(suspends_only_its_own),
                cmocka_unit_test(waits_for_a_pod_that_leaves),
                cmocka_unit_test(tells_what_the_api_refuses),
                cmocka_unit_test(follows_the_template_metadata),
                cmocka_unit_test(keeps_one_network_policy),
                cmocka_unit_test(deletes_the_unready_then_the_newest),
                cmocka_unit_test(waits_to_delete_what_is_being_written),
                cmocka_unit_test(replaces_stale_members_if_asked_to),
                cmocka_unit_test(keeps_what_upstreams_controller_made),
                cmocka_unit_test(replaces_stuck_members_unless_there_is_no_room),
                cmocka_unit_test(refills_as_fast_as_it_may),
                cmocka_unit_test(starts_a_few_at_a_time),
                cmocka_unit_test(waits_before_it_replenishes),
                cmocka_unit_test(members_are_evictable_if_asked_for),
                cmocka_unit_test(what_is_claimed_is_not_evictable),
                cmocka_unit_test(what_was_claimed_stays_unevictable),
                cmocka_unit_test(makes_no_events_of_claims_if_told),
                cmocka_unit_test(lets_a_burst_of_claims_pass),
                cmocka_unit_test(refills_beside_a_stream_of_claims),
                cmocka_unit_test(refills_the_sooner_the_fewer_are_left),
                cmocka_unit_test(makes_safe_members),
                cmocka_unit_test(prefers_the_fullest_node),
                cmocka_unit_test(gives_each_claim_its_own),
                cmocka_unit_test(waits_for_a_member_that_is_being_written),
                cmocka_unit_test(mirrors_no_sandbox_that_is_being_written),
                cmocka_unit_test(tells_a_claim_not_of_every_step),
                cmocka_unit_test(judges_what_claims_ask_for),
                cmocka_unit_test(injects_what_is_allowed),
                cmocka_unit_test(ends_after_its_time),
                cmocka_unit_test(never_takes_another_for_one_that_is_gone),
        };

        return run_unit_tests("controller", tests);
}
