// SPDX-License-Identifier: Apache-2.0
#include "client/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "crypto/encode.h"
#include "net/http.h"
#include "json/json.h"
#include "json/writer.h"

enum { OUTPUT_LIMIT = 1024 * 1024, RUN_TIMEOUT_MS = 60 * 1000 };

extern char **environ;

void exec_credential_deinit(struct exec_credential *credential)
{
        buffer_deinit(&credential->token);
        buffer_deinit(&credential->certificate);
        buffer_deinit(&credential->key);
}

int exec_credential_parse(struct str text, struct str api_version, struct error *error,
                          struct exec_credential *ret_credential)
{
        _cleanup_exec_credential_ struct exec_credential made = { .expires_ns = UINT64_MAX };
        _cleanup_doc_ struct json_doc *doc = NULL;
        int r = json_doc_parse(text, NULL, NULL, error, &doc);

        if (r < 0)
                return error_prefix(error, r, "its output is no ExecCredential");
        struct json_value status = json_get(json_root(doc), "status");
        struct str token = json_string(json_get(status, "token"));
        struct str certificate = json_string(json_get(status, "clientCertificateData"));
        struct str key = json_string(json_get(status, "clientKeyData"));
        struct str expires = json_string(json_get(status, "expirationTimestamp"));
        if (!json_string_is(json_get(json_root(doc), "kind"), STR("ExecCredential")))
                return error_set(error, -EBADMSG, "its output is no ExecCredential");
        struct str version = json_string(json_get(json_root(doc), "apiVersion"));
        if (api_version.length > 0 && !str_equal(version, api_version))
                return error_set(error, -EBADMSG,
                                 "its output is of %.*s and not, as it was asked, of %.*s",
                                 (int)MIN(version.length, (size_t)60), version.data,
                                 STR_FORMAT(api_version));
        if (!http_is_field_value(token))
                return error_set(error, -EBADMSG, "its output has a token that cannot be sent");
        if (token.length == 0 && certificate.length == 0)
                return error_set(error, -EBADMSG, "its output has neither token nor certificate");
        if ((certificate.length > 0) != (key.length > 0))
                return error_set(error, -EBADMSG, "its output has a certificate without its key");
        if (expires.length > 0 && rfc3339_parse(expires, &made.expires_ns) < 0)
                return error_set(error, -EBADMSG, "its output has no time in expirationTimestamp");
        r = buffer_append_str(&made.token, token);
        if (r == 0)
                r = buffer_append_str(&made.certificate, certificate);
        if (r == 0)
                r = buffer_append_str(&made.key, key);
        if (r < 0)
                return error_set(error, r, "out of memory");
        *ret_credential = made;
        made = (struct exec_credential){};
        return 0;
}

int exec_info_append(const struct kube_config *config, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion",
                          config->exec->api_version.length > 0
                                  ? config->exec->api_version
                                  : STR("client.authentication.k8s.io/v1"));
        json_field_string(&writer, "kind", STR("ExecCredential"));
        json_field_object(&writer, "spec");
        json_field_bool(&writer, "interactive", false);
        if (config->exec->provide_cluster_info) {
                json_field_object(&writer, "cluster");
                json_field_string(&writer, "server", config->server);
                if (config->server_name.length > 0)
                        json_field_string(&writer, "tls-server-name", config->server_name);
                if (config->insecure)
                        json_field_bool(&writer, "insecure-skip-tls-verify", true);
                if (config->ca.length > 0) {
                        _cleanup_buffer_ struct buffer ca = {};
                        int r = base64_append(&ca, BASE64_STANDARD, config->ca.data,
                                              config->ca.length);
                        if (r < 0)
                                return r;
                        json_field_string(&writer, "certificate-authority-data", buffer_str(&ca));
                }
                if (config->proxy.length > 0)
                        json_field_string(&writer, "proxy-url", config->proxy);
                json_end_object(&writer);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

/* ---- running ---- */

struct exec_run {
        uv_process_t process;
        uv_pipe_t output;
        struct net_timer timer;
        struct buffer text;
        char piece[4096];
        const char *command; /* the config's, as the next */
        struct str api_version;
        exec_done_fn done; /* NULL: cancelled or told */
        void *user;
        unsigned open;   /* handles that are not closed */
        unsigned ending; /* of two: the process has ended, its output has ended */
        bool output_ended;
        int64_t exit_status;
        int signal;
        int failure;
};

static void on_closed(uv_handle_t *handle)
{
        struct exec_run *run = handle->data;

        if (--run->open > 0)
                return;
        buffer_deinit(&run->text);
        free(run);
}

static void close_all(struct exec_run *run)
{
        net_timer_stop(&run->timer);
        if (!uv_is_closing((uv_handle_t *)&run->output))
                uv_close((uv_handle_t *)&run->output, on_closed);
        if (run->process.type == UV_PROCESS && !uv_is_closing((uv_handle_t *)&run->process))
                uv_close((uv_handle_t *)&run->process, on_closed);
}

static void finish(struct exec_run *run)
{
        _cleanup_exec_credential_ struct exec_credential credential = {};
        struct error error = {};
        exec_done_fn done = run->done;
        int r = run->failure;

        close_all(run);
        if (!done)
                return; /* cancelled: what the run borrows may be gone */
        run->done = NULL;
        if (r == -ETIMEDOUT)
                error_set(&error, r, "it did not end within %d s", RUN_TIMEOUT_MS / 1000);
        else if (r == -EFBIG)
                error_set(&error, r, "its output is larger than %d bytes", OUTPUT_LIMIT);
        else if (r < 0)
                error_set(&error, r, "its output cannot be read");
        else if (run->signal != 0 || run->exit_status != 0)
                r = error_set(&error, -EACCES, "it ended with %s %ld",
                              run->signal ? "signal" : "status",
                              run->signal ? (long)run->signal : (long)run->exit_status);
        else
                r = exec_credential_parse(buffer_str(&run->text), run->api_version, &error,
                                          &credential);
        if (r < 0)
                error_prefix(&error, r, "the credential plugin %s", run->command);
        done(run->user, r < 0 ? NULL : &credential, &error);
}

static void end_one(struct exec_run *run)
{
        if (++run->ending == 2)
                finish(run);
}

static void on_exit_status(uv_process_t *process, int64_t exit_status, int signal)
{
        struct exec_run *run = process->data;

        run->exit_status = exit_status;
        run->signal = signal;
        end_one(run);
}

static void give_room(uv_handle_t *handle, size_t size _unused_, uv_buf_t *buffer)
{
        struct exec_run *run = handle->data;

        *buffer = uv_buf_init(run->piece, sizeof(run->piece));
}

static void end_output(struct exec_run *run)
{
        if (run->output_ended)
                return;
        run->output_ended = true;
        uv_read_stop((uv_stream_t *)&run->output);
        end_one(run);
}

/* What it has left running may hold its output open, so the end of that is not waited for. */
static void stop(struct exec_run *run, int failure)
{
        run->failure = failure;
        net_timer_stop(&run->timer);
        uv_process_kill(&run->process, SIGKILL);
        end_output(run);
}

static void on_output(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
        struct exec_run *run = stream->data;

        if (length > 0) {
                if (run->output_ended)
                        return;
                int r = run->text.length + (size_t)length > OUTPUT_LIMIT
                                ? -EFBIG
                                : buffer_append(&run->text, piece->base, (size_t)length);
                if (r < 0)
                        stop(run, r);
                return;
        }
        if (length == 0)
                return;
        if (length != UV_EOF && run->failure == 0)
                run->failure = (int)length;
        end_output(run);
}

static void on_timeout(struct net_timer *timer)
{
        stop(container_of(timer, struct exec_run, timer), -ETIMEDOUT);
}

/* Ours, the plugin's own, and what the protocol passes; NULL-terminated, in the arena. */
static char **make_environment(const struct kube_config *config, struct arena *arena)
{
        _cleanup_buffer_ struct buffer info = {};
        const struct kube_exec *exec = config->exec;
        size_t count = 0, used = 0;

        while (environ[count])
                count++;
        char **list = arena_new(arena, char *, count + exec->environment_count + 2);
        if (!list || exec_info_append(config, &info) < 0)
                return NULL;
        struct str last =
                arena_printf(arena, "KUBERNETES_EXEC_INFO=%.*s", STR_FORMAT(buffer_str(&info)));
        if (!last.data)
                return NULL;
        list[used++] = (char *)last.data;
        for (size_t i = 0; i < exec->environment_count; i++)
                list[used++] = (char *)exec->environment[i].data;
        for (size_t i = 0; i < count; i++)
                list[used++] = environ[i];
        return list;
}

static int spawn(struct exec_run *run, struct net_loop *loop, const struct kube_config *config)
{
        _cleanup_arena_ struct arena arena = {};
        const struct kube_exec *exec = config->exec;
        char **arguments = arena_new(&arena, char *, exec->argument_count + 2);
        char **environment = make_environment(config, &arena);

        if (!arguments || !environment)
                return -ENOMEM;
        arguments[0] = (char *)exec->command.data;
        for (size_t i = 0; i < exec->argument_count; i++)
                arguments[i + 1] = (char *)exec->arguments[i].data;
        uv_stdio_container_t stdio[3] = {
                { .flags = UV_IGNORE },
                { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
                  .data.stream = (uv_stream_t *)&run->output },
                { .flags = UV_INHERIT_FD, .data.fd = 2 },
        };
        uv_process_options_t options = { .exit_cb = on_exit_status,
                                         .file = exec->command.data,
                                         .args = arguments,
                                         .env = environment,
                                         .stdio_count = 3,
                                         .stdio = stdio };
        run->open++; /* also when it fails */
        int r = uv_spawn(net_loop_uv(loop), &run->process, &options);
        return r < 0 ? r : uv_read_start((uv_stream_t *)&run->output, give_room, on_output);
}

int exec_run_start(struct net_loop *loop, const struct kube_config *config, exec_done_fn done,
                   void *user, struct error *error, struct exec_run **ret_run)
{
        struct exec_run *run = calloc(1, sizeof(*run));

        if (!run)
                return error_set(error, -ENOMEM, "out of memory");
        run->command = config->exec->command.data;
        run->api_version = config->exec->api_version;
        run->process.data = run->output.data = run;
        int r = uv_pipe_init(net_loop_uv(loop), &run->output, 0);
        if (r < 0) {
                free(run);
                return error_set(error, r, "cannot run %s", config->exec->command.data);
        }
        run->open = 1;
        run->done = done;
        run->user = user;
        r = spawn(run, loop, config);
        if (r < 0) {
                error_set(error, r, "cannot run the credential plugin %s: %s. %.*s", run->command,
                          strerror(-r), STR_FORMAT(config->exec->install_hint));
                close_all(run);
                return r;
        }
        net_timer_start(loop, &run->timer, RUN_TIMEOUT_MS, on_timeout);
        *ret_run = run;
        return 0;
}

void exec_run_cancel(struct exec_run *run)
{
        run->done = NULL;
        stop(run, -ECANCELED);
}
