#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts that cannot succeed: each ends soon, in one sentence with the way out, and leaves nothing.

Mutations that must fail here: supervisor.c reports no failing role (damaged data); machine.c's
has_capabilities() always true (container); up.c without add_cure for -ENOSPC (full disk), without is_port(), name_node() copying the host's
name; instance.c's is_foreign() always false; options_parse_alone() that is content with operands; check_overcommit() that lets 0 pass;
find_late() that names the last role; bind.c that multiplies what the Node offers; node.c that opens its signals before its runtime.
"""

import glob
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import leftovers, tap  # noqa: E402
from lib.instance import Api, Instance, wait_for  # noqa: E402

# What a start that is given up without a reason says, after READY_TIMEOUT_SECONDS of up.c.
TOO_LATE = "does not serve after"
PATIENCE = 300  # seconds: a hang, however busy the machine is


class Folder:
    """A data folder without an instance."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="cay-test-")
        os.chmod(self.folder, 0o755)
        self.data = os.path.join(self.folder, "data")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


def command(data, *options):
    network = f"10.{random.randrange(90, 250)}.{random.randrange(256)}.0/24"
    return [os.environ["CAY"], "up", "-d", "--data", data, "--listen", "127.0.0.1:0",
            "--router-listen", "127.0.0.1:0", "--pod-cidr", network, *options]


def fail(data, arguments, *words):
    """Runs what must fail; its answer is one line with all of `words`, and nothing runs after."""
    done = subprocess.run(arguments, text=True, capture_output=True, check=False, timeout=PATIENCE)
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 2) and len(lines) == 1, done
    assert lines[0].startswith("cay up: "), done
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert TOO_LATE in lines[0] if TOO_LATE in words else TOO_LATE not in lines[0], lines[0]
    if data:
        wait_for(lambda: not leftovers.of(data), what="nothing to be left")


def test_same_data_twice():
    with Instance() as instance:
        fail(None, command(instance.data), "already served by process", "cay down")
        assert instance.api().get("/readyz")[0] == 200


def test_port_taken():
    with Instance() as instance, Folder() as other:
        fail(other.data, command(other.data, "--listen", f"127.0.0.1:{instance.api_port}"),
             "in use", "--listen")
        fail(other.data, command(other.data, "--router-listen", instance.router),
             "in use", "--router-listen")
        assert not leftovers.of(other.data), leftovers.of(other.data)
        fail(other.data, command(other.data, "--pod-cidr", instance.pod_cidr), "--pod-cidr")


def waits(process):
    """Whether it has gone to sleep for a moment."""
    return "nanosleep" in pathlib.Path(f"/proc/{process.pid}/wchan").read_text(encoding="ascii")


def test_port_that_is_free_soon():
    """As after a kill of the supervisor, when its roles have still to end."""
    with Folder() as folder, socket.create_server(("127.0.0.1", 0)) as holder:
        where = f"127.0.0.1:{holder.getsockname()[1]}"
        with subprocess.Popen(command(folder.data, "--listen", where)) as start:
            wait_for(lambda: waits(start), what="it to wait for the port")
            holder.close()
        try:
            assert start.returncode == 0, start
            assert Api(os.path.join(folder.data, "kubeconfig")).get("/readyz")[0] == 200
        finally:
            subprocess.run([os.environ["CAY"], "down", "--data", folder.data], check=True,
                           stdout=subprocess.DEVNULL)


def test_settings_that_cannot_be():
    with Folder() as folder:
        for option, value, word in (
                ("--listen", "127.0.0.1:99999", "port"), ("--listen", "here", "ADDRESS:PORT"),
                ("--router-listen", "127.0.0.1:http", "port"), ("--pod-cidr", "10.0.0.0/31", "8 to 29"),
                ("--node-name", "Not_A_Name", "lower case"), ("--tls-name", "two words", "DNS name"),
                ("--overcommit-cpu", "100000", "1 to 1000"), ("--overcommit-cpu", "0", "1 to 1000"),
                ("--overcommit-memory", "-4", "1 to 1000"), ("--overcommit-memory", "4x", "4x"),
                ("--overcommit-memory", "0", "1 to 1000"), ("--timeout", "0s", "above 0"),
                ("--timeout", "soon", "90s")):
            fail(folder.data, command(folder.data, option, value), option, word)
        fail(folder.data, command(folder.data, "operand"), "operand")
        assert os.listdir(folder.folder) == [], "a refused start made something"


def test_folder_of_somebody_else():
    """One forgotten word must not make a home folder root's: nothing of it is touched."""
    with Folder() as folder:
        os.mkdir(folder.data, 0o700)
        os.chown(folder.data, 1234, 1234)
        pathlib.Path(folder.data, "mine").write_text("mine")
        fail(folder.data, command(folder.data), "holds other things", "--data")
        status = os.stat(folder.data)
        assert (status.st_mode & 0o7777, status.st_uid) == (0o700, 1234), status
        assert os.listdir(folder.data) == ["mine"]


def test_any_name_of_the_host():
    for host, node in (("WorkStation.Example.org", "workstation.example.org"),
                       ("My_Host-.", "my-host"), ("x" * 64, "x" * 63)):
        with Folder() as folder:
            script = "import socket, os, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
            subprocess.run(["unshare", "--uts", sys.executable, "-c", script, host,
                            *command(folder.data)], check=True, capture_output=True, timeout=PATIENCE)
            try:
                api = Api(os.path.join(folder.data, "kubeconfig"))
                items = api.get("/api/v1/nodes")[1]["items"]
                api.close()
                assert [item["metadata"]["name"] for item in items] == [node], items
            finally:
                subprocess.run([os.environ["CAY"], "down", "--data", folder.data], check=True,
                               capture_output=True)


def test_commands_refuse_what_they_do_not_take():
    def cay(*arguments):
        return subprocess.run([os.environ["CAY"], *arguments], text=True, capture_output=True,
                              check=False, env={"CAY_DATA": "/nonexistent"})
    for name in ("down", "status", "doctor", "kubeconfig", "version", "ls"):
        refused = cay(name, "/some/folder")
        assert refused.returncode == 2 and "'/some/folder'" in refused.stderr, (name, refused)
        assert cay("help", name).stdout == cay(name, "--help").stdout != "", name
    told = json.loads(cay("version", "-o", "json").stdout)["version"]
    assert cay("version").stdout == cay("--version").stdout == f"cay {told}\n"
    with Folder() as folder:
        for data in (folder.data, folder.folder):  # absent, without an instance
            done = subprocess.run([os.environ["CAY"], "ls"], text=True, capture_output=True,
                                  check=False, env={"CAY_DATA": data})
            assert done.returncode == 1 and "cay up" in done.stderr, done


def test_not_root():
    with Instance() as instance, Folder() as other:
        cay = shutil.copy(instance.cay, other.folder)
        os.chmod(cay, 0o755)
        for arguments, words in (
                (["up", "-d", "--data", other.data], ("root", "sudo")),
                (["down", "--data", instance.data], ("cannot stop", "sudo")),
                (["kubeconfig", "--data", instance.data], ("sudo",)),
                (["ls"], ("as root", "KUBECONFIG"))):
            done = subprocess.run([cay, *arguments], user=65534, group=65534, extra_groups=[],
                                  text=True, capture_output=True, check=False,
                                  env={"CAY_DATA": instance.data})
            assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
            for word in words:
                assert word in done.stderr, done
        assert instance.api().get("/readyz")[0] == 200


def test_full_disk():
    with Folder() as folder:
        os.mkdir(folder.data)
        programs = [os.environ["CAY"], *(f"{os.path.dirname(os.environ['CAY'])}/src/{name}" for name in
                                         ("init/init", "sandboxd/sandboxd", "sandboxd/socket-activate"))]
        room = sum(-(-os.path.getsize(program) // 4096) * 4 for program in programs)
        for kilobytes in (1024, room + 24, room + 64, room + 200):
            script = f"mount -t tmpfs -o size={kilobytes}k none {folder.data} && exec \"$@\""
            arguments = ["unshare", "--mount", "sh", "-c", script, "sh", *command(folder.data)]
            fail(folder.data, arguments, "make room", "--data")


def test_no_cgroups():
    with Folder() as folder:
        script = "umount -R /sys/fs/cgroup && exec \"$@\""
        fail(folder.data, ["unshare", "--mount", "sh", "-c", script, "sh", *command(folder.data)],
             "launcher does not start", "mount /sys/fs/cgroup")
        # The others end when they are told to, and do not wait for a launcher until they give up.
        log = pathlib.Path(folder.data, "log", "node.log")
        assert "timed out" not in (log.read_text() if log.exists() else ""), log.read_text()


def test_container_without_privileges():
    with Folder() as folder:
        fail(folder.data, ["setpriv", "--bounding-set=-sys_admin,-net_admin", "--inh-caps=-all",
                           *command(folder.data)], "capabilities", "--privileged")
        fail(folder.data, ["unshare", "--user", "--map-root-user", *command(folder.data)],
             "60801", "user namespace")


def test_damaged_data():
    with Instance() as instance:
        instance.down()
        for path in glob.glob(os.path.join(instance.data, "control", "state", "*")):
            if path.endswith(".db"):
                with open(path, "r+b") as file:
                    file.write(random.randbytes(os.path.getsize(path)))
            else:
                os.unlink(path)
        fail(instance.data, command(instance.data), "control does not start", "damaged",
             "control.log")


def test_words_of_an_earlier_start_are_not_told():
    with Instance() as instance:
        instance.down()
        log = os.path.join(instance.data, "log", "node.log")
        with open(log, "a", encoding="utf-8") as file:
            file.write("2020-01-01T00:00:00.000000Z error node: of another day\n")
        with open(os.path.join(instance.data, "images"), "w", encoding="utf-8") as file:
            file.write("nonsense\n")
        fail(instance.data, command(instance.data), "node does not start", "line 1 of the image map")


def test_a_role_that_is_late_is_named():
    """A log that nobody reads holds a role up before it has begun."""
    with Instance() as instance:
        instance.down()
        for role in ("control", "node", "router"):
            log = os.path.join(instance.data, "log", f"{role}.log")
            os.rename(log, log + ".kept")
            os.mkfifo(log)
            fail(instance.data, command(instance.data, "--timeout", "2500ms"), TOO_LATE,
                 f"{role} does not serve after 2.5 s", log)
            os.rename(log + ".kept", log)


def test_doctor():
    done = subprocess.run([os.environ["CAY"], "doctor", "-o", "json"], text=True,
                          capture_output=True, check=True)
    assert all(need["holds"] for need in json.loads(done.stdout)["needs"]), done.stdout
    done = subprocess.run(["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all",
                           os.environ["CAY"], "doctor"], text=True, capture_output=True, check=False)
    assert done.returncode == 1 and "missing  root's capabilities" in done.stdout, done
    assert "--privileged" in done.stdout, done


def test_the_node_has_the_room_that_it_says():
    cpus = 2 * os.cpu_count()
    with Instance(options=["--overcommit-cpu", "2"]) as instance:
        api, pods = instance.api(), "/api/v1/namespaces/default/pods"

        def scheduled(name):
            conditions = api.get(f"{pods}/{name}")[1].get("status", {}).get("conditions", [])
            return [each.get("reason", each["status"]) for each in conditions
                    if each["type"] == "PodScheduled"]
        for name, cpu in (("all", cpus), ("more", cpus + 1)):
            api.create(pods, {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"containers": [{"name": "c", "image": "busybox:latest",
                                         "resources": {"requests": {"cpu": str(cpu)}}}]}})
        wait_for(lambda: scheduled("all") == ["True"], what="a Pod that takes all")
        wait_for(lambda: scheduled("more") == ["Unschedulable"], what="one that wants more")


def test_map_of_images():
    with Folder() as folder:
        path = os.path.join(folder.folder, "map")
        with open(path, "w", encoding="utf-8") as file:
            file.write("example.org/team/tools:1 nothing-built-in\n")
        fail(folder.data, command(folder.data, "--images", path), "line 1", "nothing-built-in")
        fail(folder.data, command(folder.data, "--images", path + "2"), "cannot read", "map2")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# ours\nexample.org/team/tools:1 busybox\n")
        with Instance(options=["--images", path]) as instance:
            run = ("run", "--image", "example.org/team/tools:1", "--", "echo", "mapped")
            assert instance.run(*run).stdout == "mapped\n"
            instance.down()
            instance.options = []
            instance.up()
            assert instance.run(*run).stdout == "mapped\n"  # the map is kept


def test_make_run_builds_every_program_that_runs():
    """It builds less than all; in a folder that is built whole nothing would be missed."""
    makefile = pathlib.Path(__file__).resolve().parents[2] / "Makefile"
    built = next(line.split("=")[1].split() for line in makefile.read_text("utf-8").splitlines()
                 if line.startswith("PROGRAMS ="))
    with Instance() as instance:
        needed = set(os.listdir(os.path.join(instance.data, "libexec")))
    assert needed and needed <= {os.path.basename(path) for path in built}, (needed, built)


if __name__ == "__main__":
    tap.main(globals())
