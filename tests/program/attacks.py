# SPDX-License-Identifier: Apache-2.0
"""What code in a sandbox might try; isolation_test.py has a sandbox run it, as standard input.

Each function raises OSError when it is refused, and returns what it got when it is not. The last
lines print {name: answer}, where answer begins with "refused" or "got".
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys

TARGETS = json.loads(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)


def syscall(number, *arguments):
    """A system call as a program without libc's help makes it (x86-64 numbers)."""
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def some(found, number=errno.ENOENT, text="none"):
    """What was found; nothing is a refusal."""
    if not found:
        raise OSError(number, text)
    return found


def contents(path):
    """What a file says; masked files are empty."""
    with open(path, "rb") as file:
        data = file.read(64)
    some(data.strip(b"\0"), errno.ENODATA, "empty")
    return data


def entries(path):
    return some(os.listdir(path), errno.ENODATA, "empty")


def write(path, data):
    with open(path, "w", encoding="ascii") as file:
        file.write(data)
    return f"wrote {path}"


def connect(host, port, timeout=0.5):
    with socket.create_connection((host, port), timeout):
        return f"reached {host}:{port}"


def connect_to_any(hosts):
    """Tries the host's ports, the API's and the like, at these addresses."""
    reached = []
    for port in TARGETS["host_ports"]:
        for host in hosts:
            try:
                reached.append(connect(host, port))
            except OSError:
                pass
    return some(reached, errno.ECONNREFUSED)


# ---- the host's kernel, through /proc and /sys ----

def attack_kernel_memory():
    return contents("/proc/kcore")


def attack_kernel_keys():
    return contents("/proc/keys")


def attack_kernel_timers():
    return contents("/proc/timer_list")


def attack_kernel_log():
    return contents("/proc/kmsg")


def attack_kernel_log_by_syslog():
    return syscall(103, 3, ctypes.create_string_buffer(4096), 4096)


def attack_kernel_addresses():
    with open("/proc/kallsyms", encoding="ascii") as file:
        address = file.readline().split()[0]
    if int(address, 16) == 0:
        raise OSError(errno.EPERM, "zeroes")
    return address


def attack_sysrq():
    return write("/proc/sysrq-trigger", "s")


def attack_core_pattern():
    return write("/proc/sys/kernel/core_pattern", "|/tmp/x")


def attack_modprobe_path():
    return write("/proc/sys/kernel/modprobe", "/tmp/x")


def attack_address_space_layout():
    return write("/proc/sys/kernel/randomize_va_space", "0")


def attack_ip_forward():
    return write("/proc/sys/net/ipv4/ip_forward", "1")


def attack_uevent_helper():
    return write("/sys/kernel/uevent_helper", "/tmp/x")


def attack_cgroup_release_agent():
    found = []
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(folder, name) for name in files if name == "release_agent"]
    return write(some(found, text="no cgroup is mounted")[0], "/tmp/x")


def attack_firmware():
    return entries("/sys/firmware")


def attack_debugfs():
    return entries("/sys/kernel/debug")


def attack_proc_remount():
    return syscall(165, b"proc", b"/proc", b"proc", 32, None)


def attack_new_proc():
    os.makedirs("/tmp/p", exist_ok=True)
    return syscall(165, b"proc", b"/tmp/p", b"proc", 0, None)


# ---- devices and privilege ----

def attack_device_node():
    return os.mknod("/tmp/memory", 0o600 | 0o020000, os.makedev(1, 1))


def attack_block_device():
    return os.mknod("/tmp/disk", 0o600 | 0o060000, os.makedev(8, 0))


def attack_devices_of_the_host():
    expected = set(TARGETS["devices"])
    more = sorted(set(os.listdir("/dev")) - expected)
    return some(more)


def attack_setuid_program():
    if os.getuid() == 0:
        os.chmod("/tmp", 0o1777)
        with open("/usr/bin/id", "rb") as program, open("/tmp/id", "wb") as copy:
            copy.write(program.read())
        os.chmod("/tmp/id", 0o4755)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setgid(1000)
            os.setuid(1000)
        os.dup2(writer, 1)
        os.execv("/tmp/id", ["id", "-u"])
    os.close(writer)
    told = os.read(reader, 32)
    os.waitpid(child, 0)
    if told.strip() != b"0":
        raise OSError(errno.EPERM, told.decode())
    return told


def attack_become_root():
    if os.getuid() == 0:
        os.setuid(1000)  # in this child only: see main()
    return os.setuid(0)


def attack_user_namespace():
    return syscall(272, 0x10000000)


def attack_mount():
    return syscall(165, b"none", b"/mnt", b"tmpfs", 0, None)


def attack_kernel_module():
    return syscall(313, -1, b"", 0)


def attack_bpf():
    return syscall(321, 0, None, 0)


def attack_raw_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def attack_packet_socket():
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)


def attack_take_an_address():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((TARGETS["neighbour"], 9999))
    return "bound to the neighbour's address"


def attack_network_settings():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        # RTM_NEWADDR of 10.0.0.1/8 to interface 2
        body = struct.pack("BBBBI", 2, 8, 0, 0, 2) + struct.pack("HH4s", 8, 2, b"\x0a\0\0\1")
        netlink.send(struct.pack("IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        answer = netlink.recv(4096)
        error = struct.unpack("i", answer[16:20])[0]
        if error:
            raise OSError(-error, os.strerror(-error))
    return "set an address"


# ---- other processes ----

def attack_init_by_signal():
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
        os.kill(1, number)
    with open("/proc/1/status", encoding="ascii") as file:
        state = [line for line in file if line.startswith("State:")][0]
    if "T" not in state.split()[1] and "Z" not in state.split()[1]:
        raise OSError(errno.EPERM, "init lives")
    return state


def attack_init_by_ptrace():
    return syscall(101, 16, 1, None, None)


def attack_init_memory():
    return contents("/proc/1/mem")


def attack_init_descriptors():
    return os.readlink("/proc/1/fd/3")


def attack_processes_of_others():
    known = ("init", "sandboxd", "socket-activate", "sh", "python3", "sleep")
    others = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                name = file.read().strip()
        except FileNotFoundError:
            continue
        if not name.startswith(known):
            others.append(name)
    return some(others, errno.ESRCH)


def attack_ptrace_of_the_neighbour():
    """Its pid on the host, which means nothing or somebody of ours in here."""
    if TARGETS["neighbour_pid"] in map(int, filter(str.isdigit, os.listdir("/proc"))):
        raise OSError(errno.ESRCH, "the number is one of ours")
    return syscall(101, 16, TARGETS["neighbour_pid"], None, None)


def attack_memory_of_the_neighbour():
    return syscall(310, TARGETS["neighbour_pid"], None, 0, None, 0, 0)


# ---- files ----

def attack_private_files():
    keys = os.path.expanduser("~root/.ssh")
    found = [path for path in ("/etc/shadow", "/etc/ssh", keys, "/etc/ssl/private",
                               "/var/run/docker.sock", "/var/lib/cay", TARGETS["data"])
             if os.path.exists(path)]
    return some(found)


def attack_sockets_in_the_file_system():
    found = []
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "usr")]
        for name in files:
            try:
                if os.stat(os.path.join(folder, name)).st_mode & 0o170000 == 0o140000:
                    found.append(os.path.join(folder, name))
            except OSError:
                pass
    return some(found)


def attack_abstract_sockets():
    with open("/proc/net/unix", encoding="ascii") as file:
        names = [line.split()[-1] for line in file if "@" in line]
    return some(names)


def attack_programs_of_the_host():
    return write("/usr/bin/planted", "x")


def attack_parent_folders():
    os.chdir("/")
    os.chdir("../../../../..")
    if os.stat(".").st_ino == os.stat("/").st_ino:
        raise OSError(errno.EPERM, "it is the root")
    return os.listdir(".")


def attack_chroot():
    os.makedirs("/tmp/c", exist_ok=True)
    return os.chroot("/tmp/c")


def attack_file_handles():
    return syscall(304, -100, None, 0)


# ---- the network ----

def attack_loopback_of_the_host():
    reached = []
    for port in TARGETS["host_ports"]:
        for host in ("127.0.0.1", "localhost", "::1"):
            try:
                reached.append(connect(host, port))
            except OSError:
                pass
    if not reached:
        raise OSError(errno.ECONNREFUSED, "none")
    return reached


def attack_address_of_the_host():
    return connect_to_any(TARGETS["host_addresses"])


def attack_cloud_metadata():
    return connect("169.254.169.254", 80)


def attack_neighbour():
    return connect(TARGETS["neighbour"], 8888)


def attack_neighbour_by_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        asking.sendto(b"anybody", (TARGETS["neighbour"], 9998))
        return asking.recv(64)


def attack_internet():
    return connect("1.1.1.1", 53)


def attack_neighbour_over_ipv6():
    with open("/proc/net/if_inet6", encoding="ascii") as file:
        links = [line.split()[-1] for line in file if not line.strip().endswith("lo")]
    return connect(f"ff02::1%{some(links, errno.EADDRNOTAVAIL, 'no IPv6')[0]}", 8888)


def in_child(attack):
    """Its answer; in a process of its own, so that what one does to itself is not the next's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = f"got {attack()!r}"
        except OSError as error:
            answer = f"refused: {error}"
        except Exception as error:  # pylint: disable=broad-exception-caught
            answer = f"failed: {error!r}"
        os.write(writer, answer.encode()[:4096])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return answer or "failed: it ended without an answer"


def main():
    attacks = {name[len("attack_"):]: attack for name, attack in globals().items()
               if name.startswith("attack_")}
    wanted = TARGETS.get("only") or attacks
    print(json.dumps({name: in_child(attacks[name]) for name in wanted}))


main()
