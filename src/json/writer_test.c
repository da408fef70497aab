// SPDX-License-Identifier: Apache-2.0
#include "json/writer.h"

#include <errno.h>

#include "base/limit.h"
#include "base/test.h"

static void a_document_is_written_and_read(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct json_writer writer;

        (void)state;
        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("Sand\"box\\\n\x01\x7f\xc3\xa9"));
        json_field_int(&writer, "min", INT64_MIN);
        json_field_bool(&writer, "yes", true);
        json_field_array(&writer, "list");
        json_write_null(&writer);
        json_begin_object(&writer);
        json_end_object(&writer);
        json_write_string(&writer, STR("bad\xff\xc3 utf"));
        json_begin_array(&writer);
        json_end_array(&writer);
        json_end_array(&writer);
        json_field_object(&writer, "inner");
        json_field_raw(&writer, "raw", STR("{\"a\":1}"));
        json_field_value(&writer, "absent", (struct json_value){});
        json_end_object(&writer);
        json_end_object(&writer);
        assert_int_equal(json_writer_finish(&writer), 0);

        assert_int_equal(json_doc_from_buffer(&text, &doc), 0);
        assert_true(str_equal(json_doc_text(doc), buffer_str(&text)));
        assert_true(str_equal(buffer_str(&text),
                              STR("{\"kind\":\"Sand\\\"box\\\\\\n\\u0001\x7f\xc3\xa9\","
                                  "\"min\":-9223372036854775808,\"yes\":true,\"list\":[null,{},"
                                  "\"bad\xef\xbf\xbd\xef\xbf\xbd utf\",[]],"
                                  "\"inner\":{\"raw\":{\"a\":1},\"absent\":null}}")));
}

static void unfinished_and_too_deep_are_errors(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        (void)state;
        json_writer_init(&writer, &text);
        json_begin_array(&writer);
        assert_int_equal(json_writer_finish(&writer), -EINVAL);

        json_writer_init(&writer, &text);
        for (int i = 0; i <= LIMIT_DEPTH; i++)
                json_begin_array(&writer);
        assert_int_equal(json_writer_finish(&writer), -E2BIG);
        json_end_object(&writer);
        assert_int_equal(json_writer_finish(&writer), -E2BIG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_document_is_written_and_read),
                cmocka_unit_test(unfinished_and_too_deep_are_errors),
        };

        return run_unit_tests("writer", tests);
}
