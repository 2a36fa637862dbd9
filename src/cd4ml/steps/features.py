"""Make features and split."""

from __future__ import annotations

from pathlib import Path

from cd4ml.steps.documents import problem_of

__all__ = ["build_features"]


def build_features(problem: Path, snapshot: Path, out: Path) -> dict[str, float]:
    """Write the dataset of a snapshot to `out` and return its counts of rows and features."""
    from cd4ml.tables.dataset import build_dataset

    meta = build_dataset(problem_of(problem), snapshot, out)
    filtered = {f"rows_filtered_{name}": float(count) for name, count in meta["rows"]["filtered"].items()}
    return {
        "rows_in": float(meta["rows"]["in"]),
        "rows_used": float(meta["rows"]["used"]),
        "features": float(len(meta["names"])),
        **filtered,
    }
