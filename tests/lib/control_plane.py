# SPDX-License-Identifier: Apache-2.0
"""A real etcd, kube-apiserver and kube-controller-manager on loopback, for tests.

tools/build-control-plane builds the programs; CAY_CONTROL_PLANE may name another folder of them.
Our kinds are installed in v1beta1 alone, unless asked for both: to serve v1alpha1 kube-apiserver
calls the conversion webhook, once for each object that is written, whoever writes it.
"""

import collections
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile

from lib import objects
from lib.instance import Api, free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager")
ATTEMPTS = 3  # a free port may be taken by somebody else before its server has it
AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
                "omitStages": ["RequestReceived", "ResponseStarted"]}
CONTROLLERS = ("garbage-collector-controller,namespace-controller,serviceaccount-controller,"
               "clusterrole-aggregation-controller,persistentvolumeclaim-protection-controller")

# As whom deploy/rbac.yaml lets `cay controller` act.
CONTROLLER_USER = "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller"


def programs():
    """The folder of etcd, kube-apiserver and their like."""
    folder = os.environ.get("CAY_CONTROL_PLANE")
    if folder:
        return pathlib.Path(folder)
    found = subprocess.run([ROOT / "tools/build-control-plane", "--where"], text=True,
                           capture_output=True, check=False)
    if found.returncode != 0:
        raise AssertionError(found.stderr.strip())
    return pathlib.Path(found.stdout.strip())


class Ended(Exception):
    """A server ended when it was to serve."""


class ControlPlane:
    """Starts the servers in a temporary folder; use as a context manager.

    `audit` is whether to keep an audit log, or its level: "RequestResponse" has the bodies.
    """

    def __init__(self, audit=False, v1alpha1=False):
        self.programs = programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cay-plane-"))
        self.audit = audit
        self.v1alpha1 = v1alpha1
        self.running = []  # (name, process), in the order of their start
        self.commands = {}  # by name, to start it again
        self.tokens = {"admin": secrets.token_hex(16), "cay-controller": secrets.token_hex(16)}

    def __enter__(self):
        try:
            self.prepare()
            for attempt in range(ATTEMPTS):
                try:
                    self.start_servers()
                    break
                except Ended:
                    self.stop()
                    if attempt == ATTEMPTS - 1:
                        raise
                    shutil.rmtree(self.folder / "etcd", ignore_errors=True)
        except BaseException:
            self.print_logs()
            self.stop()
            shutil.rmtree(self.folder)
            raise
        return self

    def __exit__(self, kind, value, _):
        if kind is not None and not (kind is SystemExit and value.code == 0):
            self.print_logs()
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def kubeconfig(self):
        return str(self.folder / "admin.kubeconfig")

    @property
    def controller_kubeconfig(self):
        return str(self.folder / "cay-controller.kubeconfig")

    @property
    def audit_log(self):
        return self.folder / "audit.log"

    def api(self):
        return Api(self.kubeconfig)

    # ---- processes ----

    def start(self, name, *command, **environment):
        """Starts a process that ends with us; its output goes to <name>.log."""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={**os.environ, "HOME": str(self.folder), **environment})
        self.running.append((name, process))
        self.commands[name] = (command, environment)
        return process

    def process(self, name):
        """The process of that name, "etcd" or "kube-apiserver" or whatever was started."""
        return next(process for found, process, *_ in self.running if found == name)

    def kill(self, name):
        """kill -9 of the process of that name; it is not started again by itself."""
        process = self.process(name)
        process.kill()
        process.wait()
        self.running = [entry for entry in self.running if entry[1] is not process]

    def restart(self, name):
        """Starts what was killed, or has ended, as it was: same port, same data. Returns the process;
        what it serves, it may not serve yet. To be called by the thread that is to outlive it."""
        command, environment = self.commands[name]
        self.running = [entry for entry in self.running if entry[0] != name]
        return self.start(name, *command, **environment)

    def until_serving(self, timeout=120):
        """Waits until the API answers and its store does."""
        def look():
            try:
                return self.api().get("/readyz")[0] == 200
            except (OSError, http.client.HTTPException):
                return False
        wait_for(look, timeout, "kube-apiserver to serve", pause=0.1)

    def end(self, process):
        """Ends one of them, in order, or after ten seconds without."""
        self.running = [entry for entry in self.running if entry[1] is not process]
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop(self):
        for name, process in reversed(list(self.running)):
            if name in SERVERS:
                process.kill()  # their data is thrown away
            self.end(process)

    def wait_serving(self, process, condition, what):
        def look():
            if process.poll() is not None:
                raise Ended(f"{what} ended with {process.returncode}")
            try:
                return condition()
            except OSError:
                return False
        wait_for(look, 120, f"{what} to serve", pause=0.1)

    def print_logs(self):
        for path in sorted(self.folder.glob("*.log")):
            if path == self.audit_log or path.name == "kube-controller-manager.log":
                continue  # that one tells of every retry
            for line in path.read_text(errors="replace").splitlines()[-30:]:
                print(f"# {path.name}: {line}")

    # ---- what they need ----

    def prepare(self):
        lines = [f'{self.tokens["admin"]},admin,admin,"system:masters"',
                 f'{self.tokens["cay-controller"]},{CONTROLLER_USER},cay-controller']
        self.write("tokens.csv", "\n".join(lines) + "\n")
        self.write("audit-policy.json", json.dumps({
            **AUDIT_POLICY, "rules": [
                {"level": "Metadata" if isinstance(self.audit, bool) else self.audit}]}))
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
                        self.folder / "service-account.key"], check=True)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def write_kubeconfig(self, user, port):
        authority = self.folder / "certificates/apiserver.crt"
        self.write(f"{user}.kubeconfig", json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "plane",
            "clusters": [{"name": "plane", "cluster": {
                "server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": user}}]}))

    def start_servers(self):
        client, peer, secure = free_port(), free_port(), free_port()
        # What is tested is behaviour: the data is thrown away, so nothing waits for the disk.
        self.start("etcd", self.programs / "etcd", "--data-dir=etcd", "--name=plane",
                   "--log-level=error", "--unsafe-no-fsync", f"--listen-client-urls=http://127.0.0.1:{client}",
                   f"--advertise-client-urls=http://127.0.0.1:{client}",
                   f"--listen-peer-urls=http://127.0.0.1:{peer}",
                   f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                   f"--initial-cluster=plane=http://127.0.0.1:{peer}")
        audit = ("--audit-policy-file=audit-policy.json",
                 f"--audit-log-path={self.audit_log}") if self.audit else ()
        server = self.start(
            "kube-apiserver", self.programs / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}", f"--secure-port={secure}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            "--cert-dir=certificates", "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
            "--token-auth-file=tokens.csv", "--service-account-key-file=service-account.key",
            "--service-account-signing-key-file=service-account.key",
            "--service-account-issuer=https://kubernetes.default.svc", *audit)
        certificate = self.folder / "certificates/apiserver.crt"
        self.wait_serving(server, certificate.exists, "kube-apiserver")
        for user in self.tokens:
            self.write_kubeconfig(user, secure)
        self.wait_serving(server, lambda: self.api().get("/readyz")[0] == 200, "kube-apiserver")
        # Before the manager: its garbage collector learns of kinds at its start and twice a minute.
        self.install_kinds()
        manager = self.start(
            "kube-controller-manager", self.programs / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}", "--cert-dir=certificates",
            f"--root-ca-file={certificate}", f"--controllers={CONTROLLERS}",
            "--service-account-private-key-file=service-account.key",
            "--kube-api-qps=1000", "--kube-api-burst=2000")
        self.install_roles()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait_serving(manager, lambda: self.api().get(account)[0] == 200,
                          "kube-controller-manager")

    # ---- our kinds ----

    def install_kinds(self):
        """The CRDs as they are in api/, but for v1alpha1."""
        api = self.api()
        for path in sorted((ROOT / "api/crds").glob("*.yaml")):
            text, count = re.subn(r"(- name: v1alpha1\n +served: )true", r"\1false",
                                  path.read_text(encoding="utf-8"))
            # The server's own cache of a version converts every event, served or not: without a
            # webhook that answers, once a second in vain.
            text, conversions = re.subn(r"(\n  conversion:\n    strategy: )Webhook\n(?:    .*\n)+",
                                        r"\1None\n", text)
            if (count, conversions) != (1, 1):
                raise AssertionError(f"{path.name}: no v1alpha1 that is served and converted")
            self.apply_yaml(path.read_text(encoding="utf-8") if self.v1alpha1 else text)
        for path in ("/apis/agents.x-k8s.io/v1beta1/sandboxes",
                     "/apis/extensions.agents.x-k8s.io/v1beta1/sandboxclaims",
                     "/apis/extensions.agents.x-k8s.io/v1beta1/sandboxtemplates",
                     "/apis/extensions.agents.x-k8s.io/v1beta1/sandboxwarmpools"):
            wait_for(lambda path=path: api.get(path)[0] == 200, 30, f"{path} to be served")

    def install_roles(self):
        """The controller's. Unchecked, as the server would have to make its OpenAPI first."""
        self.kubectl("apply", "--validate=false", "-f", ROOT / "deploy/rbac.yaml")

    def apply_yaml(self, text):
        api = self.api()
        connection = api.connect()
        connection.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                           text.encode(), api.headers("application/yaml"))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 201:
            raise AssertionError(f"CRD: {answer.status} {body[:500]!r}")

    def requests(self, user):
        """Of the audit log: (verb, group, resource with subresource, status) -> how many."""
        found = collections.Counter()
        with open(self.audit_log, encoding="utf-8") as log:
            for entry in map(json.loads, log):
                target, answer = entry.get("objectRef"), entry["responseStatus"]
                # A namespace that goes takes nothing new, whoever asks.
                terminating = "because it is being terminated" in answer.get("message", "")
                if target and entry["user"]["username"] == user and not terminating:
                    resource = "/".join(filter(None, (target["resource"],
                                                      target.get("subresource"))))
                    found[(entry["verb"], target.get("apiGroup", ""), resource,
                           answer["code"])] += 1
        return found

    def kubectl(self, *arguments, stdin=None):
        """Runs it as the administrator; what it printed."""
        done = subprocess.run([self.programs / "kubectl", "--kubeconfig", self.kubeconfig,
                               *map(str, arguments)], text=True, capture_output=True, check=False,
                              input=stdin, env={**os.environ, "HOME": str(self.folder)})
        if done.returncode != 0:
            raise AssertionError(f"kubectl {arguments}: {done.stderr}")
        return done.stdout

    def start_controller(self, cay, *options, name="controller", url=False, **environment):
        """With `url` kube-apiserver, which knows no Services, finds its webhook by loopback."""
        port = free_port() if url else 0
        webhook = [f"--webhook-port={port}"]
        if url:
            webhook.append(f"--webhook-url=https://127.0.0.1:{port}/convert")
        return self.start(name, cay, "controller", "--kubeconfig", self.controller_kubeconfig,
                          "--extensions", "--metrics-bind-address=127.0.0.1:0",
                          "--health-probe-bind-address=127.0.0.1:0", *webhook, *options,
                          **environment)

    def health(self, path, name="controller"):
        """(status, text) of a controller's endpoint, once its log says where that is."""
        def address():
            text = (self.folder / f"{name}.log").read_text(encoding="utf-8")
            return re.search(r'"msg":"health on (\S+)"', text)
        where = wait_for(address, 20, f"{name} to serve health").group(1)
        connection = http.client.HTTPConnection(where, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def until_ready(self, name="controller"):
        wait_for(lambda: self.health("/readyz", name)[0] == 200, 60, f"{name} to be ready")

    def until_converting(self):
        """Waits until kube-apiserver, which takes a moment, calls the webhook for every kind."""
        api = self.api()
        pod = {"podTemplate": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}
        reference = {"sandboxTemplateRef": {"name": "a"}}
        for resource, kind, spec in (("sandboxes", "Sandbox", pod),
                                     ("sandboxtemplates", "SandboxTemplate", pod),
                                     ("sandboxclaims", "SandboxClaim", reference),
                                     ("sandboxwarmpools", "SandboxWarmPool",
                                      {**reference, "replicas": 1})):
            path = objects.path(resource).replace("v1beta1", "v1alpha1")
            document = {"apiVersion": "/".join(path.split("/")[2:4]), "kind": kind,
                        "metadata": {"name": "a"}, "spec": spec}
            wait_for(lambda: api.request("POST", f"{path}?dryRun=All", document)[0] == 201, 60,
                     f"{resource} to be converted")
