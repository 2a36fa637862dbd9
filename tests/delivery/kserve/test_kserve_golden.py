"""All that a plane writes in a rollout, transition by transition, as files to be read.

`CD4ML_WRITE_GOLDEN=1 pytest tests/delivery/kserve/test_kserve_golden.py` writes them anew: read the diff.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from cd4ml.delivery.plane import DesiredService
from tests.delivery.kserve.scene import NEW, OLD, SERVICE, Scene, scene
from tests.kubernetes.cluster import Cluster, opened
from tests.manifests.strict_schema import validate

GOLDEN = Path(__file__).parent / "golden"
CASES = [(mode, route) for mode in ("Knative", "Standard") for route in ("HTTPRoute", "VirtualService")]
CRDS = os.environ.get("CD4ML_TEST_CRDS", "")
needs_crds = pytest.mark.skipif(not CRDS, reason="CD4ML_TEST_CRDS names no folder of definitions")

DESIRED = {
    "first": DesiredService(SERVICE, OLD),
    "verify": DesiredService(SERVICE, OLD, canary=NEW),
    "shadow": DesiredService(SERVICE, OLD, shadow=NEW, mirror_percent=100),
    "canary-10": DesiredService(SERVICE, OLD, NEW, canary_percent=10),
    "canary-50": DesiredService(SERVICE, OLD, NEW, canary_percent=50),
    "shadow-and-canary": DesiredService(SERVICE, OLD, NEW, NEW, canary_percent=10, mirror_percent=12.5),
    "watch": DesiredService(SERVICE, NEW, canary=OLD),
    "promoted": DesiredService(SERVICE, NEW),
    "rolled-back": DesiredService(SERVICE, OLD),
}
PROMOTION = ("first", "verify", "shadow", "canary-10", "canary-50", "watch", "promoted")
ROLLBACKS = ("first", "shadow-and-canary", "rolled-back", "canary-50", "watch", "rolled-back")


def _story(world: Scene, names: tuple[str, ...]) -> list[dict[str, Any]]:
    found, seen = [], 0
    for name in names:
        world.settle(DESIRED[name], in_turn=True)
        written = world.written()
        found.append({"wanted": name, "writes": written[seen:]})
        seen = len(written)
    return found


@pytest.mark.parametrize("names", [PROMOTION, ROLLBACKS], ids=["promotion", "rollbacks"])
@pytest.mark.parametrize(("mode", "route"), CASES)
def test_each_transition_writes_what_its_golden_file_says(
    tmp_path: Path, mode: str, route: str, names: tuple[str, ...]
) -> None:
    kind = "promotion" if names is PROMOTION else "rollbacks"
    file = GOLDEN / f"{mode.lower()}-{route.lower()}-{kind}.yaml"
    with (
        opened("stand-in", tmp_path) as cluster,
        scene(cluster, mode, route, logger_url="http://log") as world,
    ):
        found = yaml.safe_dump(_masked(_story(world, names), cluster), sort_keys=False, width=110)
    if os.environ.get("CD4ML_WRITE_GOLDEN"):
        file.write_text(found)
    assert found == file.read_text()


def _masked(story: list[dict[str, Any]], cluster: Cluster) -> Any:
    return yaml.safe_load(yaml.safe_dump(story).replace(cluster.namespace, "models"))


def _documents() -> list[dict[str, Any]]:
    return [
        write["apply"]
        for file in sorted(GOLDEN.glob("*.yaml"))
        for step in yaml.safe_load(file.read_text())
        for write in step["writes"]
        if "apply" in write
    ]


@needs_crds
def test_every_object_that_a_plane_writes_fits_the_real_definitions_strictly() -> None:
    documents = _documents()
    assert len(documents) > 50
    assert {one["kind"] for one in documents} == {"InferenceService", "HTTPRoute", "VirtualService"}
    for document in documents:
        assert validate(document, Path(CRDS)) == []


@needs_crds
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("InferenceService", ("spec", "predictor", "canaryTraficPercent")),
        ("InferenceService", ("spec", "predictor", "model", "storageURI")),
        ("HTTPRoute", ("spec", "rules", 0, "backendRef")),
        ("VirtualService", ("spec", "http", 0, "miror")),
    ],
)
def test_a_planted_typo_is_found(kind: str, path: tuple[str | int, ...]) -> None:
    document = copy.deepcopy(next(one for one in _documents() if one["kind"] == kind))
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "x"
    assert validate(document, Path(CRDS))


def test_no_write_changes_what_kserve_copies_to_every_pod() -> None:
    """KServe copies labels and annotations of an InferenceService to its pods: a change starts all anew."""
    for file in sorted(GOLDEN.glob("*.yaml")):
        seen: dict[str, set[str]] = {}
        for step in yaml.safe_load(file.read_text()):
            for write in step["writes"]:
                document = write.get("apply", {"kind": ""})
                if document["kind"] == "InferenceService":
                    metadata = document["metadata"]
                    seen.setdefault(metadata["name"], set()).add(yaml.safe_dump(metadata))
        assert all(len(one) == 1 for one in seen.values()), file
