#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a cluster, on a real kube-apiserver: `cay controller` says it once, is not ready
meanwhile, and goes on by itself when it is right again."""

import http.server
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.control_plane import ROOT, ControlPlane  # noqa: E402
from lib.controller import Controller  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import Scene, blueprint, same  # noqa: E402
from lib.serving import Serving  # noqa: E402

# Longer than any fault below: a leader that cannot renew in time ends, by design.
PATIENT = ("--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=40s",
           "--leader-elect-retry-period=1s", "--enable-webhook=false")
# A request for the Lease is waited for half of the deadline.
SHORTER = ("--leader-elect-lease-duration=20s", "--leader-elect-renew-deadline=16s",
           "--leader-elect-retry-period=1s", "--enable-webhook=false")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TEMPLATES = "sandboxtemplates.extensions.agents.x-k8s.io"
POOLS = "sandboxwarmpools.extensions.agents.x-k8s.io"
NOBODY = "https://127.0.0.1:1/convert"


def until_said(controller, text, readyz):
    """Waits for the message, and that /readyz fails naming the same."""
    controller.until_said(text)

    def look():
        status, answer = controller.get("/readyz")
        return status == 500 and readyz in answer
    wait_for(look, 10, f"/readyz to say: {readyz}", pause=0.05)


def until_well(controller, *texts):
    """Waits until it is ready, and judges how often it has said what."""
    controller.until_ready()
    assert controller.process.poll() is None
    for text in texts:
        same((text, 1), (text, len(controller.said(text))))


def patch(api, path, body):
    status, answer = api.request("PATCH", path, body, "application/merge-patch+json")
    assert status == 200, (status, answer)
    return answer


def versions(api, crd, **flags):
    """The versions of a CRD, with flags changed: v1beta1=(served, storage)."""
    found = api.get(f"{CRDS}/{crd}")[1]["spec"]["versions"]
    for version in found:
        if version["name"] in flags:
            version["served"], version["storage"] = flags[version["name"]]
    return {"spec": {"versions": found}}


def test_speaks_over_one_connection(plane, controller):
    controller.until_leading().until_ready()
    same(1.0, controller.metric("cay_client_connections_total"))


def test_a_kind_that_is_missing(plane, controller):
    text = f"is the CRD {POOLS} installed"
    plane.kubectl("delete", "crd", POOLS)
    until_said(controller, text, "[-]caches failed: sandboxwarmpools are not watched: ")
    crd = next(path for path in (ROOT / "api/crds").glob("*.yaml") if "warmpools" in path.name)
    plane.kubectl("create", "-f", crd)
    patch(plane.api(), f"{CRDS}/{POOLS}", {"spec": {"conversion": {"strategy": "None",
                                                                   "webhook": None}}})
    patch(plane.api(), f"{CRDS}/{POOLS}", versions(plane.api(), POOLS, v1alpha1=(False, False)))
    until_well(controller, text)


def test_a_kind_of_another_version(plane, controller):
    text = f"is the CRD {TEMPLATES} installed, in that version?"
    path = f"{CRDS}/{TEMPLATES}"
    patch(plane.api(), path, versions(plane.api(), TEMPLATES, v1alpha1=(True, True),
                                      v1beta1=(False, False)))
    until_said(controller, text, "[-]caches failed: sandboxtemplates are not watched: ")
    patch(plane.api(), path, versions(plane.api(), TEMPLATES, v1alpha1=(False, False),
                                      v1beta1=(True, True)))
    until_well(controller, text)


def test_a_conversion_webhook_that_is_out_of_reach(plane, controller):
    text = f"failed: Post \"{NOBODY}"
    api, path = plane.api(), f"{CRDS}/{TEMPLATES}"
    old = "/apis/extensions.agents.x-k8s.io/v1alpha1/namespaces/default/sandboxtemplates"
    patch(api, path, versions(api, TEMPLATES, v1alpha1=(True, True), v1beta1=(True, False)))
    wait_for(lambda: api.get(old)[0] == 200, 20, "v1alpha1 to be served", pause=0.05)
    document = {"apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "kind": "SandboxTemplate",
                "metadata": {"name": "old"}, "spec": {"podTemplate": blueprint()["podTemplate"]}}
    wait_for(lambda: api.request("POST", old, document)[0] in (201, 409), 20, "an old template")
    patch(api, path, {"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": NOBODY}}}}})
    try:
        until_said(controller, text, "conversion webhook for")
    finally:
        patch(api, path, {"spec": {"conversion": {"strategy": "None", "webhook": None}}})
    until_well(controller, text)


def test_a_verb_that_is_forbidden(plane, controller):
    text = 'a right is missing: pods is forbidden: '
    scene = Scene()
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    for role in plane.api().get(roles)[1]["items"]:
        name = role["metadata"]["name"]
        if not name.startswith("agent-sandbox"):
            continue
        for rule in role["rules"]:
            if "pods" in rule.get("resources", ()):
                rule["verbs"] = [verb for verb in rule["verbs"] if verb != "create"]
        patch(plane.api(), f"{roles}/{name}", {"rules": role["rules"]})
    try:
        scene.make("sandboxes", "waits", blueprint())
        until_said(controller, text, '[-]rights failed: pods is forbidden: ')
        assert 'cannot create resource "pods"' in controller.said(text)[0]["msg"]
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")
        pod = f"/api/v1/namespaces/{scene.namespace}/pods/waits"
        wait_for(lambda: plane.api().get(pod)[0] == 200, 40, "the Pod to be made", pause=0.1)
        until_well(controller, text, "the right is there again: pods is forbidden: ")
    finally:
        plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")


# ---- in kube-apiserver's place ----

class Html(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<html>Welcome</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, *_):
        pass


class Impostor(Serving):
    """A TLS server on kube-apiserver's port while that one does not run."""

    def __init__(self, port, certificate, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        super().__init__(http.server.ThreadingHTTPServer(("127.0.0.1", port), Html,
                                                         bind_and_activate=False))
        self.server.allow_reuse_address = True
        # The handshake is each connection's own affair.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.server.server_bind()
        self.server.server_activate()
        self.server.handle_error = lambda *_: None


def openssl(folder, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def make_expired_certificate(folder):
    """An authority, and a certificate of it for 127.0.0.1 whose time is over."""
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    (folder / "index.txt").touch()
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", 1,
            "-subj", "/CN=faults")
    openssl(folder, "req", *key, "-keyout", "old.key", "-out", "old.csr", "-subj", "/CN=old")
    openssl(folder, "ca", "-config", "ca.cnf", "-batch", "-notext", "-in", "old.csr", "-out",
            "old.crt", "-cert", "ca.crt", "-keyfile", "ca.key", "-startdate", "20200101000000Z",
            "-enddate", "20210101000000Z")


def trust_both(plane, folder):
    """Lets the controller trust that authority besides kube-apiserver's."""
    path = pathlib.Path(plane.controller_kubeconfig)
    config = json.loads(path.read_text(encoding="utf-8"))
    cluster = config["clusters"][0]["cluster"]
    both = folder / "both.crt"
    both.write_text(pathlib.Path(cluster["certificate-authority"]).read_text(encoding="utf-8") +
                    (folder / "ca.crt").read_text(encoding="utf-8"), encoding="utf-8")
    cluster["certificate-authority"] = str(both)
    path.write_text(json.dumps(config), encoding="utf-8")
    return urllib.parse.urlsplit(cluster["server"]).port


def test_an_api_server_that_is_gone_or_somebody_else(plane, controller):
    folder = plane.folder / "faults"
    html, expired = "HTML: is https://127.0.0.1:", "certificate has expired"

    def complaints(text):
        return [line for line in controller.said(text) if "cannot watch " in line["msg"]]

    def until_complained(text, readyz):
        until_said(controller, text, readyz)  # of the Lease, it may be
        wait_for(lambda: complaints(text), 30, f"a watch to fail: {text}", pause=0.05)

    plane.kill("kube-apiserver")
    until_complained("Connection refused", "Connection refused")
    with Impostor(plane.port, plane.folder / "certificates/apiserver.crt",
                  plane.folder / "certificates/apiserver.key"):
        until_complained(html, "is https://127.0.0.1:")
    with Impostor(plane.port, folder / "old.crt", folder / "old.key"):
        until_complained(expired, expired)
    plane.restart("kube-apiserver")
    plane.until_serving()
    until_well(controller)
    for text in (html, expired, "Connection refused"):
        same((text, 1), (text, len(complaints(text))))
    wait_for(lambda: controller.said("every kind is watched again"), 10, "the end of it")


def test_a_store_that_is_killed(plane, controller):
    text = "cannot renew the lease"
    controller.__exit__()
    with Controller(plane, *SHORTER) as second:
        second.until_leading().until_ready()
        # Killed at once, kube-apiserver would look for it ever more seldom, and not in time.
        plane.process("etcd").send_signal(signal.SIGSTOP)
        until_said(second, text, "[-]leader-election failed: ")
        plane.kill("etcd")
        plane.restart("etcd")
        plane.until_serving()
        until_well(second, text, "is in reach again")
        scene = Scene()
        scene.make("sandboxes", "after", blueprint())
        pod = f"/api/v1/namespaces/{scene.namespace}/pods/after"
        wait_for(lambda: plane.api().get(pod)[0] == 200, 20, "a Pod to be made", pause=0.1)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane() as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        folder = plane.folder / "faults"
        folder.mkdir()
        make_expired_certificate(folder)
        plane.port = trust_both(plane, folder)
        with Controller(plane, *PATIENT) as controller:
            tap.main(globals(), (plane, controller))


if __name__ == "__main__":
    main()
