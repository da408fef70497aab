// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/find.h"
#include "cli/standard_io.h"
#include "client/resource.h"

struct logs {
        struct api_client *api;
        bool follow, previous;
        int64_t tail; /* lines; negative: all */
        const char *container;

        struct kube_call *call;
        struct standard_output *output;
        bool ended, written;
        int result;
        struct error *error;
};

static int log_path(const struct logs *logs, struct str pod, struct buffer *path)
{
        char lines[24];
        int r = kube_path_append(path, &kind_pod, logs->api->name_space, pod, STR("log"));

        snprintf(lines, sizeof(lines), "%lld", (long long)logs->tail);
        if (r == 0 && logs->container)
                r = kube_query_append(path, "container", str_from(logs->container));
        if (r == 0 && logs->follow)
                r = kube_query_append(path, "follow", STR("true"));
        if (r == 0 && logs->previous)
                r = kube_query_append(path, "previous", STR("true"));
        if (r == 0 && logs->tail >= 0)
                r = kube_query_append(path, "tailLines", str_from(lines));
        return r;
}

static void note_written(struct logs *logs)
{
        logs->written |= logs->ended && standard_output_is_written(logs->output) != 0;
}

static void give_up(struct logs *logs, int r)
{
        if (logs->call)
                kube_call_cancel(logs->call);
        logs->call = NULL;
        logs->result = error_set(logs->error, r, "cannot write: %s", strerror(-r));
        logs->ended = logs->written = true;
}

static void on_drained(void *user)
{
        struct logs *logs = user;
        int r = standard_output_is_written(logs->output);

        if (r < 0 && !logs->written)
                give_up(logs, r);
        else if (logs->call)
                kube_call_resume(logs->call);
        note_written(logs);
}

static void on_data(void *user, struct str data)
{
        struct logs *logs = user;
        int r = standard_output_write(logs->output, STDOUT_FILENO, data);

        if (r < 0)
                give_up(logs, r);
        else if (r > 0)
                kube_call_pause(logs->call);
}

static void on_end(void *user, const struct kube_response *response)
{
        struct logs *logs = user;

        logs->call = NULL;
        logs->ended = true;
        if (!kube_response_ok(response))
                logs->result =
                        error_set(logs->error, -EREMOTEIO, "%.*s", STR_FORMAT(response->message));
        note_written(logs);
}

static const struct kube_stream_events events = { .on_data = on_data, .on_end = on_end };

static int print_logs(struct logs *logs, struct str pod, struct error *error)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = log_path(logs, pod, &path);
        struct kube_request request = { .method = STR("GET"),
                                        .path = buffer_str(&path),
                                        .accept = STR("*/*") };

        if (r == 0)
                r = standard_output_new(logs->api->loop, on_drained, logs, &logs->output);
        if (r == 0)
                r = kube_client_stream(logs->api->client, &request, &events, logs, &logs->call);
        if (r < 0)
                error_set(error, r, "cannot ask for the log: %s", strerror(-r));
        else
                r = api_client_wait(logs->api, &logs->written, error);
        if (logs->call)
                kube_call_cancel(logs->call);
        standard_output_free(logs->output);
        return r < 0 ? r : logs->result;
}

static int run(struct logs *logs, const char *name, struct error *error)
{
        _cleanup_doc_ struct json_doc *sandbox = NULL;
        int r = find_sandbox(logs->api, name, error, &sandbox);

        return r < 0 ? r : print_logs(logs, sandbox_pod(json_root(sandbox)), error);
}

int command_logs(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        struct logs logs = { .tail = -1, .error = error };
        const struct option_spec specs[] = {
                OPTION_FLAG("follow", 'f', &logs.follow, "go on until it ends"),
                OPTION_NUMBER("tail", 0, &logs.tail, "LINES", "only so many at the end"),
                OPTION_FLAG("previous", 'p', &logs.previous, "of the container before this one"),
                OPTION_STRING("container", 'c', &logs.container, "NAME",
                              "of several in the sandbox"),
                API_CLIENT_OPTIONS(&options),
                OPTION_END,
        };
        struct api_client api = {};
        int operands;

        if (command_help(command_find("logs"), specs, argc, argv))
                return 0;
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r == 0 && operands != 1)
                r = error_set(error, -EINVAL, "name one sandbox or claim: cay logs NAME");
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        logs.api = &api;
        r = command_exit_status(&api, run(&logs, argv[1], error));
        api_client_close(&api);
        return r;
}
