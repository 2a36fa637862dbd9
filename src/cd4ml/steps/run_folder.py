"""The folder of a run: one run at a time, what it holds, and whether that still is what was written."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage import atomic
from cd4ml.errors import Cd4mlError, UsageError
from cd4ml.steps.documents import read

__all__ = ["BUNDLE", "DOCUMENTS", "RunFolder"]

BUNDLE = "bundle"
DOCUMENTS = (
    "verdict.json",
    "verdict.md",
    "metrics.json",
    "bias.json",
    "explanations.json",
    "ratchet.json",
    "report.html",
    "card.html",
    "slices.html",
    "approval.html",
    "profile.html",
)
"""What users read, beside the bundle."""

_STATE = "run.json"
_BEGUN = "begun.json"


class RunFolder:
    """What `cd4ml run --out` names.

    `run.json` is written last: a folder that has it and whose files have the hashes in it is complete.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise UsageError(f"--out must be a folder; {path} is a file")
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.work = path / ".pipeline"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second run out; the lock goes with the process that holds it."""
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another run is at work in {self.path}; wait for it or choose another --out"
                ) from None
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what a killed run left half written: nobody else writes here now."""
        for left in self.path.glob(f"{atomic.TEMPORARY_PREFIX}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def state(self) -> dict[str, Any] | None:
        """Return what the last complete run recorded; None when there is none."""
        return self._read(_STATE)

    def _read(self, name: str) -> dict[str, Any] | None:
        if not (self.path / name).exists():
            return None
        try:
            found = read(self.path / name)
        except Cd4mlError:
            return None
        return found if isinstance(found, dict) else None

    def begin(self, depends: Mapping[str, str], identity: str, started: datetime) -> tuple[str, datetime]:
        """Return id and start of the run: those of a killed one that depended on the same, or these."""
        before = self._read(_BEGUN)
        if before and before.get("depends") == depends:
            return str(before["id"]), datetime.fromisoformat(before["started"])
        atomic.write_json(
            self.path / _BEGUN, {"depends": depends, "id": identity, "started": started.isoformat()}
        )
        return identity, started

    def gather(self, bundle: Path, documents: Mapping[str, Path]) -> None:
        """Copy the bundle and the documents by name, each as a whole; those of a run before are removed."""
        with atomic.directory(self.path / BUNDLE) as folder:
            shutil.copytree(bundle, folder, dirs_exist_ok=True)
        for name in DOCUMENTS:
            if name in documents:
                atomic.write_bytes(self.path / name, documents[name].read_bytes())
            else:
                (self.path / name).unlink(missing_ok=True)

    def finish(self, state: Mapping[str, Any]) -> None:
        """Record a complete run with the hashes of its files."""
        atomic.write_json(self.path / _STATE, {**state, "files": self._hashes()})
        (self.path / _BEGUN).unlink(missing_ok=True)

    def _hashes(self) -> dict[str, str]:
        bundle = sorted(path for path in (self.path / BUNDLE).rglob("*") if path.is_file())
        paths = [*(self.path / name for name in DOCUMENTS), *bundle]
        return {path.relative_to(self.path).as_posix(): _sha256(path) for path in paths if path.is_file()}

    def whole(self, state: Mapping[str, Any]) -> bool:
        """Return whether every file is there and unaltered since `finish`."""
        return bool(self._hashes() == state["files"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
