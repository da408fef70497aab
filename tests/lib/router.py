# SPDX-License-Identifier: Apache-2.0
"""Requests to a sandbox through the router, as an SDK makes them; the router as a process."""

import base64
import hmac
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import uuid

from lib.instance import wait_for


class Sandbox:
    def __init__(self, router, name, namespace="default", port=8888):
        self.connection = http.client.HTTPConnection(router, timeout=60)
        self.headers = {"X-Sandbox-ID": name, "X-Sandbox-Namespace": namespace,
                        "X-Sandbox-Port": str(port)}

    def request(self, method, path, body=None, headers=()):
        self.connection.request(method, path, body, {**self.headers, **dict(headers)})
        response = self.connection.getresponse()
        return response.status, response.read()

    def execute(self, command):
        status, body = self.request("POST", "/execute", json.dumps({"command": command}),
                                    {"Content-Type": "application/json"})
        if status != 200:
            raise AssertionError(f"/execute: {status} {body!r}")
        return json.loads(body)

    def upload(self, name, contents):
        boundary = uuid.uuid4().hex
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"'
                f"\r\nContent-Type: application/octet-stream\r\n\r\n").encode() + contents + \
            f"\r\n--{boundary}--\r\n".encode()
        return self.request("POST", "/upload", body,
                            {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def download(self, name):
        return self.request("GET", f"/download/{name}")

    def close(self):
        self.connection.close()


# ---- `cay router` as a process of its own ----

class Router:
    """A router on loopback, ended with its test. Its options come after those that it needs."""

    def __init__(self, cay, *options, http="127.0.0.1:0", environment=()):
        self.cay, self.options, self.environment = cay, options, dict(environment)
        self.addresses = ("--metrics-bind-address=127.0.0.1:0",
                          "--health-probe-bind-address=127.0.0.1:0", f"--http-bind-address={http}")

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="cay-router-", encoding="utf-8")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", self.cay, "router", *self.addresses, *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, "KUBECONFIG": "", **self.environment})
        try:
            wait_for(lambda: self.process.poll() is not None or self.said("probes on "), 10,
                     "the router to serve")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if kind is not None:
            for line in self.lines()[-30:]:
                print(f"# router: {line}")
        self.log.close()

    def lines(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read().splitlines()

    def said(self, text):
        return [line for line in self.lines() if text in line]

    def address(self, what="http"):
        """Where it serves "http", "https", "metrics", "probes"."""
        return self.said(f"router: {what} on ")[0].split()[-1]

    def port(self, what="http"):
        return int(self.address(what).rsplit(":", 1)[1])

    def get(self, what, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port(what), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """The value of the series whose line begins so; 0 without one."""
        for line in self.get("metrics", "/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


class Backend:
    """What stands where a sandbox would: says what it was asked, keeps what it saw."""

    def __init__(self, address="127.0.0.1"):
        backend = self
        self.seen = []
        self.release = threading.Event()  # of requests to /held

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # the name that the library looks for
                length = self.headers.get("Content-Length")
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    body = self.read_chunks()
                else:
                    body = self.rfile.read(int(length or 0))
                backend.seen.append((self.command, self.path, dict(self.headers), body))
                if self.headers.get("Upgrade"):
                    self.echo()
                    return
                if self.path.startswith("/held"):
                    backend.release.wait(30)
                answer = body if self.path == "/echo" else json.dumps(
                    {"path": self.path, "headers": {name.lower(): value for name, value
                                                    in self.headers.items()}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

            def read_chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def echo(self):
                self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                                 b"Upgrade: " + self.headers["Upgrade"].encode() + b"\r\n\r\n")
                while data := self.connection.recv(65536):
                    self.connection.sendall(data)
                self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # requests that are cut off are what some tests are about

        self.server = Server((address, 0), Handler)
        self.address, self.port = address, self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def headers(self, **more):
        """Of a request that is to come here."""
        return {"X-Sandbox-ID": "box", "X-Sandbox-Pod-IP": self.address,
                "X-Sandbox-Port": str(self.port), **more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


class Authority:
    """Issues certificates for tests, by openssl, into a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self.certificate = self.folder / f"{name}.crt"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                     "-out", f"{name}.crt")

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"openssl {arguments}: {done.stderr}")

    def issue(self, name, common_name="localhost"):
        """A server's and client's certificate and its key: two paths."""
        (self.folder / f"{name}.ext").write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n"
            "extendedKeyUsage=serverAuth,clientAuth\n", encoding="utf-8")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={common_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.crt", "-CAkey",
                     f"{self.name}.key", "-CAcreateserial", "-days", "1", "-extfile",
                     f"{name}.ext", "-out", f"{name}.crt")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


def decisions(namespace, decision):
    """The series that counts them."""
    return ("sandbox_router_authz_decisions_total"
            f'{{sandbox_namespace="{namespace}",decision="{decision}"}}')


def scoped_token(key, namespace, name, expires):
    """As docs/router.md says that they are made."""
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    claims = encode(json.dumps({"ns": namespace, "name": name, "exp": int(expires)}).encode())
    mac = hmac.digest(key, f"agent-sandbox/scoped-token/v1.{claims}".encode(), "sha256")
    return f"v1.{claims}.{encode(mac)}"
