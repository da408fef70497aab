# SPDX-License-Identifier: Apache-2.0
"""Runs a Pod of a Deployment as a node would: as a process of the container's command, arguments,
environment, user and ServiceAccount token, in a network and a mount namespace of its own whose root
is read-only. The API server is at its Service's address there.
"""

import ctypes
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

from lib.instance import wait_for

SERVICE = ("10.96.0.1", 443)  # of the API server: the first address of the plane's range
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NEWNET = 0x40000000


def socket_of(pid, make):
    """What make() returns, called in the network namespace of a process."""
    result = []

    def work():  # a thread: the others stay where they are
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{pid}/ns/net", "rb") as namespace:
            if libc.setns(namespace.fileno(), NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        try:
            result.append(make())
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def relay(source, target):
    """Copies one way until the end."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def forward(listener, port):
    """Joins each connection to a port of this machine; a daemon thread."""
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            return
        outer = socket.create_connection(("127.0.0.1", port))
        for ends in ((inner, outer), (outer, inner)):
            threading.Thread(target=relay, args=ends, daemon=True).start()


class Workload:
    """One Pod of a Deployment on a control plane; a context manager."""

    def __init__(self, plane, deployment, cay, addresses=()):
        """`cay` is run in place of the image's entry point; `addresses` are the Pod's, too."""
        self.plane = plane
        self.name = deployment["metadata"]["name"]
        self.namespace = deployment["metadata"]["namespace"]
        self.pod = deployment["spec"]["template"]["spec"]
        self.container, = self.pod["containers"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        # Where any user may read it.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cay-workload-"))
        self.folder.chmod(0o755)
        shutil.copy(cay, self.folder / "cay")
        self.holder = plane.start(f"{self.name}-namespaces", "unshare", "--net", "--mount",
                                  "--propagation", "private", "sleep", "infinity")
        pid = self.holder.pid
        wait_for(lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"),
                 10, "the namespaces")
        for address in (SERVICE[0], *addresses):
            self.inside("ip", "address", "add", f"{address}/32", "dev", "lo")
        self.inside("ip", "link", "set", "lo", "up")
        self.mount_account()
        listener = socket_of(pid, lambda: socket.create_server(SERVICE))
        server = json.loads(pathlib.Path(plane.kubeconfig).read_text(encoding="utf-8"))
        port = int(server["clusters"][0]["cluster"]["server"].rsplit(":", 1)[1])
        threading.Thread(target=forward, args=(listener, port), daemon=True).start()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.plane.end(self.process)
        self.plane.end(self.holder)
        shutil.rmtree(self.folder)

    def enter(self):
        return ("nsenter", "-t", str(self.holder.pid), "--net", "--mount", "--")

    def inside(self, *command):
        subprocess.run([*self.enter(), *command], check=True, stdout=subprocess.DEVNULL)

    def mount_account(self):
        """The token and its company, where a kubelet puts them; then nothing can be written."""
        account = self.pod["serviceAccountName"]
        files = self.folder / "account"
        files.mkdir()
        token = self.plane.kubectl("create", "token", account, "-n", self.namespace)
        (files / "token").write_text(token.strip(), encoding="utf-8")
        (files / "namespace").write_text(self.namespace, encoding="utf-8")
        shutil.copy(self.plane.folder / "certificates/apiserver.crt", files / "ca.crt")
        self.inside("sh", "-ec", f"mount -t tmpfs run /run; mkdir -p {ACCOUNT}; "
                    f"mount --bind {files} {ACCOUNT}; mount -o remount,ro /run; "
                    "mount -o bind,remount,ro /")

    def start(self):
        security = self.container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        user, group = (str(self.pod["securityContext"][f"runAs{who}"]) for who in ("User", "Group"))
        assert "command" not in self.container, "the image's entry point is to run"
        environment = [f"{each['name']}={each['value']}" for each in self.container.get("env", ())]
        self.process = self.plane.start(
            self.name, *self.enter(), "env", "-i", f"KUBERNETES_SERVICE_HOST={SERVICE[0]}",
            f"KUBERNETES_SERVICE_PORT={SERVICE[1]}", *environment, "setpriv", "--reuid", user,
            "--regid", group, "--clear-groups", "--no-new-privs", "--bounding-set=-all",
            "--inh-caps=-all", "--pdeathsig", "KILL", self.folder / "cay",
            *self.container["args"])
        return self

    def connect(self, port):
        """A connection to one of its ports, by name."""
        return socket_of(self.holder.pid, lambda: socket.create_connection(
            ("127.0.0.1", self.ports[port]), 10))

    def get(self, port, path, **headers):
        """(status, body) of a request to it; X_Y is the header X-Y."""
        connection = http.client.HTTPConnection("pod")
        connection.sock = self.connect(port)
        connection.request("GET", path, headers={
            name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def until_probed(self, which):
        """Waits until a probe of the container succeeds, as a kubelet does."""
        probe = self.container[which]["httpGet"]
        last = None

        def look():
            nonlocal last
            assert self.process.poll() is None, f"{self.name} ended: {self.process.returncode}"
            try:
                last = self.get(probe["port"], probe["path"])
            except (OSError, http.client.HTTPException):
                return False
            return last[0] == 200

        try:
            wait_for(look, 30, f"{which} of {self.name}")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {last}") from None
        return self
