"""`cd4ml models embed`, `portable` and `stock`: a model in other forms than behind our server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder, open_registry, split_reference
from cd4ml.errors import UsageError

__all__ = ["embed", "portable", "stock"]

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
LOCK = Path("requirements/dev.txt")


def embed(
    model: Model,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for the wheel and the image's context.")
    ],
    wheel: Annotated[
        bool, typer.Option("--wheel", help="Write a wheel: a package with predict(frame).")
    ] = False,
    image: Annotated[bool, typer.Option("--image", help="Also build an image with the wheel.")] = False,
    package: Annotated[str, typer.Option(help="What applications import; by default NAME_model.")] = "",
    context_only: Annotated[
        bool, typer.Option("--context-only", help="Write what the image is built of, and build nothing.")
    ] = False,
    lock: Annotated[Path, typer.Option(help="Requirements with hashes, for the image.")] = LOCK,
    as_json: Json = False,
) -> None:
    """Put a model into a package that an application imports: predict(frame), with nothing to call.

    The package has the model and what predicts it inside and needs no cd4ml. It is written when it has
    predicted the holdout within 1e-5 in a process that cannot import cd4ml.

    Example: cd4ml models embed bike-demand@champion --wheel --out dist
    """
    from cd4ml.steps.embed import ImageRequest, embed_bundle

    if not (wheel or image or context_only):
        raise UsageError("say what to make: --wheel, or --image (which also makes the wheel)")
    exact, name, version = _origin(model, package)
    request = ImageRequest(lock, context_only=context_only) if image or context_only else None
    with bundle_folder(exact) as bundle:
        _warn(bundle)
        found = embed_bundle(bundle, out, package=name, version=version, image=request)
    lines = [f"{found['wheel']}: {_parity(found['parity'])}"]
    if request is not None:
        lines.append(found["image"] or f"{found['context']}: build it with {found['command']}")
    emit({"model": model, **found}, as_json, lines)


def portable(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Write a model as plain ONNX with its contract and samples, for any language that has ONNX Runtime.

    The features of a row are folded in where this is exact; else the model takes features, and the contract
    says how each is made. Refused unless plain ONNX Runtime predicts the holdout within 1e-5.

    Example: cd4ml models portable adult-income@champion --out portable
    """
    from cd4ml.steps.embed import portable_bundle

    with bundle_folder(model) as bundle:
        _warn(bundle)
        found = portable_bundle(bundle, out)
    lines = [f"{found['folder']}: takes {found['inputs']}, {_parity(found['parity'])}"]
    emit({"model": model, **found}, as_json, lines + ([found["why"]] if found["why"] else []))


def stock(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    runtime: Annotated[str, typer.Option(help="The runtime that will serve it.")] = "sklearnserver",
    sklearn_version: Annotated[
        str, typer.Option(help="scikit-learn of the runtime; by default what sklearnserver pins.")
    ] = "",
    python: Annotated[
        Path | None, typer.Option(help="The Python of that runtime: the gate loads and predicts there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model.joblib for KServe's sklearnserver, which takes features, not rows.

    A joblib runs code when it is loaded: this one is made of a closed list of types and scanned, and predicts
    the holdout within 1e-5 before it is handed out. It fits one version of scikit-learn.

    Example: cd4ml models stock bike-demand@champion --python runtime/bin/python --out stock
    """
    from cd4ml.steps.embed import stock_bundle

    with bundle_folder(model) as bundle:
        _warn(bundle)
        found = stock_bundle(bundle, out, runtime=runtime, scikit_learn=sklearn_version, python=python)
    for warning in found["warnings"]:
        note(f"warning: {warning}")
    emit({"model": model, **found}, as_json, [f"{out}: {_parity(found['parity'])}"])


def _origin(model: str, package: str) -> tuple[str, str, str]:
    """Return the reference with its number, package and version; "" where the bundle has to say."""
    from cd4ml.models.embed.wheel import package_name

    found = split_reference(model)
    if isinstance(found, Path):
        return model, package, ""
    entry = open_registry().get(*found)
    exact = f"{entry.name}@{entry.version}"  # an alias may move meanwhile
    return exact, package or package_name(entry.name), f"{entry.version}+{entry.bundle[:12]}"


def _warn(bundle: Path) -> None:
    from cd4ml.adapters.signing import verify_signature

    if warning := verify_signature(bundle).warning:
        note(f"warning: {warning}")


def _parity(found: dict[str, Any]) -> str:
    off = f"largest difference {found['largest_difference']:.2g}"
    return f"{found['rows']} holdout rows as they were judged ({off})"
