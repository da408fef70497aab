#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `cay controller` writes to a real kube-apiserver, counted from its audit log.

Each kind of work is done a few times, one after the other, in a namespace of its own. Events, the
status of pools and Leases are counted apart. Prints a table; a median over its limit fails.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.control_plane import CONTROLLER_USER, ControlPlane  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import Scene, blueprint  # noqa: E402

ROUNDS = 5
QUIET = 4  # seconds without a write: longer than any news is held back
WRITES = ("create", "update", "patch", "delete")
APART = {"events", "sandboxwarmpools/status", "leases"}


class Audit:
    """The controller's writes in one namespace, as they come."""

    def __init__(self, plane, namespace):
        self.file = open(plane.audit_log, encoding="utf-8")
        self.namespace = namespace
        self.writes = []  # (name, "verb resource")

    def read(self):
        """How many came since the last time."""
        before = len(self.writes)
        while True:
            line = self.file.readline()
            if not line.endswith("\n"):
                self.file.seek(self.file.tell() - len(line))
                return len(self.writes) - before
            entry = json.loads(line)
            target = entry.get("objectRef", {})
            if (entry["verb"] not in WRITES or entry["user"]["username"] != CONTROLLER_USER or
                    target.get("namespace") != self.namespace or
                    entry["responseStatus"]["code"] >= 300):
                continue
            what = "/".join(filter(None, (target["resource"], target.get("subresource"))))
            self.writes.append((target.get("name", ""), what, f"{entry['verb']} {what}"))

    def settle(self):
        """Waits until nothing has been written for a while."""
        since = time.monotonic()
        while time.monotonic() - since < QUIET:
            if self.read():
                since = time.monotonic()
            time.sleep(0.1)

    def count(self, what):
        """How many writes there were of a resource that is counted apart."""
        return sum(resource == what for _, resource, _ in self.writes)

    def of(self, *names):
        """What was written to objects of these names, without what is counted apart."""
        return collections.Counter(text for name, what, text in self.writes
                                   if name in names and what not in APART)


def judge(what, counts, limit):
    """One line of the table, and whether the limit holds."""
    totals = [sum(count.values()) for count in counts]
    median = statistics.median(totals)
    usual = min(counts, key=lambda count: abs(sum(count.values()) - median))
    print(f"# {what}: {median:g} writes (limit {limit}, most {max(totals)}): " +
          ", ".join(f"{number} {text}" if number > 1 else text
                    for text, number in sorted(usual.items())), flush=True)
    assert min(totals) > 0 and median <= limit, (what, totals, usual)


def observed_scene(plane):
    scene = Scene()
    return scene, Audit(plane, scene.namespace)


def pool_of(scene, name, replicas, spec=None, **metadata):
    scene.make("sandboxtemplates", name, spec or blueprint())
    scene.make("sandboxwarmpools", name, {
        "replicas": replicas, "sandboxTemplateRef": {"name": name}}, **metadata)
    return filled(scene, name, replicas)


def filled(scene, name, replicas):
    return scene.until("sandboxwarmpools", name, lambda pool: (pool.get("status") or {}).get(
        "readyReplicas", 0) == replicas, "its members")


def claim(scene, name, pool):
    scene.make("sandboxclaims", name, {"warmPoolRef": {"name": pool}})
    return scene.until_ready("sandboxclaims", name)["status"]["sandbox"]["name"]


def judge_events(audit, claims):
    """At most one for each claim."""
    told = audit.count("events")
    print(f"# Events: {told} for {claims} claims", flush=True)
    assert told <= claims, audit.writes


def test_cold_sandbox(plane):
    scene, audit = observed_scene(plane)
    for number in range(ROUNDS):
        scene.make("sandboxes", f"s-{number}", blueprint())
        scene.until_ready("sandboxes", f"s-{number}")
    audit.settle()
    judge("cold Sandbox", [audit.of(f"s-{number}") for number in range(ROUNDS)], 3)


def test_cold_claim(plane):
    scene, audit = observed_scene(plane)
    pool_of(scene, "none", 0)
    for number in range(ROUNDS):
        claim(scene, f"c-{number}", "none")
    audit.settle()
    judge_events(audit, ROUNDS)
    judge("cold claim", [audit.of(f"c-{number}") for number in range(ROUNDS)], 6)


def test_warm_claim_and_refill(plane):
    scene, audit = observed_scene(plane)
    pool = pool_of(scene, "p", 3)
    audit.settle()
    first = {name for name, what, _ in audit.writes if what == "sandboxes"}
    audit.writes.clear()
    began = time.monotonic()
    given = {}
    for number in range(ROUNDS):
        given[f"c-{number}"] = claim(scene, f"c-{number}", "p")
        filled(scene, "p", 3)
        audit.settle()
    seconds = time.monotonic() - began
    told = audit.count("sandboxwarmpools/status")
    print(f"# status of the pool: {told} in {seconds:.0f} s", flush=True)
    assert told <= seconds + 1, audit.writes
    judge_events(audit, ROUNDS)
    refilled = {name for name, _, text in audit.writes if text == "create sandboxes"}
    same_members = {member["metadata"]["name"] for member in scene.owned("sandboxes", pool)}
    # A member that was given away again was written for two reasons: what is left is a refill.
    judge("refilled member of a pool", [audit.of(name) for name in refilled & same_members], 4)
    judge("warm claim, Sandbox member",
          [audit.of(name, member) for name, member in given.items() if member in first], 3)
    assert len(set(given.values())) == ROUNDS, given


def test_warm_claim_of_a_pod(plane):
    scene, audit = observed_scene(plane)
    pool_of(scene, "q", 3, {**blueprint(), "service": False},
            annotations={"cay.dev/generation": "v1alpha1"})
    audit.settle()
    first = {name for name, _, text in audit.writes if text == "create pods"}
    assert len(first) == 3 and not [1 for _, what, _ in audit.writes if what == "sandboxes"], \
        audit.writes
    audit.writes.clear()
    counts = []
    for number in range(3):
        claim(scene, f"c-{number}", "q")
        sandbox = scene.read("sandboxes", f"c-{number}")
        pod = sandbox["metadata"]["annotations"]["agents.x-k8s.io/pod-name"]
        audit.settle()
        if pod in first:
            counts.append(audit.of(f"c-{number}", pod))
    judge("warm claim, Pod member", counts, 4)


def main():
    with ControlPlane(audit=True) as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        FakeNode(plane)
        plane.start_controller(os.environ["CAY"])
        wait_for(plane.audit_log.exists, 30, "the audit log")
        tests = {name: test for name, test in globals().items() if name.startswith("test_")}
        # Mostly they wait, each in a namespace of its own: all at once.
        with concurrent.futures.ThreadPoolExecutor(len(tests)) as pool:
            tap.main({name: pool.submit(test, plane).result for name, test in tests.items()})


if __name__ == "__main__":
    main()
