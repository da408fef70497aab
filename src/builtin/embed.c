// SPDX-License-Identifier: Apache-2.0
/*
 * embed NAME INPUT OUTPUT.json OUTPUT.S: the first document of a YAML or JSON file as compact JSON,
 * and assembly that takes it into read-only data between the symbols embedded_NAME and
 * embedded_NAME_end. The assembly holds a hash of the bytes, so that it changes when they do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "json/json.h"
#include "json/yaml.h"

enum { INPUT_LIMIT = 4 * 1024 * 1024 };

static int write_assembly(const char *name, const char *data, struct str text, const char *path)
{
        _cleanup_buffer_ struct buffer assembly = {};
        int r = buffer_printf(&assembly,
                              "/* %08x */\n.section .rodata\n.global embedded_%s, embedded_%s_end\n"
                              "embedded_%s: .incbin \"%s\"\nembedded_%s_end:\n"
                              ".section .note.GNU-stack,\"\",%%progbits\n",
                              str_fnv1a(text), name, name, name, data, name);

        return r < 0 ? r : file_write_atomic(AT_FDCWD, path, buffer_str(&assembly), 0644);
}

int main(int argc, char **argv)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct error error = {};
        size_t offset = 0;
        int r;

        if (argc != 5) {
                fprintf(stderr, "usage: embed NAME INPUT OUTPUT.json OUTPUT.S\n");
                return 2;
        }
        const char *input = argv[2];
        r = file_read(AT_FDCWD, input, INPUT_LIMIT, &text);
        if (r == 0) {
                const struct json_options options = { .size_limit = INPUT_LIMIT };
                if (str_ends_with(str_from(input), STR(".json")))
                        r = json_doc_parse(buffer_str(&text), &options, NULL, &error, &doc);
                else
                        r = yaml_next(buffer_str(&text), &offset, &error, &doc) == 1 ? 0 : -EBADMSG;
        }
        if (r == 0)
                r = file_write_atomic(AT_FDCWD, argv[3], json_doc_text(doc), 0644);
        if (r == 0)
                r = write_assembly(argv[1], argv[3], json_doc_text(doc), argv[4]);
        if (r < 0)
                fprintf(stderr, "embed: %s: %s\n", input,
                        error.message[0] ? error.message : strerror(-r));
        return r < 0 ? 1 : 0;
}
