// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/call.h"

/*
 * Answers in gzip (RFC 1952) for clients that take it, as kube-apiserver gives them: from
 * GZIP_FROM_BYTES on, at the fastest level, never a watch. Compressing is cut into pieces.
 */
enum { GZIP_FROM_BYTES = 128 * 1024 };

/* Whether the client takes gzip and the answer has a body. */
bool gzip_is_accepted(const struct api_call *call);

/*
 * Answers with a text, compressed, over as many turns of the loop as it takes. The text is released
 * in every case. Takes call->stream. Returns 0, or -ENOMEM with nothing begun and the text kept.
 */
int gzip_respond(struct api_call *call, unsigned code, const char *content_type,
                 struct stream_piece text);

/* ---- for answers that come in pieces by themselves ---- */

struct gzip;

int gzip_new(struct gzip **ret_gzip);
void gzip_free(struct gzip *gzip);

/*
 * Compresses for about half a millisecond: takes bytes off the front of *in and appends to `out`.
 * With `last`, *in is the end of the text. Returns 1 when all was taken (and, if it was the last,
 * ended), 0 when there is more to do, -ENOMEM.
 */
int gzip_some(struct gzip *gzip, struct str *in, bool last, struct buffer *out);
