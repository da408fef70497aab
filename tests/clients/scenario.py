# SPDX-License-Identifier: Apache-2.0
"""What one does with upstream's k8s_agent_sandbox, any version: run inside a venv that has it.

Usage: scenario.py WAY NAMESPACE POOL ROUTER_URL

WAY is how sandboxes are reached: `direct` by the router's URL, `tunnel` by `kubectl port-forward` to
the router's Service, `address` by the Pod's address, `async` by the asynchronous client and the URL,
`sandboxd-tunnel` and `sandboxd-address` by `kubectl port-forward` to the Pod and by its address, files
by sandboxd's REST API and commands by gRPC.
What only newer versions have is tested where they have it.
"""

import asyncio
import inspect
import io
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402

import k8s_agent_sandbox  # noqa: E402
from k8s_agent_sandbox import exceptions, models  # noqa: E402

CONNECTIONS = {
    "direct": lambda url: models.SandboxDirectConnectionConfig(api_url=url),
    "tunnel": lambda url: models.SandboxLocalTunnelConnectionConfig(),
    "address": lambda url: models.SandboxInClusterConnectionConfig(),
    "async": lambda url: models.SandboxDirectConnectionConfig(api_url=url),
    "sandboxd-tunnel": lambda url: models.SandboxdPodTunnelConnectionConfig(),
    "sandboxd-address": lambda url: models.SandboxdInClusterConnectionConfig(
        mode="in-cluster-pod-ip"),
}
CREATE = inspect.signature(k8s_agent_sandbox.SandboxClient.create_sandbox).parameters


class Waited:
    """An asynchronous object with its coroutines run to their end: the same tests serve both."""

    def __init__(self, loop, inner):
        self._loop, self._inner = loop, inner

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if inspect.iscoroutine(value):
            return self._wrap(self._loop.run_until_complete(value))
        if callable(value):
            return lambda *args, **more: self._wrap(self._call(value, args, more))
        return self._wrap(value)

    def _call(self, function, args, more):
        result = function(*args, **more)
        return self._loop.run_until_complete(result) if inspect.iscoroutine(result) else result

    def _wrap(self, value):
        is_theirs = type(value).__module__.startswith("k8s_agent_sandbox.") and not isinstance(
            value, (models.ExecutionResult, models.FileEntry))
        return Waited(self._loop, value) if is_theirs else value


class AsyncSink(io.BytesIO):
    async def write(self, data):
        return super().write(data)


def has_parameter(function, name):
    return name in inspect.signature(inspect.unwrap(function)).parameters


def fails(error, function, *arguments, **more):
    try:
        result = function(*arguments, **more)
    except error as raised:
        return raised
    raise AssertionError(f"gave {result!r} instead of {error.__name__}")


def test_a_sandbox_is_claimed(world):
    began = time.perf_counter()
    world.box = world.create(labels={"made-by": "scenario"}, shutdown_after_seconds=600,
                             pod_labels={"sandbox.users.io/made-by": "scenario"})
    print(f"# claimed in {(time.perf_counter() - began) * 1000:.0f} ms")
    assert world.box.is_active and world.box.sandbox_id
    assert world.box.get_pod_name(), "no Pod"
    assert world.box.status()[0] == "SandboxReady", world.box.status()
    assert (world.namespace, world.box.claim_name) in world.client.list_active_sandboxes()


def test_commands_run(world):
    result = world.box.commands.run("python3 -c 'print(6 * 7)'")
    assert (result.stdout, result.stderr, result.exit_code) == ("42\n", "", 0), result
    result = world.box.commands.run("sh -c 'echo bad >&2; exit 3'")
    assert (result.stderr, result.exit_code) == ("bad\n", 3), result
    missing = 127 if world.by_grpc else 1  # a shell says so
    assert world.box.commands.run("no-such-program").exit_code == missing


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
    error = fails(Exception, world.box.files.read, "missing")  # its class differs by version
    assert getattr(error, "status_code", None) == 404, error


def test_it_is_found_again(world):
    again = world.client.get_sandbox(world.box.claim_name, namespace=world.namespace)
    assert again.sandbox_id == world.box.sandbox_id
    assert again.commands.run("cat plain.txt").exit_code == 0
    for labels in (None, "made-by=scenario"):
        listed = world.client.list_all_sandboxes(namespace=world.namespace, label_selector=labels)
        assert world.box.claim_name in listed


def test_a_pool_that_is_not_there_is_told_at_once(world):
    began = time.monotonic()
    fails(exceptions.SandboxWarmPoolNotFoundError, world.client.create_sandbox,
          warmpool="no-such-pool", namespace=world.namespace)
    assert time.monotonic() - began < 20, "it waited"


def test_it_is_deleted(world):
    claim = world.box.claim_name
    world.client.delete_sandbox(claim, namespace=world.namespace)
    deadline = time.monotonic() + 30
    while claim in world.client.list_all_sandboxes(namespace=world.namespace):
        assert time.monotonic() < deadline, "the claim is still listed"
        time.sleep(0.05)


if has_parameter(k8s_agent_sandbox.commands.command_executor.CommandExecutor.run,
                 "command_timeout"):
    def test_a_command_has_a_limit(world):
        world.box = world.create()
        result = world.box.commands.run("sleep 60", command_timeout=0.3)
        assert result.timed_out and result.exit_code == 124, result

    def test_files_are_streamed(world):
        contents = bytes(range(256)) * 20_000
        world.box.files.write("streamed", io.BytesIO(contents))
        back = AsyncSink() if world.way == "async" else io.BytesIO()
        world.box.files.read_to("streamed", back)
        assert back.getvalue() == contents, len(back.getvalue())

if sys.argv[1].startswith("sandboxd"):
    def test_a_command_has_variables_and_a_directory(world):
        world.box.files.write("work/here.txt", b"found")
        result = world.box.commands.run('echo "$GREETING"; cat here.txt; echo bad >&2; exit 3',
                                        env={"GREETING": "hi"}, cwd="work")
        assert (result.stdout, result.stderr, result.exit_code) == ("hi\nfound", "bad\n", 3), result

    def test_a_large_output_comes_whole(world):
        result = world.box.commands.run("seq 1 300000")
        assert len(result.stdout) == 1988895 and result.stdout.endswith("300000\n")

if "adopt_existing" in CREATE:
    def test_a_claim_is_taken_over(world):
        first = world.create(claim_name=f"agent-{world.way}")
        second = world.create(claim_name=f"agent-{world.way}", adopt_existing=True)
        assert first.sandbox_id == second.sandbox_id, "another sandbox"
        error = fails(Exception, world.create, claim_name=f"agent-{world.way}")
        assert getattr(error, "status", getattr(error.__cause__, "status", None)) == 409, error

if "env" in CREATE:
    def test_variables_are_given(world):
        box = world.create(env={"GREETING": "hello there"})
        assert box.commands.run("printenv GREETING").stdout == "hello there\n"


class World:
    def __init__(self, way, namespace, pool, url):
        self.way, self.namespace, self.pool, self.box = way, namespace, pool, None
        self.by_grpc = way.startswith("sandboxd")
        connection = CONNECTIONS[way](url)
        if way == "async":
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            self.client = Waited(loop, k8s_agent_sandbox.AsyncSandboxClient(
                connection_config=connection))
        else:
            self.client = k8s_agent_sandbox.SandboxClient(connection_config=connection)

    def create(self, **more):
        return self.client.create_sandbox(warmpool=self.pool, namespace=self.namespace, **more)

    def end(self):
        self.client.delete_all()
        if self.way == "async":
            self.client.close()


if __name__ == "__main__":
    made = World(*sys.argv[1:])
    try:
        tap.main(dict(globals()), (made,))
    finally:
        made.end()
