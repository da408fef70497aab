// SPDX-License-Identifier: Apache-2.0
#include "serve/trace_options.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/random.h"

#define DEFAULT_URL "http://localhost:4318"

enum {
        DEFAULT_TIMEOUT_MS = 10 * 1000,
        DEFAULT_DELAY_MS = 5 * 1000,
        DEFAULT_QUEUE = 2048,
        DEFAULT_BATCH = 512,
        NUMBER_MOST = 1 << 20,
        GRPC_PORT = 4317,
};

/* An empty value is as none, says the specification. */
static const char *variable(const char *name)
{
        const char *value = getenv(name);

        return value && value[0] ? value : NULL;
}

static const char *either(const char *name, const char *other)
{
        const char *value = variable(name);

        return value ? value : variable(other);
}

static bool is_true(const char *name)
{
        const char *value = variable(name);

        return value && str_equal_ignoring_case(str_from(value), STR("true"));
}

static uint64_t number(const char *name, const char *value, uint64_t least, uint64_t otherwise)
{
        uint64_t read;

        if (!value)
                return otherwise;
        if (str_to_u64(str_trim(str_from(value)), NUMBER_MOST, &read) == 0 && read >= least)
                return read;
        log_warning("%s='%s' is no number that it takes, %llu is used", name, value,
                    (unsigned long long)otherwise);
        return otherwise;
}

/* ---- where to ---- */

static int take_authority(struct trace_settings *settings, struct str authority)
{
        struct str host = authority, port = STR_EMPTY;
        uint64_t value;

        if (str_starts_with(authority, STR("["))) {
                if (!str_cut(str_slice(authority, 1, authority.length), ']', &host, &port) ||
                    (port.length > 0 && port.data[0] != ':'))
                        return -EINVAL;
                port = port.length > 0 ? str_slice(port, 1, port.length) : port;
        } else {
                str_cut(authority, ':', &host, &port);
        }
        if (host.length == 0 || !http_is_authority(authority))
                return -EINVAL;
        settings->host = host;
        settings->port = settings->tls ? 443 : 80;
        if (port.length == 0)
                return 0;
        if (str_to_u64(port, UINT16_MAX, &value) < 0 || value == 0)
                return -EINVAL;
        settings->port = (uint16_t)value;
        return 0;
}

/* "http://host:port/path". `suffix` goes behind the path. */
static int take_url(struct trace_settings *settings, struct str url, const char *suffix)
{
        struct str rest = str_trim(url), authority, path;

        if (str_starts_with(rest, STR("https://"))) {
                settings->tls = true;
                rest = str_slice(rest, STR("https://").length, rest.length);
        } else if (str_starts_with(rest, STR("http://"))) {
                rest = str_slice(rest, STR("http://").length, rest.length);
        } else {
                return -EINVAL;
        }
        bool has_path = str_cut(rest, '/', &authority, &path);
        if (!has_path)
                path = STR_EMPTY;
        while (suffix[0] && str_ends_with(path, STR("/")))
                path = str_slice(path, 0, path.length - 1);
        int r = take_authority(settings, authority);
        if (r < 0)
                return r;
        settings->target = arena_printf(&settings->arena, "/%.*s%s", STR_FORMAT(path),
                                        path.length == 0 && suffix[0] ? suffix + 1 : suffix);
        settings->host = arena_str(&settings->arena, settings->host);
        settings->url =
                arena_printf(&settings->arena, "%s://%.*s%.*s", settings->tls ? "https" : "http",
                             STR_FORMAT(authority), STR_FORMAT(settings->target));
        if (!settings->target.data || !settings->host.data || !settings->url.data)
                return -ENOMEM;
        return http_is_target(settings->target) ? 0 : -EINVAL;
}

static int read_endpoint(struct trace_settings *settings, struct error *error)
{
        const char *name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", *suffix = "";
        const char *url = variable(name);

        if (!url) {
                name = "OTEL_EXPORTER_OTLP_ENDPOINT";
                url = variable(name);
                suffix = "/v1/traces";
        }
        int r = take_url(settings, str_from(url ? url : DEFAULT_URL), suffix);
        if (r == -EINVAL)
                return error_set(error, r, "%s='%s' is no URL like %s", name, url, DEFAULT_URL);
        if (r < 0)
                return error_set(error, r, "out of memory");
        if (settings->port == GRPC_PORT)
                log_warning("traces are sent by HTTP; port 4317 is mostly that of gRPC, 4318 that "
                            "of HTTP");
        const char *protocol =
                either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if (protocol && !str_equal(str_from(protocol), STR("http/protobuf")))
                log_warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s is not built, http/protobuf is used",
                            protocol);
        return 0;
}

static int copy(struct trace_settings *settings, const char *value, struct str *ret)
{
        if (!value)
                return 0;
        *ret = arena_str(&settings->arena, str_from(value));
        return ret->data ? 0 : -ENOMEM;
}

static int read_files(struct trace_settings *settings)
{
        int r = copy(
                settings,
                either("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
                &settings->ca);
        if (r == 0)
                r = copy(settings,
                         either("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
                         &settings->certificate);
        if (r == 0)
                r = copy(settings,
                         either("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
                                "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
                         &settings->key);
        return r;
}

/* ---- lists: "key=value,key=value", values percent-encoded ---- */

/* The next pair, decoded. 1, 0, -EINVAL (this one; the rest may go on) or -ENOMEM. */
static int next_pair(struct trace_settings *settings, struct str *list, struct str *ret_key,
                     struct str *ret_value)
{
        struct str pair, key, value;

        while (list->length > 0) {
                if (!str_cut(*list, ',', &pair, list))
                        *list = STR_EMPTY;
                if (str_trim(pair).length == 0)
                        continue;
                if (!str_cut(pair, '=', &key, &value))
                        return -EINVAL;
                key = str_trim(key);
                int r = http_percent_decode(&settings->arena, str_trim(value), false, ret_value);
                if (r < 0)
                        return r;
                *ret_key = arena_str(&settings->arena, key);
                *ret_value = arena_str(&settings->arena, *ret_value);
                if (!ret_key->data || !ret_value->data)
                        return -ENOMEM;
                return key.length > 0 ? 1 : -EINVAL;
        }
        return 0;
}

static int read_headers(struct trace_settings *settings)
{
        struct str list =
                str_from(either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"));
        struct str name, value;
        int r;

        settings->headers[settings->header_count++] =
                (struct http_header){ STR("Content-Type"), STR("application/x-protobuf") };
        while ((r = next_pair(settings, &list, &name, &value)) != 0) {
                if (r == -ENOMEM)
                        return r;
                /* Values are mostly secrets: none is told. */
                if (r < 0 || !http_is_token(name) || !http_is_field_value(value))
                        log_warning("OTEL_EXPORTER_OTLP_HEADERS: a pair is no name=value");
                else if (settings->header_count == TRACE_HEADERS_MOST)
                        log_warning("OTEL_EXPORTER_OTLP_HEADERS: %.*s is one too many",
                                    STR_FORMAT(name));
                else
                        settings->headers[settings->header_count++] =
                                (struct http_header){ name, value };
        }
        return 0;
}

/* ---- of what ---- */

static void add_resource(struct trace_settings *settings, struct str key, struct str text)
{
        for (size_t i = 0; i < settings->resource_count; i++)
                if (str_equal(settings->resource[i].key, key))
                        return;
        if (settings->resource_count < TRACE_RESOURCE_MOST)
                settings->resource[settings->resource_count++] =
                        (struct trace_attribute){ .key = key, .text = text };
}

static int read_resource(struct trace_settings *settings, const struct tracer_options *options)
{
        const char *service = variable("OTEL_SERVICE_NAME");
        struct str list = str_from(variable("OTEL_RESOURCE_ATTRIBUTES")), key, value;
        struct str name = STR_EMPTY, version = STR_EMPTY, instance;
        char uuid[UUID_SIZE];
        int r;

        random_uuid(uuid);
        instance = arena_str(&settings->arena, str_from(uuid));
        r = instance.data ? copy(settings, service ? service : options->service_name, &name)
                          : -ENOMEM;
        if (r == 0)
                r = copy(settings, options->version, &version);
        if (r < 0)
                return r;
        if (service)
                add_resource(settings, STR("service.name"), name);
        while ((r = next_pair(settings, &list, &key, &value)) != 0) {
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        log_warning("OTEL_RESOURCE_ATTRIBUTES: a pair is no key=value");
                else
                        add_resource(settings, key, value);
        }
        add_resource(settings, STR("service.name"), name);
        add_resource(settings, STR("service.version"), version);
        add_resource(settings, STR("service.instance.id"), instance);
        add_resource(settings, STR("telemetry.sdk.name"), STR("cay"));
        add_resource(settings, STR("telemetry.sdk.language"), STR("c"));
        add_resource(settings, STR("telemetry.sdk.version"), version);
        return 0;
}

/* ---- which ---- */

static void read_ratio(struct trace_settings *settings)
{
        const char *text = variable("OTEL_TRACES_SAMPLER_ARG");
        double ratio = 1;
        char *rest;

        settings->sampler = SAMPLE_RATIO;
        if (text) {
                ratio = strtod(text, &rest);
                if (rest == text || *rest != '\0' || !(ratio >= 0 && ratio <= 1)) {
                        log_warning("OTEL_TRACES_SAMPLER_ARG='%s' is no number from 0 to 1, 1 is "
                                    "used",
                                    text);
                        ratio = 1;
                }
        }
        settings->bound = (uint64_t)(ratio * (double)(UINT64_C(1) << 63));
}

static void read_sampler(struct trace_settings *settings)
{
        static const struct {
                const char *name;
                enum trace_sampler sampler;
                bool by_parent;
        } samplers[] = {
                { "parentbased_always_on", SAMPLE_ALL, true },
                { "parentbased_always_off", SAMPLE_NONE, true },
                { "parentbased_traceidratio", SAMPLE_RATIO, true },
                { "always_on", SAMPLE_ALL, false },
                { "always_off", SAMPLE_NONE, false },
                { "traceidratio", SAMPLE_RATIO, false },
        };
        const char *name = variable("OTEL_TRACES_SAMPLER");
        size_t i = 0;

        while (name && i < ARRAY_SIZE(samplers) && strcmp(samplers[i].name, name) != 0)
                i++;
        if (i == ARRAY_SIZE(samplers)) {
                log_warning("OTEL_TRACES_SAMPLER=%s is unknown, %s is used", name,
                            samplers[0].name);
                i = 0;
        }
        settings->sampler = samplers[i].sampler;
        settings->by_parent = samplers[i].by_parent;
        if (settings->sampler == SAMPLE_RATIO)
                read_ratio(settings);
}

static bool is_disabled(void)
{
        const char *exporter = variable("OTEL_TRACES_EXPORTER");

        if (is_true("OTEL_SDK_DISABLED"))
                return true;
        if (exporter && strcmp(exporter, "none") == 0)
                return true;
        if (exporter && strcmp(exporter, "otlp") != 0)
                log_warning("OTEL_TRACES_EXPORTER=%s is not built, otlp is used", exporter);
        return false;
}

int trace_settings_read(struct trace_settings *settings, const struct tracer_options *options,
                        struct error *error)
{
        *settings = (struct trace_settings){ .disabled = is_disabled() };
        if (settings->disabled)
                return 0;
        settings->timeout_ms =
                number("OTEL_EXPORTER_OTLP_TIMEOUT",
                       either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"), 1,
                       DEFAULT_TIMEOUT_MS);
        settings->delay_ms = number("OTEL_BSP_SCHEDULE_DELAY", variable("OTEL_BSP_SCHEDULE_DELAY"),
                                    0, DEFAULT_DELAY_MS);
        settings->queue = number("OTEL_BSP_MAX_QUEUE_SIZE", variable("OTEL_BSP_MAX_QUEUE_SIZE"), 1,
                                 DEFAULT_QUEUE);
        settings->batch = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                                 variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), 1, DEFAULT_BATCH);
        settings->batch = MIN(settings->batch, settings->queue);
        read_sampler(settings);
        int r = read_endpoint(settings, error);
        if (r < 0)
                return r;
        r = read_files(settings);
        if (r == 0)
                r = read_headers(settings);
        if (r == 0)
                r = read_resource(settings, options);
        return r < 0 ? error_set(error, r, "out of memory") : 0;
}

void trace_settings_deinit(struct trace_settings *settings)
{
        arena_deinit(&settings->arena);
}
