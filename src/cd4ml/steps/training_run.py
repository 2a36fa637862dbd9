"""The whole training pipeline on this machine: the compiled YAML, run task by task, its results gathered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import read
from cd4ml.steps.run_folder import BUNDLE, RunFolder

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow import LocalRun

__all__ = ["RunResult", "run_training"]


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes
    ----------
    unchanged : bool
        True when data, problem, code and lock were those of the last run here, and nothing was done.
    approval : str
        What became of the question to a person: not_needed, approved, rejected, expired, pending, or "" when
        nobody was asked since the model was rejected.
    """

    id: str
    decision: str
    unchanged: bool
    out: Path
    verdict: dict[str, Any]
    metrics: dict[str, Any]
    registered: dict[str, str]
    approval: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the result for machines."""
        return {
            "id": self.id,
            "decision": self.decision,
            "unchanged": self.unchanged,
            "report": str(self.out / "report.html"),
            "bundle": str(self.out / "bundle"),
            "registered": self.registered,
            "approval": self.approval,
            "metrics": self.metrics["holdout"],
            "gates": self.verdict["gates"],
            "changed": self.verdict["changed"],
            "seconds": self.seconds,
        }


def run_training(
    problem: str, data: str, out: Path, store: str, runner: str, note: Callable[[str], None]
) -> RunResult:
    """Run the compiled training pipeline and put its results under `out`.

    The same data, problem, code and lock as the last run in `out` do no work. A run that was killed is
    taken up at the first task that had not finished.

    Parameters
    ----------
    problem, data, store : str
        A problem's name, path or URL; the sources; the store ("" for the default one).
    out : Path
        Gets bundle/ and the documents of `RunFolder`: verdict.json, metrics.json, bias.json, report.html, ...
    runner : str
        "subprocess" or "docker".
    note : callable
        Gets a line of progress at a time.
    """
    from cd4ml.adapters.problem_files import load
    from cd4ml.steps.fingerprint import hashes

    found = load(problem)
    arguments = {
        "problem": _absolute(problem),
        "data": _absolute(data),
        "store": _absolute(_store(store)),
    }
    folder = RunFolder(out)
    with folder.alone():
        depends = hashes(found, arguments["data"]) | {"store": arguments["store"], "runner": runner}
        before = folder.state()
        same = before is not None and {**before["depends"], **depends} == before["depends"]
        if before and same and folder.whole(before):
            return _result(out, before, unchanged=True)
        arguments |= {"previous": json.dumps(before["depends"], sort_keys=True) if before else "", **_git()}
        return _result(out, _run(found.name, folder, arguments, depends, note), unchanged=False)


def _run(
    name: str,
    folder: RunFolder,
    arguments: dict[str, str],
    depends: dict[str, str],
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Run the pipeline, gather its results and record the run in the store, then in the folder."""
    from cd4ml.adapters.kubeflow import package, run_local
    from cd4ml.adapters.runs import RunStore, new_run_id
    from cd4ml.adapters.storage import open_store

    now = datetime.now(UTC)
    identity, started = folder.begin(depends, new_run_id(now), now)
    run = run_local(package("training"), arguments, folder.work, runner=depends["runner"], log=note)
    folder.gather(run.path("package", "bundle"), _documents(run))
    record = _record(name, folder.path, arguments) | {
        "id": identity,
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 1),
    }
    RunStore(open_store(arguments["store"])).save(record)
    state = {
        "id": identity,
        "depends": depends | {"model": read(folder.path / "verdict.json")["subject"]["model"]},
        "registered": run.parameters("register"),
        "approval": str(run.parameters("await-approval").get("Output", "")),
        "seconds": record["seconds"],
    }
    folder.finish(state)
    return state


def _documents(run: LocalRun) -> dict[str, Path]:
    """Return what users read, by the name that it gets; a rejected model has no page for an approver."""
    evaluation = run.path("score", "evaluation")
    found = {
        "verdict.json": run.path("judge-model", "verdict"),
        "verdict.md": run.path("judge-model", "markdown"),
        "metrics.json": evaluation / "metrics.json",
        "bias.json": run.path("check-bias", "bias") / "bias.json",
        "explanations.json": run.path("explain-model", "explanations") / "explanations.json",
        "ratchet.json": run.path("judge-model", "ratchet"),
        "report.html": run.path("report", "report"),
        "card.html": run.path("report", "card"),
        "slices.html": run.path("explore-slices", "page"),
        "profile.html": run.path("snapshot", "profile"),
    }
    if run.parameters("register"):
        found["approval.html"] = run.path("approval-page", "page")
    return found


def _absolute(reference: str) -> str:
    """Return a path as an absolute one, since tasks run elsewhere; URLs and shipped names as they are."""
    if not reference or "://" in reference or not Path(reference).exists():
        return reference
    return str(Path(reference).resolve())


def _store(asked: str) -> str:
    """Return the store, the default one for "", made now: tasks run elsewhere and need an absolute path."""
    from cd4ml.adapters.storage import DEFAULT_STORE

    url = asked or os.environ.get("CD4ML_STORE") or DEFAULT_STORE
    if "://" not in url:
        with suppress(OSError):  # the store says what is wrong with it
            Path(url).mkdir(parents=True, exist_ok=True)
    return url


def _git() -> dict[str, str]:
    from cd4ml.adapters.git import describe

    found = describe(Path.cwd())
    return {"git_commit": found.commit + ("+changes" if found.dirty else ""), "git_branch": found.branch}


def _record(name: str, out: Path, arguments: dict[str, str]) -> dict[str, Any]:
    """Return what the list of runs says of a run, but for its id and times."""
    from cd4ml.adapters.git import commit_time

    verdict, metrics = read(out / "verdict.json"), read(out / "metrics.json")
    commit, _, dirty = arguments["git_commit"].partition("+")
    return {
        "problem": name,
        "decision": verdict["decision"],
        "metrics": metrics["holdout"],
        "candidates": metrics["candidates"],
        "snapshot": verdict["subject"]["snapshot"],
        "bundle": verdict["subject"]["bundle"],
        "git": {
            "commit": commit,
            "branch": arguments["git_branch"],
            "dirty": bool(dirty),
            "committed": commit_time(Path.cwd(), commit),
        },
        "parameters": read(out / BUNDLE / "lineage.json").get("parameters", {}),
        "changed": verdict["changed"],
        "report": str((out / "report.html").resolve()),
    }


def _result(out: Path, state: dict[str, Any], unchanged: bool) -> RunResult:
    verdict, metrics = read(out / "verdict.json"), read(out / "metrics.json")
    return RunResult(
        id=state["id"],
        decision=verdict["decision"],
        unchanged=unchanged,
        out=out,
        verdict=verdict,
        metrics=metrics,
        registered=state["registered"],
        approval=state.get("approval", ""),
        seconds=state["seconds"],
    )
