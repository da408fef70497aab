# SPDX-License-Identifier: Apache-2.0
"""`cay controller` as a process on a control plane, ended with its test."""

import json
import os
import re
import signal
import urllib.error
import urllib.request

from lib.instance import wait_for
from lib.scene import same

CAY = os.environ.get("CAY")


class Controller:
    count = 0

    def __init__(self, plane, *options, url=False, **environment):
        """`url` and `environment` as in ControlPlane.start_controller()."""
        Controller.count += 1
        self.plane, self.name = plane, f"controller-{Controller.count}"
        self.process = plane.start_controller(CAY, *options, name=self.name, url=url, **environment)

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        """Its end must be in order, and its log without a key."""
        runs = self.process.poll() is None
        if runs:
            self.process.send_signal(signal.SIGCONT)
        self.plane.end(self.process)
        if kind is not None:
            return
        if runs:
            same(0, self.process.returncode)
        text = self.text()
        assert "PRIVATE" not in text and "LS0tLS1CRUdJTiBQ" not in text, text

    def text(self):
        return (self.plane.folder / f"{self.name}.log").read_text(encoding="utf-8")

    def log(self):
        """The lines, as objects."""
        return [json.loads(line) for line in self.text().splitlines(keepends=True)
                if line.endswith("\n")]

    def said(self, text):
        """The lines with that in their message."""
        return [line for line in self.log() if text in line["msg"]]

    def until_said(self, text, timeout=30):
        return wait_for(lambda: self.said(text), timeout, f"{self.name} to say: {text}", pause=0.05)

    def address(self, what):
        """Where it serves "health", "metrics", "conversion webhook"."""
        return self.until_said(f"{what} on ")[0]["msg"].split()[-1]

    def get(self, path):
        """(status, text) of its own endpoints."""
        address = self.address("metrics" if path == "/metrics" else "health")
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found.group(1)) if found else None

    def leads(self):
        return self.said("leading")

    def until_ready(self):
        wait_for(lambda: self.get("/readyz")[0] == 200, 60, f"{self.name} to be ready")
        return self

    def until_leading(self, timeout=60):
        wait_for(self.leads, timeout, f"{self.name} to lead", pause=0.01)
        return self

    def until_ended(self, timeout=10):
        return self.process.wait(timeout)
