// SPDX-License-Identifier: Apache-2.0
#include "runtime/fabric.h"

#include <arpa/inet.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/namespace.h"

static const uint8_t host_mac[NETLINK_MAC] = { 0x02, 0xca, 0x79, 0xff, 0xff, 0x01 };
static const uint8_t fabric_mac[NETLINK_MAC] = { 0x02, 0xca, 0x79, 0xff, 0xff, 0x02 };

enum {
        LOOPBACK_INDEX = 1,
        HOST_WIRE_INDEX = 2,
        DNS_PORT = 53,
        BATCH_MAX = 2 * 1024 * 1024,
        QUERIES_A_SECOND = 1000, /* of one Pod; more are dropped before the node sees them */
        QUERIES_AT_ONCE = 200,
};

static void slot_mac(uint32_t slot, bool is_pod, uint8_t mac[static NETLINK_MAC])
{
        mac[0] = 0x02;
        mac[1] = 0xca;
        mac[2] = 0x79;
        mac[3] = (uint8_t)(slot >> 8);
        mac[4] = (uint8_t)slot;
        mac[5] = is_pod ? 2 : 1;
}

/* The child that makes the fabric's namespaces, as the node's user with root's capabilities: whose
 * effective user makes a user namespace owns it, and a host may forbid that to users without. */
static int own_and_wait(const struct launcher_config *config, int report, int go)
{
        int result = 0;
        char byte;

        if (prctl(PR_SET_KEEPCAPS, 1) < 0 ||
            setresgid(config->node_group, config->node_group, config->node_group) < 0 ||
            setresuid(config->node_user, config->node_user, config->node_user) < 0)
                result = -errno;
        if (result == 0 && (capng_get_caps_process() < 0 ||
                            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, CAP_SYS_ADMIN) < 0 ||
                            capng_apply(CAPNG_SELECT_CAPS) < 0))
                result = -EPERM;
        if (result == 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
                result = -errno;
        if (fd_write_full(report, &result, sizeof(result)) < 0)
                return 1;
        /* Until the parent has pinned them. */
        while (read(go, &byte, 1) < 0 && errno == EINTR)
                ;
        return 0;
}

/* Makes the two namespaces and pins the network one by a mount. */
static int make_namespaces(const char *pin, const struct launcher_config *config)
{
        const struct id_range user = { 0, config->node_user, 1 };
        const struct id_range group = { 0, config->node_group, 1 };
        int report[2], go[2], result = -EPIPE;
        char path[64];
        size_t length;

        if (pipe2(report, O_CLOEXEC) < 0)
                return -errno;
        if (pipe2(go, O_CLOEXEC) < 0) {
                int r = -errno;
                fd_close(report[0]);
                fd_close(report[1]);
                return r;
        }
        pid_t pid = fork();
        int r = pid < 0 ? -errno : 0;
        if (pid == 0) {
                close(report[0]);
                close(go[1]);
                _exit(own_and_wait(config, report[1], go[0]));
        }
        close(report[1]);
        close(go[0]);
        if (r == 0)
                r = fd_read_full(report[0], &result, sizeof(result), &length);
        if (r == 0)
                r = result;
        if (r == 0)
                r = namespace_map_ids(pid, &user, 1, &group, 1);
        snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
        if (r == 0 && mount(path, pin, NULL, MS_BIND, NULL) < 0)
                r = -errno;
        close(go[1]);
        close(report[0]);
        if (pid > 0)
                waitpid(pid, NULL, 0);
        return r;
}

static int write_rules(const struct fabric *fabric, FILE *nft)
{
        char host[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
        struct in_addr address = { htonl(fabric->host_address) };

        inet_ntop(AF_INET, &address, host, sizeof(host));
        address.s_addr = htonl(LAUNCHER_GATEWAY);
        inet_ntop(AF_INET, &address, gateway, sizeof(gateway));
        fprintf(nft,
                "table inet cay {\n"
                "  set allow {\n"
                "    type ipv4_addr . ipv4_addr . inet_proto . inet_service\n"
                "    flags interval\n"
                "  }\n"
                "  set askers {\n"
                "    type ipv4_addr\n"
                "    size 8192\n"
                "    flags dynamic,timeout\n"
                "    timeout 10s\n"
                "  }\n"
                "  chain forward {\n"
                "    type filter hook forward priority 0; policy drop;\n"
                /* Back to where it came from: no Pod has the address, or none any more. */
                "    iifname \"host0\" oifname \"host0\" meta l4proto tcp reject with tcp reset\n"
                "    iifname \"host0\" oifname \"host0\" reject with icmpx no-route\n"
                "    ct state vmap { established : accept, related : accept, invalid : drop }\n"
                "    iifname \"host0\" ip saddr %s accept\n"
                "    ip saddr . ip daddr . meta l4proto . th dport @allow accept\n"
                "    iifname \"host0\" drop\n"
                "    meta l4proto tcp reject with tcp reset\n"
                "    reject with icmpx admin-prohibited\n"
                "  }\n"
                "  chain input {\n"
                "    type filter hook input priority 0; policy drop;\n"
                "    ip daddr %s udp dport 53 update @askers { ip saddr limit rate over %d/second "
                "burst %d packets } drop\n"
                "    ct state established accept\n"
                "    iifname \"lo\" accept\n"
                "    ip daddr %s meta l4proto { tcp, udp } th dport 53 accept\n"
                "    iifname \"host0\" drop\n"
                "    meta l4proto tcp reject with tcp reset\n"
                "    reject with icmpx admin-prohibited\n"
                "  }\n"
                "}\n",
                host, gateway, QUERIES_A_SECOND, QUERIES_AT_ONCE, gateway);
        return fflush(nft) == 0 && !ferror(nft) ? 0 : -EIO;
}

/* Runs the nft program with the present network namespace and the rules as its input. */
static int load_rules(const struct fabric *fabric, struct error *error)
{
        static const char *const programs[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft" };
        char *const no_environment[] = { NULL };
        int ends[2], status;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid < 0) {
                int r = -errno;
                fd_close(ends[0]);
                fd_close(ends[1]);
                return r;
        }
        if (pid == 0) {
                dup2(ends[0], STDIN_FILENO);
                for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
                        char *const argv[] = { (char *)(uintptr_t)programs[i], "-f", "-", NULL };
                        execve(argv[0], argv, no_environment);
                }
                _exit(127);
        }
        close(ends[0]);
        FILE *nft = fdopen(ends[1], "w");
        int r = nft ? write_rules(fabric, nft) : -errno;
        if (nft)
                fclose(nft);
        else
                close(ends[1]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                return error_set(error, -ENOENT,
                                 "the nft program is missing: install the package nftables");
        if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(error, -EIO,
                                 "nft refused the rules of the Pod network: the kernel needs "
                                 "nf_tables with sets and connection tracking");
        return 0;
}

/* Inside the fabric: its side of the wire to the host, forwarding, rules. */
static int set_up_inside(struct fabric *fabric, const struct launcher_config *config,
                         struct error *error)
{
        static const struct {
                const char *name, *value;
                bool is_optional;
        } settings[] = {
                { "net/ipv6/conf/all/disable_ipv6", "1", true },
                { "net/ipv6/conf/default/disable_ipv6", "1", true },
                { "net/ipv4/ip_forward", "1", false },
                /* A packet's source must be the address that is routed to its wire. */
                { "net/ipv4/conf/all/rp_filter", "1", false },
                { "net/ipv4/conf/default/rp_filter", "1", false },
                { "net/ipv4/conf/all/accept_redirects", "0", false },
                { "net/ipv4/conf/all/send_redirects", "0", false },
                { "net/ipv4/conf/default/send_redirects", "0", false },
                /* Who is refused is told so each time, not once a second. */
                { "net/ipv4/icmp_ratelimit", "0", true },
        };
        struct netlink_batch batch;
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++) {
                r = namespace_sysctl(-1, settings[i].name, settings[i].value);
                if (settings[i].is_optional)
                        r = 0;
        }
        if (r == 0)
                r = load_rules(fabric, error);
        if (r < 0)
                return r;

        struct netlink_end here = { .name = "host0", .index = HOST_WIRE_INDEX, .netns = -1 };
        struct netlink_end there = { .name = config->interface, .netns = fabric->home };
        memcpy(here.mac, fabric_mac, NETLINK_MAC);
        memcpy(there.mac, host_mac, NETLINK_MAC);
        netlink_batch_init(&batch);
        netlink_veth_add(&batch, &here, &there);
        netlink_link_up(&batch, LOOPBACK_INDEX);
        netlink_link_up(&batch, HOST_WIRE_INDEX);
        netlink_address_add(&batch, LOOPBACK_INDEX, LAUNCHER_GATEWAY);
        netlink_neighbour_add(&batch, HOST_WIRE_INDEX, fabric->host_address, host_mac);
        netlink_route_add(&batch, HOST_WIRE_INDEX, fabric->host_address, 32, 0, LAUNCHER_GATEWAY);
        netlink_route_add(&batch, HOST_WIRE_INDEX, 0, 0, fabric->host_address, 0);
        return netlink_commit(fabric->netlink, &batch);
}

static int set_up_host(struct fabric *fabric, const struct launcher_config *config)
{
        struct netlink_batch batch;
        _cleanup_close_ int netlink = -1;
        char setting[64];
        uint32_t mask = ~UINT32_C(0) << (32 - config->pod_prefix);
        uint32_t index = if_nametoindex(config->interface);

        if (index == 0)
                return -errno;
        snprintf(setting, sizeof(setting), "net/ipv6/conf/%s/disable_ipv6", config->interface);
        namespace_sysctl(-1, setting, "1");
        int r = netlink_open(&netlink);
        if (r < 0)
                return r;
        netlink_batch_init(&batch);
        netlink_link_up(&batch, index);
        netlink_address_add(&batch, index, fabric->host_address);
        netlink_neighbour_add(&batch, index, LAUNCHER_GATEWAY, fabric_mac);
        netlink_route_add(&batch, index, config->pod_network & mask, config->pod_prefix,
                          LAUNCHER_GATEWAY, fabric->host_address);
        return netlink_commit(netlink, &batch);
}

static bool is_pinned(const char *pin)
{
        struct statfs info;

        return statfs(pin, &info) == 0 && info.f_type == NSFS_MAGIC;
}

static int make(struct fabric *fabric, const char *pin, const struct launcher_config *config,
                struct error *error)
{
        _cleanup_close_ int file = open(pin, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

        if (file < 0)
                return -errno;
        int r = make_namespaces(pin, config);
        if (r < 0)
                return error_set(error, r, "making the Pod network's namespace: %s", strerror(-r));
        fabric->netns = open(pin, O_RDONLY | O_CLOEXEC);
        if (fabric->netns < 0)
                return -errno;
        r = namespace_enter_net(fabric->netns);
        if (r < 0)
                return r;
        r = netlink_open(&fabric->netlink);
        if (r == 0)
                r = set_up_inside(fabric, config, error);
        namespace_return_net(fabric->home);
        if (r == -EEXIST)
                return error_set(error, r,
                                 "the interface %s exists: another cay has the same, or one was "
                                 "not cleaned up (cay down)",
                                 config->interface);
        return r < 0 ? r : set_up_host(fabric, config);
}

int fabric_open(struct fabric *fabric, const char *pin, const struct launcher_config *config,
                struct error *error)
{
        *fabric = (struct fabric){ .home = -1,
                                   .netns = -1,
                                   .netlink = -1,
                                   .proc = -1,
                                   .pod_network = config->pod_network,
                                   .pod_prefix = config->pod_prefix,
                                   .host_address = config->host_address };
        int r = namespace_open(getpid(), "net", &fabric->home);
        if (r == 0 && is_pinned(pin) && if_nametoindex(config->interface) > 0) {
                fabric->netns = open(pin, O_RDONLY | O_CLOEXEC);
                r = fabric->netns < 0 ? -errno : namespace_enter_net(fabric->netns);
                if (r == 0) {
                        r = netlink_open(&fabric->netlink);
                        namespace_return_net(fabric->home);
                }
        } else if (r == 0) {
                /* Half made by one that died. */
                fabric_remove(pin, config);
                r = make(fabric, pin, config, error);
                if (r < 0)
                        fabric_remove(pin, config);
        }
        if (r == 0)
                tcp_metrics_open(&fabric->host_metrics);
        if (r < 0) {
                fabric_close(fabric);
                return error && error->code ? r
                                            : error_set(error, r, "setting up the Pod network: %s",
                                                        strerror(-r));
        }
        return 0;
}

void fabric_close(struct fabric *fabric)
{
        fabric->home = fd_close(fabric->home);
        fabric->netns = fd_close(fabric->netns);
        fabric->netlink = fd_close(fabric->netlink);
        fabric->proc = fd_close(fabric->proc);
        tcp_metrics_close(&fabric->host_metrics);
}

/* The host's address on its wire to the fabric; 0 if there is none. */
static uint32_t find_host_address(const struct launcher_config *config)
{
        struct ifreq request = { .ifr_addr.sa_family = AF_INET };
        struct sockaddr_in address = {};
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", config->interface);
        if (fd >= 0 && ioctl(fd, SIOCGIFADDR, &request) == 0)
                memcpy(&address, &request.ifr_addr, sizeof(address));
        return ntohl(address.sin_addr.s_addr);
}

static void forget_all(uint32_t host_address)
{
        struct tcp_metrics metrics;

        if (!host_address || tcp_metrics_open(&metrics) < 0)
                return;
        int r = tcp_metrics_forget_all(&metrics, host_address);
        if (r < 0)
                log_debug("what TCP remembers of Pods stays: %s", strerror(-r));
        tcp_metrics_close(&metrics);
}

int fabric_remove(const char *pin, const struct launcher_config *config)
{
        struct netlink_batch batch;
        uint32_t host_address = find_host_address(config);
        _cleanup_close_ int netlink = -1;
        int r = netlink_open(&netlink);

        if (r < 0)
                return r;
        netlink_batch_init(&batch);
        netlink_link_delete(&batch, config->interface);
        r = netlink_commit(netlink, &batch);
        if (r == -ENODEV)
                r = 0;
        forget_all(host_address);
        while (is_pinned(pin)) {
                if (umount2(pin, MNT_DETACH) < 0)
                        return -errno;
        }
        if (unlink(pin) < 0 && errno != ENOENT && r == 0)
                r = -errno;
        return r;
}

/*
 * The kernel keeps the names of settings of every network namespace beside each other, and goes
 * through those of all when it looks one up for the first time: with thousands of Pods that takes
 * longer than all else. So a proc of our own is used, and a new one after some Pods.
 */
static void renew_proc(struct fabric *fabric)
{
        enum { PODS = 32 };

        if (fabric->proc >= 0 && fabric->proc_uses++ < PODS)
                return;
        fd_close(fabric->proc);
        fabric->proc_uses = 0;
        if (namespace_proc_new(&fabric->proc) < 0)
                fabric->proc = -1;
}

static int set_up_pod(struct fabric *fabric, uint32_t id_base)
{
        char range[64];
        int r;

        renew_proc(fabric);
        /* Before any link is up, so that no link-local address ever appears; that of "default" goes
         * with it. A kernel without IPv6 has no such file. */
        namespace_sysctl(fabric->proc, "net/ipv6/conf/all/disable_ipv6", "1");
        /* Without capabilities a container still serves port 80 and pings. */
        r = namespace_sysctl(fabric->proc, "net/ipv4/ip_unprivileged_port_start", "0");
        snprintf(range, sizeof(range), "%u %u", id_base, id_base + 65535);
        namespace_sysctl(fabric->proc, "net/ipv4/ping_group_range", range);
        return r;
}

int fabric_wire(struct fabric *fabric, int pod_netns, uint32_t slot, uint32_t id_base,
                int *ret_pod_netlink)
{
        /* This end is up from the beginning: to make it so later has the kernel look for the other
         * end's namespace among those of all Pods once more. */
        struct netlink_end here = { .index = FABRIC_INDEX_BASE + slot, .netns = -1, .is_up = true };
        struct netlink_end there = { .name = "eth0",
                                     .index = FABRIC_POD_INDEX,
                                     .netns = pod_netns };
        _cleanup_close_ int netlink = -1;
        struct netlink_batch batch;
        char name[IF_NAMESIZE];

        int r = namespace_enter_net(pod_netns);
        if (r < 0)
                return r;
        r = set_up_pod(fabric, id_base);
        if (r == 0)
                r = netlink_open(&netlink);
        namespace_return_net(fabric->home);
        if (r < 0)
                return r;

        snprintf(name, sizeof(name), "p%u", slot);
        here.name = name;
        slot_mac(slot, false, here.mac);
        slot_mac(slot, true, there.mac);
        netlink_batch_init(&batch);
        netlink_veth_add(&batch, &here, &there);
        r = netlink_commit(fabric->netlink, &batch);
        if (r < 0)
                return r;
        netlink_batch_init(&batch);
        netlink_link_up(&batch, LOOPBACK_INDEX);
        netlink_link_up(&batch, FABRIC_POD_INDEX);
        netlink_neighbour_add(&batch, FABRIC_POD_INDEX, LAUNCHER_GATEWAY, here.mac);
        r = netlink_commit(netlink, &batch);
        if (r == 0)
                *ret_pod_netlink = TAKE_FD(netlink);
        return r;
}

int fabric_give_address(struct fabric *fabric, int pod_netlink, uint32_t slot, uint32_t address)
{
        uint32_t mask = ~UINT32_C(0) << (32 - fabric->pod_prefix);
        uint32_t index = FABRIC_INDEX_BASE + slot;
        struct netlink_batch batch;
        uint8_t mac[NETLINK_MAC];

        if ((address & mask) != (fabric->pod_network & mask) || address == fabric->host_address)
                return -EINVAL;
        netlink_batch_init(&batch);
        netlink_address_add(&batch, FABRIC_POD_INDEX, address);
        netlink_route_add(&batch, FABRIC_POD_INDEX, 0, 0, LAUNCHER_GATEWAY, 0);
        int r = netlink_commit(pod_netlink, &batch);
        if (r < 0)
                return r;
        slot_mac(slot, true, mac);
        netlink_batch_init(&batch);
        netlink_neighbour_add(&batch, index, address, mac);
        netlink_route_add(&batch, index, address, 32, 0, 0);
        return netlink_commit(fabric->netlink, &batch);
}

int fabric_take_address(struct fabric *fabric, uint32_t slot, uint32_t address)
{
        struct netlink_batch batch;

        netlink_batch_init(&batch);
        netlink_route_delete(&batch, FABRIC_INDEX_BASE + slot, address, 32);
        int r = netlink_commit(fabric->netlink, &batch);
        return r == -ESRCH || r == -ENODEV ? 0 : r;
}

void fabric_forget_address(struct fabric *fabric, uint32_t address)
{
        if (!fabric->host_metrics.socket)
                return;
        int r = tcp_metrics_forget(&fabric->host_metrics, fabric->host_address, address);
        if (r < 0)
                log_debug("what TCP remembers of a Pod stays: %s", strerror(-r));
}

static int bind_dns(int type, int *ret_fd)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(DNS_PORT),
                                       .sin_addr.s_addr = htonl(LAUNCHER_GATEWAY) };
        int one = 1;
        _cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            (type == SOCK_STREAM && listen(fd, 128) < 0))
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int fabric_socket(struct fabric *fabric, enum native_socket kind, int *ret_fd)
{
        int r = namespace_enter_net(fabric->netns);

        if (r < 0)
                return r;
        switch (kind) {
        case NATIVE_SOCKET_DNS_UDP:
                r = bind_dns(SOCK_DGRAM, ret_fd);
                break;
        case NATIVE_SOCKET_DNS_TCP:
                r = bind_dns(SOCK_STREAM, ret_fd);
                break;
        case NATIVE_SOCKET_NETFILTER:
                *ret_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
                r = *ret_fd < 0 ? -errno : 0;
                /* A transaction is one message, beyond what the node may ask for. */
                if (r == 0)
                        setsockopt(*ret_fd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){ BATCH_MAX },
                                   sizeof(int));
                break;
        }
        namespace_return_net(fabric->home);
        return r;
}
