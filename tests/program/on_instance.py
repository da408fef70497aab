#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test program against an instance of its own: on_instance.py PROGRAM [ARGUMENT…]

The program finds KUBECONFIG, CAY_DATA and CAY_ROUTER in its environment.
"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.instance import Instance  # noqa: E402


def main():
    with Instance() as instance:
        done = subprocess.run([sys.executable, *sys.argv[1:]], check=False,
                              env={**os.environ, "KUBECONFIG": instance.kubeconfig,
                                   "CAY_DATA": instance.data, "CAY_ROUTER": instance.router})
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
