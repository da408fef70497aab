// SPDX-License-Identifier: Apache-2.0
#include "node/policy_set.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/limit.h"
#include "base/list.h"
#include "kinds/kind.h"
#include "kinds/names.h"
#include "kube/meta.h"
#include "node/network_policy.h"

enum { RULES_AT_ONCE = 2000, RULES_REPLACED = 8000, UID_SIZE = 64, KEY_SIZE = 2 * LIMIT_NAME + 2 };

#define SYSTEM_NAMESPACE STR("agent-sandbox-system")
#define LABEL_APP        STR("app")
#define APP_ROUTER       STR("sandbox-router")

/* Without holes, as it is hashed. */
struct rule_key {
        uint32_t source, destination, protocol;
        uint16_t first, last;
};

struct rule {
        struct rule_key key;
        struct list in_source, in_destination; /* of Pods; a rule that is not wanted is in none */
        struct list in_changed;                /* while is_wanted and is_in_force differ */
        bool is_wanted, is_in_force;
        bool is_fresh; /* found again by the reckoning under way */
        UT_hash_handle hh;
};

struct set_pod {
        struct json_doc *doc;
        struct network_pod seen;
        bool is_router, is_sandbox;
        bool may_send;              /* to some Pod, perhaps */
        bool is_due;                /* to be reckoned anew */
        struct list sent, received; /* rules */
        struct list in_senders;     /* while it may send */
        UT_hash_handle hh;
        char uid[UID_SIZE];
};

struct set_policy {
        struct network_policy *policy;
        UT_hash_handle hh;
        char key[KEY_SIZE]; /* namespace "/" name */
};

struct set_namespace {
        struct json_doc *doc;
        UT_hash_handle hh;
        char name[LIMIT_NAME + 1];
};

struct policy_set {
        struct policy_set_options options;
        struct set_pod *pods;
        struct set_policy *policies;
        struct set_namespace *name_spaces;
        struct rule *rules;
        struct list changed;
        struct list senders; /* the few Pods that may send: the others need not be looked at */
        size_t wanted;
};

int policy_set_new(const struct policy_set_options *options, struct policy_set **ret_set)
{
        struct policy_set *set = calloc(1, sizeof(*set));

        if (!set)
                return -ENOMEM;
        set->options = *options;
        set->options.network &= options->mask;
        list_init(&set->changed);
        list_init(&set->senders);
        *ret_set = set;
        return 0;
}

/* ---- rules ---- */

static void note_change(struct policy_set *set, struct rule *rule)
{
        list_remove(&rule->in_changed);
        if (rule->is_wanted != rule->is_in_force) {
                list_append(&set->changed, &rule->in_changed);
        } else if (!rule->is_wanted) {
                HASH_DELETE(hh, set->rules, rule);
                free(rule);
        }
}

static void drop_rule(struct policy_set *set, struct rule *rule)
{
        list_remove(&rule->in_source);
        list_remove(&rule->in_destination);
        rule->is_wanted = false;
        set->wanted--;
        note_change(set, rule);
}

/* `destination` is NULL for the API. */
static int want_rule(struct policy_set *set, const struct rule_key *key, struct set_pod *source,
                     struct set_pod *destination)
{
        struct rule *rule;

        HASH_FIND(hh, set->rules, key, sizeof(*key), rule);
        if (!rule) {
                rule = calloc(1, sizeof(*rule));
                if (!rule)
                        return -ENOMEM;
                rule->key = *key;
                list_init(&rule->in_source);
                list_init(&rule->in_destination);
                list_init(&rule->in_changed);
                HASH_ADD(hh, set->rules, key, sizeof(rule->key), rule);
        }
        rule->is_fresh = true;
        if (rule->is_wanted)
                return 0;
        rule->is_wanted = true;
        set->wanted++;
        list_append(&source->sent, &rule->in_source);
        if (destination)
                list_append(&destination->received, &rule->in_destination);
        note_change(set, rule);
        return 0;
}

static void drop_rules(struct policy_set *set, struct set_pod *pod)
{
        struct rule *rule;

        list_for_each (rule, &pod->sent, in_source)
                drop_rule(set, rule);
        list_for_each (rule, &pod->received, in_destination)
                drop_rule(set, rule);
}

/* ---- what is allowed ---- */

/* Adds what policies allow; returns whether there is one for this direction. */
static bool ask_policies(const struct policy_set *set, enum network_direction direction,
                         const struct set_pod *pod, const struct set_pod *peer,
                         struct port_ranges *ranges)
{
        struct set_policy *policy, *next;
        bool is_selected = false;

        HASH_ITER (hh, set->policies, policy, next) {
                if (!network_policy_selects(policy->policy, direction, &pod->seen))
                        continue;
                is_selected = true;
                network_policy_allow(policy->policy, direction, &pod->seen, &peer->seen, ranges);
        }
        return is_selected;
}

static bool is_admitted_router(const struct set_pod *source, const struct set_pod *destination)
{
        return source->is_router && destination->is_sandbox &&
               (str_equal(source->seen.name_space, destination->seen.name_space) ||
                str_equal(source->seen.name_space, SYSTEM_NAMESPACE));
}

static void allowed_between(const struct policy_set *set, const struct set_pod *source,
                            const struct set_pod *destination, struct port_ranges *ret_ranges)
{
        struct port_ranges sent = {}, received = {};

        *ret_ranges = (struct port_ranges){};
        if (!ask_policies(set, NETWORK_EGRESS, source, destination, &sent) && source->is_router)
                port_ranges_add_all(&sent);
        if (sent.count == 0)
                return;
        if (!ask_policies(set, NETWORK_INGRESS, destination, source, &received) &&
            is_admitted_router(source, destination))
                port_ranges_add_all(&received);
        port_ranges_intersect(&sent, &received, ret_ranges);
}

static int reckon_pair(struct policy_set *set, struct set_pod *source, struct set_pod *destination)
{
        struct port_ranges ranges;
        int r = 0;

        if (source == destination || !source->may_send || source->seen.address == 0 ||
            destination->seen.address == 0)
                return 0;
        allowed_between(set, source, destination, &ranges);
        for (size_t i = 0; i < ranges.count && r >= 0; i++) {
                const struct rule_key key = { .source = source->seen.address,
                                              .destination = destination->seen.address,
                                              .protocol = ranges.items[i].protocol,
                                              .first = ranges.items[i].first,
                                              .last = ranges.items[i].last };
                r = want_rule(set, &key, source, destination);
        }
        return r;
}

/* Whether a policy is about what the Pod sends; *ret_names_pods: whether it may reach Pods. */
static bool has_egress_policy(const struct policy_set *set, const struct set_pod *pod,
                              bool *ret_names_pods)
{
        struct set_policy *policy, *next;
        bool is_selected = false;

        *ret_names_pods = false;
        HASH_ITER (hh, set->policies, policy, next) {
                if (!network_policy_selects(policy->policy, NETWORK_EGRESS, &pod->seen))
                        continue;
                is_selected = true;
                *ret_names_pods |= network_policy_names_pods(policy->policy, NETWORK_EGRESS);
        }
        return is_selected;
}

static int reckon_api(struct policy_set *set, struct set_pod *pod)
{
        const struct rule_key key = { .source = pod->seen.address,
                                      .destination = set->options.api_address,
                                      .protocol = IPPROTO_TCP,
                                      .first = set->options.api_port,
                                      .last = set->options.api_port };

        return want_rule(set, &key, pod, NULL);
}

/* Reckons anew what the Pod may reach and who may reach it. */
static int reckon_pod(struct policy_set *set, struct set_pod *pod)
{
        struct set_pod *other, *next;
        struct rule *rule;
        bool names_pods;
        int r = 0;

        list_for_each (rule, &pod->sent, in_source)
                rule->is_fresh = false;
        list_for_each (rule, &pod->received, in_destination)
                rule->is_fresh = false;
        bool is_selected = has_egress_policy(set, pod, &names_pods);
        pod->may_send = is_selected ? names_pods : pod->is_router;
        list_remove(&pod->in_senders);
        if (pod->may_send) {
                list_append(&set->senders, &pod->in_senders);
                HASH_ITER (hh, set->pods, other, next) {
                        if (r >= 0)
                                r = reckon_pair(set, pod, other);
                }
        }
        list_for_each (other, &set->senders, in_senders) {
                if (r >= 0)
                        r = reckon_pair(set, other, pod);
        }
        if (r >= 0 && pod->is_router && !is_selected && pod->seen.address != 0 &&
            set->options.api_address != 0)
                r = reckon_api(set, pod);
        list_for_each (rule, &pod->sent, in_source)
                if (!rule->is_fresh)
                        drop_rule(set, rule);
        list_for_each (rule, &pod->received, in_destination)
                if (!rule->is_fresh)
                        drop_rule(set, rule);
        return r;
}

static void note_selected(struct policy_set *set, const struct network_policy *policy)
{
        struct set_pod *pod, *next;

        HASH_ITER (hh, set->pods, pod, next)
                pod->is_due |= network_policy_selects(policy, NETWORK_INGRESS, &pod->seen) ||
                               network_policy_selects(policy, NETWORK_EGRESS, &pod->seen);
}

static int reckon_due(struct policy_set *set)
{
        struct set_pod *pod, *next;
        int r = 0;

        HASH_ITER (hh, set->pods, pod, next) {
                if (!pod->is_due)
                        continue;
                pod->is_due = false;
                int result = reckon_pod(set, pod);
                r = r < 0 ? r : result;
        }
        return r;
}

/* ---- policies ---- */

static bool is_of_template(const struct object_meta *meta)
{
        struct owner_reference owner;

        return object_meta_controller(meta, &owner) && str_equal(owner.group, GROUP_EXTENSIONS) &&
               str_equal(owner.kind, kind_sandbox_template.kind);
}

static bool make_key(struct str name_space, struct str name, char key[static KEY_SIZE])
{
        if (name_space.length > LIMIT_NAME || name.length > LIMIT_NAME)
                return false;
        snprintf(key, KEY_SIZE, "%.*s/%.*s", STR_FORMAT(name_space), STR_FORMAT(name));
        return true;
}

static void free_policy(struct policy_set *set, struct set_policy *policy)
{
        HASH_DELETE(hh, set->policies, policy);
        network_policy_free(policy->policy);
        free(policy);
}

/* Takes it out; those whom it selected are due. */
static void forget_policy(struct policy_set *set, struct str name_space, struct str name)
{
        struct set_policy *policy = NULL;
        char key[KEY_SIZE];

        if (make_key(name_space, name, key))
                HASH_FIND_STR(set->policies, key, policy);
        if (!policy)
                return;
        note_selected(set, policy->policy);
        free_policy(set, policy);
}

void policy_set_remove_policy(struct policy_set *set, struct str name_space, struct str name)
{
        forget_policy(set, name_space, name);
        (void)reckon_due(set);
}

/* What is not understood must not count as absent: that would be more open. */
static int read_closed(struct json_doc *doc, const struct policy_set *set,
                       struct network_policy **ret_policy)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *closed = NULL;
        struct json_value root = json_root(doc);

        int r = buffer_printf(&text,
                              "{\"metadata\":%.*s,\"spec\":{\"podSelector\":%.*s,"
                              "\"policyTypes\":[\"Ingress\",\"Egress\"]}}",
                              STR_FORMAT(json_text(json_get(root, "metadata"))),
                              STR_FORMAT(json_text(json_get(root, "spec", "podSelector"))));
        if (r >= 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &closed);
        if (r >= 0)
                r = network_policy_read(closed, set->options.network, set->options.mask, NULL,
                                        ret_policy);
        return r;
}

int policy_set_put_policy(struct policy_set *set, struct json_doc *doc, struct error *error)
{
        struct network_policy *read;
        struct object_meta meta;
        char key[KEY_SIZE];

        object_meta_read(json_root(doc), &meta);
        forget_policy(set, meta.namespace, meta.name);
        if (!is_of_template(&meta) || !make_key(meta.namespace, meta.name, key)) {
                int r = reckon_due(set);
                return r < 0 ? r : 1;
        }
        int r = network_policy_read(doc, set->options.network, set->options.mask, error, &read);
        int result = r;
        if (r == -EINVAL)
                r = read_closed(doc, set, &read);
        struct set_policy *policy = r >= 0 ? calloc(1, sizeof(*policy)) : NULL;
        if (policy) {
                policy->policy = read;
                memcpy(policy->key, key, sizeof(key));
                HASH_ADD_STR(set->policies, key, policy);
                note_selected(set, read);
        } else if (r >= 0) {
                network_policy_free(read);
                result = -ENOMEM;
        }
        r = reckon_due(set);
        return result < 0 ? result : r;
}

/* ---- namespaces ---- */

static struct set_namespace *find_namespace(const struct policy_set *set, struct str name)
{
        struct set_namespace *found;

        HASH_FIND(hh, set->name_spaces, name.data, (unsigned)name.length, found);
        return found;
}

static struct json_value labels_of_namespace(const struct policy_set *set, struct str name)
{
        const struct set_namespace *found = find_namespace(set, name);

        return found ? json_get(json_root(found->doc), "metadata", "labels")
                     : (struct json_value){};
}

static int relabel_namespace(struct policy_set *set, struct str name)
{
        struct json_value labels = labels_of_namespace(set, name);
        struct set_pod *pod, *next;

        HASH_ITER (hh, set->pods, pod, next) {
                if (!str_equal(pod->seen.name_space, name))
                        continue;
                pod->seen.name_space_labels = labels;
                pod->is_due = true;
        }
        return reckon_due(set);
}

int policy_set_put_namespace(struct policy_set *set, struct json_doc *doc)
{
        struct json_value labels = json_get(json_root(doc), "metadata", "labels");
        struct str name = json_string(json_get(json_root(doc), "metadata", "name"));
        struct set_namespace *found = find_namespace(set, name);

        if (name.length == 0 || name.length > LIMIT_NAME)
                return 0;
        if (!found) {
                found = calloc(1, sizeof(*found));
                if (!found)
                        return -ENOMEM;
                memcpy(found->name, name.data, name.length);
                HASH_ADD_STR(set->name_spaces, name, found);
        } else if (str_equal(json_text(labels), json_text(labels_of_namespace(set, name)))) {
                return 0;
        }
        struct json_doc *old = found->doc;
        found->doc = json_doc_ref(doc);
        int r = relabel_namespace(set, name);
        if (old)
                json_doc_unref(old);
        return r;
}

void policy_set_remove_namespace(struct policy_set *set, struct str name)
{
        struct set_namespace *found = find_namespace(set, name);

        if (!found)
                return;
        HASH_DELETE(hh, set->name_spaces, found);
        (void)relabel_namespace(set, str_from(found->name));
        json_doc_unref(found->doc);
        free(found);
}

/* ---- Pods ---- */

static struct set_pod *find_pod(const struct policy_set *set, struct str uid)
{
        struct set_pod *found;

        HASH_FIND(hh, set->pods, uid.data, (unsigned)uid.length, found);
        return found;
}

static void free_pod(struct policy_set *set, struct set_pod *pod)
{
        drop_rules(set, pod);
        list_remove(&pod->in_senders);
        HASH_DELETE(hh, set->pods, pod);
        json_doc_unref(pod->doc);
        free(pod);
}

void policy_set_remove_pod(struct policy_set *set, struct str uid)
{
        struct set_pod *pod = find_pod(set, uid);

        if (pod)
                free_pod(set, pod);
}

static bool has_label(struct json_value labels, struct str key)
{
        return json_exists(json_member(labels, key));
}

static void fill_pod(const struct policy_set *set, struct set_pod *pod,
                     const struct object_meta *meta, uint32_t address)
{
        pod->seen = (struct network_pod){
                .name_space = meta->namespace,
                .labels = meta->labels,
                .name_space_labels = labels_of_namespace(set, meta->namespace),
                .spec = json_get(json_root(pod->doc), "spec"),
                .address = address,
        };
        pod->is_sandbox = has_label(meta->labels, LABEL_NAME_HASH) ||
                          has_label(meta->labels, LABEL_POOL) ||
                          has_label(meta->labels, LABEL_WARM_POOL);
        pod->is_router = !pod->is_sandbox &&
                         json_string_is(json_member(meta->labels, LABEL_APP), APP_ROUTER);
}

int policy_set_put_pod(struct policy_set *set, struct json_doc *doc, uint32_t address)
{
        struct object_meta meta;

        object_meta_read(json_root(doc), &meta);
        struct set_pod *pod = find_pod(set, meta.uid);
        if (meta.uid.length == 0 || meta.uid.length >= UID_SIZE)
                return 0;
        bool is_same = pod && pod->seen.address == address &&
                       str_equal(json_text(pod->seen.labels), json_text(meta.labels));
        if (pod && pod->doc == doc && is_same)
                return 0;
        if (pod && pod->seen.address != address)
                drop_rules(set, pod);
        if (!pod) {
                pod = calloc(1, sizeof(*pod));
                if (!pod)
                        return -ENOMEM;
                list_init(&pod->sent);
                list_init(&pod->received);
                list_init(&pod->in_senders);
                memcpy(pod->uid, meta.uid.data, meta.uid.length);
                HASH_ADD_STR(set->pods, uid, pod);
        }
        struct json_doc *old = pod->doc;
        pod->doc = json_doc_ref(doc);
        fill_pod(set, pod, &meta, address);
        if (old)
                json_doc_unref(old);
        return is_same ? 0 : reckon_pod(set, pod);
}

void policy_set_free(struct policy_set *set)
{
        struct set_namespace *name_space, *next_namespace;
        struct set_policy *policy, *next_policy;
        struct set_pod *pod, *next_pod;
        struct rule *rule, *next_rule;

        if (!set)
                return;
        HASH_ITER (hh, set->pods, pod, next_pod)
                free_pod(set, pod);
        HASH_ITER (hh, set->policies, policy, next_policy)
                free_policy(set, policy);
        HASH_ITER (hh, set->name_spaces, name_space, next_namespace) {
                HASH_DELETE(hh, set->name_spaces, name_space);
                json_doc_unref(name_space->doc);
                free(name_space);
        }
        HASH_ITER (hh, set->rules, rule, next_rule) {
                HASH_DELETE(hh, set->rules, rule);
                free(rule);
        }
        free(set);
}

/* ---- putting into force ---- */

static struct policy_rule rule_of(const struct rule *rule)
{
        return (struct policy_rule){ .source_first = rule->key.source,
                                     .source_last = rule->key.source,
                                     .destination_first = rule->key.destination,
                                     .destination_last = rule->key.destination,
                                     .port_first = rule->key.first,
                                     .port_last = rule->key.last,
                                     .protocol = (uint8_t)rule->key.protocol };
}

bool policy_set_is_dirty(const struct policy_set *set)
{
        return !list_is_empty(&set->changed);
}

size_t policy_set_count(const struct policy_set *set)
{
        return set->wanted;
}

struct batch {
        struct policy_rule *rules; /* removed ones from the front, added ones from the back */
        struct rule **from;
        size_t removed, added;
};

static void fill_batch(struct policy_set *set, struct batch *batch)
{
        struct rule *rule;

        batch->removed = batch->added = 0;
        for (int wanted = 0; wanted <= 1; wanted++) {
                list_for_each (rule, &set->changed, in_changed) {
                        if (rule->is_wanted != wanted ||
                            batch->removed + batch->added == RULES_AT_ONCE)
                                continue;
                        size_t place = wanted ? RULES_AT_ONCE - ++batch->added : batch->removed++;
                        batch->rules[place] = rule_of(rule);
                        batch->from[place] = rule;
                }
        }
}

static void settle_batch(struct policy_set *set, const struct batch *batch)
{
        for (size_t i = 0; i < batch->removed; i++) {
                batch->from[i]->is_in_force = false;
                note_change(set, batch->from[i]);
        }
        for (size_t i = 1; i <= batch->added; i++) {
                batch->from[RULES_AT_ONCE - i]->is_in_force = true;
                note_change(set, batch->from[RULES_AT_ONCE - i]);
        }
}

int policy_set_apply(struct policy_set *set, const struct policy_sink *sink)
{
        struct batch batch = {};
        int r = 0;

        if (list_is_empty(&set->changed))
                return 0;
        batch.rules = calloc(RULES_AT_ONCE, sizeof(*batch.rules));
        batch.from = calloc(RULES_AT_ONCE, sizeof(struct rule *));
        if (!batch.rules || !batch.from)
                r = -ENOMEM;
        while (r >= 0 && !list_is_empty(&set->changed)) {
                fill_batch(set, &batch);
                r = sink->change(sink->user, batch.rules, batch.removed,
                                 batch.rules + RULES_AT_ONCE - batch.added, batch.added);
                if (r >= 0)
                        settle_batch(set, &batch);
        }
        free(batch.rules);
        free(batch.from);
        return r;
}

int policy_set_apply_all(struct policy_set *set, const struct policy_sink *sink)
{
        struct policy_rule *rules = calloc(RULES_REPLACED, sizeof(*rules));
        struct rule *rule, *next;
        size_t count = 0;

        if (!rules)
                return -ENOMEM;
        HASH_ITER (hh, set->rules, rule, next)
                if (rule->is_wanted && count < RULES_REPLACED)
                        rules[count++] = rule_of(rule);
        int r = sink->replace(sink->user, rules, count);
        free(rules);
        if (r < 0)
                return r;
        count = 0;
        HASH_ITER (hh, set->rules, rule, next) {
                rule->is_in_force = rule->is_wanted && count++ < RULES_REPLACED;
                note_change(set, rule);
        }
        return policy_set_apply(set, sink);
}
