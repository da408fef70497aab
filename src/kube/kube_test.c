// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>

#include "kube/condition.h"
#include "kube/meta.h"
#include "kube/quantity.h"

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void reads_meta(void **state)
{
        _cleanup_doc_ struct json_doc *doc = parse(
                "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\","
                "\"resourceVersion\":\"17\","
                "\"generation\":3,\"creationTimestamp\":\"1970-01-01T00:00:02Z\","
                "\"labels\":{\"k\":\"v\",\"e\":\"\"},\"finalizers\":[\"f\"],\"ownerReferences\":["
                "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"1\"},"
                "{\"apiVersion\":\"agents.x-k8s.io/v1alpha1\",\"kind\":\"Sandbox\",\"name\":\"s\","
                "\"uid\":\"2\",\"controller\":true}]}}");
        struct object_meta meta;
        struct owner_reference owner;

        (void)state;
        object_meta_read(json_root(doc), &meta);
        assert_true(str_equal(meta.name, STR("a")));
        assert_int_equal(meta.resource_version, 17);
        assert_int_equal(meta.generation, 3);
        assert_int_equal(meta.creation_ns, 2000000000);
        assert_false(object_meta_is_deleting(&meta));
        assert_true(str_equal(object_meta_label(&meta, STR("k")), STR("v")));
        assert_true(object_meta_has_finalizer(&meta, STR("f")));
        assert_false(object_meta_has_finalizer(&meta, STR("g")));
        assert_true(object_meta_controller(&meta, &owner));
        assert_true(str_equal(owner.name, STR("s")));
        assert_true(str_equal(owner.group, STR("agents.x-k8s.io")));
        assert_true(str_equal(owner.version, STR("v1alpha1")));
        assert_true(object_meta_is_owned_by(&meta, STR("1")));
        assert_false(object_meta_is_owned_by(&meta, STR("")));
}

static void reads_meta_of_anything(void **state)
{
        static const char *const texts[] = { "{}", "[]", "{\"metadata\":3}",
                                             "{\"metadata\":{\"name\":1,\"ownerReferences\":{}}}" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(texts[i]);
                struct owner_reference owner;
                struct object_meta meta;

                object_meta_read(json_root(doc), &meta);
                assert_int_equal(meta.name.length, 0);
                assert_false(object_meta_controller(&meta, &owner));
                assert_false(object_meta_is_owned_by(&meta, STR("x")));
        }
}

static void keeps_transition_times(void **state)
{
        _cleanup_doc_ struct json_doc *doc =
                parse("[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"A\",\"message\":\"\","
                      "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"},{\"type\":\"Gone\"},"
                      "{\"type\":\"Kept\",\"extra\":1}]");
        static const char *const remove[] = { "Gone", NULL };
        struct condition set[] = {
                { .type = STR("Ready"),
                  .status = STR("False"),
                  .reason = STR("B"),
                  .observed_generation = 2 },
                { .type = STR("New"), .status = STR("True"), .reason = STR("C") },
        };
        _cleanup_buffer_ struct buffer text = { 0 };
        struct json_writer writer;

        (void)state;
        json_writer_init(&writer, &text);
        conditions_write(&writer, json_root(doc), set, 2, remove, 0);
        assert_int_equal(json_writer_finish(&writer), 0);
        assert_int_equal(buffer_append_char(&text, '\0'), 0);
        assert_string_equal(text.data,
                            "[{\"type\":\"Ready\",\"status\":\"False\",\"observedGeneration\":2,"
                            "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"reason\":\"B\","
                            "\"message\":\"\"},"
                            "{\"type\":\"Kept\",\"extra\":1},{\"type\":\"New\",\"status\":\"True\","
                            "\"lastTransitionTime\":\"1970-01-01T00:00:00Z\",\"reason\":\"C\","
                            "\"message\":\"\"}]");
}

static void reads_quantities(void **state)
{
        static const struct {
                const char *text;
                int r;
                int64_t milli;
        } cases[] = {
                { "250m", 0, 250 },
                { "1", 0, 1000 },
                { "0.5", 0, 500 },
                { "1e3", 0, 1000000 },
                { "1E3", 0, 1000000 },
                { "1k", 0, 1000000 },
                { "1Ki", 0, 1024000 },
                { "1.5Gi", 0, 1610612736000 },
                { "1u", 0, 1 },
                { "-2", 0, -2000 },
                { "+2", 0, 2000 },
                { "12e-1", 0, 1200 },
                { "", -EINVAL, 0 },
                { "m", -EINVAL, 0 },
                { "1 Gi", -EINVAL, 0 },
                { "1..5", -EINVAL, 0 },
                { "1e", -EINVAL, 0 },
                { "1GiB", -EINVAL, 0 },
                { "1e1000", 0, INT64_MAX },
                { "9999999Ei", 0, INT64_MAX },
                { "0e1000", 0, 0 },
                { "1e9999", -EINVAL, 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct quantity quantity = { 0 };
                int r = quantity_parse(str_from(cases[i].text), &quantity);

                if (r != cases[i].r || quantity_milli(&quantity) != cases[i].milli)
                        fail_msg("%s: %d, %lld", cases[i].text, r,
                                 (long long)quantity_milli(&quantity));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_meta),
                cmocka_unit_test(reads_meta_of_anything),
                cmocka_unit_test(keeps_transition_times),
                cmocka_unit_test(reads_quantities),
        };

        return run_unit_tests("kube", tests);
}
