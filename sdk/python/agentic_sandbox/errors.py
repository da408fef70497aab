# SPDX-License-Identifier: Apache-2.0
"""What this package raises, besides ValueError for bad arguments and TimeoutError."""

from __future__ import annotations

from typing import Optional


class SandboxError(RuntimeError):
    """Something between here and the sandbox does not work; the text says what and what to do."""


class KubernetesError(SandboxError):
    """The Kubernetes API refused a request.

    Attributes:
        status_code: the HTTP status.
        reason: the machine-readable reason of the answer ("NotFound"), or "".
    """

    def __init__(self, message: str, status_code: int, reason: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.reason = reason


class SandboxRequestError(SandboxError):
    """A request to the sandbox failed.

    Attributes:
        status_code: the HTTP status, or None if there was no answer.
        body: the answer's body.
    """

    def __init__(self, message: str, status_code: Optional[int] = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body
