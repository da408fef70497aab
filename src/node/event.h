// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"

/* What is told about an object of the API as an Event; see `kubectl describe`. */
struct node_event {
        struct str name; /* of the Event; of the same name: told once */
        struct {
                struct str api_version, kind, namespace, name, uid;
        } about;
        struct str reason, message;
        bool is_warning;
        struct str component; /* who tells it */
        struct str host;      /* the Node's name */
        uint64_t at_ns;       /* CLOCK_REALTIME */
};

/* Appends the Event as JSON (core/v1). -ENOMEM. */
int node_event_append(const struct node_event *event, struct buffer *out);
