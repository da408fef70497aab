# SPDX-License-Identifier: Apache-2.0
"""process.v1.ProcessService in gRPC's own client, with the few messages written by hand."""

import grpc

from lib.collector import fields

SERVICE = "/process.v1.ProcessService/"
METHODS = {"Execute": "unary_unary", "Start": "unary_stream", "WriteStdin": "unary_unary",
           "SendSignal": "unary_unary", "ResizeTTY": "unary_unary"}
EVENTS = {1: "init", 2: "stdout", 3: "stderr", 4: "exit"}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def request(command, cwd=None, pty=None, **variables):
    """A StartRequest, or without `pty` an ExecuteRequest."""
    config = b"".join(text(1, word) for word in command)
    config += b"".join(text(2, text(1, name) + text(2, value))
                       for name, value in variables.items())
    if cwd is not None:
        config += text(3, cwd)
    message = text(1, config)
    if pty is not None:
        message += text(2, number(1, pty[0]) + number(2, pty[1]))
    return message


def int32(value):
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


def event(message):
    """("stdout", bytes), ("init", id), ("exit", code) … of a StartResponse."""
    (field, _, value), = fields(message)
    name = EVENTS[field]
    if name in ("init", "exit"):
        value = int32(next(fields(value))[2]) if value else 0
    return name, value


class ProcessApi:
    """Use as a context manager."""

    def __init__(self, address, options=()):
        self.channel = grpc.insecure_channel(
            address, [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
                      *options])
        self.call = {name: getattr(self.channel, kind)(SERVICE + name)
                     for name, kind in METHODS.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def execute(self, command, timeout=30, **more):
        """(exit code, stdout, stderr)"""
        answer = {number: value for number, _, value in fields(
            self.call["Execute"](request(command, **more), timeout=timeout))}
        return int32(answer.get(1, 0)), answer.get(2, b""), answer.get(3, b"")

    def start(self, command, timeout=None, **more):
        """(process id, iterator of events, the call)"""
        call = self.call["Start"](request(command, **more), timeout=timeout)
        events = map(event, call)
        name, process = next(events)
        assert name == "init", name
        return process, events, call

    def write(self, process, data, timeout=30):
        self.call["WriteStdin"](number(1, process) + text(2, data), timeout=timeout)

    def end_input(self, process):
        self.call["WriteStdin"](number(1, process) + text(3, b""), timeout=30)

    def signal(self, process, signal):
        self.call["SendSignal"](number(1, process) + number(2, signal), timeout=30)

    def resize(self, process, columns, rows):
        self.call["ResizeTTY"](number(1, process) + number(2, columns) + number(3, rows),
                               timeout=30)
