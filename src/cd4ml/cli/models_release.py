"""`cd4ml models release-check`: could each champion be released again now?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import open_registry
from cd4ml.cli.table import table
from cd4ml.errors import GateRejected, ServiceError, UsageError

if TYPE_CHECKING:
    from cd4ml.steps.release_check import ReleaseCheck

__all__ = ["release_check"]


def release_check(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME[@ALIAS]...]", help="Which; every champion when none is named."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Everything that has an alias, not champions alone.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds until a model must be ready.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Serve champions from the store alone, hold them against their holdout, and take them down again.

    Each goes to a new folder and new processes on this machine; nothing of an earlier run takes part. Exit
    code 3: one does not serve what was judged. 6: the store cannot be reached, or no gateway started.

    Example: cd4ml models release-check bike-demand
    """
    from cd4ml.steps.release_check import CHAMPION, check_release, release_exit_code, releases

    if models and every:
        raise UsageError("--all takes everything that has an alias; leave out the names, or --all")
    named = [_reference(model, CHAMPION) for model in models or ()]
    found = []
    for model, ref in releases(open_registry(), named, every):

        def tell(stage: str, label: str = f"{model}@{ref}") -> None:
            note(f"{label}: {stage}")

        found.append(check_release(model, ref, timeout_seconds=timeout, report=tell))
    code = release_exit_code(found)
    emit({"checks": [one.to_dict() for one in found], "exit_code": code}, as_json, _lines(found))
    if code:
        _raise(found, code)


def _reference(model: str, default: str) -> tuple[str, str]:
    name, separator, ref = model.partition("@")
    if not name or (separator and not ref):
        raise UsageError(f"expected NAME, NAME@ALIAS or NAME@3; got '{model}'")
    return name, ref or default


def _lines(found: Sequence[ReleaseCheck]) -> Iterator[str]:
    from cd4ml.steps.release_check import STAGES

    rows = [
        (
            f"{one.model}@{one.ref}",
            one.version,
            "ok" if one.passed else f"FAILED: {one.failed}",
            *(one.seconds.get(stage) for stage in STAGES),
            round(sum(one.seconds.values()), 1),
        )
        for one in found
    ]
    yield from table(("model", "version", "result", *(f"{stage} s" for stage in STAGES), "total s"), rows)
    for one in found:
        yield ""
        yield f"{one.model}@{one.ref}: {one.sentence if one.passed else one.reason}"


def _raise(found: Sequence[ReleaseCheck], code: int) -> None:
    failed = [one for one in found if not one.passed]
    names = ", ".join(f"{one.model}@{one.ref}" for one in failed)
    first = next(one for one in failed if one.exit_code == code)
    said = f"{len(failed)} of {len(found)} cannot be released again: {names}. {first.model}: {first.reason}"
    raise (GateRejected if code == GateRejected.exit_code else ServiceError)(said)
