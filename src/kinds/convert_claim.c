// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kinds/convert_internal.h"

#define SHADOW "shadow-pool-"

/* Where a v1alpha1 claim wants its sandbox from. */
struct source {
        struct str template; /* spec.sandboxTemplateRef.name */
        struct str warmpool; /* spec.warmpool: "default", "none", a pool's name; */
        bool has_warmpool;   /* or left out */
};

/* What the rules look at besides the spec. */
struct claim_names {
        struct str claim, sandbox;
};

static struct claim_names read_names(const struct conversion *conversion, bool in_hub)
{
        struct json_value sandbox = json_get(conversion->status, "sandbox");
        struct json_value old = in_hub ? (struct json_value){} : json_get(sandbox, "Name");

        return (struct claim_names){
                .claim = json_string(json_get(conversion->metadata, "name")),
                .sandbox = json_string_or(json_get(sandbox, "name"), json_string(old)),
        };
}

static struct source read_source(struct json_value spec)
{
        struct json_value warmpool = json_get(spec, "warmpool");

        return (struct source){
                .template = json_string(json_get(spec, "sandboxTemplateRef", "name")),
                .warmpool = json_string(warmpool),
                .has_warmpool = json_type(warmpool) == JSON_STRING,
        };
}

static bool names_pool(const struct source *source)
{
        return source->warmpool.length > 0 && !str_equal(source->warmpool, STR("default")) &&
               !str_equal(source->warmpool, STR("none"));
}

static bool is_shadow_of(struct str pool, struct str template)
{
        return str_starts_with(pool, STR(SHADOW)) && str_ends_with(pool, template) &&
               pool.length == sizeof(SHADOW) - 1 + template.length;
}

/* "pool-x7k2p" → "pool": the name that a member's was generated from. */
static struct str without_suffix(struct str name)
{
        size_t i = name.length;

        while (i > 0 && name.data[i - 1] != '-')
                i--;
        return i > 0 ? str_slice(name, 0, i - 1) : name;
}

/* The pool that a source means in the hub. */
static struct str pool_of(struct conversion *conversion, const struct source *source,
                          const struct claim_names *names)
{
        struct str pool;

        if (names_pool(source))
                return source->warmpool;
        if (names->sandbox.length > 0 && !str_equal(names->sandbox, names->claim))
                return without_suffix(names->sandbox);
        pool = arena_printf(conversion->arena, SHADOW "%.*s", STR_FORMAT(source->template));
        if (!pool.data)
                conversion->edit.failure = -ENOMEM;
        return pool;
}

/* The source that a pool of the hub reads as when nothing better is known. */
static struct source source_of(struct str pool)
{
        if (str_starts_with(pool, STR(SHADOW)))
                return (struct source){ str_slice(pool, sizeof(SHADOW) - 1, pool.length),
                                        STR("default"), true };
        return (struct source){ pool, pool, true };
}

static bool source_equal(const struct source *a, const struct source *b)
{
        return str_equal(a->template, b->template) && a->has_warmpool == b->has_warmpool &&
               str_equal(a->warmpool, b->warmpool);
}

/* Whether a pool in the hub and a v1alpha1 source may be two words for one wish. `usual` is the
 * source's pool_of(). */
static bool agree(struct str pool, const struct source *source, struct str usual)
{
        struct source plain = source_of(pool);

        return str_equal(pool, usual) || source_equal(source, &plain) ||
               (!names_pool(source) && is_shadow_of(pool, source->template));
}

static void keep_source(struct conversion *conversion, const struct source *source)
{
        json_field_object(&conversion->state, "spec");
        json_field_object(&conversion->state, "sandboxTemplateRef");
        json_field_string(&conversion->state, "name", source->template);
        json_end_object(&conversion->state);
        if (source->has_warmpool)
                json_field_string(&conversion->state, "warmpool", source->warmpool);
        json_end_object(&conversion->state);
}

/* Claim templates that anybody may have written into an annotation, where no schema checks them. */
static bool is_claim_templates(struct json_value value)
{
        if (json_type(value) != JSON_ARRAY)
                return false;
        json_for_each (it, value) {
                struct json_value metadata = json_get(it.value, "metadata");
                if (!is_object(json_get(it.value, "spec")) ||
                    (is_given(metadata) && !is_object(metadata)))
                        return false;
        }
        return true;
}

static void claim_spec_to_hub(struct conversion *conversion)
{
        struct json_value kept = json_get(conversion->kept, "spec");
        struct json_value kept_pool = json_get(kept, "warmPoolRef", "name");
        struct json_value kept_volumes = json_get(kept, "volumeClaimTemplates");
        struct claim_names names = read_names(conversion, false);
        struct source source = read_source(conversion->spec), plain;
        struct str pool = pool_of(conversion, &source, &names);
        struct json_edit *edit = &conversion->edit;

        if (json_type(kept_pool) == JSON_STRING && agree(json_string(kept_pool), &source, pool))
                pool = json_string(kept_pool);
        json_edit_remove(edit, "/spec/sandboxTemplateRef");
        json_edit_remove(edit, "/spec/warmpool");
        json_edit_remove(edit, "/spec/warmPoolRef");
        json_edit_set_string(edit, "/spec/warmPoolRef/name", pool);
        if (is_claim_templates(kept_volumes) &&
            !is_given(json_get(conversion->spec, "volumeClaimTemplates")))
                json_edit_set_value(edit, "/spec/volumeClaimTemplates", kept_volumes);
        plain = source_of(pool);
        if (!source_equal(&source, &plain))
                keep_source(conversion, &source);
}

/* The name of status.sandbox has a capital in v1alpha1's first release. */
static void claim_status_to_hub(struct conversion *conversion)
{
        struct json_value sandbox = json_get(conversion->status, "sandbox");
        struct json_value old = json_get(sandbox, "Name");

        if (!is_object(sandbox) || !json_exists(old))
                return;
        if (!is_given(json_get(sandbox, "name")) && json_type(old) == JSON_STRING)
                json_edit_set_value(&conversion->edit, "/status/sandbox/name", old);
        json_edit_remove(&conversion->edit, "/status/sandbox/Name");
}

void claim_to_hub(struct conversion *conversion)
{
        if (is_object(conversion->spec))
                claim_spec_to_hub(conversion);
        claim_status_to_hub(conversion);
}

/* The source that was kept, if it still agrees with the pool; else what the pool reads as. */
static struct source choose_source(struct conversion *conversion, struct str pool,
                                   const struct claim_names *names)
{
        struct json_value kept = json_get(conversion->kept, "spec");
        struct source source = read_source(kept);

        if (json_type(json_get(kept, "sandboxTemplateRef", "name")) == JSON_STRING &&
            (source.has_warmpool || !is_given(json_get(kept, "warmpool"))) &&
            agree(pool, &source, pool_of(conversion, &source, names)))
                return source;
        return source_of(pool);
}

static void claim_spec_from_hub(struct conversion *conversion)
{
        struct json_value volumes = json_get(conversion->spec, "volumeClaimTemplates");
        struct json_value reference = json_get(conversion->spec, "warmPoolRef");
        struct str pool = json_string(json_get(reference, "name"));
        struct claim_names names = read_names(conversion, true);
        struct source source = choose_source(conversion, pool, &names);
        bool keeps_pool = !str_equal(pool_of(conversion, &source, &names), pool);
        struct json_edit *edit = &conversion->edit;

        json_edit_remove(edit, "/spec/warmPoolRef");
        json_edit_remove(edit, "/spec/volumeClaimTemplates");
        json_edit_remove(edit, "/spec/sandboxTemplateRef");
        json_edit_set_string(edit, "/spec/sandboxTemplateRef/name", source.template);
        if (source.has_warmpool)
                json_edit_set_string(edit, "/spec/warmpool", source.warmpool);
        else
                json_edit_remove(edit, "/spec/warmpool");
        if (!keeps_pool && !is_given(volumes))
                return;
        json_field_object(&conversion->state, "spec");
        if (keeps_pool) {
                json_field_object(&conversion->state, "warmPoolRef");
                json_field_string(&conversion->state, "name", pool);
                json_end_object(&conversion->state);
        }
        if (is_given(volumes))
                json_field_value(&conversion->state, "volumeClaimTemplates", volumes);
        json_end_object(&conversion->state);
}

static void claim_status_from_hub(struct conversion *conversion)
{
        struct json_value sandbox = json_get(conversion->status, "sandbox");
        struct json_value name = json_get(sandbox, "name");

        if (!is_object(sandbox))
                return;
        if (json_type(name) == JSON_STRING)
                json_edit_set_value(&conversion->edit, "/status/sandbox/Name", name);
        else
                json_edit_remove(&conversion->edit, "/status/sandbox/Name");
}

void claim_from_hub(struct conversion *conversion)
{
        if (is_object(conversion->spec))
                claim_spec_from_hub(conversion);
        claim_status_from_hub(conversion);
}
