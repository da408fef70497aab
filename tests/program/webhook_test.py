#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The conversion webhook of `cay controller` on a real kube-apiserver that serves both versions.

How objects are converted is in behaviour/conversion_test.py; here is how it is trusted.

usage: CAY=build/cay webhook_test.py [--long]      (waits for the end of an old certificate, too)
"""

import base64
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.control_plane import CONTROLLER_USER, ROOT, ControlPlane  # noqa: E402
from lib.controller import CAY, Controller  # noqa: E402
from lib.instance import wait_for  # noqa: E402
from lib.scene import MERGE, Scene, blueprint, same  # noqa: E402

SPACE = "agent-sandbox-system"
SERVICE = f"agent-sandbox-webhook-service.{SPACE}.svc"
SECRET = f"/api/v1/namespaces/{SPACE}/secrets/agent-sandbox-webhook-certs"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
NAMES = ("sandboxes.agents.x-k8s.io", "sandboxclaims.extensions.agents.x-k8s.io",
         "sandboxtemplates.extensions.agents.x-k8s.io",
         "sandboxwarmpools.extensions.agents.x-k8s.io")


def reachable(plane, *options):
    """One that kube-apiserver, which knows no Services, can call."""
    return Controller(plane, *options, url=True)


def port(controller):
    return int(controller.address("conversion webhook").rsplit(":", 1)[1])


def certificate(controller, authorities, name=SERVICE):
    """What it serves to a client that looks for `name`; fails if that is not trusted."""
    context = ssl.create_default_context(cadata=authorities)
    raw = socket.create_connection(("127.0.0.1", port(controller)), 10)
    with context.wrap_socket(raw, server_hostname=name) as stream:
        served = stream.getpeercert(binary_form=True)
        stream.sendall(b"GET /convert HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert stream.recv(64).startswith(b"HTTP/1.1 405 ")
    return served


def read_secret(plane):
    """The Secret's data decoded, or None."""
    status, secret = plane.api().get(SECRET)
    if status == 404:
        return None
    same(200, status)
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def write_secret(plane, data):
    api = plane.api()
    api.request("DELETE", SECRET)
    if data:
        api.create(SECRET.rsplit("/", 1)[0], {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "agent-sandbox-webhook-certs"},
            "data": {key: base64.b64encode(value.encode()).decode()
                     for key, value in data.items()}})


def conversions(plane):
    """spec.conversion of the CRDs."""
    for name in NAMES:
        status, crd = plane.api().get(CRDS + name)
        same(200, status)
        yield crd["spec"]["conversion"]


def until_patched(plane, authorities):
    bundle = base64.b64encode(authorities.encode()).decode()
    wait_for(lambda: all(each.get("webhook", {}).get("clientConfig", {}).get("caBundle") ==
                         bundle for each in conversions(plane)), 30, "the CRDs to be patched")


def requests(plane, verb, resource):
    return sum(count for (done, _, what, status), count in plane.requests(CONTROLLER_USER).items()
               if (done, what) == (verb, resource) and status in (200, 201))


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, check=True,
                          capture_output=True).stdout.decode()


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem)


# ---- the Secret ----

def test_replicas_agree_on_one_certificate(plane):
    with Controller(plane) as first, Controller(plane) as second:
        first.until_ready(), second.until_ready()
        secret = read_secret(plane)
        same({"ca.crt", "tls.crt", "tls.key"}, set(secret))
        same(1, requests(plane, "create", "secrets"))
        until_patched(plane, secret["ca.crt"])
        for controller in (first, second):
            for name in (SERVICE, SERVICE.removesuffix(".svc"), f"{SERVICE}.cluster.local"):
                same(der(secret["tls.crt"]), certificate(controller, secret["ca.crt"], name))
        for conversion in conversions(plane):
            config = conversion["webhook"]["clientConfig"]
            same({"name": SERVICE.split(".", 1)[0], "namespace": SPACE, "path": "/convert",
                  "port": 443}, config["service"])
        patched = requests(plane, "patch", "customresourcedefinitions")
        assert patched in range(4, 9), patched  # each once, or by both before they saw it


def addresses(plane):
    return {conversion["webhook"]["clientConfig"].get("url") for conversion in conversions(plane)}


def test_of_replicas_with_addresses_of_their_own_the_leaders_stands(plane):
    """Each change of a CRD makes kube-apiserver begin anew: there must be few of them."""
    with reachable(plane) as first:
        first.until_ready().until_leading()
        mine = f"https://127.0.0.1:{port(first)}/convert"
        wait_for(lambda: addresses(plane) == {mine}, 10, "the leader's address")
        with reachable(plane) as second:
            second.until_ready()
            other = f"https://127.0.0.1:{port(second)}/convert"
            before = requests(plane, "patch", "customresourcedefinitions")
            time.sleep(3)  # that nothing happens is what is tested
            same(before, requests(plane, "patch", "customresourcedefinitions"))
            same({mine}, addresses(plane))
            first.__exit__()
            second.until_leading()
            wait_for(lambda: addresses(plane) == {other}, 10, "the next leader's address")
            patched = requests(plane, "patch", "customresourcedefinitions") - before
            assert patched in range(4, 9), patched


def test_two_that_do_not_know_of_each_other_give_way(plane):
    alone = "--leader-elect=false"
    with reachable(plane, alone) as first, reachable(plane, alone) as second:
        wait_for(lambda: first.said("again and again") or second.said("again and again"), 30,
                 "a warning")


def test_upstreams_secret_is_used_as_it_is(plane):
    """An authority whose key is gone, a key in SEC 1 form, the four names of the Service."""
    folder = plane.folder / "upstream"
    folder.mkdir()
    for who in ("ca", "tls"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{who}.key")
    openssl("req", "-x509", "-new", "-key", folder / "ca.key", "-days", 365, "-out",
            folder / "ca.crt", "-subj", "/CN=agent-sandbox-conversion-webhook-ca")
    openssl("req", "-new", "-key", folder / "tls.key", "-subj", f"/CN={SERVICE}", "-out",
            folder / "tls.csr")
    (folder / "names").write_text(f"subjectAltName=DNS:{SERVICE}\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", folder / "tls.csr", "-CA", folder / "ca.crt", "-CAkey",
            folder / "ca.key", "-CAcreateserial", "-days", 365, "-extfile", folder / "names",
            "-out", folder / "tls.crt")
    theirs = {name: (folder / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key")}
    assert "BEGIN EC PRIVATE KEY" in theirs["tls.key"]
    write_secret(plane, theirs)
    with Controller(plane) as controller:
        controller.until_ready()
        same(der(theirs["tls.crt"]), certificate(controller, theirs["ca.crt"]))
        same(theirs, read_secret(plane))
        until_patched(plane, theirs["ca.crt"])


def test_what_is_of_no_use_is_replaced(plane):
    write_secret(plane, {"ca.crt": "junk", "tls.crt": "junk", "other": "thing"})
    with Controller(plane) as controller:
        controller.until_said("of no use: the certificate is missing or damaged")
        controller.until_ready()
        same({"ca.crt", "tls.crt", "tls.key"}, set(read_secret(plane)))


def test_a_deleted_secret_is_made_again_as_it_was(plane):
    # Looked at every tenth of a second where a certificate is to last so short a time.
    with Controller(plane, "--webhook-cert-duration=120s") as controller:
        controller.until_ready()
        before = read_secret(plane)
        write_secret(plane, None)
        wait_for(lambda: read_secret(plane) == before, 10, "the same Secret")


def test_without_rights_it_is_not_ready(plane):
    write_secret(plane, None)
    for kind, what in (("rolebinding", "the certificate is not read yet: secrets"),
                       ("clusterrolebinding", "not read: customresourcedefinitions")):
        name = "agent-sandbox-controller-webhook"
        plane.kubectl("delete", kind, name, "-n", SPACE)
        try:
            with Controller(plane) as controller:
                controller.until_said("every kind is listed")
                wait_for(lambda controller=controller: "forbidden" in controller.get(
                    "/readyz")[1], 20, "the reason")
                status, text = controller.get("/readyz")
                same(500, status)
                assert f"[-]webhook failed: " in text and what in text, text
                plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")
                controller.until_ready()
        finally:
            plane.kubectl("apply", "-f", ROOT / "deploy/rbac.yaml")


# ---- the CRDs ----

def test_what_somebody_overwrites_is_patched_again(plane):
    scene = Scene("v1alpha1")
    with reachable(plane) as controller:
        controller.until_ready()
        plane.until_converting()
        secret = read_secret(plane)
        plane.kubectl("replace", "-f", ROOT / "api/crds")
        until_patched(plane, secret["ca.crt"])
        plane.api().request("PATCH", CRDS + NAMES[0], {"spec": {"conversion": {
            "strategy": "None", "webhook": None}}}, MERGE)
        until_patched(plane, secret["ca.crt"])
        plane.until_converting()
        same(0, scene.make("sandboxes", "s", {**blueprint(), "replicas": 0})["spec"]["replicas"])


def test_what_only_serves_v1beta1_is_left_alone(plane):
    api, path = plane.api(), CRDS + NAMES[3]
    before = api.get(path)[1]
    versions = [{**each, "served": each["name"] == "v1beta1"}
                for each in before["spec"]["versions"]]
    status, changed = api.request("PATCH", path, {"spec": {
        "versions": versions, "conversion": {"strategy": "None", "webhook": None}}}, MERGE)
    same(200, status)
    with reachable(plane) as controller:
        controller.until_ready()
        same(changed["spec"]["conversion"], api.get(path)[1]["spec"]["conversion"])
        plane.kubectl("replace", "-f", ROOT / "api/crds/sandboxwarmpools.yaml")
        until_patched(plane, read_secret(plane)["ca.crt"])


# ---- time ----

class Reader(threading.Thread):
    """Reads one object in v1alpha1, which converts it, again and again."""

    def __init__(self, plane, path):
        super().__init__(daemon=True)
        self.api, self.path = plane.api(), path
        self.answers, self.stopped = [], False
        self.start()

    def run(self):
        while not self.stopped:
            status, answer = self.api.get(self.path)
            # What kube-apiserver says while it takes in a changed CRD; clients come again.
            if status != 429:
                self.answers.append((status, answer.get("message")))
            time.sleep(0.01)

    def end(self):
        self.stopped = True
        self.join()
        return self.answers


def test_a_certificate_is_replaced_before_it_ends_and_no_call_fails(plane):
    scene = Scene("v1alpha1")
    write_secret(plane, None)
    with reachable(plane, "--webhook-cert-duration=40s") as controller:
        controller.until_ready()
        old = read_secret(plane)
        plane.until_converting()
        scene.make("sandboxes", "s", {**blueprint(), "replicas": 0})
        where = port(controller)
    # For this one it has less than a third of its time left. (The port is in the CRDs.)
    with reachable(plane, "--webhook-cert-duration=240s", f"--webhook-port={where}",
                   f"--webhook-url=https://127.0.0.1:{where}/convert") as controller:
        wait_for(lambda: plane.api().get(scene.path("sandboxes", "s"))[0] == 200, 10, "an answer")
        reader = Reader(plane, scene.path("sandboxes", "s"))
        controller.until_said("the next one is announced")
        wait_for(lambda: "next.crt" in read_secret(plane), 5, "the announced certificate")
        announced = read_secret(plane)
        same((old["tls.crt"], old["tls.key"]), (announced["tls.crt"], announced["tls.key"]))
        assert old["ca.crt"] in announced["ca.crt"]
        same(der(old["tls.crt"]), certificate(controller, announced["ca.crt"]))
        until_patched(plane, announced["ca.crt"])
        controller.until_said("the next one serves from now on")
        wait_for(lambda: "next.crt" not in read_secret(plane), 5, "the change")
        new = read_secret(plane)
        same((announced["next.crt"], announced["next.key"]), (new["tls.crt"], new["tls.key"]))
        wait_for(lambda: certificate(controller, new["ca.crt"]) == der(new["tls.crt"]), 5,
                 "the new certificate to be served")
        assert old["ca.crt"] in new["ca.crt"]  # until it ends: others may serve it for a while
        if "--long" in sys.argv:
            wait_for(lambda: old["ca.crt"] not in read_secret(plane)["ca.crt"], 40, "its end")
            until_patched(plane, read_secret(plane)["ca.crt"])
        answers = reader.end()
        same([], [answer for answer in answers if answer[0] != 200])
        assert len(answers) > 100, len(answers)


def test_files_of_somebody_else_are_read_again(plane):
    first, folder = read_secret(plane), plane.folder / "files"
    folder.mkdir()
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_text(first[name])
    writes = requests(plane, "patch", "customresourcedefinitions")
    options = ("--manage-webhook-certs=false", f"--webhook-cert-dir={folder}")
    with Controller(plane, *options) as controller:
        controller.until_ready()
        same(der(first["tls.crt"]), certificate(controller, first["ca.crt"]))
        for name in ("ca.crt", "tls.crt", "tls.key"):
            (folder / name).write_text((plane.folder / "upstream" / name).read_text())
        controller.until_said("was read again")
        certificate(controller, (folder / "ca.crt").read_text())
        (folder / "tls.key").unlink()
        wait_for(lambda: controller.get("/readyz")[0] == 500, 10, "not ready")
        assert "tls.key" in controller.get("/readyz")[1]
    same(writes, requests(plane, "patch", "customresourcedefinitions"))


def test_options_are_refused_with_a_sentence(plane):
    for options, said in ((["--webhook-url=http://a/convert"], "--webhook-url takes https://HOST"),
                          (["--webhook-url=https://a/other"], "--webhook-url takes https://HOST"),
                          (["--webhook-port=70000"], "--webhook-port takes 0 to 65535"),
                          (["--webhook-cert-duration=1s"], "--webhook-cert-duration takes 10s"),
                          (["--manage-webhook-certs=false", "--webhook-cert-dir=/nowhere"],
                           "cannot read /nowhere/tls.crt")):
        done = subprocess.run(
            [CAY, "controller", "--kubeconfig", plane.controller_kubeconfig, "--webhook-port=0",
             "--metrics-bind-address=0", "--health-probe-bind-address=0", *options], text=True,
            capture_output=True, timeout=10, check=False)
        assert done.returncode != 0 and said in done.stderr, (options, done)


def test_a_server_that_is_gone_is_complained_of_once(plane):
    with reachable(plane, "--leader-elect-lease-duration=60s",
                   "--leader-elect-renew-deadline=50s") as controller:
        controller.until_ready()
        plane.kill("kube-apiserver")
        # Four watches of CRDs and eight of kinds, each of them more than twice.
        wait_for(lambda: controller.metric("cay_client_failures_total") >= 50, 60,
                 "attempts in vain")
        plane.restart("kube-apiserver")
        plane.until_serving()
        controller.until_ready()
        same(1, len([line for line in controller.said("Connection refused")
                     if "cannot watch " in line["msg"]]))


def test_a_wrong_address_is_complained_of_once_and_corrected(plane):
    config = json.loads(pathlib.Path(plane.controller_kubeconfig).read_text(encoding="utf-8"))
    cluster, path = config["clusters"][0]["cluster"], plane.folder / "corrected"
    right = cluster["server"]
    handler = type("Silent", (http.server.BaseHTTPRequestHandler,),
                   {"log_message": lambda *_: None})
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=plain.serve_forever, args=(0.05,), daemon=True).start()

    def write(server):
        cluster["server"] = server
        path.with_suffix(".new").write_text(json.dumps(config), encoding="utf-8")
        path.with_suffix(".new").rename(path)

    for wrong, text in (
            ("https://127.0.0.1:1", "Connection refused"),
            (f"https://127.0.0.1:{plain.server_port}", "speaks HTTP, not HTTPS: is the port "),
            (right.replace("https:", "http:"), "speaks HTTPS, not HTTP: is the URL right?")):
        write(wrong)
        with reachable(plane, f"--kubeconfig={path}") as controller:
            # Of watches of kinds and of CRDs, the Lease and the webhook's Secret.
            wait_for(lambda c=controller: c.metric("cay_client_failures_total") >= 25, 30,
                     "attempts in vain")
            answer = controller.get("/readyz")[1]
            for check in ("caches", "leader-election", "webhook"):
                assert re.search(rf"\[-\]{check} failed: .*{wrong}: .*{text[:20]}", answer), answer
            said = [line["msg"] for line in controller.log() if line["level"] == "warn"]
            same(1, len(said))
            assert f"{wrong}: " in said[0] and text in said[0], said
            write(right)
            controller.until_ready()
            same(1, len(controller.said(f"{wrong}: ")))
    plain.shutdown()
    plain.server_close()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit: clean up, too
    with ControlPlane(audit=True, v1alpha1=True) as plane:
        os.environ["KUBECONFIG"] = plane.kubeconfig
        tap.main(globals(), (plane,))


if __name__ == "__main__":
    main()
