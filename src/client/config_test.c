// SPDX-License-Identifier: Apache-2.0
#include "client/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/test_folder.h"

static int setup(void **state)
{
        unsetenv("KUBERNETES_SERVICE_HOST");
        unsetenv("KUBECONFIG");
        return test_folder_setup(state);
}

static void put(struct test_folder *folder, const char *name, const char *text)
{
        assert_int_equal(file_write_atomic(folder->fd, name, str_from(text), 0600), 0);
}

static void expect(struct str actual, const char *expected)
{
        assert_int_equal(actual.length, strlen(expected));
        assert_memory_equal(actual.data, expected, actual.length);
}

static const char two_contexts[] =
        "apiVersion: v1\n"
        "kind: Config\n"
        "clusters:\n"
        "- name: local\n"
        "  cluster:\n"
        "    server: https://127.0.0.1:6443\n"
        "    certificate-authority-data: Q0E=\n"
        "- name: far\n"
        "  cluster:\n"
        "    server: https://[2001:db8::1]/k8s/clusters/c-1/\n"
        "    certificate-authority: ca.crt\n"
        "    tls-server-name: far.example\n"
        "    proxy-url: http://proxy:3128\n"
        "- name: lax\n"
        "  cluster: {server: 'http://host', insecure-skip-tls-verify: true,\n"
        "            certificate-authority: absent}\n"
        "contexts:\n"
        "- {name: a, context: {cluster: local, user: admin, namespace: team}}\n"
        "- {name: b, context: {cluster: far, user: files}}\n"
        "- {name: c, context: {cluster: lax}}\n"
        "- {name: d, context: {cluster: local, user: plugin}}\n"
        "- {name: no-cluster, context: {cluster: none, user: admin}}\n"
        "- {name: no-user, context: {cluster: local, user: none}}\n"
        "- {name: half, context: {cluster: local, user: half}}\n"
        "current-context: a\n"
        "users:\n"
        "- name: admin\n"
        "  user:\n"
        "    client-certificate-data: Q0VSVA==\n"
        "    client-key-data: S0VZ\n"
        "    token: secret\n"
        "- name: files\n"
        "  user: {client-certificate: c.pem, client-key: k.pem, tokenFile: token, as: jane}\n"
        "- name: plugin\n"
        "  user:\n"
        "    exec:\n"
        "      apiVersion: client.authentication.k8s.io/v1\n"
        "      command: bin/login\n"
        "      args: [get-token, --region=x]\n"
        "      env: [{name: A, value: b}]\n"
        "      provideClusterInfo: true\n"
        "- name: half\n"
        "  user: {client-certificate-data: Q0VSVA==}\n";

static void contexts_are_taken_apart(void **state)
{
        struct test_folder *folder = *state;
        struct error error = {};
        _cleanup_kube_config_ struct kube_config a = {}, b = {}, c = {}, d = {};

        put(folder, "ca.crt", "CA2");
        put(folder, "c.pem", "C");
        put(folder, "k.pem", "K");
        put(folder, "token", "from-file\n");
        struct str text = str_from(two_contexts);

        assert_int_equal(kube_config_parse(text, folder->path, STR(""), &error, &a), 0);
        expect(a.context, "a");
        expect(a.server, "https://127.0.0.1:6443");
        expect(a.host, "127.0.0.1");
        expect(a.prefix, "");
        assert_int_equal(a.port, 6443);
        assert_true(a.tls);
        expect(a.ca, "CA");
        expect(a.certificate, "CERT");
        expect(a.key, "KEY");
        expect(a.name_space, "team");
        expect(kube_config_token(&a, 1), "secret");

        assert_int_equal(kube_config_parse(text, folder->path, STR("b"), &error, &b), 0);
        expect(b.host, "2001:db8::1");
        expect(b.prefix, "/k8s/clusters/c-1");
        assert_int_equal(b.port, 443);
        expect(b.ca, "CA2");
        expect(b.server_name, "far.example");
        expect(b.proxy, "http://proxy:3128");
        expect(b.certificate, "C");
        expect(b.key, "K");
        expect(b.impersonate, "jane");
        expect(b.name_space, "default");
        expect(kube_config_token(&b, 1), "from-file");

        assert_int_equal(kube_config_parse(text, folder->path, STR("c"), &error, &c), 0);
        assert_true(c.insecure);
        assert_false(c.tls);
        assert_int_equal(c.port, 80);
        assert_int_equal(kube_config_token(&c, 1).length, 0);

        assert_int_equal(kube_config_parse(text, "/etc/kube", STR("d"), &error, &d), 0);
        assert_non_null(d.exec);
        expect(d.exec->command, "/etc/kube/bin/login");
        assert_int_equal(d.exec->argument_count, 2);
        expect(d.exec->arguments[1], "--region=x");
        expect(d.exec->environment[0], "A=b");
        assert_true(d.exec->provide_cluster_info);
}

static void what_is_wrong_is_named(void **state)
{
        static const struct {
                const char *context; /* in two_contexts, or NULL: */
                const char *text;
                int result;
                const char *message; /* a part of it */
        } cases[] = {
                { "none", NULL, -ENOENT, "\"none\"" },
                { "no-cluster", NULL, -ENOENT, "cluster \"none\"" },
                { "no-user", NULL, -ENOENT, "user \"none\"" },
                { "half", NULL, -EINVAL, "certificate and its key" },
                { "b", NULL, -ENOENT, "ca.crt" },
                { NULL, "", -EBADMSG, "no kubeconfig" },
                { NULL, "[]", -EBADMSG, "no kubeconfig" },
                { NULL, "a: [", -EBADMSG, "" },
                { NULL, "kind: Config", -ENOENT, "current-context" },
        };
        struct test_folder *folder = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_kube_config_ struct kube_config config = {};
                struct error error = {};
                const char *text = cases[i].text ? cases[i].text : two_contexts;
                assert_int_equal(kube_config_parse(str_from(text), folder->path,
                                                   str_from(cases[i].context), &error, &config),
                                 cases[i].result);
                assert_int_equal(error.code, cases[i].result);
                assert_non_null(strstr(error.message, cases[i].message));
                assert_null(config.server.data);
        }
}

static void addresses_that_are_none_are_refused(void **state)
{
        static const char *const bad[] = {
                "",
                "127.0.0.1:6443",
                "ftp://a",
                "https://",
                "https://:6443",
                "https://a:0",
                "https://a:65536",
                "https://a:b",
                "https://user:pass@a",
                "https://[::1",
                "https://[::1]x",
                "https://a/b?c=d",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_buffer_ struct buffer text = {};
                _cleanup_kube_config_ struct kube_config config = {};
                struct error error = {};
                assert_int_equal(buffer_printf(&text,
                                               "{current-context: a,"
                                               " contexts: [{name: a, context: {cluster: c}}],"
                                               " clusters: [{name: c, cluster: {server: '%s'}}]}",
                                               bad[i]),
                                 0);
                assert_int_equal(
                        kube_config_parse(buffer_str(&text), ".", STR(""), &error, &config),
                        -EINVAL);
        }
}

static void a_token_file_that_is_not_there_is_named(void **state)
{
        struct test_folder *folder = *state;
        struct error error = {};
        _cleanup_kube_config_ struct kube_config config = {};
        char path[64];

        put(folder, "config",
            "current-context: c\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: 'http://localhost:1'}}]\n"
            "users: [{name: u, user: {tokenFile: token}}]\n");
        snprintf(path, sizeof(path), "%s/config", folder->path);
        assert_int_equal(kube_config_load(path, STR(""), &error, &config), -EINVAL);
        assert_non_null(strstr(error.message, "cannot read the token file "));
        assert_non_null(strstr(error.message, "/token: No such file"));
        put(folder, "token", "secret");
        assert_int_equal(kube_config_load(path, STR(""), &error, &config), 0);
}

static void a_token_file_is_read_again(void **state)
{
        struct test_folder *folder = *state;
        struct error error = {};
        _cleanup_kube_config_ struct kube_config config = {};
        uint64_t now = 5 * NS_PER_SECOND;

        put(folder, "ca.crt", "CA");
        put(folder, "namespace", "team\n");
        put(folder, "token", "first");
        assert_int_equal(kube_config_in_cluster(folder->path, &error, &config), -ENOENT);
        setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);
        assert_int_equal(kube_config_in_cluster(folder->path, &error, &config), 0);
        expect(config.server, "https://[fd00::1]:443");
        expect(config.host, "fd00::1");
        expect(config.ca, "CA");
        expect(config.name_space, "team");

        expect(kube_config_token(&config, now), "first");
        put(folder, "token", "second\n");
        expect(kube_config_token(&config, now + 59 * NS_PER_SECOND), "first");
        expect(kube_config_token(&config, now + 60 * NS_PER_SECOND), "second");
        put(folder, "token", "third");
        kube_config_forget_token(&config);
        expect(kube_config_token(&config, now + 61 * NS_PER_SECOND), "third");
        put(folder, "token", "\n");
        expect(kube_config_token(&config, now + 200 * NS_PER_SECOND), "third");
        unlinkat(folder->fd, "token", 0);
        expect(kube_config_token(&config, now + 300 * NS_PER_SECOND), "third");

        _cleanup_kube_config_ struct kube_config none = {};
        assert_int_equal(kube_config_in_cluster(folder->path, &error, &none), -ENOENT);
}

static void what_is_written_is_read(void **state)
{
        struct test_folder *folder = *state;
        struct error error = {};
        _cleanup_kube_config_ struct kube_config config = {}, found = {}, missing = {};
        const struct kube_config_entry entry = {
                .name = "cay",
                .server = STR("https://127.0.0.1:6443"),
                .ca = STR("CA\n"),
                .certificate = STR("CERT"),
                .key = STR("KEY"),
                .token = STR("secret: '#"),
                .name_space = STR("team"),
        };
        char path[64], list[160];
        struct stat status;

        snprintf(path, sizeof(path), "%s/config", folder->path);
        assert_int_equal(kube_config_write(path, &entry), 0);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        assert_int_equal(kube_config_load(path, STR(""), &error, &config), 0);
        expect(config.context, "cay");
        expect(config.server, "https://127.0.0.1:6443");
        expect(config.ca, "CA\n");
        expect(config.certificate, "CERT");
        expect(config.key, "KEY");
        expect(config.token, "secret: '#");
        expect(config.name_space, "team");

        snprintf(list, sizeof(list), "%s/absent::%s", folder->path, path);
        setenv("KUBECONFIG", list, 1);
        assert_int_equal(kube_config_find(NULL, STR("cay"), &error, &found), 0);
        expect(found.token, "secret: '#");
        assert_int_equal(kube_config_find(NULL, STR("other"), &error, &missing), -ENOENT);
        assert_int_equal(kube_config_find("/nowhere", STR("cay"), &error, &missing), -ENOENT);
        assert_non_null(strstr(error.message, "/nowhere"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(contexts_are_taken_apart, setup,
                                                test_folder_teardown),
                cmocka_unit_test_setup_teardown(what_is_wrong_is_named, setup,
                                                test_folder_teardown),
                cmocka_unit_test(addresses_that_are_none_are_refused),
                cmocka_unit_test_setup_teardown(a_token_file_that_is_not_there_is_named, setup,
                                                test_folder_teardown),
                cmocka_unit_test_setup_teardown(a_token_file_is_read_again, setup,
                                                test_folder_teardown),
                cmocka_unit_test_setup_teardown(what_is_written_is_read, setup,
                                                test_folder_teardown),
        };
        return run_unit_tests("config", tests);
}
