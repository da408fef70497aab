#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubectl and cay on Pods that run: exec, logs, cp, port-forward; run, ls, exec, logs, rm.

usage: KUBECONFIG=… CAY=… kubectl_pods_test.py      (an instance: see on_instance.py)
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

KUBECTL = os.environ.get("KUBECTL", "kubectl")
CAY = os.environ["CAY"]
NAME = "box"


def run(*command, stdin=None, timeout=60):
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False,
                          text=not isinstance(stdin, bytes))


def same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def test_a_sandbox_becomes_ready(api):
    api.create(objects.path("sandboxes"), objects.sandbox(NAME))
    done = run(KUBECTL, "wait", "--for=condition=Ready", f"sandbox/{NAME}", "--timeout=30s")
    same(0, done.returncode)


def test_exec_returns_output_and_exit_code(_):
    done = run(KUBECTL, "exec", NAME, "--", "python3", "-c", "print(6 * 7)")
    same((0, "42\n"), (done.returncode, done.stdout))
    done = run(KUBECTL, "exec", NAME, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    same((7, "out\n"), (done.returncode, done.stdout))
    assert done.stderr.startswith("err\n"), done.stderr


def test_exec_takes_standard_input_of_any_size(_):
    data = os.urandom(3 * 1024 * 1024)
    done = run(KUBECTL, "exec", "-i", NAME, "--", "cat", stdin=data)
    same(0, done.returncode)
    assert done.stdout == data, f"{len(done.stdout)} of {len(data)} bytes came back"


def test_exec_of_an_absent_program_fails(_):
    done = run(KUBECTL, "exec", NAME, "--", "no-such-program")
    same(127, done.returncode)
    assert "no-such-program" in done.stderr, done.stderr


def test_a_terminal(_):
    done = run("script", "-qec", f"{KUBECTL} exec -it {NAME} -- sh -c 'tty; stty size'", "/dev/null")
    assert "/dev/pts/" in done.stdout, done.stdout


def test_logs(_):
    done = run(KUBECTL, "logs", NAME)
    same(0, done.returncode)
    assert "will serve the ports 8888,8080,9090" in done.stdout, done.stdout
    one = run(KUBECTL, "logs", NAME, "--tail=1", "--timestamps").stdout.splitlines()
    same(1, len(one))
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z ", one[0]), one


def test_logs_follow(_):
    command = [KUBECTL, "logs", "-f", NAME, "--tail=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout.readline()
            run(KUBECTL, "exec", NAME, "--", "sh", "-c", "echo followed >/proc/2/fd/2")
            same("followed\n", following.stdout.readline())
        finally:
            following.terminate()


def test_cp_there_and_back(_):
    with tempfile.TemporaryDirectory() as folder:
        there, back = os.path.join(folder, "there"), os.path.join(folder, "back")
        contents = os.urandom(500_000)
        pathlib.Path(there).write_bytes(contents)
        same(0, run(KUBECTL, "cp", there, f"{NAME}:/tmp/copied").returncode)
        same(0, run(KUBECTL, "cp", f"{NAME}:/tmp/copied", back).returncode)
        assert pathlib.Path(back).read_bytes() == contents


def test_port_forward(_):
    with subprocess.Popen([KUBECTL, "port-forward", f"pod/{NAME}", ":8888"],
                          stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            port = re.search(r"127\.0\.0\.1:(\d+) ->", forwarding.stdout.readline()).group(1)
            for _ in range(3):  # a stream pair each, over one connection
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    same("ok", json.loads(answer.read())["status"])
        finally:
            forwarding.terminate()


def test_cay_ls(_):
    found = json.loads(run(CAY, "ls", "-o", "json").stdout)
    assert NAME in json.dumps(found), found


def test_cay_exec_and_logs(_):
    done = run(CAY, "exec", NAME, "--", "sh", "-c", "echo inside; exit 3")
    same((3, "inside\n"), (done.returncode, done.stdout))
    assert "will serve" in run(CAY, "logs", NAME).stdout


def test_cay_run_is_one_command_in_a_fresh_sandbox(api):
    done = run(CAY, "run", "--", "python3", "-c", "print('fresh')")
    same((0, "fresh\n"), (done.returncode, done.stdout))
    same(5, run(CAY, "run", "--", "sh", "-c", "exit 5").returncode)
    wait_for(lambda: [item["metadata"]["name"] for item in
                      api.get(objects.path("sandboxes"))[1]["items"]] == [NAME],
             what="the sandboxes of cay run to go")


def test_cay_rm(api):
    same(0, run(CAY, "rm", NAME).returncode)
    wait_for(lambda: api.get(objects.path("sandboxes", name=NAME))[0] == 404, what="the end")


if __name__ == "__main__":
    tap.main(globals(), (Api(os.environ["KUBECONFIG"]),))
