#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of controllers, kube-apiserver and etcd at random moments under load.

usage: cluster_kill_test.py [--minutes M] [--seed S]      (CAY is the program)

Two `cay controller` share a Lease on a real control plane. Users claim, release, create and delete
while a leader is killed, or paused and woken late, or the server or its store is killed and started
again on its data. What was acknowledged is compared with what is there when all is quiet: every
claim has exactly one Sandbox, the one it was first given; pools are whole; nothing is orphaned; and
when everything is deleted, nothing is left.
"""

import argparse
import collections
import functools
import http.client
import itertools
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.control_plane import ControlPlane  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import MERGE, blueprint, condition, owner  # noqa: E402
from lib.threads import Threads  # noqa: E402

CAY = os.path.abspath(os.environ["CAY"])
LEASES = "/apis/coordination.k8s.io/v1/namespaces/agent-sandbox-system/leases"
LEASE = "a3317529.agent-sandbox.x-k8s.io"
ELECTION = ("--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s",
            "--leader-elect-retry-period=400ms")
CONTROLLERS = ("controller-a", "controller-b")
SERVERS = ("etcd", "kube-apiserver")
POOL, CLAIMERS, CLAIMS_A_CLAIMER, SANDBOXES = "warm", 3, 12, 10
BROKEN = (OSError, http.client.HTTPException, ValueError)
PASSING = (429, 500, 502, 503, 504)  # the server is about to end, or has no store
MEMORY_MIB = 32
SETTLE_SECONDS = 90
KINDS = ("sandboxclaims", "sandboxes", "pods", "services", "sandboxwarmpools",
         "persistentvolumeclaims")


class Unanswered(Exception):
    """It may have happened or not."""


def ask(api, method, path, body=None, content_type="application/json"):
    """(status, document); raises Unanswered where nothing is known."""
    try:
        status, document = api.request(method, path, body, content_type)
    except BROKEN as error:
        api.close()
        raise Unanswered from error
    if status in PASSING:
        raise Unanswered
    return status, document


def insist(api, method, path, body=None, content_type="application/json"):
    """The answer, as soon as there is one."""
    def attempt():
        try:
            return ask(api, method, path, body, content_type)
        except Unanswered:
            return None
    return wait_for(attempt, SETTLE_SECONDS, f"{method} {path}", pause=0.1)


class Ledger:
    """What the API has acknowledged."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kept = {}      # (resource, name) -> uid: created, and nobody asked for its end
        self.perhaps = {}   # (resource, name): a creation or deletion without an answer
        self.sandboxes = {} # uid of a claim -> uid of its Sandbox
        self.claims = {}    # uid of a Sandbox -> uid of its claim
        self.broken = []
        self.counts = collections.Counter()

    def bind(self, claim, sandbox):
        with self.lock:
            if self.sandboxes.setdefault(claim, sandbox) != sandbox:
                self.broken.append(f"claim {claim} had {self.sandboxes[claim]}, now {sandbox}")
            if self.claims.setdefault(sandbox, claim) != claim:
                self.broken.append(f"Sandbox {sandbox} was {self.claims[sandbox]}'s, now {claim}'s")

    def create(self, api, resource, body):
        """The created object, or None."""
        key = (resource, body["metadata"]["name"])
        self.perhaps[key] = True
        status, document = ask(api, "POST", objects.path(resource), body)
        if status != 201:
            raise AssertionError(f"POST {key}: {status} {document}")
        del self.perhaps[key]
        self.kept[key] = document["metadata"]["uid"]
        self.counts[f"{resource} created"] += 1
        return document

    def delete(self, api, resource, name):
        """From the request on it may be gone; without an answer, it may also stay."""
        self.kept.pop((resource, name), None)
        self.perhaps[(resource, name)] = True
        status, document = ask(api, "DELETE", objects.path(resource, name=name))
        if status not in (200, 202, 404):
            raise AssertionError(f"DELETE {resource} {name}: {status} {document}")
        self.counts[f"{resource} deleted"] += 1


class Load(Threads):
    """Users, each a thread with objects of its own."""

    def __init__(self, plane, ledger, seed):
        users = [self.claim] * CLAIMERS + [self.make_sandboxes, self.scale, self.lose_pods,
                                           self.observe]
        super().__init__([functools.partial(self.guard, user, number)
                          for number, user in enumerate(users)])
        self.plane, self.ledger, self.seed = plane, ledger, seed
        self.numbers = itertools.count()

    def guard(self, user, number):
        api, chooser, mine = self.plane.api(), random.Random(self.seed + number), []
        while not self.stopping.is_set():
            try:
                user(api, chooser, mine)
            except Unanswered:
                self.stopping.wait(0.05)
            except Exception as error:  # told to the test, which fails
                self.ledger.broken.append(f"{user.__name__}: {error!r}")
                return

    def claim(self, api, chooser, mine):
        """Takes, waits, looks at what it got, and gives older ones back."""
        while len(mine) > CLAIMS_A_CLAIMER or (mine and chooser.random() < 0.3):
            self.ledger.delete(api, "sandboxclaims", mine.pop(chooser.randrange(len(mine))))
        name = f"c-{next(self.numbers)}"
        mine.append(name)
        made = self.ledger.create(api, "sandboxclaims", objects.claim(name, POOL))
        for _ in range(chooser.randrange(60)):
            _, found = ask(api, "GET", objects.path("sandboxclaims", name=name))
            if condition(found).get("status") == "True":
                self.look(api, made, found)
                break
            if self.stopping.wait(0.05):
                return

    def look(self, api, made, found):
        status, sandbox = ask(api, "GET", objects.path(
            "sandboxes", name=found["status"]["sandbox"]["name"]))
        if status == 404:
            self.ledger.broken.append(f"claim {found['metadata']['name']} is Ready with nothing")
            return
        assert owner(sandbox) and owner(sandbox)[2] == made["metadata"]["uid"], (found, sandbox)
        self.ledger.bind(made["metadata"]["uid"], sandbox["metadata"]["uid"])
        self.ledger.counts["claims seen Ready"] += 1

    def make_sandboxes(self, api, chooser, mine):
        if self.stopping.wait(chooser.uniform(0, 0.4)):
            return
        if len(mine) > SANDBOXES:
            self.ledger.delete(api, "sandboxes", mine.pop(chooser.randrange(len(mine))))
        name = f"s-{next(self.numbers)}"
        mine.append(name)
        self.ledger.create(api, "sandboxes", {
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": {"name": name},
            "spec": {**blueprint(), "service": chooser.random() < 0.5}})

    def scale(self, api, chooser, _):
        if not self.stopping.wait(chooser.uniform(1, 4)):
            ask(api, "PATCH", objects.path("sandboxwarmpools", name=POOL),
                {"spec": {"replicas": chooser.randrange(4, 13)}}, MERGE)

    def lose_pods(self, api, chooser, _):
        if self.stopping.wait(chooser.uniform(0.5, 2)):
            return
        _, pods = ask(api, "GET", objects.path("pods"))
        if pods["items"]:
            name = chooser.choice(pods["items"])["metadata"]["name"]
            ask(api, "DELETE", objects.path("pods", name=name))
            self.ledger.counts["pods deleted"] += 1

    def observe(self, api, *_):
        """Who belongs to whom never changes."""
        if self.stopping.wait(0.2):
            return
        _, sandboxes = ask(api, "GET", objects.path("sandboxes"))
        for sandbox in sandboxes["items"]:
            kind, _, uid = owner(sandbox) or ("", "", "")
            # Of two that a change of leaders made, the one that the claim was not told of goes.
            if kind == "SandboxClaim" and condition(sandbox).get("status") == "True" and \
                    uid in self.ledger.sandboxes:
                with self.ledger.lock:
                    known = self.ledger.claims.setdefault(sandbox["metadata"]["uid"], uid)
                if known != uid:
                    self.ledger.broken.append(f"{sandbox['metadata']['name']} was {known}'s, "
                                              f"now {uid}'s")


class Faults:
    """Kills, pauses and starts again; runs in the main thread, which the processes end with."""

    def __init__(self, plane, chooser):
        self.plane, self.chooser = plane, chooser
        self.counts = collections.Counter()
        self.failures = []
        self.memory_kib = 0
        self.every = {"kill the leader": self.kill_leader, "kill the other": self.kill_other,
                      "pause the leader": self.pause_leader,
                      "kill kube-apiserver": lambda: self.kill_servers("kube-apiserver"),
                      "kill etcd": lambda: self.kill_servers("etcd"),
                      "kill both servers": lambda: self.kill_servers(*SERVERS),
                      "kill all": self.kill_all}

    def processes(self):
        return {name: process for name, process in self.plane.running if name in CONTROLLERS}

    def log(self, name):
        return (self.plane.folder / f"{name}.log").read_text(encoding="utf-8").splitlines()

    def leader(self):
        """The name of the process that was last heard to lead; any other if it does not run."""
        found = {}
        for name in self.processes():
            for line in self.log(name):
                message = json.loads(line)
                if message["msg"] == "leading":
                    found[message["ts"]] = name
        return found[max(found)] if found else self.chooser.choice(CONTROLLERS)

    def note_memory(self):
        for process in self.processes().values():
            try:
                text = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            for line in text.splitlines():
                if line.startswith("VmHWM:"):
                    self.memory_kib = max(self.memory_kib, int(line.split()[1]))

    def keep(self):
        """As a Deployment does: who has ended is started again. What it may end of is known."""
        for name, process in self.processes().items():
            if process.poll() is None:
                continue
            last = (self.log(name) or ["{}"])[-1]
            if process.returncode != 1 or "leadership was lost" not in last:
                self.failures.append(f"{name} ended with {process.returncode}: {last}")
            self.counts["a leader ended by itself"] += 1
            self.plane.restart(name)

    def rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)  # a pace, not a condition
            self.keep()
            self.note_memory()

    def kill_controller(self, name):
        self.plane.kill(name)
        if self.chooser.random() < 0.5:
            self.rest(self.chooser.uniform(0, 4))
        self.plane.restart(name)

    def kill_leader(self):
        self.kill_controller(self.leader())

    def kill_other(self):
        leader = self.leader()
        self.kill_controller(next(name for name in CONTROLLERS if name != leader))

    def pause_leader(self):
        process = self.processes()[self.leader()]
        process.send_signal(signal.SIGSTOP)
        try:
            self.rest(self.chooser.uniform(0.2, 6))
        finally:
            process.send_signal(signal.SIGCONT)

    def kill_servers(self, *names):
        for name in names:
            self.plane.kill(name)
        self.rest(self.chooser.choice((0, self.chooser.uniform(0, 3))))
        for name in names:
            self.plane.restart(name)
        while True:
            try:
                self.plane.until_serving(0)
                break
            except TimeoutError:
                self.rest(0.2)
                self.keep_servers()

    def keep_servers(self):
        """kube-apiserver ends by itself when it begins without a store."""
        for name, process in list(self.plane.running):
            if name in SERVERS and process.poll() is not None:
                self.plane.restart(name)

    def kill_all(self):
        for name in CONTROLLERS:
            self.plane.kill(name)
        self.kill_servers("kube-apiserver")
        for name in CONTROLLERS:
            self.plane.restart(name)

    def strike(self, name):
        self.counts[name] += 1
        self.every[name]()


def listed(api, resource):
    status, found = insist(api, "GET", objects.path(resource))
    assert status == 200, (resource, status, found)
    return found["items"]


def name_of(document):
    return document["metadata"]["name"]


class Picture:
    """Everything as it is, and what is wrong with it."""

    def __init__(self, api, ledger):
        self.wrong = []
        self.every = {resource: listed(api, resource) for resource in KINDS}
        self.by_uid = {item["metadata"]["uid"]: item for items in self.every.values()
                       for item in items}
        self.owned = collections.defaultdict(list)
        for resource, items in self.every.items():
            for item in items:
                if owner(item):
                    self.owned[(resource, owner(item)[2])].append(item)
        for resource, items in self.every.items():
            for item in items:
                self.judge_any(resource, item)
        for claim in self.every["sandboxclaims"]:
            self.judge_claim(claim, ledger)
        for sandbox in self.every["sandboxes"]:
            self.judge_sandbox(sandbox)
        for pool in self.every["sandboxwarmpools"]:
            self.judge_pool(pool)
        self.judge_ledger(ledger)

    def versions(self):
        return {uid: item["metadata"]["resourceVersion"] for uid, item in self.by_uid.items()}

    def say(self, resource, item, what):
        self.wrong.append(f"{resource} {name_of(item)} {what}")

    def judge_any(self, resource, item):
        if "deletionTimestamp" in item["metadata"]:
            self.say(resource, item, f"is being deleted, {item['metadata'].get('finalizers')}")
        for entry in item["metadata"].get("ownerReferences", []):
            if entry["uid"] not in self.by_uid:
                self.say(resource, item, f"has outlived {entry['kind']} {entry['name']}")
        if resource == "pods" and not owner(item):
            self.say(resource, item, "belongs to nobody")

    def judge_claim(self, claim, ledger):
        uid = claim["metadata"]["uid"]
        mine = self.owned[("sandboxes", uid)]
        if len(mine) != 1:
            self.say("claim", claim, f"has {len(mine)} Sandboxes")
        elif condition(claim).get("status") != "True":
            self.say("claim", claim, f"is not Ready: {condition(claim)}")
        elif claim["status"]["sandbox"]["name"] != name_of(mine[0]):
            self.say("claim", claim, f"was told of {claim['status']['sandbox']}, "
                                     f"has {name_of(mine[0])}")
        elif ledger.sandboxes.get(uid, mine[0]["metadata"]["uid"]) != mine[0]["metadata"]["uid"]:
            self.say("claim", claim, "was given another Sandbox before")

    def judge_sandbox(self, sandbox):
        uid = sandbox["metadata"]["uid"]
        pods, services = self.owned[("pods", uid)], self.owned[("services", uid)]
        if condition(sandbox).get("status") != "True":
            self.say("Sandbox", sandbox, f"is not Ready: {condition(sandbox)}, its Pods: " + ", ".join(
                f"{pod['status'].get('phase')} on {pod['spec'].get('nodeName')}" for pod in pods))
        if len(pods) != 1:
            self.say("Sandbox", sandbox, f"has {len(pods)} Pods")
        if len(services) != bool(sandbox["spec"].get("service")):
            self.say("Sandbox", sandbox, f"has {len(services)} Services")

    def judge_pool(self, pool):
        wanted = pool["spec"]["replicas"]
        status = pool.get("status", {})
        found = (len(self.owned[("sandboxes", pool["metadata"]["uid"])]),
                 status.get("replicas", 0), status.get("readyReplicas", 0))
        if found != (wanted, wanted, wanted):
            self.say("pool", pool, f"wants {wanted} members; has, says, says ready: {found}")

    def judge_ledger(self, ledger):
        """What was acknowledged is there; what is there was asked for."""
        there = {(resource, name_of(item)): item["metadata"]["uid"]
                 for resource in ("sandboxclaims", "sandboxes") for item in self.every[resource]
                 if resource == "sandboxclaims" or not owner(item)}
        for key, uid in ledger.kept.items():
            if there.get(key) != uid:
                self.wrong.append(f"{key} was acknowledged and is {there.get(key)}, not {uid}")
        for key in there:
            if key not in ledger.kept and key not in ledger.perhaps:
                self.wrong.append(f"nobody asked for {key}")


def settle(api, ledger, faults):
    """Waits until nothing is wrong; then nothing may be written any more."""
    last, told = None, 0
    began = time.monotonic()
    def look():
        nonlocal last, told
        faults.keep()
        last = Picture(api, ledger)
        if last.wrong and time.monotonic() > began + told + 5:
            told += 5
            print(f"# after {told} s: {'; '.join(last.wrong[:5])}", flush=True)
        return not last.wrong
    try:
        wait_for(look, SETTLE_SECONDS, "all to be well", pause=0.2)
    except TimeoutError:
        raise AssertionError("\n".join(last.wrong)) from None
    took = time.monotonic() - began
    # Deleted objects whose deletion was not answered yet are gone by now: what stays, stays.
    faults.rest(2)
    before = Picture(api, ledger)
    faults.rest(3)
    after = Picture(api, ledger)
    assert not after.wrong, after.wrong
    assert before.versions() == after.versions(), "something is written in a quiet world"
    return took


def check_lease(plane, faults):
    status, found = plane.api().get(LEASES)
    assert status == 200 and [name_of(item) for item in found["items"]] == [LEASE], found
    holder = found["items"][0]["spec"]["holderIdentity"]
    alive = []
    for name in CONTROLLERS:
        said = [json.loads(line)["msg"] for line in faults.log(name)]
        alive.append([line for line in said if "takes part" in line][-1].split()[0])
    assert holder in alive, (holder, alive)


def take_down(api):
    """Everything is deleted, and with it what it owns."""
    for resource in ("sandboxclaims", "sandboxwarmpools", "sandboxtemplates"):
        insist(api, "DELETE", objects.path(resource))
    for item in listed(api, "sandboxes"):
        insist(api, "DELETE", objects.path("sandboxes", name=name_of(item)))
    resources = (*KINDS[:-1], "sandboxtemplates")

    def left():
        return [f"{resource} {name_of(item)}" for resource in resources
                for item in listed(api, resource) if name_of(item) != "kubernetes"]
    try:
        wait_for(lambda: not left(), SETTLE_SECONDS, "everything to go", pause=0.2)
    except TimeoutError:
        raise AssertionError(f"left: {left()}") from None


def is_enough(ledger, arguments):
    return ledger.counts["claims seen Ready"] > max(10, 20 * arguments.minutes) and \
        ledger.counts["sandboxclaims deleted"] > 0


def run(plane, arguments, ledger, faults):
    api = plane.api()
    FakeNode(plane)
    for name in CONTROLLERS:
        plane.start_controller(CAY, *ELECTION, name=name)
    api.create(objects.path("sandboxtemplates"), {**objects.template(POOL), "spec": blueprint()})
    api.create(objects.path("sandboxwarmpools"), objects.warm_pool(POOL, POOL, 8))
    wait_for(lambda: objects.ready_members(api, POOL) == 8, SETTLE_SECONDS, "a ready pool")
    end = time.monotonic() + arguments.minutes * 60
    first = list(faults.every)
    faults.chooser.shuffle(first)
    with Load(plane, ledger, arguments.seed):
        while time.monotonic() < end and not ledger.broken and not faults.failures:
            faults.rest(faults.chooser.uniform(0.3, 4 if arguments.minutes > 1 else 1.5))
            faults.strike(first.pop() if first else faults.chooser.choice(list(faults.every)))
            if arguments.minutes > 1:
                print(f"# {dict(ledger.counts)} {dict(faults.counts)}", flush=True)
        # On a slow machine a short run is hardly more than faults.
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end and not ledger.broken and not is_enough(ledger, arguments):
            faults.rest(0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    print(f"# {arguments.minutes} minutes, seed {arguments.seed}", flush=True)
    with ControlPlane() as plane:
        ledger, faults = Ledger(), Faults(plane, random.Random(arguments.seed))

        def test_nothing_acknowledged_is_lost_and_nothing_is_orphaned():
            run(plane, arguments, ledger, faults)
            took = settle(plane.api(), ledger, faults)
            print(f"# {dict(ledger.counts)}, {len(ledger.kept)} kept; {dict(faults.counts)}; "
                  f"all was well {took:.1f} s after the last fault; "
                  f"at most {faults.memory_kib / 1024:.1f} MiB a controller", flush=True)
            assert not ledger.broken, ledger.broken
            assert not faults.failures, faults.failures
            assert is_enough(ledger, arguments), ledger.counts

        def test_one_lease_is_left_and_one_of_the_two_holds_it():
            check_lease(plane, faults)

        def test_memory_stayed_bounded():
            assert 0 < faults.memory_kib < MEMORY_MIB * 1024, faults.memory_kib

        def test_nothing_is_left_when_all_is_deleted():
            take_down(plane.api())

        tap.main({name: test for name, test in locals().items() if name.startswith("test_")})


if __name__ == "__main__":
    main()
