// SPDX-License-Identifier: Apache-2.0
#include "kube/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/test.h"
#include "json/patch.h"
#include "json/yaml.h"

static struct json_doc *parse(struct str text)
{
        struct json_options options = { .size_limit = 16 * 1024 * 1024 };
        struct json_doc *doc = NULL;
        struct error error = {};

        if (json_doc_parse(text, &options, NULL, &error, &doc) < 0)
                fail_msg("%.*s: %s", STR_FORMAT(text), error.message);
        return doc;
}

/* A schema by itself. */
static const struct schema *compile(const char *text, struct schema_set **ret_set)
{
        _cleanup_doc_ struct json_doc *doc = parse(str_from(text));
        const struct schema *schema = NULL;
        struct error error = {};

        if (schema_set_new_crd(json_root(doc), NULL, &error, ret_set, &schema) < 0)
                fail_msg("%s: %s", text, error.message);
        return schema;
}

/* All causes, one a line. */
static void validate(const struct schema *schema, const struct json_doc *doc, struct buffer *out)
{
        _cleanup_arena_ struct arena arena = {};
        static struct field_errors errors;

        field_errors_init(&errors, &arena);
        schema_validate(schema, json_root(doc), &errors);
        assert_int_equal(errors.failure, 0);
        for (size_t i = 0; i < errors.count; i++)
                buffer_printf(out, "%.*s: %.*s\n", STR_FORMAT(errors.list[i].field),
                              STR_FORMAT(errors.list[i].body));
}

#define PROPERTY(words) "{\"type\":\"object\",\"properties\":{\"x\":{" words "}}}"

static void causes_are_worded_as_kubernetes_does(void **state)
{
        static const struct {
                const char *schema, *object, *causes;
        } cases[] = {
                { PROPERTY("\"type\":\"integer\""), "{\"x\":1}", "" },
                { PROPERTY("\"type\":\"integer\""), "{\"x\":1.0,\"y\":2}", "" },
                { PROPERTY("\"type\":\"integer\""), "{\"x\":\"a\"}",
                  "x: Invalid value: \"string\": x in body must be of type integer: \"string\"\n" },
                { PROPERTY("\"type\":\"integer\""), "{\"x\":1.5}",
                  "x: Invalid value: \"number\": x in body must be of type integer: \"number\"\n" },
                { PROPERTY("\"type\":\"integer\""), "{\"x\":null}",
                  "x: Invalid value: \"null\": x in body must be of type integer: \"null\"\n" },
                { PROPERTY("\"type\":\"integer\",\"nullable\":true"), "{\"x\":null}", "" },
                { PROPERTY("\"type\":\"integer\",\"format\":\"int32\""), "{\"x\":2147483648}", "" },
                { PROPERTY("\"type\":\"integer\",\"minimum\":0,\"maximum\":1"), "{\"x\":-1}",
                  "x: Invalid value: -1: x in body should be greater than or equal to 0\n" },
                { PROPERTY("\"type\":\"integer\",\"minimum\":0,\"maximum\":1"), "{\"x\":2}",
                  "x: Invalid value: 2: x in body should be less than or equal to 1\n" },
                { PROPERTY("\"type\":\"number\",\"minimum\":0,\"exclusiveMinimum\":true"),
                  "{\"x\":0}", "x: Invalid value: 0: x in body should be greater than 0\n" },
                { PROPERTY("\"type\":\"number\",\"multipleOf\":0.5"), "{\"x\":1.25}",
                  "x: Invalid value: 1.25: x in body should be a multiple of 0.5\n" },
                { PROPERTY("\"type\":\"string\",\"enum\":[\"A\",\"B\"]"), "{\"x\":\"C\"}",
                  "x: Unsupported value: \"C\": supported values: \"A\", \"B\"\n" },
                { PROPERTY("\"type\":\"string\",\"enum\":[\"A\",\"B\"]"), "{\"x\":\"B\"}", "" },
                { PROPERTY("\"type\":\"string\",\"minLength\":1"), "{\"x\":\"\"}",
                  "x: Invalid value: \"\": x in body should be at least 1 chars long\n" },
                { PROPERTY("\"type\":\"string\",\"maxLength\":2"), "{\"x\":\"\xc3\xa9\xc3\xa9\"}",
                  "" },
                { PROPERTY("\"type\":\"string\",\"maxLength\":2"), "{\"x\":\"abc\"}",
                  "x: Too long: may not be more than 2 bytes\n" },
                { PROPERTY("\"type\":\"string\",\"pattern\":\"^a\\\\d+$\""), "{\"x\":\"a12\"}",
                  "" },
                { PROPERTY("\"type\":\"string\",\"pattern\":\"^a\\\\d+$\""), "{\"x\":\"b\"}",
                  "x: Invalid value: \"b\": x in body should match '^a\\d+$'\n" },
                { PROPERTY("\"type\":\"string\",\"format\":\"date-time\""),
                  "{\"x\":\"2026-11-21T10:00:00Z\"}", "" },
                { PROPERTY("\"type\":\"string\",\"format\":\"date-time\""), "{\"x\":\"now\"}",
                  "x: Invalid value: \"now\": x in body must be of type date-time: \"now\"\n" },
                { PROPERTY("\"type\":\"string\",\"format\":\"byte\""), "{\"x\":\"aGk=\"}", "" },
                { PROPERTY("\"type\":\"string\",\"format\":\"byte\""), "{\"x\":\"a=\"}",
                  "x: Invalid value: \"a=\": x in body must be of type byte: \"a=\"\n" },
                { PROPERTY("\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},"
                           "{\"type\":\"string\"}]"),
                  "{\"x\":\"5\"}", "" },
                { PROPERTY("\"x-kubernetes-int-or-string\":true"), "{\"x\":5}", "" },
                { PROPERTY("\"x-kubernetes-int-or-string\":true"), "{\"x\":true}",
                  "x: Invalid value: \"boolean\": x in body must be of type integer,string: "
                  "\"boolean\"\n" },
                { "{\"type\":\"object\",\"required\":[\"a\",\"b\"]}", "{\"b\":1}",
                  "a: Required value\n" },
                { "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"object\","
                  "\"required\":[\"a\"]}}}",
                  "{\"s\":{}}", "s.a: Required value\n" },
                { "{\"type\":\"object\"}", "[]",
                  ": Invalid value: \"array\":  in body must be of type object: \"array\"\n" },
                { PROPERTY("\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":2"),
                  "{\"x\":[\"a\",1,\"c\"]}",
                  "x: Too many: 3: must have at most 2 items\n"
                  "x[1]: Invalid value: \"integer\": x[1] in body must be of type string: "
                  "\"integer\"\n" },
                { PROPERTY("\"type\":\"array\",\"minItems\":1"), "{\"x\":[]}",
                  "x: Invalid value: 0: x in body should have at least 1 items\n" },
                { PROPERTY("\"type\":\"array\",\"x-kubernetes-list-type\":\"set\""),
                  "{\"x\":[1,2,1,1]}", "x[2]: Duplicate value: 1\nx[3]: Duplicate value: 1\n" },
                { PROPERTY("\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
                           "\"x-kubernetes-list-map-keys\":[\"a\",\"b\"]"),
                  "{\"x\":[{\"a\":1},{\"a\":1,\"b\":2},{\"a\":1,\"b\":3},{\"b\":2,\"a\":1}]}",
                  "x[3]: Duplicate value: {\"a\":1,\"b\":2}\n" },
                { PROPERTY("\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"},"
                           "\"maxProperties\":1"),
                  "{\"x\":{\"k\":\"v\",\"n\":1}}",
                  "x: Too many: 2: must have at most 1 items\n"
                  "x.n: Invalid value: \"integer\": x.n in body must be of type string: "
                  "\"integer\"\n" },
                { PROPERTY("\"type\":\"string\",\"anyOf\":[{\"enum\":[\"a\"]},{\"maxLength\":2}]"),
                  "{\"x\":\"bbb\"}",
                  "<nil>: Invalid value: \"\": \"x\" must validate at least one schema (anyOf)\n" },
                { PROPERTY("\"type\":\"string\",\"oneOf\":[{\"enum\":[\"a\"]},{\"maxLength\":2}]"),
                  "{\"x\":\"a\"}",
                  "<nil>: Invalid value: \"\": \"x\" must validate one and only one schema "
                  "(oneOf). "
                  "Found 2 valid alternatives\n" },
                { PROPERTY("\"type\":\"object\",\"x-kubernetes-embedded-resource\":true"),
                  "{\"x\":{\"kind\":\"K\"}}", "x.apiVersion: Required value\n" },
                { PROPERTY("\"type\":\"object\",\"not\":{\"required\":[\"a\"]},"
                           "\"allOf\":[{\"required\":[\"b\"]}]"),
                  "{\"x\":{\"a\":1}}",
                  "x.b: Required value\n<nil>: Invalid value: \"\": \"x\" must validate all the "
                  "schemas (allOf)\n<nil>: Invalid value: \"\": \"x\" must not validate the schema "
                  "(not)\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].object));
                _cleanup_buffer_ struct buffer causes = {};
                validate(compile(cases[i].schema, &set), doc, &causes);
                if (!str_equal(buffer_str(&causes), str_from(cases[i].causes)))
                        fail_msg("%s on %s says\n%.*s", cases[i].schema, cases[i].object,
                                 STR_FORMAT(buffer_str(&causes)));
        }
}

static void long_lists_are_checked_for_duplicates(void **state)
{
        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
        _cleanup_buffer_ struct buffer text = {}, causes = {};
        const struct schema *schema =
                compile(PROPERTY("\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
                                 "\"x-kubernetes-list-map-keys\":[\"name\"]"),
                        &set);

        (void)state;
        buffer_append_str(&text, STR("{\"x\":["));
        for (int i = 0; i < 20000; i++)
                buffer_printf(&text, "{\"name\":\"n%d\"},", i);
        buffer_append_str(&text, STR("{\"name\":\"n777\"}]}"));
        _cleanup_doc_ struct json_doc *doc = parse(buffer_str(&text));
        validate(schema, doc, &causes);
        assert_true(str_equal(buffer_str(&causes),
                              STR("x[20000]: Duplicate value: {\"name\":\"n777\"}\n")));
}

static void patterns_are_translated(void **state)
{
        static const struct {
                const char *pattern, *yes, *no;
        } cases[] = {
                { "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "my-name", "my-" },
                { "^\\\\w+\\\\.\\\\D$", "ab.c", "ab.1" },
                { "^(?:a|b){2,3}?$", "aba", "a" },
                { "^[\\\\]\\\\-a]+$", "]-a", "b" },
                { "^[^\\\\d\\\\s]+$", "abc", "a c" },
                { "\\\\Aab\\\\z", "ab", "abc" },
                { "^[[:alpha:]]+$", "ab", "a1" },
                { "^a\\\\/b$", "a/b", "ab" },
                { "b", "abc", "acd" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char schema[256];
                snprintf(schema, sizeof(schema), "{\"type\":\"string\",\"pattern\":\"%s\"}",
                         cases[i].pattern);
                for (int yes = 0; yes < 2; yes++) {
                        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                        _cleanup_buffer_ struct buffer causes = {}, value = {};
                        buffer_printf(&value, "\"%s\"", yes ? cases[i].yes : cases[i].no);
                        _cleanup_doc_ struct json_doc *doc = parse(buffer_str(&value));
                        validate(compile(schema, &set), doc, &causes);
                        if ((causes.length == 0) != yes)
                                fail_msg("%s on %s", cases[i].pattern,
                                         yes ? cases[i].yes : cases[i].no);
                }
        }

        /* beyond POSIX, or too costly: not enforced */
        static const char *const others[] = { "(?=a)b",
                                              "(a)\\\\1",
                                              "((a{1,1000}){1,1000}){1,1000}",
                                              "\\\\p{L}",
                                              "(",
                                              "a++++++++++++++++++++++++++++++",
                                              "((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+" };
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                _cleanup_doc_ struct json_doc *doc = parse(STR("\"z\""));
                _cleanup_buffer_ struct buffer causes = {};
                char schema[256];
                snprintf(schema, sizeof(schema), "{\"type\":\"string\",\"pattern\":\"%s\"}",
                         others[i]);
                validate(compile(schema, &set), doc, &causes);
                assert_int_equal(causes.length, 0);
        }
}

static void unknown_fields_are_pruned(void **state)
{
        static const struct {
                const char *schema, *before, *after, *unknown;
        } cases[] = {
                { PROPERTY("\"type\":\"integer\""), "{\"x\":1}", "{\"x\":1}", "" },
                { PROPERTY("\"type\":\"integer\""), "{\"a\":2,\"x\":1,\"b\":{}}", "{\"x\":1}",
                  "unknown field \"a\"\nunknown field \"b\"\n" },
                { PROPERTY("\"type\":\"object\",\"properties\":{\"y\":{\"type\":\"string\"}}"),
                  "{\"x\":{\"y\":\"1\",\"z\":1}}", "{\"x\":{\"y\":\"1\"}}",
                  "unknown field \"x.z\"\n" },
                { PROPERTY("\"type\":\"object\""), "{\"x\":{\"y\":1}}", "{\"x\":{}}",
                  "unknown field \"x.y\"\n" },
                { PROPERTY("\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,"
                           "\"properties\":{\"k\":{\"type\":\"object\",\"properties\":{\"a\":"
                           "{\"type\":\"string\"}}}}"),
                  "{\"x\":{\"y\":{\"z\":1},\"k\":{\"a\":\"\",\"b\":1}}}",
                  "{\"x\":{\"y\":{\"z\":1},\"k\":{\"a\":\"\"}}}", "unknown field \"x.k.b\"\n" },
                { PROPERTY("\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\","
                           "\"properties\":{\"a\":{\"type\":\"string\"}}}"),
                  "{\"x\":{\"k\":{\"a\":\"\",\"b\":1}}}", "{\"x\":{\"k\":{\"a\":\"\"}}}",
                  "unknown field \"x.k.b\"\n" },
                { PROPERTY("\"type\":\"object\",\"additionalProperties\":true"),
                  "{\"x\":{\"k\":{\"b\":1}}}", "{\"x\":{\"k\":{\"b\":1}}}", "" },
                { PROPERTY("\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
                           "\"a\":{\"type\":\"string\"}}}"),
                  "{\"x\":[{\"a\":\"\"},{\"b\":1}]}", "{\"x\":[{\"a\":\"\"},{}]}",
                  "unknown field \"x[1].b\"\n" },
                { "{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\"}}}",
                  "{\"kind\":\"K\",\"apiVersion\":\"v\",\"metadata\":{\"name\":\"x\"},\"y\":1}",
                  "{\"kind\":\"K\",\"apiVersion\":\"v\",\"metadata\":{\"name\":\"x\"}}",
                  "unknown field \"y\"\n" },
                { PROPERTY("\"type\":\"object\",\"x-kubernetes-embedded-resource\":true"),
                  "{\"x\":{\"kind\":\"K\",\"metadata\":{\"a\":1},\"spec\":1}}",
                  "{\"x\":{\"kind\":\"K\",\"metadata\":{\"a\":1}}}", "unknown field \"x.spec\"\n" },
                { PROPERTY("\"type\":\"string\""), "{\"x\":{\"y\":1}}", "{\"x\":{}}",
                  "unknown field \"x.y\"\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].before));
                _cleanup_doc_ struct json_doc *after = NULL, *silent = NULL;
                _cleanup_buffer_ struct buffer unknown = {};
                const struct schema *schema = compile(cases[i].schema, &set);

                assert_int_equal(schema_prune(schema, doc, &unknown, &after), 0);
                if (!str_equal(json_doc_text(after), str_from(cases[i].after)) ||
                    !str_equal(buffer_str(&unknown), str_from(cases[i].unknown)))
                        fail_msg("%s with %s gives %.*s and\n%.*s", cases[i].before,
                                 cases[i].schema, STR_FORMAT(json_doc_text(after)),
                                 STR_FORMAT(buffer_str(&unknown)));
                assert_int_equal(after == doc, unknown.length == 0);
                assert_int_equal(schema_prune(schema, doc, NULL, &silent), 0);
                assert_true(str_equal(json_doc_text(silent), json_doc_text(after)));
        }
}

static void defaults_are_put_in(void **state)
{
        static const struct {
                const char *schema, *before, *after;
        } cases[] = {
                { PROPERTY("\"type\":\"integer\",\"default\":3"), "{}", "{\"x\":3}" },
                { PROPERTY("\"type\":\"integer\",\"default\":3"), "{\"a\":1,\"x\":4}",
                  "{\"a\":1,\"x\":4}" },
                { PROPERTY("\"type\":\"integer\",\"default\":3"), "{\"x\":null}", "{\"x\":3}" },
                { PROPERTY("\"type\":\"integer\",\"default\":3,\"nullable\":true"), "{\"x\":null}",
                  "{\"x\":null}" },
                { PROPERTY("\"type\":\"object\",\"properties\":{\"y\":{\"default\":\"d\","
                           "\"type\":\"string\"}}"),
                  "{}", "{}" },
                { PROPERTY("\"type\":\"object\",\"properties\":{\"y\":{\"default\":\"d\","
                           "\"type\":\"string\"}}"),
                  "{\"x\":{}}", "{\"x\":{\"y\":\"d\"}}" },
                { PROPERTY("\"type\":\"object\",\"default\":{},\"properties\":{\"y\":{"
                           "\"type\":\"object\",\"default\":{},\"properties\":{\"z\":{"
                           "\"default\":true,\"type\":\"boolean\"}}}}"),
                  "{}", "{\"x\":{\"y\":{\"z\":true}}}" },
                { PROPERTY("\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
                           "\"p\":{\"type\":\"string\",\"default\":\"TCP\"}}}"),
                  "{\"x\":[{},{\"p\":\"UDP\"},{\"q\":1}]}",
                  "{\"x\":[{\"p\":\"TCP\"},{\"p\":\"UDP\"},{\"q\":1,\"p\":\"TCP\"}]}" },
                { PROPERTY("\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\","
                           "\"properties\":{\"p\":{\"type\":\"string\",\"default\":\"TCP\"}}}"),
                  "{\"x\":{\"k\":{}}}", "{\"x\":{\"k\":{\"p\":\"TCP\"}}}" },
                { PROPERTY("\"type\":\"integer\",\"default\":3"), "[]", "[]" },
                /* what may not be null is as if it were absent, but in a list */
                { PROPERTY("\"type\":\"object\""), "{\"x\":null,\"y\":null}", "{\"y\":null}" },
                { PROPERTY("\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}"),
                  "{\"x\":{\"a\":null,\"b\":\"c\"}}", "{\"x\":{\"b\":\"c\"}}" },
                { PROPERTY("\"type\":\"array\",\"items\":{\"type\":\"string\"}"), "{\"x\":[null]}",
                  "{\"x\":[null]}" },
                { PROPERTY("\"type\":\"object\",\"nullable\":true"), "{\"x\":null}",
                  "{\"x\":null}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].before));
                _cleanup_doc_ struct json_doc *after = NULL;

                assert_int_equal(schema_default(compile(cases[i].schema, &set), doc, &after), 0);
                if (!str_equal(json_doc_text(after), str_from(cases[i].after)))
                        fail_msg("%s with %s gives %.*s", cases[i].before, cases[i].schema,
                                 STR_FORMAT(json_doc_text(after)));
                assert_int_equal(after == doc,
                                 str_equal(str_from(cases[i].before), str_from(cases[i].after)));
        }
}

static void bad_schemas_are_refused(void **state)
{
        static const struct {
                const char *schema, *message;
        } cases[] = {
                { "1", "openAPIV3Schema: a schema must be an object" },
                { "{\"type\":\"frob\"}", "openAPIV3Schema: unknown type" },
                { PROPERTY("\"type\":\"frob\""), "openAPIV3Schema.x: unknown type" },
                { "{\"properties\":[]}", "openAPIV3Schema: properties must be an object" },
                { "{\"properties\":{\"a\":{\"items\":1}}}",
                  "openAPIV3Schema.a.*: a schema must be an object" },
                { "{\"required\":[1]}", "openAPIV3Schema: a string was expected in an array" },
                { "{\"properties\":{\"a\":{\"$ref\":\"nobody\"}}}",
                  "openAPIV3Schema.a: $ref names no definition" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].schema));
                struct schema_set *set = NULL;
                const struct schema *schema;
                struct error error = {};
                assert_int_equal(schema_set_new_crd(json_root(doc), NULL, &error, &set, &schema),
                                 -EINVAL);
                assert_string_equal(error.message, cases[i].message);
                assert_null(set);
        }

        _cleanup_doc_ struct json_doc *circle =
                parse(STR("{\"a\":{\"$ref\":\"b\",\"nullable\":true},"
                          "\"b\":{\"$ref\":\"a\",\"default\":1}}"));
        struct schema_set *set = NULL;
        struct error error = {};
        assert_int_equal(schema_set_new(json_root(circle), &error, &set), -EINVAL);
        assert_string_equal(error.message, "a $ref leads back to itself");
}

/* ---- the files of api/ ---- */

static struct schema_set *core;

static int load(const char *name, struct buffer *out)
{
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", getenv("API_FOLDER"), name);
        return file_read(AT_FDCWD, path, 16 * 1024 * 1024, out);
}

static int compile_core(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct error error = {};

        (void)state;
        if (load("core-schema.json", &text) < 0)
                return -1;
        doc = parse(buffer_str(&text));
        int r = schema_set_new(json_get(json_root(doc), "definitions"), &error, &core);
        if (r < 0)
                fprintf(stderr, "core-schema.json: %s\n", error.message);
        return r;
}

static int free_core(void **state)
{
        (void)state;
        schema_set_free(core);
        return 0;
}

static void core_kinds_are_checked_and_defaulted(void **state)
{
        const struct schema *pod = schema_set_find(core, STR("io.k8s.api.core.v1.Pod"));
        _cleanup_doc_ struct json_doc *doc = parse(STR(
                "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\",\"nom\":1},"
                "\"spec\":{\"restartPolicy\":\"Sometimes\",\"nodeNam\":\"\",\"containers\":[{"
                "\"name\":\"c\",\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}],"
                "\"ports\":[{\"containerPort\":\"80\"}],"
                "\"resources\":{\"limits\":{\"cpu\":1,\"memory\":true}}},{\"image\":\"i\"}]}}"));
        _cleanup_doc_ struct json_doc *pruned = NULL, *defaulted = NULL;
        _cleanup_buffer_ struct buffer causes = {}, unknown = {};

        (void)state;
        assert_non_null(pod);
        validate(pod, doc, &causes);
        assert_true(str_equal(
                buffer_str(&causes),
                STR("spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: "
                    "\"Always\", \"Never\", \"OnFailure\"\n"
                    "spec.containers[0].ports[0].containerPort: Invalid value: \"string\": "
                    "spec.containers[0].ports[0].containerPort in body must be of type integer: "
                    "\"string\"\n"
                    "spec.containers[0].resources.limits.memory: Invalid value: \"boolean\": "
                    "spec.containers[0].resources.limits.memory in body must be of type "
                    "integer,string: \"boolean\"\n"
                    "spec.containers[1].name: Required value\n")));

        assert_int_equal(schema_prune(pod, doc, &unknown, &pruned), 0);
        assert_true(str_equal(buffer_str(&unknown), STR("unknown field \"metadata.nom\"\n"
                                                        "unknown field \"spec.nodeNam\"\n")));
        assert_int_equal(schema_default(pod, pruned, &defaulted), 0);
        struct json_value spec = json_get(json_root(defaulted), "spec");
        assert_true(json_string_is(json_get(spec, "dnsPolicy"), STR("ClusterFirst")));
        assert_true(json_string_is(json_get(spec, "restartPolicy"), STR("Sometimes")));
        struct json_value port =
                json_element(json_get(json_element(json_get(spec, "containers"), 0), "ports"), 0);
        assert_true(json_string_is(json_get(port, "protocol"), STR("TCP")));
}

static void merge_keys_come_from_the_schema(void **state)
{
        const struct schema *pod = schema_set_find(core, STR("io.k8s.api.core.v1.Pod"));
        _cleanup_doc_ struct json_doc *doc = parse(STR(
                "{\"metadata\":{\"finalizers\":[\"a\"]},\"spec\":{\"containers\":[{\"name\":\"a\","
                "\"image\":\"1\",\"ports\":[{\"containerPort\":80}],\"args\":[\"x\"]},"
                "{\"name\":\"b\"}],\"tolerations\":[{\"key\":\"k\"}]}}"));
        _cleanup_doc_ struct json_doc *patch = parse(STR(
                "{\"metadata\":{\"finalizers\":[\"b\"]},\"spec\":{\"containers\":[{\"name\":\"a\","
                "\"ports\":[{\"containerPort\":80,\"name\":\"h\"}],\"args\":[\"y\"]},"
                "{\"name\":\"b\",\"$patch\":\"delete\"}],\"tolerations\":[{\"key\":\"l\"}]}}"));
        _cleanup_doc_ struct json_doc *after = NULL;

        (void)state;
        assert_int_equal(
                json_strategic_patch(doc, json_root(patch), schema_strategy, pod, NULL, &after), 0);
        assert_true(str_equal(json_doc_text(after),
                              STR("{\"metadata\":{\"finalizers\":[\"b\",\"a\"]},\"spec\":{"
                                  "\"containers\":[{\"name\":\"a\",\"image\":\"1\",\"ports\":[{"
                                  "\"containerPort\":80,\"name\":\"h\"}],\"args\":[\"y\"]}],"
                                  "\"tolerations\":[{\"key\":\"l\"}]}}")));
        const struct schema *name = schema_at(pod, STR("spec.containers.name"));
        assert_non_null(name);
        assert_int_equal(schema_type(name), SCHEMA_STRING);
        assert_int_equal(schema_type(schema_at(pod, STR("spec"))), SCHEMA_OBJECT);
        assert_null(schema_at(pod, STR("spec.none.x")));
        assert_null(schema_set_find(core, STR("none")));
}

static void our_definitions_compile_and_serve(void **state)
{
        static const char *const files[] = { "crds/sandboxes.yaml", "crds/sandboxclaims.yaml",
                                             "crds/sandboxtemplates.yaml",
                                             "crds/sandboxwarmpools.yaml" };
        struct str object = STR("{\"apiVersion\":\"x/v1\",\"kind\":\"X\",\"metadata\":{\"name\":"
                                "\"x\",\"bad\":1},\"spec\":{\"bad\":1}}");

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_buffer_ struct buffer text = {};
                _cleanup_doc_ struct json_doc *crd = NULL;
                struct error error = {};
                size_t offset = 0;

                assert_int_equal(load(files[i], &text), 0);
                if (yaml_next(buffer_str(&text), &offset, &error, &crd) != 1)
                        fail_msg("%s: %s", files[i], error.message);
                json_for_each (it, json_get(json_root(crd), "spec", "versions")) {
                        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
                        _cleanup_doc_ struct json_doc *doc = parse(object), *pruned = NULL;
                        _cleanup_buffer_ struct buffer unknown = {}, causes = {};
                        const struct schema *schema;

                        if (schema_set_new_crd(json_get(it.value, "schema", "openAPIV3Schema"),
                                               core, &error, &set, &schema) < 0)
                                fail_msg("%s: %s", files[i], error.message);
                        assert_true(schema_set_size(set) < 2 * 1024 * 1024);
                        assert_int_equal(schema_prune(schema, doc, &unknown, &pruned), 0);
                        assert_true(str_equal(buffer_str(&unknown),
                                              STR("unknown field \"metadata.bad\"\n"
                                                  "unknown field \"spec.bad\"\n")));
                        validate(schema, pruned, &causes);
                        assert_true(causes.length > 0 || i == 1);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(causes_are_worded_as_kubernetes_does),
                cmocka_unit_test(long_lists_are_checked_for_duplicates),
                cmocka_unit_test(patterns_are_translated),
                cmocka_unit_test(unknown_fields_are_pruned),
                cmocka_unit_test(defaults_are_put_in),
                cmocka_unit_test(bad_schemas_are_refused),
                cmocka_unit_test(core_kinds_are_checked_and_defaulted),
                cmocka_unit_test(merge_keys_come_from_the_schema),
                cmocka_unit_test(our_definitions_compile_and_serve),
        };

        cmocka_set_message_output(CM_OUTPUT_TAP);
        return cmocka_run_group_tests_name("schema", tests, compile_core, free_core);
}
