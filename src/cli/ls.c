// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/options.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/find.h"
#include "cli/output.h"
#include "kube/table.h"
#include "json/writer.h"

/* What a row shows of a Sandbox or a claim. Views. */
struct row {
        const char *kind; /* as it stands before the name: "sandbox/a" */
        struct str name_space, name, uid;
        struct condition ready;
        struct json_value created;
        struct str ip;
        struct str pod;         /* of a Sandbox */
        struct str sandbox;     /* that a claim holds */
        struct str claim, pool; /* that hold a Sandbox */
};

static struct row read_row(struct json_value object, bool is_claim)
{
        struct json_value metadata = json_get(object, "metadata");
        struct json_value status = json_get(object, "status");
        struct row row = { .kind = is_claim ? "claim" : "sandbox",
                           .name_space = json_string(json_get(metadata, "namespace")),
                           .name = json_string(json_get(metadata, "name")),
                           .uid = json_string(json_get(metadata, "uid")),
                           .ready = ready_of(object),
                           .created = json_get(metadata, "creationTimestamp") };

        if (json_exists(json_get(metadata, "deletionTimestamp")))
                row.ready =
                        (struct condition){ .status = STR("False"), .reason = STR("Terminating") };
        if (is_claim) {
                row.sandbox = claim_bound_sandbox(object);
                row.ip = first_ip(json_get(status, "sandbox", "podIPs"));
        } else {
                row.pod = sandbox_pod(object);
                row.ip = first_ip(json_get(status, "podIPs"));
                row.claim = owner_name(object, &kind_sandbox_claim);
                row.pool = owner_name(object, &kind_sandbox_warm_pool);
        }
        return row;
}

static void add_row(struct text_table *table, const struct row *row, bool all_namespaces,
                    uint64_t now)
{
        char age[HUMAN_DURATION_SIZE], bound[LIMIT_NAME + 16] = "";

        if (row->sandbox.length > 0)
                snprintf(bound, sizeof(bound), "sandbox/%.*s", STR_FORMAT(row->sandbox));
        else if (row->claim.length > 0)
                snprintf(bound, sizeof(bound), "claim/%.*s", STR_FORMAT(row->claim));
        else if (row->pool.length > 0)
                snprintf(bound, sizeof(bound), "pool/%.*s", STR_FORMAT(row->pool));
        if (all_namespaces)
                text_table_add(table, row->name_space);
        text_table_add(table, str_from(row->kind));
        text_table_add(table, row->name);
        text_table_add(table, row->ready.status);
        text_table_add(table, row->ready.reason);
        text_table_add(table, human_age(row->created, now, age));
        text_table_add(table, row->ip);
        text_table_add(table, str_from(bound));
}

static void write_optional(struct json_writer *writer, const char *key, struct str text)
{
        if (text.length > 0)
                json_field_string(writer, key, text);
}

static void write_row(struct json_writer *writer, const struct row *row)
{
        json_begin_object(writer);
        json_field_string(writer, "kind", str_from(row->kind));
        json_field_string(writer, "namespace", row->name_space);
        json_field_string(writer, "name", row->name);
        json_field_string(writer, "uid", row->uid);
        json_field_bool(writer, "ready", str_equal(row->ready.status, STR("True")));
        write_optional(writer, "reason", row->ready.reason);
        write_optional(writer, "message", row->ready.message);
        write_optional(writer, "created", json_string(row->created));
        write_optional(writer, "podIP", row->ip);
        write_optional(writer, "pod", row->pod);
        write_optional(writer, "sandbox", row->sandbox);
        write_optional(writer, "claim", row->claim);
        write_optional(writer, "pool", row->pool);
        json_end_object(writer);
}

/* Both lists, and where their rows go. */
struct listing {
        struct api_client_list lists[2]; /* claims, then Sandboxes */
        bool all_namespaces;
};

static int print_text(const struct listing *listing)
{
        static const char *const titles[] = { "NAMESPACE", "KIND", "NAME",   "READY",
                                              "REASON",    "AGE",  "POD IP", "BOUND TO" };
        size_t skipped = listing->all_namespaces ? 0 : 1;
        _cleanup_text_table_ struct text_table table;
        uint64_t now = clock_realtime_ns();

        text_table_init(&table, titles + skipped, ARRAY_SIZE(titles) - skipped);
        for (size_t i = 0; i < ARRAY_SIZE(listing->lists); i++) {
                for (size_t page = 0; page < listing->lists[i].count; page++) {
                        json_for_each (item, api_client_list_items(&listing->lists[i], page)) {
                                struct row row = read_row(item.value, i == 0);
                                add_row(&table, &row, listing->all_namespaces, now);
                        }
                }
        }
        if (table.count == table.columns) {
                fprintf(stderr, "There are no sandboxes: cay run makes one.\n");
                return table.failure;
        }
        return text_table_print(&table);
}

static int print_json(const struct listing *listing)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_array(&writer, "items");
        for (size_t i = 0; i < ARRAY_SIZE(listing->lists); i++) {
                for (size_t page = 0; page < listing->lists[i].count; page++) {
                        json_for_each (item, api_client_list_items(&listing->lists[i], page)) {
                                struct row row = read_row(item.value, i == 0);
                                write_row(&writer, &row);
                        }
                }
        }
        json_end_array(&writer);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r == 0)
                printf("%.*s\n", STR_FORMAT(buffer_str(&text)));
        return r;
}

static int print_names(const struct listing *listing)
{
        for (size_t i = 0; i < ARRAY_SIZE(listing->lists); i++) {
                for (size_t page = 0; page < listing->lists[i].count; page++) {
                        json_for_each (item, api_client_list_items(&listing->lists[i], page))
                                printf("%s/%.*s\n", i == 0 ? "claim" : "sandbox",
                                       STR_FORMAT(json_string(
                                               json_get(item.value, "metadata", "name"))));
                }
        }
        return 0;
}

static int list_all(struct api_client *api, struct listing *listing, struct error *error)
{
        struct str name_space = listing->all_namespaces ? STR_EMPTY : api->name_space;
        int r = api_client_list(api, &kind_sandbox_claim, name_space, STR_EMPTY, error,
                                &listing->lists[0]);

        return r < 0 ? r
                     : api_client_list(api, &kind_sandbox, name_space, STR_EMPTY, error,
                                       &listing->lists[1]);
}

int command_ls(int argc, char **argv, struct error *error)
{
        static int (*const printers[])(const struct listing *) = {
                [OUTPUT_TEXT] = print_text, [OUTPUT_JSON] = print_json, [OUTPUT_NAME] = print_names
        };
        struct api_client_options options = {};
        struct listing listing = {};
        const char *output = "text";
        const struct option_spec specs[] = {
                OPTION_FLAG("all-namespaces", 'A', &listing.all_namespaces, "of every namespace"),
                OPTION_STRING("output", 'o', &output, "FORMAT", "text, json or name"),
                API_CLIENT_OPTIONS(&options),
                OPTION_END,
        };
        enum output_format format;
        struct api_client api = {};

        if (command_help(command_find("ls"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r == 0)
                r = output_format_parse(output, error, &format);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        r = list_all(&api, &listing, error);
        if (r == 0) {
                r = printers[format](&listing);
                if (r < 0)
                        error_set(error, r, "out of memory");
        }
        for (size_t i = 0; i < ARRAY_SIZE(listing.lists); i++)
                api_client_list_deinit(&listing.lists[i]);
        api_client_close(&api);
        return r;
}
