#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cay router` as a process without a cluster: TLS, tokens, protocols, its end, and bad input."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.router import Authority, Backend, Router, decisions, scoped_token  # noqa: E402
from lib.scene import same  # noqa: E402

CAY = os.environ.get("CAY")
LOCAL = ("--allow-loopback-pod-ip", "--cache-enabled=false")
KEY = b"0123456789abcdef0123456789abcdef"
MIB = 1024 * 1024


class Folder:
    """What a Secret's volume looks like: ..data is a symlink that turns to a new folder."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="cay-router-"))
        self.authority = Authority(self.path, "ours")
        self.version = 0

    def put(self, certificate, key, authority):
        self.version += 1
        folder = self.path / f"..{self.version}"
        folder.mkdir()
        for name, source in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", authority)):
            shutil.copy(source, folder / name)
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(pathlib.Path("..data") / name)
        (self.path / "..new").symlink_to(folder.name)
        os.rename(self.path / "..new", self.path / "..data")

    def options(self):
        return (f"--tls-cert-file={self.path}/tls.crt", f"--tls-key-file={self.path}/tls.key",
                "--https-bind-address=127.0.0.1:0")


@contextlib.contextmanager
def certificates():
    folder = Folder()
    try:
        folder.put(*folder.authority.issue("first"), folder.authority.certificate)
        yield folder
    finally:
        shutil.rmtree(folder.path)


def request(router, backend, path="/", method="GET", body=None, tls=None, headers=()):
    """(status, body) of one request on a connection of its own."""
    if tls:
        connection = http.client.HTTPSConnection("localhost", router.port("https"), context=tls,
                                                 timeout=20)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", router.port(), timeout=20)
    try:
        connection.request(method, path, body, {**backend.headers(), **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def trusting(authority, certificate=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if certificate:
        context.load_cert_chain(*map(str, certificate))
    return context


def serial_of(router):
    """What tells one certificate from another."""
    return ssl.get_server_certificate(("127.0.0.1", router.port("https")))


def refused(call):
    """Whether TLS ended it: in the handshake, or in TLS 1.3 just after it."""
    try:
        call()
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return True
    return False


# ---- TLS ----

def test_serves_tls_and_takes_up_new_certificates(backend):
    with certificates() as folder, Router(CAY, *LOCAL, *folder.options()) as router:
        ours = trusting(folder.authority)
        status, body = request(router, backend, tls=ours)
        same((200, "https"), (status, json.loads(body)["headers"]["x-forwarded-proto"]))
        first = serial_of(router)
        kept = http.client.HTTPSConnection("localhost", router.port("https"), context=ours)
        kept.request("GET", "/", headers=backend.headers())
        same(200, kept.getresponse().read() and 200)

        # A key that is another's: all stays as it was, and is told once.
        second = folder.authority.issue("second")
        folder.put(second[0], folder.path / "first.key", folder.authority.certificate)
        wait_for(lambda: router.metric('sandbox_router_cert_reloads_total{outcome="failure"}') == 1,
                 10, "a failed reload")
        same(first, serial_of(router))
        same(200, request(router, backend, tls=ours)[0])

        folder.put(*second, folder.authority.certificate)
        wait_for(lambda: router.metric('sandbox_router_cert_reloads_total{outcome="success"}') == 1,
                 10, "a reload")
        assert serial_of(router) != first
        same(1.0, router.metric('sandbox_router_cert_reloads_total{outcome="failure"}'))
        same(200, request(router, backend, tls=ours)[0])
        # A connection of before goes on.
        kept.request("GET", "/", headers=backend.headers())
        same(200, kept.getresponse().status)
        kept.close()


def test_client_certificates_are_off_optional_or_required(backend):
    with certificates() as folder, tempfile.TemporaryDirectory() as elsewhere:
        other = Authority(elsewhere, "other")
        ours = folder.authority.issue("client", "jane")
        with_none, with_ours = trusting(folder.authority), trusting(folder.authority, ours)
        with_others = trusting(folder.authority, other.issue("stranger"))
        ca = f"--tls-client-ca-file={folder.path}/ca.crt"
        for mode, allowed in (("off", (True, True, True)), ("optional", (True, True, False)),
                              ("required", (False, True, False))):
            with Router(CAY, *LOCAL, *folder.options(), ca, f"--mtls-mode={mode}") as router:
                for context, wanted in zip((with_none, with_ours, with_others), allowed):
                    if wanted:
                        same(200, request(router, backend, tls=context)[0])
                    else:
                        assert refused(lambda c=context: request(router, backend, tls=c)), mode
                if mode != "required":
                    continue
                # Who may issue them changes, too.
                folder.put(folder.path / "first.crt", folder.path / "first.key",
                           other.certificate)
                wait_for(lambda: router.said("took a new certificate"), 10, "a reload")
                assert refused(lambda: request(router, backend, tls=with_ours))
                same(200, request(router, backend, tls=with_others)[0])


# ---- tokens ----

def test_scoped_tokens_open_one_sandbox(backend):
    with tempfile.NamedTemporaryFile() as key:
        os.chmod(key.name, 0o600)
        key.write(KEY + b"\n")
        key.flush()
        options = ("--cluster-domain=invalid", "--upstream-max-retries=0", *LOCAL,
                   "--authz-mode=scoped-token", f"--authz-scoped-token-secret-file={key.name}")
        with Router(CAY, *options) as router:
            def ask(token, *without, **more):
                headers = {**backend.headers(), **more}
                if token:
                    headers["Authorization"] = f"Bearer {token}"
                for name in without:
                    del headers[name]
                connection = http.client.HTTPConnection("127.0.0.1", router.port(), timeout=20)
                connection.request("GET", "/", headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                connection.close()
                return answer.status, answer.getheader("WWW-Authenticate"), body

            soon = time.time() + 60
            good = scoped_token(KEY, "default", "box", soon)
            unauthenticated = (401, "Bearer", b'{"detail":"unauthenticated"}\n')
            forbidden = (403, None, b'{"detail":"forbidden"}\n')
            for token in (None, "v1.e30.AA", good[:-2], good.replace("v1.", "v2."),
                          scoped_token(KEY[::-1], "default", "box", soon),
                          scoped_token(KEY, "default", "box", time.time() - 1)):
                same(unauthenticated, ask(token))
            # An address or uid leads elsewhere than the name that was compared.
            same(forbidden, ask(good))
            same(forbidden, ask(good, "X-Sandbox-Pod-IP", **{"X-Sandbox-UID": "u"}))
            for other in (scoped_token(KEY, "default", "other", soon),
                          scoped_token(KEY, "other", "box", soon)):
                same(forbidden, ask(other, "X-Sandbox-Pod-IP"))
            # The header's form comes first, then who it is, then the sandbox.
            same(400, ask(None, **{"X-Sandbox-ID": "Not a name"})[0])
            same((502, b'{"detail":"Could not connect to the backend sandbox: box"}\n'),
                 ask(good, "X-Sandbox-Pod-IP")[::2])
            same(1.0, router.metric(decisions("default", "allow")))
            same(10.0, router.metric(decisions("default", "deny")))
            same((200, '{"status":"ok"}'), router.get("http", "/healthz"))
        os.chmod(key.name, 0o644)
        done = subprocess.run([CAY, "router", *options], text=True, capture_output=True,
                              timeout=10, check=False)
        assert done.returncode != 0 and "Everybody may read the key" in done.stderr, done


# ---- addresses ----

def test_ipv6_on_both_sides(backend):
    with Backend("::1") as sixth, Router(CAY, *LOCAL, http="[::1]:0") as router:
        connection = http.client.HTTPConnection("::1", router.port(), timeout=10)
        connection.request("GET", "/a%2Fb?c=%20", headers=sixth.headers())
        answer = json.loads(connection.getresponse().read())
        connection.close()
        same("/a%2Fb?c=%20", answer["path"])
        same(f"[::1]:{sixth.port}", answer["headers"]["host"])
        same("::1", answer["headers"]["x-forwarded-for"])
    # All interfaces, both families; an IPv4 client has its own form of address.
    with Router(CAY, *LOCAL, http=":0") as router:
        status, body = request(router, backend)
        same((200, "127.0.0.1"), (status, json.loads(body)["headers"]["x-forwarded-for"]))


# ---- what is passed on ----

def test_names_of_the_client_do_not_go_on(backend):
    with Router(CAY, *LOCAL) as router:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        seen = json.loads(request(router, backend, headers={
            "Authorization": "Bearer secret", "Connection": "close, x-secret", "X-Secret": "s",
            "Proxy-Authorization": "Basic eA==", "X-Forwarded-For": "10.9.8.7",
            "Traceparent": parent, "Origin": "https://elsewhere.example"})[1])["headers"]
        for name in ("authorization", "x-secret", "proxy-authorization"):
            assert name not in seen, seen
        same("10.9.8.7, 127.0.0.1", seen["x-forwarded-for"])
        same("https://elsewhere.example", seen["origin"])
        assert seen["traceparent"].startswith(parent[:36]) and seen["traceparent"] != parent, seen
        line = wait_for(lambda: router.said("path=/ "), 5, "the access log")[0]
        assert "trace_id=0af7651916cd43dd8448eb211c80319c" in line, line


FIELDS = ("method", "path", "status", "duration_ms", "client_ip", "sandbox_id",
          "sandbox_namespace", "bytes_out", "user_agent", "trace_id", "span_id")


def test_the_access_log_says_all_but_the_query(backend):
    with Router(CAY, *LOCAL) as router:
        request(router, backend, "/some/path?token=hidden", headers={"User-Agent": 'a "b" c'})
        line = wait_for(lambda: router.said("path=/some/path"), 5, "the access log")[0]
        found = dict(re.findall(r'(\w+)=("[^"]*"|\S*)', line))
        same(list(FIELDS), list(found))
        assert "hidden" not in line and "token" not in line, line
        same(("GET", "/some/path", "200", "127.0.0.1", "box", "default", '"a ?b? c"'),
             tuple(found[name] for name in ("method", "path", "status", "client_ip", "sandbox_id",
                                            "sandbox_namespace", "user_agent")))
        assert re.fullmatch(r"\d+\.\d{3}", found["duration_ms"]), line
        assert re.fullmatch("[0-9a-f]{32}", found["trace_id"]), line
        assert int(found["bytes_out"]) > 0, line


def test_the_access_log_counts_the_routers_own_answers(backend):
    with Router(CAY, *LOCAL, "--upstream-max-retries=0") as router:
        nobody = {"X-Sandbox-Port": "1"}
        asked = {"/gone": ("GET", nobody, 502), "/malformed": ("GET", {"X-Sandbox-ID": "No"}, 400),
                 "/head": ("HEAD", nobody, 502)}
        for path, (method, headers, status) in asked.items():
            answer, body = request(router, backend, path, method, headers=headers)
            same(status, answer)
            line = wait_for(lambda p=path: router.said(f"path={p} "), 5, "the access log")[0]
            assert f" status={status} " in line and f" bytes_out={len(body)} " in line, (line, body)
            same(method == "HEAD", body == b"")


UPSTREAM_METRICS = (
    'requests_total{method="GET",code="200",sandbox_namespace="default"} 1',
    'request_duration_seconds_count{method="GET",code="200",sandbox_namespace="default"} 1',
    'inflight_requests 0', 'upstream_errors_total{sandbox_namespace="default",reason="dial"} ',
    'upstream_retries_total{sandbox_namespace="default"} 1',
    'authz_decisions_total{sandbox_namespace="default",decision="allow"} 2',
    'cert_reloads_total{outcome="success"} ',
    'build_info{git_version="')
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)


def test_metrics_have_upstreams_names(backend):
    with certificates() as folder, Router(
            CAY, *LOCAL, *folder.options(), "--upstream-max-retries=1",
            "--upstream-retry-initial-delay=1ms") as router:
        folder.put(*folder.authority.issue("second"), folder.authority.certificate)
        wait_for(lambda: router.metric('sandbox_router_cert_reloads_total{outcome="success"}') == 1,
                 10, "a reload")
        request(router, backend)
        same(502, request(router, backend, headers={"X-Sandbox-Port": "1"})[0])
        text = router.get("metrics", "/metrics")[1]
        text = text if isinstance(text, str) else text.decode()
        for name in UPSTREAM_METRICS:
            assert f"\nsandbox_router_{name}" in text, (name, text)
        same(BUCKETS, tuple(map(float, re.findall(
            r'duration_seconds_bucket\{method="GET",code="200",[^}]*le="([\d.]+)"', text))))


def test_spans_go_to_a_collector(backend):
    with Backend() as collector:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
                    "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        trace, span = bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes(range(1, 9))
        with Router(CAY, *LOCAL, environment=endpoint) as router:
            parent = f"00-{trace.hex()}-{span.hex()}-01"
            seen = json.loads(request(router, backend, "/traced?secret", headers={
                "Traceparent": parent, "Tracestate": "a=b"})[1])["headers"]
            same("a=b", seen["tracestate"])
            ours = bytes.fromhex(seen["traceparent"].split("-")[2])
            # A state without a trace belongs to nothing.
            assert "tracestate" not in json.loads(request(router, backend, headers={
                "Traceparent": "00-0-0-0", "Tracestate": "a=b"})[1])["headers"]
            # What is recorded last is sent before the end.
            router.process.terminate()
            same(0, router.process.wait(10))
        method, path, _, body = collector.seen[-1]
        same(("POST", "/v1/traces"), (method, path))
        for part in (trace, span, ours, b"/traced", b"box", b"sandbox-router"):
            assert part in body, part
        assert b"secret" not in body
        collector.seen.clear()
        with Router(CAY, *LOCAL, "--enable-tracing=false", environment=endpoint) as router:
            same(200, request(router, backend)[0])
        same([], collector.seen)


def test_websockets_pass_with_and_without_tls(backend):
    with certificates() as folder, Router(CAY, *LOCAL, *folder.options()) as router:
        for what, tls in (("http", None), ("https", trusting(folder.authority))):
            with upgraded(router, backend, what, tls) as tunnel:
                for size in (1, 70000):
                    tunnel.sendall(b"x" * size)
                    same(size, len(read_exactly(tunnel, size)))
        wait_for(lambda: router.metric("sandbox_router_tunnels") == 0, 10, "the tunnels to end")


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise AssertionError(f"ended after {len(data)} of {size} bytes")
        data += more
    return data


def upgraded(router, backend, what="http", tls=None):
    connection = socket.create_connection(("127.0.0.1", router.port(what)), timeout=20)
    if tls:
        connection = tls.wrap_socket(connection, server_hostname="localhost")
    lines = [f"{name}: {value}" for name, value in backend.headers().items()]
    connection.sendall(("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                        "Upgrade: websocket\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return connection


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "30", *map(str, arguments)],
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"curl {arguments}: {done.stderr}")
    return done.stdout


def test_http2_of_clients_with_and_without_tls(backend):
    fields = [part for name, value in backend.headers().items() for part in ("-H",
                                                                             f"{name}: {value}")]
    with certificates() as folder, Router(CAY, *LOCAL, *folder.options()) as router, \
            tempfile.NamedTemporaryFile() as body:
        body.write(os.urandom(5 * MIB))
        body.flush()
        for arguments in (
                ("--http2-prior-knowledge", f"http://127.0.0.1:{router.port()}"),
                ("--http2", "--cacert", folder.authority.certificate,
                 f"https://localhost:{router.port('https')}")):
            answer = curl(*arguments[:-1], *fields, "-H", "Cookie: a=b", "-H", "Cookie: c=d",
                          "-w", "%{http_version}", arguments[-1] + "/x%2Fy?q=%20")
            seen = json.loads(answer[:-1])
            same((b"2", "/x%2Fy?q=%20", "a=b; c=d"), (answer[-1:], seen["path"],
                                                      seen["headers"]["cookie"]))
            assert "localhost" in seen["headers"]["x-forwarded-host"] or \
                "127.0.0.1" in seen["headers"]["x-forwarded-host"], seen
            same(pathlib.Path(body.name).read_bytes(),
                 curl(*arguments[:-1], *fields, "--data-binary", f"@{body.name}",
                      arguments[-1] + "/echo"))


# ---- gRPC ----

class Greeter:
    """A gRPC server in plain bytes: no protobuf is needed to see what arrives."""

    def __init__(self):
        handlers = {"Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                    "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                    "Count": grpc.unary_stream_rpc_method_handler(self.count),
                    "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
                    "Stall": grpc.stream_unary_rpc_method_handler(self.stall),
                    "Much": grpc.unary_stream_rpc_method_handler(self.much),
                    "Chat": grpc.stream_stream_rpc_method_handler(self.chat)}
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Greeter", handlers),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.ended = []  # of Chat: whether it was cancelled
        self.go = threading.Event()  # of Stall
        self.made = 0  # by Much

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait()

    @staticmethod
    def echo(request, context):
        seen = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-seen", seen.get("x-mine", "")),))
        context.set_trailing_metadata((("x-after", "trailer"), ("x-bytes-bin", b"\x00\xff")))
        return request

    @staticmethod
    def fail(_, context):
        context.set_trailing_metadata((("x-after", "failure"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now, näh")

    @staticmethod
    def count(request, _):
        for number in range(int(request)):
            yield b"%d" % number + b"." * 10000

    @staticmethod
    def sum(requests, _):
        return b"%d" % sum(map(len, requests))

    def stall(self, requests, _):
        self.go.wait(30)
        return b"%d" % sum(1 for _ in requests)

    def much(self, _, __):
        for _ in range(200):
            self.made += 1
            yield b"y" * MIB

    def chat(self, requests, context):
        context.add_callback(lambda: self.ended.append(not context.is_active()))
        for request in requests:
            yield b"heard " + request

    def metadata(self, *more):
        return (("x-sandbox-id", "box"), ("x-sandbox-pod-ip", "127.0.0.1"),
                ("x-sandbox-port", str(self.port)), *more)


def calls(channel, kind, name):
    return getattr(channel, kind)(f"/test.Greeter/{name}")


def failure(call):
    """(code, message) of a gRPC call that fails."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it did not fail")


def test_grpc_passes_with_and_without_tls(_):
    with certificates() as folder, Greeter() as greeter, \
            Router(CAY, *LOCAL, *folder.options()) as router:
        trust = grpc.ssl_channel_credentials(folder.authority.certificate.read_bytes())
        for channel in (grpc.insecure_channel(f"127.0.0.1:{router.port()}"),
                        grpc.secure_channel(f"localhost:{router.port('https')}", trust)):
            with channel:
                metadata = greeter.metadata(("x-mine", "mine"), ("authorization", "Bearer secret"))
                answer, call = calls(channel, "unary_unary", "Echo").with_call(
                    b"hello", metadata=metadata, timeout=20)
                same(b"hello", answer)
                same("mine", dict(call.initial_metadata())["x-seen"])
                same("trailer", dict(call.trailing_metadata())["x-after"])
                same(b"\x00\xff", dict(call.trailing_metadata())["x-bytes-bin"])
                # A status with a message, and no body: a head that is its own end.
                code = failure(lambda c=channel: calls(c, "unary_unary", "Fail")(
                    b"", metadata=greeter.metadata(), timeout=20))
                same((grpc.StatusCode.FAILED_PRECONDITION, "not now, näh"), code)
                same(grpc.StatusCode.UNIMPLEMENTED, failure(
                    lambda c=channel: calls(c, "unary_unary", "None")(
                        b"", metadata=greeter.metadata(), timeout=20))[0])
                # Streams, of more than any window holds.
                counted = list(calls(channel, "unary_stream", "Count")(
                    b"500", metadata=greeter.metadata(), timeout=20))
                same([b"%d" % n for n in range(500)], [each.rstrip(b".") for each in counted])
                same(b"5000000", calls(channel, "stream_unary", "Sum")(
                    iter([b"x" * 10000] * 500), metadata=greeter.metadata(), timeout=20))
                same(2 * MIB, len(calls(channel, "unary_unary", "Echo")(
                    b"x" * 2 * MIB, metadata=greeter.metadata(), timeout=20)))
        line = router.said("path=/test.Greeter/Echo")[0]
        assert "status=200" in line and "secret" not in "".join(router.lines()), line


def test_grpc_talks_both_ways_at_once(_):
    with Greeter() as greeter, Router(CAY, *LOCAL, "--proxy-timeout=3s") as router, \
            grpc.insecure_channel(f"127.0.0.1:{router.port()}") as channel:
        said = queue.SimpleQueue()
        answers = calls(channel, "stream_stream", "Chat")(iter(said.get, None),
                                                          metadata=greeter.metadata(), timeout=20)
        # Longer than the proxy's limit in all, as no pause is.
        began = time.monotonic()
        for number in range(7):
            said.put(b"%d" % number)
            same(b"heard %d" % number, next(answers))
            time.sleep(0.5)  # the time that passes is what is tested
        assert time.monotonic() - began > 3.2
        said.put(None)
        same([], list(answers))
        # Silence has an end, here and there.
        silent = calls(channel, "stream_stream", "Chat")(iter(said.get, None),
                                                         metadata=greeter.metadata(), timeout=20)
        said.put(b"once")
        same(b"heard once", next(silent))
        assert failure(lambda: silent)[0] in (grpc.StatusCode.INTERNAL,
                                              grpc.StatusCode.CANCELLED), silent
        wait_for(lambda: len(greeter.ended) == 2, 10, "the sandbox to hear of it")
        said.put(None)
        # A client that gives up.
        gone = calls(channel, "stream_stream", "Chat")(iter(said.get, None),
                                                       metadata=greeter.metadata())
        said.put(b"once")
        same(b"heard once", next(gone))
        gone.cancel()
        wait_for(lambda: len(greeter.ended) == 3, 10, "the sandbox to hear of it")
        said.put(None)
        wait_for(lambda: router.metric("sandbox_router_inflight_requests") == 0, 10, "quiet")


def settled(look):
    """A number, when it has not changed for half a second."""
    last, since = look(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if look() != last:
            last, since = look(), time.monotonic()
    return last


def test_grpc_waits_for_who_is_slow(_):
    with Greeter() as greeter, Router(CAY, *LOCAL) as router, \
            grpc.insecure_channel(f"127.0.0.1:{router.port()}") as channel:
        def memory():
            status = pathlib.Path(f"/proc/{router.process.pid}/status").read_text(encoding="ascii")
            return int(status.split("VmRSS:")[1].split()[0]) / 1024
        before, sent = memory(), [0]

        def pieces():
            for _ in range(200):
                sent[0] += 1
                yield b"x" * MIB
        # The sandbox does not read, then the client does not.
        call = calls(channel, "stream_unary", "Stall").future(
            pieces(), metadata=greeter.metadata(), timeout=60)
        assert 0 < settled(lambda: sent[0]) < 20, sent
        greeter.go.set()
        same(b"200", call.result())
        answers = calls(channel, "unary_stream", "Much")(b"", metadata=greeter.metadata(),
                                                         timeout=60)
        next(answers)
        assert 0 < settled(lambda: greeter.made) < 20, greeter.made
        same(199, len(list(answers)))
        assert memory() - before < 20, (before, memory())


def test_grpc_hears_of_failures_as_statuses(_):
    with tempfile.NamedTemporaryFile() as key:
        os.chmod(key.name, 0o600)
        key.write(KEY)
        key.flush()
        with Router(CAY, *LOCAL, "--authz-mode=scoped-token", "--cluster-domain=invalid",
                    "--upstream-max-retries=0",
                    f"--authz-scoped-token-secret-file={key.name}") as router, \
                grpc.insecure_channel(f"127.0.0.1:{router.port()}") as channel:
            def fail(*metadata):
                return failure(lambda: calls(channel, "unary_unary", "Echo")(
                    b"", metadata=metadata, timeout=20))
            box = ("x-sandbox-id", "box")
            good = ("authorization",
                    "Bearer " + scoped_token(KEY, "default", "box", time.time() + 60))
            same((grpc.StatusCode.INVALID_ARGUMENT, "X-Sandbox-ID header is required."), fail())
            same((grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"), fail(box))
            same((grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
                 fail(("x-sandbox-id", "other"), good))
            same((grpc.StatusCode.UNAVAILABLE,
                  "Could not connect to the backend sandbox: box"), fail(box, good))


def test_grpc_calls_end_before_the_router_does(_):
    with Greeter() as greeter, Router(CAY, *LOCAL) as router, \
            grpc.insecure_channel(f"127.0.0.1:{router.port()}") as channel:
        said = queue.SimpleQueue()
        answers = calls(channel, "stream_stream", "Chat")(iter(said.get, None),
                                                          metadata=greeter.metadata(), timeout=20)
        said.put(b"1")
        same(b"heard 1", next(answers))
        router.process.terminate()
        wait_for(lambda: router.get("probes", "/readyz")[0] == 503, 5, "draining")
        said.put(b"2")
        same(b"heard 2", next(answers))
        said.put(None)
        same([], list(answers))
        same(0, router.process.wait(5))


# ---- the end ----

def test_drains_before_it_ends(backend):
    backend.release.clear()
    with Router(CAY, *LOCAL, "--shutdown-timeout=20s") as router:
        same((200, "ok"), router.get("probes", "/readyz"))
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            request(router, backend, "/held")[0])) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_for(lambda: router.metric("sandbox_router_inflight_requests") == 5, 10,
                 "five requests under way")
        idle = socket.create_connection(("127.0.0.1", router.port()), timeout=10)
        tunnel = upgraded(router, backend)
        router.process.send_signal(signal.SIGTERM)
        wait_for(lambda: router.get("probes", "/readyz") == (503, "draining"), 5, "draining")
        # Nothing new: neither a connection nor a request on one that is open.
        assert refused(lambda: request(router, backend))
        same(b"", idle.recv(1))
        same((200, "ok"), router.get("probes", "/healthz"))
        tunnel.sendall(b"still")
        same(b"still", read_exactly(tunnel, 5))
        backend.release.set()
        for thread in threads:
            thread.join(20)
        same([200] * 5, answers)
        assert router.process.poll() is None
        tunnel.close()
        same(0, router.process.wait(5))


def test_the_time_to_drain_has_an_end(backend):
    backend.release.clear()
    with Router(CAY, *LOCAL, "--shutdown-timeout=500ms") as router:
        tunnel = upgraded(router, backend)
        cut = []
        thread = threading.Thread(target=lambda: cut.append(
            refused(lambda: request(router, backend, "/held"))))
        thread.start()
        wait_for(lambda: router.metric("sandbox_router_inflight_requests") == 1, 10, "a request")
        began = time.monotonic()
        router.process.terminate()
        same(b"", tunnel.recv(1))
        same(0, router.process.wait(5))
        took = time.monotonic() - began
        assert 0.4 < took < 3, took
        thread.join(10)
        same([True], cut)
    backend.release.set()


# ---- bad input ----

def exchange(router, data, ends=True):
    """All that comes back on a connection of its own that sent `data`, and `ends` then."""
    with socket.create_connection(("127.0.0.1", router.port()), timeout=10) as connection:
        try:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass
        return answer


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def test_nothing_is_smuggled(backend):
    fields = "".join(f"{name}: {value}\r\n" for name, value in backend.headers().items()).encode()
    size = str(len(SMUGGLED) + 5).encode()
    cases = {
        "length and chunks": (b"Content-Length: " + size + b"\r\nTransfer-Encoding: chunked\r\n",
                              b"0\r\n\r\n" + SMUGGLED),
        "chunks and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                              b"0\r\n\r\n" + SMUGGLED),
        "two lengths": (b"Content-Length: 0\r\nContent-Length: " + size + b"\r\n", SMUGGLED),
        "a list of lengths": (b"Content-Length: 0, 5\r\n", SMUGGLED),
        "a signed length": (b"Content-Length: +0\r\n", SMUGGLED),
        "a length that is none": (b"Content-Length: 0x0\r\n", SMUGGLED),
        "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        "two codings": (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SMUGGLED),
        "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                          b"0\r\n\r\n" + SMUGGLED),
        "a folded field": (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        "a blank before the colon": (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        "a bare CR": (b"X: a\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        "a NUL": (b"X: a\0b\r\n", b""),
        "a chunk's size that is none": (b"Transfer-Encoding: chunked\r\n",
                                        b"0x0\r\n\r\n" + SMUGGLED),
        "a chunk's size that overflows": (b"Transfer-Encoding: chunked\r\n",
                                          b"10000000000000000\r\n\r\n" + SMUGGLED),
        "two hosts": (b"Host: y\r\n", b""),
    }
    with Router(CAY, *LOCAL) as router:
        for name, (head, body) in cases.items():
            answer = exchange(router, b"POST /first HTTP/1.1\r\nHost: x\r\n" + fields + head +
                              b"\r\n" + body, ends=False)
            assert b"200 OK" not in answer, (name, answer)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (name, answer)
            same(1, answer.count(b"HTTP/1.1 "))
        for line in (b"GET  / HTTP/1.1", b"GET / HTTP/1.1 x", b"GET /a b HTTP/1.1", b"GET / HTTP/9",
                     b"G\xc3\x89T / HTTP/1.1"):
            answer = exchange(router, line + b"\r\nHost: x\r\n" + fields + b"\r\n" + SMUGGLED)
            assert not answer.startswith(b"HTTP/1.1 2"), (line, answer)
        # One sandbox for whoever looks at the first field, another for who looks at the last.
        for name in ("X-Sandbox-ID", "X-Sandbox-Namespace"):
            answer = exchange(router, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields +
                              f"{name}: a\r\n{name}: b\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 400 "), answer
        same([], [entry for entry in backend.seen if entry[1] == "/smuggled"])
        same(200, request(router, backend)[0])


def test_heads_have_a_limit(backend):
    with Router(CAY, *LOCAL, "--max-request-body-bytes=1000") as router:
        for head in ({"X-Long": "a" * 70000}, {f"X-{n}": "a" for n in range(200)}):
            same(431, request(router, backend, headers=head)[0])
        answer = exchange(router, b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer[9:12] in (b"414", b"431"), answer[:100]
        same((413, b'{"detail":"Request body too large."}\n'),
             request(router, backend, method="POST", body=b"x" * 1001))
        same((413, b'{"detail":"Request body too large."}\n'),
             request(router, backend, method="POST", body=iter([b"x" * 600] * 3)))
        same(200, request(router, backend, method="POST", body=b"x" * 1000)[0])


ROUNDS = 200000  # more than the kernel keeps for who does not read
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A field in HPACK, without index or Huffman coding."""
    return (b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode())


def flood(router, frames):
    """Sends until the router ends the connection. How many rounds that took."""
    with socket.create_connection(("127.0.0.1", router.port()), timeout=20) as connection:
        def listen():
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass
        connection.sendall(PREFACE + frame(4))
        listener = threading.Thread(target=listen)
        listener.start()
        rounds = 0
        with contextlib.suppress(OSError):
            for rounds in range(1, ROUNDS + 1):
                connection.sendall(frames(rounds))
                if not listener.is_alive():
                    break
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        listener.join(20)
    return rounds


def test_floods_of_http2_end_their_connection(backend):
    head = b"".join(literal(name, value) for name, value in (
        (":method", "GET"), (":path", "/flood"), (":scheme", "http"), (":authority", "x"),
        *((name.lower(), value) for name, value in backend.headers().items())))
    floods = {
        "rapid reset": lambda n: frame(1, 5, 2 * n - 1, head) +
        frame(3, 0, 2 * n - 1, struct.pack(">I", 8)),
        "settings": lambda n: frame(4, 0, 0, struct.pack(">HI", 3, 100)) * 10,
        "pings": lambda n: frame(6, 0, 0, b"12345678") * 10,
        "continuation": lambda n: frame(1, 1, 1, head) if n == 1 else
        frame(9, 0, 1, literal("x-more", "y" * 100)),
        "empty continuation": lambda n: frame(1, 1, 1, head) if n == 1 else frame(9, 0, 1) * 10,
        "empty data": lambda n: frame(1, 4, 1, head) if n == 1 else frame(0, 0, 1) * 10,
        "window updates of nothing": lambda n: frame(8, 0, 0, struct.pack(">I", 0)),
        "a frame that is too long": lambda n: frame(6, 0, 0, b"x" * 20000),
    }
    with Router(CAY, *LOCAL, "--access-log=false") as router:
        def memory():
            status = pathlib.Path(f"/proc/{router.process.pid}/status").read_text(encoding="ascii")
            return int(status.split("VmRSS:")[1].split()[0])
        request(router, backend)
        before = memory()
        for name, frames in floods.items():
            rounds = flood(router, frames)
            assert rounds < ROUNDS, name
            same(200, request(router, backend)[0])
        assert memory() - before < 20000, (before, memory())
        wait_for(lambda: router.metric("sandbox_router_inflight_requests") == 0, 20, "quiet")


def test_http2_requests_that_are_none_are_refused(backend):
    good = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": "x",
            **{name.lower(): value for name, value in backend.headers().items()}}
    cases = {
        "transfer-encoding": {**good, "transfer-encoding": "chunked"},
        "connection": {**good, "connection": "close"},
        "upper case": {**good, "X-Upper": "a"},
        "CR LF in a value": {**good, "x": "a\r\nTransfer-Encoding: chunked"},
        "a line in the path": {**good, ":path": "/ HTTP/1.1\r\nX: y"},
        "a blank in the path": {**good, ":path": "/a b"},
        "a line in the method": {**good, ":method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        "a length that is wrong": {**good, "content-length": "7"},
        "no path": {name: value for name, value in good.items() if name != ":path"},
        "a field in the name": {**good, "x: y\r\nz": "a"},
    }
    with Router(CAY, *LOCAL) as router:
        for name, fields in cases.items():
            before = len(backend.seen)
            head = b"".join(literal(*field) for field in fields.items())
            answer = exchange(router, PREFACE + frame(4) + frame(1, 5, 1, head))
            assert b"\x88" not in answer[:40], (name, answer)  # :status 200, indexed
            same(before, len(backend.seen))
        same(200, request(router, backend)[0])


if __name__ == "__main__":
    with Backend() as shared:
        tap.main(globals(), (shared,))
