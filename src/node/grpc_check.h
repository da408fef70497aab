// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "base/str.h"

/*
 * One call of grpc.health.v1.Health/Check (the gRPC health checking protocol) over HTTP/2 without
 * TLS, as a kubelet's gRPC probe makes it. Bytes in, bytes out: whoever uses it has the connection.
 * The other side is a sandbox: what it sends is bounded by GRPC_CHECK_BYTES.
 */
struct grpc_check;

enum { GRPC_CHECK_BYTES = 64 * 1024, GRPC_CHECK_MESSAGE = 256 };

/* `authority` is "ADDRESS:PORT"; an empty `service` asks for the server as a whole. Both are
 * copied. Returns 0 or -ENOMEM. */
int grpc_check_new(struct str authority, struct str service, struct grpc_check **ret_check);
void grpc_check_free(struct grpc_check *check);

/* What is to be sent; consume what was. */
struct buffer *grpc_check_output(struct grpc_check *check);

/* Takes bytes of the connection. Returns 1 when the answer is there, 0 while it is not, -EPROTO
 * (no HTTP/2, or too much of it) or -ENOMEM. */
int grpc_check_receive(struct grpc_check *check, struct str data);

/* Whether the answer said SERVING; else `why` is the sentence for the event. */
bool grpc_check_is_serving(const struct grpc_check *check, char why[static GRPC_CHECK_MESSAGE]);
