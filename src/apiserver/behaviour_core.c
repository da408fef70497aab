// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/behaviour.h"
#include "apiserver/cleanup.h"
#include "apiserver/escalation.h"
#include "apiserver/internal_call.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/random.h"
#include "crypto/encode.h"

/* Namespaces, Services, Secrets and the smaller kinds. */

static bool is_absent(struct json_value object, const char *key)
{
        return !json_exists(json_member(object, str_from(key)));
}

static void default_string(struct json_value object, const char *key, struct json_edit *edit,
                           const char *pointer, const char *value)
{
        if (is_absent(object, key))
                json_edit_set_string(edit, pointer, str_from(value));
}

/* ---- Namespaces ---- */

static int namespace_prepare(struct api_call *call, struct json_value object _unused_,
                             struct json_edit *edit)
{
        json_edit_set_string(edit, "/metadata/labels/kubernetes.io~1metadata.name",
                             call->path.name);
        json_edit_set_raw(edit, "/spec/finalizers", STR("[\"kubernetes\"]"));
        json_edit_set_string(edit, "/status/phase", STR("Active"));
        return 0;
}

/* A namespace is answered when its default ServiceAccount is there: a Pod may come at once. */
struct namespace_created {
        struct api_call *call; /* NULL: the client has gone */
        struct json_doc *doc;
};

static void forget_namespace(struct api_call *call)
{
        struct namespace_created *created = call->stream;

        created->call = NULL;
}

static void on_account(void *user, unsigned code _unused_, struct json_doc *doc _unused_)
{
        struct namespace_created *created = user;

        if (created->call) {
                created->call->stream_end = NULL;
                api_call_respond(created->call, 201, created->doc);
        }
        json_doc_unref(created->doc);
        free(created);
}

static void namespace_created(struct api_call *call, struct json_doc *doc)
{
        struct namespace_created *created = calloc(1, sizeof(*created));
        _cleanup_doc_ struct json_doc *account = NULL;
        struct internal_request request = {
                .verb = API_CREATE,
                .plural = STR("serviceaccounts"),
                .name_space = call->path.name,
                .manager = STR("cay-apiserver"),
                .done = on_account,
                .user = created,
        };
        int r = json_doc_parse(STR("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\","
                                   "\"metadata\":{\"name\":\"default\"}}"),
                               NULL, NULL, NULL, &account);

        if (!created || r < 0) {
                free(created);
                api_call_respond(call, 201, doc);
                return;
        }
        *created = (struct namespace_created){ call, json_doc_ref(doc) };
        call->stream = created;
        call->stream_end = forget_namespace;
        request.body = account;
        if (internal_call_start(call->server, &request, NULL) < 0)
                on_account(created, 0, NULL);
}

static int namespace_prepare_update(struct api_call *call, struct json_value object _unused_,
                                    struct json_value before, struct json_edit *edit)
{
        /* spec.finalizers go by the subresource finalize only. */
        json_edit_set_value(edit, "/spec", json_get(before, "spec"));
        json_edit_set_string(edit, "/metadata/labels/kubernetes.io~1metadata.name",
                             call->path.name);
        return 0;
}

/* k8s.io/apiserver pkg/admission/plugin/namespace/lifecycle */
static struct str namespace_stays(struct api_call *call _unused_, struct json_value object)
{
        static const char *const names[] = { "default", "kube-system", "kube-public" };
        struct json_value name = json_get(object, "metadata", "name");

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (json_string_is(name, str_from(names[i])))
                        return STR("this namespace may not be deleted");
        return STR_EMPTY;
}

static bool namespace_deleting(struct json_value object, struct json_edit *edit)
{
        json_edit_set_string(edit, "/status/phase", STR("Terminating"));
        return json_count(json_get(object, "spec", "finalizers")) > 0;
}

/* ---- Services ---- */

static int service_defaults(struct arena *arena, struct json_value object, struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec"), ports = json_get(spec, "ports");

        default_string(spec, "type", edit, "/spec/type", "ClusterIP");
        default_string(spec, "sessionAffinity", edit, "/spec/sessionAffinity", "None");
        if (!json_string_is(json_get(spec, "type"), STR("ExternalName"))) {
                default_string(spec, "internalTrafficPolicy", edit, "/spec/internalTrafficPolicy",
                               "Cluster");
                default_string(spec, "ipFamilyPolicy", edit, "/spec/ipFamilyPolicy", "SingleStack");
                if (is_absent(spec, "ipFamilies"))
                        json_edit_set_raw(edit, "/spec/ipFamilies", STR("[\"IPv4\"]"));
        }
        for (size_t i = 0; i < json_count(ports); i++) {
                struct json_value port = json_element(ports, i);
                struct str target = arena_printf(arena, "/spec/ports/%zu/targetPort", i);
                struct str protocol = arena_printf(arena, "/spec/ports/%zu/protocol", i);
                if (!target.data || !protocol.data)
                        return -ENOMEM;
                default_string(port, "protocol", edit, protocol.data, "TCP");
                if (is_absent(port, "targetPort"))
                        json_edit_set_value(edit, target.data, json_get(port, "port"));
        }
        return 0;
}

static int service_prepare(struct api_call *call _unused_, struct json_value object _unused_,
                           struct json_edit *edit)
{
        json_edit_set_raw(edit, "/status", STR("{\"loadBalancer\":{}}"));
        return 0;
}

static bool cluster_ip_is_free(struct api_call *call, struct str address)
{
        struct storage_list list;
        struct json_doc *doc;
        bool found = false;

        if (storage_list_begin(&list, call->resource->storage, STR_EMPTY, 0, STR_EMPTY, STR_EMPTY) <
            0)
                return false;
        while (!found && storage_list_next(&list, &doc) == 1)
                found = json_string_is(json_get(json_root(doc), "spec", "clusterIP"), address);
        storage_list_end(&list);
        return !found;
}

enum { CLUSTER_IP_TRIES = 16 };

/* A random free one of 10.96.0.0/16; the first 16 are for who asks for them by name. */
static int choose_cluster_ip(struct api_call *call, char text[static 16])
{
        unsigned char random[2];

        for (int i = 0; i < CLUSTER_IP_TRIES; i++) {
                random_bytes(random, sizeof(random));
                if (random[0] == 0 && random[1] < 16)
                        continue;
                snprintf(text, 16, "10.96.%u.%u", random[0], random[1]);
                if (cluster_ip_is_free(call, str_from(text)))
                        return 0;
        }
        return api_call_refuse(call,
                               kube_status_internal(call->arena, "no cluster IP could be found"));
}

static int service_admit(struct api_call *call, struct json_value object, struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");
        struct str address = json_string(json_get(spec, "clusterIP")), list;
        char chosen[16];

        if (json_string_is(json_get(spec, "type"), STR("ExternalName")))
                return 0;
        if (address.length == 0) {
                int r = choose_cluster_ip(call, chosen);
                if (r < 0)
                        return r;
                address = str_from(chosen);
        }
        json_edit_set_string(edit, "/spec/clusterIP", address);
        list = arena_printf(call->arena, "[\"%.*s\"]", STR_FORMAT(address));
        if (!list.data)
                return -ENOMEM;
        json_edit_set_raw(edit, "/spec/clusterIPs", list);
        return 0;
}

/* What was given out stays, where an update does not say otherwise. */
static int service_prepare_update(struct api_call *call _unused_, struct json_value object,
                                  struct json_value before, struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec"), old = json_get(before, "spec");

        if (json_string(json_get(spec, "clusterIP")).length == 0 &&
            !json_string_is(json_get(spec, "type"), STR("ExternalName"))) {
                json_edit_set_value(edit, "/spec/clusterIP", json_get(old, "clusterIP"));
                json_edit_set_value(edit, "/spec/clusterIPs", json_get(old, "clusterIPs"));
        }
        return 0;
}

/* Several ports have names, each its own. */
static void service_validate_ports(struct json_value ports, struct field_errors *errors)
{
        for (size_t i = 0; i < json_count(ports); i++) {
                struct json_value port = json_element(ports, i), name = json_get(port, "name");
                int64_t number = json_int64_or(json_get(port, "port"), 0);
                char field[64];
                snprintf(field, sizeof(field), "spec.ports[%zu].name", i);
                if (json_count(ports) > 1 && json_string(name).length == 0)
                        field_errors_add(errors, FIELD_REQUIRED, str_from(field),
                                         (struct json_value){}, "%s", "");
                for (size_t j = 0; j < i && json_string(name).length > 0; j++) {
                        if (!json_string_is(json_get(json_element(ports, j), "name"),
                                            json_string(name)))
                                continue;
                        field_errors_add(errors, FIELD_DUPLICATE, str_from(field), name, "%s", "");
                        break;
                }
                snprintf(field, sizeof(field), "spec.ports[%zu].port", i);
                if (number < 1 || number > 65535)
                        field_errors_add(errors, FIELD_INVALID, str_from(field),
                                         json_get(port, "port"),
                                         "must be between 1 and 65535, inclusive");
        }
}

static void service_validate(struct json_value object, struct json_value before,
                             struct field_errors *errors)
{
        struct json_value ip = json_get(object, "spec", "clusterIP");
        struct json_value old = json_get(before, "spec", "clusterIP");

        if (json_string(old).length > 0 && json_exists(ip) && !json_equal(ip, old))
                field_errors_add(errors, FIELD_INVALID, STR("spec.clusterIP"), ip,
                                 "field is immutable");
        service_validate_ports(json_get(object, "spec", "ports"), errors);
}

/* ---- Secrets and ConfigMaps ---- */

static int secret_defaults(struct arena *arena, struct json_value object, struct json_edit *edit)
{
        struct json_value plain = json_get(object, "stringData");

        default_string(object, "type", edit, "/type", "Opaque");
        /* What is no text stays where it is, for validation to find. */
        if (json_exists(plain) && json_type(plain) != JSON_OBJECT)
                return 0;
        json_for_each (it, plain) {
                if (json_type(it.value) != JSON_STRING)
                        return 0;
        }
        json_for_each (it, plain) {
                _cleanup_buffer_ struct buffer encoded = {};
                struct str value = json_string(it.value), pointer;
                const char *key = json_pointer_escape(arena, it.key);

                if (!key || base64_append(&encoded, BASE64_STANDARD, value.data, value.length) < 0)
                        return -ENOMEM;
                pointer = arena_printf(arena, "/data/%s", key);
                if (!pointer.data)
                        return -ENOMEM;
                json_edit_set_string(edit, pointer.data, buffer_str(&encoded));
        }
        json_edit_remove(edit, "/stringData");
        return 0;
}

static void check_keys(struct json_value map, const char *field, struct field_errors *errors)
{
        json_for_each (it, map) {
                const char *why = name_check_config_key(it.key);
                char name[320];

                snprintf(name, sizeof(name), "%s[%.*s]", field, STR_FORMAT(it.key));
                if (why)
                        field_errors_add_string(errors, FIELD_INVALID, str_from(name), it.key, "%s",
                                                why);
        }
}

static void check_immutable(struct json_value object, struct json_value before, const char *key,
                            struct field_errors *errors)
{
        struct json_value after = json_member(object, str_from(key));

        if (json_exists(before) && !json_equal(after, json_member(before, str_from(key))))
                field_errors_add(errors, FIELD_INVALID, str_from(key), after, "field is immutable");
}

static void data_validate(struct json_value object, struct json_value before,
                          struct field_errors *errors)
{
        check_keys(json_get(object, "data"), "data", errors);
        check_keys(json_get(object, "binaryData"), "binaryData", errors);
        if (json_bool_or(json_get(before, "immutable"), false)) {
                check_immutable(object, before, "data", errors);
                check_immutable(object, before, "binaryData", errors);
        }
}

static void secret_validate(struct json_value object, struct json_value before,
                            struct field_errors *errors)
{
        data_validate(object, before, errors);
        check_immutable(object, before, "type", errors);
}

/* ---- volumes ---- */

static int claim_defaults(struct arena *arena _unused_, struct json_value object,
                          struct json_edit *edit)
{
        default_string(json_get(object, "spec"), "volumeMode", edit, "/spec/volumeMode",
                       "Filesystem");
        return 0;
}

static int claim_prepare(struct api_call *call _unused_, struct json_value object _unused_,
                         struct json_edit *edit)
{
        json_edit_set_string(edit, "/status/phase", STR("Pending"));
        return 0;
}

static int volume_defaults(struct arena *arena _unused_, struct json_value object,
                           struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");

        default_string(spec, "volumeMode", edit, "/spec/volumeMode", "Filesystem");
        default_string(spec, "persistentVolumeReclaimPolicy", edit,
                       "/spec/persistentVolumeReclaimPolicy", "Retain");
        return 0;
}

static int storage_class_defaults(struct arena *arena _unused_, struct json_value object,
                                  struct json_edit *edit)
{
        default_string(object, "reclaimPolicy", edit, "/reclaimPolicy", "Delete");
        default_string(object, "volumeBindingMode", edit, "/volumeBindingMode", "Immediate");
        return 0;
}

/* ---- RBAC ---- */

static int binding_defaults(struct arena *arena, struct json_value object, struct json_edit *edit)
{
        struct json_value subjects = json_get(object, "subjects");

        if (json_string(json_get(object, "roleRef", "apiGroup")).length == 0)
                json_edit_set_string(edit, "/roleRef/apiGroup", STR("rbac.authorization.k8s.io"));
        for (size_t i = 0; i < json_count(subjects); i++) {
                struct json_value subject = json_element(subjects, i);
                struct str pointer = arena_printf(arena, "/subjects/%zu/apiGroup", i);
                if (!pointer.data)
                        return -ENOMEM;
                if (is_absent(subject, "apiGroup") &&
                    !json_string_is(json_get(subject, "kind"), STR("ServiceAccount")))
                        json_edit_set_string(edit, pointer.data, STR("rbac.authorization.k8s.io"));
        }
        return 0;
}

static void binding_validate(struct json_value object, struct json_value before,
                             struct field_errors *errors)
{
        if (json_exists(before) &&
            !json_equal(json_get(object, "roleRef"), json_get(before, "roleRef")))
                field_errors_add(errors, FIELD_INVALID, STR("roleRef"), json_get(object, "roleRef"),
                                 "cannot change roleRef");
}

static int role_admit(struct api_call *call, struct json_value object,
                      struct json_edit *edit _unused_)
{
        return escalation_check_role(call, object);
}

static int role_prepare_update(struct api_call *call, struct json_value object,
                               struct json_value before, struct json_edit *edit _unused_)
{
        return json_equal(json_get(object, "rules"), json_get(before, "rules"))
                       ? 0
                       : escalation_check_role(call, object);
}

static int binding_admit(struct api_call *call, struct json_value object,
                         struct json_edit *edit _unused_)
{
        return escalation_check_binding(call, object);
}

static int binding_prepare_update(struct api_call *call, struct json_value object,
                                  struct json_value before, struct json_edit *edit _unused_)
{
        return json_equal(json_get(object, "subjects"), json_get(before, "subjects"))
                       ? 0
                       : escalation_check_binding(call, object);
}

/* ---- definitions and policies ---- */

static int definition_defaults(struct arena *arena, struct json_value object,
                               struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec"), names = json_get(spec, "names");
        struct str kind = json_string(json_get(names, "kind")), list;

        if (is_absent(spec, "conversion"))
                json_edit_set_raw(edit, "/spec/conversion", STR("{\"strategy\":\"None\"}"));
        if (is_absent(names, "listKind")) {
                list = arena_printf(arena, "%.*sList", STR_FORMAT(kind));
                if (!list.data)
                        return -ENOMEM;
                json_edit_set_string(edit, "/spec/names/listKind", list);
        }
        if (is_absent(names, "singular")) {
                list = arena_str(arena, kind);
                if (!list.data)
                        return -ENOMEM;
                for (size_t i = 0; i < list.length; i++) {
                        if (list.data[i] >= 'A' && list.data[i] <= 'Z')
                                ((char *)(uintptr_t)list.data)[i] = (char)(list.data[i] | 0x20);
                }
                json_edit_set_string(edit, "/spec/names/singular", list);
        }
        return 0;
}

static void definition_validate(struct json_value object, struct json_value before _unused_,
                                struct field_errors *errors)
{
        struct json_value spec = json_get(object, "spec");
        struct json_value name = json_get(object, "metadata", "name");
        struct str plural = json_string(json_get(spec, "names", "plural"));
        struct str group = json_string(json_get(spec, "group")), head, tail;
        unsigned stored = 0;

        if (!str_cut(json_string(name), '.', &head, &tail) || !str_equal(head, plural) ||
            !str_equal(tail, group))
                field_errors_add(errors, FIELD_INVALID, STR("metadata.name"), name,
                                 "must be spec.names.plural+\".\"+spec.group");
        json_for_each (it, json_get(spec, "versions")) {
                stored += json_bool_or(json_get(it.value, "storage"), false);
        }
        if (stored != 1)
                field_errors_add(errors, FIELD_INVALID, STR("spec.versions"), (struct json_value){},
                                 "must have exactly one version marked as storage version");
}

/* What the object of a definition defines; NULL: something else, or nothing, is served there. */
static const struct api_resource *defined_by(struct api_call *call, struct json_value object)
{
        struct json_value spec = json_get(object, "spec");
        const struct api_resource *served =
                registry_find(call->server->registry, json_string(json_get(spec, "group")),
                              json_string(json_get(spec, "names", "plural")));

        return served && served->custom && !served->alias ? served : NULL;
}

/*
 * Ours are served whatever becomes of their definitions. On a cluster all sandboxes would go with
 * theirs; here that cannot be what is meant.
 */
static struct str definition_stays(struct api_call *call, struct json_value object)
{
        struct str name = json_string(json_get(object, "metadata", "name")), why;

        const struct api_resource *served = defined_by(call, object);
        if (!served || !served->built_in)
                return STR_EMPTY;
        why = arena_printf(call->arena,
                           "this kind is built in and stays: to delete its objects, use kubectl "
                           "delete %.*s --all --all-namespaces",
                           STR_FORMAT(name));
        return why.data ? why : STR("this kind is built in and stays");
}

static struct str definition_finalizer(struct api_call *call, struct json_value object)
{
        const struct api_resource *served = defined_by(call, object);

        return served && !served->built_in ? CLEANUP_FINALIZER : STR_EMPTY;
}

static bool definition_deleting(struct json_value object, struct json_edit *edit)
{
        char now[RFC3339_SECONDS_SIZE];

        if (json_exists(json_get(object, "metadata", "deletionTimestamp")))
                return false;
        rfc3339_format_seconds(clock_realtime_ns(), now);
        struct str condition = arena_printf(
                edit->arena,
                "{\"type\":\"Terminating\",\"status\":\"True\",\"reason\":"
                "\"InstanceDeletionPending\",\"message\":\"CustomResourceDefinition marked for "
                "deletion; CustomResource deletion will begin soon\",\"lastTransitionTime\":"
                "\"%s\"}",
                now);
        if (condition.data)
                json_edit_set_raw(edit, "/status/conditions/-", condition);
        return false;
}

static int policy_defaults(struct arena *arena _unused_, struct json_value object,
                           struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");

        if (is_absent(spec, "policyTypes"))
                json_edit_set_raw(edit, "/spec/policyTypes",
                                  json_count(json_get(spec, "egress")) > 0
                                          ? STR("[\"Ingress\",\"Egress\"]")
                                          : STR("[\"Ingress\"]"));
        return 0;
}

#define RBAC_GROUP STR("rbac.authorization.k8s.io")

const struct api_behaviour behaviours_core[] = {
        {
                .plural = STR("namespaces"),
                .check_name = name_check_dns_label,
                .returns_deleted = true,
                .prepare = namespace_prepare,
                .prepare_update = namespace_prepare_update,
                .created = namespace_created,
                .stays = namespace_stays,
                .deleting = namespace_deleting,
        },
        {
                .plural = STR("services"),
                .check_name = name_check_dns1035_label,
                .returns_deleted = true,
                .set_defaults = service_defaults,
                .prepare = service_prepare,
                .prepare_update = service_prepare_update,
                .validate = service_validate,
                .admit = service_admit,
        },
        { .plural = STR("configmaps"), .validate = data_validate },
        {
                .plural = STR("secrets"),
                .set_defaults = secret_defaults,
                .validate = secret_validate,
        },
        { .plural = STR("serviceaccounts"), .returns_deleted = true },
        {
                .plural = STR("persistentvolumeclaims"),
                .returns_deleted = true,
                .set_defaults = claim_defaults,
                .prepare = claim_prepare,
        },
        {
                .plural = STR("persistentvolumes"),
                .returns_deleted = true,
                .set_defaults = volume_defaults,
                .prepare = claim_prepare,
        },
        {
                .group = STR("storage.k8s.io"),
                .plural = STR("storageclasses"),
                .returns_deleted = true,
                .set_defaults = storage_class_defaults,
        },
        {
                .group = RBAC_GROUP,
                .plural = STR("rolebindings"),
                .check_name = name_check_path_segment,
                .set_defaults = binding_defaults,
                .prepare_update = binding_prepare_update,
                .validate = binding_validate,
                .admit = binding_admit,
        },
        {
                .group = RBAC_GROUP,
                .plural = STR("clusterrolebindings"),
                .check_name = name_check_path_segment,
                .set_defaults = binding_defaults,
                .prepare_update = binding_prepare_update,
                .validate = binding_validate,
                .admit = binding_admit,
        },
        {
                .group = RBAC_GROUP,
                .plural = STR("roles"),
                .check_name = name_check_path_segment,
                .prepare_update = role_prepare_update,
                .admit = role_admit,
        },
        {
                .group = RBAC_GROUP,
                .plural = STR("clusterroles"),
                .check_name = name_check_path_segment,
                .prepare_update = role_prepare_update,
                .admit = role_admit,
        },
        {
                .group = STR("apiextensions.k8s.io"),
                .plural = STR("customresourcedefinitions"),
                .has_generation = true,
                .set_defaults = definition_defaults,
                .validate = definition_validate,
                .stays = definition_stays,
                .finalizer = definition_finalizer,
                .deleting = definition_deleting,
        },
        {
                .group = STR("networking.k8s.io"),
                .plural = STR("networkpolicies"),
                .has_generation = true,
                .set_defaults = policy_defaults,
        },
        {
                .group = STR("discovery.k8s.io"),
                .plural = STR("endpointslices"),
                .has_generation = true,
        },
        {
                .group = STR("policy"),
                .plural = STR("poddisruptionbudgets"),
                .has_generation = true,
        },
};
const size_t behaviours_core_count = ARRAY_SIZE(behaviours_core);
