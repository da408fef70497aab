// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/namespace.h"
#include "runtime/sandbox.h"

/*
 * One file a live sandbox, on the run folder, named by its slot. What is alive, and which process
 * is a container's init, is asked of the kernel.
 */
enum { STATE_VERSION = 2, STATE_NAME = 16 };

#define STATE_MAGIC UINT32_C(0x63617973)

struct saved_container {
        uint32_t is_used, attempt, sequence;
};

struct saved_sandbox {
        uint32_t magic, version;
        uint32_t slot, next_sequence;
        struct sandbox_spec spec;
        struct saved_container containers[LIMIT_CONTAINERS];
};

int state_write(struct launcher *launcher, const struct sandbox *sandbox)
{
        struct saved_sandbox saved = { .magic = STATE_MAGIC,
                                       .version = STATE_VERSION,
                                       .slot = sandbox->slot,
                                       .next_sequence = sandbox->next_sequence,
                                       .spec = sandbox->spec };
        char name[STATE_NAME], temporary[STATE_NAME + 4];

        for (uint32_t i = 0; i < LIMIT_CONTAINERS; i++) {
                const struct child *child = &sandbox->children[i];
                saved.containers[i] = (struct saved_container){ child->state != CHILD_NONE,
                                                                child->attempt, child->sequence };
        }
        snprintf(name, sizeof(name), "%u", sandbox->slot);
        snprintf(temporary, sizeof(temporary), ".%s", name);
        _cleanup_close_ int fd = openat(launcher->state_folder, temporary,
                                        O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        /* It need not outlive the machine, so it is not synced. */
        int r = fd_write_full(fd, &saved, sizeof(saved));
        if (r == 0 && renameat(launcher->state_folder, temporary, launcher->state_folder, name) < 0)
                r = -errno;
        return r;
}

void state_remove(struct launcher *launcher, uint32_t slot)
{
        char name[STATE_NAME];

        snprintf(name, sizeof(name), "%u", slot);
        if (unlinkat(launcher->state_folder, name, 0) < 0 && errno != ENOENT)
                log_error("cannot remove the state of slot %u: %s", slot, strerror(errno));
}

static bool is_saved(const struct launcher *launcher, const struct saved_sandbox *saved,
                     const char *name)
{
        char expected[STATE_NAME];

        snprintf(expected, sizeof(expected), "%u", saved->slot);
        return saved->magic == STATE_MAGIC && saved->version == STATE_VERSION &&
               strcmp(expected, name) == 0 && saved->slot >= 1 && saved->slot <= SLOTS_MAX &&
               !launcher->by_slot[saved->slot] &&
               strnlen(saved->spec.id, RUNTIME_ID) < RUNTIME_ID &&
               strnlen(saved->spec.hostname, RUNTIME_HOSTNAME) < RUNTIME_HOSTNAME;
}

/* Whether the process is PID 1 of its own namespace and runs our init (not one that prepares). */
static bool is_init(pid_t pid, void *data)
{
        _cleanup_buffer_ struct buffer status = {};
        char path[64];
        bool is_first = false, is_named = false;

        (void)data;
        snprintf(path, sizeof(path), "/proc/%d/status", pid);
        if (file_read(AT_FDCWD, path, LIMIT_HEAD, &status) < 0)
                return false;
        for (struct str rest = buffer_str(&status), line; rest.length > 0;) {
                str_cut(rest, '\n', &line, &rest);
                if (str_equal(line, STR("Name:\tinit")))
                        is_named = true;
                if (str_starts_with(line, STR("NSpid:")))
                        is_first = str_ends_with(line, STR("\t1"));
        }
        return is_first && is_named;
}

static int adopt_namespaces(struct sandbox *sandbox, pid_t pid)
{
        static const char *const names[NAMESPACES] = { "user", "net", "ipc", "uts" };

        for (int i = 0; i < NAMESPACES; i++) {
                int r = sandbox->namespaces[i] >= 0
                                ? 0
                                : namespace_open(pid, names[i], &sandbox->namespaces[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void adopt_container(struct launcher *launcher, struct sandbox *sandbox, uint32_t index,
                            const struct saved_container *saved)
{
        struct child *child = &sandbox->children[index];
        struct epoll_event event = { .events = EPOLLIN,
                                     .data.u64 = watch_data(WATCH_PIDFD, sandbox->slot, index) };
        char name[CGROUP_NAME];

        child->attempt = saved->attempt;
        child->sequence = saved->sequence;
        child->state = CHILD_ENDED;
        sandbox_cgroup_name(sandbox, saved->sequence, name);
        pid_t pid = cgroup_find(&launcher->cgroups, name, is_init, NULL);
        if (pid > 0)
                child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        /* Looked at again: the number may have become another's before it was opened. */
        if (child->pidfd >= 0 && is_init(pid, NULL) && adopt_namespaces(sandbox, pid) == 0 &&
            epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, child->pidfd, &event) == 0) {
                child->state = CHILD_RUNNING;
                return;
        }
        child->pidfd = fd_close(child->pidfd);
        cgroup_kill(&launcher->cgroups, name);
}

static int adopt_sandbox(struct launcher *launcher, const char *file)
{
        struct saved_sandbox saved;
        size_t length;
        _cleanup_close_ int fd = openat(launcher->state_folder, file, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        int r = fd_read_full(fd, &saved, sizeof(saved), &length);
        if (r < 0)
                return r;
        if (length != sizeof(saved) || !is_saved(launcher, &saved, file)) {
                log_warning("state of slot %s makes no sense, its processes are ended", file);
                unlinkat(launcher->state_folder, file, 0);
                return 0;
        }
        struct sandbox *sandbox = sandbox_new_in(launcher, saved.slot);

        sandbox->spec = saved.spec;
        sandbox_set_state(launcher, sandbox, SANDBOX_LIVE);
        sandbox->has_hostname = true;
        sandbox->next_sequence = saved.next_sequence;
        for (uint32_t i = 0; i < LIMIT_CONTAINERS; i++) {
                if (saved.containers[i].is_used)
                        adopt_container(launcher, sandbox, i, &saved.containers[i]);
        }
        /* Found again by the network namespace when it is needed. */
        sandbox->namespaces[NAMESPACE_USER] = fd_close(sandbox->namespaces[NAMESPACE_USER]);
        return 0;
}

/* All others are ended: prepared ones of an earlier launcher, and leftovers. */
static bool is_known(const char *name, void *data)
{
        const struct launcher *launcher = data;
        char *end;
        unsigned long slot = strtoul(name, &end, 10);
        const struct sandbox *sandbox = slot <= SLOTS_MAX ? launcher->by_slot[slot] : NULL;

        if (!sandbox || *end != '-')
                return false;
        unsigned long sequence = strtoul(end + 1, NULL, 10);
        for (size_t i = 0; i < CHILDREN; i++) {
                const struct child *child = &sandbox->children[i];
                if (child->state != CHILD_NONE && child->sequence == sequence)
                        return true;
        }
        return false;
}

int state_adopt(struct launcher *launcher, struct error *error)
{
        int fd = openat(launcher->state_folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;
        int r = 0;

        if (!folder)
                return error_set(error, -errno, "reading the launcher's state: %s",
                                 strerror(errno));
        while (r == 0 && (entry = readdir(folder))) {
                if (entry->d_name[0] != '.')
                        r = adopt_sandbox(launcher, entry->d_name);
        }
        closedir(folder);
        if (r == 0)
                r = cgroup_end_all(&launcher->cgroups, is_known, launcher);
        return r < 0 ? error_set(error, r, "taking over sandboxes: %s", strerror(-r)) : 0;
}
