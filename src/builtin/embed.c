// SPDX-License-Identifier: Apache-2.0
/* embed INPUT OUTPUT: the first document of a YAML or JSON file as compact JSON. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "json/json.h"
#include "json/yaml.h"

enum { INPUT_LIMIT = 4 * 1024 * 1024 };

int main(int argc, char **argv)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct error error = {};
        size_t offset = 0;
        int r;

        if (argc != 3) {
                fprintf(stderr, "usage: embed INPUT OUTPUT\n");
                return 2;
        }
        r = file_read(AT_FDCWD, argv[1], INPUT_LIMIT, &text);
        if (r == 0) {
                const struct json_options options = { .size_limit = INPUT_LIMIT };
                size_t length = strlen(argv[1]);
                if (length > 5 && strcmp(argv[1] + length - 5, ".json") == 0)
                        r = json_doc_parse(buffer_str(&text), &options, NULL, &error, &doc);
                else
                        r = yaml_next(buffer_str(&text), &offset, &error, &doc) == 1 ? 0 : -EBADMSG;
        }
        if (r == 0)
                r = file_write_atomic(AT_FDCWD, argv[2], json_doc_text(doc), 0644);
        if (r < 0)
                fprintf(stderr, "embed: %s: %s\n", argv[1],
                        error.message[0] ? error.message : strerror(-r));
        return r < 0 ? 1 : 0;
}
