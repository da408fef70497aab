// SPDX-License-Identifier: Apache-2.0
#include "controller/internal.h"

/*
 * The life of a claim once it is bound: its status mirrors its Sandbox, its metadata goes to the
 * Pod, and it ends at its time. Binding it is sandbox_match.c's.
 */

struct claim_pass {
        const struct view *seen;
        struct plan *plan;
        const struct sandbox_context *context;
        const struct cache_entry *entry;
        const struct sandbox_claim *claim;
        const struct cache_entry *sandbox; /* NULL: none */
};

/* ---- the end ---- */

static bool is_marked_expired(const struct sandbox_claim *claim)
{
        struct condition ready;

        return condition_find(claim->conditions, STR("Ready"), &ready) &&
               str_equal(ready.reason, STR("ClaimExpired"));
}

static int mark_expired(struct claim_pass *pass)
{
        bool gone = !pass->sandbox;
        int told = claim_status_patch(
                pass->plan, pass->seen, pass->entry,
                &(struct claim_status){
                        .sandbox_name = pass->claim->sandbox_name,
                        .pod_ips = gone ? (struct json_value){ 0 }
                                        : json_get(pass->claim->status, "sandbox", "podIPs"),
                        .status = STR("False"),
                        .reason = STR("ClaimExpired"),
                        .message = STR("The claim's time is over"),
                },
                ACTION_NONE);

        if (!is_marked_expired(pass->claim) && !pass->context->options.without_claim_events)
                plan_event(pass->plan, &kind_sandbox_claim, &pass->entry->meta, "Normal",
                           "ClaimExpired", pass->seen->now.realtime_ns, told,
                           "The claim's time is over");
        return told;
}

static void end_claim(struct claim_pass *pass, int after)
{
        switch (pass->claim->shutdown) {
        case CLAIM_SHUTDOWN_DELETE:
                plan_delete(pass->plan, &kind_sandbox_claim, &pass->entry->meta, EXPECT_UID,
                            PROPAGATION_BACKGROUND, -1, after);
                return;
        case CLAIM_SHUTDOWN_FOREGROUND:
                plan_delete(pass->plan, &kind_sandbox_claim, &pass->entry->meta, EXPECT_UID,
                            PROPAGATION_FOREGROUND, -1, after);
                return;
        case CLAIM_SHUTDOWN_RETAIN:
                if (pass->sandbox && !object_meta_is_deleting(&pass->sandbox->meta))
                        plan_delete(pass->plan, &kind_sandbox, &pass->sandbox->meta, EXPECT_UID,
                                    PROPAGATION_BACKGROUND, -1, after);
                return;
        }
}

/* First said, then done, so that a watcher learns why; a TTL of 0 does both at once. */
static void plan_expired(struct claim_pass *pass)
{
        bool marked = is_marked_expired(pass->claim);
        int told = mark_expired(pass);

        if (marked || pass->claim->ttl_seconds == 0)
                end_claim(pass, told);
}

/* ---- metadata that changes on a bound claim ---- */

/* Writes what the claim changes of a map of the Sandbox's Pod template. Keys in `listed` came from
 * the claim before and go when it drops them. */
static bool write_map_changes(struct json_writer *writer, const char *field,
                              struct json_value present, struct json_value wanted,
                              struct str listed)
{
        bool changed = false;
        struct str key;

        json_field_object(writer, field);
        json_for_each (it, wanted) {
                if (json_equal(json_member(present, it.key), it.value))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
                changed = true;
        }
        while (listed.length) {
                str_cut(listed, ',', &key, &listed);
                if (key.length == 0 || json_exists(json_member(wanted, key)) ||
                    !json_exists(json_member(present, key)))
                        continue;
                json_key(writer, key);
                json_write_null(writer);
                changed = true;
        }
        json_end_object(writer);
        return changed;
}

static void write_listed(struct json_writer *writer, struct str annotation, struct json_value map)
{
        if (json_count(map)) {
                write_key_list(writer, annotation, map);
                return;
        }
        json_key(writer, annotation);
        json_write_null(writer);
}

static void plan_metadata(struct claim_pass *pass)
{
        const struct cache_entry *entry = pass->sandbox;
        const struct sandbox *sandbox = entry->typed;
        struct json_writer *writer;
        struct str labels = object_meta_annotation(&entry->meta, ANNOTATION_PROPAGATED_LABELS);
        struct str annotations =
                object_meta_annotation(&entry->meta, ANNOTATION_PROPAGATED_ANNOTATIONS);
        struct str reason;
        bool changed;

        if ((json_count(pass->claim->extra_labels) == 0 &&
             json_count(pass->claim->extra_annotations) == 0 && labels.length == 0 &&
             annotations.length == 0) ||
            claim_check(&pass->context->options, pass->claim, NULL, pass->plan->arena, &reason)
                    .length)
                return;
        writer = plan_patch_body(pass->plan, &entry->meta, EXPECT_UID);
        json_field_object(writer, "annotations");
        write_listed(writer, ANNOTATION_PROPAGATED_LABELS, pass->claim->extra_labels);
        write_listed(writer, ANNOTATION_PROPAGATED_ANNOTATIONS, pass->claim->extra_annotations);
        json_end_object(writer);
        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_object(writer, "podTemplate");
        json_field_object(writer, "metadata");
        changed = write_map_changes(writer, "labels", sandbox->blueprint.pod_labels,
                                    pass->claim->extra_labels, labels);
        changed |= write_map_changes(writer, "annotations", sandbox->blueprint.pod_annotations,
                                     pass->claim->extra_annotations, annotations);
        json_end_object(writer);
        json_end_object(writer);
        json_end_object(writer);
        if (changed)
                plan_patch(pass->plan, &kind_sandbox, &entry->meta, json_root(entry->doc),
                           ACTION_NONE);
}

/* ---- the mirror ---- */

static void tell_missing(struct claim_pass *pass)
{
        const struct cache_entry *other = cache_get(
                pass->seen->cache, &kind_sandbox, pass->seen->namespace, pass->claim->sandbox_name);
        bool foreign = other != NULL;

        /* Never another one in its place: who holds the name believes in what is inside. */
        claim_status_patch(
                pass->plan, pass->seen, pass->entry,
                &(struct claim_status){
                        .sandbox_name = pass->claim->sandbox_name,
                        .status = STR("False"),
                        .reason = foreign ? STR("AdoptionConflict") : STR("SandboxMissing"),
                        .message = foreign ? STR("The claim's Sandbox belongs to somebody else")
                                           : STR("The claim's Sandbox is gone"),
                },
                ACTION_NONE);
}

static bool is_on_the_way(struct str status, struct str reason)
{
        return str_equal(status, STR("False")) && (str_equal(reason, STR("SandboxNotReady")) ||
                                                   str_equal(reason, STR("DependenciesNotReady")));
}

/* While a Sandbox starts, the claim is not told of every step: it knows that it is on the way. */
static bool may_wait(struct claim_pass *pass, const struct claim_status *wanted)
{
        struct condition ready;
        uint64_t until_ns;

        if (!is_on_the_way(wanted->status, wanted->reason) ||
            !condition_find(pass->claim->conditions, STR("Ready"), &ready) ||
            !is_on_the_way(ready.status, ready.reason) ||
            ready.observed_generation != pass->entry->meta.generation ||
            !str_equal(pass->claim->sandbox_name, wanted->sandbox_name) ||
            !is_held_back(pass->seen, pass->sandbox->meta.creation_ns, &until_ns))
                return false;
        plan_come_back(pass->plan, until_ns);
        return true;
}

static void plan_bound(struct claim_pass *pass)
{
        struct claim_status status;
        struct str reason, message;

        /* What it says now is out of date already: the plan that binds a Pod writes the new
         * Sandbox's status and the claim's at the same time. */
        if (pass->sandbox->locked) {
                plan_wait(pass->plan, &kind_sandbox, pass->sandbox->meta.namespace,
                          pass->sandbox->meta.name);
                return;
        }
        message =
                claim_check(&pass->context->options, pass->claim, NULL, pass->plan->arena, &reason);
        if (message.length) {
                claim_refuse(pass->plan, pass->seen, pass->entry, reason, message);
                return;
        }
        plan_metadata(pass);
        claim_status_of_sandbox(pass->sandbox, &status);
        if (!may_wait(pass, &status))
                claim_status_patch(pass->plan, pass->seen, pass->entry, &status, ACTION_NONE);
}

/*
 * A second Sandbox of one claim comes of a write that arrived after its leader was deposed. The one
 * that the status names is the claim's; nobody was ever told of the other.
 */
static void plan_extras(struct claim_pass *pass)
{
        if (pass->claim->sandbox_name.length == 0)
                return;
        cache_for_each_owned(it, pass->seen->cache, &kind_sandbox, pass->entry->meta.uid)
        {
                if (str_equal(it.entry->meta.name, pass->claim->sandbox_name) ||
                    !controlled_by_uid(it.entry, pass->entry->meta.uid) ||
                    object_meta_is_deleting(&it.entry->meta) ||
                    !str_equal(it.entry->meta.namespace, pass->entry->meta.namespace))
                        continue;
                plan_note(pass->plan, "Sandbox %.*s is one too many",
                          STR_FORMAT(it.entry->meta.name));
                plan_delete(pass->plan, &kind_sandbox, &it.entry->meta, EXPECT_VERSION,
                            PROPAGATION_BACKGROUND, -1, ACTION_NONE);
        }
}

void sandbox_claim_plan(const struct view *seen, struct plan *plan)
{
        struct claim_pass pass = {
                .seen = seen,
                .plan = plan,
                .context = seen->context,
                .entry = cache_get(seen->cache, &kind_sandbox_claim, seen->namespace, seen->name),
        };
        uint64_t expiry;

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta))
                return;
        pass.claim = pass.entry->typed;
        pass.sandbox = claim_sandbox(seen, pass.entry);
        expiry = claim_expiry(pass.claim);
        if (expiry && seen->now.realtime_ns >= expiry) {
                plan_expired(&pass);
                return;
        }
        if (expiry)
                plan_come_back(plan, expiry);
        plan_extras(&pass);
        if (pass.sandbox && (pass.claim->sandbox_name.length == 0 ||
                             str_equal(pass.claim->sandbox_name, pass.sandbox->meta.name)))
                plan_bound(&pass);
        else if (pass.claim->sandbox_name.length)
                tell_missing(&pass);
}

void sandbox_claim_map(struct controllers *set, const struct controller *controller,
                       const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        struct owner_reference owner;

        if (entry->kind == &kind_sandbox_claim) {
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
                return;
        }
        if (before && controlled_by_kind(&before->meta, &kind_sandbox_claim, &owner))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
        if (after && controlled_by_kind(&after->meta, &kind_sandbox_claim, &owner))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
}
