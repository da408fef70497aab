// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/runtime.h"

/*
 * What the node and the launcher say to each other over a SOCK_SEQPACKET Unix socket: one request,
 * a struct of fixed size with descriptors; one reply, the same. Both sides are of one build on one
 * machine, so numbers are the machine's own. The launcher checks every field of a request.
 *
 * Descriptors of LAUNCH: the listening socket and the log ring that init gets, then one for each
 * mount, in order, opened for reading by the node (O_PATH proves no right and is refused). Of OWN,
 * PURGE, MEMORY and MEASURE: the folder. Of a reply to LAUNCH and LIST: the pidfd of the
 * container's init. Of SOCKET: the socket.
 *
 * A launcher that died may have done what it was asked and not have said so. The next one serves
 * the same socket: it begins with an unasked reply that carries its epoch, and answers -ECONNRESET
 * to requests that were meant for the one before.
 */
enum {
        LAUNCHER_PROTOCOL = 1,
        LAUNCHER_UNASKED = 0, /* in place of a request's number: a launcher has just begun */
        LAUNCHER_FIXED_FDS = 2,
        LAUNCHER_FDS = LIMIT_MOUNTS + LAUNCHER_FIXED_FDS
};

enum launcher_operation {
        LAUNCHER_PING = 1,
        LAUNCHER_CREATE,
        LAUNCHER_LAUNCH,
        LAUNCHER_KILL,
        LAUNCHER_DESTROY,
        LAUNCHER_USAGE,
        LAUNCHER_LIST,
        LAUNCHER_OWN,
        LAUNCHER_PURGE,
        LAUNCHER_SOCKET,
        LAUNCHER_MEMORY,
        LAUNCHER_MEASURE,
        LAUNCHER_OPERATIONS
};

struct launcher_mount {
        char target[RUNTIME_PATH];
        uint32_t read_only, plain;
};

/* What the launcher needs of a container_spec. */
struct launcher_launch {
        uint32_t user, group;
        uint32_t groups[RUNTIME_GROUPS];
        uint32_t group_count;
        uint32_t read_only_root;
        struct container_limits limits;
        uint32_t mount_count;
        struct launcher_mount mounts[LIMIT_MOUNTS];
        uint32_t etc_size;
        char etc[RUNTIME_ETC];
};

struct launcher_request {
        uint32_t version, operation;
        uint64_t epoch;              /* of the launcher that is meant; of PING any */
        uint64_t id;                 /* comes back in the reply */
        struct container_key target; /* of operations on a sandbox only `sandbox` is set */
        union {
                struct {
                        char hostname[RUNTIME_HOSTNAME];
                        uint32_t address;
                } create;
                struct launcher_launch launch;
                uint32_t list_after; /* 0, or `position` of the last reply */
                struct {
                        uint32_t user, group, mode;
                } own;
                uint32_t socket; /* enum native_socket */
                uint64_t memory; /* bytes that the tmpfs holds; 0: half of the machine's */
        };
};

/* Where something failed, for the sentence: launcher_stage_name(). */
enum launcher_stage {
        LAUNCHER_STAGE_REQUEST,
        LAUNCHER_STAGE_SLOT,
        LAUNCHER_STAGE_CGROUP,
        LAUNCHER_STAGE_LIMITS,
        LAUNCHER_STAGE_NAMESPACES,
        LAUNCHER_STAGE_USER_MAP,
        LAUNCHER_STAGE_NETWORK,
        LAUNCHER_STAGE_STATE,
        LAUNCHER_STAGE_ROOT,
        LAUNCHER_STAGE_ROOT_LAYERS,
        LAUNCHER_STAGE_PROC,
        LAUNCHER_STAGE_DEV,
        LAUNCHER_STAGE_PIVOT,
        LAUNCHER_STAGE_ETC,
        LAUNCHER_STAGE_VOLUME,
        LAUNCHER_STAGE_TARGET,
        LAUNCHER_STAGE_PRIVILEGE,
        LAUNCHER_STAGE_SECCOMP,
        LAUNCHER_STAGE_EXEC,
        LAUNCHER_STAGE_GONE,
        LAUNCHER_STAGES
};

const char *launcher_stage_name(enum launcher_stage stage);

struct launcher_reply {
        uint32_t version;
        int32_t result; /* 0 or a negative errno */
        uint64_t id;    /* of the request, or LAUNCHER_UNASKED */
        uint64_t epoch; /* changes with each launcher */
        uint32_t stage; /* enum launcher_stage, of a failure */
        uint32_t index; /* of the mount that failed */
        union {
                struct container_usage usage;
                uint64_t bytes; /* of MEASURE */
                struct {
                        uint32_t position;      /* 0: no more */
                        uint32_t has_container; /* else a sandbox alone */
                        struct sandbox_spec sandbox;
                        struct container_key container;
                } found;
        };
};

/*
 * Checks version, operation, ranges, NUL-termination, characters of names, paths, and the number of
 * descriptors against the operation. Returns 0 or -EINVAL.
 */
int launcher_request_check(const struct launcher_request *request, size_t length, size_t fd_count);

enum { LAUNCHER_MESSAGE_FDS = LAUNCHER_FDS + 1 };

/*
 * One message with descriptors. Sending returns 0, -EAGAIN or another errno; with `flags` as of
 * sendmsg(2).
 */
int message_send(int socket, const void *data, size_t size, const int *fds, size_t fd_count,
                 int flags);

/*
 * Receives one message; descriptors are close-on-exec and the caller's. *ret_length is 0 at the end
 * of file. Returns 0, -EMSGSIZE (more than `size`, or too many descriptors; none are left open),
 * -EAGAIN or another errno.
 */
int message_receive(int socket, void *data, size_t size, int fds[static LAUNCHER_MESSAGE_FDS],
                    size_t *ret_fd_count, size_t *ret_length, int flags);
