"""The lineage: enough to make the model again."""

import json
from pathlib import Path

from cd4ml.adapters import problem_files
from cd4ml.adapters.git import Git
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.models.export import OPSETS
from cd4ml.models.lineage import IMAGE_DIGEST, build_lineage, library_versions
from cd4ml.steps.fingerprint import hashes
from tests.models.bundles import bundle, document, people, shop


def test_it_names_snapshot_commit_image_parameters_and_seeds() -> None:
    found = build_lineage(
        shop().problem,
        shop().model,
        snapshot="s1",
        parent="s0",
        git=Git("c" * 40, "main", True),
        environment={IMAGE_DIGEST: "sha256:abc"},
    )
    assert (found["snapshot"], found["parent_snapshot"], found["image_digest"]) == ("s1", "s0", "sha256:abc")
    assert found["git"] == {"commit": "c" * 40, "branch": "main", "dirty": True}
    assert found["model"]["parameters"]["max_iter"] == 15
    assert found["quantile_model"]["quantile"] == 0.75
    assert found["seeds"] == [5]
    assert found["features"] == list(shop().state.names)
    json.dumps(found, allow_nan=False)


def test_without_repository_image_or_repeats_it_says_so() -> None:
    model = people().model
    found = build_lineage(people().problem, model, snapshot="s1", environment={})
    assert found["git"] == {"commit": "", "branch": "", "dirty": False}
    assert found["image_digest"] is None
    assert found["quantile_model"] is None
    alone = type(model)(model.fitted, model.onnx, model.names)
    assert build_lineage(people().problem, alone, snapshot="s1")["seeds"] == [model.fitted.seed]


def test_code_lock_and_problem_have_the_hashes_that_a_runs_fingerprint_has(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("day,store\n")
    found = build_lineage(shop().problem, shop().model, snapshot="s1")
    run = hashes(shop().problem, str(tmp_path))
    assert (found["lock_sha256"], found["problem_sha256"]) == (run["lock"], run["problem"])
    assert len(found["code_sha256"]) == len(run["code"]) == 64
    assert run["problem"] == sha256_bytes(problem_files.dumps(shop().problem).encode())


def test_versions_are_those_of_what_made_the_model() -> None:
    found = library_versions()
    assert {"numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "skops", "cd4ml", "python"} <= set(
        found
    )
    assert found["opset ai.onnx"] == str(OPSETS[""])
    assert document(bundle("shop"), "versions.json") == found
