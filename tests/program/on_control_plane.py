#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test program against a real control plane of its own.

usage: on_control_plane.py [--controllers] PROGRAM [ARGUMENT…]

The program finds KUBECONFIG and KUBECTL in its environment. With --controllers `cay controller`
and a fake node run, too.
"""

import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.control_plane import ControlPlane  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402


def main():
    arguments = sys.argv[1:]
    controllers = arguments[0] == "--controllers"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane() as plane:
        if controllers:
            arguments.pop(0)
            FakeNode(plane)
            plane.start_controller(os.environ["CAY"])
        done = subprocess.run([sys.executable, *arguments], check=False,
                              env={**os.environ, "KUBECONFIG": plane.kubeconfig,
                                   "KUBECTL": str(plane.programs / "kubectl")})
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
