"""`cd4ml models approve` and `reject`: a person's decision on one bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.audit import say_unsigned
from cd4ml.cli.console import emit
from cd4ml.cli.model_reference import bundle_folder, open_registry, split_reference
from cd4ml.cli.table import table
from cd4ml.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from cd4ml.domain.approval import Choice

__all__ = ["approve", "reject", "verdict_on"]

_MODEL = "NAME, NAME@latest, NAME@3, or the folder of a bundle."
Reason = Annotated[str, typer.Option(help="Why; it is kept for good.")]
By = Annotated[str, typer.Option(help="Who; CD4ML_ACTOR or the user by default.")]
Verdict = Annotated[
    Path | None, typer.Option(help="The verdict on it; verdict.json beside the bundle, or the registry's.")
]
Store = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix; CD4ML_STORE by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def approve(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=_MODEL)] = None,
    reason: Reason = "",
    by: By = "",
    verdict: Verdict = None,
    as_json: Json = False,
) -> None:
    """Approve a bundle whose verdict is needs_approval; without MODEL, list what waits for somebody.

    The decision holds for this bundle to the byte, for `approval.valid_days` of its problem, and until
    somebody decides anew. With CD4ML_SIGNING_KEY set it is signed.

    Example: cd4ml models approve bike-demand@3 --reason "warns at night only, agreed with operations"
    """
    if model is None:
        _show_requests(as_json)
        return
    _decide(model, "approve", reason, by, verdict, as_json)


def reject(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    reason: Reason = "",
    by: By = "",
    verdict: Verdict = None,
    as_json: Json = False,
) -> None:
    """Reject a bundle, whatever its verdict is: no alias moves to it until somebody approves it.

    Example: cd4ml models reject bike-demand@3 --reason "the sensor data of May are wrong"
    """
    _decide(model, "reject", reason, by, verdict, as_json)


def _decide(model: str, choice: Choice, reason: str, by: str, verdict: Path | None, as_json: bool) -> None:
    from cd4ml.adapters.actor import current_actor
    from cd4ml.steps.approval import decide_on_bundle

    with bundle_folder(model) as bundle:
        name, found = _judged(model, bundle, verdict)
        who = current_actor(by)
        decided, line = decide_on_bundle(
            bundle, choice, model=name, verdict=found, store="", by=who, reason=reason
        )
    say_unsigned()
    word = {"approve": "approved", "reject": "rejected"}[choice]
    until = f", until {decided.until:%Y-%m-%d}" if choice == "approve" else ""
    said = f"{name}: bundle {decided.bundle[:12]} {word} by {decided.by}{until} (line {line.number})"
    answered = [f"  answered for: {warning}" for warning in decided.warnings]
    emit({**decided.to_dict(), "line": line.number, "hash": line.hash}, as_json, [said, *answered])


def _judged(model: str, bundle: Path, verdict: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the name of a model and the verdict on its bundle: from a file, or what the registry has."""
    from cd4ml.adapters.manifest import read_manifest

    reference = split_reference(model)
    if found := verdict_on(reference if isinstance(reference, Path) else bundle, verdict):
        return str(found.get("model") or read_manifest(bundle).get("problem", "")), found
    if isinstance(reference, Path):
        raise UsageError(f"there is no verdict.json beside '{model}'; give it by --verdict")
    version = open_registry().get(*reference)
    return f"{version.name}@{version.version}", {"decision": version.verdict}


def verdict_on(bundle: Path, verdict: Path | None) -> dict[str, Any] | None:
    """Return a verdict, by default verdict.json beside the bundle; None when there is none.

    Raises
    ------
    IntegrityError
        If it is on another bundle.
    UsageError
        If `verdict` is no file.
    """
    from cd4ml.adapters.manifest import bundle_id
    from cd4ml.adapters.storage.documents import decode

    path = verdict or bundle.absolute().parent / "verdict.json"
    if not path.is_file():
        if verdict:
            raise UsageError(f"'{verdict}' is no file; give the verdict.json of the run that made the bundle")
        return None
    found = decode(path.read_bytes(), str(path))
    about = (found.get("subject") or {}).get("bundle")
    if about != bundle_id(bundle):
        raise IntegrityError(
            f"'{path}' judges the bundle {str(about)[:12]}, and '{bundle}' is {bundle_id(bundle)[:12]};"
            " judge it anew, or give its own verdict by --verdict"
        )
    return found


def _show_requests(as_json: bool) -> None:
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.adapters.storage import open_store

    found = Approvals(open_store()).requests(datetime.now(UTC))
    waiting = [request for request in found if request.state in ("pending", "expired")]
    rows = [
        (one.model, one.bundle[:12], one.state, one.asked, one.reminded, "; ".join(one.warnings))
        for one in waiting
    ]
    headers = ("model", "bundle", "state", "asked", "reminded", "warns")
    nothing = ["nothing waits for an approval"]
    emit([one.to_dict() for one in waiting], as_json, table(headers, rows) if rows else nothing)
