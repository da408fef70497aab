// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a reflector tells its user, for tests. */
#include <stdio.h>

#include "base/buffer.h"
#include "base/test.h"
#include "client/reflector.h"

struct heard {
        struct buffer text; /* of each event a mark, the name and the version: "[0 +a3 ]7 " */
        enum kube_reflector_state state;
        char message[128]; /* the last that was not empty */
};

static inline void heard_event(void *user, const struct kube_event *event)
{
        static const char marks[] = {
                [KUBE_LIST_BEGIN] = '[', [KUBE_ADDED] = '+',    [KUBE_MODIFIED] = '~',
                [KUBE_DELETED] = '-',    [KUBE_LIST_END] = ']', [KUBE_BOOKMARK] = '='
        };
        struct heard *heard = user;

        assert_int_equal(buffer_printf(&heard->text, "%c%.*s%lu ", marks[event->type],
                                       STR_FORMAT(event->name), event->resource_version),
                         0);
}

static inline void heard_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct heard *heard = user;

        heard->state = state;
        if (message.length > 0)
                snprintf(heard->message, sizeof(heard->message), "%.*s", STR_FORMAT(message));
}

static inline bool heard_is(const struct heard *heard, const char *expected)
{
        return str_equal(buffer_str(&heard->text), str_from(expected));
}
