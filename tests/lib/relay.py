# SPDX-License-Identifier: Apache-2.0
"""Stands between a client and kube-apiserver, without TLS, and notes how Pods are watched."""

import http.client
import http.server
import json
import pathlib

from lib.serving import Serving

PODS = "/api/v1/pods?"
LAST = b"k8s.io/initial-events-end"


class Relay(Serving):
    """A context manager; clients come with `kubeconfig`.

    `accept` is asked for in place of what the client does; `spoiled` is put into the first watch of
    Pods once that has told of all that there is.
    """

    def __init__(self, plane, accept=None, spoiled=None):
        self.api = plane.api()
        self.accept, self.spoiled = accept, spoiled
        self.pods = []  # (Accept of the client, Content-Type of the server), a watch each
        self.others = set()  # Accept of the other watches
        super().__init__(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        self.server.relay = self
        config = json.loads(pathlib.Path(plane.controller_kubeconfig).read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] = {
            "server": f"http://127.0.0.1:{self.server.server_address[1]}"}
        self.kubeconfig = plane.folder / "relay.kubeconfig"
        self.kubeconfig.write_text(json.dumps(config), encoding="utf-8")

    def note(self, path, accept, content_type):
        """Notes a request; what to put into its answer."""
        if not path.startswith(PODS):
            if "watch=true" in path:
                self.others.add(accept)
            return None
        self.pods.append((accept, content_type))
        return self.spoiled if len(self.pods) == 1 else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self):
        relay = self.server.relay
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ("host", "connection", "content-length")}
        if relay.accept:
            headers["Accept"] = relay.accept
        connection = relay.api.connect()
        connection.sock.settimeout(None)
        try:
            connection.request(self.command, self.path, body or None, headers)
            self.answer(connection.getresponse())
        finally:
            connection.close()

    def answer(self, answer):
        content_type = answer.getheader("Content-Type", "")
        spoiled = self.server.relay.note(self.path, self.headers["Accept"], content_type)
        self.send_response(answer.status)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        seen = b""
        while piece := answer.read1(65536):
            self.send_piece(piece)
            seen = seen[-len(LAST):] + piece
            if spoiled and LAST in seen:
                self.send_piece(spoiled)
                spoiled = None
        self.wfile.write(b"0\r\n\r\n")

    def send_piece(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def handle(self):
        try:
            super().handle()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # one of the two has gone

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay

    def log_message(self, *_):
        pass
