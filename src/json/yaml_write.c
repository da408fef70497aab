// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <yaml.h>

#include "json/yaml.h"
#include "json/yaml_scalar.h"

struct emitter {
        yaml_emitter_t yaml;
        struct buffer *out;
};

static int append(void *user, unsigned char *data, size_t size)
{
        struct emitter *emitter = user;

        return buffer_append(emitter->out, data, size) == 0;
}

/* Takes an event whose making may have failed. */
static int emit(struct emitter *emitter, int made, yaml_event_t *event)
{
        return made && yaml_emitter_emit(&emitter->yaml, event) ? 0 : -ENOMEM;
}

static int emit_scalar(struct emitter *emitter, struct str text, yaml_scalar_style_t style)
{
        yaml_event_t event;
        int made = yaml_scalar_event_initialize(&event, NULL, NULL,
                                                (const yaml_char_t *)(text.length ? text.data : ""),
                                                (int)text.length, 1, 1, style);

        return emit(emitter, made, &event);
}

static int emit_string(struct emitter *emitter, struct str text)
{
        yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;

        if (text.length > 0 && memchr(text.data, '\n', text.length))
                style = YAML_LITERAL_SCALAR_STYLE;
        else if (yaml_needs_quotes(text))
                style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
        return emit_scalar(emitter, text, style);
}

static int emit_value(struct emitter *emitter, struct json_value value)
{
        yaml_event_t event;
        int r;

        switch (json_type(value)) {
        case JSON_STRING:
                return emit_string(emitter, json_string(value));
        case JSON_ARRAY:
                r = emit(emitter,
                         yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                              YAML_BLOCK_SEQUENCE_STYLE),
                         &event);
                json_for_each (it, value)
                        if (r == 0)
                                r = emit_value(emitter, it.value);
                return r < 0 ? r
                             : emit(emitter, yaml_sequence_end_event_initialize(&event), &event);
        case JSON_OBJECT:
                r = emit(emitter,
                         yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                                             YAML_BLOCK_MAPPING_STYLE),
                         &event);
                json_for_each (it, value) {
                        if (r == 0)
                                r = emit_string(emitter, it.key);
                        if (r == 0)
                                r = emit_value(emitter, it.value);
                }
                return r < 0 ? r : emit(emitter, yaml_mapping_end_event_initialize(&event), &event);
        default:
                return emit_scalar(emitter, json_exists(value) ? json_text(value) : STR("null"),
                                   YAML_PLAIN_SCALAR_STYLE);
        }
}

int yaml_write(struct json_value value, struct buffer *out)
{
        struct emitter emitter = { .out = out };
        yaml_event_t event;

        if (!yaml_emitter_initialize(&emitter.yaml))
                return -ENOMEM;
        yaml_emitter_set_output(&emitter.yaml, append, &emitter);
        yaml_emitter_set_unicode(&emitter.yaml, 1);
        int r = emit(&emitter, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING),
                     &event);
        if (r == 0)
                r = emit(&emitter,
                         yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event);
        if (r == 0)
                r = emit_value(&emitter, value);
        if (r == 0)
                r = emit(&emitter, yaml_document_end_event_initialize(&event, 1), &event);
        if (r == 0)
                r = emit(&emitter, yaml_stream_end_event_initialize(&event), &event);
        yaml_emitter_delete(&emitter.yaml);
        return r;
}
