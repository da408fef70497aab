// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "builtin/builtin.h"
#include "client/watch_decoder.h"
#include "kube/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct protobuf_fields *fields;

/* What is decoded is JSON. */
static void body(struct str input)
{
        const struct json_options options = { .size_limit = 64 * 1024 * 1024 };
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;

        if (protobuf_to_json(fields, input, NULL, &text) == 0 &&
            json_doc_parse(buffer_str(&text), &options, NULL, NULL, &doc) < 0)
                abort();
}

static int note(void *user, enum watch_type type, struct json_doc *object)
{
        return buffer_printf(user, "%u%.*s\n", (unsigned)type, STR_FORMAT(json_doc_text(object)));
}

static int watch(struct str input, size_t piece, struct buffer *told)
{
        struct watch_decoder decoder;
        int r = 0;

        watch_decoder_init(&decoder, 64 * 1024);
        watch_decoder_expect_protobuf(&decoder, fields);
        for (size_t at = 0; at < input.length && r == 0; at += piece)
                r = watch_decoder_feed(&decoder,
                                       str_slice(input, at, MIN(at + piece, input.length)), NULL,
                                       note, told);
        watch_decoder_deinit(&decoder);
        return r;
}

/* The first byte says how what follows is cut, which changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buffer_ struct buffer whole = {}, cut = {};

        if (!fields && protobuf_fields_new(builtin_core_protobuf(), STR_EMPTY, &fields) < 0)
                abort();
        if (size < 2)
                return 0;
        struct str input = { (const char *)data + 1, size - 1 };
        body(input);
        int r = watch(input, input.length, &whole);
        if (watch(input, (size_t)data[0] + 1, &cut) != r ||
            !str_equal(buffer_str(&whole), buffer_str(&cut)))
                abort();
        return 0;
}
