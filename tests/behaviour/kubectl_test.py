#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people do with kubectl that needs no node: on the local API and a real kube-apiserver.

usage: KUBECONFIG=… [KUBECTL=kubectl] kubectl_test.py
"""

import json
import os
import pathlib
import subprocess
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402

NAMESPACE = f"kubectl-{uuid.uuid4().hex[:8]}"


def kubectl(*arguments, stdin=None, check=True, namespace=NAMESPACE):
    """Standard output; with check=False the whole result."""
    command = [os.environ.get("KUBECTL", "kubectl")]
    command += ["-n", namespace] if namespace else []
    done = subprocess.run([*command, *arguments], input=stdin, text=True, capture_output=True,
                          timeout=60, check=False)
    if not check:
        return done
    if done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
    return done.stdout


def has(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is not in:\n{text}"


def apply(document):
    return kubectl("apply", "-f", "-", stdin=json.dumps(document))


def test_create_namespace():
    has(kubectl("create", "namespace", NAMESPACE, namespace=None), f"namespace/{NAMESPACE} created")


def test_api_resources():
    has(kubectl("api-resources", namespace=None), "sandboxwarmpools", "swp", "deployments", "po ")


def test_api_versions():
    has(kubectl("api-versions", namespace=None), "agents.x-k8s.io/v1beta1", "apps/v1",
        "rbac.authorization.k8s.io/v1")


def test_apply_creates_configures_and_leaves_alone():
    apply(objects.template("t"))
    pool = objects.warm_pool("p", "t", 0)
    has(apply(pool), "sandboxwarmpool.extensions.agents.x-k8s.io/p created")
    has(apply(pool), "unchanged")
    pool["spec"]["updateStrategy"] = {"type": "Recreate"}
    has(apply(pool), "configured")
    has(kubectl("get", "swp", "p", "-o", "jsonpath={.spec.updateStrategy.type}"), "Recreate")


def test_apply_of_a_core_kind_merges_lists():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {
        "selector": {"a": "b"}, "ports": [{"name": "x", "port": 80}, {"name": "y", "port": 81}]}}
    has(apply(service), "service/s created")
    service["spec"]["ports"] = [{"name": "y", "port": 81}, {"name": "z", "port": 82}]
    has(apply(service), "configured")
    ports = json.loads(kubectl("get", "svc", "s", "-o", "json"))["spec"]["ports"]
    assert {port["name"] for port in ports} == {"y", "z"}, ports


def test_apply_refuses_unknown_fields():
    document = objects.claim("strict", "p")
    document["spec"]["surprise"] = 1
    done = kubectl("apply", "-f", "-", stdin=json.dumps(document), check=False)
    assert done.returncode != 0
    has(done.stderr, "surprise")


def test_dry_run():
    has(kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(objects.template("dry"))),
        "created (server dry run)")
    assert kubectl("get", "sandboxtemplate", "dry", check=False).returncode == 1


def test_get_prints_the_columns():
    out = kubectl("get", "swp", "p")
    has(out.splitlines()[0], "NAME", "READY", "DESIRED", "AGE")
    has(out.splitlines()[1], "p ")


def test_get_in_every_form():
    kubectl("create", "configmap", "c", "--from-literal=k=v")
    has(kubectl("get", "cm", "c"), "NAME", "DATA", "AGE")
    has(kubectl("get", "cm", "c", "-o", "yaml"), "kind: ConfigMap", "k: v")
    assert json.loads(kubectl("get", "cm", "c", "-o", "json"))["data"] == {"k": "v"}
    assert kubectl("get", "cm", "c", "-o", "name") == "configmap/c\n"
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data.k}") == "v"
    has(kubectl("get", "cm", "c", "-o", "custom-columns=N:.metadata.name"), "N", "c")
    has(kubectl("get", "cm", "c", "-o", "wide", "--show-labels"), "LABELS")
    has(kubectl("get", "cm,svc"), "configmap/c", "service/s")
    has(kubectl("get", "cm", "-A", namespace=None), "NAMESPACE", NAMESPACE)


def test_get_of_what_is_not_there():
    done = kubectl("get", "sandbox", "nobody", check=False)
    assert done.returncode == 1
    has(done.stderr, 'Error from server (NotFound): sandboxes.agents.x-k8s.io "nobody" not found')
    has(kubectl("get", "sandboxclaims", check=False).stderr, "No resources found")


def test_label_and_annotate():
    has(kubectl("label", "cm", "c", "tier=one"), "labeled")
    has(kubectl("get", "cm", "-l", "tier=one", "-o", "name"), "configmap/c")
    has(kubectl("label", "cm", "c", "tier-"), "unlabeled")
    assert kubectl("get", "cm", "-l", "tier=one", "-o", "name") == ""
    has(kubectl("annotate", "cm", "c", "why=because"), "annotated")
    has(kubectl("get", "cm", "c", "-o", "jsonpath={.metadata.annotations.why}"), "because")


def test_patch_in_every_type():
    has(kubectl("patch", "cm", "c", "-p", '{"data":{"s":"1"}}'), "patched")
    has(kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"m":"2"}}'), "patched")
    has(kubectl("patch", "cm", "c", "--type=json", "-p",
                '[{"op":"add","path":"/data/j","value":"3"}]'), "patched")
    assert json.loads(kubectl("get", "cm", "c", "-o", "json"))["data"] == \
        {"k": "v", "s": "1", "m": "2", "j": "3"}


def test_scale():
    has(kubectl("scale", "swp/p", "--replicas=2"), "scaled")
    assert kubectl("get", "swp", "p", "-o", "jsonpath={.spec.replicas}") == "2"
    kubectl("scale", "swp/p", "--replicas=0")


def test_describe():
    has(kubectl("describe", "cm", "c"), "Name:", "why: because")
    has(kubectl("describe", "swp", "p"), "API Version:", "Sandbox Template Ref:")


def test_explain():
    has(kubectl("explain", "sandbox.spec.shutdownPolicy", namespace=None), "shutdownPolicy", "Retain")
    has(kubectl("explain", "pod.spec.containers", namespace=None), "<[]Container>", "FIELDS:")


def test_a_list_of_several_kinds():
    documents = {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-list"},
         "data": {"a": "b"}},
        objects.template("of-list"),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "of-list"}, "spec": {
            "ports": [{"name": "a", "port": 80, "targetPort": "http"},
                      {"name": "b", "port": 81, "targetPort": 8081}]}}]}
    has(apply(documents), "configmap/of-list created",
        "sandboxtemplate.extensions.agents.x-k8s.io/of-list created", "service/of-list created")
    has(apply(documents), "configmap/of-list unchanged", "service/of-list unchanged")
    documents["items"][1]["spec"]["podTemplate"]["spec"]["surprise"] = 1
    done = kubectl("apply", "-f", "-", stdin=json.dumps(documents), check=False)
    assert done.returncode != 0
    has(done.stderr, "ValidationError(SandboxTemplate.spec.podTemplate.spec)",
        'unknown field "surprise"')
    documents["items"] = [{"apiVersion": "v1", "kind": "Gizmo", "metadata": {"name": "x"}}]
    has(kubectl("create", "-f", "-", stdin=json.dumps(documents), check=False).stderr, "Gizmo")


def test_explain_by_openapi_v2():
    form = "--output=plaintext-openapiv2"
    has(kubectl("explain", form, "deployment.spec.strategy", namespace=None),
        "RESOURCE: strategy <Object>", "rollingUpdate\t<Object>")
    has(kubectl("explain", form, "sandboxclaim.spec", namespace=None),
        "warmPoolRef\t<Object> -required-")


def test_wait():
    has(kubectl("wait", "--for=jsonpath={.data.k}=v", "cm/c", "--timeout=10s"), "condition met")
    has(kubectl("wait", "--for=delete", "cm/never-there", "--timeout=10s", check=False).stdout +
        "ok", "ok")
    done = kubectl("wait", "--for=condition=Ready", "swp/absent", "--timeout=1s", check=False)
    assert done.returncode == 1
    has(done.stderr, "NotFound")


def test_watch():
    command = [os.environ.get("KUBECTL", "kubectl"), "-n", NAMESPACE, "get", "cm", "c", "-w",
               "-o", "name"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout.readline() == "configmap/c\n"
            kubectl("label", "cm", "c", "seen=yes")
            assert watching.stdout.readline() == "configmap/c\n"
        finally:
            watching.terminate()


def test_auth_can_i():
    assert kubectl("auth", "can-i", "create", "sandboxclaims").strip() == "yes"
    done = kubectl("auth", "can-i", "create", "sandboxclaims", "--as=nobody", check=False)
    assert (done.returncode, done.stdout.strip()) == (1, "no"), done
    kubectl("create", "role", "claimer", "--verb=create", "--resource=sandboxclaims")
    kubectl("create", "rolebinding", "claimer", "--role=claimer", "--user=somebody")
    assert kubectl("auth", "can-i", "create", "sandboxclaims", "--as=somebody").strip() == "yes"
    done = kubectl("auth", "can-i", "delete", "sandboxclaims", "--as=somebody", check=False)
    assert done.stdout.strip() == "no", done


def test_who_am_i():
    has(kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"), "system:masters")


def test_replace_and_edit_conflict():
    old = kubectl("get", "cm", "c", "-o", "json")
    kubectl("annotate", "cm", "c", "newer=yes")
    done = kubectl("replace", "-f", "-", stdin=old, check=False)
    assert done.returncode == 1
    has(done.stderr, "Conflict")


def test_service_accounts_and_tokens():
    has(kubectl("get", "serviceaccounts"), "default")
    kubectl("create", "serviceaccount", "robot")
    assert kubectl("create", "token", "robot").count(".") == 2


def test_deployment_and_its_columns():
    has(kubectl("create", "deployment", "d", "--image=busybox:latest", "--replicas=0"), "created")
    has(kubectl("get", "deployment", "d"), "READY", "UP-TO-DATE", "AVAILABLE", "0/0")
    kubectl("delete", "deployment", "d")


def test_delete():
    has(kubectl("delete", "cm", "c"), 'configmap "c" deleted')
    done = kubectl("delete", "cm", "c", check=False)
    assert done.returncode == 1
    has(kubectl("delete", "cm", "c", "--ignore-not-found"), "")
    kubectl("create", "configmap", "many-1")
    kubectl("create", "configmap", "many-2")
    has(kubectl("delete", "cm", "many-1", "many-2"), "many-1", "many-2")


def test_delete_namespace():
    has(kubectl("delete", "namespace", NAMESPACE, "--timeout=60s", namespace=None), "deleted")
    assert kubectl("get", "namespace", NAMESPACE, namespace=None, check=False).returncode == 1


if __name__ == "__main__":
    tap.main(globals())
