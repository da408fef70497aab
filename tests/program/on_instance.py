#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test program against an instance of its own: on_instance.py [OPTION…] PROGRAM [ARGUMENT…]

Options are those of `cay up`, written --name=value. The program finds KUBECONFIG, CAY_DATA and CAY_ROUTER in its environment.
"""

import itertools
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.instance import Instance  # noqa: E402


def main():
    arguments = list(itertools.dropwhile(lambda word: word.startswith("--"), sys.argv[1:]))
    options = sys.argv[1:-len(arguments)]
    with Instance(options=options) as instance:
        done = subprocess.run([sys.executable, *arguments], check=False,
                              env={**os.environ, "KUBECONFIG": instance.kubeconfig,
                                   "CAY_DATA": instance.data, "CAY_ROUTER": instance.router})
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
