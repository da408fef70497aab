# SPDX-License-Identifier: Apache-2.0
"""The few calls of the Kubernetes API that the client makes."""

from __future__ import annotations

import json
import time
import urllib.parse
from typing import Any, Dict, Iterator, Optional

from .errors import KubernetesError, SandboxError
from .http import HttpServer, Response
from .kubeconfig import Cluster

REQUEST_TIMEOUT = 30.0
WATCH_MARGIN = 15.0  # beyond the time that a watch is asked to last


class KubernetesApi:
    """Namespaced resources of one cluster, as dictionaries."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._server = HttpServer(cluster.server, cluster.tls)

    def close(self) -> None:
        self._server.close()

    def _request(self, method: str, path: str, body: Optional[Dict[str, Any]] = None,
                 timeout: float = REQUEST_TIMEOUT) -> Response:
        headers = {"Accept": "application/json", "User-Agent": "agentic_sandbox"}
        authorization = self._cluster.authorization()
        if authorization:
            headers["Authorization"] = authorization
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            response = self._server.request(method, path, data, headers, timeout)
        except OSError as error:
            raise SandboxError(
                f"the Kubernetes API at {self._cluster.server} does not answer: {error}") from error
        if response.status >= 400:
            raise _error_of(method, path, response.status, response.read())
        return response

    def create(self, api_version: str, plural: str, namespace: str,
               body: Dict[str, Any]) -> Dict[str, Any]:
        return _object(self._request("POST", _path(api_version, plural, namespace), body))

    def get(self, api_version: str, plural: str, namespace: str, name: str) -> Dict[str, Any]:
        return _object(self._request("GET", _path(api_version, plural, namespace, name)))

    def delete(self, api_version: str, plural: str, namespace: str, name: str) -> None:
        """Deletes it; that it is gone already is no error."""
        try:
            self._request("DELETE", _path(api_version, plural, namespace, name)).read()
        except KubernetesError as error:
            if error.status_code != 404:
                raise

    def watch(self, api_version: str, plural: str, namespace: str, name: str,
              timeout: float) -> Iterator[Optional[Dict[str, Any]]]:
        """States of one object as they come, from the present one on, for `timeout` seconds.

        None stands for its deletion. A watch that ends early is begun anew.
        """
        deadline = time.monotonic() + timeout
        pause = 0.0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            query = urllib.parse.urlencode({
                "fieldSelector": f"metadata.name={name}", "watch": "true",
                "timeoutSeconds": str(max(1, int(left + 0.999)))})
            path = f"{_path(api_version, plural, namespace)}?{query}"
            try:
                with self._request("GET", path, timeout=left + WATCH_MARGIN) as response:
                    pause = 0.1
                    for event in _events(response):
                        if event.get("type") == "ERROR":
                            break
                        if event.get("type") in ("ADDED", "MODIFIED"):
                            yield event["object"]
                        elif event.get("type") == "DELETED":
                            yield None
                        if time.monotonic() > deadline:
                            return
            except KubernetesError as error:
                if error.status_code not in (410, 429) and error.status_code < 500:
                    raise
                pause = min(2.0, pause * 2 + 0.1)
            except (OSError, SandboxError):  # it may be starting again
                pause = min(2.0, pause * 2 + 0.1)
            time.sleep(max(0.0, min(pause, deadline - time.monotonic())))


def _object(response: Response) -> Dict[str, Any]:
    document: Dict[str, Any] = json.loads(response.read())
    return document


def _events(response: Response) -> Iterator[Dict[str, Any]]:
    while True:
        line = response.readline()
        if not line.endswith(b"\n"):
            return
        yield json.loads(line)


def _path(api_version: str, plural: str, namespace: str, name: str = "") -> str:
    root = "apis" if "/" in api_version else "api"
    path = f"/{root}/{api_version}/namespaces/{urllib.parse.quote(namespace, safe='')}/{plural}"
    return f"{path}/{urllib.parse.quote(name, safe='')}" if name else path


def _error_of(method: str, path: str, status: int, body: bytes) -> KubernetesError:
    """From the Status that the API answers with; its message is written for people."""
    try:
        document = json.loads(body)
        message, reason = document.get("message") or "", document.get("reason") or ""
    except (ValueError, AttributeError):
        message, reason = body[:200].decode(errors="replace"), ""
    if status == 401:
        message = message or "Unauthorized: the kubeconfig's credentials are not accepted"
    return KubernetesError(message or f"{method} {path.partition('?')[0]}: HTTP {status}", status,
                           reason)
