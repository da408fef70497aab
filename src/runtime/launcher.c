// SPDX-License-Identifier: Apache-2.0
#include "runtime/launcher.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "runtime/namespace.h"
#include "runtime/sandbox.h"
#include "runtime/skeleton.h"

enum {
        EVENTS = 32,
        REQUESTS_A_TURN = 8,
        REPLIES_MAX = 4096,
        REAP_MS = 1,
        POOL_QUIET_MS = 2, /* without requests, before the pool is filled */
};

/* Folder of the pins and of state, below the run folder: a tmpfs that is private, as pins of
 * namespaces must be. */
static void pin_path(const struct launcher_config *config, char path[static 256])
{
        snprintf(path, 256, "%s/pins", config->run);
}

static int send_reply(struct launcher *launcher, const struct launcher_reply *reply, int fd)
{
        return message_send(launcher->socket, reply, sizeof(*reply), &fd, fd >= 0, MSG_DONTWAIT);
}

static void watch_node(struct launcher *launcher)
{
        struct epoll_event event = { .events = list_is_empty(&launcher->replies)
                                                       ? EPOLLIN
                                                       : EPOLLIN | EPOLLOUT,
                                     .data.u64 = watch_data(WATCH_NODE, 0, 0) };

        epoll_ctl(launcher->epoll, EPOLL_CTL_MOD, launcher->socket, &event);
}

static void drop_reply(struct launcher *launcher, struct queued_reply *queued)
{
        list_remove(&queued->in_launcher);
        launcher->reply_count--;
        fd_close(queued->fd);
        free(queued);
}

void launcher_answer(struct launcher *launcher, const struct launcher_reply *reply, int fd)
{
        struct launcher_reply versioned = *reply;
        int r = -EAGAIN;

        versioned.version = LAUNCHER_PROTOCOL;
        versioned.epoch = launcher->epoch;
        if (list_is_empty(&launcher->replies))
                r = send_reply(launcher, &versioned, fd);
        /* Anything but a full socket: there is no node, and the next asks for itself. */
        if (r != -EAGAIN)
                return;
        struct queued_reply *queued = NULL;
        if (launcher->reply_count < REPLIES_MAX)
                queued = calloc(1, sizeof(*queued));
        if (!queued) {
                log_error("the node does not take its answers: one is lost");
                return;
        }
        queued->reply = versioned;
        queued->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        list_append(&launcher->replies, &queued->in_launcher);
        launcher->reply_count++;
        watch_node(launcher);
}

void launcher_answer_result(struct launcher *launcher, uint64_t call, int result,
                            enum launcher_stage stage, uint32_t index)
{
        struct launcher_reply reply = { .id = call, .result = result };

        if (result < 0) {
                reply.stage = stage;
                reply.index = index;
        }
        launcher_answer(launcher, &reply, -1);
}

static void flush_replies(struct launcher *launcher)
{
        struct queued_reply *queued;

        list_for_each (queued, &launcher->replies, in_launcher) {
                if (send_reply(launcher, &queued->reply, queued->fd) == -EAGAIN)
                        break;
                drop_reply(launcher, queued);
        }
        watch_node(launcher);
}

/* The first sandbox or container behind a position: slots in order, containers in order. */
static void answer_list(struct launcher *launcher, const struct launcher_request *request)
{
        struct launcher_reply reply = { .id = request->id };
        uint32_t first = request->list_after / CHILDREN;
        int pidfd = -1;

        for (uint32_t slot = first; slot <= SLOTS_MAX && !reply.found.position; slot++) {
                const struct sandbox *sandbox = launcher->by_slot[slot];
                bool is_empty = true;
                if (!sandbox || sandbox->state != SANDBOX_LIVE)
                        continue;
                for (uint32_t i = 0; i < LIMIT_CONTAINERS && !reply.found.position; i++) {
                        const struct child *child = &sandbox->children[i];
                        if (child->state == CHILD_NONE)
                                continue;
                        is_empty = false;
                        if (slot * CHILDREN + i + 1 <= request->list_after)
                                continue;
                        reply.found.position = slot * CHILDREN + i + 1;
                        reply.found.has_container = true;
                        reply.found.container.container = i;
                        reply.found.container.attempt = child->attempt;
                        pidfd = child->pidfd;
                }
                if (is_empty && slot * CHILDREN + 1 > request->list_after)
                        reply.found.position = slot * CHILDREN + 1;
                if (reply.found.position) {
                        reply.found.sandbox = sandbox->spec;
                        memcpy(reply.found.container.sandbox, sandbox->spec.id, RUNTIME_ID);
                }
        }
        launcher_answer(launcher, &reply, pidfd);
}

static int answer_usage(struct launcher *launcher, const struct launcher_request *request,
                        const struct sandbox *sandbox)
{
        struct launcher_reply reply = { .id = request->id };
        const struct child *child = &sandbox->children[request->target.container];
        char name[CGROUP_NAME];

        if (child->state == CHILD_NONE)
                return -ESRCH;
        sandbox_cgroup_name(sandbox, child->sequence, name);
        int r = cgroup_usage(&launcher->cgroups, name, &reply.usage);
        if (r == 0)
                launcher_answer(launcher, &reply, -1);
        return r;
}

static int answer_socket(struct launcher *launcher, const struct launcher_request *request)
{
        struct launcher_reply reply = { .id = request->id };
        _cleanup_close_ int fd = -1;
        int r = fabric_socket(&launcher->fabric, (enum native_socket)request->socket, &fd);

        if (r == 0)
                launcher_answer(launcher, &reply, fd);
        return r;
}

/* Returns 0 when the call was answered or will be, -errno to be answered. */
static int handle_sandbox(struct launcher *launcher, const struct launcher_request *request,
                          bool *is_done)
{
        struct sandbox *sandbox = sandbox_find(launcher, request->target.sandbox);
        int r;

        *is_done = true;
        if (!sandbox)
                return -ENOENT;
        switch ((enum launcher_operation)request->operation) {
        case LAUNCHER_KILL:
                r = sandbox_kill(launcher, sandbox, request->target.container);
                *is_done = r < 0;
                if (r == 0)
                        launcher_answer_result(launcher, request->id, 0, 0, 0);
                return r;
        case LAUNCHER_USAGE:
                return answer_usage(launcher, request, sandbox);
        default:
                sandbox->answers_destroy = true;
                sandbox->destroy_call = request->id;
                sandbox_destroy(launcher, sandbox);
                return 0;
        }
}

static void handle(struct launcher *launcher, const struct launcher_request *request, int *fds,
                   size_t fd_count)
{
        enum launcher_stage stage = LAUNCHER_STAGE_REQUEST;
        uint32_t index = 0;
        bool is_done = false; /* answered, unless it fails */
        int r = 0;

        switch ((enum launcher_operation)request->operation) {
        case LAUNCHER_CREATE:
                r = sandbox_create(launcher, request, &stage);
                break;
        case LAUNCHER_LAUNCH:
                r = sandbox_launch(launcher, request, fds, fd_count, &stage, &index);
                fd_count = 0;
                is_done = true;
                break;
        case LAUNCHER_KILL:
        case LAUNCHER_DESTROY:
        case LAUNCHER_USAGE:
                r = handle_sandbox(launcher, request, &is_done);
                is_done = true;
                break;
        case LAUNCHER_LIST:
                answer_list(launcher, request);
                is_done = true;
                break;
        case LAUNCHER_OWN:
                stage = LAUNCHER_STAGE_VOLUME;
                r = volume_own(launcher, request, fds[0]);
                break;
        case LAUNCHER_PURGE:
        case LAUNCHER_MEASURE:
                stage = LAUNCHER_STAGE_VOLUME;
                r = volume_walk(launcher, request, fds[0]);
                is_done = true;
                break;
        case LAUNCHER_MEMORY:
                stage = LAUNCHER_STAGE_VOLUME;
                r = volume_memory(launcher, request->memory, fds[0]);
                break;
        case LAUNCHER_SOCKET:
                stage = LAUNCHER_STAGE_NETWORK;
                r = answer_socket(launcher, request);
                is_done = true;
                break;
        case LAUNCHER_PING:
        case LAUNCHER_OPERATIONS:
                break;
        }
        if (r < 0 || !is_done)
                launcher_answer_result(launcher, request->id, r, stage, index);
        while (fd_count > 0)
                fd_close(fds[--fd_count]);
}

static void on_node(struct launcher *launcher, uint32_t events)
{
        if (events & EPOLLOUT)
                flush_replies(launcher);
        for (int turn = 0; turn < REQUESTS_A_TURN; turn++) {
                struct launcher_request request = {};
                int fds[LAUNCHER_MESSAGE_FDS];
                size_t fd_count = 0, length = 0;
                int r = message_receive(launcher->socket, &request, sizeof(request), fds, &fd_count,
                                        &length, MSG_DONTWAIT);
                if (r == -EAGAIN)
                        return;
                if (r == 0 && length == 0) {
                        launcher->ends = true;
                        return;
                }
                launcher->last_request_ns = clock_monotonic_ns();
                if (r == 0)
                        r = launcher_request_check(&request, length, fd_count);
                if (r == 0 && request.operation != LAUNCHER_PING &&
                    request.epoch != launcher->epoch)
                        r = -ECONNRESET;
                if (r == 0) {
                        handle(launcher, &request, fds, fd_count);
                        continue;
                }
                while (fd_count > 0)
                        fd_close(fds[--fd_count]);
                launcher_answer_result(launcher, request.id, r, LAUNCHER_STAGE_REQUEST, 0);
        }
}

static void on_event(struct launcher *launcher, const struct epoll_event *event)
{
        uint32_t slot = (uint32_t)(event->data.u64 >> 16) & 0xffffffff;
        uint32_t index = event->data.u64 & 0xffff;

        switch ((enum watch_kind)(event->data.u64 >> 56)) {
        case WATCH_NODE:
                on_node(launcher, event->events);
                break;
        case WATCH_SIGNALS:
                launcher->ends = true;
                break;
        case WATCH_SOCKET:
                sandbox_on_socket(launcher, slot, index);
                break;
        case WATCH_PIDFD:
                sandbox_on_pidfd(launcher, slot, index);
                break;
        case WATCH_WALK:
                volume_on_walked(launcher, (int)slot);
                break;
        }
}

/* Milliseconds until the pool is to be filled; -1: not. */
static int pool_wait(const struct launcher *launcher)
{
        uint64_t now = clock_monotonic_ns();
        uint64_t at = MAX(launcher->last_request_ns + POOL_QUIET_MS * NS_PER_MS,
                          launcher->pool_pause_until_ns);

        if (launcher->counts[SANDBOX_POOLED] >= launcher->config.pool)
                return -1;
        return at <= now ? 0 : (int)((at - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void fill_pool(struct launcher *launcher)
{
        enum launcher_stage stage;
        struct sandbox *sandbox;
        int r = sandbox_new(launcher, &sandbox, &stage);

        if (r < 0) {
                log_error("cannot prepare a sandbox: %s: %s", launcher_stage_name(stage),
                          strerror(-r));
                launcher->pool_pause_until_ns = clock_monotonic_ns() + NS_PER_SECOND;
        }
}

static int serve(struct launcher *launcher)
{
        struct epoll_event events[EVENTS];

        while (!launcher->ends) {
                int wait = pool_wait(launcher);
                if (launcher->counts[SANDBOX_DYING] > 0)
                        wait = wait < 0 ? REAP_MS : MIN(wait, (int)REAP_MS);
                int count = epoll_wait(launcher->epoll, events, EVENTS, wait);
                if (count < 0 && errno != EINTR)
                        return -errno;
                for (int i = 0; i < count; i++)
                        on_event(launcher, &events[i]);
                sandbox_reap(launcher);
                if (count == 0 && pool_wait(launcher) == 0)
                        fill_pool(launcher);
        }
        return 0;
}

/* Prepared sandboxes are of no use without the launcher whose sockets they wait on. */
static void drain(struct launcher *launcher)
{
        uint64_t deadline = clock_monotonic_ns() + 2 * NS_PER_SECOND;
        struct sandbox *sandbox;

        list_for_each (sandbox, &launcher->sandboxes[SANDBOX_POOLED], in_state)
                sandbox_destroy(launcher, sandbox);
        while (launcher->counts[SANDBOX_DYING] > 0 && clock_monotonic_ns() < deadline) {
                sandbox_reap(launcher);
                poll(NULL, 0, REAP_MS);
        }
}

static int make_pins(const struct launcher_config *config, struct error *error)
{
        struct statfs info;
        char path[256];

        if (strlen(config->run) > 128 || config->run[0] != '/')
                return error_set(error, -EINVAL, "the run folder must be a short absolute path");
        if (mkdir(config->run, 0755) < 0 && errno != EEXIST)
                return error_set(error, -errno, "cannot make the folder %s: %s", config->run,
                                 strerror(errno));
        pin_path(config, path);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return error_set(error, -errno, "cannot make the folder %s: %s", path,
                                 strerror(errno));
        /* Not a mount point yet: its device is its parent's. */
        struct stat pins, run;
        if (stat(path, &pins) < 0 || stat(config->run, &run) < 0 || statfs(path, &info) < 0)
                return -errno;
        if (pins.st_dev != run.st_dev)
                return 0;
        if (mount("cay", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=32m") <
                    0 ||
            mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0)
                return error_set(error, -errno, "cannot mount %s: %s (the launcher needs root)",
                                 path, strerror(errno));
        return 0;
}

static int open_state(struct launcher *launcher)
{
        char path[256], folder[300];

        pin_path(&launcher->config, path);
        snprintf(folder, sizeof(folder), "%s/state", path);
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
                return -errno;
        launcher->state_folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return launcher->state_folder < 0 ? -errno : 0;
}

static int check_config(const struct launcher_config *config, struct error *error)
{
        uint32_t slots = config->slots ? config->slots : SLOTS_DEFAULT;
        uint32_t base = config->id_base ? config->id_base : ID_BASE_DEFAULT;

        if (config->node_user == 0 || config->node_group == 0)
                return error_set(error, -EINVAL, "the node must not run as root");
        if (config->pod_prefix < 8 || config->pod_prefix > 29)
                return error_set(error, -EINVAL, "the Pod network must be between /8 and /29");
        if (slots > SLOTS_MAX || (uint64_t)base + (slots + 1) * (uint64_t)ID_STRIDE > INT32_MAX)
                return error_set(error, -EINVAL, "too many slots for the range of user ids");
        if (config->node_user >= base || config->node_group >= base)
                return error_set(error, -EINVAL,
                                 "the node's user is inside the sandboxes' range of user ids");
        return 0;
}

/* All that starts waits for this process, which would wait for a processor behind those that it has
 * started just now. They, its children, begin without what it has here. */
static void raise_priority(void)
{
        const struct sched_param none = {};

        if (getpriority(PRIO_PROCESS, 0) == 0 &&
            sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none) == 0)
                setpriority(PRIO_PROCESS, 0, LAUNCHER_NICE);
}

static int prepare_process(struct launcher *launcher)
{
        struct epoll_event event = { .events = EPOLLIN,
                                     .data.u64 = watch_data(WATCH_SIGNALS, 0, 0) };
        struct rlimit files;
        sigset_t signals;

        raise_priority();
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
        launcher->epoll = epoll_create1(EPOLL_CLOEXEC);
        launcher->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
        if (launcher->epoll < 0 || launcher->signals < 0 ||
            epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, launcher->signals, &event) < 0)
                return -errno;
        event.data.u64 = watch_data(WATCH_NODE, 0, 0);
        if (epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, launcher->socket, &event) < 0)
                return -errno;
        return 0;
}

/* Gives up what serving requests does not take: modules, raw I/O, the clock, tracing of the kernel.
 */
static int keep_capabilities(void)
{
        static const unsigned kept[] = {
                CAP_FSETID,       CAP_CHOWN,
                CAP_DAC_OVERRIDE, CAP_FOWNER,
                CAP_KILL,         CAP_SETGID,
                CAP_SETUID,       CAP_SETFCAP,
                CAP_SETPCAP,      CAP_SYS_ADMIN,
                CAP_SYS_CHROOT,   CAP_SYS_PTRACE,
                CAP_NET_ADMIN,    CAP_NET_BIND_SERVICE,
        };

        capng_clear(CAPNG_SELECT_ALL);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                             kept[i]);
        return capng_apply(CAPNG_SELECT_BOTH) < 0 ? -EPERM : 0;
}

static int begin(struct launcher *launcher, struct error *error)
{
        const struct launcher_config *config = &launcher->config;
        char pins[256], fabric[300];
        int r = check_config(config, error);

        if (r < 0)
                return r;
        launcher->id_base = config->id_base ? config->id_base : ID_BASE_DEFAULT;
        launcher->slots = config->slots ? config->slots : SLOTS_DEFAULT;
        random_bytes(&launcher->epoch, sizeof(launcher->epoch));
        launcher->init = open(config->init, O_RDONLY | O_CLOEXEC);
        if (launcher->init < 0)
                return error_set(error, -errno, "cannot open %s: %s (is Cay installed whole?)",
                                 config->init, strerror(errno));
        r = cgroup_tree_open(&launcher->cgroups, config->cgroup, config->cgroup_v1, error);
        if (r == 0)
                r = make_pins(config, error);
        if (r == 0)
                r = open_state(launcher);
        if (r == 0)
                r = seccomp_filter_compile(&launcher->filter);
        if (r == 0)
                r = lending_init(&launcher->lending, launcher->init);
        if (r < 0)
                return r;
        pin_path(config, pins);
        snprintf(fabric, sizeof(fabric), "%s/fabric", pins);
        r = fabric_open(&launcher->fabric, fabric, config, error);
        if (r == 0)
                r = volume_owner_new(launcher);
        if (r == 0)
                r = rootfs_enter(launcher, error);
        if (r == 0)
                r = prepare_process(launcher);
        if (r == 0)
                r = state_adopt(launcher, error);
        if (r < 0)
                return r;
        if (launcher->counts[SANDBOX_LIVE] == 0)
                rootfs_remove_old(launcher);
        /* From here on nobody waits for children: they vanish when they end. */
        sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
        r = keep_capabilities();
        if (r == 0)
                launcher_answer_result(launcher, LAUNCHER_UNASKED, 0, 0, 0);
        return r;
}

static void launcher_deinit(struct launcher *launcher)
{
        struct sandbox *sandbox;
        struct queued_reply *queued;

        for (int i = 0; i < SANDBOX_STATES; i++) {
                list_for_each (sandbox, &launcher->sandboxes[i], in_state)
                        sandbox_free(launcher, sandbox);
        }
        list_for_each (queued, &launcher->replies, in_launcher)
                drop_reply(launcher, queued);
        seccomp_filter_deinit(&launcher->filter);
        fabric_close(&launcher->fabric);
        lending_deinit(&launcher->lending);
        cgroup_tree_close(&launcher->cgroups);
        for (int i = 0; i < CONTAINER_TREES; i++)
                fd_close(launcher->trees[i]);
        fd_close(launcher->epoll);
        fd_close(launcher->signals);
        fd_close(launcher->host_mount);
        fd_close(launcher->own_mount);
        fd_close(launcher->first_mount);
        fd_close(launcher->init);
        fd_close(launcher->state_folder);
        fd_close(launcher->volume_owner);
        fd_close(launcher->skeletons);
        munmap(launcher->memory, (SLOTS_MAX + 1) * sizeof(struct sandbox));
        free(launcher);
}

static struct sandbox *new_memory(void)
{
        size_t size = (SLOTS_MAX + 1) * sizeof(struct sandbox);
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory == MAP_FAILED)
                return NULL;
        if (madvise(memory, size, MADV_DONTFORK) == 0)
                return memory;
        munmap(memory, size);
        return NULL;
}

static struct launcher *launcher_new(int socket, const struct launcher_config *config)
{
        struct launcher *launcher = calloc(1, sizeof(*launcher));

        if (!launcher)
                return NULL;
        launcher->memory = new_memory();
        if (!launcher->memory) {
                free(launcher);
                return NULL;
        }
        launcher->config = *config;
        launcher->socket = socket;
        launcher->epoll = launcher->signals = -1;
        launcher->host_mount = launcher->own_mount = launcher->first_mount = -1;
        launcher->init = launcher->state_folder = launcher->volume_owner = -1;
        launcher->skeletons = -1;
        launcher->fabric = (struct fabric){ .home = -1, .netns = -1, .netlink = -1, .proc = -1 };
        launcher->lending = (struct lending){ .null = -1, .borrower = -1 };
        for (int i = 0; i < LENDING_FDS; i++)
                launcher->lending.fds[i] = -1;
        for (int i = 0; i < CONTAINER_TREES; i++)
                launcher->trees[i] = -1;
        for (int i = 0; i < SANDBOX_STATES; i++)
                list_init(&launcher->sandboxes[i]);
        for (int i = 0; i < SANDBOX_BUCKETS; i++)
                list_init(&launcher->by_id[i]);
        list_init(&launcher->replies);
        return launcher;
}

int launcher_run(int socket, const struct launcher_config *config, struct error *error)
{
        struct error unused = {};
        struct launcher *launcher = launcher_new(socket, config);

        if (!launcher)
                return -ENOMEM;
        if (!error)
                error = &unused;
        *error = (struct error){};
        int r = begin(launcher, error);
        if (r == 0) {
                r = serve(launcher);
                drain(launcher);
        }
        if (r < 0 && !error->code)
                error_set(error, r, "the launcher failed: %s", strerror(-r));
        launcher_deinit(launcher);
        return r;
}

static void remove_tree(const char *path)
{
        _cleanup_close_ int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        if (folder >= 0 && skeleton_empty(folder) == 0)
                rmdir(path);
}

int launcher_cleanup(const struct launcher_config *config, struct error *error)
{
        struct cgroup_tree cgroups;
        char pins[256], path[300];

        pin_path(config, pins);
        int r = cgroup_tree_open(&cgroups, config->cgroup, config->cgroup_v1, error);
        /* Pins come after the cgroups: without either no launcher has made anything. */
        if (r < 0 && access(pins, F_OK) < 0 && errno == ENOENT) {
                if (error)
                        *error = (struct error){};
                return 0;
        }
        if (r < 0)
                return r;
        r = cgroup_end_all(&cgroups, NULL, NULL);
        int removed = cgroup_tree_remove(&cgroups);
        cgroup_tree_close(&cgroups);
        if (r == 0)
                r = removed;
        int unmounted = volume_unmount_all(config->cgroup);
        if (r == 0)
                r = unmounted;
        snprintf(path, sizeof(path), "%s/fabric", pins);
        int unpinned = fabric_remove(path, config);
        if (r == 0)
                r = unpinned;
        if (umount2(pins, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT && r == 0)
                r = -errno;
        rmdir(pins);
        snprintf(path, sizeof(path), "%s/root", config->run);
        rmdir(path);
        if (config->skeleton)
                remove_tree(config->skeleton);
        if (r < 0)
                return error_set(error, r, "cleaning up: %s", strerror(-r));
        return 0;
}
