// SPDX-License-Identifier: Apache-2.0
#include "router/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "client/reflector.h"
#include "kinds/core.h"
#include "kinds/kind.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"

struct source {
        struct router_watch *watch;
        struct kube_reflector *reflector;
        const struct kind *kind;
        void (*put)(struct router_index *index, const struct json_doc *doc);
        void (*remove)(struct router_index *index, struct str name_space, struct str name);
        bool listed;
        bool forbidden;
};

struct router_watch {
        struct router_index *index;
        struct arena arena;
        struct str name_space;
        void (*on_settled)(void *user);
        void *user;
        struct source sandboxes, pods;
        bool settled;
};

/* ---- what the index keeps ---- */

static bool has_label(const struct object_meta *meta, struct str key)
{
        return json_exists(json_member(meta->labels, key));
}

void index_sandbox_read(const struct json_doc *doc, struct index_sandbox *ret_sandbox)
{
        struct object_meta meta;
        struct owner_reference owner;
        struct sandbox sandbox;

        object_meta_read(json_root(doc), &meta);
        sandbox_read(json_root(doc), &sandbox);
        bool owned =
                object_meta_controller(&meta, &owner) && str_equal(owner.group, GROUP_EXTENSIONS);
        *ret_sandbox = (struct index_sandbox){
                .name_space = meta.namespace,
                .name = meta.name,
                .uid = meta.uid,
                .pod_name = object_meta_annotation(&meta, ANNOTATION_POD_NAME),
                .claim = owned && str_equal(owner.kind, kind_sandbox_claim.kind) ? owner.name
                                                                                 : STR_EMPTY,
                .pool_member = has_label(&meta, LABEL_WARM_POOL) || has_label(&meta, LABEL_POOL) ||
                               (owned && str_equal(owner.kind, kind_sandbox_warm_pool.kind)),
                .running = !sandbox.suspended && !object_meta_is_deleting(&meta) &&
                           !condition_is_true(sandbox.conditions, STR("Finished")),
        };
}

void index_pod_read(const struct json_doc *doc, struct index_pod *ret_pod)
{
        struct object_meta meta;
        struct owner_reference owner;
        struct pod pod;

        object_meta_read(json_root(doc), &meta);
        pod_read(json_root(doc), &pod);
        bool owned = object_meta_controller(&meta, &owner) &&
                     str_equal(owner.group, GROUP_AGENTS) &&
                     str_equal(owner.kind, kind_sandbox.kind);
        *ret_pod = (struct index_pod){
                .name_space = meta.namespace,
                .name = meta.name,
                .owner_uid = owned ? owner.uid : STR_EMPTY,
                .ip = pod.ip,
                .ready = pod.ready && !object_meta_is_deleting(&meta) && !pod_is_finished(&pod),
        };
}

static void put_sandbox(struct router_index *index, const struct json_doc *doc)
{
        struct index_sandbox sandbox;

        index_sandbox_read(doc, &sandbox);
        if (router_index_put_sandbox(index, &sandbox) < 0)
                log_error("no memory for sandbox %.*s/%.*s", STR_FORMAT(sandbox.name_space),
                          STR_FORMAT(sandbox.name));
}

static void put_pod(struct router_index *index, const struct json_doc *doc)
{
        struct index_pod pod;

        index_pod_read(doc, &pod);
        if (router_index_put_pod(index, &pod) < 0)
                log_error("no memory for pod %.*s/%.*s", STR_FORMAT(pod.name_space),
                          STR_FORMAT(pod.name));
}

/* ---- the watches ---- */

static void settle(struct router_watch *watch)
{
        bool complete = watch->sandboxes.listed && !watch->sandboxes.forbidden &&
                        watch->pods.listed && !watch->pods.forbidden;
        bool settled = (watch->sandboxes.listed || watch->sandboxes.forbidden) &&
                       (watch->pods.listed || watch->pods.forbidden);

        router_index_set_complete(watch->index, complete, watch->name_space);
        if (settled && !watch->settled) {
                watch->settled = true;
                if (watch->on_settled)
                        watch->on_settled(watch->user);
        }
}

static void on_event(void *user, const struct kube_event *event)
{
        struct source *source = user;
        struct router_index *index = source->watch->index;

        switch (event->type) {
        case KUBE_ADDED:
        case KUBE_MODIFIED:
                source->put(index, event->doc);
                return;
        case KUBE_DELETED:
                source->remove(index, event->name_space, event->name);
                return;
        case KUBE_LIST_END:
                source->listed = true;
                source->forbidden = false;
                settle(source->watch);
                return;
        case KUBE_LIST_BEGIN:
        case KUBE_BOOKMARK:
                return;
        }
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct source *source = user;
        struct router_watch *watch = source->watch;
        bool is_known = watch->sandboxes.forbidden || watch->pods.forbidden;

        /* An API server that has just started refuses for a moment; then the watch goes on. */
        if (state == KUBE_REFLECTOR_WATCHING && source->forbidden && source->listed) {
                source->forbidden = false;
                settle(watch);
        }
        if (state != KUBE_REFLECTOR_FORBIDDEN || source->forbidden)
                return;
        source->forbidden = true;
        /* One line is enough: without either the index is of no use. */
        if (!is_known)
                log_warning("may not watch %.*s (%.*s): sandboxes are found by X-Sandbox-Pod-IP "
                            "and DNS only",
                            STR_FORMAT(source->kind->plural), STR_FORMAT(message));
        settle(watch);
}

static int start(struct source *source, struct kube_client *client, struct str label_selector)
{
        const struct kube_reflector_options options = {
                .client = client,
                .kind = source->kind,
                .name_space = source->watch->name_space,
                .label_selector = label_selector,
                .tell_vanished = true,
                .no_watch_list = true,
                .handler = on_event,
                .on_state = on_state,
                .user = source,
        };

        return kube_reflector_new(&options, &source->reflector);
}

int router_watch_new(struct kube_client *client, struct router_index *index, struct str name_space,
                     void (*on_settled)(void *user), void *user, struct router_watch **ret_watch)
{
        struct router_watch *watch = calloc(1, sizeof(*watch));

        if (!watch)
                return -ENOMEM;
        watch->index = index;
        watch->on_settled = on_settled;
        watch->user = user;
        watch->name_space = arena_str(&watch->arena, name_space);
        watch->sandboxes = (struct source){ .watch = watch,
                                            .kind = &kind_sandbox,
                                            .put = put_sandbox,
                                            .remove = router_index_remove_sandbox };
        watch->pods = (struct source){
                .watch = watch, .kind = &kind_pod, .put = put_pod, .remove = router_index_remove_pod
        };
        int r = watch->name_space.data ? 0 : -ENOMEM;
        if (r == 0)
                r = start(&watch->sandboxes, client, STR_EMPTY);
        if (r == 0)
                r = start(&watch->pods, client, LABEL_NAME_HASH);
        if (r < 0) {
                router_watch_free(watch);
                return r;
        }
        *ret_watch = watch;
        return 0;
}

void router_watch_free(struct router_watch *watch)
{
        if (!watch)
                return;
        if (watch->sandboxes.reflector)
                kube_reflector_free(watch->sandboxes.reflector);
        if (watch->pods.reflector)
                kube_reflector_free(watch->pods.reflector);
        arena_deinit(&watch->arena);
        free(watch);
}

bool router_watch_is_settled(const struct router_watch *watch)
{
        return watch->settled;
}
