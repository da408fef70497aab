// SPDX-License-Identifier: Apache-2.0
#include "kube/table.h"

#include <errno.h>

#include "base/clock.h"
#include "base/test.h"

#define NOW (UINT64_C(1795255200) * NS_PER_SECOND) /* 2026-11-21T10:00:00Z */

static const char object[] =
        "{\"metadata\":{\"name\":\"x\",\"creationTimestamp\":\"2026-11-21T09:59:50Z\","
        "\"annotations\":{\"example.com/key\":\"v\",\"a'b\":\"q\"}},"
        "\"spec\":{\"replicas\":3,\"ratio\":1.5,\"on\":true,\"map\":{\"a\":1},\"n\":null,"
        "\"list\":[\"a\",\"b\",\"c\"]},"
        "\"status\":{\"conditions\":[{\"type\":\"Other\",\"status\":\"False\",\"n\":1},"
        "{\"type\":\"Ready\",\"status\":\"True\",\"n\":2}]}}";

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void paths_find_values(void **state)
{
        static const struct {
                const char *path, *found; /* the texts found; NULL: the path is refused */
        } cases[] = {
                { ".metadata.name", "\"x\"" },
                { "{.metadata.name}", "\"x\"" },
                { "{ $.metadata.name }", "\"x\"" },
                { "metadata.name", "\"x\"" },
                { "$['metadata'][\"name\"]", "\"x\"" },
                { ".metadata.annotations.example\\.com/key", "\"v\"" },
                { ".metadata.annotations['example.com/key']", "\"v\"" },
                { ".metadata.annotations['a\\'b']", "\"q\"" },
                { ".spec.list[0]", "\"a\"" },
                { ".spec.list[-1]", "\"c\"" },
                { ".spec.list[-4]", "" },
                { ".spec.list[3]", "" },
                { ".spec.list[*]", "\"a\"\"b\"\"c\"" },
                { ".spec.list.*", "\"a\"\"b\"\"c\"" },
                { ".spec.map", "{\"a\":1}" },
                { ".spec.none.deeper", "" },
                { ".spec.n", "null" },
                { ".status.conditions[?(@.type=='Ready')].status", "\"True\"" },
                { ".status.conditions[?(@.type==\"Ready\")].status", "\"True\"" },
                { ".status.conditions[?( @.type != 'Ready' )].status", "\"False\"" },
                { ".status.conditions[?(@.n==2)].type", "\"Ready\"" },
                { ".status.conditions[?(@.n)].n", "12" },
                { ".status.conditions[?(@.none=='x')].n", "" },
                { ".status.conditions[?(@['type']=='Ready')].n", "2" },
                { ".spec.list[?(@=='b')]", "\"b\"" },
                { "..name", NULL },
                { ".metadata.", NULL },
                { ".list[", NULL },
                { ".list[x]", NULL },
                { ".list[1", NULL },
                { ".list['a]", NULL },
                { ".list[?(@.a=='b']", NULL },
                { ".list[?(.a=='b')]", NULL },
                { ".list[?(@.a==)]", NULL },
                { ".list[?(@.a[?(@.b)])]", NULL },
                { ".a\\", NULL },
        };
        _cleanup_doc_ struct json_doc *doc = parse(object);

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                _cleanup_buffer_ struct buffer text = {};
                const struct jsonpath *path = NULL;
                struct json_value found[4];
                struct error error = {};
                int r = jsonpath_parse(str_from(cases[i].path), &arena, &error, &path);
                if ((r == 0) != (cases[i].found != NULL))
                        fail_msg("%s gives %d: %s", cases[i].path, r, error.message);
                if (r < 0) {
                        assert_int_equal(r, -EINVAL);
                        continue;
                }
                size_t count = jsonpath_find(path, json_root(doc), found, ARRAY_SIZE(found));
                for (size_t j = 0; j < count; j++)
                        buffer_append_str(&text, json_text(found[j]));
                if (!str_equal(buffer_str(&text), str_from(cases[i].found)))
                        fail_msg("%s finds %.*s", cases[i].path, STR_FORMAT(buffer_str(&text)));
        }
}

static void more_than_fits_is_counted(void **state)
{
        _cleanup_doc_ struct json_doc *doc = parse("[1,2,3]");
        _cleanup_arena_ struct arena arena = {};
        const struct jsonpath *path;
        struct json_value found[2];

        (void)state;
        assert_int_equal(jsonpath_parse(STR("[*]"), &arena, NULL, &path), 0);
        assert_int_equal(jsonpath_find(path, json_root(doc), found, 2), 3);
        assert_true(str_equal(json_text(found[1]), STR("2")));
        assert_int_equal(jsonpath_parse(STR(""), &arena, NULL, &path), 0);
        assert_true(str_equal(json_text(jsonpath_first(path, json_root(doc))), STR("[1,2,3]")));
}

static void rows_are_printed(void **state)
{
        static const char columns[] =
                "[{\"name\":\"Ready\",\"type\":\"string\","
                "\"jsonPath\":\".status.conditions[?(@.type=='Ready')].status\"},"
                "{\"name\":\"Replicas\",\"type\":\"integer\",\"jsonPath\":\".spec.replicas\"},"
                "{\"name\":\"Ratio\",\"type\":\"number\",\"jsonPath\":\".spec.ratio\"},"
                "{\"name\":\"Cut\",\"type\":\"integer\",\"jsonPath\":\".spec.ratio\"},"
                "{\"name\":\"On\",\"type\":\"boolean\",\"jsonPath\":\".spec.on\"},"
                "{\"name\":\"Text\",\"type\":\"string\",\"jsonPath\":\".spec.replicas\"},"
                "{\"name\":\"Map\",\"type\":\"string\",\"jsonPath\":\".spec.map\"},"
                "{\"name\":\"Null\",\"type\":\"string\",\"jsonPath\":\".spec.n\"},"
                "{\"name\":\"None\",\"type\":\"string\",\"jsonPath\":\".spec.none\"},"
                "{\"name\":\"Wrong\",\"type\":\"integer\",\"jsonPath\":\".metadata.name\"},"
                "{\"name\":\"Age\",\"type\":\"date\",\"priority\":1,\"description\":\"d\","
                "\"jsonPath\":\".metadata.creationTimestamp\"},"
                "{\"name\":\"Bad\",\"type\":\"date\",\"jsonPath\":\".metadata.name\"}]";
        _cleanup_doc_ struct json_doc *doc = parse(object), *definition = parse(columns);
        _cleanup_buffer_ struct buffer cells = {}, head = {};
        _cleanup_arena_ struct arena arena = {};
        struct table_columns table;
        struct json_writer writer;

        (void)state;
        assert_int_equal(table_columns_read(json_root(definition), &arena, NULL, &table), 0);
        assert_int_equal(table.count, 13);
        json_writer_init(&writer, &cells);
        table_write_cells(&writer, &table, json_root(doc), NOW);
        assert_int_equal(json_writer_finish(&writer), 0);
        assert_true(
                str_equal(buffer_str(&cells),
                          STR("[\"x\",\"True\",3,1.5,1,true,\"3\",\"{\\\"a\\\":1}\",\"<no value>\","
                              "null,null,"
                              "\"10s\",\"<invalid>\"]")));

        json_writer_init(&writer, &head);
        table_write_definitions(&writer, &table);
        assert_int_equal(json_writer_finish(&writer), 0);
        assert_true(
                str_starts_with(buffer_str(&head),
                                STR("[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
                                    "\"description\":\"\",\"priority\":0},{\"name\":\"Ready\"")));

        assert_int_equal(table_columns_read((struct json_value){}, &arena, NULL, &table), 0);
        assert_int_equal(table.count, 2);
        assert_true(str_equal(table.list[1].name, STR("Age")));

        _cleanup_doc_ struct json_doc *bad = parse("[{\"name\":\"X\",\"jsonPath\":\"..x\"}]");
        assert_int_equal(table_columns_read(json_root(bad), &arena, NULL, &table), -EINVAL);
}

static void durations_read_as_kubectl_prints_them(void **state)
{
        static const struct {
                int64_t seconds;
                const char *text;
        } cases[] = {
                { -5, "<invalid>" },
                { -1, "0s" },
                { 0, "0s" },
                { 5, "5s" },
                { 119, "119s" },
                { 120, "2m" },
                { 182, "3m2s" },
                { 599, "9m59s" },
                { 605, "10m" },
                { 3 * 3600 - 1, "179m" },
                { 3 * 3600, "3h" },
                { 3 * 3600 + 120, "3h2m" },
                { 8 * 3600 + 120, "8h" },
                { 47 * 3600, "47h" },
                { 48 * 3600, "2d" },
                { 50 * 3600, "2d2h" },
                { 8 * 86400 + 3600, "8d" },
                { 729 * 86400, "729d" },
                { 730 * 86400, "2y" },
                { 731 * 86400, "2y1d" },
                { 3000 * 86400LL, "8y" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char text[HUMAN_DURATION_SIZE];
                if (!str_equal(human_duration(cases[i].seconds, text), str_from(cases[i].text)))
                        fail_msg("%lld prints as %s", (long long)cases[i].seconds, text);
        }
}

static void ages_and_partial_metadata(void **state)
{
        _cleanup_doc_ struct json_doc *doc = parse("[\"2026-11-21T10:00:05Z\",null]");
        _cleanup_doc_ struct json_doc *full = parse("{\"metadata\":{\"name\":\"x\"},\"spec\":{}}");
        _cleanup_buffer_ struct buffer out = {};
        char text[HUMAN_DURATION_SIZE];
        struct json_writer writer;

        (void)state;
        assert_true(
                str_equal(human_age(json_element(json_root(doc), 0), NOW, text), STR("<invalid>")));
        assert_true(
                str_equal(human_age(json_element(json_root(doc), 1), NOW, text), STR("<unknown>")));
        json_writer_init(&writer, &out);
        partial_object_metadata_write(&writer, json_root(full));
        assert_int_equal(json_writer_finish(&writer), 0);
        assert_true(
                str_equal(buffer_str(&out), STR("{\"kind\":\"PartialObjectMetadata\","
                                                "\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
                                                "{\"name\":\"x\"}}")));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_find_values),
                cmocka_unit_test(more_than_fits_is_counted),
                cmocka_unit_test(rows_are_printed),
                cmocka_unit_test(durations_read_as_kubectl_prints_them),
                cmocka_unit_test(ages_and_partial_metadata),
        };

        return run_unit_tests("table", tests);
}
