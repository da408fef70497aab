// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What every unit test includes: cmocka with the headers that it wants first, and TAP output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define run_unit_tests(group, tests)                                                               \
        (cmocka_set_message_output(CM_OUTPUT_TAP),                                                 \
         cmocka_run_group_tests_name((group), (tests), NULL, NULL))
