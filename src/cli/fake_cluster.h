// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A cluster for tests of commands: an API server on the test's loop that answers from a table, and
 * the command in a forked process, with files for its output.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/fd.h"
#include "cli/command.h"
#include "net/http_server.h"
#include "net/test_loop.h"
#include "net/websocket.h"
#include "json/json.h"

/* What main.c has; the commands' help alone reads it. */
const struct command *command_find(const char *name _unused_)
{
        return commands;
}

bool command_help(const struct command *command _unused_, const struct option_spec *specs _unused_,
                  int argc _unused_, char **argv _unused_)
{
        return false;
}

/* One answer. `request` is "METHOD /path" without its query, or "WATCH /path". */
struct fake_answer {
        const char *request;
        unsigned status;  /* 0: none, the connection is held */
        const char *body; /* of a watch: events, one a line, with FAKE_SYNC where the list ends */
        bool is_cut;      /* the connection is cut instead */
        unsigned used;    /* of the test: how often */
};

/* Stands in bodies for the name and the token of what a command has made. */
#define FAKE_NAME  "@name@"
#define FAKE_TOKEN "@token@"

#define FAKE_SYNC                                                                                  \
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\","              \
        "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"

struct cluster {
        struct test_loop t;
        struct http_server *server;
        struct listener *listener;
        char kubeconfig[64];
        struct buffer log; /* what was asked: "METHOD /path?query body\n" */
        struct fake_answer *answers;
        size_t answer_count;
        struct http_exchange *held; /* the last one of these */
        unsigned holds, aborts;
        char name[64], token[64]; /* of the last object that was created */

        /* exec */
        struct websocket *socket;
        const char *frames;  /* sent at once: lines of "CHANNEL text" */
        bool echoes;         /* input comes back; when it ends, so does the command */
        struct buffer input; /* "CHANNEL:data;" of each message */
        unsigned opens, closes;

        /* the command */
        pid_t pid;
        int pidfd, output, error_output;
        int far_end; /* of a pipe that the command must not hold; -1: none */
        uv_poll_t exit;
        bool ended;
        int status; /* as a shell tells it */
        char text[8192];
};

static inline struct buffer fake_fill(struct cluster *c, const char *text)
{
        struct buffer filled = {};
        const struct {
                const char *mark, *value;
        } marks[] = { { FAKE_NAME, c->name }, { FAKE_TOKEN, c->token } };

        while (*text) {
                size_t length = strcspn(text, "@");
                assert_int_equal(buffer_append(&filled, text, length), 0);
                text += length;
                for (size_t i = 0; *text && i < ARRAY_SIZE(marks); i++) {
                        if (strncmp(text, marks[i].mark, strlen(marks[i].mark)) != 0)
                                continue;
                        buffer_append_str(&filled, str_from(marks[i].value));
                        text += strlen(marks[i].mark);
                        break;
                }
        }
        return filled;
}

/* ---- exec ---- */

static inline void fake_say(struct cluster *c, char channel, struct str data)
{
        const struct stream_piece pieces[] = { { { &channel, 1 } }, { data } };

        websocket_send(c->socket, WEBSOCKET_BINARY, pieces, 2);
}

static inline void fake_exit(struct cluster *c, const char *code)
{
        _cleanup_buffer_ struct buffer status = {};

        buffer_printf(&status,
                      "{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":"
                      "{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"%s\"}]}}",
                      code);
        fake_say(c, 3,
                 strcmp(code, "0") == 0 ? STR("{\"status\":\"Success\"}") : buffer_str(&status));
        websocket_close(c->socket, WEBSOCKET_NORMAL, STR_EMPTY);
}

static inline void fake_exec_message(struct websocket *socket, void *user,
                                     enum websocket_opcode opcode, struct str data)
{
        struct cluster *c = user;
        uint8_t channel = (uint8_t)data.data[0];

        (void)socket;
        (void)opcode;
        data = str_slice(data, 1, data.length);
        buffer_printf(&c->input, "%u:%.*s;", channel, channel == 255 ? 0 : (int)data.length,
                      data.data);
        if (c->echoes && channel == 0)
                fake_say(c, 1, data);
        else if (c->echoes && channel == 255)
                fake_exit(c, "0");
}

static inline void fake_exec_closed(struct websocket *socket, void *user, unsigned status,
                                    struct str reason)
{
        struct cluster *c = user;

        (void)socket;
        (void)status;
        (void)reason;
        c->socket = NULL;
        c->closes++;
}

static const struct websocket_callbacks fake_exec_callbacks = { .on_message = fake_exec_message,
                                                                .on_close = fake_exec_closed };

static inline void fake_exec(struct cluster *c, struct http_exchange *exchange)
{
        const char *frames = c->frames;

        assert_int_equal(websocket_accept(exchange, STR("v5.channel.k8s.io"), 0,
                                          &fake_exec_callbacks, c, &c->socket),
                         0);
        c->opens++;
        while (frames && *frames) {
                size_t length = strcspn(frames, "\n");
                struct str text = { frames + 2, length - 2 };
                if (frames[0] == '3') {
                        char code[8];
                        snprintf(code, sizeof(code), "%.*s", STR_FORMAT(text));
                        fake_exit(c, code);
                } else {
                        fake_say(c, (char)(frames[0] - '0'), text);
                }
                frames += length + (frames[length] == '\n');
        }
}

/* ---- requests ---- */

static inline void fake_note_created(struct cluster *c, struct str body)
{
        _cleanup_doc_ struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(body, NULL, NULL, NULL, &doc), 0);
        struct json_value metadata = json_get(json_root(doc), "metadata");
        snprintf(c->name, sizeof(c->name), "%.*s",
                 STR_FORMAT(json_string(json_get(metadata, "name"))));
        snprintf(c->token, sizeof(c->token), "%.*s",
                 STR_FORMAT(json_string(json_get(metadata, "labels", "cay.dev/run"))));
}

static inline struct fake_answer *fake_find(struct cluster *c, const char *request)
{
        struct fake_answer *found = NULL;

        /* Of several, each once, the last for ever. */
        for (size_t i = 0; i < c->answer_count; i++) {
                _cleanup_buffer_ struct buffer line = fake_fill(c, c->answers[i].request);
                if (!str_equal(buffer_str(&line), str_from(request)))
                        continue;
                if (!found || found->used > 0)
                        found = &c->answers[i];
        }
        return found;
}

static inline void fake_reply(struct cluster *c, struct http_exchange *exchange,
                              struct fake_answer *answer, bool is_watch)
{
        const struct http_header json = { STR("Content-Type"), STR("application/json") };
        const char *absent = "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"NotFound\","
                             "\"code\":404,\"message\":\"there is no such object\"}";

        if (answer && answer->is_cut) {
                http_exchange_abort(exchange);
                return;
        }
        if (answer && answer->status == 0) {
                c->held = exchange;
                c->holds++;
                return;
        }
        _cleanup_buffer_ struct buffer body = fake_fill(c, answer ? answer->body : absent);
        if (!is_watch || answer->status != 200) {
                http_exchange_respond(exchange, answer ? answer->status : 404, &json, 1,
                                      (struct stream_piece){ buffer_str(&body) });
                return;
        }
        http_exchange_begin(exchange, 200, &json, 1, HTTP_LENGTH_UNKNOWN);
        http_exchange_send(exchange, &(struct stream_piece){ buffer_str(&body) }, 1);
        http_exchange_flush(exchange);
}

static inline void fake_on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct cluster *c = user;
        const struct http_request_head *head = &exchange->request;
        bool is_watch = head->query.length > 0 &&
                        memmem(head->query.data, head->query.length, "watch=", 6) != NULL;
        char request[512];

        snprintf(request, sizeof(request), "%.*s %.*s",
                 STR_FORMAT(is_watch ? STR("WATCH") : head->method), STR_FORMAT(head->path));
        if (str_equal(head->method, STR("POST")))
                fake_note_created(c, body);
        buffer_append_str(&c->log, str_from(request));
        if (!is_watch && head->query.length > 0)
                buffer_printf(&c->log, "?%.*s", STR_FORMAT(head->query));
        buffer_printf(&c->log, "%s%.*s\n", body.length > 0 ? " " : "", STR_FORMAT(body));
        if (str_ends_with(head->path, STR("/exec")) && !fake_find(c, request)) {
                fake_exec(c, exchange);
                return;
        }
        struct fake_answer *answer = fake_find(c, request);
        if (answer)
                answer->used++;
        fake_reply(c, exchange, answer, is_watch && answer);
}

static inline void fake_on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct cluster *c = user;

        (void)error;
        c->aborts++;
        if (c->held == exchange)
                c->held = NULL;
}

static const struct http_exchange_callbacks fake_callbacks = { .on_whole = fake_on_whole,
                                                               .on_abort = fake_on_abort };

static inline void fake_on_request(void *user, struct http_exchange *exchange)
{
        http_exchange_collect(exchange, 1024 * 1024, &fake_callbacks, user);
}

/* ---- the whole ---- */

static inline void cluster_set_up(struct cluster *c)
{
        struct http_server_options server = { .on_request = fake_on_request, .user = c };
        struct net_address address;
        _cleanup_buffer_ struct buffer text = {};

        *c = (struct cluster){ .pidfd = -1, .output = -1, .error_output = -1, .far_end = -1 };
        test_loop_set_up(&c->t);
        address = test_loopback();
        assert_int_equal(http_server_new(c->t.net, &server, &c->server), 0);
        assert_int_equal(http_server_listen(c->server, &address, NULL, 0, NULL, &c->listener), 0);
        snprintf(c->kubeconfig, sizeof(c->kubeconfig), "/tmp/cay-test-%d", (int)getpid());
        buffer_printf(&text,
                      "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}],"
                      " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%u'}}],"
                      " users: [{name: u, user: {token: secret}}]}",
                      net_address_port(listener_address(c->listener)));
        assert_int_equal(file_write_atomic(AT_FDCWD, c->kubeconfig, buffer_str(&text), 0600), 0);
        setenv("KUBECONFIG", c->kubeconfig, 1);
}

static inline void cluster_tear_down(struct cluster *c)
{
        websocket_free(c->socket);
        http_server_free(c->server);
        assert_int_equal(uv_run(&c->t.uv, UV_RUN_DEFAULT), 0);
        test_loop_tear_down(&c->t);
        fd_close(c->pidfd);
        fd_close(c->output);
        fd_close(c->error_output);
        unlink(c->kubeconfig);
        buffer_deinit(&c->log);
        buffer_deinit(&c->input);
}

#define cluster_answers(c, list) ((c)->answers = (list), (c)->answer_count = ARRAY_SIZE(list))

static inline void fake_on_exit(uv_poll_t *handle, int status, int events)
{
        struct cluster *c = handle->data;
        int how;

        (void)status;
        (void)events;
        assert_int_equal(waitpid(c->pid, &how, 0), c->pid);
        c->status = WIFEXITED(how) ? WEXITSTATUS(how) : 256 + WTERMSIG(how);
        c->ended = true;
        uv_close((uv_handle_t *)handle, NULL);
}

/* Starts a command with standard input `input` (-1: none) and output `output` (-1: kept). */
typedef int (*command_fn)(int argc, char **argv, struct error *error);
static inline void cluster_start(struct cluster *c, command_fn command, char **argv, int input,
                                 int output)
{
        int argc = 0;

        while (argv[argc])
                argc++;
        buffer_clear(&c->log);
        buffer_clear(&c->input);
        c->ended = false;
        c->opens = c->closes = 0;
        fd_close(c->output);
        fd_close(c->error_output);
        c->output = memfd_create("output", MFD_CLOEXEC);
        c->error_output = memfd_create("error", MFD_CLOEXEC);
        fflush(stdout);
        c->pid = fork();
        assert_true(c->pid >= 0);
        if (c->pid == 0) {
                struct error error = {};
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                fd_close(c->far_end);
                int null = open("/dev/null", O_RDWR | O_CLOEXEC);
                dup2(input >= 0 ? input : null, STDIN_FILENO);
                dup2(output >= 0 ? output : c->output, STDOUT_FILENO);
                dup2(c->error_output, STDERR_FILENO);
                int r = command(argc, argv, &error);
                if (r < 0)
                        fprintf(stderr, "%s\n", error.message);
                fflush(stdout);
                _exit(r >= 0 ? r : r == -EINVAL ? 2 : 1);
        }
        fd_close(c->pidfd);
        c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
        assert_true(c->pidfd >= 0);
        assert_int_equal(uv_poll_init(&c->t.uv, &c->exit, c->pidfd), 0);
        c->exit.data = c;
        assert_int_equal(uv_poll_start(&c->exit, UV_READABLE, fake_on_exit), 0);
}

static inline const char *fake_read(struct cluster *c, int fd)
{
        ssize_t length = pread(fd, c->text, sizeof(c->text) - 1, 0);

        assert_true(length >= 0);
        c->text[length] = '\0';
        return c->text;
}

/* What the command has written. */
static inline const char *cluster_output(struct cluster *c)
{
        return fake_read(c, c->output);
}

static inline const char *cluster_error_output(struct cluster *c)
{
        return fake_read(c, c->error_output);
}

static inline int cluster_wait(struct cluster *c)
{
        test_run_until(&c->t, c->ended);
        if (c->status >= 256) /* it crashed, and says why */
                fprintf(stderr, "%s", cluster_error_output(c));
        return c->status;
}

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })

static inline int cluster_run(struct cluster *c, command_fn command, char **argv)
{
        cluster_start(c, command, argv, -1, -1);
        return cluster_wait(c);
}

/* Whether such a request came; `part` may leave out its end. */
static inline unsigned cluster_asked(struct cluster *c, const char *part)
{
        _cleanup_buffer_ struct buffer wanted = fake_fill(c, part);
        struct str rest = buffer_str(&c->log), line;
        unsigned count = 0;

        while (rest.length > 0) {
                str_cut(rest, '\n', &line, &rest);
                count += str_starts_with(line, buffer_str(&wanted));
        }
        return count;
}
