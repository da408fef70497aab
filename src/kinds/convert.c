// SPDX-License-Identifier: Apache-2.0
#include "kinds/convert.h"

#include <errno.h>
#include <stdio.h>

#include "base/limit.h"
#include "kinds/names.h"
#include "kube/meta.h"
#include "json/writer.h"

/*
 * Each conversion writes the object anew, member by member and in order, so that there and back
 * gives the same bytes (but for hub-only lists, which come back at the end). What v1alpha1 says and
 * the hub cannot is kept in the state annotation, a v1alpha1 object of just these fields; it is
 * there only where it is needed. What the hub says and v1alpha1 cannot is in annotations that only
 * the v1alpha1 form has.
 */

#define SHADOW STR("shadow-pool-")

/* Annotations of the v1alpha1 form only. */
#define ANNOTATION_VOLUME_POLICY STR("api.agents.x-k8s.io/v1beta1-volume-claim-templates-policy")
#define ANNOTATION_VOLUMES       STR("api.agents.x-k8s.io/v1beta1-volume-claim-templates")
#define ANNOTATION_NODE_NAME     STR("api.agents.x-k8s.io/v1beta1-node-name")

enum which { SANDBOX, CLAIM, TEMPLATE, POOL };

struct conversion {
        enum which which;
        bool to_hub;
        struct str group;
        struct json_value object, spec, status, annotations;
        struct json_doc *state;  /* parsed state annotation; NULL: none, or no JSON */
        struct json_doc *hidden; /* the claim's volumeClaimTemplates, out of their annotation */
        struct json_writer *writer;
};

static const struct str state_annotations[] = {
        [SANDBOX] = { "api.agents.x-k8s.io/v1alpha1-sandbox-state", 42 },
        [CLAIM] = { "api.agents.x-k8s.io/v1alpha1-sandboxclaim-state", 47 },
        [TEMPLATE] = { "api.agents.x-k8s.io/v1alpha1-sandboxtemplate-state", 50 },
        [POOL] = { "api.agents.x-k8s.io/v1alpha1-sandboxwarmpool-state", 50 },
};

static struct str annotation(const struct conversion *conversion, struct str key)
{
        return json_string(json_member(conversion->annotations, key));
}

static struct json_value state_spec(const struct conversion *conversion, const char *key)
{
        struct json_value none = { 0 };

        return conversion->state
                       ? json_member(json_get(json_root(conversion->state), "spec"), str_from(key))
                       : none;
}

static void copy(struct json_writer *writer, const struct json_iterator *it)
{
        json_key(writer, it->key);
        json_write_value(writer, it->value);
}

/* ---- Sandbox: replicas and operatingMode ---- */

static bool is_zero(struct json_value replicas)
{
        return json_exists(replicas) && json_int64_or(replicas, 1) == 0;
}

static void write_replicas(struct conversion *conversion, struct json_value mode)
{
        struct json_writer *writer = conversion->writer;
        struct json_value kept = state_spec(conversion, "replicas");

        if (json_string_is(mode, STR("Suspended")))
                json_field_int(writer, "replicas", 0);
        else if (json_exists(kept) && !is_zero(kept))
                json_field_value(writer, "replicas", kept);
        else if (!conversion->state || is_zero(kept))
                json_field_int(writer, "replicas", 1);
}

/* Whether the replicas are not what a hub object without state would give. */
static bool sandbox_needs_state(const struct conversion *conversion)
{
        struct json_value replicas = json_get(conversion->spec, "replicas");
        int64_t number = json_int64_or(replicas, -1);

        return number != 0 && number != 1;
}

static void write_sandbox_spec(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;
        struct json_value replicas = json_get(conversion->spec, "replicas");
        const char *from = conversion->to_hub ? "replicas" : "operatingMode";
        bool written = false;

        json_begin_object(writer);
        json_for_each (it, conversion->spec) {
                if (!str_equal(it.key, str_from(from))) {
                        copy(writer, &it);
                        continue;
                }
                written = true;
                if (conversion->to_hub)
                        json_field_string(writer, "operatingMode",
                                          is_zero(replicas) ? STR("Suspended") : STR("Running"));
                else
                        write_replicas(conversion, it.value);
        }
        if (!written && conversion->to_hub)
                json_field_string(writer, "operatingMode", STR("Running"));
        else if (!written)
                write_replicas(conversion, (struct json_value){ 0 });
        json_end_object(writer);
}

static bool has_pod(struct json_value status)
{
        json_for_each (it, json_get(status, "conditions")) {
                if (json_string_is(json_get(it.value, "type"), STR("PodScheduled")))
                        return true;
        }
        return false;
}

static void write_sandbox_status(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;
        const char *dropped = conversion->to_hub ? "replicas" : "nodeName";
        struct str node = annotation(conversion, ANNOTATION_NODE_NAME);

        json_begin_object(writer);
        json_for_each (it, conversion->status) {
                if (!str_equal(it.key, str_from(dropped)))
                        copy(writer, &it);
                else if (conversion->to_hub && node.length)
                        json_field_string(writer, "nodeName", node);
                else if (!conversion->to_hub)
                        json_field_int(writer, "replicas", has_pod(conversion->status));
        }
        if (!conversion->to_hub && !json_exists(json_get(conversion->status, "nodeName")))
                json_field_int(writer, "replicas", has_pod(conversion->status));
        json_end_object(writer);
}

/* ---- SandboxClaim: sandboxTemplateRef with warmpool, and warmPoolRef ---- */

static bool names_a_pool(struct str warmpool)
{
        return warmpool.length && !str_equal(warmpool, STR("default")) &&
               !str_equal(warmpool, STR("none"));
}

/* The pool as it shows in the name of the claim's Sandbox; empty: the Sandbox is the claim's own.
 */
static struct str pool_of_sandbox(const struct conversion *conversion)
{
        struct str sandbox = json_string(json_get(conversion->status, "sandbox", "name"));
        struct str claim = json_string(json_get(conversion->object, "metadata", "name"));

        if (sandbox.length == 0)
                sandbox = json_string(json_get(conversion->status, "sandbox", "Name"));
        if (str_equal(sandbox, claim))
                return STR_EMPTY;
        for (size_t i = sandbox.length; i > 1; i--) {
                if (sandbox.data[i - 1] == '-')
                        return str_slice(sandbox, 0, i - 1);
        }
        return STR_EMPTY;
}

/* Writes the pool's name that a v1alpha1 claim has in the hub. */
static void write_hub_pool(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;
        struct str template = json_string(json_get(conversion->spec, "sandboxTemplateRef", "name"));
        struct str warmpool = json_string(json_get(conversion->spec, "warmpool"));
        char name[LIMIT_NAME + 32];
        int length;
        struct str old = pool_of_sandbox(conversion);

        if (names_a_pool(warmpool)) {
                json_write_string(writer, warmpool);
                return;
        }
        /* An object of the time before the hub. */
        if (old.length && !conversion->state &&
            !json_exists(json_get(conversion->spec, "warmpool"))) {
                json_write_string(writer, old);
                return;
        }
        length = snprintf(name, sizeof(name), "%.*s%.*s", STR_FORMAT(SHADOW),
                          (int)MIN(template.length, (size_t)LIMIT_NAME), template.data);
        json_write_string(writer, (struct str){ name, (size_t)length });
}

/* What a hub claim without state says in v1alpha1. */
static void derive(struct str pool, struct str *ret_template, struct str *ret_warmpool)
{
        if (str_starts_with(pool, SHADOW)) {
                *ret_template = str_slice(pool, SHADOW.length, pool.length);
                *ret_warmpool = STR("default");
        } else {
                *ret_template = pool;
                *ret_warmpool = pool;
        }
}

static bool claim_needs_state(const struct conversion *conversion)
{
        struct str template = json_string(json_get(conversion->spec, "sandboxTemplateRef", "name"));
        struct str warmpool = json_string(json_get(conversion->spec, "warmpool"));

        if (names_a_pool(warmpool))
                return !str_equal(template, warmpool) || str_starts_with(warmpool, SHADOW);
        return !str_equal(warmpool, STR("default"));
}

/* Whether the state is of the pool that the hub names: somebody may have named another since. */
static bool state_fits(const struct conversion *conversion, struct str pool)
{
        struct str template =
                json_string(json_get(state_spec(conversion, "sandboxTemplateRef"), "name"));
        struct str warmpool = json_string(state_spec(conversion, "warmpool"));

        if (!conversion->state || template.length == 0)
                return false;
        if (names_a_pool(warmpool))
                return str_equal(warmpool, pool);
        return (str_starts_with(pool, SHADOW) &&
                str_equal(str_slice(pool, SHADOW.length, pool.length), template)) ||
               str_equal(pool, pool_of_sandbox(conversion));
}

static void write_old_pool(struct conversion *conversion, struct json_value reference)
{
        struct json_writer *writer = conversion->writer;
        struct str pool = json_string(json_get(reference, "name"));
        struct str template, warmpool;

        derive(pool, &template, &warmpool);
        if (state_fits(conversion, pool)) {
                template =
                        json_string(json_get(state_spec(conversion, "sandboxTemplateRef"), "name"));
                warmpool = json_string(state_spec(conversion, "warmpool"));
        }
        json_field_object(writer, "sandboxTemplateRef");
        json_field_string(writer, "name", template);
        json_end_object(writer);
        if (warmpool.length)
                json_field_string(writer, "warmpool", warmpool);
}

static void write_claim_spec(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;
        bool to_hub = conversion->to_hub;

        json_begin_object(writer);
        json_for_each (it, conversion->spec) {
                if (to_hub && str_equal(it.key, STR("sandboxTemplateRef"))) {
                        json_field_object(writer, "warmPoolRef");
                        json_key(writer, STR("name"));
                        write_hub_pool(conversion);
                        json_end_object(writer);
                } else if (!to_hub && str_equal(it.key, STR("warmPoolRef"))) {
                        write_old_pool(conversion, it.value);
                } else if (to_hub ? !str_equal(it.key, STR("warmpool"))
                                  : !str_equal(it.key, STR("volumeClaimTemplates"))) {
                        copy(writer, &it);
                }
        }
        if (to_hub && conversion->hidden)
                json_field_value(writer, "volumeClaimTemplates", json_root(conversion->hidden));
        json_end_object(writer);
}

/* The first SDKs read .status.sandbox.Name. */
static void write_claim_status(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;

        json_begin_object(writer);
        json_for_each (it, conversion->status) {
                if (!str_equal(it.key, STR("sandbox"))) {
                        copy(writer, &it);
                        continue;
                }
                json_field_object(writer, "sandbox");
                json_for_each (member, it.value) {
                        if (str_equal(member.key, STR("Name")))
                                continue;
                        copy(writer, &member);
                        if (!conversion->to_hub && str_equal(member.key, STR("name")))
                                json_field_value(writer, "Name", member.value);
                }
                json_end_object(writer);
        }
        json_end_object(writer);
}

/* ---- SandboxTemplate: volumeClaimTemplatesPolicy ---- */

static void write_template_spec(struct conversion *conversion)
{
        struct json_writer *writer = conversion->writer;
        struct str policy = annotation(conversion, ANNOTATION_VOLUME_POLICY);

        json_begin_object(writer);
        json_for_each (it, conversion->spec) {
                if (conversion->to_hub || !str_equal(it.key, STR("volumeClaimTemplatesPolicy")))
                        copy(writer, &it);
        }
        if (conversion->to_hub && policy.length)
                json_field_string(writer, "volumeClaimTemplatesPolicy", policy);
        json_end_object(writer);
}

/* ---- metadata ---- */

static bool is_hidden(struct str key)
{
        return str_equal(key, ANNOTATION_VOLUME_POLICY) || str_equal(key, ANNOTATION_VOLUMES) ||
               str_equal(key, ANNOTATION_NODE_NAME);
}

static bool needs_state(const struct conversion *conversion)
{
        if (conversion->which == SANDBOX)
                return sandbox_needs_state(conversion);
        return conversion->which == CLAIM && claim_needs_state(conversion);
}

static const char *const state_fields[][2] = {
        [SANDBOX] = { "replicas", "replicas" },
        [CLAIM] = { "sandboxTemplateRef", "warmpool" },
};

/* Whether the state that is there says the same, be it ours or a whole object of upstream's. */
static bool state_is_right(const struct conversion *conversion)
{
        if (!conversion->state || conversion->which > CLAIM)
                return conversion->state != NULL;
        for (size_t i = 0; i < 2; i++) {
                const char *field = state_fields[conversion->which][i];
                struct json_value wanted = json_member(conversion->spec, str_from(field));
                struct json_value kept = state_spec(conversion, field);

                if (json_exists(wanted) != json_exists(kept) ||
                    (json_exists(wanted) && !json_equal(wanted, kept)))
                        return false;
        }
        return true;
}

/* A v1alpha1 object of the fields that the hub has not. */
static int write_state(const struct conversion *conversion, struct buffer *out)
{
        static const char *const kinds[] = { "Sandbox", "SandboxClaim" };
        struct json_writer writer;
        char api_version[64];
        int length = snprintf(api_version, sizeof(api_version), "%.*s/v1alpha1",
                              STR_FORMAT(conversion->group));

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", (struct str){ api_version, (size_t)length });
        json_field_string(&writer, "kind", str_from(kinds[conversion->which]));
        json_field_object(&writer, "spec");
        for (size_t i = 0; i < 2; i++) {
                const char *field = state_fields[conversion->which][i];
                struct json_value value = json_member(conversion->spec, str_from(field));

                if (json_exists(value) && (i == 0 || conversion->which == CLAIM))
                        json_field_value(&writer, field, value);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

/* The annotations that the other form has more. Returns whether any was written or is to be. */
static bool write_more_annotations(struct conversion *conversion, struct str state, bool dry)
{
        struct json_writer *writer = conversion->writer;
        struct json_value policy = json_get(conversion->spec, "volumeClaimTemplatesPolicy");
        struct json_value volumes = json_get(conversion->spec, "volumeClaimTemplates");
        struct json_value node = json_get(conversion->status, "nodeName");
        struct str key = STR_EMPTY, value = STR_EMPTY;

        if (conversion->to_hub) {
                key = state_annotations[conversion->which];
                value = state;
        } else if (conversion->which == TEMPLATE && json_exists(policy)) {
                key = ANNOTATION_VOLUME_POLICY;
                value = json_string(policy);
        } else if (conversion->which == CLAIM && json_exists(volumes)) {
                key = ANNOTATION_VOLUMES;
                value = json_text(volumes);
        } else if (conversion->which == SANDBOX && json_exists(node)) {
                key = ANNOTATION_NODE_NAME;
                value = json_string(node);
        }
        if (value.length == 0)
                return false;
        if (!dry) {
                json_key(writer, key);
                json_write_string(writer, value);
        }
        return true;
}

static bool keeps(const struct conversion *conversion, struct str key, bool has_state)
{
        if (conversion->to_hub && is_hidden(key))
                return false;
        return has_state || !conversion->to_hub ||
               !str_equal(key, state_annotations[conversion->which]);
}

static void write_annotations(struct conversion *conversion, struct str state)
{
        struct json_writer *writer = conversion->writer;
        struct str state_key = state_annotations[conversion->which];
        bool has_state = state.length > 0, placed = false;
        bool more = write_more_annotations(conversion, state, true);
        size_t kept = 0;

        json_for_each (it, conversion->annotations)
                kept += keeps(conversion, it.key, has_state);
        if (kept == 0 && !more)
                return;
        json_field_object(writer, "annotations");
        json_for_each (it, conversion->annotations) {
                if (!keeps(conversion, it.key, has_state))
                        continue;
                if (conversion->to_hub && str_equal(it.key, state_key)) {
                        json_key(writer, it.key);
                        json_write_string(writer, state);
                        placed = true;
                } else {
                        copy(writer, &it);
                }
        }
        if (!placed)
                write_more_annotations(conversion, state, false);
        json_end_object(writer);
}

static void write_metadata(struct conversion *conversion, struct str state)
{
        struct json_writer *writer = conversion->writer;
        bool written = false;

        json_begin_object(writer);
        json_for_each (it, json_get(conversion->object, "metadata")) {
                if (str_equal(it.key, STR("annotations"))) {
                        written = true;
                        write_annotations(conversion, state);
                } else {
                        copy(writer, &it);
                }
        }
        if (!written)
                write_annotations(conversion, state);
        json_end_object(writer);
}

/* ---- the whole ---- */

static void write_member(struct conversion *conversion, const struct json_iterator *it,
                         struct str version, struct str state)
{
        struct json_writer *writer = conversion->writer;
        char api_version[64];
        int length;

        json_key(writer, it->key);
        if (str_equal(it->key, STR("apiVersion"))) {
                length = snprintf(api_version, sizeof(api_version), "%.*s/%.*s",
                                  STR_FORMAT(conversion->group), STR_FORMAT(version));
                json_write_string(writer, (struct str){ api_version, (size_t)length });
        } else if (str_equal(it->key, STR("metadata"))) {
                write_metadata(conversion, state);
        } else if (str_equal(it->key, STR("spec")) && json_type(it->value) == JSON_OBJECT &&
                   conversion->which != POOL) {
                if (conversion->which == SANDBOX)
                        write_sandbox_spec(conversion);
                else if (conversion->which == CLAIM)
                        write_claim_spec(conversion);
                else
                        write_template_spec(conversion);
        } else if (str_equal(it->key, STR("status")) && json_type(it->value) == JSON_OBJECT &&
                   conversion->which == SANDBOX) {
                write_sandbox_status(conversion);
        } else if (str_equal(it->key, STR("status")) && json_type(it->value) == JSON_OBJECT &&
                   conversion->which == CLAIM) {
                write_claim_status(conversion);
        } else {
                json_write_value(writer, it->value);
        }
}

static int write_object(struct conversion *conversion, struct str version,
                        struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = { 0 }, state = { 0 };
        struct json_writer writer;
        int r;

        if (conversion->to_hub && state_is_right(conversion)) {
                r = buffer_append_str(&state,
                                      annotation(conversion, state_annotations[conversion->which]));
                if (r < 0)
                        return r;
        } else if (conversion->to_hub && needs_state(conversion)) {
                r = write_state(conversion, &state);
                if (r < 0)
                        return r;
        }
        json_writer_init(&writer, &text);
        conversion->writer = &writer;
        json_begin_object(&writer);
        json_for_each (it, conversion->object)
                write_member(conversion, &it, version, buffer_str(&state));
        json_end_object(&writer);
        r = json_writer_finish(&writer);
        if (r < 0)
                return r;
        return json_doc_from_buffer(&text, ret_doc);
}

static int find_which(const struct kind *kind, enum which *ret_which)
{
        const struct kind *const kinds[] = { &kind_sandbox, &kind_sandbox_claim,
                                             &kind_sandbox_template, &kind_sandbox_warm_pool };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (kinds[i] == kind) {
                        *ret_which = (enum which)i;
                        return 0;
                }
        }
        return -EINVAL;
}

/* Text in an annotation that is no JSON is somebody's else's: as if it were not there. */
static int parse_annotation(const struct conversion *conversion, struct str key,
                            struct json_doc **ret_doc)
{
        struct str text = annotation(conversion, key);
        int r;

        if (text.length == 0)
                return 0;
        r = json_doc_parse(text, NULL, NULL, NULL, ret_doc);
        return r == -ENOMEM ? r : 0;
}

int kind_convert(const struct kind *kind, struct json_doc *doc, struct str to_version,
                 struct error *error, struct json_doc **ret_doc)
{
        struct json_value object = json_root(doc);
        _cleanup_doc_ struct json_doc *state = NULL, *hidden = NULL;
        struct conversion conversion = {
                .to_hub = str_equal(to_version, STR("v1beta1")),
                .group = kind->group,
                .object = object,
                .spec = json_get(object, "spec"),
                .status = json_get(object, "status"),
                .annotations = json_get(object, "metadata", "annotations"),
        };
        struct str group, version;
        int r;

        api_version_split(json_string(json_get(object, "apiVersion")), &group, &version);
        if (find_which(kind, &conversion.which) < 0 || !str_equal(group, kind->group) ||
            !json_string_is(json_get(object, "kind"), kind->kind) ||
            (!str_equal(version, STR("v1alpha1")) && !str_equal(version, STR("v1beta1"))) ||
            (!conversion.to_hub && !str_equal(to_version, STR("v1alpha1"))))
                return error_set(error, -EINVAL, "cannot convert %.*s of %.*s/%.*s to version %.*s",
                                 STR_FORMAT(json_string(json_get(object, "kind"))),
                                 STR_FORMAT(group), STR_FORMAT(version), STR_FORMAT(to_version));
        if (str_equal(version, to_version)) {
                *ret_doc = json_doc_ref(doc);
                return 0;
        }
        r = parse_annotation(&conversion, state_annotations[conversion.which], &state);
        if (r == 0 && conversion.which == CLAIM)
                r = parse_annotation(&conversion, ANNOTATION_VOLUMES, &hidden);
        conversion.state = state;
        conversion.hidden = hidden;
        if (r == 0)
                r = write_object(&conversion, to_version, ret_doc);
        return r < 0 ? error_set(error, r, "the object cannot be converted") : 0;
}
