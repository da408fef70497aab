// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "kube/meta.h"
#include "kube/quantity.h"
#include "kube/schema.h"
#include "kube/selector.h"
#include "kube/table.h"

/*
 * A byte for the kind of text, the text, a NUL and a document that it is used on. What was pruned
 * and defaulted stays so; what a selector or quantity is written as reads the same.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void try_schema(struct str text, struct json_doc *doc)
{
        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
        _cleanup_doc_ struct json_doc *source = NULL, *pruned = NULL, *defaulted = NULL,
                                      *again = NULL, *both = NULL;
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer unknown = {};
        static struct field_errors errors;
        const struct schema *schema;

        if (json_doc_parse(text, NULL, NULL, NULL, &source) < 0 ||
            schema_set_new_crd(json_root(source), NULL, NULL, &set, &schema) < 0)
                return;
        field_errors_init(&errors, &arena);
        schema_validate(schema, json_root(doc), &errors);
        check(errors.failure == 0);
        check(schema_prune(schema, doc, &unknown, &pruned) == 0);
        check((pruned == doc) == (unknown.length == 0));
        check(schema_prune(schema, pruned, NULL, &again) == 0 && again == pruned);
        if (schema_default(schema, pruned, &defaulted) == 0)
                check(schema_default(schema, defaulted, &both) <= 0);
}

static void try_label_selector(struct str text, struct json_doc *doc)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer out = {};
        struct label_selector selector, again;

        if (label_selector_read(json_root(doc), &arena, NULL, &selector) == 0)
                label_selector_matches(&selector, json_root(doc));
        if (label_selector_parse(text, &arena, NULL, &selector) < 0)
                return;
        check(label_selector_write(&selector, &out) == 0);
        check(label_selector_parse(buffer_str(&out), &arena, NULL, &again) == 0);
        check(label_selector_matches(&selector, json_root(doc)) ==
              label_selector_matches(&again, json_root(doc)));
}

static void try_path(struct str text, struct json_doc *doc)
{
        _cleanup_arena_ struct arena arena = {};
        const struct jsonpath *path;
        struct json_value found[3];
        struct field_selector selector;

        if (jsonpath_parse(text, &arena, NULL, &path) == 0)
                jsonpath_find(path, json_root(doc), found, 3);
        if (field_selector_parse(text, &arena, NULL, &selector) == 0)
                field_selector_matches(&selector, json_root(doc));
}

static void try_names(struct str text, struct json_doc *doc)
{
        static const name_check_fn checks[] = {
                name_check_dns_label,    name_check_dns_subdomain, name_check_dns1035_label,
                name_check_path_segment, name_check_qualified,     name_check_label_value,
                name_check_config_key,
        };
        _cleanup_arena_ struct arena arena = {};
        static struct field_errors errors;
        struct quantity quantity, again;
        struct object_meta meta;
        char written[QUANTITY_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                checks[i](text);
        object_meta_read(json_root(doc), &meta);
        field_errors_init(&errors, &arena);
        object_meta_validate(json_root(doc), true, name_check_dns_label, &errors);
        check(errors.failure == 0);
        if (quantity_parse(text, &quantity) < 0)
                return;
        check(quantity_parse(quantity_format(&quantity, written), &again) == 0);
        check(quantity_compare(&quantity, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct str text, object;

        if (size == 0)
                return 0;
        if (!str_cut((struct str){ (const char *)data + 1, size - 1 }, '\0', &text, &object) ||
            json_doc_parse(object, NULL, NULL, NULL, &doc) < 0)
                return 0;
        switch (data[0] % 4) {
        case 0:
                try_schema(text, doc);
                break;
        case 1:
                try_label_selector(text, doc);
                break;
        case 2:
                try_path(text, doc);
                break;
        default:
                try_names(text, doc);
        }
        return 0;
}
