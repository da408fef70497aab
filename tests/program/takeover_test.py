#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cay controller` takes over a cluster that upstream's controller has run, of either generation,
on a real kube-apiserver: nothing is made anew, nothing is lost. And the way back, by `drain`."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap, upstream  # noqa: E402
from lib.control_plane import CONTROLLER_USER, ROOT, ControlPlane  # noqa: E402
from lib.controller import CAY, Controller  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import (  # noqa: E402
    PREFIX, Scene, annotations, condition, labels, name_hash, owner, reference, same)

KINDS = ("pods", "services", "sandboxes", "sandboxclaims", "sandboxwarmpools", "sandboxtemplates",
         "networkpolicies")


def until_quiet(controller):
    """Until it leads, sees all, and has written nothing for a second and a half."""
    controller.until_ready().until_leading()

    def quiet():
        before = controller.metric("cay_controller_writes_total")
        time.sleep(1.5)  # what is not written is what is tested
        return controller.metric("cay_controller_writes_total") == before
    wait_for(quiet, 60, "it to have nothing to write")


def uids(scene):
    return {(kind, each["metadata"]["name"]): each["metadata"]["uid"]
            for kind in KINDS for each in scene.list(kind)}


def made_or_deleted(plane):
    return {request: count for request, count in plane.requests(CONTROLLER_USER).items()
            if request[0] in ("create", "delete", "deletecollection") and request[2] in KINDS}


def ready(scene, resource, names):
    for name in names:
        same("True", condition(scene.read(resource, name)).get("status"))


# ---- v0.1.0 ----

def only_v1alpha1(plane):
    """The CRDs as they were then: one version, and nothing to convert."""
    plane.kubectl("delete", "-f", ROOT / "api/crds")
    for path in sorted((ROOT / "api/crds").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        text, dropped = re.subn(r"  - name: v1beta1\n.*\Z", "", text, flags=re.DOTALL)
        text, stored = re.subn(r"storage: false", "storage: true", text)
        text, unconverted = re.subn(r"(\n  conversion:\n    strategy: )Webhook\n(?:    .*\n)+",
                                    r"\1None\n", text)
        same((1, 1, 1), (dropped, stored, unconverted))
        plane.apply_yaml(text)
    kinds = ("sandboxes.agents", "sandboxclaims.extensions.agents",
             "sandboxtemplates.extensions.agents", "sandboxwarmpools.extensions.agents")
    plane.kubectl("wait", "--for=condition=Established",
                  *[f"crd/{name}.x-k8s.io" for name in kinds])


def test_the_first_generation_is_taken_over(plane):
    only_v1alpha1(plane)
    scene = Scene("v1alpha1")
    planter = upstream.V1alpha1(scene)
    scene.make("sandboxtemplates", "t", upstream.blueprint())
    planter.pool("p", "t", ("aaaaa", "bbbbb"))
    planter.claim("warm", "t", pod="p-ccccc")
    planter.claim("cold", "t")
    planter.sandbox("plain")
    before = uids(scene)
    same(5, len(scene.list("pods")))

    plane.kubectl("replace", "-f", ROOT / "api/crds")
    with Controller(plane, url=True) as controller:
        until_quiet(controller)
        plane.until_converting()
        same(before, {key: uid for key, uid in uids(scene).items()
                      if key != ("networkpolicies", "t-network-policy")})
        same({("create", "networking.k8s.io", "networkpolicies", 201): 1}, made_or_deleted(plane))
        ready(scene, "sandboxes", ("warm", "cold", "plain"))
        ready(scene, "sandboxclaims", ("warm", "cold"))
        for name, pod in (("warm", "p-ccccc"), ("cold", "cold")):
            claim, sandbox = scene.read("sandboxclaims", name), scene.read("sandboxes", name)
            same((name, name), (claim["status"]["sandbox"]["name"],
                                claim["status"]["sandbox"]["Name"]))
            same(("SandboxClaim", name, claim["metadata"]["uid"]), owner(sandbox))
            same(("Sandbox", name, sandbox["metadata"]["uid"]), owner(scene.read("pods", pod)))
        same("p-ccccc", annotations(scene.read("sandboxes", "warm"))[PREFIX + "pod-name"])
        same(2, scene.read("sandboxwarmpools", "p")["status"]["readyReplicas"])

        # It goes on as it was: a claim gets a Pod of the pool, which makes another.
        scene.make("sandboxclaims", "new", {"sandboxTemplateRef": {"name": "t"}})
        scene.until_ready("sandboxclaims", "new")
        pod = annotations(scene.read("sandboxes", "new"))[PREFIX + "pod-name"]
        assert ("pods", pod) in before and pod in ("p-aaaaa", "p-bbbbb"), pod
        scene.until_owned("pods", scene.read("sandboxwarmpools", "p"), 2)
        scene.end()


# ---- v0.5.6 ----

def test_the_second_generation_is_taken_over(plane):
    scene, old = Scene(), None
    planter = upstream.V1beta1(scene)
    planter.template("t")
    planter.pool("p", "t", ("aaaaa", "bbbbb", "ccccc"))
    planter.pool("strict", "t", ("aaaaa",), strategy="Recreate")
    planter.claim("warm", "p", "t", "p-ddddd", "warm")
    planter.claim("cold", "p", "t", "cold", "cold")
    planter.sandbox("plain", service=True)
    planter.written_as_v1alpha1("old")
    planter.suspended("asleep")
    before, created = uids(scene), made_or_deleted(plane)
    same(8, len(scene.list("pods")))

    with Controller(plane, url=True) as controller:
        until_quiet(controller)
        plane.until_converting()
        same(before, uids(scene))
        same(created, made_or_deleted(plane))
        ready(scene, "sandboxes", ("plain", "old", "cold", "p-aaaaa", "p-bbbbb", "p-ccccc",
                                   "p-ddddd", "strict-aaaaa"))
        same("True", condition(scene.read("sandboxes", "asleep"), "Suspended")["status"])
        for claim_name, name in (("warm", "p-ddddd"), ("cold", "cold")):
            claim, sandbox = scene.read("sandboxclaims", claim_name), scene.read("sandboxes", name)
            same(("True", name), (condition(claim)["status"], claim["status"]["sandbox"]["name"]))
            same(sandbox["status"]["podIPs"], claim["status"]["sandbox"]["podIPs"])
            same(("SandboxClaim", claim_name, claim["metadata"]["uid"]), owner(sandbox))
            same(claim["metadata"]["uid"], labels(sandbox)[PREFIX + "claim-uid"])
        for pool, count in (("p", 3), ("strict", 1)):
            same((count, count), tuple(scene.read("sandboxwarmpools", pool)["status"][key]
                                       for key in ("replicas", "readyReplicas")))

        # What upstream's conversion kept of the old version is read.
        old = Scene.__new__(Scene)
        old.__dict__ = {**scene.__dict__, "version": "v1alpha1"}
        document = old.read("sandboxes", "old")
        assert upstream.STATE not in annotations(document), annotations(document)
        same(1, document["spec"].get("replicas", 1))

        # A member of either pool is given away as it is.
        for pool in ("p", "strict"):
            scene.make("sandboxclaims", f"of-{pool}", {"warmPoolRef": {"name": pool}})
            told = scene.until_ready("sandboxclaims", f"of-{pool}")
            assert ("sandboxes", told["status"]["sandbox"]["name"]) in before, told["status"]
        scene.end()


# ---- and back ----

def drain(plane, *options):
    return subprocess.run([CAY, "controller", "drain", "--kubeconfig", plane.controller_kubeconfig,
                           *options], text=True, capture_output=True, timeout=60, check=False)


def versions(scene, *kinds):
    return {(kind, each["metadata"]["name"]): each["metadata"]["resourceVersion"]
            for kind in kinds for each in scene.list(kind)}


def as_upstream_sees(scene, pool):
    """The members that upstream's pool controller finds, each with its one Pod."""
    found = {}
    for sandbox in scene.owned("sandboxes", pool):
        name = sandbox["metadata"]["name"]
        same(name_hash(pool["metadata"]["name"]), labels(sandbox)[PREFIX + "warm-pool-sandbox"])
        same(name_hash("t"), labels(sandbox)[PREFIX + "sandbox-template-ref-hash"])
        pods = scene.owned("pods", sandbox)
        same([annotations(sandbox)[PREFIX + "pod-name"]], [pod["metadata"]["name"] for pod in pods])
        same(name_hash(name), labels(pods[0])[PREFIX + "sandbox-name-hash"])
        found[pods[0]["metadata"]["name"]] = pods[0]["metadata"]["uid"]
    return found


def test_drain_hands_pods_over_to_upstream(plane):
    old, scene = Scene("v1alpha1"), Scene.__new__(Scene)
    scene.__dict__ = {**old.__dict__, "version": "v1beta1"}
    with Controller(plane, url=True) as controller:
        until_quiet(controller)
        old.make("sandboxtemplates", "t", upstream.blueprint())
        for name, replicas in (("p", 3), ("gone", 1)):
            old.make("sandboxwarmpools", name, {"replicas": replicas,
                                                "sandboxTemplateRef": {"name": "t"}})
        old.make("sandboxclaims", "c", {"sandboxTemplateRef": {"name": "t"}, "warmpool": "p"})
        old.until_ready("sandboxclaims", "c")
        pools = {name: scene.read("sandboxwarmpools", name) for name in ("p", "gone")}
        members = scene.until_owned("pods", pools["p"], 3)
        scene.until_owned("pods", pools["gone"], 1)
        until_quiet(controller)
        done = drain(plane, "--timeout=3s")
        assert done.returncode == 1 and "holds the Lease" in done.stderr, done
        same("", done.stdout)
    # Its template is gone: no Sandbox can be made of this one.
    scene.change("sandboxwarmpools", "gone", {"spec": {"sandboxTemplateRef": {"name": "none"}}})
    scene.make("sandboxclaims", "waits", {"warmPoolRef": {"name": "nowhere"}})
    uids_of_members = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in members}
    before = versions(scene, *KINDS)
    bound = {key: version for key, version in before.items() if key[0] == "services" or
             key[0] == "sandboxes" or key[0] == "sandboxclaims"}

    done = drain(plane, "--dry-run")
    same((0, ""), (done.returncode, done.stderr))
    same(3, done.stdout.count("handed over (dry run)\n"))
    assert "3 Pods would be handed over, 1 would be deleted" in done.stdout, done.stdout
    same(before, versions(scene, *KINDS))

    done = drain(plane)
    same((0, ""), (done.returncode, done.stderr))
    for name in uids_of_members:
        for line in (f"sandbox {scene.namespace}/{name} made around the Pod of its name",
                     f"pod {scene.namespace}/{name} handed over"):
            assert f"{line}\n" in done.stdout, (line, done.stdout)
    assert "3 Pods handed over, 1 deleted" in done.stdout, done.stdout
    assert (f"sandboxclaim {scene.namespace}/waits waits for the pool nowhere, which is not there"
            in done.stdout), done.stdout
    same(uids_of_members, as_upstream_sees(scene, pools["p"]))
    same(([], []), tuple(scene.owned("pods", pool) for pool in pools.values()))
    after = versions(scene, "services", "sandboxes", "sandboxclaims")
    same(bound, {key: after[key] for key in bound})

    again = drain(plane)
    same(0, again.returncode)
    assert "nothing to do: no pool has Pods for members" in again.stdout, again.stdout

    # Ours, if it comes back after all, keeps them.
    with Controller(plane, url=True) as controller:
        until_quiet(controller)
        same(uids_of_members, as_upstream_sees(scene, pools["p"]))
        same((3, 3), tuple(scene.read("sandboxwarmpools", "p")["status"][key]
                           for key in ("replicas", "readyReplicas")))
        scene.end()


def test_drain_goes_on_where_it_was_cut_off(plane):
    """A Sandbox was made, its Pod is still the pool's."""
    scene = Scene()
    scene.make("sandboxtemplates", "t", upstream.blueprint())
    pool = scene.make("sandboxwarmpools", "p", {"replicas": 2, "sandboxTemplateRef": {"name": "t"}})
    hashed = {PREFIX + "warm-pool-sandbox": name_hash("p"), PREFIX + "pool": name_hash("p"),
              PREFIX + "sandbox-template-ref-hash": name_hash("t")}
    for name in ("p-half", "p-taken"):
        scene.make("pods", name, upstream.blueprint()["podTemplate"]["spec"], labels=hashed,
                   ownerReferences=[reference(pool)])
    half = scene.make("sandboxes", "p-half", upstream.blueprint(), labels=hashed,
                      annotations={PREFIX + "pod-name": "p-half"}, ownerReferences=[reference(pool)])
    scene.make("sandboxes", "p-taken", upstream.blueprint())
    done = drain(plane, f"--namespace={scene.namespace}")
    same((0, ""), (done.returncode, done.stderr))
    assert "1 Pods handed over, 1 deleted" in done.stdout, done.stdout
    same(("Sandbox", "p-half", half["metadata"]["uid"]), owner(scene.read("pods", "p-half")))
    scene.until_gone("pods", "p-taken")


def test_drain_deletes_if_asked_to(plane):
    scene = Scene()
    scene.make("sandboxtemplates", "t", upstream.blueprint())
    pool = scene.make("sandboxwarmpools", "p", {"replicas": 1, "sandboxTemplateRef": {"name": "t"}},
                      annotations={"cay.dev/generation": "v1alpha1"})
    scene.make("pods", "p-aaaaa", upstream.blueprint()["podTemplate"]["spec"],
               ownerReferences=[reference(pool)])
    done = drain(plane, "--delete", f"--namespace={scene.namespace}")
    same((0, ""), (done.returncode, done.stderr))
    assert f"pod {scene.namespace}/p-aaaaa deleted\n" in done.stdout, done.stdout
    assert "has Sandboxes for members from now on" in done.stdout, done.stdout
    scene.until_gone("pods", "p-aaaaa")
    same([], scene.list("sandboxes"))


def test_drain_says_what_it_may_not(plane):
    plane.kubectl("delete", "clusterrolebinding", "agent-sandbox-controller-extensions")
    try:
        done = drain(plane, "--dry-run", "--timeout=3s")
        assert done.returncode == 1 and "cannot see what is there" in done.stderr and \
            "forbidden" in done.stderr, done
    finally:
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")
    done = drain(plane, "operand")
    assert done.returncode == 2 and "no operand is taken" in done.stderr, done


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane(audit=True, v1alpha1=True) as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        FakeNode(plane)
        tap.main(globals(), (plane,))


if __name__ == "__main__":
    main()
