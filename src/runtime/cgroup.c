// SPDX-License-Identifier: Apache-2.0
#include "runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum { PERIOD_US = 100000, PROCESSES_DEFAULT = 4096, FILE_SIZE = 64 * 1024 };

static int write_file(int folder, const char *name, const char *file, const char *text)
{
        char path[128];

        snprintf(path, sizeof(path), "%s%s%s", name, name[0] ? "/" : "", file);
        _cleanup_close_ int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fd_write_full(fd, text, strlen(text));
}

static int write_number(int folder, const char *name, const char *file, uint64_t number)
{
        char text[32];

        snprintf(text, sizeof(text), "%" PRIu64, number);
        return write_file(folder, name, file, text);
}

/* As a NUL-terminated string in `buffer`. */
static int read_text(int folder, const char *name, const char *file, struct buffer *buffer)
{
        char path[128];

        snprintf(path, sizeof(path), "%s%s%s", name, name[0] ? "/" : "", file);
        buffer_clear(buffer);
        int r = file_read(folder, path, FILE_SIZE, buffer);
        return r < 0 ? r : buffer_append_char(buffer, '\0');
}

/* The number behind `key` in a file of "key number" lines; without a key, the file's only one. */
static uint64_t read_number(int folder, const char *name, const char *file, const char *key)
{
        _cleanup_buffer_ struct buffer text = {};

        if (read_text(folder, name, file, &text) < 0)
                return 0;
        if (!key)
                return strtoull(text.data, NULL, 10);
        struct str wanted = str_from(key);
        for (struct str rest = str_from(text.data), line; rest.length > 0;) {
                str_cut(rest, '\n', &line, &rest);
                if (str_starts_with(line, wanted) && line.length > wanted.length &&
                    line.data[wanted.length] == ' ')
                        return strtoull(line.data + wanted.length + 1, NULL, 10);
        }
        return 0;
}

static const struct cgroup_hierarchy *find_hierarchy(const struct cgroup_tree *tree,
                                                     unsigned controller)
{
        for (size_t i = 0; i < tree->count; i++) {
                if (tree->hierarchies[i].controllers & controller)
                        return &tree->hierarchies[i];
        }
        return NULL;
}

static const struct cgroup_hierarchy *find_v2(const struct cgroup_tree *tree)
{
        return tree->count > 0 && tree->hierarchies[0].is_v2 ? &tree->hierarchies[0] : NULL;
}

static unsigned controllers_of(struct str list, char separator)
{
        static const struct {
                struct str name;
                unsigned controller;
        } known[] = { { STR("cpu"), CGROUP_CPU },
                      { STR("memory"), CGROUP_MEMORY },
                      { STR("pids"), CGROUP_PIDS },
                      { STR("freezer"), CGROUP_FREEZER } };
        unsigned controllers = 0;

        for (struct str word; list.length > 0;) {
                str_cut(list, separator, &word, &list);
                word = str_trim(word);
                for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                        if (str_equal(word, known[i].name))
                                controllers |= known[i].controller;
                }
        }
        return controllers;
}

/* Makes our folder below a hierarchy's mount and takes it into the tree. */
static int add_hierarchy(struct cgroup_tree *tree, struct str mount, const char *name, bool is_v2,
                         unsigned controllers)
{
        struct cgroup_hierarchy *hierarchy = &tree->hierarchies[tree->count];

        if (tree->count == CGROUP_HIERARCHIES ||
            (size_t)snprintf(hierarchy->path, sizeof(hierarchy->path), "%.*s/%s", STR_FORMAT(mount),
                             name) >= sizeof(hierarchy->path))
                return -ENAMETOOLONG;
        if (mkdir(hierarchy->path, 0755) < 0 && errno != EEXIST)
                return -errno;
        hierarchy->folder = open(hierarchy->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (hierarchy->folder < 0)
                return -errno;
        hierarchy->is_v2 = is_v2;
        hierarchy->controllers = controllers;
        tree->count++;
        return 0;
}

/* Passes cpu, memory and pids on to our folder and to those in it, as far as v2 has them. */
static int add_v2(struct cgroup_tree *tree, struct str mount, const char *name)
{
        static const char *const words[] = { "+cpu", "+memory", "+pids" };
        _cleanup_buffer_ struct buffer text = {};
        char path[256];

        snprintf(path, sizeof(path), "%.*s", STR_FORMAT(mount));
        _cleanup_close_ int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        int r = read_text(root, "", "cgroup.controllers", &text);
        if (r < 0)
                return r;
        unsigned controllers = controllers_of(str_from(text.data), ' ') & CGROUP_ALL;
        r = add_hierarchy(tree, mount, name, true, controllers);
        for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(words); i++) {
                if (!(controllers & (1U << i)))
                        continue;
                r = write_file(root, "", "cgroup.subtree_control", words[i]);
                if (r == 0)
                        r = write_file(tree->hierarchies[tree->count - 1].folder, "",
                                       "cgroup.subtree_control", words[i]);
        }
        return r;
}

static int scan_mounts(struct cgroup_tree *tree, struct str mounts, const char *name, bool v2,
                       unsigned *missing)
{
        for (struct str rest = mounts, line; rest.length > 0;) {
                struct str device, mount, type, options;
                str_cut(rest, '\n', &line, &rest);
                str_cut(line, ' ', &device, &line);
                str_cut(line, ' ', &mount, &line);
                str_cut(line, ' ', &type, &line);
                str_cut(line, ' ', &options, &line);
                int r = 0;
                if (v2 && str_equal(type, STR("cgroup2")) && tree->count == 0) {
                        r = add_v2(tree, mount, name);
                        if (r == 0)
                                *missing &= ~tree->hierarchies[0].controllers;
                } else if (!v2 && str_equal(type, STR("cgroup"))) {
                        unsigned wanted = controllers_of(options, ',') & *missing;
                        if (wanted)
                                r = add_hierarchy(tree, mount, name, false, wanted);
                        *missing &= ~wanted;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int cgroup_tree_open(struct cgroup_tree *tree, const char *name, bool only_v1, struct error *error)
{
        _cleanup_buffer_ struct buffer mounts = {};
        unsigned missing = CGROUP_ALL;

        *tree = (struct cgroup_tree){};
        int r = file_read(AT_FDCWD, "/proc/self/mounts", LIMIT_BODY, &mounts);
        if (r == 0 && !only_v1)
                r = scan_mounts(tree, buffer_str(&mounts), name, true, &missing);
        if (r == 0 && !find_v2(tree))
                missing |= CGROUP_FREEZER;
        if (r == 0 && missing)
                r = scan_mounts(tree, buffer_str(&mounts), name, false, &missing);
        if (r == 0 && missing)
                r = -ENODEV;
        if (r < 0) {
                cgroup_tree_close(tree);
                return error_set(error, r,
                                 "cgroups with cpu, memory and pids are needed (%s): mount cgroup2 "
                                 "at /sys/fs/cgroup, and run cay as root",
                                 strerror(-r));
        }
        return 0;
}

void cgroup_tree_close(struct cgroup_tree *tree)
{
        for (size_t i = 0; i < tree->count; i++)
                fd_close(tree->hierarchies[i].folder);
        tree->count = 0;
}

int cgroup_create(const struct cgroup_tree *tree, const char *name)
{
        for (size_t i = 0; i < tree->count; i++) {
                if (mkdirat(tree->hierarchies[i].folder, name, 0755) < 0 && errno != EEXIST) {
                        int r = -errno;
                        cgroup_remove(tree, name);
                        return r;
                }
        }
        return 0;
}

int cgroup_remove(const struct cgroup_tree *tree, const char *name)
{
        int r = 0;

        for (size_t i = 0; i < tree->count; i++) {
                if (unlinkat(tree->hierarchies[i].folder, name, AT_REMOVEDIR) < 0 &&
                    errno != ENOENT)
                        r = -errno;
        }
        return r;
}

static int limit_cpu(const struct cgroup_hierarchy *hierarchy, const char *name,
                     const struct container_limits *limits)
{
        /* The kernel takes no quota below 1 ms. */
        uint64_t quota = MAX((uint64_t)limits->cpu_milli * PERIOD_US / 1000, UINT64_C(1000));
        uint64_t shares = MAX((uint64_t)limits->cpu_weight_milli * 1024 / 1000, UINT64_C(2));
        char text[64];
        int r = 0;

        shares = MIN(shares, UINT64_C(262144));
        if (!hierarchy->is_v2) {
                if (limits->cpu_milli > 0) {
                        r = write_number(hierarchy->folder, name, "cpu.cfs_period_us", PERIOD_US);
                        if (r == 0)
                                r = write_number(hierarchy->folder, name, "cpu.cfs_quota_us",
                                                 quota);
                }
                if (r == 0 && limits->cpu_weight_milli > 0)
                        r = write_number(hierarchy->folder, name, "cpu.shares", shares);
                return r;
        }
        if (limits->cpu_milli > 0) {
                snprintf(text, sizeof(text), "%" PRIu64 " %d", quota, PERIOD_US);
                r = write_file(hierarchy->folder, name, "cpu.max", text);
        }
        /* Kubernetes' own conversion of shares (2 … 262144) to weights (1 … 10000). */
        if (r == 0 && limits->cpu_weight_milli > 0)
                r = write_number(hierarchy->folder, name, "cpu.weight",
                                 1 + (shares - 2) * 9999 / 262142);
        return r;
}

static int limit_memory(const struct cgroup_hierarchy *hierarchy, const char *name,
                        const struct container_limits *limits)
{
        int r;

        if (hierarchy->is_v2) {
                /* All of a container dies with the one that took too much, as with kubelet. */
                r = write_file(hierarchy->folder, name, "memory.oom.group", "1");
                if (r == 0 && limits->memory > 0)
                        r = write_number(hierarchy->folder, name, "memory.max", limits->memory);
                if (r == 0 && limits->memory > 0) {
                        r = write_number(hierarchy->folder, name, "memory.swap.max", 0);
                        if (r == -ENOENT)
                                r = 0;
                }
                return r;
        }
        if (limits->memory == 0)
                return 0;
        r = write_number(hierarchy->folder, name, "memory.limit_in_bytes", limits->memory);
        if (r == 0) {
                /* Absent where the kernel does not account for swap. */
                r = write_number(hierarchy->folder, name, "memory.memsw.limit_in_bytes",
                                 limits->memory);
                if (r == -ENOENT)
                        r = 0;
        }
        return r;
}

int cgroup_set_limits(const struct cgroup_tree *tree, const char *name,
                      const struct container_limits *limits)
{
        const struct cgroup_hierarchy *pids = find_hierarchy(tree, CGROUP_PIDS);
        int r = limit_cpu(find_hierarchy(tree, CGROUP_CPU), name, limits);

        if (r == 0)
                r = limit_memory(find_hierarchy(tree, CGROUP_MEMORY), name, limits);
        if (r == 0)
                r = write_number(pids->folder, name, "pids.max",
                                 limits->processes ? limits->processes : PROCESSES_DEFAULT);
        return r;
}

int cgroup_open_v2(const struct cgroup_tree *tree, const char *name, int *ret_fd)
{
        const struct cgroup_hierarchy *v2 = find_v2(tree);

        if (!v2)
                return -ENOENT;
        int fd = openat(v2->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int cgroup_open_v1(const struct cgroup_tree *tree, const char *name,
                   int ret_fds[static CGROUP_HIERARCHIES])
{
        char path[CGROUP_NAME + 16];
        int count = 0;

        snprintf(path, sizeof(path), "%s/cgroup.procs", name);
        for (size_t i = 0; i < tree->count; i++) {
                if (tree->hierarchies[i].is_v2)
                        continue;
                int fd = openat(tree->hierarchies[i].folder, path, O_WRONLY | O_CLOEXEC);
                if (fd < 0) {
                        int r = -errno;
                        while (count > 0)
                                fd_close(ret_fds[--count]);
                        return r;
                }
                ret_fds[count++] = fd;
        }
        return count;
}

/* Calls `each` for every process; stops when it returns true and gives that process. */
static pid_t for_each_process(int folder, const char *name, bool (*each)(pid_t, void *), void *data)
{
        _cleanup_buffer_ struct buffer text = {};
        int r = read_text(folder, name, "cgroup.procs", &text);

        if (r < 0)
                return r;
        for (char *next = text.data, *end; *next; next = end + (*end == '\n')) {
                pid_t pid = (pid_t)strtol(next, &end, 10);
                if (end == next)
                        break;
                if (pid > 0 && each(pid, data))
                        return pid;
        }
        return 0;
}

static bool kill_process(pid_t pid, void *data)
{
        *(bool *)data = true;
        kill(pid, SIGKILL);
        return false;
}

/* Freezing first keeps a fork bomb from getting ahead of the list. */
static int freeze(const struct cgroup_hierarchy *freezer, const char *name)
{
        return write_file(freezer->folder, name, "freezer.state", "FROZEN");
}

static int kill_frozen(const struct cgroup_hierarchy *freezer, const char *name, bool *ret_found)
{
        _cleanup_buffer_ struct buffer state = {};
        int r = 0;

        for (int turn = 0; r == 0 && turn < 50; turn++) {
                r = read_text(freezer->folder, name, "freezer.state", &state);
                if (r == 0 && str_starts_with(str_from(state.data), STR("FROZEN")))
                        break;
                poll(NULL, 0, 1);
        }
        if (r == 0)
                r = for_each_process(freezer->folder, name, kill_process, ret_found);
        int thawed = write_file(freezer->folder, name, "freezer.state", "THAWED");
        return r < 0 ? r : thawed;
}

/* Until nothing is left to kill. */
static int kill_by_freezing(const struct cgroup_hierarchy *freezer, const char *name)
{
        uint64_t deadline = clock_monotonic_ns() + NS_PER_SECOND;
        bool found = true;
        int r = 0;

        while (found && r >= 0 && clock_monotonic_ns() < deadline) {
                found = false;
                r = freeze(freezer, name);
                if (r == 0)
                        r = kill_frozen(freezer, name, &found);
                if (found)
                        poll(NULL, 0, 1);
        }
        return r;
}

int cgroup_kill(const struct cgroup_tree *tree, const char *name)
{
        const struct cgroup_hierarchy *v2 = find_v2(tree);
        const struct cgroup_hierarchy *freezer = find_hierarchy(tree, CGROUP_FREEZER);
        int r = -ENOENT;

        if (v2)
                r = write_file(v2->folder, name, "cgroup.kill", "1");
        else if (freezer)
                r = kill_by_freezing(freezer, name);
        return r == -ENOENT ? 0 : r;
}

pid_t cgroup_find(const struct cgroup_tree *tree, const char *name,
                  bool (*matches)(pid_t pid, void *data), void *data)
{
        return for_each_process(find_hierarchy(tree, CGROUP_PIDS)->folder, name, matches, data);
}

int cgroup_usage(const struct cgroup_tree *tree, const char *name,
                 struct container_usage *ret_usage)
{
        const struct cgroup_hierarchy *memory = find_hierarchy(tree, CGROUP_MEMORY);
        const struct cgroup_hierarchy *v2 = find_v2(tree);
        const struct cgroup_hierarchy *pids = find_hierarchy(tree, CGROUP_PIDS);
        struct container_usage usage = {};

        if (faccessat(memory->folder, name, F_OK, 0) < 0)
                return -errno;
        if (memory->is_v2) {
                usage.memory = read_number(memory->folder, name, "memory.current", NULL);
                usage.memory_peak = read_number(memory->folder, name, "memory.peak", NULL);
                usage.oom_kills =
                        (uint32_t)read_number(memory->folder, name, "memory.events", "oom_kill");
        } else {
                usage.memory = read_number(memory->folder, name, "memory.usage_in_bytes", NULL);
                usage.memory_peak =
                        read_number(memory->folder, name, "memory.max_usage_in_bytes", NULL);
                usage.oom_kills = (uint32_t)read_number(memory->folder, name, "memory.oom_control",
                                                        "oom_kill");
        }
        /* v2 counts CPU time without the controller; v1 would need cpuacct. */
        if (v2)
                usage.cpu_ns =
                        read_number(v2->folder, name, "cpu.stat", "usage_usec") * UINT64_C(1000);
        usage.processes = (uint32_t)read_number(pids->folder, name, "pids.current", NULL);
        *ret_usage = usage;
        return 0;
}

/* ---- all at once ---- */

struct names {
        struct buffer text; /* each with its NUL */
        bool (*keeps)(const char *name, void *data);
        void *data;
};

static int list_hierarchy(const struct cgroup_hierarchy *hierarchy, struct names *names)
{
        int fd = openat(hierarchy->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;
        int r = 0;

        if (!folder)
                return -errno;
        while (r == 0 && (entry = readdir(folder))) {
                size_t length = strlen(entry->d_name);
                if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && length < CGROUP_NAME &&
                    !(names->keeps && names->keeps(entry->d_name, names->data)))
                        r = buffer_append(&names->text, entry->d_name, length + 1);
        }
        closedir(folder);
        return r;
}

/* The one after `name`, or the first of all (NULL); NULL at the end. */
static const char *next_name(const struct names *names, const char *name)
{
        const char *next = name ? name + strlen(name) + 1 : names->text.data;

        return next && next < names->text.data + names->text.length ? next : NULL;
}

static void kill_all(const struct cgroup_tree *tree, const struct names *names)
{
        const struct cgroup_hierarchy *freezer = find_hierarchy(tree, CGROUP_FREEZER);
        bool by_freezing = !find_v2(tree) && freezer, found;

        for (const char *name = NULL; by_freezing && (name = next_name(names, name));)
                freeze(freezer, name);
        for (const char *name = NULL; (name = next_name(names, name));) {
                if (by_freezing)
                        kill_frozen(freezer, name, &found);
                else
                        cgroup_kill(tree, name);
        }
}

/* Waits for one after the other: most have ended while the first was waited for. */
static void remove_all(const struct cgroup_tree *tree, const struct names *names)
{
        enum { PAUSE_MS = 2 };
        uint64_t last_ns = clock_monotonic_ns();

        for (const char *name = NULL; (name = next_name(names, name));) {
                int r;
                while ((r = cgroup_remove(tree, name)) < 0 &&
                       clock_monotonic_ns() - last_ns < CGROUP_PATIENCE_S * NS_PER_SECOND) {
                        poll(NULL, 0, PAUSE_MS);
                        cgroup_kill(tree, name);
                }
                if (r < 0)
                        log_error("the cgroup %s does not end: %s", name, strerror(-r));
                else
                        last_ns = clock_monotonic_ns();
        }
}

int cgroup_end_all(const struct cgroup_tree *tree, bool (*keeps)(const char *name, void *data),
                   void *data)
{
        int r = 0;

        /* A crash between two hierarchies may leave a name in one of them only. */
        for (size_t i = 0; r == 0 && i < tree->count; i++) {
                struct names names = { .keeps = keeps, .data = data };
                r = list_hierarchy(&tree->hierarchies[i], &names);
                if (r == 0) {
                        kill_all(tree, &names);
                        remove_all(tree, &names);
                }
                buffer_deinit(&names.text);
        }
        return r;
}

size_t cgroup_count(const char *name)
{
        _cleanup_buffer_ struct buffer mounts = {};
        size_t most = 0;

        if (file_read(AT_FDCWD, "/proc/self/mounts", LIMIT_BODY, &mounts) < 0)
                return 0;
        for (struct str rest = buffer_str(&mounts), line; rest.length > 0;) {
                struct str device, mount, type;
                struct stat folder;
                char path[256];
                str_cut(rest, '\n', &line, &rest);
                str_cut(line, ' ', &device, &line);
                str_cut(line, ' ', &mount, &line);
                str_cut(line, ' ', &type, &line);
                if (!str_equal(type, STR("cgroup2")) && !str_equal(type, STR("cgroup")))
                        continue;
                snprintf(path, sizeof(path), "%.*s/%s", STR_FORMAT(mount), name);
                /* A folder of cgroups has a link of each folder in it. */
                if (stat(path, &folder) == 0 && folder.st_nlink > 2)
                        most = MAX(most, folder.st_nlink - 2);
        }
        return most;
}

int cgroup_tree_remove(struct cgroup_tree *tree)
{
        int r = 0;

        for (size_t i = 0; i < tree->count; i++) {
                if (rmdir(tree->hierarchies[i].path) < 0 && errno != ENOENT)
                        r = -errno;
        }
        return r;
}
