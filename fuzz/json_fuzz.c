// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "json/json.h"
#include "json/writer.h"

/*
 * The normal form is a fixed point, every value is reachable both by walking and by look-up, and
 * strings survive being decoded and written.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_value(struct json_value value)
{
        _cleanup_buffer_ struct buffer out = {};
        struct json_writer writer;
        size_t count = 0;

        check(json_exists(value) && json_text(value).length > 0);
        if (json_type(value) == JSON_STRING) {
                json_writer_init(&writer, &out);
                json_write_string(&writer, json_string(value));
                check(json_writer_finish(&writer) == 0);
                check(str_equal(buffer_str(&out), json_text(value)));
        }
        json_for_each (it, value) {
                if (json_type(value) == JSON_ARRAY && count < 100)
                        check(json_element(value, count).node == it.value.node);
                if (json_type(value) == JSON_OBJECT && count < 100)
                        check(json_member(value, it.key).node == it.value.node);
                check_value(it.value);
                count++;
        }
        check(count == json_count(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json_options options = { .drop_nulls = size > 0 && (data[0] & 1) };
        _cleanup_doc_ struct json_doc *doc = NULL, *again = NULL;
        struct json_notes notes, none;
        struct error error = {};

        if (size == 0)
                return 0;
        struct str text = { (const char *)data + 1, size - 1 };
        int r = json_doc_parse(text, &options, &notes, &error, &doc);
        check(r <= 0 && r == error.code && (r == 0) == (doc != NULL));
        check(notes.error_offset <= text.length);
        if (r < 0)
                return 0;
        check(json_doc_parse(json_doc_text(doc), NULL, &none, NULL, &again) == 0);
        check(!none.has_duplicate);
        check(str_equal(json_doc_text(doc), json_doc_text(again)));
        check(json_equal(json_root(doc), json_root(again)));
        check_value(json_root(doc));
        return 0;
}
