#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""socket-activate: what stands in a sandbox until somebody connects.

Mutations that must fail here: socket_activate.c without SO_REUSEADDR's bind error, or that runs the
program at once; main.c of sandboxd that keeps LISTEN_FDS in the environment or does not compare
LISTEN_PID; server.c that binds although it has the socket.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402

ACTIVATE, SANDBOXD = os.environ["SOCKET_ACTIVATE"], os.environ["SANDBOXD"]


class Waiting:
    """A socket-activate on free ports in a folder of its own, with sandboxd behind it."""

    def __init__(self, program=SANDBOXD, **environment):
        self.program, self.environment = program, environment

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sandboxd-test-")
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.ports = [each.getsockname()[1] for each in held]
        for each in held:
            each.close()
        runtime, files, process = self.ports
        self.process = subprocess.Popen(
            [ACTIVATE, ",".join(map(str, self.ports)), self.program, f"--legacy-port={runtime}",
             f"--rest-port={files}", f"--grpc-port={process}", f"--base-dir={self.folder.name}",
             f"--root-dir={self.folder.name}"], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **self.environment})
        said = self.process.stderr.readline()
        assert "will serve the ports" in said, said
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.folder.cleanup()

    def name(self):
        return pathlib.Path(f"/proc/{self.process.pid}/comm").read_text("utf-8").strip()

    def sockets(self):
        return [os.readlink(f"/proc/{self.process.pid}/fd/{fd}") for fd in (3, 4, 5)]

    def execute(self, command):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[0]}/execute", json.dumps({"command": command}).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())["stdout"]


def test_the_first_connection_starts_the_program():
    with Waiting(KEPT="yes") as waiting:
        assert waiting.name() == "socket-activate", waiting.name()
        before = waiting.sockets()
        variables = waiting.execute("env").splitlines()
        assert "KEPT=yes" in variables, variables
        assert not [each for each in variables if each.startswith("LISTEN_")], variables
        assert waiting.name().startswith("sandboxd"), waiting.name()
        with urllib.request.urlopen(f"http://127.0.0.1:{waiting.ports[1]}/v1/files/",
                                    timeout=20) as answer:
            assert answer.status == 200
        assert waiting.sockets() == before, (before, waiting.sockets())


def test_any_of_the_ports_will_do():
    with Waiting() as waiting, socket.create_connection(("127.0.0.1", waiting.ports[2])):
        wait_for(lambda: waiting.name().startswith("sandboxd"), what="the program")


def test_it_ends_when_told_to():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Waiting() as waiting:
            waiting.process.send_signal(number)
            assert waiting.process.wait(20) == 0


def test_sockets_of_somebody_else_are_not_taken():
    with Waiting() as waiting:
        environment = {**os.environ, "LISTEN_FDS": "3", "LISTEN_PID": str(os.getpid())}
        done = subprocess.run([SANDBOXD, f"--legacy-port={waiting.ports[0]}",
                               f"--base-dir={waiting.folder.name}",
                               f"--root-dir={waiting.folder.name}"], text=True, timeout=20,
                              capture_output=True, env=environment, check=False)
        assert done.returncode == 1 and "Cannot listen on 0.0.0.0:" in done.stderr, done


def test_what_it_cannot_do_is_said():
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, code, said in (
                ([], 1, "usage: "), (["80"], 1, "usage: "), (["0", "true"], 1, "usage: "),
                (["8080,", "true"], 1, "usage: "), (["-1", "true"], 1, "usage: "),
                (["65536", "true"], 1, "usage: "), (["1,2,3,4,5,6,7,8,9", "true"], 1, "usage: "),
                ([str(port), "true"], 1, f"cannot listen on port {port}: ")):
            done = subprocess.run([ACTIVATE, *arguments], capture_output=True, text=True,
                                  timeout=20, check=False)
            assert done.returncode == code and said in done.stderr, (arguments, done)
    with Waiting(program="/nowhere") as waiting:
        with socket.create_connection(("127.0.0.1", waiting.ports[0])):
            assert waiting.process.wait(20) == 127
        assert "cannot run /nowhere: No such file" in waiting.process.stderr.read()


if __name__ == "__main__":
    tap.main(globals())
