# SPDX-License-Identifier: Apache-2.0
"""A real sandboxd on free ports in a folder of its own, and raw HTTP for its tests."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

LISTENING = re.compile(r"the (\w+) API on 127\.0\.0\.1:(\d+)")


class Server:
    """Starts the program; use as a context manager. `base` and `root` are its directories."""

    def __init__(self, options=(), environment=None, wrapper=(), program=None):
        self.folder = tempfile.mkdtemp(prefix="sandboxd-test-")
        self.base = os.path.join(self.folder, "base")
        self.root = os.path.join(self.folder, "root")
        self.outside = os.path.join(self.folder, "outside")
        os.mkdir(self.outside)
        with open(os.path.join(self.outside, "secret"), "w", encoding="ascii") as file:
            file.write("secret")
        self.program = program or os.environ["SANDBOXD"]
        self.options = list(options)
        self.environment = dict(os.environ, **(environment or {}))
        self.wrapper = list(wrapper)  # a program that runs it, with its options
        self.process = None
        self.ports = {}

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.wrapper, self.program, "--listen-host=127.0.0.1", "--legacy-port=0", "--rest-port=0",
             "--grpc-port=0", f"--base-dir={self.base}", f"--root-dir={self.root}", *self.options],
            stderr=subprocess.PIPE, env=self.environment, text=True)
        lines = []
        while len(self.ports) < 3:
            line = self.process.stderr.readline()
            lines.append(line)
            if not line:
                self.__exit__()
                raise AssertionError(f"sandboxd did not start: {lines}")
            for name, port in LISTENING.findall(line):
                self.ports[name] = int(port)
        for side in (self.base, self.root):
            os.symlink("../outside", os.path.join(side, "out-dir"))
            os.symlink("../outside/secret", os.path.join(side, "out-file"))
            os.symlink("/etc/passwd", os.path.join(side, "etc"))
        return self

    def __exit__(self, *_):
        try:
            self.process.wait(0 if self.ports else 20)  # one that did not start is ending
        except subprocess.TimeoutExpired:
            self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()
        shutil.rmtree(self.folder)

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def memory(self):
        """(resident now, its peak) in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])

    def connect(self, api):
        return http.client.HTTPConnection("127.0.0.1", self.ports[api], timeout=30)

    def raw(self, api):
        return socket.create_connection(("127.0.0.1", self.ports[api]), timeout=30)


class Client:
    """Requests over one kept connection to one API ("runtime" or "files")."""

    def __init__(self, server, api):
        self.connection = server.connect(api)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def request(self, method, path, body=None, headers=()):
        """(status, headers, bytes). The path goes out exactly as it is."""
        self.connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in dict(headers).items():
            self.connection.putheader(name, value)
        if isinstance(body, bytes):
            self.connection.putheader("Content-Length", str(len(body)))
            self.connection.endheaders(body)
        elif body is not None:
            self.connection.putheader("Transfer-Encoding", "chunked")
            self.connection.endheaders(body, encode_chunked=True)
        else:
            self.connection.endheaders()
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def json(self, method, path, body=None, headers=()):
        """(status, document)"""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        status, _, text = self.request(method, path, body, headers)
        return status, json.loads(text) if text else None


def form(name, contents, field="file", boundary="----boundary7"):
    """(body, headers) of a multipart upload as the Python clients send it."""
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; '
            f'filename="{name}"\r\n\r\n').encode()
    return (head + contents + f"\r\n--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"})
