// SPDX-License-Identifier: Apache-2.0
#include "kube/protobuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/test.h"
#include "crypto/encode.h"

static struct protobuf_fields *fields;

static int load_fields(void **state)
{
        _cleanup_buffer_ struct buffer text = {};

        (void)state;
        if (file_read(AT_FDCWD, getenv("CORE_PROTOBUF"), 1024 * 1024, &text) < 0)
                return -1;
        return protobuf_fields_new(buffer_str(&text), STR_EMPTY, &fields);
}

static int drop_fields(void **state)
{
        (void)state;
        protobuf_fields_free(fields);
        return 0;
}

static int decode(const char *hex, struct error *error, struct json_doc **ret_doc)
{
        const struct json_options options = { .drop_nulls = true };
        _cleanup_buffer_ struct buffer body = {}, text = {};

        assert_int_equal(hex_decode(&body, str_from(hex)), 0);
        int r = protobuf_to_json(fields, buffer_str(&body), error, &text);
        return r < 0 ? r : json_doc_parse(buffer_str(&text), &options, NULL, error, ret_doc);
}

/* What client-go 0.34 sends, and the JSON that it would have sent. */
static void bodies_mean_what_their_json_means(void **state)
{
        static const struct {
                const char *hex, *json;
        } cases[] = {
                {
                        "6b3873000a0f0a0276311209436f6e6669674d617012300a190a016112001a0022002a00"
                        "3200380042005a060a016b12017612080a017812032231221a070a0162120200ff20001a"
                        "002200",
                        "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                        "\"a\",\"labels\":{\""
                        "k\":\"v\"}},\"immutable\":false,\"data\":{\"x\":\"\\\"1\\\"\"},"
                        "\"binaryData\":{\"b\":\"AP8=\""
                        "}}",
                },
                {
                        "6b3873000a090a0276311203506f6412db010a1a0a001202702d1a0022002a0032003800"
                        "42080880e2cfaa06100012a7010a090a0176120412020a0012790a016312001a0273681a"
                        "022d632a00320a0a001000185022002a00420f0a0d0a0363707512060a043235306d5220"
                        "0a1412120a00120a080110001a04687474701a002200100018002000280030005a190a0d"
                        "1a0b0a07080010b8451a001200100018002000280030006a007200800100880100900100"
                        "a201001a002000320042004a0052005800600068008201008a01009a0100a80100c20100"
                        "1a130a001a0022002a0032004a005a0072008801001a002200",
                        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"generateName\":"
                        "\"p-\",\"creatio"
                        "nTimestamp\":\"2023-11-14T22:13:20Z\"},\"spec\":{\"volumes\":[{\"name\":"
                        "\"v\",\"empt"
                        "yDir\":{}}],\"containers\":[{\"name\":\"c\",\"command\":[\"sh\",\"-c\"],"
                        "\"ports\":[{\"co"
                        "ntainerPort\":80}],\"resources\":{\"limits\":{\"cpu\":\"250m\"}},"
                        "\"livenessProbe\":"
                        "{\"httpGet\":{\"port\":\"http\"}},\"readinessProbe\":{\"tcpSocket\":{"
                        "\"port\":8888}}"
                        "}],\"terminationGracePeriodSeconds\":0,\"automountServiceAccountToken\":"
                        "fals"
                        "e},\"status\":{}}",
                },
                {
                        "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c"
                        "665375626a65637441636365737352657669657712350a100a0012001a0022002a003200"
                        "3800420012170a150a0012036765741a0022002a04706f647332003a001a08080012001a"
                        "0020001a002200",
                        "{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s."
                        "io/v1\""
                        ",\"metadata\":{},\"spec\":{\"resourceAttributes\":{\"verb\":\"get\","
                        "\"resource\":\"po"
                        "ds\"}},\"status\":{\"allowed\":false}}",
                },
                {
                        "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412690a110a01641200"
                        "1a0022002a003200380042001246080012080a060a01611201621a300a100a0012001a00"
                        "22002a00320038004200121c1a00320042004a0052005800600068008201008a01009a01"
                        "00c2010022020a00280038001a0c0800100018002000280038001a002200",
                        "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/"
                        "v1\",\"metadata\":{\"name\":\"d\"},\"spe"
                        "c\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
                        "\"template\":{\"metad"
                        "ata\":{},\"spec\":{\"containers\":null}},\"strategy\":{}},\"status\":{}}",
                },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct json_options options = { .drop_nulls = true };
                _cleanup_doc_ struct json_doc *doc = NULL, *expected = NULL;
                struct error error = {};
                int r = decode(cases[i].hex, &error, &doc);
                if (r < 0)
                        fail_msg("case %zu: %s", i, error.message);
                assert_int_equal(
                        json_doc_parse(str_from(cases[i].json), &options, NULL, NULL, &expected),
                        0);
                if (!json_equal(json_root(doc), json_root(expected)))
                        fail_msg("case %zu: %.*s", i, STR_FORMAT(json_doc_text(doc)));
        }
}

static void broken_bodies_are_refused(void **state)
{
        static const struct {
                const char *hex;
                int r;
        } cases[] = {
                { "", -EBADMSG },
                { "6b387301", -EBADMSG },
                { "6b387300", -ENOENT },                                  /* no kind */
                { "6b3873000a0a0a0276311204576f6f7000", -ENOENT },        /* v1 Woop */
                { "6b3873000a090a0276311203506f6412030aff01", -EBADMSG }, /* length runs over */
                { "6b3873000a090a0276311203506f641202080a", -EBADMSG }, /* a number for metadata */
                { "6b3873000a090a0276311203506f6412020b00", -EBADMSG }, /* a group */
                { "6b3873000a090a0276311203506f64120bffffffffffffffffffff01", -EBADMSG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct error error = {};
                int r = decode(cases[i].hex, &error, &doc);
                if (r != cases[i].r)
                        fail_msg("case %zu: %d %s", i, r, error.message);
                assert_true(error.message[0] != 0);
        }
}

static void broken_tables_are_refused(void **state)
{
        static const struct str tables[] = {
                STR(""),
                STR("[]"),
                STR("{\"a\":[[1,\"x\",\"strings\"]]}"),
                STR("{\"a\":[[1,\"x\",\"[]b\"]],\"bb\":[]}"),
        };
        _cleanup_buffer_ struct buffer wide = {};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
                assert_int_equal(protobuf_fields_new(tables[i], STR_EMPTY, NULL), -EBADMSG);
        /* A message of more fields than there is room for. */
        assert_int_equal(buffer_append_str(&wide, STR("{\"a\":[")), 0);
        for (unsigned i = 1; i <= 65; i++)
                assert_int_equal(buffer_printf(&wide, "%s[%u,\"x\",\"int\"]", i > 1 ? "," : "", i),
                                 0);
        assert_int_equal(buffer_append_str(&wide, STR("]}")), 0);
        assert_int_equal(protobuf_fields_new(buffer_str(&wide), STR_EMPTY, NULL), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bodies_mean_what_their_json_means),
                cmocka_unit_test(broken_bodies_are_refused),
                cmocka_unit_test(broken_tables_are_refused),
        };

        cmocka_set_message_output(CM_OUTPUT_TAP);
        return cmocka_run_group_tests_name("protobuf", tests, load_fields, drop_fields);
}
