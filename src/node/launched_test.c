// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/macro.h"
#include "node/address.h"
#include "node/node.h"
#include "node/test_api.h"
#include "runtime/request.h"
#include "runtime/testbed.h"

/*
 * The node as it runs on a machine: a process of an unprivileged user with the real launcher behind
 * it. This process is the API server.
 */
struct machine {
        struct testbed bed;
        struct test_loop loop;
        struct test_api api;
        char data[96], kubeconfig[128], cidr[32], host[ADDRESS_TEXT_SIZE];
        struct node_config config;
        pid_t node;
};

static const char *init_path, *libexec_folder;

static void start_node_with(struct machine *machine, int launcher)
{
        machine->node = fork();
        assert_true(machine->node >= 0);
        if (machine->node == 0) {
                static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS };
                struct error error = {};
                /* cmocka's handlers would go on with the test in this process. */
                for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
                        signal(crashes[i], SIG_DFL);
                machine->config.launcher_fd = dup(launcher);
                if (setresgid(machine->bed.config.node_group, machine->bed.config.node_group,
                              machine->bed.config.node_group) < 0 ||
                    setresuid(machine->bed.config.node_user, machine->bed.config.node_user,
                              machine->bed.config.node_user) < 0)
                        _exit(2);
                int r = node_run(&machine->config, &error);
                if (r < 0)
                        fprintf(stderr, "node: %s\n", error.message);
                _exit(r < 0);
        }
}

static void start_node(struct machine *machine)
{
        start_node_with(machine, machine->bed.sockets[0]);
}

static void stop_node(struct machine *machine, int signal)
{
        int status = -1;

        kill(machine->node, signal);
        assert_int_equal(waitpid(machine->node, &status, 0), machine->node);
        if (signal == SIGTERM)
                assert_int_equal(status, 0);
        machine->node = 0;
        test_run_turns(&machine->loop, 3);
}

static int set_up(void **state)
{
        struct machine *machine = calloc(1, sizeof(*machine));
        char config[1024], network[ADDRESS_TEXT_SIZE];

        assert_non_null(machine);
        testbed_start(&machine->bed, init_path, NULL);
        runtime_free(machine->bed.runtime);
        machine->bed.runtime = NULL;
        test_loop_set_up(&machine->loop);
        test_api_start(&machine->api, &machine->loop);
        snprintf(machine->data, sizeof(machine->data), "%s/node", machine->bed.folder);
        assert_int_equal(mkdir(machine->data, 0700), 0);
        assert_int_equal(
                chown(machine->data, machine->bed.config.node_user, machine->bed.config.node_group),
                0);
        snprintf(machine->kubeconfig, sizeof(machine->kubeconfig), "%s/kubeconfig",
                 machine->bed.folder);
        snprintf(config, sizeof(config),
                 "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
                 "clusters:\n- name: a\n  cluster:\n    server: %s\n"
                 "users:\n- name: a\n  user: {}\n"
                 "contexts:\n- name: a\n  context:\n    cluster: a\n    user: a\n",
                 machine->api.url);
        assert_int_equal(file_write_atomic(AT_FDCWD, machine->kubeconfig, str_from(config), 0644),
                         0);
        address_format(machine->bed.config.pod_network, network);
        snprintf(machine->cidr, sizeof(machine->cidr), "%s/%u", network,
                 machine->bed.config.pod_prefix);
        address_format(machine->bed.config.host_address, machine->host);
        machine->config = (struct node_config){ .name = "here",
                                                .overcommit_cpu = NODE_OVERCOMMIT_CPU,
                                                .overcommit_memory = NODE_OVERCOMMIT_MEMORY,
                                                .kubeconfig = machine->kubeconfig,
                                                .host_address = machine->host,
                                                .pod_cidr = machine->cidr,
                                                .data_folder = machine->data,
                                                .libexec_folder = libexec_folder,
                                                .ready_fd = -1 };
        start_node(machine);
        *state = machine;
        return 0;
}

static int tear_down(void **state)
{
        struct machine *machine = *state;

        if (getenv("VERBOSE"))
                for (size_t i = 0; i < machine->api.count; i++)
                        print_message("# %s %.*s\n", machine->api.objects[i].path,
                                      STR_FORMAT(json_doc_text(machine->api.objects[i].doc)));
        if (machine->node)
                stop_node(machine, SIGTERM);
        test_api_stop(&machine->api);
        test_loop_tear_down(&machine->loop);
        testbed_stop(&machine->bed);
        free(machine);
        return 0;
}

#define PATH_OF(name) "/api/v1/namespaces/n/pods/" name

static void put_pod(struct machine *machine, const char *name, const char *spec)
{
        char path[128], json[4096];

        snprintf(path, sizeof(path), PATH_OF("%s"), name);
        snprintf(json, sizeof(json),
                 "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
                 "\"namespace\":\"n\",\"uid\":\"%s-uid\"},\"spec\":{\"nodeName\":\"here\",%s}}",
                 name, name, spec);
        test_api_put(&machine->api, path, json);
}

#define BUSYBOX(...)  "\"containers\":[{\"name\":\"main\",\"image\":\"busybox\"," __VA_ARGS__ "}]"
#define SHELL(script) "\"command\":[\"sh\",\"-c\",\"" script "\"]"

static struct json_value status_of(struct machine *machine, const char *name)
{
        char path[128];

        snprintf(path, sizeof(path), PATH_OF("%s"), name);
        return json_get(test_api_get(&machine->api, path), "status");
}

static struct json_value main_of(struct machine *machine, const char *name)
{
        return json_element(json_get(status_of(machine, name), "containerStatuses"), 0);
}

static bool is_ready(struct machine *machine, const char *name)
{
        json_for_each (it, json_get(status_of(machine, name), "conditions"))
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        return false;
}

static struct json_value end_of(struct machine *machine, const char *name)
{
        return json_get(main_of(machine, name), "state", "terminated");
}

static void assert_message(struct machine *machine, const char *name, const char *message)
{
        struct str said = json_string(json_get(end_of(machine, name), "message"));

        if (!str_equal(said, str_from(message)))
                print_error("%.*s\n", STR_FORMAT(said));
        assert_true(str_equal(said, str_from(message)));
}

static void ask_to_delete(struct machine *machine, const char *name)
{
        char path[128];

        snprintf(path, sizeof(path), PATH_OF("%s"), name);
        test_api_patch(&machine->api, path,
                       "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                       "\"deletionGracePeriodSeconds\":30}}");
}

static const char looking_around[] =
        "\"restartPolicy\":\"Never\",\"hostname\":\"box\",\"volumes\":[{\"name\":\"c\","
        "\"configMap\":{\"name\":\"c\"}},{\"name\":\"e\",\"emptyDir\":{}}],\"containers\":[{"
        "\"name\":\"main\",\"image\":\"busybox\",\"command\":[\"sh\",\"-c\",\"(cat /c/key; echo; "
        "hostname; id -u; id -g; pwd; touch /e/x && echo written; echo $A; grep -c box /etc/hosts; "
        "cat /etc/hostname; touch /c/y 2>/dev/null || echo refused) > /dev/termination-log\"],"
        "\"env\":[{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}}],"
        "\"workingDir\":\"/app\",\"securityContext\":{\"runAsUser\":1000,\"runAsGroup\":1001},"
        "\"volumeMounts\":[{\"name\":\"c\",\"mountPath\":\"/c\"},{\"name\":\"e\",\"mountPath\":"
        "\"/e\"}]}]";

static void a_pod_runs_in_its_sandbox(void **state)
{
        struct machine *machine = *state;
        char expected[256];

        test_api_put(&machine->api, "/api/v1/namespaces/n/configmaps/c",
                     "{\"metadata\":{\"name\":\"c\"},\"data\":{\"key\":\"value\"}}");
        put_pod(machine, "p", looking_around);
        test_run_until(&machine->loop, json_exists(end_of(machine, "p")));
        snprintf(expected, sizeof(expected),
                 "value\nbox\n1000\n1001\n/app\nwritten\n%.*s\n1\nbox\nrefused\n",
                 STR_FORMAT(json_string(json_get(status_of(machine, "p"), "podIP"))));
        assert_message(machine, "p", expected);
        assert_int_equal(json_int64_or(json_get(end_of(machine, "p"), "exitCode"), -1), 0);
}

static void ends_are_told_as_they_were(void **state)
{
        struct machine *machine = *state;

        put_pod(machine, "hog",
                "\"restartPolicy\":\"Never\"," BUSYBOX(
                        SHELL("x=a; while :; do x=$x$x; done") ","
                                                               "\"resources\":{\"limits\":{"
                                                               "\"memory\":\"32Mi\"}}"));
        put_pod(machine, "sleeper", BUSYBOX(SHELL("trap '' TERM; sleep 1000; sleep 1000")));
        test_run_until(&machine->loop, json_exists(end_of(machine, "hog")));
        assert_true(json_string_is(json_get(end_of(machine, "hog"), "reason"), STR("OOMKilled")));
        assert_int_equal(json_int64_or(json_get(end_of(machine, "hog"), "exitCode"), -1), 137);
        test_run_until(&machine->loop, is_ready(machine, "sleeper"));
        test_api_patch(&machine->api, PATH_OF("sleeper"),
                       "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                       "\"deletionGracePeriodSeconds\":1}}");
        test_run_until(&machine->loop, !json_exists(status_of(machine, "sleeper")));
}

static void everything_may_be_killed(void **state)
{
        struct machine *machine = *state;

        put_pod(machine, "p", BUSYBOX(SHELL("sleep 1000")));
        test_run_until(&machine->loop, is_ready(machine, "p"));
        stop_node(machine, SIGKILL);
        start_node(machine);
        testbed_launcher_end(&machine->bed, SIGKILL);
        testbed_launcher_start(&machine->bed);
        put_pod(machine, "q", BUSYBOX(SHELL("sleep 1000")));
        test_run_until(&machine->loop, is_ready(machine, "q"));
        assert_true(is_ready(machine, "p"));
        assert_int_equal(json_int64_or(json_get(main_of(machine, "p"), "restartCount"), -1), 0);
        ask_to_delete(machine, "p");
        ask_to_delete(machine, "q");
        test_run_until(&machine->loop, !json_exists(status_of(machine, "p")) &&
                                               !json_exists(status_of(machine, "q")));
}

static void answer_as_launcher(int socket, enum launcher_operation expected, int result)
{
        static struct launcher_request request;

        assert_int_equal(recv(socket, &request, sizeof(request), 0), sizeof(request));
        assert_int_equal(request.operation, expected);
        const struct launcher_reply reply = {
                .version = LAUNCHER_PROTOCOL, .result = result, .id = request.id, .epoch = 1
        };
        assert_int_equal(send(socket, &reply, sizeof(reply), 0), sizeof(reply));
}

static void without_a_network_it_ends_with_a_sentence(void **state)
{
        struct machine *machine = *state;
        int sockets[2], status;

        stop_node(machine, SIGKILL);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
        start_node_with(machine, sockets[0]);
        answer_as_launcher(sockets[1], LAUNCHER_PING, 0);
        answer_as_launcher(sockets[1], LAUNCHER_SOCKET, -EPERM);
        assert_int_equal(waitpid(machine->node, &status, 0), machine->node);
        machine->node = 0;
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        close(sockets[0]);
        close(sockets[1]);
}

static void it_is_ready_soon(void **state)
{
        enum { ROUNDS = 15 };
        struct machine *machine = *state;
        uint64_t times[ROUNDS];

        for (int i = 0; i < ROUNDS; i++) {
                char name[16];
                snprintf(name, sizeof(name), "p%d", i);
                uint64_t start = clock_monotonic_ns();
                put_pod(machine, name,
                        libexec_folder
                                ? "\"containers\":[{\"name\":\"main\",\"image\":"
                                  "\"python-runtime-sandbox\",\"readinessProbe\":{\"httpGet\":{"
                                  "\"port\":8888}}}]"
                                : BUSYBOX(SHELL("sleep 1000")));
                test_run_until(&machine->loop, is_ready(machine, name));
                times[i] = clock_monotonic_ns() - start;
        }
        for (int i = 1; i < ROUNDS; i++)
                for (int j = i; j > 0 && times[j - 1] > times[j]; j--) {
                        uint64_t swap = times[j];
                        times[j] = times[j - 1];
                        times[j - 1] = swap;
                }
        print_message("# from the Pod to Ready: p50 %.2f ms, min %.2f ms, max %.2f ms\n",
                      (double)times[ROUNDS / 2] / 1e6, (double)times[0] / 1e6,
                      (double)times[ROUNDS - 1] / 1e6);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_pod_runs_in_its_sandbox, set_up, tear_down),
                cmocka_unit_test_setup_teardown(ends_are_told_as_they_were, set_up, tear_down),
                cmocka_unit_test_setup_teardown(everything_may_be_killed, set_up, tear_down),
                cmocka_unit_test_setup_teardown(without_a_network_it_ends_with_a_sentence, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(it_is_ready_soon, set_up, tear_down),
        };

        assert(argc > 1);
        init_path = argv[1];
        libexec_folder = argc > 2 ? argv[2] : NULL;
        if (geteuid() != 0) {
                printf("1..0 # SKIP needs root: it starts the launcher\n");
                return 0;
        }
        log_configure("node", getenv("VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                      LOG_FORMAT_TEXT);
        return run_unit_tests("launched", tests);
}
