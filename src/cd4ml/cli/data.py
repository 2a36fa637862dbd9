"""`cd4ml data`: snapshots of the sources, held against their contract."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.data_holdout import app as holdout
from cd4ml.cli.data_simulate import simulate
from cd4ml.cli.table import cell, table
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.tables.history import SnapshotHistory

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data: snapshots and their contract.")
app.command("simulate")(simulate)
app.add_typer(holdout, name="holdout")

Reference = Annotated[str, typer.Argument(help="A shipped name, a path or a URL.", metavar="PROBLEM")]
Data = Annotated[str, typer.Option(help="Folder or URL (s3://, https://) of the sources.")]
Store = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix; CD4ML_STORE by default.")]
Wanted = Annotated[
    str,
    typer.Argument(metavar="SNAPSHOT", help="An id, its beginning, or a problem's name for its latest."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]

_SIGNS = {"refuse": "!", "quarantine": "-", "warn": "~"}
_SHOWN_ANOMALIES = 20
_SHOWN_ROWS = 20


@app.command()
def snapshot(
    problem: Reference,
    data: Data,
    store: Store = "",
    out: Annotated[Path | None, typer.Option(help="Keep a copy of the snapshot in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Read the sources, check the contract, and keep what is right under the hash of its content.

    The same content has the same id and is stored once. Exit code 4 means that the data were refused; nothing
    is stored then.

    Example: cd4ml data snapshot bike-demand --data data/bike
    """
    from cd4ml.adapters.problem_files import dumps, load
    from cd4ml.adapters.storage import open_store
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.steps.snapshot import take_snapshot
    from cd4ml.tables.snapshot import open_snapshot

    if out is not None and out.exists() and not _replaceable(out):
        raise UsageError(f"'{out}' is neither an empty folder nor a snapshot's; give --out another name")
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as name:
        scratch = Path(name)
        write_text(scratch / "problem.json", dumps(load(problem)))
        folder = out or scratch / "snapshot"
        take_snapshot(scratch / "problem.json", data, store, folder, scratch / "profile.html")
        taken = open_snapshot(folder)
        validation = taken.document("validation.json")
    kept = open_store(store or None)
    value = {
        "id": taken.id,
        "problem": taken.manifest["problem"],
        "parent": taken.manifest["parent"],
        "tables": validation["tables"],
        "anomalies": validation["anomalies"],
        "snapshot": kept.url(f"snapshots/{taken.id}"),
        "profile": kept.url(f"profiles/{taken.id}.html"),
    }
    last = [f"profile: {value['profile']}", f"snapshot {taken.id}"]
    emit(value, as_json, [*_validation_lines(validation), *last])


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / "manifest.json").is_file())


@app.command("list")
def list_snapshots(
    problem: Annotated[str | None, typer.Argument(help="Only snapshots of this problem.")] = None,
    store: Store = "",
    as_json: Json = False,
) -> None:
    """List the snapshots in the store, the newest first.

    Example: cd4ml data list bike-demand
    """
    history = _history(store)
    names = [problem] if problem else history.problems()
    found = [{"problem": name, **entry} for name in names for entry in history.entries(name)]
    found.sort(key=lambda entry: str(entry["created"]), reverse=True)
    rows = [
        (
            entry["id"][:12],
            entry["problem"],
            entry["created"],
            sum(entry["rows"].values()),
            _short(entry["parent"]),
        )
        for entry in found
    ]
    nothing = ["no snapshots; take one with 'cd4ml data snapshot PROBLEM --data FOLDER'"]
    headers = ("snapshot", "problem", "created", "rows", "parent")
    emit(found, as_json, table(headers, rows) if rows else nothing)


@app.command()
def show(
    snapshot: Wanted,
    store: Store = "",
    quarantine: Annotated[
        str, typer.Option(metavar="TABLE", help="Show the quarantined rows of this table instead.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many quarantined rows at most.")] = _SHOWN_ROWS,
    as_json: Json = False,
) -> None:
    """Show one snapshot: where it came from, its rows, its anomalies, or the rows in quarantine.

    Example: cd4ml data show bike-demand
    """
    history = _history(store)
    identity = history.resolve(snapshot)
    if quarantine:
        _show_quarantine(history, identity, quarantine, limit, as_json)
        return
    manifest, validation = history.manifest(identity), history.document(identity, "validation.json")
    value = {"manifest": manifest, "validation": validation}
    emit(value, as_json, [*_manifest_lines(manifest), "", *_validation_lines(validation)])


def _show_quarantine(history: SnapshotHistory, identity: str, name: str, limit: int, as_json: bool) -> None:
    from cd4ml.tables.snapshot import Snapshot

    with tempfile.TemporaryDirectory(prefix="cd4ml-") as scratch:
        folder = history.fetch(identity, Path(scratch) / "snapshot")
        frame = Snapshot(identity, folder, history.manifest(identity)).quarantine(name)
    shown = frame.head(limit).to_dicts()
    lines = [f"no row of {name} is in quarantine"]
    if shown:
        lines = table(list(shown[0]), [list(row.values()) for row in shown])
        lines += [f"{frame.height - limit} more; see --limit"] if frame.height > limit else []
    emit(shown, as_json, lines)


@app.command()
def diff(
    first: Wanted,
    second: Annotated[
        str, typer.Argument(metavar="[SNAPSHOT]", help="The newer one; without it FIRST and its parent.")
    ] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Show what changed between two snapshots: contract, rows, distributions.

    With one snapshot it is compared with its parent. `backward` says that data which kept the old contract
    keeps the new one, `forward` the reverse.

    Example: cd4ml data diff bike-demand
    """
    from cd4ml.tables.comparison import compare_snapshots

    history = _history(store)
    old, new = history.resolve(first), history.resolve(second) if second else ""
    if not new:
        parent = history.manifest(old)["parent"]
        if parent is None:
            raise UsageError(f"snapshot {old[:12]} is the first of its problem; name the one to compare with")
        old, new = str(parent), old
    found = compare_snapshots(history.documents(old), history.documents(new))
    emit(found, as_json, _diff_lines(found))


@app.command()
def validate(problem: Reference, data: Data, store: Store = "", as_json: Json = False) -> None:
    """Check sources against the contract and keep nothing; for those who produce the data.

    Rows and distributions are compared with the last accepted snapshot, where the store has one. Exit code 4
    means that the data would be refused.

    Example: cd4ml data validate bike-demand --data data/bike
    """
    from datetime import UTC, datetime

    from cd4ml.adapters.problem_files import load
    from cd4ml.tables import snapshot as snapshots

    found = load(problem)
    before = _history(store).accepted(found.name)
    validation = snapshots.validate(found, data, now=datetime.now(UTC), before=before)
    emit(validation, as_json, _validation_lines(validation))
    snapshots.refuse(validation)


@app.command()
def profile(
    snapshot: Wanted,
    store: Store = "",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("profile.html"),
    as_json: Json = False,
) -> None:
    """Write a snapshot's profile as one HTML page; with --json print it instead.

    Example: cd4ml data profile bike-demand --out profile.html
    """
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.profile import profile_page

    history = _history(store)
    identity = history.resolve(snapshot)
    found = history.document(identity, "profile.json")
    if not as_json:
        if out.is_dir():
            raise UsageError(f"'{out}' is a folder; give the name of a file such as {out / 'profile.html'}")
        validation = history.document(identity, "validation.json")
        write_text(out, profile_page(found, validation, history.manifest(identity)))
    emit(found, as_json, [str(out)])


@app.command()
def fetch(
    snapshot: Wanted,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder, or one with a snapshot.")],
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Copy a snapshot's Parquet files to a folder; it appears when every file has its promised hash.

    Example: cd4ml data fetch bike-demand --out snapshot
    """
    if out.exists() and not _replaceable(out):
        raise UsageError(f"'{out}' is neither an empty folder nor a snapshot's; give --out another name")
    history = _history(store)
    identity = history.resolve(snapshot)
    history.fetch(identity, out)
    emit({"id": identity, "folder": str(out)}, as_json, [str(out)])


@app.command()
def prune(
    problem: Annotated[str, typer.Argument(metavar="PROBLEM", help="The name of a problem with snapshots.")],
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest snapshots stay.")],
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Remove old snapshots; those that a registered model was trained on stay, however old.

    Example: cd4ml data prune bike-demand --keep 10
    """
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store

    registry, history = Registry(open_store(store or None)), _history(store)
    needed = {
        str(version.lineage.get("snapshot"))
        for name in registry.models()
        for version in registry.versions(name)
    }
    gone = history.prune(problem, keep, needed)
    note(f"{len(gone)} snapshots of {problem} removed")
    emit({"removed": gone}, as_json, gone)


def _history(store: str) -> SnapshotHistory:
    from cd4ml.adapters.storage import open_store
    from cd4ml.tables.history import SnapshotHistory

    return SnapshotHistory(open_store(store or None))


def _short(identity: object) -> str:
    return str(identity)[:12] if identity else ""


def _manifest_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"snapshot {manifest['id']}"
    yield f"problem  {manifest['problem']}" + (f", {manifest['owner']}" if manifest["owner"] else "")
    yield f"created  {manifest['created']}"
    yield f"parent   {manifest['parent'] or '-'}"
    code, time = manifest["code"], manifest["time"]
    changed = " with changes" if code["dirty"] else ""
    yield f"code     cd4ml {code['version']}, commit {_short(code['commit']) or '-'}{changed}"
    if time:
        yield f"time     {time['first']} to {time['last']} ({time['column']})"
    for name, entry in manifest["tables"].items():
        yield f"source   {name}: {', '.join(entry['sources']) or 'absent'}"


def _validation_lines(validation: Mapping[str, Any]) -> Iterator[str]:
    counts = ("rows_in", "rows_accepted", "rows_quarantined")
    rows = [(name, *(found[key] for key in counts)) for name, found in validation["tables"].items()]
    yield from table(("table", "rows in", "accepted", "quarantined"), rows)
    anomalies = sorted(validation["anomalies"], key=lambda found: list(_SIGNS).index(found["severity"]))
    for found in anomalies[:_SHOWN_ANOMALIES]:
        place = ".".join(part for part in (found["table"], found["column"]) if part)
        severity = found["severity"]
        yield f"  {_SIGNS[severity]} {severity:10} {place}: {found['detail']} [{found['kind']}]"
    if len(anomalies) > _SHOWN_ANOMALIES:
        yield f"  {len(anomalies) - _SHOWN_ANOMALIES} more; --json shows all"


def _diff_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_short(found['first'])} -> {_short(found['second'])}"
    if found["same"]:
        yield "the same content"
        return
    answers = [f"{way} {'yes' if found[way] else 'NO'}" for way in ("backward", "forward")]
    yield f"compatible: {', '.join(answers)}"
    for change in found["contract"]:
        place = ".".join(part for part in (change["table"], change["column"]) if part)
        yield f"  {place}: {change['change']} {cell(change['old'])} -> {cell(change['new'])}"
    rows = [
        (
            name,
            one["rows"][0],
            one["rows"][1],
            one["rows_quarantined"][0],
            one["rows_quarantined"][1],
            one["content"],
        )
        for name, one in found["tables"].items()
    ]
    yield from table(("table", "rows", "now", "quarantined", "now", "content"), rows)
    moved = [
        (f"{name}.{column}", one["nulls"][0], one["nulls"][1], one["measure"], one["distance"])
        for name, entry in found["tables"].items()
        for column, one in entry["columns"].items()
    ]
    moved.sort(key=lambda row: -(row[4] or 0))
    if moved:
        yield ""
        yield from table(("column that changed", "nulls", "now", "measure", "distance"), moved)
