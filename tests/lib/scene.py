# SPDX-License-Identifier: Apache-2.0
"""A namespace of its own on some API, and short words for what the controllers' suites do there."""

import json
import os
import uuid

from lib import objects
from lib.instance import Api, wait_for

MERGE = "application/merge-patch+json"
TIMEOUT = 60
PREFIX = "agents.x-k8s.io/"
KINDS = {"sandboxes": "Sandbox", "sandboxclaims": "SandboxClaim",
         "sandboxtemplates": "SandboxTemplate", "sandboxwarmpools": "SandboxWarmPool",
         "pods": "Pod", "services": "Service", "persistentvolumeclaims": "PersistentVolumeClaim",
         "networkpolicies": "NetworkPolicy", "events": "Event"}


def same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def name_hash(name):
    """FNV-1a of 32 bits, as labels carry it."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value:08x}"


def labels(document):
    return document["metadata"].get("labels", {})


def annotations(document):
    return document["metadata"].get("annotations", {})


def condition(document, kind="Ready"):
    """A condition as it is, {} where there is none."""
    for entry in (document or {}).get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return entry
    return {}


def owner(document):
    """(kind, name, uid) of the controlling owner, or None."""
    for entry in document["metadata"].get("ownerReferences", []):
        if entry.get("controller"):
            return entry["kind"], entry["name"], entry["uid"]
    return None


def owned_by(kind, document):
    return (kind, document["metadata"]["name"], document["metadata"]["uid"])


def reference(document):
    """An ownerReference that makes `document` the controller."""
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "controller": True,
            "blockOwnerDeletion": True, "name": document["metadata"]["name"],
            "uid": document["metadata"]["uid"]}


class Scene:
    """An administrator in a new namespace; `version` is that of our kinds."""

    def __init__(self, version="v1beta1"):
        self.api = Api(os.environ["KUBECONFIG"])
        self.version = version
        self.namespace = f"scene-{uuid.uuid4().hex[:8]}"
        self.api.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        # A Pod is refused while its namespace has no account for it.
        wait_for(lambda: self.read("serviceaccounts", "default"), TIMEOUT, "the service account")

    def path(self, resource, name=None):
        if resource == "networkpolicies":
            base = f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/{resource}"
            return base if name is None else f"{base}/{name}"
        return objects.path(resource, self.namespace, name).replace("v1beta1", self.version)

    def make(self, resource, name, spec, **metadata):
        """Creates an object of any kind and returns it as it was stored."""
        group = ("v1" if not resource.startswith("sandbox") and resource != "networkpolicies"
                 else "/".join(self.path(resource).split("/")[2:4]))
        return self.api.create(self.path(resource), {
            "apiVersion": group, "kind": KINDS[resource], "metadata": {"name": name, **metadata},
            "spec": spec})

    def get(self, path):
        """Comes again, as clients do, while the server takes in a kind anew (429)."""
        def answer():
            found = self.api.get(path)
            return None if found[0] == 429 else found
        return wait_for(answer, TIMEOUT, f"{path} to be served", pause=0.1)

    def read(self, resource, name):
        """The object, or None."""
        status, document = self.get(self.path(resource, name))
        if status == 404:
            return None
        same(200, status)
        return document

    def list(self, resource, selector=""):
        query = f"?labelSelector={selector}" if selector else ""
        status, found = self.get(self.path(resource) + query)
        same(200, status)
        return found["items"]

    def owned(self, resource, document):
        """Objects of a kind that `document` controls and nobody has deleted, in order of name."""
        uid = document["metadata"]["uid"]
        return [item for item in self.list(resource)
                if owner(item) and owner(item)[2] == uid
                and "deletionTimestamp" not in item["metadata"]]

    def change(self, resource, name, patch):
        status, document = self.api.request("PATCH", self.path(resource, name), patch, MERGE)
        assert status == 200, document
        return document

    def remove(self, resource, name, **options):
        status, document = self.api.request("DELETE", self.path(resource, name), options or None)
        assert status in (200, 202), document

    def until(self, resource, name, test, what):
        """Waits until test(object) is true and returns the object, which is None where absent."""
        last = None
        def look():
            nonlocal last
            last = self.read(resource, name)
            return test(last)
        try:
            wait_for(look, TIMEOUT, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}; {resource} {name} is {json.dumps(last)}") from None
        return last

    def until_told(self, resource, name, reason, status="False", kind="Ready"):
        """Waits for a condition of the object's newest generation."""
        def told(document):
            found = condition(document, kind)
            return (found.get("reason"), found.get("status")) == (reason, status) and \
                found["observedGeneration"] == document["metadata"]["generation"]
        return self.until(resource, name, told, f"{kind} {status} {reason}")

    def until_ready(self, resource, name, reason="DependenciesReady"):
        return self.until_told(resource, name, reason, "True")

    def until_gone(self, resource, name):
        self.until(resource, name, lambda document: document is None, "its end")

    def until_owned(self, resource, document, count):
        """Waits until `document` controls so many of them, and returns them."""
        found = []
        def look():
            found[:] = self.owned(resource, document)
            return len(found) == count
        wait_for(look, TIMEOUT, f"{count} {resource} of {document['metadata']['name']}")
        return found

    def events(self, name, reason):
        status, found = self.get(
            f"/api/v1/namespaces/{self.namespace}/events"
            f"?fieldSelector=involvedObject.name%3D{name}%2Creason%3D{reason}")
        same(200, status)
        return found["items"]

    def until_event(self, name, reason, kind="Normal"):
        found = wait_for(lambda: self.events(name, reason), TIMEOUT, f"an event {reason}")
        same(kind, found[0]["type"])
        return found

    def end(self):
        same(200, self.api.request("DELETE", f"/api/v1/namespaces/{self.namespace}")[0])
        wait_for(lambda: self.api.get(f"/api/v1/namespaces/{self.namespace}")[0] == 404, TIMEOUT,
                 "the namespace to go")


# ---- Pods that both a real node and the fake one know how to run ----

def pod_spec(command=("sleep", "1000000"), **more):
    return {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": "busybox:latest", "command": list(command), **more}]}


def blueprint(command=("sleep", "1000000"), meta=None, **more):
    template = {"spec": pod_spec(command, **more)}
    if meta:
        template["metadata"] = meta
    return {"podTemplate": template}


def ending(command):
    """A blueprint whose Pod ends: `true` well, `false` badly."""
    spec = pod_spec((command,))
    return {"podTemplate": {"spec": {**spec, "restartPolicy": "Never"}}}


def never_ready():
    return blueprint(readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1})


def too_large():
    return blueprint(resources={"requests": {"cpu": "100000"}})
