// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "apiserver/call.h"
#include "kube/name.h"
#include "json/edit.h"

/*
 * What a kind does that its schema cannot say (k8s.io/kubernetes pkg/registry). All members may be
 * NULL or zero. Objects are in the storage version.
 */
struct api_behaviour {
        struct str group, plural;
        name_check_fn check_name; /* NULL: an RFC 1123 subdomain */
        bool has_generation;      /* custom kinds always have */
        bool returns_deleted;     /* DELETE answers with the object, not with a Status */

        /* Go's defaults, which no schema tells, on create and update. */
        int (*set_defaults)(struct arena *arena, struct json_value object, struct json_edit *edit);

        /* On create: the first status, fields that only the server sets. */
        int (*prepare)(struct api_call *call, struct json_value object, struct json_edit *edit);

        /* On update: fields that only the server sets are kept. `subresource` may be empty. */
        int (*prepare_update)(struct api_call *call, struct json_value object,
                              struct json_value before, struct json_edit *edit);

        /* Rules beyond the schema. `before` is absent on create. */
        void (*validate)(struct json_value object, struct json_value before,
                         struct field_errors *errors);

        /*
         * The verdict that depends on other objects, on create, inside the judge. Returns 0, or
         * what api_call_refuse() does. May edit the object.
         */
        int (*admit)(struct api_call *call, struct json_value object, struct json_edit *edit);

        /* After it was made: answers the call, now or later. NULL: it is answered with `doc`. */
        void (*created)(struct api_call *call, struct json_doc *doc);

        /* Before deletion: why the object may not be deleted; empty: it may. */
        struct str (*stays)(struct api_call *call, struct json_value object);

        /* How long an object may take to end when it is deleted: seconds; 0: goes at once. */
        int64_t (*grace)(struct json_value object, int64_t asked);

        /* On deletion: a finalizer that holds the object until something is done; empty: none. */
        struct str (*finalizer)(struct api_call *call, struct json_value object);

        /* On deletion: more edits than metadata (a namespace's phase). Whether it stays. */
        bool (*deleting)(struct json_value object, struct json_edit *edit);
};

/* NULL if the kind has none. */
const struct api_behaviour *behaviour_find(struct str group, struct str plural);

/* The tables behind it, by subject. */
extern const struct api_behaviour behaviours_core[], behaviours_workload[], behaviours_custom[];
extern const size_t behaviours_core_count, behaviours_workload_count, behaviours_custom_count;
