// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/options.h"
#include "base/random.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/find.h"
#include "cli/manifest.h"
#include "cli/output.h"
#include "cli/session.h"
#include "kube/name.h"

enum {
        READY_TIMEOUT_SECONDS = 180, /* without --timeout */
        CLEANUP_TIMEOUT_SECONDS = 15,
        SHUTDOWN_MARGIN_SECONDS = 60, /* after --timeout, should this process not live to delete */
        EXIT_STATUS_TIMEOUT = 124,
        NAME_SIZE = LIMIT_NAME + 1,
};

/* The API of the first generation, in which a claim names a template. */
static const struct kind kind_claim_v1alpha1 = {
        .group = STR("extensions.agents.x-k8s.io"),
        .version = STR("v1alpha1"),
        .kind = STR("SandboxClaim"),
        .plural = STR("sandboxclaims"),
        .namespaced = true,
};

struct run {
        struct api_client *api;
        struct run_manifest manifest;
        uint64_t timeout_ns; /* 0: none */
        struct session_options session;

        const struct kind *kind; /* of what is made: Sandbox or claim, as it is asked for later */
        char name[NAME_SIZE], token[UUID_SIZE];
        char uid[64]; /* of what was made; empty: nothing was */
        char pod[NAME_SIZE];
        char sandbox[NAME_SIZE]; /* that the claim holds */
        struct progress progress;
        bool ended;       /* some watch has an answer */
        char reason[512]; /* why it is not ready */
};

/* ---- making ---- */

static int copy(char *to, size_t size, struct str text, struct error *error)
{
        if ((size_t)snprintf(to, size, "%.*s", STR_FORMAT(text)) >= size)
                return error_set(error, -EBADMSG, "the API told a name that is too long");
        return 0;
}

static int note_made(struct run *run, struct json_value object, struct error *error)
{
        return copy(run->uid, sizeof(run->uid), json_string(json_get(object, "metadata", "uid")),
                    error);
}

/* No answer to the creation came: whether it happened shows in whether the object is there. */
static void look_for_made(struct run *run)
{
        _cleanup_doc_ struct json_doc *doc = NULL;

        api_client_forget_signals(run->api);
        api_client_set_deadline(run->api, CLEANUP_TIMEOUT_SECONDS * NS_PER_SECOND);
        if (api_client_get(run->api, run->kind, str_from(run->name), NULL, &doc) < 0)
                return;
        struct json_value labels = json_get(json_root(doc), "metadata", "labels");
        if (json_string_is(json_member(labels, STR(LABEL_RUN)), str_from(run->token)))
                note_made(run, json_root(doc), NULL);
}

static int make(struct run *run, struct error *error)
{
        _cleanup_buffer_ struct buffer body = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        const struct run_manifest *manifest = &run->manifest;
        bool by_template = manifest->template.length > 0;
        int r;

        if (run->kind == &kind_sandbox)
                r = manifest_sandbox(manifest, &body);
        else
                r = manifest_claim(manifest, &body);
        if (r < 0)
                return error_set(error, r, "out of memory");
        progress_say(&run->progress, "creating %s", run->name);
        r = api_client_create(run->api, by_template ? &kind_claim_v1alpha1 : run->kind,
                              buffer_str(&body), error, &doc);
        if (r == 0)
                return note_made(run, json_root(doc), error);
        if (r == -ECONNRESET || r == -EINTR)
                look_for_made(run);
        if (r == -ENOENT && by_template)
                error_set(error, r,
                          "this cluster serves no claims by template (v1alpha1): make a pool of it "
                          "and use --pool");
        return r;
}

/* Deletes what was made, whatever has happened since. */
static int unmake(struct run *run, struct error *error)
{
        struct error failure = {};

        if (!run->uid[0])
                return 0;
        api_client_forget_signals(run->api);
        api_client_set_deadline(run->api, CLEANUP_TIMEOUT_SECONDS * NS_PER_SECOND);
        int r = api_client_delete(run->api, run->kind, str_from(run->name), str_from(run->uid),
                                  &failure);
        if (r < 0)
                return error_set(error, r, "%s %s is left behind (%s): delete it with cay rm %s",
                                 run->kind == &kind_sandbox ? "sandbox" : "claim", run->name,
                                 failure.message, run->name);
        return 0;
}

/* ---- waiting ---- */

static bool is_one_of(struct str text, const char *const *list)
{
        for (; *list; list++)
                if (str_equal(text, str_from(*list)))
                        return true;
        return false;
}

static void note_reason(struct run *run, struct str reason, struct str message)
{
        snprintf(run->reason, sizeof(run->reason), "%.*s%s%.*s", STR_FORMAT(reason),
                 message.length > 0 ? ": " : "", STR_FORMAT(message));
        if (run->reason[0])
                progress_say(&run->progress, "waiting for %s: %s", run->name, run->reason);
}

/* Reasons for which no waiting helps. */
static const char *const sandbox_failures[] = { "PodFailed", "PodSucceeded", "SandboxExpired",
                                                NULL };
static const char *const claim_failures[] = {
        "TemplateNotFound",
        "WarmPoolNotFound",
        "InvalidMetadata",
        "EnvVarsInjectionRejected",
        "ClaimExpired",
        "SandboxExpired",
        "VolumeClaimTemplatesError",
        "PodFailed",
        "PodSucceeded",
        "InvalidConfiguration",
        NULL,
};

static int on_made_changed(void *user, struct json_value object, struct error *error)
{
        struct run *run = user;
        bool is_claim = run->kind != &kind_sandbox;
        const char *const *failures = is_claim ? claim_failures : sandbox_failures;
        struct condition ready = ready_of(object);
        struct condition finished;

        if (!json_string_is(json_get(object, "metadata", "uid"), str_from(run->uid)) ||
            json_exists(json_get(object, "metadata", "deletionTimestamp")))
                return error_set(error, -ENOENT, "%s was deleted before it was ready", run->name);
        if (str_equal(ready.status, STR("True"))) {
                struct str name = is_claim ? claim_bound_sandbox(object) : sandbox_pod(object);
                int r = copy(is_claim ? run->sandbox : run->pod, NAME_SIZE, name, error);
                if (r < 0 || name.length > 0)
                        return r < 0 ? r : 1;
        }
        if (condition_find(json_get(object, "status", "conditions"), STR("Finished"), &finished) &&
            str_equal(finished.status, STR("True")))
                ready = finished;
        note_reason(run, ready.reason, ready.message);
        if (is_one_of(ready.reason, failures))
                return error_set(error, -EREMOTEIO, "%s cannot become ready: %s", run->name,
                                 run->reason);
        return 0;
}

/* Looks only for what the Sandbox does not tell: why its Pod does not start. */
static int on_pod_changed(void *user, struct json_value pod, struct error *error)
{
        static const char *const failures[] = { "ErrImageNeverPull", "ImagePullBackOff",
                                                "InvalidImageName", "CreateContainerConfigError",
                                                NULL };
        struct run *run = user;

        json_for_each (status, json_get(pod, "status", "containerStatuses")) {
                struct json_value waiting = json_get(status.value, "state", "waiting");
                struct str reason = json_string(json_get(waiting, "reason"));
                struct str message = json_string(json_get(waiting, "message"));
                if (!json_exists(waiting) || str_equal(reason, STR("ContainerCreating")))
                        continue;
                note_reason(run, reason, message);
                if (is_one_of(reason, failures))
                        return error_set(error, -EREMOTEIO, "%s cannot start: %s", run->name,
                                         run->reason);
        }
        return 0;
}

static int wait_for_watches(struct run *run, struct api_client_watch *made,
                            struct api_client_watch *pod, struct error *error)
{
        struct str name = str_from(run->name);
        int r = api_client_watch_begin(made, run->api, run->kind, name, on_made_changed, run,
                                       error);

        if (r == 0 && run->kind == &kind_sandbox)
                r = api_client_watch_begin(pod, run->api, &kind_pod, name, on_pod_changed, run,
                                           error);
        if (r == 0)
                r = api_client_wait(run->api, &run->ended, error);
        if (r == -ETIME)
                return error_set(error, r, "%s did not become ready in time%s%s", run->name,
                                 run->reason[0] ? ": " : "", run->reason);
        if (r < 0)
                return r;
        return api_client_watch_wait(made->done ? made : pod, error);
}

static int wait_ready(struct run *run, struct error *error)
{
        _cleanup_api_client_watch_ struct api_client_watch made = { .ended = &run->ended };
        _cleanup_api_client_watch_ struct api_client_watch pod = { .ended = &run->ended,
                                                                   .is_optional = true };
        _cleanup_doc_ struct json_doc *sandbox = NULL;

        progress_say(&run->progress, "waiting for %s", run->name);
        int r = wait_for_watches(run, &made, &pod, error);
        if (r < 0 || run->kind == &kind_sandbox)
                return MIN(r, 0);
        r = api_client_get(run->api, &kind_sandbox, str_from(run->sandbox), error, &sandbox);
        return r < 0 ? r : copy(run->pod, sizeof(run->pod), sandbox_pod(json_root(sandbox)), error);
}

/* ---- the whole ---- */

static int go(struct run *run, struct error *error)
{
        uint64_t began = clock_monotonic_ns();
        uint64_t limit =
                run->timeout_ns > 0 ? run->timeout_ns : READY_TIMEOUT_SECONDS * NS_PER_SECOND;

        api_client_set_deadline(run->api, limit);
        int r = make(run, error);
        if (r == 0)
                r = wait_ready(run, error);
        progress_end(&run->progress);
        if (r < 0)
                return r;
        uint64_t took = clock_monotonic_ns() - began;
        if (run->timeout_ns == 0)
                api_client_set_deadline(run->api, 0);
        else
                api_client_set_deadline(run->api, took < limit ? limit - took : 1);
        run->session.pod = str_from(run->pod);
        r = session_run(run->api, &run->session, error);
        return r == -ETIME ? error_set(error, r, "the command did not end within --timeout") : r;
}

static int end(struct run *run, int r, struct error *error)
{
        struct error failure = {};

        if (r == -ETIME) {
                fprintf(stderr, "cay run: %s\n", error->message);
                r = EXIT_STATUS_TIMEOUT;
        }
        r = command_exit_status(run->api, r);
        if (run->manifest.keep && run->uid[0])
                fprintf(stderr, "cay run: %s %s is kept; cay rm %s deletes it\n",
                        run->kind == &kind_sandbox ? "sandbox" : "claim", run->name, run->name);
        else if (unmake(run, &failure) < 0)
                fprintf(stderr, "cay run: %s\n", failure.message);
        return r;
}

static int name_it(struct run *run, const char *name, struct error *error)
{
        uint32_t suffix;

        random_uuid(run->token);
        random_bytes(&suffix, sizeof(suffix));
        if (name && strlen(name) > LIMIT_LABEL)
                return error_set(error, -EINVAL, "--name is longer than %d letters", LIMIT_LABEL);
        if (name && name_check_dns_label(str_from(name)))
                return error_set(error, -EINVAL,
                                 "--name takes lower-case letters, digits and '-' between them, "
                                 "not '%s'",
                                 name);
        if (name)
                snprintf(run->name, sizeof(run->name), "%s", name);
        else
                snprintf(run->name, sizeof(run->name), "run-%08x", suffix);
        run->manifest.name = str_from(run->name);
        run->manifest.token = str_from(run->token);
        if (run->timeout_ns > 0 && !run->manifest.keep)
                run->manifest.shutdown_ns = clock_realtime_ns() + run->timeout_ns +
                                            SHUTDOWN_MARGIN_SECONDS * NS_PER_SECOND;
        return 0;
}

static bool is_variable(const char *text)
{
        size_t length = strcspn(text, "=");

        if (length == 0 || text[length] != '=' || (text[0] >= '0' && text[0] <= '9'))
                return false;
        for (size_t i = 0; i < length; i++) {
                char c = text[i];
                if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                      (c >= 'A' && c <= 'Z')))
                        return false;
        }
        return true;
}

/*
 * A made Sandbox has the variables and the folder in its container. One that stood before the run
 * cannot have them: env(1) sets them for the command.
 */
static int take_arguments(struct run *run, const struct option_strings *env,
                          const char *working_dir, const struct command_line *line,
                          struct arena *arena, struct error *error)
{
        size_t count = 0;

        for (size_t i = 0; i < env->count; i++)
                if (!is_variable(env->items[i]))
                        return error_set(error, -EINVAL, "--env takes NAME=VALUE, not '%s'",
                                         env->items[i]);
        if (line->argument_count == 0)
                return error_set(error, -EINVAL, "name a command: cay run -- COMMAND");
        if (working_dir && working_dir[0] != '/')
                return error_set(error, -EINVAL, "--workdir takes an absolute path, not '%s'",
                                 working_dir);
        run->manifest.env = env;
        run->manifest.working_dir = str_from(working_dir);
        run->session.arguments = line->arguments;
        run->session.argument_count = line->argument_count;
        if (run->kind == &kind_sandbox || (env->count == 0 && !working_dir))
                return 0;
        const char **arguments =
                arena_new(arena, const char *, 3 + env->count + line->argument_count);
        if (!arguments)
                return error_set(error, -ENOMEM, "out of memory");
        arguments[count++] = "env";
        if (working_dir) {
                arguments[count++] = "-C";
                arguments[count++] = working_dir;
        }
        for (size_t i = 0; i < env->count; i++)
                arguments[count++] = env->items[i];
        for (size_t i = 0; i < line->argument_count; i++)
                arguments[count++] = line->arguments[i];
        run->session.arguments = arguments;
        run->session.argument_count = count;
        return 0;
}

/* Where the sandbox is to come from. */
static int choose_source(struct run *run, const char *pool, const char *template, const char *image,
                         struct error *error)
{
        if ((pool != NULL) + (template != NULL) + (image != NULL) > 1)
                return error_set(error, -EINVAL,
                                 "--pool, --template and --image exclude each other");
        if ((pool || template) &&
            (run->manifest.limits.cpu.data || run->manifest.limits.memory.data))
                return error_set(
                        error, -EINVAL,
                        "--cpu and --memory are the template's: cay pool create sets them");
        run->kind = pool || template ? &kind_sandbox_claim : &kind_sandbox;
        run->manifest.pool = str_from(pool);
        run->manifest.template = str_from(template);
        run->manifest.image = str_from(image ? image : DEFAULT_IMAGE);
        return 0;
}

int command_run(int argc, char **argv, struct error *error)
{
        const char *pool = NULL, *template = NULL, *image = NULL, *name = NULL, *container = NULL;
        const char *working_dir = NULL, *cpu = NULL, *memory = NULL;
        struct run run = {};
        struct api_client_options options = {};
        struct option_strings env = {};
        bool help = false;
        const struct option_spec specs[] = {
                OPTION_STRING("image", 0, &image, "IMAGE",
                              "make a sandbox of it (" DEFAULT_IMAGE ")"),
                OPTION_STRING("pool", 0, &pool, "NAME", "claim a sandbox from this warm pool"),
                OPTION_STRING("template", 0, &template, "NAME",
                              "claim a sandbox of this template, warm if a pool has one"),
                OPTION_FLAG("stdin", 'i', &run.session.input, "pass standard input on"),
                OPTION_FLAG("tty", 't', &run.session.terminal, "run on a terminal"),
                OPTION_STRINGS("env", 'e', &env, "NAME=VALUE", "a variable for the command"),
                OPTION_STRING("workdir", 'w', &working_dir, "FOLDER", "where the command runs"),
                OPTION_STRING("cpu", 0, &cpu, "N", "most processor time: 2, 500m (no limit)"),
                OPTION_STRING("memory", 0, &memory, "SIZE", "most memory: 512Mi, 2Gi (no limit)"),
                OPTION_DURATION("timeout", 0, &run.timeout_ns,
                                "give up after so long, all in all (exit status 124)"),
                OPTION_FLAG("keep", 0, &run.manifest.keep, "leave the sandbox when it has ended"),
                OPTION_STRING("name", 0, &name, "NAME", "call it so (run- and a random number)"),
                OPTION_STRING("container", 'c', &container, "NAME", "of several in the sandbox"),
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        _cleanup_arena_ struct arena arena = {};
        struct command_line line = {};
        struct api_client api = {};

        int r = command_line_parse(specs, argc, argv, 0, false, error, &line);
        if (help)
                return command_print_help("run", specs);
        if (r == 0)
                r = manifest_limits_read(cpu, memory, error, &run.manifest.limits);
        if (r == 0)
                r = choose_source(&run, pool, template, image, error);
        if (r == 0)
                r = take_arguments(&run, &env, working_dir, &line, &arena, error);
        if (r == 0)
                r = name_it(&run, name, error);
        if (r == 0)
                r = session_check(&run.session, error);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        run.api = &api;
        run.session.container = str_from(container);
        r = end(&run, go(&run, error), error);
        api_client_close(&api);
        return r;
}
