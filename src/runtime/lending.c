// SPDX-License-Identifier: Apache-2.0
#include "runtime/lending.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum { LOOK_MS = 5, PATIENCE_S = 3 };

int lending_init(struct lending *lending, int highest)
{
        void *shared = mmap(NULL, sizeof(*lending->is_apart), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (shared == MAP_FAILED)
                return -errno;
        lending->is_apart = shared;
        lending->null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (lending->null < 0)
                return -errno;
        for (size_t i = 0; i < LENDING_FDS; i++) {
                lending->fds[i] = fcntl(lending->null, F_DUPFD_CLOEXEC, 3);
                if (lending->fds[i] < 0)
                        return -errno;
                highest = MAX(highest, lending->fds[i]);
        }
        lending->end = (unsigned)highest + 1;
        return 0;
}

void lending_deinit(struct lending *lending)
{
        lending->borrower = fd_close(lending->borrower);
        for (size_t i = 0; i < LENDING_FDS; i++)
                lending->fds[i] = fd_close(lending->fds[i]);
        lending->null = fd_close(lending->null);
        if (lending->is_apart)
                munmap(lending->is_apart, sizeof(*lending->is_apart));
        lending->is_apart = NULL;
}

int lending_put(struct lending *lending, size_t slot, int fd)
{
        assert(slot < LENDING_FDS && lending->borrower < 0);
        lending->is_lent = true;
        return dup3(fd, lending->fds[slot], O_CLOEXEC) < 0 ? -errno : lending->fds[slot];
}

static void take_back(struct lending *lending)
{
        for (size_t i = 0; i < LENDING_FDS; i++)
                dup3(lending->null, lending->fds[i], O_CLOEXEC);
        lending->borrower = fd_close(lending->borrower);
        lending->is_lent = false;
        __atomic_store_n(lending->is_apart, 0, __ATOMIC_RELEASE);
}

int lending_begin(struct lending *lending, int pidfd)
{
        struct pollfd end = { .fd = pidfd, .events = POLLIN };

        lending->borrower = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
        if (lending->borrower >= 0)
                return 0;
        int r = -errno;
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        while (poll(&end, 1, -1) < 0 && errno == EINTR)
                ;
        return r;
}

void lending_come_apart(const struct lending *lending)
{
        if (close_range(lending->end, ~0U, CLOSE_RANGE_UNSHARE) < 0)
                _exit(1);
        __atomic_store_n(lending->is_apart, 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, lending->is_apart, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void lending_end(struct lending *lending)
{
        const struct timespec look = { .tv_nsec = LOOK_MS * NS_PER_MS };
        uint64_t deadline = clock_monotonic_ns() + PATIENCE_S * NS_PER_SECOND;
        struct pollfd end = { .fd = lending->borrower, .events = POLLIN };

        if (!lending->is_lent)
                return;
        while (lending->borrower >= 0 && !__atomic_load_n(lending->is_apart, __ATOMIC_ACQUIRE)) {
                syscall(SYS_futex, lending->is_apart, FUTEX_WAIT, 0, &look, NULL, 0);
                if (poll(&end, 1, 0) != 0)
                        break;
                if (clock_monotonic_ns() < deadline)
                        continue;
                log_error("a new process does not run, it is killed");
                syscall(SYS_pidfd_send_signal, lending->borrower, SIGKILL, NULL, 0);
                deadline = UINT64_MAX;
        }
        take_back(lending);
}
