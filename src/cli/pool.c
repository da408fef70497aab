// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/find.h"
#include "cli/manifest.h"
#include "cli/output.h"
#include "kinds/names.h"
#include "kube/table.h"
#include "json/writer.h"

enum { READY_TIMEOUT_SECONDS = 180 };

static int64_t replicas_of(struct json_value pool)
{
        return json_int64_or(json_get(pool, "spec", "replicas"), 1);
}

static int64_t ready_replicas_of(struct json_value pool)
{
        return json_int64_or(json_get(pool, "status", "readyReplicas"), 0);
}

static struct str template_of(struct json_value pool)
{
        return json_string(json_get(pool, "spec", "sandboxTemplateRef", "name"));
}

/* ---- ls ---- */

static void add_row(struct text_table *table, struct json_value pool, bool all_namespaces,
                    uint64_t now)
{
        struct json_value metadata = json_get(pool, "metadata");
        char age[HUMAN_DURATION_SIZE], ready[24], desired[24];

        snprintf(ready, sizeof(ready), "%lld", (long long)ready_replicas_of(pool));
        snprintf(desired, sizeof(desired), "%lld", (long long)replicas_of(pool));
        if (all_namespaces)
                text_table_add(table, json_string(json_get(metadata, "namespace")));
        text_table_add(table, json_string(json_get(metadata, "name")));
        text_table_add(table, str_from(ready));
        text_table_add(table, str_from(desired));
        text_table_add(table, template_of(pool));
        text_table_add(table, human_age(json_get(metadata, "creationTimestamp"), now, age));
}

static int print_text(const struct api_client_list *pools, bool all_namespaces)
{
        static const char *const titles[] = { "NAMESPACE", "NAME",     "READY",
                                              "DESIRED",   "TEMPLATE", "AGE" };
        size_t skipped = all_namespaces ? 0 : 1;
        _cleanup_text_table_ struct text_table table;
        uint64_t now = clock_realtime_ns();

        text_table_init(&table, titles + skipped, ARRAY_SIZE(titles) - skipped);
        for (size_t page = 0; page < pools->count; page++)
                json_for_each (pool, api_client_list_items(pools, page))
                        add_row(&table, pool.value, all_namespaces, now);
        if (table.count == table.columns) {
                fprintf(stderr, "There are no pools: cay pool create makes one.\n");
                return table.failure;
        }
        return text_table_print(&table);
}

static int print_json(const struct api_client_list *pools)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_array(&writer, "items");
        for (size_t page = 0; page < pools->count; page++) {
                json_for_each (pool, api_client_list_items(pools, page)) {
                        struct json_value metadata = json_get(pool.value, "metadata");
                        json_begin_object(&writer);
                        json_field_string(&writer, "namespace",
                                          json_string(json_get(metadata, "namespace")));
                        json_field_string(&writer, "name", json_string(json_get(metadata, "name")));
                        json_field_string(&writer, "uid", json_string(json_get(metadata, "uid")));
                        json_field_int(&writer, "ready", ready_replicas_of(pool.value));
                        json_field_int(&writer, "desired", replicas_of(pool.value));
                        json_field_string(&writer, "template", template_of(pool.value));
                        json_field_string(&writer, "created",
                                          json_string(json_get(metadata, "creationTimestamp")));
                        json_end_object(&writer);
                }
        }
        json_end_array(&writer);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r == 0)
                printf("%.*s\n", STR_FORMAT(buffer_str(&text)));
        return r;
}

static int print_names(const struct api_client_list *pools)
{
        for (size_t page = 0; page < pools->count; page++)
                json_for_each (pool, api_client_list_items(pools, page))
                        printf("%.*s\n",
                               STR_FORMAT(json_string(json_get(pool.value, "metadata", "name"))));
        return 0;
}

static int pool_ls(int argc, char **argv, struct error *error)
{
        _cleanup_api_client_list_ struct api_client_list pools = {};
        struct api_client_options options = {};
        const char *output = "text";
        bool all_namespaces = false, help = false;
        const struct option_spec specs[] = {
                OPTION_FLAG("all-namespaces", 'A', &all_namespaces, "of every namespace"),
                OPTION_STRING("output", 'o', &output, "FORMAT", "text, json or name"),
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        enum output_format format;
        struct api_client api = {};
        int operands;

        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (help)
                return command_print_help("pool", specs);
        if (r == 0)
                r = output_format_parse(output, error, &format);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        r = api_client_list(&api, &kind_sandbox_warm_pool,
                            all_namespaces ? STR_EMPTY : api.name_space, STR_EMPTY, error, &pools);
        if (r == 0 && format == OUTPUT_JSON)
                r = print_json(&pools);
        else if (r == 0 && format == OUTPUT_NAME)
                r = print_names(&pools);
        else if (r == 0)
                r = print_text(&pools, all_namespaces);
        api_client_close(&api);
        return r;
}

/* ---- waiting for members ---- */

struct awaited {
        struct str name;
        struct progress progress;
        int64_t ready, desired;
};

static int on_pool_changed(void *user, struct json_value pool, struct error *error)
{
        struct awaited *awaited = user;

        if (!json_exists(pool))
                return error_set(error, -ENOENT, "pool %.*s was deleted",
                                 STR_FORMAT(awaited->name));
        awaited->ready = ready_replicas_of(pool);
        awaited->desired = replicas_of(pool);
        progress_say(&awaited->progress, "%lld of %lld sandboxes of pool %.*s are ready",
                     (long long)awaited->ready, (long long)awaited->desired,
                     STR_FORMAT(awaited->name));
        return awaited->ready >= awaited->desired;
}

static int wait_members(struct api_client *api, struct str name, struct error *error)
{
        _cleanup_api_client_watch_ struct api_client_watch watch = {};
        struct awaited awaited = { .name = name };

        api_client_set_deadline(api, READY_TIMEOUT_SECONDS * NS_PER_SECOND);
        int r = api_client_watch_begin(&watch, api, &kind_sandbox_warm_pool, name, on_pool_changed,
                                       &awaited, error);
        if (r == 0)
                r = api_client_watch_wait(&watch, error);
        progress_end(&awaited.progress);
        if (r == -ETIME)
                return error_set(error, r,
                                 "only %lld of %lld sandboxes are ready after %d s: see cay ls",
                                 (long long)awaited.ready, (long long)awaited.desired,
                                 READY_TIMEOUT_SECONDS);
        return MIN(r, 0);
}

/* ---- create ---- */

static int create(struct api_client *api, const struct kind *kind, struct str body,
                  struct error *error, struct json_doc **ret_doc)
{
        struct error refusal = {};
        int r = api_client_create(api, kind, body, &refusal, ret_doc);

        if (r < 0)
                error_set(error, r, "%s%s", refusal.message,
                          r == -EEXIST ? ": cay pool scale and cay pool rm change what there is"
                                       : "");
        return r;
}

/* Both, or neither. */
static int create_both(struct api_client *api, struct str image,
                       const struct manifest_limits *limits, int64_t replicas,
                       const struct command_line *line, struct error *error)
{
        struct str name = str_from(line->operands[0]);
        _cleanup_buffer_ struct buffer template_text = {}, pool_text = {};
        _cleanup_doc_ struct json_doc *template = NULL;
        struct error failure = {};
        int r = manifest_template(name, image, limits, line->arguments, line->argument_count,
                                  &template_text);

        if (r == 0)
                r = manifest_pool(name, replicas, &pool_text);
        if (r < 0)
                return error_set(error, r, "out of memory");
        r = create(api, &kind_sandbox_template, buffer_str(&template_text), error, &template);
        if (r < 0)
                return r;
        r = create(api, &kind_sandbox_warm_pool, buffer_str(&pool_text), error, NULL);
        if (r == 0)
                return 0;
        api_client_forget_signals(api);
        struct str uid = json_string(json_get(json_root(template), "metadata", "uid"));
        if (api_client_delete(api, &kind_sandbox_template, name, uid, &failure) < 0)
                error_prefix(error, r, "template %.*s is left behind", STR_FORMAT(name));
        return r;
}

static int pool_create(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        const char *image = DEFAULT_IMAGE, *cpu = NULL, *memory = NULL;
        int64_t replicas = 1;
        struct manifest_limits limits = {};
        bool wait = false, help = false;
        const struct option_spec specs[] = {
                OPTION_STRING("image", 0, &image, "IMAGE", "of its sandboxes (" DEFAULT_IMAGE ")"),
                OPTION_NUMBER("replicas", 'r', &replicas, "N", "how many to keep warm (1)"),
                OPTION_STRING("cpu", 0, &cpu, "N",
                              "most processor time of each: 2, 500m (no limit)"),
                OPTION_STRING("memory", 0, &memory, "SIZE",
                              "most memory of each: 512Mi, 2Gi (no limit)"),
                OPTION_FLAG("wait", 'w', &wait, "until all are ready"),
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        struct api_client api = {};
        struct command_line line = {};

        int r = command_line_parse(specs, argc, argv, 1, true, error, &line);
        if (help)
                return command_print_help("pool", specs);
        if (r == 0 && line.operand_count != 1)
                r = error_set(error, -EINVAL, "name the pool: cay pool create NAME [-- COMMAND]");
        if (r == 0 && replicas < 0)
                r = error_set(error, -EINVAL, "--replicas cannot be negative");
        if (r == 0)
                r = manifest_limits_read(cpu, memory, error, &limits);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        r = create_both(&api, str_from(image), &limits, replicas, &line, error);
        if (r == 0)
                printf("pool/%s created\n", line.operands[0]);
        if (r == 0 && wait)
                r = wait_members(&api, str_from(line.operands[0]), error);
        r = command_exit_status(&api, r);
        api_client_close(&api);
        return r;
}

/* ---- scale ---- */

static int pool_scale(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        int64_t replicas = -1;
        bool wait = false, help = false;
        const struct option_spec specs[] = {
                OPTION_NUMBER("replicas", 'r', &replicas, "N", "how many to keep warm"),
                OPTION_FLAG("wait", 'w', &wait, "until all are ready"),
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        struct api_client api = {};
        char patch[64];
        int operands;

        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (help)
                return command_print_help("pool", specs);
        if (r == 0 && operands != 1)
                r = error_set(error, -EINVAL, "name the pool: cay pool scale NAME --replicas N");
        if (r == 0 && replicas < 0)
                r = error_set(error, -EINVAL, "say how many: cay pool scale %s --replicas N",
                              argv[1]);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        int length = snprintf(patch, sizeof(patch), "{\"spec\":{\"replicas\":%lld}}",
                              (long long)replicas);
        struct str name = str_from(argv[1]);
        r = api_client_merge_patch(&api, &kind_sandbox_warm_pool, name,
                                   (struct str){ patch, (size_t)length }, error, NULL);
        if (r == 0)
                printf("pool/%s scaled\n", argv[1]);
        if (r == 0 && wait)
                r = wait_members(&api, name, error);
        r = command_exit_status(&api, r);
        api_client_close(&api);
        return r;
}

/* ---- rm ---- */

/*
 * How many sandboxes of this template are in use: claimed ones, which outlive their pool and whose
 * NetworkPolicy is the template's.
 */
static int count_users(struct api_client *api, struct str template, struct error *error,
                       size_t *ret_count)
{
        _cleanup_api_client_list_ struct api_client_list pods = {};
        _cleanup_buffer_ struct buffer selector = {};
        char hash[NAME_HASH_SIZE];
        size_t count = 0;
        int r = buffer_printf(&selector, "%.*s=%.*s", STR_FORMAT(LABEL_TEMPLATE_REF_HASH),
                              STR_FORMAT(name_hash(template, hash)));

        if (r == 0)
                r = api_client_list(api, &kind_pod, api->name_space, buffer_str(&selector), error,
                                    &pods);
        if (r < 0)
                return r;
        for (size_t page = 0; page < pods.count; page++) {
                json_for_each (pod, api_client_list_items(&pods, page)) {
                        struct json_value labels = json_get(pod.value, "metadata", "labels");
                        count += !json_exists(json_member(labels, LABEL_WARM_POOL)) &&
                                 !json_exists(json_member(labels, LABEL_POOL));
                }
        }
        *ret_count = count;
        return 0;
}

/* The template that `cay pool create` made, unless it still serves. */
static int remove_template(struct api_client *api, struct str name, struct error *error)
{
        _cleanup_doc_ struct json_doc *template = NULL;
        size_t users;
        int r = api_client_get(api, &kind_sandbox_template, name, error, &template);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        struct json_value metadata = json_get(json_root(template), "metadata");
        if (!json_string_is(json_member(json_get(metadata, "labels"), STR(LABEL_MADE_FOR)), name))
                return 0;
        r = count_users(api, name, error, &users);
        if (r < 0)
                return r;
        if (users > 0) {
                printf("template/%.*s stays: %zu claimed sandboxes need it\n", STR_FORMAT(name),
                       users);
                return 0;
        }
        r = api_client_delete(api, &kind_sandbox_template, name,
                              json_string(json_get(metadata, "uid")), error);
        if (r == 0)
                printf("template/%.*s deleted\n", STR_FORMAT(name));
        return r;
}

static int remove_pool(struct api_client *api, struct str name, struct error *error)
{
        _cleanup_doc_ struct json_doc *pool = NULL;
        int r = api_client_get(api, &kind_sandbox_warm_pool, name, error, &pool);

        if (r < 0)
                return r;
        struct str uid = json_string(json_get(json_root(pool), "metadata", "uid"));
        r = api_client_delete(api, &kind_sandbox_warm_pool, name, uid, error);
        if (r < 0)
                return r;
        printf("pool/%.*s deleted\n", STR_FORMAT(name));
        return str_equal(template_of(json_root(pool)), name) ? remove_template(api, name, error)
                                                             : 0;
}

static int pool_rm(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        bool help = false;
        const struct option_spec specs[] = {
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        struct api_client api = {};
        int operands, failure = 0;

        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (help)
                return command_print_help("pool", specs);
        if (r == 0 && operands == 0)
                r = error_set(error, -EINVAL, "name a pool: cay pool rm NAME…");
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        for (int i = 1; i <= operands && failure != -EINTR; i++) {
                struct error one = {};
                r = remove_pool(&api, str_from(argv[i]), &one);
                if (r < 0)
                        fprintf(stderr, "cay pool rm: %s\n", one.message);
                failure = r < 0 ? r : failure;
        }
        api_client_close(&api);
        return failure < 0 ? 1 : 0;
}

/* ---- which of them ---- */

static const struct {
        const char *name;
        int (*run)(int argc, char **argv, struct error *error);
} verbs[] = {
        { "ls", pool_ls },
        { "create", pool_create },
        { "scale", pool_scale },
        { "rm", pool_rm },
};

int command_pool(int argc, char **argv, struct error *error)
{
        if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
                command_print_help("pool", NULL);
                return argc < 2 ? 2 : 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                if (strcmp(argv[1], verbs[i].name) == 0)
                        return verbs[i].run(argc - 1, argv + 1, error);
        return error_set(error, -EINVAL, "pool can ls, create, scale and rm, not '%s'", argv[1]);
}
