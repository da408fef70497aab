#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What sandboxes cannot do to the host, to each other and to the node; and what the node makes of
their misbehaviour. Real namespaces, cgroups and wires.

usage: KUBECONFIG=… CAY=… CAY_DATA=… isolation_test.py      (an instance: see on_instance.py)
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import leftovers, objects, tap  # noqa: E402
from lib.instance import Api, Instance, wait_for  # noqa: E402

KUBECTL = os.environ.get("KUBECTL", "kubectl")
DATA = os.environ["CAY_DATA"]
ATTACKS = pathlib.Path(__file__).with_name("attacks.py")
SANDBOXD_PORTS = {8080, 8888, 9090}
DEVICES = ["console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr",
           "stdin", "stdout", "termination-log", "tty", "urandom", "zero"]


def run(*command, stdin=None, timeout=60):
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False,
                          text=True)


def pod(name, script=None, container=None, **spec):
    """A Pod with one container, `main`: sandboxd, or the shell with a script."""
    main = {"name": "main", "image": "python-runtime-sandbox" if script is None else "busybox",
            "imagePullPolicy": "IfNotPresent", **(container or {})}
    if script is not None:
        main["command"] = ["sh", "-c", script]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [main], **spec}}


def create(api, body):
    return api.create(objects.path("pods"), body)


def get(api, name):
    return api.get(objects.path("pods", name=name))[1]


def until_ready(api, *names):
    for name in names:
        wait_for(lambda name=name: objects.condition(get(api, name)) == "True", what=f"{name} Ready")


def until_gone(api, *names, timeout=30):
    for name in names:
        wait_for(lambda name=name: api.get(objects.path("pods", name=name))[0] == 404, timeout,
                 f"the end of {name}")


def delete(api, *names, grace=None):
    for name in names:
        body = None if grace is None else {"gracePeriodSeconds": grace}
        api.request("DELETE", objects.path("pods", name=name), body)


def main_of(api, name):
    statuses = get(api, name).get("status", {}).get("containerStatuses", [{}])
    return statuses[0]


def terminated(api, name):
    return main_of(api, name).get("state", {}).get("terminated")


def events_of(api, name):
    _, found = api.get(objects.path("events") + f"?fieldSelector=involvedObject.name={name}")
    return [(item["reason"], item["message"]) for item in found["items"]]


def until_event(api, name, reason, words=""):
    return wait_for(lambda: [message for found, message in events_of(api, name)
                             if found == reason and words in message],
                    what=f"an event {reason} of {name}")


def sh(name, script, container="main"):
    done = run(KUBECTL, "exec", name, "-c", container, "--", "sh", "-c", script)
    return done.returncode, done.stdout + done.stderr


def host_addresses():
    shown = run("ip", "-4", "-o", "addr").stdout
    return sorted(set(re.findall(r"inet (\d+\.\d+\.\d+\.\d+)", shown)) - {"127.0.0.1"})


def host_ports(api):
    """Ports that somebody listens on, on this machine, and nobody in a sandbox."""
    found = {api.port}
    for line in run("ss", "-Hltn").stdout.splitlines():
        found.add(int(line.split()[3].rsplit(":", 1)[1]))
    return sorted(found - SANDBOXD_PORTS)[:20]


def pid_of(marker):
    """The host's number of a process that has this word among its arguments."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if marker.encode() in file.read().split(b"\0"):
                    return int(pid)
        except OSError:
            pass
    return None


def attack(api, name, **more):
    neighbour = get(api, "neighbour")["status"]["podIP"]
    targets = {"neighbour": neighbour, "neighbour_pid": wait_for(lambda: pid_of("86399")),
               "host_ports": host_ports(api), "host_addresses": host_addresses(), "data": DATA,
               "devices": DEVICES, **more}
    done = run(KUBECTL, "exec", "-i", name, "--", "python3", "-", json.dumps(targets),
               stdin=ATTACKS.read_text(encoding="utf-8"), timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_refused(answers):
    wrong = {name: answer for name, answer in answers.items() if not answer.startswith("refused")}
    assert not wrong, json.dumps(wrong, indent=1)
    assert len(answers) > 50


# ---- what is refused ----

def test_attacks_by_root_of_a_sandbox_are_refused(api):
    create(api, pod("neighbour", container={"readinessProbe": {"httpGet": {"port": 8888}}}))
    create(api, pod("attacker", container={"readinessProbe": {"httpGet": {"port": 8888}}}))
    until_ready(api, "neighbour", "attacker")
    subprocess.Popen([KUBECTL, "exec", "neighbour", "--", "sleep", "86399"],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert_refused(attack(api, "attacker"))


def test_attacks_by_a_user_of_a_sandbox_are_refused(api):
    create(api, pod("user", container={"securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                                       "readinessProbe": {"httpGet": {"port": 8888}}}))
    until_ready(api, "user")
    answers = attack(api, "user")
    del answers["setuid_program"]  # nobody there makes one of root's
    answers["setuid_program"] = "refused" if sh("user", "su -c true root")[0] else "got root"
    assert_refused(answers)


def test_a_listener_on_the_hosts_loopback_is_out_of_reach(api):
    """That the attacks on the host fail is worth something only where there is somebody to reach."""
    ports = host_ports(api)
    assert api.port in ports and len(ports) >= 2, ports
    code, said = sh("attacker", f"python3 -c \"import socket; socket.create_connection(('127.0.0.1',"
                                f" {api.port}), 1)\"")
    assert code == 1 and "ConnectionRefused" in said, said


def test_the_kubelets_socket_is_closed_to_other_users(_):
    sockets = [path for path in pathlib.Path(DATA).rglob("*") if path.is_socket()]
    assert sockets, "no socket below the data folder"
    for path in sockets:
        done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c",
                   f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})")
        assert done.returncode != 0, f"anybody may connect to {path}"
        assert "PermissionError" in done.stderr or "FileNotFound" in done.stderr, done.stderr


def test_links_in_a_volume_lead_nowhere(api):
    """A container makes links in a volume; the next names them as its subPath."""
    volume = [{"name": "v", "emptyDir": {}}]
    init = [{"name": "first", "image": "busybox", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
             "command": ["sh", "-c", "ln -s / /v/root; ln -s ../../.. /v/up; ln -s /etc /v/etc; "
                                     "mkdir /v/real; ln -s real /v/alias"]}]
    for number, sub_path in enumerate(("root", "up", "etc/ssh", "root/etc", "alias")):
        create(api, pod(f"link{number}", "sleep 1000", volumes=volume, initContainers=init,
                        container={"volumeMounts": [{"name": "v", "mountPath": "/mnt",
                                                     "subPath": sub_path}]}))
    for number in range(5):
        until_event(api, f"link{number}", "Failed", "Create")
        assert main_of(api, f"link{number}")["state"]["waiting"]["reason"] == "CreateContainerError"
    create(api, pod("plain", "ls -a /mnt; sleep 1000", volumes=volume, initContainers=init,
                    container={"volumeMounts": [{"name": "v", "mountPath": "/mnt",
                                                 "subPath": "real"}]}))
    until_ready(api, "plain")
    delete(api, "plain", *(f"link{number}" for number in range(5)), grace=0)


def test_links_in_the_root_do_not_misplace_mounts(api):
    """A mount's target is looked up inside: a link there leads to the container's own files."""
    volume = [{"name": "v", "emptyDir": {}}]
    create(api, pod("target", "echo inside > /var/run/deep/f && cat /run/deep/f && sleep 1000",
                    volumes=volume,
                    container={"volumeMounts": [{"name": "v", "mountPath": "/var/run/deep"}]}))
    until_ready(api, "target")
    assert not os.path.exists("/run/deep"), "it was made on the host"
    delete(api, "target", grace=0)


REFUSED = {
    "spec.volumes[0].hostPath": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "spec.hostNetwork": {"hostNetwork": True},
    "spec.hostPID": {"hostPID": True},
    "spec.hostIPC": {"hostIPC": True},
    "spec.shareProcessNamespace": {"shareProcessNamespace": True},
    "spec.runtimeClassName": {"runtimeClassName": "gvisor"},
    "spec.containers[0].securityContext.privileged": {"main": {"securityContext": {
        "privileged": True}}},
    "spec.containers[0].securityContext.capabilities.add": {"main": {"securityContext": {
        "capabilities": {"add": ["SYS_ADMIN"]}}}},
    "spec.containers[0].securityContext.procMount": {"main": {"securityContext": {
        "procMount": "Unmasked"}}},
    "spec.containers[0].volumeMounts[0].subPath": {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "main": {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../x"}]}},
    "spec.containers[0].lifecycle.preStop.tcpSocket": {"main": {"lifecycle": {
        "preStop": {"tcpSocket": {"port": 80}}}}},
}


def test_what_is_not_supported_is_refused_by_its_field(api):
    for number, (field, spec) in enumerate(REFUSED.items()):
        spec = dict(spec)
        body = pod(f"refused{number}", "sleep 1000", container=spec.pop("main", None), **spec)
        status, answer = api.request("POST", objects.path("pods"), body)
        if status == 422:  # the API refuses what no node could run
            assert field.removeprefix("spec.") in json.dumps(answer), (field, answer)
            continue
        assert status == 201, (field, answer)
        wait_for(lambda number=number: get(api, f"refused{number}")["status"].get("phase") ==
                 "Failed", what=field)
        found = get(api, f"refused{number}")["status"]
        assert field in found["message"], (field, found)
        assert wait_for(lambda number=number, field=field: [
            message for _, message in events_of(api, f"refused{number}") if field in message],
            what=f"the event that names {field}")
        delete(api, f"refused{number}")


# ---- what misbehaves ----

def test_a_fork_bomb_harms_nobody_else(api):
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    create(api, pod("bomb", bomb, container={"resources": {"limits": {"cpu": "500m"}}}))
    until_ready(api, "bomb")
    start = time.monotonic()
    wait_for(lambda: sh("neighbour", "echo alive") == (0, "alive\n"), 15, "the neighbour's answer")
    create(api, pod("after", "sleep 1000"))
    until_ready(api, "after")
    assert time.monotonic() - start < 20
    delete(api, "bomb", "after", grace=0)
    until_gone(api, "bomb", "after")


def test_a_memory_hog_is_killed_with_its_reason(api):
    create(api, pod("hog", "x=a; while :; do x=$x$x; done", restartPolicy="Never",
                    container={"resources": {"limits": {"memory": "48Mi"}}}))
    end = wait_for(lambda: terminated(api, "hog"), what="the hog's end")
    assert (end["reason"], end["exitCode"]) == ("OOMKilled", 137), end
    assert get(api, "hog")["status"]["phase"] == "Failed"
    delete(api, "hog")


def test_a_full_root_fills_no_disk(api):
    before = shutil.disk_usage(DATA).free
    create(api, pod("filler", container={"resources": {"limits": {"memory": "256Mi",
                                                                  "ephemeral-storage": "20Mi"}}}))
    until_ready(api, "filler")
    code, said = sh("filler", "dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>&1; ls -l /tmp/fill")
    assert "No space left" in said, (code, said)
    assert before - shutil.disk_usage(DATA).free < 15 << 20
    assert sh("filler", "rm /tmp/fill; echo fine > /tmp/f; cat /tmp/f") == (0, "fine\n")
    delete(api, "filler")


def test_an_empty_dir_above_its_limit_evicts_its_pod(api):
    create(api, pod("evicted", "dd if=/dev/zero of=/v/f bs=1M count=30; sleep 1000",
                    volumes=[{"name": "v", "emptyDir": {"sizeLimit": "10Mi"}}],
                    container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    wait_for(lambda: get(api, "evicted")["status"].get("reason") == "Evicted", what="the eviction")
    wait_for(lambda: get(api, "evicted")["status"]["phase"] == "Failed", what="its end")
    assert until_event(api, "evicted", "Evicted", 'volume "v"')
    delete(api, "evicted")


def test_an_empty_dir_in_memory_has_its_size_and_goes_with_its_pod(api):
    volumes = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}]
    mounts = {"volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]}
    body = pod("memory", "sleep 1000", container=mounts, volumes=volumes)
    body["spec"]["containers"].append({**body["spec"]["containers"][0], "name": "other"})
    create(api, body)
    until_ready(api, "memory")
    code, said = sh("memory", "dd if=/dev/zero of=/dev/shm/f bs=1M count=16 2>&1; stat -c %s "
                              "/dev/shm/f; stat -f -c %T /dev/shm")
    assert "No space left" in said and "tmpfs" in said, (code, said)
    assert sh("memory", "stat -c %s /dev/shm/f", "other") == (0, f"{8 << 20}\n")
    with open("/proc/mounts", encoding="utf-8") as file:
        assert [line for line in file if DATA in line and "tmpfs" in line]
    delete(api, "memory")
    until_gone(api, "memory")
    def none_is_left():
        with open("/proc/mounts", encoding="utf-8") as file:
            return not [line for line in file if f"{DATA}/node" in line and "vol-shm" in line]
    wait_for(none_is_left, what="the mount to go")


def test_a_persistent_volume_outlives_its_pods_and_goes_with_its_claim(api):
    """Mutations that must fail here: claims.c without is_used(), without find_orphans()."""
    claims = objects.path("persistentvolumeclaims")
    def folder_of(name):
        volume = wait_for(lambda: api.get(f"{claims}/{name}")[1]["spec"].get("volumeName"))
        return volume, os.path.join(DATA, "node", "volumes", "claims", volume)
    def begin(name, script):
        if api.get(f"{claims}/{name}")[0] == 404:
            api.create(claims, {"metadata": {"name": name}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        create(api, pod(name, script, container={"volumeMounts": [
            {"name": "data", "mountPath": "/data"}]},
            volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": name}}]))
        until_ready(api, name)
    def end(name):
        delete(api, name, grace=0)
        until_gone(api, name)
    begin("volume", "mkdir -p /data/a/b; echo kept > /data/a/b/file; sleep 1000")
    end("volume")
    begin("volume", "sleep 1000")
    wait_for(lambda: sh("volume", "cat /data/a/b/file") == (0, "kept\n"), what="the file")
    volume, folder = folder_of("volume")
    same_volume = f"/api/v1/persistentvolumes/{volume}"
    assert "not enforced" in api.get(same_volume)[1]["metadata"]["annotations"]["cay.dev/capacity"]
    api.request("DELETE", f"{claims}/volume")
    wait_for(lambda: api.get(same_volume)[0] == 404, what="the volume to go")
    # Not under the feet of the Pod that uses it.
    assert sh("volume", "cat /data/a/b/file") == (0, "kept\n")
    end("volume")
    wait_for(lambda: not os.path.exists(folder), what="the folder to go")
    # One that is to be kept is, and one that went while no node ran goes when there is one.
    for name in ("kept", "late"):
        begin(name, "echo x > /data/file; sleep 1000")
        end(name)
    volume, kept = folder_of("kept")
    api.request("PATCH", f"/api/v1/persistentvolumes/{volume}",
                {"spec": {"persistentVolumeReclaimPolicy": "Retain"}},
                "application/merge-patch+json")
    wait_for(lambda: os.path.exists(kept + ".retain"), what="the node to hear of it")
    volume, late = folder_of("late")
    told = json.loads(run(os.environ["CAY"], "status", "--data", DATA, "-o", "json").stdout)
    node = next(role["pid"] for role in told["roles"] if role["name"] == "node")
    os.kill(node, signal.SIGSTOP)
    for name in ("kept", "late"):
        api.request("DELETE", f"{claims}/{name}")
    wait_for(lambda: api.get(f"/api/v1/persistentvolumes/{volume}")[0] == 404, what="the late one")
    os.kill(node, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(late), what="the late folder to go")
    assert os.path.exists(os.path.join(kept, "file"))


def test_a_sandbox_that_ignores_sigterm_is_killed_in_time(api):
    create(api, pod("stubborn", "trap '' TERM INT HUP; while :; do sleep 1; done"))
    until_ready(api, "stubborn")
    start = time.monotonic()
    delete(api, "stubborn", grace=2)
    until_gone(api, "stubborn")
    assert 1.5 < time.monotonic() - start < 10


def test_pre_stop_saves_state_before_the_end(api):
    script = "trap 'cp /v/saved /v/seen; exit 0' TERM; while :; do sleep 0.1; done"
    hooks = {"postStart": {"exec": {"command": ["sh", "-c", "echo started > /v/started"]}},
             "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo state > /v/saved"]}}}
    watcher = {"name": "watcher", "image": "busybox", "restartPolicy": "Always",
               "volumeMounts": [{"name": "v", "mountPath": "/v"}],
               "command": ["sh", "-c", "trap 'cat /v/started /v/seen > /dev/termination-log; exit 0'"
                                       " TERM; while :; do sleep 0.1; done"]}
    create(api, pod("saver", script, volumes=[{"name": "v", "emptyDir": {}}],
                    initContainers=[watcher], terminationGracePeriodSeconds=20,
                    container={"lifecycle": hooks,
                               "volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    until_ready(api, "saver")
    messages = []
    delete(api, "saver")
    for kind, item in api.watch(objects.path("pods") + "?watch=1&fieldSelector=metadata.name=saver"):
        for status in item["status"].get("initContainerStatuses", []):
            messages.append(status["state"].get("terminated", {}).get("message"))
        if kind == "DELETED":
            break
    assert "started\nstate\n" in messages, messages


GRPC_SERVER = r"""
import os, socket
def frame(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
def field(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
server = socket.create_server(("0.0.0.0", 9090))
while True:
    peer = server.accept()[0]
    serving = b"\1" if os.path.exists("/tmp/serving") else b"\2"
    peer.recv(4096)
    peer.sendall(frame(4, 0, 0, b"") +
                 frame(1, 4, 1, b"\x88" + field(b"content-type", b"application/grpc")) +
                 frame(0, 0, 1, b"\0\0\0\0\2\x08" + serving) +
                 frame(1, 5, 1, field(b"grpc-status", b"0")))
    peer.recv(4096)
    peer.close()
"""


def test_a_grpc_probe_decides_readiness(api):
    create(api, pod("grpc", container={"command": ["python3", "-c", GRPC_SERVER],
                                       "readinessProbe": {"grpc": {"port": 9090, "service": "x"},
                                                          "initialDelaySeconds": 1,
                                                          "periodSeconds": 1,
                                                          "failureThreshold": 1}}))
    until_event(api, "grpc", "Unhealthy", 'responded with "NOT_SERVING"')
    assert objects.condition(get(api, "grpc")) == "False"
    assert sh("grpc", "touch /tmp/serving")[0] == 0
    until_ready(api, "grpc")
    delete(api, "grpc")


def test_the_launcher_may_die_while_sandboxes_are_made(api):
    names = [f"made{number}" for number in range(24)]
    for number, name in enumerate(names):
        create(api, pod(name, "sleep 1000"))
        if number % 8 == 3:
            kill_launcher()
    until_ready(api, *names)
    assert sh(names[0], "echo fine") == (0, "fine\n")
    delete(api, *names)
    until_gone(api, *names, timeout=60)


def kill_launcher():
    instance = Instance.__new__(Instance)
    with open(os.path.join(DATA, "lock"), encoding="utf-8") as file:
        instance.pid = int(file.read())
    launcher = wait_for(lambda: instance.roles().get("launcher"), what="a launcher")
    os.kill(launcher, signal.SIGKILL)


def test_many_pods_come_and_go(api):
    """Deleted before they run, while they start, and afterwards: nothing of them stays."""
    before = sandbox_cgroups()
    names = [f"many{number}" for number in range(300)]
    for number, name in enumerate(names):
        create(api, pod(name, "sleep 1000"))
        if number >= 10 and number % 3 == 0:
            delete(api, names[number - (number % 10)], grace=0)
    delete(api, *names, grace=0)
    until_gone(api, *names, timeout=120)
    wait_for(lambda: sandbox_cgroups() <= before + 8, 60, "the sandboxes' cgroups to go")
    assert sh("neighbour", "echo alive") == (0, "alive\n")


def sandbox_cgroups():
    """How many of our sandboxes have cgroups; those of the pool too."""
    ours = f"cay-{leftovers.instance_id(DATA)}"
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == ours:
            found.update(names)
            names.clear()
    return len(found)


if __name__ == "__main__":
    tap.main(globals(), (Api(os.environ["KUBECONFIG"]),))
