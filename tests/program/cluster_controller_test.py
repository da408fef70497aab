#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cay controller` as a process on a real kube-apiserver, with the rights of deploy/rbac.yaml."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.control_plane import CONTROLLER_USER, ROOT, ControlPlane  # noqa: E402
from lib.controller import CAY, Controller  # noqa: E402
from lib.fake_node import FakeNode  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.relay import Relay  # noqa: E402
from lib.scene import PREFIX, Scene, blueprint, same  # noqa: E402

LEASE = ("/apis/coordination.k8s.io/v1/namespaces/agent-sandbox-system/leases/"
         "a3317529.agent-sandbox.x-k8s.io")
LEASE_SECONDS, DEADLINE_SECONDS = 3, 2
SHORT = (f"--leader-elect-lease-duration={LEASE_SECONDS}s",
         f"--leader-elect-renew-deadline={DEADLINE_SECONDS}s", "--leader-elect-retry-period=400ms")
WRITES = ("create", "update", "patch", "delete")
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
UPSTREAM_METRICS = (
    f'agent_sandbox_build_info{{git_version="{VERSION}",git_commit="unknown",build_date="unknown",'
    'go_version="none",compiler="C ',
    'leader_election_master_status{name="a3317529.agent-sandbox.x-k8s.io"} 1',
    'agent_sandboxes{namespace="NAMESPACE",ready_condition="true",expired="false",'
    'launch_type="warm",sandbox_template="measured",owned_by="SandboxClaim",'
    'created_by="unknown"} 1',
    'agent_sandbox_claim_creation_total{namespace="NAMESPACE",sandbox_template="measured",'
    'launch_type="warm",warmpool_name="measured",pod_condition="ready",created_by="unknown"} 1',
    'agent_sandbox_claim_startup_latency_ms_count{launch_type="warm",'
    'sandbox_template="measured"} 1',
    'agent_sandbox_claim_controller_startup_latency_ms_bucket{launch_type="warm",'
    'sandbox_template="measured",le="240000"} 1',
    'agent_sandbox_client_claim_startup_latency_ms_count{launch_type="warm",'
    'sandbox_template="measured"} 1',
    'agent_sandbox_creation_latency_ms_count{namespace="NAMESPACE",launch_type="warm",'
    'sandbox_template="measured"} 1',
)


def audit(plane):
    """What the controllers asked for, whoever of them."""
    with open(plane.audit_log, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                entry = json.loads(line)
                if entry["user"]["username"] == CONTROLLER_USER:
                    yield entry


def holder(plane):
    status, lease = plane.api().get(LEASE)
    return lease["spec"].get("holderIdentity", "") if status == 200 else None


def warm_claim(scene, name, **annotations):
    scene.make("sandboxtemplates", name, blueprint())
    scene.make("sandboxwarmpools", name, {"replicas": 1, "sandboxTemplateRef": {"name": name}})
    scene.until("sandboxwarmpools", name, lambda pool: (pool.get("status") or {}).get(
        "readyReplicas", 0) == 1, "a ready member")
    scene.make("sandboxclaims", name, {"warmPoolRef": {"name": name}}, annotations=annotations)
    scene.until_ready("sandboxclaims", name)


# ---- options ----

def run(*options):
    return subprocess.run([CAY, "controller", *options], text=True, capture_output=True, timeout=10,
                          check=False)


def test_options_are_refused_with_a_sentence(plane):
    for option, said in (("--leader-elction", "there is no option --leader-elction"),
                         ("--leader-elect=maybe", "--leader-elect takes true or false"),
                         ("--kube-api-qps=fast", "--kube-api-qps takes a number"),
                         ("--kube-api-qps=inf", "--kube-api-qps takes a number"),
                         ("--sandbox-warm-pool-max-refill-rate=NaN", "takes a number, not 'NaN'"),
                         ("--sandbox-warm-pool-max-refill-rate=-1", "takes 0, or 0.001 to"),
                         ("--sandbox-warm-pool-readiness-grace-period=0", "must be more than 0"),
                         ("--namespace=Foo_bar", "--namespace takes a namespace"),
                         ("--cluster-domain=", "--cluster-domain may not be empty"),
                         ("--zap-encoder=xml", "--zap-encoder takes json or console"),
                         ("--zap-log-level=loud", "--zap-log-level takes"),
                         ("--metrics-bind-address=here", "'here' is no address for metrics"),
                         ("--leader-elect-renew-deadline=20s", "longer than the renew deadline"),
                         ("operand", "no operand is taken")):
        done = run("--kubeconfig", plane.controller_kubeconfig, "--health-probe-bind-address=0",
                   "--metrics-bind-address=0", option)
        assert done.returncode == 2 and said in done.stderr, (option, done)


def test_help_tells_which_options_have_no_effect(plane):
    text = run("--help").stdout
    for option in ("kube-api-qps", "kube-api-burst", "sandbox-concurrent-workers",
                   "sandbox-claim-concurrent-workers"):
        line = next(line for line in text.splitlines() if f"--{option} " in line)
        assert "without effect" in line, line
    for option in ("leader-elect", "metrics-bind-address", "cluster-domain", "webhook-port",
                   "enable-tracing", "enable-warm-pool-eviction", "disable-claim-events"):
        line = next(line for line in text.splitlines() if f"--{option} " in line)
        assert "without effect" not in line, line


# All of upstream's v0.5.6 with its defaults, and that of controller-runtime.
UPSTREAM_OPTIONS = {
    "webhook-port": "9443", "webhook-cert-dir": "/tmp/k8s-webhook-server/serving-certs",
    "webhook-cert-name": "tls.crt", "webhook-key-name": "tls.key",
    "webhook-service-name": "agent-sandbox-webhook-service",
    "webhook-namespace": "agent-sandbox-system", "manage-webhook-certs": "true",
    "enable-webhook": "true", "cluster-domain": "cluster.local", "metrics-bind-address": ":8080",
    "health-probe-bind-address": ":8081", "leader-elect": "true", "leader-election-namespace": "",
    "extensions": "false", "enable-tracing": "false", "enable-pprof": "false",
    "enable-pprof-debug": "false", "pprof-block-profile-rate": "1000000",
    "pprof-mutex-profile-fraction": "10", "kube-api-qps": "-1", "kube-api-burst": "10",
    "api-connections": "1", "separate-watch-connection": "false",
    "sandbox-concurrent-workers": "100", "sandbox-claim-concurrent-workers": "50",
    "sandbox-warm-pool-concurrent-workers": "1", "sandbox-template-concurrent-workers": "1",
    "sandbox-warm-pool-max-batch-size": "300", "sandbox-warm-pool-replenish-delay": "0",
    "sandbox-warm-pool-max-refill-rate": "0.5", "sandbox-warm-pool-readiness-grace-period": "5m0s",
    "sandbox-warm-pool-unschedulable-recheck-interval": "1m0s", "enable-warm-pool-eviction": "true",
    "cache-label-selectors": "false", "disable-claim-events": "false",
    "disable-claim-observability-annotations": "false", "sandbox-write-behind-window": "0s",
    "kubeconfig": "/nowhere", "zap-devel": "false", "zap-encoder": "json", "zap-log-level": "info",
    "zap-stacktrace-level": "error", "zap-time-encoding": "epoch",
}


def test_upstreams_options_are_all_taken(_):
    for dashes in ("-", "--"):
        done = run(*(f"{dashes}{name}={value}" for name, value in UPSTREAM_OPTIONS.items()))
        assert done.returncode == 1 and "cannot read /nowhere: " in done.stderr, done
        done = run(f"{dashes}version")
        same((0, True), (done.returncode, done.stdout.startswith("cay controller ")))


# ---- health ----

def test_is_ready_only_when_all_is_listed(plane):
    plane.kubectl("delete", "clusterrolebinding", "agent-sandbox-controller-extensions")
    try:
        with Controller(plane) as controller:
            wait_for(lambda: controller.said("cannot watch sandboxclaims"), 20, "a refusal")
            controller.until_leading()
            told = "[-]caches failed: sandboxclaims are not listed yet: "
            wait_for(lambda: told in controller.get("/readyz")[1], 20, "the others to be listed")
            status, text = controller.get("/readyz")
            same(500, status)
            assert "forbidden" in text and "[+]leader-election ok" in text, text
            same((200, "ok"), controller.get("/healthz"))
            same(1, len(controller.said("cannot watch sandboxclaims")))
            same(0.0, controller.metric("cay_controller_synced"))
            plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")
            controller.until_ready()
            assert "[+]caches ok" in controller.get("/readyz?verbose")[1]
    finally:
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")


def test_is_not_ready_without_the_lease(plane):
    binding = "agent-sandbox-controller-leader-election"
    plane.kubectl("delete", "rolebinding", binding, "-n", "agent-sandbox-system")
    scene = Scene()
    try:
        with Controller(plane, *SHORT) as controller:
            wait_for(lambda: controller.said("cannot take the lease"), 20, "a refusal")
            scene.make("sandboxes", "waits", blueprint())
            wait_for(lambda: controller.said("every kind is listed"), 20, "the caches")
            status, text = controller.get("/readyz")
            same(500, status)
            assert "[-]leader-election failed: " in text and "forbidden" in text, text
            assert not controller.leads()
            same(0.0, controller.metric("cay_controller_writes_total"))
            plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")
            controller.until_leading().until_ready()
            scene.until_ready("sandboxes", "waits")
    finally:
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")


# ---- the election ----

def two(plane, *options):
    first = Controller(plane, *options).until_leading()
    second = Controller(plane, *options).until_ready()
    return first, second


def test_one_of_two_leads(plane):
    scene = Scene()
    first, second = two(plane)
    with first, second:
        warm_claim(scene, "one")
        assert not second.leads()
        same((1.0, 0.0), tuple(each.metric(
            'leader_election_master_status{name="a3317529.agent-sandbox.x-k8s.io"}')
            for each in (first, second)))
        same(0.0, second.metric("cay_controller_writes_total"))
        assert first.metric("cay_controller_writes_total") > 0
        assert first.said("takes part")[0]["msg"].split()[0] == holder(plane), holder(plane)


def test_another_leads_after_a_killed_one(plane):
    scene = Scene()
    first, second = two(plane, *SHORT)
    with first, second:
        before = time.monotonic()
        first.process.kill()
        scene.make("sandboxes", "orphan", blueprint())
        second.until_leading()
        took = time.monotonic() - before
        assert LEASE_SECONDS - 1 < took < LEASE_SECONDS + 2, took
        scene.until_ready("sandboxes", "orphan")


def test_a_paused_leader_writes_nothing_when_it_wakes(plane):
    scene = Scene()
    with Controller(plane, *SHORT) as controller:
        controller.until_leading().until_ready()
        warm_claim(scene, "before")
        controller.process.send_signal(signal.SIGSTOP)
        for number in range(10):
            scene.make("sandboxes", f"tempting-{number}", blueprint())
        time.sleep(DEADLINE_SECONDS + 0.5)  # the pause is what is tested
        written = sum(entry["verb"] in WRITES for entry in audit(plane))
        controller.process.send_signal(signal.SIGCONT)
        same(1, controller.until_ended())
        same("leadership was lost: the lease could not be renewed in time",
             controller.log()[-1]["msg"])
        same("error", controller.log()[-1]["level"])
        same(written, sum(entry["verb"] in WRITES for entry in audit(plane)))
        assert scene.read("pods", "tempting-0") is None
    with Controller(plane, *SHORT) as controller:
        controller.until_leading()
        for number in range(10):
            scene.until_ready("sandboxes", f"tempting-{number}")


def test_sigterm_hands_over_within_a_second(plane):
    scene = Scene()
    first, second = two(plane)
    with first, second:
        for number in range(30):
            scene.make("sandboxes", f"s-{number}", blueprint())
        before = time.monotonic()
        first.process.terminate()
        same(0, first.until_ended())
        second.until_leading()
        took = time.monotonic() - before
        assert took < 1, took
        for number in range(30):
            scene.until_ready("sandboxes", f"s-{number}")
        same([], first.said("have no answer yet"))
        second.process.terminate()
        same(0, second.until_ended())
        same("", holder(plane))


# ---- metrics, logs, namespaces, rights ----

def test_metrics_have_upstreams_names(plane):
    scene = Scene()
    with Controller(plane) as controller:
        controller.until_leading()
        asked = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        warm_claim(scene, "measured", **{f"{PREFIX}client-first-requested-at": asked,
                                         f"{PREFIX}webhook-first-observed-at": asked})
        status, text = controller.get("/metrics")
        same(200, status)
        for name in UPSTREAM_METRICS:
            assert f"\n{name.replace('NAMESPACE', scene.namespace)}" in text, name
        for name in ("cay_controller_plans_total", "cay_controller_writes_total",
                     "cay_controller_queue_adds_total", "cay_client_requests_total",
                     "process_resident_memory_bytes", "process_cpu_seconds_total"):
            assert controller.metric(name) > 0, name


def test_logs_are_json_or_text(plane):
    with Controller(plane, "--leader-elect=false") as controller:
        controller.until_ready()
        line = controller.said("every kind is listed")[0]
        same(["level", "ts", "logger", "msg"], list(line))
        same(("info", "controller"), (line["level"], line["logger"]))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["ts"]), line
    plain = plane.start_controller(CAY, "--leader-elect=false", "--zap-encoder=console",
                                   name="plain")
    try:
        wait_for(lambda: " info controller: every kind is listed\n" in
                 (plane.folder / "plain.log").read_text(encoding="utf-8"), 20, "a line of text")
    finally:
        plane.end(plain)


def test_one_namespace_needs_no_rights_in_others(plane):
    ours, other = Scene(), Scene()
    roles = ("agent-sandbox-controller", "agent-sandbox-controller-extensions")
    account = "--serviceaccount=agent-sandbox-system:agent-sandbox-controller"
    for role in roles:
        plane.kubectl("delete", "clusterrolebinding", role)
        plane.kubectl("create", "rolebinding", role, f"--clusterrole={role}", account,
                      "-n", ours.namespace)
    try:
        with Controller(plane, f"--namespace={ours.namespace}") as controller:
            controller.until_leading().until_ready()
            other.make("sandboxes", "elsewhere", blueprint())
            warm_claim(ours, "here")
            assert other.read("pods", "elsewhere") is None
    finally:
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")


def test_pods_are_watched_in_protobuf(plane):
    """Whichever encoding the server has, and also when it cannot be read."""
    protobuf, json_type = "application/vnd.kubernetes.protobuf", "application/json"
    both = f"{protobuf};stream=watch,{protobuf},{json_type}"
    in_protobuf = (both, f"{protobuf};stream=watch")
    for options, watches in (({}, [in_protobuf]),
                             ({"accept": json_type}, [(both, json_type)]),
                             ({"spoiled": b"\0\0\0\2\n\5"},
                              [in_protobuf, (json_type, json_type)])):
        with Relay(plane, **options) as relay:
            process = plane.start(
                "relayed", CAY, "controller", "--kubeconfig", relay.kubeconfig, "--extensions",
                "--leader-elect=false", "--enable-webhook=false", "--metrics-bind-address=0",
                "--health-probe-bind-address=0")
            try:
                scene = Scene()
                scene.make("sandboxes", "a", blueprint())
                scene.until_ready("sandboxes", "a")  # its Pod was created, then changed
                first = scene.read("pods", "a")["metadata"]["uid"]
                scene.remove("pods", "a")
                scene.until("pods", "a", lambda pod: pod and pod["metadata"]["uid"] != first,
                            "another Pod when the first is gone")
                scene.until_ready("sandboxes", "a")
            finally:
                plane.end(process)
            same(watches, relay.pods)
            same({json_type}, relay.others)


def test_the_steps_of_the_guide(plane):
    """Those of docs/cluster.md as they are printed, up to what a real node would do."""
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    steps = [textwrap.dedent(block) for block in
             re.findall(r"^   ```sh\n(.*?)^   ```$", text, re.MULTILINE | re.DOTALL)]
    same(5, len(steps))
    folder = plane.folder / "guide"
    folder.mkdir()
    for name in ("api", "deploy"):
        (folder / name).symlink_to(ROOT / name)
    environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": plane.kubeconfig,
                   "PATH": f"{plane.programs}:{os.environ['PATH']}"}
    for crd in sorted((ROOT / "api/crds").glob("*.yaml")):
        plane.kubectl("delete", "-f", crd)

    def step(script):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, text=True,
                              env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (script, done.stderr)
        return done.stdout

    for script in steps[:3]:
        step(script)
    command = steps[3].split()
    same("build/cay", command[0])
    with open(plane.folder / "guide.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [CAY, *command[1:], "--metrics-bind-address=0", "--health-probe-bind-address=0",
             "--webhook-port=0"],
            cwd=folder, env=environment, stderr=log)
    try:
        lines = [line for line in steps[4].splitlines(True) if not line.startswith("kubectl exec")]
        same(len(steps[4].splitlines()) - 1, len(lines))
        assert "condition met" in step("".join(lines))
    finally:
        process.terminate()
        same(0, process.wait(10))


def test_what_there_is_much_of_comes_in_pages(plane):
    """After all others: WatchList, but for what it costs the server most."""
    lists = {}
    for entry in audit(plane):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(entry["requestURI"]).query)
        if entry["verb"] == "list" or "sendInitialEvents" in query:
            way = query["limit"][0] if entry["verb"] == "list" else "WatchList"
            lists.setdefault(entry["objectRef"]["resource"], set()).add(way)
    same({"sandboxes": {"1000"}, "sandboxclaims": {"1000"}, "services": {"1000"},
          "persistentvolumeclaims": {"1000"}, "pods": {"WatchList"},
          "sandboxtemplates": {"WatchList"}, "sandboxwarmpools": {"WatchList"},
          "networkpolicies": {"WatchList"}, "customresourcedefinitions": {"WatchList"}}, lists)


def test_nothing_was_forbidden_but_on_purpose(plane):
    """After all others: what they forbade on purpose is of our own kinds, or the Lease."""
    forbidden = {(entry["verb"], entry["objectRef"]["resource"]) for entry in audit(plane)
                 if entry["responseStatus"]["code"] == 403}
    on_purpose = {(verb, resource) for verb in ("list", "watch")
                  for resource in ("sandboxclaims", "sandboxtemplates", "sandboxwarmpools",
                                   "networkpolicies")} | {("get", "leases")}
    assert forbidden and forbidden <= on_purpose, forbidden


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane(audit=True) as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        FakeNode(plane)
        tap.main(globals(), (plane,))


if __name__ == "__main__":
    main()
