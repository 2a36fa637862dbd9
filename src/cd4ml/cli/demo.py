"""`cd4ml demo`: the whole story on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.errors import Cd4mlError

__all__ = ["command"]


def command(
    seed: Annotated[int, typer.Option(min=0, help="Of the shop, the fits and the callers.")] = 7,
    out: Annotated[Path, typer.Option(help="The folder for all that is made.")] = Path("out/demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the gateway and the models running.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Two rollouts in place of four.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Train, serve and roll out: a better model takes over, three bad ones are stopped.

    A shop is simulated, callers ask for forecasts, and a controller decides by evidence. One page tells the
    story. Exit code 1: a decision was not the expected one.

    Example: cd4ml demo --seed 1 --out out/demo
    """
    from cd4ml.steps.demo import Settings, run_demo

    story = run_demo(Settings(out, seed, keep, quick), note)
    page = out / "index.html"
    lines = [f"{one.name:8} {one.phase:12} {'; '.join(one.history[-1]['reasons'])}" for one in story.rollouts]
    lines.append(f"Timeline: {page} ({story.seconds:.0f} s)")
    if keep:
        lines.append(f"It goes on; `cd4ml serve stop --state {out / 'serve'}` ends it")
    differs = story.differs
    summary = {
        "seed": seed,
        "seconds": round(story.seconds, 1),
        "page": str(page),
        "decisions": {one.name: one.phase for one in story.rollouts},
        "differs": list(differs),
    }
    emit(summary, as_json, lines)
    if differs:
        raise Cd4mlError(f"not what was expected: {'; '.join(differs)}")
