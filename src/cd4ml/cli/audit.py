"""`cd4ml audit`: the log of decisions, and whether it is whole."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.table import table

__all__ = ["app", "say_unsigned"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The log of decisions: list it, verify it."
)

Store = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix; CD4ML_STORE by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


@app.command()
def verify(
    expect: Annotated[
        str, typer.Option(metavar="HASH", help="A line's hash that was noted elsewhere, such as an old head.")
    ] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Hold each line against its hash, the line before and its signature; exit code 4 names a bad one.

    With CD4ML_VERIFY_KEY set, lines that none of its keys signed are refused. Keep the hash of the last line
    elsewhere: --expect shows later that nothing up to it was removed or written anew.

    Example: cd4ml audit verify
    """
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.storage import open_store

    found = AuditLog(open_store(store or None)).verify(expect)
    if found.warning:
        note(f"warning: {found.warning}")
    keys = f" by {', '.join(found.keys)}" if found.keys else ""
    value = {
        "lines": found.lines,
        "head": found.head,
        "signed": found.signed,
        "unsigned": found.unsigned,
        "unknown_key": found.unknown,
        "keys": list(found.keys),
    }
    lines = [f"{found.lines} lines, whole; {found.signed} signed{keys}", f"head {found.head}"]
    emit(value, as_json, lines if found.lines else ["the audit log has no lines"])


def say_unsigned() -> None:
    """Say loudly that nobody signed what was written to the log just now."""
    from cd4ml.adapters.signing import SIGNING_KEY

    if not os.environ.get(SIGNING_KEY):
        note(
            f"warning: UNSIGNED: nobody vouches for this line of the audit log; set {SIGNING_KEY}"
            " ('cd4ml models keys' makes a pair)"
        )


@app.command("list")
def list_lines(
    kind: Annotated[str, typer.Option(help="Only lines of this kind, such as approval or alias.")] = "",
    subject: Annotated[
        str, typer.Option(help="Only lines about this: the beginning of a bundle's id, or a model.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest lines.")] = 50,
    store: Store = "",
    as_json: Json = False,
) -> None:
    """List what was decided, the newest last.

    Example: cd4ml audit list --kind approval
    """
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.storage import open_store

    found = [
        line
        for line in AuditLog(open_store(store or None)).lines()
        if kind in ("", line.kind) and line.subject.startswith(subject)
    ][-limit:]
    rows = [
        (
            line.number,
            line.at,
            line.by,
            line.kind,
            line.subject[:20],
            "yes" if line.signature else "NO",
            json.dumps(line.facts, ensure_ascii=False, sort_keys=True),
        )
        for line in found
    ]
    headers = ("line", "at", "by", "kind", "about", "signed", "facts")
    nothing = ["the audit log has no such lines"]
    emit([line.to_dict() for line in found], as_json, table(headers, rows) if rows else nothing)
