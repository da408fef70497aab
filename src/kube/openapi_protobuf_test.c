// SPDX-License-Identifier: Apache-2.0
#include "kube/openapi_protobuf.h"

#include "base/test.h"
#include "crypto/encode.h"

static const struct {
        const char *json, *hex;
} cases[] = {
        /* What gnostic-models 0.7 makes of the same text (ParseDocument, proto.Marshal). */
        { "{\"swagger\":\"2.0\",\"info\":{\"title\":\"K\",\"version\":\"v1\"},\"p"
          "aths\":{\"/a\":{\"put\":{\"consumes\":[\"application/json\"],\"paramet"
          "ers\":[{\"required\":true,\"in\":\"path\",\"name\":\"n\",\"type\":\"st"
          "ring\"},{\"in\":\"query\",\"name\":\"q\",\"type\":\"string\"},{\"name"
          "\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":{\"$ref\":\"#"
          "/definitions/A\"}}],\"responses\":{\"200\":{\"description\":\"OK\",\"s"
          "chema\":{\"$ref\":\"#/definitions/A\"}}}},\"parameters\":[{\"in\":\"qu"
          "ery\",\"name\":\"all\",\"type\":\"string\"}]}},\"definitions\":{\"A\":"
          "{\"description\":\"d\",\"maximum\":2.5,\"exclusiveMaximum\":true,\"min"
          "imum\":-1,\"maxLength\":300,\"pattern\":\"^a$\",\"maxItems\":3,\"minIt"
          "ems\":1,\"uniqueItems\":true,\"maxProperties\":7,\"required\":[\"b\","
          "\"c\"],\"type\":\"object\",\"properties\":{\"x-y\":{\"format\":\"int32"
          "\",\"type\":\"integer\"},\"items\":{\"type\":\"array\",\"items\":{\"$r"
          "ef\":\"#/definitions/B\"}},\"m\":{\"additionalProperties\":{\"type\":"
          "\"string\"},\"type\":\"object\"},\"t\":{\"additionalProperties\":true}"
          "},\"externalDocs\":{\"url\":\"u\"}},\"B\":{}}}",
          "0a03322e3012070a014b1202763142bd0112ba010a022f6112b3011a94013a10617070"
          "6c69636174696f6e2f6a736f6e42190a1712152213080112047061746822016e2a0673"
          "7472696e6742180a1612141a12120571756572792201713206737472696e6742250a23"
          "0a211204626f64791a04626f647920012a110a0f232f646566696e6974696f6e732f41"
          "4a240a220a03323030121b0a190a024f4b12130a110a0f232f646566696e6974696f6e"
          "732f414a1a0a1812161a14120571756572792203616c6c3206737472696e674aca010a"
          "c0010a014112ba01220164390000000000000440400149000000000000f0bf58ac026a"
          "035e6124700378018001018801079a0101629a010163b201080a066f626a656374ca01"
          "750a1a0a03782d7912131205696e743332b201090a07696e74656765720a290a056974"
          "656d731220b201070a056172726179ba01130a110a0f232f646566696e6974696f6e73"
          "2f420a200a016d121baa010d0a0bb201080a06737472696e67b201080a066f626a6563"
          "740a0a0a01741205aa01021001ea01031201750a050a01421200" },
        /* Any: JSON is YAML already. */
        { "{\"definitions\":{\"A\":{\"default\":1,\"enum\":[\"a\"],\"x-k\":[{\"g"
          "\":\"\"}]}}}",
          "4a2a0a280a014112232a03120131a201051203226122fa01130a03782d6b120c120a5b"
          "7b2267223a22227d5d" },
        /* What has no field, and what has the wrong type, is left out. */
        { "{\"schemes\":[7],\"swagger\":2,\"info\":[],\"security\":[],\"what\":{}}", "1200" },
        { "{}", "" },
        { "[]", "" },
};

static void documents_become_messages(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer out = {}, hex = {};
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct error error = {};

                assert_int_equal(json_doc_parse(str_from(cases[i].json), NULL, NULL, &error, &doc),
                                 0);
                assert_int_equal(openapi_v2_to_protobuf(json_root(doc), &out), 0);
                assert_int_equal(hex_append(&hex, out.data, out.length), 0);
                assert_int_equal(buffer_append_char(&hex, '\0'), 0);
                assert_string_equal(hex.data, cases[i].hex);
        }
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(documents_become_messages),
        };
        return run_unit_tests("openapi_protobuf", tests);
}
