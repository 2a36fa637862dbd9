"""`cd4ml models promote` and `environment`: bring a bundle to another store, which says what it demands."""

from __future__ import annotations

from typing import Annotated

import typer

from cd4ml.cli.audit import say_unsigned
from cd4ml.cli.console import emit
from cd4ml.errors import UsageError

__all__ = ["environment", "promote"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def promote(  # noqa: PLR0913, PLR0917 - options
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3 or NAME:3.")],
    to: Annotated[str, typer.Option("--to", help="The target: a folder or s3://bucket/prefix.")],
    alias: Annotated[str, typer.Option(help="What shall name it in the target.")] = "challenger",
    expected: Annotated[
        int | None,
        typer.Option(min=0, help="Only if the alias names this version of the target; 0: if it is new."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    by: Annotated[str, typer.Option(envvar="CD4ML_ACTOR", help="Who; kept in the history.")] = "",
    allow_downgrade: Annotated[
        bool, typer.Option("--allow-downgrade", help="Also beside or over something newer; needs --reason.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at everything and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a bundle by its id from CD4ML_STORE to another environment's store; nothing is built anew.

    Hashes and signature are verified before and after. It needs an accepting verdict and, where the verdict
    or the target asks for one, an approval. Asked for twice, it is one version. Endpoint, credentials and
    trusted keys of the target: CD4ML_TARGET_S3_ENDPOINT, CD4ML_TARGET_AWS_ACCESS_KEY_ID,
    CD4ML_TARGET_AWS_SECRET_ACCESS_KEY, CD4ML_TARGET_VERIFY_KEY; ours where they are not set.

    Example: cd4ml models promote bike-demand@champion --to s3://cd4ml-staging/cd4ml --dry-run
    """
    from cd4ml.steps.promote import promote as bring

    name, ref = _split(model)
    done = bring(
        name,
        ref,
        to,
        alias=alias,
        expected=... if expected is None else (expected or None),
        reason=reason,
        by=by,
        allow_downgrade=allow_downgrade,
        dry_run=dry_run,
    )
    if done.state == "promoted":
        say_unsigned()
    number = "-" if done.to_version is None else done.to_version
    said = f"{name}@{done.version} -> {name}@{number} ({alias}): {done.state}, {done.to}"
    emit(done.to_dict(), as_json, [said, *(f"  {step}" for step in done.steps)])


def environment(
    name: Annotated[str | None, typer.Option(help="Such as production; sets it.")] = None,
    approval: Annotated[
        str | None,
        typer.Option(help="verdict: where the verdict asks. always: every bundle. here: and in this store."),
    ] = None,
    signed: Annotated[
        bool | None, typer.Option("--signed/--unsigned", help="Whether bundles must be signed.")
    ] = None,
    by: Annotated[str, typer.Option(envvar="CD4ML_ACTOR", help="Who; kept in the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Show or set what the store in CD4ML_STORE demands of bundles that are promoted to it.

    Example: cd4ml models environment --name production --approval here --signed
    """
    from dataclasses import replace
    from datetime import UTC, datetime
    from typing import cast, get_args

    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.environment import Needs, read_environment, write_environment
    from cd4ml.adapters.storage import open_store

    if approval is not None and approval not in get_args(Needs):
        raise UsageError(f"--approval must be one of {', '.join(get_args(Needs))}; got '{approval}'")
    storage = open_store()
    known = read_environment(storage)
    new = replace(
        known,
        name=known.name if name is None else name,
        approval=known.approval if approval is None else cast(Needs, approval),
        signed=known.signed if signed is None else signed,
    )
    if new != known:
        facts = {"from": known.to_dict(), "to": new.to_dict()}
        AuditLog(storage).append(
            "environment", new.name or "environment", facts, datetime.now(UTC), current_actor(by)
        )
        write_environment(storage, new)
    signs = "signed bundles alone" if new.signed else "unsigned bundles too"
    emit(new.to_dict(), as_json, [f"environment {new.name or '-'}: approval {new.approval}, takes {signs}"])


def _split(model: str) -> tuple[str, str]:
    """Return name and version of NAME, NAME@alias or NAME:version."""
    from pathlib import Path

    from cd4ml.cli.model_reference import split_reference

    found = split_reference(model if "@" in model else model.replace(":", "@", 1))
    if isinstance(found, Path):
        raise UsageError(f"'{model}' is a folder; push it first, and promote NAME or NAME@3")
    return found
