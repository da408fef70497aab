// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/controller.h"
#include "kinds/core.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"

/* Within this time of a start, news of its progress that changes neither Ready nor addresses is
 * held back, so that a start costs two status writes, not five. */
#define PROGRESS_HOLD_NS UINT64_C(2000000000)

/* Whether that time is not over for what was made then, and when it will be. What was made in the
 * future was made by another clock, and is not waited for. */
bool is_held_back(const struct view *seen, uint64_t creation_ns, uint64_t *ret_until_ns);

/* What every plan function here is given beside the cache. */
struct sandbox_context {
        struct sandbox_options options;
        int index_pod_name; /* Sandboxes by the Pod that their annotation names */
        int index_ready;    /* Ready pool members (Sandboxes, Pods) by their pool's uid */
        int index_unbound;  /* claims without a sandbox in their status, by pool */
        int index_template; /* pools by template */
};

struct sandbox_controllers {
        struct sandbox_context context;
        struct controller list[5];
};

/*
 * What a pool's plan must know of each of its members. The cache tells it (cache_peek()) of those
 * that a pool alone owns, so that thousands of them need not be looked at; of others it tells 0.
 */
struct member_digest {
        bool is_member; /* else nothing is known */
        bool ready, leaving;
        uint32_t template;   /* of the labels that say from which template it is */
        uint32_t created_at; /* seconds since the epoch */
};
uint64_t member_digest(const struct cache_entry *entry);
struct member_digest member_digest_read(uint64_t digest);
/* How `template` is for these hashes. */
uint32_t member_digest_template(struct str template_hash, struct str template_ref_hash);

/* The plan functions: exported for tests. */
void sandbox_plan(const struct view *seen, struct plan *plan);
void sandbox_template_plan(const struct view *seen, struct plan *plan);
void sandbox_warm_pool_plan(const struct view *seen, struct plan *plan);
void sandbox_claim_plan(const struct view *seen, struct plan *plan);
/* Key: a pool's name as claims give it, "shadow-pool-<template>" included. */
void sandbox_match_plan(const struct view *seen, struct plan *plan);

void sandbox_map(struct controllers *set, const struct controller *controller,
                 const struct cache_entry *before, const struct cache_entry *after);
void sandbox_template_map(struct controllers *set, const struct controller *controller,
                          const struct cache_entry *before, const struct cache_entry *after);
void sandbox_warm_pool_map(struct controllers *set, const struct controller *controller,
                           const struct cache_entry *before, const struct cache_entry *after);
void sandbox_claim_map(struct controllers *set, const struct controller *controller,
                       const struct cache_entry *before, const struct cache_entry *after);
void sandbox_match_map(struct controllers *set, const struct controller *controller,
                       const struct cache_entry *before, const struct cache_entry *after);

/* ---- helpers (common.c) ---- */

/* The controlling owner, if it is of this kind (any version). */
bool controlled_by_kind(const struct object_meta *meta, const struct kind *kind,
                        struct owner_reference *ret_owner);
bool controlled_by_uid(const struct cache_entry *entry, struct str uid);

/* Members of an open "metadata" object. */
void write_owner(struct json_writer *writer, const struct kind *kind,
                 const struct object_meta *owner);
/* The same for an object that the plan's action `created` makes. */
void write_created_owner(struct plan *plan, int created);

/* Lists of addresses: of strings (Sandbox, claim) or of {ip} (Pod). Written as strings. */
void write_ips(struct json_writer *writer, struct json_value ips);
bool ips_equal(struct json_value a, struct json_value b);

/* Whether an object that nobody controls may be taken: label adoptable=true or the name hash. */
bool may_adopt(const struct object_meta *meta, struct str sandbox_name);

/* ---- conditions (conditions.c) ---- */

enum { CONDITIONS_MAX = 8 };

/* The conditions that a status shall have, in order: what is not in it goes away. */
struct condition_list {
        struct json_value present;
        int64_t generation;
        uint64_t now_ns; /* realtime */
        struct condition items[CONDITIONS_MAX];
        size_t count;
};

void conditions_init(struct condition_list *list, struct json_value present, int64_t generation,
                     uint64_t now_ns);
/* Replaces or appends. The strings are borrowed until the list was written. */
void conditions_set(struct condition_list *list, struct str type, struct str status,
                    struct str reason, struct str message);
/* Takes over a present condition as it is, if there is one. */
void conditions_keep(struct condition_list *list, struct str type);
const struct condition *conditions_get(const struct condition_list *list, struct str type);
/* lastTransitionTime stays where the status does, else it is now. */
void conditions_put(const struct condition_list *list, struct json_writer *writer);
/* Whether the present ones say the same already. */
bool conditions_are_present(const struct condition_list *list);

/* ---- the Pod of a Sandbox (pod.c) ---- */

/* Whose a Pod is and what it is therefore labelled with. */
struct pod_identity {
        struct str namespace;
        struct str sandbox_name;         /* empty: a pool's bare Pod */
        const struct object_meta *owner; /* the Sandbox or pool; NULL: created_owner */
        const struct kind *owner_kind;
        int created_owner;                                 /* the action that makes the Sandbox */
        struct json_value labels, annotations;             /* of the blueprint */
        struct json_value extra_labels, extra_annotations; /* of the claim, over these */
        struct str template_ref_hash;                      /* empty: not from a template */
        struct str template_hash;                          /* bare Pods only */
        struct str pool_hash;                              /* empty unless a pool's member */
        struct str claim_uid;                              /* empty unless claimed */
        bool evictable;     /* waits in a pool: autoscalers may take it */
        bool not_evictable; /* claimed: whatever the blueprint, of upstream's pool, still says */
};

/* What the Sandbox as it is makes of its Pod. */
void pod_identity_read(const struct cache_entry *sandbox, const struct sandbox_options *options,
                       struct pod_identity *ret);

/* Creates the Pod; volumes of the claim templates replace those of the same name. */
int pod_create(struct plan *plan, const struct pod_identity *identity, struct str name,
               const struct blueprint *blueprint, int after);

/* Creates a pool's bare Pod, with secure defaults. */
int pod_create_from_template(struct plan *plan, const struct pod_identity *identity,
                             struct str name, const struct sandbox_template *template);

/* Patches the Pod's metadata to what it shall be; ACTION_NONE when it is so. With `take` the owner
 * is replaced and the Pod must be as it was seen. */
int pod_patch(struct plan *plan, const struct pod_identity *identity, const struct cache_entry *pod,
              bool take, int after);

/* ---- the status of a Sandbox (sandbox_status.c) ---- */

enum suspension { NOT_SUSPENDED, SUSPEND_TERMINATED, SUSPEND_TERMINATING, SUSPEND_NOT_OWNED };

struct sandbox_status {
        struct str name, namespace;
        bool suspended;
        enum suspension suspension;
        const struct cache_entry *pod; /* the Sandbox's, or NULL */
        bool pod_leaves;               /* it is being deleted */
        bool multiple_pods;
        bool service_required, service_exists;
        struct str error; /* joined sentences; empty: none */
        struct str fqdn;  /* of the Service */
};

/* The conditions of a living, unexpired Sandbox. `list` is initialised. */
void sandbox_status_conditions(const struct sandbox_status *status, struct condition_list *list);
/* Writes the value of "status" for a merge patch: what is not there becomes null. */
void sandbox_status_write(const struct sandbox_status *status, const struct condition_list *list,
                          struct json_writer *writer);
bool sandbox_status_ips_are(const struct sandbox_status *status, struct json_value present);
/* Whether the fields beside the conditions are already so. */
bool sandbox_status_is_present(const struct sandbox_status *status, struct json_value present);

/* ---- Services (service.c) ---- */

/* Creates the headless Service of a Sandbox. */
int service_create(struct plan *plan, struct str namespace, struct str name,
                   const struct object_meta *owner, int created_owner, struct json_value pod_spec,
                   int after);
/* Patches its ports and owner; ACTION_NONE when it is so. */
int service_patch(struct plan *plan, const struct cache_entry *service,
                  const struct object_meta *owner, struct json_value pod_spec, bool take);

/* ---- Sandboxes made from templates (member.c) ---- */

struct sandbox_origin {
        struct str namespace, name;
        const struct cache_entry *template;
        const struct cache_entry *pool;  /* NULL unless a member */
        const struct cache_entry *claim; /* NULL unless claimed */
        struct str pod_name;             /* a Pod that is taken over; empty: none */
        bool warm;
        enum generation generation;
};

/* Creates a Sandbox for a pool or a claim, with secure defaults. */
int sandbox_plan_create(struct plan *plan, const struct sandbox_origin *origin, int after);

/* Annotations of a Sandbox that come from its claim, in an open object: the trace, and which keys
 * of the Pod template's metadata are the claim's. */
void write_claim_annotations(struct json_writer *writer, const struct cache_entry *claim);
/* A member with the map's keys, comma-separated; nothing when there are none. */
void write_key_list(struct json_writer *writer, struct str annotation, struct json_value map);

/*
 * Whether a pool's member was made from something else than what the template says now; the hashes
 * are the template's. Our label tells by itself. Members that upstream's controller made have a
 * hash of another kind there: their blueprint is compared with what we would make. Of bare Pods of
 * others no more can be told than the template's name.
 */
bool member_is_stale(const struct cache_entry *member, const struct cache_entry *template,
                     struct str template_ref_hash, struct str template_hash);

/* The Pod spec of a template with secure defaults and the claim's env. Written as a value. */
void write_secure_pod_spec(struct json_writer *writer, const struct sandbox_template *template,
                           const struct sandbox_claim *claim);

/* ---- claims (claim_common.c) ---- */

/* What a claim's status shall be. */
struct claim_status {
        struct str sandbox_name;            /* empty: none yet */
        struct json_value pod_ips;          /* array, or absent */
        struct str status, reason, message; /* of Ready */
        struct json_value finished; /* the Sandbox's conditions, for Finished; absent: none */
};

/* Patches the claim's status; ACTION_NONE when it is so. */
int claim_status_patch(struct plan *plan, const struct view *seen, const struct cache_entry *claim,
                       const struct claim_status *status, int after);

/* What a claim says that has this Sandbox. */
void claim_status_of_sandbox(const struct cache_entry *sandbox, struct claim_status *ret);

/* Ready=False for this reason; what was told of a bound Sandbox stays. */
int claim_refuse(struct plan *plan, const struct view *seen, const struct cache_entry *claim,
                 struct str reason, struct str message);

/* Whether the claim asks for what it may have: empty, or a sentence and the condition's reason.
 * `template` NULL: only what does not depend on it. */
struct str claim_check(const struct sandbox_options *options, const struct sandbox_claim *claim,
                       const struct sandbox_template *template, struct arena *arena,
                       struct str *ret_reason);

/* When the claim expires (realtime); 0: never. */
uint64_t claim_expiry(const struct sandbox_claim *claim);

/* The Sandbox that the claim's uid owns; NULL if none. */
const struct cache_entry *claim_sandbox(const struct view *seen, const struct cache_entry *claim);
