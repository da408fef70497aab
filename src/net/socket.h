// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/stream.h"

/* What listener.c needs of socket.c. */

/*
 * A stream over a connected, non-blocking descriptor that it will close. `on_gone(user)` is called
 * when the descriptor has been closed. On failure the descriptor stays the caller's.
 */
int socket_stream_new(struct net_loop *loop, int fd, int family, bool connecting,
                      void (*on_gone)(void *user), void *user, struct stream **ret_stream);
