# SPDX-License-Identifier: Apache-2.0
"""One HTTP server, over connections that are kept; by the standard library alone."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import urllib.parse
from typing import Any, List, Mapping, Optional


class NotConnected(OSError):
    """The request was not sent: nothing can have happened because of it."""


def _is_readable(sock: socket.socket) -> bool:
    """Of a connection where nothing is awaited: whether the server has closed it."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


class HttpServer:
    """Requests to one server. May be used by several threads at once."""

    def __init__(self, url: str, tls: Optional[ssl.SSLContext] = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        self.prefix = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._tls = tls
        self._idle: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def _connect(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        if self._secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            raise NotConnected(f"cannot connect to {self._host}:{self._port}: {error}") from error
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _take(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        """A kept connection that the server has not closed meanwhile, or a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if not _is_readable(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()
        return self._connect(timeout)

    def request(self, method: str, path: str, body: Any = None,
                headers: Optional[Mapping[str, str]] = None,
                timeout: Optional[float] = None) -> "Response":
        """Sends a request and waits for the answer's head.

        `body` is bytes or an iterable of bytes; without Content-Length in `headers` the latter is
        sent in chunks. Raises NotConnected if nothing was sent, other OSErrors otherwise.
        """
        connection = self._take(timeout)
        try:
            chunked = body is not None and not isinstance(body, bytes) and not any(
                name.lower() == "content-length" for name in headers or {})
            connection.request(method, self.prefix + path, body,
                               {**(headers or {}),
                                **({"Transfer-Encoding": "chunked"} if chunked else {})},
                               encode_chunked=chunked)
            return Response(self, connection, connection.getresponse())
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(f"{self._host}:{self._port} sent no HTTP answer: "
                                  f"{error or type(error).__name__}") from error
        except BaseException:
            connection.close()
            raise

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """Closes what is kept; later requests connect anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Response:
    """An answer whose body is still to come. Read it whole, or close it."""

    def __init__(self, server: HttpServer, connection: http.client.HTTPConnection,
                 response: http.client.HTTPResponse) -> None:
        self._server = server
        self._connection: Optional[http.client.HTTPConnection] = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def read(self, size: int = -1) -> bytes:
        """The rest of the body, or its next `size` bytes; b"" at its end."""
        try:
            data = self._response.read() if size < 0 else self._response.read(size)
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(f"the answer was cut off: {error}") from error
        except BaseException:
            self.close()
            raise
        if self._response.isclosed() and self._connection is not None:
            connection, self._connection = self._connection, None
            if self._response.will_close:
                connection.close()
            else:
                self._server.give_back(connection)
        return data

    def readline(self) -> bytes:
        """The next line of the body; b"" at its end."""
        try:
            return self._response.readline()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer was cut off: {error}") from error

    def close(self) -> None:
        """Gives the connection up, unless all of the body was read."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
