#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The secure quickstart guide, steps 2.3 to 9, by the real kubectl on an instance.

Replaced on one machine (they have no counterpart here): building and loading images, by the built-in
ones; runtimeClassName; Step 8's look at gVisor, by what the native runtime shows. With $GUIDE, the
guide's own text, its script of section 7.2 is run in place of ours.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import Instance, wait_for  # noqa: E402

NAMESPACE = "agent-sandbox-demo"
SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "clients" / "guide_script.py"

TEMPLATE = """
apiVersion: extensions.agents.x-k8s.io/v1alpha1
kind: SandboxTemplate
metadata: {name: python-runtime-template, namespace: agent-sandbox-demo}
spec:
  podTemplate:
    metadata:
      labels: {sandbox: python-sandbox}
    spec:
      containers:
      - name: python-runtime
        image: python-runtime-sandbox:latest
        imagePullPolicy: Never
        ports:
        - {containerPort: 8888, protocol: TCP}
        readinessProbe:
          httpGet: {path: /, port: 8888}
          initialDelaySeconds: 2
          periodSeconds: 1
        resources:
          requests: {cpu: 250m, memory: 512Mi, ephemeral-storage: 512Mi}
          limits: {cpu: 500m, memory: 1Gi, ephemeral-storage: 1Gi}
      restartPolicy: OnFailure
"""

POOL = """
apiVersion: extensions.agents.x-k8s.io/v1alpha1
kind: SandboxWarmPool
metadata: {name: python-warmpool, namespace: agent-sandbox-demo}
spec:
  replicas: 2
  sandboxTemplateRef: {name: python-runtime-template}
"""

ROUTER = """
apiVersion: v1
kind: Service
metadata: {name: sandbox-router-svc, namespace: agent-sandbox-demo}
spec:
  type: ClusterIP
  selector: {app: sandbox-router}
  ports:
  - {name: http, protocol: TCP, port: 8080, targetPort: 8080}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sandbox-router-deployment, namespace: agent-sandbox-demo}
spec:
  replicas: 2
  selector:
    matchLabels: {app: sandbox-router}
  template:
    metadata:
      labels: {app: sandbox-router}
    spec:
      containers:
      - name: router
        image: sandbox-router:local
        imagePullPolicy: Never
        ports:
        - containerPort: 8080
        readinessProbe:
          httpGet: {path: /healthz, port: 8080}
          initialDelaySeconds: 5
          periodSeconds: 5
        livenessProbe:
          httpGet: {path: /healthz, port: 8080}
          initialDelaySeconds: 10
          periodSeconds: 10
        resources:
          requests: {cpu: 250m, memory: 512Mi}
          limits: {cpu: 1000m, memory: 1Gi}
      securityContext: {runAsUser: 1000, runAsGroup: 1000}
"""

CLAIM = """
apiVersion: extensions.agents.x-k8s.io/v1alpha1
kind: SandboxClaim
metadata: {name: isolation-test, namespace: agent-sandbox-demo}
spec:
  sandboxTemplateRef: {name: python-runtime-template}
"""


class Guide:
    """A user's shell: kubectl with a kubeconfig of its own."""

    def __init__(self, instance):
        self.kubeconfig = os.path.join(instance.folder, "kubeconfig")
        shutil.copy(instance.kubeconfig, self.kubeconfig)
        self.environment = {**os.environ, "KUBECONFIG": self.kubeconfig}

    def run(self, *arguments, text=None):
        return subprocess.run(["kubectl", *arguments], env=self.environment, input=text, text=True,
                              capture_output=True, timeout=150, check=False)

    def __call__(self, *arguments, text=None):
        """The output of what must succeed."""
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, manifest):
        return self("apply", "-f", "-", text=manifest)

    def pool_pods(self):
        return self("get", "pods", "-l", "agents.x-k8s.io/pool", "-o", "name").split()


def test_2_3_the_controller_is_shown(guide):
    listed = guide("get", "pods", "-n", "agent-sandbox-system")
    assert re.search(r"^agent-sandbox-controller-0 +1/1 +Running ", listed, re.M), listed
    guide("wait", "--for=condition=Ready", "pod", "-l", "app=agent-sandbox-controller",
          "-n", "agent-sandbox-system", "--timeout=120s")


def test_2_4_a_namespace(guide):
    guide("create", "namespace", NAMESPACE)
    guide("config", "set-context", "--current", f"--namespace={NAMESPACE}")


def test_4_the_template(guide):
    guide.apply(TEMPLATE)
    listed = guide("get", "sandboxtemplate")
    assert re.search(r"^NAME +AGE\npython-runtime-template +\d", listed), listed


def test_5_the_pool(guide):
    guide.apply(POOL)
    assert "python-warmpool" in guide("get", "sandboxwarmpool", "python-warmpool")
    wait_for(lambda: len(guide.pool_pods()) == 2, what="two Pods", pause=0.2)
    guide("wait", "--for=condition=Ready", "pod", "-l", "agents.x-k8s.io/pool", "--timeout=60s")
    listed = guide("get", "pods", "-l", "agents.x-k8s.io/pool", "--no-headers")
    assert len(re.findall(r"^python-warmpool-\w+ +1/1 +Running ", listed, re.M)) == 2, listed


def test_6_the_router(guide):
    guide.apply(ROUTER)
    guide("rollout", "status", "deployment/sandbox-router-deployment", "--timeout=60s")
    listed = guide("get", "pods", "-l", "app=sandbox-router", "--no-headers")
    assert len(re.findall(r" 1/1 +Running ", listed)) == 2, listed
    assert "8080/TCP" in guide("get", "svc", "sandbox-router-svc")
    with subprocess.Popen(["kubectl", "port-forward", "svc/sandbox-router-svc", ":8080"],
                          env=guide.environment, stdout=subprocess.PIPE, text=True) as tunnel:
        try:
            port = re.search(r"127\.0\.0\.1:(\d+) ->", tunnel.stdout.readline()).group(1)
            with urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=10) as answer:
                assert answer.read() == b'{"status":"ok"}'
        finally:
            tunnel.kill()


def test_7_the_script(guide):
    """Its Pod is one that the pool had ready, and the pool makes another."""
    before = guide.pool_pods()
    done = subprocess.run([sys.executable, str(SCRIPT), *filter(None, [os.environ.get("GUIDE")])],
                          env=guide.environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300, check=False)
    for line in done.stdout.splitlines():
        print(f"# {line}")
    assert done.returncode == 0, "the script did not print what it should"
    pod = re.search(r"^Pod allocated: (\S+)$", done.stdout, re.M).group(1)
    assert f"pod/{pod}" in before, f"{pod} is none of {before}"
    wait_for(lambda: f"pod/{pod}" not in guide("get", "pods", "-o", "name").split(),
             what="the end of the claim's Pod", pause=0.2)
    wait_for(lambda: len(guide.pool_pods()) == 2, what="the pool to be full again", pause=0.2)
    assert guide("get", "sandboxclaims", "-o", "name") == "", "the claim is still there"


def test_8_isolation(guide):
    guide("wait", "--for=condition=Ready", "pod", "-l", "agents.x-k8s.io/pool", "--timeout=60s")
    guide.apply(CLAIM)
    guide("wait", "--for=condition=Ready", "sandbox/isolation-test", "--timeout=60s")
    pod = guide("get", "sandbox", "isolation-test", "-o",
                r"jsonpath={.metadata.annotations.agents\.x-k8s\.io/pod-name}")
    assert pod.startswith("python-warmpool-"), pod
    devices = guide("exec", pod, "--", "ls", "/dev").split()
    assert 4 <= len(devices) <= 20, devices
    assert guide("exec", pod, "--", "uname", "-r").strip() == platform.release()
    guide("delete", "sandboxclaim", "isolation-test")


def test_9_the_end(guide):
    began = time.monotonic()
    guide("delete", "namespace", NAMESPACE)
    guide("config", "set-context", "--current", "--namespace=default")
    assert guide.run("get", "namespace", NAMESPACE).returncode == 1
    print(f"# the namespace went in {time.monotonic() - began:.1f} s")
    for kind in ("pods", "sandboxes", "sandboxclaims", "sandboxwarmpools", "services"):
        left = guide("get", kind, "-A", "-o", "name").split()
        assert not [name for name in left if "python" in name or "isolation" in name], left


if __name__ == "__main__":
    if not shutil.which("kubectl"):
        sys.exit("kubectl is needed")
    with Instance() as started:
        tap.main(globals(), (Guide(started),))
