#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Garbage collection by ownerReferences, among objects of all kinds that are served.

usage: KUBECONFIG=… garbage_test.py [--short]

It passes on the local API and on a real control plane, whose collector learns of new kinds twice a
minute: the tests wait for it where that shows. --short leaves out those that wait more than once.
"""

import os
import pathlib
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

MERGE = "application/merge-patch+json"
TIMEOUT = 90
HOLD = ["example.com/hold"]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# Kind: the path of its group, its resource, what it cannot be without.
KINDS = {
    "ConfigMap": ("/api/v1", "configmaps", {}),
    "Secret": ("/api/v1", "secrets", {}),
    "Pod": ("/api/v1", "pods", {"spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "main", "image": "busybox:latest", "command": ["sleep", "1000000"]}]}}),
    "ResourceQuota": ("/api/v1", "resourcequotas", {}),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", {"rules": []}),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", {"rules": []}),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", {}),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers", {"spec": {
        "maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                                             "name": "none"}}}),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", {}),
    "Deployment": ("/apis/apps/v1", "deployments", {"spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
                     "spec": {"containers": [{"name": "main", "image": "none"}]}}}}),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", {"spec": {
        "replicas": 0, "serviceName": "none", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
                     "spec": {"containers": [{"name": "main", "image": "none"}]}}}}),
}
OF_THE_CLUSTER = {"ClusterRole", "Namespace"}


def same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


class Scene:
    """A namespace, and a group of its own for the kinds that tests define."""

    def __init__(self):
        self.api = Api(os.environ["KUBECONFIG"])
        name = uuid.uuid4().hex[:8]
        self.group = f"g{name}.example.com"
        self.namespace, self.other = f"garbage-{name}", f"other-{name}"
        for namespace in (self.namespace, self.other):
            self.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        wait_for(lambda: self.api.get(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default")
                 [0] == 200, TIMEOUT, "the service account")
        for kind, scope in (("Widget", "Namespaced"), ("Gadget", "Namespaced"),
                            ("Place", "Cluster")):
            self.define(kind, scope)

    def define(self, kind, scope="Namespaced"):
        plural = f"{kind.lower()}s"
        KINDS[kind] = (f"/apis/{self.group}/v1", plural, {})
        if scope == "Cluster":
            OF_THE_CLUSTER.add(kind)
        self.api.create(DEFINITIONS, {"metadata": {"name": f"{plural}.{self.group}"}, "spec": {
            "group": self.group, "scope": scope,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural,
                      "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object",
                                    "x-kubernetes-preserve-unknown-fields": True}}}]}})
        wait_for(lambda: self.api.get(f"/apis/{self.group}/v1")[0] == 200 and any(
            each["kind"] == kind for each in self.api.get(f"/apis/{self.group}/v1")[1]["resources"]),
            TIMEOUT, f"{plural} to be served")
        wait_for(lambda: self.api.get(self.path(kind))[0] == 200, TIMEOUT, f"{plural} to be served")

    def undefine(self, kind):
        same(200, self.api.request("DELETE", f"{DEFINITIONS}/{KINDS[kind][1]}.{self.group}")[0])

    def path(self, kind, name=None, namespace=None):
        base, resource, _ = KINDS[kind]
        space = "" if kind in OF_THE_CLUSTER else f"/namespaces/{namespace or self.namespace}"
        return f"{base}{space}/{resource}" + (f"/{name}" if name else "")

    def make(self, kind, name, owners=(), namespace=None, **metadata):
        base, _, more = KINDS[kind]
        return self.api.create(self.path(kind, namespace=namespace), {
            "apiVersion": base.removeprefix("/apis/").removeprefix("/api/"), "kind": kind, **more,
            "metadata": {"name": name, "ownerReferences": list(owners), **metadata}})

    def read(self, kind, name, namespace=None):
        status, document = self.api.get(self.path(kind, name, namespace))
        if status == 404:
            return None
        same(200, status)
        return document

    def remove(self, kind, name, **options):
        status, document = self.api.request("DELETE", self.path(kind, name), options or None)
        assert status in (200, 202), document

    def change(self, kind, name, metadata):
        status, document = self.api.request("PATCH", self.path(kind, name),
                                            {"metadata": metadata}, MERGE)
        assert status == 200, document

    def until_gone(self, *objects):
        for kind, name in objects:
            wait_for(lambda: self.read(kind, name) is None, TIMEOUT, f"{kind} {name} to go")

    def until_deleting(self, kind, name):
        wait_for(lambda: "deletionTimestamp" in self.read(kind, name)["metadata"], TIMEOUT,
                 f"{kind} {name} to be deleted")

    def settle(self, kind="Widget"):
        """Waits until an object without a living owner, made now, was collected: so much has the
        collector seen, and of such objects it knows."""
        name = f"settle-{uuid.uuid4().hex[:8]}"
        self.make(kind, name, [absent("ConfigMap")])
        self.until_gone((kind, name))

    def stay(self, *objects):
        self.settle()
        for kind, name in objects:
            found = self.read(kind, name)
            assert found and "deletionTimestamp" not in found["metadata"], (kind, name, found)


def owner(document, **more):
    return {"apiVersion": document["apiVersion"], "kind": document["kind"],
            "name": document["metadata"]["name"], "uid": document["metadata"]["uid"], **more}


def absent(kind):
    base, _, _ = KINDS[kind]
    return {"apiVersion": base.removeprefix("/apis/").removeprefix("/api/"), "kind": kind, "name": "absent",
            "uid": str(uuid.uuid4())}


def owners(document):
    return [each["name"] for each in document["metadata"].get("ownerReferences", [])]


def test_the_collector_follows_the_new_kinds(scene):
    for kind in ("Widget", "Gadget", "Place"):
        scene.make(kind, "first", [absent("ClusterRole")])
        scene.until_gone((kind, "first"))


def test_a_custom_resource_goes_with_its_owner(scene):
    scene.settle()
    for kind in ("Pod", "ConfigMap", "Gadget", "Widget", "Lease", "Deployment", "StatefulSet"):
        name = f"holds-{kind.lower()}"
        holder = scene.make(kind, name)
        scene.make("Widget", f"of-{name}", [owner(holder)])
        scene.make("Widget", f"beside-{name}")
        scene.remove(kind, name)
        scene.until_gone((kind, name), ("Widget", f"of-{name}"))
        scene.stay(("Widget", f"beside-{name}"))


def test_everything_goes_with_a_custom_resource(scene):
    kinds = [kind for kind in KINDS if kind not in OF_THE_CLUSTER]
    holder = scene.make("Widget", "holder")
    for kind in kinds:
        scene.make(kind, "held", [owner(holder)])
    scene.stay(*((kind, "held") for kind in kinds))
    scene.remove("Widget", "holder")
    scene.until_gone(*((kind, "held") for kind in kinds))


def test_what_is_only_stored_goes_with_its_owner(scene):
    for kind in ("Deployment", "ConfigMap", "Role"):
        holder = scene.make(kind, f"owns-{kind.lower()}")
        for stored in ("Role", "ResourceQuota", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
            scene.make(stored, f"of-{kind.lower()}", [owner(holder)])
        scene.remove(kind, f"owns-{kind.lower()}")
        scene.until_gone(*((stored, f"of-{kind.lower()}") for stored in (
            "Role", "ResourceQuota", "PodDisruptionBudget", "HorizontalPodAutoscaler")))


def test_a_chain_goes_from_its_head(scene):
    head = scene.make("Widget", "chain")
    middle = scene.make("StatefulSet", "chain", [owner(head)])
    tail = scene.make("ConfigMap", "chain", [owner(middle)])
    scene.make("Gadget", "chain", [owner(tail)])
    scene.remove("Widget", "chain", propagationPolicy="Background")
    scene.until_gone(("StatefulSet", "chain"), ("ConfigMap", "chain"), ("Gadget", "chain"))


def test_one_living_owner_keeps_an_object(scene):
    one, two = scene.make("Widget", "one"), scene.make("Role", "two")
    scene.make("Gadget", "both", [owner(one), owner(two)])
    scene.remove("Widget", "one")
    wait_for(lambda: owners(scene.read("Gadget", "both")) == ["two"], TIMEOUT, "the owner to go")
    scene.stay(("Gadget", "both"))
    scene.remove("Role", "two")
    scene.until_gone(("Gadget", "both"))


def test_in_the_foreground_dependents_that_block_go_first(scene):
    for kind in ("ConfigMap", "Widget", "StatefulSet"):
        holder = scene.make(kind, "front")
        scene.make("Gadget", "blocks", [owner(holder, blockOwnerDeletion=True)], finalizers=HOLD)
        scene.make("Gadget", "blocks-not", [owner(holder)], finalizers=HOLD)
        scene.remove(kind, "front", propagationPolicy="Foreground")
        scene.until_deleting("Gadget", "blocks")
        scene.until_deleting("Gadget", "blocks-not")
        same(["foregroundDeletion"], scene.read(kind, "front")["metadata"]["finalizers"])
        scene.settle()
        assert scene.read(kind, "front")
        scene.change("Gadget", "blocks", {"finalizers": None})
        scene.until_gone(("Gadget", "blocks"), (kind, "front"))
        scene.change("Gadget", "blocks-not", {"finalizers": None})
        scene.until_gone(("Gadget", "blocks-not"))


def test_the_foreground_goes_down_a_chain(scene):
    head = scene.make("Role", "deep")
    middle = scene.make("Widget", "deep", [owner(head, blockOwnerDeletion=True)])
    scene.make("Lease", "deep", [owner(middle, blockOwnerDeletion=True)], finalizers=HOLD)
    scene.remove("Role", "deep", propagationPolicy="Foreground")
    scene.until_deleting("Lease", "deep")
    for kind in ("Role", "Widget"):
        same(["foregroundDeletion"], scene.read(kind, "deep")["metadata"]["finalizers"])
    scene.change("Lease", "deep", {"finalizers": None})
    scene.until_gone(("Lease", "deep"), ("Widget", "deep"), ("Role", "deep"))


def test_orphans_stay(scene):
    for kind in ("ConfigMap", "Widget", "StatefulSet"):
        holder = scene.make(kind, "leaves")
        other = scene.make("Secret", "other")
        scene.make("Gadget", "orphan", [owner(holder), owner(other)])
        scene.make("Lease", "orphan", [owner(holder)])
        scene.remove(kind, "leaves", propagationPolicy="Orphan")
        scene.until_gone((kind, "leaves"))
        scene.stay(("Gadget", "orphan"), ("Lease", "orphan"))
        same((["other"], []), (owners(scene.read("Gadget", "orphan")),
                               owners(scene.read("Lease", "orphan"))))
        for left in (("Secret", "other"), ("Lease", "orphan")):
            scene.remove(*left)
        scene.until_gone(("Gadget", "orphan"))


def test_owners_that_never_were(scene):
    for kind in ("Widget", "StatefulSet", "ConfigMap"):
        for held in ("ConfigMap", "Gadget", "Role"):
            scene.make(held, f"lost-{kind.lower()}", [absent(kind)])
            scene.until_gone((held, f"lost-{kind.lower()}"))


def test_an_owner_in_another_namespace_is_none(scene):
    for kind in ("Widget", "Lease", "ConfigMap"):
        holder = scene.make(kind, "elsewhere", namespace=scene.other)
        for held in ("Gadget", "Role", "Secret"):
            scene.make(held, "astray", [owner(holder)])
            scene.until_gone((held, "astray"))
        assert scene.read(kind, "elsewhere", scene.other)


def test_owners_of_the_cluster(scene):
    place = scene.make("Place", "owner")
    role = scene.make("ClusterRole", scene.namespace, [owner(place)])
    for kind in ("Widget", "ConfigMap", "Role"):
        scene.make(kind, "in-place", [owner(role)])
        scene.make(kind, "elsewhere-in-place", [owner(place)], namespace=scene.other)
    scene.stay(("ClusterRole", scene.namespace), ("Widget", "in-place"), ("ConfigMap", "in-place"))
    scene.remove("Place", "owner")
    scene.until_gone(("ClusterRole", scene.namespace), ("Widget", "in-place"),
                     ("ConfigMap", "in-place"), ("Role", "in-place"))
    for kind in ("Widget", "ConfigMap", "Role"):
        wait_for(lambda: scene.read(kind, "elsewhere-in-place", scene.other) is None, TIMEOUT,
                 f"the {kind} of the other namespace to go")


def test_what_is_of_the_cluster_is_not_owned_by_what_is_not(scene):
    widget = scene.make("Widget", "small")
    scene.make("Place", "large", [owner(widget)])
    scene.make("Place", "larger", [absent("Widget")])
    scene.make("ClusterRole", scene.namespace, [owner(widget)])
    scene.remove("Widget", "small")
    scene.stay(("Place", "large"), ("Place", "larger"), ("ClusterRole", scene.namespace))
    for kind, name in (("Place", "large"), ("Place", "larger"), ("ClusterRole", scene.namespace)):
        scene.remove(kind, name)


def test_owners_of_kinds_that_come_later(scene):
    """Of what is not served nobody knows whether it is there."""
    KINDS["Later"] = (f"/apis/{scene.group}/v1", "laters", {})
    scene.make("ConfigMap", "early", [absent("Later")])
    scene.make("Gadget", "early", [absent("Later")])
    scene.stay(("ConfigMap", "early"), ("Gadget", "early"))
    scene.define("Later")
    scene.until_gone(("ConfigMap", "early"), ("Gadget", "early"))
    holder = scene.make("Secret", "before-it")
    scene.make("Later", "held", [owner(holder)])
    scene.make("Role", "held-by-later", [owner(scene.make("Later", "holds"))])
    scene.remove("Secret", "before-it")
    scene.remove("Later", "holds")
    scene.until_gone(("Later", "held"), ("Role", "held-by-later"))
    scene.undefine("Later")
    del KINDS["Later"]


def test_a_definition_takes_all_along(scene):
    for _ in range(2):  # as a new kind under the same name, too
        scene.define("Passing")
        scene.settle("Passing")
        scene.make("Passing", "held", finalizers=HOLD)
        for i in range(20):
            passing = scene.make("Passing", f"p{i}")
            scene.make("ConfigMap", f"p{i}", [owner(passing)])
            gadget = scene.make("Gadget", f"p{i}", [owner(passing)])
            scene.make("Role", f"p{i}", [owner(gadget)])
        scene.undefine("Passing")
        scene.until_gone(*((kind, f"p{i}") for kind in ("Passing", "ConfigMap", "Gadget", "Role")
                           for i in range(20)))
        scene.change("Passing", "held", {"finalizers": None})
        wait_for(lambda: scene.api.get(f"{DEFINITIONS}/passings.{scene.group}")[0] == 404, TIMEOUT,
                 "the definition to go")
    del KINDS["Passing"]


def test_zz_the_namespaces_go(scene):
    KINDS["Namespace"] = ("/api/v1", "namespaces", {})
    scene.make("Widget", "last")
    for namespace in (scene.namespace, scene.other):
        scene.remove("Namespace", namespace)
    scene.until_gone(("Namespace", scene.namespace), ("Namespace", scene.other))
    for kind in ("Widget", "Gadget", "Place"):
        scene.undefine(kind)


def chosen():
    long = (test_owners_of_kinds_that_come_later, test_a_definition_takes_all_along)
    return {name: test for name, test in globals().items()
            if not ("--short" in sys.argv and test in long)}


if __name__ == "__main__":
    tap.main(chosen(), (Scene(),))
