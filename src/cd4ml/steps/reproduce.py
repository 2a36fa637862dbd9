"""Make a registered model again from its snapshot, and see whether the same bytes come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import IntegrityError
from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.adapters.storage import Storage
    from cd4ml.problem import Problem
    from cd4ml.tables.dataset import Dataset

__all__ = ["Comparison", "Reproduction", "reproduce"]

Progress = Callable[[str], None]
_MODELS = ("model.onnx", "model-quantile.onnx", "treatment.json")


def _silent(line: str) -> None:
    del line


@dataclass(frozen=True)
class Comparison:
    """One file of the bundle, or one value, as it was recorded and as it came out now.

    Attributes
    ----------
    name : str
        Such as "model.onnx" or "scikit-learn".
    recorded, found : JSON value
        None where there was, or is, nothing.
    """

    name: str
    recorded: Any
    found: Any

    @property
    def same(self) -> bool:
        """Whether it came out as it was recorded."""
        return bool(self.recorded == self.found)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {"name": self.name, "recorded": self.recorded, "found": self.found}


@dataclass(frozen=True)
class Reproduction:
    """What came of making a model again.

    Attributes
    ----------
    models : tuple of Comparison
        SHA-256 of model.onnx and, where the bundle has them, model-quantile.onnx and treatment.json.
    search : Comparison or None
        The winner (candidate and parameters) of the search; None when the search was not repeated.
    versions, code, data : tuple of Comparison
        What differs between then and now: libraries and Python; cd4ml's own code and commit; the holdout
        that was rebuilt. Empty where nothing does.
    largest_difference : float or None
        Of the predictions for the bundle's holdout rows; 0 when they are the same, None when the models do
        not take the same features.
    """

    models: tuple[Comparison, ...]
    search: Comparison | None
    versions: tuple[Comparison, ...]
    code: tuple[Comparison, ...]
    data: tuple[Comparison, ...]
    largest_difference: float | None

    @property
    def same(self) -> bool:
        """Whether every byte of the models, and the winner of a repeated search, came out again."""
        return all(one.same for one in self.models) and (self.search is None or self.search.same)

    @property
    def axes(self) -> tuple[str, ...]:
        """Which of "versions", "code" and "data" are not what they were, in this order."""
        return tuple(axis for axis in ("versions", "code", "data") if getattr(self, axis))

    def to_dict(self) -> dict[str, Any]:
        """Return the reproduction as JSON values."""
        return {
            "same": self.same,
            "models": [one.to_dict() for one in self.models],
            "search": self.search.to_dict() if self.search else None,
            "differs": {axis: [one.to_dict() for one in getattr(self, axis)] for axis in self.axes},
            "largest_difference": self.largest_difference,
        }


def reproduce(
    bundle: Path, storage: Storage, folder: Path, *, search: bool = False, progress: Progress = _silent
) -> Reproduction:
    """Fit a bundle's model again: its snapshot from the store, its features, parameters and seed.

    Parameters
    ----------
    bundle : Path
        A verified bundle.
    storage : Storage
        Where its snapshot is kept.
    folder : Path
        Gets snapshot/, dataset/ and model/; what is there is replaced.
    search : bool
        Repeat the whole search instead of taking the parameters that it found.
    progress : callable
        Takes a line a step.

    Raises
    ------
    NotFoundError
        If the store has the snapshot no more.
    IntegrityError
        If the snapshot is not what it was, or the bundle does not say what it was made with.
    """
    from cd4ml.adapters.storage import atomic
    from cd4ml.models.mitigation import mitigate
    from cd4ml.models.persist import export_model, save_model
    from cd4ml.models.search import refit
    from cd4ml.tables.dataset import Dataset, build_dataset

    lineage = read(bundle / "lineage.json")
    problem, recorded = problem_of(bundle / "problem.json"), _winner(lineage, bundle)
    snapshot = _snapshot(storage, str(lineage.get("snapshot", "")), folder / "snapshot", progress)
    progress("features and split")
    build_dataset(problem, snapshot, folder / "dataset")
    data = Dataset.load(folder / "dataset")
    winner = _searched(problem, data, progress) if search else recorded
    model = export_model(refit(problem, data, winner, 1, progress), data.names)
    if problem.mitigations:
        model, _, _ = mitigate(problem, data, model, winner, 1, progress)
    with atomic.directory(folder / "model") as inside:
        save_model(inside, model)
    parts = ("name", "family", "parameters")
    chosen = Comparison("winner", *({key: one.get(key) for key in parts} for one in (recorded, winner)))
    return Reproduction(
        models=_models(bundle, folder / "model"),
        search=chosen if search else None,
        versions=_versions(bundle, lineage),
        code=_code(lineage),
        data=_data(data, bundle),
        largest_difference=_largest_difference(bundle, folder / "model"),
    )


def _winner(lineage: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    found = lineage.get("parameters")
    if not isinstance(found, dict) or not {"name", "family", "parameters"} <= found.keys():
        raise IntegrityError(
            f"'{bundle}' does not say which candidate won and with which parameters (lineage.json); only"
            " bundles that 'cd4ml run' made can be made again"
        )
    return found


def _snapshot(storage: Storage, identity: str, folder: Path, progress: Progress) -> Path:
    """Fetch the snapshot that the lineage names; every file is held against its manifest."""
    from cd4ml.tables.history import SnapshotHistory
    from cd4ml.tables.snapshot import open_snapshot

    progress(f"snapshot {identity[:12]}")
    found = open_snapshot(SnapshotHistory(storage).fetch(identity, folder))
    if found.id != identity:
        raise IntegrityError(
            f"the store gave the snapshot {found.id[:12]} where the lineage names {identity[:12]}; restore it"
        )
    return folder


def _searched(problem: Problem, data: Dataset, progress: Progress) -> dict[str, Any]:
    """Repeat the search of all candidates, one after the other, and return its winner."""
    from cd4ml.models.search import choose, plan_search, run_search_task

    limit = problem.search.max_seconds
    tasks = plan_search(problem, data)
    return choose(
        problem, [run_search_task(problem, data, task, limit, time.monotonic, progress) for task in tasks]
    )


def _models(bundle: Path, made: Path) -> tuple[Comparison, ...]:
    from cd4ml.adapters.storage.hashing import sha256_file

    hashes = {
        name: [sha256_file(place / name) if (place / name).is_file() else None for place in (bundle, made)]
        for name in _MODELS
    }
    return tuple(Comparison(name, *pair) for name, pair in hashes.items() if pair != [None, None])


def _versions(bundle: Path, lineage: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return the libraries of another version; all of them as one hash when only others have moved."""
    from cd4ml.adapters.installation import lock_hash
    from cd4ml.models.lineage import library_versions

    named = _different(read(bundle / "versions.json"), library_versions())
    recorded = lineage.get("lock_sha256")
    others = Comparison("other libraries (SHA-256 of all versions)", recorded, lock_hash())
    return named if named or recorded is None or others.same else (others,)


def _code(lineage: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return hash and commit of cd4ml's code when it is not the code that made the model."""
    from cd4ml.adapters.git import describe
    from cd4ml.adapters.installation import code_hash

    code = Comparison("code (SHA-256)", lineage.get("code_sha256"), code_hash())
    if code.same:
        return ()
    commit = Comparison("commit", (lineage.get("git") or {}).get("commit"), describe(Path.cwd()).commit)
    return (code,) if commit.same else (code, commit)


def _data(data: Dataset, bundle: Path) -> tuple[Comparison, ...]:
    """Return how the data that were rebuilt differ from what the bundle tells: counts, split, rows."""
    told = read(bundle / "data.json") if (bundle / "data.json").is_file() else {}
    found = list(_different(told, {name: data.meta.get(name) for name in told}))
    names = Comparison("features", read(bundle / "model.json")["names"], list(data.names))
    if not names.same:
        return (*found, names)
    recorded = _row_bytes(_array(bundle, "features"), _array(bundle, "actual"))
    held = data.role == 1
    again = _row_bytes(data.X[held], data.y[held])
    rows = Comparison(
        "holdout rows with the recorded features and target",
        len(recorded),
        sum(row in again for row in recorded),
    )
    return tuple(found) if rows.same else (*found, rows)


def _array(bundle: Path, name: str) -> Any:
    """Return `features` or `actual` of the bundle's holdout rows."""
    import numpy as np

    try:
        return np.load(bundle / "holdout" / f"{name}.npy")
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"'{bundle}' has no readable holdout/{name}.npy ({error}); only bundles that 'cd4ml run' made can"
            " be made again"
        ) from error


def _row_bytes(X: Any, y: Any) -> dict[bytes, None]:
    """Return the distinct rows as bytes, NaN and all."""
    return dict.fromkeys(row.tobytes() + value.tobytes() for row, value in zip(X, y, strict=True))


def _different(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[Comparison, ...]:
    from cd4ml.adapters.differences import differences

    return tuple(Comparison(row.name, *row.values) for row in differences([recorded, found]))


def _largest_difference(bundle: Path, made: Path) -> float | None:
    """Return how far the two models are apart on the holdout rows that the bundle carries."""
    import numpy as np

    from cd4ml.models.session import open_session, run

    X = _array(bundle, "features")
    try:
        old, new = (run(open_session((place / "model.onnx").read_bytes()), X) for place in (bundle, made))
    except Exception:  # ONNX Runtime raises its own: the models take another number of features
        return None
    return float(np.max(np.abs(old - new), initial=0.0))
