#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sandboxd with allocations that fail: it refuses, and neither crashes, hangs nor half-does."""

import http.client
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from sandboxd.server import Client, Server, form  # noqa: E402

KEPT = bytes(range(256)) * 1000


def attempt(server, api, method, path, body=None, headers=()):
    """The status, or None where the server cut the connection."""
    try:
        with Client(server, api) as client:
            client.connection.timeout = 20
            return client.request(method, path, body, headers)[0]
    except (http.client.HTTPException, ConnectionError):
        return None


def all_requests(server):
    """One of each kind; how many were answered with success."""
    command = json.dumps({"command": "printf '%s' 'a b' c"}).encode()
    upload, kind = form("deep/uploaded", KEPT)
    statuses = [
        attempt(server, "runtime", "GET", "/"),
        attempt(server, "runtime", "POST", "/execute", command),
        attempt(server, "runtime", "POST", "/execute", b'{"command": 7}'),
        attempt(server, "runtime", "POST", "/upload", upload, kind),
        attempt(server, "runtime", "GET", "/download/deep%2Fuploaded"),
        attempt(server, "runtime", "GET", "/list/"),
        attempt(server, "runtime", "GET", "/exists/deep%2Fuploaded"),
        attempt(server, "files", "PUT", "/v1/files/a/b", KEPT),
        attempt(server, "files", "PUT", "/v1/files/a/b", *form("x", KEPT)),
        attempt(server, "files", "GET", "/v1/files/a%2Fb"),
        attempt(server, "files", "GET", "/v1/files/a"),
        attempt(server, "files", "DELETE", "/v1/files/a?recursive=true"),
        attempt(server, "files", "GET", "/v1/metadata"),
        attempt(server, "files", "GET", "/v1/health"),
    ]
    for path in (os.path.join(server.base, "deep/uploaded"), os.path.join(server.root, "a/b")):
        if os.path.exists(path):
            with open(path, "rb") as file:
                assert file.read() == KEPT, f"{path} is half written"
    return sum(status is not None and status < 300 for status in statuses)


def test_it_starts_or_says_why_not():
    started = refused = 0
    for at in range(1, 120):
        server = Server(environment={"FAULT_AT": str(at)})
        try:
            with server:
                started += 1
                assert all_requests(server) >= 11, at
                assert server.stop() == 0, at
        except AssertionError as error:
            # A server that ended before it listened must have ended with a sentence.
            if "did not start" not in str(error):
                raise
            refused += 1
            assert server.process.returncode == 1, (at, server.process.returncode)
            assert "error sandboxd:" in str(error), error
    print(f"# {started} started, {refused} refused")
    assert started and refused


def test_it_lives_through_many_failures():
    for every in (2, 3, 5, 7, 11, 13, 17, 23, 31, 47, 97):
        server = Server(environment={"FAULT_EVERY": str(every), "FAULT_AFTER": "40"})
        with server:
            succeeded = sum(all_requests(server) for _ in range(8))
            assert server.process.poll() is None, (every, server.process.returncode)
            assert server.stop() == 0, every
        print(f"# each {every}th fails: {succeeded} of 104 went well")
        assert succeeded > (40 if every > 20 else 0), succeeded


if __name__ == "__main__":
    tap.main(dict(globals()))
