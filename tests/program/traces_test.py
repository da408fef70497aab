#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Traces of `cay controller --enable-tracing` on a real kube-apiserver, as a collector gets them."""

import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.collector import Collector  # noqa: E402
from lib.control_plane import ControlPlane  # noqa: E402
from lib.controller import CAY, Controller  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import free_port, wait_for  # noqa: E402
from lib.scene import Scene, annotations, blueprint, same  # noqa: E402

ANNOTATION = "opentelemetry.io/trace-context"
INTERNAL, CLIENT = 1, 3
SAMPLED, HAS_IS_REMOTE, IS_REMOTE = 1, 0x100, 0x200


def traced(plane, collector_url, **environment):
    controller = Controller(plane, "--enable-tracing", "--enable-webhook=false",
                            "--leader-elect=false", OTEL_EXPORTER_OTLP_ENDPOINT=collector_url,
                            **{"OTEL_BSP_SCHEDULE_DELAY": "100", **environment})
    controller.until_said("every kind is listed")
    return controller


def new_context(flags="01"):
    """(annotation, trace id, span id)"""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return (json.dumps({"traceparent": f"00-{trace}-{span}-{flags}", "tracestate": "vendor=1"}),
            trace, span)


def make_pool(scene, name, replicas):
    scene.make("sandboxtemplates", name, blueprint())
    scene.make("sandboxwarmpools", name, {"replicas": replicas,
                                          "sandboxTemplateRef": {"name": name}})
    scene.until("sandboxwarmpools", name, lambda pool: (pool.get("status") or {}).get(
        "readyReplicas", 0) == replicas, "ready members")


def claim(scene, name, pool, **metadata):
    made = scene.make("sandboxclaims", name, {"warmPoolRef": {"name": pool}}, **metadata)
    scene.until_ready("sandboxclaims", name)
    return made


def sandbox_of(scene, name):
    return scene.read("sandboxes", scene.read("sandboxclaims", name)["status"]["sandbox"]["name"])


def test_a_warm_claim_continues_the_clients_trace(plane):
    scene = Scene()
    with Collector() as collector, traced(
            plane, collector.url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20c2VjcmV0",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test%20lab"):
        make_pool(scene, "traced", 1)
        context, trace, client_span = new_context()
        claim(scene, "traced", "traced", annotations={ANNOTATION: context})
        roots = wait_for(lambda: collector.named("ReconcileSandboxClaim", trace), 10, "a span")
        root = roots[0]
        same((client_span, INTERNAL, "vendor=1"), (root["parent"], root["kind"], root["state"]))
        same(SAMPLED | HAS_IS_REMOTE | IS_REMOTE, root["flags"])
        same({"sandbox.claim.name": "traced", "sandbox.claim.namespace": scene.namespace,
              "cay.controller": "match"}, root["attributes"])
        writes = {span["name"]: span for span in collector.spans
                  if span["parent"] == root["span_id"]}
        assert {"PATCH sandboxes", "PATCH sandboxclaims/status"} <= set(writes), writes.keys()
        adopted = writes["PATCH sandboxes"]
        same((trace, CLIENT, {}), (adopted["trace_id"], adopted["kind"], adopted["status"]))
        same(200, adopted["attributes"]["http.response.status_code"])
        same("PATCH", adopted["attributes"]["http.request.method"])
        for span in writes.values():
            assert root["start"] <= span["start"] <= span["end"] <= root["end"], (root, span)
        # What is done later for its Sandbox is of the same trace.
        same(context, annotations(sandbox_of(scene, "traced"))[ANNOTATION])
        same("agent-sandbox-controller", root["resource"]["service.name"])
        same("test lab", root["resource"]["deployment.environment.name"])
        path, headers = collector.requests[0]
        same("/v1/traces", path)
        same("application/x-protobuf", headers["Content-Type"])
        same("Basic c2VjcmV0", headers["authorization"])


def test_what_a_claim_causes_is_one_trace_without_a_client_too(plane):
    scene = Scene()
    with Collector() as collector, traced(plane, collector.url):
        make_pool(scene, "own", 0)
        claim(scene, "own", "own")
        sandbox = sandbox_of(scene, "own")["metadata"]["name"]
        assert ANNOTATION not in annotations(scene.read("sandboxclaims", "own"))
        claims = wait_for(lambda: [
            span for span in collector.named("ReconcileSandboxClaim")
            if span["attributes"]["sandbox.claim.name"] == "own"], 10, "spans of the claim")
        same(["own"], sorted({span["attributes"]["sandbox.claim.name"] for span in claims}))
        trace, = {span["trace_id"] for span in claims}
        same({""}, {span["parent"] for span in claims})
        mine = wait_for(lambda: [
            span for span in collector.named("ReconcileSandbox", trace)
            if span["attributes"]["sandbox.name"] == sandbox], 10, "spans of its Sandbox")
        created = wait_for(lambda: collector.named("POST pods", trace), 10, "the Pod's span")
        same(mine[0]["span_id"], created[0]["parent"])
        same(201, created[0]["attributes"]["http.response.status_code"])


def test_what_is_not_sampled_is_not_sent(plane):
    scene = Scene()
    with Collector() as collector, traced(
            plane, collector.url, OTEL_TRACES_SAMPLER="parentbased_always_off"):
        make_pool(scene, "some", 2)
        for name, flags in (("unsampled", "00"), ("sampled", "01")):
            context, trace, _ = new_context(flags)
            claim(scene, name, "some", annotations={ANNOTATION: context})
        wait_for(lambda: collector.named("ReconcileSandboxClaim"), 10, "the sampled one")
        same({trace}, {span["trace_id"] for span in collector.spans})


def test_a_failed_write_is_an_error(plane):
    scene = Scene()
    with Collector() as collector, traced(plane, collector.url):
        refused = blueprint()
        refused["podTemplate"]["spec"]["containers"][0]["name"] = "No_Label"
        scene.make("sandboxes", "refused", refused)
        # The pool of the test before may still be filled.
        failed = wait_for(lambda: [
            span for span in collector.named("POST pods")
            if span["attributes"]["http.response.status_code"] != 201], 10, "the Pod's span")[0]
        same((422, 2), (failed["attributes"]["http.response.status_code"],
                        failed["status"]["code"]))
        assert "RFC 1123 label" in failed["status"]["message"], failed
        whole = wait_for(lambda: [span for span in collector.spans
                                  if span["span_id"] == failed["parent"]], 10, "its parent")[0]
        same(("ReconcileSandbox", 2), (whole["name"], whole["status"]["code"]))


def test_a_collector_that_is_down_delays_nothing(plane):
    scene, port = Scene(), free_port()
    with traced(plane, f"http://127.0.0.1:{port}", OTEL_BSP_MAX_QUEUE_SIZE="10",
                OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5") as controller:
        make_pool(scene, "down", 5)
        for number in range(5):
            claim(scene, f"down-{number}", "down")
        wait_for(lambda: controller.metric("cay_trace_spans_dropped_total") > 0, 10, "drops")
        wait_for(lambda: controller.metric("cay_trace_export_failures_total") > 1, 20, "a retry")
        same(1, len(controller.said("traces cannot be sent to")))
        assert "Connection refused" in controller.said("traces cannot be sent to")[0]["msg"]
        same(0.0, controller.metric("cay_trace_spans_exported_total"))
        with Collector(port) as collector:
            wait_for(lambda: collector.spans, 20, "the spans that were kept")
            same(1, len(wait_for(lambda: controller.said("traces are sent again"), 10, "a line")))
            assert controller.metric("cay_trace_spans_exported_total") >= 5


def test_the_last_spans_are_sent_on_sigterm(plane):
    scene = Scene()
    with Collector() as collector, traced(
            plane, collector.url, OTEL_BSP_SCHEDULE_DELAY="600000") as controller:
        scene.make("sandboxes", "last", blueprint())
        scene.until_ready("sandboxes", "last")
        same([], collector.requests)
        controller.process.terminate()
        same(0, controller.process.wait(10))
        assert collector.named("ReconcileSandbox") and collector.named("POST pods")
        same(1, len(collector.requests))


def test_a_silent_collector_does_not_hold_the_end(plane):
    scene = Scene()
    silent = subprocess.Popen(
        [sys.executable, "-c", "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\n"
         "print(s.getsockname()[1], flush=True)\ntime.sleep(60)"], stdout=subprocess.PIPE, text=True)
    try:
        with traced(plane, f"http://127.0.0.1:{silent.stdout.readline().strip()}",
                    OTEL_BSP_SCHEDULE_DELAY="600000") as controller:
            scene.make("sandboxes", "silent", blueprint())
            scene.until_ready("sandboxes", "silent")
            before = time.monotonic()
            controller.process.terminate()
            same(0, controller.process.wait(10))
            assert time.monotonic() - before < 8
            assert controller.said("spans were not sent")
    finally:
        silent.kill()
        silent.wait()
        silent.stdout.close()


def test_a_bad_endpoint_is_refused_with_a_sentence(plane):
    done = subprocess.run(
        [CAY, "controller", "--kubeconfig", plane.controller_kubeconfig, "--enable-tracing"],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, text=True,
        capture_output=True, timeout=10, check=False)
    assert done.returncode == 2 and "is no URL like http://localhost:4318" in done.stderr, done


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane() as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        FakeNode(plane)
        tap.main(globals(), (plane,))


if __name__ == "__main__":
    main()
