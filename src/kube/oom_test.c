// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/failing_allocation.h"
#include "base/test.h"
#include "kube/meta.h"
#include "kube/protobuf.h"
#include "kube/schema.h"
#include "kube/selector.h"
#include "kube/table.h"

/*
 * The N-th allocation fails, for every N until all goes well: nothing crashes or leaks, and each
 * attempt either succeeds, says -ENOMEM or (where the answer is a Status) leaves its message out.
 */

static struct json_doc *source, *object;

static int try_schema(void)
{
        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
        _cleanup_doc_ struct json_doc *pruned = NULL, *defaulted = NULL;
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer unknown = {};
        static struct field_errors errors;
        const struct schema *schema;
        struct error error = {};
        int r = schema_set_new_crd(json_root(source), NULL, &error, &set, &schema);

        if (r == 0)
                r = schema_prune(schema, object, &unknown, &pruned);
        if (r == 0)
                r = schema_default(schema, pruned, &defaulted);
        if (r < 0)
                return r;
        field_errors_init(&errors, &arena);
        schema_validate(schema, json_root(object), &errors);
        if (errors.failure == 0) {
                assert_int_equal(errors.total, 2);
                assert_true(json_exists(json_get(json_root(defaulted), "d", "e")));
        }
        return errors.failure;
}

static int try_metadata(void)
{
        _cleanup_arena_ struct arena arena = {};
        static struct field_errors errors;
        struct kube_resource resource = { .resource = STR("pods"), .kind = STR("Pod") };

        field_errors_init(&errors, &arena);
        object_meta_validate(json_root(object), true, name_check_dns_label, &errors);
        assert_false(field_errors_none(&errors));
        struct kube_status status = kube_status_invalid(&arena, &resource, STR("x"), &errors);
        if (errors.failure < 0)
                return errors.failure;
        return status.message.length > 0 ? 0 : -ENOMEM;
}

static int try_protobuf(void)
{
        static const struct str table =
                STR("{\"core/v1.A\":[[1,\"m\",\"{}core/v1.B\"],[2,\"l\",\"[]string\"]],"
                    "\"core/v1.B\":[[1,\"b\",\"bytes\"]]}");
        static const struct str body = { "k8s\0\n\7\n\2v1\x12\1A\x12\16\n\10\n\1k\x12\3\n\1b"
                                         "\x12\2xy",
                                         29 };
        struct protobuf_fields *fields;
        _cleanup_buffer_ struct buffer text = {};
        int r = protobuf_fields_new(table, STR_EMPTY, &fields);

        if (r < 0)
                return r;
        r = protobuf_to_json(fields, body, NULL, &text);
        protobuf_fields_free(fields);
        if (r == 0)
                assert_true(str_equal(buffer_str(&text),
                                      STR("{\"kind\":\"A\",\"apiVersion\":\"v1\",\"m\":{\"k\":{"
                                          "\"b\":\"Yg==\"}},\"l\":[\"xy\"]}")));
        return r;
}

static int try_selectors(void)
{
        _cleanup_arena_ struct arena arena = {};
        struct label_selector labels;
        struct field_selector fields;
        struct table_columns columns;
        int r = label_selector_parse(STR("a=b,c in (d,e)"), &arena, NULL, &labels);

        if (r == 0)
                r = field_selector_parse(STR("a=b"), &arena, NULL, &fields);
        if (r == 0)
                r = table_columns_read(json_get(json_root(object), "columns"), &arena, NULL,
                                       &columns);
        return r;
}

static void every_allocation_may_fail(void **state)
{
        static int (*const attempts[])(void) = { try_schema, try_metadata, try_selectors,
                                                 try_protobuf };
        static const struct str schema_text =
                STR("{\"type\":\"object\",\"required\":[\"r\"],\"properties\":{"
                    "\"s\":{\"type\":\"string\",\"pattern\":\"^a[b-d]+$\",\"enum\":[\"ab\"]},"
                    "\"d\":{\"type\":\"object\",\"default\":{},\"properties\":{"
                    "\"e\":{\"type\":\"string\",\"default\":\"f\"}}},"
                    "\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{"
                    "\"type\":\"integer\",\"minimum\":0}}}}");
        _cleanup_buffer_ struct buffer text = {};

        (void)state;
        buffer_append_str(&text, STR("{\"unknown\":1,\"s\":\"ab\",\"columns\":[{\"name\":\"a\","
                                     "\"jsonPath\":\".x[?(@.a=='b')].c\"}],\"l\":["));
        for (int i = 0; i < 40; i++)
                buffer_printf(&text, "%d,", i);
        buffer_append_str(&text, STR("0]}"));
        assert_int_equal(json_doc_parse(schema_text, NULL, NULL, NULL, &source), 0);
        assert_int_equal(json_doc_from_buffer(&text, &object), 0);
        for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
                long failures = 0;
                for (long n = 0;; n++) {
                        allocation_fail_after(n);
                        int r = attempts[i]();
                        bool happened = allocation_failed();
                        if (r != 0 && r != -ENOMEM)
                                fail_msg("attempt %zu, allocation %ld gives %d", i, n, r);
                        failures += r < 0;
                        if (!happened) {
                                assert_int_equal(r, 0);
                                break;
                        }
                }
                assert_true(failures > 0);
        }
        json_doc_unref(source);
        json_doc_unref(object);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_allocation_may_fail),
        };

        return run_unit_tests("kube_oom", tests);
}
