"""`cd4ml consumers`: what those who call a model rely on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder
from cd4ml.cli.table import table, whole
from cd4ml.errors import GateRejected, UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.consumer_files import ConsumerStore
    from cd4ml.domain.consumer_contract import ConsumerContract, Tolerance
    from cd4ml.steps.consumers import Champion

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Contracts of those who call a model: what they rely on.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle.")
]
Problem = Annotated[str, typer.Argument(metavar="PROBLEM", help="Name of a problem, e.g. bike-demand.")]
Consumer = Annotated[str, typer.Argument(metavar="CONSUMER", help="Name of a consumer.")]
By = Annotated[str, typer.Option(help="Who; kept in the history. CD4ML_ACTOR or the user by default.")]
_HEADER = """\
# What {consumer} sends to models of {problem}, and what it relies on. Every new model is checked against it.
# Requests are rows of the holdout: replace them by what you send. `relies_on` may also have
#   tolerance: {{relative: 0.2, absolute: 5, share: 0.9}}  how far answers may be from the recorded ones
#   max_latency_ms: 20        rows_per_request: 100
#   accepts_null: [FIELD]     accepts_absent: [FIELD]     accepts_unknown: [FIELD]
"""


@app.command()
def init(
    model: Model,
    consumer: Annotated[str, typer.Option(help="Your name as a consumer, e.g. shelf-planner.")],
    owner: Annotated[str, typer.Option(help="Whom to talk to before breaking it.")],
    rows: Annotated[int, typer.Option(min=1, help="How many requests to begin with.")] = 5,
    relative: Annotated[
        float | None, typer.Option(min=0, help="Rely on answers that stay this near, as a fraction.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; standard output by default.")
    ] = None,
) -> None:
    """Draft a contract from the holdout rows of a bundle and its answers.

    Example: cd4ml consumers init out/bundle --consumer shelf-planner --owner shelves@example.com
    """
    from cd4ml.adapters.consumer_files import dumps
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.models.consumers import draft_contract

    if out is not None and out.exists():
        raise UsageError(f"{out} exists; give another name or remove it")
    with bundle_folder(model) as folder:
        found = draft_contract(folder, consumer, owner, requests=rows, tolerance=_tolerance(relative))
    text = _HEADER.format(consumer=consumer, problem=found.problem) + dumps(found)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    note(f"wrote {out}. Next: keep what you send and rely on, commit it, and `cd4ml consumers add {out}`")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A contract, YAML or JSON.")],
    expected: Annotated[
        int | None, typer.Option(min=0, help="Only if the store has this revision now; 0: none yet.")
    ] = None,
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    as_json: Json = False,
) -> None:
    """Put a contract into the store, where every new model is checked against it.

    The contract of the same consumer is replaced; the same contract again changes nothing.

    Example: cd4ml consumers add shelf-planner.yaml
    """
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.consumer_files import load

    contract = load(file)
    revision = _store().add(contract, by=current_actor(by), reason=reason, expected=expected)
    value = {"problem": contract.problem, "consumer": contract.consumer, **revision.to_dict()}
    emit(value, as_json, [f"{contract.problem}: {contract.consumer} is at revision {revision.number}"])


@app.command("list")
def list_consumers(
    problem: Annotated[str | None, typer.Argument(metavar="PROBLEM", help="Only of this problem.")] = None,
    as_json: Json = False,
) -> None:
    """List the consumers with a contract; one that cannot be read is told, and breaks every model.

    Example: cd4ml consumers list bike-demand
    """
    store = _store()
    found: list[dict[str, Any]] = []
    for name in [problem] if problem else store.problems():
        for consumer, contract in store.contracts(name):
            about: dict[str, Any] = {"problem": name, "consumer": consumer}
            if isinstance(contract, Exception):
                found.append(
                    {**about, "owner": None, "requests": None, "revision": None, "error": str(contract)}
                )
                continue
            revision = store.history(name, consumer)[-1].number
            about |= {"owner": contract.owner, "requests": len(contract.requests)}
            found.append({**about, "revision": revision, "error": None})
    headers = ("problem", "consumer", "owner", "requests", "revision", "error")
    nothing = ["no consumer has a contract; draft one with 'cd4ml consumers init MODEL'"]
    rows = [[row[header] for header in headers] for row in found]
    emit(found, as_json, table(headers, rows) if rows else nothing)


@app.command()
def show(problem: Problem, consumer: Consumer, as_json: Json = False) -> None:
    """Print a contract as YAML; with --json also its history.

    Example: cd4ml consumers show bike-demand shelf-planner
    """
    from cd4ml.adapters.consumer_files import dumps

    store = _store()
    contract = store.get(problem, consumer)
    history = [revision.to_dict() for revision in store.history(problem, consumer)]
    lines = dumps(contract).rstrip("\n").split("\n")
    emit({"contract": contract.to_dict(), "history": history}, as_json, lines)


@app.command()
def remove(
    problem: Problem,
    consumer: Consumer,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    by: By = "",
    as_json: Json = False,
) -> None:
    """Take a contract away; the history keeps who did it and why.

    Example: cd4ml consumers remove bike-demand shelf-planner --reason "the planner is retired"
    """
    from cd4ml.adapters.actor import current_actor

    revision = _store().remove(problem, consumer, by=current_actor(by), reason=reason)
    value = {"problem": problem, "consumer": consumer, **revision.to_dict()}
    emit(value, as_json, [f"{problem}: {consumer} has no contract any more"])


@app.command()
def check(
    model: Model,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="These contracts instead of the store's.")
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="MODEL", help="Also compare the serving contract with this model's.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a model against every consumer's contract; exit code 3 and their names when it breaks one.

    Example: cd4ml consumers check out/bundle --against bike-demand@champion
    """
    from cd4ml.adapters.consumer_files import load
    from cd4ml.models.runtime import Bundle
    from cd4ml.steps.consumers import hold_against

    with bundle_folder(model) as folder:
        bundle = Bundle.load(folder)
        files: list[tuple[str, ConsumerContract]] = [
            (contract.consumer, contract) for contract in map(load, file or [])
        ]
        contracts = files if file else _store().contracts(bundle.problem.name)
        found = hold_against(bundle, contracts, _champion(against))
    emit(found, as_json, _lines(model, found))
    if failed := [gate for gate in found["gates"] if gate["status"] == "fail"]:
        raise GateRejected("; ".join(gate["reason"] for gate in failed))


def _lines(model: str, found: dict[str, Any]) -> Iterator[str]:
    asked = [gate for gate in found["gates"] if gate["status"] != "skipped"]
    if not asked:
        yield f"{model}: {found['gates'][0]['reason']}"
        return
    rows = [(gate["status"], gate["name"], gate["reason"]) for gate in asked]
    yield from table(("", "gate", "reason"), rows, whole)


def _champion(reference: str) -> Champion:
    """Return the serving contract to compare with; none was asked for where `reference` is empty."""
    from cd4ml.adapters.manifest import bundle_id, verify_manifest
    from cd4ml.steps.consumers import Champion
    from cd4ml.steps.documents import read

    if not reference:
        return Champion("not_compared", reason="no model was named to compare with; use --against")
    with bundle_folder(reference) as folder:
        verify_manifest(folder)
        return Champion("compared", bundle_id(folder), read(folder / "contract.json"))


def _store() -> ConsumerStore:
    """Return the contracts in the store of CD4ML_STORE."""
    from cd4ml.adapters.consumer_files import ConsumerStore
    from cd4ml.adapters.storage import open_store

    return ConsumerStore(open_store())


def _tolerance(relative: float | None) -> Tolerance | None:
    from cd4ml.domain.consumer_contract import Tolerance

    return None if relative is None else Tolerance(relative=relative)
