// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/test.h"

/* A folder for one test. */
struct test_folder {
        char path[24];
        int fd;
};

static inline void test_folder_make(struct test_folder *folder)
{
        *folder = (struct test_folder){ .path = "/tmp/cay-unit-XXXXXX" };
        assert_non_null(mkdtemp(folder->path));
        folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(folder->fd >= 0);
}

static inline int test_folder_remove_one(const char *path, const struct stat *status _unused_,
                                         int type _unused_, struct FTW *place _unused_)
{
        return remove(path);
}

/* Removes it with all that is in it. */
static inline void test_folder_remove(struct test_folder *folder)
{
        fd_close(folder->fd);
        assert_int_equal(nftw(folder->path, test_folder_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}
#define _cleanup_test_folder_ _cleanup_(test_folder_remove)

/* For cmocka_unit_test_setup_teardown(): *state is the folder. */
static inline int test_folder_setup(void **state)
{
        struct test_folder *folder = calloc(1, sizeof(*folder));

        assert_non_null(folder);
        test_folder_make(folder);
        *state = folder;
        return 0;
}

static inline int test_folder_teardown(void **state)
{
        test_folder_remove(*state);
        free(*state);
        return 0;
}
