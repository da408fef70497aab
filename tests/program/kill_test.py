#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of each process at random moments under load: nothing acknowledged is lost.

usage: kill_test.py [--rounds N] [--seed S]      (CAY is the program)

Writers create and change ConfigMaps, claimers take sandboxes from a pool and give them back, while
a random process is killed in each round. What was acknowledged is compared with what is there: no
acknowledged write lost, no resourceVersion given twice, no sandbox given twice; and at the end no
process, interface, mount or cgroup is left.
"""

import argparse
import functools
import http.client
import itertools
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import leftovers, objects, tap  # noqa: E402
from lib.instance import ROLES, Instance, wait_for  # noqa: E402
from lib.threads import Threads  # noqa: E402

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CLAIMS_KEPT = 40
BROKEN = (OSError, http.client.HTTPException, ValueError)


class Ledger:
    """What the API has acknowledged, by all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.versions = {}  # resourceVersion → what it was given to
        self.twice = []     # resourceVersions given to two writes
        self.values = {}    # ConfigMap → set of values that may be there
        self.claims = {}    # claim → Sandbox
        self.numbers = itertools.count()  # of claims: no name is used again
        self.acknowledged = 0

    def note_version(self, document, what):
        version = document["metadata"]["resourceVersion"]
        with self.lock:
            self.acknowledged += 1
            if self.versions.setdefault(version, what) != what:
                self.twice.append((version, self.versions[version], what))


class Load(Threads):
    """Writers and claimers; each names its objects itself, so none share one."""

    def __init__(self, instance, ledger):
        works = [(self.write, n) for n in range(3)] + [(self.claim, n) for n in range(2)]
        super().__init__([functools.partial(self.guard, *work) for work in works])
        self.instance, self.ledger = instance, ledger
        self.failures = []

    def guard(self, function, number):
        try:
            function(number)
        except Exception as failure:  # told to the test, which fails
            self.failures.append(f"{function.__name__} {number}: {failure!r}")

    def write(self, number):
        api, count = self.instance.api(), 0
        while not self.stopping.is_set():
            name = f"w{number}-{count % 50}"
            value = str(count)
            count += 1
            known = self.ledger.values.get(name)
            # From the request on the value may be there; from the answer on it must be.
            self.ledger.values[name] = (known or {None}) | {value}
            try:
                if known is None or known == {None}:
                    status, document = api.request(
                        "POST", CONFIG_MAPS, {"metadata": {"name": name}, "data": {"n": value}})
                    if status == 409:  # an earlier POST whose answer was lost
                        self.ledger.values[name] = {v for v in self.ledger.values[name] if v}
                        continue
                else:
                    status, document = api.request(
                        "PATCH", f"{CONFIG_MAPS}/{name}", {"data": {"n": value}},
                        "application/merge-patch+json")
                    if status == 404 and None in known:
                        continue
                if status in (200, 201):
                    self.ledger.note_version(document, (name, value))
                    self.ledger.values[name] = {value}
                elif status not in (429, 500, 503):
                    raise AssertionError(f"{name}: {status} {document}")
            except BROKEN:
                time.sleep(0.01)  # the API is away: not a condition but a pace

    def claim(self, number):
        api = self.instance.api()
        path = objects.path("sandboxclaims")
        while not self.stopping.is_set():
            count = next(self.ledger.numbers)
            name = f"c{number}-{count}"
            try:
                if api.request("POST", path, objects.claim(name, "warm"))[0] != 201:
                    continue
                for _ in range(200):
                    status, found = api.get(f"{path}/{name}")
                    if status == 200 and objects.condition(found) == "True":
                        with self.ledger.lock:
                            self.ledger.claims[name] = found["status"]["sandbox"]["name"]
                        break
                    if self.stopping.wait(0.02):
                        return
                if count % 2 == 0:
                    api.request("DELETE", f"{path}/{name}")
            except BROKEN:
                time.sleep(0.01)


def insist(api, method, path, timeout=60):
    """The answer to a request that is repeated until the API is back."""
    def attempt():
        try:
            answer = api.request(method, path)
            return answer if answer[0] < 500 else None
        except BROKEN:
            return None
    return wait_for(attempt, timeout, f"{method} {path}")


def check_writes(api, ledger):
    _, found = insist(api, "GET", CONFIG_MAPS)
    values = {item["metadata"]["name"]: item["data"]["n"] for item in found["items"]
              if "n" in item.get("data", {})}
    for name, allowed in ledger.values.items():
        assert values.get(name) in allowed, \
            f"{name}: {values.get(name)} is there, acknowledged was {allowed}"
    assert not ledger.twice, f"resourceVersions given twice: {ledger.twice[:3]}"


def check_claims(api, ledger):
    _, claims = insist(api, "GET", objects.path("sandboxclaims"))
    _, sandboxes = insist(api, "GET", objects.path("sandboxes"))
    taken = {}
    for claim in claims["items"]:
        name = claim.get("status", {}).get("sandbox", {}).get("name")
        if name:
            assert name not in taken, f"{name} was given to {taken[name]} and " \
                                      f"{claim['metadata']['name']}"
            taken[name] = claim["metadata"]["name"]
        told = ledger.claims.get(claim["metadata"]["name"])
        assert told in (None, name), f"{claim['metadata']['name']} had {told}, now {name}"
    owners = [owner["uid"] for item in sandboxes["items"]
              for owner in item["metadata"].get("ownerReferences", [])
              if owner["kind"] == "SandboxClaim"]
    assert len(owners) == len(set(owners)), "a claim owns two sandboxes"


def give_back(api, most):
    """Deletes claims, the oldest first, until `most` are left: the network has 250 addresses."""
    _, claims = insist(api, "GET", objects.path("sandboxclaims"))
    names = sorted((claim["metadata"]["name"] for claim in claims["items"]),
                   key=lambda name: int(name.split("-")[1]))
    for name in names[:max(len(names) - most, 0)]:
        insist(api, "DELETE", objects.path("sandboxclaims", name=name))


def wait_for_pods(api, count, what):
    """Waits until so many are left; if others stay, says which."""
    def pods():
        return insist(api, "GET", objects.path("pods"))[1]["items"]
    try:
        wait_for(lambda: len(pods()) == count, 60, what)
    except TimeoutError:
        for pod in pods():
            metadata = pod["metadata"]
            print("# left:", metadata["name"], pod["status"].get("phase"),
                  metadata.get("deletionTimestamp"), metadata.get("finalizers"),
                  [(owner["kind"], owner["name"]) for owner in metadata.get("ownerReferences", [])],
                  [state["state"] for state in pod["status"].get("containerStatuses", [])])
        for resource in ("sandboxes", "sandboxclaims"):
            found = insist(api, "GET", objects.path(resource))[1]["items"]
            print(f"# left: {len(found)} {resource}", flush=True)
        raise


def victims(rounds, chooser):
    """Every process at least once, then at random."""
    every = [*ROLES, "supervisor"]
    return (every + [chooser.choice(every) for _ in range(rounds)])[:max(rounds, len(every))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    chooser = random.Random(arguments.seed)
    print(f"# {arguments.rounds} rounds, seed {arguments.seed}")
    ledger = Ledger()
    folders = []

    def test_nothing_acknowledged_is_lost():
        with Instance() as instance:
            folders.append(instance.data)
            api = instance.api()
            objects.make_pool(api, "warm", 3)
            wait_for(lambda: objects.ready_members(api, "warm") == 3, what="a ready pool")
            for number, victim in enumerate(victims(arguments.rounds, chooser), 1):
                with Load(instance, ledger) as load:
                    time.sleep(chooser.uniform(0.05, 0.5))  # the random moment
                    wait_for(lambda: victim == "supervisor" or victim in instance.roles(),
                             what=f"{victim} to run")
                    instance.kill(victim)
                    if victim == "supervisor":
                        instance.up()
                    insist(api, "GET", "/readyz")
                    time.sleep(chooser.uniform(0.05, 0.3))
                assert not load.failures, load.failures
                check_writes(api, ledger)
                check_claims(api, ledger)
                give_back(api, CLAIMS_KEPT)
                print(f"# round {number}: killed {victim}; {ledger.acknowledged} writes, "
                      f"{len(ledger.claims)} claims so far", flush=True)
            assert len(ledger.claims) > arguments.rounds // 2, f"only {len(ledger.claims)} claims got ready"
            give_back(api, 0)
            wait_for_pods(api, 3, "the pods of the claims to go, and the pool to be whole")
            assert leftovers.of(instance.data), "what runs is not seen, so what is left would not be"
        left = leftovers.remembered(instance.pod_cidr)
        assert not left, left

    def test_down_ends_what_a_killed_supervisor_left():
        with Instance() as instance:
            api = instance.api()
            objects.make_pool(api, "warm", 2)
            wait_for(lambda: objects.ready_members(api, "warm") == 2, what="a ready pool")
            instance.kill("supervisor")
            instance.down()
            left = leftovers.of(instance.data)
            assert not left, left

    def test_nothing_is_left_behind():
        assert folders, "no instance ran"
        left = [line for data in folders for line in leftovers.of(data)]
        assert not left, left

    tap.main({"test_nothing_acknowledged_is_lost": test_nothing_acknowledged_is_lost,
              "test_down_ends_what_a_killed_supervisor_left":
                  test_down_ends_what_a_killed_supervisor_left,
              "test_nothing_is_left_behind": test_nothing_is_left_behind})


if __name__ == "__main__":
    main()
