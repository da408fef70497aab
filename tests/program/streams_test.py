#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""logs, exec, attach, cp and port-forward by the real kubectl, by WebSocket and by SPDY."""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import Instance, free_port, wait_for  # noqa: E402

WAYS = {
    "websocket": {},
    "spdy": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
             "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"},
}


class Kubectl:
    def __init__(self, instance, way="websocket"):
        self.environment = {**os.environ, "KUBECONFIG": instance.kubeconfig, **WAYS[way]}

    def __call__(self, *arguments, text=None):
        return subprocess.run(["kubectl", *arguments], env=self.environment, input=text, text=True,
                              capture_output=True, timeout=30, check=False)

    def start(self, *arguments):
        return subprocess.Popen(["kubectl", *arguments], env=self.environment, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)


def end(process):
    process.kill()
    process.communicate()


def pod(name, *containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
                     "containers": list(containers), **spec}}


def is_ready(api, name):
    _, found = api.get(f"/api/v1/namespaces/default/pods/{name}")
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in found.get("status", {}).get("conditions", []))


def make(api, *pods):
    for each in pods:
        api.create("/api/v1/namespaces/default/pods", each)
    for each in pods:
        name = each["metadata"]["name"]
        wait_for(lambda it=name: is_ready(api, it), what=f"pod {name}")


def test_pods_run(instance, api):
    make(api,
         pod("server", {"name": "main", "image": "python-runtime-sandbox:latest",
                        "imagePullPolicy": "Never", "readinessProbe": {"httpGet": {"port": 8888}}}),
         pod("talker", {"name": "main", "image": "busybox", "stdin": True,
                        "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; done; exec cat"]},
             {"name": "other", "image": "busybox",
              "command": ["sh", "-c", "while :; do echo tick; sleep 0.05; done"]}))


def test_logs(instance, api):
    kubectl = Kubectl(instance)
    wait_for(lambda: kubectl("logs", "talker").stdout == "line 1\nline 2\nline 3\n", what="the log")
    assert kubectl("logs", "talker", "-c", "main", "--tail=1").stdout == "line 3\n"
    stamped = kubectl("logs", "talker", "--timestamps", "--tail=1").stdout
    assert stamped[:4] == "2026" or stamped[:2] == "20", stamped
    assert stamped.endswith("Z line 3\n"), stamped
    absent = kubectl("logs", "talker", "--previous")
    assert absent.returncode == 1 and "previous terminated container" in absent.stderr, absent
    follower = kubectl.start("logs", "-f", "talker", "-c", "other", "--tail=1")
    lines = [follower.stdout.readline() for _ in range(5)]
    end(follower)
    assert lines == ["tick\n"] * 5, lines


def check_exec(kubectl):
    both = kubectl("exec", "server", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (both.stdout, both.returncode) == ("out\n", 7), both
    assert both.stderr.startswith("err\n"), both
    contents = "".join(random.choices("abc\n", k=500_000))
    echoed = kubectl("exec", "-i", "server", "--", "cat", text=contents)
    assert echoed.stdout == contents, (len(echoed.stdout), echoed.stderr)
    absent = kubectl("exec", "server", "--", "/no/program")
    assert absent.returncode in (126, 127), absent
    unknown = kubectl("exec", "server", "-c", "none", "--", "true")
    assert unknown.returncode == 1 and "none" in unknown.stderr, unknown


def test_exec_by_websocket(instance, api):
    check_exec(Kubectl(instance))


def test_exec_by_spdy(instance, api):
    check_exec(Kubectl(instance, "spdy"))


def test_a_terminal(instance, api):
    if not shutil.which("script"):
        raise tap.Skip("needs script of util-linux or bsdutils")
    done = subprocess.run(
        ["script", "-qec", "kubectl exec -it server -- sh -c 'tty; echo $TERM'", "/dev/null"],
        env=Kubectl(instance).environment, stdin=subprocess.DEVNULL, text=True,
        capture_output=True, timeout=30, check=False)
    assert "/dev/pts/" in done.stdout and done.returncode == 0, done


def test_attach(instance, api):
    kubectl = Kubectl(instance)
    attached = kubectl.start("attach", "-i", "talker", "-c", "main")
    attached.stdin.write("typed\n")
    attached.stdin.flush()
    wait_for(lambda: "typed\n" in kubectl("logs", "talker").stdout, what="what was typed")
    attached.stdin.close()
    attached.kill()
    attached.wait()
    assert "typed\n" in attached.stdout.read()
    _, found = api.get("/api/v1/namespaces/default/pods/talker")
    assert all(status["restartCount"] == 0
               for status in found["status"]["containerStatuses"]), found["status"]


def test_cp(instance, api):
    contents = random.randbytes(3_000_000)
    here = pathlib.Path(instance.folder) / "blob"
    here.write_bytes(contents)
    for way in WAYS:
        kubectl = Kubectl(instance, way)
        up = kubectl("cp", str(here), "server:/app/blob")
        assert up.returncode == 0, up
        back = here.with_name(f"back-{way}")
        down = kubectl("cp", "server:/app/blob", str(back))
        assert down.returncode == 0 and back.read_bytes() == contents, down


def check_forward(instance, way):
    port = free_port()
    forward = Kubectl(instance, way).start("port-forward", "pod/server", f"{port}:8888")
    try:
        assert "Forwarding from" in forward.stdout.readline()
        for path in ("/", "/download/blob", "/"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                body = answer.read()
            assert answer.status == 200 and body, path
        assert len(body) < 100
    finally:
        end(forward)


def test_port_forward_by_websocket(instance, api):
    check_forward(instance, "websocket")


def test_port_forward_by_spdy(instance, api):
    check_forward(instance, "spdy")


def test_nobody_else_may_ask_the_node(instance, api):
    """Another user's connection to the node's socket is refused."""
    sockets = list(pathlib.Path("/run").glob("cay-*/node/kubelet.sock"))
    assert sockets, "the node's socket is not in /run"
    script = ("import os, socket, sys; os.setuid(65000); s = socket.socket(socket.AF_UNIX); "
              "s.connect(sys.argv[1]); s.sendall(b'GET /pods/default/server/log HTTP/1.0\\r\\n\\r\\n'); "
              "print(s.recv(100).split()[1].decode())")
    for path in sockets:
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True,
                              text=True, timeout=10, check=False)
        assert done.stdout.strip() in ("403", ""), done


def test_a_restarted_node_serves_the_same_logs(instance, api):
    kubectl = Kubectl(instance)
    before = kubectl("logs", "talker").stdout
    instance.kill("node")
    time.sleep(0.1)
    wait_for(lambda: kubectl("logs", "talker").stdout == before, what="the log after a restart")
    wait_for(lambda: kubectl("exec", "server", "--", "true").returncode == 0, what="exec")
    assert is_ready(api, "server")


if __name__ == "__main__":
    if not shutil.which("kubectl"):
        print("1..0 # SKIP needs kubectl")
        sys.exit(0)
    with Instance() as started:
        tap.main(globals(), (started, started.api()))
