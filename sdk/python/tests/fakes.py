# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API, a sandbox router and a kubectl that do just what the tests need."""

import email
import email.policy
import http.server
import json
import os
import socketserver
import stat
import threading
import urllib.parse


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves `handle(request)` on a free port of loopback; `log` keeps (method, path, body)."""

    daemon_threads = True

    def __init__(self, handle):
        self.log = []
        self.headers = []
        self.stopping = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                data = b""
                while True:
                    size = int(self.rfile.readline(), 16)
                    data += self.rfile.read(size)
                    self.rfile.readline()
                    if size == 0:
                        return data

            def answer(self, status, document, headers=(), length=None):
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(length or len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_any(self):
                self.content = self.body()
                server.log.append((self.command, self.path, self.content))
                server.headers.append(self.headers)
                handle(self)

            do_GET = do_POST = do_DELETE = do_any

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.stopping.set()
        self.shutdown()
        self.server_close()


def claim(ready, sandbox=None, key="name", **condition):
    """A state of a claim, as far as its status goes."""
    return {"status": {"sandbox": {key: sandbox} if sandbox else {}, "conditions": [
        {"type": "Other", "status": "True"},
        {"type": "Ready", "status": "True" if ready else "False", **condition}]}}


class Cluster:
    """Answers the calls of the client; what is to happen in a watch is set by the test."""

    VERSION = "v1alpha1"
    CLAIMS = "/apis/extensions.agents.x-k8s.io/{}/namespaces/demo/sandboxclaims"
    SANDBOXES = "/apis/agents.x-k8s.io/{}/namespaces/demo/sandboxes"
    GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/edge/gateways"

    def __init__(self):
        self.claims = {}
        self.annotations = {}  # of the Sandbox, which is there whatever its name
        self.addresses = []
        self.watches = []  # each: a function of the watched name that gives its events, or a status
        self.router_namespaces = ()
        self.refuse_deletion = False
        self.server = Server(self.handle)

    def handle(self, request):
        path, _, query = request.path.partition("?")
        claims, sandboxes = (each.format(self.VERSION) for each in (self.CLAIMS, self.SANDBOXES))
        if request.headers.get("Authorization") != "Bearer token-1":
            self.refuse(request, 401, "Unauthorized", "Unauthorized")
        elif request.command == "POST" and path == claims:
            made = json.loads(request.content)
            self.claims[made["metadata"]["name"]] = made
            request.answer(201, made)
        elif "watch=true" in query:
            self.watch(request, urllib.parse.parse_qs(query))
        elif path.startswith(sandboxes + "/"):
            request.answer(200, {
                "metadata": {"name": path.rpartition("/")[2], "annotations": self.annotations},
                "status": {"podIPs": self.addresses}})
        elif path.startswith(claims + "/"):
            self.claim(request, path.rpartition("/")[2])
        elif path.endswith("/services/sandbox-router-svc") and \
                path.split("/")[4] in self.router_namespaces:
            request.answer(200, {"metadata": {}})
        else:
            self.refuse(request, 404, "NotFound", f"{path} not found")

    def claim(self, request, name):
        if name not in self.claims:
            self.refuse(request, 404, "NotFound", f"{name} not found")
        elif request.command == "GET":
            request.answer(200, self.claims[name])
        elif self.refuse_deletion:
            self.refuse(request, 403, "Forbidden", "not yours")
        else:
            del self.claims[name]
            request.answer(200, {})

    def watch(self, request, query):
        name = query["fieldSelector"][0].partition("=")[2]
        script = self.watches.pop(0) if self.watches else lambda _: iter(())
        if isinstance(script, int):
            self.refuse(request, script, "Failure", "not now")
            return
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        for kind, item in script(name):
            request.wfile.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")
            request.wfile.flush()

    @staticmethod
    def refuse(request, status, reason, message):
        request.answer(status, {"kind": "Status", "reason": reason, "message": message})

    def close(self):
        self.server.close()


class Router:
    """A sandbox's runtime behind a router; `failures` are answered first, one a request."""

    def __init__(self):
        self.files = {}
        self.failures = []  # (status, headers)
        self.server = Server(self.handle)

    def handle(self, request):
        path = urllib.parse.unquote(request.path)
        if self.failures:
            status, headers = self.failures.pop(0)
            request.answer(status, {"message": "failed"}, headers)
        elif path == "/execute":
            command = json.loads(request.content)["command"]
            request.answer(200, {"stdout": f"ran {command}\n", "stderr": "", "exit_code": 3})
        elif path == "/upload":
            message = email.message_from_bytes(
                b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n" +
                request.content, policy=email.policy.HTTP)
            part = next(message.iter_parts())
            self.files[part.get_filename()] = part.get_payload(decode=True)
            request.answer(200, {"message": "uploaded"})
        elif path.startswith("/download/"):
            contents = self.files.get(path[len("/download/"):])
            if contents is None:
                request.answer(404, {"message": "File not found"})
            elif contents == b"cut":
                request.answer(200, contents, length=100)
                request.close_connection = True
            else:
                request.answer(200, contents)
        elif path.startswith("/list/"):
            request.answer(200, [{"name": "a", "size": 1, "type": "file", "mod_time": 1.5}])
        elif path.startswith("/exists/"):
            name = path[len("/exists/"):]
            request.answer(200, {"path": name, "exists": name in self.files})

    def close(self):
        self.server.close()


KUBECTL = """#!/usr/bin/env python3
import json, os, sys, time
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "config":
    print(json.dumps({config!r}))
elif {crash!r}:
    sys.exit("error: no such service")
else:
    print("Forwarding from 127.0.0.1:{port} -> 8080", flush=True)
    time.sleep(60)
"""


def make_kubectl(folder, port=0, config=None, crash=False):
    """Puts a `kubectl` into `folder`; returns the file where it logs its arguments."""
    log = os.path.join(folder, "kubectl.log")
    path = os.path.join(folder, "kubectl")
    with open(path, "w", encoding="utf-8") as file:
        file.write(KUBECTL.format(log=log, port=port, config=config, crash=crash))
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return log
