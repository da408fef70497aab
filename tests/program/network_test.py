#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names and walls between Pods, on a real instance: what resolves, who reaches whom."""

import http.client
import json
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, router, tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402

DEMO = "demo"
ALPHA = "/apis/extensions.agents.x-k8s.io/v1alpha1/namespaces/demo"


def pod(name, labels=None, **spec):
    """A plain Pod that serves /execute."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {**objects.pod_template()["spec"], **spec}}


def sandbox(name):
    found = objects.sandbox(name)
    found["spec"]["service"] = True
    return found


def is_ready(api, path):
    status, found = api.get(path)
    return found if status == 200 and objects.condition(found) == "True" else None


def create_and_wait(api, resource, body, namespace="default"):
    api.create(objects.path(resource, namespace), body)
    path = objects.path(resource, namespace, body["metadata"]["name"])
    return wait_for(lambda: is_ready(api, path), what=f"{path} to be ready")


class Shell:
    """Runs commands in a Pod, which the built-in router reaches by its address."""

    def __init__(self, instance, found):
        ips = found["status"]["podIPs"]
        self.ip = ips[0] if isinstance(ips[0], str) else ips[0]["ip"]
        self.sandbox = router.Sandbox(instance.router, "any")
        self.sandbox.headers["X-Sandbox-Pod-IP"] = self.ip

    def run(self, command):
        return self.sandbox.execute(command)

    def python(self, code):
        result = self.run(f"python3 -c \"{code}\"")
        assert result["exit_code"] == 0, result
        return result["stdout"].strip()

    def resolve(self, name):
        """The address of a name, or None."""
        return self.python("import socket\ntry: print(socket.gethostbyname('" + name + "'))\n"
                           "except OSError: print()") or None

    def reaches(self, host, port):
        """What happens to a connection, and in how many seconds."""
        outcome, seconds = self.python(
            "import socket, time\nbegan = time.monotonic()\ntry:\n"
            f"    socket.create_connection(('{host}', {port}), 3); print('open')\n"
            "except TimeoutError: print('silent')\nexcept OSError: print('closed')\n"
            "print(time.monotonic() - began)").split()
        return outcome, float(seconds)


def test_a_headless_name_resolves(instance, api):
    box = create_and_wait(api, "sandboxes", sandbox("box"))
    asker = Shell(instance, create_and_wait(api, "pods", pod("asker")))
    address = Shell(instance, box).ip
    for name in ("box", "box.default", "box.default.svc", "box.default.svc.cluster.local",
                 "BOX.default.svc.cluster.local."):
        assert asker.resolve(name) == address, name


def test_names_come_and_go_at_once(instance, api):
    asker = shell_of(instance, api, "asker")
    assert asker.resolve("later.default.svc.cluster.local") is None
    later = create_and_wait(api, "sandboxes", sandbox("later"))
    # No pause: Ready is published no sooner than the name answers, but for the watch's way.
    wait_for(lambda: asker.resolve("later.default.svc.cluster.local") == Shell(instance, later).ip,
             timeout=2, what="the new name")
    api.request("DELETE", objects.path("sandboxes", name="later"))
    wait_for(lambda: asker.resolve("later.default.svc.cluster.local") is None, what="its end")


def shell_of(instance, api, name, resource="pods", namespace="default"):
    return Shell(instance, api.get(objects.path(resource, namespace, name))[1])


def test_outside_names_fail_fast(instance, api):
    asker = shell_of(instance, api, "asker")
    for command in ("getent hosts example.com", "getent hosts example.com.",
                    "getent hosts nowhere.default.svc.cluster.local"):
        began = time.monotonic()
        result = asker.run(command)
        assert result["exit_code"] == 2 and not result["stdout"], result
        assert time.monotonic() - began < 2, command


def test_pods_with_hostname_have_names(instance, api):
    api.create(objects.path("services"), {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "set"},
        "spec": {"clusterIP": "None", "selector": {"set": "a"}, "ports": [{"port": 80}]}})
    member = Shell(instance, create_and_wait(
        api, "pods", pod("member", {"set": "a"}, hostname="first", subdomain="set")))
    asker = shell_of(instance, api, "asker")
    assert asker.resolve("set") == member.ip
    assert asker.resolve("first.set") == member.ip
    assert asker.resolve("first.set.default.svc.cluster.local") == member.ip
    assert asker.resolve("second.set") is None
    assert member.run("hostname -f")["stdout"].strip() == "first.set.default.svc.cluster.local"


def test_cluster_addresses_resolve(instance, api):
    found = api.create(objects.path("services"), {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain"},
        "spec": {"selector": {"set": "a"}, "ports": [{"port": 80}]}})
    asker = shell_of(instance, api, "asker")
    wait_for(lambda: asker.resolve("plain") == found["spec"]["clusterIP"], timeout=2,
             what="the name")


def test_resolv_conf_is_as_the_policy_says(instance, api):
    asker = shell_of(instance, api, "asker")
    assert asker.run("cat /etc/resolv.conf")["stdout"] == (
        "nameserver 169.254.1.1\n"
        "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n")
    config = {"nameservers": ["192.0.2.53"], "searches": ["x.test"],
              "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]}
    none = Shell(instance, create_and_wait(api, "pods", pod("none", dnsPolicy="None",
                                                            dnsConfig=config)))
    assert none.run("cat /etc/resolv.conf")["stdout"] == (
        "nameserver 192.0.2.53\nsearch x.test\noptions ndots:1 edns0\n")
    default = Shell(instance, create_and_wait(api, "pods", pod("default", dnsPolicy="Default")))
    host = pathlib.Path("/etc/resolv.conf")
    assert default.run("cat /etc/resolv.conf")["stdout"] == (
        host.read_text(encoding="utf-8") if host.exists() else "")


def test_pods_reach_nobody_but_the_resolver(instance, api):
    asker, box = shell_of(instance, api, "asker"), shell_of(instance, api, "box", "sandboxes")
    host = api.get(objects.path("pods", name="asker"))[1]["status"]["hostIP"]
    environment = dict(line.split("=", 1) for line in asker.run("env")["stdout"].splitlines()
                       if "=" in line)
    for shell in (asker, box):
        other = box if shell is asker else asker
        for target, port in ((other.ip, 8888), (host, instance.api_port), (host, 22),
                             ("169.254.1.1", 80), ("192.0.2.1", 80)):
            outcome, seconds = shell.reaches(target, port)
            assert outcome != "open", (target, port)
            assert outcome == "closed" and seconds < 1, (target, port, outcome, seconds)
    assert environment.get("KUBERNETES_SERVICE_HOST", host) == host, environment
    assert asker.reaches("169.254.1.1", 53)[0] == "open"


def test_an_address_without_a_pod_refuses_at_once(instance, api):
    gone = Shell(instance, create_and_wait(api, "pods", pod("gone")))
    assert gone.run("true")["exit_code"] == 0
    api.request("DELETE", objects.path("pods", name="gone"), {"gracePeriodSeconds": 0})
    wait_for(lambda: api.get(objects.path("pods", name="gone"))[0] == 404, what="the Pod's end")

    def refuses():
        began = time.monotonic()
        try:
            socket.create_connection((gone.ip, 8888), 5).close()
        except ConnectionRefusedError:
            assert time.monotonic() - began < 1
            return True
        return False  # forced: the Pod goes before its sandbox

    wait_for(refuses, what="the sandbox's end")
    # A connection that the router has kept may have ended in order or not: 424 says that what
    # became of the command is not known.
    for expected in ((424, 502), (502,)):
        began = time.monotonic()
        status, body = gone.sandbox.request("POST", "/execute", b"{}")
        assert status in expected, (status, body)
        assert time.monotonic() - began < 8, "it waited for an answer"


FLOOD = """import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.connect(('169.254.1.1', 53))
q = struct.pack('>6H', 1, 256, 1, 0, 0, 0) + b'\\x03box\\x07default\\x03svc\\x07cluster\\x05local'
q += struct.pack('>BHH', 0, 1, 1)
for _ in range(8000):
    s.send(q)
s.settimeout(0.3)
count = 0
try:
    while s.recv(512): count += 1
except TimeoutError:
    print(count)
"""


def test_a_flood_of_queries_is_dropped_before_the_node(instance, api):
    asker = shell_of(instance, api, "asker")
    answered = int(asker.python(FLOOD))
    assert 100 < answered < 4000, answered
    member = shell_of(instance, api, "member")
    assert member.resolve("box") is not None


def post(host, headers, command):
    connection = http.client.HTTPConnection(host, 8080, timeout=30)
    connection.request("POST", "/execute", json.dumps({"command": command}),
                       {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def seed_router(name):
    """The Pod of the seed's Step 6.3, as its Deployment makes it."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "sandbox-router"}},
            "spec": {"containers": [{
                "name": "router", "image": "sandbox-router:local", "imagePullPolicy": "Never",
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080},
                                   "periodSeconds": 1},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080},
                                  "initialDelaySeconds": 10, "periodSeconds": 10},
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"},
                              "limits": {"cpu": "1000m", "memory": "1Gi"}}}],
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}}


def make_demo(api):
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                      "metadata": {"name": DEMO}})
    api.create(f"{ALPHA}/sandboxtemplates", {
        "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxTemplate",
        "metadata": {"name": "python"}, "spec": {"podTemplate": objects.pod_template()}})
    api.create(f"{ALPHA}/sandboxwarmpools", {
        "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxWarmPool",
        "metadata": {"name": "pool"},
        "spec": {"replicas": 1, "sandboxTemplateRef": {"name": "python"}}})


def claim_in_demo(api, name):
    api.create(f"{ALPHA}/sandboxclaims", {
        "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxClaim",
        "metadata": {"name": name}, "spec": {"sandboxTemplateRef": {"name": "python"}}})
    path = objects.path("sandboxes", DEMO, name)
    return wait_for(lambda: is_ready(api, path), what=f"{path} to be ready")


def test_a_router_pod_serves_by_name_and_by_address(instance, api):
    make_demo(api)
    wait_for(lambda: len(api.get(objects.path("pods", DEMO))[1]["items"]) == 1 and
             objects.condition(api.get(objects.path("pods", DEMO))[1]["items"][0]) == "True",
             what="the pool's member")
    found = create_and_wait(api, "pods", seed_router("router"), DEMO)
    address = found["status"]["podIP"]
    claimed = claim_in_demo(api, "first")
    # At once, as the seed's SDK does: what the router does not know yet it tries again itself.
    headers = {"X-Sandbox-ID": "first", "X-Sandbox-Namespace": DEMO, "X-Sandbox-Port": "8888"}
    status, body = post(address, headers, "echo by name")
    assert (status, body.get("stdout")) == (200, "by name\n"), (status, body)
    ip = Shell(instance, claimed).ip
    status, body = post(address, {**headers, "X-Sandbox-Pod-IP": ip}, "echo by address")
    assert (status, body.get("stdout")) == (200, "by address\n"), (status, body)
    status, body = post(address, {**headers, "X-Sandbox-ID": "nobody"}, "true")
    assert status == 502, (status, body)


def test_a_router_pod_says_once_that_it_may_not_watch(_, api):
    _, log = api.get(objects.path("pods", DEMO, "router") + "/log")
    lines = [line for line in log.splitlines() if "may not watch" in line]
    assert len(lines) == 1, log


def test_routers_reach_only_sandboxes_of_their_namespace(instance, api):
    other = create_and_wait(api, "pods", seed_router("router"))["status"]["podIP"]
    ip = shell_of(instance, api, "first", "sandboxes", DEMO).ip
    headers = {"X-Sandbox-ID": "first", "X-Sandbox-Namespace": DEMO, "X-Sandbox-Pod-IP": ip}
    assert post(other, headers, "true")[0] == 502
    headers = {"X-Sandbox-ID": "box", "X-Sandbox-Namespace": "default"}
    status, body = post(other, headers, "echo cold")
    assert (status, body.get("stdout")) == (200, "cold\n"), (status, body)


def test_a_custom_policy_is_enforced(instance, api):
    rules = {"ingress": [{"from": [{"podSelector": {"matchLabels": {"team": "a"}}}],
                          "ports": [{"port": 8888}]}],
             "egress": [{"to": [{"podSelector": {"matchLabels": {"team": "a"}}}]}]}
    template = objects.template("team")
    template["spec"]["networkPolicy"] = rules
    template["spec"]["podTemplate"]["metadata"] = {"labels": {"team": "a"}}
    template["spec"]["podTemplate"]["spec"]["dnsPolicy"] = "ClusterFirst"
    api.create(objects.path("sandboxtemplates"), template)
    api.create(objects.path("sandboxwarmpools"), objects.warm_pool("team", "team", 2))
    wait_for(lambda: objects.ready_members(api, "team") == 2, what="the pool")
    _, pods = api.get(objects.path("pods") + "?labelSelector=team%3Da")
    one, two = (Shell(instance, found) for found in pods["items"])
    wait_for(lambda: one.reaches(two.ip, 8888)[0] == "open", timeout=5, what="the way")
    assert two.reaches(one.ip, 8888)[0] == "open"
    assert two.reaches(one.ip, 8080)[0] == "closed"
    box = shell_of(instance, api, "box", "sandboxes")
    assert one.reaches(box.ip, 8888)[0] == "closed"
    assert box.reaches(one.ip, 8888)[0] == "closed"
    # The routers were not named.
    routed = {"X-Sandbox-ID": "any", "X-Sandbox-Pod-IP": one.ip}
    other = api.get(objects.path("pods", name="router"))[1]["status"]["podIP"]
    assert post(other, routed, "true")[0] == 502


def test_a_policy_of_nobodys_is_not_enforced_and_says_so(_, api):
    policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    found = api.create(policies, {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "mine"},
        "spec": {"podSelector": {}, "ingress": [{}]}})
    event = wait_for(lambda: next(
        (item for item in api.get(objects.path("events"))[1]["items"]
         if item["involvedObject"].get("uid") == found["metadata"]["uid"]), None), what="the event")
    assert event["reason"] == "NotEnforced", event


def test_all_of_it_outlives_the_node(instance, api):
    router_ip = api.get(objects.path("pods", DEMO, "router"))[1]["status"]["podIP"]
    headers = {"X-Sandbox-ID": "first", "X-Sandbox-Namespace": DEMO}
    before = instance.roles()["node"]
    instance.kill("node")
    # Rules stay in force without the node; the resolver is back with it.
    ip = shell_of(instance, api, "first", "sandboxes", DEMO).ip
    assert post(router_ip, {**headers, "X-Sandbox-Pod-IP": ip}, "true")[0] == 200
    wait_for(lambda: instance.roles().get("node", before) != before, what="another node")
    wait_for(lambda: post(router_ip, headers, "true")[0] == 200, what="the name")
    asker = shell_of(instance, api, "asker")
    assert asker.reaches(ip, 8888)[0] == "closed"


if __name__ == "__main__":
    with Instance() as started:
        client = started.api()
        tap.main(globals(), (started, client))
