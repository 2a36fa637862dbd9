"""Judge a live endpoint: what was judged is what is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from cd4ml.errors import GateRejected

if TYPE_CHECKING:
    from cd4ml.adapters.inference import Protocol

__all__ = ["judge_endpoint"]


def judge_endpoint(
    bundle: Path, url: str, protocol: str, batch_rows: int, timeout_seconds: float, out: Path
) -> dict[str, float]:
    """Replay the bundle's holdout against an endpoint and write the report as JSON to `out`.

    Parameters
    ----------
    batch_rows : int
        0 for the default.

    Returns
    -------
    dict of str to float
        How many rows were compared, how many differ, and by how much at most.

    Raises
    ------
    GateRejected
        If a row differs; `out` is written before.
    """
    from cd4ml.adapters.storage import atomic
    from cd4ml.models.endpoint import compare_endpoint

    found = compare_endpoint(
        url,
        bundle,
        protocol=cast("Protocol", protocol),
        batch_rows=batch_rows or None,
        timeout_seconds=timeout_seconds,
    )
    atomic.write_json(out, found.to_dict())
    if not found.agrees:
        raise GateRejected(found.sentence)
    return {
        "rows": float(found.rows),
        "differing_rows": float(found.differing_rows),
        "largest_difference": found.largest_difference,
    }
