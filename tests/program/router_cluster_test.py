#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cay router` as processes of a real cluster, with the rights of deploy/rbac-router.yaml."""

import http.client
import json
import os
import pathlib
import re
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.control_plane import ROOT, ControlPlane  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.router import Backend, Router, decisions  # noqa: E402
from lib.scene import MERGE, Scene, name_hash, same  # noqa: E402

CAY = os.environ.get("CAY")
ACCOUNT = "system:serviceaccount:agent-sandbox-system:sandbox-router"
GROUP = "extensions.agents.x-k8s.io"


def token_of(plane, account, namespace):
    return plane.kubectl("create", "token", account, "-n", namespace).strip()


def kubeconfig(plane):
    """As whom the Deployment runs."""
    config = json.loads(pathlib.Path(plane.kubeconfig).read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token_of(plane, "sandbox-router",
                                                    "agent-sandbox-system")}
    plane.write("router.kubeconfig", json.dumps(config))
    return str(plane.folder / "router.kubeconfig")


def router(plane, *options):
    return Router(CAY, f"--kubeconfig={plane.folder}/router.kubeconfig", *options)


class Box:
    """A Sandbox and its Pod as the controller and a node would leave them."""

    def __init__(self, plane, scene, name, claim=None, member=False):
        self.api, self.name, self.namespace = plane.api(), name, scene.namespace
        document = objects.sandbox(name)
        if claim:
            document["metadata"]["ownerReferences"] = [{
                "apiVersion": f"{GROUP}/v1beta1", "kind": "SandboxClaim", "name": claim["name"],
                "uid": claim["uid"], "controller": True}]
        if member:
            document["metadata"]["labels"] = {"agents.x-k8s.io/warm-pool-sandbox": "abcdef"}
        made = self.api.create(objects.path("sandboxes", self.namespace), document)
        self.uid = made["metadata"]["uid"]
        self.api.create(objects.path("pods", self.namespace), {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name,
                         "labels": {"agents.x-k8s.io/sandbox-name-hash": name_hash(name)},
                         "ownerReferences": [{
                             "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
                             "name": name, "uid": self.uid, "controller": True}]},
            "spec": {"containers": [{"name": "main", "image": "x"}]}})

    def tell(self, address, ready=True):
        """What a node says of the Pod."""
        status = "True" if ready else "False"
        answer = self.api.request(
            "PATCH", objects.path("pods", self.namespace, self.name) + "/status",
            {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                        "conditions": [{"type": "Ready", "status": status}]}}, MERGE)
        same(200, answer[0])
        return self


def ask(router, backend, scene, name, path="/", token=None, **headers):
    """(status, body) by name: no address is told."""
    headers = {"X-Sandbox-ID": name, "X-Sandbox-Namespace": scene.namespace,
               "X-Sandbox-Port": str(backend.port), **headers}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", router.port(), timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def until_ready(*routers):
    for each in routers:
        wait_for(lambda each=each: each.get("probes", "/readyz")[0] == 200, 20, "a ready router")


def test_two_find_sandboxes_by_name_claim_and_uid(plane, backend):
    scene = Scene()
    with router(plane) as first, router(plane) as second:
        until_ready(first, second)
        claim = plane.api().create(objects.path("sandboxclaims", scene.namespace),
                                   objects.claim("wish", "pool"))["metadata"]
        box = Box(plane, scene, "box", claim).tell("127.0.0.1")
        Box(plane, scene, "member", member=True).tell("127.0.0.1")
        for each in (first, second):
            for name, more in (("box", {}), ("wish", {}), ("other", {"X-Sandbox-UID": box.uid})):
                same(200, ask(each, backend, scene, name, **more)[0])
        with Router(CAY, f"--kubeconfig={plane.folder}/router.kubeconfig",
                    "--upstream-max-retries=0") as third:
            until_ready(third)
            same(502, ask(third, backend, scene, "member")[0])
            same(502, ask(third, backend, scene, "nobody")[0])
        # The Pod is another one now, elsewhere.
        with Backend("127.0.0.2") as moved:
            box.tell("127.0.0.2")
            for each in (first, second):
                wait_for(lambda each=each: ask(each, moved, scene, "box",
                                               **{"X-Sandbox-Timeout": "2"})[0] == 200, 20,
                         "the new address to be known")
        box.tell("127.0.0.3")
        wait_for(lambda: ask(first, backend, scene, "box")[0] == 502, 20, "nobody to be there")
        assert first.metric("sandbox_router_cache_invalidations_total"
                            f'{{sandbox_namespace="{scene.namespace}"}}') > 0


def test_a_request_waits_for_its_sandbox(plane, backend):
    scene = Scene()
    with router(plane) as each:
        until_ready(each)
        box = Box(plane, scene, "slow").tell("127.0.0.1", ready=False)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            ask(each, backend, scene, "slow")[0]))
        thread.start()
        wait_for(lambda: each.metric("sandbox_router_held_requests") == 1, 10, "a held request")
        box.tell("127.0.0.1")
        thread.join(10)
        same([200], answers)


def reviews(plane):
    return sum(count for (verb, _, resource, _), count in plane.requests(ACCOUNT).items()
               if (verb, resource) == ("create", "tokenreviews"))


def test_tokens_are_reviewed_by_the_cluster(plane, backend):
    scene = Scene()
    Box(plane, scene, "box").tell("127.0.0.1")
    good = token_of(plane, "default", scene.namespace)
    with router(plane, "--authz-mode=tokenreview") as each:
        until_ready(each)
        before = reviews(plane)
        threads = [threading.Thread(target=lambda: [
            same(200, ask(each, backend, scene, "box", token=good)[0]) for _ in range(5)])
            for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(1, reviews(plane) - before)
        for token in (None, "nonsense", good[:-4] + "AAAA"):
            same((401, b'{"detail":"unauthenticated"}\n'),
                 ask(each, backend, scene, "box", token=token))
        assert "authorization" not in json.loads(
            ask(each, backend, scene, "box", token=good)[1])["headers"]
        same(21.0, each.metric(decisions(scene.namespace, "allow")))
        same(3.0, each.metric(decisions(scene.namespace, "deny")))
    # A token for others is none here.
    with router(plane, "--authz-mode=tokenreview",
                "--authz-tokenreview-audiences=sandboxes") as each:
        until_ready(each)
        same(401, ask(each, backend, scene, "box", token=good)[0])
        ours = plane.kubectl("create", "token", "default", "-n", scene.namespace,
                             "--audience=sandboxes").strip()
        same(200, ask(each, backend, scene, "box", token=ours)[0])


def test_one_of_two_ends_and_no_request_is_lost(plane, backend):
    scene = Scene()
    Box(plane, scene, "box").tell("127.0.0.1")
    with router(plane) as first, router(plane) as second:
        until_ready(first, second)
        done, failed, stop = [0], [], threading.Event()

        def load(number):
            turn = number
            while not stop.is_set():
                turn += 1
                try:
                    status = ask((first, second)[turn % 2], backend, scene, "box",
                                 "/held" if turn % 7 == 0 else "/")[0]
                    if status == 200:
                        done[0] += 1
                    else:
                        failed.append(status)
                except ConnectionRefusedError:
                    pass  # it has said that it takes no more: a Service picks the other one
                except (OSError, http.client.HTTPException) as error:
                    failed.append(error)

        backend.release.set()
        threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: done[0] > 100, 20, "traffic")
        first.process.send_signal(signal.SIGTERM)
        same(0, first.process.wait(20))
        before = done[0]
        wait_for(lambda: done[0] > before + 100, 20, "traffic through the other")
        stop.set()
        for thread in threads:
            thread.join()
        # What was in the kernel's queue of connections, and not accepted, may be reset.
        failed = [each for each in failed if not isinstance(each, ConnectionResetError)]
        same([], failed)


def test_needs_just_the_rights_that_it_has(plane, _):
    text = (ROOT / "deploy/rbac-router.yaml").read_text(encoding="utf-8")
    granted = set()
    for group, resources, verbs in re.findall(
            r"- apiGroups: \[(.*?)\]\n  resources: \[(.*?)\]\n  verbs: \[(.*?)\]", text):
        granted |= {(verb, group.strip('"'), resource) for resource in resources.split(", ")
                    for verb in verbs.split(", ")}
    asked = plane.requests(ACCOUNT)
    used = {(verb, group, resource) for verb, group, resource, _ in asked}
    same(set(), used - granted)
    # An API server that streams what there is to a watch is not asked for lists.
    same({"list"}, {verb for verb, _, _ in granted - used} | {"list"})
    same([], [entry for entry in asked if entry[3] in (401, 403)])


def test_goes_on_without_the_api_server(plane, backend):
    scene = Scene()
    box = Box(plane, scene, "box").tell("127.0.0.1")
    with router(plane) as each:
        until_ready(each)
        same(200, ask(each, backend, scene, "box")[0])
        plane.kill("kube-apiserver")
        for _ in range(5):
            same(200, ask(each, backend, scene, "box")[0])
        same((200, "ok"), each.get("probes", "/readyz"))
        plane.restart("kube-apiserver")
        plane.until_serving()
        box.api = plane.api()
        Box(plane, scene, "later").tell("127.0.0.1")
        wait_for(lambda: ask(each, backend, scene, "later")[0] == 200, 30, "the watch to go on")


if __name__ == "__main__":
    with ControlPlane(audit=True) as control_plane, Backend() as shared:
        os.environ["KUBECONFIG"] = control_plane.kubeconfig
        control_plane.kubectl("apply", "-f", ROOT / "deploy/rbac-router.yaml")
        kubeconfig(control_plane)
        tap.main(globals(), (control_plane, shared))
