// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "base/fd.h"
#include "base/log.h"
#include "node/internal.h"

/*
 * The folders of persistent volumes, claims/VOLUME. One goes when its PersistentVolume was seen to
 * go and no Pod that is here uses it any more; also if that happened while no node ran. A volume
 * whose reclaim policy is Retain keeps its folder: an empty file beside it, claims/VOLUME.retain,
 * remembers that beyond the object's end.
 */
#define VOLUME_PREFIX "pvc-"
#define RETAIN        ".retain"

struct claim_volume {
        char name[RUNTIME_ID];
        bool is_there; /* the PersistentVolume; else its folder is to go */
        UT_hash_handle hh;
};

struct node_claims {
        struct node *node;
        struct kube_reflector *reflector;
        struct claim_volume *volumes;
        bool is_synced;
};

static struct claim_volume *find_or_add(struct node_claims *claims, struct str name)
{
        struct claim_volume *volume;

        if (!str_starts_with(name, STR(VOLUME_PREFIX)) || name.length >= RUNTIME_ID ||
            memchr(name.data, '/', name.length))
                return NULL; /* none that is made here */
        HASH_FIND(hh, claims->volumes, name.data, name.length, volume);
        if (volume)
                return volume;
        volume = calloc(1, sizeof(*volume));
        if (!volume)
                return NULL;
        memcpy(volume->name, name.data, name.length);
        HASH_ADD_KEYPTR(hh, claims->volumes, volume->name, name.length, volume);
        return volume;
}

static void marker_path(const char *name, char path[static POD_PATH_SIZE])
{
        snprintf(path, POD_PATH_SIZE, "claims/%s" RETAIN, name);
}

static bool is_retained(const struct node *node, const char *name)
{
        struct stat status;
        char path[POD_PATH_SIZE];

        marker_path(name, path);
        return fstatat(node->volumes_fd, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static void note_policy(struct node *node, const char *name, struct json_value volume)
{
        bool retained = json_string_is(json_get(volume, "spec", "persistentVolumeReclaimPolicy"),
                                       STR("Retain"));
        char path[POD_PATH_SIZE];

        marker_path(name, path);
        if (!retained)
                unlinkat(node->volumes_fd, path, 0);
        else if (!is_retained(node, name))
                fd_close(openat(node->volumes_fd, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                                0600));
}

/* A Pod whose claims have not been asked for yet may use any. */
static bool pod_uses(const struct node_pod *pod, const char *name)
{
        const struct pod_spec *spec = pod_spec_of(pod);

        for (size_t i = 0; i < spec->volume_count; i++) {
                if (spec->volumes[i].kind != POD_VOLUME_CLAIM)
                        continue;
                struct str used = material_claim_volume(pod, spec->volumes[i].claim);
                if (used.length == 0 || str_equal(used, str_from(name)))
                        return true;
        }
        return false;
}

static bool is_used(struct node *node, const char *name)
{
        struct node_pod *pod, *next;

        HASH_ITER (hh, node->pods, pod, next)
                if (pod_uses(pod, name))
                        return true;
        list_for_each (pod, &node->released, in_released)
                if (pod_uses(pod, name))
                        return true;
        return HASH_COUNT(node->found) > 0;
}

static void purged(struct node *node, const struct node_call *call, int result, const char *reason)
{
        char path[POD_PATH_SIZE];

        snprintf(path, sizeof(path), "claims/%s", call->uid);
        if (unlinkat(node->volumes_fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
                log_warning("cannot remove the persistent volume %s: %s", call->uid,
                            result < 0 ? reason : strerror(errno));
}

static void remove_volume(struct node *node, const char *name)
{
        struct node_call expected = { .answered = purged };
        struct stat status;
        char path[POD_PATH_SIZE];
        uint64_t call;

        snprintf(path, sizeof(path), "claims/%s", name);
        if (fstatat(node->volumes_fd, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
                return; /* no Pod has ever used it */
        snprintf(expected.uid, sizeof(expected.uid), "%s", name);
        int r = runtime_purge(node->runtime, path, &call);
        if (r >= 0)
                r = node_expect(node, call, &expected);
        if (r < 0)
                log_warning("cannot remove the persistent volume %s: %s", name, strerror(-r));
}

void claims_collect(struct node_claims *claims)
{
        struct claim_volume *volume, *next;

        if (!claims || !claims->is_synced || !claims->node->is_synced)
                return;
        HASH_ITER (hh, claims->volumes, volume, next) {
                if (volume->is_there || is_used(claims->node, volume->name))
                        continue;
                if (!is_retained(claims->node, volume->name))
                        remove_volume(claims->node, volume->name);
                HASH_DELETE(hh, claims->volumes, volume);
                free(volume);
        }
}

/* Folders whose PersistentVolume went while no node ran. */
static void find_orphans(struct node_claims *claims)
{
        int fd = openat(claims->node->volumes_fd, "claims", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *entries = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!entries) {
                fd_close(fd);
                return;
        }
        while ((entry = readdir(entries)))
                if (!str_ends_with(str_from(entry->d_name), STR(RETAIN)))
                        find_or_add(claims, str_from(entry->d_name));
        closedir(entries);
}

static void on_volume(void *user, const struct kube_event *event)
{
        struct node_claims *claims = user;
        struct claim_volume *volume = NULL;

        if (event->type == KUBE_LIST_END) {
                if (!claims->is_synced)
                        find_orphans(claims);
                claims->is_synced = true;
        } else if (event->type != KUBE_LIST_BEGIN && event->type != KUBE_BOOKMARK) {
                volume = find_or_add(claims, event->name);
        }
        if (volume)
                volume->is_there = event->type != KUBE_DELETED;
        if (volume && volume->is_there)
                note_policy(claims->node, volume->name, json_root(event->doc));
        claims_collect(claims);
}

int claims_new(struct node *node, struct node_claims **ret_claims)
{
        struct node_claims *claims = calloc(1, sizeof(*claims));

        if (!claims)
                return -ENOMEM;
        claims->node = node;
        const struct kube_reflector_options options = {
                .client = node->client,
                .kind = &kind_persistent_volume,
                .tell_vanished = true,
                .handler = on_volume,
                .user = claims,
        };
        int r = kube_reflector_new(&options, &claims->reflector);
        if (r < 0) {
                free(claims);
                return r;
        }
        *ret_claims = claims;
        return 0;
}

void claims_free(struct node_claims *claims)
{
        struct claim_volume *volume, *next;

        if (!claims)
                return;
        kube_reflector_free(claims->reflector);
        HASH_ITER (hh, claims->volumes, volume, next) {
                HASH_DELETE(hh, claims->volumes, volume);
                free(volume);
        }
        free(claims);
}
