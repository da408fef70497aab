// SPDX-License-Identifier: Apache-2.0
#include "builtin/builtin.h"

#include "base/test.h"
#include "json/json.h"

static void every_document_is_json_of_its_kind(void **state)
{
        _cleanup_doc_ struct json_doc *core = NULL, *protobuf = NULL;

        (void)state;
        assert_int_equal(json_doc_parse(builtin_core_schema(), NULL, NULL, NULL, &core), 0);
        assert_true(json_count(json_get(json_root(core), "resources")) > 30);
        assert_int_equal(json_doc_parse(builtin_core_protobuf(), NULL, NULL, NULL, &protobuf), 0);
        assert_true(json_exists(json_get(json_root(protobuf), "core/v1.Pod")));
        for (size_t i = 0; i < builtin_crd_count(); i++) {
                _cleanup_doc_ struct json_doc *crd = NULL;
                assert_int_equal(json_doc_parse(builtin_crd(i), NULL, NULL, NULL, &crd), 0);
                assert_true(json_string_is(json_get(json_root(crd), "kind"),
                                           STR("CustomResourceDefinition")));
        }
}

/* Client-side apply keeps the whole object in an annotation, of 256 KiB at most. */
static void crds_can_be_applied(void **state)
{
        (void)state;
        for (size_t i = 0; i < builtin_crd_count(); i++)
                assert_true(builtin_crd(i).length < (size_t)200 * 1024);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_document_is_json_of_its_kind),
                cmocka_unit_test(crds_can_be_applied),
        };

        return run_unit_tests("builtin", tests);
}
