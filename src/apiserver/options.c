// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/call.h"

#include <errno.h>

#include "net/http.h"

static bool is_true(struct str value)
{
        return str_equal(value, STR("1")) || str_equal_ignoring_case(value, STR("true")) ||
               str_equal_ignoring_case(value, STR("t"));
}

static int refuse(struct kube_status *status, struct kube_status why)
{
        *status = why;
        return -EINVAL;
}

static int set_propagation(struct str value, struct api_options *options, struct arena *arena,
                           struct kube_status *status)
{
        static const struct {
                struct str name;
                enum api_propagation value;
        } names[] = {
                { STR("Background"), PROPAGATE_BACKGROUND },
                { STR("Foreground"), PROPAGATE_FOREGROUND },
                { STR("Orphan"), PROPAGATE_ORPHAN },
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (str_equal(names[i].name, value)) {
                        options->propagation = names[i].value;
                        return 0;
                }
        }
        return refuse(status,
                      kube_status_bad_request(arena,
                                              "propagationPolicy must be Orphan, Background or "
                                              "Foreground, not \"%.*s\"",
                                              STR_FORMAT(value)));
}

static int set_validation(struct str value, struct api_options *options, struct arena *arena,
                          struct kube_status *status)
{
        if (str_equal(value, STR("Strict")))
                options->validation = VALIDATE_STRICT;
        else if (str_equal(value, STR("Ignore")))
                options->validation = VALIDATE_IGNORE;
        else if (str_equal(value, STR("Warn")) || value.length == 0)
                options->validation = VALIDATE_WARN;
        else
                return refuse(status,
                              kube_status_bad_request(
                                      arena,
                                      "fieldValidation: Unsupported value: \"%.*s\": supported "
                                      "values: \"Ignore\", \"Warn\", \"Strict\"",
                                      STR_FORMAT(value)));
        return 0;
}

static int set_number(struct str name, struct str value, uint64_t *number, struct arena *arena,
                      struct kube_status *status)
{
        if (value.length == 0 || str_to_u64(value, INT64_MAX, number) == 0)
                return 0;
        return refuse(status, kube_status_bad_request(arena, "invalid %.*s: \"%.*s\"",
                                                      STR_FORMAT(name), STR_FORMAT(value)));
}

static int set_selector(struct str name, struct str value, struct api_options *options,
                        struct arena *arena, struct kube_status *status)
{
        struct error error = {};
        int r;

        if (value.length == 0)
                return 0;
        if (str_equal(name, STR("labelSelector")))
                r = label_selector_parse(value, arena, &error, &options->labels);
        else
                r = field_selector_parse(value, arena, &error, &options->fields);
        options->has_selector = true;
        if (r == -EINVAL)
                return refuse(status, kube_status_bad_request(arena, "%s", error.message));
        if (r < 0)
                return refuse(status, kube_status_from_errno(arena, r));
        return 0;
}

static int set_match(struct str value, struct api_options *options, struct arena *arena,
                     struct kube_status *status)
{
        if (str_equal(value, STR("Exact")))
                options->match = MATCH_EXACT;
        else if (str_equal(value, STR("NotOlderThan")))
                options->match = MATCH_NOT_OLDER;
        else if (value.length > 0)
                return refuse(status,
                              kube_status_bad_request(
                                      arena, "resourceVersionMatch: Unsupported value: \"%.*s\"",
                                      STR_FORMAT(value)));
        return 0;
}

static int set_option(struct str name, struct str value, struct api_options *options,
                      struct arena *arena, struct kube_status *status)
{
        uint64_t grace;

        if (str_equal(name, STR("labelSelector")) || str_equal(name, STR("fieldSelector")))
                return set_selector(name, value, options, arena, status);
        if (str_equal(name, STR("limit")))
                return set_number(name, value, &options->limit, arena, status);
        if (str_equal(name, STR("timeoutSeconds")))
                return set_number(name, value, &options->timeout_seconds, arena, status);
        if (str_equal(name, STR("resourceVersion"))) {
                options->has_resource_version = value.length > 0;
                return set_number(name, value, &options->resource_version, arena, status);
        }
        if (str_equal(name, STR("resourceVersionMatch")))
                return set_match(value, options, arena, status);
        if (str_equal(name, STR("fieldValidation")))
                return set_validation(value, options, arena, status);
        if (str_equal(name, STR("propagationPolicy")))
                return value.length ? set_propagation(value, options, arena, status) : 0;
        if (str_equal(name, STR("gracePeriodSeconds"))) {
                grace = UINT64_MAX;
                if (set_number(name, value, &grace, arena, status) < 0)
                        return -EINVAL;
                if (grace != UINT64_MAX)
                        options->grace_seconds = (int64_t)grace;
        } else if (str_equal(name, STR("continue"))) {
                options->continue_token = value;
        } else if (str_equal(name, STR("watch"))) {
                options->watch = is_true(value);
        } else if (str_equal(name, STR("allowWatchBookmarks"))) {
                options->bookmarks = is_true(value);
        } else if (str_equal(name, STR("sendInitialEvents"))) {
                options->has_send_initial = true;
                options->send_initial = is_true(value);
        } else if (str_equal(name, STR("fieldManager"))) {
                options->field_manager = value;
        } else if (str_equal(name, STR("includeObject"))) {
                options->table_objects = str_equal(value, STR("None"))     ? TABLE_NONE
                                         : str_equal(value, STR("Object")) ? TABLE_OBJECT
                                                                           : TABLE_METADATA;
        } else if (str_equal(name, STR("orphanDependents"))) {
                options->propagation = is_true(value) ? PROPAGATE_ORPHAN : PROPAGATE_BACKGROUND;
        } else if (str_equal(name, STR("dryRun")) && value.length > 0) {
                options->dry_run = true;
                if (!str_equal(value, STR("All")))
                        return refuse(status,
                                      kube_status_bad_request(
                                              arena,
                                              "dryRun: Unsupported value: \"%.*s\": supported "
                                              "values: \"All\"",
                                              STR_FORMAT(value)));
        }
        return 0;
}

int api_options_parse(struct str query, struct arena *arena, struct api_options *ret_options,
                      struct kube_status *status)
{
        struct api_options options = { .grace_seconds = -1 };
        struct str name, value;

        while (http_query_next(&query, &name, &value)) {
                int r = http_percent_decode(arena, name, true, &name);
                if (r == 0)
                        r = http_percent_decode(arena, value, true, &value);
                if (r == -EINVAL)
                        return refuse(status, kube_status_bad_request(arena, "invalid URL escape"));
                if (r < 0)
                        return refuse(status, kube_status_from_errno(arena, r));
                r = set_option(name, value, &options, arena, status);
                if (r < 0)
                        return r;
        }
        *ret_options = options;
        return 0;
}

int api_options_add_delete(struct json_value body, struct api_options *options, struct arena *arena,
                           struct kube_status *status)
{
        struct json_value grace = json_get(body, "gracePeriodSeconds");
        struct json_value policy = json_get(body, "propagationPolicy");
        struct json_value orphan = json_get(body, "orphanDependents");
        struct json_value uid = json_get(body, "preconditions", "uid");
        struct json_value version = json_get(body, "preconditions", "resourceVersion");

        if (json_type(grace) == JSON_NUMBER) {
                options->grace_seconds = json_int64_or(grace, -1);
                if (options->grace_seconds < 0)
                        return refuse(status,
                                      kube_status_bad_request(arena, "gracePeriodSeconds must be "
                                                                     "non-negative"));
        }
        if (json_type(orphan) == JSON_BOOL)
                options->propagation =
                        json_bool_or(orphan, false) ? PROPAGATE_ORPHAN : PROPAGATE_BACKGROUND;
        if (json_type(policy) == JSON_STRING &&
            set_propagation(json_string(policy), options, arena, status) < 0)
                return -EINVAL;
        if (json_count(json_get(body, "dryRun")) > 0)
                options->dry_run = true;
        if (json_type(uid) == JSON_STRING)
                options->uid = json_string(uid);
        if (json_type(version) == JSON_STRING)
                options->precondition_version = json_string(version);
        return 0;
}

/* ---- Accept ---- */

/* The value of a media type's parameter; empty if there is none. */
static struct str parameter(struct str range, struct str name)
{
        struct str part, key, value;

        str_cut(range, ';', &part, &range);
        while (range.length > 0) {
                str_cut(range, ';', &part, &range);
                str_cut(str_trim(part), '=', &key, &value);
                if (str_equal_ignoring_case(key, name))
                        return value;
        }
        return STR_EMPTY;
}

enum api_form api_accept_parse(struct str accept)
{
        bool other = false;

        if (accept.length == 0)
                return FORM_OBJECT;
        while (accept.length > 0) {
                struct str range, type, parameters, as;

                str_cut(accept, ',', &range, &accept);
                range = str_trim(range);
                str_cut(range, ';', &type, &parameters);
                type = str_trim(type);
                if (!str_equal_ignoring_case(type, STR("application/json")) &&
                    !str_equal(type, STR("*/*")) && !str_equal(type, STR("application/*"))) {
                        other = true;
                        continue;
                }
                as = parameter(range, STR("as"));
                if (as.length == 0)
                        return FORM_OBJECT;
                if (str_equal(as, STR("Table")) && str_equal(parameter(range, STR("v")), STR("v1")))
                        return FORM_TABLE;
                if (str_starts_with(as, STR("PartialObjectMetadata")) &&
                    str_equal(parameter(range, STR("v")), STR("v1")))
                        return FORM_PARTIAL;
                if (str_equal(as, STR("APIGroupDiscoveryList")) &&
                    str_equal(parameter(range, STR("v")), STR("v2")))
                        return FORM_DISCOVERY_V2;
                other = true;
        }
        return other ? FORM_PROTOBUF_ONLY : FORM_OBJECT;
}
