"""Bring a compiled pipeline to a Kubeflow server under the name of its commit, and follow its run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cd4ml.adapters.git import Git, describe
from cd4ml.adapters.kubeflow.compiled import check_arguments, documents, parameters
from cd4ml.adapters.kubeflow.remote import Order, Run
from cd4ml.adapters.kubeflow.remote_client import Server
from cd4ml.adapters.kubeflow.remote_versions import publish, version_name
from cd4ml.adapters.kubeflow.remote_wait import conclude, wait
from cd4ml.errors import UsageError

__all__ = ["Wish", "check", "follow", "named_for_branch", "place"]


@dataclass(frozen=True)
class Wish:
    """What somebody wants to have run.

    Attributes
    ----------
    package : Path
        The compiled YAML; its name, such as `training`, is part of the run's name.
    arguments : mapping of str to JSON value
        Of the pipeline. `git_commit` and `git_branch` are filled in where the pipeline has them.
    experiment : str
        "" for one a branch: `cd4ml/BRANCH`.
    name : str
        Of the run or the schedule; "" for one made of pipeline, problem and version.
    commit, branch : str
        "" for those of the git repository in the working directory.
    """

    package: Path
    arguments: Mapping[str, object]
    experiment: str = ""
    name: str = ""
    service_account: str = ""
    commit: str = ""
    branch: str = ""
    allow_dirty: bool = False


def check(wish: Wish, folder: Path | None = None) -> tuple[str, Git]:
    """Hold a wish against its pipeline and the repository; return the version's name and the commit.

    Nothing is sent before this has passed.

    Raises
    ------
    UsageError
        When the arguments are not the pipeline's, or the commit is none, or not all is committed.
    SourceError
        When the package is no compiled pipeline.
    """
    check_arguments(documents(wish.package)[0], wish.arguments)
    found = describe(folder or Path.cwd())
    if wish.commit:
        if not re.fullmatch(r"[0-9a-f]{7,64}", wish.commit):
            raise UsageError(f"a commit is 7 to 64 hexadecimal digits; got '{wish.commit}'")
        here = found.commit.startswith(wish.commit)
        found = replace(found, commit=wish.commit, dirty=found.dirty and here)
    if wish.branch:
        found = replace(found, branch=wish.branch)
    return version_name(wish.package, found, wish.allow_dirty), found


def place(server: Server, wish: Wish, folder: Path | None = None) -> Order:
    """Upload the pipeline's version, unless the server has it; return what is to be run.

    Raises
    ------
    UsageError, SourceError
        As `check`; and when the server has that version with other content, or refuses it.
    ServiceError
        When the server cannot be reached, refuses the caller or fails.
    """
    name, git = check(wish, folder)
    told = {"commit": git.commit, "branch": git.branch}
    version = publish(server, wish.package, name, ", ".join(f"{k} {v}" for k, v in told.items() if v))
    known = parameters(documents(wish.package)[0])
    lineage = {"git_commit": git.commit, "git_branch": git.branch}
    filled = {key: value for key, value in lineage.items() if key in known and value}
    what = f"-{wish.arguments['problem']}" if wish.arguments.get("problem") else ""
    return Order(
        version=version,
        arguments={**filled, **wish.arguments},
        experiment=wish.experiment or (f"cd4ml/{git.branch}" if git.branch else "cd4ml"),
        name=wish.name or f"{wish.package.stem}{what}-{name[:12]}",
        service_account=wish.service_account,
    )


def named_for_branch(wish: Wish, branch: str) -> Wish:
    """Return the wish with a name that stays from commit to commit, as a schedule needs it."""
    parts = [wish.package.stem, str(wish.arguments.get("problem", "")), branch]
    return wish if wish.name else replace(wish, name="-".join(part for part in parts if part))


def follow(
    server: Server,
    run: Run,
    report: Callable[[Run], None],
    tell: Callable[[str], None],
    pipeline: Mapping[str, Any] | None = None,
    *,
    timeout_seconds: float = 0.0,
    poll_seconds: float = 5.0,
) -> Run:
    """Wait for a run's end and return it; when it is no success, tell the failed task's log and raise.

    Raises
    ------
    GateRejected, DataError, RolledBack, UsageError, ServiceError, Cd4mlError
        What the failed task raised, as far as its log or the server says so.
    TimedOut
        When the run has not ended in time.
    """
    ended = wait(server, run.run_id, report, timeout_seconds, poll_seconds)
    found = conclude(server, ended, pipeline)
    if found is None:
        return ended
    if found.log:
        tell(f"--- end of the log of task {found.task}")
        tell(found.log)
        tell("---")
    raise found.error
