#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the script of a guide's section 7.2 as printed, with our SDK installed as in its 7.1.

Usage: guide_script.py GUIDE      The guide's earlier steps must have been done; $KUBECONFIG is used.

The script is cut out of the guide's text, the SDK goes into a venv of its own. Passes when the
output says what the guide expects, the warm hit included, and the claim is gone afterwards.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SDK = pathlib.Path(__file__).resolve().parents[2] / "sdk" / "python"
SCRIPT = re.compile(r"^cat > test_sdk_warmpool\.py <<'EOF'\n(.*?)^EOF$", re.M | re.S)
EXPECTED = (
    r"^Sandbox created: sandbox-claim-[0-9a-f]{8}$", r"^Pod allocated: \S+$",
    r"^  stdout: Hello from SDK!$", r"^  exit_code: 0$",
    r"^  File written and read successfully$", r"^  Content: SDK test content$",
    r"^Pod was PRE-WARMED from WarmPool!$", r"^  Sandbox kernel: \S+$",
    r"^Core tests \(1-3\) passed!$", r"^Cleaning up port-forward")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = SCRIPT.search(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    if not found:
        sys.exit(f"{sys.argv[1]} has no test_sdk_warmpool.py in it")
    with tempfile.TemporaryDirectory() as folder:
        sdk = shutil.copytree(SDK, f"{folder}/sdk")  # pip builds inside of it
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        python = f"{folder}/venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        sdk], check=True)
        listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True,
                                text=True).stdout
        if "agentic_sandbox" not in listed:
            sys.exit("pip list does not show agentic_sandbox")
        script = pathlib.Path(folder, "test_sdk_warmpool.py")
        script.write_text(found.group(1), encoding="utf-8")
        run = subprocess.run([python, str(script)], cwd=folder, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    print(run.stdout)
    missing = [line for line in EXPECTED if not re.search(line, run.stdout, re.M)]
    for line in missing:
        print(f"not in the output: {line}")
    sys.exit(1 if missing or run.returncode else 0)


if __name__ == "__main__":
    main()
