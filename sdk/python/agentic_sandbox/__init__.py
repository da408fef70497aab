# SPDX-License-Identifier: Apache-2.0
"""Claim a sandbox through the Kubernetes Agent Sandbox API, run commands in it, move files."""

from .client import ExecutionResult, FileEntry, SandboxClient
from .errors import KubernetesError, SandboxError, SandboxRequestError

__all__ = [
    "ExecutionResult",
    "FileEntry",
    "KubernetesError",
    "SandboxClient",
    "SandboxError",
    "SandboxRequestError",
]
