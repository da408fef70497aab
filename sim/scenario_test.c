// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <stdio.h>

#include "base/clock.h"
#include "kinds/core.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"
#include "world.h"

/* Stories with all controllers in a calm world: what is asked for, time, what has become of it. */

#define SECOND NS_PER_SECOND

static void begin_seed(struct world *world, uint64_t seed)
{
        const struct world_options options = { .seed = seed };

        world_open(world, &options);
        users_prepare(world);
        world_pass(world, SECOND);
}

static void begin(struct world *world)
{
        begin_seed(world, 7);
}

static void end(struct world *world)
{
        assert_string_equal(world->failure, "");
        world_close(world);
}

static struct str quoted(struct world *world, const char *text)
{
        struct str copy = arena_str(&world->arena, str_from(text));

        for (size_t i = 0; i < copy.length; i++) {
                if (copy.data[i] == '\'')
                        ((char *)copy.data)[i] = '"';
        }
        return copy;
}

static void done(struct outcome outcome, int status)
{
        assert_int_equal(outcome.status, status);
        if (outcome.object)
                json_doc_unref(outcome.object);
}

static void create(struct world *world, const struct kind *kind, const char *text)
{
        done(api_create(world->api, kind, quoted(world, text)), 201);
}

static void patch(struct world *world, const struct kind *kind, const char *name, const char *text)
{
        done(api_patch(world->api, kind, STR("n"), str_from(name), quoted(world, text), false),
             200);
}

static void delete (struct world *world, const struct kind *kind, const char *name,
                    const char *options)
{
        done(api_delete(world->api, kind, kind->namespaced ? STR("n") : STR_EMPTY, str_from(name),
                        quoted(world, options)),
             200);
}

static struct json_value get(struct world *world, const struct kind *kind, const char *name)
{
        struct json_doc *doc =
                api_get(world->api, kind, kind->namespaced ? STR("n") : STR_EMPTY, str_from(name));
        struct json_value none = { 0 };

        return doc ? json_root(doc) : none;
}

static void count_one(void *context, struct json_doc *doc)
{
        (void)doc;
        ++*(size_t *)context;
}

static size_t count(struct world *world, const struct kind *kind)
{
        size_t number = 0;

        api_each(world->api, kind, count_one, &number);
        return number;
}

static bool is_true(struct world *world, const struct kind *kind, const char *name,
                    const char *condition)
{
        return condition_is_true(json_get(get(world, kind, name), "status", "conditions"),
                                 str_from(condition));
}

#define TEMPLATE                                                                                   \
        "{'metadata':{'name':'t','namespace':'n'},'spec':{'podTemplate':{'spec':{'containers':[{"  \
        "'name':'c','image':'i','ports':[{'containerPort':8888}]}]}}}}"
#define POOL(old, replicas)                                                                        \
        "{'metadata':{'name':'p','namespace':'n'" old "},'spec':{'replicas':" replicas             \
        ",'sandboxTemplateRef':{'name':'t'}}}"
#define CLAIM(name, old, pool)                                                                     \
        "{'metadata':{'name':'" name "','namespace':'n'" old                                       \
        "},'spec':{'warmPoolRef':{'name':'" pool "'}}}"
#define OLD                                                                                        \
        ",'managedFields':[{'apiVersion':'extensions.agents.x-k8s.io/v1alpha1','time':"            \
        "'2026-01-01T00:00:00Z'}]"

static uint64_t writes(struct world *world)
{
        const struct executor_counters *counters =
                controllers_counters(process_set(world->process));

        return counters->writes - counters->events;
}

/* ---- what things cost ---- */

static void costs(void **state)
{
        struct world world;
        uint64_t before;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox_template, TEMPLATE);
        world_pass(&world, SECOND);

        before = writes(&world);
        create(&world, &kind_sandbox,
               "{'metadata':{'name':'s','namespace':'n'},'spec':{'podTemplate':{'spec':{"
               "'containers':[{'name':'c'}]}}}}");
        world_pass(&world, 10 * SECOND);
        assert_true(is_true(&world, &kind_sandbox, "s", "Ready"));
        /* The Pod, "not ready", "ready"; binding is not the controller's. */
        assert_int_equal(writes(&world) - before, 3 + 1);

        create(&world, &kind_sandbox_warm_pool, POOL("", "0"));
        world_pass(&world, 5 * SECOND);
        before = writes(&world);
        create(&world, &kind_sandbox_claim, CLAIM("cold", "", "p"));
        world_pass(&world, 10 * SECOND);
        assert_true(is_true(&world, &kind_sandbox_claim, "cold", "Ready"));
        assert_in_range(writes(&world) - before, 1, 6 + 1);

        before = writes(&world);
        patch(&world, &kind_sandbox_warm_pool, "p", "{'spec':{'replicas':10}}");
        world_pass(&world, 10 * SECOND);
        /* Four a member and its binding; the pool's status a few times. */
        assert_in_range(writes(&world) - before, 10 * 4, 10 * (4 + 1) + 4);

        before = writes(&world);
        create(&world, &kind_sandbox_claim, CLAIM("warm", "", "p"));
        world_pass(&world, 10 * SECOND);
        assert_true(is_true(&world, &kind_sandbox_claim, "warm", "Ready"));
        /* Three, and one member anew. */
        assert_in_range(writes(&world) - before, 3 + 4, 3 + 4 + 1 + 3);
        end(&world);
}

/* ---- both generations ---- */

static void pods_of_the_first_generation(void **state)
{
        struct world world;
        struct json_value claim, sandbox, pod;
        struct str pod_name;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox_template, TEMPLATE);
        create(&world, &kind_sandbox_warm_pool, POOL(OLD, "2"));
        world_pass(&world, 5 * SECOND);
        assert_int_equal(count(&world, &kind_pod), 2);
        assert_int_equal(count(&world, &kind_sandbox), 0);
        assert_true(is_true(&world, &kind_sandbox_warm_pool, "p", "Ready"));
        assert_true(json_string_is(json_get(get(&world, &kind_sandbox_warm_pool, "p"), "metadata",
                                            "annotations", "cay.dev/generation"),
                                   STR("v1alpha1")));

        create(&world, &kind_sandbox_claim, CLAIM("c", OLD, "shadow-pool-t"));
        world_pass(&world, 5 * SECOND);
        claim = get(&world, &kind_sandbox_claim, "c");
        assert_true(json_string_is(json_get(claim, "status", "sandbox", "name"), STR("c")));
        assert_true(is_true(&world, &kind_sandbox_claim, "c", "Ready"));
        sandbox = get(&world, &kind_sandbox, "c");
        assert_true(is_true(&world, &kind_sandbox, "c", "Ready"));
        pod_name = json_string(
                json_get(sandbox, "metadata", "annotations", "agents.x-k8s.io/pod-name"));
        assert_true(str_starts_with(pod_name, STR("p-")));
        pod = json_root(api_get(world.api, &kind_pod, STR("n"), pod_name));
        assert_false(json_exists(json_get(pod, "metadata", "labels", "agents.x-k8s.io/pool")));
        assert_true(json_exists(
                json_get(pod, "metadata", "labels", "agents.x-k8s.io/sandbox-template-ref-hash")));
        /* It always had a Service, and the router of that time asks DNS. */
        assert_true(json_exists(get(&world, &kind_service, "c")));
        assert_int_equal(count(&world, &kind_pod), 3);

        /* A claim that wants none of it. */
        delete (&world, &kind_sandbox_claim, "c", "{}");
        world_pass(&world, 5 * SECOND);
        assert_int_equal(count(&world, &kind_pod), 2);
        assert_int_equal(count(&world, &kind_service), 0);
        end(&world);
}

static void generations_mix(void **state)
{
        struct world world;
        struct json_value claim;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox_template, TEMPLATE);
        create(&world, &kind_sandbox_warm_pool, POOL("", "1"));
        world_pass(&world, 5 * SECOND);
        /* An old claim by template takes a Sandbox of a new pool, in place. */
        create(&world, &kind_sandbox_claim, CLAIM("old", OLD, "shadow-pool-t"));
        world_pass(&world, 5 * SECOND);
        claim = get(&world, &kind_sandbox_claim, "old");
        assert_true(str_starts_with(json_string(json_get(claim, "status", "sandbox", "name")),
                                    STR("p-")));
        assert_true(is_true(&world, &kind_sandbox_claim, "old", "Ready"));
        /* Later writes in the other version do not change what the pool makes. */
        patch(&world, &kind_sandbox_warm_pool, "p",
              "{'metadata':{'managedFields':[{'apiVersion':'extensions.agents.x-k8s.io/v1alpha1',"
              "'time':'2025-01-01T00:00:00Z'}]},'spec':{'replicas':3}}");
        world_pass(&world, 5 * SECOND);
        assert_int_equal(count(&world, &kind_sandbox), 4);
        end(&world);
}

/* ---- a life ---- */

static void suspends_and_resumes(void **state)
{
        struct world world;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox,
               "{'metadata':{'name':'s','namespace':'n'},'spec':{'service':true,'podTemplate':{"
               "'spec':{'containers':[{'name':'c'}]}},'volumeClaimTemplates':[{'metadata':{'name':"
               "'v'},'spec':{'resources':{'requests':{'storage':'1Gi'}}}}]}}");
        world_pass(&world, 3 * SECOND);
        assert_true(is_true(&world, &kind_sandbox, "s", "Ready"));
        assert_true(json_string_is(
                json_get(get(&world, &kind_persistent_volume_claim, "v-s"), "status", "phase"),
                STR("Bound")));
        assert_int_equal(count(&world, &kind_persistent_volume), 1);
        patch(&world, &kind_sandbox, "s", "{'spec':{'operatingMode':'Suspended'}}");
        world_pass(&world, 3 * SECOND);
        assert_true(is_true(&world, &kind_sandbox, "s", "Suspended"));
        assert_int_equal(count(&world, &kind_pod), 0);
        assert_int_equal(count(&world, &kind_service), 1);
        patch(&world, &kind_sandbox, "s", "{'spec':{'operatingMode':'Running'}}");
        world_pass(&world, 3 * SECOND);
        assert_true(is_true(&world, &kind_sandbox, "s", "Ready"));
        assert_false(is_true(&world, &kind_sandbox, "s", "Suspended"));
        delete (&world, &kind_sandbox, "s", "{}");
        world_pass(&world, 10 * SECOND);
        assert_int_equal(count(&world, &kind_pod), 0);
        assert_int_equal(count(&world, &kind_persistent_volume_claim), 0);
        assert_int_equal(count(&world, &kind_persistent_volume), 0);
        end(&world);
}

static void foreground_deletion_waits_for_the_pod(void **state)
{
        struct world world;
        bool visible = false;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox_template, TEMPLATE);
        create(&world, &kind_sandbox_warm_pool, POOL("", "0"));
        create(&world, &kind_sandbox_claim, CLAIM("c", "", "p"));
        world_pass(&world, 3 * SECOND);
        delete (&world, &kind_sandbox_claim, "c", "{'propagationPolicy':'Foreground'}");
        for (unsigned i = 0; i < 2000 && json_exists(get(&world, &kind_sandbox_claim, "c")); i++) {
                visible |= json_exists(get(&world, &kind_sandbox, "c"));
                world_pass(&world, NS_PER_MS);
        }
        assert_true(visible);
        assert_false(json_exists(get(&world, &kind_sandbox_claim, "c")));
        assert_int_equal(count(&world, &kind_pod), 0);
        end(&world);
}

static void orphans_stay(void **state)
{
        struct world world;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox,
               "{'metadata':{'name':'s','namespace':'n'},'spec':{'podTemplate':{'spec':{"
               "'containers':[{'name':'c'}]}}}}");
        world_pass(&world, 3 * SECOND);
        delete (&world, &kind_sandbox, "s", "{'propagationPolicy':'Orphan'}");
        world_pass(&world, 20 * SECOND);
        assert_false(json_exists(get(&world, &kind_sandbox, "s")));
        assert_int_equal(count(&world, &kind_pod), 1);
        assert_int_equal(
                json_count(json_get(get(&world, &kind_pod, "s"), "metadata", "ownerReferences")),
                0);
        end(&world);
}

static void missing_pool_is_told_after_a_while(void **state)
{
        struct world world;
        struct condition ready;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox_claim, CLAIM("c", "", "late"));
        world_pass(&world, SECOND);
        assert_true(condition_find(
                json_get(get(&world, &kind_sandbox_claim, "c"), "status", "conditions"),
                STR("Ready"), &ready));
        assert_true(str_equal(ready.reason, STR("SandboxCreatePending")));
        world_pass(&world, 3 * SECOND);
        assert_true(condition_find(
                json_get(get(&world, &kind_sandbox_claim, "c"), "status", "conditions"),
                STR("Ready"), &ready));
        assert_true(str_equal(ready.reason, STR("WarmPoolNotFound")));
        create(&world, &kind_sandbox_template, TEMPLATE);
        create(&world, &kind_sandbox_warm_pool,
               "{'metadata':{'name':'late','namespace':'n'},'spec':{'replicas':0,"
               "'sandboxTemplateRef':{'name':'t'}}}");
        world_pass(&world, 3 * SECOND);
        assert_true(is_true(&world, &kind_sandbox_claim, "c", "Ready"));
        end(&world);
}

/* ---- the cluster's parts ---- */

static void services_have_endpoints(void **state)
{
        struct world world;
        struct json_value slice;

        (void)state;
        begin(&world);
        create(&world, &kind_sandbox,
               "{'metadata':{'name':'s','namespace':'n'},'spec':{'service':true,'podTemplate':{"
               "'spec':{'containers':[{'name':'c','ports':[{'containerPort':8888}]}]}}}}");
        world_pass(&world, 3 * SECOND);
        assert_int_equal(count(&world, &kind_endpoint_slice), 1);
        slice = json_root(api_change(world.api, &kind_endpoint_slice,
                                     api_history(world.api, &kind_endpoint_slice) - 1)
                                  ->doc);
        assert_int_equal(json_count(json_get(slice, "endpoints")), 1);
        assert_int_equal(
                json_int64_or(json_get(json_element(json_get(slice, "ports"), 0), "port"), 0),
                8888);
        assert_true(json_bool_or(
                json_get(json_element(json_get(slice, "endpoints"), 0), "conditions", "ready"),
                false));
        end(&world);
}

#define DEPLOYMENT(image)                                                                          \
        "{'metadata':{'name':'d','namespace':'n'},'spec':{'replicas':4,'selector':{'matchLabels':" \
        "{'app':'d'}},'template':{'metadata':{'labels':{'app':'d'}},'spec':{'containers':[{"       \
        "'name':'c','image':'" image "'}]}}}}"

static void deployments_roll(void **state)
{
        struct world world;
        int64_t fewest = 4;

        (void)state;
        begin(&world);
        create(&world, &kind_deployment, DEPLOYMENT("one"));
        world_pass(&world, 5 * SECOND);
        assert_int_equal(count(&world, &kind_pod), 4);
        assert_true(is_true(&world, &kind_deployment, "d", "Available"));
        patch(&world, &kind_deployment, "d",
              "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'two'}]}}}}");
        for (unsigned i = 0; i < 100; i++) {
                world_pass(&world, SECOND / 10);
                fewest = MIN(fewest, json_int64_or(json_get(get(&world, &kind_deployment, "d"),
                                                            "status", "availableReplicas"),
                                                   0));
                assert_in_range(count(&world, &kind_pod), 3, 5 + 4);
        }
        assert_true(fewest >= 3);
        assert_int_equal(count(&world, &kind_pod), 4);
        assert_int_equal(count(&world, &kind_replica_set), 2);
        assert_int_equal(json_int64_or(json_get(get(&world, &kind_deployment, "d"), "status",
                                                "updatedReplicas"),
                                       0),
                         4);
        delete (&world, &kind_deployment, "d", "{}");
        world_pass(&world, 10 * SECOND);
        assert_int_equal(count(&world, &kind_pod), 0);
        assert_int_equal(count(&world, &kind_replica_set), 0);
        end(&world);
}

static void mirrors_are_left_alone(void **state)
{
        struct world world;

        (void)state;
        begin(&world);
        create(&world, &kind_deployment,
               "{'metadata':{'name':'d','namespace':'n','annotations':{'cay.dev/"
               "mirror':''}},'spec':"
               "{'replicas':1,'template':{}}}");
        world_pass(&world, 5 * SECOND);
        assert_int_equal(count(&world, &kind_replica_set), 0);
        end(&world);
}

static void empties_namespaces(void **state)
{
        struct world world;

        (void)state;
        begin(&world);
        create(&world, &kind_namespace,
               "{'metadata':{'name':'m'},'spec':{'finalizers':['kubernetes']}}");
        create(&world, &kind_sandbox,
               "{'metadata':{'name':'s','namespace':'m'},'spec':{'podTemplate':{'spec':{"
               "'containers':[{'name':'c'}]}}}}");
        world_pass(&world, 3 * SECOND);
        assert_non_null(api_get(world.api, &kind_service_account, STR("m"), STR("default")));
        assert_non_null(api_get(world.api, &kind_pod, STR("m"), STR("s")));
        delete (&world, &kind_namespace, "m", "{}");
        world_pass(&world, 10 * SECOND);
        assert_false(json_exists(get(&world, &kind_namespace, "m")));
        assert_null(api_get(world.api, &kind_pod, STR("m"), STR("s")));
        assert_null(api_get(world.api, &kind_service_account, STR("m"), STR("default")));
        /* The other one is as it was. */
        assert_true(json_exists(get(&world, &kind_namespace, "n")));
        end(&world);
}

/* `pause_ns`: between the first Pod and the second, while the first is being bound. */
static void wait_for_room(uint64_t seed, uint64_t pause_ns)
{
        struct world world;

        begin_seed(&world, seed);
        create(&world, &kind_pod,
               "{'metadata':{'name':'big','namespace':'n'},'spec':{'containers':[{'resources':{"
               "'requests':{'memory':'15Gi'}}}]}}");
        world_pass(&world, pause_ns);
        create(&world, &kind_pod,
               "{'metadata':{'name':'late','namespace':'n'},'spec':{'containers':[{'resources':{"
               "'limits':{'memory':'2Gi'}}}]}}");
        world_pass(&world, 3 * SECOND);
        /* 16 GiB hold the first; the second waits and says why. */
        assert_true(is_true(&world, &kind_pod, "big", "Ready"));
        assert_false(is_true(&world, &kind_pod, "late", "PodScheduled"));
        assert_int_equal(
                json_count(json_get(get(&world, &kind_pod, "late"), "status", "conditions")), 1);
        delete (&world, &kind_pod, "big", "{}");
        world_pass(&world, 3 * SECOND);
        assert_true(is_true(&world, &kind_pod, "late", "Ready"));
        end(&world);
}

static void pods_wait_for_room(void **state)
{
        (void)state;
        for (uint64_t seed = 0; seed < 60; seed++)
                wait_for_room(seed, seed / 2 * NS_PER_MS);
}

static void events_expire(void **state)
{
        struct world world;

        (void)state;
        begin(&world);
        create(&world, &kind_event,
               "{'metadata':{'name':'e','namespace':'n'},'lastTimestamp':'2027-01-15T08:00:00Z'}");
        world_pass(&world, 1800 * SECOND);
        assert_int_equal(count(&world, &kind_event), 1);
        world_pass(&world, 1900 * SECOND);
        assert_int_equal(count(&world, &kind_event), 0);
        end(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(costs),
                cmocka_unit_test(pods_of_the_first_generation),
                cmocka_unit_test(generations_mix),
                cmocka_unit_test(suspends_and_resumes),
                cmocka_unit_test(foreground_deletion_waits_for_the_pod),
                cmocka_unit_test(orphans_stay),
                cmocka_unit_test(missing_pool_is_told_after_a_while),
                cmocka_unit_test(services_have_endpoints),
                cmocka_unit_test(deployments_roll),
                cmocka_unit_test(mirrors_are_left_alone),
                cmocka_unit_test(empties_namespaces),
                cmocka_unit_test(pods_wait_for_room),
                cmocka_unit_test(events_expire),
        };

        return run_unit_tests("scenario", tests);
}
