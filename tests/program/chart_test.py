#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chart in deploy/helm/cay: what its values make of it, and that deploy/*.yaml are made of it."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.scene import same  # noqa: E402
from lib.tool import load_tool  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKE = load_tool("make-manifests")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render(**values):
    """The objects that the chart makes; a__b is the value a.b."""
    texts = MAKE.documents({name.replace("__", "."): value for name, value in values.items()})
    return [yaml.load(text, Loader=LOADER) for text in texts]


def named(objects, kind, name):
    found, = [each for each in objects
              if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(objects, name):
    return named(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]


def kinds(objects):
    return {(each["kind"], each["metadata"]["name"]) for each in objects}


def test_helm_finds_no_fault():
    assert "0 chart(s) failed" in MAKE.helm("lint", "--strict", MAKE.CHART)


def test_the_manifests_are_made_of_it():
    for name, text in MAKE.manifests().items():
        same((name, text), (name, (ROOT / "deploy" / name).read_text(encoding="utf-8")))


def test_only_sandboxes():
    objects = render(extensions="false", router__enabled="false")
    same(["sandboxes.agents.x-k8s.io"], [each["metadata"]["name"] for each in objects
                                         if each["kind"] == "CustomResourceDefinition"])
    assert "--extensions" not in container(objects, "agent-sandbox-controller")["args"]
    assert not [name for _, name in kinds(objects) if "extensions" in name or "router" in name]


def test_what_is_switched_off_is_not_there():
    objects = render(controller__enabled="false", crds="none", networkPolicy__enabled="false",
                     podDisruptionBudget__enabled="false")
    assert {each["metadata"]["name"] for each in objects} == {
        "sandbox-router", "sandbox-router-svc", "sandbox-router-metrics"}, kinds(objects)
    same([], render(controller__enabled="false", router__enabled="false", crds="none"))


def test_lean_kinds():
    objects = render(crds="lean")
    for name, lean in (("sandboxes.agents.x-k8s.io", True),
                       ("sandboxclaims.extensions.agents.x-k8s.io", False)):
        schema = str(named(objects, "CustomResourceDefinition", name))
        same((name, lean), (name, "'x-kubernetes-preserve-unknown-fields': True" in schema))


def test_one_namespace():
    objects = render(controller__namespace="teams", crds="none")
    assert "--namespace=teams" in container(objects, "agent-sandbox-controller")["args"]
    for name in ("agent-sandbox-controller", "agent-sandbox-controller-extensions"):
        same("teams", named(objects, "RoleBinding", name)["metadata"]["namespace"])
        assert ("ClusterRoleBinding", name) not in kinds(objects)


def test_another_namespace():
    text = "".join(MAKE.documents({}, "boxes"))
    assert "agent-sandbox-system" not in text
    assert "--webhook-namespace=boxes" in text and "      namespace: boxes\n" in text


def test_router_with_tls_and_tokens():
    objects = render(crds="none", router__tls__secret="cert", router__authz__mode="scoped-token",
                     router__authz__scopedTokenSecret="signing", router__tls__clientCaConfigMap="ca",
                     router__tls__clientCertificates="required")
    router = container(objects, "sandbox-router")
    same(["router", "--authz-mode=scoped-token",
          "--authz-scoped-token-secret-file=/etc/sandbox-router/scoped-token/key",
          "--https-bind-address=:8443", "--tls-cert-file=/etc/sandbox-router/tls/tls.crt",
          "--tls-key-file=/etc/sandbox-router/tls/tls.key", "--mtls-mode=required",
          "--tls-client-ca-file=/etc/sandbox-router/client-ca/ca.crt"], router["args"])
    pod = named(objects, "Deployment", "sandbox-router")["spec"]["template"]["spec"]
    same({each["name"] for each in router["volumeMounts"]},
         {each["name"] for each in pod["volumes"]})
    same([8080, 8443], [port["port"] for port in named(objects, "Service", "sandbox-router-svc")
                        ["spec"]["ports"]])
    assert ("ClusterRole", "sandbox-router-tokenreview") not in kinds(objects)
    objects = render(crds="none", router__authz__mode="tokenreview")
    assert ("ClusterRoleBinding", "sandbox-router-tokenreview") in kinds(objects)


def test_the_image_has_all_that_its_build_reads():
    build = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source"
        for line in re.findall(r"^COPY (.*)$", build, re.MULTILINE):
            *names, to = line.split()
            for name in names:
                into = source / (f"{to}{name}" if to.endswith("/") else to)
                into.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, into)
                else:
                    shutil.copy(ROOT / name, into)
        done = subprocess.run(["meson", "setup", "-Droles=controller,router", "build"], cwd=source,
                              text=True, capture_output=True, check=False)
        same((0, ""), (done.returncode, done.stdout[-500:] if done.returncode else ""))


def test_the_image_fits():
    text = (ROOT / "deploy/Containerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["/usr/bin/cay"]' in text and "USER 65532:65532" in text
    bundle = re.search(r"^ENV SSL_CERT_FILE=(\S+)$", text, re.MULTILINE)[1]
    assert f"COPY --from=build {bundle} {bundle}\n" in text, text
    chart = yaml.safe_load((MAKE.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text(encoding="utf-8"))
    same((version[1], version[1]), (chart["version"], chart["appVersion"]))
    for each in render(crds="none"):
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            same(65532, pod["securityContext"]["runAsUser"])
            same(f"cay:{version[1]}", pod["containers"][0]["image"])
            assert pod["containers"][0]["args"][0] in ("controller", "router"), pod


def test_traces():
    objects = render(crds="none",
                     controller__extraArgs="{--enable-tracing}",
                     **{"controller__env[0]__name": "OTEL_EXPORTER_OTLP_ENDPOINT",
                        "controller__env[0]__value": "http://collector:4318"})
    controller = container(objects, "agent-sandbox-controller")
    assert "--enable-tracing" in controller["args"], controller
    same([{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
         controller["env"])
    assert "volumeMounts" not in controller, controller
    assert "env" not in container(objects, "sandbox-router")


def test_authorities_of_ones_own():
    values = {"controller__volumes[0]__name": "ca", "controller__volumes[0]__configMap__name": "ca",
              "controller__volumeMounts[0]__name": "ca",
              "controller__volumeMounts[0]__mountPath": "/etc/cay-ca",
              "controller__env[0]__name": "SSL_CERT_FILE",
              "controller__env[0]__value": "/etc/cay-ca/ca.crt"}
    objects = render(crds="none", **values)
    pod = named(objects, "Deployment", "agent-sandbox-controller")["spec"]["template"]["spec"]
    same([{"name": "ca", "configMap": {"name": "ca"}}], pod["volumes"])
    same([{"name": "ca", "mountPath": "/etc/cay-ca"}], pod["containers"][0]["volumeMounts"])


def test_an_image_by_digest():
    digest = "sha256:" + "a" * 64
    objects = render(crds="none", image__repository="registry/cay", image__digest=digest)
    for name in ("agent-sandbox-controller", "sandbox-router"):
        same(f"registry/cay@{digest}", container(objects, name)["image"])


def test_values_that_mean_nothing_are_refused():
    for name, value in (("crds", "some"), ("controler.replicas", "2"), ("image.digest", "latest"),
                        ("router.authz.mode", "open"), ("router.replicas", "-1"),
                        ("router.tls.clientCertificates", "required"),
                        ("router.authz.mode", "scoped-token")):
        try:
            MAKE.documents({name: value})
        except AssertionError as error:
            told = str(error).rpartition("Error:")[2]
            assert any(part in told for part in name.split(".")), (name, told)
        else:
            raise AssertionError(f"{name}={value} was taken")


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def selects(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


def test_what_selects_finds_what_is_meant():
    """Budgets and policies the Pods, Services the Pods and their ports, monitors the Services."""
    objects = render(crds="none", serviceMonitor__enabled="true", router__tls__secret="cert")
    pods = [each["spec"]["template"] for each in of_kind(objects, "Deployment")]
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        found = [sum(selects(each["spec"][field], pod["metadata"]["labels"])
                     for each in of_kind(objects, kind)) for pod in pods]
        same((kind, [1, 1]), (kind, found))
    for service in of_kind(objects, "Service"):
        pod, = [pod for pod in pods
                if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, service
    monitors = of_kind(objects, "ServiceMonitor")
    same(2, len(monitors))
    for monitor in monitors:
        endpoint, = monitor["spec"]["endpoints"]
        same("/metrics", endpoint["path"])
        found = [service["metadata"]["name"] for service in of_kind(objects, "Service")
                 if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
                 and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}]
        same((monitor["metadata"]["name"], 1), (monitor["metadata"]["name"], len(found)))


def test_policies_let_in_what_the_pods_serve():
    objects = render(crds="none", router__tls__secret="cert")
    for each in of_kind(objects, "Deployment"):
        pod = each["spec"]["template"]
        policy, = [policy for policy in of_kind(objects, "NetworkPolicy")
                   if selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])]
        open_ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        same({port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}, open_ports)


def test_no_workload_has_privilege():
    for each in render(crds="none"):
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"], pod
            for inner in pod["containers"]:
                same({"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                      "capabilities": {"drop": ["ALL"]}}, inner["securityContext"])
                assert inner["resources"]["requests"] and inner["livenessProbe"], inner
                assert inner["readinessProbe"], inner


if __name__ == "__main__":
    tap.main(globals())
