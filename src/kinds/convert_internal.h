// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "json/edit.h"
#include "json/json.h"
#include "json/writer.h"

/* One conversion under way. For this folder's convert_*.c alone. */
struct conversion {
        struct json_value root, metadata, spec, status; /* of the document that is converted */
        struct json_value annotations;
        size_t annotation_count; /* as it will be */
        bool annotation_removed;
        struct json_value kept;   /* the state that came along of the version gone to; or absent */
        struct json_writer state; /* inside the object of what the version left alone can say */
        struct json_edit edit;
        struct arena *arena;
};

/* `pointer` is that of the annotation `key`. */
void conversion_set_annotation(struct conversion *conversion, struct str key, const char *pointer,
                               struct str text);
void conversion_remove_annotation(struct conversion *conversion, struct str key,
                                  const char *pointer);

/* null stands for absence wherever Kubernetes reads. */
static inline bool is_given(struct json_value value)
{
        return json_exists(value) && json_type(value) != JSON_NULL;
}

static inline bool is_object(struct json_value value)
{
        return json_type(value) == JSON_OBJECT;
}

void sandbox_to_hub(struct conversion *conversion);
void sandbox_from_hub(struct conversion *conversion);
void template_to_hub(struct conversion *conversion);
void template_from_hub(struct conversion *conversion);
void pool_to_hub(struct conversion *conversion);
void pool_from_hub(struct conversion *conversion);
void claim_to_hub(struct conversion *conversion);
void claim_from_hub(struct conversion *conversion);
