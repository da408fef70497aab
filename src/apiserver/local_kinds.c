// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/local_kinds.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/limit.h"
#include "base/log.h"

enum { AGAIN_MS = 1000, NEEDED = API_LIST | API_WATCH | API_DELETE | API_PATCH };

struct followed {
        struct kind kind;
        uint32_t hash;
        bool told;
        bool seen; /* in this look at the registry */
        char text[];
};

struct local_kinds {
        struct local_kinds_options options;
        struct registry_listener listener;
        struct net_task task;
        struct net_timer timer;
        struct followed **list;
        size_t count, capacity;
        bool complained;
};

static bool is_wanted(const struct local_kinds *kinds, const struct api_resource *resource)
{
        if (!resource->storage || resource->target || (resource->verbs & NEEDED) != NEEDED)
                return false;
        for (size_t i = 0; kinds->options.except[i]; i++) {
                const struct kind *known = kinds->options.except[i];

                if (str_equal(known->plural, resource->plural) &&
                    str_equal(known->group, resource->group))
                        return false;
        }
        return true;
}

static bool is_same(const struct kind *kind, const struct api_resource *resource)
{
        return str_equal(kind->plural, resource->plural) &&
               str_equal(kind->group, resource->group) && str_equal(kind->kind, resource->kind) &&
               kind->namespaced == resource->namespaced;
}

static struct str copy(char **at, struct str text)
{
        struct str result = { *at, text.length };

        if (text.length > 0)
                memcpy(*at, text.data, text.length);
        *at += text.length;
        return result;
}

static struct followed *add(struct local_kinds *kinds, const struct api_resource *resource,
                            uint32_t hash)
{
        struct followed *followed;
        char *text;

        if (kinds->count == LIMIT_FOLLOWED_KINDS) {
                if (!kinds->complained)
                        log_warning("more than %d kinds: owners are not followed from and to %.*s",
                                    LIMIT_FOLLOWED_KINDS, STR_FORMAT(resource->plural));
                kinds->complained = true;
                return NULL;
        }
        if (kinds->count == kinds->capacity) {
                size_t capacity = kinds->capacity ? 2 * kinds->capacity : 64;
                void *list = reallocarray(kinds->list, capacity, sizeof(struct followed *));

                if (!list)
                        return NULL;
                kinds->list = list;
                kinds->capacity = capacity;
        }
        followed = calloc(1, sizeof(*followed) + resource->group.length + resource->kind.length +
                                     resource->plural.length);
        if (!followed)
                return NULL;
        text = followed->text;
        followed->kind.group = copy(&text, resource->group);
        followed->kind.kind = copy(&text, resource->kind);
        followed->kind.plural = copy(&text, resource->plural);
        followed->kind.namespaced = resource->namespaced;
        followed->hash = hash;
        kinds->list[kinds->count++] = followed;
        return followed;
}

static struct followed *find(struct local_kinds *kinds, const struct api_resource *resource)
{
        uint32_t hash = str_fnv1a(resource->plural) ^ str_fnv1a(resource->group);

        for (size_t i = 0; i < kinds->count; i++) {
                if (kinds->list[i]->hash == hash && is_same(&kinds->list[i]->kind, resource))
                        return kinds->list[i];
        }
        return add(kinds, resource, hash);
}

static void look_again(struct net_timer *timer)
{
        struct local_kinds *kinds = container_of(timer, struct local_kinds, timer);

        net_loop_defer(kinds->options.server->loop, &kinds->task);
}

static void look(struct local_kinds *kinds)
{
        const struct api_resource *resource;
        bool missed = false;

        for (size_t i = 0; i < kinds->count; i++)
                kinds->list[i]->seen = false;
        list_for_each (resource, registry_resources(kinds->options.server->registry), in_registry) {
                struct followed *followed;

                if (!is_wanted(kinds, resource))
                        continue;
                followed = find(kinds, resource);
                if (followed)
                        followed->seen = true;
                else
                        missed = kinds->count < LIMIT_FOLLOWED_KINDS;
        }
        for (size_t i = 0; i < kinds->count; i++) {
                struct followed *followed = kinds->list[i];

                int r = 0;

                if (followed->told && !followed->seen)
                        kinds->options.removed(kinds->options.user, &followed->kind);
                else if (!followed->told && followed->seen)
                        r = kinds->options.added(kinds->options.user, &followed->kind);
                missed = missed || r < 0;
                followed->told = followed->seen && r == 0;
        }
        if (missed)
                net_timer_start(kinds->options.server->loop, &kinds->timer, AGAIN_MS, look_again);
}

static void on_task(struct net_task *task)
{
        look(container_of(task, struct local_kinds, task));
}

static void on_change(struct registry_listener *listener)
{
        struct local_kinds *kinds = container_of(listener, struct local_kinds, listener);

        net_loop_defer(kinds->options.server->loop, &kinds->task);
}

int local_kinds_new(const struct local_kinds_options *options, struct local_kinds **ret_kinds)
{
        struct local_kinds *kinds = calloc(1, sizeof(*kinds));

        if (!kinds)
                return -ENOMEM;
        kinds->options = *options;
        kinds->task.run = on_task;
        kinds->listener.changed = on_change;
        registry_listen(options->server->registry, &kinds->listener);
        look(kinds);
        *ret_kinds = kinds;
        return 0;
}

void local_kinds_free(struct local_kinds *kinds)
{
        if (!kinds)
                return;
        list_remove(&kinds->listener.link);
        net_task_cancel(&kinds->task);
        net_timer_stop(&kinds->timer);
        for (size_t i = 0; i < kinds->count; i++)
                free(kinds->list[i]);
        free(kinds->list);
        free(kinds);
}
