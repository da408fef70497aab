// SPDX-License-Identifier: Apache-2.0
#include "kinds/convert.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/test.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"
#include "json/writer.h"

#define STATE "api.agents.x-k8s.io/"

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        if (json_doc_parse(text, NULL, NULL, NULL, &doc) < 0)
                fail_msg("not JSON: %.*s", STR_FORMAT(text));
        return doc;
}

static struct str version_of(const struct json_doc *doc)
{
        return str_ends_with(json_string(json_get(json_root(doc), "apiVersion")), STR("v1beta1"))
                       ? STR("v1beta1")
                       : STR("v1alpha1");
}

/* To the other version. */
static struct json_doc *turn(const struct kind *kind, struct json_doc *doc)
{
        struct json_doc *turned = NULL;
        struct error error = {};
        bool is_hub = str_equal(version_of(doc), STR("v1beta1"));
        int r = kind_convert(kind, doc, is_hub ? STR("v1alpha1") : STR("v1beta1"), &error, &turned);

        if (r < 0)
                fail_msg("%d %s: %.*s", r, error.message, STR_FORMAT(json_doc_text(doc)));
        return turned;
}

static void assert_same(const struct json_doc *a, const struct json_doc *b)
{
        if (!json_equal(json_root(a), json_root(b)))
                fail_msg("%.*s\n#  is not\n#  %.*s", STR_FORMAT(json_doc_text(a)),
                         STR_FORMAT(json_doc_text(b)));
}

/* ' for " keeps the tables legible; ` is a " inside an annotation. */
static struct json_doc *object(const struct kind *kind, const char *version, const char *members)
{
        _cleanup_buffer_ struct buffer text = {}, quoted = {};

        assert_int_equal(buffer_printf(&text, "{'apiVersion':'%.*s/%s','kind':'%.*s',%s}",
                                       STR_FORMAT(kind->group), version, STR_FORMAT(kind->kind),
                                       members),
                         0);
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                assert_int_equal(c == '`' ? buffer_append(&quoted, "\\\"", 2)
                                          : buffer_append_char(&quoted, c == '\'' ? '"' : c),
                                 0);
        }
        return parse(buffer_str(&quoted));
}

/* ---- tables ---- */

struct conversion_case {
        const struct kind *kind;
        const char *from; /* version */
        const char *before, *after;
};

static void check_cases(const struct conversion_case *cases, size_t count, bool and_back)
{
        for (size_t i = 0; i < count; i++) {
                bool is_hub = str_equal(str_from(cases[i].from), STR("v1beta1"));
                _cleanup_doc_ struct json_doc *before =
                        object(cases[i].kind, cases[i].from, cases[i].before);
                _cleanup_doc_ struct json_doc *expected =
                        object(cases[i].kind, is_hub ? "v1alpha1" : "v1beta1", cases[i].after);
                _cleanup_doc_ struct json_doc *after = turn(cases[i].kind, before);
                assert_same(after, expected);
                if (!and_back)
                        continue;
                _cleanup_doc_ struct json_doc *back = turn(cases[i].kind, after);
                assert_same(back, before);
        }
}

/* Both ways: `before` comes back. */
static const struct conversion_case lossless[] = {
        { &kind_sandbox, "v1alpha1", "'metadata':{'name':'s'},'spec':{'replicas':1,'service':true}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running','service':true}" },
        { &kind_sandbox, "v1alpha1", "'metadata':{'name':'s'},'spec':{'replicas':0}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Suspended'}" },
        { &kind_sandbox, "v1alpha1", "'metadata':{'name':'s'},'spec':{}",
          "'metadata':{'name':'s','annotations':{'" STATE "v1alpha1-sandbox-state':'{`spec`:{}}'}},"
          "'spec':{'operatingMode':'Running'}" },
        { &kind_sandbox, "v1alpha1", "'metadata':{'name':'s','annotations':{'a':'b'}},'spec':{}",
          "'metadata':{'name':'s','annotations':{'a':'b',"
          "'" STATE "v1alpha1-sandbox-state':'{`spec`:{}}'}},'spec':{'operatingMode':'Running'}" },
        { &kind_sandbox, "v1beta1", "'metadata':{'name':'s'},'spec':{}",
          "'metadata':{'name':'s','annotations':{'" STATE "v1beta1-sandbox-state':'{`spec`:{}}'}},"
          "'spec':{'replicas':1}" },
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running'},'status':{"
          "'nodeName':'n','podIPs':['10.0.0.1'],'conditions':[{'type':'PodScheduled'}]}",
          "'metadata':{'name':'s','annotations':{'" STATE "v1beta1-sandbox-state':"
          "'{`status`:{`podIPs`:[`10.0.0.1`],`nodeName`:`n`}}'}},'spec':{'replicas':1},'status':{"
          "'replicas':1,'podIPs':['10.0.0.1'],'conditions':[{'type':'PodScheduled'}]}" },
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running'},"
          "'status':{'podIPs':['10.0.0.1']}",
          "'metadata':{'name':'s'},'spec':{'replicas':1},"
          "'status':{'podIPs':['10.0.0.1'],'replicas':1}" },
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Suspended'},"
          "'status':{'conditions':[{'type':'Ready'}]}",
          "'metadata':{'name':'s'},'spec':{'replicas':0},"
          "'status':{'conditions':[{'type':'Ready'}],'replicas':0}" },

        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'default'}",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'shadow-pool-x'}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'}}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1alpha1-sandboxclaim-state':"
          "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`}}}'}},"
          "'spec':{'warmPoolRef':{'name':'shadow-pool-x'}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'none'}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1alpha1-sandboxclaim-state':"
          "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`warmpool`:`none`}}'}},"
          "'spec':{'warmPoolRef':{'name':'shadow-pool-x'}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'fast'}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1alpha1-sandboxclaim-state':"
          "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`warmpool`:`fast`}}'}},"
          "'spec':{'warmPoolRef':{'name':'fast'}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'}},"
          "'status':{'sandbox':{'name':'fast-x7k2p','Name':'fast-x7k2p','podIPs':['10.0.0.1']}}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1alpha1-sandboxclaim-state':"
          "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`}}}'}},"
          "'spec':{'warmPoolRef':{'name':'fast'}},"
          "'status':{'sandbox':{'name':'fast-x7k2p','podIPs':['10.0.0.1']}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'default'},"
          "'status':{'sandbox':{'name':'c','Name':'c'}}",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'shadow-pool-x'}},"
          "'status':{'sandbox':{'name':'c'}}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'fast'}}",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'fast'},'warmpool':'fast'"
          "}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'shadow-pool-x'}}",
          "'metadata':{'name':'c'},"
          "'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'default'}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'none'}}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1beta1-sandboxclaim-state':"
          "'{`spec`:{`warmPoolRef`:{`name`:`none`}}}'}},"
          "'spec':{'sandboxTemplateRef':{'name':'none'},'warmpool':'none'}" },
        /* Claimed warm through v1alpha1: the pool in the hub must not turn into the member's. */
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c','annotations':{'" STATE "v1alpha1-sandboxclaim-state':"
          "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`}}}'}},"
          "'spec':{'warmPoolRef':{'name':'shadow-pool-x'}},"
          "'status':{'sandbox':{'name':'fast-x7k2p'}}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1beta1-sandboxclaim-state':"
          "'{`spec`:{`warmPoolRef`:{`name`:`shadow-pool-x`}}}'}},"
          "'spec':{'sandboxTemplateRef':{'name':'x'}},"
          "'status':{'sandbox':{'name':'fast-x7k2p','Name':'fast-x7k2p'}}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'fast'},"
          "'volumeClaimTemplates':[{'metadata':{'name':'w'},'spec':{}}]}",
          "'metadata':{'name':'c','annotations':{'" STATE "v1beta1-sandboxclaim-state':"
          "'{`spec`:{`volumeClaimTemplates`:[{`metadata`:{`name`:`w`},`spec`:{}}]}}'}},"
          "'spec':{'sandboxTemplateRef':{'name':'fast'},'warmpool':'fast'}" },

        { &kind_sandbox_template, "v1alpha1",
          "'metadata':{'name':'t'},'spec':{'envVarsInjectionPolicy':'Allowed'}",
          "'metadata':{'name':'t'},'spec':{'envVarsInjectionPolicy':'Allowed'}" },
        { &kind_sandbox_template, "v1beta1",
          "'metadata':{'name':'t'},'spec':{'volumeClaimTemplatesPolicy':'Overrides'}",
          "'metadata':{'name':'t','annotations':{'" STATE
          "v1beta1-volume-claim-templates-policy':'Overrides'}},'spec':{}" },
        { &kind_sandbox_template, "v1alpha1",
          "'metadata':{'name':'t','annotations':{'" STATE
          "v1beta1-volume-claim-templates-policy':'Never'}},'spec':{}",
          "'metadata':{'name':'t','annotations':{'" STATE
          "v1beta1-volume-claim-templates-policy':'Never'}},'spec':{}" },

        { &kind_sandbox_warm_pool, "v1alpha1", "'metadata':{'name':'p'},'spec':{'replicas':3}",
          "'metadata':{'name':'p'},'spec':{'replicas':3}" },
        { &kind_sandbox_warm_pool, "v1beta1", "'metadata':{'name':'p'},'spec':{}",
          "'metadata':{'name':'p','annotations':{'" STATE
          "v1beta1-sandboxwarmpool-state':'{`spec`:{}}'}},'spec':{'replicas':1}" },
};

static void nothing_is_lost(void **state)
{
        (void)state;
        check_cases(lossless, ARRAY_SIZE(lossless), true);
}

/* ---- one way ---- */

#define ALPHA_SANDBOX(state) "'annotations':{'" STATE "v1alpha1-sandbox-state':" state "}"
#define ALPHA_CLAIM(state)   "'annotations':{'" STATE "v1alpha1-sandboxclaim-state':" state "}"
#define BETA_SANDBOX(state)  "'annotations':{'" STATE "v1beta1-sandbox-state':" state "}"
#define BETA_CLAIM(state)    "'annotations':{'" STATE "v1beta1-sandboxclaim-state':" state "}"

/* What was kept is believed only beside what it was kept for. */
static const struct conversion_case overtaken[] = {
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'," ALPHA_SANDBOX(
                  "'{`spec`:{}}'") "},"
                                   "'spec':{'operatingMode':'Suspended'}",
          "'metadata':{'name':'s'},'spec':{'replicas':0}" },
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'," ALPHA_SANDBOX(
                  "'{`spec`:{`replicas`:0}}'") "},"
                                               "'spec':{'operatingMode':'Running'}",
          "'metadata':{'name':'s'},'spec':{'replicas':1}" },
        { &kind_sandbox, "v1alpha1",
          "'metadata':{'name':'s'," BETA_SANDBOX("'{`spec`:{}}'") "},'spec':{'replicas':0}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Suspended'}" },
        /* The Pod has moved on since. */
        { &kind_sandbox, "v1alpha1",
          "'metadata':{'name':'s'," BETA_SANDBOX("'{`status`:{`podIPs`:[`10.0.0.1`],`nodeName`:`n`}"
                                                 "}'") "},"
                                                       "'spec':{'replicas':1},'status':{'replicas':"
                                                       "1,'podIPs':['10.0.0.2']}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running'},"
          "'status':{'podIPs':['10.0.0.2']}" },
        { &kind_sandbox, "v1alpha1",
          "'metadata':{'name':'s'," BETA_SANDBOX(
                  "'{`status`:{`podIPs`:[`10.0.0.1`],`nodeName`:`n`}}'") "},"
                                                                         "'spec':{'replicas':1},'"
                                                                         "status':{'replicas':0}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running'},'status':{}" },
        /* Created again from what v1alpha1 printed: the server has dropped the status. */
        { &kind_sandbox, "v1alpha1",
          "'metadata':{'name':'s'," BETA_SANDBOX(
                  "'{`status`:{`nodeName`:`n`}}'") "},"
                                                   "'spec':{'replicas':1}",
          "'metadata':{'name':'s'},'spec':{'operatingMode':'Running'}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'," ALPHA_CLAIM("'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`"
                                                "warmpool`:`none`}}'") "},"
                                                                       "'spec':{'warmPoolRef':{'"
                                                                       "name':'shadow-pool-y'}}",
          "'metadata':{'name':'c'},"
          "'spec':{'sandboxTemplateRef':{'name':'y'},'warmpool':'default'}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'," ALPHA_CLAIM("'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`"
                                                "warmpool`:`fast`}}'") "},"
                                                                       "'spec':{'warmPoolRef':{'"
                                                                       "name':'slow'}}",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'slow'},"
          "'warmpool':'slow'}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'," BETA_CLAIM("'{`spec`:{`warmPoolRef`:{`name`:`shadow-pool-x`}}}"
                                               "'") "},'spec':{'sandboxTemplateRef':{'name':'y'},'"
                                                    "warmpool':'default'}",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'shadow-pool-y'}}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'," BETA_CLAIM(
                  "'{`spec`:{`warmPoolRef`:{`name`:`none`}}}'") "},'spec':{'sandboxTemplateRef':{'"
                                                                "name':'p'},'warmpool':'p'}",
          "'metadata':{'name':'c'},'spec':{'warmPoolRef':{'name':'p'}}" },
        { &kind_sandbox_template, "v1beta1",
          "'metadata':{'name':'t','annotations':{'a':'b','" STATE
          "v1beta1-volume-claim-templates-policy':'Allowed'}},'spec':{}",
          "'metadata':{'name':'t','annotations':{'a':'b'}},'spec':{}" },
        { &kind_sandbox_warm_pool, "v1alpha1",
          "'metadata':{'name':'p','annotations':{'" STATE
          "v1beta1-sandboxwarmpool-state':'{`spec`:{}}'}},'spec':{'replicas':2}",
          "'metadata':{'name':'p'},'spec':{'replicas':2}" },
        /* A client of the first release writes one name only. */
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'default'},"
          "'status':{'sandbox':{'Name':'my-pool-x7k2f'}}",
          "'metadata':{'name':'c'," ALPHA_CLAIM(
                  "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},"
                  "`warmpool`:`default`}}'") "},'spec':{'warmPoolRef':{'name':'my-pool'}},"
                                             "'status':{'sandbox':{'name':'my-pool-x7k2f'}}" },
        { &kind_sandbox_claim, "v1beta1",
          "'metadata':{'name':'c'," ALPHA_CLAIM("'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`"
                                                "warmpool`:`fast`}}'") "},"
                                                                       "'spec':{'warmPoolRef':{'"
                                                                       "name':'shadow-pool-x'}}",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},"
          "'warmpool':'default'}" },
        { &kind_sandbox_claim, "v1alpha1",
          "'metadata':{'name':'c'},'spec':{'sandboxTemplateRef':{'name':'x'},'warmpool':'default'},"
          "'status':{'sandbox':{'Name':'nosuffix'}}",
          "'metadata':{'name':'c'," ALPHA_CLAIM(
                  "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},"
                  "`warmpool`:`default`}}'") "},'spec':{'warmPoolRef':{'name':'nosuffix'}},'status'"
                                             ":{'sandbox':{'name':'nosuffix'}}" },
        /* Upstream keeps the whole object. */
        { &kind_sandbox, "v1beta1",
          "'metadata':{'name':'s'," ALPHA_SANDBOX(
                  "'{`kind`:`Sandbox`,`metadata`:{`name`:`s`},`spec`:{`podTemplate`:{`spec`:{}}},"
                  "`status`:{`replicas`:1}}'") "},'spec':{'operatingMode':'Running'},'status':{}",
          "'metadata':{'name':'s'},'spec':{},'status':{'replicas':0}" },
};

static void what_was_said_since_wins(void **state)
{
        (void)state;
        check_cases(overtaken, ARRAY_SIZE(overtaken), false);
}

/* In place of each %s: state that is none. The object reads as if it were not there. */
static void odd_state_is_ignored(void **state)
{
        static const char *const odd[] = {
                "''",
                "'no JSON'",
                "'{'",
                "'[]'",
                "'null'",
                "'7'",
                "'{`spec`:7,`status`:7}'",
                "'{`spec`:[],`status`:[]}'",
                "'{`spec`:null,`status`:null}'",
                "'{`status`:{`nodeName`:7}}'",
                "'{`status`:{`nodeName`:``}}'",
                "'{`spec`:{`replicas`:`1`,`operatingMode`:7,`warmpool`:7,"
                "`warmPoolRef`:7,`sandboxTemplateRef`:7,`volumeClaimTemplates`:7}}'",
                "'{`spec`:{`replicas`:1,`operatingMode`:`Running`,`warmpool`:[],"
                "`warmPoolRef`:{},`sandboxTemplateRef`:{`name`:7},`volumeClaimTemplates`:[7]}}'",
                "'{`spec`:{`replicas`:0,`operatingMode`:`Suspended`,`warmpool`:{},"
                "`sandboxTemplateRef`:{`name`:`p`},`warmPoolRef`:{`name`:7},"
                "`volumeClaimTemplates`:[{}]}}'",
                "'{`spec`:{`replicas`:1,`operatingMode`:`Running`,`warmpool`:`q`,"
                "`sandboxTemplateRef`:{`name`:`x`},`warmPoolRef`:{`name`:`q`},"
                "`volumeClaimTemplates`:[{`spec`:{},`metadata`:7}]}}'",
                "7",
                "[]",
                "{'spec':{}}",
                "null",
        };
        static const struct {
                const struct kind *kind;
                const char *from, *annotation, *rest;
        } cases[] = {
                { &kind_sandbox, "v1beta1", "v1alpha1-sandbox-state",
                  "'spec':{'operatingMode':'Running'}" },
                { &kind_sandbox, "v1alpha1", "v1beta1-sandbox-state",
                  "'spec':{'replicas':1},'status':{}" },
                { &kind_sandbox_claim, "v1beta1", "v1alpha1-sandboxclaim-state",
                  "'spec':{'warmPoolRef':{'name':'shadow-pool-p'}}" },
                { &kind_sandbox_claim, "v1alpha1", "v1beta1-sandboxclaim-state",
                  "'spec':{'sandboxTemplateRef':{'name':'p'},'warmpool':'p'}" },
                { &kind_sandbox_template, "v1beta1", "v1alpha1-sandboxtemplate-state",
                  "'spec':{}" },
                { &kind_sandbox_template, "v1alpha1", "v1beta1-sandboxtemplate-state",
                  "'spec':{}" },
                { &kind_sandbox_warm_pool, "v1beta1", "v1alpha1-sandboxwarmpool-state",
                  "'spec':{'replicas':2}" },
                { &kind_sandbox_warm_pool, "v1alpha1", "v1beta1-sandboxwarmpool-state",
                  "'spec':{'replicas':2}" },
        };
        char with[1024], without[1024];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(odd); i++) {
                size_t c = i / ARRAY_SIZE(odd), o = i % ARRAY_SIZE(odd);
                snprintf(with, sizeof(with), "'metadata':{'annotations':{'" STATE "%s':%s}},%s",
                         cases[c].annotation, odd[o], cases[c].rest);
                snprintf(without, sizeof(without), "'metadata':{},%s", cases[c].rest);
                _cleanup_doc_ struct json_doc *odd_doc = object(cases[c].kind, cases[c].from, with);
                _cleanup_doc_ struct json_doc *doc = object(cases[c].kind, cases[c].from, without);
                _cleanup_doc_ struct json_doc *got = turn(cases[c].kind, odd_doc);
                _cleanup_doc_ struct json_doc *expected = turn(cases[c].kind, doc);
                assert_same(got, expected);
        }
}

/* The reader of claims goes by the hub's word too. */
static void readers_believe_no_old_state(void **state)
{
        static const struct {
                const char *pool, *kept;
                bool cold_only;
        } cases[] = {
                { "shadow-pool-x",
                  "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`warmpool`:`none`}}'", true },
                { "shadow-pool-x", "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`}}}'", false },
                { "shadow-pool-y",
                  "'{`spec`:{`sandboxTemplateRef`:{`name`:`x`},`warmpool`:`none`}}'", false },
                { "shadow-pool-x", "'{`spec`:{`warmpool`:`none`}}'", false },
                { "shadow-pool-x", "'{'", false },
        };
        char text[512];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct sandbox_claim claim;
                snprintf(text, sizeof(text),
                         "'metadata':{'annotations':{'cay.dev/generation':'v1alpha1','" STATE
                         "v1alpha1-sandboxclaim-state':%s}},'spec':{'warmPoolRef':{'name':'%s'}}",
                         cases[i].kept, cases[i].pool);
                _cleanup_doc_ struct json_doc *doc = object(&kind_sandbox_claim, "v1beta1", text);
                sandbox_claim_read(json_root(doc), &claim);
                assert_true(claim.by_template);
                assert_int_equal(claim.cold_only, cases[i].cold_only);
        }
}

/* ---- refusals ---- */

static void others_are_refused(void **state)
{
        static const struct {
                const struct kind *kind;
                const char *api_version, *name, *to, *members;
        } cases[] = {
                { &kind_sandbox, "agents.x-k8s.io/v1", "Sandbox", "v1beta1", "'spec':{}" },
                { &kind_sandbox, "agents.x-k8s.io/v1beta1", "Sandbox", "v1", "'spec':{}" },
                { &kind_sandbox, "agents.x-k8s.io/v1alpha1", "Sandbox", "v2", "'spec':{}" },
                { &kind_sandbox, "agents.x-k8s.io/v1alpha1", "Pod", "v1beta1", "'spec':{}" },
                { &kind_sandbox, "v1alpha1", "Sandbox", "v1beta1", "'spec':{}" },
                { &kind_sandbox, "apps/v1alpha1", "Sandbox", "v1alpha1", "'spec':{}" },
                { &kind_sandbox_claim, "agents.x-k8s.io/v1alpha1", "Sandbox", "v1beta1", "'a':1" },
                { &kind_pod, "v1", "Pod", "v1beta1", "'spec':{}" },
                { &kind_sandbox, "agents.x-k8s.io/v1alpha1", "Sandbox", "v1beta1", "'metadata':7" },
                { &kind_sandbox, "agents.x-k8s.io/v1beta1", "Sandbox", "v1alpha1",
                  "'metadata':{'annotations':[]}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer text = {};
                assert_int_equal(buffer_printf(&text, "{'apiVersion':'%s','kind':'%s',%s}",
                                               cases[i].api_version, cases[i].name,
                                               cases[i].members),
                                 0);
                for (size_t c = 0; c < text.length; c++)
                        if (text.data[c] == '\'')
                                text.data[c] = '"';
                _cleanup_doc_ struct json_doc *doc = parse(buffer_str(&text));
                struct json_doc *converted = NULL;
                struct error error = {};
                assert_int_equal(
                        kind_convert(cases[i].kind, doc, str_from(cases[i].to), &error, &converted),
                        -EINVAL);
                assert_null(converted);
                assert_true(error.message[0]);
        }
}

static void same_version_is_same_document(void **state)
{
        _cleanup_doc_ struct json_doc *doc = object(&kind_sandbox, "v1alpha1", "'metadata':7");
        _cleanup_doc_ struct json_doc *same = NULL;

        (void)state;
        assert_int_equal(kind_convert(&kind_sandbox, doc, STR("v1alpha1"), NULL, &same), 0);
        assert_ptr_equal(same, doc);
}

/* `fill` bytes of other annotations beside the 60 that the state needs. */
static int convert_filled(const char *version, const char *rest, size_t fill, struct error *error)
{
        _cleanup_buffer_ struct buffer members = {};
        _cleanup_doc_ struct json_doc *doc = NULL, *converted = NULL;
        bool is_hub = str_equal(str_from(version), STR("v1beta1"));

        assert_int_equal(buffer_append_str(&members, STR("'metadata':{'annotations':{'a':'")), 0);
        for (size_t i = 1; i < fill; i++)
                assert_int_equal(buffer_append_char(&members, 'x'), 0);
        assert_int_equal(buffer_printf(&members, "'}},%s%c", rest, '\0'), 0);
        doc = object(&kind_sandbox, version, members.data);
        return kind_convert(&kind_sandbox, doc, is_hub ? STR("v1alpha1") : STR("v1beta1"), error,
                            &converted);
}

static void annotations_have_a_limit(void **state)
{
        size_t needed = sizeof(STATE "v1alpha1-sandbox-state") - 1 + sizeof("{\"spec\":{}}") - 1;
        struct error error = {};

        (void)state;
        assert_int_equal(
                convert_filled("v1alpha1", "'spec':{}", LIMIT_ANNOTATIONS - needed, &error), 0);
        assert_int_equal(
                convert_filled("v1alpha1", "'spec':{}", LIMIT_ANNOTATIONS - needed + 1, &error),
                -E2BIG);
        assert_non_null(strstr(error.message, "262144"));
        assert_int_equal(
                convert_filled("v1alpha1", "'spec':{'replicas':1}", LIMIT_ANNOTATIONS, &error), 0);
        /* Reading goes on; what is too big is refused when it is written back. */
        assert_int_equal(convert_filled("v1beta1", "'spec':{}", LIMIT_ANNOTATIONS, &error), 0);
}

/* ---- random objects ---- */

struct random {
        uint64_t state;
};

static unsigned draw(struct random *random, unsigned below)
{
        random->state ^= random->state << 13;
        random->state ^= random->state >> 7;
        random->state ^= random->state << 17;
        return (unsigned)((random->state >> 33) % below);
}

/* One of the alternatives; "" says nothing. */
#define ONE_OF(random, ...)                                                                        \
        ((const char *const[]){ __VA_ARGS__ })[draw(                                               \
                (random), sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))]

static void put(struct buffer *out, const char *member)
{
        if (!member[0])
                return;
        if (out->length > 0 && out->data[out->length - 1] != '{')
                assert_int_equal(buffer_append_char(out, ','), 0);
        assert_int_equal(buffer_append_str(out, str_from(member)), 0);
}

static void put_open(struct buffer *out, const char *member)
{
        put(out, member);
        assert_int_equal(buffer_append_char(out, '{'), 0);
}

static void put_close(struct buffer *out)
{
        assert_int_equal(buffer_append_char(out, '}'), 0);
}

#define POOLS "fast", "fast-x", "x", "none", "default", "shadow-pool-x", "shadow-pool-", "-", ""

static void put_source(struct random *random, struct buffer *out, bool is_hub)
{
        char text[128];

        snprintf(text, sizeof(text),
                 is_hub ? "'warmPoolRef':{'name':'%s'}" : "'sandboxTemplateRef':{'name':'%s'}",
                 ONE_OF(random, POOLS));
        put(out, text);
        if (is_hub) {
                put(out,
                    ONE_OF(random, "", "'volumeClaimTemplates':[]",
                           "'volumeClaimTemplates':[{'metadata':{'name':'w'},'spec':{'a':1}}]"));
        } else if (draw(random, 4)) {
                snprintf(text, sizeof(text), "'warmpool':'%s'", ONE_OF(random, POOLS));
                put(out, text);
        }
        put(out, ONE_OF(random, "", "'lifecycle':{'shutdownPolicy':'Delete'}"));
        put(out, ONE_OF(random, "", "'env':[{'name':'A','value':'1'}]"));
}

static void put_spec(struct random *random, struct buffer *out, const struct kind *kind,
                     bool is_hub)
{
        if (kind == &kind_sandbox_claim) {
                put_source(random, out, is_hub);
                return;
        }
        put(out, ONE_OF(random, "", "'podTemplate':{'spec':{'containers':[{'name':'m'}]}}"));
        put(out, ONE_OF(random, "", "'service':true", "'service':false"));
        put(out, ONE_OF(random, "", "'volumeClaimTemplates':[{'spec':{}}]"));
        if (kind == &kind_sandbox && is_hub)
                put(out,
                    ONE_OF(random, "", "'operatingMode':'Running'", "'operatingMode':'Suspended'"));
        else if (kind == &kind_sandbox)
                put(out, ONE_OF(random, "", "'replicas':0", "'replicas':1"));
        else if (kind == &kind_sandbox_template && is_hub)
                put(out, ONE_OF(random, "", "'volumeClaimTemplatesPolicy':'Disallowed'",
                                "'volumeClaimTemplatesPolicy':'Overrides'"));
        else if (kind == &kind_sandbox_warm_pool)
                put(out, ONE_OF(random, is_hub ? "" : "'replicas':7", "'replicas':0",
                                "'replicas':1", "'replicas':3"));
}

static void put_status(struct random *random, struct buffer *out, const struct kind *kind,
                       bool is_hub)
{
        bool has_pod = draw(random, 2);
        const char *ips = has_pod ? ONE_OF(random, "", "'podIPs':['10.0.0.1']", "'podIPs':[]") : "";
        char text[128];

        put(out, has_pod ? "'conditions':[{'type':'Ready'},{'type':'PodScheduled'}]"
                         : "'conditions':[{'type':'Ready'}]");
        if (kind == &kind_sandbox) {
                put(out, ips);
                if (is_hub)
                        put(out, ONE_OF(random, "", "'nodeName':'n'"));
                else
                        put(out, has_pod ? "'replicas':1" : "'replicas':0");
        } else if (kind == &kind_sandbox_claim && draw(random, 4)) {
                const char *name = ONE_OF(random, "o", "fast-x7k2p", "shadow-pool-x-1", "x", "-");
                put_open(out, "'sandbox':");
                put(out, ips);
                snprintf(text, sizeof(text), is_hub ? "'name':'%s'" : "'name':'%s','Name':'%s'",
                         name, name);
                put(out, draw(random, 4) ? text : "");
                put_close(out);
        } else if (kind == &kind_sandbox_warm_pool) {
                put(out, ONE_OF(random, "", "'replicas':2,'readyReplicas':1"));
        }
}

/* `annotation` is one member more, or "". */
static struct json_doc *make(struct random *random, const struct kind *kind, bool is_hub,
                             const char *annotation)
{
        _cleanup_buffer_ struct buffer text = {};
        const char *other = ONE_OF(random, "", "'a':'b'", "'a':'b','cay.dev/generation':'v1beta1'");

        put_open(&text, "'metadata':");
        put(&text, "'name':'o'");
        put(&text, ONE_OF(random, "", "'labels':{'l':'v'}", "'resourceVersion':'5'"));
        if (other[0] || annotation[0]) {
                put_open(&text, "'annotations':");
                put(&text, other);
                put(&text, annotation);
                put_close(&text);
        }
        put_close(&text);
        put_open(&text, "'spec':");
        put_spec(random, &text, kind, is_hub);
        put_close(&text);
        if (draw(random, 3) && kind->has_status) {
                put_open(&text, "'status':");
                put_status(random, &text, kind, is_hub);
                put_close(&text);
        }
        assert_int_equal(buffer_append_char(&text, '\0'), 0);
        return object(kind, is_hub ? "v1beta1" : "v1alpha1", text.data);
}

static const struct kind *const kinds[] = { &kind_sandbox, &kind_sandbox_claim,
                                            &kind_sandbox_template, &kind_sandbox_warm_pool };

enum { ROUNDS = 4000 };

static void random_objects_come_back(void **state)
{
        struct random random = { 20261121 };

        (void)state;
        for (unsigned i = 0; i < ROUNDS; i++) {
                const struct kind *kind = kinds[i % ARRAY_SIZE(kinds)];
                _cleanup_doc_ struct json_doc *doc = make(&random, kind, draw(&random, 2), "");
                _cleanup_doc_ struct json_doc *other = turn(kind, doc), *back = turn(kind, other),
                                              *other_again = turn(kind, back);
                assert_same(back, doc);
                assert_same(other_again, other);
        }
}

static void assert_same_content(const struct json_doc *a, const struct json_doc *b)
{
        static const char *const members[] = { "spec", "status" };

        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                struct json_value x = json_member(json_root(a), str_from(members[i]));
                struct json_value y = json_member(json_root(b), str_from(members[i]));
                if (json_exists(x) != json_exists(y) || (json_exists(x) && !json_equal(x, y)))
                        fail_msg("%.*s\n#  is not\n#  %.*s", STR_FORMAT(json_doc_text(a)),
                                 STR_FORMAT(json_doc_text(b)));
        }
}

/* Whatever state stands there, of another object, old or made up: a write of metadata through the
 * other version leaves spec and status as they are, and the second one leaves all as it is. */
static void random_state_changes_nothing(void **state)
{
        struct random random = { 42 };

        (void)state;
        for (unsigned i = 0; i < ROUNDS; i++) {
                const struct kind *kind = kinds[i % ARRAY_SIZE(kinds)];
                bool is_hub = draw(&random, 2);
                _cleanup_doc_ struct json_doc *stranger = make(&random, kind, !is_hub, "");
                _cleanup_buffer_ struct buffer annotation = {};
                struct str text = json_doc_text(stranger);

                assert_int_equal(buffer_printf(&annotation, "'" STATE "%s-%.*s-state':'",
                                               is_hub ? "v1alpha1" : "v1beta1",
                                               STR_FORMAT(kind->kind)),
                                 0);
                for (size_t c = 0; c < annotation.length; c++)
                        if (annotation.data[c] >= 'A' && annotation.data[c] <= 'Z')
                                annotation.data[c] = (char)(annotation.data[c] + 'a' - 'A');
                for (size_t c = 0; c < text.length; c++)
                        assert_int_equal(buffer_append_char(&annotation, text.data[c] == '"'
                                                                                 ? '`'
                                                                                 : text.data[c]),
                                         0);
                assert_int_equal(buffer_append(&annotation, "'", 2), 0);
                _cleanup_doc_ struct json_doc *doc = make(&random, kind, is_hub, annotation.data);
                _cleanup_doc_ struct json_doc *other = turn(kind, doc), *back = turn(kind, other),
                                              *other_again = turn(kind, back),
                                              *back_again = turn(kind, other_again);
                assert_same_content(back, doc);
                assert_same(other_again, other);
                assert_same(back_again, back);
        }
}

/* ---- the dialect ---- */

static void the_dialect_is_adopted(void **state)
{
        static const struct {
                const char *before, *after;
        } cases[] = {
                { "'kind':'SandboxTemplate','spec':{'podTemplate':{}}",
                  "'kind':'SandboxTemplate','spec':{'podTemplate':{}}" },
                { "'kind':'SandboxClaim','spec':{'templateRef':{'name':'x'},'ttl':'1h'}",
                  "'kind':'SandboxClaim','spec':{'sandboxTemplateRef':{'name':'x'},'lifecycle':{"
                  "'shutdownTime':'2026-11-21T11:00:00Z','shutdownPolicy':'Delete'}}" },
                { "'kind':'SandboxClaim','spec':{'templateRef':{'name':'x'},'ttl':'1m0.5s',"
                  "'sandboxTemplateRef':{'name':'y'},'lifecycle':{'shutdownPolicy':'Retain',"
                  "'ttlSecondsAfterFinished':3}}",
                  "'kind':'SandboxClaim','spec':{'sandboxTemplateRef':{'name':'x'},'lifecycle':{"
                  "'shutdownTime':'2026-11-21T10:01:01Z','shutdownPolicy':'Delete',"
                  "'ttlSecondsAfterFinished':3}}" },
                { "'kind':'SandboxClaim','spec':{'sandboxTemplateRef':{'name':'y'}}",
                  "'kind':'SandboxClaim','spec':{'sandboxTemplateRef':{'name':'y'}}" },
                { "'kind':'SandboxClaim','spec':{'ttl':'1h','lifecycle':7}",
                  "'kind':'SandboxClaim','spec':{'lifecycle':7}" },
                { "'kind':'SandboxClaim','spec':[]", "'kind':'SandboxClaim','spec':[]" },
                { "'kind':'SandboxClaim'", "'kind':'SandboxClaim'" },
        };
        uint64_t created = 0;
        char text[512];

        (void)state;
        assert_int_equal(rfc3339_parse(STR("2026-11-21T10:00:00Z"), &created), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kind alias = { .group = GROUP_AGENTS, .kind = STR("SandboxClaim") };
                struct kind real = { .group = GROUP_EXTENSIONS, .kind = STR("SandboxClaim") };
                snprintf(text, sizeof(text), "'metadata':{},%s", cases[i].before);
                _cleanup_doc_ struct json_doc *doc = object(&alias, "v1alpha1", text);
                snprintf(text, sizeof(text), "'metadata':{},%s", cases[i].after);
                _cleanup_doc_ struct json_doc *expected = object(&real, "v1alpha1", text);
                _cleanup_doc_ struct json_doc *adopted = NULL, *again = NULL;
                assert_int_equal(kind_adopt_dialect(doc, created, NULL, &adopted), 0);
                assert_same(adopted, expected);
                assert_int_equal(kind_adopt_dialect(adopted, created, NULL, &again), 0);
                assert_ptr_equal(again, adopted);
        }
}

static void bad_durations_are_refused(void **state)
{
        static const char *const ttls[] = { "'1d'", "''", "'soon'",     "'-1h'",     "3600",
                                            "null", "{}", "'2222222h'", "'9999999h'" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(ttls); i++) {
                struct kind alias = { .group = GROUP_AGENTS, .kind = STR("SandboxClaim") };
                struct json_doc *adopted = NULL;
                struct error error = {};
                char text[128];
                snprintf(text, sizeof(text), "'spec':{'ttl':%s}", ttls[i]);
                _cleanup_doc_ struct json_doc *doc = object(&alias, "v1alpha1", text);
                if (kind_adopt_dialect(doc, UINT64_C(1795255200) * NS_PER_SECOND, &error,
                                       &adopted) != -EINVAL)
                        fail_msg("taken: %s", ttls[i]);
                assert_non_null(strstr(error.message, "spec.ttl"));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_lost),
                cmocka_unit_test(what_was_said_since_wins),
                cmocka_unit_test(odd_state_is_ignored),
                cmocka_unit_test(readers_believe_no_old_state),
                cmocka_unit_test(others_are_refused),
                cmocka_unit_test(same_version_is_same_document),
                cmocka_unit_test(annotations_have_a_limit),
                cmocka_unit_test(random_objects_come_back),
                cmocka_unit_test(random_state_changes_nothing),
                cmocka_unit_test(the_dialect_is_adopted),
                cmocka_unit_test(bad_durations_are_refused),
        };
        return run_unit_tests("convert", tests);
}
