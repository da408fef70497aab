# SPDX-License-Identifier: Apache-2.0
"""The objects that tests create, and where they live."""

EXTENSIONS = "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/{}"
SANDBOXES = "/apis/agents.x-k8s.io/v1beta1/namespaces/{}/sandboxes"


def path(resource, namespace="default", name=None):
    """The API path of one of our resources, or of a core one."""
    if resource == "sandboxes":
        base = SANDBOXES.format(namespace)
    elif resource.startswith("sandbox"):
        base = f"{EXTENSIONS.format(namespace)}/{resource}"
    else:
        base = f"/api/v1/namespaces/{namespace}/{resource}"
    return base if name is None else f"{base}/{name}"


def pod_template():
    return {"spec": {"containers": [{
        "name": "runtime", "image": "python-runtime-sandbox:latest",
        "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 8888}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8888}, "periodSeconds": 1}}]}}


def template(name):
    return {"apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxTemplate",
            "metadata": {"name": name}, "spec": {"podTemplate": pod_template()}}


def warm_pool(name, template_name, replicas):
    return {"apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxWarmPool",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "sandboxTemplateRef": {"name": template_name}}}


def claim(name, pool):
    return {"apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
            "metadata": {"name": name}, "spec": {"warmPoolRef": {"name": pool}}}


def sandbox(name):
    return {"apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
            "metadata": {"name": name}, "spec": {"podTemplate": pod_template()}}


def condition(document, kind="Ready"):
    """The status of a condition: "True", "False", or None where there is none."""
    for entry in document.get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return entry["status"]
    return None


def make_pool(api, name, replicas, namespace="default"):
    """A template and a pool of its name; the caller waits for it."""
    api.create(path("sandboxtemplates", namespace), template(name))
    return api.create(path("sandboxwarmpools", namespace), warm_pool(name, name, replicas))


def ready_members(api, name, namespace="default"):
    _, pool = api.get(path("sandboxwarmpools", namespace, name))
    return pool.get("status", {}).get("readyReplicas", 0)
