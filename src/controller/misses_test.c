// SPDX-License-Identifier: Apache-2.0
#include "controller/bed_test.h"

#include "kinds/blueprint.h"

/*
 * The twenty easy misses of docs/controllers.md, one test each. Beside each stands the one-line
 * change that makes it fail; tools and people may try it.
 */

#define POOL_POD_LABELS                                                                            \
        "'labels':{'agents.x-k8s.io/warm-pool-sandbox':'x','agents.x-k8s.io/pool':'x'}"

/* 1. pod.c add_users(): drop "!key_is_reserved(it.key) &&". */
static void miss_01_claim_uid_is_reserved(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", OWNED_BY_CLAIM("c"),
                "'spec':{'podTemplate':{'metadata':{'labels':{'agents.x-k8s.io/claim-uid':'evil',"
                "'agents.x-k8s.io/adoptable':'true','mine':'1'}},'spec':{'containers':[]}}}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "create Pod s", "'mine':'1'");
        assert_no_plan(&bed, "create Pod s", "evil");
        assert_no_plan(&bed, "create Pod s", "adoptable");
        assert_plan(&bed, "create Pod s", "'agents.x-k8s.io/claim-uid':'u-c'");
}

/* 2. pod.c is_pool_key(): return false. */
static void miss_02_claimed_pod_loses_pool_labels(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        put_member(&bed, "m", MEMBER);
        bed_put(&bed, &kind_pod, "m-pod", OWNED_BY_SANDBOX("m") "," POOL_POD_LABELS, RUNNING_POD);
        put_claim(&bed, "", "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_plan(&bed, "patch Pod m-pod", "'agents.x-k8s.io/pool':null");
        assert_plan(&bed, "patch Pod m-pod", "'agents.x-k8s.io/warm-pool-sandbox':null");
        assert_plan(&bed, "patch Pod m-pod", "'agents.x-k8s.io/claim-uid':'u-c'");
        assert_plan(&bed, "patch Sandbox m", "'agents.x-k8s.io/warm-pool-sandbox':null");
}

/* 3. sandbox_match.c is_waiting(): drop "&& !claim_sandbox(match->seen, claim)". */
static void miss_03_binding_survives_restart(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        /* The adoption was committed, the claim was not told. */
        bed_put(&bed, &kind_sandbox, "bound", OWNED_BY_CLAIM("c"), MEMBER);
        put_member(&bed, "free", MEMBER);
        put_claim(&bed, "", "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed.plan.count, 0);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_plan(&bed, "status SandboxClaim c", "'name':'bound'");
}

/* 4. sandbox_match.c give_sandbox(): give the claim's status only if the Sandbox is ready. */
static void miss_04_pending_candidate_is_told_at_once(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        put_member(&bed, "m", "'spec':{" BLUEPRINT "}");
        put_claim(&bed, "", "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_plan(&bed, "status SandboxClaim c", "'status':'False'");
        assert_plan(&bed, "status SandboxClaim c", "'sandbox':{'name':'m'");
}

/* 5. sandbox_match.c give_pod(): drop ".pod_name = pod->meta.name". */
static void miss_05_pod_name_comes_with_the_adoption(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin_with_pool(&bed, "");
        bed_put(&bed, &kind_pod, "pod-1", OWNED_BY_POOL("p") "," POOL_POD_LABELS, RUNNING_POD);
        put_claim(&bed, "", "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_plan(&bed, "create Sandbox c", "'agents.x-k8s.io/pod-name':'pod-1'");
        assert_plan(&bed, "status SandboxClaim c", "'status':'True'");
        /* Ready is told only after the Pod is ours, and it is ours only if it is as it was seen. */
        assert_plan(&bed, "patch Pod pod-1", "'resourceVersion':'103'");
        for (size_t i = 0; i < bed.plan.count; i++) {
                if (bed.plan.actions[i].kind == &kind_sandbox_claim)
                        assert_true(bed.plan.actions[i].after > 0);
        }
}

/* 6. sandbox_match.c compare_candidates(): drop the last line's name, return 1. */
static void miss_06_same_second_is_no_order(void **state)
{
        (void)state;
        for (int swapped = 0; swapped < 2; swapped++) {
                _cleanup_bed_ struct bed bed;

                begin_with_pool(&bed, "");
                put_member(&bed, swapped ? "m2" : "m1", MEMBER);
                put_member(&bed, swapped ? "m1" : "m2", MEMBER);
                put_claim(&bed, "", "");
                bed_plan(&bed, sandbox_match_plan, "p");
                assert_plan(&bed, "patch Sandbox m1", "u-c");
                assert_no_plan(&bed, "patch Sandbox m2", "");
        }
}

/* 7. sandbox_warm_pool.c delete_member(): drop the test of "locked". */
static void miss_07_what_is_being_written_is_not_deleted(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct cache *cache;
        int owner;

        (void)state;
        bed_begin(&bed);
        cache = controllers_cache(bed.set);
        put_template(&bed);
        put_pool(&bed, ",'replicas':0");
        put_member(&bed, "m", MEMBER);
        assert_int_equal(cache_lock(cache, &kind_sandbox, STR("n"), STR("m"), &owner), 0);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_no_plan(&bed, "delete", "");
        assert_int_equal(bed.plan.wait_count, 1);
        /* Whatever became of it, the next plan sees what is true. */
        cache_unlock(cache, &kind_sandbox, STR("n"), STR("m"));
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "delete Sandbox m", "'uid':'u-m','resourceVersion':");
}

/* 8. common.c controlled_by_kind(): also compare owner.version. */
static void miss_08_owners_match_whatever_their_version(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct owner_reference owner;
        const struct cache_entry *pod;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_pod, "pod",
                "'ownerReferences':[{'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'Sandbox',"
                "'name':'s','uid':'u-s','controller':true}]",
                "'spec':{}");
        pod = cache_get(controllers_cache(bed.set), &kind_pod, STR("n"), STR("pod"));
        assert_true(controlled_by_kind(&pod->meta, &kind_sandbox, &owner));
        assert_false(controlled_by_kind(&pod->meta, &kind_sandbox_claim, &owner));
}

#define EXPIRED "'shutdownTime':'2026-11-21T11:59:59Z'"
#define FULL_STATUS(ready)                                                                         \
        "'status':{'selector':'x','podIPs':['1.2.3.4'],'conditions':[{'type':'Ready','status':"    \
        "'False','reason':'" ready "','message':'The Sandbox\\u0027s shutdownTime has passed',"    \
        "'observedGeneration':1},{'type':'Suspended',"                                             \
        "'status':'False','reason':'NotSuspended'},{'type':'Finished','status':'True','reason':"   \
        "'PodSucceeded'},{'type':'PodScheduled','status':'True','reason':'PodScheduled'}]}"

/* 9. sandbox.c write_expired_status(): drop the line that keeps Finished. */
static void miss_09_expiry_has_two_phases(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "",
                "'spec':{" BLUEPRINT "," EXPIRED "}," FULL_STATUS("PodSucceeded"));
        bed_put(&bed, &kind_pod, "s-pod", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "status Sandbox s", "'reason':'SandboxExpired'");
        assert_plan(&bed, "status Sandbox s", "'type':'Finished'");
        assert_plan(&bed, "status Sandbox s", "'type':'Suspended'");
        assert_no_plan(&bed, "status Sandbox s", "PodScheduled");
        assert_no_plan(&bed, "delete", "");
        bed_put(&bed, &kind_sandbox, "s", "",
                "'spec':{" BLUEPRINT "," EXPIRED "}," FULL_STATUS("SandboxExpired"));
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "delete Pod s-pod", "u-s-pod");
        assert_plan(&bed, "status Sandbox s", "'podIPs':null");
        assert_plan(&bed, "status Sandbox s", "'type':'Finished'");
}

/* 10. sandbox_status.c set_suspended(): return at once for NOT_SUSPENDED. */
static void miss_10_suspended_never_disappears(void **state)
{
        static const struct {
                const char *mode, *reason;
        } cases[] = { { "Running", "NotSuspended" }, { "Suspended", "PodTerminated" } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;
                char spec[256];

                bed_begin(&bed);
                snprintf(spec, sizeof(spec), "'spec':{" BLUEPRINT ",'operatingMode':'%s'}",
                         cases[i].mode);
                bed_put(&bed, &kind_sandbox, "s", "", spec);
                bed_plan(&bed, sandbox_plan, "s");
                assert_plan(&bed, "status Sandbox s", "'type':'Suspended'");
                assert_plan(&bed, "status Sandbox s", cases[i].reason);
        }
}

/* 11. sandbox.c wants_service(): drop "owned ||". */
static void miss_11_owned_service_is_required(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_put(&bed, &kind_pod, "s-pod", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_put(&bed, &kind_service, "s",
                OWNED_BY_SANDBOX("s") ",'deletionTimestamp':'2026-11-21T11:59:59Z'", "'spec':{}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "status Sandbox s", "The Service does not exist yet");
        assert_no_plan(&bed, "create Service", "");
}

/* 12. sandbox.c find_pod(): call find_named_pod() whether or not a Pod is owned. */
static void miss_12_owned_pod_beats_the_annotation(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "'annotations':{'agents.x-k8s.io/pod-name':'stale'}",
                "'spec':{" BLUEPRINT "}");
        bed_put(&bed, &kind_pod, "mine", OWNED_BY_SANDBOX("s"), RUNNING_POD);
        bed_put(&bed, &kind_pod, "stale", "", RUNNING_POD);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "patch Sandbox s", "'agents.x-k8s.io/pod-name':'mine'");
        assert_plan(&bed, "status Sandbox s", "'podIPs':['10.0.0.1']");
        assert_no_plan(&bed, "create Pod", "");
}

#define BOUND_STATUS "'status':{'sandbox':{'name':'mine','podIPs':['10.0.0.1']},'conditions':[]}"

/* 13. claim_common.c claim_refuse(): drop ".sandbox_name = typed->sandbox_name". */
static void miss_13_name_survives_errors(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox_claim, "c", "",
                "'spec':{'warmPoolRef':{'name':'p'},'additionalPodMetadata':{'labels':{'bad':'x'}}}"
                "," BOUND_STATUS);
        bed_put(&bed, &kind_sandbox, "mine", OWNED_BY_CLAIM("c"), MEMBER);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_plan(&bed, "status SandboxClaim c", "InvalidMetadata");
        assert_plan(&bed, "status SandboxClaim c", "'name':'mine'");
        /* Nor is another one taken when the Sandbox is gone. */
        put_template(&bed);
        put_pool(&bed, "");
        put_member(&bed, "other", MEMBER);
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_int_equal(bed.plan.count, 0);
}

/* 14. sandbox_claim.c plan_bound(): patch the Sandbox's template-ref hash from the pool. */
static void miss_14_pool_of_a_bound_claim_changes_nothing(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox_claim, "c", "",
                "'spec':{'warmPoolRef':{'name':'another'}}," BOUND_STATUS);
        bed_put(&bed, &kind_sandbox, "mine", OWNED_BY_CLAIM("c"), MEMBER);
        bed_plan(&bed, sandbox_claim_plan, "c");
        assert_no_plan(&bed, "patch Sandbox ", "");
        assert_plan(&bed, "status SandboxClaim c", "'name':'mine'");
}

/* 15. common.c begin_owner(): blockOwnerDeletion false. */
static void miss_15_foreground_deletion_waits(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "create Pod s", "'blockOwnerDeletion':true");
        put_template(&bed);
        put_claim(&bed, "", "");
        put_pool(&bed, "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_plan(&bed, "create Sandbox c", "'blockOwnerDeletion':true");
        bed_put(&bed, &kind_sandbox_claim, "e", "",
                "'spec':{'warmPoolRef':{'name':'p'},'lifecycle':{" EXPIRED ",'shutdownPolicy':"
                "'DeleteForeground'}},'status':{'conditions':[{'type':'Ready','status':'False',"
                "'reason':'ClaimExpired'}]}");
        bed_plan(&bed, sandbox_claim_plan, "e");
        assert_plan(&bed, "delete SandboxClaim e", "'propagationPolicy':'Foreground'");
}

/* 16. sandbox_status.c sandbox_status_write(): write podIPs only if there are any. */
static void miss_16_addresses_go_with_the_pod(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, "s", "",
                "'spec':{" BLUEPRINT ",'operatingMode':'Suspended'}," READY_STATUS);
        bed_plan(&bed, sandbox_plan, "s");
        assert_plan(&bed, "status Sandbox s", "'podIPs':null");
        assert_plan(&bed, "status Sandbox s", "'nodeName':null");
        assert_plan(&bed, "status Sandbox s", "'selector':'agents.x-k8s.io/sandbox-name-hash=");
}

static void hash_of(const char *blueprint, char text[static BLUEPRINT_HASH_SIZE])
{
        _cleanup_buffer_ struct buffer spec = { 0 };
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct sandbox_template template;

        assert_int_equal(buffer_printf(&spec, "{'spec':{%s}}", blueprint), 0);
        for (size_t i = 0; i < spec.length; i++) {
                if (spec.data[i] == '\'')
                        spec.data[i] = '"';
        }
        assert_int_equal(json_doc_parse(buffer_str(&spec), NULL, NULL, NULL, &doc), 0);
        sandbox_template_read(json_root(doc), &template);
        blueprint_hash(&template.blueprint, text);
}

/* 17. blueprint.c hash_blueprint(): also hash pod_labels. */
static void miss_17_metadata_does_not_make_stale(void **state)
{
        static const struct {
                const char *blueprint;
                bool same;
        } cases[] = {
                { "'podTemplate':{'metadata':{'labels':{'a':'b'},'annotations':{'c':'d'}},'spec':{"
                  "'containers':[{'name':'c','image':'i:1','resources':{'limits':{'cpu':'1'}}}]}}",
                  true },
                { "'podTemplate':{'spec':{'restartPolicy':'Always','containers':[{'image':'i:1',"
                  "'name':'c','imagePullPolicy':'IfNotPresent','resources':{'limits':{'cpu':"
                  "'1000m'},'requests':{'cpu':1}}}],'dnsPolicy':'ClusterFirst'}}",
                  true },
                { "'podTemplate':{'spec':{'containers':[{'name':'c','image':'i:2','resources':{"
                  "'limits':{'cpu':'1'}}}]}}",
                  false },
                { "'podTemplate':{'spec':{'containers':[{'name':'c','image':'i:1','resources':{"
                  "'limits':{'cpu':'2'}}}]}}",
                  false },
                { "'podTemplate':{'spec':{'containers':[{'name':'c','image':'i:1','resources':{"
                  "'limits':{'cpu':'1'}}}]}},'service':true",
                  false },
                { "'podTemplate':{'spec':{'hostNetwork':true,'containers':[{'name':'c','image':"
                  "'i:1','resources':{'limits':{'cpu':'1'}}}]}}",
                  false },
        };
        char first[BLUEPRINT_HASH_SIZE], other[BLUEPRINT_HASH_SIZE];

        (void)state;
        hash_of("'podTemplate':{'spec':{'containers':[{'name':'c','image':'i:1','resources':{"
                "'limits':{'cpu':'1'}}}]}}",
                first);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                hash_of(cases[i].blueprint, other);
                if ((strcmp(first, other) == 0) != cases[i].same)
                        fail_msg("case %zu: %s and %s", i, first, other);
        }
}

/* 18. sandbox.c plan_living(): drop the test of the name. */
static void miss_18_long_names_are_refused(void **state)
{
        static const char name[] =
                "a123456789012345678901234567890123456789012345678901234567890123";
        _cleanup_bed_ struct bed bed;

        (void)state;
        assert_int_equal(sizeof(name) - 1, 64);
        bed_begin(&bed);
        bed_put(&bed, &kind_sandbox, name, "", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_plan, name);
        assert_no_plan(&bed, "create", "");
        assert_plan(&bed, "status Sandbox", "at most 63 characters");
}

/* 19. sandbox.c find_named_pod(): ask may_adopt() of Pods that have a controller too. */
static void miss_19_hashes_do_not_bind(void **state)
{
        _cleanup_bed_ struct bed bed;
        char hash[NAME_HASH_SIZE], labels[256];

        (void)state;
        begin_with_pool(&bed, ",'replicas':0");
        snprintf(labels, sizeof(labels),
                 OWNED_BY_POOL("q") ",'labels':{'agents.x-k8s.io/warm-pool-sandbox':'%.8s'}",
                 name_hash(STR("p"), hash).data);
        bed_put(&bed, &kind_sandbox, "other", labels, MEMBER);
        put_claim(&bed, "", "");
        bed_plan(&bed, sandbox_match_plan, "p");
        assert_no_plan(&bed, "patch Sandbox other", "");
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_no_plan(&bed, "delete", "");
        /* A Pod with our name's hash that is another Sandbox's is not ours either. */
        snprintf(labels, sizeof(labels),
                 OWNED_BY_SANDBOX("other") ",'labels':{'agents.x-k8s.io/sandbox-name-hash':'%.8s'}",
                 name_hash(STR("s"), hash).data);
        bed_put(&bed, &kind_pod, "s", labels, RUNNING_POD);
        bed_put(&bed, &kind_sandbox, "s", "", "'spec':{" BLUEPRINT "}");
        bed_plan(&bed, sandbox_plan, "s");
        assert_no_plan(&bed, "patch Pod", "");
        assert_plan(&bed, "status Sandbox s", "exists and is not of this Sandbox");
}

/* 20. cache.c cache_list_end(): remove nothing. */
static void miss_20_resync_finds_what_a_watch_lost(void **state)
{
        _cleanup_bed_ struct bed bed;
        struct cache *cache;

        (void)state;
        bed_begin(&bed);
        cache = controllers_cache(bed.set);
        put_template(&bed);
        put_pool(&bed, ",'replicas':1");
        put_member(&bed, "m", MEMBER);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_no_plan(&bed, "create", "");
        /* The member's deletion was never told; the next list lacks it. */
        cache_list_begin(cache, &kind_sandbox);
        assert_int_equal(cache_list_end(cache, &kind_sandbox, bed.version + 1), 0);
        bed_plan(&bed, sandbox_warm_pool_plan, "p");
        assert_plan(&bed, "create Sandbox p-", "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(miss_01_claim_uid_is_reserved),
                cmocka_unit_test(miss_02_claimed_pod_loses_pool_labels),
                cmocka_unit_test(miss_03_binding_survives_restart),
                cmocka_unit_test(miss_04_pending_candidate_is_told_at_once),
                cmocka_unit_test(miss_05_pod_name_comes_with_the_adoption),
                cmocka_unit_test(miss_06_same_second_is_no_order),
                cmocka_unit_test(miss_07_what_is_being_written_is_not_deleted),
                cmocka_unit_test(miss_08_owners_match_whatever_their_version),
                cmocka_unit_test(miss_09_expiry_has_two_phases),
                cmocka_unit_test(miss_10_suspended_never_disappears),
                cmocka_unit_test(miss_11_owned_service_is_required),
                cmocka_unit_test(miss_12_owned_pod_beats_the_annotation),
                cmocka_unit_test(miss_13_name_survives_errors),
                cmocka_unit_test(miss_14_pool_of_a_bound_claim_changes_nothing),
                cmocka_unit_test(miss_15_foreground_deletion_waits),
                cmocka_unit_test(miss_16_addresses_go_with_the_pod),
                cmocka_unit_test(miss_17_metadata_does_not_make_stale),
                cmocka_unit_test(miss_18_long_names_are_refused),
                cmocka_unit_test(miss_19_hashes_do_not_bind),
                cmocka_unit_test(miss_20_resync_finds_what_a_watch_lost),
        };

        return run_unit_tests("misses", tests);
}
