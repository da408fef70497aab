# SPDX-License-Identifier: Apache-2.0
"""What an instance that was stopped has left on the machine: nothing, if all is well."""

import ipaddress
import os
import subprocess


def instance_id(data):
    """The id that interfaces, cgroups and the run folder carry: FNV-1a of the data folder's path."""
    value = 2166136261
    for byte in os.path.realpath(data).encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return f"{value:08x}"


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def processes(identity, data):
    """Living processes in the instance's cgroups or started with its paths."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid() or ") Z " in read(f"/proc/{pid}/stat"):
            continue
        told = read(f"/proc/{pid}/cgroup") + read(f"/proc/{pid}/cmdline")
        if f"cay-{identity}" in told or data in told:
            found.append(f"process {pid} {read(f'/proc/{pid}/comm').strip()}")
    return found


def remembered(pod_cidr):
    """What the kernel remembers of TCP connections with Pods of this network."""
    network = ipaddress.ip_network(pod_cidr)
    shown = subprocess.run(["ip", "-4", "tcp_metrics", "show"], capture_output=True, text=True,
                           check=True).stdout
    return [f"TCP metrics: {line}" for line in shown.splitlines()
            if ipaddress.ip_address(line.split()[0]) in network]


def of(data):
    """Sentences that name what is left of the instance with this data folder."""
    identity = instance_id(data)
    name = f"cay-{identity}"
    found = processes(identity, data)
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    found += [f"interface: {line}" for line in links.splitlines() if name in line]
    found += [f"mount: {line}" for line in read("/proc/self/mountinfo").splitlines()
              if name in line or data in line]
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup: {os.path.join(folder, entry)}" for entry in names if name in entry]
    if os.path.exists(f"/run/{name}"):
        found.append(f"folder: /run/{name}")
    return found
