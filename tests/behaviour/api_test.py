#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a Kubernetes API behaves, whoever serves it: the local one and a real kube-apiserver.

usage: KUBECONFIG=… api_test.py        (an administrator's kubeconfig with a token)

Everything happens in a namespace of its own, which is deleted at the end.
"""

import gzip
import json
import os
import pathlib
import sys
import threading
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import objects, tap  # noqa: E402
from lib.instance import Api, wait_for  # noqa: E402

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Scene:
    """A client, a namespace, and names that nobody else uses."""

    def __init__(self, api):
        self.api = api
        self.namespace = f"behaviour-{uuid.uuid4().hex[:8]}"
        api.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def path(self, resource, name=None):
        return objects.path(resource, self.namespace, name)

    def config_map(self, name, data=None, **metadata):
        return self.api.create(self.path("configmaps"), {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata},
            "data": data or {"k": "v"}})

    def claim(self, name):
        return self.api.create(self.path("sandboxclaims"), objects.claim(name, "no-such-pool"))


def same(expected, actual):
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def status(answer, code, reason=None):
    """Asserts that an answer is a Status with this code and reason, and returns it."""
    same(code, answer[0])
    document = answer[1]
    same("Status", document["kind"])
    same("v1", document["apiVersion"])
    same(code, document["code"])
    same("Failure", document["status"])
    assert document["message"], document
    if reason:
        same(reason, document["reason"])
    return document


def test_create_fills_in_metadata(scene):
    created = scene.config_map("meta")
    metadata = created["metadata"]
    assert uuid.UUID(metadata["uid"]) and int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    same(scene.namespace, metadata["namespace"])
    same("Update", metadata["managedFields"][0]["operation"])
    same("v1", metadata["managedFields"][0]["apiVersion"])
    code, read = scene.api.get(scene.path("configmaps", "meta"))
    same((200, created), (code, read))


def test_create_twice_is_already_exists(scene):
    scene.config_map("twice")
    document = status(scene.api.request("POST", scene.path("configmaps"), {
        "metadata": {"name": "twice"}}), 409, "AlreadyExists")
    same('configmaps "twice" already exists', document["message"])
    same({"name": "twice", "kind": "configmaps"}, document["details"])


def test_absent_is_not_found(scene):
    document = status(scene.api.get(scene.path("configmaps", "absent")), 404, "NotFound")
    same('configmaps "absent" not found', document["message"])
    document = status(scene.api.get(scene.path("sandboxclaims", "absent")), 404, "NotFound")
    same('sandboxclaims.extensions.agents.x-k8s.io "absent" not found', document["message"])


def test_unknown_groups_and_resources_are_404(scene):
    for path in ("/apis/nothing.example/v1/things", "/apis/apps/v7/deployments",
                 "/api/v1/namespaces/default/nothings"):
        same(404, scene.api.get(path)[0])


def test_generate_name(scene):
    names = {scene.api.create(scene.path("configmaps"), {"metadata": {"generateName": "gen-"}})
             ["metadata"]["name"] for _ in range(3)}
    same(3, len(names))
    assert all(len(name) == 9 and name.startswith("gen-") for name in names), names


def test_bad_names_are_invalid(scene):
    for name in ("UPPER", "under_score", "-dash", "a" * 254, "dots..dots"):
        document = status(scene.api.request("POST", scene.path("configmaps"),
                                            {"metadata": {"name": name}}), 422, "Invalid")
        same("metadata.name", document["details"]["causes"][0]["field"])


def test_a_name_is_required(scene):
    status(scene.api.request("POST", scene.path("configmaps"), {"metadata": {}}), 422, "Invalid")


def test_the_namespace_must_exist(scene):
    status(scene.api.request("POST", "/api/v1/namespaces/nowhere/configmaps",
                             {"metadata": {"name": "x"}}), 404, "NotFound")


def test_the_namespace_must_agree(scene):
    status(scene.api.request("POST", scene.path("configmaps"),
                             {"metadata": {"name": "x", "namespace": "other"}}), 400, "BadRequest")


def test_malformed_json_is_a_bad_request(scene):
    scene.api.connection = None
    connection = scene.api.connect()
    connection.request("POST", scene.path("configmaps"), b'{"metadata":',
                       scene.api.headers("application/json"))
    answer = connection.getresponse()
    same(400, answer.status)
    same("BadRequest", json.loads(answer.read())["reason"])
    connection.close()


def test_an_unknown_media_type_is_415(scene):
    status(scene.api.request("POST", scene.path("configmaps"), {}, "text/csv"), 415,
           "UnsupportedMediaType")
    scene.config_map("media")
    status(scene.api.request("PATCH", scene.path("configmaps", "media"), {}, "text/csv"), 415,
           "UnsupportedMediaType")


def test_update_with_a_stale_version_is_a_conflict(scene):
    created = scene.config_map("stale")
    created["data"] = {"k": "2"}
    code, updated = scene.api.request("PUT", scene.path("configmaps", "stale"), created)
    same(200, code)
    created["data"] = {"k": "3"}
    status(scene.api.request("PUT", scene.path("configmaps", "stale"), created), 409, "Conflict")
    same({"k": "2"}, scene.api.get(scene.path("configmaps", "stale"))[1]["data"])
    assert int(updated["metadata"]["resourceVersion"]) > \
        int(created["metadata"]["resourceVersion"])


def test_update_without_a_version(scene):
    created = scene.config_map("unversioned")
    del created["metadata"]["resourceVersion"]
    created["data"] = {"k": "2"}
    same(200, scene.api.request("PUT", scene.path("configmaps", "unversioned"), created)[0])
    claim = scene.claim("unversioned")
    del claim["metadata"]["resourceVersion"]
    document = status(scene.api.request("PUT", scene.path("sandboxclaims", "unversioned"), claim),
                      422, "Invalid")
    same("metadata.resourceVersion", document["details"]["causes"][0]["field"])


def test_a_write_without_change_keeps_the_version(scene):
    created = scene.config_map("same")
    code, again = scene.api.request("PUT", scene.path("configmaps", "same"), created)
    same((200, created["metadata"]["resourceVersion"]),
         (code, again["metadata"]["resourceVersion"]))
    code, again = scene.api.request("PATCH", scene.path("configmaps", "same"),
                                    {"data": {"k": "v"}}, MERGE)
    same((200, created["metadata"]["resourceVersion"]),
         (code, again["metadata"]["resourceVersion"]))


def test_merge_patch(scene):
    scene.config_map("merge", {"a": "1", "b": "2"})
    code, patched = scene.api.request("PATCH", scene.path("configmaps", "merge"),
                                      {"data": {"a": None, "c": "3"}}, MERGE)
    same((200, {"b": "2", "c": "3"}), (code, patched["data"]))


def test_merge_patch_with_an_expected_version(scene):
    created = scene.config_map("expect")
    scene.api.request("PATCH", scene.path("configmaps", "expect"), {"data": {"x": "y"}}, MERGE)
    status(scene.api.request(
        "PATCH", scene.path("configmaps", "expect"),
        {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]},
         "data": {"z": "z"}}, MERGE), 409, "Conflict")


def test_json_patch(scene):
    scene.config_map("jsonpatch", {"a": "1"})
    path = scene.path("configmaps", "jsonpatch")
    code, patched = scene.api.request("PATCH", path, [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
        {"op": "remove", "path": "/data/a"}], JSON_PATCH)
    same((200, {"b": "2"}), (code, patched["data"]))
    same(422, scene.api.request("PATCH", path, [
        {"op": "test", "path": "/data/b", "value": "9"}], JSON_PATCH)[0])


def test_strategic_patch_merges_lists_by_key(scene):
    pod = {"metadata": {"name": "strategic"}, "spec": {"containers": [
        {"name": "a", "image": "busybox:latest"}, {"name": "b", "image": "busybox:latest"}]}}
    scene.api.create(scene.path("pods"), pod)
    code, patched = scene.api.request(
        "PATCH", scene.path("pods", "strategic"),
        {"spec": {"containers": [{"name": "b", "image": "busybox:2"}]}}, STRATEGIC)
    same(200, code)
    same([("a", "busybox:latest"), ("b", "busybox:2")],
         [(c["name"], c["image"]) for c in patched["spec"]["containers"]])
    scene.claim("strategic")
    status(scene.api.request("PATCH", scene.path("sandboxclaims", "strategic"), {}, STRATEGIC), 415,
           "UnsupportedMediaType")
    scene.api.request("DELETE", scene.path("pods", "strategic"), {"gracePeriodSeconds": 0})


def test_the_uid_cannot_change(scene):
    scene.config_map("uid")
    answer = scene.api.request("PATCH", scene.path("configmaps", "uid"),
                               {"metadata": {"uid": str(uuid.uuid4())}}, MERGE)
    assert answer[0] in (409, 422), answer


def test_generation_follows_the_spec_alone(scene):
    claim = scene.claim("generation")
    same(1, claim["metadata"]["generation"])
    path = scene.path("sandboxclaims", "generation")
    _, patched = scene.api.request("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, MERGE)
    same(1, patched["metadata"]["generation"])
    _, patched = scene.api.request("PATCH", path, {"spec": {"warmPoolRef": {"name": "p2"}}}, MERGE)
    same(2, patched["metadata"]["generation"])


def test_status_and_spec_are_apart(scene):
    document = objects.claim("apart", "no-such-pool")
    document["status"] = {"sandbox": {"name": "forged"}}
    created = scene.api.create(scene.path("sandboxclaims"), document)
    assert "sandbox" not in created.get("status", {}), created
    path = scene.path("sandboxclaims", "apart")
    _, patched = scene.api.request("PATCH", path + "/status", {
        "metadata": {"labels": {"from": "status"}}, "spec": {"warmPoolRef": {"name": "other"}},
        "status": {"sandbox": {"name": "told"}}}, MERGE)
    same("told", patched["status"]["sandbox"]["name"])
    same("no-such-pool", patched["spec"]["warmPoolRef"]["name"])
    assert "labels" not in patched["metadata"], patched["metadata"]
    _, patched = scene.api.request("PATCH", path, {"status": {"sandbox": {"name": "no"}}}, MERGE)
    same("told", patched["status"]["sandbox"]["name"])


def test_defaults_are_filled_in(scene):
    created = scene.api.create(scene.path("sandboxes"), objects.sandbox("defaults"))
    same("Running", created["spec"]["operatingMode"])
    same("Retain", created["spec"]["shutdownPolicy"])
    scene.api.request("DELETE", scene.path("sandboxes", "defaults"))


def test_quantities_are_written_in_one_way(scene):
    container = {"name": "c", "image": "busybox:latest", "resources": {
        "limits": {"cpu": 1, "memory": "1024Ki"}, "requests": {"cpu": 0.5}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    path = f"/apis/apps/v1/namespaces/{scene.namespace}/deployments?dryRun=All"
    created = scene.api.create(path, {"metadata": {"name": "q"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}})
    same({"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "500m"}},
         created["spec"]["template"]["spec"]["containers"][0]["resources"])


def test_ports_of_services(scene):
    for ports, field in (([{"port": 1}, {"name": "b", "port": 2}], "spec.ports[0].name"),
                         ([{"name": "a", "port": 1}, {"name": "a", "port": 2}],
                          "spec.ports[1].name"),
                         ([{"port": 0}], "spec.ports[0].port"),
                         ([{"port": 65536}], "spec.ports[0].port")):
        answer = status(scene.api.request("POST", scene.path("services"), {
            "metadata": {"name": "ports"}, "spec": {"ports": ports}}), 422, "Invalid")
        assert field in {cause["field"] for cause in answer["details"]["causes"]}, answer


def test_required_fields_and_enums(scene):
    document = objects.claim("invalid", "x")
    document["spec"] = {}
    answer = status(scene.api.request("POST", scene.path("sandboxclaims"), document), 422,
                    "Invalid")
    same(("FieldValueRequired", "spec.warmPoolRef"),
         (answer["details"]["causes"][0]["reason"], answer["details"]["causes"][0]["field"]))
    document["spec"] = {"warmPoolRef": {"name": "x"}, "lifecycle": {"shutdownPolicy": "Never"}}
    answer = status(scene.api.request("POST", scene.path("sandboxclaims"), document), 422,
                    "Invalid")
    same("FieldValueNotSupported", answer["details"]["causes"][0]["reason"])
    document["spec"] = {"warmPoolRef": {"name": 7}}
    answer = status(scene.api.request("POST", scene.path("sandboxclaims"), document), 422,
                    "Invalid")
    same("FieldValueTypeInvalid", answer["details"]["causes"][0]["reason"])


def test_unknown_fields(scene):
    document = objects.claim("unknown", "no-such-pool")
    document["spec"]["surprise"] = True
    path = scene.path("sandboxclaims")
    answer = status(scene.api.request("POST", path + "?fieldValidation=Strict", document), 400,
                    "BadRequest")
    assert 'unknown field "spec.surprise"' in answer["message"], answer
    created = scene.api.create(path, document)
    assert "surprise" not in created["spec"], created


def test_dry_run_writes_nothing(scene):
    created = scene.api.create(scene.path("configmaps") + "?dryRun=All",
                               {"metadata": {"name": "dry"}})
    assert created["metadata"]["uid"], created
    same(404, scene.api.get(scene.path("configmaps", "dry"))[0])


def test_list_and_selectors(scene):
    for number in range(4):
        scene.config_map(f"list-{number}", labels={"group": "list", "odd": str(number % 2)})
    def names(query):
        code, found = scene.api.get(scene.path("configmaps") + query)
        same(200, code)
        same("ConfigMapList", found["kind"])
        assert int(found["metadata"]["resourceVersion"]) > 0
        return [item["metadata"]["name"] for item in found["items"]]
    same(["list-0", "list-1", "list-2", "list-3"], names("?labelSelector=group%3Dlist"))
    same(["list-1", "list-3"], names("?labelSelector=group%3Dlist,odd!%3D0"))
    same(["list-0", "list-2"], names("?labelSelector=group,odd%20notin%20(1,2)"))
    same(["list-2"], names("?fieldSelector=metadata.name%3Dlist-2"))
    same([], names("?labelSelector=group%3Dnone"))
    same(400, scene.api.get(scene.path("configmaps") + "?fieldSelector=data.k%3Dv")[0])
    same(400, scene.api.get(scene.path("configmaps") + "?labelSelector=((")[0])


def test_list_in_chunks(scene):
    for number in range(5):
        scene.config_map(f"chunk-{number}", labels={"group": "chunk"})
    path = scene.path("configmaps") + "?labelSelector=group%3Dchunk&limit=2"
    _, page = scene.api.get(path)
    found, versions = [], {page["metadata"]["resourceVersion"]}
    while True:
        found += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            break
        scene.config_map(f"chunk-late-{len(found)}", labels={"group": "chunk"})
        code, page = scene.api.get(f"{path}&continue={token}")
        same(200, code)
        versions.add(page["metadata"]["resourceVersion"])
    same([f"chunk-{number}" for number in range(5)], found)
    same(1, len(versions))


def collect(scene, path, until, events):
    for kind, document in scene.api.watch(path):
        events.append((kind, document))
        if until(kind, document):
            return


def test_watch_from_a_version(scene):
    first = scene.config_map("watched", {"n": "0"})
    path = scene.path("configmaps", "watched")
    scene.api.request("PATCH", path, {"data": {"n": "1"}}, MERGE)
    scene.api.request("DELETE", path)
    events = []
    collect(scene, scene.path("configmaps") + "?watch=true&fieldSelector=metadata.name%3Dwatched"
            f"&resourceVersion={first['metadata']['resourceVersion']}",
            lambda kind, _: kind == "DELETED", events)
    same(["MODIFIED", "DELETED"], [kind for kind, _ in events])
    versions = [int(document["metadata"]["resourceVersion"]) for _, document in events]
    assert int(first["metadata"]["resourceVersion"]) < versions[0] < versions[1], versions


def test_watch_without_a_version_begins_with_what_is_there(scene):
    scene.config_map("there", labels={"group": "there"})
    events = []
    collect(scene, scene.path("configmaps") + "?watch=1&labelSelector=group%3Dthere",
            lambda *_: True, events)
    same(("ADDED", "there"), (events[0][0], events[0][1]["metadata"]["name"]))


def test_watch_by_selector_tells_transitions(scene):
    scene.config_map("moves", labels={"group": "moves"})
    _, found = scene.api.get(scene.path("configmaps"))
    path = scene.path("configmaps", "moves")
    scene.api.request("PATCH", path, {"metadata": {"labels": {"group": "away"}}}, MERGE)
    scene.api.request("PATCH", path, {"metadata": {"labels": {"group": "moves"}}}, MERGE)
    events = []
    collect(scene, scene.path("configmaps") + "?watch=true&labelSelector=group%3Dmoves"
            f"&resourceVersion={found['metadata']['resourceVersion']}",
            lambda kind, _: kind == "ADDED", events)
    same(["DELETED", "ADDED"], [kind for kind, _ in events])
    same("moves", events[0][1]["metadata"]["labels"]["group"])


def test_watch_list_ends_its_first_part_with_a_bookmark(scene):
    scene.config_map("initial", labels={"group": "initial"})
    events = []
    collect(scene, scene.path("configmaps") + "?watch=true&labelSelector=group%3Dinitial"
            "&sendInitialEvents=true&allowWatchBookmarks=true"
            "&resourceVersionMatch=NotOlderThan&resourceVersion=",
            lambda kind, _: kind == "BOOKMARK", events)
    same(["ADDED", "BOOKMARK"], [kind for kind, _ in events])
    bookmark = events[1][1]
    same("ConfigMap", bookmark["kind"])
    same("true", bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"])


def test_watch_ends_at_its_timeout(scene):
    _, found = scene.api.get(scene.path("configmaps"))
    same([], list(scene.api.watch(
        scene.path("configmaps") + "?watch=true&timeoutSeconds=1&resourceVersion=" +
        found["metadata"]["resourceVersion"])))


def test_a_watch_that_is_open_sees_a_write(scene):
    _, found = scene.api.get(scene.path("configmaps"))
    events, ready = [], threading.Event()
    def watch():
        ready.set()
        collect(scene, scene.path("configmaps") + "?watch=true&fieldSelector=metadata.name%3Dlive"
                f"&resourceVersion={found['metadata']['resourceVersion']}",
                lambda *_: True, events)
    thread = threading.Thread(target=watch)
    thread.start()
    ready.wait()
    created = scene.config_map("live")
    thread.join(30)
    same([("ADDED", created)], events)


def test_delete(scene):
    created = scene.config_map("gone")
    path = scene.path("configmaps", "gone")
    status(scene.api.request("DELETE", path, {
        "preconditions": {"uid": str(uuid.uuid4())}}), 409, "Conflict")
    code, answer = scene.api.request("DELETE", path, {
        "preconditions": {"uid": created["metadata"]["uid"]}})
    same((200, "Status", "Success"), (code, answer["kind"], answer["status"]))
    same(404, scene.api.request("DELETE", path)[0])


def test_finalizers_hold_a_deletion(scene):
    scene.config_map("held", finalizers=["example.com/hold"])
    path = scene.path("configmaps", "held")
    same(200, scene.api.request("DELETE", path)[0])
    _, found = scene.api.get(path)
    assert found["metadata"]["deletionTimestamp"], found
    status(scene.api.request("PATCH", path, {"metadata": {
        "finalizers": ["example.com/hold", "example.com/late"]}}, MERGE), 422, "Invalid")
    same(200, scene.api.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)[0])
    same(404, scene.api.get(path)[0])


def test_deletion_raises_the_generation(scene):
    document = objects.claim("generations", "no-such-pool")
    document["metadata"]["finalizers"] = ["example.com/hold"]
    scene.api.create(scene.path("sandboxclaims"), document)
    path = scene.path("sandboxclaims", "generations")
    scene.api.request("DELETE", path)
    _, found = scene.api.get(path)
    same(2, found["metadata"]["generation"])
    scene.api.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)


def test_delete_collection(scene):
    for number in range(3):
        scene.config_map(f"many-{number}", labels={"group": "many"})
    scene.config_map("survivor", labels={"group": "other"})
    same(200, scene.api.request(
        "DELETE", scene.path("configmaps") + "?labelSelector=group%3Dmany")[0])
    _, found = scene.api.get(scene.path("configmaps") + "?labelSelector=group")
    names = [item["metadata"]["name"] for item in found["items"]]
    assert "survivor" in names and not [name for name in names if name.startswith("many")], names


def test_scale_is_a_subresource(scene):
    pool = objects.warm_pool("scaled", "no-such-template", 0)
    scene.api.create(scene.path("sandboxwarmpools"), pool)
    path = scene.path("sandboxwarmpools", "scaled")
    code, scale = scene.api.get(path + "/scale")
    same((200, "Scale", 0), (code, scale["kind"], scale["spec"].get("replicas", 0)))
    code, scale = scene.api.request("PATCH", path + "/scale", {"spec": {"replicas": 3}}, MERGE)
    same((200, 3), (code, scale["spec"]["replicas"]))
    same(3, scene.api.get(path)[1]["spec"]["replicas"])
    scene.api.request("DELETE", path)


def test_discovery_names_the_kinds(scene):
    _, groups = scene.api.get("/apis")
    versions = {group["name"]: [v["version"] for v in group["versions"]]
                for group in groups["groups"]}
    assert "v1" in versions["apps"] and "v1beta1" in versions["agents.x-k8s.io"], versions
    _, core = scene.api.get("/api/v1")
    pods = next(r for r in core["resources"] if r["name"] == "pods")
    same(("Pod", True, ["po"]), (pods["kind"], pods["namespaced"], pods["shortNames"]))
    _, ours = scene.api.get("/apis/extensions.agents.x-k8s.io/v1beta1")
    names = {resource["name"] for resource in ours["resources"]}
    assert {"sandboxclaims", "sandboxclaims/status", "sandboxwarmpools/scale"} <= names, names


def test_large_answers_are_compressed_for_those_who_take_it(scene):
    for number in range(4):
        scene.config_map(f"large-{number}", {"text": f"0123456789abcde{number}" * 4096},
                         labels={"group": "large"})
    path = scene.path("configmaps") + "?labelSelector=group%3Dlarge"
    plain, text = scene.api.raw("GET", path)
    same(None, plain.headers["Content-Encoding"])
    for accepted in ("gzip", "deflate, gzip, br"):
        answer, body = scene.api.raw("GET", path, {"Accept-Encoding": accepted})
        same("gzip", answer.headers["Content-Encoding"])
        assert "Accept-Encoding" in answer.headers.get_all("Vary"), answer.headers
        assert len(body) < len(text) / 4, (len(body), len(text))
        same(json.loads(text)["items"], json.loads(gzip.decompress(body))["items"])
    for small in (path + "&limit=1", scene.path("configmaps", "large-0"), "/version"):
        answer, _ = scene.api.raw("GET", small, {"Accept-Encoding": "gzip"})
        same((200, None), (answer.status, answer.headers["Content-Encoding"]))
    answer, _ = scene.api.raw("GET", path + "&watch=1&timeoutSeconds=1",
                              {"Accept-Encoding": "gzip"})
    same(None, answer.headers["Content-Encoding"])


PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def test_openapi_comes_in_the_form_that_is_asked_for(scene):
    for accept, media_type in (("application/json", "application/json"), (PROTOBUF_V2,) * 2,
                               ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                                PROTOBUF_V2),
                               ("text/csv, " + PROTOBUF_V2, PROTOBUF_V2),
                               ("*/*", "application/json")):
        answer, body = scene.api.raw("GET", "/openapi/v2", {"Accept": accept})
        same((200, media_type), (answer.status, answer.headers["Content-Type"]))
        assert "Accept" in answer.headers.get_all("Vary"), answer.headers
        assert (body[:1] == b"{") == (media_type == "application/json"), body[:20]
        again, body = scene.api.raw("GET", "/openapi/v2", {
            "Accept": accept, "If-None-Match": answer.headers["ETag"]})
        same((304, b""), (again.status, body))
    same(406, scene.api.raw("GET", "/openapi/v2", {"Accept": "text/csv"})[0].status)


def test_openapi_describes_the_kinds(scene):
    _, document = scene.api.get("/openapi/v2")
    same("2.0", document["swagger"])
    claim = document["definitions"]["io.x-k8s.agents.extensions.v1beta1.SandboxClaim"]
    same([{"group": "extensions.agents.x-k8s.io", "version": "v1beta1", "kind": "SandboxClaim"}],
         claim["x-kubernetes-group-version-kind"])
    same(["warmPoolRef"], claim["properties"]["spec"]["required"])
    same("#/definitions/io.k8s.api.core.v1.PodSpec",
         document["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["$ref"])
    patch = document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]
    assert STRATEGIC in patch["consumes"], patch
    assert "fieldValidation" in {parameter.get("name") for parameter in patch["parameters"]} | {
        parameter.get("$ref", "").split("/")[-1].rsplit("-", 1)[0]
        for parameter in patch["parameters"]}, patch


def test_objects_go_before_their_definition(scene):
    kind = f"B{uuid.uuid4().hex[:8]}"
    plural, group = kind.lower() + "s", "behaviour.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    definition = f"{definitions}/{plural}.{group}"
    scene.api.create(definitions, {
        "metadata": {"name": f"{plural}.{group}"}, "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object"}}}]}})
    path = f"/apis/{group}/v1/namespaces/{scene.namespace}/{plural}"
    def thing(name, **metadata):
        return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name, **metadata}}
    wait_for(lambda: scene.api.request("POST", path, thing("free"))[0] in (201, 409), 30, "a start")
    scene.api.create(path, thing("held", finalizers=["example.com/hold"]))
    code, deleted = scene.api.request("DELETE", definition)
    same((200, "CustomResourceDefinition"), (code, deleted["kind"]))
    same(["customresourcecleanup.apiextensions.k8s.io"], deleted["metadata"]["finalizers"])
    conditions = {condition["type"]: condition["status"]
                  for condition in deleted["status"]["conditions"]}
    same("True", conditions["Terminating"])
    wait_for(lambda: scene.api.get(path + "/free")[0] == 404, 30, "the free one to go")
    assert scene.api.get(path + "/held")[1]["metadata"]["deletionTimestamp"]
    answer = status(scene.api.request("POST", path, thing("late")), 403, "Forbidden")
    same(f'{plural}.{group} "late" is forbidden: create not allowed while custom resource '
         'definition is terminating', answer["message"])
    same(200, scene.api.get(definition)[0])
    same(200, scene.api.request("PATCH", path + "/held", {"metadata": {"finalizers": None}},
                                MERGE)[0])
    wait_for(lambda: scene.api.get(definition)[0] == 404, 60, "the definition to go")
    wait_for(lambda: scene.api.get(path)[0] == 404, 30, "its path to go")


def test_a_namespace_takes_objects_of_every_kind_along(scene):
    """What comes back under its name must find nothing: no role of before, no other thing."""
    kind, name = f"C{uuid.uuid4().hex[:8]}", f"going-{uuid.uuid4().hex[:8]}"
    plural, group = kind.lower() + "s", "behaviour.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    scene.api.create(definitions, {
        "metadata": {"name": f"{plural}.{group}"}, "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object"}}}]}})
    scene.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    template = {"metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "absent"}]}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    kinds = (
        (group, "v1", plural, {"apiVersion": f"{group}/v1", "kind": kind}),
        ("", "v1", "configmaps", {}), ("", "v1", "endpoints", {}),
        ("", "v1", "limitranges", {"spec": {"limits": []}}), ("", "v1", "resourcequotas", {}),
        ("coordination.k8s.io", "v1", "leases", {}), ("policy", "v1", "poddisruptionbudgets", {}),
        ("rbac.authorization.k8s.io", "v1", "roles", {}),
        ("rbac.authorization.k8s.io", "v1", "rolebindings", {"roleRef": role}),
        ("apps", "v1", "statefulsets", {"spec": {
            "serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}}))
    paths = [f"/{'apis/' + group if group else 'api'}/{version}/namespaces/{name}/{plural}"
             for group, version, plural, _ in kinds]
    for path, (_, _, _, more) in zip(paths, kinds):
        for number in range(40):  # more than go at once
            body = {"metadata": {"name": f"x{number}"}, **more}
            wait_for(lambda: scene.api.request("POST", path, body)[0] in (201, 409), 30, path)
    scene.api.request("PATCH", paths[0] + "/x0",
                      {"metadata": {"finalizers": ["example.com/hold"]}}, MERGE)
    same(200, scene.api.request("DELETE", f"/api/v1/namespaces/{name}")[0])
    wait_for(lambda: "deletionTimestamp" in scene.api.get(paths[0] + "/x0")[1]["metadata"], 60,
             "the held one to be told")
    wait_for(lambda: not scene.api.get(paths[-1])[1]["items"], 60, "the others to go")
    same(200, scene.api.get(f"/api/v1/namespaces/{name}")[0])
    same(200, scene.api.request("PATCH", paths[0] + "/x0", {"metadata": {"finalizers": None}},
                                MERGE)[0])
    wait_for(lambda: scene.api.get(f"/api/v1/namespaces/{name}")[0] == 404, 60,
             "the namespace to go")
    for path in paths:
        same([], scene.api.get(path)[1]["items"])
    scene.api.request("DELETE", f"{definitions}/{plural}.{group}")


def test_some_namespaces_stay(scene):
    for name in ("default", "kube-system", "kube-public"):
        answer = status(scene.api.request("DELETE", f"/api/v1/namespaces/{name}"), 403, "Forbidden")
        same(f'namespaces "{name}" is forbidden: this namespace may not be deleted',
             answer["message"])
        same("Active", scene.api.get(f"/api/v1/namespaces/{name}")[1]["status"]["phase"])


def refused(scene, code, reason, method, path, body, **headers):
    """Sends bytes and asserts how they are refused; returns the Status."""
    answer, text = scene.api.raw(method, path, {
        name.replace("_", "-"): value for name, value in headers.items()}, body)
    return status((answer.status, json.loads(text)), code, reason)


def test_bodies_that_are_no_object(scene):
    path = scene.path("configmaps")
    for body in (b"", b"{", b"nonsense", b"[]", b"5", b'"text"', b'{"metadata":{}} trailing',
                 b'{"metadata":5}', b'{"metadata":{"name":7}}', b'{"data":{"k":{}}}',
                 b'{"metadata":{"labels":{"k":1}}}', b'{"metadata":{"name":"x"},}',
                 b"\xff\xfe{\x00}\x00", b'{"kind":"Secret","apiVersion":"v1"}',
                 b'{"kind":"ConfigMap","apiVersion":"v2"}'):
        refused(scene, 400, "BadRequest", "POST", path, body)
    for body in (b"a: b: c", b"\tx: 1", b"- a\n- b", b"&a [*a]"):
        refused(scene, 400, "BadRequest", "POST", path, body, Content_Type="application/yaml")
    for body in (b"", b"k8s", b"k8s\x00\xff\xff\xff\xff", b"k8s\x00\x0a\x7f", b'{"metadata":{}}'):
        refused(scene, 400, "BadRequest", "POST", path, body,
                Content_Type="application/vnd.kubernetes.protobuf")


def test_values_of_a_wrong_type(scene):
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{scene.namespace}/rolebindings"
    apps = f"/apis/apps/v1/namespaces/{scene.namespace}/deployments"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    scene.api.create(scene.path("serviceaccounts"), {"metadata": {"name": "typed"}})
    for path, document in (
            (scene.path("services"), {"spec": 5}), (scene.path("services"), {"spec": {"ports": [5]}}),
            (scene.path("pods"), {"spec": [{}]}), (scene.path("pods"), {"spec": {"containers": 5}}),
            (scene.path("pods"), {"spec": {"containers": ["c"]}}), (rbac, {"subjects": [[[]]]}),
            (rbac, {"roleRef": 7}), (apps, {"spec": [None]}), (apps, {"spec": {"template": "x"}}),
            (definitions, {"spec": 5}), (definitions, {"spec": {"names": [], "versions": {}}}),
            (definitions, {"spec": {"versions": [5]}}), (scene.path("secrets"), {"data": [1]}),
            (scene.path("secrets"), {"stringData": {"k": {}}}),
            (scene.path("serviceaccounts", "typed") + "/token", {"spec": [1]}),
            (scene.path("persistentvolumeclaims"), {"spec": {"resources": 1}}),
            (scene.path("sandboxclaims"), {"spec": 5}), (scene.path("sandboxes"), {"spec": []})):
        kind = {"sandboxclaims": objects.claim, "sandboxes": lambda name, _: objects.sandbox(name)}
        base = {"metadata": {"name": "typed"}}
        for name, make in kind.items():
            if path.endswith(name):
                base = make("typed", "p")
        code, answer = scene.api.request("POST", path, {**base, **document})
        assert code in (400, 422), (path, document, code, answer)
        same("Status", answer["kind"])
    scene.config_map("typed")
    for patch in ({"metadata": 5}, {"metadata": {"labels": []}}, {"data": 5}, {"data": {"k": []}}):
        code, answer = scene.api.request("PATCH", scene.path("configmaps", "typed"), patch, MERGE)
        assert code in (400, 422), (patch, code, answer)


def test_bodies_that_are_too_large(scene):
    path, limit = scene.path("configmaps"), 3 * 1024 * 1024
    body = b'{"metadata":{"name":"huge"},"data":{"k":"%s"}}' % (b"x" * limit)
    document = refused(scene, 413, "RequestEntityTooLarge", "POST", path, body)
    assert document["message"], document
    scene.config_map("grows")
    refused(scene, 413, "RequestEntityTooLarge", "PATCH", scene.path("configmaps", "grows"), body,
            Content_Type=MERGE)
    # What fits into a request may still be too much for one object.
    answer = scene.api.request("POST", path, {"metadata": {"name": "huge"},
                                              "data": {"k": "x" * (2 * 1024 * 1024)}})
    assert answer[0] in (413, 422), answer
    same(404, scene.api.get(scene.path("configmaps", "huge"))[0])
    same(200, scene.api.get(scene.path("configmaps", "grows"))[0])


def test_bodies_that_are_too_deep(scene):
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        nested = opened * 20000 + b"1" + closed * 20000
        for body in (nested, b'{"metadata":{"name":"deep"},"data":' + nested + b"}"):
            refused(scene, 400, "BadRequest", "POST", scene.path("configmaps"), body)
    claim = objects.claim("deep", "no-such-pool")
    text = json.dumps(claim).replace('"spec": {', '"spec": {"x":' + "[" * 20000 + "]" * 20000 + ",")
    refused(scene, 400, "BadRequest", "POST", scene.path("sandboxclaims"), text.encode())


def test_duplicate_keys(scene):
    path = scene.path("configmaps")
    body = b'{"metadata":{"name":"twin"},"data":{"k":"1","k":"2"}}'
    document = refused(scene, 400, "BadRequest", "POST", path + "?fieldValidation=Strict", body)
    assert 'duplicate field "data.k"' in document["message"], document
    answer, text = scene.api.raw("POST", path, {}, body)
    same((201, {"k": "2"}), (answer.status, json.loads(text)["data"]))
    assert 'duplicate field \\"data.k\\"' in answer.headers["Warning"], answer.headers


def test_unknown_fields_are_told_of(scene):
    claim = objects.claim("told", "no-such-pool")
    claim["spec"]["surprise"] = {"a": 1}
    claim["other"] = True
    path = scene.path("sandboxclaims")
    answer, _ = scene.api.raw("POST", path, {}, json.dumps(claim).encode())
    same(201, answer.status)
    warnings = " ".join(answer.headers.get_all("Warning"))
    assert 'unknown field \\"spec.surprise\\"' in warnings, warnings
    assert 'unknown field \\"other\\"' in warnings, warnings
    claim["metadata"]["name"] = "silent"
    answer, _ = scene.api.raw("POST", path + "?fieldValidation=Ignore", {},
                              json.dumps(claim).encode())
    same((201, None), (answer.status, answer.headers["Warning"]))
    refused(scene, 422, "Invalid", "PATCH", path + "/silent?fieldValidation=Strict",
            b'{"spec":{"surprise":2}}', Content_Type=MERGE)


def test_odd_text_does_no_harm(scene):
    # kube-apiserver puts U+FFFD in place of what is no UTF-8; the local one refuses it.
    for body in (b'{"metadata":{"name":"odd"},"data":{"k":"\xff\xc0\xaf"}}',
                 b'{"metadata":{"name":"odd"},"data":{"k":"\xed\xa0\x80"}}'):
        answer, text = scene.api.raw("POST", scene.path("configmaps") + "?dryRun=All", {}, body)
        assert answer.status in (201, 400), (answer.status, text)
        text.decode()
    for value in ("\u0000", "\u202e", "\ud83d\ude00", "\n\t\r\b", '"\\', "\x7f"):
        created = scene.api.create(scene.path("configmaps") + "?dryRun=All",
                                   {"metadata": {"name": "odd"}, "data": {"k": value}})
        same(value.encode("utf-16", "surrogatepass").decode("utf-16"), created["data"]["k"])


def test_bad_labels_annotations_and_references(scene):
    for metadata in ({"labels": {"k": "a b"}}, {"labels": {"k": "x" * 64}}, {"labels": {"-k": ""}},
                     {"labels": {"a/b/c": ""}}, {"annotations": {"a b": ""}},
                     {"annotations": {"k": "x" * 262145}}, {"finalizers": ["no-domain/"]},
                     {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
                     {"generateName": "UPPER-"}):
        document = {"metadata": {"name": "bad", **metadata}}
        if "generateName" in metadata:
            del document["metadata"]["name"]
        status(scene.api.request("POST", scene.path("configmaps"), document), 422, "Invalid")
    status(scene.api.request("POST", scene.path("configmaps"),
                             {"metadata": {"name": "bad"}, "data": {"a/b": ""}}), 422, "Invalid")


def test_bad_queries(scene):
    path = scene.path("configmaps")
    for query in ("limit=x", "labelSelector=a%3D%3D%3Db", "labelSelector=a%20in%20b",
                  "fieldSelector=metadata.name%3E1", "continue=nonsense", "resourceVersion=x",
                  "timeoutSeconds=x&watch=1",
                  "resourceVersionMatch=Exact", "limit=1&continue=YWJj"):
        code, document = scene.api.get(f"{path}?{query}")
        assert code in (400, 422), (query, code, document)
        same("Status", document["kind"])
    for query in ("dryRun=Some", "fieldValidation=Perhaps"):
        code, _ = scene.api.request("POST", f"{path}?{query}", {"metadata": {"name": "query"}})
        assert code in (400, 422), (query, code)
    same(404, scene.api.get(scene.path("configmaps", "query"))[0])


def test_versions_that_are_not_there_yet(scene):
    version = int(scene.api.get(scene.path("configmaps"))[1]["metadata"]["resourceVersion"])
    code, document = scene.api.get(
        f"{scene.path('configmaps')}?resourceVersion={version + 10 ** 6}"
        "&resourceVersionMatch=NotOlderThan")
    status((code, document), 504, "Timeout")
    assert "Too large resource version" in document["message"], document


def test_paths_lead_nowhere_else(scene):
    scene.config_map("here")
    inside = scene.path("configmaps")
    for path in (f"{inside}/../configmaps/here", f"{inside}/%2e%2e/configmaps/here",
                 f"{inside}/..%2fconfigmaps%2fhere", f"{inside}/here%00", f"{inside}/%", f"{inside}/%zz", f"{inside}/./here", f"{inside}//here",
                 "/../../etc/passwd", "/api/v1/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
        answer, text = scene.api.raw("GET", path)
        assert answer.status in (301, 307, 400, 404), (path, answer.status, text)
        assert b"root:" not in text and b'"data"' not in text, (path, text)
    for name in ("..", ".", "a/b", "../x", "a%b"):
        status(scene.api.request("POST", inside, {"metadata": {"name": name}}), 422, "Invalid")


def test_methods_that_do_not_exist(scene):
    scene.config_map("methods")
    for method, path in (("PUT", scene.path("configmaps")), ("PATCH", scene.path("configmaps")),
                         ("POST", scene.path("configmaps", "methods")),
                         ("DELETE", "/version"), ("BREW", scene.path("configmaps"))):
        answer, _ = scene.api.raw(method, path, {}, b"{}")
        assert answer.status in (403, 404, 405, 415, 501), (method, path, answer.status)


def test_clients_that_vanish_or_dawdle(scene):
    body = b'{"metadata":{"name":"cut"},"data":{"k":"v"}}'
    head = (f"POST {scene.path('configmaps')} HTTP/1.1\r\nHost: cay\r\n"
            f"Authorization: Bearer {scene.api.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    for sent in (head[:40], head, head + body[:-1]):
        connection = scene.api.connect()
        connection.sock.sendall(sent)
        connection.close()
    same(404, scene.api.get(scene.path("configmaps", "cut"))[0])
    connection = scene.api.connect()
    for byte in head + body:
        connection.sock.sendall(bytes([byte]))
    assert connection.sock.recv(4096).startswith(b"HTTP/1.1 201"), "a slow client is served"
    connection.close()
    watching = scene.api.connect()
    watching.request("GET", scene.path("configmaps") + "?watch=1",
                     headers=scene.api.headers("application/json"))
    same(200, watching.getresponse().status)
    watching.sock.close()
    same(200, scene.api.request("DELETE", scene.path("configmaps", "cut"))[0])


def test_no_token_and_no_right(scene):
    for headers in ({"Authorization": None}, {"Authorization": "Bearer "},
                    {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer a.b.c"}):
        answer, text = scene.api.raw("GET", scene.path("secrets"), headers)
        assert answer.status in (401, 403), (headers, answer.status)
        same("Status", json.loads(text)["kind"])
    account = scene.api.create(scene.path("serviceaccounts"), {"metadata": {"name": "robot"}})
    granted = scene.api.create(scene.path("serviceaccounts", "robot") + "/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    robot = {"Authorization": "Bearer " + granted["status"]["token"]}
    user = f"system:serviceaccount:{scene.namespace}:robot"
    document = refused(scene, 403, "Forbidden", "GET", scene.path("secrets"), None, **robot)
    same(f'secrets is forbidden: User "{user}" cannot list resource "secrets" in API group "" in '
         f'the namespace "{scene.namespace}"', document["message"])
    # Whether something is there is not told either.
    for name in ("no-such", "kube-root-ca.crt"):
        refused(scene, 403, "Forbidden", "GET", scene.path("configmaps", name), None, **robot)
    refused(scene, 403, "Forbidden", "POST", scene.path("configmaps"), b"{}", **robot)
    refused(scene, 403, "Forbidden", "GET", "/api/v1/nodes", None, **robot)
    refused(scene, 403, "Forbidden", "GET", scene.path("configmaps"), None, **robot,
            Impersonate_User="system:admin")
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{scene.namespace}"
    scene.api.create(f"{roles}/roles", {"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})
    scene.api.create(f"{roles}/rolebindings", {
        "metadata": {"name": "reader"}, "subjects": [
            {"kind": "ServiceAccount", "name": account["metadata"]["name"],
             "namespace": scene.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}})
    wait_for(lambda: scene.api.raw("GET", scene.path("configmaps", "no-such"), robot)[0].status
             == 404, 10, "the right to take effect")
    refused(scene, 403, "Forbidden", "GET", scene.path("configmaps"), None, **robot)
    # Nobody gives rights that she does not have.
    refused(scene, 403, "Forbidden", "POST", f"{roles}/roles", json.dumps({
        "metadata": {"name": "more"}, "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}).encode(), **robot)


def test_immutable_volume_claim_templates(scene):
    document = objects.sandbox("immutable")
    document["spec"]["operatingMode"] = "Suspended"
    scene.api.create(scene.path("sandboxes"), document)
    answer = scene.api.request(
        "PATCH", scene.path("sandboxes", "immutable"), {"spec": {"volumeClaimTemplates": [
            {"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}}, MERGE)
    assert "volumeClaimTemplates is immutable" in status(answer, 422, "Invalid")["message"]
    scene.api.request("DELETE", scene.path("sandboxes", "immutable"))


def test_a_request_without_a_token_is_refused(scene):
    token, scene.api.token = scene.api.token, "wrong"
    try:
        status(scene.api.get(scene.path("configmaps")), 401, "Unauthorized")
    finally:
        scene.api.token = token


def test_health_and_version(scene):
    code, version = scene.api.get("/version")
    same((200, "1"), (code, version["major"]))
    connection = scene.api.connect()
    for path in ("/healthz", "/livez", "/readyz"):
        connection.request("GET", path, headers=scene.api.headers("application/json"))
        answer = connection.getresponse()
        same((200, b"ok"), (answer.status, answer.read()))
    connection.close()


def test_zz_deleting_the_namespace_empties_it(scene):
    scene.config_map("last")
    same(200, scene.api.request("DELETE", f"/api/v1/namespaces/{scene.namespace}")[0])
    wait_for(lambda: scene.api.get(f"/api/v1/namespaces/{scene.namespace}")[0] == 404, 60,
             "the namespace to go")
    same(404, scene.api.get(scene.path("configmaps", "last"))[0])


if __name__ == "__main__":
    tap.main(globals(), (Scene(Api(os.environ["KUBECONFIG"])),))
