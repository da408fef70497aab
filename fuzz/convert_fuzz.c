// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "kinds/convert.h"

/*
 * A byte for the kind (or the dialect), then an object. Whatever stands in its annotations,
 * conversion ends, in normal form; once there and back, it comes back the same for ever.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static struct json_doc *turn(const struct kind *kind, struct json_doc *doc)
{
        struct str version = json_string(json_get(json_root(doc), "apiVersion"));
        bool is_hub = str_ends_with(version, STR("v1beta1"));
        _cleanup_doc_ struct json_doc *again = NULL;
        struct json_doc *turned = NULL;
        int r = kind_convert(kind, doc, is_hub ? STR("v1alpha1") : STR("v1beta1"), NULL, &turned);

        check(r == 0 || r == -EINVAL || r == -E2BIG);
        check((r == 0) == (turned != NULL));
        if (!turned)
                return NULL;
        check(json_doc_parse(json_doc_text(turned), NULL, NULL, NULL, &again) == 0);
        check(str_equal(json_doc_text(turned), json_doc_text(again)));
        return turned;
}

static void adopt(struct json_doc *doc)
{
        _cleanup_doc_ struct json_doc *adopted = NULL, *again = NULL;

        if (kind_adopt_dialect(doc, 0, NULL, &adopted) < 0)
                return;
        check(kind_adopt_dialect(adopted, 0, NULL, &again) == 0);
        check(again == adopted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct kind *const kinds[] = { &kind_sandbox, &kind_sandbox_claim,
                                                    &kind_sandbox_template,
                                                    &kind_sandbox_warm_pool };
        _cleanup_doc_ struct json_doc *doc = NULL, *other = NULL, *back = NULL, *other_again = NULL,
                                      *back_again = NULL;

        if (size == 0 || json_doc_parse((struct str){ (const char *)data + 1, size - 1 }, NULL,
                                        NULL, NULL, &doc) < 0)
                return 0;
        if (data[0] % 5 == 4) {
                adopt(doc);
                return 0;
        }
        const struct kind *kind = kinds[data[0] % 5];
        other = turn(kind, doc);
        back = other ? turn(kind, other) : NULL;
        other_again = back ? turn(kind, back) : NULL;
        back_again = other_again ? turn(kind, other_again) : NULL;
        if (back_again)
                check(json_equal(json_root(back_again), json_root(back)));
        return 0;
}
