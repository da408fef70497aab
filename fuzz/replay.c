// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/fd.h"

/*
 * Gives a fuzzer every file of the directories named as arguments, so that what fuzzing once found
 * is tried in every test run, by any compiler.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(int directory, const char *name)
{
        enum { FILE_LIMIT = 16 * 1024 * 1024 };
        _cleanup_buffer_ struct buffer buffer = {};
        int r = file_read(directory, name, FILE_LIMIT, &buffer);

        if (r < 0) {
                fprintf(stderr, "%s: %s\n", name, strerror(-r));
                return r;
        }
        /* Of exactly the input's size, so that a sanitizer sees one byte too many. */
        uint8_t *copy = malloc(buffer.length + !buffer.length);
        if (!copy)
                return -ENOMEM;
        if (buffer.length > 0)
                memcpy(copy, buffer.data, buffer.length);
        LLVMFuzzerTestOneInput(copy, buffer.length);
        free(copy);
        return 0;
}

static int replay_directory(const char *path, unsigned *count)
{
        DIR *directory = opendir(path);
        const struct dirent *entry;
        int r = 0;

        if (!directory) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                return -errno;
        }
        while (r == 0 && (entry = readdir(directory))) {
                if (entry->d_name[0] == '.')
                        continue;
                r = replay_file(dirfd(directory), entry->d_name);
                (*count)++;
        }
        closedir(directory);
        return r;
}

int main(int argc, char **argv)
{
        unsigned count = 0;

        for (int i = 1; i < argc; i++)
                if (replay_directory(argv[i], &count) < 0)
                        return 1;
        printf("%u inputs\n", count);
        return count > 0 ? 0 : 1;
}
