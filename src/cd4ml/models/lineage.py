"""Where a model comes from, and with what it was made."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from cd4ml.adapters import problem_files
from cd4ml.adapters.git import Git
from cd4ml.adapters.installation import code_hash, lock_hash
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.models.export import OPSETS
from cd4ml.models.persist import Model
from cd4ml.problem import Problem

__all__ = ["IMAGE_DIGEST", "build_lineage", "library_versions"]

IMAGE_DIGEST = "CD4ML_IMAGE_DIGEST"
_LIBRARIES = ("numpy", "onnxruntime", "onnx", "scikit-learn", "skl2onnx", "skops")


def library_versions() -> dict[str, str]:
    """Return the versions of what made the model, for versions.json."""
    found = {name: metadata.version(name) for name in _LIBRARIES}
    opsets = {f"opset {domain or 'ai.onnx'}": str(version) for domain, version in OPSETS.items()}
    return found | opsets | {"cd4ml": metadata.version("cd4ml"), "python": platform.python_version()}


def build_lineage(
    problem: Problem,
    model: Model,
    *,
    snapshot: str,
    parent: str | None = None,
    git: Git | None = None,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """Return lineage.json.

    Parameters
    ----------
    snapshot, parent : str
        Ids of the snapshot that was learnt from, and of the one before it.
    git : Git, optional
        The commit of the code; empty without a repository.
    environment : mapping
        Its CD4ML_IMAGE_DIGEST names the image that ran.
    """
    git = git or Git()
    return {
        "problem": problem.name,
        "problem_sha256": sha256_bytes(problem_files.dumps(problem).encode()),
        "snapshot": snapshot,
        "parent_snapshot": parent,
        "git": {"commit": git.commit, "branch": git.branch, "dirty": git.dirty},
        "code_sha256": code_hash(),
        "lock_sha256": lock_hash(),
        "image_digest": environment.get(IMAGE_DIGEST) or None,
        "model": model.fitted.describe(),
        "quantile_model": None if model.quantile is None else model.quantile.describe(),
        "seeds": [entry["seed"] for entry in model.repeats] or [model.fitted.seed],
        "features": list(model.names),
    }
