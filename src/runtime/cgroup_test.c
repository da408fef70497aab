// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/test.h"
#include "runtime/cgroup.h"

/*
 * v2 and v1 on a made-up tree of files: what is written where. (Real v1 is in runtime_test.c; these
 * test machines have no v2 hierarchy with controllers.)
 */
struct fixture {
        char folder[64];
        struct cgroup_tree tree;
};

static void make_file(int folder, const char *name, const char *text)
{
        _cleanup_close_ int fd = openat(folder, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void assert_file(const struct fixture *fixture, const char *name, const char *text)
{
        _cleanup_buffer_ struct buffer got = {};
        char path[128];

        snprintf(path, sizeof(path), "c/%s", name);
        assert_int_equal(file_read(fixture->tree.hierarchies[0].folder, path, 4096, &got), 0);
        if (!str_equal(buffer_str(&got), str_from(text)))
                fail_msg("%s holds \"%.*s\", expected \"%s\"", name, STR_FORMAT(buffer_str(&got)),
                         text);
}

static void make_tree(struct fixture *fixture, bool is_v2)
{
        static const char *const v2_files[] = { "cpu.max",         "cpu.weight",      "memory.max",
                                                "pids.max",        "memory.swap.max", "cgroup.kill",
                                                "memory.oom.group" };
        static const char *const v1_files[] = { "cpu.cfs_quota_us", "cpu.cfs_period_us",
                                                "cpu.shares", "memory.limit_in_bytes", "pids.max" };
        struct cgroup_hierarchy *hierarchy = &fixture->tree.hierarchies[0];

        *fixture = (struct fixture){ .folder = "/tmp/cay-cgroup-XXXXXX" };
        assert_non_null(mkdtemp(fixture->folder));
        hierarchy->folder = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        hierarchy->is_v2 = is_v2;
        hierarchy->controllers = CGROUP_ALL;
        fixture->tree.count = 1;
        assert_int_equal(cgroup_create(&fixture->tree, "c"), 0);
        /* Made already: fine. */
        assert_int_equal(cgroup_create(&fixture->tree, "c"), 0);
        int c = openat(hierarchy->folder, "c", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; is_v2 && i < ARRAY_SIZE(v2_files); i++)
                make_file(c, v2_files[i], "");
        for (size_t i = 0; !is_v2 && i < ARRAY_SIZE(v1_files); i++)
                make_file(c, v1_files[i], "");
        if (is_v2) {
                make_file(c, "memory.current", "4096\n");
                make_file(c, "memory.peak", "8192\n");
                make_file(c, "memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n");
                make_file(c, "cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n");
                make_file(c, "pids.current", "5\n");
                make_file(c, "cgroup.procs", "41\n42\n43\n");
        }
        close(c);
}

static void remove_tree(struct fixture *fixture)
{
        char command[128];

        cgroup_tree_close(&fixture->tree);
        snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
        assert_int_equal(system(command), 0);
}

static void v2_limits_are_written(void **state)
{
        static const struct {
                struct container_limits limits;
                const char *max, *weight, *memory, *swap, *pids;
        } cases[] = {
                { {}, "", "", "", "", "4096" },
                { { .cpu_milli = 500, .memory = 1 << 20, .processes = 10 },
                  "50000 100000",
                  "",
                  "1048576",
                  "0",
                  "10" },
                { { .cpu_milli = 2500, .cpu_weight_milli = 1000 },
                  "250000 100000",
                  "39",
                  "",
                  "",
                  "4096" },
                { { .cpu_milli = 1, .cpu_weight_milli = 1 }, "1000 100000", "1", "", "", "4096" },
                { { .cpu_weight_milli = 1024 * 1000 }, "", "10000", "", "", "4096" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture fixture;
                make_tree(&fixture, true);
                assert_int_equal(cgroup_set_limits(&fixture.tree, "c", &cases[i].limits), 0);
                assert_file(&fixture, "cpu.max", cases[i].max);
                assert_file(&fixture, "cpu.weight", cases[i].weight);
                assert_file(&fixture, "memory.max", cases[i].memory);
                assert_file(&fixture, "memory.swap.max", cases[i].swap);
                assert_file(&fixture, "memory.oom.group", "1");
                assert_file(&fixture, "pids.max", cases[i].pids);
                remove_tree(&fixture);
        }
}

static bool is_42(pid_t pid, void *data)
{
        (void)data;
        return pid == 42;
}

static bool never(pid_t pid, void *data)
{
        *(int *)data += pid;
        return false;
}

static void v2_is_read_and_killed(void **state)
{
        struct container_usage usage;
        struct fixture fixture;
        int files[CGROUP_HIERARCHIES], fd, sum = 0;

        (void)state;
        make_tree(&fixture, true);
        assert_int_equal(cgroup_usage(&fixture.tree, "c", &usage), 0);
        assert_int_equal(usage.memory, 4096);
        assert_int_equal(usage.memory_peak, 8192);
        assert_int_equal(usage.oom_kills, 2);
        assert_int_equal(usage.cpu_ns, 1500000);
        assert_int_equal(usage.processes, 5);
        assert_int_equal(cgroup_usage(&fixture.tree, "absent", &usage), -ENOENT);
        assert_int_equal(cgroup_find(&fixture.tree, "c", is_42, NULL), 42);
        assert_int_equal(cgroup_find(&fixture.tree, "c", never, &sum), 0);
        assert_int_equal(sum, 126);
        assert_int_equal(cgroup_kill(&fixture.tree, "c"), 0);
        assert_file(&fixture, "cgroup.kill", "1");
        assert_int_equal(cgroup_kill(&fixture.tree, "absent"), 0);
        assert_int_equal(cgroup_open_v2(&fixture.tree, "c", &fd), 0);
        close(fd);
        /* Nothing is written by hand where CLONE_INTO_CGROUP does it. */
        assert_int_equal(cgroup_open_v1(&fixture.tree, "c", files), 0);
        assert_int_equal(cgroup_remove(&fixture.tree, "absent"), 0);
        assert_true(cgroup_remove(&fixture.tree, "c") < 0);
        remove_tree(&fixture);
}

static void v1_limits_are_written(void **state)
{
        const struct container_limits limits = { .cpu_milli = 250,
                                                 .cpu_weight_milli = 500,
                                                 .memory = 4096 };
        struct fixture fixture;
        int fd;

        (void)state;
        make_tree(&fixture, false);
        /* Without memory.memsw, as on a kernel that does not account for swap. */
        assert_int_equal(cgroup_set_limits(&fixture.tree, "c", &limits), 0);
        assert_file(&fixture, "cpu.cfs_period_us", "100000");
        assert_file(&fixture, "cpu.cfs_quota_us", "25000");
        assert_file(&fixture, "cpu.shares", "512");
        assert_file(&fixture, "memory.limit_in_bytes", "4096");
        assert_file(&fixture, "pids.max", "4096");
        assert_int_equal(cgroup_open_v2(&fixture.tree, "c", &fd), -ENOENT);
        remove_tree(&fixture);
}

enum { DYING = 20 };

/* Where the processes of a cgroup end when all have been told to. */
struct ender {
        int folder;
        bool all_killed, stops;
};

static void *end_when_all_are_killed(void *user)
{
        struct ender *ender = user;
        char path[64];

        while (!ender->all_killed && !__atomic_load_n(&ender->stops, __ATOMIC_ACQUIRE)) {
                ender->all_killed = true;
                for (int i = 0; i < DYING; i++) {
                        struct stat info;
                        snprintf(path, sizeof(path), "%d-0/cgroup.kill", i);
                        ender->all_killed &=
                                fstatat(ender->folder, path, &info, 0) == 0 && info.st_size == 1;
                }
                poll(NULL, 0, 1);
        }
        for (int i = DYING; i-- > 0;) {
                snprintf(path, sizeof(path), "%d-0/cgroup.kill", i);
                unlinkat(ender->folder, path, 0);
        }
        return NULL;
}

static bool is_c(const char *name, void *data)
{
        return strcmp(name, data) == 0;
}

/* One after the other, thousands of sandboxes would take a minute. */
static void all_end_side_by_side(void **state)
{
        struct ender ender = {};
        struct fixture fixture;
        struct stat info;
        pthread_t thread;
        char name[32];

        (void)state;
        make_tree(&fixture, true);
        ender.folder = fixture.tree.hierarchies[0].folder;
        for (int i = 0; i < DYING; i++) {
                snprintf(name, sizeof(name), "%d-0", i);
                assert_int_equal(cgroup_create(&fixture.tree, name), 0);
                snprintf(name, sizeof(name), "%d-0/cgroup.kill", i);
                make_file(ender.folder, name, "");
        }
        make_file(ender.folder, "cgroup.procs", "");
        assert_int_equal(pthread_create(&thread, NULL, end_when_all_are_killed, &ender), 0);
        assert_int_equal(cgroup_end_all(&fixture.tree, is_c, "c"), 0);
        __atomic_store_n(&ender.stops, true, __ATOMIC_RELEASE);
        pthread_join(thread, NULL);
        assert_true(ender.all_killed);
        for (int i = 0; i < DYING; i++) {
                snprintf(name, sizeof(name), "%d-0", i);
                assert_int_equal(fstatat(ender.folder, name, &info, 0), -1);
        }
        assert_file(&fixture, "cgroup.kill", "");
        remove_tree(&fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(v2_limits_are_written),
                cmocka_unit_test(v2_is_read_and_killed),
                cmocka_unit_test(v1_limits_are_written),
                cmocka_unit_test(all_end_side_by_side),
        };
        return run_unit_tests("cgroup", tests);
}
