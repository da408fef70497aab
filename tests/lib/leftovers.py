# SPDX-License-Identifier: Apache-2.0
"""What a machine holds that an instance could leave behind: compare before and after."""

import os
import subprocess


def snapshot():
    """Sets of interfaces, mounts, cgroups and folders under /run that look like ours."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = {line.split()[4] for line in file}
    cgroups = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        cgroups.update(os.path.join(folder, name) for name in names)
    return {
        "interfaces": {line.split(": ")[1].split("@")[0] for line in links.splitlines()},
        "mounts": mounts,
        "cgroups": {path for path in cgroups if "cay" in path},
        "run folders": {name for name in os.listdir("/run") if name.startswith("cay-")},
        "processes": processes(),
    }


def processes():
    """Commands of living processes that are ours by name, with their ids."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as comm, \
                    open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                name, state = comm.read().strip(), stat.read().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in ("cay", "init", "sandboxd", "cay-init") and state != "Z":
            found.add(f"{name} {pid}")
    return found


def added(before, after):
    """What is there now and was not before, as sentences; empty when nothing is left."""
    return [f"{kind}: {', '.join(sorted(after[kind] - before[kind]))}"
            for kind in before if after[kind] - before[kind]]
