// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>
#include <stdio.h>

#include "kinds/convert.h"
#include "kinds/sandbox.h"

static struct json_doc *parse(const char *text)
{
        _cleanup_buffer_ struct buffer quoted = { 0 };
        struct json_doc *doc = NULL;

        assert_int_equal(buffer_append_str(&quoted, str_from(text)), 0);
        for (size_t i = 0; i < quoted.length; i++) {
                if (quoted.data[i] == '\'')
                        quoted.data[i] = '"';
        }
        assert_int_equal(json_doc_parse(buffer_str(&quoted), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static struct json_doc *convert(const struct kind *kind, struct json_doc *doc, const char *version)
{
        struct json_doc *result = NULL;
        struct error error = { 0 };

        if (kind_convert(kind, doc, str_from(version), &error, &result) < 0)
                fail_msg("%s", error.message);
        return result;
}

#define SANDBOX_OLD  "'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'Sandbox'"
#define SANDBOX_HUB  "'apiVersion':'agents.x-k8s.io/v1beta1','kind':'Sandbox'"
#define CLAIM_OLD    "'apiVersion':'extensions.agents.x-k8s.io/v1alpha1','kind':'SandboxClaim'"
#define CLAIM_HUB    "'apiVersion':'extensions.agents.x-k8s.io/v1beta1','kind':'SandboxClaim'"
#define TEMPLATE_HUB "'apiVersion':'extensions.agents.x-k8s.io/v1beta1','kind':'SandboxTemplate'"
#define POOL_HUB     "'apiVersion':'extensions.agents.x-k8s.io/v1beta1','kind':'SandboxWarmPool'"

/* There and back gives the same bytes. */
static void loses_nothing(void **state)
{
        static const struct {
                const struct kind *kind;
                const char *text;
        } cases[] = {
                { &kind_sandbox,
                  "{" SANDBOX_OLD ",'metadata':{'name':'a'},'spec':{'replicas':1}}" },
                { &kind_sandbox, "{" SANDBOX_OLD ",'metadata':{'name':'a'},'spec':{'replicas':0,"
                                 "'podTemplate':{}}}" },
                { &kind_sandbox,
                  "{" SANDBOX_HUB ",'metadata':{'name':'a'},'spec':{'podTemplate':{},"
                  "'operatingMode':'Running','service':true},'status':{'nodeName':"
                  "'n','service':'a'}}" },
                { &kind_sandbox, "{" SANDBOX_HUB ",'metadata':{'name':'a','annotations':{'x':'y'}},"
                                 "'spec':{'operatingMode':'Suspended'}}" },
                { &kind_sandbox_claim, "{" CLAIM_HUB ",'metadata':{'name':'c'},'spec':{"
                                       "'warmPoolRef':{'name':'p'},'env':[],"
                                       "'volumeClaimTemplates':[{'spec':{'a':1}}]}}" },
                { &kind_sandbox_claim,
                  "{" CLAIM_HUB ",'metadata':{'name':'c'},'spec':{"
                  "'warmPoolRef':{'name':'shadow-pool-t'}},'status':{'sandbox':"
                  "{'name':'p-x','podIPs':['1.2.3.4']}}}" },
                { &kind_sandbox_template, "{" TEMPLATE_HUB ",'metadata':{'name':'t'},'spec':{"
                                          "'podTemplate':{},'volumeClaimTemplatesPolicy':"
                                          "'Overrides'}}" },
                { &kind_sandbox_warm_pool, "{" POOL_HUB ",'metadata':{'name':'p'},'spec':{"
                                           "'replicas':3}}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i].text), *other = NULL,
                                              *back = NULL;
                bool hub = strstr(cases[i].text, "v1beta1") != NULL;

                other = convert(cases[i].kind, doc, hub ? "v1alpha1" : "v1beta1");
                back = convert(cases[i].kind, other, hub ? "v1beta1" : "v1alpha1");
                if (!str_equal(json_doc_text(doc), json_doc_text(back)))
                        fail_msg("%.*s\nbecomes %.*s\nand then %.*s",
                                 STR_FORMAT(json_doc_text(doc)), STR_FORMAT(json_doc_text(other)),
                                 STR_FORMAT(json_doc_text(back)));
        }
}

/* What v1alpha1 says and the hub cannot. */
static void keeps_what_the_hub_cannot_say(void **state)
{
        static const struct {
                const struct kind *kind;
                const char *spec, *hub; /* of the hub's spec */
        } cases[] = {
                { &kind_sandbox, "{'podTemplate':{}}",
                  "{'podTemplate':{},'operatingMode':'Running'}" },
                { &kind_sandbox, "{'replicas':3}", "{'operatingMode':'Running'}" },
                { &kind_sandbox_claim, "{'sandboxTemplateRef':{'name':'t'}}",
                  "{'warmPoolRef':{'name':'shadow-pool-t'}}" },
                { &kind_sandbox_claim, "{'sandboxTemplateRef':{'name':'t'},'warmpool':'default'}",
                  "{'warmPoolRef':{'name':'shadow-pool-t'}}" },
                { &kind_sandbox_claim, "{'sandboxTemplateRef':{'name':'t'},'warmpool':'none'}",
                  "{'warmPoolRef':{'name':'shadow-pool-t'}}" },
                { &kind_sandbox_claim, "{'sandboxTemplateRef':{'name':'t'},'warmpool':'p'}",
                  "{'warmPoolRef':{'name':'p'}}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                bool claim = cases[i].kind == &kind_sandbox_claim;
                char text[512];
                _cleanup_doc_ struct json_doc *doc = NULL, *hub = NULL, *back = NULL,
                                              *wanted = NULL, *again = NULL, *again_back = NULL;

                snprintf(text, sizeof(text), "{%s,'metadata':{'name':'x'},'spec':%s}",
                         claim ? CLAIM_OLD : SANDBOX_OLD, cases[i].spec);
                doc = parse(text);
                hub = convert(cases[i].kind, doc, "v1beta1");
                wanted = parse(cases[i].hub);
                assert_true(json_equal(json_get(json_root(hub), "spec"), json_root(wanted)));
                back = convert(cases[i].kind, hub, "v1alpha1");
                if (!json_equal(json_get(json_root(back), "spec"),
                                json_get(json_root(doc), "spec")))
                        fail_msg("case %zu: %.*s", i, STR_FORMAT(json_doc_text(back)));
                /* A write that changes nothing changes nothing in the hub either. */
                again = convert(cases[i].kind, back, "v1beta1");
                assert_true(str_equal(json_doc_text(again), json_doc_text(hub)));
                again_back = convert(cases[i].kind, again, "v1alpha1");
                assert_true(str_equal(json_doc_text(again_back), json_doc_text(back)));
        }
}

/* The state is not believed against what the hub says since. */
static void hub_wins_over_old_state(void **state)
{
        _cleanup_doc_ struct json_doc *sandbox =
                parse("{" SANDBOX_HUB ",'metadata':{'name':'a','annotations':{'api.agents.x-k8s.io/"
                      "v1alpha1-sandbox-state':'{\\'spec\\':{\\'replicas\\':0}}'}},'spec':{"
                      "'operatingMode':'Running'}}");
        _cleanup_doc_ struct json_doc *claim = parse(
                "{" CLAIM_HUB ",'metadata':{'name':'a','annotations':{'api.agents.x-k8s.io/"
                "v1alpha1-sandboxclaim-state':'{\\'spec\\':{\\'sandboxTemplateRef\\':{\\'name\\':"
                "\\'t\\'}}}'}},'spec':{'warmPoolRef':{'name':'other'}}}");
        _cleanup_doc_ struct json_doc *old_sandbox = NULL, *old_claim = NULL;

        (void)state;
        old_sandbox = convert(&kind_sandbox, sandbox, "v1alpha1");
        assert_int_equal(json_int64_or(json_get(json_root(old_sandbox), "spec", "replicas"), -1),
                         1);
        old_claim = convert(&kind_sandbox_claim, claim, "v1alpha1");
        assert_true(
                json_string_is(json_get(json_root(old_claim), "spec", "warmpool"), STR("other")));
}

/* An object of before the hub: the pool is in the name of its Sandbox. */
static void reads_objects_of_before(void **state)
{
        _cleanup_doc_ struct json_doc *doc =
                parse("{" CLAIM_OLD ",'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{"
                      "'name':'t'}},'status':{'sandbox':{'Name':'my-pool-x7k2f'}}}");
        _cleanup_doc_ struct json_doc *hub = NULL;

        (void)state;
        hub = convert(&kind_sandbox_claim, doc, "v1beta1");
        assert_true(json_string_is(json_get(json_root(hub), "spec", "warmPoolRef", "name"),
                                   STR("my-pool")));
}

static void answers_old_clients(void **state)
{
        _cleanup_doc_ struct json_doc *doc =
                parse("{" CLAIM_HUB ",'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'p'}},"
                      "'status':{'sandbox':{'name':'s'}}}");
        _cleanup_doc_ struct json_doc *sandbox =
                parse("{" SANDBOX_HUB ",'metadata':{'name':'s'},'spec':{},'status':{'conditions':[{"
                      "'type':'PodScheduled'}]}}");
        _cleanup_doc_ struct json_doc *old = NULL, *old_sandbox = NULL;

        (void)state;
        old = convert(&kind_sandbox_claim, doc, "v1alpha1");
        assert_true(
                json_string_is(json_get(json_root(old), "status", "sandbox", "Name"), STR("s")));
        assert_true(
                json_string_is(json_get(json_root(old), "status", "sandbox", "name"), STR("s")));
        old_sandbox = convert(&kind_sandbox, sandbox, "v1alpha1");
        assert_int_equal(json_int64_or(json_get(json_root(old_sandbox), "status", "replicas"), -1),
                         1);
}

static void refuses_others(void **state)
{
        static const struct {
                const char *text, *version;
        } cases[] = {
                { "{'apiVersion':'v1','kind':'Sandbox'}", "v1beta1" },
                { "{'apiVersion':'agents.x-k8s.io/v1','kind':'Sandbox'}", "v1beta1" },
                { "{" SANDBOX_HUB "}", "v2" },
                { "{" CLAIM_HUB "}", "v1alpha1" },
                { "[]", "v1beta1" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i].text);
                struct json_doc *result = NULL;
                struct error error = { 0 };

                assert_int_equal(kind_convert(&kind_sandbox, doc, str_from(cases[i].version),
                                              &error, &result),
                                 -EINVAL);
                assert_null(result);
                assert_true(error.message[0]);
        }
}

/* Odd but possible: what is of a wrong type is carried along. */
static void survives_odd_objects(void **state)
{
        static const char *const cases[] = {
                "{" CLAIM_HUB ",'metadata':3,'spec':[],'status':'x'}",
                "{" CLAIM_HUB ",'metadata':{'annotations':[]},'spec':{'warmPoolRef':3}}",
                "{" CLAIM_HUB "}",
                "{" CLAIM_OLD ",'spec':{'sandboxTemplateRef':null,'warmpool':7},'metadata':{"
                "'annotations':{'api.agents.x-k8s.io/v1alpha1-sandboxclaim-state':'no json',"
                "'api.agents.x-k8s.io/v1beta1-volume-claim-templates':'{'}}}",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i]), *other = NULL;

                other = convert(&kind_sandbox_claim, doc,
                                strstr(cases[i], "v1beta1'") ? "v1alpha1" : "v1beta1");
                assert_non_null(other);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(loses_nothing),
                cmocka_unit_test(keeps_what_the_hub_cannot_say),
                cmocka_unit_test(hub_wins_over_old_state),
                cmocka_unit_test(reads_objects_of_before),
                cmocka_unit_test(answers_old_clients),
                cmocka_unit_test(refuses_others),
                cmocka_unit_test(survives_odd_objects),
        };

        return run_unit_tests("convert", tests);
}
