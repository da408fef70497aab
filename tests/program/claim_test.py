#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One claim through every layer, on a real instance: from the POST to Python run inside."""

import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, router, tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402


def claim_and_wait(api, name, pool):
    """Creates a claim and follows the watch to Ready; (seconds from POST to event, object)."""
    path = objects.path("sandboxclaims")
    watch = None
    began = time.perf_counter()
    created = api.create(path, objects.claim(name, pool))
    version = created["metadata"]["resourceVersion"]
    watch = api.watch(f"{path}?watch=true&fieldSelector=metadata.name%3D{name}"
                      f"&resourceVersion={version}")
    for _, claim in watch:
        if objects.condition(claim) == "True":
            return time.perf_counter() - began, claim
    raise AssertionError("the watch ended before the claim was ready")


def test_a_pool_becomes_ready(instance, api):
    objects.make_pool(api, "warm", 2)
    wait_for(lambda: objects.ready_members(api, "warm") == 2, what="two ready members")


def test_a_claim_takes_a_ready_member(instance, api):
    _, before = api.get(objects.path("sandboxes"))
    members = {item["metadata"]["name"] for item in before["items"]}
    seconds, claim = claim_and_wait(api, "first", "warm")
    name = claim["status"]["sandbox"]["name"]
    assert name in members, f"{name} was not in the pool before: {members}"
    assert claim["status"]["sandbox"]["podIPs"], claim["status"]
    _, sandbox = api.get(objects.path("sandboxes", name=name))
    owners = sandbox["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [claim["metadata"]["uid"]], owners
    print(f"# warm claim: {seconds * 1000:.2f} ms")


def test_python_runs_inside(instance, api):
    _, claim = api.get(objects.path("sandboxclaims", name="first"))
    sandbox = router.Sandbox(instance.router, claim["status"]["sandbox"]["name"])
    result = sandbox.execute("python3 -c 'print(6 * 7)'")
    assert result == {"stdout": "42\n", "stderr": "", "exit_code": 0}, result
    assert sandbox.execute("sh -c 'exit 3'")["exit_code"] == 3
    sandbox.close()


def test_a_file_is_written_and_read_back(instance, api):
    _, claim = api.get(objects.path("sandboxclaims", name="first"))
    sandbox = router.Sandbox(instance.router, claim["status"]["sandbox"]["name"])
    contents = bytes(range(256)) * 4096
    status, body = sandbox.upload("notes/data.bin", contents)
    assert status == 200, (status, body)
    status, body = sandbox.download("notes/data.bin")
    assert (status, body) == (200, contents), (status, len(body))
    sandbox.close()


def test_the_host_is_out_of_sight(instance, api):
    _, claim = api.get(objects.path("sandboxclaims", name="first"))
    sandbox = router.Sandbox(instance.router, claim["status"]["sandbox"]["name"])
    settings = os.path.expanduser("~root/.bashrc")
    for secret in ("/etc/shadow", settings, f"{instance.data}/kubeconfig"):
        result = sandbox.execute(f"cat {secret}")
        assert result["exit_code"] != 0, f"{secret} can be read"
    processes = sandbox.execute("sh -c 'ls -d /proc/[0-9]* | wc -l'")
    assert int(processes["stdout"]) < 10, processes
    capabilities = sandbox.execute("grep CapEff /proc/self/status")["stdout"].split()[1]
    assert int(capabilities, 16) == 0, capabilities
    sandbox.close()


def test_the_pool_is_refilled(instance, api):
    wait_for(lambda: objects.ready_members(api, "warm") == 2, what="the pool's refill")


def test_deleting_the_claim_ends_its_sandbox(instance, api):
    _, claim = api.get(objects.path("sandboxclaims", name="first"))
    name = claim["status"]["sandbox"]["name"]
    status, _ = api.request("DELETE", objects.path("sandboxclaims", name="first"))
    assert status == 200, status
    for resource in ("sandboxes", "pods"):
        wait_for(lambda kind=resource: api.get(objects.path(kind, name=name))[0] == 404,
                 what=f"{resource}/{name} to go")


def test_the_latency_of_a_warm_claim(instance, api):
    """Prints it; `make bench` is where it is measured with care."""
    seconds = []
    for number in range(20):
        wait_for(lambda: objects.ready_members(api, "warm") == 2, what="the pool's refill")
        took, _ = claim_and_wait(api, f"timed-{number}", "warm")
        seconds.append(took)
        api.request("DELETE", objects.path("sandboxclaims", name=f"timed-{number}"))
    print(f"# warm claim, POST to Ready event (Python client): p50 "
          f"{statistics.median(seconds) * 1000:.2f} ms, max {max(seconds) * 1000:.2f} ms")
    assert statistics.median(seconds) < 0.1


if __name__ == "__main__":
    with Instance() as started:
        client = started.api()
        tap.main(globals(), (started, client))
