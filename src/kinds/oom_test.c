// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/failing_allocation.h"
#include "base/test.h"
#include "kinds/convert.h"

/*
 * The N-th allocation of a conversion fails, for every N until all goes well: the result is -ENOMEM
 * or the whole one.
 */

#define API   "{\"apiVersion\":\"extensions.agents.x-k8s.io/"
#define STATE "\"metadata\":{\"name\":\"c\",\"annotations\":{\"api.agents.x-k8s.io/"

static const struct {
        const struct kind *kind; /* NULL: the dialect */
        const char *to, *text;
} cases[] = {
        { &kind_sandbox_claim, "v1beta1",
          API "v1alpha1\",\"kind\":\"SandboxClaim\"," STATE
              "v1beta1-sandboxclaim-state\":\"{\\\"spec\\\":{\\\"warmPoolRef\\\":{\\\"name\\\":"
              "\\\"shadow-pool-x\\\"},\\\"volumeClaimTemplates\\\":[{\\\"spec\\\":{}}]}}\"}},"
              "\"spec\":{\"sandboxTemplateRef\":{\"name\":\"x\"}},"
              "\"status\":{\"sandbox\":{\"Name\":\"fast-1\"}}}" },
        { &kind_sandbox_claim, "v1alpha1",
          API "v1beta1\",\"kind\":\"SandboxClaim\"," STATE
              "v1alpha1-sandboxclaim-state\":\"{\\\"spec\\\":{\\\"sandboxTemplateRef\\\":{"
              "\\\"name\\\":\\\"x\\\"}}}\"}},\"spec\":{\"warmPoolRef\":{\"name\":"
              "\"shadow-pool-x\"},\"volumeClaimTemplates\":[{\"spec\":{}}]},"
              "\"status\":{\"sandbox\":{\"name\":\"fast-1\"}}}" },
        { NULL, "",
          "{\"apiVersion\":\"agents.x-k8s.io/v1alpha1\",\"kind\":\"SandboxClaim\",\"spec\":{"
          "\"templateRef\":{\"name\":\"x\"},\"ttl\":\"1h\"}}" },
};

static int convert_case(size_t i, struct json_doc *doc, struct json_doc **ret_doc)
{
        if (!cases[i].kind)
                return kind_adopt_dialect(doc, 0, NULL, ret_doc);
        return kind_convert(cases[i].kind, doc, str_from(cases[i].to), NULL, ret_doc);
}

static void every_allocation_may_fail(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL, *expected = NULL;
                long failing = 0;
                int r;

                assert_int_equal(json_doc_parse(str_from(cases[i].text), NULL, NULL, NULL, &doc),
                                 0);
                assert_int_equal(convert_case(i, doc, &expected), 0);
                do {
                        _cleanup_doc_ struct json_doc *converted = NULL;
                        allocation_fail_after(failing++);
                        r = convert_case(i, doc, &converted);
                        allocation_failed();
                        assert_true(r == 0 || r == -ENOMEM);
                        assert_true((r == 0) == (converted != NULL));
                        if (r == 0)
                                assert_true(str_equal(json_doc_text(converted),
                                                      json_doc_text(expected)));
                } while (r < 0);
                assert_true(failing > 5);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_allocation_may_fail),
        };
        return run_unit_tests("kinds_oom", tests);
}
