// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "runtime/namespace.h"
#include "runtime/sandbox.h"
#include "runtime/skeleton.h"

/* Settings of the machine's owner below /usr, which may hold credentials. */
static const char *const hidden[] = { "usr/etc", "usr/local/etc" };

static int make_folders(int root)
{
        static const char *const names[] = { "proc", "sys", "dev", "lower", "usr", "m" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (mkdirat(root, names[i], 0755) < 0)
                        return -errno;
        }
        return 0;
}

/* Whether the file system of a folder can be mounted with ids mapped. */
static int probe_id_map(const struct launcher *launcher, const char *path)
{
        struct mount_attr set = { .attr_set = MOUNT_ATTR_IDMAP,
                                  .userns_fd = (unsigned)launcher->volume_owner };
        _cleanup_close_ int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

        if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0)
                return -errno;
        return 0;
}

/* A new folder where the configuration says, so that sandboxes on an earlier one keep theirs. */
static int bind_skeleton(struct launcher *launcher, struct error *error)
{
        const char *where = launcher->config.skeleton;
        char path[256];

        if (!where)
                return error_set(error, -EOPNOTSUPP,
                                 "tmpfs maps no ids on this kernel: Linux 6.3 or a folder for the "
                                 "skeleton root is needed");
        random_name_suffix(launcher->skeleton_name);
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", where, launcher->skeleton_name) >=
            sizeof(path))
                return -ENAMETOOLONG;
        if (mkdir(where, 0700) < 0 && errno != EEXIST)
                return -errno;
        launcher->skeletons = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (launcher->skeletons < 0 || mkdir(path, 0755) < 0 ||
            mount(path, "lower", NULL, MS_BIND, NULL) < 0)
                return -errno;
        int r = probe_id_map(launcher, "lower");
        return r < 0 ? error_set(error, r,
                                 "the file system of %s maps no ids: ext4, xfs or btrfs "
                                 "is needed",
                                 where)
                     : 0;
}

static int place_skeleton(struct launcher *launcher, int root, int host, struct error *error)
{
        int r = 0;

        if (launcher->config.skeleton_on_disk || probe_id_map(launcher, "lower") < 0)
                r = bind_skeleton(launcher, error);
        if (r < 0)
                return r;
        _cleanup_close_ int lower = openat(root, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return lower < 0 ? -errno : skeleton_make(lower, host, error);
}

void rootfs_remove_old(struct launcher *launcher)
{
        if (launcher->skeletons < 0)
                return;
        int r = skeleton_empty_except(launcher->skeletons, launcher->skeleton_name);
        if (r < 0)
                log_warning("cannot remove old skeleton roots: %s", strerror(-r));
}

static int place_usr(const struct launcher *launcher, struct error *error)
{
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                                     MOUNT_ATTR_NODEV };
        _cleanup_close_ int tree = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        int r = probe_id_map(launcher, "/usr");

        if (r < 0)
                return error_set(error, r,
                                 "the file system of /usr maps no ids: ext4, xfs or "
                                 "btrfs is needed");
        if (tree < 0 ||
            mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 ||
            move_mount(tree, "", AT_FDCWD, "usr", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
                /* An empty folder of the skeleton, as ids must be mapped on it as well. */
                if (mount("lower/mnt", hidden[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}

/*
 * One sysfs for all sandboxes, of a network namespace that is gone: it shows the machine, but
 * nobody's interfaces. A new one for each costs a walk over all that exist. With what container
 * runtimes hide.
 */
static int place_sysfs(void)
{
        enum { NOTHING_RUNS = MS_NOSUID | MS_NODEV | MS_NOEXEC };
        static const char *const hidden_folders[] = { "sys/firmware",
                                                      "sys/devices/virtual/powercap" };
        _cleanup_close_ int home = -1;
        int r = namespace_open(getpid(), "net", &home);

        if (r < 0)
                return r;
        if (unshare(CLONE_NEWNET) < 0)
                return -errno;
        if (mount("sysfs", "sys", "sysfs", NOTHING_RUNS | MS_RDONLY, NULL) < 0)
                r = -errno;
        namespace_return_net(home);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(hidden_folders); i++) {
                if (mount("tmpfs", hidden_folders[i], "tmpfs", NOTHING_RUNS | MS_RDONLY,
                          "mode=0555,size=4k,nr_inodes=2") < 0 &&
                    errno != ENOENT)
                        r = -errno;
        }
        return r;
}

/* With the working directory in the new root. */
static int fill_root(struct launcher *launcher, struct error *error)
{
        enum { NOTHING_RUNS = MS_NOSUID | MS_NODEV | MS_NOEXEC };
        _cleanup_close_ int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int host = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (root < 0 || host < 0)
                return -errno;
        int r = make_folders(root);
        if (r < 0)
                return r;
        _cleanup_close_ int devices = openat(root, "dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = devices < 0 ? -errno : skeleton_make_devices(devices, error);
        if (r == 0)
                r = place_skeleton(launcher, root, host, error);
        if (r == 0)
                r = place_usr(launcher, error);
        if (r == 0)
                r = place_sysfs();
        if (r == 0 && mount("proc", "proc", "proc", NOTHING_RUNS, NULL) < 0)
                r = -errno;
        return r;
}

static int open_trees(struct launcher *launcher)
{
        static const char *const paths[CONTAINER_TREES] = { [CONTAINER_TREE_SKELETON] = "/lower",
                                                            [CONTAINER_TREE_USR] = "/usr",
                                                            [CONTAINER_TREE_DEVICES] = "/dev",
                                                            [CONTAINER_TREE_SYSFS] = "/sys" };

        for (int i = 0; i < CONTAINER_TREES; i++) {
                launcher->trees[i] = open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (launcher->trees[i] < 0)
                        return -errno;
        }
        return namespace_open(getpid(), "mnt", &launcher->own_mount);
}

static int fill_first_root(int proc)
{
        static const char *const names[] = { "proc", "m", &CONTAINER_UPPER[1], &CONTAINER_LOWER[1],
                                             &CONTAINER_ROOT[1] };
        struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (mkdir(names[i], 0755) < 0)
                        return -errno;
        }
        if (move_mount(proc, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
            mount_setattr(AT_FDCWD, ".", 0, &read_only, sizeof(read_only)) < 0)
                return -errno;
        return 0;
}

/*
 * The mount namespace that children begin in a copy of. Its root stays beneath that of each
 * container for good, so there is nothing in it: places to mount at, and the proc of a PID
 * namespace that has ended, without which the kernel lets nobody in a user namespace mount one
 * (mount_too_revealing()).
 */
static int make_first_root(struct launcher *launcher)
{
        enum { NOTHING_RUNS = MS_NOSUID | MS_NODEV | MS_NOEXEC };
        _cleanup_close_ int own_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), proc = -1;
        int r = own_proc < 0 ? -errno : namespace_proc_ended(&proc);

        if (r < 0)
                return r;
        if (unshare(CLONE_NEWNS) < 0 ||
            mount("tmpfs", "/m", "tmpfs", NOTHING_RUNS, "mode=0755,size=4k,nr_inodes=16") < 0 ||
            chdir("/m") < 0)
                return -errno;
        r = fill_first_root(proc);
        if (r < 0)
                return r;
        if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
                return -errno;
        launcher->first_mount = openat(own_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
        r = launcher->first_mount < 0 ? -errno : 0;
        namespace_return_mount(launcher->own_mount);
        return r;
}

int rootfs_enter(struct launcher *launcher, struct error *error)
{
        char path[256];
        int r = namespace_open(getpid(), "mnt", &launcher->host_mount);

        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "%s/root", launcher->config.run);
        if ((mkdir(path, 0700) < 0 && errno != EEXIST) || unshare(CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", path, "tmpfs", MS_NOSUID, "mode=0755,size=64m") < 0 || chdir(path) < 0)
                return error_set(error, -errno,
                                 "making the launcher's mount namespace failed: "
                                 "it needs root");
        r = fill_root(launcher, error);
        if (r == 0 && (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
                       chdir("/") < 0))
                r = -errno;
        if (r == 0)
                r = open_trees(launcher);
        return r < 0 ? r : make_first_root(launcher);
}

int rootfs_clone(struct launcher *launcher, int users, int ret_trees[static CONTAINER_TREES])
{
        enum { READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };
        static const struct {
                uint64_t attributes;
                bool is_recursive;
        } kinds[CONTAINER_TREES] = {
                [CONTAINER_TREE_SKELETON] = { READ_ONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_IDMAP },
                [CONTAINER_TREE_USR] = { READ_ONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_IDMAP, true },
                [CONTAINER_TREE_DEVICES] = { READ_ONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_IDMAP },
                [CONTAINER_TREE_SYSFS] = { READ_ONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, true },
        };
        int trees[CONTAINER_TREES], r = 0, made = 0;

        while (r == 0 && made < CONTAINER_TREES) {
                uint64_t attributes = kinds[made].attributes;
                struct mount_attr set = { .attr_set = attributes };
                unsigned recursive = kinds[made].is_recursive ? AT_RECURSIVE : 0;

                if (attributes & MOUNT_ATTR_IDMAP)
                        set.userns_fd = (unsigned)users;
                int tree =
                        open_tree(launcher->trees[made], "",
                                  AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
                if (tree < 0) {
                        r = -errno;
                        break;
                }
                trees[made++] = tree;
                if (mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &set, sizeof(set)) == 0)
                        continue;
                r = -errno;
                if (made - 1 != CONTAINER_TREE_DEVICES || r != -EINVAL)
                        continue;
                /* A tmpfs before Linux 6.3 maps no ids: its nodes then belong to nobody, which
                 * their mode makes up for. */
                set.attr_set &= ~(uint64_t)MOUNT_ATTR_IDMAP;
                set.userns_fd = 0;
                r = mount_setattr(tree, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0 ? -errno : 0;
        }
        if (r < 0) {
                while (made > 0)
                        fd_close(trees[--made]);
                return r;
        }
        memcpy(ret_trees, trees, sizeof(trees));
        return 0;
}

/* On disk the node's user is a container's root, and the first range of ids all its others: so a
 * volume outlives the slot of the sandbox that wrote it. */
static int map_volumes(struct launcher *launcher, struct sandbox *sandbox)
{
        uint32_t base = sandbox_id_base(launcher, sandbox);
        const struct id_range users[] = { { launcher->config.node_user, base, 1 },
                                          { launcher->id_base + 1, base + 1, IDS_PER_SLOT - 1 } };
        const struct id_range groups[] = { { launcher->config.node_group, base, 1 },
                                           { launcher->id_base + 1, base + 1, IDS_PER_SLOT - 1 } };

        if (sandbox->volume_users >= 0)
                return 0;
        return namespace_user_new(users, ARRAY_SIZE(users), groups, ARRAY_SIZE(groups),
                                  &sandbox->volume_users);
}

/* In the host's mount namespace, where the descriptor comes from. */
static int clone_volume(struct sandbox *sandbox, int fd, const struct launcher_mount *mount,
                        int *ret_tree)
{
        struct mount_attr set = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                  .propagation = MS_PRIVATE };
        struct statfs info;

        if (mount->read_only)
                set.attr_set |= MOUNT_ATTR_RDONLY;
        if (!mount->plain) {
                set.attr_set |= MOUNT_ATTR_IDMAP;
                set.userns_fd = (unsigned)sandbox->volume_users;
        }
        _cleanup_close_ int tree =
                open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree < 0)
                return -errno;
        int r = mount_setattr(tree, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0 ? -errno : 0;
        if (r == -EINVAL && fstatfs(tree, &info) == 0 && info.f_type == TMPFS_MAGIC) {
                /* Before Linux 6.3. What is in it lives no longer than the sandbox, so the ids of
                 * its slot may stand in there as they are. */
                set.attr_set &= ~(uint64_t)MOUNT_ATTR_IDMAP;
                set.userns_fd = 0;
                r = mount_setattr(tree, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0 ? -errno : 0;
        }
        if (r == 0)
                *ret_tree = TAKE_FD(tree);
        return r;
}

/* A right to read is needed to open a file for reading, none to open it as a place. */
static int check_volume(int fd)
{
        struct stat info;
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fstat(fd, &info) < 0)
                return -errno;
        if (flags & O_PATH)
                return -EACCES;
        return S_ISDIR(info.st_mode) || S_ISREG(info.st_mode) ? 0 : -EINVAL;
}

int rootfs_clone_volumes(struct launcher *launcher, struct sandbox *sandbox,
                         const struct launcher_launch *launch, int *fds, uint32_t *ret_index)
{
        uint32_t index = 0;
        int r = 0;

        if (launch->mount_count == 0)
                return 0;
        for (uint32_t i = 0; r == 0 && i < launch->mount_count; i++) {
                if (!launch->mounts[i].plain)
                        r = map_volumes(launcher, sandbox);
        }
        if (r == 0)
                r = namespace_enter_mount(launcher->host_mount);
        if (r < 0)
                return r;
        for (index = 0; r == 0 && index < launch->mount_count; index++) {
                int tree = -1;
                r = check_volume(fds[index]);
                if (r == 0)
                        r = clone_volume(sandbox, fds[index], &launch->mounts[index], &tree);
                if (r == 0) {
                        close(fds[index]);
                        fds[index] = tree;
                }
        }
        namespace_return_mount(launcher->own_mount);
        if (r < 0)
                *ret_index = index - 1;
        return r;
}
