// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/bootstrap.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/machine.h"
#include "cli/roles.h"
#include "cli/supervisor.h"
#include "crypto/certificate.h"
#include "kube/name.h"
#include "node/images.h"
#include "node/node.h"

enum {
        READY_TIMEOUT_SECONDS = 60, /* without --timeout */
        LISTEN_BACKLOG = 1024,
        ADDRESS_WAIT_MS = 1000, /* for an address to be free */
        ADDRESS_NAP_MS = 5,
        ADDRESS_SIZE = sizeof(((struct instance_addresses *)0)->api),
        LOG_TAIL = 4096,
        IMAGE_MAP_LIMIT = 1024 * 1024,
        NODE_NAME_MOST = 63, /* it is the value of a label, too */
        ROOM_LEAST =
                1024 * 1024, /* with less, a role that does not start has found the disk full */
};

#define MAKE_ROOM "make room, or choose another folder with --data"

struct up {
        struct instance instance;
        struct role_settings settings;
        const char *data, *api_listen, *router_listen, *images;
        struct instance_addresses addresses;
        char pods_host[INET_ADDRSTRLEN]; /* this machine, as Pods see it */
        bool detach;
        struct option_strings names;
        uint64_t timeout_ns;
        int lock, ready[2];
        struct role_table table;
        off_t log_sizes[ROLES]; /* before the start */
};

/* getaddrinfo() takes any number, and the kernel 16 bits of it. */
static bool is_port(struct str text)
{
        uint64_t port;

        return str_to_u64(text, UINT16_MAX, &port) == 0;
}

static int parse_listen(const char *where, const char *option, struct error *error,
                        struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
        const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                        .ai_socktype = SOCK_STREAM,
                                        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
        const char *colon = strrchr(where, ':');
        char host[ADDRESS_SIZE] = "";
        struct addrinfo *found;

        if (!colon || (size_t)(colon - where) >= sizeof(host))
                return error_set(error, -EINVAL, "--%s takes ADDRESS:PORT, not '%s'", option,
                                 where);
        struct str name = { where, (size_t)(colon - where) };
        if (name.length > 2 && name.data[0] == '[' && name.data[name.length - 1] == ']')
                name = str_slice(name, 1, name.length - 1);
        snprintf(host, sizeof(host), "%.*s", STR_FORMAT(name));
        if (!is_port(str_from(colon + 1)) ||
            getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, &found) != 0)
                return error_set(error, -EINVAL, "--%s: '%s' is no IP address and port", option,
                                 where);
        memcpy(ret_address, found->ai_addr, found->ai_addrlen);
        *ret_size = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
}

/* The roles of a supervisor that was killed end after it, and have its addresses until then. */
static int bind_when_free(int fd, const struct sockaddr_storage *address, socklen_t size)
{
        const struct timespec nap = { .tv_nsec = ADDRESS_NAP_MS * NS_PER_MS };
        uint64_t deadline = clock_monotonic_ns() + ADDRESS_WAIT_MS * NS_PER_MS;

        while (bind(fd, (const struct sockaddr *)address, size) < 0) {
                if (errno != EADDRINUSE || clock_monotonic_ns() > deadline)
                        return -errno;
                nanosleep(&nap, NULL);
        }
        return 0;
}

/*
 * A listening TCP socket at "host:port" (port 0: any free one). Writes where it is into `address`.
 * The supervisor holds it, so a role that is started again finds the connections that wait. The
 * address may be one that the machine is to have later (`is_to_come`).
 */
static int listen_at(const char *where, const char *option, bool is_to_come,
                     char address[static ADDRESS_SIZE], struct error *error)
{
        struct sockaddr_storage bound = {};
        socklen_t size;

        int r = parse_listen(where, option, error, &bound, &size);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = socket(bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            (is_to_come && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0))
                return error_set(error, -errno, "cannot make a socket: %s", strerror(errno));
        r = bind_when_free(fd, &bound, size);
        if (r == 0 && listen(fd, LISTEN_BACKLOG) < 0)
                r = -errno;
        if (r < 0)
                return error_set(error, r, "cannot listen on %s (%s): choose another with --%s",
                                 where, strerror(-r), option);

        char host[INET6_ADDRSTRLEN], port[8];
        size = sizeof(bound);
        if (getsockname(fd, (struct sockaddr *)&bound, &size) < 0 ||
            getnameinfo((struct sockaddr *)&bound, size, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                return error_set(error, -EIO, "cannot tell where %s is", where);
        bool v6 = bound.ss_family == AF_INET6;
        snprintf(address, ADDRESS_SIZE, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
        return TAKE_FD(fd);
}

/* A supervisor in the background keeps neither terminal nor pipe of whoever started it. */
static int leave_terminal(const struct instance *instance, struct error *error)
{
        char path[PATH_MAX];

        setsid();
        if ((size_t)snprintf(path, sizeof(path), "%s/log/supervisor.log", instance->data) >=
            sizeof(path))
                return error_set(error, -ENAMETOOLONG, "the data folder's path is too long");
        _cleanup_close_ int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        _cleanup_close_ int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (log < 0 || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 ||
            dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
                return error_set(error, -errno, "cannot write %s: %s", path, strerror(errno));
        return 0;
}

/* In the forked child: from here on it is the supervisor. */
static int supervise(struct up *up, struct error *error)
{
        int r = 0;

        instance_write_pid(up->lock, getpid());
        close(up->ready[0]);
        if (up->detach)
                r = leave_terminal(&up->instance, error);
        else
                prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (r < 0)
                return r;
        setpgid(0, 0); /* Ctrl-C reaches the front alone, which passes it on */
        r = supervisor_run(up->table.roles, up->table.count, up->lock, up->settings.ready, error);
        return r < 0 ? r : roles_cleanup(&up->instance, error);
}

/* The first role that does not serve; those after it may only be waiting for it. */
static size_t find_late(const struct up *up, const bool serving[static ROLES])
{
        for (size_t i = 0; i < up->table.count; i++)
                if (!serving[i])
                        return i;
        return ROLES;
}

/*
 * Waits until every role serves. -EPIPE (the supervisor ended), or with *ret_failing: -ETIME (that
 * role is late), -ECHILD (it fails).
 */
static int wait_ready(const struct up *up, int ready, size_t *ret_failing)
{
        uint64_t deadline = clock_monotonic_ns() + up->timeout_ns;
        bool serving[ROLES] = { [ROLE_LAUNCHER] = true }; /* it tells nobody */
        size_t late;

        while ((late = find_late(up, serving)) < ROLES) {
                struct pollfd wait = { .fd = ready, .events = POLLIN };
                uint64_t now = clock_monotonic_ns();
                unsigned char byte;

                if (now >= deadline) {
                        *ret_failing = late;
                        return -ETIME;
                }
                uint64_t left_ms = MIN((deadline - now) / NS_PER_MS + 1, (uint64_t)INT_MAX);
                if (poll(&wait, 1, (int)left_ms) < 0 && errno != EINTR)
                        return -errno;
                if (!(wait.revents & (POLLIN | POLLHUP)))
                        continue;
                if (read(ready, &byte, 1) != 1)
                        return -EPIPE;
                if (byte >= SUPERVISOR_REPORT_FAILING && byte < SUPERVISOR_REPORT_FAILING + ROLES) {
                        *ret_failing = byte - SUPERVISOR_REPORT_FAILING;
                        return -ECHILD;
                }
                for (size_t i = 0; i < up->table.count; i++)
                        serving[i] |= up->table.roles[i].name[0] == (char)byte;
        }
        return 0;
}

/* What the role wrote last since this start, without time and level; "" if it wrote nothing. */
static struct str last_words(const char *path, off_t from, char text[static LOG_TAIL])
{
        struct str line, rest, word;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0 || status.st_size <= from)
                return STR_EMPTY;
        ssize_t length = pread(fd, text, LOG_TAIL, MAX(from, status.st_size - LOG_TAIL));
        if (length <= 0)
                return STR_EMPTY;
        line = (struct str){ text, (size_t)length };
        while (str_ends_with(line, STR("\n")))
                line.length--;
        for (size_t i = line.length; i > 0; i--) {
                if (line.data[i - 1] == '\n') {
                        line = str_slice(line, i, line.length);
                        break;
                }
        }
        /* "2026-11-20T10:00:00.000000Z error control: the message" or "cay control: the message" */
        for (size_t words = 0; words < 3; words++) {
                if (!str_cut(words == 0 ? line : rest, ' ', &word, &rest))
                        break;
                if (str_ends_with(word, STR(":")))
                        return rest;
        }
        return line;
}

/* The sentence and what to do about it. */
static int add_cure(struct error *error, int r, const char *cure)
{
        const struct error before = *error;

        return error_set(error, r, "%s: %s", before.message, cure);
}

static bool is_full(const char *folder)
{
        struct statvfs room;

        return statvfs(folder, &room) == 0 && room.f_bavail * room.f_frsize < ROOM_LEAST;
}

/* Ends a start that came to nothing and says why. */
static int give_up(struct up *up, pid_t supervisor, int r, size_t failing, struct error *error)
{
        char text[LOG_TAIL];

        kill(supervisor, SIGTERM);
        waitpid(supervisor, NULL, 0);
        const struct machine_need *lacking = machine_lacks(false);
        if (r != -ECHILD && r != -ETIME)
                return error_set(error, r, "the supervisor ended: see %s/log", up->instance.data);
        const struct role *role = &up->table.roles[failing];
        struct str words = STR("what it wrote stands above");
        if (role->log)
                words = last_words(role->log, up->log_sizes[failing], text);
        char late[64] = "does not start";
        if (r == -ETIME)
                snprintf(late, sizeof(late), "does not serve after %.3g s",
                         (double)up->timeout_ns / (double)NS_PER_SECOND);
        error_set(error, r, "%s %s: %.*s%s%s%s", role->name, late,
                  STR_FORMAT(words.length > 0 ? words : STR("it says nothing")),
                  role->log ? " (more in " : "", role->log ? role->log : "", role->log ? ")" : "");
        if (is_full(up->instance.data))
                return add_cure(error, r, MAKE_ROOM);
        return lacking ? add_cure(error, r, lacking->cure) : r;
}

static void note_log_sizes(struct up *up)
{
        struct stat status;

        for (size_t i = 0; i < up->table.count; i++)
                if (up->table.roles[i].log && stat(up->table.roles[i].log, &status) == 0)
                        up->log_sizes[i] = status.st_size;
}

static volatile sig_atomic_t stop_signal;

static void note_signal(int signal)
{
        stop_signal = signal;
}

/* Stays before the terminal until the supervisor has ended, passing signals on. */
static int stay(pid_t supervisor)
{
        const struct sigaction action = { .sa_handler = note_signal };
        int status = 0;

        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        while (waitpid(supervisor, &status, 0) < 0) {
                if (errno != EINTR)
                        return -errno;
                if (stop_signal)
                        kill(supervisor, SIGTERM);
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void print_welcome(const struct up *up, uint64_t took_ns)
{
        const char *option = up->data ? " --data " : "", *data = up->data ? up->data : "";

        printf("cay is up (%.0f ms): API https://%s, router http://%s\n",
               (double)took_ns / (double)NS_PER_MS, up->addresses.api, up->addresses.router);
        printf("  export KUBECONFIG=%s\n", up->instance.kubeconfig);
        if (up->detach)
                printf("  cay status%s%s, cay down%s%s; logs in %s/log\n", option, data, option,
                       data, up->instance.data);
        fflush(stdout);
}

/*
 * Pods reach the API at this machine's address in their network, where it has the same port. An API
 * that listens everywhere listens there too.
 */
static int open_pods_socket(struct up *up, struct error *error)
{
        const char *port = strrchr(up->addresses.api, ':') + 1;
        char where[ADDRESS_SIZE], unused[ADDRESS_SIZE];
        uint32_t network, prefix;

        up->settings.pods_port = port;
        up->settings.pods_socket = -1;
        int r = role_pod_network(up->settings.pod_cidr, &network, &prefix, error);
        if (r < 0)
                return r;
        struct in_addr host = { .s_addr = htonl(network + 1) };
        inet_ntop(AF_INET, &host, up->pods_host, sizeof(up->pods_host));
        if (str_starts_with(str_from(up->addresses.api), STR("0.0.0.0:")) ||
            str_starts_with(str_from(up->addresses.api), STR("[::]:")))
                return 0;
        snprintf(where, sizeof(where), "%s:%s", up->pods_host, port);
        up->settings.pods_socket = listen_at(where, "listen", true, unused, error);
        return MIN(up->settings.pods_socket, 0);
}

static int open_sockets(struct up *up, struct error *error)
{
        up->settings.api_socket =
                listen_at(up->api_listen, "listen", false, up->addresses.api, error);
        if (up->settings.api_socket < 0)
                return up->settings.api_socket;
        up->settings.router_socket =
                listen_at(up->router_listen, "router-listen", false, up->addresses.router, error);
        return up->settings.router_socket < 0 ? up->settings.router_socket
                                              : open_pods_socket(up, error);
}

/* The wires between launcher and node and from the roles to the front, and what the roles are. */
static int make_roles(struct up *up, struct error *error)
{
        int launcher[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, launcher) < 0 ||
            pipe2(up->ready, O_CLOEXEC) < 0)
                return error_set(error, -errno, "cannot make a socket pair and a pipe: %s",
                                 strerror(errno));
        up->settings.launcher_socket = launcher[0];
        up->settings.node_socket = launcher[1];
        up->settings.ready = up->ready[1];
        up->settings.log_to_files = up->detach;
        up->settings.api_address = up->addresses.api;
        up->settings.router_address = up->addresses.router;
        return role_table_init(&up->table, &up->instance, &up->settings, error);
}

/* Keeps the map of image names where the node, which is not root, can read it at every start. */
static int take_images(struct up *up, struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};
        struct images images = {};
        char path[PATH_MAX];

        if (!up->images)
                return 0;
        int r = file_read(AT_FDCWD, up->images, IMAGE_MAP_LIMIT, &text);
        if (r < 0)
                return error_set(error, r, "cannot read %s: %s", up->images, strerror(-r));
        r = images_read_map(&images, buffer_str(&text), error);
        images_deinit(&images);
        if (r < 0)
                return r;
        if ((size_t)snprintf(path, sizeof(path), "%s/images", up->instance.data) >= sizeof(path))
                return error_set(error, -ENAMETOOLONG, "the data folder's path is too long");
        r = file_write_atomic(AT_FDCWD, path, buffer_str(&text), 0644);
        return r < 0 ? error_set(error, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int prepare(struct up *up, struct error *error)
{
        struct str names[OPTION_STRINGS_MAX + 1];
        size_t name_count = 0;
        int r;

        const struct machine_need *lacking = machine_lacks(true);
        if (lacking)
                return error_set(error, -EPERM, "needs %s: %s", lacking->name, lacking->cure);
        r = instance_open(up->data, true, error, &up->instance);
        if (r < 0)
                return r;
        up->lock = instance_lock(&up->instance, error);
        if (up->lock < 0)
                return up->lock;
        r = take_images(up, error);
        if (r == 0)
                r = open_sockets(up, error);
        if (r == 0)
                r = make_roles(up, error);
        if (r < 0)
                return r;
        names[name_count++] = str_from(up->pods_host);
        for (size_t i = 0; i < up->names.count; i++)
                names[name_count++] = str_from(up->names.items[i]);
        r = bootstrap(&up->instance, str_from(up->addresses.api), names, name_count,
                      up->settings.node_name, error);
        if (r == 0)
                r = instance_make_run(&up->instance, error);
        if (r < 0)
                return r;
        r = instance_write_addresses(&up->instance, &up->addresses);
        return r < 0 ? error_set(error, r, "cannot write to %s: %s", up->instance.run, strerror(-r))
                     : 0;
}

/*
 * The Node is called as the host, in lower case, as kubelets do it. Linux lets a host's name have
 * letters that a Node's may not.
 */
static void name_node(char name[static NODE_NAME_MOST + 1])
{
        char host[HOST_NAME_MAX + 1] = "";
        size_t length = 0;

        gethostname(host, sizeof(host) - 1);
        for (size_t i = 0; host[i] && length < NODE_NAME_MOST; i++) {
                char c = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
                bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                bool goes_on = length > 0 && name[length - 1] != '-' && name[length - 1] != '.';
                if (is_plain || goes_on)
                        name[length++] = is_plain || c == '.' ? c : '-';
        }
        while (length > 0 && (name[length - 1] == '-' || name[length - 1] == '.'))
                length--;
        name[length] = '\0';
        if (length == 0)
                snprintf(name, NODE_NAME_MOST + 1, "localhost");
}

static int check_overcommit(const char *option, int64_t times, struct error *error)
{
        if (times >= 1 && times <= NODE_OVERCOMMIT_MOST)
                return 0;
        return error_set(error, -EINVAL, "--%s takes a number from 1 to %d, not %lld", option,
                         NODE_OVERCOMMIT_MOST, (long long)times);
}

/* What would fail later is refused before anything is made. */
static int check_settings(const struct up *up, struct error *error)
{
        struct sockaddr_storage address;
        uint32_t network, prefix;
        socklen_t size;

        int r = parse_listen(up->api_listen, "listen", error, &address, &size);
        if (r == 0)
                r = parse_listen(up->router_listen, "router-listen", error, &address, &size);
        if (r == 0)
                r = role_pod_network(up->settings.pod_cidr, &network, &prefix, error);
        if (r == 0)
                r = check_overcommit("overcommit-cpu", up->settings.overcommit_cpu, error);
        if (r == 0)
                r = check_overcommit("overcommit-memory", up->settings.overcommit_memory, error);
        if (r == 0 && up->timeout_ns == 0)
                r = error_set(error, -EINVAL, "--timeout takes a duration above 0, such as 90s");
        if (r < 0)
                return r;
        const char *wrong = name_check_dns_subdomain(str_from(up->settings.node_name));

        if (!wrong && strlen(up->settings.node_name) > NODE_NAME_MOST)
                wrong = "must be no more than 63 characters";
        if (wrong)
                return error_set(error, -EINVAL, "--node-name: '%s': %s", up->settings.node_name,
                                 wrong);
        for (size_t i = 0; i < up->names.count; i++)
                if (!certificate_takes_name(str_from(up->names.items[i])))
                        return error_set(error, -EINVAL,
                                         "--tls-name takes a DNS name or an IP address, not '%s'",
                                         up->names.items[i]);
        return 0;
}

int command_up(int argc, char **argv, struct error *error)
{
        char host[NODE_NAME_MOST + 1];
        struct up up = {
                .api_listen = "127.0.0.1:6443",
                .router_listen = "127.0.0.1:8080",
                .timeout_ns = READY_TIMEOUT_SECONDS * NS_PER_SECOND,
                .settings = { .pod_cidr = "10.88.0.0/16",
                              .node_name = host,
                              .controllers = "in-process",
                              .overcommit_cpu = NODE_OVERCOMMIT_CPU,
                              .overcommit_memory = NODE_OVERCOMMIT_MEMORY },
        };
        const struct option_spec specs[] = {
                OPTION_FLAG("detach", 'd', &up.detach,
                            "go to the background when everything serves"),
                OPTION_STRING("data", 0, &up.data, "FOLDER",
                              "where to keep everything ($CAY_DATA)"),
                OPTION_STRING("listen", 0, &up.api_listen, "ADDRESS:PORT",
                              "Kubernetes API (127.0.0.1:6443; port 0: any)"),
                OPTION_STRING("router-listen", 0, &up.router_listen, "ADDRESS:PORT",
                              "router to sandboxes (127.0.0.1:8080; port 0: any)"),
                OPTION_STRINGS("tls-name", 0, &up.names, "NAME",
                               "another name or address of the API, for its certificate"),
                OPTION_STRING("pod-cidr", 0, &up.settings.pod_cidr, "CIDR",
                              "addresses of sandboxes (10.88.0.0/16)"),
                OPTION_STRING("controllers", 0, &up.settings.controllers, "HOW",
                              "they reach the API: in-process, or wire as on a cluster"),
                OPTION_STRING("node-name", 0, &up.settings.node_name, "NAME",
                              "name of the Node (this host's, in lower case)"),
                OPTION_STRING(
                        "images", 0, &up.images, "FILE",
                        "other names of built-in images, from now on: lines \"NAME BUILT-IN\""),
                OPTION_NUMBER("overcommit-cpu", 0, &up.settings.overcommit_cpu, "N",
                              "cpus that the Node offers, times real: 1 to 1000 (500)"),
                OPTION_NUMBER("overcommit-memory", 0, &up.settings.overcommit_memory, "N",
                              "memory that the Node offers, times real: 1 to 1000 (16)"),
                OPTION_DURATION("timeout", 0, &up.timeout_ns,
                                "give up if not everything serves by then (60s)"),
                OPTION_END,
        };
        uint64_t began = clock_monotonic_ns();
        size_t failing = 0;
        int r;

        name_node(host);
        if (command_help(command_find("up"), specs, argc, argv))
                return 0;
        r = options_parse_alone(specs, argc, argv, error);
        if (r < 0)
                return r;
        r = check_settings(&up, error);
        if (r < 0)
                return r;
        up.lock = -1;
        r = prepare(&up, error);
        if (r < 0 && up.lock >= 0)
                instance_remove_unused_run(&up.instance);
        if (r == -ENOSPC || r == -EDQUOT)
                return add_cure(error, r, MAKE_ROOM);
        if (r < 0)
                return r;
        note_log_sizes(&up);

        pid_t supervisor = fork();
        if (supervisor < 0)
                return error_set(error, -errno, "cannot fork: %s", strerror(errno));
        if (supervisor == 0) {
                log_configure("supervisor", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
                r = supervise(&up, error);
                if (r < 0)
                        log_error("%s", error->message);
                _exit(r < 0 ? 1 : 0);
        }
        close(up.ready[1]);
        r = wait_ready(&up, up.ready[0], &failing);
        close(up.ready[0]);
        if (r < 0)
                return give_up(&up, supervisor, r, failing, error);
        print_welcome(&up, clock_monotonic_ns() - began);
        return up.detach ? 0 : stay(supervisor);
}
