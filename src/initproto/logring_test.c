// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/test.h"
#include "initproto/logring.h"

static int ring_new(size_t size)
{
        int fd = memfd_create("ring", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(logring_format(fd, size), 0);
        return fd;
}

static void what_is_written_is_read(void **state)
{
        _cleanup_close_ int fd = ring_new(LOGRING_MIN);
        _cleanup_(logring_reader_deinit) struct logring_reader reader;
        struct logring_writer writer, second;
        struct logring_record record;
        struct logring_status status;

        (void)state;
        assert_int_equal(logring_writer_init(&writer, fd), 0);
        assert_int_equal(logring_write_started(&writer, 5), 0);
        assert_int_equal(logring_write(&writer, LOGRING_STDOUT, 10, "one\n", 4), 0);
        /* A writer that comes later goes on where the first ended. */
        assert_int_equal(logring_writer_init(&second, fd), 0);
        assert_int_equal(logring_write(&second, LOGRING_STDERR, 11, "two", 3), 0);

        logring_reader_init(&reader, fd, 0);
        assert_int_equal(logring_read(&reader, &record), 1);
        assert_int_equal(record.stream, LOGRING_STDOUT);
        assert_int_equal(record.time_ns, 10);
        assert_true(str_equal(record.data, STR("one\n")));
        assert_int_equal(logring_read(&reader, &record), 1);
        assert_int_equal(record.stream, LOGRING_STDERR);
        assert_true(str_equal(record.data, STR("two")));
        assert_int_equal(logring_read(&reader, &record), 0);

        assert_int_equal(logring_read_status(fd, &status), 0);
        assert_false(status.has_exited);
        assert_int_equal(status.started_ns, 5);
        assert_int_equal(status.head, reader.position);
        struct initproto_exit exit = { .code = 143, .signal = 15, .finished_ns = 20 };
        assert_int_equal(logring_write_exit(&second, &exit), 0);
        assert_int_equal(logring_read_status(fd, &status), 0);
        assert_true(status.has_exited);
        assert_int_equal(status.exit.code, 143);
        assert_int_equal(status.exit.signal, 15);
}

/* Writes numbered lines of changing length; the reader sees each or is told of the loss. */
static void oldest_is_lost_first_and_the_reader_is_told(void **state)
{
        _cleanup_close_ int fd = ring_new(LOGRING_MIN);
        _cleanup_(logring_reader_deinit) struct logring_reader reader;
        struct logring_writer writer;
        struct logring_record record;
        unsigned written = 0, expected = 0, losses = 0;

        (void)state;
        assert_int_equal(logring_writer_init(&writer, fd), 0);
        logring_reader_init(&reader, fd, 0);
        for (unsigned round = 0; round < 400; round++) {
                unsigned burst = round % 50 == 49 ? 200 : 7;
                for (unsigned i = 0; i < burst; i++) {
                        char line[1400];
                        memset(line, '.', sizeof(line));
                        int length = snprintf(line, sizeof(line), "%u", written);
                        line[length] = ' ';
                        assert_int_equal(logring_write(&writer, LOGRING_STDOUT, written, line,
                                                       20 + written * 37 % 1300),
                                         0);
                        written++;
                }
                for (int r; (r = logring_read(&reader, &record)) != 0;) {
                        if (r == -EOVERFLOW) {
                                losses++;
                                expected = UINT32_MAX;
                                continue;
                        }
                        assert_int_equal(r, 1);
                        unsigned number = (unsigned)strtoul(record.data.data, NULL, 10);
                        if (expected == UINT32_MAX)
                                expected = number;
                        assert_int_equal(number, expected);
                        assert_int_equal(record.data.length, 20 + number * 37 % 1300);
                        expected = number + 1;
                }
                assert_int_equal(expected, written);
        }
        assert_int_equal(losses, 8);
}

static void *write_much(void *data)
{
        struct logring_writer writer;
        char line[3000];

        if (logring_writer_init(&writer, *(int *)data) < 0)
                return data;
        for (unsigned i = 0; i < 60000; i++) {
                size_t length = 100 + i * 97 % 2900;
                memset(line, (int)('a' + i % 26), length);
                if (logring_write(&writer, LOGRING_STDOUT, i, line, length) < 0)
                        return data;
        }
        return NULL;
}

/* A reader beside the writer gets whole records or is told of a loss, never a mixture. */
static void a_reader_beside_the_writer_sees_whole_records(void **state)
{
        int fd = ring_new(LOGRING_MIN);
        _cleanup_(logring_reader_deinit) struct logring_reader reader;
        struct logring_record record;
        uint64_t last = 0;
        unsigned records = 0;
        pthread_t writer;
        void *failed;

        (void)state;
        logring_reader_init(&reader, fd, 0);
        assert_int_equal(pthread_create(&writer, NULL, write_much, &fd), 0);
        while (last < 59999) {
                int r = logring_read(&reader, &record);
                if (r == 0 || r == -EOVERFLOW)
                        continue;
                assert_int_equal(r, 1);
                assert_true(records == 0 || record.time_ns > last);
                last = record.time_ns;
                records++;
                assert_int_equal(record.data.length, 100 + last * 97 % 2900);
                for (size_t i = 0; i < record.data.length; i++)
                        assert_int_equal(record.data.data[i], 'a' + last % 26);
        }
        assert_int_equal(pthread_join(writer, &failed), 0);
        assert_null(failed);
        close(fd);
}

static void long_output_is_cut_into_records(void **state)
{
        _cleanup_close_ int fd = ring_new(LOGRING_MIN);
        _cleanup_(logring_reader_deinit) struct logring_reader reader;
        static char much[LOGRING_RECORD * 2 + 5];
        struct logring_writer writer;
        struct logring_record record;
        size_t total = 0;

        (void)state;
        memset(much, 'x', sizeof(much));
        assert_int_equal(logring_writer_init(&writer, fd), 0);
        assert_int_equal(logring_write(&writer, LOGRING_STDOUT, 1, much, sizeof(much)), 0);
        logring_reader_init(&reader, fd, 0);
        while (logring_read(&reader, &record) == 1)
                total += record.data.length;
        assert_int_equal(total, sizeof(much));
}

static void sizes_out_of_range_are_refused(void **state)
{
        static const size_t sizes[] = { 0, 4096, LOGRING_MIN - 1, LOGRING_MIN + 1,
                                        LIMIT_LOG_RING + 4096 };
        _cleanup_close_ int fd = memfd_create("ring", MFD_CLOEXEC);
        struct logring_status status;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
                assert_int_equal(logring_format(fd, sizes[i]), -EINVAL);
        assert_int_equal(logring_read_status(fd, &status), -EBADMSG);
}

/* Any byte of the file changed, cut short or replaced: an answer, never a crash or a hang. */
static void nonsense_in_the_file_is_survived(void **state)
{
        uint32_t random = 12345;

        (void)state;
        for (int round = 0; round < 2000; round++) {
                _cleanup_close_ int fd = ring_new(LOGRING_MIN);
                _cleanup_(logring_reader_deinit) struct logring_reader reader;
                struct logring_writer writer;
                struct logring_record record;
                assert_int_equal(logring_writer_init(&writer, fd), 0);
                for (int i = 0; i < 5; i++)
                        assert_int_equal(logring_write(&writer, LOGRING_STDOUT, 1, "text", 4), 0);
                for (int i = 0; i < 3; i++) {
                        random = random * 1664525 + 1013904223;
                        char byte = (char)(random >> 24);
                        long place = (long)(random >> 8) % 400;
                        if (place >= 64)
                                place += 4096 - 64;
                        assert_int_equal(pwrite(fd, &byte, 1, place), 1);
                }
                if (round % 7 == 0)
                        assert_int_equal(ftruncate(fd, 4096 + round % 300), 0);
                logring_reader_init(&reader, fd, 0);
                int turns = 0;
                for (int r = 1; r == 1 || r == -EOVERFLOW; r = logring_read(&reader, &record)) {
                        assert_true(++turns < 5000);
                        if (r == -EOVERFLOW && turns > 20)
                                break;
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_written_is_read),
                cmocka_unit_test(oldest_is_lost_first_and_the_reader_is_told),
                cmocka_unit_test(a_reader_beside_the_writer_sees_whole_records),
                cmocka_unit_test(long_output_is_cut_into_records),
                cmocka_unit_test(sizes_out_of_range_are_refused),
                cmocka_unit_test(nonsense_in_the_file_is_survived),
        };
        return run_unit_tests("logring", tests);
}
