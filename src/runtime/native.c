// SPDX-License-Identifier: Apache-2.0
#include "runtime/native.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/random.h"
#include "initproto/logring.h"
#include "runtime/request.h"

enum {
        EVENTS = 32,
        CALLS_MAX = 4096,
        UNSENT_MAX = 2048, /* with their descriptors: well below RLIMIT_NOFILE of common hosts */
        BACKLOG = 8,
        LOG_SIZE = 1024 * 1024,
        SHARDS = 256, /* two hex digits */
        BUCKETS = 1024,
        STATE_NAME = RUNTIME_ID + 24,
};

enum call_kind {
        CALL_CREATE,
        CALL_LAUNCH,
        CALL_DONE,
        CALL_USAGE,
        CALL_MEASURE,
        CALL_LIST,
        CALL_EXIT
};

/* A request that has not been answered. */
struct call {
        struct list in_native, by_id;
        struct list by_key; /* of what makes a container busy */
        uint64_t id;
        enum call_kind kind;
        struct container_key key;
        uint64_t first;      /* of CALL_LIST: the page that the user knows */
        uint32_t list_after; /* of CALL_LIST */
};

/* A container whose end has not been told. */
struct watched {
        struct list in_native, by_key;
        struct container_key key;
        int pidfd;
};

struct native {
        struct runtime runtime;
        int launcher; /* borrowed */
        int volumes, state, epoll;
        uint64_t epoch; /* of the launcher that requests are meant for */
        uint64_t next_call;
        struct list calls, watched;
        /* The same, to be found among thousands. */
        struct list calls_by_id[BUCKETS], calls_by_key[BUCKETS], watched_by_key[BUCKETS];
        unsigned call_count;
        struct list unsent; /* the socket is full: sent as answers come */
        unsigned unsent_count;
};

/* A request with descriptors of its own. */
struct unsent {
        struct list in_native;
        struct launcher_request request;
        int fds[LAUNCHER_FDS];
        size_t fd_count;
};

static struct native *native_of(struct runtime *runtime)
{
        return container_of(runtime, struct native, runtime);
}

static void unsent_free(struct native *native, struct unsent *unsent)
{
        list_remove(&unsent->in_native);
        native->unsent_count--;
        while (unsent->fd_count > 0)
                fd_close(unsent->fds[--unsent->fd_count]);
        free(unsent);
}

static void drop_unsent(struct native *native)
{
        struct unsent *unsent;

        list_for_each (unsent, &native->unsent, in_native)
                unsent_free(native, unsent);
}

static int keep_unsent(struct native *native, const struct launcher_request *request,
                       const int *fds, size_t fd_count)
{
        struct unsent *unsent;

        if (native->unsent_count >= UNSENT_MAX)
                return -EAGAIN;
        unsent = malloc(sizeof(*unsent));
        if (!unsent)
                return -ENOMEM;
        unsent->request = *request;
        unsent->fd_count = 0;
        list_append(&native->unsent, &unsent->in_native);
        native->unsent_count++;
        while (unsent->fd_count < fd_count) {
                int fd = fcntl(fds[unsent->fd_count], F_DUPFD_CLOEXEC, 3);
                if (fd < 0) {
                        unsent_free(native, unsent);
                        return -EAGAIN;
                }
                unsent->fds[unsent->fd_count++] = fd;
        }
        return 0;
}

/* In the order of the calls: nothing overtakes what waits. */
static int send_or_keep(struct native *native, const struct launcher_request *request,
                        const int *fds, size_t fd_count)
{
        int r = -EAGAIN;

        if (list_is_empty(&native->unsent))
                r = message_send(native->launcher, request, sizeof(*request), fds, fd_count,
                                 MSG_DONTWAIT);
        return r == -EAGAIN ? keep_unsent(native, request, fds, fd_count) : r;
}

/* The launcher has answered something, so it has taken something: there may be room. */
static int send_unsent(struct native *native)
{
        while (!list_is_empty(&native->unsent)) {
                struct unsent *first = list_entry(native->unsent.next, struct unsent, in_native);
                int r = message_send(native->launcher, &first->request, sizeof(first->request),
                                     first->fds, first->fd_count, MSG_DONTWAIT);
                if (r < 0)
                        return r == -EAGAIN ? 0 : r;
                unsent_free(native, first);
        }
        return 0;
}

static uint32_t bucket_of(const struct container_key *key)
{
        return str_fnv1a(str_from(key->sandbox)) % BUCKETS;
}

static int send_request(struct native *native, struct launcher_request *request, const int *fds,
                        size_t fd_count, enum call_kind kind, uint64_t *ret_call)
{
        if (native->call_count >= CALLS_MAX)
                return -EAGAIN;
        struct call *call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;
        request->version = LAUNCHER_PROTOCOL;
        request->epoch = native->epoch;
        request->id = native->next_call;
        int r = launcher_request_check(request, sizeof(*request), fd_count);
        if (r == 0)
                r = send_or_keep(native, request, fds, fd_count);
        if (r < 0) {
                free(call);
                return r;
        }
        *call = (struct call){ .id = native->next_call, .first = native->next_call, .kind = kind };
        call->key = request->target;
        native->next_call++;
        list_append(&native->calls, &call->in_native);
        list_append(&native->calls_by_id[call->id % BUCKETS], &call->by_id);
        list_init(&call->by_key);
        if (kind == CALL_LAUNCH || kind == CALL_EXIT)
                list_append(&native->calls_by_key[bucket_of(&call->key)], &call->by_key);
        native->call_count++;
        if (ret_call)
                *ret_call = call->id;
        return 0;
}

/* A request about a sandbox, or about a container of it. */
static int request_for(struct launcher_request *request, enum launcher_operation operation,
                       const char *sandbox)
{
        *request = (struct launcher_request){ .operation = operation };
        size_t length = strnlen(sandbox, RUNTIME_ID);
        if (length == 0 || length == RUNTIME_ID)
                return -EINVAL;
        memcpy(request->target.sandbox, sandbox, length);
        return 0;
}

/* Copies a string so that nothing stands behind its NUL. */
static int copy_text(char *to, const char *from, size_t size)
{
        size_t length = strnlen(from, size);

        if (length == size)
                return -EINVAL;
        memset(to, 0, size);
        memcpy(to, from, length);
        return 0;
}

static int native_create(struct runtime *runtime, const struct sandbox_spec *spec,
                         uint64_t *ret_call)
{
        struct launcher_request request;
        int r = request_for(&request, LAUNCHER_CREATE, spec->id);

        if (r == 0)
                r = copy_text(request.create.hostname, spec->hostname, RUNTIME_HOSTNAME);
        if (r < 0)
                return r;
        request.create.address = spec->address;
        return send_request(native_of(runtime), &request, NULL, 0, CALL_CREATE, ret_call);
}

/* Opens what a mount's `source` names, never leaving the folder of volumes. */
static int open_source(const struct native *native, const char *source, int *ret_fd)
{
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                           RESOLVE_NO_MAGICLINKS };
        long fd = syscall(SYS_openat2, native->volumes, source, &how, sizeof(how));

        if (fd < 0)
                return -errno;
        *ret_fd = (int)fd;
        return 0;
}

/*
 * Files of a container in the state folder: "<shard>/<sandbox>.<container>.<attempt>.sock" and
 * ".log". The shards are folders that the file system keeps apart.
 */
static void state_name(const struct container_key *key, const char *kind,
                       char name[static STATE_NAME])
{
        unsigned shard = str_fnv1a(str_from(key->sandbox)) % SHARDS;

        snprintf(name, STATE_NAME, "%02x/%.*s.%u.%u.%s", shard, RUNTIME_ID - 1, key->sandbox,
                 key->container, key->attempt, kind);
}

/* Made when the first of its files comes. */
static int make_shard(const struct native *native, const char name[static STATE_NAME])
{
        char shard[3] = { name[0], name[1] };

        return mkdirat(native->state, shard, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A Unix socket's path is short, so it is named through the folder's descriptor. */
static void socket_address(const struct native *native, const struct container_key *key,
                           struct sockaddr_un *address)
{
        char name[STATE_NAME];

        state_name(key, "sock", name);
        *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", native->state,
                 name);
}

static int make_listener(const struct native *native, const struct container_key *key, int *ret_fd)
{
        struct sockaddr_un address;
        char name[STATE_NAME];
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        state_name(key, "sock", name);
        if (unlinkat(native->state, name, 0) < 0 && errno == ENOENT) {
                int r = make_shard(native, name);
                if (r < 0)
                        return r;
        }
        socket_address(native, key, &address);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int make_log(const struct native *native, const struct container_key *key, int *ret_fd)
{
        char name[STATE_NAME];

        state_name(key, "log", name);
        _cleanup_close_ int fd = openat(native->state, name,
                                        O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        int r = logring_format(fd, LOG_SIZE);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

static int native_forget(struct runtime *runtime, const struct container_key *key)
{
        struct native *native = native_of(runtime);
        static const char *const kinds[] = { "sock", "log" };
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                char name[STATE_NAME];
                state_name(key, kinds[i], name);
                if (unlinkat(native->state, name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        return r;
}

static int fill_launch(const struct container_spec *spec, struct launcher_request *request)
{
        struct launcher_launch *launch = &request->launch;
        int r = request_for(request, LAUNCHER_LAUNCH, spec->sandbox);

        if (r < 0)
                return r;
        if (spec->mount_count > LIMIT_MOUNTS || spec->group_count > RUNTIME_GROUPS ||
            spec->etc_size > RUNTIME_ETC)
                return -E2BIG;
        request->target.container = spec->container;
        request->target.attempt = spec->attempt;
        launch->user = spec->user;
        launch->group = spec->group;
        launch->group_count = spec->group_count;
        memcpy(launch->groups, spec->groups, sizeof(launch->groups));
        launch->read_only_root = spec->read_only_root;
        launch->limits = spec->limits;
        launch->etc_size = spec->etc_size;
        memcpy(launch->etc, spec->etc, spec->etc_size);
        launch->mount_count = spec->mount_count;
        for (uint32_t i = 0; r == 0 && i < spec->mount_count; i++) {
                launch->mounts[i].read_only = spec->mounts[i].read_only;
                launch->mounts[i].plain = spec->mounts[i].plain;
                r = copy_text(launch->mounts[i].target, spec->mounts[i].target, RUNTIME_PATH);
        }
        return r;
}

static bool is_same(const struct container_key *a, const struct container_key *b)
{
        return a->container == b->container && strcmp(a->sandbox, b->sandbox) == 0;
}

/* Whether it runs or is being launched: then its files are in use. */
static bool is_busy(const struct native *native, const struct container_key *key)
{
        uint32_t bucket = bucket_of(key);
        const struct watched *watched;
        const struct call *call;

        list_for_each (watched, &native->watched_by_key[bucket], by_key) {
                if (is_same(&watched->key, key))
                        return true;
        }
        list_for_each (call, &native->calls_by_key[bucket], by_key) {
                if (is_same(&call->key, key))
                        return true;
        }
        return false;
}

static int native_launch(struct runtime *runtime, const struct container_spec *spec,
                         uint64_t *ret_call)
{
        struct native *native = native_of(runtime);
        struct launcher_request request;
        int fds[LAUNCHER_FDS];
        size_t count = 0;
        int r = fill_launch(spec, &request);

        if (r < 0)
                return r;
        if (is_busy(native, &request.target))
                return -EBUSY;
        r = make_listener(native, &request.target, &fds[0]);
        if (r < 0)
                return r;
        count = 1;
        r = make_log(native, &request.target, &fds[1]);
        if (r == 0)
                count = LAUNCHER_FIXED_FDS;
        for (uint32_t i = 0; r == 0 && i < spec->mount_count; i++) {
                r = open_source(native, spec->mounts[i].source, &fds[count]);
                if (r == 0)
                        count++;
        }
        if (r == 0)
                r = send_request(native, &request, fds, count, CALL_LAUNCH, ret_call);
        while (count > 0)
                fd_close(fds[--count]);
        if (r < 0)
                native_forget(runtime, &request.target);
        return r;
}

static int request_for_container(struct runtime *runtime, enum launcher_operation operation,
                                 const struct container_key *key, enum call_kind kind,
                                 uint64_t *ret_call)
{
        struct launcher_request request;
        int r = request_for(&request, operation, key->sandbox);

        if (r < 0)
                return r;
        request.target.container = key->container;
        request.target.attempt = key->attempt;
        return send_request(native_of(runtime), &request, NULL, 0, kind, ret_call);
}

static int native_kill(struct runtime *runtime, const struct container_key *key, uint64_t *ret_call)
{
        return request_for_container(runtime, LAUNCHER_KILL, key, CALL_DONE, ret_call);
}

static int native_usage(struct runtime *runtime, const struct container_key *key,
                        uint64_t *ret_call)
{
        return request_for_container(runtime, LAUNCHER_USAGE, key, CALL_USAGE, ret_call);
}

static int native_destroy(struct runtime *runtime, const char *sandbox, uint64_t *ret_call)
{
        struct launcher_request request;
        int r = request_for(&request, LAUNCHER_DESTROY, sandbox);

        return r < 0 ? r : send_request(native_of(runtime), &request, NULL, 0, CALL_DONE, ret_call);
}

static int native_recover(struct runtime *runtime, uint64_t *ret_call)
{
        struct launcher_request request = { .operation = LAUNCHER_LIST };

        return send_request(native_of(runtime), &request, NULL, 0, CALL_LIST, ret_call);
}

static int request_with_source(struct native *native, struct launcher_request *request,
                               const char *source, enum call_kind kind, uint64_t *ret_call)
{
        _cleanup_close_ int fd = -1;
        int r = open_source(native, source, &fd);

        return r < 0 ? r : send_request(native, request, &fd, 1, kind, ret_call);
}

static int native_own(struct runtime *runtime, const char *source, uint32_t user, uint32_t group,
                      mode_t mode, uint64_t *ret_call)
{
        struct launcher_request request = { .operation = LAUNCHER_OWN };

        request.own.user = user;
        request.own.group = group;
        request.own.mode = mode;
        return request_with_source(native_of(runtime), &request, source, CALL_DONE, ret_call);
}

static int native_purge(struct runtime *runtime, const char *source, uint64_t *ret_call)
{
        struct launcher_request request = { .operation = LAUNCHER_PURGE };

        return request_with_source(native_of(runtime), &request, source, CALL_DONE, ret_call);
}

static int native_memory(struct runtime *runtime, const char *source, uint64_t size,
                         uint64_t *ret_call)
{
        struct launcher_request request = { .operation = LAUNCHER_MEMORY };

        request.memory = size;
        return request_with_source(native_of(runtime), &request, source, CALL_DONE, ret_call);
}

static int native_measure(struct runtime *runtime, const char *source, uint64_t *ret_call)
{
        struct launcher_request request = { .operation = LAUNCHER_MEASURE };

        return request_with_source(native_of(runtime), &request, source, CALL_MEASURE, ret_call);
}

static int native_connect(struct runtime *runtime, const struct container_key *key, int *ret_fd)
{
        struct sockaddr_un address;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        socket_address(native_of(runtime), key, &address);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int native_open_log(struct runtime *runtime, const struct container_key *key, int *ret_fd)
{
        char name[STATE_NAME];

        state_name(key, "log", name);
        int fd = openat(native_of(runtime)->state, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* Closing is not enough to end the events: the launcher holds the same open file. */
static void watched_free(struct native *native, struct watched *watched)
{
        list_remove(&watched->in_native);
        list_remove(&watched->by_key);
        epoll_ctl(native->epoll, EPOLL_CTL_DEL, watched->pidfd, NULL);
        fd_close(watched->pidfd);
        free(watched);
}

/* The pidfd has fired, or there is none any more: asks for the last usage, then tells the end. */
static int begin_exit(struct native *native, const struct container_key *key)
{
        return request_for_container(&native->runtime, LAUNCHER_USAGE, key, CALL_EXIT, NULL);
}

static int watch(struct native *native, const struct container_key *key, int pidfd)
{
        struct watched *watched = calloc(1, sizeof(*watched));
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = watched };

        if (!watched) {
                fd_close(pidfd);
                return -ENOMEM;
        }
        watched->key = *key;
        watched->pidfd = pidfd;
        list_append(&native->watched, &watched->in_native);
        list_append(&native->watched_by_key[bucket_of(key)], &watched->by_key);
        if (epoll_ctl(native->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0) {
                int r = -errno;
                watched_free(native, watched);
                return r;
        }
        return 0;
}

static void tell_exit(struct native *native, const struct container_key *key, uint32_t oom_kills)
{
        struct container_exit exit = { .exit = { .code = 137, .signal = 9 },
                                       .out_of_memory = oom_kills > 0 };
        struct logring_status status;
        _cleanup_close_ int log = -1;

        if (native_open_log(&native->runtime, key, &log) == 0 &&
            logring_read_status(log, &status) == 0) {
                exit.started_ns = status.started_ns;
                exit.is_known = status.has_exited;
                if (status.has_exited)
                        exit.exit = status.exit;
        }
        /* The main process may have outlived a child that took too much. */
        if (exit.is_known && exit.exit.signal != 9 && exit.exit.code != 137)
                exit.out_of_memory = false;
        if (native->runtime.events->container_exited)
                native->runtime.events->container_exited(native->runtime.owner, key, &exit);
}

static void tell_found(struct native *native, uint64_t call, const struct launcher_reply *reply)
{
        const struct runtime_events *events = native->runtime.events;
        bool is_end = !reply || reply->found.position == 0;

        if (events->found)
                events->found(native->runtime.owner, call, is_end ? NULL : &reply->found.sandbox,
                              is_end || !reply->found.has_container ? NULL
                                                                    : &reply->found.container);
}

/* Asks for a page under the number that the user knows; tells the end if that cannot be. */
static void ask_page(struct native *native, uint64_t first, uint32_t after)
{
        struct launcher_request request = { .operation = LAUNCHER_LIST, .list_after = after };

        if (send_request(native, &request, NULL, 0, CALL_LIST, NULL) < 0) {
                tell_found(native, first, NULL);
                return;
        }
        struct call *call = list_entry(native->calls.previous, struct call, in_native);
        call->first = first;
        call->list_after = after;
}

static void on_page(struct native *native, const struct call *call,
                    const struct launcher_reply *reply, int fd)
{
        if (reply->result < 0 || reply->found.position == 0) {
                tell_found(native, call->first, NULL);
                return;
        }
        tell_found(native, call->first, reply);
        if (reply->found.has_container) {
                if (fd >= 0)
                        watch(native, &reply->found.container, fcntl(fd, F_DUPFD_CLOEXEC, 3));
                else
                        begin_exit(native, &reply->found.container);
        }
        ask_page(native, call->first, reply->found.position);
}

static void make_reason(const struct launcher_reply *reply, char reason[static RUNTIME_REASON])
{
        if (reply->result == 0)
                reason[0] = '\0';
        else if (reply->stage == LAUNCHER_STAGE_TARGET || reply->stage == LAUNCHER_STAGE_VOLUME)
                snprintf(reason, RUNTIME_REASON, "%s (mount %u): %s",
                         launcher_stage_name(reply->stage), reply->index, strerror(-reply->result));
        else
                snprintf(reason, RUNTIME_REASON, "%s: %s", launcher_stage_name(reply->stage),
                         strerror(-reply->result));
}

/* Tells what became of a call that is in the list no more. */
static void finish_call(struct native *native, const struct call *call,
                        const struct launcher_reply *reply, int fd)
{
        const struct runtime_events *events = native->runtime.events;
        void *owner = native->runtime.owner;
        char reason[RUNTIME_REASON];
        int result = reply->result;

        make_reason(reply, reason);
        switch (call->kind) {
        case CALL_CREATE:
                if (events->sandbox_created)
                        events->sandbox_created(owner, call->id, result, reason);
                break;
        case CALL_LAUNCH:
                if (result == 0)
                        result = fd < 0 ? -EPROTO
                                        : watch(native, &call->key, fcntl(fd, F_DUPFD_CLOEXEC, 3));
                else if (result != -ECONNRESET)
                        native_forget(&native->runtime, &call->key);
                if (events->container_launched)
                        events->container_launched(owner, call->id, result, reason);
                break;
        case CALL_DONE:
                if (events->done)
                        events->done(owner, call->id, result, reason);
                break;
        case CALL_USAGE:
                if (events->usage)
                        events->usage(owner, call->id, result, &reply->usage);
                break;
        case CALL_MEASURE:
                if (events->measured)
                        events->measured(owner, call->id, result, reply->bytes);
                break;
        case CALL_LIST:
                on_page(native, call, reply, fd);
                break;
        case CALL_EXIT:
                tell_exit(native, &call->key, result == 0 ? reply->usage.oom_kills : 0);
                break;
        }
}

static void take_call(struct native *native, struct call *call)
{
        list_remove(&call->in_native);
        list_remove(&call->by_id);
        list_remove(&call->by_key);
        native->call_count--;
}

/* A launcher has begun where another was: nobody will answer what that one was asked. */
static void on_new_launcher(struct native *native, uint64_t epoch)
{
        struct launcher_reply lost = { .result = -ECONNRESET, .stage = LAUNCHER_STAGE_GONE };
        struct list calls;
        struct call *call;

        native->epoch = epoch;
        drop_unsent(native);
        list_init(&calls);
        list_for_each (call, &native->calls, in_native) {
                take_call(native, call);
                list_append(&calls, &call->in_native);
        }
        while (!list_is_empty(&calls)) {
                call = list_entry(calls.next, struct call, in_native);
                list_remove(&call->in_native);
                if (call->kind == CALL_EXIT)
                        begin_exit(native, &call->key);
                else if (call->kind == CALL_LIST)
                        ask_page(native, call->first, call->list_after);
                else
                        finish_call(native, call, &lost, -1);
                free(call);
        }
}

static void on_reply(struct native *native, const struct launcher_reply *reply, int fd)
{
        struct call *call, *found = NULL;

        if (reply->epoch != native->epoch)
                on_new_launcher(native, reply->epoch);
        list_for_each (call, &native->calls_by_id[reply->id % BUCKETS], by_id) {
                if (call->id == reply->id) {
                        found = call;
                        break;
                }
        }
        /* An answer to an earlier node, or to what was given up. */
        if (!found)
                return;
        take_call(native, found);
        finish_call(native, found, reply, fd);
        free(found);
}

/* Receives one reply. Returns 1, 0 when there is none, or a negative errno. */
static int receive(struct native *native, struct launcher_reply *ret_reply, int *ret_fd)
{
        int fds[LAUNCHER_MESSAGE_FDS];
        size_t count, length;
        int r = message_receive(native->launcher, ret_reply, sizeof(*ret_reply), fds, &count,
                                &length, MSG_DONTWAIT);

        if (r < 0)
                return r == -EAGAIN ? 0 : r;
        *ret_fd = -1;
        for (size_t i = 0; i < count; i++) {
                if (i == 0)
                        *ret_fd = fds[i];
                else
                        close(fds[i]);
        }
        if (length == 0)
                r = -EPIPE;
        else if (length != sizeof(*ret_reply) || ret_reply->version != LAUNCHER_PROTOCOL)
                r = -EPROTO;
        if (r < 0)
                *ret_fd = fd_close(*ret_fd);
        return r < 0 ? r : 1;
}

static int dispatch_replies(struct native *native)
{
        struct launcher_reply reply;
        int fd, r;

        while ((r = receive(native, &reply, &fd)) > 0) {
                on_reply(native, &reply, fd);
                fd_close(fd);
        }
        return r < 0 ? r : send_unsent(native);
}

static int native_dispatch(struct runtime *runtime)
{
        struct native *native = native_of(runtime);
        struct epoll_event events[EVENTS];
        int count = epoll_wait(native->epoll, events, EVENTS, 0);

        for (int i = 0; i < count; i++) {
                struct watched *watched = events[i].data.ptr;
                if (!watched)
                        continue;
                struct container_key key = watched->key;
                int r = begin_exit(native, &key);
                /* The launcher is busy: the event comes again. */
                if (r == -EAGAIN)
                        continue;
                watched_free(native, watched);
                if (r < 0)
                        tell_exit(native, &key, 0);
        }
        return dispatch_replies(native);
}

static int native_poll_fd(struct runtime *runtime)
{
        return native_of(runtime)->epoll;
}

static void native_free(struct runtime *runtime)
{
        struct native *native = native_of(runtime);
        struct watched *watched;
        struct call *call;

        list_for_each (call, &native->calls, in_native)
                free(call);
        drop_unsent(native);
        list_for_each (watched, &native->watched, in_native)
                watched_free(native, watched);
        fd_close(native->volumes);
        fd_close(native->state);
        fd_close(native->epoll);
        free(native);
}

static const struct runtime_ops native_ops = {
        .sandbox_create = native_create,
        .container_launch = native_launch,
        .kill = native_kill,
        .destroy = native_destroy,
        .usage = native_usage,
        .recover = native_recover,
        .own = native_own,
        .purge = native_purge,
        .memory = native_memory,
        .measure = native_measure,
        .connect = native_connect,
        .open_log = native_open_log,
        .forget = native_forget,
        .poll_fd = native_poll_fd,
        .dispatch = native_dispatch,
        .free = native_free,
};

/*
 * Waits for the answer to the only call there is. Returns 0, 1 when another launcher has begun
 * meanwhile, which was not asked, or a negative errno.
 */
static int wait_reply(struct native *native, struct launcher_reply *ret_reply, int *ret_fd)
{
        enum { TIMEOUT_MS = 10000 };
        struct call *asked = list_entry(native->calls.previous, struct call, in_native);
        struct pollfd wait = { .fd = native->launcher, .events = POLLIN };
        int r = 0;

        while (r == 0) {
                r = receive(native, ret_reply, ret_fd);
                /* Anything else was for an earlier node. */
                if (r > 0 && ret_reply->id != asked->id && ret_reply->id != LAUNCHER_UNASKED) {
                        fd_close(*ret_fd);
                        r = 0;
                        continue;
                }
                if (r != 0)
                        break;
                r = poll(&wait, 1, TIMEOUT_MS);
                if (r == 0)
                        r = -ETIMEDOUT;
                else
                        r = r < 0 && errno != EINTR ? -errno : 0;
        }
        take_call(native, asked);
        free(asked);
        if (r > 0 && ret_reply->id == LAUNCHER_UNASKED) {
                native->epoch = ret_reply->epoch;
                return 1;
        }
        return MIN(r, 0);
}

/* Asks until a launcher lives long enough to answer. */
static int ask(struct native *native, struct launcher_request *request,
               struct launcher_reply *ret_reply, int *ret_fd)
{
        int r;

        do {
                r = send_request(native, request, NULL, 0, CALL_DONE, NULL);
                if (r == 0)
                        r = wait_reply(native, ret_reply, ret_fd);
        } while (r > 0);
        return r;
}

/* Learns which launcher there is. */
static int greet(struct native *native)
{
        struct launcher_request request = { .operation = LAUNCHER_PING };
        struct launcher_reply reply;
        int fd;
        int r = ask(native, &request, &reply, &fd);

        if (r < 0)
                return r;
        fd_close(fd);
        native->epoch = reply.epoch;
        return 0;
}

int native_runtime_new(const struct native_config *config, const struct runtime_events *events,
                       void *owner, struct runtime **ret_runtime)
{
        struct native *native = calloc(1, sizeof(*native));
        struct epoll_event event = { .events = EPOLLIN };
        uint32_t start;

        if (!native)
                return -ENOMEM;
        native->runtime = (struct runtime){ .ops = &native_ops, .events = events, .owner = owner };
        native->launcher = config->launcher_fd;
        list_init(&native->calls);
        list_init(&native->watched);
        for (size_t i = 0; i < BUCKETS; i++) {
                list_init(&native->calls_by_id[i]);
                list_init(&native->calls_by_key[i]);
                list_init(&native->watched_by_key[i]);
        }
        list_init(&native->unsent);
        /* Answers to an earlier node may still be on their way. */
        random_bytes(&start, sizeof(start));
        native->next_call = (uint64_t)start << 24 | 1;
        native->volumes = open(config->volumes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        native->state = open(config->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        native->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (native->volumes < 0 || native->state < 0 || native->epoll < 0 ||
            epoll_ctl(native->epoll, EPOLL_CTL_ADD, native->launcher, &event) < 0) {
                int r = -errno;
                native_free(&native->runtime);
                return r;
        }
        folder_spread(native->state);
        int r = greet(native);
        if (r < 0) {
                native_free(&native->runtime);
                return r;
        }
        *ret_runtime = &native->runtime;
        return 0;
}

int native_runtime_socket(struct runtime *runtime, enum native_socket kind, int *ret_fd)
{
        struct native *native = native_of(runtime);
        struct launcher_request request = { .operation = LAUNCHER_SOCKET };
        struct launcher_reply reply;
        int fd;

        request.socket = kind;
        int r = ask(native, &request, &reply, &fd);
        if (r < 0)
                return r;
        if (reply.result < 0 || fd < 0) {
                fd_close(fd);
                return reply.result < 0 ? reply.result : -EPROTO;
        }
        *ret_fd = fd;
        return 0;
}
