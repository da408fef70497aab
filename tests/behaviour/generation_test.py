#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What objects do that were created as v1alpha1, the API's first generation (docs/api.md).

usage: KUBECONFIG=… generation_test.py      (an API that serves v1alpha1)
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.scene import (  # noqa: E402
    MERGE, PREFIX, Scene, annotations, blueprint, labels, name_hash, owned_by, owner, same)


def template(scene, name):
    scene.make("sandboxtemplates", name, blueprint())


def pool(scene, name, template_name, replicas):
    scene.make("sandboxwarmpools", name, {"replicas": replicas,
                                          "sandboxTemplateRef": {"name": template_name}})
    return scene.until("sandboxwarmpools", name, lambda found: (found.get("status") or {}).get(
        "readyReplicas", 0) == replicas, "its members")


def claim(scene, name, template_name, **spec):
    return scene.make("sandboxclaims", name, {"sandboxTemplateRef": {"name": template_name},
                                              **spec})


def bound(scene, name):
    """A claim that is Ready, its Sandbox and its Pod."""
    document = scene.until_ready("sandboxclaims", name)
    same((name, name), (document["status"]["sandbox"]["Name"],
                        document["status"]["sandbox"]["name"]))
    sandbox = scene.read("sandboxes", name)
    return document, sandbox, scene.read(
        "pods", annotations(sandbox).get(PREFIX + "pod-name", name))


def test_sandbox_has_a_service_and_replicas(scene):
    scene.make("sandboxes", "plain", blueprint())
    told = scene.until_ready("sandboxes", "plain")
    same(("plain", 1, 1), (told["status"]["service"], told["status"]["replicas"],
                           told["spec"]["replicas"]))
    same("None", scene.read("services", "plain")["spec"]["clusterIP"])
    status, _ = scene.api.request("PATCH", scene.path("sandboxes", "plain") + "/scale",
                                  {"spec": {"replicas": 0}}, MERGE)
    same(200, status)
    scene.until_told("sandboxes", "plain", "PodTerminated", "True", "Suspended")
    scene.until("sandboxes", "plain", lambda found: not found["status"].get("replicas"),
                "no replicas")
    scene.change("sandboxes", "plain", {"spec": {"replicas": 1}})
    scene.until_ready("sandboxes", "plain")


def test_pool_has_pods_for_members(scene):
    template(scene, "t")
    made = pool(scene, "p", "t", 2)
    members = scene.until_owned("pods", made, 2)
    same([], scene.owned("sandboxes", made))
    for member in members:
        same((name_hash("p"), name_hash("p"), name_hash("t")),
             (labels(member)[PREFIX + "pool"], labels(member)[PREFIX + "warm-pool-sandbox"],
              labels(member)[PREFIX + "sandbox-template-ref-hash"]))
        same((False, "None"), (member["spec"]["automountServiceAccountToken"],
                               member["spec"]["dnsPolicy"]))


def test_claim_by_template_gets_a_pod_of_the_pool(scene):
    made = scene.read("sandboxwarmpools", "p")  # of the test before
    members = {pod["metadata"]["name"]: pod for pod in scene.until_owned("pods", made, 2)}
    wanted = claim(scene, "warm", "t")
    _, sandbox, pod = bound(scene, "warm")
    same(members[pod["metadata"]["name"]]["metadata"]["uid"], pod["metadata"]["uid"])
    same((owned_by("SandboxClaim", wanted), owned_by("Sandbox", sandbox)),
         (owner(sandbox), owner(pod)))
    same(("warm", name_hash("warm"), name_hash("t"), None, None),
         (labels(sandbox)[PREFIX + "launch-type"], labels(pod)[PREFIX + "sandbox-name-hash"],
          labels(pod)[PREFIX + "sandbox-template-ref-hash"], labels(pod).get(PREFIX + "pool"),
          labels(pod).get(PREFIX + "warm-pool-sandbox")))
    same({PREFIX + "sandbox-name-hash": name_hash("warm")},
         scene.read("services", "warm")["spec"]["selector"])
    scene.until_owned("pods", made, 2)


def test_claim_of_a_named_pool_and_of_none(scene):
    pool(scene, "named", "t", 1)
    claim(scene, "of-pool", "t", warmpool="named")
    _, _, pod = bound(scene, "of-pool")
    assert pod["metadata"]["name"].startswith("named-"), pod["metadata"]
    claim(scene, "of-none", "t", warmpool="none")
    _, sandbox, pod = bound(scene, "of-none")
    same(("cold", "of-none"), (labels(sandbox)[PREFIX + "launch-type"], pod["metadata"]["name"]))


def test_claim_takes_from_any_pool_of_its_template(scene):
    template(scene, "u")
    pool(scene, "u-empty", "u", 0)
    pool(scene, "u-full", "u", 1)
    claim(scene, "any", "u")
    _, _, pod = bound(scene, "any")
    assert pod["metadata"]["name"].startswith("u-full-"), pod["metadata"]


def test_sandbox_of_a_pod_member_survives_its_pod(scene):
    _, sandbox, pod = bound(scene, "warm")
    scene.remove("pods", pod["metadata"]["name"])
    scene.until("pods", "warm", lambda found: found and owner(found) ==
                owned_by("Sandbox", sandbox), "a Pod of its own")
    _, sandbox, _ = bound(scene, "warm")
    assert PREFIX + "pod-name" not in annotations(sandbox) or \
        annotations(sandbox)[PREFIX + "pod-name"] == "warm", annotations(sandbox)


def test_writes_of_the_other_version_change_no_generation(scene):
    made = pool(scene, "stays", "t", 1)
    other = Scene.__new__(Scene)
    other.__dict__ = {**scene.__dict__, "version": "v1beta1"}
    other.change("sandboxwarmpools", "stays", {"spec": {"replicas": 2}})
    scene.until_owned("pods", made, 2)
    same([], scene.owned("sandboxes", made))


def test_deleted_claim_takes_all_along(scene):
    _, _, pod = bound(scene, "of-pool")
    scene.remove("sandboxclaims", "of-pool")
    for resource, name in (("sandboxes", "of-pool"), ("services", "of-pool"),
                           ("pods", pod["metadata"]["name"])):
        scene.until_gone(resource, name)


def test_zz_the_namespace_goes(scene):
    scene.end()


if __name__ == "__main__":
    tap.main(globals(), (Scene("v1alpha1"),))
