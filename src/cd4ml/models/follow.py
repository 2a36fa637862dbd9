"""A model as data: predict within your own process with the version that an alias names.

>>> with ModelFollower("sales-forecast@champion") as model:  # doctest: +SKIP
...     answer = model.predict([{"date": "2017-08-16", "store_nbr": 1, "family": "BREAD/BAKERY"}])
...     print(answer.prediction, "of version", answer.version)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit

from cd4ml.adapters.bundle_shelf import BundleShelf
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import Storage, open_store
from cd4ml.domain.schema_compatibility import schema_changes
from cd4ml.errors import IntegrityError, UsageError
from cd4ml.models.contract import declared_values
from cd4ml.models.follow_status import FollowStatus, Held, Timing
from cd4ml.models.following import AliasFollower, split_reference
from cd4ml.problem import Problem

if TYPE_CHECKING:
    from cd4ml.models.data import FloatArray
    from cd4ml.models.runtime import Bundle

__all__ = [
    "FolderFollower",
    "Followed",
    "FollowedAnswer",
    "ModelFollower",
    "events_address",
    "refuse_other_contract",
]

Rows: TypeAlias = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Followed:
    """A version that answers: its number, its bundle's id, and since when (UTC, ISO 8601)."""

    version: int
    bundle: str
    since: str

    @classmethod
    def of(cls, held: Held[Any]) -> Followed:
        """Return what is told of a version that is held."""
        return cls(held.version, held.bundle, held.since)


@dataclass(frozen=True, eq=False)
class FollowedAnswer:
    """Predictions, and who made them.

    Attributes
    ----------
    outputs : mapping
        `prediction`, and `quantile` and `decision` where the model has them: float64, one value a row.
    version, bundle : int, str
        What answered, even if another version was taken while it did.
    """

    outputs: Mapping[str, FloatArray]
    version: int
    bundle: str

    @property
    def prediction(self) -> FloatArray:
        """The predictions, one a row."""
        return self.outputs["prediction"]


class ModelFollower:
    """Predicts with the newest good version that an alias names, and keeps the one before.

    A version is fetched aside, verified by hash and signature, loaded, asked for some of its own holdout rows
    and held against the contract of the version before; then one assignment puts it in use. A prediction
    under way ends with the model that it began with. What is refused is reported and tried again later;
    meanwhile, and while the store cannot be reached, the old version answers.

    A follower belongs to the process that opened it: its threads do not survive a fork. Open one in each
    worker; they may share `folder`.

    Parameters
    ----------
    reference : str
        NAME@alias; NAME alone follows the latest version.
    store : str or Storage, optional
        As CD4ML_STORE, which is the default.
    folder : Path, optional
        Where bundles are kept; `cd4ml/follow/NAME@alias` in the user's cache by default. A start without
        network uses the last one, verified again.
    events_url : str, optional
        Where `cd4ml models events --listen` is, http://host:port. While its events come, the store is asked
        less often.
    poll_seconds : float
        Between two looks at the store when there are no events.
    on_swap : callable, optional
        Called with the new `Followed` and the one before (None at first), by the thread that swaps.
    on_problem : callable, optional
        Called with one line when something is wrong, once for each problem.
    keep : int
        Bundles that stay on disk, at least 2.
    smoke_rows : int
        Holdout rows that a new version must predict as it was judged before it is used; 0 asks none.
    any_contract : bool
        Also take a version that refuses what the one before took.
    timing : Timing, optional
        Clocks and randomness, for tests; `poll_seconds` goes first.

    Raises
    ------
    UsageError
        If the reference or the folder cannot be, or ONNX Runtime is not installed.
    """

    def __init__(  # noqa: PLR0913 - all but the first have defaults
        self,
        reference: str,
        *,
        store: str | Storage | None = None,
        folder: Path | str | None = None,
        events_url: str | None = None,
        poll_seconds: float = 5.0,
        on_swap: Callable[[Followed, Followed | None], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
        keep: int = 3,
        smoke_rows: int = 20,
        any_contract: bool = False,
        timing: Timing | None = None,
    ) -> None:
        name, alias = split_reference(reference)
        _need_runtime()
        self._smoke_rows, self._any_contract, self._process = smoke_rows, any_contract, os.getpid()
        shelf = BundleShelf(Path(folder) if folder else _cache() / f"{name}@{alias}", f"{name}@{alias}", keep)
        self._follower: AliasFollower[Bundle] = AliasFollower(
            _registry(store),
            f"{name}@{alias}",
            shelf,
            self._prepare,
            timing=_timing(timing, poll_seconds),
            events_url=events_address(events_url, name),
            on_swap=_told(on_swap),
            on_problem=on_problem,
        )

    def __enter__(self) -> ModelFollower:
        """Start; see `AliasFollower.start`."""
        self._follower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predict(self, rows: Rows) -> FollowedAnswer:
        """Return the outputs for rows, or for columns, as a caller sends them; see the contract.

        Parameters
        ----------
        rows : sequence of mappings, or mapping of sequences
            Rows as from JSON, or field -> values of all rows (lists or arrays).

        Raises
        ------
        DataError
            Naming row and field, what is allowed and what was found.
        UsageError
            If the follower was opened before this process was forked off.
        """
        if os.getpid() != self._process:
            raise UsageError("a follower does not survive a fork; open it in the process that predicts")
        held = self._follower.current  # read once: what is swapped meanwhile does not matter
        return FollowedAnswer(_predict(held.loaded, rows), held.version, held.bundle)

    @property
    def current(self) -> Followed:
        """What answers now."""
        return Followed.of(self._follower.current)

    @property
    def previous(self) -> Followed | None:
        """What `go_back` would use; None when there is nothing."""
        held = self._follower.previous
        return None if held is None else Followed.of(held)

    def go_back(self, reason: str) -> Followed:
        """Use the previous version, whatever the alias names, until `resume`; also after a restart."""
        return Followed.of(self._follower.go_back(reason))

    def resume(self) -> None:
        """Follow the alias again."""
        self._follower.resume()

    def status(self) -> FollowStatus:
        """Return how the follower is: versions, staleness, what is wrong."""
        return self._follower.status()

    def close(self) -> None:
        """End the threads; predictions go on working with the version in use."""
        self._follower.close()

    def _prepare(self, folder: Path, old: Bundle | None) -> Bundle:
        from cd4ml.models.runtime import Bundle

        new = Bundle.load(folder)
        if old is not None and not self._any_contract:
            refuse_other_contract(old.contract, new.contract, new.problem)
        if self._smoke_rows > 0:
            _smoke(new, self._smoke_rows)
        return new


class FolderFollower:
    """Keeps `folder/current` a link to the newest verified bundle that an alias names, for other programs.

    The bundle is verified and its contract compared, as by `ModelFollower`; the model is not loaded, so that
    the base installation is enough. Parameters are those of `ModelFollower`.
    """

    def __init__(
        self,
        reference: str,
        folder: Path,
        *,
        store: str | Storage | None = None,
        events_url: str | None = None,
        poll_seconds: float = 5.0,
        on_swap: Callable[[Followed, Followed | None], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        name, alias = split_reference(reference)
        self._shelf, self._said = BundleShelf(folder, f"{name}@{alias}"), _told(on_swap)
        self._follower: AliasFollower[_Folder] = AliasFollower(
            _registry(store),
            f"{name}@{alias}",
            self._shelf,
            _checked_folder,
            timing=_timing(None, poll_seconds),
            events_url=events_address(events_url, name),
            on_swap=self._point,
            on_problem=on_problem,
        )

    def __enter__(self) -> FolderFollower:
        """Start; see `AliasFollower.start`."""
        self._follower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follower.close()

    def check(self) -> None:
        """Raise what keeps the alias from being followed, if anything does."""
        self._follower.check()

    @property
    def current(self) -> Followed:
        """What the link names."""
        return Followed.of(self._follower.current)

    def status(self) -> FollowStatus:
        """Return how the follower is."""
        return self._follower.status()

    def _point(self, new: Held[_Folder], old: Held[_Folder] | None) -> None:
        self._shelf.point(new.bundle)
        if self._said is not None:
            self._said(new, old)


@dataclass(frozen=True)
class _Folder:
    """A verified bundle that is not loaded."""

    path: Path
    contract: Mapping[str, Any]


def refuse_other_contract(old: Mapping[str, Any], new: Mapping[str, Any], problem: Problem) -> None:
    """Raise IntegrityError when callers of the first contract may not call the second.

    Parameters
    ----------
    problem : Problem
        Of the second: values that it allows and that training saw no more do not count.
    """
    changes = schema_changes(old, new, declared_values(problem))
    broken = [change.detail for change in changes if not change.backward and not change.learnt]
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise IntegrityError(
            f"it breaks callers of the version before: {'; '.join(broken[:3])}{more}. Move the alias to one"
            " that takes what was taken, or change the caller and allow any contract"
        )


def events_address(url: str | None, name: str) -> str | None:
    """Return where the events of a model are, given a server's address or that of the events themselves."""
    if not url:
        return None
    if not urlsplit(url).path.strip("/"):
        return f"{url.rstrip('/')}/models/{quote(name)}/events"
    return url


def _need_runtime() -> None:
    """Say now, and not at each attempt in a thread, that nothing can be loaded here."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"predicting needs ONNX Runtime ({error}); install it with: pip install 'cd4ml[serve]'"
        ) from error


def _checked_folder(folder: Path, old: _Folder | None) -> _Folder:
    try:
        contract = json.loads((folder / "contract.json").read_bytes())
        problem = Problem.model_validate_json((folder / "problem.json").read_bytes())
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise IntegrityError(f"bundle '{folder.name[:12]}' cannot be read: {line}") from error
    if old is not None:
        refuse_other_contract(old.contract, contract, problem)
    return _Folder(folder, contract)


def _smoke(bundle: Bundle, rows: int) -> None:
    """Let a bundle predict some of its own holdout rows; raise IntegrityError when one is not as judged."""
    import numpy as np

    from cd4ml.models.endpoint import TOLERANCE
    from cd4ml.models.runtime import holdout_rows

    asked = holdout_rows(bundle.folder)[: min(rows, int(bundle.contract["max_rows"]))]
    for output, found in bundle.predict_rows(asked).items():
        path = bundle.folder / "holdout" / f"{output}.npy"
        judged = np.load(path, allow_pickle=False)[: len(asked)].astype(np.float64)
        apart = np.abs(found - judged) / np.maximum(1.0, np.abs(judged))
        if not (apart <= TOLERANCE).all():  # NaN is wrong too
            row = int(np.flatnonzero(~(apart <= TOLERANCE))[0])
            raise IntegrityError(
                f"it does not predict here what was judged: {output} of holdout row {row} was"
                f" {judged[row]:.9g} and is {found[row]:.9g}. Compare the libraries with versions.json"
            )


def _predict(bundle: Bundle, rows: Rows) -> dict[str, FloatArray]:
    if not isinstance(rows, Mapping):
        return bundle.predict_rows(rows)
    from cd4ml.models.rows import columns_from_lists

    lists = {name: values.tolist() if hasattr(values, "tolist") else values for name, values in rows.items()}
    counts = {len(values) for values in lists.values()}
    if len(counts) != 1:
        raise UsageError(f"columns must have one length; found {sorted(counts) or 'no column'}")
    return bundle.outputs(columns_from_lists(bundle.contract, lists, counts.pop()))


def _registry(store: str | Storage | None) -> Registry:
    return Registry(open_store(store) if store is None or isinstance(store, str) else store)


def _timing(given: Timing | None, poll_seconds: float) -> Timing:
    if not poll_seconds > 0:
        raise UsageError(f"expected more than 0 seconds between two looks; found {poll_seconds:g}")
    return replace(given or Timing(), poll_seconds=poll_seconds)


def _told(
    callback: Callable[[Followed, Followed | None], None] | None,
) -> Callable[[Held[Any], Held[Any] | None], None] | None:
    """Return a callback of what is held, for one of what is told."""
    if callback is None:
        return None
    return lambda new, old: callback(Followed.of(new), None if old is None else Followed.of(old))


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cd4ml" / "follow"
