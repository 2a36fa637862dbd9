"""The whole training pipeline on this machine: the compiled YAML, run task by task, its results gathered."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import UsageError
from cd4ml.steps.documents import read

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow import LocalRun

__all__ = ["RunResult", "run_training"]

STATE = "run.json"
WORK = ".pipeline"


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes
    ----------
    unchanged : bool
        True when data, problem, code and lock were those of the last run here, and nothing was done.
    """

    id: str
    decision: str
    unchanged: bool
    out: Path
    verdict: dict[str, Any]
    metrics: dict[str, Any]
    registered: dict[str, str]
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
        Gets verdict.json, metrics.json, bias.json, report.html, profile.html and bundle/.
    runner : str
        "subprocess" or "docker".
    note : callable
        Gets a line of progress at a time.
    """
    from cd4ml.adapters.problem_files import load
    from cd4ml.steps.fingerprint import hashes

    started = datetime.now(UTC)
    found = load(problem)
    arguments = {
        "problem": _absolute(problem),
        "data": _absolute(data),
        "store": _absolute(store or _store()),
    }
    _usable(out)
    with _alone(out):
        depends = hashes(found, arguments["data"]) | {"store": arguments["store"], "runner": runner}
        before = _state(out)
        same = before is not None and {**before["depends"], **depends} == before["depends"]
        if before and same and _whole(out, before["files"]):
            return _result(out, before, unchanged=True)
        arguments |= {"previous": json.dumps(before["depends"], sort_keys=True) if before else "", **_git()}
        run = _execute(arguments, out / WORK, runner, note)
        registered = _gather(run, out)
        state = _finish(found.name, out, arguments, depends, registered, started)
        return _result(out, state, unchanged=False)


def _execute(arguments: dict[str, str], root: Path, runner: str, note: Callable[[str], None]) -> LocalRun:
    from cd4ml.adapters.kubeflow import package, run_local

    return run_local(package("training"), arguments, root, runner=runner, log=note)


def _absolute(reference: str) -> str:
    """Return a path as an absolute one, since tasks run elsewhere; URLs and shipped names as they are."""
    if not reference or "://" in reference or not Path(reference).exists():
        return reference
    return str(Path(reference).resolve())


def _store() -> str:
    """Return the default store, made now: tasks run elsewhere and need an absolute path."""
    from cd4ml.adapters.storage import DEFAULT_STORE

    url = os.environ.get("CD4ML_STORE") or DEFAULT_STORE
    if "://" not in url:
        Path(url).mkdir(parents=True, exist_ok=True)
    return url


def _git() -> dict[str, str]:
    from cd4ml.adapters.git import describe

    found = describe(Path.cwd())
    return {"git_commit": found.commit + ("+changes" if found.dirty else ""), "git_branch": found.branch}


def _usable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder; {out} is a file")
    # kfp rewrites this word inside of paths, and the outputs would be lost while the task says SUCCESS.
    if "python3" in str(out.resolve()):
        raise UsageError(
            f"--out must not contain the word python3; found {out.resolve()}. Choose another folder"
        )
    out.mkdir(parents=True, exist_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second run out of the same folder; the lock goes with the process that holds it."""
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another run is at work in {out}; wait for it or choose another --out"
            ) from None
        yield


def _state(out: Path) -> dict[str, Any] | None:
    path = out / STATE
    if not path.exists():
        return None
    found = read(path)
    return found if isinstance(found, dict) else None


def _whole(out: Path, files: dict[str, str]) -> bool:
    return all((out / name).is_file() and _sha256(out / name) == digest for name, digest in files.items())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gather(run: LocalRun, out: Path) -> dict[str, str]:
    """Copy what users read from the tasks' outputs; each file and the bundle is replaced as a whole."""
    from cd4ml.adapters.storage import atomic

    evaluation = run.path("score", "evaluation")
    files = {
        "verdict.json": run.path("judge", "verdict"),
        "verdict.md": run.path("judge", "markdown"),
        "metrics.json": evaluation / "metrics.json",
        "bias.json": evaluation / "bias.json",
        "report.html": run.path("report", "report"),
        "profile.html": run.path("snapshot", "profile"),
    }
    with atomic.directory(out / "bundle") as folder:
        shutil.copytree(run.path("package", "bundle"), folder, dirs_exist_ok=True)
    for name, source in files.items():
        atomic.write_bytes(out / name, source.read_bytes())
    return run.parameters("register")


def _finish(
    name: str,
    out: Path,
    arguments: dict[str, str],
    depends: dict[str, str],
    registered: dict[str, str],
    started: datetime,
) -> dict[str, Any]:
    """Record the run in the store, then here: the file whose presence says that a run is complete."""
    from cd4ml.adapters.runs import RunStore, new_run_id
    from cd4ml.adapters.storage import atomic, open_store

    ended = datetime.now(UTC)
    verdict, metrics = read(out / "verdict.json"), read(out / "metrics.json")
    identity = new_run_id(started)
    record = {
        "id": identity,
        "problem": name,
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 1),
        "decision": verdict["decision"],
        "metrics": metrics["holdout"],
        "candidates": metrics["candidates"],
        "snapshot": verdict["subject"]["snapshot"],
        "bundle": verdict["subject"]["bundle"],
        "git": {"commit": arguments["git_commit"], "branch": arguments["git_branch"]},
        "parameters": read(out / "bundle" / "lineage.json").get("parameters", {}),
        "changed": verdict["changed"],
        "report": str((out / "report.html").resolve()),
    }
    RunStore(open_store(arguments["store"])).save(record)
    files = {path.relative_to(out).as_posix(): _sha256(path) for path in _results(out)}
    depends = depends | {"model": verdict["subject"]["model"]}
    state = {
        "id": identity,
        "depends": depends,
        "files": files,
        "registered": registered,
        "seconds": record["seconds"],
    }
    atomic.write_json(out / STATE, state)
    return state


def _results(out: Path) -> list[Path]:
    names = ("verdict.json", "verdict.md", "metrics.json", "bias.json", "report.html", "profile.html")
    bundle = sorted(path for path in (out / "bundle").rglob("*") if path.is_file())
    return [out / name for name in names] + bundle


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
        seconds=state["seconds"],
    )
