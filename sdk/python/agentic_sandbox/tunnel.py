# SPDX-License-Identifier: Apache-2.0
"""`kubectl port-forward` to the router, for callers outside the cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from typing import List, Optional

from .errors import SandboxError

ROUTER_SERVICE = "sandbox-router-svc"
ROUTER_PORT = 8080
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Tunnel:
    """A running port-forward; `port` is its local end. `process` is the kubectl."""

    def __init__(self, namespace: str, ready_timeout: float) -> None:
        if shutil.which("kubectl") is None:
            raise SandboxError("reaching the router needs kubectl in PATH, or api_url=")
        self.process = subprocess.Popen(
            ["kubectl", "port-forward", f"svc/{ROUTER_SERVICE}", f":{ROUTER_PORT}",
             "--address", "127.0.0.1", "-n", namespace],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.port = 0
        self._errors: List[str] = []
        self._ready = threading.Event()
        # Both are read to their end, so that kubectl never blocks on a full pipe.
        self._readers = [threading.Thread(target=self._read_output, daemon=True),
                         threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()
        ended = self._ready.wait(ready_timeout)
        if not self.port:
            self.close()
            if ended:
                raise SandboxError(self.failure("kubectl port-forward ended"))
            raise TimeoutError(
                f"kubectl port-forward was not ready within {ready_timeout} seconds")

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = FORWARDING.search(line)
            if found:
                self.port = int(found.group(1))
                self._ready.set()
        self._ready.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line.strip())
            del self._errors[:-20]

    def failure(self, what: str) -> str:
        """A sentence with what kubectl said last."""
        return f"{what}: {' '.join(self._errors)}" if self._errors else what

    def crashed(self) -> Optional[str]:
        """Why it ended, if it has."""
        if self.process.poll() is None:
            return None
        self._readers[1].join(1)
        return self.failure("kubectl port-forward ended")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(1)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
