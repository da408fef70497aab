// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "initproto/initproto.h"

/*
 * The log ring: a file of fixed size into which init writes what the main process prints, oldest
 * overwritten first, and how the process ended. One writer, any number of readers; both use
 * pread(2) and pwrite(2), so that neither can be killed by a file cut short under a mapping. The
 * reader believes nothing: what makes no sense is skipped, and a record that was overwritten while
 * it was read is noticed.
 *
 * Positions count the bytes ever written to the ring; they never go back.
 */
enum { LOGRING_MIN = 64 * 1024, LOGRING_RECORD = 16 * 1024 /* the longest text of one record */ };

/* Makes an empty ring of `size` bytes in the empty file `fd`. -EINVAL for a size out of range. */
int logring_format(int fd, size_t size);

struct logring_writer {
        int fd; /* borrowed */
        uint64_t capacity, tail, head;
};

/* Opens the ring at `fd`, going on where it ends. Returns 0, -EBADMSG or another errno. */
int logring_writer_init(struct logring_writer *writer, int fd);

enum logring_stream { LOGRING_STDOUT = 1, LOGRING_STDERR = 2 };

/* Appends bytes (any number) printed at `time_ns`. Errors are of pwrite(2). */
int logring_write(struct logring_writer *writer, enum logring_stream stream, uint64_t time_ns,
                  const void *data, size_t length);

int logring_write_started(struct logring_writer *writer, uint64_t time_ns);
int logring_write_exit(struct logring_writer *writer, const struct initproto_exit *exit);

/* What the head of the ring says. */
struct logring_status {
        uint64_t tail, head; /* positions of the oldest record and of the end */
        uint64_t started_ns; /* 0: the main process was not started */
        bool has_exited;
        struct initproto_exit exit;
};

/* Returns 0, -EBADMSG (no ring, or not now: try again when it has grown) or another errno. */
int logring_read_status(int fd, struct logring_status *ret_status);

struct logring_record {
        enum logring_stream stream;
        uint64_t time_ns;
        uint64_t position; /* where the record begins */
        struct str data;   /* whole or partial lines, as printed */
};

struct logring_reader {
        int fd; /* borrowed */
        uint64_t position;
        struct buffer buffer;
};

/* Begins at `position`; 0 or one that is overwritten already means the oldest record. */
void logring_reader_init(struct logring_reader *reader, int fd, uint64_t position);
void logring_reader_deinit(struct logring_reader *reader);

/*
 * The next record, whose data live until the next call. Returns 1; 0 at the end; -EOVERFLOW when
 * records were overwritten before they were read (the reader stands at the oldest one now), or
 * -EBADMSG when the ring holds nonsense (it stands at the end now); or another errno.
 */
int logring_read(struct logring_reader *reader, struct logring_record *ret_record);
