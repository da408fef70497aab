// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "cluster/internal.h"
#include "kube/condition.h"

/*
 * Deployments: one ReplicaSet for each Pod template, the present one growing while the others
 * shrink (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/). A quarter more
 * and a quarter fewer Pods than wanted may exist meanwhile, unless the Deployment says otherwise.
 */

#define LABEL_HASH          STR("pod-template-hash")
#define ANNOTATION_REVISION STR("deployment.kubernetes.io/revision")

enum { OLD_SETS_MAX = 64, HISTORY = 10 };

struct rollout {
        const struct view *seen;
        struct plan *plan;
        const struct cache_entry *entry;
        const struct deployment *deployment;
        const struct cache_entry *present; /* of the template as it is; NULL: to be made */
        const struct cache_entry *old[OLD_SETS_MAX];
        size_t old_count;
        int64_t revision; /* the highest there is */
        int64_t surge, unavailable;
};

struct counts {
        int64_t replicas, ready;
};

static struct counts set_counts(const struct cache_entry *entry)
{
        struct counts counts = { 0 };

        if (entry) {
                struct json_value status = ((const struct replica_set *)entry->typed)->status;

                counts.replicas = json_int64_or(json_get(status, "replicas"), 0);
                counts.ready = json_int64_or(json_get(status, "readyReplicas"), 0);
        }
        return counts;
}

static int64_t wanted_of(const struct cache_entry *entry)
{
        return entry ? ((const struct replica_set *)entry->typed)->replicas : 0;
}

/* ---- finding the ReplicaSets ---- */

static bool labels_match(struct json_value with_hash, struct json_value without)
{
        size_t count = json_count(with_hash) - json_exists(json_member(with_hash, LABEL_HASH));

        if (count != json_count(without))
                return false;
        json_for_each (it, without) {
                if (!json_equal(json_member(with_hash, it.key), it.value))
                        return false;
        }
        return true;
}

static bool same(struct json_value a, struct json_value b)
{
        return json_exists(a) == json_exists(b) && (!json_exists(a) || json_equal(a, b));
}

static bool is_of_template(const struct rollout *pass, const struct cache_entry *entry)
{
        struct json_value theirs = ((const struct replica_set *)entry->typed)->template;
        struct json_value ours = pass->deployment->template;

        return same(json_get(theirs, "spec"), json_get(ours, "spec")) &&
               same(json_get(theirs, "metadata", "annotations"),
                    json_get(ours, "metadata", "annotations")) &&
               labels_match(json_get(theirs, "metadata", "labels"),
                            json_get(ours, "metadata", "labels"));
}

static int64_t revision_of(const struct cache_entry *entry)
{
        uint64_t revision = 0;

        (void)str_to_u64(object_meta_annotation(&entry->meta, ANNOTATION_REVISION), INT32_MAX,
                         &revision);
        return (int64_t)revision;
}

static void find_sets(struct rollout *pass)
{
        cache_for_each_owned(it, pass->seen->cache, &kind_replica_set, pass->entry->meta.uid)
        {
                if (object_meta_is_deleting(&it.entry->meta))
                        continue;
                pass->revision = MAX(pass->revision, revision_of(it.entry));
                if (!pass->present && is_of_template(pass, it.entry))
                        pass->present = it.entry;
                else if (pass->old_count < OLD_SETS_MAX)
                        pass->old[pass->old_count++] = it.entry;
        }
}

/* ---- making one ---- */

static void write_labels(struct json_writer *writer, struct json_value labels, struct str hash)
{
        json_begin_object(writer);
        json_for_each (it, labels) {
                if (str_equal(it.key, LABEL_HASH))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        json_key(writer, LABEL_HASH);
        json_write_string(writer, hash);
        json_end_object(writer);
}

static void write_template(struct rollout *pass, struct json_writer *writer, struct str hash)
{
        struct json_value template = pass->deployment->template;
        struct json_value annotations = json_get(template, "metadata", "annotations");

        json_field_object(writer, "template");
        json_field_object(writer, "metadata");
        json_key(writer, STR("labels"));
        write_labels(writer, json_get(template, "metadata", "labels"), hash);
        if (json_exists(annotations))
                json_field_value(writer, "annotations", annotations);
        json_end_object(writer);
        if (json_exists(json_get(template, "spec")))
                json_field_value(writer, "spec", json_get(template, "spec"));
        json_end_object(writer);
}

static void create_set(struct rollout *pass, int64_t replicas)
{
        struct json_value selector = pass->deployment->selector;
        struct json_writer *writer = plan_body(pass->plan);
        struct str base = pass->entry->meta.name, name;
        char hash[16], revision[24];

        snprintf(hash, sizeof(hash), "%08x", str_fnv1a(json_text(pass->deployment->template)));
        snprintf(revision, sizeof(revision), "%lld", (long long)pass->revision + 1);
        base.length = MIN(base.length, (size_t)LIMIT_NAME - 9);
        name = arena_printf(pass->plan->arena, "%.*s-%s", STR_FORMAT(base), hash);
        if (!name.data) {
                plan_fail(pass->plan, -ENOMEM);
                return;
        }
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("apps/v1"));
        json_field_string(writer, "kind", STR("ReplicaSet"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", pass->seen->namespace);
        json_key(writer, STR("labels"));
        write_labels(writer, json_get(pass->deployment->template, "metadata", "labels"),
                     str_from(hash));
        json_field_object(writer, "annotations");
        json_key(writer, ANNOTATION_REVISION);
        json_write_string(writer, str_from(revision));
        json_end_object(writer);
        write_owner_reference(writer, &kind_deployment, &pass->entry->meta);
        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_int(writer, "replicas", replicas);
        json_field_object(writer, "selector");
        json_key(writer, STR("matchLabels"));
        write_labels(writer, json_get(selector, "matchLabels"), str_from(hash));
        if (json_count(json_get(selector, "matchExpressions")))
                json_field_value(writer, "matchExpressions",
                                 json_get(selector, "matchExpressions"));
        json_end_object(writer);
        write_template(pass, writer, str_from(hash));
        json_end_object(writer);
        json_end_object(writer);
        plan_create(pass->plan, &kind_replica_set, pass->seen->namespace, name, ACTION_NONE);
}

/* ---- scaling ---- */

static void scale(struct rollout *pass, const struct cache_entry *entry, int64_t replicas)
{
        struct json_writer *writer;

        if (wanted_of(entry) == replicas)
                return;
        writer = plan_patch_body(pass->plan, &entry->meta, EXPECT_VERSION);
        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_int(writer, "replicas", replicas);
        json_end_object(writer);
        plan_patch(pass->plan, &kind_replica_set, &entry->meta, json_root(entry->doc), ACTION_NONE);
}

/* A number, or a share of the replicas in per cent. */
static int64_t read_share(struct json_value value, int64_t replicas, int64_t fallback, bool up)
{
        struct str text = json_string(value);
        uint64_t percent;

        if (text.length == 0)
                return json_exists(value) ? json_int64_or(value, fallback) : fallback;
        if (!str_ends_with(text, STR("%")) ||
            str_to_u64(str_slice(text, 0, text.length - 1), 100, &percent) < 0)
                return fallback;
        return (replicas * (int64_t)percent + (up ? 99 : 0)) / 100;
}

static void read_strategy(struct rollout *pass)
{
        struct json_value rolling =
                json_get(json_root(pass->entry->doc), "spec", "strategy", "rollingUpdate");
        int64_t replicas = pass->deployment->replicas;

        pass->surge = read_share(json_get(rolling, "maxSurge"), replicas,
                                 (replicas * 25 + 99) / 100, true);
        pass->unavailable = read_share(json_get(rolling, "maxUnavailable"), replicas,
                                       replicas * 25 / 100, false);
        if (pass->surge <= 0 && pass->unavailable <= 0)
                pass->unavailable = 1;
}

static int64_t old_wanted(const struct rollout *pass)
{
        int64_t total = 0;

        for (size_t i = 0; i < pass->old_count; i++)
                total += wanted_of(pass->old[i]);
        return total;
}

static int64_t old_existing(const struct rollout *pass)
{
        int64_t total = 0;

        for (size_t i = 0; i < pass->old_count; i++)
                total += set_counts(pass->old[i]).replicas;
        return total;
}

/* How many the present set may have now. */
static int64_t present_target(const struct rollout *pass, bool recreate)
{
        int64_t wanted = pass->deployment->replicas, room;

        if (recreate)
                return old_existing(pass) > 0 ? wanted_of(pass->present) : wanted;
        room = wanted + pass->surge - old_wanted(pass) - wanted_of(pass->present);
        return MIN(wanted, wanted_of(pass->present) + MAX(room, INT64_C(0)));
}

static void shrink_old(struct rollout *pass, bool recreate)
{
        int64_t wanted = pass->deployment->replicas, ready = set_counts(pass->present).ready;
        int64_t may_go;

        for (size_t i = 0; i < pass->old_count; i++)
                ready += set_counts(pass->old[i]).ready;
        may_go = ready - (wanted - pass->unavailable);
        for (size_t i = 0; i < pass->old_count; i++) {
                struct counts counts = set_counts(pass->old[i]);
                int64_t target = wanted_of(pass->old[i]);
                int64_t idle = MAX(target - counts.ready, INT64_C(0)), step;

                if (recreate) {
                        scale(pass, pass->old[i], 0);
                        continue;
                }
                /* Those that do not serve go at once. */
                step = idle + MAX(MIN(may_go, target - idle), INT64_C(0));
                may_go -= step - idle;
                scale(pass, pass->old[i], MAX(target - step, INT64_C(0)));
        }
}

/* Empty ReplicaSets beyond the history are deleted, oldest revision first. */
static void trim_history(struct rollout *pass)
{
        int64_t limit = json_int64_or(
                json_get(json_root(pass->entry->doc), "spec", "revisionHistoryLimit"), HISTORY);
        const struct cache_entry *oldest = NULL;
        int64_t empty = 0;

        for (size_t i = 0; i < pass->old_count; i++) {
                if (wanted_of(pass->old[i]) || set_counts(pass->old[i]).replicas)
                        continue;
                empty++;
                if (!oldest || revision_of(pass->old[i]) < revision_of(oldest))
                        oldest = pass->old[i];
        }
        if (oldest && empty > limit)
                plan_delete(pass->plan, &kind_replica_set, &oldest->meta, EXPECT_VERSION,
                            PROPAGATION_BACKGROUND, -1, ACTION_NONE);
}

/* ---- status ---- */

static void write_status(struct rollout *pass)
{
        struct counts present = set_counts(pass->present), total = present;
        int64_t wanted = pass->deployment->replicas;
        bool available, complete;
        struct json_writer *writer;

        for (size_t i = 0; i < pass->old_count; i++) {
                struct counts counts = set_counts(pass->old[i]);

                total.replicas += counts.replicas;
                total.ready += counts.ready;
        }
        available = total.ready >= wanted - pass->unavailable;
        complete = present.ready == wanted && total.replicas == present.replicas;
        struct condition conditions[] = {
                {
                        .type = STR("Available"),
                        .status = available ? STR("True") : STR("False"),
                        .reason = available ? STR("MinimumReplicasAvailable")
                                            : STR("MinimumReplicasUnavailable"),
                        .message = available
                                           ? STR("Deployment has minimum availability.")
                                           : STR("Deployment does not have minimum availability."),
                },
                {
                        .type = STR("Progressing"),
                        .status = STR("True"),
                        .reason =
                                complete ? STR("NewReplicaSetAvailable") : STR("ReplicaSetUpdated"),
                        .message = complete ? STR("The ReplicaSet has successfully progressed.")
                                            : STR("The ReplicaSet is progressing."),
                },
        };

        writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_UID);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_field_int(writer, "observedGeneration", pass->entry->meta.generation);
        json_field_int(writer, "replicas", total.replicas);
        json_field_int(writer, "updatedReplicas", present.replicas);
        json_field_int(writer, "readyReplicas", total.ready);
        json_field_int(writer, "availableReplicas", total.ready);
        json_field_int(writer, "unavailableReplicas", MAX(wanted - total.ready, INT64_C(0)));
        json_key(writer, STR("conditions"));
        conditions_write(writer, json_get(pass->deployment->status, "conditions"), conditions, 2,
                         NULL, pass->seen->now.realtime_ns);
        json_end_object(writer);
        plan_patch_status(pass->plan, &kind_deployment, &pass->entry->meta,
                          json_root(pass->entry->doc), ACTION_NONE);
}

void deployment_plan(const struct view *seen, struct plan *plan)
{
        const struct cluster_context *context = seen->context;
        struct rollout pass = {
                .seen = seen,
                .plan = plan,
                .entry = cache_get(seen->cache, &kind_deployment, seen->namespace, seen->name),
        };
        bool recreate;

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta) ||
            object_meta_annotation(&pass.entry->meta, context->options.mirror_annotation).data)
                return;
        pass.deployment = pass.entry->typed;
        recreate = json_string_is(json_get(json_root(pass.entry->doc), "spec", "strategy", "type"),
                                  STR("Recreate"));
        find_sets(&pass);
        read_strategy(&pass);
        if (!pass.deployment->paused || !pass.present) {
                if (pass.present)
                        scale(&pass, pass.present, present_target(&pass, recreate));
                else
                        create_set(&pass, present_target(&pass, recreate));
                shrink_old(&pass, recreate);
                trim_history(&pass);
        }
        write_status(&pass);
}

void deployment_map(struct controllers *set, const struct controller *controller,
                    const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        struct owner_reference owner;

        if (entry->kind == &kind_deployment)
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        else if (object_meta_controller(&entry->meta, &owner) &&
                 str_equal(owner.kind, STR("Deployment")) && str_equal(owner.group, STR("apps")))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
}
