#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commands of `cay` that use sandboxes, on a real instance."""

import errno
import hashlib
import json
import os
import pathlib
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402


def environment(instance):
    return {**os.environ, "CAY_DATA": instance.data, "KUBECONFIG": instance.kubeconfig}


def start(instance, *arguments, **more):
    return subprocess.Popen([instance.cay, *arguments], env=environment(instance), **more)


def left(api):
    """Names of what is there, but for pool members and what is going."""
    names = []
    for resource in ("sandboxes", "sandboxclaims"):
        for item in api.get(objects.path(resource))[1]["items"]:
            metadata = item["metadata"]
            owners = [owner["kind"] for owner in metadata.get("ownerReferences", [])]
            if "deletionTimestamp" not in metadata and "SandboxWarmPool" not in owners:
                names.append(metadata["name"])
    return names


def expect_nothing_left(api):
    wait_for(lambda: not left(api), what="everything to go")


def test_run_returns_output_and_exit_code(instance, api):
    done = instance.run("run", "-e", "WORD=two words", "--", "sh", "-c",
                        'echo "$WORD"; echo err >&2; exit 7', check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "two words\n", "err\n"), done
    assert instance.run("run", "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    missing = instance.run("run", "nosuchprogram", check=False)
    assert missing.returncode == 127 and "nosuchprogram" in missing.stderr, missing
    expect_nothing_left(api)


def test_keys_and_tokens_are_the_owners_alone(instance, _):
    assert os.stat(instance.kubeconfig).st_mode & 0o777 == 0o600
    secret = (b"PRIVATE KEY-----", b"token: ", b"client-key-data")
    for folder, _, names in os.walk(instance.data):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue  # a socket
            with open(path, "rb") as file:
                content = file.read(1 << 20)
            if any(word in content for word in secret):
                assert os.stat(path).st_mode & 0o007 == 0, path


def test_run_sets_folder_and_limits(instance, api):
    assert instance.run("run", "-w", "/tmp", "--", "pwd").stdout == "/tmp\n"
    instance.run("run", "--keep", "--name", "small", "--cpu", "500m", "--memory", "96Mi", "--", "true")
    spec = api.get(objects.path("pods", name="small"))[1]["spec"]["containers"][0]
    assert spec["resources"]["limits"] == {"cpu": "500m", "memory": "96Mi"}, spec
    hog = "x = bytearray(200 << 20)"
    assert instance.run("exec", "small", "--", "python3", "-c", hog, check=False).returncode == 137
    instance.run("rm", "small")
    for arguments, word in ((("--memory", "lots"), "lots"), (("-w", "relative"), "--workdir"),
                            (("--pool", "any", "--cpu", "1"), "cay pool create")):
        refused = instance.run("run", *arguments, "--", "true", check=False)
        assert refused.returncode in (1, 2) and len(refused.stderr.splitlines()) == 1, refused
        assert word in refused.stderr, refused
    expect_nothing_left(api)


def test_run_streams_both_ways(instance, api):
    data = random.randbytes(8 * 1024 * 1024)
    done = subprocess.run([instance.cay, "run", "-i", "--", "cat"], input=data,
                          env=environment(instance), capture_output=True, check=True)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    running = start(instance, "run", "-i", "--", "cat", stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    for line in (b"one\n", b"two\n"):  # each comes back before the next is sent
        running.stdin.write(line)
        running.stdin.flush()
        assert running.stdout.readline() == line
    running.stdin.close()
    assert running.wait(10) == 0
    running.stdout.close()
    expect_nothing_left(api)


def test_run_takes_from_a_pool(instance, api):
    instance.run("pool", "create", "warm", "--replicas", "2", "--wait")
    members = {item["metadata"]["name"] for item in api.get(objects.path("sandboxes"))[1]["items"]}
    for option in ("--pool", "--template"):
        wait_for(lambda: objects.ready_members(api, "warm") == 2, what="the pool")
        members |= {item["metadata"]["name"]
                    for item in api.get(objects.path("sandboxes"))[1]["items"]}
        done = instance.run("run", option, "warm", "-e", "A=b", "-w", "/tmp", "--", "sh", "-c",
                            "hostname; echo $A; pwd")
        host, value, folder = done.stdout.split()
        assert host in members and (value, folder) == ("b", "/tmp"), (done.stdout, members)
    expect_nothing_left(api)


def test_interruptions_leave_nothing(instance, api):
    for number in range(24):
        source = ["--pool", "warm"] if number % 2 else []
        running = start(instance, "run", *source, "--", "sleep", "1000",
                        stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.12))  # the moment is what is tried
        sent = random.choice((signal.SIGINT, signal.SIGTERM))
        running.send_signal(sent)
        status = running.wait(20)
        # Before the command has begun to listen, the signal ends it as any other.
        assert status in (128 + sent, -sent), status
    expect_nothing_left(api)


def test_time_runs_out(instance, api):
    began = time.monotonic()
    done = instance.run("run", "--timeout", "1s", "--", "sleep", "1000", check=False)
    assert done.returncode == 124 and time.monotonic() - began < 10, done
    done = instance.run("run", "--timeout", "1s", "--image", "absent:1", "--", "true", check=False)
    assert done.returncode in (1, 124) and "absent:1" in done.stderr, done
    expect_nothing_left(api)


def test_what_is_kept_is_used_by_its_name(instance, api):
    instance.run("run", "--keep", "--name", "box", "--", "sh", "-c", "echo kept > /tmp/file")
    rows = json.loads(instance.run("ls", "-o", "json").stdout)["items"]
    row = next(row for row in rows if row["name"] == "box")
    assert row["ready"] and row["kind"] == "sandbox" and row["podIP"], row
    assert "box" in instance.run("ls").stdout
    done = instance.run("exec", "box", "--", "cat", "/tmp/file")
    assert done.stdout == "kept\n", done
    assert "will serve" in instance.run("logs", "box").stdout
    assert len(instance.run("logs", "box", "--tail", "1").stdout.splitlines()) == 1
    following = start(instance, "logs", "-f", "box", stdout=subprocess.PIPE)
    assert b"will serve" in following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130
    following.stdout.close()
    assert instance.run("rm", "box").stdout == "sandbox/box deleted\n"
    expect_nothing_left(api)
    again = instance.run("exec", "box", "--", "true", check=False)
    assert again.returncode == 1 and "see cay ls" in again.stderr, again


def test_claims_are_used_by_their_name(instance, api):
    instance.run("run", "--pool", "warm", "--keep", "--name", "mine", "--", "touch", "/tmp/mine")
    instance.run("exec", "mine", "--", "test", "-f", "/tmp/mine")
    held = api.get(objects.path("sandboxclaims", name="mine"))[1]["status"]["sandbox"]["name"]
    instance.run("exec", held, "--", "test", "-f", "/tmp/mine")
    refused = instance.run("rm", held, check=False)
    assert refused.returncode == 1 and "cay rm claim/mine" in refused.stderr, refused
    stays = instance.run("pool", "rm", "warm")
    assert "template/warm stays: 1 claimed" in stays.stdout, stays
    instance.run("exec", "mine", "--", "true")
    assert instance.run("rm", "mine").stdout == "claim/mine deleted\n"
    expect_nothing_left(api)


def read_until(descriptor, text, timeout=15):
    seen = b""
    until = time.monotonic() + timeout
    while text not in seen:
        assert time.monotonic() < until, seen
        if select.select([descriptor], [], [], 0.5)[0]:
            try:
                seen += os.read(descriptor, 4096)
            except OSError as failure:
                assert failure.errno == errno.EIO and text in seen, seen
                break
    return seen


def test_a_terminal_is_one_on_the_other_side(instance, api):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (31, 97))
    before = termios.tcgetattr(slave)
    running = start(instance, "run", "-it", "--", "sh", stdin=slave, stdout=slave, stderr=slave)
    os.write(master, b"stty size; tty; echo do''ne\n")
    seen = read_until(master, b"done")
    assert b"31 97" in seen and b"/dev/pts" in seen, seen
    termios.tcsetwinsize(master, (20, 50))
    running.send_signal(signal.SIGWINCH)
    wait_for(lambda: os.write(master, b"stty size\n") and b"20 50" in os.read(master, 4096),
             what="the new size")
    os.write(master, b"echo star''ted; sleep 1000\n")
    read_until(master, b"started")
    os.write(master, b"\x03echo interr''upted\nexit 9\n")
    assert b"interrupted" in read_until(master, b"interrupted")
    assert running.wait(15) == 9
    assert termios.tcgetattr(slave)[:4] == before[:4]
    os.close(master)
    os.close(slave)
    expect_nothing_left(api)


def test_pools_come_and_go(instance, api):
    instance.run("pool", "create", "second", "--image", "busybox", "-r", "1", "--wait", "--",
                 "sleep", "1000000")
    again = instance.run("pool", "create", "second", check=False)
    assert again.returncode == 1 and "cay pool scale" in again.stderr, again
    instance.run("pool", "scale", "second", "-r", "3")
    rows = json.loads(instance.run("pool", "ls", "-o", "json").stdout)["items"]
    assert [(row["name"], row["desired"]) for row in rows] == [("second", 3)], rows
    gone = instance.run("pool", "rm", "second").stdout
    assert gone == "pool/second deleted\ntemplate/second deleted\n", gone
    wait_for(lambda: not api.get(objects.path("sandboxes"))[1]["items"], what="the members to go")


def test_words_are_completed(instance, _):
    script = ('source <("$CAY" completion bash); PATH=$(dirname "$CAY"):$PATH; '
              'complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cay; '
              'echo "${COMPREPLY[@]}"; }; '
              'complete_it cay ku; complete_it cay run --ti; complete_it cay exec ""; '
              'complete_it cay pool create --rep')
    instance.run("run", "--keep", "--name", "box", "--", "true")
    done = subprocess.run(["bash", "-c", script], text=True, capture_output=True, check=True,
                          env={**environment(instance), "CAY": os.path.abspath(instance.cay)})
    assert done.stdout.splitlines() == ["kubeconfig", "--timeout", "sandbox/box", "--replicas"], done
    instance.run("rm", "box")


if __name__ == "__main__":
    with Instance() as started:
        tap.main(globals(), (started, started.api()))
