// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cluster/cluster.h"
#include "kinds/core.h"
#include "kube/condition.h"

struct cluster_context {
        struct cluster_options options;
        int index_namespace;  /* every object by its namespace */
        int index_pending;    /* Pods without a node, under "" */
        int index_node;       /* Pods that take room on it by their node, with how much */
        int index_name_hash;  /* Pods by the hash of their Sandbox's name */
        int index_owner_kind; /* every object by the kinds of its owners, but those of kinds_known
                               */
        int index_service; /* Services by the name hash that they select, "" if by other labels */
};

/* What index_node adds up. */
enum { ROOM_CPU, ROOM_MEMORY }; /* milli-cores, bytes */

enum { CLUSTER_CONTROLLERS_MAX = 12 };

struct cluster_controllers {
        struct cluster_context context;
        struct controller list[CLUSTER_CONTROLLERS_MAX];
};

/* Key: the uid of the object that may be garbage, or whose finalizer we serve. */
void collect_plan(const struct view *seen, struct plan *plan);
void collect_map(struct controllers *set, const struct controller *controller,
                 const struct cache_entry *before, const struct cache_entry *after);

/* Of owners of the kind it can now be told whether they are absent. */
void collect_listed(struct controllers *set, const struct controller *controller,
                    const struct kind *kind);

/* Key: a namespace's name. */
void namespace_plan(const struct view *seen, struct plan *plan);
void namespace_map(struct controllers *set, const struct controller *controller,
                   const struct cache_entry *before, const struct cache_entry *after);

/* Key: one for all Pods. */
void bind_plan(const struct view *seen, struct plan *plan);
void bind_map(struct controllers *set, const struct controller *controller,
              const struct cache_entry *before, const struct cache_entry *after);

/* Key: a namespace's name. */
void service_account_plan(const struct view *seen, struct plan *plan);
void service_account_map(struct controllers *set, const struct controller *controller,
                         const struct cache_entry *before, const struct cache_entry *after);

/* Key: a Service. */
void endpoints_plan(const struct view *seen, struct plan *plan);
void endpoints_map(struct controllers *set, const struct controller *controller,
                   const struct cache_entry *before, const struct cache_entry *after);

/* Key: a ReplicaSet. */
void replica_set_plan(const struct view *seen, struct plan *plan);
void replica_set_map(struct controllers *set, const struct controller *controller,
                     const struct cache_entry *before, const struct cache_entry *after);

/* Key: a Deployment. */
void deployment_plan(const struct view *seen, struct plan *plan);
void deployment_map(struct controllers *set, const struct controller *controller,
                    const struct cache_entry *before, const struct cache_entry *after);

/* Key: a PersistentVolumeClaim. */
void volume_claim_plan(const struct view *seen, struct plan *plan);
void volume_claim_map(struct controllers *set, const struct controller *controller,
                      const struct cache_entry *before, const struct cache_entry *after);

/* Key: a PersistentVolume's name. */
void volume_plan(const struct view *seen, struct plan *plan);
void volume_map(struct controllers *set, const struct controller *controller,
                const struct cache_entry *before, const struct cache_entry *after);

/* Key: one for all Events. */
void event_plan(const struct view *seen, struct plan *plan);
void event_map(struct controllers *set, const struct controller *controller,
               const struct cache_entry *before, const struct cache_entry *after);

/* A controlling owner, in an open metadata object. */
void write_owner_reference(struct json_writer *writer, const struct kind *kind,
                           const struct object_meta *owner);

/* Writes "finalizers" of an open metadata object, without one of them. */
void write_finalizers_without(struct json_writer *writer, const struct object_meta *meta,
                              struct str finalizer);
