#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test program against a real control plane of its own.

usage: on_control_plane.py [--controllers [--v1alpha1]] PROGRAM [ARGUMENT…]

The program finds KUBECONFIG and KUBECTL in its environment. With --controllers `cay controller`
and a fake node run, too; it fails if the controller did not run to its orderly end, was refused
anything, or has rights that it never used. With --v1alpha1 both versions are served, by the
controller's webhook; the rights are then judged by the other suites.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.control_plane import CONTROLLER_USER, ROOT, ControlPlane  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402


def is_exempt(right):
    """Not seen in these requests, but needed."""
    verb, _, resource = right
    return (verb == "list" or  # where streamed lists are not served
            resource.endswith("/finalizers") or  # asked for by the API server itself; so is this,
            right == ("delete", "", "persistentvolumeclaims") or  # to change who owns one
            right == ("update", "", "secrets") or  # a certificate that is old
            (verb, resource) == ("patch", "customresourcedefinitions") or  # webhook_test.py does
            (verb, resource) == ("patch", "sandboxwarmpools"))  # those of the first generation


def rules(plane):
    """Of every role in deploy/rbac.yaml."""
    found = json.loads(plane.kubectl("get", "-f", ROOT / "deploy/rbac.yaml", "-o", "json"))
    return [rule for each in found["items"] for rule in each.get("rules", ())]


def judge_rights(plane, used=True):
    """Whether the controller may do what it needs and, if asked `used`, nothing else."""
    requests = plane.requests(CONTROLLER_USER)
    refused = {request[:3] for request in requests if request[3] == 403}
    seen = {request[:3] for request in requests}
    granted = {(verb, group, resource) for rule in rules(plane)
               for group in rule["apiGroups"] for resource in rule["resources"]
               for verb in rule["verbs"]}
    unused = {right for right in granted - seen if used and not is_exempt(right)}
    for what, rights in (("refused", refused), ("never used", unused)):
        for verb, group, resource in sorted(rights):
            print(f"# {what}: {verb} {resource}.{group}")
    return not refused and not unused


def main():
    arguments = sys.argv[1:]
    controllers = arguments[0] == "--controllers"
    v1alpha1 = controllers and arguments[1] == "--v1alpha1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane(audit=controllers, v1alpha1=v1alpha1) as plane:
        if controllers:
            del arguments[:2 if v1alpha1 else 1]
            FakeNode(plane)
            controller = plane.start_controller(os.environ["CAY"], url=v1alpha1)
        if v1alpha1:
            plane.until_ready()
            plane.until_converting()
        done = subprocess.run([sys.executable, *arguments], check=False,
                              env={**os.environ, "KUBECONFIG": plane.kubeconfig,
                                   "KUBECTL": str(plane.programs / "kubectl")})
        if controllers:
            plane.end(controller)  # only then its watches are in the log
            if controller.returncode != 0:
                raise AssertionError(f"the controller ended with {controller.returncode}")
            if not judge_rights(plane, used=not v1alpha1):
                sys.exit(1)
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
