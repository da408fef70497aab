#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The controller and the router, shown as Pods: logs and port-forward by the real kubectl."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Instance, free_port, wait_for  # noqa: E402
from lib.router import Sandbox  # noqa: E402

NAMESPACE = "agent-sandbox-system"
ROUTER, CONTROLLER = "sandbox-router-0", "agent-sandbox-controller-0"
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


def environment(kubeconfig, more=None):
    return {**os.environ, "KUBECONFIG": kubeconfig, **(more or {})}


def kubectl(instance, *arguments, **more):
    return subprocess.run(["kubectl", "-n", NAMESPACE, *arguments], capture_output=True, text=True,
                          env=environment(instance.kubeconfig), timeout=30, check=False, **more)


@contextlib.contextmanager
def forwarding(instance, target, port, more=None):
    """(process, local port) of a running `kubectl port-forward`."""
    command = ["kubectl", "-n", NAMESPACE, "port-forward", target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(instance.kubeconfig, more)) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
            assert found, line + process.stderr.read()
            yield process, int(found.group(1))
        finally:
            process.kill()


def check_router(port):
    """Several connections, one of them kept."""
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(2):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
        connection.close()


def test_the_router_is_reached_by_service_deployment_and_pod(instance, _):
    for target in ("svc/sandbox-router-svc", "deployment/sandbox-router", f"pod/{ROUTER}"):
        with forwarding(instance, target, 8080) as (_, port):
            check_router(port)


def test_the_service_leads_to_the_pod(instance, api):
    """Go clients find the Pod by the Service's EndpointSlice."""
    _, slices = api.get(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
                        "?labelSelector=kubernetes.io/service-name=sandbox-router-svc")
    found = [(endpoint["targetRef"]["kind"], endpoint["targetRef"]["name"],
              endpoint["conditions"]["ready"], each["ports"][0]["port"])
             for each in slices["items"] for endpoint in each.get("endpoints") or []]
    assert found == [("Pod", ROUTER, True, 8080)], slices
    node = api.get("/api/v1/nodes")[1]["items"][0]["status"]["addresses"][0]["address"]
    assert api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{ROUTER}")[1]["status"]["podIP"] == node


def test_the_router_is_reached_by_spdy(instance, _):
    with forwarding(instance, "svc/sandbox-router-svc", 8080, SPDY) as (_, port):
        check_router(port)


def test_much_goes_through(instance, api):
    api.create(objects.path("sandboxes"), objects.sandbox("box"))
    wait_for(lambda: objects.condition(api.get(objects.path("sandboxes", name="box"))[1]) == "True",
             what="the sandbox")
    contents = os.urandom(8 << 20)  # more than all queues on the way hold
    with forwarding(instance, "svc/sandbox-router-svc", 8080) as (_, port):
        sandbox = Sandbox(f"127.0.0.1:{port}", "box")
        assert sandbox.upload("blob", contents)[0] == 200
        status, back = sandbox.download("blob")
        sandbox.close()
    assert status == 200 and back == contents, (status, len(back))
    api.request("DELETE", objects.path("sandboxes", name="box"))


def test_the_controller_is_the_api(instance, _):
    with forwarding(instance, "deployment/agent-sandbox-controller", 6443) as (_, port):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=10, context=ssl._create_unverified_context())
        connection.request("GET", "/livez")
        assert connection.getresponse().read() == b"ok"
        connection.request("GET", "/api/v1/secrets")
        assert connection.getresponse().status in (401, 403), "the way in gives no rights"
        connection.close()


def test_no_other_port_is_reached(instance, _):
    """Not even one that somebody listens at."""
    for pod, port in ((ROUTER, instance.api_port), (ROUTER, instance.router_port), (ROUTER, 9090),
                      (CONTROLLER, 8080)):
        with forwarding(instance, f"pod/{pod}", port) as (process, local):
            connection = http.client.HTTPConnection("127.0.0.1", local, timeout=10)
            try:
                connection.request("GET", "/healthz")
                raise AssertionError(f"{pod}:{port} answered {connection.getresponse().status}")
            except (OSError, http.client.HTTPException):
                pass
            said = process.stderr.readline()
            assert f"error forwarding port {port} to pod {pod}: Connection refused" in said, said


def test_logs(instance, _):
    for target in ("deployment/sandbox-router", f"pod/{ROUTER}"):
        shown = kubectl(instance, "logs", target)
        assert shown.returncode == 0 and "router: ready\n" in shown.stdout, shown
    path = pathlib.Path(instance.data, "log", "router.log")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert kubectl(instance, "logs", ROUTER).stdout == "".join(lines)
    assert kubectl(instance, "logs", ROUTER, "--tail=1").stdout == lines[-1]
    assert kubectl(instance, "logs", ROUTER, "--tail=0").stdout == ""
    assert kubectl(instance, "logs", ROUTER, "--tail=10000").stdout == "".join(lines)
    assert kubectl(instance, "logs", ROUTER, "--limit-bytes=7").stdout == "".join(lines)[:7]
    assert kubectl(instance, "logs", ROUTER, "--since=1h").stdout == "".join(lines)
    later = kubectl(instance, "logs", ROUTER, "--since-time=2200-01-01T00:00:00Z")
    assert (later.returncode, later.stdout) == (0, ""), later
    assert kubectl(instance, "logs", "deployment/agent-sandbox-controller").returncode == 0


def test_a_long_log_has_its_tail_and_its_times(instance, _):
    path = pathlib.Path(instance.data, "log", "router.log")
    before = path.read_text(encoding="utf-8")
    lines = [f"20{i // 60 % 60 + 30}-01-01T00:00:{i % 60:02}.000000Z info router: {'x' * i}\n"
             for i in range(1500)]  # about a megabyte: several reads
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
        assert kubectl(instance, "logs", ROUTER).stdout == before + "".join(lines)
        for count in (1, 2, 200, 1499):
            shown = kubectl(instance, "logs", ROUTER, f"--tail={count}").stdout
            assert shown == "".join(lines[-count:]), count
        for count in (1, 700, 1400):
            shown = kubectl(instance, "logs", ROUTER, f"--since-time={lines[count].split()[0]}")
            assert shown.stdout == "".join(lines[count:]), count
    finally:
        os.truncate(path, len(before.encode()))


def test_logs_are_followed(instance, _):
    path = pathlib.Path(instance.data, "log", "router.log")
    command = ["kubectl", "-n", NAMESPACE, "logs", "-f", ROUTER, "--tail=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env=environment(instance.kubeconfig)) as following:
        too_late = threading.Timer(30, following.kill)  # what is awaited then does not come
        too_late.start()
        try:
            assert following.stdout.readline()
            for number in range(3):
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"line {number}\n")
                assert following.stdout.readline() == f"line {number}\n"
        finally:
            too_late.cancel()
            following.kill()


def test_what_there_is_not_is_said(instance, _):
    for arguments, words in (
            (["logs", ROUTER, "--previous"], "previous terminated container"),
            (["logs", ROUTER, "-c", "other"], "other is not valid for pod"),
            (["exec", ROUTER, "--", "true"], "which is no container"),
            (["attach", ROUTER], "which is no container")):
        done = kubectl(instance, *arguments)
        assert done.returncode == 1 and words in done.stderr, done


def test_another_user_needs_the_right(instance, api):
    """Reading Pods is not enough for port-forward: pods/portforward is a right of its own."""
    api.create("/api/v1/namespaces/default/serviceaccounts", {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer"}})
    api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": "default"}]})
    token = kubectl(instance, "create", "token", "viewer", "-n", "default").stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "kubeconfig")
        server = f"https://{api.host}:{api.port}"
        pathlib.Path(config).write_text(
            "{apiVersion: v1, kind: Config, current-context: a, "
            "contexts: [{name: a, context: {cluster: a, user: a}}], "
            f"clusters: [{{name: a, cluster: {{server: '{server}', "
            "insecure-skip-tls-verify: true}}], "
            f"users: [{{name: a, user: {{token: {token}}}}}]}}", encoding="utf-8")
        for arguments, allowed in ((["logs", ROUTER], True),
                                   (["port-forward", f"pod/{ROUTER}", ":8080"], False)):
            done = subprocess.run(["kubectl", "-n", NAMESPACE, *arguments], capture_output=True,
                                  text=True, env=environment(config), timeout=30, check=False)
            assert (done.returncode == 0) == allowed, done
            assert allowed or "forbidden" in done.stderr, done


def test_a_router_that_starts_again_is_reached_through_the_same_tunnel(instance, _):
    with forwarding(instance, "svc/sandbox-router-svc", 8080) as (_, port):
        check_router(port)
        instance.kill("router")
        check_router(port)  # the socket is the supervisor's: connections wait


def test_what_is_deleted_comes_back(instance, api):
    base = f"/api/v1/namespaces/{NAMESPACE}"
    paths = [f"{base}/pods/{ROUTER}", f"{base}/services/sandbox-router-svc",
             f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/sandbox-router"]
    for path in paths:
        uid = api.get(path)[1]["metadata"]["uid"]
        assert kubectl(instance, "delete", path.split("/")[-2], path.split("/")[-1]).returncode == 0
        wait_for(lambda: api.get(path)[1].get("metadata", {}).get("uid", uid) != uid, what=path)
    shown = wait_for(lambda: kubectl(instance, "get", "pod", ROUTER, "--no-headers").stdout)
    assert " 1/1 " in shown and "Running" in shown, shown
    with forwarding(instance, "svc/sandbox-router-svc", 8080) as (_, port):
        check_router(port)


def test_the_namespace_is_made_again(instance, api):
    """As after `kubectl delete -f` of a manifest of upstream's, whose workload is not run."""
    namespace = f"/api/v1/namespaces/{NAMESPACE}"
    uid = api.get(namespace)[1]["metadata"]["uid"]
    labels = {"app": "agent-sandbox-controller"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    workload = {"apiVersion": "apps/v1", "metadata": {"name": "agent-sandbox-controller"},
                "spec": {"selector": {"matchLabels": labels}, "template": pod}}
    for kind, words in (("StatefulSet", "stored by this API, not run"),
                        ("Deployment", "shows what is built in")):
        body = {**workload, "kind": kind, "spec": {**workload["spec"], **(
            {"serviceName": "s"} if kind == "StatefulSet" else {})}}
        done = kubectl(instance, "apply", "-f", "-", input=json.dumps(body))
        assert done.returncode == 0 and words in done.stderr, done
    assert kubectl(instance, "delete", "namespace", NAMESPACE).returncode == 0
    wait_for(lambda: api.get(namespace)[1].get("metadata", {}).get("uid", uid) != uid,
             what="the namespace")
    assert api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets")[1]["items"] == []
    for pod in (ROUTER, CONTROLLER):
        shown = kubectl(instance, "wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=20s")
        assert shown.returncode == 0, shown
    with forwarding(instance, "svc/sandbox-router-svc", 8080) as (_, port):
        check_router(port)


def test_in_the_foreground_there_is_no_log(_, __):
    with tempfile.TemporaryDirectory(prefix="cay-test-") as folder:
        os.chmod(folder, 0o755)
        data = os.path.join(folder, "data")
        command = [os.environ["CAY"], "up", "--data", data, "--listen", "127.0.0.1:0",
                   "--router-listen", f"127.0.0.1:{free_port()}", "--pod-cidr",
                   f"10.89.{random.randrange(256)}.0/24"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as front:
            try:
                assert "cay is up" in front.stdout.readline()
                done = subprocess.run(
                    ["kubectl", "-n", NAMESPACE, "logs", ROUTER], capture_output=True, text=True,
                    env=environment(os.path.join(data, "kubeconfig")), timeout=30, check=False)
            finally:
                front.terminate()
                front.wait(60)
        assert done.returncode == 1 and "only cay up -d keeps its log" in done.stderr, done


if __name__ == "__main__":
    if not shutil.which("kubectl"):
        sys.exit("kubectl is needed")
    with Instance() as started:
        tap.main(globals(), (started, started.api()))
