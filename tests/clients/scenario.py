# SPDX-License-Identifier: Apache-2.0
"""What one does with upstream's k8s_agent_sandbox, any version: run inside a venv that has it.

Usage: scenario.py NAMESPACE POOL [ROUTER_URL]     without a URL by `kubectl port-forward`
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402

from k8s_agent_sandbox import SandboxClient  # noqa: E402
from k8s_agent_sandbox.models import (  # noqa: E402
    SandboxDirectConnectionConfig, SandboxLocalTunnelConnectionConfig)


def test_a_sandbox_is_claimed(world):
    began = time.perf_counter()
    world.box = world.client.create_sandbox(warmpool=world.pool, namespace=world.namespace,
                                            labels={"made-by": "scenario"})
    print(f"# claimed in {(time.perf_counter() - began) * 1000:.0f} ms")
    assert world.box.is_active and world.box.sandbox_id
    assert world.box.get_pod_name(), "no Pod"


def test_commands_run(world):
    result = world.box.commands.run("python3 -c 'print(6 * 7)'")
    assert (result.stdout, result.stderr, result.exit_code) == ("42\n", "", 0), result
    result = world.box.commands.run("sh -c 'echo bad >&2; exit 3'")
    assert (result.stderr, result.exit_code) == ("bad\n", 3), result
    assert world.box.commands.run("no-such-program").exit_code == 1


def test_a_command_has_a_limit(world):
    if "command_timeout" not in world.box.commands.run.__wrapped__.__code__.co_varnames:
        raise tap.Skip("this version has no command_timeout")
    result = world.box.commands.run("sleep 60", command_timeout=0.3)
    assert result.timed_out and result.exit_code != 0, result


def test_files_go_there_and_back(world):
    contents = bytes(range(256)) * 1000
    for path in ("plain.txt", "deep/down/data.bin", "with blank é.txt"):
        world.box.files.write(path, contents)
        assert world.box.files.read(path) == contents
        assert world.box.files.exists(path)
    assert not world.box.files.exists("missing")
    names = {entry.name: entry for entry in world.box.files.list("deep/down")}
    assert names["data.bin"].size == len(contents) and names["data.bin"].type == "file"
    assert {entry.type for entry in world.box.files.list("deep")} == {"directory"}
    assert world.box.commands.run("sha256sum plain.txt").stdout.endswith("plain.txt\n")


def test_missing_files_are_an_error(world):
    try:
        world.box.files.read("missing")
    except Exception as error:  # its class differs between the versions
        assert getattr(error, "status_code", None) == 404, error
    else:
        raise AssertionError("reading what is missing gave something")


def test_it_is_found_again(world):
    again = world.client.get_sandbox(world.box.claim_name, namespace=world.namespace)
    assert again.sandbox_id == world.box.sandbox_id
    assert again.commands.run("cat plain.txt").exit_code == 0
    assert world.box.claim_name in world.client.list_all_sandboxes(namespace=world.namespace)


def test_it_is_deleted(world):
    claim = world.box.claim_name
    world.client.delete_sandbox(claim, namespace=world.namespace)
    deadline = time.monotonic() + 30
    while claim in world.client.list_all_sandboxes(namespace=world.namespace):
        assert time.monotonic() < deadline, "the claim is still listed"
        time.sleep(0.1)


class World:
    def __init__(self, namespace, pool, url=None):
        self.namespace, self.pool, self.box = namespace, pool, None
        self.client = SandboxClient(
            connection_config=SandboxDirectConnectionConfig(api_url=url) if url else
            SandboxLocalTunnelConnectionConfig())


if __name__ == "__main__":
    made = World(*sys.argv[1:])
    try:
        tap.main(dict(globals()), (made,))
    finally:
        made.client.delete_all()
