// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "sandboxd/multipart.h"

/*
 * The input's first line is the Content-Type, its next byte the size of the pieces that the rest
 * is fed in. However it is cut, the parser must report the same parts and bytes.
 */
static int run(struct str type, struct str body, size_t step, struct buffer *out)
{
        struct multipart multipart;
        int r = multipart_init(&multipart, type);

        for (size_t at = 0; r >= 0 && at < body.length; at += step) {
                struct str input = str_slice(body, at, MIN(at + step, body.length)), data;

                while ((r = multipart_next(&multipart, &input, &data)) > 0) {
                        if (r == MULTIPART_DATA) {
                                buffer_append_str(out, data);
                                continue;
                        }
                        buffer_printf(out, "<%d>", r);
                        if (r == MULTIPART_PART_BEGINS) {
                                buffer_append_str(out, multipart.name);
                                buffer_append_str(out, multipart.filename);
                        }
                }
                if (r == 0 && input.length > 0)
                        abort();
        }
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buffer_ struct buffer whole = {}, pieces = {};
        struct str input = { (const char *)data, size }, type, body;

        if (!str_cut(input, '\n', &type, &body) || body.length < 1)
                return 0;
        size_t step = (size_t)(unsigned char)body.data[0] % 64 + 1;
        body = str_slice(body, 1, body.length);
        if (run(type, body, body.length + 1, &whole) != run(type, body, step, &pieces) ||
            !str_equal(buffer_str(&whole), buffer_str(&pieces)))
                abort();
        return 0;
}
