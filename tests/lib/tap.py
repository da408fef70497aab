# SPDX-License-Identifier: Apache-2.0
"""Runs the functions of a test program named test_* and reports them as TAP, and how long each took."""

import sys
import time
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


def main(namespace, arguments=()):
    """Calls each test_* function of `namespace` with `arguments`, in the order of the file."""
    tests = [(name, test) for name, test in namespace.items() if name.startswith("test_")]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        title, began = name[len("test_"):].replace("_", " "), time.monotonic()
        try:
            test(*arguments)
            print(f"ok {number} - {title}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {title} # SKIP {reason}", flush=True)
        except Exception:  # whatever it was, the next test is to run
            failed += 1
            print(f"not ok {number} - {title}", flush=True)
            traceback.print_exc()  # to stderr, which a runner shows of what failed
        print(f"# took {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(1 if failed else 0)
