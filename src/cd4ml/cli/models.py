"""`cd4ml models`: bundles and the registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.audit import say_unsigned
from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import open_registry, split_reference
from cd4ml.cli.models_approval import approve, reject, verdict_on
from cd4ml.cli.models_embed import embed, portable, stock
from cd4ml.cli.models_follow import events, follow
from cd4ml.cli.models_history import history
from cd4ml.cli.models_predict import predict
from cd4ml.cli.models_promote import environment, promote
from cd4ml.cli.models_release import release_check
from cd4ml.cli.models_reproduce import reproduce
from cd4ml.cli.models_verify import verify
from cd4ml.cli.table import table, whole
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Models: bundles and the registry.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle."),
]
# How lineage.json tells where a model comes from, in the order of the flow; other keys follow by name.
_CHAIN = ("snapshot", "git", "image", "parameters", "seeds", "seed", "model", "bundle")


@app.command("list")
def list_models(
    name: Annotated[str | None, typer.Argument(help="Show the versions of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the models in the registry, or the versions of one.

    Example: cd4ml models list bike-demand
    """
    registry = open_registry()
    found = [registry.get(name)] if name else []
    names = [version.name for version in found] or registry.models()
    versions = [version for model in names for version in registry.versions(model)]
    aliases = {model: registry.aliases(model) for model in names}
    rows = [
        (
            version.name,
            version.version,
            version.verdict,
            ", ".join(alias for alias, number in aliases[version.name].items() if number == version.version),
            version.created,
            version.bundle[:12],
        )
        for version in versions
    ]
    headers = ("model", "version", "verdict", "aliases", "created", "bundle")
    value = [{**version.to_dict(), "aliases": aliases[version.name]} for version in versions]
    nothing = ["the registry has no models; push one with 'cd4ml models push BUNDLE --name NAME'"]
    emit(value, as_json, table(headers, rows) if rows else nothing)


@app.command()
def show(model: Model, as_json: Json = False) -> None:
    """Show what is known of one model: its record, its metrics and where its files are.

    Example: cd4ml models show bike-demand@champion
    """
    from cd4ml.adapters.differences import flatten

    found = _facts(model)
    emit(found, as_json, table(("name", "value"), flatten(found).items(), whole))


@app.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.", metavar="BUNDLE")],
    name: Annotated[str, typer.Option("--name", "-n", help="The model's name in the registry.")],
    verdict: Annotated[
        Path | None, typer.Option(help="The verdict on it; verdict.json beside the bundle by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a bundle into the registry and print its version; the same bundle keeps its number.

    With CD4ML_SIGNING_KEY set, an unsigned bundle is signed first.

    Example: cd4ml models push out/bundle --name bike-demand
    """
    from cd4ml.adapters.manifest import verify_manifest
    from cd4ml.adapters.signing import SIGNING_KEY, sign, verify_signature

    verify_manifest(bundle)
    if os.environ.get(SIGNING_KEY) and verify_signature(bundle).state == "unsigned":
        sign(bundle)
    if verify_signature(bundle).state == "unsigned":
        note(f"warning: {verify_signature(bundle).warning}")
    registry = open_registry()
    version = registry.push(bundle, name, verdict=_decision(bundle, verdict))
    value = {**version.to_dict(), "storage_uri": registry.storage_uri(version)}
    emit(value, as_json, [f"{name}@{version.version}  {registry.storage_uri(version)}"])


@app.command()
def pull(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion or NAME@3.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder, or one with a bundle.")],
    as_json: Json = False,
) -> None:
    """Fetch a bundle; the folder appears when manifest and signature have held.

    Example: cd4ml models pull bike-demand@champion --out bundle
    """
    from cd4ml.adapters.signing import verify_signature

    name, ref = _named(model)
    folder = open_registry().pull(name, ref, out)
    if warning := verify_signature(folder).warning:
        note(f"warning: {warning}")
    emit({"folder": str(folder), "name": name, "ref": ref}, as_json, [str(folder)])


@app.command()
def lineage(model: Model, as_json: Json = False) -> None:
    """Show where a model comes from: snapshot, commit, parameters, seeds, model.

    Example: cd4ml models lineage bike-demand@champion
    """
    found = _facts(model)
    if not found["lineage"]:
        raise UsageError(f"'{model}' has no lineage.json; only bundles that 'cd4ml run' made have one")
    emit(found["lineage"], as_json, _chain({**found["lineage"], "bundle": found["bundle"]}))


@app.command()
def compare(first: Model, second: Model, as_json: Json = False) -> None:
    """Show what differs between two models: metrics, data, commit, parameters.

    Example: cd4ml models compare bike-demand@champion bike-demand@latest
    """
    from cd4ml.adapters.differences import differences

    found = differences([_facts(first), _facts(second)], leave_out={"created", "storage_uri", "version"})
    rows = [(row.name, *row.values) for row in found]
    value = [{"name": row.name, "values": row.values} for row in found]
    emit(value, as_json, table(("what", first, second), rows) if rows else ["they do not differ"])


@app.command()
def alias(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME shows its aliases; NAME@3 is moved to.")
    ],
    name: Annotated[str | None, typer.Argument(metavar="ALIAS", help="Such as champion.")] = None,
    expected: Annotated[
        int | None, typer.Option(min=0, help="Move it only if it names this version now; 0: if it is new.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    by: Annotated[str, typer.Option(envvar="CD4ML_ACTOR", help="Who; kept in the history.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also a version that may not be used; needs --reason.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    as_json: Json = False,
) -> None:
    """Show the aliases of a model and their history, or move one to a version.

    An alias moves to a version whose verdict is accept, or needs_approval with an approval that stands; the
    audit log tells each move. Of several who move it with the same --expected exactly one wins; the others
    exit with code 6.

    Example: cd4ml models alias bike-demand@3 champion --expected 2 --reason "better on weekends"
    """
    from cd4ml.steps.alias import move_alias

    model_name, ref = _named(model)
    if name is None:
        _show_aliases(model_name, as_json)
        return
    change = move_alias(
        model_name,
        name,
        None if remove else ref,
        expected=... if expected is None else (expected or None),
        reason=reason,
        by=by,
        force=force,
    )
    say_unsigned()
    moved = f"{model_name}: {name} {change.from_version or '-'} -> {change.to_version or '-'}"
    emit(change.to_dict(), as_json, [moved])


@app.command()
def keys(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for private.pem and public.pem.")],
) -> None:
    """Make a key pair for signatures; private.pem is readable by you alone.

    Example: cd4ml models keys --out ~/.cd4ml
    """
    from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair

    folder = out.expanduser()
    private, public = folder / "private.pem", folder / "public.pem"
    for path in (private, public):
        if path.exists():
            raise UsageError(f"'{path}' exists; remove it or give another folder: what it signed needs it")
    folder.mkdir(parents=True, exist_ok=True)
    texts = generate_keypair()
    private.touch(mode=0o600, exist_ok=False)
    private.write_text(texts[0], encoding="ascii")
    public.write_text(texts[1], encoding="ascii")
    emit(None, False, [f"export {SIGNING_KEY}={private}", f"export {VERIFY_KEY}={public}"])
    note("Keep private.pem secret: where bundles are made. public.pem goes where they are used.")


app.command()(verify)
app.command("release-check")(release_check)
app.command()(predict)
app.command()(embed)
app.command()(portable)
app.command()(stock)
app.command()(history)
app.command()(reproduce)
app.command()(events)
app.command()(follow)
app.command()(approve)
app.command()(reject)
app.command()(promote)
app.command()(environment)


def _named(model: str) -> tuple[str, str]:
    found = split_reference(model)
    if isinstance(found, Path):
        raise UsageError(f"'{model}' is a folder; give the name of a model in the registry: NAME or NAME@3")
    return found


def _facts(model: str) -> dict[str, Any]:
    """Return what the registry, or the bundle itself, records of a model."""
    from cd4ml.adapters.manifest import bundle_id
    from cd4ml.adapters.registry import read_record

    found = split_reference(model)
    if isinstance(found, Path):
        return {"bundle": bundle_id(found), **read_record(found)}
    registry = open_registry()
    version = registry.get(*found)
    return {**version.to_dict(), "storage_uri": registry.storage_uri(version)}


def _decision(bundle: Path, verdict: Path | None) -> str:
    """Return the decision in verdict.json; "" when there is none. One on another bundle is refused."""
    found = verdict_on(bundle, verdict)
    if found is None:
        note(f"warning: no verdict beside '{bundle}'; delivery will refuse this version")
        return ""
    return str(found.get("decision", ""))


def _chain(lineage: Mapping[str, Any]) -> list[str]:
    """Return the lines of a lineage: one link of the chain a paragraph, in the order of the flow."""
    from cd4ml.adapters.differences import flatten

    order = [key for key in _CHAIN if key in lineage] + sorted(lineage.keys() - set(_CHAIN))
    lines: list[str] = []
    for key in order:
        lines += ["  |"] if lines else []
        inner = flatten(lineage[key])
        if list(inner) == [""]:
            lines.append(f"{key}: {whole(inner[''])}")
        else:
            lines += [f"{key}:", *(f"  | {name} = {whole(value)}" for name, value in inner.items())]
    return lines


def _show_aliases(name: str, as_json: bool) -> None:
    registry = open_registry()
    registry.get(name)
    aliases, history = registry.aliases(name), [change.to_dict() for change in registry.history(name)]
    lines = [f"{alias}: {version}" for alias, version in aliases.items()] or [f"'{name}' has no aliases"]
    names = ("at", "alias", "from", "to", "by", "reason")
    if history:
        lines += ["", *table(names, [[change[name] for name in names] for change in history])]
    emit({"aliases": aliases, "history": history}, as_json, lines)
