// SPDX-License-Identifier: Apache-2.0
#include "serve/conversion.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "kinds/convert.h"
#include "kinds/names.h"
#include "kube/meta.h"
#include "json/json.h"
#include "json/writer.h"

#define REVIEW_VERSION STR("apiextensions.k8s.io/v1")

enum { UID_LIMIT = 256 };

static const struct kind *const kinds[] = { &kind_sandbox, &kind_sandbox_claim,
                                            &kind_sandbox_template, &kind_sandbox_warm_pool };

struct conversion_review {
        struct json_doc *doc;
        struct str uid, group, version; /* of what is wanted */
        struct json_iterator rest;      /* of the objects */
        struct buffer converted;        /* the objects done, between commas */
        struct buffer answer;
        size_t objects;
        bool done;
        struct error refusal;
};

void conversion_review_free(struct conversion_review *review)
{
        if (!review)
                return;
        if (review->doc)
                json_doc_unref(review->doc);
        buffer_deinit(&review->converted);
        buffer_deinit(&review->answer);
        free(review);
}

/* ---- reading ---- */

static int read_review(struct conversion_review *review, struct error *error)
{
        struct json_value root = json_root(review->doc), request = json_get(root, "request");
        struct json_value uid = json_get(request, "uid");
        struct str api_version = json_string(json_get(root, "apiVersion"));

        if (!json_string_is(json_get(root, "kind"), STR("ConversionReview")) ||
            !str_equal(api_version, REVIEW_VERSION))
                return error_set(error, -EINVAL,
                                 "the body is no ConversionReview of apiextensions.k8s.io/v1");
        if (json_type(request) != JSON_OBJECT || json_string(uid).length == 0 ||
            json_string(uid).length > UID_LIMIT)
                return error_set(error, -EINVAL, "the ConversionReview has no request with a uid");
        review->uid = json_string(uid);
        api_version_split(json_string(json_get(request, "desiredAPIVersion")), &review->group,
                          &review->version);
        review->rest = json_iterate(json_get(request, "objects"));
        if (json_type(json_get(request, "objects")) != JSON_ARRAY)
                error_set(&review->refusal, -EINVAL, "the request has no array of objects");
        else if (!str_equal(review->group, GROUP_AGENTS) &&
                 !str_equal(review->group, GROUP_EXTENSIONS))
                error_set(&review->refusal, -EINVAL, "group \"%.*s\" is not converted here",
                          STR_FORMAT(review->group));
        else if (!str_equal(review->version, STR("v1alpha1")) &&
                 !str_equal(review->version, STR("v1beta1")))
                error_set(&review->refusal, -EINVAL,
                          "group %.*s has no version \"%.*s\": v1alpha1 and v1beta1 are known",
                          STR_FORMAT(review->group), STR_FORMAT(review->version));
        return 0;
}

int conversion_review_new(struct str body, struct error *error,
                          struct conversion_review **ret_review)
{
        _cleanup_conversion_review_ struct conversion_review *review = calloc(1, sizeof(*review));
        const struct json_options options = { .size_limit = LIMIT_CONVERSION };

        if (!review)
                return error_set(error, -ENOMEM, "out of memory");
        int r = json_doc_parse(body, &options, NULL, error, &review->doc);
        if (r == 0)
                r = read_review(review, error);
        if (r < 0)
                return r;
        *ret_review = TAKE_POINTER(review);
        return 0;
}

/* ---- converting ---- */

static const struct kind *find_kind(struct str group, struct str name)
{
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_equal(kinds[i]->group, group) && str_equal(kinds[i]->kind, name))
                        return kinds[i];
        return NULL;
}

/* The object as a document of its own, which conversion edits. */
static int convert(const struct kind *kind, struct json_value object, struct str version,
                   struct error *error, struct json_doc **ret_doc)
{
        const struct json_options options = { .size_limit = LIMIT_CONVERSION };
        _cleanup_doc_ struct json_doc *doc = NULL;

        int r = json_doc_parse(json_text(object), &options, NULL, error, &doc);
        return r < 0 ? r : kind_convert(kind, doc, version, error, ret_doc);
}

/* Returns 0 also when the object is refused: review->refusal says why. */
static int convert_next(struct conversion_review *review, struct json_value object)
{
        _cleanup_doc_ struct json_doc *converted = NULL;
        struct json_value name = json_get(object, "metadata", "name");
        struct json_value name_space = json_get(object, "metadata", "namespace");
        struct str kind_name = json_string(json_get(object, "kind")), group, version;
        struct error *refusal = &review->refusal;

        api_version_split(json_string(json_get(object, "apiVersion")), &group, &version);
        const struct kind *kind = find_kind(group, kind_name);
        if (!str_equal(group, review->group) || !kind) {
                error_set(refusal, -EINVAL,
                          "kind \"%.*s\" of \"%.*s\" is not converted to %.*s/%.*s",
                          STR_FORMAT(kind_name),
                          STR_FORMAT(json_string(json_get(object, "apiVersion"))),
                          STR_FORMAT(review->group), STR_FORMAT(review->version));
                return 0;
        }
        int r = convert(kind, object, review->version, refusal, &converted);
        if (r == 0 && review->objects > 0)
                r = buffer_append_char(&review->converted, ',');
        if (r == 0)
                r = buffer_append_str(&review->converted, json_doc_text(converted));
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                error_prefix(refusal, r, "%.*s %.*s/%.*s", STR_FORMAT(kind_name),
                             STR_FORMAT(json_string(name_space)), STR_FORMAT(json_string(name)));
        else
                review->objects++;
        return 0;
}

static int write_answer(struct conversion_review *review)
{
        bool refused = review->refusal.code != 0;
        struct json_writer writer;

        if (refused)
                review->objects = 0;
        json_writer_init(&writer, &review->answer);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("ConversionReview"));
        json_field_string(&writer, "apiVersion", REVIEW_VERSION);
        json_field_object(&writer, "response");
        json_field_string(&writer, "uid", review->uid);
        json_field_array(&writer, "convertedObjects");
        if (!refused && review->objects > 0)
                json_write_raw(&writer, buffer_str(&review->converted));
        json_end_array(&writer);
        json_field_object(&writer, "result");
        json_field_string(&writer, "status", refused ? STR("Failure") : STR("Success"));
        if (refused) {
                json_field_string(&writer, "message", str_from(review->refusal.message));
                json_field_string(&writer, "reason", STR("Invalid"));
        }
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        buffer_deinit(&review->converted);
        review->converted = (struct buffer){};
        return json_writer_finish(&writer);
}

int conversion_review_step(struct conversion_review *review, uint64_t budget_ns)
{
        uint64_t begin = clock_monotonic_ns();
        int r = 0;

        if (review->done)
                return 0;
        while (r == 0 && review->refusal.code == 0 && json_next(&review->rest)) {
                r = convert_next(review, review->rest.value);
                if (r == 0 && clock_monotonic_ns() - begin > budget_ns)
                        return 1;
        }
        if (r == 0)
                r = write_answer(review);
        if (r < 0)
                return r;
        review->done = true;
        return 0;
}

struct conversion_outcome conversion_review_outcome(const struct conversion_review *review)
{
        return (struct conversion_outcome){
                .answer = buffer_str(&review->answer),
                .objects = review->objects,
                .why = review->refusal.code ? str_from(review->refusal.message) : STR_EMPTY,
        };
}
