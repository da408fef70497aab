# SPDX-License-Identifier: Apache-2.0
"""A real `cay up` in a folder of its own, and a small client for its API, for tests."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROLES = ("launcher", "control", "node", "router")


def free_port():
    """A port that no outgoing connection is given: it stays free while its server starts again."""
    span = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    while True:
        port = random.randrange(10_000, max(int(span.split()[0]), 20_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_network():
    """A network of Pods that no instance which runs at the same time has."""
    routes = subprocess.run(["ip", "-4", "-o", "route"], check=True, text=True,
                            capture_output=True).stdout.split()
    while True:
        network = f"10.{random.randrange(90, 250)}.{random.randrange(256)}.0/24"
        if network not in routes:
            return network


def wait_for(condition, timeout=30.0, what="the condition", pause=0.02):
    """Polls until condition() is true and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(pause)


class Api:
    """The Kubernetes API over one kept connection, as the kubeconfig says."""

    def __init__(self, kubeconfig):
        with open(kubeconfig, encoding="utf-8") as file:
            text = file.read()
        server = re.search(r"server\"?: *\"?https://([^\"\s]+?):(\d+)", text)
        self.host, self.port = server.group(1), int(server.group(2))
        self.token = re.search(r"\"?token\"?: *\"?([^\"\s,}]+)", text).group(1)
        data = re.search(r"certificate-authority-data\"?: *\"?([A-Za-z0-9+/=]+)", text)
        file = re.search(r"certificate-authority\"?: *\"?([^\"\s,}]+)", text)
        self.tls = ssl.create_default_context(
            cafile=None if data else file.group(1),
            cadata=base64.b64decode(data.group(1)).decode() if data else None)
        self.connection = None

    def connect(self):
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=30)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def headers(self, content_type):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": content_type,
                "Accept": "application/json"}

    def request(self, method, path, body=None, content_type="application/json"):
        """(status, document); the connection is made anew after an error, which is raised."""
        try:
            if self.connection is None:
                self.connection = self.connect()
            data = None if body is None else json.dumps(body)
            self.connection.request(method, path, data, self.headers(content_type))
            response = self.connection.getresponse()
            answer = response.read()
            if "json" not in response.getheader("Content-Type", ""):
                return response.status, answer.decode()
            return response.status, json.loads(answer or b"null")
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def raw(self, method, path, headers=None, body=None):
        """(response, bytes) of one request with these headers (None takes one away) and bytes."""
        connection = self.connect()
        try:
            sent = {**self.headers("application/json"), **(headers or {})}
            connection.request(method, path, body, {
                name: value for name, value in sent.items() if value is not None})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, path):
        return self.request("GET", path)

    def create(self, path, body):
        status, document = self.request("POST", path, body)
        if status not in (200, 201):
            raise AssertionError(f"POST {path}: {status} {document}")
        return document

    def watch(self, path, timeout=30):
        """Events (type, object) of a watch, on a connection of its own, until it ends."""
        connection = self.connect()
        connection.sock.settimeout(timeout)
        connection.request("GET", path, headers=self.headers("application/json"))
        response = connection.getresponse()
        try:
            if response.status != 200:
                raise AssertionError(f"watch {path}: {response.status} {response.read()!r}")
            for line in response:
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()


class Instance:
    """Starts `cay up -d` on free ports in a temporary folder; use as a context manager."""

    def __init__(self, cay=None, options=()):
        self.cay = cay or os.environ["CAY"]
        self.folder = tempfile.mkdtemp(prefix="cay-test-")
        os.chmod(self.folder, 0o755)  # the roles, which are not root, pass through it
        self.data = os.path.join(self.folder, "data")
        self.api_port, self.router_port = free_port(), free_port()
        self.pod_cidr = free_network()
        self.options = list(options)
        self.pid = None

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, kind, value, _):
        if kind is not None and not (kind is SystemExit and value.code == 0):
            self.print_logs()
        self.down()
        shutil.rmtree(self.folder)

    @property
    def kubeconfig(self):
        return os.path.join(self.data, "kubeconfig")

    @property
    def router(self):
        return f"127.0.0.1:{self.router_port}"

    def run(self, *arguments, check=True, **more):
        return subprocess.run([self.cay, *arguments], check=check, text=True, capture_output=True,
                              env={**os.environ, "CAY_DATA": self.data,
                                   "KUBECONFIG": self.kubeconfig}, **more)

    def up(self):
        started = subprocess.run(
            [self.cay, "up", "-d", "--data", self.data, "--listen", f"127.0.0.1:{self.api_port}",
             "--router-listen", f"127.0.0.1:{self.router_port}", "--pod-cidr", self.pod_cidr,
             *self.options],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if started.returncode != 0:
            self.print_logs()
            raise AssertionError(f"cay up failed: {started.stdout}")
        with open(os.path.join(self.data, "lock"), encoding="utf-8") as file:
            self.pid = int(file.read())
        return started.stdout

    def down(self):
        subprocess.run([self.cay, "down", "--data", self.data], check=True,
                       stdout=subprocess.DEVNULL)

    def api(self):
        return Api(self.kubeconfig)

    def roles(self):
        """Process ids by role, of what runs now."""
        found = {}
        for pid in children(self.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except FileNotFoundError:
                continue
            role = words[1].decode() if len(words) > 2 else ""
            if role in ROLES:
                found[role] = pid
        return found

    def kill(self, role):
        """SIGKILL to one role's process, or to the supervisor; returns when it has ended."""
        process = os.pidfd_open(self.pid if role == "supervisor" else self.roles()[role])
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [])
        finally:
            os.close(process)

    def print_logs(self):
        folder = os.path.join(self.data, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                for line in file.readlines()[-40:]:
                    print(f"# {name}: {line.rstrip()}")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []
