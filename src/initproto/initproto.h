// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/limit.h"
#include "base/str.h"

/*
 * The protocol between the node and init, PID 1 of every container: frames over one byte stream
 * (a Unix socket, vsock, virtio-serial). No frame carries a descriptor or a path of the host.
 *
 * A frame is a header of twelve bytes and a payload, all numbers little-endian:
 *
 *     u32 length of the payload   u32 stream   u8 type   u8 version   u16 zero
 *
 * Stream 0 is the connection, stream 1 the container's main process; the node opens others with
 * EXEC and CONNECT, giving each number once a connection. Every connection begins with init's
 * HELLO. Several connections may be open at once: each has streams of its own, all hear of the main
 * process. Bytes of a stream flow within windows: each side may send INITPROTO_WINDOW bytes a
 * direction, and more as the other gives WINDOW.
 */
enum {
        INITPROTO_VERSION = 1,
        INITPROTO_HEADER = 12,
        INITPROTO_PAYLOAD = LIMIT_ARGUMENTS + 16 * 1024, /* the longest payload */
        INITPROTO_DATA = 32 * 1024,                      /* the longest piece of a byte stream */
        INITPROTO_WINDOW = 256 * 1024, /* credit a stream and direction begins with */
        INITPROTO_STREAMS = 64,        /* open at once on one connection */
        INITPROTO_CONNECTIONS = 16,    /* open at once to one init */
        INITPROTO_STRINGS = 4096,      /* of argv and environment together */
        INITPROTO_REASON = 256,        /* bytes of a sentence in FAILED */
};

enum { INITPROTO_STREAM_CONNECTION = 0, INITPROTO_STREAM_MAIN = 1, INITPROTO_STREAM_FIRST = 2 };

enum initproto_type {
        /* init → node */
        INITPROTO_HELLO = 1, /* stream 0; what stands: first frame of every connection */
        INITPROTO_STARTED,   /* a process runs, or CONNECT is connected (pid 0) */
        INITPROTO_FAILED,    /* START, EXEC or CONNECT did not come about; ends the stream */
        INITPROTO_EXITED, /* a process ended; on stream > 1 after both its EOFs: ends the stream */
        INITPROTO_OUTPUT, /* bytes of stdout, of a terminal or of a connection; empty: EOF */
        INITPROTO_ERROR,  /* bytes of stderr; empty: EOF */
        INITPROTO_LOG,    /* stream 0; the log ring has grown beyond what LOG_WATCH named */
        /* node → init */
        INITPROTO_START = 16, /* stream 1; runs the main process, once in the life of an init */
        INITPROTO_EXEC,       /* runs another process */
        INITPROTO_CONNECT,    /* opens a TCP connection inside the network namespace */
        INITPROTO_INPUT,      /* bytes of stdin or to a connection; empty: EOF */
        INITPROTO_RESIZE,     /* the terminal's size */
        INITPROTO_SIGNAL,     /* stream 1: to the main process; else to the process group */
        INITPROTO_CLOSE,      /* forget the stream, killing its process group */
        INITPROTO_LOG_WATCH, /* stream 0; one LOG frame, as soon as the ring's end is beyond this */
        /* either way */
        INITPROTO_WINDOW_ADD = 32, /* the receiver has consumed so many bytes */
};

/* Which byte stream of a process WINDOW_ADD speaks of. A connection uses INPUT and OUTPUT. */
enum initproto_channel {
        INITPROTO_CHANNEL_INPUT,
        INITPROTO_CHANNEL_OUTPUT,
        INITPROTO_CHANNEL_ERROR,
        INITPROTO_CHANNELS
};

enum initproto_state {
        INITPROTO_IDLE,    /* no START yet */
        INITPROTO_RUNNING, /* the main process runs */
        INITPROTO_ENDED,   /* it has ended; init is about to exit */
};

/* How a process ended. */
struct initproto_exit {
        uint32_t code;        /* exit status, or 128 + signal */
        uint32_t signal;      /* 0: it exited by itself */
        uint64_t finished_ns; /* CLOCK_REALTIME, since the epoch */
};

struct initproto_hello {
        uint32_t version; /* the newest that init speaks */
        enum initproto_state state;
        uint32_t pid;               /* of the main process inside the container; 0: none yet */
        uint64_t started_ns;        /* CLOCK_REALTIME; 0: not started */
        uint64_t log_end;           /* as struct logring_position: bytes ever written to the ring */
        struct initproto_exit exit; /* of state ENDED */
};

enum initproto_process_flags {
        INITPROTO_TERMINAL = 1 << 0, /* on a new terminal; then there is no stderr */
        INITPROTO_STDIN = 1 << 1,    /* INPUT will come; else stdin is /dev/null */
        INITPROTO_FLAGS = INITPROTO_TERMINAL | INITPROTO_STDIN
};

/*
 * A process to run. Strings are given and got as `count` NUL-terminated strings one after the
 * other. The first is looked up in the PATH of `env` unless it has a slash. The working directory
 * is made if it is absent. User and group are those that init itself has.
 */
struct initproto_process {
        uint32_t flags;
        uint16_t rows, columns; /* of the terminal */
        uint32_t argv_count, env_count;
        struct str argv;              /* argv_count strings with their NULs */
        struct str env;               /* env_count of "NAME=value" with their NULs */
        struct str working_directory; /* absolute; empty: "/" */
};

/* One decoded frame. Views point into the bytes that were decoded. */
struct initproto_frame {
        enum initproto_type type;
        uint32_t stream;
        union {
                struct initproto_hello hello;
                struct {
                        uint32_t pid;
                        uint64_t time_ns;
                } started;
                struct {
                        uint32_t error;    /* positive errno of Linux */
                        struct str reason; /* one sentence; bytes of a stranger */
                } failed;
                struct initproto_exit exited;
                struct str data;                  /* OUTPUT, ERROR, INPUT */
                uint64_t log_end;                 /* LOG, LOG_WATCH */
                struct initproto_process process; /* START, EXEC */
                struct {
                        uint16_t port;
                        struct str host; /* an IPv4 address in dotted form; empty: 127.0.0.1 */
                } connect;
                struct {
                        uint16_t rows, columns;
                } resize;
                uint32_t signal;
                struct {
                        enum initproto_channel channel;
                        uint32_t bytes;
                } window;
        };
};

/*
 * Decodes the frame at the beginning of `bytes`, which a stranger wrote. Every length, range and
 * string is checked; what is allowed on which stream in which state is the caller's to check.
 * Returns 1 with the frame and its size; 0 when more bytes are needed; -EBADMSG when these can
 * never become a frame: the connection is of no more use.
 */
int initproto_decode(struct str bytes, struct initproto_frame *ret_frame, size_t *ret_size);

/*
 * Appends the frame to `out`. Returns 0, -ENOMEM, or -EINVAL/-E2BIG for a frame that
 * initproto_decode() would refuse (`out` stays as it was).
 */
int initproto_encode(const struct initproto_frame *frame, struct buffer *out);

/*
 * The next of the strings in `*rest`, NUL-terminated where it stands, or NULL at the end; moves
 * `*rest` behind it. For strings of a decoded frame.
 */
const char *initproto_next_string(struct str *rest);

/* Appends `text` with its NUL: to put together argv and env of an initproto_process. */
int initproto_append_string(struct buffer *strings, struct str text);
