#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the controllers do, as seen through the API, in v1beta1.

usage: KUBECONFIG=… controllers_test.py

It passes on the local API, with the controllers in its process or over the wire, and on a real
kube-apiserver with `cay controller`. The rules are those of docs/controllers.md.
"""

import datetime
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import (  # noqa: E402
    MERGE, PREFIX, TIMEOUT, Scene, annotations, blueprint, condition, ending, labels, name_hash,
    never_ready, owned_by, owner, pod_spec, reference, same, too_large)

CLAIM_STORAGE = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}


def later(seconds):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def volume(name, size="1Mi", **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}


def ready_sandbox(scene, name, spec=None):
    scene.make("sandboxes", name, spec or blueprint())
    return scene.until_ready("sandboxes", name)


def template_and_pool(scene, name, replicas, spec=None, **pool):
    """A template and a pool of one name, when its members are ready."""
    scene.make("sandboxtemplates", name, spec or blueprint())
    scene.make("sandboxwarmpools", name, {
        "replicas": replicas, "sandboxTemplateRef": {"name": name}, **pool})
    return until_filled(scene, name, replicas)


def change_blueprint(scene, name, pod_template, port):
    """Returns when the controllers have seen the change: `port` comes with it, and into the
    template's network policy. Watches of several kinds tell in no order."""
    egress = [{"ports": [{"port": port, "protocol": "TCP"}]}]
    scene.change("sandboxtemplates", name, {"spec": {
        "podTemplate": pod_template, "networkPolicy": {"egress": egress}}})
    scene.until("networkpolicies", f"{name}-network-policy",
                lambda found: found["spec"].get("egress") == egress, "the change to be seen")


def until_filled(scene, name, replicas):
    return scene.until("sandboxwarmpools", name, lambda pool: (
        pool["status"].get("readyReplicas", 0), pool["status"].get("replicas", 0),
        condition(pool).get("observedGeneration")) ==
        (replicas, replicas, pool["metadata"]["generation"])
        if "status" in pool else False, f"{replicas} ready members")


def claim(scene, name, pool, **spec):
    return scene.make("sandboxclaims", name, {"warmPoolRef": {"name": pool}, **spec})


def bound(scene, name, reason="DependenciesReady"):
    """A claim that is Ready, and its Sandbox."""
    document = scene.until_ready("sandboxclaims", name, reason)
    return document, scene.read("sandboxes", document["status"]["sandbox"]["name"])


# ---- Sandbox: Pod and status ----

def test_sandbox_gets_its_pod(scene):
    made = scene.make("sandboxes", "pod", blueprint(meta={
        "labels": {"app": "a", PREFIX + "claim-uid": "forged", "extensions." + PREFIX + "x": "y"},
        "annotations": {"note": "n", PREFIX + "note": "reserved"}}))
    scene.until_ready("sandboxes", "pod")
    pod = scene.read("pods", "pod")
    same(owned_by("Sandbox", made), owner(pod))
    same({"app": "a", PREFIX + "sandbox-name-hash": name_hash("pod")}, labels(pod))
    same(("n", "app", "note"), (annotations(pod)["note"],
                                annotations(pod)[PREFIX + "propagated-labels"],
                                annotations(pod)[PREFIX + "propagated-annotations"]))
    assert PREFIX + "note" not in annotations(pod), annotations(pod)
    same(["sleep", "1000000"], pod["spec"]["containers"][0]["command"])
    assert pod["spec"].get("automountServiceAccountToken") is not False, pod["spec"]
    same("ClusterFirst", pod["spec"]["dnsPolicy"])


def test_sandbox_tells_its_status(scene):
    ready_sandbox(scene, "status")
    told = scene.until_told("sandboxes", "status", "NotSuspended", kind="Suspended")
    pod = scene.read("pods", "status")
    same([entry["ip"] for entry in pod["status"]["podIPs"]], told["status"]["podIPs"])
    same(f"{PREFIX}sandbox-name-hash={name_hash('status')}", told["status"]["selector"])
    scene.until("sandboxes", "status", lambda found:
                found["status"].get("nodeName") == pod["spec"]["nodeName"] and
                condition(found, "PodScheduled").get("status") == "True", "its node")
    for entry in told["status"]["conditions"]:
        same(told["metadata"]["generation"], entry["observedGeneration"])
        assert entry["lastTransitionTime"].endswith("Z"), entry
    assert "service" not in told["status"] and not condition(told, "Finished"), told["status"]


def test_sandbox_waits_for_a_ready_pod(scene):
    scene.make("sandboxes", "unready", never_ready())
    scene.until("pods", "unready", lambda pod: pod and pod["status"].get("phase") == "Running",
                "the Pod to run")
    told = scene.until_told("sandboxes", "unready", "DependenciesNotReady")
    same("False", condition(told, "Suspended")["status"])


def test_sandbox_copies_why_its_pod_is_not_scheduled(scene):
    scene.make("sandboxes", "large", too_large())
    scene.until_told("sandboxes", "large", "Unschedulable", kind="PodScheduled")
    scene.until_told("sandboxes", "large", "DependenciesNotReady")


def test_sandbox_whose_pod_has_ended(scene):
    for command, reason in (("true", "PodSucceeded"), ("false", "PodFailed")):
        scene.make("sandboxes", f"ended-{command}", ending(command))
        scene.until_told("sandboxes", f"ended-{command}", reason, "True", "Finished")
        told = scene.until_told("sandboxes", f"ended-{command}", reason)
        uid = scene.read("pods", f"ended-{command}")["metadata"]["uid"]
        # Another pass, whose end is seen: the Pod is still the same.
        scene.change("sandboxes", f"ended-{command}", {"spec": {"service": True}})
        scene.until("sandboxes", f"ended-{command}",
                    lambda found: "service" in found["status"], "another pass")
        same(uid, scene.read("pods", f"ended-{command}")["metadata"]["uid"])
        assert told["metadata"]["uid"], told


def test_sandbox_makes_a_deleted_pod_anew(scene):
    ready_sandbox(scene, "anew")
    uid = scene.read("pods", "anew")["metadata"]["uid"]
    scene.remove("pods", "anew")
    scene.until("pods", "anew", lambda pod: pod and pod["metadata"]["uid"] != uid, "a new Pod")
    scene.until_ready("sandboxes", "anew")


def test_sandbox_keeps_labels_in_step_and_the_pod(scene):
    ready_sandbox(scene, "labels", blueprint(meta={"labels": {"keep": "1", "drop": "1"}}))
    before = scene.read("pods", "labels")
    scene.change("sandboxes", "labels", {"spec": {"podTemplate": {
        "metadata": {"labels": {"keep": "2", "drop": None, "new": "1"}},
        "spec": {"terminationGracePeriodSeconds": 2}}}})
    after = scene.until("pods", "labels", lambda pod: labels(pod).get("new") == "1", "the labels")
    same({"keep": "2", "new": "1", PREFIX + "sandbox-name-hash": name_hash("labels")},
         labels(after))
    same((before["metadata"]["uid"], 1), (after["metadata"]["uid"],
                                          after["spec"]["terminationGracePeriodSeconds"]))


def test_sandbox_does_not_take_a_foreign_pod(scene):
    scene.make("pods", "foreign", pod_spec())
    scene.make("sandboxes", "foreign", blueprint())
    told = scene.until_told("sandboxes", "foreign", "ReconcilerError")
    assert "foreign" in condition(told)["message"], told
    scene.change("sandboxes", "foreign", {"spec": {"operatingMode": "Suspended"}})
    scene.until_told("sandboxes", "foreign", "PodNotOwned", kind="Suspended")
    assert owner(scene.read("pods", "foreign")) is None
    scene.change("sandboxes", "foreign", {"spec": {"operatingMode": "Running"}})
    scene.remove("pods", "foreign")
    made = scene.until_ready("sandboxes", "foreign")
    same(owned_by("Sandbox", made), owner(scene.read("pods", "foreign")))


def test_sandbox_adopts_what_says_so(scene):
    scene.make("pods", "adopt", pod_spec(), labels={PREFIX + "adoptable": "true"})
    scene.make("persistentvolumeclaims", "v-adopt", CLAIM_STORAGE,
               labels={PREFIX + "sandbox-name-hash": name_hash("adopt")})
    scene.make("services", "adopt", {"clusterIP": "None", "selector": {"app": "old"}},
               labels={PREFIX + "adoptable": "true"})
    made = scene.make("sandboxes", "adopt", {**blueprint(), "service": True,
                                             "volumeClaimTemplates": [volume("v")]})
    for resource, name in (("pods", "adopt"), ("services", "adopt"),
                           ("persistentvolumeclaims", "v-adopt")):
        scene.until(resource, name, lambda found: owner(found) == owned_by("Sandbox", made),
                    "its adoption")
    scene.until_ready("sandboxes", "adopt")
    same({PREFIX + "sandbox-name-hash": name_hash("adopt")},
         scene.read("services", "adopt")["spec"]["selector"])


def test_sandbox_forgets_a_pod_that_is_not_there(scene):
    scene.make("sandboxes", "forget", blueprint(), annotations={PREFIX + "pod-name": "nobody"})
    scene.until_ready("sandboxes", "forget")
    found = scene.until("sandboxes", "forget",
                        lambda document: PREFIX + "pod-name" not in annotations(document),
                        "the annotation to go")
    same(owned_by("Sandbox", found), owner(scene.read("pods", "forget")))


def test_sandbox_with_two_pods_deletes_none(scene):
    made = ready_sandbox(scene, "two")
    scene.make("pods", "two-b", pod_spec(), ownerReferences=[reference(made)])
    scene.until_told("sandboxes", "two", "MultiplePods")
    scene.until_event("two", "MultiplePods", "Warning")
    same(2, len(scene.owned("pods", made)))
    scene.remove("pods", "two")
    told = scene.until_ready("sandboxes", "two")
    same(["two-b"], [pod["metadata"]["name"] for pod in scene.owned("pods", told)])
    same(1, len(scene.events("two", "MultiplePods")))


def test_sandbox_of_a_name_that_is_too_long(scene):
    name = "n" * 64
    status, document = scene.api.request("POST", scene.path("sandboxes"), {
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": {"name": name},
        "spec": blueprint()})
    if status == 422:  # the local API refuses it at once
        assert "63" in document["message"], document
        return
    same(201, status)
    told = scene.until_told("sandboxes", name, "ReconcilerError")
    assert "63" in condition(told)["message"], told
    same([], scene.owned("pods", told))


def test_deleted_sandbox_takes_all_along(scene):
    ready_sandbox(scene, "all", {**blueprint(), "service": True,
                                 "volumeClaimTemplates": [volume("v")]})
    scene.remove("sandboxes", "all")
    for resource, name in (("pods", "all"), ("services", "all"),
                           ("persistentvolumeclaims", "v-all"), ("sandboxes", "all")):
        scene.until_gone(resource, name)


# ---- Sandbox: volumes and Service ----

def test_sandbox_makes_its_volume_claims(scene):
    spec = blueprint(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    spec["podTemplate"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}},
                                              {"name": "other", "emptyDir": {}}]
    spec["volumeClaimTemplates"] = [volume("data", labels={"l": "1"}, annotations={"a": "1"})]
    made = ready_sandbox(scene, "volumes", spec)
    found = scene.read("persistentvolumeclaims", "data-volumes")
    same(owned_by("Sandbox", made), owner(found))
    same(("1", name_hash("volumes"), "1"),
         (labels(found)["l"], labels(found)[PREFIX + "sandbox-name-hash"], annotations(found)["a"]))
    volumes = {entry["name"]: entry for entry in scene.read("pods", "volumes")["spec"]["volumes"]}
    same({"claimName": "data-volumes"}, volumes["data"]["persistentVolumeClaim"])
    assert "emptyDir" in volumes["other"], volumes


def test_sandbox_refuses_a_foreign_volume_claim_but_makes_its_pod(scene):
    holder = ready_sandbox(scene, "holder")
    scene.make("persistentvolumeclaims", "v-refused", CLAIM_STORAGE,
               ownerReferences=[reference(holder)])
    scene.make("sandboxes", "refused", {**blueprint(), "volumeClaimTemplates": [volume("v")]})
    told = scene.until_told("sandboxes", "refused", "ReconcilerError")
    assert "v-refused" in condition(told)["message"], told
    same(owned_by("Sandbox", told), owner(scene.until("pods", "refused", bool, "its Pod")))


def test_sandbox_service(scene):
    spec = {**blueprint(), "service": True}
    containers = spec["podTemplate"]["spec"]["containers"]
    containers[0]["ports"] = [{"containerPort": 8888}, {"name": "web", "containerPort": 80},
                              {"containerPort": 53, "protocol": "UDP"}]
    containers.append({**containers[0], "name": "second", "ports": [{"containerPort": 8888}]})
    made = ready_sandbox(scene, "service", spec)
    found = scene.read("services", "service")
    same(owned_by("Sandbox", made), owner(found))
    same(("None", {PREFIX + "sandbox-name-hash": name_hash("service")}),
         (found["spec"]["clusterIP"], found["spec"]["selector"]))
    same([("p-53-udp", 53, "UDP"), ("p-8888-tcp", 8888, "TCP"), ("web", 80, "TCP")],
         sorted((port["name"], port["port"], port["protocol"]) for port in found["spec"]["ports"]))
    same(("service", f"service.{scene.namespace}.svc.cluster.local"),
         (made["status"]["service"], made["status"]["serviceFQDN"]))


def test_sandbox_service_is_tri_state(scene):
    made = ready_sandbox(scene, "tri", {**blueprint(), "service": True})
    uid = scene.read("services", "tri")["metadata"]["uid"]
    scene.change("sandboxes", "tri", {"spec": {"service": None}})
    told = scene.until_ready("sandboxes", "tri")
    same("tri", told["status"]["service"])
    same(uid, scene.read("services", "tri")["metadata"]["uid"])
    scene.change("sandboxes", "tri", {"spec": {"service": False}})
    scene.until_gone("services", "tri")
    told = scene.until("sandboxes", "tri", lambda found: "service" not in found["status"],
                       "the status without it")
    assert "serviceFQDN" not in told["status"], told["status"]
    scene.change("sandboxes", "tri", {"spec": {"service": None}})
    scene.until_ready("sandboxes", "tri")
    same(None, scene.read("services", "tri"))
    same(made["metadata"]["uid"], told["metadata"]["uid"])


# ---- Sandbox: suspending and time ----

def test_sandbox_is_suspended_and_resumed(scene):
    ready_sandbox(scene, "rest", {**blueprint(), "service": True,
                                  "volumeClaimTemplates": [volume("v")]})
    kept = {resource: scene.read(resource, name)["metadata"]["uid"] for resource, name in
            (("services", "rest"), ("persistentvolumeclaims", "v-rest"))}
    pod = scene.read("pods", "rest")
    scene.change("sandboxes", "rest", {"spec": {"operatingMode": "Suspended"}})
    scene.until_told("sandboxes", "rest", "PodTerminated", "True", "Suspended")
    told = scene.until_told("sandboxes", "rest", "SandboxSuspended")
    same(None, scene.read("pods", "rest"))
    assert not told["status"].get("podIPs") and told["status"]["selector"], told["status"]
    assert not condition(told, "PodScheduled"), told["status"]
    scene.change("sandboxes", "rest", {"spec": {"operatingMode": "Running"}})
    told = scene.until_ready("sandboxes", "rest")
    same("NotSuspended", condition(told, "Suspended")["reason"])
    assert scene.read("pods", "rest")["metadata"]["uid"] != pod["metadata"]["uid"]
    same(kept, {resource: scene.read(resource, name)["metadata"]["uid"] for resource, name in
                (("services", "rest"), ("persistentvolumeclaims", "v-rest"))})


def test_sandbox_is_not_ready_by_a_pod_that_leaves(scene):
    ready_sandbox(scene, "leaves")
    pod = scene.change("pods", "leaves", {"metadata": {"finalizers": ["example.com/hold"]}})
    seen = []
    version = scene.read("sandboxes", "leaves")["metadata"]["resourceVersion"]
    scene.change("sandboxes", "leaves", {"spec": {"operatingMode": "Suspended"}})
    scene.until_told("sandboxes", "leaves", "PodTerminating", kind="Suspended")
    scene.change("sandboxes", "leaves", {"spec": {"operatingMode": "Running"}})
    scene.until_told("sandboxes", "leaves", "NotSuspended", kind="Suspended")
    same("False", condition(scene.read("sandboxes", "leaves"))["status"])
    scene.change("pods", "leaves", {"metadata": {"finalizers": None}})
    scene.until_ready("sandboxes", "leaves")
    assert scene.read("pods", "leaves")["metadata"]["uid"] != pod["metadata"]["uid"]
    for kind, document in scene.api.watch(
            f"{scene.path('sandboxes')}?watch=true&resourceVersion={version}"
            "&fieldSelector=metadata.name%3Dleaves"):
        seen.append((kind, condition(document)["status"],
                     document["metadata"]["generation"]))
        if len(seen) > 1 and seen[-1][1] == "True":
            break
    # Ready was false from the moment of the suspension until the new Pod was there.
    changed = [status for _, status, generation in seen if generation > 1]
    same(1, "".join(status[0] for status in changed).lstrip("T").count("T"))


def test_sandbox_expires_and_is_kept(scene):
    ready_sandbox(scene, "kept", {**blueprint(), "service": True, "shutdownTime": later(3600),
                                  "volumeClaimTemplates": [volume("v")]})
    scene.change("sandboxes", "kept", {"spec": {"shutdownTime": later(-1)}})
    scene.until_gone("pods", "kept")
    scene.until_gone("services", "kept")
    told = scene.until("sandboxes", "kept", lambda found: set(found["status"]) == {"conditions"},
                       "a status of conditions alone")
    same({"Ready": "SandboxExpired", "Suspended": "NotSuspended"},
         {entry["type"]: entry["reason"] for entry in told["status"]["conditions"]})
    assert scene.read("persistentvolumeclaims", "v-kept")
    scene.change("sandboxes", "kept", {"spec": {"shutdownTime": later(3600)}})
    scene.until_ready("sandboxes", "kept")
    assert scene.read("services", "kept")


def test_sandbox_expires_at_its_time_and_is_deleted(scene):
    scene.make("sandboxes", "timed", {**blueprint(), "shutdownTime": later(3),
                                      "shutdownPolicy": "Delete"})
    scene.until_ready("sandboxes", "timed")
    scene.until_gone("sandboxes", "timed")
    scene.until_gone("pods", "timed")


def test_finished_outlives_expiry(scene):
    scene.make("sandboxes", "finished", ending("true"))
    scene.until_told("sandboxes", "finished", "PodSucceeded", "True", "Finished")
    scene.change("sandboxes", "finished", {"spec": {"shutdownTime": later(-1)}})
    scene.until_gone("pods", "finished")
    told = scene.until_told("sandboxes", "finished", "SandboxExpired")
    same("PodSucceeded", condition(told, "Finished")["reason"])
    same({}, condition(told, "PodScheduled"))


# ---- SandboxTemplate ----

def test_template_has_a_network_policy(scene):
    made = scene.make("sandboxtemplates", "net", blueprint())
    policy = scene.until("networkpolicies", "net-network-policy", bool, "the policy")
    same(owned_by("SandboxTemplate", made), owner(policy))
    spec = policy["spec"]
    same({PREFIX + "sandbox-template-ref-hash": name_hash("net")},
         spec["podSelector"]["matchLabels"])
    same({"Ingress", "Egress"}, set(spec["policyTypes"]))
    router = {"matchLabels": {"app": "sandbox-router"}}
    assert {"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": "agent-sandbox-system"}}, "podSelector": router} \
        in spec["ingress"][0]["from"], spec
    blocks = {peer["ipBlock"]["cidr"]: set(peer["ipBlock"]["except"])
              for peer in spec["egress"][0]["to"]}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= \
        blocks["0.0.0.0/0"], blocks
    assert {"fc00::/7", "fe80::/10"} <= blocks["::/0"], blocks


def test_template_policy_follows_the_template(scene):
    scene.make("sandboxtemplates", "own", {**blueprint(), "networkPolicy": {
        "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]}})
    policy = scene.until("networkpolicies", "own-network-policy", bool, "the policy")
    same(([], [{"ports": [{"port": 443, "protocol": "TCP"}]}]),
         (policy["spec"].get("ingress", []), policy["spec"]["egress"]))
    scene.change("sandboxtemplates", "own", {"spec": {"networkPolicy": {"egress": [{}]}}})
    scene.until("networkpolicies", "own-network-policy",
                lambda found: found["spec"].get("egress") == [{}], "the change")
    scene.change("networkpolicies", "own-network-policy", {"spec": {"egress": []}})
    scene.until("networkpolicies", "own-network-policy",
                lambda found: found["spec"].get("egress") == [{}], "its repair")
    scene.change("sandboxtemplates", "own", {"spec": {"networkPolicyManagement": "Unmanaged"}})
    scene.until_gone("networkpolicies", "own-network-policy")


def test_template_leaves_a_foreign_policy_alone(scene):
    scene.make("networkpolicies", "theirs-network-policy", {
        "podSelector": {}, "policyTypes": ["Ingress"]})
    version = scene.read("networkpolicies", "theirs-network-policy")["metadata"]["resourceVersion"]
    scene.make("sandboxtemplates", "theirs", blueprint())
    scene.make("sandboxtemplates", "theirs-too", blueprint())
    scene.until("networkpolicies", "theirs-too-network-policy", bool, "the next one's policy")
    scene.change("sandboxtemplates", "theirs", {"spec": {"networkPolicyManagement": "Unmanaged"}})
    scene.change("sandboxtemplates", "theirs-too",
                 {"spec": {"networkPolicyManagement": "Unmanaged"}})
    scene.until_gone("networkpolicies", "theirs-too-network-policy")
    same(version,
         scene.read("networkpolicies", "theirs-network-policy")["metadata"]["resourceVersion"])


# ---- SandboxWarmPool ----

def test_pool_makes_members(scene):
    pool = template_and_pool(scene, "pool", 2, blueprint(meta={"labels": {"app": "a"}}))
    same(f"{PREFIX}warm-pool-sandbox={name_hash('pool')}", pool["status"]["selector"])
    same(("True", "MembersReady"), (condition(pool)["status"], condition(pool)["reason"]))
    members = scene.until_owned("sandboxes", pool, 2)
    for member in members:
        name = member["metadata"]["name"]
        assert name.startswith("pool-") and len(name) == len("pool-") + 5, name
        same((name_hash("pool"), name_hash("pool"), "controller"),
             (labels(member)[PREFIX + "warm-pool-sandbox"],
              labels(member)[PREFIX + "sandbox-template-ref-hash"],
              labels(member)[PREFIX + "created-by"]))
        same("pool", annotations(member)[PREFIX + "sandbox-template-ref"])
        pod = scene.read("pods", name)
        same((name_hash("pool"), name_hash("pool"), "a"),
             (labels(pod)[PREFIX + "warm-pool-sandbox"],
              labels(pod)[PREFIX + "sandbox-template-ref-hash"], labels(pod)["app"]))
        same(("True", "DependenciesReady"), (condition(member)["status"],
                                             condition(member)["reason"]))


def test_members_are_secured(scene):
    for name, more, token, dns in (
            ("secure", {}, False, "None"),
            ("open", {"networkPolicyManagement": "Unmanaged"}, False, "ClusterFirst"),
            ("asked", {}, True, "Default")):
        spec = {**blueprint(), **more}
        if name == "asked":
            spec["podTemplate"]["spec"].update(automountServiceAccountToken=True,
                                               dnsPolicy="Default")
        pool = template_and_pool(scene, name, 1, spec)
        member = scene.until_owned("sandboxes", pool, 1)[0]
        found = scene.read("pods", member["metadata"]["name"])["spec"]
        same((name, token, dns), (name, found["automountServiceAccountToken"],
                                  found["dnsPolicy"]))
        if dns == "None":
            assert found["dnsConfig"]["nameservers"], found


def test_pool_grows_and_shrinks(scene):
    pool = template_and_pool(scene, "size", 1)
    for replicas in (3, 1, 0):
        scene.api.request("PATCH", scene.path("sandboxwarmpools", "size") + "/scale",
                          {"spec": {"replicas": replicas}}, MERGE)
        until_filled(scene, "size", replicas)
        scene.until_owned("sandboxes", pool, replicas)
    wait_for(lambda: not scene.list("pods", f"{PREFIX}warm-pool-sandbox={name_hash('size')}"),
             TIMEOUT, "their Pods to go")


def test_pool_deletes_members_that_are_not_ready_first(scene):
    pool = template_and_pool(scene, "first", 3)
    members = scene.until_owned("sandboxes", pool, 3)
    rests = members[1]["metadata"]
    scene.change("sandboxes", rests["name"], {"spec": {"operatingMode": "Suspended"}})
    scene.until_told("sandboxes", rests["name"], "SandboxSuspended")
    # Pools and their members are watched apart, in no order.
    scene.until("sandboxwarmpools", "first",
                lambda found: found["status"].get("readyReplicas") == 2, "the pool to see it")
    scene.change("sandboxwarmpools", "first", {"spec": {"replicas": 2}})
    same({member["metadata"]["uid"] for member in members} - {rests["uid"]},
         {member["metadata"]["uid"] for member in scene.until_owned("sandboxes", pool, 2)})


def test_pool_replaces_a_deleted_member(scene):
    pool = template_and_pool(scene, "lost", 2)
    gone = scene.until_owned("sandboxes", pool, 2)[0]["metadata"]
    scene.remove("sandboxes", gone["name"])
    scene.until_gone("sandboxes", gone["name"])
    scene.until_owned("sandboxes", pool, 2)
    until_filled(scene, "lost", 2)


def test_pool_recreates_stale_members(scene):
    pool = template_and_pool(scene, "stale", 2, updateStrategy={"type": "Recreate"})
    old = {member["metadata"]["uid"] for member in scene.until_owned("sandboxes", pool, 2)}
    # Metadata alone makes nothing stale.
    change_blueprint(scene, "stale", {"metadata": {"labels": {"app": "new"}}}, 1)
    scene.change("sandboxwarmpools", "stale", {"spec": {"replicas": 3}})
    until_filled(scene, "stale", 3)
    members = {member["metadata"]["uid"] for member in scene.until_owned("sandboxes", pool, 3)}
    assert old < members, (old, members)
    change_blueprint(scene, "stale", {"spec": {"terminationGracePeriodSeconds": 2}}, 2)
    wait_for(lambda: not members & {member["metadata"]["uid"]
                                    for member in scene.owned("sandboxes", pool)},
             TIMEOUT, "the old members to go")
    for member in scene.until_owned("sandboxes", pool, 3):
        same(2, member["spec"]["podTemplate"]["spec"]["terminationGracePeriodSeconds"])


def test_pool_keeps_stale_members_until_they_go(scene):
    pool = template_and_pool(scene, "replenish", 2)
    old = {member["metadata"]["name"] for member in scene.until_owned("sandboxes", pool, 2)}
    change_blueprint(scene, "replenish", {"spec": {"terminationGracePeriodSeconds": 2}}, 1)
    scene.remove("sandboxes", min(old))
    scene.until_gone("sandboxes", min(old))
    members = {member["metadata"]["name"]: member
               for member in scene.until_owned("sandboxes", pool, 2)}
    assert max(old) in members, members
    new = next(member for name, member in members.items() if name not in old)
    same(2, new["spec"]["podTemplate"]["spec"]["terminationGracePeriodSeconds"])


def test_pool_without_a_template(scene):
    scene.make("sandboxwarmpools", "early", {"replicas": 1, "sandboxTemplateRef": {"name": "early"}})
    scene.until_told("sandboxwarmpools", "early", "TemplateNotFound")
    scene.make("sandboxtemplates", "early", blueprint())
    until_filled(scene, "early", 1)
    scene.until_ready("sandboxwarmpools", "early", "MembersReady")


def test_deleted_pool_leaves_claimed_sandboxes(scene):
    pool = template_and_pool(scene, "leave", 2)
    claim(scene, "leaver", "leave")
    document, sandbox = bound(scene, "leaver")
    scene.remove("sandboxwarmpools", "leave", propagationPolicy="Background")
    scene.until_owned("sandboxes", pool, 0)
    same(sandbox["metadata"]["uid"],
         scene.read("sandboxes", sandbox["metadata"]["name"])["metadata"]["uid"])
    same("True", condition(scene.read("sandboxclaims", "leaver"))["status"])
    same(document["status"]["sandbox"], scene.read("sandboxclaims", "leaver")["status"]["sandbox"])


# ---- SandboxClaim: binding ----

def test_claim_adopts_a_member(scene):
    pool = template_and_pool(scene, "warm", 1)
    member = scene.until_owned("sandboxes", pool, 1)[0]
    pod = scene.read("pods", member["metadata"]["name"])
    made = claim(scene, "warm-claim", "warm")
    told, sandbox = bound(scene, "warm-claim")
    same(member["metadata"]["uid"], sandbox["metadata"]["uid"])
    same(owned_by("SandboxClaim", made), owner(sandbox))
    same(1, len(sandbox["metadata"]["ownerReferences"]))
    same(("warm", made["metadata"]["uid"], "unknown", name_hash("warm")),
         (labels(sandbox)[PREFIX + "launch-type"], labels(sandbox)[PREFIX + "claim-uid"],
          labels(sandbox)[PREFIX + "created-by"],
          labels(sandbox)[PREFIX + "sandbox-template-ref-hash"]))
    assert PREFIX + "warm-pool-sandbox" not in labels(sandbox), labels(sandbox)
    same({"name": member["metadata"]["name"], "podIPs": sandbox["status"]["podIPs"]},
         told["status"]["sandbox"])
    after = scene.until("pods", pod["metadata"]["name"],
                        lambda found: PREFIX + "warm-pool-sandbox" not in labels(found),
                        "the Pod to leave the pool")
    same((pod["metadata"]["uid"], name_hash(pod["metadata"]["name"]), name_hash("warm"),
          made["metadata"]["uid"], None),
         (after["metadata"]["uid"], labels(after)[PREFIX + "sandbox-name-hash"],
          labels(after)[PREFIX + "sandbox-template-ref-hash"], labels(after)[PREFIX + "claim-uid"],
          labels(after).get(PREFIX + "pool")))
    scene.until_event("warm-claim", "SandboxAdopted")
    until_filled(scene, "warm", 1)
    same(1, len(scene.until_owned("sandboxes", pool, 1)))


def test_claims_share_no_sandbox(scene):
    template_and_pool(scene, "many", 2)
    names = [f"many-{number}" for number in range(5)]
    for name in names:
        claim(scene, name, "many")
    found = [bound(scene, name) for name in names]
    same(5, len({sandbox["metadata"]["uid"] for _, sandbox in found}))
    for document, sandbox in found:
        same(owned_by("SandboxClaim", document), owner(sandbox))
        same(1, len(scene.owned("sandboxes", document)))


def test_claim_starts_cold_without_members(scene):
    template_and_pool(scene, "cold", 0)
    made = claim(scene, "cold-claim", "cold")
    told, sandbox = bound(scene, "cold-claim")
    same(("cold-claim", "cold"), (sandbox["metadata"]["name"],
                                  labels(sandbox)[PREFIX + "launch-type"]))
    same("cold-claim", told["status"]["sandbox"]["name"])
    pod = scene.read("pods", "cold-claim")
    same((made["metadata"]["uid"], False), (labels(pod)[PREFIX + "claim-uid"],
                                            pod["spec"]["automountServiceAccountToken"]))
    scene.until_event("cold-claim", "SandboxProvisioned")


def test_claim_of_a_member_that_is_not_ready_is_told_so(scene):
    scene.make("sandboxtemplates", "slow", never_ready())
    pool = scene.make("sandboxwarmpools", "slow", {"replicas": 1,
                                                  "sandboxTemplateRef": {"name": "slow"}})
    member = scene.until_owned("sandboxes", pool, 1)[0]
    scene.until_told("sandboxes", member["metadata"]["name"], "DependenciesNotReady")
    claim(scene, "slow-claim", "slow")
    told = scene.until_told("sandboxclaims", "slow-claim", "DependenciesNotReady")
    same(member["metadata"]["name"], told["status"]["sandbox"]["name"])


def test_claim_waits_for_its_pool(scene):
    claim(scene, "early-claim", "nowhere")
    scene.until_told("sandboxclaims", "early-claim", "WarmPoolNotFound")
    scene.make("sandboxwarmpools", "nowhere", {"replicas": 1,
                                              "sandboxTemplateRef": {"name": "nowhere"}})
    scene.until_told("sandboxclaims", "early-claim", "TemplateNotFound")
    scene.make("sandboxtemplates", "nowhere", blueprint())
    bound(scene, "early-claim")


def test_bound_claim_ignores_another_pool(scene):
    template_and_pool(scene, "one", 1)
    template_and_pool(scene, "other", 1)
    claim(scene, "moved", "one")
    _, before = bound(scene, "moved")
    scene.change("sandboxclaims", "moved", {"spec": {"warmPoolRef": {"name": "other"}}})
    told, after = bound(scene, "moved")
    same((before["metadata"]["uid"], labels(before)), (after["metadata"]["uid"], labels(after)))
    same(2, told["metadata"]["generation"])


def test_claim_mirrors_its_sandbox(scene):
    template_and_pool(scene, "mirror", 1)
    claim(scene, "mirrored", "mirror")
    told, sandbox = bound(scene, "mirrored")
    name = sandbox["metadata"]["name"]
    scene.change("sandboxes", name, {"spec": {"operatingMode": "Suspended"}})
    told = scene.until("sandboxclaims", "mirrored", lambda found: condition(found)["reason"] ==
                       "SandboxSuspended" and "podIPs" not in found["status"]["sandbox"],
                       "the suspension")
    same(name, told["status"]["sandbox"]["name"])
    scene.change("sandboxes", name, {"spec": {"operatingMode": "Running"}})
    told, sandbox = bound(scene, "mirrored")
    same(sandbox["status"]["podIPs"], told["status"]["sandbox"]["podIPs"])


def test_claim_whose_sandbox_is_gone_takes_no_other(scene):
    template_and_pool(scene, "gone", 1)
    made = claim(scene, "bereft", "gone")
    told, sandbox = bound(scene, "bereft")
    scene.remove("sandboxes", sandbox["metadata"]["name"])
    after = scene.until_told("sandboxclaims", "bereft", "SandboxMissing")
    same(told["status"]["sandbox"]["name"], after["status"]["sandbox"]["name"])
    # A claim that comes later is served: the bereft one was seen again, and got nothing.
    claim(scene, "successor", "gone")
    bound(scene, "successor")
    same([], scene.owned("sandboxes", made))


def test_deleted_claim_takes_its_sandbox_along(scene):
    template_and_pool(scene, "drop", 1)
    claim(scene, "dropped", "drop")
    _, sandbox = bound(scene, "dropped")
    scene.remove("sandboxclaims", "dropped")
    scene.until_gone("sandboxes", sandbox["metadata"]["name"])
    scene.until_gone("pods", sandbox["metadata"]["name"])


# ---- SandboxClaim: what it may ask for ----

def environment(scene, name):
    return [{entry["name"]: entry["value"] for entry in container.get("env", [])}
            for container in scene.read("pods", name)["spec"]["containers"]]


def env_template(scene, name, policy):
    spec = blueprint(env=[{"name": "A", "value": "template"}, {"name": "Z", "value": "last"}])
    spec["podTemplate"]["spec"]["containers"].append({
        "name": "side", "image": "busybox:latest", "command": ["sleep", "1000000"]})
    return template_and_pool(scene, name, 1, {**spec, "envVarsInjectionPolicy": policy})


def test_env_is_refused_and_then_allowed(scene):
    env_template(scene, "env-no", "Disallowed")
    made = claim(scene, "env-no-claim", "env-no", env=[{"name": "B", "value": "claim"}])
    scene.until_told("sandboxclaims", "env-no-claim", "EnvVarsInjectionRejected")
    same([], scene.owned("sandboxes", made))
    scene.change("sandboxtemplates", "env-no", {"spec": {"envVarsInjectionPolicy": "Allowed"}})
    bound(scene, "env-no-claim")
    same({"A": "template", "Z": "last", "B": "claim"}, environment(scene, "env-no-claim")[0])


def test_env_is_added(scene):
    env_template(scene, "env-add", "Allowed")
    claim(scene, "env-added", "env-add", env=[
        {"name": "B", "value": "1"}, {"name": "B", "value": "2", "containerName": "side"}])
    _, sandbox = bound(scene, "env-added")
    same("cold", labels(sandbox)[PREFIX + "launch-type"])
    same([{"A": "template", "Z": "last", "B": "1"}, {"B": "2"}], environment(scene, "env-added"))
    for name, variable in (("env-over", {"name": "A", "value": "x"}),
                           ("env-where", {"name": "B", "value": "x", "containerName": "nobody"})):
        claim(scene, name, "env-add", env=[variable])
        told = scene.until_told("sandboxclaims", name, "EnvVarsInjectionRejected")
        assert "sandbox" not in told["status"], told["status"]


def test_env_is_overridden_in_its_place(scene):
    env_template(scene, "env-set", "Overrides")
    claim(scene, "env-setter", "env-set", env=[{"name": "A", "value": "claim"}])
    bound(scene, "env-setter")
    same([("A", "claim"), ("Z", "last")],
         [(entry["name"], entry["value"]) for entry in
          scene.read("pods", "env-setter")["spec"]["containers"][0]["env"]])


def test_volume_claims_by_policy(scene):
    for policy, asked, reason, sizes in (
            ("Disallowed", "more", "VolumeClaimTemplatesError", None),
            ("Allowed", "data", "VolumeClaimTemplatesError", None),
            ("Allowed", "more", None, {"data": "1Mi", "more": "2Mi"}),
            ("Overrides", "data", None, {"data": "2Mi"})):
        name = f"vct-{policy.lower()}-{asked}"
        template_and_pool(scene, name, 0, {
            **blueprint(), "volumeClaimTemplates": [volume("data")],
            "volumeClaimTemplatesPolicy": policy})
        claim(scene, name, name, volumeClaimTemplates=[volume(asked, "2Mi")])
        if reason:
            told = scene.until_told("sandboxclaims", name, reason)
            assert "sandbox" not in told["status"], told["status"]
            continue
        bound(scene, name)
        same(sizes, {found["metadata"]["name"].removesuffix(f"-{name}"):
                     found["spec"]["resources"]["requests"]["storage"]
                     for found in scene.list("persistentvolumeclaims")
                     if found["metadata"]["name"].endswith(f"-{name}")})


def test_claim_metadata_reaches_the_pod_and_leaves_it(scene):
    template_and_pool(scene, "meta", 1)
    claim(scene, "meta-claim", "meta", additionalPodMetadata={
        "labels": {"sandbox.users.io/team": "a", "x.sandbox.users.io/y": "1"},
        "annotations": {"example.com/note": "n"}})
    _, sandbox = bound(scene, "meta-claim")
    name = sandbox["metadata"]["name"]
    scene.until("pods", name, lambda pod: (
        labels(pod).get("sandbox.users.io/team"), labels(pod).get("x.sandbox.users.io/y"),
        annotations(pod).get("example.com/note")) == ("a", "1", "n"), "the metadata")
    scene.change("sandboxclaims", "meta-claim", {"spec": {"additionalPodMetadata": {
        "labels": {"sandbox.users.io/team": "b", "x.sandbox.users.io/y": None},
        "annotations": {"example.com/note": None}}}})
    scene.until("pods", name, lambda pod: (
        labels(pod).get("sandbox.users.io/team"), labels(pod).get("x.sandbox.users.io/y"),
        annotations(pod).get("example.com/note")) == ("b", None, None), "the change")
    bound(scene, "meta-claim")


def test_claim_metadata_of_reserved_domains_is_refused(scene):
    template_and_pool(scene, "reserved", 0)
    for number, metadata in enumerate((
            {"labels": {"app": "x"}}, {"labels": {"example.com/x": "y"}},
            {"labels": {"notsandbox.users.io/x": "y"}}, {"annotations": {"kubernetes.io/x": "y"}},
            {"annotations": {"a.k8s.io/x": "y"}}, {"annotations": {PREFIX + "pod-name": "y"}})):
        made = claim(scene, f"reserved-{number}", "reserved", additionalPodMetadata=metadata)
        scene.until_told("sandboxclaims", f"reserved-{number}", "InvalidMetadata")
        same([], scene.owned("sandboxes", made))
    claim(scene, "evictable", "reserved", additionalPodMetadata={
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}})
    bound(scene, "evictable")


# ---- SandboxClaim: its end ----

def test_claim_expires_and_is_kept(scene):
    template_and_pool(scene, "end-keep", 1)
    claim(scene, "ended-kept", "end-keep", lifecycle={"shutdownTime": later(3600)})
    _, sandbox = bound(scene, "ended-kept")
    scene.change("sandboxclaims", "ended-kept", {"spec": {"lifecycle": {
        "shutdownTime": later(-1)}}})
    scene.until_gone("sandboxes", sandbox["metadata"]["name"])
    told = scene.until_told("sandboxclaims", "ended-kept", "ClaimExpired")
    same(sandbox["metadata"]["name"], told["status"]["sandbox"]["name"])
    scene.until_event("ended-kept", "ClaimExpired")
    until_filled(scene, "end-keep", 1)
    same("ClaimExpired", condition(scene.read("sandboxclaims", "ended-kept"))["reason"])


def test_claim_expires_at_its_time_and_is_deleted(scene):
    template_and_pool(scene, "end-del", 1)
    claim(scene, "ended-deleted", "end-del", lifecycle={
        "shutdownTime": later(3), "shutdownPolicy": "Delete"})
    _, sandbox = bound(scene, "ended-deleted")
    scene.until_gone("sandboxclaims", "ended-deleted")
    scene.until_gone("sandboxes", sandbox["metadata"]["name"])
    scene.until_event("ended-deleted", "ClaimExpired")


def test_claim_is_deleted_in_the_foreground(scene):
    template_and_pool(scene, "end-fg", 1)
    claim(scene, "ended-fg", "end-fg", lifecycle={
        "shutdownTime": later(3600), "shutdownPolicy": "DeleteForeground"})
    _, sandbox = bound(scene, "ended-fg")
    name = sandbox["metadata"]["name"]
    scene.change("pods", name, {"metadata": {"finalizers": ["example.com/hold"]}})
    scene.change("sandboxclaims", "ended-fg", {"spec": {"lifecycle": {"shutdownTime": later(-1)}}})
    scene.until("pods", name, lambda pod: "deletionTimestamp" in pod["metadata"], "its deletion")
    for resource, held in (("sandboxclaims", "ended-fg"), ("sandboxes", name)):
        found = scene.read(resource, held)
        assert "deletionTimestamp" in found["metadata"], found["metadata"]
    scene.change("pods", name, {"metadata": {"finalizers": None}})
    scene.until_gone("sandboxclaims", "ended-fg")
    same((None, None), (scene.read("sandboxes", name), scene.read("pods", name)))


def test_claim_ends_after_its_command(scene):
    template_and_pool(scene, "ttl", 0, ending("true"))
    claim(scene, "ttl-kept", "ttl", lifecycle={"ttlSecondsAfterFinished": 3600})
    told = scene.until_told("sandboxclaims", "ttl-kept", "PodSucceeded", "True", "Finished")
    same("ttl-kept", told["status"]["sandbox"]["name"])
    claim(scene, "ttl-none", "ttl", lifecycle={"ttlSecondsAfterFinished": 0,
                                               "shutdownPolicy": "Delete"})
    scene.until_gone("sandboxclaims", "ttl-none")
    scene.until_gone("sandboxes", "ttl-none")
    assert scene.read("sandboxclaims", "ttl-kept")


def test_zz_the_namespace_goes(scene):
    scene.end()


if __name__ == "__main__":
    tap.main(globals(), (Scene(),))
