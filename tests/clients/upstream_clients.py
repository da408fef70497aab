#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run upstream's unmodified Python client, installed from PyPI, against a cluster and a router.

Each version gets a venv in a cache folder, made once. The sandboxes come from a warm pool, which is
made for the run unless one is named. Ends with the number of versions and ways that failed.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib import objects  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

PACKAGE = "k8s-agent-sandbox"
OLD = "0.5.6"


def find_python():
    """One that the package takes: 3.11 or newer."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        if path and subprocess.run(
                [path, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"],
                check=False).returncode == 0:
            return path
    sys.exit(f"{PACKAGE} needs Python 3.11 or newer with venv: apt-get install python3-venv")


def make_venv(cache, version, upgrade):
    """The python of a venv with that version; "newest" is looked up again only if asked."""
    folder = cache / f"{PACKAGE}-{version}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([find_python(), "-m", "venv", str(folder)], check=True)
        upgrade = True
    elif version != "newest":
        upgrade = False
    if upgrade:
        wanted = PACKAGE if version == "newest" else f"{PACKAGE}=={version}"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--upgrade",
                        "--disable-pip-version-check", wanted], check=True)
        (folder / "complete").touch()
    return python


def installed(python):
    shown = subprocess.run([str(python), "-m", "pip", "show", PACKAGE], check=True,
                           capture_output=True, text=True)
    return re.search(r"^Version: (\S+)", shown.stdout, re.M).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", default=os.environ.get("KUBECONFIG"))
    parser.add_argument("--router", help="its URL; without it only the tunnel is tried")
    parser.add_argument("--no-tunnel", action="store_true", help="try --router alone")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--pool", help="a SandboxWarmPool that is there")
    parser.add_argument("--versions", nargs="+", default=["newest", OLD])
    parser.add_argument("--upgrade", action="store_true", help="look for a newer newest")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(
        os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cay" / "clients")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("--kubeconfig or $KUBECONFIG is needed")

    options.cache.mkdir(parents=True, exist_ok=True)
    pythons = [make_venv(options.cache, version, options.upgrade) for version in options.versions]
    pool = options.pool or "upstream-clients"
    if not options.pool:
        api = Api(options.kubeconfig)
        objects.make_pool(api, pool, 2, options.namespace)
        wait_for(lambda: objects.ready_members(api, pool, options.namespace) == 2, 120,
                 "two ready members")
    ways = ([[options.router]] if options.router else []) + ([] if options.no_tunnel else [[]])
    failed = 0
    for python in pythons:
        for way in ways:
            print(f"# {PACKAGE} {installed(python)}, {'direct' if way else 'tunnel'}", flush=True)
            run = subprocess.run(
                [str(python), str(HERE / "scenario.py"), options.namespace, pool, *way],
                env={**os.environ, "KUBECONFIG": options.kubeconfig}, timeout=300, check=False)
            failed += run.returncode != 0
    if not options.pool:
        for resource in ("sandboxwarmpools", "sandboxtemplates"):
            api.request("DELETE", objects.path(resource, options.namespace, pool))
    sys.exit(failed)


if __name__ == "__main__":
    main()
