"""A bundle with its problem and verdict, as the steps before an approval leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cd4ml.adapters.manifest import bundle_id, write_manifest
from cd4ml.adapters.problem_files import dumps, load
from cd4ml.problem import Approval
from tests.adapters.samples import make_bundle

WARNING = {"name": "bias:sex", "status": "warn", "reason": "the ratio is 0.9"}


def make_governed(
    folder: Path, model: str = "a model", decision: str = "needs_approval", **policy: Any
) -> Path:
    """Write bundle/, problem.json and verdict.json to `folder` and return the bundle."""
    problem = load("bike-demand").model_copy(update={"approval": Approval(**policy)})
    bundle = make_bundle(folder / "bundle", model)
    for place in (folder, bundle):
        (place / "problem.json").write_text(dumps(problem))
    write_manifest(bundle, format="1", problem="bike-demand")
    write_verdict(bundle, decision)
    return bundle


def write_verdict(bundle: Path, decision: str, of: str = "") -> Path:
    """Write verdict.json beside a bundle."""
    gates = [WARNING, {"name": "contract", "status": "pass", "reason": "."}]
    subject = {"bundle": of or bundle_id(bundle), "model": "d" * 64}
    path = bundle.parent / "verdict.json"
    path.write_text(
        json.dumps({"decision": decision, "model": "bike-demand", "gates": gates, "subject": subject})
    )
    return path
