// SPDX-License-Identifier: Apache-2.0
#include "router/index.h"

#include <errno.h>
#include <stdlib.h>

/* Without memory an element is not added; uthash would end the process otherwise. */
#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->unlinked = true)
#include <uthash.h>

#include "base/limit.h"

/* Tables are by text: "namespace/name", or a uid. All strings of an entry stand behind it. */
struct sandbox {
        UT_hash_handle by_name, by_uid, by_claim;
        struct str key; /* "namespace/name" */
        struct str uid;
        struct str pod_key;
        struct str claim_key; /* empty: no claim */
        struct str name_space, name, claim;
        struct list namesakes; /* a ring of all that are of a claim of this name */
        bool pool_member;
        bool running;
        bool unlinked; /* by lack of memory */
        bool is_alias; /* it stands in by_claim */
        bool has_uid;  /* it stands in by_uid */
        char text[];
};

struct pod {
        UT_hash_handle by_name;
        struct str key;
        struct str owner_uid;
        struct net_address address; /* length 0: none */
        bool ready;
        bool unlinked;
        char text[];
};

struct router_index {
        struct sandbox *sandboxes, *uids, *claims;
        struct pod *pods;
        struct list waiters;
        struct index_counters counters;
        bool complete;
        struct str scope; /* of `complete`; empty: everywhere */
};

enum { KEY_MAX = 2 * LIMIT_NAME + 1 };

static struct str make_key(char text[static KEY_MAX], struct str name_space, struct str name)
{
        size_t length = 0;

        if (name_space.length > LIMIT_NAME || name.length > LIMIT_NAME)
                return STR_EMPTY;
        if (name_space.length > 0)
                memcpy(text, name_space.data, name_space.length);
        length = name_space.length;
        text[length++] = '/';
        if (name.length > 0)
                memcpy(text + length, name.data, name.length);
        return (struct str){ text, length + name.length };
}

static struct str copy_at(char **at, struct str text)
{
        struct str copy = { *at, text.length };

        if (text.length > 0)
                memcpy(*at, text.data, text.length);
        *at += text.length;
        return copy;
}

static struct str copy_key(char **at, struct str name_space, struct str name)
{
        char text[KEY_MAX];

        return copy_at(at, make_key(text, name_space, name));
}

/* ---- looking up ---- */

static struct sandbox *find_by_key(const struct router_index *index, struct str key)
{
        struct sandbox *found;

        HASH_FIND(by_name, index->sandboxes, key.data, key.length, found);
        return found;
}

static struct sandbox *find_by_uid(const struct router_index *index, struct str uid)
{
        struct sandbox *found;

        HASH_FIND(by_uid, index->uids, uid.data, uid.length, found);
        return found;
}

static struct sandbox *find_by_claim(const struct router_index *index, struct str key)
{
        struct sandbox *found;

        HASH_FIND(by_claim, index->claims, key.data, key.length, found);
        return found;
}

static struct pod *find_pod(const struct router_index *index, struct str key)
{
        struct pod *found;

        HASH_FIND(by_name, index->pods, key.data, key.length, found);
        return found;
}

static const struct sandbox *find_sandbox(const struct router_index *index,
                                          const struct router_target *target)
{
        char text[KEY_MAX];
        const struct sandbox *sandbox;

        /* A handle to one that is gone must not reach its successor of the same name. */
        if (target->uid.length > 0)
                return find_by_uid(index, target->uid);
        struct str key = make_key(text, target->name_space, target->id);
        sandbox = find_by_key(index, key);
        return sandbox ? sandbox : find_by_claim(index, key);
}

static bool is_complete_for(const struct router_index *index, const struct router_target *target)
{
        return index->complete &&
               (index->scope.length == 0 || str_equal(index->scope, target->name_space));
}

int router_index_find(const struct router_index *index, const struct router_target *target,
                      struct net_address *ret_address)
{
        const struct sandbox *sandbox = find_sandbox(index, target);

        if (!sandbox || sandbox->pool_member)
                return is_complete_for(index, target) ? -ENOENT : -ENODATA;
        const struct pod *pod = find_pod(index, sandbox->pod_key);
        if (!pod || !str_equal(pod->owner_uid, sandbox->uid) || !pod->ready ||
            pod->address.length == 0) {
                if (!is_complete_for(index, target))
                        return -ENODATA;
                return sandbox->running ? -EINPROGRESS : -ENOENT;
        }
        *ret_address = pod->address;
        net_address_set_port(ret_address, target->port);
        return 0;
}

/* ---- waiting ---- */

void router_index_wait(struct router_index *index, const struct router_target *target,
                       struct index_waiter *waiter)
{
        waiter->name_space = target->name_space;
        waiter->id = target->id;
        waiter->uid = target->uid;
        list_append(&index->waiters, &waiter->link);
}

void index_waiter_cancel(struct index_waiter *waiter)
{
        if (!waiter->link.next)
                return;
        list_remove(&waiter->link);
        waiter->link.next = NULL;
}

static bool concerns(const struct index_waiter *waiter, const struct sandbox *sandbox)
{
        if (waiter->uid.length > 0)
                return str_equal(waiter->uid, sandbox->uid);
        return str_equal(waiter->name_space, sandbox->name_space) &&
               (str_equal(waiter->id, sandbox->name) || str_equal(waiter->id, sandbox->claim));
}

/* A NULL sandbox concerns everybody. Who is woken may wait again, for the next change. */
static void wake(struct router_index *index, const struct sandbox *sandbox)
{
        struct list woken;
        struct index_waiter *waiter;

        list_init(&woken);
        list_for_each (waiter, &index->waiters, link) {
                if (sandbox && !concerns(waiter, sandbox))
                        continue;
                list_remove(&waiter->link);
                list_append(&woken, &waiter->link);
        }
        while (!list_is_empty(&woken)) {
                waiter = list_entry(woken.next, struct index_waiter, link);
                index_waiter_cancel(waiter);
                waiter->wake(waiter);
        }
}

/* ---- claims ---- */

static void take_alias(struct router_index *index, struct sandbox *sandbox)
{
        HASH_ADD_KEYPTR(by_claim, index->claims, sandbox->claim_key.data, sandbox->claim_key.length,
                        sandbox);
        sandbox->is_alias = !sandbox->unlinked;
}

static void give_up_alias(struct router_index *index, struct sandbox *sandbox)
{
        HASH_DELETE(by_claim, index->claims, sandbox);
        sandbox->is_alias = false;
}

/*
 * A claim that is made again under its name has another Sandbox, while the former one may still be
 * there. The latest that says so is the claim's, but for one that ends beside one that runs.
 */
static void link_claim(struct router_index *index, struct sandbox *sandbox)
{
        struct sandbox *other = find_by_claim(index, sandbox->claim_key);

        if (other) {
                list_append(&other->namesakes, &sandbox->namesakes);
                if (other->running && !sandbox->running)
                        return;
                give_up_alias(index, other);
        }
        take_alias(index, sandbox);
        if (other && !sandbox->is_alias)
                take_alias(index, other);
}

static void unlink_claim(struct router_index *index, struct sandbox *sandbox)
{
        struct sandbox *other = list_entry(sandbox->namesakes.next, struct sandbox, namesakes);

        list_remove(&sandbox->namesakes);
        if (!sandbox->is_alias)
                return;
        give_up_alias(index, sandbox);
        if (other != sandbox)
                take_alias(index, other);
}

/* ---- sandboxes ---- */

static void unlink_sandbox(struct router_index *index, struct sandbox *sandbox)
{
        HASH_DELETE(by_name, index->sandboxes, sandbox);
        if (sandbox->has_uid)
                HASH_DELETE(by_uid, index->uids, sandbox);
        unlink_claim(index, sandbox);
        index->counters.sandboxes--;
}

static struct sandbox *new_sandbox(const struct index_sandbox *facts)
{
        struct str pod = facts->pod_name.length > 0 ? facts->pod_name : facts->name;
        size_t size = 3 * (facts->name_space.length + 1) + 2 * facts->name.length + pod.length +
                      2 * facts->claim.length + facts->uid.length + facts->name_space.length;
        struct sandbox *sandbox = calloc(1, sizeof(*sandbox) + size);

        if (!sandbox)
                return NULL;
        char *at = sandbox->text;
        list_init(&sandbox->namesakes);
        sandbox->key = copy_key(&at, facts->name_space, facts->name);
        sandbox->pod_key = copy_key(&at, facts->name_space, pod);
        if (facts->claim.length > 0)
                sandbox->claim_key = copy_key(&at, facts->name_space, facts->claim);
        sandbox->uid = copy_at(&at, facts->uid);
        sandbox->name_space = copy_at(&at, facts->name_space);
        sandbox->name = copy_at(&at, facts->name);
        sandbox->claim = copy_at(&at, facts->claim);
        sandbox->pool_member = facts->pool_member;
        sandbox->running = facts->running;
        return sandbox;
}

static int link_sandbox(struct router_index *index, struct sandbox *sandbox)
{
        HASH_ADD_KEYPTR(by_name, index->sandboxes, sandbox->key.data, sandbox->key.length, sandbox);
        if (sandbox->unlinked)
                return -ENOMEM;
        index->counters.sandboxes++;
        if (sandbox->uid.length > 0 && !find_by_uid(index, sandbox->uid)) {
                HASH_ADD_KEYPTR(by_uid, index->uids, sandbox->uid.data, sandbox->uid.length,
                                sandbox);
                sandbox->has_uid = !sandbox->unlinked;
        }
        if (sandbox->claim_key.length > 0 && !sandbox->unlinked)
                link_claim(index, sandbox);
        if (!sandbox->unlinked)
                return 0;
        unlink_sandbox(index, sandbox);
        return -ENOMEM;
}

int router_index_put_sandbox(struct router_index *index, const struct index_sandbox *facts)
{
        struct sandbox *sandbox = new_sandbox(facts);

        if (!sandbox)
                return -ENOMEM;
        router_index_remove_sandbox(index, facts->name_space, facts->name);
        int r = link_sandbox(index, sandbox);
        if (r < 0) {
                free(sandbox);
                return r;
        }
        wake(index, sandbox);
        return 0;
}

void router_index_remove_sandbox(struct router_index *index, struct str name_space, struct str name)
{
        char text[KEY_MAX];
        struct sandbox *sandbox = find_by_key(index, make_key(text, name_space, name));

        if (!sandbox)
                return;
        unlink_sandbox(index, sandbox);
        free(sandbox);
}

/* ---- pods ---- */

static void remove_pod(struct router_index *index, struct pod *pod)
{
        HASH_DELETE(by_name, index->pods, pod);
        index->counters.pods--;
        free(pod);
}

int router_index_put_pod(struct router_index *index, const struct index_pod *facts)
{
        size_t size = facts->name_space.length + 1 + facts->name.length + facts->owner_uid.length;

        router_index_remove_pod(index, facts->name_space, facts->name);
        if (facts->owner_uid.length == 0)
                return 0;
        struct pod *pod = calloc(1, sizeof(*pod) + size);
        if (!pod)
                return -ENOMEM;
        char *at = pod->text;
        pod->key = copy_key(&at, facts->name_space, facts->name);
        pod->owner_uid = copy_at(&at, facts->owner_uid);
        pod->ready = facts->ready;
        if (net_address_from_ip(facts->ip, 0, &pod->address) < 0)
                pod->address.length = 0;
        HASH_ADD_KEYPTR(by_name, index->pods, pod->key.data, pod->key.length, pod);
        if (pod->unlinked) {
                free(pod);
                return -ENOMEM;
        }
        index->counters.pods++;
        const struct sandbox *sandbox = find_by_uid(index, pod->owner_uid);
        if (sandbox)
                wake(index, sandbox);
        return 0;
}

void router_index_remove_pod(struct router_index *index, struct str name_space, struct str name)
{
        char text[KEY_MAX];
        struct pod *pod = find_pod(index, make_key(text, name_space, name));

        if (pod)
                remove_pod(index, pod);
}

/* ---- the index ---- */

int router_index_new(struct router_index **ret_index)
{
        struct router_index *index = calloc(1, sizeof(*index));

        if (!index)
                return -ENOMEM;
        list_init(&index->waiters);
        *ret_index = index;
        return 0;
}

void router_index_free(struct router_index *index)
{
        struct sandbox *sandbox, *next_sandbox;
        struct pod *pod, *next_pod;

        if (!index)
                return;
        HASH_ITER (by_name, index->sandboxes, sandbox, next_sandbox) {
                unlink_sandbox(index, sandbox);
                free(sandbox);
        }
        HASH_ITER (by_name, index->pods, pod, next_pod)
                remove_pod(index, pod);
        free(index);
}

void router_index_set_complete(struct router_index *index, bool complete, struct str scope)
{
        index->scope = scope;
        if (index->complete == complete)
                return;
        index->complete = complete;
        wake(index, NULL);
}

bool router_index_is_complete(const struct router_index *index)
{
        return index->complete;
}

struct index_counters router_index_counters(const struct router_index *index)
{
        struct index_counters counters = index->counters;
        const struct index_waiter *waiter;

        list_for_each (waiter, &index->waiters, link)
                counters.waiters++;
        return counters;
}
