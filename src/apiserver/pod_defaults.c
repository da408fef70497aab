// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/pod_defaults.h"

#include <errno.h>
#include <string.h>

#include "kube/quantity.h"

/* Where a default may go: the object there, its pointer, and whether memory ran out. */
struct place {
        struct arena *arena;
        struct json_edit *edit;
        bool failed;
        bool is_template; /* of a workload: a Pod has more defaults */
};

static const char *join(struct place *place, const char *pointer, const char *key)
{
        struct str joined = arena_printf(place->arena, "%s/%s", pointer, key);

        place->failed = place->failed || !joined.data;
        return joined.data;
}

static const char *join_index(struct place *place, const char *pointer, const char *key, size_t i)
{
        struct str joined = arena_printf(place->arena, "%s/%s/%zu", pointer, key, i);

        place->failed = place->failed || !joined.data;
        return joined.data;
}

static bool is_absent(struct json_value object, const char *key)
{
        return !json_exists(json_member(object, str_from(key)));
}

static void set_text(struct place *place, struct json_value object, const char *pointer,
                     const char *key, const char *value)
{
        const char *at;

        if (is_absent(object, key) && (at = join(place, pointer, key)))
                json_edit_set_string(place->edit, at, str_from(value));
}

static void set_number(struct place *place, struct json_value object, const char *pointer,
                       const char *key, int64_t value)
{
        const char *at;

        if (is_absent(object, key) && (at = join(place, pointer, key)))
                json_edit_set_int(place->edit, at, value);
}

static void set_raw(struct place *place, struct json_value object, const char *pointer,
                    const char *key, struct str json)
{
        const char *at;

        if (is_absent(object, key) && (at = join(place, pointer, key)))
                json_edit_set_raw(place->edit, at, json);
}

static void default_http_get(struct place *place, struct json_value handler, const char *pointer)
{
        struct json_value get = json_get(handler, "httpGet");
        const char *at = json_exists(get) ? join(place, pointer, "httpGet") : NULL;

        if (!at)
                return;
        set_text(place, get, at, "path", "/");
        set_text(place, get, at, "scheme", "HTTP");
}

static void default_probe(struct place *place, struct json_value container, const char *pointer,
                          const char *key)
{
        struct json_value probe = json_member(container, str_from(key));
        const char *at = json_exists(probe) ? join(place, pointer, key) : NULL;

        if (!at)
                return;
        set_number(place, probe, at, "timeoutSeconds", 1);
        set_number(place, probe, at, "periodSeconds", 10);
        set_number(place, probe, at, "successThreshold", 1);
        set_number(place, probe, at, "failureThreshold", 3);
        default_http_get(place, probe, at);
}

/* An image without a tag, or with :latest, is asked for every time. */
static const char *pull_policy(struct str image)
{
        size_t slash = 0, colon = image.length;

        for (size_t i = 0; i < image.length; i++) {
                if (image.data[i] == '@')
                        return "IfNotPresent";
                if (image.data[i] == '/')
                        slash = i;
        }
        for (size_t i = slash; i < image.length; i++) {
                if (image.data[i] == ':')
                        colon = i;
        }
        if (colon == image.length)
                return "Always";
        return str_equal(str_slice(image, colon, image.length), STR(":latest")) ? "Always"
                                                                                : "IfNotPresent";
}

static void set_quantity(struct place *place, const char *pointer, struct str key,
                         struct json_value value)
{
        const char *escaped = json_pointer_escape(place->arena, key);
        const char *at = escaped ? join(place, pointer, escaped) : NULL;
        struct quantity quantity;
        char text[QUANTITY_SIZE];

        if (!at)
                place->failed = true;
        else if (quantity_read(value, &quantity) == 0)
                json_edit_set_string(place->edit, at, quantity_format(&quantity, text));
        else
                json_edit_set_value(place->edit, at, value);
}

/* As Go prints them: 1 and "1000m" are "1", 0.5 is "500m". */
static void default_quantities(struct place *place, struct json_value resources,
                               const char *pointer, const char *key)
{
        struct json_value quantities = json_member(resources, str_from(key));
        const char *at = json_count(quantities) > 0 ? join(place, pointer, key) : NULL;

        if (!at)
                return;
        json_for_each (it, quantities)
                set_quantity(place, at, it.key, it.value);
}

static void default_resources(struct place *place, struct json_value container, const char *pointer)
{
        struct json_value resources = json_get(container, "resources");
        struct json_value requests = json_get(resources, "requests");
        const char *at;

        set_raw(place, container, pointer, "resources", STR("{}"));
        at = join(place, pointer, "resources");
        if (!at)
                return;
        default_quantities(place, resources, at, "limits");
        default_quantities(place, resources, at, "requests");
        if (place->is_template)
                return;
        /* What is limited is requested, unless the request says otherwise. */
        at = join(place, at, "requests");
        if (!at)
                return;
        json_for_each (it, json_get(resources, "limits")) {
                if (!json_exists(json_member(requests, it.key)))
                        set_quantity(place, at, it.key, it.value);
        }
}

static void default_env(struct place *place, struct json_value container, const char *pointer)
{
        size_t i = 0;

        json_for_each (it, json_get(container, "env")) {
                struct json_value reference = json_get(it.value, "valueFrom", "fieldRef");
                const char *at = join_index(place, pointer, "env", i++);
                if (json_exists(reference) && at &&
                    (at = join(place, at, "valueFrom/fieldRef")) != NULL)
                        set_text(place, reference, at, "apiVersion", "v1");
        }
}

static void default_ports(struct place *place, struct json_value container, const char *pointer)
{
        size_t i = 0;

        json_for_each (it, json_get(container, "ports")) {
                const char *at = join_index(place, pointer, "ports", i++);
                if (at)
                        set_text(place, it.value, at, "protocol", "TCP");
        }
}

static void default_containers(struct place *place, struct json_value spec, const char *pointer,
                               const char *key)
{
        size_t i = 0;

        json_for_each (it, json_member(spec, str_from(key))) {
                struct json_value container = it.value;
                const char *at = join_index(place, pointer, key, i++);
                const char *hooks;

                if (!at || json_type(container) != JSON_OBJECT)
                        continue;
                set_text(place, container, at, "terminationMessagePath", "/dev/termination-log");
                set_text(place, container, at, "terminationMessagePolicy", "File");
                set_text(place, container, at, "imagePullPolicy",
                         pull_policy(json_string(json_get(container, "image"))));
                default_resources(place, container, at);
                default_env(place, container, at);
                default_ports(place, container, at);
                default_probe(place, container, at, "livenessProbe");
                default_probe(place, container, at, "readinessProbe");
                default_probe(place, container, at, "startupProbe");
                hooks = join(place, at, "lifecycle/postStart");
                if (hooks)
                        default_http_get(place, json_get(container, "lifecycle", "postStart"),
                                         hooks);
                hooks = join(place, at, "lifecycle/preStop");
                if (hooks)
                        default_http_get(place, json_get(container, "lifecycle", "preStop"), hooks);
        }
}

static void default_volumes(struct place *place, struct json_value spec, const char *pointer)
{
        static const char *const with_mode[] = { "configMap", "secret", "projected",
                                                 "downwardAPI" };
        size_t i = 0;

        json_for_each (it, json_get(spec, "volumes")) {
                const char *at = join_index(place, pointer, "volumes", i++), *source;

                if (!at || json_type(it.value) != JSON_OBJECT)
                        continue;
                for (size_t j = 0; j < ARRAY_SIZE(with_mode); j++) {
                        struct json_value value = json_member(it.value, str_from(with_mode[j]));
                        if (json_exists(value) && (source = join(place, at, with_mode[j])))
                                set_number(place, value, source, "defaultMode", 0644);
                }
                if (json_exists(json_get(it.value, "hostPath")) &&
                    (source = join(place, at, "hostPath")))
                        set_text(place, json_get(it.value, "hostPath"), source, "type", "");
                /* A volume with a name only is an empty directory. */
                if (json_count(it.value) == 1)
                        set_raw(place, it.value, at, "emptyDir", STR("{}"));
        }
}

int pod_set_defaults(struct arena *arena, struct json_value spec, const char *pointer,
                     struct json_edit *edit)
{
        struct place place = { .arena = arena,
                               .edit = edit,
                               .is_template = strcmp(pointer, "/spec") != 0 };
        struct str account = json_string(json_get(spec, "serviceAccountName"));

        if (json_type(spec) != JSON_OBJECT)
                return 0;
        set_text(&place, spec, pointer, "restartPolicy", "Always");
        set_text(&place, spec, pointer, "dnsPolicy", "ClusterFirst");
        set_text(&place, spec, pointer, "schedulerName", "default-scheduler");
        set_number(&place, spec, pointer, "terminationGracePeriodSeconds", 30);
        set_raw(&place, spec, pointer, "securityContext", STR("{}"));
        if (account.length > 0 && is_absent(spec, "serviceAccount")) {
                const char *at = join(&place, pointer, "serviceAccount");
                if (at)
                        json_edit_set_string(edit, at, account);
        }
        default_containers(&place, spec, pointer, "containers");
        default_containers(&place, spec, pointer, "initContainers");
        default_volumes(&place, spec, pointer);
        return place.failed ? -ENOMEM : 0;
}
