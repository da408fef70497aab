// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/websocket.h"
#include "node/node.h"
#include "node/test_api.h"
#include "node/test_runtime.h"

/*
 * The whole node against an API and a runtime of the tests: its thread is the node, this one the
 * API server and the user.
 */
struct world {
        struct test_loop loop;
        struct test_api api;
        struct test_runtime_config runtime;
        char folder[64], kubeconfig[128], data[128], state[128], socket[100];
        struct node_config config;
        pthread_t thread;
        bool is_running;
        int result;
        struct error error;
};

static const char *init_path;

static void *run(void *user)
{
        struct world *world = user;

        world->result = node_run(&world->config, &world->error);
        return NULL;
}

static void start_node(struct world *world)
{
        world->error = (struct error){};
        assert_int_equal(pthread_create(&world->thread, NULL, run, world), 0);
        world->is_running = true;
}

static void stop_node(struct world *world)
{
        kill(getpid(), SIGTERM);
        pthread_join(world->thread, NULL);
        world->is_running = false;
        if (world->result != 0)
                print_error("%s\n", world->error.message);
        assert_int_equal(world->result, 0);
        test_run_turns(&world->loop, 3);
}

static int set_up(void **state)
{
        struct world *world = calloc(1, sizeof(*world));
        char config[1024];

        assert_non_null(world);
        snprintf(world->folder, sizeof(world->folder), "/tmp/cay-node-XXXXXX");
        assert_non_null(mkdtemp(world->folder));
        test_loop_set_up(&world->loop);
        test_api_start(&world->api, &world->loop);
        snprintf(world->kubeconfig, sizeof(world->kubeconfig), "%s/kubeconfig", world->folder);
        snprintf(world->data, sizeof(world->data), "%s/data", world->folder);
        snprintf(world->state, sizeof(world->state), "%s/state", world->folder);
        snprintf(world->socket, sizeof(world->socket), "%s/kubelet", world->folder);
        assert_int_equal(mkdir(world->state, 0700), 0);
        snprintf(config, sizeof(config),
                 "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
                 "clusters:\n- name: a\n  cluster:\n    server: %s\n"
                 "users:\n- name: a\n  user: {}\n"
                 "contexts:\n- name: a\n  context:\n    cluster: a\n    user: a\n",
                 world->api.url);
        assert_int_equal(file_write_atomic(AT_FDCWD, world->kubeconfig, str_from(config), 0600), 0);
        world->runtime = (struct test_runtime_config){ .init = init_path, .folder = world->state };
        world->config = (struct node_config){ .name = "here",
                                              .overcommit_cpu = NODE_OVERCOMMIT_CPU,
                                              .overcommit_memory = NODE_OVERCOMMIT_MEMORY,
                                              .kubeconfig = world->kubeconfig,
                                              .host_address = "192.0.2.1",
                                              .pod_cidr = "10.1.0.0/24",
                                              .data_folder = world->data,
                                              .socket_path = world->socket,
                                              .launcher_fd = -1,
                                              .ready_fd = -1,
                                              .runtime_new = test_runtime_new,
                                              .runtime_user = &world->runtime };
        start_node(world);
        *state = world;
        return 0;
}

static int tear_down(void **state)
{
        struct world *world = *state;
        char command[128];

        if (world->is_running)
                stop_node(world);
        test_runtime_end();
        test_api_stop(&world->api);
        test_loop_tear_down(&world->loop);
        snprintf(command, sizeof(command), "rm -rf %s", world->folder);
        assert_int_equal(system(command), 0);
        free(world);
        return 0;
}

/* ---- Pods ---- */

#define PATH_OF(name) "/api/v1/namespaces/n/pods/" name

/* A Pod `name` whose spec has `rest` and one container `main` with `container`. */
static void put_pod(struct world *world, const char *name, const char *container, const char *rest)
{
        char path[128], json[4096];

        snprintf(path, sizeof(path), PATH_OF("%s"), name);
        snprintf(json, sizeof(json),
                 "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
                 "\"namespace\":\"n\",\"uid\":\"%s-uid\"},\"spec\":{\"nodeName\":\"here\",%s"
                 "\"containers\":[{\"name\":\"main\",\"image\":\"busybox\",\"workingDir\":\"/tmp\","
                 "%s}]}}",
                 name, name, rest, container);
        test_api_put(&world->api, path, json);
}

#define SLEEP "\"command\":[\"sleep\",\"1000\"]"
#define SHELL(script)                                                                              \
        "\"command\":[\"sh\",\"-c\",\"" script "\"],\"imagePullPolicy\":\"IfNotPresent\""

static struct json_value status_of(struct world *world, const char *name)
{
        char path[128];

        snprintf(path, sizeof(path), PATH_OF("%s"), name);
        return json_get(test_api_get(&world->api, path), "status");
}

static struct json_value main_of(struct world *world, const char *name)
{
        return json_element(json_get(status_of(world, name), "containerStatuses"), 0);
}

static bool is_ready(struct world *world, const char *name)
{
        json_for_each (it, json_get(status_of(world, name), "conditions"))
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        return false;
}

static bool phase_is(struct world *world, const char *name, const char *phase)
{
        return json_string_is(json_get(status_of(world, name), "phase"), str_from(phase));
}

static bool waits_with(struct world *world, const char *name, const char *reason)
{
        return json_string_is(json_get(main_of(world, name), "state", "waiting", "reason"),
                              str_from(reason));
}

static bool is_gone(struct world *world, const char *name)
{
        return !json_exists(status_of(world, name));
}

static bool exists(const char *folder, const char *rest)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", folder, rest);
        return access(path, F_OK) == 0;
}

/* Where the termination message of an attempt of the first container is. */
static const char *message_path(const char *uid, unsigned attempt)
{
        static char path[96];

        snprintf(path, sizeof(path), "volumes/messages/%02x/%s.0.%u",
                 str_fnv1a(str_from(uid)) % 256, uid, attempt);
        return path;
}

static void ask_to_delete(struct world *world, const char *path, const char *grace)
{
        char json[256];

        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                 "\"deletionGracePeriodSeconds\":%s}}",
                 grace);
        test_api_patch(&world->api, path, json);
}

static void a_pod_lives_and_dies(void **state)
{
        struct world *world = *state;

        put_pod(world, "p", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "p"));
        assert_true(phase_is(world, "p", "Running"));
        assert_true(json_string_is(json_get(status_of(world, "p"), "hostIP"), STR("192.0.2.1")));
        assert_true(json_string_is(json_get(status_of(world, "p"), "podIP"), STR("10.1.0.2")));
        assert_true(json_string_is(json_get(main_of(world, "p"), "containerID"),
                                   STR("cay://p-uid-0-1")));
        assert_true(world->api.status_patches <= 3);
        assert_true(exists(world->data, message_path("p-uid", 1)));
        assert_non_null(strstr(test_runtime_last_launch()->etc, "\n10.1.0.2\tp\n"));
        test_run_until(&world->loop, test_api_count(&world->api, "/api/v1/nodes/here") == 1);
        test_run_until(&world->loop,
                       test_api_count(&world->api, "/api/v1/namespaces/n/events/p.") == 1);
        test_run_until(&world->loop,
                       test_api_count(&world->api, "/apis/coordination.k8s.io/v1/namespaces/"
                                                   "kube-node-lease/leases/here") == 1);

        ask_to_delete(world, PATH_OF("p"), "30");
        test_run_until(&world->loop, is_gone(world, "p"));
        test_run_until(&world->loop, !exists(world->data, message_path("p-uid", 1)));
        /* What the node wrote it removes itself; volumes are the runtime's to purge. */
        assert_int_equal(world->runtime.purges, 0);
        assert_int_equal(world->api.deletes, 1);
        assert_int_equal(test_runtime_end(), 0);
}

static void exits_are_reported(void **state)
{
        static const struct {
                const char *name, *container, *phase, *reason;
                int code;
                const char *message; /* NULL: none */
        } cases[] = {
                { "ok", SHELL("exit 0"), "Succeeded", "Completed", 0, NULL },
                { "bad", SHELL("echo lost >&2; exit 7"), "Failed", "Error", 7, NULL },
                { "tail",
                  SHELL("echo last words; exit 3") ",\"terminationMessagePolicy\":"
                                                   "\"FallbackToLogsOnError\"",
                  "Failed", "Error", 3, "last words\n" },
                { "shot", SHELL("kill -9 $$$$"), "Failed", "Error", 137, NULL },
                { "none", "\"command\":[\"/no/such/program\"]", "Failed", "StartError", 128, "" },
        };
        struct world *world = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                put_pod(world, cases[i].name, cases[i].container, "\"restartPolicy\":\"Never\",");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                test_run_until(&world->loop, phase_is(world, cases[i].name, cases[i].phase));
                struct json_value end =
                        json_get(main_of(world, cases[i].name), "state", "terminated");
                assert_int_equal(json_int64_or(json_get(end, "exitCode"), -1), cases[i].code);
                assert_true(json_string_is(json_get(end, "reason"), str_from(cases[i].reason)));
                if (!cases[i].message)
                        assert_false(json_exists(json_get(end, "message")));
                else if (cases[i].message[0])
                        assert_true(json_string_is(json_get(end, "message"),
                                                   str_from(cases[i].message)));
                else
                        assert_true(json_string(json_get(end, "message")).length > 0);
        }
}

static void what_is_not_here_is_said(void **state)
{
        struct world *world = *state;

        put_pod(world, "never", SLEEP ",\"imagePullPolicy\":\"Never\"", "");
        test_api_patch(&world->api, PATH_OF("never"), "{}");
        put_pod(world, "unsupported", SLEEP, "\"hostNetwork\":true,");
        put_pod(world, "config",
                SLEEP ",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":"
                      "\"none\",\"key\":\"k\"}}}]",
                "");
        put_pod(world, "root", SLEEP ",\"securityContext\":{\"runAsNonRoot\":true}", "");
        test_run_until(&world->loop, phase_is(world, "unsupported", "Failed"));
        assert_true(json_string_is(json_get(status_of(world, "unsupported"), "reason"),
                                   STR("Unsupported")));
        assert_true(
                str_starts_with(json_string(json_get(status_of(world, "unsupported"), "message")),
                                STR("spec.hostNetwork:")));
        test_run_until(&world->loop, waits_with(world, "config", "CreateContainerConfigError"));
        test_run_until(&world->loop, waits_with(world, "root", "CreateContainerConfigError"));
        test_run_until(&world->loop, is_ready(world, "never"));

        static const char absent[] =
                "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\",\"uid\":\"%s-uid\"},"
                "\"spec\":{\"nodeName\":\"here\",\"containers\":[{\"name\":\"main\",\"image\":"
                "\"nginx\",\"imagePullPolicy\":\"%s\"}]}}";
        static const char *const reasons[][3] = { { "denied", "Never", "ErrImageNeverPull" },
                                                  { "absent", "IfNotPresent",
                                                    "ImagePullBackOff" } };
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
                const char *name = reasons[i][0];
                char json[512], path[64];
                snprintf(json, sizeof(json), absent, name, name, reasons[i][1]);
                snprintf(path, sizeof(path), PATH_OF("%s"), name);
                test_api_put(&world->api, path, json);
                test_run_until(&world->loop, waits_with(world, name, reasons[i][2]));
                test_api_remove(&world->api, path);
        }
}

static void probes_decide_when_it_is_ready(void **state)
{
        struct world *world = *state;
        char container[512], flag[128];

        snprintf(container, sizeof(container),
                 SLEEP ",\"startupProbe\":{\"exec\":{\"command\":[\"test\",\"-e\",\"%s/up\"]}},"
                       "\"readinessProbe\":{\"tcpSocket\":{\"host\":\"127.0.0.1\",\"port\":%u}}",
                 world->folder, net_address_port(listener_address(world->api.listener)));
        put_pod(world, "p", container, "");
        test_run_until(&world->loop, phase_is(world, "p", "Running"));
        assert_false(is_ready(world, "p"));
        snprintf(flag, sizeof(flag), "%s/up", world->folder);
        assert_int_equal(file_write_atomic(AT_FDCWD, flag, STR("1"), 0644), 0);
        test_run_until(&world->loop, is_ready(world, "p"));

        snprintf(container, sizeof(container),
                 SLEEP ",\"readinessProbe\":{\"httpGet\":{\"host\":\"127.0.0.1\",\"port\":%u,"
                       "\"path\":\"/api/v1/ready\"}}",
                 net_address_port(listener_address(world->api.listener)));
        put_pod(world, "q", container, "");
        test_run_until(&world->loop, phase_is(world, "q", "Running"));
        assert_false(is_ready(world, "q"));
        test_api_put(&world->api, "/api/v1/ready", "{}");
        test_run_until(&world->loop, is_ready(world, "q"));

        put_pod(world, "r",
                SLEEP ",\"livenessProbe\":{\"exec\":{\"command\":[\"false\"]},\"periodSeconds\":1,"
                      "\"failureThreshold\":1}",
                "");
        test_run_until(&world->loop,
                       json_int64_or(json_get(main_of(world, "r"), "restartCount"), 0) == 1);
}

static void hooks_run_at_both_ends(void **state)
{
        struct world *world = *state;
        char container[700];

        snprintf(container, sizeof(container),
                 SHELL("trap 'test -e %s/stopping && touch %s/in-order; exit 0' TERM; while :; do "
                       "sleep 0.05; done") ",\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":["
                                           "\"sh\",\"-c\",\"touch %s/starting; until test -e "
                                           "%s/go; do sleep 0.02; done\"]}},\"preStop\":{\"exec\":"
                                           "{\"command\":[\"touch\",\"%s/stopping\"]}}}",
                 world->folder, world->folder, world->folder, world->folder, world->folder);
        put_pod(world, "p", container, "");
        test_run_until(&world->loop, exists(world->folder, "starting"));
        test_run_until(&world->loop, json_exists(json_get(main_of(world, "p"), "containerID")));
        assert_true(json_string_is(json_get(main_of(world, "p"), "state", "waiting", "reason"),
                                   STR("ContainerCreating")));
        assert_false(is_ready(world, "p"));
        snprintf(container, sizeof(container), "%s/go", world->folder);
        assert_int_equal(file_write_atomic(AT_FDCWD, container, STR("1"), 0644), 0);
        test_run_until(&world->loop, is_ready(world, "p"));
        ask_to_delete(world, PATH_OF("p"), "30");
        test_run_until(&world->loop, exists(world->folder, "in-order"));
        test_run_until(&world->loop, is_gone(world, "p"));

        /* A hook that fails ends its container; an answer of any kind is enough for httpGet. */
        put_pod(world, "q",
                SLEEP ",\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":[\"false\"]}}}",
                "\"restartPolicy\":\"Never\",\"terminationGracePeriodSeconds\":1,");
        test_run_until(&world->loop, phase_is(world, "q", "Failed"));
        snprintf(container, sizeof(container),
                 SLEEP ",\"lifecycle\":{\"postStart\":{\"httpGet\":{\"host\":\"127.0.0.1\","
                       "\"port\":%u,\"path\":\"/api/v1/none\"}}}",
                 net_address_port(listener_address(world->api.listener)));
        put_pod(world, "r", container, "");
        test_run_until(&world->loop, is_ready(world, "r"));
}

static void assert_file(struct world *world, const char *path, const char *contents)
{
        _cleanup_buffer_ struct buffer text = {};
        char full[256];

        snprintf(full, sizeof(full), "%s/volumes/pods/p-uid/%s", world->data, path);
        assert_int_equal(file_read(AT_FDCWD, full, 4096, &text), 0);
        assert_true(str_equal(buffer_str(&text), str_from(contents)));
}

static const struct container_mount *mount_at(const char *target)
{
        const struct container_spec *spec = test_runtime_last_launch();

        for (size_t i = 0; i < spec->mount_count; i++)
                if (strcmp(spec->mounts[i].target, target) == 0)
                        return &spec->mounts[i];
        return NULL;
}

static void volumes_hold_what_they_name(void **state)
{
        struct world *world = *state;

        test_api_put(
                &world->api, "/api/v1/namespaces/n/configmaps/c",
                "{\"metadata\":{\"name\":\"c\"},\"data\":{\"key\":\"value\",\"..x\":\"bad\"}}");
        test_api_put(&world->api, "/api/v1/namespaces/n/secrets/s",
                     "{\"metadata\":{\"name\":\"s\"},\"data\":{\"key\":\"c2VjcmV0\"}}");
        test_api_put(&world->api, "/api/v1/namespaces/n/persistentvolumeclaims/d",
                     "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"volumeName\":\"pv-1\"},"
                     "\"status\":{\"phase\":\"Bound\"}}");
        put_pod(world, "p",
                SHELL("test $A = value && sleep 1000") ",\"env\":[{\"name\":\"A\",\"valueFrom\":{"
                                                       "\"configMapKeyRef\":{\"name\":\"c\","
                                                       "\"key\":\"key\"}}}],\"volumeMounts\":[{"
                                                       "\"name\":\"c\",\"mountPath\":\"/c\"},"
                                                       "{\"name\":\"s\",\"mountPath\":\"/s/"
                                                       "one\",\"subPath\":\"dir/"
                                                       "one\"},{\"name\":\"t\","
                                                       "\"mountPath\":\"/"
                                                       "t\"},{\"name\":\"e\",\"mountPath\":\"/"
                                                       "e\"},{\"name\":\"d\","
                                                       "\"mountPath\":\"/d\",\"readOnly\":true}]",
                "\"volumes\":[{\"name\":\"c\",\"configMap\":{\"name\":\"c\"}},{\"name\":\"s\","
                "\"secret\":{\"secretName\":\"s\",\"items\":[{\"key\":\"key\",\"path\":\"dir/one\","
                "\"mode\":256}]}},{\"name\":\"t\",\"projected\":{\"sources\":[{"
                "\"serviceAccountToken\":{\"path\":\"token\"}},{\"downwardAPI\":{\"items\":[{"
                "\"path\":\"name\",\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}]}}]}},"
                "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"d\",\"persistentVolumeClaim\":{"
                "\"claimName\":\"d\"}}],");
        test_run_until(&world->loop, is_ready(world, "p"));
        assert_file(world, "vol-c/key", "value");
        assert_file(world, "vol-s/dir/one", "secret");
        assert_file(world, "vol-t/token", "secret-token");
        assert_file(world, "vol-t/name", "p");
        assert_string_equal(mount_at("/c")->source, "pods/p-uid/vol-c");
        assert_true(mount_at("/c")->read_only);
        assert_string_equal(mount_at("/s/one")->source, "pods/p-uid/vol-s/..v1/dir/one");
        assert_false(mount_at("/e")->read_only);
        assert_string_equal(mount_at("/d")->source, "claims/pv-1");
        assert_true(mount_at("/d")->read_only);
        assert_false(mount_at("/e")->plain);
        assert_true(mount_at("/dev/termination-log")->plain);
        assert_null(mount_at("/etc/hosts"));
        assert_false(exists(world->data, "volumes/pods/p-uid/vol-c/..x"));

        put_pod(world, "q", SLEEP,
                "\"volumes\":[{\"name\":\"c\",\"configMap\":{\"name\":\"no\"}}],");
        test_run_until(&world->loop,
                       test_api_count(&world->api, "/api/v1/namespaces/n/events/q.") == 1);
        test_run_until(&world->loop, waits_with(world, "q", "ContainerCreating"));
}

static void empty_dirs_are_bounded(void **state)
{
        struct world *world = *state;
        const char *source;

        world->runtime.memory_failures = 1;
        put_pod(world, "p",
                SLEEP ",\"resources\":{\"limits\":{\"memory\":\"64Mi\"}},\"volumeMounts\":[{"
                      "\"name\":\"m\",\"mountPath\":\"/dev/shm\"}]",
                "\"volumes\":[{\"name\":\"m\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":"
                "\"1Gi\"}}],");
        test_run_until(&world->loop, is_ready(world, "p"));
        assert_int_equal(world->runtime.memory_failures, 0);
        assert_int_equal(test_runtime_last_memory(&source), 64 << 20);
        assert_string_equal(source, "pods/p-uid/vol-m");
        assert_non_null(mount_at("/dev/shm"));

        world->runtime.measured = 4096;
        put_pod(world, "q", SLEEP,
                "\"volumes\":[{\"name\":\"d\",\"emptyDir\":{\"sizeLimit\":\"4Ki\"}},{\"name\":"
                "\"e\","
                "\"emptyDir\":{\"sizeLimit\":\"8Ki\"}}],");
        test_run_until(&world->loop, is_ready(world, "q"));
        world->runtime.measured = 8193;
        test_run_until(&world->loop, phase_is(world, "q", "Failed"));
        assert_true(json_string_is(json_get(status_of(world, "q"), "reason"), STR("Evicted")));
        assert_true(
                str_starts_with(json_string(json_get(status_of(world, "q"), "message")),
                                STR("Usage of EmptyDir volume \"d\" exceeds the limit \"4096\"")));
}

/* What a taken-over PID 1 may say: nothing that makes sense, or lies about lengths. */
static void an_init_that_lies_is_killed(void **state)
{
        static const char *const lies[] = { "b'\\xff' * 4096", "b'\\0' * 4096",
                                            "b'\\x01\\0\\0\\0\\xff\\xff\\xff\\x7f' * 64" };
        struct world *world = *state;
        char path[128], script[512], name[16];

        snprintf(path, sizeof(path), "%s/liar", world->folder);
        world->runtime.init = path;
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                snprintf(script, sizeof(script),
                         "#!/usr/bin/python3\nimport socket, time\n"
                         "peer = socket.socket(fileno=3)\npeer.setblocking(True)\n"
                         "while True:\n    peer.accept()[0].sendall(%s)\n    time.sleep(0.1)\n",
                         lies[i]);
                assert_int_equal(file_write_atomic(AT_FDCWD, path, str_from(script), 0755), 0);
                snprintf(name, sizeof(name), "liar%zu", i);
                put_pod(world, name, SLEEP, "\"restartPolicy\":\"Never\",");
                test_run_until(&world->loop, phase_is(world, name, "Failed"));
                assert_int_equal(json_int64_or(json_get(main_of(world, name), "state", "terminated",
                                                        "exitCode"),
                                               0),
                                 137);
        }
        world->runtime.init = init_path;
        put_pod(world, "after", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "after"));
}

static void a_restarted_node_finds_what_runs(void **state)
{
        struct world *world = *state;
        char stray[256];

        put_pod(world, "p", SLEEP, "");
        put_pod(world, "gone", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "p") && is_ready(world, "gone"));
        stop_node(world);
        test_api_remove(&world->api, PATH_OF("gone"));
        unsigned patches = world->api.status_patches;
        snprintf(stray, sizeof(stray), "%s/%s", world->data, message_path("stray-uid", 1));
        *strrchr(stray, '/') = '\0';
        assert_int_equal(mkdir(stray, 0700), 0);
        stray[strlen(stray)] = '/';
        assert_int_equal(file_write_atomic(AT_FDCWD, stray, STR("of a Pod that is gone"), 0600), 0);
        start_node(world);
        test_run_until(&world->loop, !exists(world->data, message_path("gone-uid", 1)));
        assert_int_equal(access(stray, F_OK), -1);
        assert_true(exists(world->data, message_path("p-uid", 1)));
        put_pod(world, "q", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "q"));
        assert_true(json_string_is(json_get(status_of(world, "q"), "podIP"), STR("10.1.0.4")));
        assert_true(is_ready(world, "p"));
        assert_int_equal(json_int64_or(json_get(main_of(world, "p"), "restartCount"), -1), 0);
        assert_true(world->api.status_patches <= patches + 5);

        /* It can be spoken to, too. */
        ask_to_delete(world, PATH_OF("p"), "30");
        test_run_until(&world->loop, is_gone(world, "p"));

        /* What ended while no node ran is told by the next one. */
        stop_node(world);
        assert_int_equal(test_runtime_end(), 1);
        start_node(world);
        test_run_until(&world->loop,
                       json_int64_or(json_get(main_of(world, "q"), "restartCount"), 0) == 1);
        test_run_until(&world->loop, is_ready(world, "q"));
}

static void failures_are_tried_again(void **state)
{
        struct world *world = *state;

        world->api.fail_patches = 2;
        world->runtime.failures = 1;
        put_pod(world, "p", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "p"));
        assert_int_equal(world->api.fail_patches, 0);

        /* A Pod of the same name but another uid is not ours to speak for. */
        test_api_patch(&world->api, PATH_OF("p"), "{\"metadata\":{\"uid\":\"other-uid\"}}");
        test_run_until(&world->loop, exists(world->data, message_path("other-uid", 2)));
        test_api_remove(&world->api, PATH_OF("p"));
        test_run_until(&world->loop, !exists(world->data, message_path("other-uid", 2)));
}

/* ---- the kubelet API ---- */

static int connect_kubelet(struct world *world)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct timeval limit = { .tv_sec = 5 };

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", world->socket);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void read_more(int fd, struct buffer *text)
{
        char bytes[4096];
        ssize_t got = read(fd, bytes, sizeof(bytes));

        assert_true(got > 0);
        assert_int_equal(buffer_append(text, bytes, (size_t)got), 0);
        assert_int_equal(buffer_append_char(text, '\0'), 0);
        text->length--;
}

/* The status of the answer to a GET; its whole message in `text`. */
static int ask_kubelet(struct world *world, const char *target, struct buffer *text)
{
        _cleanup_close_ int fd = connect_kubelet(world);
        char request[512], bytes[4096];
        ssize_t got;

        snprintf(request, sizeof(request),
                 "GET %s HTTP/1.0\r\nHost: node\r\nConnection: close\r\n\r\n", target);
        assert_int_equal(fd_write_full(fd, request, strlen(request)), 0);
        buffer_clear(text);
        while ((got = read(fd, bytes, sizeof(bytes))) > 0)
                assert_int_equal(buffer_append(text, bytes, (size_t)got), 0);
        assert_int_equal(buffer_append_char(text, '\0'), 0);
        return atoi(text->data + strlen("HTTP/1.1 "));
}

static const char *body_of(const struct buffer *text)
{
        return strstr(text->data, "\r\n\r\n") + 4;
}

static void logs_are_read(void **state)
{
        static const struct {
                const char *query;
                int status;
                const char *body; /* exactly, or part of an error */
        } cases[] = {
                { "", 200, "line 1\nline 2\nline 3\nlast" },
                { "?container=main&follow=false", 200, "line 1\nline 2\nline 3\nlast" },
                { "?tailLines=2", 200, "line 3\nlast" },
                { "?tailLines=0", 200, "" },
                { "?limitBytes=9", 200, "line 1\nli" },
                { "?sinceTime=2099-01-01T00:00:00Z", 200, "" },
                { "?tailLines=x", 400, "malformed" },
                { "?container=other", 400, "container other is not valid for pod p" },
                { "?previous=true", 400, "previous terminated container" },
        };
        _cleanup_buffer_ struct buffer text = {};
        struct world *world = *state;

        put_pod(world, "p",
                SHELL("for i in 1 2 3; do echo line $i; done; printf last; exec sleep 1000"), "");
        test_run_until(&world->loop, is_ready(world, "p"));
        do
                assert_int_equal(ask_kubelet(world, "/pods/n/p/log", &text), 200);
        while (!strstr(text.data, "last"));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char target[128];
                snprintf(target, sizeof(target), "/pods/n/p/log%s", cases[i].query);
                assert_int_equal(ask_kubelet(world, target, &text), cases[i].status);
                if (cases[i].status == 200)
                        assert_string_equal(body_of(&text), cases[i].body);
                else
                        assert_non_null(strstr(body_of(&text), cases[i].body));
        }
        assert_int_equal(ask_kubelet(world, "/pods/n/p/log?timestamps=true&tailLines=2", &text),
                         200);
        assert_non_null(strstr(body_of(&text), "Z line 3\n"));
        assert_int_equal(ask_kubelet(world, "/pods/n/none/log", &text), 404);
        assert_int_equal(ask_kubelet(world, "/pods/n/p/other", &text), 404);
        assert_int_equal(ask_kubelet(world, "/elsewhere", &text), 404);
        assert_int_equal(ask_kubelet(world, "/pods/n/p/exec?command=true", &text), 400);

        /* What it follows ends with the container. */
        put_pod(world, "q", SHELL("for i in 1 2; do echo $i; sleep 0.1; done"),
                "\"restartPolicy\":\"Never\",");
        test_run_until(&world->loop, phase_is(world, "q", "Running"));
        assert_int_equal(ask_kubelet(world, "/pods/n/q/log?follow=true", &text), 200);
        assert_string_equal(body_of(&text), "1\n2\n");
        test_run_until(&world->loop, phase_is(world, "q", "Succeeded"));
        assert_int_equal(ask_kubelet(world, "/pods/n/q/log?follow=true", &text), 200);
        assert_string_equal(body_of(&text), "1\n2\n");
}

/* Sends a masked frame of less than 126 bytes. */
static void send_frame(int fd, const char *data, size_t length)
{
        char frame[200] = { (char)0x82, (char)(0x80 | length), 0, 0, 0, 0 };

        memcpy(frame + 6, data, length);
        assert_int_equal(fd_write_full(fd, frame, length + 6), 0);
}

/* Reads frames until the closing one, appending what came on each channel. */
static void read_channels(int fd, struct buffer *text, struct buffer channels[static 5])
{
        for (;;) {
                struct websocket_frame frame;
                int head = websocket_parse_head(buffer_str(text), &frame);
                assert_true(head >= 0);
                if (head == 0 || text->length < (size_t)head + frame.length) {
                        read_more(fd, text);
                        continue;
                }
                if (frame.opcode == WEBSOCKET_CLOSE)
                        return;
                const char *data = text->data + head;
                if (frame.length > 1)
                        assert_int_equal(buffer_append(&channels[(unsigned char)data[0] % 5],
                                                       data + 1, frame.length - 1),
                                         0);
                buffer_consume(text, (size_t)head + frame.length);
        }
}

static void open_exec(int fd, const char *query, struct buffer *text)
{
        char request[1024];

        snprintf(request, sizeof(request),
                 "GET /pods/n/p/exec?%s HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
                 query);
        assert_int_equal(fd_write_full(fd, request, strlen(request)), 0);
        do
                read_more(fd, text);
        while (!strstr(text->data, "\r\n\r\n"));
        assert_int_equal(strncmp(text->data, "HTTP/1.1 101 ", 13), 0);
        buffer_consume(text, (size_t)(body_of(text) - text->data));
}

static void commands_run_in_containers(void **state)
{
        static const struct {
                const char *query, *input, *output, *error, *status;
        } cases[] = {
                { "stdout=true&stderr=true&command=sh&command=-c&command=echo+out%3B+echo+err+>%262"
                  "%3B+exit+3",
                  NULL, "out\n", "err\n", "\"reason\":\"ExitCode\",\"message\":\"3\"" },
                { "stdout=true&command=sh&command=-c&command=echo+err+>%262", NULL, "", "",
                  "\"status\":\"Success\"" },
                { "stdin=true&stdout=true&command=cat", "hello", "hello", "",
                  "\"status\":\"Success\"" },
                { "stdout=true&stderr=true&command=%2Fno%2Fprogram", NULL, "",
                  "/no/program: No such file or directory\n",
                  "\"reason\":\"ExitCode\",\"message\":\"127\"" },
                { "stdout=true&tty=true&command=sh&command=-c&command=tty;echo+$TERM", NULL,
                  "/dev/pts/", "", "\"status\":\"Success\"" },
        };
        struct world *world = *state;

        put_pod(world, "p", SLEEP, "");
        test_run_until(&world->loop, is_ready(world, "p"));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_close_ int fd = connect_kubelet(world);
                _cleanup_buffer_ struct buffer text = {};
                struct buffer channels[5] = {};
                open_exec(fd, cases[i].query, &text);
                if (cases[i].input) {
                        char frame[64] = { 0 };
                        strcpy(frame + 1, cases[i].input);
                        send_frame(fd, frame, strlen(cases[i].input) + 1);
                        send_frame(fd, "\xff\0", 2);
                }
                read_channels(fd, &text, channels);
                for (size_t j = 0; j < ARRAY_SIZE(channels); j++)
                        assert_int_equal(buffer_append_char(&channels[j], '\0'), 0);
                assert_int_equal(
                        strncmp(channels[1].data, cases[i].output, MAX(strlen(cases[i].output), 1)),
                        0);
                assert_string_equal(channels[2].data, cases[i].error);
                assert_non_null(strstr(channels[3].data, cases[i].status));
                for (size_t j = 0; j < ARRAY_SIZE(channels); j++)
                        buffer_deinit(&channels[j]);
        }

        /* A client that goes away takes its command with it; the Pod's end takes the others. */
        _cleanup_buffer_ struct buffer text = {};
        struct buffer channels[5] = {};
        int gone = connect_kubelet(world);
        open_exec(gone, "stdout=true&command=sleep&command=1000", &text);
        close(gone);
        buffer_clear(&text);
        _cleanup_close_ int left = connect_kubelet(world);
        open_exec(left, "stdout=true&command=sleep&command=1000", &text);
        ask_to_delete(world, PATH_OF("p"), "1");
        test_run_until(&world->loop, is_gone(world, "p"));
        read_channels(left, &text, channels);
        assert_true(channels[3].length > 0);
        buffer_deinit(&channels[3]);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_pod_lives_and_dies, set_up, tear_down),
                cmocka_unit_test_setup_teardown(exits_are_reported, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_is_not_here_is_said, set_up, tear_down),
                cmocka_unit_test_setup_teardown(probes_decide_when_it_is_ready, set_up, tear_down),
                cmocka_unit_test_setup_teardown(hooks_run_at_both_ends, set_up, tear_down),
                cmocka_unit_test_setup_teardown(volumes_hold_what_they_name, set_up, tear_down),
                cmocka_unit_test_setup_teardown(empty_dirs_are_bounded, set_up, tear_down),
                cmocka_unit_test_setup_teardown(an_init_that_lies_is_killed, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_restarted_node_finds_what_runs, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(failures_are_tried_again, set_up, tear_down),
                cmocka_unit_test_setup_teardown(logs_are_read, set_up, tear_down),
                cmocka_unit_test_setup_teardown(commands_run_in_containers, set_up, tear_down),
        };

        assert(argc > 1);
        init_path = argv[1];
        log_configure("node", getenv("VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                      LOG_FORMAT_TEXT);
        return run_unit_tests("node", tests);
}
