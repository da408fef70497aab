// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdio.h>

#include "base/test.h"
#include "runtime/testbed.h"

/* What tests of the launcher share: real namespaces, cgroups and wires, as root only. */

static const char *init_path;

static inline int setup(void **state)
{
        static struct testbed bed;

        testbed_start(&bed, init_path, NULL);
        *state = &bed;
        return 0;
}

static inline int teardown(void **state)
{
        testbed_stop(*state);
        return 0;
}

static inline void assert_run(struct testbed *bed, const struct container_key *key,
                              const char *script, int code, const char *output)
{
        char got[4096];
        int r = testbed_run(bed, key, script, got, sizeof(got));

        if (r != code || (output && strcmp(got, output) != 0))
                fail_msg("\"%s\" gave %d \"%s\", expected %d \"%s\"", script, r, got, code,
                         output ? output : "anything");
}

static inline unsigned count_lines(const char *command)
{
        FILE *pipe = popen(command, "r");
        unsigned count = 0;

        assert_non_null(pipe);
        for (int c; (c = fgetc(pipe)) != EOF;)
                count += c == '\n';
        pclose(pipe);
        return count;
}
