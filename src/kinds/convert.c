// SPDX-License-Identifier: Apache-2.0
#include "kinds/convert.h"

#include <errno.h>

#include "base/limit.h"
#include "kinds/convert_internal.h"
#include "kube/meta.h"

struct converter {
        const struct kind *kind;
        struct str alpha_key, beta_key; /* annotations with the state of each version */
        const char *alpha_pointer, *beta_pointer;
        void (*to_hub)(struct conversion *conversion);
        void (*from_hub)(struct conversion *conversion);
};

#define STATE_KEY(version, name)                                                                   \
        {                                                                                          \
                "api.agents.x-k8s.io/" version "-" name "-state",                                  \
                        sizeof("api.agents.x-k8s.io/" version "-" name "-state") - 1               \
        }
#define CONVERTER(ours, name, prefix)                                                              \
        {                                                                                          \
                .kind = &ours, .alpha_key = STATE_KEY("v1alpha1", name),                           \
                .beta_key = STATE_KEY("v1beta1", name),                                            \
                .alpha_pointer =                                                                   \
                        "/metadata/annotations/api.agents.x-k8s.io~1v1alpha1-" name "-state",      \
                .beta_pointer =                                                                    \
                        "/metadata/annotations/api.agents.x-k8s.io~1v1beta1-" name "-state",       \
                .to_hub = prefix##_to_hub, .from_hub = prefix##_from_hub                           \
        }
static const struct converter converters[] = {
        CONVERTER(kind_sandbox, "sandbox", sandbox),
        CONVERTER(kind_sandbox_claim, "sandboxclaim", claim),
        CONVERTER(kind_sandbox_template, "sandboxtemplate", template),
        CONVERTER(kind_sandbox_warm_pool, "sandboxwarmpool", pool),
};

void conversion_set_annotation(struct conversion *conversion, struct str key, const char *pointer,
                               struct str text)
{
        if (!json_exists(json_member(conversion->annotations, key)))
                conversion->annotation_count++;
        json_edit_set_string(&conversion->edit, pointer, text);
}

void conversion_remove_annotation(struct conversion *conversion, struct str key,
                                  const char *pointer)
{
        if (!json_exists(json_member(conversion->annotations, key)))
                return;
        conversion->annotation_count--;
        conversion->annotation_removed = true;
        json_edit_remove(&conversion->edit, pointer);
}

/* What came along under `key`. Anybody may have written it: what is no object is not there. */
static int read_kept(struct conversion *conversion, struct str key, struct json_doc **ret_doc)
{
        struct json_value text = json_member(conversion->annotations, key);
        int r;

        if (json_type(text) != JSON_STRING)
                return 0;
        r = json_doc_parse(json_string(text), NULL, NULL, NULL, ret_doc);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (is_object(json_root(*ret_doc)))
                conversion->kept = json_root(*ret_doc);
        return 0;
}

static size_t annotations_size(struct json_value annotations)
{
        size_t size = 0;

        json_for_each (it, annotations)
                size += it.key.length + json_string(it.value).length;
        return size;
}

static int check_metadata(const struct conversion *conversion, struct error *error)
{
        if (is_given(conversion->metadata) && !is_object(conversion->metadata))
                return error_set(error, -EINVAL, "metadata must be an object");
        if (is_given(conversion->annotations) && !is_object(conversion->annotations))
                return error_set(error, -EINVAL, "metadata.annotations must be an object");
        return 0;
}

/* The state that was written, as an annotation, unless there is nothing to say. */
static int keep_state(struct conversion *conversion, const struct buffer *text, struct str key,
                      const char *pointer)
{
        int r;

        json_end_object(&conversion->state);
        r = json_writer_finish(&conversion->state);
        if (r < 0)
                return r;
        if (str_equal(buffer_str(text), STR("{}")))
                conversion_remove_annotation(conversion, key, pointer);
        else
                conversion_set_annotation(conversion, key, pointer, buffer_str(text));
        if (conversion->annotation_count == 0 && conversion->annotation_removed)
                json_edit_remove(&conversion->edit, "/metadata/annotations");
        return 0;
}

static int convert(const struct converter *converter, struct json_doc *doc, bool to_hub,
                   struct str api_version, struct error *error, struct json_doc **ret_doc)
{
        struct json_value root = json_root(doc);
        _cleanup_arena_ struct arena arena = {};
        struct conversion conversion = {
                .root = root,
                .metadata = json_get(root, "metadata"),
                .annotations = json_get(root, "metadata", "annotations"),
                .annotation_count = json_count(json_get(root, "metadata", "annotations")),
                .spec = json_get(root, "spec"),
                .status = json_get(root, "status"),
                .arena = &arena,
        };
        struct str kept_key = to_hub ? converter->beta_key : converter->alpha_key;
        struct str new_key = to_hub ? converter->alpha_key : converter->beta_key;
        const char *kept_pointer = to_hub ? converter->beta_pointer : converter->alpha_pointer;
        const char *new_pointer = to_hub ? converter->alpha_pointer : converter->beta_pointer;
        _cleanup_doc_ struct json_doc *kept = NULL, *converted = NULL;
        _cleanup_buffer_ struct buffer text = {};
        int r;

        r = check_metadata(&conversion, error);
        if (r == 0)
                r = read_kept(&conversion, kept_key, &kept);
        if (r < 0)
                return r;
        json_edit_init(&conversion.edit, doc, &arena);
        json_writer_init(&conversion.state, &text);
        json_begin_object(&conversion.state);
        json_edit_set_string(&conversion.edit, "/apiVersion", api_version);
        conversion_remove_annotation(&conversion, kept_key, kept_pointer);
        (to_hub ? converter->to_hub : converter->from_hub)(&conversion);
        r = keep_state(&conversion, &text, new_key, new_pointer);
        if (r == 0)
                r = json_edit_apply(&conversion.edit, &converted);
        if (r < 0)
                return r;
        if (to_hub && annotations_size(json_get(json_root(converted), "metadata", "annotations")) >
                              LIMIT_ANNOTATIONS)
                return error_set(error, -E2BIG,
                                 "metadata.annotations would have more than %d bytes with the "
                                 "v1alpha1 state that conversion keeps there",
                                 LIMIT_ANNOTATIONS);
        *ret_doc = TAKE_POINTER(converted);
        return 0;
}

int kind_convert(const struct kind *kind, struct json_doc *doc, struct str to_version,
                 struct error *error, struct json_doc **ret_doc)
{
        struct json_value root = json_root(doc);
        struct str api_version = json_string(json_get(root, "apiVersion")), group, from;
        const struct converter *converter = NULL;
        bool to_hub = str_equal(to_version, STR("v1beta1"));
        char text[128];

        api_version_split(api_version, &group, &from);
        if (!str_equal(group, kind->group) || !json_string_is(json_get(root, "kind"), kind->kind))
                return error_set(error, -EINVAL, "the object is no %.*s of group %.*s",
                                 STR_FORMAT(kind->kind), STR_FORMAT(kind->group));
        if (str_equal(from, to_version)) {
                *ret_doc = json_doc_ref(doc);
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(converters); i++) {
                if (converters[i].kind == kind)
                        converter = &converters[i];
        }
        if (!converter || !str_equal(from, to_hub ? STR("v1alpha1") : STR("v1beta1")) ||
            (!to_hub && !str_equal(to_version, STR("v1alpha1"))))
                return error_set(error, -EINVAL, "%.*s has no conversion from %.*s to %.*s",
                                 STR_FORMAT(kind->kind), STR_FORMAT(from), STR_FORMAT(to_version));

        struct kind target = *kind;
        target.version = to_version;
        return convert(converter, doc, to_hub, kind_api_version(&target, text), error, ret_doc);
}
