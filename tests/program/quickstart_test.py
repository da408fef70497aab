#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/quickstart.md as printed: runs its `sh` blocks in order in one shell.

What a block prints must hold the lines of the `text` block behind it, in their order; "…" there
stands for anything. A block that fails ends the shell, so the blocks behind it fail, too.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import Instance  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
PART = re.compile(r"^## (?P<title>[^\n]+)$"
                  r"|^```sh\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<text>.*?)^```$)?", re.M | re.S)
MARK = "--quickstart-block--"


def blocks(page):
    """(title, code, expected lines) of each block, titled by its section and its number there."""
    section, number = "", 0
    for part in PART.finditer(page):
        if part["title"]:
            section, number = part["title"].lower(), 0
            continue
        number += 1
        yield f"{section} {number}", part["code"], (part["text"] or "").splitlines()


def run(codes, environment):
    """What each block printed, of those that began; one more, empty, when all succeeded."""
    script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n" + \
        "".join(f"echo {MARK}\n{code}" for code in codes) + f"echo {MARK}\n"
    with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["bash", file.name], cwd=ROOT, env=environment, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=540)
    return done.stdout.split(f"{MARK}\n")[1:]


def missing_line(expected, output):
    """The first expected line that does not follow those before it, or None."""
    lines = iter(output.splitlines())
    for line in expected:
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(found.rstrip()) for found in lines):
            return line
    return None


def check(index, expected, outputs):
    assert index < len(outputs), "not reached"
    assert index + 1 < len(outputs), f"failed:\n{outputs[index]}"
    line = missing_line(expected, outputs[index])
    assert line is None, f"{line!r} is missing in:\n{outputs[index]}"


def main():
    found = list(blocks(PAGE.read_text(encoding="utf-8")))
    assert found, f"{PAGE} has no blocks"
    with Instance() as instance:
        tools = os.path.dirname(os.path.abspath(instance.cay))
        outputs = run([code for _, code, _ in found], {
            **os.environ, "KUBECONFIG": instance.kubeconfig, "CAY_DATA": instance.data,
            "CAY_ROUTER": instance.router, "PATH": f"{tools}:{os.environ['PATH']}"})
        tests = {f"test_{title}": lambda i=index, text=expected: check(i, text, outputs)
                 for index, (title, _, expected) in enumerate(found)}
        tap.main(tests)


if __name__ == "__main__":
    main()
