"""`cd4ml outcomes`: what came true of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What came true of predictions: rollouts are judged by it.",
)


@app.callback()
def _noun() -> None:
    """Keep `add` a command of its own."""


@app.command()
def add(
    service: Annotated[str, typer.Option(help="The service that made the predictions.")],
    data: Annotated[
        Path, typer.Option(help="CSV or .jsonl: `actual`, and `id` with `row`, or inputs as they were sent.")
    ],
    state: Annotated[Path, typer.Option("--state", help="The folder of the plane.")] = Path(".cd4ml/serve"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Add outcomes to the log of a service. The same file again changes nothing.

    Example: cd4ml outcomes add --service bike-demand --data actuals.csv
    """
    from cd4ml.steps.outcomes import add_outcomes

    added = add_outcomes(state, service, data)
    lines = [f"{added.outcomes} outcomes added from {added.rows} rows"]
    if added.unmatched:
        lines.append(
            f"{added.unmatched} rows are of inputs that nobody asked for yet; add the file again later"
        )
    emit(vars(added), as_json, lines)
