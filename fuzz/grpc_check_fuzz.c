// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "node/grpc_check.h"

/* The first byte says how the rest is cut. Whatever a sandbox sends, the check ends or waits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char why[GRPC_CHECK_MESSAGE] = "";
        struct grpc_check *check;
        int r = 0;

        if (size == 0 || grpc_check_new(STR("10.0.0.1:80"), STR("service"), &check) < 0)
                return 0;
        size_t step = (size_t)data[0] + 1;
        for (size_t at = 1; at < size && r == 0; at += step)
                r = grpc_check_receive(
                        check, (struct str){ (const char *)data + at, MIN(step, size - at) });
        if (r > 0 && grpc_check_is_serving(check, why) && why[0])
                abort();
        grpc_check_free(check);
        return 0;
}
