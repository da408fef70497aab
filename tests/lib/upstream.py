# SPDX-License-Identifier: Apache-2.0
"""Plants on an API what upstream's controller leaves there, without running it.

What it writes is taken from its source: v0.5.6 (v1beta1) and v0.1.0 (v1alpha1). Pods are made
running by whoever runs Pods on that API.
"""

import json

from lib.instance import wait_for
from lib.scene import MERGE, PREFIX, TIMEOUT, blueprint, name_hash, reference

STATE = "api.agents.x-k8s.io/v1alpha1-sandbox-state"
# Hashes over what Go's encoder makes of a template: to us 8 digits without a meaning.
TEMPLATE_HASHES = {PREFIX + "sandbox-template-hash": "5f0c4a1e",
                   PREFIX + "sandbox-pod-template-hash": "77aa01bc"}
SECURE = {"automountServiceAccountToken": False, "dnsPolicy": "None",
          "dnsConfig": {"nameservers": ["8.8.8.8", "1.1.1.1"]}}
TIME = "2026-08-22T10:00:00Z"


def condition(kind, status, reason, message, generation=1):
    return {"type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": TIME}


class Planter:
    """What both versions have in common."""

    def __init__(self, scene):
        self.scene = scene

    def tell(self, resource, name, status):
        path = f"{self.scene.path(resource, name)}/status"
        code, answer = self.scene.api.request("PATCH", path, {"status": status}, MERGE)
        assert code == 200, answer

    def pod(self, name, spec, owner, labels, annotations=None):
        self.scene.make("pods", name, spec, labels=labels, annotations=annotations or {},
                        ownerReferences=[reference(owner)])
        return wait_for(lambda: self.running(name), TIMEOUT, f"Pod {name} to run")

    def running(self, name):
        pod = self.scene.read("pods", name)
        return pod if pod.get("status", {}).get("phase") == "Running" else None

    def service(self, sandbox, ports=()):
        name = sandbox["metadata"]["name"]
        chosen = {PREFIX + "sandbox-name-hash": name_hash(name)}
        return self.scene.make("services", name, {"clusterIP": "None", "selector": chosen,
                                                  "ports": list(ports)},
                               labels=chosen, ownerReferences=[reference(sandbox)])


class V1beta1(Planter):
    """v0.5.6."""

    def template(self, name):
        made = self.scene.make("sandboxtemplates", name, blueprint())
        hashed = {PREFIX + "sandbox-template-ref-hash": name_hash(name)}
        router = {"namespaceSelector": {"matchLabels": {
            "kubernetes.io/metadata.name": "agent-sandbox-system"}},
            "podSelector": {"matchLabels": {"app": "sandbox-router"}}}
        private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]
        self.scene.make("networkpolicies", f"{name}-network-policy", {
            "podSelector": {"matchLabels": hashed}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [router]}],
            "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": private}},
                               {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7"]}}]}]},
            ownerReferences=[reference(made)])
        return made

    def sandbox(self, name, labels=None, annotations=None, owner=None, spec=None, meta=None,
                **more):
        """A Sandbox that is Ready, with its Pod; `meta` is of the Pod template."""
        spec = spec or blueprint(meta=meta)
        made = self.scene.make(
            "sandboxes", name, {**spec, **more}, labels=labels or {}, annotations=annotations or {},
            ownerReferences=[reference(owner)] if owner else [])
        hashed = {PREFIX + "sandbox-name-hash": name_hash(name)}
        handed = {key: value for key, value in (labels or {}).items() if key in (
            PREFIX + "warm-pool-sandbox", PREFIX + "sandbox-template-ref-hash",
            PREFIX + "created-by")}
        pod = self.pod(name, spec["podTemplate"]["spec"], made, {**hashed, **handed})
        self.scene.change("sandboxes", name, {"metadata": {"annotations": {
            PREFIX + "pod-name": name}}})
        status = {
            "selector": f"{PREFIX}sandbox-name-hash={name_hash(name)}", "nodeName": "fake-node",
            "podIPs": [each["ip"] for each in pod["status"]["podIPs"]],
            "conditions": [
                condition("Suspended", "False", "NotSuspended", "Sandbox is not suspended"),
                condition("PodScheduled", "True", "PodScheduled", ""),
                condition("Ready", "True", "DependenciesReady", "Pod is Ready")]}
        if more.get("service"):
            self.service(made, [{"name": "p-80-tcp", "port": 80, "targetPort": 80}])
            status |= {"service": name,
                       "serviceFQDN": f"{name}.{self.scene.namespace}.svc.cluster.local"}
        self.tell("sandboxes", name, status)
        return self.scene.read("sandboxes", name)

    def suspended(self, name):
        self.scene.make("sandboxes", name, {**blueprint(), "operatingMode": "Suspended"})
        self.tell("sandboxes", name, {
            "selector": f"{PREFIX}sandbox-name-hash={name_hash(name)}", "conditions": [
                condition("Suspended", "True", "PodTerminated",
                          "Pod has been terminated. Sandbox is suspended"),
                condition("Ready", "False", "SandboxSuspended", "Sandbox is suspended")]})

    def written_as_v1alpha1(self, name):
        """One that was created in the old version: conversion keeps that whole."""
        was = {"apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
               "metadata": {"name": name, "namespace": self.scene.namespace},
               "spec": blueprint(), "status": {"replicas": 0}}
        return self.sandbox(name, annotations={STATE: json.dumps(was)})

    def blueprint(self, labels):
        """What members are made from: the template's, hardened, with labels for the Pod."""
        spec = blueprint()
        spec["podTemplate"]["spec"] |= SECURE
        spec["podTemplate"]["metadata"] = {"labels": labels}
        return spec

    def pool(self, name, template, members, strategy="OnReplenish"):
        made = self.scene.make("sandboxwarmpools", name, {
            "replicas": len(members), "sandboxTemplateRef": {"name": template},
            "updateStrategy": {"type": strategy}})
        pool = {PREFIX + "warm-pool-sandbox": name_hash(name)}
        hashed = {PREFIX + "sandbox-template-ref-hash": name_hash(template)}
        for suffix in members:
            self.sandbox(f"{name}-{suffix}", owner=made,
                         labels={**pool, **hashed, **TEMPLATE_HASHES,
                                 PREFIX + "launch-type": "warm", PREFIX + "created-by": "controller"},
                         annotations={PREFIX + "sandbox-template-ref": template},
                         spec=self.blueprint({**pool, **hashed, **TEMPLATE_HASHES}))
        self.tell("sandboxwarmpools", name, {
            "replicas": len(members), "readyReplicas": len(members), "observedGeneration": 1,
            "selector": f"{PREFIX}warm-pool-sandbox={name_hash(name)}"})
        return made

    def claim(self, name, pool, template, sandbox_name, launch):
        """A claim bound to a Sandbox that it adopted (warm) or had made (cold)."""
        made = self.scene.make(
            "sandboxclaims", name, {"warmPoolRef": {"name": pool}},
            annotations={PREFIX + "controller-first-observed-at": TIME,
                         **({PREFIX + "sandbox-name": sandbox_name} if launch == "warm" else {})})
        labels = {PREFIX + "claim-uid": made["metadata"]["uid"],
                  PREFIX + "sandbox-template-ref-hash": name_hash(template)}
        sandbox = self.sandbox(sandbox_name, owner=made,
                               labels={**labels, PREFIX + "launch-type": launch},
                               annotations={PREFIX + "sandbox-template-ref": template},
                               spec=self.blueprint(labels))
        self.tell("sandboxclaims", name, {
            "sandbox": {"name": sandbox_name, "podIPs": sandbox["status"]["podIPs"]},
            "conditions": [condition("Ready", "True", "DependenciesReady", "Pod is Ready")]})
        return made


class V1alpha1(Planter):
    """v0.1.0: members of pools are bare Pods, every Sandbox has a Service."""

    def sandbox(self, name, owner=None, pod=None):
        """A Sandbox whose Pod is its own, or one that came from a pool."""
        spec = blueprint()
        made = self.scene.make("sandboxes", name, spec,
                               annotations={PREFIX + "pod-name": pod} if pod else {},
                               ownerReferences=[reference(owner)] if owner else [])
        self.pod(pod or name, spec["podTemplate"]["spec"], made,
                 {PREFIX + "sandbox-name-hash": name_hash(name)})
        self.service(made)
        self.tell("sandboxes", name, {
            "service": name, "serviceFQDN": f"{name}.{self.scene.namespace}.svc.cluster.local",
            "replicas": 1, "selector": f"{PREFIX}sandbox-name-hash={name_hash(name)}",
            "conditions": [condition("Ready", "True", "DependenciesReady",
                                     "Pod is Ready; Service Exists")]})
        return made

    def pool(self, name, template, members):
        made = self.scene.make("sandboxwarmpools", name, {
            "replicas": len(members), "sandboxTemplateRef": {"name": template}})
        for suffix in members:
            self.pod(f"{name}-{suffix}", blueprint()["podTemplate"]["spec"], made,
                     {PREFIX + "pool": name_hash(name),
                      PREFIX + "sandbox-template-ref-hash": name_hash(template)})
        self.tell("sandboxwarmpools", name, {"replicas": len(members)})
        return made

    def claim(self, name, template, pod=None):
        made = self.scene.make("sandboxclaims", name, {"sandboxTemplateRef": {"name": template}})
        self.sandbox(name, owner=made, pod=pod)
        self.tell("sandboxclaims", name, {
            "sandbox": {"Name": name},
            "conditions": [condition("Ready", "True", "SandboxReady", "Sandbox is ready")]})
        return made
