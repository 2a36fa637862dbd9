"""`cd4ml data simulate`: a shop to practise on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.console import emit
from cd4ml.errors import UsageError

__all__ = ["simulate"]


def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the six files; made where it is missing.")],
    rows: Annotated[int, typer.Option(help="Rows of train.csv, exactly.")] = 200_000,
    days: Annotated[int, typer.Option(help="Days, the last of which is 2017-08-15; 28 to 1688.")] = 730,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="What to plant: better-regime, bias, contract-breach, drift, stockouts or worse-regime. "
            "Repeatable."
        ),
    ] = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Print the error that no forecast can beat.")
    ] = False,
    truth: Annotated[
        bool, typer.Option("--truth", help="Write what is true of the shop to truth.json beside the files.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, the irreducible errors among it.")
    ] = False,
) -> None:
    """Write a made-up shop as the six tables of Corporación Favorita.

    The tables are laid out as Kaggle hands them out. They come from a known process, so that it is known what
    a forecast can reach and what each scenario did.

    Example: cd4ml data simulate --rows 200000 --days 730 --out shop --seed 1 --scenario drift --oracle
    """
    from cd4ml.adapters.storage.atomic import write_json
    from cd4ml.domain.shop import ShopSpec
    from cd4ml.tables.simulate import write_shop

    spec = ShopSpec(rows=rows, days=days, seed=seed, scenarios=tuple(scenario or ()))
    if out.exists() and not out.is_dir():
        raise UsageError(f"expected a folder, found the file {out}: give another --out")
    with _progress() as report:
        summary = write_shop(spec, out, report)
    if truth:
        write_json(out / "truth.json", summary)
    emit(summary, as_json, _lines(summary, out, oracle))


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what draws a bar on stderr, or None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(summary: dict[str, Any], out: Path, oracle: bool) -> Iterator[str]:
    """Return what people read; the last line says where the files lie."""
    yield (
        f"{summary['rows']} rows of {summary['entities']} store-items ({summary['stores']} stores, "
        f"{summary['items']} items), {summary['first_date']} to {summary['last_date']}, "
        f"seed {summary['seed']}"
    )
    for name, planted in summary["scenarios"].items():
        facts = ", ".join(f"{key} {value}" for key, value in planted.items() if not isinstance(value, dict))
        yield f"planted {name}: {facts}"
    if oracle:
        for window, kinds in summary["irreducible_error"].items():
            for kind, errors in kinds.items():
                numbers = ", ".join(f"{metric} {value:.4f}" for metric, value in errors.items())
                yield f"no forecast beats, {window.replace('_', ' ')}, {kind} rows: {numbers}"
    yield f"{', '.join(summary['files'])} are in {out}"
