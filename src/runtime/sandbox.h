// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>

#include "base/list.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/fabric.h"
#include "runtime/launcher.h"
#include "runtime/lending.h"
#include "runtime/request.h"
#include "runtime/seccomp.h"

/*
 * Inside the launcher: its sandboxes and their processes. A sandbox lives in a numbered slot, which
 * gives it its range of user ids, its wire and the names of its cgroups ("<slot>-<sequence>").
 */
enum {
        IDS_PER_SLOT = 65536,
        /* The kernel finds users by a hash in which the same id of every sandbox would collide if
         * their ranges began at multiples of a power of two. */
        ID_STRIDE = IDS_PER_SLOT + 1,
        SLOTS_DEFAULT = 4000,
        SLOTS_MAX = 4094,
        SANDBOX_BUCKETS = 1024,
        NAMESPACE_USER = 0,
        NAMESPACE_NET,
        NAMESPACE_IPC,
        NAMESPACE_UTS,
        NAMESPACES,
        CHILD_PREPARED = LIMIT_CONTAINERS, /* index of the child that has no container yet */
        CHILDREN
};

#define ID_BASE_DEFAULT UINT32_C(0x70000000)

enum child_state {
        CHILD_NONE,
        CHILD_JOINING,   /* going into a sandbox that exists */
        CHILD_PREPARING, /* making its root */
        CHILD_READY,     /* waits for its order */
        CHILD_STARTING,  /* has its order */
        CHILD_RUNNING,   /* runs init */
        CHILD_ENDED,     /* its cgroups still stand, for the last usage */
};

/* What a child will be told as soon as it is ready. */
struct pending_order {
        struct container_order order;
        int fds[LAUNCHER_FDS];
        size_t fd_count;
};

struct child {
        enum child_state state;
        uint32_t attempt;
        uint32_t sequence; /* of its cgroups */
        int socket, pidfd;
        uint64_t call; /* the LAUNCH that is to be answered */
        struct pending_order *pending;
};

enum sandbox_state {
        SANDBOX_NEW,    /* being made */
        SANDBOX_POOLED, /* for nobody yet */
        SANDBOX_LIVE,
        SANDBOX_DYING,
        SANDBOX_STATES
};

struct sandbox {
        struct list in_state; /* the launcher's list of its state */
        struct list by_id;    /* while it is live */
        enum sandbox_state state;
        uint32_t slot;
        struct sandbox_spec spec;
        bool has_hostname;          /* the first container's child sets it */
        int namespaces[NAMESPACES]; /* -1: gone with the last process while no launcher ran */
        int volume_users;           /* for id-mapped volumes; -1: made when needed */
        int pod_netlink;            /* until it has its address */
        uint32_t next_sequence;
        struct child children[CHILDREN];
        bool answers_destroy;
        uint64_t destroy_call;
        uint64_t dying_since_ns;
};

struct queued_reply {
        struct list in_launcher;
        struct launcher_reply reply;
        int fd;
};

struct launcher {
        struct launcher_config config;
        uint32_t id_base, slots;
        uint64_t epoch;
        int socket, epoll, signals;
        int host_mount, own_mount; /* mount namespaces */
        int first_mount;           /* the one that children begin in a copy of */
        int host_net;
        int init;
        int state_folder;
        int trees[CONTAINER_TREES];
        int skeletons;          /* the folder of skeletons on disk; -1: ours is on tmpfs */
        char skeleton_name[16]; /* of ours in there */
        int volume_owner;       /* user namespace in which volumes' ids are 0 … 65535 */
        struct cgroup_tree cgroups;
        struct fabric fabric;
        struct lending lending;
        struct seccomp_filter filter;
        struct list sandboxes[SANDBOX_STATES];
        unsigned counts[SANDBOX_STATES];
        struct list by_id[SANDBOX_BUCKETS];
        struct sandbox *by_slot[SLOTS_MAX + 1];
        struct sandbox *memory; /* a place for each slot, which children get no copy of */
        uint32_t last_slot;
        uint64_t pool_pause_until_ns; /* after a failure to fill it */
        uint64_t last_request_ns;
        struct list replies; /* that the socket did not take */
        unsigned reply_count;
        bool ends;
};

/* The first of a sandbox's user ids. */
static inline uint32_t sandbox_id_base(const struct launcher *launcher,
                                       const struct sandbox *sandbox)
{
        return launcher->id_base + sandbox->slot * ID_STRIDE;
}

/* What an epoll event is about. */
enum watch_kind { WATCH_NODE, WATCH_SIGNALS, WATCH_SOCKET, WATCH_PIDFD, WATCH_WALK };

static inline uint64_t watch_data(enum watch_kind kind, uint32_t slot, uint32_t index)
{
        return (uint64_t)kind << 56 | (uint64_t)slot << 16 | index;
}

/* Answers a call, now or when the socket has room. `fd` is duplicated. */
void launcher_answer(struct launcher *launcher, const struct launcher_reply *reply, int fd);
void launcher_answer_result(struct launcher *launcher, uint64_t call, int result,
                            enum launcher_stage stage, uint32_t index);

/* Makes a sandbox with a child that prepares itself, for nobody yet. */
int sandbox_new(struct launcher *launcher, struct sandbox **ret_sandbox,
                enum launcher_stage *ret_stage);
struct sandbox *sandbox_find(struct launcher *launcher, const char *id);
/* Gives a pooled or new sandbox its name, address and host name. */
int sandbox_create(struct launcher *launcher, const struct launcher_request *request,
                   enum launcher_stage *ret_stage);
/* Answers the call itself, unless it fails right away. Takes the descriptors in every case. */
int sandbox_launch(struct launcher *launcher, const struct launcher_request *request, int *fds,
                   size_t fd_count, enum launcher_stage *ret_stage, uint32_t *ret_index);
int sandbox_kill(struct launcher *launcher, struct sandbox *sandbox, uint32_t container);
/* Begins its end. */
void sandbox_destroy(struct launcher *launcher, struct sandbox *sandbox);
/* Goes on with the ends that are under way. */
void sandbox_reap(struct launcher *launcher);
/* Events of a child. */
void sandbox_on_socket(struct launcher *launcher, uint32_t slot, uint32_t index);
void sandbox_on_pidfd(struct launcher *launcher, uint32_t slot, uint32_t index);
void sandbox_cgroup_name(const struct sandbox *sandbox, uint32_t sequence,
                         char name[static CGROUP_NAME]);
void sandbox_free(struct launcher *launcher, struct sandbox *sandbox);
/* One without anything, in this slot, which is free. */
struct sandbox *sandbox_new_in(struct launcher *launcher, uint32_t slot);
/* A live one has its id by now, and keeps it. */
void sandbox_set_state(struct launcher *launcher, struct sandbox *sandbox,
                       enum sandbox_state state);

/* Keeps what a later launcher must know of a live sandbox. */
int state_write(struct launcher *launcher, const struct sandbox *sandbox);
void state_remove(struct launcher *launcher, uint32_t slot);
/* Takes over what earlier launchers left; ends what nobody knows. */
int state_adopt(struct launcher *launcher, struct error *error);

/* Detached mounts for a new container's root, its ids mapped to the sandbox's. */
int rootfs_clone(struct launcher *launcher, int users, int ret_trees[static CONTAINER_TREES]);
/* Detached mounts of the volumes, whose descriptors they replace. */
int rootfs_clone_volumes(struct launcher *launcher, struct sandbox *sandbox,
                         const struct launcher_launch *launch, int *fds, uint32_t *ret_index);
/* Removes skeletons of earlier launchers, which no sandbox must use any more. */
void rootfs_remove_old(struct launcher *launcher);
/* The launcher's small mount namespace. */
int rootfs_enter(struct launcher *launcher, struct error *error);

/* OWN, MEMORY. PURGE and MEASURE walk through a folder in a process of their own, which
 * volume_on_walked() answers for. */
int volume_own(struct launcher *launcher, const struct launcher_request *request, int fd);
int volume_memory(struct launcher *launcher, uint64_t size, int fd);
int volume_walk(struct launcher *launcher, const struct launcher_request *request, int fd);
void volume_on_walked(struct launcher *launcher, int pipe);
/* Takes away what volume_memory() has mounted for the instance of this name. */
int volume_unmount_all(const char *name);
int volume_owner_new(struct launcher *launcher);
