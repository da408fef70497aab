// SPDX-License-Identifier: Apache-2.0
#include "cli/fake_cluster.h"

const struct command commands[] = { { "ls", "", "", command_ls, false }, { 0 } };

#define AGENTS     "/apis/agents.x-k8s.io/v1beta1/"
#define EXTENSIONS "/apis/extensions.agents.x-k8s.io/v1beta1/"
#define SANDBOXES  AGENTS "namespaces/default/sandboxes"
#define CLAIMS     EXTENSIONS "namespaces/default/sandboxclaims"
#define POOLS      EXTENSIONS "namespaces/default/sandboxwarmpools"
#define TEMPLATES  EXTENSIONS "namespaces/default/sandboxtemplates"
#define PODS       "/api/v1/namespaces/default/pods"
#define META(name, uid)                                                                            \
        "\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"uid\":\"" uid "\""
#define UID(uid) "\"preconditions\":{\"uid\":\"" uid "\"}}"
#define OWNER(kind, name)                                                                          \
        ",\"ownerReferences\":[{\"apiVersion\":\"extensions.agents.x-k8s.io/"                      \
        "v1beta1\",\"kind\":\"" kind "\",\"name\":\"" name                                         \
        "\",\"uid\":\"x\",\"controller\":true}]"
#define READY(status, reason)                                                                      \
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"" status "\",\"reason\":\"" reason "\"}" \
        "]"

#define SANDBOX_A                                                                                  \
        "{" META("a", "ua")                                                                        \
                OWNER("SandboxClaim",                                                              \
                      "c") ",\"creationTimestamp\":\"2026-11-21T10:00:00Z\",\"annotations\":{"     \
                           "\"agents.x-k8s.io/"                                                    \
                           "pod-name\":\"pod-a\"}},\"status\":{\"podIPs\":[\"10.0.0.1\"]," READY(  \
                                   "True", "DependenciesReady") "}}"
#define SANDBOX_B                                                                                  \
        "{" META("b", "ub") OWNER("SandboxWarmPool", "p") "},\"status\":{" READY(                  \
                "False", "DependenciesNotReady") "}}"
#define CLAIM_C                                                                                    \
        "{" META("c", "uc") "},\"status\":{\"sandbox\":{\"name\":\"a\",\"podIPs\":[\"10.0.0.1\"]}" \
                            "," READY("True", "DependenciesReady") "}}"
#define CLAIM_D "{" META("d", "ud") "},\"status\":{" READY("False", "WarmPoolNotFound") "}}"

static struct fake_answer lists[] = {
        { "GET " SANDBOXES, 200, "{\"items\":[" SANDBOX_A "," SANDBOX_B "]}" },
        { "GET " CLAIMS, 200, "{\"metadata\":{\"continue\":\"more\"},\"items\":[" CLAIM_C "]}" },
        { "GET " CLAIMS, 200, "{\"metadata\":{},\"items\":[" CLAIM_D "]}" },
};

static void forget_use(struct fake_answer *answers, size_t count)
{
        for (size_t i = 0; i < count; i++)
                answers[i].used = 0;
}

static void ls_shows_claims_and_sandboxes(void **state)
{
        struct cluster c;

        (void)state;
        forget_use(lists, ARRAY_SIZE(lists));
        cluster_set_up(&c);
        cluster_answers(&c, lists);
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls")), 0);
        /* Ages differ from run to run: only a's is known to be there. */
        const char *text = cluster_output(&c);
        assert_int_equal(strncmp(text, "KIND      NAME   READY   REASON                 AGE", 51),
                         0);
        assert_non_null(
                strstr(text, "\nclaim     c      True    DependenciesReady      <unknown>"));
        assert_non_null(strstr(text, "10.0.0.1   sandbox/a\n"));
        assert_non_null(strstr(text, "\nclaim     d      False   WarmPoolNotFound"));
        assert_non_null(strstr(text, "10.0.0.1   claim/c\n"));
        assert_non_null(strstr(text, "-          pool/p\n"));
        assert_int_equal(cluster_asked(&c, "GET " CLAIMS "?limit=500\n"), 0);
        assert_int_equal(cluster_asked(&c, "GET " CLAIMS "?limit=500"), 2);
        assert_int_equal(cluster_asked(&c, "GET " CLAIMS "?limit=500&continue=more"), 1);

        forget_use(lists, ARRAY_SIZE(lists));
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-o", "json")), 0);
        assert_string_equal(
                cluster_output(&c),
                "{\"items\":[{\"kind\":\"claim\",\"namespace\":\"default\",\"name\":\"c\",\"uid\":"
                "\"uc\",\"ready\":true,\"reason\":\"DependenciesReady\",\"podIP\":\"10.0.0.1\","
                "\"sandbox\":\"a\"},{\"kind\":\"claim\",\"namespace\":\"default\",\"name\":\"d\","
                "\"uid\":\"ud\",\"ready\":false,\"reason\":\"WarmPoolNotFound\"},{\"kind\":"
                "\"sandbox\",\"namespace\":\"default\",\"name\":\"a\",\"uid\":\"ua\",\"ready\":"
                "true,"
                "\"reason\":\"DependenciesReady\",\"created\":\"2026-11-21T10:00:00Z\",\"podIP\":"
                "\"10.0.0.1\",\"pod\":\"pod-a\",\"claim\":\"c\"},{\"kind\":\"sandbox\","
                "\"namespace\":\"default\",\"name\":\"b\",\"uid\":\"ub\",\"ready\":false,"
                "\"reason\":\"DependenciesNotReady\",\"pod\":\"b\",\"pool\":\"p\"}]}\n");

        forget_use(lists, ARRAY_SIZE(lists));
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-o", "name")), 0);
        assert_string_equal(cluster_output(&c), "claim/c\nclaim/d\nsandbox/a\nsandbox/b\n");
        cluster_tear_down(&c);
}

static void ls_asks_where_it_is_told(void **state)
{
        struct fake_answer everywhere[] = {
                { "GET " AGENTS "sandboxes", 200, "{\"items\":[" SANDBOX_A "]}" },
                { "GET " EXTENSIONS "sandboxclaims", 200, "{\"items\":[]}" },
        };
        struct fake_answer elsewhere[] = {
                { "GET " AGENTS "namespaces/x/sandboxes", 200, "{\"items\":[]}" },
                { "GET " EXTENSIONS "namespaces/x/sandboxclaims", 200, "{\"items\":[]}" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, everywhere);
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-A")), 0);
        assert_int_equal(strncmp(cluster_output(&c), "NAMESPACE   KIND", 16), 0);
        cluster_answers(&c, elsewhere);
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-n", "x")), 0);
        assert_string_equal(cluster_output(&c), "");
        assert_string_equal(cluster_error_output(&c),
                            "There are no sandboxes: cay run makes one.\n");
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-n", "..")), 1);
        assert_string_equal(cluster_error_output(&c), "'..' is no name of a Namespace\n");
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-o", "xml")), 2);
        assert_string_equal(cluster_error_output(&c),
                            "--output is text, json or name, not 'xml'\n");
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "box")), 2);
        cluster_tear_down(&c);
}

static void an_expired_page_lists_anew(void **state)
{
        struct fake_answer answers[] = {
                { "GET " CLAIMS, 200,
                  "{\"metadata\":{\"continue\":\"old\"},\"items\":[" CLAIM_C "]}" },
                { "GET " CLAIMS, 410,
                  "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\","
                  "\"message\":\"too old\"}" },
                { "GET " CLAIMS, 200, "{\"items\":[" CLAIM_D "]}" },
                { "GET " SANDBOXES, 200, "{\"items\":[]}" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "-o", "name")), 0);
        assert_string_equal(cluster_output(&c), "claim/d\n");
        cluster_tear_down(&c);
}

static void an_api_that_is_not_there_is_told(void **state)
{
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        http_server_free(c.server);
        c.server = NULL;
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls")), 1);
        assert_non_null(strstr(cluster_error_output(&c), "Connection refused (cay up starts"));
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls", "--kubeconfig", "/nowhere")), 1);
        assert_non_null(strstr(cluster_error_output(&c), "/nowhere"));
        setenv("CAY_DATA", "/nowhere", 1);
        unsetenv("KUBECONFIG");
        assert_int_equal(cluster_run(&c, command_ls, ARGV("ls")), 1);
        assert_non_null(strstr(cluster_error_output(&c), "start one with cay up"));
        cluster_tear_down(&c);
}

/* ---- exec, logs: which Pod ---- */

static struct fake_answer objects[] = {
        { "GET " SANDBOXES "/a", 200, SANDBOX_A },
        { "GET " SANDBOXES "/b", 200, SANDBOX_B },
        { "GET " CLAIMS "/b", 200, "{" META("b", "ucb") "}}" },
        { "GET " CLAIMS "/a", 200, "{" META("a", "uca") "}}" },
        { "GET " CLAIMS "/c", 200, CLAIM_C },
        { "GET " CLAIMS "/d", 200, CLAIM_D },
        { "GET " PODS "/pod-a/log", 200, "one\ntwo\n" },
        { "DELETE " SANDBOXES "/b", 200, "{}" },
        { "DELETE " CLAIMS "/c", 200, "{}" },
        { "DELETE " CLAIMS "/b", 200, "{}" },
};

static void names_lead_to_pods(void **state)
{
        static const struct {
                char *name;
                const char *pod; /* NULL: */
                const char *message;
        } cases[] = {
                { "a", "pod-a", NULL },
                { "sandbox/a", "pod-a", NULL },
                { "b", "b", NULL }, /* a claim of that name does not shadow it */
                { "c", "pod-a", NULL },
                { "claim/c", "pod-a", NULL },
                { "d", NULL, "claim d holds no sandbox yet: WarmPoolNotFound\n" },
                { "x", NULL,
                  "there is no sandbox or claim 'x' in namespace default: see cay ls\n" },
                { "claim/x", NULL,
                  "there is no sandbox or claim 'x' in namespace default: see cay ls\n" },
                { "sandbox/x", NULL, "there is no such object\n" },
                { "pod/x", NULL, "'pod/x' is no name: write NAME, sandbox/NAME or claim/NAME\n" },
                { "", NULL, "'' is no name of a Sandbox\n" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, objects);
        c.frames = "3 4";
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char path[128];
                int status =
                        cluster_run(&c, command_exec,
                                    ARGV("exec", cases[i].name, "-c", "main", "--", "ls", "-l"));
                if (!cases[i].pod) {
                        assert_string_equal(cluster_error_output(&c), cases[i].message);
                        assert_in_range(status, 1, 2);
                        continue;
                }
                assert_int_equal(status, 4);
                snprintf(path, sizeof(path),
                         "GET " PODS "/%s/exec?container=main&stdout=true&stderr=true&command=ls&"
                         "command=-l",
                         cases[i].pod);
                assert_int_equal(cluster_asked(&c, path), 1);
        }
        cluster_tear_down(&c);
}

static void exec_says_why_there_is_no_pod(void **state)
{
        struct fake_answer answers[] = {
                { "GET " SANDBOXES "/s", 200,
                  "{" META("s", "us") "},\"spec\":{\"operatingMode\":\"Suspended\"}}" },
                { "GET " PODS "/s/exec", 404,
                  "{\"kind\":\"Status\",\"code\":404,\"reason\":\"NotFound\",\"message\":\"pods "
                  "\\\"s\\\" not found\"}" },
                { "GET " SANDBOXES "/b", 200, SANDBOX_B },
                { "GET " PODS "/b/exec", 404, "{}" },
                { "GET " SANDBOXES "/t", 200, "{" META("t", "ut") "}}" },
                { "GET " PODS "/t/exec", 400,
                  "{\"kind\":\"Status\",\"code\":400,\"reason\":\"BadRequest\",\"message\":"
                  "\"choose "
                  "one of: [x y]\"}" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_exec, ARGV("exec", "s", "ls")), 1);
        assert_string_equal(cluster_error_output(&c),
                            "sandbox s is suspended: set its spec.operatingMode to Running\n");
        assert_int_equal(cluster_run(&c, command_exec, ARGV("exec", "b", "ls")), 1);
        assert_string_equal(cluster_error_output(&c),
                            "sandbox b has no Pod now: DependenciesNotReady\n");
        assert_int_equal(cluster_run(&c, command_exec, ARGV("exec", "t", "ls")), 1);
        assert_string_equal(cluster_error_output(&c), "choose one of: [x y]\n");
        assert_int_equal(cluster_run(&c, command_exec, ARGV("exec")), 2);
        assert_int_equal(cluster_run(&c, command_exec, ARGV("exec", "t", "--")), 2);
        assert_string_equal(cluster_error_output(&c), "name a command: cay exec t -- COMMAND\n");
        cluster_tear_down(&c);
}

static void exec_leaves_the_sandbox_when_interrupted(void **state)
{
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, objects);
        cluster_start(&c, command_exec, ARGV("exec", "a", "sleep"), -1, -1);
        test_run_until(&c.t, c.opens > 0);
        kill(c.pid, SIGTERM);
        assert_int_equal(cluster_wait(&c), 143);
        assert_int_equal(cluster_asked(&c, "DELETE"), 0);
        test_run_until(&c.t, c.closes > 0);
        cluster_tear_down(&c);
}

static void logs_are_printed_as_they_come(void **state)
{
        struct fake_answer streams[] = {
                { "GET " SANDBOXES "/a", 200, SANDBOX_A },
                { "GET " PODS "/pod-a/log", 0 },
        };
        const struct http_header type = { STR("Content-Type"), STR("text/plain") };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, objects);
        assert_int_equal(
                cluster_run(&c, command_logs, ARGV("logs", "c", "--tail", "5", "-p", "-c", "m")),
                0);
        assert_string_equal(cluster_output(&c), "one\ntwo\n");
        assert_int_equal(
                cluster_asked(&c, "GET " PODS "/pod-a/log?container=m&previous=true&tailLines=5"),
                1);
        assert_int_equal(cluster_run(&c, command_logs, ARGV("logs", "b")), 1);
        assert_string_equal(cluster_error_output(&c), "there is no such object\n");

        cluster_answers(&c, streams);
        cluster_start(&c, command_logs, ARGV("logs", "-f", "a"), -1, -1);
        test_run_until(&c.t, c.held);
        assert_int_equal(cluster_asked(&c, "GET " PODS "/pod-a/log?follow=true"), 1);
        http_exchange_begin(c.held, 200, &type, 1, HTTP_LENGTH_UNKNOWN);
        http_exchange_send(c.held, &(struct stream_piece){ STR("now\n") }, 1);
        /* It is there while the log goes on. */
        while (strcmp(cluster_output(&c), "now\n") != 0)
                test_run_turns(&c.t, 1);
        kill(c.pid, SIGINT);
        assert_int_equal(cluster_wait(&c), 130);
        cluster_tear_down(&c);
}

/* ---- rm ---- */

static void rm_takes_claims_with_their_sandboxes(void **state)
{
        static const struct {
                char *name;
                int status;
                const char *deleted; /* prefix of the request; NULL: none */
                const char *uid;
                const char *text;
        } cases[] = {
                { "c", 0, "DELETE " CLAIMS "/c ", UID("uc"), "claim/c deleted\n" },
                { "sandbox/b", 0, "DELETE " SANDBOXES "/b ", UID("ub"), "sandbox/b deleted\n" },
                { "claim/b", 0, "DELETE " CLAIMS "/b ", UID("ucb"), "claim/b deleted\n" },
                { "b", 1, NULL, NULL,
                  "cay rm: there are a sandbox and a claim b: say sandbox/b or claim/b\n" },
                { "sandbox/a", 1, NULL, NULL,
                  "cay rm: sandbox a is held by a claim: cay rm claim/c\n" },
                { "x", 1, NULL, NULL,
                  "cay rm: there is no sandbox or claim 'x' in namespace default: see cay ls\n" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, objects);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(cluster_run(&c, command_rm, ARGV("rm", cases[i].name)),
                                 cases[i].status);
                assert_int_equal(cluster_asked(&c, "DELETE"), cases[i].deleted != NULL);
                if (cases[i].deleted) {
                        assert_string_equal(cluster_output(&c), cases[i].text);
                        assert_int_equal(cluster_asked(&c, cases[i].deleted), 1);
                        assert_non_null(memmem(c.log.data, c.log.length, cases[i].uid,
                                               strlen(cases[i].uid)));
                } else {
                        assert_string_equal(cluster_error_output(&c), cases[i].text);
                }
        }
        assert_int_equal(cluster_run(&c, command_rm, ARGV("rm", "x", "c")), 1);
        assert_string_equal(cluster_output(&c), "claim/c deleted\n");
        assert_int_equal(cluster_run(&c, command_rm, ARGV("rm")), 2);
        cluster_tear_down(&c);
}

/* Another one of that name has come in between: it stays, and the wish is fulfilled. */
static void rm_deletes_only_what_it_saw(void **state)
{
        struct fake_answer answers[] = {
                { "GET " CLAIMS "/c", 200, CLAIM_C },
                { "DELETE " CLAIMS "/c", 409,
                  "{\"kind\":\"Status\",\"code\":409,\"reason\":\"Conflict\",\"message\":"
                  "\"uid\"}" },
        };
        struct fake_answer lost[] = {
                { "GET " CLAIMS "/c", 200, CLAIM_C },
                { "DELETE " CLAIMS "/c", .is_cut = true },
                { "DELETE " CLAIMS "/c", 404, "{}" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_rm, ARGV("rm", "c")), 0);
        cluster_answers(&c, lost);
        assert_int_equal(cluster_run(&c, command_rm, ARGV("rm", "c")), 0);
        assert_int_equal(cluster_asked(&c, "DELETE"), 2);
        cluster_tear_down(&c);
}

/* ---- pool ---- */

#define POOL(name, replicas, ready)                                                                \
        "{" META(name, "up") "},\"spec\":{\"replicas\":" replicas                                  \
                             ",\"sandboxTemplateRef\":{\"name\":\"" name                           \
                             "\"}},\"status\":{\"readyReplicas\":" ready "}}"
#define POOL_EVENT(type, name, replicas, ready)                                                    \
        "{\"type\":\"" type "\",\"object\":" POOL(name, replicas, ready) "}\n"
#define TEMPLATE(name, label) "{" META(name, "ut") ",\"labels\":{" label "}}}"

static void pools_are_listed(void **state)
{
        struct fake_answer answers[] = { { "GET " POOLS, 200,
                                           "{\"items\":[" POOL("p", "3", "1") "]}" } };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "ls")), 0);
        assert_string_equal(cluster_output(&c), "NAME   READY   DESIRED   TEMPLATE   AGE\n"
                                                "p      1       3         p          <unknown>\n");
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "ls", "-o", "json")), 0);
        assert_string_equal(cluster_output(&c),
                            "{\"items\":[{\"namespace\":\"default\",\"name\":\"p\",\"uid\":\"up\","
                            "\"ready\":1,\"desired\":3,\"template\":\"p\",\"created\":\"\"}]}\n");
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "ls", "-o", "name")), 0);
        assert_string_equal(cluster_output(&c), "p\n");
        cluster_tear_down(&c);
}

static void a_pool_is_made_of_an_image(void **state)
{
        struct fake_answer answers[] = {
                { "POST " TEMPLATES, 201, TEMPLATE("p", "") },
                { "POST " POOLS, 201, POOL("p", "2", "0") },
                { "WATCH " POOLS, 200,
                  POOL_EVENT("ADDED", "p", "2", "0") FAKE_SYNC POOL_EVENT("MODIFIED", "p", "2", "1")
                          POOL_EVENT("MODIFIED", "p", "2", "2") },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(
                cluster_run(&c, command_pool,
                            ARGV("pool", "create", "p", "-r", "2", "--image", "img", "-w")),
                0);
        assert_string_equal(cluster_output(&c), "pool/p created\n");
        assert_int_equal(
                cluster_asked(&c,
                              "POST " TEMPLATES
                              " {\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\",\"kind\":"
                              "\"SandboxTemplate\",\"metadata\":{\"name\":\"p\",\"labels\":{"
                              "\"cay.dev/made-for-pool\":\"p\"}},\"spec\":{\"podTemplate\":{"
                              "\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"img\"}]"
                              "}}}}"),
                1);
        assert_int_equal(
                cluster_asked(&c,
                              "POST " POOLS
                              " {\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\",\"kind\":"
                              "\"SandboxWarmPool\",\"metadata\":{\"name\":\"p\",\"labels\":{"
                              "\"cay.dev/made-for-pool\":\"p\"}},\"spec\":{\"replicas\":2,"
                              "\"sandboxTemplateRef\":{\"name\":\"p\"}}}"),
                1);
        assert_int_equal(cluster_run(&c, command_pool,
                                     ARGV("pool", "create", "p", "-r", "1", "--", "sleep", "9")),
                         0);
        const char *command = "\"command\":[\"sleep\",\"9\"]}]";
        assert_non_null(memmem(c.log.data, c.log.length, command, strlen(command)));
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "create", "p", "sleep")), 2);
        assert_string_equal(cluster_error_output(&c), "'sleep' has no meaning here\n");
        size_t asked = c.log.length;
        assert_int_equal(
                cluster_run(&c, command_pool, ARGV("pool", "create", "p", "--memory", "1Xi")), 2);
        assert_string_equal(cluster_error_output(&c),
                            "--memory takes an amount such as 512Mi or 2Gi, and 1Mi at least, not "
                            "'1Xi'\n");
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "create", "p", "--cpu", "-1")),
                         2);
        assert_string_equal(cluster_error_output(&c),
                            "--cpu takes an amount such as 2 or 500m, not '-1'\n");
        assert_int_equal(c.log.length, asked);
        cluster_tear_down(&c);
}

static void half_a_pool_is_taken_back(void **state)
{
        struct fake_answer answers[] = {
                { "POST " TEMPLATES, 201, TEMPLATE("p", "") },
                { "POST " POOLS, 409,
                  "{\"kind\":\"Status\",\"code\":409,\"reason\":\"AlreadyExists\",\"message\":\"it "
                  "exists\"}" },
                { "DELETE " TEMPLATES "/p", 200, "{}" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "create", "p")), 1);
        assert_string_equal(cluster_error_output(&c),
                            "it exists: cay pool scale and cay pool rm change what there is\n");
        assert_int_equal(cluster_asked(&c, "DELETE " TEMPLATES "/p "), 1);
        assert_non_null(memmem(c.log.data, c.log.length, UID("ut"), strlen(UID("ut"))));
        cluster_tear_down(&c);
}

static void a_pool_is_scaled(void **state)
{
        struct fake_answer answers[] = { { "PATCH " POOLS "/p", 200, POOL("p", "5", "0") } };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "scale", "p", "-r", "5")), 0);
        assert_int_equal(cluster_asked(&c, "PATCH " POOLS "/p {\"spec\":{\"replicas\":5}}"), 1);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "scale", "p")), 2);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "scale", "p", "-r", "-1")), 2);
        assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "grow", "p")), 2);
        assert_string_equal(cluster_error_output(&c),
                            "pool can ls, create, scale and rm, not 'grow'\n");
        cluster_tear_down(&c);
}

/* A template goes with the pool for which it was made, unless claimed sandboxes are of it. */
static void rm_keeps_templates_that_serve(void **state)
{
        static const struct {
                const char *template, *pods;
                unsigned deleted;
        } cases[] = {
                { TEMPLATE("p", "\"cay.dev/made-for-pool\":\"p\""), "{\"items\":[]}", 1 },
                { TEMPLATE("p", ""), "{\"items\":[]}", 0 },
                { TEMPLATE("p", "\"cay.dev/made-for-pool\":\"p\""),
                  "{\"items\":[{\"metadata\":{\"labels\":{\"agents.x-k8s.io/warm-pool-sandbox\":"
                  "\"x\"}}}]}",
                  1 },
                { TEMPLATE("p", "\"cay.dev/made-for-pool\":\"p\""),
                  "{\"items\":[{\"metadata\":{\"labels\":{}}}]}", 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer answers[] = {
                        { "GET " POOLS "/p", 200, POOL("p", "2", "2") },
                        { "DELETE " POOLS "/p", 200, "{}" },
                        { "GET " TEMPLATES "/p", 200, cases[i].template },
                        { "GET " PODS, 200, cases[i].pods },
                        { "DELETE " TEMPLATES "/p", 200, "{}" },
                };
                struct cluster c;
                cluster_set_up(&c);
                cluster_answers(&c, answers);
                assert_int_equal(cluster_run(&c, command_pool, ARGV("pool", "rm", "p")), 0);
                assert_int_equal(cluster_asked(&c, "DELETE " POOLS "/p "), 1);
                assert_int_equal(cluster_asked(&c, "DELETE " TEMPLATES "/p "), cases[i].deleted);
                cluster_tear_down(&c);
        }
}

static void completions_are_scripts(void **state)
{
        static char *const shells[] = { "bash", "zsh", "fish" };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
                assert_int_equal(cluster_run(&c, command_completion, ARGV("completion", shells[i])),
                                 0);
                assert_non_null(strstr(cluster_output(&c), "ls"));
        }
        assert_int_equal(cluster_run(&c, command_completion, ARGV("completion", "csh")), 2);
        assert_int_equal(cluster_run(&c, command_completion, ARGV("completion")), 2);
        cluster_tear_down(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ls_shows_claims_and_sandboxes),
                cmocka_unit_test(ls_asks_where_it_is_told),
                cmocka_unit_test(an_expired_page_lists_anew),
                cmocka_unit_test(an_api_that_is_not_there_is_told),
                cmocka_unit_test(names_lead_to_pods),
                cmocka_unit_test(exec_says_why_there_is_no_pod),
                cmocka_unit_test(exec_leaves_the_sandbox_when_interrupted),
                cmocka_unit_test(logs_are_printed_as_they_come),
                cmocka_unit_test(rm_takes_claims_with_their_sandboxes),
                cmocka_unit_test(rm_deletes_only_what_it_saw),
                cmocka_unit_test(pools_are_listed),
                cmocka_unit_test(a_pool_is_made_of_an_image),
                cmocka_unit_test(half_a_pool_is_taken_back),
                cmocka_unit_test(a_pool_is_scaled),
                cmocka_unit_test(rm_keeps_templates_that_serve),
                cmocka_unit_test(completions_are_scripts),
        };

        return run_unit_tests("commands", tests);
}
