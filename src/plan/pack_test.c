// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failing_allocation.h"
#include "base/limit.h"
#include "plan/pack.h"

enum { FAMILIES = 40, MEMBERS = 30, TEXT_MOST = 1024 };

/* Texts of one family are alike, those of two are not. */
static struct str make_text(char *text, unsigned family, unsigned member)
{
        int n = snprintf(text, TEXT_MOST, "{\"name\":\"m-%u\"", member);

        for (unsigned i = 0, x = family * 7919 + 1; i < 60; i++) {
                x = x * 1103515245 + 12345;
                n += snprintf(text + n, (size_t)(TEXT_MOST - n), ",\"%08x\"", x);
        }
        return (struct str){ text, (size_t)n };
}

static void expect(const struct packed *packed, unsigned family, unsigned member)
{
        _cleanup_buffer_ struct buffer out = {};
        char text[TEXT_MOST];

        assert_int_equal(packer_unpack(packed, &out), 0);
        assert_true(str_equal(buffer_str(&out), make_text(text, family, member)));
}

/* More families by turns than likes are tried: who was packed by one that no longer is can be read,
 * also when it is the last. */
static void keeps_what_is_in_use(void **state)
{
        static const int kinds[2];
        struct packed *packed[FAMILIES][MEMBERS];
        struct packer *packer;
        char text[TEXT_MOST];

        (void)state;
        assert_int_equal(packer_new(&packer), 0);
        for (unsigned m = 0; m < MEMBERS; m++)
                for (unsigned f = 0; f < FAMILIES; f++)
                        assert_int_equal(packer_pack(packer, &kinds[f % 2], make_text(text, f, m),
                                                     &packed[f][m]),
                                         0);
        for (unsigned f = 0; f < FAMILIES; f++)
                for (unsigned m = 0; m < MEMBERS; m++) {
                        expect(packed[f][m], f, m);
                        if (m % 2)
                                continue;
                        packer_drop(packed[f][m]);
                        packed[f][m] = NULL;
                }
        for (unsigned f = 0; f < FAMILIES; f++)
                for (unsigned m = 0; m < MEMBERS; m++) {
                        if (packed[f][m])
                                expect(packed[f][m], f, m);
                        packer_drop(packed[f][m]);
                }
        packer_free(packer);
}

static void refuses_what_is_too_long(void **state)
{
        struct packed *packed = NULL;
        struct packer *packer;
        char *text = calloc(1, LIMIT_BODY + 1);

        (void)state;
        assert_non_null(text);
        assert_int_equal(packer_new(&packer), 0);
        assert_int_equal(packer_pack(packer, NULL, (struct str){ text, LIMIT_BODY + 1 }, &packed),
                         -EFBIG);
        assert_null(packed);
        assert_int_equal(packer_pack(packer, NULL, (struct str){ text, LIMIT_BODY }, &packed), 0);
        packer_drop(packed);
        packer_free(packer);
        free(text);
}

static int pack_some(struct packed *packed[static MEMBERS], struct packer **packer)
{
        char text[TEXT_MOST];
        int r = packer_new(packer);

        for (unsigned m = 0; r == 0 && m < MEMBERS; m++)
                r = packer_pack(*packer, NULL, make_text(text, m % 3, m), &packed[m]);
        return r;
}

/* Without memory for a like of its own a text is packed without. */
static void every_allocation_may_fail(void **state)
{
        unsigned survived = 0;
        long n = 0;

        (void)state;
        for (bool failed = true; failed; n++) {
                struct packed *packed[MEMBERS] = {};
                struct packer *packer = NULL;
                int r;

                allocation_fail_after(n);
                r = pack_some(packed, &packer);
                failed = allocation_failed();
                assert_true(r == 0 || (failed && r == -ENOMEM));
                survived += failed && r == 0;
                for (unsigned m = 0; m < MEMBERS; m++) {
                        if (packed[m])
                                expect(packed[m], m % 3, m);
                        packer_drop(packed[m]);
                }
                packer_free(packer);
        }
        assert_true(n > MEMBERS);
        assert_true(survived >= 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_what_is_in_use),
                cmocka_unit_test(refuses_what_is_too_long),
                cmocka_unit_test(every_allocation_may_fail),
        };

        return run_unit_tests("pack", tests);
}
