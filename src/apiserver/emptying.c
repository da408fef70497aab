// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/emptying.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/internal_call.h"
#include "apiserver/server.h"

enum {
        DELETIONS_AT_ONCE = 32, /* a piece of work that holds nobody up */
        AGAIN_MS = 100,         /* after a refusal: the queue of writes is full */
};

struct emptying {
        struct list link;
        struct apiserver *server;
        struct arena memory;
        struct str name;
        struct net_task task;
        struct net_timer timer;
        unsigned deletions; /* under way */
        bool starting;      /* answers may come from within the start of a deletion */
        bool refused;
};

static bool has_objects_of_its_own(const struct api_resource *resource)
{
        return resource->namespaced && resource->storage && !resource->target;
}

bool namespace_is_empty(struct apiserver *server, struct str name)
{
        const struct api_resource *resource;

        list_for_each (resource, registry_resources(server->registry), in_registry)
                if (has_objects_of_its_own(resource) && storage_head_has(resource->storage, name))
                        return false;
        return true;
}

static void end(struct emptying *emptying)
{
        list_remove(&emptying->link);
        net_task_cancel(&emptying->task);
        net_timer_stop(&emptying->timer);
        arena_deinit(&emptying->memory);
        free(emptying);
}

static void on_timer(struct net_timer *timer)
{
        struct emptying *emptying = container_of(timer, struct emptying, timer);

        net_loop_defer(emptying->server->loop, &emptying->task);
}

/* The next piece begins when this one is on disk: until then its objects are seen as they were. */
static void go_on(struct emptying *emptying)
{
        if (emptying->deletions > 0 || emptying->starting)
                return;
        if (emptying->refused)
                net_timer_start(emptying->server->loop, &emptying->timer, AGAIN_MS, on_timer);
        else
                net_loop_defer(emptying->server->loop, &emptying->task);
}

static void deleted(void *user, unsigned code, struct json_doc *doc _unused_)
{
        struct emptying *emptying = user;

        emptying->deletions--;
        if (code >= 400 && code != 404)
                emptying->refused = true;
        go_on(emptying);
}

static int delete_some_of(struct emptying *emptying, const struct api_resource *resource)
{
        struct internal_request request = {
                .verb = API_DELETE,
                .group = resource->group,
                .plural = resource->plural,
                .manager = STR("cay-apiserver"),
                .done = deleted,
                .user = emptying,
        };
        struct storage_list list;
        struct json_doc *doc;

        int r = storage_list_begin(&list, resource->storage, emptying->name, 0, STR_EMPTY,
                                   STR_EMPTY);
        if (r < 0)
                return r;
        while (emptying->deletions < DELETIONS_AT_ONCE &&
               (r = storage_list_next(&list, &doc)) > 0) {
                if (json_exists(json_get(json_root(doc), "metadata", "deletionTimestamp")))
                        continue;
                storage_list_position(&list, &request.name_space, &request.name);
                emptying->deletions++;
                r = internal_call_start(emptying->server, &request, NULL);
                if (r < 0) {
                        emptying->deletions--;
                        break;
                }
        }
        storage_list_end(&list);
        return MIN(r, 0);
}

static void run(struct net_task *task)
{
        struct emptying *emptying = container_of(task, struct emptying, task);
        const struct api_resource *resource;
        int r = 0;

        emptying->refused = false;
        emptying->starting = true;
        list_for_each (resource, registry_resources(emptying->server->registry), in_registry) {
                if (r == 0 && has_objects_of_its_own(resource))
                        r = delete_some_of(emptying, resource);
        }
        emptying->starting = false;
        if (r < 0)
                emptying->refused = true;
        if (emptying->deletions == 0 && !emptying->refused)
                end(emptying);
        else
                go_on(emptying);
}

int emptying_start(struct apiserver *server, struct str name)
{
        struct emptying *emptying;

        list_for_each (emptying, &server->emptyings, link) {
                if (str_equal(emptying->name, name))
                        return 0;
        }
        emptying = calloc(1, sizeof(*emptying));
        if (!emptying)
                return -ENOMEM;
        emptying->server = server;
        emptying->task.run = run;
        emptying->name = arena_str(&emptying->memory, name);
        if (!emptying->name.data) {
                free(emptying);
                return -ENOMEM;
        }
        list_append(&server->emptyings, &emptying->link);
        net_loop_defer(server->loop, &emptying->task);
        return 0;
}

void emptying_stop_all(struct apiserver *server)
{
        while (!list_is_empty(&server->emptyings))
                end(list_entry(server->emptyings.next, struct emptying, link));
}
