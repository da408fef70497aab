# SPDX-License-Identifier: Apache-2.0
"""An OpenTelemetry collector in small: takes OTLP/HTTP with protobuf bodies and keeps the spans."""

import http.server
import struct
import threading


def fields(message):
    """(number, wire type, value) of each field; raises ValueError where it is no protobuf."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(message) or shift > 63:
                raise ValueError("a broken varint")
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def take(size):
        nonlocal at
        if at + size > len(message):
            raise ValueError("shorter than it says")
        at += size
        return message[at - size:at]

    while at < len(message):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, kind, varint()
        elif kind == 1:
            yield tag >> 3, kind, struct.unpack("<Q", take(8))[0]
        elif kind == 2:
            yield tag >> 3, kind, take(varint())
        elif kind == 5:
            yield tag >> 3, kind, struct.unpack("<I", take(4))[0]
        else:
            raise ValueError(f"wire type {kind}")


def attribute(message):
    key = value = None
    for number, _, part in fields(message):
        if number == 1:
            key = part.decode()
        elif number == 2:
            for form, _, inner in fields(part):
                value = inner.decode() if form == 1 else inner
    return key, value


def span(message):
    names = {1: "trace_id", 2: "span_id", 3: "state", 4: "parent", 5: "name", 6: "kind",
             7: "start", 8: "end", 16: "flags"}
    read = {"attributes": {}, "parent": "", "state": "", "status": {}}
    for number, kind, value in fields(message):
        if number == 9:
            key, text = attribute(value)
            read["attributes"][key] = text
        elif number == 15:
            read["status"] = {{2: "message", 3: "code"}[inner]:
                              part.decode() if inner == 2 else part
                              for inner, _, part in fields(value)}
        elif number in (1, 2, 4):
            read[names[number]] = value.hex()
        else:
            read[names[number]] = value.decode() if kind == 2 else value
    return read


def spans_of(request):
    """The spans of an ExportTraceServiceRequest, each with its resource and scope."""
    for number, _, resource_spans in fields(request):
        assert number == 1, number
        resource, scope = {}, None
        for part, _, inner in fields(resource_spans):
            if part == 1:
                resource = dict(attribute(pair) for _, _, pair in fields(inner))
            elif part == 2:
                for place, _, item in fields(inner):
                    if place == 1:
                        scope = next(fields(item))[2].decode()
                    elif place == 2:
                        yield {**span(item), "resource": resource, "scope": scope}


class Collector:
    """On loopback; `status` is what it answers with."""

    def __init__(self, port=0):
        self.status = 200
        self.answer = b""
        self.spans, self.requests = [], []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, dict(self.headers.items())))
                if collector.status == 200:
                    collector.spans.extend(spans_of(body))
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def named(self, name, trace_id=None):
        return [each for each in self.spans
                if each["name"] == name and trace_id in (None, each["trace_id"])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
