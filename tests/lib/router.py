# SPDX-License-Identifier: Apache-2.0
"""Requests to a sandbox through the router, as an SDK makes them."""

import http.client
import json
import uuid


class Sandbox:
    def __init__(self, router, name, namespace="default", port=8888):
        self.connection = http.client.HTTPConnection(router, timeout=60)
        self.headers = {"X-Sandbox-ID": name, "X-Sandbox-Namespace": namespace,
                        "X-Sandbox-Port": str(port)}

    def request(self, method, path, body=None, headers=()):
        self.connection.request(method, path, body, {**self.headers, **dict(headers)})
        response = self.connection.getresponse()
        return response.status, response.read()

    def execute(self, command):
        status, body = self.request("POST", "/execute", json.dumps({"command": command}),
                                    {"Content-Type": "application/json"})
        if status != 200:
            raise AssertionError(f"/execute: {status} {body!r}")
        return json.loads(body)

    def upload(self, name, contents):
        boundary = uuid.uuid4().hex
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"'
                f"\r\nContent-Type: application/octet-stream\r\n\r\n").encode() + contents + \
            f"\r\n--{boundary}--\r\n".encode()
        return self.request("POST", "/upload", body,
                            {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def download(self, name):
        return self.request("GET", f"/download/{name}")

    def close(self):
        self.connection.close()
