// SPDX-License-Identifier: Apache-2.0
#include "cli/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "json/writer.h"

#define DATA_DEFAULT "/var/lib/cay"

enum {
        PROGRAM_LIMIT = 64 * 1024 * 1024,
        ROLES_END_SECONDS = 5, /* after their supervisor was killed */
};

static int join(char *path, size_t size, const char *folder, const char *name)
{
        return (size_t)snprintf(path, size, "%s/%s", folder, name) < size ? 0 : -ENAMETOOLONG;
}

/* Makes a folder with this mode and owner, or corrects those of the one that is there. */
static int ensure_folder(const char *path, mode_t mode, uid_t owner, struct error *error)
{
        struct stat status;

        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_set(error, -errno, "cannot make the folder %s: %s", path,
                                 strerror(errno));
        if (lstat(path, &status) < 0 || !S_ISDIR(status.st_mode))
                return error_set(error, -ENOTDIR, "%s is in the way: it is no folder", path);
        if (((status.st_mode & 07777) != mode && chmod(path, mode) < 0) ||
            (status.st_uid != owner && chown(path, owner, owner) < 0))
                return error_set(error, -errno, "cannot take possession of %s: %s", path,
                                 strerror(errno));
        return 0;
}

/* Whether it holds something, but nothing of an instance: "pki" is what is made first in it. */
static bool is_foreign(const char *path)
{
        struct stat status;
        bool holds = false;
        char pki[PATH_MAX];
        DIR *folder = opendir(path);

        if (!folder)
                return false;
        for (struct dirent *entry; !holds && (entry = readdir(folder));)
                holds = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                        strcmp(entry->d_name, "lost+found") != 0;
        closedir(folder);
        return holds && join(pki, sizeof(pki), path, "pki") == 0 && lstat(pki, &status) < 0;
}

static int create_folders(const struct instance *instance, struct error *error)
{
        static const struct {
                const char *name;
                mode_t mode;
                uid_t owner;
        } folders[] = {
                { "pki", 0700, 0 },         { "log", 0755, 0 },
                { "libexec", 0755, 0 },     { "control", 0700, UID_CONTROL },
                { "node", 0700, UID_NODE }, { "router", 0700, UID_ROUTER },
        };
        char path[PATH_MAX];

        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                int r = join(path, sizeof(path), instance->data, folders[i].name);
                if (r < 0)
                        return error_set(error, r, "the data folder's path is too long");
                r = ensure_folder(path, folders[i].mode, folders[i].owner, error);
                if (r < 0)
                        return r;
        }
        return 0;
}

int instance_make_run(const struct instance *instance, struct error *error)
{
        char path[PATH_MAX];

        int r = ensure_folder(instance->run, 0755, 0, error);
        if (r == 0)
                r = join(path, sizeof(path), instance->run, "node");
        return r < 0 ? r : ensure_folder(path, 0755, UID_NODE, error);
}

struct private_program {
        const char *name, *folder; /* of src */
};

/* In ../libexec/cay when installed, in src/<folder>/ of a build folder. */
static int find_private(const char *program, const struct private_program *private, char *path,
                        size_t size, struct error *error)
{
        int folder = (int)(strrchr(program, '/') - program);

        if ((size_t)snprintf(path, size, "%.*s/../libexec/cay/%s", folder, program, private->name) <
                    size &&
            access(path, X_OK) == 0)
                return 0;
        if ((size_t)snprintf(path, size, "%.*s/src/%s/%s", folder, program, private->folder,
                             private->name) < size &&
            access(path, X_OK) == 0)
                return 0;
        return error_set(error, -ENOENT,
                         "the program %s is missing: build cay, or install it whole",
                         private->name);
}

static int copy_program(const char *from, const char *to, struct error *error)
{
        _cleanup_buffer_ struct buffer contents = {}, present = {};

        int r = file_read(AT_FDCWD, from, PROGRAM_LIMIT, &contents);
        if (r < 0)
                return error_set(error, r, "cannot read %s: %s", from, strerror(-r));
        r = file_read(AT_FDCWD, to, PROGRAM_LIMIT, &present);
        if (r == 0 && str_equal(buffer_str(&contents), buffer_str(&present)))
                return 0;
        r = file_write_atomic(AT_FDCWD, to, buffer_str(&contents), 0755);
        return r < 0 ? error_set(error, r, "cannot write %s: %s", to, strerror(-r)) : 0;
}

/*
 * Copies the programs to where the roles, which are not root, can reach them: they may stand in
 * somebody's home folder, and be built anew while the instance runs.
 */
static int copy_programs(const struct instance *instance, struct error *error)
{
        static const struct private_program programs[] = { { "init", "init" },
                                                           { "sandboxd", "sandboxd" },
                                                           { "socket-activate", "sandboxd" },
                                                           { "launcher", "runtime" } };
        char program[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
        ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

        if (length < 0)
                return error_set(error, -errno, "/proc is not mounted");
        program[length] = '\0';
        int r = join(to, sizeof(to), instance->libexec, "cay");
        if (r == 0)
                r = copy_program(program, to, error);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++) {
                r = find_private(program, &programs[i], from, sizeof(from), error);
                if (r == 0)
                        r = join(to, sizeof(to), instance->libexec, programs[i].name);
                if (r == 0)
                        r = copy_program(from, to, error);
        }
        return r;
}

int instance_open(const char *data, bool create, struct error *error, struct instance *ret_instance)
{
        struct instance instance = {};
        int r;

        if (!data)
                data = getenv("CAY_DATA");
        if (!data || !*data)
                data = DATA_DEFAULT;
        if (create) {
                if (is_foreign(data))
                        return error_set(error, -ENOTEMPTY,
                                         "%s holds other things and no instance: choose a new or "
                                         "empty folder with --data",
                                         data);
                r = ensure_folder(data, 0755, geteuid(), error);
                if (r < 0)
                        return r;
        }
        if (!realpath(data, instance.data))
                return error_set(error, -errno, "there is no instance at %s: start one with cay up",
                                 data);
        snprintf(instance.id, sizeof(instance.id), "%08x", str_fnv1a(str_from(instance.data)));
        snprintf(instance.run, sizeof(instance.run), "/run/cay-%s", instance.id);
        r = join(instance.kubeconfig, sizeof(instance.kubeconfig), instance.data, "kubeconfig");
        if (r == 0)
                r = join(instance.libexec, sizeof(instance.libexec), instance.data, "libexec");
        if (r < 0)
                return error_set(error, r, "the data folder's path is too long");
        if (create) {
                r = create_folders(&instance, error);
                if (r == 0)
                        r = copy_programs(&instance, error);
                if (r < 0)
                        return r;
        }
        *ret_instance = instance;
        return 0;
}

static int open_lock(const struct instance *instance, int flags)
{
        char path[PATH_MAX];
        int r = join(path, sizeof(path), instance->data, "lock");

        if (r < 0)
                return r;
        int fd = open(path, flags | O_CLOEXEC, 0644);
        return fd < 0 ? -errno : fd;
}

static pid_t read_pid(int lock)
{
        char text[16] = "";
        uint64_t pid;
        ssize_t length = pread(lock, text, sizeof(text) - 1, 0);

        if (length <= 0 || str_to_u64((struct str){ text, (size_t)length }, INT32_MAX, &pid) < 0)
                return 0;
        return (pid_t)pid;
}

/* One that has ended and waits to be reaped is not. */
static bool is_alive(pid_t pid)
{
        _cleanup_close_ int process = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        struct pollfd ended = { .fd = process, .events = POLLIN };

        return process >= 0 && poll(&ended, 1, 0) == 0;
}

static void interrupt(int signal)
{
        (void)signal;
}

/* -EWOULDBLOCK when roles of a supervisor that is gone do not end. Uses SIGALRM. */
static int wait_for_lock(int lock)
{
        const struct sigaction action = { .sa_handler = interrupt };
        struct sigaction before;

        sigaction(SIGALRM, &action, &before);
        alarm(ROLES_END_SECONDS);
        int r = flock(lock, LOCK_EX) < 0 ? -errno : 0;
        alarm(0);
        sigaction(SIGALRM, &before, NULL);
        return r == -EINTR ? -EWOULDBLOCK : r;
}

int instance_lock(const struct instance *instance, struct error *error)
{
        _cleanup_close_ int lock = open_lock(instance, O_RDWR | O_CREAT);

        if (lock < 0)
                return error_set(error, lock, "cannot open %s/lock: %s", instance->data,
                                 strerror(-lock));
        int r = flock(lock, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
        if (r == -EWOULDBLOCK && !is_alive(read_pid(lock)))
                r = wait_for_lock(lock);
        if (r < 0) {
                if (r != -EWOULDBLOCK)
                        return error_set(error, r, "cannot lock %s/lock: %s", instance->data,
                                         strerror(-r));
                return error_set(error, -EBUSY,
                                 "%s is already served by process %d: see cay status, or stop it "
                                 "with cay down",
                                 instance->data, (int)read_pid(lock));
        }
        return TAKE_FD(lock);
}

int instance_write_pid(int lock, pid_t pid)
{
        char text[16];
        int length = snprintf(text, sizeof(text), "%d", (int)pid);

        if (ftruncate(lock, 0) < 0 || pwrite(lock, text, (size_t)length, 0) != length)
                return -errno;
        return 0;
}

int instance_running(const struct instance *instance, pid_t *ret_pid)
{
        _cleanup_close_ int lock = open_lock(instance, O_RDONLY);

        *ret_pid = 0;
        if (lock == -ENOENT)
                return 0;
        if (lock < 0)
                return lock;
        pid_t pid = read_pid(lock);
        if (flock(lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK && is_alive(pid))
                *ret_pid = pid;
        return 0;
}

bool instance_has_run(const struct instance *instance)
{
        return access(instance->run, F_OK) == 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
        (void)status;
        (void)type;
        (void)walk;
        return remove(path) < 0 ? -errno : 0;
}

int instance_remove_run(const struct instance *instance)
{
        enum { DESCRIPTORS = 16 };

        return nftw(instance->run, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void instance_remove_unused_run(const struct instance *instance)
{
        char path[PATH_MAX];

        if (join(path, sizeof(path), instance->run, "node") == 0 && rmdir(path) == 0)
                rmdir(instance->run);
}

int instance_write_addresses(const struct instance *instance,
                             const struct instance_addresses *addresses)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;
        char path[PATH_MAX];

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "api", str_from(addresses->api));
        json_field_string(&writer, "router", str_from(addresses->router));
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r == 0)
                r = join(path, sizeof(path), instance->run, "addresses.json");
        return r < 0 ? r : file_write_atomic(AT_FDCWD, path, buffer_str(&text), 0644);
}

int instance_read_addresses(const struct instance *instance,
                            struct instance_addresses *ret_addresses)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        char path[PATH_MAX];

        int r = join(path, sizeof(path), instance->run, "addresses.json");
        if (r == 0)
                r = file_read(AT_FDCWD, path, 4096, &text);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &doc);
        if (r < 0)
                return r;
        snprintf(ret_addresses->api, sizeof(ret_addresses->api), "%.*s",
                 STR_FORMAT(json_string(json_get(json_root(doc), "api"))));
        snprintf(ret_addresses->router, sizeof(ret_addresses->router), "%.*s",
                 STR_FORMAT(json_string(json_get(json_root(doc), "router"))));
        return 0;
}
