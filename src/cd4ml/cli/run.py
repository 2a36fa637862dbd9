"""`cd4ml run`: data in, a judged and packaged model out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.errors import GateRejected

if TYPE_CHECKING:
    from cd4ml.steps.training_run import RunResult

__all__ = ["command"]

_SIGNS = {"pass": "+", "fail": "!", "warn": "~", "skipped": "-"}
_WORDS = {
    "accept": "ACCEPTED",
    "reject": "REJECTED",
    "needs_approval": "accepted by the gates, NEEDS APPROVAL by a person",
}


def command(
    problem: Annotated[str, typer.Argument(help="A shipped name, or the path or URL of a problem file.")],
    data: Annotated[str, typer.Option(help="Folder or URL (s3://, https://) of the sources.")],
    out: Annotated[Path, typer.Option(help="Folder for verdict, metrics, report and bundle.")] = Path("out"),
    store: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix; CD4ML_STORE by default.")] = "",
    runner: Annotated[str, typer.Option(help="subprocess, or docker for containers.")] = "subprocess",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Run the training pipeline here: snapshot, contract, features, search, judge, bundle, registry.

    The same compiled pipeline runs on Kubeflow. Exit code 0 means that the model was accepted, 3 that a gate
    rejected it, 4 that the data were refused. A run without a change does no work.

    Example: cd4ml run bike-demand --data data/bike --out out
    """
    from cd4ml.steps.training_run import run_training

    result = run_training(problem, data, out, store, runner, note)
    emit(result.to_dict(), as_json, _lines(result))
    if result.decision == "reject":
        failed = [
            gate
            for gate in result.verdict["gates"]
            if gate["status"] == "fail" or (gate["status"] == "skipped" and gate["required"])
        ]
        names, reason = ", ".join(gate["name"] for gate in failed), failed[0]["reason"]
        raise GateRejected(f"the model was rejected by {names}. {reason} See {out / 'report.html'}")


def _lines(result: RunResult) -> Iterator[str]:
    if result.unchanged:
        yield f"Nothing changed since run {result.id}: data, problem, code and libraries are the same."
    yield f"{result.verdict['model']}: {_WORDS[result.decision]}"
    for gate in result.verdict["gates"]:
        yield f"  {_SIGNS[gate['status']]} {gate['status']:7} {gate['name']:28} {gate['reason']}"
    for name, found in result.metrics["holdout"].items():
        span = "" if found["low"] is None else f"  [{found['low']:.4g}, {found['high']:.4g}]"
        yield f"  {name:20} {found['estimate']:.4g}{span}"
    if result.registered:
        version = f"{result.registered['name']}@{result.registered['version']}"
        yield f"Registered: {version}"
        if result.approval == "pending":
            yield f"Waiting for a person ({result.out / 'approval.html'} has what there is to know):"
            yield f"  cd4ml models approve {version}, or cd4ml models reject {version}"
    yield f"Report: {result.out / 'report.html'}"
    yield f"Slices: {result.out / 'slices.html'}"
    yield f"Bundle: {result.out / 'bundle'}"
