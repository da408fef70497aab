// SPDX-License-Identifier: Apache-2.0
/* The program: options, environment, signals. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "sandboxd/server.h"

extern char **environ;

enum { EXEC_TIMEOUT_DEFAULT_SECONDS = 300, EXEC_TIMEOUT_MAX_SECONDS = 7 * 24 * 3600 };

enum { CHUNK_DEFAULT = 4096, CHUNK_MAX = 1024 * 1024 };

struct settings {
        struct sandboxd_options server;
        int64_t stream_chunk_size;
        uint64_t shutdown_timeout_ns, idle_timeout_ns;
        bool version;
};

static const char *environment_or(const char *name, const char *fallback)
{
        const char *value = getenv(name);

        return value && value[strspn(value, " \t")] ? value : fallback;
}

/* A value that makes no sense must not make every command fail, so it is only warned of. */
static uint64_t exec_timeout_ms(void)
{
        const char *text = getenv("SANDBOX_EXEC_TIMEOUT_SECONDS");
        char *end;

        if (text) {
                double seconds = strtod(text, &end);
                if (end != text && *end == '\0' && isfinite(seconds) && seconds > 0)
                        return MAX(
                                (uint64_t)(MIN(seconds, (double)EXEC_TIMEOUT_MAX_SECONDS) * 1000),
                                1u);
                log_warning("SANDBOX_EXEC_TIMEOUT_SECONDS is no number above 0: using %d",
                            EXEC_TIMEOUT_DEFAULT_SECONDS);
        }
        return EXEC_TIMEOUT_DEFAULT_SECONDS * UINT64_C(1000);
}

static int read_settings(struct settings *settings, int argc, char **argv, struct error *error)
{
        const struct option_spec specs[] = {
                OPTION_STRING("listen-host", 0, &settings->server.listen_host, "ADDRESS",
                              "the address to listen on"),
                OPTION_NUMBER("legacy-port", 0, &settings->server.legacy_port, "PORT",
                              "of the runtime API; 0 takes a free one, -1 serves none"),
                OPTION_NUMBER("rest-port", 0, &settings->server.rest_port, "PORT",
                              "of the files API; 0 takes a free one, -1 serves none"),
                OPTION_NUMBER("grpc-port", 0, &settings->server.grpc_port, "PORT",
                              "of the process API; 0 takes a free one, -1 serves none"),
                OPTION_STRING("base-dir", 0, &settings->server.base_dir, "DIRECTORY",
                              "where the runtime API's commands and files are"),
                OPTION_STRING("root-dir", 0, &settings->server.root_dir, "DIRECTORY",
                              "where the files API's files are"),
                OPTION_STRING("metadata-env-prefix", 0, &settings->server.metadata_prefix, "PREFIX",
                              "which environment variables /v1/metadata shows"),
                OPTION_DURATION("shutdown-timeout", 0, &settings->shutdown_timeout_ns,
                                "how long requests may go on after SIGTERM"),
                OPTION_DURATION("http-idle-timeout", 0, &settings->idle_timeout_ns,
                                "how long an idle connection is kept"),
                OPTION_NUMBER("stream-chunk-size", 0, &settings->stream_chunk_size, "BYTES",
                              "of output in one message of the process API"),
                OPTION_FLAG("version", 0, &settings->version, "print the version and exit"),
                OPTION_END,
        };
        int operands, r;

        if (argc == 2 && strcmp(argv[1], "--help") == 0) {
                printf("Usage: %s [OPTION…]\nServes a sandbox's commands and files.\n\n", argv[0]);
                options_print(specs);
                exit(EXIT_SUCCESS);
        }
        r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands > 0)
                r = error_set(error, -EINVAL, "%s is no option; see --help", argv[1]);
        if (r == 0 && settings->idle_timeout_ns / NS_PER_MS > UINT32_MAX)
                r = error_set(error, -ERANGE, "--http-idle-timeout is too long");
        if (r == 0 && (settings->stream_chunk_size < 0 || settings->stream_chunk_size > CHUNK_MAX))
                r = error_set(error, -ERANGE, "--stream-chunk-size is 1 to %d", CHUNK_MAX);
        settings->server.stream_chunk = settings->stream_chunk_size > 0
                                                ? (size_t)settings->stream_chunk_size
                                                : CHUNK_DEFAULT;
        settings->server.shutdown_timeout_ms = settings->shutdown_timeout_ns / NS_PER_MS;
        settings->server.idle_timeout_ms = (uint32_t)(settings->idle_timeout_ns / NS_PER_MS);
        return r;
}

static void on_stopped(struct sandboxd *sandboxd)
{
        uv_stop(sandboxd->uv);
}

static void on_signal(uv_signal_t *handle, int number)
{
        (void)number;
        sandboxd_stop(handle->data, on_stopped);
}

static int run(const struct sandboxd_options *options, struct error *error)
{
        static const int signals[] = { SIGTERM, SIGINT };
        uv_signal_t handles[ARRAY_SIZE(signals)];
        struct sandboxd sandboxd;
        uv_loop_t uv;
        int r;

        r = uv_loop_init(&uv);
        if (r < 0)
                return error_set(error, r, "cannot make an event loop: %s", strerror(-r));
        /* Caught before anybody can know that we serve; told when the loop runs. */
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                r = uv_signal_init(&uv, &handles[i]);
                handles[i].data = &sandboxd;
                if (r == 0)
                        r = uv_signal_start(&handles[i], on_signal, signals[i]);
                if (r < 0)
                        return error_set(error, r, "cannot catch signals: %s", strerror(-r));
        }
        r = sandboxd_init(&sandboxd, &uv, options, error);
        if (r == 0)
                uv_run(&uv, UV_RUN_DEFAULT);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                uv_close((uv_handle_t *)&handles[i], NULL);
        if (r == 0)
                sandboxd_deinit(&sandboxd);
        uv_run(&uv, UV_RUN_NOWAIT);
        uv_loop_close(&uv);
        return r;
}

/* How many listening sockets were handed over, sd_listen_fds(3); commands need not know. */
static int count_inherited(void)
{
        const char *pid = getenv("LISTEN_PID"), *text = getenv("LISTEN_FDS");
        uint64_t whose, count;
        bool ours = pid && text && str_to_u64(str_from(pid), INT32_MAX, &whose) == 0 &&
                    whose == (uint64_t)getpid() &&
                    str_to_u64(str_from(text), INHERITED_MAX, &count) == 0;

        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
        return ours ? (int)count : 0;
}

int main(int argc, char **argv)
{
        struct settings settings = {
                .server = {
                        .inherited = count_inherited(),
                        .listen_host = "0.0.0.0",
                        .legacy_port = 8888,
                        .rest_port = 8080,
                        .grpc_port = 9090,
                        .base_dir = environment_or("SANDBOX_BASE_DIR", "/app"),
                        .root_dir = environment_or("SANDBOX_ROOT_DIR", "/workspace"),
                        .metadata_prefix = "SANDBOX_",
                        .environment = environ,
                },
                .stream_chunk_size = CHUNK_DEFAULT,
                .shutdown_timeout_ns = 10 * NS_PER_SECOND,
                .idle_timeout_ns = 180 * NS_PER_SECOND,
        };
        struct error error = {};

        log_configure("sandboxd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        /* One arena: the threads only copy, and each arena of their own would cost memory. */
        mallopt(M_ARENA_MAX, 1);
        /* Errors of a call, not of the program. */
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        /* What our parent left open is none of the commands' business. */
        syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);

        int r = read_settings(&settings, argc, argv, &error);
        if (r == 0 && settings.version) {
                printf("sandboxd %s\n", SANDBOXD_VERSION);
                return EXIT_SUCCESS;
        }
        settings.server.exec_timeout_ms = exec_timeout_ms();
        if (r == 0)
                r = run(&settings.server, &error);
        if (r < 0) {
                log_error("%s", error.message);
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
