"""Take a snapshot of the sources and hold it against the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cd4ml.steps.documents import problem_of, read

__all__ = ["take_snapshot"]


def take_snapshot(problem: Path, data: str, store: str, out: Path, page: Path) -> dict[str, float]:
    """Read the sources, check the contract, store what is right and draw the profile.

    Parameters
    ----------
    problem : Path
        What the fingerprint step wrote.
    data, store : str
        Where the sources are and where snapshots are kept ("" for the default store).
    out, page : Path
        The snapshot's folder and its profile as one HTML file.

    Returns
    -------
    dict of str to float
        Rows in, accepted and quarantined over all tables, and the number of anomalies.

    Raises
    ------
    SourceError, ContractError
        When the data are refused; nothing is stored then.
    """
    from cd4ml.adapters.storage import open_store
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.profile import profile_page
    from cd4ml.tables import snapshot

    storage = open_store(store or None)
    taken = snapshot.take_snapshot(problem_of(problem), data, storage, out, now=datetime.now(UTC))
    validation = read(out / "validation.json")
    html = profile_page(read(out / "profile.json"), validation, taken.manifest)
    storage.put(f"profiles/{taken.id}.html", html.encode())
    write_text(page, html)
    tables = validation["tables"].values()
    counts = {
        key: float(sum(t[key] for t in tables)) for key in ("rows_in", "rows_accepted", "rows_quarantined")
    }
    return counts | {"anomalies": float(len(validation["anomalies"]))}
