// SPDX-License-Identifier: Apache-2.0
#include "initproto/logring.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The file: one page of head, then `capacity` bytes of records. A record never wraps: where it
 * would, a filler record takes the rest of the ring. The writer moves `tail` beyond what it is
 * about to overwrite, then writes the record, then moves `head`; so a reader that finds `tail`
 * still behind what it has copied knows that the copy is whole. Numbers are the machine's own:
 * writer and reader share a kernel.
 */
enum { HEAD_SIZE = 4096, ALIGNMENT = 32, FILLER = 0 };

#define MAGIC        UINT64_C(0x31676e6972796163) /* "cayring1" */
#define RECORD_MAGIC UINT32_C(0x9d6c0de5)

struct ring_head {
        uint64_t magic;
        uint64_t capacity;
        uint64_t tail, head;
        uint64_t started_ns;
        uint64_t finished_ns; /* 0: has not exited */
        uint32_t exit_code, exit_signal;
};

/* As long as the alignment, so that what is left at the end of the ring always takes a filler. */
struct ring_record {
        uint32_t magic;
        uint16_t stream; /* enum logring_stream, or FILLER */
        uint16_t length; /* of the text */
        uint32_t size;   /* with this head and padding */
        uint32_t zero;
        uint64_t time_ns;
        uint64_t position;
};
static_assert(sizeof(struct ring_record) == ALIGNMENT, "a filler always fits");

static int write_at(int fd, const void *data, size_t size, uint64_t offset)
{
        ssize_t written;

        do
                written = pwrite(fd, data, size, (off_t)offset);
        while (written < 0 && errno == EINTR);
        if (written < 0)
                return -errno;
        return (size_t)written == size ? 0 : -ENOSPC;
}

static int read_at(int fd, void *data, size_t size, uint64_t offset)
{
        ssize_t got;

        do
                got = pread(fd, data, size, (off_t)offset);
        while (got < 0 && errno == EINTR);
        if (got < 0)
                return -errno;
        return (size_t)got == size ? 0 : -EBADMSG;
}

static bool is_capacity(uint64_t capacity)
{
        return capacity >= LOGRING_MIN - HEAD_SIZE && capacity <= LIMIT_LOG_RING - HEAD_SIZE &&
               capacity % ALIGNMENT == 0;
}

int logring_format(int fd, size_t size)
{
        struct ring_head head = { .magic = MAGIC, .capacity = size - HEAD_SIZE };

        if (size < LOGRING_MIN || !is_capacity(head.capacity))
                return -EINVAL;
        if (ftruncate(fd, (off_t)size) < 0)
                return -errno;
        return write_at(fd, &head, sizeof(head), 0);
}

static int read_head(int fd, struct ring_head *ret_head)
{
        struct ring_head head;
        int r = read_at(fd, &head, sizeof(head), 0);

        if (r < 0)
                return r;
        if (head.magic != MAGIC || !is_capacity(head.capacity) || head.tail > head.head ||
            head.head - head.tail > head.capacity || head.tail % ALIGNMENT != 0 ||
            head.head % ALIGNMENT != 0)
                return -EBADMSG;
        *ret_head = head;
        return 0;
}

int logring_writer_init(struct logring_writer *writer, int fd)
{
        struct ring_head head;
        int r = read_head(fd, &head);

        if (r < 0)
                return r;
        *writer = (struct logring_writer){
                .fd = fd, .capacity = head.capacity, .tail = head.tail, .head = head.head
        };
        return 0;
}

/* Drops oldest records until `size` bytes are free behind the head. */
static int make_room(struct logring_writer *writer, uint64_t size)
{
        uint64_t tail = writer->tail;

        while (writer->head + size - tail > writer->capacity) {
                struct ring_record record;
                int r = read_at(writer->fd, &record, sizeof(record),
                                HEAD_SIZE + tail % writer->capacity);
                if (r < 0)
                        return r;
                if (record.magic != RECORD_MAGIC || record.position != tail ||
                    record.size < sizeof(record) || record.size > writer->capacity) {
                        tail = writer->head;
                        break;
                }
                tail += record.size;
        }
        if (tail == writer->tail)
                return 0;
        int r = write_at(writer->fd, &tail, sizeof(tail), offsetof(struct ring_head, tail));
        if (r == 0)
                writer->tail = tail;
        return r;
}

static int write_record(struct logring_writer *writer, struct ring_record *record, const void *data)
{
        char bytes[sizeof(*record) + LOGRING_RECORD];
        uint64_t offset = HEAD_SIZE + writer->head % writer->capacity;
        int r = make_room(writer, record->size);

        if (r < 0)
                return r;
        record->magic = RECORD_MAGIC;
        record->position = writer->head;
        memcpy(bytes, record, sizeof(*record));
        if (record->length > 0)
                memcpy(bytes + sizeof(*record), data, record->length);
        r = write_at(writer->fd, bytes, sizeof(*record) + record->length, offset);
        if (r < 0)
                return r;
        uint64_t head = writer->head + record->size;
        r = write_at(writer->fd, &head, sizeof(head), offsetof(struct ring_head, head));
        if (r == 0)
                writer->head = head;
        return r;
}

static uint64_t aligned(uint64_t size)
{
        return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int write_piece(struct logring_writer *writer, enum logring_stream stream, uint64_t time_ns,
                       const char *data, size_t length)
{
        struct ring_record record = {
                .stream = (uint16_t)stream,
                .length = (uint16_t)length,
                .size = (uint32_t)aligned(sizeof(record) + length),
                .time_ns = time_ns,
        };
        uint64_t left = writer->capacity - writer->head % writer->capacity;

        if (left < record.size) {
                struct ring_record filler = { .stream = FILLER, .size = (uint32_t)left };
                int r = write_record(writer, &filler, NULL);
                if (r < 0)
                        return r;
        }
        return write_record(writer, &record, data);
}

int logring_write(struct logring_writer *writer, enum logring_stream stream, uint64_t time_ns,
                  const void *data, size_t length)
{
        const char *next = data;

        while (length > 0) {
                size_t piece = MIN(length, (size_t)LOGRING_RECORD);
                int r = write_piece(writer, stream, time_ns, next, piece);
                if (r < 0)
                        return r;
                next += piece;
                length -= piece;
        }
        return 0;
}

int logring_write_started(struct logring_writer *writer, uint64_t time_ns)
{
        return write_at(writer->fd, &time_ns, sizeof(time_ns),
                        offsetof(struct ring_head, started_ns));
}

int logring_write_exit(struct logring_writer *writer, const struct initproto_exit *exit)
{
        struct {
                uint64_t finished_ns;
                uint32_t code, signal;
        } said = { exit->finished_ns, exit->code, exit->signal };

        static_assert(offsetof(struct ring_head, exit_code) ==
                              offsetof(struct ring_head, finished_ns) + sizeof(uint64_t),
                      "written as one");
        return write_at(writer->fd, &said, sizeof(said), offsetof(struct ring_head, finished_ns));
}

int logring_read_status(int fd, struct logring_status *ret_status)
{
        struct ring_head head;
        int r = read_head(fd, &head);

        if (r < 0)
                return r;
        *ret_status = (struct logring_status){
                .tail = head.tail,
                .head = head.head,
                .started_ns = head.started_ns,
                .has_exited = head.finished_ns > 0,
                .exit = { .code = head.exit_code & 0xff,
                          .signal = head.exit_signal <= 64 ? head.exit_signal : 0,
                          .finished_ns = head.finished_ns },
        };
        return 0;
}

void logring_reader_init(struct logring_reader *reader, int fd, uint64_t position)
{
        *reader = (struct logring_reader){ .fd = fd, .position = position };
}

void logring_reader_deinit(struct logring_reader *reader)
{
        buffer_deinit(&reader->buffer);
}

static bool is_record(const struct ring_record *record, uint64_t position, uint64_t left)
{
        return record->magic == RECORD_MAGIC && record->position == position &&
               record->stream <= LOGRING_STDERR && record->size >= sizeof(*record) &&
               record->size <= left && record->size % ALIGNMENT == 0 &&
               record->length <= LOGRING_RECORD && record->length <= record->size - sizeof(*record);
}

/* Copies the record at the reader's position; 1, 0 for a filler, -EOVERFLOW or -EBADMSG. */
static int read_record(struct logring_reader *reader, const struct ring_head *head,
                       struct logring_record *ret_record)
{
        uint64_t offset = reader->position % head->capacity;
        uint64_t left = MIN(head->capacity - offset, head->head - reader->position);
        struct ring_record record = {};
        struct ring_head now;
        int r = 0;

        r = read_at(reader->fd, &record, sizeof(record), HEAD_SIZE + offset);
        if (r < 0)
                return r;
        bool makes_sense = is_record(&record, reader->position, left);
        if (makes_sense && record.length > 0) {
                buffer_clear(&reader->buffer);
                r = buffer_reserve(&reader->buffer, record.length);
                if (r == 0)
                        r = read_at(reader->fd, reader->buffer.data, record.length,
                                    HEAD_SIZE + offset + sizeof(record));
                if (r < 0)
                        return r;
        }
        r = read_head(reader->fd, &now);
        if (r < 0)
                return r;
        if (now.tail > reader->position) {
                reader->position = now.tail;
                return -EOVERFLOW;
        }
        if (!makes_sense) {
                reader->position = now.head;
                return -EBADMSG;
        }
        reader->position += record.size;
        if (record.stream == FILLER)
                return 0;
        *ret_record = (struct logring_record){
                .stream = (enum logring_stream)record.stream,
                .time_ns = record.time_ns,
                .position = record.position,
                .data = { reader->buffer.data, record.length },
        };
        return 1;
}

int logring_read(struct logring_reader *reader, struct logring_record *ret_record)
{
        struct ring_head head;
        int r = read_head(reader->fd, &head);

        if (r < 0)
                return r;
        if (reader->position == 0)
                reader->position = head.tail;
        if (reader->position < head.tail) {
                reader->position = head.tail;
                return -EOVERFLOW;
        }
        if (reader->position > head.head || reader->position % ALIGNMENT != 0) {
                reader->position = head.head;
                return -EBADMSG;
        }
        while (reader->position < head.head) {
                r = read_record(reader, &head, ret_record);
                if (r != 0)
                        return r;
        }
        return 0;
}
