// SPDX-License-Identifier: Apache-2.0
#include "kube/meta.h"

#include "base/clock.h"
#include "base/test.h"
#include "kube/status.h"

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(text, NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void metadata_is_read(void **state)
{
        _cleanup_doc_ struct json_doc *doc = parse(STR(
                "{\"metadata\":{\"name\":\"x\",\"generateName\":\"x-\",\"namespace\":\"default\","
                "\"uid\":\"u1\",\"resourceVersion\":\"18446744073709551615\",\"generation\":3,"
                "\"creationTimestamp\":\"2026-11-21T10:00:00Z\","
                "\"deletionTimestamp\":\"2026-11-21T10:00:01Z\",\"deletionGracePeriodSeconds\":30,"
                "\"finalizers\":[\"a/b\",\"c\"],\"labels\":{\"app\":\"web\"},"
                "\"annotations\":{\"n\":\"1\"},\"ownerReferences\":["
                "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"up\"},"
                "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"r\",\"uid\":\"ur\","
                "\"controller\":true,\"blockOwnerDeletion\":true}]}}"));
        struct owner_reference owner = {};
        struct object_meta meta;

        (void)state;
        object_meta_read(json_root(doc), &meta);
        assert_true(str_equal(meta.name, STR("x")));
        assert_true(str_equal(meta.generate_name, STR("x-")));
        assert_true(str_equal(meta.namespace, STR("default")));
        assert_true(str_equal(meta.uid, STR("u1")));
        assert_true(meta.resource_version == UINT64_MAX);
        assert_int_equal(meta.generation, 3);
        assert_true(meta.creation_ns == UINT64_C(1795255200) * NS_PER_SECOND);
        assert_true(object_meta_is_deleting(&meta));
        assert_int_equal(meta.deletion_grace_seconds, 30);
        assert_true(object_meta_has_finalizer(&meta, STR("c")));
        assert_false(object_meta_has_finalizer(&meta, STR("d")));
        assert_true(str_equal(object_meta_label(&meta, STR("app")), STR("web")));
        assert_int_equal(object_meta_label(&meta, STR("none")).length, 0);
        assert_true(str_equal(object_meta_annotation(&meta, STR("n")), STR("1")));

        assert_true(object_meta_controller(&meta, &owner));
        assert_true(str_equal(owner.group, STR("apps")));
        assert_true(str_equal(owner.version, STR("v1")));
        assert_true(str_equal(owner.kind, STR("ReplicaSet")));
        assert_true(owner.block_owner_deletion);
        assert_true(object_meta_is_owned_by(&meta, STR("up")));
        assert_false(object_meta_is_owned_by(&meta, STR("uq")));
        struct json_iterator it = json_iterate(meta.owner_references);
        assert_true(owner_reference_next(&it, &owner));
        assert_int_equal(owner.group.length, 0);
        assert_false(owner.controller);
}

static void wrong_types_read_as_nothing(void **state)
{
        static const char *const cases[] = {
                "{}",
                "[]",
                "{\"metadata\":[1]}",
                "{\"metadata\":{\"name\":1,\"resourceVersion\":\"x\",\"generation\":\"1\","
                "\"creationTimestamp\":\"yesterday\",\"deletionTimestamp\":null,\"labels\":[],"
                "\"annotations\":1,\"finalizers\":{},\"ownerReferences\":\"x\"}}",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i]));
                struct owner_reference owner;
                struct object_meta meta;

                object_meta_read(json_root(doc), &meta);
                assert_int_equal(meta.name.length + meta.uid.length, 0);
                assert_true(meta.resource_version == 0 && meta.generation == 0);
                assert_true(meta.creation_ns == 0 && !object_meta_is_deleting(&meta));
                assert_int_equal(meta.deletion_grace_seconds, -1);
                assert_int_equal(object_meta_label(&meta, STR("a")).length, 0);
                assert_false(object_meta_has_finalizer(&meta, STR("a")));
                assert_false(object_meta_controller(&meta, &owner));
        }
}

static void bad_metadata_has_causes(void **state)
{
#define META(fields) "{\"metadata\":{" fields "}}"
#define GOOD         "\"name\":\"x\",\"namespace\":\"n\""
        static const struct {
                const char *object;
                bool namespaced;
                const char *cause; /* the first, by its beginning; NULL: none */
        } cases[] = {
                { META(GOOD), true, NULL },
                { META("\"generateName\":\"x-\",\"namespace\":\"n\""), true, NULL },
                { META("\"name\":\"x\""), false, NULL },
                { "{}", true, "metadata.name: Required value: name or generateName is required" },
                { "{\"metadata\":1}", true, "metadata: Invalid value: 1: metadata in body must" },
                { META("\"namespace\":\"n\""), true,
                  "metadata.name: Required value: name or generateName is required" },
                { META("\"name\":\"X\",\"namespace\":\"n\""), true,
                  "metadata.name: Invalid value: \"X\": a lowercase RFC 1123 subdomain" },
                { META("\"generateName\":\"-\",\"namespace\":\"n\""), true,
                  "metadata.generateName: Invalid value: \"-\": a lowercase" },
                { META("\"name\":1,\"namespace\":\"n\""), true,
                  "metadata.name: Invalid value: 1: metadata.name in body must be of type string" },
                { META("\"name\":\"x\""), true, "metadata.namespace: Required value" },
                { META("\"name\":\"x\",\"namespace\":\"a.b\""), true,
                  "metadata.namespace: Invalid value: \"a.b\": a lowercase RFC 1123 label" },
                { META(GOOD), false, "metadata.namespace: Forbidden: not allowed on this type" },
                { META(GOOD ",\"labels\":{\"a b\":\"c\"}"), true,
                  "metadata.labels: Invalid value: \"a b\": name part must" },
                { META(GOOD ",\"labels\":{\"a\":\"-\"}"), true,
                  "metadata.labels: Invalid value: \"-\": a valid label" },
                { META(GOOD ",\"labels\":{\"a\":1}"), true,
                  "metadata.labels: Invalid value: 1: metadata.labels in body must be of type" },
                { META(GOOD ",\"annotations\":{\"Example.COM/x\":\"a b\"}"), true, NULL },
                { META(GOOD ",\"annotations\":{\"a b\":\"\"}"), true,
                  "metadata.annotations: Invalid value: \"a b\": name part" },
                { META(GOOD ",\"finalizers\":[\"a/b/c\"]"), true,
                  "metadata.finalizers: Invalid value: \"a/b/c\": a qualified name" },
                { META(GOOD ",\"finalizers\":[\"orphan\",\"foregroundDeletion\"]"), true,
                  "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: " },
                { META(GOOD ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
                            "\"name\":\"p\"}]"),
                  true, "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty" },
                { META(GOOD ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"A\","
                            "\"name\":\"a\",\"uid\":\"1\",\"controller\":true},"
                            "{\"apiVersion\":\"v1\",\"kind\":\"B\",\"name\":\"b\",\"uid\":\"2\","
                            "\"controller\":true}]"),
                  true, "metadata.ownerReferences: Invalid value: [" },
        };
#undef META
#undef GOOD

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].object));
                _cleanup_arena_ struct arena arena = {};
                static struct field_errors errors;

                field_errors_init(&errors, &arena);
                object_meta_validate(json_root(doc), cases[i].namespaced, name_check_dns_subdomain,
                                     &errors);
                assert_int_equal(errors.total, cases[i].cause ? 1 : 0);
                if (!cases[i].cause)
                        continue;
                struct str said =
                        arena_printf(&arena, "%.*s: %.*s", STR_FORMAT(errors.list[0].field),
                                     STR_FORMAT(errors.list[0].body));
                if (!str_starts_with(said, str_from(cases[i].cause)))
                        fail_msg("%s\nsays %s\nnot  %s", cases[i].object, said.data,
                                 cases[i].cause);
        }
}

static void annotations_have_a_total_size(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_arena_ struct arena arena = {};
        static struct field_errors errors;

        (void)state;
        buffer_append_str(&text, STR("{\"metadata\":{\"name\":\"x\",\"annotations\":{\"a\":\""));
        for (int i = 0; i < 256 * 1024; i++)
                buffer_append_char(&text, 'x');
        buffer_append_str(&text, STR("\"}}}"));
        _cleanup_doc_ struct json_doc *doc = parse(buffer_str(&text));
        field_errors_init(&errors, &arena);
        object_meta_validate(json_root(doc), false, name_check_dns_subdomain, &errors);
        assert_int_equal(errors.total, 1);
        assert_true(
                str_equal(errors.list[0].body, STR("Too long: may not be more than 262144 bytes")));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(metadata_is_read),
                cmocka_unit_test(wrong_types_read_as_nothing),
                cmocka_unit_test(bad_metadata_has_causes),
                cmocka_unit_test(annotations_have_a_total_size),
        };

        return run_unit_tests("meta", tests);
}
