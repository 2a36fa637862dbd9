"""The command `cd4ml`: a noun is imported when it is used, an error becomes one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

from cd4ml.cli.console import note
from cd4ml.errors import Cd4mlError

__all__ = ["NOUNS", "build", "main", "run"]

NOUNS = {
    "audit": "The log of decisions: list it, verify that no line was altered or removed.",
    "consumers": "What those who call a model rely on: draft, add, check.",
    "data": "Snapshots of the sources: take, check, compare, profile; the holdout; simulate a shop.",
    "demo": "See it all on one machine: a better model takes over, three bad ones are stopped.",
    "doctor": "What works on this machine or cluster, what does not, and the command that mends it.",
    "models": "Bundles and the registry: verify, publish, fetch, compare, approve, reproduce.",
    "outcomes": "What came true of predictions: add it, for rollouts to be judged by.",
    "page": "A page for people: a forecast, why, and what they decide.",
    "pipelines": "The compiled pipelines: list, export; on Kubeflow submit, schedule, follow, cancel.",
    "problem": "Problem files: check, draft one from a sample, print the schema.",
    "rollout": "Roll a new model out: shadow, canary, promoted or taken back by evidence.",
    "run": "Run the training pipeline here: data in, a judged and packaged model out.",
    "runs": "What was run: list, compare, trend; the time from commit to champion.",
    "serve": "Serve models here: a gateway with stable, canary and shadow.",
}
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""


def build(arguments: list[str]) -> typer.Typer:
    """Return the command with the nouns that occur among `arguments` imported, the others by name alone."""
    app = typer.Typer(
        add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_options)
    for noun, text in NOUNS.items():
        if noun not in arguments:
            app.command(noun, help=text)(_absent)
            continue
        module = importlib.import_module(f"cd4ml.cli.{noun}")
        if hasattr(module, "command"):
            app.command(noun)(module.command)
        else:
            app.add_typer(module.app, name=noun, help=text)
    return app


def _absent() -> None:
    raise AssertionError("a noun that was named is imported")


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Bring each change of code, data or model to its users, safely and quickly.

    Example: cd4ml run bike-demand --data data/bike --out out
    """
    if debug:
        os.environ["CD4ML_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        from cd4ml import __version__

        sys.stdout.write(f"cd4ml {__version__}\n")
        return 0
    try:
        build(arguments)(arguments, prog_name="cd4ml")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # Typer turns Ctrl-C into this code and an empty line
            note("stopped; nothing half-made is kept, and the same command goes on from what was done")
        return stop.code if isinstance(stop.code, int) else 0
    except Cd4mlError as error:
        return _failed(error, error.exit_code, "error")
    except Exception as error:  # the last line of defence: one line, never a traceback
        return _failed(error, 1, f"unexpected {type(error).__name__}")
    return 0


def _failed(error: Exception, code: int, word: str) -> int:
    if os.environ.get("CD4ML_DEBUG"):
        import traceback

        traceback.print_exception(error)
    hint = "" if word == "error" else ". `cd4ml --debug ...` shows where"
    note(f"{word}: {' '.join(str(error).split())}{hint}")
    return code


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())
