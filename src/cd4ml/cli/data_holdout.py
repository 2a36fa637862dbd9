"""`cd4ml data holdout`: how often a holdout was looked at, and a fresh one in its place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.audit import say_unsigned
from cd4ml.cli.console import emit, note
from cd4ml.cli.table import table
from cd4ml.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.ledger import Holdout, Ledger

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The holdout: looks at it, its budget, a fresh one."
)

Store = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix; CD4ML_STORE by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


@app.command()
def show(
    problem: Annotated[str, typer.Argument(metavar="[PROBLEM]", help="The name of a problem.")] = "",
    holdout: Annotated[
        str, typer.Option(metavar="ID", help="Show the looks at this one; the newest by default.")
    ] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Show the holdouts, how often each was looked at, by whom, and what was decided.

    Example: cd4ml data holdout show bike-demand
    """
    from cd4ml.adapters.ledger import Ledger
    from cd4ml.adapters.storage import open_store

    ledger = Ledger(open_store(store or None))
    found = [_facts(ledger, one) for one in ledger.holdouts()]
    if problem:
        found = [one for one in found if problem in one["problems"]]
    if holdout:
        chosen = ledger.get(holdout).id
        found = [one for one in found if one["holdout"] == chosen]
    if not found:
        nothing = "no holdout was looked at yet; the first run of a problem does"
        if problem or holdout:
            raise NotFoundError(f"{nothing.replace('no holdout', f'no holdout of {problem or holdout!r}')}")
        emit([], as_json, [nothing])
        return
    emit(found, as_json, _lines(found))


@app.command()
def refresh(
    problem: Annotated[str, typer.Argument(help="A shipped name, a path or a URL.", metavar="PROBLEM")],
    data: Annotated[
        str, typer.Option(help="Folder or URL of newer sources; the latest snapshot by default.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    by: Annotated[str, typer.Option(help="Who; CD4ML_ACTOR or the user by default.")] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Let a fresh holdout take the place of a spent one.

    Exit code 3 says that it is the same one, or shares so many rows with holdouts that were looked at that
    its budget is spent already: then bring newer data, or change the split.

    Example: cd4ml data holdout refresh bike-demand --data newer --reason "a new quarter"
    """
    from cd4ml.adapters.problem_files import load
    from cd4ml.steps.ledger import refresh_holdout

    if not reason.strip():
        raise UsageError("a fresh holdout needs a --reason; it is kept in the audit log")
    found = load(problem)
    with _snapshot(problem, found.name, data, store) as folder:
        value = refresh_holdout(found, folder, store, reason, by)
    say_unsigned()
    place = f" in place of {value['in_place_of'][:12]}" if value["in_place_of"] else ""
    said = (
        f"{found.name}: holdout {value['holdout'][:12]}{place}, {value['rows']} rows, {value['looks']:.4g} of"
        f" {value['budget']['max_looks']} looks spent"
    )
    emit(value, as_json, [said])


@contextmanager
def _snapshot(problem: str, name: str, data: str, store: str) -> Iterator[Path]:
    """Yield the folder of a new snapshot of `data`, or of the latest one in the store."""
    from cd4ml.adapters.problem_files import dumps, load
    from cd4ml.adapters.storage import atomic, open_store
    from cd4ml.steps.snapshot import take_snapshot
    from cd4ml.tables.history import SnapshotHistory

    with tempfile.TemporaryDirectory(prefix="cd4ml-") as scratch:
        folder = Path(scratch) / "snapshot"
        if data:
            atomic.write_text(Path(scratch) / "problem.json", dumps(load(problem)))
            take_snapshot(Path(scratch) / "problem.json", data, store, folder, Path(scratch) / "profile.html")
        else:
            history = SnapshotHistory(open_store(store or None))
            note(f"using the latest snapshot of {name}; --data takes a new one")
            history.fetch(history.resolve(name), folder)
        yield folder


def _facts(ledger: Ledger, holdout: Holdout) -> dict[str, Any]:
    """Return what is known of a holdout and the looks at it."""
    from cd4ml.domain.holdout_budget import HoldoutUse, budget_of
    from cd4ml.problem import HoldoutBudget

    looks = ledger.looks(holdout.id)
    last = next(reversed(looks.values()), None)
    told = {"warn_looks": last.warn_looks or None, "max_looks": last.max_looks or None} if last else {}
    budget = budget_of(HoldoutBudget.model_validate(told), holdout.size)
    use = HoldoutUse(holdout.id, holdout.size, *ledger.counts(holdout), budget)
    return {
        **use.to_dict(),
        "problems": sorted({holdout.problem, *(look.problem for look in looks.values())}),
        "rows": holdout.rows,
        "first": holdout.first,
        "last": holdout.last,
        "opened": holdout.opened,
        "seen": [look.to_dict() for look in looks.values()],
    }


def _lines(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [
        (
            one["holdout"][:12],
            ", ".join(one["problems"]),
            one["rows"],
            one["first"],
            one["last"],
            one["own"],
            one["inherited"],
            one["budget"]["warn_looks"],
            one["budget"]["max_looks"],
            one["worst_case_bias"],
        )
        for one in found
    ]
    headers = (
        "holdout",
        "problems",
        "rows",
        "first",
        "last",
        "looks",
        "inherited",
        "warns",
        "refuses",
        "bias",
    )
    yield from table(headers, rows)
    newest = found[-1]
    if newest["seen"]:
        yield ""
        yield f"looks at {newest['holdout'][:12]}:"
        names = ("at", "by", "problem", "decision")
        seen = [
            [*(one[name] for name in names), one["git_commit"][:12], one["model"][:12], one["bundle"][:12]]
            for one in newest["seen"]
        ]
        yield from table((*names, "commit", "model", "bundle"), seen)
