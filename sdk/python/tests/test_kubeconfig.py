# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs in every form that is understood, and a sentence for every other."""

import base64
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from agentic_sandbox import SandboxError, kubeconfig  # noqa: E402
from fakes import make_kubectl  # noqa: E402

YAML = """apiVersion: v1
clusters:
- cluster:
    server: https://127.0.0.1:6443
  name: k
contexts:
- context: {cluster: k, user: u}
  name: c
current-context: c
kind: Config
users:
- name: u
  user:
    token: "token: 1"
"""


def document(user=None, cluster=None, **more):
    return {"current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://h:1", **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {}}], **more}


class Kubeconfig(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "config")
        patch = mock.patch.dict(os.environ, {
            "KUBECONFIG": self.path, "PATH": self.folder + os.pathsep + os.environ["PATH"]})
        patch.start()
        self.addCleanup(patch.stop)
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)

    def write(self, contents, name="config"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(contents if isinstance(contents, str) else json.dumps(contents))
        return path

    def load(self, contents):
        self.write(contents)
        return kubeconfig.load()

    def test_json_needs_nothing_else(self):
        with mock.patch.dict(sys.modules, {"yaml": None}):
            cluster = self.load(document({"token": "t"}))
        self.assertEqual(cluster.server, "https://h:1")
        self.assertEqual(cluster.authorization(), "Bearer t")
        self.assertEqual(cluster.tls.verify_mode, ssl.CERT_REQUIRED)

    def test_yaml_by_pyyaml(self):
        try:
            import yaml  # noqa: F401
        except ImportError:
            self.skipTest("PyYAML is not installed")
        self.assertEqual(self.load(YAML).authorization(), "Bearer token: 1")
        with self.assertRaisesRegex(SandboxError, "is not YAML"):
            self.load("a: [")

    def test_yaml_by_kubectl(self):
        log = make_kubectl(self.folder, config=document({"token": "by kubectl"}))
        with mock.patch.dict(sys.modules, {"yaml": None}):
            self.assertEqual(self.load(YAML).authorization(), "Bearer by kubectl")
        with open(log, encoding="utf-8") as file:
            self.assertEqual(json.loads(file.read())[:3], ["config", "view", "--raw"])

    def test_several_files_by_kubectl(self):
        make_kubectl(self.folder, config=document({"token": "merged"}))
        paths = [self.write(document(), "one"), self.write(document(), "two")]
        with mock.patch.dict(os.environ, {"KUBECONFIG": os.pathsep.join(paths)}):
            self.assertEqual(kubeconfig.load().authorization(), "Bearer merged")

    def test_yaml_with_neither_is_one_sentence(self):
        with mock.patch.dict(sys.modules, {"yaml": None}), \
                mock.patch.dict(os.environ, {"PATH": self.folder}):
            with self.assertRaisesRegex(SandboxError, "pip install PyYAML"):
                self.load(YAML)

    def test_credentials(self):
        self.write(" from a file\n", "token")
        pair = base64.b64encode(b"name:word").decode()
        program = self.write("#!/bin/sh\necho '{\"status\": {\"token\": \"'$FOO$1'\"}}'\n", "program")
        os.chmod(program, 0o755)
        for user, expected in (
                ({}, None), ({"token": "t"}, "Bearer t"),
                ({"tokenFile": "token"}, "Bearer from a file"),
                ({"username": "name", "password": "word"}, f"Basic {pair}"),
                ({"exec": {"command": "./program", "args": ["b"],
                           "env": [{"name": "FOO", "value": "a"}]}}, "Bearer ab")):
            self.assertEqual(self.load(document(user)).authorization(), expected)

    def test_certificates_in_files_and_inside(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout",
                        os.path.join(self.folder, "key"), "-out",
                        os.path.join(self.folder, "crt")], check=True, capture_output=True)

        def data(name):
            with open(os.path.join(self.folder, name), "rb") as file:
                return base64.b64encode(file.read()).decode()
        self.load(document({"client-certificate": "crt", "client-key": "key"},
                           {"certificate-authority": "crt"}))
        cluster = self.load(document(
            {"client-certificate-data": data("crt"), "client-key-data": data("key")},
            {"certificate-authority-data": data("crt")}))
        self.assertEqual(len(cluster.tls.get_ca_certs()), 1)
        skipping = self.load(document(cluster={"insecure-skip-tls-verify": True}))
        self.assertEqual(skipping.tls.verify_mode, ssl.CERT_NONE)

    def test_inside_a_pod(self):
        self.write("pod token", "token")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout",
                        os.devnull, "-out", os.path.join(self.folder, "ca.crt")],
                       check=True, capture_output=True)
        with mock.patch.object(kubeconfig, "SERVICE_ACCOUNT", self.folder), \
                mock.patch.dict(os.environ, {"KUBERNETES_SERVICE_HOST": "fd00::1",
                                             "KUBERNETES_SERVICE_PORT": "443"}):
            cluster = kubeconfig.load()
        self.assertEqual(cluster.server, "https://[fd00::1]:443")
        self.assertEqual(cluster.authorization(), "Bearer pod token")

    def test_what_is_not_understood_is_one_sentence(self):
        for contents, sentence in (
                (document(**{"current-context": ""}), "no current-context"),
                (document(**{"current-context": "x"}), "context 'x'"),
                (document(clusters=[]), "cluster 'k'"),
                (document(users=[]), "user 'u'"),
                (document(cluster={"server": ""}), "no server"),
                (document(cluster={"proxy-url": "x"}), "proxy-url"),
                (document({"auth-provider": {"name": "x"}}), "auth-provider"),
                (document({"exec": {"command": "no-such-program"}}), "no-such-program failed"),
                ("[]", "no mapping")):
            with self.assertRaisesRegex(SandboxError, sentence):
                self.load(contents)
        os.unlink(self.path)
        with self.assertRaisesRegex(SandboxError, "no kubeconfig at"):
            kubeconfig.load()


if __name__ == "__main__":
    unittest.main()
