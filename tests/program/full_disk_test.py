#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full for a while: writes are refused, nothing half-done stays, and then it goes on."""

import errno
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402

SIZE = "192m"
CHUNK = 1 << 20
MERGE = "application/merge-patch+json"
# The store's log has 16 MiB that it owns already. So much is written to it at most.
WRITES_MOST = 1000
LISTED_AGAIN = 1.0  # seconds: ABORTED_MS of src/apiserver/local_feed.c
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def fill(path):
    """Again before each write: what somebody else gives back is not to be had either."""
    with open(path, "ab", buffering=0) as file:
        try:
            while file.write(bytes(CHUNK)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


def until_refused(instance, write):
    """How many writes were taken; what is written, by number, until the disk has not even a page."""
    for number in range(WRITES_MOST):
        fill(instance.filler)
        status, document = write(number)
        if status >= 400:
            assert status == 500 and "no space" in document["message"], (status, document)
            return number
    raise AssertionError(f"a full disk took {WRITES_MOST} writes")


def config_map(name, size):
    return {"metadata": {"name": name}, "data": {"key": "x" * size}}


def ready_claim(api, name):
    def ready():
        _, claim = api.get(objects.path("sandboxclaims", name=name))
        return claim if objects.condition(claim) == "True" else None

    return wait_for(ready, what=f"the claim {name} to be ready")


def test_a_full_disk_refuses_and_serves(instance, api):
    objects.make_pool(api, "warm", 2)
    wait_for(lambda: objects.ready_members(api, "warm") == 2, what="two ready members")
    api.create(objects.path("sandboxclaims"), objects.claim("early", "warm"))
    instance.early = ready_claim(api, "early")["status"]["sandbox"]["name"]
    wait_for(lambda: objects.ready_members(api, "warm") == 2, what="two ready members again")
    api.create(CONFIG_MAPS, config_map("small", 1))
    instance.control = instance.roles()["control"]
    big = until_refused(
        instance, lambda n: api.request("POST", CONFIG_MAPS, config_map(f"b{n}", 900_000)))
    until_refused(instance, lambda n: api.request("PATCH", f"{CONFIG_MAPS}/small",
                                                  {"data": {"key": str(n)}}, MERGE))
    refused = (("POST", objects.path("sandboxclaims"), objects.claim("refused", "warm")),
               ("DELETE", objects.path("sandboxclaims", name="early"), None))
    # As long as the controllers take to list anew, and be told of more that is not so.
    deadline = time.monotonic() + 3 * LISTED_AGAIN
    while time.monotonic() < deadline:
        for method, path, body in refused:
            fill(instance.filler)
            status, document = api.request(method, path, body)
            assert status == 500 and "no space" in document["message"], (method, status, document)
    assert api.get(objects.path("sandboxclaims", name="refused"))[0] == 404
    status, listed = api.get(CONFIG_MAPS)
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert status == 200 and {f"b{n}" for n in range(big + 1)} - names == {f"b{big}"}, names


def test_with_room_again_the_controllers_go_on(instance, api):
    """What they had been told of the refused writes is forgotten."""
    os.unlink(instance.filler)
    api.create(objects.path("sandboxclaims"), objects.claim("later", "warm"))
    later = ready_claim(api, "later")["status"]["sandbox"]["name"]
    wait_for(lambda: objects.ready_members(api, "warm") == 2, what="the pool to be whole again")
    _, listed = api.get(objects.path("sandboxes"))
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert len(names) == 4 and {instance.early, later} <= names, (instance.early, later, names)
    assert instance.roles()["control"] == instance.control, "the control process was restarted"
    ended = {"spec": {"lifecycle": {"shutdownTime": "2020-01-01T00:00:00Z",
                                    "shutdownPolicy": "Delete"}}}
    path = objects.path("sandboxclaims", name="early")
    assert api.request("PATCH", path, ended, MERGE)[0] == 200
    wait_for(lambda: api.get(path)[0] == 404, what="a claim whose time is over to go")


class OnSmallDisk(Instance):
    """Its folder is a file system of its own."""

    def __init__(self):
        super().__init__()
        self.filler = os.path.join(self.folder, "filler")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "cay-test",
                        self.folder], check=True)

    def down(self):
        super().down()
        subprocess.run(["umount", self.folder], check=True)


if __name__ == "__main__":
    with OnSmallDisk() as started:
        client = started.api()
        tap.main(globals(), (started, client))
