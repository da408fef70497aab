#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Upstream's unmodified Python client, installed from PyPI, against a cluster and a router.

usage: KUBECONFIG=… CAY_ROUTER=ADDRESS:PORT upstream_clients.py      (an instance: see on_instance.py)

Each version gets a venv in a cache folder, made once, which needs a network; the newest version is
looked for again when it is a week old. The sandboxes come from a warm pool made for the run.
"""

import argparse
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib import objects  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

PACKAGE = "k8s-agent-sandbox"
VERSIONS = {"newest": "", "0.5.6": "==0.5.6"}
WAYS = ("direct", "tunnel", "address", "async", "sandboxd-tunnel", "sandboxd-address")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"), "cay",
                     "clients")
WEEK = 7 * 24 * 3600


class Missing(Exception):
    """What the machine lacks, as a sentence."""


def find_python():
    """One that the package takes: 3.11 or newer, able to make a venv with pip."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        if path and subprocess.run(
                [path, "-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"],
                check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return path
    raise Missing(f"{PACKAGE} needs Python 3.11 or newer with venv: apt-get install python3-venv")


def install(python, version, upgrade=False):
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         *(["--upgrade"] if upgrade else []), f"{PACKAGE}[async,grpc]{VERSIONS[version]}"],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Missing(f"{PACKAGE} {version} cannot be installed (is there a network?): "
                      f"{' '.join(done.stdout.split())[-300:]}")


def make_venv(version):
    """The python of a venv with that version."""
    folder = CACHE / f"{PACKAGE}-{version}"
    python, complete = folder / "bin" / "python", folder / "complete-grpc"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"# making {folder}", flush=True)
        subprocess.run([find_python(), "-m", "venv", str(folder)], check=True)
        install(python, version)
    elif version == "newest" and time.time() - complete.stat().st_mtime > WEEK:
        try:
            install(python, version, upgrade=True)
        except Missing as reason:
            print(f"# the one that is there serves on: {reason}", flush=True)
            return python
    else:
        return python
    complete.touch()
    return python


def version_of(python):
    shown = subprocess.run([str(python), "-c", "import importlib.metadata as m; "
                            f"print(m.version('{PACKAGE}'))"],
                           check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def knows_sandboxd(python):
    return subprocess.run([str(python), "-c", "from k8s_agent_sandbox import models as m; "
                           "m.SandboxdPodTunnelConnectionConfig"],
                          check=False, capture_output=True).returncode == 0


class Report:
    """One TAP stream of several programs' streams."""

    def __init__(self):
        self.count = self.failed = 0

    def add(self, passed, title):
        self.count += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - {title}", flush=True)

    def take(self, name, lines):
        for line in lines:
            test = re.match(r"(not )?ok \d+ - (.*)", line)
            if test:
                self.add(test.group(1) is None, f"{name}: {test.group(2)}")
            elif not re.match(r"1\.\.\d+$", line):
                print(line if line.startswith("#") else f"# {line}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed or not self.count else 0


def make_pool(api, name, namespace):
    template = objects.template(name)
    template["spec"]["envVarsInjectionPolicy"] = "Allowed"
    api.create(objects.path("sandboxtemplates", namespace), template)
    api.create(objects.path("sandboxwarmpools", namespace), objects.warm_pool(name, name, 2))
    wait_for(lambda: objects.ready_members(api, name, namespace) == 2, 120, "two ready members")


def run(report, python, way, options):
    name = f"{version_of(python)} {way}"
    program = subprocess.run(
        [str(python), "-B", str(HERE / "scenario.py"), way, options.namespace, options.pool,
         options.router],
        env={**os.environ, "KUBECONFIG": options.kubeconfig}, timeout=300, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    failed, before = report.failed, report.count
    report.take(name, program.stdout.splitlines())
    if (program.returncode != 0 and report.failed == failed) or report.count == before:
        report.add(False, f"{name}: the program ended with {program.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", default=os.environ.get("KUBECONFIG"))
    parser.add_argument("--router", default="http://" + os.environ.get("CAY_ROUTER", "127.0.0.1:8080"),
                        help="its URL")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--pool", default="upstream-clients", help="how to call the pool")
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), choices=list(VERSIONS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("--kubeconfig or $KUBECONFIG is needed")

    report = Report()
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with open(CACHE / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            pythons = [make_venv(version) for version in options.versions]
    except Missing as reason:
        report.add(False, str(reason))
        sys.exit(report.end())
    api = Api(options.kubeconfig)
    make_pool(api, options.pool, options.namespace)
    for python in pythons:
        has_sandboxd = knows_sandboxd(python)
        for way in options.ways:
            if has_sandboxd or not way.startswith("sandboxd"):
                run(report, python, way, options)
    api.close()  # it was idle for long
    for resource in ("sandboxwarmpools", "sandboxtemplates"):
        api.request("DELETE", objects.path(resource, options.namespace, options.pool))
    sys.exit(report.end())


if __name__ == "__main__":
    main()
