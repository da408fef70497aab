// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/test.h"
#include "sandboxd/root.h"
#include "sandboxd/tree.h"
#include "sandboxd/upload.h"

struct world {
        char path[64]; /* holds the root "in" and a directory "out" */
        struct root root;
};

static void make(const char *path, const char *contents)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_full(fd, contents, strlen(contents)), 0);
}

static int setup(void **state)
{
        struct world *world = calloc(1, sizeof(*world));
        char target[128];

        strcpy(world->path, "/tmp/sandboxd-files-XXXXXX");
        assert_non_null(mkdtemp(world->path));
        assert_int_equal(chdir(world->path), 0);
        snprintf(target, sizeof(target), "%s/in/deep/made", world->path);
        assert_int_equal(root_open(&world->root, target, NULL), 0);
        root_close(&world->root);
        snprintf(target, sizeof(target), "%s/in", world->path);
        assert_int_equal(root_open(&world->root, target, NULL), 0);

        assert_int_equal(mkdir("out", 0755), 0);
        make("out/secret", "secret");
        make("in/file", "file");
        make("in/deep/file", "deep");
        assert_int_equal(symlink("../file", "in/deep/up"), 0);
        assert_int_equal(symlink("deep", "in/dir-link"), 0);
        snprintf(target, sizeof(target), "%s/in/file", world->path);
        assert_int_equal(symlink(target, "in/absolute"), 0);
        assert_int_equal(symlink("../out", "in/out-dir"), 0);
        assert_int_equal(symlink("../out/secret", "in/out-file"), 0);
        assert_int_equal(symlink("/etc/passwd", "in/etc"), 0);
        assert_int_equal(symlink("nowhere", "in/dangling"), 0);
        assert_int_equal(symlink("loop", "in/loop"), 0);
        *state = world;
        return 0;
}

static int teardown(void **state)
{
        struct world *world = *state;
        struct root root;

        root_close(&world->root);
        assert_int_equal(root_open(&root, world->path, NULL), 0);
        assert_int_equal(tree_remove(&root, ".", true), 0);
        root_close(&root);
        assert_int_equal(chdir("/"), 0);
        assert_int_equal(rmdir(world->path), 0);
        free(world);
        return 0;
}

static void paths_are_cleaned(void **state)
{
        struct root root = { .path = (char *)(uintptr_t) "/workspace" };
        struct root everything = { .path = (char *)(uintptr_t) "/" };
        char clean[PATH_MAX], long_name[NAME_MAX + 2];
        static const struct {
                const char *path, *clean;
                bool strip;
        } good[] = {
                { "", "." },
                { "/", "." },
                { ".", "." },
                { "a", "a" },
                { "/a//b/./c/", "a/b/c" },
                { "a/../b", "b" },
                { "a/..", "." },
                { "a/b/../../c", "c" },
                { "...", "..." },
                { "/workspace/a", "workspace/a" },
                { "/workspace/a", "a", true },
                { "/workspace", ".", true },
                { "/workspace-evil/a", "workspace-evil/a", true },
                { "workspace/a", "workspace/a", true },
        };
        static const char *const escapes[] = { "..", "../a", "/..", "a/../..", "a/../../b/c" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(root_clean(&root, str_from(good[i].path), good[i].strip, clean),
                                 0);
                assert_string_equal(clean, good[i].clean);
        }
        for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
                assert_int_equal(root_clean(&root, str_from(escapes[i]), true, clean), -EXDEV);
        assert_int_equal(root_clean(&everything, STR("/workspace/a"), true, clean), 0);
        assert_string_equal(clean, "workspace/a");
        assert_int_equal(root_clean(&root, (struct str){ "a\0b", 3 }, false, clean), -EINVAL);
        memset(long_name, 'x', sizeof(long_name));
        assert_int_equal(
                root_clean(&root, (struct str){ long_name, sizeof(long_name) }, false, clean),
                -ENAMETOOLONG);
        char *huge = malloc(2 * PATH_MAX);
        for (size_t i = 0; i < 2 * PATH_MAX; i++)
                huge[i] = i % 2 ? '/' : 'a';
        assert_int_equal(root_clean(&root, (struct str){ huge, 2 * PATH_MAX }, false, clean),
                         -ENAMETOOLONG);
        free(huge);
}

static void opening_stays_inside(void **state)
{
        struct world *world = *state;
        static const struct {
                const char *path;
                int result;
        } cases[] = {
                { ".", 0 },
                { "file", 0 },
                { "deep/up", 0 },
                { "dir-link/file", 0 },
                { "absolute", 0 },
                { "missing", -ENOENT },
                { "dangling", -ENOENT },
                { "file/x", -ENOTDIR },
                { "loop", -ELOOP },
                { "out-dir", -EXDEV },
                { "out-dir/secret", -EXDEV },
                { "out-dir/missing", -EXDEV },
                { "out-file", -EXDEV },
                { "etc", -EXDEV },
        };

        for (int old = 0; old < 2; old++) {
                for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                        _cleanup_close_ int fd =
                                root_open_path(&world->root, cases[i].path, O_RDONLY);
                        int result = MIN(fd, 0);

                        /* Without openat2 what is missing outside cannot be told apart. */
                        if (old && strcmp(cases[i].path, "out-dir/missing") == 0)
                                assert_int_equal(result, -ENOENT);
                        else if (result != cases[i].result)
                                fail_msg("%s: %d", cases[i].path, result);
                }
                world->root.has_openat2 = false;
        }
}

static int put(const struct root *root, const char *path, const char *contents, int mode)
{
        struct upload upload;
        int r = upload_begin(&upload, root, path, mode);

        if (r < 0)
                return r;
        assert_int_equal(upload_write(&upload, contents, strlen(contents)), 0);
        return upload_commit(&upload, true);
}

static void assert_contents(const char *path, const char *contents, mode_t mode)
{
        _cleanup_buffer_ struct buffer buffer = {};
        struct stat stat;

        assert_int_equal(file_read(AT_FDCWD, path, 1000, &buffer), 0);
        assert_true(str_equal(buffer_str(&buffer), str_from(contents)));
        assert_int_equal(lstat(path, &stat), 0);
        assert_true(S_ISREG(stat.st_mode));
        assert_int_equal(stat.st_mode & 07777, mode);
}

static void uploads_land_whole(void **state)
{
        struct world *world = *state;
        const struct root *root = &world->root;
        char many[PATH_MAX] = "";

        umask(022);
        assert_int_equal(put(root, "new/parents/file", "1", 0600), 0);
        assert_contents("in/new/parents/file", "1", 0600);
        assert_int_equal(put(root, "file", "2", 0755), 0);
        assert_contents("in/file", "2", 0755);
        assert_int_equal(put(root, "file", "3", UPLOAD_KEEP_MODE), 0);
        assert_contents("in/file", "3", 0755);
        assert_int_equal(put(root, "fresh", "4", UPLOAD_KEEP_MODE), 0);
        assert_contents("in/fresh", "4", 0644);

        /* Links inside are written through, a dangling one is replaced. */
        assert_int_equal(put(root, "deep/up", "5", UPLOAD_KEEP_MODE), 0);
        assert_contents("in/file", "5", 0755);
        assert_int_equal(put(root, "dangling", "6", 0644), 0);
        assert_contents("in/dangling", "6", 0644);

        assert_int_equal(put(root, ".", "x", 0644), -EISDIR);
        assert_int_equal(put(root, "deep", "x", 0644), -EISDIR);
        assert_int_equal(put(root, "dir-link", "x", 0644), -EISDIR);
        assert_int_equal(put(root, "file/x", "x", 0644), -ENOTDIR);
        assert_int_equal(put(root, "out-file", "x", 0644), -EXDEV);
        assert_int_equal(put(root, "out-dir/x", "x", 0644), -EXDEV);
        assert_int_equal(put(root, "out-dir/a/b", "x", 0644), -EXDEV);
        assert_contents("out/secret", "secret", 0644);
        assert_int_equal(access("out/a", F_OK), -1);

        for (int i = 0; i < 1000; i++)
                strcat(many, "a/");
        strcat(many, "end");
        assert_int_equal(put(root, many, "x", 0644), 0);
}

static void an_aborted_upload_leaves_nothing(void **state)
{
        struct world *world = *state;
        _cleanup_arena_ struct arena arena = {};
        struct tree_entry *entries;
        struct upload upload;
        size_t before, after;

        assert_int_equal(tree_list(&world->root, ".", false, &arena, &entries, &before), 0);
        assert_int_equal(upload_begin(&upload, &world->root, "file", 0600), 0);
        assert_int_equal(upload_write(&upload, "half", 4), 0);
        assert_contents("in/file", "file", 0644);
        upload_abort(&upload);
        upload_abort(&upload);
        assert_contents("in/file", "file", 0644);
        assert_int_equal(tree_list(&world->root, ".", false, &arena, &entries, &after), 0);
        assert_int_equal(before, after);
}

static void listings_are_sorted_and_confined(void **state)
{
        struct world *world = *state;
        _cleanup_arena_ struct arena arena = {};
        struct tree_entry *entries;
        size_t count;
        static const char *const expected[] = { "absolute", "deep", "dir-link", "file" };

        assert_int_equal(tree_list(&world->root, ".", true, &arena, &entries, &count), 0);
        assert_int_equal(count, ARRAY_SIZE(expected));
        for (size_t i = 0; i < count; i++)
                assert_string_equal(entries[i].name, expected[i]);
        assert_true(S_ISREG(entries[0].stat.st_mode));
        assert_true(S_ISDIR(entries[2].stat.st_mode));
        assert_int_equal(entries[3].stat.st_size, 4);

        assert_int_equal(tree_list(&world->root, ".", false, &arena, &entries, &count), 0);
        assert_int_equal(count, 9);
        assert_int_equal(tree_list(&world->root, "deep/made", true, &arena, &entries, &count), 0);
        assert_int_equal(count, 0);
        assert_int_equal(tree_list(&world->root, "file", true, &arena, &entries, &count), -ENOTDIR);
        assert_int_equal(tree_list(&world->root, "out-dir", true, &arena, &entries, &count),
                         -EXDEV);
}

static void removal_never_follows(void **state)
{
        struct world *world = *state;
        const struct root *root = &world->root;

        assert_int_equal(tree_remove(root, "missing", true), -ENOENT);
        assert_int_equal(tree_remove(root, "deep", false), -ENOTEMPTY);
        assert_int_equal(tree_remove(root, ".", false), -ENOTEMPTY);
        assert_int_equal(tree_remove(root, "out-dir", true), -EXDEV);
        assert_int_equal(tree_remove(root, "out-dir/secret", true), -EXDEV);
        assert_int_equal(tree_remove(root, "etc", false), -EXDEV);
        assert_int_equal(tree_remove(root, "dangling", false), 0);
        assert_int_equal(tree_remove(root, "dir-link", true), 0);
        assert_int_equal(tree_remove(root, "absolute", false), 0);
        assert_contents("in/deep/file", "deep", 0644);
        assert_contents("in/file", "file", 0644);

        assert_int_equal(symlink("../../out", "in/deep/made/escape"), 0);
        assert_int_equal(tree_remove(root, "deep", true), 0);
        assert_int_equal(access("in/deep", F_OK), -1);
        assert_int_equal(tree_remove(root, ".", true), 0);
        assert_int_equal(access("in/out-file", F_OK), -1);
        assert_int_equal(access("in", F_OK), 0);
        assert_contents("out/secret", "secret", 0644);
}

static void very_deep_trees_are_removed(void **state)
{
        struct world *world = *state;
        int fd = open("in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (int i = 0; i < 3000; i++) {
                assert_int_equal(mkdirat(fd, "d", 0755), 0);
                assert_int_equal(mkdirat(fd, "e", 0755), 0);
                int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_true(next >= 0);
                fd_close(fd);
                fd = next;
        }
        fd_close(fd);
        assert_int_equal(tree_remove(&world->root, "d", true), 0);
        assert_int_equal(access("in/d", F_OK), -1);
        assert_int_equal(access("in/file", F_OK), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_are_cleaned),
                cmocka_unit_test_setup_teardown(opening_stays_inside, setup, teardown),
                cmocka_unit_test_setup_teardown(uploads_land_whole, setup, teardown),
                cmocka_unit_test_setup_teardown(an_aborted_upload_leaves_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(listings_are_sorted_and_confined, setup, teardown),
                cmocka_unit_test_setup_teardown(removal_never_follows, setup, teardown),
                cmocka_unit_test_setup_teardown(very_deep_trees_are_removed, setup, teardown),
        };
        return run_unit_tests("files", tests);
}
