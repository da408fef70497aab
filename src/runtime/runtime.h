// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/limit.h"
#include "initproto/initproto.h"

/*
 * What runs Pods: native (namespaces on this machine), later OCI runtimes and microVMs. A sandbox
 * is a Pod's: user ids, network, host name. Containers run in it; PID 1 of each is our init, which
 * is told over the init protocol what to run.
 *
 * What is asked for here names no descriptor and no path of the host, so that an implementation may
 * stand on the other side of a VM's wall: volumes are named below the folder of volumes that both
 * sides know. Everything is asynchronous: a call returns its number, an event answers it.
 */
enum {
        RUNTIME_ID = 64,       /* of a sandbox: the Pod's uid; [A-Za-z0-9-] with NUL */
        RUNTIME_HOSTNAME = 64, /* with NUL */
        RUNTIME_PATH = 256,    /* with NUL */
        RUNTIME_GROUPS = 32,   /* supplementary groups */
        RUNTIME_REASON = 160,  /* a sentence, with NUL */
        RUNTIME_ETC = 8192,    /* bytes of a container's files in /etc, with their NULs */
};

struct sandbox_spec {
        char id[RUNTIME_ID];
        char hostname[RUNTIME_HOSTNAME];
        uint32_t address; /* IPv4, host byte order, inside the Pod network */
};

/* 0 leaves a limit out. */
struct container_limits {
        uint32_t cpu_milli;        /* at most so many thousandths of a CPU */
        uint32_t cpu_weight_milli; /* request: share when CPUs are short */
        uint64_t memory;           /* bytes, with page cache and the writable root; no swap */
        uint32_t processes;        /* threads and processes; 0: 4096 */
        uint64_t storage;          /* bytes of the writable root; 0: half of `memory`, or 1 GiB */
};

struct container_mount {
        char source[RUNTIME_PATH]; /* folder or file below the folder of volumes; no "..", no links
                                    */
        char target[RUNTIME_PATH]; /* absolute, inside the container; made if absent */
        bool read_only;
        bool plain; /* a file that all may use as they shall: it belongs to nobody in there */
};

struct container_spec {
        char sandbox[RUNTIME_ID];
        uint32_t container;   /* 0 … LIMIT_CONTAINERS − 1; free again once it has exited */
        uint32_t attempt;     /* number of the restart: names log and socket with `container` */
        uint32_t user, group; /* inside the container, below 65536; init and all else run so */
        uint32_t groups[RUNTIME_GROUPS];
        uint32_t group_count;
        bool read_only_root;
        struct container_limits limits;
        struct container_mount mounts[LIMIT_MOUNTS]; /* in this order */
        uint32_t mount_count;
        /* Texts of /etc/hosts, /etc/hostname and /etc/resolv.conf, each with its NUL. They become
         * files of the container's own, beneath its mounts. */
        char etc[RUNTIME_ETC];
        uint32_t etc_size; /* 0: none */
};

struct container_key {
        char sandbox[RUNTIME_ID];
        uint32_t container, attempt;
};

/* How a container ended: the kernel says that, init (through the log ring) says how. */
struct container_exit {
        bool is_known; /* else init was killed: code 137 */
        bool out_of_memory;
        struct initproto_exit exit;
        uint64_t started_ns; /* 0: unknown or never started */
};

struct container_usage {
        uint64_t memory, memory_peak; /* bytes */
        uint64_t cpu_ns;
        uint32_t processes;
        uint32_t oom_kills;
};

/* A container that was found running, or whose end nobody has seen yet. */
struct container_found {
        struct container_key key;
        char hostname[RUNTIME_HOSTNAME];
        uint32_t address;
};

struct runtime;

/* Called from runtime_dispatch() only. `result` is 0 or a negative errno with its sentence. */
struct runtime_events {
        void (*sandbox_created)(void *owner, uint64_t call, int result, const char *reason);
        /* init runs; connect to it with runtime_connect(). */
        void (*container_launched)(void *owner, uint64_t call, int result, const char *reason);
        /* Everything of the container is dead; also for those found by runtime_recover(). */
        void (*container_exited)(void *owner, const struct container_key *key,
                                 const struct container_exit *exit);
        /* Answers runtime_kill(), _destroy(), _own(), _purge(), _memory(). */
        void (*done)(void *owner, uint64_t call, int result, const char *reason);
        void (*usage)(void *owner, uint64_t call, int result, const struct container_usage *usage);
        void (*measured)(void *owner, uint64_t call, int result, uint64_t bytes);
        /* Answers runtime_recover(): one event a sandbox without containers (`container` NULL) or
         * a container, then one with both NULL. */
        void (*found)(void *owner, uint64_t call, const struct sandbox_spec *sandbox,
                      const struct container_key *container);
};

struct runtime_ops {
        int (*sandbox_create)(struct runtime *, const struct sandbox_spec *, uint64_t *ret_call);
        int (*container_launch)(struct runtime *, const struct container_spec *,
                                uint64_t *ret_call);
        int (*kill)(struct runtime *, const struct container_key *, uint64_t *ret_call);
        int (*destroy)(struct runtime *, const char *sandbox, uint64_t *ret_call);
        int (*usage)(struct runtime *, const struct container_key *, uint64_t *ret_call);
        int (*recover)(struct runtime *, uint64_t *ret_call);
        int (*own)(struct runtime *, const char *source, uint32_t user, uint32_t group, mode_t mode,
                   uint64_t *ret_call);
        int (*purge)(struct runtime *, const char *source, uint64_t *ret_call);
        int (*memory)(struct runtime *, const char *source, uint64_t size, uint64_t *ret_call);
        int (*measure)(struct runtime *, const char *source, uint64_t *ret_call);
        int (*connect)(struct runtime *, const struct container_key *, int *ret_fd);
        int (*open_log)(struct runtime *, const struct container_key *, int *ret_fd);
        int (*forget)(struct runtime *, const struct container_key *);
        int (*poll_fd)(struct runtime *);
        int (*dispatch)(struct runtime *);
        void (*free)(struct runtime *);
};

/* The head of every implementation. */
struct runtime {
        const struct runtime_ops *ops;
        const struct runtime_events *events; /* members may be NULL */
        void *owner;
};

/* Returns 0, -EINVAL, -EAGAIN (too many calls under way) or another errno of sending. */
static inline int runtime_sandbox_create(struct runtime *r, const struct sandbox_spec *spec,
                                         uint64_t *ret_call)
{
        return r->ops->sandbox_create(r, spec, ret_call);
}

/* Errors as above, -EBUSY (it runs), and those of opening a volume: -ENOENT, -ELOOP, -EACCES. */
static inline int runtime_container_launch(struct runtime *r, const struct container_spec *spec,
                                           uint64_t *ret_call)
{
        return r->ops->container_launch(r, spec, ret_call);
}

/* Kills everything in the container with SIGKILL. `done` says that it was begun, the event
 * `container_exited` that it is over. */
static inline int runtime_kill(struct runtime *r, const struct container_key *key,
                               uint64_t *ret_call)
{
        return r->ops->kill(r, key, ret_call);
}

/* Kills what runs in the sandbox and removes it. `done` comes when nothing of it runs. -ENOENT in
 * `done`: there is none (any more). */
static inline int runtime_destroy(struct runtime *r, const char *sandbox, uint64_t *ret_call)
{
        return r->ops->destroy(r, sandbox, ret_call);
}

static inline int runtime_usage(struct runtime *r, const struct container_key *key,
                                uint64_t *ret_call)
{
        return r->ops->usage(r, key, ret_call);
}

/* Finds what an earlier node left: once, before anything else. */
static inline int runtime_recover(struct runtime *r, uint64_t *ret_call)
{
        return r->ops->recover(r, ret_call);
}

/*
 * Gives a folder or file of a volume, made by the node, to a user and group as containers see them
 * (fsGroup), with this mode. The node's own user is root inside containers.
 */
static inline int runtime_own(struct runtime *r, const char *source, uint32_t user, uint32_t group,
                              mode_t mode, uint64_t *ret_call)
{
        return r->ops->own(r, source, user, group, mode, ret_call);
}

/*
 * Makes a folder of a volume one in memory, of `size` bytes (0: half of the machine's), if it is
 * not one yet; what is written counts as the memory of the container that writes. Purging the
 * folder above it takes it away. Wait for `done` before naming what is below it.
 */
static inline int runtime_memory(struct runtime *r, const char *source, uint64_t size,
                                 uint64_t *ret_call)
{
        return r->ops->memory(r, source, size, ret_call);
}

/* How many bytes of disk a folder of a volume takes, told by `measured`. */
static inline int runtime_measure(struct runtime *r, const char *source, uint64_t *ret_call)
{
        return r->ops->measure(r, source, ret_call);
}

/* Removes everything inside a folder of a volume, whoever in a container made it. */
static inline int runtime_purge(struct runtime *r, const char *source, uint64_t *ret_call)
{
        return r->ops->purge(r, source, ret_call);
}

/* A new connection to the container's init, non-blocking, for an initproto_client. -ENOENT,
 * -ECONNREFUSED: no such container, or it is ending; -EAGAIN: try later. */
static inline int runtime_connect(struct runtime *r, const struct container_key *key, int *ret_fd)
{
        return r->ops->connect(r, key, ret_fd);
}

/* The container's log ring, to read (initproto/logring.h); stays after the container until
 * runtime_forget(). */
static inline int runtime_open_log(struct runtime *r, const struct container_key *key, int *ret_fd)
{
        return r->ops->open_log(r, key, ret_fd);
}

/* Removes log and socket of a container that has exited. */
static inline int runtime_forget(struct runtime *r, const struct container_key *key)
{
        return r->ops->forget(r, key);
}

/* A descriptor that becomes readable when runtime_dispatch() has work. */
static inline int runtime_poll_fd(struct runtime *r)
{
        return r->ops->poll_fd(r);
}

/* Takes what has come in and calls the events. Returns 0, or a negative errno when the other side
 * is gone for good. */
static inline int runtime_dispatch(struct runtime *r)
{
        return r->ops->dispatch(r);
}

static inline void runtime_free(struct runtime *r)
{
        if (r)
                r->ops->free(r);
}
