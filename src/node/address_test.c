// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/test.h"
#include "node/address.h"

static void parses_exactly_dotted_decimal(void **state)
{
        static const char *const bad[] = { "",         "1.2.3",    "1.2.3.4.5", "1.2.3.256",
                                           "01.2.3.4", "1..3.4",   "1.2.3.4 ",  "+1.2.3.4",
                                           "a.b.c.d",  "1.2.3.4.", "0x1.2.3.4", "1.2.3.0004" };
        uint32_t address;
        char text[ADDRESS_TEXT_SIZE];

        (void)state;
        assert_int_equal(address_parse(STR("10.244.0.255"), &address), 0);
        assert_int_equal(address, 0x0af400ff);
        address_format(address, text);
        assert_string_equal(text, "10.244.0.255");
        address_format(UINT32_MAX, text);
        assert_string_equal(text, "255.255.255.255");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(address_parse(str_from(bad[i]), &address), -EINVAL);
}

static void refuses_what_is_no_network(void **state)
{
        static const char *const bad[] = { "10.0.0.0",    "10.0.0.0/7",  "10.0.0.0/30",
                                           "10.0.0.1/24", "10.0.0.0/-8", "x/24" };
        struct address_pool pool;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct error error = {};
                assert_int_equal(address_pool_init(&pool, str_from(bad[i]), &error), -EINVAL);
                assert_int_equal(error.code, -EINVAL);
        }
}

static void gives_every_host_once_and_rotates(void **state)
{
        struct address_pool pool;
        uint32_t address, first;

        (void)state;
        assert_int_equal(address_pool_init(&pool, STR("10.1.2.0/29"), NULL), 0);
        assert_int_equal(address_pool_gateway(&pool), 0x0a010201);
        assert_int_equal(pool.count, 5);
        assert_int_equal(address_pool_take(&pool, &first), 0);
        assert_int_equal(first, 0x0a010202);
        address_pool_release(&pool, first);
        for (uint32_t i = 1; i <= 5; i++) {
                assert_int_equal(address_pool_take(&pool, &address), 0);
                assert_int_equal(address, first + i % 5);
        }
        assert_int_equal(address_pool_take(&pool, &address), -EADDRNOTAVAIL);
        address_pool_release(&pool, first + 3);
        address_pool_release(&pool, first + 3);
        address_pool_release(&pool, first + 100);
        assert_int_equal(pool.used, 4);
        assert_int_equal(address_pool_take(&pool, &address), 0);
        assert_int_equal(address, first + 3);
        address_pool_deinit(&pool);
}

static void keeps_what_was_found_after_a_restart(void **state)
{
        struct address_pool pool;
        uint32_t address;

        (void)state;
        assert_int_equal(address_pool_init(&pool, STR("10.1.2.0/24"), NULL), 0);
        assert_int_equal(address_pool_reserve(&pool, 0x0a010202), 0);
        assert_int_equal(address_pool_reserve(&pool, 0x0a010202), -EADDRINUSE);
        assert_int_equal(address_pool_reserve(&pool, 0x0a010201), -EINVAL);
        assert_int_equal(address_pool_reserve(&pool, 0x0a0102ff), -EINVAL);
        assert_int_equal(address_pool_take(&pool, &address), 0);
        assert_int_equal(address, 0x0a010203);
        address_pool_continue_after(&pool, 0x0a0102fe);
        assert_int_equal(address_pool_take(&pool, &address), 0);
        assert_int_equal(address, 0x0a010204);
        address_pool_deinit(&pool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parses_exactly_dotted_decimal),
                cmocka_unit_test(refuses_what_is_no_network),
                cmocka_unit_test(gives_every_host_once_and_rotates),
                cmocka_unit_test(keeps_what_was_found_after_a_restart),
        };

        return run_unit_tests("address", tests);
}
