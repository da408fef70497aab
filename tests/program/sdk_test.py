#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our SDK against a whole instance, by a tunnel and by the router's URL.

usage: KUBECONFIG=… CAY_ROUTER=ADDRESS:PORT sdk_test.py      (an instance: see on_instance.py)
"""

import io
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "sdk" / "python")]
from agentic_sandbox import SandboxClient, SandboxError, SandboxRequestError  # noqa: E402
from lib import objects, tap  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

POOL = "sdk"
ROUTER = "http://" + os.environ["CAY_ROUTER"]
WAYS = {"template, by tunnel": {"template_name": POOL},
        "template, by URL": {"template_name": POOL, "api_url": ROUTER},
        "pool, by tunnel": {"warmpool": POOL},
        "pool, by URL": {"warmpool": POOL, "api_url": ROUTER}}


def use(box):
    result = box.run("python3 -c 'print(6 * 7)'")
    assert (result.stdout, result.stderr, result.exit_code) == ("42\n", "", 0), result
    assert box.run("sh -c 'exit 3'").exit_code == 3
    contents = os.urandom(3_000_000)
    for path in ("plain", "deep/down/é \"q\".bin"):
        box.write(path, contents)
        assert box.read(path) == contents and box.exists(path)
    box.write("streamed", io.BytesIO(contents))
    back = io.BytesIO()
    assert box.read_to("streamed", back) == len(contents) and back.getvalue() == contents
    assert [entry.name for entry in box.list("deep")] == ["down"]
    assert not box.exists("missing")


def is_gone(api, claim):
    return api.get(objects.path("sandboxclaims", name=claim))[0] == 404


def test_each_way_leads_to_a_warm_sandbox(api):
    for title, arguments in WAYS.items():
        wait_for(lambda: objects.ready_members(api, POOL) == 2, what="a full pool")
        began = time.perf_counter()
        with SandboxClient(**arguments) as box:
            print(f"# {title}: {(time.perf_counter() - began) * 1000:.0f} ms", flush=True)
            assert box.sandbox_name.startswith(f"{POOL}-"), f"{box.sandbox_name} is cold"
            use(box)
        wait_for(lambda it=box.claim_name: is_gone(api, it), what="the claim's end")


def test_a_command_has_a_limit(_):
    with SandboxClient(warmpool=POOL, api_url=ROUTER) as box:
        result = box.run("sleep 60", command_timeout=0.3)
        assert result.timed_out and result.exit_code != 0, result


def test_what_fails_says_why(api):
    began = time.monotonic()
    for arguments, words in (({"template_name": "none"}, "TemplateNotFound"),
                             ({"warmpool": "none"}, "WarmPoolNotFound")):
        client = SandboxClient(**arguments, api_url=ROUTER)
        try:
            with client:
                raise AssertionError("it is there")
        except SandboxError as error:
            assert words in str(error), error
        wait_for(lambda it=client.claim_name: is_gone(api, it), what="the claim's end")
    assert time.monotonic() - began < 30, "it waited"
    with SandboxClient(warmpool=POOL, api_url=ROUTER) as box:
        for call, status in ((lambda: box.read("missing"), 404),
                             (lambda: box.write("../../etc/x", b""), 403)):
            try:
                raise AssertionError(f"gave {call()!r}")
            except SandboxRequestError as error:
                assert error.status_code == status, error


if __name__ == "__main__":
    connected = Api(os.environ["KUBECONFIG"])
    objects.make_pool(connected, POOL, 2)
    tap.main(globals(), (connected,))
