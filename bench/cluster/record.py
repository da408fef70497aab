# SPDX-License-Identifier: Apache-2.0
"""What `cay controller` writes for a warm claim and the member that takes its place.

Taken from a control plane's audit log with bodies. What differs from claim to claim is replaced by
@fields@, which bench/cluster/floor.c fills in. A write that has no place here, or one that is
missing, is an error: then the controller has changed, and so must the floor.
"""

import json
import re
import time

from lib.control_plane import CONTROLLER_USER
from lib.instance import wait_for

WRITES = ("create", "update", "patch", "delete")
METHODS = {"create": "POST", "patch": "PATCH"}
CLAIM = "recorded-claim"
TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"')


def entries(plane):
    """The controller's successful writes that are not Leases."""
    with open(plane.audit_log, encoding="utf-8") as log:
        for entry in map(json.loads, log):
            if (entry["verb"] in WRITES and entry["user"]["username"] == CONTROLLER_USER
                    and entry["responseStatus"]["code"] < 300
                    and entry["objectRef"]["resource"] != "leases"):
                yield entry


def role(entry, member, successor):
    """Which of the floor's writes it is, or None for what belongs to something else."""
    target = entry["objectRef"]
    what = (entry["verb"], target["resource"], target.get("subresource", ""))
    name = target.get("name")
    if name == successor:
        return {("create", "sandboxes", ""): "member", ("create", "pods", ""): "pod",
                ("patch", "sandboxes", "status"): "ready"}[what]
    if name == member:
        return {("patch", "sandboxes", ""): "adopt", ("patch", "pods", ""): "label"}[what]
    if what == ("patch", "sandboxclaims", "status"):
        return "tell"
    if what == ("patch", "sandboxwarmpools", "status"):
        return "pool"
    return {("create", "events", ""): "event"}[what]


def fields(plane, member, successor, writes):
    """(text, field) to be replaced, the longest first."""
    api = plane.api()
    path = "/apis/agents.x-k8s.io/v1beta1/namespaces/default/sandboxes"
    pod = api.get(f"/api/v1/namespaces/default/pods/{member}")[1]
    other = api.get(f"/api/v1/namespaces/default/pods/{successor}")[1]
    extensions = "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/default"
    found = [(CLAIM, "claim"), (member, "member"), (successor, "member"),
             (pod["metadata"]["labels"]["agents.x-k8s.io/sandbox-name-hash"], "member.hash"),
             (other["metadata"]["labels"]["agents.x-k8s.io/sandbox-name-hash"], "member.hash"),
             (pod["metadata"]["uid"], "pod.uid"), (pod["status"]["podIP"], "pod.ip"),
             (other["status"]["podIP"], "pod.ip")]
    for name, field in ((f"{path}/{member}", "member.uid"), (f"{path}/{successor}", "member.uid"),
                        (f"{extensions}/sandboxclaims/{CLAIM}", "claim.uid"),
                        (f"{extensions}/sandboxwarmpools/bench", "pool.uid")):
        found.append((api.get(name)[1]["metadata"]["uid"], field))
    event = writes["event"]["requestObject"]["metadata"]["name"]
    found.append((event, "claim@.@number"))
    return sorted(set(found), key=lambda pair: -len(pair[0]))


VERSIONS = {"adopt": "member.version", "ready": "member.version", "tell": "claim.version",
            "pool": "pool.version"}
COUNTS = re.compile(r'"(replicas|readyReplicas)":\d+')


def template(name, entry, replacements):
    """One write as the floor reads it."""
    body = json.dumps(entry["requestObject"], separators=(",", ":"))
    path = entry["requestURI"]
    for text, field in replacements:
        body = body.replace(text, f"@{field}@")
        path = path.replace(text, f"@{field}@")
    body = TIME.sub('"@now@"', body)
    body, count = re.subn(r'"resourceVersion":"\d+"',
                          f'"resourceVersion":"@{VERSIONS.get(name)}@"', body)
    if count != (name in VERSIONS):
        raise AssertionError(f"{name}: {count} resourceVersions in {body}")
    if name == "pool":
        body = COUNTS.sub(r'"\1":@count@', body)
    return {"method": METHODS[entry["verb"]], "path": path, "body": body}


def record(plane, claim):
    """Lets `claim`(name) make a claim from the ready pool `bench` and returns what was written."""
    before = len(list(entries(plane)))
    api = plane.api()
    status = claim(CLAIM)
    member = status["sandbox"]["name"]

    def settled():
        pool = api.get("/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/default/"
                       "sandboxwarmpools/bench")[1]
        return pool["status"].get("readyReplicas") == pool["spec"]["replicas"]

    wait_for(lambda: len(list(entries(plane))) > before + 7, 30, "the writes of a claim")
    wait_for(settled, 30, "the pool to be full again")
    time.sleep(1.5)  # nothing more may come, and a pool's status may take a second
    new = list(entries(plane))[before:]
    successor = [entry["objectRef"]["name"] for entry in new
                 if (entry["verb"], entry["objectRef"]["resource"]) == ("create", "sandboxes")]
    if len(successor) != 1:
        raise AssertionError(f"new members: {successor}")
    writes = {}
    for entry in new:
        name = role(entry, member, successor[0])
        if name in writes and name != "pool":
            raise AssertionError(f"{name} was written twice")
        writes[name] = entry
    replacements = fields(plane, member, successor[0], writes)
    return {name: template(name, entry, replacements) for name, entry in writes.items()}
