#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The CRDs in api/ say what upstream's do, are what tools/make-crds makes, and can be applied."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import tap  # noqa: E402
from lib.tool import load_tool  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
APPLY_LIMIT = 200 * 1024  # kubectl apply keeps an object in an annotation; those end at 256 KiB

CONDITION = [f"v1beta1 .status.conditions{field}" for field in (
    "", "[]", "[].lastTransitionTime", "[].message", "[].observedGeneration", "[].reason",
    "[].status", "[].type")]
# What ours have besides; nothing is missing.
OURS = {
    # The first clients of the first generation read the Sandbox's name there.
    "sandboxclaims.extensions.agents.x-k8s.io": {"v1alpha1 .status.sandbox.Name"},
    # Why a pool is not filled.
    "sandboxwarmpools.extensions.agents.x-k8s.io": set(CONDITION),
}


FACTS = load_tool("crd-facts")


def definitions(folder):
    return FACTS.read(sorted((ROOT / folder).glob("*.yaml")))


def upstream():
    """The table: {section: {line's name: what is said}}."""
    found = {}
    for line in (ROOT / "tests/facts/upstream-crds.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found[line[1:-1]] = {}
        elif not line.startswith("#"):
            # The names of lines have no space but the one behind the version.
            cut = line.index(" ", line.index(" ") + 1) if line.startswith("v1") else \
                line.index(" ")
            section[line[:cut]] = line[cut + 1:]
    return found


def test_they_say_what_upstreams_say():
    ours, theirs = FACTS.facts(definitions("api/crds")), upstream()
    assert sum(map(len, theirs.values())) > 1600, "the table is not whole"
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    for title, lines in theirs.items():
        differ = {name: (what, ours[title].get(name)) for name, what in lines.items()
                  if ours[title].get(name) != what}
        assert not differ, (title, differ)
        more = ours[title].keys() - lines.keys()
        assert more == OURS.get(title, set()), (title, more)


def test_each_can_be_applied():
    for folder, count in (("api/crds", 4), ("api/crds-lean", 2)):
        found = definitions(folder)
        assert len(found) == count, (folder, len(found))
        for crd in found:
            size = len(json.dumps(crd, separators=(",", ":")))
            assert size <= APPLY_LIMIT, (crd["metadata"]["name"], size)


def test_the_lean_ones_differ_below_the_pod_spec_alone():
    whole = FACTS.facts(definitions("api/crds"))
    for title, lines in FACTS.facts(definitions("api/crds-lean")).items():
        if title == "PersistentVolumeClaimSpec":
            assert lines == whole[title]
            continue
        assert lines.keys() == whole[title].keys(), title
        differ = {name: what for name, what in lines.items() if whole[title][name] != what}
        lean = '{"type":"object","x-kubernetes-preserve-unknown-fields":true}'
        assert differ == {f"{version} .spec.podTemplate.spec": lean
                          for version in ("v1alpha1", "v1beta1")}, differ


def test_the_tool_makes_them():
    tool = load_tool("make-crds")
    made = [tool.definition_of(*entry) for entry in tool.KINDS]
    for folder, wanted in (("api/crds", made),
                           ("api/crds-lean", list(filter(None, map(tool.lean, made))))):
        found = {each["metadata"]["name"]: each for each in definitions(folder)}
        assert len(found) == len(wanted), folder
        for crd in wanted:
            name = crd["metadata"]["name"]
            assert found[name] == crd, f"{name} in {folder} is not what tools/make-crds makes"


if __name__ == "__main__":
    tap.main(globals())
