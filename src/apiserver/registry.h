// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "apiserver/storage.h"
#include "base/error.h"
#include "base/list.h"
#include "base/str.h"
#include "kube/jsonpath.h"
#include "kube/schema.h"
#include "kube/table.h"
#include "json/json.h"

/*
 * The served kinds as data: Kubernetes' own from api/core-schema.json, all others from
 * CustomResourceDefinitions, ours too. Entries are immutable; a changed definition makes a new
 * entry, and calls and watches that hold the old one keep it alive by reference.
 */
struct registry;
struct api_behaviour; /* behaviour.h */
struct api_alias;     /* alias.h */
struct kind;          /* kinds/kind.h */

enum api_verb {
        API_GET = 1 << 0,
        API_LIST = 1 << 1,
        API_WATCH = 1 << 2,
        API_CREATE = 1 << 3,
        API_UPDATE = 1 << 4,
        API_PATCH = 1 << 5,
        API_DELETE = 1 << 6,
        API_DELETE_COLLECTION = 1 << 7,
};

/* "get", "deletecollection" …: as RBAC and discovery have it. */
struct str api_verb_name(enum api_verb verb);

struct api_subresource {
        struct str name;                 /* "status" */
        struct str group, version, kind; /* of what it takes: "autoscaling", "v1", "Scale" */
        unsigned verbs;
};

struct api_version {
        struct str name; /* "v1beta1" */
        bool served;
        struct str deprecation;       /* the Warning; empty: not deprecated */
        const struct schema *schema;  /* NULL: anything goes */
        struct json_value openapi;    /* the schema as data, for OpenAPI; absent: none */
        struct str definition;        /* or its name in core-schema.json */
        struct table_columns columns; /* paths are NULL where a printer writes the cell */
        bool has_status;              /* a status subresource: POST and PUT leave it alone */
        bool prunes;                  /* unknown fields are dropped */

        /* scale; NULL: none */
        const struct jsonpath *scale_spec, *scale_status, *scale_selector;
        struct str scale_spec_pointer; /* "/spec/replicas" */

        const struct api_subresource *subresources;
        size_t subresource_count;
};

struct api_resource {
        struct str group, plural, singular, kind, list_kind;
        const struct str *short_names, *categories;
        size_t short_name_count, category_count;
        bool namespaced;
        bool custom;      /* from a CRD */
        bool terminating; /* which is being deleted: no objects are made any more */
        unsigned verbs;
        const struct api_version *versions; /* most preferred first */
        size_t version_count;
        const struct api_version *storage_version;
        struct storage_type *storage; /* NULL: nothing is stored (reviews, bindings) */
        const struct api_behaviour *behaviour;
        const struct api_alias *alias;     /* alias.h; NULL: it is itself */
        const struct api_resource *target; /* of an alias: whose objects these are */
        const struct kind *kind_known; /* whom src/kinds converts; NULL: only apiVersion changes */

        /* private */
        struct list in_registry;
        struct arena arena;
        struct schema_set **schemas; /* one a version of a CRD */
        size_t schema_count;
        bool built_in;
        struct json_doc *source;
        unsigned references;
        uint32_t hash; /* of the schemas */
};

/* Makes a registry with Kubernetes' own kinds. `storage` is borrowed. */
int registry_new(struct storage *storage, struct str core_schema, struct error *error,
                 struct registry **ret_registry);
void registry_free(struct registry *registry);

/*
 * Serves what a CustomResourceDefinition says, in place of what it said before. Returns 0, -EINVAL
 * with the sentence for its condition (bad schema, names taken by another), -EPERM (one of the
 * built-in definitions, which foreign ones never narrow), -ENOMEM.
 */
int registry_add_crd(struct registry *registry, struct json_doc *crd, bool built_in,
                     struct error *error);

/* No longer serves it, unless it is built in. Returns whether it was served and is not now. */
bool registry_remove_crd(struct registry *registry, struct str group, struct str plural);

/* From now on no objects of it are made, unless it is built in. */
void registry_terminate_crd(struct registry *registry, struct str group, struct str plural);

/* NULL if there is none. The entry is borrowed until the loop turns; see below to keep it. */
const struct api_resource *registry_find(const struct registry *registry, struct str group,
                                         struct str plural);
const struct api_resource *registry_find_kind(const struct registry *registry, struct str group,
                                              struct str kind);
const struct api_version *api_resource_version(const struct api_resource *resource,
                                               struct str version);
const struct api_subresource *api_version_subresource(const struct api_version *version,
                                                      struct str name);

const struct api_resource *api_resource_ref(const struct api_resource *resource);
void api_resource_unref(const struct api_resource *resource);

/* Every resource, core ones first, then in the order of their groups' appearance. */
const struct list *registry_resources(const struct registry *registry);

/* Changes with every addition and removal: for caches of discovery and OpenAPI. */
uint64_t registry_generation(const struct registry *registry);

/* Told of the same, from within: to look at it when the loop turns. list_remove() ends it. */
struct registry_listener {
        struct list link;
        void (*changed)(struct registry_listener *listener);
};
void registry_listen(struct registry *registry, struct registry_listener *listener);

/* The definitions of core-schema.json, as data and compiled. */
struct json_value registry_definitions(const struct registry *registry);
const struct schema_set *registry_schemas(const struct registry *registry);

/* "v1" or "apps/v1", in the arena. */
struct str api_group_version(struct arena *arena, struct str group, struct str version);
