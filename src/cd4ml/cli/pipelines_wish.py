"""The options of `cd4ml pipelines submit` and `schedule`, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow.remote_client import Server
    from cd4ml.problem.kubernetes import Kubernetes
    from cd4ml.steps.submit import Wish

__all__ = [
    "AllowDirty",
    "Branch",
    "Commit",
    "Experiment",
    "Host",
    "Image",
    "Json",
    "Name",
    "Namespace",
    "ProblemReference",
    "ServiceAccount",
    "Set",
    "file_of",
    "open_server",
    "settings_of",
    "wish",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Name = Annotated[
    str, typer.Argument(help="A name from `cd4ml pipelines list`, or the path of a compiled YAML file.")
]
Image = Annotated[
    str, typer.Option(help="Run all tasks in this image, pinned by version or digest; else the compiled one.")
]
ProblemReference = Annotated[
    str,
    typer.Option(
        "--problem",
        help="Apply the `kubernetes` settings of this problem (a name, a path or a URL), and run it.",
    ),
]
Host = Annotated[str, typer.Option(help="URL of the Kubeflow Pipelines API.", envvar="KFP_HOST")]
Namespace = Annotated[
    str, typer.Option(help="The profile's namespace; empty for a single user.", envvar="KFP_NAMESPACE")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE; repeat it.")]
Experiment = Annotated[str, typer.Option(help="The experiment's name; cd4ml/BRANCH by default.")]
ServiceAccount = Annotated[str, typer.Option(help="Kubernetes service account of the tasks.")]
Commit = Annotated[
    str,
    typer.Option(
        help="Name of the version; by default the commit that is checked out here.", envvar="CD4ML_COMMIT"
    ),
]
Branch = Annotated[
    str, typer.Option(help="By default the one that is checked out, or that CI tells.", envvar="CD4ML_BRANCH")
]
AllowDirty = Annotated[bool, typer.Option("--allow-dirty", help="Though not all is committed.")]


def open_server(host: str, namespace: str) -> Server:
    """Return the server that the options name; nothing is sent yet."""
    from cd4ml.adapters.kubeflow.remote_client import connect

    if not host:
        raise UsageError("expected the URL of the Kubeflow Pipelines API: give --host, or set KFP_HOST")
    return connect(host, namespace)


def file_of(name: str) -> Path:
    """Return the YAML of an installed pipeline, or the path that was given."""
    from cd4ml.adapters.kubeflow import package

    return Path(name) if name.endswith((".yaml", ".yml")) else package(name)


@contextmanager
def wish(
    pipeline: str,
    argument: list[str] | None,
    image: str,
    problem: str,
    /,
    *,
    runs: bool = True,
    **options: Any,
) -> Iterator[Wish]:
    """Yield what is to be run, with image and settings put into a copy of the compiled file.

    The problem whose settings are applied is the one that is run, unless an argument names another; `runs`
    is false where nothing is run.

    Raises
    ------
    UsageError
        When an argument is not NAME=VALUE, or none of the pipeline's.
    """
    from cd4ml.adapters.kubeflow.compiled import arguments_from_text, documents, parameters
    from cd4ml.adapters.kubeflow.task_settings import rendered
    from cd4ml.steps.submit import Wish

    file = file_of(pipeline)
    settings, told = settings_of(problem), _pairs(argument or [])
    if runs and problem:
        told = _with_problem(told, problem, parameters(documents(file)[0]))
    given = arguments_from_text(documents(file)[0], told)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_text(rendered(file, settings, image), encoding="utf-8")
        yield Wish(copy, given, **options)


def _with_problem(told: dict[str, str], problem: str, known: Mapping[str, Any]) -> dict[str, str]:
    from cd4ml.adapters.problem_files import shipped

    if "problem" in told or "problem" not in known:
        return told
    if problem not in shipped() and "://" not in problem:
        raise UsageError(
            f"tasks on a cluster cannot read the file {problem}; say where they find it: --set problem=URL"
        )
    return {**told, "problem": problem}


def settings_of(problem: str) -> Kubernetes | None:
    """Return what a problem says of the tasks on a cluster; None without a problem."""
    from cd4ml.adapters.problem_files import load

    return load(problem).kubernetes if problem else None


def _pairs(items: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise UsageError(f"--set takes NAME=VALUE; found '{item}'")
        if key in found:
            raise UsageError(f"--set gives '{key}' twice; give it once")
        found[key] = value
    return found
