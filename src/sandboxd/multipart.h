// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/limit.h"
#include "base/str.h"

enum { MULTIPART_BOUNDARY_LIMIT = 70 }; /* RFC 2046, section 5.1.1 */

/*
 * A parser of multipart/form-data (RFC 7578) that is fed as bytes arrive and never holds a part's
 * contents: its memory is this struct, however large the body.
 */
struct multipart {
        char delimiter[MULTIPART_BOUNDARY_LIMIT + 5]; /* CR LF - - boundary */
        size_t delimiter_length;
        size_t matched; /* bytes of the delimiter seen at the end of what was consumed */
        size_t lent;    /* of these, the first ones that belong to what came before */
        int state;
        size_t headers_length;
        char headers[LIMIT_PART_HEADERS];

        /* Of the part that began last; they live until the next call. */
        struct str name;
        struct str filename;
        bool has_filename;
};

enum multipart_event {
        MULTIPART_NEEDS_INPUT, /* all of the input is consumed */
        MULTIPART_PART_BEGINS, /* name and filename are set */
        MULTIPART_DATA,        /* *ret_data is the next piece of the part's contents */
        MULTIPART_PART_ENDS,
        MULTIPART_ENDS, /* the closing delimiter was seen; the epilogue is ignored */
};

/* Takes the boundary from a Content-Type value. -EINVAL if it is another type or has no boundary.
 */
int multipart_init(struct multipart *multipart, struct str content_type);

/* Whether a Content-Type value says multipart/form-data. */
bool multipart_is_type(struct str content_type);

/*
 * Consumes from *input up to the next event and returns that. *ret_data borrows from the input or
 * from the parser until the next call. Returns -EBADMSG when it is no multipart body, -E2BIG when
 * a part's headers exceed the limit. A body is whole only after MULTIPART_ENDS.
 */
int multipart_next(struct multipart *multipart, struct str *input, struct str *ret_data);
