#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ on a real kube-apiserver: applied by kubectl and by helm, and run from there.

There are no nodes, so that the Pods are run by tests/lib/workload.py: by what their Deployments say, with
a token of their ServiceAccount, and reaching the API server by its Service's address.
"""

import copy
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.control_plane import ControlPlane  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.objects import path  # noqa: E402
from lib.scene import Scene, condition, same  # noqa: E402
from lib.tool import load_tool  # noqa: E402
from lib.workload import Workload, socket_of  # noqa: E402

CAY = os.environ["CAY"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/cay"
SYSTEM = "agent-sandbox-system"
FILES = {name: ROOT / f"deploy/{name}.yaml" for name in ("manifest", "extensions", "router")}
KINDS = ("sandboxes", "sandboxclaims", "sandboxtemplates", "sandboxwarmpools")
ACCOUNTS = {f"system:serviceaccount:{SYSTEM}:{name}"
            for name in ("agent-sandbox-controller", "sandbox-router")}
TEMPLATE = {"podTemplate": {"spec": {"containers": [{"name": "main", "image": "python"}]}},
            "networkPolicyManagement": "Unmanaged"}


class Plane(ControlPlane):
    """One on which nothing of ours is installed but by these tests."""

    def install_kinds(self):
        pass

    def install_roles(self):
        pass

    def apply(self, file, *options):
        """What kubectl says of each object: {name: "created", …}."""
        lines = self.kubectl("apply", *options, "-f", file).splitlines()
        return dict(line.split(" ", 1) for line in lines if line and not line.startswith("Warning"))

    def until_served(self):
        api = self.api()
        for kind in KINDS:
            wait_for(lambda kind=kind: api.get(path(kind))[0] == 200, 30, f"{kind} to be served")

    def deployment(self, name, namespace=SYSTEM):
        return json.loads(self.kubectl("get", "deployment", name, "-n", namespace, "-o", "json"))

    def ours(self):
        """Every object that a manifest of ours names, as far as it is there: {name: version}."""
        text = self.kubectl("get", *[f"--filename={file}" for file in FILES.values()], "--ignore-not-found",
                            "-o", "json")
        return {f"{each['kind']} {each['metadata']['name']}": each["metadata"]["resourceVersion"]
                for each in json.loads(text or '{"items": []}')["items"]}

    def delete(self):
        self.kubectl("delete", *[f"--filename={file}" for file in reversed(FILES.values())],
                     "--ignore-not-found", "--timeout=60s")


def test_two_commands_install_it(plane):
    for name in ("manifest", "extensions"):
        said = plane.apply(FILES[name])
        assert said and set(said.values()) <= {"created", "configured"}, said
    plane.until_served()
    same(["controller", "--leader-elect=true", "--extensions"],
         plane.deployment("agent-sandbox-controller")["spec"]["template"]["spec"]["containers"][0]
         ["args"])
    # And the router, by the other way to apply.
    same({"serverside-applied"}, set(plane.apply(FILES["router"], "--server-side").values()))


def test_applying_again_changes_nothing(plane):
    before = plane.ours()
    assert len(before) > 20, before
    # In place, as kubectl may say "configured" of what it leaves as it is. The first file is left
    # out: its controller has no extensions.
    plane.apply(FILES["extensions"])
    for _ in range(2):
        plane.apply(FILES["router"], "--server-side")
    same(before, plane.ours())
    same({"deployment.apps/agent-sandbox-controller"},
         {name for name, what in plane.apply(FILES["manifest"]).items()
          if what != "unchanged" and "poddisruptionbudget" not in name})


def test_both_ways_to_apply_follow_each_other(plane):
    said = plane.apply(FILES["router"])
    assert set(said.values()) <= {"configured", "unchanged"}, said
    same({"serverside-applied"}, set(plane.apply(FILES["manifest"], "--server-side").values()))
    plane.apply(FILES["extensions"])


def test_the_pods_are_admitted_as_restricted(plane):
    for name in ("agent-sandbox-controller", "sandbox-router"):
        template = plane.deployment(name)["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
               "metadata": {"name": name, "namespace": SYSTEM, "labels":
                            template["metadata"]["labels"]}}
        status, answer = plane.api().request(
            "POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", pod)
        same(201, status)
        worse = copy.deepcopy(pod)
        worse["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        status, answer = plane.api().request(
            "POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", worse)
        same(403, status)
        assert 'violates PodSecurity "restricted:latest"' in answer["message"], answer


class Answer(http.server.BaseHTTPRequestHandler):
    """What runs in the sandbox."""

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"reached {self.path}".encode())

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def serve(workload, address):
    """Answers at an address of a workload's network, as a sandbox."""
    workload.inside("ip", "address", "add", f"{address}/32", "dev", "lo")
    server = http.server.HTTPServer((address, 8888), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket_of(workload.holder.pid,
                              lambda: socket.create_server((address, 8888)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


LEAN = ROOT / "api/crds-lean"

# Specs of Pods that the lean CRDs take, and what Ready then says.
WRONG = {
    "no-list": ({"containers": "x"}, "cannot unmarshal string into Go struct field"),
    "not-a-list": ({"containers": {"a": {"name": "c"}}}, "cannot unmarshal object into Go struct"),
    "no-objects": ({"containers": ["x", 1, None]}, "cannot unmarshal string into Go struct field"),
    "none": ({}, "spec.containers: Required value"),
    "ports": ({"containers": [{"name": "c", "image": "i", "ports": [7, {"containerPort": "http"}]}]},
              "cannot unmarshal number into Go struct field"),
    "name": ({"containers": [{"name": "UPPER", "image": "i"}]}, "spec.containers[0].name"),
    "quantity": ({"containers": [{"name": "c", "image": "i", "resources": {
        "requests": {"cpu": "lots"}}}]}, "quantities must match"),
}


def lean_kinds_tell_of_a_wrong_pod(plane, scene):
    """On a cluster whose controller runs."""
    plane.apply(LEAN)
    attempt = {"podTemplate": {"spec": WRONG["no-list"][0]}, "service": True}

    def taken():
        status, _ = scene.api.request("POST", scene.path("sandboxes"), {
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
            "metadata": {"name": "taken"}, "spec": attempt})
        return status == 201

    wait_for(taken, 30, "the lean kinds to be served")
    for name, (spec, _) in WRONG.items():
        scene.make("sandboxes", name, {"podTemplate": {"spec": spec}, "service": True})
    for name, (_, told) in WRONG.items():
        found = scene.until_told("sandboxes", name, "ReconcilerError")
        assert told in condition(found)["message"], condition(found)
    # What no Pod has is not lost, and does no harm.
    spec = {**TEMPLATE["podTemplate"]["spec"], "imaginary": True}
    scene.make("sandboxes", "more", {"podTemplate": {"spec": spec}})
    scene.until_ready("sandboxes", "more")
    assert scene.read("sandboxes", "more")["spec"]["podTemplate"]["spec"]["imaginary"]


def test_the_deployments_run(plane):
    scene = Scene()
    with Workload(plane, plane.deployment("agent-sandbox-controller"), CAY) as controller, \
            Workload(plane, plane.deployment("sandbox-router"), CAY) as router:
        controller.start().until_probed("livenessProbe").until_probed("readinessProbe")
        scene.make("sandboxtemplates", "t", TEMPLATE)
        scene.make("sandboxwarmpools", "p", {"replicas": 1, "sandboxTemplateRef": {"name": "t"}})
        scene.until("sandboxwarmpools", "p", lambda pool: pool.get("status", {}).get(
            "readyReplicas") == 1, "a ready member")
        scene.make("sandboxclaims", "c", {"warmPoolRef": {"name": "p"}})
        scene.until("sandboxclaims", "c", lambda claim: condition(claim).get("status") == "True",
                    "the claim to be ready")
        status, text = controller.get("metrics", "/metrics")
        same(200, status)
        assert 'launch_type="warm"' in text, text

        router.start().until_probed("livenessProbe").until_probed("readinessProbe")
        bound = scene.read("sandboxclaims", "c")["status"]["sandbox"]
        server = serve(router, bound["podIPs"][0])
        same((200, "reached /there?is=1"), router.get(
            "proxy", "/there?is=1", X_Sandbox_ID="c", X_Sandbox_Namespace=scene.namespace))
        server.shutdown()
        lean_kinds_tell_of_a_wrong_pod(plane, scene)
        for workload in (controller, router):
            workload.process.terminate()
            same(0, workload.process.wait(15))


def test_an_upgrade_keeps_the_webhooks_certificate(plane):
    def bundle():
        return plane.kubectl("get", "crd", "sandboxclaims.extensions.agents.x-k8s.io", "-o",
                             "jsonpath={.spec.conversion.webhook.clientConfig.caBundle}")
    told = bundle()
    assert told, "the controller has not told whom to trust"
    for options in ((), ("--server-side",)):
        plane.apply(FILES["extensions"], *options)
        same(told, bundle())


def test_no_right_was_missing(plane):
    refused = [entry for user in ACCOUNTS for entry in plane.requests(user).items()
               if entry[0][3] in (401, 403)]
    same([], refused)
    for user in ACCOUNTS:
        assert plane.requests(user), f"{user} asked for nothing"


def test_deleting_leaves_nothing(plane):
    plane.delete()
    same({}, plane.ours())
    kinds = plane.kubectl("api-resources", "-o", "name").split()
    same([], [kind for kind in kinds if "agents.x-k8s.io" in kind])
    for kind in ("clusterroles", "clusterrolebindings"):
        same([], [name for name in plane.kubectl("get", kind, "-o", "name").split("\n")
                  if "agent-sandbox" in name or "sandbox-router" in name])


def test_the_monitors_are_what_prometheus_operator_takes(plane):
    """By a CRD of our own: its schema says of the fields that we use what the operator's says."""
    plane.kubectl("apply", "-f", ROOT / "tests/lib/servicemonitors.yaml")
    monitors = f"/apis/monitoring.coreos.com/v1/namespaces/{SYSTEM}/servicemonitors"
    wait_for(lambda: plane.api().get(monitors)[0] == 200, 30, "ServiceMonitors to be served")
    plane.kubectl("create", "namespace", SYSTEM)
    strictly = ("apply", "--server-side", "--validate=strict", "-f")
    text = (ROOT / "deploy/servicemonitor.yaml").read_text(encoding="utf-8")
    of_chart = load_tool("make-manifests").documents({
        "serviceMonitor.enabled": "true", "serviceMonitor.interval": "1m",
        "serviceMonitor.labels.release": "prometheus", "crds": "none"}, SYSTEM)
    of_chart = "---\n".join(each for each in of_chart if "kind: ServiceMonitor" in each)
    for documents, interval in ((text, "30s"), (of_chart, "1m")):
        plane.kubectl(*strictly, "-", stdin=documents)
        found = plane.api().get(monitors)[1]["items"]
        same({"agent-sandbox-controller", "sandbox-router"},
             {each["metadata"]["name"] for each in found})
        same([[{"port": "metrics", "path": "/metrics", "interval": interval}]] * 2,
             [each["spec"]["endpoints"] for each in found])
    for wrong, told in ((text.replace("interval:", "intervals:"), "spec.endpoints[0].intervals"),
                        (text.replace("30s", "30 s"), "should match"),
                        (re.sub(r"  endpoints:\n.*\n", "", text), "spec.endpoints: Required value")):
        try:
            plane.kubectl(*strictly, "-", stdin=wrong)
        except AssertionError as error:
            assert told in str(error), error
        else:
            raise AssertionError(f"taken: {told}")
    plane.kubectl("delete", "namespace", SYSTEM)
    plane.kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com")


def helm(plane, *arguments):
    return load_tool("make-manifests").helm(*arguments, KUBECONFIG=plane.kubeconfig,
                                            HOME=str(plane.folder))


def test_helm_installs_it_in_a_namespace_of_any_name(plane):
    told = helm(plane, "install", "cay", CHART, "-n", "boxes", "--create-namespace", "--set",
                "crds=lean,router.replicas=3")
    assert "http://sandbox-router-svc.boxes.svc.cluster.local:8080" in told, told
    plane.until_served()
    crd = json.loads(plane.kubectl("get", "crd", "sandboxes.agents.x-k8s.io", "-o", "json"))
    same("boxes", crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["namespace"])
    assert "x-kubernetes-preserve-unknown-fields" in json.dumps(crd)
    helm(plane, "upgrade", "cay", CHART, "-n", "boxes", "--reset-values")
    same((1, 2), tuple(plane.deployment(name, "boxes")["spec"]["replicas"]
                       for name in ("agent-sandbox-controller", "sandbox-router")))
    crd = json.loads(plane.kubectl("get", "crd", "sandboxes.agents.x-k8s.io", "-o", "json"))
    assert "x-kubernetes-preserve-unknown-fields" not in json.dumps(crd["spec"]["versions"])
    binding = json.loads(plane.kubectl("get", "clusterrolebinding", "agent-sandbox-controller",
                                       "-o", "json"))
    same("boxes", binding["subjects"][0]["namespace"])
    plane.kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": {"name": "kept"},
        "spec": {"podTemplate": TEMPLATE["podTemplate"]}}))
    for release, namespace in (("second", "boxes"), ("second", "others"), ("cay", "others")):
        for part in ("router.enabled=false", "controller.enabled=false"):
            try:
                helm(plane, "install", release, CHART, "-n", namespace, "--create-namespace", "--set",
                     f"crds=none,{part}")
            except AssertionError as error:
                told = "is in this cluster already, of the release cay in the namespace boxes"
                assert told in str(error), error
            else:
                raise AssertionError(f"{release} was installed in {namespace}, too")
    helm(plane, "upgrade", "cay", CHART, "-n", "boxes", "--reset-values")
    helm(plane, "uninstall", "cay", "-n", "boxes", "--wait")
    same("", plane.kubectl("get", "deployments,services,serviceaccounts,networkpolicies,pdb", "-n",
                           "boxes", "-l", "app.kubernetes.io/part-of=agent-sandbox", "-o", "name"))
    same("sandbox.agents.x-k8s.io/kept", plane.kubectl("get", "sandbox", "kept", "-o",
                                                       "name").strip())


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with Plane(audit=True) as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        FakeNode(plane)
        tap.main(globals(), (plane,))


if __name__ == "__main__":
    main()
