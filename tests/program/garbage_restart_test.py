#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Garbage collection whose control process is killed in the middle: it goes on where it was.

usage: CAY=… garbage_restart_test.py [--rounds 1]
"""

import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from behaviour.garbage_test import HOLD, TIMEOUT, Scene, absent, owner, owners  # noqa: E402
from lib import tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402

ROUNDS = int(sys.argv[2]) if sys.argv[1:2] == ["--rounds"] else 1
COUNT = 100


def kill(instance, scene):
    instance.kill("control")
    scene.api.close()


def names(scene, kind):
    return {item["metadata"]["name"] for item in scene.api.get(scene.path(kind))[1]["items"]}


def until_none(scene, *kinds):
    for kind in kinds:
        wait_for(lambda: not [name for name in names(scene, kind) if name.startswith("many-")],
                 TIMEOUT, f"every {kind} to go")


def test_what_lost_its_owner_goes_afterwards(instance, scene):
    for _ in range(ROUNDS):
        head = scene.make("ConfigMap", "head")
        for i in range(COUNT):
            widget = scene.make("Widget", f"many-{i}", [owner(head)])
            role = scene.make("Role", f"many-{i}", [owner(widget)])
            scene.make("Gadget", f"many-{i}", [owner(role)])
        scene.remove("ConfigMap", "head")
        time.sleep(random.uniform(0, 0.05))
        kill(instance, scene)
        until_none(scene, "Widget", "Role", "Gadget")


def test_who_waits_in_the_foreground_still_waits(instance, scene):
    holder = scene.make("StatefulSet", "front")
    scene.make("Gadget", "blocks", [owner(holder, blockOwnerDeletion=True)], finalizers=HOLD)
    scene.remove("StatefulSet", "front", propagationPolicy="Foreground")
    kill(instance, scene)
    scene.until_deleting("Gadget", "blocks")
    scene.settle()
    same = scene.read("StatefulSet", "front")["metadata"]["finalizers"]
    assert same == ["foregroundDeletion"], same
    kill(instance, scene)
    scene.change("Gadget", "blocks", {"finalizers": None})
    scene.until_gone(("Gadget", "blocks"), ("StatefulSet", "front"))


def test_no_orphan_goes(instance, scene):
    """Kinds are listed one after the other at the start: none may be overlooked."""
    for _ in range(ROUNDS):
        for kind in ("Widget", "ConfigMap"):
            holder = scene.make(kind, "leaves")
            for i in range(COUNT):
                scene.make("Gadget" if i % 2 else "Lease", f"many-{i}", [owner(holder)])
            scene.remove(kind, "leaves", propagationPolicy="Orphan")
            kill(instance, scene)
            scene.until_gone((kind, "leaves"))
            scene.settle()
            for kind_left in ("Gadget", "Lease"):
                _, found = scene.api.get(scene.path(kind_left))
                left = [item for item in found["items"]
                        if item["metadata"]["name"].startswith("many-")]
                assert len(left) == COUNT // 2, len(left)
                assert not any(owners(item) for item in left), left
                assert not any("deletionTimestamp" in item["metadata"] for item in left), left
                assert scene.api.request("DELETE", scene.path(kind_left))[0] == 200


def test_a_definition_goes_on_going(instance, scene):
    scene.define("Passing")
    for i in range(COUNT):
        passing = scene.make("Passing", f"many-{i}", finalizers=HOLD if i == 0 else [])
        scene.make("Role", f"many-{i}", [owner(passing)])
    scene.undefine("Passing")
    kill(instance, scene)
    wait_for(lambda: names(scene, "Passing") == {"many-0"}, TIMEOUT, "the others to go")
    wait_for(lambda: names(scene, "Role") == {"many-0"}, TIMEOUT, "their Roles to go")
    scene.change("Passing", "many-0", {"finalizers": None})
    until_none(scene, "Role")
    wait_for(lambda: scene.api.get(scene.path("Passing"))[0] == 404, TIMEOUT, "the kind to go")
    # Of such owners nothing is known any more: kube-apiserver's collector asks for them by name.
    scene.make("ConfigMap", "afterwards", [absent("Passing")])
    scene.stay(("ConfigMap", "afterwards"))


if __name__ == "__main__":
    with Instance() as started:
        os.environ["KUBECONFIG"] = started.kubeconfig
        tap.main(globals(), (started, Scene()))
