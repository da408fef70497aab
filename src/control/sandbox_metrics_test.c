// SPDX-License-Identifier: Apache-2.0
#include "control/sandbox_metrics.h"

#include <string.h>

#include "base/clock.h"
#include "base/test.h"
#include "kinds/kind.h"

struct fixture {
        struct metrics *metrics;
        struct controllers *set;
        struct sandbox_metrics *ours;
        struct executor_backend backend;
        bool counts;
        unsigned version;
};

static void never(void *context, struct submission *submission)
{
        (void)context;
        (void)submission;
        fail_msg("metrics write nothing");
}

static bool counts(void *user)
{
        return ((const struct fixture *)user)->counts;
}

static void set_up(struct fixture *f, bool extensions)
{
        *f = (struct fixture){ .backend = { .submit = never }, .counts = true, .version = 10 };
        assert_int_equal(metrics_new(&f->metrics), 0);
        assert_int_equal(controllers_new(NULL, &f->backend, &f->set), 0);
        const struct sandbox_metrics_options options = { .metrics = f->metrics,
                                                         .set = f->set,
                                                         .extensions = extensions,
                                                         .counts = counts,
                                                         .user = f };
        assert_int_equal(sandbox_metrics_new(&options, &f->ours), 0);
}

static void tear_down(struct fixture *f)
{
        controllers_free(f->set);
        sandbox_metrics_free(f->ours);
        metrics_free(f->metrics);
}

/* Feeds an object: members of metadata, then other members, with ' for ". */
static void feed(struct fixture *f, const struct kind *kind, enum cache_event event,
                 const char *name, const char *metadata, const char *rest)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;

        assert_int_equal(buffer_printf(&text,
                                       "{'metadata':{'name':'%s','namespace':'n','uid':'u-%s',"
                                       "'resourceVersion':'%u'%s%s}%s%s}",
                                       name, name, ++f->version, metadata[0] ? "," : "", metadata,
                                       rest[0] ? "," : "", rest),
                         0);
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] == '\'')
                        text.data[i] = '"';
        assert_int_equal(json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &doc), 0);
        assert_true(controllers_feed(f->set, kind, event, doc) >= 0);
}

static void expect(struct fixture *f, const char *line, bool there)
{
        _cleanup_buffer_ struct buffer page = {};

        assert_int_equal(metrics_render(f->metrics, &page), 0);
        assert_int_equal(buffer_append_char(&page, '\0'), 0);
        if ((strstr(page.data, line) != NULL) != there)
                fail_msg("%s %s:\n%s", there ? "lacks" : "has", line, page.data);
}

#define OWNER(kind_, name_)                                                                        \
        "'ownerReferences':[{'apiVersion':'extensions.agents.x-k8s.io/v1beta1','kind':'" kind_     \
        "','name':'" name_ "','uid':'u-" name_ "','controller':true}]"
#define READY(value_, reason_)                                                                     \
        "'status':{'conditions':[{'type':'Ready','status':'" value_ "','reason':'" reason_         \
        "','lastTransitionTime':'2026-01-01T00:00:03Z'}]}"
#define WARM                                                                                       \
        "'creationTimestamp':'2026-01-01T00:00:01Z',"                                              \
        "'labels':{'agents.x-k8s.io/launch-type':'warm','agents.x-k8s.io/created-by':'me'},"       \
        "'annotations':{'agents.x-k8s.io/sandbox-template-ref':'t'},"

static void sandboxes_are_counted_by_what_they_are(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, false);
        feed(&f, &kind_sandbox, CACHE_ADDED, "a", "", "");
        feed(&f, &kind_sandbox, CACHE_ADDED, "b", "", "");
        expect(&f,
               "agent_sandboxes{namespace=\"n\",ready_condition=\"false\",expired=\"false\","
               "launch_type=\"cold\",sandbox_template=\"unknown\",owned_by=\"None\","
               "created_by=\"unknown\"} 2\n",
               true);
        feed(&f, &kind_sandbox, CACHE_MODIFIED, "a", WARM OWNER("SandboxWarmPool", "p"),
             READY("True", "DependenciesReady"));
        feed(&f, &kind_sandbox, CACHE_MODIFIED, "b",
             "'labels':{'agents.x-k8s.io/created-by':"
             "'python-client'}",
             READY("False", "SandboxExpired"));
        expect(&f,
               "ready_condition=\"true\",expired=\"false\",launch_type=\"warm\","
               "sandbox_template=\"t\",owned_by=\"SandboxWarmPool\",created_by=\"unknown\"} 1\n",
               true);
        expect(&f,
               "ready_condition=\"false\",expired=\"true\",launch_type=\"cold\","
               "sandbox_template=\"unknown\",owned_by=\"None\",created_by=\"python-client\"} 1\n",
               true);
        feed(&f, &kind_sandbox, CACHE_DELETED, "a", "", "");
        expect(&f, "owned_by=\"SandboxWarmPool\",created_by=\"unknown\"} 0\n", true);
        /* Everything told anew, as after want of memory, counts once. */
        controllers_resync(f.set);
        expect(&f, "owned_by=\"None\",created_by=\"python-client\"} 1\n", true);
        expect(&f, "agent_sandbox_claim", false);
        tear_down(&f);
}

static void a_sandbox_that_a_claim_gets_is_counted_once(void **state)
{
        static const char warm[] =
                "agent_sandbox_claim_creation_total{namespace=\"n\",sandbox_template=\"t\","
                "launch_type=\"warm\",warmpool_name=\"p\",pod_condition=\"ready\","
                "created_by=\"go-client\"} 1\n";
        struct fixture f;

        (void)state;
        set_up(&f, true);
        feed(&f, &kind_sandbox_claim, CACHE_ADDED, "c",
             "'labels':{'agents.x-k8s.io/created-by':'go-client'}",
             "'spec':{'warmPoolRef':{'name':'p'}}");
        feed(&f, &kind_sandbox, CACHE_ADDED, "m", WARM OWNER("SandboxWarmPool", "p"),
             READY("True", "DependenciesReady"));
        expect(&f, "agent_sandbox_claim_creation_total", false);
        feed(&f, &kind_sandbox, CACHE_MODIFIED, "m", WARM OWNER("SandboxClaim", "c"),
             READY("True", "DependenciesReady"));
        expect(&f, warm, true);
        feed(&f, &kind_sandbox, CACHE_MODIFIED, "m", WARM OWNER("SandboxClaim", "c"), "");
        expect(&f, warm, true);
        feed(&f, &kind_sandbox, CACHE_ADDED, "cold", OWNER("SandboxClaim", "gone"), "");
        expect(&f,
               "sandbox_template=\"__unknown__\",launch_type=\"cold\",warmpool_name=\"\","
               "pod_condition=\"not_ready\",created_by=\"unknown\"} 1\n",
               true);
        f.counts = false;
        feed(&f, &kind_sandbox, CACHE_ADDED, "others", OWNER("SandboxClaim", "gone"), "");
        expect(&f, "pod_condition=\"not_ready\",created_by=\"unknown\"} 1\n", true);
        tear_down(&f);
}

static void feed_claim(struct fixture *f, const char *name, const char *annotations,
                       const char *status)
{
        _cleanup_buffer_ struct buffer metadata = {}, rest = {};

        assert_int_equal(buffer_printf(&metadata, "'annotations':{%s}%c", annotations, '\0'), 0);
        assert_int_equal(buffer_printf(&rest,
                                       "'status':{'sandbox':{'name':'m'},'conditions':[{'type':"
                                       "'Ready','status':'%s'}]}%c",
                                       status, '\0'),
                         0);
        feed(f, &kind_sandbox_claim, CACHE_MODIFIED, name, metadata.data, rest.data);
}

#define COUNT(family_, count_)                                                                     \
        "agent_sandbox_" family_ "_count{launch_type=\"warm\",sandbox_template=\"t\"} " count_ "\n"

static void the_time_until_ready_is_told_once(void **state)
{
        static const char controller[] = "claim_controller_startup_latency_ms",
                          annotations[] = "'agents.x-k8s.io/client-first-requested-at':"
                                          "'2026-01-01T00:00:00.5Z',"
                                          "'agents.x-k8s.io/webhook-first-observed-at':'soon'";
        struct fixture f;

        (void)state;
        set_up(&f, true);
        feed(&f, &kind_sandbox, CACHE_ADDED, "m", WARM OWNER("SandboxClaim", "c"),
             READY("True", "DependenciesReady"));
        feed_claim(&f, "c", annotations, "False");
        expect(&f, controller, false);
        feed_claim(&f, "c", annotations, "True");
        expect(&f, COUNT("claim_controller_startup_latency_ms", "1"), true);
        expect(&f, COUNT("client_claim_startup_latency_ms", "1"), true);
        expect(&f, "agent_sandbox_claim_startup_latency_ms", false);
        expect(&f,
               "agent_sandbox_creation_latency_ms_sum{namespace=\"n\",launch_type=\"warm\","
               "sandbox_template=\"t\"} 2000\n",
               true);
        feed_claim(&f, "c", annotations, "False");
        feed_claim(&f, "c", annotations, "True");
        expect(&f, COUNT("claim_controller_startup_latency_ms", "1"), true);

        feed_claim(&f, "ready-before-us", "", "True");
        feed_claim(&f, "gone", "", "False");
        feed(&f, &kind_sandbox_claim, CACHE_DELETED, "gone", "", "");
        f.counts = false;
        feed_claim(&f, "of-another-leader", "", "False");
        feed_claim(&f, "of-another-leader", "", "True");
        f.counts = true;
        feed_claim(&f, "of-another-leader", "", "False");
        feed_claim(&f, "of-another-leader", "", "True");
        expect(&f, COUNT("claim_controller_startup_latency_ms", "1"), true);

        feed_claim(&f, "d", "'agents.x-k8s.io/webhook-first-observed-at':'2026-01-01T00:00:00Z'",
                   "False");
        feed_claim(&f, "d", "'agents.x-k8s.io/webhook-first-observed-at':'2026-01-01T00:00:00Z'",
                   "True");
        expect(&f, COUNT("claim_startup_latency_ms", "1"), true);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sandboxes_are_counted_by_what_they_are),
                cmocka_unit_test(a_sandbox_that_a_claim_gets_is_counted_once),
                cmocka_unit_test(the_time_until_ready_is_told_once),
        };
        return run_unit_tests("sandbox_metrics", tests);
}
