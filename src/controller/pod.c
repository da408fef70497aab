// SPDX-License-Identifier: Apache-2.0
#include "controller/internal.h"
#include <errno.h>

/*
 * A Pod's labels and annotations: those of the template without reserved prefixes, then the
 * claim's, then ours. Which of them came from the template is kept in an annotation, so that what
 * leaves the template leaves the Pod.
 */

enum { PAIRS_MAX = 256 };

struct pair {
        struct str key, value;
        bool ours;
};

struct pairs {
        struct pair list[PAIRS_MAX];
        size_t count;
};

static void set_pair(struct pairs *pairs, struct str key, struct str value, bool ours)
{
        for (size_t i = 0; i < pairs->count; i++) {
                if (str_equal(pairs->list[i].key, key)) {
                        pairs->list[i] = (struct pair){ key, value, ours };
                        return;
                }
        }
        if (pairs->count < PAIRS_MAX)
                pairs->list[pairs->count++] = (struct pair){ key, value, ours };
}

static void add_users(struct pairs *pairs, struct json_value map)
{
        json_for_each (it, map) {
                if (!key_is_reserved(it.key) && json_type(it.value) == JSON_STRING)
                        set_pair(pairs, it.key, json_string(it.value), false);
        }
}

static void drop_pair(struct pairs *pairs, struct str key, struct str value)
{
        for (size_t i = 0; i < pairs->count; i++) {
                if (str_equal(pairs->list[i].key, key) && str_equal(pairs->list[i].value, value)) {
                        pairs->list[i] = pairs->list[--pairs->count];
                        return;
                }
        }
}

static const struct pair *find_pair(const struct pairs *pairs, struct str key)
{
        for (size_t i = 0; i < pairs->count; i++) {
                if (str_equal(pairs->list[i].key, key))
                        return &pairs->list[i];
        }
        return NULL;
}

static void desired_labels(const struct pod_identity *identity, char hash[static NAME_HASH_SIZE],
                           struct pairs *ret)
{
        ret->count = 0;
        add_users(ret, identity->labels);
        add_users(ret, identity->extra_labels);
        if (identity->sandbox_name.length)
                set_pair(ret, LABEL_NAME_HASH, name_hash(identity->sandbox_name, hash), true);
        if (identity->template_ref_hash.length)
                set_pair(ret, LABEL_TEMPLATE_REF_HASH, identity->template_ref_hash, true);
        if (identity->template_hash.length)
                set_pair(ret, LABEL_TEMPLATE_HASH, identity->template_hash, true);
        if (identity->pool_hash.length) {
                set_pair(ret, LABEL_WARM_POOL, identity->pool_hash, true);
                set_pair(ret, LABEL_POOL, identity->pool_hash, true);
        }
        if (identity->claim_uid.length)
                set_pair(ret, LABEL_CLAIM_UID, identity->claim_uid, true);
}

static struct str user_keys(struct plan *plan, const struct pairs *pairs)
{
        size_t length = 0, at = 0;
        char *text;

        for (size_t i = 0; i < pairs->count; i++)
                length += pairs->list[i].ours ? 0 : pairs->list[i].key.length + 1;
        if (length == 0)
                return STR_EMPTY;
        text = arena_alloc(plan->arena, length);
        if (!text) {
                plan_fail(plan, -ENOMEM);
                return STR_EMPTY;
        }
        for (size_t i = 0; i < pairs->count; i++) {
                if (pairs->list[i].ours)
                        continue;
                if (at)
                        text[at++] = ',';
                memcpy(text + at, pairs->list[i].key.data, pairs->list[i].key.length);
                at += pairs->list[i].key.length;
        }
        return (struct str){ text, at };
}

static void desired_annotations(struct plan *plan, const struct pod_identity *identity,
                                const struct pairs *labels, struct pairs *ret)
{
        struct str label_keys = user_keys(plan, labels), annotation_keys;

        ret->count = 0;
        add_users(ret, identity->annotations);
        if (identity->evictable && !find_pair(ret, ANNOTATION_SAFE_TO_EVICT))
                set_pair(ret, ANNOTATION_SAFE_TO_EVICT, STR("true"), false);
        if (identity->not_evictable)
                drop_pair(ret, ANNOTATION_SAFE_TO_EVICT, STR("true"));
        add_users(ret, identity->extra_annotations);
        annotation_keys = user_keys(plan, ret);
        if (label_keys.length)
                set_pair(ret, ANNOTATION_PROPAGATED_LABELS, label_keys, true);
        if (annotation_keys.length)
                set_pair(ret, ANNOTATION_PROPAGATED_ANNOTATIONS, annotation_keys, true);
}

static void write_pairs(struct json_writer *writer, const char *field, const struct pairs *pairs)
{
        if (pairs->count == 0)
                return;
        json_field_object(writer, field);
        for (size_t i = 0; i < pairs->count; i++) {
                json_key(writer, pairs->list[i].key);
                json_write_string(writer, pairs->list[i].value);
        }
        json_end_object(writer);
}

static bool is_pool_key(struct str key)
{
        return str_equal(key, LABEL_WARM_POOL) || str_equal(key, LABEL_POOL);
}

/* Writes what must change of a map, with nulls for what must go. Returns whether anything. */
static bool write_changes(struct json_writer *writer, const char *field, struct json_value present,
                          const struct pairs *wanted, struct str propagated)
{
        bool open = false;
        struct str key;

        for (size_t i = 0; i < wanted->count; i++) {
                const struct pair *pair = &wanted->list[i];

                if (json_string_is(json_member(present, pair->key), pair->value))
                        continue;
                if (!open)
                        json_field_object(writer, field);
                open = true;
                json_key(writer, pair->key);
                json_write_string(writer, pair->value);
        }
        while (propagated.length) {
                str_cut(propagated, ',', &key, &propagated);
                if (key.length == 0 || find_pair(wanted, key) ||
                    !json_exists(json_member(present, key)))
                        continue;
                if (!open)
                        json_field_object(writer, field);
                open = true;
                json_key(writer, key);
                json_write_null(writer);
        }
        json_for_each (it, present) {
                bool stale_list = str_equal(it.key, ANNOTATION_PROPAGATED_LABELS) ||
                                  str_equal(it.key, ANNOTATION_PROPAGATED_ANNOTATIONS);

                if ((!is_pool_key(it.key) && !stale_list) || find_pair(wanted, it.key))
                        continue;
                if (!open)
                        json_field_object(writer, field);
                open = true;
                json_key(writer, it.key);
                json_write_null(writer);
        }
        if (open)
                json_end_object(writer);
        return open;
}

/* Whether the claim itself asks for what its Sandbox's blueprint says of this annotation. */
static bool is_of_the_claim(const struct object_meta *sandbox, struct str annotation)
{
        struct str key, keys = object_meta_annotation(sandbox, ANNOTATION_PROPAGATED_ANNOTATIONS);

        while (keys.length) {
                str_cut(keys, ',', &key, &keys);
                if (str_equal(key, annotation))
                        return true;
        }
        return false;
}

void pod_identity_read(const struct cache_entry *sandbox, const struct sandbox_options *options,
                       struct pod_identity *ret)
{
        const struct sandbox *typed = sandbox->typed;
        struct owner_reference owner;

        *ret = (struct pod_identity){
                .namespace = sandbox->meta.namespace,
                .sandbox_name = sandbox->meta.name,
                .owner = &sandbox->meta,
                .owner_kind = &kind_sandbox,
                .labels = typed->blueprint.pod_labels,
                .annotations = typed->blueprint.pod_annotations,
        };
        if (controlled_by_kind(&sandbox->meta, &kind_sandbox_warm_pool, &owner)) {
                ret->template_ref_hash = object_meta_label(&sandbox->meta, LABEL_TEMPLATE_REF_HASH);
                ret->pool_hash = object_meta_label(&sandbox->meta, LABEL_WARM_POOL);
                ret->evictable = options->evictable_members;
        } else if (controlled_by_kind(&sandbox->meta, &kind_sandbox_claim, &owner)) {
                ret->template_ref_hash = object_meta_label(&sandbox->meta, LABEL_TEMPLATE_REF_HASH);
                ret->claim_uid = owner.uid;
                ret->not_evictable = str_equal(object_meta_label(&sandbox->meta, LABEL_LAUNCH_TYPE),
                                               STR("warm")) &&
                                     !is_of_the_claim(&sandbox->meta, ANNOTATION_SAFE_TO_EVICT);
        }
}

static void write_pod_owner(struct plan *plan, const struct pod_identity *identity)
{
        if (identity->owner)
                write_owner(&plan->writer, identity->owner_kind, identity->owner);
        else
                write_created_owner(plan, identity->created_owner);
}

static bool is_claimed_volume(const struct blueprint *blueprint, struct str volume)
{
        json_for_each (it, blueprint->volume_claim_templates) {
                if (json_string_is(json_get(it.value, "metadata", "name"), volume))
                        return true;
        }
        return false;
}

static void write_volumes(struct plan *plan, const struct pod_identity *identity,
                          const struct blueprint *blueprint)
{
        struct json_writer *writer = &plan->writer;

        json_field_array(writer, "volumes");
        json_for_each (it, json_get(blueprint->pod_spec, "volumes")) {
                if (!is_claimed_volume(blueprint, json_string(json_get(it.value, "name"))))
                        json_write_value(writer, it.value);
        }
        json_for_each (it, blueprint->volume_claim_templates) {
                struct str name = json_string(json_get(it.value, "metadata", "name"));
                struct str claim = arena_printf(plan->arena, "%.*s-%.*s", STR_FORMAT(name),
                                                STR_FORMAT(identity->sandbox_name));

                json_begin_object(writer);
                json_field_string(writer, "name", name);
                json_field_object(writer, "persistentVolumeClaim");
                json_field_string(writer, "claimName", claim);
                json_end_object(writer);
                json_end_object(writer);
        }
        json_end_array(writer);
}

static void write_spec(struct plan *plan, const struct pod_identity *identity,
                       const struct blueprint *blueprint)
{
        struct json_writer *writer = &plan->writer;

        if (json_count(blueprint->volume_claim_templates) == 0) {
                json_field_value(writer, "spec", blueprint->pod_spec);
                return;
        }
        json_field_object(writer, "spec");
        json_for_each (it, blueprint->pod_spec) {
                if (str_equal(it.key, STR("volumes")))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        write_volumes(plan, identity, blueprint);
        json_end_object(writer);
}

/* Opens the body of a new Pod up to and without its spec. */
static void begin_pod(struct plan *plan, const struct pod_identity *identity, struct str name)
{
        char hash[NAME_HASH_SIZE];
        struct pairs *labels = arena_new(plan->arena, struct pairs, 2);
        struct json_writer *writer = plan_body(plan);

        if (!labels) {
                plan_fail(plan, -ENOMEM);
                return;
        }
        desired_labels(identity, hash, &labels[0]);
        desired_annotations(plan, identity, &labels[0], &labels[1]);
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Pod"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", identity->namespace);
        write_pairs(writer, "labels", &labels[0]);
        write_pairs(writer, "annotations", &labels[1]);
        write_pod_owner(plan, identity);
        json_end_object(writer);
}

int pod_create(struct plan *plan, const struct pod_identity *identity, struct str name,
               const struct blueprint *blueprint, int after)
{
        begin_pod(plan, identity, name);
        if (plan->failure)
                return ACTION_NONE;
        write_spec(plan, identity, blueprint);
        json_end_object(&plan->writer);
        return plan_create(plan, &kind_pod, identity->namespace, name, after);
}

int pod_create_from_template(struct plan *plan, const struct pod_identity *identity,
                             struct str name, const struct sandbox_template *template)
{
        begin_pod(plan, identity, name);
        if (plan->failure)
                return ACTION_NONE;
        json_key(&plan->writer, STR("spec"));
        write_secure_pod_spec(&plan->writer, template, NULL);
        json_end_object(&plan->writer);
        return plan_create(plan, &kind_pod, identity->namespace, name, ACTION_NONE);
}

int pod_patch(struct plan *plan, const struct pod_identity *identity, const struct cache_entry *pod,
              bool take, int after)
{
        const struct object_meta *meta = &pod->meta;
        char hash[NAME_HASH_SIZE];
        struct pairs *wanted = arena_new(plan->arena, struct pairs, 2);
        struct json_writer *writer;
        bool changed;

        if (!wanted) {
                plan_fail(plan, -ENOMEM);
                return ACTION_NONE;
        }
        desired_labels(identity, hash, &wanted[0]);
        desired_annotations(plan, identity, &wanted[0], &wanted[1]);
        writer = plan_patch_body(plan, meta, take ? EXPECT_VERSION : EXPECT_UID);
        changed = write_changes(writer, "labels", meta->labels, &wanted[0],
                                object_meta_annotation(meta, ANNOTATION_PROPAGATED_LABELS));
        changed |= write_changes(writer, "annotations", meta->annotations, &wanted[1],
                                 object_meta_annotation(meta, ANNOTATION_PROPAGATED_ANNOTATIONS));
        if (take)
                write_pod_owner(plan, identity);
        if (!changed && !take)
                return ACTION_NONE;
        json_end_object(writer);
        return plan_patch(plan, &kind_pod, meta, json_root(pod->doc), after);
}
