#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sandboxd's process API by gRPC's own client."""

import http.client
import os
import pathlib
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import grpc  # noqa: E402
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.process_api import ProcessApi, number, request, text  # noqa: E402
from sandboxd.server import Server  # noqa: E402

CODES = grpc.StatusCode
SANITIZED = bool(os.environ.get("SANITIZED"))  # its memory says nothing then


def fails(code, function, *arguments, **more):
    try:
        result = function(*arguments, **more)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"gave {result!r} instead of {code}")


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def collect(events):
    """({"stdout": bytes, "stderr": bytes}, exit code)"""
    output = {"stdout": b"", "stderr": b""}
    for name, value in events:
        if name == "exit":
            return output, value
        output[name] += value
    raise AssertionError("no exit event")


# ---- Execute ----

def test_a_command_is_executed(server, api):
    assert api.execute(["echo", "hello there"]) == (0, b"hello there\n", b"")
    assert api.execute(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]) == (
        3, b"out\n", b"err\n")
    assert api.execute(["/bin/sh", "-c", "printf '\\000\\377'"]) == (0, b"\x00\xff", b"")
    assert api.execute(["true"]) == (0, b"", b"")
    assert api.execute(["cat"]) == (0, b"", b""), "its standard input is empty"
    assert api.execute(["/bin/sh", "-c", "kill -9 $$"])[0] == -1


def test_variables_are_added_to_its_own(server, api):
    assert api.execute(["/bin/sh", "-c", 'echo "$GREETING:$HOME:$INHERITED"'], GREETING="hi=there",
                       HOME="/over") == (0, b"hi=there:/over:from the server\n", b"")
    lines = api.execute(["env"], HOME="/over")[1].split(b"\n")
    assert sum(line.startswith(b"HOME=") for line in lines) == 1, lines
    twice = text(1, text(1, "printenv") + text(1, "A") + text(2, text(1, "A") + text(2, "first")) +
                 text(2, text(1, "A") + text(2, "last")))
    assert b"last" in api.call["Execute"](twice, timeout=10)
    for name in ("", "A=B", "A\0"):
        fails(CODES.INVALID_ARGUMENT, api.execute, ["true"], **{name: "x"})


def test_it_starts_within_the_root(server, api):
    inside = os.path.realpath(server.root)
    os.makedirs(os.path.join(inside, "deep", "er"), exist_ok=True)
    for cwd, expected in ((None, ""), ("", ""), ("/", ""), (".", ""), ("deep/er", "/deep/er"),
                          ("/deep", "/deep"), (os.path.join(inside, "deep"), "/deep"),
                          ("deep/../deep", "/deep")):
        assert api.execute(["pwd", "-P"], cwd=cwd)[1].decode() == f"{inside}{expected}\n", cwd
    for cwd in ("..", "/..", "deep/../..", "out-dir"):
        fails(CODES.PERMISSION_DENIED, api.execute, ["pwd"], cwd=cwd)
    fails(CODES.NOT_FOUND, api.execute, ["pwd"], cwd="missing")
    fails(CODES.INVALID_ARGUMENT, api.execute, ["pwd"], cwd="etc" + "x" * 5000)


def test_what_cannot_start_is_told(server, api):
    fails(CODES.INVALID_ARGUMENT, api.execute, [])
    fails(CODES.INVALID_ARGUMENT, api.execute, [""])
    fails(CODES.INVALID_ARGUMENT, api.execute, ["echo", "a\0b"])
    fails(CODES.INVALID_ARGUMENT, api.execute, ["true"] * 70000)
    assert "No such file" in fails(CODES.NOT_FOUND, api.execute, ["no-such-program"])
    fails(CODES.PERMISSION_DENIED, api.execute, ["/etc/passwd"])
    fails(CODES.NOT_FOUND, lambda: list(api.start(["no-such-program"])[1]))


def test_messages_are_checked(server, api):
    for broken in (b"\x0a\x05ab", b"\x08", b"\x0b\x0c", b"\x0a\x02\x0a\x09"):
        fails(CODES.INTERNAL, api.call["Execute"], broken, timeout=10)
        fails(CODES.INTERNAL, lambda: list(api.call["Start"](broken, timeout=10)))
    for method in ("WriteStdin", "SendSignal", "ResizeTTY"):
        fails(CODES.INTERNAL, api.call[method], b"\x08", timeout=10)
        fails(CODES.NOT_FOUND, api.call[method], number(1, 12345), timeout=10)
        fails(CODES.NOT_FOUND, api.call[method], number(1, -1), timeout=10)
    # Unknown fields, and known ones of another form, are passed over.
    odd = request(["echo", "on"]) + number(9, 9) + number(1, 5) + text(2000, "x")
    assert b"on\n" in api.call["Execute"](odd, timeout=10)
    other = api.channel.unary_unary("/process.v1.ProcessService/Other")
    assert "/process.v1.ProcessService/Other" in fails(CODES.UNIMPLEMENTED, other, b"", timeout=10)
    compressed = api.channel.unary_unary("/process.v1.ProcessService/Execute")
    fails(CODES.UNIMPLEMENTED, compressed, request(["true"] * 100), timeout=10,
          compression=grpc.Compression.Gzip)


def test_a_deadline_kills_the_whole_group(server, api):
    pid_file = os.path.join(server.root, "sleeper")
    began = time.monotonic()
    fails(CODES.DEADLINE_EXCEEDED, api.execute,
          ["/bin/sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait"], timeout=0.5)
    assert time.monotonic() - began < 5
    with open(pid_file, encoding="ascii") as file:
        wait_for(lambda pid=int(file.read()): not lives(pid), 10, "the sleeper to be gone")


def test_a_cancelled_call_kills_the_whole_group(server, api):
    for method in ("Execute", "Start"):
        pid_file = os.path.join(server.root, f"cancelled-{method}")
        command = request(["/bin/sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait"])
        call = api.call[method].future(command) if method == "Execute" else api.call[method](command)
        pid = wait_for(lambda path=pid_file: os.path.exists(path) and open(
            path, encoding="ascii").read().strip(), 10, "the sleeper")
        call.cancel()
        wait_for(lambda number=pid: not lives(number), 10, "the sleeper to be gone")


def test_a_large_output_comes_whole(server, api):
    with ProcessApi(f"127.0.0.1:{server.ports['process']}",
                    [("grpc.max_receive_message_length", -1)]) as wide:
        assert wide.execute(["head", "-c", "9000000", "/dev/zero"]) == (0, bytes(9000000), b"")
    # What a client with the usual limit says, and the next call goes on.
    fails(CODES.RESOURCE_EXHAUSTED, api.execute, ["head", "-c", "9000000", "/dev/zero"])
    assert api.execute(["echo", "on"])[1] == b"on\n"
    large = ["/bin/sh", "-c", 'printf %s "$1" | wc -c', "sh", "x" * 100000]
    assert api.execute(large)[1].strip() == b"100000"


def test_many_at_once(server, api):
    calls = [api.call["Execute"].future(request(["/bin/sh", "-c", f"sleep 0.2; echo {index}"]),
                                        timeout=30) for index in range(50)]
    for index, call in enumerate(calls):
        assert f"{index}\n".encode() in call.result()


# ---- Start ----

def test_output_comes_as_it_is_written(server, api):
    process, events, _ = api.start(["/bin/sh", "-c", "echo one; read x; echo two >&2; exit 4"])
    assert process > 0
    assert next(events) == ("stdout", b"one\n")
    api.write(process, b"\n")
    assert next(events) == ("stderr", b"two\n")
    assert next(events) == ("exit", 4)
    assert list(events) == []
    fails(CODES.NOT_FOUND, api.write, process, b"late")


def test_input_reaches_it_until_its_end(server, api):
    process, events, _ = api.start(["cat"])
    for piece in (b"a", b"", bytes(range(256)) * 400):
        api.write(process, piece)
    api.end_input(process)
    output, code = collect(events)
    assert (output["stdout"], code) == (b"a" + bytes(range(256)) * 400, 0)


def test_input_after_its_end_is_refused(server, api):
    process, events, _ = api.start(["sleep", "300"])
    api.end_input(process)
    fails(CODES.FAILED_PRECONDITION, api.write, process, b"x")
    fails(CODES.FAILED_PRECONDITION, api.end_input, process)
    api.signal(process, 15)
    assert collect(events)[1] == -1


def test_input_that_is_not_read_waits_and_is_bounded(server, api):
    process, events, _ = api.start(["sleep", "300"])
    first = api.call["WriteStdin"].future(number(1, process) + text(2, bytes(3000000)), timeout=30)
    time.sleep(0.2)  # nothing can be waited for: it must not have been answered
    assert not first.done()
    fails(CODES.RESOURCE_EXHAUSTED, api.write, process, bytes(3000000))
    api.signal(process, 9)
    assert collect(events)[1] == -1
    assert first.code() == CODES.INTERNAL, first.code()


def test_signals_reach_the_group(server, api):
    process, events, _ = api.start(
        ["/bin/sh", "-c", "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done"])
    assert next(events) == ("stdout", b"ready\n")
    for wrong in (0, 1, 19, 64, -9):
        fails(CODES.INVALID_ARGUMENT, api.signal, process, wrong)
    api.signal(process, 2)
    output, code = collect(events)
    assert (output["stdout"], code) == (b"caught\n", 7)
    fails(CODES.NOT_FOUND, api.signal, process, 9)


def test_a_terminal_is_one(server, api):
    process, events, _ = api.start(["/bin/sh", "-c", "tty; stty size; read x; stty size; cat"],
                                   pty=(100, 30))
    seen = b""
    while b"30 100\r\n" not in seen:
        name, value = next(events)
        assert name == "stdout"
        seen += value
    assert seen.startswith(b"/dev/pts/"), seen
    api.resize(process, 120, 40)
    api.write(process, b"\n")
    while b"40 120\r\n" not in seen:
        seen += next(events)[1]
    api.write(process, b"echoed\n")
    while seen.count(b"echoed") < 2:  # by the terminal, and by cat
        seen += next(events)[1]
    fails(CODES.INVALID_ARGUMENT, api.resize, process, 70000, 1)
    api.end_input(process)
    assert collect(events)[1] == 0

    process, events, _ = api.start(["cat"])
    fails(CODES.FAILED_PRECONDITION, api.resize, process, 80, 24)
    api.end_input(process)
    collect(events)


def test_a_slow_client_holds_the_process_back(server, api):
    total = 200_000_000
    before = server.memory()[0]
    _, events, call = api.start(["head", "-c", str(total), "/dev/zero"])
    next(events)
    time.sleep(0.5)  # time to fill whatever would not be bounded
    assert SANITIZED or server.memory()[0] - before < 8 * 1024, (before, server.memory())
    got = sum(len(value) for name, value in events if name == "stdout")
    assert total - 1_000_000 < got < total, got
    assert call.code() == CODES.OK


def test_what_escapes_does_not_hold_the_end_for_ever(server, api):
    began = time.monotonic()
    _, events, _ = api.start(["/bin/sh", "-c", "setsid sleep 30 & echo $!"])
    output, code = collect(events)
    assert code == 0 and 4 < time.monotonic() - began < 10
    os.kill(int(output["stdout"]), signal.SIGKILL)


def test_numbers_are_its_own(server, api):
    first, one, _ = api.start(["cat"])
    second, two, _ = api.start(["cat"])
    assert second == first + 1
    for process, events in ((first, one), (second, two)):
        api.end_input(process)
        assert collect(events)[1] == 0


# ---- the port ----

def test_other_protocols_are_refused(server, api):
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["process"], timeout=10)
    connection.request("POST", "/process.v1.ProcessService/Execute", b"")
    assert connection.getresponse().status == 505
    connection.close()
    with socket.create_connection(("127.0.0.1", server.ports["process"]), 10) as raw:
        raw.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400") or raw.recv(1) == b""


def test_the_end_tells_processes_and_clients(server, api):
    with Server() as other, ProcessApi(f"127.0.0.1:{other.ports['process']}") as ours:
        process, events, _ = ours.start(
            ["/bin/sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"])
        assert process == 1
        assert next(events) == ("stdout", b"ready\n")
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(events))
        reader.start()
        assert other.stop() == 0
        reader.join(10)
        said = [event for event in seen if event[0] != "stderr"]  # of the sleep, by the shell
        assert said == [("stdout", b"bye\n"), ("exit", 5)], seen


def succeeds(function):
    try:
        function()
        return True
    except (grpc.RpcError, StopIteration, AssertionError):
        return False


def test_it_lives_through_failing_allocations(server, api):
    def converse(ours):
        process, events, _ = ours.start(["cat"], timeout=5)
        ours.write(process, b"back", timeout=5)
        ours.end_input(process)
        assert collect(events) == ({"stdout": b"back", "stderr": b""}, 0)

    def type_into(ours):
        process, events, _ = ours.start(["cat"], timeout=5, pty=(80, 24))
        ours.resize(process, 90, 30)
        ours.signal(process, 9)
        collect(events)

    for every in (3, 7, 13, 31, 97):
        with Server(environment={"FAULT_EVERY": str(every), "FAULT_AFTER": "60"},
                    program=os.environ["SANDBOXD_FAULTY"]) as other:
            well = 0
            for _ in range(5):
                with ProcessApi(f"127.0.0.1:{other.ports['process']}") as ours:
                    well += succeeds(lambda: ours.execute(["seq", "1000"], timeout=5))
                    well += succeeds(lambda: converse(ours)) + succeeds(lambda: type_into(ours))
                assert other.process.poll() is None, (every, other.process.returncode)
            print(f"# each {every}th fails: {well} of 15 went well")
            assert well > 5 or every < 31, well
            assert other.stop() == 0, every


def test_nothing_is_left(server, api):
    """After all others."""
    children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    wait_for(lambda: not children.read_text(encoding="ascii").split(), 15, "its children to be gone")
    descriptors = f"/proc/{server.process.pid}/fd"
    wait_for(lambda: len(os.listdir(descriptors)) < 24, 10, "its descriptors to be closed")


def main():
    with Server(environment={"INHERITED": "from the server"}) as server, ProcessApi(
            f"127.0.0.1:{server.ports['process']}") as api:
        tap.main(globals(), (server, api))


if __name__ == "__main__":
    main()
