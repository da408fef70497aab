// SPDX-License-Identifier: Apache-2.0
#include "runtime/skeleton.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"

enum { DEPTH_MAX = 8, COPY_MAX = 4 * 1024 * 1024 };

static const struct {
        const char *path;
        mode_t mode;
} folders[] = {
        { "app", 0777 },      { "dev", 0755 },       { "etc", 0755 },     { "etc/ssl", 0755 },
        { "home", 0755 },     { "media", 0755 },     { "mnt", 0755 },     { "opt", 0755 },
        { "proc", 0555 },     { "root", 0700 },      { "run", 0755 },     { "run/lock", 01777 },
        { "srv", 0755 },      { "sys", 0555 },       { "tmp", 01777 },    { "usr", 0755 },
        { "var", 0755 },      { "var/cache", 0755 }, { "var/lib", 0755 }, { "var/log", 0755 },
        { "var/tmp", 01777 }, { "workspace", 0777 },
};

/* Links of a merged /usr; those that the host lacks are left out. */
static const char *const usr_links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

static const struct {
        const char *path, *target;
} links[] = {
        { "var/run", "/run" },
        { "var/lock", "/run/lock" },
        { "etc/mtab", "/proc/mounts" },
        { "etc/os-release", "../usr/lib/os-release" },
};

static const struct {
        const char *path, *text;
} files[] = {
        { "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"
                        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
                        "bin:x:2:2:bin:/bin:/usr/sbin/nologin\n"
                        "agent:x:1000:1000:agent:/workspace:/bin/bash\n"
                        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
        { "etc/group", "root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nusers:x:100:\n"
                       "agent:x:1000:\nnogroup:x:65534:\n" },
        { "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"
                               "networks: files\nprotocols: files\nservices: files\n" },
        { "etc/shells", "/bin/sh\n/bin/bash\n" },
        { "etc/host.conf", "multi on\n" },
};

/* What of the host's /etc programs need to start; names ending in "*" are prefixes. */
static const char *const copied[] = {
        "alternatives",
        "bash.bashrc",
        "ca-certificates.conf",
        "debian_version",
        "fonts",
        "gai.conf",
        "inputrc",
        "java-*",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "locale.alias",
        "locale.conf",
        "localtime",
        "lsb-release",
        "magic",
        "magic.mime",
        "mailcap",
        "mime.types",
        "perl",
        "php",
        "pki",
        "profile",
        "protocols",
        "python2*",
        "python3*",
        "rpc",
        "services",
        "terminfo",
        "timezone",
};

static const char *const copied_ssl[] = { "certs", "openssl.cnf" };

static bool is_named(const char *name, const char *const *names, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                size_t length = strlen(names[i]);
                if (names[i][length - 1] == '*' ? strncmp(name, names[i], length - 1) == 0
                                                : strcmp(name, names[i]) == 0)
                        return true;
        }
        return false;
}

static int copy_file(int from, int to, const char *name, const struct stat *info)
{
        _cleanup_close_ int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        off_t left = info->st_size;

        if (in < 0)
                return -errno;
        _cleanup_close_ int out =
                openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, info->st_mode & 0755);
        if (out < 0)
                return -errno;
        while (left > 0) {
                ssize_t done = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
                if (done < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP)) {
                        _cleanup_buffer_ struct buffer text = {};
                        int r = file_read(from, name, COPY_MAX, &text);
                        return r < 0 ? r : fd_write_full(out, text.data, text.length);
                }
                if (done < 0)
                        return -errno;
                if (done == 0)
                        break;
                left -= done;
        }
        return 0;
}

static int copy_link(int from, int to, const char *name)
{
        char target[PATH_MAX];
        ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);

        if (length < 0)
                return -errno;
        target[length] = '\0';
        return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int copy_folder(int from, int to, const char *const *names, size_t count, unsigned depth);

/* Copies what all may read; leaves out the rest without a word. */
static int copy_entry(int from, int to, const char *name, unsigned depth)
{
        struct stat info;

        if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISLNK(info.st_mode))
                return copy_link(from, to, name);
        if (S_ISREG(info.st_mode) && (info.st_mode & S_IROTH) && info.st_size <= COPY_MAX)
                return copy_file(from, to, name, &info);
        if (!S_ISDIR(info.st_mode) || depth == DEPTH_MAX || (info.st_mode & 05) != 05)
                return 0;
        if (mkdirat(to, name, 0755) < 0)
                return -errno;
        _cleanup_close_ int sub_from =
                openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_close_ int sub_to =
                openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub_from < 0 || sub_to < 0)
                return -errno;
        return copy_folder(sub_from, sub_to, NULL, 0, depth + 1);
}

static void close_folder(DIR **folder)
{
        if (*folder)
                closedir(*folder);
}

static int open_entries(int folder, DIR **ret_entries)
{
        int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret_entries = fdopendir(fd);
        if (*ret_entries)
                return 0;
        int r = -errno;
        close(fd);
        return r;
}

static bool is_entry(const struct dirent *entry)
{
        return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* All of a folder, or the entries with these names. */
static int copy_folder(int from, int to, const char *const *names, size_t count, unsigned depth)
{
        _cleanup_(close_folder) DIR *entries = NULL;
        struct dirent *entry;
        int r = open_entries(from, &entries);

        while (r == 0 && (entry = readdir(entries))) {
                if (is_entry(entry) && (!names || is_named(entry->d_name, names, count)))
                        r = copy_entry(from, to, entry->d_name, depth);
        }
        return r;
}

static int copy_from_host(int folder, int host, const char *path, const char *const *names,
                          size_t count)
{
        _cleanup_close_ int from = openat(host, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int to = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (from < 0)
                return errno == ENOENT ? 0 : -errno;
        return to < 0 ? -errno : copy_folder(from, to, names, count, 0);
}

static int make_usr_links(int folder, int host, struct error *error)
{
        for (size_t i = 0; i < ARRAY_SIZE(usr_links); i++) {
                char target[32];
                struct stat info;
                if (fstatat(host, usr_links[i], &info, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (!S_ISLNK(info.st_mode))
                        return error_set(error, -EOPNOTSUPP,
                                         "/%s is no link into /usr: the built-in images need a "
                                         "system with a merged /usr (package usrmerge)",
                                         usr_links[i]);
                snprintf(target, sizeof(target), "usr/%s", usr_links[i]);
                if (symlinkat(target, folder, usr_links[i]) < 0)
                        return -errno;
        }
        return 0;
}

static int make_all(int folder, int host, struct error *error)
{
        int r;

        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                if (mkdirat(folder, folders[i].path, 0755) < 0 ||
                    fchmodat(folder, folders[i].path, folders[i].mode, 0) < 0)
                        return -errno;
        }
        r = make_usr_links(folder, host, error);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++) {
                if (symlinkat(links[i].target, folder, links[i].path) < 0)
                        r = -errno;
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
                _cleanup_close_ int fd = openat(folder, files[i].path,
                                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
                r = fd < 0 ? -errno : fd_write_full(fd, files[i].text, strlen(files[i].text));
        }
        if (r == 0)
                r = copy_from_host(folder, host, "etc", copied, ARRAY_SIZE(copied));
        if (r == 0)
                r = copy_from_host(folder, host, "etc/ssl", copied_ssl, ARRAY_SIZE(copied_ssl));
        return r;
}

int skeleton_make(int folder, int host, struct error *error)
{
        mode_t mask = umask(0);
        int r = make_all(folder, host, error);

        umask(mask);
        if (r < 0 && (!error || !error->code))
                return error_set(error, r, "making the skeleton root: %s", strerror(-r));
        return r;
}

int skeleton_make_devices(int folder, struct error *error)
{
        static const struct {
                const char *name;
                unsigned major, minor;
        } nodes[] = { { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
                      { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
        static const struct {
                const char *name, *target;
        } device_links[] = { { "fd", "/proc/self/fd" },
                             { "stdin", "/proc/self/fd/0" },
                             { "stdout", "/proc/self/fd/1" },
                             { "stderr", "/proc/self/fd/2" },
                             { "ptmx", "pts/ptmx" } };
        mode_t mask = umask(0);
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(nodes); i++) {
                if (mknodat(folder, nodes[i].name, S_IFCHR | 0666,
                            makedev(nodes[i].major, nodes[i].minor)) < 0)
                        r = -errno;
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(device_links); i++) {
                if (symlinkat(device_links[i].target, folder, device_links[i].name) < 0)
                        r = -errno;
        }
        if (r == 0 && (mkdirat(folder, "pts", 0755) < 0 || mkdirat(folder, "shm", 01777) < 0))
                r = -errno;
        /* Kubernetes' usual terminationMessagePath: a place to mount a file, as /dev is read-only.
         */
        if (r == 0 && mknodat(folder, "termination-log", S_IFREG | 0644, 0) < 0)
                r = -errno;
        umask(mask);
        return r < 0 ? error_set(error, r, "making device nodes: %s", strerror(-r)) : 0;
}

static int empty(int folder, dev_t device, unsigned depth, const char *except)
{
        _cleanup_(close_folder) DIR *entries = NULL;
        struct dirent *entry;
        int result = open_entries(folder, &entries);

        while (result != -ELOOP && entries && (entry = readdir(entries))) {
                struct stat info;
                int r = 0;
                if (!is_entry(entry) || (except && strcmp(entry->d_name, except) == 0))
                        continue;
                if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
                        result = -errno;
                        continue;
                }
                if (info.st_dev != device) {
                        result = -EXDEV;
                        continue;
                }
                if (S_ISDIR(info.st_mode)) {
                        _cleanup_close_ int sub =
                                openat(folder, entry->d_name,
                                       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                        if (sub < 0)
                                r = -errno;
                        else if (depth == 0)
                                r = -ELOOP;
                        else
                                r = empty(sub, device, depth - 1, NULL);
                }
                if (r == 0 &&
                    unlinkat(folder, entry->d_name, S_ISDIR(info.st_mode) ? AT_REMOVEDIR : 0) < 0)
                        r = -errno;
                if (r < 0)
                        result = r;
        }
        return result;
}

int skeleton_empty_except(int folder, const char *name)
{
        enum { FOLDERS_DEEP = 1024 };
        struct stat info;

        if (fstat(folder, &info) < 0)
                return -errno;
        return empty(folder, info.st_dev, FOLDERS_DEEP, name);
}

int skeleton_empty(int folder)
{
        return skeleton_empty_except(folder, NULL);
}
