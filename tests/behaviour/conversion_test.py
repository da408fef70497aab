#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One object read and written in both versions: on the local API and, by our webhook, on a cluster.

usage: KUBECONFIG=… [KUBECTL=kubectl] conversion_test.py
"""

import json
import os
import pathlib
import subprocess
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

NAMESPACE = f"convert-{uuid.uuid4().hex[:8]}"
API = Api(os.environ["KUBECONFIG"])
STATE = "api.agents.x-k8s.io/"


def path(version, resource, name=None):
    return objects.path(resource, NAMESPACE, name).replace("v1beta1", version)


def create(resource, kind, name, spec, version="v1alpha1"):
    group = "agents.x-k8s.io" if kind == "Sandbox" else "extensions.agents.x-k8s.io"
    return API.create(path(version, resource),
                      {"apiVersion": f"{group}/{version}", "kind": kind,
                       "metadata": {"name": name}, "spec": spec})


def read(version, resource, name):
    status, document = API.get(path(version, resource, name))
    assert status == 200, document
    assert document["apiVersion"].endswith(version), document["apiVersion"]
    return document


def patch(version, resource, name, change):
    status, document = API.request("PATCH", path(version, resource, name), change,
                                   "application/merge-patch+json")
    assert status == 200, document
    return document


def same(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def annotations(document):
    return document["metadata"].get("annotations", {})


def kubectl(*arguments, stdin=None):
    done = subprocess.run([os.environ.get("KUBECTL", "kubectl"), "-n", NAMESPACE, *arguments],
                          input=stdin, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_nothing(version, resource, name):
    """A PUT of what was read: the object stays as it is, to the resourceVersion."""
    def unchanged():
        before = read(version, resource, name)
        status, after = API.request("PUT", path(version, resource, name), before)
        if status == 409:  # its status moved on meanwhile
            return False
        assert status == 200, after
        same(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"])
        same(after, before)
        return True
    wait_for(unchanged, what="a PUT between two changes")


def test_namespace():
    API.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                      "metadata": {"name": NAMESPACE}})


def test_sandbox_is_suspended_in_both_versions():
    create("sandboxes", "Sandbox", "s", {"podTemplate": objects.pod_template()})
    same(read("v1beta1", "sandboxes", "s")["spec"]["operatingMode"], "Running")
    same(read("v1alpha1", "sandboxes", "s")["spec"]["replicas"], 1)
    patch("v1beta1", "sandboxes", "s", {"spec": {"operatingMode": "Suspended"}})
    same(read("v1alpha1", "sandboxes", "s")["spec"]["replicas"], 0)
    kubectl("scale", "sandboxes.v1alpha1.agents.x-k8s.io/s", "--replicas=1")
    hub = read("v1beta1", "sandboxes", "s")
    same(hub["spec"]["operatingMode"], "Running")
    assert "replicas" not in hub["spec"], hub["spec"]


def test_sandbox_counts_its_pod():
    wait_for(lambda: objects.condition(read("v1beta1", "sandboxes", "s")) == "True",
             what="the sandbox to be ready")
    hub, old = read("v1beta1", "sandboxes", "s"), read("v1alpha1", "sandboxes", "s")
    same(old["status"]["replicas"], 1)
    assert "nodeName" not in old["status"], old["status"]
    same(old["status"]["podIPs"], hub["status"]["podIPs"])
    patch("v1alpha1", "sandboxes", "s", {"metadata": {"labels": {"by": "v1alpha1"}}})
    after = read("v1beta1", "sandboxes", "s")
    same(after["status"]["nodeName"], hub["status"]["nodeName"])
    same(after["metadata"]["generation"], hub["metadata"]["generation"])
    assert not any(key.startswith(STATE) for key in annotations(after)), annotations(after)


def test_writing_nothing_changes_nothing():
    for version in ("v1alpha1", "v1beta1"):
        write_nothing(version, "sandboxes", "s")


def test_template_keeps_the_policy_of_the_other_version():
    create("sandboxtemplates", "SandboxTemplate", "t",
           {"podTemplate": objects.pod_template(), "volumeClaimTemplatesPolicy": "Overrides"},
           "v1beta1")
    old = read("v1alpha1", "sandboxtemplates", "t")
    same(annotations(old)[STATE + "v1beta1-volume-claim-templates-policy"], "Overrides")
    assert "volumeClaimTemplatesPolicy" not in old["spec"], old["spec"]
    patch("v1alpha1", "sandboxtemplates", "t", {"metadata": {"labels": {"by": "v1alpha1"}}})
    hub = read("v1beta1", "sandboxtemplates", "t")
    same(hub["spec"]["volumeClaimTemplatesPolicy"], "Overrides")
    same(annotations(hub), {})
    write_nothing("v1alpha1", "sandboxtemplates", "t")


def test_claim_names_its_template_or_its_pool():
    cases = {
        "unset": ({}, "shadow-pool-t"),
        "default": ({"warmpool": "default"}, "shadow-pool-t"),
        "none": ({"warmpool": "none"}, "shadow-pool-t"),
        "named": ({"warmpool": "p"}, "p"),
    }
    for name, (more, pool) in cases.items():
        create("sandboxclaims", "SandboxClaim", name, {"sandboxTemplateRef": {"name": "t"}, **more})
        hub, old = read("v1beta1", "sandboxclaims", name), read("v1alpha1", "sandboxclaims", name)
        same(hub["spec"]["warmPoolRef"], {"name": pool})
        assert "sandboxTemplateRef" not in hub["spec"] and "warmpool" not in hub["spec"]
        same(old["spec"]["sandboxTemplateRef"], {"name": "t"})
        same(old["spec"]["warmpool"], more.get("warmpool", "default"))
        assert "warmPoolRef" not in old["spec"], old["spec"]
        assert STATE + "v1alpha1-sandboxclaim-state" not in annotations(old), annotations(old)
        write_nothing("v1alpha1", "sandboxclaims", name)


def free_members(pool):
    """Ready Sandboxes that the pool has to give, whatever its status says of them."""
    _, listed = API.get(path("v1beta1", "sandboxes"))
    return sum(owner["name"] == pool and owner["kind"] == "SandboxWarmPool" and
               objects.condition(sandbox) == "True" for sandbox in listed["items"]
               for owner in sandbox["metadata"].get("ownerReferences", []))


def test_claimed_warm_the_claim_keeps_its_pool():
    create("sandboxwarmpools", "SandboxWarmPool", "p",
           {"replicas": 1, "sandboxTemplateRef": {"name": "t"}}, "v1beta1")
    # One of the claims from before waits for this very pool, and may take its first member.
    for name in ("unset", "default", "none", "named"):
        wait_for(lambda claim=name: objects.condition(read("v1beta1", "sandboxclaims", claim)) ==
                 "True", what=f"the claim {name} to be ready")
    wait_for(lambda: free_members("p") == 1, what="a ready member")
    create("sandboxclaims", "SandboxClaim", "warm", {"sandboxTemplateRef": {"name": "t"}})
    wait_for(lambda: objects.condition(read("v1alpha1", "sandboxclaims", "warm")) == "True",
             what="the claim to be ready")
    before, old = read("v1beta1", "sandboxclaims", "warm"), read("v1alpha1", "sandboxclaims", "warm")
    name = before["status"]["sandbox"]["name"]
    assert name != "warm", "the claim was not served by the pool"
    same((old["status"]["sandbox"]["name"], old["status"]["sandbox"]["Name"]), (name, name))
    assert "Name" not in before["status"]["sandbox"], before["status"]["sandbox"]
    patch("v1alpha1", "sandboxclaims", "warm", {"metadata": {"labels": {"by": "v1alpha1"}}})
    after = read("v1beta1", "sandboxclaims", "warm")
    same(after["spec"], before["spec"])
    same(after["metadata"]["generation"], before["metadata"]["generation"])
    write_nothing("v1alpha1", "sandboxclaims", "warm")


def test_a_later_word_in_the_hub_wins():
    patch("v1beta1", "sandboxclaims", "none", {"spec": {"warmPoolRef": {"name": "elsewhere"}}})
    old = read("v1alpha1", "sandboxclaims", "none")
    same((old["spec"]["sandboxTemplateRef"]["name"], old["spec"]["warmpool"]),
         ("elsewhere", "elsewhere"))
    patch("v1beta1", "sandboxclaims", "none", {"spec": {"warmPoolRef": {"name": "shadow-pool-u"}}})
    old = read("v1alpha1", "sandboxclaims", "none")
    same((old["spec"]["sandboxTemplateRef"]["name"], old["spec"]["warmpool"]), ("u", "default"))
    # On a cluster the first PUT takes away what was kept of the old word.
    wait_for(lambda: API.request("PUT", path("v1alpha1", "sandboxclaims", "none"),
                                 read("v1alpha1", "sandboxclaims", "none"))[0] == 200,
             what="a PUT between two changes")
    write_nothing("v1alpha1", "sandboxclaims", "none")


def test_kubectl_applies_and_gets_across_versions():
    document = json.dumps({
        "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxClaim",
        "metadata": {"name": "applied"}, "spec": {"sandboxTemplateRef": {"name": "t"}}})
    assert "created" in kubectl("apply", "-f", "-", stdin=document)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=document)
    same(kubectl("get", "sandboxclaim", "applied", "-o", "jsonpath={.spec.warmPoolRef.name}"),
         "shadow-pool-t")
    same(kubectl("get", "sandboxclaims.v1alpha1.extensions.agents.x-k8s.io", "applied", "-o",
                 "jsonpath={.spec.sandboxTemplateRef.name}"), "t")
    kubectl("label", "sandboxclaim", "applied", "by=hub")
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=document)
    same(read("v1alpha1", "sandboxclaims", "applied")["metadata"]["labels"], {"by": "hub"})


def test_annotations_that_are_too_many_are_refused():
    status, answer = API.request("POST", path("v1alpha1", "sandboxclaims"), {
        "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxClaim",
        "metadata": {"name": "full", "annotations": {"a": "x" * (256 * 1024 - 8)}},
        "spec": {"sandboxTemplateRef": {"name": "t"}, "warmpool": "none"}})
    assert status in (422, 500), answer  # 500 is how kube-apiserver tells what a webhook refused
    assert "annotations" in answer["message"], answer


def test_namespace_goes():
    status, _ = API.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    same(status, 200)
    wait_for(lambda: API.get(f"/api/v1/namespaces/{NAMESPACE}")[0] == 404, timeout=60,
             what="the namespace to go")


if __name__ == "__main__":
    tap.main(globals())
