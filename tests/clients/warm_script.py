#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a guide's user writes with our SDK: a tunnel of one's own, a warm sandbox, a few commands.

usage: warm_script.py      ($KUBECONFIG's current namespace holds template, pool and router)
"""

import re
import subprocess

from agentic_sandbox import SandboxClient

TEMPLATE, NAMESPACE = "python-runtime-template", "agent-sandbox-demo"


def created(kind, name):
    return subprocess.run(["kubectl", "get", kind, name, "-o",
                           "jsonpath={.metadata.creationTimestamp}"],
                          check=True, capture_output=True, text=True).stdout


def use(sandbox):
    print(f"Sandbox created: {sandbox.claim_name}")
    print(f"Pod allocated: {sandbox.pod_name}")
    result = sandbox.run("python3 -c 'print(\"Hello from SDK!\")'")
    print(f"  stdout: {result.stdout.strip()}\n  exit_code: {result.exit_code}")
    sandbox.write("test.txt", "SDK test content")
    content = sandbox.read("test.txt").decode()
    print(f"  File written and read successfully\n  Content: {content}")
    if created("pod", sandbox.pod_name) < created("sandboxclaim", sandbox.claim_name):
        print("Pod was PRE-WARMED from WarmPool!")
    print(f"  Sandbox kernel: {sandbox.run('uname -r').stdout.strip()}")


def main():
    tunnel = subprocess.Popen(["kubectl", "port-forward", "svc/sandbox-router-svc", ":8080"],
                              stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r"127\.0\.0\.1:(\d+) ->", tunnel.stdout.readline()).group(1)
        with SandboxClient(template_name=TEMPLATE, namespace=NAMESPACE,
                           api_url=f"http://localhost:{port}") as sandbox:
            use(sandbox)
        print("Core tests (1-3) passed!")
    finally:
        tunnel.terminate()
        tunnel.wait()
        print("Cleaning up port-forward")


if __name__ == "__main__":
    main()
