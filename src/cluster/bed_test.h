// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/test.h"

#include <stdio.h>

#include "cluster/internal.h"

/* The controllers of a cluster, what they have been told, and nobody who does what they plan. */
struct bed {
        struct controllers *set;
        struct cluster_controllers *ours;
        struct executor_backend backend;
        struct cache *cache;
        unsigned version;
        uint64_t come_back_ns; /* of the last plan */
        char text[512];        /* the same, as the test wants to read it */
};

static void bed_submit(void *context _unused_, struct submission *submission _unused_)
{
        fail_msg("nothing is run");
}

static inline void list(struct bed *bed, const struct kind *kind, uint64_t version)
{
        controllers_list_begin(bed->set, kind);
        /* What there is already is younger than the list. */
        assert_int_equal(controllers_list_end(bed->set, kind, version), 0);
}

/* All kinds that controllers read are listed, without objects. */
static inline void begin(struct bed *bed)
{
        *bed = (struct bed){ .backend = { .submit = bed_submit }, .version = 10 };
        assert_int_equal(controllers_new(NULL, &bed->backend, &bed->set), 0);
        assert_int_equal(cluster_controllers_new(bed->set, NULL, &bed->ours), 0);
        bed->cache = controllers_cache(bed->set);
        for (size_t i = 0; cluster_controllers_kinds[i]; i++)
                list(bed, cluster_controllers_kinds[i], 1);
}

static inline void end(struct bed *bed)
{
        controllers_free(bed->set);
        cluster_controllers_free(bed->ours);
}
#define _cleanup_bed_ _cleanup_(end)

/* `meta` is more metadata, `rest` stands beside it; both have ' for ". The uid is "u-<name>". */
static inline void feed_with(struct bed *bed, const struct kind *kind, enum cache_event event,
                             const char *name, const char *meta, const char *rest)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        char text[768];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",%s\"uid\":\"u-%s\",\"resourceVersion\":\"%u\"%s%s}"
                 "%s%s}",
                 name, kind->namespaced ? "\"namespace\":\"n\"," : "", name, ++bed->version,
                 *meta ? "," : "", meta, *rest ? "," : "", rest);
        for (char *c = text; *c; c++) {
                if (*c == '\'')
                        *c = '"';
        }
        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        assert_true(controllers_feed(bed->set, kind, event, doc) >= 0);
}

static inline void feed(struct bed *bed, const struct kind *kind, enum cache_event event,
                        const char *name, const char *meta)
{
        feed_with(bed, kind, event, name, meta, "");
}

/* What the controller plans now for the key `name`. */
static inline void plan_now(struct bed *bed, void (*controller)(const struct view *, struct plan *),
                            struct arena *arena, const char *name, struct plan *ret_plan)
{
        struct view view = { .cache = bed->cache,
                             .name = str_from(name),
                             .now = { 1, 1 },
                             .context = &bed->ours->context };

        plan_init(ret_plan, arena, 1);
        controller(&view, ret_plan);
        assert_int_equal(ret_plan->failure, 0);
        bed->come_back_ns = ret_plan->come_back_ns;
        bed->text[0] = '\0';
}
