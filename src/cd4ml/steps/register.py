"""Put an accepted bundle into the registry."""

from __future__ import annotations

from pathlib import Path

from cd4ml.errors import GateRejected
from cd4ml.steps.documents import problem_of, read

__all__ = ["register_model"]


def register_model(
    problem: Path, bundle: Path, verdict: Path, evaluation: Path, store: str, ratchet: Path | None = None
) -> dict[str, str]:
    """Push a bundle whose verdict does not reject it; return name, version, bundle id and storage URI.

    Parameters
    ----------
    ratchet : Path, optional
        ratchet.json, whose limits the version carries for those that come after it.

    Raises
    ------
    GateRejected
        When the verdict rejects, or speaks about another bundle.
    """
    from cd4ml.adapters.manifest import bundle_id
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store

    found = read(verdict)
    identity = bundle_id(bundle)
    if found["decision"] == "reject":
        raise GateRejected("the verdict rejects this bundle; it is not registered")
    if found["subject"].get("bundle") != identity:
        raise GateRejected(f"the verdict is about bundle {found['subject'].get('bundle')}; found {identity}")
    registry = Registry(open_store(store or None))
    record = {
        "verdict": found["decision"],
        "metrics": read(evaluation / "metrics.json")["holdout"],
        "lineage": read(bundle / "lineage.json"),
        "limits": read(ratchet)["limits"] if ratchet else {},
    }
    version = registry.register(problem_of(problem).name, bundle, record)
    return {
        "name": version.name,
        "version": str(version.version),
        "bundle": version.bundle,
        "storage_uri": registry.storage_uri(version),
    }
