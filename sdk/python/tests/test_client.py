# SPDX-License-Identifier: Apache-2.0
"""The client against fake servers: what goes over the wire, and what is done when it fails."""

import io
import json
import os
import pathlib
import sys
import tempfile
import time
import types
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import agentic_sandbox  # noqa: E402
from agentic_sandbox import (  # noqa: E402
    ExecutionResult, FileEntry, KubernetesError, SandboxClient, SandboxError, SandboxRequestError)
from fakes import Cluster, Router, claim, make_kubectl  # noqa: E402


def becomes_ready(name):
    yield "ADDED", {}
    yield "BOOKMARK", {}
    yield "MODIFIED", claim(False, name, reason="SandboxNotReady")
    yield "MODIFIED", claim(True, name)


class Base(unittest.TestCase):
    def setUp(self):
        self.cluster, self.router = Cluster(), Router()
        self.addCleanup(self.cluster.close)
        self.addCleanup(self.router.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        config = os.path.join(self.folder, "config")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": self.cluster.server.url}}],
                "users": [{"name": "u", "user": {"token": "token-1"}}]}, file)
        environment = {"KUBECONFIG": config, "PATH": self.folder + os.pathsep + os.environ["PATH"]}
        for patch in (mock.patch.dict(os.environ, environment),
                      mock.patch.object(agentic_sandbox.client, "RETRY_PAUSE", 0.01)):
            patch.start()
            self.addCleanup(patch.stop)

    def client(self, **options):
        return SandboxClient("template", "demo", **{"api_url": self.router.server.url, **options})


class Life(Base):
    def test_a_claim_is_made_awaited_and_deleted(self):
        self.cluster.watches = [becomes_ready]
        self.cluster.annotations = {"agents.x-k8s.io/pod-name": "warm-pod-1"}
        with self.client() as box:
            self.assertRegex(box.claim_name, r"^sandbox-claim-[0-9a-f]{8}$")
            self.assertEqual(box.sandbox_name, box.claim_name)
            self.assertEqual(box.pod_name, "warm-pod-1")
            self.assertEqual(box.annotations, {"agents.x-k8s.io/pod-name": "warm-pod-1"})
            self.assertTrue(box.is_ready())
            self.assertEqual(self.cluster.claims[box.claim_name], {
                "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxClaim",
                "metadata": {"name": box.claim_name, "annotations": {}},
                "spec": {"sandboxTemplateRef": {"name": "template"}}})
            watch = self.cluster.server.log[1][1]
            self.assertIn(f"{Cluster.CLAIMS.format('v1alpha1')}?fieldSelector=metadata.name%3D{box.claim_name}"
                          "&watch=true&timeoutSeconds=180", watch)
        self.assertEqual(self.cluster.claims, {})
        self.assertFalse(box.is_ready())

    def test_without_annotation_the_pod_is_named_as_the_sandbox(self):
        self.cluster.watches = [becomes_ready]
        with self.client() as box:
            self.assertEqual(box.pod_name, box.sandbox_name)
            self.assertEqual(box.annotations, {})

    def test_a_member_of_a_pool_keeps_its_name(self):
        for key in ("name", "Name"):  # early controllers wrote it with a capital
            self.cluster.watches = [lambda _: iter([("ADDED", claim(True, "pool-x", key))])]
            with self.client() as box:
                self.assertEqual((box.sandbox_name, box.pod_name), ("pool-x", "pool-x"))
                box.run("x")
            self.assertEqual(self.router.server.headers[-1]["X-Sandbox-ID"], "pool-x")

    def test_a_claim_of_a_pool(self):
        self.cluster.watches, self.cluster.VERSION = [becomes_ready], "v1beta1"
        with SandboxClient(warmpool="pool", namespace="demo",
                           api_url=self.router.server.url) as box:
            made = self.cluster.claims[box.claim_name]
            self.assertEqual(made["apiVersion"], "extensions.agents.x-k8s.io/v1beta1")
            self.assertEqual(made["spec"], {"warmPoolRef": {"name": "pool"}})
        self.assertEqual(self.cluster.claims, {})
        for arguments in ({}, {"template_name": "t", "warmpool": "p"}):
            with self.assertRaisesRegex(ValueError, "either template_name or warmpool"):
                SandboxClient(**arguments)

    def test_the_callers_trace_goes_along(self):
        otel = types.ModuleType("opentelemetry")
        otel.propagate = types.SimpleNamespace(
            inject=lambda carrier: carrier.update(traceparent="00-1-2-01"))
        self.cluster.watches = [becomes_ready]
        with mock.patch.dict(sys.modules, {"opentelemetry": otel}), self.client() as box:
            box.run("x")
            made = self.cluster.claims[box.claim_name]
        self.assertEqual(made["metadata"]["annotations"], {
            "opentelemetry.io/trace-context": '{"traceparent": "00-1-2-01"}'})
        self.assertEqual(self.router.server.headers[-1]["traceparent"], "00-1-2-01")

    def test_a_watch_that_ends_is_begun_anew(self):
        self.cluster.watches = [
            lambda name: iter([("ADDED", claim(False))]), 500, 410,
            lambda name: iter([("ERROR", {"code": 410}), ("ADDED", claim(True, "wrong"))]),
            becomes_ready]
        with self.client() as box:
            self.assertEqual(box.sandbox_name, box.claim_name)
        self.assertEqual(self.cluster.watches, [])

    def test_what_is_not_ready_in_time_says_why_and_leaves_nothing(self):
        began = time.monotonic()
        with self.assertRaisesRegex(TimeoutError, "not ready within 0.4 seconds: .*controller"):
            self.client(sandbox_ready_timeout=0.4).__enter__()
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.cluster.claims, {})

        self.cluster.watches = [lambda _: iter([("ADDED", claim(
            False, reason="SandboxNotReady", message="the Pod is Pending"))])]
        with self.assertRaisesRegex(TimeoutError, "SandboxNotReady: the Pod is Pending"):
            self.client(sandbox_ready_timeout=0.2).__enter__()

    def test_what_will_not_be_ready_is_told_at_once(self):
        began = time.monotonic()
        for events, words in (
                ([("ADDED", claim(False, reason="TemplateNotFound", message="no template"))],
                 "TemplateNotFound: no template"),
                ([("ADDED", claim(False, "s", reason="PodFailed", message="it ended"))],
                 "PodFailed: it ended"),
                ([("ADDED", {}), ("DELETED", {})], "was deleted meanwhile")):
            self.cluster.watches = [lambda _, told=events: iter(told)]
            with self.assertRaisesRegex(SandboxError, words):
                self.client().__enter__()
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.cluster.claims, {})

    def test_refusals_of_the_api_are_told(self):
        with mock.patch.object(Cluster, "CLAIMS", "/other"):
            with self.assertRaisesRegex(KubernetesError, "not found") as caught:
                self.client().__enter__()
        self.assertEqual((caught.exception.status_code, caught.exception.reason),
                         (404, "NotFound"))
        self.cluster.watches = [403]
        with self.assertRaisesRegex(KubernetesError, "not now"):
            self.client().__enter__()
        self.assertEqual(self.cluster.claims, {})

    def test_a_claim_that_cannot_be_deleted_is_logged(self):
        self.cluster.watches, self.cluster.refuse_deletion = [becomes_ready], True
        with self.assertLogs("agentic_sandbox", "ERROR") as logged:
            with self.client():
                pass
        self.assertIn("not yours", logged.output[0])

    def test_an_error_inside_still_deletes_the_claim(self):
        self.cluster.watches = [becomes_ready]
        with self.assertRaises(ZeroDivisionError):
            with self.client():
                raise ZeroDivisionError
        self.assertEqual(self.cluster.claims, {})

    def test_a_cluster_that_is_away_is_one_sentence(self):
        self.cluster.close()
        with self.assertRaisesRegex(SandboxError, "does not answer"):
            self.client().__enter__()


class Ways(Base):
    def test_a_gateway_gives_its_address(self):
        address = self.router.server.url[len("http://"):]
        self.cluster.watches = [becomes_ready, lambda _: iter([
            ("ADDED", {"status": {}}),
            ("MODIFIED", {"status": {"addresses": [{"value": address}]}})])]
        with self.client(api_url=None, gateway_name="g", gateway_namespace="edge") as box:
            self.assertEqual(box.base_url, f"http://{address}")
            self.assertEqual(box.run("x").exit_code, 3)
        self.assertTrue(any(path.startswith(Cluster.GATEWAYS) and "metadata.name%3Dg" in path
                            for _, path, _ in self.cluster.server.log))

    def test_a_gateway_without_address_is_a_time_out(self):
        self.cluster.watches = [becomes_ready]
        with self.assertRaisesRegex(TimeoutError, "Gateway edge/g had no address"):
            self.client(api_url=None, gateway_name="g", gateway_namespace="edge",
                        gateway_ready_timeout=0.2).__enter__()
        self.assertEqual(self.cluster.claims, {})

    def test_else_kubectl_forwards_to_the_router(self):
        log = make_kubectl(self.folder, self.router.server.server_address[1])
        for namespaces, expected in ((("demo", "agent-sandbox-system"), "demo"),
                                     (("agent-sandbox-system",), "agent-sandbox-system")):
            self.cluster.watches = [becomes_ready]
            self.cluster.router_namespaces = namespaces
            with self.client(api_url=None) as box:
                process = box.port_forward_process
                self.assertEqual(box.run("x").stdout, "ran x\n")
            self.assertIsNotNone(process.poll())
            with open(log, encoding="utf-8") as file:
                arguments = json.loads(file.readlines()[-1])
            self.assertEqual(arguments[:3],
                             ["port-forward", "svc/sandbox-router-svc", ":8080"])
            self.assertEqual(arguments[-2:], ["-n", expected])

    def test_a_port_forward_that_fails_says_what_kubectl_said(self):
        make_kubectl(self.folder, crash=True)
        self.cluster.watches = [becomes_ready]
        with self.assertRaisesRegex(SandboxError, "no such service"):
            self.client(api_url=None).__enter__()
        self.assertEqual(self.cluster.claims, {})

    def test_a_port_forward_that_dies_is_noticed(self):
        make_kubectl(self.folder, self.router.server.server_address[1])
        self.cluster.watches = [becomes_ready]
        with self.client(api_url=None) as box:
            box.port_forward_process.kill()
            box.port_forward_process.wait()
            with self.assertRaisesRegex(SandboxError, "kubectl port-forward ended"):
                box.run("x")


class Requests(Base):
    def setUp(self):
        super().setUp()
        self.cluster.watches = [becomes_ready]
        self.box = self.client().__enter__()
        self.addCleanup(self.box.close)

    def test_commands(self):
        self.assertEqual(self.box.run("python3 -c 'print(1)'"),
                         ExecutionResult("ran python3 -c 'print(1)'\n", "", 3))
        headers = self.router.server.headers[-1]
        self.assertEqual(headers["X-Sandbox-ID"], self.box.claim_name)
        self.assertEqual(headers["X-Sandbox-Namespace"], "demo")
        self.assertEqual(headers["X-Sandbox-Port"], "8888")
        self.assertEqual(headers["Content-Type"], "application/json")

    def test_a_command_has_a_limit(self):
        self.box.run("x", timeout=1, command_timeout=2.5)
        self.assertEqual(json.loads(self.router.server.log[-1][2]),
                         {"command": "x", "timeout_seconds": 2.5})
        self.assertEqual(self.router.server.headers[-1]["X-Sandbox-Timeout"], "12.5")

    def test_the_pods_address_goes_along_and_is_read_again_after_a_failure(self):
        def addresses(count):
            return [headers.get("X-Sandbox-Pod-IP") for headers in
                    self.router.server.headers[-count:]]
        self.box.run("x")
        self.assertEqual(addresses(1), [None])
        self.cluster.watches = [becomes_ready]
        self.cluster.addresses = [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]
        with self.client() as box:
            box.run("x")
            self.cluster.addresses = ["10.0.0.2"]
            box.run("x")
            self.router.failures = [(502, ())]
            box.exists("a")  # 502, then answered
        self.assertEqual(addresses(4), ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"])

    def test_files(self):
        for path, content, expected in (
                ("test.txt", "SDK test content", b"SDK test content"),
                ("a/b c/d.bin", bytes(range(256)), bytes(range(256))),
                ('q"uote\\', b"", b""),
                ("large", io.BytesIO(b"x" * 300000), b"x" * 300000)):
            self.box.write(path, content)
            self.assertEqual(self.router.files[path], expected)
            self.assertEqual(self.box.read(path), expected)
            copy = io.BytesIO()
            self.assertEqual(self.box.read_to(path, copy), len(expected))
            self.assertEqual(copy.getvalue(), expected)
            self.assertTrue(self.box.exists(path))
        self.assertFalse(self.box.exists("missing"))
        self.assertEqual(self.box.list("."), [FileEntry("a", 1, "file", 1.5)])
        self.assertEqual(self.router.server.log[-1][1], "/list/.")

    def test_names_that_are_none_are_refused_here(self):
        for path in ("", "/", " ", "a\r\nb", "a\0b"):
            with self.assertRaises(ValueError):
                self.box.write(path, b"")

    def test_missing_files_are_errors(self):
        with self.assertRaisesRegex(SandboxRequestError, "File not found") as caught:
            self.box.read("missing")
        self.assertEqual(caught.exception.status_code, 404)
        self.router.files["cut"] = b"cut"
        for read in (lambda: self.box.read("cut"), lambda: self.box.read_to("cut", io.BytesIO())):
            with self.assertRaises(SandboxRequestError):
                read()

    def test_failures_are_repeated_where_that_is_safe(self):
        def requests():
            count = len(self.router.server.log) - requests.before
            requests.before += count
            return count
        requests.before = 0
        self.router.failures = [(500, ()), (502, ()), (503, ()), (504, ())]
        self.box.write("a", b"1")
        self.assertEqual(requests(), 5)
        self.router.failures = [(503, [("Retry-After", "1")])]
        self.assertEqual(self.box.run("x").exit_code, 3)
        self.assertEqual(requests(), 2)
        for status in (500, 502, 503, 504, 400):
            self.router.failures = [(status, ())]
            with self.assertRaises(SandboxRequestError) as caught:
                self.box.run("x")
            self.assertEqual((caught.exception.status_code, requests()), (status, 1))
        self.router.failures = [(500, ())]
        with self.assertRaises(SandboxRequestError):
            self.box.write("b", io.BytesIO(b"once"))
        self.assertEqual(requests(), 1)
        self.router.failures = [(502, ())] * 6
        with self.assertRaises(SandboxRequestError):
            self.box.read("a")
        self.assertEqual(requests(), 6)

    def test_a_router_that_is_away_is_one_sentence(self):
        self.router.close()
        self.box._router.close()
        with self.assertRaisesRegex(SandboxRequestError, "does not answer"):
            self.box.run("x")

    def test_outside_of_its_life_nothing_is_sent(self):
        self.box.close()
        with self.assertRaisesRegex(SandboxError, "with block"):
            self.box.run("x")


if __name__ == "__main__":
    unittest.main()
