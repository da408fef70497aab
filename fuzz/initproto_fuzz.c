// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "initproto/client.h"
#include "initproto/logring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct initproto_client *client;

static void on_output(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                      struct str data)
{
        (void)owner;
        if (initproto_client_consumed(client, stream, channel, data.length) < 0)
                abort();
}

static void on_started(void *owner, struct initproto_stream *stream, uint32_t pid, uint64_t time_ns)
{
        (void)owner;
        (void)time_ns;
        /* Closing from inside an event is allowed. */
        if (pid % 4 == 3 && stream->id != INITPROTO_STREAM_MAIN)
                initproto_client_close(client, stream);
}

static const struct initproto_events events = { .output = on_output, .started = on_started };

/* init lies: everything that a node reads from it, frames and the ring. */
static void read_frames(struct str bytes)
{
        const struct initproto_process process = { .flags = INITPROTO_STDIN,
                                                   .argv_count = 1,
                                                   .argv = { "cat", 4 } };
        struct initproto_stream *stream;

        if (initproto_client_new(&events, NULL, &client) < 0)
                return;
        initproto_client_exec(client, &process, NULL, &stream);
        initproto_client_input(client, stream, STR("hello"));
        initproto_client_connect(client, STR_EMPTY, 80, NULL, &stream);
        initproto_client_start(client, &process);
        for (size_t done = 0; done < bytes.length;) {
                size_t piece = MIN(bytes.length - done, (size_t)37);
                if (initproto_client_receive(client, str_slice(bytes, done, done + piece)) < 0)
                        break;
                done += piece;
        }
        initproto_client_free(client);
}

static void read_ring(struct str bytes)
{
        static int fd = -1;
        struct logring_reader reader;
        struct logring_record record;
        struct logring_status status;
        int r = 1;

        if (fd < 0)
                fd = memfd_create("ring", MFD_CLOEXEC);
        if (logring_format(fd, LOGRING_MIN) < 0 ||
            pwrite(fd, bytes.data, bytes.length, 0) < (ssize_t)bytes.length)
                return;
        logring_reader_init(&reader, fd, 0);
        for (int turn = 0; turn < 4096 && r == 1; turn++)
                r = logring_read(&reader, &record);
        logring_read_status(fd, &status);
        logring_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str bytes = { (const char *)data, size };

        if (size == 0)
                return 0;
        if (data[0] == 'c')
                read_ring(bytes);
        else
                read_frames(bytes);
        return 0;
}
