// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "initproto/logring.h"
#include "runtime/cgroup.h"
#include "runtime/namespace.h"
#include "runtime/testbed.h"

/*
 * How long from the request to an init that answers: the launcher, with prepared sandboxes and
 * without, beside a bare program that does the least of the same (clone3 of six namespaces, id
 * maps, cgroups and the moves into them, a tmpfs root with /usr, pivot_root, exec of the same init)
 * with nothing prepared. Once from idle, where the first write to a v1 `cpu` cgroup takes the
 * kernel milliseconds, and once back to back. Prints medians and their ratio.
 */
enum { ROUNDS_MAX = 1000, IDLE_US = 60 * 1000 };

struct bare {
        struct cgroup_tree cgroups;
        const char *init;
        char folder[64];
        unsigned number;
};

static _Noreturn void die(const char *what)
{
        fprintf(stderr, "bench-launch: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void check(bool is_good, const char *what)
{
        if (!is_good)
                die(what);
}

static _Noreturn void bare_child(const char *root, int go, int listener, int ring, int init)
{
        char *const argv[] = { "init", NULL }, *const env[] = { NULL };
        char byte;

        if (read(go, &byte, 1) != 1 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", root, "tmpfs", 0, NULL) < 0 || chdir(root) < 0 ||
            mkdir("usr", 0755) < 0 || mount("/usr", "usr", NULL, MS_BIND | MS_REC, NULL) < 0 ||
            mkdir("proc", 0755) < 0 || mount("proc", "proc", "proc", 0, NULL) < 0 ||
            syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
                _exit(1);
        dup2(listener, 3);
        dup2(ring, 4);
        close_range(5, ~0U, CLOSE_RANGE_CLOEXEC);
        execveat(init, "", argv, env, AT_EMPTY_PATH);
        _exit(1);
}

static int make_listener(const char *folder, struct sockaddr_un *address)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        snprintf(address->sun_path, sizeof(address->sun_path), "%s/socket", folder);
        unlink(address->sun_path);
        check(fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0 &&
                      listen(fd, 4) == 0,
              "listening");
        return fd;
}

static void wait_hello(struct sockaddr_un *address)
{
        char bytes[256];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(connect(fd, (struct sockaddr *)address, sizeof(*address)) == 0, "connecting");
        check(recv(fd, bytes, sizeof(bytes), 0) > 0, "waiting for init");
        close(fd);
}

static pid_t clone_into(int v2)
{
        struct clone_args arguments = { .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                                                 CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
                                        .exit_signal = SIGCHLD };

        if (v2 >= 0) {
                arguments.flags |= CLONE_INTO_CGROUP;
                arguments.cgroup = (unsigned)v2;
        }
        return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

/* Writes the child's number into the v1 cgroups; what goes through `cpu` is timed apart. */
static uint64_t move(const struct bare *bare, const char *name, pid_t pid)
{
        int files[CGROUP_HIERARCHIES];
        int count = cgroup_open_v1(&bare->cgroups, name, files);
        uint64_t cpu_ns = 0;
        char number[16];
        int length = snprintf(number, sizeof(number), "%d", pid);

        check(count >= 0, "opening cgroups");
        for (int i = 0, v1 = 0; i < (int)bare->cgroups.count; i++) {
                const struct cgroup_hierarchy *hierarchy = &bare->cgroups.hierarchies[i];
                if (hierarchy->is_v2)
                        continue;
                uint64_t start = clock_monotonic_ns();
                check(write(files[v1], number, (size_t)length) == length, "moving to a cgroup");
                if (hierarchy->controllers & CGROUP_CPU)
                        cpu_ns = clock_monotonic_ns() - start;
                close(files[v1++]);
        }
        return cpu_ns;
}

/* One round; returns its nanoseconds, and those of the `cpu` move in *cpu_ns. */
static uint64_t bare_round(struct bare *bare, uint64_t *cpu_ns)
{
        const struct id_range ids = { 0, UINT32_C(0x60000000), 65536 };
        struct container_limits limits = { .memory = 256 << 20, .cpu_milli = 500 };
        struct sockaddr_un address;
        char name[CGROUP_NAME], root[80];
        int go[2], v2 = -1;

        snprintf(name, sizeof(name), "bare-%u", bare->number++);
        snprintf(root, sizeof(root), "%s/root", bare->folder);
        int ring = open(bare->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        check(ring >= 0 && logring_format(ring, LOGRING_MIN) == 0, "making a ring");
        int init = open(bare->init, O_RDONLY | O_CLOEXEC);

        uint64_t start = clock_monotonic_ns();
        int listener = make_listener(bare->folder, &address);
        check(pipe2(go, O_CLOEXEC) == 0, "making a pipe");
        check(cgroup_create(&bare->cgroups, name) == 0, "making cgroups");
        check(cgroup_set_limits(&bare->cgroups, name, &limits) == 0, "setting limits");
        cgroup_open_v2(&bare->cgroups, name, &v2);
        pid_t pid = clone_into(v2);
        check(pid >= 0, "clone3");
        if (pid == 0)
                bare_child(root, go[0], listener, ring, init);
        check(namespace_map_ids(pid, &ids, 1, &ids, 1) == 0, "mapping ids");
        *cpu_ns = move(bare, name, pid);
        check(write(go[1], "", 1) == 1, "going");
        wait_hello(&address);
        uint64_t end = clock_monotonic_ns();

        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        fd_close(v2);
        close(go[0]);
        close(go[1]);
        close(listener);
        close(ring);
        close(init);
        while (cgroup_remove(&bare->cgroups, name) == -EBUSY)
                usleep(100);
        return end - start;
}

static uint64_t launcher_round(struct testbed *bed, unsigned number)
{
        char id[32];
        uint64_t create = 0, launch = 0;

        snprintf(id, sizeof(id), "bench-%u", number);
        struct container_spec spec = testbed_spec(id, 0);
        struct container_key key = testbed_key(id, 0);
        struct sandbox_spec sandbox = { .address = testbed_address(bed, 1 + number % 900) };
        struct session session;
        snprintf(sandbox.id, sizeof(sandbox.id), "%s", id);
        snprintf(sandbox.hostname, sizeof(sandbox.hostname), "%s", id);
        spec.limits.cpu_milli = 500;

        uint64_t start = clock_monotonic_ns();
        check(runtime_sandbox_create(bed->runtime, &sandbox, &create) == 0 &&
                      runtime_container_launch(bed->runtime, &spec, &launch) == 0,
              "asking");
        check(testbed_wait(bed, launch) == 0, bed->reason);
        session_open(&session, bed, &key);
        uint64_t end = clock_monotonic_ns();

        session_close(&session);
        check(testbed_destroy(bed, id) == 0, "destroying");
        return end - start;
}

static int compare(const void *a, const void *b)
{
        uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

        return left < right ? -1 : left > right;
}

static double percentile_ms(uint64_t *values, size_t count, unsigned percent)
{
        qsort(values, count, sizeof(*values), compare);
        return (double)values[(count - 1) * percent / 100] / 1e6;
}

static void no_pool(struct launcher_config *config)
{
        config->pool = 0;
}

static void some_pool(struct launcher_config *config)
{
        config->pool = 8;
}

static void measure(struct bare *bare, const char *init, unsigned rounds, bool from_idle)
{
        static uint64_t plain[ROUNDS_MAX], cpu[ROUNDS_MAX], pooled[ROUNDS_MAX], cold[ROUNDS_MAX];
        static struct testbed with_pool, without;

        testbed_start(&with_pool, init, some_pool);
        testbed_start(&without, init, no_pool);
        launcher_round(&with_pool, rounds);
        launcher_round(&without, rounds);
        usleep(300 * 1000);
        for (unsigned i = 0; i < rounds; i++) {
                if (from_idle)
                        usleep(IDLE_US);
                plain[i] = bare_round(bare, &cpu[i]);
                if (from_idle)
                        usleep(IDLE_US);
                cold[i] = launcher_round(&without, i);
                /* Time for the pool to be filled again, as it is between claims. */
                usleep(IDLE_US);
                pooled[i] = launcher_round(&with_pool, i);
        }
        testbed_stop(&with_pool);
        testbed_stop(&without);

        double floor = percentile_ms(plain, rounds, 50);
        printf("%s, %u rounds, request to running init, ms:\n", from_idle ? "from idle" : "busy",
               rounds);
        printf("  bare clone3 + pivot_root + exec   p50 %7.3f  p99 %7.3f  (of it `cpu` cgroup "
               "p50 %.3f)\n",
               floor, percentile_ms(plain, rounds, 99), percentile_ms(cpu, rounds, 50));
        printf("  launcher, prepared                p50 %7.3f  p99 %7.3f  ratio %.2f\n",
               percentile_ms(pooled, rounds, 50), percentile_ms(pooled, rounds, 99),
               percentile_ms(pooled, rounds, 50) / floor);
        printf("  launcher, nothing prepared        p50 %7.3f  p99 %7.3f  ratio %.2f\n",
               percentile_ms(cold, rounds, 50), percentile_ms(cold, rounds, 99),
               percentile_ms(cold, rounds, 50) / floor);
}

int main(int argc, char **argv)
{
        struct bare bare = { .folder = "/tmp/cay-bench-XXXXXX" };
        unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 50;
        struct error error = {};
        char path[80];

        if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
                fprintf(stderr, "usage: bench-launch INIT [ROUNDS]\n");
                return 2;
        }
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        bare.init = argv[1];
        check(mkdtemp(bare.folder) != NULL, "making a folder");
        chmod(bare.folder, 0755);
        snprintf(path, sizeof(path), "%s/root", bare.folder);
        check(mkdir(path, 0755) == 0, "making a folder");
        if (cgroup_tree_open(&bare.cgroups, "cay-bench", false, &error) < 0) {
                fprintf(stderr, "bench-launch: %s\n", error.message);
                return 1;
        }
        measure(&bare, argv[1], rounds, true);
        measure(&bare, argv[1], rounds, false);
        check(cgroup_tree_remove(&bare.cgroups) == 0, "removing cgroups");
        cgroup_tree_close(&bare.cgroups);
        rmdir(path);
        snprintf(path, sizeof(path), "%s/socket", bare.folder);
        unlink(path);
        rmdir(bare.folder);
        return 0;
}
