#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Manifests as people copy them from pages about Agent Sandbox, applied by the real kubectl.

The steps of the secure quickstart are guide_test.py's; here is what else such pages print: the first
Sandbox of a README, a reference with every field, the dialect of guides. A runtime class is stored,
and a Pod that asks for one is refused by the field's name, so what must run is run without. With
$PAGES, a folder of such pages, every manifest in them is tried as it is printed there.

Mutations that must fail here: alias.c without the dialect's templateRef or ttl; pod_read.c that
ignores runtimeClassName; a schema that lacks one of the fields below.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.instance import wait_for  # noqa: E402

RUNTIME_CLASS = """
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata:
  name: gvisor
handler: runsc
"""

FIRST = """
apiVersion: agents.x-k8s.io/v1alpha1
kind: Sandbox
metadata:
  name: my-sandbox
spec:
  podTemplate:
    spec:
      containers:
      - name: my-container
        image: python-runtime-sandbox:latest
"""

SLEEPER = """
apiVersion: agents.x-k8s.io/v1alpha1
kind: Sandbox
metadata:
  name: gvisor-test
spec:
  podTemplate:
    spec:
      runtimeClassName: gvisor
      containers:
      - name: agent
        image: busybox:latest
        command: ["sleep", "infinity"]
"""

WHOLE = """
apiVersion: agents.x-k8s.io/v1alpha1
kind: Sandbox
metadata:
  name: my-agent
spec:
  # Standard PodSpec template
  podTemplate:
    spec:
      runtimeClassName: kata-fc  # or gvisor
      containers:
      - name: agent
        image: python-runtime-sandbox:latest
        command: ["python3", "-m", "http.server"]
        env:
        - name: API_KEY
          valueFrom:
            secretKeyRef:
              name: agent-secrets
              key: api-key
        resources:
          requests:
            memory: "64Mi"
            cpu: "250m"
          limits:
            memory: "2Gi"
            cpu: "2"

  # Persistent storage (survives restarts)
  volumeClaimTemplates:
  - metadata:
      name: workspace
    spec:
      accessModes: ["ReadWriteOnce"]
      resources:
        requests:
          storage: 10Gi

  # Lifecycle management
  shutdownPolicy: Delete  # or Retain
"""

DIALECT = """
apiVersion: agents.x-k8s.io/v1alpha1
kind: SandboxTemplate
metadata:
  name: python-agent
spec:
  podTemplate:
    spec:
      containers:
      - name: agent
        image: python-runtime-sandbox:latest
        resources:
          requests:
            memory: "64Mi"
          limits:
            memory: "2Gi"
---
apiVersion: agents.x-k8s.io/v1alpha1
kind: SandboxClaim
metadata:
  name: my-session
spec:
  templateRef:
    name: python-agent
  ttl: 1h
"""

# What a page may print that is not for an Agent Sandbox.
FOREIGN = re.compile(r"^apiVersion: kind\.x-k8s\.io/", re.M)
MANIFEST = re.compile(r"^(?:```yaml|[^\n]*<< ?'?EOF'?)\n(apiVersion: .*?)^(?:```|EOF)$", re.M | re.S)


def run(*arguments, text=None):
    return subprocess.run(["kubectl", *arguments], input=text, text=True, capture_output=True,
                          timeout=150, check=False)


def kubectl(*arguments, text=None):
    """The output of what must succeed, without a word on standard error but warnings."""
    done = run(*arguments, text=text)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    others = [line for line in done.stderr.splitlines() if not line.startswith("Warning: ")]
    assert not others, done.stderr
    return done.stdout


def apply(manifest):
    return kubectl("apply", "-f", "-", text=manifest)


def get(*arguments):
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def without_runtime(manifest):
    return re.sub(r"^ *runtimeClassName:.*\n", "", manifest, flags=re.M)


def ready(name):
    kubectl("wait", "--for=condition=Ready", f"sandbox/{name}", "--timeout=60s")


def test_a_runtime_class():
    assert apply(RUNTIME_CLASS) == "runtimeclass.node.k8s.io/gvisor created\n"
    assert get("runtimeclass", "gvisor")["handler"] == "runsc"


def test_the_first_sandbox():
    assert apply(FIRST) == "sandbox.agents.x-k8s.io/my-sandbox created\n"
    ready("my-sandbox")
    assert apply(FIRST) == "sandbox.agents.x-k8s.io/my-sandbox unchanged\n"
    assert kubectl("exec", "my-sandbox", "--", "hostname") == "my-sandbox\n"
    kubectl("delete", "sandbox", "my-sandbox")


def test_a_runtime_that_is_not_there_is_named():
    apply(SLEEPER)
    wait_for(lambda: "runtimeClassName" in json.dumps(
        get("events", "--field-selector", "involvedObject.name=gvisor-test")), 60, "an event")
    kubectl("delete", "sandbox", "gvisor-test")
    apply(without_runtime(SLEEPER))
    ready("gvisor-test")
    assert kubectl("exec", "gvisor-test", "--", "cat", "/proc/1/comm")
    kubectl("delete", "sandbox", "gvisor-test")


def test_every_field():
    kubectl("create", "secret", "generic", "agent-secrets", "--from-literal=api-key=of mine")
    assert "created" in kubectl("apply", "--dry-run=server", "-f", "-", text=WHOLE)
    apply(without_runtime(WHOLE))
    ready("my-agent")
    shown = kubectl("exec", "my-agent", "--", "sh", "-c", 'echo "$API_KEY"')
    assert shown == "of mine\n", shown
    claim = get("pvc", "workspace-my-agent")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi", claim
    assert get("sandbox", "my-agent")["spec"]["shutdownPolicy"] == "Delete"
    kubectl("delete", "sandbox", "my-agent")


def test_the_dialect_of_guides():
    assert re.findall(r"created$", apply(DIALECT), re.M) == ["created"] * 2
    kubectl("wait", "--for=condition=Ready", "sandboxclaim.extensions.agents.x-k8s.io/my-session",
            "--timeout=60s")
    claim = get("sandboxclaim.extensions.agents.x-k8s.io", "my-session")
    assert claim["spec"]["lifecycle"]["shutdownPolicy"] == "Delete", claim
    kubectl("delete", "-f", "-", text=DIALECT)
    wait_for(lambda: not get("sandboxes")["items"], 30, "the claim's Sandbox to go")


def test_every_manifest_of_the_pages():
    """Without pages, those above: as they stand, and as a page would print them."""
    folder = os.environ.get("PAGES")
    pages = [page.read_text(encoding="utf-8") for page in sorted(pathlib.Path(folder).iterdir())
             ] if folder else [f"```yaml{manifest}```\n" for manifest in
                               (RUNTIME_CLASS, FIRST, SLEEPER, WHOLE, DIALECT)]
    manifests = [found for page in pages for found in MANIFEST.findall(page)
                 if not FOREIGN.search(found)]
    assert len(manifests) >= 5, manifests
    for manifest in manifests:
        # Those of a page that makes its namespace in a step before.
        for name in re.findall(r"^ +namespace: (\S+)$", manifest, re.M):
            run("create", "namespace", name)
        # A page leaves such a word for its reader to fill in.
        text = re.sub(r"<[A-Z]+>|\$\{[A-Z_]+\}", "busybox", manifest)
        done = run("apply", "--dry-run=server", "-f", "-", text=text)
        assert done.returncode == 0, f"{manifest}\n{done.stderr}"


if __name__ == "__main__":
    tap.main(globals())
