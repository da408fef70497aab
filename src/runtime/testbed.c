// SPDX-License-Identifier: Apache-2.0
#include "runtime/testbed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#include "base/random.h"
#include "runtime/skeleton.h"

enum { NODE_ID = 61234, DEADLINE_MS = 20000 };

static _Noreturn void die(const char *what, int error)
{
        fprintf(stderr, "testbed: %s: %s\n", what, strerror(error < 0 ? -error : error));
        abort();
}

static void on_created(void *owner, uint64_t call, int result, const char *reason)
{
        struct testbed *bed = owner;

        bed->answered = call;
        bed->answers++;
        bed->failures += result < 0;
        bed->result = result;
        snprintf(bed->reason, sizeof(bed->reason), "%s", reason);
}

static void on_exited(void *owner, const struct container_key *key,
                      const struct container_exit *exit)
{
        struct testbed *bed = owner;

        bed->exits[key->container] = *exit;
        bed->exit_count[key->container]++;
        bed->exit_total++;
}

static void on_usage(void *owner, uint64_t call, int result, const struct container_usage *usage)
{
        struct testbed *bed = owner;

        on_created(owner, call, result, "");
        bed->usage = *usage;
}

static void on_measured(void *owner, uint64_t call, int result, uint64_t bytes)
{
        struct testbed *bed = owner;

        on_created(owner, call, result, "");
        bed->measured = bytes;
}

static void on_found(void *owner, uint64_t call, const struct sandbox_spec *sandbox,
                     const struct container_key *container)
{
        struct testbed *bed = owner;

        (void)call;
        if (!sandbox) {
                bed->found_end = true;
                return;
        }
        if (bed->found_count == 64)
                return;
        bed->found_sandboxes[bed->found_count] = *sandbox;
        if (container) {
                bed->found[bed->found_count] = *container;
                bed->found_containers++;
        }
        bed->found_count++;
}

static const struct runtime_events events = { .sandbox_created = on_created,
                                              .container_launched = on_created,
                                              .container_exited = on_exited,
                                              .done = on_created,
                                              .usage = on_usage,
                                              .measured = on_measured,
                                              .found = on_found };

static void node_start(struct testbed *bed)
{
        const struct native_config config = { .launcher_fd = bed->sockets[0],
                                              .volumes = bed->volumes,
                                              .state = bed->state };
        int r = native_runtime_new(&config, &events, bed, &bed->runtime);

        if (r < 0)
                die("native_runtime_new", r);
}

void testbed_launcher_start(struct testbed *bed)
{
        bed->launcher = fork();
        if (bed->launcher < 0)
                die("fork", errno);
        if (bed->launcher == 0) {
                struct error error = {};
                log_configure("launcher", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
                close(bed->sockets[0]);
                int r = launcher_run(bed->sockets[1], &bed->config, &error);
                if (r < 0)
                        fprintf(stderr, "launcher: %s\n", error.message);
                /* No exit handlers: they belong to the test. */
                _exit(r < 0);
        }
}

void testbed_launcher_end(struct testbed *bed, int signal)
{
        kill(bed->launcher, signal);
        waitpid(bed->launcher, NULL, 0);
}

void testbed_node_restart(struct testbed *bed)
{
        runtime_free(bed->runtime);
        bed->found_count = bed->found_containers = 0;
        bed->found_end = false;
        node_start(bed);
}

static void make_folder(const char *path)
{
        if (mkdir(path, 0755) < 0)
                die(path, errno);
}

void testbed_start(struct testbed *bed, const char *init,
                   void (*change)(struct launcher_config *config))
{
        uint16_t number;

        *bed = (struct testbed){};
        random_bytes(&number, sizeof(number));
        snprintf(bed->folder, sizeof(bed->folder), "/tmp/cay-runtime-XXXXXX");
        if (!mkdtemp(bed->folder))
                die("mkdtemp", errno);
        chmod(bed->folder, 0755);
        snprintf(bed->run, sizeof(bed->run), "%s/run", bed->folder);
        snprintf(bed->volumes, sizeof(bed->volumes), "%s/volumes", bed->folder);
        snprintf(bed->state, sizeof(bed->state), "%s/state", bed->folder);
        snprintf(bed->skeleton, sizeof(bed->skeleton), "%s/skeleton", bed->folder);
        make_folder(bed->run);
        make_folder(bed->volumes);
        make_folder(bed->state);
        snprintf(bed->cgroup, sizeof(bed->cgroup), "cay-test-%04x", number);
        snprintf(bed->interface, sizeof(bed->interface), "cayt%04x", number);
        bed->config = (struct launcher_config){
                .run = bed->run,
                .init = init,
                .skeleton = bed->skeleton,
                .cgroup = bed->cgroup,
                .interface = bed->interface,
                .node_user = NODE_ID,
                .node_group = NODE_ID,
                /* 10.128.0.0/9, a /22 by the number. */
                .pod_network = UINT32_C(0x0a800000) | (uint32_t)(number & 0x1fff) << 10,
                .pod_prefix = 22,
                .pool = 2,
        };
        bed->config.host_address = bed->config.pod_network | 1;
        if (change)
                change(&bed->config);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bed->sockets) < 0)
                die("socketpair", errno);
        testbed_launcher_start(bed);
        node_start(bed);
}

void testbed_stop(struct testbed *bed)
{
        struct error error = {};

        testbed_launcher_end(bed, SIGTERM);
        runtime_free(bed->runtime);
        close(bed->sockets[0]);
        close(bed->sockets[1]);
        int r = launcher_cleanup(&bed->config, &error);
        if (r < 0)
                die(error.message, r);
        int fd = open(bed->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = skeleton_empty(fd);
        close(fd);
        if (r < 0 || rmdir(bed->folder) < 0)
                die("removing the test's folder", r < 0 ? r : errno);
}

static void dispatch_once(struct testbed *bed)
{
        struct pollfd wait = { .fd = runtime_poll_fd(bed->runtime), .events = POLLIN };
        int status;

        if (poll(&wait, 1, DEADLINE_MS) == 0)
                die("the launcher does not answer", ETIMEDOUT);
        int r = runtime_dispatch(bed->runtime);
        if (r < 0 || waitpid(bed->launcher, &status, WNOHANG) > 0)
                die("the launcher is gone", r);
}

int testbed_wait(struct testbed *bed, uint64_t call)
{
        while (bed->answered != call)
                dispatch_once(bed);
        return bed->result;
}

void testbed_dispatch_until(struct testbed *bed, const bool *condition)
{
        while (!*condition)
                dispatch_once(bed);
}

void testbed_wait_exit(struct testbed *bed, uint32_t container, unsigned count)
{
        while (bed->exit_count[container] < count)
                dispatch_once(bed);
}

uint32_t testbed_address(const struct testbed *bed, uint32_t n)
{
        return bed->config.pod_network + 1 + n;
}

int testbed_create(struct testbed *bed, const char *id, uint32_t address)
{
        struct sandbox_spec spec = { .address = address };
        uint64_t call;

        snprintf(spec.id, sizeof(spec.id), "%s", id);
        snprintf(spec.hostname, sizeof(spec.hostname), "%.60s", id);
        int r = runtime_sandbox_create(bed->runtime, &spec, &call);
        return r < 0 ? r : testbed_wait(bed, call);
}

struct container_spec testbed_spec(const char *id, uint32_t container)
{
        struct container_spec spec = { .container = container };

        snprintf(spec.sandbox, sizeof(spec.sandbox), "%s", id);
        spec.limits.memory = 256 * 1024 * 1024;
        spec.limits.storage = 64 * 1024 * 1024;
        return spec;
}

int testbed_launch(struct testbed *bed, const struct container_spec *spec)
{
        uint64_t call;
        int r = runtime_container_launch(bed->runtime, spec, &call);

        return r < 0 ? r : testbed_wait(bed, call);
}

int testbed_destroy(struct testbed *bed, const char *id)
{
        uint64_t call;
        int r = runtime_destroy(bed->runtime, id, &call);

        return r < 0 ? r : testbed_wait(bed, call);
}

struct container_key testbed_key(const char *id, uint32_t container)
{
        struct container_key key = { .container = container };

        snprintf(key.sandbox, sizeof(key.sandbox), "%s", id);
        return key;
}

static void on_hello(void *owner, const struct initproto_hello *hello)
{
        struct session *session = owner;

        session->hello = *hello;
        session->has_hello = true;
}

static void on_started(void *owner, struct initproto_stream *stream, uint32_t pid, uint64_t time_ns)
{
        (void)stream;
        (void)pid;
        (void)time_ns;
        ((struct session *)owner)->started = true;
}

static void on_failed(void *owner, struct initproto_stream *stream, int error, struct str reason)
{
        struct session *session = owner;

        (void)stream;
        (void)reason;
        session->failed = session->ended = true;
        session->error = error;
}

static void on_output(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                      struct str data)
{
        struct session *session = owner;
        struct buffer *to =
                channel == INITPROTO_CHANNEL_ERROR ? &session->error_output : &session->output;

        if (buffer_append_str(to, data) < 0 ||
            initproto_client_consumed(session->client, stream, channel, data.length) < 0)
                die("output", ENOMEM);
}

static void on_process_exited(void *owner, struct initproto_stream *stream,
                              const struct initproto_exit *exit)
{
        struct session *session = owner;

        (void)stream;
        session->exit = *exit;
        session->exited = session->ended = true;
}

static const struct initproto_events session_events = { .hello = on_hello,
                                                        .started = on_started,
                                                        .failed = on_failed,
                                                        .output = on_output,
                                                        .exited = on_process_exited };

void session_open(struct session *session, struct testbed *bed, const struct container_key *key)
{
        *session = (struct session){ .fd = -1 };
        int r = runtime_connect(bed->runtime, key, &session->fd);
        if (r == 0)
                r = initproto_client_new(&session_events, session, &session->client);
        if (r < 0)
                die("connecting to init", r);
        session_until(session, &session->has_hello);
}

void session_close(struct session *session)
{
        initproto_client_free(session->client);
        fd_close(session->fd);
        buffer_deinit(&session->output);
        buffer_deinit(&session->error_output);
}

bool session_pump(struct session *session)
{
        struct buffer *out = initproto_client_output(session->client);
        struct pollfd wait = { .fd = session->fd,
                               .events = out->length > 0 ? POLLIN | POLLOUT : POLLIN };
        char bytes[32768];

        if (poll(&wait, 1, DEADLINE_MS) == 0)
                die("init does not answer", ETIMEDOUT);
        if (wait.revents & POLLOUT) {
                ssize_t sent = send(wait.fd, out->data, out->length, MSG_NOSIGNAL);
                if (sent > 0)
                        buffer_consume(out, (size_t)sent);
        }
        ssize_t got = recv(wait.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got > 0 &&
            initproto_client_receive(session->client, (struct str){ bytes, (size_t)got }) < 0)
                die("init broke the protocol", EPROTO);
        return got != 0 && !(got < 0 && errno == ECONNRESET);
}

void session_until(struct session *session, const bool *condition)
{
        while (!*condition && session_pump(session))
                ;
}

static struct initproto_process shell(struct buffer *strings, const char *script)
{
        static const char environment[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin\0HOME=/root";
        struct initproto_process process = { .argv_count = 3, .env_count = 2 };

        buffer_clear(strings);
        if (initproto_append_string(strings, STR("/bin/sh")) < 0 ||
            initproto_append_string(strings, STR("-c")) < 0 ||
            initproto_append_string(strings, str_from(script)) < 0)
                die("strings", ENOMEM);
        process.argv = buffer_str(strings);
        process.env = (struct str){ environment, sizeof(environment) };
        return process;
}

void session_start(struct session *session, const char *script)
{
        _cleanup_buffer_ struct buffer strings = {};
        struct initproto_process process = shell(&strings, script);

        if (initproto_client_start(session->client, &process) < 0)
                die("starting", EINVAL);
        session_until(session, &session->started);
}

int testbed_run(struct testbed *bed, const struct container_key *key, const char *script,
                char *output, size_t size)
{
        _cleanup_buffer_ struct buffer strings = {};
        struct initproto_process process = shell(&strings, script);
        struct initproto_stream *stream;
        struct session session;

        session_open(&session, bed, key);
        if (initproto_client_exec(session.client, &process, NULL, &stream) < 0)
                die("exec", EINVAL);
        session_until(&session, &session.ended);
        int code = session.exited   ? (int)session.exit.code
                   : session.failed ? session.error
                                    : -ECONNRESET;
        if (output)
                snprintf(output, size, "%.*s%.*s", STR_FORMAT(buffer_str(&session.output)),
                         STR_FORMAT(buffer_str(&session.error_output)));
        session_close(&session);
        return code;
}
