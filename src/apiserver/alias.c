// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/alias.h"

#include <errno.h>

#include "apiserver/registry_internal.h"
#include "kinds/convert.h"
#include "json/edit.h"
#include "json/writer.h"

/* ---- Events ---- */

/* core/v1, events.k8s.io/v1 (k8s.io/kubernetes pkg/apis/events/v1/conversion.go) */
static const struct str event_words[][2] = {
        { STR("involvedObject"), STR("regarding") },
        { STR("message"), STR("note") },
        { STR("source"), STR("deprecatedSource") },
        { STR("firstTimestamp"), STR("deprecatedFirstTimestamp") },
        { STR("lastTimestamp"), STR("deprecatedLastTimestamp") },
        { STR("count"), STR("deprecatedCount") },
        { STR("reportingComponent"), STR("reportingController") },
};

static struct str translate(struct str word, bool to_core)
{
        for (size_t i = 0; i < ARRAY_SIZE(event_words); i++) {
                if (str_equal(word, event_words[i][to_core ? 1 : 0]))
                        return event_words[i][to_core ? 0 : 1];
        }
        return word;
}

static int convert_event(struct json_doc *doc, bool to_core, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;
        int r;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_for_each (it, json_root(doc)) {
                if (str_equal(it.key, STR("apiVersion")))
                        json_field_string(&writer, "apiVersion",
                                          to_core ? STR("v1") : STR("events.k8s.io/v1"));
                else {
                        json_key(&writer, translate(it.key, to_core));
                        json_write_value(&writer, it.value);
                }
        }
        json_end_object(&writer);
        r = json_writer_finish(&writer);
        return r < 0 ? r : json_doc_from_buffer(&text, ret_doc);
}

static int event_to_core(struct json_doc *doc, uint64_t now_ns _unused_,
                         struct error *error _unused_, struct json_doc **ret_doc)
{
        return convert_event(doc, true, ret_doc);
}

static int event_from_core(struct json_doc *doc, struct json_doc **ret_doc)
{
        return convert_event(doc, false, ret_doc);
}

static struct str event_field(struct str path, struct arena *arena)
{
        struct str head, tail;

        if (!str_cut(path, '.', &head, &tail))
                return translate(path, true);
        head = translate(head, true);
        return arena_printf(arena, "%.*s.%.*s", STR_FORMAT(head), STR_FORMAT(tail));
}

/* ---- the dialect of some guides ---- */

static int present_dialect(struct json_doc *doc, struct json_doc **ret_doc)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;

        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/apiVersion", STR("agents.x-k8s.io/v1alpha1"));
        return json_edit_apply(&edit, ret_doc);
}

#define AGENTS     STR("agents.x-k8s.io")
#define EXTENSIONS STR("extensions.agents.x-k8s.io")

static const struct api_alias aliases[] = {
        {
                .group = STR("events.k8s.io"),
                .version = STR("v1"),
                .plural = STR("events"),
                .target_group = STR(""),
                .target_version = STR("v1"),
                .to_target = event_to_core,
                .from_target = event_from_core,
                .target_field = event_field,
        },
        {
                .group = AGENTS,
                .version = STR("v1alpha1"),
                .plural = STR("sandboxtemplates"),
                .target_group = EXTENSIONS,
                .target_version = STR("v1alpha1"),
                .made = true,
                .to_target = kind_adopt_dialect,
                .from_target = present_dialect,
        },
        {
                .group = AGENTS,
                .version = STR("v1alpha1"),
                .plural = STR("sandboxclaims"),
                .target_group = EXTENSIONS,
                .target_version = STR("v1alpha1"),
                .made = true,
                .to_target = kind_adopt_dialect,
                .from_target = present_dialect,
        },
};

const struct api_alias *alias_find(struct str group, struct str plural)
{
        for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
                if (str_equal(aliases[i].plural, plural) && str_equal(aliases[i].group, group))
                        return &aliases[i];
        }
        return NULL;
}

/* An entry like the target's, with the alias's group and version and no schema of its own. */
static int make_entry(struct registry *registry, const struct api_alias *alias,
                      const struct api_resource *target)
{
        struct api_resource *entry = registry_entry_new(target->source);
        struct api_version *version;

        if (!entry)
                return -ENOMEM;
        version = arena_new(&entry->arena, struct api_version, 1);
        if (!version) {
                api_resource_unref(entry);
                return -ENOMEM;
        }
        entry->group = alias->group;
        entry->plural = target->plural;
        entry->singular = target->singular;
        entry->kind = target->kind;
        entry->list_kind = target->list_kind;
        entry->namespaced = target->namespaced;
        entry->custom = true;
        entry->built_in = true;
        entry->verbs = target->verbs;
        *version = *api_resource_version(target, alias->target_version);
        version->schema = NULL;
        version->openapi = (struct json_value){};
        version->prunes = false;
        version->subresource_count = 0;
        entry->versions = entry->storage_version = version;
        entry->version_count = 1;
        entry->storage = target->storage;
        entry->target = target;
        entry->alias = alias;
        registry_put(registry, entry);
        return 0;
}

int aliases_add(struct registry *registry)
{
        for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
                const struct api_alias *alias = &aliases[i];
                const struct api_resource *target =
                        registry_find(registry, alias->target_group, alias->plural);
                struct api_resource *entry;
                int r;

                assert(target);
                if (alias->made) {
                        r = make_entry(registry, alias, target);
                        if (r < 0)
                                return r;
                        continue;
                }
                entry = (struct api_resource *)(uintptr_t)registry_find(registry, alias->group,
                                                                        alias->plural);
                assert(entry);
                entry->storage = target->storage;
                entry->target = target;
                entry->alias = alias;
        }
        return 0;
}
