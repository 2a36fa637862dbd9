"""Looks at the holdout of a small bakery, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cd4ml.adapters.problem_files import dumps, load
from cd4ml.steps.ledger import record_look
from cd4ml.steps.snapshot import take_snapshot
from tests.steps.small_run import write_sources


class Bakery:
    """Sources, a store, and models that look at the holdout.

    Parameters
    ----------
    place : Path
        Where all of it is written.
    """

    def __init__(self, place: Path, **changes: Any) -> None:
        self.place = place
        self.store = str(place / "store")
        self.sources = write_sources(place / "sources")
        self.yaml = str(self.sources / "bakery.yaml")
        self.problem = load(self.yaml).model_copy(update=changes)
        self.ledger = place / "ledger.json"
        self.snapshot = self.take("snapshot")

    def take(self, name: str) -> Path:
        """Return the folder of a snapshot of the sources as they are."""
        file = self.place / "problem.json"
        file.write_text(dumps(self.problem))
        folder = self.place / name
        take_snapshot(file, str(self.sources), self.store, folder, self.place / "profile.html")
        return folder

    def cut(self, days: int) -> None:
        """Take the last days off the sources."""
        file = self.sources / "sales.csv"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[: len(lines) - 2 * days]))

    def look(self, model: str) -> dict[str, float]:
        """Let a model look at the holdout of the newest snapshot."""
        folder = self.place / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_text(model)
        return record_look(
            self.place / "problem.json", self.snapshot, folder, self.store, self.ledger, git_commit="c" * 40
        )
