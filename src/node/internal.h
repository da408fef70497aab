// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uthash.h>
#include <uv.h>

#include "base/list.h"
#include "client/client.h"
#include "client/reflector.h"
#include "initproto/client.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "net/stream.h"
#include "node/address.h"
#include "node/images.h"
#include "node/network.h"
#include "node/node.h"
#include "node/pod_process.h"
#include "node/pod_worker.h"
#include "node/probe_schedule.h"
#include "runtime/runtime.h"

/*
 * What the parts of the running node share. Everything is on one loop and one thread. Data has one
 * way: a watch event, an answer of the runtime or of init becomes an event of a Pod's worker
 * (pod_tell()); the worker's actions are carried out by pod_actions.c, container.c, probe.c,
 * material.c and report.c.
 */

struct node;
struct node_pod;

enum {
        NODE_QUEUE_MAX = 128,
        POD_PATH_SIZE = 160,       /* below the folder of volumes */
        FOUND_CONTAINERS_MAX = 64, /* of one sandbox, after a restart */
};

/* ---- calls to the runtime ---- */

/* One call whose answer is outstanding, and who is to hear of it. */
struct node_call {
        uint64_t number;
        void (*answered)(struct node *node, const struct node_call *call, int result,
                         const char *reason); /* as in runtime.h */
        struct node_pod *pod;                 /* NULL: it was released */
        size_t index;
        uint32_t attempt;
        uint64_t bytes; /* measured */
        char uid[RUNTIME_ID];
        UT_hash_handle hh;
};

/* Remembers who is to hear of the call. -ENOMEM: its answer will be lost. */
int node_expect(struct node *node, uint64_t number, const struct node_call *call);

/* ---- one container ---- */

struct container_user;

/* Members may be NULL. After `ended` or `failed` the user is on its own again. */
struct container_user_events {
        void (*started)(struct container_user *user);
        void (*output)(struct container_user *user, enum initproto_channel channel,
                       struct str data); /* empty: no more will come */
        void (*writable)(struct container_user *user);
        /* The process or the TCP connection ended; `exit` is NULL when it is not known how: the
         * connection to init has gone, or it was no process. */
        void (*ended)(struct container_user *user, const struct initproto_exit *exit);
        void (*failed)(struct container_user *user, int error, struct str reason);
};

/* One EXEC or CONNECT in a container, embedded in whoever asked for it. */
struct container_user {
        const struct container_user_events *on;
        struct node_container *container; /* NULL: nothing is open */
        struct initproto_stream *stream;
        struct list link;
};

/* Who reads along the log of a container, embedded. */
struct container_follower {
        void (*grown)(struct container_follower *follower);
        void (*ended)(struct container_follower *follower); /* it has exited; no more follows */
        struct list link;
};

struct grpc_check; /* grpc_check.h */

/* One asking of a container: an attempt of a probe, or a lifecycle hook. Embedded. */
struct node_handler {
        struct node_container *container;
        const struct pod_handler *wanted; /* borrowed of the document */
        uint32_t timeout_ms;              /* 0: none; of sleep its own */
        uint32_t connect_timeout_ms;      /* 0: as above */
        bool takes_any_status;            /* HTTP: an answer is enough */
        /* Told once; nothing is open then and it may ask again. `why` lives until this returns. */
        void (*answered)(struct node_handler *handler, bool success, const char *why);
        bool is_asking;
        struct net_timer timer;
        struct container_user user; /* of exec */
        struct http_call *http;
        struct stream *tcp;
        struct grpc_check *grpc;
};

struct node_probe {
        struct node_handler handler;
        enum pod_probe_role role;
        struct probe_schedule schedule;
        struct net_timer timer; /* of the next attempt */
};

/* One attempt to run a container, from launch to exit. */
struct node_container {
        struct node_pod *pod;
        size_t index;
        uint32_t attempt;
        struct arena arena; /* of the process */
        struct initproto_process process;
        struct buffer argv, env;
        bool has_process; /* `process` is to be started when init says hello */
        bool is_launched; /* init runs, as far as we know */
        bool was_started; /* STARTED was told */
        bool has_exited;  /* the runtime said so; told when the connection has ended too */
        bool is_over;     /* EXITED was told */
        bool start_failed;
        char start_error[INITPROTO_REASON + 1];
        struct container_exit exit;
        struct stream *stream; /* to init; NULL: none */
        struct initproto_client *init;
        struct net_timer retry; /* of connecting */
        unsigned retries;
        struct node_probe *probes[POD_PROBE_ROLES];
        struct node_handler hook; /* of lifecycle, when one runs */
        enum pod_hook hook_role;
        struct list users, followers;
};

/* ---- one Pod ---- */

/* A Pod document and what was read of it; replaced as a whole. */
struct pod_document {
        struct json_doc *doc;
        struct arena arena;
        struct pod_spec spec;
        int result; /* of pod_spec_read() */
        struct error error;
};

struct pod_material; /* material.c: ConfigMaps, Secrets, claims and tokens of one Pod */

struct node_pod {
        struct node *node;
        char uid[RUNTIME_ID];
        char namespace[LIMIT_LABEL + 1], name[LIMIT_NAME + 1];
        struct pod_document *document;
        struct pod_worker worker;
        struct net_timer timer;
        struct node_container *containers[LIMIT_CONTAINERS];
        struct pod_material *material;
        uint32_t address;    /* taken from the pool; 0: none */
        bool awaits_network; /* pod_begin() is due when rules are in force */

        /* report.c */
        struct buffer published; /* status text that the API has acknowledged or is being sent */
        struct kube_call *publishing, *deleting;
        struct net_timer publish_timer;
        bool publish_again, delete_wanted;
        unsigned publish_failures;

        struct net_timer destroy_timer;

        /* eviction.c */
        struct net_timer measure_timer;
        size_t measured; /* volumes of this round */
        unsigned measure_rounds;

        struct list in_released; /* of the node, until it is freed */
        struct net_task freeing;
        UT_hash_handle hh; /* by uid */
};

/* What a launcher that lived through our restart still has. */
struct node_found {
        char uid[RUNTIME_ID];
        uint32_t address;
        struct {
                uint32_t index, attempt;
                bool has_exited;
                struct container_exit exit;
        } containers[FOUND_CONTAINERS_MAX];
        size_t count;
        UT_hash_handle hh;
};

struct node_queued {
        struct node_pod *pod; /* NULL: it was released meanwhile */
        struct pod_event event;
        char reason[POD_REASON_SIZE], message[POD_MESSAGE_SIZE], id[POD_CONTAINER_ID_SIZE];
};

struct kubelet;     /* kubelet.c */
struct node_claims; /* claims.c */
struct node_report; /* report.c: Node object, lease, Events */

struct node {
        const struct node_config *config;
        uv_loop_t uv;
        struct net_loop *loop;
        struct kube_config kube_config;
        struct kube_client *client;
        struct kube_reflector *reflector;
        struct http_client *http;      /* of probes */
        struct tls_context *probe_tls; /* verifies nothing, as the kubelet's probes */
        struct stream_filter *probe_filter;
        struct runtime *runtime;
        struct network *network; /* NULL: none */
        uv_poll_t runtime_poll;
        uv_signal_t signals[2];
        struct address_pool addresses;
        struct images images;
        uint32_t host_address;
        struct pod_resources allocatable;
        char volumes[256]; /* absolute path */
        int volumes_fd;
        struct node_pod *pods;
        struct list released; /* Pods that are to be freed */
        struct node_found *found;
        struct node_call *calls;
        uint64_t recover_call;
        bool is_recovered, is_synced, has_told_ready;
        struct node_report *report;
        struct node_claims *claims;
        struct kubelet *kubelet; /* NULL: no socket was asked for */
        int failure;             /* why the loop was stopped */
        struct error *error;

        /* Events that wait for the worker, which is never entered twice. */
        struct node_queued queue[NODE_QUEUE_MAX];
        size_t queue_first, queue_count;
        bool is_handling;
        struct pod_actions actions;
};

/* ---- claims.c ---- */

/* Watches PersistentVolumes, whose folders go with them. */
int claims_new(struct node *node, struct node_claims **ret_claims);
void claims_free(struct node_claims *claims);

/* A Pod has gone: folders that were waiting for it may go. `claims` may be NULL. */
void claims_collect(struct node_claims *claims);

/* ---- node.c ---- */

/* Stops the loop; node_run() returns `failure` with the sentence. */
_printf_(3, 4) void node_stop(struct node *node, int failure, const char *format, ...);

struct pod_time node_now(void);

/* Tells who started the node, once the Node is registered and its Pods are known. */
void node_tell_ready(struct node *node);

/* ---- kubelet.c ---- */

/* Serves log, exec, attach and portforward on config->socket_path. */
int kubelet_new(struct node *node, struct error *error, struct kubelet **ret_kubelet);
void kubelet_free(struct kubelet *kubelet);

/* The Pod is about to be freed; its containers are gone. `kubelet` may be NULL. */
void kubelet_pod_gone(struct kubelet *kubelet, const struct node_pod *pod);

/* ---- pod.c ---- */

/* Gives the Pod's worker an event, at once or after the one that it is at. Strings are copied. */
void pod_tell(struct node_pod *pod, const struct pod_event *event);

/* The Pod's object was seen, has changed, or is gone (`doc` NULL: a list missed it). */
void pod_object_changed(struct node *node, struct json_doc *doc);
void pod_object_deleted(struct node *node, struct str namespace, struct str name,
                        struct json_doc *doc);

void pod_free(struct node_pod *pod);

/* Gives a new Pod to its worker. */
void pod_begin(struct node_pod *pod);

/* The Pod with this name that is not about to be freed, or NULL. */
struct node_pod *pod_find(struct node *node, struct str namespace, struct str name);

const struct pod_spec *pod_spec_of(const struct node_pod *pod);
struct pod_facts pod_facts_of(const struct node_pod *pod, char address[static ADDRESS_TEXT_SIZE]);

/* ---- container.c ---- */

void container_start(struct node_pod *pod, size_t index, uint32_t attempt);
void container_stop(struct node_pod *pod, size_t index);
void container_kill(struct node_pod *pod, size_t index);

/* Takes up a container that ran before this process did. */
int container_adopt(struct node_pod *pod, size_t index, uint32_t attempt);
void container_exited(struct node_pod *pod, size_t index, uint32_t attempt,
                      const struct container_exit *exit);
void container_free(struct node_container *container);

void container_key(const struct node_pod *pod, size_t index, uint32_t attempt,
                   struct container_key *ret_key);

/*
 * Runs a process in the container, or connects to a port inside of it (`host` empty: 127.0.0.1);
 * `user` hears of it until it ends or container_leave() is called. -ENOTCONN: init cannot be
 * reached now; else as initproto_client_exec().
 */
int container_exec(struct node_container *container, const struct initproto_process *process,
                   const struct container_user_events *on, struct container_user *user);
int container_connect(struct node_container *container, struct str host, uint16_t port,
                      const struct container_user_events *on, struct container_user *user);

/* As the functions of initproto/client.h; they do nothing once it has ended. */
ssize_t container_input(struct container_user *user, struct str data);
void container_consumed(struct container_user *user, enum initproto_channel channel, size_t bytes);
void container_resize(struct container_user *user, uint16_t rows, uint16_t columns);

/* Ends what is open; no more events. */
void container_leave(struct container_user *user);

/* The same for the main process: input, its end, and the size of its terminal. */
ssize_t container_main_input(struct node_container *container, struct str data);
void container_main_resize(struct node_container *container, uint16_t rows, uint16_t columns);

/* Tells when the log grows beyond `log_end`; stop with list_remove(). */
void container_follow(struct node_container *container, struct container_follower *follower,
                      uint64_t log_end);

/* The environment, directory and identity that further processes of the container start from. */
const struct initproto_process *container_process(const struct node_container *container);

/* ---- handler.c ---- */

/* Asks; `answered` comes from within when it fails at once. */
void handler_ask(struct node_handler *handler);

/* Gives it up; `answered` does not come any more. */
void handler_stop(struct node_handler *handler);

/* ---- hook.c ---- */

/* Runs a lifecycle hook and tells HOOK_ENDED. One runs at a time: an earlier one is given up. */
void hook_start(struct node_container *container, enum pod_hook role);
void hook_stop(struct node_container *container);

/* ---- probe.c ---- */

void probe_start(struct node_container *container, enum pod_probe_role role);
void probe_stop(struct node_container *container, enum pod_probe_role role);

/* The Pod's document was replaced: what was borrowed of the old one is taken from the new. */
void probe_respec(struct node_container *container);
void hook_respec(struct node_container *container);

/* ---- material.c ---- */

/*
 * Gets everything that the Pod refers to and writes its volumes; then tells PREPARED or
 * PREPARE_FAILED.
 */
void material_prepare(struct node_pod *pod);
void material_free(struct pod_material *material);

/* Gets anew what env refers to and was absent; then calls container_start() again. */
bool material_refresh(struct node_pod *pod, size_t index, uint32_t attempt);

struct pod_sources material_sources(struct node_pod *pod);

/* The name of the PersistentVolume that a claim is bound to; empty: not known. */
struct str material_claim_volume(const struct node_pod *pod, struct str claim);

/* The token for a projection of a volume; empty: there is none. */
struct str material_token(const struct node_pod *pod, size_t volume, size_t projection);

/* ---- pod_files.c ---- */

/* Makes the folders of volumes and what files of the images are mounted. */
int files_open(struct node *node, struct error *error);

/* Writes or renews what the Pod's volumes hold. */
int files_write(struct node_pod *pod, struct error *error);

/* The folder of a volume, below that of volumes. */
void files_volume_path(const struct node_pod *pod, const struct pod_volume *volume,
                       char path[static POD_PATH_SIZE]);

/* How large an emptyDir in memory may get, bytes; 0: nobody says. */
uint64_t files_memory_size(const struct pod_spec *spec, const struct pod_volume *volume);

/* Gives a volume to the Pod's fsGroup, if it has one. */
int files_own(struct node_pod *pod, const struct pod_volume *volume);

/* Mounts of a container, in order: volumes, the image's files; and its /etc/hosts and alike. */
int files_mounts(struct node_pod *pod, const struct pod_container *container, size_t index,
                 uint32_t attempt, const struct image *image, struct container_spec *spec,
                 struct error *error);

/* The file that stands at the container's terminationMessagePath, below the volumes. */
void files_message_path(const struct node_pod *pod, size_t index, uint32_t attempt,
                        char path[static POD_PATH_SIZE]);
void files_remove_message(const struct node_pod *pod, size_t index, uint32_t attempt);

/* Has the runtime empty the Pod's folder, and removes it then. */
void files_purge(struct node *node, const char *uid);

/* The same for folders of Pods that are gone. */
void files_purge_unclaimed(struct node *node);

/* ---- eviction.c ---- */

/* Looks now and then whether emptyDirs have become larger than their sizeLimit; tells EVICTED. */
void eviction_begin(struct node_pod *pod);
void eviction_end(struct node_pod *pod);

/* ---- report.c ---- */

int report_new(struct node *node, struct node_report **ret_report);
void report_free(struct node_report *report);
bool report_is_registered(const struct node_report *report);

void report_publish(struct node_pod *pod);
void report_delete(struct node_pod *pod);
void report_event(struct node_pod *pod, const struct pod_action *action);
void report_pod_released(struct node_pod *pod);
