#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sandboxd over real sockets: both APIs, hostile paths and bodies, streaming, shutdown."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import shlex
import socket
import stat
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from sandboxd.server import Client, Server, form  # noqa: E402

MEBIBYTE = 1 << 20
SANITIZED = bool(os.environ.get("SANITIZED"))  # its memory says nothing then


def execute(server, command, **more):
    with Client(server, "runtime") as client:
        status, result = client.json("POST", "/execute", {"command": command, **more})
        assert status == 200, (status, result)
        return result


def write(folder, name, contents=b"", mode=0o644):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(contents)
    os.chmod(path, mode)
    return path


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def temporary_files(folder):
    return [name for _, _, names in os.walk(folder) for name in names if "sandboxd-tmp" in name]


# ---- the runtime API, 8888 ----

def test_the_runtime_says_that_it_is_active(server):
    with Client(server, "runtime") as client:
        assert client.json("GET", "/") == (
            200, {"status": "ok", "message": "Sandbox Runtime is active."})
        status, headers, body = client.request("HEAD", "/")
        assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 0
        assert client.json("POST", "/") == (405, {"detail": "Method Not Allowed"})
        assert client.json("GET", "/execute") == (405, {"detail": "Method Not Allowed"})
        assert client.json("GET", "/nothing") == (404, {"detail": "Not Found"})


def test_commands_give_their_output_and_exit_code(server):
    assert execute(server, "python3 -c 'print(\"Hello from SDK!\")'") == {
        "stdout": "Hello from SDK!\n", "stderr": "", "exit_code": 0}
    assert execute(server, "sh -c 'pwd; echo bad >&2; exit 3'") == {
        "stdout": os.path.realpath(server.base) + "\n", "stderr": "bad\n", "exit_code": 3}
    assert execute(server, "sh -c 'kill -9 $$'")["exit_code"] == -9
    assert execute(server, "cat") == {"stdout": "", "stderr": "", "exit_code": 0}
    assert execute(server, "printf '\\377\\n'")["stdout"] == "\ufffd\n"
    shell = execute(server, "sh -c 'ps -o sid= -p $$; echo $$'")["stdout"].split()
    assert shell[0] == shell[1], "not a session of its own"
    assert execute(server, "sh -c 'ls /proc/self/fd | wc -l'")["stdout"].strip() == "4"


def test_no_shell_is_run(server):
    assert execute(server, "echo $HOME | cat; ls *")["stdout"] == "$HOME | cat; ls *\n"


def test_what_cannot_be_run_is_still_a_200(server):
    for command, text in (("no-such-program x", "[Errno 2] No such file or directory: "
                                                "'no-such-program'"),
                          ("/etc/passwd", "[Errno 13] Permission denied: '/etc/passwd'"),
                          ("echo 'open", "No closing quotation"),
                          ("echo \\", "No escaped character"),
                          ("a\0b", "embedded null byte"),
                          ("", "the command is empty")):
        assert execute(server, command) == {
            "stdout": "", "stderr": f"Failed to execute command: {text}", "exit_code": 1}


def test_words_are_split_as_python_does(server):
    chance = random.Random(7)
    with Client(server, "runtime") as client:
        for _ in range(300):
            tail = "".join(chance.choice("ab \t\n'\"\\$#;é") for _ in range(chance.randrange(12)))
            try:
                words = shlex.split(f"printf '%s\\0' x {tail}")
                expected = ("".join(word + "\0" for word in words[2:]), 0)
            except ValueError as problem:
                expected = (f"Failed to execute command: {problem}", 1)
            _, result = client.json("POST", "/execute", {"command": f"printf '%s\\0' x {tail}"})
            got = (result["stdout"] or result["stderr"], result["exit_code"])
            assert got == expected, (tail, got, expected)


def test_malformed_bodies_are_422(server):
    with Client(server, "runtime") as client:
        for body in (b"", b"{", b"[]", b"{}", b'{"command": 1}', b'{"command": null}',
                     b'{"command": "\xff"}', b'{"command": "a", "timeout_seconds": 0}',
                     b'{"command": "a", "timeout_seconds": "x"}',
                     b'{"command": "a", "timeout_seconds": 1e999}', b"[" * 10000):
            status, answer = client.json("POST", "/execute", body)
            assert status == 422 and isinstance(answer["detail"], list), (body[:40], answer)
            assert {"type", "loc", "msg"} <= set(answer["detail"][0])
        status, answer = client.json("POST", "/execute", {})
        assert answer["detail"][0]["loc"] == ["body", "command"]
        status, answer = client.json("POST", "/execute", b" " * (4 * MEBIBYTE))
        assert status == 413, status


def test_a_command_is_killed_at_its_own_limit(server):
    began = time.monotonic()
    result = execute(server, "sh -c 'echo begun; sleep 100 & sleep 100'", timeout_seconds=0.2)
    assert time.monotonic() - began < 5
    assert result["timed_out"] is True and result["exit_code"] == 124
    assert result["stdout"] == "begun\n" and "timed out after 0.2 seconds" in result["stderr"]


def test_a_command_is_killed_at_the_server_limit(_):
    with Server(environment={"SANDBOX_EXEC_TIMEOUT_SECONDS": "0.3"}) as server:
        result = execute(server, "sleep 100")
        assert result["exit_code"] == 1 and result["timed_out"] is True
        assert result["stderr"].startswith("Failed to execute command: Command 'sleep 100' timed")
        assert execute(server, "sleep 100", timeout_seconds=50)["timed_out"] is True


def test_output_is_bounded(server):
    result = execute(server, "head -c 20000000 /dev/zero")
    assert 16 * MEBIBYTE < len(result["stdout"]) < 16 * MEBIBYTE + 100
    assert result["stdout"].endswith("[3222784 more bytes of output were dropped]\n")


def test_it_answers_while_commands_run(server):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(execute, server, "sleep 0.5") for _ in range(20)]
        with Client(server, "runtime") as client:
            began = time.monotonic()
            assert client.json("GET", "/")[0] == 200
            assert time.monotonic() - began < 0.3
        assert all(future.result()["exit_code"] == 0 for future in futures)


def test_a_client_that_leaves_takes_nothing_along(server):
    mark = os.path.join(server.base, "left-behind")
    body = json.dumps({"command": f"sh -c 'sleep 0.2; touch {mark}'"}).encode()
    with server.raw("runtime") as connection:
        connection.sendall(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                           % (len(body), body))
    wait_for(lambda: os.path.exists(mark), 5, "the abandoned command's file")
    assert execute(server, "true")["exit_code"] == 0


def test_files_go_up_and_down(server):
    with Client(server, "runtime") as client:
        for name, contents in (("test.txt", b"SDK test content"), ("a/b/c.bin", bytes(range(256))),
                               ("empty", b""), ("with blank é", b"x\r\n--y\r\n"),
                               ("/absolute", b"re-rooted")):
            status, answer = client.json("POST", "/upload", *form(name, contents))
            assert (status, answer) == (
                200, {"message": f"File '{name}' uploaded successfully."}), answer
            assert read(server.base, name.lstrip("/")) == contents
            quoted = "".join(f"%{byte:02X}" for byte in name.encode())
            status, headers, body = client.request("GET", f"/download/{quoted}")
            assert (status, body) == (200, contents)
            assert headers["Content-Type"] == "application/octet-stream"
            assert headers["Content-Disposition"].startswith("attachment; filename")
        assert client.request("GET", "/download//a/b/c.bin")[0] == 200
        assert client.request("GET", "/download/with%20blank%20%c3%a9")[0] == 200
        status, headers, body = client.request("HEAD", "/download/test.txt")
        assert (status, body, headers["Content-Length"]) == (200, b"", "16")
        assert temporary_files(server.base) == []


def test_an_upload_keeps_the_mode_of_what_it_replaces(server):
    path = write(server.base, "script", b"old", 0o750)
    with Client(server, "runtime") as client:
        assert client.json("POST", "/upload", *form("script", b"new"))[0] == 200
    assert read(path) == b"new" and stat.S_IMODE(os.stat(path).st_mode) == 0o750


def test_what_is_no_upload_is_422(server):
    body, headers = form("x", b"y")
    with Client(server, "runtime") as client:
        for sent, kind in ((b"plain", {}), (b"", {}), (b"", headers), (body[:-20], headers),
                           form("x", b"y", field="other"), form("", b"y"),
                           (body.replace(b'; filename="x"', b""), headers),
                           (body, {"Content-Type": "multipart/form-data"})):
            status, answer = client.json("POST", "/upload", sent, kind)
            assert status == 422 and answer["detail"], (sent, status, answer)
    assert not os.path.exists(os.path.join(server.base, "x"))


def test_runtime_paths_cannot_leave(server):
    with Client(server, "runtime") as client:
        for name in ("../x", "a/../../x", "out-dir/x", "out-file", "etc", "x\0y"):
            status, answer = client.json("POST", "/upload", *form(name, b"bad"))
            assert (status, answer) == (403, {"message": "Access denied"}), (name, answer)
        for path in ("../outside/secret", "..%2foutside%2fsecret", "%2e%2e/outside/secret",
                     "out-dir/secret", "out-file", "etc", "a/../../outside", "x%00y"):
            for route in ("download", "list", "exists"):
                status, answer = client.json("GET", f"/{route}/{path}")
                assert (status, answer) == (403, {"message": "Access denied"}), (route, path)
    assert read(server.outside, "secret") == b"secret"
    assert os.listdir(server.outside) == ["secret"]


def test_lists_and_existence(server):
    write(server.base, "listed/file", b"12345")
    os.mkdir(os.path.join(server.base, "listed/dir"))
    os.symlink("nowhere", os.path.join(server.base, "listed/dangling"))
    os.mkfifo(os.path.join(server.base, "listed/fifo"))
    with Client(server, "runtime") as client:
        status, entries = client.json("GET", "/list/listed")
        assert status == 200
        assert [(e["name"], e["type"]) for e in entries] == [
            ("dangling", "file"), ("dir", "directory"), ("fifo", "file"), ("file", "file")]
        assert entries[3]["size"] == 5
        modified = os.stat(os.path.join(server.base, "listed/file")).st_mtime
        assert abs(entries[3]["mod_time"] - modified) < 0.001
        assert client.json("GET", "/list/")[0] == 200
        for path in ("missing", "listed/file", "listed/file/x"):
            assert client.json("GET", f"/list/{path}") == (
                404, {"message": "Path is not a directory"})
        for path, there in (("listed/file", True), ("listed", True), ("", True),
                            ("listed%2Ffile", True), ("missing", False), ("x" * 300, False),
                            ("listed/file/x", False)):
            status, answer = client.json("GET", f"/exists/{path}")
            assert (status, answer) == (
                200, {"path": path.replace("%2F", "/"), "exists": there}), answer
        for path in ("missing", "listed", "listed/fifo", "x" * 300):
            assert client.json("GET", f"/download/{path}") == (404, {"message": "File not found"})


# ---- the files API, 8080 ----

def test_health_and_metadata(_):
    environment = {"SANDBOX_ID": "s-1", "SANDBOX_API_TOKEN": "no", "sandbox_low": "no",
                   "SANDBOX_Db_Password": "no", "OTHER": "no", "SANDBOX_MONKEY": "no",
                   "SANDBOX_EMPTY": ""}
    with Server(environment=environment) as server, Client(server, "files") as client:
        status, health = client.json("GET", "/v1/health")
        assert status == 200 and health["status"] == "ok" and health["uptime_seconds"] == 0
        assert client.json("GET", "/v1/metadata") == (
            200, {"env": {"SANDBOX_ID": "s-1", "SANDBOX_EMPTY": ""}})
        assert client.json("PUT", "/v1/health")[0] == 405
        assert client.json("GET", "/v2/health") == (
            404, {"code": "NOT_FOUND", "message": "there is no such resource"})


def test_put_writes_whole_files(server):
    with Client(server, "files") as client:
        for path, name, headers in (
                ("plain", "plain", {}), ("a/b/c", "a/b/c", {}),
                ("x%2Fy%2Fz", "x/y/z", {"Content-Type": "application/octet-stream"}),
                ("/absolute", "absolute", {}), ("%2e/dots", "dots", {}),
                (server.root + "/inside", "inside", {})):
            status, answer = client.json("PUT", f"/v1/files/{path}", b"contents", headers)
            assert (status, answer) == (204, None), (path, status, answer)
            assert read(server.root, name) == b"contents"
        assert stat.S_IMODE(os.stat(os.path.join(server.root, "plain")).st_mode) == 0o644
        assert stat.S_IMODE(os.stat(os.path.join(server.root, "a/b")).st_mode) == 0o755
        assert client.json("PUT", "/v1/files/plain?mode=0755", iter([b"chu", b"nked"])) == (
            204, None)
        assert read(server.root, "plain") == b"chunked"
        assert stat.S_IMODE(os.stat(os.path.join(server.root, "plain")).st_mode) == 0o755
        assert client.json("PUT", "/v1/files/form", *form("ignored/../..", b"of a form")) == (
            204, None)
        assert read(server.root, "form") == b"of a form"
        assert client.json("PUT", "/v1/files/empty", b"") == (204, None)
        assert read(server.root, "empty") == b""
    assert temporary_files(server.root) == []


def test_bad_puts_change_nothing(server):
    write(server.root, "kept", b"kept")
    os.makedirs(os.path.join(server.root, "directory"), exist_ok=True)
    body, headers = form("x", b"y")
    with Client(server, "files") as client:
        for mode in ("644", "0888", "01777", "0x44", "00644", "%30644x"):
            status, answer = client.json("PUT", f"/v1/files/kept?mode={mode}", b"bad")
            assert (status, answer["code"]) == (400, "INVALID_ARGUMENT"), mode
        for path in ("directory", "", ".", "directory/", "/"):
            status, answer = client.json("PUT", f"/v1/files/{path}", b"bad")
            assert (status, answer["code"]) == (400, "INVALID_ARGUMENT"), (path, answer)
        for sent in (body[:-20], b"", body.replace(b'name="file"', b'name="other"')):
            status, answer = client.json("PUT", "/v1/files/kept", sent, headers)
            assert (status, answer["code"]) == (400, "INVALID_ARGUMENT"), sent
        assert client.json("PUT", "/v1/files/kept/below", b"bad")[0] == 404
        status, answer = client.json("PUT", "/v1/files/" + "x" * 300, b"bad")
        assert (status, answer["code"]) == (400, "INVALID_ARGUMENT")
    assert read(server.root, "kept") == b"kept"
    assert temporary_files(server.root) == []


def test_a_cut_off_put_changes_nothing(server):
    write(server.root, "kept", b"kept")
    for head in (b"Content-Length: 1000000", b"Transfer-Encoding: chunked"):
        with server.raw("files") as connection:
            connection.sendall(b"PUT /v1/files/kept HTTP/1.1\r\nHost: x\r\n" + head +
                               b"\r\n\r\n40000\r\n" + b"x" * 0x40000)
            wait_for(lambda: temporary_files(server.root), 5, "the temporary file")
        wait_for(lambda: not temporary_files(server.root), 5, "its removal")
    assert read(server.root, "kept") == b"kept"


def test_get_gives_files_in_parts(server):
    contents = bytes(range(256)) * 40
    path = write(server.root, "parts", contents)
    os.utime(path, (1000000000, 1000000000))
    modified = "Sun, 09 Sep 2001 01:46:40 GMT"
    size = len(contents)
    with Client(server, "files") as client:
        status, headers, body = client.request("GET", "/v1/files/parts")
        assert (status, body) == (200, contents)
        assert headers["Content-Length"] == str(size) and headers["Last-Modified"] == modified
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Accept-Ranges"] == "bytes"
        for asked, start, end in (("0-9", 0, 10), ("10000-", 10000, size), ("-5", size - 5, size),
                                  ("10239-20000", size - 1, size)):
            status, headers, body = client.request("GET", "/v1/files/parts",
                                                   headers={"Range": f"bytes={asked}"})
            assert (status, body) == (206, contents[start:end]), asked
            assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        status, headers, body = client.request("GET", "/v1/files/parts",
                                               headers={"Range": "bytes=10240-"})
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
        for more, expected in (({"If-Range": modified}, 206),
                               ({"If-Range": "Sun, 09 Sep 2001 01:46:39 GMT"}, 200),
                               ({"If-Range": '"tag"'}, 200),
                               ({"If-Modified-Since": modified}, 304),
                               ({"If-Modified-Since": "Sun, 09 Sep 2001 01:46:39 GMT"}, 206),
                               ({"If-Modified-Since": "yesterday"}, 206)):
            status, _, _ = client.request("GET", "/v1/files/parts",
                                          headers={"Range": "bytes=0-0", **more})
            assert status == expected, more
        status, headers, body = client.request("HEAD", "/v1/files/parts")
        assert (status, body, headers["Content-Length"]) == (200, b"", str(size))
        status, headers, body = client.request("HEAD", "/v1/files/missing")
        assert (status, body) == (404, b"")


def test_listings(server):
    write(server.root, "l/b", b"12", 0o600)
    write(server.root, "l/a b", b"")
    os.mkdir(os.path.join(server.root, "l/Dir"), 0o700)
    os.mkdir(os.path.join(server.root, "l/Dir/empty"))
    for name, target in (("good", "b"), ("folder", "Dir"), ("gone", "nowhere"),
                         ("escape", "../../outside"), ("passwd", "/etc/passwd"),
                         ("absolute", os.path.join(server.root, "l/b"))):
        os.symlink(target, os.path.join(server.root, "l", name))
    os.utime(os.path.join(server.root, "l/b"), (1000000000, 1000000000))
    with Client(server, "files") as client:
        status, listing = client.json("GET", "/v1/files/l/")
        assert status == 200 and listing["path"] == "/l"
        assert [e["name"] for e in listing["entries"]] == [
            "Dir", "a b", "absolute", "b", "folder", "good"]
        entries = {e["name"]: e for e in listing["entries"]}
        assert entries["b"] == {"name": "b", "size": 2, "type": "file", "mode": "0600",
                                "modified_at": "2001-09-09T01:46:40Z"}
        assert entries["Dir"]["type"] == entries["folder"]["type"] == "directory"
        assert entries["good"]["size"] == entries["absolute"]["size"] == 2
        assert client.json("GET", "/v1/files/l%2FDir%2Fempty") == (
            200, {"path": "/l/Dir/empty", "entries": []})
        for path in ("/v1/files", "/v1/files/", "/v1/files/.", "/v1/files/%2E", "/v1/files//"):
            status, listing = client.json("GET", path)
            assert status == 200 and listing["path"] == "/", path
        status, _, body = client.request("HEAD", "/v1/files/l")
        assert (status, body) == (200, b"")
        os.mkfifo(os.path.join(server.root, "l/fifo"))
        assert client.json("GET", "/v1/files/l/fifo")[0] == 400


def test_deletion(server):
    write(server.root, "d/e/f", b"")
    write(server.root, "single", b"")
    os.symlink("../outside", os.path.join(server.root, "d/e/escape"))
    os.symlink("single", os.path.join(server.root, "link"))
    with Client(server, "files") as client:
        def delete(path):
            status, answer = client.json("DELETE", f"/v1/files/{path}")
            return status, answer and answer["code"]
        assert delete("missing") == (404, "NOT_FOUND")
        assert delete("d") == delete("d?recursive=false") == (409, "CONFLICT")
        assert delete("d?recursive=maybe") == (400, "INVALID_ARGUMENT")
        assert delete("") == delete(".") == (409, "CONFLICT")
        assert delete("link") == (204, None)
        assert os.path.exists(os.path.join(server.root, "single"))
        assert delete("single") == (204, None)
        assert delete("d?recursive=true") == (204, None)
        assert os.listdir(server.outside) == ["secret"]
        assert not os.path.lexists(os.path.join(server.root, "d"))


def test_the_root_is_emptied_not_removed(_):
    with Server() as server, Client(server, "files") as client:
        write(server.root, "a/b", b"")
        assert client.json("DELETE", "/v1/files/?recursive=true") == (204, None)
        assert os.listdir(server.root) == []
        assert read(server.outside, "secret") == b"secret"


def test_files_paths_cannot_leave(server):
    with Client(server, "files") as client:
        for path in ("..", "../outside/secret", "..%2Foutside%2Fsecret", "%2E%2E", "a/../..",
                     "%2e%2e%2foutside", "out-dir", "out-dir/secret", "out-file", "etc",
                     "out-dir%2Fnew", "/../outside/secret"):
            for method in ("GET", "PUT", "DELETE"):
                status, answer = client.json(method, f"/v1/files/{path}",
                                             b"bad" if method == "PUT" else None)
                assert (status, answer["code"]) == (403, "PERMISSION_DENIED"), (method, path)
        for path in ("a%00b", "a%zz", "%"):
            status, answer = client.json("GET", f"/v1/files/{path}")
            assert (status, answer["code"]) == (400, "INVALID_ARGUMENT"), path
        assert client.json("POST", "/v1/files/x", b"")[0] == 405
    assert os.listdir(server.outside) == ["secret"] and read(server.outside, "secret") == b"secret"


# ---- what both share ----

def test_bad_http_is_answered_in_json(server):
    for api in ("runtime", "files"):
        for request in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: x\r\nBad header\r\n\r\n",
                        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n"):
            with server.raw(api) as connection:
                connection.sendall(request)
                answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400"), (request, answer)
            assert json.loads(body)["message"], answer


def test_transfers_take_no_more_memory_for_their_size(_):
    size, piece = 256 * MEBIBYTE, random.Random(1).randbytes(MEBIBYTE)
    digest = hashlib.sha256(piece * (size // MEBIBYTE)).hexdigest()
    pieces = lambda: iter([piece] * (size // MEBIBYTE))  # noqa: E731
    with Server() as server:
        with Client(server, "files") as client:
            assert client.json("PUT", "/v1/files/large", pieces())[0] == 204
            peak_put = server.memory()[1]
            client.connection.request("GET", "/v1/files/large")
            response, received = client.connection.getresponse(), hashlib.sha256()
            while data := response.read(MEBIBYTE):
                received.update(data)
            assert received.hexdigest() == digest
        head, tail = form("large", b"\0SPLIT\0")[0].split(b"\0SPLIT\0")
        with Client(server, "runtime") as client:
            body = (part for part in (head, *pieces(), tail))
            assert client.json("POST", "/upload", body, form("", b"")[1])[0] == 200
        peak = server.memory()[1]
        assert hashlib.sha256(read(server.base, "large")).hexdigest() == digest
        print(f"# peak {peak_put} KiB after the PUT, {peak} KiB after all")
        assert peak < 5 * 1024 or SANITIZED, peak


def test_what_the_disk_does_not_take_is_refused_whole(_):
    with Server(wrapper=["prlimit", "--fsize=1000000"]) as server, Client(server, "files") as client:
        write(server.root, "kept", b"kept")
        write(server.base, "kept", b"kept")
        status, answer = client.json("PUT", "/v1/files/kept", bytes(3 * MEBIBYTE))
        assert (status, answer) == (500, {"code": "INTERNAL", "message": "File too large"})
        with Client(server, "runtime") as other:
            status, answer = other.json("POST", "/upload", *form("kept", bytes(3 * MEBIBYTE)))
            assert (status, answer) == (500, {"message": "File upload failed: File too large"})
        assert read(server.root, "kept") == read(server.base, "kept") == b"kept"
        assert temporary_files(server.folder) == []
        client.connection.close()  # which the unread rest of the body has ended
        assert client.json("PUT", "/v1/files/fits", b"x")[0] == 204


def test_it_outlives_a_lack_of_descriptors(_):
    with Server(wrapper=["prlimit", "--nofile=24"]) as server:
        crowd = [server.raw("runtime") for _ in range(40)]
        time.sleep(0.2)
        with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
            before = int(file.read().split()[13])
        time.sleep(0.5)
        with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
            assert int(file.read().split()[13]) - before < 10, "it spins"
        for connection in crowd:
            connection.close()
        wait_for(lambda: execute(server, "true")["exit_code"] == 0, 10, "a command after the crowd")


def test_idle_clients_are_no_burden(_):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    with Server() as server:
        before, _ = server.memory()
        idle = []
        try:
            for _ in range(1000):
                connection = server.raw("runtime")
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 200"), "refused"
                idle.append(connection)
            idle += [server.raw("runtime") for _ in range(200)]  # who says nothing at all
            assert execute(server, "echo here")["stdout"] == "here\n"
            after, _ = server.memory()
            print(f"# 1000 idle connections: {after - before} KiB", flush=True)
            assert SANITIZED or after - before < 8 * 1024, (before, after)
        finally:
            for connection in idle:
                connection.close()
        assert execute(server, "echo here")["stdout"] == "here\n"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_slow_reader_holds_the_file_back(_):
    with Server() as server:
        write(server.root, "large", bytes(64 * MEBIBYTE))
        readers = []
        for _ in range(8):
            connection = server.raw("files")
            connection.sendall(b"GET /v1/files/large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            readers.append(connection)
        with Client(server, "files") as client:
            assert client.json("GET", "/v1/health")[0] == 200
        time.sleep(0.3)
        peak = server.memory()[1]
        for connection in readers:
            connection.close()
        print(f"# peak {peak} KiB with 8 slow readers")
        assert peak < 10 * 1024 or SANITIZED, peak


def test_it_starts_fast_and_small(_):
    times = []
    for _ in range(5):
        began = time.monotonic()
        with Server() as server, Client(server, "runtime") as client:
            assert client.json("GET", "/")[0] == 200
            times.append(time.monotonic() - began)
            resident = server.memory()[0]
    print(f"# start to first answer {statistics.median(times) * 1000:.1f} ms, RSS {resident} KiB")
    assert resident <= 2048 or SANITIZED, resident
    assert statistics.median(times) < 0.1 or SANITIZED, times


def test_true_is_executed_fast(server):
    body = json.dumps({"command": "/bin/true"}).encode()
    request = (b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    times = []
    with server.raw("runtime") as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(200):
            began = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(65536)
            times.append(time.perf_counter() - began)
            assert answer.endswith(b'"exit_code":0}'), answer
    print(f"# /execute of /bin/true: p50 {statistics.median(times) * 1000:.2f} ms")


def test_sigterm_ends_idle_servers_at_once(_):
    with Server() as server:
        idle = server.raw("runtime")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 1
        idle.close()


def test_sigterm_ends_commands_then_answers(_):
    with Server() as server, Client(server, "files") as client:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            polite = pool.submit(execute, server, "sleep 100")
            stubborn = pool.submit(execute, server, "sh -c 'trap \"\" TERM; while :; do "
                                                    "sleep 0.1; done'")
            wait_for(lambda: execute(server, "pgrep -c sleep")["stdout"].strip() >= "2",
                     what="both commands")
            server.process.terminate()
            assert polite.result()["exit_code"] == -15
            status, answer = client.json("GET", "/v1/health")
            assert (status, answer["code"]) == (503, "UNAVAILABLE")
            assert stubborn.result()["exit_code"] == -9
        assert server.process.wait(20) == 0


def test_sigterm_lets_transfers_finish_until_the_limit(_):
    with Server(options=["--shutdown-timeout=30s"]) as server:
        contents = bytes(16 * MEBIBYTE)
        write(server.root, "large", contents)
        with server.raw("files") as connection:
            connection.sendall(b"GET /v1/files/large HTTP/1.1\r\nHost: x\r\n\r\n")
            received = connection.recv(1000)
            server.process.terminate()
            while data := connection.recv(1 << 20):
                received += data
            assert received.endswith(contents)
        assert server.process.wait(20) == 0
    with Server(options=["--shutdown-timeout", "300ms"]) as server:
        write(server.root, "large", bytes(64 * MEBIBYTE))
        with server.raw("files") as connection:
            connection.sendall(b"GET /v1/files/large HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1000)
            began = time.monotonic()
            assert server.stop() == 0
            assert 0.2 < time.monotonic() - began < 5


def test_as_first_process_it_reaps_orphans(_):
    with Server(wrapper=["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]) as server:
        assert execute(server, "sh -c 'exit 5'")["exit_code"] == 5
        assert execute(server, "sh -c 'sleep 0.05 >&- 2>&- & exit 6'")["exit_code"] == 6

        def states():
            return execute(server, "ps -eo stat=,args=")["stdout"]
        wait_for(lambda: "sleep" not in states(), 5, "the orphan's end")
        assert " <defunct>" not in states(), states()
        server.process.kill()


def test_bad_options_are_one_sentence(_):
    import subprocess
    for options in (["--rest-port=99999"], ["--listen-host=example.com"], ["--nonsense"],
                    ["operand"], ["--root-dir=/proc/nothing"], ["--shutdown-timeout=soon"]):
        run = subprocess.run([os.environ["SANDBOXD"], "--legacy-port=-1", "--base-dir=/tmp",
                              "--root-dir=/tmp", *options], stderr=subprocess.PIPE, text=True,
                             timeout=10, check=False)
        assert run.returncode == 1 and run.stderr.count("\n") == 1, (options, run.stderr)


if __name__ == "__main__":
    with Server() as one:
        tap.main(dict(globals()), (one,))
