#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 clients that connect and then do nothing: the others are answered as before.

usage: CAY=… idle_test.py        IDLE=… how many (10,000)
"""

import concurrent.futures
import http.client
import os
import pathlib
import resource
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402

IDLE = int(os.environ.get("IDLE", "10000"))
MUTE = IDLE // 5
KIB_EACH = 32  # of the server's memory
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: cay\r\n\r\n"


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def median(ask):
    """Seconds that a request takes in the middle of 100, the best of three such."""
    def once():
        begun = time.perf_counter()
        ask()
        return time.perf_counter() - begun
    return min(sorted(once() for _ in range(100))[50] for _ in range(3))


def open_all(count, connect):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: connect(), range(count)))


def say(connection):
    """A connection that has been used once, and is kept."""
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200"), "refused"
    return connection


def stays_as_it_was(name, pid, ask, address, connect):
    alone, before, files = median(ask), memory(pid), descriptors(pid)
    begun, idle, mute = time.monotonic(), [], []
    try:
        idle = open_all(IDLE, connect)
        took = time.monotonic() - begun
        assert descriptors(pid) >= files + IDLE, descriptors(pid)
        crowded, after = median(ask), memory(pid)
        mute = [socket.create_connection(address) for _ in range(MUTE)]
        assert descriptors(pid) > files + IDLE
        silent = median(ask)
        print(f"# {name}: {IDLE} idle connections in {took:.0f} s; a request took "
              f"{alone * 1e3:.2f} ms, then {crowded * 1e3:.2f} ms, with {MUTE} mute ones "
              f"{silent * 1e3:.2f} ms; {(after - before) / IDLE:.1f} KiB each", flush=True)
        assert after - before <= KIB_EACH * IDLE, (before, after)
        assert max(crowded, silent) <= 3 * alone + 0.002, (alone, crowded, silent)
        # Who says nothing at all is sent away after ten seconds; who has asked once may stay.
        wait_for(lambda: descriptors(pid) < files + IDLE + MUTE // 10, 30, "the mute to be closed")
        assert descriptors(pid) >= files + IDLE
        say(idle[0])
        say(idle[-1])
    finally:
        for connection in idle + mute:
            connection.close()
    wait_for(lambda: descriptors(pid) < files + IDLE // 10, 30, "the idle to be closed")
    assert median(ask) <= 3 * alone + 0.002


def test_the_api_with_idle_clients(instance):
    api = instance.api()
    address = (api.host, api.port)
    def connect():
        plain = socket.create_connection(address)
        return say(api.tls.wrap_socket(plain, server_hostname=api.host))
    stays_as_it_was("API", instance.roles()["control"],
                    lambda: api.get("/api/v1/namespaces/default"), address, connect)


def test_the_router_with_idle_clients(instance):
    host, port = instance.router.split("//")[-1].split(":")
    address = (host, int(port))
    kept = http.client.HTTPConnection(*address)
    def ask():
        kept.request("GET", "/healthz")
        kept.getresponse().read()
    stays_as_it_was("router", instance.roles()["router"], ask, address,
                    lambda: say(socket.create_connection(address)))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))  # what most shells give
    with Instance() as running:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        tap.main(globals(), (running,))
