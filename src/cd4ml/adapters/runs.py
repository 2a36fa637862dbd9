"""Records of runs: what was run on which data and commit, and what came out."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from cd4ml.adapters.differences import Difference, differences
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import encode, read_document, read_documents
from cd4ml.errors import NotFoundError, UsageError, nearest

__all__ = ["Run", "RunStore", "TrendPoint", "new_run_id"]

LATEST = "latest"
Records = list[dict[str, Any]]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALWAYS_DIFFER = {"id", "started", "ended", "seconds", "report"}


class Run(TypedDict, total=False):
    """One run as it is stored; all but `id` may be missing.

    `started` and `ended` are UTC in ISO 8601, `seconds` the time between them; `metrics` are those of
    metrics.json; `snapshot` and `bundle` are ids; `git` has commit, branch and dirty; `changed` says what
    differs from the run before; `report` is where the page is.
    """

    id: str
    problem: str
    started: str
    ended: str
    seconds: float
    decision: str
    metrics: dict[str, Any]
    candidates: Any
    snapshot: str
    bundle: str
    git: dict[str, Any]
    parameters: dict[str, Any]
    changed: Any
    report: str
    seed: int


@dataclass(frozen=True)
class TrendPoint:
    """A metric of one run, with its confidence interval where it was measured.

    Attributes
    ----------
    id, time, commit, branch : str
        The run, when it started (UTC, ISO 8601), and its commit.
    estimate, low, high : float or None
        In the metric's unit.
    """

    id: str
    time: str
    commit: str
    branch: str
    estimate: float
    low: float | None
    high: float | None


def new_run_id(started: datetime) -> str:
    """Return an id that nobody has and that sorts by time, such as 20260131T120000Z-1f2e3d4c."""
    return f"{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


class RunStore:
    """Run records in a store, one document each."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def save(self, run: Run | Mapping[str, Any]) -> str:
        """Write a run's record, whole; one of the same id is replaced. Return its id."""
        identity = str(run.get("id", ""))
        if not _ID.fullmatch(identity) or identity == LATEST:
            raise UsageError(
                f"a run's id must be letters, digits, '.', '_' or '-', and not '{LATEST}'; got {identity!r}."
                " new_run_id makes one"
            )
        self.storage.put(_key(identity), encode(dict(run)))
        return identity

    def list(
        self, problem: str | None = None, branch: str | None = None, limit: int | None = None
    ) -> Records:
        """Return the records of a problem and a branch (None: of all), the newest first, `limit` at most."""
        found = read_documents(self.storage, [_key(identity) for identity in self._ids()])
        chosen = [
            run
            for run in found
            if problem in {None, run.get("problem")} and branch in {None, _git(run).get("branch")}
        ]
        chosen.sort(key=lambda run: (str(run.get("started", "")), str(run.get("id", ""))), reverse=True)
        return chosen[:limit]

    def get(self, ref: str = LATEST) -> dict[str, Any]:
        """Return the record with this id, with an id that starts so and no other, or the "latest" one.

        "latest@trial" is the latest of the git branch "trial".
        """
        word, at, branch = ref.partition("@")
        if word == LATEST and (branch or not at):
            return self._newest(branch)
        ids = self._ids()
        alike = [identity for identity in ids if identity == ref] or [
            identity for identity in ids if ref and identity.startswith(ref)
        ]
        if not alike:
            raise NotFoundError(
                f"there is no run '{ref}' among {len(ids)}{nearest(ref, ids)}; 'cd4ml runs list' shows them"
            )
        if len(alike) > 1:
            raise UsageError(
                f"'{ref}' is the start of {len(alike)} runs, such as {alike[0]} and {alike[1]};"
                " give more of it"
            )
        return read_document(self.storage, _key(alike[0]))

    def _newest(self, branch: str) -> dict[str, Any]:
        newest = self.list(branch=branch or None, limit=1)
        if newest:
            return newest[0]
        branches = {str(_git(run).get("branch") or "") for run in self.list()} - {""}
        if branch and branches:
            known = nearest(branch, branches) or f"; there are runs of {', '.join(sorted(branches))}"
            raise NotFoundError(f"there are no runs of the branch '{branch}'{known}")
        raise NotFoundError("there are no runs yet; make one with 'cd4ml run PROBLEM'")

    def compare(self, refs: Sequence[str]) -> Sequence[Difference]:
        """Return what differs between runs, sorted by name; not what always differs (id, times, report).

        Parameters
        ----------
        refs : sequence of str
            At least two, as `get` takes them; the values stand in their order.
        """
        if len(refs) < 2:
            raise UsageError(f"comparing takes two runs or more; got {len(refs)}")
        return differences([self.get(ref) for ref in refs], leave_out=_ALWAYS_DIFFER)

    def trend(self, metric: str, problem: str, branch: str | None = None) -> Sequence[TrendPoint]:
        """Return a holdout metric of every run of `problem` that has it, the oldest first.

        Parameters
        ----------
        metric, problem : str
        branch : str, optional
            Only runs of this git branch.

        Raises
        ------
        NotFoundError
            If there is no such run, or none has the metric; the nearest name is suggested.
        """
        runs = self.list(problem, branch)
        if not runs:
            known_problems = {str(run.get("problem")) for run in self.list()}
            of = f"'{problem}'" + (f" on the branch '{branch}'" if branch else "")
            raise NotFoundError(
                f"there are no runs of {of}; 'cd4ml runs list' shows what there is"
                f"{nearest(problem, known_problems - {problem})}"
            )
        points = [point for run in reversed(runs) if (point := _point(run, metric))]
        if not points:
            known = {name for run in runs for name in _holdout(run)}
            what = f"they have {', '.join(sorted(known))}" if known else "they have none at all"
            raise NotFoundError(
                f"none of {len(runs)} runs of '{problem}' has the metric '{metric}'; {what}"
                f"{nearest(metric, known)}"
            )
        return points

    def _ids(self) -> Sequence[str]:
        keys = self.storage.list("runs/")
        return [key.removeprefix("runs/").removesuffix(".json") for key in keys if key.endswith(".json")]


def _key(identity: str) -> str:
    return f"runs/{identity}.json"


def _git(run: Mapping[str, Any]) -> Mapping[str, Any]:
    git = run.get("git")
    return git if isinstance(git, Mapping) else {}


def _holdout(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the holdout's metrics, also of a record that has nothing around them."""
    metrics = run.get("metrics")
    if not isinstance(metrics, Mapping):
        return {}
    holdout = metrics.get("holdout", metrics)
    return holdout if isinstance(holdout, Mapping) else {}


def _point(run: Mapping[str, Any], metric: str) -> TrendPoint | None:
    found = _holdout(run).get(metric)
    value = found if isinstance(found, Mapping) else {"estimate": found}
    estimate = value.get("estimate")
    if not isinstance(estimate, (int, float)):
        return None
    git = _git(run)
    return TrendPoint(
        str(run.get("id", "")),
        str(run.get("started", "")),
        str(git.get("commit", "")),
        str(git.get("branch", "")),
        float(estimate),
        value.get("low"),
        value.get("high"),
    )
