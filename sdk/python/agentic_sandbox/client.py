# SPDX-License-Identifier: Apache-2.0
"""SandboxClient: one claimed sandbox, from its claim to its end."""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from . import kubeconfig
from .errors import KubernetesError, SandboxError, SandboxRequestError
from .http import HttpServer, NotConnected, Response
from .kube import KubernetesApi
from .tunnel import ROUTER_SERVICE, Tunnel

log = logging.getLogger("agentic_sandbox")

CLAIM_API = "extensions.agents.x-k8s.io"
SANDBOX_API = "agents.x-k8s.io"
GATEWAY_API = "gateway.networking.k8s.io/v1"
TRACE_ANNOTATION = "opentelemetry.io/trace-context"
POD_NAME_ANNOTATION = "agents.x-k8s.io/pod-name"
ROUTER_NAMESPACE = "agent-sandbox-system"

RETRIES = 5
RETRY_PAUSE = 0.5  # doubled each time
RETRY_STATUSES = (500, 502, 503, 504)
PIECE = 1 << 16
COMMAND_MARGIN = 10.0  # that an answer may take beyond its command's limit

# What a claim's Ready condition says when waiting on would be in vain.
FINAL_REASONS = frozenset((
    "TemplateNotFound", "WarmPoolNotFound", "InvalidMetadata", "InvalidConfiguration",
    "EnvVarsInjectionRejected", "VolumeClaimTemplatesError", "ClaimExpired", "SandboxExpired",
    "PodFailed", "PodSucceeded"))


@dataclass
class ExecutionResult:
    """What a command gave.

    Attributes:
        stdout: its standard output, bytes that are no UTF-8 replaced.
        stderr: its standard error.
        exit_code: its exit status; -N if signal N ended it.
        timed_out: whether it was killed for running too long.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = -1
    timed_out: bool = False


@dataclass
class FileEntry:
    """A file or directory inside the sandbox.

    Attributes:
        name: its name in its directory.
        size: bytes.
        type: "file" or "directory".
        mod_time: seconds since the epoch of its last modification.
    """

    name: str
    size: int
    type: str
    mod_time: float


class SandboxClient:
    """A sandbox of one's own, as a context manager.

    Entering creates a SandboxClaim, waits until its sandbox is ready and finds the way to it;
    leaving deletes the claim, and with it the sandbox.

    Args:
        template_name: the SandboxTemplate (a v1alpha1 claim). A warm pool of it makes it fast.
        namespace: where the claim is made.
        gateway_name: a Gateway whose address leads to the sandbox router.
        gateway_namespace: where that Gateway is.
        api_url: the router's URL, if it is known; then nothing is looked for.
        server_port: the port that the runtime inside the sandbox listens on.
        sandbox_ready_timeout: seconds to wait for the sandbox.
        gateway_ready_timeout: seconds to wait for the Gateway's address.
        port_forward_ready_timeout: seconds to wait for `kubectl port-forward`.
        warmpool: the SandboxWarmPool (a v1beta1 claim), in place of a template.

    Attributes:
        claim_name: the SandboxClaim; None before entering.
        sandbox_name: the Sandbox.
        pod_name: the Pod that runs it.
        annotations: the Sandbox's annotations.
        base_url: where requests go; None until it is found.
    """

    def __init__(
        self,
        template_name: Optional[str] = None,
        namespace: str = "default",
        gateway_name: Optional[str] = None,
        gateway_namespace: str = "default",
        api_url: Optional[str] = None,
        server_port: int = 8888,
        sandbox_ready_timeout: float = 180,
        gateway_ready_timeout: float = 180,
        port_forward_ready_timeout: float = 30,
        *,
        warmpool: Optional[str] = None,
    ) -> None:
        if bool(template_name) == bool(warmpool):
            raise ValueError("either template_name or warmpool is needed")
        self.template_name = template_name
        self.warmpool = warmpool
        self.namespace = namespace
        self.gateway_name = gateway_name
        self.gateway_namespace = gateway_namespace
        self.base_url = api_url
        self.server_port = server_port
        self.sandbox_ready_timeout = sandbox_ready_timeout
        self.gateway_ready_timeout = gateway_ready_timeout
        self.port_forward_ready_timeout = port_forward_ready_timeout

        self.claim_name: Optional[str] = None
        self.sandbox_name: Optional[str] = None
        self.pod_name: Optional[str] = None
        self.annotations: Optional[Dict[str, str]] = None

        self._version = "v1beta1" if warmpool else "v1alpha1"
        self._pod_ip: Optional[str] = None  # None: to be asked for
        self._api_url = api_url
        self._tunnel: Optional[Tunnel] = None
        self._router: Optional[HttpServer] = None
        self._api = KubernetesApi(kubeconfig.load())

    # ---- its life ----

    def __enter__(self) -> "SandboxClient":
        try:
            self._create_claim()
            self._wait_until_ready()
            self._find_router()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Deletes the claim and ends the tunnel; a claim that cannot be deleted is only logged."""
        if self._router is not None:
            self._router.close()
            self._router = None
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None
        self.base_url = self._api_url
        if self.claim_name is not None:
            log.info("deleting SandboxClaim %s", self.claim_name)
            try:
                self._api.delete(f"{CLAIM_API}/{self._version}", "sandboxclaims", self.namespace,
                                 self.claim_name)
            except SandboxError as error:
                log.error("SandboxClaim %s/%s was not deleted: %s", self.namespace,
                          self.claim_name, error)
        self._api.close()

    def is_ready(self) -> bool:
        """Whether requests can be sent."""
        return self._router is not None

    @property
    def port_forward_process(self) -> Any:
        """The running `kubectl port-forward`, if there is one."""
        return self._tunnel.process if self._tunnel is not None else None

    def _create_claim(self) -> None:
        name = f"sandbox-claim-{os.urandom(4).hex()}"
        log.info("creating SandboxClaim %s of %s", name, self.template_name or self.warmpool)
        trace = _trace_context()
        api = f"{CLAIM_API}/{self._version}"
        self._api.create(api, "sandboxclaims", self.namespace, {
            "apiVersion": api,
            "kind": "SandboxClaim",
            "metadata": {"name": name,
                         "annotations": {TRACE_ANNOTATION: json.dumps(trace)} if trace else {}},
            "spec": {"warmPoolRef": {"name": self.warmpool}} if self.warmpool else
                    {"sandboxTemplateRef": {"name": self.template_name}},
        })
        self.claim_name, self.sandbox_name, self.pod_name = name, None, None

    def _wait_until_ready(self) -> None:
        assert self.claim_name is not None
        ready: Mapping[str, Any] = {}
        for claim in self._api.watch(f"{CLAIM_API}/{self._version}", "sandboxclaims",
                                     self.namespace, self.claim_name, self.sandbox_ready_timeout):
            if claim is None:
                raise SandboxError(f"SandboxClaim {self.claim_name} was deleted meanwhile")
            ready = _ready_condition(claim)
            name = _sandbox_name(claim)
            if ready.get("status") == "True" and name:
                self._note_sandbox(name)
                return
            if ready.get("reason") in FINAL_REASONS:
                raise SandboxError(f"Sandbox {self.claim_name} will not be ready: "
                                   f"{ready['reason']}: {ready.get('message', '')}")
        why = f"{ready.get('reason', '')}: {ready.get('message', '')}" if ready else \
            "its claim has no condition yet, is a controller running?"
        raise TimeoutError(f"Sandbox {self.claim_name} was not ready within "
                           f"{self.sandbox_ready_timeout:g} seconds: {why}")

    def _get_sandbox(self, name: str) -> Dict[str, Any]:
        return self._api.get(f"{SANDBOX_API}/{self._version}", "sandboxes", self.namespace, name)

    def _note_sandbox(self, name: str) -> None:
        """A member of a pool may have a name of its own, and its Pod too."""
        sandbox = self._get_sandbox(name)
        self.annotations = sandbox["metadata"].get("annotations") or {}
        self.sandbox_name = name
        self.pod_name = self.annotations.get(POD_NAME_ANNOTATION) or name
        self._pod_ip = _pod_ip(sandbox)
        log.info("Sandbox %s is ready, its Pod is %s", self.sandbox_name, self.pod_name)

    def _find_router(self) -> None:
        if self.base_url is None and self.gateway_name is not None:
            self.base_url = self._wait_for_gateway()
        elif self.base_url is None:
            self._tunnel = Tunnel(self._router_namespace(), self.port_forward_ready_timeout)
            self.base_url = f"http://127.0.0.1:{self._tunnel.port}"
        self._router = HttpServer(self.base_url)
        log.info("using the router at %s", self.base_url)

    def _router_namespace(self) -> str:
        """Guides put a router beside their sandboxes; the built-in one has a namespace of its own."""
        try:
            self._api.get("v1", "services", self.namespace, ROUTER_SERVICE)
        except KubernetesError as error:
            if error.status_code in (403, 404):
                return ROUTER_NAMESPACE
            raise
        return self.namespace

    def _wait_for_gateway(self) -> str:
        assert self.gateway_name is not None
        for gateway in self._api.watch(GATEWAY_API, "gateways", self.gateway_namespace,
                                       self.gateway_name, self.gateway_ready_timeout):
            for address in ((gateway or {}).get("status") or {}).get("addresses") or []:
                host = address.get("value")
                if host:
                    return f"http://[{host}]" if host.count(":") > 1 else f"http://{host}"
        raise TimeoutError(f"Gateway {self.gateway_namespace}/{self.gateway_name} had no address "
                           f"within {self.gateway_ready_timeout:g} seconds")

    # ---- requests ----

    def _send(self, method: str, endpoint: str, body: Any, headers: Mapping[str, str],
              timeout: Optional[float]) -> Response:
        if self._router is None:
            raise SandboxError("the sandbox is not ready: use the client in a with block")
        crashed = self._tunnel.crashed() if self._tunnel is not None else None
        if crashed:
            raise SandboxError(crashed)
        assert self.sandbox_name is not None
        return self._router.request(method, f"/{endpoint}", body, {
            "X-Sandbox-ID": self.sandbox_name,
            "X-Sandbox-Namespace": self.namespace,
            "X-Sandbox-Port": str(self.server_port),
            **self._address(), **_trace_context(), **headers}, timeout)

    def _address(self) -> Dict[str, str]:
        """For routers that may not read Sandboxes and find no name: the Pod's address, if known."""
        if self._pod_ip is None:
            assert self.sandbox_name is not None
            try:
                self._pod_ip = _pod_ip(self._get_sandbox(self.sandbox_name))
            except SandboxError as error:
                self._pod_ip = ""
                log.debug("the Pod's address is not known: %s", error)
        return {"X-Sandbox-Pod-IP": self._pod_ip} if self._pod_ip else {}

    def _request(self, method: str, endpoint: str, body: Any = None,
                 headers: Optional[Mapping[str, str]] = None, timeout: Optional[float] = 60,
                 repeat: bool = True) -> Response:
        """The answer, whose status is below 400.

        With `repeat` false only what certainly did not run is sent again; a body that is no bytes
        is never sent twice.
        """
        pause = RETRY_PAUSE
        may_repeat = body is None or isinstance(body, bytes)
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            try:
                response = self._send(method, endpoint, body, headers or {}, timeout)
            except NotConnected as error:
                self._pod_ip = None
                if last:
                    raise SandboxRequestError(f"the sandbox router does not answer: {error}") \
                        from error
            except OSError as error:
                self._pod_ip = None
                raise SandboxRequestError(
                    f"no answer to {method} /{endpoint} at {self.base_url}: {error}") from error
            else:
                if response.status < 400:
                    return response
                text = response.read()
                if response.status >= 500:
                    self._pod_ip = None  # it may have another one now
                held = response.status == 503 and "Retry-After" in response.headers
                if last or not may_repeat or response.status not in RETRY_STATUSES or not (
                        repeat or held):
                    raise SandboxRequestError(
                        f"{method} /{endpoint} at {self.base_url}: HTTP {response.status}: "
                        f"{text[:500].decode(errors='replace')}", response.status, text)
            time.sleep(pause)
            pause *= 2
        raise AssertionError("not reached")

    def _read(self, response: Response) -> bytes:
        try:
            return response.read()
        except OSError as error:
            raise SandboxRequestError(f"the sandbox's answer was cut off: {error}") from error

    def _json(self, response: Response) -> Any:
        text = self._read(response)
        try:
            return json.loads(text)
        except ValueError as error:
            raise SandboxRequestError(
                f"the sandbox's answer is no JSON: {text[:200]!r}", response.status, text) from error

    # ---- what one does with a sandbox ----

    def run(self, command: str, timeout: Optional[float] = 60,
            command_timeout: Optional[float] = None) -> ExecutionResult:
        """Runs a command line and returns its output and exit code, whatever that is.

        The line is split into words as a shell would, but no shell runs it: write
        `sh -c '…'` for pipes and variables.

        Args:
            command: the command line.
            timeout: seconds to wait for the answer; None waits without limit.
            command_timeout: seconds after which the sandbox ends the command, which the result's
                `timed_out` tells. Without it the runtime's own limit holds.
        """
        body: Dict[str, Any] = {"command": command}
        headers = {"Content-Type": "application/json"}
        if command_timeout is not None:
            body["timeout_seconds"] = command_timeout
            headers["X-Sandbox-Timeout"] = f"{command_timeout + COMMAND_MARGIN:g}"
            if timeout is not None:
                timeout = max(timeout, command_timeout + COMMAND_MARGIN)
        answer = self._json(self._request(
            "POST", "execute", json.dumps(body).encode(), headers, timeout, repeat=False))
        return ExecutionResult(answer.get("stdout", ""), answer.get("stderr", ""),
                               answer.get("exit_code", -1), bool(answer.get("timed_out")))

    def write(self, path: str, content: Union[bytes, str, BinaryIO],
              timeout: Optional[float] = 60) -> None:
        """Writes a file, whole or not at all; missing directories are made.

        Args:
            path: relative to the runtime's directory.
            content: bytes, text (as UTF-8), or an open binary file, which is sent piece by piece.
            timeout: seconds to wait for each step of the transfer.
        """
        head, tail, boundary = _form(path)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if isinstance(content, str):
            content = content.encode()
        body: Any = head + content + tail if isinstance(content, (bytes, bytearray)) else \
            _pieces(head, content, tail)
        self._read(self._request("POST", "upload", body, headers, timeout))

    def read(self, path: str, timeout: Optional[float] = 60) -> bytes:
        """The contents of a file."""
        return self._read(self._request("GET", f"download/{_quote(path)}", timeout=timeout))

    def read_to(self, path: str, file: BinaryIO, timeout: Optional[float] = 60) -> int:
        """Copies a file of any size into an open one; returns its size in bytes."""
        size = 0
        with self._request("GET", f"download/{_quote(path)}", timeout=timeout) as response:
            try:
                while True:
                    data = response.read(PIECE)
                    if not data:
                        break
                    size += len(data)
                    file.write(data)
            except ConnectionError as error:
                raise SandboxRequestError(f"the sandbox's answer was cut off: {error}") from error
        expected = response.headers.get("Content-Length")
        if expected is not None and int(expected) != size:
            raise SandboxRequestError(f"got {size} bytes of {expected}", response.status)
        return size

    def list(self, path: str = "", timeout: Optional[float] = 60) -> List[FileEntry]:
        """What is in a directory."""
        entries = self._json(self._request("GET", f"list/{_quote(path)}", timeout=timeout))
        return [FileEntry(entry["name"], entry["size"], entry["type"],
                          float(entry.get("mod_time") or 0)) for entry in entries or []]

    def exists(self, path: str, timeout: Optional[float] = 60) -> bool:
        """Whether there is a file or directory of that path."""
        answer = self._json(self._request("GET", f"exists/{_quote(path)}", timeout=timeout))
        return bool(answer.get("exists"))


def _ready_condition(claim: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in (claim.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return dict(condition)
    return {}


def _sandbox_name(claim: Mapping[str, Any]) -> str:
    """Of a claim's status; early controllers wrote it with a capital."""
    sandbox = (claim.get("status") or {}).get("sandbox") or {}
    return str(sandbox.get("name") or sandbox.get("Name") or "")


def _pod_ip(sandbox: Mapping[str, Any]) -> str:
    """The Pod's first address, IPv4 before IPv6, or ""."""
    entries = (sandbox.get("status") or {}).get("podIPs") or []
    addresses = [entry.get("ip", "") if isinstance(entry, dict) else str(entry)
                 for entry in entries]
    return next((address for address in addresses if "." in address),
                addresses[0] if addresses else "")


def _trace_context() -> Dict[str, str]:
    """The headers of the caller's trace, where OpenTelemetry is in use."""
    try:
        from opentelemetry import propagate
    except ImportError:
        return {}
    carrier: Dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def _quote(path: str) -> str:
    return urllib.parse.quote(path, safe="")


def _form(path: str) -> Tuple[bytes, bytes, str]:
    """Head, tail and boundary of a form with one file; its name is the destination."""
    if not path.strip("/ "):
        raise ValueError(f"{path!r} names no file")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        raise ValueError(f"{path!r} has control characters")
    boundary = f"--------{os.urandom(16).hex()}"
    name = path.replace("\\", "\\\\").replace('"', '\\"')
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n").encode()
    return head, f"\r\n--{boundary}--\r\n".encode(), boundary


def _pieces(head: bytes, file: BinaryIO, tail: bytes) -> Iterator[bytes]:
    yield head
    while True:
        data = file.read(PIECE)
        if not data:
            break
        yield data
    yield tail
