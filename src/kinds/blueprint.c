// SPDX-License-Identifier: Apache-2.0
#include "kinds/blueprint.h"

#include <stdio.h>

#include "kube/quantity.h"

/*
 * The hash leaves out what Kubernetes would fill in, which is the same as filling it in on both
 * sides. Objects are hashed by a sum over their members, so that order does not matter.
 */

static uint64_t mix(uint64_t x)
{
        x ^= x >> 30;
        x *= UINT64_C(0xbf58476d1ce4e5b9);
        x ^= x >> 27;
        x *= UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static uint64_t hash_bytes(uint64_t seed, struct str s)
{
        uint64_t hash = seed ^ UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < s.length; i++)
                hash = (hash ^ (unsigned char)s.data[i]) * UINT64_C(0x100000001b3);
        return mix(hash + s.length);
}

/* Defaults of k8s.io/kubernetes pkg/apis/core/v1/defaults.go, by the object they stand in. */
static const struct {
        const char *parent; /* key of the object (or of its array); NULL: any */
        const char *key;
        const char *value; /* JSON text */
} defaults[] = {
        { "spec", "restartPolicy", "\"Always\"" },
        { "spec", "dnsPolicy", "\"ClusterFirst\"" },
        { "spec", "schedulerName", "\"default-scheduler\"" },
        { "spec", "terminationGracePeriodSeconds", "30" },
        { "spec", "enableServiceLinks", "true" },
        { "spec", "securityContext", "{}" },
        { "spec", "hostNetwork", "false" },
        { "spec", "hostPID", "false" },
        { "spec", "hostIPC", "false" },
        { "containers", "terminationMessagePath", "\"/dev/termination-log\"" },
        { "containers", "terminationMessagePolicy", "\"File\"" },
        { "containers", "resources", "{}" },
        { "initContainers", "terminationMessagePath", "\"/dev/termination-log\"" },
        { "initContainers", "terminationMessagePolicy", "\"File\"" },
        { "initContainers", "resources", "{}" },
        { "ports", "protocol", "\"TCP\"" },
        { "readinessProbe", "timeoutSeconds", "1" },
        { "readinessProbe", "periodSeconds", "10" },
        { "readinessProbe", "successThreshold", "1" },
        { "readinessProbe", "failureThreshold", "3" },
        { "livenessProbe", "timeoutSeconds", "1" },
        { "livenessProbe", "periodSeconds", "10" },
        { "livenessProbe", "successThreshold", "1" },
        { "livenessProbe", "failureThreshold", "3" },
        { "startupProbe", "timeoutSeconds", "1" },
        { "startupProbe", "periodSeconds", "10" },
        { "startupProbe", "successThreshold", "1" },
        { "startupProbe", "failureThreshold", "3" },
        { "httpGet", "scheme", "\"HTTP\"" },
        { "httpGet", "path", "\"/\"" },
        { "secret", "defaultMode", "420" },
        { "configMap", "defaultMode", "420" },
        { "downwardAPI", "defaultMode", "420" },
        { "projected", "defaultMode", "420" },
        { "serviceAccountToken", "expirationSeconds", "3600" },
        { "fieldRef", "apiVersion", "\"v1\"" },
        { "volumeClaim", "volumeMode", "\"Filesystem\"" },
};

/* Kubernetes pulls always when there is no tag or the tag is "latest", and no digest. */
static bool is_default_pull_policy(struct json_value container, struct json_value policy)
{
        struct str image = json_string(json_get(container, "image"));
        struct str tag = STR_EMPTY;
        bool digest = false;

        for (size_t i = image.length; i > 0 && image.data[i - 1] != '/'; i--) {
                if (image.data[i - 1] == '@')
                        digest = true;
                if (image.data[i - 1] == ':')
                        tag = str_slice(image, i, image.length);
        }
        if (!digest && (tag.length == 0 || str_equal(tag, STR("latest"))))
                return json_string_is(policy, STR("Always"));
        return json_string_is(policy, STR("IfNotPresent"));
}

static bool is_default(struct str parent, struct json_value object, struct str key,
                       struct json_value value)
{
        if (json_type(value) == JSON_NULL)
                return true;
        if (json_type(value) == JSON_ARRAY && json_count(value) == 0)
                return true;
        if (str_equal(key, STR("imagePullPolicy")))
                return is_default_pull_policy(object, value);
        /* The deprecated twin of serviceAccountName. */
        if (str_equal(parent, STR("spec")) && str_equal(key, STR("serviceAccount")))
                return json_equal(value, json_get(object, "serviceAccountName"));
        for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
                if (str_equal(key, str_from(defaults[i].key)) &&
                    str_equal(parent, str_from(defaults[i].parent)))
                        return str_equal(json_text(value), str_from(defaults[i].value));
        }
        return false;
}

static bool holds_quantities(struct str key)
{
        return str_equal(key, STR("limits")) || str_equal(key, STR("requests")) ||
               str_equal(key, STR("capacity"));
}

static uint64_t hash_value(struct str parent, struct str key, struct json_value value);

static uint64_t hash_member(struct str parent, struct str key, struct json_value value)
{
        return mix(hash_bytes(1, key) ^ hash_value(parent, key, value));
}

/* A request that is left out equals its limit. */
static uint64_t hash_requests(struct json_value resources)
{
        struct json_value requests = json_get(resources, "requests");
        uint64_t sum = 0;

        json_for_each (it, requests)
                sum += hash_member(STR("requests"), it.key, it.value);
        json_for_each (it, json_get(resources, "limits")) {
                if (!json_exists(json_member(requests, it.key)))
                        sum += hash_member(STR("requests"), it.key, it.value);
        }
        return mix(sum + 2);
}

static uint64_t hash_object(struct str key, struct json_value object)
{
        uint64_t sum = UINT64_C(0x9e3779b97f4a7c15);
        bool resources = str_equal(key, STR("resources"));

        json_for_each (it, object) {
                if (is_default(key, object, it.key, it.value) ||
                    (resources && str_equal(it.key, STR("requests"))))
                        continue;
                sum += hash_member(key, it.key, it.value);
        }
        return mix(sum + (resources ? hash_requests(object) : 0));
}

static uint64_t hash_value(struct str parent, struct str key, struct json_value value)
{
        struct quantity quantity;
        uint64_t hash = 3;

        switch (json_type(value)) {
        case JSON_OBJECT:
                return hash_object(key, value);
        case JSON_ARRAY:
                json_for_each (it, value)
                        hash = mix(hash) ^ hash_value(parent, key, it.value);
                return mix(hash + 1);
        case JSON_STRING:
        case JSON_NUMBER:
                if ((holds_quantities(parent) || str_equal(key, STR("sizeLimit"))) &&
                    quantity_read(value, &quantity) == 0)
                        return mix((uint64_t)quantity.nano ^
                                   mix((uint64_t)(quantity.nano >> 64) + 5));
                if (json_type(value) == JSON_STRING)
                        return hash_bytes(4, json_string(value));
                return hash_bytes(6, json_text(value));
        default:
                return hash_bytes(7, json_text(value));
        }
}

static uint64_t hash_blueprint(const struct blueprint *blueprint)
{
        uint64_t hash = hash_object(STR("spec"), blueprint->pod_spec);

        json_for_each (it, blueprint->volume_claim_templates) {
                hash = mix(hash) ^
                       hash_bytes(8, json_string(json_get(it.value, "metadata", "name")));
                hash = mix(hash) ^ hash_object(STR("volumeClaim"), json_get(it.value, "spec"));
        }
        return mix(hash + (uint64_t)blueprint->service);
}

void blueprint_hash(const struct blueprint *blueprint, char text[static BLUEPRINT_HASH_SIZE])
{
        snprintf(text, BLUEPRINT_HASH_SIZE, "%016llx",
                 (unsigned long long)hash_blueprint(blueprint));
}
