// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "json/yaml.h"

/* Every document of a stream can be written as YAML, and means the same when read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_document(struct json_doc *doc)
{
        _cleanup_doc_ struct json_doc *again = NULL;
        _cleanup_buffer_ struct buffer yaml = {};
        size_t offset = 0;

        check(yaml_write(json_root(doc), &yaml) == 0);
        check(yaml_next(buffer_str(&yaml), &offset, NULL, &again) == 1);
        check(json_equal(json_root(doc), json_root(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str text = { (const char *)data, size };
        size_t offset = 0;

        for (;;) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct error error = {};
                size_t before = offset;
                int r = yaml_next(text, &offset, &error, &doc);
                check((r == 1) == (doc != NULL) && (r < 0) == (error.code < 0));
                if (r <= 0)
                        break;
                check(offset > before && offset <= size);
                check_document(doc);
        }
        return 0;
}
