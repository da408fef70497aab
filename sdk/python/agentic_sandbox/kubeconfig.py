# SPDX-License-Identifier: Apache-2.0
"""Where the Kubernetes API is and who we are: in-cluster, or by kubeconfig as kubectl reads it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

from .errors import SandboxError

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass
class Cluster:
    """A Kubernetes API: its URL, its TLS, and the header that says who asks."""

    server: str
    tls: Optional[ssl.SSLContext]
    authorization: Callable[[], Optional[str]] = field(default=lambda: None)


def load(path: Optional[str] = None) -> Cluster:
    """The cluster of `path`, else of this Pod, else of $KUBECONFIG or ~/.kube/config."""
    if path is None and os.environ.get("KUBERNETES_SERVICE_HOST") and os.path.exists(
            os.path.join(SERVICE_ACCOUNT, "token")):
        return _in_cluster()
    return _from_document(*_read(path))


def _in_cluster() -> Cluster:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    if ":" in host:
        host = f"[{host}]"
    tls = ssl.create_default_context(cafile=os.path.join(SERVICE_ACCOUNT, "ca.crt"))
    token = os.path.join(SERVICE_ACCOUNT, "token")
    return Cluster(f"https://{host}:{port}", tls, lambda: "Bearer " + _contents(token).strip())


def _contents(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


# ---- reading the file ----

def _read(path: Optional[str]) -> Tuple[Dict[str, Any], str]:
    """The kubeconfig as a document, and the folder that its relative paths start from."""
    paths = [path] if path else [
        part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part
    ] or [os.path.expanduser("~/.kube/config")]
    present = [part for part in paths if os.path.exists(part)]
    if not present:
        raise SandboxError(f"there is no kubeconfig at {paths[0]}: set KUBECONFIG to yours")
    if len(present) > 1:
        return _ask_kubectl(present), os.path.dirname(os.path.abspath(present[0]))
    return _parse(present[0]), os.path.dirname(os.path.abspath(present[0]))


def _parse(path: str) -> Dict[str, Any]:
    text = _contents(path)
    document: Any = None
    try:
        document = json.loads(text)
    except ValueError:
        try:
            import yaml
        except ImportError:
            document = _ask_kubectl([path])
        else:
            try:
                document = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise SandboxError(f"the kubeconfig {path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise SandboxError(f"the kubeconfig {path} holds no mapping")
    return document


def _ask_kubectl(paths: List[str]) -> Dict[str, Any]:
    """kubectl merges several files, and reads YAML where PyYAML is missing."""
    if shutil.which("kubectl") is None:
        raise SandboxError(f"reading {paths[0]} needs PyYAML or kubectl: pip install PyYAML")
    run = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--flatten", "-o", "json"], check=False,
        env={**os.environ, "KUBECONFIG": os.pathsep.join(paths)}, capture_output=True, text=True)
    if run.returncode != 0:
        raise SandboxError(f"kubectl cannot read {paths[0]}: {run.stderr.strip()}")
    document: Dict[str, Any] = json.loads(run.stdout)
    return document


# ---- understanding it ----

def _named(document: Dict[str, Any], section: str, name: str, key: str) -> Dict[str, Any]:
    for item in document.get(section) or []:
        if item.get("name") == name:
            return item.get(key) or {}
    raise SandboxError(f"the kubeconfig names {key} {name!r} but has none of that name")


def _from_document(document: Dict[str, Any], folder: str) -> Cluster:
    current = document.get("current-context")
    if not current:
        raise SandboxError("the kubeconfig has no current-context: kubectl config use-context NAME")
    context = _named(document, "contexts", current, "context")
    cluster = _named(document, "clusters", context.get("cluster", ""), "cluster")
    user = _named(document, "users", context["user"], "user") if context.get("user") else {}
    server = cluster.get("server")
    if not server:
        raise SandboxError(f"the kubeconfig's cluster {context.get('cluster')!r} has no server")
    if cluster.get("proxy-url"):
        raise SandboxError("proxy-url in a kubeconfig is not supported by this client")
    tls = _tls(cluster, folder) if server.startswith("https:") else None
    return Cluster(server.rstrip("/"), tls, _credentials(user, folder, tls))


def _bytes_of(section: Dict[str, Any], key: str, folder: str) -> Optional[bytes]:
    """What `key`-data holds or the file `key` names; None if there is neither."""
    data = section.get(f"{key}-data")
    if data:
        return base64.b64decode(data)
    if not section.get(key):
        return None
    with open(os.path.join(folder, section[key]), "rb") as file:
        return file.read()


def _tls(cluster: Dict[str, Any], folder: str) -> ssl.SSLContext:
    authority = _bytes_of(cluster, "certificate-authority", folder)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if cluster.get("tls-server-name"):
        raise SandboxError("tls-server-name in a kubeconfig is not supported by this client")
    return tls


def _use_certificate(tls: Optional[ssl.SSLContext], certificate: bytes, key: bytes) -> None:
    if tls is None:
        return
    with tempfile.TemporaryDirectory() as folder:  # ssl loads keys from files only; mode 0700
        path = os.path.join(folder, "both.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(certificate + b"\n" + key)
        tls.load_cert_chain(path)


def _credentials(user: Dict[str, Any], folder: str,
                 tls: Optional[ssl.SSLContext]) -> Callable[[], Optional[str]]:
    certificate = _bytes_of(user, "client-certificate", folder)
    key = _bytes_of(user, "client-key", folder)
    if certificate and key:
        _use_certificate(tls, certificate, key)
    if user.get("token"):
        token = user["token"]
        return lambda: f"Bearer {token}"
    if user.get("tokenFile"):
        path = os.path.join(folder, user["tokenFile"])
        return lambda: "Bearer " + _contents(path).strip()
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return lambda: "Basic " + base64.b64encode(pair).decode()
    if user.get("exec"):
        return _from_program(user["exec"], folder, tls)
    if user.get("auth-provider"):
        raise SandboxError("auth-provider in a kubeconfig is not supported: use exec")
    return lambda: None


def _from_program(settings: Dict[str, Any], folder: str,
                  tls: Optional[ssl.SSLContext]) -> Callable[[], Optional[str]]:
    """Asks a client-go credential program once."""
    info = {"apiVersion": settings.get("apiVersion"), "kind": "ExecCredential",
            "spec": {"interactive": False}}
    environment = {item["name"]: item["value"] for item in settings.get("env") or []}
    command = settings["command"]
    if os.sep in command:
        command = os.path.join(folder, command)
    try:
        run = subprocess.run(
            [command, *(settings.get("args") or [])], check=True, capture_output=True, text=True,
            env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": json.dumps(info)})
        status = json.loads(run.stdout).get("status") or {}
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SandboxError(f"the credential program {command} failed: {error}") from error
    if status.get("clientCertificateData") and status.get("clientKeyData"):
        _use_certificate(tls, status["clientCertificateData"].encode(),
                         status["clientKeyData"].encode())
    token = status.get("token")
    return lambda: f"Bearer {token}" if token else None
