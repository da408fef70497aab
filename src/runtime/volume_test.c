// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "runtime/runtime_test.h"

static void make_volume(struct testbed *bed, const char *name, mode_t mode)
{
        char path[200];

        snprintf(path, sizeof(path), "%s/%s", bed->volumes, name);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chmod(path, mode), 0);
        assert_int_equal(chown(path, bed->config.node_user, bed->config.node_group), 0);
}

static void write_volume_file(struct testbed *bed, const char *name, const char *text)
{
        char path[200];

        snprintf(path, sizeof(path), "%s/%s", bed->volumes, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
        assert_int_equal(fchown(fd, bed->config.node_user, bed->config.node_group), 0);
}

static void add_mount(struct container_spec *spec, const char *source, const char *target,
                      bool read_only)
{
        struct container_mount *mount = &spec->mounts[spec->mount_count++];

        snprintf(mount->source, sizeof(mount->source), "%s", source);
        snprintf(mount->target, sizeof(mount->target), "%s", target);
        mount->read_only = read_only;
}

static void volumes_are_shared_and_outlive_containers(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0), other = testbed_spec("two", 0);
        struct container_key key = testbed_key("one", 0), second = testbed_key("two", 0);
        uint64_t call;

        make_volume(bed, "data", 0777);
        make_volume(bed, "config", 0755);
        write_volume_file(bed, "config/key", "value\n");
        write_volume_file(bed, "hosts", "127.0.0.1 localhost here\n");
        add_mount(&spec, "data", "/data/deep/down", false);
        add_mount(&spec, "config", "/etc/config", true);
        add_mount(&spec, "hosts", "/etc/hosts", true);
        add_mount(&spec, "config", "/var/run/secrets/token", true);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "cat /etc/config/key /run/secrets/token/key", 0, "value\nvalue\n");
        assert_run(bed, &key, "stat -c %u:%g:%a /etc/config/key /data/deep/down", 0,
                   "0:0:644\n0:0:777\n");
        assert_run(bed, &key, "grep -c here /etc/hosts", 0, "1\n");
        assert_run(bed, &key, "touch /etc/config/new", 1, NULL);
        assert_run(bed, &key, "echo x > /etc/hosts", 2, NULL);
        assert_run(bed, &key, "echo kept > /data/deep/down/f; chmod 4755 /data/deep/down/f", 0, "");

        /* Another sandbox, another slot, another user: the same file, the same owner. */
        add_mount(&other, "data", "/data", false);
        other.user = other.group = 1000;
        assert_int_equal(testbed_create(bed, "two", testbed_address(bed, 2)), 0);
        assert_int_equal(testbed_launch(bed, &other), 0);
        assert_run(bed, &second,
                   "cat /data/f; stat -c %u /data/f; touch /data/g; "
                   "stat -c %u:%g /data/g",
                   0, "kept\n0\n1000:1000\n");
        assert_run(bed, &key, "stat -c %u:%g /data/deep/down/g", 0, "1000:1000\n");

        /* On disk it is the node's user and the range of volumes; never the host's root. */
        struct stat info;
        char path[200];
        snprintf(path, sizeof(path), "%s/data/f", bed->volumes);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_uid, bed->config.node_user);
        snprintf(path, sizeof(path), "%s/data/g", bed->volumes);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_uid, 0x70000000 + 1000);

        /* Owned by a group of the container; then emptied, whoever owns what is in it. */
        assert_int_equal(runtime_own(bed->runtime, "data", 0, 3000, 02775, &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_run(bed, &key, "stat -c %u:%g:%a /data/deep/down", 0, "0:3000:2775\n");
        assert_int_equal(runtime_purge(bed->runtime, "data", &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_run(bed, &key, "ls -A /data/deep/down", 0, "");
}

/* As the file for termination messages: what its mode allows everybody is allowed, and no more. */
static void plain_files_belong_to_nobody(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);
        char path[200];

        write_volume_file(bed, "message", "");
        write_volume_file(bed, "program", "#!/bin/sh\necho ran\n");
        snprintf(path, sizeof(path), "%s/message", bed->volumes);
        assert_int_equal(chmod(path, 0666), 0);
        snprintf(path, sizeof(path), "%s/program", bed->volumes);
        assert_int_equal(chmod(path, 0755), 0);
        add_mount(&spec, "message", "/dev/termination-log", false);
        add_mount(&spec, "program", "/app/bin/program", true);
        spec.mounts[0].plain = spec.mounts[1].plain = true;
        spec.user = spec.group = 1000;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "/app/bin/program; echo done > /dev/termination-log", 0, "ran\n");
        assert_run(bed, &key, "stat -c %u:%a /dev/termination-log", 0, "65534:666\n");
        assert_run(bed, &key, "chmod 600 /dev/termination-log 2>/dev/null", 1, "");
        assert_run(bed, &key, "echo x 2>/dev/null > /app/bin/program", 2, "");
        snprintf(path, sizeof(path), "grep -c done %s/message", bed->volumes);
        assert_int_equal(count_lines(path), 1);
}

static void volumes_in_memory_are_bounded_and_go_with_their_folder(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);
        char path[200], mounts[128];
        struct stat info;
        uint64_t call;

        make_volume(bed, "pod", 0755);
        make_volume(bed, "pod/memory", 0755);
        snprintf(mounts, sizeof(mounts), "grep %s/pod /proc/mounts", bed->volumes);
        for (int i = 0; i < 2; i++) { /* the second time it is there already */
                assert_int_equal(runtime_memory(bed->runtime, "pod/memory", 2 << 20, &call), 0);
                assert_int_equal(testbed_wait(bed, call), 0);
                assert_int_equal(count_lines(mounts), 1);
        }
        add_mount(&spec, "pod/memory", "/memory", false);
        spec.user = spec.group = 1000;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "echo kept > /memory/f; stat -c %u:%g /memory/f", 0, "1000:1000\n");
        assert_run(bed, &key, "head -c 3M /dev/zero > /memory/g 2>/dev/null", 1, "");
        assert_run(bed, &key, "rm /memory/g; cp /bin/true /memory/g && /memory/g", 0, "");
        assert_run(bed, &key, "mkdir -p /memory/a/b && ln -s / /memory/a/l", 0, "");
        /* It outlives the container and the launcher. */
        assert_int_equal(runtime_kill(bed->runtime, &key, &call), 0);
        testbed_wait_exit(bed, 0, 1);
        testbed_launcher_end(bed, SIGKILL);
        testbed_launcher_start(bed);
        testbed_node_restart(bed);
        assert_int_equal(testbed_destroy(bed, "one"), 0);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "cat /memory/f", 0, "kept\n");
        assert_int_equal(testbed_destroy(bed, "one"), 0);

        assert_int_equal(runtime_purge(bed->runtime, "pod", &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_int_equal(count_lines(mounts), 0);
        snprintf(path, sizeof(path), "%s/pod/memory", bed->volumes);
        assert_int_equal(stat(path, &info), -1);
        /* What is left is taken away when all is cleaned up: see the teardown. */
        make_volume(bed, "left", 0755);
        assert_int_equal(runtime_memory(bed->runtime, "left", 0, &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_int_equal(runtime_memory(bed->runtime, "none", 0, &call), -ENOENT);
}

static void volumes_are_measured(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);
        uint64_t call;

        make_volume(bed, "data", 0777);
        add_mount(&spec, "data", "/data", false);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key,
                   "umask 077; mkdir /data/d; head -c 1M /dev/zero > /data/d/f; ln -s / /data/l; "
                   "cd /data; mkdir -p $(yes x | head -300 | tr '\\n' /)",
                   0, "");
        assert_int_equal(runtime_measure(bed->runtime, "data", &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_true(bed->measured >= 1 << 20);
        assert_true(bed->measured < 4 << 20);
}

static void bad_volumes_are_refused(void **state)
{
        static const struct {
                const char *source, *target;
                int result;
        } cases[] = {
                { "absent", "/a", -ENOENT },
                { "../run", "/a", -EXDEV },
                { "link", "/a", -ELOOP },
                { "data", "a", -EINVAL },
                { "data", "/", -EINVAL },
                { "data", "/a/../b", -EINVAL },
                { "data", "/a//b", -EINVAL },
                { "data", "/a/", -EINVAL },
                { "data", "/usr/new/place", -EROFS },
                { "pipe", "/a", -EINVAL },
                { "file", "/etc", -EISDIR },
        };
        struct testbed *bed = *state;
        char path[200];
        uint64_t call;

        make_volume(bed, "data", 0777);
        write_volume_file(bed, "file", "");
        snprintf(path, sizeof(path), "%s/link", bed->volumes);
        assert_int_equal(symlink("/etc", path), 0);
        snprintf(path, sizeof(path), "%s/pipe", bed->volumes);
        assert_int_equal(mkfifo(path, 0644), 0);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_spec spec = testbed_spec("one", 0);
                spec.attempt = (uint32_t)i;
                add_mount(&spec, cases[i].source, cases[i].target, false);
                int r = testbed_launch(bed, &spec);
                if (r != cases[i].result)
                        fail_msg("%s on %s gave %d", cases[i].source, cases[i].target, r);
        }
        /* The container can still be launched. */
        struct container_spec spec = testbed_spec("one", 0);
        spec.attempt = 100;
        assert_int_equal(testbed_launch(bed, &spec), 0);

        /* What is not the node's cannot be given away or emptied. */
        snprintf(path, sizeof(path), "%s/roots", bed->volumes);
        assert_int_equal(mkdir(path, 0755), 0);
        assert_int_equal(runtime_own(bed->runtime, "roots", 0, 0, 0755, &call), 0);
        assert_int_equal(testbed_wait(bed, call), -EACCES);
        assert_int_equal(runtime_purge(bed->runtime, "roots", &call), 0);
        assert_int_equal(testbed_wait(bed, call), -EACCES);
        assert_int_equal(runtime_own(bed->runtime, "data", 0, 0, 04755, &call), -EINVAL);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WITH_BED(volumes_are_shared_and_outlive_containers),
                WITH_BED(plain_files_belong_to_nobody),
                WITH_BED(volumes_in_memory_are_bounded_and_go_with_their_folder),
                WITH_BED(volumes_are_measured),
                WITH_BED(bad_volumes_are_refused),
        };

        if (!may_run(argc, argv))
                return 0;
        return run_unit_tests("volume", tests);
}
