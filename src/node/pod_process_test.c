// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "base/test.h"
#include "node/pod_process.h"

#define POD(...)                                                                                   \
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{\"app\":"     \
        "\"a\\\"b\",\"x\":\"y\"},\"annotations\":{\"k/e.y\":\"v\"}},\"spec\":{\"containers\":[{"   \
        "\"name\":\"main\",\"image\":\"b\",\"resources\":{\"limits\":{\"cpu\":\"1500m\"},"         \
        "\"requests\":{\"memory\":\"3Mi\"}}," __VA_ARGS__ "},{\"name\":\"other\",\"image\":\"b\"," \
        "\"resources\":{\"limits\":{\"memory\":\"10Mi\"}}}]}}"

static const struct image image = {
        .name = "test",
        .argv = (const char *const[]){ "serve", "--all", NULL },
        .env = (const char *const[]){ "PATH=/bin", "A=image", NULL },
        .working_dir = "/app",
};

struct making {
        struct arena arena;
        struct json_doc *doc, *config_map, *secret;
        struct pod_spec spec;
        struct pod_process process;
        struct error error;
        int result;
};

static struct json_value find(void *userdata, enum pod_source_kind kind, struct str name)
{
        const struct making *making = userdata;

        if (!str_equal(name, STR("there")))
                return (struct json_value){};
        return json_root(kind == POD_SOURCE_SECRET ? making->secret : making->config_map);
}

static struct json_doc *parse(const char *json)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(str_from(json), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void make(struct making *making, const char *json)
{
        *making = (struct making){};
        making->doc = parse(json);
        making->config_map = parse("{\"data\":{\"k\":\"config\",\"l\":\"$(A)\"}}");
        making->secret = parse("{\"data\":{\"k\":\"c2VjcmV0\",\"nul\":\"YQBi\",\"bad\":\"!\"}}");
        assert_int_equal(pod_spec_read(json_root(making->doc), &making->arena, &making->error,
                                       &making->spec),
                         0);
        const struct pod_facts facts = {
                .pod_ip = STR("10.0.0.2"),
                .host_ip = STR("192.0.2.1"),
                .node_name = STR("node"),
                .allocatable = { .cpu_milli = 4000, .memory = 1 << 30 },
        };
        const struct pod_sources sources = { find, making };
        making->result =
                pod_process_resolve(&making->spec, &making->spec.containers[0], &image, &sources,
                                    &facts, &making->arena, &making->error, &making->process);
}

static void done(struct making *making)
{
        json_doc_unref(making->doc);
        json_doc_unref(making->config_map);
        json_doc_unref(making->secret);
        arena_deinit(&making->arena);
}

static const char *variable(const struct making *making, const char *name)
{
        const char *found = NULL;

        for (char **entry = making->process.env; *entry; entry++) {
                if (strncmp(*entry, name, strlen(name)) == 0 && (*entry)[strlen(name)] == '=') {
                        assert_null(found);
                        found = *entry + strlen(name) + 1;
                }
        }
        return found;
}

static void command_and_args(void **state)
{
        static const struct {
                const char *given, *joined;
        } cases[] = {
                { "\"stdin\":false", "serve|--all|" },
                { "\"command\":[\"sh\",\"-c\",\"x\"]", "sh|-c|x|" },
                { "\"args\":[\"a\",\"b\"]", "a|b|" },
                { "\"command\":[\"a\"],\"args\":[\"b\",\"\"]", "a|b||" },
                { "\"command\":[\"$(A) $$(A) $(NO) $A $ $( $$\"]", "image $(A) $(NO) $A $ $( $|" },
                { "\"command\":[\"$(A)$(B\"]", "image$(B|" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct making making;
                char json[2048], joined[256] = "";
                snprintf(json, sizeof(json), POD("%s"), cases[i].given);
                make(&making, json);
                assert_int_equal(making.result, 0);
                for (size_t j = 0; j < making.process.argc; j++) {
                        strcat(joined, making.process.argv[j]);
                        strcat(joined, "|");
                }
                assert_null(making.process.argv[making.process.argc]);
                assert_string_equal(joined, cases[i].joined);
                assert_string_equal(making.process.working_dir, "/app");
                done(&making);
        }
}

static void environment_from_everywhere(void **state)
{
        static const struct {
                const char *name, *value; /* NULL: absent */
        } expected[] = {
                { "PATH", "/bin" },
                { "HOSTNAME", "p" },
                { "A", "set" },
                { "B", "set-1 $(later) $(C)" },
                { "later", "x" },
                { "P_k", "config" },
                { "P_l", "$(A)" },
                { "NAME", "p" },
                { "IP", "10.0.0.2" },
                { "LABEL", "a\"b" },
                { "NOTE", "v" },
                { "CPU", "2" },
                { "MEM", "3" },
                { "OTHER", "10485760" },
                { "ALLOCATABLE", "1073741824" },
                { "CONFIG", "config" },
                { "SECRET", "secret" },
                { "NUL", "a" },
                { "GONE", NULL },
                { "KUBERNETES_SERVICE_HOST", NULL },
        };
        struct making making;

        (void)state;
        make(&making,
             POD("\"workingDir\":\"/w\",\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":"
                 "\"there\"}},{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],\"env\":["
                 "{\"name\":\"A\",\"value\":\"set\"},{\"name\":\"B\",\"value\":"
                 "\"$(A)-1 $(later) $$(C)\"},{\"name\":\"later\",\"value\":\"x\"},"
                 "{\"name\":\"NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}"
                 "},"
                 "{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
                 "{\"name\":\"LABEL\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
                 "\"metadata.labels['app']\"}}},"
                 "{\"name\":\"NOTE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
                 "\"metadata.annotations['k/e.y']\"}}},"
                 "{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
                 "\"limits.cpu\"}}},"
                 "{\"name\":\"MEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
                 "\"requests.memory\",\"divisor\":\"1Mi\"}}},"
                 "{\"name\":\"OTHER\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
                 "\"limits.memory\",\"containerName\":\"other\"}}},"
                 "{\"name\":\"ALLOCATABLE\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
                 "\"limits.memory\"}}},"
                 "{\"name\":\"CONFIG\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"there\","
                 "\"key\":\"k\"}}},"
                 "{\"name\":\"SECRET\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"there\",\"key\":"
                 "\"k\"}}},"
                 "{\"name\":\"NUL\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"there\",\"key\":"
                 "\"nul\"}}},"
                 "{\"name\":\"GONE\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"none\",\"key\":"
                 "\"k\",\"optional\":true}}}]"));
        if (making.result < 0)
                print_error("%s\n", making.error.message);
        assert_int_equal(making.result, 0);
        assert_string_equal(making.process.working_dir, "/w");
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                const char *value = variable(&making, expected[i].name);
                if (!expected[i].value)
                        assert_null(value);
                else
                        assert_string_equal(value, expected[i].value);
        }
        done(&making);
}

static void refusals_say_what_is_missing(void **state)
{
        static const struct {
                const char *given;
                int result;
                const char *sentence;
        } cases[] = {
                { "\"envFrom\":[{\"secretRef\":{\"name\":\"none\"}}]", -ENOENT,
                  "secret \"none\" not found" },
                { "\"env\":[{\"name\":\"a\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"none\","
                  "\"key\":\"k\"}}}]",
                  -ENOENT, "configmap \"none\" not found" },
                { "\"env\":[{\"name\":\"a\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"there\","
                  "\"key\":\"no\"}}}]",
                  -ENOENT, "couldn't find key no in configmap there" },
                { "\"env\":[{\"name\":\"a\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
                  "\"spec.containers\"}}}]",
                  -EINVAL, "unsupported fieldPath: spec.containers" },
                { "\"env\":[{\"name\":\"a\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
                  "\"limits.gpu\"}}}]",
                  -EINVAL, "unsupported container resource: limits.gpu" },
                { "\"env\":[{\"name\":\"a\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"there\","
                  "\"key\":\"bad\"}}}]",
                  -EBADMSG, "" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct making making;
                char json[2048];
                snprintf(json, sizeof(json), POD("%s"), cases[i].given);
                make(&making, json);
                assert_int_equal(making.result, cases[i].result);
                assert_string_equal(making.error.message, cases[i].sentence);
                done(&making);
        }
}

static void expansion_is_bounded(void **state)
{
        struct making making;
        char json[8192];
        int used =
                snprintf(json, sizeof(json), "\"env\":[{\"name\":\"v0\",\"value\":\"xxxxxxxx\"}");

        (void)state;
        for (int i = 1; i < 20; i++)
                used += snprintf(json + used, sizeof(json) - (size_t)used,
                                 ",{\"name\":\"v%d\",\"value\":\"$(v%d)$(v%d)$(v%d)\"}", i, i - 1,
                                 i - 1, i - 1);
        snprintf(json + used, sizeof(json) - (size_t)used, "]");
        char whole[10240];
        snprintf(whole, sizeof(whole), POD("%s"), json);
        make(&making, whole);
        assert_int_equal(making.result, -E2BIG);
        done(&making);
}

static void whole_maps_as_files(void **state)
{
        struct making making;
        struct str value = STR_EMPTY;
        const struct pod_facts facts = {};

        (void)state;
        make(&making, POD("\"stdin\":false"));
        assert_int_equal(pod_field_value(&making.spec, &facts, STR("metadata.labels"),
                                         &making.arena, &value),
                         0);
        assert_string_equal(value.data, "app=\"a\\\"b\"\nx=\"y\"");
        assert_int_equal(pod_field_value(&making.spec, &facts, STR("metadata.labels['']"),
                                         &making.arena, &value),
                         -EINVAL);
        assert_int_equal(pod_field_value(&making.spec, &facts, STR("metadata.labels["),
                                         &making.arena, &value),
                         -EINVAL);
        done(&making);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(command_and_args),
                cmocka_unit_test(environment_from_everywhere),
                cmocka_unit_test(refusals_say_what_is_missing),
                cmocka_unit_test(expansion_is_bounded),
                cmocka_unit_test(whole_maps_as_files),
        };

        return run_unit_tests("pod_process", tests);
}
