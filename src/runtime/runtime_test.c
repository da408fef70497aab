// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "initproto/logring.h"
#include "runtime/request.h"
#include "runtime/runtime_test.h"

static void containers_run_commands(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        assert_run(bed, &key, "echo hello", 0, "hello\n");
        assert_run(bed, &key, "exit 42", 42, "");
        assert_run(bed, &key, "python3 -c 'print(6 * 7)'", 0, "42\n");
        assert_run(bed, &key, "hostname; id -u; id -g; pwd", 0, "one\n0\n0\n/\n");
        assert_run(bed, &key, "echo text > /app/f && cat /app/f && rm /app/f", 0, "text\n");
        assert_run(bed, &key, "echo x > /dev/null; head -c 4 /dev/zero | wc -c", 0, "4\n");
        assert_run(bed, &key, "touch /tmp/a /var/tmp/b /root/c /etc/d /workspace/e /dev/shm/f", 0,
                   "");
        assert_run(bed, &key, "openssl version >/dev/null && ls /etc/ssl/certs | head -1 | wc -l",
                   0, "1\n");
}

/* Thousands of files beside each other make the next one dear on ext4 (folder_spread()). */
static void files_of_containers_are_spread(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);
        char shard[32], path[300];
        struct stat info;

        assert_run(bed, &key, "true", 0, "");
        snprintf(shard, sizeof(shard), "%02x", str_fnv1a(STR("one")) & 0xff);
        snprintf(path, sizeof(path), "%s/%s/one.0.%u.sock", bed->state, shard, key.attempt);
        assert_int_equal(stat(path, &info), 0);
        snprintf(path, sizeof(path), "%s/%s/one.0.%u.log", bed->state, shard, key.attempt);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(runtime_forget(bed->runtime, &key), 0);
        assert_int_equal(stat(path, &info), -1);
        /* Nothing else is in there. */
        snprintf(path, sizeof(path), "%s/%s", bed->state, shard);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(rmdir(bed->state), 0);
        assert_int_equal(mkdir(bed->state, 0755), 0);
}

static void containers_have_no_privilege(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        assert_run(bed, &key,
                   "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "
                   "/proc/self/status | tr -s '\\t\\n' ' '",
                   0,
                   "CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 "
                   "CapBnd: 0000000000000000 CapAmb: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 ");
        static const char *const refused[] = {
                "unshare -r true",       "unshare -m true",
                "mount -t tmpfs x /mnt", "umount /proc",
                "mknod /tmp/n c 1 3",    "hostname other",
                "chroot / true",         "echo 1 > /proc/sys/kernel/printk",
                "touch /usr/x",          "touch /sys/x",
                "grep -q . /proc/kcore", "ls /proc/1/root/",
                "cat /proc/1/environ",   "ip link set eth0 down",
                "nsenter -t 1 -m true",  "dmesg",
        };
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                if (testbed_run(bed, &key, refused[i], NULL, 0) == 0)
                        fail_msg("went through: %s", refused[i]);
        }
        assert_run(bed, &key, "kill -9 1; kill -TERM 1; sleep 0.1; echo alive", 0, "alive\n");
}

static void only_the_launcher_comes_first(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        assert_int_equal(getpriority(PRIO_PROCESS, (id_t)bed->launcher), LAUNCHER_NICE);
        assert_run(bed, &key, "nice", 0, "0\n");
}

/* System calls that the filter refuses, by number, as a program would call them. */
static void the_filter_refuses(void **state)
{
        static const char script[] = "python3 - <<'E'\n"
                                     "import ctypes, os\n"
                                     "c = ctypes.CDLL(None, use_errno=True)\n"
                                     "def t(name, want, *a):\n"
                                     "    ctypes.set_errno(0)\n"
                                     "    r = c.syscall(*a)\n"
                                     "    e = ctypes.get_errno()\n"
                                     "    if r != -1 or e != want: print(name, r, e)\n"
                                     "t('bpf', 1, 321, 0, 0, 0)\n"
                                     "t('userfaultfd', 1, 323, 0)\n"
                                     "t('perf_event_open', 1, 298, 0, 0, 0, 0, 0)\n"
                                     "t('keyctl', 1, 250, 0)\n"
                                     "t('add_key', 1, 248, 0, 0, 0, 0, 0)\n"
                                     "t('io_uring_setup', 1, 425, 1, 0)\n"
                                     "t('init_module', 1, 175, 0, 0, 0)\n"
                                     "t('kexec_load', 1, 246, 0, 0, 0, 0)\n"
                                     "t('open_by_handle_at', 1, 304, 0, 0, 0)\n"
                                     "t('setns', 1, 308, 0, 0)\n"
                                     "t('unshare user', 1, 272, 0x10000000)\n"
                                     "t('clone user', 1, 56, 0x10000011, 0, 0, 0, 0)\n"
                                     "t('clone3', 38, 435, 0, 0)\n"
                                     "t('socket AF_VSOCK', 38, 41, 40, 1, 0)\n"
                                     "t('socket AF_ALG', 38, 41, 38, 5, 0)\n"
                                     "t('unknown', 38, 9999)\n"
                                     "t('x32 getpid', 38, 0x40000000 | 39)\n"
                                     "E\n";
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        assert_run(bed, &key, script, 0, "");
}

static size_t count_descriptors(pid_t pid)
{
        char path[64];
        size_t count = 0;

        snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        DIR *folder = opendir(path);
        assert_non_null(folder);
        while (readdir(folder))
                count++;
        closedir(folder);
        return count;
}

/* With 20,000 descriptors, which some hosts allow, 4,000 sandboxes leave room only for four each.
 */
static void a_sandbox_takes_four_descriptors(void **state)
{
        enum { SANDBOXES = 10, TRIES = 1000 };
        struct testbed *bed = *state;
        size_t before = 0, after = 0;

        launched(bed);
        /* Those that are prepared ahead have more, and come and go meanwhile. */
        for (int i = 0; i < TRIES && (before == 0 || before != after); i++) {
                after = before;
                before = count_descriptors(bed->launcher);
                poll(NULL, 0, 50);
        }
        for (uint32_t i = 2; i < 2 + SANDBOXES; i++) {
                struct container_spec spec;
                char id[16];
                snprintf(id, sizeof(id), "s%u", i);
                assert_int_equal(testbed_create(bed, id, testbed_address(bed, i)), 0);
                spec = testbed_spec(id, 0);
                assert_int_equal(testbed_launch(bed, &spec), 0);
        }
        for (int i = 0; i < TRIES && after != before + 4 * SANDBOXES; i++) {
                after = count_descriptors(bed->launcher);
                poll(NULL, 0, 5);
        }
        assert_int_equal(after, before + 4 * SANDBOXES);
}

static void the_host_is_out_of_sight(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        /* Only init and the shell. */
        assert_run(bed, &key, "set -- /proc/[0-9]*; echo $#", 0, "2\n");
        assert_run(bed, &key, "ls -A /home /root /mnt /srv /opt | grep -v : | tr -d '\\n'", 0, "");
        assert_run(bed, &key,
                   "ls /etc/shadow /etc/gshadow /etc/ssl/private /etc/ssh /etc/sudoers "
                   "/etc/machine-id /var/lib/dpkg 2>/dev/null",
                   2, "");
        assert_run(bed, &key, "ls -A /usr/etc /usr/local/etc 2>/dev/null | grep -v : | tr -d '\\n'",
                   0, "");
        assert_run(bed, &key, "find /dev | wc -l | awk '{print ($1 <= 21)}'", 0, "1\n");
        assert_run(bed, &key, "ls /proc/self/fd", 0, "0\n1\n2\n3\n");
        assert_run(bed, &key, "grep -c cay-runtime /proc/self/mounts", 1, "0\n");
        assert_run(bed, &key, "find / -xdev -perm /6000 2>/dev/null | head", 0, "");
        assert_run(bed, &key, "ls -A /sys/class/net", 0, "");
}

/* The process that runs init, of the only container. */
static pid_t find_init(const struct testbed *bed)
{
        char command[256];
        int pid = 0;

        snprintf(command, sizeof(command),
                 "cat $(find /sys/fs/cgroup -path '*/%s/*' -name cgroup.procs) | sort -u | "
                 "while read p; do grep -qx init /proc/$p/comm && echo $p; done",
                 bed->cgroup);
        FILE *output = popen(command, "r");
        assert_non_null(output);
        assert_int_equal(fscanf(output, "%d", &pid), 1);
        pclose(output);
        return pid;
}

/* 0: beneath the root of the container there is what rootfs.c makes, and no process to see. */
static int look_beneath(int mounts)
{
        int proc = open("/proc", O_PATH | O_DIRECTORY);

        /* Not in a copy, in which nothing could be taken away. */
        if (setns(mounts, CLONE_NEWNS) < 0 || umount2("/", MNT_DETACH) < 0)
                return 1;
        int own = openat(proc, "self/ns/mnt", O_RDONLY);
        if (own < 0 || setns(own, CLONE_NEWNS) < 0)
                return 2;
        if (access("/m/root", F_OK) < 0 || access("/proc/version", F_OK) < 0)
                return 3;
        if (access("/usr", F_OK) == 0 || access("/dev", F_OK) == 0 || access("/sys", F_OK) == 0)
                return 4;
        if (access("/proc/self", F_OK) == 0 || access("/proc/1", F_OK) == 0)
                return 5;
        return mkdir("/x", 0755) < 0 && errno == EROFS ? 0 : 6;
}

static void nothing_is_beneath_the_root(void **state)
{
        struct testbed *bed = *state;
        char path[64];
        int status;

        launched(bed);
        snprintf(path, sizeof(path), "/proc/%d/ns/mnt", find_init(bed));
        int mounts = open(path, O_RDONLY | O_CLOEXEC);
        assert_return_code(mounts, errno);
        pid_t pid = fork();
        assert_return_code(pid, errno);
        if (pid == 0)
                _exit(look_beneath(mounts));
        close(mounts);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void users_and_groups_are_the_containers(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);

        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        spec.user = 1000;
        spec.group = 1001;
        spec.groups[0] = 2000;
        spec.group_count = 1;
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "id -u; id -g; id -G", 0, "1000\n1001\n1001 2000\n");
        assert_run(bed, &key, "touch /etc/x", 1, NULL);
        assert_run(bed, &key, "touch /app/x && stat -c %u:%g /app/x", 0, "1000:1001\n");
        assert_run(bed, &key, "su -c true", 1, NULL);
}

/* Also where the root is read-only, and beneath what is mounted there. */
static void files_in_etc_are_the_containers_own(void **state)
{
        static const char texts[] = "10.0.0.1\tone\n\0one\n\0nameserver 10.0.0.2\n";
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0), other = testbed_key("one", 1);

        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        memcpy(spec.etc, texts, sizeof(texts));
        spec.etc_size = sizeof(texts);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "cat /etc/hosts /etc/hostname /etc/resolv.conf", 0,
                   "10.0.0.1\tone\none\nnameserver 10.0.0.2\n");
        assert_run(bed, &key, "stat -c %U:%a /etc /etc/hosts; echo x > /etc/hosts; cat /etc/hosts",
                   0, "root:755\nroot:644\nx\n");
        spec.container = 1;
        spec.read_only_root = true;
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &other, "cat /etc/hosts", 0, "10.0.0.1\tone\n");
        assert_run(bed, &other, "echo x 2>/dev/null > /etc/hosts", 2, NULL);
}

static void a_read_only_root_is_read_only(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);

        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        spec.read_only_root = true;
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key, "touch /app/x 2>/dev/null", 1, "");
        assert_run(bed, &key, "touch /etc/x 2>/dev/null", 1, "");
        assert_run(bed, &key, "touch /dev/shm/x", 0, "");
}

/* Of cgroup v2 a whole container dies with the process that took too much. */
static bool is_v2(void)
{
        _cleanup_buffer_ struct buffer text = {};

        return file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096, &text) == 0 &&
               memmem(text.data, text.length, "memory", 6);
}

static void memory_is_limited(void **state)
{
        struct testbed *bed = *state;
        static const char hog[] = "exec python3 -c 'x = bytearray(200 << 20)'";
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);
        struct session session;
        uint64_t call;

        spec.limits.memory = 64 * 1024 * 1024;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        if (is_v2()) {
                assert_run(bed, &key, hog, -ECONNRESET, "");
                testbed_wait_exit(bed, 0, 1);
                assert_true(bed->exits[0].out_of_memory);
                assert_int_equal(testbed_launch(bed, &spec), 0);
                assert_run(bed, &key, "exec python3 -c 'x = bytearray(20 << 20)'", 0, "");
        } else {
                assert_run(bed, &key, hog, 137, "");
        }
        assert_int_equal(runtime_usage(bed->runtime, &key, &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        assert_int_equal(bed->usage.oom_kills, is_v2() ? 0 : 1);
        assert_true(bed->usage.memory_peak <= 64 * 1024 * 1024);
        assert_true(bed->usage.memory_peak >= 20 * 1024 * 1024);
        assert_true(bed->usage.cpu_ns > 0);
        assert_true(bed->usage.processes >= 1);

        session_open(&session, bed, &key);
        session_start(&session, hog);
        testbed_wait_exit(bed, 0, is_v2() ? 2 : 1);
        session_close(&session);
        assert_true(bed->exits[0].out_of_memory);
        assert_int_equal(bed->exits[0].exit.code, 137);
}

/* A fifth of a CPU, asked for a second: less than half of it is a limit at work. */
static void cpu_is_limited(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);

        spec.limits.cpu_milli = 200;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key,
                   "exec python3 -c \"import time\n"
                   "end, used = time.monotonic() + 1, time.process_time()\n"
                   "while time.monotonic() < end: pass\n"
                   "print(time.process_time() - used < 0.5)\"",
                   0, "True\n");
}

static void disk_is_limited(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);

        spec.limits.storage = 8 * 1024 * 1024;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &key,
                   "head -c 16M /dev/zero > /tmp/f 2>/dev/null; "
                   "stat -c %s /tmp/f | awk '{print ($1 <= 8 * 1048576)}'",
                   0, "1\n");
        assert_run(bed, &key, "rm /tmp/f; echo fine > /tmp/g && cat /tmp/g", 0, "fine\n");
}

/* Each of its processes forks on and on, whatever the kernel says. */
static const char fork_bomb[] = "exec python3 -c \"import os, time\n"
                                "while True:\n"
                                "    try: os.fork()\n"
                                "    except OSError: time.sleep(0.01)\"";

static void a_fork_bomb_stays_inside(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("one", 0);
        struct container_key key = testbed_key("one", 0);
        struct session session;
        uint64_t call;

        spec.limits.processes = 64;
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        session_open(&session, bed, &key);
        session_start(&session, fork_bomb);
        for (bed->usage.processes = 0; bed->usage.processes < 40;) {
                assert_int_equal(runtime_usage(bed->runtime, &key, &call), 0);
                assert_int_equal(testbed_wait(bed, call), 0);
                assert_true(bed->usage.processes <= 64);
        }
        assert_int_equal(runtime_kill(bed->runtime, &key, &call), 0);
        assert_int_equal(testbed_wait(bed, call), 0);
        testbed_wait_exit(bed, 0, 1);
        assert_false(bed->exits[0].is_known);
        assert_int_equal(bed->exits[0].exit.code, 137);
        session_close(&session);
        assert_int_equal(testbed_destroy(bed, "one"), 0);
}

static void the_main_process_is_logged_and_its_exit_known(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);
        _cleanup_(logring_reader_deinit) struct logring_reader reader = {};
        struct logring_record record;
        struct session session;
        int log;

        session_open(&session, bed, &key);
        session_start(&session, "echo first; sleep 0.1; echo second >&2; exit 9");
        testbed_wait_exit(bed, 0, 1);
        session_close(&session);
        assert_true(bed->exits[0].is_known);
        assert_int_equal(bed->exits[0].exit.code, 9);
        assert_true(bed->exits[0].started_ns > 0);
        assert_true(bed->exits[0].exit.finished_ns > bed->exits[0].started_ns);
        assert_false(bed->exits[0].out_of_memory);

        assert_int_equal(runtime_open_log(bed->runtime, &key, &log), 0);
        logring_reader_init(&reader, log, 0);
        assert_int_equal(logring_read(&reader, &record), 1);
        assert_true(str_equal(record.data, STR("first\n")));
        assert_int_equal(logring_read(&reader, &record), 1);
        assert_true(str_equal(record.data, STR("second\n")));
        assert_int_equal(record.stream, LOGRING_STDERR);
        close(log);
        assert_int_equal(runtime_connect(bed->runtime, &key, &log), -ECONNREFUSED);
        assert_int_equal(runtime_forget(bed->runtime, &key), 0);
        assert_int_equal(runtime_open_log(bed->runtime, &key, &log), -ENOENT);

        /* Again in the same place, then a second beside it: same network, other processes. */
        struct container_spec spec = testbed_spec("one", 0);
        spec.attempt = 1;
        key.attempt = 1;
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_int_equal(testbed_launch(bed, &spec), -EBUSY);
        spec.container = 1;
        spec.attempt = 0;
        assert_int_equal(testbed_launch(bed, &spec), 0);
        struct container_key second = testbed_key("one", 1);
        assert_run(bed, &second, "hostname; set -- /proc/[0-9]*; echo $#", 0, "one\n2\n");
        assert_run(bed, &key,
                   "python3 -c \"import socket\n"
                   "s = socket.socket(); s.bind(('127.0.0.1', 80))\"",
                   0, "");
        assert_run(bed, &second, "touch /tmp/only-here", 0, "");
        assert_run(bed, &key, "ls /tmp", 0, "");
        assert_run(bed, &second,
                   "grep -E '^(CapBnd|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '", 0,
                   "CapBnd: 0000000000000000 Seccomp: 2 ");
}

static void restarts_leave_sandboxes_running(void **state)
{
        static const int signals[] = { SIGKILL, SIGTERM };
        struct testbed *bed = *state;
        struct container_key key = launched(bed), idle = testbed_key("idle", 0);
        struct session session;
        uint64_t call;

        assert_int_equal(testbed_create(bed, "idle", testbed_address(bed, 2)), 0);
        serve_hi(&session, bed, &key);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                testbed_launcher_end(bed, signals[i]);
                int fd = connect_to(testbed_address(bed, 1), 80);
                assert_true(fd >= 0);
                close(fd);
                testbed_launcher_start(bed);
                testbed_node_restart(bed);
                assert_int_equal(runtime_recover(bed->runtime, &call), 0);
                testbed_dispatch_until(bed, &bed->found_end);
                assert_int_equal(bed->found_count, 2);
                assert_int_equal(bed->found_containers, 1);
                for (unsigned j = 0; j < 2; j++) {
                        bool is_one = strcmp(bed->found_sandboxes[j].id, "one") == 0;
                        assert_int_equal(bed->found_sandboxes[j].address,
                                         testbed_address(bed, is_one ? 1 : 2));
                }
        }
        session_close(&session);
        assert_run(bed, &key, "echo still here", 0, "still here\n");
        /* A second container goes into the sandbox that was found. */
        struct container_spec spec = testbed_spec("one", 1);
        struct container_key second = testbed_key("one", 1);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &second, "hostname; id -u", 0, "one\n0\n");
        /* One whose namespaces went with its last process says so, and can be made again. */
        spec = testbed_spec("idle", 0);
        assert_int_equal(testbed_launch(bed, &spec), -ESTALE);
        assert_int_equal(testbed_destroy(bed, "idle"), 0);
        assert_int_equal(testbed_create(bed, "idle", testbed_address(bed, 2)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        assert_run(bed, &idle, "true", 0, "");

        assert_int_equal(runtime_kill(bed->runtime, &key, &call), 0);
        testbed_wait_exit(bed, 0, 1);
}

static void lost_calls_are_told(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);
        struct sandbox_spec spec = { .id = "late", .hostname = "late" };
        uint64_t create, end;

        spec.address = testbed_address(bed, 3);
        kill(bed->launcher, SIGSTOP);
        assert_int_equal(runtime_kill(bed->runtime, &key, &end), 0);
        assert_int_equal(runtime_sandbox_create(bed->runtime, &spec, &create), 0);
        testbed_launcher_end(bed, SIGKILL);
        testbed_launcher_start(bed);
        /* Neither was done, and both are answered. */
        assert_int_equal(testbed_wait(bed, create), -ECONNRESET);
        assert_int_equal(bed->failures, 2);
        assert_run(bed, &key, "echo alive", 0, "alive\n");
        assert_int_equal(testbed_create(bed, "late", spec.address), 0);
        assert_int_equal(runtime_kill(bed->runtime, &key, &end), 0);
        testbed_wait_exit(bed, 0, 1);
}

/* Takes the next request as a launcher does that dies of it, and begins another launcher. */
static void *die_of_a_request(void *user)
{
        static char request[sizeof(struct launcher_request)];
        struct testbed *bed = user;
        struct pollfd wait = { .fd = bed->sockets[1], .events = POLLIN };
        bool was_taken = poll(&wait, 1, 10000) == 1 &&
                         recv(bed->sockets[1], request, sizeof(request), 0) == sizeof(request);

        testbed_launcher_end(bed, SIGKILL);
        testbed_launcher_start(bed);
        return was_taken ? bed : NULL;
}

static void a_node_that_starts_asks_the_next_launcher(void **state)
{
        struct testbed *bed = *state;
        pthread_t thread;
        void *taken;
        int netfilter = -1;

        kill(bed->launcher, SIGSTOP);
        assert_int_equal(pthread_create(&thread, NULL, die_of_a_request, bed), 0);
        testbed_node_restart(bed);
        assert_int_equal(pthread_join(thread, &taken), 0);
        assert_ptr_equal(taken, bed);

        kill(bed->launcher, SIGSTOP);
        assert_int_equal(pthread_create(&thread, NULL, die_of_a_request, bed), 0);
        assert_int_equal(native_runtime_socket(bed->runtime, NATIVE_SOCKET_NETFILTER, &netfilter),
                         0);
        assert_int_equal(pthread_join(thread, &taken), 0);
        assert_ptr_equal(taken, bed);
        assert_true(netfilter >= 0);
        close(netfilter);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
}

/* A launch that its sandbox's end overtakes, at whatever stage it is, is answered too. */
static void what_is_destroyed_while_it_starts_is_answered(void **state)
{
        struct testbed *bed = *state;

        for (int i = 0; i < 30; i++) {
                struct container_spec spec = testbed_spec("one", 0);
                unsigned answers = bed->answers;
                uint64_t call;
                assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
                assert_int_equal(runtime_container_launch(bed->runtime, &spec, &call), 0);
                poll(NULL, 0, i % 6);
                assert_int_equal(runtime_destroy(bed->runtime, "one", &call), 0);
                assert_int_equal(testbed_wait(bed, call), 0);
                assert_int_equal(bed->answers - answers, 3);
        }
}

/* What ends while nobody looks is told to the next node. */
static void ends_are_told_after_a_restart(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);
        struct session session;
        uint64_t call;
        char byte;

        session_open(&session, bed, &key);
        session_start(&session, "sleep 60; exit 4");
        testbed_launcher_end(bed, SIGKILL);
        assert_int_equal(initproto_client_signal(session.client,
                                                 initproto_client_main(session.client), SIGTERM),
                         0);
        session_until(&session, &session.ended);
        while (recv(session.fd, &byte, 1, 0) > 0)
                ;
        session_close(&session);
        testbed_launcher_start(bed);
        testbed_node_restart(bed);
        assert_int_equal(runtime_recover(bed->runtime, &call), 0);
        testbed_wait_exit(bed, 0, 1);
        assert_true(bed->exits[0].is_known);
        assert_int_equal(bed->exits[0].exit.code, 143);
}

static void nothing_is_left(void **state)
{
        static struct testbed bed;
        char cgroups[128], links[64], mounts[128];

        (void)state;
        testbed_start(&bed, init_path, NULL);
        snprintf(cgroups, sizeof(cgroups), "find /sys/fs/cgroup -path '*/%s*' -type d", bed.cgroup);
        snprintf(links, sizeof(links), "ip -o link | grep %s", bed.interface);
        snprintf(mounts, sizeof(mounts), "grep %s /proc/mounts", bed.folder);
        for (int i = 0; i < 5; i++) {
                char id[16];
                snprintf(id, sizeof(id), "s%d", i);
                struct container_spec spec = testbed_spec(id, 0);
                assert_int_equal(testbed_create(&bed, id, testbed_address(&bed, (uint32_t)i + 1)),
                                 0);
                assert_int_equal(testbed_launch(&bed, &spec), 0);
        }
        assert_int_equal(testbed_create(&bed, "s0", testbed_address(&bed, 9)), -EEXIST);
        assert_true(count_lines(cgroups) > 0);
        assert_int_equal(count_lines(links), 1);
        assert_true(count_lines(mounts) > 0);
        for (int i = 0; i < 3; i++) {
                char id[16];
                snprintf(id, sizeof(id), "s%d", i);
                assert_int_equal(testbed_destroy(&bed, id), 0);
                assert_int_equal(testbed_destroy(&bed, id), -ENOENT);
        }
        /* The last two are still there: cleaning up ends them. */
        testbed_stop(&bed);
        assert_int_equal(count_lines(cgroups), 0);
        assert_int_equal(count_lines(links), 0);
        assert_int_equal(count_lines(mounts), 0);
        /* What the launcher's end has made this test's: dead, none running. */
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
                ;
        assert_int_equal(pid, -1);
}

static void kill_randomly(struct testbed *bed, unsigned round)
{
        uint64_t calls[4], recovered;

        for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
                struct sandbox_spec sandbox = { .address = testbed_address(bed, i + 1) };
                char id[32];
                snprintf(id, sizeof(id), "r%u-%u", round, i);
                struct container_spec spec = testbed_spec(id, 0);
                snprintf(sandbox.id, sizeof(sandbox.id), "%s", id);
                snprintf(sandbox.hostname, sizeof(sandbox.hostname), "%s", id);
                assert_int_equal(runtime_sandbox_create(bed->runtime, &sandbox, &calls[i]), 0);
                assert_int_equal(runtime_container_launch(bed->runtime, &spec, &calls[i]), 0);
        }
        /* Somewhere in the middle of it. */
        usleep(round * 1733 % 12000);
        testbed_launcher_end(bed, SIGKILL);
        testbed_launcher_start(bed);
        testbed_node_restart(bed);
        /* What was still in the socket is done by the next launcher; then all of it is found. */
        assert_int_equal(runtime_recover(bed->runtime, &recovered), 0);
        testbed_dispatch_until(bed, &bed->found_end);
        for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
                char id[32];
                snprintf(id, sizeof(id), "r%u-%u", round, i);
                int r = testbed_destroy(bed, id);
                if (r != 0 && r != -ENOENT)
                        fail_msg("destroying %s gave %d", id, r);
        }
        testbed_node_restart(bed);
        assert_int_equal(runtime_recover(bed->runtime, &recovered), 0);
        testbed_dispatch_until(bed, &bed->found_end);
        assert_int_equal(bed->found_count, 0);
}

/* Whatever a killed launcher was doing, nothing is lost sight of. */
static void nothing_leaks_when_the_launcher_is_killed(void **state)
{
        enum { ROUNDS = 20, PREPARED = 2 };
        struct testbed *bed = *state;
        char command[128];

        for (unsigned round = 0; round < ROUNDS; round++)
                kill_randomly(bed, round);
        /* Only the pool's are left in each hierarchy, or fewer. */
        snprintf(command, sizeof(command), "ls -d /sys/fs/cgroup/pids/%s/*/ 2>/dev/null",
                 bed->cgroup);
        assert_true(count_lines(command) <= PREPARED);
        struct container_spec spec = testbed_spec("one", 0);
        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
}

/* As on a kernel whose tmpfs maps no ids; the folder is emptied of what nobody uses. */
static char skeleton_path[100];

static void on_disk(struct launcher_config *config)
{
        snprintf(skeleton_path, sizeof(skeleton_path), "%s.skeleton", config->run);
        config->skeleton = skeleton_path;
        config->skeleton_on_disk = true;
}

static void the_skeleton_may_stand_on_disk(void **state)
{
        static struct testbed bed;
        char list[140];
        uint64_t call;

        (void)state;
        testbed_start(&bed, init_path, on_disk);
        snprintf(list, sizeof(list), "ls %s", skeleton_path);
        struct container_key key = launched(&bed);
        assert_run(&bed, &key, "touch /etc/x && stat -c %u /etc /etc/x /usr/bin/env", 0,
                   "0\n0\n0\n");
        testbed_launcher_end(&bed, SIGKILL);
        testbed_launcher_start(&bed);
        testbed_node_restart(&bed);
        assert_int_equal(runtime_recover(bed.runtime, &call), 0);
        testbed_dispatch_until(&bed, &bed.found_end);
        assert_int_equal(count_lines(list), 2);
        assert_run(&bed, &key, "cat /etc/shells", 0, "/bin/sh\n/bin/bash\n");
        assert_int_equal(testbed_destroy(&bed, "one"), 0);
        testbed_launcher_end(&bed, SIGTERM);
        testbed_launcher_start(&bed);
        testbed_node_restart(&bed);
        assert_int_equal(count_lines(list), 1);
        testbed_stop(&bed);
        assert_int_equal(access(skeleton_path, F_OK), -1);
}

/* Where there is no v2: frozen, killed, thawed. */
static void only_v1(struct launcher_config *config)
{
        config->cgroup_v1 = true;
}

static void v1_alone_does(void **state)
{
        static struct testbed bed;
        struct session session;

        (void)state;
        if (is_v2())
                skip(); /* the kernel's memory controller is v2's: there is no v1 to do without */
        testbed_start(&bed, init_path, only_v1);
        struct container_key key = launched(&bed);
        assert_run(&bed, &key, "grep -c ^0:: /proc/self/cgroup", 0, "1\n");
        session_open(&session, &bed, &key);
        session_start(&session, fork_bomb);
        session_close(&session);
        assert_int_equal(testbed_destroy(&bed, "one"), 0);
        testbed_stop(&bed);
}

static void requests_that_make_no_sense_are_refused(void **state)
{
        static const struct {
                const char *why;
                size_t offset;
                uint32_t value;
        } cases[] = {
                { "version", offsetof(struct launcher_request, version), 9 },
                { "operation 0", offsetof(struct launcher_request, operation), 0 },
                { "operation 99", offsetof(struct launcher_request, operation), 99 },
                { "container", offsetof(struct launcher_request, target.container), 16 },
                { "user", offsetof(struct launcher_request, launch.user), 65536 },
                { "group", offsetof(struct launcher_request, launch.group), 70000 },
                { "groups", offsetof(struct launcher_request, launch.group_count), 33 },
                { "a group", offsetof(struct launcher_request, launch.groups[0]), UINT32_MAX },
                { "read-only", offsetof(struct launcher_request, launch.read_only_root), 2 },
                { "mounts", offsetof(struct launcher_request, launch.mount_count), 25 },
                { "mounts without descriptors",
                  offsetof(struct launcher_request, launch.mount_count), 1 },
                { "too much for /etc", offsetof(struct launcher_request, launch.etc_size), 8193 },
                { "an /etc file without end", offsetof(struct launcher_request, launch.etc[3]),
                  'x' },
                { "id with a slash", offsetof(struct launcher_request, target.sandbox),
                  '.' | '.' << 8 | '/' << 16 },
                { "no id", offsetof(struct launcher_request, target.sandbox), 0 },
                { "memory", offsetof(struct launcher_request, launch.limits.memory) + 4,
                  UINT32_MAX },
                { "processes", offsetof(struct launcher_request, launch.limits.processes),
                  UINT32_MAX },
        };

        (void)state;
        for (size_t i = 0; i <= ARRAY_SIZE(cases); i++) {
                struct launcher_request request = { .version = LAUNCHER_PROTOCOL,
                                                    .operation = LAUNCHER_LAUNCH };
                memcpy(request.target.sandbox, "one", 4);
                request.launch.group_count = 1;
                request.launch.etc_size = 4;
                if (i == ARRAY_SIZE(cases)) {
                        assert_int_equal(launcher_request_check(&request, sizeof(request), 2), 0);
                        assert_int_equal(launcher_request_check(&request, sizeof(request) - 1, 2),
                                         -EINVAL);
                        assert_int_equal(launcher_request_check(&request, sizeof(request), 3),
                                         -EINVAL);
                        memset(request.target.sandbox, 'a', RUNTIME_ID);
                        assert_int_equal(launcher_request_check(&request, sizeof(request), 2),
                                         -EINVAL);
                        continue;
                }
                memcpy((char *)&request + cases[i].offset, &cases[i].value, 4);
                if (launcher_request_check(&request, sizeof(request), 2) != -EINVAL)
                        fail_msg("not refused: %s", cases[i].why);
        }
}

/* Bytes that are no request, and O_PATH descriptors, over the real socket. */
static void the_launcher_survives_a_bad_node(void **state)
{
        struct testbed *bed = *state;
        struct launcher_request request = { .version = LAUNCHER_PROTOCOL,
                                            .operation = LAUNCHER_LAUNCH,
                                            .id = 7 };
        struct launcher_reply reply;
        int fds[3], got[LAUNCHER_MESSAGE_FDS];
        size_t count, length;

        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(message_send(bed->sockets[0], "nonsense", 8, NULL, 0, 0), 0);
        assert_int_equal(
                message_receive(bed->sockets[0], &reply, sizeof(reply), got, &count, &length, 0),
                0);
        assert_int_equal(reply.result, -EINVAL);

        request.epoch = reply.epoch;
        memcpy(request.target.sandbox, "one", 4);
        request.launch.mount_count = 1;
        memcpy(request.launch.mounts[0].target, "/secret", 8);
        fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        fds[1] = open(bed->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        fds[2] = open("/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_true(fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0);
        assert_int_equal(message_send(bed->sockets[0], &request, sizeof(request), fds, 3, 0), 0);
        assert_int_equal(
                message_receive(bed->sockets[0], &reply, sizeof(reply), got, &count, &length, 0),
                0);
        assert_int_equal(reply.id, 7);
        assert_int_equal(reply.result, -EACCES);
        assert_int_equal(reply.stage, LAUNCHER_STAGE_VOLUME);
        for (int i = 0; i < 3; i++)
                close(fds[i]);
        struct container_spec spec = testbed_spec("one", 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_that_make_no_sense_are_refused),
                WITH_BED(containers_run_commands),
                WITH_BED(files_of_containers_are_spread),
                WITH_BED(containers_have_no_privilege),
                WITH_BED(only_the_launcher_comes_first),
                WITH_BED(the_filter_refuses),
                WITH_BED(a_sandbox_takes_four_descriptors),
                WITH_BED(the_host_is_out_of_sight),
                WITH_BED(nothing_is_beneath_the_root),
                WITH_BED(users_and_groups_are_the_containers),
                WITH_BED(files_in_etc_are_the_containers_own),
                WITH_BED(a_read_only_root_is_read_only),
                WITH_BED(memory_is_limited),
                WITH_BED(cpu_is_limited),
                WITH_BED(disk_is_limited),
                WITH_BED(a_fork_bomb_stays_inside),
                WITH_BED(the_main_process_is_logged_and_its_exit_known),
                WITH_BED(restarts_leave_sandboxes_running),
                WITH_BED(lost_calls_are_told),
                WITH_BED(a_node_that_starts_asks_the_next_launcher),
                WITH_BED(what_is_destroyed_while_it_starts_is_answered),
                WITH_BED(ends_are_told_after_a_restart),
                WITH_BED(the_launcher_survives_a_bad_node),
                WITH_BED(nothing_leaks_when_the_launcher_is_killed),
                cmocka_unit_test(the_skeleton_may_stand_on_disk),
                cmocka_unit_test(v1_alone_does),
                cmocka_unit_test(nothing_is_left),
        };

        if (!may_run(argc, argv))
                return 0;
        return run_unit_tests("runtime", tests);
}
