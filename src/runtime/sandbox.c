// SPDX-License-Identifier: Apache-2.0
#include "runtime/sandbox.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "runtime/namespace.h"

/* Slots that are tried while wires of earlier sandboxes are still going away. */
enum { SLOT_TRIES = 64 };

void sandbox_cgroup_name(const struct sandbox *sandbox, uint32_t sequence,
                         char name[static CGROUP_NAME])
{
        snprintf(name, CGROUP_NAME, "%u-%u", sandbox->slot, sequence);
}

struct sandbox *sandbox_new_in(struct launcher *launcher, uint32_t slot)
{
        struct sandbox *sandbox = &launcher->memory[slot];

        *sandbox = (struct sandbox){ .slot = slot, .volume_users = -1, .pod_netlink = -1 };
        for (int i = 0; i < NAMESPACES; i++)
                sandbox->namespaces[i] = -1;
        for (int i = 0; i < CHILDREN; i++)
                sandbox->children[i].socket = sandbox->children[i].pidfd = -1;
        list_init(&sandbox->by_id);
        list_append(&launcher->sandboxes[SANDBOX_NEW], &sandbox->in_state);
        launcher->counts[SANDBOX_NEW]++;
        launcher->by_slot[slot] = sandbox;
        return sandbox;
}

static struct list *bucket_of(struct launcher *launcher, const char *id)
{
        return &launcher->by_id[str_fnv1a(str_from(id)) % SANDBOX_BUCKETS];
}

void sandbox_set_state(struct launcher *launcher, struct sandbox *sandbox, enum sandbox_state state)
{
        launcher->counts[sandbox->state]--;
        launcher->counts[state]++;
        list_remove(&sandbox->in_state);
        list_append(&launcher->sandboxes[state], &sandbox->in_state);
        list_remove(&sandbox->by_id);
        if (state == SANDBOX_LIVE)
                list_append(bucket_of(launcher, sandbox->spec.id), &sandbox->by_id);
        sandbox->state = state;
}

static void pending_free(struct pending_order *pending)
{
        if (!pending)
                return;
        for (size_t i = 0; i < pending->fd_count; i++)
                fd_close(pending->fds[i]);
        free(pending);
}

/* Closing is not enough to end a pidfd's events: the node holds the same open file. */
static void close_pidfd(struct launcher *launcher, struct child *child)
{
        if (child->pidfd >= 0)
                epoll_ctl(launcher->epoll, EPOLL_CTL_DEL, child->pidfd, NULL);
        child->pidfd = fd_close(child->pidfd);
}

void sandbox_free(struct launcher *launcher, struct sandbox *sandbox)
{
        for (int i = 0; i < NAMESPACES; i++)
                fd_close(sandbox->namespaces[i]);
        for (int i = 0; i < CHILDREN; i++) {
                fd_close(sandbox->children[i].socket);
                close_pidfd(launcher, &sandbox->children[i]);
                pending_free(sandbox->children[i].pending);
        }
        fd_close(sandbox->volume_users);
        fd_close(sandbox->pod_netlink);
        launcher->by_slot[sandbox->slot] = NULL;
        launcher->counts[sandbox->state]--;
        list_remove(&sandbox->in_state);
        list_remove(&sandbox->by_id);
}

struct sandbox *sandbox_find(struct launcher *launcher, const char *id)
{
        struct sandbox *sandbox;

        list_for_each (sandbox, bucket_of(launcher, id), by_id) {
                if (strcmp(sandbox->spec.id, id) == 0)
                        return sandbox;
        }
        return NULL;
}

static int watch(struct launcher *launcher, int operation, int fd, enum watch_kind kind,
                 const struct sandbox *sandbox, uint32_t index)
{
        struct epoll_event event = { .events = EPOLLIN,
                                     .data.u64 = watch_data(kind, sandbox->slot, index) };

        return epoll_ctl(launcher->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

enum { LENT_SOCKET, LENT_NAMESPACES, LENT_CGROUPS = LENT_NAMESPACES + NAMESPACES };

_Static_assert(LENT_CGROUPS + CGROUP_HIERARCHIES <= LENDING_FDS, "there is a place for each");

/* What the child needs of the launcher's descriptors, at the numbers that it will have there. */
static int lend(struct launcher *launcher, const struct sandbox *sandbox, bool joins, int socket,
                const char *cgroup, struct container_child *setup, int namespaces[NAMESPACES])
{
        struct lending *lending = &launcher->lending;
        int cgroups[CGROUP_HIERARCHIES];
        int count = cgroup_open_v1(&launcher->cgroups, cgroup, cgroups);
        int r = count;

        for (int i = 0; i < count; i++) {
                if (r >= 0)
                        r = setup->cgroups[i] =
                                lending_put(lending, LENT_CGROUPS + (size_t)i, cgroups[i]);
                close(cgroups[i]);
        }
        setup->cgroup_count = count;
        if (r >= 0)
                r = setup->socket = lending_put(lending, LENT_SOCKET, socket);
        for (int i = 0; joins && r >= 0 && i < NAMESPACES; i++)
                r = namespaces[i] =
                        lending_put(lending, LENT_NAMESPACES + (size_t)i, sandbox->namespaces[i]);
        return MIN(r, 0);
}

/*
 * Clones a process for a child; `flags` besides CLONE_PIDFD. The new process runs `join` (with the
 * sandbox's namespaces) or prepares at once. Its descriptors are lent until lending_end().
 */
static int clone_child(struct launcher *launcher, struct sandbox *sandbox, struct child *child,
                       uint64_t flags, bool joins, pid_t *ret_pid)
{
        struct clone_args arguments = { .flags = flags | CLONE_PIDFD | CLONE_FILES,
                                        .exit_signal = SIGCHLD };
        struct container_child setup = { .init = launcher->init,
                                         .null = launcher->lending.null,
                                         .filter = &launcher->filter };
        int sockets[2], pidfd = -1, namespaces[NAMESPACES];
        _cleanup_close_ int v2 = -1;
        char name[CGROUP_NAME];

        sandbox_cgroup_name(sandbox, child->sequence, name);
        int r = cgroup_open_v2(&launcher->cgroups, name, &v2);
        if (r == 0) {
                arguments.flags |= CLONE_INTO_CGROUP;
                arguments.cgroup = (unsigned)v2;
        } else if (r != -ENOENT) {
                return r;
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
                return -errno;
        lending_end(&launcher->lending);
        r = lend(launcher, sandbox, joins, sockets[1], name, &setup, namespaces);
        if (r == 0)
                r = namespace_enter_mount(launcher->first_mount);
        if (r == 0) {
                arguments.pidfd = (uint64_t)(uintptr_t)&pidfd;
                long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
                if (pid == 0) {
                        lending_come_apart(&launcher->lending);
                        if (joins)
                                container_join_run(&setup, namespaces);
                        container_child_run(&setup);
                }
                r = pid < 0 ? -errno : 0;
                namespace_return_mount(launcher->own_mount);
                if (r == 0)
                        r = lending_begin(&launcher->lending, pidfd);
                *ret_pid = (pid_t)pid;
        }
        close(sockets[1]);
        if (r < 0) {
                lending_end(&launcher->lending);
                fd_close(pidfd);
                close(sockets[0]);
                return r;
        }
        child->socket = sockets[0];
        if (joins)
                close(pidfd);
        else
                child->pidfd = pidfd;
        return 0;
}

/* The user namespace owns the others: it need not be kept to be found again. */
static int open_user_namespace(struct sandbox *sandbox)
{
        int *user = &sandbox->namespaces[NAMESPACE_USER];

        if (*user < 0 && sandbox->namespaces[NAMESPACE_NET] >= 0)
                *user = ioctl(sandbox->namespaces[NAMESPACE_NET], NS_GET_USERNS);
        return *user < 0 ? -ESTALE : 0;
}

/* What takes a descriptor a sandbox and is needed for no running one. */
static void close_idle(struct sandbox *sandbox)
{
        sandbox->namespaces[NAMESPACE_USER] = fd_close(sandbox->namespaces[NAMESPACE_USER]);
        sandbox->volume_users = fd_close(sandbox->volume_users);
}

static int send_go(struct launcher *launcher, struct sandbox *sandbox, struct child *child)
{
        struct container_go go = { .version = LAUNCHER_PROTOCOL };
        int trees[CONTAINER_TREES];
        int r = open_user_namespace(sandbox);

        if (r == 0)
                r = rootfs_clone(launcher, sandbox->namespaces[NAMESPACE_USER], trees);
        if (r < 0)
                return r;
        r = message_send(child->socket, &go, sizeof(go), trees, CONTAINER_TREES, MSG_DONTWAIT);
        for (int i = 0; i < CONTAINER_TREES; i++)
                close(trees[i]);
        child->state = CHILD_PREPARING;
        return r;
}

static int open_namespaces(struct sandbox *sandbox, pid_t pid)
{
        static const char *const names[NAMESPACES] = { "user", "net", "ipc", "uts" };

        for (int i = 0; i < NAMESPACES; i++) {
                int r = namespace_open(pid, names[i], &sandbox->namespaces[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* All of a new sandbox in its slot. */
static int fill(struct launcher *launcher, struct sandbox *sandbox, enum launcher_stage *stage)
{
        enum {
                ALL_NEW = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                          CLONE_NEWUTS
        };
        struct child *child = &sandbox->children[CHILD_PREPARED];
        uint32_t base = sandbox_id_base(launcher, sandbox);
        const struct id_range ids = { 0, base, IDS_PER_SLOT };
        char name[CGROUP_NAME];
        pid_t pid;
        int r;

        child->sequence = sandbox->next_sequence++;
        sandbox_cgroup_name(sandbox, child->sequence, name);
        *stage = LAUNCHER_STAGE_CGROUP;
        r = cgroup_create(&launcher->cgroups, name);
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_NAMESPACES;
        r = clone_child(launcher, sandbox, child, ALL_NEW, false, &pid);
        if (r == 0)
                r = open_namespaces(sandbox, pid);
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_USER_MAP;
        r = namespace_map_ids(pid, &ids, 1, &ids, 1);
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_NETWORK;
        r = fabric_wire(&launcher->fabric, sandbox->namespaces[NAMESPACE_NET], sandbox->slot, base,
                        &sandbox->pod_netlink);
        if (r < 0)
                return r;
        /* So that the end of the child is the end of its socket. */
        lending_end(&launcher->lending);
        *stage = LAUNCHER_STAGE_ROOT;
        r = send_go(launcher, sandbox, child);
        if (r == 0)
                r = watch(launcher, EPOLL_CTL_ADD, child->socket, WATCH_SOCKET, sandbox,
                          CHILD_PREPARED);
        if (r == 0)
                r = watch(launcher, EPOLL_CTL_ADD, child->pidfd, WATCH_PIDFD, sandbox,
                          CHILD_PREPARED);
        return r;
}

/* The slot after the last one given that is free: so each rests as long as possible. */
static uint32_t next_slot(struct launcher *launcher)
{
        for (uint32_t i = 0; i < launcher->slots; i++) {
                launcher->last_slot = launcher->last_slot % launcher->slots + 1;
                if (!launcher->by_slot[launcher->last_slot])
                        return launcher->last_slot;
        }
        return 0;
}

int sandbox_new(struct launcher *launcher, struct sandbox **ret_sandbox,
                enum launcher_stage *ret_stage)
{
        int r = -EAGAIN;

        for (int tries = 0; tries < SLOT_TRIES; tries++) {
                *ret_stage = LAUNCHER_STAGE_SLOT;
                uint32_t slot = next_slot(launcher);
                if (slot == 0)
                        return -ENOSPC;
                struct sandbox *sandbox = sandbox_new_in(launcher, slot);
                r = fill(launcher, sandbox, ret_stage);
                if (r == 0) {
                        sandbox_set_state(launcher, sandbox, SANDBOX_POOLED);
                        *ret_sandbox = sandbox;
                        return 0;
                }
                sandbox_destroy(launcher, sandbox);
                if (r != -EEXIST)
                        break;
        }
        return r;
}

/* A pooled one whose child is ready, or else any pooled one. */
static struct sandbox *find_pooled(struct launcher *launcher)
{
        struct sandbox *sandbox, *found = NULL;

        list_for_each (sandbox, &launcher->sandboxes[SANDBOX_POOLED], in_state) {
                if (sandbox->children[CHILD_PREPARED].state == CHILD_READY)
                        return sandbox;
                if (!found)
                        found = sandbox;
        }
        return found;
}

int sandbox_create(struct launcher *launcher, const struct launcher_request *request,
                   enum launcher_stage *ret_stage)
{
        struct sandbox *sandbox = find_pooled(launcher);
        int r = 0;

        *ret_stage = LAUNCHER_STAGE_REQUEST;
        if (sandbox_find(launcher, request->target.sandbox))
                return -EEXIST;
        if (!sandbox)
                r = sandbox_new(launcher, &sandbox, ret_stage);
        if (r < 0)
                return r;
        sandbox->spec.address = request->create.address;
        memcpy(sandbox->spec.id, request->target.sandbox, RUNTIME_ID);
        memcpy(sandbox->spec.hostname, request->create.hostname, RUNTIME_HOSTNAME);
        sandbox_set_state(launcher, sandbox, SANDBOX_LIVE);

        *ret_stage = LAUNCHER_STAGE_NETWORK;
        r = fabric_give_address(&launcher->fabric, sandbox->pod_netlink, sandbox->slot,
                                sandbox->spec.address);
        if (r == 0) {
                *ret_stage = LAUNCHER_STAGE_STATE;
                r = state_write(launcher, sandbox);
        }
        sandbox->pod_netlink = fd_close(sandbox->pod_netlink);
        if (r < 0)
                sandbox_destroy(launcher, sandbox);
        return r;
}

/* Gives a child that is ready its order. */
static int send_order(struct sandbox *sandbox, struct child *child)
{
        struct pending_order *pending = child->pending;
        int r;

        if (!sandbox->has_hostname)
                memcpy(pending->order.hostname, sandbox->spec.hostname, RUNTIME_HOSTNAME);
        r = message_send(child->socket, &pending->order, sizeof(pending->order), pending->fds,
                         pending->fd_count, MSG_DONTWAIT);
        if (r == 0)
                sandbox->has_hostname = true;
        pending_free(pending);
        child->pending = NULL;
        child->state = CHILD_STARTING;
        return r;
}

/* A child for a further container: a process that goes into the sandbox. */
static int join(struct launcher *launcher, struct sandbox *sandbox, uint32_t index,
                enum launcher_stage *stage)
{
        struct child *child = &sandbox->children[index];
        char name[CGROUP_NAME];
        pid_t pid;
        int r = open_user_namespace(sandbox);

        *stage = LAUNCHER_STAGE_NAMESPACES;
        if (r < 0)
                return r;
        for (int i = 0; i < NAMESPACES; i++) {
                if (sandbox->namespaces[i] < 0)
                        return -ESTALE;
        }
        *stage = LAUNCHER_STAGE_CGROUP;
        child->sequence = sandbox->next_sequence++;
        sandbox_cgroup_name(sandbox, child->sequence, name);
        r = cgroup_create(&launcher->cgroups, name);
        if (r < 0)
                return r;
        child->state = CHILD_JOINING;
        *stage = LAUNCHER_STAGE_NAMESPACES;
        r = clone_child(launcher, sandbox, child, 0, true, &pid);
        lending_end(&launcher->lending);
        return r < 0 ? r
                     : watch(launcher, EPOLL_CTL_ADD, child->socket, WATCH_SOCKET, sandbox, index);
}

/* Makes the prepared child the one of this container. */
static int take_prepared(struct launcher *launcher, struct sandbox *sandbox, uint32_t index)
{
        struct child *prepared = &sandbox->children[CHILD_PREPARED];
        struct child *child = &sandbox->children[index];

        *child = *prepared;
        *prepared = (struct child){ .socket = -1, .pidfd = -1 };
        int r = watch(launcher, EPOLL_CTL_MOD, child->socket, WATCH_SOCKET, sandbox, index);
        return r < 0 ? r
                     : watch(launcher, EPOLL_CTL_MOD, child->pidfd, WATCH_PIDFD, sandbox, index);
}

/* Everything of a child that will not run (any more), its cgroups excepted. */
static void end_child(struct launcher *launcher, struct sandbox *sandbox, struct child *child)
{
        char name[CGROUP_NAME];

        sandbox_cgroup_name(sandbox, child->sequence, name);
        cgroup_kill(&launcher->cgroups, name);
        if (child->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
        child->socket = fd_close(child->socket);
        close_pidfd(launcher, child);
        pending_free(child->pending);
        child->pending = NULL;
        child->state = CHILD_ENDED;
}

static int start_child(struct launcher *launcher, struct sandbox *sandbox, uint32_t index,
                       enum launcher_stage *stage)
{
        struct child *child = &sandbox->children[index];
        bool has_prepared = sandbox->children[CHILD_PREPARED].state != CHILD_NONE;
        struct pending_order *pending = child->pending;
        uint64_t call = child->call;
        uint32_t attempt = child->attempt;
        char name[CGROUP_NAME];
        int r;

        r = has_prepared ? take_prepared(launcher, sandbox, index)
                         : join(launcher, sandbox, index, stage);
        child->pending = pending;
        child->call = call;
        child->attempt = attempt;
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_LIMITS;
        sandbox_cgroup_name(sandbox, child->sequence, name);
        r = cgroup_set_limits(&launcher->cgroups, name, &pending->order.launch.limits);
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_STATE;
        r = state_write(launcher, sandbox);
        if (r < 0)
                return r;
        *stage = LAUNCHER_STAGE_EXEC;
        return child->state == CHILD_READY ? send_order(sandbox, child) : 0;
}

static int check_init_fds(const int *fds)
{
        struct stat info;

        if (fstat(fds[0], &info) < 0 || !S_ISSOCK(info.st_mode) || fstat(fds[1], &info) < 0 ||
            !S_ISREG(info.st_mode))
                return -EINVAL;
        return 0;
}

int sandbox_launch(struct launcher *launcher, const struct launcher_request *request, int *fds,
                   size_t fd_count, enum launcher_stage *ret_stage, uint32_t *ret_index)
{
        struct sandbox *sandbox = sandbox_find(launcher, request->target.sandbox);
        uint32_t index = request->target.container;
        struct pending_order *pending = calloc(1, sizeof(*pending));
        char name[CGROUP_NAME];
        int r = pending ? 0 : -ENOMEM;

        *ret_stage = LAUNCHER_STAGE_REQUEST;
        if (r == 0 && !sandbox)
                r = -ENOENT;
        struct child *child = sandbox ? &sandbox->children[index] : NULL;
        if (r == 0 && child->state != CHILD_NONE && child->state != CHILD_ENDED)
                r = -EBUSY;
        if (r == 0)
                r = check_init_fds(fds);
        if (r == 0) {
                *ret_stage = LAUNCHER_STAGE_VOLUME;
                r = rootfs_clone_volumes(launcher, sandbox, &request->launch,
                                         fds + LAUNCHER_FIXED_FDS, ret_index);
        }
        if (r < 0) {
                while (fd_count > 0)
                        fd_close(fds[--fd_count]);
                free(pending);
                return r;
        }
        if (child->state == CHILD_ENDED) {
                /* What is still in it is being killed; then the end of the sandbox removes it. */
                sandbox_cgroup_name(sandbox, child->sequence, name);
                cgroup_remove(&launcher->cgroups, name);
        }
        memcpy(pending->fds, fds, fd_count * sizeof(*fds));
        pending->fd_count = fd_count;
        pending->order.launch = request->launch;
        *child = (struct child){ .socket = -1,
                                 .pidfd = -1,
                                 .attempt = request->target.attempt,
                                 .call = request->id,
                                 .pending = pending };
        r = start_child(launcher, sandbox, index, ret_stage);
        if (r < 0)
                end_child(launcher, sandbox, child);
        return r;
}

int sandbox_kill(struct launcher *launcher, struct sandbox *sandbox, uint32_t container)
{
        struct child *child = &sandbox->children[container];
        char name[CGROUP_NAME];

        if (child->state == CHILD_NONE || child->state == CHILD_ENDED)
                return -ESRCH;
        sandbox_cgroup_name(sandbox, child->sequence, name);
        return cgroup_kill(&launcher->cgroups, name);
}

void sandbox_destroy(struct launcher *launcher, struct sandbox *sandbox)
{
        if (sandbox->state == SANDBOX_DYING)
                return;
        for (size_t i = 0; i < CHILDREN; i++) {
                struct child *child = &sandbox->children[i];
                if (child->state == CHILD_NONE)
                        continue;
                if (child->pending || child->state == CHILD_STARTING)
                        launcher_answer_result(launcher, child->call, -ECANCELED,
                                               LAUNCHER_STAGE_GONE, 0);
                end_child(launcher, sandbox, child);
        }
        if (sandbox->spec.address)
                fabric_take_address(&launcher->fabric, sandbox->slot, sandbox->spec.address);
        /* What keeps the network alive goes first: the kernel takes it apart meanwhile. */
        for (int i = 0; i < NAMESPACES; i++)
                sandbox->namespaces[i] = fd_close(sandbox->namespaces[i]);
        sandbox->pod_netlink = fd_close(sandbox->pod_netlink);
        sandbox->volume_users = fd_close(sandbox->volume_users);
        sandbox_set_state(launcher, sandbox, SANDBOX_DYING);
        sandbox->dying_since_ns = clock_monotonic_ns();
}

/* Whether nothing of it runs and all its cgroups are gone. */
static bool is_gone(struct launcher *launcher, const struct sandbox *sandbox)
{
        bool gone = true;

        for (uint32_t sequence = 0; sequence < sandbox->next_sequence; sequence++) {
                char name[CGROUP_NAME];
                sandbox_cgroup_name(sandbox, sequence, name);
                if (cgroup_remove(&launcher->cgroups, name) == 0)
                        continue;
                cgroup_kill(&launcher->cgroups, name);
                gone = false;
        }
        return gone;
}

void sandbox_reap(struct launcher *launcher)
{
        enum { COMPLAIN_S = 10 };
        struct sandbox *sandbox;

        list_for_each (sandbox, &launcher->sandboxes[SANDBOX_DYING], in_state) {
                if (!is_gone(launcher, sandbox)) {
                        if (clock_monotonic_ns() - sandbox->dying_since_ns >
                            COMPLAIN_S * NS_PER_SECOND) {
                                log_warning("slot %u does not end", sandbox->slot);
                                sandbox->dying_since_ns = clock_monotonic_ns();
                        }
                        continue;
                }
                state_remove(launcher, sandbox->slot);
                if (sandbox->spec.address)
                        fabric_forget_address(&launcher->fabric, sandbox->spec.address);
                if (sandbox->answers_destroy)
                        launcher_answer_result(launcher, sandbox->destroy_call, 0,
                                               LAUNCHER_STAGE_REQUEST, 0);
                sandbox_free(launcher, sandbox);
        }
}

/* The child's last word before it runs init, or its failure. */
static void child_failed(struct launcher *launcher, struct sandbox *sandbox, uint32_t index,
                         const struct container_report *report)
{
        struct child *child = &sandbox->children[index];
        uint64_t call = child->call;

        if (index == CHILD_PREPARED) {
                log_error("a prepared sandbox failed when %s: %s",
                          launcher_stage_name(report->stage), strerror(-report->result));
                launcher->pool_pause_until_ns = clock_monotonic_ns() + NS_PER_SECOND;
                /* A live one has lost only what was prepared. */
                if (sandbox->state == SANDBOX_POOLED) {
                        sandbox_destroy(launcher, sandbox);
                } else {
                        end_child(launcher, sandbox, child);
                        child->state = CHILD_NONE;
                }
                return;
        }
        end_child(launcher, sandbox, child);
        launcher_answer_result(launcher, call, report->result, report->stage, report->index);
}

static bool has_ended(int pidfd)
{
        struct pollfd wait = { .fd = pidfd, .events = POLLIN };

        return pidfd < 0 || poll(&wait, 1, 0) != 0;
}

/* End of file: init runs, or the child died without a word. */
static void child_silent(struct launcher *launcher, struct sandbox *sandbox, uint32_t index)
{
        struct container_report gone = { .result = -ECHILD, .stage = LAUNCHER_STAGE_GONE };
        struct child *child = &sandbox->children[index];
        struct launcher_reply reply = { .id = child->call };

        if (child->state != CHILD_STARTING || has_ended(child->pidfd)) {
                child_failed(launcher, sandbox, index, &gone);
                return;
        }
        child->socket = fd_close(child->socket);
        child->state = CHILD_RUNNING;
        close_idle(sandbox);
        launcher_answer(launcher, &reply, child->pidfd);
}

static int on_report(struct launcher *launcher, struct sandbox *sandbox, uint32_t index, int *fds,
                     size_t fd_count)
{
        struct child *child = &sandbox->children[index];

        switch (child->state) {
        case CHILD_JOINING:
                if (fd_count != 1)
                        return -EPROTO;
                child->pidfd = fds[0];
                fds[0] = -1;
                int r = watch(launcher, EPOLL_CTL_ADD, child->pidfd, WATCH_PIDFD, sandbox, index);
                return r < 0 ? r : send_go(launcher, sandbox, child);
        case CHILD_PREPARING:
                child->state = CHILD_READY;
                return child->pending ? send_order(sandbox, child) : 0;
        default:
                return -EPROTO;
        }
}

void sandbox_on_socket(struct launcher *launcher, uint32_t slot, uint32_t index)
{
        struct sandbox *sandbox = launcher->by_slot[slot];
        struct child *child = sandbox ? &sandbox->children[index] : NULL;
        struct container_report report = {};
        int fds[LAUNCHER_MESSAGE_FDS];
        size_t fd_count = 0, length;

        if (!child || child->socket < 0)
                return;
        int r = message_receive(child->socket, &report, sizeof(report), fds, &fd_count, &length,
                                MSG_DONTWAIT);
        if (r == -EAGAIN)
                return;
        if (r < 0 || length == 0) {
                child_silent(launcher, sandbox, index);
                return;
        }
        if (length != sizeof(report))
                report.result = -EPROTO;
        if (report.result == 0) {
                report.stage = LAUNCHER_STAGE_GONE;
                report.result = on_report(launcher, sandbox, index, fds, fd_count);
        }
        while (fd_count > 0)
                fd_close(fds[--fd_count]);
        if (report.result < 0)
                child_failed(launcher, sandbox, index, &report);
}

void sandbox_on_pidfd(struct launcher *launcher, uint32_t slot, uint32_t index)
{
        struct sandbox *sandbox = launcher->by_slot[slot];
        struct child *child = sandbox ? &sandbox->children[index] : NULL;

        if (!child || child->pidfd < 0 || !has_ended(child->pidfd))
                return;
        if (child->state == CHILD_RUNNING) {
                end_child(launcher, sandbox, child);
                return;
        }
        /* The socket tells why; after that nobody needs the pidfd's event. */
        if (child->socket >= 0)
                sandbox_on_socket(launcher, slot, index);
}
