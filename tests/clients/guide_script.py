#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Install our SDK as a guide's user does, and run a script with it: ours, or the guide's as printed.

Usage: guide_script.py [GUIDE]      The guide's earlier steps must have been done; $KUBECONFIG is used.

With GUIDE, the text of a guide, the script of its section 7.2 is cut out of it; else warm_script.py
does the same. The SDK goes into a venv of its own. Passes when the output says what the guide
expects, the warm hit included.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SDK = pathlib.Path(__file__).resolve().parents[2] / "sdk" / "python"
OURS = pathlib.Path(__file__).resolve().with_name("warm_script.py")
SCRIPT = re.compile(r"^cat > test_sdk_warmpool\.py <<'EOF'\n(.*?)^EOF$", re.M | re.S)
EXPECTED = (
    r"^Sandbox created: sandbox-claim-[0-9a-f]{8}$", r"^Pod allocated: \S+$",
    r"^  stdout: Hello from SDK!$", r"^  exit_code: 0$",
    r"^  File written and read successfully$", r"^  Content: SDK test content$",
    r"^Pod was PRE-WARMED from WarmPool!$", r"^  Sandbox kernel: \S+$",
    r"^Core tests \(1-3\) passed!$", r"^Cleaning up port-forward")


def read_script(guide):
    if guide is None:
        return OURS.read_text(encoding="utf-8")
    found = SCRIPT.search(pathlib.Path(guide).read_text(encoding="utf-8"))
    if not found:
        sys.exit(f"{guide} has no test_sdk_warmpool.py in it")
    return found.group(1)


def install(folder):
    """The python of a venv in `folder` that has the SDK."""
    sdk = shutil.copytree(SDK, f"{folder}/sdk")  # pip builds inside of it
    subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
    python = f"{folder}/venv/bin/python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                           sdk], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"the SDK cannot be installed (pip needs a network for its build): {done.stdout}")
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True,
                            text=True).stdout
    if "agentic_sandbox" not in listed:
        sys.exit("pip list does not show agentic_sandbox")
    return python


def main():
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    source = read_script(sys.argv[1] if len(sys.argv) == 2 else None)
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder, "test_sdk_warmpool.py")
        script.write_text(source, encoding="utf-8")
        run = subprocess.run([install(folder), str(script)], cwd=folder, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    print(run.stdout)
    missing = [line for line in EXPECTED if not re.search(line, run.stdout, re.M)]
    for line in missing:
        print(f"not in the output: {line}")
    sys.exit(1 if missing or run.returncode else 0)


if __name__ == "__main__":
    main()
