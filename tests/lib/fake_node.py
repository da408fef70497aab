# SPDX-License-Identifier: Apache-2.0
"""Stands in for scheduler and kubelets on a control plane that has none: Pods run at once.

What a Pod would do is read off its spec, as far as the suites need it:
- it asks for more than 1,000 CPUs: it cannot be scheduled;
- its first container runs `true` or `false`: it has ended, well or badly;
- a readiness probe runs `false`: it runs, but is not ready.
"""

import http.client
import queue
import threading
import time

NODE = "fake-node"
MERGE = "application/merge-patch+json"
CPUS = 1000
PODS = "/api/v1/pods"


def cpus(text):
    unit = {"m": 1e-3, "k": 1e3}.get(text[-1])
    return float(text[:-1]) * unit if unit else float(text)


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def condition(kind, value, reason=""):
    return {"type": kind, "status": "True" if value else "False", "reason": reason,
            "lastTransitionTime": now()}


def path_of(pod):
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def fits(pod):
    return sum(cpus(str(container.get("resources", {}).get("requests", {}).get("cpu", "0")))
               for container in pod["spec"]["containers"]) <= CPUS


def is_ready(container):
    return container.get("readinessProbe", {}).get("exec", {}).get("command") != ["false"]


def status(pod, address):
    """The status of a Pod that runs, or has run to its end."""
    containers = pod["spec"]["containers"]
    command = containers[0].get("command")
    ended = command in (["true"], ["false"])
    phase = {("true",): "Succeeded", ("false",): "Failed"}.get(tuple(command or ()), "Running")
    ready = not ended and all(map(is_ready, containers))
    state = ({"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "reason": "Completed"}}
             if ended else {"running": {"startedAt": now()}})
    return {"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "hostIP": "127.0.0.1",
            "startTime": now(),
            "conditions": [condition("PodScheduled", True), condition("Initialized", True),
                           condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": [
                {"name": container["name"], "image": container["image"], "imageID": "",
                 "ready": not ended and is_ready(container), "restartCount": 0, "state": state}
                for container in containers]}


class FakeNode:
    """Watches all Pods in one thread and acts in others; a daemon, ends with the program."""

    def __init__(self, plane, workers=4):
        self.plane = plane
        self.addresses = 0
        self.queues = [queue.Queue() for _ in range(workers)]
        for work in self.queues:
            threading.Thread(target=self.work, args=(work,), daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        api = self.plane.api()
        while True:
            try:
                # Each tells of all Pods at its beginning: one that an outage has left silent, or not
                # answered, holds nobody up for long.
                for kind, pod in api.watch(f"{PODS}?watch=true&timeoutSeconds=10", timeout=20):
                    if kind in ("ADDED", "MODIFIED"):
                        self.queues[hash(pod["metadata"]["uid"]) % len(self.queues)].put(pod)
            except (OSError, http.client.HTTPException, ValueError, AssertionError):
                time.sleep(0.1)  # the server restarts

    def work(self, work):
        api = self.plane.api()
        while True:
            pod = work.get()
            if pod is None:
                continue
            try:
                self.act(api, pod)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.1)
                work.put(self.read(api, pod))

    @staticmethod
    def read(api, pod):
        """The Pod as it is now; as it was if the server does not say, None if it is gone."""
        try:
            status, found = api.get(path_of(pod))
        except (OSError, http.client.HTTPException, ValueError):
            return pod
        return found if status == 200 else None if status == 404 else pod

    @staticmethod
    def ask(api, method, path, body, content_type="application/json"):
        """Whoever refuses is asked again: a server that restarts, that has no store, or that has
        not read its roles yet. Who is gone is not."""
        status, said = api.request(method, path, body, content_type)
        if status >= 400 and status != 404:
            raise OSError(f"{method} {path}: {status} {said}")

    def act(self, api, pod):
        meta, told, path = pod["metadata"], pod.get("status", {}), path_of(pod)
        if "deletionTimestamp" in meta:
            self.ask(api, "DELETE", path, {"gracePeriodSeconds": 0,
                                           "preconditions": {"uid": meta["uid"]}})
        elif "nodeName" not in pod["spec"]:
            if fits(pod):
                self.ask(api, "POST", f"{path}/binding", {
                    "apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]},
                    "target": {"kind": "Node", "name": NODE}})
            elif not told.get("conditions"):
                self.tell(api, path, meta, {
                    "conditions": [condition("PodScheduled", False, "Unschedulable")]})
        elif pod["spec"]["nodeName"] == NODE and told.get("phase", "Pending") == "Pending":
            self.addresses += 1
            self.tell(api, path, meta, status(
                pod, f"10.{128 + self.addresses // 65536}.{self.addresses // 256 % 256}."
                     f"{self.addresses % 256}"))

    def tell(self, api, path, meta, told):
        self.ask(api, "PATCH", f"{path}/status",
                 {"metadata": {"uid": meta["uid"]}, "status": told}, MERGE)
