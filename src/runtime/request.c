// SPDX-License-Identifier: Apache-2.0
#include "runtime/request.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "runtime/native.h"

static const char *const stage_names[LAUNCHER_STAGES] = {
        [LAUNCHER_STAGE_REQUEST] = "checking the request",
        [LAUNCHER_STAGE_SLOT] = "finding a free slot",
        [LAUNCHER_STAGE_CGROUP] = "making cgroups",
        [LAUNCHER_STAGE_LIMITS] = "setting limits",
        [LAUNCHER_STAGE_NAMESPACES] = "making namespaces",
        [LAUNCHER_STAGE_USER_MAP] = "mapping user ids",
        [LAUNCHER_STAGE_NETWORK] = "connecting the network",
        [LAUNCHER_STAGE_STATE] = "writing state",
        [LAUNCHER_STAGE_ROOT] = "cloning the root file system",
        [LAUNCHER_STAGE_ROOT_LAYERS] = "mounting the root file system",
        [LAUNCHER_STAGE_PROC] = "mounting /proc and /sys",
        [LAUNCHER_STAGE_DEV] = "mounting /dev",
        [LAUNCHER_STAGE_PIVOT] = "entering the root file system",
        [LAUNCHER_STAGE_ETC] = "writing its files in /etc",
        [LAUNCHER_STAGE_VOLUME] = "taking a volume",
        [LAUNCHER_STAGE_TARGET] = "mounting a volume",
        [LAUNCHER_STAGE_PRIVILEGE] = "dropping privileges",
        [LAUNCHER_STAGE_SECCOMP] = "loading the system call filter",
        [LAUNCHER_STAGE_EXEC] = "running init",
        [LAUNCHER_STAGE_GONE] = "waiting for the container",
};

const char *launcher_stage_name(enum launcher_stage stage)
{
        return stage < LAUNCHER_STAGES ? stage_names[stage] : "an unknown step";
}

/* A NUL-terminated string whose rest is zero, so that nothing rides along unseen. */
static bool is_text(const char *text, size_t size, bool may_be_empty)
{
        size_t length = strnlen(text, size);

        if (length == size || (length == 0 && !may_be_empty))
                return false;
        for (size_t i = length; i < size; i++) {
                if (text[i] != '\0')
                        return false;
        }
        return true;
}

static bool is_name(const char *text, size_t size, bool may_be_empty)
{
        if (!is_text(text, size, may_be_empty))
                return false;
        for (; *text; text++) {
                bool is_letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
                bool is_digit = *text >= '0' && *text <= '9';
                if (!is_letter && !is_digit && *text != '-')
                        return false;
        }
        return true;
}

/* Absolute, normal, not the root itself. */
static bool is_target(const char *path)
{
        if (!is_text(path, RUNTIME_PATH, false) || path[0] != '/' || path[1] == '\0')
                return false;
        for (struct str rest = str_from(path + 1), part; rest.length > 0;) {
                str_cut(rest, '/', &part, &rest);
                if (part.length == 0 || str_equal(part, STR(".")) || str_equal(part, STR("..")))
                        return false;
        }
        return path[strlen(path) - 1] != '/';
}

static bool is_id(uint32_t id)
{
        return id < 65536;
}

static bool is_launch(const struct launcher_launch *launch, size_t fd_count)
{
        if (!is_id(launch->user) || !is_id(launch->group) || launch->group_count > RUNTIME_GROUPS ||
            launch->read_only_root > 1 || launch->mount_count > LIMIT_MOUNTS ||
            fd_count != LAUNCHER_FIXED_FDS + launch->mount_count)
                return false;
        for (uint32_t i = 0; i < launch->group_count; i++) {
                if (!is_id(launch->groups[i]))
                        return false;
        }
        for (uint32_t i = 0; i < launch->mount_count; i++) {
                if (!is_target(launch->mounts[i].target) || launch->mounts[i].read_only > 1 ||
                    launch->mounts[i].plain > 1)
                        return false;
        }
        if (launch->etc_size > RUNTIME_ETC ||
            (launch->etc_size > 0 && launch->etc[launch->etc_size - 1] != '\0'))
                return false;
        const struct container_limits *limits = &launch->limits;
        return limits->cpu_milli <= 1024 * 1000 && limits->cpu_weight_milli <= 1024 * 1000 &&
               limits->memory <= (uint64_t)INT64_MAX && limits->storage <= (uint64_t)INT64_MAX &&
               limits->processes <= 4 * 1024 * 1024;
}

int launcher_request_check(const struct launcher_request *request, size_t length, size_t fd_count)
{
        const struct container_key *target = &request->target;
        bool has_sandbox = true, is_valid = true;
        size_t fds = 0;

        if (length != sizeof(*request) || request->version != LAUNCHER_PROTOCOL ||
            target->container >= LIMIT_CONTAINERS)
                return -EINVAL;
        switch ((enum launcher_operation)request->operation) {
        case LAUNCHER_PING:
        case LAUNCHER_LIST:
                has_sandbox = false;
                break;
        case LAUNCHER_CREATE:
                is_valid = is_name(request->create.hostname, RUNTIME_HOSTNAME, false) &&
                           request->create.address > 0;
                break;
        case LAUNCHER_LAUNCH:
                is_valid = is_launch(&request->launch, fd_count);
                fds = fd_count;
                break;
        case LAUNCHER_KILL:
        case LAUNCHER_DESTROY:
        case LAUNCHER_USAGE:
                break;
        case LAUNCHER_OWN:
                has_sandbox = false;
                fds = 1;
                is_valid = is_id(request->own.user) && is_id(request->own.group) &&
                           request->own.mode <= 07777 && !(request->own.mode & 04000);
                break;
        case LAUNCHER_PURGE:
        case LAUNCHER_MEASURE:
                has_sandbox = false;
                fds = 1;
                break;
        case LAUNCHER_MEMORY:
                has_sandbox = false;
                fds = 1;
                is_valid = request->memory <= INT64_MAX;
                break;
        case LAUNCHER_SOCKET:
                has_sandbox = false;
                is_valid = request->socket >= NATIVE_SOCKET_DNS_UDP &&
                           request->socket <= NATIVE_SOCKET_NETFILTER;
                break;
        default:
                return -EINVAL;
        }
        if (!is_valid || fd_count != fds || !is_name(target->sandbox, RUNTIME_ID, !has_sandbox))
                return -EINVAL;
        return 0;
}

int message_send(int socket, const void *data, size_t size, const int *fds, size_t fd_count,
                 int flags)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(LAUNCHER_MESSAGE_FDS * sizeof(int))];
        } control = {};
        struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
        ssize_t sent;

        assert(fd_count <= LAUNCHER_MESSAGE_FDS);
        if (fd_count > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
                memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
        }
        do
                sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : 0;
}

/* Takes the descriptors out of a message; closes those that do not fit. */
static bool take_fds(struct msghdr *message, int *fds, size_t *count)
{
        bool fits = true;

        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
             header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t given = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < given; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
                        if (*count < LAUNCHER_MESSAGE_FDS) {
                                fds[(*count)++] = fd;
                        } else {
                                fd_close(fd);
                                fits = false;
                        }
                }
        }
        return fits;
}

int message_receive(int socket, void *data, size_t size, int fds[static LAUNCHER_MESSAGE_FDS],
                    size_t *ret_fd_count, size_t *ret_length, int flags)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(LAUNCHER_MESSAGE_FDS * sizeof(int))];
        } control;
        struct iovec part = { .iov_base = data, .iov_len = size };
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        size_t count = 0;
        ssize_t got;

        do
                got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
        while (got < 0 && errno == EINTR);
        if (got < 0)
                return -errno;
        bool fits = take_fds(&message, fds, &count);
        if (!fits || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
                while (count > 0)
                        fd_close(fds[--count]);
                return -EMSGSIZE;
        }
        *ret_fd_count = count;
        *ret_length = (size_t)got;
        return 0;
}
