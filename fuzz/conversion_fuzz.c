// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "serve/conversion.h"
#include "json/json.h"

/*
 * A body as it comes to /convert. Whatever it is, it is refused as no review, or answered: all
 * objects in the version that was asked for, or none and a sentence.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_answer(struct json_value request, struct conversion_outcome outcome)
{
        const struct json_options options = { .size_limit = 256 * 1024 * 1024 };
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct str wanted = json_string(json_get(request, "desiredAPIVersion"));

        check(json_doc_parse(outcome.answer, &options, NULL, NULL, &doc) == 0);
        struct json_value response = json_get(json_root(doc), "response");
        struct json_value objects = json_get(response, "convertedObjects");
        bool success = json_string_is(json_get(response, "result", "status"), STR("Success"));
        check(json_string_is(json_get(response, "uid"), json_string(json_get(request, "uid"))));
        check(json_type(objects) == JSON_ARRAY && json_count(objects) == outcome.objects);
        check(success == (outcome.why.length == 0));
        check(success ? outcome.objects == json_count(json_get(request, "objects"))
                      : outcome.objects == 0);
        json_for_each (it, objects)
                check(json_string_is(json_get(it.value, "apiVersion"), wanted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str body = { (const char *)data, size };
        _cleanup_conversion_review_ struct conversion_review *review = NULL;
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct error error = {};

        if (conversion_review_new(body, &error, &review) < 0) {
                check(error.message[0] != '\0');
                return 0;
        }
        while (conversion_review_step(review, 0) > 0)
                ;
        if (json_doc_parse(body, NULL, NULL, NULL, &doc) == 0)
                check_answer(json_get(json_root(doc), "request"),
                             conversion_review_outcome(review));
        return 0;
}
